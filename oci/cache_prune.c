/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer cache: what is in it, and what may go. Files that are in nobody's way but ours:
 * indexes, blobs that an index names, references, and what was left behind. Whatever has
 * another name is not touched.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache_i.h"
#include "oci/oci_i.h"

/* Files that no index names may be of one that is just being made: for so long, seconds. */
#define GRACE 3600

static int fill_entry(const struct layer_cache *c, const char *name, const uint8_t digest[32],
		      struct layer_cache_entry *e)
{
	char blob[CACHE_NAME_SIZE];
	struct statx st;
	int r;

	memset(e, 0, sizeof(*e));
	memcpy(e->digest, digest, 32);
	r = sys_statx(c->fd, name, AT_SYMLINK_NOFOLLOW, &st);
	if (r < 0)
		return r;
	e->used = st.stx_mtime.tv_sec;
	e->size = st.stx_blocks * 512;
	e->broken = !cache_check(c, digest, &e->info, e->blob);
	if (!e->broken && e->info.blob_size) {
		cache_name(e->info.blob, "", blob);
		/* what has other names takes no room here */
		if (sys_statx(c->fd, blob, AT_SYMLINK_NOFOLLOW, &st) == 0 && st.stx_nlink == 1)
			e->size += st.stx_blocks * 512;
	}
	return 0;
}

int layer_cache_list(struct layer_cache *c,
		     int (*fn)(void *arg, const struct layer_cache_entry *e), void *arg,
		     char **ret_err)
{
	_cleanup_free_ struct layer_cache_entry *e = sys_malloc(sizeof(*e));
	struct dirent *de;
	uint8_t digest[32];
	int fd, r = 0;
	DIR *dir;

	*ret_err = NULL;
	if (!e)
		return -ENOMEM;
	fd = sys_openat(c->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		r = fd < 0 ? fd : -errno;
		sys_close(fd);
		return oci_fail_errno(ret_err, r, "layer cache %s", c->path);
	}
	while (!r && (de = readdir(dir))) {
		if (!cache_name_digest(de->d_name, ".index", digest))
			continue;
		/* gone in between */
		if (fill_entry(c, de->d_name, digest, e) == 0)
			r = fn(arg, e);
	}
	(void)closedir(dir);
	return r;
}

/* --- pruning ---------------------------------------------------------------------- */

struct item {
	struct layer_cache_entry e;
	bool gone;
};

struct items {
	struct item **item;
	unsigned n, room;
};

static int collect(void *arg, const struct layer_cache_entry *e)
{
	struct items *all = arg;
	struct item *it;

	if (all->n == all->room) {
		unsigned room = all->room ? all->room * 2 : 64;
		struct item **p = sys_realloc(all->item, room * sizeof(struct item *));

		if (!p)
			return -ENOMEM;
		all->item = p;
		all->room = room;
	}
	it = sys_calloc(1, sizeof(*it));
	if (!it)
		return -ENOMEM;
	it->e = *e;
	all->item[all->n++] = it;
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;

	return ((*x)->e.used > (*y)->e.used) - ((*x)->e.used < (*y)->e.used);
}

static void choose(struct items *all, const struct layer_cache_prune *o)
{
	int64_t now = time(NULL);
	uint64_t total = 0;
	unsigned i;

	qsort(all->item, all->n, sizeof(struct item *), by_use);
	for (i = 0; i < all->n; i++) {
		struct item *it = all->item[i];

		it->gone = o->all || it->e.broken || (o->older >= 0 && now - it->e.used > o->older);
		if (!it->gone)
			total += it->e.size;
	}
	for (i = 0; o->max_size && i < all->n && total > o->max_size; i++)
		if (!all->item[i]->gone) {
			all->item[i]->gone = true;
			total -= all->item[i]->e.size;
		}
}

static bool blob_wanted(const struct items *all, const uint8_t blob[32])
{
	unsigned i;

	for (i = 0; i < all->n; i++)
		if (!all->item[i]->gone && digest_equal(all->item[i]->e.info.blob, blob))
			return true;
	return false;
}

/* The index of who is just being made again is not taken from under it. */
static bool remove_entry(const struct layer_cache *c, struct items *all, struct item *it)
{
	char lock[CACHE_NAME_SIZE], name[CACHE_NAME_SIZE];
	int fd;

	cache_name(it->e.digest, ".lock", lock);
	fd = cache_lock(c, lock, false);
	if (fd < 0) {
		it->gone = false;
		return false;
	}
	cache_name(it->e.digest, ".index", name);
	(void)sys_unlinkat(c->fd, name, 0);
	if (digest_known(it->e.info.blob) && !blob_wanted(all, it->e.info.blob)) {
		cache_name(it->e.info.blob, "", name);
		(void)sys_unlinkat(c->fd, name, 0);
		cache_name(it->e.info.blob, ".ref", name);
		(void)sys_unlinkat(c->fd, name, 0);
	}
	cache_unlock(c, fd, lock);
	return true;
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* What a file that is no index is worth: kept, or removed after @ret_age seconds. */
static bool left_over(const struct items *all, const char *name, int64_t *ret_age)
{
	size_t n = strlen(name);
	uint8_t digest[32];

	*ret_age = GRACE;
	if (cache_name_digest(name, "", digest) || cache_name_digest(name, ".ref", digest))
		return !blob_wanted(all, digest);
	if (begins(name, "seen-")) {
		*ret_age = (int64_t)LAYER_CACHE_DAYS * 86400;
		return true;
	}
	return begins(name, ".plyfs.") && n > 5 && !strcmp(name + n - 5, ".part");
}

static uint64_t sweep(const struct layer_cache *c, const struct items *all, bool dry_run)
{
	int fd = sys_openat(c->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	uint64_t freed = 0;
	struct dirent *de;

	if (!dir) {
		sys_close(fd);
		return 0;
	}
	while ((de = readdir(dir))) {
		uint8_t digest[32];
		struct statx st;
		int64_t age;

		if (cache_name_digest(de->d_name, ".lock", digest)) {
			int lock = dry_run ? -1 : cache_lock(c, de->d_name, false);

			if (lock >= 0)
				cache_unlock(c, lock, de->d_name);
			continue;
		}
		if (!left_over(all, de->d_name, &age) ||
		    sys_statx(c->fd, de->d_name, AT_SYMLINK_NOFOLLOW, &st) < 0 ||
		    time(NULL) - st.stx_ctime.tv_sec < age)
			continue;
		if (dry_run || sys_unlinkat(c->fd, de->d_name, 0) == 0)
			freed += st.stx_nlink == 1 ? st.stx_blocks * 512 : 0;
	}
	(void)closedir(dir);
	return freed;
}

int layer_cache_prune(struct layer_cache *c, const struct layer_cache_prune *o,
		      uint64_t *ret_bytes, char **ret_err)
{
	struct items all = { 0 };
	uint64_t freed = 0;
	unsigned i;
	int r;

	r = layer_cache_list(c, collect, &all, ret_err);
	if (r == 0 && all.n)
		choose(&all, o);
	for (i = 0; r == 0 && i < all.n; i++) {
		struct item *it = all.item[i];

		if (!it->gone || (!o->dry_run && !remove_entry(c, &all, it)))
			continue;
		freed += it->e.size;
		if (o->fn)
			r = o->fn(o->arg, &it->e);
	}
	if (r == 0)
		freed += sweep(c, &all, o->dry_run);
	for (i = 0; i < all.n; i++)
		free(all.item[i]);
	free(all.item);
	if (r == 0 && ret_bytes)
		*ret_bytes = freed;
	return r;
}
