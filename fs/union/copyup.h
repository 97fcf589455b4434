/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-up: bringing a file of a lower layer into the upper before it changes.
 *
 * None of these may be called with u->lock or a namespace lock held.
 */
#ifndef PLYFS_UNION_COPYUP_H
#define PLYFS_UNION_COPYUP_H

#include "fs/union/node.h"

#define COPYUP_ALL INT64_MAX
/* As a limit: the data may stay where it is, where the union makes metacopies. */
#define COPYUP_META (-1)

/*
 * Makes sure that @n is in the upper, with every directory above it, and unless
 * @limit is COPYUP_META with its data. Of a regular file at most @limit bytes are
 * copied, for a caller who is to cut it there: 1 is returned where this call did
 * so, with the time of now. -EROFS on
 * a read-only union. A file that has lost its names meanwhile is copied to an
 * anonymous file that is kept while the node lives.
 */
int copyup(struct union_fs *u, struct node *n, int64_t limit);

/*
 * Makes sure that the indexed or hard-linked node @n, which is in the upper,
 * has its name @parent/@name there too: before it is renamed. The caller holds
 * the namespace lock of @parent, which is in the upper.
 */
int copyup_link_name(struct union_fs *u, struct node *n, struct node *parent, const char *name);

/* Locks the namespace of one or two directories in the upper; unlocks it. */
void ns_lock(struct union_fs *u, struct node *a, struct node *b);
void ns_unlock(struct union_fs *u, struct node *a, struct node *b);

#endif
