/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merged listings.
 *
 * Theory of operation. Nobody tells us when a listing ends, so nothing may
 * depend on state that a listing keeps. A cookie is therefore a function of
 * the name alone: a hash of it, keyed for the life of the mount, with the rank
 * among names of equal hash in its low bits. Entries come in cookie order. The
 * table of a directory (all visible names, sorted) is a cache: it can be
 * dropped at any moment and built again, and a listing that goes on with the
 * new one neither repeats nor skips a name that stayed.
 *
 * A table also remembers in which layer each name was found first, and whether
 * any layer below has that name too, which spares the lookups that fill in
 * attributes most of their questions. It is a hint that a copy-up makes wrong;
 * dircache_copied_up() mends it, and a change during the building of a table
 * makes it one for this call only.
 *
 * dirbuild.c makes tables, dircache.c keeps them; here they are listed.
 */
#include "fs/union/dirtab.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "fs/union/attr.h"
#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/resolve.h"
#include "lib/sys.h"

#define COOKIE_DOT 1
#define COOKIE_DOTDOT 2

static int emit_dots(struct union_fs *u, struct node *n, uint64_t cookie, union_dirent_fn fn,
		     void *arg)
{
	struct union_entry e = { 0 };
	struct dent *d;
	int r;

	e.st.stx_mode = S_IFDIR;
	if (cookie < COOKIE_DOT) {
		e.st.stx_ino = n->ino;
		r = fn(arg, ".", COOKIE_DOT, &e);
		if (r)
			return r;
	}
	if (cookie < COOKIE_DOTDOT) {
		table_lock(u);
		d = dent_at(u, n->dents);
		e.st.stx_ino = d ? node_at(u, d->parent)->ino : n->ino;
		table_unlock(u);
		return fn(arg, "..", COOKIE_DOTDOT, &e);
	}
	return 0;
}

/* Directories of layers that a listing has in use. */
#define LISTING_DIRS 8

struct listing {
	struct union_fs *u;
	struct node *n;
	bool plus;
	unsigned ndirs, victim;
	struct {
		unsigned layer;
		struct fdent *e; /* pinned */
	} dir[LISTING_DIRS];
};

static int listing_dir(struct listing *l, unsigned layer, const struct layer_dir **ret)
{
	unsigned i;
	int r;

	for (i = 0; i < l->ndirs && l->dir[i].layer != layer; i++)
		;
	if (i == l->ndirs) {
		struct fdent *e;

		r = locate_dir(l->u, l->n, layer, &e);
		if (r < 0)
			return r;
		if (i == LISTING_DIRS) {
			i = l->victim++ % LISTING_DIRS;
			fdcache_put(l->u, l->dir[i].e);
		} else {
			l->ndirs++;
		}
		l->dir[i].layer = layer;
		l->dir[i].e = e;
	}
	*ret = fdcache_dir(l->dir[i].e);
	return 0;
}

static void listing_release(struct listing *l)
{
	while (l->ndirs)
		fdcache_put(l->u, l->dir[--l->ndirs].e);
}

/*
 * Fills in a file of a lower, of which only its attributes are to be asked. 1
 * where it is not so simple.
 */
static int fill_plain(struct listing *l, const struct dirtab_ent *te, const char *name,
		      struct union_entry *e)
{
	const struct layer_dir *d;
	unsigned layer = te->layer;
	struct statx st;
	int r;

	if (!layer || layer > l->u->nlower || l->u->cfg.lower_live || te->type == DT_DIR ||
	    te->type == DT_UNKNOWN)
		return 1;
	if (l->u->lower[layer - 1]->override_attr)
		return 1;
	r = listing_dir(l, layer, &d);
	if (!r)
		r = d->layer->ops->stat(d, name, &st);
	if (r < 0 || S_ISDIR(st.stx_mode) || st.stx_nlink > 1 || layer_is_whiteout(&st))
		return 1;
	/* a hole from end to end: its data may be further below */
	if (S_ISREG(st.stx_mode) && st.stx_size && !st.stx_blocks)
		return 1;
	return resolve_plain(l->u, l->n, name, layer, &st, l->plus, e);
}

/* The attributes of a name that is known. 1 where it is not. */
static int fill_known(struct listing *l, const char *name, struct union_entry *e)
{
	struct union_fs *u = l->u;
	struct node *n;
	struct dent *d;
	int r;

	if (u->cfg.lower_live)
		return 1;
	table_lock(u);
	d = dent_find(u, l->n, name);
	n = d ? node_at(u, d->node) : NULL;
	if (n)
		node_hold(n);
	table_unlock(u);
	if (!n)
		return 1;
	r = attr_get(u, n, &e->st);
	table_lock(u);
	if (!r && l->plus) {
		n->nlookup++;
		e->nodeid = node_id(u, n);
	}
	node_drop(u, n);
	table_unlock(u);
	return r;
}

