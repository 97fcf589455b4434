/* SPDX-License-Identifier: Apache-2.0 */
/* The union without a mount: what is seen, and what a change leaves on disk. */
#include "union.h"

#include <dirent.h>

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	fx_init(&fx);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fx.u)
		fx_done(&fx);
	return 0;
}

/* --- what is seen ----------------------------------------------------------- */

static void test_merge(void **state)
{
	(void)state;
	make(&fx, "l2", "d d", "f d/two 2", "f d/both lower", "f file 2", "d shape",
	     "f shape/x x", NULL);
	make(&fx, "l1", "d d", "f d/one 1", "f d/both upper", "f shape now-a-file", NULL);
	make(&fx, "up", "f d-up u", "d d", "f d/zero 0", NULL);
	fx_open(&fx);
	expect_text(&fx, "d/zero", "0");
	expect_text(&fx, "d/one", "1");
	expect_text(&fx, "d/two", "2");
	expect_text(&fx, "d/both", "upper");
	expect_text(&fx, "file", "2");
	expect_text(&fx, "d-up", "u");
	expect_text(&fx, "shape", "now-a-file");
	assert_int_equal(found(&fx, "shape/x"), -ENOTDIR);
	assert_int_equal(found(&fx, "none"), -ENOENT);
	assert_true(S_ISDIR(attrs(&fx, "d").stx_mode));
}

static void test_whiteouts(void **state)
{
	struct listing l;

	(void)state;
	make(&fx, "l2", "f char 2", "f aufs 2", "d opaque", "f opaque/old 2", "d xopaque",
	     "f xopaque/old 2", "f kept 2", NULL);
	make(&fx, "l1", "w char", "f .wh.aufs -", "w stray", "f .wh.stray2 -", "d opaque",
	     "f opaque/.wh..wh..opq -", "f opaque/new 1", "d xopaque",
	     "x xopaque trusted.overlay.opaque y", "f xopaque/new 1", NULL);
	fx_open(&fx);
	assert_int_equal(found(&fx, "char"), -ENOENT);
	assert_int_equal(found(&fx, "aufs"), -ENOENT);
	assert_int_equal(found(&fx, "stray"), -ENOENT);
	assert_int_equal(found(&fx, ".wh.aufs"), -ENOENT);
	assert_int_equal(found(&fx, "opaque/old"), -ENOENT);
	assert_int_equal(found(&fx, "xopaque/old"), -ENOENT);
	expect_text(&fx, "opaque/new", "1");
	expect_text(&fx, "xopaque/new", "1");
	list(&fx, "", 100, &l);
	assert_int_equal(names_listed(&l), 3);
	assert_int_equal(times_listed(&l, "kept"), 1);
	list(&fx, "opaque", 100, &l);
	assert_string_equal(l.names, "new ");
	list(&fx, "xopaque", 100, &l);
	assert_string_equal(l.names, "new ");
}

/* A listing in small steps has each name once, also while names go and come. */
static void test_readdir(void **state)
{
	char name[32];
	struct listing l;
	uint64_t dir;
	unsigned i;

	(void)state;
	make(&fx, "l2", "d d", NULL);
	make(&fx, "l1", "d d", NULL);
	for (i = 0; i < 60; i++) {
		(void)snprintf(name, sizeof(name), "f d/n%u x", i);
		make(&fx, i % 2 ? "l1" : "l2", name, NULL);
	}
	fx_open(&fx);
	for (i = 1; i < 64; i += 9) {
		list(&fx, "d", i, &l);
		assert_int_equal(names_listed(&l), 60);
	}
	/* what stays is neither skipped nor repeated beside changes */
	dir = node(&fx, "d");
	memset(&l, 0, sizeof(l));
	for (i = 0; i < 200; i++) {
		uint64_t before = l.cookie;

		l.room = 1;
		assert_true(union_readdir(fx.u, dir, l.cookie, false, list_entry, &l) >= 0);
		if (l.cookie == before)
			break;
		(void)snprintf(name, sizeof(name), "n%u", i);
		if (i < 30 && i % 3 == 0)
			assert_int_equal(union_unlink(fx.u, dir, name), 0);
		(void)snprintf(name, sizeof(name), "new%u", i);
		if (i < 30)
			create(&fx, "d", name, "");
	}
	for (i = 0; i < 60; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		if (i < 30 && i % 3 == 0)
			assert_in_range(times_listed(&l, name), 0, 1);
		else
			assert_int_equal(times_listed(&l, name), 1);
	}
	for (i = 0; i < 30; i++) {
		(void)snprintf(name, sizeof(name), "new%u", i);
		assert_in_range(times_listed(&l, name), 0, 1);
	}
}

