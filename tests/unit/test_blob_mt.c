/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of packed layers: whatever the codec and the sizes, what was packed is
 * read; what is damaged is an error of that range alone; the cache stays within its
 * limit, and what several threads want at once is decompressed once.
 *
 * LDLIBS: -lcrypto
 */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "fs/layer/blob.h"
#include "fs/layer/blobcache.h"
#include "fs/layer/layer.h"
#include "fs/layer/source.h"
#include "tests/packed/packtree.h"

static char base[256];
static int dir;

/* Text that compresses about as well as programs do, and differs everywhere. */
static char *content(size_t size, unsigned seed)
{
	char *p = malloc(size + 32);
	size_t n = 0;
	uint64_t x = seed * 2654435761U + 1;

	assert_non_null(p);
	while (n < size) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		n += (size_t)snprintf(p + n, 32, "%u:%llx.", seed, (unsigned long long)(x >> 52));
	}
	return p;
}

static void write_file(const char *path, const char *data, size_t size)
{
	char full[512];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/%s", base, path);
	fd = open(full, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(close(fd), 0);
}

static struct layer *open_layer(const char *name)
{
	char path[512], *err;
	struct layer *l;

	(void)snprintf(path, sizeof(path), "%s/out/%s", base, name);
	if (layer_open(path, false, &l, &err) < 0)
		fail_msg("%s: %s", name, err);
	return l;
}

/* Where the only blob of out/ is. */
static void blob_path(const char *index, char ret[512])
{
	char path[512], name[INDEX_BLOB_NAME_SIZE];
	struct index *ix;

	(void)snprintf(path, sizeof(path), "%s/out/%s", base, index);
	assert_int_equal(index_open(AT_FDCWD, path, &ix, NULL), 0);
	index_blob_name(index_info(ix)->blob, name);
	index_close(ix);
	(void)snprintf(ret, 512, "%s/out/%s", base, name);
}

#define BIG (5U << 20)

static char *big, *small;

static void make_source(void)
{
	big = content(BIG, 1);
	small = content(3000, 2);
	write_file("src/big", big, BIG);
	write_file("src/small", small, 3000);
	write_file("src/empty", "", 0);
}

static void expect_read(struct layer *l, const char *name, const char *want, size_t size,
			size_t piece)
{
	struct layer_dir f;
	char *buf = malloc(piece);
	size_t off;

	assert_int_equal(l->ops->file_open(&l->root, name, &f), 0);
	for (off = 0; off < size; off += piece) {
		size_t n = size - off < piece ? size - off : piece;

		assert_int_equal(l->ops->file_read(&f, buf, piece, (off_t)off, false), n);
		assert_memory_equal(buf, want + off, n);
	}
	assert_int_equal(l->ops->file_read(&f, buf, piece, (off_t)size, false), 0);
	free(buf);
}

/* All codecs, frames smaller and larger than is held whole, with every kind of checksum. */
static void test_forms(void **state)
{
	static const struct packtree_conf forms[] = {
		{ .codec = INDEX_RAW },
		{ .codec = INDEX_RAW, .sha256 = true, .chunk = 5000 },
		{ .codec = INDEX_RAW, .no_xxh3 = true },
		{ .codec = INDEX_RAW, .no_xxh3 = true, .sha256 = true, .chunk = 70000 },
		{ .codec = INDEX_GZIP, .frame = 1 << 20 },
		{ .codec = INDEX_GZIP, .frame = 64 << 10, .no_xxh3 = true, .sha256 = true },
		{ .codec = INDEX_ZSTD, .frame = 64 << 10, .chunk = 1000 },
		{ .codec = INDEX_ZSTD, .no_xxh3 = true },
		{ .codec = INDEX_ZSTD, .no_xxh3 = true, .sha256 = true, .chunk = 10000 },
		{ .codec = INDEX_RAW, .frame = 40 << 20, .no_xxh3 = true, .sha256 = true },
		{ .codec = INDEX_RAW, .frame = 40 << 20 },
		{ .codec = INDEX_GZIP, .frame = 40 << 20 },
		{ .codec = INDEX_GZIP, .frame = 40 << 20, .no_xxh3 = true, .sha256 = true },
		{ .codec = INDEX_ZSTD, .frame = 40 << 20 },
		{ .codec = INDEX_ZSTD,
		  .frame = 40 << 20,
		  .no_xxh3 = true,
		  .sha256 = true,
		  .chunk = 3 << 20 },
	};
	char src[300], *huge = NULL;
	unsigned i;

	(void)state;
	(void)snprintf(src, sizeof(src), "%s/src", base);
	for (i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		bool large = forms[i].frame > BLOB_FRAME_MAX;
		struct layer *l;

		if (large && !huge) {
			huge = content(17 << 20, 3);
			write_file("src/huge", huge, 17 << 20);
		}
		packtree(src, dir, "x.index", &forms[i]);
		l = open_layer("x.index");
		expect_read(l, "small", small, 3000, 4096);
		expect_read(l, "small", small, 3000, 999);
		expect_read(l, "empty", "", 0, 4096);
		expect_read(l, "big", big, BIG, 128 << 10);
		expect_read(l, "big", big, BIG, 1000003);
		if (large)
			expect_read(l, "huge", huge, 17 << 20, 4 << 20);
		layer_close(l);
	}
	free(huge);
	(void)snprintf(src, sizeof(src), "%s/src/huge", base);
	assert_int_equal(unlink(src), 0);
}

static void flip(const char *index, off_t at)
{
	char path[512];
	uint8_t c;
	int fd;

	blob_path(index, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x55;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	assert_int_equal(close(fd), 0);
}

/* What cannot be had is an error there and nowhere else, each time, until it is mended. */
static void test_damage(void **state)
{
	static const struct packtree_conf forms[] = {
		{ .codec = INDEX_ZSTD, .frame = 64 << 10 },
		{ .codec = INDEX_GZIP, .frame = 64 << 10, .no_xxh3 = true, .sha256 = true },
		{ .codec = INDEX_RAW, .frame = 64 << 10 },
		{ .codec = INDEX_RAW, .frame = 64 << 10, .no_xxh3 = true, .sha256 = true },
	};
	char src[300];
	unsigned i, k;

	(void)state;
	(void)snprintf(src, sizeof(src), "%s/src", base);
	for (i = 0; i < 4; i++) {
		char buf[4096];
		struct layer_dir f;
		struct layer *l;
		size_t off, bad = 0, good = 0;

		packtree(src, dir, "x.index", &forms[i]);
		flip("x.index", 60000);
		for (k = 0; k < 3; k++) {
			if (k == 2)
				flip("x.index", 60000);
			l = open_layer("x.index");
			assert_int_equal(l->ops->file_open(&l->root, "big", &f), 0);
			bad = good = 0;
			for (off = 0; off < BIG; off += sizeof(buf)) {
				ssize_t n =
					l->ops->file_read(&f, buf, sizeof(buf), (off_t)off, false);

				if (n == -EIO) {
					assert_non_null(strstr(layer_why(), "frame "));
					bad += sizeof(buf);
					continue;
				}
				assert_int_equal(n, sizeof(buf));
				assert_memory_equal(buf, big + off, sizeof(buf));
				good += sizeof(buf);
			}
			if (k < 2)
				assert_in_range(bad, 4096, 128 << 10);
			else
				assert_int_equal(bad, 0);
			layer_close(l);
		}
	}
}

/* Nothing but what a frame really holds is paid for, and no claim is believed. */
static void test_bombs(void **state)
{
	char out[65536], in[1000], buf[4096];
	const uint64_t claims[] = { 2000, 4 << 20, 16 << 20, 1ULL << 30, 1ULL << 50 };
	struct index_info info = { .kind = INDEX_PACKED };
	unsigned i, codec;

	(void)state;
	memset(in, 7, sizeof(in));
	for (codec = INDEX_GZIP; codec <= INDEX_ZSTD; codec++) {
		size_t n = codec == INDEX_ZSTD ?
				   ZSTD_compress(out, sizeof(out), in, sizeof(in), 3) :
				   packtree_gzip(in, sizeof(in), out, sizeof(out));
		char blob[INDEX_BLOB_NAME_SIZE], path[128];

		EVP_Digest(out, n, info.blob, NULL, EVP_sha256(), NULL);
		info.blob_size = n;
		index_blob_name(info.blob, blob);
		(void)snprintf(path, sizeof(path), "out/%s", blob);
		write_file(path, out, n);
		for (i = 0; i < 5; i++) {
			struct index_entry e = { .mode = S_IFREG | 0644, .size = claims[i] };
			struct index_frame f = { .stored = n, .raw = claims[i], .codec = codec };
			struct index_chunk c = { .len = claims[i] };
			struct index_extent x = { .len = claims[i] };
			struct index_build *b;
			struct layer_dir file;
			struct layer *l;
			uint32_t id;

			assert_int_equal(index_build_new(&b), 0);
			assert_int_equal(index_build_add(b, "bomb", &e, &id, NULL), 0);
			assert_int_equal(index_build_frame(b, &f, &c.frame), 0);
			assert_int_equal(index_build_chunk(b, &c, &x.chunk), 0);
			assert_int_equal(index_build_extent(b, id, &x), 0);
			assert_int_equal(index_build_write(b, &info, dir, "bomb.index", NULL), 0);
			index_build_free(b);
			l = open_layer("bomb.index");
			assert_int_equal(l->ops->file_open(&l->root, "bomb", &file), 0);
			assert_int_equal(l->ops->file_read(&file, buf, 4096, 1500, false), -EIO);
			assert_int_equal(l->ops->file_read(&file, buf, 4096,
							   (off_t)(claims[i] - 100), false),
					 -EIO);
			layer_close(l);
		}
	}
}

/* --- the cache --------------------------------------------------------------------- */

#define THREADS 8

static atomic_uint loads, at_once, most_at_once;
static atomic_bool fail_loads;

static int slow_load(void *arg, struct cache_entry *e, void *buf, size_t size, const char **why)
{
	const struct cache_key *k = arg;
	struct timespec t = { .tv_nsec = 2000000 };
	unsigned n = atomic_fetch_add(&at_once, 1) + 1, m = most_at_once;

	(void)e;
	while (n > m && !atomic_compare_exchange_weak(&most_at_once, &m, n))
		;
	memset(buf, (int)k->frame, size);
	(void)nanosleep(&t, NULL);
	loads++;
	at_once--;
	if (fail_loads) {
		*why = "is meant to fail";
		return -EIO;
	}
	return 0;
}

static pthread_barrier_t barrier;
static uint64_t blob_id;

static void *want_same(void *arg)
{
	struct cache_key k = { .blob = blob_id, .frame = 5 };
	struct cache_entry *e;
	const char *why;
	int r;

	(void)arg;
	(void)pthread_barrier_wait(&barrier);
	r = blobcache_get(&k, 1000, 0, slow_load, &k, &e, &why);
	if (r < 0)
		return strcmp(why, "is meant to fail") ? (void *)1 : (void *)(intptr_t)r;
	r = blobcache_data(e)[999] != 5;
	blobcache_put(e);
	return (void *)(intptr_t)r;
}

static void run_threads(void *(*fn)(void *), void *results[THREADS])
{
	pthread_t t[THREADS];
	unsigned long i;

	assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, fn, (void *)i), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], &results[i]), 0);
	(void)pthread_barrier_destroy(&barrier);
}

