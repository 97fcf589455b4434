/* SPDX-License-Identifier: Apache-2.0 */
/* An upper directory as a tar: a walk in the order of names. */
#include "oci/commit_tar_i.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/layer/layer.h"
#include "fs/union/attr.h"
#include "lib/cleanup.h"
#include "lib/linkmap.h"
#include "lib/sys.h"
#include "oci/commit_xattr.h"

struct name {
	char *name; /* owned */
	bool whiteout;
};

struct names {
	struct name *v; /* owned */
	size_t n, cap;
	bool opaque;
};

int commit_fail(struct commit_walk *w, int r, const char *fmt, ...)
{
	_cleanup_free_ char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	if (s && !*w->ret_err &&
	    asprintf(w->ret_err, "%s: %s", w->path[0] ? w->path : "/", s) < 0)
		*w->ret_err = NULL;
	return r;
}

int commit_told(struct commit_walk *w, const char *skipped)
{
	return w->o->entry ? w->o->entry(w->o->arg, w->path, skipped) : 0;
}

/* Appends a name to the path: the length before, or -errno. */
int commit_enter(struct commit_walk *w, const char *prefix, const char *name)
{
	size_t old = w->len;
	int n = snprintf(w->path + old, sizeof(w->path) - old, "%s%s%s", old ? "/" : "",
			 prefix, name);

	if (n < 0 || (size_t)n >= sizeof(w->path) - old) {
		w->path[old] = 0;
		return commit_fail(w, -ENAMETOOLONG, "a path that is too long is in it");
	}
	w->len += (size_t)n;
	return (int)old;
}

void commit_leave(struct commit_walk *w, int old)
{
	w->len = (size_t)old;
	w->path[old] = 0;
}

/* --- what is in a directory ------------------------------------------------------ */

static void names_release(struct names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->v[i].name);
	free(n->v);
}

