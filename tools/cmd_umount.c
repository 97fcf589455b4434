/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl umount: unmounts, and waits until the daemon is gone: then all is on disk. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/fuse/unmount.h"
#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/mounts.h"
#include "tools/out.h"
#include "tools/plyctl.h"

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
	r = unmount_any(m.point, lazy);
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
