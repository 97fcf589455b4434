/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing names: unlink, rmdir, and what a rename puts itself over.
 *
 * A name that a lower layer has is replaced by a whiteout in one step; nothing
 * is copied up for that. A file that loses its last name while the kernel
 * knows it stays readable and writable: in a lower by its path, which is
 * written down; in the upper by a descriptor, or, past the budget of those, by
 * a name in the workdir.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/union/attr.h"
#include "fs/union/copyup.h"
#include "fs/union/dirmerge.h"
#include "fs/union/names.h"
#include "fs/union/nlink.h"
#include "fs/union/ovl.h"
#include "fs/union/resolve.h"
#include "fs/union/work.h"
#include "lib/sys.h"

int name_node(struct union_fs *u, const struct parent *p, const char *name, struct node **ret)
{
	struct union_entry e;
	struct dent *d;
	struct node *n = NULL;
	int r;

	table_lock(u);
	d = dent_find(u, p->n, name);
	if (d) {
		n = node_at(u, d->node);
		node_hold(n);
	}
	table_unlock(u);
	if (!n) {
		r = union_lookup(u, node_id(u, p->n), name, &e);
		if (r < 0)
			return r;
		if (!e.nodeid)
			return -ENOENT;
		table_lock(u);
		n = node_get(u, e.nodeid);
		node_hold(n);
		table_unlock(u);
		union_forget(u, e.nodeid, 1);
	}
	*ret = n;
	return 0;
}

void counting_begin(struct union_fs *u, struct node *a, struct node *b, struct counting *ret)
{
	unsigned i;

	if (a == b)
		b = NULL;
	/* in one order, whoever comes: two such must not wait for each other */
	ret->n[0] = b && (!a || node_slot(u, b) < node_slot(u, a)) ? b : a;
	ret->n[1] = ret->n[0] == a ? b : a;
	table_lock(u);
	for (i = 0; i < 2; i++) {
		struct node *n = ret->n[i];

		if (n && !node_is_dir(n) &&
		    node_has(n, NODE_IN_IDS_LOWER | NODE_IN_IDS_UPPER | NODE_INDEXED))
			node_lock(u, n);
		else
			ret->n[i] = NULL;
	}
	table_unlock(u);
}

void counting_end(struct union_fs *u, struct counting *c)
{
	unsigned i;

	table_lock(u);
	for (i = 0; i < 2; i++)
		if (c->n[i])
			node_unlock(u, c->n[i]);
	table_unlock(u);
}

/* Keeps the upper file or directory at @dirfd/@name by a descriptor, while there are any. */
static int pin(struct union_fs *u, struct removal *rm, int dirfd, const char *name)
{
	struct node_ext *x;
	int fd;

	if (u->pins >= u->pin_max)
		return -EMFILE;
	fd = sys_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	table_lock(u);
	x = node_ext(u, rm->n);
	if (x && x->pin < 0) {
		x->pin = fd;
		u->pins++;
		rm->pinned = true;
		fd = -1;
	}
	table_unlock(u);
	sys_close(fd);
	return x ? 0 : -ENOMEM;
}

/* The same for a lower file that could not be found again by its path. */
static int pin_lower(struct union_fs *u, struct removal *rm)
{
	struct place at;
	int r = locate(u, rm->n, &at);

	if (r < 0)
		return r;
	r = at.name[0] ? pin(u, rm, fdcache_fd(at.dir), at.name) : 0;
	place_put(u, &at);
	/* past the budget it is lost to whoever has it open */
	return r == -EMFILE ? 0 : r;
}

static void unpin(struct union_fs *u, struct node *n)
{
	struct node_ext *x;

	table_lock(u);
	x = node_ext_peek(u, n);
	if (x && x->pin >= 0) {
		fdcache_reap_later(u, x->pin, NULL);
		x->pin = -1;
	}
	table_unlock(u);
}

