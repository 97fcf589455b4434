/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk DIR LIST COLD_ROW [WARM_ROW PASSES]
 *
 * Walks DIR and stats every entry, as find -ls does. The first pass is the
 * cold row. With WARM_ROW a second pass follows unmeasured (the first one's
 * reads and listings may have left attributes to refresh), and then PASSES
 * measured ones.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t walk(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t entries = 0;
	struct dirent *de;
	struct stat st;
	DIR *dir;

	if (fd < 0 || !(dir = fdopendir(fd)))
		bench_fail("open %s: %m", name);
	for (errno = 0; (de = readdir(dir)); errno = 0) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW))
			bench_fail("stat %s: %m", de->d_name);
		entries++;
		if (S_ISDIR(st.st_mode))
			entries += walk(fd, de->d_name);
	}
	if (errno)
		bench_fail("readdir %s: %m", name);
	closedir(dir);
	return entries;
}

static void expect(uint64_t seen, uint64_t expected)
{
	if (seen != expected)
		bench_fail("saw %ju entries instead of %ju", (uintmax_t)seen,
			   (uintmax_t)expected);
}

int main(int argc, char **argv)
{
	struct bench_list list;
	uint64_t i, passes, seen = 0;

	if (argc != 4 && argc != 6)
		bench_fail("wrong arguments");
	bench_list_read(&list, argv[2]);

	bench_begin(argv[3]);
	seen = walk(AT_FDCWD, argv[1]);
	bench_end(seen);
	expect(seen, list.count);
	if (argc == 4)
		return 0;

	passes = bench_number(argv[5]);
	expect(walk(AT_FDCWD, argv[1]), list.count);
	bench_begin(argv[4]);
	for (i = 0, seen = 0; i < passes; i++)
		seen += walk(AT_FDCWD, argv[1]);
	bench_end(seen);
	expect(seen, list.count * passes);
	return 0;
}
