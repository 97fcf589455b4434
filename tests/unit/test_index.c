/* SPDX-License-Identifier: Apache-2.0 */
/* An index: what is put in comes out, what is damaged or hostile is refused. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <sys/sysmacros.h>

#include "fs/layer/index_build.h"
#include "fs/layer/source.h"

static char dir_name[256];
static int dir;

static const struct index_info plain = { .kind = INDEX_PACKED, .blob_size = 1 << 20 };

static struct index_build *begin(void)
{
	struct index_build *b;

	assert_int_equal(index_build_new(&b), 0);
	return b;
}

static int add(struct index_build *b, const char *path, mode_t mode, uint64_t size,
	       const char *target, uint32_t *ret_id)
{
	struct index_entry e = { .mode = mode,
				 .uid = 7,
				 .gid = 8,
				 .mtime = -5,
				 .mtime_nsec = 123456789,
				 .size = size,
				 .rdev_major = S_ISBLK(mode) ? 0xfff : 0,
				 .rdev_minor = S_ISBLK(mode) ? 0xfffff : 0,
				 .target = target };
	char *err = NULL;
	uint32_t id;
	int r = index_build_add(b, path, &e, ret_id ? ret_id : &id, &err);

	/* whatever an archive is refused for is said */
	assert_true(r >= 0 || err);
	free(err);
	return r;
}

static void must_add(struct index_build *b, const char *path, mode_t mode)
{
	assert_int_equal(add(b, path, mode, 0, S_ISLNK(mode) ? "to" : NULL, NULL), 0);
}

static int try_link(struct index_build *b, const char *path, const char *target)
{
	char *err = NULL;
	int r = index_build_link(b, path, target, &err);

	assert_true(r >= 0 || err);
	free(err);
	return r;
}

/* Writes, and opens again. */
static struct index *finish(struct index_build *b)
{
	struct index *ix;
	char *err = NULL;

	assert_int_equal(index_build_write(b, &plain, dir, "x.index", &err), 0);
	assert_null(err);
	index_build_free(b);
	assert_int_equal(index_open(dir, "x.index", &ix, &err), 0);
	assert_null(err);
	if (index_check(ix, &err) != 0)
		fail_msg("%s", err);
	return ix;
}

static int lookup(const struct index *ix, const char *path, struct index_inode *ret,
		  struct index_dirent *ret_d)
{
	struct index_dirent d = { .ino = INDEX_ROOT };
	int r = 0;

	while (r == 0 && *path) {
		size_t len = strcspn(path, "/");

		r = index_lookup(ix, d.ino, path, len, &d);
		path += len + (path[len] == '/');
	}
	if (r == 0 && ret_d)
		*ret_d = d;
	return r < 0 || d.whiteout ? r : index_inode(ix, d.ino, ret);
}

static void test_round_trip(void **state)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFBLK, S_IFIFO, S_IFSOCK };
	struct index_build *b = begin();
	struct index_inode n;
	struct index *ix;
	char name[300];
	const char *t;
	unsigned i;

	(void)state;
	memset(name, 'n', 255);
	name[255] = 0;
	for (i = 0; i < 6; i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "./a/b/%u", i);
		assert_int_equal(add(b, path, types[i] | 04751, 0, "target/x", NULL), 0);
	}
	must_add(b, name, S_IFREG | 0600);
	must_add(b, "a", S_IFDIR | 01777);
	ix = finish(b);
	for (i = 0; i < 6; i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "a/b/%u", i);
		assert_int_equal(lookup(ix, path, &n, NULL), 0);
		assert_int_equal(n.mode, types[i] | 04751);
		assert_int_equal(n.uid, 7);
		assert_int_equal(n.gid, 8);
		assert_int_equal(n.mtime, -5);
		assert_int_equal(n.mtime_nsec, 123456789);
		assert_int_equal(n.nlink, S_ISDIR(types[i]) ? 2 : 1);
		if (S_ISLNK(types[i])) {
			assert_int_equal(index_readlink(ix, &n, &t), 8);
			assert_memory_equal(t, "target/x", 8);
		}
		if (S_ISBLK(types[i])) {
			assert_int_equal(n.rdev_major, 0xfff);
			assert_int_equal(n.rdev_minor, 0xfffff);
		}
	}
	assert_int_equal(lookup(ix, name, &n, NULL), 0);
	assert_int_equal(lookup(ix, "a", &n, NULL), 0);
	assert_int_equal(n.mode, S_IFDIR | 01777);
	assert_int_equal(n.nlink, 3);
	/* made where nobody described it */
	assert_int_equal(lookup(ix, "a/b", &n, NULL), 0);
	assert_int_equal(n.mode, S_IFDIR | 0755);
	assert_int_equal(n.uid, 0);
	assert_int_equal(lookup(ix, "a/c", &n, NULL), -ENOENT);
	assert_int_equal(lookup(ix, "a/b/0/c", &n, NULL), -ENOTDIR);
	index_close(ix);
}

