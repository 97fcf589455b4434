/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an index.
 *
 * All access goes through view(): a range of a section, checked against the
 * section's bounds, and against the checksum of each block of the file that it touches, once per
 * block. What is decoded from there is copied out before it is judged, so that a file that changes
 * under us cannot pass a check with one value and be used with another. Names and targets are
 * handed out as pointers into the map: they are bytes without meaning to us once their length is
 * known.
 */
#include "fs/layer/index.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "fs/layer/index_format.h"
#include "lib/cleanup.h"
#include "lib/map.h"
#include "lib/sys.h"

#define MAX_SET 1024 /* attributes in a set */

struct index {
	struct map *map;
	const uint8_t *p;
	struct {
		uint64_t off, size;
	} sec[SEC_COUNT];
	struct index_info info;
	_Atomic uint64_t *checked; /* a bit for each block whose checksum was found right */
};

static const uint64_t record_size[SEC_COUNT] = {
	[SEC_INODES] = sizeof(struct disk_inode),
	[SEC_DIRENTS] = sizeof(struct disk_dirent),
	[SEC_STRINGS] = 1,
	[SEC_XATTRS] = 8,
	[SEC_EXTENTS] = sizeof(struct disk_extent),
	[SEC_CHUNKS] = sizeof(struct disk_chunk),
	[SEC_FRAMES] = sizeof(struct disk_frame),
	[SEC_CHECKSUMS] = 8,
};

const char *index_kind_name(enum index_kind k)
{
	static const char *const names[INDEX_KINDS] = {
		[INDEX_TAR] = "tar",
		[INDEX_PACKED] = "packed",
		[INDEX_ESTARGZ] = "estargz",
		[INDEX_ZSTD_CHUNKED] = "zstd:chunked",
	};

	return k < INDEX_KINDS ? names[k] : "unknown";
}

void index_blob_name(const uint8_t sha256[32], char ret[INDEX_BLOB_NAME_SIZE])
{
	int i;

	memcpy(ret, "sha256-", 7);
	for (i = 0; i < 32; i++)
		(void)snprintf(ret + 7 + 2 * i, 3, "%02x", sha256[i]);
}

/* --- access ------------------------------------------------------------------ */

static bool check_block(const struct index *ix, uint64_t k)
{
	uint64_t from = k ? k * INDEX_BLOCK : sizeof(struct disk_header);
	uint64_t to = (k + 1) * INDEX_BLOCK, want;

	if (atomic_load_explicit(&ix->checked[k / 64], memory_order_relaxed) >> (k % 64) & 1)
		return true;
	if (to > ix->sec[SEC_CHECKSUMS].off)
		to = ix->sec[SEC_CHECKSUMS].off;
	memcpy(&want, ix->p + ix->sec[SEC_CHECKSUMS].off + k * 8, 8);
	if (XXH3_64bits(ix->p + from, to - from) != le64toh(want) || map_damaged(ix->map))
		return false;
	atomic_fetch_or_explicit(&ix->checked[k / 64], 1ULL << (k % 64), memory_order_relaxed);
	return true;
}

static const void *view(const struct index *ix, enum index_section s, uint64_t off, uint64_t len)
{
	uint64_t k, last;

	if (off > ix->sec[s].size || len > ix->sec[s].size - off)
		return NULL;
	if (!len)
		return ix->p;
	off += ix->sec[s].off;
	last = (off + len - 1) / INDEX_BLOCK;
	for (k = off / INDEX_BLOCK; k <= last; k++)
		if (!check_block(ix, k))
			return NULL;
	return ix->p + off;
}

/* Copies the record @i of a section. */
static int record(const struct index *ix, enum index_section s, uint64_t i, void *ret, size_t size)
{
	const void *p = i > UINT64_MAX / size ? NULL : view(ix, s, i * size, size);

	if (!p)
		return -EIO;
	memcpy(ret, p, size);
	return map_damaged(ix->map) ? -EIO : 0;
}

int index_inode(const struct index *ix, uint32_t ino, struct index_inode *ret)
{
	struct disk_inode d;
	uint64_t a;

	if (!ino || record(ix, SEC_INODES, ino - 1, &d, sizeof(d)) < 0)
		return -EIO;
	a = le64toh(d.a);
	*ret = (struct index_inode){
		.ino = ino,
		.mode = le32toh(d.mode),
		.uid = le32toh(d.uid),
		.gid = le32toh(d.gid),
		.nlink = le32toh(d.nlink),
		.mtime = (int64_t)le64toh((uint64_t)d.mtime),
		.mtime_nsec = le32toh(d.mtime_nsec),
		.size = le64toh(d.size),
		.opaque = le32toh(d.flags) & DISK_OPAQUE,
		.parent = le32toh(d.parent),
		.first = a,
		.count = le32toh(d.n),
		.xattrs = le32toh(d.xattrs),
	};
	ret->has_xattrs = ret->xattrs != 0;
	if (ret->mtime_nsec >= 1000000000 || !ret->nlink || ret->size > INT64_MAX)
		return -EIO;
	switch (ret->mode & S_IFMT) {
	case S_IFCHR:
	case S_IFBLK:
		ret->rdev_major = (uint32_t)(a >> 32);
		ret->rdev_minor = (uint32_t)a;
		return 0;
	case S_IFLNK:
		return ret->size && ret->size < 65536 ? 0 : -EIO;
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
		return ret->mode >> 16 ? -EIO : 0;
	default:
		return -EIO;
	}
}