static void test_single_flight(void **state)
{
	struct blobcache_counts a, b;
	void *results[THREADS];
	unsigned i;

	(void)state;
	blob_id = blobcache_new_id();
	blobcache_counts(&a);
	loads = 0;
	run_threads(want_same, results);
	for (i = 0; i < THREADS; i++)
		assert_null(results[i]);
	assert_int_equal(loads, 1);
	blobcache_counts(&b);
	assert_int_equal(b.hits - a.hits, THREADS - 1);
	assert_int_equal(b.misses - a.misses, 1);
	/* a failure is everyone's who waited, and nobody's who comes after */
	blobcache_drop(blob_id);
	fail_loads = true;
	run_threads(want_same, results);
	for (i = 0; i < THREADS; i++)
		assert_ptr_equal(results[i], (void *)(intptr_t)-EIO);
	fail_loads = false;
	loads = 0;
	run_threads(want_same, results);
	assert_int_equal(loads, 1);
	assert_null(results[0]);
	blobcache_drop(blob_id);
}

#define LIMIT (64U << 10)

static atomic_uint over;

static void *want_many(void *arg)
{
	unsigned long seed = (unsigned long)arg;
	unsigned i;

	(void)pthread_barrier_wait(&barrier);
	for (i = 0; i < 200; i++) {
		struct cache_key k = { .blob = blob_id, .frame = (uint32_t)(i * (seed + 1) % 37) };
		struct blobcache_counts c;
		struct cache_entry *e;
		const char *why;

		/* larger than all there may be, now and then */
		size_t size = k.frame == 36 ? 2 * LIMIT : 9000 + k.frame;

		if (blobcache_get(&k, size, 0, slow_load, &k, &e, &why) < 0)
			return (void *)1;
		if (blobcache_data(e)[size - 1] != k.frame)
			return (void *)2;
		blobcache_counts(&c);
		if (c.bytes > LIMIT && !(c.entries == 1 && c.bytes < 3 * LIMIT))
			over++;
		blobcache_put(e);
	}
	return NULL;
}

