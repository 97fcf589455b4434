/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that read /dev/fuse: one leader, others when they are needed.
 *
 * The kernel wakes one reader for each request. With several readers that is
 * another one each time, mostly on another, idle CPU, which on a virtual
 * machine costs more than the request. So one thread at a time, the leader,
 * reads and waits; the others are parked where no request wakes them.
 *
 * But a handler may block. Therefore one of the parked threads watches: while
 * there are requests it looks every 2 ms, and if the leader has been in one
 * handler for a whole tick it takes the lead over; the former leader parks
 * when it comes back. After 100 ms without requests it sleeps for good, and
 * the next request's leader wakes it before it enters the handler. And if
 * another request waits already when one is read, a helper is called; it reads
 * until there is nothing left.
 *
 * Before it sleeps the leader spins, at most spin_us, with sched_yield(): only
 * while the last requests came that quickly (next_request()), and not when
 * somebody else wants the CPU. An idle mount has no thread that ever wakes up.
 *
 * Measured (doc/transport.md; microseconds per request, one process, lookups
 * without a pause, then with 100 us of work between them; two processes):
 *
 *	all threads block in read(2)			53	155	114
 *	the same, one spins 50 us			115	161	107
 *	leader and helpers				99..123	99..112	81..125
 *	leader and helpers, spin 20 us			76	135	65
 *	leader and helpers, spin 40 us (chosen)		50	48	60
 *	io_uring					18	24	20
 *
 * The numbers are from a busy machine and noisy; the order was stable. CPU of
 * the daemon per request: 12 us without spinning, 7 with, 6.5 over io_uring.
 */
#include "transport_i.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "proto.h"

/* How long a handler may keep the leader from reading: one to two ticks. */
#define TICK_NS 2000000L
/* Without a request for so many ticks nobody watches any more. */
#define QUIET_TICKS 50
/* A helper looks for more work this long before it parks. */
#define HELPER_NS 20000

/* A request so soon after we went to sleep would have been worth a spin. */
#define SOON_NS 100000
/* sched_yield() and a read take 1 us; longer than this somebody else ran. */
#define CONTENDED_NS 100000
#define SCORE_MAX 8
#define SCORE_CONTENDED (-64)

enum role { ROLE_LEAD,
	    ROLE_HELP,
	    ROLE_END };

struct loop_thread {
	struct session *s;
	pthread_t thread;
	bool started;
	char *buf; /* owned; transport_hold() exchanges it */
	bool big; /* buf was touched beyond TRANSPORT_KEEP */
};

struct loop {
	uint64_t spin_ns;
	/*
	 * The leader's progress: odd while it handles a request. It makes it
	 * odd, then even again; the watcher makes an odd value even, and is the
	 * leader from then on.
	 */
	_Atomic uint64_t state;
	_Atomic unsigned int parked;
	_Atomic bool asleep; /* the watcher waits without a tick */

	pthread_mutex_t lock;
	pthread_cond_t park; /* for parked threads but the watcher */
	pthread_cond_t watch; /* for the watcher */
	bool led; /* protected by lock: somebody leads */
	bool watched; /* protected by lock: one of the parked watches */
	unsigned int wanted; /* protected by lock: helpers called for */

	unsigned int n;
	struct loop_thread t[];
};

/* --- one request ---------------------------------------------------------- */

/* Read one. > 0: its size; -EAGAIN: there is none. */
static ssize_t read_request(struct session *s, char *buf)
{
	ssize_t n = read(s->fd, buf + TRANSPORT_PAGE - TRANSPORT_WRITE_HEADER,
			 TRANSPORT_WRITE_HEADER + TRANSPORT_MAX_DATA);

	if (n < 0)
		return -errno;
	return (size_t)n < sizeof(struct proto_in_header) ? -EIO : n;
}

static void run_request(struct session *s, char **buf, size_t size)
{
	struct proto_in_header *in =
		(void *)(*buf + TRANSPORT_PAGE - TRANSPORT_WRITE_HEADER);

	transport_dispatch(s, in, size, NULL, buf);
}

static void look_at_init(struct session *s, const char *buf, size_t size)
{
	const struct proto_in_header *in =
		(const void *)(buf + TRANSPORT_PAGE - TRANSPORT_WRITE_HEADER);
	const struct proto_init_in *init = (const void *)(in + 1);

	if (in->opcode != PROTO_INIT)
		return;
	s->init_seen = true;
	if (size >= sizeof(*in) + sizeof(*init) && (init->flags & PROTO_INIT_EXT))
		s->uring_offered = init->flags2 & PROTO_OVER_IO_URING2;
}

