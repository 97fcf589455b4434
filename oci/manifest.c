/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCI layouts: from index.json, through nested indexes, to one manifest, its config and
 * layers. All but index.json is named by digest, so that nothing can come round to
 * itself; depth and number are bounded all the same, as a chain may be long.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

#define MAX_DEPTH 8
#define MAX_MANIFESTS 10000 /* in one index */
#define REF_NAME "org.opencontainers.image.ref.name"
#define CONTAINERD_NAME "io.containerd.image.name"

enum kind { KIND_UNKNOWN,
	    KIND_INDEX,
	    KIND_MANIFEST,
	    KIND_SCHEMA1 };

static enum kind kind_of(const char *media_type)
{
	static const struct {
		const char *name;
		enum kind kind;
	} known[] = {
		{ "application/vnd.oci.image.index.v1+json", KIND_INDEX },
		{ "application/vnd.docker.distribution.manifest.list.v2+json", KIND_INDEX },
		{ "application/vnd.oci.image.manifest.v1+json", KIND_MANIFEST },
		{ "application/vnd.docker.distribution.manifest.v2+json", KIND_MANIFEST },
		{ "application/vnd.docker.distribution.manifest.v1+json", KIND_SCHEMA1 },
		{ "application/vnd.docker.distribution.manifest.v1+prettyjws", KIND_SCHEMA1 },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(media_type, known[i].name))
			return known[i].kind;
	return KIND_UNKNOWN;
}

/* --- manifests --------------------------------------------------------------- */

/* A layer's media type: 0, or -EPROTONOSUPPORT by name. */
static int check_layer_type(const char *t, char **ret_err)
{
	static const char *const known[] = {
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
	};
	static const char *const how[] = {
		"", "+gzip", "+zstd", ".gzip", ".zstd", "+xz", "+bzip2"
	};
	size_t i, k;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t n = strlen(known[i]);

		if (strncmp(t, known[i], n) != 0)
			continue;
		for (k = 0; k < sizeof(how) / sizeof(how[0]); k++)
			if (!strcmp(t + n, how[k]))
				return 0;
		return oci_fail(ret_err, -EPROTONOSUPPORT, "a layer is of type %s, which we %s", t,
				strstr(t, "encrypted") ? "cannot decrypt" : "do not read");
	}
	return oci_fail(ret_err, -EPROTONOSUPPORT,
			"a layer is of type %s: this is no image of a root file system", t);
}

static int take_layer(struct image *img, const struct blobs *b, unsigned i, const json_t *obj,
		      char **ret_err)
{
	struct image_layer *l = &img->layer[i];
	char name[DIGEST_STRING_SIZE];
	struct descriptor desc;
	struct blob_at at;
	int r = doc_descriptor(&img->manifest, obj, &desc, ret_err);

	if (r == 0)
		r = check_layer_type(desc.media_type, ret_err);
	if (r == 0)
		r = blobs_find_digest(b, desc.digest, &at, ret_err);
	if (r < 0)
		return r;
	image_set_blob(l, &at);
	memcpy(l->digest, desc.digest, 32);
	l->media_type = desc.media_type;
	if (l->size != desc.size) {
		digest_string(desc.digest, name);
		return oci_fail(ret_err, -EBADMSG,
				"layer %u of %u, %s: %llu bytes, and %llu were promised", i + 1,
				img->nlayer, name, (unsigned long long)l->size,
				(unsigned long long)desc.size);
	}
	return image_set_annotations(l, desc.annotations, ret_err);
}

