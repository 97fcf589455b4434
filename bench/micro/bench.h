/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every measuring program shares: a clock that covers the workload and
 * nothing else, the daemon's CPU time beside it, and the list of a tree.
 *
 * A program prints one line per measured row on stdout, tab-separated:
 *
 *	result	ROW	OPERATIONS	NANOSECONDS	DAEMON_CPU_NANOSECONDS
 *
 * The last field is -1 when no daemon serves the mount. Anything that went
 * otherwise than expected ends the program with status 1 and a message: a
 * sample whose work was not done is worth nothing.
 *
 * Environment: BENCH_PID is the daemon's process id (unset or empty: none).
 * BENCH_HOOK is a command that is run, outside the measured time, as
 * "HOOK begin ROW" and "HOOK end ROW"; bench/messages counts requests so.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Entries of a tree as mktree wrote them: 'F', 'D' or 'L', size, path. */
struct bench_entry {
	char type;
	uint32_t dir; /* index into bench_list.dir of the parent */
	uint64_t size;
	char *path; /* relative to the tree's root */
};

struct bench_list {
	struct bench_entry *entry;
	size_t count;
	size_t files; /* entries of type F */
	uint64_t bytes; /* sum of the files' sizes */
	char **dir; /* paths of the directories, "." first */
	size_t dirs;
};

/* Prints a message and ends the program with status 1. */
void bench_fail(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));

/* Starts the clock of row; rows do not nest. */
void bench_begin(const char *row);

/* Stops it and prints the result line for ops operations. */
void bench_end(uint64_t ops);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t bench_now(void);

/* Reads the list at path; the caller never frees it. */
void bench_list_read(struct bench_list *list, const char *path);

/*
 * Reduces the list to its files and shuffles them, always in the same way:
 * a workload that takes its files in this order touches them neither in the
 * order of their names nor of their inodes.
 */
void bench_list_shuffle_files(struct bench_list *list);

/* A number argument, or the end of the program. */
uint64_t bench_number(const char *text);

/* Number of entries of directory path besides . and .. */
size_t bench_count_dir(const char *path);

/* A fixed pseudo-random function of its argument. */
uint64_t bench_hash(uint64_t x);

/* Fills buf with bytes that depend on seed and do not compress. */
void bench_fill(void *buf, size_t len, uint64_t seed);

#endif
