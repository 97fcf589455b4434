/* SPDX-License-Identifier: Apache-2.0 */
/* Making files of an image's tree. */
#include "tools/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/linkmap.h"
#include "lib/sys.h"
#include "tools/plyctl.h"
#include "tools/walk.h"

enum { BUF = 1 << 20 };
#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
#define NEW (O_CREAT | O_EXCL | O_NOFOLLOW)

struct unpack {
	struct view *v;
	const struct unpack_options *o;
	struct unpack_result *res;
	int *dirs; /* descriptors of the directories above, by depth; owned, but for the first */
	unsigned n, cap;
	struct linkmap *links; /* owned */
	uint8_t *buf; /* owned */
	char **ret_err;
};

static int fail(struct unpack *u, int r, const char *path, const char *what)
{
	if (!*u->ret_err && asprintf(u->ret_err, "%s: %s%s%s", path, what, *what ? ": " : "",
				     strerror(-r)) < 0)
		*u->ret_err = NULL;
	return r;
}

static int progress(struct unpack *u)
{
	if (u->o->progress)
		u->o->progress(u->o->arg, u->res->bytes, u->res->files);
	return u->o->stop && u->o->stop() ? -EINTR : 0;
}

/* --- attributes -------------------------------------------------------------------- */

static int set_xattr(struct unpack *u, const struct view_file *f, int fd, const char *name)
{
	_cleanup_free_ char *value = NULL;
	ssize_t n = view_getxattr(u->v, f, name, NULL, 0);
	int r;

	if (n < 0)
		return n == -ENODATA ? 0 : (int)n;
	value = sys_malloc((size_t)n + 1);
	if (!value)
		return -ENOMEM;
	n = view_getxattr(u->v, f, name, value, (size_t)n);
	r = n < 0 ? (int)n : sys_fsetxattr(fd, name, value, (size_t)n, 0);
	if (r == -EOPNOTSUPP || r == -EPERM || r == -E2BIG) {
		u->res->attributes++;
		return 0;
	}
	return r;
}

static int set_xattrs(struct unpack *u, const struct view_file *f, int fd)
{
	_cleanup_free_ char *list = NULL;
	ssize_t n = view_listxattr(u->v, f, NULL, 0);
	int r = 0;

	if (n <= 0)
		return n == -EOPNOTSUPP ? 0 : (int)n;
	list = sys_malloc((size_t)n + 1);
	if (!list)
		return -ENOMEM;
	n = view_listxattr(u->v, f, list, (size_t)n);
	if (n < 0)
		return (int)n;
	list[n] = 0;
	for (const char *p = list; p < list + n && r == 0; p += strlen(p) + 1)
		r = set_xattr(u, f, fd, p);
	return r;
}

/*
 * Owner first, which takes capabilities and setuid away; the times last. Without the right to
 * give files away nothing runs with the rights of whoever unpacks: no setuid, no setgid.
 */
static int set_attributes(struct unpack *u, const struct view_file *f, int fd)
{
	const struct statx *st = &f->st;
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = st->stx_mtime.tv_sec, .tv_nsec = st->stx_mtime.tv_nsec },
	};
	int r = u->o->owners ? sys_fchown(fd, st->stx_uid, st->stx_gid) : 0;

	if (r == 0 && !S_ISLNK(st->stx_mode))
		r = sys_fchmod(fd, st->stx_mode & (u->o->owners ? 07777 : 01777));
	if (r == 0 && u->o->owners)
		r = set_xattrs(u, f, fd);
	return r < 0 ? r : sys_futimens(fd, times);
}

/* --- content ----------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *p, size_t n, off_t off)
{
	while (n) {
		ssize_t done = sys_pwrite(fd, p, n, off);

		if (done <= 0)
			return done < 0 ? (int)done : -EIO;
		p += done;
		n -= (size_t)done;
		off += done;
	}
	return 0;
}

static int copy(struct unpack *u, const struct view_file *f, int fd)
{
	off_t off = 0, size = (off_t)f->st.stx_size, data, hole = 0;
	ssize_t n;
	int r = size ? sys_ftruncate(fd, size) : 0;

	while (r == 0 && off < size) {
		if (off >= hole) {
			data = view_seek(u->v, f, off, SEEK_DATA);
			if (data == -ENXIO)
				break;
			if (data > off)
				off = data;
			hole = view_seek(u->v, f, off, SEEK_HOLE);
			if (hole <= off)
				hole = size;
		}
		n = view_read(u->v, f, u->buf, hole - off < BUF ? (size_t)(hole - off) : BUF, off);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		r = write_all(fd, u->buf, (size_t)n, off);
		off += n;
		u->res->bytes += (uint64_t)n;
		if (r == 0)
			r = progress(u);
	}
	return r;
}

/* --- names ------------------------------------------------------------------------- */

static int make_link(struct unpack *u, const char *first, int dir, const char *name)
{
	_cleanup_fd_ int fd = sys_openat2(u->dirs[0], first, O_PATH | O_NOFOLLOW, 0, BENEATH);

	return fd < 0 ? fd : sys_link_fd(fd, dir, name);
}

