/* SPDX-License-Identifier: Apache-2.0 */
/* Lookup, forget, getattr, readlink: what only reads the names. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer/blobcache.h"
#include "fs/union/attr.h"
#include "fs/union/dirmerge.h"
#include "fs/union/locate.h"
#include "fs/union/resolve.h"
#include "fs/union/use.h"
#include "lib/sys.h"

struct node *use_node(struct union_fs *u, uint64_t nodeid)
{
	struct node *n;

	table_lock(u);
	n = node_get(u, nodeid);
	if (n)
		node_hold(n);
	table_unlock(u);
	return n;
}

struct node *use_name(struct union_fs *u, struct node *n, char name[256])
{
	struct node *parent = NULL;
	struct dent *d;

	table_lock(u);
	d = dent_at(u, n->dents);
	if (d) {
		memcpy(name, d->name, d->len + 1U);
		parent = node_at(u, d->parent);
		node_hold(parent);
	}
	table_unlock(u);
	return parent;
}

void unuse_node(struct union_fs *u, struct node *n)
{
	table_lock(u);
	node_drop(u, n);
	table_unlock(u);
}

/* The attributes of a name that is known; 1 where it is not. */
static int lookup_known(struct union_fs *u, struct node *dir, const char *name,
			struct union_entry *ret)
{
	struct node *n = NULL;
	struct dent *d;
	int r;

	if (u->cfg.lower_live)
		return 1;
	table_lock(u);
	d = dent_find(u, dir, name);
	if (d) {
		n = node_at(u, d->node);
		node_hold(n);
	}
	table_unlock(u);
	if (!n)
		return 1;
	r = attr_get(u, n, &ret->st);
	table_lock(u);
	if (!r) {
		n->nlookup++;
		ret->nodeid = node_id(u, n);
	}
	node_drop(u, n);
	table_unlock(u);
	return r;
}

/* Lookups in a directory after which listing it is considered. */
#define PATIENCE 4U

/*
 * How many lookups are as much work as to list @dir, which costs some
 * microseconds per layer and a fraction of one per name; a lookup that it
 * spares costs half of one per layer. How many names there are is guessed from
 * the directories' sizes; what fits in a block is few.
 */
static uint64_t worth_listing(struct union_fs *u, struct node *dir)
{
	enum { BLOCK = 4096,
	       NAME = 40,
	       FEW = 10 };
	unsigned layer, n = 0;
	uint64_t names = FEW;

	for (layer = 0; layer <= u->nlower; layer++) {
		const struct layer_dir *d;
		struct fdent *e;
		struct statx st;
		bool has;

		table_lock(u);
		has = layer ? stack_entry(u, dir, layer) != NULL : node_has(dir, NODE_UPPER);
		table_unlock(u);
		if (!has || locate_dir(u, dir, layer, &e) < 0)
			continue;
		d = fdcache_dir(e);
		if (d->layer->ops->stat(d, "", &st) == 0 && st.stx_size > BLOCK)
			names += st.stx_size / NAME;
		fdcache_put(u, e);
		n++;
	}
	return n ? names / n + 2 : UINT64_MAX;
}

/*
 * Asks the directory's table, if there is one. One is made when a directory is
 * asked for many names: then to read it once is less work than a question to
 * every layer for each. It is considered after 4 lookups, 8, 16 and so on, and
 * once it is made, as many must come again before the next: where tables do not
 * last, few are made.
 */
static int lookup_listed(struct union_fs *u, struct node *dir, const char *name,
			 struct resolve_hint *hint)
{
	uint32_t slot = node_slot(u, dir);
	unsigned asked;
	bool consider;
	int r;

	if (u->cfg.lower_live || strlen(name) > 255)
		return -1;
	r = dircache_hint(u, slot, name, hint);
	if (r >= 0)
		return r;
	table_lock(u);
	asked = ++dir->asked;
	consider = asked >= PATIENCE << dir->patience;
	if (consider)
		dir->patience += dir->patience < 13;
	table_unlock(u);
	if (!consider || asked < worth_listing(u, dir))
		return -1;
	table_lock(u);
	dir->asked = 0;
	table_unlock(u);
	dircache_load(u, dir);
	return dircache_hint(u, slot, name, hint);
}

