/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hammer make DIR DIRS FILES			the lower tree
 * hammer run MNT DIRS FILES WORKERS SEED MODEL	works on it through a mount
 * hammer check MNT DIRS FILES MODEL		compares with what run has left
 *
 * run: all workers go through the directories together. Each lists the
 * directory, which has plyfs (PLYFS_PREFETCH=eager) store its files in the page
 * cache, and at once changes the files that are its own in every way there is,
 * with a model in memory of what each must hold, and reads it back after every
 * step; two more processes read all files and look whether each byte can be
 * of that file. At the end the files are compared once more, and the models
 * written to MODEL for check, which is to run on a fresh mount. With HAMMER_PACE
 * (microseconds) in the environment a worker waits up to as long before each file,
 * so as to stay beside a storer that PLYFS_PREFETCH=eager:N has made slow.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX (256 << 10) /* no file becomes larger */
#define READERS 2
#define PAGE 4096

static unsigned dirs, files, workers, pace;
static pthread_barrier_t *barrier;
static unsigned long long rnd_state;

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	_exit(1);
}

static unsigned rnd(unsigned n)
{
	rnd_state = rnd_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(rnd_state >> 33) % n;
}

/* Byte @off of what file @id holds in its version @v: never 0, and its upper bits tell the file. */
static uint8_t byte_of(unsigned id, unsigned v, size_t off)
{
	return (uint8_t)(((id % 15 + 1) << 4) | ((off / 512 + v * 7 + off % 5) & 15));
}

static size_t lower_size(unsigned id)
{
	static const size_t step[] = { 1, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 20000, 65536,
				       100000, 128 << 10 };
	uint32_t h = id * 2654435761U;

	return step[(h >> 8) % 10] + ((h >> 16) % 3 ? 0 : (h >> 20) % 300) % (128 << 10);
}

static void fill(uint8_t *b, unsigned id, unsigned v, size_t off, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		b[i] = byte_of(id, v, off + i);
}

/* --- a file and its model -------------------------------------------------- */

struct file {
	unsigned dir, id; /* what it holds */
	char name[64];
	uint8_t *m; /* owned; what it must hold */
	size_t size;
	unsigned v;
	bool gone;
};

static void read_back(int dirfd, struct file *f, const char *after)
{
	static uint8_t buf[MAX];
	size_t done = 0, i;
	struct stat st;
	ssize_t n = 0;
	int fd = openat(dirfd, f->name, O_RDONLY);

	if (fd < 0)
		die("%u/%s: open after %s: %m", f->dir, f->name, after);
	if (fstat(fd, &st) || (size_t)st.st_size != f->size)
		die("%u/%s: size %lld, not %zu, after %s", f->dir, f->name, (long long)st.st_size,
		    f->size, after);
	if (f->size && rnd(4) == 0) {
		uint8_t *p = mmap(NULL, f->size, PROT_READ, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED)
			die("mmap: %m");
		memcpy(buf, p, f->size);
		done = f->size;
		(void)munmap(p, f->size);
	} else {
		while (done < sizeof(buf) && (n = pread(fd, buf + done, sizeof(buf) - done,
							(off_t)done)) > 0)
			done += (size_t)n;
	}
	if (n < 0 || done != f->size)
		die("%u/%s: read %zu of %zu after %s", f->dir, f->name, done, f->size, after);
	if (memcmp(buf, f->m, done)) {
		for (i = 0; buf[i] == f->m[i]; i++)
			;
		die("%u/%s: byte %zu of %zu is %02x, not %02x, after %s (lower: %02x)", f->dir,
		    f->name, i, done, buf[i], f->m[i], after, byte_of(f->id, 0, i));
	}
	close(fd);
}

static void set(struct file *f, size_t off, size_t len)
{
	if (off > f->size)
		memset(f->m + f->size, 0, off - f->size);
	f->v++;
	fill(f->m + off, f->id, f->v, off, len);
	if (off + len > f->size)
		f->size = off + len;
}

static void put(int fd, const struct file *f, size_t off, size_t len)
{
	ssize_t n = pwrite(fd, f->m + off, len, (off_t)off);

	if (n != (ssize_t)len)
		die("%u/%s: write of %zu at %zu: %zd, %m", f->dir, f->name, len, off, n);
}

