/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an index: what is in a layer, and where in its blob.
 *
 * The file is mapped, nothing is parsed when it is opened. It is not trusted:
 * every offset is checked when it is used, and a block's checksum when the
 * block is first used. What is damaged is -EIO, where it is used. A file
 * that is cut short while it is mapped is damage as well.
 *
 * Inodes are numbered from 1, INDEX_ROOT, to index_info()->inodes. Functions
 * return 0 or a positive result, or -errno; they may be called from several
 * threads at once, and hold no lock.
 */
#ifndef PLYFS_LAYER_INDEX_H
#define PLYFS_LAYER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct index;

#define INDEX_ROOT 1
/* What an inode, a name, a chunk may be at most; more is refused when an index is made. */
#define INDEX_MAX_INODES (1U << 26)
#define INDEX_MAX_XATTRS (1U << 20) /* bytes in one set */

/* What an index was made from. */
enum index_kind {
	INDEX_TAR, /* the blob is an uncompressed tar */
	INDEX_PACKED, /* the blob was made by us, of frames */
	INDEX_ESTARGZ, /* the blob is the layer, read by its TOC */
	INDEX_ZSTD_CHUNKED, /* likewise, in either dialect */
	INDEX_KINDS,
};

/* How a frame is stored. */
enum index_codec {
	INDEX_RAW,
	INDEX_GZIP, /* a gzip member; what comes after the needed bytes is ignored */
	INDEX_ZSTD, /* one or more zstd frames */
	INDEX_CODECS,
};

struct index_info {
	enum index_kind kind;
	uint32_t inodes;
	uint64_t dirents, extents, chunks, frames;
	uint64_t file_size; /* of the index */
	uint64_t content; /* bytes in all regular files */
	uint64_t blob_size;
	uint8_t blob[32], layer[32], diff_id[32], toc[32]; /* SHA-256; zero: unknown */
};

struct index_inode {
	uint32_t ino;
	mode_t mode;
	uint32_t uid, gid, nlink;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t size;
	uint32_t rdev_major, rdev_minor;
	bool opaque; /* a directory that hides those below */
	bool has_xattrs;
	uint32_t parent; /* of directories; the root is its own */
	uint64_t first; /* extents of a file, entries of a directory: the first of them */
	uint32_t count; /* and their number */
	uint32_t xattrs; /* for index_xattr() */
};

struct index_dirent {
	const char *name; /* not terminated; as long as the index is open */
	uint16_t len;
	uint8_t type; /* DT_* */
	bool whiteout; /* hides this name below; has no inode */
	uint32_t ino;
};

struct index_extent {
	uint64_t off, len; /* in the file */
	bool hole; /* zeros; else: */
	uint32_t chunk;
	uint64_t chunk_off;
};

struct index_chunk {
	uint32_t frame;
	uint64_t skip, len; /* in the decompressed frame */
	bool has_sha256;
	uint8_t sha256[32]; /* of the chunk's decompressed bytes */
};

struct index_frame {
	uint64_t off, stored; /* in the blob */
	uint64_t raw; /* bytes that are needed of it, decompressed */
	uint64_t xxh3; /* of the stored bytes, 0: unknown */
	enum index_codec codec;
};

/*
 * Opens the index @dirfd/@path. -ENODATA: this is no index; -EPROTONOSUPPORT: of
 * a version that we do not know; -EIO: its header is damaged. *ret_err
 * (malloc'ed, may be NULL) says what is wrong, without the path.
 */
int index_open(int dirfd, const char *path, struct index **ret, char **ret_err);
/* The same of an open file, whose descriptor stays the caller's. */
int index_open_fd(int fd, struct index **ret, char **ret_err);
void index_close(struct index *ix); /* NULL is ignored */

const struct index_info *index_info(const struct index *ix);

int index_inode(const struct index *ix, uint32_t ino, struct index_inode *ret);

/* One name of a directory; -ENOENT, -ENOTDIR. A whiteout is found too: see ret->whiteout. */
int index_lookup(const struct index *ix, uint32_t dir, const char *name, size_t len,
		 struct index_dirent *ret);
/* The @i-th entry of the directory @dir, i < dir->count; in the order of no human. */
int index_dirent(const struct index *ix, const struct index_inode *dir, uint32_t i,
		 struct index_dirent *ret);

/* The target of a symlink: its length; not terminated, as long as the index is open. */
ssize_t index_readlink(const struct index *ix, const struct index_inode *inode,
		       const char **ret);

/*
 * The @i-th attribute of a set (struct index_inode.xattrs): 1, or 0 past the
 * last. Names and values are not terminated.
 */
struct index_xattr {
	const char *name;
	size_t name_len;
	const void *value;
	size_t value_len;
};
int index_xattr(const struct index *ix, uint32_t set, unsigned i, struct index_xattr *ret);

/* What is at @off (< size) of a regular file; a hole where nothing is. */
int index_extent(const struct index *ix, const struct index_inode *file, uint64_t off,
		 struct index_extent *ret);
int index_chunk(const struct index *ix, uint32_t chunk, struct index_chunk *ret);
int index_frame(const struct index *ix, uint32_t frame, struct index_frame *ret);

/*
 * Reads and checks all of it, as one who trusts nothing: checksums, order,
 * reachability, counts. -EIO with *ret_err (malloc'ed) naming what is wrong.
 */
int index_check(const struct index *ix, char **ret_err);

/* "estargz", ... for messages and output. */
const char *index_kind_name(enum index_kind k);

/*
 * The file that holds a blob, beside its index: "sha256-HEX"; NAME_SIZE bytes. Where
 * that does not exist, "sha256-HEX.ref" may hold a path and a window (fs/layer/source.h).
 */
#define INDEX_BLOB_NAME_SIZE (7 + 64 + 1)
void index_blob_name(const uint8_t sha256[32], char ret[INDEX_BLOB_NAME_SIZE]);

#endif
