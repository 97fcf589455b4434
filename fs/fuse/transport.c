/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the ways that requests come and libfuse: every request passes
 * transport_dispatch() on its way in, and every reply and notification
 * transport_writev() on its way out. That makes counting exact, and lets a
 * reply take the way its request came by, from whatever thread.
 */
#include "transport_i.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "fuse_ll.h"
#include "interrupt.h"
#include "proto.h"
#include "transport.h"

_Thread_local struct transport_current transport_current;

/* libfuse hands its own userdata to transport_writev(), not ours. */
static struct session *the_session;

/* The reply buffer of a thread. */
static pthread_key_t reply_key;
static pthread_once_t reply_once = PTHREAD_ONCE_INIT;
static _Thread_local char *reply_buf;
static _Thread_local bool reply_big;

void transport_set_session(struct session *s)
{
	the_session = s;
}

uint64_t transport_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

char *transport_buf_new(void)
{
	void *p = mmap(NULL, TRANSPORT_BUF_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void transport_buf_free(char *buf)
{
	if (buf)
		(void)munmap(buf, TRANSPORT_BUF_SIZE);
}

void transport_buf_trim(char *buf)
{
	(void)madvise(buf + TRANSPORT_KEEP, TRANSPORT_BUF_SIZE - TRANSPORT_KEEP,
		      MADV_DONTNEED);
}

static void reply_destroy(void *p)
{
	transport_buf_free(p);
}

static void reply_key_init(void)
{
	(void)pthread_key_create(&reply_key, reply_destroy);
}

static void *thread_reply_buf(size_t size)
{
	if (size > TRANSPORT_BUF_SIZE)
		return NULL;
	if (!reply_buf) {
		pthread_once(&reply_once, reply_key_init);
		reply_buf = transport_buf_new();
		if (!reply_buf)
			return NULL;
		if (pthread_setspecific(reply_key, reply_buf)) {
			transport_buf_free(reply_buf);
			reply_buf = NULL;
		}
	}
	if (size > TRANSPORT_KEEP)
		reply_big = true;
	return reply_buf;
}

bool transport_reply_grown(void)
{
	return reply_big;
}

void transport_reply_trim(void)
{
	if (reply_big)
		transport_buf_trim(reply_buf);
	reply_big = false;
}

void *transport_reply_buf(size_t size)
{
	if (transport_current.ent) {
		char *p = uring_payload(transport_current.ent, size);

		if (p)
			return p;
	}
	return thread_reply_buf(size);
}

bool transport_is_uring(void)
{
	return transport_current.ent != NULL;
}

void transport_flush(void)
{
	if (transport_current.ent)
		uring_flush(transport_current.ent);
}

int transport_hold(void)
{
	struct transport_current *cur = &transport_current;
	struct transport_held *h;
	char *fresh;

	if (!cur->s)
		return -EINVAL;
	if (cur->ent || !cur->buf)
		return 0; /* the ring's entry stays ours until the reply */
	if (!cur->s->custom_io)
		return -EOPNOTSUPP; /* nobody would tell us of the reply */
	h = malloc(sizeof(*h));
	fresh = transport_buf_new();
	if (!h || !fresh) {
		free(h);
		transport_buf_free(fresh);
		return -ENOMEM;
	}
	h->unique = cur->unique;
	h->buf = *cur->buf;
	*cur->buf = fresh;
	cur->buf = NULL; /* a second hold has nothing to do */
	pthread_mutex_lock(&cur->s->held_lock);
	h->next = cur->s->held;
	cur->s->held = h;
	pthread_mutex_unlock(&cur->s->held_lock);
	atomic_fetch_add(&cur->s->n_held, 1);
	return 0;
}

static void release_held(struct session *s, uint64_t unique)
{
	struct transport_held **p, *h = NULL;

	pthread_mutex_lock(&s->held_lock);
	for (p = &s->held; *p; p = &(*p)->next) {
		if ((*p)->unique != unique)
			continue;
		h = *p;
		*p = h->next;
		break;
	}
	pthread_mutex_unlock(&s->held_lock);
	if (!h)
		return;
	atomic_fetch_sub(&s->n_held, 1);
	transport_buf_free(h->buf);
	free(h);
}

void transport_release(struct session *s)
{
	while (s->held) {
		struct transport_held *h = s->held;

		s->held = h->next;
		transport_buf_free(h->buf);
		free(h);
	}
}

static struct transport_slot *slot_of(struct session *s, uint64_t unique)
{
	/* The kernel's numbers grow by two. */
	return &s->slot[(unique >> 1) & (TRANSPORT_INFLIGHT - 1)];
}

void transport_dispatch(struct session *s, struct proto_in_header *in, size_t size,
			struct uring_ent *ent, char **buf)
{
	struct transport_slot *slot = slot_of(s, in->unique);
	struct fuse_buf fb = { .mem = in, .size = size };
	struct transport_current *cur = &transport_current;

	if (in->opcode == PROTO_INTERRUPT) {
		/* libfuse never sees it: its own bookkeeping would cost every request */
		if (size < sizeof(*in) + sizeof(uint64_t))
			return;
		if (s->cfg.stats)
			stats_count(s->cfg.stats, in->opcode);
		interrupt_request(s, *(const uint64_t *)(const void *)(in + 1));
		return;
	}
	if (s->cfg.stats) {
		stats_count(s->cfg.stats, in->opcode);
		if (in->opcode == PROTO_WRITE)
			stats_gauge_add(s->cfg.stats, STATS_BYTES_WRITTEN,
					(int64_t)(size - TRANSPORT_WRITE_HEADER));
		/* Readers compare unique, so it is the last to be set. */
		atomic_store_explicit(&slot->unique, 0, memory_order_relaxed);
		atomic_store_explicit(&slot->start_ns, transport_now(),
				      memory_order_relaxed);
		atomic_store_explicit(&slot->opcode, in->opcode,
				      memory_order_relaxed);
		atomic_store_explicit(&slot->unique, in->unique,
				      memory_order_release);
	}
	*cur = (struct transport_current){
		.s = s,
		.ent = ent,
		.buf = buf,
		.unique = in->unique,
		.opcode = in->opcode,
	};
	fuse_session_process_buf(s->se, &fb);
	*cur = (struct transport_current){ 0 };
}

static void count_reply(struct session *s, const struct proto_out_header *out,
			const struct iovec *iov, int count)
{
	struct transport_slot *slot = slot_of(s, out->unique);
	uint64_t start;
	uint32_t opcode;

	if (!s->cfg.stats)
		return;
	start = atomic_load_explicit(&slot->start_ns, memory_order_relaxed);
	opcode = atomic_load_explicit(&slot->opcode, memory_order_relaxed);
	/* 1024 requests later: not ours any more. */
	if (atomic_load_explicit(&slot->unique, memory_order_acquire) != out->unique)
		return;
	stats_reply(s->cfg.stats, opcode, out->error, transport_now() - start);
	if (opcode == PROTO_READ && !out->error) {
		size_t n = 0;

		for (int i = 1; i < count; i++)
			n += iov[i].iov_len;
		stats_gauge_add(s->cfg.stats, STATS_BYTES_READ, (int64_t)n);
	}
}

/*
 * INIT is being answered: libfuse and init() have agreed on everything, now we
 * add our own queues, which have to exist before the kernel knows of them.
 */
static void init_reply(struct session *s, const struct proto_out_header *out,
		       const struct iovec *iov, int count)
{
	struct proto_init_out *init;
	size_t max_data;
	int r = -EOPNOTSUPP;

	if (out->error || count < 2 || iov[1].iov_len < sizeof(*init)) {
		s->init_error = out->error ? out->error : -EPROTO;
		return;
	}
	init = iov[1].iov_base;
	max_data = init->max_write;
	if (max_data > TRANSPORT_MAX_DATA) {
		s->cfg.log(LOG_ERR, "max_write of more than 1 MiB is not supported");
		s->init_error = -EINVAL;
		return;
	}
	/* libfuse derives it from max_write, but it limits READs and listings too. */
	if (init->flags & PROTO_MAX_PAGES) {
		init->max_pages = TRANSPORT_MAX_DATA / TRANSPORT_PAGE;
		max_data = TRANSPORT_MAX_DATA;
	}
	s->init_done = true;
	if (s->cfg.uring == SESSION_URING_OFF)
		return;
	if (s->uring_offered && (init->flags & PROTO_INIT_EXT))
		r = uring_start(s, s->cfg.uring_depth, max_data);
	if (r == 0) {
		init->flags2 |= PROTO_OVER_IO_URING2;
	} else if (s->cfg.uring == SESSION_URING_ON) {
		s->init_error = r;
		if (s->uring_offered)
			s->cfg.log(LOG_ERR, "io_uring=on: cannot set up the queues: %s",
				   strerror(-r));
		else
			s->cfg.log(LOG_ERR, "io_uring=on: the kernel does not offer it: it takes "
					    "Linux 6.14, and root to write Y to "
					    "/sys/module/fuse/parameters/enable_uring");
	} else {
		s->cfg.log(LOG_DEBUG, "io_uring is not available: %s", strerror(-r));
	}
}

ssize_t transport_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct session *s = the_session;
	struct proto_out_header *out = iov[0].iov_base;
	struct uring_ent *ent;
	ssize_t r;

	(void)userdata;
	if (out->unique == 0) /* a notification */
		return writev(fd, iov, count);
	if (!s->init_done && transport_current.opcode == PROTO_INIT)
		init_reply(s, out, iov, count);
	count_reply(s, out, iov, count);
	if (transport_current.ent && transport_current.unique == out->unique)
		ent = transport_current.ent;
	else
		ent = s->uring ? uring_find(s->uring, out->unique) : NULL;
	if (ent)
		return uring_reply(ent, iov, count);
	r = writev(fd, iov, count);
	if (atomic_load(&s->n_held)) {
		int saved = errno;

		release_held(s, out->unique);
		errno = saved;
	}
	return r;
}

/* libfuse wants it; we read ourselves. */
ssize_t transport_read(int fd, void *buf, size_t size, void *userdata)
{
	(void)userdata;
	return read(fd, buf, size);
}

int transport_thread_create(pthread_t *ret, void *(*fn)(void *), void *arg,
			    const char *name)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	(void)pthread_attr_setstacksize(&attr, 1U << 20);
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* a file that is mapped was cut short: lib/map.h */
	sigdelset(&all, TRANSPORT_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(ret, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r == 0)
		(void)pthread_setname_np(*ret, name);
	return -r;
}

void transport_thread_join(pthread_t thread)
{
	/* A signal before the thread blocks is lost: again, until it has ended. */
	for (;;) {
		struct timespec ts;

		pthread_kill(thread, TRANSPORT_SIGNAL);
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += 5000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		if (pthread_timedjoin_np(thread, NULL, &ts) != ETIMEDOUT)
			return;
	}
}