/* --- changes ---------------------------------------------------------------- */

static void test_create(void **state)
{
	struct union_entry e;

	(void)state;
	make(&fx, "l1", "d d", "d d/e", NULL);
	fx_open(&fx);
	create(&fx, "d/e", "new", "content");
	unit_expect(fx.dir, "up/d/e/new", "content");
	assert_int_equal(union_mknod(fx.u, &nobody_special, node(&fx, "d/e"), "new",
				     S_IFREG | 0644, 0, &e),
			 -EEXIST);
	assert_int_equal(union_mkdir(fx.u, &nobody_special, node(&fx, "d"), "sub", 0777, &e), 0);
	hold(&fx, &e);
	assert_int_equal(e.st.stx_mode, S_IFDIR | 0755);
	assert_int_equal(union_symlink(fx.u, &nobody_special, node(&fx, "d"), "link", "to/it", &e),
			 0);
	hold(&fx, &e);
	assert_int_equal(e.st.stx_size, 5);
	fx_reopen(&fx);
	expect_text(&fx, "d/e/new", "content");
	assert_true(S_ISLNK(attrs(&fx, "d/link").stx_mode));
}

static void test_unlink(void **state)
{
	struct union_entry e;
	struct listing l;
	uint64_t id;

	(void)state;
	make(&fx, "l1", "d d", "f d/a lower", "d dir", "f dir/x 1", NULL);
	fx_open(&fx);
	id = node(&fx, "d/a");
	assert_int_equal(union_unlink(fx.u, node(&fx, "d"), "a"), 0);
	assert_int_equal(found(&fx, "d/a"), -ENOENT);
	assert_true(is_whiteout(&fx, "up/d/a"));
	unit_expect(fx.dir, "l1/d/a", "lower");
	expect_node_text(&fx, id, "lower"); /* while somebody has it open */
	assert_int_equal(union_unlink(fx.u, node(&fx, "d"), "a"), -ENOENT);
	create(&fx, "d", "a", "again");
	assert_false(is_whiteout(&fx, "up/d/a"));
	assert_int_equal(union_unlink(fx.u, node(&fx, "d"), "a"), 0);
	fx_reopen(&fx);
	assert_int_equal(found(&fx, "d/a"), -ENOENT);

	/* a directory in the place of one that was removed shows nothing of it */
	assert_int_equal(union_rmdir(fx.u, UNION_ROOT, "dir"), -ENOTEMPTY);
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "dir"), -EISDIR);
	assert_int_equal(union_unlink(fx.u, node(&fx, "dir"), "x"), 0);
	assert_int_equal(union_rmdir(fx.u, UNION_ROOT, "dir"), 0);
	assert_true(is_whiteout(&fx, "up/dir"));
	assert_int_equal(union_mkdir(fx.u, &nobody_special, UNION_ROOT, "dir", 0755, &e), 0);
	hold(&fx, &e);
	assert_int_equal(found(&fx, "dir/x"), -ENOENT);
	fx_reopen(&fx);
	list(&fx, "dir", 100, &l);
	assert_string_equal(l.names, "");
}

