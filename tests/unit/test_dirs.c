/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of directories follow what is changed: whatever is done, a listing
 * shows what a new mount shows, and lookups agree with it.
 */
#include "union.h"

/* The directory d has names a1 (upper), b1 b2 (l1), c1 to c60 and b1 (l2), and w hidden. */
static int setup(void **state)
{
	static struct fixture fx;
	char spec[40];
	unsigned i;

	fx_init(&fx);
	make(&fx, "l2", "d d", "f d/b1 below", "f d/w hidden", NULL);
	for (i = 1; i <= 60; i++) {
		(void)snprintf(spec, sizeof(spec), "f d/c%u c", i);
		make(&fx, "l2", spec, NULL);
	}
	make(&fx, "l1", "d d", "f d/b1 b", "f d/b2 b", "w d/w", NULL);
	make(&fx, "up", "d d", "f d/a1 a", NULL);
	fx_open(&fx);
	*state = &fx;
	return 0;
}

static int teardown(void **state)
{
	fx_done(*state);
	return 0;
}

/* Has the table of d made, by listing it. */
static void load(struct fixture *f)
{
	struct listing l;

	list(f, "d", 1000, &l);
}

static unsigned tables(struct fixture *f)
{
	struct union_counts c;

	union_counts(f->u, &c);
	return (unsigned)c.dir_tables;
}

/* What d shows now, small pieces or not, is what it shows after a remount. */
static void expect_same(struct fixture *f)
{
	struct listing cached, pieces, fresh;

	list(f, "d", 1000, &cached);
	list(f, "d", 3, &pieces);
	fx_reopen(f);
	list(f, "d", 1000, &fresh);
	assert_int_equal(names_listed(&cached), names_listed(&fresh));
	assert_int_equal(names_listed(&pieces), names_listed(&fresh));
	for (char *p = fresh.names, *e; *p; p = e + 1) {
		e = strchr(p, ' ');
		*e = 0;
		assert_int_equal(times_listed(&cached, p), 1);
		assert_int_equal(times_listed(&pieces, p), 1);
	}
	load(f);
}

static void remove_name(struct fixture *f, const char *name)
{
	assert_int_equal(union_unlink(f->u, node(f, "d"), name), 0);
}

static void test_created(void **state)
{
	struct fixture *f = *state;

	load(f);
	assert_int_equal(tables(f), 1);
	create(f, "d", "new", "text");
	/* the table has got the name, and was not thrown away for it */
	assert_int_equal(tables(f), 1);
	expect_text(f, "d/new", "text");
	expect_same(f);
	expect_text(f, "d/new", "text");
	/* where a whiteout was, in a lower and in the upper */
	create(f, "d", "w", "again");
	remove_name(f, "b1");
	create(f, "d", "b1", "anew");
	expect_text(f, "d/w", "again");
	expect_text(f, "d/b1", "anew");
	expect_same(f);
	expect_text(f, "d/w", "again");
	expect_text(f, "d/b1", "anew");
}

static void test_removed(void **state)
{
	struct fixture *f = *state;

	load(f);
	create(f, "d", "new", "text");
	remove_name(f, "new");
	remove_name(f, "a1");
	/* no lower has them: nothing is left of them */
	assert_false(is_there(f, "up/d/new"));
	assert_false(is_there(f, "up/d/a1"));
	remove_name(f, "b1");
	remove_name(f, "c7");
	assert_true(is_whiteout(f, "up/d/b1"));
	assert_true(is_whiteout(f, "up/d/c7"));
	/* copied up, or made anew where a lower has it: the lower's must not come back */
	write_node(f, node(f, "d/c8"), "x", 0);
	remove_name(f, "c8");
	create(f, "d", "c7", "anew");
	remove_name(f, "c7");
	create(f, "d", "w", "anew");
	remove_name(f, "w");
	assert_true(is_whiteout(f, "up/d/c8"));
	assert_true(is_whiteout(f, "up/d/c7"));
	assert_int_equal(found(f, "d/c7"), -ENOENT);
	expect_same(f);
	assert_int_equal(found(f, "d/b1"), -ENOENT);
	assert_int_equal(found(f, "d/c8"), -ENOENT);
	assert_int_equal(found(f, "d/w"), -ENOENT);
}

