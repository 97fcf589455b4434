/* SPDX-License-Identifier: Apache-2.0 */
/* The content of files: read, write, and what goes with them. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/union/copydata.h"
#include "fs/union/copyup.h"
#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/use.h"
#include "fs/union/work.h"
#include "lib/log.h"
#include "lib/sys.h"

/* Copies that take longer than a request should: bytes. */
#define SLOW_COPY (512 << 10)
/* What is copied for one request from a file without descriptor: bytes. */
#define COPY_MAX (16U << 20)

/* An open file for a request: its node and its descriptor. */
struct io {
	struct node *n;
	struct fdent *f;
};

static int io_begin(struct union_fs *u, uint64_t nodeid, bool write, struct io *ret)
{
	int r;

	ret->f = NULL;
	ret->n = use_node(u, nodeid);
	if (!ret->n)
		return -ESTALE;
	r = !S_ISREG(ret->n->mode) ? (node_is_dir(ret->n) ? -EISDIR : -EINVAL) :
	    write                  ? copyup(u, ret->n, COPYUP_ALL) :
				     0;
	if (!r)
		r = locate_file(u, ret->n, write, &ret->f);
	if (r < 0)
		unuse_node(u, ret->n);
	return r;
}

static void io_end(struct union_fs *u, struct io *io)
{
	fdcache_put(u, io->f);
	unuse_node(u, io->n);
}

#define LOG_LINES 10
#define LOG_SECONDS 10
/* The end of the file, where its data is elsewhere and longer; else INT64_MAX. */
static off_t own_end(struct union_fs *u, struct node *n)
{
	off_t end = INT64_MAX;

	if (!node_has(n, NODE_META))
		return end;
	table_lock(u);
	if (node_has(n, NODE_META))
		end = node_ext_peek(u, n)->data_end;
	table_unlock(u);
	return end;
}

/* Whether one more line may be written; *ret_missed: how many were not, since the last. */
static bool may_log(unsigned *ret_missed)
{
	static atomic_long since;
	static atomic_uint lines, missed;
	struct timespec now;
	long s;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	s = since;
	if (now.tv_sec - s >= LOG_SECONDS && atomic_compare_exchange_strong(&since, &s, now.tv_sec))
		lines = 0;
	if (atomic_fetch_add(&lines, 1) >= LOG_LINES) {
		missed++;
		return false;
	}
	*ret_missed = atomic_exchange(&missed, 0);
	return true;
}

void log_unreadable(struct union_fs *u, struct node *n, const struct layer_dir *f, off_t off)
{
	char path[512], more[64] = "";
	const char *p;
	unsigned missed;
	size_t i;

	if (!may_log(&missed))
		return;
	p = union_path(u, node_id(u, n));
	for (i = 0; i < sizeof(path) - 1 && p[i]; i++)
		path[i] = (unsigned char)p[i] < ' ' || p[i] == 127 ? '?' : p[i];
	path[i] = 0;
	if (missed)
		(void)snprintf(more, sizeof(more), " (and %u more)", missed);
	log_err("%s: cannot be read at offset %lld: layer %s: %s%s", path, (long long)off,
		f->layer->path, layer_why(), more);
}

static ssize_t do_read(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, off_t off,
		       bool nowait)
{
	const struct layer_dir *f;
	ssize_t done = 0, n = 0;
	struct io io;
	off_t end;
	int r = io_begin(u, nodeid, false, &io);

	if (r < 0)
		return r;
	f = fdcache_dir(io.f);
	end = own_end(u, io.n);
	if (off >= end)
		size = 0;
	else if (end - off < (off_t)size)
		size = (size_t)(end - off);
	while ((size_t)done < size) {
		n = f->layer->ops->file_read(f, (char *)buf + done, size - (size_t)done, off + done,
					     nowait);
		if (n <= 0)
			break;
		done += n;
	}
	if (n == -EIO && f->fd < 0)
		log_unreadable(u, io.n, f, off + done);
	/* read to its end at once: the page cache has it, we need not keep it open */
	if (off == 0 && n == 0)
		fdcache_drop_kind(u, node_slot(u, io.n), FD_FILE_LOWER);
	io_end(u, &io);
	fdcache_reap(u);
	/* an error after a part is an error: the kernel takes less for the file's end */
	return n < 0 ? n : done;
}

