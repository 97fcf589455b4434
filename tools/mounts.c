/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon has its counters open, in a memfd or in the file that it was told: they are
 * among its descriptors in /proc, for whom the kernel lets look there (its user, and
 * root). They name the mount by its device. What is read is not trusted: it is copied, and
 * its magic, version and sizes compared.
 */
#include "tools/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

void mount_info_free(struct mount_info *m)
{
	free(m->point);
	free(m->source);
	memset(m, 0, sizeof(*m));
}

/* Octal escapes of /proc/self/mountinfo, in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* The absolute path of a mountpoint, without asking what is mounted there. */
static char *absolute(const char *dir)
{
	_cleanup_free_ char *copy = sys_strdup(dir), *parent = NULL;
	size_t n = copy ? strlen(copy) : 0;
	char *slash, *ret = NULL;

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = 0;
	if (!n)
		return NULL;
	slash = strrchr(copy, '/');
	if (!strcmp(slash ? slash + 1 : copy, ".") || !strcmp(slash ? slash + 1 : copy, "..") ||
	    !strcmp(copy, "/"))
		return realpath(copy, NULL);
	if (slash)
		*slash = 0;
	parent = realpath(slash ? (*copy ? copy : "/") : ".", NULL);
	if (!parent)
		return NULL;
	if (asprintf(&ret, "%s/%s", strcmp(parent, "/") ? parent : "", slash ? slash + 1 : copy) <
	    0)
		return NULL;
	return ret;
}

/* One line: 1 it is ours, 0 it is not. */
static int parse_line(char *line, const char *path, struct mount_info *ret, char *type, size_t size)
{
	char *field[6], *p = line, *sep, *save = NULL, *fs, *source;
	unsigned i, major, minor;

	sep = strstr(line, " - ");
	if (!sep)
		return 0;
	*sep = 0;
	for (i = 0; i < 6; i++) {
		field[i] = strtok_r(i ? NULL : p, " ", &save);
		if (!field[i])
			return 0;
	}
	unescape(field[4]);
	if (strcmp(field[4], path) != 0 || sscanf(field[2], "%u:%u", &major, &minor) != 2)
		return 0;
	fs = strtok_r(sep + 3, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	if (!fs)
		return 0;
	(void)snprintf(type, size, "%s", fs);
	mount_info_free(ret);
	ret->dev = makedev(major, minor);
	ret->point = sys_strdup(field[4]);
	ret->source = sys_strdup(source ? source : "");
	if (ret->source)
		unescape(ret->source);
	return 1;
}

int mount_find(const char *dir, struct mount_info *ret)
{
	_cleanup_free_ char *path = absolute(dir), *line = NULL, *real = NULL;
	char type[64] = "";
	size_t size = 0;
	int found = 0;
	FILE *f;

	memset(ret, 0, sizeof(*ret));
	if (!path)
		return -ENOENT;
	for (;;) {
		f = fopen("/proc/self/mountinfo", "re");
		if (!f)
			return -errno;
		/* the last one is on top */
		while (getline(&line, &size, f) > 0)
			found |= parse_line(line, path, ret, type, sizeof(type));
		(void)fclose(f);
		if (found || real)
			break;
		/* perhaps a symlink to the mountpoint */
		real = realpath(path, NULL);
		if (!real)
			break;
		free(path);
		path = sys_strdup(real);
		if (!path)
			return -ENOMEM;
	}
	if (!found)
		return -ENOENT;
	if (strncmp(type, "fuse", 4) != 0) {
		mount_info_free(ret);
		return -EINVAL;
	}
	return ret->point && ret->source ? 0 : -ENOMEM;
}

int mount_counters(int fd, struct stats_file *ret)
{
	ssize_t n = sys_pread(fd, ret, sizeof(*ret), 0);

	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(*ret) || ret->magic != STATS_MAGIC ||
	    ret->version != STATS_VERSION || ret->size != sizeof(*ret) ||
	    ret->n_ops != STATS_N_OPS || ret->n_hist != STATS_N_HIST ||
	    ret->n_gauges != STATS_N_GAUGES)
		return -EINVAL;
	return 0;
}

/* Whether descriptor @name of @dir may be counters, as far as is seen without opening it. */
static bool may_be(int dir, const char *name)
{
	char target[256];
	struct statx st;
	ssize_t n = sys_readlinkat(dir, name, target, sizeof(target) - 1);

	if (n <= 0)
		return false;
	target[n] = 0;
	if (!strncmp(target, "/memfd:" STATS_MEMFD, 7 + sizeof(STATS_MEMFD) - 1))
		return true;
	return target[0] == '/' && strncmp(target, "/dev/", 5) != 0 &&
	       strncmp(target, "/proc/", 6) != 0 &&
	       sys_statx(dir, name, AT_STATX_DONT_SYNC, &st) == 0 && S_ISREG(st.stx_mode) &&
	       st.stx_size == sizeof(struct stats_file);
}

/* The counters of one process, if it serves @dev. */
static int daemon_of(const char *pid, dev_t dev, struct stats_file *f)
{
	char path[64];
	struct dirent *de;
	int dfd, r = -ENOENT;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dfd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	dir = dfd >= 0 ? fdopendir(dfd) : NULL;
	if (!dir) {
		sys_close(dfd);
		return -ENOENT;
	}
	while (r < 0 && (de = readdir(dir))) {
		int fd;

		if (de->d_name[0] == '.' || !may_be(dfd, de->d_name))
			continue;
		fd = sys_openat(dfd, de->d_name, O_RDONLY | O_NONBLOCK, 0);
		if (fd < 0)
			continue;
		if (mount_counters(fd, f) == 0 &&
		    (dev_t)f->gauge[STATS_MOUNT_DEV].value == dev)
			r = 0;
		sys_close(fd);
	}
	(void)closedir(dir);
	return r;
}

int mount_daemon(dev_t dev, struct stats_file *ret)
{
	_cleanup_free_ struct stats_file *f = sys_malloc(sizeof(*f));
	struct dirent *de;
	int r = -ENOENT;
	DIR *proc;

	if (!f)
		return -ENOMEM;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while (r < 0 && (de = readdir(proc))) {
		if (de->d_name[0] < '1' || de->d_name[0] > '9')
			continue;
		if (daemon_of(de->d_name, dev, f) == 0)
			r = (int)strtol(de->d_name, NULL, 10);
	}
	(void)closedir(proc);
	if (r > 0 && ret)
		memcpy(ret, f, sizeof(*f));
	return r;
}
