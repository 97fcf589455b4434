/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes up the next operation. It looks at the plain directory for names that
 * exist, and remembers what the descriptors are, so that most operations
 * meet something; the rest try what is not there.
 */
#ifndef TESTS_DIFF_GEN_H
#define TESTS_DIFF_GEN_H

#include "layers.h"

struct gen {
	struct rng rng;
	const char *plain;
	struct name_list paths; /* all below plain, relative */
	struct name_list dirs;
	unsigned int age; /* operations since they were listed */
	struct {
		int open; /* 0 no, 1 file, 2 directory, 3 path */
		int flags;
	} slot[N_SLOTS];
	/* what to try at all */
	int privileged; /* root's operations: devices, trusted */
	int uids; /* other uids can be played */
	int odd_xattrs; /* names that no filesystem takes */
	int overlay_xattrs; /* user.overlay.*: stored escaped */
	int acl, dir_rename, xattr, getflags, direct, remount, drop_caches;
	int check_every;
	int userxattr;
	unsigned int n;
};

static struct gen *gen_walk_ctx;

static inline int gen_walk_one(const char *path, const struct stat *st,
			       int type, struct FTW *ftw)
{
	struct gen *g = gen_walk_ctx;
	size_t skip = strlen(g->plain);

	(void)st;
	(void)ftw;
	if (path[skip] != '/')
		return 0;
	if (strlen(path + skip) < PATH_LEN - 600) {
		names_add(&g->paths, path + skip + 1);
		if (type == FTW_D)
			names_add(&g->dirs, path + skip + 1);
	}
	return 0;
}

static inline void gen_refresh(struct gen *g)
{
	names_free(&g->paths);
	names_free(&g->dirs);
	gen_walk_ctx = g;
	nftw(g->plain, gen_walk_one, 30, FTW_PHYS);
	names_sort(&g->paths);
	names_sort(&g->dirs);
	g->age = 0;
}

static inline void gen_new_path(struct gen *g, char *out)
{
	char name[300];

	rand_name(&g->rng, name);
	if (g->dirs.n && rng_pct(&g->rng, 80))
		snprintf(out, PATH_LEN, "%s/%s",
			 g->dirs.v[rng_below(&g->rng, g->dirs.n)], name);
	else
		snprintf(out, PATH_LEN, "%s", name);
}

/* Mostly a path that exists. */
static inline void gen_path(struct gen *g, char *out)
{
	if (g->paths.n && rng_pct(&g->rng, 85))
		snprintf(out, PATH_LEN, "%s",
			 g->paths.v[rng_below(&g->rng, g->paths.n)]);
	else
		gen_new_path(g, out);
}

static inline int gen_is_dir(const struct gen *g, const char *path)
{
	return g->dirs.n && bsearch(&path, g->dirs.v, g->dirs.n,
				    sizeof(*g->dirs.v), cmp_names) != NULL;
}

static inline void gen_dir(struct gen *g, char *out)
{
	if (g->dirs.n && rng_pct(&g->rng, 90))
		snprintf(out, PATH_LEN, "%s",
			 g->dirs.v[rng_below(&g->rng, g->dirs.n)]);
	else if (rng_pct(&g->rng, 50))
		strcpy(out, ".");
	else
		gen_path(g, out);
}

static inline int gen_slot(struct gen *g, int kind)
{
	int first = (int)rng_below(&g->rng, N_SLOTS), i;

	for (i = 0; i < N_SLOTS; i++)
		if (g->slot[(first + i) % N_SLOTS].open == kind)
			return (first + i) % N_SLOTS;
	return first;
}

static inline long long gen_off(struct gen *g)
{
	struct rng *r = &g->rng;

	if (rng_pct(r, 30))
		return (long long)rng_below(r, 80) * 4096;
	if (rng_pct(r, 90))
		return (long long)rng_below(r, 20000);
	return (long long)rng_below(r, 2000000);
}

static inline long long gen_len(struct gen *g)
{
	struct rng *r = &g->rng;

	return rng_pct(r, 10) ? 0 : rng_pct(r, 80) ? (long long)rng_below(r, 5000) :
						     (long long)rng_below(r, IO_MAX);
}