static bool good_name(const char *s, size_t len)
{
	return len && len <= 255 && !memchr(s, '/', len) && !memchr(s, 0, len) &&
	       !(s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.')));
}

static int decode_dirent(const struct index *ix, uint32_t dir, const struct disk_dirent *d,
			 struct index_dirent *ret)
{
	struct index_inode child;

	ret->len = le16toh(d->len);
	ret->type = d->type;
	ret->whiteout = d->flags & DISK_WHITEOUT;
	ret->ino = le32toh(d->ino);
	ret->name = view(ix, SEC_STRINGS, le32toh(d->name), ret->len);
	if (!ret->name || !good_name(ret->name, ret->len))
		return -EIO;
	if (ret->whiteout)
		return ret->ino ? -EIO : 0;
	if (!ret->ino || ret->ino == INDEX_ROOT || ret->ino > ix->info.inodes)
		return -EIO;
	/* each directory has one parent: so there are no loops below the root */
	if (d->type == DT_DIR && (index_inode(ix, ret->ino, &child) < 0 ||
				  !S_ISDIR(child.mode) || child.parent != dir))
		return -EIO;
	return 0;
}

static uint32_t name_hash(const char *name, size_t len)
{
	return (uint32_t)XXH3_64bits(name, len);
}

int index_lookup(const struct index *ix, uint32_t dir, const char *name, size_t len,
		 struct index_dirent *ret)
{
	uint32_t hash = name_hash(name, len);
	struct index_inode inode;
	struct disk_dirent d;
	uint64_t lo, hi;
	int r = index_inode(ix, dir, &inode);

	if (r < 0)
		return r;
	if (!S_ISDIR(inode.mode))
		return -ENOTDIR;
	if (len > 255)
		return -ENAMETOOLONG;
	lo = 0;
	hi = inode.count;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (inode.first > UINT64_MAX - mid ||
		    record(ix, SEC_DIRENTS, inode.first + mid, &d, sizeof(d)) < 0)
			return -EIO;
		if (le32toh(d.hash) < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < inode.count; lo++) {
		if (record(ix, SEC_DIRENTS, inode.first + lo, &d, sizeof(d)) < 0)
			return -EIO;
		if (le32toh(d.hash) != hash)
			break;
		r = decode_dirent(ix, dir, &d, ret);
		if (r < 0)
			return r;
		if (ret->len == len && !memcmp(ret->name, name, len))
			return 0;
	}
	return -ENOENT;
}

int index_dirent(const struct index *ix, const struct index_inode *dir, uint32_t i,
		 struct index_dirent *ret)
{
	struct disk_dirent d;

	if (!S_ISDIR(dir->mode) || i >= dir->count || dir->first > UINT64_MAX - i ||
	    record(ix, SEC_DIRENTS, dir->first + i, &d, sizeof(d)) < 0)
		return -EIO;
	return decode_dirent(ix, dir->ino, &d, ret);
}

ssize_t index_readlink(const struct index *ix, const struct index_inode *inode, const char **ret)
{
	if (!S_ISLNK(inode->mode))
		return -EINVAL;
	*ret = view(ix, SEC_STRINGS, inode->first, inode->size);
	return *ret && !memchr(*ret, 0, inode->size) ? (ssize_t)inode->size : -EIO;
}

int index_xattr(const struct index *ix, uint32_t set, unsigned i, struct index_xattr *ret)
{
	uint64_t off = ((uint64_t)set - 1) * 8, at = 0, size;
	struct disk_xattrs h;
	struct disk_xattr x;
	const uint8_t *p;
	unsigned n, k;

	if (!set)
		return 0;
	p = view(ix, SEC_XATTRS, off, sizeof(h));
	if (!p)
		return -EIO;
	memcpy(&h, p, sizeof(h));
	n = le32toh(h.n);
	size = le32toh(h.size);
	if (n > MAX_SET || size > INDEX_MAX_XATTRS)
		return -EIO;
	if (i >= n)
		return 0;
	p = view(ix, SEC_XATTRS, off + sizeof(h), size);
	if (!p)
		return -EIO;
	for (k = 0;; k++) {
		uint64_t name, value;

		if (size - at < sizeof(x))
			return -EIO;
		memcpy(&x, p + at, sizeof(x));
		at += sizeof(x);
		name = le16toh(x.name_len);
		value = le32toh(x.value_len);
		if (!name || name > 255 || value > size || name + value > size - at)
			return -EIO;
		if (k == i) {
			ret->name = (const char *)p + at;
			ret->name_len = name;
			ret->value = p + at + name;
			ret->value_len = value;
			return memchr(ret->name, 0, name) || map_damaged(ix->map) ? -EIO : 1;
		}
		at += (name + value + 3) & ~3ULL;
		if (at > size)
			return -EIO;
	}
}

static int extent_at(const struct index *ix, const struct index_inode *file, uint64_t i,
		     struct disk_extent *ret)
{
	struct disk_extent d;

	if (file->first > UINT64_MAX - i ||
	    record(ix, SEC_EXTENTS, file->first + i, &d, sizeof(d)) < 0)
		return -EIO;
	*ret = (struct disk_extent){ .off = le64toh(d.off),
				     .len = le64toh(d.len),
				     .chunk_off = le64toh(d.chunk_off),
				     .chunk = le32toh(d.chunk) };
	if (!ret->len || ret->off > file->size || ret->len > file->size - ret->off)
		return -EIO;
	return 0;
}

int index_extent(const struct index *ix, const struct index_inode *file, uint64_t off,
		 struct index_extent *ret)
{
	uint64_t lo = 0, hi = file->count, start = 0, end = file->size;
	struct index_chunk c;
	struct disk_extent d;

	if (!S_ISREG(file->mode) || off >= file->size)
		return -EINVAL;
	/* the first extent that begins after @off: the one before may have it */
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (extent_at(ix, file, mid, &d) < 0)
			return -EIO;
		if (d.off <= off) {
			lo = mid + 1;
		} else {
			hi = mid;
			end = d.off;
		}
	}
	if (lo) {
		if (extent_at(ix, file, lo - 1, &d) < 0 || d.off > off)
			return -EIO;
		start = d.off + d.len;
	}
	if (start <= off) {
		*ret = (struct index_extent){ .off = start, .len = end - start, .hole = true };
		return 0;
	}
	if (index_chunk(ix, d.chunk, &c) < 0 || d.chunk_off > c.len || d.len > c.len - d.chunk_off)
		return -EIO;
	*ret = (struct index_extent){
		.off = d.off, .len = d.len, .chunk = d.chunk, .chunk_off = d.chunk_off
	};
	return 0;
}

