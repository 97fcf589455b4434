/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree that an image shows, without a mount: its layers stacked by
 * fs/union in this process, read-only. For one thread at a time. Functions
 * return 0 or a positive result, or -errno.
 */
#ifndef PLYFS_TOOLS_VIEW_H
#define PLYFS_TOOLS_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "oci/image.h"
#include "tools/plyctl.h"

struct view;

/* Which layers of an image are stacked. */
struct view_range {
	unsigned first, count; /* from the lowest; count 0: all above @first */
	const char *upper; /* a directory on top of them, or NULL */
};

/*
 * Opens the tree of @ref as the command's options have it (--platform, --layers), with
 * indexes made where they are missing. @range may be NULL: all.
 * Says what is wrong itself: the exit code. *ret_image (may be NULL) is the
 * caller's to close, after the view.
 */
int view_open(struct cmd *c, const char *ref, const struct view_range *range, struct view **ret,
	      struct image **ret_image);
/* The same of layers that are at hand: paths of indexes and directories, the lowest first. */
int view_open_paths(const char *const *paths, unsigned n, struct view **ret, char **ret_err);
void view_close(struct view *v); /* NULL is ignored */
/* The paths of its layers, the lowest first; *ret_n (may be NULL) of them. */
const char *const *view_paths(const struct view *v, unsigned *ret_n);

/* A file of the tree: referred to until view_put(). */
struct view_file {
	uint64_t id;
	struct statx st; /* as a mount would show it */
};

/* The root. */
int view_root(struct view *v, struct view_file *ret);
/* @dir/@name; -ENOENT. */
int view_child(struct view *v, const struct view_file *dir, const char *name,
	       struct view_file *ret);
/*
 * By path from the root, however it is written; ".." at the root is the root.
 * Symlinks on the way are followed inside of the tree, the last part too if
 * @follow. -ELOOP after 40 of them.
 */
int view_lookup(struct view *v, const char *path, bool follow, struct view_file *ret);
void view_put(struct view *v, const struct view_file *f);

/*
 * Whether two files are one file of one layer, and so the same in all but
 * their place. False says nothing.
 */
bool view_same_file(struct view *va, const struct view_file *a, struct view *vb,
		    const struct view_file *b);
/* The layer that a file is of, counted from the lowest, from 0; of a directory the topmost. */
int view_layer(struct view *v, const struct view_file *f);

/* The entries of a directory, sorted as strcmp() has it; not "." and "..". */
struct view_entry {
	char *name;
	struct view_file f;
};
int view_list(struct view *v, const struct view_file *dir, struct view_entry **ret, size_t *ret_n);
void view_list_free(struct view *v, struct view_entry *e, size_t n);

/* As lseek(2) with SEEK_DATA and SEEK_HOLE. */
off_t view_seek(struct view *v, const struct view_file *f, off_t off, int whence);
/* As pread(2); the target, malloc'ed; as getxattr(2) and listxattr(2) with size 0. */
ssize_t view_read(struct view *v, const struct view_file *f, void *buf, size_t size, off_t off);
int view_readlink(struct view *v, const struct view_file *f, char **ret);
ssize_t view_getxattr(struct view *v, const struct view_file *f, const char *name, void *buf,
		      size_t size);
ssize_t view_listxattr(struct view *v, const struct view_file *f, char *buf, size_t size);

#endif
