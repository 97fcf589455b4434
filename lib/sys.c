/* SPDX-License-Identifier: Apache-2.0 */
/* System calls with -errno results, and the seam for fault injection. */
#include "lib/sys.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* Numbers of newer system calls, the same on every architecture. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif
#ifndef __NR_setxattrat
#define __NR_setxattrat 463
#define __NR_getxattrat 464
#define __NR_listxattrat 465
#define __NR_removexattrat 466
#endif

/* struct xattr_args of <linux/xattr.h> (Linux 6.13) */
struct sys_xattr_args {
	__attribute__((aligned(8))) uint64_t value;
	uint32_t size;
	uint32_t flags;
};

#ifdef PLYFS_FAULT
static __thread struct {
	unsigned countdown;
	int err;
	bool persistent, fired;
	const char *where;
} fault;

void sys_fault_arm(unsigned nth, int err, bool persistent)
{
	fault.countdown = nth;
	fault.err = err;
	fault.persistent = persistent;
	fault.fired = false;
	fault.where = NULL;
}

bool sys_fault_fired(void)
{
	return fault.fired;
}

const char *sys_fault_where(void)
{
	return fault.where;
}

static int fault_check(const char *where)
{
	if (fault.fired && fault.persistent && fault.countdown == 0 && fault.err)
		return -fault.err;
	if (!fault.countdown || --fault.countdown)
		return 0;
	fault.fired = true;
	fault.where = where;
	return -fault.err;
}

#define FAULT_POINT()                           \
	do {                                    \
		int f_ = fault_check(__func__); \
		if (f_)                         \
			return f_;              \
	} while (0)
/* For what fails only if it is the call aimed at. */
#define FAULT_ONCE()                   \
	do {                           \
		if (!fault.fired)      \
			FAULT_POINT(); \
	} while (0)
#define FAULT_NULL()                         \
	do {                                 \
		if (fault_check(__func__)) { \
			errno = ENOMEM;      \
			return NULL;         \
		}                            \
	} while (0)
#else
#define FAULT_POINT() \
	do {          \
	} while (0)
#define FAULT_NULL() \
	do {         \
	} while (0)
#define FAULT_ONCE() \
	do {         \
	} while (0)
#endif

#define RET(call)                            \
	do {                                 \
		long r_;                     \
		FAULT_POINT();               \
		r_ = (call);                 \
		return r_ < 0 ? -errno : r_; \
	} while (0)

void *sys_malloc(size_t size)
{
	FAULT_NULL();
	return malloc(size ? size : 1);
}

void *sys_calloc(size_t n, size_t size)
{
	FAULT_NULL();
	return calloc(n ? n : 1, size ? size : 1);
}

void *sys_realloc(void *p, size_t size)
{
	FAULT_NULL();
	return realloc(p, size ? size : 1);
}

char *sys_strdup(const char *s)
{
	FAULT_NULL();
	return strdup(s);
}

int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	RET((int)openat(dirfd, path, flags | O_CLOEXEC, mode));
}

int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = resolve,
	};
	int r;

	FAULT_POINT();
	do {
		/* EAGAIN: a rename raced with a RESOLVE_BENEATH walk */
		r = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	} while (r < 0 && (errno == EAGAIN || errno == EINTR));
	return r < 0 ? -errno : r;
}

#define PROC_FD_MAX 40

static const char *proc_fd(char buf[PROC_FD_MAX], int fd)
{
	(void)snprintf(buf, PROC_FD_MAX, "/proc/self/fd/%d", fd);
	return buf;
}

int sys_reopen(int fd, int flags)
{
	char path[PROC_FD_MAX];

	RET(open(proc_fd(path, fd), (flags & ~O_NOFOLLOW) | O_CLOEXEC));
}

