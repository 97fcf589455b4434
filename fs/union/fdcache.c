/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded cache of descriptors. */
#include "fs/union/fdcache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys.h"

struct fdent {
	struct fdent *next; /* hash chain, or list of the dead */
	struct fdent *newer, *older; /* LRU; only while cached */
	struct layer_dir dir;
	uint32_t slot;
	unsigned kind;
	unsigned pins;
	bool cached;
	char *orphan; /* owned; of the dead only */
};

/* Entries that need no descriptor: as many as are kept. */
#define LIGHT_BUDGET 4096

struct lru {
	struct fdent *newest, *oldest;
	unsigned count, budget;
};

struct fdcache {
	pthread_mutex_t lock; /* protects all below */
	struct fdent **hash; /* by slot */
	unsigned mask;
	struct lru lru[2]; /* with a descriptor, and without */
	struct fdent *_Atomic dead; /* to be closed */
};

int fdcache_init(struct union_fs *u, unsigned budget)
{
	struct fdcache *c = sys_calloc(1, sizeof(*c));
	unsigned size = 64;

	if (!c)
		return -ENOMEM;
	while (size < budget && size < 65536)
		size *= 2;
	c->hash = sys_calloc(size, sizeof(struct fdent *));
	if (!c->hash) {
		free(c);
		return -ENOMEM;
	}
	c->mask = size - 1;
	c->lru[0].budget = budget;
	c->lru[1].budget = LIGHT_BUDGET;
	(void)pthread_mutex_init(&c->lock, NULL);
	u->fds = c;
	return 0;
}

static struct lru *lru_of(struct fdcache *c, const struct fdent *e)
{
	return &c->lru[e->dir.fd < 0];
}

static void lru_remove(struct fdcache *c, struct fdent *e)
{
	struct lru *l = lru_of(c, e);

	*(e->newer ? &e->newer->older : &l->newest) = e->older;
	*(e->older ? &e->older->newer : &l->oldest) = e->newer;
	e->newer = e->older = NULL;
	l->count--;
}

static void lru_push(struct fdcache *c, struct fdent *e)
{
	struct lru *l = lru_of(c, e);

	e->older = l->newest;
	e->newer = NULL;
	*(l->newest ? &l->newest->newer : &l->oldest) = e;
	l->newest = e;
	l->count++;
}

static struct fdent **bucket(struct fdcache *c, uint32_t slot)
{
	return &c->hash[(slot * 2654435761U >> 8) & c->mask];
}

/* Takes @e out of the cache; it joins the dead once nobody uses it. */
static void uncache(struct fdcache *c, struct fdent *e)
{
	struct fdent **p = bucket(c, e->slot);

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	lru_remove(c, e);
	e->cached = false;
	if (!e->pins) {
		e->next = c->dead;
		c->dead = e;
	}
}

struct fdent *fdcache_get(struct union_fs *u, uint32_t slot, unsigned kind)
{
	struct fdcache *c = u->fds;
	struct fdent *e;

	(void)pthread_mutex_lock(&c->lock);
	for (e = *bucket(c, slot); e; e = e->next)
		if (e->slot == slot && e->kind == kind)
			break;
	if (e) {
		e->pins++;
		if (lru_of(c, e)->newest != e) {
			lru_remove(c, e);
			lru_push(c, e);
		}
	}
	(void)pthread_mutex_unlock(&c->lock);
	return e;
}

/* Makes room for one more, if anything is out of use. */
static void evict(struct fdcache *c, const struct lru *l)
{
	struct fdent *e = l->oldest, *newer;

	for (; e && l->count >= l->budget; e = newer) {
		newer = e->newer;
		if (!e->pins)
			uncache(c, e);
	}
}

struct fdent *fdcache_once(struct union_fs *u, const struct layer_dir *dir)
{
	struct fdent *e = sys_calloc(1, sizeof(*e));

	(void)u;
	if (!e) {
		sys_close(dir->fd);
		return NULL;
	}
	e->dir = *dir;
	e->pins = 1;
	return e;
}

