/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-up.
 *
 * Theory of operation. A copy is made in the workdir, or without a name at
 * all, complete with owner, mode, attributes and times, made durable, and only
 * then given its name in the upper, by one link or rename: a crash leaves the
 * old state, or the new, and debris in the workdir that the next mount sweeps.
 *
 * Invariants:
 *  1. The node is NODE_BUSY from before its lower file is looked at until the
 *     upper one is in place: one copy at a time per file, and nothing else is
 *     held while data moves. A slow file delays nobody but itself.
 *  2. The name is given under the namespace lock of its directory, after
 *     checking that it is still the node's: unlink and rename take that lock.
 *  3. Directories come first, from the top down, one at a time.
 *  4. The node is switched to the upper (NODE_UPPER, upper_ino) after its name
 *     exists and before NODE_BUSY goes: who sees the flag finds the file.
 *  5. The parent's times are what they were: a copy-up is no change of it.
 *  6. A lower file with several names is copied into the index (the kernel's
 *     format) and linked from there, so that its other names find it.
 *  7. A copy without data (metacopy.c) gets it later in its place, since it has
 *     names by then. It is NODE_BUSY and marked on disk until it has all.
 */
#include "fs/union/copyup.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/union/attr.h"
#include "fs/union/copydata.h"
#include "fs/union/dirmerge.h"
#include "fs/union/lend.h"
#include "fs/union/metacopy.h"
#include "fs/union/nlink.h"
#include "fs/union/ovl.h"
#include "fs/union/sidecar.h"
#include "fs/union/use.h"
#include "fs/union/work.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/sys.h"

static unsigned stripe(struct union_fs *u, struct node *n)
{
	return node_slot(u, n) * 2654435761U >> 24;
}

void ns_lock(struct union_fs *u, struct node *a, struct node *b)
{
	unsigned x = stripe(u, a), y = b ? stripe(u, b) : x;

	_Static_assert(NS_STRIPES == 256, "stripe() yields eight bits");
	(void)pthread_mutex_lock(&u->ns[x < y ? x : y]);
	if (x != y)
		(void)pthread_mutex_lock(&u->ns[x < y ? y : x]);
}

void ns_unlock(struct union_fs *u, struct node *a, struct node *b)
{
	unsigned x = stripe(u, a), y = b ? stripe(u, b) : x;

	(void)pthread_mutex_unlock(&u->ns[x]);
	if (x != y)
		(void)pthread_mutex_unlock(&u->ns[y]);
}

/* A copy that has no name in the upper yet. */
struct copy {
	struct node *n;
	struct place src; /* the lower file */
	struct statx st; /* its attributes, overrides applied */
	struct ovl_origin origin;
	struct sidecar_key sidecar; /* the record of that, where the copy cannot carry it */
	bool indexed;
	bool cut; /* not all of the data was wanted */
	bool meta; /* none of it was */
	struct metacopy data; /* then: where it is; owned */
	char index[OVL_INDEX_NAME_MAX];
	int fd; /* the copy; owned */
	uint64_t ino; /* its inode */
	char tmp[WORK_NAME_MAX]; /* its name in the workdir, or "" */
};

static bool changed(const struct statx *a, const struct statx *b)
{
	return a->stx_size != b->stx_size || a->stx_mtime.tv_sec != b->stx_mtime.tv_sec ||
	       a->stx_mtime.tv_nsec != b->stx_mtime.tv_nsec ||
	       a->stx_ctime.tv_sec != b->stx_ctime.tv_sec ||
	       a->stx_ctime.tv_nsec != b->stx_ctime.tv_nsec;
}

/*
 * Copies the first @limit bytes of @n, which has @size, to @out; *ret_cut where
 * that is not all of it.
 */
static int copy_content(struct union_fs *u, struct node *n, int out, int64_t size, int64_t limit,
			bool *ret_cut)
{
	struct statx before, after;
	const struct layer_dir *d;
	struct fdent *in;
	int r;

	r = locate_file(u, n, false, &in);
	if (r < 0)
		return r;
	d = fdcache_dir(in);
	*ret_cut = limit < size;
	r = d->layer->ops->stat(d, "", &before);
	if (!r) {
		r = copy_data(u, d, out, *ret_cut ? limit : size);
		if (r == -EIO && d->fd < 0)
			log_unreadable(u, n, d, 0);
	}
	/* a metacopy has a length of its own, and had it before */
	if (!r && node_has(n, NODE_META))
		r = sys_ftruncate(out, *ret_cut ? limit : size);
	if (!r)
		r = d->layer->ops->stat(d, "", &after);
	/* only a lower that somebody changes, against the rules, gets here */
	if (!r && (changed(&before, &after) ||
		   (!node_has(n, NODE_META) && size != (int64_t)before.stx_size))) {
		log_err("%s: changed in its lower layer while it was copied up",
			union_path(u, node_id(u, n)));
		r = -EIO;
	}
	fdcache_put(u, in);
	return r;
}

