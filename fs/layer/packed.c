/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer that is an index over a blob.
 *
 * A handle is an inode number of the index and costs nothing; all but content
 * comes from the map of the index, without a system call. Whiteouts are shown as
 * 0:0 devices and opaque directories by trusted.overlay.opaque, as if the layer were
 * a directory of the kernel's format.
 */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <xxhash.h>

#include "fs/layer/blob.h"
#include "fs/layer/index.h"
#include "fs/layer/layer.h"
#include "fs/layer/source.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/sys.h"

#define OPAQUE_ATTR "trusted.overlay.opaque"
/* The major number of no device: each packed layer is a file system of its own. */
#define PACKED_MAJOR 0x706c79
/* Extents that are looked at to tell how much of a file is holes. */
#define MAX_EXTENTS 4096

struct packed {
	struct index *ix; /* owned */
	struct blob *blob; /* owned */
	atomic_bool complained;
};

static struct packed *packed_of(const struct layer_dir *d)
{
	return d->layer->impl;
}

static const struct index *index_of(const struct layer_dir *d)
{
	return packed_of(d)->ix;
}

/* @r; where it says that the index is damaged, the log says so too, once. */
static int checked(const struct layer_dir *d, int r)
{
	if (r == -EIO && !atomic_exchange(&packed_of(d)->complained, true))
		log_err("layer %s: the index is damaged; what it cannot tell is an error",
			d->layer->path);
	return r;
}

static int get_inode(const struct layer_dir *d, uint32_t ino, struct index_inode *ret)
{
	return checked(d, index_inode(index_of(d), ino, ret));
}

static void packed_close(struct layer *l)
{
	struct packed *p = l->impl;

	blob_close(p->blob);
	index_close(p->ix);
	free(p);
}

/*
 * Follows @path ("" or "a/b") from @dir: an inode, or 0 for a whiteout at its end. A
 * directory is reached by an entry that says so only: these have one parent each, and
 * make no loops.
 */
static int walk(const struct layer_dir *dir, const char *path, uint32_t *ret,
		struct index_inode *ret_inode)
{
	uint32_t ino = (uint32_t)dir->ref;
	int r = *path ? 0 : get_inode(dir, ino, ret_inode);

	while (!r && *path) {
		const char *end = strchrnul(path, '/');
		struct index_dirent de;

		if (!ino)
			return -ENOENT;
		if (end - path > 255)
			return -ENAMETOOLONG;
		r = index_lookup(index_of(dir), ino, path, (size_t)(end - path), &de);
		if (r < 0)
			return checked(dir, r);
		ino = de.whiteout ? 0 : de.ino;
		r = ino ? get_inode(dir, ino, ret_inode) : 0;
		if (ino && !r && de.type != IFTODT(ret_inode->mode))
			return checked(dir, -EIO);
		path = *end ? end + 1 : end;
	}
	*ret = ino;
	return r;
}

/* The same, which must be there. */
static int find(const struct layer_dir *dir, const char *path, struct index_inode *ret)
{
	uint32_t ino;
	int r = walk(dir, path, &ino, ret);

	return r < 0 ? r : ino ? 0 :
				 -ENOENT;
}

static int handle_of(const struct layer_dir *dir, const char *path, mode_t type,
		     struct layer_dir *ret)
{
	struct index_inode in;
	uint32_t ino;
	int r = walk(dir, path, &ino, &in);

	if (r < 0)
		return r;
	if (!ino)
		return -ENOENT;
	if ((in.mode & S_IFMT) != type)
		return type == S_IFDIR ? -ENOTDIR : -EINVAL;
	*ret = (struct layer_dir){ .layer = dir->layer, .fd = -1, .ref = ino };
	return 0;
}

static int packed_dir_open(const struct layer_dir *base, const char *path, struct layer_dir *ret)
{
	return handle_of(base, path, S_IFDIR, ret);
}

static int packed_file_open(const struct layer_dir *dir, const char *name, struct layer_dir *ret)
{
	return handle_of(dir, name, S_IFREG, ret);
}

