/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passthrough_load load DIR SEED: eight processes open, read, write, map,
 * truncate, rename and replace the same files at random. Nothing may fail that
 * would not on a plain file system: no EIO for opens that do not agree, no
 * ESTALE; and no page may show what nobody wrote.
 *
 * passthrough_load opens DIR N: opens and closes files N times, of both
 * layers and new ones.
 *
 * passthrough_load blocks DIR N: makes, writes, removes and closes a file of
 * 1 MiB N times, the last close coming after the removal.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 8
#define FILES 12 /* f0 .. f11 */
#define ROUNDS 1500
#define BLOCK 512
#define MAX_SIZE 65536

static unsigned state;
static sigjmp_buf beyond;

/* O_TRUNC asks for no lock: a mapping may lose its pages at any time. */
static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(beyond, 1);
}

static unsigned rnd(unsigned n)
{
	state = state * 1664525U + 1013904223U;
	return (state >> 8) % n;
}

static int bad(const char *what, const char *path)
{
	(void)printf("%s: %s: %s\n", path, what, strerror(errno));
	(void)fflush(stdout);
	return 1;
}

/* Every block is one letter throughout, or zeros: writes are of whole blocks. */
static int check_block(const char *p, const char *path)
{
	size_t i;

	for (i = 1; i < BLOCK; i++) {
		if (p[i] == p[0])
			continue;
		errno = 0;
		return bad("a torn or foreign block", path);
	}
	if (p[0] && (p[0] < 'a' || p[0] > 'z')) {
		errno = 0;
		return bad("nobody wrote that", path);
	}
	return 0;
}

/*
 * With a lock of the whole file, so that whoever reads a block does so while
 * nobody writes it: also a test of the kernel's locks in this mode.
 */
static int lock(int fd, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLKW, &fl);
}

static int read_some(int fd, const char *path)
{
	char buf[BLOCK];
	ssize_t n;

	if (lock(fd, F_RDLCK) < 0)
		return bad("lock", path);
	n = pread(fd, buf, BLOCK, (off_t)rnd(MAX_SIZE / BLOCK) * BLOCK);
	if (lock(fd, F_UNLCK) < 0 || n < 0)
		return bad("read", path);
	return n == BLOCK ? check_block(buf, path) : 0;
}

static int write_some(int fd, const char *path)
{
	off_t at = (off_t)rnd(MAX_SIZE / BLOCK) * BLOCK;
	char buf[BLOCK];
	struct stat st;
	char *volatile p;
	volatile int r = 0;

	memset(buf, (int)('a' + rnd(26)), BLOCK);
	if (lock(fd, F_WRLCK) < 0)
		return bad("lock", path);
	switch (rnd(4)) {
	case 0:
		if (ftruncate(fd, at) < 0)
			r = bad("ftruncate", path);
		break;
	case 1:
		if (fstat(fd, &st) < 0 || st.st_size < at + BLOCK)
			break;
		p = mmap(NULL, MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			r = bad("mmap", path);
			break;
		}
		if (!sigsetjmp(beyond, 1)) {
			r = check_block(p + at, path);
			memcpy(p + at, buf, BLOCK);
		}
		(void)munmap(p, MAX_SIZE);
		break;
	default:
		if (pwrite(fd, buf, BLOCK, at) != BLOCK)
			r = bad("write", path);
	}
	if (lock(fd, F_UNLCK) < 0)
		return bad("unlock", path);
	return r;
}

static int one(const char *dir, unsigned me)
{
	char path[400], other[400];
	unsigned what = rnd(20), i;
	int fd, r = 0, mode = what < 10 ? O_RDONLY : O_RDWR;

	(void)snprintf(path, sizeof(path), "%s/f%u", dir, rnd(FILES));
	if (what == 19) {
		/* replaced by a new one, as editors do it */
		(void)snprintf(other, sizeof(other), "%s/new%u", dir, me);
		fd = open(other, O_RDWR | O_CREAT | O_EXCL, 0644);
		if (fd < 0)
			return bad("create", other);
		r = write_some(fd, other);
		if (rename(other, path) < 0)
			r = bad("rename", other);
		r |= write_some(fd, path);
		(void)close(fd);
		return r;
	}
	fd = open(path, mode | (what == 18 ? O_TRUNC : 0));
	/* a file that is being truncated is nobody's for a moment, but opens */
	if (fd < 0)
		return bad("open", path);
	for (i = rnd(6); !r && i; i--)
		r = mode == O_RDONLY || rnd(2) ? read_some(fd, path) : write_some(fd, path);
	if (close(fd) < 0)
		r = bad("close", path);
	return r;
}

static int load(const char *dir, unsigned seed)
{
	int failed = 0, status;
	unsigned i, k;

	(void)signal(SIGBUS, on_bus);
	for (i = 0; i < PROCESSES; i++) {
		if (fork())
			continue;
		state = seed + i * 7919;
		for (k = 0; k < ROUNDS; k++)
			if (one(dir, i))
				_exit(1);
		_exit(0);
	}
	while (wait(&status) > 0) {
		failed |= status != 0;
		if (WIFSIGNALED(status))
			(void)printf("signal %d\n", WTERMSIG(status));
	}
	if (failed)
		(void)printf("seed %u\n", seed);
	return failed;
}

static int opens(const char *dir, unsigned n)
{
	char path[400];
	unsigned i;
	int fd;

	for (i = 0; i < n; i++) {
		if (i % 10 == 9)
			(void)snprintf(path, sizeof(path), "%s/made%u", dir, i);
		else
			(void)snprintf(path, sizeof(path), "%s/f%u", dir, i % FILES);
		fd = open(path, (i % 3 ? O_RDONLY : O_RDWR) | (i % 10 == 9 ? O_CREAT : 0), 0644);
		if (fd < 0)
			return bad("open", path);
		(void)close(fd);
		if (i % 10 == 9 && unlink(path) < 0)
			return bad("unlink", path);
	}
	return 0;
}

static int blocks(const char *dir, unsigned n)
{
	static char buf[1 << 20];
	char path[400];
	unsigned i;
	int fd;

	memset(buf, 'b', sizeof(buf));
	for (i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/big", dir);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
		if (fd < 0 || write(fd, buf, sizeof(buf)) != (ssize_t)sizeof(buf) ||
		    unlink(path) < 0 || pread(fd, buf, sizeof(buf), 0) != (ssize_t)sizeof(buf))
			return bad("a removed file", path);
		(void)close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	if (!strcmp(argv[1], "load"))
		return load(argv[2], (unsigned)atoi(argv[3]));
	if (!strcmp(argv[1], "opens"))
		return opens(argv[2], (unsigned)atoi(argv[3]));
	return blocks(argv[2], (unsigned)atoi(argv[3]));
}
