/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New names: create, mknod, mkdir, symlink, link, O_TMPFILE.
 *
 * What can be made in its place with one system call that gives it all it
 * needs, is. What needs more (an owner that is not ours, a whiteout in its
 * place) is made in the workdir and put there complete.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/union/acl.h"
#include "fs/union/attr.h"
#include "fs/union/copydata.h"
#include "fs/union/copyup.h"
#include "fs/union/dirmerge.h"
#include "fs/union/locate.h"
#include "fs/union/metacopy.h"
#include "fs/union/names.h"
#include "fs/union/ovl.h"
#include "fs/union/resolve.h"
#include "fs/union/use.h"
#include "fs/union/work.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

int parent_begin(struct union_fs *u, uint64_t parent, const char *name, struct parent *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!u->writable)
		return -EROFS;
	if (strlen(name) > 255)
		return -ENAMETOOLONG;
	/* a name of the format cannot be one of a file */
	if (!strncmp(name, LAYER_WH_PREFIX, strlen(LAYER_WH_PREFIX)))
		return -EINVAL;
	table_lock(u);
	ret->n = node_get(u, parent);
	r = !ret->n ? -ESTALE : !node_is_dir(ret->n)                                   ? -ENOTDIR :
			node_slot(u, ret->n) != u->root && node_has(ret->n, NODE_GONE) ? -ENOENT :
											 0;
	if (!r)
		node_hold(ret->n);
	table_unlock(u);
	if (r < 0) {
		ret->n = NULL;
		return r;
	}
	r = copyup(u, ret->n, COPYUP_ALL);
	if (!r)
		r = locate_dir(u, ret->n, 0, &ret->dir);
	if (r < 0)
		parent_end(u, ret);
	return r;
}

void parent_end(struct union_fs *u, struct parent *p)
{
	fdcache_put(u, p->dir);
	p->dir = NULL;
	if (p->n) {
		table_lock(u);
		node_drop(u, p->n);
		table_unlock(u);
	}
	p->n = NULL;
}

/* What is being made. */
struct making {
	mode_t mode; /* with the type; umask applied unless there is a default ACL */
	dev_t rdev;
	const char *target; /* of a symlink */
	uid_t uid; /* host ids */
	gid_t gid;
	ssize_t acl_len; /* of the parent's default ACL */
	bool in_place; /* the file system gives it the right owner by itself */
	bool over; /* it took the place of a whiteout */
	struct resolved *is; /* what has been made; owned */
	char acl[ACL_SIZE_MAX];
};

static int prepare(struct union_fs *u, const struct union_cred *c, const struct parent *p,
		   mode_t mode, struct making *m)
{
	struct statx st;
	int r;

	m->mode = mode;
	m->uid = geteuid();
	m->gid = getegid();
	/* somebody whom the mapping does not know makes files of nobody's */
	if (!u->cfg.squash_uid && attr_uid_host(u, c->uid, &m->uid) < 0)
		m->uid = ATTR_OVERFLOW_ID;
	if (!u->cfg.squash_gid && attr_gid_host(u, c->gid, &m->gid) < 0)
		m->gid = ATTR_OVERFLOW_ID;
	r = sys_fstatx(parent_fd(p), &st);
	if (!r)
		r = attr_override(fdcache_dir(p->dir), "", &st);
	if (r < 0)
		return r;
	m->in_place = m->uid == geteuid() && m->gid == getegid() && !u->upper->override_attr;
	if (st.stx_mode & S_ISGID) {
		/* the file system does the same, unless it is a group we are not in */
		m->in_place = m->in_place && (u->privileged || st.stx_gid == getegid());
		m->gid = st.stx_gid;
		if (S_ISDIR(mode))
			m->mode |= S_ISGID;
	}
	if (u->cfg.acl && !S_ISLNK(mode)) {
		m->acl_len = acl_get_default(parent_fd(p), m->acl);
		if (m->acl_len < 0)
			return (int)m->acl_len;
	}
	if (m->acl_len <= 0)
		m->mode &= ~c->umask;
	return 0;
}

/* Owner, mode and ACL of what was made in the workdir. */
static int dress(struct union_fs *u, int fd, struct making *m)
{
	struct statx st = { .stx_uid = m->uid, .stx_gid = m->gid };
	mode_t mode = m->mode;
	int r;

	if (m->acl_len > 0) {
		r = acl_inherit(fd, m->acl, (size_t)m->acl_len, S_ISDIR(m->mode), &mode);
		if (r < 0)
			return r;
	}
	st.stx_mode = (uint16_t)mode;
	st.stx_rdev_major = major(m->rdev);
	st.stx_rdev_minor = minor(m->rdev);
	return copy_owner_mode(u, fd, &st);
}

