/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of merged directories: what dirbuild.c makes, dircache.c keeps and
 * dirmerge.c lists. Nobody else includes this. dirmerge.c has the theory.
 */
#ifndef PLYFS_UNION_DIRTAB_H
#define PLYFS_UNION_DIRTAB_H

#include "fs/union/dirmerge.h"
#include "fs/union/node.h"

#define DIRTAB_RANK_BITS 4

enum dirtab_flag {
	DIRTAB_ONLY = 1 << 0, /* no layer below has the name */
	DIRTAB_HIDDEN = 1 << 1, /* a whiteout, or removed: not listed */
};

struct dirtab_ent {
	uint64_t cookie;
	uint32_t name; /* offset in names */
	_Atomic uint16_t layer; /* the topmost that has it; MAX_LAYERS: ask */
	uint8_t type; /* DT_* */
	_Atomic uint8_t flags; /* enum dirtab_flag */
};

struct dirtab {
	/* the cache's */
	struct dirtab *next; /* hash chain */
	struct dirtab *newer, *older;
	uint32_t slot;
	unsigned refs;
	bool cached;
	/* its own */
	bool aufs; /* some layer has, or may get, .wh. files in it */
	int err; /* of some entry: not known whether it is a whiteout */
	size_t n, cap, bytes;
	struct dirtab_ent *e; /* owned; sorted by cookie */
	char *names; /* owned */
	size_t names_len, names_cap;
};

static inline const char *dirtab_name(const struct dirtab *t, const struct dirtab_ent *e)
{
	return t->names + e->name;
}

/* Frees it; NULL is fine. */
void dirtab_free(struct dirtab *t);
/* Counts anew what it occupies. */
void dirtab_measure(struct dirtab *t);

/* The cookie of a name, without a rank. */
uint64_t dirtab_cookie(const struct union_fs *u, const char *name);
/* The index of the first entry whose cookie is above @cookie. */
size_t dirtab_after(const struct dirtab *t, uint64_t cookie);
/* The entry of that name, hidden or not, or NULL. */
struct dirtab_ent *dirtab_find(const struct union_fs *u, const struct dirtab *t, const char *name);
/* Appends @name to the names: 0 or -errno. */
int dirtab_add_name(struct dirtab *t, const char *name, uint32_t *ret);
/* Makes *@p, an array of *@cap elements of @size, hold @need: 0 or -ENOMEM. */
int dirtab_grow(void **p, size_t *cap, size_t need, size_t size);

/* Reads the directory in all its layers. Takes the lock of the node table. */
int dirtab_build(struct union_fs *u, struct node *n, struct dirtab **ret);

/*
 * The directory's table, counted; built where there is none, or where @fresh
 * asks for a new one.
 */
int dirtab_get(struct union_fs *u, struct node *n, bool fresh, struct dirtab **ret);
void dirtab_put(struct union_fs *u, struct dirtab *t);

#endif
