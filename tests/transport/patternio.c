/* SPDX-License-Identifier: Apache-2.0 */
/* patternio FILE...: read and write nullfs's pattern in pieces of all sizes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX (3U << 20)

static unsigned char pattern(off_t i)
{
	return (unsigned char)(i * 167 + (i >> 8));
}

static int one(int fd, unsigned char *buf, size_t size, off_t off)
{
	for (size_t i = 0; i < size; i++)
		buf[i] = pattern(off + (off_t)i);
	if (pwrite(fd, buf, size, off) != (ssize_t)size)
		return -1;
	for (size_t i = 0; i < size; i++)
		buf[i] = 0;
	if (pread(fd, buf, size, off) != (ssize_t)size)
		return -1;
	for (size_t i = 0; i < size; i++)
		if (buf[i] != pattern(off + (off_t)i))
			return -1;
	return 0;
}

int main(int argc, char *argv[])
{
	static const size_t sizes[] = { 1, 100, 4095, 4096, 4097, 8192, 65535, 65536, 65537,
					131072, 1048575, 1048576, 1048577, MAX };
	static const off_t offsets[] = { 0, 1, 4096, 4097, 1 << 20 };
	unsigned char *buf = malloc(MAX);

	for (int a = 1; a < argc; a++) {
		int fd = open(argv[a], O_RDWR);

		if (fd < 0 || !buf) {
			perror(argv[a]);
			return 1;
		}
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (size_t j = 0; j < sizeof(offsets) / sizeof(offsets[0]); j++) {
				if (one(fd, buf, sizes[i], offsets[j]) == 0)
					continue;
				fprintf(stderr, "%s: %zu bytes at %ld\n", argv[a], sizes[i],
					(long)offsets[j]);
				return 1;
			}
		}
		close(fd);
	}
	free(buf);
	return 0;
}
