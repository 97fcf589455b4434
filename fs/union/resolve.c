/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a name in a directory is.
 *
 * Theory of operation. The layers that hold the directory are asked for the
 * name from the top. The first that has it decides: a whiteout hides, a
 * non-directory is the answer, a directory is collected and the search goes
 * on below, for more directories to merge, until one is opaque or something
 * that is no directory is met. A redirect on a directory changes the name, or
 * the whole path, under which the layers below are asked; then all of them
 * are, whether they hold the parent or not.
 *
 * "W hides" for the AUFS form (.wh.NAME beside NAME's place) is asked only
 * where it would change the answer: after a lower layer was found to have the
 * name, of the layers above it. A missing name costs one stat per layer.
 */
#include "fs/union/resolve.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <stddef.h>
#include <string.h>
#include <sys/sysmacros.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fs/union/attr.h"
#include "fs/union/dirmerge.h"
#include "fs/union/locate.h"
#include "fs/union/metacopy.h"
#include "fs/union/nlink.h"
#include "fs/union/search.h"
#include "fs/union/sidecar.h"
#include "lib/sys.h"

void resolve_release(struct resolved *r)
{
	unsigned i;

	for (i = 0; i < r->n; i++)
		free(r->e[i].path);
	r->n = 0;
	metacopy_release(&r->data);
}

void search_init(struct search *s, struct union_fs *u, struct node *dir, const char *name)
{
	struct dstack *st;
	unsigned i;

	s->u = u;
	s->dir = dir;
	s->name = name;
	s->abs[0] = 0;
	s->n = 0;
	s->renamed = false;
	s->stop = false;
	s->next_abs[0] = 0;
	table_lock(u);
	if (node_has(dir, NODE_UPPER)) {
		s->lflags[s->n] = 0;
		s->layers[s->n++] = 0;
	}
	st = stack_at(u, dir);
	for (i = 0; st && i < st->n && s->n < MAX_LAYERS; i++) {
		s->lflags[s->n] = st->e[i].flags;
		s->layers[s->n++] = st->e[i].layer;
	}
	table_unlock(u);
}

/* A directory on the way to abs carries a redirect: where the layers below are asked. */
static int redirect_on_way(struct search *s, const char *before, const char *after,
			   const char *redirect)
{
	int n;

	if (*redirect == '/')
		n = snprintf(s->next_abs, sizeof(s->next_abs), "%s%s", redirect, after);
	else
		n = snprintf(s->next_abs, sizeof(s->next_abs), "%s/%s%s", before, redirect, after);
	return n < 0 || (size_t)n >= sizeof(s->next_abs) ? -EIO : 0;
}

/*
 * One step on the way to abs: @dir/@name, which is to be a directory, for what
 * it says of the layers below. -ENOENT where the way ends in this layer.
 */
static int step(struct search *s, const struct layer_dir *dir, const char *before, const char *name,
		const char *after)
{
	const struct layer_ops *ops = dir->layer->ops;
	char wh[256 + sizeof(LAYER_WH_PREFIX)];
	struct ovl_marks m;
	struct statx st;
	int r;

	(void)snprintf(wh, sizeof(wh), LAYER_WH_PREFIX "%.*s", 251, name);
	if (ops->stat(dir, wh, &st) == 0)
		s->stop = true;
	r = ops->stat(dir, name, &st);
	if (r < 0)
		return r;
	if (!S_ISDIR(st.stx_mode)) {
		s->stop = true;
		return -ENOENT;
	}
	if (dir->layer->id >= s->u->nlower)
		return 0;
	r = ovl_read_marks(s->u, dir, name, &m);
	if (r < 0)
		return r;
	if (m.opaque)
		s->stop = true;
	if (m.redirect && s->u->cfg.redirect_follow)
		r = redirect_on_way(s, before, after, m.redirect);
	ovl_marks_release(&m);
	return r;
}

/*
 * Opens the directory of abs in @l, as a lookup of each part would: what
 * hides, is opaque or redirected on the way counts for the layers below.
 */
static int walk_abs(struct search *s, struct layer *l, struct layer_dir *ret)
{
	char path[PATH_MAX], name[256];
	char *p, *e;
	int r;

	(void)snprintf(path, sizeof(path), "%s", s->abs);
	*ret = l->root;
	ret->fd = l->root.fd < 0 ? -1 : sys_dup(l->root.fd);
	if (l->root.fd >= 0 && ret->fd < 0)
		return ret->fd;
	for (p = path; (e = strchr(p + 1, '/')); p = e) {
		struct layer_dir next = { 0 };

		*e = 0;
		if ((size_t)(e - p) > sizeof(name)) {
			r = -ENAMETOOLONG;
		} else {
			memcpy(name, p + 1, (size_t)(e - p));
			r = 0;
		}
		*p = 0;
		*e = '/';
		if (!r)
			r = step(s, ret, path, name, e);
		*p = '/';
		if (!r)
			r = l->ops->dir_open(ret, name, &next);
		sys_close(ret->fd);
		if (r < 0)
			return r == -ENOTDIR || r == -ELOOP ? -ENOENT : r;
		*ret = next;
	}
	return 0;
}

/* --- names known to be in no lower ----------------------------------------- */

static uint64_t absent_tag(struct union_fs *u, struct node *dir, const char *name)
{
	uint64_t id = (uint64_t)dir->gen << 32 | node_slot(u, dir);

	return XXH3_64bits_withSeed(name, strlen(name), u->name_key ^ id) | 1;
}

static void set_absent(struct union_fs *u, struct node *dir, const char *name)
{
	uint64_t tag = absent_tag(u, dir, name);

	if (!u->cfg.lower_live)
		atomic_store_explicit(&u->absent[tag >> 32 & (ABSENT_SLOTS - 1)], tag,
				      memory_order_relaxed);
}

static bool is_absent(struct union_fs *u, struct node *dir, const char *name)
{
	uint64_t tag = absent_tag(u, dir, name);

	return atomic_load_explicit(&u->absent[tag >> 32 & (ABSENT_SLOTS - 1)],
				    memory_order_relaxed) == tag;
}

int search_dir(struct search *s, unsigned layer, struct fdent **ret, const char **ret_name)
{
	struct layer *l = layer ? s->u->lower[layer - 1] : s->u->upper;
	struct layer_dir d;
	int r;

	if (!s->abs[0]) {
		*ret_name = s->name;
		return locate_dir(s->u, s->dir, layer, ret);
	}
	*ret_name = strrchr(s->abs, '/') + 1;
	r = walk_abs(s, l, &d);
	if (r < 0)
		return r;
	*ret = fdcache_once(s->u, &d);
	return *ret ? 0 : -ENOMEM;
}

bool search_goes_on(struct search *s)
{
	if (s->stop)
		return false;
	if (s->next_abs[0]) {
		(void)snprintf(s->abs, sizeof(s->abs), "%s", s->next_abs);
		s->next_abs[0] = 0;
	}
	return true;
}

int search_redirect(struct search *s, unsigned layer, const char *redirect)
{
	char path[PATH_MAX];
	int n;

	s->renamed = true;
	if (*redirect == '/') {
		(void)snprintf(s->abs, sizeof(s->abs), "%s", redirect);
		/* every lower below @layer is asked, whether it has dir or not */
		return 1;
	}
	if (s->abs[0]) {
		char *slash = strrchr(s->abs, '/');

		n = snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - s->abs), s->abs,
			     redirect);
		if (n < 0 || (size_t)n >= sizeof(path))
			return -EIO;
		memcpy(s->abs, path, (size_t)n + 1);
		return 0;
	}
	(void)layer;
	(void)snprintf(s->relname, sizeof(s->relname), "%s", redirect);
	s->name = s->relname;
	return 0;
}

