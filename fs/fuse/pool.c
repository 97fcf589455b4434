/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define DEFAULT_THREADS 16
#define DEFAULT_IDLE_MS 5000

struct job {
	struct job *next;
	void (*fn)(void *arg);
	void *arg;
};

struct pool {
	unsigned int max_threads;
	unsigned int idle_ms;
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job came, or the pool ends */
	pthread_cond_t quiet; /* no job is left, or a thread ended */
	/* protected by lock from here on */
	struct job *first, **last;
	unsigned int queued, running, idle, threads;
	bool ending;
};

int pool_new(unsigned int max_threads, unsigned int idle_ms, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));
	pthread_condattr_t attr;

	if (!p)
		return -ENOMEM;
	p->max_threads = max_threads ? max_threads : DEFAULT_THREADS;
	p->idle_ms = idle_ms ? idle_ms : DEFAULT_IDLE_MS;
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->work, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&p->quiet, NULL);
	*ret = p;
	return 0;
}

/* The next job, or NULL when there was none for so long. Called with lock. */
static struct job *next_job(struct pool *p)
{
	struct timespec until;
	struct job *job;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += p->idle_ms / 1000;
	until.tv_nsec += (long)(p->idle_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	p->idle++;
	while (!p->first && !p->ending)
		if (pthread_cond_timedwait(&p->work, &p->lock, &until) == ETIMEDOUT)
			break;
	p->idle--;
	job = p->first;
	if (!job)
		return NULL;
	p->first = job->next;
	if (!p->first)
		p->last = &p->first;
	p->queued--;
	return job;
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	struct job *job;

	pthread_mutex_lock(&p->lock);
	while ((job = next_job(p))) {
		p->running++;
		pthread_mutex_unlock(&p->lock);
		job->fn(job->arg);
		free(job);
		pthread_mutex_lock(&p->lock);
		p->running--;
		if (!p->running && !p->queued)
			pthread_cond_broadcast(&p->quiet);
	}
	/* Detached: after this nothing of the pool may be touched. */
	p->threads--;
	pthread_cond_broadcast(&p->quiet);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Called with lock. */
static int add_thread(struct pool *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, 1U << 20);
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* a file that is mapped was cut short: lib/map.h */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, worker, p);
	if (r == 0) {
		(void)pthread_setname_np(thread, "plyfs-worker");
		p->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}

int pool_submit(struct pool *p, void (*fn)(void *arg), void *arg)
{
	struct job *job = malloc(sizeof(*job));
	int r = 0;

	if (!job)
		return -ENOMEM;
	*job = (struct job){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&p->lock);
	if (p->ending)
		r = -ESHUTDOWN;
	else if (p->idle <= p->queued && p->threads < p->max_threads)
		r = add_thread(p);
	/* Without another thread it waits for one of those there are. */
	if (r && (r == -ESHUTDOWN || !p->threads)) {
		pthread_mutex_unlock(&p->lock);
		free(job);
		return r == -ESHUTDOWN ? r : -EAGAIN;
	}
	*p->last = job;
	p->last = &job->next;
	p->queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void pool_drain(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->queued || p->running)
		pthread_cond_wait(&p->quiet, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void pool_usage(struct pool *p, unsigned int *ret_threads, unsigned int *ret_queued)
{
	pthread_mutex_lock(&p->lock);
	if (ret_threads)
		*ret_threads = p->threads;
	if (ret_queued)
		*ret_queued = p->queued;
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->work);
	while (p->threads)
		pthread_cond_wait(&p->quiet, &p->lock);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->quiet);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