static void test_many(void **state)
{
	struct index_build *b = begin();
	struct index_dirent d;
	struct index_inode n;
	struct index *ix;
	char path[64];
	uint32_t i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		(void)snprintf(path, sizeof(path), "%s/file-%u", i % 2 ? "odd" : "even", i);
		must_add(b, path, S_IFREG | 0644);
	}
	ix = finish(b);
	assert_int_equal(index_info(ix)->inodes, 20003);
	for (i = 0; i < 20000; i++) {
		(void)snprintf(path, sizeof(path), "%s/file-%u", i % 2 ? "odd" : "even", i);
		assert_int_equal(lookup(ix, path, &n, NULL), 0);
	}
	assert_int_equal(lookup(ix, "even", &n, NULL), 0);
	assert_int_equal(n.count, 10000);
	for (i = 0; i < n.count; i++)
		assert_int_equal(index_dirent(ix, &n, i, &d), 0);
	assert_int_equal(index_dirent(ix, &n, n.count, &d), -EIO);
	index_close(ix);
}

static void test_links(void **state)
{
	struct index_build *b = begin();
	struct index_inode n, m;
	struct index *ix;
	uint32_t id;

	(void)state;
	must_add(b, "d/file", S_IFREG | 0644);
	assert_int_equal(try_link(b, "second", "d/file"), 0);
	/* the name is replaced, its link keeps the file */
	assert_int_equal(add(b, "d/file", S_IFREG | 0600, 0, NULL, &id), 0);
	/* forwards, in a chain, to what comes later */
	assert_int_equal(try_link(b, "c1", "./c2"), 0);
	assert_int_equal(try_link(b, "c2", "/c3"), 0);
	assert_int_equal(try_link(b, "c3", "end"), 0);
	must_add(b, "end", S_IFLNK | 0777);
	/* to itself, once it is there */
	assert_int_equal(try_link(b, "end", "end"), 0);
	assert_int_equal(try_link(b, "dir", "d"), -EPERM);
	ix = finish(b);
	assert_int_equal(lookup(ix, "second", &n, NULL), 0);
	assert_int_equal(n.mode, S_IFREG | 0644);
	assert_int_equal(n.nlink, 1);
	assert_int_equal(lookup(ix, "c1", &n, NULL), 0);
	assert_int_equal(lookup(ix, "end", &m, NULL), 0);
	assert_int_equal(n.ino, m.ino);
	assert_int_equal(n.nlink, 4);
	index_close(ix);
}

static void expect_unwritable(struct index_build *b)
{
	char *err = NULL;

	assert_true(index_build_write(b, &plain, dir, "never.index", &err) < 0);
	assert_non_null(err);
	free(err);
	index_build_free(b);
	assert_int_equal(faccessat(dir, "never.index", F_OK, 0), -1);
}

