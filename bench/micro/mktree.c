/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the trees of the benchmark; the same arguments make the same trees.
 *
 *   mktree image DIR FILES LAYERS LIST
 *	DIR/0 (bottom) to DIR/LAYERS-1 (top): a tree spread over layers, four
 *	fifths of it in the bottom one, with some files in two layers, and
 *	whiteouts in the top one. Sizes are 64 bytes to 32 KiB, 6.5 KB on
 *	average. LIST gets what the union of the layers must show.
 *   mktree flat DIR FILES PER_DIRECTORY LIST
 *	DIR: one layer of empty files.
 *   mktree lowers DIR LAYERS
 *	DIR/0 to DIR/LAYERS-1, one file in each.
 *   mktree big FILE BYTES
 *	One file that does not compress.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FILES_PER_DIR 50u
#define DIRS_PER_DIR 20u

static char buffer[1 << 20];

static void make_dir(const char *path)
{
	if (mkdir(path, 0755) && errno != EEXIST)
		bench_fail("mkdir %s: %m", path);
}

static void make_file(const char *path, uint64_t size, uint64_t seed)
{
	/* In the past, so that git finds no "racily clean" files. */
	struct timespec old[2] = { { .tv_sec = 1600000000 },
				   { .tv_sec = 1600000000 } };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		bench_fail("%s: %m", path);
	while (size) {
		size_t n = size < sizeof(buffer) ? size : sizeof(buffer);

		bench_fill(buffer, n, seed);
		if (write(fd, buffer, n) != (ssize_t)n)
			bench_fail("%s: write: %m", path);
		size -= n;
		seed += n;
	}
	if (futimens(fd, old) || close(fd))
		bench_fail("%s: %m", path);
}

static FILE *open_list(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		bench_fail("%s: %m", path);
	return f;
}

static void close_list(FILE *f)
{
	if (ferror(f) | fclose(f))
		bench_fail("the list cannot be written");
}

/* Where entry i of an image lives, and what it is. */
struct place {
	unsigned int layer;
	int override; /* also in layer 0, with other content */
	int whiteout; /* in layer 0, removed by the top layer */
	int symlink;
	uint64_t size;
};

static struct place place_of(uint64_t i, unsigned int layers)
{
	uint64_t h = bench_hash(i);
	struct place p = { .size = (64u << (h % 10)) + (h >> 8) % 64 };

	if (layers > 1 && (h >> 16) % 10 >= 8)
		p.layer = 1 + (unsigned int)((h >> 20) % (layers - 1));
	p.override = p.layer && (h >> 24) % 4 == 0;
	p.whiteout = layers > 1 && !p.layer && (h >> 32) % 100 == 0;
	p.symlink = !p.whiteout && !p.override && (h >> 40) % 50 == 0;
	return p;
}

/* Makes DIR/LAYER/NAME's directories and returns its path. */
static const char *path_in(const char *dir, unsigned int layer,
			   const char *name)
{
	static char path[8192];
	int n = snprintf(path, sizeof(path), "%s/%u", dir, layer);
	const char *slash = name;

	for (make_dir(path); (slash = strchr(slash, '/')); slash++) {
		snprintf(path + n, sizeof(path) - (size_t)n, "/%.*s",
			 (int)(slash - name), name);
		make_dir(path);
	}
	snprintf(path + n, sizeof(path) - (size_t)n, "/%s", name);
	return path;
}

static void image(const char *dir, uint64_t files, unsigned int layers,
		  const char *list_path)
{
	FILE *list = open_list(list_path);
	unsigned int layer;
	char name[100];
	uint64_t i;

	make_dir(dir);
	for (layer = 0; layer < layers; layer++) {
		char path[4200];

		snprintf(path, sizeof(path), "%s/%u", dir, layer);
		make_dir(path);
	}
	for (i = 0; i < files; i++) {
		struct place p = place_of(i, layers);
		uint64_t d = i / FILES_PER_DIR;

		if (i % (FILES_PER_DIR * DIRS_PER_DIR) == 0)
			fprintf(list, "D 0 d%02" PRIu64 "\n", d / DIRS_PER_DIR);
		if (i % FILES_PER_DIR == 0)
			fprintf(list, "D 0 d%02" PRIu64 "/s%02" PRIu64 "\n",
				d / DIRS_PER_DIR, d % DIRS_PER_DIR);
		snprintf(name, sizeof(name),
			 "d%02" PRIu64 "/s%02" PRIu64 "/f%06" PRIu64 ".h",
			 d / DIRS_PER_DIR, d % DIRS_PER_DIR, i);
		/* The first file of a directory makes it in the bottom. */
		if (p.layer && i % FILES_PER_DIR == 0)
			path_in(dir, 0, name);
		if (p.symlink) {
			if (symlink("../target", path_in(dir, p.layer, name)))
				bench_fail("%s: %m", name);
			fprintf(list, "L 0 %s\n", name);
			continue;
		}
		make_file(path_in(dir, p.layer, name), p.size, i);
		if (p.override)
			make_file(path_in(dir, 0, name), p.size / 2, ~i);
		if (!p.whiteout) {
			fprintf(list, "F %" PRIu64 " %s\n", p.size, name);
			continue;
		}
		if (mknod(path_in(dir, layers - 1, name), S_IFCHR,
			  makedev(0, 0)))
			bench_fail("whiteout of %s: %m", name);
	}
	close_list(list);
}

static void flat(const char *dir, uint64_t files, uint64_t per_dir,
		 const char *list_path)
{
	FILE *list = open_list(list_path);
	char path[8192], name[100];
	uint64_t i;

	make_dir(dir);
	for (i = 0; i < files; i++) {
		if (i % per_dir == 0) {
			snprintf(name, sizeof(name), "d%04" PRIu64, i / per_dir);
			snprintf(path, sizeof(path), "%s/%s", dir, name);
			make_dir(path);
			fprintf(list, "D 0 %s\n", name);
		}
		snprintf(name, sizeof(name), "d%04" PRIu64 "/file-%07" PRIu64,
			 i / per_dir, i);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (mknod(path, S_IFREG | 0644, 0))
			bench_fail("%s: %m", path);
		fprintf(list, "F 0 %s\n", name);
	}
	close_list(list);
}

static void lowers(const char *dir, unsigned int layers)
{
	unsigned int layer;
	char name[40];

	make_dir(dir);
	for (layer = 0; layer < layers; layer++) {
		snprintf(name, sizeof(name), "file-%u", layer);
		make_file(path_in(dir, layer, name), 100, layer);
	}
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "image"))
		image(argv[2], bench_number(argv[3]),
		      (unsigned int)bench_number(argv[4]), argv[5]);
	else if (argc == 6 && !strcmp(argv[1], "flat"))
		flat(argv[2], bench_number(argv[3]), bench_number(argv[4]),
		     argv[5]);
	else if (argc == 4 && !strcmp(argv[1], "lowers"))
		lowers(argv[2], (unsigned int)bench_number(argv[3]));
	else if (argc == 4 && !strcmp(argv[1], "big"))
		make_file(argv[2], bench_number(argv[3]), 1);
	else
		bench_fail("wrong arguments");
	return 0;
}
