/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an upper shows and does not hold: below a directory that was renamed
 * (overlay.redirect), and in a file whose attributes alone were copied up
 * (overlay.metacopy). Seen through a read-only union of the upper and the
 * layers below it.
 *
 * Files that have several names here are linked to each other; a name outside
 * of these directories becomes a file of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/union.h"
#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/commit_tar_i.h"

/* st_dev of what a union shows, for the map of links: of no file system. */
#define NO_DEVICE UINT32_MAX

/* @what: why the layers below are needed. */
static int open_whole(struct commit_walk *w, const char *what)
{
	_cleanup_free_ const char **top_first = NULL;
	struct union_config cfg = { .ro = true,
				    .redirect = true,
				    .redirect_follow = true,
				    .acl = true,
				    .fd_budget = 64 };
	const char *const *lowers;
	char *err = NULL;
	unsigned n, i;
	int r;

	if (w->whole)
		return 0;
	r = w->o->lowers ? w->o->lowers(w->o->arg, &lowers, &n, &err) : -EXDEV;
	if (r == -EXDEV)
		(void)commit_fail(w, r, "%s, and it is not known which layers are below", what);
	if (r == 0) {
		top_first = sys_calloc(n + 1UL, sizeof(*top_first));
		r = top_first ? 0 : -ENOMEM;
	}
	if (r == 0) {
		top_first[0] = w->upper;
		for (i = 0; i < n; i++)
			top_first[i + 1] = lowers[n - 1 - i];
		cfg.lower = top_first;
		cfg.nlower = n + 1;
		r = union_open(&cfg, &w->whole, &err);
	}
	if (r < 0)
		(void)commit_fail(w, r, "%s", err ? err : strerror(-r));
	free(err);
	return r;
}

/* The node at w->path, with a count; the nodes on the way are forgotten. */
static int find(struct commit_walk *w, struct union_entry *ret)
{
	_cleanup_free_ char *copy = sys_strdup(w->path);
	uint64_t at = UNION_ROOT;
	char *save = NULL, *part;
	int r = copy ? 0 : -ENOMEM;

	*ret = (struct union_entry){ .nodeid = UNION_ROOT };
	for (part = copy ? strtok_r(copy, "/", &save) : NULL; part && r == 0;
	     part = strtok_r(NULL, "/", &save)) {
		r = union_lookup(w->whole, at, part, ret);
		if (at != UNION_ROOT)
			union_forget(w->whole, at, 1);
		at = ret->nodeid;
		if (r == 0 && !at)
			r = -ENOENT;
	}
	return r < 0 ? commit_fail(w, r, "in the layers below: %s", strerror(-r)) : 0;
}

static int put_bytes(struct commit_walk *w, uint64_t nodeid, uint64_t size)
{
	uint64_t off = 0;
	int r = 0;

	while (r == 0 && off < size) {
		off_t data = union_lseek(w->whole, nodeid, (off_t)off, SEEK_DATA);
		uint64_t next = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
		ssize_t n;

		if (data < 0 && data != -ENXIO)
			next = off;
		if (next > off) {
			r = tar_write_zeros(w->w, next - off);
			off = next;
			continue;
		}
		n = union_read(w->whole, nodeid, w->buf, COMMIT_BUF, (off_t)off);
		if (n <= 0)
			return commit_fail(w, n < 0 ? (int)n : -EIO, "%s",
					   n < 0 ? strerror((int)-n) :
						   "it is shorter than it claims");
		if ((uint64_t)n > size - off)
			n = (ssize_t)(size - off);
		r = tar_write_data(w->w, w->buf, (size_t)n);
		off += (uint64_t)n;
		if (r == 0)
			r = commit_told(w, NULL);
	}
	w->o->bytes += size;
	return r;
}

int commit_whole_content(struct commit_walk *w, uint64_t size)
{
	struct union_entry e;
	int r = open_whole(w, "its content is in a lower layer (overlay.metacopy)");

	if (r == 0)
		r = find(w, &e);
	if (r == 0) {
		r = put_bytes(w, e.nodeid, size);
		union_forget(w->whole, e.nodeid, 1);
	}
	return r;
}

/* --- entries ----------------------------------------------------------------- */

struct xattrs {
	char *names; /* owned */
	struct tar_xattr *v; /* owned, and the values as well */
	size_t n;
};

static void xattrs_release(struct xattrs *x)
{
	for (size_t i = 0; i < x->n; i++)
		free((void *)(uintptr_t)x->v[i].value);
	free(x->v);
	free(x->names);
}

static int add_xattr(struct commit_walk *w, uint64_t nodeid, const char *name, struct xattrs *x)
{
	ssize_t n = union_getxattr(w->whole, nodeid, name, NULL, 0);
	void *value;

	if (n < 0)
		return (int)n;
	value = sys_malloc((size_t)n + 1);
	if (!value)
		return -ENOMEM;
	x->v[x->n++] = (struct tar_xattr){
		.name = name, .name_len = strlen(name), .value = value, .value_len = (size_t)n
	};
	n = union_getxattr(w->whole, nodeid, name, value, (size_t)n);
	return n < 0 ? (int)n : 0;
}

