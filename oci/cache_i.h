/* SPDX-License-Identifier: Apache-2.0 */
/* The layer cache's inside. */
#ifndef PLYFS_OCI_CACHE_I_H
#define PLYFS_OCI_CACHE_I_H

#include "oci/cache.h"

struct layer_cache {
	char *path;
	int fd; /* the directory */
};

#define CACHE_NAME_SIZE (INDEX_BLOB_NAME_SIZE + 8)
/* "sha256-HEX" and @suffix (".index", ".lock", at most 7 bytes). */
void cache_name(const uint8_t digest[32], const char *suffix, char ret[CACHE_NAME_SIZE]);
/* The digest in such a name; false: it is none. */
bool cache_name_digest(const char *name, const char *suffix, uint8_t ret[32]);

/*
 * Takes the lock of one layer, waiting for whoever has it; released by cache_unlock(). A
 * descriptor or -errno.
 */
int cache_lock(const struct layer_cache *c, const char *name, bool wait);
void cache_unlock(const struct layer_cache *c, int fd, const char *name);

/*
 * Whether the index of @digest is there, is one of that layer, and has its blob: 1 or 0.
 * *ret_info may be NULL. ret_blob (4096 bytes, may be NULL): where the blob is.
 */
int cache_check(const struct layer_cache *c, const uint8_t digest[32], struct index_info *ret_info,
		char *ret_blob);

/* The digest of a layer's bytes: remembered by inode and times, else computed. */
int cache_seen_digest(const struct layer_cache *c, const struct image_layer *l,
		      const struct source *s, uint8_t ret[32], char **ret_err);

/* One layer to be had. */
struct layer_cache_get {
	struct layer_cache *c;
	const struct image_layer *l;
	unsigned threads; /* for this layer */
	int (*progress)(void *arg, const struct pack_progress *p); /* or NULL */
	void *arg;
	bool *ret_made; /* set where it was not there before; or NULL */
};
int cache_get(const struct layer_cache_get *g, char **ret_path, char **ret_err);

#endif
