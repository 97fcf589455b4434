/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes an index of a blob by its TOC and prints what it says, a line of JSON for each name.
 * Content is read from the blob here, by zlib and zstd alone, and every chunk's digest checked:
 * this is a second reader of the index.
 *
 * usage: toc_dump BLOB DIR [stargz=DIGEST] [checksum=DIGEST] [position=P] [tarsplit=P]
 *        [external=FILE] [only-index]
 * The index is DIR/index. The last line says kind, digest of the TOC, whether it was verified,
 * and the most memory that was used (KiB). Exit 1: refused; 3: no TOC.
 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "fs/layer/toc.h"

#define NEED(x)                                                            \
	do {                                                               \
		if (!(x)) {                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#x);                                       \
			exit(2);                                           \
		}                                                          \
	} while (0)

static struct source blob;
static const struct index *ix;

static uint8_t *read_frame(uint32_t n, uint64_t *ret)
{
	static uint32_t cached = UINT32_MAX;
	static uint8_t *raw;
	static uint64_t len;
	struct index_frame f;
	uint8_t *in;

	if (n == cached) {
		*ret = len;
		return raw;
	}
	free(raw);
	NEED(index_frame(ix, n, &f) == 0);
	in = malloc(f.stored + 1);
	raw = malloc(f.raw + 1);
	NEED(in && raw && source_pread(&blob, in, f.stored, f.off) == (ssize_t)f.stored);
	if (f.codec == INDEX_GZIP) {
		z_stream z = { .next_in = in,
			       .avail_in = (uInt)f.stored,
			       .next_out = raw,
			       .avail_out = (uInt)f.raw };

		NEED(inflateInit2(&z, 31) == Z_OK);
		NEED(inflate(&z, Z_SYNC_FLUSH) >= 0 && z.avail_out == 0);
		(void)inflateEnd(&z);
	} else {
		ZSTD_DCtx *d = ZSTD_createDCtx();
		ZSTD_inBuffer i = { in, f.stored, 0 };
		ZSTD_outBuffer o = { raw, f.raw, 0 };

		while (o.pos < o.size) {
			size_t before = i.pos + o.pos;
			size_t r = ZSTD_decompressStream(d, &o, &i);

			NEED(!ZSTD_isError(r) && i.pos + o.pos > before);
		}
		(void)ZSTD_freeDCtx(d);
	}
	free(in);
	cached = n;
	*ret = len = f.raw;
	return raw;
}

static void text(const char *s, size_t len)
{
	putchar('"');
	for (size_t i = 0; i < len; i++)
		printf("%02x", (unsigned char)s[i]);
	putchar('"');
}

