/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair DIR LIST PROCESSES
 *
 * Several processes at once open, read and close the files of the tree, cold,
 * each its own share of the directories, found by listing them (pair_cold):
 * shows whether one process waits for what the other one asked.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[64 << 10];

/* Files whose directory's number is mine modulo processes. */
static void work(const struct bench_list *list, uint64_t mine,
		 uint64_t processes)
{
	uint32_t last = UINT32_MAX;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const struct bench_entry *e = &list->entry[i];
		uint64_t total = 0;
		ssize_t n;
		int fd;

		if (e->type != 'F' || e->dir % processes != mine)
			continue;
		if (e->dir != last)
			bench_count_dir(list->dir[e->dir]);
		last = e->dir;
		fd = open(e->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			bench_fail("open %s: %m", e->path);
		while ((n = read(fd, buffer, sizeof(buffer))) > 0)
			total += (uint64_t)n;
		if (n < 0 || total != e->size)
			bench_fail("%s: read %ju of %ju bytes", e->path,
				   (uintmax_t)total, (uintmax_t)e->size);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct bench_list list;
	uint64_t i, processes;
	int gate[2], status;
	char byte;

	if (argc != 4)
		bench_fail("wrong arguments");
	bench_list_read(&list, argv[2]);
	processes = bench_number(argv[3]);
	if (chdir(argv[1]) || pipe(gate))
		bench_fail("%s: %m", argv[1]);
	for (i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			bench_fail("fork: %m");
		if (pid)
			continue;
		/* Everyone starts when the last writer of the pipe has gone. */
		close(gate[1]);
		if (read(gate[0], &byte, 1))
			bench_fail("pipe: %m");
		work(&list, i, processes);
		return 0;
	}
	bench_begin("pair_cold");
	close(gate[1]);
	for (i = 0; i < processes; i++)
		if (wait(&status) < 0 || status)
			bench_fail("a process has failed");
	bench_end(list.files);
	return 0;
}