/* One file before and after it is copied up; nothing else of it changes. */
static void test_copy_up(void **state)
{
	const struct timespec old[2] = { { 1000, 123456789 }, { 2000, 987654321 } };
	struct union_attr mode = { .valid = UNION_SET_MODE, .mode = 0600 };
	struct statx before, parent, after;
	struct union_counts c;
	char buf[64];

	(void)state;
	make(&fx, "l1", "d d", "f d/file 0123456789", "x d/file user.key value", NULL);
	assert_int_equal(utimensat(fx.dir, "l1/d/file", old, 0), 0);
	assert_int_equal(utimensat(fx.dir, "l1/d", old, 0), 0);
	fx_open(&fx);
	before = attrs(&fx, "d/file");
	parent = attrs(&fx, "d");
	assert_int_equal(union_setattr(fx.u, node(&fx, "d/file"), &mode, &after), 0);
	assert_int_equal(after.stx_mode, S_IFREG | 0600);
	assert_int_equal(after.stx_ino, before.stx_ino);
	assert_int_equal(after.stx_mtime.tv_sec, 2000);
	assert_int_equal(after.stx_mtime.tv_nsec, 987654321);
	assert_int_equal(union_getxattr(fx.u, node(&fx, "d/file"), "user.key", buf, sizeof(buf)),
			 5);
	after = attrs(&fx, "d");
	assert_int_equal(after.stx_mtime.tv_sec, parent.stx_mtime.tv_sec);
	assert_int_equal(after.stx_ino, parent.stx_ino);
	unit_expect(fx.dir, "up/d/file", "0123456789");
	write_node(&fx, node(&fx, "d/file"), "abc", 3);
	expect_text(&fx, "d/file", "012abc6789");
	unit_expect(fx.dir, "l1/d/file", "0123456789");
	union_counts(fx.u, &c);
	assert_int_equal(c.copy_ups, 2); /* the directory and the file */
	fx_reopen(&fx);
	after = attrs(&fx, "d/file");
	assert_int_equal(after.stx_ino, before.stx_ino);
	expect_text(&fx, "d/file", "012abc6789");
}

/* Truncation: no byte of what is cut off, and the rest whole. */
static void test_truncate(void **state)
{
	struct union_attr size = { .valid = UNION_SET_SIZE, .size = 4 };
	struct statx st;

	(void)state;
	make(&fx, "l1", "f a 0123456789", "f b 0123456789", NULL);
	fx_open(&fx);
	assert_int_equal(union_setattr(fx.u, node(&fx, "a"), &size, &st), 0);
	assert_int_equal(st.stx_size, 4);
	expect_text(&fx, "a", "0123");
	size.size = 0;
	assert_int_equal(union_setattr(fx.u, node(&fx, "b"), &size, &st), 0);
	size.size = 20;
	assert_int_equal(union_setattr(fx.u, node(&fx, "b"), &size, &st), 0);
	assert_int_equal(st.stx_size, 20);
	expect_text(&fx, "b", "");
}

static void test_rename(void **state)
{
	uint64_t id;

	(void)state;
	make(&fx, "l1", "d d", "f d/a A", "f d/b B", "f c C", "d e", NULL);
	fx_open(&fx);
	id = node(&fx, "d/a");
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "a", UNION_ROOT, "c",
				      RENAME_NOREPLACE),
			 -EEXIST);
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "a", UNION_ROOT, "c", 0), 0);
	assert_int_equal(found(&fx, "d/a"), -ENOENT);
	assert_int_equal(node(&fx, "c"), id);
	expect_text(&fx, "c", "A");
	assert_true(is_whiteout(&fx, "up/d/a"));
	assert_int_equal(union_rename(fx.u, node(&fx, "d"), "b", UNION_ROOT, "c",
				      RENAME_EXCHANGE),
			 0);
	expect_text(&fx, "c", "B");
	expect_text(&fx, "d/b", "A");
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "c", UNION_ROOT, "none", 0), 0);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "c", UNION_ROOT, "x", 0), -ENOENT);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "none", UNION_ROOT, "e", 0), -EISDIR);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "e", UNION_ROOT, "none", 0), -ENOTDIR);
	fx_reopen(&fx);
	expect_text(&fx, "none", "B");
	expect_text(&fx, "d/b", "A");
	assert_int_equal(found(&fx, "c"), -ENOENT);
	unit_expect(fx.dir, "l1/c", "C");
}

