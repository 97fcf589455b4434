/* SPDX-License-Identifier: Apache-2.0 */
/* The node table. */
#include "fs/union/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fs/union/dirmerge.h"
#include "fs/union/fdcache.h"
#include "lib/sys.h"

#define TABLE_MIN 1024

int node_table_init(struct union_fs *u)
{
	struct node *root;

	if (getrandom(&u->name_key, sizeof(u->name_key), GRND_NONBLOCK) != sizeof(u->name_key))
		u->name_key = (uintptr_t)u * 0x9e3779b97f4a7c15ULL;
	u->slab = slab_new();
	u->names = sys_calloc(TABLE_MIN, sizeof(*u->names));
	u->ids = sys_calloc(TABLE_MIN, sizeof(*u->ids));
	if (!u->slab || !u->names || !u->ids)
		return -ENOMEM;
	u->names_mask = u->ids_mask = TABLE_MIN - 1;
	root = node_new(u, S_IFDIR);
	if (!root)
		return -ENOMEM;
	u->root = node_slot(u, root);
	return 0;
}

void node_table_release(struct union_fs *u)
{
	slab_free(u->slab);
	free(u->names);
	free(u->ids);
	u->slab = NULL;
	u->names = u->ids = NULL;
}

void table_unlock(struct union_fs *u)
{
	(void)pthread_mutex_unlock(&u->lock);
	fdcache_reap(u);
}

struct node *node_at(struct union_fs *u, uint32_t slot)
{
	return slab_ptr(u->slab, slot);
}

uint32_t node_slot(struct union_fs *u, const struct node *n)
{
	return slab_ref(u->slab, n);
}

uint64_t node_id(struct union_fs *u, const struct node *n)
{
	uint32_t slot = node_slot(u, n);

	return slot == u->root ? UNION_ROOT : (uint64_t)n->gen << 32 | slot;
}

struct node *node_get(struct union_fs *u, uint64_t nodeid)
{
	uint32_t slot = (uint32_t)nodeid;
	struct node *n;

	if (nodeid == UNION_ROOT)
		return node_at(u, u->root);
	if (!slab_valid(u->slab, slot, sizeof(struct node)))
		return NULL;
	n = node_at(u, slot);
	return n->gen && n->gen == nodeid >> 32 ? n : NULL;
}

struct node *node_new(struct union_fs *u, mode_t type)
{
	uint32_t slot = slab_alloc(u->slab, sizeof(struct node));
	struct node *n;

	if (!slot)
		return NULL;
	n = node_at(u, slot);
	if (++u->next_gen == 0)
		u->next_gen = 1;
	n->gen = u->next_gen;
	n->mode = type & S_IFMT;
	n->refs = 1;
	u->nnodes++;
	return n;
}

void node_hold(struct node *n)
{
	n->refs++;
}

static void node_free(struct union_fs *u, struct node *n)
{
	uint32_t slot = node_slot(u, n);
	struct node_ext *x = node_ext_peek(u, n);

	fdcache_drop(u, slot);
	if (node_is_dir(n))
		dircache_drop(u, slot);
	node_del_id(u, n, false);
	node_del_id(u, n, true);
	if (x) {
		fdcache_reap_later(u, x->pin, str_at(u, x->orphan));
		slab_release(u->slab, x->index);
		slab_release(u->slab, x->lower_path);
		slab_release(u->slab, x->orphan);
		slab_release(u->slab, x->data_path);
		slab_release(u->slab, x->loan);
		slab_release(u->slab, n->ext);
	}
	if (node_is_dir(n))
		stack_free(u, n->stack);
	n->gen = 0;
	slab_release(u->slab, slot);
	u->nnodes--;
}

/* Frees the node if nothing needs it, then, by the same rule, its parents. */
static void node_check(struct union_fs *u, struct node *n)
{
	while (!n->refs && !n->nlookup) {
		struct node *parent = NULL;

		while (n->dents) {
			struct dent *d = dent_at(u, n->dents);
			struct node *p = node_at(u, d->parent);

			/* keep the last parent for the loop, to recurse no stack */
			if (parent)
				node_drop(u, parent);
			node_hold(p);
			parent = p;
			dent_del(u, d);
		}
		node_free(u, n);
		if (!parent)
			return;
		parent->refs--;
		n = parent;
	}
}

void node_drop(struct union_fs *u, struct node *n)
{
	n->refs--;
	node_check(u, n);
}

