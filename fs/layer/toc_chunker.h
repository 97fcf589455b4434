/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where zstd:chunked cuts a file, as containers/storage does it, so that equal content has equal
 * chunks whoever packs it: at a rolling checksum (bup's: the last 64 bytes, 16 bits of it, so
 * every 64 KiB on average), and around runs of 1,024 zeros and more.
 */
#ifndef PLYFS_LAYER_TOC_CHUNKER_H
#define PLYFS_LAYER_TOC_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOC_CHUNKER_WINDOW 64

struct toc_chunker {
	/* Some bytes of a chunk; then, once, its end. Both stop with their result if < 0. */
	int (*put)(void *arg, const uint8_t *p, size_t len);
	int (*end)(void *arg, bool zeros);
	void *arg;

	uint32_t s1, s2;
	uint8_t window[TOC_CHUNKER_WINDOW];
	unsigned at;
	uint64_t run; /* zeros that may become a chunk */
	uint64_t len; /* of the chunk so far */
};

/* For a new file; the callbacks stay. */
void toc_chunker_reset(struct toc_chunker *c);
int toc_chunker_add(struct toc_chunker *c, const uint8_t *p, size_t len);
/* The file is complete. */
int toc_chunker_end(struct toc_chunker *c);

#endif
