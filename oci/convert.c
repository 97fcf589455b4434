/* SPDX-License-Identifier: Apache-2.0 */
/* Converting the layers of an image, several at a time, and the documents that name them. */
#include "oci/convert.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

#define OCI_TYPE "application/vnd.oci.image."

struct convert {
	const struct image *img;
	const struct image_convert_options *o;
	struct image_converted *out;
	int *fds; /* owned: the layers' new blobs, the writer's descriptors; -1: given back */

	pthread_mutex_t lock;
	/* protected by lock: */
	unsigned next;
	int result;
	char *err; /* owned */
	uint64_t done, files;
};

struct layer_progress {
	struct convert *c;
	uint64_t done, files; /* what was told of this layer */
};

static int on_progress(void *arg, const struct pack_progress *p)
{
	struct layer_progress *l = arg;
	struct convert *c = l->c;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	c->done += p->in - l->done;
	c->files += p->files - l->files;
	l->done = p->in;
	l->files = p->files;
	if (c->result < 0)
		r = -ECANCELED; /* another layer has failed */
	else if (c->o->progress != NULL)
		r = c->o->progress(c->o->arg, c->done, c->files);
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* A file without a name for the tar, where temporary files go. */
static int spool_file(char **ret_err)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	if (dir == NULL || *dir == '\0')
		dir = "/var/tmp";
	fd = sys_openat(AT_FDCWD, dir, O_TMPFILE | O_RDWR | O_EXCL, 0600);
	return fd < 0 ? oci_fail_errno(ret_err, fd, "a temporary file in %s", dir) : fd;
}

