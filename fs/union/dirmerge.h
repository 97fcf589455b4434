/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merged listings, and the cache of them.
 *
 * All functions but union_readdir() (declared in union.h) only keep the cache
 * true; they may be called with or without u->lock, and do not block.
 */
#ifndef PLYFS_UNION_DIRMERGE_H
#define PLYFS_UNION_DIRMERGE_H

#include "fs/union/union_i.h"

int dircache_init(struct union_fs *u);
void dircache_release(struct union_fs *u);

/* The directory's table is wrong now, or not needed any more. */
void dircache_drop(struct union_fs *u, uint32_t slot);
/* @name has left the directory: cheaper than dropping the table. */
void dircache_removed(struct union_fs *u, uint32_t slot, const char *name);
/* @name, a file of type @mode, is new in the upper. */
void dircache_added(struct union_fs *u, uint32_t slot, const char *name, mode_t mode);
/* @name is in the upper now. */
void dircache_copied_up(struct union_fs *u, uint32_t slot, const char *name);

/*
 * What the directory's table says of @name: 1 and the hint, 0 where there is
 * no such name, -1 where there is no table.
 */
struct resolve_hint;
int dircache_hint(struct union_fs *u, uint32_t slot, const char *name, struct resolve_hint *ret);
/* Whether a layer below the upper shows @name: 0, 1, or -1 where no table tells. */
int dircache_lower_has(struct union_fs *u, uint32_t slot, const char *name);
struct node;
/* Makes the directory's table, for that. */
void dircache_load(struct union_fs *u, struct node *n);

unsigned dircache_count(struct union_fs *u);

/* Whether directory @n shows no entry at all: 0, -ENOTEMPTY or another error. */
int dir_is_empty(struct union_fs *u, struct node *n);

/*
 * All names of a directory in the order of a listing, without looking at what
 * they are: @type is a DT_* value, maybe DT_UNKNOWN. A result of @fn other
 * than 0 ends it and is returned.
 */
typedef int (*dir_each_fn)(void *arg, const char *name, uint64_t cookie, uint8_t type);
int dir_each(struct union_fs *u, struct node *n, dir_each_fn fn, void *arg);

#endif
