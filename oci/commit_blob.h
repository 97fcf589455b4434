/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream that is compressed into a file, with the digests of both: a layer as it is stored. The
 * same bytes in give the same bytes out, wherever: no name, no time, no threads.
 */
#ifndef PLYFS_OCI_COMMIT_BLOB_H
#define PLYFS_OCI_COMMIT_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct commit_blob;

/* Writes to @fd, from its beginning; @level 0: the default. 0 or -errno. */
int commit_blob_new(int fd, bool zstd, int level, struct commit_blob **ret);
void commit_blob_free(struct commit_blob *b); /* NULL is ignored */
int commit_blob_add(void *blob, const void *data, size_t size); /* a tar_sink */
/* Digests of what went in and of what was written, and the size of that. */
int commit_blob_end(struct commit_blob *b, uint8_t ret_raw[32], uint8_t ret_stored[32],
		    uint64_t *ret_size);

#endif
