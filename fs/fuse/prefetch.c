/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetching: the storing thread, and what keeps it from doing harm. */
#include "fs/fuse/prefetch_i.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "fs/fuse/fuse_ll.h"
#include "fs/fuse/pool.h"
#include "fs/fuse/stats.h"
#include "lib/log.h"
#include "lib/sys.h"

/* How long the storer stays without work: seconds. */
#define IDLE 3
/* How long a gate waits before it fails, and the end before it gives up: seconds. */
#define PATIENCE 10
#define PATIENCE_END 2

#define STACK (128 << 10)

static struct timespec in_seconds(int s)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += s;
	return ts;
}

int prefetch_new(struct union_fs *u, struct pool *pool, struct stats *stats,
		 struct prefetch **ret)
{
	struct prefetch *p = sys_calloc(1, sizeof(*p));
	const char *env = getenv("PLYFS_PREFETCH");
	pthread_condattr_t attr;

	if (!p)
		return -ENOMEM;
	p->u = u;
	p->pool = pool;
	p->stats = stats;
	p->eager = env && !strncmp(env, "eager", 5);
	if (p->eager && env[5] == ':')
		p->delay_us = (unsigned)strtoul(env + 6, NULL, 10);
	p->page = (size_t)sysconf(_SC_PAGESIZE);
	p->fuse_fd = -1;
	p->dev = -1;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->work, &attr);
	(void)pthread_cond_init(&p->done, &attr);
	(void)pthread_cond_init(&p->passed, &attr);
	(void)pthread_condattr_destroy(&attr);
	*ret = p;
	return 0;
}

void prefetch_start(struct prefetch *p, struct fuse_session *se)
{
	if (p)
		atomic_store(&p->fuse_fd, fuse_session_fd(se));
}