/* Whether the copy is to be without data; then finds out where that is. */
static int choose_meta(struct union_fs *u, struct copy *c, int64_t limit)
{
	int r;

	if (limit != COPYUP_META || !u->cfg.metacopy || !c->st.stx_size)
		return 0;
	r = c->src.name[0] || fdcache_fd(c->src.dir) < 0 ? metacopy_learn(u, c->n, &c->src) : 0;
	/* it has its data elsewhere already */
	if (r) {
		c->meta = r > 0;
		return r < 0 ? r : 0;
	}
	r = metacopy_here(u, c->n, c->st.stx_blocks, &c->data);
	c->meta = !r;
	/* without a name, or too deep to be written down */
	return r == -ENOENT || r == -ENAMETOOLONG ? 0 : r;
}

static int copy_regular(struct union_fs *u, struct copy *c, int64_t limit)
{
	int64_t size = (int64_t)c->st.stx_size;
	int r = choose_meta(u, c, limit);

	if (r < 0)
		return r;
	c->fd = work_tmpfile(u, 0600, c->tmp);
	if (c->fd < 0)
		return c->fd;
	if (c->meta)
		return sys_ftruncate(c->fd, size);
	return copy_content(u, c->n, c->fd, size, limit < 0 ? COPYUP_ALL : limit, &c->cut);
}

/* Symlinks and special files are made under a name. */
static int copy_special(struct union_fs *u, struct copy *c)
{
	const struct layer_dir *d = fdcache_dir(c->src.dir);
	mode_t type = c->st.stx_mode & S_IFMT;
	char target[PATH_MAX + 1];
	char tmp[WORK_NAME_MAX];
	ssize_t len;
	int r;

	work_name(u, tmp);
	if (S_ISLNK(type)) {
		len = d->layer->ops->readlink(d, c->src.name, target, PATH_MAX);
		if (len < 0)
			return (int)len;
		target[len] = 0;
		r = sys_symlinkat(target, u->work, tmp);
	} else if (S_ISDIR(type)) {
		r = sys_mkdirat(u->work, tmp, 0700);
	} else if (u->upper->override_attr) {
		r = sys_mknodat(u->work, tmp, S_IFREG | 0600, 0);
	} else {
		r = sys_mknodat(u->work, tmp, type | 0600,
				makedev(c->st.stx_rdev_major, c->st.stx_rdev_minor));
	}
	if (r < 0)
		return r;
	memcpy(c->tmp, tmp, sizeof(tmp));
	c->fd = sys_openat(u->work, tmp, O_PATH | O_NOFOLLOW, 0);
	return c->fd < 0 ? c->fd : 0;
}

/* The copy's origin goes beside it. */
static int record_origin(struct union_fs *u, struct copy *c)
{
	struct layer_dir self = { .layer = u->upper, .fd = c->fd };
	int r = sidecar_key(u, &self, "", &c->st, &c->sidecar);

	return r < 0 ? r : sidecar_write(u, &c->sidecar, &c->origin);
}

