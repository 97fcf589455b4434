/* SPDX-License-Identifier: Apache-2.0 */
/* From a node to where it is on disk. */
#include "fs/union/locate.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/union/lend.h"
#include "fs/union/metacopy.h"
#include "fs/union/ovl.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define MAX_TRIES 64

int locate_tries(const struct union_fs *u)
{
	/* where we rename nothing ourselves, waiting does not help */
	return u->writable ? MAX_TRIES : 4;
}

void locate_wait(int tries)
{
	struct timespec nap = { 0 };

	if (tries < 4) {
		(void)sched_yield();
		return;
	}
	nap.tv_nsec = 20000L << (tries < 14 ? tries - 4 : 10);
	(void)nanosleep(&nap, NULL);
}

/* A path being put together from its end. */
struct rpath {
	char buf[PATH_MAX];
	size_t start; /* of what is there so far */
};

static void rpath_init(struct rpath *p)
{
	p->start = sizeof(p->buf) - 1;
	p->buf[p->start] = 0;
}

static bool rpath_prepend(struct rpath *p, const char *s, size_t len)
{
	bool sep = p->buf[p->start] != 0;

	if (p->start < len + sep)
		return false;
	if (sep)
		p->buf[--p->start] = '/';
	p->start -= len;
	memcpy(p->buf + p->start, s, len);
	return true;
}

static const char *rpath_str(const struct rpath *p)
{
	return p->buf + p->start;
}

/* What climbing from a directory found. */
struct climb {
	struct fdent *base; /* pinned; NULL: the layer's root */
	uint32_t stop; /* slot at which the buffer was full, 0: complete */
	struct rpath path;
};

/*
 * Collects the path of @n in @layer up to something that is open. With the
 * lock. -ENOENT where the layer does not have it.
 */
static int climb(struct union_fs *u, struct node *n, unsigned layer, bool use_cache,
		 struct climb *ret)
{
	struct node *cur = n;

	ret->base = NULL;
	ret->stop = 0;
	rpath_init(&ret->path);
	while (node_slot(u, cur) != u->root) {
		struct dstack_entry *e = NULL;
		struct dent *d;

		if (layer == 0) {
			if (!node_has(cur, NODE_UPPER))
				return -ENOENT;
		} else {
			e = stack_entry(u, cur, layer);
			if (!e)
				return -ENOENT;
		}
		if (use_cache && cur != n) {
			ret->base = fdcache_get(u, node_slot(u, cur), layer);
			if (ret->base)
				return 0;
		}
		if (e && e->path) {
			const char *s = str_at(u, e->path);

			if (!rpath_prepend(&ret->path, s, strlen(s)))
				return -ENAMETOOLONG;
			return 0;
		}
		d = dent_at(u, cur->dents);
		if (!d)
			return -ESTALE;
		if (!rpath_prepend(&ret->path, d->name, d->len)) {
			ret->stop = node_slot(u, cur);
			return 0;
		}
		cur = node_at(u, d->parent);
	}
	return 0;
}

static struct layer *layer_by_id(struct union_fs *u, unsigned id)
{
	return id ? u->lower[id - 1] : u->upper;
}

int locate_layer_path(struct union_fs *u, struct node *n, unsigned layer, char *buf, size_t size)
{
	struct climb c;
	size_t len;
	int r;

	table_lock(u);
	r = climb(u, n, layer, false, &c);
	table_unlock(u);
	if (r < 0)
		return r;
	len = strlen(rpath_str(&c.path));
	if (c.stop || len >= size)
		return -ENAMETOOLONG;
	memcpy(buf, rpath_str(&c.path), len + 1);
	return (int)len;
}

