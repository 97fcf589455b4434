/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change HOW FILE: changes FILE, two pages of 'a', so that its first page
 * begins with 'b', by the way HOW; prints for how many milliseconds that took.
 * change look FILE SIZE: fails unless FILE has SIZE bytes and begins with 'b'.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static char page[PAGE] __attribute__((aligned(PAGE)));

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static long now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int look(const char *file, long size)
{
	int fd = open(file, O_RDONLY);
	struct stat st;
	char c = 0;

	if (fd < 0 || fstat(fd, &st) || st.st_size != size)
		return fail("size");
	if (size && (pread(fd, &c, 1, 0) != 1 || c != 'b')) {
		(void)fprintf(stderr, "begins with '%c'\n", c);
		return 1;
	}
	return 0;
}

static int change(int fd, const char *how)
{
	char *p;
	int src;
	off_t off = 0;

	if (!strcmp(how, "write") || !strcmp(how, "direct"))
		return pwrite(fd, page, PAGE, 0) != PAGE;
	if (!strcmp(how, "part"))
		return pwrite(fd, page, 100, 0) != 100;
	if (!strcmp(how, "truncate"))
		return ftruncate(fd, 0) || pwrite(fd, page, PAGE, 0) != PAGE;
	if (!strcmp(how, "trunc"))
		return pwrite(fd, page, PAGE, 0) != PAGE;
	if (!strcmp(how, "empty"))
		return ftruncate(fd, 0);
	if (!strcmp(how, "punch"))
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) ||
		       pwrite(fd, page, PAGE, 0) != PAGE;
	if (!strcmp(how, "copy")) {
		src = memfd_create("src", 0);
		if (src < 0 || write(src, page, PAGE) != PAGE)
			return 1;
		/* a pipe's way: from memory by splice, as cp does where it cannot copy */
		return copy_file_range(src, &off, fd, &(off_t){ 0 }, PAGE, 0) != PAGE &&
		       pwrite(fd, page, PAGE, 0) != PAGE;
	}
	if (!strcmp(how, "map")) {
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			return 1;
		memcpy(p, page, PAGE);
		return 0;
	}
	return 2;
}

int main(int argc, char **argv)
{
	int fd, flags = O_RDWR;
	long t;

	if (argc == 4 && !strcmp(argv[1], "look"))
		return look(argv[2], strtol(argv[3], NULL, 10));
	if (argc != 3)
		return 2;
	memset(page, 'b', sizeof(page));
	t = now_ms();
	if (!strcmp(argv[1], "trunc"))
		flags |= O_TRUNC;
	if (!strcmp(argv[1], "direct"))
		flags |= O_DIRECT;
	fd = open(argv[2], flags);
	if (fd < 0 || change(fd, argv[1]))
		return fail(argv[1]);
	(void)printf("%ld\n", now_ms() - t);
	return 0;
}
