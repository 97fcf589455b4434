/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podman's own storage (containers/storage), read in place: records in JSON, and layers
 * that are unpacked already.
 *
 *	ROOT/DRIVER-images/images.json       id, names, digest, layer (the topmost)
 *	ROOT/DRIVER-images/ID/manifest       the manifest; other documents beside it, names in
 *	                                     base 64 after "=" where they have other letters
 *	ROOT/DRIVER-layers/layers.json       id, parent, diff-digest; and volatile-layers.json
 *	ROOT/overlay/ID/diff                 what the layer adds, as overlayfs has it
 *	ROOT/vfs/dir/ID                      all files up to this layer
 *
 * Who writes holds a lock on images.lock or layers.lock and replaces the records by rename;
 * so what is read is whole, with or without the lock. It is taken shared where
 * that can be had. Additional stores are asked after the first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"
#include "oci/storage_conf.h"

#define MAX_RECORDS (256U << 20) /* bytes of images.json, layers.json */

struct found {
	const char *root, *driver; /* borrowed */
	struct doc images;
	json_t *image; /* in images */
};

/* Shared, for as long as the descriptor is open; -1 where it is not given to us. */
static int lock_shared(const char *path)
{
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	unsigned tries;

	for (tries = 0; fd >= 0 && tries < 200; tries++) {
		if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
			return fd;
		if (errno != EAGAIN && errno != EACCES)
			break;
		(void)usleep(10000);
	}
	sys_close(fd);
	return -1;
}

static int read_records(const char *root, const char *driver, const char *what, const char *file,
			struct doc *ret, char **ret_err)
{
	_cleanup_free_ char *path = NULL, *lock = NULL;
	_cleanup_fd_ int lfd = -1;

	if (asprintf(&path, "%s/%s-%s/%s", root, driver, what, file) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&lock, "%s/%s-%s/%s.lock", root, driver, what, what) < 0) {
		lock = NULL;
		return -ENOMEM;
	}
	lfd = lock_shared(lock);
	(void)snprintf(ret->name, sizeof(ret->name), "%s", path);
	return doc_read_path(AT_FDCWD, path, MAX_RECORDS, ret, ret_err);
}

/* --- finding the image ----------------------------------------------------------- */

static bool names_match(const json_t *image, const char *name, bool exactly)
{
	json_t *names = json_object_get(image, "names");
	size_t i, n = strlen(name);

	for (i = 0; i < json_array_size(names); i++) {
		const char *s = json_string_value(json_array_get(names, i)), *last;

		if (!s)
			continue;
		if (reference_same(s, name))
			return true;
		/* "debian" is quay.io/somebody/debian:latest where nothing is nearer */
		last = s;
		while (!exactly && (last = strchr(last, '/')))
			if (!strncmp(++last, name, n) && (!last[n] || !strcmp(last + n, ":latest")))
				return true;
	}
	return false;
}

static bool id_matches(const json_t *image, const char *name)
{
	const char *id = json_string_value(json_object_get(image, "id"));
	size_t n = strlen(name);

	if (!strncmp(name, "sha256:", 7)) {
		name += 7;
		n -= 7;
	}
	return id && n >= 3 && strspn(name, "0123456789abcdef") == n && !strncmp(id, name, n);
}

static bool digest_matches(const json_t *image, const uint8_t digest[32])
{
	json_t *more = json_object_get(image, "big-data-digests"), *v;
	const char *s = json_string_value(json_object_get(image, "digest")), *key;
	uint8_t d[32];

	if (s && digest_parse(s, d) == 0 && digest_equal(d, digest))
		return true;
	json_object_foreach(more, key, v)
	{
		s = json_string_value(v);
		if (!strncmp(key, "manifest", 8) && s && digest_parse(s, d) == 0 &&
		    digest_equal(d, digest))
			return true;
	}
	return false;
}

/* 1: one was found; 0: none. @how: 0 by name, 1 by ID, 2 by the end of a name. */
static int search(const struct doc *d, const struct reference *ref, int how, json_t **ret,
		  char **ret_err)
{
	size_t i;

	*ret = NULL;
	for (i = 0; i < json_array_size(d->json); i++) {
		json_t *image = json_array_get(d->json, i);
		bool hit = !*ref->name || (how == 1 ? id_matches(image, ref->name) :
						      names_match(image, ref->name, how == 0));

		if (hit && ref->has_digest)
			hit = digest_matches(image, ref->digest);
		if (!hit)
			continue;
		if (*ret)
			return oci_fail(ret_err, -ENOENT,
					"several images are called so: give more of "
					"the name, or the ID");
		*ret = image;
	}
	return *ret != NULL;
}

