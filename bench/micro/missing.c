/* SPDX-License-Identifier: Apache-2.0 */
/*
 * missing DIR LIST PER_DIRECTORY PASSES
 *
 * Stats names that do not exist, PER_DIRECTORY in each directory of the tree:
 * the first time (missing_cold), and from the third time on (missing_warm).
 * Nothing is ever listed, as with an include path or a module search path.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char **names;
static size_t count;

static void pass(void)
{
	struct stat st;
	size_t i;

	for (i = 0; i < count; i++)
		if (!stat(names[i], &st) || errno != ENOENT)
			bench_fail("%s: not ENOENT but: %m", names[i]);
}

int main(int argc, char **argv)
{
	struct bench_list list;
	uint64_t i, k, passes, per_dir;
	struct stat st;

	if (argc != 5)
		bench_fail("wrong arguments");
	bench_list_read(&list, argv[2]);
	per_dir = bench_number(argv[3]);
	passes = bench_number(argv[4]);
	names = calloc(list.dirs * per_dir, sizeof(*names));
	if (!names)
		bench_fail("out of memory");
	for (i = 0; i < list.dirs; i++)
		for (k = 0; k < per_dir; k++)
			if (asprintf(&names[count++], "%s/missing-%ju.h",
				     list.dir[i], (uintmax_t)k) < 0)
				bench_fail("out of memory");
	if (chdir(argv[1]))
		bench_fail("%s: %m", argv[1]);
	/* The directories themselves are known: only the names are cold. */
	for (i = 0; i < list.dirs; i++)
		if (stat(list.dir[i], &st))
			bench_fail("%s: %m", list.dir[i]);

	bench_begin("missing_cold");
	pass();
	bench_end(count);
	pass();
	bench_begin("missing_warm");
	for (i = 0; i < passes; i++)
		pass();
	bench_end(count * passes);
	return 0;
}