static void test_bad_links(void **state)
{
	struct index_build *b = begin();
	char from[32], to[32];
	unsigned i;

	(void)state;
	assert_int_equal(try_link(b, "a", "b"), 0);
	assert_int_equal(try_link(b, "b", "a"), 0);
	expect_unwritable(b);
	b = begin();
	assert_int_equal(try_link(b, "a", "nothing"), 0);
	expect_unwritable(b);
	/* the chain that makes a slow program slow */
	b = begin();
	for (i = 0; i < 100000; i++) {
		(void)snprintf(from, sizeof(from), "%06u", i);
		(void)snprintf(to, sizeof(to), "%06u", i + 1);
		assert_int_equal(try_link(b, from, to), 0);
	}
	expect_unwritable(b);
}

static void test_whiteouts(void **state)
{
	struct index_build *b = begin();
	struct index_dirent d;
	struct index_inode n;
	struct index *ix;

	(void)state;
	must_add(b, "gone/.wh.file", S_IFREG);
	must_add(b, "opaque/.wh..wh..opq", S_IFREG);
	must_add(b, "dev", S_IFCHR | 0600);
	must_add(b, ".wh.again", S_IFREG);
	must_add(b, "again/x", S_IFREG | 0644);
	must_add(b, "file", S_IFREG | 0644);
	must_add(b, ".wh.file", S_IFREG);
	must_add(b, ".wh..wh.plnk/1234.5", S_IFREG | 0644);
	must_add(b, ".wh..wh.aufs", S_IFREG | 0444);
	assert_int_equal(try_link(b, "gone/.wh.linked", ".wh..wh.aufs"), 0);
	assert_int_equal(add(b, "x/.wh.", S_IFREG, 0, NULL, NULL), -EINVAL);
	assert_int_equal(add(b, ".wh...", S_IFREG, 0, NULL, NULL), -EINVAL);
	ix = finish(b);
	assert_int_equal(lookup(ix, "gone/file", &n, &d), 0);
	assert_true(d.whiteout);
	assert_int_equal(lookup(ix, "gone/linked", &n, &d), 0);
	assert_true(d.whiteout);
	assert_int_equal(lookup(ix, "dev", &n, &d), 0);
	assert_true(d.whiteout);
	assert_int_equal(lookup(ix, "opaque", &n, &d), 0);
	assert_true(n.opaque && n.count == 0);
	assert_int_equal(lookup(ix, "again", &n, &d), 0);
	assert_true(n.opaque && !d.whiteout);
	assert_int_equal(lookup(ix, "file", &n, &d), 0);
	assert_true(!d.whiteout);
	assert_int_equal(lookup(ix, ".wh..wh.plnk", &n, &d), -ENOENT);
	assert_int_equal(lookup(ix, ".wh..wh.aufs", &n, &d), -ENOENT);
	index_close(ix);
}

static void test_bad_paths(void **state)
{
	struct index_build *b = begin();
	struct index_inode n;
	char name[300];
	struct index *ix;

	(void)state;
	memset(name, 'n', 256);
	name[256] = 0;
	assert_int_equal(add(b, "../x", S_IFREG, 0, NULL, NULL), -EINVAL);
	assert_int_equal(add(b, "a/../../x", S_IFREG, 0, NULL, NULL), -EINVAL);
	assert_int_equal(add(b, "a/..", S_IFREG, 0, NULL, NULL), -EINVAL);
	assert_int_equal(add(b, name, S_IFREG, 0, NULL, NULL), -ENAMETOOLONG);
	must_add(b, "link", S_IFLNK | 0777);
	assert_int_equal(add(b, "link/x", S_IFREG, 0, NULL, NULL), -ENOTDIR);
	must_add(b, "full/x", S_IFREG | 0644);
	assert_int_equal(add(b, "full", S_IFREG, 0, NULL, NULL), -EISDIR);
	assert_int_equal(try_link(b, "full", "link"), -EISDIR);
	assert_int_equal(add(b, "", S_IFREG, 0, NULL, NULL), -EISDIR);
	assert_int_equal(add(b, "l", S_IFLNK, 0, "", NULL), -EINVAL);
	assert_int_equal(add(b, "t", 0, 0, NULL, NULL), -EINVAL);
	assert_int_equal(add(b, "big", S_IFREG, UINT64_MAX, NULL, NULL), -EINVAL);
	/* absolute is relative to the root; the same path again is the same name */
	must_add(b, "//abs/./x", S_IFREG | 0644);
	must_add(b, "abs/x", S_IFLNK | 0777);
	must_add(b, "abs/x/", S_IFREG | 0640);
	ix = finish(b);
	assert_int_equal(lookup(ix, "abs/x", &n, NULL), 0);
	assert_int_equal(n.mode, S_IFREG | 0640);
	assert_int_equal(lookup(ix, "a", &n, NULL), 0);
	index_close(ix);
}