static const char *by_mapping(int fd, struct file *f)
{
	unsigned i, n = 1 + rnd(4);
	uint8_t *p;

	if (!f->size)
		return "nothing";
	p = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap: %m");
	for (i = 0; i < n; i++) {
		size_t off = rnd((unsigned)f->size), len = 1 + rnd(600);

		if (len > f->size - off)
			len = f->size - off;
		set(f, off, len);
		memcpy(p + off, f->m + off, len);
	}
	if (rnd(3) == 0 && msync(p, f->size, MS_SYNC))
		die("msync: %m");
	(void)munmap(p, f->size);
	return "mapped write";
}

static const char *truncated(int fd, struct file *f)
{
	size_t to = rnd(2) ? rnd(MAX / 2) : rnd((unsigned)f->size + 1);

	if (ftruncate(fd, (off_t)to))
		die("truncate: %m");
	if (to > f->size)
		memset(f->m + f->size, 0, to - f->size);
	f->size = to;
	return "truncate";
}

static const char *allocated(int fd, struct file *f)
{
	size_t off = rnd((unsigned)f->size + 1), len = 1 + rnd(20000);

	if (off + len > MAX)
		return "nothing";
	if (rnd(2)) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			      (off_t)len))
			return "nothing";
		if (off + len > f->size)
			len = f->size - off;
		memset(f->m + off, 0, len);
		return "punch";
	}
	if (fallocate(fd, 0, (off_t)off, (off_t)len))
		return "nothing";
	if (off + len > f->size) {
		memset(f->m + f->size, 0, off + len - f->size);
		f->size = off + len;
	}
	return "fallocate";
}

static const char *copied(int dirfd, int fd, struct file *f)
{
	size_t from = rnd(2) ? 0 : f->size / 2, len = f->size - from, to = MAX / 2;
	off_t in = (off_t)from, out = (off_t)to;
	int src = openat(dirfd, f->name, O_RDONLY);
	ssize_t n = 0;

	while (len && (n = copy_file_range(src, &in, fd, &out, len, 0)) > 0) {
		if (to > f->size)
			memset(f->m + f->size, 0, to - f->size);
		memmove(f->m + to, f->m + from, (size_t)n);
		from += (size_t)n;
		to += (size_t)n;
		len -= (size_t)n;
		if (to > f->size)
			f->size = to;
	}
	if (n < 0 && errno != EINVAL && errno != EXDEV && errno != EOPNOTSUPP)
		die("copy_file_range: %m");
	close(src);
	return "copy_file_range";
}

static const char *direct(int dirfd, struct file *f)
{
	size_t off = rnd(8) * PAGE, len = (1 + rnd(4)) * PAGE;
	uint8_t *b;
	int fd = openat(dirfd, f->name, O_WRONLY | O_DIRECT);

	if (fd < 0)
		return "nothing";
	set(f, off, len);
	if (posix_memalign((void **)&b, PAGE, len))
		die("no memory");
	memcpy(b, f->m + off, len);
	if (pwrite(fd, b, len, (off_t)off) != (ssize_t)len)
		die("direct write: %m");
	free(b);
	close(fd);
	return "direct write";
}

static const char *step(int dirfd, struct file *f)
{
	unsigned what = rnd(13);
	const char *did;
	size_t off, len;
	int fd;

	if (what == 0) {
		char old[64];

		memcpy(old, f->name, sizeof(old));
		(void)snprintf(f->name, sizeof(f->name), "r%u.%u", f->id, rnd(1000));
		if (renameat(dirfd, old, dirfd, f->name))
			die("rename: %m");
		return "rename";
	}
	if (what == 1)
		return direct(dirfd, f);
	fd = openat(dirfd, f->name, O_RDWR | (what == 2 ? O_TRUNC : 0));
	if (fd < 0)
		die("%u/%s: open: %m", f->dir, f->name);
	switch (what) {
	case 2:
		f->size = 0;
		set(f, 0, 1 + rnd(30000));
		put(fd, f, 0, f->size);
		did = "O_TRUNC and write";
		break;
	case 3:
	case 4:
		did = by_mapping(fd, f);
		break;
	case 5:
		did = truncated(fd, f);
		break;
	case 6:
		did = allocated(fd, f);
		break;
	case 7:
		did = f->size < MAX / 2 ? copied(dirfd, fd, f) : "nothing";
		break;
	case 8:
		off = f->size;
		len = 1 + rnd(6000);
		if (off + len > MAX)
			len = MAX - off;
		set(f, off, len);
		put(fd, f, off, len);
		did = "append";
		break;
	case 9:
		off = rnd((unsigned)f->size + 1);
		len = 1 + rnd(500);
		if (off + len > MAX)
			len = MAX - off;
		set(f, off, len);
		put(fd, f, off, len);
		did = "small write";
		break;
	default:
		/* whole pages: what is uptodate without a READ, and unlocked before its WRITE */
		off = rnd((unsigned)f->size / PAGE + 1) * PAGE;
		len = (1 + rnd(8)) * PAGE;
		if (off + len > MAX)
			len = MAX - off;
		set(f, off, len);
		put(fd, f, off, len);
		did = "page write";
		break;
	}
	close(fd);
	return did;
}

