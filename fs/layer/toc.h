/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers that carry a table of contents: eStargz, and zstd:chunked in both dialects. The
 * index is made from the TOC alone, and the blob stays what it is.
 */
#ifndef PLYFS_LAYER_TOC_H
#define PLYFS_LAYER_TOC_H

#include "fs/layer/index_build.h"
#include "fs/layer/source.h"

/* What an image's manifest says about a layer's TOC: annotation values, NULL where absent. */
struct toc_hint {
	const char *stargz_digest; /* containerd.io/snapshot/stargz/toc.digest: of the uncompressed
				      TOC */
	const char *
		checksum; /* io.github.containers.zstd-chunked.manifest-checksum, or older prefix */
	const char *position; /* ....manifest-position */
	const char *tarsplit_position;
	const struct source
		*external; /* a TOC kept outside of the blob (stargz.index.json's layer), or NULL */
};

/*
 * Fills @b from the TOC of @s. ret_info's kind and toc digest are set. *ret_verified: a digest of
 * @hint vouches for the TOC. -ENODATA: no TOC here; -EBADMSG: its digest is not what
 * @hint says, or it contradicts itself: *ret_err (malloc'ed) names entry and reason. Memory is
 * bounded by what the index needs; a TOC may be 150 MiB.
 */
int toc_index(const struct source *s, const struct toc_hint *hint, struct index_build *b,
	      struct index_info *ret_info, bool *ret_verified, char **ret_err);

#endif