static void test_content(void **state)
{
	struct index_build *b = begin();
	struct index_frame f = { .off = 100, .stored = 50, .codec = INDEX_ZSTD };
	struct index_chunk c = { .skip = 10, .len = 1000, .has_sha256 = true, .sha256 = { 1, 2 } };
	struct index_extent e;
	uint32_t file, same, frame, chunk;
	struct index_inode n, m;
	struct index *ix;

	(void)state;
	assert_int_equal(index_build_frame(b, &f, &frame), 0);
	c.frame = frame;
	assert_int_equal(index_build_chunk(b, &c, &chunk), 0);
	assert_int_equal(add(b, "file", S_IFREG | 0644, 5000, NULL, &file), 0);
	e = (struct index_extent){ .off = 1000, .len = 500, .chunk = chunk, .chunk_off = 100 };
	assert_int_equal(index_build_extent(b, file, &e), 0);
	/* what follows in the same chunk is one with it */
	e = (struct index_extent){ .off = 1500, .len = 400, .chunk = chunk, .chunk_off = 600 };
	assert_int_equal(index_build_extent(b, file, &e), 0);
	e = (struct index_extent){ .off = 1800, .len = 1, .chunk = chunk };
	assert_int_equal(index_build_extent(b, file, &e), -EINVAL);
	e = (struct index_extent){ .off = 4999, .len = 2, .chunk = chunk };
	assert_int_equal(index_build_extent(b, file, &e), -EINVAL);
	e = (struct index_extent){ .off = 3000, .len = 1001, .chunk = chunk };
	assert_int_equal(index_build_extent(b, file, &e), -EINVAL);
	e = (struct index_extent){ .off = 3000, .len = 2000, .chunk = chunk };
	assert_int_equal(index_build_extent(b, file, &e), -EINVAL);
	e = (struct index_extent){ .off = 4000, .len = 1000, .chunk = chunk };
	assert_int_equal(index_build_extent(b, file, &e), 0);
	assert_int_equal(add(b, "same", S_IFREG | 0600, 5000, NULL, &same), 0);
	assert_int_equal(index_build_share(b, same, file), 0);
	assert_int_equal(add(b, "hole", S_IFREG | 0600, 1ULL << 50, NULL, NULL), 0);
	ix = finish(b);
	assert_int_equal(index_info(ix)->extents, 2);
	assert_int_equal(index_info(ix)->content, (1ULL << 50) + 10000);
	assert_int_equal(lookup(ix, "file", &n, NULL), 0);
	assert_int_equal(lookup(ix, "same", &m, NULL), 0);
	assert_int_equal(m.first, n.first);
	assert_int_equal(index_extent(ix, &n, 0, &e), 0);
	assert_true(e.hole && e.off == 0 && e.len == 1000);
	assert_int_equal(index_extent(ix, &n, 1899, &e), 0);
	assert_true(!e.hole && e.off == 1000 && e.len == 900 && e.chunk_off == 100);
	assert_int_equal(index_extent(ix, &n, 1900, &e), 0);
	assert_true(e.hole && e.off == 1900 && e.len == 2100);
	assert_int_equal(index_extent(ix, &n, 4999, &e), 0);
	assert_true(!e.hole && e.off == 4000 && e.len == 1000);
	assert_int_equal(index_extent(ix, &n, 5000, &e), -EINVAL);
	assert_int_equal(lookup(ix, "hole", &n, NULL), 0);
	assert_int_equal(index_extent(ix, &n, 77, &e), 0);
	assert_true(e.hole && e.off == 0 && e.len == 1ULL << 50);
	assert_int_equal(index_chunk(ix, chunk, &c), 0);
	assert_true(c.skip == 10 && c.len == 1000 && c.has_sha256 && c.sha256[1] == 2);
	assert_int_equal(index_frame(ix, frame, &f), 0);
	assert_true(f.off == 100 && f.stored == 50 && f.raw == 1010 && f.codec == INDEX_ZSTD);
	assert_int_equal(index_chunk(ix, chunk + 1, &c), -EIO);
	assert_int_equal(index_frame(ix, frame + 1, &f), -EIO);
	index_close(ix);
	/* outside of the blob */
	b = begin();
	f.off = plain.blob_size - 49;
	assert_int_equal(index_build_frame(b, &f, &frame), 0);
	expect_unwritable(b);
}