/* A renamed lower directory keeps its content by a redirect, or is refused. */
static void test_rename_directory(void **state)
{
	uint64_t dir;

	(void)state;
	make(&fx, "l2", "d d", "d d/sub", "f d/sub/low 2", NULL);
	make(&fx, "l1", "d d", "f d/one 1", "d full", "f full/x x", NULL);
	fx.cfg.redirect = false;
	fx_open(&fx);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "d", UNION_ROOT, "moved", 0), -EXDEV);
	expect_text(&fx, "d/one", "1");
	fx_close(&fx);
	fx.cfg.redirect = true;
	fx_open(&fx);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "d", UNION_ROOT, "full", 0), -ENOTEMPTY);
	dir = node(&fx, "d");
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "d", UNION_ROOT, "moved", 0), 0);
	assert_int_equal(node(&fx, "moved"), dir);
	assert_int_equal(found(&fx, "d"), -ENOENT);
	expect_text(&fx, "moved/one", "1");
	expect_text(&fx, "moved/sub/low", "2");
	assert_int_equal(union_rename(fx.u, dir, "sub", UNION_ROOT, "out", 0), 0);
	expect_text(&fx, "out/low", "2");
	/* nothing can become a part of itself */
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "full", node(&fx, "full"), "x2", 0),
			 -EINVAL);
	fx_reopen(&fx);
	expect_text(&fx, "moved/one", "1");
	expect_text(&fx, "out/low", "2");
	assert_int_equal(found(&fx, "moved/sub"), -ENOENT);
	assert_int_equal(found(&fx, "d"), -ENOENT);
}

/* Names of one lower file stay one file, also when it is copied up. */
static void test_hardlinks(void **state)
{
	struct union_entry e;

	(void)state;
	make(&fx, "l1", "d d", "f a text", "h d/b a", NULL);
	fx_open(&fx);
	assert_int_equal(node(&fx, "a"), node(&fx, "d/b"));
	assert_int_equal(attrs(&fx, "a").stx_nlink, 2);
	write_node(&fx, node(&fx, "a"), "T", 0);
	expect_text(&fx, "d/b", "Text");
	fx_reopen(&fx);
	assert_int_equal(attrs(&fx, "a").stx_ino, attrs(&fx, "d/b").stx_ino);
	expect_text(&fx, "d/b", "Text");
	write_node(&fx, node(&fx, "d/b"), "2", 0);
	expect_text(&fx, "a", "2ext");
	assert_int_equal(union_link(fx.u, node(&fx, "a"), UNION_ROOT, "third", &e), 0);
	hold(&fx, &e);
	assert_int_equal(e.nodeid, node(&fx, "a"));
	assert_int_equal(e.st.stx_nlink, 3);
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "a"), 0);
	assert_int_equal(attrs(&fx, "third").stx_nlink, 2);
	expect_text(&fx, "d/b", "2ext");
}

/* --- what the format takes from users ----------------------------------------- */

static void test_reserved(void **state)
{
	struct union_entry e;
	char buf[64], names[256];
	uint64_t id;

	(void)state;
	fx_open(&fx);
	id = create(&fx, "", "file", "x");
	assert_int_equal(union_mknod(fx.u, &nobody_special, UNION_ROOT, ".wh.x", S_IFREG | 0644,
				     0, &e),
			 -EINVAL);
	assert_int_equal(union_mkdir(fx.u, &nobody_special, UNION_ROOT, ".wh.d", 0755, &e),
			 -EINVAL);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "file", UNION_ROOT, ".wh.y", 0), -EINVAL);
	assert_int_equal(union_mknod(fx.u, &nobody_special, UNION_ROOT, "w", S_IFCHR | 0600, 0,
				     &e),
			 -EPERM);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "file", UNION_ROOT, "y", RENAME_WHITEOUT),
			 -EINVAL);
	/* a user's own attribute of that name is stored so that it means nothing */
	assert_int_equal(union_setxattr(fx.u, id, "trusted.overlay.opaque", "y", 1, 0), 0);
	assert_int_equal(union_getxattr(fx.u, id, "trusted.overlay.opaque", buf, sizeof(buf)), 1);
	assert_true(union_listxattr(fx.u, id, true, names, sizeof(names)) > 0);
	(void)snprintf(names, sizeof(names), "%s/up/file", fx.base);
	assert_int_equal(lgetxattr(names, "trusted.overlay.overlay.opaque", buf, sizeof(buf)), 1);
	assert_true(lgetxattr(names, "trusted.overlay.opaque", buf, sizeof(buf)) < 0);
}