static void content(const struct index_inode *f)
{
	static const uint8_t zeros[65536];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct index_extent x;
	uint8_t sum[32];

	NEED(EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	for (uint64_t off = 0; off < f->size; off = x.off + x.len) {
		NEED(index_extent(ix, f, off, &x) == 0 && x.off == off && x.len > 0);
		if (x.hole) {
			for (uint64_t n, done = 0; done < x.len; done += n) {
				n = x.len - done < sizeof(zeros) ? x.len - done : sizeof(zeros);
				NEED(EVP_DigestUpdate(md, zeros, n) == 1);
			}
			continue;
		}
		struct index_chunk c;
		uint64_t len;
		uint8_t *raw;

		NEED(index_chunk(ix, x.chunk, &c) == 0);
		raw = read_frame(c.frame, &len);
		NEED(c.skip + c.len <= len && x.chunk_off + x.len <= c.len);
		if (c.has_sha256) {
			NEED(EVP_Digest(raw + c.skip, c.len, sum, NULL, EVP_sha256(), NULL) == 1);
			NEED(memcmp(sum, c.sha256, 32) == 0);
		}
		NEED(EVP_DigestUpdate(md, raw + c.skip + x.chunk_off, x.len) == 1);
	}
	NEED(EVP_DigestFinal_ex(md, sum, NULL) == 1);
	EVP_MD_CTX_free(md);
	text((char *)sum, 32);
}

static void show(const char *path, const struct index_dirent *d, uint32_t ino);

static void children(const char *path, const struct index_inode *dir)
{
	for (uint32_t i = 0; i < dir->count; i++) {
		struct index_dirent d;
		char *child;

		NEED(index_dirent(ix, dir, i, &d) == 0);
		NEED(asprintf(&child, "%s%s%.*s", path, *path ? "/" : "", (int)d.len, d.name) > 0);
		show(child, &d, d.ino);
		free(child);
	}
}

static void show(const char *path, const struct index_dirent *d, uint32_t ino)
{
	struct index_inode f;
	struct index_xattr x;
	const char *target;
	ssize_t n;

	printf("{\"path\":");
	text(path, strlen(path));
	if (d && d->whiteout) {
		printf(",\"whiteout\":true}\n");
		return;
	}
	NEED(index_inode(ix, ino, &f) == 0);
	printf(",\"ino\":%u,\"mode\":%u,\"uid\":%u,\"gid\":%u,\"nlink\":%u,\"mtime\":%" PRId64
	       ",\"nsec\":%u,\"size\":%" PRIu64 ",\"rdev\":[%u,%u],\"opaque\":%s",
	       ino, f.mode, f.uid, f.gid, S_ISDIR(f.mode) ? 0 : f.nlink, f.mtime, f.mtime_nsec,
	       f.size, f.rdev_major, f.rdev_minor, f.opaque ? "true" : "false");
	printf(",\"xattrs\":{");
	for (unsigned i = 0; f.has_xattrs && index_xattr(ix, f.xattrs, i, &x) == 1; i++) {
		printf("%s", i ? "," : "");
		text(x.name, x.name_len);
		putchar(':');
		text(x.value, x.value_len);
	}
	printf("}");
	if (S_ISLNK(f.mode)) {
		n = index_readlink(ix, &f, &target);
		NEED(n >= 0);
		printf(",\"target\":");
		text(target, (size_t)n);
	}
	if (S_ISREG(f.mode)) {
		printf(",\"sha256\":");
		content(&f);
	}
	printf("}\n");
	if (S_ISDIR(f.mode))
		children(path, &f);
}

static struct source open_source(const char *path)
{
	struct source s = { .name = path, .fd = open(path, O_RDONLY | O_CLOEXEC) };
	struct stat st;

	NEED(s.fd >= 0 && fstat(s.fd, &st) == 0);
	s.size = (uint64_t)st.st_size;
	return s;
}

static const char *option(const char *arg, const char *name)
{
	size_t n = strlen(name);

	return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

int main(int argc, char **argv)
{
	struct toc_hint hint = { 0 };
	struct source external;
	struct index_build *b;
	struct index_info info = { 0 };
	struct index *opened;
	struct rusage ru;
	bool verified, only_index = false;
	char *err = NULL;
	const char *v;
	int r, dir;

	NEED(argc >= 3);
	blob = open_source(argv[1]);
	dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	NEED(dir >= 0);
	for (int i = 3; i < argc; i++) {
		if ((v = option(argv[i], "stargz")) != NULL)
			hint.stargz_digest = v;
		else if ((v = option(argv[i], "checksum")) != NULL)
			hint.checksum = v;
		else if ((v = option(argv[i], "position")) != NULL)
			hint.position = v;
		else if ((v = option(argv[i], "tarsplit")) != NULL)
			hint.tarsplit_position = v;
		else if ((v = option(argv[i], "external")) != NULL) {
			external = open_source(v);
			hint.external = &external;
		}
	}
	only_index = argc > 3 && strcmp(argv[argc - 1], "only-index") == 0;
	NEED(index_build_new(&b) == 0);
	r = toc_index(&blob, &hint, b, &info, &verified, &err);
	if (r == 0) {
		info.blob_size = blob.size;
		r = index_build_write(b, &info, dir, "index", &err);
	}
	index_build_free(b);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", strerror(-r), err ? err : "");
		free(err);
		return r == -ENODATA ? 3 : 1;
	}
	NEED(getrusage(RUSAGE_SELF, &ru) == 0);
	NEED(index_open(dir, "index", &opened, &err) == 0);
	ix = opened;
	if (index_check(ix, &err) < 0)
		fprintf(stderr, "check: %s\n", err ? err : "");
	NEED(err == NULL);
	if (!only_index)
		show("", NULL, INDEX_ROOT);
	printf("{\"kind\":\"%s\",\"verified\":%s,\"inodes\":%u,\"frames\":%" PRIu64
	       ",\"memory\":%ld,\"toc\":",
	       index_kind_name(info.kind), verified ? "true" : "false",
	       index_info(ix)->inodes, index_info(ix)->frames, ru.ru_maxrss);
	text((const char *)index_info(ix)->toc, 32);
	printf("}\n");
	index_close(opened);
	return 0;
}
