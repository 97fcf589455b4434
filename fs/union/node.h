/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node table: what the kernel remembers, and how to find it on disk.
 *
 * A node is one file of the union, whatever its names and whichever layer it
 * lives in at the moment; it is named by its slot (a slab reference), and to
 * the outside by slot and generation. A dent is one name of a node. A node
 * lives while the kernel counts lookups of it, a dent of a child refers to it,
 * or someone holds it; its dents live as long as it does, or until the name
 * goes.
 *
 * Everything here is protected by u->lock, which the caller holds, except
 * where it says otherwise. Pointers to nodes and dents are valid while the
 * lock is held and, for nodes, while a reference is. What may be read of a
 * held node without the lock: ino, gen and type never change; flags and
 * upper_ino change under the lock, but by the functions below, which also make
 * them readable without it. upper_ino is set before NODE_UPPER is.
 */
#ifndef PLYFS_UNION_NODE_H
#define PLYFS_UNION_NODE_H

#include "fs/union/union_i.h"

enum node_flag {
	NODE_UPPER = 1 << 0, /* it is in the upper (directories: also) */
	NODE_BUSY = 1 << 1, /* somebody copies it up: node_lock() */
	NODE_SETID = 1 << 2, /* mode has setuid or setgid bits */
	NODE_GONE = 1 << 3, /* has lost its last name */
	NODE_INDEXED = 1 << 4, /* the upper file is also index/<ext->index> */
	NODE_IMPURE = 1 << 5, /* directory: overlay.impure is set on disk */
	NODE_IN_IDS_LOWER = 1 << 6,
	NODE_IN_IDS_UPPER = 1 << 7,
	NODE_CAP_REMOVED = 1 << 8, /* security.capability was removed by the last change */
	NODE_SEEN = 1 << 9, /* union_mark(): UNION_MARK_SEEN */
	NODE_GATE = 1 << 10, /* UNION_MARK_GATE */
	NODE_META = 1 << 11, /* its data is further below: ext->data_path, metacopy.h */
	NODE_LOAN = 1 << 12, /* ext->loan says what to show */
};

struct node {
	uint64_t nlookup; /* what the kernel has yet to forget */
	uint64_t ino; /* st_ino */
	uint64_t upper_ino; /* inode in the upper; 0: not there; see node_upper_ino() */
	uint64_t lower_ino; /* inode in its lower; 0: never was there */
	uint32_t gen;
	uint32_t refs; /* dents of children, and holders */
	uint32_t dents; /* its names: list by dent.sibling */
	uint32_t stack; /* directories: struct dstack */
	uint32_t ext; /* struct node_ext, or 0 */
	uint32_t ids_next[2]; /* chains of u->ids: as lower, as upper */
	uint16_t layer; /* non-directories: id of the lower they come from */
	uint16_t flags; /* enum node_flag; see node_has() */
	uint16_t mode; /* only the type is kept up to date: S_IFMT */
	int16_t nlink_adj; /* files: lower names removed */
	uint16_t asked; /* directories: lookups since its table was last made for them */
	uint8_t patience; /* and how often that was: see lookup.c */
};

/* What a file shows whose mode was lent: lend.c. */
struct node_loan {
	uint16_t mode;
	bool out; /* right now */
	struct statx_timestamp ctime; /* from before */
	struct statx_timestamp moved_ctime; /* what the last loan has left: ctime is shown for it */
};

/* What few nodes need. */
struct node_ext {
	int pin; /* descriptor that keeps a nameless file, -1 none; owned */
	uint32_t index; /* name in the index: string, or 0 */
	uint32_t lower_path; /* path in its lower, once detached: string, or 0 */
	uint32_t lower_nlink; /* links of the lower file an index entry stands for */
	uint32_t orphan; /* name in work of a file removed past the pin budget */
	uint32_t loan; /* struct node_loan, or 0 */
	uint32_t data_path; /* with NODE_META: where its data is, a path in a lower: string */
	uint32_t data_layer; /* of that id */
	uint64_t data_blocks; /* stx_blocks there */
	int64_t data_end; /* the file's size, if that is less than the data's; else INT64_MAX */
};

