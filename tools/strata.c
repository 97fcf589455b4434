/* SPDX-License-Identifier: Apache-2.0 */
/* Layers one upon the other: what each did to what was there. */
#include "tools/strata.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "fs/layer/layer.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define MAX_DEPTH 2000

/* While layers are added, children are a list and found by a table. */
struct node {
	struct strata_node pub;
	struct node *first, *next;
};

struct strata {
	struct node *root;
	struct strata_sum *sum;
	unsigned n, layer; /* the one that is being added */
	struct node **table; /* by parent and name */
	uint64_t mask, used;
	struct block {
		struct block *next;
		char data[];
	} * blocks; /* of which everything here is cut */
	size_t left;
};

/* Memory that is freed with the whole. */
static void *cut(struct strata *s, size_t size)
{
	size = (size + 7) & ~(size_t)7;
	if (s->left < size) {
		size_t room = size > 1 << 16 ? size : 1 << 16;
		struct block *b = sys_malloc(sizeof(*b) + room);

		if (!b)
			return NULL;
		b->next = s->blocks;
		s->blocks = b;
		s->left = room;
	}
	s->left -= size;
	return memset(s->blocks->data + s->left, 0, size);
}

static uint64_t hash(const struct node *dir, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), (uint64_t)(uintptr_t)dir);
}

static int grow(struct strata *s)
{
	uint64_t mask = s->mask ? s->mask * 2 + 1 : 4095, i, h;
	struct node **t = sys_calloc(mask + 1, sizeof(struct node *));

	if (!t)
		return -ENOMEM;
	for (i = 0; s->table && i <= s->mask; i++) {
		struct node *n = s->table[i];

		if (!n)
			continue;
		for (h = hash((const struct node *)n->pub.parent, n->pub.name); t[h & mask]; h++)
			;
		t[h & mask] = n;
	}
	free(s->table);
	s->table = t;
	s->mask = mask;
	return 0;
}

/* The child of that name, made where there is none. NULL: no memory. */
static struct node *child(struct strata *s, struct node *dir, const char *name)
{
	struct node *n;
	uint64_t h;
	char *copy;

	if (s->used >= s->mask / 2 && grow(s) < 0)
		return NULL;
	for (h = hash(dir, name); (n = s->table[h & s->mask]); h++)
		if (n->pub.parent == &dir->pub && !strcmp(n->pub.name, name))
			return n;
	n = cut(s, sizeof(*n));
	copy = cut(s, strlen(name) + 1);
	if (!n || !copy)
		return NULL;
	memcpy(copy, name, strlen(name));
	n->pub.name = copy;
	n->pub.parent = &dir->pub;
	n->next = dir->first;
	dir->first = n;
	dir->pub.children++;
	s->table[h & s->mask] = n;
	s->used++;
	return n;
}

static bool there(const struct node *n)
{
	return n->pub.last && n->pub.last->change != STRATA_DELETED;
}

static int add_event(struct strata *s, struct node *n, enum strata_change change, mode_t mode,
		     uint64_t size)
{
	struct strata_event *e = cut(s, sizeof(*e));

	if (!e)
		return -ENOMEM;
	*e = (struct strata_event){ .before = n->pub.last,
				    .size = size,
				    .mode = mode,
				    .layer = (uint16_t)s->layer,
				    .change = (uint8_t)change };
	n->pub.last = e;
	return 0;
}

/* What was there is there no more: its bytes are wasted in the layer that brought them. */
static void waste(struct strata *s, const struct node *n)
{
	const struct strata_event *e = n->pub.last;

	if (e->layer != s->layer)
		s->sum[e->layer].wasted += e->size;
}

static int delete (struct strata *s, struct node *n)
{
	struct node *c;
	int r;

	if (!there(n))
		return 0;
	for (c = n->first; c; c = c->next) {
		/* what this layer has itself stays */
		r = c->pub.last && c->pub.last->layer == s->layer ? 0 : delete (s, c);
		if (r < 0)
			return r;
	}
	waste(s, n);
	s->sum[s->layer].deleted++;
	return add_event(s, n, STRATA_DELETED, n->pub.last->mode, n->pub.last->size);
}

/* One file or directory of the layer. */
static int put(struct strata *s, struct node *n, const struct statx *st)
{
	uint64_t size = S_ISREG(st->stx_mode) ? st->stx_size : 0;
	bool before = there(n);
	struct node *c;
	int r;

	if (before && S_ISDIR(st->stx_mode) && S_ISDIR(n->pub.last->mode))
		return add_event(s, n, STRATA_CHANGED, st->stx_mode, 0);
	if (before) {
		/* something else takes its place, and what was below is gone */
		for (c = n->first; c; c = c->next) {
			r = delete (s, c);
			if (r < 0)
				return r;
		}
		waste(s, n);
	}
	s->sum[s->layer].bytes += size;
	if (before)
		s->sum[s->layer].changed++;
	else
		s->sum[s->layer].added++;
	return add_event(s, n, before ? STRATA_CHANGED : STRATA_ADDED, st->stx_mode, size);
}

struct walk {
	struct strata *s;
	struct node *node; /* of the directory */
	const struct layer_dir *dir;
	unsigned depth;
};

static int walk_dir(struct strata *s, struct node *n, const struct layer_dir *dir, unsigned depth);

