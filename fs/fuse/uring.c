/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests by io_uring: the kernel puts a request into memory that we have
 * registered and completes a ring entry; one system call commits the reply and
 * waits for the next request. One queue per possible CPU, as the kernel
 * demands: a request goes to the queue of the CPU that it was made on. Each
 * CPU that we may use has a thread of ours, pinned to it, so that neither side
 * wakes another CPU (but see BULK_SIZE); it also serves the queues of CPUs that
 * we may not use.
 *
 * Why not libfuse's queues: a reply from another thread than the queue's can
 * there publish a half-written entry (it fills the submission ring while the
 * queue's thread submits), and a system call made by a worker ties the entry
 * to the worker: the kernel then delivers the next request in that thread's
 * context, and loses it when the worker ends. Rules here:
 *
 * R1  Only the thread that made a ring touches its submission side, and only
 *     it enters the kernel with it.
 * R2  A reply from any other thread fills the entry's memory, which nobody
 *     else touches until it is committed, and puts the entry on its queue's
 *     list; an eventfd, read through the ring, wakes the thread.
 * R3  The memory of an entry belongs to us from its completion to its commit,
 *     and to the kernel else. Giving pages back (MADV_DONTNEED) is allowed at
 *     any time that no request is in them: the kernel copies, it pins nothing.
 *
 * An entry's memory: a page with the protocol's header and the arguments of
 * small requests, then the payload, page-aligned. libfuse wants a request in
 * one piece: header and opcode's arguments are put in front of the payload if
 * it is large; a small payload is copied behind them, so that the reply, which
 * goes into the payload, does not overwrite names that a handler still uses.
 */
#include "transport_i.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include <linux/io_uring.h>
#include <linux/time_types.h>

/* Linux 6.1; older than any kernel that speaks FUSE over io_uring. */
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

#include "proto.h"

#define DEFAULT_DEPTH 4
#define MAX_DEPTH 64
#define MAX_CPUS 1024
/* user_data of the read of the eventfd; entries use their address. */
#define WAKE_DATA 1
/* Payloads up to this are copied behind their arguments. */
#define SMALL 4096
/* Header page, then two pages for arguments, then the payload. */
#define ARGS_OFF TRANSPORT_PAGE
#define PAYLOAD_OFF (3 * TRANSPORT_PAGE)
/* While more requests wait, replies are held back no longer than this. */
#define BATCH_NS 50000
/*
 * READs of this size come from readahead, beside which the reader goes on: to
 * stay on his CPU would be to compete with him. After so many in a row a ring's
 * thread may run anywhere, and after so many other requests on its CPU only.
 */
#define BULK_SIZE (128U << 10)
#define BULK_READS 2
#define BULK_END 4

struct uring_ring;

struct uring_ent {
	struct uring_ring *ring;
	uint16_t qid;
	char *mem; /* PAYLOAD_OFF + payload_size, mapped */
	struct iovec iov[2]; /* for REGISTER */
	uint64_t commit_id;
	_Atomic uint64_t unique; /* of the request in it; 0 once committed */
	struct uring_ent *next; /* protected by the ring's lock */
	_Atomic bool big; /* the payload was touched beyond TRANSPORT_KEEP */
};

struct uring_ring {
	struct uring *u;
	int cpu; /* to pin to; -1: not */
	bool loose; /* not pinned at present */
	unsigned int streak; /* requests that speak for a change of that */
	pthread_t thread;
	bool started;
	unsigned int n_ent;
	struct uring_ent **ent; /* owned array of borrowed entries */

	int fd; /* owned by the thread */
	void *ring_mem; /* both rings */
	size_t ring_size;
	char *sqe_mem;
	size_t sqe_size;
	_Atomic uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
	uint32_t sq_mask, cq_mask, sq_entries;
	uint32_t *sq_array;
	struct io_uring_cqe *cqe;
	uint32_t to_submit; /* prepared, not yet submitted */
	uint64_t oldest_ns; /* when the first of them was prepared, or 0 */

	int wake_fd; /* owned */
	uint64_t wake_count; /* read into by the ring */
	pthread_mutex_t lock;
	struct uring_ent *answered; /* protected by lock: R2's list */
};

struct uring {
	struct session *s;
	unsigned int depth;
	size_t payload_size;
	cpu_set_t cpus; /* that we may use */
	unsigned int n_cpus; /* possible: queues */
	unsigned int n_ents;
	struct uring_ent *ents; /* owned, n_ents */
	unsigned int n_rings;
	struct uring_ring *rings; /* owned, n_rings */

	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int n_up; /* protected by lock: rings made or failed */
	unsigned int n_registered; /* protected by lock */
	int error; /* protected by lock: the first one */
	enum { URING_WAIT,
	       URING_GO,
	       URING_QUIT } go; /* protected by lock */
};

static struct proto_ring_header *header_of(const struct uring_ent *ent)
{
	return (void *)ent->mem;
}

char *uring_payload(struct uring_ent *ent, size_t size)
{
	if (size > ent->ring->u->payload_size)
		return NULL;
	if (size > TRANSPORT_KEEP)
		atomic_store_explicit(&ent->big, true, memory_order_relaxed);
	return ent->mem + PAYLOAD_OFF;
}

/* --- the ring itself ------------------------------------------------------ */

static int ring_enter(struct uring_ring *ring, uint32_t wait, int timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * 1000000,
	};
	struct io_uring_getevents_arg arg = { .ts = (uint64_t)(uintptr_t)&ts };
	uint32_t flags = IORING_ENTER_GETEVENTS;
	long r;

	if (timeout_ms >= 0)
		r = syscall(SYS_io_uring_enter, ring->fd, ring->to_submit, wait,
			    flags | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
	else
		r = syscall(SYS_io_uring_enter, ring->fd, ring->to_submit, wait,
			    flags, NULL, 0);
	/* An error means that nothing was submitted. */
	if (r < 0)
		return -errno;
	ring->to_submit -= (uint32_t)r < ring->to_submit ? (uint32_t)r : ring->to_submit;
	if (!ring->to_submit)
		ring->oldest_ns = 0;
	return 0;
}

/* The next free submission entry, zeroed. NULL: full, which cannot happen. */
static struct io_uring_sqe *ring_sqe(struct uring_ring *ring)
{
	uint32_t tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(ring->sq_head, memory_order_acquire);
	char *sqe;

	if (tail - head >= ring->sq_entries)
		return NULL;
	sqe = ring->sqe_mem + (size_t)(tail & ring->sq_mask) * 128;
	memset(sqe, 0, 128);
	return (void *)sqe;
}

static void ring_push(struct uring_ring *ring)
{
	uint32_t tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed);

	ring->sq_array[tail & ring->sq_mask] = tail & ring->sq_mask;
	atomic_store_explicit(ring->sq_tail, tail + 1, memory_order_release);
	ring->to_submit++;
}

