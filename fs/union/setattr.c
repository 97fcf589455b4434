/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of attributes, and the clearing of setuid and setgid. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/union/attr.h"
#include "fs/union/copyup.h"
#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/use.h"
#include "lib/sys.h"

/* What the upper file is now, in host ids. */
static int host_stat(struct union_fs *u, int fd, struct statx *st)
{
	struct layer_dir d = { .layer = u->upper, .fd = fd };
	int r = sys_fstatx(fd, st);

	return r < 0 ? r : attr_override(&d, "", st);
}

/* Owner and mode where the upper keeps them in override_stat. */
static int set_override(struct union_fs *u, int fd, const struct union_attr *a, uid_t uid,
			gid_t gid)
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

	if (u->privileged || !S_ISREG(n->mode) ||
	    (mode & (S_IRUSR | S_IWUSR)) == (S_IRUSR | S_IWUSR))
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
		lend_lock(u);
		r = sys_fchmod(fd, a->mode & 07777);
		if (!r)
			lend_mode_changed(u, n);
		lend_unlock(u);
	}
	return r;
}

/*
 * Whether @who is in group @gid. What cannot be found out is a no, which takes
 * setgid away: the safe side. Seldom asked: of setgid without group execution.
 */
static bool in_group(const struct union_cred *who, gid_t gid)
{
	char path[32], buf[16384], *p, *end;
	ssize_t n;
	int fd;

	if (who->gid == gid)
		return true;
	if (!who->pid)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)who->pid);
	fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		return false;
	n = sys_pread(fd, buf, sizeof(buf) - 1, 0);
	sys_close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	p = strstr(buf, "\nGroups:");
	if (!p)
		return false;
	for (p += strlen("\nGroups:");; p = end) {
		unsigned long g;

		p += strspn(p, " \t");
		g = strtoul(p, &end, 10);
		if (end == p)
			return false;
		/* a number that was cut off is none */
		if (g == gid && *end)
			return true;
	}
}

/* @mode (of a file of group @gid) after @who has changed the file, or tried chown(-1, -1). */
static mode_t killed_mode(mode_t mode, gid_t gid, const struct union_cred *who)
{
	mode &= 07777 & ~(mode_t)S_ISUID;
	/* without group execution it stays for those it could be set by */
	if (mode & S_ISGID && (mode & S_IXGRP || (who->uid != 0 && !in_group(who, gid))))
		mode &= ~(mode_t)S_ISGID;
	return mode;
}

static int kill_priv_fd(struct union_fs *u, struct node *n, int fd, const struct union_cred *who)
{
	struct union_attr a = { .valid = UNION_SET_MODE };
	struct statx st;
	int r = host_stat(u, fd, &st);

	if (r < 0)
		return r;
	a.mode = killed_mode(st.stx_mode, attr_gid_view(u, st.stx_gid), who);
	return a.mode == (st.stx_mode & 07777) ? 0 : set_owner_mode(u, n, fd, &a);
}

/*
 * A request without anything to set is chown(-1, -1), which takes setuid and
 * setgid away, or the second half of the removal of a file's capabilities
 * before a write by root, which does not: then security.capability was removed
 * just before. Anyone else's write takes all three away at once.
 */
static bool only_capability_removed(struct union_fs *u, struct node *n, const struct union_attr *a)
{
	bool ret;

	table_lock(u);
	ret = a->valid == UNION_SET_KILL_PRIV && node_has(n, NODE_CAP_REMOVED) && !a->who.uid;
	node_clear(n, NODE_CAP_REMOVED);
	table_unlock(u);
	return ret;
}

/* Undoes, after a failure, what has been done for @a to a file that was @before. */
static void put_back(struct union_fs *u, int fd, const struct union_attr *a,
		     const struct statx *before)
{
	if (!(a->valid & (UNION_SET_MODE | UNION_SET_UID | UNION_SET_GID | UNION_SET_KILL_PRIV)))
		return;
	if (u->upper->override_attr && !S_ISLNK(before->stx_mode)) {
		(void)attr_write_override(u, fd, before->stx_uid, before->stx_gid, before->stx_mode,
					  before->stx_rdev_major, before->stx_rdev_minor);
		return;
	}
	if (a->valid & (UNION_SET_UID | UNION_SET_GID))
		(void)sys_fchown(fd, before->stx_uid, before->stx_gid);
	if (!S_ISLNK(before->stx_mode))
		(void)sys_fchmod(fd, before->stx_mode & 07777);
}

