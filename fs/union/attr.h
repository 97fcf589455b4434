/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes: from what a layer holds to what the mount shows, and back.
 *
 * Owners pass uidmapping/gidmapping and squash_to_*; where a layer carries
 * override_stat attributes (fuse-overlayfs's and containers/storage's format:
 * "uid:gid:octalmode[:type]"), these stand for owner, mode and type.
 */
#ifndef PLYFS_UNION_ATTR_H
#define PLYFS_UNION_ATTR_H

#include "fs/union/node.h"

/* Whose the files of unmapped owners are shown to be. */
#define ATTR_OVERFLOW_ID 65534

/* Ids as the layers hold them, and as the mount shows them. Unmapped: the overflow id. */
uid_t attr_uid_view(const struct union_fs *u, uid_t host);
gid_t attr_gid_view(const struct union_fs *u, gid_t host);
/* The way back; -EOVERFLOW for an id that no range holds. */
int attr_uid_host(const struct union_fs *u, uid_t view, uid_t *ret);
int attr_gid_host(const struct union_fs *u, gid_t view, gid_t *ret);

/* Applies the layer's override_stat, if it has any for @dir/@name, to @st. */
int attr_override(const struct layer_dir *dir, const char *name, struct statx *st);
/* Writes it for the file behind @fd: owner and mode (with type) in host ids. */
int attr_write_override(struct union_fs *u, int fd, uid_t uid, gid_t gid, mode_t mode,
			unsigned rdev_major, unsigned rdev_minor);
/* Which override attribute a layer's root carries, or NULL: what union_open() asks. */
const char *attr_find_override(struct union_fs *u, struct layer *l);

/*
 * overlay.nlink of the indexed upper file at @at (descriptor @fd): relative to
 * the upper's links, changed by @delta. *ret_names, where not NULL: how many
 * names the file has before that.
 */
struct place;
int attr_add_nlink(struct union_fs *u, struct node *n, const struct place *at, int fd, int delta,
		   long *ret_names);

/* With the lock: turns the real attributes @st of @n into those that the mount shows. */
void attr_to_view(struct union_fs *u, struct node *n, struct statx *st);

/* The same, taking the lock; notes whether the mode has setuid or setgid. */
void attr_show(struct union_fs *u, struct node *n, struct statx *st);

/*
 * Corrects st_nlink of @n, which is at @dir/@name with the real attributes
 * @st: an indexed upper file's names are partly in the lower.
 */
int attr_nlink(struct union_fs *u, struct node *n, const struct layer_dir *dir, const char *name,
	       struct statx *st);

/* The attributes of @n as the mount shows them, asked of the layers. */
int attr_get(struct union_fs *u, struct node *n, struct statx *ret);

#endif
