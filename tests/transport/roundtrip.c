/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs its maker:
 *
 *	roundtrip statfs|lookup|none MOUNTPOINT PROCESSES COUNT [THINK_US [ROUNDS]]
 *
 * In each round each process makes COUNT requests, thinking so long after
 * each. Prints medians of the rounds, in microseconds per request of one
 * process, thinking not counted: of all, and of those that began and ended
 * with nobody else running on the machine; and the CPUs that were busy.
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

/* How many processes want to run now, us included. */
static int runnable(void)
{
	FILE *f = fopen("/proc/loadavg", "re");
	int n = 0, r = 0;

	if (f) {
		r = fscanf(f, "%*s %*s %*s %d/", &n);
		fclose(f);
	}
	return r == 1 ? n : 0;
}

/* Wait until nobody else wants to run, but not for long. */
static int wait_quiet(int ms)
{
	for (;;) {
		struct timespec ts = { 0, 2000000 };
		int n = runnable();

		if (n == 1 || ms <= 0)
			return n;
		nanosleep(&ts, NULL);
		ms -= 2;
	}
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v, int n)
{
	if (!n)
		return 0;
	qsort(v, (size_t)n, sizeof(*v), compare);
	return v[n / 2];
}

static void child(char *argv[], int proc, long count, long think)
{
	int fd = open(argv[2], O_RDONLY | O_DIRECTORY);

	for (long i = 0; i < count; i++) {
		double until;

		if (request(argv[1], argv[2], fd, proc, i))
			_exit(1);
		if (!think)
			continue;
		until = now_us() + (double)think;
		while (now_us() < until)
			;
	}
	_exit(0);
}

/* Microseconds per request; < 0: it failed. */
static double one_round(char *argv[], int procs, long count, long think)
{
	double start = now_us();
	int status, bad = 0;

	for (int p = 0; p < procs; p++)
		if (fork() == 0)
			child(argv, p, count, think);
	for (int p = 0; p < procs; p++)
		if (wait(&status) < 0 || status)
			bad = 1;
	return bad ? -1 : (now_us() - start) / (double)count - (double)think;
}

int main(int argc, char *argv[])
{
	double *all, *quiet, start, busy, us;
	int procs, rounds, n_all = 0, n_quiet = 0;
	long count, think;

	if (argc < 5)
		return 2;
	procs = (int)strtol(argv[3], NULL, 10);
	count = strtol(argv[4], NULL, 10);
	think = argc > 5 ? strtol(argv[5], NULL, 10) : 0;
	rounds = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 1;
	all = calloc((size_t)rounds, sizeof(*all));
	quiet = calloc((size_t)rounds, sizeof(*quiet));
	if (!all || !quiet)
		return 1;
	busy = busy_s();
	start = now_us();
	for (int i = 0; i < rounds; i++) {
		int before = wait_quiet(rounds > 1 ? 200 : 0);

		us = one_round(argv, procs, count, think);
		if (us < 0)
			return 1;
		all[n_all++] = us;
		if (before == 1 && runnable() == 1)
			quiet[n_quiet++] = us;
	}
	printf("%-7s procs=%d think=%ld us=%.1f quiet=%.1f (%d of %d rounds) busy=%.2f\n",
	       argv[1], procs, think, median(all, n_all), median(quiet, n_quiet), n_quiet,
	       n_all, (busy_s() - busy) / ((now_us() - start) / 1e6));
	free(all);
	free(quiet);
	return 0;
}
