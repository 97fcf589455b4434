/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write load that keeps a ledger, for killing the daemon under it.
 *
 * usage: crash make DIR PROCESSES              the lower tree
 *        crash run DIR PROCESSES LEDGERS SEED  until the mount dies
 *        crash check DIR PROCESSES LEDGERS     after the next mount
 *
 * Every system call is written down in the ledger (a mapped file outside the
 * union) before it is made and struck out when it has returned. After a crash
 * of the daemon a name's state is what the ledger says, or, for the one call
 * that was in flight, either what was before it or what it was to make. What
 * a call that returned has done must be there: the machine did not go down.
 * With CRASH_LAX=1 (writeback) only fsynced data must.
 *
 * A file's state: does it exist, its serial, how many records, its mode.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../diff/rng.h"

#define N_NAMES 48
#define N_LOWER 32 /* of them in the lower at first */
#define LOWER_RECORDS 700
#define DIR_FILES 20
#define MAX_PROCS 16

struct record {
	uint32_t serial;
	uint32_t number;
	uint64_t fill[6];
	uint64_t sum;
};

struct state {
	uint32_t serial; /* 0: there is no such file */
	uint32_t records;
	uint32_t synced; /* records known to be on disk */
	uint32_t mode;
};

struct ledger {
	struct state now[N_NAMES];
	struct state next[2]; /* of a and b, once the call is done */
	int32_t a, b; /* names the call in flight changes; -1 */
	uint32_t serial;
	uint32_t calls;
	int32_t dir_at; /* the lower directory is dir-a or dir-b */
	int32_t dir_flight;
};

static struct ledger *ledger_map(const char *dir, int proc)
{
	char path[4096];
	struct ledger *l;
	int fd, fresh;

	snprintf(path, sizeof(path), "%s/%d", dir, proc);
	fresh = access(path, F_OK);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*l))) {
		perror(path);
		exit(1);
	}
	l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (l == MAP_FAILED) {
		perror(path);
		exit(1);
	}
	if (fresh) {
		int i;

		l->a = l->b = -1;
		l->serial = 10;
		for (i = 0; i < N_LOWER; i++)
			l->now[i] = (struct state){
				1,
				LOWER_RECORDS,
				LOWER_RECORDS,
				0644,
			};
	}
	return l;
}

static void fill_record(struct record *r, uint32_t serial, uint32_t number)
{
	memset(r, 0, sizeof(*r));
	r->serial = serial;
	r->number = number;
	rng_fill(serial * 1000003ull + number, r->fill, sizeof(r->fill));
	r->sum = hash_mix(HASH_INIT, r, sizeof(*r) - 8);
}

static void name_of(char *out, size_t size, int proc, int i)
{
	snprintf(out, size, "p%d/n%d", proc, i);
}

/* The root of the mount, for is_dead(). */
static int mount_fd = -1;

/*
 * Whether the daemon was killed, and not just wrong: of a reply that the kernel could not
 * take to its end, because who wrote it was killed, it makes an EIO.
 */
