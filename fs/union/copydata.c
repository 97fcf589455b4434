/* SPDX-License-Identifier: Apache-2.0 */
/* Copying what a file is: its data, its attributes. */
#include "fs/union/copydata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/attr.h"
#include "fs/union/ovl.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define BUFFER (256 << 10)

int64_t copy_buffered(const struct layer_dir *in, off_t off, off_t end, int out, off_t to)
{
	_cleanup_free_ char *buf = sys_malloc(BUFFER);
	int64_t done = 0;

	if (!buf)
		return -ENOMEM;
	while (off + done < end) {
		size_t want = end - off - done < BUFFER ? (size_t)(end - off - done) : BUFFER;
		ssize_t n = in->layer->ops->file_read(in, buf, want, off + done, false), pos = 0;

		if (n < 0)
			return done ? done : n;
		if (n == 0)
			break;
		while (pos < n) {
			ssize_t w = sys_pwrite(out, buf + pos, (size_t)(n - pos), to + done);

			if (w < 0)
				return done ? done : w;
			pos += w;
			done += w;
		}
	}
	return done;
}

static int copy_extent(const struct layer_dir *in, int out, off_t off, off_t end, bool *no_cfr)
{
	while (off < end && !*no_cfr) {
		off_t from = off, to = off;
		ssize_t n = sys_copy_file_range(in->fd, &from, out, &to, (size_t)(end - off));

		if (n == -EXDEV || n == -EOPNOTSUPP || n == -EINVAL || n == -ENOSYS ||
		    n == -EBADF) {
			*no_cfr = true;
			break;
		}
		if (n < 0)
			return (int)n;
		if (n == 0)
			return 0;
		off += n;
	}
	while (off < end) {
		int64_t n = copy_buffered(in, off, end, out, off);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return 0; /* the lower has shrunk: found out later */
		off += n;
	}
	return 0;
}

int copy_data(struct union_fs *u, const struct layer_dir *in, int out, int64_t size)
{
	const struct layer_ops *ops = in->layer->ops;
	bool no_cfr = in->fd < 0;
	struct statx st;
	off_t off = 0;
	int r;

	if (!size)
		return 0;
	r = ops->stat(in, "", &st);
	if (r < 0)
		return r;
	if (in->fd >= 0 && size >= (int64_t)st.stx_size && sys_reflink(out, in->fd) == 0) {
		u->copied_bytes += st.stx_size;
		return 0;
	}
	while (off < size) {
		off_t data = ops->file_seek(in, off, SEEK_DATA), hole;

		if (data == -ENXIO)
			break; /* a hole up to the end */
		if (data == -EINVAL || data == -EOPNOTSUPP) {
			data = off;
			hole = size;
		} else if (data < 0) {
			return (int)data;
		} else {
			hole = ops->file_seek(in, data, SEEK_HOLE);
			if (hole < 0)
				return (int)hole;
		}
		if (data >= size)
			break;
		if (hole > size)
			hole = size;
		r = copy_extent(in, out, data, hole, &no_cfr);
		if (r < 0)
			return r;
		u->copied_bytes += (unsigned long)(hole - data);
		off = hole;
	}
	return sys_ftruncate(out, size);
}

/* Whether an attribute that cannot be set may be left out of the copy. */
static bool may_skip(const struct union_fs *u, const char *attr, int err)
{
	if (err == -EOPNOTSUPP)
		return strncmp(attr, "system.posix_acl_", 17) &&
		       strcmp(attr, "security.capability");
	/* labels and trusted attributes are not an ordinary user's to set */
	return err == -EPERM && !u->privileged &&
	       (!strncmp(attr, "security.", 9) || !strncmp(attr, "trusted.", 8));
}

int copy_xattrs(struct union_fs *u, const struct place *src, int fd)
{
	const struct layer_dir *d = fdcache_dir(src->dir);
	const struct layer_ops *ops = d->layer->ops;
	_cleanup_free_ char *list = NULL;
	char small[512], buf[256 + 16];
	const char *names = small, *p;
	ssize_t len;

	len = ops->listxattr(d, src->name, small, sizeof(small));
	if (len == -ERANGE) {
		len = ops->listxattr(d, src->name, NULL, 0);
		if (len > 0) {
			list = sys_malloc((size_t)len);
			if (!list)
				return -ENOMEM;
			len = ops->listxattr(d, src->name, list, (size_t)len);
			names = list;
		}
	}
	if (len == -EOPNOTSUPP || len == -EPERM || len == -EACCES)
		return 0;
	if (len < 0)
		return (int)len;
	for (p = names; p < names + len; p += strlen(p) + 1) {
		char *val;
		ssize_t n;
		int r;

		/* hidden: the format's own; but users' escaped ones are kept as they are */
		if (!ovl_xattr_unescape(u, p, buf))
			continue;
		n = layer_getxattr_alloc(d, src->name, p, &val);
		if (n == -ENODATA || n == -EPERM || n == -EACCES)
			continue;
		if (n < 0)
			return (int)n;
		r = sys_fsetxattr(fd, p, val, (size_t)n, 0);
		free(val);
		if (r < 0 && !may_skip(u, p, r))
			return r;
	}
	return 0;
}

int copy_owner_mode(struct union_fs *u, int fd, const struct statx *st)
{
	mode_t mode = st->stx_mode & 07777;
	struct statx now;
	int r;

	if (u->upper->override_attr && !S_ISLNK(st->stx_mode)) {
		r = attr_write_override(u, fd, st->stx_uid, st->stx_gid, st->stx_mode,
					st->stx_rdev_major, st->stx_rdev_minor);
		if (r < 0)
			return r;
		return sys_fchmod(fd, S_ISDIR(st->stx_mode) ? 0755 : 0644);
	}
	r = sys_fstatx(fd, &now);
	if (r < 0)
		return r;
	if (now.stx_uid != st->stx_uid || now.stx_gid != st->stx_gid) {
		bool squashed = u->cfg.squash_uid || u->cfg.squash_gid;

		r = sys_fchown(fd, st->stx_uid, st->stx_gid);
		/* where everything is shown as one owner's, it need not be stored */
		if (r < 0 && !(squashed && (r == -EPERM || r == -EINVAL)))
			return r;
	}
	/* after the owner: chown takes setuid and setgid away */
	return S_ISLNK(st->stx_mode) ? 0 : sys_fchmod(fd, mode);
}

int copy_times(int fd, const struct statx *st)
{
	const struct timespec ts[2] = {
		{ .tv_sec = st->stx_atime.tv_sec, .tv_nsec = st->stx_atime.tv_nsec },
		{ .tv_sec = st->stx_mtime.tv_sec, .tv_nsec = st->stx_mtime.tv_nsec },
	};

	return sys_futimens(fd, ts);
}
