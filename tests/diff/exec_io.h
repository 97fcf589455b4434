/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on open descriptors: reading, writing, mapping, allocating. */
#ifndef TESTS_DIFF_EXEC_IO_H
#define TESTS_DIFF_EXEC_IO_H

#include "exec.h"

static inline char *io_buffer(void)
{
	static char *buf;

	if (!buf && posix_memalign((void **)&buf, 4096, IO_MAX))
		_exit(99);
	return buf;
}

static inline void io_open(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	int fd;

	if (o->slot < 0 || o->slot >= N_SLOTS)
		return;
	if (x->fds[o->slot] >= 0)
		close(x->fds[o->slot]);
	x->fds[o->slot] = -1;
	umask((mode_t)o->a[2]);
	/* NONBLOCK: a FIFO must not stop the test */
	fd = openat(exec_dir(x, o->d1), o->p1,
		    (int)o->a[0] | O_CLOEXEC | O_NONBLOCK, (mode_t)o->a[1]);
	umask(022);
	if (res_set(r, fd))
		return;
	r->ret = 0;
	x->fds[o->slot] = fd;
}

static inline void io_rw(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	int fd = exec_fd(x, o->slot);
	int writes = o->kind == OP_write || o->kind == OP_pwrite ||
		     o->kind == OP_dwrite;
	int seq = o->kind == OP_read || o->kind == OP_write;
	size_t len = (size_t)(seq ? o->a[0] : o->a[1]);
	char *buf = io_buffer();
	struct stat st;
	ssize_t n;

	/* some look at the position first, which is anything after readdir */
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		res_set(r, -1);
		return;
	}
	if (len > IO_MAX)
		len = IO_MAX;
	if (writes)
		rng_fill((uint64_t)(seq ? o->a[1] : o->a[2]), buf, len);
	switch (o->kind) {
	case OP_read:
		n = read(fd, buf, len);
		break;
	case OP_write:
		n = write(fd, buf, len);
		break;
	case OP_pread:
	case OP_dread:
		n = pread(fd, buf, len, o->a[0]);
		break;
	default:
		n = pwrite(fd, buf, len, o->a[0]);
	}
	if (!res_set(r, n) && !writes)
		res_add(r, buf, (size_t)n);
}

static inline void io_lseek(struct exec *x, const struct op *o)
{
	int fd = exec_fd(x, o->slot);
	struct stat st;
	off_t at;

	/* what offsets in a directory mean is the filesystem's own affair */
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		res_set(x->res, lseek(fd, 0, SEEK_SET));
		return;
	}
	at = lseek(fd, 0, SEEK_CUR);
	res_set(x->res, lseek(fd, o->a[0], (int)o->a[1]));
	/* where holes are not compared, the position stays comparable */
	if (o->a[1] >= SEEK_DATA && at >= 0)
		(void)lseek(fd, at, SEEK_SET);
	/* the file's identity tells the parent whether holes are comparable */
	if (o->a[1] >= SEEK_DATA)
		x->res->has_st = !xstatx(fd, "", AT_EMPTY_PATH, &x->res->st);
}

static inline void map_drop(struct mapping *m)
{
	if (!m->addr)
		return;
	munmap(m->addr, m->len);
	close(m->fd);
	memset(m, 0, sizeof(*m));
}

