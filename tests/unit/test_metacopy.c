/* SPDX-License-Identifier: Apache-2.0 */
/* Files that have only metadata in the upper, and their data below. */
#include "union.h"

#include <errno.h>

#define METACOPY "trusted.overlay.metacopy"
#define REDIRECT "trusted.overlay.redirect"

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	fx_init(&fx);
	fx.cfg.metacopy = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fx_done(&fx);
	return 0;
}

/* The attribute of the file @path in the scratch directory: its length, or -errno. */
static ssize_t attribute(const char *path, const char *name, char *buf, size_t size)
{
	char full[512];
	ssize_t n;

	(void)snprintf(full, sizeof(full), "%s/%s", fx.base, path);
	n = lgetxattr(full, name, buf, size);
	return n < 0 ? -errno : n;
}

static bool is_metacopy(const char *path)
{
	return attribute(path, METACOPY, NULL, 0) >= 0;
}

static void expect_redirect(const char *path, const char *to)
{
	char v[256];
	ssize_t n = attribute(path, REDIRECT, v, sizeof(v) - 1);

	if (!to) {
		assert_int_equal(n, -ENODATA);
		return;
	}
	assert_true(n > 0);
	v[n] = 0;
	assert_string_equal(v, to);
}

/* Makes @path of @layer a metacopy of @size bytes, by an attribute that holds @value. */
static void make_meta(const char *layer, const char *path, off_t size, const void *value,
		      size_t len, const char *redirect)
{
	char full[512];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/%s/%s", fx.base, layer, path);
	fd = open(full, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fsetxattr(fd, METACOPY, value, len, 0), 0);
	if (redirect)
		assert_int_equal(fsetxattr(fd, REDIRECT, redirect, strlen(redirect), 0), 0);
	assert_int_equal(close(fd), 0);
}

static void chmod_to(const char *path, mode_t mode)
{
	struct union_attr a = { .valid = UNION_SET_MODE, .mode = mode };
	struct statx st;

	assert_int_equal(union_setattr(fx.u, node(&fx, path), &a, &st), 0);
	assert_int_equal(st.stx_mode & 07777, mode);
}

static void cut_to(const char *path, off_t size)
{
	struct union_attr a = { .valid = UNION_SET_SIZE, .size = size };
	struct statx st;

	assert_int_equal(union_setattr(fx.u, node(&fx, path), &a, &st), 0);
	assert_int_equal(st.stx_size, size);
}

/* chmod copies no data; a write does, and keeps what the copy is. */
static void test_chmod_then_write(void **state)
{
	struct statx before, st;
	struct union_counts c;
	uint64_t id;

	(void)state;
	make(&fx, "l1", "d d", "f d/f lower", "x d/f user.k v", NULL);
	fx_open(&fx);
	before = attrs(&fx, "d/f");
	chmod_to("d/f", 04755);
	assert_true(is_metacopy("up/d/f"));
	expect_redirect("up/d/f", NULL);
	union_counts(fx.u, &c);
	assert_int_equal(c.copied_bytes, 0);
	expect_text(&fx, "d/f", "lower");
	st = attrs(&fx, "d/f");
	assert_int_equal(st.stx_size, 5);
	assert_int_equal(st.stx_blocks, before.stx_blocks);
	assert_int_equal(st.stx_ino, before.stx_ino);
	fx_reopen(&fx);
	expect_text(&fx, "d/f", "lower");
	st = attrs(&fx, "d/f");
	assert_int_equal(st.stx_blocks, before.stx_blocks);
	assert_int_equal(st.stx_ino, before.stx_ino);
	id = node(&fx, "d/f");
	write_node(&fx, id, "L", 0);
	assert_false(is_metacopy("up/d/f"));
	expect_node_text(&fx, id, "Lower");
	unit_expect(fx.dir, "up/d/f", "Lower");
	unit_expect(fx.dir, "l1/d/f", "lower");
	st = attrs(&fx, "d/f");
	assert_int_equal(st.stx_mode & 07777, 04755);
	assert_int_equal(st.stx_ino, before.stx_ino);
	fx_reopen(&fx);
	expect_text(&fx, "d/f", "Lower");
}

/* Without the option data comes along. */
static void test_off(void **state)
{
	(void)state;
	fx.cfg.metacopy = false;
	make(&fx, "l1", "f f lower", NULL);
	make_meta("up", "m", 5, "", 0, NULL);
	make(&fx, "l2", "f m there", NULL);
	fx_open(&fx);
	chmod_to("f", 0600);
	assert_false(is_metacopy("up/f"));
	unit_expect(fx.dir, "up/f", "lower");
	/* what is there already is read, and not made more of */
	expect_text(&fx, "m", "there");
	chmod_to("m", 0640);
	assert_true(is_metacopy("up/m"));
}