/* --- processes ------------------------------------------------------------- */

static int open_dir(const char *top, unsigned d)
{
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/d%u", top, d);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		die("%s: %m", path);
	return fd;
}

/* As many names as there are, in the order of the listing. */
static unsigned listing(int dirfd, char (*names)[64], unsigned max)
{
	DIR *dir = fdopendir(dup(dirfd));
	struct dirent *de;
	unsigned n = 0;

	if (!dir)
		die("opendir: %m");
	rewinddir(dir);
	while (n < max && (de = readdir(dir)))
		if (de->d_name[0] != '.')
			(void)snprintf(names[n++], 64, "%.63s", de->d_name);
	closedir(dir);
	return n;
}

static void worker(unsigned w, const char *top, const char *model)
{
	unsigned mine = files / workers, d, i, k, n = 0;
	struct file *all = calloc((size_t)dirs * mine, sizeof(*all));
	char(*names)[64] = calloc(files, 64);
	char path[4096];

	for (d = 0; d < dirs; d++) {
		struct file *f = all + (size_t)d * mine;
		int dirfd = open_dir(top, d);
		unsigned cnt;

		(void)pthread_barrier_wait(barrier);
		cnt = listing(dirfd, names, files);
		/* ours, in the order in which they are stored */
		for (i = k = 0; i < cnt && k < mine; i++) {
			unsigned id;

			if (sscanf(names[i], "f%u", &id) != 1 || id % workers != w)
				continue;
			f[k] = (struct file){ .dir = d, .id = d * files + id };
			memcpy(f[k].name, names[i], 64);
			f[k].size = lower_size(f[k].id);
			f[k].m = calloc(1, MAX);
			if (!f[k].m)
				die("no memory");
			fill(f[k].m, f[k].id, 0, 0, f[k].size);
			k++;
		}
		n += k;
		for (i = 0; i < k; i++) {
			unsigned steps = rnd(3);

			if (pace)
				(void)usleep(rnd(pace));
			for (; steps; steps--)
				read_back(dirfd, &f[i], step(dirfd, &f[i]));
		}
		for (i = 0; i < k; i++) {
			read_back(dirfd, &f[i], "all");
			(void)snprintf(path, sizeof(path), "%s/%u.%s", model, d, f[i].name);
			FILE *out = fopen(path, "w");

			if (!out || fwrite(f[i].m, 1, f[i].size, out) != f[i].size || fclose(out))
				die("%s: %m", path);
			/* keep what is compared at the end small */
			if (rnd(4)) {
				free(f[i].m);
				f[i].m = NULL;
			}
		}
		close(dirfd);
	}
	for (d = 0; d < dirs; d++) {
		int dirfd = open_dir(top, d);

		for (i = 0; i < mine; i++)
			if (all[d * mine + i].m)
				read_back(dirfd, &all[d * mine + i], "everything");
		close(dirfd);
	}
	if (n < dirs * mine / 2)
		die("worker %u found %u files", w, n);
	_exit(0);
}

