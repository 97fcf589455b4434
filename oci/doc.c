/* SPDX-License-Identifier: Apache-2.0 */
/* JSON documents: read whole, bounded, checked against their digests; their members by type. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

void doc_free(struct doc *d)
{
	json_decref(d->json);
	free(d->text);
	memset(d, 0, sizeof(*d));
}

int doc_parse(char *text, size_t size, struct doc *ret, char **ret_err)
{
	json_error_t e;
	int r;

	ret->text = text;
	ret->size = size;
	r = digest_of(text, size, ret->digest);
	if (r < 0)
		return r;
	ret->json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
	if (!ret->json)
		return oci_fail(ret_err, -EINVAL, "%s: this is no JSON that we read, line %d: %s",
				ret->name, e.line, e.text);
	return 0;
}

/* All of a window, terminated. */
static int read_window(const char *path, int dirfd, uint64_t off, uint64_t size, bool whole,
		       size_t max, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *p = NULL;
	_cleanup_fd_ int fd = -1;
	struct statx st;
	size_t done = 0;
	int r;

	fd = sys_openat(dirfd, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	if (whole) {
		r = sys_fstatx(fd, &st);
		if (r < 0)
			return r;
		if (!S_ISREG(st.stx_mode))
			return S_ISDIR(st.stx_mode) ? -EISDIR : -EINVAL;
		size = st.stx_size;
	}
	if (size > max)
		return -EFBIG;
	p = sys_malloc((size_t)size + 1);
	if (!p)
		return -ENOMEM;
	while (done < size) {
		ssize_t n = sys_pread(fd, p + done, (size_t)size - done, (off_t)(off + done));

		if (n < 0)
			return (int)n;
		if (!n)
			return -EIO;
		done += (size_t)n;
	}
	p[size] = 0;
	*ret_size = (size_t)size;
	*ret = steal_ptr(&p);
	return 0;
}

int doc_read_path(int dirfd, const char *path, size_t max, struct doc *ret, char **ret_err)
{
	size_t size;
	char *text;
	int r = read_window(path, dirfd, 0, 0, true, max, &text, &size);

	if (r == -EFBIG)
		return oci_fail(ret_err, r, "%s: more than %zu MiB", ret->name, max >> 20);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", ret->name);
	return doc_parse(text, size, ret, ret_err);
}

static int read_at(const struct blob_at *at, struct doc *ret, char **ret_err)
{
	size_t size;
	char *text;
	int r = read_window(at->path, AT_FDCWD, at->off, at->size, false, IMAGE_MAX_DOCUMENT, &text,
			    &size);

	if (r == -EFBIG)
		return oci_fail(ret_err, r, "%s: %llu bytes; no document of an image is that big",
				ret->name, (unsigned long long)at->size);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", ret->name);
	return doc_parse(text, size, ret, ret_err);
}

int doc_read(const struct blobs *b, const char *file, struct doc *ret, char **ret_err)
{
	struct blob_at at;
	int r = blobs_find(b, file, &at, ret_err);

	if (r < 0)
		return r;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", file);
	r = read_at(&at, ret, ret_err);
	free(at.path);
	return r;
}

int doc_read_digest(const struct blobs *b, const char *what, const uint8_t sha256[32],
		    uint64_t size, struct doc *ret, char **ret_err)
{
	char name[DIGEST_STRING_SIZE];
	struct blob_at at;
	int r = blobs_find_digest(b, sha256, &at, ret_err);

	if (r < 0)
		return r;
	digest_string(sha256, name);
	(void)snprintf(ret->name, sizeof(ret->name), "%s %s", what, name);
	if (size != UINT64_MAX && size != at.size)
		r = oci_fail(ret_err, -EBADMSG, "%s: %llu bytes, and %llu were promised", ret->name,
			     (unsigned long long)at.size, (unsigned long long)size);
	if (r == 0) {
		struct doc d = { 0 };

		/* not a byte is believed before its digest is right: not even that it is JSON */
		memcpy(d.name, ret->name, sizeof(d.name));
		r = read_at(&at, &d, NULL);
		if (d.text && !digest_equal(d.digest, sha256)) {
			r = oci_fail(ret_err, -EBADMSG, "%s: its bytes have another digest",
				     ret->name);
			doc_free(&d);
		} else if (r < 0) {
			doc_free(&d);
			r = read_at(&at, ret, ret_err);
		} else {
			*ret = d;
		}
	}
	free(at.path);
	return r;
}

static const char *type_name(json_type t)
{
	switch (t) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "list";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
		return "whole number";
	default:
		return "value of that kind";
	}
}

int doc_member(const struct doc *d, const json_t *obj, const char *key, json_type type,
	       json_t **ret, char **ret_err)
{
	json_t *v = json_object_get(obj, key);

	*ret = NULL;
	if (!v || json_is_null(v))
		return 0;
	if (json_typeof(v) != type)
		return oci_fail(ret_err, -EINVAL, "%s: \"%s\" is no %s", d->name, key,
				type_name(type));
	*ret = v;
	return 0;
}

int doc_string(const struct doc *d, const json_t *obj, const char *key, const char **ret,
	       char **ret_err)
{
	json_t *v;
	int r = doc_member(d, obj, key, JSON_STRING, &v, ret_err);

	if (r == 0)
		*ret = v ? json_string_value(v) : "";
	return r;
}

int doc_descriptor(const struct doc *d, const json_t *obj, struct descriptor *ret, char **ret_err)
{
	const char *digest;
	json_t *size = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!json_is_object(obj))
		return oci_fail(ret_err, -EINVAL, "%s: a descriptor is no object", d->name);
	r = doc_string(d, obj, "mediaType", &ret->media_type, ret_err);
	if (r == 0)
		r = doc_string(d, obj, "digest", &digest, ret_err);
	if (r == 0)
		r = doc_member(d, obj, "size", JSON_INTEGER, &size, ret_err);
	if (r == 0)
		r = doc_member(d, obj, "annotations", JSON_OBJECT, &ret->annotations, ret_err);
	if (r == 0)
		r = doc_member(d, obj, "platform", JSON_OBJECT, &ret->platform, ret_err);
	if (r < 0)
		return r;
	r = digest_parse(digest, ret->digest);
	if (r < 0)
		return oci_fail(ret_err, r, "%s: %s is no %s", d->name,
				*digest ? digest : "a descriptor without digest",
				r == -EINVAL ? "digest" : "digest that we know, only sha256 is");
	if (!size || json_integer_value(size) < 0)
		return oci_fail(ret_err, -EINVAL, "%s: %s has no size", d->name, digest);
	ret->size = (uint64_t)json_integer_value(size);
	return 0;
}