/* Opens a removed directory by what keeps it. */
static int open_pinned_dir(struct union_fs *u, struct node *n, struct fdent **ret)
{
	struct layer_dir d = { .layer = u->upper, .fd = -1 };
	struct node_ext *x;

	table_lock(u);
	x = node_ext_peek(u, n);
	if (x && x->pin >= 0)
		d.fd = sys_dup(x->pin);
	else
		d.fd = -ESTALE;
	table_unlock(u);
	if (d.fd < 0)
		return d.fd;
	*ret = fdcache_add(u, node_slot(u, n), 0, &d);
	return *ret ? 0 : -ENOMEM;
}

/* One attempt; -EAGAIN where a rename may have come between. */
static int try_locate_dir(struct union_fs *u, struct node *n, unsigned layer, struct fdent **ret)
{
	struct layer *l = layer_by_id(u, layer);
	struct fdent *above = NULL;
	uint64_t want;
	struct layer_dir d;
	struct climb c;
	int r;

	table_lock(u);
	want = node_upper_ino(n);
	r = climb(u, n, layer, true, &c);
	if (!r && c.stop)
		node_hold(node_at(u, c.stop));
	table_unlock(u);
	if (r < 0)
		return r;
	if (c.stop) {
		/* The path is longer than PATH_MAX: open the upper part of it first. */
		struct node *mid = node_at(u, c.stop);

		r = locate_dir(u, mid, layer, &above);
		table_lock(u);
		node_drop(u, mid);
		table_unlock(u);
		if (r < 0)
			return r;
		fdcache_put(u, above);
		return -EAGAIN;
	}
	r = l->ops->dir_open(c.base ? fdcache_dir(c.base) : &l->root, rpath_str(&c.path), &d);
	fdcache_put(u, c.base);
	if (r == -EACCES && layer == 0) {
		/* a directory above was shut since it was searched */
		d = (struct layer_dir){
			.layer = l, .fd = lend_open(u, n, "", O_PATH | O_DIRECTORY | O_NOFOLLOW)
		};
		r = d.fd < 0 ? d.fd : 0;
	}
	if (r < 0)
		return layer == 0 && (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) ? -EAGAIN : r;
	if (layer == 0) {
		struct statx st;

		r = sys_fstatx(d.fd, &st);
		if (r < 0 || st.stx_ino != want) {
			sys_close(d.fd);
			return r < 0 ? r : -EAGAIN;
		}
	}
	*ret = fdcache_add(u, node_slot(u, n), layer, &d);
	return *ret ? 0 : -ENOMEM;
}

int locate_dir(struct union_fs *u, struct node *n, unsigned layer, struct fdent **ret)
{
	struct fdent *e = fdcache_get(u, node_slot(u, n), layer);
	int r, i;

	if (e) {
		*ret = e;
		return 0;
	}
	if (node_slot(u, n) == u->root) {
		struct layer_dir d = { .layer = layer_by_id(u, layer), .fd = -1 };

		if (!d.layer)
			return -ENOENT;
		/* The root's own descriptor is not the cache's to close. */
		r = d.layer->root.fd < 0 ? 0 :
					   sys_dup(d.layer->root.fd);
		if (r < 0)
			return r;
		d.ref = d.layer->root.ref;
		d.fd = d.layer->root.fd < 0 ? -1 : r;
		e = fdcache_add(u, node_slot(u, n), layer, &d);
		*ret = e;
		return e ? 0 : -ENOMEM;
	}
	for (i = 0; i < locate_tries(u); i++) {
		r = try_locate_dir(u, n, layer, ret);
		if (r == -ESTALE && layer == 0)
			return open_pinned_dir(u, n, ret);
		if (r != -EAGAIN)
			return r;
		locate_wait(i);
	}
	return -ESTALE;
}

void place_put(struct union_fs *u, struct place *p)
{
	fdcache_put(u, p->dir);
	p->dir = NULL;
}

static int locate_node_dir(struct union_fs *u, struct node *n, struct place *ret)
{
	unsigned layer = 0;
	struct dstack *s;

	table_lock(u);
	if (!node_has(n, NODE_UPPER)) {
		s = stack_at(u, n);
		layer = s && s->n ? s->e[0].layer : 0;
	}
	table_unlock(u);
	ret->upper = layer == 0;
	ret->name[0] = 0;
	return locate_dir(u, n, layer, &ret->dir);
}