struct dent {
	uint32_t next; /* chain of u->names */
	uint32_t parent; /* slot; referenced */
	uint32_t node; /* slot */
	uint32_t sibling; /* next name of the same node */
	uint8_t len;
	char name[]; /* terminated */
};

/* The lower directories that a directory is made of, top first. */
struct dstack {
	uint16_t n, unused;
	struct dstack_entry {
		uint16_t layer; /* id */
		uint16_t flags; /* enum dstack_flag */
		uint32_t path; /* string: path in the layer; 0: as its parent's, plus its name */
	} e[];
};

enum dstack_flag {
	DSTACK_XWHITEOUTS = 1 << 0, /* files with overlay.whiteout hide */
};

int node_table_init(struct union_fs *u);
void node_table_release(struct union_fs *u);

/* The node with this id; NULL where the kernel made that up. */
struct node *node_get(struct union_fs *u, uint64_t nodeid);
struct node *node_at(struct union_fs *u, uint32_t slot);
uint32_t node_slot(struct union_fs *u, const struct node *n);
uint64_t node_id(struct union_fs *u, const struct node *n);

/* A new node with one reference. NULL when memory is out. */
struct node *node_new(struct union_fs *u, mode_t type);

/* References. Dropping the last one frees the node unless the kernel knows it. */
void node_hold(struct node *n);
void node_drop(struct union_fs *u, struct node *n);

/* The node's extension, made if needed; NULL when memory is out. */
struct node_ext *node_ext(struct union_fs *u, struct node *n);
/* The same, NULL where there is none. */
struct node_ext *node_ext_peek(struct union_fs *u, const struct node *n);

/* Waits until nobody else has the node, and takes it. The lock is released meanwhile. */
void node_lock(struct union_fs *u, struct node *n);
void node_unlock(struct union_fs *u, struct node *n);

struct dent *dent_at(struct union_fs *u, uint32_t ref);
struct dent *dent_find(struct union_fs *u, const struct node *parent, const char *name);
int dent_add(struct union_fs *u, struct node *parent, const char *name, struct node *n);
void dent_del(struct union_fs *u, struct dent *d);

/* Nodes with several names, by where they are. @layer 0 is the upper. */
struct node *node_find_id(struct union_fs *u, unsigned layer, uint64_t ino);
void node_add_id(struct union_fs *u, struct node *n, bool upper);
void node_del_id(struct union_fs *u, struct node *n, bool upper);

/* Strings in the slab. 0 when memory is out or it is too long. */
uint32_t str_new(struct union_fs *u, const char *s);
const char *str_at(struct union_fs *u, uint32_t ref);

struct dstack *stack_at(struct union_fs *u, const struct node *n);
/* The entry of the node's stack for @layer, or NULL. */
struct dstack_entry *stack_entry(struct union_fs *u, const struct node *n, unsigned layer);
void stack_free(struct union_fs *u, uint32_t ref);

static inline bool node_is_dir(const struct node *n)
{
	return S_ISDIR(n->mode);
}

/* Whether it has any of @flags. With or without the lock. */
static inline bool node_has(const struct node *n, unsigned flags)
{
	return __atomic_load_n(&n->flags, __ATOMIC_ACQUIRE) & flags;
}

/* Changes of flags. With the lock. */
static inline void node_set(struct node *n, unsigned flags)
{
	__atomic_store_n(&n->flags, (uint16_t)(n->flags | flags), __ATOMIC_RELEASE);
}

static inline void node_clear(struct node *n, unsigned flags)
{
	__atomic_store_n(&n->flags, (uint16_t)(n->flags & ~flags), __ATOMIC_RELEASE);
}

/* The inode in the upper, with or without the lock; setting it takes the lock. */
static inline uint64_t node_upper_ino(const struct node *n)
{
	return __atomic_load_n(&n->upper_ino, __ATOMIC_ACQUIRE);
}

static inline void node_set_upper_ino(struct node *n, uint64_t ino)
{
	__atomic_store_n(&n->upper_ino, ino, __ATOMIC_RELEASE);
}

/* Acquires and releases u->lock. */
static inline void table_lock(struct union_fs *u)
{
	(void)pthread_mutex_lock(&u->lock);
}

/* Releases it, then closes what freed nodes had open. */
void table_unlock(struct union_fs *u);

#endif
