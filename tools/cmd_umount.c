/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl umount: unmounts, and waits until the daemon is gone: then all is on disk. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/mounts.h"
#include "tools/out.h"
#include "tools/plyctl.h"

/* fusermount3, for who may not unmount by himself. 0, -ENOENT, -EBUSY. */
static int fusermount(const char *point, bool lazy)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (lazy)
			(void)execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", point,
				     NULL);
		else
			(void)execlp("fusermount3", "fusermount3", "-u", "-q", "--", point, NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EBUSY;
}

static int unmount(const char *point, bool lazy)
{
	if (umount2(point, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM ? fusermount(point, lazy) : -errno;
}

/* Until the process is gone. 0, or -ETIMEDOUT. */
static int wait_for(int pidfd, unsigned seconds)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, (int)seconds * 1000);
	} while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : r < 0 ? -errno :
				   -ETIMEDOUT;
}

static int run(struct cmd *c)
{
	bool lazy = cmd_option(c, "lazy"), gone = false;
	const char *timeout = cmd_option(c, "timeout");
	uint64_t seconds = 60;
	struct mount_info m;
	int pid, fd = -1, r;

	if (timeout && cmd_parse_number(timeout, 86400, &seconds) < 0)
		return cmd_usage(c, "--timeout %s: this is no number of seconds", timeout);
	r = mount_find(c->argv[0], &m);
	if (r == -ENOENT)
		return cmd_fail(r, strdup("nothing is mounted there"), c->argv[0]);
	if (r == -EINVAL)
		return cmd_fail(r, strdup("this is no mount of plyfs"), c->argv[0]);
	if (r < 0)
		return cmd_fail(r, NULL, c->argv[0]);
	pid = mount_daemon(m.dev, NULL);
	if (pid > 0)
		fd = (int)syscall(SYS_pidfd_open, pid, 0);
	r = unmount(m.point, lazy);
	if (r == -EBUSY) {
		mount_info_free(&m);
		sys_close(fd);
		return cmd_fail(r,
				strdup("somebody uses it (--lazy takes it away as soon as nobody "
				       "does)"),
				c->argv[0]);
	}
	if (r == 0 && fd >= 0 && !lazy) {
		r = wait_for(fd, (unsigned)seconds);
		gone = r == 0;
	}
	sys_close(fd);
	if (r == -ETIMEDOUT)
		r = cmd_fail(r, strdup("unmounted, but its daemon still writes"), m.point);
	else if (r < 0)
		r = cmd_fail(r, NULL, c->argv[0]);
	if (r == CMD_OK && c->json) {
		json_object(NULL);
		json_string("mount", m.point);
		json_string("source", m.source);
		json_bool("daemon_ended", gone);
		json_end();
	}
	mount_info_free(&m);
	return r;
}

static const struct cmd_option options[] = {
	{ 'l', "lazy", NULL, "even if it is used; do not wait" },
	{ 't', "timeout", "SECONDS", "how long to wait for the daemon's end, 60 by default" },
	{ 0 },
};

const struct command cmd_umount = {
	.name = "umount",
	.args = "DIR",
	.summary = "Unmount, and wait until all is written",
	.options = options,
	.min = 1,
	.max = 1,
	.run = run,
};