static int make_symlink(struct unpack *u, const struct view_file *f, int dir, const char *name)
{
	_cleanup_free_ char *target = NULL;
	int r = view_readlink(u->v, f, &target);

	return r < 0 ? r : sys_symlinkat(target, dir, name);
}

/* Makes @dir/@name and opens it: a descriptor (of any kind), -errno; -ENODEV: left out. */
static int make(struct unpack *u, const struct view_file *f, int dir, const char *name)
{
	mode_t type = f->st.stx_mode & S_IFMT;
	int r;

	switch (type) {
	case S_IFREG:
		return sys_openat(dir, name, O_WRONLY | NEW, 0600);
	case S_IFDIR:
		r = sys_mkdirat(dir, name, 0700);
		return r < 0 ? r : sys_openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	case S_IFLNK:
		r = make_symlink(u, f, dir, name);
		break;
	default:
		if ((type == S_IFCHR || type == S_IFBLK) && !u->o->owners)
			return -ENODEV;
		r = sys_mknodat(dir, name, type | 0600,
				makedev(f->st.stx_rdev_major, f->st.stx_rdev_minor));
	}
	return r < 0 ? r : sys_openat(dir, name, O_PATH | O_NOFOLLOW, 0);
}

static int push(struct unpack *u, int fd)
{
	if (u->n == u->cap) {
		unsigned cap = u->cap ? 2 * u->cap : 32;
		int *p = sys_realloc(u->dirs, cap * sizeof(*p));

		if (!p) {
			sys_close(fd);
			return -ENOMEM;
		}
		u->dirs = p;
		u->cap = cap;
	}
	u->dirs[u->n++] = fd;
	return 0;
}

static int enter(struct unpack *u, const struct walk_step *s)
{
	_cleanup_fd_ int fd = -1;
	const char *first = NULL;
	int dir = u->dirs[u->n - 1], r = progress(u);

	if (r < 0)
		return r;
	u->res->files++;
	if (!S_ISDIR(s->f->st.stx_mode)) {
		r = linkmap_first(&u->links, &s->f->st, s->path + 1, &first);
		if (r == 0 && first) {
			r = make_link(u, first, dir, s->name);
			return r < 0 ? fail(u, r, s->path, "another name") : 0;
		}
	}
	fd = r < 0 ? r : make(u, s->f, dir, s->name);
	if (fd == -ENODEV) {
		u->res->left_out++;
		return 0;
	}
	if (fd < 0)
		return fail(u, fd, s->path, "");
	if (S_ISDIR(s->f->st.stx_mode))
		return push(u, steal_fd(&fd));
	if (S_ISREG(s->f->st.stx_mode))
		r = copy(u, s->f, fd);
	if (r == -EINTR)
		return r;
	if (r == 0)
		r = set_attributes(u, s->f, fd);
	return r < 0 ? fail(u, r, s->path, "") : 0;
}

/* A directory's attributes, when nothing is made in it any more. */
static int leave(struct unpack *u, const struct walk_step *s)
{
	int fd = u->dirs[u->n - 1], r = set_attributes(u, s->f, fd);

	if (u->n > 1) {
		sys_close(fd);
		u->n--;
	}
	return r < 0 ? fail(u, r, s->path, "") : 0;
}

static int step(void *arg, const struct walk_step *s)
{
	if (s->leaving)
		return leave(arg, s);
	return s->depth ? enter(arg, s) : 0;
}

int unpack_tree(struct view *v, int dirfd, const struct unpack_options *o,
		struct unpack_result *ret, char **ret_err)
{
	struct unpack u = { .v = v, .o = o, .res = ret, .ret_err = ret_err };
	struct view_file root;
	int r;

	*ret = (struct unpack_result){ 0 };
	*ret_err = NULL;
	u.buf = sys_malloc(BUF);
	if (!u.buf)
		return -ENOMEM;
	r = push(&u, dirfd);
	if (r == 0)
		r = view_root(v, &root);
	if (r == 0) {
		r = walk(v, "/", &root, step, &u, &ret->unreadable);
		view_put(v, &root);
	}
	while (u.n > 1)
		sys_close(u.dirs[--u.n]);
	free(u.dirs);
	linkmap_free(u.links);
	free(u.buf);
	return r;
}

static int remove_one(int dirfd, const char *name)
{
	int r = sys_unlinkat(dirfd, name, 0);
	_cleanup_fd_ int fd = -1;

	if (r != -EISDIR && r != -EPERM)
		return r;
	fd = sys_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	(void)sys_fchmod(fd, 0700);
	r = unpack_remove(fd);
	return r < 0 ? r : sys_unlinkat(dirfd, name, AT_REMOVEDIR);
}

int unpack_remove(int dirfd)
{
	int fd = sys_openat(dirfd, ".", O_RDONLY | O_DIRECTORY, 0), r = 0, e;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		sys_close(fd);
		return fd < 0 ? fd : -ENOMEM;
	}
	while ((de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		e = remove_one(dirfd, de->d_name);
		if (e < 0 && e != -ENOENT && r == 0)
			r = e;
	}
	(void)closedir(d);
	return r;
}
