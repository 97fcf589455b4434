/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing: a layer that cannot be read at random (tar in gzip, zstd, xz, bzip2) becomes
 * an index and a blob of zstd frames, in one pass. An uncompressed tar becomes an index alone.
 */
#ifndef PLYFS_LAYER_PACK_H
#define PLYFS_LAYER_PACK_H

#include "fs/layer/index_build.h"
#include "fs/layer/source.h"

struct pack_progress {
	uint64_t in, in_total; /* bytes of the layer */
	uint64_t raw, out; /* bytes of the tar, and of the blob */
	uint64_t files;
};

struct pack_options {
	int level; /* of zstd; 0: the default */
	uint32_t frame; /* bytes in a frame, uncompressed; 0: the default */
	unsigned threads; /* 0: as many as there are processors */
	const uint8_t *layer, *diff_id; /* SHA-256 that are demanded, or NULL */
	bool repack; /* make frames of an uncompressed tar too */
	bool no_sync; /* do not wait for the disk before the blob has its name */
	/* Called now and then by one thread; non-zero stops with that result. */
	int (*progress)(void *arg, const struct pack_progress *p);
	void *arg;
};

/*
 * Packs @s into DIRFD: the blob is named by its digest (index_blob_name()), the index @name.
 * Both are complete and synced before they have their names; nothing is left behind on failure.
 * An uncompressed tar that is used as it is gets no blob: see info->blob for its digest, and let
 * source_write_ref() or a link provide it. ret_info (may be NULL) is what the index says.
 * -EBADMSG: not what @o->layer or @o->diff_id demands; -EINVAL: a hostile or
 * broken archive. *ret_err (malloc'ed) names entry and reason.
 */
int pack_layer(const struct source *s, int dirfd, const char *name, const struct pack_options *o,
	       struct index_info *ret_info, char **ret_err);

#endif