/* What plyfs itself writes is never seen through the mount. */
static void test_own_attributes(void **state)
{
	struct union_attr mode = { .valid = UNION_SET_MODE, .mode = 0700 };
	char names[1024];
	struct statx st;
	ssize_t n, i;

	(void)state;
	make(&fx, "l1", "d d", "f d/f x", NULL);
	fx_open(&fx);
	assert_int_equal(union_setattr(fx.u, node(&fx, "d/f"), &mode, &st), 0);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "d", UNION_ROOT, "e", 0), 0);
	n = union_listxattr(fx.u, node(&fx, "e"), true, names, sizeof(names));
	assert_true(n >= 0);
	for (i = 0; i < n; i += (ssize_t)strlen(names + i) + 1)
		assert_null(strstr(names + i, "overlay."));
	assert_int_equal(union_getxattr(fx.u, node(&fx, "e"), "trusted.overlay.redirect", names,
					sizeof(names)),
			 -ENODATA);
}

static void test_long_names(void **state)
{
	char name[300];
	struct union_entry e;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	fx_open(&fx);
	create(&fx, "", name, "long");
	expect_text(&fx, name, "long");
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, name), 0);
	name[255] = 'n';
	name[256] = '\0';
	assert_int_equal(found(&fx, name), -ENAMETOOLONG);
	assert_int_equal(union_mknod(fx.u, &nobody_special, UNION_ROOT, name, S_IFREG | 0644, 0,
				     &e),
			 -ENAMETOOLONG);
}

static void test_read_only(void **state)
{
	struct union_attr mode = { .valid = UNION_SET_MODE, .mode = 0700 };
	struct union_entry e;
	struct statx st;

	(void)state;
	make(&fx, "l1", "f a A", NULL);
	make(&fx, "up", "f b B", NULL);
	fx.cfg.ro = true;
	fx_open(&fx);
	assert_true(union_read_only(fx.u));
	expect_text(&fx, "a", "A");
	expect_text(&fx, "b", "B");
	assert_int_equal(union_mknod(fx.u, &nobody_special, UNION_ROOT, "x", S_IFREG | 0644, 0,
				     &e),
			 -EROFS);
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "a"), -EROFS);
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "a", UNION_ROOT, "z", 0), -EROFS);
	assert_int_equal(union_setattr(fx.u, node(&fx, "a"), &mode, &st), -EROFS);
	assert_int_equal(union_write(fx.u, node(&fx, "b"), "x", 1, 0), -EROFS);
	assert_int_equal(union_setxattr(fx.u, node(&fx, "a"), "user.x", "x", 1, 0), -EROFS);
	assert_false(is_there(&fx, "work/work"));
}

/* --- layers from a stranger ---------------------------------------------------- */

