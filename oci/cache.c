/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer cache: finding an index, or making it, once.
 *
 * A layer's lock is a file that is locked with flock(2) and removed by who made the index;
 * who then gets the lock of a file that has no name any more begins again. The kernel lets go
 * of the lock of who is killed. An index counts as there when it can be opened, is of this
 * layer, and its blob is found: so nothing need be cleaned before the next try.
 */
#include "oci/cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "fs/layer/index_build.h"
#include "fs/layer/toc.h"
#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache_i.h"
#include "oci/oci_i.h"
#include "oci/storage_conf.h"

/* --- the directory -------------------------------------------------------------- */

static int default_path(char **ret)
{
	const char *s = getenv("PLYFS_LAYERS"), *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	int n;

	if (s && *s)
		n = asprintf(ret, "%s", s);
	else if (storage_user() == 0)
		n = asprintf(ret, "/var/lib/plyfs/layers");
	else if (data && *data == '/')
		n = asprintf(ret, "%s/plyfs/layers", data);
	else if (home && *home == '/')
		n = asprintf(ret, "%s/.local/share/plyfs/layers", home);
	else
		return -ENOENT;
	if (n < 0)
		*ret = NULL;
	return n < 0 ? -ENOMEM : 0;
}

/* mkdir -p; what is there stays as it is. */
static int make_dirs(char *path)
{
	char *p;
	int r;

	for (p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		r = sys_mkdirat(AT_FDCWD, path, 0755);
		*p = '/';
		if (r < 0 && r != -EEXIST && r != -EROFS && r != -EACCES)
			return r;
	}
	r = sys_mkdirat(AT_FDCWD, path, 0700);
	return r == -EEXIST ? 0 : r;
}

int layer_cache_open(const char *dir, struct layer_cache **ret, char **ret_err)
{
	_cleanup_free_ char *path = NULL;
	struct layer_cache *c;
	int r;

	*ret_err = NULL;
	if (dir) {
		path = sys_strdup(dir);
		r = path ? 0 : -ENOMEM;
	} else {
		r = default_path(&path);
		if (r == -ENOENT)
			return oci_fail(ret_err, r, "no place for the layer cache: HOME is not set "
						    "(see --layers)");
	}
	if (r < 0)
		return r;
	if (!*path)
		return oci_fail(ret_err, -EINVAL, "the layer cache has an empty name");
	r = make_dirs(path);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "layer cache %s", path);
	c = sys_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->path = realpath(path, NULL);
	r = c->path ? 0 : -errno;
	if (r == 0)
		r = c->fd = sys_openat(AT_FDCWD, c->path, O_RDONLY | O_DIRECTORY, 0);
	if (r < 0) {
		free(c->path);
		free(c);
		return oci_fail_errno(ret_err, r, "layer cache %s", path);
	}
	*ret = c;
	return 0;
}

void layer_cache_close(struct layer_cache *c)
{
	if (!c)
		return;
	sys_close(c->fd);
	free(c->path);
	free(c);
}

const char *layer_cache_path(const struct layer_cache *c)
{
	return c->path;
}

void cache_name(const uint8_t digest[32], const char *suffix, char ret[CACHE_NAME_SIZE])
{
	index_blob_name(digest, ret);
	(void)snprintf(ret + INDEX_BLOB_NAME_SIZE - 1, CACHE_NAME_SIZE - INDEX_BLOB_NAME_SIZE + 1,
		       "%s", suffix);
}

bool cache_name_digest(const char *name, const char *suffix, uint8_t ret[32])
{
	char s[DIGEST_STRING_SIZE];
	size_t n = strlen(name), k = strlen(suffix);

	if (n != INDEX_BLOB_NAME_SIZE - 1 + k || strcmp(name + n - k, suffix) != 0 ||
	    strncmp(name, "sha256-", 7) != 0)
		return false;
	memcpy(s, name, INDEX_BLOB_NAME_SIZE - 1);
	s[6] = ':';
	s[INDEX_BLOB_NAME_SIZE - 1] = 0;
	return digest_parse(s, ret) == 0;
}

/* --- locks ------------------------------------------------------------------------ */

