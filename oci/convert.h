/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image written anew with layers that carry a table of contents (fs/layer/toc_write.h).
 * Its config stays as it is where the diff IDs do; else they alone are changed. Annotations
 * stay, but for those of another table of contents.
 */
#ifndef PLYFS_OCI_CONVERT_H
#define PLYFS_OCI_CONVERT_H

#include "fs/layer/toc_write.h"
#include "oci/image.h"
#include "oci/write.h"

struct image_convert_options {
	struct toc_write_options
		layer; /* digests and progress are not looked at; found: of any layer */
	unsigned threads; /* layers at a time; 0: as many as there are processors */
	/* Bytes of the layers' tars, all together; by one thread at a time. Non-zero: stop. */
	int (*progress)(void *arg, uint64_t done, uint64_t files);
	void *arg;
};

struct image_converted {
	uint8_t manifest[32];
	unsigned n; /* layers */
	struct image_converted_layer {
		uint64_t before; /* bytes as it was stored */
		struct toc_written now;
	} * layers; /* owned */
};

/*
 * Converts @img to @dest (oci/write.h). The image has its name there only when all of it is
 * written. -EPROTONOSUPPORT: a layer is no tarball, or the format cannot hold it. *ret_err
 * (malloc'ed) names the layer. image_converted_release() in any case.
 */
int image_convert(const struct image *img, const char *dest, const struct image_convert_options *o,
		  struct image_converted *ret, char **ret_err);
void image_converted_release(struct image_converted *c);

#endif