static int convert_layer(struct convert *c, unsigned i, char **ret_err)
{
	const struct image_layer *l = image_layer(c->img, i);
	struct toc_write_options o = c->o->layer;
	struct layer_progress p = { .c = c };
	_cleanup_fd_ int spool = -1, fd = -1;
	_cleanup_free_ uint8_t *found = sys_calloc(o.n_first + 1, 1);
	struct source s;
	int r;

	if (found == NULL)
		return -ENOMEM;

	if (l->kind != IMAGE_LAYER_BLOB)
		return oci_fail(ret_err, -EPROTONOSUPPORT, "layer %u, %s: it is no tarball", i,
				l->path);
	r = spool = spool_file(ret_err);
	if (r >= 0)
		r = image_layer_open(l, &s, ret_err);
	if (r < 0)
		return r;
	fd = s.fd;
	o.layer = digest_known(l->digest) ? l->digest : NULL;
	o.diff_id = digest_known(l->diff_id) ? l->diff_id : NULL;
	o.progress = on_progress;
	o.arg = &p;
	o.found = found;
	c->out->layers[i].before = s.size;
	r = toc_write(&s, spool, c->fds[i], &o, &c->out->layers[i].now, ret_err);
	pthread_mutex_lock(&c->lock);
	for (size_t k = 0; c->o->layer.found != NULL && k < o.n_first; k++)
		c->o->layer.found[k] |= found[k];
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void *work(void *arg)
{
	struct convert *c = arg;

	for (;;) {
		char *err = NULL;
		unsigned i;
		int r;

		pthread_mutex_lock(&c->lock);
		i = c->result < 0 ? UINT32_MAX : c->next++;
		pthread_mutex_unlock(&c->lock);
		if (i >= c->out->n)
			return NULL;
		r = convert_layer(c, i, &err);
		pthread_mutex_lock(&c->lock);
		if (r < 0 && c->result == 0) {
			c->result = r;
			c->err = steal_ptr(&err);
		}
		pthread_mutex_unlock(&c->lock);
		free(err);
	}
}

/* All layers into c->fds. */
static int convert_layers(struct convert *c, char **ret_err)
{
	unsigned n = c->o->threads ? c->o->threads : (unsigned)get_nprocs(), begun = 0;
	pthread_t threads[16];

	n = n < c->out->n ? n : c->out->n;
	n = n < 16 ? n : 16;
	/* One layer is this thread's. */
	while (begun + 1 < n && pthread_create(&threads[begun], NULL, work, c) == 0)
		begun++;
	(void)work(c);
	for (unsigned i = 0; i < begun; i++)
		(void)pthread_join(threads[i], NULL);
	if (c->err != NULL && *ret_err == NULL)
		*ret_err = steal_ptr(&c->err);
	return c->result;
}

/* --- documents --- */

static int set_string(json_t *obj, const char *key, const char *value)
{
	return json_object_set_new(obj, key, json_string(value)) < 0 ? -ENOMEM : 0;
}

/* Of a table of contents: they are not true any more. */
static bool is_toc_note(const char *key)
{
	static const char *const prefixes[] = {
		"containerd.io/snapshot/stargz/",
		"io.containers.estargz.",
		"io.containers.zstd-chunked.",
		"io.github.containers.zstd-chunked.",
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

static json_t *new_descriptor(const char *type, const uint8_t sha256[32], uint64_t size)
{
	char digest[DIGEST_STRING_SIZE];

	digest_string(sha256, digest);
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size",
			 (json_int_t)size);
}

static int layer_descriptor(const struct convert *c, unsigned i, json_t *layers)
{
	const struct toc_written *w = &c->out->layers[i].now;
	const struct image_layer *l = image_layer(c->img, i);
	json_t *d = new_descriptor(c->o->layer.format == TOC_FORMAT_ESTARGZ ?
					   OCI_TYPE "layer.v1.tar+gzip" :
					   OCI_TYPE "layer.v1.tar+zstd",
				   w->digest, w->size);
	json_t *notes = json_object();
	int r = d == NULL || notes == NULL ? -ENOMEM : 0;

	for (unsigned k = 0; r == 0 && l->annotations != NULL && l->annotations[k] != NULL;
	     k += 2) {
		if (!is_toc_note(l->annotations[k]))
			r = set_string(notes, l->annotations[k], l->annotations[k + 1]);
	}
	for (unsigned k = 0; r == 0 && k < w->n_notes; k++)
		r = set_string(notes, w->notes[k].key, w->notes[k].value);
	if (r == 0 && json_object_set(d, "annotations", notes) < 0)
		r = -ENOMEM;
	json_decref(notes);
	if (r < 0) {
		json_decref(d);
		return r;
	}
	return json_array_append_new(layers, d) < 0 ? -ENOMEM : 0;
}

static json_t *diff_ids(const struct convert *c)
{
	json_t *a = json_array();

	for (unsigned i = 0; a != NULL && i < c->out->n; i++) {
		char digest[DIGEST_STRING_SIZE];

		digest_string(c->out->layers[i].now.diff_id, digest);
		if (json_array_append_new(a, json_string(digest)) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static bool same_diff_ids(const struct convert *c)
{
	for (unsigned i = 0; i < c->out->n; i++) {
		if (!digest_equal(c->out->layers[i].now.diff_id, image_layer(c->img, i)->diff_id))
			return false;
	}
	return true;
}

/* Puts @json; its size and digest. */
static int put_json(struct image_writer *w, const json_t *json, uint64_t *ret_size,
		    uint8_t ret_sha256[32], char **ret_err)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);

	if (text == NULL)
		return -ENOMEM;
	*ret_size = strlen(text);
	return image_writer_put(w, text, strlen(text), ret_sha256, ret_err);
}

static int put_config(const struct convert *c, struct image_writer *w, uint64_t *ret_size,
		      uint8_t ret_sha256[32], char **ret_err)
{
	size_t size;
	const char *text = image_config(c->img, &size, NULL);
	json_t *config, *rootfs;
	int r = -ENOMEM;

	if (text != NULL && same_diff_ids(c)) {
		*ret_size = size;
		return image_writer_put(w, text, size, ret_sha256, ret_err);
	}
	config = text ? json_loadb(text, size, 0, NULL) :
			json_pack("{s:s, s:s}", "architecture", image_arch(c->img), "os",
				  *image_os(c->img) ? image_os(c->img) : "linux");
	rootfs = json_object_get(config, "rootfs");
	if (config == NULL)
		return text ? -EINVAL : -ENOMEM;
	if (!json_is_object(rootfs)) {
		rootfs = json_pack("{s:s}", "type", "layers");
		if (json_object_set_new(config, "rootfs", rootfs) < 0)
			rootfs = NULL;
	}
	if (rootfs != NULL && json_object_set_new(rootfs, "diff_ids", diff_ids(c)) == 0)
		r = put_json(w, config, ret_size, ret_sha256, ret_err);
	json_decref(config);
	return r;
}

/* The manifest; its annotations are those of the old one. */
static int put_manifest(const struct convert *c, struct image_writer *w,
			struct image_descriptor *ret, char **ret_err)
{
	size_t old_size = 0;
	const char *old_text = image_manifest(c->img, &old_size, NULL);
	json_t *layers = json_array(), *config = NULL, *manifest = NULL, *old = NULL;
	uint8_t sha256[32];
	uint64_t size;
	int r = put_config(c, w, &size, sha256, ret_err);

	for (unsigned i = 0; i < c->out->n && r == 0; i++)
		r = layer_descriptor(c, i, layers);
	if (r == 0) {
		config = new_descriptor(OCI_TYPE "config.v1+json", sha256, size);
		manifest =
			json_pack("{s:i, s:s, s:O, s:O}", "schemaVersion", 2, "mediaType",
				  OCI_TYPE "manifest.v1+json", "config", config, "layers", layers);
		r = manifest == NULL ? -ENOMEM : 0;
	}
	if (r == 0 && old_text != NULL)
		old = json_loadb(old_text, old_size, 0, NULL);
	if (json_is_object(json_object_get(old, "annotations")) &&
	    json_object_set(manifest, "annotations", json_object_get(old, "annotations")) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = put_json(w, manifest, &ret->size, ret->sha256, ret_err);
	json_decref(old);
	json_decref(manifest);
	json_decref(config);
	json_decref(layers);
	ret->media_type = OCI_TYPE "manifest.v1+json";
	return r;
}

static int convert(struct convert *c, struct image_writer *w, char **ret_err)
{
	struct image_descriptor d = { .os = image_os(c->img),
				      .arch = image_arch(c->img),
				      .variant = image_variant(c->img) };
	int r = 0;

	for (unsigned i = 0; i < c->out->n && r >= 0; i++)
		r = c->fds[i] = image_writer_begin(w, ret_err);
	if (r >= 0)
		r = convert_layers(c, ret_err);
	for (unsigned i = 0; i < c->out->n && r == 0; i++) {
		r = image_writer_blob(w, c->fds[i], c->out->layers[i].now.digest, ret_err);
		c->fds[i] = -1;
	}
	if (r == 0)
		r = put_manifest(c, w, &d, ret_err);
	if (r == 0)
		r = image_writer_finish(w, &d, ret_err);
	memcpy(c->out->manifest, d.sha256, sizeof(d.sha256));
	return r;
}

int image_convert(const struct image *img, const char *dest, const struct image_convert_options *o,
		  struct image_converted *ret, char **ret_err)
{
	struct convert c = { .img = img, .o = o, .out = ret, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct image_writer *w = NULL;
	int r = image_writer_new(dest, &w, ret_err);

	*ret = (struct image_converted){ .n = image_layers(img) };
	if (r < 0)
		return r;
	ret->layers = sys_calloc(ret->n + 1, sizeof(*ret->layers));
	c.fds = sys_calloc(ret->n + 1, sizeof(*c.fds));
	r = ret->layers == NULL || c.fds == NULL ? -ENOMEM : convert(&c, w, ret_err);
	image_writer_free(w);
	free(c.fds);
	free(c.err);
	pthread_mutex_destroy(&c.lock);
	return r;
}

void image_converted_release(struct image_converted *c)
{
	free(c->layers);
	c->layers = NULL;
}