static int take_manifest(struct image *img, const struct blobs *b, char **ret_err)
{
	const struct doc *d = &img->manifest;
	struct descriptor config;
	json_t *obj, *layers;
	unsigned i;
	int r;

	r = doc_member(d, d->json, "config", JSON_OBJECT, &obj, ret_err);
	if (r == 0)
		r = doc_member(d, d->json, "layers", JSON_ARRAY, &layers, ret_err);
	if (r < 0)
		return r;
	if (!obj || !layers || json_object_get(d->json, "manifests"))
		return oci_fail(ret_err, -EINVAL, "%s has no config, no layers, or is an index too",
				d->name);
	if (json_array_size(layers) > IMAGE_MAX_LAYERS)
		return oci_fail(ret_err, -E2BIG,
				"%s: %zu layers, and no more than %d can be mounted", d->name,
				json_array_size(layers), IMAGE_MAX_LAYERS);
	r = doc_descriptor(d, obj, &config, ret_err);
	if (r < 0)
		return r;
	if (strcmp(config.media_type, "application/vnd.oci.image.config.v1+json") != 0 &&
	    strcmp(config.media_type, "application/vnd.docker.container.image.v1+json") != 0)
		return oci_fail(
			ret_err, -EPROTONOSUPPORT,
			"%s: its config is of type %s: this is no image of a root file system",
			d->name, *config.media_type ? config.media_type : "(none)");
	r = image_make_layers(img, (unsigned)json_array_size(layers));
	for (i = 0; r == 0 && i < img->nlayer; i++)
		r = take_layer(img, b, i, json_array_get(layers, i), ret_err);
	if (r == 0)
		r = doc_read_digest(b, "config", config.digest, config.size, &img->config, ret_err);
	if (r == 0)
		r = image_take_config(img, ret_err);
	return r;
}

/* --- indexes ------------------------------------------------------------------ */

struct choice {
	const struct platform *want;
	const struct blobs *b;
	unsigned depth;
};

static int follow(struct image *img, struct choice *c, const struct descriptor *desc,
		  char **ret_err);

struct named_platform {
	const char *os, *arch, *variant;
};

static int platform_of(const struct doc *d, const struct descriptor *desc,
		       struct named_platform *ret, char **ret_err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!desc->platform)
		return 0;
	r = doc_string(d, desc->platform, "os", &ret->os, ret_err);
	if (r == 0)
		r = doc_string(d, desc->platform, "architecture", &ret->arch, ret_err);
	if (r == 0)
		r = doc_string(d, desc->platform, "variant", &ret->variant, ret_err);
	return r;
}

/* "linux/amd64, linux/arm64/v8", for the one who has to choose. */
static void add_name(char **list, const char *a, const char *b, const char *c)
{
	_cleanup_free_ char *old = *list, *item = NULL;

	*list = NULL;
	if (asprintf(&item, "%s%s%s%s%s", a, *b ? "/" : "", b, *c ? "/" : "", c) < 0) {
		item = NULL;
		return;
	}
	if (old && strlen(old) > 500)
		*list = steal_ptr(&old);
	else if (asprintf(list, "%s%s%s", old ? old : "", old ? ", " : "", item) < 0)
		*list = NULL;
}

/* Of those of @list that @keep says, the one that suits best. */
static int choose(struct image *img, struct choice *c, const struct doc *d, json_t *list,
		  const bool *keep, char **ret_err)
{
	_cleanup_free_ char *seen = NULL;
	struct descriptor best = { 0 }, only = { 0 };
	unsigned candidates = 0, plain = 0;
	int best_score = 0, r;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		struct named_platform p;
		struct descriptor desc;
		int score;

		if (keep && !keep[i])
			continue;
		r = doc_descriptor(d, json_array_get(list, i), &desc, ret_err);
		if (r == 0)
			r = platform_of(d, &desc, &p, ret_err);
		if (r < 0)
			return r;
		/* what a builder attests of the others */
		if (p.os && !strcmp(p.os, "unknown"))
			continue;
		candidates++;
		only = desc;
		plain += !p.os;
		if (p.os)
			add_name(&seen, p.os, p.arch, p.variant);
		score = p.os ? platform_score(c->want, p.os, p.arch, p.variant) : 0;
		if (score > best_score) {
			best_score = score;
			best = desc;
		}
	}
	if (best_score)
		return follow(img, c, &best, ret_err);
	if (candidates == 1 && (plain || !c->want->asked))
		return follow(img, c, &only, ret_err);
	if (!candidates)
		return oci_fail(ret_err, -ENOENT, "%s holds no image", d->name);
	if (plain)
		return oci_fail(ret_err, -ENOENT,
				"%s holds %u images, and says of none for which platform it is",
				d->name, candidates);
	return oci_fail(ret_err, -ENOENT, "nothing for %s/%s%s%s, but for %s (see --platform)",
			c->want->os, c->want->arch, *c->want->variant ? "/" : "", c->want->variant,
			seen ? seen : "others");
}