/* Whether .wh.NAME in one of layers[from..to) hides what is below them. */
static int aufs_hidden(struct search *s, unsigned from, unsigned to)
{
	unsigned i;

	for (i = from; i < to; i++) {
		char wh[256 + sizeof(LAYER_WH_PREFIX)];
		const char *name;
		struct fdent *e;
		struct statx st;
		int r;

		r = search_dir(s, s->layers[i], &e, &name);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (strlen(name) + strlen(LAYER_WH_PREFIX) > 255) {
			fdcache_put(s->u, e);
			continue;
		}
		(void)snprintf(wh, sizeof(wh), LAYER_WH_PREFIX "%s", name);
		r = fdcache_dir(e)->layer->ops->stat(fdcache_dir(e), wh, &st);
		fdcache_put(s->u, e);
		if (r == 0)
			return 1;
		if (r != -ENOENT)
			return r;
	}
	return 0;
}

int search_whiteout(struct search *s, unsigned i, unsigned asked, const struct layer_dir *d,
		    const char *name, const struct statx *st)
{
	int r = 0;

	if (layer_is_whiteout(st))
		return 1;
	if (s->lflags[i] & DSTACK_XWHITEOUTS && S_ISREG(st->stx_mode))
		r = ovl_is_xwhiteout(s->u, d, name);
	return r || i <= asked ? r : aufs_hidden(s, asked, i);
}