/* An indexed file is to lose a name: whether it is the last. */
static int begin_indexed(struct union_fs *u, struct removal *rm)
{
	struct place at;
	long names = 0;
	int r, fd;

	r = locate(u, rm->n, &at);
	if (r < 0)
		return r;
	fd = *at.name ? sys_openat(fdcache_fd(at.dir), at.name, O_PATH | O_NOFOLLOW, 0) :
			sys_dup(fdcache_fd(at.dir));
	r = fd < 0 ? fd : attr_add_nlink(u, rm->n, &at, fd, 0, &names);
	rm->drop_index = !r && names <= 1;
	sys_close(fd);
	place_put(u, &at);
	return r;
}

/* The name of its index entry. */
static void index_name(struct union_fs *u, struct node *n, char ret[OVL_INDEX_NAME_MAX])
{
	table_lock(u);
	(void)snprintf(ret, OVL_INDEX_NAME_MAX, "%s", str_at(u, node_ext_peek(u, n)->index));
	table_unlock(u);
}

/* Its only link left is the index's, or in the upper this name. */
static int keep_indexed(struct union_fs *u, struct removal *rm)
{
	char name[OVL_INDEX_NAME_MAX];
	int r;

	index_name(u, rm->n, name);
	r = pin(u, rm, u->index, name);
	/* past the budget of descriptors the entry stays, until the next mount */
	if (r == -EMFILE) {
		rm->drop_index = false;
		r = 0;
	}
	return r;
}

/* An indexed file has lost a name that only the lower had. */
static int count_indexed(struct union_fs *u, struct node *n)
{
	struct place at;
	int r = locate(u, n, &at), fd;

	if (r < 0)
		return r;
	fd = *at.name ? sys_openat(fdcache_fd(at.dir), at.name, O_PATH | O_NOFOLLOW, 0) :
			sys_dup(fdcache_fd(at.dir));
	r = fd < 0 ? fd : attr_add_nlink(u, n, &at, fd, -1, NULL);
	sys_close(fd);
	place_put(u, &at);
	return r;
}

/* A file that is in a lower only is to lose a name: where that is to be recorded. */
static int prepare_record(struct union_fs *u, struct removal *rm)
{
	struct place at;
	int r;

	if (rm->gone)
		return 0;
	r = locate(u, rm->n, &at);
	if (r < 0)
		return r;
	r = nlink_record_name(u, &at, rm->record);
	place_put(u, &at);
	if (r != 1)
		rm->record[0] = 0;
	return r < 0 ? r : 0;
}

int removal_count(struct union_fs *u, struct removal *rm)
{
	int lost, r = 0;

	if (rm->in_upper || rm->dir)
		return 0;
	if (node_has(rm->n, NODE_INDEXED))
		return rm->drop_index ? 0 : count_indexed(u, rm->n);
	if (node_has(rm->n, NODE_UPPER))
		return 0;
	table_lock(u);
	lost = rm->n->nlink_adj > INT16_MIN ? 1 - rm->n->nlink_adj : -rm->n->nlink_adj;
	table_unlock(u);
	if (rm->record[0])
		r = nlink_record(u, rm->record, lost);
	if (!r) {
		table_lock(u);
		rm->n->nlink_adj = (int16_t)-lost;
		table_unlock(u);
	}
	return r;
}

int removal_begin(struct union_fs *u, const struct parent *p, const char *name, struct node *n,
		  struct removal *ret)
{
	struct statx st;
	bool lowers, one_name;
	int r;