static int take_name(void *arg, const struct layer_dirent *de)
{
	struct names *n = arg;
	const char *name = de->name;
	bool whiteout = de->whiteout;

	if (!strncmp(name, ".wh.", 4)) {
		if (!strncmp(name, ".wh..wh.", 8)) {
			if (!strcmp(name, ".wh..wh..opq"))
				n->opaque = true;
			return 0;
		}
		whiteout = true;
		name += 4;
	}
	if (n->n == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 32;
		struct name *v = sys_realloc(n->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		n->v = v;
		n->cap = cap;
	}
	n->v[n->n].name = sys_strdup(name);
	n->v[n->n].whiteout = whiteout;
	return n->v[n->n++].name ? 0 : -ENOMEM;
}

static int by_name(const void *pa, const void *pb)
{
	const struct name *a = pa, *b = pb;

	if (a->whiteout != b->whiteout)
		return a->whiteout ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* Which names are whiteouts: devices 0:0, and empty files with an attribute that says so. */
static int find_whiteouts(struct commit_walk *w, const struct layer_dir *dir, struct names *n)
{
	struct statx st;
	int r;

	for (size_t i = 0; i < n->n; i++) {
		if (n->v[i].whiteout)
			continue;
		r = w->l->ops->stat(dir, n->v[i].name, &st);
		if (r < 0)
			return commit_fail(w, r, "%s: %s", n->v[i].name, strerror(-r));
		if (S_ISCHR(st.stx_mode) && !st.stx_rdev_major && !st.stx_rdev_minor)
			n->v[i].whiteout = true;
		else if (S_ISREG(st.stx_mode) && !st.stx_size)
			n->v[i].whiteout = commit_mark(dir, n->v[i].name, "whiteout", NULL) == 1;
	}
	qsort(n->v, n->n, sizeof(*n->v), by_name);
	return 0;
}

static int list(struct commit_walk *w, const struct layer_dir *dir, struct names *n)
{
	char value[8] = "";
	int r = w->l->ops->iterate(dir, take_name, n);

	if (r < 0)
		return commit_fail(w, r, "%s", strerror(-r));
	if (commit_mark(dir, "", "opaque", value) == 1 && value[0] == 'y')
		n->opaque = true;
	return n->n ? find_whiteouts(w, dir, n) : 0;
}

/* --- entries ---------------------------------------------------------------------- */

int commit_put_mark(struct commit_walk *w, const char *prefix, const char *name)
{
	struct tar_entry e = { .path = w->path, .mode = S_IFREG };
	int old = commit_enter(w, prefix, name), r;

	if (old < 0)
		return old;
	w->o->whiteouts++;
	r = tar_write_entry(w->w, &e);
	if (r == 0)
		r = commit_told(w, NULL);
	commit_leave(w, old);
	return r;
}

static int put_content(struct commit_walk *w, const struct layer_dir *dir, const char *name,
		       const struct statx *st)
{
	struct layer_dir f = { .fd = -1 };
	uint64_t off = 0;
	int r = w->l->ops->file_open(dir, name, &f);

	if (r < 0)
		return commit_fail(w, r, "%s", strerror(-r));
	while (r == 0 && off < st->stx_size) {
		off_t data = w->l->ops->file_seek(&f, (off_t)off, SEEK_DATA);
		uint64_t next = (uint64_t)data;
		ssize_t n;

		if (data < 0)
			next = data == -ENXIO ? st->stx_size : off;
		if (next > st->stx_size)
			next = st->stx_size;
		if (next > off) {
			r = tar_write_zeros(w->w, next - off);
			off = next;
			continue;
		}
		n = w->l->ops->file_read(&f, w->buf, COMMIT_BUF, (off_t)off, false);
		if (n <= 0)
			r = commit_fail(w, n < 0 ? (int)n : -EBUSY, "%s",
					n < 0 ? strerror((int)-n) :
						"it became shorter while it was read");
		else if ((uint64_t)n > st->stx_size - off)
			n = (ssize_t)(st->stx_size - off);
		if (r == 0)
			r = tar_write_data(w->w, w->buf, (size_t)n);
		off += (uint64_t)(n > 0 ? n : 0);
		/* asked often enough to notice an interrupt within a large file */
		if (r == 0)
			r = commit_told(w, NULL);
	}
	w->o->bytes += st->stx_size;
	sys_close(f.fd);
	return r;
}

/* Whether what is in the upper is not all of the file: its content is in layers below. */
static bool is_part(const struct layer_dir *dir, const char *name, mode_t mode)
{
	char value[8] = "";

	if (S_ISREG(mode))
		return commit_mark(dir, name, "metacopy", NULL) == 1;
	return S_ISDIR(mode) && commit_mark(dir, name, "redirect", NULL) == 1 &&
	       !(commit_mark(dir, name, "opaque", value) == 1 && value[0] == 'y');
}

void commit_set_time(const struct commit_walk *w, const struct statx *st, struct tar_entry *e)
{
	e->mtime = st->stx_mtime.tv_sec;
	e->mtime_nsec = st->stx_mtime.tv_nsec;
	if (w->o->clamp && e->mtime >= w->o->epoch) {
		e->mtime = w->o->epoch;
		e->mtime_nsec = 0;
	}
}

static int put_dir(struct commit_walk *w, const struct layer_dir *dir);

static int put_entry(struct commit_walk *w, const struct layer_dir *dir, const char *name)
{
	struct tar_entry e = { .path = w->path };
	struct commit_xattrs x = { 0 };
	struct statx st, after;
	char target[PATH_MAX];
	ssize_t n;
	int r = w->l->ops->stat(dir, name, &st);

	if (r == 0 && w->l->override_attr)
		r = attr_override(dir, name, &st);
	if (r < 0)
		return commit_fail(w, r, "%s", strerror(-r));
	if (S_ISSOCK(st.stx_mode))
		return commit_told(w, "a socket");
	if (!S_ISDIR(st.stx_mode))
		r = linkmap_first(&w->links, &st, w->path, &e.link);
	if (r < 0)
		return r;
	e.mode = st.stx_mode;
	if (!e.link) {
		e.uid = st.stx_uid;
		e.gid = st.stx_gid;
		e.size = st.stx_size;
		e.rdev_major = st.stx_rdev_major;
		e.rdev_minor = st.stx_rdev_minor;
		commit_set_time(w, &st, &e);
		r = commit_xattrs_read(dir, name, &x);
		if (r < 0)
			return commit_fail(w, r, "its attributes: %s", strerror(-r));
		e.xattrs = x.v;
		e.n_xattrs = x.n;
	}
	if (S_ISLNK(st.stx_mode) && !e.link) {
		n = w->l->ops->readlink(dir, name, target, sizeof(target) - 1);
		if (n < 0)
			r = commit_fail(w, (int)n, "%s", strerror((int)-n));
		else
			target[n] = 0;
		e.target = target;
	}
	if (r == 0) {
		w->o->entries++;
		r = tar_write_entry(w->w, &e);
		if (r == -EINVAL)
			r = commit_fail(w, r, "it cannot be put into a tar");
	}
	if (r == 0)
		r = commit_told(w, NULL);
	if (r == 0 && S_ISREG(st.stx_mode) && !e.link) {
		r = is_part(dir, name, st.stx_mode) ? commit_whole_content(w, st.stx_size) :
						      put_content(w, dir, name, &st);
		if (r == 0 && (w->l->ops->stat(dir, name, &after) < 0 ||
			       after.stx_mtime.tv_sec != st.stx_mtime.tv_sec ||
			       after.stx_mtime.tv_nsec != st.stx_mtime.tv_nsec ||
			       after.stx_size != st.stx_size))
			r = commit_fail(w, -EBUSY, "it changed while it was read");
	}
	commit_xattrs_release(&x);
	return r;
}

static int put_child(struct commit_walk *w, const struct layer_dir *dir, const char *name)
{
	struct layer_dir sub = { .fd = -1 };
	struct statx st;
	int old = commit_enter(w, "", name), r;

	if (old < 0)
		return old;
	r = put_entry(w, dir, name);
	if (r == 0)
		r = w->l->ops->stat(dir, name, &st);
	if (r == 0 && S_ISDIR(st.stx_mode) && is_part(dir, name, st.stx_mode)) {
		r = commit_whole_dir(w);
	} else if (r == 0 && S_ISDIR(st.stx_mode)) {
		r = w->l->ops->dir_open(dir, name, &sub);
		r = r < 0 ? commit_fail(w, r, "%s", strerror(-r)) : put_dir(w, &sub);
		sys_close(sub.fd);
	}
	commit_leave(w, old);
	return r;
}

static int put_dir(struct commit_walk *w, const struct layer_dir *dir)
{
	struct names n = { 0 };
	int r = list(w, dir, &n);

	if (r == 0 && n.opaque)
		r = commit_put_mark(w, "", ".wh..wh..opq");
	for (size_t i = 0; i < n.n && r == 0; i++)
		r = n.v[i].whiteout ? commit_put_mark(w, ".wh.", n.v[i].name) :
				      put_child(w, dir, n.v[i].name);
	names_release(&n);
	return r;
}

int commit_tar(const char *upper, struct commit_tar *o, struct tar_write *w, char **ret_err)
{
	struct commit_walk k = { .o = o, .w = w, .upper = upper, .ret_err = ret_err };
	int r;

	*ret_err = NULL;
	o->entries = o->whiteouts = o->bytes = 0;
	k.buf = sys_malloc(COMMIT_BUF);
	if (!k.buf)
		return -ENOMEM;
	r = layer_open_dir(upper, false, &k.l);
	if (r == 0) {
		k.l->override_attr = commit_override(&k.l->root);
		r = put_dir(&k, &k.l->root);
	}
	if (r == 0)
		r = tar_write_end(w);
	layer_close(k.l);
	commit_whole_close(&k);
	linkmap_free(k.links);
	free(k.buf);
	return r;
}
