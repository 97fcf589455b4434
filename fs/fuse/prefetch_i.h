/* SPDX-License-Identifier: Apache-2.0 */
/* What prefetch.c and prefetch_plan.c share. Nobody else includes this. */
#ifndef PLYFS_FS_FUSE_PREFETCH_I_H
#define PLYFS_FS_FUSE_PREFETCH_I_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "fs/fuse/prefetch.h"
#include "fs/union/union.h"

#define PREFETCH_BATCH_FILES 64
#define PREFETCH_RUNS 8

/* A file read into the buffer. */
struct prefetch_file {
	uint64_t ino;
	size_t off, size;
};

/* A file that may be stored. */
struct prefetch_cand {
	uint64_t nodeid, cookie, ino;
	uint32_t name; /* offset in names */
	bool seen; /* when it was listed */
};

/* Reading in one directory. Handlers use what the lock protects; the rest is the planner's. */
struct prefetch_run {
	uint64_t dir; /* 0: none */
	uint64_t prev, last; /* the files read last */
	uint64_t sentinel; /* left out, so that its READ tells that there is a reader */
	int64_t when_ms; /* of the last READ */
	unsigned misses; /* READs since we last did something about them */
	unsigned need; /* so many make us act */
	bool wanted, busy;
	/* planner */
	struct prefetch_cand *c; /* owned; in the order of reading */
	char *names; /* owned; only while sorting */
	size_t n, cap, names_len, names_cap;
	size_t next, left; /* where to go on, and how many are left */
	unsigned batch; /* files to store at once */
};

struct prefetch {
	struct union_fs *u;
	struct pool *pool;
	struct stats *stats;
	size_t page;
	bool eager; /* for tests, as is the delay of each STORE */
	unsigned delay_us;
	atomic_bool off; /* for good */
	_Atomic uint64_t current; /* the file being stored; given up with the lock */
	_Atomic int fuse_fd; /* borrowed from the session; -1 until prefetch_start() */

	pthread_mutex_t lock; /* protects from here on; never held while the kernel waits */
	pthread_cond_t work; /* a batch, or the end, for the storer */
	pthread_cond_t done; /* a batch is done, a thread ends */
	pthread_cond_t passed; /* a STORE has ended that a gate waits for */
	unsigned gates; /* that wait */
	bool stop, storer, ready, planning, cancelled;
	int dev; /* the storer's /dev/fuse, until it has it in its own table */
	char *map, *buf; /* buf lies in map, between inaccessible pages; page-aligned */
	struct prefetch_file file[PREFETCH_BATCH_FILES];
	unsigned n_file;
	int64_t since_us; /* the planner's: when the first of file[] was read */
	bool full; /* file[] is the storer's */
	struct prefetch_run run[PREFETCH_RUNS];
};

/* With the lock: has the planner run. */
void prefetch_plan(struct prefetch *p);
/* The planner's: makes sure of a storer and its buffer. 0 or -errno. */
int prefetch_storer(struct prefetch *p);
/* The planner's: has the batch stored, and waits for it. */
void prefetch_store_batch(struct prefetch *p);
/* A READ of a lower file in @dir, the first. */
void prefetch_note(struct prefetch *p, uint64_t dir, uint64_t ino);
void prefetch_run_free(struct prefetch_run *r);

#endif
