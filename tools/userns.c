/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user namespace in which an ordinary user's container storage can be read: the user
 * is 0 there, and the ids that /etc/subuid and /etc/subgid give follow from 1, as
 * "podman unshare" has it. newuidmap(1) and newgidmap(1) write the maps, from outside: by
 * a child that waits until we are inside.
 */
#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/preparing.h"

#define MAX_RANGES 16
#define MAX_ARGS (2 + 3 * (MAX_RANGES + 1) + 1)

/* Arguments of newuidmap: the program, a process, and triples. */
struct map {
	char *arg[MAX_ARGS];
	unsigned n;
	unsigned long next; /* the first id inside that is not given */
};

static int add_arg(struct map *m, unsigned long v)
{
	return asprintf(&m->arg[m->n++], "%lu", v) < 0 ? -ENOMEM : 0;
}

static int add_range(struct map *m, unsigned long outside, unsigned long count)
{
	if (m->n + 4 > MAX_ARGS || add_arg(m, m->next) < 0 || add_arg(m, outside) < 0 ||
	    add_arg(m, count) < 0)
		return -ENOMEM;
	m->next += count;
	return 0;
}

/* "NAME-OR-UID:FIRST:COUNT" lines that are ours. -ENOENT: none. */
static int add_ranges(struct map *m, const char *file, const char *name, uid_t uid)
{
	FILE *f = fopen(file, "re");
	char line[512], who[256];
	unsigned long first, count, found = 0;
	int r = 0;

	if (!f)
		return -errno;
	while (r == 0 && fgets(line, sizeof(line), f)) {
		char number[24];

		if (sscanf(line, "%255[^:]:%lu:%lu", who, &first, &count) != 3 || !count)
			continue;
		(void)snprintf(number, sizeof(number), "%u", uid);
		if (strcmp(who, number) != 0 && strcmp(who, name) != 0)
			continue;
		if (++found <= MAX_RANGES)
			r = add_range(m, first, count);
	}
	(void)fclose(f);
	return r < 0 ? r : found ? 0 :
				   -ENOENT;
}

static int make_map(struct map *m, const char *program, const char *file, const char *name,
		    uid_t uid, unsigned long self, pid_t pid)
{
	int r;

	memset(m, 0, sizeof(*m));
	m->arg[m->n++] = sys_strdup(program);
	r = add_arg(m, (unsigned long)pid);
	if (r == 0)
		r = add_range(m, self, 1);
	return r == 0 ? add_ranges(m, file, name, uid) : r;
}

static int run(char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)execvp(argv[0], argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOENT;
	return status ? -EPERM : 0;
}

/* In a child outside: waits for a byte, then writes both maps. The exit status. */
static int write_maps(int fd, struct map *uids, struct map *gids)
{
	char c;
	int r;

	if (read(fd, &c, 1) != 1)
		return 0;
	r = run(uids->arg);
	if (r == 0)
		r = run(gids->arg);
	return -r;
}

/* Our own arguments, once more. */
static char **own_args(char **ret_buf)
{
	char *buf = NULL, **argv;
	size_t size = 0, n = 0, i, k;
	FILE *f = fopen("/proc/self/cmdline", "re");

	if (!f)
		return NULL;
	while (!feof(f) && size < (4U << 20)) {
		char *p = sys_realloc(buf, size + 65537);

		if (!p)
			break;
		buf = p;
		size += fread(buf + size, 1, 65536, f);
	}
	(void)fclose(f);
	if (!buf)
		return NULL;
	buf[size] = 0;
	for (i = 0; i < size; i++)
		n += !buf[i];
	argv = sys_calloc(n + 2, sizeof(char *));
	for (i = k = 0; argv && i < size; i += strlen(buf + i) + 1)
		argv[k++] = buf + i;
	*ret_buf = buf;
	return argv;
}

static int say(char **ret_err, int r, const char *why)
{
	if (asprintf(ret_err,
		     "these files belong to your subordinate ids, and a user namespace is needed "
		     "to read them: %s; try: podman unshare plyctl ...",
		     why) < 0)
		*ret_err = NULL;
	return r;
}

int userns_enter(const struct image *img, char **ret_err)
{
	const struct passwd *pw = getpwuid(getuid());
	struct map uids, gids;
	char me[16], **argv, *buf = NULL;
	int fds[2], status, r;
	pid_t pid;

	if (!image_needs_userns(img) || geteuid() == 0)
		return 0;
	if (make_map(&uids, "newuidmap", "/etc/subuid", pw ? pw->pw_name : "", getuid(), getuid(),
		     getpid()) < 0 ||
	    make_map(&gids, "newgidmap", "/etc/subgid", pw ? pw->pw_name : "", getuid(), getgid(),
		     getpid()) < 0)
		return say(ret_err, -EACCES, "/etc/subuid and /etc/subgid give you none");
	(void)snprintf(me, sizeof(me), "%u", getuid());
	argv = own_args(&buf);
	if (!argv || pipe2(fds, O_CLOEXEC) < 0)
		return -ENOMEM;
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)close(fds[1]);
		_exit(write_maps(fds[0], &uids, &gids));
	}
	(void)close(fds[0]);
	r = unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
	if (r == 0 && write(fds[1], "", 1) != 1)
		r = -errno;
	(void)close(fds[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return say(ret_err, -EACCES, "the kernel refuses to make one");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return say(ret_err, -EACCES,
			   WIFEXITED(status) && WEXITSTATUS(status) == ENOENT ?
				   "newuidmap is not installed (package uidmap)" :
				   "newuidmap refuses");
	if (setenv("_CONTAINERS_ROOTLESS_UID", me, 1) < 0)
		return -ENOMEM;
	(void)execv("/proc/self/exe", argv);
	return say(ret_err, -errno, "this program cannot be run again there");
}