/* Reads what the others change: each byte is 0 or of that file. */
static void reader(unsigned r, const char *top)
{
	static uint8_t buf[MAX];
	char(*names)[64] = calloc(2 * files, 64);
	unsigned d, i, id, n;

	for (d = 0; d < dirs; d++) {
		int dirfd = open_dir(top, d);

		(void)pthread_barrier_wait(barrier);
		n = listing(dirfd, names, 2 * files);
		for (i = 0; i < n; i++) {
			const char *name = names[r ? n - 1 - i : i];
			ssize_t len, j;
			int fd;

			if (name[0] == 'f')
				id = d * files + (unsigned)strtoul(name + 1, NULL, 10);
			else
				id = (unsigned)strtoul(name + 1, NULL, 10);
			fd = openat(dirfd, name, O_RDONLY);
			if (fd < 0)
				continue; /* renamed */
			len = pread(fd, buf, sizeof(buf), r ? rnd(20) * PAGE : 0);
			for (j = 0; j < len; j++)
				if (buf[j] && buf[j] >> 4 != id % 15 + 1)
					die("d%u/%s: a byte of another file: %02x", d, name,
					    buf[j]);
			close(fd);
		}
		close(dirfd);
	}
	_exit(0);
}

static int run(const char *top, unsigned long long seed, const char *model)
{
	unsigned i, n = workers + READERS;
	pthread_barrierattr_t attr;
	int status, bad = 0;

	(void)setpgid(0, 0);
	barrier = mmap(NULL, sizeof(*barrier), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	(void)pthread_barrierattr_init(&attr);
	(void)pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	(void)pthread_barrier_init(barrier, &attr, n);
	for (i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork: %m");
		if (pid)
			continue;
		rnd_state = seed * 1000 + i;
		(void)rnd(2);
		(void)alarm(300);
		if (i < workers)
			worker(i, top, model);
		else
			reader(i - workers, top);
	}
	/* where one fails the others wait for it: their alarm ends them */
	for (i = 0; i < n; i++)
		if (wait(&status) > 0 && status) {
			bad = 1;
			(void)kill(0, SIGTERM);
		}
	return bad;
}

static int make(const char *top)
{
	static uint8_t buf[MAX];
	char path[4096];
	unsigned d, i;

	for (d = 0; d < dirs; d++) {
		(void)snprintf(path, sizeof(path), "%s/d%u", top, d);
		if (mkdir(path, 0777))
			die("%s: %m", path);
		for (i = 0; i < files; i++) {
			unsigned id = d * files + i;
			FILE *f;

			(void)snprintf(path, sizeof(path), "%s/d%u/f%u", top, d, i);
			f = fopen(path, "w");
			fill(buf, id, 0, 0, lower_size(id));
			if (!f || fwrite(buf, 1, lower_size(id), f) != lower_size(id) || fclose(f))
				die("%s: %m", path);
		}
	}
	return 0;
}

static int check(const char *top, const char *model)
{
	static uint8_t a[MAX + 1], b[MAX + 1];
	DIR *dir = opendir(model);
	struct dirent *de;
	unsigned n = 0;

	while (dir && (de = readdir(dir))) {
		char path[4096];
		size_t x, y;
		unsigned d;
		FILE *f;
		int at;

		if (sscanf(de->d_name, "%u.%n", &d, &at) != 1)
			continue;
		(void)snprintf(path, sizeof(path), "%s/d%u/%s", top, d, de->d_name + at);
		f = fopen(path, "r");
		if (!f)
			die("%s: %m", path);
		x = fread(a, 1, sizeof(a), f);
		(void)fclose(f);
		(void)snprintf(path, sizeof(path), "%s/%s", model, de->d_name);
		f = fopen(path, "r");
		if (!f)
			die("%s: %m", path);
		y = fread(b, 1, sizeof(b), f);
		(void)fclose(f);
		if (x != y || memcmp(a, b, x))
			die("d%u/%s is not what was written (%zu and %zu bytes)", d,
			    de->d_name + at, x, y);
		n++;
	}
	if (n < dirs * files / 2)
		die("only %u files to compare", n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		die("see the source");
	dirs = (unsigned)strtoul(argv[3], NULL, 10);
	files = (unsigned)strtoul(argv[4], NULL, 10);
	pace = getenv("HAMMER_PACE") ? (unsigned)strtoul(getenv("HAMMER_PACE"), NULL, 10) : 0;
	if (!strcmp(argv[1], "make"))
		return make(argv[2]);
	if (!strcmp(argv[1], "check") && argc == 6)
		return check(argv[2], argv[5]);
	if (!strcmp(argv[1], "run") && argc == 8) {
		workers = (unsigned)strtoul(argv[5], NULL, 10);
		return run(argv[2], strtoull(argv[6], NULL, 10), argv[7]);
	}
	die("see the source");
}
