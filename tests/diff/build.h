/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the list of layer entries on disk: each layer into its directory, and
 * all of them, one above the other, into the plain directory, as unpacking
 * the layers would.
 */
#ifndef TESTS_DIFF_BUILD_H
#define TESTS_DIFF_BUILD_H

#include "layers.h"

static inline int build_rm_one(const char *path, const struct stat *st,
			       int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP || type == FTW_D || type == FTW_DNR ?
		       rmdir(path) :
		       unlink(path);
}

static inline int build_open_one(const char *path, const struct stat *st,
				 int type, struct FTW *ftw)
{
	(void)ftw;
	if (type == FTW_D || type == FTW_DNR)
		(void)chmod(path, (st->st_mode & 07777) | 0700);
	return 0;
}

/* Remove path and what is below it, whatever its modes; 0 or -1. */
static inline int build_rm(const char *path)
{
	if (!unlink(path) || errno == ENOENT)
		return 0;
	if (geteuid())
		nftw(path, build_open_one, 30, FTW_PHYS | FTW_MOUNT);
	return nftw(path, build_rm_one, 30, FTW_PHYS | FTW_DEPTH | FTW_MOUNT);
}

static inline void build_times(const char *path, const struct lent *e)
{
	struct timespec ts[2] = {
		{ e->sec, e->nsec },
		{ e->sec, e->nsec },
	};

	(void)utimensat(AT_FDCWD, path, ts, AT_SYMLINK_NOFOLLOW);
}

static inline void build_attrs(const struct layers *l, const char *path,
			       const struct lent *e)
{
	char val[256];
	size_t n;

	if (l->privileged)
		(void)lchown(path, e->uid, e->gid);
	if (e->type == 'l')
		return;
	(void)chmod(path, e->mode);
	if (e->flags & ENT_XATTR && strchr("df", e->type)) {
		rng_fill(e->seed, val, 40);
		(void)lsetxattr(path, "user.one", val, 20 + e->seed % 20, 0);
		if (l->privileged)
			(void)lsetxattr(path, "trusted.two", val, 7, 0);
	}
	if (e->flags & ENT_ACL) {
		n = special_value("system.posix_acl_access", e->seed, val);
		(void)lsetxattr(path, "system.posix_acl_access", val, n, 0);
	}
	if (e->flags & ENT_CAP) {
		n = special_value("security.capability", e->seed, val);
		(void)lsetxattr(path, "security.capability", val, n, 0);
	}
}

