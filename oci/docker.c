/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker archives: manifest.json lists images, each a config and layers by name in the
 * archive. Old ones have HEX.json and ID/layer.tar (or links to it), new ones, which are
 * OCI layouts too, have blobs/sha256/HEX: then the names are digests.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

/* The digest in "blobs/sha256/HEX" or "HEX.json"; false: none. */
static bool name_digest(const char *name, uint8_t ret[32])
{
	char s[DIGEST_STRING_SIZE] = "sha256:";
	size_t n = strlen(name);

	if (n == 13 + 64 && !strncmp(name, "blobs/sha256/", 13))
		memcpy(s + 7, name + 13, 65);
	else if (n == 64 + 5 && !strcmp(name + 64, ".json"))
		memcpy(s + 7, name, 64);
	else
		return false;
	return digest_parse(s, ret) == 0;
}

static bool has_tag(const json_t *entry, const char *name)
{
	json_t *tags = json_object_get(entry, "RepoTags");
	size_t i;

	for (i = 0; i < json_array_size(tags); i++) {
		const char *s = json_string_value(json_array_get(tags, i));

		if (s && reference_same(s, name))
			return true;
	}
	return false;
}

static void list_tags(const json_t *list, char *buf, size_t size)
{
	size_t i, k, n = 0;

	buf[0] = 0;
	for (i = 0; i < json_array_size(list); i++) {
		json_t *tags = json_object_get(json_array_get(list, i), "RepoTags");

		for (k = 0; k < json_array_size(tags) && n + 1 < size; k++) {
			const char *s = json_string_value(json_array_get(tags, k));

			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "",
					      s ? s : "?");
		}
	}
}

static int select_entry(const struct doc *d, const struct reference *ref, json_t **ret,
			char **ret_err)
{
	size_t n = json_array_size(d->json), i;
	char tags[400];

	if (!json_is_array(d->json))
		return oci_fail(ret_err, -EINVAL, "manifest.json is no list");
	*ret = NULL;
	if (ref->has_digest)
		return oci_fail(ret_err, -EINVAL, "a docker archive knows names, no digests");
	list_tags(d->json, tags, sizeof(tags));
	if (ref->number >= 0) {
		*ret = json_array_get(d->json, (size_t)ref->number);
	} else if (*ref->name) {
		for (i = 0; i < n && !*ret; i++)
			if (has_tag(json_array_get(d->json, i), ref->name))
				*ret = json_array_get(d->json, i);
	} else if (n == 1) {
		*ret = json_array_get(d->json, 0);
	} else if (n) {
		return oci_fail(ret_err, -ENOENT, "%zu images are in there; name one of them: %s",
				n, *tags ? tags : ":@NUMBER");
	}
	if (!*ret)
		return oci_fail(ret_err, -ENOENT, "no image by that name in there%s%s",
				*tags ? ", but: " : "", tags);
	if (!json_is_object(*ret))
		return oci_fail(ret_err, -EINVAL, "an entry of manifest.json is no object");
	return 0;
}

static int take_layer(struct image *img, const struct blobs *b, unsigned i, const json_t *name,
		      char **ret_err)
{
	struct image_layer *l = &img->layer[i];
	const char *s = json_string_value(name);
	struct blob_at at;
	int r;

	if (!s || !*s)
		return oci_fail(ret_err, -EINVAL, "manifest.json names a layer by no string");
	r = blobs_find(b, s, &at, ret_err);
	if (r < 0)
		return r;
	image_set_blob(l, &at);
	(void)name_digest(s, l->digest);
	return 0;
}

int image_from_docker(struct image *img, const struct blobs *b, const struct reference *ref,
		      const struct platform *want, char **ret_err)
{
	struct doc d = { 0 };
	json_t *entry = NULL, *layers = NULL;
	uint8_t digest[32];
	const char *config = "";
	unsigned i;
	int r;

	(void)want; /* one platform in each; image_open() compares */
	r = doc_read(b, "manifest.json", &d, ret_err);
	if (r == 0)
		r = select_entry(&d, ref, &entry, ret_err);
	if (r == 0)
		r = doc_string(&d, entry, "Config", &config, ret_err);
	if (r == 0)
		r = doc_member(&d, entry, "Layers", JSON_ARRAY, &layers, ret_err);
	if (r == 0 && (!*config || !layers))
		r = oci_fail(ret_err, -EINVAL,
			     "an image of manifest.json has no config or no layers (images of "
			     "before Docker 1.10 are not read)");
	if (r == 0 && json_array_size(layers) > IMAGE_MAX_LAYERS)
		r = oci_fail(ret_err, -E2BIG, "%zu layers, and no more than %d can be mounted",
			     json_array_size(layers), IMAGE_MAX_LAYERS);
	if (r == 0)
		r = image_make_layers(img, (unsigned)json_array_size(layers));
	for (i = 0; r == 0 && i < img->nlayer; i++)
		r = take_layer(img, b, i, json_array_get(layers, i), ret_err);
	if (r == 0)
		r = doc_read(b, config, &img->config, ret_err);
	if (r == 0 && name_digest(config, digest) && !digest_equal(digest, img->config.digest))
		r = oci_fail(ret_err, -EBADMSG, "%s: its bytes have another digest", config);
	if (r == 0)
		r = image_take_config(img, ret_err);
	doc_free(&d);
	return r;
}