static void test_truncate(void **state)
{
	(void)state;
	make(&fx, "l1", "f cut lower", "f none lower", "f grow lower", NULL);
	fx_open(&fx);
	chmod_to("cut", 0600);
	chmod_to("none", 0600);
	chmod_to("grow", 0600);
	cut_to("cut", 2);
	cut_to("none", 0);
	cut_to("grow", 7);
	assert_false(is_metacopy("up/cut") || is_metacopy("up/none") || is_metacopy("up/grow"));
	fx_reopen(&fx);
	expect_text(&fx, "cut", "lo");
	expect_text(&fx, "none", "");
	expect_text(&fx, "grow", "lower"); /* and two zeros, which end the string */
	assert_int_equal(attrs(&fx, "grow").stx_size, 7);
}

/* A file with another name says where its data is, and keeps it through more of them. */
static void test_names(void **state)
{
	struct union_entry e;

	(void)state;
	make(&fx, "l2", "d d", "f d/f lower", "f top root's", "d other", "f other/x x", NULL);
	make(&fx, "l1", "d other", NULL);
	fx_open(&fx);
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "f", node(&fx, "other"), "g", 0), 0);
	assert_true(is_metacopy("up/other/g"));
	expect_redirect("up/other/g", "/d/f");
	assert_int_equal(union_rename(fx.u, node(&fx, "other"), "g", UNION_ROOT, "h", 0), 0);
	expect_redirect("up/h", "/d/f");
	assert_int_equal(union_link(fx.u, node(&fx, "top"), node(&fx, "d"), "linked", &e), 0);
	hold(&fx, &e);
	expect_redirect("up/top", "/top");
	fx_reopen(&fx);
	expect_text(&fx, "h", "lower");
	expect_text(&fx, "top", "root's");
	expect_text(&fx, "d/linked", "root's");
	assert_int_equal(found(&fx, "d/f"), -ENOENT);
	assert_int_equal(node(&fx, "top"), node(&fx, "d/linked"));
	/* data comes to all names at once */
	write_node(&fx, node(&fx, "d/linked"), "R", 0);
	unit_expect(fx.dir, "up/top", "Root's");
	/* a lower directory that was renamed leads to it too */
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "other", UNION_ROOT, "moved", 0), 0);
	chmod_to("moved/x", 0600);
	assert_int_equal(union_rename(fx.u, node(&fx, "moved"), "x", UNION_ROOT, "y", 0), 0);
	expect_redirect("up/y", "/other/x");
	fx_reopen(&fx);
	expect_text(&fx, "y", "x");
}

/* Names of one lower file stay one file, found by the index, data or not. */
static void test_index(void **state)
{
	(void)state;
	make(&fx, "l1", "d d", "f d/a one", "h d/b d/a", NULL);
	fx_open(&fx);
	chmod_to("d/a", 0600);
	expect_text(&fx, "d/b", "one");
	fx_reopen(&fx);
	expect_text(&fx, "d/b", "one");
	assert_int_equal(attrs(&fx, "d/b").stx_mode & 07777, 0600);
	assert_int_equal(attrs(&fx, "d/b").stx_nlink, 2);
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "b", UNION_ROOT, "c", 0), 0);
	fx_reopen(&fx);
	expect_text(&fx, "c", "one");
	expect_text(&fx, "d/a", "one");
	write_node(&fx, node(&fx, "c"), "O", 0);
	expect_text(&fx, "d/a", "One");
	fx_reopen(&fx);
	expect_text(&fx, "d/a", "One");
	expect_text(&fx, "c", "One");
	assert_int_equal(attrs(&fx, "c").stx_nlink, 2);
}

/* Who has it open when its name goes can go on. */
static void test_unlinked(void **state)
{
	uint64_t upper, lower;

	(void)state;
	make(&fx, "l2", "f a first", "f b second", NULL);
	make_meta("l1", "b", 6, "", 0, NULL);
	fx_open(&fx);
	chmod_to("a", 0600);
	upper = node(&fx, "a");
	lower = node(&fx, "b");
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "a"), 0);
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "b"), 0);
	expect_node_text(&fx, upper, "first");
	expect_node_text(&fx, lower, "second");
	write_node(&fx, upper, "F", 0);
	write_node(&fx, lower, "S", 0);
	expect_node_text(&fx, upper, "First");
	expect_node_text(&fx, lower, "Second");
	fx_reopen(&fx);
	assert_int_equal(found(&fx, "a"), -ENOENT);
	assert_int_equal(found(&fx, "b"), -ENOENT);
}

/* Lowers that have metadata only, over each other, by name and by redirects of both kinds. */
static void test_chain(void **state)
{
	static const uint8_t versioned[] = { 0, 4, 0, 0 };

	(void)state;
	make(&fx, "l2", "d d", "f d/f deep", "f d/beside neighbour", "f far away", NULL);
	make(&fx, "l1", "d d", NULL);
	make(&fx, "up", "d d", NULL);
	make_meta("l1", "d/f", 4, versioned, sizeof(versioned), NULL);
	make_meta("up", "d/f", 4, "", 0, NULL);
	make_meta("up", "d/g", 9, "", 0, "beside");
	make_meta("l1", "d/h", 4, "", 0, "/far");
	fx_open(&fx);
	expect_text(&fx, "d/f", "deep");
	expect_text(&fx, "d/g", "neighbour");
	expect_text(&fx, "d/h", "away");
	chmod_to("d/h", 0640);
	assert_true(is_metacopy("up/d/h"));
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "h", UNION_ROOT, "h", 0), 0);
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "g", UNION_ROOT, "g", 0), 0);
	expect_redirect("up/h", "/d/h");
	expect_redirect("up/g", "/d/beside");
	fx_reopen(&fx);
	expect_text(&fx, "h", "away");
	expect_text(&fx, "g", "neighbour");
	write_node(&fx, node(&fx, "d/f"), "D", 0);
	expect_text(&fx, "d/f", "Deep");
}

