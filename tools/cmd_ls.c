/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl ls: names in an image. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/walk.h"

struct ls {
	struct cmd *c;
	struct view *v;
	bool longer, recursive, itself, any;
	unsigned bad;
};

/* Widths of the columns of one listing. */
struct widths {
	int nlink, uid, gid, size;
};

static int digits(uint64_t v)
{
	int n = 1;

	while (v /= 10)
		n++;
	return n;
}

static void widen(int *w, int n)
{
	if (n > *w)
		*w = n;
}

static bool is_device(const struct statx *st)
{
	return S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode);
}

static void measure(struct widths *w, const struct statx *st)
{
	widen(&w->nlink, digits(st->stx_nlink));
	widen(&w->uid, digits(st->stx_uid));
	widen(&w->gid, digits(st->stx_gid));
	widen(&w->size, is_device(st) ?
				digits(st->stx_rdev_major) + digits(st->stx_rdev_minor) + 2 :
				digits(st->stx_size));
}

static void print_long(struct ls *l, const struct widths *w, const struct view_file *f)
{
	const struct statx *st = &f->st;
	char mode[OUT_MODE], when[OUT_TIME], dev[32] = "";

	if (is_device(st))
		(void)snprintf(dev, sizeof(dev), "%u, %u", st->stx_rdev_major, st->stx_rdev_minor);
	else
		(void)snprintf(dev, sizeof(dev), "%" PRIu64, (uint64_t)st->stx_size);
	(void)printf("%s %*u %*u %*u %*s %s ", out_mode(st->stx_mode, mode), w->nlink,
		     st->stx_nlink, w->uid, st->stx_uid, w->gid, st->stx_gid, w->size, dev,
		     out_time(st->stx_mtime.tv_sec, when));
	(void)l;
}

static void print_one(struct ls *l, const struct widths *w, const char *name,
		      const struct view_file *f)
{
	const char *colour = out_mode_colour(f->st.stx_mode);

	if (!f->id) {
		cmd_say("%s: damaged", name);
		l->bad++;
		return;
	}
	if (l->longer)
		print_long(l, w, f);
	(void)fputs(colour, stdout);
	out_text(stdout, name);
	if (*colour)
		(void)fputs(out_colour(OUT_RESET), stdout);
	if (l->longer && S_ISLNK(f->st.stx_mode)) {
		_cleanup_free_ char *target = NULL;

		(void)fputs(" -> ", stdout);
		if (view_readlink(l->v, f, &target) == 0)
			out_text(stdout, target);
	}
	(void)putchar('\n');
}

static int list_dir(struct ls *l, const char *path, const struct view_file *dir)
{
	struct widths w = { 0 };
	struct view_entry *e;
	size_t n, i;
	int r = view_list(l->v, dir, &e, &n);

	if (r < 0) {
		cmd_say("%s: %s", path, strerror(-r));
		l->bad++;
		return r == -ENOMEM ? r : 0;
	}
	for (i = 0; i < n; i++)
		measure(&w, &e[i].f.st);
	for (i = 0; i < n; i++)
		print_one(l, &w, e[i].name, &e[i].f);
	view_list_free(l->v, e, n);
	return 0;
}

static int each_dir(void *arg, const struct walk_step *s)
{
	struct ls *l = arg;

	if (s->leaving || !S_ISDIR(s->f->st.stx_mode))
		return 0;
	if (l->any)
		(void)putchar('\n');
	l->any = true;
	out_text(stdout, s->path);
	(void)puts(":");
	return list_dir(l, s->path, s->f);
}

static int each_json(void *arg, const struct walk_step *s)
{
	struct ls *l = arg;

	if (s->leaving)
		return 0;
	if (s->depth || l->itself || !S_ISDIR(s->f->st.stx_mode))
		entry_json(l->v, s->path, s->f, false);
	return l->itself || (s->depth && !l->recursive) ? WALK_SKIP : 0;
}

static int list_path(struct ls *l, const char *arg, bool several)
{
	_cleanup_free_ char *path = walk_path(arg);
	struct widths w = { 0 };
	struct view_file f;
	int r = path ? view_lookup(l->v, path, !l->itself && !l->longer, &f) : -ENOMEM;

	if (r < 0)
		return cmd_fail(r, NULL, arg);
	if (l->c->json) {
		r = walk(l->v, path, &f, each_json, l, &l->bad);
	} else if (!S_ISDIR(f.st.stx_mode) || l->itself) {
		measure(&w, &f.st);
		print_one(l, &w, path, &f);
	} else if (l->recursive) {
		r = walk(l->v, path, &f, each_dir, l, &l->bad);
	} else {
		if (several) {
			(void)fputs(l->any ? "\n" : "", stdout);
			out_text(stdout, path);
			(void)puts(":");
			l->any = true;
		}
		r = list_dir(l, path, &f);
	}
	view_put(l->v, &f);
	return r < 0 ? cmd_fail(r, NULL, arg) : CMD_OK;
}

static int run(struct cmd *c)
{
	struct ls l = { .c = c,
			.longer = cmd_option(c, "long"),
			.recursive = cmd_option(c, "recursive"),
			.itself = cmd_option(c, "directory") };
	int code = view_open(c, c->argv[0], NULL, &l.v, NULL), i, r;

	if (code != CMD_OK)
		return code;
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("entries");
	}
	for (i = 1; i < c->argc || i == 1; i++) {
		r = list_path(&l, i < c->argc ? c->argv[i] : "/", c->argc > 2);
		if (r > code)
			code = r;
	}
	if (c->json) {
		json_end();
		json_end();
	}
	view_close(l.v);
	return code == CMD_OK && l.bad ? CMD_BAD : code;
}

static const struct cmd_option options[] = {
	{ 'l', "long", NULL, "with mode, links, owner, size and time" },
	{ 'R', "recursive", NULL, "and what is in directories below" },
	{ 'd', "directory", NULL, "directories themselves, not what is in them" },
	{ 0 },
};

const struct command cmd_ls = {
	.name = "ls",
	.args = "IMAGE [PATH...]",
	.summary = "List a directory of an image",
	.help = "All names are shown. Owners are numbers, as the image has them.",
	.options = options,
	.min = 1,
	.max = -1,
	.flags = CMD_IMAGE,
	.run = run,
};
