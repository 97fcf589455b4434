/* SPDX-License-Identifier: Apache-2.0 */
/* An image's config: platform, diff IDs, history. */
#include <errno.h>
#include <string.h>

#include "lib/sys.h"
#include "oci/oci_i.h"

#define MAX_HISTORY 10000

static int take_diff_ids(struct image *img, char **ret_err)
{
	const struct doc *d = &img->config;
	json_t *rootfs, *ids = NULL;
	unsigned i;
	int r = doc_member(d, d->json, "rootfs", JSON_OBJECT, &rootfs, ret_err);

	if (r == 0 && rootfs)
		r = doc_member(d, rootfs, "diff_ids", JSON_ARRAY, &ids, ret_err);
	if (r < 0)
		return r;
	if (json_array_size(ids) != img->nlayer)
		return oci_fail(ret_err, -EINVAL, "%s: %zu diff IDs for %u layers", d->name,
				json_array_size(ids), img->nlayer);
	for (i = 0; i < img->nlayer; i++) {
		const char *s = json_string_value(json_array_get(ids, i));

		r = s ? digest_parse(s, img->layer[i].diff_id) : -EINVAL;
		if (r < 0)
			return oci_fail(ret_err, r, "%s: '%s' is no diff ID that we know", d->name,
					s ? s : "?");
	}
	return 0;
}

static int take_history(struct image *img, char **ret_err)
{
	const struct doc *d = &img->config;
	unsigned i, layer = 0;
	json_t *list;
	size_t n;
	int r = doc_member(d, d->json, "history", JSON_ARRAY, &list, ret_err);

	if (r < 0 || !list)
		return r;
	n = json_array_size(list);
	if (n > MAX_HISTORY)
		return oci_fail(ret_err, -E2BIG, "%s: a history of %zu steps", d->name, n);
	img->history = sys_calloc(n, sizeof(*img->history));
	if (!img->history)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		struct image_history *h = &img->history[i];
		const json_t *e = json_array_get(list, i);

		if (!json_is_object(e))
			return oci_fail(ret_err, -EINVAL, "%s: a step of the history is no object",
					d->name);
		r = doc_string(d, e, "created", &h->created, ret_err);
		if (r == 0)
			r = doc_string(d, e, "created_by", &h->created_by, ret_err);
		if (r == 0)
			r = doc_string(d, e, "author", &h->author, ret_err);
		if (r == 0)
			r = doc_string(d, e, "comment", &h->comment, ret_err);
		if (r < 0)
			return r;
		h->layer = -1;
		if (!json_is_true(json_object_get(e, "empty_layer")) && layer < img->nlayer)
			h->layer = (int)layer++;
		img->nhistory = i + 1;
	}
	return 0;
}

int image_take_platform(struct image *img, char **ret_err)
{
	const struct doc *d = &img->config;
	int r;

	if (!json_is_object(d->json))
		return oci_fail(ret_err, -EINVAL, "%s is no object", d->name);
	r = doc_string(d, d->json, "os", &img->os, ret_err);
	if (r == 0)
		r = doc_string(d, d->json, "architecture", &img->arch, ret_err);
	if (r == 0)
		r = doc_string(d, d->json, "variant", &img->variant, ret_err);
	return r;
}

int image_take_config(struct image *img, char **ret_err)
{
	int r = image_take_platform(img, ret_err);

	if (r == 0)
		r = take_diff_ids(img, ret_err);
	if (r == 0)
		r = take_history(img, ret_err);
	return r;
}
