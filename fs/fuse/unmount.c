/* SPDX-License-Identifier: Apache-2.0 */
#include "unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS 10000

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

uint64_t unmount_id(const char *path)
{
	struct statx stx;

	/* DONT_SYNC and no attribute wanted: no request to ourselves. */
	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
		  STATX_MNT_ID, &stx) ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return stx.stx_mnt_id;
}

/* Only async-signal-safe calls below: we are a fork of a threaded process. */

static int run_fusermount(const char *path, const char *lazy)
{
	const char *argv[8];
	int n = 0, status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (null >= 0) {
			dup2(null, 0);
			dup2(null, 1);
			dup2(null, 2);
		}
		argv[n++] = "fusermount3";
		argv[n++] = "-u";
		argv[n++] = "-q";
		if (lazy)
			argv[n++] = lazy;
		argv[n++] = "--";
		argv[n++] = path;
		argv[n] = NULL;
		/* execv() changes none of its strings. */
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EBUSY;
}

int unmount_any(const char *path, bool lazy)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	return run_fusermount(path, lazy ? "-z" : NULL);
}

static int child(const char *path, uint64_t id)
{
	int fd, r;

	if (id && unmount_id(path) != id)
		return 0; /* somebody was faster */
	r = unmount_any(path, false);
	if (r != -EBUSY)
		return r == -EINVAL ? 0 : r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		(void)syncfs(fd);
		close(fd);
	}
	return unmount_any(path, true);
}

int unmount_clean(const char *path, uint64_t id)
{
	struct pollfd pfd = { .events = POLLIN };
	int status, r;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		(void)syscall(SYS_close_range, 3U, ~0U, 0U);
		_exit(-child(path, id) & 0xff);
	}
	pfd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pfd.fd >= 0) {
		do {
			r = poll(&pfd, 1, TIMEOUT_MS);
		} while (r < 0 && errno == EINTR);
		close(pfd.fd);
		if (r == 0) {
			/* Stuck in our own mount: it ends when we do. */
			kill(pid, SIGKILL);
			return -ETIMEDOUT;
		}
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}
