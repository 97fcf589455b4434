/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options against real directories, links and (as root) mounts.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "options.h"

static struct options opts;
static char *error;
static char base[4096]; /* our working directory, absolute */

static int parse(const char *name, const char *list, const char *mountpoint)
{
	char *argv[5];
	int r;

	argv[0] = strdup(name);
	argv[1] = strdup("-o");
	argv[2] = strdup(list);
	argv[3] = strdup(mountpoint);
	options_free(&opts);
	free(error);
	error = NULL;
	r = options_parse(4, argv, &opts, &error);
	for (int i = 0; i < 4; i++)
		free(argv[i]);
	return r;
}

static void good(const char *list, const char *mountpoint)
{
	int r;

	assert_int_equal(parse("plyfs", list, mountpoint), 0);
	r = options_check(&opts, &error);
	if (r != 0)
		fail_msg("%s: %d: %s", list, r, error);
	assert_null(error);
}

static void bad(int err, const char *want, const char *list, const char *mountpoint)
{
	int r;

	assert_int_equal(parse("plyfs", list, mountpoint), 0);
	r = options_check(&opts, &error);
	if (r != err || strcmp(error, want) != 0)
		fail_msg("%s: %d: %s, not %d: %s", list, r, error, err, want);
}

#define UW "upperdir=u,workdir=w,lowerdir="

static void test_good(void **state)
{
	char want[5000];

	(void)state;
	good(UW "l1:l2", "m");
	snprintf(want, sizeof(want), "%s/m", base);
	assert_string_equal(opts.mountpoint, want);
	assert_false(opts.mountpoint_in_lower || opts.mountpoint_is_upper);
	assert_int_equal(opts.n_warning, 0);
	good("stats=s,lowerdir=l1", "link_m");
	assert_string_equal(opts.mountpoint, want);
	snprintf(want, sizeof(want), "%s/s", base);
	assert_string_equal(opts.stats, want);
	good("stats=/s,lowerdir=l1", "m");
	assert_string_equal(opts.stats, "/s");
	/* Only read, so it may be there twice. */
	good("lowerdir=l1:l1:l1/sub:.", "m");
	/* It may be an index: that is seen when it is opened. */
	good("lowerdir=l1:file", "m");
}

static void test_missing(void **state)
{
	(void)state;
	bad(-ENOENT, "lowerdir 'none': No such file or directory", "lowerdir=l1:none", "m");
	bad(-ENOTDIR, "lowerdir '/dev/null' is not a directory or an index", "lowerdir=/dev/null",
	    "m");
	bad(-ENOENT, "upperdir 'none': No such file or directory",
	    "lowerdir=l1,upperdir=none,workdir=w", "m");
	bad(-ENOTDIR, "upperdir 'file' is not a directory", "lowerdir=l1,upperdir=file,workdir=w",
	    "m");
	bad(-ENOENT, "workdir 'none': No such file or directory",
	    "lowerdir=l1,upperdir=u,workdir=none", "m");
	bad(-ENOENT, "mount point 'none': No such file or directory", "lowerdir=l1", "none");
	bad(-ENOTDIR, "mount point 'file' is not a directory", "lowerdir=l1", "file");
	bad(-ENOTDIR, "lowerdir 'file/x': Not a directory", "lowerdir=file/x", "m");
	bad(-ELOOP, "lowerdir 'loop': Too many levels of symbolic links", "lowerdir=loop", "m");
	/* Not used, so not looked at. */
	good("ro,lowerdir=l1,upperdir=u,workdir=none", "m");
	bad(-EBADF, "mount point '/dev/fd/9999999': Bad file descriptor", "lowerdir=l1",
	    "/dev/fd/9999999");
	good("lowerdir=l1", "/dev/fd/2");
	assert_string_equal(opts.mountpoint, "/dev/fd/2");
}

static void test_nested(void **state)
{
	(void)state;
	bad(-EINVAL, "workdir 'u' is inside upperdir 'u' (the same directory)",
	    "lowerdir=l1,upperdir=u,workdir=u", "m");
	bad(-EINVAL, "workdir 'u/sub' is inside upperdir 'u'",
	    "lowerdir=l1,upperdir=u,workdir=u/sub", "m");
	bad(-EINVAL, "upperdir 'w/sub' is inside workdir 'w'",
	    "lowerdir=l1,upperdir=w/sub,workdir=w", "m");
	bad(-EINVAL, "lowerdir 'u' is inside upperdir 'u' (the same directory)", UW "l1:u", "m");
	bad(-EINVAL, "lowerdir 'u/sub' is inside upperdir 'u'", UW "u/sub", "m");
	bad(-EINVAL, "lowerdir 'w/sub' is inside workdir 'w'", UW "l1:w/sub", "m");
	bad(-EINVAL, "upperdir 'l1/sub' is inside lowerdir 'l1'",
	    "lowerdir=l2:l1,upperdir=l1/sub,workdir=w", "m");
	bad(-EINVAL, "workdir 'l1/sub/x' is inside lowerdir 'l1'",
	    "lowerdir=l2:l1,upperdir=u,workdir=l1/sub/x", "m");
	/* Links don't hide it, names that only look alike don't make it. */
	bad(-EINVAL, "workdir 'link_u_sub' is inside upperdir 'u'",
	    "lowerdir=l1,upperdir=u,workdir=link_u_sub", "m");
	bad(-EINVAL, "upperdir 'u' is inside lowerdir 'link_here'", UW "link_here", "m");
	good("lowerdir=l1,upperdir=u,workdir=u2", "m");
	/* Reading all that is harmless. */
	good("ro,lowerdir=u:u/sub:.,upperdir=u,workdir=u/sub", "m");
}

