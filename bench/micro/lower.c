/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower DIR LIST COUNT
 *
 * Changes files that only a lower layer has, COUNT of them for each row:
 * chmod, append 100 bytes, rename, unlink. Every file is looked up before,
 * so that a row shows the change and not the lookup.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct bench_entry *take(const struct bench_list *list,
				      uint64_t count)
{
	static size_t used;
	const struct bench_entry *e = list->entry + used;
	struct stat st;
	uint64_t i;

	if (list->count - used < count)
		bench_fail("the tree has too few files");
	used += count;
	for (i = 0; i < count; i++)
		if (lstat(e[i].path, &st) || (uint64_t)st.st_size != e[i].size)
			bench_fail("%s: not as it should be", e[i].path);
	return e;
}

static const char *new_name(const char *path)
{
	static char name[4200];

	snprintf(name, sizeof(name), "%s.renamed", path);
	return name;
}

static void do_chmod(const struct bench_entry *e, uint64_t count)
{
	struct stat st;
	uint64_t i;

	bench_begin("chmod_lower");
	for (i = 0; i < count; i++)
		if (chmod(e[i].path, 0751))
			bench_fail("chmod %s: %m", e[i].path);
	bench_end(count);
	for (i = 0; i < count; i++)
		if (stat(e[i].path, &st) || (st.st_mode & 07777) != 0751 ||
		    (uint64_t)st.st_size != e[i].size)
			bench_fail("chmod %s: not done", e[i].path);
}

static void do_append(const struct bench_entry *e, uint64_t count)
{
	char buffer[100];
	struct stat st;
	uint64_t i;

	memset(buffer, 'a', sizeof(buffer));
	bench_begin("append_lower");
	for (i = 0; i < count; i++) {
		int fd = open(e[i].path, O_WRONLY | O_APPEND | O_CLOEXEC);

		if (fd < 0 ||
		    write(fd, buffer, sizeof(buffer)) != sizeof(buffer) ||
		    close(fd))
			bench_fail("append %s: %m", e[i].path);
	}
	bench_end(count);
	for (i = 0; i < count; i++)
		if (stat(e[i].path, &st) ||
		    (uint64_t)st.st_size != e[i].size + sizeof(buffer))
			bench_fail("append %s: not done", e[i].path);
}

static void do_rename(const struct bench_entry *e, uint64_t count)
{
	struct stat st;
	uint64_t i;

	bench_begin("rename_lower");
	for (i = 0; i < count; i++)
		if (rename(e[i].path, new_name(e[i].path)))
			bench_fail("rename %s: %m", e[i].path);
	bench_end(count);
	for (i = 0; i < count; i++)
		if (!stat(e[i].path, &st) || stat(new_name(e[i].path), &st) ||
		    (uint64_t)st.st_size != e[i].size)
			bench_fail("rename %s: not done", e[i].path);
}

static void do_unlink(const struct bench_entry *e, uint64_t count)
{
	struct stat st;
	uint64_t i;

	bench_begin("unlink_lower");
	for (i = 0; i < count; i++)
		if (unlink(e[i].path))
			bench_fail("unlink %s: %m", e[i].path);
	bench_end(count);
	for (i = 0; i < count; i++)
		if (!stat(e[i].path, &st) || errno != ENOENT)
			bench_fail("unlink %s: not done", e[i].path);
}

int main(int argc, char **argv)
{
	struct bench_list list;
	uint64_t count;

	if (argc != 4)
		bench_fail("wrong arguments");
	bench_list_read(&list, argv[2]);
	bench_list_shuffle_files(&list);
	count = bench_number(argv[3]);
	if (chdir(argv[1]))
		bench_fail("%s: %m", argv[1]);
	do_chmod(take(&list, count), count);
	do_append(take(&list, count), count);
	do_rename(take(&list, count), count);
	do_unlink(take(&list, count), count);
	return 0;
}
