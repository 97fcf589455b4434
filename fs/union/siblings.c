/* SPDX-License-Identifier: Apache-2.0 */
/* What prefetching asks of the union: which files, what was asked of them, their content. */
#include <dirent.h>
#include <errno.h>

#include "fs/union/dirmerge.h"
#include "fs/union/locate.h"
#include "fs/union/use.h"
#include "lib/sys.h"

_Static_assert(NODE_SEEN == UNION_MARK_SEEN << 9 && NODE_GATE == UNION_MARK_GATE << 9,
	       "marks are shifted into a node's flags");

static bool is_lower_file(const struct node *n)
{
	return S_ISREG(n->mode) && !(n->flags & (NODE_UPPER | NODE_GONE)) && n->layer;
}

unsigned union_mark(struct union_fs *u, uint64_t nodeid, unsigned marks, uint64_t *ret_dir)
{
	unsigned old = 0;
	struct node *n;
	struct dent *d;

	if (ret_dir)
		*ret_dir = 0;
	table_lock(u);
	n = node_get(u, nodeid);
	if (n) {
		old = (n->flags & (NODE_SEEN | NODE_GATE)) >> 9;
		n->flags |= (uint16_t)(marks << 9);
		d = dent_at(u, n->dents);
		if (ret_dir && d && is_lower_file(n))
			*ret_dir = node_id(u, node_at(u, d->parent));
	}
	table_unlock(u);
	return old;
}

bool union_claim(struct union_fs *u, uint64_t nodeid)
{
	struct node *n;
	bool ok;

	/* not table_unlock(): that closes descriptors, which are another table's here */
	(void)pthread_mutex_lock(&u->lock);
	n = node_get(u, nodeid);
	ok = n && n->nlookup && is_lower_file(n) && !(n->flags & NODE_SEEN);
	if (ok)
		n->flags |= NODE_SEEN;
	(void)pthread_mutex_unlock(&u->lock);
	return ok;
}

struct sibling_list {
	struct union_fs *u;
	struct node *dir;
	union_sibling_fn fn;
	void *arg;
};

static int sibling(void *arg, const char *name, uint64_t cookie, uint8_t type)
{
	struct sibling_list *l = arg;
	struct union_sibling s = { .cookie = cookie, .name = name };
	struct node *n;
	struct dent *d;

	if (type != DT_REG && type != DT_UNKNOWN)
		return 0;
	table_lock(l->u);
	d = dent_find(l->u, l->dir, name);
	n = d ? node_at(l->u, d->node) : NULL;
	if (n && n->nlookup && is_lower_file(n)) {
		s.nodeid = node_id(l->u, n);
		s.ino = n->ino;
		s.seen = n->flags & NODE_SEEN;
	}
	table_unlock(l->u);
	return s.nodeid ? l->fn(l->arg, &s) : 0;
}

int union_siblings(struct union_fs *u, uint64_t dir, union_sibling_fn fn, void *arg)
{
	struct sibling_list l = { .u = u, .fn = fn, .arg = arg };
	int r;

	l.dir = use_node(u, dir);
	if (!l.dir)
		return -ESTALE;
	r = node_is_dir(l.dir) ? dir_each(u, l.dir, sibling, &l) : -ENOTDIR;
	unuse_node(u, l.dir);
	return r;
}

/* Reads exactly what fstat promises. */
static ssize_t read_whole(const struct layer_dir *f, void *buf, size_t size, size_t max)
{
	const struct layer_ops *ops = f->layer->ops;
	struct statx st;
	size_t done = 0;
	ssize_t n;
	int r;

	r = ops->stat(f, "", &st);
	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode))
		return -EINVAL;
	if (st.stx_size > max)
		return -EFBIG;
	if (st.stx_size > size)
		return -ENOSPC;
	while (done < st.stx_size) {
		n = ops->file_read(f, (char *)buf + done, st.stx_size - done, (off_t)done, false);
		if (n <= 0)
			return n < 0 ? n : -EIO;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t union_read_lower(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, size_t max)
{
	struct node *n = use_node(u, nodeid);
	struct fdent *f;
	ssize_t r;

	if (!n)
		return -ESTALE;
	if (__atomic_load_n(&n->flags, __ATOMIC_RELAXED) & NODE_SEEN)
		r = -EALREADY;
	else
		r = S_ISREG(n->mode) ? locate_file(u, n, false, &f) : -EINVAL;
	if (!r) {
		/* data that is elsewhere may be longer than the file */
		if (fdcache_dir(f)->layer == u->upper || node_has(n, NODE_META))
			r = -ESTALE;
		else
			r = read_whole(fdcache_dir(f), buf, size, max);
		/* the kernel will hardly ask for it again */
		fdcache_drop_kind(u, node_slot(u, n), FD_FILE_LOWER);
		fdcache_put(u, f);
	}
	unuse_node(u, n);
	fdcache_reap(u);
	return r;
}
