/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of merged directories' tables, and what is asked of it.
 *
 * Tables are found by the directory's slot and thrown away by age, past a size
 * that grows with the number of nodes: memory follows what the kernel remembers.
 *
 * Locks: the cache's mutex protects the list, the hash, the counts and
 * changes. It is taken under u->lock, never the other way round. An entry's
 * state is atomic. A table in use is counted, and only one that nobody uses
 * gets new names.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fs/union/dirtab.h"
#include "fs/union/resolve.h"
#include "lib/sys.h"

#define BUCKETS 256
/* What the tables may occupy: so much, and so much per node: bytes. */
#define BASE_BYTES (1U << 20)
#define NODE_BYTES 8
#define MAX_BYTES (32U << 20)
/* Into a larger table no name is inserted. */
#define INSERT_MAX 4096

struct dircache {
	pthread_mutex_t lock;
	struct dirtab *bucket[BUCKETS];
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

/* --- tables ---------------------------------------------------------------- */

void dirtab_free(struct dirtab *t)
{
	if (!t)
		return;
	free(t->e);
	free(t->names);
	free(t);
}

void dirtab_measure(struct dirtab *t)
{
	t->bytes = sizeof(*t) + t->cap * sizeof(*t->e) + t->names_cap;
}

uint64_t dirtab_cookie(const struct union_fs *u, const char *name)
{
	uint64_t h = XXH3_64bits_withSeed(name, strlen(name), u->name_key) >> 1;

	h = h >> DIRTAB_RANK_BITS << DIRTAB_RANK_BITS;
	return h ? h : 1 << DIRTAB_RANK_BITS;
}

size_t dirtab_after(const struct dirtab *t, uint64_t cookie)
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

static bool same_hash(uint64_t a, uint64_t b)
{
	return a >> DIRTAB_RANK_BITS == b >> DIRTAB_RANK_BITS;
}

struct dirtab_ent *dirtab_find(const struct union_fs *u, const struct dirtab *t, const char *name)
{
	uint64_t c = dirtab_cookie(u, name);
	size_t i;

	for (i = dirtab_after(t, c - 1); i < t->n && same_hash(t->e[i].cookie, c); i++)
		if (!strcmp(dirtab_name(t, &t->e[i]), name))
			return &t->e[i];
	return NULL;
}

int dirtab_grow(void **p, size_t *cap, size_t need, size_t size)
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

int dirtab_add_name(struct dirtab *t, const char *name, uint32_t *ret)
{
	size_t len = strlen(name) + 1;
	void *p = t->names;
	int r;

	if (t->names_len + len > UINT32_MAX)
		return -EFBIG;
	r = dirtab_grow(&p, &t->names_cap, t->names_len + len, 1);
	t->names = p;
	if (r < 0)
		return r;
	memcpy(t->names + t->names_len, name, len);
	*ret = (uint32_t)t->names_len;
	t->names_len += len;
	return 0;
}

/* --- the cache ------------------------------------------------------------- */

static struct dirtab **bucket(struct dircache *c, uint32_t slot)
{
	return &c->bucket[(slot * 2654435761U >> 16) % BUCKETS];
}

/* With the cache's lock. */
static void uncache(struct dircache *c, struct dirtab *t)
{
	struct dirtab **p = bucket(c, t->slot);

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	*(t->newer ? &t->newer->older : &c->newest) = t->older;
	*(t->older ? &t->older->newer : &c->oldest) = t->newer;
	t->cached = false;
	c->count--;
	c->bytes -= t->bytes;
	if (!t->refs)
		dirtab_free(t);
}

static void lru_push(struct dircache *c, struct dirtab *t)
{
	t->newer = NULL;
	t->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = t;
	c->newest = t;
}

static struct dirtab *find(struct dircache *c, uint32_t slot)
{
	struct dirtab *t = *bucket(c, slot);