static void test_hostile(void **state)
{
	char long_value[300] = "x l trusted.overlay.redirect ";

	(void)state;
	memset(long_value + strlen(long_value), 'r', 260);
	/* A link where another layer has a directory is a link, not a way out. */
	make(&fx, "l2", "d etc", "f etc/mine 2", "d d", "f d/f 2", "d good", "f good/f ok", NULL);
	make(&fx, "l1", "s etc /etc", "s d ..", "d up1", "x up1 trusted.overlay.redirect ../../etc",
	     "d abs", "x abs trusted.overlay.redirect /../../etc", "d dots",
	     "x dots trusted.overlay.redirect /good/../..", "d loop",
	     "x loop trusted.overlay.redirect /loop/loop", "d empty",
	     "x empty trusted.overlay.redirect /", "d file",
	     "x file trusted.overlay.redirect /d/f", "d l", long_value, NULL);
	fx_open(&fx);
	assert_true(S_ISLNK(attrs(&fx, "etc").stx_mode));
	assert_int_equal(found(&fx, "etc/mine"), -ENOTDIR);
	assert_int_equal(found(&fx, "etc/passwd"), -ENOTDIR);
	assert_int_equal(found(&fx, "d/f"), -ENOTDIR);
	/* each bad redirect costs its own directory, and shows nothing from outside */
	assert_true(found(&fx, "up1/passwd") < 0);
	assert_true(found(&fx, "abs/passwd") < 0);
	assert_true(found(&fx, "dots/good") < 0);
	assert_true(found(&fx, "loop/loop") < 0);
	assert_true(found(&fx, "l/x") < 0);
	assert_true(found(&fx, "file/x") < 0);
	expect_text(&fx, "good/f", "ok");
}

/* What was looked up often and forgotten is no longer held in memory. */
static void test_forget(void **state)
{
	struct union_counts c;
	struct union_entry e;
	unsigned i;

	(void)state;
	make(&fx, "l1", "d d", "f d/f x", NULL);
	fx_open(&fx);
	for (i = 0; i < 1000; i++) {
		assert_int_equal(found(&fx, "d/f"), 0);
		assert_int_equal(union_lookup(fx.u, UNION_ROOT, "none", &e) == -ENOENT ||
					 e.nodeid == 0,
				 1);
	}
	union_counts(fx.u, &c);
	assert_in_range(c.nodes, 2, 3);
	fx_forget(&fx);
	union_counts(fx.u, &c);
	assert_in_range(c.nodes, 0, 1);
}

/* Which layer a file comes from, before and after it was copied up. */
static void test_where(void **state)
{
	struct fixture *f = &fx;
	struct union_attr mode = { .valid = UNION_SET_MODE, .mode = 0600 };
	unsigned layer;
	struct statx st;
	uint64_t ino;

	(void)state;
	make(f, "l1", "f top 1", "d both", NULL);
	make(f, "l2", "f bottom 2", "d both", "d below", NULL);
	make(f, "up", "f new 3", NULL);
	fx_open(f);
	assert_int_equal(union_where(f->u, node(f, "top"), &layer, &ino), 0);
	assert_int_equal(layer, 1);
	st = attrs(f, "top");
	assert_int_equal(ino, st.stx_ino);
	assert_int_equal(union_where(f->u, node(f, "bottom"), &layer, &ino), 0);
	assert_int_equal(layer, 2);
	assert_int_equal(union_where(f->u, node(f, "both"), &layer, &ino), 0);
	assert_int_equal(layer, 1);
	assert_int_equal(union_where(f->u, node(f, "below"), &layer, &ino), 0);
	assert_int_equal(layer, 2);
	assert_int_equal(union_where(f->u, node(f, "new"), &layer, &ino), 0);
	assert_int_equal(layer, 0);
	assert_int_equal(union_setattr(f->u, node(f, "bottom"), &mode, &st), 0);
	assert_int_equal(union_where(f->u, node(f, "bottom"), &layer, &ino), 0);
	assert_int_equal(layer, 0);
	assert_int_equal(union_where(f->u, 1ULL << 40, &layer, &ino), -ESTALE);
}

