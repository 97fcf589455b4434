/* SPDX-License-Identifier: Apache-2.0 */
/* Walking the tree of an image, in the order of names; and saying what a file is. */
#ifndef PLYFS_TOOLS_WALK_H
#define PLYFS_TOOLS_WALK_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/view.h"

struct walk_step {
	const char *path; /* from the root of the image: "/etc/passwd" */
	const char *name; /* its last part, "" of the root */
	const struct view_file *f;
	unsigned depth; /* 0 where the walk began */
	bool last; /* of its directory */
	bool leaving; /* a directory, after what is in it */
};

#define WALK_SKIP 1 /* what is in this directory is not wanted */
/* 0, WALK_SKIP, or -errno, which ends the walk. */
typedef int (*walk_fn)(void *arg, const struct walk_step *s);

/*
 * Calls @fn for @f and all below; for directories twice. What cannot be read is said on
 * stderr and counted in *ret_bad. @path is what @f is called.
 */
int walk(struct view *v, const char *path, const struct view_file *f, walk_fn fn, void *arg,
	 unsigned *ret_bad);

/* "/a/b" of what a person wrote ("a//b/"), malloc'ed. */
char *walk_path(const char *s);

/*
 * An object that describes a file: path, type, mode, uid, gid, size, nlink, mtime, layer,
 * and target or rdev where there is one. Ends it unless @more fields follow.
 */
void entry_json(struct view *v, const char *path, const struct view_file *f, bool more);

/*
 * Files that have several names, seen once: true the first time @st is seen. For counting.
 * *set is NULL at first; links_free() at the end.
 */
struct links;
bool links_first(struct links **set, const struct statx *st);
void links_free(struct links *set);

#endif