static void test_limit(void **state)
{
	struct blobcache_counts c;
	void *results[THREADS];
	unsigned i;

	(void)state;
	blobcache_set_limit(LIMIT);
	blob_id = blobcache_new_id();
	most_at_once = 0;
	run_threads(want_many, results);
	for (i = 0; i < THREADS; i++)
		assert_null(results[i]);
	assert_int_equal(over, 0);
	/* different ones at once */
	assert_in_range(most_at_once, 2, THREADS);
	blobcache_drop(blob_id);
	blobcache_counts(&c);
	assert_int_equal(c.bytes, 0);
	assert_int_equal(c.entries, 0);
	blobcache_set_limit(0);
}

/* --- several readers of one blob ------------------------------------------------------ */

static struct layer *shared;
static char *huge;
#define HUGE_SIZE (18U << 20)

static void *read_shared(void *arg)
{
	unsigned long seed = (unsigned long)arg;
	struct layer_dir f;
	size_t piece = 300000, i;
	char *buf = malloc(piece);
	void *ret = NULL;

	(void)pthread_barrier_wait(&barrier);
	if (shared->ops->file_open(&shared->root, "huge", &f) < 0)
		ret = (void *)1;
	for (i = 0; i < 60 && !ret; i++) {
		/* half of them one after the other, the others anywhere */
		size_t off = seed % 2 ? i * piece : (i * 7919 + seed * 104729) % 60 * piece;
		size_t want = HUGE_SIZE - off < piece ? HUGE_SIZE - off : piece;
		ssize_t n = shared->ops->file_read(&f, buf, piece, (off_t)off, i % 3 == 0);

		if (n == -EAGAIN)
			n = shared->ops->file_read(&f, buf, piece, (off_t)off, false);
		if (n != (ssize_t)want || memcmp(buf, huge + off, want))
			ret = (void *)2;
	}
	free(buf);
	return ret;
}