static int follow_index(struct image *img, struct choice *c, const struct doc *d, char **ret_err)
{
	json_t *list;
	int r = doc_member(d, d->json, "manifests", JSON_ARRAY, &list, ret_err);

	if (r < 0)
		return r;
	if (!list || json_object_get(d->json, "layers"))
		return oci_fail(ret_err, -EINVAL, "%s lists no manifests, or is a manifest too",
				d->name);
	if (json_array_size(list) > MAX_MANIFESTS)
		return oci_fail(ret_err, -E2BIG, "%s lists %zu manifests", d->name,
				json_array_size(list));
	return choose(img, c, d, list, NULL, ret_err);
}

/* The document a descriptor names: a manifest, or another index. */
static int follow(struct image *img, struct choice *c, const struct descriptor *desc,
		  char **ret_err)
{
	struct doc d = { 0 };
	const char *inner;
	json_t *schema;
	enum kind k;
	int r;

	if (++c->depth > MAX_DEPTH)
		return oci_fail(ret_err, -ELOOP, "indexes in indexes, %d deep", MAX_DEPTH);
	if (kind_of(desc->media_type) == KIND_SCHEMA1)
		return oci_fail(ret_err, -EPROTONOSUPPORT,
				"a manifest of schema 1, which nobody has written for years: "
				"convert the image");
	r = doc_read_digest(c->b, "manifest", desc->digest, desc->size, &d, ret_err);
	if (r == 0 && !json_is_object(d.json))
		r = oci_fail(ret_err, -EINVAL, "%s is no object", d.name);
	if (r == 0)
		r = doc_member(&d, d.json, "schemaVersion", JSON_INTEGER, &schema, ret_err);
	if (r == 0 && schema && json_integer_value(schema) == 1)
		r = oci_fail(ret_err, -EPROTONOSUPPORT,
			     "%s is of schema 1, which nobody has written for years: convert the "
			     "image",
			     d.name);
	if (r == 0)
		r = doc_string(&d, d.json, "mediaType", &inner, ret_err);
	if (r < 0)
		goto out;
	if (*inner && *desc->media_type && strcmp(inner, desc->media_type) != 0) {
		r = oci_fail(ret_err, -EINVAL, "%s says it is %s, and who names it, %s", d.name,
			     inner, desc->media_type);
		goto out;
	}
	k = kind_of(*desc->media_type ? desc->media_type : inner);
	if (!*desc->media_type && !*inner)
		k = json_object_get(d.json, "manifests") ? KIND_INDEX : KIND_MANIFEST;
	if (k == KIND_INDEX) {
		r = follow_index(img, c, &d, ret_err);
	} else if (k == KIND_MANIFEST) {
		static const char *const types[] = {
			"application/vnd.oci.image.manifest.v1+json",
			"application/vnd.docker.distribution.manifest.v2+json",
		};
		const char *t = *desc->media_type ? desc->media_type : inner;

		img->media_type = types[strstr(t, "docker") != NULL];
		img->manifest = d;
		memset(&d, 0, sizeof(d));
		r = take_manifest(img, c->b, ret_err);
	} else {
		r = oci_fail(ret_err, -EPROTONOSUPPORT, "%s is of type %s, which we do not read",
			     d.name, *desc->media_type ? desc->media_type : inner);
	}
out:
	doc_free(&d);
	return r;
}

/* --- index.json ------------------------------------------------------------------ */

