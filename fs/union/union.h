/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The union: a stack of layers seen as one tree, with a writable upper.
 *
 * It knows no FUSE. Files are named by node ids, as the kernel names them:
 * an id is handed out with a lookup count of one by everything that fills in
 * a struct union_entry, and is valid until union_forget() has taken back as
 * many. UNION_ROOT is always valid. All functions may be called from several
 * threads at once. They return 0 or a positive result, or -errno.
 *
 * What a caller is trusted with: permission checks (the kernel's
 * default_permissions), and that while a name in a directory is changed nothing
 * else is asked of that directory's names (the kernel holds its lock: alone for
 * changes, shared for lookups and listings). Reads and writes may run beside
 * anything.
 */
#ifndef PLYFS_UNION_UNION_H
#define PLYFS_UNION_UNION_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>

struct union_fs;

#define UNION_ROOT 1

/* Ids from @host on are seen as @view on, @len of them. */
struct union_idrange {
	uint32_t host, view, len;
};

struct union_config {
	const char *const *lower; /* top first: directories, and indexes of packed layers */
	unsigned nlower;
	const char *upper; /* NULL: read-only */
	const char *work;
	bool ro; /* writes nothing, not even to work; the upper may be live */
	bool lower_live; /* lowers may change under us: check copies */
	enum union_private {
		UNION_PRIVATE_NO,
		UNION_PRIVATE_TRY, /* where permitted */
		UNION_PRIVATE_MUST, /* or refuse: the mount would hide a part of a lower */
	} private_lower; /* give lowers a mount of their own, on which nothing is mounted */
	bool userxattr; /* user.overlay.*; else trusted. where permitted */
	bool redirect; /* directory renames make redirects; else -EXDEV */
	bool redirect_follow;
	bool metacopy; /* what needs no data copies none; trusted. attributes only */
	bool index; /* keep lower hardlinks together by the index */
	bool sync; /* copy-up is durable before it is visible, fsync works */
	bool wh_files; /* write .wh.NAME where character devices are refused */
	bool static_nlink;
	bool ino32;
	bool acl; /* POSIX ACLs are shown and honoured */
	unsigned xattr_permissions; /* 0, 1 security., 2 user.containers. */
	bool squash_uid, squash_gid;
	uint32_t squash_to_uid, squash_to_gid;
	const struct union_idrange *uidmap, *gidmap;
	unsigned nuidmap, ngidmap;
	unsigned fd_budget; /* descriptors kept open for speed, at least 8 */
	size_t packed_cache; /* bytes of decompressed data, of the process; 0: as it is */
};

/*
 * Opens the layers of @cfg (copied where kept; strings are not needed after).
 * Takes the lock of the workdir and empties it. *ret_err (malloc'ed) says
 * what failed, with its path.
 */
int union_open(const struct union_config *cfg, struct union_fs **ret, char **ret_err);

/* Writes back what is dirty (syncfs of the upper, unless !sync) and frees everything. */
void union_close(struct union_fs *u);

/* True once something was changed through this union. */
bool union_read_only(const struct union_fs *u);

/* Who asks: ids as seen through the mount, and the umask for what is created. */
struct union_cred {
	uid_t uid;
	gid_t gid;
	mode_t umask;
	pid_t pid; /* asked for the groups it is in beside @gid; 0: unknown */
};

/* A looked-up name. @nodeid 0: it does not exist, which may be remembered. */
struct union_entry {
	uint64_t nodeid;
	struct statx st; /* as seen through the mount */
};

int union_lookup(struct union_fs *u, uint64_t parent, const char *name, struct union_entry *ret);
void union_forget(struct union_fs *u, uint64_t nodeid, uint64_t n);

int union_getattr(struct union_fs *u, uint64_t nodeid, struct statx *ret);

/* What union_setattr() is to change. */
enum union_set {
	UNION_SET_MODE = 1 << 0,
	UNION_SET_UID = 1 << 1,
	UNION_SET_GID = 1 << 2,
	UNION_SET_SIZE = 1 << 3,
	UNION_SET_ATIME = 1 << 4,
	UNION_SET_MTIME = 1 << 5,
	UNION_SET_KILL_PRIV = 1 << 6, /* setuid and setgid go too */
};

