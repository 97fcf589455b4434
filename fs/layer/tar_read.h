/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a tar, whatever dialect: ustar, pax, GNU (long names, sparse files old and
 * new), star. Names are bytes, never converted. What is stored as extended attributes
 * (SCHILY.xattr, LIBARCHIVE.xattr) and as POSIX ACLs (SCHILY.acl) comes out as extended
 * attributes. Bounded whatever the archive says: headers of one entry beyond TAR_MAX_HEADERS
 * bytes, names beyond PATH_MAX are refused by name.
 *
 * For one thread: the locale of the thread that calls is changed within the calls alone.
 * Functions return 0 or a positive result, or -errno with a sentence in *ret_err (malloc'ed)
 * that names the entry.
 */
#ifndef PLYFS_LAYER_TAR_READ_H
#define PLYFS_LAYER_TAR_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/layer/index_build.h"

struct tar_read;

#define TAR_MAX_HEADERS (16U << 20) /* bytes: pax records, long names and sparse maps of an entry */

/*
 * Where the tar comes from: the next block, valid until the next call. 1, 0 at the end,
 * -errno with *ret_err.
 */
typedef int (*tar_block_fn)(void *arg, const uint8_t **ret, size_t *ret_len, char **ret_err);

struct tar_item {
	const char *path; /* as in the archive, without slashes at its end */
	const char *link; /* another name of this path; else NULL */
	struct index_entry e;
};

struct tar_item_xattr {
	const char *name;
	const void *value;
	size_t len;
};

int tar_read_new(tar_block_fn fn, void *arg, struct tar_read **ret);
void tar_read_free(struct tar_read *t); /* NULL is ignored */

/* The next entry, valid until the next call: 1, 0 at the end of the archive. */
int tar_read_next(struct tar_read *t, struct tar_item *ret, char **ret_err);
/* Its attributes one by one: 1, 0 after the last. */
int tar_read_xattr(struct tar_read *t, struct tar_item_xattr *ret, char **ret_err);

/* A piece of its content; what lies between two is a hole. */
struct tar_piece {
	const uint8_t *data; /* valid until the next call */
	size_t len;
	uint64_t off; /* in the file; ascending */
	uint64_t tar_off; /* in the tar */
};
int tar_read_data(struct tar_read *t, struct tar_piece *ret, char **ret_err);

/* Reads up to the end of the stream: what follows the end of the archive counts for its digest. */
int tar_read_rest(struct tar_read *t, char **ret_err);

#endif