	while (t && t->slot != slot)
		t = t->next;
	if (t && t != c->newest) {
		t->newer->older = t->older;
		*(t->older ? &t->older->newer : &c->oldest) = t->newer;
		lru_push(c, t);
	}
	return t;
}

/* Keeps @t, and throws older ones away for it. */
static void cache(struct dircache *c, struct dirtab *t, size_t limit)
{
	while (c->oldest && c->bytes + t->bytes > limit)
		uncache(c, c->oldest);
	t->cached = true;
	t->next = *bucket(c, t->slot);
	*bucket(c, t->slot) = t;
	lru_push(c, t);
	c->count++;
	c->bytes += t->bytes;
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

void dircache_removed(struct union_fs *u, uint32_t slot, const char *name)
{
	struct dircache *c = u->dirs;
	struct dirtab_ent *e;
	struct dirtab *t;

	(void)pthread_mutex_lock(&c->lock);
	c->changes++;
	t = find(c, slot);
	e = t ? dirtab_find(u, t, name) : NULL;
	if (e)
		e->flags |= DIRTAB_HIDDEN;
	(void)pthread_mutex_unlock(&c->lock);
}

void dircache_copied_up(struct union_fs *u, uint32_t slot, const char *name)
{
	struct dircache *c = u->dirs;
	struct dirtab_ent *e;
	struct dirtab *t;

	(void)pthread_mutex_lock(&c->lock);
	c->changes++;
	t = find(c, slot);
	e = t ? dirtab_find(u, t, name) : NULL;
	if (e) {
		e->layer = 0;
		e->flags &= (uint8_t)~DIRTAB_ONLY;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* Puts @name into @t. False: it could not be. */
static bool insert(struct union_fs *u, struct dirtab *t, const char *name, uint8_t type)
{
	uint64_t cookie = dirtab_cookie(u, name);
	size_t i = dirtab_after(t, cookie - 1);
	void *p = t->e;
	uint32_t off;
	int r;

	/* ranks are given when a table is built */
	if (i < t->n && same_hash(t->e[i].cookie, cookie))
		return false;
	r = dirtab_grow(&p, &t->cap, t->n + 1, sizeof(*t->e));
	t->e = p;
	if (r < 0 || dirtab_add_name(t, name, &off) < 0)
		return false;
	memmove(t->e + i + 1, t->e + i, (t->n - i) * sizeof(*t->e));
	t->e[i] = (struct dirtab_ent){
		.cookie = cookie,
		.name = off,
		.layer = 0,
		.type = type,
		.flags = DIRTAB_ONLY,
	};
	t->n++;
	return true;
}

void dircache_added(struct union_fs *u, uint32_t slot, const char *name, mode_t mode)
{
	struct dircache *c = u->dirs;
	struct dirtab_ent *e;
	struct dirtab *t;
	bool ok = false;

	(void)pthread_mutex_lock(&c->lock);
	c->changes++;
	t = find(c, slot);
	if (t && !t->refs && t->n < INSERT_MAX) {
		c->bytes -= t->bytes;
		e = dirtab_find(u, t, name);
		if (e) {
			e->flags = e->layer ? 0 : e->flags & DIRTAB_ONLY;
			e->layer = 0;
			e->type = (uint8_t)IFTODT(mode);
			ok = true;
		} else {
			ok = insert(u, t, name, (uint8_t)IFTODT(mode));
		}
		dirtab_measure(t);
		c->bytes += t->bytes;
	}
	if (t && !ok)
		uncache(c, t);
	(void)pthread_mutex_unlock(&c->lock);
}

int dircache_hint(struct union_fs *u, uint32_t slot, const char *name, struct resolve_hint *ret)
{
	struct dircache *c = u->dirs;
	struct dirtab_ent *e;
	struct dirtab *t;
	int r = -1;

	(void)pthread_mutex_lock(&c->lock);
	t = find(c, slot);
	if (t) {
		e = dirtab_find(u, t, name);
		r = e && !(e->flags & DIRTAB_HIDDEN);
		if (r)
			*ret = (struct resolve_hint){
				.layer = e->layer,
				.only = e->flags & DIRTAB_ONLY,
				.no_aufs = !t->aufs,
			};
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

int dircache_lower_has(struct union_fs *u, uint32_t slot, const char *name)
{
	struct dircache *c = u->dirs;
	struct dirtab_ent *e;
	struct dirtab *t;
	int r = -1;

	(void)pthread_mutex_lock(&c->lock);
	t = find(c, slot);
	if (t && !t->err) {
		e = dirtab_find(u, t, name);
		if (!e || (e->layer == 0 && e->flags & DIRTAB_ONLY))
			r = 0;
		else if (e->layer && !(e->flags & DIRTAB_HIDDEN))
			r = 1;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

void dircache_load(struct union_fs *u, struct node *n)
{
	struct dirtab *t;

	if (dirtab_get(u, n, false, &t) == 0)
		dirtab_put(u, t);
}

/* --- tables in use --------------------------------------------------------- */

void dirtab_put(struct union_fs *u, struct dirtab *t)
{
	(void)pthread_mutex_lock(&u->dirs->lock);
	if (--t->refs == 0 && !t->cached)
		dirtab_free(t);
	(void)pthread_mutex_unlock(&u->dirs->lock);
}

int dirtab_get(struct union_fs *u, struct node *n, bool fresh, struct dirtab **ret)
{
	struct dircache *c = u->dirs;
	uint32_t slot = node_slot(u, n);
	unsigned long changes;
	struct dirtab *t;
	size_t limit;
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
	r = dirtab_build(u, n, &t);
	if (r < 0)
		return r;
	t->refs = 1;
	table_lock(u);
	limit = BASE_BYTES + (size_t)u->nnodes * NODE_BYTES;
	table_unlock(u);
	(void)pthread_mutex_lock(&c->lock);
	if (c->changes == changes && !t->err && !find(c, slot))
		cache(c, t, limit < MAX_BYTES ? limit : MAX_BYTES);
	(void)pthread_mutex_unlock(&c->lock);
	*ret = t;
	return 0;
}
