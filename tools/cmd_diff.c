/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff: what is in one tree and not, or not the same, in another.
 *
 * Two trees are walked side by side, by name. A file that both have from the
 * same layer is the same, without a look at its content: so what a layer or an
 * upper changed is found without reading what it did not. All others are
 * compared byte by byte, whatever their times say.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/view.h"

#define BUFFER (128 << 10)

enum kind { ADDED,
	    CHANGED,
	    DELETED,
	    KINDS };

enum what {
	W_TYPE = 1 << 0,
	W_CONTENT = 1 << 1, /* of files, symlinks and devices */
	W_MODE = 1 << 2,
	W_OWNER = 1 << 3,
	W_XATTRS = 1 << 4,
	W_MTIME = 1 << 5,
};
static const char *const what_names[] = { "type", "content", "mode", "owner", "xattrs", "mtime" };

struct diff {
	struct cmd *c;
	struct view *v[2];
	bool times, summary;
	uint64_t n[KINDS], bytes[KINDS]; /* of the side that has them; changed: of the new one */
	struct path {
		char *s;
		size_t len, cap;
	} path;
	char *buf[2];
};

/* --- paths ------------------------------------------------------------------- */

static int path_push(struct path *p, const char *name)
{
	size_t n = strlen(name), need = p->len + n + 2;

	if (need > p->cap) {
		char *s = sys_realloc(p->s, need * 2);

		if (!s)
			return -ENOMEM;
		p->s = s;
		p->cap = need * 2;
	}
	p->s[p->len++] = '/';
	memcpy(p->s + p->len, name, n + 1);
	p->len += n;
	return 0;
}

static void path_pop(struct path *p, size_t len)
{
	p->len = len;
	p->s[len] = 0;
}

/* What --path says, without slashes and dots that mean nothing. */
static int path_start(struct path *p, const char *path)
{
	_cleanup_free_ char *copy = sys_strdup(path);
	char *save = NULL, *part;
	int r = copy ? 0 : -ENOMEM;

	for (part = copy ? strtok_r(copy, "/", &save) : NULL; part && r == 0;
	     part = strtok_r(NULL, "/", &save))
		if (strcmp(part, ".") != 0)
			r = path_push(p, part);
	return r;
}

/* --- output ------------------------------------------------------------------ */

static uint64_t bytes_of(const struct view_file *f)
{
	return S_ISREG(f->st.stx_mode) ? f->st.stx_size : 0;
}

static void report_text(enum kind k, const char *path, unsigned what, const struct view_file *a,
			const struct view_file *b)
{
	static const char letters[KINDS] = { 'A', 'C', 'D' };
	static const enum out_colour colours[KINDS] = { OUT_GREEN, OUT_YELLOW, OUT_RED };
	const char *sep = " (";
	char s[OUT_SIZE];
	unsigned i;

	(void)printf("%s%c%s ", out_colour(colours[k]), letters[k], out_colour(OUT_RESET));
	out_text(stdout, path);
	if (k != CHANGED) {
		const struct view_file *f = k == ADDED ? b : a;

		if (S_ISREG(f->st.stx_mode))
			(void)printf(" %c%s", k == ADDED ? '+' : '-', out_size(bytes_of(f), s));
	} else {
		for (i = 0; i < sizeof(what_names) / sizeof(*what_names); i++) {
			if (!(what & 1U << i))
				continue;
			(void)printf("%s%s", sep, what_names[i]);
			sep = ", ";
		}
		(void)putchar(')');
		if (bytes_of(a) != bytes_of(b)) {
			(void)printf(" %s", out_size(bytes_of(a), s));
			(void)printf(" -> %s", out_size(bytes_of(b), s));
		}
	}
	(void)putchar('\n');
}

static void json_file(const char *key, const struct view_file *f)
{
	char buf[OUT_TIME];

	json_object(key);
	json_string("type", out_type(f->st.stx_mode));
	json_uint("mode", f->st.stx_mode & 07777);
	json_uint("uid", f->st.stx_uid);
	json_uint("gid", f->st.stx_gid);
	json_uint("size", f->st.stx_size);
	json_string("mtime", out_rfc3339(f->st.stx_mtime.tv_sec, f->st.stx_mtime.tv_nsec, buf));
	json_end();
}

