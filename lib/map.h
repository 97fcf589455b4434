/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are mapped to be read, though somebody may cut them short, or
 * their disk may fail: where the kernel would end the process with SIGBUS, the page becomes zeros
 * and the map is marked as damaged.
 */
#ifndef PLYFS_LIB_MAP_H
#define PLYFS_LIB_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

/*
 * Maps the first @size bytes (not 0) of @fd, which may be closed then. 0 or -errno; -EMFILE:
 * more than 4096 files. A handler of SIGBUS is put in place, which hands on what
 * does not concern a map.
 */
int map_file(int fd, size_t size, struct map **ret);
void map_free(struct map *m); /* NULL is ignored */

const uint8_t *map_data(const struct map *m);

/* Whether a part of it could not be read, ever: what was read since then may be zeros. */
bool map_damaged(const struct map *m);

#endif
