/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer's tar as a stream of blocks: a thread of its own reads and decompresses ahead, and
 * computes the digests of what is stored and of the tar. The consumer is one thread.
 */
#ifndef PLYFS_LAYER_TAR_INPUT_H
#define PLYFS_LAYER_TAR_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "fs/layer/source.h"

struct tar_input;

/* @s must last as long. -EINVAL: no tar, compressed or not; *ret_err as elsewhere. */
int tar_input_new(const struct source *s, struct tar_input **ret, char **ret_err);
void tar_input_free(struct tar_input *in); /* NULL is ignored; stops the thread */

enum source_format tar_input_format(const struct tar_input *in);

/*
 * The next block, which is valid until the next call: 1, or 0 at the end. -EINVAL: the
 * compressed stream is damaged; -EFBIG, -EIO, ...: *ret_err (malloc'ed) says what.
 */
int tar_input_next(struct tar_input *in, const uint8_t **ret, size_t *ret_len, char **ret_err);

/* Bytes of the layer read so far, and of the tar handed out. */
void tar_input_progress(struct tar_input *in, uint64_t *ret_stored, uint64_t *ret_raw);

/* After the end: SHA-256 of what is stored, and of the tar (the diff ID). */
void tar_input_digests(struct tar_input *in, uint8_t ret_stored[32], uint8_t ret_raw[32]);

#endif
