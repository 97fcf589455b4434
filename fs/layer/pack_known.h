/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents that have been packed, found by their hash. Memory is bounded: beyond KNOWN_MAX
 * pieces no new ones are remembered, and what repeats them is stored again.
 */
#ifndef PLYFS_LAYER_PACK_KNOWN_H
#define PLYFS_LAYER_PACK_KNOWN_H

#include <stdbool.h>
#include <stdint.h>
#include <xxhash.h>

#define KNOWN_MAX (8U << 20)

struct known;

struct known_chunk {
	XXH128_hash_t hash;
	uint32_t frame, skip, len;
	bool pending; /* sha256 is not known yet */
	uint8_t sha256[32];
};

int known_new(struct known **ret); /* 0 or -ENOMEM */
void known_free(struct known *k); /* NULL is ignored */
/* Chunks come in the order of their numbers, from 0. 0 or -ENOMEM. */
int known_add(struct known *k, uint32_t chunk, const struct known_chunk *c);
/* 1 with the number of a chunk that hashes so, or 0. */
int known_find(const struct known *k, const XXH128_hash_t *hash, uint32_t *ret);
/* What is known of the chunk that known_find() named. */
const struct known_chunk *known_get(const struct known *k, uint32_t chunk);
void known_digest(struct known *k, uint32_t chunk, const uint8_t sha256[32]);

#endif
