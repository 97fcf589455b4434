/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was decompressed lately: one bounded cache for all layers of the
 * process.
 *
 * Theory of operation. An entry is a frame, or a slab of one too large to be
 * held whole. The first who asks for it decompresses it, without any lock;
 * who comes meanwhile waits for that, and gets its result, good or bad. What
 * failed is not kept: the next one tries again. Memory is taken into account
 * before it is filled, so that together with what is being decompressed and
 * what is being read from the cache stays within its limit; a request that
 * finds no room waits until there is some. One that is larger than the limit
 * is let in when nothing else is there.
 *
 * No deadlock: whoever holds an entry, or fills one, asks for no other.
 */
#ifndef PLYFS_LAYER_BLOBCACHE_H
#define PLYFS_LAYER_BLOBCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_key {
	uint64_t blob; /* of blobcache_new_id() */
	uint32_t frame, slab;
};

struct cache_entry;

enum cache_flag {
	CACHE_NOWAIT = 1 << 0, /* only what is there */
	CACHE_AHEAD = 1 << 1, /* nobody waits for it: only if there is room at once */
};

/*
 * Fills @buf with @size bytes: 0, -errno with *why (a constant string), or 1
 * where blobcache_offered() has become true for @e.
 */
typedef int (*cache_load_fn)(void *arg, struct cache_entry *e, void *buf, size_t size,
			     const char **why);

/*
 * The entry, pinned until blobcache_put(). -EAGAIN: not now, by @flags; else what @load
 * returned, with *why.
 */
int blobcache_get(const struct cache_key *k, size_t size, unsigned flags, cache_load_fn load,
		  void *arg, struct cache_entry **ret, const char **why);
void blobcache_put(struct cache_entry *e);
const uint8_t *blobcache_data(const struct cache_entry *e);

/*
 * Hands in what was decompressed on the way to something else; @data (malloc'ed) is taken
 * over. Dropped where there is no room. Who is about to load it is told.
 */
void blobcache_offer(const struct cache_key *k, void *data, size_t size);
bool blobcache_offered(struct cache_entry *e);

/* Whether chunk @chunk of the pinned entry was found to match its digest; and that it was. */
bool blobcache_verified(struct cache_entry *e, uint32_t chunk);
void blobcache_set_verified(struct cache_entry *e, uint32_t chunk);

uint64_t blobcache_new_id(void);
/* Waits for what is being loaded of the blob, and forgets all of it. */
void blobcache_drop(uint64_t blob);

/* Bytes; 0: the default. To be set before use. */
#define BLOBCACHE_DEFAULT (32U << 20)
void blobcache_set_limit(size_t bytes);
size_t blobcache_limit(void);

struct blobcache_counts {
	uint64_t bytes, entries; /* held now */
	uint64_t hits, misses; /* a wait for somebody else's loading is a hit */
	uint64_t loaded; /* bytes decompressed */
	uint64_t failed;
};
void blobcache_counts(struct blobcache_counts *ret);

#endif