ssize_t union_read(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, off_t off)
{
	return do_read(u, nodeid, buf, size, off, false);
}

ssize_t union_read_nowait(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, off_t off)
{
	return do_read(u, nodeid, buf, size, off, true);
}

/* Whether @size bytes at @off of @fd are those at @buf. */
static int same_bytes(int fd, const char *buf, size_t size, off_t off)
{
	char old[4096];

	while (size) {
		size_t want = size < sizeof(old) ? size : sizeof(old);
		ssize_t n = sys_pread(fd, old, want, off);

		if (n < 0)
			return (int)n;
		if (!n || memcmp(old, buf, (size_t)n) != 0)
			return 0;
		buf += n;
		off += n;
		size -= (size_t)n;
	}
	return 1;
}

/*
 * A write to a file that is for appending only (chattr +a), which cannot be
 * opened for other writes. The kernel, who does not know of that flag, may
 * send what is there already along with what is new: it writes whole pages.
 */
static ssize_t write_at_end(struct union_fs *u, uint64_t nodeid, const char *buf, size_t size,
			    off_t off)
{
	size_t old = 0;
	struct statx st;
	struct io io;
	ssize_t n;
	int fd, r = io_begin(u, nodeid, false, &io);

	if (r < 0)
		return r;
	r = sys_fstatx(fdcache_fd(io.f), &st);
	if (!r) {
		if (!(st.stx_attributes & STATX_ATTR_APPEND) || (uint64_t)off > st.stx_size)
			r = -EPERM;
		else
			old = st.stx_size - (uint64_t)off < size ? st.stx_size - (uint64_t)off :
								   size;
	}
	if (!r && old) {
		r = same_bytes(fdcache_fd(io.f), buf, old, off);
		r = r < 0 ? r : r ? 0 :
				    -EPERM;
	}
	if (r < 0 || old == size) {
		io_end(u, &io);
		return r < 0 ? r : (ssize_t)size;
	}
	fd = sys_reopen(fdcache_fd(io.f), O_WRONLY | O_APPEND);
	n = fd < 0 ? fd : sys_pwrite(fd, buf + old, size - old, off + (off_t)old);
	sys_close(fd);
	io_end(u, &io);
	return n < 0 ? (old ? (ssize_t)old : n) : n + (ssize_t)old;
}

ssize_t union_write(struct union_fs *u, uint64_t nodeid, const void *buf, size_t size, off_t off)
{
	ssize_t done = 0, n = 0;
	struct io io;
	int r = io_begin(u, nodeid, true, &io);

	if (r == -EPERM)
		return write_at_end(u, nodeid, buf, size, off);
	if (r < 0)
		return r;
	while ((size_t)done < size) {
		n = sys_pwrite(fdcache_fd(io.f), (const char *)buf + done, size - (size_t)done,
			       off + done);
		if (n <= 0)
			break;
		done += n;
	}
	io_end(u, &io);
	return done ? done : n;
}

int union_fallocate(struct union_fs *u, uint64_t nodeid, int mode, off_t off, off_t len)
{
	struct io io;
	int r = io_begin(u, nodeid, true, &io);

	if (r < 0)
		return r;
	r = sys_fallocate(fdcache_fd(io.f), mode, off, len);
	io_end(u, &io);
	return r;
}

off_t union_lseek(struct union_fs *u, uint64_t nodeid, off_t off, int whence)
{
	const struct layer_dir *f;
	struct io io;
	off_t ret;
	int r = io_begin(u, nodeid, false, &io);

	if (r < 0)
		return r;
	f = fdcache_dir(io.f);
	ret = f->layer->ops->file_seek(f, off, whence);
	if (ret > own_end(u, io.n))
		ret = whence == SEEK_DATA ? -ENXIO : own_end(u, io.n);
	io_end(u, &io);
	return ret;
}

