/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small seeded generator (splitmix64) and the byte patterns made from it.
 * Everything the differential test decides comes from here, so that one seed
 * is one run.
 */
#ifndef TESTS_DIFF_RNG_H
#define TESTS_DIFF_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t s;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* A number in [0, n); 0 when n is 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return n ? rng_next(r) % n : 0;
}

/* True in pct of 100 cases. */
static inline int rng_pct(struct rng *r, unsigned int pct)
{
	return rng_below(r, 100) < pct;
}

/* Fill buf with the bytes that seed stands for. */
static inline void rng_fill(uint64_t seed, void *buf, size_t len)
{
	struct rng r = { .s = seed };
	unsigned char *p = buf;
	size_t i;

	for (i = 0; i < len; i++) {
		if (i % 8 == 0)
			seed = rng_next(&r);
		p[i] = (unsigned char)(seed >> (i % 8 * 8));
	}
}

#define HASH_INIT 0xcbf29ce484222325ull

/* FNV-1a over eight bytes at a time: fast enough for whole trees. */
static inline uint64_t hash_mix(uint64_t h, const void *buf, size_t len)
{
	const unsigned char *p = buf;
	size_t i;

	for (i = 0; i + 8 <= len; i += 8) {
		uint64_t w = 0;
		int k;

		for (k = 7; k >= 0; k--)
			w = w << 8 | p[i + (size_t)k];
		h = (h ^ w) * 0x100000001b3ull;
		h ^= h >> 29;
	}
	for (; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

#endif