/* The descriptor @fd (taken over) as a place of its own. */
static int place_of_fd(struct union_fs *u, int fd, struct layer *l, struct place *ret)
{
	struct layer_dir d = { .layer = l, .fd = fd };

	if (fd < 0)
		return fd;
	ret->name[0] = 0;
	ret->upper = l == u->upper;
	ret->dir = fdcache_once(u, &d);
	return ret->dir ? 0 : -ENOMEM;
}

/* A file that is found without its names. 1 where it is not such a one. */
static int locate_special(struct union_fs *u, struct node *n, struct place *ret)
{
	char path[PATH_MAX];
	struct node_ext *x;
	struct layer *l = NULL;
	char *slash;
	int r, fd = -1;

	path[0] = 0;
	table_lock(u);
	x = node_ext_peek(u, n);
	if (!x) {
		table_unlock(u);
		return 1;
	}
	if (x->pin >= 0) {
		fd = sys_dup(x->pin);
		l = node_has(n, NODE_UPPER) ? u->upper : u->lower[n->layer - 1];
	} else if (node_has(n, NODE_UPPER) && (x->orphan || node_has(n, NODE_INDEXED))) {
		uint32_t ref = x->orphan ? x->orphan : x->index;

		(void)snprintf(path, sizeof(path), "%s", str_at(u, ref));
		fd = x->orphan ? u->work : u->index;
	} else if (!node_has(n, NODE_UPPER) && x->lower_path) {
		(void)snprintf(path, sizeof(path), "%s", str_at(u, x->lower_path));
		l = u->lower[n->layer - 1];
	}
	table_unlock(u);
	if (!path[0])
		return l ? place_of_fd(u, fd, l, ret) : 1;
	if (!l) { /* in work or in the index */
		r = place_of_fd(u, sys_dup(fd), u->upper, ret);
		if (r == 0)
			(void)snprintf(ret->name, sizeof(ret->name), "%.255s", path);
		return r;
	}
	slash = strrchr(path, '/');
	if (slash) {
		struct layer_dir d;

		*slash = 0;
		r = l->ops->dir_open(&l->root, path, &d);
		if (r < 0)
			return r;
		ret->dir = fdcache_once(u, &d);
	} else {
		struct layer_dir d = l->root;

		if (d.fd >= 0)
			d.fd = sys_dup(d.fd);
		if (l->root.fd >= 0 && d.fd < 0)
			return d.fd;
		ret->dir = fdcache_once(u, &d);
	}
	if (!ret->dir)
		return -ENOMEM;
	ret->upper = false;
	(void)snprintf(ret->name, sizeof(ret->name), "%.255s", slash ? slash + 1 : path);
	return 0;
}

/* In a layer that finds files by their numbers. 1 where it is not in such a one. */
static int locate_by_ino(struct union_fs *u, struct node *n, struct place *ret)
{
	struct layer *l = NULL;
	struct layer_dir d;
	uint64_t ino;
	int r;

	table_lock(u);
	if (!node_has(n, NODE_UPPER) && n->layer && n->lower_ino)
		l = u->lower[n->layer - 1];
	ino = n->lower_ino;
	table_unlock(u);
	if (!l || !l->ops->by_ino)
		return 1;
	r = l->ops->by_ino(l, ino, &d);
	if (r < 0)
		return r;
	ret->name[0] = 0;
	ret->upper = false;
	ret->dir = fdcache_once(u, &d);
	return ret->dir ? 0 : -ENOMEM;
}

/*
 * By the @i-th name of @n: the directory is pinned and the name copied.
 * -ENOENT where there is no such name.
 */