int index_chunk(const struct index *ix, uint32_t chunk, struct index_chunk *ret)
{
	struct index_frame f;
	struct disk_chunk d;

	if (record(ix, SEC_CHUNKS, chunk, &d, sizeof(d)) < 0)
		return -EIO;
	*ret = (struct index_chunk){ .frame = le32toh(d.frame),
				     .skip = le64toh(d.skip),
				     .len = le64toh(d.len),
				     .has_sha256 = le32toh(d.flags) & DISK_SHA256 };
	memcpy(ret->sha256, d.sha256, 32);
	if (index_frame(ix, ret->frame, &f) < 0 || ret->skip > f.raw ||
	    ret->len > f.raw - ret->skip)
		return -EIO;
	return 0;
}

int index_frame(const struct index *ix, uint32_t frame, struct index_frame *ret)
{
	struct disk_frame d;

	if (record(ix, SEC_FRAMES, frame, &d, sizeof(d)) < 0)
		return -EIO;
	*ret = (struct index_frame){ .off = le64toh(d.off),
				     .stored = le64toh(d.stored),
				     .raw = le64toh(d.raw),
				     .xxh3 = le64toh(d.xxh3),
				     .codec = le32toh(d.codec) };
	if (ret->off > ix->info.blob_size || ret->stored > ix->info.blob_size - ret->off ||
	    ret->codec >= INDEX_CODECS || ret->raw > INT64_MAX ||
	    (ret->codec == INDEX_RAW && ret->raw > ret->stored))
		return -EIO;
	return 0;
}

const struct index_info *index_info(const struct index *ix)
{
	return &ix->info;
}

/* --- opening ----------------------------------------------------------------- */

static int refuse(char **ret_err, int r, const char *why, unsigned long long n)
{
	if (ret_err) {
		char *s = sys_malloc(strlen(why) + 32);

		if (s)
			(void)snprintf(s, strlen(why) + 32, n ? "%s (%llu)" : "%s", why, n);
		*ret_err = s;
	}
	return r;
}

