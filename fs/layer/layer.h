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
 * Directories and open files of a layer are handles (struct layer_dir).
 * Whether they cost a descriptor is the kind's affair: @fd is -1 where they do
 * not, and then nothing is to be closed. All functions may be called from
 * several threads at once.
 */
#ifndef PLYFS_LAYER_LAYER_H
#define PLYFS_LAYER_LAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>

struct layer;

/* An open directory, or an open file, of a layer. */
struct layer_dir {
	struct layer *layer; /* borrowed */
	int fd; /* owned by whoever opened it; -1 where the kind needs none */
	uint64_t ref; /* the kind's own name for it */
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

	/*
	 * Attributes of @dir/@name, or of what @dir is where @name is "". Symlinks are
	 * not followed.
	 */
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

	/*
	 * Where the kind can find a file by its st_ino alone: its handle, which needs no
	 * descriptor; NULL where it cannot.
	 */
	int (*by_ino)(struct layer *l, uint64_t ino, struct layer_dir *ret);

	/* Opens a regular file; @name may be "" where @dir came from by_ino(). */
	int (*file_open)(const struct layer_dir *dir, const char *name, struct layer_dir *ret);

	/*
	 * As pread(2), of an open file. @nowait: -EAGAIN where more than memory would
	 * have to be waited for. -EIO: what is there cannot be had; layer_why() tells.
	 */
	ssize_t (*file_read)(const struct layer_dir *f, void *buf, size_t size, off_t off,
			     bool nowait);

	/* As lseek(2) with SEEK_DATA or SEEK_HOLE. */
	off_t (*file_seek)(const struct layer_dir *f, off_t off, int whence);

	/* As statfs(2), of the whole layer. */
	int (*statfs)(struct layer *l, struct statfs *ret);
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
	void *impl; /* the kind's own */
};

/*
 * Opens the directory at @path as a layer. @private_mount: its root becomes a
 * mount of its own (open_tree(2)), on which nothing that is mounted inside of
 * it later is seen; -EPERM where that is not allowed.
 */
int layer_open_dir(const char *path, bool private_mount, struct layer **ret);

/*
 * Opens the index at @path as a layer, with the blob that lies beside it. -EIO, -ENODATA
 * (no index), -EPROTONOSUPPORT (of a later version), -ENOENT (no blob), ...: *ret_err says
 * which file, and what is wrong with it.
 */
int layer_open_packed(const char *path, struct layer **ret, char **ret_err);

/*
 * Opens what is at @path as a layer: a directory, or an index over a blob
 * (fs/layer/index.h). *ret_err (malloc'ed; may stay NULL) says more than the
 * error does.
 */
int layer_open(const char *path, bool private_mount, struct layer **ret, char **ret_err);

/* What the calling thread's last -EIO from file_read() was about, for a message; "" if unknown. */
const char *layer_why(void);

/* Closes any layer; NULL is ignored. */
void layer_close(struct layer *l);

/* The value of xattr @attr of @dir/@name, malloc'ed, terminated: the length or -errno. */
ssize_t layer_getxattr_alloc(const struct layer_dir *dir, const char *name, const char *attr,
			     char **ret);

/*
 * The type of a handle that is not the kernel's: of a file in an index, by its number
 * there. Four bytes of LAYER_HANDLE_MAGIC, eight of the number. The kernel knows
 * no such type.
 */
#define LAYER_HANDLE_TYPE 0xd9
#define LAYER_HANDLE_SIZE 12
#define LAYER_HANDLE_MAGIC "plyi"

/* Whether these are the attributes of a whiteout in the kernel's format: character device 0:0. */
static inline bool layer_is_whiteout(const struct statx *st)
{
	return S_ISCHR(st->stx_mode) && st->stx_rdev_major == 0 && st->stx_rdev_minor == 0;
}

/* AUFS and OCI whiteouts: ".wh.NAME" hides NAME, ".wh..wh..opq" all below. */
#define LAYER_WH_PREFIX ".wh."
#define LAYER_WH_OPAQUE ".wh..wh..opq"

#endif
