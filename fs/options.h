/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: argv to struct options, and nothing done yet.
 *
 * Calling sequence of main():
 *
 *	struct options o;
 *	char *err = NULL;
 *
 *	r = options_parse(argc, argv, &o, &err);	(no file is touched)
 *	if (r < 0)  print "NAME: err" (NAME: program_invocation_short_name),
 *		    free(err), exit 1
 *	print each of o.warning
 *	if (o.help)     options_print_help(), exit 0
 *	if (o.version)  options_print_version(), exit 0
 *	r = options_check(&o, &err);			(looks at the paths)
 *	flags = options_mount_flags(&o, geteuid() == 0)  or
 *	options_mount_string() for libfuse and fusermount3
 *	...
 *	options_free(&o);
 *
 * Parsing is driven by one table (options_table), from which --help is
 * printed too; a test compares both with doc/plyfs.1.
 *
 * Ownership: every pointer in struct options is owned by it (malloc) and
 * ends in options_free(). Errors: 0 or -errno with a sentence in *ret_error
 * (owned by the caller; no trailing newline, no program name; NULL when even
 * that could not be allocated). On failure the struct is empty and needs no
 * options_free(). No locking: used before the first thread starts.
 */
#ifndef PLYFS_FS_OPTIONS_H
#define PLYFS_FS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifndef PLYFS_VERSION
#define PLYFS_VERSION "0.1.0"
#endif

/* The fuse-overlayfs release whose options and behaviour we stand in for. */
#define OPTIONS_COMPAT_VERSION "1.17"

/* As many lowers as kernel overlayfs takes. */
#define OPTIONS_MAX_LOWER 500

/* "For ever", in seconds: what the kernel can still add to its clock. */
#define OPTIONS_FOREVER 1e9

/* Smallest fd_budget=. */
#define OPTIONS_MIN_FD_BUDGET 8

/* An option that may be said either way, or not at all. */
enum options_tri {
	OPTIONS_UNSET = 0, /* not given: the default depends on the mount */
	OPTIONS_OFF,
	OPTIONS_ON,
};

enum options_xino {
	OPTIONS_XINO_OFF,
	OPTIONS_XINO_AUTO, /* default */
	OPTIONS_XINO_ON, /* the mount fails where it can't be had */
};

/* The kernel's four values. Default: ON. */
enum options_redirect {
	OPTIONS_REDIRECT_ON, /* create redirects, follow them */
	OPTIONS_REDIRECT_OFF, /* create none (EXDEV); follow, as the kernel's
			       * redirect_always_follow=Y default does */
	OPTIONS_REDIRECT_FOLLOW, /* create none, follow existing ones */
	OPTIONS_REDIRECT_NOFOLLOW, /* neither */
};

enum options_uring {
	OPTIONS_URING_AUTO, /* default: where the kernel offers it */
	OPTIONS_URING_ON, /* the mount fails where it can't be had */
	OPTIONS_URING_OFF,
};

enum options_passthrough {
	OPTIONS_PASSTHROUGH_OFF, /* default: zero-message mode */
	OPTIONS_PASSTHROUGH_ON, /* upper files; on read-only mounts lower files too */
	OPTIONS_PASSTHROUGH_STRICT, /* never lower files */
};

/*
 * len ids from host (as stored in the layers) are seen as view (through the
 * mount), and stored as host when written. The first two numbers of
 * uidmapping=HOST:TO:LEN. Ranges overlap on neither side; host + len and
 * view + len are at most 2^32 - 1. An id in no range is the overflow id.
 */
struct options_id_range {
	uint32_t host;
	uint32_t view;
	uint32_t len; /* never 0 */
};

struct options_idmap {
	struct options_id_range *range; /* in the order given */
	size_t n; /* 0: no mapping */
};

struct options {
	/* How we were called. */
	char *name; /* basename of argv[0]; "plyfs" where there is none */
	bool compat_name; /* called as (something ending in) fuse-overlayfs */
	bool help;
	bool version;
	bool foreground; /* -f; also set by debug */
	bool debug; /* -d, -o debug: log requests to stderr */

	/* What is mounted where. */
	char **lower; /* top first */
	size_t n_lower; /* 1..500, or 0 with help/version */
	char *upper; /* NULL: read-only, no upper at all */
	char *work; /* set if upper is set and !ro; may be set without */
	char *mountpoint;
	int mount_fd; /* N of a mountpoint "/dev/fd/N" (mount.fuse3 has
		       * mounted already), else -1 */
	char *source; /* first of two positionals; NULL if one */
	char *fsname; /* never NULL: fsname=, else source, else name */
	char *subtype; /* never NULL: subtype=, else plyfs or fuse-overlayfs */
	bool ro; /* "ro" was given, or there is no upper */
	bool ro_option; /* "ro" was given */

	/* Owners and modes. */
	struct options_idmap uidmap;
	struct options_idmap gidmap;
	bool squash_to_root; /* every file is seen as 0:0 ... */
	bool has_squash_uid; /* ... and these beat it, each its half */
	bool has_squash_gid;
	uint32_t squash_uid;
	uint32_t squash_gid;
	unsigned int xattr_permissions; /* 0 no; 1 security.; 2 user.containers. */

