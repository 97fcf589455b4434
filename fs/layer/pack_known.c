/* SPDX-License-Identifier: Apache-2.0 */
/* An open hash table of chunk numbers beside an array of what is known of each. */
#include "fs/layer/pack_known.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys.h"

struct known {
	struct known_chunk *c; /* by number; owned */
	uint32_t n, cap;
	uint32_t *slot; /* number plus 1, or 0; owned */
	uint32_t mask;
};

int known_new(struct known **ret)
{
	struct known *k = sys_calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->mask = 4095;
	k->slot = sys_calloc(k->mask + 1, sizeof(*k->slot));
	if (!k->slot) {
		free(k);
		return -ENOMEM;
	}
	*ret = k;
	return 0;
}

void known_free(struct known *k)
{
	if (!k)
		return;
	free(k->c);
	free(k->slot);
	free(k);
}

static void insert(uint32_t *slot, uint32_t mask, const struct known_chunk *c, uint32_t n)
{
	uint32_t i = (uint32_t)c->hash.low64 & mask;

	while (slot[i])
		i = (i + 1) & mask;
	slot[i] = n + 1;
}

/* Twice the slots, half of them empty. */
static int grow_slots(struct known *k)
{
	uint32_t mask = 2 * k->mask + 1;
	uint32_t *slot = sys_calloc((size_t)mask + 1, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < k->n; i++)
		insert(slot, mask, &k->c[i], i);
	free(k->slot);
	k->slot = slot;
	k->mask = mask;
	return 0;
}

int known_add(struct known *k, uint32_t chunk, const struct known_chunk *c)
{
	int r = 0;

	if (k->n >= KNOWN_MAX || chunk != k->n)
		return 0;
	if (k->n == k->cap) {
		uint32_t cap = k->cap ? 2 * k->cap : 1024;
		struct known_chunk *p = sys_realloc(k->c, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		k->c = p;
		k->cap = cap;
	}
	if (k->n > k->mask / 2)
		r = grow_slots(k);
	if (r < 0)
		return r;
	k->c[k->n] = *c;
	insert(k->slot, k->mask, c, k->n++);
	return 0;
}

int known_find(const struct known *k, const XXH128_hash_t *hash, uint32_t *ret)
{
	for (uint32_t i = (uint32_t)hash->low64 & k->mask; k->slot[i]; i = (i + 1) & k->mask) {
		if (!XXH128_isEqual(k->c[k->slot[i] - 1].hash, *hash))
			continue;
		*ret = k->slot[i] - 1;
		return 1;
	}
	return 0;
}

const struct known_chunk *known_get(const struct known *k, uint32_t chunk)
{
	return &k->c[chunk];
}

void known_digest(struct known *k, uint32_t chunk, const uint8_t sha256[32])
{
	if (chunk >= k->n)
		return;
	memcpy(k->c[chunk].sha256, sha256, 32);
	k->c[chunk].pending = false;
}
