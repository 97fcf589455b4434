/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timed [--mounted DIR] ROW OPERATIONS COMMAND...
 *
 * Measures COMMAND from fork to exit; its standard output is dropped, and a
 * status other than 0 is a failure. With --mounted the clock runs on until
 * DIR answers a stat as the root of another filesystem.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOUNT_TIMEOUT_NS (30ull * 1000000000u)

int main(int argc, char **argv)
{
	struct stat before = { 0 }, after;
	const char *dir = NULL;
	posix_spawn_file_actions_t actions;
	int status;
	uint64_t start;
	pid_t pid;

	if (argc > 2 && !strcmp(argv[1], "--mounted")) {
		dir = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc < 4)
		bench_fail("wrong arguments");
	if (dir && stat(dir, &before))
		bench_fail("%s: %m", dir);
	if (posix_spawn_file_actions_init(&actions) ||
	    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO,
					     "/dev/null", O_WRONLY, 0))
		bench_fail("out of memory");

	bench_begin(argv[1]);
	start = bench_now();
	errno = posix_spawnp(&pid, argv[3], &actions, NULL, argv + 3, environ);
	if (errno || waitpid(pid, &status, 0) != pid)
		bench_fail("%s: %m", argv[3]);
	if (status)
		bench_fail("%s: failed, status %#x", argv[3], status);
	while (dir && (stat(dir, &after) || after.st_dev == before.st_dev))
		if (bench_now() - start > MOUNT_TIMEOUT_NS)
			bench_fail("%s is not mounted", dir);
	bench_end(bench_number(argv[2]));
	return 0;
}