static int ring_command(struct uring_ring *ring, struct uring_ent *ent,
			enum proto_ring_op op)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);
	struct proto_ring_cmd *cmd;

	if (!sqe)
		return -EBUSY;
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ring->u->s->fd;
	sqe->off = op; /* cmd_op, and zero padding behind it */
	sqe->user_data = (uint64_t)(uintptr_t)ent;
	if (op == PROTO_RING_REGISTER) {
		sqe->addr = (uint64_t)(uintptr_t)ent->iov;
		sqe->len = 2;
	}
	cmd = (void *)((char *)sqe + 48);
	cmd->qid = ent->qid;
	cmd->commit_id = op == PROTO_RING_REGISTER ? 0 : ent->commit_id;
	ring_push(ring);
	return 0;
}

static int ring_arm_wake(struct uring_ring *ring)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	if (!sqe)
		return -EBUSY;
	sqe->opcode = IORING_OP_READ;
	sqe->fd = ring->wake_fd;
	sqe->addr = (uint64_t)(uintptr_t)&ring->wake_count;
	sqe->len = sizeof(ring->wake_count);
	sqe->off = (uint64_t)-1;
	sqe->user_data = WAKE_DATA;
	ring_push(ring);
	return 0;
}

static int ring_make(struct uring_ring *ring)
{
	struct io_uring_params p = { 0 };
	char *m;
	size_t sq, cq;

	/*
	 * DEFER_TASKRUN: the kernel copies a request in when we come to wait, not
	 * by interrupting whatever runs here. SINGLE_ISSUER: and it refuses what
	 * R1 forbids. Neither measured faster or slower than without.
	 */
	p.flags = IORING_SETUP_SQE128 | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
		  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	p.cq_entries = 2 * (ring->n_ent + 1);
	ring->fd = (int)syscall(SYS_io_uring_setup, ring->n_ent + 1, &p);
	if (ring->fd < 0)
		return -errno;
	if (!(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_EXT_ARG))
		return -EOPNOTSUPP;
	sq = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	ring->ring_size = sq > cq ? sq : cq;
	ring->ring_mem = mmap(NULL, ring->ring_size, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	if (ring->ring_mem == MAP_FAILED) {
		ring->ring_mem = NULL;
		return -errno;
	}
	ring->sqe_size = (size_t)p.sq_entries * 128;
	m = mmap(NULL, ring->sqe_size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (m == MAP_FAILED)
		return -errno;
	ring->sqe_mem = m;
	m = ring->ring_mem;
	ring->sq_head = (void *)(m + p.sq_off.head);
	ring->sq_tail = (void *)(m + p.sq_off.tail);
	ring->sq_mask = *(uint32_t *)(void *)(m + p.sq_off.ring_mask);
	ring->sq_array = (void *)(m + p.sq_off.array);
	ring->sq_entries = p.sq_entries;
	ring->cq_head = (void *)(m + p.cq_off.head);
	ring->cq_tail = (void *)(m + p.cq_off.tail);
	ring->cq_mask = *(uint32_t *)(void *)(m + p.cq_off.ring_mask);
	ring->cqe = (void *)(m + p.cq_off.cqes);
	return 0;
}

static void ring_unmake(struct uring_ring *ring)
{
	if (ring->sqe_mem)
		munmap(ring->sqe_mem, ring->sqe_size);
	if (ring->ring_mem)
		munmap(ring->ring_mem, ring->ring_size);
	if (ring->fd >= 0)
		close(ring->fd);
	ring->sqe_mem = NULL;
	ring->ring_mem = NULL;
	ring->fd = -1;
}

/* --- replies -------------------------------------------------------------- */

static void commit(struct uring_ent *ent)
{
	struct uring_ring *ring = ent->ring;

	if (!ring->to_submit)
		ring->oldest_ns = 0;
	atomic_store_explicit(&ent->unique, 0, memory_order_release);
	if (ring_command(ring, ent, PROTO_RING_COMMIT_AND_FETCH))
		ring->u->s->cfg.log(LOG_ERR, "io_uring: submission ring is full");
}

ssize_t uring_reply(struct uring_ent *ent, const struct iovec *iov, int count)
{
	struct uring_ring *ring = ent->ring;
	struct proto_ring_header *h = header_of(ent);
	char *payload = ent->mem + PAYLOAD_OFF;
	const struct proto_out_header *out = iov[0].iov_base;
	size_t n = 0, total = iov[0].iov_len;
	int error = out->error;
	uint64_t one = 1;

	for (int i = 1; i < count; i++) {
		total += iov[i].iov_len;
		if (n + iov[i].iov_len > ring->u->payload_size) {
			error = -EIO;
			n = 0;
			break;
		}
		if (payload + n != iov[i].iov_base)
			memmove(payload + n, iov[i].iov_base, iov[i].iov_len);
		n += iov[i].iov_len;
	}
	if (n > TRANSPORT_KEEP)
		atomic_store_explicit(&ent->big, true, memory_order_relaxed);
	h->out.unique = out->unique;
	h->out.error = error;
	h->out.len = (uint32_t)(sizeof(h->out) + n);
	h->payload_size = (uint32_t)n;

	if (ring->started && pthread_equal(pthread_self(), ring->thread)) {
		commit(ent);
		return (ssize_t)total;
	}
	pthread_mutex_lock(&ring->lock);
	ent->next = ring->answered;
	ring->answered = ent;
	pthread_mutex_unlock(&ring->lock);
	if (write(ring->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -1;
	return (ssize_t)total;
}

void uring_flush(struct uring_ent *ent)
{
	struct uring_ring *ring = ent->ring;

	if (ring->to_submit && pthread_equal(pthread_self(), ring->thread))
		(void)ring_enter(ring, 0, -1);
}

struct uring_ent *uring_find(struct uring *u, uint64_t unique)
{
	for (unsigned int i = 0; i < u->n_ents; i++)
		if (atomic_load_explicit(&u->ents[i].unique, memory_order_acquire) == unique)
			return &u->ents[i];
	return NULL;
}

/* --- requests ------------------------------------------------------------- */

static void pin(struct uring_ring *ring, bool loose)
{
	cpu_set_t set;

	ring->streak = 0;
	ring->loose = loose;
	if (ring->cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)ring->cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), loose ? &ring->u->cpus : &set);
}

static bool is_bulk(const struct proto_ring_header *h)
{
	uint32_t size;

	if (h->in.opcode != PROTO_READ)
		return false;
	memcpy(&size, h->op_in + PROTO_READ_SIZE_OFF, sizeof(size));
	return size >= BULK_SIZE;
}

static void choose_cpu(struct uring_ring *ring, const struct proto_ring_header *h)
{
	if (is_bulk(h) == ring->loose)
		ring->streak = 0;
	else if (++ring->streak >= (ring->loose ? BULK_END : BULK_READS))
		pin(ring, !ring->loose);
}

static void handle_request(struct uring_ring *ring, struct uring_ent *ent)
{
	struct session *s = ring->u->s;
	struct proto_ring_header *h = header_of(ent);
	size_t payload = h->payload_size, total = h->in.len, op;
	char *at;

	ent->commit_id = h->commit_id;
	atomic_store_explicit(&ent->unique, h->in.unique, memory_order_release);
	op = total - sizeof(h->in) - payload;
	if (total < sizeof(h->in) + payload || op > sizeof(h->op_in) ||
	    payload > ring->u->payload_size) {
		struct proto_out_header out = { .unique = h->in.unique, .error = -EIO };
		struct iovec iov = { &out, sizeof(out) };

		s->cfg.log(LOG_ERR, "io_uring: request %u of odd size (%zu, %zu)",
			   h->in.opcode, total, payload);
		(void)uring_reply(ent, &iov, 1);
		return;
	}
	if (payload > TRANSPORT_KEEP)
		atomic_store_explicit(&ent->big, true, memory_order_relaxed);
	if (payload <= SMALL) {
		at = ent->mem + ARGS_OFF;
		memcpy(at + sizeof(h->in) + op, ent->mem + PAYLOAD_OFF, payload);
	} else {
		at = ent->mem + PAYLOAD_OFF - op - sizeof(h->in);
	}
	memcpy(at, &h->in, sizeof(h->in));
	memcpy(at + sizeof(h->in), h->op_in, op);
	choose_cpu(ring, h);
	transport_dispatch(s, (void *)at, total, ent, NULL);
}

/* A completion that is no request. Returns true when the queue has ended. */
static bool handle_error(struct uring_ring *ring, struct uring_ent *ent, int res)
{
	struct session *s = ring->u->s;

	switch (res) {
	case -ENOTCONN:
	case -ECONNABORTED:
	case -ECANCELED:
	case -ENODEV:
		return true;
	case -EAGAIN:
	case -EINTR:
		if (ring_command(ring, ent,
				 ent->commit_id ? PROTO_RING_COMMIT_AND_FETCH :
						  PROTO_RING_REGISTER) == 0)
			return false;
		break;
	default:
		break;
	}
	s->cfg.log(LOG_ERR, "io_uring: queue %u: %s", ent->qid, strerror(-res));
	return false;
}

static void commit_answered(struct uring_ring *ring)
{
	struct uring_ent *ent;

	pthread_mutex_lock(&ring->lock);
	ent = ring->answered;
	ring->answered = NULL;
	pthread_mutex_unlock(&ring->lock);
	while (ent) {
		struct uring_ent *next = ent->next;

		commit(ent);
		ent = next;
	}
}

/* All completions that are there. Returns true when the queues have ended. */
static bool handle_completions(struct uring_ring *ring)
{
	bool ended = false;

	for (;;) {
		uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
		uint32_t tail = atomic_load_explicit(ring->cq_tail, memory_order_acquire);
		struct io_uring_cqe cqe;

		if (head == tail)
			return ended;
		if (ring->to_submit) {
			/* Another request waits: don't sit on answers for long. */
			uint64_t now = transport_now();

			if (!ring->oldest_ns)
				ring->oldest_ns = now;
			else if (now - ring->oldest_ns > BATCH_NS)
				(void)ring_enter(ring, 0, -1);
		}
		cqe = ring->cqe[head & ring->cq_mask];
		atomic_store_explicit(ring->cq_head, head + 1, memory_order_release);
		if (cqe.user_data == WAKE_DATA) {
			if (ring_arm_wake(ring) == 0)
				commit_answered(ring);
		} else {
			struct uring_ent *ent = (void *)(uintptr_t)cqe.user_data;

			if (cqe.res == 0)
				handle_request(ring, ent);
			else if (handle_error(ring, ent, cqe.res))
				ended = true;
		}
	}
}

static bool grown(const struct uring_ring *ring)
{
	for (unsigned int i = 0; i < ring->n_ent; i++)
		if (atomic_load_explicit(&ring->ent[i]->big, memory_order_relaxed))
			return true;
	return transport_reply_grown();
}

static void trim(struct uring_ring *ring)
{
	for (unsigned int i = 0; i < ring->n_ent; i++) {
		struct uring_ent *ent = ring->ent[i];
		size_t size = ring->u->payload_size;

		if (!atomic_load(&ent->big) || atomic_load(&ent->unique))
			continue; /* R3 */
		atomic_store(&ent->big, false);
		(void)madvise(ent->mem + PAYLOAD_OFF, size, MADV_DONTNEED);
	}
	transport_reply_trim();
}

static void serve(struct uring_ring *ring)
{
	struct session *s = ring->u->s;
	bool big = false;

	while (!atomic_load(&s->stop)) {
		int r = ring_enter(ring, 1, big ? TRANSPORT_IDLE_MS : -1);

		if (r == -ETIME)
			trim(ring);
		else if (r && r != -EINTR && r != -EAGAIN && r != -EBUSY) {
			s->cfg.log(LOG_ERR, "io_uring_enter: %s", strerror(-r));
			break;
		}
		if (handle_completions(ring))
			break;
		big = grown(ring);
	}
	if (!atomic_load(&s->stop)) {
		atomic_store(&s->ended, true);
		session_wake(s);
	}
}

static int register_entries(struct uring_ring *ring)
{
	uint32_t head, tail;
	int r = 0;

	for (unsigned int i = 0; i < ring->n_ent && r == 0; i++)
		r = ring_command(ring, ring->ent[i], PROTO_RING_REGISTER);
	if (r == 0)
		r = ring_arm_wake(ring);
	while (r == 0 && ring->to_submit)
		r = ring_enter(ring, 0, -1);
	/* What the kernel refuses is completed already; requests stay for later. */
	head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
	tail = atomic_load_explicit(ring->cq_tail, memory_order_acquire);
	for (; head != tail && r == 0; head++)
		if (ring->cqe[head & ring->cq_mask].res < 0)
			r = ring->cqe[head & ring->cq_mask].res;
	return r;
}

static void *ring_thread(void *arg)
{
	struct uring_ring *ring = arg;
	struct uring *u = ring->u;
	int r, go;

	pin(ring, false);
	r = ring_make(ring);
	pthread_mutex_lock(&u->lock);
	u->n_up++;
	if (r && !u->error)
		u->error = r;
	pthread_cond_broadcast(&u->cond);
	while (u->go == URING_WAIT)
		pthread_cond_wait(&u->cond, &u->lock);
	go = u->go;
	pthread_mutex_unlock(&u->lock);
	if (go == URING_GO) {
		r = register_entries(ring);
		pthread_mutex_lock(&u->lock);
		u->n_registered++;
		if (r && !u->error)
			u->error = r;
		pthread_cond_broadcast(&u->cond);
		pthread_mutex_unlock(&u->lock);
		if (r == 0)
			serve(ring);
	}
	ring_unmake(ring);
	return NULL;
}

/* --- setting up ----------------------------------------------------------- */

/* The number of possible CPUs, which is what the kernel has queues for. */
static unsigned int possible_cpus(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned int last = 0, a, b;
	char line[256];

	if (f && fgets(line, sizeof(line), f)) {
		/* "0-3" or "0,2-5": the last number counts. */
		for (char *p = line; *p; p += strcspn(p, ","), p += *p == ',') {
			int n = sscanf(p, "%u-%u", &a, &b);

			if (n == 1)
				last = a;
			else if (n == 2)
				last = b;
		}
	}
	if (f)
		fclose(f);
	if (!last) {
		long n = sysconf(_SC_NPROCESSORS_CONF);

		return n > 0 ? (unsigned int)n : 1;
	}
	return last + 1;
}

static int make_entry(struct uring *u, struct uring_ent *ent, unsigned int qid,
		      struct uring_ring *ring)
{
	void *p = mmap(NULL, PAYLOAD_OFF + u->payload_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	ent->mem = p;
	ent->qid = (uint16_t)qid;
	ent->ring = ring;
	ent->iov[0] = (struct iovec){ ent->mem, TRANSPORT_PAGE };
	ent->iov[1] = (struct iovec){ ent->mem + PAYLOAD_OFF, u->payload_size };
	ring->ent[ring->n_ent++] = ent;
	return 0;
}

/* One ring for each CPU we may use; the other CPUs' queues are dealt out. */
static int plan(struct uring *u)
{
	unsigned int usable = 0, *ring_of, next = 0;
	int r = 0;

	CPU_ZERO(&u->cpus);
	(void)sched_getaffinity(0, sizeof(u->cpus), &u->cpus);
	for (unsigned int c = 0; c < u->n_cpus; c++)
		usable += c < CPU_SETSIZE && CPU_ISSET(c, &u->cpus);
	u->n_rings = usable ? usable : 1;
	u->n_ents = u->n_cpus * u->depth;
	u->ents = calloc(u->n_ents, sizeof(*u->ents));
	u->rings = calloc(u->n_rings, sizeof(*u->rings));
	ring_of = calloc(u->n_cpus, sizeof(*ring_of));
	if (!u->ents || !u->rings || !ring_of) {
		free(ring_of);
		u->n_rings = u->rings ? u->n_rings : 0;
		u->n_ents = u->ents ? u->n_ents : 0;
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < u->n_rings; i++) {
		struct uring_ring *ring = &u->rings[i];

		ring->u = u;
		ring->cpu = -1;
		ring->fd = -1;
		ring->wake_fd = eventfd(0, EFD_CLOEXEC);
		pthread_mutex_init(&ring->lock, NULL);
		ring->ent = calloc(u->n_ents, sizeof(*ring->ent));
		if (ring->wake_fd < 0 || !ring->ent)
			r = -ENOMEM;
	}
	for (unsigned int c = 0; c < u->n_cpus; c++) {
		if (c < CPU_SETSIZE && CPU_ISSET(c, &u->cpus)) {
			u->rings[next].cpu = (int)c;
			ring_of[c] = next++;
		} else {
			ring_of[c] = c % u->n_rings;
		}
	}
	for (unsigned int i = 0; i < u->n_ents && r == 0; i++)
		r = make_entry(u, &u->ents[i], i / u->depth,
			       &u->rings[ring_of[i / u->depth]]);
	free(ring_of);
	return r;
}

static void tell(struct uring *u, int go)
{
	pthread_mutex_lock(&u->lock);
	u->go = go;
	pthread_cond_broadcast(&u->cond);
	pthread_mutex_unlock(&u->lock);
}

int uring_start(struct session *s, unsigned int depth, size_t max_data)
{
	struct uring *u = calloc(1, sizeof(*u));
	unsigned int n = 0;
	int r;

	if (!u)
		return -ENOMEM;
	s->uring = u;
	u->s = s;
	u->depth = depth ? depth : DEFAULT_DEPTH;
	if (u->depth > MAX_DEPTH)
		u->depth = MAX_DEPTH;
	/* The kernel's minimum is FUSE_MIN_READ_BUFFER. */
	u->payload_size = max_data < 8192 ? 8192 : max_data;
	u->n_cpus = possible_cpus();
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->cond, NULL);
	r = u->n_cpus > MAX_CPUS ? -E2BIG : plan(u);
	for (; r == 0 && n < u->n_rings; n++) {
		char name[16];

		snprintf(name, sizeof(name), "plyfs-ring%u", n & 0xfff);
		r = transport_thread_create(&u->rings[n].thread, ring_thread,
					    &u->rings[n], name);
		u->rings[n].started = r == 0;
	}
	if (r == 0) {
		pthread_mutex_lock(&u->lock);
		while (u->n_up < u->n_rings)
			pthread_cond_wait(&u->cond, &u->lock);
		r = u->error;
		pthread_mutex_unlock(&u->lock);
	}
	if (r) {
		uring_stop(s);
		uring_free(s);
	}
	return r;
}

int uring_register(struct session *s)
{
	struct uring *u = s->uring;
	int r;

	tell(u, URING_GO);
	pthread_mutex_lock(&u->lock);
	while (u->n_registered < u->n_rings)
		pthread_cond_wait(&u->cond, &u->lock);
	r = u->error;
	pthread_mutex_unlock(&u->lock);
	return r;
}

unsigned int uring_threads(const struct uring *u)
{
	return u->n_rings;
}

void uring_stop(struct session *s)
{
	struct uring *u = s->uring;

	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	if (u->go == URING_WAIT)
		u->go = URING_QUIT;
	pthread_cond_broadcast(&u->cond);
	pthread_mutex_unlock(&u->lock);
	for (unsigned int i = 0; i < u->n_rings; i++) {
		if (u->rings[i].started)
			transport_thread_join(u->rings[i].thread);
		u->rings[i].started = false;
	}
}

void uring_free(struct session *s)
{
	struct uring *u = s->uring;

	if (!u)
		return;
	s->uring = NULL;
	for (unsigned int i = 0; i < u->n_ents; i++)
		if (u->ents[i].mem)
			munmap(u->ents[i].mem, PAYLOAD_OFF + u->payload_size);
	for (unsigned int i = 0; i < u->n_rings; i++) {
		if (u->rings[i].wake_fd >= 0)
			close(u->rings[i].wake_fd);
		pthread_mutex_destroy(&u->rings[i].lock);
		free(u->rings[i].ent);
	}
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->cond);
	free(u->rings);
	free(u->ents);
	free(u);
}
