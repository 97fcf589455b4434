/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making an index: readers of archives add what they find, in any order, and
 * write the file at the end.
 *
 * Paths are checked here, once for all readers: leading "/" and "./" are taken
 * off, a ".." is refused, and so is a path through something that is no
 * directory, or an entry that contradicts an earlier one (a file where a
 * directory with entries is). Where a path comes again with the same type, the later
 * entry replaces the earlier one, as tar does it; readers that must refuse that ask
 * index_build_find() first. Directories above that are missing are made, 0755 0:0.
 *
 * Entries are named by ids, which stay valid until the end. An index_build is for one thread
 * at a time. Functions return 0 or a positive result, or -errno; of those
 * that take an archive's word, *ret_err (malloc'ed, may be NULL) says why.
 * Memory is in proportion to the number of entries.
 */
#ifndef PLYFS_LAYER_INDEX_BUILD_H
#define PLYFS_LAYER_INDEX_BUILD_H

#include "fs/layer/index.h"

struct index_build;

int index_build_new(struct index_build **ret);
void index_build_free(struct index_build *b); /* NULL is ignored */

/* What an entry is, but for its content. */
struct index_entry {
	mode_t mode; /* with the type */
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t size; /* of regular files */
	uint32_t rdev_major, rdev_minor;
	const char *target; /* of symlinks */
};

/*
 * Adds or replaces @path; "" is the root. A replaced entry loses its extents and
 * attributes; a directory keeps what is in it. A name ".wh.NAME" becomes a
 * whiteout and ".wh..wh..opq" an opaque mark, whatever the type; other names with
 * ".wh..wh." are AUFS's own and dropped, and so is a device 0:0 made a whiteout: then *ret_id is 0.
 * -EINVAL: a path or value that cannot be; -EEXIST, -ENOTDIR, -EISDIR: it contradicts
 * an earlier one; -ENAMETOOLONG; -E2BIG: too many.
 */
int index_build_add(struct index_build *b, const char *path, const struct index_entry *e,
		    uint32_t *ret_id, char **ret_err);

/*
 * Adds @path as another name of @target, which may come later, or be such a
 * name itself; found out by index_build_write().
 */
int index_build_link(struct index_build *b, const char *path, const char *target,
		     char **ret_err);

/* The id of what is there, 0 for nothing (whiteouts and links not counted). */
uint32_t index_build_find(const struct index_build *b, const char *path);
/* Whether the name is taken, by whatever it be. */
bool index_build_has(const struct index_build *b, const char *path);

/* Attributes of the overlay formats (*.overlay.*) are dropped. Set twice: the later wins. */
int index_build_xattr(struct index_build *b, uint32_t id, const char *name, const void *value,
		      size_t len, char **ret_err);

/* Frames, chunks of frames, and extents of files: where content is. */
int index_build_frame(struct index_build *b, const struct index_frame *f, uint32_t *ret);
/* @c->frame must exist. The frame's @raw grows to what the chunk needs. */
int index_build_chunk(struct index_build *b, const struct index_chunk *c, uint32_t *ret);
/* Extents of a file are added in ascending order without overlap, within its size. */
int index_build_extent(struct index_build *b, uint32_t id, const struct index_extent *e);
/* For frames of which more is known once they are written: off, stored, raw and xxh3. */
int index_build_set_frame(struct index_build *b, uint32_t frame, const struct index_frame *f);
/* Likewise the digest of a chunk. -EINVAL: its place would be another. */
int index_build_set_chunk(struct index_build *b, uint32_t chunk, const struct index_chunk *c);

/* For readers that share contents: gives @id the extents of @from (and its size). */
int index_build_share(struct index_build *b, uint32_t id, uint32_t from);

/* How many entries there are, for progress and limits. */
uint32_t index_build_count(const struct index_build *b);

/*
 * Writes the index as @dirfd/@name: complete and synced before it has that name,
 * replacing what had it. @info gives kind and digests. The builder is of no use
 * afterwards but to be freed.
 */
int index_build_write(struct index_build *b, const struct index_info *info, int dirfd,
		      const char *name, char **ret_err);

#endif