static int read_sections(struct index *ix, const struct disk_header *h, char **ret_err)
{
	uint64_t end = sizeof(*h), blocks;
	int s;

	for (s = 0; s < SEC_COUNT; s++) {
		uint64_t off = le64toh(h->sec[s].off), size = le64toh(h->sec[s].size);

		if (off < end || off % 8 || size % record_size[s] || off > ix->info.file_size ||
		    size > ix->info.file_size - off)
			return refuse(ret_err, -EIO, "a section is out of place", (unsigned)s);
		ix->sec[s].off = off;
		ix->sec[s].size = size;
		end = off + size;
	}
	blocks = (ix->sec[SEC_CHECKSUMS].off + INDEX_BLOCK - 1) / INDEX_BLOCK;
	if (ix->sec[SEC_CHECKSUMS].size != blocks * 8)
		return refuse(ret_err, -EIO, "checksums are missing", blocks);
	if (XXH3_64bits(ix->p + ix->sec[SEC_CHECKSUMS].off, blocks * 8) != le64toh(h->checksums))
		return refuse(ret_err, -EIO, "the table of checksums is damaged", blocks);
	ix->checked = sys_calloc((blocks + 63) / 64, sizeof(*ix->checked));
	return ix->checked ? 0 : -ENOMEM;
}

static int read_header(struct index *ix, char **ret_err)
{
	struct index_info *info = &ix->info;
	struct index_inode root;
	struct disk_header h;
	uint64_t n;
	int r;

	memcpy(&h, ix->p, sizeof(h));
	if (memcmp(h.magic, INDEX_MAGIC, sizeof(h.magic)))
		return refuse(ret_err, -ENODATA, "is no index", 0);
	if (le32toh(h.version) != INDEX_VERSION)
		return refuse(ret_err, -EPROTONOSUPPORT,
			      "is an index of a version that this program does not know",
			      le32toh(h.version));
	if (XXH3_64bits(&h, offsetof(struct disk_header, self)) != le64toh(h.self) ||
	    le32toh(h.header_size) != sizeof(h) || le32toh(h.block_size) != INDEX_BLOCK)
		return refuse(ret_err, -EIO, "the header of the index is damaged", 0);
	if (le64toh(h.file_size) != info->file_size)
		return refuse(ret_err, -EIO, "the index was cut off: it should have bytes",
			      le64toh(h.file_size));
	r = read_sections(ix, &h, ret_err);
	if (r < 0)
		return r;
	n = ix->sec[SEC_INODES].size / sizeof(struct disk_inode);
	if (!n || n > INDEX_MAX_INODES || le32toh(h.kind) >= INDEX_KINDS)
		return refuse(ret_err, -EIO, "the header of the index makes no sense", n);
	info->kind = le32toh(h.kind);
	info->inodes = (uint32_t)n;
	info->dirents = ix->sec[SEC_DIRENTS].size / sizeof(struct disk_dirent);
	info->extents = ix->sec[SEC_EXTENTS].size / sizeof(struct disk_extent);
	info->chunks = ix->sec[SEC_CHUNKS].size / sizeof(struct disk_chunk);
	info->frames = ix->sec[SEC_FRAMES].size / sizeof(struct disk_frame);
	info->content = le64toh(h.content);
	info->blob_size = le64toh(h.blob_size);
	memcpy(info->blob, h.blob, 32);
	memcpy(info->layer, h.layer, 32);
	memcpy(info->diff_id, h.diff_id, 32);
	memcpy(info->toc, h.toc, 32);
	if (index_inode(ix, INDEX_ROOT, &root) < 0 || !S_ISDIR(root.mode) ||
	    root.parent != INDEX_ROOT)
		return refuse(ret_err, -EIO, "the root directory of the index is damaged", 0);
	return map_damaged(ix->map) ? -EIO : 0;
}

int index_open_fd(int fd, struct index **ret, char **ret_err)
{
	struct index *ix;
	struct statx st;
	int r;

	if (ret_err)
		*ret_err = NULL;
	r = sys_fstatx(fd, &st);
	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode) || st.stx_size < sizeof(struct disk_header))
		return refuse(ret_err, -ENODATA, "is no index", 0);
	ix = sys_calloc(1, sizeof(*ix));
	if (!ix)
		return -ENOMEM;
	ix->info.file_size = st.stx_size;
	r = map_file(fd, st.stx_size, &ix->map);
	if (r == 0) {
		ix->p = map_data(ix->map);
		r = read_header(ix, ret_err);
	}
	if (r < 0) {
		index_close(ix);
		return r;
	}
	*ret = ix;
	return 0;
}

int index_open(int dirfd, const char *path, struct index **ret, char **ret_err)
{
	_cleanup_fd_ int fd = sys_openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	if (ret_err)
		*ret_err = NULL;
	return fd < 0 ? fd : index_open_fd(fd, ret, ret_err);
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	map_free(ix->map);
	free(ix->checked);
	free(ix);
}