uint64_t resolve_ino(struct union_fs *u, const struct layer *l, const struct statx *st)
{
	dev_t dev = makedev(st->stx_dev_major, st->stx_dev_minor);
	uint64_t ino = st->stx_ino;

	/* something is mounted inside of the layer: keep its inodes apart */
	if (dev != l->dev)
		ino = (ino ^ (uint64_t)dev << 32) * 0x9e3779b97f4a7c15ULL >> 1;
	return ovl_map_ino(u, l->fs, ino);
}

/* The inode number of a symlink or special file in the upper, whose origin is beside it. */
static int resolve_sidecar(struct union_fs *u, const struct layer_dir *d, const char *name,
			   struct resolved *ret)
{
	struct sidecar_key key;
	struct ovl_origin o;
	uint64_t ino;
	unsigned fs;
	int r = sidecar_key(u, d, name, &ret->st, &key);

	if (!r)
		r = sidecar_read(u, &key, &o);
	if (r < 0)
		return r;
	if (o.len && ovl_origin_inode(u, &o, &ino, &fs))
		ret->ino = ovl_map_ino(u, fs, ino);
	return 0;
}

/* The identity of a non-directory found in the upper. */
static int resolve_upper_file(struct search *s, const struct layer_dir *d, const char *name,
			      struct resolved *ret)
{
	struct union_fs *u = s->u;
	struct ovl_origin o;
	char list[1024];
	uint64_t ino;
	unsigned fs;
	ssize_t n;
	int r;

	ret->ino = resolve_ino(u, u->upper, &ret->st);
	if (u->origins >= 0 && !S_ISREG(ret->st.stx_mode) && !ovl_is_trusted(u))
		return resolve_sidecar(u, d, name, ret);
	/* nearly all have no attribute at all: one call says so */
	n = d->layer->ops->listxattr(d, name, list, sizeof(list));
	if (n == 0 || n == -EOPNOTSUPP)
		return 0;
	if (n < 0 && n != -ERANGE && !ovl_xattr_absent((int)n))
		return (int)n;
	r = S_ISREG(ret->st.stx_mode) ? metacopy_find(u, s->dir, s->name, d, name, &ret->data) : 0;
	if (r < 0)
		return r;
	r = ovl_read_origin(u, d, name, &o);
	if (r < 0 || !o.len)
		return r;
	if (ovl_origin_inode(u, &o, &ino, &fs))
		ret->ino = ovl_map_ino(u, fs, ino);
	if (ret->st.stx_nlink > 1 && u->index >= 0 && ovl_index_name(&o, ret->index)) {
		struct statx st;

		r = sys_statx(u->index, ret->index, AT_SYMLINK_NOFOLLOW, &st);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r < 0 || st.stx_ino != ret->upper_ino)
			ret->index[0] = 0;
	}
	return 0;
}

/* A lower file with several names may have been copied up by another one. */
static int resolve_indexed(struct search *s, const struct layer_dir *d, const char *name,
			   struct resolved *ret)
{
	struct union_fs *u = s->u;
	struct layer_dir index_dir = { .layer = u->upper, .fd = u->index };
	char index[OVL_INDEX_NAME_MAX];
	struct ovl_origin o;
	struct statx st;
	int r;

	if (ret->st.stx_nlink < 2 || u->index < 0)
		return 0;
	r = ovl_origin_of(d, name, &o);
	if (r < 0 || !ovl_index_name(&o, index))
		return r;
	r = sys_statx(u->index, index, AT_SYMLINK_NOFOLLOW, &st);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (layer_is_whiteout(&st) || (st.stx_mode & S_IFMT) != (ret->st.stx_mode & S_IFMT))
		return 0;
	memcpy(ret->index, index, sizeof(index));
	ret->lower_nlink = ret->st.stx_nlink;
	ret->upper = true;
	ret->upper_ino = st.stx_ino;
	ret->st = st;
	return S_ISREG(st.stx_mode) ?
		       metacopy_find_indexed(u, s->dir, s->name, &index_dir, index, &ret->data) :
		       0;
}

