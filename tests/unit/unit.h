/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What unit tests share: cmocka with the headers that it wants before it, and
 * a scratch directory with files in it. Every failure here ends the test.
 *
 *	static void test_thing(void **state) { ... }
 *	int main(void)
 *	{
 *		const struct CMUnitTest tests[] = { cmocka_unit_test(test_thing) };
 *		return cmocka_run_group_tests(tests, NULL, NULL);
 *	}
 */
#ifndef PLYFS_TESTS_UNIT_H
#define PLYFS_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A new empty directory below TESTTMP (else /var/tmp), as a
 * descriptor that the caller closes; its name goes to @name, of @size bytes.
 * Under the runner it is removed with the rest of TESTTMP.
 */
static inline int unit_dir(char name[static 1], size_t size)
{
	const char *base = getenv("TESTTMP");
	int fd;

	assert_in_range(snprintf(name, size, "%s/unit.XXXXXX", base ? base : "/var/tmp"),
			1, size - 1);
	assert_non_null(mkdtemp(name));
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Makes or replaces the file @dir/@name with @text as its content. */
static inline void unit_write(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

/* The content of the file @dir/@name is @text. */
static inline void unit_expect(int dir, const char *name, const char *text)
{
	char buf[4096];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, buf, sizeof(buf) - 1);
	assert_true(n >= 0);
	buf[n] = '\0';
	assert_int_equal(close(fd), 0);
	assert_string_equal(buf, text);
}

#endif
