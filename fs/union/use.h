/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes by id, for the length of a request. */
#ifndef PLYFS_UNION_USE_H
#define PLYFS_UNION_USE_H

#include "fs/union/node.h"

/* The node, held, or NULL where there is none by that id. Takes the lock. */
struct node *use_node(struct union_fs *u, uint64_t nodeid);
void unuse_node(struct union_fs *u, struct node *n);

#endif
