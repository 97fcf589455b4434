/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a directory in all its layers, into a table.
 *
 * The layers are read from the top. A name that a layer above has decided upon
 * stays as it is, except that it is not alone any more. What is hidden is kept
 * too: a name that is not in the table is in no layer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/dirtab.h"
#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/resolve.h"
#include "lib/sys.h"

/* A set of the names already decided upon, by offset into names. */
struct build {
	struct union_fs *u;
	struct node *n;
	struct dirtab *t;
	uint32_t *set; /* 1 + index into ent */
	size_t mask, nset;
	/* in the order in which they are found; the table's own, sorted at the end */
	struct dirtab_ent *ent;
	size_t nent, cap;
	const struct layer_dir *dir; /* being read */
	bool merged, opaque, last, xwhiteouts;
	uint32_t *aufs; /* names (offsets) that .wh. files of this layer hide */
	size_t naufs, aufs_cap;
};

static uint32_t *set_slot(struct build *b, uint64_t cookie, const char *name)
{
	size_t h = (cookie >> DIRTAB_RANK_BITS) & b->mask;

	for (; b->set[h]; h = (h + 1) & b->mask) {
		const struct dirtab_ent *e = &b->ent[b->set[h] - 1];

		if (e->cookie == cookie && !strcmp(dirtab_name(b->t, e), name))
			break;
	}
	return &b->set[h];
}

