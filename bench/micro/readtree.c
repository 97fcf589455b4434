/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readtree walk|names DIR LIST COLD_ROW WARM_ROW PASSES
 *
 * Opens, reads and closes every file. "walk" finds the files by listing the
 * directories, as grep -r and cp -r do; "names" knows them beforehand and
 * opens them in random order, as a linker or an interpreter does, so that no
 * directory is ever listed. First pass: cold row; the second is not measured;
 * then PASSES passes for the warm row.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct seen {
	uint64_t files, bytes;
};

static char buffer[64 << 10];

static void read_file(int dir, const char *name, struct seen *seen)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		bench_fail("open %s: %m", name);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		seen->bytes += (uint64_t)n;
	if (n < 0)
		bench_fail("read %s: %m", name);
	close(fd);
	seen->files++;
}

static void walk(int parent, const char *name, struct seen *seen)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *de;
	DIR *dir;

	if (fd < 0 || !(dir = fdopendir(fd)))
		bench_fail("open %s: %m", name);
	for (errno = 0; (de = readdir(dir)); errno = 0) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (de->d_type == DT_DIR)
			walk(fd, de->d_name, seen);
		else if (de->d_type == DT_REG)
			read_file(fd, de->d_name, seen);
		else if (de->d_type == DT_UNKNOWN)
			bench_fail("%s: no d_type", de->d_name);
	}
	if (errno)
		bench_fail("readdir %s: %m", name);
	closedir(dir);
}

static struct seen pass(const struct bench_list *list, int names)
{
	struct seen seen = { 0, 0 };
	size_t i;

	if (!names)
		walk(AT_FDCWD, ".", &seen);
	else
		for (i = 0; i < list->count; i++)
			read_file(AT_FDCWD, list->entry[i].path, &seen);
	return seen;
}

static void expect(const struct bench_list *list, struct seen seen)
{
	if (seen.files != list->files || seen.bytes != list->bytes)
		bench_fail("read %ju files, %ju bytes instead of %zu, %ju",
			   (uintmax_t)seen.files, (uintmax_t)seen.bytes,
			   list->files, (uintmax_t)list->bytes);
}

int main(int argc, char **argv)
{
	struct bench_list list;
	struct seen seen;
	uint64_t i, passes;
	int names;

	if (argc != 7)
		bench_fail("wrong arguments");
	names = !strcmp(argv[1], "names");
	passes = bench_number(argv[6]);
	bench_list_read(&list, argv[3]);
	bench_list_shuffle_files(&list);
	if (chdir(argv[2]))
		bench_fail("%s: %m", argv[2]);

	bench_begin(argv[4]);
	seen = pass(&list, names);
	bench_end(seen.files);
	expect(&list, seen);

	expect(&list, pass(&list, names));
	bench_begin(argv[5]);
	for (i = 0; i < passes; i++)
		seen = pass(&list, names);
	bench_end(list.files * passes);
	expect(&list, seen);
	return 0;
}