static void test_xattrs(void **state)
{
	struct index_build *b = begin();
	struct index_inode n, m;
	struct index_xattr x;
	struct index *ix;
	uint32_t id[2];
	char *err = NULL;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(add(b, i ? "b" : "a", S_IFREG | 0644, 0, NULL, &id[i]), 0);
		/* in another order, and one again: the same set */
		assert_int_equal(
			index_build_xattr(b, id[i], i ? "user.y" : "user.x", "old", 3, NULL), 0);
		assert_int_equal(index_build_xattr(b, id[i], "user.x", "\0\1\2", 3, NULL), 0);
		assert_int_equal(index_build_xattr(b, id[i], "user.y", "", 0, NULL), 0);
		assert_int_equal(
			index_build_xattr(b, id[i], "trusted.overlay.redirect", "/", 1, NULL), 0);
	}
	assert_int_equal(index_build_xattr(b, id[0], "", "", 0, &err), -EINVAL);
	assert_non_null(err);
	free(err);
	ix = finish(b);
	assert_int_equal(lookup(ix, "a", &n, NULL), 0);
	assert_int_equal(lookup(ix, "b", &m, NULL), 0);
	assert_true(n.has_xattrs && n.xattrs == m.xattrs);
	assert_int_equal(index_xattr(ix, n.xattrs, 0, &x), 1);
	assert_true(x.name_len == 6 && !memcmp(x.name, "user.x", 6));
	assert_true(x.value_len == 3 && !memcmp(x.value, "\0\1\2", 3));
	assert_int_equal(index_xattr(ix, n.xattrs, 1, &x), 1);
	assert_true(x.name_len == 6 && x.value_len == 0);
	assert_int_equal(index_xattr(ix, n.xattrs, 2, &x), 0);
	index_close(ix);
}

/* A small index with something of everything. */
static void write_sample(void)
{
	struct index_frame f = { .off = 0, .stored = 50, .codec = INDEX_GZIP };
	struct index_chunk c = { .len = 300 };
	struct index_extent e = { .len = 300 };
	struct index_build *b = begin();
	uint32_t id;

	assert_int_equal(add(b, "dir/file", S_IFREG | 0644, 300, NULL, &id), 0);
	assert_int_equal(index_build_frame(b, &f, &c.frame), 0);
	assert_int_equal(index_build_chunk(b, &c, &e.chunk), 0);
	assert_int_equal(index_build_extent(b, id, &e), 0);
	assert_int_equal(index_build_xattr(b, id, "user.x", "value", 5, NULL), 0);
	assert_int_equal(try_link(b, "link", "dir/file"), 0);
	must_add(b, "symlink", S_IFLNK | 0777);
	must_add(b, ".wh.gone", S_IFREG);
	index_close(finish(b));
}

