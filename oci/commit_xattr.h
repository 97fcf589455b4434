/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes of an upper: which are users' own, and which belong to a format. */
#ifndef PLYFS_OCI_COMMIT_XATTR_H
#define PLYFS_OCI_COMMIT_XATTR_H

#include "fs/layer/layer.h"
#include "fs/layer/tar_write.h"

struct commit_xattrs {
	struct tar_xattr *v; /* owned, and what it points to as well */
	size_t n;
};

/* Users' own, under the names that users see. 0 or -errno. */
int commit_xattrs_read(const struct layer_dir *dir, const char *name, struct commit_xattrs *ret);
void commit_xattrs_release(struct commit_xattrs *x);

/*
 * Whether @dir/@name ("" is @dir) has overlay.@mark, be it trusted. or user.: 1 or 0. The first
 * bytes of its value in @value, where that is not NULL.
 */
int commit_mark(const struct layer_dir *dir, const char *name, const char *mark, char value[8]);

/* The attribute for owner and mode that the root of an upper carries, or NULL. */
const char *commit_override(const struct layer_dir *root);

#endif
