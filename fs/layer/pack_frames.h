/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a packed blob: pieces of files are collected into frames, equal pieces once, frames
 * are compressed by threads and written in order. What becomes of the blob depends on
 * the pieces and the options alone, not on the threads.
 *
 *	frames_room(), write the piece there, frames_add()	for each piece
 *	frames_finish()
 *
 * One thread fills, and it alone calls these functions. Chunks and frames go into the
 * index_build as they become known. 0 or -errno.
 */
#ifndef PLYFS_LAYER_PACK_FRAMES_H
#define PLYFS_LAYER_PACK_FRAMES_H

#include "fs/layer/index_build.h"

struct frames;

#define FRAME_DEFAULT (128U << 10) /* see doc/packing.md */
#define FRAME_MIN (4U << 10)
#define FRAME_MAX (16U << 20)
#define FRAME_LEVEL 1

struct frames_options {
	int fd; /* of the blob, empty; borrowed */
	int level; /* of zstd */
	uint32_t size; /* bytes in a frame at most: FRAME_MIN..FRAME_MAX */
	unsigned threads;
	struct index_build *b; /* borrowed */
};

int frames_new(const struct frames_options *o, struct frames **ret);
void frames_free(struct frames *f); /* NULL is ignored; ends the threads */

/*
 * Where the next piece goes: room for @size bytes, which are no more than a frame's.
 * -errno too where compressing or writing has failed meanwhile.
 */
int frames_room(struct frames *f, uint32_t size, uint8_t **ret);
/* @len bytes are there (not 0): they are the chunk *ret, or equal to that. */
int frames_add(struct frames *f, uint32_t len, uint32_t *ret);

/* Writes the rest. Size and SHA-256 of the blob. */
int frames_finish(struct frames *f, uint64_t *ret_size, uint8_t ret_sha256[32]);

uint64_t frames_written(struct frames *f); /* bytes so far */

#endif
