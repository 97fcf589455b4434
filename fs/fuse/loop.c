/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_i.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto.h"

struct loop_thread {
	pthread_t thread;
	struct session *s;
	char *buf;
	bool big;
	bool spin;
};

struct loop {
	unsigned int n;
	uint64_t spin_ns;
	_Atomic int spinning;
	struct loop_thread t[];
};

static char *request_start(char *buf)
{
	return buf + TRANSPORT_PAGE - TRANSPORT_WRITE_HEADER;
}

static int run_one(struct session *s, char **buf, bool *ret_big)
{
	struct proto_in_header *in = (void *)request_start(*buf);
	ssize_t n = read(s->fd, in, TRANSPORT_WRITE_HEADER + TRANSPORT_MAX_DATA);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(*in))
		return -EIO;
	if ((size_t)n > TRANSPORT_KEEP)
		*ret_big = true;
	if (in->opcode == PROTO_INIT) {
		const struct proto_init_in *init = (void *)(in + 1);

		s->init_seen = true;
		if ((size_t)n >= sizeof(*in) + sizeof(*init) && (init->flags & PROTO_INIT_EXT))
			s->uring_offered = init->flags2 & PROTO_OVER_IO_URING2;
	}
	transport_dispatch(s, in, (size_t)n, NULL, buf);
	return 0;
}

int loop_one(struct session *s, int timeout_ms)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	bool big;
	char *buf;
	int r;

	r = poll(&pfd, 1, timeout_ms);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	buf = transport_buf_new();
	if (!buf)
		return -ENOMEM;
	r = run_one(s, &buf, &big);
	transport_buf_free(buf);
	return r;
}

static void wait_request(struct loop_thread *t, struct loop *l)
{
	struct pollfd pfd = { .fd = t->s->fd, .events = POLLIN };

	if (l->spin_ns && !atomic_exchange(&l->spinning, 1)) {
		uint64_t until = transport_now() + l->spin_ns;
		int r;
		do {
			r = poll(&pfd, 1, 0);
			if (r) break;
			sched_yield();
		} while (transport_now() < until);
		atomic_store(&l->spinning, 0);
		if (r) return;
	}
	if (t->big || transport_reply_grown()) {
		if (poll(&pfd, 1, TRANSPORT_IDLE_MS) == 0) {
			if (t->big) transport_buf_trim(t->buf);
			t->big = false;
			transport_reply_trim();
		}
	}
}

static void *loop_thread(void *arg)
{
	struct loop_thread *t = arg;
	struct session *s = t->s;

	while (!atomic_load(&s->stop)) {
		wait_request(t, s->loop);
		int r = run_one(s, &t->buf, &t->big);
		if (r == 0 || r == -EINTR || r == -EAGAIN || r == -ENOENT)
			continue;
		atomic_store(&s->ended, true);
		session_wake(s);
		break;
	}
	return NULL;
}

int loop_start(struct session *s, unsigned int n, unsigned int spin_us)
{
	struct loop *l = calloc(1, sizeof(*l) + n * sizeof(l->t[0]));
	s->loop = l;
	l->n = n;
	l->spin_ns = (uint64_t)spin_us * 1000;
	for (unsigned i = 0; i < n; i++) {
		l->t[i].s = s;
		l->t[i].buf = transport_buf_new();
		transport_thread_create(&l->t[i].thread, loop_thread, &l->t[i], "plyfs-fuse");
	}
	return 0;
}

void loop_stop(struct session *s)
{
	struct loop *l = s->loop;
	if (!l) return;
	for (unsigned i = 0; i < l->n; i++) {
		transport_thread_join(l->t[i].thread);
		transport_buf_free(l->t[i].buf);
	}
	free(l);
	s->loop = NULL;
}
