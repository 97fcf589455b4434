/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mounted FUSE session: libfuse's low-level session, the mount, the
 * transport (threads over /dev/fuse, or io_uring; see doc/transport.md) and
 * its end. Calling sequence:
 *
 *	session_new()		no side effects outside the process
 *	session_mount()		the mountpoint shows the file system; requests
 *				wait in the kernel
 *	session_run()		INIT, threads, ready(); serves until unmounted or
 *				told to stop; afterwards no handler runs any more
 *	drain the pool, sync	(replies of late workers are dropped quietly)
 *	session_free()
 *
 * Handlers run on the session's threads, concurrently, and reply as libfuse
 * wants it, from any thread, exactly once. transport.h has what handlers may
 * ask of the transport.
 *
 * One session per process. session_new() ignores SIGPIPE. session_run()
 * blocks SIGTERM, SIGINT and SIGHUP in every thread and takes them itself:
 * start no thread of your own before session_block_signals(). It also uses
 * SIGUSR1, internally, to interrupt its threads. The /dev/fuse descriptor is
 * close-on-exec and in no helper process of ours.
 */
#ifndef PLYFS_FS_FUSE_SESSION_H
#define PLYFS_FS_FUSE_SESSION_H

#include <stdbool.h>
#include <stddef.h>

struct fuse_lowlevel_ops;
struct fuse_session;
struct session;
struct stats;

enum session_uring {
	SESSION_URING_AUTO, /* where the kernel offers it, else /dev/fuse */
	SESSION_URING_OFF,
	SESSION_URING_ON, /* session_run() fails where it can't be had */
};

/* Everything is borrowed until session_free(). Zero means the default. */
struct session_config {
	/* Absolute path, or "/dev/fd/N" of a /dev/fuse that is mounted already. */
	const char *mountpoint;
	/* The value of one -o in libfuse's syntax: options_mount_string(). */
	const char *mount_options;
	bool debug; /* libfuse logs every request to stderr */
	enum session_uring uring;
	unsigned int uring_depth; /* requests in flight per CPU (4; at most 64) */
	unsigned int threads; /* readers of /dev/fuse (CPUs we may use, 16 at most) */
	int spin_us; /* 0: default; -1: never spin (see loop.c) */
	struct stats *stats; /* counters, or NULL */
	/* Gets one line without newline, from any thread; level of syslog(3). */
	void (*log)(int level, const char *fmt, ...)
		__attribute__((format(printf, 2, 3)));
};

/* Block the signals that session_run() waits for, in the calling thread. */
void session_block_signals(void);

/*
 * @ops is copied. @userdata is what libfuse's fuse_req_userdata() returns and
 * init() gets. -EINVAL: libfuse did not like the mount options (it has logged
 * which); -EBUSY: there is a session already.
 */
int session_new(const struct session_config *cfg,
		const struct fuse_lowlevel_ops *ops, void *userdata,
		struct session **ret);

/* For fuse_lowlevel_notify_*() and fuse_passthrough_*(). */
struct fuse_session *session_fuse(struct session *s);

/*
 * Mount: mount(2), or fusermount3 where that is denied or auto_unmount wants
 * it. The reason of a failure is logged. 0 or -errno (-EIO: see the log).
 */
int session_mount(struct session *s);

/*
 * Serve. @ready (may be NULL) is called once INIT was answered and all threads
 * run; when it returns -errno, or INIT or the transport fails, the file system
 * is unmounted and the error returned. Else returns 0 after an unmount by
 * others (or an aborted connection), or the number of the signal that ended
 * us, and then the file system has been unmounted: cleanly when nobody uses
 * it, else after a syncfs, lazily.
 */
int session_run(struct session *s, int (*ready)(void *arg), void *arg);

/* As if SIGTERM had come. From any thread or signal handler. */
void session_stop(struct session *s);

/* True from INIT on if requests come by io_uring. */
bool session_is_uring(const struct session *s);

/* Unmount if still mounted (lazily), release everything. NULL is fine. */
void session_free(struct session *s);

#endif
