/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing an upper: the layers below are copied as they are, the upper becomes a layer, the
 * config says so, and the manifest, put last, names all.
 */
#include "oci/commit.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/commit_blob.h"
#include "oci/commit_tar.h"
#include "oci/digest.h"
#include "oci/write.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"

static void json_cleanup(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(json_cleanup)

static int fail(char **ret_err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(char **ret_err, int r, const char *fmt, ...)
{
	va_list ap;

	if (*ret_err)
		return r;
	va_start(ap, fmt);
	if (vasprintf(ret_err, fmt, ap) < 0)
		*ret_err = NULL;
	va_end(ap);
	return r;
}

/* --- layers ------------------------------------------------------------------------ */

/* OCI's media type for what is stored. */
static int layer_type(const struct image_layer *l, const char **ret, char **ret_err)
{
	struct source s;
	int format = image_layer_open(l, &s, ret_err);

	if (format < 0)
		return format;
	format = source_format(&s);
	sys_close(s.fd);
	if (format == SOURCE_TAR)
		*ret = OCI_LAYER;
	else if (format == SOURCE_GZIP)
		*ret = OCI_LAYER "+gzip";
	else if (format == SOURCE_ZSTD)
		*ret = OCI_LAYER "+zstd";
	else
		return fail(ret_err, format < 0 ? format : -EPROTONOSUPPORT,
			    "a layer of the base is neither plain, gzip nor zstd");
	return 0;
}

static json_t *descriptor(const char *type, const uint8_t sha256[32], uint64_t size)
{
	char digest[DIGEST_STRING_SIZE];

	digest_string(sha256, digest);
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size",
			 (json_int_t)size);
}

static int copy_layer(struct image_writer *w, const struct image_layer *l, json_t *layers,
		      json_t *diff_ids, char **ret_err)
{
	uint8_t sha256[32];
	char digest[DIGEST_STRING_SIZE];
	const char *type = NULL;
	json_t *d, *notes;
	int r;

	if (l->kind != IMAGE_LAYER_BLOB)
		return fail(ret_err, -EPROTONOSUPPORT,
			    "a layer of the base is no tarball: convert it to an image first");
	if (!digest_known(l->diff_id))
		return fail(ret_err, -EPROTONOSUPPORT, "a layer of the base has no known diff ID");
	r = layer_type(l, &type, ret_err);
	if (r == 0)
		r = image_writer_copy(w, l, sha256, ret_err);
	if (r < 0)
		return r;
	d = descriptor(type, sha256, l->size);
	notes = l->annotations && l->annotations[0] ? json_object() : NULL;
	for (unsigned i = 0; notes && l->annotations[i]; i += 2)
		(void)json_object_set_new(notes, l->annotations[i],
					  json_string(l->annotations[i + 1]));
	if (notes)
		(void)json_object_set_new(d, "annotations", notes);
	digest_string(l->diff_id, digest);
	if (json_array_append_new(layers, d) < 0 ||
	    json_array_append_new(diff_ids, json_string(digest)) < 0)
		return -ENOMEM;
	return 0;
}

static int write_layer(const struct commit_options *o, struct image_writer *w,
		       struct commit_result *res, char **ret_err)
{
	struct commit_tar t = {
		.clamp = o->has_epoch,
		.epoch = o->epoch,
		.entry = o->entry,
		.lowers = o->lowers,
		.arg = o->arg,
	};
	struct commit_blob *b = NULL;
	struct tar_write *tar = NULL;
	int fd = image_writer_begin(w, ret_err), r;

	if (fd < 0)
		return fd;
	r = commit_blob_new(fd, o->zstd, o->level, &b);
	if (r == 0)
		r = tar_write_new(&tar, commit_blob_add, b);
	if (r == 0)
		r = commit_tar(o->upper, &t, tar, ret_err);
	if (r == 0)
		r = commit_blob_end(b, res->diff_id, res->layer, &res->size);
	tar_write_free(tar);
	commit_blob_free(b);
	res->entries = t.entries;
	res->whiteouts = t.whiteouts;
	res->bytes = t.bytes;
	/* what was begun and not given back is dropped with the writer */
	return r < 0 ? r : image_writer_blob(w, fd, res->layer, ret_err);
}

/* --- documents --------------------------------------------------------------------- */

static int put_json(struct image_writer *w, const json_t *j, uint8_t ret[32], uint64_t *ret_size,
		    char **ret_err)
{
	_cleanup_free_ char *s = json_dumps(j, JSON_COMPACT);

	if (!s)
		return -ENOMEM;
	*ret_size = strlen(s);
	return image_writer_put(w, s, strlen(s), ret, ret_err);
}

static json_t *base_config(const struct commit_options *o)
{
	size_t size;
	const char *s = o->base ? image_config(o->base, &size, NULL) : NULL;

	if (s)
		return json_loadb(s, size, 0, NULL);
	return json_pack("{s:s, s:s, s:{}}", "architecture", o->arch, "os", o->os, "config");
}

/* The entry of the history that speaks of the new layer. */
static json_t *history_entry(const struct commit_options *o, const char *created)
{
	json_t *h = json_pack("{s:s}", "created", created);

	if (o->created_by)
		(void)json_object_set_new(h, "created_by", json_string(o->created_by));
	if (o->author)
		(void)json_object_set_new(h, "author", json_string(o->author));
	if (o->comment)
		(void)json_object_set_new(h, "comment", json_string(o->comment));
	return h;
}

/* The base's config with one more layer. What we do not know of it stays. */
static int make_config(const struct commit_options *o, json_t *diff_ids,
		       const struct commit_result *res, json_t **ret, char **ret_err)
{
	_cleanup_json_ json_t *c = base_config(o);
	char created[40], digest[DIGEST_STRING_SIZE];
	time_t now = o->has_epoch ? (time_t)o->epoch : time(NULL);
	json_t *history, *rootfs;
	struct tm tm;

	if (!json_is_object(c))
		return fail(ret_err, -EINVAL, "the base has no config");
	if (!gmtime_r(&now, &tm) || !strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return fail(ret_err, -EINVAL, "SOURCE_DATE_EPOCH is no time");
	digest_string(res->diff_id, digest);
	rootfs = json_pack("{s:s, s:O}", "type", "layers", "diff_ids", diff_ids);
	history = json_object_get(c, "history");
	if (!json_is_array(history)) {
		history = json_array();
		(void)json_object_set_new(c, "history", history);
	}
	if (json_array_append_new(diff_ids, json_string(digest)) < 0 ||
	    json_object_set_new(c, "rootfs", rootfs) < 0 ||
	    json_object_set_new(c, "created", json_string(created)) < 0 ||
	    json_array_append_new(history, history_entry(o, created)) < 0)
		return fail(ret_err, -EINVAL, "the history's entry is no UTF-8");
	if (o->author)
		(void)json_object_set_new(c, "author", json_string(o->author));
	/* of the container that docker made the base from */
	(void)json_object_del(c, "container");
	(void)json_object_del(c, "container_config");
	*ret = steal_ptr(&c);
	return 0;
}

static int finish(struct image_writer *w, json_t *layers,
		  json_t *config, struct commit_result *res, char **ret_err)
{
	_cleanup_json_ json_t *m = NULL;
	struct image_descriptor d = { .media_type = OCI_MANIFEST };
	uint64_t size;
	int r = put_json(w, config, res->config, &size, ret_err);

	if (r < 0)
		return r;
	m = json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", OCI_MANIFEST,
		      "config",
		      descriptor(OCI_CONFIG, res->config, size), "layers", layers);
	r = m ? put_json(w, m, res->manifest, &size, ret_err) : -ENOMEM;
	if (r < 0)
		return r;
	memcpy(d.sha256, res->manifest, 32);
	d.size = size;
	d.os = json_string_value(json_object_get(config, "os"));
	d.arch = json_string_value(json_object_get(config, "architecture"));
	d.variant = json_string_value(json_object_get(config, "variant"));
	return image_writer_finish(w, &d, ret_err);
}

static int build(const struct commit_options *o, struct image_writer *w, struct commit_result *res,
		 char **ret_err)
{
	_cleanup_json_ json_t *layers = json_array(), *diff_ids = json_array(), *config = NULL;
	const char *type;
	int r = layers && diff_ids ? 0 : -ENOMEM;

	for (unsigned i = 0; o->base && i < image_layers(o->base) && r == 0; i++)
		r = copy_layer(w, image_layer(o->base, i), layers, diff_ids, ret_err);
	if (r == 0)
		r = write_layer(o, w, res, ret_err);
	if (r == 0)
		r = make_config(o, diff_ids, res, &config, ret_err);
	type = o->zstd ? OCI_LAYER "+zstd" : OCI_LAYER "+gzip";
	if (r == 0 && json_array_append_new(layers, descriptor(type, res->layer, res->size)) < 0)
		r = -ENOMEM;
	return r < 0 ? r : finish(w, layers, config, res, ret_err);
}

int commit_image(const struct commit_options *o, struct commit_result *ret, char **ret_err)
{
	struct image_writer *w;
	int r;

	*ret_err = NULL;
	*ret = (struct commit_result){ 0 };
	r = image_writer_new(o->dest, &w, ret_err);
	if (r < 0)
		return r;
	r = build(o, w, ret, ret_err);
	image_writer_free(w);
	if (r < 0)
		return fail(ret_err, r, "%s", strerror(-r));
	return 0;
}