	*ret = (struct removal){ .n = n, .dir = node_is_dir(n) };
	r = sys_statx(parent_fd(p), name, AT_SYMLINK_NOFOLLOW, &st);
	if (r < 0 && r != -ENOENT)
		return r;
	ret->in_upper = r == 0 && !layer_is_whiteout(&st);
	table_lock(u);
	lowers = p->n->stack != 0;
	one_name = n->dents && !dent_at(u, n->dents)->sibling;
	table_unlock(u);
	r = lowers ? resolve_lower_has(u, p->n, name) : 0;
	if (r < 0)
		return r;
	ret->whiteout = r;
	if (!ret->in_upper && !ret->whiteout)
		return -ENOENT;
	if (node_has(n, NODE_INDEXED)) {
		r = begin_indexed(u, ret);
		ret->gone = ret->drop_index;
		if (!r && ret->drop_index)
			r = keep_indexed(u, ret);
		if (r < 0)
			removal_undo(u, p, name, ret);
		return r;
	}
	if (!ret->in_upper) {
		ret->gone = ret->dir || (node_has(n, NODE_UPPER) && one_name);
		if (!ret->gone && !node_has(n, NODE_UPPER)) {
			struct statx view;

			r = attr_get(u, n, &view);
			if (r < 0)
				return r;
			ret->gone = view.stx_nlink <= 1;
		}
		r = one_name || ret->dir ? locate_detach(u, n) : 0;
		/* too deep to write its path down */
		if (r == -ENAMETOOLONG)
			r = ret->dir ? 0 : pin_lower(u, ret);
		if (!r && !ret->dir && !node_has(n, NODE_UPPER)) {
			r = prepare_record(u, ret);
			if (r < 0)
				removal_undo(u, p, name, ret);
		}
		return r;
	}
	ret->gone = ret->dir || st.stx_nlink <= 1;
	ret->last = ret->gone || one_name;
	if (ret->dir) {
		r = locate_detach(u, n);
		if (r < 0 && r != -ENAMETOOLONG)
			return r;
	}
	if (!ret->last)
		return 0;
	if (ret->gone && u->origins >= 0) {
		r = sidecar_key(u, fdcache_dir(p->dir), name, &st, &ret->sidecar);
		if (r < 0)
			return r;
	}
	r = pin(u, ret, parent_fd(p), name);
	return r == -EMFILE ? 0 : r;
}

/* Moves the file aside to be found in the workdir; a whiteout takes its place if needed. */
static int move_aside(struct union_fs *u, const struct parent *p, const char *name,
		      struct removal *rm)
{
	char tmp[WORK_NAME_MAX];
	struct node_ext *x;
	uint32_t ref;
	int r = 0;

	work_name(u, tmp);
	if (rm->whiteout)
		r = work_whiteout(u, u->work, tmp);
	if (r < 0)
		return r;
	table_lock(u);
	x = node_ext(u, rm->n);
	ref = x ? str_new(u, tmp) : 0;
	table_unlock(u);
	r = !ref ? -ENOMEM :
		   sys_renameat2(parent_fd(p), name, u->work, tmp,
				 rm->whiteout ? RENAME_EXCHANGE : 0);
	table_lock(u);
	if (r < 0)
		slab_release(u->slab, ref);
	else
		x->orphan = ref;
	rm->aside = r >= 0;
	table_unlock(u);
	if (r < 0 && rm->whiteout)
		(void)sys_unlinkat(u->work, tmp, 0);
	return r;
}

static int remove_dir(struct union_fs *u, const struct parent *p, const char *name)
{
	char tmp[WORK_NAME_MAX];
	int r = sys_unlinkat(parent_fd(p), name, AT_REMOVEDIR);

	if (r != -ENOTEMPTY && r != -EEXIST)
		return r;
	/* whiteouts are left in it */
	work_name(u, tmp);
	r = sys_renameat2(parent_fd(p), name, u->work, tmp, 0);
	if (!r)
		(void)work_remove_tree(u->work, tmp);
	return r;
}

bool removal_needs_aside(struct union_fs *u, const struct removal *rm)
{
	struct node_ext *x;
	bool pinned;

	table_lock(u);
	x = node_ext_peek(u, rm->n);
	pinned = x && x->pin >= 0;
	table_unlock(u);
	return rm->in_upper && rm->last && !rm->dir && !pinned;
}

/* Undoes move_aside(). */
static void move_back(struct union_fs *u, const struct parent *p, const char *name,
		      struct removal *rm)
{
	char tmp[WORK_NAME_MAX];
	struct node_ext *x;

