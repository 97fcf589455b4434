/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of oci/ share: sentences, documents, where blobs are, and an image's inside. */
#ifndef PLYFS_OCI_OCI_I_H
#define PLYFS_OCI_OCI_I_H

#include <jansson.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "oci/digest.h"
#include "oci/image.h"

/* Writes the sentence to *ret_err, unless that is NULL or has one; returns @r. */
int oci_fail(char **ret_err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": " and strerror(-r) after it. */
int oci_fail_errno(char **ret_err, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- tarball.c: a map of an uncompressed tar ------------------------------ */

struct tarball;

struct tarball_entry {
	char *name; /* without leading "./" and "/"; no ".." in it */
	char *link; /* target of a link, or NULL */
	uint64_t off, size;
	char type; /* as in the header, '0' for all regular ones */
};

/*
 * Reads all headers. -EINVAL: no tar, or a broken one; -E2BIG: more entries than an
 * archive of images has. The descriptor is not kept.
 */
int tarball_open(int fd, uint64_t size, struct tarball **ret, char **ret_err);
void tarball_free(struct tarball *t);
/*
 * A regular file by its name, through links within the archive. -ENOENT; -ELOOP: links
 * without end, or out of the archive; -EINVAL: it is there twice.
 */
int tarball_find(const struct tarball *t, const char *name, const struct tarball_entry **ret);

/* --- blobs.c: files of a layout or an archive ------------------------------ */

struct blobs {
	char *root; /* absolute path of the directory or file */
	int fd; /* O_PATH of the directory, or the file itself */
	struct tarball *tar; /* NULL for a directory */
};

struct blob_at {
	char *path; /* absolute, malloc'ed */
	uint64_t off, size;
	bool whole;
};

int blobs_open_dir(const char *path, struct blobs *ret, char **ret_err);
int blobs_open_tar(const char *path, struct blobs *ret, char **ret_err);
void blobs_close(struct blobs *b);
/* Where the file @name ("index.json") is: a regular file that does not leave the directory. */
int blobs_find(const struct blobs *b, const char *name, struct blob_at *ret, char **ret_err);
bool blobs_has(const struct blobs *b, const char *name);
/* blobs/sha256/HEX */
int blobs_find_digest(const struct blobs *b, const uint8_t sha256[32], struct blob_at *ret,
		      char **ret_err);

/* --- doc.c: JSON ------------------------------------------------------------- */

struct doc {
	char *text; /* terminated */
	size_t size;
	uint8_t digest[32];
	json_t *json;
	char name[160]; /* for messages */
};

void doc_free(struct doc *d);
/* Takes @text over, parses it. */
int doc_parse(char *text, size_t size, struct doc *ret, char **ret_err);
/* A file of at most @max bytes; ret->name is to be set before. */
int doc_read_path(int dirfd, const char *path, size_t max, struct doc *ret, char **ret_err);
int doc_read(const struct blobs *b, const char *file, struct doc *ret, char **ret_err);
/* The same of a blob, whose digest and size (UINT64_MAX: any) must be right. */
int doc_read_digest(const struct blobs *b, const char *what, const uint8_t sha256[32],
		    uint64_t size, struct doc *ret, char **ret_err);

/*
 * Members of an object. Absent and null are "" or NULL; of another type is -EINVAL with a
 * sentence that names @d and the key.
 */
int doc_string(const struct doc *d, const json_t *obj, const char *key, const char **ret,
	       char **ret_err);
int doc_member(const struct doc *d, const json_t *obj, const char *key, json_type type,
	       json_t **ret, char **ret_err);

struct descriptor {
	const char *media_type; /* "" where absent */
	uint8_t digest[32];
	uint64_t size;
	json_t *annotations, *platform; /* borrowed, or NULL */
};
int doc_descriptor(const struct doc *d, const json_t *obj, struct descriptor *ret,
		   char **ret_err);

/* --- platform.c ---------------------------------------------------------------- */

struct platform {
	char os[32], arch[32], variant[32]; /* "" where not said */
	bool asked; /* by a person, not by the machine */
};
/* @s NULL: this machine's. */
int platform_parse(const char *s, struct platform *ret, char **ret_err);
/* How well something for @os/@arch/@variant suits: 0 not at all, more is better. */
int platform_score(const struct platform *want, const char *os, const char *arch,
		   const char *variant);

/* --- image.c: putting one together ------------------------------------------- */

struct image {
	enum image_kind kind;
	char *ref;
	struct doc manifest, config;
	const char *media_type; /* of the manifest */
	const char *os, *arch, *variant;
	struct image_layer *layer;
	unsigned nlayer;
	struct image_history *history;
	unsigned nhistory;
	bool userns;
};

/* Room for @n layers, all zero. */
int image_make_layers(struct image *img, unsigned n);
/* Takes at->path over. */
void image_set_blob(struct image_layer *l, struct blob_at *at);
int image_set_annotations(struct image_layer *l, const json_t *annotations, char **ret_err);
/* What img->config says: platform, diff IDs (as many as layers, if there are layers), history. */
int image_take_config(struct image *img, char **ret_err);
/* The platform alone. */
int image_take_platform(struct image *img, char **ret_err);

/* --- the kinds: each fills @img, whose kind and ref are set ------------------- */

struct reference {
	enum image_kind kind;
	char *path; /* of file or directory; of storage: its root, or "" */
	char *name; /* tag, name; "" for none */
	bool has_digest;
	uint8_t digest[32];
	int number; /* of @N, else -1 */
};
int reference_parse(const char *s, struct reference *ret, char **ret_err);
void reference_free(struct reference *r);

/* manifest.c; @blobs is a layout. */
int image_from_layout(struct image *img, const struct blobs *b, const struct reference *ref,
		      const struct platform *want, char **ret_err);
/* docker.c */
int image_from_docker(struct image *img, const struct blobs *b, const struct reference *ref,
		      const struct platform *want, char **ret_err);
/* storage.c */
int image_from_storage(struct image *img, const struct reference *ref,
		       const struct platform *want, char **ret_err);

/* Whether two names of an image mean the same: "x", "docker.io/library/x:latest". */
bool reference_same(const char *a, const char *b);

#endif