static size_t read_all(const char *name, uint8_t *buf, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, size);

	assert_true(n > 0 && (size_t)n < size);
	assert_int_equal(close(fd), 0);
	return (size_t)n;
}

static void write_all(const char *name, const uint8_t *buf, size_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_int_equal(write(fd, buf, size), size);
	assert_int_equal(close(fd), 0);
}

/* Every single bit that is wrong is found; nothing is cut off unnoticed. */
static void test_damage(void **state)
{
	static uint8_t buf[65536];
	struct index *ix;
	char *err;
	size_t n, i;
	int r;

	(void)state;
	write_sample();
	n = read_all("x.index", buf, sizeof(buf));
	for (i = 0; i < n; i++) {
		buf[i] ^= 1 << i % 8;
		write_all("bad.index", buf, n);
		r = index_open(dir, "bad.index", &ix, &err);
		if (r == 0) {
			r = index_check(ix, &err);
			index_close(ix);
		}
		if (r == 0)
			fail_msg("byte %zu of %zu may be anything", i, n);
		assert_non_null(err);
		free(err);
		buf[i] ^= 1 << i % 8;
	}
	for (i = 0; i < n; i += 7) {
		write_all("bad.index", buf, i);
		assert_true(index_open(dir, "bad.index", &ix, &err) < 0);
		free(err);
	}
	buf[8] = 2;
	write_all("bad.index", buf, n);
	assert_int_equal(index_open(dir, "bad.index", &ix, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err, "version"));
	free(err);
}

/* A file that is cut short while it is in use ends nobody. */
static void test_cut_while_open(void **state)
{
	struct index_inode n;
	struct index *ix;
	char *err = NULL;
	int fd;

	(void)state;
	write_sample();
	assert_int_equal(index_open(dir, "x.index", &ix, NULL), 0);
	assert_int_equal(lookup(ix, "dir/file", &n, NULL), 0);
	fd = openat(dir, "x.index", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(lookup(ix, "dir/file", &n, NULL), -EIO);
	assert_int_equal(index_check(ix, &err), -EIO);
	assert_non_null(err);
	free(err);
	index_close(ix);
}

static void test_blob_beside(void **state)
{
	const uint8_t sum[32] = { 0xab, 1 };
	char name[INDEX_BLOB_NAME_SIZE], path[400], *err;
	struct source s;
	uint8_t buf[8];

	(void)state;
	index_blob_name(sum, name);
	assert_int_equal(strncmp(name, "sha256-ab010000", 15), 0);
	assert_int_equal(source_open_blob(dir, sum, 5, &s, &err), -ENOENT);
	assert_non_null(strstr(err, name));
	free(err);
	unit_write(dir, "archive", "0123456789");
	(void)snprintf(path, sizeof(path), "%s/archive", dir_name);
	assert_int_equal(source_write_ref(dir, sum, path, 3, 5), 0);
	assert_int_equal(source_open_blob(dir, sum, 5, &s, &err), 0);
	assert_int_equal(source_pread(&s, buf, sizeof(buf), 1), 4);
	assert_memory_equal(buf, "4567", 4);
	assert_int_equal(close(s.fd), 0);
	/* a window that is not there */
	assert_int_equal(source_write_ref(dir, sum, path, 6, 5), 0);
	assert_int_equal(source_open_blob(dir, sum, 5, &s, &err), -EIO);
	assert_non_null(err);
	free(err);
	/* the file itself comes first */
	unit_write(dir, name, "abcde");
	assert_int_equal(source_open_blob(dir, sum, 5, &s, &err), 0);
	assert_int_equal(source_pread(&s, buf, 5, 0), 5);
	assert_memory_equal(buf, "abcde", 5);
	assert_int_equal(close(s.fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_bad_links),
		cmocka_unit_test(test_whiteouts),
		cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_cut_while_open),
		cmocka_unit_test(test_blob_beside),
	};

	dir = unit_dir(dir_name, sizeof(dir_name));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
