/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefetching: which files, in which order, and how many.
 *
 * A run is somebody's reading in one directory. The second first READ within a
 * second starts it: the directory's files that the kernel knows are sorted the
 * way that the last two READs suggest (as listed, by inode number as tar and
 * fts do, or by name), and from there on a batch of them is stored, 32 files
 * at first and twice as many each time, up to 256. Files that are stored send
 * no READ, so one of the middle of a batch is left out: its READ tells that
 * the reader is still there, and that half of what we have done is used up.
 * Then comes the next batch. Nobody reads: nothing is done.
 */
#include "fs/fuse/prefetch_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/fuse/pool.h"
#include "lib/sys.h"

#define STREAK_MS 1000 /* READs further apart belong to different runs */
#define BATCH_FIRST 32
#define BATCH_MAX 256
#define BATCH_BYTES (4U << 20)
#define NEED_FIRST 2
#define NEED_MAX 1024
/* The reader goes on while we begin: so many files are left to it. */
#define HEAD_START 2
/* What was read is stored at the latest after so long: microseconds. */
#define HOLD_US 1000
/* No prefetching with less memory available than this part of all. */
#define MEMORY_PART 16

static int64_t now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void prefetch_run_free(struct prefetch_run *r)
{
	free(r->c);
	free(r->names);
	memset(r, 0, sizeof(*r));
}

/* --- noticing -------------------------------------------------------------- */

/* With the lock: the run of @dir, maybe a new one; NULL: all are in use. */
static struct prefetch_run *run_get(struct prefetch *p, uint64_t dir, int64_t now)
{
	struct prefetch_run *r, *old = NULL;

	for (r = p->run; r < p->run + PREFETCH_RUNS; r++) {
		if (r->dir == dir)
			return r;
		if (!r->busy && !r->wanted && (!old || r->when_ms < old->when_ms))
			old = r;
	}
	if (old) {
		prefetch_run_free(old);
		old->dir = dir;
		old->need = NEED_FIRST;
		old->when_ms = now;
	}
	return old;
}

static void planner(void *arg);

void prefetch_plan(struct prefetch *p)
{
	if (p->planning || p->stop || atomic_load(&p->fuse_fd) < 0)
		return;
	p->planning = true;
	if (pool_submit(p->pool, planner, p) < 0)
		p->planning = false;
}

void prefetch_note(struct prefetch *p, uint64_t dir, uint64_t ino)
{
	int64_t now = now_ms();
	struct prefetch_run *r;

	(void)pthread_mutex_lock(&p->lock);
	r = run_get(p, dir, now);
	if (r) {
		if (now - r->when_ms > STREAK_MS)
			r->misses = 0;
		r->when_ms = now;
		r->prev = r->last;
		r->last = ino;
		r->misses++;
		if (ino == r->sentinel || r->misses >= r->need) {
			r->wanted = true;
			prefetch_plan(p);
		}
	}
	(void)pthread_mutex_unlock(&p->lock);
}

