/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -larchive */
/* What the tar writer wrote, libarchive reads as it was given; and the same twice. */
#include "unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

#include "fs/layer/tar_write.h"

struct mem {
	char *p;
	size_t len, size, fail_at;
};

static int sink(void *arg, const void *data, size_t size)
{
	struct mem *m = arg;

	if (m->fail_at && m->len + size > m->fail_at)
		return -ENOSPC;
	if (m->len + size > m->size) {
		m->size = 2 * (m->len + size);
		m->p = realloc(m->p, m->size);
		assert_non_null(m->p);
	}
	memcpy(m->p + m->len, data, size);
	m->len += size;
	return 0;
}

static char long_path[900], long_target[500];

static int write_all(struct mem *m)
{
	struct tar_xattr xattrs[] = {
		{ "user.z", 6, "a\0=\nb", 5 },
		{ "security.capability", 19, "\1\0\0\2", 4 },
	};
	struct tar_entry e[] = {
		{ .path = "d", .mode = S_IFDIR | 01777, .mtime = 1 },
		{
			.path = "d/f",
			.mode = S_IFREG | 04755,
			.uid = 4000000000U,
			.gid = 3000000,
			.size = 700,
			.mtime = 1700000000,
			.mtime_nsec = 123456700,
			.xattrs = xattrs,
			.n_xattrs = 2,
		},
		{ .path = "caf\xc3\xa9", .link = "d/f", .mode = S_IFREG },
		{ .path = long_path, .mode = S_IFLNK | 0777, .target = long_target, .mtime = -1 },
		{ .path = "null", .mode = S_IFCHR | 0666, .rdev_major = 1, .rdev_minor = 1048575 },
		{ .path = "fifo", .mode = S_IFIFO | 0600, .mtime = 1LL << 36 },
		{ .path = "bad\xff", .mode = S_IFREG | 0600, .size = 100000 },
	};
	struct tar_write *w;
	char body[700];
	int r;

	memset(body, 'b', sizeof(body));
	assert_int_equal(tar_write_new(&w, sink, m), 0);
	r = 0;
	for (size_t i = 0; i < sizeof(e) / sizeof(*e) && r == 0; i++) {
		r = tar_write_entry(w, &e[i]);
		if (r == 0 && i == 1) {
			assert_int_equal(tar_write_entry(w, &e[0]), -EINVAL); /* not complete */
			r = tar_write_data(w, body, 512);
			if (r == 0) {
				assert_int_equal(tar_write_data(w, body, 512), -EINVAL);
				r = tar_write_data(w, body, 188);
			}
		} else if (r == 0 && i == 6) {
			r = tar_write_zeros(w, e[i].size);
		}
	}
	if (r == 0) {
		assert_int_equal(tar_write_offset(w), m->len);
		r = tar_write_end(w);
	}
	tar_write_free(w);
	return r;
}

static struct archive_entry *next(struct archive *a)
{
	struct archive_entry *e;
	int r = archive_read_next_header(a, &e);

	/* the C locale has no such characters, the bytes are there all the same */
	assert_true(r == ARCHIVE_OK ||
		    (r == ARCHIVE_WARN && strstr(archive_error_string(a), "converted")));
	return e;
}

static void test_read_back(void **state)
{
	struct mem m = { 0 }, again = { 0 };
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	const char *name;
	const void *value;
	size_t len;
	char body[700];

	(void)state;
	memset(long_path, 'p', sizeof(long_path) - 1);
	for (size_t i = 100; i < sizeof(long_path); i += 200)
		long_path[i] = '/';
	memset(long_target, 't', sizeof(long_target) - 1);
	assert_int_equal(write_all(&m), 0);
	assert_int_equal(write_all(&again), 0);
	assert_int_equal(m.len, again.len);
	assert_memory_equal(m.p, again.p, m.len);
	assert_int_equal(m.len % 512, 0);

	assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
	assert_int_equal(archive_read_open_memory(a, m.p, m.len), ARCHIVE_OK);
	e = next(a);
	assert_string_equal(archive_entry_pathname(e), "d/");
	assert_int_equal(archive_entry_mode(e), S_IFDIR | 01777);
	e = next(a);
	assert_string_equal(archive_entry_pathname(e), "d/f");
	assert_int_equal(archive_entry_mode(e), S_IFREG | 04755);
	assert_int_equal(archive_entry_uid(e), 4000000000U);
	assert_int_equal(archive_entry_gid(e), 3000000);
	assert_int_equal(archive_entry_mtime(e), 1700000000);
	assert_int_equal(archive_entry_mtime_nsec(e), 123456700);
	assert_int_equal(archive_entry_xattr_reset(e), 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(archive_entry_xattr_next(e, &name, &value, &len), ARCHIVE_OK);
		if (!strcmp(name, "user.z")) {
			assert_int_equal(len, 5);
			assert_memory_equal(value, "a\0=\nb", 5);
		} else {
			assert_string_equal(name, "security.capability");
			assert_int_equal(len, 4);
		}
	}
	assert_int_equal(archive_read_data(a, body, sizeof(body)), 700);
	for (int i = 0; i < 700; i++)
		assert_int_equal(body[i], 'b');
	e = next(a);
	assert_string_equal(archive_entry_pathname(e), "caf\xc3\xa9");
	assert_string_equal(archive_entry_hardlink(e), "d/f");
	e = next(a);
	assert_string_equal(archive_entry_pathname(e), long_path);
	assert_string_equal(archive_entry_symlink(e), long_target);
	assert_int_equal(archive_entry_mtime(e), -1);
	e = next(a);
	assert_int_equal(archive_entry_mode(e), S_IFCHR | 0666);
	assert_int_equal(archive_entry_rdevminor(e), 1048575);
	e = next(a);
	assert_int_equal(archive_entry_mtime(e), 1LL << 36);
	e = next(a);
	assert_string_equal(archive_entry_pathname(e), "bad\xff");
	assert_int_equal(archive_entry_size(e), 100000);
	assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
	assert_int_equal(archive_read_free(a), ARCHIVE_OK);
	free(m.p);
	free(again.p);
}

static void test_refused(void **state)
{
	struct tar_xattr x = { "user.a=b", 8, "", 0 };
	struct tar_entry sock = { .path = "s", .mode = S_IFSOCK | 0600 };
	struct tar_entry equals = { .path = "x", .mode = S_IFREG, .xattrs = &x, .n_xattrs = 1 };
	struct tar_entry nameless = { .path = "", .mode = S_IFREG };
	struct mem m = { 0 };
	struct tar_write *w;

	(void)state;
	assert_int_equal(tar_write_new(&w, sink, &m), 0);
	assert_int_equal(tar_write_entry(w, &sock), -EINVAL);
	assert_int_equal(tar_write_entry(w, &equals), -EINVAL);
	assert_int_equal(tar_write_entry(w, &nameless), -EINVAL);
	assert_int_equal(m.len, 0);
	tar_write_free(w);
	tar_write_free(NULL);
	free(m.p);
}

static void test_full(void **state)
{
	struct mem m = { 0 };
	size_t len;

	(void)state;
	assert_int_equal(write_all(&m), 0);
	len = m.len;
	for (size_t at = 1; at < len; at += 1024) {
		m.len = 0;
		m.fail_at = at;
		assert_int_equal(write_all(&m), -ENOSPC);
	}
	free(m.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
