/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of backing files, kept open while there is room.
 *
 * A bounded LRU: whatever it loses can be opened again by name. What is open
 * without a descriptor has a bound of its own, and takes no room from others. An entry in
 * use is pinned by a count and survives its removal from the cache until it
 * is put back. Has a lock of its own, taken inside of u->lock if both are.
 */
#ifndef PLYFS_UNION_FDCACHE_H
#define PLYFS_UNION_FDCACHE_H

#include "fs/union/union_i.h"

struct fdent;

/* What an entry is: a directory in a layer by the layer's id, or a file's content. */
enum {
	FD_FILE_LOWER = 0x10000,
	FD_FILE_UPPER, /* read only */
	FD_FILE_WRITE, /* upper, read and write */
};

int fdcache_init(struct union_fs *u, unsigned budget);
void fdcache_release(struct union_fs *u);

/* The entry, pinned, or NULL. */
struct fdent *fdcache_get(struct union_fs *u, uint32_t slot, unsigned kind);

/*
 * Adds @dir (whose descriptor it takes over, on failure too) and returns it
 * pinned. Where another thread was faster, that one's entry. NULL: no memory.
 */
struct fdent *fdcache_add(struct union_fs *u, uint32_t slot, unsigned kind,
			  const struct layer_dir *dir);

/* As fdcache_add(), but the entry is not found by others and is closed when put. */
struct fdent *fdcache_once(struct union_fs *u, const struct layer_dir *dir);

void fdcache_put(struct union_fs *u, struct fdent *e);

const struct layer_dir *fdcache_dir(const struct fdent *e);
static inline int fdcache_fd(const struct fdent *e)
{
	return fdcache_dir(e)->fd;
}

/* Forgets all of a node's entries, or those of one kind. Closing waits for fdcache_reap(). */
void fdcache_drop(struct union_fs *u, uint32_t slot);
void fdcache_drop_kind(struct union_fs *u, uint32_t slot, unsigned kind);

/* Has @fd (if not -1) closed, and @orphan (if not NULL) removed from work, by fdcache_reap(). */
void fdcache_reap_later(struct union_fs *u, int fd, const char *orphan);

/* Closes what was dropped. Not to be called with u->lock held. */
void fdcache_reap(struct union_fs *u);

/* How many descriptors the cache holds. */
unsigned fdcache_count(struct union_fs *u);

#endif