static int find_in(const struct storage_root *root, const struct reference *ref, struct found *ret,
		   char **ret_err)
{
	int how, r;

	memset(ret, 0, sizeof(*ret));
	ret->root = root->path;
	ret->driver = root->driver;
	r = read_records(root->path, root->driver, "images", "images.json", &ret->images, ret_err);
	if (r == 0 && !json_is_array(ret->images.json))
		r = oci_fail(ret_err, -EINVAL, "%s is no list", ret->images.name);
	for (how = 0; r == 0 && how < 3; how++)
		r = search(&ret->images, ref, how, &ret->image, ret_err);
	return r;
}

/* --- its documents ------------------------------------------------------------------ */

/* The name of the file of a document: plain, or in base 64. */
static int data_name(const char *key, char *buf, size_t size)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(key), i;
	char *p = buf;

	if (strspn(key, ".0123456789abcdefghijklmnopqrstuvwxyz") == n) {
		(void)snprintf(buf, size, "%s", key);
		return 0;
	}
	if (size < 2 + (n + 2) / 3 * 4)
		return -ENAMETOOLONG;
	*p++ = '=';
	for (i = 0; i < n; i += 3) {
		unsigned char b[3] = { (unsigned char)key[i],
				       i + 1 < n ? (unsigned char)key[i + 1] : 0,
				       i + 2 < n ? (unsigned char)key[i + 2] : 0 };

		*p++ = set[b[0] >> 2];
		*p++ = set[(b[0] & 3) << 4 | b[1] >> 4];
		*p++ = i + 1 < n ? set[(b[1] & 15) << 2 | b[2] >> 6] : '=';
		*p++ = i + 2 < n ? set[b[2] & 63] : '=';
	}
	*p = 0;
	return 0;
}