int loop_one(struct session *s, int timeout_ms)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	char *buf;
	ssize_t n;
	int r;

	do {
		r = poll(&pfd, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	buf = transport_buf_new();
	if (!buf)
		return -ENOMEM;
	n = read_request(s, buf);
	if (n > 0) {
		look_at_init(s, buf, (size_t)n);
		run_request(s, &buf, (size_t)n);
	}
	transport_buf_free(buf);
	return n < 0 ? (int)n : 0;
}

/* A failed read: true if there may be another request. */
static bool goes_on(struct session *s, ssize_t r)
{
	/* ENOENT: the request was interrupted before we got it. */
	if (r == -EAGAIN || r == -EINTR || r == -ENOENT)
		return !atomic_load(&s->stop);
	/* ENODEV: unmounted. ECONNABORTED: aborted. */
	if (r != -ENODEV && r != -ECONNABORTED)
		s->cfg.log(LOG_ERR, "reading /dev/fuse: %s", strerror((int)-r));
	atomic_store(&s->ended, true);
	session_wake(s);
	return false;
}

static bool grown(const struct loop_thread *t)
{
	return t->big || transport_reply_grown();
}

static void trim(struct loop_thread *t)
{
	if (t->big)
		transport_buf_trim(t->buf);
	t->big = false;
	transport_reply_trim();
}

/* --- parking -------------------------------------------------------------- */

/* Wait for @cond, at most @ns nanoseconds. True if it took so long. */
static bool wait_for(struct loop *l, pthread_cond_t *cond, long ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ns / 1000000000;
	ts.tv_nsec += ns % 1000000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return pthread_cond_timedwait(cond, &l->lock, &ts) == ETIMEDOUT;
}

/*
 * Tick by tick, until a handler takes the leader too long (true: we lead), or
 * something else is to be done. Called with lock.
 */
static bool watch(struct session *s, struct loop *l)
{
	unsigned int quiet = 0;

	while (!atomic_load(&s->stop) && l->led && !l->wanted) {
		uint64_t before = atomic_load(&l->state);

		if (quiet >= QUIET_TICKS) {
			atomic_store(&l->asleep, true);
			/* Whoever makes it odd after this look sees asleep. */
			if (atomic_load(&l->state) == before)
				(void)pthread_cond_wait(&l->watch, &l->lock);
			atomic_store(&l->asleep, false);
			quiet = 0;
			continue;
		}
		if (!wait_for(l, &l->watch, TICK_NS))
			continue;
		if (atomic_load(&l->state) != before)
			quiet = 0;
		else if (!(before & 1))
			quiet++;
		else if (atomic_compare_exchange_strong(&l->state, &before, before + 1))
			return true;
	}
	return false;
}

static enum role park(struct loop_thread *t)
{
	struct session *s = t->s;
	struct loop *l = s->loop;
	enum role role;

	pthread_mutex_lock(&l->lock);
	atomic_fetch_add(&l->parked, 1);
	for (;;) {
		if (atomic_load(&s->stop) || atomic_load(&s->ended)) {
			role = ROLE_END;
			break;
		}
		if (!l->led) {
			l->led = true;
			role = ROLE_LEAD;
			break;
		}
		if (l->wanted) {
			l->wanted--;
			role = ROLE_HELP;
			break;
		}
		if (grown(t)) {
			if (wait_for(l, &l->park, TRANSPORT_IDLE_MS * 1000000L))
				trim(t);
		} else if (!l->watched) {
			bool lead;

			l->watched = true;
			lead = watch(s, l);
			l->watched = false;
			if (lead) {
				role = ROLE_LEAD;
				break;
			}
		} else {
			(void)pthread_cond_wait(&l->park, &l->lock);
		}
	}
	/* Somebody else has to watch now. */
	if (atomic_fetch_sub(&l->parked, 1) > 1 && !l->watched)
		pthread_cond_signal(&l->park);
	pthread_mutex_unlock(&l->lock);
	return role;
}

static void call_helper(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->wanted < atomic_load(&l->parked)) {
		l->wanted++;
		pthread_cond_signal(&l->park);
		pthread_cond_signal(&l->watch);
	}
	pthread_mutex_unlock(&l->lock);
}

static void wake_watcher(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	pthread_cond_signal(&l->watch);
	pthread_mutex_unlock(&l->lock);
}

/* --- the threads ---------------------------------------------------------- */

static bool more_waits(struct session *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };

	return poll(&pfd, 1, 0) > 0;
}

/*
 * Look again and again for a while, yielding to whoever wants to run. True in
 * *@ret_contended if somebody did: then yielding is waiting for his time slice,
 * and sleeping, from which a request wakes us at once, is better for both.
 */
static ssize_t spin_request(struct session *s, char *buf, uint64_t ns, bool *ret_contended)
{
	uint64_t now = transport_now(), until = now + ns;
	ssize_t n;

	do {
		uint64_t before = now;

		(void)sched_yield();
		n = read_request(s, buf);
		now = transport_now();
		if (now - before > CONTENDED_NS)
			*ret_contended = true;
	} while (n == -EAGAIN && now < until);
	return n;
}

