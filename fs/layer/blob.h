/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of the files of an index, from its blob.
 *
 * What was decompressed is kept in the process's cache (fs/layer/blobcache.h), a
 * frame at a time; frames larger than BLOB_FRAME_MAX in slabs, with a decoder kept
 * at its place for whoever goes on reading. Bytes are handed out only after they
 * were found to be right: by the XXH3 of the frame's stored bytes where that is
 * known, else by the SHA-256 of their chunk where that is. Who reads one frame
 * after the other finds the next ones ready: a thread decompresses ahead.
 */
#ifndef PLYFS_LAYER_BLOB_H
#define PLYFS_LAYER_BLOB_H

#include <stdbool.h>

#include "fs/layer/index.h"
#include "fs/layer/source.h"

/* Frames of more bytes are not held whole. */
#define BLOB_FRAME_MAX (16U << 20)

struct blob;

/* @ix and what @src names are borrowed; src->fd becomes the blob's, also on failure. */
int blob_open(const struct index *ix, const struct source *src, struct blob **ret);
/* Nobody may be reading any more. NULL is ignored. */
void blob_close(struct blob *b);

/*
 * As pread(2) of the regular file @file of the index. @nowait: -EAGAIN where anything
 * must be decompressed, checked or read from a disk. -EIO: something is damaged, and
 * blob_why() says what; the next call tries again.
 */
ssize_t blob_read(struct blob *b, const struct index_inode *file, void *buf, size_t size,
		  uint64_t off, bool nowait);

/* As lseek(2) with SEEK_DATA and SEEK_HOLE. */
off_t blob_seek(struct blob *b, const struct index_inode *file, uint64_t off, int whence);

/* What the calling thread's last -EIO was about; "" before the first. */
const char *blob_why(void);

#endif
