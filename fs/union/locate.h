/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a node to where it is on disk.
 *
 * Theory of operation. A node's place is its names, upwards to the root or to
 * the nearest directory with an explicit path (a redirect). The path is taken
 * from the node table under u->lock, then opened without it; so a rename can
 * come between. Lower layers do not change, and a path in them stays right.
 * In the upper the inode that was opened is compared with the node's: where it
 * differs, or nothing is there, the path is taken anew. Since an inode cannot
 * be reused while the name we compared still leads to it, a match is proof.
 *
 * None of these may be called with u->lock held.
 */
#ifndef PLYFS_UNION_LOCATE_H
#define PLYFS_UNION_LOCATE_H

#include "fs/union/fdcache.h"
#include "fs/union/node.h"

/* Where a node is: an open directory, and its name in there ("" the directory itself). */
struct place {
	struct fdent *dir; /* pinned */
	bool upper;
	char name[256];
};

/*
 * Before the next try: a rename has changed the disk, and not the table yet. It
 * may have been put off the processor in between, so in the end we sleep; 64
 * tries are more than a second.
 */
void locate_wait(int tries);
int locate_tries(const struct union_fs *u);

/* The directory @n in the layer @layer (0: upper), pinned. -ENOENT where it is not there. */
int locate_dir(struct union_fs *u, struct node *n, unsigned layer, struct fdent **ret);

/*
 * The topmost real file of @n: in the upper if it is there, else in its
 * lower. -ESTALE where it has gone under our feet.
 */
int locate(struct union_fs *u, struct node *n, struct place *ret);
/* The same; 1 where it took a look at the file for that, with what it saw in *ret_st. */
int locate_stat(struct union_fs *u, struct node *n, struct place *ret, struct statx *ret_st);
void place_put(struct union_fs *u, struct place *p);

/* An O_PATH descriptor of the real file, the caller's. */
int locate_path_fd(struct union_fs *u, struct node *n);

/*
 * The content of a regular file, for reading or (upper only, which it must
 * be) for writing: pinned.
 */
int locate_file(struct union_fs *u, struct node *n, bool write, struct fdent **ret);

/*
 * Writes down where @n is in the lowers, so that it is found without its
 * names: before a rename or a removal. For directories their stack becomes
 * explicit. -ENAMETOOLONG where a path is beyond what the table stores.
 */
int locate_detach(struct union_fs *u, struct node *n);

/* The path of directory @n in @layer, as the layer's root sees it; the length. Takes the lock. */
int locate_layer_path(struct union_fs *u, struct node *n, unsigned layer, char *buf, size_t size);

#endif
