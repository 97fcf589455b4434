/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs its maker: roundtrip statfs|lookup|none MOUNTPOINT
 * PROCESSES COUNT [THINK_US]. Each process makes COUNT requests, thinking so
 * long after each; prints microseconds per request (of one process, thinking
 * not counted) and the CPU seconds that the machine used per second.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double busy_s(void)
{
	unsigned long long user, nice, sys, idle, wait, irq, soft;
	FILE *f = fopen("/proc/stat", "re");
	int n = 0;

	if (f) {
		n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys,
			   &idle, &wait, &irq, &soft);
		fclose(f);
	}
	return n == 7 ? (double)(user + nice + sys + irq + soft) / (double)sysconf(_SC_CLK_TCK) : 0;
}

static int request(const char *op, const char *dir, int dirfd, int proc, long i)
{
	struct statvfs vfs;
	struct stat st;
	char name[64];

	if (strcmp(op, "statfs") == 0)
		return statvfs(dir, &vfs);
	snprintf(name, sizeof(name), "%s%d-%ld", strcmp(op, "none") == 0 ? "none" : "null",
		 proc, i);
	if (fstatat(dirfd, name, &st, 0) == 0)
		return 0;
	return strcmp(op, "none") == 0 ? 0 : -1;
}

int main(int argc, char *argv[])
{
	double start, wall, busy;
	int procs, status, bad = 0;
	long count, think;

	if (argc < 5)
		return 2;
	procs = (int)strtol(argv[3], NULL, 10);
	count = strtol(argv[4], NULL, 10);
	think = argc > 5 ? strtol(argv[5], NULL, 10) : 0;
	busy = busy_s();
	start = now_us();
	for (int p = 0; p < procs; p++) {
		if (fork() == 0) {
			int fd = open(argv[2], O_RDONLY | O_DIRECTORY);

			for (long i = 0; i < count; i++) {
				if (request(argv[1], argv[2], fd, p, i))
					_exit(1);
				if (think) {
					double until = now_us() + (double)think;

					while (now_us() < until)
						;
				}
			}
			_exit(0);
		}
	}
	for (int p = 0; p < procs; p++)
		if (wait(&status) < 0 || status)
			bad = 1;
	wall = now_us() - start;
	printf("%-7s procs=%d us=%.1f busy=%.2f\n", argv[1], procs,
	       wall / (double)count - (double)think, (busy_s() - busy) / (wall / 1e6));
	return bad;
}
