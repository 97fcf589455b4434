/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes at once in the same directories of a union: they create,
 * rename, link, truncate, append, map and unlink files. Every file describes
 * itself, and every process keeps a ledger of the names that only it changes,
 * so that afterwards each name must exist exactly when a ledger says so, with
 * the contents that it says.
 *
 * usage: stress make DIR PROCESSES     make the lower tree
 *        stress run DIR PROCESSES SECONDS SEED LEDGERS
 *        stress check DIR PROCESSES LEDGERS
 *
 * LEDGERS is a directory outside the union; "check" works after a remount too.
 *
 * A file is a row of 64-byte records: owner, serial, its number and a sum.
 * Shared files (shared/s0 ...) are appended to by all, with O_APPEND: no record
 * may be lost or torn, and each writer's records are in order.
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../diff/rng.h"

#define N_DIRS 4
#define N_NAMES 60 /* of each process in each directory */
#define N_SHARED 6
#define N_LOWER 40 /* of the names of each process exist in the lower */
#define MAX_PROCS 64

struct record {
	uint32_t owner;
	uint32_t serial; /* identity of the file, or order in a shared one */
	uint64_t number; /* place in the file */
	uint64_t fill[5];
	uint64_t sum;
};

_Static_assert(sizeof(struct record) == 64, "records are 64 bytes");

/* What must be at one name: serial 0 says nothing. */
struct entry {
	uint32_t serial;
	uint32_t records;
};

struct ledger {
	struct entry e[N_DIRS][N_NAMES];
	uint32_t appended[N_SHARED];
	uint32_t done;
};

static struct ledger *ledger_map(const char *dir, int proc, int create)
{
	char path[4096];
	struct ledger *l;
	int fd;

	snprintf(path, sizeof(path), "%s/%d", dir, proc);
	fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
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
	return l;
}

static void fill_record(struct record *r, uint32_t owner, uint32_t serial,
			uint64_t number)
{
	memset(r, 0, sizeof(*r));
	r->owner = owner;
	r->serial = serial;
	r->number = number;
	rng_fill(serial * 77ull + number, r->fill, sizeof(r->fill));
	r->sum = hash_mix(HASH_INIT, r, sizeof(*r) - 8);
}

static int record_ok(const struct record *r)
{
	return r->sum == hash_mix(HASH_INIT, r, sizeof(*r) - 8);
}

static void name_of(char *out, size_t size, int dir, int proc, int i)
{
	snprintf(out, size, "d%d/p%d-%d", dir, proc, i);
}