static void report_json(enum kind k, const char *path, unsigned what, const struct view_file *a,
			const struct view_file *b)
{
	static const char *const names[KINDS] = { "added", "changed", "deleted" };
	unsigned i;

	json_object(NULL);
	json_string("path", path);
	json_string("change", names[k]);
	if (k == CHANGED) {
		json_array("what");
		for (i = 0; i < sizeof(what_names) / sizeof(*what_names); i++)
			if (what & 1U << i)
				json_string(NULL, what_names[i]);
		json_end();
	}
	if (k != ADDED)
		json_file("old", a);
	if (k != DELETED)
		json_file("new", b);
	json_end();
}

static void report(struct diff *d, enum kind k, unsigned what, const struct view_file *a,
		   const struct view_file *b)
{
	const char *path = d->path.len ? d->path.s : "/";

	d->n[k]++;
	d->bytes[k] += bytes_of(k == DELETED ? a : b);
	if (d->c->json)
		report_json(k, path, what, a, b);
	else if (!d->summary)
		report_text(k, path, what, a, b);
}

/* --- comparing --------------------------------------------------------------- */

/* 1 where two files have the same bytes, 0 where not. */
static int same_bytes(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	off_t off = 0;
	ssize_t n, m;

	if (a->st.stx_size != b->st.stx_size)
		return 0;
	for (;; off += n) {
		n = view_read(d->v[0], a, d->buf[0], BUFFER, off);
		if (n < 0)
			return (int)n;
		m = view_read(d->v[1], b, d->buf[1], BUFFER, off);
		if (m < 0)
			return (int)m;
		if (n != m || memcmp(d->buf[0], d->buf[1], (size_t)n))
			return 0;
		if (n == 0)
			return 1;
	}
}

static int same_target(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	_cleanup_free_ char *s = NULL, *t = NULL;
	int r = view_readlink(d->v[0], a, &s);

	if (r == 0)
		r = view_readlink(d->v[1], b, &t);
	return r < 0 ? r : !strcmp(s, t);
}

static ssize_t list_xattrs(struct view *v, const struct view_file *f, char **ret)
{
	ssize_t n = view_listxattr(v, f, NULL, 0);

	*ret = n > 0 ? sys_malloc((size_t)n + 1) : NULL;
	if (n <= 0)
		return n;
	return *ret ? view_listxattr(v, f, *ret, (size_t)n) : -ENOMEM;
}

/* Whether @b has all of @list, with the values that @a has. */
static int has_all(struct view *va, const struct view_file *a, struct view *vb,
		   const struct view_file *b, const char *list, ssize_t len, unsigned *ret_n)
{
	_cleanup_free_ char *x = sys_malloc(65536), *y = sys_malloc(65536);
	const char *name;

	if (!x || !y)
		return -ENOMEM;
	for (name = list; name < list + len; name += strlen(name) + 1) {
		ssize_t n = view_getxattr(va, a, name, x, 65536);
		ssize_t m = view_getxattr(vb, b, name, y, 65536);

		if (n < 0)
			return (int)n;
		if (m != n || memcmp(x, y, (size_t)n))
			return m < 0 && m != -ENODATA ? (int)m : 0;
		++*ret_n;
	}
	return 1;
}

static int same_xattrs(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	_cleanup_free_ char *x = NULL, *y = NULL;
	ssize_t n = list_xattrs(d->v[0], a, &x), m;
	unsigned na = 0, nb = 0;
	const char *name;
	int r;

	if (n < 0)
		return (int)n;
	m = list_xattrs(d->v[1], b, &y);
	if (m < 0)
		return (int)m;
	if (!n && !m)
		return 1;
	r = has_all(d->v[0], a, d->v[1], b, x, n, &na);
	for (name = y; r == 1 && name < y + m; name += strlen(name) + 1)
		nb++;
	return r == 1 ? na == nb : r;
}

static int same_content(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	switch (a->st.stx_mode & S_IFMT) {
	case S_IFREG:
		return same_bytes(d, a, b);
	case S_IFLNK:
		return same_target(d, a, b);
	case S_IFCHR:
	case S_IFBLK:
		return a->st.stx_rdev_major == b->st.stx_rdev_major &&
		       a->st.stx_rdev_minor == b->st.stx_rdev_minor;
	default:
		return 1;
	}
}