void prefetch_free(struct prefetch *p)
{
	struct timespec until = in_seconds(PATIENCE_END);
	unsigned i;
	bool gone;

	if (!p)
		return;
	atomic_store(&p->off, true);
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	(void)pthread_cond_broadcast(&p->work);
	while (p->planning || p->storer)
		if (pthread_cond_timedwait(&p->done, &p->lock, &until) == ETIMEDOUT)
			break;
	gone = !p->planning && !p->storer;
	(void)pthread_mutex_unlock(&p->lock);
	if (!gone)
		return;
	for (i = 0; i < PREFETCH_RUNS; i++)
		prefetch_run_free(&p->run[i]);
	(void)pthread_cond_destroy(&p->work);
	(void)pthread_cond_destroy(&p->done);
	(void)pthread_cond_destroy(&p->passed);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

/* --- what handlers call ---------------------------------------------------- */

/* Takes the source away from the STORE of @ino, if that is under way. */
static void cancel(struct prefetch *p, uint64_t ino)
{
	if (atomic_load(&p->current) != ino)
		return;
	(void)pthread_mutex_lock(&p->lock);
	if (atomic_load(&p->current) == ino && !p->cancelled) {
		/* a whole mapping: nothing is split. And no reply before it is done. */
		while (mprotect(p->buf, PREFETCH_BUFFER, PROT_NONE))
			(void)sched_yield();
		p->cancelled = true;
		stats_gauge_add(p->stats, STATS_PREFETCH_CANCELLED, 1);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

void prefetch_read(struct prefetch *p, uint64_t ino, int64_t off)
{
	unsigned old;
	uint64_t dir;

	if (!p)
		return;
	old = union_mark(p->u, ino, UNION_MARK_SEEN, &dir);
	cancel(p, ino);
	if (!(old & UNION_MARK_SEEN) && dir && !off && !atomic_load(&p->off))
		prefetch_note(p, dir, ino);
}

void prefetch_write(struct prefetch *p, uint64_t ino, bool mapped)
{
	unsigned old;

	if (!p)
		return;
	old = union_mark(p->u, ino, UNION_MARK_SEEN, NULL);
	cancel(p, ino);
	if (!mapped && !(old & UNION_MARK_GATE) && !atomic_exchange(&p->off, true))
		log_warn("this kernel writes without asking first: no prefetching");
}

bool prefetch_gate(struct prefetch *p, uint64_t ino)
{
	if (!p)
		return false;
	(void)union_mark(p->u, ino, UNION_MARK_SEEN | UNION_MARK_GATE, NULL);
	cancel(p, ino);
	return atomic_load(&p->current) == ino;
}

int prefetch_wait(struct prefetch *p, uint64_t ino)
{
	struct timespec until;
	int r = 0;

	if (!p || atomic_load(&p->current) != ino)
		return 0;
	until = in_seconds(PATIENCE);
	(void)pthread_mutex_lock(&p->lock);
	p->gates++;
	while (atomic_load(&p->current) == ino && !r)
		r = pthread_cond_timedwait(&p->passed, &p->lock, &until);
	p->gates--;
	r = atomic_load(&p->current) == ino ? -EIO : 0;
	(void)pthread_mutex_unlock(&p->lock);
	return r;
}

/* --- the storer ------------------------------------------------------------ */

/* The whole file @f in one notification. 0 or -errno. */
static int notify_store(int dev, const struct prefetch *p, const struct prefetch_file *f)
{
	struct fuse_notify_store_out arg = { .nodeid = f->ino, .size = (uint32_t)f->size };
	struct fuse_out_header head = { .error = FUSE_NOTIFY_STORE,
					.len = (uint32_t)(sizeof(head) + sizeof(arg) + f->size) };
	struct iovec iov[3] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = &arg, .iov_len = sizeof(arg) },
		{ .iov_base = p->buf + f->off, .iov_len = f->size },
	};

	return writev(dev, iov, 3) < 0 ? -errno : 0;
}

static void count(struct prefetch *p, const struct prefetch_file *f, int r)
{
	/* at the end there may be no counters any more */
	if (atomic_load(&p->off))
		return;
	stats_gauge_add(p->stats, STATS_NOTIFIES, 1);
	if (!r) {
		stats_gauge_add(p->stats, STATS_PREFETCHED, 1);
		stats_gauge_add(p->stats, STATS_PREFETCHED_BYTES, (int64_t)f->size);
	} else if (r != -ENOENT && r != -EFAULT) {
		stats_gauge_add(p->stats, STATS_NOTIFY_ERRORS, 1);
	}
}

/* Returns false when the buffer is lost. */
static bool store(int dev, struct prefetch *p, const struct prefetch_file *f)
{
	bool ok = true;
	int r = -ECANCELED;

	/* first this, then the claim: whoever marks the file later sees it */
	atomic_store(&p->current, f->ino);
	if (!atomic_load(&p->off) && union_claim(p->u, f->ino)) {
		if (p->delay_us)
			(void)usleep(p->delay_us);
		r = notify_store(dev, p, f);
		count(p, f, r);
	}

	(void)pthread_mutex_lock(&p->lock);
	if (p->cancelled)
		ok = !mprotect(p->buf, PREFETCH_BUFFER, PROT_READ | PROT_WRITE);
	p->cancelled = !ok;
	atomic_store(&p->current, 0);
	if (p->gates)
		(void)pthread_cond_broadcast(&p->passed);
	(void)pthread_mutex_unlock(&p->lock);
	/* the connection has gone, or has no such notification */
	if (r == -ENODEV || r == -ENOTCONN || r == -EINVAL || r == -ENOSYS || r == -EPERM || !ok)
		atomic_store(&p->off, true);
	return ok;
}

/* A descriptor table with @dev alone in it. */
static int own_table(int dev)
{
	if (unshare(CLONE_FILES))
		return -errno;
	if (close_range(0, (unsigned)dev - 1, 0) || close_range((unsigned)dev + 1, ~0U, 0))
		return -errno;
	return 0;
}

static void *storer(void *arg)
{
	struct prefetch *p = arg;
	struct timespec until;
	bool ok;
	int dev, r;
	unsigned i;

	dev = p->dev;
	r = own_table(dev);
	(void)pthread_mutex_lock(&p->lock);
	p->ready = true;
	ok = r == 0;
	if (!ok)
		atomic_store(&p->off, true);
	(void)pthread_cond_broadcast(&p->done);
	for (;;) {
		until = in_seconds(IDLE);
		while (ok && !p->full && !p->stop)
			if (pthread_cond_timedwait(&p->work, &p->lock, &until) == ETIMEDOUT &&
			    !p->planning)
				break;
		if (!p->full || !ok)
			break;
		(void)pthread_mutex_unlock(&p->lock);
		for (i = 0; i < p->n_file && ok; i++)
			ok = store(dev, p, &p->file[i]);
		(void)pthread_mutex_lock(&p->lock);
		p->full = false;
		(void)pthread_cond_broadcast(&p->done);
	}
	p->full = false;
	(void)pthread_cond_broadcast(&p->done);
	/* the planner may be reading into the buffer */
	while (p->planning)
		(void)pthread_cond_wait(&p->done, &p->lock);
	(void)munmap(p->map, PREFETCH_BUFFER + 2 * p->page);
	p->map = p->buf = NULL;
	p->cancelled = false;
	p->storer = false;
	/* the table, and @dev with it, goes with the thread */
	if (r == 0)
		(void)close(dev);
	(void)pthread_cond_broadcast(&p->done);
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Another descriptor of the connection: cloned, so that the first can end alone. */
static int another_dev(int fuse_fd)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	uint32_t old = (uint32_t)fuse_fd;

	if (fd >= 0 && !ioctl(fd, FUSE_DEV_IOC_CLONE, &old))
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return sys_dup(fuse_fd);
}

static int make_buffer(struct prefetch *p)
{
	size_t size = PREFETCH_BUFFER + 2 * p->page;
	char *map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -ENOMEM;
	if (mprotect(map + p->page, PREFETCH_BUFFER, PROT_READ | PROT_WRITE)) {
		(void)munmap(map, size);
		return -ENOMEM;
	}
	p->map = map;
	p->buf = map + p->page;
	return 0;
}

int prefetch_storer(struct prefetch *p)
{
	pthread_attr_t attr;
	pthread_t t;
	int r = 0;

	(void)pthread_mutex_lock(&p->lock);
	if (p->storer || p->stop)
		goto out;
	p->dev = another_dev(atomic_load(&p->fuse_fd));
	r = p->dev < 0 ? p->dev : make_buffer(p);
	if (r < 0)
		goto out;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK);
	p->ready = false;
	r = -pthread_create(&t, &attr, storer, p);
	(void)pthread_attr_destroy(&attr);
	if (r < 0) {
		(void)munmap(p->map, PREFETCH_BUFFER + 2 * p->page);
		p->map = p->buf = NULL;
		goto out;
	}
	p->storer = true;
	while (!p->ready)
		(void)pthread_cond_wait(&p->done, &p->lock);
out:
	/* the storer has one of its own */
	sys_close(p->dev);
	p->dev = -1;
	if (!r && (p->stop || !p->storer || atomic_load(&p->off)))
		r = -ECANCELED;
	(void)pthread_mutex_unlock(&p->lock);
	return r;
}

void prefetch_store_batch(struct prefetch *p)
{
	(void)pthread_mutex_lock(&p->lock);
	if (p->storer && p->n_file) {
		p->full = true;
		(void)pthread_cond_signal(&p->work);
		while (p->full && !p->stop)
			(void)pthread_cond_wait(&p->done, &p->lock);
	}
	/* at the end the storer may still have it */
	if (!p->stop)
		p->n_file = 0;
	(void)pthread_mutex_unlock(&p->lock);
}
