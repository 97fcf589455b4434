/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far something is, on stderr: a bar that is drawn again on a terminal (bytes, files, rate,
 * time left), a line now and then elsewhere, nothing where it is over within a second.
 * For one thread at a time.
 */
#ifndef PLYFS_TOOLS_PROGRESS_H
#define PLYFS_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	const char *what; /* borrowed: "pack" */
	bool terminal, quiet, shown;
	struct timespec begin, last;
	uint64_t done, total, files;
};

/* @total: bytes, 0 where that is not known. @quiet: say nothing at all. */
void progress_begin(struct progress *p, const char *what, uint64_t total, bool quiet);
void progress_update(struct progress *p, uint64_t done, uint64_t files);
/* Wipes the bar; elsewhere a last line where there was one before. */
void progress_end(struct progress *p);

/*
 * From now on SIGINT, SIGTERM and SIGHUP only set a mark: whoever works looks at it now and
 * then, removes what is half done, and ends.
 */
void interrupt_catch(void);
bool interrupted(void);

#endif
