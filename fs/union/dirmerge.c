/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merged listings.
 *
 * Theory of operation. Nobody tells us when a listing ends, so nothing may
 * depend on state that a listing keeps. A cookie is therefore a function of
 * the name alone: a hash of it, keyed for the life of the mount, with the rank
 * among names of equal hash in its low bits. Entries come in cookie order. The
 * table of a directory (all visible names, sorted) is a cache: it can be
 * dropped at any moment and built again, and a listing that goes on with the
 * new one neither repeats nor skips a name that stayed.
 *
 * A table also remembers in which layer each name was found first, and whether
 * any layer below has that name too, which spares the lookups that fill in
 * attributes most of their questions. It is a hint that a copy-up makes wrong;
 * dircache_copied_up() mends it, and a change during the building of a table
 * makes it one for this call only.
 *
 * Locks: the cache's mutex protects the list, the counts and u->dirs->changes.
 * An entry's state is atomic. A table in use is counted.
 */
#include "fs/union/dirmerge.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fs/union/attr.h"
#include "fs/union/locate.h"
#include "fs/union/resolve.h"
#include "lib/sys.h"

#define MAX_TABLES 64
#define MAX_BYTES (32U << 20)
#define COOKIE_DOT 1
#define COOKIE_DOTDOT 2
#define RANK_BITS 4

enum ent_state { ENT_LIVE,
		 ENT_REMOVED };

struct dirent_tab {
	uint64_t cookie;
	uint32_t name; /* offset in names */
	_Atomic uint16_t layer; /* the topmost that has it; MAX_LAYERS: ask */
	uint8_t type; /* DT_* */
	_Atomic bool only; /* no layer below has it */
	_Atomic uint8_t state;
};

struct dirtab {
	struct dirtab *newer, *older;
	uint32_t slot;
	unsigned refs;
	bool cached;
	int err; /* of some entry: not known whether it is a whiteout */
	size_t n, cap, bytes;
	struct dirent_tab *e; /* owned; sorted by cookie once built */
	char *names; /* owned */
	size_t names_len, names_cap;
};

struct dircache {
	pthread_mutex_t lock;
	struct dirtab *newest, *oldest;
	unsigned count;
	size_t bytes;
	unsigned long changes; /* counts everything that makes tables wrong */
};

int dircache_init(struct union_fs *u)
{
	u->dirs = sys_calloc(1, sizeof(*u->dirs));
	if (!u->dirs)
		return -ENOMEM;
	(void)pthread_mutex_init(&u->dirs->lock, NULL);
	return 0;
}

static void tab_free(struct dirtab *t)
{
	if (!t)
		return;
	free(t->e);
	free(t->names);
	free(t);
}

/* With the cache's lock. */
static void uncache(struct dircache *c, struct dirtab *t)
{
	*(t->newer ? &t->newer->older : &c->newest) = t->older;
	*(t->older ? &t->older->newer : &c->oldest) = t->newer;
	t->cached = false;
	c->count--;
	c->bytes -= t->bytes;
	if (!t->refs)
		tab_free(t);
}

static struct dirtab *find(struct dircache *c, uint32_t slot)
{
	struct dirtab *t;

	for (t = c->newest; t; t = t->older)
		if (t->slot == slot)
			break;
	return t;
}

void dircache_drop(struct union_fs *u, uint32_t slot)
{
	struct dircache *c = u->dirs;
	struct dirtab *t;

	if (!c)
		return;
	(void)pthread_mutex_lock(&c->lock);
	c->changes++;
	t = find(c, slot);
	if (t)
		uncache(c, t);
	(void)pthread_mutex_unlock(&c->lock);
}

void dircache_release(struct union_fs *u)
{
	struct dircache *c = u->dirs;

	if (!c)
		return;
	while (c->oldest)
		uncache(c, c->oldest);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
	u->dirs = NULL;
}

unsigned dircache_count(struct union_fs *u)
{
	unsigned n;

	(void)pthread_mutex_lock(&u->dirs->lock);
	n = u->dirs->count;
	(void)pthread_mutex_unlock(&u->dirs->lock);
	return n;
}

static uint64_t name_cookie(const struct union_fs *u, const char *name, size_t len)
{
	uint64_t h = XXH3_64bits_withSeed(name, len, u->name_key) >> 1;

	h = h >> RANK_BITS << RANK_BITS;
	return h ? h : 1 << RANK_BITS;
}

