/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A side: one tree and the process that works in it. The process has the tree
 * as its root where it may, so that no link leads out of it; it keeps the
 * open descriptors and mappings. Operations and results pass through shared
 * memory, a byte on a socket says that there is something.
 */
#ifndef TESTS_DIFF_SIDE_H
#define TESTS_DIFF_SIDE_H

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "dump.h"
#include "exec_ns.h"

#define SIDE_TIMEOUT_MS 60000

struct side_shared {
	struct op op;
	struct res res;
	int rc;
};

struct side {
	const char *name;
	pid_t pid;
	int sock;
	int memfd;
	struct side_shared *sh;
};

static inline void side_child(struct side *s, const char *root, int sock)
{
	static struct exec x;
	struct sigaction sa = { .sa_handler = exec_on_fault };
	char c;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	umask(022);
	if (geteuid() ? chdir(root) : chroot(root) || chdir("/"))
		_exit(96);
	x.root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x.res = &s->sh->res;
	for (i = 0; i < N_SLOTS; i++)
		x.fds[i] = -1;
	while (read(sock, &c, 1) == 1) {
		if (c == 'o')
			exec_run(&x, &s->sh->op);
		else if (c == 'd')
			s->sh->rc = dump_write(x.root, s->memfd);
		else
			break;
		if (write(sock, &c, 1) != 1)
			break;
	}
	_exit(0);
}

/* Start the process of s in the tree root; 0 or -errno. */
static inline int side_start(struct side *s, const char *root)
{
	int sv[2];

	if (!s->sh) {
		s->sh = mmap(NULL, sizeof(*s->sh), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		s->memfd = memfd_create("dump", MFD_CLOEXEC);
		if (s->sh == MAP_FAILED || s->memfd < 0)
			return -errno;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return -errno;
	s->pid = fork();
	if (s->pid < 0)
		return -errno;
	if (!s->pid) {
		close(sv[0]);
		side_child(s, root, sv[1]);
	}
	close(sv[1]);
	s->sock = sv[0];
	return 0;
}

static inline void side_stop(struct side *s)
{
	int i;

	if (s->pid <= 0)
		return;
	/* other children hold copies of the socket: closing says nothing */
	(void)!write(s->sock, "q", 1);
	close(s->sock);
	for (i = 0; i < 300; i++) {
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			break;
		if (i == 200)
			kill(s->pid, SIGKILL);
		usleep(i < 20 ? 500 : 20000);
	}
	s->pid = 0;
}

static inline int side_send(const struct side *s, char what)
{
	return write(s->sock, &what, 1) == 1 ? 0 : -EPIPE;
}

/* Wait for the answer to side_send; 0, -ETIMEDOUT, or -EPIPE (it died). */
static inline int side_wait(const struct side *s)
{
	struct pollfd p = { .fd = s->sock, .events = POLLIN };
	char c;

	if (poll(&p, 1, SIDE_TIMEOUT_MS) != 1)
		return -ETIMEDOUT;
	return read(s->sock, &c, 1) == 1 ? 0 : -EPIPE;
}

#endif