static void set_time(struct statx_timestamp *t, const struct timespec *to)
{
	if (to->tv_nsec == UTIME_OMIT)
		return;
	if (to->tv_nsec == UTIME_NOW) {
		t->tv_sec = time(NULL);
		t->tv_nsec = 0;
		return;
	}
	t->tv_sec = to->tv_sec;
	t->tv_nsec = (uint32_t)to->tv_nsec;
}

/* What @st has become by @a, where it cannot be asked for any more. */
static void foretell(struct union_fs *u, const struct union_attr *a, struct statx *st)
{
	uid_t id;

	if (a->valid & UNION_SET_KILL_PRIV)
		st->stx_mode &= (uint16_t)~S_ISUID;
	if (a->valid & UNION_SET_MODE)
		st->stx_mode = (uint16_t)((st->stx_mode & S_IFMT) | (a->mode & 07777));
	if (a->valid & UNION_SET_UID && attr_uid_host(u, a->uid, &id) == 0)
		st->stx_uid = id;
	if (a->valid & UNION_SET_GID && attr_gid_host(u, a->gid, &id) == 0)
		st->stx_gid = id;
	if (a->valid & UNION_SET_SIZE) {
		st->stx_size = (uint64_t)a->size;
		set_time(&st->stx_mtime, &(struct timespec){ .tv_nsec = UTIME_NOW });
	}
	if (a->valid & UNION_SET_ATIME)
		set_time(&st->stx_atime, &a->atime);
	if (a->valid & UNION_SET_MTIME)
		set_time(&st->stx_mtime, &a->mtime);
	set_time(&st->stx_ctime, &(struct timespec){ .tv_nsec = UTIME_NOW });
}

/* Nothing but the ctime, where it is still what it was @before. */
static int touch_ctime(int fd, const struct statx *before)
{
	struct statx st;
	int r = sys_fstatx(fd, &st);

	if (r < 0 || st.stx_ctime.tv_sec != before->stx_ctime.tv_sec ||
	    st.stx_ctime.tv_nsec != before->stx_ctime.tv_nsec)
		return r;
	return sys_fchown(fd, (uid_t)-1, (gid_t)-1);
}

/* Changes the upper file @fd. All that may fail comes before what cannot be undone. */
static int change_fd(struct union_fs *u, struct node *n, int fd, const struct union_attr *a,
		     bool cut, struct statx *ret)
{
	struct layer_dir d = { .layer = u->upper, .fd = fd };
	struct statx before;
	int r = host_stat(u, fd, &before);

	if (!r)
		r = attr_nlink(u, n, &d, "", &before);
	if (r < 0)
		return r;
	if (a->valid & UNION_SET_KILL_PRIV && !node_is_dir(n))
		r = kill_priv_fd(u, n, fd, &a->who);
	/* a chown(-1, -1) that finds nothing to take away is seen by the ctime */
	if (!r && a->valid == UNION_SET_KILL_PRIV)
		(void)touch_ctime(fd, &before);
	if (!r && a->valid & (UNION_SET_MODE | UNION_SET_UID | UNION_SET_GID))
		r = set_owner_mode(u, n, fd, a);
	if (!r && a->valid & UNION_SET_SIZE && !cut)
		r = sys_ftruncate(fd, a->size);
	if (!r && a->valid & (UNION_SET_ATIME | UNION_SET_MTIME)) {
		struct timespec ts[2] = { a->atime, a->mtime };

		if (!(a->valid & UNION_SET_ATIME))
			ts[0].tv_nsec = UTIME_OMIT;
		if (!(a->valid & UNION_SET_MTIME))
			ts[1].tv_nsec = UTIME_OMIT;
		r = sys_futimens(fd, ts);
	}
	if (r < 0) {
		put_back(u, fd, a, &before);
		return r;
	}
	if (host_stat(u, fd, ret) < 0) {
		*ret = before;
		foretell(u, a, ret);
	}
	ret->stx_nlink = before.stx_nlink;
	attr_show(u, n, ret);
	return 0;
}