static inline void io_mmap(struct exec *x, const struct op *o)
{
	struct mapping *m = &x->maps[o->a[0] % N_MAPS];
	int fd = exec_fd(x, o->slot);
	struct stat st;
	void *p;

	map_drop(m);
	if (!fstat(fd, &st) && !S_ISREG(st.st_mode)) {
		errno = ENODEV; /* mapping a device says nothing */
		res_set(x->res, -1);
		return;
	}
	p = mmap(NULL, (size_t)o->a[1], (int)o->a[2], (int)o->a[3], fd, 0);
	if (res_set(x->res, p == MAP_FAILED ? -1 : 0))
		return;
	m->addr = p;
	m->len = (size_t)o->a[1];
	m->prot = (int)o->a[2];
	m->shared = (int)o->a[3] == MAP_SHARED;
	m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* Copy between a mapping and the buffer; -1 when there is no page. */
static inline int io_map_copy(char *at, size_t len, int writes)
{
	char *buf = io_buffer();

	if (sigsetjmp(exec_fault, 1))
		return -1;
	if (writes)
		memcpy(at, buf, len);
	else
		memcpy(buf, at, len);
	return 0;
}

/*
 * Accesses stop at the end of the file: what lies between there and the end
 * of the page is anyone's. A page wholly beyond gives SIGBUS, seen as EFAULT.
 */
static inline void io_map_access(struct exec *x, const struct op *o)
{
	struct mapping *m = &x->maps[o->a[0] % N_MAPS];
	struct res *r = x->res;
	size_t off = (size_t)o->a[1], len = (size_t)o->a[2];
	int writes = o->kind == OP_map_write;
	struct stat st;

	if (!m->addr || off >= m->len ||
	    !(m->prot & (writes ? PROT_WRITE : PROT_READ)) ||
	    fstat(m->fd, &st)) {
		errno = EBADF;
		res_set(r, -1);
		return;
	}
	if (len > m->len - off)
		len = m->len - off;
	if (len > IO_MAX)
		len = IO_MAX;
	if (off < (size_t)st.st_size) {
		if (len > (size_t)st.st_size - off)
			len = (size_t)st.st_size - off;
	} else if (off < (((size_t)st.st_size + 4095) & ~(size_t)4095)) {
		len = 0;
	} else {
		len = 1;
	}
	if (writes)
		rng_fill((uint64_t)o->a[3], io_buffer(), len);
	if (io_map_copy(m->addr + off, len, writes)) {
		errno = EFAULT;
		res_set(r, -1);
		return;
	}
	if (!writes) {
		res_add(r, io_buffer(), len);
		return;
	}
	if (!m->shared || !len)
		return;
	/* the time of a store through a mapping is when it is written back */
	r->lax = LAX_TIME | LAX_HOLES;
	r->has_st = !xstatx(m->fd, "", AT_EMPTY_PATH, &r->st);
	if (o->a[4])
		res_set(r, msync(m->addr, m->len, MS_SYNC));
}

static inline void io_copy_range(struct exec *x, const struct op *o)
{
	int in = exec_fd(x, (int)o->a[0] % N_SLOTS);
	int out = exec_fd(x, o->slot);
	loff_t off_in = o->a[1], off_out = o->a[2];
	long long total = 0, len = o->a[3];
	ssize_t n = 0;

	/* overlaps are vague, O_DIRECT's rules are the filesystem's own */
	if ((in == out && in >= 0) || fcntl(in, F_GETFL) & O_DIRECT ||
	    fcntl(out, F_GETFL) & O_DIRECT) {
		errno = EINVAL;
		res_set(x->res, -1);
		return;
	}
	while (total < len) {
		n = copy_file_range(in, &off_in, out, &off_out,
				    (size_t)(len - total), 0);
		if (n <= 0)
			break;
		total += n;
	}
	res_set(x->res, n < 0 ? -1 : total);
	x->res->lax = LAX_HOLES;
	x->res->has_st = !xstatx(out, "", AT_EMPTY_PATH, &x->res->st);
}

static inline void io_lock(struct exec *x, const struct op *o)
{
	struct flock fl = { 0 };
	int fd = exec_fd(x, o->slot);
	int rc;

	if (o->kind == OP_flock) {
		res_set(x->res, flock(fd, (int)o->a[0] | LOCK_NB));
		return;
	}
	fl.l_type = (short)o->a[0];
	fl.l_whence = SEEK_SET;
	fl.l_start = o->a[1];
	fl.l_len = o->a[2];
	rc = fcntl(fd, o->a[3] == 2 ? F_OFD_GETLK : o->a[3] ? F_OFD_SETLK :
							      F_SETLK,
		   &fl);
	if (!res_set(x->res, rc) && o->a[3] == 2)
		res_text(x->res, "%d %lld %lld", fl.l_type,
			 fl.l_type == F_UNLCK ? 0LL : (long long)fl.l_start,
			 fl.l_type == F_UNLCK ? 0LL : (long long)fl.l_len);
}

static inline void io_flags(struct exec *x, const struct op *o)
{
	int fd = exec_fd(x, o->slot);
	struct stat st;
	int fl = 0;

	/* a directory's flags pass on to what is made in it, or do not */
	if (!fstat(fd, &st) && (!S_ISDIR(st.st_mode) || o->kind != OP_getflags) &&
	    !S_ISREG(st.st_mode))
		return; /* of a FIFO some know them, some do not */
	if (res_set(x->res, ioctl(fd, FS_IOC_GETFLAGS, &fl)))
		return;
	if (o->kind == OP_getflags) {
		res_text(x->res, "%x", (unsigned int)fl & (unsigned int)FS_FL_USER_MODIFIABLE);
		return;
	}
	fl = (fl & ~(FS_NODUMP_FL | FS_NOATIME_FL)) |
	     ((int)o->a[0] & (FS_NODUMP_FL | FS_NOATIME_FL));
	res_set(x->res, ioctl(fd, FS_IOC_SETFLAGS, &fl));
}

static inline void io_fsync(struct exec *x, const struct op *o)
{
	int fd = exec_fd(x, o->slot);

	res_set(x->res, o->a[0] == 0 ? fsync(fd) :
			o->a[0] == 1 ? fdatasync(fd) :
				       syncfs(fd));
}

/*
 * btrfs leaves a file alone, its setuid bit too, when there is nothing to
 * punch out. Where there is something is not the same in both trees, so files
 * with such a bit get no holes.
 */
static inline int io_punch_setuid(int fd, const struct op *o)
{
	struct stat st;

	return o->a[0] & FALLOC_FL_PUNCH_HOLE && !fstat(fd, &st) &&
	       st.st_mode & (S_ISUID | S_ISGID);
}

/* To the size that it has: the kernel sends no time with writeback. */
static inline void io_same_size(struct exec *x, int dir, const char *path, int flags,
				long long size)
{
	if (xstatx(dir, path, flags, &x->res->st) || (long long)x->res->st.stx_size != size)
		return;
	x->res->lax = LAX_SAME_SIZE;
	x->res->has_st = 1;
}

static inline void io_fd_meta(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	int fd = exec_fd(x, o->slot);
	struct timespec ts[2] = {
		{ o->a[0], o->a[1] },
		{ o->a[2], o->a[3] },
	};
	char val[8192];
	ssize_t n;

	switch (o->kind) {
	case OP_ftruncate:
		io_same_size(x, fd, "", AT_EMPTY_PATH, o->a[0]);
		res_set(r, ftruncate(fd, o->a[0]));
		if (r->has_st)
			r->has_st = !xstatx(fd, "", AT_EMPTY_PATH, &r->st);
		break;
	case OP_fallocate:
		if (io_punch_setuid(fd, o))
			break;
		res_set(r, fallocate(fd, (int)o->a[0], o->a[1], o->a[2]));
		/*
		 * Reading what is allocated but not written makes it data; and
		 * whether a hole punched into nothing is a change, btrfs and
		 * the kernel's FUSE do not agree.
		 */
		r->lax = LAX_HOLES | (o->a[0] & FALLOC_FL_PUNCH_HOLE ? LAX_TIME : 0);
		r->has_st = !xstatx(fd, "", AT_EMPTY_PATH, &r->st);
		break;
	case OP_fchmod:
		res_set(r, fchmod(fd, (mode_t)o->a[0]));
		break;
	case OP_fchown:
		res_set(r, fchown(fd, (uid_t)o->a[0], (gid_t)o->a[1]));
		break;
	case OP_futimens:
		res_set(r, futimens(fd, ts));
		break;
	case OP_fsetxattr:
		n = (ssize_t)xattr_value(o->p2, o, val);
		res_set(r, fsetxattr(fd, o->p2, val, (size_t)n, (int)o->a[1]));
		break;
	case OP_fgetxattr:
		n = fgetxattr(fd, o->p2, val, (size_t)o->a[0]);
		if (!res_set(r, n) && o->a[0])
			res_add(r, val, (size_t)n);
		break;
	case OP_flistxattr:
		n = flistxattr(fd, val, sizeof(val));
		if (!res_set(r, n))
			exec_xattr_list(r, val, n);
		break;
	default:
		res_set(r, fremovexattr(fd, o->p2));
	}
}

#endif
