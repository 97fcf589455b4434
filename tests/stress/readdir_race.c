/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists a directory again and again through a 1 KiB buffer while other
 * processes unlink, create, rename and change (for the first time: copy up)
 * files in it. Names that stay must be listed exactly once in every listing.
 *
 * usage: readdir_race make DIR N     make N files of each kind (in a layer)
 *        readdir_race run DIR N SECONDS
 *
 * stay-*  are never touched      touch-*  are changed in place, once each
 * go-*    are unlinked           move-*   are renamed to moved-*
 * In addition new-* come and go all the time.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct dent64 {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void make_file(int dfd, const char *name)
{
	int fd = openat(dfd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, name, strlen(name)) < 0)
		die(name);
	close(fd);
}

static void make(int dfd, int n)
{
	static const char *const kinds[] = { "stay", "touch", "go", "move" };
	char name[64];
	int i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "%s-%05d", kinds[k], i);
			make_file(dfd, name);
		}
}

/* One listing; returns the number of mistakes. */
static int list_once(int dfd, int n, unsigned char *seen)
{
	char buf[1024];
	int fd = openat(dfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int bad = 0, i, k;
	long got, off;

	if (fd < 0)
		die("open .");
	/* 0 stay, 1 touch, 2 go, 3 move, 4 moved, and the dots */
	memset(seen, 0, (size_t)n * 5 + 2);
	while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (off = 0; off < got;) {
			const struct dent64 *d = (const void *)(buf + off);
			const char *dash = strrchr(d->name, '-');
			int kind;

			off += d->reclen;
			if (d->name[0] == '.') {
				seen[n * 5 + (d->name[1] == '.')]++;
				continue;
			}
			kind = !strncmp(d->name, "stay-", 5)  ? 0 :
			       !strncmp(d->name, "touch-", 6) ? 1 :
			       !strncmp(d->name, "go-", 3)    ? 2 :
			       !strncmp(d->name, "move-", 5)  ? 3 :
			       !strncmp(d->name, "moved-", 6) ? 4 :
								5;
			if (kind == 5 || !dash)
				continue; /* new-*: anything goes */
			i = atoi(dash + 1);
			if (i < 0 || i >= n) {
				printf("%s: there is no such name\n", d->name);
				bad++;
			} else if (seen[kind * n + i]++) {
				printf("%s is listed twice\n", d->name);
				bad++;
			}
		}
	if (got < 0)
		die("getdents64");
	for (k = 0; k < 2; k++)
		for (i = 0; i < n; i++)
			if (!seen[k * n + i]) {
				printf("%s-%05d is not listed\n",
				       k ? "touch" : "stay", i);
				bad++;
			}
	if (seen[n * 5] != 1 || seen[n * 5 + 1] != 1) {
		printf(". is listed %u times, .. %u times\n", seen[n * 5],
		       seen[n * 5 + 1]);
		bad++;
	}
	close(fd);
	return bad;
}

static pid_t spawn(void (*f)(int dfd, int n, int arg), int dfd, int n, int arg)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		f(dfd, n, arg);
		exit(0);
	}
	return pid;
}

/* Spread the one-off changes over the test's time. */
static void changer(int dfd, int n, int seconds)
{
	char name[64], to[64];
	int i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "touch-%05d", i);
		if (fchmodat(dfd, name, 0600, 0))
			die(name);
		snprintf(name, sizeof(name), "go-%05d", i);
		if (unlinkat(dfd, name, 0))
			die(name);
		snprintf(name, sizeof(name), "move-%05d", i);
		snprintf(to, sizeof(to), "moved-%05d", i);
		if (renameat(dfd, name, dfd, to))
			die(name);
		usleep((useconds_t)(900000ll * seconds / (n + 1)));
	}
}

static void churner(int dfd, int n, int which)
{
	char name[64], to[64];
	unsigned int i;

	(void)n;
	for (i = 0;; i++) {
		snprintf(name, sizeof(name), "new-%d-%u", which, i % 50);
		snprintf(to, sizeof(to), "new-%d-%u-b", which, i % 50);
		make_file(dfd, name);
		if (renameat(dfd, name, dfd, to))
			die(name);
		if (unlinkat(dfd, to, 0))
			die(to);
	}
}

static int run(int dfd, int n, int seconds)
{
	unsigned char *seen = calloc((size_t)n * 5 + 2, 1);
	time_t until = time(NULL) + seconds;
	pid_t change = spawn(changer, dfd, n, seconds);
	pid_t churn[2] = { spawn(churner, dfd, n, 0),
			   spawn(churner, dfd, n, 1) };
	int bad = 0, status, i;
	long lists = 0;

	if (!seen)
		return 1;
	while (time(NULL) < until && bad < 20) {
		bad += list_once(dfd, n, seen);
		lists++;
	}
	for (i = 0; i < 2; i++) {
		if (waitpid(churn[i], &status, WNOHANG) == churn[i]) {
			printf("a process that makes files ended early\n");
			bad++;
			continue;
		}
		kill(churn[i], SIGTERM);
		waitpid(churn[i], &status, 0);
	}
	if (waitpid(change, &status, 0) != change || status) {
		printf("the process that changes files failed\n");
		bad++;
	}
	bad += list_once(dfd, n, seen);
	/* now that it is quiet, the listing is exact */
	for (i = 0; i < n; i++)
		if (seen[2 * n + i] || seen[3 * n + i] || !seen[4 * n + i]) {
			printf("%05d: go listed %u, move %u, moved %u times\n",
			       i, seen[2 * n + i], seen[3 * n + i],
			       seen[4 * n + i]);
			bad++;
		}
	printf("%ld listings of %d names, %d mistakes\n", lists, 4 * n, bad);
	free(seen);
	return bad != 0;
}

int main(int argc, char **argv)
{
	int dfd, n;

	if (argc < 4 || !(n = atoi(argv[3])) ||
	    (strcmp(argv[1], "make") && argc < 5)) {
		fprintf(stderr, "usage: readdir_race make DIR N | run DIR N SECONDS\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	dfd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dfd < 0)
		die(argv[2]);
	if (!strcmp(argv[1], "make")) {
		make(dfd, n);
		return 0;
	}
	return run(dfd, n, atoi(argv[4]));
}
