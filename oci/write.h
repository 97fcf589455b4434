/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing an image: into an OCI layout, or into an archive of one.
 *
 *	image_writer_new()
 *	for each layer: image_writer_begin(), write to the descriptor,
 *			image_writer_blob(); or image_writer_copy() of a layer as it is
 *	image_writer_put() of the config, then of the manifest
 *	image_writer_finish()		only now the image has a name
 *	image_writer_free()
 *
 * Nothing has a name before it is complete and synced: blobs in a layout are unnamed files
 * until then (a blob without a manifest harms nobody), index.json and archives are
 * replaced by rename. What is killed in between leaves blobs at most. For one thread at
 * a time. -errno with a sentence (malloc'ed) in *ret_err.
 */
#ifndef PLYFS_OCI_WRITE_H
#define PLYFS_OCI_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "oci/image.h"

struct image_writer;

/*
 * @dest: "oci:DIR[:TAG]" (a new directory, an empty one, or a layout, to which the image
 * is added) or "oci-archive:FILE[:TAG]" (which is replaced). -EINVAL: no such destination.
 */
int image_writer_new(const char *dest, struct image_writer **ret, char **ret_err);
void image_writer_free(struct image_writer *w); /* NULL is ignored */

/*
 * An unnamed file, open for reading and writing: its descriptor, which stays the writer's: it is
 * closed by image_writer_blob() or image_writer_free().
 */
int image_writer_begin(struct image_writer *w, char **ret_err);
/* What was written to @fd is the blob @sha256, which is believed. Had already: it is dropped. */
int image_writer_blob(struct image_writer *w, int fd, const uint8_t sha256[32], char **ret_err);
/* A blob from memory. */
int image_writer_put(struct image_writer *w, const void *buf, size_t size,
		     uint8_t ret_sha256[32], char **ret_err);
/*
 * A layer as it is stored, bytes checked: by reflink or in-kernel copy where they can be
 * had. Its digest (computed where @l has none) in ret_sha256.
 */
int image_writer_copy(struct image_writer *w, const struct image_layer *l,
		      uint8_t ret_sha256[32], char **ret_err);

/* What names the image. */
struct image_descriptor {
	const char *media_type;
	uint8_t sha256[32];
	uint64_t size;
	const char *os, *arch, *variant; /* NULL: not said */
};
/* Makes the manifest @d (put before) the image by that tag; what had it is no longer listed. */
int image_writer_finish(struct image_writer *w, const struct image_descriptor *d,
			char **ret_err);

#endif