static int packed_by_ino(struct layer *l, uint64_t ino, struct layer_dir *ret)
{
	const struct packed *p = l->impl;

	if (!ino || ino > index_info(p->ix)->inodes)
		return -ESTALE;
	*ret = (struct layer_dir){ .layer = l, .fd = -1, .ref = ino };
	return 0;
}

/* In units of 512 bytes: what is no hole, as far as that is told quickly. */
static uint64_t blocks(const struct index *ix, const struct index_inode *in)
{
	uint64_t off = 0, data = 0;
	struct index_extent x;
	unsigned i;

	if (!S_ISREG(in->mode))
		return 0;
	for (i = 0; off < in->size; i++) {
		if (i == MAX_EXTENTS || index_extent(ix, in, off, &x) < 0 || !x.len ||
		    x.off + x.len <= off)
			return (in->size + 511) / 512;
		if (!x.hole)
			data += x.len;
		off = x.off + x.len;
	}
	return (data + 511) / 512;
}

static void fill_stat(const struct layer_dir *dir, const struct index_inode *in, uint32_t ino,
		      struct statx *ret)
{
	const struct statx_timestamp t = { .tv_sec = in->mtime, .tv_nsec = in->mtime_nsec };

	*ret = (struct statx){
		.stx_mask = STATX_BASIC_STATS,
		.stx_blksize = 4096,
		.stx_nlink = in->nlink,
		.stx_uid = in->uid,
		.stx_gid = in->gid,
		.stx_mode = (uint16_t)in->mode,
		.stx_ino = ino,
		.stx_size = in->size,
		.stx_blocks = blocks(index_of(dir), in),
		.stx_atime = t,
		.stx_mtime = t,
		.stx_ctime = t,
		.stx_rdev_major = in->rdev_major,
		.stx_rdev_minor = in->rdev_minor,
		.stx_dev_major = major(dir->layer->dev),
		.stx_dev_minor = minor(dir->layer->dev),
	};
}

static int packed_stat(const struct layer_dir *dir, const char *name, struct statx *ret)
{
	struct index_inode in;
	const char *target;
	uint32_t ino;
	ssize_t len;
	int r = walk(dir, name, &ino, &in);

	if (r < 0)
		return r;
	if (!ino) {
		const struct index_inode whiteout = { .mode = S_IFCHR, .nlink = 1 };

		/* as many as there are, and none an inode's number */
		fill_stat(dir, &whiteout, UINT32_MAX, ret);
		return 0;
	}
	fill_stat(dir, &in, ino, ret);
	if (S_ISLNK(in.mode)) {
		len = index_readlink(index_of(dir), &in, &target);
		if (len < 0)
			return (int)len;
		ret->stx_size = (uint64_t)len;
	} else if (S_ISDIR(in.mode)) {
		ret->stx_size = 4096;
	} else if (layer_is_whiteout(ret)) {
		return -EIO; /* no honest index has one */
	}
	return 0;
}

static int packed_iterate(const struct layer_dir *dir, layer_iter_fn fn, void *arg)
{
	struct index_inode in;
	char name[256];
	uint32_t i;
	int r;

	r = get_inode(dir, (uint32_t)dir->ref, &in);
	if (r < 0)
		return r;
	if (!S_ISDIR(in.mode))
		return -ENOTDIR;
	for (i = 0; i < in.count; i++) {
		struct layer_dirent de = { .name = name };
		struct index_dirent d;

		r = index_dirent(index_of(dir), &in, i, &d);
		if (r < 0 || d.len > 255)
			return checked(dir, -EIO);
		memcpy(name, d.name, d.len);
		name[d.len] = 0;
		de.type = d.whiteout ? DT_CHR : d.type;
		de.whiteout = d.whiteout;
		r = fn(arg, &de);
		if (r)
			return r;
	}
	return 0;
}

static ssize_t packed_readlink(const struct layer_dir *dir, const char *name, char *buf,
			       size_t size)
{
	struct index_inode in;
	const char *target;
	ssize_t n;
	int r = find(dir, name, &in);

	if (r < 0)
		return r;
	if (!S_ISLNK(in.mode))
		return -EINVAL;
	n = index_readlink(index_of(dir), &in, &target);
	if (n < 0)
		return checked(dir, (int)n);
	if ((size_t)n > size)
		n = (ssize_t)size;
	memcpy(buf, target, (size_t)n);
	return n;
}

