/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out one operation on one of the two trees. Runs in the side's own
 * process, whose root (or current) directory is the tree; leaves the result,
 * errno and whatever the operation read in a struct res, byte for byte
 * comparable with the other side's.
 */
#ifndef TESTS_DIFF_EXEC_H
#define TESTS_DIFF_EXEC_H

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <grp.h>
#include <linux/fs.h>
#include <unistd.h>

#include "op.h"
#include "rng.h"

#define RES_MAX (256 * 1024)
#define IO_MAX (128 * 1024)

#define LAX_TIME 1 /* mtime of the file is no longer comparable */
#define LAX_HOLES 2 /* where its holes are is up to the filesystem */
#define LAX_SAME_SIZE 4 /* as LAX_TIME, where the kernel keeps the times */

struct res {
	long long ret;
	int err;
	int has_st;
	int lax;
	struct statx st;
	unsigned int len;
	unsigned char buf[RES_MAX];
};

struct mapping {
	char *addr;
	size_t len;
	int fd;
	int prot;
	int shared;
};

struct exec {
	int root;
	int fds[N_SLOTS];
	struct mapping maps[N_MAPS];
	struct res *res;
};

static sigjmp_buf exec_fault;

static inline void exec_on_fault(int sig)
{
	siglongjmp(exec_fault, sig);
}

static inline void res_add(struct res *r, const void *p, size_t n)
{
	if (r->len + n > RES_MAX)
		n = RES_MAX - r->len;
	memcpy(r->buf + r->len, p, n);
	r->len += (unsigned int)n;
}

__attribute__((format(printf, 2, 3))) static inline void res_text(struct res *r, const char *fmt,
								  ...)
{
	char line[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		res_add(r, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static inline int res_set(struct res *r, long long ret)
{
	r->ret = ret;
	r->err = ret < 0 ? errno : 0;
	return ret < 0 ? -1 : 0;
}

static inline int exec_fd(const struct exec *x, int slot)
{
	return slot >= 0 && slot < N_SLOTS ? x->fds[slot] : -1;
}

static inline int exec_dir(const struct exec *x, int slot)
{
	return slot < 0 ? x->root : exec_fd(x, slot);
}

static inline int xstatx(int dfd, const char *path, int flags,
			 struct statx *st)
{
	memset(st, 0, sizeof(*st));
	return statx(dfd, path, flags, STATX_BASIC_STATS | STATX_BTIME, st);
}

static inline int cmp_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct name_list {
	char **v;
	size_t n, cap;
};

static inline void names_add(struct name_list *l, const char *s)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->v = realloc(l->v, l->cap * sizeof(*l->v));
		if (!l->v)
			_exit(99);
	}
	l->v[l->n++] = strdup(s);
}

static inline void names_free(struct name_list *l)
{
	while (l->n)
		free(l->v[--l->n]);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

static inline void names_sort(struct name_list *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), cmp_names);
}

