/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on names, and the dispatcher of all operations. */
#ifndef TESTS_DIFF_EXEC_NS_H
#define TESTS_DIFF_EXEC_NS_H

#include "exec_io.h"

static inline int ns_mknod(const struct exec *x, const struct op *o)
{
	int rc;

	umask((mode_t)o->a[3]);
	rc = mknodat(exec_dir(x, o->d1), o->p1, (mode_t)o->a[0],
		     makedev((unsigned int)o->a[1], (unsigned int)o->a[2]));
	umask(022);
	return rc;
}

static inline int ns_mkdir(const struct exec *x, const struct op *o)
{
	int rc;

	umask((mode_t)o->a[1]);
	rc = mkdirat(exec_dir(x, o->d1), o->p1, (mode_t)o->a[0]);
	umask(022);
	return rc;
}

static inline int ns_truncate(struct exec *x, const struct op *o)
{
	int rc;

	if (fchdir(exec_dir(x, o->d1)))
		return -1;
	io_same_size(x, AT_FDCWD, o->p1, 0, o->a[0]);
	rc = truncate(o->p1, o->a[0]);
	if (x->res->has_st)
		x->res->has_st = !xstatx(AT_FDCWD, o->p1, 0, &x->res->st);
	(void)!fchdir(x->root);
	return rc;
}

static inline int ns_utimens(const struct exec *x, const struct op *o)
{
	struct timespec ts[2] = {
		{ o->a[1], o->a[2] },
		{ o->a[3], o->a[4] },
	};

	return utimensat(exec_dir(x, o->d1), o->p1, ts,
			 o->a[0] ? 0 : AT_SYMLINK_NOFOLLOW);
}

static inline void ns_readlink(struct exec *x, const struct op *o)
{
	char buf[PATH_MAX];
	ssize_t n = readlinkat(exec_dir(x, o->d1), o->p1, buf, sizeof(buf));

	if (!res_set(x->res, n))
		res_add(x->res, buf, (size_t)n);
}

static inline void ns_readdir(struct exec *x, const struct op *o)
{
	int fd = openat(exec_dir(x, o->d1), o->p1,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (res_set(x->res, fd))
		return;
	x->res->ret = 0;
	exec_readdir(x->res, fd, (size_t)o->a[0]);
	close(fd);
}

/* A write of the given kind by op's uid to a file that may be setuid. */
static inline void ns_suid_write(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	int dfd = exec_dir(x, o->d1);
	int fd = openat(dfd, o->p1, O_RDWR | O_NONBLOCK | O_CLOEXEC | (o->a[1] == 3 ? O_TRUNC : 0));
	char *p;

	if (res_set(r, fd))
		return;
	r->ret = 0;
	switch (o->a[1]) {
	case 0:
		res_set(r, pwrite(fd, "suid", 4, o->a[2]));
		break;
	case 1:
		res_set(r, ftruncate(fd, o->a[2]));
		break;
	case 2:
		res_set(r, fallocate(fd, 0, o->a[2], 100));
		r->lax = LAX_HOLES;
		break;
	case 4:
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, 0);
		if (p == MAP_FAILED) {
			res_set(r, -1);
			break;
		}
		r->lax = LAX_TIME | LAX_HOLES;
		if (sigsetjmp(exec_fault, 1)) {
			res_text(r, "fault\n");
		} else {
			*(volatile char *)p = 'M';
			res_set(r, msync(p, 4096, MS_SYNC));
		}
		munmap(p, 4096);
		break;
	default:
		break;
	}
	r->has_st = !xstatx(fd, "", AT_EMPTY_PATH, &r->st);
	close(fd);
}