struct node_ext *node_ext_peek(struct union_fs *u, const struct node *n)
{
	return slab_ptr(u->slab, n->ext);
}

struct node_ext *node_ext(struct union_fs *u, struct node *n)
{
	struct node_ext *x;

	if (!n->ext) {
		n->ext = slab_alloc(u->slab, sizeof(*x));
		if (!n->ext)
			return NULL;
		x = slab_ptr(u->slab, n->ext);
		x->pin = -1;
	}
	return slab_ptr(u->slab, n->ext);
}

void node_lock(struct union_fs *u, struct node *n)
{
	while (node_has(n, NODE_BUSY))
		(void)pthread_cond_wait(&u->unbusy, &u->lock);
	node_set(n, NODE_BUSY);
}

void node_unlock(struct union_fs *u, struct node *n)
{
	node_clear(n, NODE_BUSY);
	(void)pthread_cond_broadcast(&u->unbusy);
}

/* --- names --------------------------------------------------------------- */

static uint32_t name_hash(const struct union_fs *u, uint32_t parent, const char *name, size_t len)
{
	return (uint32_t)XXH3_64bits_withSeed(name, len, u->name_key ^ parent);
}

struct dent *dent_at(struct union_fs *u, uint32_t ref)
{
	return slab_ptr(u->slab, ref);
}

struct dent *dent_find(struct union_fs *u, const struct node *parent, const char *name)
{
	uint32_t p = node_slot(u, parent);
	size_t len = strlen(name);
	uint32_t h = name_hash(u, p, name, len) & u->names_mask, ref;

	for (ref = u->names[h]; ref;) {
		struct dent *d = dent_at(u, ref);

		if (d->parent == p && d->len == len && !memcmp(d->name, name, len))
			return d;
		ref = d->next;
	}
	return NULL;
}

/* Doubles the table of names; without memory it only gets slower. */
static void names_grow(struct union_fs *u)
{
	uint32_t mask = u->names_mask * 2 + 1, i;
	uint32_t *t = sys_calloc((size_t)mask + 1, sizeof(*t));

	if (!t)
		return;
	for (i = 0; i <= u->names_mask; i++) {
		uint32_t ref = u->names[i];

		while (ref) {
			struct dent *d = dent_at(u, ref);
			uint32_t next = d->next, h;

			h = name_hash(u, d->parent, d->name, d->len) & mask;
			d->next = t[h];
			t[h] = ref;
			ref = next;
		}
	}
	free(u->names);
	u->names = t;
	u->names_mask = mask;
}

int dent_add(struct union_fs *u, struct node *parent, const char *name, struct node *n)
{
	size_t len = strlen(name);
	struct dent *d;
	uint32_t ref, h;

	if (len > 255)
		return -ENAMETOOLONG;
	if (u->nnames > u->names_mask)
		names_grow(u);
	ref = slab_alloc(u->slab, sizeof(*d) + len + 1);
	if (!ref)
		return -ENOMEM;
	d = dent_at(u, ref);
	d->parent = node_slot(u, parent);
	d->node = node_slot(u, n);
	d->len = (uint8_t)len;
	memcpy(d->name, name, len);
	h = name_hash(u, d->parent, name, len) & u->names_mask;
	d->next = u->names[h];
	u->names[h] = ref;
	d->sibling = n->dents;
	n->dents = ref;
	node_clear(n, NODE_GONE);
	node_hold(parent);
	u->nnames++;
	return 0;
}

void dent_del(struct union_fs *u, struct dent *d)
{
	uint32_t ref = slab_ref(u->slab, d), *p;
	struct node *n = node_at(u, d->node), *parent = node_at(u, d->parent);

	p = &u->names[name_hash(u, d->parent, d->name, d->len) & u->names_mask];
	while (*p != ref)
		p = &dent_at(u, *p)->next;
	*p = d->next;
	p = &n->dents;
	while (*p != ref)
		p = &dent_at(u, *p)->sibling;
	*p = d->sibling;
	if (!n->dents)
		node_set(n, NODE_GONE);
	slab_release(u->slab, ref);
	u->nnames--;
	node_drop(u, parent);
}

/* --- identities ---------------------------------------------------------- */

static uint32_t id_hash(unsigned layer, uint64_t ino)
{
	uint64_t h = (ino ^ (uint64_t)layer << 48) * 0x9e3779b97f4a7c15ULL;

	return (uint32_t)(h >> 32);
}

