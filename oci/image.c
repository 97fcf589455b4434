/* SPDX-License-Identifier: Apache-2.0 */
/* An image, whatever kind: opening, layers, documents, history. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

int image_make_layers(struct image *img, unsigned n)
{
	img->layer = sys_calloc(n, sizeof(*img->layer));
	if (!img->layer)
		return -ENOMEM;
	img->nlayer = n;
	return 0;
}

void image_set_blob(struct image_layer *l, struct blob_at *at)
{
	l->kind = IMAGE_LAYER_BLOB;
	l->path = steal_ptr(&at->path);
	l->off = at->off;
	l->size = at->size;
	l->whole = at->whole;
}

int image_set_annotations(struct image_layer *l, const json_t *annotations, char **ret_err)
{
	const char **list;
	const char *key;
	json_t *v, *a;
	size_t n = 0;

	/* json_object_foreach() wants what it does not change without const */
	memcpy(&a, &annotations, sizeof(a));
	list = sys_calloc(2 * json_object_size(a) + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	l->annotations = list;
	json_object_foreach(a, key, v)
	{
		if (!json_is_string(v))
			return oci_fail(ret_err, -EINVAL, "annotation %s is no string", key);
		list[n++] = key;
		list[n++] = json_string_value(v);
	}
	return 0;
}

/* A tarball or an index: one layer, no documents. */
static int from_file(struct image *img, const struct reference *ref, char **ret_err)
{
	struct blob_at at = { .whole = true };
	struct statx st;
	int r;

	r = image_make_layers(img, 1);
	if (r < 0)
		return r;
	at.path = realpath(ref->path, NULL);
	r = at.path ? sys_statx(AT_FDCWD, at.path, 0, &st) : -errno;
	if (r < 0) {
		free(at.path);
		return oci_fail_errno(ret_err, r, "%s", ref->path);
	}
	at.size = st.stx_size;
	image_set_blob(img->layer, &at);
	if (ref->kind == IMAGE_DIR) {
		img->layer->kind = IMAGE_LAYER_DIR;
		img->layer->size = 0;
		if (!S_ISDIR(st.stx_mode))
			return oci_fail_errno(ret_err, -ENOTDIR, "%s", ref->path);
		return 0;
	}
	if (!S_ISREG(st.stx_mode))
		return oci_fail(ret_err, -EINVAL, "%s is no regular file", ref->path);
	if (ref->kind == IMAGE_INDEX)
		img->layer->kind = IMAGE_LAYER_INDEX;
	return 0;
}

static bool only_layout(const struct blobs *b)
{
	struct blob_at at = { 0 };
	int r = blobs_find(b, "manifest.json", &at, NULL);

	free(at.path);
	return r == -ENOENT && blobs_has(b, "index.json");
}

static int fill(struct image *img, const struct reference *ref, const struct platform *want,
		char **ret_err)
{
	struct blobs b;
	int r;

	switch (ref->kind) {
	case IMAGE_OCI:
		r = blobs_open_dir(ref->path, &b, ret_err);
		break;
	case IMAGE_OCI_ARCHIVE:
	case IMAGE_DOCKER_ARCHIVE:
		r = blobs_open_tar(ref->path, &b, ret_err);
		break;
	case IMAGE_STORAGE:
		return image_from_storage(img, ref, want, ret_err);
	default:
		return from_file(img, ref, ret_err);
	}
	if (r < 0)
		return r;
	/* without manifest.json it is an OCI layout alone */
	if (ref->kind == IMAGE_DOCKER_ARCHIVE && !only_layout(&b))
		r = image_from_docker(img, &b, ref, want, ret_err);
	else
		r = image_from_layout(img, &b, ref, want, ret_err);
	blobs_close(&b);
	return r;
}

int image_open(const char *s, const struct image_options *o, struct image **ret, char **ret_err)
{
	struct reference ref;
	struct platform want;
	struct image *img;
	char *why = NULL;
	int r;

	*ret_err = NULL;
	r = platform_parse(o ? o->platform : NULL, &want, ret_err);
	if (r == 0)
		r = reference_parse(s, &ref, ret_err);
	if (r < 0)
		return r;
	img = sys_calloc(1, sizeof(*img));
	if (!img) {
		reference_free(&ref);
		return -ENOMEM;
	}
	img->kind = ref.kind;
	img->media_type = img->os = img->arch = img->variant = "";
	img->ref = sys_strdup(s);
	r = img->ref ? fill(img, &ref, &want, &why) : -ENOMEM;
	if (r == 0 && want.asked && *img->os &&
	    !platform_score(&want, img->os, img->arch, img->variant))
		r = oci_fail(&why, -ENOENT, "this image is for %s/%s%s%s", img->os, img->arch,
			     *img->variant ? "/" : "", img->variant);
	reference_free(&ref);
	if (r < 0) {
		image_close(img);
		/* the sentence names the image once */
		if (why && !strstr(why, s))
			(void)oci_fail(ret_err, r, "%s: %s", s, why);
		else if (why)
			*ret_err = steal_ptr(&why);
		else
			(void)oci_fail_errno(ret_err, r, "%s", s);
		free(why);
		return r;
	}
	*ret = img;
	return 0;
}

