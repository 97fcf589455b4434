/* SPDX-License-Identifier: Apache-2.0 */
/* Files that have several names, and the first name that each was seen by. */
#ifndef PLYFS_LIB_LINKMAP_H
#define PLYFS_LIB_LINKMAP_H

#include <sys/stat.h>

struct linkmap; /* NULL is an empty one */

/*
 * The name by which the file was seen before in *ret, valid until the next call; NULL: never,
 * and @path is its first. Files that have but one name are not kept. 0 or -ENOMEM.
 */
int linkmap_first(struct linkmap **m, const struct statx *st, const char *path, const char **ret);
void linkmap_free(struct linkmap *m);

#endif
