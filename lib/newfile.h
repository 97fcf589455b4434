/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that gets its name when it is complete: whoever is killed while
 * writing it leaves nothing with that name. It has no name at all meanwhile where the file
 * system has O_TMPFILE, else ".NAME.XXXXXX.part".
 */
#ifndef PLYFS_LIB_NEWFILE_H
#define PLYFS_LIB_NEWFILE_H

#include <stdbool.h>
#include <sys/types.h>

struct newfile {
	int fd; /* to write to, and read from */
	int dirfd; /* borrowed */
	char tmp[64]; /* its name meanwhile, "" for none */
};

/* Begins a file in @dirfd, which stays open until the end. 0 or -errno. */
int newfile_begin(int dirfd, mode_t mode, struct newfile *ret);

/*
 * Syncs it (unless !@sync) and gives it its name, in place of what had that; closes it. On failure
 * nothing is left, and what had the name still has it.
 */
int newfile_commit(struct newfile *f, const char *name, bool sync);

/* Gives it up. Nothing happens after newfile_commit(), or with fd -1. */
void newfile_abort(struct newfile *f);

#endif