static void test_nested_compat(void **state)
{
	(void)state;
	assert_int_equal(parse("fuse-overlayfs", UW ".", "m"), 0);
	assert_int_equal(options_check(&opts, &error), 0);
	assert_int_equal(opts.n_warning, 2);
	assert_string_equal(opts.warning[0], "upperdir 'u' is inside lowerdir '.': what changes "
					     "there may be seen late or not at all");
	assert_int_equal(parse("fuse-overlayfs", UW "u", "m"), 0);
	assert_int_equal(options_check(&opts, &error), -EINVAL);
	free(error);
	error = NULL;
	assert_int_equal(parse("fuse-overlayfs", UW "u/sub", "m"), 0);
	assert_int_equal(options_check(&opts, &error), -EINVAL);
}

static void test_mountpoint(void **state)
{
	(void)state;
	bad(-EINVAL, "mount point 'u/sub' is inside upperdir 'u'", UW "l1", "u/sub");
	bad(-EINVAL, "mount point 'w/sub' is inside workdir 'w'", UW "l1", "w/sub");
	bad(-EINVAL, "mount point 'w' is inside workdir 'w' (the same directory)", UW "l1", "w");
	bad(-EINVAL, "mount point 'u/sub' is inside upperdir 'u'",
	    "ro,lowerdir=l1,upperdir=u", "u/sub");
	good(UW "l1", "u");
	assert_true(opts.mountpoint_is_upper && !opts.mountpoint_in_lower);
	good(UW "l2:l1", "l1");
	assert_true(opts.mountpoint_in_lower && !opts.mountpoint_is_upper);
	assert_int_equal(opts.mountpoint_lower, 1);
	good("lowerdir=l2:l1:l1/sub", "l1/sub/x");
	assert_true(opts.mountpoint_in_lower);
	assert_int_equal(opts.mountpoint_lower, 1);
	good("lowerdir=/", "m");
	assert_true(opts.mountpoint_in_lower);
}

/*
 * In a mount namespace of its own, in a child: 0, or the number of the
 * expectation that failed, or 77 where there is no such namespace for us.
 */
static int in_namespace(void)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("t", "t", "tmpfs", 0, NULL) < 0 ||
	    mount("w", "bind", NULL, MS_BIND, NULL) < 0 || mkdir("t/w", 0777) < 0)
		return 77;
	if (parse("plyfs", "lowerdir=l1,upperdir=u,workdir=t/w", "m") != 0 ||
	    options_check(&opts, &error) != -EXDEV ||
	    strcmp(error, "upperdir 'u' and workdir 't/w' are on different file systems") != 0)
		return 1;
	if (parse("plyfs", "lowerdir=l1,upperdir=u,workdir=bind", "m") != 0 ||
	    options_check(&opts, &error) != -EXDEV ||
	    strcmp(error, "upperdir 'u' and workdir 'bind' are on different mounts of one file "
			  "system") != 0)
		return 2;
	/* A bind mount is the same directory. */
	if (parse("plyfs", UW "bind", "m") != 0 || options_check(&opts, &error) != -EINVAL ||
	    strcmp(error, "lowerdir 'bind' is inside workdir 'w' (the same directory)") != 0)
		return 3;
	return 0;
}

static void test_mounts(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(in_namespace());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "l1", "l1/sub", "l1/sub/x", "l2", "u", "u/sub",
					    "w/", "w/sub", "u2", "m", "t", "bind" };
	char tmpl[] = "/tmp/plyfs-options.XXXXXX";
	const char *dir = getenv("TESTTMP");
	FILE *f;

	(void)state;
	if (dir == NULL)
		dir = mkdtemp(tmpl);
	if (dir == NULL || chdir(dir) < 0 || getcwd(base, sizeof(base)) == NULL)
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdir(dirs[i], 0777) < 0)
			return -1;
	f = fopen("file", "w");
	if (f == NULL || fclose(f) != 0)
		return -1;
	return symlink("m", "link_m") < 0 || symlink("u/sub", "link_u_sub") < 0 ||
			       symlink(".", "link_here") < 0 || symlink("loop", "loop") < 0 ?
		       -1 :
		       0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "file", "link_m", "link_u_sub", "link_here", "loop" };
	static const char *const dirs[] = { "l1/sub/x", "l1/sub", "l1", "l2", "u/sub", "u",
					    "w/sub", "w", "u2", "m", "t", "bind" };

	(void)state;
	options_free(&opts);
	free(error);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (unlink(files[i]) < 0)
			return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (rmdir(dirs[i]) < 0)
			return -1;
	return getenv("TESTTMP") == NULL ? rmdir(base) : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_nested_compat),
		cmocka_unit_test(test_mountpoint),
		cmocka_unit_test(test_mounts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