static int locate_by_name(struct union_fs *u, struct node *n, unsigned i, struct place *ret)
{
	struct node *parent;
	unsigned layer;
	struct dent *d;
	uint32_t ref;
	int r;

	table_lock(u);
	for (ref = n->dents; ref && i; i--)
		ref = dent_at(u, ref)->sibling;
	d = dent_at(u, ref);
	if (!d) {
		table_unlock(u);
		return -ENOENT;
	}
	memcpy(ret->name, d->name, d->len + 1U);
	layer = node_has(n, NODE_UPPER) ? 0 : n->layer;
	parent = node_at(u, d->parent);
	node_hold(parent);
	table_unlock(u);
	ret->upper = layer == 0;
	r = locate_dir(u, parent, layer, &ret->dir);
	table_lock(u);
	node_drop(u, parent);
	table_unlock(u);
	/* -ENOENT from here means: this name is not in that layer */
	return r == -ENOENT ? -ENOTDIR : r;
}

/*
 * The same where the directory, pinned in @ret, may not be searched by us: the
 * file itself, open. -EAGAIN where that is not @n.
 */
static int locate_shut(struct union_fs *u, struct node *n, struct place *ret)
{
	struct node *parent = NULL;
	uint32_t ref;
	struct statx st;
	int fd, r;

	place_put(u, ret);
	table_lock(u);
	for (ref = n->dents; ref && !parent; ref = dent_at(u, ref)->sibling)
		if (!strcmp(dent_at(u, ref)->name, ret->name))
			parent = node_at(u, dent_at(u, ref)->parent);
	if (parent)
		node_hold(parent);
	table_unlock(u);
	if (!parent)
		return -EAGAIN;
	fd = lend_open(u, parent, ret->name, O_PATH | O_NOFOLLOW);
	table_lock(u);
	node_drop(u, parent);
	table_unlock(u);
	r = fd < 0 ? fd : sys_fstatx(fd, &st);
	if (!r && st.stx_ino != node_upper_ino(n))
		r = -EAGAIN;
	if (r < 0) {
		sys_close(fd);
		return r == -ENOENT ? -EAGAIN : r;
	}
	return place_of_fd(u, fd, u->upper, ret);
}

int locate(struct union_fs *u, struct node *n, struct place *ret)
{
	struct statx st;
	int r = locate_stat(u, n, ret, &st);

	return r < 0 ? r : 0;
}

int locate_stat(struct union_fs *u, struct node *n, struct place *ret, struct statx *ret_st)
{
	int r, tries;
	unsigned i;

	ret->dir = NULL;
	if (node_is_dir(n))
		return locate_node_dir(u, n, ret);
	for (tries = 0; tries < locate_tries(u); tries++) {
		r = locate_by_ino(u, n, ret);
		if (r == 1)
			r = locate_special(u, n, ret);
		if (r <= 0)
			return r;
		for (i = 0;; i++) {
			r = locate_by_name(u, n, i, ret);
			if (r == -ENOENT)
				break;
			if (r == -ENOTDIR)
				continue;
			if (r < 0)
				return r;
			if (!ret->upper)
				return 0;
			r = sys_statx(fdcache_fd(ret->dir), ret->name, AT_SYMLINK_NOFOLLOW, ret_st);
			if (r == 0 && ret_st->stx_ino == node_upper_ino(n))
				return 1;
			if (r == -EACCES) {
				r = locate_shut(u, n, ret);
				if (r != -EAGAIN)
					return r;
				break;
			}
			place_put(u, ret);
			if (r < 0 && r != -ENOENT)
				return r;
		}
		locate_wait(tries);
	}
	return -ESTALE;
}

int locate_path_fd(struct union_fs *u, struct node *n)
{
	struct place p;
	int r, tries;

	for (tries = 0; tries < locate_tries(u); tries++) {
		struct statx st;

		if (tries)
			locate_wait(tries);
		r = locate(u, n, &p);
		if (r < 0)
			return r;
		if (!p.name[0])
			r = sys_dup(fdcache_fd(p.dir));
		else
			r = sys_openat(fdcache_fd(p.dir), p.name, O_PATH | O_NOFOLLOW, 0);
		place_put(u, &p);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r >= 0 && (!p.upper || node_is_dir(n)))
			return r;
		if (r >= 0) {
			int fd = r;

			r = sys_fstatx(fd, &st);
			if (r == 0 && st.stx_ino == node_upper_ino(n))
				return fd;
			sys_close(fd);
			if (r < 0)
				return r;
		}
	}
	return -ESTALE;
}