static ssize_t give(const void *value, size_t len, void *buf, size_t size)
{
	if (size && len > size)
		return -ERANGE;
	if (size && len)
		memcpy(buf, value, len);
	return (ssize_t)len;
}

/* What a file system would say to the name of an attribute, before it looks for it. */
static int attr_name(const char *attr, mode_t mode)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };
	unsigned i;

	if (!strcmp(attr, "system.posix_acl_access") || !strcmp(attr, "system.posix_acl_default"))
		return S_ISLNK(mode) ? -EOPNOTSUPP : 0;
	for (i = 0; i < 3; i++)
		if (!strncmp(attr, prefixes[i], strlen(prefixes[i])))
			return attr[strlen(prefixes[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

static ssize_t packed_getxattr(const struct layer_dir *dir, const char *name, const char *attr,
			       void *buf, size_t size)
{
	size_t len = strlen(attr);
	struct index_inode in;
	struct index_xattr x;
	unsigned i;
	int r = find(dir, name, &in);

	if (r < 0)
		return r;
	r = attr_name(attr, in.mode);
	if (r < 0)
		return r;
	if (in.opaque && S_ISDIR(in.mode) && !strcmp(attr, OPAQUE_ATTR))
		return give("y", 1, buf, size);
	for (i = 0; in.has_xattrs; i++) {
		r = index_xattr(index_of(dir), in.xattrs, i, &x);
		if (r <= 0)
			return r < 0 ? checked(dir, r) : -ENODATA;
		if (x.name_len == len && !memcmp(x.name, attr, len))
			return give(x.value, x.value_len, buf, size);
	}
	return -ENODATA;
}

/* Adds a name to a list of @done bytes: the bytes then. */
static ssize_t list_name(const char *name, size_t len, char *buf, size_t size, ssize_t done)
{
	if (size) {
		if ((size_t)done + len + 1 > size)
			return -ERANGE;
		memcpy(buf + done, name, len);
		buf[(size_t)done + len] = 0;
	}
	return done + (ssize_t)len + 1;
}

static ssize_t packed_listxattr(const struct layer_dir *dir, const char *name, char *buf,
				size_t size)
{
	struct index_inode in;
	struct index_xattr x;
	ssize_t done = 0;
	unsigned i;
	int r = find(dir, name, &in);

	if (r < 0)
		return r;
	if (in.opaque && S_ISDIR(in.mode))
		done = list_name(OPAQUE_ATTR, strlen(OPAQUE_ATTR), buf, size, done);
	for (i = 0; in.has_xattrs && done >= 0; i++) {
		r = index_xattr(index_of(dir), in.xattrs, i, &x);
		if (r <= 0)
			return r < 0 ? checked(dir, r) : done;
		done = list_name(x.name, x.name_len, buf, size, done);
	}
	return done;
}

static int packed_handle(const struct layer_dir *dir, const char *name, void *buf, size_t size,
			 int *ret_type)
{
	struct index_inode in;
	uint8_t *p = buf;
	uint64_t ino;
	uint32_t n;
	int r = walk(dir, name, &n, &in);

	if (r < 0)
		return r;
	if (!n)
		return -EOPNOTSUPP;
	if (size < LAYER_HANDLE_SIZE)
		return -EOVERFLOW;
	ino = n;
	memcpy(p, LAYER_HANDLE_MAGIC, 4);
	memcpy(p + 4, &ino, 8);
	*ret_type = LAYER_HANDLE_TYPE;
	return LAYER_HANDLE_SIZE;
}

static ssize_t packed_file_read(const struct layer_dir *f, void *buf, size_t size, off_t off,
				bool nowait)
{
	struct index_inode in;
	int r;

	if (off < 0)
		return -EINVAL;
	r = get_inode(f, (uint32_t)f->ref, &in);
	if (r < 0)
		return r;
	return blob_read(packed_of(f)->blob, &in, buf, size, (uint64_t)off, nowait);
}

static off_t packed_file_seek(const struct layer_dir *f, off_t off, int whence)
{
	struct index_inode in;
	int r;

	if (off < 0)
		return -ENXIO;
	r = get_inode(f, (uint32_t)f->ref, &in);
	return r < 0 ? r : blob_seek(packed_of(f)->blob, &in, (uint64_t)off, whence);
}

static int packed_statfs(struct layer *l, struct statfs *ret)
{
	const struct packed *p = l->impl;
	const struct index_info *info = index_info(p->ix);

	*ret = (struct statfs){
		.f_type = PACKED_MAJOR,
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = (info->content + 4095) / 4096,
		.f_files = info->inodes,
		.f_namelen = 255,
	};
	return 0;
}

static const struct layer_ops packed_ops = {
	.kind = "index",
	.close = packed_close,
	.dir_open = packed_dir_open,
	.stat = packed_stat,
	.iterate = packed_iterate,
	.readlink = packed_readlink,
	.getxattr = packed_getxattr,
	.listxattr = packed_listxattr,
	.handle = packed_handle,
	.by_ino = packed_by_ino,
	.file_open = packed_file_open,
	.file_read = packed_file_read,
	.file_seek = packed_file_seek,
	.statfs = packed_statfs,
};

/* --- opening --------------------------------------------------------------------- */

/*
 * What stands for a file system's UUID in handles: it changes whenever inodes may
 * have got other numbers. The header contains the checksums of everything else.
 */
static int make_uuid(int fd, uint8_t ret[16])
{
	uint8_t header[512];
	ssize_t n = sys_pread(fd, header, sizeof(header), 0);
	XXH128_canonical_t c;

	if (n < 0)
		return (int)n;
	XXH128_canonicalFromHash(&c, XXH3_128bits(header, (size_t)n));
	memcpy(ret, c.digest, 16);
	return 0;
}

static int open_blob(struct packed *p, const char *path, char **ret_err)
{
	const struct index_info *info = index_info(p->ix);
	struct source src = { .fd = -1, .name = "" };
	_cleanup_free_ char *real = NULL;
	_cleanup_fd_ int dirfd = -1;
	int r;

	if (info->frames) {
		real = realpath(path, NULL);
		if (!real)
			return -errno;
		dirfd = sys_openat(AT_FDCWD, dirname(real), O_PATH | O_DIRECTORY, 0);
		if (dirfd < 0)
			return dirfd;
		r = source_open_blob(dirfd, info->blob, info->blob_size, &src, ret_err);
		if (r < 0)
			return r;
		src.name = "";
	}
	return blob_open(p->ix, &src, &p->blob);
}

static int open_packed(struct layer *l, const char *path, char **ret_err)
{
	static atomic_uint minors;
	struct packed *p = l->impl;
	_cleanup_fd_ int fd = -1;
	struct index_inode root;
	int r;

	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	r = index_open_fd(fd, &p->ix, ret_err);
	if (r < 0)
		return r;
	r = index_inode(p->ix, INDEX_ROOT, &root);
	if (!r && !S_ISDIR(root.mode))
		r = -EIO;
	if (r < 0) {
		*ret_err = strdup("the index is damaged: it has no root directory");
		return r;
	}
	r = make_uuid(fd, l->uuid);
	if (!r)
		r = open_blob(p, path, ret_err);
	if (r < 0)
		return r;
	l->dev = makedev(PACKED_MAJOR, atomic_fetch_add(&minors, 1) + 1);
	l->root = (struct layer_dir){ .layer = l, .fd = -1, .ref = INDEX_ROOT };
	return 0;
}

int layer_open_packed(const char *path, struct layer **ret, char **ret_err)
{
	struct packed *p = sys_calloc(1, sizeof(*p));
	struct layer *l = sys_calloc(1, sizeof(*l));
	char *name = sys_strdup(path);
	int r = -ENOMEM;

	*ret_err = NULL;
	if (p && l && name) {
		*l = (struct layer){ .ops = &packed_ops, .path = name, .impl = p };
		r = open_packed(l, path, ret_err);
	}
	if (r < 0) {
		if (p) {
			blob_close(p->blob);
			index_close(p->ix);
		}
		free(p);
		free(l);
		free(name);
		return r;
	}
	*ret = l;
	return 0;
}
