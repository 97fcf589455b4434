/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passthrough DIR: what one descriptor of a file changes, all others see.
 *
 * For each way that DIR's files come to be (lower-*: of a lower layer, else
 * made here), each kind of watcher that has it open before, and each change,
 * made by another process: the watcher and a fresh open see the same file as a
 * plain one would be, at once and after everybody has closed it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 20000 /* of each file: not a multiple of a page */

static char model[4 * SIZE]; /* what the file should be */
static size_t model_len;
static const char *what = "";
static int mistakes;

static void __attribute__((format(printf, 1, 2))) wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)printf("%s: ", what);
	(void)vprintf(fmt, ap);
	(void)printf(" (%s)\n", strerror(errno));
	va_end(ap);
	mistakes++;
}

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)((i + seed) * 2654435761U >> 13);
}

/* --- changes ---------------------------------------------------------------- */

enum change {
	PWRITE,
	APPEND,
	MAP_STORE,
	SHRINK,
	GROW,
	TRUNCATE_PATH,
	O_TRUNC_OPEN,
	ALLOCATE,
	COPY_RANGE,
	RENAMED,
	REMOVED,
	LINKED,
	CHMODED,
	N_CHANGES
};

static const char *const change_name[] = {
	"pwrite",
	"append",
	"store through a mapping",
	"ftruncate to less",
	"ftruncate to more",
	"truncate by path",
	"open with O_TRUNC",
	"fallocate",
	"copy_file_range",
	"rename, pwrite",
	"unlink, pwrite",
	"pwrite by another link",
	"chmod",
};

/* Does it to @path; the model is changed by expect(). */
static int change(const char *path, enum change c)
{
	char buf[5000], other[600];
	int fd, in, flags, r = -1;
	char *p;

	fill(buf, sizeof(buf), 77);
	(void)snprintf(other, sizeof(other), "%s.other", path);
	if (c == TRUNCATE_PATH)
		return truncate(path, 4097);
	if (c == CHMODED)
		return chmod(path, 0640);
	if (c == LINKED && link(path, other) < 0)
		return -1;
	flags = O_RDWR | (c == APPEND ? O_APPEND : 0) | (c == O_TRUNC_OPEN ? O_TRUNC : 0);
	fd = open(c == LINKED ? other : path, flags);
	if (fd < 0)
		return -1;
	switch (c) {
	case RENAMED:
	case REMOVED:
	case LINKED:
	case PWRITE:
		r = 0;
		if (c == RENAMED)
			r = rename(path, other);
		if (c == REMOVED)
			r = unlink(path);
		if (!r)
			r = pwrite(fd, buf, sizeof(buf), 3000) == sizeof(buf) ? 0 : -1;
		break;
	case APPEND:
		r = write(fd, buf, sizeof(buf)) == sizeof(buf) ? 0 : -1;
		break;
	case O_TRUNC_OPEN:
		r = write(fd, buf, 100) == 100 ? 0 : -1;
		break;
	case MAP_STORE:
		p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			break;
		memcpy(p + 3000, buf, sizeof(buf));
		/* the page cache of a mount is one: no msync for others to see it */
		r = munmap(p, SIZE);
		break;
	case SHRINK:
		r = ftruncate(fd, 4097);
		break;
	case GROW:
		r = ftruncate(fd, SIZE + 9000);
		break;
	case ALLOCATE:
		r = fallocate(fd, FALLOC_FL_ZERO_RANGE, 5000, 9000);
		break;
	case COPY_RANGE:
		in = open(path, O_RDONLY);
		if (in >= 0) {
			off_t from = 0, to = SIZE;

			r = copy_file_range(in, &from, fd, &to, 6000, 0) == 6000 ? 0 : -1;
			(void)close(in);
		}
		break;
	default:
		break;
	}
	(void)close(fd);
	return r;
}

static void expect(enum change c)
{
	char buf[5000];

	fill(buf, sizeof(buf), 77);
	switch (c) {
	case RENAMED:
	case REMOVED:
	case LINKED:
	case PWRITE:
	case MAP_STORE:
		memcpy(model + 3000, buf, sizeof(buf));
		break;
	case APPEND:
		memcpy(model + SIZE, buf, sizeof(buf));
		model_len = SIZE + sizeof(buf);
		break;
	case SHRINK:
	case TRUNCATE_PATH:
		model_len = 4097;
		break;
	case O_TRUNC_OPEN:
		memcpy(model, buf, 100);
		model_len = 100;
		break;
	case GROW:
		memset(model + SIZE, 0, 9000);
		model_len = SIZE + 9000;
		break;
	case ALLOCATE:
		memset(model + 5000, 0, 9000);
		break;
	case COPY_RANGE:
		memcpy(model + SIZE, model, 6000);
		model_len = SIZE + 6000;
		break;
	default:
		break;
	}
}

/* --- watchers --------------------------------------------------------------- */

struct watcher {
	const char *name;
	int flags;
	int prot; /* mapped: how; 0: not */
	int touch; /* reads everything before the change */
};

static const struct watcher watchers[] = {
	{ "reader", O_RDONLY, 0, 0 },
	{ "reader that has read", O_RDONLY, 0, 1 },
	{ "reading mapping", O_RDONLY, PROT_READ, 1 },
	{ "untouched mapping", O_RDONLY, PROT_READ, 0 },
	{ "writer", O_RDWR, 0, 1 },
	{ "writing mapping", O_RDWR, PROT_READ | PROT_WRITE, 1 },
	{ "only writer", O_WRONLY, 0, 0 },
	{ "nobody", -1, 0, 0 },
};

