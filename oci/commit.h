/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing: an upper directory becomes a layer on top of an image, and with it an image of
 * its own, in an OCI layout or archive. Layer and image depend on what they are made of, and
 * with an epoch on nothing else.
 */
#ifndef PLYFS_OCI_COMMIT_H
#define PLYFS_OCI_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/image.h"

struct commit_options {
	const char *upper; /* the directory */
	const struct image *base; /* borrowed; NULL: nothing below */
	const char *dest; /* as image_writer_new() has it */
	bool zstd; /* else gzip */
	int level; /* 0: the default */
	bool has_epoch; /* SOURCE_DATE_EPOCH: no time is later, and the image was created then */
	int64_t epoch;
	const char *created_by, *comment, *author; /* of the history's entry; NULL: none */
	const char *os, *arch; /* of an image without a base */
	/* As struct commit_tar has it. */
	int (*entry)(void *arg, const char *path, const char *skipped);
	int (*lowers)(void *arg, const char *const **ret, unsigned *ret_n, char **ret_err);
	void *arg;
};

struct commit_result {
	uint8_t manifest[32], config[32], layer[32], diff_id[32];
	uint64_t size; /* of the layer as stored */
	uint64_t entries, whiteouts, bytes;
};

/*
 * 0, or -errno with *ret_err (malloc'ed): the destination then is as it was, but for blobs that
 * no image names. -EPROTONOSUPPORT: the base has a layer that is no tarball.
 */
int commit_image(const struct commit_options *o, struct commit_result *ret, char **ret_err);

#endif