int union_lookup(struct union_fs *u, uint64_t parent, const char *name, struct union_entry *ret)
{
	struct resolve_hint hint = { .layer = MAX_LAYERS };
	struct resolved res;
	struct node *dir;
	int r;

	ret->nodeid = 0;
	dir = use_node(u, parent);
	if (!dir)
		return -ESTALE;
	r = node_is_dir(dir) ? lookup_known(u, dir, name, ret) : -ENOTDIR;
	if (r == 1 && lookup_listed(u, dir, name, &hint) == 0)
		r = 0; /* listed, and not in the list */
	if (r == 1) {
		r = resolve(u, dir, name, hint, &res);
		if (r == -ENOENT && hint.layer != MAX_LAYERS) {
			/* the table was made wrong meanwhile */
			hint = (struct resolve_hint){ .layer = MAX_LAYERS };
			r = resolve(u, dir, name, hint, &res);
		}
		if (!r) {
			r = resolve_node(u, dir, name, &res, ret);
			resolve_release(&res);
		} else if (r == -ENOENT) {
			r = 0; /* and the kernel may remember it */
		}
	}
	unuse_node(u, dir);
	return r;
}

bool union_name_is_slow(struct union_fs *u, uint64_t parent, const char *name)
{
	struct union_entry e = { 0 };
	struct node *dir, *n;
	struct dent *d;
	bool slow;

	table_lock(u);
	dir = node_get(u, parent);
	d = dir ? dent_find(u, dir, name) : NULL;
	n = d ? node_at(u, d->node) : NULL;
	/* most of what is renamed: nothing is to be copied for it */
	slow = !n || !node_has(n, NODE_UPPER);
	table_unlock(u);
	if (!slow || !dir || union_lookup(u, parent, name, &e) < 0 || !e.nodeid)
		return false;
	slow = union_change_is_slow(u, e.nodeid);
	union_forget(u, e.nodeid, 1);
	return slow;
}

void union_forget(struct union_fs *u, uint64_t nodeid, uint64_t count)
{
	struct node *n;

	table_lock(u);
	n = node_get(u, nodeid);
	if (n && nodeid != UNION_ROOT) {
		n->nlookup -= count < n->nlookup ? count : n->nlookup;
		node_hold(n);
		node_drop(u, n);
	}
	table_unlock(u);
}

int union_getattr(struct union_fs *u, uint64_t nodeid, struct statx *ret)
{
	struct node *n = use_node(u, nodeid);
	int r;

	if (!n)
		return -ESTALE;
	r = attr_get(u, n, ret);
	unuse_node(u, n);
	return r;
}

int union_readlink(struct union_fs *u, uint64_t nodeid, char **ret)
{
	struct node *n = use_node(u, nodeid);
	char buf[PATH_MAX + 1];
	struct place p;
	ssize_t len;
	int r;

	if (!n)
		return -ESTALE;
	r = locate(u, n, &p);
	if (!r) {
		const struct layer_dir *d = fdcache_dir(p.dir);

		len = d->layer->ops->readlink(d, p.name, buf, PATH_MAX);
		place_put(u, &p);
		r = len < 0 ? (int)len : 0;
		if (!r) {
			buf[len] = 0;
			*ret = sys_strdup(buf);
			r = *ret ? 0 : -ENOMEM;
		}
	}
	unuse_node(u, n);
	return r;
}

const char *union_path(struct union_fs *u, uint64_t nodeid)
{
	static __thread char buf[PATH_MAX];
	size_t at = sizeof(buf) - 1;
	struct node *n;

	buf[at] = 0;
	table_lock(u);
	n = node_get(u, nodeid);
	while (n && node_slot(u, n) != u->root) {
		struct dent *d = dent_at(u, n->dents);

		if (!d || at < d->len + 5U) {
			at -= 3;
			memcpy(buf + at, "...", 3);
			break;
		}
		at -= d->len;
		memcpy(buf + at, d->name, d->len);
		buf[--at] = '/';
		n = node_at(u, d->parent);
	}
	table_unlock(u);
	return buf[at] ? buf + at : "/";
}

void union_counts(struct union_fs *u, struct union_counts *ret)
{
	struct blobcache_counts c;

	table_lock(u);
	ret->nodes = u->nnodes;
	table_unlock(u);
	ret->fds = fdcache_count(u) + (unsigned)u->pins;
	ret->dir_tables = dircache_count(u);
	ret->copy_ups = u->copy_ups;
	ret->copied_bytes = u->copied_bytes;
	blobcache_counts(&c);
	ret->packed_cached = c.bytes;
	ret->packed_hits = c.hits;
	ret->packed_misses = c.misses;
	ret->packed_loaded = c.loaded;
}

int union_where(struct union_fs *u, uint64_t nodeid, unsigned *ret_layer, uint64_t *ret_ino)
{
	struct dstack *s;
	struct node *n;

	table_lock(u);
	n = node_get(u, nodeid);
	s = n ? stack_at(u, n) : NULL;
	if (n && node_has(n, NODE_UPPER)) {
		*ret_layer = 0;
		*ret_ino = n->upper_ino;
	} else if (n) {
		*ret_layer = s && s->n ? s->e[0].layer : n->layer;
		*ret_ino = n->lower_ino;
	}
	table_unlock(u);
	return n ? 0 : -ESTALE;
}
