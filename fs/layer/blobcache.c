/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of decompressed frames. */
#include "fs/layer/blobcache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys.h"

#define BUCKETS 4096
/* Digests that are remembered for one entry; more are checked again. */
#define MAX_VERIFIED 1024
/* The largest buffer that is kept for the next: bytes. */
#define SPARE_MAX (1U << 20)

enum state {
	LOADING,
	READY,
	FAILED,
};

struct cache_entry {
	struct cache_entry *next; /* hash chain */
	struct cache_entry *newer, *older; /* LRU: while it is ready, found, and not pinned */
	struct cache_key key;
	enum state state;
	bool hashed;
	unsigned refs;
	int err;
	const char *why;
	size_t size;
	uint8_t *data; /* owned */
	uint8_t *offered; /* owned; while loading */
	uint32_t *verified; /* owned; ascending */
	unsigned nverified, cap;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* something was loaded, or there is more room */
	struct cache_entry *bucket[BUCKETS];
	struct cache_entry *newest, *oldest;
	size_t used, limit;
	/* The last buffer that was thrown out, not counted: most frames are of one size. */
	uint8_t *spare;
	size_t spare_size;
	uint64_t next_id;
	struct blobcache_counts n;
} cache = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.limit = BLOBCACHE_DEFAULT,
};

static void lock(void)
{
	(void)pthread_mutex_lock(&cache.lock);
}

static void unlock(void)
{
	(void)pthread_mutex_unlock(&cache.lock);
}

static size_t cost(size_t size)
{
	return size + sizeof(struct cache_entry);
}

static struct cache_entry **bucket(const struct cache_key *k)
{
	uint64_t h = k->blob * 0x9e3779b97f4a7c15ULL ^ ((uint64_t)k->slab << 32 | k->frame);

	h *= 0x9e3779b97f4a7c15ULL;
	return &cache.bucket[h >> 52];
}

_Static_assert(BUCKETS == 1 << 12, "bucket() yields twelve bits");

static struct cache_entry *find(const struct cache_key *k)
{
	struct cache_entry *e = *bucket(k);

	while (e && (e->key.blob != k->blob || e->key.frame != k->frame || e->key.slab != k->slab))
		e = e->next;
	return e;
}

static void hash(struct cache_entry *e)
{
	struct cache_entry **b = bucket(&e->key);

	e->next = *b;
	*b = e;
	e->hashed = true;
	cache.used += cost(e->size);
	cache.n.entries++;
}

/* Its memory counts until it is freed. */
static void unhash(struct cache_entry *e)
{
	struct cache_entry **p = bucket(&e->key);

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	e->hashed = false;
	cache.n.entries--;
}

static void lru_remove(struct cache_entry *e)
{
	*(e->newer ? &e->newer->older : &cache.newest) = e->older;
	*(e->older ? &e->older->newer : &cache.oldest) = e->newer;
	e->newer = e->older = NULL;
}

static void lru_push(struct cache_entry *e)
{
	e->older = cache.newest;
	e->newer = NULL;
	*(cache.newest ? &cache.newest->newer : &cache.oldest) = e;
	cache.newest = e;
}

/* Keeps a buffer for the next that needs one like it: new pages cost as much as decompressing. */
static void recycle(uint8_t *data, size_t size)
{
	if (size > cache.spare_size && size <= SPARE_MAX) {
		uint8_t *old = cache.spare;

		cache.spare = data;
		cache.spare_size = size;
		data = old;
	}
	free(data);
}

/* A buffer of @size bytes. */
static uint8_t *buffer(size_t size)
{
	uint8_t *p = cache.spare;

	if (!p || cache.spare_size < size || cache.spare_size / 2 > size)
		return sys_malloc(size ? size : 1);
	cache.spare = NULL;
	cache.spare_size = 0;
	return p;
}

/* Of one that nobody has or finds any more. */
static void entry_free(struct cache_entry *e)
{
	cache.used -= cost(e->size);
	recycle(e->data, e->size);
	free(e->offered);
	free(e->verified);
	free(e);
	(void)pthread_cond_broadcast(&cache.changed);
}

static void pin(struct cache_entry *e)
{
	if (!e->refs++ && e->state == READY)
		lru_remove(e);
}

static void unpin(struct cache_entry *e)
{
	if (--e->refs)
		return;
	if (!e->hashed) {
		entry_free(e);
		return;
	}
	lru_push(e);
	(void)pthread_cond_broadcast(&cache.changed);
}

/* Whether there is room for @size bytes more, after throwing out what nobody uses. */
static bool make_room(size_t size)
{
	while (cache.used && (cost(size) > cache.limit || cache.used > cache.limit - cost(size)) &&
	       cache.oldest) {
		struct cache_entry *e = cache.oldest;

		lru_remove(e);
		unhash(e);
		entry_free(e);
	}
	return !cache.used || (cost(size) <= cache.limit && cache.used <= cache.limit - cost(size));
}

static int wait_loaded(struct cache_entry *e, const char **why)
{
	int r;

	pin(e);
	while (e->state == LOADING)
		(void)pthread_cond_wait(&cache.changed, &cache.lock);
	if (e->state == READY)
		return 0;
	r = e->err;
	*why = e->why;
	unpin(e);
	return r;
}

/* A new entry, loading, pinned. */
static struct cache_entry *entry_new(const struct cache_key *k, size_t size)
{
	struct cache_entry *e = sys_calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->data = buffer(size);
	if (!e->data) {
		free(e);
		return NULL;
	}
	e->key = *k;
	e->size = size;
	e->refs = 1;
	hash(e);
	return e;
}

