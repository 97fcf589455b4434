/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes by id, for the length of a request. */
#ifndef PLYFS_UNION_USE_H
#define PLYFS_UNION_USE_H

#include "fs/union/node.h"

/* The node, held, or NULL where there is none by that id. Takes the lock. */
struct node *use_node(struct union_fs *u, uint64_t nodeid);
/*
 * One name of @n: its directory, held, or NULL where it has none any more. Takes
 * the lock.
 */
struct node *use_name(struct union_fs *u, struct node *n, char name[256]);
void unuse_node(struct union_fs *u, struct node *n);

/*
 * Logs that @f, the open file of @n in a packed layer, cannot be read at @off: not
 * more than a few lines in ten seconds.
 */
void log_unreadable(struct union_fs *u, struct node *n, const struct layer_dir *f, off_t off);

#endif
