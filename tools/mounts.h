/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of plyfs, their daemons and counters, found from outside. */
#ifndef PLYFS_TOOLS_MOUNTS_H
#define PLYFS_TOOLS_MOUNTS_H

#include <stdint.h>
#include <sys/types.h>

#include "fs/fuse/stats.h"

struct mount_info {
	char *point; /* as the kernel names it */
	char *source; /* what was mounted */
	dev_t dev;
};

/*
 * The mount on @dir, which must be the mountpoint itself, not something below; nothing is
 * asked of its daemon. -ENOENT: nothing is mounted there; -EINVAL: not plyfs.
 */
int mount_find(const char *dir, struct mount_info *ret);
void mount_info_free(struct mount_info *m);

/*
 * The counters of the daemon that serves @dev, of one that we may look at: its process ID, or
 * -ENOENT. ret (may be NULL) is a copy of this moment.
 */
int mount_daemon(dev_t dev, struct stats_file *ret);
/* Counters in a file, as plyfs -o stats= makes it. -EINVAL: none. */
int mount_counters(int fd, struct stats_file *ret);

#endif
