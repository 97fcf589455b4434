/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer: one read-only tree of a union, of any kind.
 *
 * The union reads layers through this table only, so that a directory on disk
 * and an index over a compressed blob are the same to it. Layer 0 is the
 * upper: always a directory, and the only one that is written, which fs/union
 * does itself by descriptors.
 *
 * Layers are input from a stranger. No function follows a symbolic link, or
 * lets a path or a ".." leave the layer, and nothing that a layer contains can
 * make one fail other than with an error for that entry.
 *
 * Directories of a layer are handles (struct layer_dir). Whether they cost a
 * descriptor is the kind's affair: @fd is -1 where they do not. All functions
 * may be called from several threads at once.
 */
#ifndef PLYFS_LAYER_LAYER_H
#define PLYFS_LAYER_LAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct layer;

/* An open directory of a layer. */
struct layer_dir {
	struct layer *layer; /* borrowed */
	int fd; /* owned by whoever opened it; -1 where the kind needs none */
	uint64_t ref; /* the kind's own name for it */
};

/* An open regular file of a layer. */
struct layer_file {
	struct layer *layer; /* borrowed */
	int fd;
	uint64_t ref;
};

/* What a directory's entry says of itself when it is listed. */
struct layer_dirent {
	const char *name;
	uint8_t type; /* DT_* ; DT_UNKNOWN where the layer does not tell */
	bool whiteout; /* known to be one without asking further */
};

/* Called per entry; a non-zero result ends the iteration and is returned. */
typedef int (*layer_iter_fn)(void *arg, const struct layer_dirent *de);

struct layer_ops {
	const char *kind;

	/* Ends the use of the layer and of layer->root. */
	void (*close)(struct layer *l);

	/*
	 * Opens the directory @path ("a/b/c", no empty, "." or ".." parts) below
	 * @base. -ENOTDIR or -ELOOP where a part is no directory.
	 */
	int (*dir_open)(const struct layer_dir *base, const char *path, struct layer_dir *ret);

	/* Attributes of @dir/@name, or of @dir where @name is "". Symlinks are not followed. */
	int (*stat)(const struct layer_dir *dir, const char *name, struct statx *ret);

	/* All entries but "." and "..", in any order. */
	int (*iterate)(const struct layer_dir *dir, layer_iter_fn fn, void *arg);

	/* The target, not terminated; its length, at most @size. */
	ssize_t (*readlink)(const struct layer_dir *dir, const char *name, char *buf, size_t size);

	/* As getxattr(2) and listxattr(2) with @size 0 asking for the length. */
	ssize_t (*getxattr)(const struct layer_dir *dir, const char *name, const char *attr,
			    void *buf, size_t size);
	ssize_t (*listxattr)(const struct layer_dir *dir, const char *name, char *buf, size_t size);

	/* The file handle, as name_to_handle_at(2): its length; type in @ret_type. */
	int (*handle)(const struct layer_dir *dir, const char *name, void *buf, size_t size,
		      int *ret_type);

	int (*file_open)(const struct layer_dir *dir, const char *name, struct layer_file *ret);
};

struct layer {
	const struct layer_ops *ops;
	char *path; /* as given; for messages; owned */
	unsigned id; /* 0 the upper, 1 the topmost lower, ... */
	struct layer_dir root;
	dev_t dev; /* of the root; st_ino means something only within one dev */
	unsigned fs; /* index of its file system among the union's */
	uint8_t uuid[16]; /* of the file system; zero where unknown */
	const char *override_attr; /* name of the override_stat attribute to honour, or NULL */
};

/*
 * Opens the directory at @path as a layer. @private_mount: its root becomes a
 * mount of its own (open_tree(2)), on which nothing that is mounted inside of
 * it later is seen; -EPERM where that is not allowed.
 */
int layer_open_dir(const char *path, bool private_mount, struct layer **ret);

/* Closes any layer; NULL is ignored. */
void layer_close(struct layer *l);

/* The value of xattr @attr of @dir/@name, malloc'ed, terminated: the length or -errno. */
ssize_t layer_getxattr_alloc(const struct layer_dir *dir, const char *name, const char *attr,
			     char **ret);

/* Whether these are the attributes of a whiteout in the kernel's format: character device 0:0. */
static inline bool layer_is_whiteout(const struct statx *st)
{
	return S_ISCHR(st->stx_mode) && st->stx_rdev_major == 0 && st->stx_rdev_minor == 0;
}

/* AUFS and OCI whiteouts: ".wh.NAME" hides NAME, ".wh..wh..opq" all below. */
#define LAYER_WH_PREFIX ".wh."
#define LAYER_WH_OPAQUE ".wh..wh..opq"

#endif