/* Everything but the name. */
static int make_copy(struct union_fs *u, struct copy *c, int64_t limit)
{
	const struct layer_dir *d = fdcache_dir(c->src.dir);
	mode_t mode;
	int r;

	r = d->layer->ops->stat(d, c->src.name, &c->st);
	if (!r)
		r = attr_override(d, c->src.name, &c->st);
	if (r < 0)
		return r;
	mode = c->st.stx_mode;
	r = ovl_origin_of(d, c->src.name, &c->origin);
	if (r < 0)
		return r;
	c->indexed = u->index >= 0 && !S_ISDIR(mode) && c->st.stx_nlink > 1 &&
		     ovl_index_name(&c->origin, c->index);
	r = S_ISREG(mode) ? copy_regular(u, c, limit) : copy_special(u, c);
	if (!r)
		r = copy_owner_mode(u, c->fd, &c->st);
	if (!r)
		r = copy_xattrs(u, &c->src, c->fd);
	if (!r) {
		r = ovl_write_origin(u, c->fd, &c->origin);
		/* user. attributes are not for symlinks and special files */
		if ((r == -EPERM || r == -EOPNOTSUPP) && !S_ISREG(mode) && !S_ISDIR(mode)) {
			c->indexed = false;
			r = record_origin(u, c);
		}
	}
	if (!r && c->meta)
		r = ovl_set_metacopy(u, c->fd);
	/* its links in the upper will be two, the index's among them */
	if (!r && c->indexed)
		r = ovl_write_nlink(u, c->fd, 'U', (int)c->st.stx_nlink + c->n->nlink_adj - 2);
	/* the directory cannot be moved while its mode denies us writing to it */
	if (!r && S_ISDIR(mode) && !u->privileged && !(mode & S_IWUSR))
		r = sys_fchmod(c->fd, (mode & 07777) | S_IWUSR);
	if (!r)
		r = copy_times(c->fd, &c->st);
	if (!r && c->cut)
		r = sys_futimens(c->fd, (const struct timespec[2]){ { .tv_nsec = UTIME_OMIT },
								    { .tv_nsec = UTIME_NOW } });
	if (!r && u->cfg.sync && S_ISREG(mode) && !c->meta)
		r = sys_fsync(c->fd, false);
	return r;
}

static bool still_named(struct union_fs *u, struct node *n, struct node *parent, const char *name)
{
	struct dent *d;
	bool ret;

	table_lock(u);
	d = dent_find(u, parent, name);
	ret = d && node_at(u, d->node) == n;
	table_unlock(u);
	return ret;
}

/* The kernel's listings look for copied-up entries only where this is set. */
static void mark_impure(struct union_fs *u, struct node *parent, int dirfd)
{
	bool done;

	table_lock(u);
	done = node_has(parent, NODE_IMPURE);
	node_set(parent, NODE_IMPURE);
	table_unlock(u);
	if (!done)
		(void)ovl_set_impure(u, dirfd);
}

/* Gives the copy its name, and its index entry. */
static int link_copy(struct union_fs *u, struct copy *c, int dirfd, const char *name)
{
	int r;

	if (c->indexed) {
		r = work_link(u, c->fd, c->tmp, u->index, c->index);
		if (r == -EEXIST) {
			/* another layer's file with the same handle has it */
			c->indexed = false;
			r = work_link(u, c->fd, c->tmp, dirfd, name);
		} else if (!r) {
			c->tmp[0] = 0;
			r = sys_linkat(u->index, c->index, dirfd, name);
			/* as it stands there it would count one name too few */
			if (r < 0)
				(void)sys_unlinkat(u->index, c->index, 0);
		}
	} else {
		r = work_link(u, c->fd, c->tmp, dirfd, name);
	}
	return r;
}

/* Puts the copy at @parent/@name. With the namespace lock of @parent. */
static int place_copy(struct union_fs *u, struct copy *c, struct node *parent, const char *name)
{
	struct statx dir_st;
	struct fdent *dir;
	struct loan l;
	int dirfd, r, r2;

	r = locate_dir(u, parent, 0, &dir);
	if (r < 0)
		return r;
	dirfd = fdcache_fd(dir);
	r = sys_fstatx(dirfd, &dir_st);
	if (r < 0)
		goto out;
	r = link_copy(u, c, dirfd, name);
	/* a change of a file is none of its directory, which may deny it */
	if (r == -EACCES) {
		r = lend_begin(u, parent, dirfd, &l);
		if (!r)
			r = link_copy(u, c, dirfd, name);
		lend_end(&l);
	}
	if (!r) {
		c->tmp[0] = 0;
		if (c->origin.len)
			mark_impure(u, parent, dirfd);
		r2 = copy_times(dirfd, &dir_st);
		(void)r2;
	}
out:
	fdcache_put(u, dir);
	return r;
}

/* Everything that can fail of switch_node(), before the name exists. */
static int prepare_switch(struct union_fs *u, struct copy *c)
{
	struct node_ext *x;
	struct statx st;
	int r = sys_fstatx(c->fd, &st);

	if (r < 0)
		return r;
	c->ino = st.stx_ino;
	table_lock(u);
	x = node_ext(u, c->n);
	if (x && c->indexed && !x->index) {
		x->index = str_new(u, c->index);
		if (!x->index)
			x = NULL;
		else
			x->lower_nlink = c->st.stx_nlink;
	}
	/* it is read from there all the same, in the lower */
	r = x && c->meta ? metacopy_set(u, c->n, &c->data) : 0;
	table_unlock(u);
	return x ? r : -ENOMEM;
}