static unsigned id_layer(const struct node *n, bool upper)
{
	return upper ? 0 : n->layer;
}

static uint64_t id_ino(const struct node *n, bool upper)
{
	return upper ? node_upper_ino(n) : n->lower_ino;
}

/*
 * A node can be in the table twice, as a lower's inode and as the upper's.
 * A link therefore says which: slot * 2 + upper. Slots fit: a slab has 2^30.
 */
static uint32_t id_link(struct union_fs *u, const struct node *n, bool upper)
{
	return node_slot(u, n) * 2 + upper;
}

struct node *node_find_id(struct union_fs *u, unsigned layer, uint64_t ino)
{
	bool upper = layer == 0;
	uint32_t link = u->ids[id_hash(layer, ino) & u->ids_mask];

	while (link) {
		bool as_upper = link & 1;
		struct node *n = node_at(u, link / 2);

		if (as_upper == upper && id_layer(n, upper) == layer && id_ino(n, upper) == ino)
			return n;
		link = n->ids_next[as_upper];
	}
	return NULL;
}

static void ids_grow(struct union_fs *u)
{
	uint32_t mask = u->ids_mask * 2 + 1, i;
	uint32_t *t = sys_calloc((size_t)mask + 1, sizeof(*t));

	if (!t)
		return;
	for (i = 0; i <= u->ids_mask; i++) {
		uint32_t link = u->ids[i];

		while (link) {
			bool up = link & 1;
			struct node *n = node_at(u, link / 2);
			uint32_t next = n->ids_next[up], h;

			h = id_hash(id_layer(n, up), id_ino(n, up)) & mask;
			n->ids_next[up] = t[h];
			t[h] = link;
			link = next;
		}
	}
	free(u->ids);
	u->ids = t;
	u->ids_mask = mask;
}

void node_add_id(struct union_fs *u, struct node *n, bool upper)
{
	uint16_t flag = upper ? NODE_IN_IDS_UPPER : NODE_IN_IDS_LOWER;
	uint32_t h;

	if (node_has(n, flag) || !id_ino(n, upper))
		return;
	if (u->nids > u->ids_mask)
		ids_grow(u);
	h = id_hash(id_layer(n, upper), id_ino(n, upper)) & u->ids_mask;
	n->ids_next[upper] = u->ids[h];
	u->ids[h] = id_link(u, n, upper);
	node_set(n, flag);
	u->nids++;
}

void node_del_id(struct union_fs *u, struct node *n, bool upper)
{
	uint16_t flag = upper ? NODE_IN_IDS_UPPER : NODE_IN_IDS_LOWER;
	uint32_t link = id_link(u, n, upper), *p;

	if (!node_has(n, flag))
		return;
	p = &u->ids[id_hash(id_layer(n, upper), id_ino(n, upper)) & u->ids_mask];
	while (*p != link)
		p = &node_at(u, *p / 2)->ids_next[*p & 1];
	*p = n->ids_next[upper];
	node_clear(n, flag);
	u->nids--;
}

/* --- strings and stacks -------------------------------------------------- */

uint32_t str_new(struct union_fs *u, const char *s)
{
	size_t size = strlen(s) + 1;
	uint32_t ref;

	if (size > SLAB_MAX)
		return 0;
	ref = slab_alloc(u->slab, size);
	if (ref)
		memcpy(slab_ptr(u->slab, ref), s, size);
	return ref;
}

const char *str_at(struct union_fs *u, uint32_t ref)
{
	return slab_ptr(u->slab, ref);
}

struct dstack *stack_at(struct union_fs *u, const struct node *n)
{
	return slab_ptr(u->slab, n->stack);
}

struct dstack_entry *stack_entry(struct union_fs *u, const struct node *n, unsigned layer)
{
	struct dstack *s = stack_at(u, n);
	unsigned i;

	for (i = 0; s && i < s->n && s->e[i].layer <= layer; i++)
		if (s->e[i].layer == layer)
			return &s->e[i];
	return NULL;
}

void stack_free(struct union_fs *u, uint32_t ref)
{
	struct dstack *s = slab_ptr(u->slab, ref);
	unsigned i;

	for (i = 0; s && i < s->n; i++)
		slab_release(u->slab, s->e[i].path);
	slab_release(u->slab, ref);
}
