/* SPDX-License-Identifier: Apache-2.0 */
/* The layer that is a directory on disk. */
#include <dirent.h>
#include <errno.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "fs/layer/layer.h"

#define RESOLVE_IN_LAYER (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static void dir_layer_close(struct layer *l)
{
	sys_close(l->root.fd);
}

static int dir_dir_open(const struct layer_dir *base, const char *path, struct layer_dir *ret)
{
	int fd = sys_openat2(base->fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
			     RESOLVE_IN_LAYER);

	if (fd < 0)
		return fd;
	*ret = (struct layer_dir){ .layer = base->layer, .fd = fd };
	return 0;
}

static int dir_stat(const struct layer_dir *dir, const char *name, struct statx *ret)
{
	if (!*name)
		return sys_fstatx(dir->fd, ret);
	return sys_statx(dir->fd, name, AT_SYMLINK_NOFOLLOW, ret);
}

struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

static int iterate_buf(const char *buf, ssize_t len, layer_iter_fn fn, void *arg)
{
	ssize_t pos = 0;

	while (pos < len) {
		const struct linux_dirent64 *d =
			(const struct linux_dirent64 *)(const void *)(buf + pos);
		struct layer_dirent de = { .name = d->d_name, .type = d->d_type };
		int r;

		pos += d->d_reclen;
		if (d->d_name[0] == '.' &&
		    (!d->d_name[1] || (d->d_name[1] == '.' && !d->d_name[2])))
			continue;
		r = fn(arg, &de);
		if (r)
			return r;
	}
	return 0;
}

static int dir_iterate(const struct layer_dir *dir, layer_iter_fn fn, void *arg)
{
	enum { SIZE = 64 << 10 };
	_cleanup_fd_ int fd = -1;
	_cleanup_free_ char *buf = sys_malloc(SIZE);
	ssize_t n;
	int r;

	if (!buf)
		return -ENOMEM;
	/* "." is cheaper than going through /proc, but asks for the permission to search */
	fd = sys_openat(dir->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd == -EACCES)
		fd = sys_reopen(dir->fd, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	while ((n = sys_getdents(fd, buf, SIZE)) > 0) {
		r = iterate_buf(buf, n, fn, arg);
		if (r)
			return r;
	}
	return (int)n;
}

static ssize_t dir_readlink(const struct layer_dir *dir, const char *name, char *buf, size_t size)
{
	return sys_readlinkat(dir->fd, name, buf, size);
}

static ssize_t dir_getxattr(const struct layer_dir *dir, const char *name, const char *attr,
			    void *buf, size_t size)
{
	if (!*name)
		return sys_fgetxattr(dir->fd, attr, buf, size);
	return sys_getxattr_at(dir->fd, name, attr, buf, size);
}

static ssize_t dir_listxattr(const struct layer_dir *dir, const char *name, char *buf, size_t size)
{
	if (!*name)
		return sys_flistxattr(dir->fd, buf, size);
	return sys_listxattr_at(dir->fd, name, buf, size);
}

static int dir_handle(const struct layer_dir *dir, const char *name, void *buf, size_t size,
		      int *ret_type)
{
	return sys_file_handle(dir->fd, name, buf, size, ret_type);
}

static int dir_file_open(const struct layer_dir *dir, const char *name, struct layer_dir *ret)
{
	/* O_NONBLOCK: should a FIFO have taken the file's place */
	int fd = sys_openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME, 0);

	if (fd == -EPERM) /* O_NOATIME is for the owner */
		fd = sys_openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	*ret = (struct layer_dir){ .layer = dir->layer, .fd = fd };
	return 0;
}

static ssize_t dir_file_read(const struct layer_dir *f, void *buf, size_t size, off_t off,
			     bool nowait)
{
	ssize_t n = nowait ? sys_pread_nowait(f->fd, buf, size, off) : -EOPNOTSUPP;

	return n == -EOPNOTSUPP ? sys_pread(f->fd, buf, size, off) : n;
}

static off_t dir_file_seek(const struct layer_dir *f, off_t off, int whence)
{
	return sys_lseek(f->fd, off, whence);
}

static int dir_statfs(struct layer *l, struct statfs *ret)
{
	return sys_fstatfs(l->root.fd, ret);
}

static const struct layer_ops dir_ops = {
	.kind = "directory",
	.close = dir_layer_close,
	.dir_open = dir_dir_open,
	.stat = dir_stat,
	.iterate = dir_iterate,
	.readlink = dir_readlink,
	.getxattr = dir_getxattr,
	.listxattr = dir_listxattr,
	.handle = dir_handle,
	.file_open = dir_file_open,
	.file_read = dir_file_read,
	.file_seek = dir_file_seek,
	.statfs = dir_statfs,
};

int layer_open_dir(const char *path, bool private_mount, struct layer **ret)
{
	_cleanup_fd_ int fd = -1;
	struct statx st;
	struct layer *l;
	int r;

	if (private_mount) {
		fd = (int)syscall(SYS_open_tree, AT_FDCWD, path,
				  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (fd < 0)
			return -errno;
	} else {
		fd = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
		if (fd < 0)
			return fd;
	}
	r = sys_fstatx(fd, &st);
	if (r < 0)
		return r;
	if (!S_ISDIR(st.stx_mode))
		return -ENOTDIR;
	l = sys_calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->ops = &dir_ops;
	l->path = sys_strdup(path);
	if (!l->path) {
		free(l);
		return -ENOMEM;
	}
	l->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	/* FS_IOC_GETFSUUID needs a real descriptor; a layer we cannot read has no UUID for us */
	r = sys_openat(fd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (r >= 0) {
		int dfd = r;

		if (sys_fs_uuid(dfd, l->uuid) < 0)
			memset(l->uuid, 0, sizeof(l->uuid));
		sys_close(dfd);
	}
	l->root = (struct layer_dir){ .layer = l, .fd = steal_fd(&fd) };
	*ret = l;
	return 0;
}
