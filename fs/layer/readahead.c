/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads one frame after the other, and the thread that is ahead of him. */
#include "fs/layer/readahead.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define QUEUE 64
/* Requests of one reader come a little out of order, from several threads. */
#define SLACK 3
#define AHEAD_MIN (512U << 10) /* bytes, doubled with every frame in a row up to: */
#define AHEAD_MAX (4U << 20)
#define AHEAD_FRAMES 32
#define IDLE_SECONDS 5

struct request {
	void *arg;
	readahead_fn fn;
	uint32_t frame;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct request q[QUEUE];
	unsigned first, n;
	void *busy; /* the arg of what is being done */
	bool running;
} ra_state = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
};

/* Removes the requests of @arg. With the lock. */
static void forget(const void *arg)
{
	unsigned i, n = 0;

	for (i = 0; i < ra_state.n; i++) {
		struct request *r = &ra_state.q[(ra_state.first + i) % QUEUE];

		if (r->arg != arg)
			ra_state.q[(ra_state.first + n++) % QUEUE] = *r;
	}
	ra_state.n = n;
}

/* Waits for a request; false after a while without any. With the lock. */
static bool next(struct request *ret)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += IDLE_SECONDS;
	while (!ra_state.n)
		if (pthread_cond_timedwait(&ra_state.work, &ra_state.lock, &until) == ETIMEDOUT)
			break;
	if (!ra_state.n)
		return false;
	*ret = ra_state.q[ra_state.first];
	ra_state.first = (ra_state.first + 1) % QUEUE;
	ra_state.n--;
	return true;
}

static void *worker(void *unused)
{
	struct request r;

	(void)unused;
	(void)pthread_mutex_lock(&ra_state.lock);
	while (next(&r)) {
		int stop;

		ra_state.busy = r.arg;
		(void)pthread_mutex_unlock(&ra_state.lock);
		stop = r.fn(r.arg, r.frame);
		(void)pthread_mutex_lock(&ra_state.lock);
		ra_state.busy = NULL;
		if (stop)
			forget(r.arg);
		(void)pthread_cond_broadcast(&ra_state.done);
	}
	ra_state.running = false;
	(void)pthread_mutex_unlock(&ra_state.lock);
	return NULL;
}

/* With the lock. */
static void start(void)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t t;

	if (ra_state.running || pthread_attr_init(&attr))
		return;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, 256U << 10);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGBUS); /* a file that is mapped was cut short: lib/map.h */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	/* without a thread nothing is read ahead */
	ra_state.running = pthread_create(&t, &attr, worker, NULL) == 0;
	if (ra_state.running)
		(void)pthread_setname_np(t, "plyfs-ahead");
	else
		ra_state.n = 0;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
}

/* The reader who has come to @frame, or NULL: a new one has begun, or nothing is new. */
static struct readahead_reader *advance(struct readahead *ra, uint32_t frame)
{
	struct readahead_reader *oldest = &ra->reader[0], *r;
	unsigned i;

	for (i = 0; i < READAHEAD_READERS; i++) {
		r = &ra->reader[i];
		if (r->used < oldest->used)
			oldest = r;
		if (!r->run || frame + SLACK < r->last || frame > r->last + SLACK)
			continue;
		r->used = ++ra->clock;
		if (frame <= r->last)
			return NULL;
		r->last = frame;
		r->run++;
		return r;
	}
	*oldest = (struct readahead_reader){
		.last = frame,
		.run = 1,
		.ahead = frame,
		.used = ++ra->clock,
	};
	return NULL;
}

void readahead_touch(struct readahead *ra, uint32_t frame, readahead_size_fn size, readahead_fn fn,
		     void *arg)
{
	struct readahead_reader *r;
	uint64_t bytes = 0, window;
	unsigned i;

	(void)pthread_mutex_lock(&ra_state.lock);
	r = advance(ra, frame);
	/* two in a row may be one read across their border */
	if (r && r->run > 2) {
		window = r->run < 6 ? (uint64_t)AHEAD_MIN << (r->run - 3) : AHEAD_MAX;
		if (r->ahead < frame)
			r->ahead = frame;
		for (i = 1; i <= AHEAD_FRAMES && bytes < window && ra_state.n < QUEUE; i++) {
			uint64_t n = frame < UINT32_MAX - i ? size(arg, frame + i) : 0;

			if (!n)
				break;
			bytes += n;
			if (frame + i <= r->ahead)
				continue;
			r->ahead = frame + i;
			ra_state.q[(ra_state.first + ra_state.n++) % QUEUE] =
				(struct request){ .arg = arg, .fn = fn, .frame = frame + i };
		}
		if (ra_state.n) {
			start();
			(void)pthread_cond_signal(&ra_state.work);
		}
	}
	(void)pthread_mutex_unlock(&ra_state.lock);
}

void readahead_cancel(void *arg)
{
	(void)pthread_mutex_lock(&ra_state.lock);
	forget(arg);
	while (ra_state.busy == arg)
		(void)pthread_cond_wait(&ra_state.done, &ra_state.lock);
	(void)pthread_mutex_unlock(&ra_state.lock);
}