static void test_renamed(void **state)
{
	struct fixture *f = *state;
	uint64_t d = node(f, "d");
	struct union_entry e;

	load(f);
	assert_int_equal(union_rename(f->u, d, "a1", d, "a2", 0), 0);
	assert_int_equal(union_rename(f->u, d, "c1", d, "d1", 0), 0);
	assert_int_equal(union_rename(f->u, d, "c2", d, "b2", 0), 0);
	assert_int_equal(union_link(f->u, node(f, "d/c3"), d, "link", &e), 0);
	hold(f, &e);
	assert_int_equal(union_mkdir(f->u, &nobody_special, d, "sub", 0755, &e), 0);
	hold(f, &e);
	assert_int_equal(tables(f), 1);
	assert_int_equal(found(f, "d/a1"), -ENOENT);
	assert_int_equal(found(f, "d/c2"), -ENOENT);
	expect_text(f, "d/a2", "a");
	expect_text(f, "d/b2", "c");
	expect_text(f, "d/link", "c");
	expect_same(f);
	expect_text(f, "d/a2", "a");
	expect_text(f, "d/d1", "c");
	assert_int_equal(union_rmdir(f->u, node(f, "d"), "sub"), 0);
	assert_false(is_there(f, "up/d/sub"));
	expect_same(f);
}

/* A listing goes on over names that come and go meanwhile. */
static void test_meanwhile(void **state)
{
	struct fixture *f = *state;
	uint64_t d = node(f, "d"), before;
	char name[16];
	struct listing l;
	unsigned i = 0;

	memset(&l, 0, sizeof(l));
	do {
		before = l.cookie;
		l.room = 2;
		assert_true(union_readdir(f->u, d, l.cookie, false, list_entry, &l) >= 0);
		(void)snprintf(name, sizeof(name), "n%u", ++i);
		create(f, "d", name, "x");
		if (i > 3) {
			(void)snprintf(name, sizeof(name), "n%u", i - 3);
			remove_name(f, name);
		}
	} while (l.cookie != before);
	for (i = 1; i <= 60; i++) {
		(void)snprintf(name, sizeof(name), "c%u", i);
		assert_int_equal(times_listed(&l, name), 1);
	}
	assert_int_equal(times_listed(&l, "b1"), 1);
	assert_int_equal(times_listed(&l, "w"), 0);
}

static int check_plus(void *arg, const char *name, uint64_t cookie, const struct union_entry *e)
{
	struct fixture *f = arg;
	struct union_entry looked;
	char path[300];
	struct statx st;

	(void)cookie;
	if (!hold(f, e))
		return 0;
	(void)snprintf(path, sizeof(path), "d/%s", name);
	assert_int_equal(look(f, path, &looked), 0);
	assert_int_equal(union_getattr(f->u, e->nodeid, &st), 0);
	assert_int_equal(looked.nodeid, e->nodeid);
	assert_int_equal(looked.st.stx_ino, e->st.stx_ino);
	assert_int_equal(st.stx_ino, e->st.stx_ino);
	assert_int_equal(st.stx_mode, e->st.stx_mode);
	assert_int_equal(st.stx_nlink, e->st.stx_nlink);
	assert_int_equal(st.stx_size, e->st.stx_size);
	assert_int_equal(st.stx_mtime.tv_nsec, e->st.stx_mtime.tv_nsec);
	return 0;
}

/* A listing gives the node and attributes that a lookup gives. */
static void test_plus(void **state)
{
	struct fixture *f = *state;
	struct union_entry e;
	uint64_t d;

	make(f, "l2", "d d/dir", "f d/dir/x y", "s d/sym c1", "h d/hard1 d/c60", "d d/dir2", NULL);
	make(f, "l1", "d d/dir", NULL);
	fx_reopen(f);
	d = node(f, "d");
	/* unknown, known, copied up, removed and there by another name */
	assert_int_equal(union_readdir(f->u, d, 0, true, check_plus, f), 0);
	assert_int_equal(union_readdir(f->u, d, 0, true, check_plus, f), 0);
	write_node(f, node(f, "d/c9"), "longer", 0);
	write_node(f, node(f, "d/hard1"), "longer", 0);
	assert_int_equal(union_link(f->u, node(f, "d/c10"), d, "c10b", &e), 0);
	hold(f, &e);
	remove_name(f, "c11");
	assert_int_equal(union_readdir(f->u, d, 0, true, check_plus, f), 0);
	fx_forget(f);
	d = node(f, "d");
	assert_int_equal(union_readdir(f->u, d, 0, true, check_plus, f), 0);
}

