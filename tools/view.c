/* SPDX-License-Identifier: Apache-2.0 */
/* An image's tree, by a union in this process. */
#include "tools/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/union.h"
#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache.h"
#include "tools/preparing.h"

#define MAX_LINKS 40

struct view {
	struct union_fs *u;
	struct image *image; /* owned unless handed out */
	struct layer_cache *cache;
	char **paths; /* of the layers, the lowest first */
	unsigned n;
};

static struct view *new_view(const char *const *paths, unsigned n)
{
	struct view *v = sys_calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->paths = sys_calloc(n, sizeof(*v->paths));
	for (; v->paths && v->n < n; v->n++) {
		v->paths[v->n] = sys_strdup(paths[v->n]);
		if (!v->paths[v->n])
			break;
	}
	if (v->n < n) {
		view_close(v);
		return NULL;
	}
	return v;
}

int view_open_paths(const char *const *paths, unsigned n, struct view **ret, char **ret_err)
{
	const char **top_first = sys_calloc(n, sizeof(*top_first));
	struct view *v = new_view(paths, n);
	struct union_config cfg = { .lower = top_first,
				    .nlower = n,
				    .ro = true,
				    .redirect = true,
				    .redirect_follow = true,
				    .acl = true,
				    .fd_budget = 64 };
	unsigned i;
	int r = -ENOMEM;

	*ret_err = NULL;
	if (top_first && v) {
		for (i = 0; i < n; i++)
			top_first[i] = paths[n - 1 - i];
		r = union_open(&cfg, &v->u, ret_err);
	}
	free(top_first);
	if (r < 0) {
		view_close(v);
		return r;
	}
	*ret = v;
	return 0;
}

/* The paths of the layers of @range, and of its upper. */
static int get_paths(struct layer_cache *cache, const struct image *img,
		     const struct view_range *range, char ***ret, unsigned *ret_n, char **ret_err)
{
	unsigned n = image_layers(img), first = range ? range->first : 0, i;
	unsigned count = range && range->count ? range->count : n - first;
	struct layer_cache_options co;
	char **paths, buf[80];
	int r = 0;

	if (first > n || count > n - first) {
		(void)snprintf(buf, sizeof(buf), "there are %u layers, and no layer %u", n,
			       first + count);
		*ret_err = sys_strdup(buf);
		return -EINVAL;
	}
	paths = sys_calloc(count + 2UL, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	if (!first && count == n) {
		free(paths);
		r = layer_cache_get_all(cache, img, preparing_options(&co), &paths, ret_err);
		preparing_end();
		if (r < 0)
			return r;
		if (range && range->upper) {
			char **more = sys_realloc(paths, (n + 2UL) * sizeof(*paths));

			if (!more) {
				layer_cache_paths_free(paths, n);
				return -ENOMEM;
			}
			paths = more;
		}
	} else {
		for (i = 0; i < count && r == 0; i++)
			r = layer_cache_get(cache, image_layer(img, first + i),
					    preparing_options(&co), &paths[i], ret_err);
	}
	if (r == 0 && range && range->upper) {
		paths[count] = sys_strdup(range->upper);
		r = paths[count++] ? 0 : -ENOMEM;
	}
	*ret = paths;
	*ret_n = count;
	if (r < 0)
		layer_cache_paths_free(paths, count);
	return r;
}

int view_open(struct cmd *c, const char *ref, const struct view_range *range, struct view **ret,
	      struct image **ret_image)
{
	const struct image_options o = { .platform = c->platform };
	struct layer_cache *cache = NULL;
	struct image *img = NULL;
	char **paths = NULL, *err = NULL;
	unsigned n = 0;
	int r = image_open(ref, &o, &img, &err);

	if (r == 0)
		r = userns_enter(img, &err);
	if (r == 0)
		r = layer_cache_open(c->layers, &cache, &err);
	if (r == 0)
		r = get_paths(cache, img, range, &paths, &n, &err);
	if (r == 0) {
		r = view_open_paths((const char *const *)paths, n, ret, &err);
		layer_cache_paths_free(paths, n);
	}
	if (r < 0) {
		layer_cache_close(cache);
		image_close(img);
		return cmd_fail(r, err, ref);
	}
	(*ret)->cache = cache;
	if (ret_image)
		*ret_image = img;
	else
		(*ret)->image = img;
	return CMD_OK;
}

void view_close(struct view *v)
{
	if (!v)
		return;
	if (v->u)
		union_close(v->u);
	while (v->n)
		free(v->paths[--v->n]);
	free(v->paths);
	layer_cache_close(v->cache);
	image_close(v->image);
	free(v);
}

const char *const *view_paths(const struct view *v, unsigned *ret_n)
{
	if (ret_n)
		*ret_n = v->n;
	return (const char *const *)v->paths;
}

int view_root(struct view *v, struct view_file *ret)
{
	ret->id = UNION_ROOT;
	return union_getattr(v->u, UNION_ROOT, &ret->st);
}

int view_child(struct view *v, const struct view_file *dir, const char *name,
	       struct view_file *ret)
{
	struct union_entry e;
	int r = S_ISDIR(dir->st.stx_mode) ? union_lookup(v->u, dir->id, name, &e) : -ENOTDIR;

	if (r < 0)
		return r;
	ret->id = e.nodeid;
	ret->st = e.st;
	return e.nodeid ? 0 : -ENOENT;
}

void view_put(struct view *v, const struct view_file *f)
{
	if (f->id && f->id != UNION_ROOT)
		union_forget(v->u, f->id, 1);
}

int view_layer(struct view *v, const struct view_file *f)
{
	unsigned layer;
	uint64_t ino;
	int r = union_where(v->u, f->id, &layer, &ino);

	return r < 0 ? r : (int)(v->n - layer);
}

bool view_same_file(struct view *va, const struct view_file *a, struct view *vb,
		    const struct view_file *b)
{
	uint64_t ia, ib;
	unsigned la, lb;

	return union_where(va->u, a->id, &la, &ia) == 0 &&
	       union_where(vb->u, b->id, &lb, &ib) == 0 && ia && ia == ib && la && lb &&
	       !strcmp(va->paths[va->n - la], vb->paths[vb->n - lb]);
}

/* Directories from the root to where a lookup is, so that ".." has somewhere to go. */
struct trail {
	struct view_file *dir;
	size_t n, cap;
};

static int push(struct trail *t, const struct view_file *f)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct view_file *d = sys_realloc(t->dir, cap * sizeof(*d));

		if (!d)
			return -ENOMEM;
		t->dir = d;
		t->cap = cap;
	}
	t->dir[t->n++] = *f;
	return 0;
}

