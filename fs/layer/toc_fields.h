/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of a TOC while its JSON comes: toc_json.c knows where in the document
 * it is, toc_fields.c what fields mean. -EBADMSG: *ret_why (static) says what is wrong with
 * the field that toc_fields_key() named.
 */
#ifndef PLYFS_LAYER_TOC_FIELDS_H
#define PLYFS_LAYER_TOC_FIELDS_H

#include "fs/layer/toc_i.h"

#define TOC_MAX_XATTRS 1024

enum field {
	F_UNKNOWN,
	F_NAME,
	F_TYPE,
	F_LINK,
	F_MODTIME,
	F_SIZE,
	F_MODE,
	F_UID,
	F_GID,
	F_OFFSET,
	F_INNER,
	F_END,
	F_MAJOR,
	F_MINOR,
	F_XATTRS,
	F_DIGEST,
	F_CHUNK_OFFSET,
	F_CHUNK_SIZE,
	F_CHUNK_DIGEST,
	F_CHUNK_TYPE,
};

struct toc_fields {
	struct toc_entry e;
	enum field field; /* whose value comes */
	uint32_t seen; /* bits of enum field */
	char name[TOC_PATH_MAX], link[TOC_PATH_MAX];
	/* Names and decoded values of attributes, by offset until the end: it may move. */
	char *text; /* owned */
	size_t text_len, text_max;
	struct toc_xattr xattrs[TOC_MAX_XATTRS];
	size_t xattr_at[TOC_MAX_XATTRS][2];
	size_t n_xattrs;
};

void toc_fields_begin(struct toc_fields *f);
int toc_fields_key(struct toc_fields *f, const void *key, size_t len, const char **ret_why);
int toc_fields_string(struct toc_fields *f, const void *s, size_t len, const char **ret_why);
int toc_fields_number(struct toc_fields *f, const char *s, size_t len, const char **ret_why);
int toc_fields_xattr_key(struct toc_fields *f, const void *key, size_t len, const char **ret_why);
int toc_fields_xattr_value(struct toc_fields *f, const void *s, size_t len, const char **ret_why);
/* Makes f->e whole. */
int toc_fields_end(struct toc_fields *f, const char **ret_why);
void toc_fields_release(struct toc_fields *f);
/* The field's name, NULL for one that nobody knows. */
const char *toc_fields_name(const struct toc_fields *f);

#endif