/* IDs become parts of paths. */
static bool is_id(const char *s)
{
	return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int read_data(const struct found *f, const char *id, const char *key, struct doc *ret,
		     char **ret_err)
{
	_cleanup_free_ char *path = NULL;
	char name[512];
	int r = data_name(key, name, sizeof(name));

	if (r < 0)
		return r;
	if (asprintf(&path, "%s/%s-images/%s/%s", f->root, f->driver, id, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	(void)snprintf(ret->name, sizeof(ret->name), "%s", key);
	return doc_read_path(AT_FDCWD, path, IMAGE_MAX_DOCUMENT, ret, ret_err);
}

/* Manifest and config, where the store has them; it has neither of an image made by hand. */
static int read_documents(struct image *img, const struct found *f, const char *id, char **ret_err)
{
	struct descriptor desc;
	json_t *config = NULL;
	char key[DIGEST_STRING_SIZE];
	int r;

	r = read_data(f, id, "manifest", &img->manifest, NULL);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return oci_fail_errno(ret_err, r, "the manifest of image %s", id);
	img->media_type = json_string_value(json_object_get(img->manifest.json, "mediaType"));
	if (!img->media_type)
		img->media_type = "";
	r = doc_member(&img->manifest, img->manifest.json, "config", JSON_OBJECT, &config, ret_err);
	if (r < 0 || !config)
		return r;
	r = doc_descriptor(&img->manifest, config, &desc, ret_err);
	if (r < 0)
		return r;
	digest_string(desc.digest, key);
	r = read_data(f, id, key, &img->config, ret_err);
	if (r < 0)
		return r;
	if (!digest_equal(img->config.digest, desc.digest))
		return oci_fail(ret_err, -EBADMSG, "config %s: its bytes have another digest", key);
	return 0;
}

/* --- its layers ----------------------------------------------------------------------- */

static json_t *layer_by_id(const struct doc *docs, unsigned ndocs, const char *id)
{
	unsigned k;
	size_t i;

	for (k = 0; k < ndocs; k++)
		for (i = 0; i < json_array_size(docs[k].json); i++) {
			json_t *l = json_array_get(docs[k].json, i);
			const char *s = json_string_value(json_object_get(l, "id"));

			if (s && !strcmp(s, id))
				return l;
		}
	return NULL;
}

static int take_layer(const struct found *f, struct image_layer *l, const json_t *rec,
		      char **ret_err)
{
	const char *id = json_string_value(json_object_get(rec, "id"));
	const char *diff = json_string_value(json_object_get(rec, "diff-digest"));
	const char *stored = json_string_value(json_object_get(rec, "compressed-diff-digest"));
	bool vfs = !strcmp(f->driver, "vfs");
	_cleanup_free_ char *composed = NULL;
	char *path;
	int r;

	if (asprintf(&path, vfs ? "%s/vfs/dir/%s" : "%s/overlay/%s/diff", f->root, id) < 0)
		return -ENOMEM;
	l->kind = IMAGE_LAYER_DIR;
	l->path = path;
	if (diff)
		(void)digest_parse(diff, l->diff_id);
	if (stored)
		(void)digest_parse(stored, l->digest);
	if (asprintf(&composed, "%s/overlay/%s/composefs-data", f->root, id) < 0) {
		composed = NULL;
		return -ENOMEM;
	}
	if (!vfs && access(composed, F_OK) == 0)
		return oci_fail(ret_err, -EPROTONOSUPPORT,
				"layer %s is stored for composefs, which we do not read", id);
	r = access(path, F_OK) ? -errno : 0;
	return r < 0 ? oci_fail_errno(ret_err, r, "layer %s", path) : 0;
}

static int take_layers(struct image *img, const struct found *f, char **ret_err)
{
	const char *top = json_string_value(json_object_get(f->image, "layer")), *id;
	bool vfs = !strcmp(f->driver, "vfs");
	struct doc docs[2] = { 0 };
	json_t *rec[IMAGE_MAX_LAYERS];
	unsigned n = 0, i;
	int r;

	r = read_records(f->root, f->driver, "layers", "layers.json", &docs[0], ret_err);
	/* there is none in older stores */
	if (r == 0)
		(void)read_records(f->root, f->driver, "layers", "volatile-layers.json", &docs[1],
				   NULL);
	for (id = top; r == 0 && id && *id;) {
		json_t *l = is_id(id) ? layer_by_id(docs, 2, id) : NULL;

		if (!l)
			r = oci_fail(ret_err, -ENOENT, "the layer %s is not there", id);
		else if (n == IMAGE_MAX_LAYERS)
			r = oci_fail(ret_err, -ELOOP, "more than %d layers, or a circle of them",
				     IMAGE_MAX_LAYERS);
		else
			rec[n++] = l;
		/* of vfs each layer has all files */
		id = l && !vfs ? json_string_value(json_object_get(l, "parent")) : NULL;
	}
	if (r == 0)
		r = image_make_layers(img, n);
	for (i = 0; r == 0 && i < n; i++)
		r = take_layer(f, &img->layer[n - 1 - i], rec[i], ret_err);
	doc_free(&docs[0]);
	doc_free(&docs[1]);
	return r;
}

static int take(struct image *img, const struct found *f, char **ret_err)
{
	const char *id = json_string_value(json_object_get(f->image, "id"));
	int r;

	if (!is_id(id))
		return oci_fail(ret_err, -EINVAL, "%s: an image with no ID", f->images.name);
	r = take_layers(img, f, ret_err);
	if (r == 0)
		r = read_documents(img, f, id, ret_err);
	if (r < 0 || !img->config.json)
		return r;
	/* one directory for all layers: diff IDs and history name what is not apart */
	if (!strcmp(f->driver, "vfs"))
		return image_take_platform(img, ret_err);
	return image_take_config(img, ret_err);
}

int image_from_storage(struct image *img, const struct reference *ref, const struct platform *want,
		       char **ret_err)
{
	struct storage_root *roots;
	unsigned n, i;
	int r, found = 0;

	(void)want; /* one platform in each; image_open() compares */
	r = storage_roots(ref->path, &roots, &n, ret_err);
	if (r < 0)
		return r;
	for (i = 0; i < n && !found && r >= 0; i++) {
		struct found f;
		char *err = NULL;

		r = find_in(&roots[i], ref, &f, &err);
		found = r > 0;
		if (found) {
			/* files of others than their owner are for subordinate ids */
			img->userns = roots[i].rootless;
			r = take(img, &f, &err);
		} else if (r == -ENOENT && !err) {
			r = 0;
		} else if (r == -ENOENT && access(roots[i].path, F_OK) == 0 && i + 1 < n) {
			/* a store that has no image yet */
			r = 0;
		}
		doc_free(&f.images);
		if (r < 0 && err)
			*ret_err = err;
		else
			free(err);
	}
	if (r >= 0 && !found)
		r = oci_fail(ret_err, -ENOENT, "no image of that name in %s",
			     n ? roots[0].path : "?");
	storage_roots_free(roots, n);
	return r < 0 ? r : 0;
}