/* From now on the node is its upper file. */
static void switch_node(struct union_fs *u, struct copy *c, bool anonymous)
{
	struct node *n = c->n;
	unsigned flags = NODE_UPPER;
	struct node_ext *x;

	table_lock(u);
	x = node_ext_peek(u, n);
	/* of the lower file, which it is no more */
	if (x->pin >= 0) {
		fdcache_reap_later(u, x->pin, NULL);
		x->pin = -1;
	}
	if (anonymous) {
		if (c->tmp[0])
			x->orphan = str_new(u, c->tmp);
		c->tmp[0] = 0;
		x->pin = steal_fd(&c->fd);
		u->pins++;
	} else if (c->indexed) {
		flags |= NODE_INDEXED;
	}
	node_set_upper_ino(n, c->ino);
	if (!c->meta)
		metacopy_unset(u, n);
	node_set(n, flags);
	if (node_has(n, NODE_IN_IDS_LOWER))
		node_add_id(u, n, true);
	table_unlock(u);
	if (!c->meta)
		fdcache_drop_kind(u, node_slot(u, n), FD_FILE_LOWER);
}

static int commit_copy(struct union_fs *u, struct copy *c)
{
	struct node *parent;
	char name[256];
	int r;

	for (;;) {
		bool parent_first = false;

		parent = use_name(u, c->n, name);
		if (!parent) {
			switch_node(u, c, true);
			return 0;
		}
		ns_lock(u, parent, NULL);
		r = -EAGAIN;
		if (still_named(u, c->n, parent, name)) {
			if (!node_has(parent, NODE_UPPER)) {
				parent_first = true; /* moved to where nothing is copied up yet */
			} else {
				r = place_copy(u, c, parent, name);
				if (!r)
					switch_node(u, c, false);
				if (!r)
					dircache_copied_up(u, node_slot(u, parent), name);
			}
		}
		ns_unlock(u, parent, NULL);
		if (parent_first)
			r = copyup(u, parent, COPYUP_ALL);
		if (parent_first && r >= 0)
			r = -EAGAIN;
		table_lock(u);
		node_drop(u, parent);
		table_unlock(u);
		if (r != -EAGAIN)
			return r;
	}
}

/* Copies @n itself, whose directory is in the upper. @n is busy, ours. */
static int copyup_one(struct union_fs *u, struct node *n, int64_t limit)
{
	struct copy c = { .n = n, .fd = -1 };
	char rec[OVL_INDEX_NAME_MAX];
	bool dir = node_is_dir(n);
	int r;

	r = locate(u, n, &c.src);
	if (r < 0)
		return r;
	r = make_copy(u, &c, limit);
	if (!r)
		r = prepare_switch(u, &c);
	if (!r)
		r = commit_copy(u, &c);
	if (!r && dir && !u->privileged && !(c.st.stx_mode & S_IWUSR) && c.fd >= 0)
		r = sys_fchmod(c.fd, c.st.stx_mode & 07777);
	/* overlay.nlink counts from now on */
	if (r >= 0 && c.indexed && n->nlink_adj && nlink_record_name(u, &c.src, rec) == 1)
		(void)nlink_record(u, rec, 0);
	place_put(u, &c.src);
	sys_close(c.fd);
	metacopy_release(&c.data);
	if (r < 0 && c.tmp[0])
		(void)work_remove_tree(u->work, c.tmp);
	if (r < 0)
		sidecar_remove(u, &c.sidecar);
	if (!r)
		u->copy_ups++;
	return r ? r : c.cut;
}

/* What writing to a file by us changes that a copy-up must not. */
struct before {
	struct statx st;
	ssize_t cap_len;
	char cap[64];
};

static int note_before(int fd, struct before *b)
{
	int r = sys_fstatx(fd, &b->st);

	if (r < 0)
		return r;
	b->cap_len = sys_fgetxattr(fd, "security.capability", b->cap, sizeof(b->cap));
	return b->cap_len < 0 && !ovl_xattr_absent((int)b->cap_len) ? (int)b->cap_len : 0;
}

static int put_back(int fd, const struct before *b, bool cut)
{
	struct statx now;
	int r = sys_fstatx(fd, &now);

	if (!r && now.stx_mode != b->st.stx_mode)
		r = sys_fchmod(fd, b->st.stx_mode & 07777);
	if (!r && b->cap_len > 0)
		r = sys_fsetxattr(fd, "security.capability", b->cap, (size_t)b->cap_len, 0);
	return r || cut ? r : copy_times(fd, &b->st);
}