static void loaded(struct cache_entry *e, int r, const char *why)
{
	if (r == 1) { /* somebody else's */
		free(e->data);
		e->data = e->offered;
		e->offered = NULL;
		r = 0;
	} else if (!r) {
		cache.n.loaded += e->size;
	}
	e->state = r < 0 ? FAILED : READY;
	e->err = r;
	e->why = why;
	if (r < 0) {
		cache.n.failed++;
		unhash(e);
	}
	(void)pthread_cond_broadcast(&cache.changed);
}

int blobcache_get(const struct cache_key *k, size_t size, unsigned flags, cache_load_fn load,
		  void *arg, struct cache_entry **ret, const char **why)
{
	struct cache_entry *e;
	int r = 0;

	*why = "";
	lock();
	for (;;) {
		e = find(k);
		if (e && e->state == LOADING && flags) {
			unlock();
			return -EAGAIN;
		}
		if (e) {
			if (e->state == LOADING)
				r = wait_loaded(e, why);
			else
				pin(e);
			cache.n.hits++;
			unlock();
			*ret = e;
			return r;
		}
		if (flags & CACHE_NOWAIT) {
			unlock();
			return -EAGAIN;
		}
		if (make_room(size))
			break;
		if (flags & CACHE_AHEAD) {
			unlock();
			return -EAGAIN;
		}
		(void)pthread_cond_wait(&cache.changed, &cache.lock);
	}
	e = entry_new(k, size);
	if (e)
		cache.n.misses++;
	unlock();
	if (!e)
		return -ENOMEM;
	r = load(arg, e, e->data, size, why);
	lock();
	loaded(e, r, *why);
	if (r < 0)
		unpin(e);
	unlock();
	*ret = e;
	return r < 0 ? r : 0;
}

void blobcache_put(struct cache_entry *e)
{
	lock();
	unpin(e);
	unlock();
}

const uint8_t *blobcache_data(const struct cache_entry *e)
{
	return e->data;
}

void blobcache_offer(const struct cache_key *k, void *data, size_t size)
{
	struct cache_entry *e;

	lock();
	e = find(k);
	if (e && e->state == LOADING && !e->offered && e->size == size) {
		e->offered = data;
		data = NULL;
	} else if (!e && make_room(size)) {
		e = sys_calloc(1, sizeof(*e));
		if (e) {
			e->key = *k;
			e->size = size;
			e->state = READY;
			e->data = data;
			data = NULL;
			hash(e);
			lru_push(e);
			cache.n.loaded += size;
		}
	}
	unlock();
	free(data);
}

bool blobcache_offered(struct cache_entry *e)
{
	bool ret;

	lock();
	ret = e->offered;
	unlock();
	return ret;
}

/* Where @chunk is, or would be, among those verified. */
static unsigned verified_at(const struct cache_entry *e, uint32_t chunk)
{
	unsigned lo = 0, hi = e->nverified;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (e->verified[mid] < chunk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool blobcache_verified(struct cache_entry *e, uint32_t chunk)
{
	unsigned i;
	bool ret;

	lock();
	i = verified_at(e, chunk);
	ret = i < e->nverified && e->verified[i] == chunk;
	unlock();
	return ret;
}

void blobcache_set_verified(struct cache_entry *e, uint32_t chunk)
{
	unsigned i;

	lock();
	i = verified_at(e, chunk);
	if (i < e->nverified && e->verified[i] == chunk) {
		unlock();
		return;
	}
	if (e->nverified == e->cap && e->cap < MAX_VERIFIED) {
		unsigned cap = e->cap ? e->cap * 2 : 4;
		uint32_t *p = sys_realloc(e->verified, cap * sizeof(*p));

		if (p) {
			e->verified = p;
			e->cap = cap;
		}
	}
	if (e->nverified < e->cap) {
		memmove(e->verified + i + 1, e->verified + i,
			(e->nverified - i) * sizeof(*e->verified));
		e->verified[i] = chunk;
		e->nverified++;
	}
	unlock();
}

uint64_t blobcache_new_id(void)
{
	uint64_t id;

	lock();
	id = ++cache.next_id;
	unlock();
	return id;
}

void blobcache_drop(uint64_t blob)
{
	struct cache_entry *e;
	unsigned i;

	lock();
	for (i = 0; i < BUCKETS; i++) {
		for (e = cache.bucket[i]; e;) {
			if (e->key.blob != blob) {
				e = e->next;
				continue;
			}
			if (e->refs) {
				(void)pthread_cond_wait(&cache.changed, &cache.lock);
			} else {
				lru_remove(e);
				unhash(e);
				entry_free(e);
			}
			e = cache.bucket[i];
		}
	}
	if (!cache.used) {
		free(cache.spare);
		cache.spare = NULL;
		cache.spare_size = 0;
	}
	unlock();
}

void blobcache_set_limit(size_t bytes)
{
	lock();
	cache.limit = bytes ? bytes : BLOBCACHE_DEFAULT;
	(void)make_room(0);
	(void)pthread_cond_broadcast(&cache.changed);
	unlock();
}

size_t blobcache_limit(void)
{
	size_t n;

	lock();
	n = cache.limit;
	unlock();
	return n;
}

void blobcache_counts(struct blobcache_counts *ret)
{
	lock();
	*ret = cache.n;
	ret->bytes = cache.used;
	unlock();
}