static inline int build_file(const char *path, const struct lent *e)
{
	char *buf = malloc(e->size + 1);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	int rc = 0;
	size_t half = e->size / 8192 * 4096;

	rng_fill(e->seed, buf, e->size);
	if (fd < 0) {
		rc = -1;
	} else if (e->flags & ENT_SPARSE) {
		/* data, a hole, data, and a hole at the end */
		if (pwrite(fd, buf, e->size - half, 0) < 0 ||
		    pwrite(fd, buf, half, 100 * 4096) < 0 ||
		    ftruncate(fd, 150 * 4096 + e->size % 4096))
			rc = -1;
	} else if (write(fd, buf, e->size) != (ssize_t)e->size) {
		rc = -1;
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return rc;
}

/* Whiteouts and opaque marks: these exist in the layer only. */
static inline int build_mark(const struct layers *l, const char *dir,
			     const struct lent *e)
{
	char path[PATH_MAX * 2];
	const char *base = strrchr(e->path, '/');
	int dirlen;

	if (e->type == 'd' && e->flags & ENT_WH_FILE) {
		snprintf(path, sizeof(path), "%s/%s/.wh..wh..opq", dir,
			 e->path);
		return mknod(path, S_IFREG | 0600, 0);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, e->path);
	if (e->type == 'd')
		return lsetxattr(path,
				 l->userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque",
				 "y", 1, 0);
	base = base ? base + 1 : e->path;
	if (!(e->flags & ENT_WH_FILE) || strlen(base) > 250)
		return mknod(path, S_IFCHR, makedev(0, 0));
	dirlen = (int)(strlen(e->path) - strlen(base));
	snprintf(path, sizeof(path), "%s/%.*s.wh.%s", dir, dirlen, e->path,
		 base);
	return mknod(path, S_IFREG | 0600, 0);
}

/*
 * Put e into the tree at dir. merge says that dir is the plain directory,
 * where the entry replaces what lower layers put there.
 */
static inline int build_one(const struct layers *l, const char *dir,
			    const struct lent *e, int merge)
{
	char path[PATH_MAX * 2], from[PATH_MAX * 2];
	struct stat st;
	int rc = 0, isdir;

	snprintf(path, sizeof(path), "%s/%s", dir, e->path);
	if (e->type == 'w')
		return merge ? build_rm(path) : build_mark(l, dir, e);
	isdir = !lstat(path, &st) && S_ISDIR(st.st_mode);
	if (merge && (e->type != 'd' || !isdir || e->flags & ENT_OPAQUE)) {
		if (build_rm(path))
			return -1;
		isdir = 0;
	}
	switch (e->type) {
	case 'd':
		rc = isdir ? 0 : mkdir(path, 0700);
		if (isdir) {
			(void)lremovexattr(path, "user.one");
			(void)lremovexattr(path, "trusted.two");
			(void)lremovexattr(path, "system.posix_acl_access");
		}
		if (!rc && !merge && e->flags & ENT_OPAQUE)
			rc = build_mark(l, dir, e);
		break;
	case 'f':
		rc = build_file(path, e);
		break;
	case 'l':
		rc = symlink(e->target, path);
		break;
	case 'h':
		snprintf(from, sizeof(from), "%s/%s", dir, e->target);
		return link(from, path);
	case 'p':
		rc = mknod(path, S_IFIFO | 0600, 0);
		break;
	case 's':
		rc = mknod(path, S_IFSOCK | 0600, 0);
		break;
	default:
		rc = mknod(path, (e->type == 'c' ? S_IFCHR : S_IFBLK) | 0600,
			   e->type == 'c' ? makedev(1, 3) : makedev(250, 1));
	}
	if (rc)
		return rc;
	build_attrs(l, path, e);
	build_times(path, e);
	return 0;
}

/*
 * Modes, times and default ACLs of directories, once they are full, in the
 * order of the layers: the topmost wins.
 */
static inline void build_dirs(const struct layers *l, const char *dir,
			      int layer)
{
	char path[PATH_MAX * 2], val[256];
	struct stat st;
	size_t i, n;

	for (i = 0; i < l->n; i++) {
		const struct lent *e = &l->v[i];

		if (e->type != 'd' || (layer >= 0 && e->layer != layer))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->path);
		if (lstat(path, &st) || !S_ISDIR(st.st_mode))
			continue;
		(void)lremovexattr(path, "system.posix_acl_default");
		if (e->flags & ENT_DEFACL) {
			n = special_value("system.posix_acl_access", e->seed,
					  val);
			(void)lsetxattr(path, "system.posix_acl_default", val,
					n, 0);
		}
		build_times(path, e);
	}
}

/*
 * Make the layers' directories (work/l0, l1, ...) and the plain directory.
 * An entry that cannot be made (its parent was dropped by the shrinker) is
 * left out of both.
 */
static inline int build_trees(const struct layers *l, const char *work,
			      const char *plain)
{
	struct lent root = {
		.type = 'd',
		.mode = 0777,
		.sec = 1000000000,
		.nsec = 12345,
	};
	char dir[PATH_MAX + 16], path[PATH_MAX * 2];
	struct stat st;
	size_t i;
	int k;

	for (k = 0; k < l->count; k++) {
		snprintf(dir, sizeof(dir), "%s/l%d", work, k);
		if (mkdir(dir, 0755))
			return -1;
		for (i = 0; i < l->n; i++) {
			if (l->v[i].layer != k)
				continue;
			snprintf(path, sizeof(path), "%s/%s", plain,
				 l->v[i].path);
			if (l->no_stray && l->v[i].type == 'w' &&
			    lstat(path, &st))
				continue;
			if (build_one(l, dir, &l->v[i], 0))
				continue;
			if (build_one(l, plain, &l->v[i], 1)) {
				fprintf(stderr, "merge of %s: %s\n",
					l->v[i].path, strerror(errno));
				return -1;
			}
		}
		build_dirs(l, dir, k);
		(void)chmod(dir, root.mode);
		build_times(dir, &root);
	}
	build_dirs(l, plain, -1);
	(void)chmod(plain, root.mode);
	build_times(plain, &root);
	return 0;
}

#endif