struct union_attr {
	unsigned valid; /* enum union_set */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	off_t size;
	struct timespec atime, mtime; /* UTIME_NOW is allowed */
	struct union_cred who; /* with UNION_SET_KILL_PRIV */
};

int union_setattr(struct union_fs *u, uint64_t nodeid, const struct union_attr *a,
		  struct statx *ret);

/* The target, terminated, malloc'ed. */
int union_readlink(struct union_fs *u, uint64_t nodeid, char **ret);

/* Regular files, devices, FIFOs and sockets by mode; directories; symlinks. */
int union_mknod(struct union_fs *u, const struct union_cred *c, uint64_t parent, const char *name,
		mode_t mode, dev_t rdev, struct union_entry *ret);
int union_mkdir(struct union_fs *u, const struct union_cred *c, uint64_t parent, const char *name,
		mode_t mode, struct union_entry *ret);
int union_symlink(struct union_fs *u, const struct union_cred *c, uint64_t parent,
		  const char *name, const char *target, struct union_entry *ret);
int union_link(struct union_fs *u, uint64_t nodeid, uint64_t parent, const char *name,
	       struct union_entry *ret);
/* A regular file without a name (O_TMPFILE), on the file system of @parent. */
int union_tmpfile(struct union_fs *u, const struct union_cred *c, uint64_t parent, mode_t mode,
		  struct union_entry *ret);

int union_unlink(struct union_fs *u, uint64_t parent, const char *name);
int union_rmdir(struct union_fs *u, uint64_t parent, const char *name);
/* @flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int union_rename(struct union_fs *u, uint64_t parent, const char *name, uint64_t newparent,
		 const char *newname, unsigned flags);

/* As pread(2) and pwrite(2). @append: at the end, whatever @off says. */
ssize_t union_read(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, off_t off);
/*
 * As union_read(), but -EAGAIN where the backing file's data is not in memory:
 * then union_read() is for a thread that may wait.
 */
ssize_t union_read_nowait(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, off_t off);
ssize_t union_write(struct union_fs *u, uint64_t nodeid, const void *buf, size_t size, off_t off);
int union_fallocate(struct union_fs *u, uint64_t nodeid, int mode, off_t off, off_t len);
off_t union_lseek(struct union_fs *u, uint64_t nodeid, off_t off, int whence);
ssize_t union_copy_range(struct union_fs *u, uint64_t in, off_t in_off, uint64_t out,
			 off_t out_off, size_t len);
int union_fsync(struct union_fs *u, uint64_t nodeid, bool data_only);
int union_syncfs(struct union_fs *u);
int union_statfs(struct union_fs *u, struct statfs *ret);

/*
 * chattr(1) and its kin, for files and directories: @cmd is FS_IOC_GETFLAGS or
 * FS_IOC_FSGETXATTR, or, with @change, the setting one; @arg as ioctl(2) has
 * it there (for the flags: a long).
 */
int union_fileattr(struct union_fs *u, uint64_t nodeid, unsigned long cmd, bool change, void *arg);

/*
 * Whether chattr +i and +a let @nodeid be opened for writing, as far as @append:
 * 0 or -EPERM. The kernel does not know of those flags; where it does not tell
 * of its opens either, the writes are refused instead.
 */
int union_may_open(struct union_fs *u, uint64_t nodeid, bool append);

/*
 * After a WRITE, fallocate or copy: removes setuid and setgid as the kernel
 * would have. @force: the writer has no CAP_FSETID. Returns 1 where the mode
 * that the kernel remembers is now wrong.
 */
int union_kill_priv(struct union_fs *u, uint64_t nodeid, bool force, const struct union_cred *who);

/*
 * Whether a write by us, without privilege, makes the backing file system take
 * setuid and setgid from @nodeid: *ret_mode is the mode with them.
 */
bool union_loses_priv(struct union_fs *u, uint64_t nodeid, mode_t *ret_mode);

ssize_t union_getxattr(struct union_fs *u, uint64_t nodeid, const char *name, void *buf,
		       size_t size);
int union_setxattr(struct union_fs *u, uint64_t nodeid, const char *name, const void *val,
		   size_t size, int flags);
/* @trusted: whether trusted. attributes are listed, which is for root only. */
ssize_t union_listxattr(struct union_fs *u, uint64_t nodeid, bool trusted, char *buf, size_t size);
int union_removexattr(struct union_fs *u, uint64_t nodeid, const char *name);