/* Of a file that is shorter than its data, only that much is its. */
static void test_short(void **state)
{
	char buf[16];

	(void)state;
	make(&fx, "l1", "f f whole-text", NULL);
	make_meta("up", "f", 5, "", 0, NULL);
	fx_open(&fx);
	expect_text(&fx, "f", "whole");
	assert_int_equal(union_read(fx.u, node(&fx, "f"), buf, sizeof(buf), 5), 0);
	cut_to("f", 8);
	expect_text(&fx, "f", "whole"); /* then zeros */
	assert_int_equal(attrs(&fx, "f").stx_size, 8);
}

static void expect_eio(const char *path)
{
	struct union_entry e;
	char buf[4];
	int r = look(&fx, path, &e);

	if (r < 0)
		assert_int_equal(r, -EIO);
	else
		assert_int_equal(union_read(fx.u, e.nodeid, buf, sizeof(buf), 0), -EIO);
}

static void test_hostile(void **state)
{
	static const uint8_t newer[] = { 1, 4, 0, 0 }, wrong[] = { 0, 9, 0, 0 };
	char huge[300] = { 0 };

	(void)state;
	make(&fx, "l2", "f version x", "f len x", "f short x", "f huge x", "d dir",
	     "s link /etc/passwd", "f up x", "f slash x", "f user x", "f good ok", "f hidden x",
	     "f good2 ok", NULL);
	make_meta("l1", "version", 1, newer, sizeof(newer), NULL);
	make_meta("l1", "len", 1, wrong, sizeof(wrong), NULL);
	make_meta("l1", "short", 1, "\0", 1, NULL);
	make_meta("l1", "huge", 1, huge, sizeof(huge), NULL);
	make_meta("l1", "nowhere", 1, "", 0, NULL);
	make_meta("l1", "up", 1, "", 0, "../../etc/passwd");
	make_meta("l1", "slash", 1, "", 0, "/../etc/passwd");
	make_meta("l1", "todir", 1, "", 0, "/dir");
	make_meta("l1", "tolink", 1, "", 0, "/link");
	make_meta("up", "self", 1, "", 0, "/self");
	make_meta("l2", "bottom", 1, "", 0, NULL);
	make_meta("up", "hidden", 1, "", 0, NULL);
	make(&fx, "l1", "w hidden", "f user x", "x user user.overlay.metacopy y", NULL);
	fx_open(&fx);
	expect_eio("version");
	expect_eio("len");
	expect_eio("short");
	expect_eio("huge");
	expect_eio("nowhere");
	expect_eio("up");
	expect_eio("slash");
	expect_eio("todir");
	expect_eio("tolink");
	expect_eio("self");
	expect_eio("bottom");
	expect_eio("hidden");
	expect_text(&fx, "user", "x"); /* not of this namespace */
	expect_text(&fx, "good", "ok");
	/* it costs the file, not its removal */
	assert_int_equal(found(&fx, "good2"), 0);
	fx_close(&fx);
	fx.cfg.userxattr = true;
	fx_open(&fx);
	expect_eio("user");
	fx_close(&fx);
	fx.cfg.userxattr = false;
	fx.cfg.redirect_follow = false;
	fx_open(&fx);
	expect_eio("self");
}

/* user. attributes anyone could set: the kernel makes none, and so do we. */
static void test_userxattr(void **state)
{
	(void)state;
	fx.cfg.userxattr = true;
	make(&fx, "l1", "f f lower", NULL);
	fx_open(&fx);
	chmod_to("f", 0600);
	unit_expect(fx.dir, "up/f", "lower");
}

/* Where no redirect may be written, a new name takes the data along. */
static void test_no_redirect(void **state)
{
	(void)state;
	fx.cfg.redirect = false;
	make(&fx, "l1", "f f lower", "f stays here", NULL);
	fx_open(&fx);
	chmod_to("f", 0600);
	chmod_to("stays", 0600);
	assert_true(is_metacopy("up/f"));
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "f", UNION_ROOT, "g", 0), 0);
	assert_false(is_metacopy("up/g"));
	assert_true(is_metacopy("up/stays"));
	fx_reopen(&fx);
	expect_text(&fx, "g", "lower");
	expect_text(&fx, "stays", "here");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_chmod_then_write),
		T(test_off),
		T(test_truncate),
		T(test_names),
		T(test_index),
		T(test_unlinked),
		T(test_chain),
		T(test_short),
		T(test_hostile),
		T(test_userxattr),
		T(test_no_redirect),
	};

	if (geteuid() != 0) {
		(void)fprintf(stderr, "trusted attributes need root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