static void check_fd(const char *who, int fd)
{
	static char buf[4 * SIZE];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		wrong("%s: fstat", who);
	else if ((size_t)st.st_size != model_len)
		wrong("%s: size %ld, not %zu", who, (long)st.st_size, model_len);
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
		return;
	n = pread(fd, buf, sizeof(buf), 0);
	if (n < 0 || (size_t)n != model_len)
		wrong("%s: read %zd bytes, not %zu", who, n, model_len);
	else if (memcmp(buf, model, model_len) != 0)
		wrong("%s: reads something else", who);
}

static void check_path(const char *who, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0) {
		wrong("%s: open", who);
		return;
	}
	check_fd(who, fd);
	(void)close(fd);
	if (stat(path, &st) < 0 || (size_t)st.st_size != model_len)
		wrong("%s: stat, size %ld", who, (long)st.st_size);
}

static void one(const char *path, const struct watcher *w, enum change c)
{
	char title[400], renamed[600], self[64];
	struct stat before, after;
	volatile char sum = 0;
	char *p = MAP_FAILED;
	int fd = -1, status = 0;
	size_t in_map;
	pid_t child;

	(void)snprintf(title, sizeof(title), "%s, %s, %s", strrchr(path, '/') + 1, w->name,
		       change_name[c]);
	what = title;
	fill(model, SIZE, 0);
	model_len = SIZE;
	if (w->flags >= 0) {
		fd = open(path, w->flags);
		if (fd < 0) {
			wrong("open");
			return;
		}
		if (w->touch)
			check_fd(w->name, fd);
	}
	if (w->prot) {
		p = mmap(NULL, SIZE, w->prot, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			wrong("mmap");
		for (size_t i = 0; p != MAP_FAILED && w->touch && i < SIZE; i += 1000)
			sum = (char)(sum + p[i]);
	}
	if (stat(path, &before) < 0)
		wrong("stat");
	/* longer than a clock tick */
	if (c == MAP_STORE)
		(void)usleep(10000);
	(void)fflush(stdout);
	child = fork();
	if (!child) {
		errno = 0;
		_exit(change(path, c) < 0 ? errno & 127 : 0);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status) {
		errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
		wrong("the change itself");
	}
	expect(c);
	if (fd >= 0)
		check_fd(w->name, fd);
	/* in the page cache of a lower file the time is that of the write-back */
	if (c == MAP_STORE && !strstr(path, "/lower-") &&
	    (stat(path, &after) < 0 || (after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
					after.st_mtim.tv_nsec == before.st_mtim.tv_nsec)))
		wrong("mtime is from before");
	in_map = model_len < SIZE ? model_len : SIZE;
	if (p != MAP_FAILED && memcmp(p, model, in_map) != 0)
		wrong("%s: the mapping shows something else", w->name);
	(void)snprintf(renamed, sizeof(renamed), "%s.other", path);
	if (c == REMOVED && fd >= 0) {
		/* by its inode: there is no name */
		(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		if ((w->flags & O_ACCMODE) != O_WRONLY)
			check_path("a fresh open of what was removed", self);
		if (access(path, F_OK) == 0)
			wrong("still there");
	} else if (c != REMOVED) {
		check_path("a fresh open", c == RENAMED ? renamed : path);
	}
	/* the watcher writes, and the fresh one sees it */
	if (fd >= 0 && (w->flags & O_ACCMODE) != O_RDONLY && c != REMOVED) {
		model[50] = 'W';
		model[51] = 'M';
		if (pwrite(fd, "W", 1, 50) != 1)
			wrong("the watcher's write");
		if (p != MAP_FAILED)
			p[51] = 'M';
		else if (pwrite(fd, "M", 1, 51) != 1)
			wrong("the watcher's write");
		check_path("after the watcher's write", c == RENAMED ? renamed : path);
	}
	if (p != MAP_FAILED)
		(void)munmap(p, SIZE);
	if (fd >= 0)
		(void)close(fd);
	/* all closed; a moment later too, when that is known everywhere */
	if (c != REMOVED) {
		check_path("afterwards", c == RENAMED ? renamed : path);
		(void)usleep(1000);
		check_path("later", c == RENAMED ? renamed : path);
	}
}

static int make(const char *path)
{
	static char buf[SIZE];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644), r;

	fill(buf, SIZE, 0);
	if (fd < 0)
		return -1;
	r = write(fd, buf, SIZE) == SIZE ? 0 : -1;
	(void)close(fd);
	return r;
}

/* "passthrough DIR make": makes what lies in the lower. Else tests. */
int main(int argc, char **argv)
{
	static const char *const from[] = { "lower", "upper", "fresh" };
	const size_t n = sizeof(watchers) / sizeof(watchers[0]) * N_CHANGES;
	bool in_lower = argc > 2;
	char path[500];
	size_t i, k;

	if (argc < 2)
		return 2;
	for (i = 0; i < 3; i++) {
		for (k = 0; k < n; k++) {
			(void)snprintf(path, sizeof(path), "%s/%s-%zu-%zu", argv[1], from[i],
				       k / N_CHANGES, k % N_CHANGES);
			if (in_lower != (i == 2) && make(path) < 0) {
				perror(path);
				return 1;
			}
			if (in_lower)
				continue;
			/* in the upper since before */
			if (i == 1 && chmod(path, 0600) < 0)
				perror(path);
			one(path, &watchers[k / N_CHANGES], (enum change)(k % N_CHANGES));
		}
	}
	(void)printf("%d mistakes\n", mistakes);
	return mistakes > 0;
}