ssize_t union_copy_range(struct union_fs *u, uint64_t in, off_t in_off, uint64_t out,
			 off_t out_off, size_t len)
{
	struct io i, o;
	off_t end;
	ssize_t n;
	int r = io_begin(u, out, true, &o);

	if (r < 0)
		return r;
	/* after the copy-up, which may be of the same file */
	r = io_begin(u, in, false, &i);
	if (r < 0) {
		io_end(u, &o);
		return r;
	}
	end = own_end(u, i.n);
	if (in_off >= end)
		len = 0;
	else if (end - in_off < (off_t)len)
		len = (size_t)(end - in_off);
	if (fdcache_fd(i.f) >= 0)
		n = sys_copy_file_range(fdcache_fd(i.f), &in_off, fdcache_fd(o.f), &out_off, len);
	else
		n = copy_buffered(fdcache_dir(i.f), in_off,
				  in_off + (off_t)(len < COPY_MAX ? len : COPY_MAX),
				  fdcache_fd(o.f), out_off);
	io_end(u, &i);
	io_end(u, &o);
	return n;
}

/* The file itself, open, where its content is elsewhere. The caller's. */
static int open_meta(struct union_fs *u, struct node *n)
{
	int fd = locate_path_fd(u, n), r;

	r = fd < 0 ? fd : sys_reopen(fd, O_RDONLY | O_NONBLOCK);
	sys_close(fd);
	return r;
}

int union_fsync(struct union_fs *u, uint64_t nodeid, bool data_only)
{
	struct node *n;
	struct io io;
	int r, fd;

	if (!u->cfg.sync || !u->writable)
		return 0;
	n = use_node(u, nodeid);
	if (!n)
		return -ESTALE;
	if (!node_has(n, NODE_UPPER)) {
		unuse_node(u, n);
		return 0;
	}
	if (node_is_dir(n)) {
		struct fdent *dir;

		r = locate_dir(u, n, 0, &dir);
		if (!r) {
			fd = sys_reopen(fdcache_fd(dir), O_RDONLY | O_DIRECTORY);
			if (fd == -EACCES)
				fd = lend_reopen(u, n, fdcache_fd(dir), O_RDONLY | O_DIRECTORY);
			r = fd < 0 ? fd : sys_fsync(fd, data_only);
			sys_close(fd);
			fdcache_put(u, dir);
		}
	} else if (node_has(n, NODE_META)) {
		fd = open_meta(u, n);
		r = fd < 0 ? fd : sys_fsync(fd, data_only);
		sys_close(fd);
	} else {
		r = io_begin(u, nodeid, false, &io);
		if (!r) {
			r = sys_fsync(fdcache_fd(io.f), data_only);
			io_end(u, &io);
		}
	}
	unuse_node(u, n);
	return r;
}

int union_syncfs(struct union_fs *u)
{
	return u->writable && u->cfg.sync ? sys_syncfs(u->work) : 0;
}

int union_statfs(struct union_fs *u, struct statfs *ret)
{
	struct layer *l = u->upper ? u->upper : u->lower[0];
	int r = l->ops->statfs(l, ret);

	if (!r)
		ret->f_namelen = ret->f_namelen > 255 ? 255 : ret->f_namelen;
	return r;
}

/*
 * For a file of a packed layer: what it would have in the upper, if it was copied up. A
 * new file of the workdir tells.
 */
static int flags_of_new(struct union_fs *u, bool dir)
{
	char tmp[WORK_NAME_MAX];
	int fd;

	if (!u->writable)
		return -ENOTTY;
	if (dir)
		return sys_reopen(u->work, O_RDONLY | O_DIRECTORY);
	fd = work_tmpfile(u, 0600, tmp);
	if (fd >= 0 && tmp[0])
		(void)sys_unlinkat(u->work, tmp, 0);
	return fd;
}

