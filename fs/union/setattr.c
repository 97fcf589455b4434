/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of attributes, and the clearing of setuid and setgid. */
#include <errno.h>
#include <stdlib.h>

#include "fs/union/attr.h"
#include "fs/union/copyup.h"
#include "fs/union/locate.h"
#include "fs/union/use.h"
#include "lib/sys.h"

static int set_size(struct union_fs *u, struct node *n, off_t size)
{
	struct fdent *f;
	int r;

	if (!S_ISREG(n->mode))
		return node_is_dir(n) ? -EISDIR : -EINVAL;
	r = locate_file(u, n, true, &f);
	if (r < 0)
		return r;
	r = sys_ftruncate(fdcache_fd(f), size);
	fdcache_put(u, f);
	return r;
}

/* What the upper file is now, in host ids. */
static int host_stat(struct union_fs *u, int fd, struct statx *st)
{
	struct layer_dir d = { .layer = u->upper, .fd = fd };
	int r = sys_fstatx(fd, st);

	return r < 0 ? r : attr_override(&d, "", st);
}

/* Owner and mode where the upper keeps them in override_stat. */
static int set_override(struct union_fs *u, int fd, const struct union_attr *a, uid_t uid, gid_t gid)
{
	struct statx st;
	mode_t mode;
	int r = host_stat(u, fd, &st);

	if (r < 0)
		return r;
	mode = st.stx_mode;
	/* chown takes setuid and setgid of files away */
	if (a->valid & (UNION_SET_UID | UNION_SET_GID) && S_ISREG(mode)) {
		mode &= ~(mode_t)S_ISUID;
		if (mode & S_IXGRP)
			mode &= ~(mode_t)S_ISGID;
	}
	if (a->valid & UNION_SET_MODE)
		mode = (mode & S_IFMT) | (a->mode & 07777);
	return attr_write_override(u, fd, a->valid & UNION_SET_UID ? uid : st.stx_uid,
				   a->valid & UNION_SET_GID ? gid : st.stx_gid, mode,
				   st.stx_rdev_major, st.stx_rdev_minor);
}

/*
 * A mode that denies a file to its owner: who has it open may go on, and so
 * must we, who may not be able to open it again. Opens it first.
 */
static void keep_access(struct union_fs *u, struct node *n, mode_t mode)
{
	struct fdent *f;

	if (u->privileged || !S_ISREG(n->mode) || (mode & (S_IRUSR | S_IWUSR)) == (S_IRUSR | S_IWUSR))
		return;
	if (locate_file(u, n, true, &f) == 0)
		fdcache_put(u, f);
}

static int set_owner_mode(struct union_fs *u, struct node *n, int fd, const struct union_attr *a)
{
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	int r = 0;

	if (a->valid & UNION_SET_UID)
		r = attr_uid_host(u, a->uid, &uid);
	if (!r && a->valid & UNION_SET_GID)
		r = attr_gid_host(u, a->gid, &gid);
	if (r < 0)
		return r;
	if (u->upper->override_attr && !S_ISLNK(n->mode))
		return set_override(u, fd, a, uid, gid);
	if (a->valid & (UNION_SET_UID | UNION_SET_GID)) {
		bool squashed = (a->valid & UNION_SET_UID && u->cfg.squash_uid) ||
				(a->valid & UNION_SET_GID && u->cfg.squash_gid);

		r = sys_fchown(fd, uid, gid);
		/* shown as one owner's whatever it is stored as */
		if (squashed && (r == -EPERM || r == -EINVAL))
			r = 0;
	}
	if (!r && a->valid & UNION_SET_MODE) {
		keep_access(u, n, a->mode);
		r = sys_fchmod(fd, a->mode & 07777);
	}
	return r;
}

static int kill_priv_fd(struct union_fs *u, struct node *n, int fd, const struct union_cred *who)
{
	struct union_attr a = { .valid = UNION_SET_MODE };
	struct statx st;
	int r = host_stat(u, fd, &st);

	if (r < 0)
		return r;
	a.mode = st.stx_mode & 07777 & ~(mode_t)S_ISUID;
	/* without group execution it stays for those it could be set by */
	if (a.mode & S_IXGRP || (who->uid != 0 && who->gid != attr_gid_view(u, st.stx_gid)))
		a.mode &= ~(mode_t)S_ISGID;
	return a.mode == (st.stx_mode & 07777) ? 0 : set_owner_mode(u, n, fd, &a);
}

/*
 * A request without anything to set is chown(-1, -1), which takes setuid and
 * setgid away, or the second half of the removal of a file's capabilities
 * before a write, which does not: then security.capability was removed just
 * before.
 */
static bool only_capability_removed(struct union_fs *u, struct node *n, const struct union_attr *a)
{
	bool ret;

	table_lock(u);
	ret = a->valid == UNION_SET_KILL_PRIV && node_has(n, NODE_CAP_REMOVED);
	node_clear(n, NODE_CAP_REMOVED);
	table_unlock(u);
	return ret;
}

int union_setattr(struct union_fs *u, uint64_t nodeid, const struct union_attr *a,
		  struct statx *ret)
{
	struct node *n = use_node(u, nodeid);
	int r, fd = -1;

	if (!n)
		return -ESTALE;
	if (only_capability_removed(u, n, a)) {
		r = attr_get(u, n, ret);
		unuse_node(u, n);
		return r;
	}
	r = copyup(u, n, a->valid & UNION_SET_SIZE ? a->size : COPYUP_ALL);
	if (!r && a->valid & UNION_SET_SIZE)
		r = set_size(u, n, a->size);
	if (!r && a->valid & ~(unsigned)UNION_SET_SIZE) {
		fd = locate_path_fd(u, n);
		r = fd < 0 ? fd : 0;
	}
	if (!r && a->valid & UNION_SET_KILL_PRIV && S_ISREG(n->mode))
		r = kill_priv_fd(u, n, fd, &a->who);
	if (!r && a->valid & (UNION_SET_MODE | UNION_SET_UID | UNION_SET_GID))
		r = set_owner_mode(u, n, fd, a);
	if (!r && a->valid & (UNION_SET_ATIME | UNION_SET_MTIME)) {
		struct timespec ts[2] = { a->atime, a->mtime };

		if (!(a->valid & UNION_SET_ATIME))
			ts[0].tv_nsec = UTIME_OMIT;
		if (!(a->valid & UNION_SET_MTIME))
			ts[1].tv_nsec = UTIME_OMIT;
		r = sys_futimens(fd, ts);
	}
	sys_close(fd);
	if (!r)
		r = attr_get(u, n, ret);
	unuse_node(u, n);
	return r;
}

int union_kill_priv(struct union_fs *u, uint64_t nodeid, bool force, const struct union_cred *who)
{
	struct node *n = use_node(u, nodeid);
	struct statx st;
	int r = 0, fd;

	if (!n)
		return -ESTALE;
	/* without privilege, the backing file system has cleared them by itself */
	if (node_has(n, NODE_SETID) && (force || !u->privileged)) {
		fd = locate_path_fd(u, n);
		r = fd < 0 ? fd : 0;
		if (!r && force)
			r = kill_priv_fd(u, n, fd, who);
		if (!r)
			r = attr_get(u, n, &st);
		sys_close(fd);
		if (!r)
			r = 1;
	}
	unuse_node(u, n);
	return r;
}
