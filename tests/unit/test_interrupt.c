/* SPDX-License-Identifier: Apache-2.0 */
/* Who dies, as /proc/TID/status has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>

#include "fs/fuse/interrupt.h"

#define BIT(sig) (1ULL << ((sig)-1))

static bool fatal(uint64_t thread, uint64_t process, uint64_t blocked, uint64_t ignored,
		  uint64_t caught)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "Name:\tSigPnd:\nState:\tS (sleeping)\nSigQ:\t0/7\n"
		       "SigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\n"
		       "SigIgn:\t%016llx\nSigCgt:\t%016llx\nCapInh:\tffffffffffffffff\n",
		       (unsigned long long)thread, (unsigned long long)process,
		       (unsigned long long)blocked, (unsigned long long)ignored,
		       (unsigned long long)caught);
	return interrupt_is_fatal(text);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_false(interrupt_is_fatal(""));
	assert_false(interrupt_is_fatal("Name:\tx\n"));
	assert_false(interrupt_is_fatal("SigPnd:\tnonsense\n"));
	assert_false(fatal(0, 0, 0, 0, 0));
	assert_false(fatal(0, 0, ~0ULL, ~0ULL, ~0ULL));
}

static void test_fatal(void **state)
{
	(void)state;
	assert_true(fatal(BIT(SIGKILL), 0, 0, 0, 0));
	assert_true(fatal(0, BIT(SIGKILL), ~0ULL, ~0ULL, ~0ULL));
	assert_true(fatal(BIT(SIGTERM), 0, 0, 0, 0));
	assert_true(fatal(0, BIT(SIGABRT), 0, 0, 0));
	assert_true(fatal(BIT(64), 0, 0, 0, 0));
	/* one of several is enough */
	assert_true(fatal(BIT(SIGALRM) | BIT(SIGTERM), 0, 0, 0, BIT(SIGALRM)));
}

static void test_not_fatal(void **state)
{
	(void)state;
	assert_false(fatal(BIT(SIGTERM), 0, BIT(SIGTERM), 0, 0));
	assert_false(fatal(BIT(SIGTERM), 0, 0, BIT(SIGTERM), 0));
	assert_false(fatal(0, BIT(SIGALRM), 0, 0, BIT(SIGALRM)));
	assert_false(fatal(BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH), 0, 0, 0, 0));
	assert_false(fatal(0, BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGCONT), 0, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_not_fatal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
