/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bigio read FILE [TAG], bigio write FILE MIB [TAG]
 *
 * Times a big file as bench/micro/bigfile.c does, but verifies nothing, so that
 * a daemon that does nothing can be measured: bench/floor-bigfile.
 * Prints "TAG row microseconds" per MiB, or per call of 4 KiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB (1L << 20)
#define CALLS 20000

static char buffer[MIB];
static const char *tag = "-";

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void print(const char *row, double us)
{
	printf("%s %s %.3f\n", tag, row, us);
}

static int read_whole(int fd, long mib, const char *row)
{
	double begin = now();
	long total = 0;
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET))
		return -1;
	while ((n = read(fd, buffer, 128 << 10)) > 0)
		total += n;
	if (n < 0 || total != mib * MIB)
		return -1;
	if (row)
		print(row, (now() - begin) / (double)mib);
	return 0;
}

static int do_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t x = 88172645463325252ULL;
	struct stat st;
	double begin;
	long mib;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	mib = st.st_size / MIB;
	if (read_whole(fd, mib, "seq_read_cold") || read_whole(fd, mib, NULL) ||
	    read_whole(fd, mib, "seq_read_warm"))
		return -1;
	begin = now();
	for (int i = 0; i < CALLS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (pread(fd, buffer, 4096, (off_t)(x % (uint64_t)(mib * 256)) * 4096) != 4096)
			return -1;
	}
	print("rand_read", (now() - begin) / CALLS);
	return 0;
}

static int do_write(const char *path, long mib)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	double begin = now();

	if (fd < 0)
		return -1;
	memset(buffer, 'w', sizeof(buffer));
	for (long i = 0; i < mib; i++)
		if (write(fd, buffer, MIB) != MIB)
			return -1;
	print("seq_write", (now() - begin) / (double)mib);
	return close(fd);
}

int main(int argc, char **argv)
{
	int r = 2;

	if (argc >= 3 && !strcmp(argv[1], "read")) {
		tag = argc > 3 ? argv[3] : tag;
		r = do_read(argv[2]);
	} else if (argc >= 4 && !strcmp(argv[1], "write")) {
		tag = argc > 4 ? argv[4] : tag;
		r = do_write(argv[2], strtol(argv[3], NULL, 10));
	}
	if (r < 0)
		perror(argv[2]);
	return r ? 1 : 0;
}