static void drop_to(struct view *v, struct trail *t, size_t n)
{
	while (t->n > n)
		view_put(v, &t->dir[--t->n]);
}

/* @target, a slash, and what is left of the path, in one malloc'ed string. */
static char *splice_path(const char *target, const char *rest)
{
	size_t a = strlen(target), b = strlen(rest);
	char *s = sys_malloc(a + b + 2);

	if (!s)
		return NULL;
	memcpy(s, target, a);
	s[a] = '/';
	memcpy(s + a + 1, rest, b + 1);
	return s;
}

int view_lookup(struct view *v, const char *path, bool follow, struct view_file *ret)
{
	_cleanup_free_ char *left = sys_strdup(path);
	struct trail t = { 0 };
	unsigned links = 0;
	struct view_file f;
	char *p = left;
	int r;

	if (!left)
		return -ENOMEM;
	r = view_root(v, &f);
	if (r == 0)
		r = push(&t, &f);
	while (r == 0) {
		char *end, *target, *name;
		bool last;

		p += strspn(p, "/");
		if (!*p)
			break;
		end = p + strcspn(p, "/");
		last = !end[strspn(end, "/")];
		name = p;
		p = *end ? end + 1 : end;
		*end = 0;
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			drop_to(v, &t, t.n > 1 ? t.n - 1 : 1);
			continue;
		}
		r = view_child(v, &t.dir[t.n - 1], name, &f);
		if (r == 0 && S_ISLNK(f.st.stx_mode) && (!last || follow)) {
			char *more = NULL;

			r = ++links > MAX_LINKS ? -ELOOP : view_readlink(v, &f, &target);
			view_put(v, &f);
			if (r < 0)
				break;
			if (target[0] == '/')
				drop_to(v, &t, 1);
			more = splice_path(target, p);
			free(target);
			if (!more) {
				r = -ENOMEM;
				break;
			}
			free(left);
			p = left = more;
			continue;
		}
		if (r == 0) {
			r = push(&t, &f);
			if (r < 0)
				view_put(v, &f);
		}
	}
	if (r == 0)
		*ret = t.dir[--t.n];
	drop_to(v, &t, 0);
	free(t.dir);
	return r;
}

struct listing {
	struct view_entry *e;
	size_t n, cap;
	uint64_t cookie;
	bool more;
};

static int collect(void *arg, const char *name, uint64_t cookie, const struct union_entry *e)
{
	struct listing *l = arg;

	l->cookie = cookie;
	l->more = true;
	/* one that is broken has no id, and is listed all the same */
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct view_entry *p = sys_realloc(l->e, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->e = p;
		l->cap = cap;
	}
	l->e[l->n].name = sys_strdup(name);
	if (!l->e[l->n].name)
		return -ENOMEM;
	l->e[l->n].f.id = e->nodeid;
	l->e[l->n++].f.st = e->st;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct view_entry *)a)->name, ((const struct view_entry *)b)->name);
}

int view_list(struct view *v, const struct view_file *dir, struct view_entry **ret, size_t *ret_n)
{
	struct listing l = { 0 };
	int r = 0;

	do {
		l.more = false;
		r = union_readdir(v->u, dir->id, l.cookie, true, collect, &l);
	} while (r >= 0 && l.more);
	if (r < 0) {
		view_list_free(v, l.e, l.n);
		return r;
	}
	if (l.n)
		qsort(l.e, l.n, sizeof(*l.e), by_name);
	*ret = l.e;
	*ret_n = l.n;
	return 0;
}

void view_list_free(struct view *v, struct view_entry *e, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		view_put(v, &e[i].f);
		free(e[i].name);
	}
	free(e);
}

off_t view_seek(struct view *v, const struct view_file *f, off_t off, int whence)
{
	return union_lseek(v->u, f->id, off, whence);
}

ssize_t view_read(struct view *v, const struct view_file *f, void *buf, size_t size, off_t off)
{
	return union_read(v->u, f->id, buf, size, off);
}

int view_readlink(struct view *v, const struct view_file *f, char **ret)
{
	return union_readlink(v->u, f->id, ret);
}

ssize_t view_getxattr(struct view *v, const struct view_file *f, const char *name, void *buf,
		      size_t size)
{
	return union_getxattr(v->u, f->id, name, buf, size);
}

ssize_t view_listxattr(struct view *v, const struct view_file *f, char *buf, size_t size)
{
	return union_listxattr(v->u, f->id, true, buf, size);
}