int cache_lock(const struct layer_cache *c, const char *name, bool wait)
{
	for (;;) {
		struct statx st;
		int fd, r;

		fd = sys_openat(c->fd, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
		if (fd < 0)
			return fd;
		do {
			r = sys_flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
		} while (r == -EINTR);
		if (r == 0)
			r = sys_fstatx(fd, &st);
		if (r == 0 && st.stx_nlink)
			return fd;
		sys_close(fd);
		if (r < 0)
			return r;
	}
}

void cache_unlock(const struct layer_cache *c, int fd, const char *name)
{
	(void)sys_unlinkat(c->fd, name, 0);
	sys_close(fd);
}

/* --- what is there ------------------------------------------------------------------ */

int cache_check(const struct layer_cache *c, const uint8_t digest[32], struct index_info *ret_info,
		char *ret_blob)
{
	char name[CACHE_NAME_SIZE], proc[40];
	const struct index_info *info;
	struct index *ix;
	struct source s;
	ssize_t n;
	int r;

	cache_name(digest, ".index", name);
	if (index_open(c->fd, name, &ix, NULL) < 0)
		return 0;
	info = index_info(ix);
	if (ret_info)
		*ret_info = *info;
	r = digest_equal(info->layer, digest) || !digest_known(info->layer);
	if (r && info->blob_size) {
		r = source_open_blob(c->fd, info->blob, info->blob_size, &s, NULL) == 0;
		if (r && ret_blob) {
			(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", s.fd);
			n = sys_readlinkat(AT_FDCWD, proc, ret_blob, 4095);
			ret_blob[n > 0 ? n : 0] = 0;
		}
		if (r)
			sys_close(s.fd);
	}
	index_close(ix);
	return r;
}

/* Now is when it was last used. */
static void touch(const struct layer_cache *c, const char *name)
{
	(void)utimensat(c->fd, name, NULL, 0);
}

/* --- the digest of what nobody has named -------------------------------------------- */

static void seen_name(const struct statx *st, const struct image_layer *l, char ret[80])
{
	uint64_t what[8] = { (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor,
			     st->stx_ino,
			     st->stx_size,
			     (uint64_t)st->stx_mtime.tv_sec,
			     (uint64_t)st->stx_mtime.tv_nsec << 32 | st->stx_ctime.tv_nsec,
			     (uint64_t)st->stx_ctime.tv_sec,
			     l->off,
			     l->size };
	uint8_t d[32];
	char hex[DIGEST_STRING_SIZE];

	(void)digest_of(what, sizeof(what), d);
	digest_string(d, hex);
	(void)snprintf(ret, 80, "seen-%s", hex + 7);
}

int cache_seen_digest(const struct layer_cache *c, const struct image_layer *l,
		      const struct source *s, uint8_t ret[32], char **ret_err)
{
	char name[80], text[DIGEST_STRING_SIZE] = "";
	struct statx st, after;
	ssize_t n;
	int r, fd;

	r = sys_fstatx(s->fd, &st);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", l->path);
	seen_name(&st, l, name);
	fd = sys_openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd >= 0) {
		n = sys_pread(fd, text, sizeof(text) - 1, 0);
		sys_close(fd);
		if (n == sizeof(text) - 1 && digest_parse(text, ret) == 0) {
			touch(c, name);
			return 0;
		}
	}
	r = digest_source(s, ret);
	if (r == 0)
		r = sys_fstatx(s->fd, &after);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", l->path);
	/* changed meanwhile, or so shortly before that the clock would not tell: not remembered */
	if (memcmp(&st.stx_ctime, &after.stx_ctime, sizeof(st.stx_ctime)) != 0 ||
	    time(NULL) - after.stx_ctime.tv_sec < 2)
		return 0;
	digest_string(ret, text);
	fd = sys_openat(c->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		(void)sys_pwrite(fd, text, sizeof(text) - 1, 0);
		sys_close(fd);
	}
	return 0;
}

/* --- making one ------------------------------------------------------------------------ */

/* Who makes a layer. */
struct maker {
	struct layer_cache *c;
	const struct image_layer *l;
	unsigned threads; /* for this layer */
	int (*progress)(void *arg, const struct pack_progress *p);
	void *arg;
};

/* The blob is where it is: a second name of our own file, else a reference. */
static int provide_blob(const struct maker *m, const struct source *s, const uint8_t blob[32],
			char **ret_err)
{
	char name[CACHE_NAME_SIZE];
	struct source have;
	struct statx st;
	int r;

	if (source_open_blob(m->c->fd, blob, s->size, &have, NULL) == 0) {
		sys_close(have.fd);
		return 0;
	}
	cache_name(blob, "", name);
	r = sys_fstatx(s->fd, &st);
	if (r == 0 && m->l->whole && st.stx_uid == geteuid() && st.stx_nlink) {
		(void)sys_unlinkat(m->c->fd, name, 0);
		r = sys_link_fd(s->fd, m->c->fd, name);
		if (r == 0)
			return 0;
	}
	r = source_write_ref(m->c->fd, blob, m->l->path, s->off, s->size);
	return r < 0 ? oci_fail_errno(ret_err, r, "layer cache %s", m->c->path) : 0;
}

/* 1: made; 0: there is no TOC that anybody vouches for. */
static int make_by_toc(const struct maker *m, const struct source *s, const uint8_t digest[32],
		       const char *name, char **ret_err)
{
	struct index_info info = { 0 };
	struct index_build *b = NULL;
	struct toc_hint hint;
	bool verified = false;
	int r;

	image_layer_hint(m->l, &hint);
	if (!hint.stargz_digest && !hint.checksum)
		return 0;
	r = index_build_new(&b);
	if (r < 0)
		return r;
	r = toc_index(s, &hint, b, &info, &verified, ret_err);
	if (r == 0 && verified) {
		memcpy(info.blob, digest, 32);
		memcpy(info.layer, digest, 32);
		memcpy(info.diff_id, m->l->diff_id, 32);
		info.blob_size = s->size;
		r = provide_blob(m, s, digest, ret_err);
		if (r == 0)
			r = index_build_write(b, &info, m->c->fd, name, ret_err);
		if (r == 0)
			r = 1;
	} else if (r == -ENODATA) {
		if (ret_err) {
			free(*ret_err);
			*ret_err = NULL;
		}
		r = 0;
	}
	index_build_free(b);
	return r;
}

static int make_by_packing(const struct maker *m, const struct source *s, const char *name,
			   char **ret_err)
{
	const struct image_layer *l = m->l;
	struct pack_options po = {
		.threads = m->threads,
		.layer = digest_known(l->digest) ? l->digest : NULL,
		.diff_id = digest_known(l->diff_id) ? l->diff_id : NULL,
		.progress = m->progress,
		.arg = m->arg,
	};
	struct index_info info = { 0 };
	int r = pack_layer(s, m->c->fd, name, &po, &info, ret_err);

	if (r == 0 && info.kind == INDEX_TAR)
		r = provide_blob(m, s, info.blob, ret_err);
	return r;
}

static int make(const struct maker *m, const struct source *s, const uint8_t digest[32],
		char **ret_err)
{
	char lock[CACHE_NAME_SIZE], name[CACHE_NAME_SIZE], text[DIGEST_STRING_SIZE];
	int fd, r = 0;

	cache_name(digest, ".lock", lock);
	cache_name(digest, ".index", name);
	digest_string(digest, text);
	fd = cache_lock(m->c, lock, true);
	if (fd < 0)
		return oci_fail_errno(ret_err, fd, "layer cache %s", m->c->path);
	if (!cache_check(m->c, digest, NULL, NULL)) {
		char *why = NULL;

		r = make_by_toc(m, s, digest, name, &why);
		if (r == 0)
			r = make_by_packing(m, s, name, &why);
		if (r < 0)
			(void)oci_fail(ret_err, r, "%s: layer %s: %s", m->l->path, text,
				       why ? why : strerror(-r));
		free(why);
		if (r >= 0 && !cache_check(m->c, digest, NULL, NULL))
			r = oci_fail(ret_err, -EIO,
				     "%s: the index of layer %s is gone, or of another", m->c->path,
				     text);
	}
	cache_unlock(m->c, fd, lock);
	return r < 0 ? r : 0;
}

/* By which digest the cache knows a layer. */
static int layer_key(const struct layer_cache *c, const struct image_layer *l,
		     const struct source *s, uint8_t ret[32], char **ret_err)
{
	if (digest_known(l->digest)) {
		memcpy(ret, l->digest, 32);
		return 0;
	}
	/* of what is not compressed the diff ID is the digest */
	if (digest_known(l->diff_id) && source_format(s) == SOURCE_TAR) {
		memcpy(ret, l->diff_id, 32);
		return 0;
	}
	return cache_seen_digest(c, l, s, ret, ret_err);
}

int cache_get(const struct layer_cache_get *g, char **ret_path, char **ret_err)
{
	struct maker m = {
		.c = g->c, .l = g->l, .threads = g->threads, .progress = g->progress, .arg = g->arg
	};
	const struct image_layer *l = g->l;
	char name[CACHE_NAME_SIZE];
	uint8_t digest[32];
	struct source s;
	int r;

	if (l->kind != IMAGE_LAYER_BLOB) {
		*ret_path = sys_strdup(l->path);
		return *ret_path ? 0 : -ENOMEM;
	}
	r = image_layer_open(l, &s, ret_err);
	if (r < 0)
		return r;
	r = layer_key(g->c, l, &s, digest, ret_err);
	if (r == 0 && !cache_check(g->c, digest, NULL, NULL)) {
		r = make(&m, &s, digest, ret_err);
		if (r == 0 && g->ret_made)
			*g->ret_made = true;
	}
	sys_close(s.fd);
	if (r < 0)
		return r;
	cache_name(digest, ".index", name);
	touch(g->c, name);
	if (asprintf(ret_path, "%s/%s", g->c->path, name) < 0) {
		*ret_path = NULL;
		return -ENOMEM;
	}
	return 0;
}
