/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory tree made into an index and a blob, in whatever form a test wants:
 * codec, sizes of frames and chunks, with or without checksums.
 */
#ifndef PLYFS_TESTS_PACKTREE_H
#define PLYFS_TESTS_PACKTREE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "fs/layer/index_build.h"

struct packtree_conf {
	enum index_codec codec;
	size_t frame, chunk; /* bytes, uncompressed */
	bool no_xxh3, sha256;
	int level;
};

struct packtree {
	struct packtree_conf c;
	struct index_build *b;
	int blob; /* descriptor */
	EVP_MD_CTX *md;
	uint64_t size;
	char *buf; /* of the frame being filled */
	size_t len;
	uint32_t frame; /* its number */
	bool open;
	const char *top;
	struct {
		dev_t dev;
		ino_t ino;
		char *path;
	} * seen;
	size_t nseen;
};

static struct packtree *packtree_now; /* nftw() takes no argument */

#define PACKTREE_MUST(x)                                                           \
	({                                                                         \
		__typeof__(x) v_ = (x);                                            \
		if (v_ < 0) {                                                      \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, \
				strerror(errno));                                  \
			exit(99);                                                  \
		}                                                                  \
		v_;                                                                \
	})

static inline size_t packtree_gzip(const void *in, size_t n, void *out, size_t cap)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in,
		       .avail_in = (uInt)n,
		       .next_out = out,
		       .avail_out = (uInt)cap };

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
	    deflate(&z, Z_FINISH) != Z_STREAM_END)
		exit(99);
	(void)deflateEnd(&z);
	return cap - z.avail_out;
}

/* Stores the frame that is being filled. */
static inline void packtree_flush(struct packtree *p)
{
	size_t cap = ZSTD_compressBound(p->len) + p->len / 100 + 1024, n = p->len;
	char *out = malloc(cap);
	struct index_frame f = { .off = p->size, .raw = p->len, .codec = p->c.codec };

	if (!p->open) {
		free(out);
		return;
	}
	if (p->c.codec == INDEX_ZSTD)
		n = ZSTD_compress(out, cap, p->buf, p->len, p->c.level ? p->c.level : 1);
	else if (p->c.codec == INDEX_GZIP)
		n = packtree_gzip(p->buf, p->len, out, cap);
	else
		memcpy(out, p->buf, n);
	f.stored = n;
	f.xxh3 = p->c.no_xxh3 ? 0 : XXH3_64bits(out, n);
	if (write(p->blob, out, n) != (ssize_t)n)
		exit(99);
	EVP_DigestUpdate(p->md, out, n);
	p->size += n;
	free(out);
	if (index_build_set_frame(p->b, p->frame, &f) < 0)
		exit(99);
	p->open = false;
	p->len = 0;
}

/* Appends [@off, @off + @n) of a file's content. */
static inline void packtree_data(struct packtree *p, uint32_t id, uint64_t off, const char *data,
				 size_t n)
{
	while (n) {
		struct index_chunk c = { .has_sha256 = p->c.sha256 };
		struct index_extent x = { .off = off };
		size_t k;

		if (p->len == p->c.frame)
			packtree_flush(p);
		if (!p->open) {
			const struct index_frame f = { .codec = p->c.codec };

			PACKTREE_MUST(index_build_frame(p->b, &f, &p->frame));
			p->open = true;
		}
		k = p->c.frame - p->len;
		k = k < n ? k : n;
		k = k < p->c.chunk ? k : p->c.chunk;
		memcpy(p->buf + p->len, data, k);
		c.frame = p->frame;
		c.skip = p->len;
		c.len = x.len = k;
		EVP_Digest(data, k, c.sha256, NULL, EVP_sha256(), NULL);
		PACKTREE_MUST(index_build_chunk(p->b, &c, &x.chunk));
		PACKTREE_MUST(index_build_extent(p->b, id, &x));
		p->len += k;
		data += k;
		off += k;
		n -= k;
	}
}

static inline void packtree_file(struct packtree *p, const char *path, uint32_t id)
{
	int fd = PACKTREE_MUST(open(path, O_RDONLY | O_CLOEXEC));
	size_t cap = 1 << 20;
	char *buf = malloc(cap);
	off_t at = 0, end;
	ssize_t n;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = PACKTREE_MUST(lseek(fd, at, SEEK_HOLE));
		while (at < end) {
			n = PACKTREE_MUST(pread(
				fd, buf, end - at < (off_t)cap ? (size_t)(end - at) : cap, at));
			if (!n)
				break;
			packtree_data(p, id, (uint64_t)at, buf, (size_t)n);
			at += n;
		}
	}
	free(buf);
	close(fd);
}

