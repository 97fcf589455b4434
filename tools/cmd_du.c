/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl du: how many bytes the files of an image have, by directory. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/walk.h"

struct du {
	struct cmd *c;
	struct view *v;
	struct links *links;
	uint64_t depth;
	bool all, bytes;
	struct sum {
		uint64_t bytes, files;
	} * sum; /* of the directories that we are in */
	unsigned nsum;
};

static void print(struct du *d, const char *path, uint64_t bytes, uint64_t files)
{
	char size[OUT_SIZE];

	if (d->c->json) {
		json_object(NULL);
		json_string("path", path);
		json_uint("size", bytes);
		json_uint("files", files);
		json_end();
		return;
	}
	if (d->bytes)
		(void)printf("%-12" PRIu64 " ", bytes);
	else
		(void)printf("%-6s ", out_size(bytes, size));
	out_text(stdout, path);
	(void)putchar('\n');
}

static int enter(struct du *d, unsigned depth)
{
	if (depth >= d->nsum) {
		unsigned n = d->nsum * 2 + 64;
		struct sum *p = sys_realloc(d->sum, n * sizeof(*p));

		if (!p)
			return -ENOMEM;
		d->sum = p;
		d->nsum = n;
	}
	memset(&d->sum[depth], 0, sizeof(d->sum[depth]));
	return 0;
}

static int each(void *arg, const struct walk_step *s)
{
	struct du *d = arg;
	const struct statx *st = &s->f->st;
	struct sum *sum;

	if (S_ISDIR(st->stx_mode) && !s->leaving)
		return enter(d, s->depth);
	if (S_ISDIR(st->stx_mode)) {
		sum = &d->sum[s->depth];
		if (s->depth <= d->depth)
			print(d, s->path, sum->bytes, sum->files);
		if (s->depth) {
			sum[-1].bytes += sum->bytes;
			sum[-1].files += sum->files;
		}
		return 0;
	}
	if (s->depth) {
		bool first = links_first(&d->links, st);

		sum = &d->sum[s->depth - 1];
		sum->files++;
		if (S_ISREG(st->stx_mode) && first)
			sum->bytes += st->stx_size;
	}
	if (!s->depth || (d->all && s->depth <= d->depth))
		print(d, s->path, S_ISREG(st->stx_mode) ? st->stx_size : 0, 1);
	return 0;
}

static int run(struct cmd *c)
{
	struct du d = { .c = c,
			.depth = UINT64_MAX,
			.all = cmd_option(c, "all"),
			.bytes = cmd_option(c, "bytes") };
	_cleanup_free_ char *path = walk_path(c->argc > 1 ? c->argv[1] : "/");
	const char *depth = cmd_option(c, "depth");
	struct view_file f;
	unsigned bad = 0;
	int code, r;

	if (depth && cmd_parse_number(depth, 100000, &d.depth) < 0)
		return cmd_usage(c, "--depth %s: this is no number of levels", depth);
	if (cmd_option(c, "summarize"))
		d.depth = 0;
	code = view_open(c, c->argv[0], NULL, &d.v, NULL);
	if (code != CMD_OK)
		return code;
	r = path ? view_lookup(d.v, path, true, &f) : -ENOMEM;
	if (r < 0) {
		view_close(d.v);
		return cmd_fail(r, NULL, path);
	}
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("entries");
	}
	r = walk(d.v, path, &f, each, &d, &bad);
	if (c->json) {
		json_end();
		json_end();
	}
	view_put(d.v, &f);
	view_close(d.v);
	links_free(d.links);
	free(d.sum);
	return r < 0 ? cmd_fail(r, NULL, path) : bad ? CMD_BAD :
						       CMD_OK;
}

static const struct cmd_option options[] = {
	{ 'a', "all", NULL, "files too, not only directories" },
	{ 'b', "bytes", NULL, "exact numbers of bytes" },
	{ 'd', "depth", "N", "print no deeper than this" },
	{ 's', "summarize", NULL, "only the whole, as --depth 0" },
	{ 0 },
};

const struct command cmd_du = {
	.name = "du",
	.args = "IMAGE [PATH]",
	.summary = "Count the bytes of an image's files, by directory",
	.help = "Bytes are those of the content; a file with several names is counted once.",
	.options = options,
	.min = 1,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