static int is_dead(void)
{
	struct statfs st;
	int i, err = errno, dead = 0;

	for (i = 0; i < 100 && !dead; i++) {
		dead = fstatfs(mount_fd, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
		if (!dead)
			usleep(1000);
	}
	errno = err;
	return dead;
}

/* The mount is gone: end quietly. Any other error is the test's failure. */
static void failed(const char *what, const char *name)
{
	if (errno == ENOTCONN || errno == ECONNABORTED || errno == ECANCELED)
		exit(0);
	if (errno == EIO && is_dead())
		exit(0);
	printf("%s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

/* Write down what the next call will do to name a (and b). */
static void begin(struct ledger *l, int a, struct state na, int b,
		  struct state nb)
{
	l->next[0] = na;
	l->next[1] = nb;
	__atomic_store_n(&l->b, b, __ATOMIC_SEQ_CST);
	__atomic_store_n(&l->a, a, __ATOMIC_SEQ_CST);
}

static void done(struct ledger *l)
{
	l->now[l->a] = l->next[0];
	if (l->b >= 0)
		l->now[l->b] = l->next[1];
	__atomic_store_n(&l->a, -1, __ATOMIC_SEQ_CST);
	l->b = -1;
	l->calls++;
}

/*
 * Append n records, one write and one note each; the last may be followed by
 * an fsync.
 */
static void append(struct ledger *l, int fd, const char *name, int i,
		   uint32_t n, int sync)
{
	struct state none = { 0 };

	while (n--) {
		struct state s = l->now[i];
		struct record r;

		fill_record(&r, s.serial, s.records);
		s.records++;
		begin(l, i, s, -1, none);
		if (write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
			failed("write", name);
		done(l);
	}
	if (sync) {
		if (fsync(fd))
			failed("fsync", name);
		l->now[i].synced = l->now[i].records;
	}
}

static void create(struct ledger *l, int dfd, int i, const char *name,
		   struct rng *g)
{
	struct state s = { ++l->serial, 0, 0, 0644 }, none = { 0 };
	int fd;

	begin(l, i, s, -1, none);
	fd = openat(dfd, name, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		failed("create", name);
	done(l);
	append(l, fd, name, i, (uint32_t)rng_below(g, 12), rng_pct(g, 50));
	close(fd);
}

static void step(struct ledger *l, int dfd, int proc, struct rng *g)
{
	int i = (int)rng_below(g, N_NAMES), k = (int)rng_below(g, N_NAMES);
	struct state *s = &l->now[i], ns = *s, none = { 0 };
	char name[64], name2[64];
	int fd;

	name_of(name, sizeof(name), proc, i);
	name_of(name2, sizeof(name2), proc, k);
	switch (rng_below(g, 7)) {
	case 0:
	case 1:
		if (!s->serial) {
			create(l, dfd, i, name, g);
			break;
		}
		/* append, copying up what is still in the lower */
		fd = openat(dfd, name, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (fd < 0)
			failed("open", name);
		append(l, fd, name, i, 1 + (uint32_t)rng_below(g, 4),
		       rng_pct(g, 50));
		close(fd);
		break;
	case 2: /* rename, over what is there */
	case 3:
		if (i == k || !s->serial)
			break;
		begin(l, i, none, k, ns);
		if (renameat(dfd, name, dfd, name2))
			failed("rename", name);
		done(l);
		break;
	case 4:
		if (!s->serial)
			break;
		begin(l, i, none, -1, none);
		if (unlinkat(dfd, name, 0))
			failed("unlink", name);
		done(l);
		break;
	case 5:
		if (!s->serial)
			break;
		ns.mode = s->mode == 0644 ? 0600 : 0644;
		begin(l, i, ns, -1, none);
		if (fchmodat(dfd, name, ns.mode, 0))
			failed("chmod", name);
		done(l);
		break;
	default:
		snprintf(name, sizeof(name), "p%d/dir-%c", proc,
			 'a' + l->dir_at);
		snprintf(name2, sizeof(name2), "p%d/dir-%c", proc,
			 'a' + !l->dir_at);
		l->dir_flight = 1;
		if (renameat(dfd, name, dfd, name2))
			failed("rename", name);
		l->dir_at = !l->dir_at;
		l->dir_flight = 0;
	}
}

/* Does name have exactly state s? Complains when loud. */
static int is_state(int dfd, const char *name, const struct state *s, int loud)
{
	int lax = getenv("CRASH_LAX") != NULL;
	struct record r;
	struct stat st;
	uint32_t n, i;
	int fd;

	if (fstatat(dfd, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno == ENOENT && !s->serial)
			return 1;
		if (loud)
			printf("%s: %s; should be serial %u, %u records\n",
			       name, strerror(errno), s->serial, s->records);
		return 0;
	}
	n = s->records;
	if (lax && (uint64_t)st.st_size < n * sizeof(r))
		n = (uint32_t)((uint64_t)st.st_size / sizeof(r));
	if (!s->serial || (st.st_mode & 07777) != s->mode || n < s->synced ||
	    (!lax && st.st_size != (off_t)(n * sizeof(r)))) {
		if (loud)
			printf("%s: mode 0%o, size %lld; should be serial %u, 0%o, %zu\n",
			       name, st.st_mode, (long long)st.st_size,
			       s->serial, s->mode, s->records * sizeof(r));
		return 0;
	}
	fd = openat(dfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (loud)
			printf("%s: open: %s\n", name, strerror(errno));
		return 0;
	}
	if (lax)
		n = s->synced;
	for (i = 0; i < n; i++) {
		ssize_t got = pread(fd, &r, sizeof(r),
				    (off_t)(i * sizeof(r)));
		struct record want;

		fill_record(&want, s->serial, i);
		if (got != (ssize_t)sizeof(r) || memcmp(&r, &want, sizeof(r))) {
			if (loud)
				printf("%s: record %u of serial %u is wrong\n",
				       name, i, s->serial);
			break;
		}
	}
	close(fd);
	return i == n;
}

static int check_dir(int dfd, int proc, struct ledger *l)
{
	char name[64];
	struct stat st;
	int at = -1, k, i, bad = 0;

	for (k = 0; k < 2; k++) {
		snprintf(name, sizeof(name), "p%d/dir-%c", proc, 'a' + k);
		if (fstatat(dfd, name, &st, 0))
			continue;
		if (at >= 0) {
			printf("p%d: both dir-a and dir-b are there\n", proc);
			bad++;
		}
		at = k;
	}
	if (at < 0 || (!l->dir_flight && at != l->dir_at)) {
		printf("p%d: the directory is at %d, should be at %d%s\n",
		       proc, at, l->dir_at,
		       l->dir_flight ? " or being renamed" : "");
		return 1;
	}
	l->dir_at = at;
	l->dir_flight = 0;
	for (i = 0; i < DIR_FILES; i++) {
		snprintf(name, sizeof(name), "p%d/dir-%c/%d", proc, 'a' + at,
			 i);
		if (fstatat(dfd, name, &st, 0) || st.st_size != 5) {
			printf("%s is gone or not what it was\n", name);
			bad++;
		}
	}
	return bad;
}

static int check_proc(int dfd, int proc, struct ledger *l)
{
	char name[64];
	struct dirent *de;
	DIR *dir;
	int bad = 0, i, fd;

	if (l->a >= 0) { /* which of the two happened? */
		int a = l->a, b = l->b, is_old, is_new;

		name_of(name, sizeof(name), proc, a);
		is_old = is_state(dfd, name, &l->now[a], 0);
		is_new = is_state(dfd, name, &l->next[0], 0);
		if (b >= 0) {
			name_of(name, sizeof(name), proc, b);
			is_old &= is_state(dfd, name, &l->now[b], 0);
			is_new &= is_state(dfd, name, &l->next[1], 0);
		}
		if (is_new && !is_old)
			done(l);
		else if (!is_old) {
			printf("p%d: the call in flight left neither the old nor the new state:\n",
			       proc);
			bad++;
			name_of(name, sizeof(name), proc, a);
			is_state(dfd, name, &l->now[a], 1);
			is_state(dfd, name, &l->next[0], 1);
			if (b >= 0) {
				name_of(name, sizeof(name), proc, b);
				is_state(dfd, name, &l->now[b], 1);
				is_state(dfd, name, &l->next[1], 1);
			}
		}
		l->a = l->b = -1;
	}
	for (i = 0; i < N_NAMES; i++) {
		name_of(name, sizeof(name), proc, i);
		if (!is_state(dfd, name, &l->now[i], 1))
			bad++;
	}
	snprintf(name, sizeof(name), "p%d", proc);
	fd = openat(dfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (dir && (de = readdir(dir))) {
		int n = -1;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") ||
		    !strncmp(de->d_name, "dir-", 4))
			continue;
		if (sscanf(de->d_name, "n%d", &n) != 1 || n >= N_NAMES ||
		    !l->now[n].serial) {
			printf("p%d/%s should not be there\n", proc,
			       de->d_name);
			bad++;
		}
	}
	if (dir)
		closedir(dir);
	return bad + check_dir(dfd, proc, l);
}

/*
 * After a check in lax mode the ledger is what the disk has: records beyond
 * the synced ones may be gone, so a file goes on from its synced part.
 */
static void settle_lax(int dfd, int proc, struct ledger *l)
{
	char name[64];
	int i, fd;

	for (i = 0; i < N_NAMES; i++) {
		struct state *s = &l->now[i];

		if (!s->serial)
			continue;
		name_of(name, sizeof(name), proc, i);
		fd = openat(dfd, name, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || ftruncate(fd, (off_t)(s->synced * sizeof(struct record))) ||
		    fsync(fd))
			failed("settle", name);
		close(fd);
		s->records = s->synced;
	}
}

static int make(int dfd, int procs)
{
	char name[64];
	struct record r;
	int p, i, k, fd;

	for (p = 0; p < procs; p++) {
		snprintf(name, sizeof(name), "p%d", p);
		if (mkdirat(dfd, name, 0755))
			return perror(name), 1;
		snprintf(name, sizeof(name), "p%d/dir-a", p);
		if (mkdirat(dfd, name, 0755))
			return perror(name), 1;
		for (i = 0; i < N_LOWER + DIR_FILES; i++) {
			if (i < N_LOWER)
				name_of(name, sizeof(name), p, i);
			else
				snprintf(name, sizeof(name), "p%d/dir-a/%d", p,
					 i - N_LOWER);
			fd = openat(dfd, name, O_CREAT | O_WRONLY | O_CLOEXEC,
				    0644);
			if (fd < 0)
				return perror(name), 1;
			for (k = 0; i < N_LOWER && k < LOWER_RECORDS; k++) {
				fill_record(&r, 1, (uint32_t)k);
				if (write(fd, &r, sizeof(r)) < 0)
					return perror(name), 1;
			}
			if (i >= N_LOWER && write(fd, "five\n", 5) < 0)
				return perror(name), 1;
			close(fd);
		}
	}
	return 0;
}

static int run(int dfd, int procs, const char *ledgers, uint64_t seed)
{
	int p, status, bad = 0;

	mount_fd = dfd;
	for (p = 0; p < procs; p++) {
		struct ledger *l = ledger_map(ledgers, p);
		struct rng g = { .s = seed * 100 + (uint64_t)p };
		pid_t pid = fork();

		if (pid < 0)
			return perror("fork"), 1;
		while (!pid)
			step(l, dfd, p, &g);
		munmap(l, sizeof(*l));
	}
	for (p = 0; p < procs; p++)
		if (wait(&status) < 0 || status)
			bad = 1;
	return bad;
}

static int check(int dfd, int procs, const char *ledgers)
{
	uint64_t calls = 0;
	int p, bad = 0;

	for (p = 0; p < procs; p++) {
		struct ledger *l = ledger_map(ledgers, p);

		bad += check_proc(dfd, p, l);
		if (!bad && getenv("CRASH_LAX"))
			settle_lax(dfd, p, l);
		calls += l->calls;
		munmap(l, sizeof(*l));
	}
	printf("%llu calls so far, %d mistakes\n", (unsigned long long)calls,
	       bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	int dfd = argc > 3 ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC) :
			     -1;
	int procs = argc > 3 ? atoi(argv[3]) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (dfd >= 0 && procs > 0 && procs <= MAX_PROCS) {
		if (!strcmp(argv[1], "make"))
			return make(dfd, procs);
		if (!strcmp(argv[1], "run") && argc == 6)
			return run(dfd, procs, argv[4],
				   strtoull(argv[5], NULL, 0));
		if (!strcmp(argv[1], "check") && argc == 5)
			return check(dfd, procs, argv[4]);
	}
	fprintf(stderr, "usage: crash make DIR PROCESSES\n"
			"       crash run DIR PROCESSES LEDGERS SEED\n"
			"       crash check DIR PROCESSES LEDGERS\n");
	return 2;
}
