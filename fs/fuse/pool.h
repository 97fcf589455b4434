/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of worker threads for requests that may be slow: copy-up of big
 * files, fsync, reads of a cold disk. Threads are made on demand up to a
 * bound and end after some seconds without work: an idle pool has none.
 * Jobs start in the order submitted. All functions may be called from any
 * thread, jobs included (except pool_free() from a job).
 */
#ifndef PLYFS_FS_FUSE_POOL_H
#define PLYFS_FS_FUSE_POOL_H

struct pool;

/*
 * @max_threads: 0 means 16. @idle_ms: how long a thread waits for work before
 * it ends; 0 means 5000. 0 or -errno.
 */
int pool_new(unsigned int max_threads, unsigned int idle_ms, struct pool **ret);

/*
 * Have @fn(@arg) called once in some worker. Never blocks and never runs it in
 * the caller. -ENOMEM, -EAGAIN (no thread at all could be made) or -ESHUTDOWN
 * (pool_free() has begun): then @fn will not be called, and the caller does
 * the work itself or fails the request.
 */
int pool_submit(struct pool *p, void (*fn)(void *arg), void *arg);

/* Wait until every job submitted so far has ended. */
void pool_drain(struct pool *p);

/* Threads alive now and jobs waiting, for gauges and tests. Either may be NULL. */
void pool_usage(struct pool *p, unsigned int *ret_threads, unsigned int *ret_queued);

/* Drain, end all threads, free. NULL is fine. */
void pool_free(struct pool *p);

#endif
