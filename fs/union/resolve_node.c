/* SPDX-License-Identifier: Apache-2.0 */
/* From what a name was found to be to the node that stands for it. */
#include <errno.h>

#include "fs/union/attr.h"
#include "fs/union/resolve.h"

/*
 * Whether @n, which has the name now, is what @r found under it without the
 * lock. A copy-up may have come between, or be half done: its name is there
 * before the node knows. With the lock.
 */
static bool same_file(const struct node *n, const struct resolved *r)
{
	if ((n->mode & S_IFMT) != (r->st.stx_mode & S_IFMT))
		return false;
	if (r->upper_ino && node_upper_ino(n))
		return r->upper_ino == node_upper_ino(n);
	if (node_upper_ino(n) || (r->upper_ino && node_has(n, NODE_BUSY)))
		return true;
	if (r->lower_ino && n->lower_ino)
		return r->lower_ino == n->lower_ino &&
		       (S_ISDIR(n->mode) || !r->layer || r->layer == n->layer);
	return false;
}

static int set_stack(struct union_fs *u, struct node *n, const struct resolved *r)
{
	struct dstack *s;
	uint32_t ref;
	unsigned i;

	if (!r->n)
		return 0;
	ref = slab_alloc(u->slab, sizeof(*s) + r->n * sizeof(s->e[0]));
	if (!ref)
		return -ENOMEM;
	s = slab_ptr(u->slab, ref);
	s->n = (uint16_t)r->n;
	for (i = 0; i < r->n; i++) {
		s->e[i].layer = r->e[i].layer;
		s->e[i].flags = r->e[i].flags;
		if (r->e[i].path) {
			s->e[i].path = str_new(u, r->e[i].path);
			if (!s->e[i].path) {
				stack_free(u, ref);
				return -ENOMEM;
			}
		}
	}
	n->stack = ref;
	return 0;
}

static int set_index(struct union_fs *u, struct node *n, const struct resolved *r)
{
	struct node_ext *x;

	if (!r->index[0] || node_has(n, NODE_INDEXED))
		return 0;
	x = node_ext(u, n);
	if (!x)
		return -ENOMEM;
	x->index = str_new(u, r->index);
	if (!x->index)
		return -ENOMEM;
	x->lower_nlink = r->lower_nlink;
	node_set(n, NODE_INDEXED);
	return 0;
}

/* A node for @r, held. With the lock. */
static struct node *make_node(struct union_fs *u, const struct resolved *r)
{
	struct node *n = node_new(u, r->st.stx_mode);

	if (!n)
		return NULL;
	n->ino = r->ino;
	node_set_upper_ino(n, r->upper_ino);
	n->lower_ino = r->lower_ino;
	n->layer = (uint16_t)r->layer;
	n->nlink_adj = (int16_t)-r->nlink_lost;
	if (r->upper)
		node_set(n, NODE_UPPER);
	if (set_stack(u, n, r) < 0 || set_index(u, n, r) < 0 ||
	    metacopy_set(u, n, &r->data) < 0) {
		node_drop(u, n);
		return NULL;
	}
	return n;
}

/* The node of @r by its name, by its identity, or a new one: held. With the lock. */
static struct node *find_or_make(struct union_fs *u, struct node *dir, const char *name,
				 const struct resolved *r)
{
	struct dent *d = dent_find(u, dir, name);
	struct node *n = NULL;
	bool shared;

	if (d) {
		n = node_at(u, d->node);
		if (same_file(n, r)) {
			node_hold(n);
			return n;
		}
		/* a lower that lives has changed */
		dent_del(u, d);
		n = NULL;
	}
	shared = !S_ISDIR(r->st.stx_mode) && (r->st.stx_nlink > 1 || r->index[0]);
	if (shared && r->upper_ino)
		n = node_find_id(u, 0, r->upper_ino);
	if (shared && !n && r->lower_ino)
		n = node_find_id(u, r->layer, r->lower_ino);
	if (n && (n->mode & S_IFMT) == (r->st.stx_mode & S_IFMT)) {
		node_hold(n);
	} else {
		n = make_node(u, r);
		if (!n)
			return NULL;
	}
	if (dent_add(u, dir, name, n) < 0) {
		node_drop(u, n);
		return NULL;
	}
	if (shared) {
		if (r->lower_ino && !n->lower_ino) {
			n->lower_ino = r->lower_ino;
			n->layer = (uint16_t)r->layer;
		}
		node_add_id(u, n, false);
		node_add_id(u, n, true);
	}
	return n;
}

int resolve_node(struct union_fs *u, struct node *dir, const char *name, struct resolved *r,
		 struct union_entry *ret)
{
	bool plain;
	struct node *n;
	int err;

	table_lock(u);
	n = find_or_make(u, dir, name, r);
	if (!n) {
		table_unlock(u);
		return -ENOMEM;
	}
	n->nlookup++;
	ret->nodeid = node_id(u, n);
	plain = !!node_has(n, NODE_UPPER) == r->upper && !node_has(n, NODE_INDEXED) &&
		!n->nlink_adj;
	if (plain) {
		ret->st = r->st;
		if (r->st.stx_mode & (S_ISUID | S_ISGID))
			node_set(n, NODE_SETID);
		attr_to_view(u, n, &ret->st);
		n->refs--;
		table_unlock(u);
		return 0;
	}
	table_unlock(u);
	err = attr_get(u, n, &ret->st);
	table_lock(u);
	if (err < 0) {
		n->nlookup--;
		ret->nodeid = 0;
	}
	node_drop(u, n);
	table_unlock(u);
	return err;
}

/* A node for a file with one name in a lower, without a reference. With the lock. */
static struct node *make_plain(struct union_fs *u, struct node *dir, const char *name,
			       unsigned layer, const struct statx *st)
{
	struct node *n = node_new(u, st->stx_mode);

	if (!n)
		return NULL;
	n->ino = resolve_ino(u, u->lower[layer - 1], st);
	n->lower_ino = st->stx_ino;
	n->layer = (uint16_t)layer;
	if (dent_add(u, dir, name, n) < 0) {
		node_drop(u, n);
		return NULL;
	}
	n->refs--;
	return n;
}

int resolve_plain(struct union_fs *u, struct node *dir, const char *name, unsigned layer,
		  const struct statx *st, bool count, struct union_entry *ret)
{
	struct dent *d;
	struct node *n;
	int r = 0;

	table_lock(u);
	d = dent_find(u, dir, name);
	n = d ? node_at(u, d->node) : NULL;
	if (n && (node_has(n, NODE_UPPER | NODE_BUSY | NODE_INDEXED) || n->nlink_adj ||
		  n->layer != layer || n->lower_ino != st->stx_ino)) {
		r = 1;
		goto out;
	}
	if (!n) {
		/* the lookup count, which comes now, keeps it */
		n = make_plain(u, dir, name, layer, st);
		if (!n) {
			r = -ENOMEM;
			goto out;
		}
	}
	if (st->stx_mode & (S_ISUID | S_ISGID))
		node_set(n, NODE_SETID);
	ret->st = *st;
	attr_to_view(u, n, &ret->st);
	ret->nodeid = 0;
	if (count) {
		n->nlookup++;
		ret->nodeid = node_id(u, n);
	} else {
		node_hold(n);
		node_drop(u, n);
	}
out:
	table_unlock(u);
	return r;
}
