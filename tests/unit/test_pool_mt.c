/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool, from several threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "fs/fuse/pool.h"

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static void count(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

struct submitter {
	struct pool *p;
	_Atomic int *done;
	int n;
};

static void *submit_many(void *arg)
{
	struct submitter *s = arg;

	for (int i = 0; i < s->n; i++)
		if (pool_submit(s->p, count, s->done))
			return (void *)1;
	return NULL;
}

static void every_job_runs_once(void **state)
{
	_Atomic int done = 0;
	struct pool *p;
	pthread_t t[4];

	(void)state;
	assert_int_equal(pool_new(3, 0, &p), 0);
	struct submitter s = { p, &done, 2000 };
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, submit_many, &s), 0);
	for (int i = 0; i < 4; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	pool_drain(p);
	assert_int_equal(done, 8000);
	pool_free(p);
}

static void free_finishes_what_was_submitted(void **state)
{
	_Atomic int done = 0;
	struct pool *p;

	(void)state;
	for (int round = 0; round < 50; round++) {
		assert_int_equal(pool_new(2, 0, &p), 0);
		for (int i = 0; i < 20; i++)
			assert_int_equal(pool_submit(p, count, &done), 0);
		pool_free(p);
		assert_int_equal(done, 20 * (round + 1));
	}
}

struct gate {
	sem_t open;
	sem_t entered;
};

static void pass_gate(void *arg)
{
	struct gate *g = arg;

	sem_post(&g->entered);
	while (sem_wait(&g->open))
		;
}

static void threads_grow_to_the_bound(void **state)
{
	unsigned int threads, queued;
	struct pool *p;
	struct gate g;

	(void)state;
	sem_init(&g.open, 0, 0);
	sem_init(&g.entered, 0, 0);
	assert_int_equal(pool_new(4, 0, &p), 0);
	pool_usage(p, &threads, NULL);
	assert_int_equal(threads, 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(pool_submit(p, pass_gate, &g), 0);
	/* Jobs that block don't keep the next from starting, up to the bound. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(sem_wait(&g.entered), 0);
	pool_usage(p, &threads, &queued);
	assert_int_equal(threads, 4);
	assert_int_equal(queued, 6);
	for (int i = 0; i < 10; i++)
		sem_post(&g.open);
	pool_free(p);
	sem_destroy(&g.open);
	sem_destroy(&g.entered);
}

static void one_job_makes_one_thread(void **state)
{
	_Atomic int done = 0;
	unsigned int threads;
	struct pool *p;

	(void)state;
	assert_int_equal(pool_new(8, 2000, &p), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(pool_submit(p, count, &done), 0);
		pool_drain(p);
		/* Until the thread waits again: then it is used again. */
		sleep_ms(2);
	}
	pool_usage(p, &threads, NULL);
	assert_in_range(threads, 1, 3);
	pool_free(p);
}

static void idle_threads_end(void **state)
{
	unsigned int threads = 1;
	_Atomic int done = 0;
	struct pool *p;

	(void)state;
	assert_int_equal(pool_new(4, 50, &p), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pool_submit(p, count, &done), 0);
	for (int i = 0; i < 500 && threads; i++) {
		sleep_ms(10);
		pool_usage(p, &threads, NULL);
	}
	assert_int_equal(threads, 0);
	assert_int_equal(done, 8);
	/* And they come again. */
	assert_int_equal(pool_submit(p, count, &done), 0);
	pool_drain(p);
	assert_int_equal(done, 9);
	pool_free(p);
}

struct chain {
	struct pool *p;
	_Atomic int left;
};

static void submit_next(void *arg)
{
	struct chain *c = arg;

	if (atomic_fetch_sub(&c->left, 1) > 1)
		(void)pool_submit(c->p, submit_next, c);
}

static void jobs_may_submit_jobs(void **state)
{
	struct chain c = { .left = 100 };

	(void)state;
	assert_int_equal(pool_new(1, 0, &c.p), 0);
	assert_int_equal(pool_submit(c.p, submit_next, &c), 0);
	while (atomic_load(&c.left) > 0)
		sleep_ms(1);
	pool_free(c.p);
	assert_int_equal(c.left, 0);
}

struct late {
	struct pool *p;
	sem_t begun;
	_Atomic int result;
};

static void submit_until_refused(void *arg)
{
	struct late *l = arg;
	_Atomic int dummy = 0;
	int r;

	sem_post(&l->begun);
	do {
		r = pool_submit(l->p, count, &dummy);
		/* The counter lives on our stack: see the jobs end first. */
		while (r == 0 && !atomic_load(&dummy))
			sleep_ms(1);
		atomic_store(&dummy, 0);
	} while (r == 0);
	l->result = r;
}

static void nothing_is_taken_after_free_began(void **state)
{
	struct late l = { .result = 0 };

	(void)state;
	sem_init(&l.begun, 0, 0);
	assert_int_equal(pool_new(2, 0, &l.p), 0);
	assert_int_equal(pool_submit(l.p, submit_until_refused, &l), 0);
	assert_int_equal(sem_wait(&l.begun), 0);
	pool_free(l.p);
	assert_int_equal(l.result, -ESHUTDOWN);
	sem_destroy(&l.begun);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_job_runs_once),
		cmocka_unit_test(free_finishes_what_was_submitted),
		cmocka_unit_test(threads_grow_to_the_bound),
		cmocka_unit_test(one_job_makes_one_thread),
		cmocka_unit_test(idle_threads_end),
		cmocka_unit_test(jobs_may_submit_jobs),
		cmocka_unit_test(nothing_is_taken_after_free_began),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
