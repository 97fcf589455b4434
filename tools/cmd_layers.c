/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl layers: what is in the layer cache, and throwing away what nobody needs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache.h"
#include "oci/digest.h"
#include "tools/out.h"
#include "tools/plyctl.h"

struct listing {
	struct cmd *c;
	uint64_t n, size, broken;
};

static int show(void *arg, const struct layer_cache_entry *e)
{
	char digest[DIGEST_STRING_SIZE], a[OUT_SIZE], b[OUT_SIZE], when[OUT_TIME];
	struct listing *l = arg;

	l->n++;
	l->size += e->size;
	l->broken += e->broken;
	digest_string(e->digest, digest);
	if (l->c->json) {
		json_object(NULL);
		json_string("digest", digest);
		json_string("kind", e->broken ? NULL : index_kind_name(e->info.kind));
		json_uint("size", e->size);
		json_uint("content", e->info.content);
		json_string("used", out_rfc3339(e->used, 0, when));
		json_bool("broken", e->broken);
		json_string("blob", *e->blob ? e->blob : NULL);
		json_end();
		return 0;
	}
	(void)printf("%.19s  %-12s %6s %7s  %s", digest,
		     e->broken ? "broken" : index_kind_name(e->info.kind), out_size(e->size, a),
		     e->broken ? "-" : out_size(e->info.content, b), out_time(e->used, when));
	(void)putchar('\n');
	return 0;
}

static int open_cache(struct cmd *c, struct layer_cache **ret)
{
	char *err = NULL;
	int r = layer_cache_open(c->layers, ret, &err);

	return r < 0 ? cmd_fail(r, err, NULL) : CMD_OK;
}

static int run_list(struct cmd *c)
{
	struct listing l = { .c = c };
	struct layer_cache *cache;
	char *err = NULL, a[OUT_SIZE];
	int code = open_cache(c, &cache), r;

	if (code != CMD_OK)
		return code;
	if (c->json) {
		json_object(NULL);
		json_string("cache", layer_cache_path(cache));
		json_array("layers");
	} else {
		(void)printf("%s%-19s  %-12s %6s %7s  %s%s\n", out_colour(OUT_BOLD), "layer",
			     "kind", "size", "content", "last used", out_colour(OUT_RESET));
	}
	r = layer_cache_list(cache, show, &l, &err);
	if (c->json) {
		json_end();
		json_uint("size", l.size);
		json_end();
	} else if (r == 0) {
		(void)printf("%" PRIu64 " layers, %s, in ", l.n, out_size(l.size, a));
		out_text(stdout, layer_cache_path(cache));
		(void)putchar('\n');
	}
	layer_cache_close(cache);
	return r < 0 ? cmd_fail(r, err, NULL) : CMD_OK;
}

static int parse(struct cmd *c, struct layer_cache_prune *o)
{
	const char *days = cmd_option(c, "older"), *size = cmd_option(c, "size");
	uint64_t n;

	o->older = -1;
	o->all = cmd_option(c, "all");
	o->dry_run = cmd_option(c, "dry-run");
	if (days) {
		if (cmd_parse_number(days, 100000, &n) < 0)
			return cmd_usage(c, "--older %s: this is no number of days", days);
		o->older = (int64_t)n * 86400;
	}
	if (size && (cmd_parse_size(size, &o->max_size) < 0 || !o->max_size))
		return cmd_usage(c, "--size %s: a size as 500M or 10G", size);
	return CMD_OK;
}

static int run_prune(struct cmd *c)
{
	struct listing l = { .c = c };
	struct layer_cache_prune o = { .fn = show, .arg = &l };
	struct layer_cache *cache;
	char *err = NULL, a[OUT_SIZE];
	uint64_t freed = 0;
	int code = parse(c, &o), r;

	if (code == CMD_OK)
		code = open_cache(c, &cache);
	if (code != CMD_OK)
		return code;
	if (c->json) {
		json_object(NULL);
		json_string("cache", layer_cache_path(cache));
		json_bool("dry_run", o.dry_run);
		json_array("removed");
	}
	r = layer_cache_prune(cache, &o, &freed, &err);
	if (c->json) {
		json_end();
		json_uint("freed", freed);
		json_end();
	} else if (r == 0) {
		(void)printf("%" PRIu64 " layers %s, %s\n", l.n,
			     o.dry_run ? "would be removed" : "removed", out_size(freed, a));
	}
	layer_cache_close(cache);
	return r < 0 ? cmd_fail(r, err, NULL) : CMD_OK;
}

const struct command cmd_layers = {
	.name = "layers",
	.args = "",
	.summary = "List the layer cache",
	.help = "Size is what a layer takes on this disk, content what its files hold.",
	.min = 0,
	.max = 0,
	.flags = CMD_CACHE,
	.run = run_list,
};

static const struct cmd_option prune_options[] = {
	{ 'a', "all", NULL, "all layers" },
	{ 0, "older", "DAYS", "layers that were not used for so long" },
	{ 0, "size", "SIZE", "the least used, until no more than this is left" },
	{ 'n', "dry-run", NULL, "only say what would go" },
	{ 0 },
};

const struct command cmd_layers_prune = {
	.name = "layers prune",
	.args = "",
	.summary = "Remove layers from the layer cache",
	.help = "Without options, what is of no use: layers whose blob is gone, and what killed\n"
		"processes left. All can be made again while their images exist; what is mounted\n"
		"stays readable until it is unmounted. What nobody used for 60 days goes by\n"
		"itself when something is added.",
	.options = prune_options,
	.min = 0,
	.max = 0,
	.flags = CMD_CACHE,
	.run = run_prune,
};
