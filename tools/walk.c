/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/walk.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"

#define MAX_DEPTH 4000 /* of directories in each other: more than a path can name */

struct walker {
	struct view *v;
	walk_fn fn;
	void *arg;
	unsigned bad;
	char *path; /* what is being looked at */
	size_t len, room;
};

/* Appends "/NAME"; the length before, or -errno. */
static ssize_t push(struct walker *w, const char *name)
{
	size_t before = w->len, n = strlen(name);

	if (w->len + n + 2 > w->room) {
		size_t room = (w->len + n + 2) * 2;
		char *p = sys_realloc(w->path, room);

		if (!p)
			return -ENOMEM;
		w->path = p;
		w->room = room;
	}
	if (!w->len || w->path[w->len - 1] != '/')
		w->path[w->len++] = '/';
	memcpy(w->path + w->len, name, n + 1);
	w->len += n;
	return (ssize_t)before;
}

static void pop(struct walker *w, ssize_t before)
{
	w->len = (size_t)before;
	w->path[w->len] = 0;
}

static int step(struct walker *w, const char *name, const struct view_file *f, unsigned depth,
		bool last);

static int list(struct walker *w, const struct view_file *f, unsigned depth)
{
	struct view_entry *e = NULL;
	size_t n = 0, i;
	int r = depth < MAX_DEPTH ? view_list(w->v, f, &e, &n) : -ELOOP;

	if (r < 0) {
		cmd_say("%s: %s", w->path, strerror(-r));
		w->bad++;
		return r == -ENOMEM ? r : 0;
	}
	for (i = 0; i < n && r >= 0; i++) {
		ssize_t before = push(w, e[i].name);

		if (before < 0) {
			r = (int)before;
			break;
		}
		r = step(w, e[i].name, &e[i].f, depth + 1, i + 1 == n);
		pop(w, before);
	}
	view_list_free(w->v, e, n);
	return r;
}

static int step(struct walker *w, const char *name, const struct view_file *f, unsigned depth,
		bool last)
{
	struct walk_step s = {
		.path = w->path, .name = name, .f = f, .depth = depth, .last = last
	};
	int r;

	if (!f->id) {
		cmd_say("%s: damaged", w->path);
		w->bad++;
		return 0;
	}
	r = w->fn(w->arg, &s);
	if (r < 0 || !S_ISDIR(f->st.stx_mode))
		return r < 0 ? r : 0;
	if (r != WALK_SKIP) {
		r = list(w, f, depth);
		if (r < 0)
			return r;
	}
	s.path = w->path; /* it may have been moved */
	s.leaving = true;
	r = w->fn(w->arg, &s);
	return r < 0 ? r : 0;
}

int walk(struct view *v, const char *path, const struct view_file *f, walk_fn fn, void *arg,
	 unsigned *ret_bad)
{
	struct walker w = { .v = v, .fn = fn, .arg = arg, .len = strlen(path) };
	const char *slash = strrchr(path, '/');
	int r;

	w.room = w.len + 256;
	w.path = sys_malloc(w.room);
	if (!w.path)
		return -ENOMEM;
	memcpy(w.path, path, w.len + 1);
	r = step(&w, slash ? slash + 1 : path, f, 0, true);
	free(w.path);
	*ret_bad += w.bad;
	return r;
}

char *walk_path(const char *s)
{
	char *ret = sys_malloc(strlen(s) + 2), *p = ret;

	if (!ret)
		return NULL;
	while (*s) {
		size_t n = strcspn(s, "/");

		if (n && !(n == 1 && *s == '.')) {
			*p++ = '/';
			memcpy(p, s, n);
			p += n;
		}
		s += n;
		s += strspn(s, "/");
	}
	if (p == ret)
		*p++ = '/';
	*p = 0;
	return ret;
}

void entry_json(struct view *v, const char *path, const struct view_file *f, bool more)
{
	const struct statx *st = &f->st;
	char buf[OUT_TIME], mode[8];
	int layer = view_layer(v, f);

	json_object(NULL);
	json_string("path", path);
	json_string("type", out_type(st->stx_mode));
	(void)snprintf(mode, sizeof(mode), "%04o", st->stx_mode & 07777U);
	json_string("mode", mode);
	json_uint("uid", st->stx_uid);
	json_uint("gid", st->stx_gid);
	json_uint("size", S_ISREG(st->stx_mode) || S_ISLNK(st->stx_mode) ? st->stx_size : 0);
	json_uint("nlink", st->stx_nlink);
	json_string("mtime", out_rfc3339(st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec, buf));
	if (layer >= 0)
		json_int("layer", layer);
	if (S_ISLNK(st->stx_mode)) {
		_cleanup_free_ char *target = NULL;

		if (view_readlink(v, f, &target) == 0)
			json_string("target", target);
	}
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode)) {
		json_uint("rdev_major", st->stx_rdev_major);
		json_uint("rdev_minor", st->stx_rdev_minor);
	}
	if (!more)
		json_end();
}

struct links {
	void *tree;
};

struct link_id {
	uint64_t dev, ino;
};

static int by_id(const void *a, const void *b)
{
	const struct link_id *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return (x->ino > y->ino) - (x->ino < y->ino);
}

bool links_first(struct links **set, const struct statx *st)
{
	struct link_id *id;
	void *at;

	if (st->stx_nlink < 2 || S_ISDIR(st->stx_mode))
		return true;
	if (!*set)
		*set = sys_calloc(1, sizeof(**set));
	id = sys_malloc(sizeof(*id));
	if (!*set || !id) {
		free(id);
		return true;
	}
	*id = (struct link_id){ makedev(st->stx_dev_major, st->stx_dev_minor), st->stx_ino };
	at = tsearch(id, &(*set)->tree, by_id);
	if (at && *(struct link_id **)at == id)
		return true;
	free(id);
	return false;
}

void links_free(struct links *set)
{
	if (set)
		tdestroy(set->tree, free);
	free(set);
}