static void test_readers(void **state)
{
	static const struct packtree_conf forms[] = {
		{ .codec = INDEX_ZSTD, .frame = 128 << 10 },
		{ .codec = INDEX_GZIP,
		  .frame = 1 << 20,
		  .no_xxh3 = true,
		  .sha256 = true,
		  .chunk = 50000 },
		{ .codec = INDEX_ZSTD, .frame = 40 << 20 },
	};
	char src[300];
	unsigned i, k;

	(void)state;
	huge = content(HUGE_SIZE, 4);
	(void)snprintf(src, sizeof(src), "%s/huge", base);
	assert_int_equal(mkdir(src, 0755), 0);
	write_file("huge/huge", huge, HUGE_SIZE);
	blobcache_set_limit(4 << 20);
	for (i = 0; i < 3; i++) {
		void *results[THREADS];

		packtree(src, dir, "x.index", &forms[i]);
		shared = open_layer("x.index");
		run_threads(read_shared, results);
		for (k = 0; k < THREADS; k++)
			assert_null(results[k]);
		layer_close(shared);
	}
	blobcache_set_limit(0);
	free(huge);
}

/* Who reads on finds what comes next decompressed, without asking for it. */
static void test_ahead(void **state)
{
	const struct packtree_conf form = { .codec = INDEX_ZSTD, .frame = 64 << 10 };
	struct blobcache_counts a, b;
	char src[300], buf[4096];
	struct layer_dir f;
	struct layer *l;
	unsigned tries;
	size_t off;

	(void)state;
	(void)snprintf(src, sizeof(src), "%s/src", base);
	packtree(src, dir, "x.index", &form);
	l = open_layer("x.index");
	assert_int_equal(l->ops->file_open(&l->root, "big", &f), 0);
	/* anywhere: one frame each, and no more */
	blobcache_counts(&a);
	for (off = 0; off < BIG; off += 1 << 20)
		assert_int_equal(
			l->ops->file_read(&f, buf, 4096, (off_t)(BIG - (1 << 20) - off), false),
			4096);
	blobcache_counts(&b);
	assert_int_equal(b.misses - a.misses, 5);
	/* one after the other */
	for (off = 0; off < 256 << 10; off += 4096)
		assert_int_equal(l->ops->file_read(&f, buf, 4096, (off_t)off, false), 4096);
	for (tries = 0; tries < 10000; tries++) {
		struct timespec t = { .tv_nsec = 1000000 };

		if (l->ops->file_read(&f, buf, 4096, 300 << 10, true) == 4096)
			break;
		(void)nanosleep(&t, NULL);
	}
	assert_in_range(tries, 0, 9999);
	assert_memory_equal(buf, big + (300 << 10), 4096);
	layer_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_single_flight),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_readers),
		cmocka_unit_test(test_ahead),
	};
	int top = unit_dir(base, sizeof(base)), r;

	assert_int_equal(mkdirat(top, "src", 0755), 0);
	assert_int_equal(mkdirat(top, "out", 0755), 0);
	dir = openat(top, "out", O_RDONLY | O_DIRECTORY);
	make_source();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	free(big);
	free(small);
	return r;
}
