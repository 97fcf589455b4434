/* SPDX-License-Identifier: Apache-2.0 */
/* The workdir: temporary files, whiteouts, and their way into the upper. */
#include "fs/union/work.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/sidecar.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define LOCK_WAIT_MS 5000

void work_name(struct union_fs *u, char ret[WORK_NAME_MAX])
{
	(void)snprintf(ret, WORK_NAME_MAX, "#%x", u->tmp_seq++);
}

/* A previous daemon may be on its way out: waits for it, but not for ever. */
static int lock_wait(int fd)
{
	const struct timespec nap = { .tv_nsec = 20000000 };
	int waited = 0, r;

	while ((r = sys_flock(fd, LOCK_EX | LOCK_NB)) == -EWOULDBLOCK && waited < LOCK_WAIT_MS) {
		(void)nanosleep(&nap, NULL);
		waited += 20;
	}
	return r == -EWOULDBLOCK ? -EBUSY : r;
}

static int fail(char **ret_err, int r, const char *what, const char *path)
{
	if (asprintf(ret_err, "%s %s: %s", what, path, strerror(-r)) < 0)
		*ret_err = NULL;
	return r;
}

static int open_subdir(int dirfd, const char *name)
{
	int r = sys_mkdirat(dirfd, name, 0700);

	if (r < 0 && r != -EEXIST)
		return r;
	r = sys_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (r == -EACCES) {
		/* the kernel makes its work directory with mode 0 */
		int fd = sys_openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);

		if (fd < 0)
			return fd;
		if (sys_fchmod(fd, 0700) == 0)
			r = sys_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		sys_close(fd);
	}
	return r;
}