/*
 * Opens a file of ours whose mode denies it to its owner, who may have it
 * open all the same.
 */
static int open_denied(struct union_fs *u, struct node *n, int dirfd, const char *name, int flags)
{
	_cleanup_fd_ int fd = *name ? sys_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0) :
				      sys_dup(dirfd);

	return fd < 0 ? fd : lend_reopen(u, n, fd, flags);
}

static int open_at(struct union_fs *u, struct node *n, const struct place *p, bool write,
		   struct layer_dir *ret)
{
	int flags = (write ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK;
	const struct layer_dir *d = fdcache_dir(p->dir);
	int r;

	if (!p->upper && (*p->name || d->fd < 0)) {
		r = d->layer->ops->file_open(d, p->name, ret);
		if (r < 0 || !metacopy_maybe(u, ret))
			return r;
		/* lest zeros are read */
		r = metacopy_learn(u, n, p);
		if (r) {
			sys_close(ret->fd);
			return r < 0 ? r : -EAGAIN;
		}
		return 0;
	}
	r = *p->name ? sys_openat(d->fd, p->name, flags, 0) : sys_reopen(d->fd, flags);
	if (r == -EACCES && p->upper)
		r = open_denied(u, n, d->fd, p->name, flags);
	*ret = (struct layer_dir){ .layer = d->layer, .fd = r };
	return r < 0 ? r : 0;
}

/*
 * Whether opening a regular file of the upper failed because a rename came between, and
 * what has its name now is nothing, or something else: a whiteout, a link, a directory.
 */
static bool name_was_taken(int r)
{
	return r == -ENOENT || r == -ENXIO || r == -ENODEV || r == -ELOOP || r == -EISDIR;
}

/* Opens what a read of @n that has only metadata is of. 0, or -EAGAIN where it has data now. */
static int locate_data(struct union_fs *u, struct node *n, struct fdent **ret)
{
	struct layer_dir d;

	int r = metacopy_open(u, n, &d);

	if (r < 0)
		return r;
	/* the data came up meanwhile: what was found may be old by now */
	if (!node_has(n, NODE_META)) {
		sys_close(d.fd);
		return -EAGAIN;
	}
	*ret = fdcache_add(u, node_slot(u, n), FD_FILE_LOWER, &d);
	return *ret ? 0 : -ENOMEM;
}

/* One attempt at locate_file(); -EAGAIN where something has come between. */
static int try_locate_file(struct union_fs *u, struct node *n, bool write, struct fdent **ret)
{
	bool meta = node_has(n, NODE_META) && !write;
	bool upper = node_has(n, NODE_UPPER) && !meta;
	unsigned kind = write ? FD_FILE_WRITE : upper ? FD_FILE_UPPER :
							FD_FILE_LOWER;
	struct layer_dir d;
	struct fdent *e;
	struct place p;
	struct statx st;
	int r;

	e = fdcache_get(u, node_slot(u, n), kind);
	/* a writable one serves reads as well */
	if (!e && upper && !write)
		e = fdcache_get(u, node_slot(u, n), FD_FILE_WRITE);
	if (e) {
		*ret = e;
		return 0;
	}
	if (meta)
		return locate_data(u, n, ret);
	r = locate(u, n, &p);
	if (r < 0)
		return r;
	r = open_at(u, n, &p, write, &d);
	upper = p.upper;
	place_put(u, &p);
	if (r < 0)
		return upper && name_was_taken(r) ? -EAGAIN : r;
	if (upper) {
		r = sys_fstatx(d.fd, &st);
		if (!r && st.stx_ino != node_upper_ino(n))
			r = -EAGAIN;
	}
	/* copied up meanwhile, with its data or without: what we opened is another file */
	if (!r && !write && (upper ? node_has(n, NODE_META) : node_has(n, NODE_UPPER)))
		r = -EAGAIN;
	if (r < 0) {
		sys_close(d.fd);
		return r;
	}
	kind = write ? FD_FILE_WRITE : upper ? FD_FILE_UPPER :
					       FD_FILE_LOWER;
	*ret = fdcache_add(u, node_slot(u, n), kind, &d);
	return *ret ? 0 : -ENOMEM;
}

int locate_file(struct union_fs *u, struct node *n, bool write, struct fdent **ret)
{
	int r, tries;

	for (tries = 0; tries < locate_tries(u); tries++) {
		if (tries)
			locate_wait(tries);
		r = try_locate_file(u, n, write, ret);
		if (r != -EAGAIN)
			return r;
	}
	return -ESTALE;
}

static int detach_dir(struct union_fs *u, struct node *n)
{
	unsigned i, layers[512], cnt = 0;
	struct dstack *s;
	int r;

	table_lock(u);
	s = stack_at(u, n);
	for (i = 0; s && i < s->n && cnt < 512; i++)
		if (!s->e[i].path)
			layers[cnt++] = s->e[i].layer;
	table_unlock(u);
	for (i = 0; i < cnt; i++) {
		struct dstack_entry *e;
		char path[PATH_MAX];

		r = locate_layer_path(u, n, layers[i], path, sizeof(path));
		if (r < 0)
			return r;
		table_lock(u);
		e = stack_entry(u, n, layers[i]);
		if (e && !e->path)
			e->path = str_new(u, path);
		r = e && !e->path ? -ENOMEM : 0;
		table_unlock(u);
		if (r < 0)
			return r;
	}
	return 0;
}

static int learn_data(struct union_fs *u, struct node *n)
{
	struct place at;
	int r;

	if (!S_ISREG(n->mode))
		return 0;
	r = locate(u, n, &at);
	if (r < 0)
		return r;
	r = at.upper || (!at.name[0] && fdcache_fd(at.dir) >= 0) ? 0 : metacopy_learn(u, n, &at);
	place_put(u, &at);
	/* with its data nowhere it can be removed all the same */
	return r == -EIO ? 0 : r;
}

int locate_detach(struct union_fs *u, struct node *n)
{
	char path[PATH_MAX];
	struct node_ext *x;
	struct node *parent;
	struct dent *d;
	unsigned layer;
	size_t len;
	int r;

	if (node_is_dir(n))
		return detach_dir(u, n);
	table_lock(u);
	d = dent_at(u, n->dents);
	if (node_has(n, NODE_UPPER) || !d || !n->layer) {
		table_unlock(u);
		return 0;
	}
	layer = n->layer;
	parent = node_at(u, d->parent);
	node_hold(parent);
	table_unlock(u);
	/* where its data is, is found by its name */
	r = learn_data(u, n);
	if (r < 0) {
		table_lock(u);
		node_drop(u, parent);
		table_unlock(u);
		return r;
	}
	if (node_slot(u, parent) == u->root) {
		path[0] = 0;
		r = 0;
	} else {
		r = locate_layer_path(u, parent, layer, path, sizeof(path) - 257);
	}
	table_lock(u);
	d = dent_at(u, n->dents);
	x = node_ext(u, n);
	if (r >= 0 && d && x && !x->lower_path) {
		len = (size_t)r;
		if (len)
			path[len++] = '/';
		memcpy(path + len, d->name, d->len + 1U);
		x->lower_path = str_new(u, path);
	}
	if (r >= 0 && (!x || (d && !x->lower_path)))
		r = -ENOMEM;
	node_drop(u, parent);
	table_unlock(u);
	return r < 0 ? r : 0;
}
