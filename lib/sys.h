/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call and allocation of fs/ goes through here. Two reasons: the
 * error convention changes at this boundary (errno becomes a negative return
 * value), and it is the seam where tests inject faults.
 *
 * All functions return 0 or a positive result, or -errno. Paths are relative
 * to a directory descriptor; descriptors are always close-on-exec. Functions
 * that take an @fd "of any kind" work on O_PATH descriptors of symlinks and
 * special files too, by the *at system calls with AT_EMPTY_PATH where the
 * kernel has them and by /proc/self/fd where it does not.
 */
#ifndef PLYFS_LIB_SYS_H
#define PLYFS_LIB_SYS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <linux/openat2.h>

/* What the union asks of statx(2) everywhere. */
#define SYS_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME)

/* Memory. NULL where there is none; free with free(3). */
void *sys_malloc(size_t size);
void *sys_calloc(size_t n, size_t size);
void *sys_realloc(void *p, size_t size);
char *sys_strdup(const char *s);

int sys_openat(int dirfd, const char *path, int flags, mode_t mode);
/* openat2(2): @resolve is a set of RESOLVE_* flags. */
int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
/* A new descriptor, with @flags, of the file that @fd (of any kind) refers to. */
int sys_reopen(int fd, int flags);
/* Another descriptor of the same open file. */
int sys_dup(int fd);
/* Closes @fd if it is not negative. Never fails. */
void sys_close(int fd);

int sys_statx(int dirfd, const char *path, int flags, struct statx *ret);
/* statx of the file behind @fd (of any kind). */
int sys_fstatx(int fd, struct statx *ret);

ssize_t sys_pread(int fd, void *buf, size_t size, off_t off);
/* The same of what is in memory: -EAGAIN where the disk would have to be waited for. */
ssize_t sys_pread_nowait(int fd, void *buf, size_t size, off_t off);
ssize_t sys_pwrite(int fd, const void *buf, size_t size, off_t off);
ssize_t sys_getdents(int fd, void *buf, size_t size);
off_t sys_lseek(int fd, off_t off, int whence);
int sys_ftruncate(int fd, off_t size);
int sys_fallocate(int fd, int mode, off_t off, off_t len);
ssize_t sys_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len);
/* FICLONE: makes @out share all of @in's extents. */
int sys_reflink(int out, int in);
int sys_fsync(int fd, bool data_only);
int sys_syncfs(int fd);
int sys_fstatfs(int fd, struct statfs *ret);
int sys_ioctl(int fd, unsigned long cmd, void *arg);
/* Maps the first @size bytes of @fd, shared, to be read. */
int sys_mmap(int fd, size_t size, void **ret);
int sys_flock(int fd, int op);

int sys_mkdirat(int dirfd, const char *name, mode_t mode);
int sys_mknodat(int dirfd, const char *name, mode_t mode, dev_t dev);
int sys_symlinkat(const char *target, int dirfd, const char *name);
int sys_linkat(int olddir, const char *oldname, int newdir, const char *newname);
/* Gives the file behind @fd (O_TMPFILE or of any kind) the name @newdir/@newname. */
int sys_link_fd(int fd, int newdir, const char *newname);
int sys_unlinkat(int dirfd, const char *name, int flags);
int sys_renameat2(int olddir, const char *oldname, int newdir, const char *newname, unsigned flags);
/* Not terminated; the length, at most @size. */
ssize_t sys_readlinkat(int dirfd, const char *name, char *buf, size_t size);

/* Of the file behind @fd (of any kind); chmod of a symlink is -EOPNOTSUPP. */
int sys_fchmod(int fd, mode_t mode);
int sys_fchown(int fd, uid_t uid, gid_t gid);
int sys_futimens(int fd, const struct timespec ts[2]);

/*
 * Extended attributes of the file behind @fd (of any kind), or, in the _at
 * forms, of @dirfd/@name without following a symlink there.
 */
ssize_t sys_fgetxattr(int fd, const char *attr, void *buf, size_t size);
int sys_fsetxattr(int fd, const char *attr, const void *val, size_t size, int flags);
ssize_t sys_flistxattr(int fd, char *buf, size_t size);
int sys_fremovexattr(int fd, const char *attr);
ssize_t sys_getxattr_at(int dirfd, const char *name, const char *attr, void *buf, size_t size);
ssize_t sys_listxattr_at(int dirfd, const char *name, char *buf, size_t size);

/*
 * The file handle (name_to_handle_at(2)) of @dirfd/@name, or of @dirfd itself
 * where @name is "". Returns the length of the handle's bytes, written to
 * @buf (at most @size), with its type in @ret_type.
 */
int sys_file_handle(int dirfd, const char *name, void *buf, size_t size, int *ret_type);
/* The 16-byte UUID of the file system of @fd; -EOPNOTSUPP where it has none to tell. */
int sys_fs_uuid(int fd, uint8_t ret[16]);

#ifdef PLYFS_FAULT
/*
 * Fault injection. Arms the calling thread: its @nth call from now on (1 =
 * the next) to a function of this header fails with -@err (allocations: NULL),
 * and with @persistent every later one as well, but for sys_unlinkat(), which
 * takes no space and by which a caller undoes what it did. @nth 0 disarms.
 */
void sys_fault_arm(unsigned nth, int err, bool persistent);
/* Whether the armed fault has fired since sys_fault_arm(). */
bool sys_fault_fired(void);
/* What failed: the name of the function in which the fault fired, or NULL. */
const char *sys_fault_where(void);
#endif

#endif
