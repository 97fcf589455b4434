/* SPDX-License-Identifier: Apache-2.0 */
/* Digests, as OCI writes them: "sha256:" and 64 hexadecimal digits, in small letters. */
#ifndef PLYFS_OCI_DIGEST_H
#define PLYFS_OCI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/layer/source.h"

#define DIGEST_SIZE 32 /* bytes of a SHA-256 */
#define DIGEST_STRING_SIZE (7 + 64 + 1)

/* -EINVAL: no digest, or all zero; -EPROTONOSUPPORT: one of an algorithm other than SHA-256. */
int digest_parse(const char *s, uint8_t ret[DIGEST_SIZE]);
void digest_string(const uint8_t d[DIGEST_SIZE], char ret[DIGEST_STRING_SIZE]);
/* All zero: unknown. */
bool digest_known(const uint8_t d[DIGEST_SIZE]);
bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE]);

/* Of memory, and of a whole window. 0 or -errno. */
int digest_of(const void *buf, size_t size, uint8_t ret[DIGEST_SIZE]);
int digest_source(const struct source *s, uint8_t ret[DIGEST_SIZE]);

/* Of what comes piece by piece. digest_end() frees it, and so does digest_free(). */
struct digest;
int digest_begin(struct digest **ret);
int digest_add(struct digest *d, const void *buf, size_t size);
int digest_end(struct digest *d, uint8_t ret[DIGEST_SIZE]);
void digest_free(struct digest *d); /* NULL is ignored */

#endif