static int found_file(struct search *s, unsigned layer, const struct layer_dir *d, const char *name,
		      const struct statx *st, struct resolved *ret)
{
	int r;

	ret->st = *st;
	if (layer == 0) {
		ret->upper = true;
		ret->upper_ino = st->stx_ino;
		r = resolve_upper_file(s, d, name, ret);
		if (r < 0)
			return r;
		return attr_override(d, name, &ret->st);
	}
	ret->layer = layer;
	ret->lower_ino = st->stx_ino;
	ret->ino = resolve_ino(s->u, s->u->lower[layer - 1], st);
	r = attr_override(d, name, &ret->st);
	if (!r)
		r = resolve_indexed(s, d, name, ret);
	/* has it any data? an open asks again, this is for its attributes */
	if (r >= 0 && !ret->upper && S_ISREG(st->stx_mode) && st->stx_size && !st->stx_blocks)
		r = metacopy_find(s->u, s->dir, s->name, d, name, &ret->data);
	if (r >= 0 && !ret->upper && st->stx_nlink > 1) {
		r = nlink_lost(s->u, d, name);
		ret->nlink_lost = r < 0 ? 0 : r;
	}
	return r < 0 ? r : 0;
}

int search_path(struct search *s, unsigned layer, char **ret)
{
	char path[PATH_MAX];
	int r;

	if (s->abs[0]) {
		*ret = sys_strdup(s->abs + 1);
		return *ret ? 0 : -ENOMEM;
	}
	if (node_slot(s->u, s->dir) == s->u->root) {
		r = 0;
	} else {
		r = locate_layer_path(s->u, s->dir, layer, path, sizeof(path) - 257);
		if (r < 0)
			return r;
		path[r++] = '/';
	}
	(void)snprintf(path + r, sizeof(path) - (size_t)r, "%s", s->name);
	*ret = sys_strdup(path);
	return *ret ? 0 : -ENOMEM;
}

/*
 * Adds the directory found at layers[i]. 1: the search ends here; 2: it goes
 * on from the root of every lower below.
 */
static int found_dir(struct search *s, unsigned layer, bool below, const struct layer_dir *d,
		     const char *name, const struct statx *st, struct resolved *ret)
{
	struct union_fs *u = s->u;
	struct ovl_marks m = { 0 };
	bool first = !ret->upper && !ret->n;
	int r = 0;

	if (first) {
		ret->st = *st;
		r = attr_override(d, name, &ret->st);
		if (r < 0)
			return r;
	}
	if (layer == 0) {
		ret->upper = true;
		ret->upper_ino = st->stx_ino;
		ret->ino = resolve_ino(u, u->upper, st);
	} else {
		if (!ret->n) {
			ret->lower_ino = st->stx_ino;
			ret->ino = resolve_ino(u, u->lower[layer - 1], st);
		}
		ret->e[ret->n].layer = (uint16_t)layer;
		ret->e[ret->n].flags = 0;
		ret->e[ret->n].path = NULL;
		if (s->renamed) {
			r = search_path(s, layer, &ret->e[ret->n].path);
			if (r < 0)
				return r;
		}
		ret->n++;
	}
	/* marks speak of what is below; the bottom layer has nothing there */
	if (layer >= u->nlower || !below)
		return 0;
	r = ovl_read_marks(u, d, name, &m);
	if (r < 0)
		return r;
	if (m.xwhiteouts && ret->n)
		ret->e[ret->n - 1].flags |= DSTACK_XWHITEOUTS;
	if (m.opaque)
		r = 1;
	else if (m.redirect && u->cfg.redirect_follow)
		r = search_redirect(s, layer, m.redirect) == 1 ? 2 : 0;
	ovl_marks_release(&m);
	return r;
}

void search_all_below(struct search *s, unsigned layer)
{
	unsigned i;

	s->n = 0;
	for (i = layer; i < s->u->nlower; i++) {
		s->lflags[s->n] = 0;
		s->layers[s->n++] = (uint16_t)(i + 1);
	}
}

