/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loans of permissions.
 *
 * Theory of operation. The kernel checks permissions when a file is opened and a
 * path walked; what comes to us afterwards, by node id, is permitted. A plain
 * directory goes on serving a file that is open, whatever becomes of its mode
 * and of those of the directories above. So must we, who open it again by
 * its path when its descriptor has left the cache. Where we are denied that, and
 * the file or directory is ours, its mode gets u+rwx for the moment of an open,
 * and is then what it was.
 *
 * Nobody sees that through the mount: the node knows its mode (and ctime, which
 * the loan moves) from before the first loan until it is changed by a user, and
 * shows those (lend_hide()). Changes of modes, and renames of directories, wait
 * for loans to end: one recursive lock, which only daemons without privilege take.
 *
 * Before a mode is lent, it is recorded: a symlink in workdir/lent, with mode,
 * inode and path as its target. It is removed after the mode is back. What is
 * there at a mount was lent by a daemon that was killed, and is taken back, the
 * last loan first: it may lie below the others.
 */
#include "fs/union/lend.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/locate.h"
#include "fs/union/use.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/sys.h"

#define LENT (S_IRUSR | S_IWUSR | S_IXUSR)
#define LENT_DIR "lent"

/* Nested loans: each costs a descriptor. */
#define MAX_LOANS 64

void lend_init(struct union_fs *u)
{
	pthread_mutexattr_t a;

	(void)pthread_mutexattr_init(&a);
	(void)pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	(void)pthread_mutex_init(&u->lend_lock, &a);
	(void)pthread_mutexattr_destroy(&a);
	u->lent = -1;
}

void lend_lock(struct union_fs *u)
{
	if (!u->privileged)
		(void)pthread_mutex_lock(&u->lend_lock);
}

void lend_unlock(struct union_fs *u)
{
	if (!u->privileged)
		(void)pthread_mutex_unlock(&u->lend_lock);
}

/* --- what users see ------------------------------------------------------- */

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void lend_hide(struct union_fs *u, const struct node *n, struct statx *st)
{
	struct node_ext *x = node_ext_peek(u, n);
	struct node_loan *l = x ? slab_ptr(u->slab, x->loan) : NULL;

	if (!l)
		return;
	st->stx_mode = (uint16_t)((st->stx_mode & S_IFMT) | l->mode);
	if (l->out || same_time(&st->stx_ctime, &l->moved_ctime))
		st->stx_ctime = l->ctime;
}

/* Has @n show what it is now, @st, while it is lent. */
static int note_before(struct union_fs *u, struct node *n, const struct statx *st)
{
	struct node_loan *l = NULL;
	struct node_ext *x;

	table_lock(u);
	x = node_ext(u, n);
	if (x && !x->loan) {
		x->loan = slab_alloc(u->slab, sizeof(*l));
		l = slab_ptr(u->slab, x->loan);
		if (l)
			l->ctime = st->stx_ctime;
	} else if (x) {
		l = slab_ptr(u->slab, x->loan);
		/* it has changed since */
		if (!l->out && !same_time(&st->stx_ctime, &l->moved_ctime))
			l->ctime = st->stx_ctime;
	}
	if (l) {
		l->mode = st->stx_mode & 07777;
		l->out = true;
		node_set(n, NODE_LOAN);
	}
	table_unlock(u);
	return l ? 0 : -ENOMEM;
}

static void note_after(struct union_fs *u, struct node *n, int fd)
{
	struct node_loan *l;
	struct statx st;
	int r = sys_fstatx(fd, &st);

	table_lock(u);
	l = slab_ptr(u->slab, node_ext_peek(u, n)->loan);
	if (r == 0)
		l->moved_ctime = st.stx_ctime;
	l->out = false;
	table_unlock(u);
}

