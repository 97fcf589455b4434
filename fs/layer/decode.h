/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of whole streams: gzip of one or many members, zstd of one or many frames, xz,
 * bzip2. Memory is bounded: a stream that wants more than DECODE_MEMORY for its window is
 * refused. What follows the last member, but for zeros after gzip, is damage, and so is an end
 * too soon.
 */
#ifndef PLYFS_LAYER_DECODE_H
#define PLYFS_LAYER_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/layer/source.h"

#define DECODE_MEMORY_LOG 28
#define DECODE_MEMORY (1U << DECODE_MEMORY_LOG)

struct decoder;

struct decode_buf {
	const uint8_t *in;
	size_t in_len;
	bool last; /* no input comes after this */
	uint8_t *out;
	size_t out_len; /* room */
};

/* -EPROTONOSUPPORT: a format that is no compression. */
int decoder_new(enum source_format format, struct decoder **ret);
void decoder_free(struct decoder *d); /* NULL is ignored */

/*
 * Decodes until either the input or the room is used up; both are moved on. 1: the stream has
 * ended (with b->last alone, and all of the input used); 0: go on; -EINVAL: damaged, -EFBIG:
 * too large a window, -ENOMEM; *ret_why: a word for it, constant.
 */
int decoder_run(struct decoder *d, struct decode_buf *b, const char **ret_why);

#endif