static int set_grow(struct build *b)
{
	size_t mask = b->mask ? b->mask * 2 + 1 : 255, i;
	uint32_t *set = sys_calloc(mask + 1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	free(b->set);
	b->set = set;
	b->mask = mask;
	for (i = 0; i < b->nent; i++)
		*set_slot(b, b->ent[i].cookie, dirtab_name(b->t, &b->ent[i])) = (uint32_t)i + 1;
	return 0;
}

/* Records @name, decided by the layer being read; hidden: nothing below shows. */
static int decide(struct build *b, const char *name, uint8_t type, bool hidden)
{
	uint64_t cookie = dirtab_cookie(b->u, name);
	struct dirtab_ent *e;
	void *p = b->ent;
	int r;

	if (b->merged) {
		uint32_t *slot;

		if (b->nent * 2 >= b->mask) {
			r = set_grow(b);
			if (r < 0)
				return r;
		}
		slot = set_slot(b, cookie, name);
		if (*slot) {
			/* a layer above has it: not alone there, if it shows */
			b->ent[*slot - 1].flags &= (uint8_t)~DIRTAB_ONLY;
			return 0;
		}
		*slot = (uint32_t)b->nent + 1;
	}
	r = dirtab_grow(&p, &b->cap, b->nent + 1, sizeof(*b->ent));
	b->ent = p;
	if (r < 0)
		goto fail;
	e = &b->ent[b->nent];
	*e = (struct dirtab_ent){
		.cookie = cookie,
		.layer = (uint16_t)b->dir->layer->id,
		.type = type,
		.flags = (uint8_t)(DIRTAB_ONLY | (hidden ? DIRTAB_HIDDEN : 0)),
	};
	r = dirtab_add_name(b->t, name, &e->name);
	if (r < 0)
		goto fail;
	b->nent++;
	return 0;
fail:
	if (b->merged) {
		/* the set points past the end now; the build is given up */
		memset(b->set, 0, (b->mask + 1) * sizeof(*b->set));
	}
	return r;
}

/* 1, 0 or -errno. */
static int is_whiteout(struct build *b, const struct layer_dirent *de)
{
	struct statx st;
	int r;

	if (de->whiteout)
		return 1;
	if (de->type != DT_CHR && de->type != DT_UNKNOWN && !(b->xwhiteouts && de->type == DT_REG))
		return 0;
	r = b->dir->layer->ops->stat(b->dir, de->name, &st);
	/* in a directory shut by its owner: a plain user has no other devices there */
	if (r == -EACCES && de->type == DT_CHR && !b->u->privileged && !b->dir->layer->id)
		return 1;
	if (r < 0)
		return r;
	if (layer_is_whiteout(&st))
		return 1;
	return b->xwhiteouts && S_ISREG(st.stx_mode) ? ovl_is_xwhiteout(b->u, b->dir, de->name) : 0;
}

static int build_entry(void *arg, const struct layer_dirent *de)
{
	struct build *b = arg;
	uint32_t off;
	void *p;
	int r;

	if (!strncmp(de->name, LAYER_WH_PREFIX, strlen(LAYER_WH_PREFIX))) {
		b->t->aufs = true;
		if (!strcmp(de->name, LAYER_WH_OPAQUE)) {
			b->opaque = true;
			return 0;
		}
		/* takes effect when this layer's own names are all in */
		r = dirtab_add_name(b->t, de->name + strlen(LAYER_WH_PREFIX), &off);
		if (r < 0)
			return r;
		p = b->aufs;
		r = dirtab_grow(&p, &b->aufs_cap, b->naufs + 1, sizeof(*b->aufs));
		b->aufs = p;
		if (r < 0)
			return r;
		b->aufs[b->naufs++] = off;
		return 0;
	}
	r = is_whiteout(b, de);
	if (r == -ENOENT)
		return 0; /* it has just gone */
	if (r == -ENOMEM)
		return r;
	/* what cannot be told is listed, and a lookup says what is wrong with it */
	if (r < 0)
		b->t->err = r;
	return decide(b, de->name, de->type, r == 1);
}

static int build_layer(struct build *b)
{
	struct loan l;
	size_t i;
	int r;

	b->naufs = 0;
	r = b->dir->layer->ops->iterate(b->dir, build_entry, b);
	/* shut since it was opened; of what it denies, nothing was listed yet */
	if (r == -EACCES && !b->dir->layer->id && lend_begin(b->u, b->n, b->dir->fd, &l) == 0) {
		r = b->dir->layer->ops->iterate(b->dir, build_entry, b);
		lend_end(&l);
	}
	/* names that .wh. files hide below; harmless for what is here itself */
	for (i = 0; !r && b->merged && i < b->naufs; i++) {
		char name[256];

		(void)snprintf(name, sizeof(name), "%s", b->t->names + b->aufs[i]);
		r = decide(b, name, DT_UNKNOWN, true);
	}
	return r;
}

static int cmp_ent(const void *a, const void *b, void *arg)
{
	const struct dirtab_ent *x = a, *y = b;
	const char *names = arg;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return strcmp(names + x->name, names + y->name);
}

/* Sorts what was seen, and gives ranks to names of equal hash. */
static void build_finish(struct build *b)
{
	struct dirtab *t = b->t;
	size_t i, rank = 0;

	t->e = b->ent;
	t->n = b->nent;
	t->cap = b->cap;
	b->ent = NULL;
	if (t->n)
		qsort_r(t->e, t->n, sizeof(*t->e), cmp_ent, t->names);
	for (i = 1; i < t->n; i++) {
		if (t->e[i].cookie >> DIRTAB_RANK_BITS == t->e[i - 1].cookie >> DIRTAB_RANK_BITS &&
		    rank + 1 < 1 << DIRTAB_RANK_BITS)
			t->e[i].cookie += ++rank;
		else
			rank = 0;
	}
	dirtab_measure(t);
}

static void build_release(struct build *b)
{
	free(b->set);
	free(b->ent);
	free(b->aufs);
}

int dirtab_build(struct union_fs *u, struct node *n, struct dirtab **ret)
{
	struct build b = { .u = u, .n = n };
	uint16_t layers[MAX_LAYERS], flags[MAX_LAYERS];
	unsigned nl = 0, i;
	struct dstack *s;
	int r = 0;

	b.t = sys_calloc(1, sizeof(*b.t));
	if (!b.t)
		return -ENOMEM;
	b.t->slot = node_slot(u, n);
	b.t->aufs = u->cfg.wh_files;
	table_lock(u);
	if (!node_has(n, NODE_GONE) || b.t->slot == u->root) {
		if (node_has(n, NODE_UPPER)) {
			flags[nl] = 0;
			layers[nl++] = 0;
		}
		s = stack_at(u, n);
		for (i = 0; s && i < s->n && nl < MAX_LAYERS; i++) {
			flags[nl] = s->e[i].flags;
			layers[nl++] = s->e[i].layer;
		}
	}
	table_unlock(u);
	b.merged = nl > 1;
	for (i = 0; i < nl && !b.opaque; i++) {
		struct fdent *e;

		r = locate_dir(u, n, layers[i], &e);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		b.dir = fdcache_dir(e);
		b.xwhiteouts = flags[i] & DSTACK_XWHITEOUTS;
		r = build_layer(&b);
		fdcache_put(u, e);
		if (r < 0)
			break;
	}
	if (!r)
		build_finish(&b);
	build_release(&b);
	if (r < 0) {
		dirtab_free(b.t);
		return r;
	}
	*ret = b.t;
	return 0;
}
