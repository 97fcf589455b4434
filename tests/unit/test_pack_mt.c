/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -larchive -lisal -llzma -lbz2 -lzstd -lz */
/* Packing: what goes in comes out, equal things once, and nothing is left of what fails. */
#include "unit.h"

#include <bzlib.h>
#include <dirent.h>
#include <errno.h>
#include <lzma.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "fs/layer/pack.h"
#include "fs/layer/tar_write.h"
#include "lib/sha256.h"

struct mem {
	uint8_t *p;
	size_t len, size;
};

static int sink(void *arg, const void *data, size_t size)
{
	struct mem *m = arg;

	if (m->len + size > m->size) {
		m->size = 2 * (m->len + size);
		m->p = realloc(m->p, m->size);
		assert_non_null(m->p);
	}
	memcpy(m->p + m->len, data, size);
	m->len += size;
	return 0;
}

enum { BIG = 700001,
       GAP = 512 << 10 };

/* Byte @i of the file number @n: some of it repeats, so that it can be compressed. */
static uint8_t byte(unsigned n, size_t i)
{
	return (uint8_t)((i * 2654435761U >> 13) % 23 + n);
}

static void put(struct tar_write *w, const char *path, unsigned n, size_t len)
{
	struct tar_xattr x[] = { { "user.k", 6, "v\0w", 3 } };
	struct tar_entry e = {
		.path = path,
		.mode = S_IFREG | 0644,
		.uid = 7,
		.gid = 3000000000U,
		.size = len,
		.mtime = 1700000000,
		.mtime_nsec = 5,
		.xattrs = x,
		.n_xattrs = 1,
	};
	uint8_t *p = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = byte(n, i);
	assert_int_equal(tar_write_entry(w, &e), 0);
	assert_int_equal(tar_write_data(w, p, len), 0);
	free(p);
}

static struct mem sample(void)
{
	struct tar_entry dir = { .path = "d", .mode = S_IFDIR | 0755 };
	struct tar_entry hole = { .path = "d/zeros", .mode = S_IFREG | 0600, .size = GAP };
	struct tar_entry white = { .path = "d/.wh.gone", .mode = S_IFREG };
	struct tar_entry opq = { .path = "d/.wh..wh..opq", .mode = S_IFREG };
	struct tar_entry link = { .path = "d/link", .link = "d/small", .mode = S_IFREG };
	struct tar_entry sym = { .path = "d/sym", .mode = S_IFLNK | 0777, .target = "../x" };
	struct tar_entry dev = { .path = "d/dev", .mode = S_IFBLK | 0600, .rdev_major = 8 };
	struct tar_write *w;
	struct mem m = { 0 };

	dev.rdev_minor = 300;
	assert_int_equal(tar_write_new(&w, sink, &m), 0);
	assert_int_equal(tar_write_entry(w, &dir), 0);
	put(w, "d/small", 1, 100);
	put(w, "d/same", 1, 100);
	put(w, "d/empty", 1, 0);
	put(w, "d/big", 2, BIG);
	put(w, "d/big2", 2, BIG);
	assert_int_equal(tar_write_entry(w, &hole), 0);
	assert_int_equal(tar_write_zeros(w, GAP), 0);
	assert_int_equal(tar_write_entry(w, &white), 0);
	assert_int_equal(tar_write_entry(w, &opq), 0);
	assert_int_equal(tar_write_entry(w, &link), 0);
	assert_int_equal(tar_write_entry(w, &sym), 0);
	assert_int_equal(tar_write_entry(w, &dev), 0);
	for (unsigned i = 0; i < 300; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "d/many/%u", i);
		put(w, name, i % 200, 1000 + i % 200);
	}
	assert_int_equal(tar_write_end(w), 0);
	tar_write_free(w);
	return m;
}

static struct mem gz_of(struct mem t, size_t members)
{
	struct mem m = { .size = 2 * t.len + 100000 };
	size_t part = t.len / members + 1;