static int empty_dir(int dirfd)
{
	_cleanup_fd_ int fd = sys_openat(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *de;
	int r = 0;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d)
		return -errno;
	(void)steal_fd(&fd);
	while (!r && (de = readdir(d)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			r = work_remove_tree(dirfd, de->d_name);
	(void)closedir(d);
	return r;
}

int work_remove_tree(int dirfd, const char *name)
{
	_cleanup_fd_ int fd = -1;
	int r = sys_unlinkat(dirfd, name, 0);

	if (r != -EISDIR && r != -EPERM)
		return r;
	r = sys_unlinkat(dirfd, name, AT_REMOVEDIR);
	if (r != -ENOTEMPTY && r != -EEXIST)
		return r;
	fd = open_subdir(dirfd, name);
	if (fd < 0)
		return fd;
	r = empty_dir(fd);
	return r < 0 ? r : sys_unlinkat(dirfd, name, AT_REMOVEDIR);
}

int work_open(struct union_fs *u, const char *path, bool index, char **ret_err)
{
	int r;

	u->wlock = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (u->wlock < 0)
		return fail(ret_err, u->wlock, "workdir", path);
	r = lock_wait(u->wlock);
	if (r < 0)
		return fail(ret_err, r,
			    r == -EBUSY ? "workdir is in use by another mount:" :
					  "cannot lock workdir",
			    path);
	r = lend_repair(u, u->wlock);
	if (r < 0)
		return fail(ret_err, r, "cannot read the directory lent in workdir", path);
	u->work = open_subdir(u->wlock, "work");
	if (u->work < 0)
		return fail(ret_err, u->work, "cannot make the directory work in workdir", path);
	r = empty_dir(u->work);
	if (r < 0)
		return fail(ret_err, r, "cannot empty the directory work in workdir", path);
	r = sidecar_open(u, u->wlock);
	if (r < 0)
		return fail(ret_err, r, "cannot open the directory origin in workdir", path);
	if (!index)
		return 0;
	u->index = open_subdir(u->wlock, "index");
	if (u->index < 0)
		return fail(ret_err, u->index, "cannot make the directory index in workdir", path);
	u->nlinks = open_subdir(u->wlock, "nlink");
	if (u->nlinks < 0)
		return fail(ret_err, u->nlinks, "cannot make the directory nlink in workdir", path);
	u->have_nlinks = true;
	return 0;
}

void work_close(struct union_fs *u)
{
	if (u->work >= 0)
		(void)empty_dir(u->work);
	sys_close(u->work);
	sys_close(u->index);
	sys_close(u->nlinks);
	sys_close(u->lent);
	sys_close(u->origins);
	sys_close(u->wlock); /* the lock goes with it */
	u->work = u->index = u->nlinks = u->lent = u->wlock = -1;
	atomic_store(&u->origins, -1);
}

int work_tmpfile(struct union_fs *u, mode_t mode, char ret_name[WORK_NAME_MAX])
{
	int fd;

	ret_name[0] = 0;
	if (!u->no_tmpfile) {
		fd = sys_openat(u->work, ".", O_TMPFILE | O_RDWR, mode);
		if (fd != -EOPNOTSUPP && fd != -EISDIR && fd != -ENOENT)
			return fd;
		u->no_tmpfile = true;
	}
	work_name(u, ret_name);
	return sys_openat(u->work, ret_name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, mode);
}

int work_link(struct union_fs *u, int fd, const char *tmpname, int dirfd, const char *name)
{
	if (!*tmpname)
		return sys_link_fd(fd, dirfd, name);
	return sys_renameat2(u->work, tmpname, dirfd, name, RENAME_NOREPLACE);
}

int work_replace(struct union_fs *u, int fd, const char *tmpname, int dirfd, const char *name)
{
	char tmp[WORK_NAME_MAX];
	int r;

	if (!*tmpname) {
		work_name(u, tmp);
		r = sys_link_fd(fd, u->work, tmp);
		if (r < 0)
			return r;
		tmpname = tmp;
	}
	r = sys_renameat2(u->work, tmpname, dirfd, name, 0);
	if (r < 0)
		(void)sys_unlinkat(u->work, tmpname, 0);
	return r;
}

/* --- whiteouts ----------------------------------------------------------- */

static void wh_name(char buf[WORK_NAME_MAX], int n)
{
	(void)snprintf(buf, WORK_NAME_MAX, "wh#%x", (unsigned)n);
}

/* Makes the whiteout that others are links of. Its number, or -errno. */
static int make_shared(struct union_fs *u, int old)
{
	char name[WORK_NAME_MAX];
	int r, n;

	(void)pthread_mutex_lock(&u->wh_lock);
	n = u->shared_wh;
	if (n == old) {
		n = old + 1;
		wh_name(name, n);
		r = sys_mknodat(u->work, name, S_IFCHR, 0);
		if (r < 0)
			n = r;
		else
			u->shared_wh = n;
	}
	(void)pthread_mutex_unlock(&u->wh_lock);
	return n;
}

/* Links the shared whiteout to @dirfd/@name; a new one once it has too many names. */
static int link_whiteout(struct union_fs *u, int dirfd, const char *name)
{
	char wh[WORK_NAME_MAX];
	int n = u->shared_wh, r;

	for (;;) {
		if (!n) {
			n = make_shared(u, 0);
			if (n < 0)
				return n;
		}
		wh_name(wh, n);
		r = sys_linkat(u->work, wh, dirfd, name);
		if (r != -EMLINK && !(r == -ENOENT && n != u->shared_wh))
			return r;
		if (r == -EMLINK)
			(void)sys_unlinkat(u->work, wh, 0);
		n = make_shared(u, n);
		if (n < 0)
			return n;
	}
}

/* The AUFS form, where devices are refused: hides @name by a file beside its place. */
static int aufs_whiteout(int dirfd, const char *name)
{
	char wh[256 + sizeof(LAYER_WH_PREFIX)];
	int fd;

	(void)snprintf(wh, sizeof(wh), LAYER_WH_PREFIX "%s", name);
	fd = sys_openat(dirfd, wh, O_CREAT | O_WRONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	sys_close(fd);
	return 0;
}

void work_no_whiteout(int dirfd, const char *name)
{
	char wh[256 + sizeof(LAYER_WH_PREFIX)];

	(void)snprintf(wh, sizeof(wh), LAYER_WH_PREFIX "%s", name);
	(void)sys_unlinkat(dirfd, wh, 0);
}

int work_whiteout(struct union_fs *u, int dirfd, const char *name)
{
	int r;

	if (u->cfg.wh_files)
		return aufs_whiteout(dirfd, name);
	r = link_whiteout(u, dirfd, name);

	/* file systems without hard links to devices */
	if (r == -EPERM || r == -EOPNOTSUPP || r == -ENOSYS)
		r = sys_mknodat(dirfd, name, S_IFCHR, 0);
	return r;
}

void work_unwhiteout(struct union_fs *u, int dirfd, const char *name)
{
	char wh[256 + sizeof(LAYER_WH_PREFIX)];

	(void)snprintf(wh, sizeof(wh), "%s%s", u->cfg.wh_files ? LAYER_WH_PREFIX : "", name);
	(void)sys_unlinkat(dirfd, wh, 0);
}

int work_whiteout_over(struct union_fs *u, int dirfd, const char *name, bool dir)
{
	char tmp[WORK_NAME_MAX];
	int r;

	work_name(u, tmp);
	if (u->cfg.wh_files) {
		r = aufs_whiteout(dirfd, name);
		if (!r)
			r = sys_renameat2(dirfd, name, u->work, tmp, 0);
		return r < 0 ? r : work_remove_tree(u->work, tmp);
	}
	r = work_whiteout(u, u->work, tmp);
	if (r < 0)
		return r;
	r = sys_renameat2(u->work, tmp, dirfd, name, dir ? RENAME_EXCHANGE : 0);
	if (r < 0)
		(void)sys_unlinkat(u->work, tmp, 0);
	else if (dir)
		(void)work_remove_tree(u->work, tmp);
	return r;
}

int work_place_dir(struct union_fs *u, const char *tmp, int dirfd, const char *name, bool over)
{
	int r = sys_renameat2(u->work, tmp, dirfd, name, over ? RENAME_EXCHANGE : RENAME_NOREPLACE);

	if (!r && over)
		(void)sys_unlinkat(u->work, tmp, 0);
	return r;
}