static int walk_entry(void *arg, const struct layer_dirent *de)
{
	struct walk *w = arg;
	const struct layer_ops *ops = w->dir->layer->ops;
	struct layer_dir below;
	struct node *n;
	struct statx st;
	const char *name = de->name;
	bool wh = de->whiteout;
	int r;

	if (!strncmp(name, LAYER_WH_PREFIX, 4)) {
		if (!strncmp(name + 4, LAYER_WH_PREFIX, 4))
			return 0;
		name += 4;
		wh = true;
	}
	if (!wh) {
		r = ops->stat(w->dir, name, &st);
		if (r < 0)
			return r;
		wh = layer_is_whiteout(&st);
	}
	n = child(w->s, w->node, name);
	if (!n)
		return -ENOMEM;
	if (wh)
		return n->pub.last && n->pub.last->layer == w->s->layer ? 0 : delete (w->s, n);
	r = put(w->s, n, &st);
	if (r < 0 || !S_ISDIR(st.stx_mode))
		return r;
	if (w->depth == MAX_DEPTH)
		return -ELOOP;
	r = ops->dir_open(w->dir, name, &below);
	if (r < 0)
		return r;
	r = walk_dir(w->s, n, &below, w->depth + 1);
	sys_close(below.fd);
	return r;
}

static bool is_opaque(const struct layer_dir *dir)
{
	static const char *const attrs[] = { "trusted.overlay.opaque", "user.overlay.opaque",
					     "user.fuseoverlayfs.opaque" };
	struct statx st;
	char v[2];
	size_t i;

	for (i = 0; i < sizeof(attrs) / sizeof(*attrs); i++)
		if (dir->layer->ops->getxattr(dir, "", attrs[i], v, sizeof(v)) == 1 && v[0] == 'y')
			return true;
	return dir->layer->ops->stat(dir, LAYER_WH_OPAQUE, &st) == 0;
}

static int walk_dir(struct strata *s, struct node *n, const struct layer_dir *dir, unsigned depth)
{
	struct walk w = { .s = s, .node = n, .dir = dir, .depth = depth };
	struct node *c;
	int r = dir->layer->ops->iterate(dir, walk_entry, &w);

	/* opaque: what the layer does not have again is deleted */
	if (r == 0 && n->first && is_opaque(dir))
		for (c = n->first; c && r == 0; c = c->next)
			if (there(c) && c->pub.last->layer != s->layer)
				r = delete (s, c);
	return r;
}

static int add_layer(struct strata *s, const char *path, char **ret_err)
{
	struct layer *l;
	struct statx st;
	int r = layer_open(path, false, &l, ret_err);

	if (r < 0)
		return r;
	r = l->ops->stat(&l->root, "", &st);
	if (r == 0)
		r = add_event(s, s->root, s->root->pub.last ? STRATA_CHANGED : STRATA_ADDED,
			      st.stx_mode, 0);
	if (r == 0)
		r = walk_dir(s, s->root, &l->root, 0);
	layer_close(l);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct strata_node *const *)a)->name,
		      (*(struct strata_node *const *)b)->name);
}

/* Makes sorted arrays of the lists, which are not needed any more. */
static int settle(struct strata *s, struct node *n)
{
	struct node *c;
	uint32_t i = 0;
	int r = 0;

	if (!n->first)
		return 0;
	n->pub.child = cut(s, n->pub.children * sizeof(struct strata_node *));
	if (!n->pub.child)
		return -ENOMEM;
	for (c = n->first; c; c = c->next)
		n->pub.child[i++] = &c->pub;
	qsort(n->pub.child, i, sizeof(struct strata_node *), by_name);
	for (c = n->first; c && r == 0; c = c->next)
		r = settle(s, c);
	return r;
}

int strata_new(const char *const *paths, unsigned n, struct strata **ret, char **ret_err)
{
	struct strata *s = sys_calloc(1, sizeof(*s));
	int r = -ENOMEM;

	*ret_err = NULL;
	if (s) {
		s->n = n;
		s->sum = sys_calloc(n, sizeof(*s->sum));
		s->root = cut(s, sizeof(*s->root));
	}
	if (s && s->sum && s->root) {
		s->root->pub.name = "";
		for (r = 0; s->layer < n && r == 0; s->layer++)
			r = add_layer(s, paths[s->layer], ret_err);
		free(s->table);
		s->table = NULL;
	}
	if (r == 0)
		r = settle(s, s->root);
	if (r < 0) {
		strata_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void strata_free(struct strata *s)
{
	if (!s)
		return;
	while (s->blocks) {
		struct block *b = s->blocks;

		s->blocks = b->next;
		free(b);
	}
	free(s->table);
	free(s->sum);
	free(s);
}

const struct strata_node *strata_root(const struct strata *s)
{
	return &s->root->pub;
}

const struct strata_sum *strata_sum(const struct strata *s, unsigned layer)
{
	return &s->sum[layer];
}

const struct strata_node *strata_child(const struct strata_node *dir, const char *name)
{
	uint32_t lo = 0, hi = dir->children;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = strcmp(dir->child[mid]->name, name);

		if (c == 0)
			return dir->child[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct strata_event *strata_at(const struct strata_node *n, unsigned layer)
{
	const struct strata_event *e = n->last;

	while (e && e->layer > layer)
		e = e->before;
	return e;
}

bool strata_there(const struct strata_node *n, unsigned layer)
{
	const struct strata_event *e = strata_at(n, layer);

	return e && e->change != STRATA_DELETED;
}
