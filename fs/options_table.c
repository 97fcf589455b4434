/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every option of -o: its name, its value, its meaning in one line. --help
 * is printed from here and doc/plyfs.1 is tested against it, so this is the
 * one place where an option is added.
 */
#include "options_i.h"

#include <sys/mount.h>

#define F(field) .off = offsetof(struct options, field)

const char *const options_group_title[GROUP_COUNT] = {
	[GROUP_LAYERS] = "Layers",
	[GROUP_OWNERS] = "Owners and permissions",
	[GROUP_FORMAT] = "What the union offers and stores",
	[GROUP_DURABLE] = "Durability",
	[GROUP_CACHE] = "Caches",
	[GROUP_TRANSPORT] = "Transport and limits",
	[GROUP_MOUNT] = "The mount",
	[GROUP_NOOP] = "Accepted without effect",
	[GROUP_REFUSED] = "Refused (as fuse-overlayfs: ignored, with a warning)",
};

static const char *const xino_words[] = { "off", "auto", "on", NULL };
static const char *const redirect_words[] = { "on", "off", "follow",
					      "nofollow", NULL };
static const char *const uring_words[] = { "auto", "on", "off", NULL };
static const char *const off_words[] = { "off", "0", NULL };
static const char *const uuid_words[] = { "auto", "off", "null", NULL };

static int set_uring(struct optparse *p, const struct options_entry *e,
		     const char *val)
{
	struct options_entry word = *e;

	word.kind = KIND_WORD;
	word.arg = "=auto|on|off";
	return options_set(p, &word, val != NULL ? val : "on");
}

static int set_passthrough(struct optparse *p, const struct options_entry *e,
			   const char *val)
{
	static const char *const strict[] = { "off", "on", "strict", NULL };
	struct options_entry word = *e;

	word.kind = KIND_WORD;
	word.arg = "=0|1|strict";
	word.word = strict;
	if (val == NULL || (val[0] == '1' && val[1] == '\0'))
		val = "on";
	else if (val[0] == '0' && val[1] == '\0')
		val = "off";
	return options_set(p, &word, val);
}

#define MS(n, on, off, text)                                              \
	{                                                                 \
		.name = n, .arg = "", .help = text, .group = GROUP_MOUNT, \
		.kind = KIND_MS, .set = on, .clear = off                  \
	}
#define NOOP(n, a, text)                                                \
	{                                                               \
		.name = n, .arg = a, .help = text, .group = GROUP_NOOP, \
		.kind = KIND_NOOP                                       \
	}
#define REFUSED(n, a, text)                                                \
	{                                                                  \
		.name = n, .arg = a, .help = text, .group = GROUP_REFUSED, \
		.kind = KIND_REFUSED                                       \
	}
#define ONLY(n, a, words, text)                                            \
	{                                                                  \
		.name = n, .arg = a, .help = text, .group = GROUP_REFUSED, \
		.kind = KIND_ONLY, .word = words                           \
	}