static inline void packtree_xattrs(struct packtree *p, const char *path, const char *rel,
				   uint32_t id)
{
	char list[4096], val[65536], *at;
	ssize_t n = llistxattr(path, list, sizeof(list)), len;
	const struct index_entry mark = { .mode = S_IFREG };
	char opq[4200];
	uint32_t none;

	for (at = list; n > 0 && at < list + n; at += strlen(at) + 1) {
		len = lgetxattr(path, at, val, sizeof(val));
		if (len < 0)
			continue;
		if (strstr(at, ".overlay.opaque") && len == 1 && *val == 'y') {
			snprintf(opq, sizeof(opq), "%s%s.wh..wh..opq", rel, *rel ? "/" : "");
			PACKTREE_MUST(index_build_add(p->b, opq, &mark, &none, NULL));
		} else {
			PACKTREE_MUST(index_build_xattr(p->b, id, at, val, (size_t)len, NULL));
		}
	}
}

static inline int packtree_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct packtree *p = packtree_now;
	const char *rel = path + strlen(p->top);
	char target[4097] = "";
	struct index_entry e = {
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime = st->st_mtim.tv_sec,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.rdev_major = major(st->st_rdev),
		.rdev_minor = minor(st->st_rdev),
		.target = target,
	};
	uint32_t id;
	size_t i;

	(void)type;
	(void)ftw;
	rel += *rel == '/';
	if (S_ISLNK(st->st_mode))
		target[PACKTREE_MUST(readlink(path, target, 4096))] = 0;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		for (i = 0; i < p->nseen; i++)
			if (p->seen[i].dev == st->st_dev && p->seen[i].ino == st->st_ino)
				return PACKTREE_MUST(
					index_build_link(p->b, rel, p->seen[i].path, NULL));
		p->seen = realloc(p->seen, (p->nseen + 1) * sizeof(*p->seen));
		p->seen[p->nseen].dev = st->st_dev;
		p->seen[p->nseen].ino = st->st_ino;
		p->seen[p->nseen++].path = strdup(rel);
	}
	PACKTREE_MUST(index_build_add(p->b, rel, &e, &id, NULL));
	if (!id)
		return 0;
	packtree_xattrs(p, path, rel, id);
	if (S_ISREG(st->st_mode))
		packtree_file(p, path, id);
	return 0;
}

/* Packs @top into @outdir: the index @name (complete and named so), the blob beside. */
static inline void packtree(const char *top, int outdir, const char *name,
			    const struct packtree_conf *c)
{
	struct packtree p = { .c = *c, .top = top };
	struct index_info info = { .kind = INDEX_PACKED };
	char blob[INDEX_BLOB_NAME_SIZE], *err = NULL, tmp[64];
	size_t i;

	p.c.frame = c->frame ? c->frame : 256 << 10;
	p.c.chunk = c->chunk ? c->chunk : p.c.frame;
	p.buf = malloc(p.c.frame);
	p.md = EVP_MD_CTX_new();
	EVP_DigestInit_ex(p.md, EVP_sha256(), NULL);
	snprintf(tmp, sizeof(tmp), "blob.%ld.tmp", (long)getpid());
	p.blob = PACKTREE_MUST(openat(outdir, tmp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644));
	PACKTREE_MUST(index_build_new(&p.b));
	packtree_now = &p;
	PACKTREE_MUST(nftw(top, packtree_one, 16, FTW_PHYS));
	packtree_flush(&p);
	EVP_DigestFinal_ex(p.md, info.blob, NULL);
	EVP_MD_CTX_free(p.md);
	info.blob_size = p.size;
	index_blob_name(info.blob, blob);
	PACKTREE_MUST(renameat(outdir, tmp, outdir, blob));
	if (index_build_write(p.b, &info, outdir, name, &err) < 0) {
		fprintf(stderr, "%s: %s\n", name, err ? err : "?");
		exit(99);
	}
	index_build_free(p.b);
	close(p.blob);
	free(p.buf);
	for (i = 0; i < p.nseen; i++)
		free(p.seen[i].path);
	free(p.seen);
}

#endif