static inline void exec_dispatch(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	int d1 = exec_dir(x, o->d1), d2 = exec_dir(x, o->d2);
	int fd = exec_fd(x, o->slot);

	switch ((enum op_kind)o->kind) {
	case OP_open:
		io_open(x, o);
		break;
	case OP_close:
		res_set(r, close(fd));
		if (o->slot >= 0 && o->slot < N_SLOTS)
			x->fds[o->slot] = -1;
		break;
	case OP_pread:
	case OP_pwrite:
	case OP_read:
	case OP_write:
	case OP_dread:
	case OP_dwrite:
		io_rw(x, o);
		break;
	case OP_lseek:
		io_lseek(x, o);
		break;
	case OP_mmap:
		io_mmap(x, o);
		break;
	case OP_map_read:
	case OP_map_write:
		io_map_access(x, o);
		break;
	case OP_munmap:
		map_drop(&x->maps[o->a[0] % N_MAPS]);
		break;
	case OP_truncate:
		res_set(r, ns_truncate(x, o));
		break;
	case OP_ftruncate:
	case OP_fallocate:
	case OP_fchmod:
	case OP_fchown:
	case OP_futimens:
	case OP_fsetxattr:
	case OP_fgetxattr:
	case OP_flistxattr:
	case OP_fremovexattr:
		io_fd_meta(x, o);
		break;
	case OP_copy_range:
		io_copy_range(x, o);
		break;
	case OP_link:
		res_set(r, linkat(d1, o->p1, d2, o->p2, (int)o->a[0]));
		break;
	case OP_link_fd:
		res_set(r, linkat(fd, "", d2, o->p2, AT_EMPTY_PATH));
		break;
	case OP_symlink:
		res_set(r, symlinkat(o->p2, d1, o->p1));
		break;
	case OP_readlink:
		ns_readlink(x, o);
		break;
	case OP_mkdir:
		res_set(r, ns_mkdir(x, o));
		break;
	case OP_rmdir:
		res_set(r, unlinkat(d1, o->p1, AT_REMOVEDIR));
		break;
	case OP_unlink:
		res_set(r, unlinkat(d1, o->p1, 0));
		break;
	case OP_rename:
		res_set(r, renameat2(d1, o->p1, d2, o->p2,
				     (unsigned int)o->a[0]));
		break;
	case OP_mknod:
		res_set(r, ns_mknod(x, o));
		break;
	case OP_chmod:
		res_set(r, fchmodat(d1, o->p1, (mode_t)o->a[0], 0));
		break;
	case OP_chown:
		res_set(r, fchownat(d1, o->p1, (uid_t)o->a[0],
				    (gid_t)o->a[1], o->a[2] ? 0 : AT_SYMLINK_NOFOLLOW));
		break;
	case OP_utimens:
		res_set(r, ns_utimens(x, o));
		break;
	case OP_setxattr:
	case OP_getxattr:
	case OP_listxattr:
	case OP_removexattr:
		exec_xattr(x, o);
		break;
	case OP_stat:
		if (!res_set(r, xstatx(d1, o->p1, o->a[0] ? 0 : AT_SYMLINK_NOFOLLOW, &r->st)))
			r->has_st = 1;
		break;
	case OP_fstat:
		if (!res_set(r, xstatx(fd, "", AT_EMPTY_PATH, &r->st)))
			r->has_st = 1;
		break;
	case OP_access:
		res_set(r, faccessat(d1, o->p1, (int)o->a[0], AT_EACCESS));
		break;
	case OP_readdir:
		ns_readdir(x, o);
		break;
	case OP_freaddir:
		exec_readdir(r, fd, (size_t)o->a[0]);
		break;
	case OP_readdir_mut:
		exec_readdir_mut(r, d1, o->p1, (uint64_t)o->a[0],
				 (int)o->a[1]);
		break;
	case OP_cwd:
		exec_cwd(x, o);
		break;
	case OP_flock:
	case OP_fcntl_lock:
		io_lock(x, o);
		break;
	case OP_getflags:
	case OP_setflags:
		io_flags(x, o);
		break;
	case OP_fsync:
		io_fsync(x, o);
		break;
	case OP_suid_write:
		ns_suid_write(x, o);
		break;
	case OP_check:
	case OP_remount:
	case OP_drop_caches:
	case OP_KIND_COUNT:
		break;
	}
}

/*
 * Run o with its uid's credentials. seteuid clears the effective
 * capabilities, so the kernel sees a plain user; real ids stay root's.
 */
static inline void exec_run(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	gid_t none;
	int post;

	r->ret = r->err = r->has_st = r->lax = 0;
	r->len = 0;
	if (o->uid) {
		gid_t g = (gid_t)o->uid;

		if (setgroups(0, &none) || setresgid((gid_t)-1, g, 0) ||
		    setresuid((uid_t)-1, (uid_t)o->uid, 0))
			_exit(97);
	}
	exec_dispatch(x, o);
	if (o->uid && (setresuid((uid_t)-1, 0, 0) ||
		       setresgid((gid_t)-1, 0, 0)))
		_exit(97);
	(void)!fchdir(x->root); /* the other uid may not have been let in */
	if (!o->post || r->has_st)
		return;
	post = o->p1[0] ? xstatx(exec_dir(x, o->d1), o->p1,
				 AT_SYMLINK_NOFOLLOW, &r->st) :
			  xstatx(exec_fd(x, o->slot), "", AT_EMPTY_PATH, &r->st);
	res_text(r, "post %d", post ? errno : 0);
	r->has_st = !post;
}

#endif
