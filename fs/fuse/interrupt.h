/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the transport: INTERRUPT. What handlers call is in transport.h. */
#ifndef PLYFS_FS_FUSE_INTERRUPT_H
#define PLYFS_FS_FUSE_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

struct session;

/* The kernel has sent INTERRUPT for request @unique. From any thread; waits for nothing. */
void interrupt_request(struct session *s, uint64_t unique);

/* A session begins; it ends: nobody is answered any more, and no handler may run. */
void interrupt_start(void);
void interrupt_stop(void);

/*
 * Says whether who has @status (the text of /proc/TID/status) is about to die of
 * a signal: one is pending that is neither blocked, ignored nor caught, and ends
 * a process by default.
 */
bool interrupt_is_fatal(const char *status);

#endif
