/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a name in a directory is, asked of the layers; and the node for it.
 */
#ifndef PLYFS_UNION_RESOLVE_H
#define PLYFS_UNION_RESOLVE_H

#include "fs/union/metacopy.h"
#include "fs/union/node.h"
#include "fs/union/ovl.h"

#define MAX_LAYERS 512

struct resolved {
	bool upper; /* its topmost part is in the upper */
	unsigned layer; /* non-directories in a lower: whose */
	struct statx st; /* of the topmost part, override_stat applied */
	uint64_t upper_ino, lower_ino; /* real inodes, 0 where not there */
	uint64_t ino; /* st_ino to show */
	char index[OVL_INDEX_NAME_MAX]; /* "" or the index entry it is known by */
	int nlink_lost; /* names of the lower file that were removed */
	uint32_t lower_nlink; /* with index: links of its lower file */
	struct metacopy data; /* files: where their data is, if it is elsewhere */
	unsigned n; /* directories: the lowers it is made of */
	struct {
		uint16_t layer, flags;
		char *path; /* owned; explicit path, or NULL */
	} e[MAX_LAYERS];
};

/* Where a listing has already found the name. layer MAX_LAYERS: nothing known. */
struct resolve_hint {
	unsigned layer; /* the topmost that has it */
	bool only; /* no layer below has that name */
	bool no_aufs; /* no layer has a .wh. file in that directory */
};

/*
 * Resolves @name in @dir: 0, or -ENOENT where nothing is visible under it.
 * Not to be called with the lock. On success resolve_release() is due.
 */
int resolve(struct union_fs *u, struct node *dir, const char *name, struct resolve_hint hint,
	    struct resolved *ret);
void resolve_release(struct resolved *r);

/*
 * The node of @r, known by @name in @dir from now on, with its lookup count
 * raised by one; *ret gets its id and attributes.
 */
int resolve_node(struct union_fs *u, struct node *dir, const char *name, struct resolved *r,
		 struct union_entry *ret);

/*
 * The same of a file that is in the lower @layer and no directory, with one
 * link, and without override_stat: @st is what the layer says of it. 1: the name
 * is known as something else, or not only as that; resolve() it.
 */
int resolve_plain(struct union_fs *u, struct node *dir, const char *name, unsigned layer,
		  const struct statx *st, bool count, struct union_entry *ret);

/* The st_ino to show of an inode in @l. */
uint64_t resolve_ino(struct union_fs *u, const struct layer *l, const struct statx *st);

/*
 * Whether a layer below the upper shows anything under @name in @dir: whether
 * removing it from the upper must leave a whiteout. 0, 1 or -errno.
 */
int resolve_lower_has(struct union_fs *u, struct node *dir, const char *name);

#endif