static inline void gen_xattr_name(struct gen *g, char *out)
{
	static const char *const names[] = {
		"user.one",
		"user.one",
		"user.two",
		"user.three",
		"system.posix_acl_access",
		"system.posix_acl_default",
		"user.overlay.opaque",
		"user.overlay.foo",
		"user.",
		"trusted.two",
		"trusted.overlay.opaque",
		"trusted.overlay.redirect",
		"security.capability",
		"user.fuseoverlayfs.opaque",
		"nonsense",
	};
	uint64_t k = rng_below(&g->rng, g->privileged ? 15 : 9);

	if (!g->acl && (k == 4 || k == 5))
		k = 0;
	if (!g->odd_xattrs && (k == 8 || k == 14))
		k = 0;
	if (!g->overlay_xattrs && (k == 6 || k == 7))
		k = 1;
	if (k == 13) /* a name of the format: an exception of I3 */
		k = 1;
	strcpy(out, names[k]);
}

static inline void gen_time(struct gen *g, long long *sec, long long *nsec)
{
	uint64_t k = rng_below(&g->rng, 10);

	*sec = (long long)rng_below(&g->rng, 1500000000);
	*nsec = (long long)rng_below(&g->rng, 1000000000);
	if (k == 0)
		*nsec = UTIME_OMIT;
	else if (k == 1)
		*nsec = UTIME_NOW;
	else if (k == 2)
		*sec = -1000;
	else if (k == 3)
		*nsec = 1000000000; /* EINVAL */
}

static inline long long gen_mode(struct gen *g)
{
	static const long long modes[] = {
		0644,
		0600,
		0755,
		04755,
		02755,
		06777,
		04777,
		0,
		0444,
		0666,
		01777,
		02711,
	};

	return modes[rng_below(&g->rng, 12)] |
	       (g->privileged ? 0 : 0600);
}

static inline void gen_open(struct gen *g, struct op *o)
{
	struct rng *r = &g->rng;
	int fl = (int)rng_below(r, 3);

	o->slot = (int)rng_below(r, N_SLOTS);
	gen_path(g, o->p1);
	if (rng_pct(r, 25)) { /* a directory */
		gen_dir(g, o->p1);
		o->a[0] = O_RDONLY | (rng_pct(r, 50) ? O_DIRECTORY : 0) |
			  (rng_pct(r, 15) ? O_PATH : 0);
		return;
	}
	if (rng_pct(r, 8) && !rng_pct(r, 20)) {
		gen_dir(g, o->p1);
		o->a[0] = O_TMPFILE | (rng_pct(r, 80) ? O_RDWR : O_WRONLY) |
			  (rng_pct(r, 20) ? O_EXCL : 0);
		o->a[1] = gen_mode(g) & 0777;
		return;
	}
	if (rng_pct(r, 40))
		fl |= O_CREAT;
	if (rng_pct(r, 15))
		fl |= O_EXCL;
	if (rng_pct(r, 12))
		fl |= O_TRUNC;
	if (rng_pct(r, 15))
		fl |= O_APPEND;
	if (rng_pct(r, 15))
		fl |= O_NOFOLLOW;
	if (rng_pct(r, 3))
		fl |= O_DIRECTORY;
	if (rng_pct(r, 3))
		fl |= O_PATH;
	if (rng_pct(r, 5))
		fl |= O_NOATIME;
	/* with O_APPEND, where a write lands is not aligned */
	if (g->direct && rng_pct(r, 6))
		fl = (fl | O_DIRECT) & ~O_APPEND;
	if (fl & O_EXCL && !(fl & O_CREAT))
		fl &= ~O_EXCL; /* on a block device it means more */
	o->a[0] = fl;
	o->a[1] = gen_mode(g) & 07777;
	o->a[2] = rng_pct(r, 50) ? 022 : (long long)rng_below(r, 01000);
	if (!g->privileged)
		o->a[2] &= 077;
}

