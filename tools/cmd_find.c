/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl find: files of an image by name, type, size and layer. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/walk.h"

struct find {
	struct cmd *c;
	struct view *v;
	const char *name, *whole, *types;
	int size_how; /* -1: less, 0: exactly, 1: more */
	uint64_t size, layer;
	bool has_size, has_layer, zero, with_layer;
	uint64_t found;
};

/* The letters of find(1). */
static char type_letter(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	default:
		return '?';
	}
}

static bool matches(struct find *f, const struct walk_step *s)
{
	const struct statx *st = &s->f->st;
	int layer;

	if (f->name && fnmatch(f->name, s->name, 0) != 0)
		return false;
	if (f->whole && fnmatch(f->whole, s->path, 0) != 0)
		return false;
	if (f->types && !strchr(f->types, type_letter(st->stx_mode)))
		return false;
	if (f->has_size) {
		int how = (st->stx_size > f->size) - (st->stx_size < f->size);

		if (!S_ISREG(st->stx_mode) || how != f->size_how)
			return false;
	}
	if (f->has_layer) {
		layer = view_layer(f->v, s->f);
		if (layer < 0 || (uint64_t)layer != f->layer)
			return false;
	}
	return true;
}

static int each(void *arg, const struct walk_step *s)
{
	struct find *f = arg;

	if (s->leaving || !matches(f, s))
		return 0;
	f->found++;
	if (f->c->json) {
		entry_json(f->v, s->path, s->f, false);
		return 0;
	}
	if (f->with_layer)
		(void)printf("%3d  ", view_layer(f->v, s->f));
	if (f->zero) {
		(void)fputs(s->path, stdout);
		(void)putchar(0);
	} else {
		out_text(stdout, s->path);
		(void)putchar('\n');
	}
	return 0;
}

static int parse(struct cmd *c, struct find *f)
{
	const char *s;

	f->name = cmd_option(c, "name");
	f->whole = cmd_option(c, "path");
	f->types = cmd_option(c, "type");
	f->zero = cmd_option(c, "print0");
	f->with_layer = cmd_option(c, "show-layer");
	if (f->types && (!*f->types || strspn(f->types, "fdlpscb") != strlen(f->types)))
		return cmd_usage(c, "--type %s: of the letters fdlpscb", f->types);
	s = cmd_option(c, "size");
	if (s) {
		f->has_size = true;
		f->size_how = *s == '+' ? 1 : *s == '-' ? -1 :
							  0;
		if (cmd_parse_size(s + (f->size_how != 0), &f->size) < 0)
			return cmd_usage(c, "--size %s: a size as 10, +4K or -1M", s);
	}
	s = cmd_option(c, "layer");
	if (s) {
		f->has_layer = true;
		if (cmd_parse_number(s, IMAGE_MAX_LAYERS, &f->layer) < 0)
			return cmd_usage(c, "--layer %s: a number, 0 is the lowest", s);
	}
	return CMD_OK;
}

static int run(struct cmd *c)
{
	struct find f = { .c = c };
	_cleanup_free_ char *path = walk_path(c->argc > 1 ? c->argv[1] : "/");
	struct view_file start;
	unsigned bad = 0;
	int code = parse(c, &f), r;

	if (code == CMD_OK)
		code = view_open(c, c->argv[0], NULL, &f.v, NULL);
	if (code != CMD_OK)
		return code;
	r = path ? view_lookup(f.v, path, true, &start) : -ENOMEM;
	if (r < 0) {
		view_close(f.v);
		return cmd_fail(r, NULL, path);
	}
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("entries");
	}
	r = walk(f.v, path, &start, each, &f, &bad);
	if (c->json) {
		json_end();
		json_end();
	}
	view_put(f.v, &start);
	view_close(f.v);
	if (r < 0)
		return cmd_fail(r, NULL, path);
	return bad ? CMD_BAD : f.found ? CMD_OK :
					 CMD_DIFFERENT;
}

static const struct cmd_option options[] = {
	{ 'n', "name", "PATTERN", "whose last part matches this shell pattern" },
	{ 'p', "path", "PATTERN", "whose whole path matches, as /usr/*/x" },
	{ 't', "type", "LETTERS", "f file, d directory, l symlink, p fifo, s socket, c, b device" },
	{ 's', "size", "[+-]SIZE", "files of more (+), less (-) or exactly so many bytes" },
	{ 0, "layer", "N", "that come from this layer; 0 is the lowest" },
	{ 'l', "show-layer", NULL, "print the layer before each path" },
	{ '0', "print0", NULL, "end each path with a zero byte, nothing escaped" },
	{ 0 },
};

const struct command cmd_find = {
	.name = "find",
	.args = "IMAGE [PATH]",
	.summary = "Find files of an image, and the layer that each is from",
	.help = "All conditions must hold. Sizes may end in K, M, G, T. Exit code 1: nothing was\n"
		"found.",
	.options = options,
	.min = 1,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