/* clang-format off */
const struct options_entry options_table[] = {
	/* Layers */
	{ "lowerdir", "=DIR[:DIR...]",
	  "read-only layers, the top one first; '\\:' for a colon",
	  GROUP_LAYERS, KIND_CALL, .call = options_set_lower, .raw = true },
	{ "lowerdir+", "=DIR",
	  "one more layer below the others; colons are plain characters",
	  GROUP_LAYERS, KIND_CALL, .call = options_add_lower },
	{ "upperdir", "=DIR",
	  "layer that takes all changes; without it the mount is read-only",
	  GROUP_LAYERS, KIND_STRING, F(upper) },
	{ "workdir", "=DIR",
	  "scratch directory on the file system of upperdir, for plyfs alone",
	  GROUP_LAYERS, KIND_STRING, F(work) },

	/* Owners and permissions */
	{ "uidmapping", "=HOST:TO:LEN[:...]",
	  "show LEN owners from HOST in the layers as TO and following",
	  GROUP_OWNERS, KIND_CALL, F(uidmap), .call = options_set_map },
	{ "gidmapping", "=HOST:TO:LEN[:...]",
	  "the same for groups",
	  GROUP_OWNERS, KIND_CALL, F(gidmap), .call = options_set_map },
	{ "squash_to_root", "[=0|1]",
	  "show every file as owned by 0:0",
	  GROUP_OWNERS, KIND_BOOL, F(squash_to_root) },
	{ "squash_to_uid", "=UID",
	  "show every file as owned by UID",
	  GROUP_OWNERS, KIND_CALL, F(squash_uid), .call = options_set_squash },
	{ "squash_to_gid", "=GID",
	  "show every file as of group GID",
	  GROUP_OWNERS, KIND_CALL, F(squash_gid), .call = options_set_squash },
	{ "xattr_permissions", "=0|1|2",
	  "keep owner and mode in an attribute: 1 security., 2 user.containers.",
	  GROUP_OWNERS, KIND_UINT, F(xattr_permissions), .min = 0, .max = 2 },

	/* What the union offers and stores */
	{ "acl", "[=0|1]",
	  "honour POSIX ACLs",
	  GROUP_FORMAT, KIND_TRI, F(acl), .num = OPTIONS_ON },
	{ "noacl", "[=0|1]",
	  "ignore POSIX ACLs: fewer messages for those who don't own /",
	  GROUP_FORMAT, KIND_TRI, F(acl), .num = OPTIONS_OFF },
	{ "noxattrs", "[=0|1]",
	  "offer no extended attributes",
	  GROUP_FORMAT, KIND_BOOL, F(noxattr) },
	{ "noxattr", "[=0|1]",
	  "the same",
	  GROUP_FORMAT, KIND_BOOL, F(noxattr) },
	{ "static_nlink", "[=0|1]",
	  "directories have a link count of 1",
	  GROUP_FORMAT, KIND_BOOL, F(static_nlink) },
	{ "xino", "=off|auto|on",
	  "inode numbers from file handles; on: fail where impossible",
	  GROUP_FORMAT, KIND_WORD, F(xino), .word = xino_words },
	{ "ino32_t", "[=0|1]",
	  "inode numbers fit in 32 bits",
	  GROUP_FORMAT, KIND_BOOL, F(ino32) },
	{ "fast_ino", "[=0|1]",
	  "trust the inode numbers that directories list",
	  GROUP_FORMAT, KIND_BOOL, F(fast_ino) },
	{ "redirect_dir", "=on|off|follow|nofollow",
	  "rename lower directories by redirects; default on; off: EXDEV",
	  GROUP_FORMAT, KIND_CALL, F(redirect_dir), .word = redirect_words,
	  .call = options_set_redirect },
	{ "index", "[=on|off]",
	  "keep hard links of a lower linked when copied up; default on",
	  GROUP_FORMAT, KIND_BOOL, F(index) },
	{ "metacopy", "[=on|off]",
	  "chmod, chown and utimes copy no data; default off",
	  GROUP_FORMAT, KIND_BOOL, F(metacopy) },
	{ "userxattr", "[=0|1]",
	  "store overlay attributes as user. instead of trusted.",
	  GROUP_FORMAT, KIND_TRI, F(userxattr), .num = OPTIONS_ON },

	/* Durability */
	{ "fsync", "[=0|1]",
	  "0: fsync does nothing; default 1",
	  GROUP_DURABLE, KIND_BOOL, F(fsync) },
	{ "volatile", "[=0|1]",
	  "sync nothing at all; implies fsync=0",
	  GROUP_DURABLE, KIND_BOOL, F(is_volatile) },
	{ "sync", "[=0|1]",
	  "writes reach the disk before they return",
	  GROUP_DURABLE, KIND_MS, .set = MS_SYNCHRONOUS },
	{ "async", "",
	  "they need not (default)",
	  GROUP_DURABLE, KIND_MS, .clear = MS_SYNCHRONOUS },
	{ "dirsync", "[=0|1]",
	  "changes of names reach the disk before they return",
	  GROUP_DURABLE, KIND_MS, .set = MS_DIRSYNC },

	/* Caches */
	{ "timeout", "=SECONDS",
	  "how long the kernel trusts names and attributes; default for ever",
	  GROUP_CACHE, KIND_SECONDS, F(timeout) },
	{ "entry_timeout", "=SECONDS",
	  "the same for names alone",
	  GROUP_CACHE, KIND_SECONDS, F(entry_timeout) },
	{ "attr_timeout", "=SECONDS",
	  "the same for attributes alone",
	  GROUP_CACHE, KIND_SECONDS, F(attr_timeout) },
	{ "negative_timeout", "=SECONDS",
	  "the same for names that don't exist",
	  GROUP_CACHE, KIND_SECONDS, F(negative_timeout) },
	{ "writeback", "[=0|1]",
	  "let the kernel collect writes; default 0",
	  GROUP_CACHE, KIND_BOOL, F(writeback) },
	{ "prefetch", "[=0|1]",
	  "fill the page cache with small files ahead of reads; default 1",
	  GROUP_CACHE, KIND_BOOL, F(prefetch) },

	/* Transport and limits */
	{ "io_uring", "[=auto|on|off]",
	  "talk to the kernel by io_uring; default auto",
	  GROUP_TRANSPORT, KIND_CALL, F(io_uring), .word = uring_words,
	  .call = set_uring },
	{ "io_uring_q_depth", "=N",
	  "requests in each io_uring queue",
	  GROUP_TRANSPORT, KIND_UINT, F(io_uring_q_depth), .min = 1,
	  .max = 64 },
	{ "passthrough", "[=0|1|strict]",
	  "the kernel reads and writes backing files itself (root; default 0)",
	  GROUP_TRANSPORT, KIND_CALL, F(passthrough), .call = set_passthrough },
	{ "threads", "=N",
	  "threads that answer requests; default: as many as cores",
	  GROUP_TRANSPORT, KIND_UINT, F(threads), .min = 1, .max = 1024 },
	{ "max_threads", "=N",
	  "the same",
	  GROUP_TRANSPORT, KIND_UINT, F(threads), .min = 1, .max = 1024 },
	{ "threaded", "[=0|1]",
	  "0: one thread, unless threads says otherwise",
	  GROUP_TRANSPORT, KIND_CALL, .call = options_set_threaded },
	{ "spin_us", "=MICROSECONDS",
	  "how long an idle thread watches for requests; 0: it sleeps at once",
	  GROUP_TRANSPORT, KIND_UINT, F(spin_us), .min = 0, .max = 1000000 },
	{ "fd_budget", "=N",
	  "descriptors to keep open on layers, at least 8",
	  GROUP_TRANSPORT, KIND_UINT, F(fd_budget),
	  .min = OPTIONS_MIN_FD_BUDGET, .max = 1U << 24 },
	{ "stats", "=FILE",
	  "keep live counters in FILE",
	  GROUP_TRANSPORT, KIND_STRING, F(stats) },
	{ "max_read", "=BYTES",
	  "longest read request; 0: as long as the kernel likes",
	  GROUP_TRANSPORT, KIND_UINT, F(max_read), .min = 0,
	  .max = 1U << 30 },
	{ "max_write", "=BYTES",
	  "longest write request",
	  GROUP_TRANSPORT, KIND_UINT, F(max_write), .min = 4096,
	  .max = 1U << 30 },
	{ "max_readahead", "=BYTES",
	  "longest readahead",
	  GROUP_TRANSPORT, KIND_UINT, F(max_readahead), .min = 0,
	  .max = 1U << 30 },
	{ "max_background", "=N",
	  "background requests in flight",
	  GROUP_TRANSPORT, KIND_UINT, F(max_background), .min = 1,
	  .max = 65535 },
	{ "congestion_threshold", "=N",
	  "background requests from which the mount counts as congested",
	  GROUP_TRANSPORT, KIND_UINT, F(congestion_threshold), .min = 1,
	  .max = 65535 },

	/* The mount */
	{ "debug", "",
	  "log requests to stderr, stay in the foreground (-d)",
	  GROUP_MOUNT, KIND_BOOL, F(debug) },
	MS("ro", MS_RDONLY, 0, "read-only; upperdir may be in use elsewhere"),
	MS("rw", 0, MS_RDONLY, "writable, if there is an upperdir (default)"),
	MS("suid", 0, MS_NOSUID, "honour setuid and setgid (default for root)"),
	MS("nosuid", MS_NOSUID, 0, "don't (default for others)"),
	MS("dev", 0, MS_NODEV, "devices can be opened"),
	MS("nodev", MS_NODEV, 0, "they can't (default)"),
	MS("exec", 0, MS_NOEXEC, "programs can be run (default)"),
	MS("noexec", MS_NOEXEC, 0, "they can't"),
	MS("atime", 0, MS_NOATIME, "clear the mount flag noatime"),
	MS("noatime", MS_NOATIME, MS_RELATIME | MS_STRICTATIME,
	   "set it (default)"),
	MS("diratime", 0, MS_NODIRATIME, "the same for directories"),
	MS("nodiratime", MS_NODIRATIME, 0, "not for directories"),
	MS("relatime", MS_RELATIME, MS_NOATIME | MS_STRICTATIME,
	   "access times relative to changes"),
	MS("norelatime", 0, MS_RELATIME, "not so"),
	MS("strictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME,
	   "access times at every read"),
	MS("nostrictatime", 0, MS_STRICTATIME, "not so"),
	MS("lazytime", MS_LAZYTIME, 0, "mount flag of the same name"),
	MS("nolazytime", 0, MS_LAZYTIME, "not so"),
	{ "allow_other", "[=0|1]",
	  "other users may enter, as modes permit (default for root)",
	  GROUP_MOUNT, KIND_TRI, F(allow_other), .num = OPTIONS_ON },
	{ "auto_unmount", "[=0|1]",
	  "unmount if the daemon dies",
	  GROUP_MOUNT, KIND_BOOL, F(auto_unmount) },
	{ "fsname", "=NAME",
	  "source shown in the mount table",
	  GROUP_MOUNT, KIND_STRING, F(fsname) },
	{ "subtype", "=NAME",
	  "type shown there after 'fuse.'",
	  GROUP_MOUNT, KIND_STRING, F(subtype) },
	{ "context", "=LABEL",
	  "SELinux label of all files, where SELinux is on; may be quoted",
	  GROUP_MOUNT, KIND_LABEL, F(context), .raw = true },
	{ "fscontext", "=LABEL",
	  "label of the file system",
	  GROUP_MOUNT, KIND_LABEL, F(fscontext), .raw = true },
	{ "defcontext", "=LABEL",
	  "label of files without one",
	  GROUP_MOUNT, KIND_LABEL, F(defcontext), .raw = true },
	{ "rootcontext", "=LABEL",
	  "label of the root directory",
	  GROUP_MOUNT, KIND_LABEL, F(rootcontext), .raw = true },

	/* Accepted without effect */
	NOOP("default_permissions", "", "always on"),
	NOOP("kernel_cache", "", "always on"),
	NOOP("auto_cache", "", "changes through the mount always show"),
	NOOP("ac_attr_timeout", "=SECONDS", "belongs to auto_cache"),
	NOOP("hard_remove", "", "always so; open files stay usable"),
	NOOP("use_ino", "", "always on"),
	NOOP("readdir_ino", "", "always on"),
	NOOP("intr", "", "always on"),
	NOOP("intr_signal", "=N", "no signal is used"),
	NOOP("big_writes", "", "always on"),
	NOOP("async_read", "", "always on"),
	NOOP("nonempty", "", "always allowed"),
	NOOP("no_remote_lock", "", "locks always stay in the kernel"),
	NOOP("no_remote_flock", "", "locks always stay in the kernel"),
	NOOP("no_remote_posix_lock", "", "locks always stay in the kernel"),
	NOOP("splice_read", "", "plyfs chooses"),
	NOOP("splice_write", "", "plyfs chooses"),
	NOOP("splice_move", "", "plyfs chooses"),
	NOOP("no_splice_read", "", "plyfs chooses"),
	NOOP("no_splice_write", "", "plyfs chooses"),
	NOOP("no_splice_move", "", "plyfs chooses"),
	NOOP("clone_fd", "", "plyfs chooses"),
	NOOP("max_idle_threads", "=N", "threads neither come nor go"),
	NOOP("fast_ino_check", "[=0|1]", "no such check is needed"),
	{ "plugins", "[=FILE[:FILE...]]",
	  "plyfs loads no plugins; warns unless empty",
	  GROUP_NOOP, KIND_CALL, .call = options_set_plugins },
	NOOP("override_creds", "", "layers are always used as the mounter"),
	NOOP("private", "", "propagation is the caller's: mount(8)"),
	NOOP("rprivate", "", "propagation is the caller's: mount(8)"),
	NOOP("shared", "", "propagation is the caller's: mount(8)"),
	NOOP("rshared", "", "propagation is the caller's: mount(8)"),
	NOOP("slave", "", "propagation is the caller's: mount(8)"),
	NOOP("rslave", "", "propagation is the caller's: mount(8)"),
	NOOP("unbindable", "", "propagation is the caller's: mount(8)"),
	NOOP("runbindable", "", "propagation is the caller's: mount(8)"),
	NOOP("defaults", "", "for mount(8) and fstab(5)"),
	NOOP("auto", "", "for mount(8) and fstab(5)"),
	NOOP("noauto", "", "for mount(8) and fstab(5)"),
	NOOP("user", "[=NAME]", "for mount(8) and fstab(5)"),
	NOOP("nouser", "", "for mount(8) and fstab(5)"),
	NOOP("users", "", "for mount(8) and fstab(5)"),
	NOOP("nousers", "", "for mount(8) and fstab(5)"),
	NOOP("owner", "", "for mount(8) and fstab(5)"),
	NOOP("noowner", "", "for mount(8) and fstab(5)"),
	NOOP("group", "", "for mount(8) and fstab(5)"),
	NOOP("nogroup", "", "for mount(8) and fstab(5)"),
	NOOP("nofail", "", "for mount(8) and fstab(5)"),
	NOOP("_netdev", "", "for mount(8) and fstab(5)"),
	NOOP("comment", "=TEXT", "for mount(8) and fstab(5)"),
	NOOP("helper", "=NAME", "for mount(8) and fstab(5)"),
	NOOP("uhelper", "=NAME", "for mount(8) and fstab(5)"),
	NOOP("silent", "", "for mount(8) and fstab(5)"),
	NOOP("loud", "", "for mount(8) and fstab(5)"),
	NOOP("nomand", "", "for mount(8) and fstab(5)"),
	NOOP("noiversion", "", "for mount(8) and fstab(5)"),
	NOOP("x-*", "", "for mount(8) and fstab(5), with or without a value"),
	NOOP("X-*", "", "for mount(8) and fstab(5), with or without a value"),

	/* Refused. The help is the reason that the error gives. */
	{ "datadir+", "=DIR",
	  "data-only layers can't be used (by fuse-overlayfs neither)",
	  GROUP_REFUSED, KIND_FATAL, .off = 0 },
	{ "allow_root", "",
	  "cached files would be open to all; use allow_other",
	  GROUP_REFUSED, KIND_CALL, .call = options_set_allow_root },
	REFUSED("direct_io", "",
		"opens don't reach plyfs; use O_DIRECT or passthrough"),
	REFUSED("sync_read", "", "reads are always asynchronous"),
	REFUSED("umask", "=MODE", "modes are those of the layers"),
	REFUSED("uid", "=UID", "use squash_to_uid or uidmapping"),
	REFUSED("gid", "=GID", "use squash_to_gid or gidmapping"),
	REFUSED("modules", "=NAMES", "libfuse's modules are not used"),
	REFUSED("noforget", "", "inodes live as long as the kernel uses them"),
	REFUSED("remember", "=SECONDS",
		"inodes live as long as the kernel uses them"),
	REFUSED("blkdev", "", "plyfs mounts no block device"),
	REFUSED("blksize", "=N", "plyfs mounts no block device"),
	REFUSED("rootmode", "=MODE", "plyfs sets it itself"),
	REFUSED("fd", "=N", "plyfs sets it itself; see /dev/fd/N"),
	REFUSED("user_id", "=N", "plyfs sets it itself"),
	REFUSED("group_id", "=N", "plyfs sets it itself"),
	REFUSED("setuid", "=USER", "mount.fuse3(8) does that"),
	REFUSED("drop_privileges", "", "mount.fuse3(8) does that"),
	REFUSED("remount", "", "use mount -i -o remount,..."),
	REFUSED("nosymfollow", "", "libfuse can't ask for it"),
	ONLY("nfs_export", "=off", off_words, "handles don't outlive a mount"),
	ONLY("verity", "=off", off_words, "digests of files are not checked"),
	ONLY("uuid", "=auto|off|null", uuid_words,
	     "FUSE gives a mount no uuid of its own"),
	{ .name = NULL },
};
/* clang-format on */
