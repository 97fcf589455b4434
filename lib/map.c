/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler runs in the thread that touched the page. It finds the map in a
 * table that is only ever changed by single atomic stores: a slot's start is
 * the last to be set and the first to be cleared, and nobody reads a map that
 * is being freed, so that what it finds for a faulting address is valid.
 */
#include "lib/map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sys.h"

#define MAPS 4096

struct map {
	void *p;
	size_t size;
	unsigned slot;
	atomic_bool damaged;
};

static struct {
	_Atomic uintptr_t start;
	_Atomic size_t size;
	struct map *_Atomic map;
} maps[MAPS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint used; /* slots below may be in use */
static uintptr_t page;
static struct sigaction before;

static void hand_on(int sig, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO && before.sa_sigaction) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		/* the access is repeated, and this time it ends the process */
		(void)signal(sig, SIG_DFL);
	}
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	unsigned i, n = atomic_load(&used);
	int saved = errno;

	for (i = 0; i < n; i++) {
		uintptr_t start = atomic_load(&maps[i].start);
		void *to;

		if (!start || at < start || at - start >= atomic_load(&maps[i].size))
			continue;
		atomic_store(&atomic_load(&maps[i].map)->damaged, true);
		to = (char *)info->si_addr - at % page;
		if (mmap(to, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		    to) {
			errno = saved;
			return;
		}
	}
	hand_on(sig, info, context);
	errno = saved;
}

/* With the lock. Others may have put a handler of their own in place since the last time. */
static int install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction now;

	page = (uintptr_t)sysconf(_SC_PAGESIZE);
	if (sigaction(SIGBUS, NULL, &now) < 0)
		return -errno;
	if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_sigbus)
		return 0;
	before = now;
	return sigemptyset(&sa.sa_mask) < 0 || sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

static int enter(struct map *m)
{
	unsigned i;
	int r;

	pthread_mutex_lock(&lock);
	r = install();
	for (i = 0; r == 0 && i < MAPS && atomic_load(&maps[i].start); i++)
		;
	if (r == 0 && i == MAPS)
		r = -EMFILE;
	if (r == 0) {
		m->slot = i;
		atomic_store(&maps[i].map, m);
		atomic_store(&maps[i].size, m->size);
		if (i >= atomic_load(&used))
			atomic_store(&used, i + 1);
		atomic_store(&maps[i].start, (uintptr_t)m->p);
	}
	pthread_mutex_unlock(&lock);
	return r;
}

int map_file(int fd, size_t size, struct map **ret)
{
	struct map *m = sys_calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->size = size;
	r = sys_mmap(fd, size, &m->p);
	if (r < 0) {
		free(m);
		return r;
	}
	r = enter(m);
	if (r < 0) {
		(void)munmap(m->p, size);
		free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	atomic_store(&maps[m->slot].start, 0);
	(void)munmap(m->p, m->size);
	free(m);
}

const uint8_t *map_data(const struct map *m)
{
	return m->p;
}

bool map_damaged(const struct map *m)
{
	return atomic_load_explicit(&m->damaged, memory_order_relaxed);
}