struct fdent *fdcache_add(struct union_fs *u, uint32_t slot, unsigned kind,
			  const struct layer_dir *dir)
{
	struct fdcache *c = u->fds;
	struct fdent *e = fdcache_once(u, dir), *o;

	if (!e)
		return NULL;
	e->slot = slot;
	e->kind = kind;
	(void)pthread_mutex_lock(&c->lock);
	for (o = *bucket(c, slot); o; o = o->next)
		if (o->slot == slot && o->kind == kind)
			break;
	if (o) {
		o->pins++;
		e->pins = 0;
		e->next = c->dead;
		c->dead = e;
		e = o;
	} else {
		evict(c, lru_of(c, e));
		e->cached = true;
		e->next = *bucket(c, slot);
		*bucket(c, slot) = e;
		lru_push(c, e);
	}
	(void)pthread_mutex_unlock(&c->lock);
	fdcache_reap(u);
	return e;
}

void fdcache_put(struct union_fs *u, struct fdent *e)
{
	struct fdcache *c = u->fds;
	bool last;

	if (!e)
		return;
	(void)pthread_mutex_lock(&c->lock);
	last = --e->pins == 0 && !e->cached;
	(void)pthread_mutex_unlock(&c->lock);
	if (last) {
		sys_close(e->dir.fd);
		free(e);
	}
}

const struct layer_dir *fdcache_dir(const struct fdent *e)
{
	return &e->dir;
}

static void drop(struct union_fs *u, uint32_t slot, bool all, unsigned kind)
{
	struct fdcache *c = u->fds;
	struct fdent *e, *next;

	(void)pthread_mutex_lock(&c->lock);
	for (e = *bucket(c, slot); e; e = next) {
		next = e->next;
		if (e->slot == slot && (all || e->kind == kind))
			uncache(c, e);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void fdcache_drop(struct union_fs *u, uint32_t slot)
{
	drop(u, slot, true, 0);
}

void fdcache_drop_kind(struct union_fs *u, uint32_t slot, unsigned kind)
{
	drop(u, slot, false, kind);
}

void fdcache_reap_later(struct union_fs *u, int fd, const char *orphan)
{
	struct fdcache *c = u->fds;
	struct fdent *e;

	if (fd < 0 && !orphan)
		return;
	if (fd >= 0)
		u->pins--;
	e = sys_calloc(1, sizeof(*e));
	if (!e) {
		/* the next mount removes the orphan */
		sys_close(fd);
		return;
	}
	e->dir.fd = fd;
	e->orphan = orphan ? sys_strdup(orphan) : NULL;
	(void)pthread_mutex_lock(&c->lock);
	e->next = c->dead;
	c->dead = e;
	(void)pthread_mutex_unlock(&c->lock);
}

void fdcache_reap(struct union_fs *u)
{
	struct fdcache *c = u->fds;
	struct fdent *e, *next;

	if (!c || !atomic_load_explicit(&c->dead, memory_order_relaxed))
		return;
	(void)pthread_mutex_lock(&c->lock);
	e = c->dead;
	c->dead = NULL;
	(void)pthread_mutex_unlock(&c->lock);
	for (; e; e = next) {
		next = e->next;
		sys_close(e->dir.fd);
		if (e->orphan) {
			(void)sys_unlinkat(u->work, e->orphan, 0);
			free(e->orphan);
		}
		free(e);
	}
}

unsigned fdcache_count(struct union_fs *u)
{
	unsigned n;

	(void)pthread_mutex_lock(&u->fds->lock);
	n = u->fds->lru[0].count;
	(void)pthread_mutex_unlock(&u->fds->lock);
	return n;
}

void fdcache_release(struct union_fs *u)
{
	struct fdcache *c = u->fds;

	if (!c)
		return;
	while (c->lru[0].oldest)
		uncache(c, c->lru[0].oldest);
	while (c->lru[1].oldest)
		uncache(c, c->lru[1].oldest);
	fdcache_reap(u);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->hash);
	free(c);
	u->fds = NULL;
}