/* A descriptor for ioctls: files and directories. The caller's. */
static int flags_fd(struct union_fs *u, struct node *n)
{
	struct fdent *f;
	struct place p;
	int r, fd;

	if (S_ISREG(n->mode) && node_has(n, NODE_META))
		return open_meta(u, n);
	if (S_ISREG(n->mode)) {
		r = locate_file(u, n, false, &f);
		if (r < 0)
			return r;
		fd = fdcache_fd(f) < 0 ? flags_of_new(u, false) : sys_dup(fdcache_fd(f));
		fdcache_put(u, f);
		return fd;
	}
	if (!node_is_dir(n))
		return -ENOTTY;
	r = locate(u, n, &p);
	if (r < 0)
		return r;
	fd = fdcache_fd(p.dir) < 0 ? flags_of_new(u, true) :
				     sys_reopen(fdcache_fd(p.dir), O_RDONLY | O_DIRECTORY);
	if (fd == -EACCES && p.upper)
		fd = lend_reopen(u, n, fdcache_fd(p.dir), O_RDONLY | O_DIRECTORY);
	place_put(u, &p);
	return fd;
}

int union_fileattr(struct union_fs *u, uint64_t nodeid, unsigned long cmd, bool change, void *arg)
{
	struct node *n = use_node(u, nodeid);
	int fd = -1, r;

	if (!n)
		return -ESTALE;
	r = change ? copyup(u, n, COPYUP_META) : 0;
	if (!r) {
		fd = flags_fd(u, n);
		r = fd < 0 ? fd : sys_ioctl(fd, cmd, arg);
	}
	/* what may be written is asked at open() only: chattr +a and +i hold from now on */
	if (!r && change)
		fdcache_drop_kind(u, node_slot(u, n), FD_FILE_WRITE);
	sys_close(fd);
	unuse_node(u, n);
	return r;
}

int union_may_open(struct union_fs *u, uint64_t nodeid, bool append)
{
	uint64_t bars = STATX_ATTR_IMMUTABLE | (append ? 0 : STATX_ATTR_APPEND);
	struct statx st;
	int r = union_getattr(u, nodeid, &st);

	return r < 0 ? r : st.stx_attributes & bars ? -EPERM :
						      0;
}

/* Whether the content of @n must be decompressed. */
static bool in_packed(struct union_fs *u, struct node *n)
{
	return S_ISREG(n->mode) && !node_has(n, NODE_UPPER) && n->layer &&
	       u->lower[n->layer - 1]->ops->by_ino;
}

bool union_change_is_slow(struct union_fs *u, uint64_t nodeid)
{
	struct node *n = use_node(u, nodeid);
	bool slow = false;
	struct statx st;

	if (!n)
		return false;
	if (S_ISREG(n->mode) && u->writable &&
	    (!node_has(n, NODE_UPPER) || node_has(n, NODE_META)))
		slow = union_getattr(u, nodeid, &st) == 0 &&
		       st.stx_size > (in_packed(u, n) ? 0 : SLOW_COPY);
	unuse_node(u, n);
	return slow;
}

bool union_read_is_slow(struct union_fs *u, uint64_t nodeid)
{
	struct node *n = use_node(u, nodeid);
	bool slow;

	if (!n)
		return false;
	slow = in_packed(u, n);
	unuse_node(u, n);
	return slow;
}

int union_in_upper(struct union_fs *u, uint64_t nodeid)
{
	struct node *n = use_node(u, nodeid);
	int r;

	if (!n)
		return -ESTALE;
	r = node_has(n, NODE_UPPER) && !node_has(n, NODE_META);
	unuse_node(u, n);
	return r;
}

int union_backing_fd(struct union_fs *u, uint64_t nodeid, bool write, bool *ret_upper)
{
	struct io io;
	int r = io_begin(u, nodeid, write, &io), fd;

	if (r < 0)
		return r;
	fd = fdcache_fd(io.f) < 0 ? -EOPNOTSUPP : sys_dup(fdcache_fd(io.f));
	*ret_upper = fdcache_dir(io.f)->layer == u->upper;
	io_end(u, &io);
	return fd;
}
