/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live counters, in a file that others can map while we run (or in anonymous
 * memory). The transport counts by itself, one per request message that it
 * has received, whatever brought it; ops need not do anything. Gauges are set
 * by whoever knows the value. Everything is a relaxed atomic: a reader sees
 * each number whole, but not all of them at one instant.
 *
 * The layout is part of the interface (doc/transport.md describes it):
 * fixed-width fields in the machine's byte order, version 1. A reader must
 * refuse another magic or version and trust none of the sizes.
 *
 * Errors: 0 or -errno. stats_count/stats_reply/gauge functions take a NULL
 * struct stats and do nothing then.
 */
#ifndef PLYFS_FS_FUSE_STATS_H
#define PLYFS_FS_FUSE_STATS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#define STATS_MAGIC 0x7374617473796c70ULL /* "plystats" as bytes */
#define STATS_VERSION 1
#define STATS_N_OPS 64 /* by opcode; what is beyond counts as opcode 0 */
#define STATS_N_HIST 16
#define STATS_NAME 16

/*
 * Time from reading a request to its reply, by powers of two: hist[0] counts
 * replies below 1 us, hist[i] those in [2^(i-1), 2^i) us, the last one the
 * rest. Requests without a reply (FORGET) are counted and not timed.
 */
struct stats_op {
	char name[STATS_NAME]; /* "LOOKUP"; empty: no such opcode */
	_Atomic uint64_t count; /* messages received */
	_Atomic uint64_t replies;
	_Atomic uint64_t errors; /* replies with an error, ENOENT included */
	_Atomic uint64_t total_ns; /* of the replies */
	_Atomic uint64_t hist[STATS_N_HIST];
};

enum stats_gauge {
	STATS_NODES, /* inodes the kernel remembers */
	STATS_FDS, /* backing descriptors open */
	STATS_COPYUPS, /* files copied up so far */
	STATS_COPYUP_BYTES, /* and their data */
	STATS_NOTIFIES, /* notifications sent: STORE, INVAL */
	STATS_NOTIFY_ERRORS,
	STATS_URING, /* 1 when requests come by io_uring */
	STATS_THREADS, /* threads of the transport */
	STATS_POOL_THREADS, /* worker threads alive */
	STATS_BYTES_READ, /* data in replies to READ */
	STATS_BYTES_WRITTEN, /* data in WRITE requests */
	STATS_PREFETCHED, /* files put into the page cache unasked */
	STATS_PREFETCHED_BYTES,
	STATS_PREFETCH_CANCELLED, /* and those that somebody asked for meanwhile */
	STATS_PACKED_CACHED, /* bytes that packed layers hold decompressed */
	STATS_PACKED_HITS, /* frames found there */
	STATS_PACKED_MISSES, /* and not */
	STATS_PACKED_LOADED, /* bytes decompressed */
	STATS_MOUNT_DEV, /* st_dev of the mount; 0: not known */
	STATS_N_GAUGES,
};

struct stats_gauge_slot {
	char name[STATS_NAME];
	_Atomic int64_t value;
};

/* The file. Sizes are there so that later versions can append. */
struct stats_file {
	uint64_t magic;
	uint32_t version;
	uint32_t size; /* of this struct */
	uint32_t n_ops;
	uint32_t n_hist;
	uint32_t n_gauges;
	uint32_t pid; /* as the daemon sees itself */
	uint64_t start_ns; /* CLOCK_REALTIME at stats_open() */
	_Atomic uint64_t end_ns; /* the same at stats_close(); 0: running */
	struct stats_op op[STATS_N_OPS];
	struct stats_gauge_slot gauge[STATS_N_GAUGES];
};

struct stats; /* = the mapping */

/*
 * New counters, all zero, in @path (replaced by rename if it exists; mode 0644
 * less umask), or in memory when @path is NULL: a memfd named STATS_MEMFD. Either stays
 * open, so that whoever may look at this process finds it among its descriptors
 * (plyctl stats). Once in a process.
 */
#define STATS_MEMFD "plyfs-stats"
int stats_open(const char *path, struct stats **ret);
/* Unmap; the file stays, with end_ns set. NULL is fine. */
void stats_close(struct stats *st);

/* For the transport. @opcode as in the protocol; @ns: how long it took. */
void stats_count(struct stats *st, uint32_t opcode);
void stats_reply(struct stats *st, uint32_t opcode, int error, uint64_t ns);

void stats_gauge_set(struct stats *st, enum stats_gauge g, int64_t value);
void stats_gauge_add(struct stats *st, enum stats_gauge g, int64_t delta);

/* Read-only view of the counters, for tests and --stats of ourselves. */
const struct stats_file *stats_view(const struct stats *st);

/*
 * Print the counters of @path: one line per opcode that was seen, one per
 * gauge, for people and awk alike. -EINVAL: not such a file, or of another
 * version.
 */
int stats_print(FILE *out, const char *path);

#endif