void lend_mode_changed(struct union_fs *u, struct node *n)
{
	struct node_ext *x;

	table_lock(u);
	x = node_ext_peek(u, n);
	if (node_has(n, NODE_LOAN)) {
		node_clear(n, NODE_LOAN);
		slab_release(u->slab, x->loan);
		x->loan = 0;
	}
	table_unlock(u);
}

/* --- loans ----------------------------------------------------------------- */

/* The path of @n in the upper, for the record; "" where it has none any more. */
static int record_path(struct union_fs *u, struct node *n, char path[PATH_MAX])
{
	struct node *parent;
	char name[256];
	int r = 0;

	path[0] = 0;
	if (node_slot(u, n) == u->root) {
		(void)snprintf(path, PATH_MAX, ".");
		return 0;
	}
	parent = use_name(u, n, name);
	if (!parent)
		return 0;
	if (node_slot(u, parent) != u->root) {
		r = locate_layer_path(u, parent, 0, path, PATH_MAX - 300);
		if (r >= 0)
			path[r++] = '/';
	}
	unuse_node(u, parent);
	/* a directory above is gone: so is this one after a crash */
	if (r == -ESTALE || r == -ENOENT)
		path[0] = 0;
	else if (r >= 0)
		(void)snprintf(path + r, PATH_MAX - (size_t)r, "%s", name);
	return r < 0 && path[0] ? r : 0;
}

