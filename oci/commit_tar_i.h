/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk of an upper (commit_tar.c) and that of a union (commit_whole.c) share. */
#ifndef PLYFS_OCI_COMMIT_TAR_I_H
#define PLYFS_OCI_COMMIT_TAR_I_H

#include <limits.h>
#include <sys/stat.h>

#include "fs/layer/layer.h"
#include "lib/linkmap.h"
#include "oci/commit_tar.h"

enum { COMMIT_BUF = 256 << 10 };

struct union_fs;

struct commit_walk {
	struct commit_tar *o;
	struct tar_write *w;
	struct layer *l; /* owned */
	char path[PATH_MAX];
	size_t len;
	uint8_t *buf; /* owned */
	struct linkmap *links; /* owned */
	const char *upper;
	struct union_fs *whole; /* owned; the upper on its lowers, once that is needed */
	char **ret_err;
};

/* Sets *w->ret_err, with the path, unless it is set; returns @r. */
int commit_fail(struct commit_walk *w, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Tells whoever wants to know of the entry at w->path. */
int commit_told(struct commit_walk *w, const char *skipped);
/* Appends a name to the path: the length before, or -errno. */
int commit_enter(struct commit_walk *w, const char *prefix, const char *name);
void commit_leave(struct commit_walk *w, int old);
/* An empty file that means something: w->path/@prefix@name. */
int commit_put_mark(struct commit_walk *w, const char *prefix, const char *name);
void commit_set_time(const struct commit_walk *w, const struct statx *st, struct tar_entry *e);

/*
 * What is in the directory at w->path as the upper shows it on its lowers:
 * behind an opaque mark, all of it. -EXDEV: the lowers are not known.
 */
int commit_whole_dir(struct commit_walk *w);
/* The content of the file at w->path, @size bytes, likewise. */
int commit_whole_content(struct commit_walk *w, uint64_t size);
void commit_whole_close(struct commit_walk *w);

#endif
