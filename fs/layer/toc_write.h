/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing layers that carry a table of contents, from any layer: eStargz, and zstd:chunked in
 * both dialects. What is written depends on the layer and the options alone.
 *
 *	eStargz           another tar: landmark and TOC are in it, so the diff ID changes
 *	stargz's zstd     another tar (a landmark), likewise
 *	zstd:chunked      of containers/storage: the same tar, the same diff ID
 */
#ifndef PLYFS_LAYER_TOC_WRITE_H
#define PLYFS_LAYER_TOC_WRITE_H

#include "fs/layer/pack.h"
#include "fs/layer/source.h"

enum toc_format {
	TOC_FORMAT_ESTARGZ,
	TOC_FORMAT_STARGZ_ZSTD,
	TOC_FORMAT_CHUNKED,
};

struct toc_write_options {
	enum toc_format format;
	int level; /* of gzip or zstd; 0: the default */
	uint32_t chunk; /* of a file, bytes; 0: 4 MiB. zstd:chunked finds its own */
	const char *const *first; /* paths that come before the rest, in that order */
	size_t n_first;
	uint8_t *found; /* of n_first, or NULL: set to 1 for those that the layer has */
	const uint8_t *layer, *diff_id; /* SHA-256 that are demanded, or NULL */
	/* Called now and then; non-zero stops with that result. */
	int (*progress)(void *arg, const struct pack_progress *p);
	void *arg;
};

struct toc_written {
	uint8_t digest[32], diff_id[32];
	uint64_t size; /* of the blob */
	unsigned n_notes; /* annotations for the layer's descriptor */
	struct {
		char key[80], value[120];
	} notes[8];
};

/*
 * Writes @s anew into the empty file @fd; @spool is another empty file, for the tar
 * while it is read (it may be an unnamed one). -EBADMSG: not what options demand;
 * -EINVAL: a hostile or broken archive; -EPROTONOSUPPORT: something that the format cannot
 * hold. *ret_err (malloc'ed) names layer, entry and reason.
 */
int toc_write(const struct source *s, int spool, int fd, const struct toc_write_options *o,
	      struct toc_written *ret, char **ret_err);

#endif
