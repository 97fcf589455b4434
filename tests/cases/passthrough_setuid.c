/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passthrough_setuid DIR UID: every way of changing a file's content takes
 * setuid and setgid away from what another uid may write, before anybody can
 * execute it, and in the attributes that the kernel remembers.
 *
 * DIR's files NN-MODE are copies of id(1), writable to all. Does it as UID,
 * then as root, whom they are left to.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const ways[] = {
	"write",
	"pwrite",
	"writev",
	"append",
	"ftruncate",
	"truncate",
	"fallocate",
	"zero a range",
	"copy_file_range",
	"splice",
	"write by a descriptor from before chmod",
};

static int change(const char *path, unsigned way, int before)
{
	char elf[4] = "\177ELF", c = 0;
	struct iovec v = { elf, sizeof(elf) };
	int fd = -1, r = -1, p[2];
	off_t off = 0, end;
	struct stat st;

	if (stat(path, &st) < 0)
		return -1;
	end = st.st_size;
	if (way == 5)
		return truncate(path, end + 1);
	fd = way == 10 ? before : open(path, O_RDWR | (way == 3 ? O_APPEND : 0));
	if (fd < 0)
		return -1;
	switch (way) {
	case 0:
	case 10:
		r = write(fd, elf, 4) == 4 ? 0 : -1;
		break;
	case 1:
		r = pwrite(fd, elf, 4, 0) == 4 ? 0 : -1;
		break;
	case 2:
		r = pwritev(fd, &v, 1, 0) == 4 ? 0 : -1;
		break;
	case 3:
		r = write(fd, &c, 1) == 1 ? 0 : -1;
		break;
	case 4:
		r = ftruncate(fd, end + 1);
		break;
	case 6:
		r = fallocate(fd, 0, end, 4096);
		break;
	case 7:
		r = fallocate(fd, FALLOC_FL_ZERO_RANGE, end, 4096);
		break;
	case 8:
		r = copy_file_range(fd, &off, fd, &end, 100, 0) == 100 ? 0 : -1;
		break;
	case 9:
		if (pipe(p) < 0 || write(p[1], elf, 4) != 4)
			break;
		r = splice(p[0], NULL, fd, &off, 4, 0) == 4 ? 0 : -1;
		break;
	default:
		break;
	}
	(void)close(fd);
	return r;
}

/* The effective ids of who executes @path, or -1. */
static int executed_as(const char *path, const char *flag)
{
	char out[32] = "";
	int p[2];
	pid_t pid;

	if (pipe(p) < 0)
		return -1;
	pid = fork();
	if (!pid) {
		(void)dup2(p[1], 1);
		(void)close(p[0]);
		execl(path, "id", flag, (char *)NULL);
		_exit(9);
	}
	(void)close(p[1]);
	(void)!read(p[0], out, sizeof(out) - 1);
	(void)close(p[0]);
	(void)waitpid(pid, NULL, 0);
	return out[0] ? atoi(out) : -1;
}

static int become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0)
		return -1;
	return setresuid(uid, uid, uid);
}

/* As @uid changes and executes the file. Returns the number of mistakes. */
static int attack(const char *path, unsigned way, mode_t mode, uid_t uid)
{
	int before = -1, status, mistakes = 0;
	struct stat st;
	pid_t pid;

	/* the attacker has it open since it was harmless */
	if (way == 10) {
		if (chmod(path, 0777) < 0)
			return 1;
		pid = 0;
		before = open(path, O_RDWR);
		if (before < 0 || pwrite(before, "\177ELF", 4, 0) != 4 || chmod(path, mode) < 0)
			return 1;
	}
	(void)fflush(stdout);
	pid = fork();
	if (!pid) {
		int euid, egid;

		if (become(uid))
			_exit(1);
		/* the kernel remembers what the mode was */
		if (stat(path, &st) < 0 || (st.st_mode & 07777) != mode) {
			(void)printf("%s: mode %o before\n", path, st.st_mode);
			_exit(1);
		}
		if (change(path, way, before) < 0) {
			(void)printf("%s: %s: %s\n", path, ways[way], strerror(errno));
			_exit(1);
		}
		euid = executed_as(path, "-u");
		egid = executed_as(path, "-g");
		if (euid != (int)uid || egid != (int)uid)
			(void)printf("%s (%o) after %s: executed as %d:%d\n", path, mode, ways[way],
				     euid, egid);
		if (stat(path, &st) < 0 || st.st_mode & (S_ISUID | S_ISGID)) {
			(void)printf("%s after %s: mode %o\n", path, ways[way], st.st_mode & 07777);
			egid = -2;
		}
		(void)fflush(stdout);
		_exit(euid != (int)uid || egid != (int)uid);
	}
	if (before >= 0)
		(void)close(before);
	if (waitpid(pid, &status, 0) < 0 || status)
		mistakes++;
	return mistakes;
}

/* Root's changes take nothing away. */
static int keep(const char *path, unsigned way, mode_t mode)
{
	int before = way == 10 ? open(path, O_RDWR) : -1;
	struct stat st;

	if (chmod(path, mode) < 0 || change(path, way, before) < 0 || stat(path, &st) < 0) {
		(void)printf("%s: root: %s: %s\n", path, ways[way], strerror(errno));
		return 1;
	}
	if ((st.st_mode & 07777) == mode)
		return 0;
	(void)printf("%s: root: %s makes mode %o\n", path, ways[way], st.st_mode & 07777);
	return 1;
}

int main(int argc, char **argv)
{
	static const mode_t modes[] = { 04777, 02777, 06777 };
	unsigned way, m, mistakes = 0;
	char path[500];

	if (argc < 3)
		return 2;
	for (m = 0; m < 3; m++) {
		for (way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
			(void)snprintf(path, sizeof(path), "%s/%u-%o", argv[1], way, modes[m]);
			mistakes += (unsigned)attack(path, way, modes[m], (uid_t)atoi(argv[2]));
			mistakes += (unsigned)keep(path, way, modes[m]);
		}
	}
	(void)printf("%u mistakes\n", mistakes);
	return mistakes > 0;
}