static void fail(const char *what, const char *name)
{
	printf("%s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static void write_all(int fd, const char *name, uint32_t owner,
		      uint32_t serial, uint32_t from, uint32_t n)
{
	struct record r;
	uint32_t i;

	for (i = from; i < from + n; i++) {
		fill_record(&r, owner, serial, i);
		if (pwrite(fd, &r, sizeof(r), (off_t)(i * sizeof(r))) !=
		    (ssize_t)sizeof(r))
			fail("write", name);
	}
}

/* Check one file against its entry, from any process. */
static int check_file(int dfd, const char *name, uint32_t owner,
		      const struct entry *e)
{
	struct record r;
	struct stat st;
	int fd = openat(dfd, name, O_RDONLY | O_CLOEXEC);
	uint32_t i;
	int bad = 0;

	if (fd < 0) {
		if (errno == ENOENT && !e->serial)
			return 0;
		printf("%s: %s, should have serial %u\n", name,
		       strerror(errno), e->serial);
		return 1;
	}
	if (!e->serial) {
		printf("%s exists, should not\n", name);
		bad = 1;
	} else if (fstat(fd, &st) ||
		   st.st_size != (off_t)(e->records * sizeof(r))) {
		printf("%s: size %lld, should be %zu\n", name,
		       (long long)st.st_size, e->records * sizeof(r));
		bad = 1;
	}
	for (i = 0; !bad && i < e->records; i++)
		if (pread(fd, &r, sizeof(r), (off_t)(i * sizeof(r))) !=
			    (ssize_t)sizeof(r) ||
		    !record_ok(&r) ||
		    r.owner != owner || r.serial != e->serial ||
		    r.number != i) {
			printf("%s: record %u is not what was written\n",
			       name, i);
			bad = 1;
		}
	close(fd);
	return bad;
}

static void do_create(int dfd, int proc, struct entry *e, const char *name,
		      struct rng *g, uint32_t *serial)
{
	uint32_t n = (uint32_t)rng_below(g, 40);
	char tmp[96];
	int replace = e->serial && rng_pct(g, 50);
	int fd;

	snprintf(tmp, sizeof(tmp), "%s%s", name, replace ? ".tmp" : "");
	fd = openat(dfd, tmp, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("create", tmp);
	++*serial;
	write_all(fd, tmp, (uint32_t)proc, *serial, 0, n);
	close(fd);
	if (replace && renameat(dfd, tmp, dfd, name))
		fail("rename", tmp);
	e->serial = *serial;
	e->records = n;
}

static void do_map(int dfd, int proc, struct entry *e, const char *name)
{
	size_t len = e->records * sizeof(struct record);
	int fd = openat(dfd, name, O_RDWR | O_CLOEXEC);
	struct record *m, r;
	uint32_t i;

	if (fd < 0)
		fail("open", name);
	m = len ? mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) :
		  NULL;
	if (m == MAP_FAILED)
		fail("mmap", name);
	for (i = 0; i < e->records; i++) {
		if (!record_ok(&m[i]) || m[i].serial != e->serial) {
			printf("%s: record %u is wrong in the mapping\n",
			       name, i);
			exit(1);
		}
		/* a new identity, through the mapping */
		fill_record(&m[i], (uint32_t)proc, e->serial + 1, i);
		if (pread(fd, &r, sizeof(r), (off_t)(i * sizeof(r))) !=
			    (ssize_t)sizeof(r) ||
		    memcmp(&r, &m[i], sizeof(r))) {
			printf("%s: read does not see what the mapping has\n",
			       name);
			exit(1);
		}
	}
	if (m && munmap(m, len))
		fail("munmap", name);
	e->serial++;
	close(fd);
}

static void do_truncate(int dfd, int proc, struct entry *e, const char *name,
			struct rng *g)
{
	uint32_t n = (uint32_t)rng_below(g, 40), old = e->records;
	int fd = openat(dfd, name, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("open", name);
	if (ftruncate(fd, (off_t)(n * sizeof(struct record))))
		fail("ftruncate", name);
	if (n > old)
		write_all(fd, name, (uint32_t)proc, e->serial, old, n - old);
	e->records = n;
	close(fd);
}

static void do_append(int dfd, int proc, struct ledger *l, struct rng *g)
{
	int s = (int)rng_below(g, N_SHARED);
	struct record r;
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "shared/s%d", s);
	fd = openat(dfd, name, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		fail("open", name);
	fill_record(&r, (uint32_t)proc, l->appended[s], 0);
	if (write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
		fail("append", name);
	l->appended[s]++;
	close(fd);
}

static void worker(int dfd, int proc, int seconds, uint64_t seed,
		   const char *ledgers)
{
	struct ledger *l = ledger_map(ledgers, proc, 0);
	struct rng g = { .s = seed * 1000 + (uint64_t)proc };
	time_t until = time(NULL) + seconds;
	uint32_t serial = 1000;

	while (time(NULL) < until) {
		int d = (int)rng_below(&g, N_DIRS);
		int d2 = (int)rng_below(&g, N_DIRS);
		int i = (int)rng_below(&g, N_NAMES);
		int k = (int)rng_below(&g, N_NAMES);
		struct entry *e = &l->e[d][i], *to = &l->e[d2][k];
		char name[64], name2[64], sub[64];

		name_of(name, sizeof(name), d, proc, i);
		name_of(name2, sizeof(name2), d2, proc, k);
		l->done++;
		serial += 2;
		switch (rng_below(&g, 9)) {
		case 0:
		case 1:
			do_create(dfd, proc, e, name, &g, &serial);
			break;
		case 2:
			if (unlinkat(dfd, name, 0) && errno != ENOENT)
				fail("unlink", name);
			e->serial = e->records = 0;
			break;
		case 3:
			if (e == to)
				break;
			if (renameat(dfd, name, dfd, name2)) {
				if (errno != ENOENT || e->serial)
					fail("rename", name);
				break;
			}
			*to = *e;
			e->serial = e->records = 0;
			break;
		case 4: /* link, then drop the old name */
			if (e == to || !e->serial)
				break;
			if (linkat(dfd, name, dfd, name2, 0)) {
				if (errno != EEXIST || !to->serial)
					fail("link", name);
				break;
			}
			if (unlinkat(dfd, name, 0))
				fail("unlink", name);
			*to = *e;
			e->serial = e->records = 0;
			break;
		case 5:
			if (e->serial)
				do_truncate(dfd, proc, e, name, &g);
			break;
		case 6:
			if (e->serial)
				do_map(dfd, proc, e, name);
			break;
		case 7:
			do_append(dfd, proc, l, &g);
			break;
		default: /* a directory of its own comes and goes */
			snprintf(sub, sizeof(sub), "d%d/sub-%d", d, proc);
			if (mkdirat(dfd, sub, 0755))
				fail("mkdir", sub);
			if (unlinkat(dfd, sub, AT_REMOVEDIR))
				fail("rmdir", sub);
			if (check_file(dfd, name, (uint32_t)proc, e))
				exit(1);
		}
	}
	exit(0);
}

/* Every name that is there belongs to a ledger: none doubled, none left. */
static int check_listing(int dfd, int d, int procs, struct ledger **l)
{
	static unsigned char seen[MAX_PROCS][N_NAMES];
	char sub[16];
	struct dirent *de;
	int bad = 0, p, i, fd;
	DIR *dir;

	memset(seen, 0, sizeof(seen));
	snprintf(sub, sizeof(sub), "d%d", d);
	fd = openat(dfd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		fail("open", sub);
	while ((de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		if (sscanf(de->d_name, "p%d-%d", &p, &i) != 2 || p >= procs ||
		    i >= N_NAMES || strchr(de->d_name, '.')) {
			printf("%s/%s should not be there\n", sub, de->d_name);
			bad++;
		} else if (seen[p][i]++) {
			printf("%s/%s is listed twice\n", sub, de->d_name);
			bad++;
		}
	}
	closedir(dir);
	for (p = 0; p < procs; p++)
		for (i = 0; i < N_NAMES; i++)
			if (seen[p][i] != (l[p]->e[d][i].serial != 0)) {
				printf("%s/p%d-%d: listed %u times, serial %u\n",
				       sub, p, i, seen[p][i],
				       l[p]->e[d][i].serial);
				bad++;
			}
	return bad;
}

static int check_shared(int dfd, int s, int procs, struct ledger **l)
{
	uint32_t next[MAX_PROCS] = { 0 };
	struct record r;
	char name[64];
	int fd, bad = 0, p;
	ssize_t n;

	snprintf(name, sizeof(name), "shared/s%d", s);
	fd = openat(dfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("open", name);
	while ((n = read(fd, &r, sizeof(r))) > 0 && bad < 5) {
		if (r.owner == MAX_PROCS + 1)
			continue; /* from the lower */
		if (n != (ssize_t)sizeof(r) || !record_ok(&r) ||
		    r.owner >= (uint32_t)procs) {
			printf("%s: a record is torn\n", name);
			bad++;
		} else if (r.serial != next[r.owner]++) {
			printf("%s: record %u of %u, expected %u\n", name,
			       r.serial, r.owner, next[r.owner] - 1);
			bad++;
		}
	}
	for (p = 0; p < procs && !bad; p++)
		if (next[p] != l[p]->appended[s]) {
			printf("%s: %u records of %d, %u were written\n",
			       name, next[p], p, l[p]->appended[s]);
			bad++;
		}
	close(fd);
	return bad;
}

static int check(int dfd, int procs, const char *ledgers)
{
	struct ledger *l[MAX_PROCS];
	char name[64];
	int p, d, i, bad = 0;
	uint64_t done = 0;

	for (p = 0; p < procs; p++) {
		l[p] = ledger_map(ledgers, p, 0);
		done += l[p]->done;
	}
	for (d = 0; d < N_DIRS; d++) {
		bad += check_listing(dfd, d, procs, l);
		for (p = 0; p < procs; p++)
			for (i = 0; i < N_NAMES; i++) {
				name_of(name, sizeof(name), d, p, i);
				bad += check_file(dfd, name, (uint32_t)p,
						  &l[p]->e[d][i]);
			}
	}
	for (i = 0; i < N_SHARED; i++)
		bad += check_shared(dfd, i, procs, l);
	printf("%llu operations, %d mistakes\n", (unsigned long long)done,
	       bad);
	return bad != 0;
}

/* The lower: some of the names of each process, and the shared files. */
static void make(int dfd, int procs)
{
	char name[64];
	int d, p, i, fd;

	if (mkdirat(dfd, "shared", 0755))
		fail("mkdir", "shared");
	for (i = 0; i < N_SHARED; i++) {
		snprintf(name, sizeof(name), "shared/s%d", i);
		fd = openat(dfd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0)
			fail("create", name);
		write_all(fd, name, MAX_PROCS + 1, 1, 0, 10);
		close(fd);
	}
	for (d = 0; d < N_DIRS; d++) {
		snprintf(name, sizeof(name), "d%d", d);
		if (mkdirat(dfd, name, 0755))
			fail("mkdir", name);
		for (p = 0; p < procs; p++)
			for (i = 0; i < N_LOWER; i++) {
				name_of(name, sizeof(name), d, p, i);
				fd = openat(dfd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
				if (fd < 0)
					fail("create", name);
				write_all(fd, name, (uint32_t)p, 1, 0, 5);
				close(fd);
			}
	}
}

static int run(int dfd, int procs, int seconds, uint64_t seed,
	       const char *ledgers)
{
	pid_t pid[MAX_PROCS];
	int p, d, i, status, bad = 0;

	for (p = 0; p < procs; p++) {
		struct ledger *l = ledger_map(ledgers, p, 1);

		for (d = 0; d < N_DIRS; d++)
			for (i = 0; i < N_LOWER; i++)
				l->e[d][i] = (struct entry){ 1, 5 };
		munmap(l, sizeof(*l));
		pid[p] = fork();
		if (pid[p] < 0)
			fail("fork", "");
		if (!pid[p])
			worker(dfd, p, seconds, seed, ledgers);
	}
	for (p = 0; p < procs; p++)
		if (waitpid(pid[p], &status, 0) != pid[p] || status) {
			printf("process %d: status 0x%x\n", p, status);
			bad = 1;
		}
	return bad ? 1 : check(dfd, procs, ledgers);
}

int main(int argc, char **argv)
{
	int dfd = argc > 3 ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC) :
			     -1;
	int procs = argc > 3 ? atoi(argv[3]) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (dfd >= 0 && procs > 0 && procs <= MAX_PROCS) {
		if (!strcmp(argv[1], "make")) {
			make(dfd, procs);
			return 0;
		}
		if (!strcmp(argv[1], "run") && argc == 7)
			return run(dfd, procs, atoi(argv[4]),
				   strtoull(argv[5], NULL, 0), argv[6]);
		if (!strcmp(argv[1], "check") && argc == 5)
			return check(dfd, procs, argv[4]);
	}
	fprintf(stderr, "usage: stress make DIR PROCESSES\n"
			"       stress run DIR PROCESSES SECONDS SEED LEDGERS\n"
			"       stress check DIR PROCESSES LEDGERS\n");
	return 2;
}
