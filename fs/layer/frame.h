/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressing a frame of a blob. Nothing that a frame claims costs more than
 * what is really there: stored bytes are read as they are needed, and memory
 * is the caller's buffer and a decoder's window of at most FRAME_WINDOW.
 *
 * Where something is wrong, *why says so in words that go on after "frame N".
 */
#ifndef PLYFS_LAYER_FRAME_H
#define PLYFS_LAYER_FRAME_H

#include "fs/layer/index.h"
#include "fs/layer/source.h"

/* The largest window of a frame that is not decompressed in one piece: bytes, its logarithm. */
#define FRAME_WINDOW_LOG 24

/*
 * Decompresses the whole of @f into @buf, which has room for @f->raw bytes, and checks its
 * XXH3 where that is known. -EIO: it is damaged, or not what it claims to be; -ENOMEM.
 */
int frame_load(const struct source *blob, const struct index_frame *f, void *buf,
	       const char **why);

/* Checks the XXH3 of what is stored, a piece at a time; 0 where none is known. */
int frame_check(const struct source *blob, const struct index_frame *f, const char **why);

/* A place in a frame that is decompressed from its beginning, a piece at a time. */
struct frame_stream;
int frame_stream_open(const struct source *blob, const struct index_frame *f,
		      struct frame_stream **ret, const char **why);
/* Exactly @size bytes more, which must be within @f->raw; @buf NULL: they are skipped. */
int frame_stream_next(struct frame_stream *s, void *buf, uint64_t size, const char **why);
/* How many bytes have been taken. */
uint64_t frame_stream_pos(const struct frame_stream *s);
void frame_stream_close(struct frame_stream *s); /* NULL is ignored */

#endif
