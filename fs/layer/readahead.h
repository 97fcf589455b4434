/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressing ahead of who reads a blob's frames one after the other: who does is
 * found out here, and a thread that lives while there is something to do calls
 * back for what comes next.
 */
#ifndef PLYFS_LAYER_READAHEAD_H
#define PLYFS_LAYER_READAHEAD_H

#include <stdint.h>

#define READAHEAD_READERS 4

/* Of one blob; zeroed at first. Protected by readahead.c's lock. */
struct readahead {
	struct readahead_reader {
		uint32_t last; /* the frame it read last */
		uint32_t run; /* frames in a row; 0: not in use */
		uint32_t ahead; /* the last frame that was asked for */
		uint64_t used; /* for choosing the oldest */
	} reader[READAHEAD_READERS];
	uint64_t clock;
};

/* What frames are decompressed by. @arg is the blob. 0: go on; else no more of them now. */
typedef int (*readahead_fn)(void *arg, uint32_t frame);
/* How many bytes @frame has decompressed; 0: there is no such frame, or it is not to be held. */
typedef uint64_t (*readahead_size_fn)(void *arg, uint32_t frame);

/* @frame is being read. May start the thread; does not wait. */
void readahead_touch(struct readahead *ra, uint32_t frame, readahead_size_fn size, readahead_fn fn,
		     void *arg);
/* Takes back what was asked for with @arg, and waits for what is being done. */
void readahead_cancel(void *arg);

#endif