/* Looks up one entry of a table. -ENOENT: it is not there (any more). */
static int fill_entry(struct listing *l, const struct dirtab *t, const struct dirtab_ent *te,
		      struct union_entry *e)
{
	struct resolve_hint hint = {
		.layer = te->layer,
		.only = te->flags & DIRTAB_ONLY,
		.no_aufs = !t->aufs,
	};
	const char *name = dirtab_name(t, te);
	struct resolved res;
	int r;

	e->nodeid = 0;
	r = fill_plain(l, te, name, e);
	if (r <= 0)
		return r;
	r = fill_known(l, name, e);
	if (r <= 0)
		return r;
	r = resolve(l->u, l->n, name, hint, &res);
	if (r == -ENOENT) {
		/* the hint is old, or the name is gone */
		hint = (struct resolve_hint){ .layer = MAX_LAYERS };
		r = resolve(l->u, l->n, name, hint, &res);
	}
	if (r < 0)
		return r;
	if (l->plus) {
		r = resolve_node(l->u, l->n, name, &res, e);
	} else {
		e->st = res.st;
		e->st.stx_ino = res.ino;
	}
	resolve_release(&res);
	return r;
}

/*
 * fill_entry() in a directory that its owner has shut: what he may list natively is
 * the names with their inode numbers. @loan: begun with the first such entry.
 */
static int fill_shut(struct listing *l, const struct dirtab *t, const struct dirtab_ent *te,
		     struct loan *loan, struct union_entry *e)
{
	struct fdent *dir;
	int r;

	if (loan->n || !node_has(l->n, NODE_UPPER))
		return -EACCES;
	r = locate_dir(l->u, l->n, 0, &dir);
	if (r < 0)
		return r;
	r = lend_begin(l->u, l->n, fdcache_fd(dir), loan);
	fdcache_put(l->u, dir);
	return r < 0 ? r : fill_entry(l, t, te, e);
}

int union_readdir(struct union_fs *u, uint64_t nodeid, uint64_t cookie, bool plus,
		  union_dirent_fn fn, void *arg)
{
	struct listing l = { .u = u, .plus = plus };
	struct loan loan = { 0 };
	struct union_entry e;
	struct dirtab *t;
	struct node *n;
	size_t i;
	int r;

	table_lock(u);
	n = node_get(u, nodeid);
	table_unlock(u);
	if (!n)
		return -ESTALE;
	if (!node_is_dir(n))
		return -ENOTDIR;
	if (cookie < COOKIE_DOTDOT) {
		r = emit_dots(u, n, cookie, fn, arg);
		if (r)
			return r < 0 ? r : 0;
	}
	r = dirtab_get(u, n, u->cfg.lower_live && cookie <= COOKIE_DOTDOT, &t);
	if (r < 0)
		return r;
	l.n = n;
	i = dirtab_after(t, cookie <= COOKIE_DOTDOT ? COOKIE_DOTDOT : cookie);
	for (r = 0; i < t->n && !r; i++) {
		const struct dirtab_ent *te = &t->e[i];
		const char *name = dirtab_name(t, te);

		if (te->flags & DIRTAB_HIDDEN)
			continue;
		r = fill_entry(&l, t, te, &e);
		if (r == -EACCES)
			r = fill_shut(&l, t, te, &loan, &e);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0) {
			/* listed all the same: a lookup tells what is wrong with it */
			memset(&e, 0, sizeof(e));
			e.st.stx_mode = (uint16_t)DTTOIF(te->type);
			e.st.stx_ino = te->cookie; /* libraries skip entries with none */
		}
		r = fn(arg, name, te->cookie, &e);
		if (r && e.nodeid)
			union_forget(u, e.nodeid, 1);
	}
	lend_end(&loan);
	listing_release(&l);
	dirtab_put(u, t);
	return r < 0 ? r : 0;
}

int dir_is_empty(struct union_fs *u, struct node *n)
{
	struct dirtab *t;
	int r = 0;
	size_t i;

	r = dirtab_get(u, n, false, &t);
	if (r < 0)
		return r;
	for (i = 0; i < t->n && !r; i++)
		if (!(t->e[i].flags & DIRTAB_HIDDEN))
			r = t->err ? t->err : -ENOTEMPTY;
	dirtab_put(u, t);
	return r;
}

int dir_each(struct union_fs *u, struct node *n, dir_each_fn fn, void *arg)
{
	struct dirtab *t;
	int r = dirtab_get(u, n, false, &t);
	size_t i;

	if (r < 0)
		return r;
	for (i = 0; i < t->n && !r; i++)
		if (!(t->e[i].flags & DIRTAB_HIDDEN))
			r = fn(arg, dirtab_name(t, &t->e[i]), t->e[i].cookie, t->e[i].type);
	dirtab_put(u, t);
	return r;
}
