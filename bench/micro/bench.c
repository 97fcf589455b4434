/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *current_row;
static uint64_t start_ns;
static int64_t start_cpu;

void bench_fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * CPU time of all threads of the daemon, in ns, or -1. schedstat counts in
 * nanoseconds where stat(5) counts in ticks of 10 ms.
 */
static int64_t daemon_cpu(void)
{
	const char *pid = getenv("BENCH_PID");
	struct dirent *de;
	int64_t total = 0;
	char path[300];
	DIR *dir;

	if (!pid || !*pid)
		return -1;
	snprintf(path, sizeof(path), "/proc/%.20s/task", pid);
	dir = opendir(path);
	if (!dir)
		bench_fail("the daemon (pid %s) has gone", pid);
	while ((de = readdir(dir))) {
		uint64_t run;
		FILE *f;

		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/task/%.20s/schedstat",
			 pid, de->d_name);
		f = fopen(path, "r");
		if (!f)
			continue; /* that thread has just ended */
		if (fscanf(f, "%" SCNu64, &run) == 1)
			total += (int64_t)run;
		fclose(f);
	}
	closedir(dir);
	return total;
}

static void run_hook(const char *when)
{
	const char *hook = getenv("BENCH_HOOK");
	int status;
	pid_t pid;

	if (!hook || !*hook)
		return;
	/* Let what is still under way (RELEASE, FORGET) arrive. */
	usleep(50000);
	pid = fork();
	if (pid < 0)
		bench_fail("fork: %m");
	if (!pid) {
		/* Never from inside the mount, where the hook would be seen. */
		if (chdir("/"))
			_exit(126);
		execl(hook, hook, when, current_row, (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		bench_fail("%s %s %s failed", hook, when, current_row);
}

void bench_begin(const char *row)
{
	current_row = row;
	run_hook("begin");
	start_cpu = daemon_cpu();
	start_ns = bench_now();
}

void bench_end(uint64_t ops)
{
	uint64_t ns = bench_now() - start_ns;
	int64_t cpu = daemon_cpu();

	if (cpu >= 0)
		cpu = cpu > start_cpu ? cpu - start_cpu : 0;
	run_hook("end");
	printf("result\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRId64 "\n",
	       current_row, ops, ns, cpu);
	fflush(stdout);
}

uint64_t bench_hash(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void bench_fill(void *buf, size_t len, uint64_t seed)
{
	unsigned char *p = buf;
	size_t i;

	for (i = 0; i < len; i += sizeof(seed)) {
		uint64_t word = bench_hash(seed + i);
		size_t n = len - i < sizeof(word) ? len - i : sizeof(word);

		memcpy(p + i, &word, n);
	}
}

uint64_t bench_number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		bench_fail("not a number: %s", text);
	return value;
}

static void *grow(void *array, size_t count, size_t size)
{
	/* Doubles at powers of two. */
	if (count & (count - 1) || (count && count < 16))
		return array;
	array = realloc(array, (count < 16 ? 16 : count * 2) * size);
	if (!array)
		bench_fail("out of memory");
	return array;
}

static void add_dir(struct bench_list *list, const char *path)
{
	list->dir = grow(list->dir, list->dirs, sizeof(*list->dir));
	list->dir[list->dirs] = strdup(path);
	if (!list->dir[list->dirs++])
		bench_fail("out of memory");
}

static uint32_t parent_of(const struct bench_list *list, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	size_t i;

	if (!slash)
		return 0;
	/* Entries follow their directory closely: search from the end. */
	for (i = list->dirs; i-- > 0;)
		if (!strncmp(list->dir[i], path, len) && !list->dir[i][len])
			return (uint32_t)i;
	bench_fail("%s: its directory is not in the list", path);
}

void bench_list_read(struct bench_list *list, const char *path)
{
	char name[4096];
	uint64_t size;
	char type;
	FILE *f = fopen(path, "r");

	if (!f)
		bench_fail("%s: %m", path);
	memset(list, 0, sizeof(*list));
	add_dir(list, ".");
	while (fscanf(f, " %c %" SCNu64 " %4095s", &type, &size, name) == 3) {
		struct bench_entry *e;

		list->entry = grow(list->entry, list->count, sizeof(*e));
		e = &list->entry[list->count++];
		e->type = type;
		e->size = size;
		e->dir = parent_of(list, name);
		e->path = strdup(name);
		if (!e->path)
			bench_fail("out of memory");
		if (type == 'D')
			add_dir(list, name);
		if (type == 'F') {
			list->files++;
			list->bytes += size;
		}
	}
	if (!feof(f) || ferror(f))
		bench_fail("%s: malformed list", path);
	fclose(f);
	if (!list->count)
		bench_fail("%s: empty list", path);
}

void bench_list_shuffle_files(struct bench_list *list)
{
	size_t i, n = 0;

	for (i = 0; i < list->count; i++)
		if (list->entry[i].type == 'F')
			list->entry[n++] = list->entry[i];
	list->count = n;
	for (i = n; i > 1; i--) {
		size_t j = bench_hash(i) % i;
		struct bench_entry tmp = list->entry[i - 1];

		list->entry[i - 1] = list->entry[j];
		list->entry[j] = tmp;
	}
}

size_t bench_count_dir(const char *path)
{
	struct dirent *de;
	size_t n = 0;
	DIR *dir = opendir(path);

	if (!dir)
		bench_fail("%s: %m", path);
	for (errno = 0; (de = readdir(dir)); errno = 0)
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			n++;
	if (errno)
		bench_fail("%s: readdir: %m", path);
	closedir(dir);
	return n;
}
