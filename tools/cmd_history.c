/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plyctl history: what each step of an image added, and what of it is of no use.
 *
 * Layers are stacked one by one, and the bytes that can be seen counted each time. What
 * a layer holds and is not seen with all of them is wasted; what is seen less with
 * a layer than without it, but for what it brings, is what that layer hides.
 */
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
#include "tools/preparing.h"
#include "tools/walk.h"

struct layer_sum {
	uint64_t bytes, files; /* in the layer */
	uint64_t seen; /* of these bytes, with all layers */
	uint64_t hides; /* bytes below that it overwrites or deletes */
};

struct count {
	struct view *v;
	struct links *links;
	uint64_t bytes, files;
	struct layer_sum *by_layer; /* or NULL */
	unsigned n;
};

static int each(void *arg, const struct walk_step *s)
{
	struct count *c = arg;
	const struct statx *st = &s->f->st;
	int layer;

	if (s->leaving || S_ISDIR(st->stx_mode))
		return 0;
	c->files++;
	if (!S_ISREG(st->stx_mode) || !links_first(&c->links, st))
		return 0;
	c->bytes += st->stx_size;
	layer = c->by_layer ? view_layer(c->v, s->f) : -1;
	if (layer >= 0 && (unsigned)layer < c->n)
		c->by_layer[layer].seen += st->stx_size;
	return 0;
}

/* What can be seen with @n layers from @paths on. */
static int count(const char *const *paths, unsigned n, struct layer_sum *by_layer,
		 struct count *ret, char **ret_err)
{
	struct count c = { .by_layer = by_layer, .n = n };
	struct view_file root;
	unsigned bad = 0;
	int r;

	r = view_open_paths(paths, n, &c.v, ret_err);
	if (r < 0)
		return r;
	r = view_root(c.v, &root);
	if (r == 0)
		r = walk(c.v, "/", &root, each, &c, &bad);
	view_close(c.v);
	links_free(c.links);
	*ret = c;
	return r < 0 ? r : bad ? -EIO :
				 0;
}

static int count_all(char **paths, unsigned n, struct layer_sum *sum, char **ret_err)
{
	uint64_t before = 0;
	struct count c;
	unsigned i;
	int r = 0;

	for (i = 0; i < n && r == 0; i++) {
		r = count((const char *const *)paths + i, 1, NULL, &c, ret_err);
		if (r < 0)
			break;
		sum[i].bytes = c.bytes;
		sum[i].files = c.files;
		r = count((const char *const *)paths, i + 1, i + 1 == n ? sum : NULL, &c, ret_err);
		if (before + sum[i].bytes > c.bytes)
			sum[i].hides = before + sum[i].bytes - c.bytes;
		before = c.bytes;
	}
	return r;
}

/* "/bin/sh -c #(nop) CMD x" and "RUN /bin/sh -c x # buildkit" without what all have. */
static char *command_of(const struct image_history *h)
{
	static const char nop[] = "/bin/sh -c #(nop) ", sh[] = "/bin/sh -c ";
	const char *s = h->created_by;

	if (!strncmp(s, nop, sizeof(nop) - 1))
		s += sizeof(nop) - 1;
	else if (!strncmp(s, sh, sizeof(sh) - 1))
		s += sizeof(sh) - 1;
	s += strspn(s, " \t");
	return out_escape(*s ? s : h->comment);
}

static const char *size_or_dash(bool has, uint64_t v, char buf[OUT_SIZE])
{
	return has ? out_size(v, buf) : "-";
}

/* As many columns of @s as are left, whole characters only. */
static void print_cut(const char *s, unsigned width)
{
	size_t n = 0, columns = 0;

	while (s[n] && columns < width) {
		n++;
		while (((unsigned char)s[n] & 0xc0) == 0x80)
			n++;
		columns++;
	}
	if (s[n] && width > 3) {
		while (columns > width - 3) {
			while (((unsigned char)s[--n] & 0xc0) == 0x80)
				;
			columns--;
		}
		(void)printf("%.*s...", (int)n, s);
	} else {
		(void)printf("%.*s", (int)n, s);
	}
}

static void print_row(const struct image *img, const struct layer_sum *sum, int layer,
		      const char *what, bool full)
{
	const struct image_layer *l = layer >= 0 ? image_layer(img, (unsigned)layer) : NULL;
	const struct layer_sum *s = layer >= 0 ? &sum[layer] : NULL;
	char number[16] = "-", a[OUT_SIZE], b[OUT_SIZE], c[OUT_SIZE], d[OUT_SIZE];
	unsigned width = out_width();

	if (l)
		(void)snprintf(number, sizeof(number), "%d", layer);
	(void)printf("%5s %6s %6s %8s ", number, size_or_dash(l && l->size, l ? l->size : 0, a),
		     size_or_dash(s, s ? s->bytes : 0, b), size_or_dash(s, s ? s->hides : 0, d));
	if (s && s->bytes > s->seen)
		(void)printf("%s%6s%s  ", out_colour(OUT_YELLOW),
			     out_size(s->bytes - s->seen, c), out_colour(OUT_RESET));
	else
		(void)printf("%6s  ", s ? "0" : "-");
	if (full)
		(void)fputs(what, stdout);
	else
		print_cut(what, width > 38 ? width - 37 : 1);
	(void)putchar('\n');
}