	m.p = malloc(m.size);
	for (size_t off = 0; off < t.len; off += part) {
		z_stream z = { 0 };

		assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
		z.next_in = t.p + off;
		z.avail_in = (unsigned)(t.len - off < part ? t.len - off : part);
		z.next_out = m.p + m.len;
		z.avail_out = (unsigned)(m.size - m.len);
		assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
		m.len += z.total_out;
		assert_int_equal(deflateEnd(&z), Z_OK);
	}
	return m;
}

static struct mem zstd_of(struct mem t)
{
	struct mem m = { .size = ZSTD_compressBound(t.len) + 100 };
	size_t half = t.len / 2;

	/* two frames, and one to be skipped between */
	m.p = malloc(m.size);
	m.len = ZSTD_compress(m.p, m.size, t.p, half, 1);
	memcpy(m.p + m.len, "\x52\x2a\x4d\x18\3\0\0\0abc", 11);
	m.len += 11;
	m.len += ZSTD_compress(m.p + m.len, m.size - m.len, t.p + half, t.len - half, 1);
	return m;
}

static struct mem xz_of(struct mem t)
{
	struct mem m = { .size = t.len + 100000 };

	m.p = malloc(m.size);
	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, t.p, t.len, m.p, &m.len,
						 m.size),
			 LZMA_OK);
	return m;
}

static struct mem bzip2_of(struct mem t)
{
	struct mem m = { .size = t.len + 100000 };
	unsigned half = (unsigned)t.len / 2, n = (unsigned)m.size;

	m.p = malloc(m.size);
	assert_int_equal(BZ2_bzBuffToBuffCompress((char *)m.p, &n, (char *)t.p, half, 1, 0, 0),
			 BZ_OK);
	m.len = n;
	n = (unsigned)(m.size - m.len);
	assert_int_equal(BZ2_bzBuffToBuffCompress((char *)m.p + m.len, &n, (char *)t.p + half,
						  (unsigned)t.len - half, 1, 0, 0),
			 BZ_OK);
	m.len += n;
	return m;
}

static int dir;
static char dir_name[200];

static int pack_with(struct mem m, struct pack_options o, struct index_info *info, char **err)
{
	int fd = openat(dir, "in", O_RDWR | O_CREAT | O_TRUNC, 0600), r;
	struct source s = { .fd = fd, .off = 3, .size = m.len, .name = "in" };

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, m.p, m.len, 3), m.len);
	*err = NULL;
	r = pack_layer(&s, dir, "index", &o, info, err);
	assert_true((r < 0) == (*err != NULL));
	assert_int_equal(close(fd), 0);
	return r;
}

/* How many files there are besides the input; and removes them. */
static int clear(void)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *e;
	int n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.'))
			continue;
		n += strcmp(e->d_name, "in") != 0;
		assert_int_equal(unlinkat(dir, e->d_name, 0), 0);
	}
	(void)closedir(d);
	return n;
}