/* How two files differ: enum what. */
static int compare(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	const struct statx *s = &a->st, *t = &b->st;
	unsigned what = 0;
	int r;

	if ((s->stx_mode ^ t->stx_mode) & S_IFMT)
		return W_TYPE;
	if (!S_ISDIR(s->stx_mode) && view_same_file(d->v[0], a, d->v[1], b))
		return 0;
	if (s->stx_mode != t->stx_mode)
		what |= W_MODE;
	if (s->stx_uid != t->stx_uid || s->stx_gid != t->stx_gid)
		what |= W_OWNER;
	if (d->times && (s->stx_mtime.tv_sec != t->stx_mtime.tv_sec ||
			 s->stx_mtime.tv_nsec != t->stx_mtime.tv_nsec))
		what |= W_MTIME;
	r = same_content(d, a, b);
	if (r < 0)
		return r;
	what |= r ? 0 : W_CONTENT;
	r = same_xattrs(d, a, b);
	return r < 0 ? r : (int)(what | (r ? 0 : W_XATTRS));
}

/* --- walking ----------------------------------------------------------------- */

static int say_where(struct diff *d, int r)
{
	char *path = out_escape(d->path.len ? d->path.s : "/");

	if (path && r != -ENOMEM)
		r = cmd_fail(r, NULL, path);
	else
		r = cmd_fail(-ENOMEM, NULL, NULL);
	free(path);
	return r;
}

/* Reports a tree that only one side has. Exit code. */
static int one_side(struct diff *d, int side, const struct view_file *f)
{
	struct view_entry *e;
	size_t n, i, len = d->path.len;
	int r;

	report(d, side ? ADDED : DELETED, 0, side ? NULL : f, side ? f : NULL);
	if (!S_ISDIR(f->st.stx_mode))
		return CMD_OK;
	r = view_list(d->v[side], f, &e, &n);
	if (r < 0)
		return say_where(d, r);
	for (i = 0; i < n && r == CMD_OK; i++) {
		if (path_push(&d->path, e[i].name) < 0)
			r = cmd_fail(-ENOMEM, NULL, NULL);
		else
			r = one_side(d, side, &e[i].f);
		path_pop(&d->path, len);
	}
	view_list_free(d->v[side], e, n);
	return r;
}

static int both_sides(struct diff *d, const struct view_file *a, const struct view_file *b);

/* One of two lists' next names: which side has it, or both. */
static int step(struct diff *d, const char *name, const struct view_file *a,
		const struct view_file *b)
{
	size_t len = d->path.len;
	int r = path_push(&d->path, name);

	if (r < 0)
		r = cmd_fail(r, NULL, NULL);
	else if (a && b)
		r = both_sides(d, a, b);
	else
		r = one_side(d, a ? 0 : 1, a ? a : b);
	path_pop(&d->path, len);
	return r;
}

static int both_dirs(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	struct view_entry *x = NULL, *y = NULL;
	size_t nx = 0, ny = 0, i = 0, k = 0;
	int r = view_list(d->v[0], a, &x, &nx);

	if (r == 0)
		r = view_list(d->v[1], b, &y, &ny);
	if (r < 0)
		r = say_where(d, r);
	while (r == CMD_OK && (i < nx || k < ny)) {
		int c = i == nx ? 1 : k == ny ? -1 :
						strcmp(x[i].name, y[k].name);

		r = step(d, c <= 0 ? x[i].name : y[k].name, c <= 0 ? &x[i].f : NULL,
			 c >= 0 ? &y[k].f : NULL);
		i += c <= 0;
		k += c >= 0;
	}
	view_list_free(d->v[0], x, nx);
	view_list_free(d->v[1], y, ny);
	return r;
}

static int both_sides(struct diff *d, const struct view_file *a, const struct view_file *b)
{
	int what = compare(d, a, b);

	if (what < 0)
		return say_where(d, what);
	if (what)
		report(d, CHANGED, (unsigned)what, a, b);
	if (S_ISDIR(a->st.stx_mode) && S_ISDIR(b->st.stx_mode))
		return both_dirs(d, a, b);
	return CMD_OK;
}

/* --- the command ------------------------------------------------------------- */

static int open_layer(struct diff *d, const char *number)
{
	struct view_range below = { 0 }, with = { 0 };
	uint64_t n;
	int r;

	if (cmd_parse_number(number, IMAGE_MAX_LAYERS, &n) < 0 || n < 1)
		return cmd_usage(d->c, "--layer: layers are numbered from 1, not '%s'", number);
	with.count = (unsigned)n;
	below.count = (unsigned)n - 1;
	r = view_open(d->c, d->c->argv[0], &with, &d->v[1], NULL);
	/* below the lowest is nothing */
	if (r == CMD_OK && n > 1)
		r = view_open(d->c, d->c->argv[0], &below, &d->v[0], NULL);
	return r;
}

