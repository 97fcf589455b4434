/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's on-disk format: overlay.* attributes, whiteouts, origins.
 *
 * Source: Documentation/filesystems/overlayfs.rst and fs/overlayfs/ of Linux
 * 6.x. The attributes' namespace is trusted.overlay. or user.overlay.
 * (userxattr); u->xprefix is the one we write. See doc/architecture.md for
 * what we read beside it.
 */
#ifndef PLYFS_UNION_OVL_H
#define PLYFS_UNION_OVL_H

#include "fs/union/union_i.h"

/* What a directory of a layer says of the layers below it. */
struct ovl_marks {
	bool opaque; /* nothing below shows */
	bool xwhiteouts; /* files with overlay.whiteout in it are whiteouts */
	char *redirect; /* owned; NULL: none */
};

/* Reads the marks of the directory @dir/@name. */
int ovl_read_marks(struct union_fs *u, const struct layer_dir *dir, const char *name,
		   struct ovl_marks *ret);
void ovl_marks_release(struct ovl_marks *m);

/*
 * Whether @dir/@name, a regular file in a directory marked so, is a whiteout
 * by attribute: 1, 0 or -errno.
 */
int ovl_is_xwhiteout(struct union_fs *u, const struct layer_dir *dir, const char *name);

/* Whether the error of reading an attribute means that it has none of use to us. */
bool ovl_xattr_absent(int err);

/*
 * For what an honest layer does not contain: logs that @dir/@name @what, once
 * for each, and returns -EIO.
 */
int ovl_bad(const struct layer_dir *dir, const char *name, const char *what);

/* Names "trusted.overlay.X" or "user.overlay.X" into @buf. */
const char *ovl_attr(const struct union_fs *u, const char *name, char buf[OVL_NAME_MAX + 32]);

/* Whether the attributes are trusted. ones, which only root of the machine sets. */
bool ovl_is_trusted(const struct union_fs *u);

/*
 * Whether the regular file @dir/@name has only metadata, its data being in a
 * layer below: 1, 0 or -errno (-EIO, logged once, for what is not to be followed:
 * lest zeros are read). *ret_redirect (may be NULL), malloc'ed: where below, if
 * it is not found by its name, else NULL.
 */
int ovl_read_metacopy(struct union_fs *u, const struct layer_dir *dir, const char *name,
		      char **ret_redirect);

/*
 * Longer paths are not written as redirects. The kernel writes none beyond its
 * redirect_max (256), but reads any.
 */
#define OVL_REDIRECT_MAX 3000

/* Marks the file behind @fd as one with only metadata; the opposite. */
int ovl_set_metacopy(struct union_fs *u, int fd);
int ovl_clear_metacopy(struct union_fs *u, int fd);

/*
 * An origin: struct ovl_fb, 4 bytes version/magic/len/flags, handle type,
 * UUID, handle. The same bytes name an index entry, in hexadecimal.
 */
struct ovl_origin {
	unsigned len; /* 0: none */
	uint8_t bytes[21 + 128];
};

/* The origin that describes @dir/@name (of a lower layer). len 0 where it has no handle. */
int ovl_origin_of(const struct layer_dir *dir, const char *name,
		  struct ovl_origin *ret);
/* The origin stored with @dir/@name (of the upper); len 0 where there is none. */
int ovl_read_origin(struct union_fs *u, const struct layer_dir *dir, const char *name,
		    struct ovl_origin *ret);
int ovl_write_origin(struct union_fs *u, int fd, const struct ovl_origin *o);

/*
 * The inode number and the file system (index of the union's) an origin
 * speaks of; false where the handle is of a kind we cannot read.
 */
bool ovl_origin_inode(struct union_fs *u, const struct ovl_origin *o, uint64_t *ret_ino,
		      unsigned *ret_fs);

/* The name of the origin's index entry; false where there is none. */
#define OVL_INDEX_NAME_MAX (2 * (21 + 128) + 1)
bool ovl_index_name(const struct ovl_origin *o, char buf[OVL_INDEX_NAME_MAX]);

/*
 * overlay.nlink: what st_nlink of an indexed inode is, relative to the link
 * count of its upper ('U') or lower ('L') inode. 1, 0 where not set, or -errno.
 */
int ovl_read_nlink(struct union_fs *u, const struct layer_dir *dir, const char *name,
		   char *ret_base, int *ret_diff);
int ovl_write_nlink(struct union_fs *u, int fd, char base, int diff);

/* Sets overlay.opaque=y, overlay.redirect, overlay.impure=y on an upper directory. */
int ovl_set_opaque(struct union_fs *u, int fd);
int ovl_set_redirect(struct union_fs *u, int fd, const char *redirect);
int ovl_set_impure(struct union_fs *u, int fd);

/* st_ino as the union shows it. */
uint64_t ovl_map_ino(const struct union_fs *u, unsigned fs, uint64_t ino);

/*
 * Users' own attributes against the format's.
 * ovl_xattr_hidden(): @name belongs to a format, and is neither listed, read nor set.
 * ovl_xattr_escape(): the name under which a user's @name is stored (@buf or @name).
 * ovl_xattr_unescape(): the name a user sees for the stored one; NULL: hidden.
 */
bool ovl_xattr_hidden(const struct union_fs *u, const char *name);
const char *ovl_xattr_escape(const struct union_fs *u, const char *name, char buf[256 + 16]);
const char *ovl_xattr_unescape(const struct union_fs *u, const char *name, char buf[256 + 16]);

#endif
