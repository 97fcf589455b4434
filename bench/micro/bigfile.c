/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bigfile read FILE		seq_read_cold, seq_read_warm, rand_read
 * bigfile write FILE BYTES	seq_write, rand_write
 * bigfile copyup FILE		copy_up: one byte written into a lower file
 *
 * Sequential operations are counted in MiB, random ones in pieces of 4 KiB.
 * Nothing is fsynced by the workload: copy-up syncs where the filesystem
 * itself does.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)
#define PIECE 4096u
#define RANDOM_OPS 20000u

static char buffer[MIB], check[MIB];

static uint64_t size_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		bench_fail("%s: %m", path);
	return (uint64_t)st.st_size;
}

/* Some places of the file must hold what mktree big wrote. */
static void check_content(const char *path, uint64_t size, uint64_t except)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t off;

	if (fd < 0)
		bench_fail("%s: %m", path);
	for (off = 0; off + PIECE <= size; off += 37u * PIECE) {
		bench_fill(check, PIECE, 1 + off);
		if (off / PIECE != except / PIECE &&
		    (pread(fd, buffer, PIECE, (off_t)off) != PIECE ||
		     memcmp(buffer, check, PIECE)))
			bench_fail("%s: wrong content at %ju", path,
				   (uintmax_t)off);
	}
	close(fd);
}

static void read_whole(const char *path, uint64_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t total = 0;
	ssize_t n;

	if (fd < 0)
		bench_fail("%s: %m", path);
	while ((n = read(fd, buffer, 128 << 10)) > 0)
		total += (uint64_t)n;
	if (n < 0 || total != size)
		bench_fail("%s: read %ju of %ju bytes", path, (uintmax_t)total,
			   (uintmax_t)size);
	close(fd);
}

static void do_read(const char *path)
{
	uint64_t i, size = size_of(path);
	int fd;

	bench_begin("seq_read_cold");
	read_whole(path, size);
	bench_end(size / MIB);
	read_whole(path, size);
	bench_begin("seq_read_warm");
	read_whole(path, size);
	bench_end(size / MIB);

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_fail("%s: %m", path);
	bench_begin("rand_read");
	for (i = 0; i < RANDOM_OPS; i++) {
		uint64_t off = bench_hash(i) % (size / PIECE) * PIECE;

		if (pread(fd, buffer, PIECE, (off_t)off) != PIECE)
			bench_fail("%s: pread: %m", path);
	}
	bench_end(RANDOM_OPS);
	close(fd);
	check_content(path, size, size);
}

static void do_write(const char *path, uint64_t size)
{
	uint64_t i;
	int fd;

	size -= size % MIB;
	bench_fill(buffer, sizeof(buffer), 7);
	bench_begin("seq_write");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		bench_fail("%s: %m", path);
	for (i = 0; i < size; i += MIB)
		if (write(fd, buffer, MIB) != MIB)
			bench_fail("%s: write: %m", path);
	if (close(fd))
		bench_fail("%s: close: %m", path);
	bench_end(size / MIB);
	if (size_of(path) != size)
		bench_fail("%s: wrong size", path);

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		bench_fail("%s: %m", path);
	memset(buffer, 'r', PIECE);
	bench_begin("rand_write");
	for (i = 0; i < RANDOM_OPS; i++) {
		uint64_t off = bench_hash(i) % (size / PIECE) * PIECE;

		if (pwrite(fd, buffer, PIECE, (off_t)off) != PIECE)
			bench_fail("%s: pwrite: %m", path);
	}
	bench_end(RANDOM_OPS);
	for (i = 0; i < RANDOM_OPS; i += 97) {
		uint64_t off = bench_hash(i) % (size / PIECE) * PIECE;

		if (pread(fd, check, PIECE, (off_t)off) != PIECE ||
		    memcmp(check, buffer, PIECE))
			bench_fail("%s: a write is lost", path);
	}
	close(fd);
}

static void do_copyup(const char *path)
{
	uint64_t size = size_of(path);
	uint64_t middle = size / 2;
	int fd;

	bench_begin("copy_up");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, "x", 1, (off_t)middle) != 1 || close(fd))
		bench_fail("%s: %m", path);
	bench_end(size / MIB);
	if (size_of(path) != size)
		bench_fail("%s: wrong size", path);
	check_content(path, size, middle);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "read"))
		do_read(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "write"))
		do_write(argv[2], bench_number(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "copyup"))
		do_copyup(argv[2]);
	else
		bench_fail("wrong arguments");
	return 0;
}
