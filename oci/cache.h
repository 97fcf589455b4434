/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local layer cache: an index for each layer that was ever asked for, so that the next
 * time nothing is read but the index.
 *
 *	DIR/sha256-HEX.index     by the digest of the layer, as its image names it
 *	DIR/sha256-HEX           the blob of an index: frames that were packed, or a link
 *	DIR/sha256-HEX.ref       where else the blob is (fs/layer/source.h)
 *	DIR/sha256-HEX.lock      held while an index is being made; gone afterwards
 *	DIR/seen-HEX             digest of a file that was seen, by its inode and times
 *
 * All of it can be made again from the images. Several processes may use one cache:
 * each layer is made once, by whoever comes first, the others wait. What is killed
 * in between leaves nothing that counts as there; leftovers are removed by layer_cache_prune().
 * What is removed while a mount uses it stays until that mount ends.
 */
#ifndef PLYFS_OCI_CACHE_H
#define PLYFS_OCI_CACHE_H

#include "fs/layer/index.h"
#include "fs/layer/pack.h"
#include "oci/image.h"

struct layer_cache;

/* Days after which what nobody has used is removed when something is added. */
#define LAYER_CACHE_DAYS 60

/*
 * Opens the cache @dir, made where missing; NULL: $PLYFS_LAYERS, else /var/lib/plyfs/layers
 * for root, else $XDG_DATA_HOME/plyfs/layers or ~/.local/share/plyfs/layers. -errno with a
 * sentence (malloc'ed) in *ret_err, here and below.
 */
int layer_cache_open(const char *dir, struct layer_cache **ret, char **ret_err);
void layer_cache_close(struct layer_cache *c); /* NULL is ignored */
const char *layer_cache_path(const struct layer_cache *c); /* absolute */

struct layer_cache_options {
	unsigned threads; /* layers at a time; 0: as many as there are processors */
	/*
	 * Called now and then while layer @i of @n is made, by any thread, one at a time;
	 * non-zero stops with that result.
	 */
	int (*progress)(void *arg, unsigned i, unsigned n, const struct pack_progress *p);
	void *arg;
};

/*
 * The path (malloc'ed, absolute) of what mounts as @l: an index, made when missing, or
 * the directory itself. From its TOC where a verified digest vouches for one, else by
 * packing, with digest and diff ID checked. @o may be NULL.
 */
int layer_cache_get(struct layer_cache *c, const struct image_layer *l,
		    const struct layer_cache_options *o, char **ret_path, char **ret_err);

/* The same of all layers of an image, several at a time: image_layers() paths, lowest first. */
int layer_cache_get_all(struct layer_cache *c, const struct image *img,
			const struct layer_cache_options *o, char ***ret_paths, char **ret_err);
void layer_cache_paths_free(char **paths, unsigned n);

/* One layer of the cache. */
struct layer_cache_entry {
	uint8_t digest[32];
	struct index_info info; /* zero where the index cannot be read */
	uint64_t size; /* bytes on disk: of the index, and of a blob that is only here */
	int64_t used; /* when it was last asked for, seconds since 1970 */
	bool broken; /* no index of ours, or its blob is not there any more */
	char blob[4096]; /* where the blob is, "" where it is missing */
};
/* Calls @fn for each, in no order; a non-zero result ends it and is returned. */
int layer_cache_list(struct layer_cache *c,
		     int (*fn)(void *arg, const struct layer_cache_entry *e), void *arg,
		     char **ret_err);

struct layer_cache_prune {
	bool all; /* everything */
	int64_t older; /* seconds: what was not used for so long; < 0: only what is broken */
	uint64_t max_size; /* and the least used until no more than that is left; 0: no limit */
	bool dry_run; /* remove nothing */
	int (*fn)(void *arg, const struct layer_cache_entry *e); /* of each removed, or NULL */
	void *arg;
};
/* Removes; *ret_bytes (may be NULL): what that freed. Leftovers of killed processes go as well. */
int layer_cache_prune(struct layer_cache *c, const struct layer_cache_prune *o,
		      uint64_t *ret_bytes, char **ret_err);

#endif
