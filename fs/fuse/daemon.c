/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1;

static void close_from(unsigned int first, unsigned int last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0U) == 0)
		return;
	/* Linux < 5.9. */
	for (unsigned int fd = first; fd <= last && fd < 65536; fd++)
		(void)close((int)fd);
}

static void close_inherited(int keep_fd)
{
	if (keep_fd < 3) {
		close_from(3, ~0U);
		return;
	}
	close_from(3, (unsigned int)keep_fd - 1);
	close_from((unsigned int)keep_fd + 1, ~0U);
}

/* 0, 1 and 2 are open, if only on /dev/null: no other file may become them. */
static int fill_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd < 3);
	close(fd);
	return 0;
}

static void wait_for_child(int fd, pid_t pid) __attribute__((noreturn));
static void wait_for_child(int fd, pid_t pid)
{
	ssize_t n;
	int status;
	char c;

	do {
		n = read(fd, &c, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(1);
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "the daemon died of signal %d before it was ready\n",
			WTERMSIG(status));
		_exit(128 + WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

int daemon_begin(int keep_fd)
{
	int fds[2], r;
	pid_t pid;

	r = fill_standard();
	if (r)
		return r;
	close_inherited(keep_fd);
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	/* What is buffered would be written twice. */
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0) {
		r = -errno;
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(fds[0], pid);
	}
	close(fds[0]);
	ready_fd = fds[1];
	(void)setsid(); /* cannot fail: we lead no process group */
	return 0;
}

int daemon_ready(void)
{
	int fd, r = 0;
	ssize_t n;

	if (ready_fd < 0)
		return 0;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (chdir("/"))
		r = -errno;
	(void)fflush(NULL);
	for (int i = 0; i < 3 && r == 0; i++)
		if (dup2(fd, i) < 0)
			r = -errno;
	close(fd);
	if (r)
		return r;
	do {
		n = write(ready_fd, "", 1);
	} while (n < 0 && errno == EINTR);
	close(ready_fd); /* EPIPE: the parent is gone, and nobody waits */
	ready_fd = -1;
	return 0;
}
