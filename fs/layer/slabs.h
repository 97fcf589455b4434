/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames too large to be held whole: decompressed from the beginning to where somebody
 * reads, with decoders that keep their place for who goes on from there.
 */
#ifndef PLYFS_LAYER_SLABS_H
#define PLYFS_LAYER_SLABS_H

#include "fs/layer/blobcache.h"
#include "fs/layer/frame.h"

/* A frame for slabs_load(); @key's slab counts from 0, SLABS_SIZE bytes each. */
struct slabs_frame {
	const struct source *blob;
	struct index_frame frame;
	struct cache_key key;
};
#define SLABS_SIZE (1U << 20)

/* Bytes in the slab of @f->key. */
size_t slabs_size(const struct slabs_frame *f);
/* As cache_load_fn, with a struct slabs_frame. */
int slabs_load(void *arg, struct cache_entry *e, void *buf, size_t size, const char **why);
/* The SHA-256 of [skip, skip + len) of the frame, to @ret. */
int slabs_sha256(const struct source *blob, const struct index_frame *f, uint64_t skip,
		 uint64_t len, uint8_t ret[32], const char **why);
/* Closes the decoders of the blob, none of which is in use. */
void slabs_drop(uint64_t blob);

#endif