/*
 * Lists a directory from @cookie on (0: the beginning; else that of the last
 * entry seen). @fn gets each entry with the cookie to continue after it, and
 * the attributes and a counted node id if @plus (both zero for "." and "..");
 * without @plus only ino and type are filled in. It returns 0 for more, 1
 * when it had no room for this entry (its count is taken back), or -errno.
 */
typedef int (*union_dirent_fn)(void *arg, const char *name, uint64_t cookie,
			       const struct union_entry *e);
int union_readdir(struct union_fs *u, uint64_t nodeid, uint64_t cookie, bool plus,
		  union_dirent_fn fn, void *arg);

/*
 * Whether a change of this node would first copy so many bytes up that it is
 * better done by a thread that may take its time; of a packed layer any bytes.
 */
bool union_change_is_slow(struct union_fs *u, uint64_t nodeid);
/* The same of what @name in @parent is, which is to be renamed. */
bool union_name_is_slow(struct union_fs *u, uint64_t parent, const char *name);

/* Whether reading this node without union_read_nowait() may take its time. */
bool union_read_is_slow(struct union_fs *u, uint64_t nodeid);

/*
 * 1 where the file is in the upper with its data, which it never leaves again; 0 where it
 * is not yet.
 */
int union_in_upper(struct union_fs *u, uint64_t nodeid);

/*
 * Where a file was found: *ret_layer is 0 for the upper, 1 for the topmost lower, and
 * so on (of a directory the topmost that has it); *ret_ino its inode there, 0 for
 * directories of lowers.
 */
int union_where(struct union_fs *u, uint64_t nodeid, unsigned *ret_layer, uint64_t *ret_ino);

/* For messages: the path of @nodeid as last known, in a static thread-local buffer. */
const char *union_path(struct union_fs *u, uint64_t nodeid);

/*
 * For prefetching, which must know what the kernel has asked of a file so far:
 * marks that a node keeps as long as it lives, and that are never cleared.
 */
enum union_mark {
	UNION_MARK_SEEN = 1 << 0, /* its content was asked for, changed, or sent unasked */
	UNION_MARK_GATE = 1 << 1, /* the kernel has announced a write */
};

/*
 * Sets @marks (enum union_mark) of a node and returns those it had before.
 * *ret_dir (may be NULL): a directory that has it, if it is a regular file in
 * a lower, else 0.
 */
unsigned union_mark(struct union_fs *u, uint64_t nodeid, unsigned marks, uint64_t *ret_dir);

/*
 * Marks as seen a regular file that is in a lower, known to the kernel and not
 * yet seen; false: it is not all that. Uses no descriptor: it may be called by
 * a thread that has a descriptor table of its own.
 */
bool union_claim(struct union_fs *u, uint64_t nodeid);

/*
 * The files of a directory that the kernel knows, of those that are regular
 * and in a lower, in the order of a listing. @fn returns 0 or -errno.
 */
struct union_sibling {
	uint64_t nodeid, cookie, ino;
	const char *name; /* valid during the call */
	bool seen;
};
typedef int (*union_sibling_fn)(void *arg, const struct union_sibling *s);
int union_siblings(struct union_fs *u, uint64_t dir, union_sibling_fn fn, void *arg);

/*
 * The whole content of a file that is in a lower: its size. -EFBIG: more than
 * @max; -ENOSPC: more than @size; -EALREADY: it is marked as seen; -ESTALE: not
 * in a lower any more; -EIO: it is not as long as it claims to be.
 */
ssize_t union_read_lower(struct union_fs *u, uint64_t nodeid, void *buf, size_t size, size_t max);

/* What is held right now, and what was done so far. */
struct union_counts {
	uint64_t nodes, fds, dir_tables, copy_ups, copied_bytes;
	/* of the process: bytes in the cache of packed layers, and decompressed so far */
	uint64_t packed_cached, packed_hits, packed_misses, packed_loaded;
};
void union_counts(struct union_fs *u, struct union_counts *ret);

/*
 * Opening the backing file itself: for passthrough (descriptors the kernel
 * reads and writes by) and prefill. A descriptor the caller closes. @write
 * copies up first. *ret_upper tells which layer it is of. -EOPNOTSUPP: that
 * layer has no files to open.
 */
int union_backing_fd(struct union_fs *u, uint64_t nodeid, bool write, bool *ret_upper);

#endif
