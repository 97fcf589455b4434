/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the transport: what session.c, transport.c, loop.c and uring.c
 * share. Nobody else includes this.
 */
#ifndef PLYFS_FS_FUSE_TRANSPORT_I_H
#define PLYFS_FS_FUSE_TRANSPORT_I_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "proto.h"
#include "session.h"
#include "stats.h"

#define TRANSPORT_PAGE 4096
/* The most data in one message: WRITE in, READ out. */
#define TRANSPORT_MAX_DATA (1U << 20)
/* What precedes the data of a WRITE: placed so that the data is page-aligned. */
#define TRANSPORT_WRITE_HEADER (sizeof(struct proto_in_header) + PROTO_WRITE_IN_SIZE)
/* A buffer: one page that ends in the headers, then the data. */
#define TRANSPORT_BUF_SIZE (TRANSPORT_PAGE + TRANSPORT_MAX_DATA)
/* Memory beyond this is given back when its thread idles ... */
#define TRANSPORT_KEEP (64U << 10)
/* ... for this long. */
#define TRANSPORT_IDLE_MS 1000

/* Interrupts a blocking call of a transport thread; its handler does nothing. */
#define TRANSPORT_SIGNAL SIGUSR1

#define TRANSPORT_INFLIGHT 1024 /* a power of two */

/* When a request came; found again by its unique number when it is answered. */
struct transport_slot {
	_Atomic uint64_t unique;
	_Atomic uint64_t start_ns;
	_Atomic uint32_t opcode;
};

/* Arguments that outlive their handler: transport_hold(). */
struct transport_held {
	struct transport_held *next;
	uint64_t unique;
	char *buf; /* TRANSPORT_BUF_SIZE, mapped */
};

struct loop;
struct uring;
struct uring_ent;

struct session {
	struct session_config cfg;
	struct fuse_session *se; /* owned */
	int fd; /* /dev/fuse; owned by se */
	bool custom_io; /* replies pass transport_writev() */
	bool fd_mount; /* somebody else mounted */
	bool mounted;
	uint64_t mnt_id; /* 0: unknown */
	int event_fd; /* owned; wakes session_run() */
	_Atomic bool stop; /* threads shall end */
	_Atomic bool ended; /* the connection has ended */
	_Atomic bool stop_asked; /* session_stop() */

	/* INIT: written by the thread that answers it, before all others. */
	bool init_seen;
	bool init_done;
	bool uring_offered;
	int init_error;

	struct loop *loop; /* owned; NULL until started */
	struct uring *uring; /* owned; NULL: /dev/fuse only */

	struct transport_slot slot[TRANSPORT_INFLIGHT];
	pthread_mutex_t held_lock;
	struct transport_held *held; /* protected by held_lock */
	_Atomic unsigned int n_held;
};

/* The request whose handler runs in this thread. */
struct transport_current {
	struct session *s; /* NULL: none */
	struct uring_ent *ent; /* NULL: it came by /dev/fuse */
	char **buf; /* /dev/fuse: the thread's buffer, which hold() takes */
	uint64_t unique;
	uint32_t opcode;
};

extern _Thread_local struct transport_current transport_current;

uint64_t transport_now(void);

/* A lazily touched buffer of TRANSPORT_BUF_SIZE; NULL without memory. */
char *transport_buf_new(void);
void transport_buf_free(char *buf);
/* Give back what lies beyond TRANSPORT_KEEP. */
void transport_buf_trim(char *buf);

/*
 * Count and run one request: @in and what follows it, @size bytes. @ent for
 * io_uring, else @buf points to the thread's buffer pointer.
 */
void transport_dispatch(struct session *s, struct proto_in_header *in, size_t size,
			struct uring_ent *ent, char **buf);

/* libfuse's way out, for replies and notifications (struct fuse_custom_io). */
ssize_t transport_writev(int fd, struct iovec *iov, int count, void *userdata);
ssize_t transport_read(int fd, void *buf, size_t size, void *userdata);
void transport_set_session(struct session *s);

/* Trim the reply buffer of the calling thread, if it has grown. */
void transport_reply_trim(void);
/* The same without trimming: is there something to trim? */
bool transport_reply_grown(void);

/* Release held buffers; no handler or worker runs any more. */
void transport_release(struct session *s);

/* Wake session_run(). Async-signal-safe. */
void session_wake(struct session *s);

/* Set up a transport thread: name it, block its signals. */
int transport_thread_create(pthread_t *ret, void *(*fn)(void *), void *arg,
			    const char *name);
/* Interrupt @thread until it has ended, then join it. */
void transport_thread_join(pthread_t thread);

/* loop.c: threads that read /dev/fuse. */
/* @n threads; @spin_us 0: they never spin. 0 or -errno (then none runs). */
int loop_start(struct session *s, unsigned int n, unsigned int spin_us);
/* Read and run one request in the calling thread, waiting up to @timeout_ms. */
int loop_one(struct session *s, int timeout_ms);
void loop_stop(struct session *s);

/* uring.c: threads that wait on io_uring queues, one per CPU. */
/*
 * Before INIT is answered: rings, memory and threads. @max_data: the larger of
 * max_write and max_pages in bytes. 0 or -errno; then nothing is left over.
 */
int uring_start(struct session *s, unsigned int depth, size_t max_data);
/* After INIT was answered: register with the kernel. 0 or -errno. */
int uring_register(struct session *s);
unsigned int uring_threads(const struct uring *u);
void uring_stop(struct session *s);
void uring_free(struct session *s);
/* The entry that holds request @unique, or NULL. */
struct uring_ent *uring_find(struct uring *u, uint64_t unique);
/* Answer @ent's request. iov[0] is a struct proto_out_header. */
ssize_t uring_reply(struct uring_ent *ent, const struct iovec *iov, int count);
/* Submit what the calling thread has answered. */
void uring_flush(struct uring_ent *ent);
/* Where the kernel reads the reply's data; NULL if @size does not fit. */
char *uring_payload(struct uring_ent *ent, size_t size);

#endif
