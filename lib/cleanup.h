/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup of resources.
 *
 *	_cleanup_free_ char *p = NULL;      freed when p leaves its scope
 *	_cleanup_fd_ int fd = -1;           closed, errno untouched
 *	return steal_fd(&fd);               hands ownership to the caller
 */
#ifndef PLYFS_LIB_CLEANUP_H
#define PLYFS_LIB_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void cleanup_freep(void *p)
{
	void *q;

	__builtin_memcpy(&q, p, sizeof(q));
	free(q);
}

static inline void cleanup_closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd);
		errno = saved;
		*fd = -1;
	}
}

static inline int steal_fd(int *fd)
{
	int ret = *fd;

	*fd = -1;
	return ret;
}

#define steal_ptr(pp)                         \
	({                                    \
		__typeof__(*(pp)) s_ = *(pp); \
		*(pp) = NULL;                 \
		s_;                           \
	})

#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_fd_ _cleanup_(cleanup_closep)

#endif