/* Reads a whole file by its extents, each digest checked. */
static void read_file(const struct index *ix, uint32_t ino, uint8_t *buf)
{
	const struct index_info *info = index_info(ix);
	char name[INDEX_BLOB_NAME_SIZE];
	struct index_inode i;
	struct sha256 *sha;
	int fd;

	index_blob_name(info->blob, name);
	fd = openat(dir, info->kind == INDEX_TAR ? "in" : name, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(sha256_new(&sha), 0);
	assert_int_equal(index_inode(ix, ino, &i), 0);
	memset(buf, 0, i.size);
	for (uint64_t off = 0; off < i.size;) {
		struct index_extent e;
		struct index_chunk c;
		struct index_frame f;
		uint8_t *raw, *stored, digest[32];

		assert_int_equal(index_extent(ix, &i, off, &e), 0);
		off = e.off + e.len;
		if (e.hole)
			continue;
		assert_int_equal(index_chunk(ix, e.chunk, &c), 0);
		assert_int_equal(index_frame(ix, c.frame, &f), 0);
		raw = malloc(f.raw);
		stored = malloc(f.stored);
		assert_int_equal(pread(fd, stored, f.stored,
				       (off_t)f.off + (info->kind == INDEX_TAR ? 3 : 0)),
				 f.stored);
		assert_int_equal(XXH3_64bits(stored, f.stored), f.xxh3);
		if (f.codec == INDEX_RAW)
			memcpy(raw, stored, f.raw);
		else
			assert_int_equal(ZSTD_decompress(raw, f.raw, stored, f.stored), f.raw);
		assert_true(c.has_sha256);
		assert_int_equal(sha256_of(sha, raw + c.skip, c.len, digest), 0);
		assert_memory_equal(digest, c.sha256, 32);
		memcpy(buf + e.off, raw + c.skip + e.chunk_off, e.len);
		free(raw);
		free(stored);
	}
	sha256_free(sha);
	assert_int_equal(close(fd), 0);
}

static uint32_t find(const struct index *ix, const char *path)
{
	uint32_t ino = INDEX_ROOT;

	while (*path) {
		size_t n = strcspn(path, "/");
		struct index_dirent de;

		assert_int_equal(index_lookup(ix, ino, path, n, &de), 0);
		ino = de.ino;
		path += n + (path[n] == '/');
	}
	return ino;
}

static void check_file(const struct index *ix, const char *path, unsigned n, size_t len)
{
	uint32_t ino = find(ix, path);
	uint8_t *buf = malloc(len + 1);
	struct index_xattr x;
	struct index_inode i;

	assert_int_equal(index_inode(ix, ino, &i), 0);
	assert_int_equal(i.mode, S_IFREG | 0644);
	assert_int_equal(i.uid, 7);
	assert_int_equal(i.gid, 3000000000U);
	assert_int_equal(i.mtime_nsec, 5);
	assert_int_equal(i.size, len);
	assert_int_equal(index_xattr(ix, i.xattrs, 0, &x), 1);
	assert_int_equal(x.value_len, 3);
	assert_memory_equal(x.value, "v\0w", 3);
	read_file(ix, ino, buf);
	for (size_t k = 0; k < len; k++)
		assert_int_equal(buf[k], byte(n, k));
	free(buf);
}

static void check_sample(void)
{
	static uint8_t zeros[GAP], is[GAP];
	struct index *ix;
	struct index_inode i;
	struct index_dirent de;
	char *err = NULL;

	assert_int_equal(index_open(dir, "index", &ix, &err), 0);
	assert_int_equal(index_check(ix, &err), 0);
	check_file(ix, "d/small", 1, 100);
	check_file(ix, "d/same", 1, 100);
	check_file(ix, "d/empty", 1, 0);
	check_file(ix, "d/big", 2, BIG);
	check_file(ix, "d/big2", 2, BIG);
	check_file(ix, "d/many/299", 99, 1099);
	assert_int_equal(find(ix, "d/link"), find(ix, "d/small"));
	assert_int_equal(index_inode(ix, find(ix, "d/small"), &i), 0);
	assert_int_equal(i.nlink, 2);
	assert_int_equal(index_inode(ix, find(ix, "d/zeros"), &i), 0);
	assert_int_equal(i.count, 0);
	read_file(ix, find(ix, "d/zeros"), is);
	assert_memory_equal(is, zeros, GAP);
	assert_int_equal(index_inode(ix, find(ix, "d/dev"), &i), 0);
	assert_int_equal(i.rdev_minor, 300);
	assert_int_equal(index_inode(ix, find(ix, "d"), &i), 0);
	assert_true(i.opaque);
	assert_int_equal(index_lookup(ix, find(ix, "d"), "gone", 4, &de), 0);
	assert_true(de.whiteout);
	index_close(ix);
}

static void test_formats(void **state)
{
	struct mem t = sample();
	struct mem in[] = { gz_of(t, 1), gz_of(t, 7), zstd_of(t), xz_of(t), bzip2_of(t) };
	struct index_info first, info;
	uint8_t diff_id[32];
	struct sha256 *sha;
	char *err;

	(void)state;
	assert_int_equal(sha256_new(&sha), 0);
	assert_int_equal(sha256_of(sha, t.p, t.len, diff_id), 0);
	assert_int_equal(pack_with(t, (struct pack_options){ .repack = true }, &first, &err), 0);
	assert_int_equal(first.kind, INDEX_PACKED);
	assert_memory_equal(first.diff_id, diff_id, 32);
	/* d/same and d/big2 and a third of d/many are stored once: few bytes are there */
	assert_true(first.blob_size < BIG);
	check_sample();
	assert_int_equal(clear(), 2);
	for (unsigned i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		struct pack_options o = { .threads = 1 + i, .diff_id = diff_id };
		uint8_t layer[32];

		assert_int_equal(sha256_of(sha, in[i].p, in[i].len, layer), 0);
		o.layer = layer;
		assert_int_equal(pack_with(in[i], o, &info, &err), 0);
		check_sample();
		assert_memory_equal(info.blob, first.blob, 32);
		assert_memory_equal(info.layer, layer, 32);
		assert_int_equal(info.chunks, first.chunks);
		assert_int_equal(clear(), 2);
		free(in[i].p);
	}
	assert_int_equal(pack_with(t, (struct pack_options){ .frame = 65536 }, &info, &err), 0);
	assert_int_equal(info.kind, INDEX_TAR);
	assert_memory_equal(info.blob, diff_id, 32);
	check_sample();
	assert_int_equal(clear(), 1);
	sha256_free(sha);
	free(t.p);
}

static int stop(void *arg, const struct pack_progress *p)
{
	(void)p;
	return *(int *)arg;
}

static void test_refused(void **state)
{
	struct mem t = sample(), g = gz_of(t, 3), bad;
	uint8_t wrong[32] = { 1 };
	int result = -ECANCELED;
	char *err;

	(void)state;
	assert_int_equal(pack_with(g, (struct pack_options){ .layer = wrong }, NULL, &err),
			 -EBADMSG);
	free(err);
	assert_int_equal(pack_with(g, (struct pack_options){ .diff_id = wrong }, NULL, &err),
			 -EBADMSG);
	free(err);
	assert_int_equal(pack_with(g, (struct pack_options){ .progress = stop, .arg = &result },
				   NULL, &err),
			 -ECANCELED);
	free(err);
	assert_int_equal(pack_with(g, (struct pack_options){ .frame = 17 }, NULL, &err), -EINVAL);
	free(err);
	assert_int_equal(clear(), 0);
	/* cut short, anywhere */
	for (size_t len = 1; len < g.len; len += 1 + g.len / 50) {
		bad = (struct mem){ .p = g.p, .len = len };
		assert_int_equal(pack_with(bad, (struct pack_options){ 0 }, NULL, &err), -EINVAL);
		free(err);
		assert_int_equal(clear(), 0);
	}
	/* a wrong byte, anywhere: the checksum of gzip at the latest */
	for (size_t at = 10; at < g.len; at += 1 + g.len / 50) {
		g.p[at] ^= 0x10;
		assert_true(pack_with(g, (struct pack_options){ 0 }, NULL, &err) < 0);
		free(err);
		g.p[at] ^= 0x10;
		assert_int_equal(clear(), 0);
	}
	bad = (struct mem){ .p = (uint8_t *)(uintptr_t) "this is no archive", .len = 18 };
	assert_int_equal(pack_with(bad, (struct pack_options){ 0 }, NULL, &err), -EINVAL);
	free(err);
	free(t.p);
	free(g.p);
}

/* Something after the last member is damage, unless it is zeros. */
static void test_tail(void **state)
{
	struct mem t = sample(), g = gz_of(t, 1);
	struct index_info info;
	char *err;

	(void)state;
	(void)sink(&g, "\0\0\0\0\0", 5);
	assert_int_equal(pack_with(g, (struct pack_options){ 0 }, &info, &err), 0);
	(void)sink(&g, "x", 1);
	(void)clear();
	assert_int_equal(pack_with(g, (struct pack_options){ 0 }, &info, &err), -EINVAL);
	assert_non_null(strstr(err, "gzip"));
	free(err);
	assert_int_equal(clear(), 0);
	free(t.p);
	free(g.p);
}

/* An empty layer, of no byte at all and of an end alone. */
static void test_empty(void **state)
{
	static uint8_t zeros[1024];
	struct mem none = { .p = zeros }, end = { .p = zeros, .len = 1024 };
	struct mem g = gz_of(end, 1);
	struct index_info info;
	char *err;

	(void)state;
	assert_int_equal(pack_with(none, (struct pack_options){ 0 }, &info, &err), 0);
	assert_int_equal(info.inodes, 1);
	assert_int_equal(pack_with(end, (struct pack_options){ 0 }, &info, &err), 0);
	assert_int_equal(pack_with(g, (struct pack_options){ 0 }, &info, &err), 0);
	assert_int_equal(info.kind, INDEX_PACKED);
	assert_int_equal(info.blob_size, 0);
	assert_int_equal(clear(), 2);
	free(g.p);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "../x", "a/../../x", "/a/../..", "d/small/x" };
	struct mem m = { 0 };
	struct index_info info;
	struct tar_write *w;
	char *err;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		m.len = 0;
		assert_int_equal(tar_write_new(&w, sink, &m), 0);
		put(w, "d/small", 1, 10);
		put(w, bad[i], 1, 10);
		assert_int_equal(tar_write_end(w), 0);
		tar_write_free(w);
		assert_true(pack_with(m, (struct pack_options){ 0 }, &info, &err) < 0);
		assert_non_null(strstr(err, bad[i]));
		free(err);
		assert_int_equal(clear(), 0);
	}
	free(m.p);
}