/* Changes @n, which is in the upper. @cut: it has its size already; then *ret is what it was. */
static int change(struct union_fs *u, struct node *n, const struct union_attr *a, bool cut,
		  struct statx *ret)
{
	bool by_file = a->valid & UNION_SET_SIZE && !cut;
	struct statx st;
	struct fdent *f;
	int fd, r;

	if (by_file) {
		r = locate_file(u, n, true, &f);
		if (r < 0)
			return r;
		r = change_fd(u, n, fdcache_fd(f), a, cut, &st);
		fdcache_put(u, f);
	} else {
		fd = locate_path_fd(u, n);
		r = fd < 0 ? fd : change_fd(u, n, fd, a, cut, &st);
		sys_close(fd);
	}
	if (r == 0) {
		*ret = st;
	} else if (cut && a->valid == UNION_SET_SIZE) {
		/* all of it has happened */
		foretell(u, a, ret);
		r = 0;
	}
	return r;
}

/*
 * What changes nothing must not copy anything up either: the kernel's own
 * bookkeeping of times, and chown(-1, -1) of what has no bits to lose. 1 where
 * it is such; *ret is filled in then.
 */
static int changes_nothing(struct union_fs *u, struct node *n, const struct union_attr *a,
			   struct statx *ret)
{
	bool only_kill = a->valid == UNION_SET_KILL_PRIV;
	bool only_mtime = a->valid == UNION_SET_MTIME && a->mtime.tv_nsec != UTIME_NOW &&
			  !node_has(n, NODE_UPPER);
	mode_t mode;
	int r;

	if (a->valid && !only_kill && !only_mtime)
		return 0;
	r = attr_get(u, n, ret);
	if (r < 0 || !a->valid || only_capability_removed(u, n, a))
		return r < 0 ? r : 1;
	if (only_mtime)
		return ret->stx_mtime.tv_sec == a->mtime.tv_sec &&
		       ret->stx_mtime.tv_nsec == (uint32_t)a->mtime.tv_nsec;
	mode = ret->stx_mode & 07777;
	/*
	 * Whether it is chown(-1, -1) by one who does not own the file, and
	 * would natively be refused, or a write through a descriptor that he was
	 * given, cannot be told: the bits go, which is the safe side.
	 */
	if (!node_is_dir(n) && killed_mode(mode, ret->stx_gid, &a->who) != mode)
		return 0;
	/* all that is left is the ctime, which is not worth a copy */
	return !node_has(n, NODE_UPPER);
}

int union_setattr(struct union_fs *u, uint64_t nodeid, const struct union_attr *a,
		  struct statx *ret)
{
	struct node *n = use_node(u, nodeid);
	int r = 0;

	if (!n)
		return -ESTALE;
	r = changes_nothing(u, n, a, ret);
	if (r) {
		unuse_node(u, n);
		return r < 0 ? r : 0;
	}
	if (a->valid & UNION_SET_SIZE && !S_ISREG(n->mode))
		r = node_is_dir(n) ? -EISDIR : -EINVAL;
	/* the last chance: a copy-up that cuts is itself the change */
	if (!r && a->valid & UNION_SET_SIZE && (!node_has(n, NODE_UPPER) || node_has(n, NODE_META)))
		r = attr_get(u, n, ret);
	if (!r)
		r = copyup(u, n, a->valid & UNION_SET_SIZE ? a->size : COPYUP_META);
	if (r >= 0)
		r = change(u, n, a, r == 1, ret);
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

bool union_loses_priv(struct union_fs *u, uint64_t nodeid, mode_t *ret_mode)
{
	struct node *n;
	struct statx st;
	bool ret = false;

	if (u->privileged)
		return false;
	n = use_node(u, nodeid);
	if (!n)
		return false;
	if (node_has(n, NODE_SETID) && attr_get(u, n, &st) == 0) {
		*ret_mode = st.stx_mode & 07777;
		ret = st.stx_mode & (S_ISUID | S_ISGID);
	}
	unuse_node(u, n);
	return ret;
}