/*
 * Whether directories below the one in layers[i] may exist at all: for a
 * directory nowhere else in the stack only a redirect leads further.
 */
int resolve(struct union_fs *u, struct node *dir, const char *name, struct resolve_hint hint,
	    struct resolved *ret)
{
	unsigned i, asked = 0;
	bool hidden = false;
	struct search s;
	int r = 0;

	/* not the array: it is large */
	memset(ret, 0, offsetof(struct resolved, e));
	if (!strncmp(name, LAYER_WH_PREFIX, strlen(LAYER_WH_PREFIX)))
		return -ENOENT;
	if (strlen(name) > 255)
		return -ENAMETOOLONG;
	search_init(&s, u, dir, name);
	if (s.n > 1 && s.layers[0] == 0 && is_absent(u, dir, name))
		s.n = 1;
	for (i = 0; i < s.n; i++) {
		unsigned layer = s.layers[i];
		bool any = ret->upper || ret->n, stop = false;
		const struct layer_dir *d;
		const char *lname;
		struct fdent *e;
		struct statx st;

		if (hint.layer != MAX_LAYERS && !any && layer < hint.layer)
			continue;
		if ((hint.only && any && !s.renamed) || !search_goes_on(&s))
			break;
		r = search_dir(&s, layer, &e, &lname);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		d = fdcache_dir(e);
		r = d->layer->ops->stat(d, lname, &st);
		if (r == -ENOENT) {
			fdcache_put(u, e);
			r = 0;
			continue;
		}
		if (r == 0) {
			/* a listing that gave the hint has seen the .wh. files above */
			if (!any && hint.layer == layer)
				asked = i;
			stop = any && !S_ISDIR(st.stx_mode);
			if (!stop && hint.no_aufs && !s.renamed)
				asked = i;
			if (!stop)
				r = search_whiteout(&s, i, asked, d, lname, &st);
			stop = stop || r == 1;
			asked = i > asked ? i : asked;
		}
		if (r < 0 || stop) {
			hidden = layer == 0;
			r = r < 0 ? r : 0;
			fdcache_put(u, e);
			break;
		}
		if (!S_ISDIR(st.stx_mode)) {
			r = found_file(&s, layer, d, lname, &st, ret);
			fdcache_put(u, e);
			break;
		}
		r = found_dir(&s, layer, true, d, lname, &st, ret);
		fdcache_put(u, e);
		if (r < 0 || r == 1)
			break;
		if (r == 2) {
			search_all_below(&s, layer);
			i = (unsigned)-1;
			asked = 0;
		}
	}
	if (r < 0) {
		resolve_release(ret);
		return r;
	}
	if (ret->upper || ret->n || ret->layer)
		return 0;
	/* a whiteout in the upper says nothing of what it hides */
	if (!hidden && s.n > 1 && hint.layer == MAX_LAYERS)
		set_absent(u, dir, name);
	return -ENOENT;
}

int resolve_lower_has(struct union_fs *u, struct node *dir, const char *name)
{
	unsigned i, asked = 0;
	struct search s;
	int r;

	if (is_absent(u, dir, name))
		return 0;
	r = u->cfg.lower_live ? -1 : dircache_lower_has(u, node_slot(u, dir), name);
	if (r >= 0)
		return r;
	search_init(&s, u, dir, name);
	if (s.n && s.layers[0] == 0)
		asked = 1; /* an AUFS whiteout in the upper may be removed with the name */
	for (i = 0; i < s.n; i++) {
		const char *lname;
		struct fdent *e;
		struct statx st;

		if (s.layers[i] == 0)
			continue;
		r = search_dir(&s, s.layers[i], &e, &lname);
		if (r < 0)
			return r;
		r = fdcache_dir(e)->layer->ops->stat(fdcache_dir(e), lname, &st);
		if (r == 0 && layer_is_whiteout(&st)) {
			fdcache_put(u, e);
			return 0;
		}
		if (r == 0 && s.lflags[i] & DSTACK_XWHITEOUTS && S_ISREG(st.stx_mode)) {
			r = ovl_is_xwhiteout(u, fdcache_dir(e), lname);
			if (r == 1) {
				fdcache_put(u, e);
				return 0;
			}
		}
		fdcache_put(u, e);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		r = aufs_hidden(&s, asked, i);
		return r < 0 ? r : !r;
	}
	set_absent(u, dir, name);
	return 0;
}
