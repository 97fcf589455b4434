/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index on disk, version 1: see doc/format.md, which is the specification.
 * All numbers are little-endian. Only index.c and index_build.c include this.
 */
#ifndef PLYFS_LAYER_INDEX_FORMAT_H
#define PLYFS_LAYER_INDEX_FORMAT_H

#include <stdint.h>

#define INDEX_MAGIC "plyindex"
#define INDEX_VERSION 1
#define INDEX_BLOCK 16384 /* bytes that one checksum covers */
#define INDEX_NO_CHUNK UINT32_MAX

enum index_section {
	SEC_INODES,
	SEC_DIRENTS,
	SEC_STRINGS,
	SEC_XATTRS,
	SEC_EXTENTS,
	SEC_CHUNKS,
	SEC_FRAMES,
	SEC_CHECKSUMS, /* the last one in the file too */
	SEC_COUNT,
};

struct disk_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t header_size; /* sizeof(struct disk_header) */
	uint64_t file_size;
	uint32_t block_size; /* INDEX_BLOCK */
	uint32_t kind; /* enum index_kind */
	struct {
		uint64_t off, size; /* bytes; off is a multiple of 8 */
	} sec[SEC_COUNT];
	uint64_t blob_size;
	uint8_t blob[32]; /* SHA-256 of the blob that the frames are in */
	uint8_t layer[32]; /* of the layer as its image names it; 0: unknown */
	uint8_t diff_id[32]; /* of the uncompressed tar; 0: unknown */
	uint8_t toc[32]; /* of the TOC as its image names it; 0: none */
	uint64_t content; /* bytes in all regular files */
	uint64_t reserved[24];
	uint64_t checksums; /* XXH3 of the section of checksums */
	uint64_t self; /* XXH3 of all above */
};
_Static_assert(sizeof(struct disk_header) == 512, "header size");

struct disk_inode {
	uint32_t mode, uid, gid, nlink;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t xattrs; /* of a set: its offset in its section / 8, plus 1; 0: none */
	uint64_t size;
	uint64_t a; /* first extent, first dirent, offset of the target, or major << 32 | minor */
	uint32_t n; /* extents or dirents */
	uint32_t flags; /* enum disk_inode_flags */
	uint32_t parent; /* of directories */
	uint32_t reserved;
};
_Static_assert(sizeof(struct disk_inode) == 64, "inode size");

enum disk_inode_flags {
	DISK_OPAQUE = 1 << 0,
};

struct disk_dirent {
	uint32_t hash; /* low half of the name's XXH3; entries ascend by it, then by name */
	uint32_t name; /* offset among the strings */
	uint16_t len;
	uint8_t type; /* DT_* */
	uint8_t flags; /* enum disk_dirent_flags */
	uint32_t ino; /* 0 for a whiteout */
};
_Static_assert(sizeof(struct disk_dirent) == 16, "dirent size");

enum disk_dirent_flags {
	DISK_WHITEOUT = 1 << 0,
};

/* Followed by @n of struct disk_xattr, each with its name and value, padded to 4. */
struct disk_xattrs {
	uint32_t n;
	uint32_t size; /* of the entries */
};

struct disk_xattr {
	uint16_t name_len, reserved;
	uint32_t value_len;
};

struct disk_extent {
	uint64_t off, len; /* in the file; ascending; what lies between two is a hole */
	uint64_t chunk_off;
	uint32_t chunk, reserved;
};
_Static_assert(sizeof(struct disk_extent) == 32, "extent size");

struct disk_chunk {
	uint32_t frame;
	uint32_t flags; /* enum disk_chunk_flags */
	uint64_t skip, len; /* in the decompressed frame */
	uint8_t sha256[32];
};
_Static_assert(sizeof(struct disk_chunk) == 56, "chunk size");

enum disk_chunk_flags {
	DISK_SHA256 = 1 << 0, /* the digest is known */
};

struct disk_frame {
	uint64_t off, stored; /* bytes in the blob */
	uint64_t raw; /* bytes that are needed of it, decompressed */
	uint64_t xxh3; /* of the stored bytes; 0: unknown */
	uint32_t codec, reserved; /* enum index_codec */
};
_Static_assert(sizeof(struct disk_frame) == 40, "frame size");

#endif
