/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splitting and unescaping of option strings, form by form.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "options_i.h"

/* One case: what is typed, and the pieces it means; ends with NULL. */
struct pieces {
	const char *typed;
	const char *piece[6];
};

static void check_pieces(const struct pieces *c, int (*next)(const char **, char **))
{
	const char *s = c->typed;
	char *got = NULL;
	size_t i = 0;
	int r;

	while ((r = next(&s, &got)) > 0) {
		if (c->piece[i] == NULL)
			fail_msg("'%s': unexpected '%s'", c->typed, got);
		if (strcmp(got, c->piece[i]) != 0)
			fail_msg("'%s': piece %zu is '%s', not '%s'", c->typed, i, got,
				 c->piece[i]);
		free(got);
		i++;
	}
	assert_int_equal(r, 0);
	if (c->piece[i] != NULL)
		fail_msg("'%s': '%s' is missing", c->typed, c->piece[i]);
}

static void test_options(void **state)
{
	static const struct pieces cases[] = {
		{ "", { NULL } },
		{ ",", { NULL } },
		{ ",,,", { NULL } },
		{ "a", { "a" } },
		{ "a,b=c", { "a", "b=c" } },
		{ ",,volatile,,ro,", { "volatile", "ro" } },
		/* A hidden comma stays, with what hides it. */
		{ "fsname=a\\,b,ro", { "fsname=a\\,b", "ro" } },
		/* The backslash is hidden, not the comma. */
		{ "fsname=a\\\\,ro", { "fsname=a\\\\", "ro" } },
		{ "a\\", { "a\\" } },
		{ "a\\,", { "a\\," } },
		/* Labels may be quoted, nothing else. */
		{ "context=\"u:r:t:s0:c1,c2\",ro", { "context=\"u:r:t:s0:c1,c2\"", "ro" } },
		{ "rootcontext=\",\",defcontext=\",,\"",
		  { "rootcontext=\",\"", "defcontext=\",,\"" } },
		{ "fscontext=\"a\\\"", { "fscontext=\"a\\\"" } },
		{ "context=a\"b,c\"", { "context=a\"b", "c\"" } },
		{ "lowerdir=\"a,b\"", { "lowerdir=\"a", "b\"" } },
		{ "xcontext=\"a,b\"", { "xcontext=\"a", "b\"" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_pieces(&cases[i], optsplit_next);
}

static void test_quotes_that_do_not_match(void **state)
{
	static const char *const bad[] = {
		"context=\"a",
		"context=\"",
		"ro,context=\"a,b",
		"context=\"a\"b,ro",
		"context=\"a\"\"b\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *s = bad[i];
		char *got = NULL;
		int r;

		while ((r = optsplit_next(&s, &got)) > 0)
			free(got);
		if (r != -EINVAL)
			fail_msg("'%s' gives %d", bad[i], r);
	}
}

static void test_unescape(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "abc", "abc" },
		{ "a\\,b", "a,b" },
		{ "a\\:b", "a:b" },
		{ "a\\\\b", "a\\b" },
		{ "a\\\\\\,b", "a\\,b" },
		{ "\\a\\b", "ab" },
		{ "a\\", "a\\" },
		{ "\\\\", "\\" },
		{ "a\\040b", "a b" },
		{ "\\054", "," },
		{ "\\101\\377", "A\377" },
		/* Not three octal digits, or no byte: only the backslash goes. */
		{ "\\04", "04" },
		{ "\\400", "400" },
		{ "\\08x", "08x" },
		{ "\\000", "000" },
		{ "\\\\040", "\\040" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *got = NULL;

		assert_int_equal(
			optsplit_unescape(cases[i][0], strlen(cases[i][0]), &got), 0);
		assert_string_equal(got, cases[i][1]);
		free(got);
	}
}

static void test_lowers(void **state)
{
	static const struct pieces cases[] = {
		{ "/a", { "/a" } },
		{ "/a:/b:/c", { "/a", "/b", "/c" } },
		{ "", { "" } },
		{ ":", { "", "" } },
		{ "/a:", { "/a", "" } },
		{ "/a::/b", { "/a", "", "/b" } },
		/* One backslash: the kernel, buildah, fuse-overlayfs 2. */
		{ "/a\\:b:/c", { "/a:b", "/c" } },
		/* Two: fuse-overlayfs 1.15 and later 1.x. */
		{ "/a\\\\:b:/c", { "/a:b", "/c" } },
		/* Three: a backslash and a colon. */
		{ "/a\\\\\\:b", { "/a\\:b" } },
		/* Four: fuse-overlayfs' way to end a path in a backslash. */
		{ "/a\\\\\\\\:/b", { "/a\\", "/b" } },
		{ "/a\\\\\\\\\\:b", { "/a\\\\:b" } },
		{ "/a\\\\\\\\\\\\:b", { "/a\\:b" } },
		{ "/a\\\\\\\\\\\\\\\\:b", { "/a\\\\", "b" } },
		/* Elsewhere one level. */
		{ "/a\\,b:/c", { "/a,b", "/c" } },
		{ "/a\\\\b", { "/a\\b" } },
		{ "/a\\\\\\\\b", { "/a\\\\b" } },
		{ "/a\\\\\\b", { "/a\\b" } },
		{ "/a\\", { "/a\\" } },
		{ "/a\\\\", { "/a\\" } },
		{ "/a\\072b:\\101", { "/a:b", "A" } },
		{ "/a\\\\\\072b", { "/a\\:b" } },
		{ "\\:", { ":" } },
		{ "\\:\\::\\\\:", { "::", ":" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_pieces(&cases[i], optsplit_lower);
}

/* No quadratic time on what somebody else may have written. */
static void test_long_runs(void **state)
{
	size_t n = 1 << 20;
	char *s = malloc(n + 2);
	const char *p = s;
	char *got = NULL;

	(void)state;
	assert_non_null(s);
	memset(s, '\\', n);
	s[n] = 'x';
	s[n + 1] = '\0';
	assert_int_equal(optsplit_lower(&p, &got), 1);
	assert_int_equal(strlen(got), n / 2 + 1);
	free(got);
	assert_int_equal(optsplit_unescape(s, n + 1, &got), 0);
	assert_int_equal(strlen(got), n / 2 + 1);
	free(got);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_quotes_that_do_not_match),
		cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_lowers),
		cmocka_unit_test(test_long_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
