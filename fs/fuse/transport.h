/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request handler may ask of the transport that brought its request.
 * All of this is about the request whose handler is running in the calling
 * thread; outside of a handler see each function.
 *
 * Lifetime of a handler's arguments (names, data of WRITE, xattr values):
 * until the handler returns, on both transports, even past the reply, with
 * one exception: over io_uring the data of a request larger than 4 KiB is
 * overwritten by the reply. So: do not look at WRITE's data after replying.
 *
 * When a reply leaves: over /dev/fuse at once. Over io_uring a reply given in
 * the handler's own thread leaves when the handler returns (it saves a system
 * call): after replying, call transport_flush() before doing more work.
 */
#ifndef PLYFS_FS_FUSE_TRANSPORT_H
#define PLYFS_FS_FUSE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_req;

/*
 * Keep the arguments of the current request valid until its reply, for a
 * handler that hands the request to a worker. To be called in the handler,
 * before the worker can reply. 0; -ENOMEM, or -EOPNOTSUPP where libfuse was
 * built without custom io (copy what is needed, or do the work here); -EINVAL
 * outside of a handler.
 */
int transport_hold(void);

/*
 * A request that waits: for a worker, or parked for an answer from elsewhere.
 * Should its process die meanwhile, the request is answered EINTR at once. The
 * structure belongs to the caller and stays in place until the end of the wait.
 */
struct transport_wait {
	struct transport_wait *next, **pprev;
	struct fuse_req *req;
	uint64_t unique;
	pid_t tid;
	bool interrupted;
};

/* The current request, @req, waits from now on. To be called in its handler. */
void transport_wait_begin(struct transport_wait *w, struct fuse_req *req);

/*
 * The wait is over, in any thread. True: do the work and reply. False: the request
 * has been answered, neither it nor its arguments may be looked at any more.
 */
bool transport_wait_end(struct transport_wait *w);

/* Send what the current handler has replied. Nothing to do: harmless. */
void transport_flush(void);

/*
 * A page-aligned buffer for the data of a reply (READ, READDIR, READLINK,
 * GETXATTR), to be filled and given to fuse_reply_buf() in the same thread
 * before the handler returns. Over io_uring it is the buffer that the kernel
 * reads, so that nothing is copied; its first 4 KiB and more may overlap the
 * request's own data if that is larger than 4 KiB. In other threads (workers)
 * it is a buffer of the thread's own. Not touched memory costs nothing, and
 * memory touched is given back when the thread idles.
 * @size: bytes wanted, at most 1 MiB + 4 KiB. NULL without memory.
 */
void *transport_reply_buf(size_t size);

/* The current request came by io_uring. */
bool transport_is_uring(void);

#endif