void prefetch_listed(struct prefetch *p, uint64_t ino)
{
	struct prefetch_run *r;

	if (!p || !p->eager || atomic_load(&p->off))
		return;
	(void)pthread_mutex_lock(&p->lock);
	r = run_get(p, ino, now_ms());
	if (r) {
		r->wanted = true;
		prefetch_plan(p);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

/* --- choosing -------------------------------------------------------------- */

static int grow(void **v, size_t *cap, size_t need, size_t size)
{
	size_t n = *cap ? *cap : 64;
	void *q;

	if (need <= *cap)
		return 0;
	while (n < need)
		n *= 2;
	q = sys_realloc(*v, n * size);
	if (!q)
		return -ENOMEM;
	*v = q;
	*cap = n;
	return 0;
}

static int add_candidate(void *arg, const struct union_sibling *s)
{
	struct prefetch_run *r = arg;
	size_t len = strlen(s->name) + 1;
	struct prefetch_cand *c;
	void *v = r->c;
	int err;

	if (r->names_len + len > UINT32_MAX)
		return -EFBIG;
	err = grow(&v, &r->cap, r->n + 1, sizeof(*r->c));
	r->c = v;
	if (err)
		return err;
	v = r->names;
	err = grow(&v, &r->names_cap, r->names_len + len, 1);
	r->names = v;
	if (err)
		return err;
	memcpy(r->names + r->names_len, s->name, len);
	c = &r->c[r->n++];
	c->nodeid = s->nodeid;
	c->cookie = s->cookie;
	c->ino = s->ino;
	c->name = (uint32_t)r->names_len;
	c->seen = s->seen;
	r->names_len += len;
	return 0;
}

static int by_cookie(const void *a, const void *b, void *arg)
{
	const struct prefetch_cand *x = a, *y = b;

	(void)arg;
	return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

static int by_ino(const void *a, const void *b, void *arg)
{
	const struct prefetch_cand *x = a, *y = b;

	(void)arg;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct prefetch_cand *x = a, *y = b;
	const char *names = arg;

	return strcmp(names + x->name, names + y->name);
}

/* The index of a file, or n. */
static size_t rank(const struct prefetch_run *r, uint64_t ino)
{
	size_t i;

	for (i = 0; i < r->n && r->c[i].nodeid != ino; i++)
		;
	return i;
}

typedef int (*order_fn)(const void *a, const void *b, void *arg);

/* Sorts by the order in which @last comes soonest after @prev. */
static void sort_as_read(struct prefetch_run *r, uint64_t prev, uint64_t last)
{
	static const order_fn order[] = { by_cookie, by_ino, by_name };
	size_t dist, best_dist = SIZE_MAX;
	unsigned i, best = 0, sorted = 0;

	for (i = 0; i < sizeof(order) / sizeof(order[0]) && best_dist > 1; i++) {
		size_t a, b;

		/* by cookie it is already */
		if (i)
			qsort_r(r->c, r->n, sizeof(*r->c), order[i], r->names);
		sorted = i;
		a = rank(r, prev);
		b = rank(r, last);
		dist = a < r->n && b < r->n && b > a ? b - a : SIZE_MAX;
		if (dist < best_dist) {
			best_dist = dist;
			best = i;
		}
	}
	if (sorted != best)
		qsort_r(r->c, r->n, sizeof(*r->c), order[best], r->names);
}

static int list(struct prefetch *p, struct prefetch_run *r, uint64_t prev, uint64_t last)
{
	int err;

	r->n = r->names_len = 0;
	r->next = r->left = 0;
	err = union_siblings(p->u, r->dir, add_candidate, r);
	if (err < 0)
		r->n = 0;
	else
		sort_as_read(r, prev, last);
	free(r->names);
	r->names = NULL;
	r->names_cap = 0;
	r->left = r->n;
	return err;
}

/* Whether there is memory to spare. Where nobody says, there is. */
static bool memory_is_short(void)
{
	unsigned long long total = 0, avail = 0;
	const char *s;
	char buf[512];
	ssize_t n;
	int fd = sys_openat(AT_FDCWD, "/proc/meminfo", O_RDONLY, 0);

	if (fd < 0)
		return false;
	n = sys_pread(fd, buf, sizeof(buf) - 1, 0);
	sys_close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	s = strstr(buf, "MemAvailable:");
	if (sscanf(buf, "MemTotal: %llu", &total) != 1 || !s ||
	    sscanf(s, "MemAvailable: %llu", &avail) != 1)
		return false;
	return avail < total / MEMORY_PART;
}

/* --- a batch --------------------------------------------------------------- */

/* Adds a file to what is to be stored next: its size, 0 for none of ours. */
static size_t add_file(struct prefetch *p, uint64_t ino, size_t *used)
{
	struct prefetch_file *f;
	ssize_t n;

	/* where reading is slow: before the reader comes to what we have */
	if (p->n_file == PREFETCH_BATCH_FILES || *used == PREFETCH_BUFFER ||
	    (p->n_file && now_us() - p->since_us > HOLD_US)) {
		prefetch_store_batch(p);
		*used = 0;
	}
	if (atomic_load(&p->off))
		return 0;
	n = union_read_lower(p->u, ino, p->buf + *used, PREFETCH_BUFFER - *used, PREFETCH_FILE_MAX);
	if (n == -ENOSPC && *used) {
		prefetch_store_batch(p);
		*used = 0;
		n = union_read_lower(p->u, ino, p->buf, PREFETCH_BUFFER, PREFETCH_FILE_MAX);
	}
	/* off: at the end the last batch may still be in use */
	if (n <= 0 || atomic_load(&p->off))
		return 0;
	if (!p->n_file)
		p->since_us = now_us();
	f = &p->file[p->n_file++];
	f->ino = ino;
	f->off = *used;
	f->size = (size_t)n;
	/* each file begins a page of its own: see prefetch.h */
	*used = (*used + (size_t)n + p->page - 1) & ~(p->page - 1);
	return (size_t)n;
}

/* Stores the next files of the run. False: there were none. */
static bool batch(struct prefetch *p, struct prefetch_run *r)
{
	unsigned files = 0, max = p->eager ? UINT32_MAX : r->batch;
	size_t bytes = 0, used = 0, n;

	for (; r->left && files < max && bytes < BATCH_BYTES && !atomic_load(&p->off); r->left--) {
		const struct prefetch_cand *c = &r->c[r->next++ % r->n];

		if (c->seen)
			continue;
		/* the sentinel; pointless where all that is left fits in */
		if (!p->eager && files == max / 2 && r->left > max) {
			(void)pthread_mutex_lock(&p->lock);
			r->sentinel = c->nodeid;
			(void)pthread_mutex_unlock(&p->lock);
			files++;
			continue;
		}
		n = add_file(p, c->nodeid, &used);
		bytes += n;
		files += n != 0;
	}
	prefetch_store_batch(p);
	return files > 0;
}

/* Goes on with a run. False: there was nothing to do. */
static bool advance(struct prefetch *p, struct prefetch_run *r, uint64_t prev, uint64_t last)
{
	size_t at, skip;
	bool any;

	if (memory_is_short())
		return false;
	at = r->left ? rank(r, last) : r->n;
	if (at >= r->n) {
		if (list(p, r, prev, last) < 0 || !r->n)
			return false;
		at = rank(r, last);
		r->next = at < r->n && !p->eager ? (at + 1 + HEAD_START) % r->n : 0;
		r->batch = BATCH_FIRST;
	} else {
		skip = (at + r->n - r->next % r->n) % r->n + 1 + HEAD_START;
		/* the reader has overtaken us */
		if (skip <= r->left) {
			r->next += skip;
			r->left -= skip;
		}
	}
	any = batch(p, r);
	r->batch = r->batch * 2 > BATCH_MAX ? BATCH_MAX : r->batch * 2;
	return any;
}

static void planner(void *arg)
{
	struct prefetch *p = arg;
	struct prefetch_run *r;
	uint64_t prev, last;
	bool found;

	(void)pthread_mutex_lock(&p->lock);
	while (!p->stop && !atomic_load(&p->off)) {
		for (r = p->run; r < p->run + PREFETCH_RUNS && !r->wanted; r++)
			;
		if (r == p->run + PREFETCH_RUNS)
			break;
		r->wanted = false;
		r->busy = true;
		r->misses = 0;
		r->sentinel = 0;
		prev = r->prev;
		last = r->last;
		(void)pthread_mutex_unlock(&p->lock);
		found = prefetch_storer(p) == 0 && advance(p, r, prev, last);
		(void)pthread_mutex_lock(&p->lock);
		r->busy = false;
		if (found)
			r->need = NEED_FIRST;
		else if (r->need < NEED_MAX)
			r->need *= 2;
	}
	p->planning = false;
	(void)pthread_cond_broadcast(&p->done);
	(void)pthread_mutex_unlock(&p->lock);
}