static inline void gen_io(struct gen *g, struct op *o)
{
	struct rng *r = &g->rng;
	static const int kinds[] = {
		OP_pread,
		OP_pwrite,
		OP_pwrite,
		OP_read,
		OP_write,
		OP_lseek,
		OP_mmap,
		OP_map_read,
		OP_map_read,
		OP_map_write,
		OP_map_write,
		OP_munmap,
		OP_ftruncate,
		OP_fallocate,
		OP_copy_range,
		OP_fsync,
		OP_getflags,
		OP_flock,
		OP_fcntl_lock,
		OP_setflags,
	};
	static const int falloc[] = {
		0,
		0,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_COLLAPSE_RANGE,
	};

	o->kind = kinds[rng_below(r, sizeof(kinds) / sizeof(kinds[0]))];
	o->slot = gen_slot(g, 1);
	o->a[0] = gen_off(g);
	o->a[1] = gen_len(g);
	o->a[2] = (long long)rng_below(r, 1000000);
	if (g->slot[o->slot].flags & O_DIRECT &&
	    (o->kind == OP_pread || o->kind == OP_pwrite ||
	     o->kind == OP_read || o->kind == OP_write)) {
		o->kind = o->kind == OP_pread || o->kind == OP_read ?
				  OP_dread :
				  OP_dwrite;
		o->a[0] &= ~4095ll;
		o->a[1] = (o->a[1] + 4095) & ~4095ll;
	}
	switch (o->kind) {
	case OP_read:
		o->a[0] = gen_len(g);
		break;
	case OP_write:
		o->a[0] = gen_len(g);
		o->a[1] = o->a[2];
		break;
	case OP_lseek:
		o->a[1] = (long long)rng_below(r, 5);
		if (o->a[1] < SEEK_DATA && rng_pct(r, 10))
			o->a[0] = -o->a[0];
		break;
	case OP_mmap:
		o->a[0] = (long long)rng_below(r, N_MAPS);
		o->a[1] = 1 + gen_off(g) % 400000;
		o->a[2] = rng_pct(r, 70) ? PROT_READ | PROT_WRITE : PROT_READ;
		o->a[3] = rng_pct(r, 75) ? MAP_SHARED : MAP_PRIVATE;
		break;
	case OP_map_read:
	case OP_map_write:
		o->a[0] = (long long)rng_below(r, N_MAPS);
		o->a[1] = gen_off(g);
		o->a[2] = gen_len(g);
		o->a[3] = (long long)rng_below(r, 1000000);
		o->a[4] = rng_pct(r, 60);
		break;
	case OP_munmap:
		o->a[0] = (long long)rng_below(r, N_MAPS);
		break;
	case OP_fallocate:
		o->a[2] = o->a[1];
		o->a[1] = o->a[0];
		o->a[0] = falloc[rng_below(r, 8 + 0)];
		break;
	case OP_copy_range:
		o->a[0] = gen_slot(g, 1);
		o->a[1] = gen_off(g);
		o->a[2] = gen_off(g);
		o->a[3] = gen_len(g) * (rng_pct(r, 20) ? 8 : 1);
		break;
	case OP_fsync:
		o->a[0] = (long long)rng_below(r, rng_pct(r, 10) ? 3 : 2);
		break;
	case OP_getflags:
	case OP_setflags:
		if (!g->getflags)
			o->kind = OP_fstat;
		o->a[0] = rng_pct(r, 50) ? FS_NODUMP_FL : FS_NOATIME_FL;
		break;
	case OP_flock:
		o->a[0] = rng_below(r, 3) == 0 ? LOCK_UN :
			  rng_pct(r, 50)       ? LOCK_SH :
						 LOCK_EX;
		break;
	case OP_fcntl_lock:
		o->a[0] = (long long)rng_below(r, 3);
		o->a[1] = (long long)rng_below(r, 100);
		o->a[2] = (long long)rng_below(r, 100);
		o->a[3] = (long long)rng_below(r, 3);
		break;
	default:
		break;
	}
}

