/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metacopies: regular files that have only metadata where they are, and their
 * data in a layer below (the kernel's metacopy=on). See metacopy.c.
 *
 * A node with NODE_META is such a file, of the upper or of a lower; where its
 * data is stands in its extension and holds for as long as the flag is set: the
 * data is in a lower, and lowers do not change.
 */
#ifndef PLYFS_UNION_METACOPY_H
#define PLYFS_UNION_METACOPY_H

#include "fs/layer/layer.h"
#include "fs/union/node.h"

struct place;

/* Where data is. */
struct metacopy {
	unsigned layer; /* 0: not elsewhere */
	char *path; /* in there; owned */
	uint64_t blocks; /* stx_blocks there */
	int64_t end; /* where the file ends before its data does; else INT64_MAX */
};

void metacopy_release(struct metacopy *m);

/*
 * Whether @d/@lname, the regular file that @dir/@name was found to be, has only
 * metadata, and where its data is: 1, 0 or -errno; -EIO where it is nowhere.
 */
int metacopy_find(struct union_fs *u, struct node *dir, const char *name,
		  const struct layer_dir *d, const char *lname, struct metacopy *ret);

/* The same of the index entry @d/@index, for @dir/@name, which is in a lower. */
int metacopy_find_indexed(struct union_fs *u, struct node *dir, const char *name,
			  const struct layer_dir *d, const char *index, struct metacopy *ret);

/* Makes @n a metacopy with its data at @m, unless that is nowhere. With the lock. -ENOMEM */
int metacopy_set(struct union_fs *u, struct node *n, const struct metacopy *m);
/* It has its data itself from now on. With the lock. */
void metacopy_unset(struct union_fs *u, struct node *n);

/* Whether an open file may have only metadata: a cheap question before metacopy_learn(). */
bool metacopy_maybe(struct union_fs *u, const struct layer_dir *f);

/* Looks whether @n, in a lower at @at, is a metacopy: then sets it. 1, 0 or -errno. */
int metacopy_learn(struct union_fs *u, struct node *n, const struct place *at);

/* Where the content of @n is that is in a lower at @at, with its blocks @blocks. */
int metacopy_here(struct union_fs *u, struct node *n, uint64_t blocks, struct metacopy *ret);

/* Opens the data of @n for reading; -EAGAIN where it has it itself by now. */
int metacopy_open(struct union_fs *u, struct node *n, struct layer_dir *ret);

/*
 * Has @n, a metacopy in the upper that is @parent/@name, say itself where its
 * data is, before it gets another name. -EXDEV where that cannot be said.
 */
int metacopy_free_from_name(struct union_fs *u, struct node *n, struct node *parent,
			    const char *name);

#endif