static int open_both(struct diff *d)
{
	const char *upper = cmd_option(d->c, "upper"), *layer = cmd_option(d->c, "layer");
	struct view_range with = { .upper = upper };
	int r;

	if (!!upper + !!layer + (d->c->argc == 2) != 1)
		return cmd_usage(d->c, "give a second image, --upper or --layer");
	if (layer)
		return open_layer(d, layer);
	r = view_open(d->c, d->c->argv[0], NULL, &d->v[0], NULL);
	if (r != CMD_OK)
		return r;
	return view_open(d->c, d->c->argv[upper ? 0 : 1], upper ? &with : NULL, &d->v[1], NULL);
}

static void totals(struct diff *d)
{
	char s[KINDS][OUT_SIZE];
	int k;

	if (d->c->json) {
		json_uint("added", d->n[ADDED]);
		json_uint("changed", d->n[CHANGED]);
		json_uint("deleted", d->n[DELETED]);
		json_uint("added_bytes", d->bytes[ADDED]);
		json_uint("changed_bytes", d->bytes[CHANGED]);
		json_uint("deleted_bytes", d->bytes[DELETED]);
		return;
	}
	for (k = 0; k < KINDS; k++)
		(void)out_size(d->bytes[k], s[k]);
	(void)printf("%" PRIu64 " added (%s), %" PRIu64 " changed (%s), %" PRIu64 " deleted (%s)\n",
		     d->n[ADDED], s[ADDED], d->n[CHANGED], s[CHANGED], d->n[DELETED], s[DELETED]);
}

static int run_diff(struct cmd *c)
{
	struct diff d = { .c = c,
			  .times = cmd_option(c, "times"),
			  .summary = cmd_option(c, "summary") };
	const char *path = cmd_option(c, "path");
	struct view_file f[2] = { 0 };
	int r = open_both(&d), i, e = 0;

	d.buf[0] = sys_malloc(BUFFER);
	d.buf[1] = sys_malloc(BUFFER);
	if (r == CMD_OK && (!d.buf[0] || !d.buf[1] || path_push(&d.path, "") < 0))
		r = cmd_fail(-ENOMEM, NULL, NULL);
	for (i = d.v[0] ? 0 : 1; i < 2 && r == CMD_OK; i++) {
		e = view_lookup(d.v[i], path ? path : "/", true, &f[i]);
		if (e < 0)
			r = cmd_fail(e, NULL, path);
	}
	if (r == CMD_OK) {
		path_pop(&d.path, 0);
		if (path && path_start(&d.path, path) < 0)
			r = cmd_fail(-ENOMEM, NULL, NULL);
	}
	if (r == CMD_OK) {
		if (c->json) {
			json_object(NULL);
			json_array("changes");
		}
		r = d.v[0] ? both_sides(&d, &f[0], &f[1]) : one_side(&d, 1, &f[1]);
		if (c->json)
			json_end();
		if (c->json || d.summary)
			totals(&d);
		if (c->json)
			json_end();
	}
	for (i = 0; i < 2; i++) {
		if (d.v[i])
			view_put(d.v[i], &f[i]);
		view_close(d.v[i]);
		free(d.buf[i]);
	}
	free(d.path.s);
	if (r != CMD_OK)
		return r;
	return d.n[ADDED] + d.n[CHANGED] + d.n[DELETED] ? CMD_DIFFERENT : CMD_OK;
}

static const struct cmd_option options[] = {
	{ 0, "upper", "DIR", "compare IMAGE with what it is under this upper directory" },
	{ 0, "layer", "N", "what layer N of IMAGE changed; 1 is the lowest" },
	{ 0, "path", "PATH", "only what is at and below PATH" },
	{ 't', "times", NULL, "modification times count as well" },
	{ 's', "summary", NULL, "print numbers only" },
	{ 0, NULL, NULL, NULL },
};

const struct command cmd_diff = {
	.name = "diff",
	.args = "IMAGE [IMAGE]",
	.summary = "what was added, changed and deleted between two trees",
	.help = "Compares two images, or an image with itself under an upper directory, or\n"
		"what a layer of it made of those below. A line for each file: A added, C\n"
		"changed (and in what), D deleted. Content is compared byte by byte. Exit\n"
		"status 0 where nothing differs, 1 where something does.",
	.options = options,
	.min = 1,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run_diff,
};