	/* What the union offers. */
	bool noxattr; /* get/list/set/remove of users' xattrs: ENOSYS */
	enum options_tri acl; /* acl, noacl */
	bool static_nlink; /* directories have nlink 1 */
	enum options_xino xino;
	bool ino32; /* ino32_t: inode numbers fit in 32 bits */
	bool fast_ino; /* fast_ino=1 was given (hint: trust d_ino) */
	enum options_redirect redirect_dir;
	bool redirect_dir_given;
	bool index; /* default true */
	bool metacopy; /* default false */
	enum options_tri userxattr; /* UNSET: user. where trusted. is denied */
	bool wh_files; /* FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT is set and not
			* "0" or empty: write .wh.NAME, not 0:0 devices */

	/* Durability. */
	bool fsync; /* default true; false: fsync does nothing */
	bool is_volatile; /* no durability at all; then fsync is false too */
	bool sync; /* sync: every write reaches the disk (also a mount flag) */
	bool dirsync; /* dirsync: the same for names (also a mount flag) */

	/* Caches. Seconds; OPTIONS_FOREVER where nothing is said. */
	bool has_timeout; /* any of the four below was given */
	double timeout; /* timeout=, what the next three start from */
	double entry_timeout;
	double attr_timeout;
	double negative_timeout;
	bool writeback; /* default false */
	bool prefetch; /* default true: NOTIFY_STORE prefill */

	/* Transport. 0 stands for "choose". */
	enum options_uring io_uring;
	unsigned int io_uring_q_depth;
	enum options_passthrough passthrough;
	unsigned int threads; /* threads=, max_threads=; threaded=0, -s: 1 */
	bool has_spin_us;
	unsigned int spin_us; /* spin_us=, 0: never spin */
	unsigned int packed_cache; /* MiB; 0: the default */
	unsigned int fd_budget; /* cached backing descriptors; 0 or >= 8 */
	unsigned int max_read; /* bytes; also part of the mount string */
	unsigned int max_write; /* bytes */
	unsigned int max_readahead; /* bytes */
	bool has_max_readahead; /* max_readahead=0 means none */
	unsigned int max_background; /* requests */
	unsigned int congestion_threshold; /* requests */
	char *stats; /* file of the live counters, or NULL */

	/* The mount itself. */
	unsigned long ms_set; /* MS_* flags asked for by name ... */
	unsigned long ms_clear; /* ... and asked to be off; disjoint */
	enum options_tri allow_other; /* UNSET: on for euid 0, else off */
	bool auto_unmount;
	char *context; /* SELinux labels, quotes removed; NULL or raw. */
	char *fscontext; /* Only for the mount string; plyfs makes */
	char *defcontext; /* nothing of them itself. */
	char *rootcontext;

	/* Sentences for the user, for main() to print. */
	char **warning;
	size_t n_warning;

	/* Filled in by options_check(). */
	bool mountpoint_in_lower; /* equals or lies in lower[...]: */
	size_t mountpoint_lower; /* the topmost such lower */
	bool mountpoint_is_upper; /* is the same directory as the upper */
};

/*
 * Parse argv. Touches no file; reads one environment variable (wh_files).
 * Later options beat earlier ones; help and version stop at nothing else
 * than a broken command line and need no lowerdir and no mountpoint.
 * Returns 0; -EINVAL or -ENOMEM with *ret_error.
 */
int options_parse(int argc, char *const argv[], struct options *ret,
		  char **ret_error);

/*
 * Compare the options with the file system: everything exists and is a
 * directory; nothing lies inside what it must not (see plyfs(1),
 * DIAGNOSTICS). Makes mountpoint and stats absolute (main() leaves its
 * working directory later; the other paths are to be opened before that),
 * fills in the last fields. To be called once, before the mount exists.
 * Returns 0, or -errno with *ret_error naming the option and the paths;
 * the struct stays valid and is still to be freed.
 */
int options_check(struct options *o, char **ret_error);

/* Release what the struct holds (not the struct). NULL and {0} are fine. */
void options_free(struct options *o);

/*
 * The MS_* flags for mount(2): what was asked for over the defaults
 * (root: nodev,noatime; others: nosuid,nodev,noatime), MS_RDONLY from ro.
 */
unsigned long options_mount_flags(const struct options *o, bool root);

/* For options_mount_string(). */
enum options_mnt {
	OPTIONS_MNT_ROOT = 1, /* euid 0: allow_other, suid by default */
	OPTIONS_MNT_SELINUX = 2, /* SELinux is on and this is the first user
				  * namespace: pass context= and friends */
};

/*
 * The same, and everything else that belongs into the mount, as the value
 * of one "-o" for libfuse (fuse_session_new) or fusermount3, escaped for
 * them: default_permissions, allow_other, fsname, subtype, max_read,
 * auto_unmount, flags, contexts. flags: enum options_mnt.
 * Returns 0 and *ret (owned by the caller), or -ENOMEM.
 */
int options_mount_string(const struct options *o, unsigned int flags,
			 char **ret);

/* --help: usage and every option, one line each, from the table. */
void options_print_help(FILE *f, const struct options *o);

/*
 * --version. First line "fuse-overlayfs: version X.Y ..." when called by
 * that name, else "plyfs: version ..." with the other line second.
 * libfuse: e.g. "3.18.3", NULL leaves that line out. kernel_major/minor: the
 * FUSE protocol that we were built for (FUSE_KERNEL_VERSION).
 */
void options_print_version(FILE *f, const struct options *o,
			   const char *libfuse, unsigned int kernel_major,
			   unsigned int kernel_minor);

#endif