/* The first entry whose cookie is above @cookie. */
static size_t tab_after(const struct dirtab *t, uint64_t cookie)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (t->e[mid].cookie <= cookie)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct dirent_tab *tab_find(const struct union_fs *u, const struct dirtab *t,
				   const char *name)
{
	uint64_t c = name_cookie(u, name, strlen(name));
	size_t i;

	for (i = tab_after(t, c - 1); i < t->n && t->e[i].cookie >> RANK_BITS == c >> RANK_BITS; i++)
		if (!strcmp(t->names + t->e[i].name, name))
			return &t->e[i];
	return NULL;
}

void dircache_removed(struct union_fs *u, uint32_t slot, const char *name)
{
	struct dircache *c = u->dirs;
	struct dirent_tab *e;
	struct dirtab *t;

	(void)pthread_mutex_lock(&c->lock);
	c->changes++;
	t = find(c, slot);
	e = t ? tab_find(u, t, name) : NULL;
	if (e)
		e->state = ENT_REMOVED;
	(void)pthread_mutex_unlock(&c->lock);
}

void dircache_copied_up(struct union_fs *u, uint32_t slot, const char *name)
{
	struct dircache *c = u->dirs;
	struct dirent_tab *e;
	struct dirtab *t;

	(void)pthread_mutex_lock(&c->lock);
	c->changes++;
	t = find(c, slot);
	e = t ? tab_find(u, t, name) : NULL;
	if (e) {
		e->layer = 0;
		e->only = false;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

int dircache_hint(struct union_fs *u, uint32_t slot, const char *name, struct resolve_hint *ret)
{
	struct dircache *c = u->dirs;
	struct dirent_tab *e;
	struct dirtab *t;
	int r = -1;

	(void)pthread_mutex_lock(&c->lock);
	t = find(c, slot);
	if (t) {
		e = tab_find(u, t, name);
		r = e && e->state == ENT_LIVE;
		if (r)
			*ret = (struct resolve_hint){ .layer = e->layer, .only = e->only };
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

/* --- building ------------------------------------------------------------ */

/* A set of the names already decided upon, by offset into names. */
struct build {
	struct union_fs *u;
	struct dirtab *t;
	uint32_t *set; /* 1 + index into ent */
	size_t mask, nset;
	struct seen {
		uint32_t name;
		uint16_t layer;
		uint8_t type;
		bool hidden, only, wh_only;
	} * ent;
	size_t nent, cap;
	const struct layer_dir *dir; /* being read */
	bool merged, opaque, last, xwhiteouts;
	uint32_t *aufs; /* names (offsets) that .wh. files of this layer hide */
	size_t naufs, aufs_cap;
};

static int grow(void **p, size_t *cap, size_t need, size_t size)
{
	size_t n = *cap ? *cap : 32;
	void *q;

	if (need <= *cap)
		return 0;
	while (n < need)
		n *= 2;
	q = sys_realloc(*p, n * size);
	if (!q)
		return -ENOMEM;
	*p = q;
	*cap = n;
	return 0;
}

static int add_name(struct dirtab *t, const char *name, uint32_t *ret)
{
	size_t len = strlen(name) + 1;
	void *p = t->names;
	int r;

	if (t->names_len + len > UINT32_MAX)
		return -EFBIG;
	r = grow(&p, &t->names_cap, t->names_len + len, 1);
	t->names = p;
	if (r < 0)
		return r;
	memcpy(t->names + t->names_len, name, len);
	*ret = (uint32_t)t->names_len;
	t->names_len += len;
	return 0;
}

static uint32_t *set_slot(struct build *b, const char *name)
{
	size_t h = XXH3_64bits(name, strlen(name)) & b->mask;

	while (b->set[h] && strcmp(b->t->names + b->ent[b->set[h] - 1].name, name))
		h = (h + 1) & b->mask;
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
		*set_slot(b, b->t->names + b->ent[i].name) = (uint32_t)i + 1;
	return 0;
}

/* Records @name, decided by the layer being read; hidden: nothing below shows. */
static int decide(struct build *b, const char *name, uint8_t type, bool hidden)
{
	struct seen *s;
	void *p = b->ent;
	int r;

	if (b->merged) {
		uint32_t *slot;

		if (b->nent * 2 >= b->mask) {
			r = set_grow(b);
			if (r < 0)
				return r;
		}
		slot = set_slot(b, name);
		if (*slot) {
			/* a layer above has it: not alone there, if it shows */
			b->ent[*slot - 1].only = false;
			return 0;
		}
		*slot = (uint32_t)b->nent + 1;
	}
	r = grow(&p, &b->cap, b->nent + 1, sizeof(*b->ent));
	b->ent = p;
	if (r < 0)
		goto fail;
	s = &b->ent[b->nent];
	*s = (struct seen){
		.layer = (uint16_t)b->dir->layer->id,
		.type = type,
		.hidden = hidden,
		.only = true,
	};
	r = add_name(b->t, name, &s->name);
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
		if (!strcmp(de->name, LAYER_WH_OPAQUE)) {
			b->opaque = true;
			return 0;
		}
		/* takes effect when this layer's own names are all in */
		r = add_name(b->t, de->name + strlen(LAYER_WH_PREFIX), &off);
		if (r < 0)
			return r;
		p = b->aufs;
		r = grow(&p, &b->aufs_cap, b->naufs + 1, sizeof(*b->aufs));
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
	size_t i;
	int r;

	b->naufs = 0;
	r = b->dir->layer->ops->iterate(b->dir, build_entry, b);
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
	const struct dirent_tab *x = a, *y = b;
	const char *names = arg;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return strcmp(names + x->name, names + y->name);
}

/* From what was seen to the sorted table. */
static int build_finish(struct build *b)
{
	struct dirtab *t = b->t;
	size_t i, rank = 0;

	t->e = sys_calloc(b->nent, sizeof(*t->e));
	if (!t->e)
		return -ENOMEM;
	for (i = 0; i < b->nent; i++) {
		const struct seen *s = &b->ent[i];
		const char *name = t->names + s->name;
		struct dirent_tab *e = &t->e[t->n];

		if (s->hidden)
			continue;
		e->cookie = name_cookie(b->u, name, strlen(name));
		e->name = s->name;
		e->layer = s->layer;
		e->type = s->type;
		e->only = s->only;
		t->n++;
	}
	qsort_r(t->e, t->n, sizeof(*t->e), cmp_ent, t->names);
	for (i = 1; i < t->n; i++) {
		if (t->e[i].cookie >> RANK_BITS == t->e[i - 1].cookie >> RANK_BITS &&
		    rank + 1 < 1 << RANK_BITS)
			t->e[i].cookie += ++rank;
		else
			rank = 0;
	}
	t->bytes = sizeof(*t) + b->nent * sizeof(*t->e) + t->names_cap;
	return 0;
}

static void build_release(struct build *b)
{
	free(b->set);
	free(b->ent);
	free(b->aufs);
}

static int build_table(struct union_fs *u, struct node *n, struct dirtab **ret)
{
	struct build b = { .u = u };
	uint16_t layers[MAX_LAYERS], flags[MAX_LAYERS];
	unsigned nl = 0, i;
	struct dstack *s;
	int r = 0;

	b.t = sys_calloc(1, sizeof(*b.t));
	if (!b.t)
		return -ENOMEM;
	b.t->slot = node_slot(u, n);
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
		r = build_finish(&b);
	build_release(&b);
	if (r < 0) {
		tab_free(b.t);
		return r;
	}
	*ret = b.t;
	return 0;
}

static void tab_put(struct union_fs *u, struct dirtab *t)
{
	(void)pthread_mutex_lock(&u->dirs->lock);
	if (--t->refs == 0 && !t->cached)
		tab_free(t);
	(void)pthread_mutex_unlock(&u->dirs->lock);
}

/* The directory's table, counted. @fresh: what is cached will not do. */
static int tab_get(struct union_fs *u, struct node *n, bool fresh, struct dirtab **ret)
{
	struct dircache *c = u->dirs;
	uint32_t slot = node_slot(u, n);
	unsigned long changes;
	struct dirtab *t;
	int r;

	(void)pthread_mutex_lock(&c->lock);
	t = find(c, slot);
	if (t && fresh) {
		uncache(c, t);
		t = NULL;
	}
	if (t)
		t->refs++;
	changes = c->changes;
	(void)pthread_mutex_unlock(&c->lock);
	if (t) {
		*ret = t;
		return 0;
	}
	r = build_table(u, n, &t);
	if (r < 0)
		return r;
	t->refs = 1;
	(void)pthread_mutex_lock(&c->lock);
	if (c->changes == changes && !t->err && !find(c, slot)) {
		while (c->oldest && (c->count >= MAX_TABLES || c->bytes + t->bytes > MAX_BYTES))
			uncache(c, c->oldest);
		t->cached = true;
		t->older = c->newest;
		*(c->newest ? &c->newest->newer : &c->oldest) = t;
		c->newest = t;
		c->count++;
		c->bytes += t->bytes;
	}
	(void)pthread_mutex_unlock(&c->lock);
	*ret = t;
	return 0;
}

/* --- listing ------------------------------------------------------------- */

static int emit_dots(struct union_fs *u, struct node *n, uint64_t cookie, union_dirent_fn fn,
		     void *arg)
{
	struct union_entry e = { 0 };
	struct dent *d;
	int r;

	e.st.stx_mode = S_IFDIR;
	if (cookie < COOKIE_DOT) {
		e.st.stx_ino = n->ino;
		r = fn(arg, ".", COOKIE_DOT, &e);
		if (r)
			return r;
	}
	if (cookie < COOKIE_DOTDOT) {
		table_lock(u);
		d = dent_at(u, n->dents);
		e.st.stx_ino = d ? node_at(u, d->parent)->ino : n->ino;
		table_unlock(u);
		return fn(arg, "..", COOKIE_DOTDOT, &e);
	}
	return 0;
}

/* Looks up one entry of a table. -ENOENT: it is not there (any more). */
static int fill_entry(struct union_fs *u, struct node *n, const struct dirent_tab *te,
		      const char *name, bool plus, struct union_entry *e)
{
	struct resolve_hint hint = { .layer = te->layer, .only = te->only };
	struct resolved res;
	struct node *known = NULL;
	struct dent *d;
	int r;

	memset(e, 0, sizeof(*e));
	table_lock(u);
	d = dent_find(u, n, name);
	if (d && !u->cfg.lower_live) {
		known = node_at(u, d->node);
		node_hold(known);
	}
	table_unlock(u);
	if (known) {
		r = attr_get(u, known, &e->st);
		table_lock(u);
		if (!r && plus) {
			known->nlookup++;
			e->nodeid = node_id(u, known);
		}
		node_drop(u, known);
		table_unlock(u);
		return r;
	}
	r = resolve(u, n, name, hint, &res);
	if (r == -ENOENT) {
		/* the hint is old, or the name is gone */
		hint = (struct resolve_hint){ .layer = MAX_LAYERS };
		r = resolve(u, n, name, hint, &res);
	}
	if (r < 0)
		return r;
	if (plus) {
		r = resolve_node(u, n, name, &res, e);
	} else {
		e->st = res.st;
		e->st.stx_ino = res.ino;
	}
	resolve_release(&res);
	return r;
}

int union_readdir(struct union_fs *u, uint64_t nodeid, uint64_t cookie, bool plus,
		  union_dirent_fn fn, void *arg)
{
	struct union_entry e;
	struct dirtab *t;
	struct node *n;
	size_t i;
	int r;

	table_lock(u);
	n = node_get(u, nodeid);
	table_unlock(u);
	if (!n)
		return -ESTALE;
	if (!node_is_dir(n))
		return -ENOTDIR;
	if (cookie < COOKIE_DOTDOT) {
		r = emit_dots(u, n, cookie, fn, arg);
		if (r)
			return r < 0 ? r : 0;
	}
	r = tab_get(u, n, u->cfg.lower_live && cookie <= COOKIE_DOTDOT, &t);
	if (r < 0)
		return r;
	i = tab_after(t, cookie <= COOKIE_DOTDOT ? COOKIE_DOTDOT : cookie);
	for (r = 0; i < t->n && !r; i++) {
		const struct dirent_tab *te = &t->e[i];
		const char *name = t->names + te->name;

		if (te->state == ENT_REMOVED)
			continue;
		r = fill_entry(u, n, te, name, plus, &e);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0) {
			/* listed all the same: a lookup tells what is wrong with it */
			memset(&e, 0, sizeof(e));
			e.st.stx_mode = (uint16_t)DTTOIF(te->type);
			e.st.stx_ino = te->cookie; /* libraries skip entries with none */
		}
		r = fn(arg, name, te->cookie, &e);
		if (r && e.nodeid)
			union_forget(u, e.nodeid, 1);
	}
	tab_put(u, t);
	return r < 0 ? r : 0;
}

void dircache_load(struct union_fs *u, struct node *n)
{
	struct dirtab *t;

	if (tab_get(u, n, false, &t) == 0)
		tab_put(u, t);
}

int dir_is_empty(struct union_fs *u, struct node *n)
{
	struct dirtab *t;
	int r = 0;
	size_t i;

	r = tab_get(u, n, false, &t);
	if (r < 0)
		return r;
	for (i = 0; i < t->n && !r; i++)
		if (t->e[i].state != ENT_REMOVED)
			r = t->err ? t->err : -ENOTEMPTY;
	tab_put(u, t);
	return r;
}

int dir_each(struct union_fs *u, struct node *n, dir_each_fn fn, void *arg)
{
	struct dirtab *t;
	int r = tab_get(u, n, false, &t);
	size_t i;

	if (r < 0)
		return r;
	for (i = 0; i < t->n && !r; i++)
		if (t->e[i].state != ENT_REMOVED)
			r = fn(arg, t->names + t->e[i].name, t->e[i].cookie, t->e[i].type);
	tab_put(u, t);
	return r;
}
