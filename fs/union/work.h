/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workdir: where everything is made before it appears in the upper.
 *
 * Names in it mean nothing: what a crash leaves there is removed at the next
 * mount. All functions return descriptors or 0, or -errno.
 */
#ifndef PLYFS_UNION_WORK_H
#define PLYFS_UNION_WORK_H

#include "fs/union/union_i.h"

#define WORK_NAME_MAX 24

/* A name not in use in the workdir. */
void work_name(struct union_fs *u, char ret[WORK_NAME_MAX]);

/* Opens (creating it), locks and empties @path/work; opens @path/index if @index. */
int work_open(struct union_fs *u, const char *path, bool index, char **ret_err);
void work_close(struct union_fs *u);

/* Removes everything below @dirfd/@name, and itself. */
int work_remove_tree(int dirfd, const char *name);

/*
 * A regular file without a name where the file system can, else with one in
 * the workdir: @ret_name is "" or that name. Open for reading and writing.
 */
int work_tmpfile(struct union_fs *u, mode_t mode, char ret_name[WORK_NAME_MAX]);

/* Puts what work_tmpfile() made at @dirfd/@name, where nothing is (-EEXIST). */
int work_link(struct union_fs *u, int fd, const char *tmpname, int dirfd, const char *name);

/*
 * Puts it there in the place of a non-directory: atomically. Consumes the
 * temporary name.
 */
int work_replace(struct union_fs *u, int fd, const char *tmpname, int dirfd, const char *name);

/* A whiteout at @dirfd/@name, where nothing is. */
int work_whiteout(struct union_fs *u, int dirfd, const char *name);
/* Takes back the .wh. file that work_whiteout() made there with wh_files. */
void work_no_whiteout(int dirfd, const char *name);
/* Takes the whiteout that work_whiteout() has just made away again. */
void work_unwhiteout(struct union_fs *u, int dirfd, const char *name);
/* A whiteout in the place of the file there, or of the directory (@dir), atomically. */
int work_whiteout_over(struct union_fs *u, int dirfd, const char *name, bool dir);

/* Moves the directory @tmp of the workdir to @dirfd/@name, over a whiteout there if @over. */
int work_place_dir(struct union_fs *u, const char *tmp, int dirfd, const char *name, bool over);

#endif