/* Many names make a table without a listing; few do not. */
static void test_asked(void **state)
{
	struct fixture *f = *state;
	char path[20];
	unsigned i;

	for (i = 1; i <= 2; i++) {
		(void)snprintf(path, sizeof(path), "d/c%u", i);
		expect_text(f, path, "c");
	}
	assert_int_equal(tables(f), 0);
	for (; i <= 40; i++) {
		(void)snprintf(path, sizeof(path), "d/c%u", i);
		expect_text(f, path, "c");
		(void)snprintf(path, sizeof(path), "d/none%u", i);
		assert_int_equal(found(f, path), -ENOENT);
	}
	assert_int_equal(tables(f), 1);
	assert_int_equal(found(f, "d/w"), -ENOENT);
	expect_text(f, "d/b1", "b");
	fx_forget(f);
	/* it goes with its directory */
	assert_int_equal(tables(f), 0);
}

/* Memory for tables follows the number of nodes, and they are found all the same. */
static void test_bounded(void **state)
{
	struct fixture *f = *state;
	struct union_cred c = { 0 };
	struct union_entry e;
	struct listing l;
	char name[256];
	uint64_t dir[20];
	unsigned i, k;

	/* 20 directories of 400 names of 250 bytes: 2 MB of names */
	for (i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "big%u", i);
		assert_int_equal(union_mkdir(f->u, &c, UNION_ROOT, name, 0755, &e), 0);
		dir[i] = hold(f, &e);
		for (k = 0; k < 400; k++) {
			(void)snprintf(name, sizeof(name), "%0250u", k);
			assert_int_equal(union_mknod(f->u, &c, dir[i], name, S_IFREG | 0644, 0, &e),
					 0);
			union_forget(f->u, e.nodeid, 1);
		}
		for (memset(&l, 0, sizeof(l)); l.names[0] = 0, l.room = 10, true;) {
			uint64_t before = l.cookie;

			assert_true(union_readdir(f->u, dir[i], before, false, list_entry, &l) >=
				    0);
			if (l.cookie == before)
				break;
		}
	}
	assert_in_range(tables(f), 5, 15);
	for (i = 0; i < 20; i++)
		assert_int_equal(union_lookup(f->u, dir[i], "none", &e), 0);
}

/* What a rename has to copy, and that it is asked of names and not only of nodes. */
static void test_slow(void **state)
{
	struct fixture *f = *state;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/l2/d/c1", f->base);
	assert_int_equal(truncate(path, 8 << 20), 0);
	(void)snprintf(path, sizeof(path), "%s/up/d/a1", f->base);
	assert_int_equal(truncate(path, 8 << 20), 0);
	fx_reopen(f);
	assert_true(union_name_is_slow(f->u, node(f, "d"), "c1"));
	assert_false(union_name_is_slow(f->u, node(f, "d"), "c2"));
	assert_false(union_name_is_slow(f->u, node(f, "d"), "a1"));
	assert_false(union_name_is_slow(f->u, node(f, "d"), "none"));
	write_node(f, node(f, "d/c1"), "x", 0);
	assert_false(union_name_is_slow(f->u, node(f, "d"), "c1"));
	/* known by what was asked above */
	node(f, "d/c2");
	assert_false(union_name_is_slow(f->u, node(f, "d"), "c2"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_created),
		T(test_removed),
		T(test_renamed),
		T(test_meanwhile),
		T(test_plus),
		T(test_asked),
		T(test_bounded),
		T(test_slow),
	};

	if (geteuid() != 0) {
		(void)fprintf(stderr, "trusted attributes need root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