/*
 * The next request, or -EAGAIN after sleeping: look again. Spins only while
 * that has paid lately: @score goes up when the request came within the time,
 * or woke us soon after; down, and faster, when it did not.
 */
static ssize_t next_request(struct loop_thread *t, uint64_t spin_ns, int *score)
{
	struct pollfd pfd = { .fd = t->s->fd, .events = POLLIN };
	bool contended = false;
	uint64_t start;
	ssize_t n = -EAGAIN;

	if (*score > 0) {
		n = spin_request(t->s, t->buf, spin_ns, &contended);
		if (contended)
			*score = SCORE_CONTENDED;
		else if (n == -EAGAIN)
			*score -= 2;
		else if (*score < SCORE_MAX)
			++*score;
		if (n != -EAGAIN)
			return n;
	}
	start = transport_now();
	if (poll(&pfd, 1, grown(t) ? TRANSPORT_IDLE_MS : -1) == 0)
		trim(t);
	else if (transport_now() - start < SOON_NS && *score < SCORE_MAX)
		++*score;
	return n;
}

/* Read and handle until the lead is lost. */
static void lead(struct loop_thread *t)
{
	struct session *s = t->s;
	struct loop *l = s->loop;
	uint64_t state = atomic_load(&l->state);
	int score = 0;

	for (;;) {
		ssize_t n = read_request(s, t->buf);

		if (n == -EAGAIN) {
			if (!l->spin_ns)
				score = 0;
			n = next_request(t, l->spin_ns, &score);
		}
		if (n < 0) {
			if (!goes_on(s, n))
				return;
			continue;
		}
		if ((size_t)n > TRANSPORT_KEEP)
			t->big = true;
		atomic_store(&l->state, ++state);
		if (atomic_load(&l->asleep))
			wake_watcher(l);
		if (atomic_load(&l->parked) && more_waits(s))
			call_helper(l);
		run_request(s, &t->buf, (size_t)n);
		if (!atomic_compare_exchange_strong(&l->state, &state, state + 1))
			return; /* the watcher leads now */
		state++;
	}
}

static void help(struct loop_thread *t)
{
	struct session *s = t->s;
	bool contended = false;

	for (;;) {
		ssize_t n = read_request(s, t->buf);

		if (n == -EAGAIN && !contended)
			n = spin_request(s, t->buf, HELPER_NS, &contended);
		if (n < 0) {
			if (!goes_on(s, n) || n == -EAGAIN)
				return;
			continue;
		}
		if ((size_t)n > TRANSPORT_KEEP)
			t->big = true;
		if (atomic_load(&s->loop->parked) && more_waits(s))
			call_helper(s->loop);
		run_request(s, &t->buf, (size_t)n);
	}
}

static void *loop_thread(void *arg)
{
	struct loop_thread *t = arg;

	for (;;) {
		switch (park(t)) {
		case ROLE_LEAD:
			lead(t);
			break;
		case ROLE_HELP:
			help(t);
			break;
		case ROLE_END:
			return NULL;
		}
	}
}

int loop_start(struct session *s, unsigned int n, unsigned int spin_us)
{
	struct loop *l = calloc(1, sizeof(*l) + n * sizeof(l->t[0]));
	pthread_condattr_t attr;
	int flags, r = 0;

	if (!l)
		return -ENOMEM;
	s->loop = l;
	l->spin_ns = (uint64_t)spin_us * 1000;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->park, &attr);
	pthread_cond_init(&l->watch, &attr);
	pthread_condattr_destroy(&attr);
	flags = fcntl(s->fd, F_GETFL);
	if (flags < 0 || fcntl(s->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		r = -errno;
	for (; l->n < n && r == 0; l->n++) {
		struct loop_thread *t = &l->t[l->n];

		t->s = s;
		t->buf = transport_buf_new();
		r = t->buf ? transport_thread_create(&t->thread, loop_thread, t, "plyfs-fuse") :
			     -ENOMEM;
		t->started = r == 0;
	}
	if (r) {
		atomic_store(&s->stop, true);
		loop_stop(s);
	}
	return r;
}

void loop_stop(struct session *s)
{
	struct loop *l = s->loop;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->park);
	pthread_cond_broadcast(&l->watch);
	pthread_mutex_unlock(&l->lock);
	for (unsigned int i = 0; i < l->n; i++) {
		if (l->t[i].started)
			transport_thread_join(l->t[i].thread);
		transport_buf_free(l->t[i].buf);
	}
	pthread_cond_destroy(&l->park);
	pthread_cond_destroy(&l->watch);
	pthread_mutex_destroy(&l->lock);
	free(l);
	s->loop = NULL;
}
