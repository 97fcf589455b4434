/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that lie on this machine, by reference:
 *
 *	oci:DIR[:TAG|@DIGEST|:@N]             an OCI image layout
 *	oci-archive:FILE[:TAG|@DIGEST|:@N]    the same in an uncompressed tar
 *	docker-archive:FILE[:NAME|:@N]        what docker save writes, old and new
 *	containers-storage:[[DRIVER@]GRAPHROOT[+RUNROOT]]NAME    podman's own storage; NAME may
 *	                                      be a name, NAME@DIGEST, or (a beginning of) an ID
 *	layer:FILE  index:FILE  dir:DIR       one layer: a tarball, an index, a root directory
 *	PATH                                  whichever of these it is
 *
 * @N is the Nth image in there, from 0. In an index of several platforms the one
 * that was asked for is taken, else this machine's; indexes may be nested. Nothing is
 * copied: the layers of an archive are windows of it.
 *
 * An image is input from a stranger. Documents are bounded in size, depth and
 * number and checked against their digests when the image is opened; a layer's
 * bytes are not, whoever reads them does that. Errors are -errno with a sentence
 * (malloc'ed, may be NULL where memory is out) that names what is wrong:
 * -EBADMSG: not what its digest or size says; -EINVAL: malformed, or a reference that
 * cannot be; -ENOENT: no such image; -EPROTONOSUPPORT: something that we know by name
 * and do not read; -EACCES: see image_needs_userns(); other errors of the system.
 *
 * An image is not changed once open and may be used by several threads.
 */
#ifndef PLYFS_OCI_IMAGE_H
#define PLYFS_OCI_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/layer/source.h"
#include "fs/layer/toc.h"

struct image;

#define IMAGE_MAX_LAYERS 500 /* as many as a mount has */
#define IMAGE_MAX_DOCUMENT (4U << 20) /* bytes of a manifest, index or config */

enum image_kind {
	IMAGE_OCI,
	IMAGE_OCI_ARCHIVE,
	IMAGE_DOCKER_ARCHIVE,
	IMAGE_STORAGE,
	IMAGE_LAYER, /* one tarball */
	IMAGE_INDEX, /* one index of ours */
	IMAGE_DIR, /* one root directory */
	IMAGE_KINDS,
};
/* "oci", "oci-archive", ..., as in references. */
const char *image_kind_name(enum image_kind k);

struct image_options {
	const char *platform; /* "os/arch[/variant]" in Go's words; NULL: this machine's */
};

struct image_layer {
	enum image_layer_kind {
		IMAGE_LAYER_BLOB, /* a tarball of whatever format: a window of @path */
		IMAGE_LAYER_INDEX, /* @path is an index of ours, with its blob beside it */
		IMAGE_LAYER_DIR, /* @path is a directory, with whiteouts as overlayfs has them */
	} kind;
	const char *path; /* absolute */
	uint64_t off, size; /* of the window, bytes; of directories 0 */
	bool whole; /* the window is the whole file */
	uint8_t digest[32]; /* of the stored bytes, as the manifest says; zero: unknown */
	uint8_t diff_id[32]; /* of the tar, as the config says; zero: unknown */
	const char *media_type; /* NULL: unknown */
	/* Keys and values in turn, ended by NULL; of the layer's descriptor. */
	const char *const *annotations;
};

/* Opens what @ref names. @o may be NULL. */
int image_open(const char *ref, const struct image_options *o, struct image **ret,
	       char **ret_err);
void image_close(struct image *img); /* NULL is ignored */

enum image_kind image_kind(const struct image *img);
/* The reference as it was given. */
const char *image_ref(const struct image *img);

/* Layers, the lowest first. */
unsigned image_layers(const struct image *img);
const struct image_layer *image_layer(const struct image *img, unsigned i); /* i < image_layers() */
/* Its bytes; ret->fd is the caller's to close, ret->name the image's. Of blobs alone (-EISDIR). */
int image_layer_open(const struct image_layer *l, struct source *ret, char **ret_err);
/* The value of an annotation, NULL where there is none. */
const char *image_layer_annotation(const struct image_layer *l, const char *key);
/* What the annotations say of a TOC; strings are the layer's. */
void image_layer_hint(const struct image_layer *l, struct toc_hint *ret);

/*
 * The documents as they are stored, terminated; NULL where the image has none (a
 * directory has none). @ret_digest may be NULL.
 */
const char *image_manifest(const struct image *img, size_t *ret_size, uint8_t ret_digest[32]);
const char *image_config(const struct image *img, size_t *ret_size, uint8_t ret_digest[32]);
/* Media type of the manifest; "" where unknown. */
const char *image_media_type(const struct image *img);

/* "linux", "amd64", "v1"; "" where unknown. */
const char *image_os(const struct image *img);
const char *image_arch(const struct image *img);
const char *image_variant(const struct image *img);

/* The config's history, oldest first; strings are "" where absent. */
struct image_history {
	const char *created, *created_by, *author, *comment;
	int layer; /* the layer that it made; -1: none */
};
unsigned image_histories(const struct image *img);
const struct image_history *image_history(const struct image *img, unsigned i);

/*
 * Whether files of this image belong to an ordinary user's subordinate ids, so that
 * only a user namespace with these ids (as "podman unshare" makes it) can read all.
 */
bool image_needs_userns(const struct image *img);

#endif
