/* SPDX-License-Identifier: Apache-2.0 */
/* The log: levels, long lines, and lines of several threads that stay whole. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>

#include "lib/log.h"

#define THREADS 8
#define LINES 500

static int saved_stderr = -1;
static FILE *captured;

static void capture(void)
{
	captured = tmpfile();
	assert_non_null(captured);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0);
	assert_true(dup2(fileno(captured), STDERR_FILENO) >= 0);
}

/* Ends the capture; what was written is then read from captured. */
static void release(void)
{
	assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
	assert_int_equal(close(saved_stderr), 0);
	rewind(captured);
}

static void test_levels(void **state)
{
	char line[64];

	(void)state;
	capture();
	log_init("me", LOG_WARNING);
	errno = ENOENT;
	log_err("an error %d", 1);
	log_warn("a warning");
	log_info("not shown");
	log_debug("not shown either");
	release();
	assert_string_equal(fgets(line, sizeof(line), captured), "me: an error 1\n");
	assert_string_equal(fgets(line, sizeof(line), captured), "me: a warning\n");
	assert_null(fgets(line, sizeof(line), captured));
	assert_int_equal(fclose(captured), 0);
}

/* A line longer than the log's buffer is cut, and still ends in a newline. */
static void test_long_line(void **state)
{
	char text[5000], line[6000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	capture();
	log_init("me", LOG_INFO);
	log_err("%s", text);
	log_err("next");
	release();
	assert_non_null(fgets(line, sizeof(line), captured));
	assert_in_range(strlen(line), 500, 1024);
	assert_int_equal(line[strlen(line) - 1], '\n');
	assert_string_equal(fgets(line, sizeof(line), captured), "me: next\n");
	assert_int_equal(fclose(captured), 0);
}

static void *talk(void *arg)
{
	int i;

	for (i = 0; i < LINES; i++)
		log_err("thread %d says %d of %d", *(const int *)arg, i, LINES);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t thread[THREADS];
	int number[THREADS], next[THREADS] = { 0 }, i, who, what, of, end;
	char line[128];

	(void)state;
	capture();
	log_init("me", LOG_INFO);
	for (i = 0; i < THREADS; i++) {
		number[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, talk, &number[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	release();
	for (i = 0; i < THREADS * LINES; i++) {
		assert_non_null(fgets(line, sizeof(line), captured));
		end = 0;
		(void)sscanf(line, "me: thread %d says %d of %d\n%n", &who, &what, &of, &end);
		assert_int_equal(end, strlen(line));
		assert_in_range(who, 0, THREADS - 1);
		assert_int_equal(what, next[who]++);
	}
	assert_null(fgets(line, sizeof(line), captured));
	assert_int_equal(fclose(captured), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
