/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Origins of files that cannot carry them.
 *
 * user. attributes are for regular files and directories. Where the format's are
 * such, a symlink or special file that was copied up has its origin in a record
 * beside: workdir/origin/KEY, a symlink whose target is the origin's index
 * name. KEY is the index name that the upper file itself would have: its handle,
 * which holds the inode and its generation, so that a record is never taken for
 * another file's. It is there before the file has its name, and goes after the last
 * name: a crash leaves at most a record of nothing.
 */
#ifndef PLYFS_UNION_SIDECAR_H
#define PLYFS_UNION_SIDECAR_H

#include "fs/union/ovl.h"

/* The name of a record. */
struct sidecar_key {
	char name[OVL_INDEX_NAME_MAX]; /* "": there can be none */
};

/* The key of @dir/@name, of the upper, with the attributes @st. 0 or -errno. */
int sidecar_key(struct union_fs *u, const struct layer_dir *dir, const char *name,
		const struct statx *st, struct sidecar_key *ret);

/* Records the origin @o; without effect where there is no key. */
int sidecar_write(struct union_fs *u, const struct sidecar_key *k, const struct ovl_origin *o);
/* The origin that is recorded; len 0: none. */
int sidecar_read(struct union_fs *u, const struct sidecar_key *k, struct ovl_origin *ret);
void sidecar_remove(struct union_fs *u, const struct sidecar_key *k);

/* Opens the records below @workdir; a read-only union makes none. */
int sidecar_open(struct union_fs *u, int workdir);

#endif