/*
 * Gives @n, which is in the upper without it, its data. @n is busy, ours. What
 * is copied is not looked at, by anyone, before overlay.metacopy goes; and then
 * it is as it was in the lower.
 */
static int copyup_data(struct union_fs *u, struct node *n, int64_t limit)
{
	struct before b;
	struct fdent *out;
	bool cut = false;
	int r, fd;

	r = locate_file(u, n, true, &out);
	if (r < 0)
		return r;
	fd = fdcache_fd(out);
	r = note_before(fd, &b);
	if (!r) {
		r = copy_content(u, n, fd, (int64_t)b.st.stx_size, limit, &cut);
		if (!r)
			r = put_back(fd, &b, cut);
		if (!r && u->cfg.sync)
			r = sys_fsync(fd, false);
		if (!r)
			r = ovl_clear_metacopy(u, fd);
		if (r < 0) {
			(void)sys_ftruncate(fd, (off_t)b.st.stx_size);
			(void)put_back(fd, &b, false);
		}
	}
	fdcache_put(u, out);
	if (r < 0)
		return r;
	table_lock(u);
	metacopy_unset(u, n);
	table_unlock(u);
	fdcache_drop_kind(u, node_slot(u, n), FD_FILE_LOWER);
	u->copy_ups++;
	return cut;
}

/* Whether @n is in the upper as far as @limit asks for it. */
static bool is_up(struct node *n, int64_t limit)
{
	return node_has(n, NODE_UPPER) && (limit == COPYUP_META || !node_has(n, NODE_META));
}

/*
 * The highest directory above @n, or @n itself, that is not in the upper
 * while what it is in is. Held. NULL: all are.
 */
static struct node *next_to_copy(struct union_fs *u, struct node *n)
{
	struct node *cur = n, *ret = NULL;

	table_lock(u);
	for (;;) {
		struct dent *d;

		if (node_has(cur, NODE_UPPER))
			break;
		ret = cur;
		d = dent_at(u, cur->dents);
		if (!d)
			break;
		cur = node_at(u, d->parent);
	}
	if (ret)
		node_hold(ret);
	table_unlock(u);
	return ret;
}

int copyup(struct union_fs *u, struct node *n, int64_t limit)
{
	int r = 0;

	if (!u->writable)
		return -EROFS;
	while (r >= 0) {
		struct node *cur;

		if (is_up(n, limit))
			return r;
		cur = next_to_copy(u, n);
		table_lock(u);
		if (!cur) {
			cur = n;
			node_hold(cur);
		}
		node_lock(u, cur);
		table_unlock(u);
		if (!node_has(cur, NODE_UPPER))
			r = copyup_one(u, cur, cur == n ? limit : COPYUP_ALL);
		else if (!is_up(cur, limit))
			r = copyup_data(u, cur, limit);
		table_lock(u);
		node_unlock(u, cur);
		node_drop(u, cur);
		table_unlock(u);
	}
	return r;
}

int copyup_link_name(struct union_fs *u, struct node *n, struct node *parent, const char *name)
{
	struct statx st, dir_st;
	struct fdent *dir;
	struct place p;
	int r, fd;

	r = locate_dir(u, parent, 0, &dir);
	if (r < 0)
		return r;
	r = sys_statx(fdcache_fd(dir), name, AT_SYMLINK_NOFOLLOW, &st);
	if (r != -ENOENT) {
		fdcache_put(u, dir);
		return r;
	}
	r = locate(u, n, &p);
	if (!r) {
		fd = *p.name ? sys_openat(fdcache_fd(p.dir), p.name, O_PATH | O_NOFOLLOW, 0) :
			       sys_dup(fdcache_fd(p.dir));
		r = fd < 0 ? fd : 0;
		if (!r)
			r = sys_fstatx(fdcache_fd(dir), &dir_st);
		if (!r)
			r = *p.name ? sys_linkat(fdcache_fd(p.dir), p.name, fdcache_fd(dir), name) :
				      sys_link_fd(fd, fdcache_fd(dir), name);
		/* a name of the lower becomes one of the upper: in all there are as many */
		if (!r && node_has(n, NODE_INDEXED)) {
			r = attr_add_nlink(u, n, &p, fd, -1, NULL);
			if (r < 0)
				(void)sys_unlinkat(fdcache_fd(dir), name, 0);
		}
		if (!r)
			(void)copy_times(fdcache_fd(dir), &dir_st);
		sys_close(fd);
		place_put(u, &p);
	}
	fdcache_put(u, dir);
	return r;
}
