/* SPDX-License-Identifier: Apache-2.0 */
/* The slab: objects keep their content, references round-trip, memory goes back. */
#include "unit.h"

#include "lib/slab.h"

#define OBJECTS 4096

struct object {
	uint32_t ref;
	uint32_t size;
	unsigned char mark;
};

static uint64_t seed = 88172645463325252ULL;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % below;
}

static size_t resident_pages(void)
{
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
	assert_int_equal(fclose(f), 0);
	return resident;
}

static void expect_marked(const struct slab *s, const struct object *o)
{
	const unsigned char *p = slab_ptr(s, o->ref);
	uint32_t i;

	for (i = 0; i < o->size; i++)
		assert_int_equal(p[i], o->mark);
}

/* Every size is aligned, zeroed and found again by its address. */
static void test_sizes(void **state)
{
	struct slab *s = slab_new();
	size_t size, i;

	(void)state;
	assert_non_null(s);
	for (size = 1; size <= SLAB_MAX; size = size < 300 ? size + 1 : size + 97) {
		uint32_t ref = slab_alloc(s, size);
		unsigned char *p = slab_ptr(s, ref);

		assert_int_not_equal(ref, 0);
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_int_equal(slab_ref(s, p), ref);
		assert_true(slab_valid(s, ref, size));
		for (i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, size);
	}
	slab_free(s);
}

/* A freed object comes back zeroed, and its neighbours are left alone. */
static void test_reuse(void **state)
{
	struct slab *s = slab_new();
	uint32_t ref[3];
	unsigned i;

	(void)state;
	assert_non_null(s);
	for (i = 0; i < 3; i++) {
		ref[i] = slab_alloc(s, 100);
		memset(slab_ptr(s, ref[i]), 'a' + (int)i, 100);
	}
	slab_release(s, ref[1]);
	ref[1] = slab_alloc(s, 100);
	for (i = 0; i < 100; i++) {
		assert_int_equal(((char *)slab_ptr(s, ref[0]))[i], 'a');
		assert_int_equal(((char *)slab_ptr(s, ref[1]))[i], 0);
		assert_int_equal(((char *)slab_ptr(s, ref[2]))[i], 'c');
	}
	slab_release(s, 0);
	slab_free(s);
	slab_free(NULL);
	assert_null(slab_ptr(NULL, 0));
}

/* Objects of all sizes live and die in random order; none touches another. */
static void test_random(void **state)
{
	static struct object o[OBJECTS];
	struct slab *s = slab_new();
	unsigned round;

	(void)state;
	assert_non_null(s);
	memset(o, 0, sizeof(o));
	for (round = 0; round < 200000; round++) {
		struct object *it = &o[rnd(OBJECTS)];

		if (it->ref) {
			expect_marked(s, it);
			slab_release(s, it->ref);
			it->ref = 0;
			continue;
		}
		it->size = 1 + rnd(rnd(8) ? 300 : SLAB_MAX);
		it->mark = (unsigned char)rnd(256);
		it->ref = slab_alloc(s, it->size);
		assert_int_not_equal(it->ref, 0);
		memset(slab_ptr(s, it->ref), it->mark, it->size);
	}
	for (round = 0; round < OBJECTS; round++) {
		if (o[round].ref)
			expect_marked(s, &o[round]);
		slab_release(s, o[round].ref);
	}
	slab_free(s);
}

/* References that no slab gave out are refused, whatever they are. */
static void test_foreign(void **state)
{
	struct slab *s = slab_new();
	uint32_t ref;

	(void)state;
	assert_non_null(s);
	assert_false(slab_valid(s, 0, 64));
	assert_false(slab_valid(s, 1, 64));
	ref = slab_alloc(s, 64);
	assert_true(slab_valid(s, ref, 64));
	assert_false(slab_valid(s, ref, 1024));
	assert_false(slab_valid(s, ref + 1, 64)); /* inside of the object */
	assert_false(slab_valid(s, ref + 4, 64)); /* the next, not handed out */
	assert_false(slab_valid(s, UINT32_MAX, 64));
	slab_release(s, ref);
	assert_false(slab_valid(s, ref, 64));
	slab_free(s);
}

/* What was freed is given back to the kernel, not kept for later. */
static void test_memory_returns(void **state)
{
	enum { COUNT = 100000 };
	struct slab *s = slab_new();
	uint32_t *ref = calloc(COUNT, sizeof(*ref));
	size_t before, full, after, i;

	(void)state;
	assert_non_null(s);
	assert_non_null(ref);
	before = resident_pages();
	for (i = 0; i < COUNT; i++) {
		ref[i] = slab_alloc(s, 256);
		assert_int_not_equal(ref[i], 0);
		memset(slab_ptr(s, ref[i]), 1, 256);
	}
	full = resident_pages();
	for (i = 0; i < COUNT; i++)
		slab_release(s, ref[i]);
	after = resident_pages();
	assert_true(full - before > COUNT / 16 * 9 / 10);
	assert_true(after < before + (full - before) / 10);
	free(ref);
	slab_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_memory_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
