/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads at once on one union: nothing is lost, torn or left behind. */
#include "union.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORKERS 4
#define ROUNDS 150
#define SHARED 32
#define CHUNK 64
#define PIECES (256 * 1024 / CHUNK)

static struct fixture fx;
static atomic_uint failures;
static atomic_bool stop;

/* cmocka's assertions jump, which only its own thread may do. */
#define EXPECT(what)                                                                 \
	do {                                                                         \
		if (!(what)) {                                                       \
			(void)fprintf(stderr, "line %d: not %s\n", __LINE__, #what); \
			atomic_fetch_add(&failures, 1);                              \
		}                                                                    \
	} while (0)

static int setup(void **state)
{
	(void)state;
	fx_init(&fx);
	atomic_store(&failures, 0);
	atomic_store(&stop, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fx_done(&fx);
	return 0;
}

static void run(void *(*fn)(void *), unsigned n)
{
	pthread_t thread[WORKERS * 2];
	unsigned number[WORKERS * 2], i;

	for (i = 0; i < n; i++) {
		number[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, fn, &number[i]), 0);
	}
	for (i = 0; i < n; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(atomic_load(&failures), 0);
}

static uint64_t lookup(uint64_t parent, const char *name)
{
	struct union_entry e;
	int err = union_lookup(fx.u, parent, name, &e);

	return err < 0 ? 0 : e.nodeid;
}

static int count_entry(void *arg, const char *name, uint64_t cookie, const struct union_entry *e)
{
	unsigned *n = arg;

	(void)cookie;
	*n += name[0] == 's';
	if (e->nodeid)
		union_forget(fx.u, e->nodeid, 1);
	return 0;
}

/* A worker changes names in its own directory and looks at the shared one. */
static void *change_own(void *arg)
{
	unsigned me = *(const unsigned *)arg, i, n;
	char dir[16], name[32], other[32], buf[32];
	struct union_entry e;
	uint64_t own, shared;

	(void)snprintf(dir, sizeof(dir), "own%u", me);
	own = lookup(UNION_ROOT, dir);
	shared = lookup(UNION_ROOT, "shared");
	EXPECT(own && shared);
	for (i = 0; i < ROUNDS; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		(void)snprintf(other, sizeof(other), "g%u", i);
		EXPECT(!union_mknod(fx.u, &nobody_special, own, name, S_IFREG | 0644, 0, &e));
		EXPECT(union_write(fx.u, e.nodeid, name, strlen(name), 0) == (ssize_t)strlen(name));
		EXPECT(!union_rename(fx.u, own, name, own, other, 0));
		EXPECT(union_read(fx.u, e.nodeid, buf, sizeof(buf), 0) == (ssize_t)strlen(name));
		EXPECT(!memcmp(buf, name, strlen(name)));
		union_forget(fx.u, e.nodeid, 1);
		if (i % 2)
			EXPECT(!union_unlink(fx.u, own, other));
		(void)snprintf(name, sizeof(name), "s%u", i % SHARED);
		EXPECT(!union_lookup(fx.u, shared, name, &e));
		EXPECT(e.nodeid && e.st.stx_size == 5);
		union_forget(fx.u, e.nodeid, 1);
		if (i % 16 == 0) {
			n = 0;
			EXPECT(union_readdir(fx.u, shared, 0, true, count_entry, &n) >= 0);
			EXPECT(n == SHARED);
		}
	}
	union_forget(fx.u, own, 1);
	union_forget(fx.u, shared, 1);
	return NULL;
}

static void test_names(void **state)
{
	char name[32];
	struct listing l;
	unsigned i;

	(void)state;
	make(&fx, "l1", "d shared", NULL);
	make(&fx, "l2", "d shared", NULL);
	for (i = 0; i < SHARED; i++) {
		(void)snprintf(name, sizeof(name), "f shared/s%u hello", i);
		make(&fx, i % 2 ? "l1" : "l2", name, NULL);
	}
	for (i = 0; i < WORKERS; i++) {
		(void)snprintf(name, sizeof(name), "d own%u", i);
		make(&fx, i % 2 ? "l1" : "up", name, NULL);
	}
	fx_open(&fx);
	run(change_own, WORKERS);
	for (i = 0; i < WORKERS; i++) {
		(void)snprintf(name, sizeof(name), "own%u", i);
		list(&fx, name, 7, &l);
		assert_int_equal(names_listed(&l), ROUNDS / 2);
	}
}

/* All write their own pieces of one lower file: it is copied up once, and whole. */
static void *write_pieces(void *arg)
{
	unsigned me = *(const unsigned *)arg, i;
	uint64_t id = lookup(UNION_ROOT, "big");
	char buf[CHUNK], back[CHUNK];

	EXPECT(id);
	for (i = me; i < PIECES; i += WORKERS) {
		memset(buf, 'a' + (int)(i % 26), sizeof(buf));
		EXPECT(union_write(fx.u, id, buf, CHUNK, (off_t)i * CHUNK) == CHUNK);
		EXPECT(union_read(fx.u, id, back, CHUNK, (off_t)i * CHUNK) == CHUNK);
		EXPECT(!memcmp(buf, back, CHUNK));
	}
	union_forget(fx.u, id, 1);
	return NULL;
}

static void test_copy_up(void **state)
{
	_cleanup_free_ char *buf = malloc(PIECES * CHUNK);
	struct union_counts c;
	unsigned i;

	(void)state;
	assert_non_null(buf);
	make(&fx, "l1", "f big x", NULL);
	(void)snprintf(buf, 256, "%s/l1/big", fx.base);
	assert_int_equal(truncate(buf, PIECES * CHUNK), 0);
	fx_open(&fx);
	run(write_pieces, WORKERS);
	union_counts(fx.u, &c);
	assert_int_equal(c.copy_ups, 1);
	assert_int_equal(union_read(fx.u, node(&fx, "big"), buf, PIECES * CHUNK, 0),
			 PIECES * CHUNK);
	for (i = 0; i < PIECES * CHUNK; i++)
		assert_int_equal(buf[i], 'a' + (int)(i / CHUNK % 26));
}

/*
 * The lock that the kernel holds on a directory: shared for lookups and
 * listings, alone for changes of its names, and fair to them. Reads know no
 * such lock.
 */
static pthread_rwlock_t dir_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* One renames and removes what others look at, read and list. */
static void *look_around(void *arg)
{
	unsigned seed = *(const unsigned *)arg + 1;
	uint64_t dir = lookup(UNION_ROOT, "shared");
	struct union_entry e;
	char name[32], buf[16];
	unsigned n = 0;
	bool found;
	ssize_t r;

	EXPECT(dir);
	if (seed == 1) {
		for (unsigned i = 0; i < ROUNDS * 2; i++) {
			char to[32];

			(void)snprintf(name, sizeof(name), i / SHARED % 2 ? "t%u" : "s%u",
				       i % SHARED);
			(void)snprintf(to, sizeof(to), i / SHARED % 2 ? "s%u" : "t%u", i % SHARED);
			(void)pthread_rwlock_wrlock(&dir_lock);
			EXPECT(!union_rename(fx.u, dir, name, dir, to, 0));
			(void)pthread_rwlock_unlock(&dir_lock);
		}
		atomic_store(&stop, true);
	}
	while (!atomic_load(&stop)) {
		(void)snprintf(name, sizeof(name), "%c%u", rand_r(&seed) % 2 ? 's' : 't',
			       (unsigned)rand_r(&seed) % SHARED);
		(void)pthread_rwlock_rdlock(&dir_lock);
		found = !union_lookup(fx.u, dir, name, &e) && e.nodeid;
		(void)pthread_rwlock_unlock(&dir_lock);
		if (found) {
			r = union_read(fx.u, e.nodeid, buf, sizeof(buf), 0);
			if (r < 0)
				(void)fprintf(stderr, "%s: %s\n", name, strerror((int)-r));
			EXPECT(r == 5);
			EXPECT(!memcmp(buf, "hello", 5));
			union_forget(fx.u, e.nodeid, 1);
		}
		(void)pthread_rwlock_rdlock(&dir_lock);
		EXPECT(union_readdir(fx.u, dir, 0, seed % 2, count_entry, &n) >= 0);
		(void)pthread_rwlock_unlock(&dir_lock);
	}
	union_forget(fx.u, dir, 1);
	return NULL;
}

static void test_renames(void **state)
{
	char name[32];
	unsigned i;

	(void)state;
	make(&fx, "l1", "d shared", NULL);
	for (i = 0; i < SHARED; i++) {
		(void)snprintf(name, sizeof(name), "f shared/s%u hello", i);
		make(&fx, "l1", name, NULL);
	}
	fx_open(&fx);
	run(look_around, WORKERS);
}

#define NAMES 12
static pthread_barrier_t at_once;

/* Removes its names, or copies the file up, beside others that do. */
static void *lose_names(void *arg)
{
	unsigned me = *(const unsigned *)arg, i;
	struct union_entry e;
	char name[32];
	uint64_t dir;

	(void)snprintf(name, sizeof(name), "d%u", me);
	dir = lookup(UNION_ROOT, name);
	EXPECT(dir);
	(void)pthread_barrier_wait(&at_once);
	for (i = 0; dir && i < NAMES; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		EXPECT(!union_lookup(fx.u, dir, name, &e) && e.nodeid);
		if (me == WORKERS - 1 && i == NAMES / 2)
			EXPECT(union_write(fx.u, e.nodeid, "X", 1, 0) == 1);
		/* a link more and a name less: as many */
		if (i % 4 == 1)
			EXPECT(!union_link(fx.u, e.nodeid, dir, "more", &e));
		EXPECT(!union_unlink(fx.u, dir, name));
		if (i % 4 == 1) {
			EXPECT(!union_unlink(fx.u, dir, "more"));
			union_forget(fx.u, e.nodeid, 1);
		}
		union_forget(fx.u, e.nodeid, 1);
	}
	if (dir)
		union_forget(fx.u, dir, 1);
	return NULL;
}

/* Names of one file that go in several directories at once are all counted. */
static void lose_at_once(unsigned workers)
{
	struct statx st;
	char spec[64];
	unsigned i, k;

	make(&fx, "l1", "d kept", "f kept/a hello", NULL);
	for (i = 0; i < WORKERS; i++) {
		(void)snprintf(spec, sizeof(spec), "d d%u", i);
		make(&fx, "l1", spec, NULL);
		for (k = 0; k < NAMES; k++) {
			(void)snprintf(spec, sizeof(spec), "h d%u/n%u kept/a", i, k);
			make(&fx, "l1", spec, NULL);
		}
	}
	fx_open(&fx);
	assert_int_equal(attrs(&fx, "kept/a").stx_nlink, WORKERS * NAMES + 1);
	assert_int_equal(pthread_barrier_init(&at_once, NULL, workers), 0);
	run(lose_names, workers);
	(void)pthread_barrier_destroy(&at_once);
	st = attrs(&fx, "kept/a");
	assert_int_equal(st.stx_nlink, (WORKERS - workers) * NAMES + 1);
	fx_reopen(&fx);
	st = attrs(&fx, "kept/a");
	assert_int_equal(st.stx_nlink, (WORKERS - workers) * NAMES + 1);
}

static void test_lost_names(void **state)
{
	(void)state;
	lose_at_once(WORKERS - 1);
}

static void test_lost_names_and_copy_up(void **state)
{
	(void)state;
	lose_at_once(WORKERS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_names),
		T(test_copy_up),
		T(test_renames),
		T(test_lost_names),
		T(test_lost_names_and_copy_up),
	};

	if (geteuid() != 0) {
		(void)fprintf(stderr, "trusted attributes need root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
