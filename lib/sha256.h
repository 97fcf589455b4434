/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of what comes in pieces. For one thread at a time; 0 or -ENOMEM. */
#ifndef PLYFS_LIB_SHA256_H
#define PLYFS_LIB_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

struct sha256;

int sha256_new(struct sha256 **ret);
void sha256_free(struct sha256 *s); /* NULL is ignored */
int sha256_update(struct sha256 *s, const void *data, size_t size);
/* The digest of all so far; the next piece begins another. */
int sha256_final(struct sha256 *s, uint8_t ret[SHA256_SIZE]);
/* Of one piece, with an @s that holds nothing. */
int sha256_of(struct sha256 *s, const void *data, size_t size, uint8_t ret[SHA256_SIZE]);

#endif