void image_close(struct image *img)
{
	unsigned i;

	if (!img)
		return;
	for (i = 0; i < img->nlayer; i++) {
		cleanup_freep(&img->layer[i].path);
		cleanup_freep(&img->layer[i].annotations);
	}
	free(img->layer);
	free(img->history);
	doc_free(&img->manifest);
	doc_free(&img->config);
	free(img->ref);
	free(img);
}

enum image_kind image_kind(const struct image *img)
{
	return img->kind;
}

const char *image_ref(const struct image *img)
{
	return img->ref;
}

unsigned image_layers(const struct image *img)
{
	return img->nlayer;
}

const struct image_layer *image_layer(const struct image *img, unsigned i)
{
	return &img->layer[i];
}

int image_layer_open(const struct image_layer *l, struct source *ret, char **ret_err)
{
	_cleanup_fd_ int fd = -1;
	struct statx st;
	int r;

	if (l->kind == IMAGE_LAYER_DIR)
		return oci_fail_errno(ret_err, -EISDIR, "%s", l->path);
	fd = sys_openat(AT_FDCWD, l->path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return oci_fail_errno(ret_err, fd, "%s", l->path);
	r = sys_fstatx(fd, &st);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", l->path);
	if (!S_ISREG(st.stx_mode))
		return oci_fail(ret_err, -EINVAL, "%s is no regular file", l->path);
	if (l->off > st.stx_size || l->size > st.stx_size - l->off ||
	    (l->whole && l->size != st.stx_size))
		return oci_fail(ret_err, -EBADMSG, "%s: %llu bytes, and %llu were promised",
				l->path, (unsigned long long)st.stx_size,
				(unsigned long long)(l->off + l->size));
	*ret = (struct source){
		.fd = steal_fd(&fd), .off = l->off, .size = l->size, .name = l->path
	};
	return 0;
}

const char *image_layer_annotation(const struct image_layer *l, const char *key)
{
	const char *const *p;

	for (p = l->annotations; p && *p; p += 2)
		if (!strcmp(*p, key))
			return p[1];
	return NULL;
}

/* The first that is there. */
static const char *either(const struct image_layer *l, const char *a, const char *b)
{
	const char *v = image_layer_annotation(l, a);

	return v ? v : image_layer_annotation(l, b);
}

void image_layer_hint(const struct image_layer *l, struct toc_hint *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->stargz_digest = image_layer_annotation(l, "containerd.io/snapshot/stargz/toc.digest");
	ret->checksum = either(l, "io.github.containers.zstd-chunked.manifest-checksum",
			       "io.containers.zstd-chunked.manifest-checksum");
	ret->position = either(l, "io.github.containers.zstd-chunked.manifest-position",
			       "io.containers.zstd-chunked.manifest-position");
	ret->tarsplit_position = image_layer_annotation(
		l, "io.github.containers.zstd-chunked.tarsplit-position");
}

static const char *document(const struct doc *d, size_t *ret_size, uint8_t ret_digest[32])
{
	if (ret_size)
		*ret_size = d->size;
	if (ret_digest)
		memcpy(ret_digest, d->digest, 32);
	return d->text;
}

const char *image_manifest(const struct image *img, size_t *ret_size, uint8_t ret_digest[32])
{
	return document(&img->manifest, ret_size, ret_digest);
}

const char *image_config(const struct image *img, size_t *ret_size, uint8_t ret_digest[32])
{
	return document(&img->config, ret_size, ret_digest);
}

const char *image_media_type(const struct image *img)
{
	return img->media_type;
}

const char *image_os(const struct image *img)
{
	return img->os;
}

const char *image_arch(const struct image *img)
{
	return img->arch;
}

const char *image_variant(const struct image *img)
{
	return img->variant;
}

unsigned image_histories(const struct image *img)
{
	return img->nhistory;
}

const struct image_history *image_history(const struct image *img, unsigned i)
{
	return &img->history[i];
}

bool image_needs_userns(const struct image *img)
{
	return img->userns;
}