static inline void gen_names(struct gen *g, struct op *o)
{
	struct rng *r = &g->rng;
	static const int kinds[] = {
		OP_link,
		OP_link_fd,
		OP_symlink,
		OP_readlink,
		OP_mkdir,
		OP_mkdir,
		OP_rmdir,
		OP_unlink,
		OP_unlink,
		OP_rename,
		OP_rename,
		OP_rename,
		OP_rename,
		OP_mknod,
		OP_truncate,
	};
	static const int types[] = {
		S_IFIFO,
		S_IFSOCK,
		S_IFREG,
		S_IFREG,
		S_IFCHR,
		S_IFBLK,
	};

	o->kind = kinds[rng_below(r, sizeof(kinds) / sizeof(kinds[0]))];
	gen_path(g, o->p1);
	switch (o->kind) {
	case OP_link:
		gen_new_path(g, o->p2);
		o->a[0] = rng_pct(r, 20) ? AT_SYMLINK_FOLLOW : 0;
		break;
	case OP_link_fd:
		o->p1[0] = 0;
		o->slot = gen_slot(g, 1);
		gen_new_path(g, o->p2);
		break;
	case OP_symlink:
		if (rng_pct(r, 70))
			gen_new_path(g, o->p1);
		rand_name(r, o->p2);
		if (rng_pct(r, 40))
			gen_path(g, o->p2);
		if (g->privileged && rng_pct(r, 10))
			strcpy(o->p2, "../x1");
		if (strlen(o->p2) > 900)
			o->p2[900] = 0;
		break;
	case OP_mkdir:
		if (rng_pct(r, 80))
			gen_new_path(g, o->p1);
		o->a[0] = rng_pct(r, 80) ? 0777 : 0700 | (gen_mode(g) & 03077);
		o->a[1] = rng_pct(r, 70) ? 022 : 07;
		break;
	case OP_rmdir:
		gen_dir(g, o->p1);
		break;
	case OP_rename:
		if (rng_pct(r, 35) && g->dir_rename)
			gen_dir(g, o->p1);
		if (rng_pct(r, 50))
			gen_path(g, o->p2);
		else
			gen_new_path(g, o->p2);
		o->a[0] = rng_pct(r, 60) ? 0 : rng_pct(r, 50) ? RENAME_NOREPLACE :
								RENAME_EXCHANGE;
		if (!g->dir_rename && (gen_is_dir(g, o->p1) ||
				       gen_is_dir(g, o->p2)))
			o->kind = OP_stat;
		break;
	case OP_mknod:
		if (rng_pct(r, 80))
			gen_new_path(g, o->p1);
		o->a[0] = types[rng_below(r, g->privileged ? 6 : 4)] | 0644;
		if (S_ISCHR((mode_t)o->a[0])) {
			o->a[1] = 1;
			o->a[2] = 3;
		} else if (S_ISBLK((mode_t)o->a[0])) {
			o->a[1] = 250;
			o->a[2] = 1 + (long long)rng_below(r, 300);
		}
		o->a[3] = 022;
		break;
	case OP_truncate:
		o->a[0] = gen_off(g);
		break;
	default:
		break;
	}
}

static inline void gen_meta(struct gen *g, struct op *o)
{
	struct rng *r = &g->rng;
	static const int kinds[] = {
		OP_chmod,
		OP_chmod,
		OP_fchmod,
		OP_chown,
		OP_fchown,
		OP_utimens,
		OP_utimens,
		OP_futimens,
		OP_setxattr,
		OP_setxattr,
		OP_getxattr,
		OP_listxattr,
		OP_removexattr,
		OP_fsetxattr,
		OP_fgetxattr,
		OP_flistxattr,
		OP_fremovexattr,
		OP_stat,
		OP_stat,
		OP_fstat,
		OP_access,
		OP_readdir,
		OP_freaddir,
		OP_readdir_mut,
		OP_cwd,
		OP_suid_write,
	};
	int follow = rng_pct(r, 30);

	o->kind = kinds[rng_below(r, sizeof(kinds) / sizeof(kinds[0]))];
	if (!g->xattr && o->kind >= OP_setxattr && o->kind <= OP_fremovexattr)
		o->kind = OP_stat;
	o->slot = gen_slot(g, rng_pct(r, 80) ? 1 : 2);
	gen_path(g, o->p1);
	if (o->kind >= OP_setxattr && o->kind <= OP_fremovexattr)
		gen_xattr_name(g, o->p2);
	switch (o->kind) {
	case OP_chmod:
	case OP_fchmod:
		o->a[0] = gen_mode(g);
		break;
	case OP_chown:
	case OP_fchown:
		o->a[0] = rng_pct(r, 20) ? -1 : rng_pct(r, 50) ? 0 :
								 1000 + (long long)rng_below(r, 2);
		o->a[1] = rng_pct(r, 20) ? -1 : rng_pct(r, 50) ? 0 :
								 1000 + (long long)rng_below(r, 2);
		o->a[2] = follow;
		break;
	case OP_utimens:
		o->a[0] = follow;
		gen_time(g, &o->a[1], &o->a[2]);
		gen_time(g, &o->a[3], &o->a[4]);
		break;
	case OP_futimens:
		gen_time(g, &o->a[0], &o->a[1]);
		gen_time(g, &o->a[2], &o->a[3]);
		break;
	case OP_setxattr:
	case OP_fsetxattr:
		o->a[0] = (long long)rng_below(r, rng_pct(r, 90) ? 60 : 300);
		o->a[1] = rng_pct(r, 70) ? 0 : rng_pct(r, 50) ? XATTR_CREATE :
								XATTR_REPLACE;
		o->a[2] = (long long)rng_below(r, 1000000);
		o->a[3] = follow;
		break;
	case OP_getxattr:
		o->a[0] = rng_pct(r, 20) ? 0 : rng_pct(r, 10) ? 3 :
								4096;
		o->a[1] = follow;
		break;
	case OP_fgetxattr:
		o->a[0] = rng_pct(r, 20) ? 0 : rng_pct(r, 10) ? 3 :
								4096;
		break;
	case OP_listxattr:
	case OP_removexattr:
	case OP_stat:
		o->a[0] = follow;
		break;
	case OP_access:
		o->a[0] = (long long)rng_below(r, 8);
		break;
	case OP_readdir:
		gen_dir(g, o->p1);
		o->a[0] = rng_pct(r, 50) ? 1024 : 32768;
		break;
	case OP_freaddir:
		o->slot = gen_slot(g, 2);
		o->a[0] = rng_pct(r, 50) ? 1024 : 32768;
		break;
	case OP_readdir_mut:
		gen_dir(g, o->p1);
		o->a[0] = (long long)rng_below(r, 1000000);
		o->a[1] = !g->dir_rename;
		break;
	case OP_cwd:
		o->slot = gen_slot(g, 2);
		o->a[0] = (long long)rng_below(r, 100);
		break;
	case OP_suid_write:
		o->a[1] = (long long)rng_below(r, 5);
		o->a[2] = gen_off(g);
		o->uid = g->uids && rng_pct(r, 80) ? 1000 : 0;
		break;
	default:
		break;
	}
	if (o->kind >= OP_fsetxattr && o->kind <= OP_fremovexattr)
		o->p1[0] = 0;
	if (o->kind == OP_fchmod || o->kind == OP_fchown ||
	    o->kind == OP_futimens || o->kind == OP_fstat ||
	    o->kind == OP_freaddir || o->kind == OP_cwd)
		o->p1[0] = 0;
}