static void print_text(struct cmd *c, const struct image *img, const struct layer_sum *sum)
{
	uint64_t stored = 0, bytes = 0, hidden = 0, wasted = 0;
	char a[OUT_SIZE], b[OUT_SIZE], d[OUT_SIZE], e[OUT_SIZE];
	unsigned i, named = 0;
	bool full = cmd_option(c, "full");

	(void)printf("%s%5s %6s %6s %8s %6s  %s%s\n", out_colour(OUT_BOLD), "layer", "stored",
		     "files", "hides", "wasted", "command", out_colour(OUT_RESET));
	for (i = 0; i < image_histories(img); i++) {
		const struct image_history *h = image_history(img, i);
		_cleanup_free_ char *what = command_of(h);

		print_row(img, sum, h->layer, what ? what : "", full);
		if (h->layer >= 0)
			named = (unsigned)h->layer + 1;
	}
	for (i = named; i < image_layers(img); i++)
		print_row(img, sum, (int)i, "", full);
	for (i = 0; i < image_layers(img); i++) {
		stored += image_layer(img, i)->size;
		bytes += sum[i].bytes;
		hidden += sum[i].hides;
		wasted += sum[i].bytes > sum[i].seen ? sum[i].bytes - sum[i].seen : 0;
	}
	(void)printf("%5s %6s %6s %8s %6s  %u%% of it is never seen\n", "all",
		     out_size(stored, a), out_size(bytes, b), out_size(hidden, d),
		     out_size(wasted, e), bytes ? (unsigned)(wasted * 100 / bytes) : 0);
}

static void print_json(struct cmd *c, const struct image *img, const struct layer_sum *sum)
{
	uint64_t bytes = 0, wasted = 0;
	unsigned i;

	json_object(NULL);
	json_string("image", c->argv[0]);
	json_array("history");
	for (i = 0; i < image_histories(img); i++) {
		const struct image_history *h = image_history(img, i);

		json_object(NULL);
		json_string("created", *h->created ? h->created : NULL);
		json_string("created_by", h->created_by);
		json_string("comment", h->comment);
		json_string("author", h->author);
		if (h->layer >= 0)
			json_int("layer", h->layer);
		json_end();
	}
	json_end();
	json_array("layers");
	for (i = 0; i < image_layers(img); i++) {
		const struct image_layer *l = image_layer(img, i);
		uint64_t waste = sum[i].bytes > sum[i].seen ? sum[i].bytes - sum[i].seen : 0;

		json_object(NULL);
		json_uint("layer", i);
		json_digest("digest", l->digest);
		json_digest("diff_id", l->diff_id);
		json_string("media_type", l->media_type);
		json_uint("stored", l->size);
		json_uint("files", sum[i].files);
		json_uint("bytes", sum[i].bytes);
		json_uint("hides", sum[i].hides);
		json_uint("wasted", waste);
		json_end();
		bytes += sum[i].bytes;
		wasted += waste;
	}
	json_end();
	json_uint("bytes", bytes);
	json_uint("wasted", wasted);
	json_end();
}

static int run(struct cmd *c)
{
	const struct image_options o = { .platform = c->platform };
	_cleanup_free_ struct layer_sum *sum = NULL;
	struct layer_cache_options co;
	struct layer_cache *cache = NULL;
	struct image *img = NULL;
	char **paths = NULL, *err = NULL;
	int r;

	r = image_open(c->argv[0], &o, &img, &err);
	if (r == 0)
		r = userns_enter(img, &err);
	if (r == 0)
		r = layer_cache_open(c->layers, &cache, &err);
	if (r == 0)
		r = layer_cache_get_all(cache, img, preparing_options(&co), &paths, &err);
	preparing_end();
	if (r == 0) {
		sum = sys_calloc(image_layers(img), sizeof(*sum));
		r = sum ? count_all(paths, image_layers(img), sum, &err) : -ENOMEM;
	}
	if (r == 0 && c->json)
		print_json(c, img, sum);
	else if (r == 0)
		print_text(c, img, sum);
	if (paths)
		layer_cache_paths_free(paths, image_layers(img));
	layer_cache_close(cache);
	image_close(img);
	return r < 0 ? cmd_fail(r, err, c->argv[0]) : CMD_OK;
}

static const struct cmd_option options[] = {
	{ 0, "full", NULL, "commands in full, however wide the terminal is" },
	{ 0 },
};

const struct command cmd_history = {
	.name = "history",
	.args = "IMAGE",
	.summary = "Show the steps that made an image, and what its layers waste",
	.help = "  stored   bytes of the layer as it is stored\n"
		"  files    bytes in its files\n"
		"  hides    bytes of the layers below that it overwrites or deletes\n"
		"  wasted   bytes in its files that are not seen, as later layers hide them",
	.options = options,
	.min = 1,
	.max = 1,
	.flags = CMD_IMAGE,
	.run = run,
};