/* Bytes of names stay what they are: composed, decomposed, or no UTF-8 at all. */
static void test_bytes(void **state)
{
	static const char *const names[] = { "caf\xc3\xa9", "cafe\xcc\x81", "bad\xff\xfe" };
	struct mem m = { 0 };
	struct index_info info;
	struct tar_write *w;
	struct index *ix;
	char *err = NULL;

	(void)state;
	assert_int_equal(tar_write_new(&w, sink, &m), 0);
	for (unsigned i = 0; i < 3; i++)
		put(w, names[i], i, 10 + i);
	assert_int_equal(tar_write_end(w), 0);
	tar_write_free(w);
	assert_int_equal(pack_with(m, (struct pack_options){ 0 }, &info, &err), 0);
	assert_int_equal(index_open(dir, "index", &ix, &err), 0);
	for (unsigned i = 0; i < 3; i++)
		check_file(ix, names[i], i, 10 + i);
	index_close(ix);
	(void)clear();
	free(m.p);
}

/* Headers without end are refused before they cost memory. */
static void test_header_bomb(void **state)
{
	enum { RECORDS = 1 << 20,
	       TIMES = 24 };
	struct tar_write *w;
	struct index_info info;
	struct mem m = { 0 }, g;
	char *value = malloc(RECORDS), *err;
	size_t len;

	(void)state;
	memset(value, 'v', RECORDS);
	assert_int_equal(tar_write_new(&w, sink, &m), 0);
	/* pax headers follow each other, and no entry comes */
	struct tar_xattr x = { "user.x", 6, value, RECORDS - 100 };
	struct tar_entry e = { .path = "f", .mode = S_IFREG | 0644, .xattrs = &x, .n_xattrs = 1 };
	assert_int_equal(tar_write_entry(w, &e), 0);
	len = m.len - 512;
	m.len = len;
	for (int i = 1; i < TIMES; i++) {
		struct mem one = { 0 };

		(void)sink(&one, m.p, len);
		(void)sink(&m, one.p, len);
		free(one.p);
	}
	tar_write_free(w);
	g = gz_of(m, 1);
	assert_true(g.len < m.len / 100);
	assert_true(pack_with(g, (struct pack_options){ 0 }, &info, &err) < 0);
	free(err);
	assert_int_equal(clear(), 0);
	free(value);
	free(m.p);
	free(g.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_header_bomb),
	};
	int r;

	dir = unit_dir(dir_name, sizeof(dir_name));
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)close(dir);
	return r;
}
