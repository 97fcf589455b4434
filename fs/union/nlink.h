/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that lower files have lost.
 *
 * Removing one of several names of a lower file copies nothing, so nothing in
 * the upper can count the names left: the kernel's overlay.nlink needs an
 * inode there. Until the file is copied up (then overlay.nlink takes over) the
 * number is a record in workdir/nlink, a symlink named as the file's index
 * entry would be, whose target is the number. Kernel overlayfs does not look
 * at it. The record follows the removal: a crash between them leaves a count one
 * too high, which keeps an index entry longer than needed, and nothing else.
 */
#ifndef PLYFS_UNION_NLINK_H
#define PLYFS_UNION_NLINK_H

#include "fs/union/locate.h"
#include "fs/union/ovl.h"

/* How many names the lower file @dir/@name, with more than one link, has lost; or -errno. */
int nlink_lost(struct union_fs *u, const struct layer_dir *dir, const char *name);

/* The name of the record of the lower file at @at: 1, 0 where it can have none, or -errno. */
int nlink_record_name(struct union_fs *u, const struct place *at, char ret[OVL_INDEX_NAME_MAX]);

/* Records that the file of that record has lost @lost names; 0 removes the record. */
int nlink_record(struct union_fs *u, const char *rec, int lost);

#endif