struct dent64 {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

/*
 * Append what is left of a directory to l, as "name" entries; returns 0 or
 * -errno. A directory that never ends is cut off with ELOOP.
 */
static inline int read_names(int fd, size_t bufsize, struct name_list *l,
			     int once)
{
	char buf[65536];
	long n;

	if (bufsize > sizeof(buf))
		bufsize = sizeof(buf);
	while ((n = syscall(SYS_getdents64, fd, buf, bufsize)) > 0) {
		long off;

		for (off = 0; off < n;) {
			const struct dent64 *d = (const void *)(buf + off);

			names_add(l, d->name);
			off += d->reclen;
		}
		if (l->n > 100000)
			return -ELOOP;
		if (once)
			break;
	}
	return n < 0 ? -errno : 0;
}

static inline void exec_readdir(struct res *r, int fd, size_t bufsize)
{
	struct name_list l = { 0 };
	size_t i;
	int rc;

	if (res_set(r, lseek(fd, 0, SEEK_SET)))
		return;
	rc = read_names(fd, bufsize, &l, 0);
	if (rc < 0) {
		errno = -rc;
		res_set(r, -1);
	} else {
		r->ret = (long long)l.n;
	}
	names_sort(&l);
	for (i = 0; i < l.n; i++)
		res_text(r, "%s\n", l.v[i]);
	names_free(&l);
}

/*
 * Read a directory through a 1 KiB buffer, and after the first piece unlink,
 * create, rename and chmod names in it. What existed throughout must be
 * listed exactly once; that list is the result.
 */
static inline void exec_readdir_mut(struct res *r, int dfd, const char *path, uint64_t seed,
				    int no_dirs)
{
	struct stat st;
	struct name_list before = { 0 }, seen = { 0 };
	struct rng g = { .s = seed };
	char nn[64];
	int fd = openat(dfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t i, k, gone = SIZE_MAX, moved = SIZE_MAX;
	int rc;

	if (res_set(r, fd))
		return;
	r->ret = 0;
	rc = read_names(fd, 32768, &before, 0);
	names_sort(&before);
	lseek(fd, 0, SEEK_SET);
	rc = rc ? rc : read_names(fd, 1024, &seen, 1);
	if (before.n > 2) {
		gone = rng_below(&g, before.n);
		moved = rng_below(&g, before.n);
		k = rng_below(&g, before.n);
		if (before.v[gone][0] == '.' ||
		    unlinkat(fd, before.v[gone], 0))
			gone = SIZE_MAX;
		snprintf(nn, sizeof(nn), "zz%u", (unsigned int)(seed % 997));
		if (moved == gone || before.v[moved][0] == '.' ||
		    (no_dirs && !fstatat(fd, before.v[moved], &st, AT_SYMLINK_NOFOLLOW) &&
		     S_ISDIR(st.st_mode)) ||
		    renameat2(fd, before.v[moved], fd, nn, RENAME_NOREPLACE))
			moved = SIZE_MAX;
		if (k != gone && k != moved && before.v[k][0] != '.')
			(void)!fchmodat(fd, before.v[k], 0751, 0);
	}
	snprintf(nn, sizeof(nn), "yy%u", (unsigned int)(seed % 991));
	i = (size_t)openat(fd, nn, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW,
			   0600);
	if ((int)i >= 0)
		close((int)i);
	rc = rc ? rc : read_names(fd, 1024, &seen, 0);
	names_sort(&seen);
	if (rc < 0) {
		errno = -rc;
		res_set(r, -1);
	}
	for (i = 0; i < before.n; i++) {
		unsigned int times = 0;

		for (k = 0; k < seen.n; k++)
			times += !strcmp(seen.v[k], before.v[i]);
		if (i == gone || i == moved) {
			if (times > 1)
				res_text(r, "repeated: %s\n", before.v[i]);
			continue;
		}
		res_text(r, "%u %s\n", times, before.v[i]);
	}
	names_free(&before);
	names_free(&seen);
	close(fd);
}

/* Stand in a directory (removed, renamed, or well) and use ".". */
static inline void exec_cwd(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	struct name_list l = { 0 };
	char nm[32];
	size_t i;
	int fd;

	if (res_set(r, fchdir(exec_fd(x, o->slot))))
		return;
	snprintf(nm, sizeof(nm), "cwd%lld", o->a[0] % 7);
	fd = open(nm, O_CREAT | O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0644);
	res_text(r, "open %d\n", fd < 0 ? errno : 0);
	if (fd >= 0)
		close(fd);
	res_text(r, "mkdir %d\n", mkdir("cwddir", 0755) ? errno : 0);
	res_text(r, "rmdir %d\n", rmdir("cwddir") ? errno : 0);
	res_text(r, "stat .. %d\n", access("..", F_OK) ? errno : 0);
	fd = open(".", O_RDONLY | O_DIRECTORY);
	res_text(r, "open . %d\n", fd < 0 ? errno : 0);
	if (fd >= 0) {
		int rc = read_names(fd, 1024, &l, 0);

		names_sort(&l);
		res_text(r, "readdir %d\n", -rc);
		for (i = 0; i < l.n; i++)
			res_text(r, "%s\n", l.v[i]);
		names_free(&l);
		close(fd);
	}
	(void)!fchdir(x->root);
}

static inline void exec_xattr_list(struct res *r, char *buf, ssize_t n)
{
	struct name_list l = { 0 };
	ssize_t i;
	size_t k;

	/* btrfs lists trusted names to those who may not read them */
	for (i = 0; i < n; i += (ssize_t)strlen(buf + i) + 1)
		if (!geteuid() || strncmp(buf + i, "trusted.", 8))
			names_add(&l, buf + i);
	names_sort(&l);
	for (k = 0; k < l.n; k++)
		res_text(r, "%s\n", l.v[k]);
	r->ret = r->len;
	names_free(&l);
}

/* A plain user must not shut itself out, or no layer of it can be read. */
static int acl_owner_may;

/* Values of system.posix_acl_* and security.capability, by seed. */
static inline size_t special_value(const char *name, uint64_t seed, char *out)
{
	struct rng g = { .s = seed };
	uint32_t w;
	size_t n = 0;
	int k;

#define PUT32(v) (w = (v), memcpy(out + n, &w, 4), n += 4)
#define PUTACE(t, p, id)                     \
	do {                                 \
		uint16_t h_ = (t);           \
		memcpy(out + n, &h_, 2);     \
		h_ = (uint16_t)(p);          \
		memcpy(out + n + 2, &h_, 2); \
		n += 4;                      \
		PUT32((uint32_t)(id));       \
	} while (0)
	if (!strncmp(name, "system.posix_acl", 16)) {
		PUT32(2);
		PUTACE(1, rng_below(&g, 8) | (acl_owner_may ? 7u : 0), -1);
		if (rng_pct(&g, 70))
			PUTACE(2, rng_below(&g, 8), 1000);
		PUTACE(4, rng_below(&g, 8), -1);
		k = rng_pct(&g, 50);
		if (k)
			PUTACE(8, rng_below(&g, 8), 1001);
		PUTACE(16, rng_below(&g, 8), -1);
		PUTACE(32, rng_below(&g, 8), -1);
		return n;
	}
	PUT32(0x02000001);
	for (k = 0; k < 4; k++)
		PUT32(k < 2 ? (uint32_t)rng_next(&g) & 0x3fff : 0);
#undef PUTACE
#undef PUT32
	return n;
}

static inline int is_special_xattr(const char *name)
{
	return !strncmp(name, "system.posix_acl", 16) ||
	       !strcmp(name, "security.capability");
}

/* The value that a setxattr operation sets; its length. */
static inline size_t xattr_value(const char *name, const struct op *o,
				 char *val)
{
	if (is_special_xattr(name) && o->a[0] != 0)
		return special_value(name, (uint64_t)o->a[2], val);
	rng_fill((uint64_t)o->a[2], val, (size_t)o->a[0]);
	return (size_t)o->a[0];
}

/*
 * xattr calls take no dirfd: those on paths run from the directory that d1
 * stands for.
 */
static inline void exec_xattr(struct exec *x, const struct op *o)
{
	struct res *r = x->res;
	char val[8192];
	int follow = 0;
	ssize_t n;

	if (fchdir(exec_dir(x, o->d1))) {
		res_set(r, -1);
		return;
	}
	switch (o->kind) {
	case OP_setxattr:
		follow = (int)o->a[3];
		n = (ssize_t)xattr_value(o->p2, o, val);
		res_set(r, follow ?
				   setxattr(o->p1, o->p2, val, (size_t)n, (int)o->a[1]) :
				   lsetxattr(o->p1, o->p2, val, (size_t)n,
					     (int)o->a[1]));
		break;
	case OP_getxattr:
		follow = (int)o->a[1];
		n = follow ? getxattr(o->p1, o->p2, val, (size_t)o->a[0]) :
			     lgetxattr(o->p1, o->p2, val, (size_t)o->a[0]);
		if (!res_set(r, n) && o->a[0])
			res_add(r, val, (size_t)n);
		break;
	case OP_listxattr:
		follow = (int)o->a[0];
		n = follow ? listxattr(o->p1, val, sizeof(val)) :
			     llistxattr(o->p1, val, sizeof(val));
		if (!res_set(r, n))
			exec_xattr_list(r, val, n);
		break;
	default:
		follow = (int)o->a[0];
		res_set(r, follow ? removexattr(o->p1, o->p2) :
				    lremovexattr(o->p1, o->p2));
	}
	(void)!fchdir(x->root);
}

#endif
