/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl index info: what an index says of itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer/index.h"
#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache.h"
#include "oci/digest.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/preparing.h"

static void print_digest(const char *what, const uint8_t d[32])
{
	char s[DIGEST_STRING_SIZE];

	if (!digest_known(d))
		return;
	digest_string(d, s);
	(void)printf("%9s: %s\n", what, s);
}

static void print_text(const char *path, const struct index_info *i)
{
	char a[OUT_SIZE], b[OUT_SIZE], c[OUT_SIZE];

	(void)fputs("    index: ", stdout);
	out_text(stdout, path);
	(void)printf(" (%s)\n     kind: %s\n", out_size(i->file_size, a), index_kind_name(i->kind));
	print_digest("layer", i->layer);
	print_digest("diff ID", i->diff_id);
	print_digest("TOC", i->toc);
	print_digest("blob", i->blob);
	(void)printf("blob size: %s\n  content: %s in %" PRIu32 " inodes, %" PRIu64 " names\n",
		     out_size(i->blob_size, b), out_size(i->content, c), i->inodes, i->dirents);
	(void)printf("   pieces: %" PRIu64 " extents, %" PRIu64 " chunks, %" PRIu64 " frames\n",
		     i->extents, i->chunks, i->frames);
}

static void print_json(const char *path, const struct index_info *i)
{
	json_object(NULL);
	json_string("index", path);
	json_string("kind", index_kind_name(i->kind));
	json_uint("index_size", i->file_size);
	json_digest("layer", i->layer);
	json_digest("diff_id", i->diff_id);
	json_digest("toc", i->toc);
	json_digest("blob", i->blob);
	json_uint("blob_size", i->blob_size);
	json_uint("content", i->content);
	json_uint("inodes", i->inodes);
	json_uint("names", i->dirents);
	json_uint("extents", i->extents);
	json_uint("chunks", i->chunks);
	json_uint("frames", i->frames);
	json_end();
}

static int show(struct cmd *c, const char *path, bool more)
{
	struct index *ix;
	char *err = NULL;
	int r = index_open(AT_FDCWD, path, &ix, &err);

	if (r < 0)
		return cmd_fail(r, err, path);
	if (c->json) {
		print_json(path, index_info(ix));
	} else {
		if (more)
			(void)putchar('\n');
		print_text(path, index_info(ix));
	}
	index_close(ix);
	return CMD_OK;
}

static int run(struct cmd *c)
{
	const struct image_options o = { .platform = c->platform };
	struct layer_cache_options co;
	struct layer_cache *cache = NULL;
	struct image *img = NULL;
	char **paths = NULL, *err = NULL;
	int r, code = CMD_OK;
	unsigned i;

	r = image_open(c->argv[0], &o, &img, &err);
	if (r == 0 && image_kind(img) != IMAGE_INDEX)
		r = layer_cache_open(c->layers, &cache, &err);
	if (r == 0 && cache) {
		r = layer_cache_get_all(cache, img, preparing_options(&co), &paths, &err);
		preparing_end();
	}
	if (r < 0) {
		layer_cache_close(cache);
		image_close(img);
		return cmd_fail(r, err, c->argv[0]);
	}
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("indexes");
	}
	for (i = 0; i < image_layers(img) && code == CMD_OK; i++) {
		const struct image_layer *l = image_layer(img, i);

		if (l->kind == IMAGE_LAYER_DIR) {
			cmd_say("%s: a directory, which has no index", l->path);
			code = CMD_BAD;
		} else {
			code = show(c, paths ? paths[i] : l->path, i > 0);
		}
	}
	if (c->json) {
		json_end();
		json_end();
	}
	if (paths)
		layer_cache_paths_free(paths, image_layers(img));
	layer_cache_close(cache);
	image_close(img);
	return code;
}

const struct command cmd_index_info = {
	.name = "index info",
	.args = "IMAGE",
	.summary = "Show what the indexes of an image hold",
	.help = "IMAGE may be the file of an index itself. Layers that have no index yet get one.",
	.min = 1,
	.max = 1,
	.flags = CMD_IMAGE,
	.run = run,
};