/* Make p1 relative to an open directory now and then. */
static inline void gen_dirfd(struct gen *g, struct op *o)
{
	struct rng *r = &g->rng;
	const char *base;

	if (!o->p1[0] || !rng_pct(r, 12))
		return;
	if (o->kind == OP_rename && !g->dir_rename)
		return; /* who knows what the name is there */
	o->d1 = gen_slot(g, 2);
	base = strrchr(o->p1, '/');
	if (base && rng_pct(r, 70))
		memmove(o->p1, base + 1, strlen(base));
}

static inline void gen_next(struct gen *g, struct op *o)
{
	struct rng *r = &g->rng;
	uint64_t k = rng_below(r, 100);

	if (g->age++ > 15 || !g->paths.n)
		gen_refresh(g);
	memset(o, 0, sizeof(*o));
	o->slot = o->d1 = o->d2 = -1;
	g->n++;
	if (g->check_every && g->n % (unsigned int)g->check_every == 0) {
		o->kind = OP_check;
		return;
	}
	if (g->remount && rng_below(r, 250) == 0) {
		o->kind = OP_remount;
		memset(g->slot, 0, sizeof(g->slot));
		return;
	}
	if (g->drop_caches && rng_below(r, 400) == 0) {
		o->kind = OP_drop_caches;
		return;
	}
	o->post = rng_pct(r, 25);
	if (g->uids && rng_pct(r, 15))
		o->uid = 1000 + (int)rng_below(r, 2);
	if (k < 20) {
		o->kind = OP_open;
		gen_open(g, o);
	} else if (k < 22) {
		o->kind = OP_close;
		o->slot = gen_slot(g, rng_pct(r, 70) ? 1 : 2);
	} else if (k < 48) {
		gen_io(g, o);
	} else if (k < 72) {
		gen_names(g, o);
	} else {
		gen_meta(g, o);
	}
	gen_dirfd(g, o);
}

/* Remember what the operation did to the descriptors. */
static inline void gen_after(struct gen *g, const struct op *o, int failed)
{
	if (o->kind == OP_close && o->slot >= 0)
		g->slot[o->slot].open = 0;
	if (o->kind != OP_open)
		return;
	g->slot[o->slot].flags = (int)o->a[0];
	g->slot[o->slot].open = failed           ? 0 :
				o->a[0] & O_PATH ? 3 :
				o->a[0] & O_DIRECTORY && !(o->a[0] & __O_TMPFILE &&
							   (o->a[0] & O_TMPFILE) == O_TMPFILE) ?
						   2 :
						   1;
}

#endif
