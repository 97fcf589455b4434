/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roundtrip DIR COUNT
 *
 * statfs in a loop: the one call that always sends exactly one message, so
 * its time is the price of a round trip to the daemon (roundtrip).
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sys/vfs.h>

int main(int argc, char **argv)
{
	struct statfs st;
	uint64_t i, count;
	int fd;

	if (argc != 3)
		bench_fail("wrong arguments");
	count = bench_number(argv[2]);
	fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		bench_fail("%s: %m", argv[1]);
	bench_begin("roundtrip");
	for (i = 0; i < count; i++)
		if (fstatfs(fd, &st))
			bench_fail("fstatfs: %m");
	bench_end(count);
	return 0;
}
