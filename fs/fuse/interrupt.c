/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INTERRUPT: who waits for a request has got a signal.
 *
 * The kernel sends it once for a request, at the first signal of any kind, and
 * does not say which. To answer EINTR then would show programs what no plain
 * directory does: mkdir(2) that fails because a timer went off, and for a page
 * fault a SIGBUS. A disk's file system lets go of a process for one reason, that
 * it dies; so do we. Whether it dies is in /proc/TID/status. As the kernel will
 * not tell us of a later, fatal signal, those who have got another one are looked
 * at again every CHECK_MS, by a thread that lives while there are any.
 *
 * Only requests that wait can be answered so: in the queue for a worker, or
 * parked for an answer from elsewhere. Nothing has been done for them yet, and
 * whoever would do it asks transport_wait_end() first. What is being done is
 * done to its end.
 *
 * INTERRUPT may be read before its request has come as far as to wait: the two
 * come on different ways, to different threads. So the last ones that met
 * nobody are remembered.
 */
#include "transport_i.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "fuse_ll.h"
#include "interrupt.h"
#include "lib/sys.h"
#include "transport.h"

#define CHECK_MS 50

/* Requests whose INTERRUPT came first; numbers are not used twice. */
#define EARLY 64

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond; /* the end */
	/* protected by lock from here on */
	struct transport_wait *first;
	unsigned int n_interrupted; /* of those that wait */
	bool thread; /* somebody checks */
	bool stop;
	pthread_t checker; /* valid if joinable */
	bool joinable;
	uint64_t early[EARLY];
	unsigned int next_early;
} waits = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

/* --- who dies -------------------------------------------------------------- */

#define BIT(sig) (1ULL << ((sig)-1))

/* What ends nobody by default: stops, continues, or is ignored. */
static const uint64_t harmless = BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH) |
				 BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU);

bool interrupt_is_fatal(const char *status)
{
	static const char *const name[] = { "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt" };
	unsigned long long set[5] = { 0 };
	uint64_t pending;

	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		for (size_t i = 0; i < 5; i++)
			if (!strncmp(line, name[i], 6) && line[6] == ':')
				(void)sscanf(line + 7, "%llx", &set[i]);
	}
	pending = set[0] | set[1];
	return pending & (BIT(SIGKILL) | ~(set[2] | set[3] | set[4] | harmless));
}

/* Does thread @tid die? It is looked at while it waits for us. */
static bool dies(pid_t tid)
{
	char path[32], text[4096];
	ssize_t n;
	int fd;

	/* 0: in a pid namespace that we do not see */
	if (tid <= 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	n = sys_pread(fd, text, sizeof(text) - 1, 0);
	sys_close(fd);
	text[n > 0 ? n : 0] = '\0';
	return interrupt_is_fatal(text);
}

/* --- the list --------------------------------------------------------------- */

/* Called with lock. */
static void take_out(struct transport_wait *w)
{
	*w->pprev = w->next;
	if (w->next)
		w->next->pprev = w->pprev;
	w->pprev = NULL;
	waits.n_interrupted -= w->interrupted;
}

/*
 * Answers one that was interrupted and whose process dies. Called with lock,
 * returns with it; false if there was none.
 */
static bool answer_one(void)
{
	struct transport_wait *w;
	fuse_req_t req;

	for (w = waits.first; w; w = w->next)
		if (w->interrupted && dies(w->tid))
			break;
	if (!w)
		return false;
	take_out(w);
	req = w->req;
	pthread_mutex_unlock(&waits.lock);
	/* @w may be gone from here on */
	(void)fuse_reply_err(req, EINTR);
	pthread_mutex_lock(&waits.lock);
	return true;
}

static void *check(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&waits.lock);
	for (;;) {
		struct timespec ts;

		while (!waits.stop && answer_one())
			;
		if (waits.stop || !waits.n_interrupted)
			break;
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += CHECK_MS * 1000000L;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		(void)pthread_cond_timedwait(&waits.cond, &waits.lock, &ts);
	}
	waits.thread = false;
	pthread_mutex_unlock(&waits.lock);
	return NULL;
}

/* Called with lock: somebody who waits was interrupted. */
static void start_check(struct session *s)
{
	int r;

	if (waits.thread || waits.stop)
		return;
	/* the last one is past everything but its end */
	if (waits.joinable)
		(void)pthread_join(waits.checker, NULL);
	r = transport_thread_create(&waits.checker, check, NULL, "plyfs-intr");
	waits.thread = waits.joinable = r == 0;
	if (r)
		s->cfg.log(LOG_WARNING, "cannot look at interrupted requests: %s", strerror(-r));
}

void transport_wait_begin(struct transport_wait *w, struct fuse_req *req)
{
	const struct transport_current *cur = &transport_current;

	*w = (struct transport_wait){
		.req = req,
		.unique = cur->unique,
		.tid = fuse_req_ctx(req)->pid,
	};
	pthread_mutex_lock(&waits.lock);
	for (unsigned int i = 0; i < EARLY; i++)
		w->interrupted |= waits.early[i] == w->unique;
	w->next = waits.first;
	w->pprev = &waits.first;
	if (w->next)
		w->next->pprev = &w->next;
	waits.first = w;
	if (w->interrupted) {
		waits.n_interrupted++;
		start_check(cur->s);
	}
	pthread_mutex_unlock(&waits.lock);
}

bool transport_wait_end(struct transport_wait *w)
{
	bool ours;

	pthread_mutex_lock(&waits.lock);
	ours = w->pprev;
	if (ours)
		take_out(w);
	pthread_mutex_unlock(&waits.lock);
	return ours;
}

void interrupt_request(struct session *s, uint64_t unique)
{
	struct transport_wait *w;

	pthread_mutex_lock(&waits.lock);
	for (w = waits.first; w; w = w->next)
		if (w->unique == unique)
			break;
	if (!w) {
		waits.early[waits.next_early++ % EARLY] = unique;
	} else if (!w->interrupted) {
		w->interrupted = true;
		waits.n_interrupted++;
		start_check(s);
	}
	pthread_mutex_unlock(&waits.lock);
}

void interrupt_start(void)
{
	pthread_mutex_lock(&waits.lock);
	waits.stop = false;
	pthread_mutex_unlock(&waits.lock);
}

void interrupt_stop(void)
{
	bool join;

	pthread_mutex_lock(&waits.lock);
	waits.stop = true;
	join = waits.joinable;
	waits.joinable = false;
	pthread_cond_broadcast(&waits.cond);
	pthread_mutex_unlock(&waits.lock);
	if (join)
		(void)pthread_join(waits.checker, NULL);
}
