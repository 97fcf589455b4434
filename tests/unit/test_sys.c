/* SPDX-License-Identifier: Apache-2.0 */
/* The system call boundary: -errno, close-on-exec, descriptors of any kind. */
#include "unit.h"

#include <errno.h>
#include <sys/xattr.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

static int dir = -1;
static char dir_name[256];

static int setup(void **state)
{
	(void)state;
	dir = unit_dir(dir_name, sizeof(dir_name));
	unit_write(dir, "file", "text");
	assert_int_equal(symlinkat("file", dir, "link"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sys_close(dir);
	return 0;
}

/* errno becomes a negative result, and stays out of it otherwise. */
static void test_errors(void **state)
{
	struct statx st;

	(void)state;
	assert_int_equal(sys_openat(dir, "none", O_RDONLY, 0), -ENOENT);
	assert_int_equal(sys_openat(dir, "file/x", O_RDONLY, 0), -ENOTDIR);
	assert_int_equal(sys_mkdirat(dir, "file", 0755), -EEXIST);
	assert_int_equal(sys_statx(dir, "none", AT_SYMLINK_NOFOLLOW, &st), -ENOENT);
	assert_int_equal(sys_unlinkat(dir, "none", 0), -ENOENT);
	assert_int_equal(sys_renameat2(dir, "none", dir, "x", 0), -ENOENT);
	assert_int_equal(sys_pread(-1, &st, 1, 0), -EBADF);
	sys_close(-1);
}

/* No name leads out of a directory where the caller forbids it. */
static void test_openat2(void **state)
{
	uint64_t beneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

	(void)state;
	assert_int_equal(sys_openat2(dir, "link", O_PATH, 0, beneath), -ELOOP);
	assert_int_equal(sys_openat2(dir, "../x", O_PATH, 0, beneath), -EXDEV);
	assert_int_equal(sys_openat2(dir, "/etc", O_PATH, 0, beneath), -EXDEV);
	sys_close(sys_openat2(dir, "file", O_PATH, 0, beneath));
}

static void test_cloexec(void **state)
{
	_cleanup_fd_ int fd = sys_openat(dir, "file", O_RDONLY, 0);
	_cleanup_fd_ int again = sys_reopen(fd, O_RDONLY);
	_cleanup_fd_ int twin = sys_dup(fd);
	_cleanup_fd_ int other = sys_openat2(dir, "file", O_RDONLY, 0, RESOLVE_BENEATH);

	(void)state;
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(again, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(twin, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(other, F_GETFD), FD_CLOEXEC);
}

/* Attributes by a descriptor that was opened with O_PATH. */
static void test_path_descriptors(void **state)
{
	const struct timespec ts[2] = { { .tv_sec = 5, .tv_nsec = 7 },
					{ .tv_sec = 6, .tv_nsec = 8 } };
	_cleanup_fd_ int fd = sys_openat(dir, "file", O_PATH | O_NOFOLLOW, 0);
	_cleanup_fd_ int reopened = -1;
	struct statx st;
	char buf[16];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sys_fchmod(fd, 0640), 0);
	assert_int_equal(sys_fchown(fd, getuid(), getgid()), 0);
	assert_int_equal(sys_futimens(fd, ts), 0);
	assert_int_equal(sys_fstatx(fd, &st), 0);
	assert_int_equal(st.stx_mode & 07777, 0640);
	assert_int_equal(st.stx_atime.tv_nsec, 7);
	assert_int_equal(st.stx_mtime.tv_sec, 6);
	reopened = sys_reopen(fd, O_RDONLY);
	assert_true(reopened >= 0);
	assert_int_equal(sys_pread(reopened, buf, sizeof(buf), 1), 3);
	assert_memory_equal(buf, "ext", 3);
}

static void test_xattrs(void **state)
{
	_cleanup_fd_ int fd = sys_openat(dir, "file", O_PATH | O_NOFOLLOW, 0);
	char buf[256];
	int err;

	(void)state;
	err = sys_fsetxattr(fd, "user.a", "value", 5, XATTR_CREATE);
	if (err == -EOPNOTSUPP)
		skip();
	assert_int_equal(err, 0);
	assert_int_equal(sys_fsetxattr(fd, "user.a", "value", 5, XATTR_CREATE), -EEXIST);
	assert_int_equal(sys_fgetxattr(fd, "user.a", buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "value", 5);
	assert_int_equal(sys_fgetxattr(fd, "user.a", buf, 2), -ERANGE);
	assert_int_equal(sys_fgetxattr(fd, "user.b", buf, sizeof(buf)), -ENODATA);
	assert_int_equal(sys_getxattr_at(dir, "file", "user.a", buf, sizeof(buf)), 5);
	/* of the link itself, which can have none, not of what it names */
	assert_int_equal(sys_getxattr_at(dir, "link", "user.a", buf, sizeof(buf)), -ENODATA);
	assert_true(sys_flistxattr(fd, buf, sizeof(buf)) >= 7);
	assert_int_equal(sys_fremovexattr(fd, "user.a"), 0);
	assert_int_equal(sys_fgetxattr(fd, "user.a", buf, sizeof(buf)), -ENODATA);
}

static void test_links(void **state)
{
	_cleanup_fd_ int fd = sys_openat(dir, ".", O_TMPFILE | O_RDWR, 0600);
	struct statx st;
	char buf[16];

	(void)state;
	assert_int_equal(sys_readlinkat(dir, "link", buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "file", 4);
	assert_int_equal(sys_linkat(dir, "link", dir, "second"), 0);
	assert_int_equal(sys_statx(dir, "second", AT_SYMLINK_NOFOLLOW, &st), 0);
	assert_true(S_ISLNK(st.stx_mode));
	if (fd == -EOPNOTSUPP)
		skip();
	assert_int_equal(sys_pwrite(fd, "new", 3, 0), 3);
	assert_int_equal(sys_link_fd(fd, dir, "named"), 0);
	unit_expect(dir, "named", "new");
	assert_int_equal(sys_link_fd(fd, dir, "named"), -EEXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_openat2),
		cmocka_unit_test(test_cloexec),
		cmocka_unit_test(test_path_descriptors),
		cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_links),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