/* What is at a name that could not be made: 1 a whiteout, else -EEXIST. */
static int whiteout_there(const struct parent *p, const char *name)
{
	struct statx st;
	int r = sys_statx(parent_fd(p), name, AT_SYMLINK_NOFOLLOW, &st);

	if (r < 0)
		return r == -ENOENT ? -EAGAIN : r;
	return layer_is_whiteout(&st) ? 1 : -EEXIST;
}

/*
 * In one call. *ret_fd is open for regular files only. -EEXIST, ...; after
 * another failure nothing is left.
 */
static int make_in_place(const struct parent *p, const char *name, struct making *m, int *ret_fd)
{
	mode_t mode = m->mode;
	int r;

	switch (mode & S_IFMT) {
	case S_IFREG:
		*ret_fd = sys_openat(parent_fd(p), name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW,
				     mode & 07777);
		if (*ret_fd < 0)
			return *ret_fd;
		r = sys_fstatx(*ret_fd, &m->is->st);
		if (r < 0) {
			(void)sys_unlinkat(parent_fd(p), name, 0);
			sys_close(*ret_fd);
			*ret_fd = -1;
		}
		return r;
	case S_IFDIR:
		r = sys_mkdirat(parent_fd(p), name, mode & 07777);
		break;
	case S_IFLNK:
		r = sys_symlinkat(m->target, parent_fd(p), name);
		break;
	default:
		r = sys_mknodat(parent_fd(p), name, mode, m->rdev);
		break;
	}
	if (r < 0)
		return r;
	r = sys_statx(parent_fd(p), name, AT_SYMLINK_NOFOLLOW, &m->is->st);
	if (r < 0)
		(void)sys_unlinkat(parent_fd(p), name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	return r;
}

/* In the workdir, dressed. The descriptor; its name there in @tmp, "" if it has none. */
static int make_aside(struct union_fs *u, struct making *m, char tmp[WORK_NAME_MAX])
{
	_cleanup_fd_ int fd = -1;
	int r = 0;

	if (S_ISREG(m->mode)) {
		fd = work_tmpfile(u, 0600, tmp);
		if (fd < 0) {
			tmp[0] = 0;
			return fd;
		}
	} else {
		work_name(u, tmp);
		if (S_ISDIR(m->mode))
			r = sys_mkdirat(u->work, tmp, 0700);
		else if (S_ISLNK(m->mode))
			r = sys_symlinkat(m->target, u->work, tmp);
		else
			r = sys_mknodat(u->work, tmp,
					(u->upper->override_attr ? S_IFREG : m->mode & S_IFMT) |
						0600,
					u->upper->override_attr ? 0 : m->rdev);
		if (r < 0) {
			tmp[0] = 0;
			return r;
		}
		fd = sys_openat(u->work, tmp, O_PATH | O_NOFOLLOW, 0);
	}
	r = fd < 0 ? fd : dress(u, fd, m);
	if (r < 0) {
		if (tmp[0])
			(void)work_remove_tree(u->work, tmp);
		tmp[0] = 0;
		return r;
	}
	return steal_fd(&fd);
}

static int place(struct union_fs *u, const struct parent *p, const char *name, struct making *m,
		 int fd, char tmp[WORK_NAME_MAX], bool whiteout)
{
	int r;

	if (S_ISDIR(m->mode)) {
		if (whiteout) {
			r = ovl_set_opaque(u, fd);
			if (r < 0)
				return r;
		}
		return work_place_dir(u, tmp, parent_fd(p), name, whiteout);
	}
	if (whiteout)
		return work_replace(u, fd, tmp, parent_fd(p), name);
	return work_link(u, fd, tmp, parent_fd(p), name);
}

/* Makes it, where nothing or a whiteout is, with m->is->st and *ret_fd as make_in_place(). */
static int make(struct union_fs *u, const struct parent *p, const char *name, struct making *m,
		int *ret_fd)
{
	struct layer_dir d = { .layer = u->upper };
	char tmp[WORK_NAME_MAX];
	int fd, r;

	if (m->in_place) {
		r = make_in_place(p, name, m, ret_fd);
		if (r != -EEXIST)
			return r;
		r = whiteout_there(p, name);
		if (r < 0)
			return r;
		m->over = true;
	}
	fd = make_aside(u, m, tmp);
	if (fd < 0)
		return fd;
	d.fd = fd;
	r = sys_fstatx(fd, &m->is->st);
	if (!r)
		r = attr_override(&d, "", &m->is->st);
	if (!r)
		r = place(u, p, name, m, fd, tmp, m->over);
	if (r == -EEXIST && !m->over) {
		r = whiteout_there(p, name);
		if (r == 1) {
			m->over = true;
			r = place(u, p, name, m, fd, tmp, true);
		}
	}
	if (r < 0) {
		if (tmp[0])
			(void)work_remove_tree(u->work, tmp);
		sys_close(fd);
		return r;
	}
	m->is->st.stx_nlink = S_ISDIR(m->mode) ? 2 : 1; /* an O_TMPFILE had none */
	*ret_fd = fd;
	return 0;
}

/* The node of what was just made in the upper: fails without memory only. */
static int new_node(struct union_fs *u, const struct parent *p, const char *name,
		    struct resolved *r, struct union_entry *ret)
{
	r->upper = true;
	r->upper_ino = r->st.stx_ino;
	r->ino = ovl_map_ino(u, u->upper->fs, r->st.stx_ino);
	return resolve_node(u, p->n, name, r, ret);
}

/* Takes the new name away again, after something went wrong. */
static void unmake(struct union_fs *u, const struct parent *p, const char *name,
		   const struct making *m)
{
	if (m->over)
		(void)work_whiteout_over(u, parent_fd(p), name, S_ISDIR(m->mode));
	else
		(void)sys_unlinkat(parent_fd(p), name, S_ISDIR(m->mode) ? AT_REMOVEDIR : 0);
}

static int create(struct union_fs *u, const struct union_cred *c, uint64_t parent, const char *name,
		  mode_t mode, dev_t rdev, const char *target, struct union_entry *ret)
{
	struct making m = { .rdev = rdev, .target = target };
	struct parent p;
	int r, fd = -1;

	r = parent_begin(u, parent, name, &p);
	if (r < 0)
		return r;
	m.is = sys_calloc(1, sizeof(*m.is));
	ns_lock(u, p.n, NULL);
	r = m.is ? prepare(u, c, &p, mode, &m) : -ENOMEM;
	if (!r)
		r = make(u, &p, name, &m, &fd);
	if (!r) {
		dircache_added(u, node_slot(u, p.n), name, mode);
		r = new_node(u, &p, name, m.is, ret);
		if (r < 0) {
			unmake(u, &p, name, &m);
			dircache_drop(u, node_slot(u, p.n));
		}
	}
	ns_unlock(u, p.n, NULL);
	free(m.is);
	if (fd >= 0 && r == 0 && S_ISREG(mode) && !u->upper->override_attr) {
		/* it is about to be written */
		struct layer_dir d = { .layer = u->upper, .fd = fd };

		fdcache_put(u, fdcache_add(u, (uint32_t)ret->nodeid, FD_FILE_WRITE, &d));
	} else {
		sys_close(fd);
	}
	parent_end(u, &p);
	return r;
}

int union_mknod(struct union_fs *u, const struct union_cred *c, uint64_t parent, const char *name,
		mode_t mode, dev_t rdev, struct union_entry *ret)
{
	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	/* that is what a whiteout is */
	if (S_ISCHR(mode) && rdev == 0)
		return -EPERM;
	return create(u, c, parent, name, mode, rdev, NULL, ret);
}

int union_mkdir(struct union_fs *u, const struct union_cred *c, uint64_t parent, const char *name,
		mode_t mode, struct union_entry *ret)
{
	return create(u, c, parent, name, S_IFDIR | (mode & 07777), 0, NULL, ret);
}

int union_symlink(struct union_fs *u, const struct union_cred *c, uint64_t parent,
		  const char *name, const char *target, struct union_entry *ret)
{
	struct union_cred cred = *c;

	cred.umask = 0;
	return create(u, &cred, parent, name, S_IFLNK | 0777, 0, target, ret);
}

int union_tmpfile(struct union_fs *u, const struct union_cred *c, uint64_t parent, mode_t mode,
		  struct union_entry *ret)
{
	struct making m = { .rdev = 0 };
	char tmp[WORK_NAME_MAX];
	struct node_ext *x;
	struct statx st;
	struct parent p;
	struct node *n;
	int r, fd;

	r = parent_begin(u, parent, "", &p);
	if (r < 0)
		return r;
	r = prepare(u, c, &p, S_IFREG | (mode & 07777), &m);
	parent_end(u, &p);
	fd = r < 0 ? r : make_aside(u, &m, tmp);
	if (fd < 0)
		return fd;
	r = sys_fstatx(fd, &st);
	table_lock(u);
	n = r < 0 ? NULL : node_new(u, S_IFREG);
	x = n ? node_ext(u, n) : NULL;
	if (x && tmp[0])
		x->orphan = str_new(u, tmp);
	if (x && (!tmp[0] || x->orphan)) {
		node_set(n, NODE_UPPER | NODE_GONE);
		node_set_upper_ino(n, st.stx_ino);
		n->ino = ovl_map_ino(u, u->upper->fs, st.stx_ino);
		x->pin = fd;
		u->pins++;
		n->nlookup = 1;
		n->refs--;
		ret->nodeid = node_id(u, n);
		table_unlock(u);
		r = attr_get(u, n, &ret->st);
		if (r < 0)
			union_forget(u, ret->nodeid, 1);
		return r;
	}
	if (n)
		node_drop(u, n);
	table_unlock(u);
	sys_close(fd);
	if (tmp[0])
		(void)sys_unlinkat(u->work, tmp, 0);
	return r < 0 ? r : -ENOMEM;
}

/* --- link ---------------------------------------------------------------- */

static int link_at(const struct place *at, int dirfd, const char *name)
{
	/* a pinned file has no name of its own to link */
	if (!at->name[0])
		return sys_link_fd(fdcache_fd(at->dir), dirfd, name);
	return sys_linkat(fdcache_fd(at->dir), at->name, dirfd, name);
}

static int link_into(struct union_fs *u, struct node *n, const struct parent *p, const char *name,
		     bool *ret_over)
{
	char tmp[WORK_NAME_MAX];
	struct place at;
	int r;

	r = locate(u, n, &at);
	if (r < 0)
		return r;
	/* overlay.nlink, relative to the upper's links, stays true by itself */
	r = link_at(&at, parent_fd(p), name);
	if (r == -EEXIST) {
		r = whiteout_there(p, name);
		if (r == 1) {
			*ret_over = true;
			work_name(u, tmp);
			r = link_at(&at, u->work, tmp);
			if (!r) {
				r = sys_renameat2(u->work, tmp, parent_fd(p), name, 0);
				if (r < 0)
					(void)sys_unlinkat(u->work, tmp, 0);
			}
		}
	}
	place_put(u, &at);
	return r;
}

/* @n is also @p/@name from now on. With the lock. */
static int add_name(struct union_fs *u, struct node *n, const struct parent *p, const char *name)
{
	struct node_ext *x;
	int r = dent_add(u, p->n, name, n);

	if (r < 0)
		return r;
	x = node_ext_peek(u, n);
	if (x && (x->pin >= 0 || x->orphan)) {
		/* it has a name again */
		fdcache_reap_later(u, x->pin, str_at(u, x->orphan));
		slab_release(u->slab, x->orphan);
		x->pin = -1;
		x->orphan = 0;
	}
	node_add_id(u, n, true);
	return 0;
}

/* Links @n, which is in the upper; *ret_st becomes what it is then. */
static int link_node(struct union_fs *u, struct node *n, struct parent *p, const char *name,
		     struct statx *ret_st)
{
	struct making m = { .mode = n->mode };
	struct counting c;
	struct statx now;
	int r = attr_get(u, n, ret_st);

	if (r < 0)
		return r;
	counting_begin(u, n, NULL, &c);
	ns_lock(u, p->n, NULL);
	r = link_into(u, n, p, name, &m.over);
	if (!r) {
		dircache_added(u, node_slot(u, p->n), name, n->mode);
		table_lock(u);
		r = add_name(u, n, p, name);
		table_unlock(u);
		if (r < 0) {
			unmake(u, p, name, &m);
			dircache_drop(u, node_slot(u, p->n));
		}
	}
	ns_unlock(u, p->n, NULL);
	counting_end(u, &c);
	if (r < 0)
		return r;
	/* it has happened, whatever becomes of this */
	ret_st->stx_nlink++;
	if (attr_get(u, n, &now) == 0)
		*ret_st = now;
	return 0;
}

/* Its data is to be found by its new name too. */
static int free_data_from_name(struct union_fs *u, struct node *n)
{
	struct node *parent;
	char name[256];
	int r = -EXDEV;

	if (!node_has(n, NODE_META))
		return 0;
	parent = use_name(u, n, name);
	if (parent) {
		r = metacopy_free_from_name(u, n, parent, name);
		unuse_node(u, parent);
	}
	return r == -EXDEV ? copyup(u, n, COPYUP_ALL) : r;
}

int union_link(struct union_fs *u, uint64_t nodeid, uint64_t parent, const char *name,
	       struct union_entry *ret)
{
	struct parent p;
	struct node *n;
	int r;

	table_lock(u);
	n = node_get(u, nodeid);
	if (n)
		node_hold(n);
	table_unlock(u);
	if (!n)
		return -ESTALE;
	r = parent_begin(u, parent, name, &p);
	if (!r) {
		r = copyup(u, n, COPYUP_META);
		if (!r)
			r = free_data_from_name(u, n);
		if (!r)
			r = link_node(u, n, &p, name, &ret->st);
		parent_end(u, &p);
	}
	table_lock(u);
	if (!r) {
		n->nlookup++;
		ret->nodeid = node_id(u, n);
	}
	node_drop(u, n);
	table_unlock(u);
	return r;
}