/* Removed, but somebody has it open: it stays as it was, and can be written. */
static void test_unlinked_open(void **state)
{
	struct union_entry e;
	struct statx st;
	uint64_t id;

	(void)state;
	make(&fx, "l1", "f low lower", NULL);
	fx_open(&fx);
	id = create(&fx, "", "up", "upper");
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "up"), 0);
	expect_node_text(&fx, id, "upper");
	write_node(&fx, id, "U", 0);
	expect_node_text(&fx, id, "Upper");
	assert_int_equal(union_getattr(fx.u, id, &st), 0);
	assert_int_equal(st.stx_nlink, 0);
	id = node(&fx, "low");
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "low"), 0);
	write_node(&fx, id, "L", 0);
	expect_node_text(&fx, id, "Lower");
	unit_expect(fx.dir, "l1/low", "lower");
	assert_int_equal(found(&fx, "low"), -ENOENT);
	/* a file without any name can be given one */
	assert_int_equal(union_tmpfile(fx.u, &nobody_special, UNION_ROOT, 0600, &e), 0);
	id = hold(&fx, &e);
	write_node(&fx, id, "tmp", 0);
	assert_int_equal(union_link(fx.u, id, UNION_ROOT, "named", &e), 0);
	assert_int_equal(hold(&fx, &e), id);
	fx_reopen(&fx);
	expect_text(&fx, "named", "tmp");
	assert_int_equal(found(&fx, "low"), -ENOENT);
}

/* How many records there are in workdir/origin. */
static unsigned records(void)
{
	DIR *dir;
	unsigned n = 0;
	int fd = openat(fx.dir, "work/origin", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	dir = fdopendir(fd);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	assert_int_equal(closedir(dir), 0);
	return n - 2;
}

static void chown_node(const char *path)
{
	struct union_attr a = { .valid = UNION_SET_UID, .uid = 7 };
	struct statx st;

	assert_int_equal(union_setattr(fx.u, node(&fx, path), &a, &st), 0);
}

/* Symlinks and special files take no user. attributes, and keep their inode numbers. */
static void test_special_origins(void **state)
{
	static const char *const names[] = { "link", "fifo", "other" };
	uint64_t ino[3];
	unsigned i;

	(void)state;
	fx.cfg.userxattr = true;
	make(&fx, "l1", "s link target", "s other target", "s over target", NULL);
	assert_int_equal(mkfifoat(fx.dir, "l1/fifo", 0600), 0);
	fx_open(&fx);
	assert_int_equal(records(), 0);
	for (i = 0; i < 3; i++) {
		ino[i] = attrs(&fx, names[i]).stx_ino;
		chown_node(names[i]);
	}
	chown_node("over");
	assert_int_equal(records(), 4);
	for (i = 0; i < 3; i++)
		assert_int_equal(attrs(&fx, names[i]).stx_ino, ino[i]);
	fx_forget(&fx);
	for (i = 0; i < 3; i++)
		assert_int_equal(attrs(&fx, names[i]).stx_ino, ino[i]);
	fx_reopen(&fx);
	for (i = 0; i < 3; i++)
		assert_int_equal(attrs(&fx, names[i]).stx_ino, ino[i]);
	/* another name is the same file; what is removed leaves nothing behind */
	assert_int_equal(union_rename(fx.u, UNION_ROOT, "link", UNION_ROOT, "over", 0), 0);
	assert_int_equal(records(), 3);
	assert_int_equal(union_unlink(fx.u, UNION_ROOT, "fifo"), 0);
	assert_int_equal(records(), 2);
	fx_reopen(&fx);
	assert_int_equal(attrs(&fx, "over").stx_ino, ino[0]);
	assert_int_equal(attrs(&fx, "other").stx_ino, ino[2]);
	/* a record that says nothing, as after a crash or somebody's hand, is none */
	assert_int_equal(symlinkat("nonsense", fx.dir, "work/origin/00fb"), 0);
	fx_reopen(&fx);
	assert_int_equal(attrs(&fx, "other").stx_ino, ino[2]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_merge),
		T(test_whiteouts),
		T(test_readdir),
		T(test_create),
		T(test_unlink),
		T(test_copy_up),
		T(test_truncate),
		T(test_rename),
		T(test_rename_directory),
		T(test_hardlinks),
		T(test_reserved),
		T(test_own_attributes),
		T(test_long_names),
		T(test_read_only),
		T(test_hostile),
		T(test_forget),
		T(test_where),
		T(test_unlinked_open),
		T(test_special_origins),
	};

	if (geteuid() != 0) {
		(void)fprintf(stderr, "trusted attributes need root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
