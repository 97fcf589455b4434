/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names DIR LIST COUNT
 *
 * Creates COUNT files of 4 KiB in ten directories that exist in a lower
 * layer, renames each within its directory, removes them; then makes and
 * removes COUNT directories. The ten directories are copied up before.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRS 10u

static const char *dirs[DIRS];
static size_t before[DIRS];
static char buffer[4096];

static const char *path_of(const char *prefix, uint64_t i)
{
	static char path[2][4096];
	static unsigned int which;
	char *p = path[which++ % 2];

	snprintf(p, sizeof(path[0]), "%s/%s%06ju", dirs[i % DIRS], prefix,
		 (uintmax_t)i);
	return p;
}

/* Each directory must hold what it held before and its share of added. */
static void expect(uint64_t added, const char *what)
{
	unsigned int d;

	for (d = 0; d < DIRS; d++) {
		size_t want = before[d] + added / DIRS + (d < added % DIRS);
		size_t have = bench_count_dir(dirs[d]);

		if (have != want)
			bench_fail("after %s %s has %zu entries, not %zu", what,
				   dirs[d], have, want);
	}
}

static void create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, buffer, sizeof(buffer)) != sizeof(buffer) ||
	    close(fd))
		bench_fail("create %s: %m", path);
}

static void files(uint64_t count)
{
	struct stat st;
	uint64_t i;

	bench_begin("create");
	for (i = 0; i < count; i++)
		create(path_of("new", i));
	bench_end(count);
	expect(count, "create");
	if (stat(path_of("new", count / 2), &st) || st.st_size != sizeof(buffer))
		bench_fail("a new file does not have its size");

	bench_begin("rename");
	for (i = 0; i < count; i++)
		if (rename(path_of("new", i), path_of("moved", i)))
			bench_fail("rename: %m");
	bench_end(count);
	expect(count, "rename");
	if (!stat(path_of("new", 0), &st) || stat(path_of("moved", 0), &st))
		bench_fail("rename has not renamed");

	bench_begin("unlink");
	for (i = 0; i < count; i++)
		if (unlink(path_of("moved", i)))
			bench_fail("unlink: %m");
	bench_end(count);
	expect(0, "unlink");
}

static void directories(uint64_t count)
{
	uint64_t i;

	bench_begin("mkdir");
	for (i = 0; i < count; i++)
		if (mkdir(path_of("sub", i), 0755))
			bench_fail("mkdir: %m");
	bench_end(count);
	expect(count, "mkdir");

	bench_begin("rmdir");
	for (i = 0; i < count; i++)
		if (rmdir(path_of("sub", i)))
			bench_fail("rmdir: %m");
	bench_end(count);
	expect(0, "rmdir");
}

int main(int argc, char **argv)
{
	struct bench_list list;
	unsigned int d, n = 0;

	if (argc != 4)
		bench_fail("wrong arguments");
	bench_list_read(&list, argv[2]);
	bench_fill(buffer, sizeof(buffer), 1);
	if (chdir(argv[1]))
		bench_fail("%s: %m", argv[1]);
	/* Directories two levels down: those whose name has a slash. */
	for (d = 0; d < list.dirs && n < DIRS; d++)
		if (strchr(list.dir[d], '/'))
			dirs[n++] = list.dir[d];
	if (n < DIRS)
		bench_fail("the tree has too few directories");
	for (d = 0; d < DIRS; d++) {
		const char *path = path_of("copy-up", d);

		create(path);
		if (unlink(path))
			bench_fail("%s: %m", path);
		before[d] = bench_count_dir(dirs[d]);
	}
	files(bench_number(argv[3]));
	directories(bench_number(argv[3]));
	return 0;
}