static const char *annotation(const struct descriptor *desc, const char *key)
{
	const char *s = json_string_value(json_object_get(desc->annotations, key));

	return s ? s : "";
}

static bool has_name(const struct descriptor *desc, const char *name)
{
	const char *tag = annotation(desc, REF_NAME), *full = annotation(desc, CONTAINERD_NAME);

	return !strcmp(tag, name) || !strcmp(full, name) ||
	       (*full && reference_same(full, name)) ||
	       (strchr(tag, '/') && reference_same(tag, name));
}

/* Which of index.json's manifests a reference may mean; how many names these have. */
static int select_named(const struct doc *d, json_t *list, const struct reference *ref,
			bool *keep, unsigned *ret_n, char **ret_names, char **ret_err)
{
	const char *first = NULL;
	unsigned names = 0, n = 0;
	size_t i;

	*ret_names = NULL;
	for (i = 0; i < json_array_size(list); i++) {
		struct descriptor desc;
		const char *tag;
		int r = doc_descriptor(d, json_array_get(list, i), &desc, ret_err);

		if (r < 0)
			return r;
		tag = annotation(&desc, REF_NAME);
		if (!*tag)
			tag = annotation(&desc, CONTAINERD_NAME);
		if (*tag)
			add_name(ret_names, tag, "", "");
		keep[i] = ref->has_digest  ? digest_equal(desc.digest, ref->digest) :
			  ref->number >= 0 ? i == (size_t)ref->number :
			  *ref->name       ? has_name(&desc, ref->name) :
					     true;
		if (!keep[i])
			continue;
		n++;
		if (!first || strcmp(first, tag) != 0)
			names++;
		first = tag;
	}
	*ret_n = n;
	if (n > 1 && names > 1 && !*ref->name)
		return oci_fail(ret_err, -ENOENT, "%u images are in there; name one of them: %s", n,
				*ret_names ? *ret_names : "@DIGEST");
	return 0;
}

/* A manifest that index.json does not name itself. */
static int follow_digest(struct image *img, struct choice *c, const struct reference *ref,
			 char **ret_err)
{
	struct descriptor desc = { .media_type = "" };
	struct blob_at at;
	int r = blobs_find_digest(c->b, ref->digest, &at, ret_err);

	if (r < 0)
		return r;
	memcpy(desc.digest, ref->digest, 32);
	desc.size = at.size;
	free(at.path);
	return follow(img, c, &desc, ret_err);
}

int image_from_layout(struct image *img, const struct blobs *b, const struct reference *ref,
		      const struct platform *want, char **ret_err)
{
	struct choice c = { .want = want, .b = b };
	_cleanup_free_ char *names = NULL;
	_cleanup_free_ bool *keep = NULL;
	struct doc d = { 0 };
	json_t *list = NULL;
	unsigned n = 0;
	int r;

	r = doc_read(b, "index.json", &d, ret_err);
	if (r == 0 && !json_is_object(d.json))
		r = oci_fail(ret_err, -EINVAL, "index.json is no object");
	if (r == 0)
		r = doc_member(&d, d.json, "manifests", JSON_ARRAY, &list, ret_err);
	if (r == 0 && (!list || json_array_size(list) > MAX_MANIFESTS))
		r = oci_fail(ret_err, list ? -E2BIG : -EINVAL, "index.json lists %s manifests",
			     list ? "too many" : "no");
	if (r == 0) {
		keep = sys_calloc(json_array_size(list), sizeof(*keep));
		r = keep ? select_named(&d, list, ref, keep, &n, &names, ret_err) : -ENOMEM;
	}
	if (r == 0) {
		if (!n && ref->has_digest)
			r = follow_digest(img, &c, ref, ret_err);
		else if (!n && (*ref->name || ref->number >= 0))
			r = oci_fail(ret_err, -ENOENT, "no image by that name in there%s%s",
				     names ? ", but: " : "", names ? names : "");
		else
			r = choose(img, &c, &d, list, keep, ret_err);
	}
	doc_free(&d);
	return r;
}