/* Writes down what is to be undone should we be killed. */
static int record(struct union_fs *u, struct node *n, const struct statx *st, struct loan *l)
{
	char path[PATH_MAX], target[PATH_MAX + 64];
	int r = record_path(u, n, path);

	if (r < 0 || !path[0])
		return r;
	if (u->lent < 0) {
		r = sys_mkdirat(u->wlock, LENT_DIR, 0700);
		if (r < 0 && r != -EEXIST)
			return r;
		u->lent = sys_openat(u->wlock, LENT_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
		if (u->lent < 0)
			return u->lent;
	}
	(void)snprintf(target, sizeof(target), "%o %llu %s", st->stx_mode & 07777U,
		       (unsigned long long)st->stx_ino, path);
	(void)snprintf(l->record, sizeof(l->record), "%u", u->loans);
	r = sys_symlinkat(target, u->lent, l->record);
	if (r < 0)
		l->record[0] = 0;
	return r;
}

int lend_begin(struct union_fs *u, struct node *n, int fd, struct loan *ret)
{
	struct loan l = { .u = u, .n = n, .fd = -1 };
	struct statx st;
	int r;

	*ret = (struct loan){ .fd = -1 };
	if (u->privileged || !u->writable)
		return -EACCES;
	lend_lock(u);
	r = u->loans < MAX_LOANS ? sys_fstatx(fd, &st) : -EACCES;
	if (!r && (st.stx_uid != geteuid() || (st.stx_mode & LENT) == LENT))
		r = -EACCES;
	if (!r) {
		l.fd = sys_dup(fd);
		r = l.fd < 0 ? l.fd : record(u, n, &st, &l);
	}
	if (!r)
		r = note_before(u, n, &st);
	if (!r) {
		l.mode = st.stx_mode & 07777;
		r = sys_fchmod(fd, l.mode | LENT);
		if (r < 0)
			note_after(u, n, fd);
	}
	if (r < 0) {
		if (l.record[0])
			(void)sys_unlinkat(u->lent, l.record, 0);
		sys_close(l.fd);
		lend_unlock(u);
		return r;
	}
	u->loans++;
	table_lock(u);
	node_hold(n);
	table_unlock(u);
	*ret = l;
	return 0;
}

void lend_end(struct loan *l)
{
	struct union_fs *u = l->u;
	int r;

	if (!l->n)
		return;
	r = sys_fchmod(l->fd, l->mode);
	note_after(u, l->n, l->fd);
	u->loans--;
	if (r < 0)
		log_err("%s: cannot set its mode back to %o: the next mount will",
			union_path(u, node_id(u, l->n)), (unsigned)l->mode);
	else if (l->record[0])
		(void)sys_unlinkat(u->lent, l->record, 0);
	sys_close(l->fd);
	table_lock(u);
	node_drop(u, l->n);
	table_unlock(u);
	l->n = NULL;
	lend_unlock(u);
}

/* --- opening --------------------------------------------------------------- */

/* @name in @dir, held, or NULL. */
static struct node *child(struct union_fs *u, struct node *dir, const char *name)
{
	struct node *n = NULL;
	struct dent *d;

	table_lock(u);
	d = dent_find(u, dir, name);
	if (d) {
		n = node_at(u, d->node);
		node_hold(n);
	}
	table_unlock(u);
	return n;
}

/*
 * Opens @path below @dir, which is behind @fd, a part at a time: each directory
 * that we may not search lends us that until what is in it is open.
 */
static int open_parts(struct union_fs *u, struct node *dir, int fd, char *path, int flags)
{
	char *rest = strchr(path, '/');
	struct node *next = NULL;
	struct loan l = { 0 };
	int how, r;

	if (rest)
		*rest++ = 0;
	how = rest ? O_PATH | O_DIRECTORY | O_NOFOLLOW : flags;
	r = sys_openat(fd, path, how, 0);
	if (r == -EACCES) {
		r = lend_begin(u, dir, fd, &l);
		if (!r)
			r = sys_openat(fd, path, how, 0);
	}
	if (r >= 0 && rest) {
		int sub = r;

		next = child(u, dir, path);
		r = next ? open_parts(u, next, sub, rest, flags) : -EAGAIN;
		sys_close(sub);
	}
	if (next) {
		table_lock(u);
		node_drop(u, next);
		table_unlock(u);
	}
	lend_end(&l);
	return r;
}

int lend_open(struct union_fs *u, struct node *dir, const char *name, int flags)
{
	_cleanup_free_ char *path = NULL;
	int r = 0;

	if (u->privileged || !u->writable)
		return -EACCES;
	path = sys_malloc(PATH_MAX + 256);
	if (!path)
		return -ENOMEM;
	if (node_slot(u, dir) != u->root) {
		r = locate_layer_path(u, dir, 0, path, PATH_MAX);
		if (r < 0)
			return r;
		if (*name)
			path[r++] = '/';
	}
	(void)snprintf(path + r, PATH_MAX + 256 - (size_t)r, "%s", name);
	return open_parts(u, node_at(u, u->root), u->upper->root.fd, path, flags);
}

int lend_reopen(struct union_fs *u, struct node *n, int fd, int flags)
{
	struct loan l;
	int r = lend_begin(u, n, fd, &l);

	if (r < 0)
		return r;
	r = sys_reopen(fd, flags);
	lend_end(&l);
	return r;
}

/* --- after a kill ---------------------------------------------------------- */

static void take_back(struct union_fs *u, int dir, const char *name)
{
	char target[PATH_MAX + 64];
	unsigned long long ino;
	int at = 0, fd;
	struct statx st;
	unsigned mode;
	ssize_t n;

	n = sys_readlinkat(dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = 0;
	if (sscanf(target, "%o %llu %n", &mode, &ino, &at) != 2 || !at || mode > 07777)
		return;
	fd = sys_openat2(u->upper->root.fd, target + at, O_PATH | O_NOFOLLOW, 0,
			 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	if (fd >= 0 && sys_fstatx(fd, &st) == 0 && st.stx_ino == ino &&
	    (st.stx_mode & 07777) == (mode | LENT))
		(void)sys_fchmod(fd, mode);
	sys_close(fd);
}

int lend_repair(struct union_fs *u, int dirfd)
{
	_cleanup_fd_ int dir = sys_openat(dirfd, LENT_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	char name[16];
	unsigned i;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	for (i = MAX_LOANS; i-- > 0;) {
		(void)snprintf(name, sizeof(name), "%u", i);
		take_back(u, dir, name);
		(void)sys_unlinkat(dir, name, 0);
	}
	return 0;
}
