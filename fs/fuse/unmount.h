/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unmounting ourselves while our threads still serve. Done in a child that
 * holds no descriptor of ours: a process that holds /dev/fuse and waits on its
 * own mount can become unkillable.
 */
#ifndef PLYFS_FS_FUSE_UNMOUNT_H
#define PLYFS_FS_FUSE_UNMOUNT_H

#include <stdbool.h>
#include <stdint.h>

/* The kernel's number of the mount at @path; 0 when it can't be had. */
uint64_t unmount_id(const char *path);

/*
 * Unmounts @path, whatever is there: by umount2(2), or by fusermount3 where that may
 * not. @lazy: even if it is used. 0 or -errno; -ENOENT: there is no fusermount3.
 */
int unmount_any(const char *path, bool lazy);

/*
 * Unmount @path if it still is mount @id (0: whatever is there): plainly, so
 * that everything is flushed; when it is in use, after a syncfs, lazily.
 * fusermount3 does it where umount2(2) may not. Returns 0; -ETIMEDOUT after
 * 10 s (nothing waits for it any more); else -errno.
 */
int unmount_clean(const char *path, uint64_t id);

#endif