int sys_dup(int fd)
{
	RET(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

void sys_close(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

int sys_statx(int dirfd, const char *path, int flags, struct statx *ret)
{
	RET(statx(dirfd, path, flags | AT_NO_AUTOMOUNT, SYS_STATX_MASK, ret));
}

int sys_fstatx(int fd, struct statx *ret)
{
	RET(statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, SYS_STATX_MASK, ret));
}

ssize_t sys_pread(int fd, void *buf, size_t size, off_t off)
{
	RET(pread(fd, buf, size, off));
}

ssize_t sys_pread_nowait(int fd, void *buf, size_t size, off_t off)
{
	struct iovec v = { .iov_base = buf, .iov_len = size };

	RET(preadv2(fd, &v, 1, off, RWF_NOWAIT));
}

ssize_t sys_pwrite(int fd, const void *buf, size_t size, off_t off)
{
	RET(pwrite(fd, buf, size, off));
}

ssize_t sys_getdents(int fd, void *buf, size_t size)
{
	RET(syscall(SYS_getdents64, fd, buf, size));
}

off_t sys_lseek(int fd, off_t off, int whence)
{
	RET(lseek(fd, off, whence));
}

int sys_ftruncate(int fd, off_t size)
{
	RET(ftruncate(fd, size));
}

int sys_fallocate(int fd, int mode, off_t off, off_t len)
{
	RET(fallocate(fd, mode, off, len));
}

ssize_t sys_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len)
{
	RET(copy_file_range(in, in_off, out, out_off, len, 0));
}

int sys_reflink(int out, int in)
{
	RET(ioctl(out, FICLONE, in));
}

int sys_fsync(int fd, bool data_only)
{
	RET(data_only ? fdatasync(fd) : fsync(fd));
}

int sys_syncfs(int fd)
{
	RET(syncfs(fd));
}

int sys_fstatfs(int fd, struct statfs *ret)
{
	RET(fstatfs(fd, ret));
}

int sys_mmap(int fd, size_t size, void **ret)
{
	void *p;

	FAULT_POINT();
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

int sys_ioctl(int fd, unsigned long cmd, void *arg)
{
	RET(ioctl(fd, cmd, arg));
}

int sys_flock(int fd, int op)
{
	RET(flock(fd, op));
}

int sys_mkdirat(int dirfd, const char *name, mode_t mode)
{
	RET(mkdirat(dirfd, name, mode));
}

int sys_mknodat(int dirfd, const char *name, mode_t mode, dev_t dev)
{
	RET(mknodat(dirfd, name, mode, dev));
}

int sys_symlinkat(const char *target, int dirfd, const char *name)
{
	RET(symlinkat(target, dirfd, name));
}

int sys_linkat(int olddir, const char *oldname, int newdir, const char *newname)
{
	RET(linkat(olddir, oldname, newdir, newname, 0));
}

int sys_link_fd(int fd, int newdir, const char *newname)
{
	char path[PROC_FD_MAX];

	FAULT_POINT();
	if (linkat(fd, "", newdir, newname, AT_EMPTY_PATH) == 0)
		return 0;
	/* Without CAP_DAC_READ_SEARCH older kernels answer ENOENT. */
	if (errno != ENOENT && errno != EPERM && errno != EINVAL)
		return -errno;
	if (linkat(AT_FDCWD, proc_fd(path, fd), newdir, newname, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return -errno;
}

int sys_unlinkat(int dirfd, const char *name, int flags)
{
	FAULT_ONCE();
	return unlinkat(dirfd, name, flags) < 0 ? -errno : 0;
}

int sys_renameat2(int olddir, const char *oldname, int newdir, const char *newname, unsigned flags)
{
	RET(renameat2(olddir, oldname, newdir, newname, flags));
}

ssize_t sys_readlinkat(int dirfd, const char *name, char *buf, size_t size)
{
	RET(readlinkat(dirfd, name, buf, size));
}

int sys_fchmod(int fd, mode_t mode)
{
	char path[PROC_FD_MAX];
	long r;

	FAULT_POINT();
	if (fchmod(fd, mode) == 0)
		return 0;
	if (errno != EBADF) /* EBADF: an O_PATH descriptor */
		return -errno;
	r = syscall(__NR_fchmodat2, fd, "", mode, AT_EMPTY_PATH);
	if (r < 0 && errno == ENOSYS)
		r = chmod(proc_fd(path, fd), mode);
	return r < 0 ? -errno : 0;
}

int sys_fchown(int fd, uid_t uid, gid_t gid)
{
	RET(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

int sys_futimens(int fd, const struct timespec ts[2])
{
	char path[PROC_FD_MAX];

	FAULT_POINT();
	if (utimensat(fd, "", ts, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOENT) /* before Linux 5.8 */
		return -errno;
	if (utimensat(AT_FDCWD, proc_fd(path, fd), ts, 0) == 0)
		return 0;
	return -errno;
}

/* Whether the kernel lacks the *xattrat calls: found out once, then remembered. */
static bool no_xattrat;

#define XATTRAT(call)                                                                  \
	do {                                                                           \
		FAULT_POINT();                                                         \
		if (!__atomic_load_n(&no_xattrat, __ATOMIC_RELAXED)) {                 \
			long x_ = (call);                                              \
			if (x_ >= 0)                                                   \
				return x_;                                             \
			/* EBADF: of O_PATH descriptors they want to know nothing */   \
			if (errno != ENOSYS && errno != EBADF)                         \
				return -errno;                                         \
			if (errno == ENOSYS)                                           \
				__atomic_store_n(&no_xattrat, true, __ATOMIC_RELAXED); \
		}                                                                      \
	} while (0)

static ssize_t ret_errno(ssize_t r)
{
	return r < 0 ? -errno : r;
}

ssize_t sys_fgetxattr(int fd, const char *attr, void *buf, size_t size)
{
	struct sys_xattr_args a = { .value = (uintptr_t)buf, .size = (uint32_t)size };
	char path[PROC_FD_MAX];

	XATTRAT(syscall(__NR_getxattrat, fd, "", AT_EMPTY_PATH, attr, &a, sizeof(a)));
	return ret_errno(getxattr(proc_fd(path, fd), attr, buf, size));
}

int sys_fsetxattr(int fd, const char *attr, const void *val, size_t size, int flags)
{
	struct sys_xattr_args a = { .value = (uintptr_t)val,
				    .size = (uint32_t)size,
				    .flags = (uint32_t)flags };
	char path[PROC_FD_MAX];

	XATTRAT((int)syscall(__NR_setxattrat, fd, "", AT_EMPTY_PATH, attr, &a, sizeof(a)));
	return (int)ret_errno(setxattr(proc_fd(path, fd), attr, val, size, flags));
}

ssize_t sys_flistxattr(int fd, char *buf, size_t size)
{
	char path[PROC_FD_MAX];

	XATTRAT(syscall(__NR_listxattrat, fd, "", AT_EMPTY_PATH, buf, size));
	return ret_errno(listxattr(proc_fd(path, fd), buf, size));
}

int sys_fremovexattr(int fd, const char *attr)
{
	char path[PROC_FD_MAX];

	XATTRAT((int)syscall(__NR_removexattrat, fd, "", AT_EMPTY_PATH, attr));
	return (int)ret_errno(removexattr(proc_fd(path, fd), attr));
}

#define PROC_AT_MAX (PROC_FD_MAX + 256)

static const char *proc_at(char buf[PROC_AT_MAX], int dirfd, const char *name)
{
	(void)snprintf(buf, PROC_AT_MAX, "/proc/self/fd/%d/%s", dirfd, name);
	return buf;
}

ssize_t sys_getxattr_at(int dirfd, const char *name, const char *attr, void *buf, size_t size)
{
	struct sys_xattr_args a = { .value = (uintptr_t)buf, .size = (uint32_t)size };
	char path[PROC_AT_MAX];

	XATTRAT(syscall(__NR_getxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, attr, &a, sizeof(a)));
	return ret_errno(lgetxattr(proc_at(path, dirfd, name), attr, buf, size));
}

ssize_t sys_listxattr_at(int dirfd, const char *name, char *buf, size_t size)
{
	char path[PROC_AT_MAX];

	XATTRAT(syscall(__NR_listxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, buf, size));
	return ret_errno(llistxattr(proc_at(path, dirfd, name), buf, size));
}

int sys_file_handle(int dirfd, const char *name, void *buf, size_t size, int *ret_type)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount_id;

	FAULT_POINT();
	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(dirfd, name, &u.h, &mount_id, *name ? 0 : AT_EMPTY_PATH) < 0)
		return -errno;
	if (u.h.handle_bytes > size)
		return -EOVERFLOW;
	memcpy(buf, u.h.f_handle, u.h.handle_bytes);
	*ret_type = u.h.handle_type;
	return (int)u.h.handle_bytes;
}

int sys_fs_uuid(int fd, uint8_t ret[16])
{
	/* struct fsuuid2 of <linux/fs.h> (Linux 6.9) */
	struct {
		uint8_t len;
		uint8_t uuid[16];
	} u;
	struct btrfs_ioctl_fs_info_args b;

	FAULT_POINT();
	memset(&u, 0, sizeof(u));
	if (ioctl(fd, _IOR(0x15, 0, u), &u) == 0 && u.len == 16) {
		memcpy(ret, u.uuid, 16);
		return 0;
	}
	/* btrfs has one that the general call does not tell */
	memset(&b, 0, sizeof(b));
	if (ioctl(fd, BTRFS_IOC_FS_INFO, &b) < 0)
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	memcpy(ret, b.fsid, 16);
	return 0;
}
