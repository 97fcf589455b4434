/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl tree: the tree of an image, drawn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/walk.h"

#define MAX_LEVELS 4096

struct tree {
	struct cmd *c;
	struct view *v;
	uint64_t depth;
	bool dirs, sizes;
	uint64_t ndirs, nfiles;
	bool more[MAX_LEVELS]; /* whether a level has entries to come */
};

static void draw_branch(const struct tree *t, const struct walk_step *s)
{
	bool utf8 = out_utf8();
	unsigned i;

	(void)fputs(out_colour(OUT_DIM), stdout);
	for (i = 1; i < s->depth && i < MAX_LEVELS; i++)
		(void)fputs(t->more[i] ? (utf8 ? "\u2502   " : "|   ") : "    ", stdout);
	if (s->depth)
		(void)fputs(s->last ? (utf8 ? "\u2514\u2500\u2500 " : "`-- ") :
				      (utf8 ? "\u251c\u2500\u2500 " : "|-- "),
			    stdout);
	(void)fputs(out_colour(OUT_RESET), stdout);
}

static void draw(const struct tree *t, const struct walk_step *s)
{
	const struct statx *st = &s->f->st;
	const char *colour = out_mode_colour(st->stx_mode);
	char size[OUT_SIZE];

	if (t->sizes)
		(void)printf("%5s  ", S_ISREG(st->stx_mode) ? out_size(st->stx_size, size) : "");
	draw_branch(t, s);
	(void)fputs(colour, stdout);
	out_text(stdout, s->depth ? s->name : s->path);
	if (*colour)
		(void)fputs(out_colour(OUT_RESET), stdout);
	if (S_ISLNK(st->stx_mode)) {
		_cleanup_free_ char *target = NULL;

		(void)fputs(" -> ", stdout);
		if (view_readlink(t->v, s->f, &target) == 0)
			out_text(stdout, target);
	}
	(void)putchar('\n');
}

static int each(void *arg, const struct walk_step *s)
{
	struct tree *t = arg;
	bool dir = S_ISDIR(s->f->st.stx_mode);

	if (s->leaving || (t->dirs && !dir))
		return 0;
	if (s->depth < MAX_LEVELS)
		t->more[s->depth] = !s->last;
	t->ndirs += dir && s->depth;
	t->nfiles += !dir;
	if (t->c->json)
		entry_json(t->v, s->path, s->f, false);
	else
		draw(t, s);
	return s->depth >= t->depth ? WALK_SKIP : 0;
}

static int run(struct cmd *c)
{
	_cleanup_free_ struct tree *t = calloc(1, sizeof(*t));
	const char *depth = cmd_option(c, "depth");
	_cleanup_free_ char *path = walk_path(c->argc > 1 ? c->argv[1] : "/");
	struct view_file f;
	unsigned bad = 0;
	int code, r;

	if (!t || !path)
		return cmd_fail(-ENOMEM, NULL, NULL);
	t->c = c;
	t->depth = UINT64_MAX;
	t->dirs = cmd_option(c, "directories");
	t->sizes = cmd_option(c, "size");
	if (depth && cmd_parse_number(depth, MAX_LEVELS, &t->depth) < 0)
		return cmd_usage(c, "--depth %s: this is no number of levels", depth);
	code = view_open(c, c->argv[0], NULL, &t->v, NULL);
	if (code != CMD_OK)
		return code;
	r = view_lookup(t->v, path, true, &f);
	if (r < 0) {
		view_close(t->v);
		return cmd_fail(r, NULL, path);
	}
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("entries");
	}
	r = walk(t->v, path, &f, each, t, &bad);
	if (c->json) {
		json_end();
		json_uint("directories", t->ndirs);
		json_uint("files", t->nfiles);
		json_end();
	} else if (r == 0) {
		(void)printf("\n%llu director%s, %llu file%s\n", (unsigned long long)t->ndirs,
			     t->ndirs == 1 ? "y" : "ies", (unsigned long long)t->nfiles,
			     t->nfiles == 1 ? "" : "s");
	}
	view_put(t->v, &f);
	view_close(t->v);
	return r < 0 ? cmd_fail(r, NULL, path) : bad ? CMD_BAD :
						       CMD_OK;
}

static const struct cmd_option options[] = {
	{ 'L', "depth", "N", "no deeper than this" },
	{ 'd', "directories", NULL, "directories only" },
	{ 's', "size", NULL, "with the sizes of files" },
	{ 0 },
};

const struct command cmd_tree = {
	.name = "tree",
	.args = "IMAGE [PATH]",
	.summary = "Draw the tree of an image",
	.options = options,
	.min = 1,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
