/* SPDX-License-Identifier: Apache-2.0 */
/* What collecting (index_build.c) and writing (index_write.c) share. Nobody else includes this. */
#ifndef PLYFS_LAYER_INDEX_BUILD_I_H
#define PLYFS_LAYER_INDEX_BUILD_I_H

#include "fs/layer/index_build.h"

/* An inode; the caller's id is its number. */
struct bnode {
	struct index_entry e; /* e.target is not used */
	uint32_t target; /* string */
	uint32_t parent; /* of a directory */
	uint32_t names; /* that refer to it */
	uint32_t children; /* of a directory: names that are not whiteouts alone */
	uint32_t xattrs; /* the first of a list */
	uint32_t head, tail, extents; /* a list of extents */
	bool implicit; /* a directory that nobody described */
	bool opaque;
	bool shared; /* its extents are another's too */
	/* for writing: */
	uint32_t ino, subdirs;
	uint64_t first_name; /* of a directory, in an array sorted by directory */
	uint32_t nnames;
};

struct bname {
	uint32_t dir; /* node */
	uint32_t str;
	uint32_t node; /* 0: none */
	uint32_t link; /* string: the path of a file to come, whose name this is; or 0 */
	bool whiteout;
	bool seen; /* while links are followed */
};

struct bextent {
	struct index_extent e;
	uint32_t next;
	uint64_t first; /* for writing: where its list was put, plus 1 */
};

struct bxattr {
	uint32_t next, name, len;
	uint64_t off; /* in value */
};

struct bstr {
	uint32_t off, len; /* in str, terminated there */
};

struct index_build {
	struct bnode *node; /* from 1, which is the root */
	struct bname *name; /* from 1 */
	uint32_t nodes, names;
	uint64_t node_cap, name_cap;
	uint32_t *names_by; /* by directory and string */
	uint32_t names_mask;

	char *str;
	uint64_t str_len, str_cap;
	struct bstr *strs; /* from 1 */
	uint32_t nstrs;
	uint64_t strs_cap;
	uint32_t *strs_by; /* by content */
	uint32_t strs_mask;

	struct bextent *extent; /* from 1 */
	uint64_t extents, extent_cap;
	struct index_chunk *chunk;
	uint64_t chunks, chunk_cap;
	struct index_frame *frame;
	uint64_t frames, frame_cap;
	struct bxattr *xattr; /* from 1 */
	uint64_t xattrs, xattr_cap;
	uint8_t *value;
	uint64_t value_len, value_cap;

	/* the directory of the path before, with its slash */
	char *last_dir;
	size_t last_dir_len;
	uint32_t last_dir_node;

	bool pending_links;
};

/* Sets *ret_err unless it is set or NULL; returns @r. */
int ib_fail(char **ret_err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Room for one more of @size bytes after @n in an array of *cap. */
int ib_grow(void **p, uint64_t n, uint64_t *cap, size_t size);
/* Finds what links are links to. */
int ib_resolve_links(struct index_build *b, char **ret_err);

#endif
