/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going into the background, so that whoever started us can rely on it:
 *
 * - the parent (the process that was started) lives until the child is ready
 *   and exits 0 then; when the child ends before, the parent exits with the
 *   child's exit code (1 for code 0; 128 + N after signal N, with a line on
 *   stderr). What went wrong the child has said on the inherited stderr;
 * - before the parent exits, the child's descriptors 0, 1 and 2 point at
 *   /dev/null. They are never closed: a backing file must not become fd 2,
 *   and podman and containerd wait until the last copy of their pipes closes;
 * - for the same reason no other inherited descriptor survives in the child;
 * - the child is its own session leader, and its working directory is "/"
 *   from daemon_ready() on (before that it is the caller's: relative layer
 *   paths still resolve).
 *
 * Calling sequence: daemon_begin() early in main(), before any thread, mount
 * or descriptor; everything that may fail; daemon_ready(); serve. Without
 * daemon_begin() (foreground) daemon_ready() does nothing and returns 0, and
 * stderr stays. Not thread-safe; one daemon per process.
 */
#ifndef PLYFS_FS_FUSE_DAEMON_H
#define PLYFS_FS_FUSE_DAEMON_H

/*
 * Fork. Returns 0 in the child; in the parent it does not return. @keep_fd
 * (or -1) is one inherited descriptor that stays open (/dev/fd/N mounts).
 * -errno when no child could be made: then we are still the parent.
 */
int daemon_begin(int keep_fd);

/*
 * Detach: chdir("/"), 0-2 to /dev/null, then let the parent exit 0. The caller
 * switches its log away from stderr first. Returns 0; -errno when /dev/null
 * can't be had, and then the parent is not released. Harmless when the parent
 * has gone already, and when called twice.
 */
int daemon_ready(void);

#endif