	table_lock(u);
	x = node_ext_peek(u, rm->n);
	(void)snprintf(tmp, sizeof(tmp), "%s", str_at(u, x->orphan));
	table_unlock(u);
	if (sys_renameat2(u->work, tmp, parent_fd(p), name,
			  rm->whiteout ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0)
		return;
	if (rm->whiteout)
		(void)sys_unlinkat(u->work, tmp, 0);
	table_lock(u);
	slab_release(u->slab, x->orphan);
	x->orphan = 0;
	table_unlock(u);
}

int removal_do(struct union_fs *u, const struct parent *p, const char *name, struct removal *rm)
{
	int r;

	if (!rm->in_upper) {
		r = work_whiteout(u, parent_fd(p), name);
		if (!r) {
			r = removal_count(u, rm);
			if (r < 0)
				work_unwhiteout(u, parent_fd(p), name);
		}
	} else if (removal_needs_aside(u, rm))
		r = move_aside(u, p, name, rm);
	else if (rm->whiteout)
		r = work_whiteout_over(u, parent_fd(p), name, rm->dir);
	else if (rm->dir)
		r = remove_dir(u, p, name);
	else
		r = sys_unlinkat(parent_fd(p), name, 0);
	return r;
}

void removal_undo(struct union_fs *u, const struct parent *p, const char *name, struct removal *rm)
{
	if (rm->aside)
		move_back(u, p, name, rm);
	if (rm->pinned)
		unpin(u, rm->n);
	rm->aside = rm->pinned = false;
}

void removal_end(struct union_fs *u, const struct parent *p, const char *name,
		 struct removal *rm)
{
	char index[OVL_INDEX_NAME_MAX];
	struct node *n = rm->n;
	struct dent *d;

	if (rm->drop_index) {
		index_name(u, n, index);
		(void)sys_unlinkat(u->index, index, 0);
	}
	sidecar_remove(u, &rm->sidecar);
	table_lock(u);
	d = dent_find(u, p->n, name);
	if (d)
		dent_del(u, d);
	if (!rm->gone)
		node_clear(n, NODE_GONE);
	if (node_has(n, NODE_GONE)) {
		/* no name will lead to it any more */
		node_del_id(u, n, true);
		node_del_id(u, n, false);
	}
	table_unlock(u);
	dircache_removed(u, node_slot(u, p->n), name);
	if (rm->dir)
		dircache_drop(u, node_slot(u, n));
}

static int remove_name(struct union_fs *u, uint64_t parent, const char *name, bool dir)
{
	struct counting c;
	struct removal rm;
	struct parent p;
	struct node *n;
	int r;

	r = parent_begin(u, parent, name, &p);
	if (r < 0)
		return r == -EINVAL ? -ENOENT : r;
	r = name_node(u, &p, name, &n);
	if (r < 0) {
		parent_end(u, &p);
		return r;
	}
	if (dir && !node_is_dir(n))
		r = -ENOTDIR;
	else if (!dir && node_is_dir(n))
		r = -EISDIR;
	else if (dir)
		r = dir_is_empty(u, n);
	if (!r) {
		counting_begin(u, n, NULL, &c);
		ns_lock(u, p.n, NULL);
		r = removal_begin(u, &p, name, n, &rm);
		if (!r) {
			r = removal_do(u, &p, name, &rm);
			if (r < 0)
				removal_undo(u, &p, name, &rm);
			else
				removal_end(u, &p, name, &rm);
		}
		ns_unlock(u, p.n, NULL);
		counting_end(u, &c);
	}
	table_lock(u);
	node_drop(u, n);
	table_unlock(u);
	parent_end(u, &p);
	return r;
}

int union_unlink(struct union_fs *u, uint64_t parent, const char *name)
{
	return remove_name(u, parent, name, false);
}

int union_rmdir(struct union_fs *u, uint64_t parent, const char *name)
{
	return remove_name(u, parent, name, true);
}