static int read_xattrs(struct commit_walk *w, uint64_t nodeid, struct xattrs *x)
{
	ssize_t len = union_listxattr(w->whole, nodeid, true, NULL, 0);
	size_t count = 0;
	char *p;
	int r = 0;

	if (len <= 0)
		return (int)len;
	x->names = sys_malloc((size_t)len);
	if (!x->names)
		return -ENOMEM;
	len = union_listxattr(w->whole, nodeid, true, x->names, (size_t)len);
	if (len < 0)
		return (int)len;
	for (p = x->names; p < x->names + len; p += strlen(p) + 1)
		count++;
	x->v = sys_calloc(count, sizeof(*x->v));
	if (!x->v)
		return -ENOMEM;
	for (p = x->names; r == 0 && p < x->names + len; p += strlen(p) + 1)
		r = add_xattr(w, nodeid, p, x);
	return r;
}

static int put_entry(struct commit_walk *w, const struct union_entry *u)
{
	struct statx st = u->st;
	struct tar_entry e = { .path = w->path, .mode = st.stx_mode };
	_cleanup_free_ char *target = NULL;
	struct xattrs x = { 0 };
	int r = 0;

	st.stx_dev_major = st.stx_dev_minor = NO_DEVICE;
	if (!S_ISDIR(st.stx_mode))
		r = linkmap_first(&w->links, &st, w->path, &e.link);
	if (r == 0 && !e.link) {
		e.uid = st.stx_uid;
		e.gid = st.stx_gid;
		e.size = S_ISREG(st.stx_mode) ? st.stx_size : 0;
		e.rdev_major = st.stx_rdev_major;
		e.rdev_minor = st.stx_rdev_minor;
		commit_set_time(w, &st, &e);
		r = read_xattrs(w, u->nodeid, &x);
		e.xattrs = x.v;
		e.n_xattrs = x.n;
		if (r == 0 && S_ISLNK(st.stx_mode))
			r = union_readlink(w->whole, u->nodeid, &target);
		e.target = target;
	}
	if (r == 0) {
		w->o->entries++;
		r = tar_write_entry(w->w, &e);
	}
	if (r < 0)
		r = commit_fail(w, r, "%s", strerror(-r));
	if (r == 0)
		r = commit_told(w, NULL);
	if (r == 0 && S_ISREG(st.stx_mode) && !e.link)
		r = put_bytes(w, u->nodeid, st.stx_size);
	xattrs_release(&x);
	return r;
}

/* --- directories ------------------------------------------------------------- */

struct names {
	char **v; /* owned */
	size_t n, cap;
	uint64_t cookie;
	bool more;
};

static int take_name(void *arg, const char *name, uint64_t cookie, const struct union_entry *e)
{
	struct names *n = arg;

	(void)e;
	n->cookie = cookie;
	n->more = true;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (n->n == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 32;
		char **v = sys_realloc(n->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		n->v = v;
		n->cap = cap;
	}
	n->v[n->n] = sys_strdup(name);
	return n->v[n->n++] ? 0 : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int put_dir(struct commit_walk *w, uint64_t nodeid);

static int put_child(struct commit_walk *w, uint64_t dir, const char *name)
{
	struct union_entry e;
	int old = commit_enter(w, "", name), r;

	if (old < 0)
		return old;
	r = union_lookup(w->whole, dir, name, &e);
	if (r < 0 || !e.nodeid) {
		r = commit_fail(w, r < 0 ? r : -ENOENT, "%s", strerror(r < 0 ? -r : ENOENT));
	} else {
		r = S_ISSOCK(e.st.stx_mode) ? commit_told(w, "a socket") : put_entry(w, &e);
		if (r == 0 && S_ISDIR(e.st.stx_mode))
			r = put_dir(w, e.nodeid);
		union_forget(w->whole, e.nodeid, 1);
	}
	commit_leave(w, old);
	return r;
}

static int put_dir(struct commit_walk *w, uint64_t nodeid)
{
	struct names n = { 0 };
	int r;

	do {
		n.more = false;
		r = union_readdir(w->whole, nodeid, n.cookie, false, take_name, &n);
	} while (r >= 0 && n.more);
	if (r < 0)
		r = commit_fail(w, r, "%s", strerror(-r));
	if (n.n)
		qsort(n.v, n.n, sizeof(*n.v), by_name);
	for (size_t i = 0; i < n.n && r == 0; i++)
		r = put_child(w, nodeid, n.v[i]);
	for (size_t i = 0; i < n.n; i++)
		free(n.v[i]);
	free(n.v);
	return r;
}

int commit_whole_dir(struct commit_walk *w)
{
	struct union_entry e;
	int r = open_whole(
		w, "it was renamed, and its content is in a lower layer (overlay.redirect)");

	if (r == 0)
		r = find(w, &e);
	if (r < 0)
		return r;
	/* a lower may have something by that name */
	r = commit_put_mark(w, "", ".wh..wh..opq");
	if (r == 0)
		r = put_dir(w, e.nodeid);
	union_forget(w->whole, e.nodeid, 1);
	return r;
}

void commit_whole_close(struct commit_walk *w)
{
	if (w->whole)
		union_close(w->whole);
	w->whole = NULL;
}
