/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each operation of the union: its Nth system call or allocation fails,
 * for N = 1, 2, 3 ... until none is left that could. After each failure the
 * operation has either not happened, and says so by that error, or has happened
 * in full; the same holds after a remount, and no descriptor or node is left.
 *
 * With PACKED in the environment the lowers are indexes over blobs.
 *
 * LDLIBS: -lcmocka -lcrypto -lxxhash -lzstd -lz
 */
#include "tests/unit/union.h"

#include <dirent.h>

#include "lib/sys.h"
#include "tests/packed/packtree.h"

#define MAX_CALLS 2000
#define DUMP_SIZE 16384

static struct fixture fx;

/* --- the tree, as text -------------------------------------------------------- */

struct dump {
	char text[DUMP_SIZE];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void dump_line(struct dump *d, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(d->text + d->len, sizeof(d->text) - d->len, fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, sizeof(d->text) - d->len - 1);
	d->len += (size_t)n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump_xattrs(struct dump *d, uint64_t id)
{
	char names[1024], value[256], *sorted[16] = { NULL };
	ssize_t n = union_listxattr(fx.u, id, true, names, sizeof(names)), i, len;
	unsigned count = 0, k;

	assert_true(n >= 0);
	for (i = 0; i < n; i += (ssize_t)strlen(names + i) + 1)
		sorted[count++] = names + i;
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (k = 0; k < count; k++) {
		len = union_getxattr(fx.u, id, sorted[k], value, sizeof(value));
		assert_true(len >= 0);
		dump_line(d, " %s=%.*s", sorted[k], (int)len, value);
	}
}

/* Everything below @path that a user can see, but times and inode numbers. */
static void dump_tree(struct dump *d, const char *path)
{
	char *names[64], sub[600], text[512];
	_cleanup_free_ char *target = NULL;
	struct union_entry e;
	struct listing l;
	unsigned n = 0, i;
	char *p, *save = NULL;
	ssize_t len;

	assert_int_equal(look(&fx, path, &e), 0);
	dump_line(d, "/%s %o %u:%u", path, e.st.stx_mode, e.st.stx_uid, e.st.stx_gid);
	if (!S_ISDIR(e.st.stx_mode))
		dump_line(d, " links %u", e.st.stx_nlink);
	dump_xattrs(d, e.nodeid);
	if (S_ISREG(e.st.stx_mode)) {
		len = union_read(fx.u, e.nodeid, text, sizeof(text), 0);
		assert_int_equal(len, e.st.stx_size);
		dump_line(d, " %zd bytes:", len);
		for (i = 0; i < len; i++)
			dump_line(d, "%c", text[i] ? text[i] : '0');
	} else if (S_ISLNK(e.st.stx_mode)) {
		assert_true(union_readlink(fx.u, e.nodeid, &target) >= 0);
		dump_line(d, " -> %s", target);
	}
	dump_line(d, "\n");
	if (!S_ISDIR(e.st.stx_mode))
		return;
	list(&fx, path, 100, &l);
	for (p = strtok_r(l.names, " ", &save); p; p = strtok_r(NULL, " ", &save))
		names[n++] = p;
	qsort(names, n, sizeof(*names), by_name);
	for (i = 0; i < n; i++) {
		(void)snprintf(sub, sizeof(sub), "%s%s%s", path, *path ? "/" : "", names[i]);
		dump_tree(d, sub);
	}
}

static void dump(struct dump *d)
{
	memset(d, 0, sizeof(*d));
	dump_tree(d, "");
	fx_forget(&fx);
}

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	assert_int_equal(closedir(dir), 0);
	return n;
}

/* --- the operations ------------------------------------------------------------- */

/* Packs the lowers as they are, once: they are the same every time. */
static void pack_layers(void)
{
	static const char *const names[2] = { "l1.index", "l2.index" };
	const struct packtree_conf conf = { .codec = INDEX_ZSTD, .frame = 4096 };
	static char out[2][300];
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (!*out[i]) {
			char path[300];
			int fd;

			(void)snprintf(out[i], sizeof(out[i]), "%s/packed%u", getenv("TESTTMP"), i);
			assert_int_equal(mkdir(out[i], 0755), 0);
			fd = open(out[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			(void)snprintf(path, sizeof(path), "%s/%.2s", fx.base, names[i]);
			packtree(path, fd, "index", &conf);
			assert_int_equal(close(fd), 0);
			(void)strcat(out[i], "/index");
		}
		assert_int_equal(symlinkat(out[i], fx.dir, names[i]), 0);
		fx.lowers[i] = names[i];
	}
}

/* A file in the upper without its data. */
static void make_metacopy(void)
{
	static const char data[] = "the-data-below";
	int fd;

	make(&fx, "l2", "d metas", "f metas/m the-data-below", "f metas/low whole", NULL);
	make(&fx, "up", "d metas", NULL);
	fd = openat(fx.dir, "up/metas/m", O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(data) - 1), 0);
	assert_int_equal(fsetxattr(fd, "trusted.overlay.metacopy", "", 0, 0), 0);
	assert_int_equal(close(fd), 0);
}

/* The layers that every operation starts from. */
static void make_layers(void)
{
	make(&fx, "l2", "d d", "f d/low lower-content", "x d/low user.k v", "f d/low2 second",
	     "d d/sub", "f d/sub/x x", "d gone", "f gone/y y", "d empty", "f names one-file",
	     "h d/names names", "s link target", "d whiteouts", "f whiteouts/a a",
	     "d upwhiteouts", "f upwhiteouts/a a", "f upgone x", NULL);
	make(&fx, "l1", "d d", "f d/mid middle", "w gone", "d whiteouts", "w whiteouts/a", NULL);
	make(&fx, "up", "f upper upper-content", "d updir", "f updir/z z", "d upempty",
	     "d upwhiteouts", "w upwhiteouts/a", "w upgone", NULL);
	make_metacopy();
	if (getenv("PACKED"))
		pack_layers();
}

#define CREATED(call)                         \
	({                                    \
		struct union_entry e_;        \
		int r_ = (call);              \
		if (r_ >= 0)                  \
			(void)hold(&fx, &e_); \
		r_;                           \
	})

/* Nodes that operations are about, looked up before faults begin. */
struct nodes {
	uint64_t d, sub, low, low2, upper, names, updir, link, metas, meta, metalow;
};

static int op_mknod(const struct nodes *n)
{
	return CREATED(union_mknod(fx.u, &nobody_special, n->d, "new", S_IFREG | 0644, 0, &e_));
}

static int op_mknod_over_whiteout(const struct nodes *n)
{
	(void)n;
	return CREATED(
		union_mknod(fx.u, &nobody_special, UNION_ROOT, "gone", S_IFIFO | 0644, 0, &e_));
}

static int op_mkdir(const struct nodes *n)
{
	return CREATED(union_mkdir(fx.u, &nobody_special, n->sub, "new", 0755, &e_));
}

static int op_mkdir_over_whiteout(const struct nodes *n)
{
	(void)n;
	return CREATED(union_mkdir(fx.u, &nobody_special, UNION_ROOT, "gone", 0755, &e_));
}

static int op_symlink(const struct nodes *n)
{
	return CREATED(union_symlink(fx.u, &nobody_special, n->d, "sym", "a/b", &e_));
}

static int op_link_lower(const struct nodes *n)
{
	return CREATED(union_link(fx.u, n->low, n->updir, "linked", &e_));
}

static int op_link_upper(const struct nodes *n)
{
	return CREATED(union_link(fx.u, n->upper, n->d, "linked", &e_));
}

static int op_unlink_lower(const struct nodes *n)
{
	return union_unlink(fx.u, n->d, "low");
}

static int op_unlink_upper(const struct nodes *n)
{
	(void)n;
	return union_unlink(fx.u, UNION_ROOT, "upper");
}

static int op_unlink_one_name(const struct nodes *n)
{
	return union_unlink(fx.u, n->d, "names");
}

static int op_rmdir_lower(const struct nodes *n)
{
	(void)n;
	return union_rmdir(fx.u, UNION_ROOT, "empty");
}

static int op_rmdir_upper(const struct nodes *n)
{
	(void)n;
	return union_rmdir(fx.u, UNION_ROOT, "upempty");
}

static int op_rmdir_whiteouts(const struct nodes *n)
{
	(void)n;
	return union_rmdir(fx.u, UNION_ROOT, "whiteouts");
}

static int op_rename_lower(const struct nodes *n)
{
	return union_rename(fx.u, n->d, "low", UNION_ROOT, "moved", 0);
}

static int op_rename_over_lower(const struct nodes *n)
{
	return union_rename(fx.u, UNION_ROOT, "upper", n->d, "low", 0);
}

static int op_rename_exchange(const struct nodes *n)
{
	return union_rename(fx.u, n->d, "low", UNION_ROOT, "upper", RENAME_EXCHANGE);
}

static int op_rename_directory(const struct nodes *n)
{
	(void)n;
	return union_rename(fx.u, UNION_ROOT, "d", UNION_ROOT, "moved", 0);
}

static int op_rename_directory_over(const struct nodes *n)
{
	return union_rename(fx.u, n->d, "sub", UNION_ROOT, "empty", 0);
}

static int op_chmod(const struct nodes *n)
{
	struct union_attr a = { .valid = UNION_SET_MODE, .mode = 0600 };
	struct statx st;

	return union_setattr(fx.u, n->low, &a, &st);
}

static int op_truncate(const struct nodes *n)
{
	struct union_attr a = { .valid = UNION_SET_SIZE, .size = 5 };
	struct statx st;

	return union_setattr(fx.u, n->low, &a, &st);
}

static int op_write(const struct nodes *n)
{
	return (int)union_write(fx.u, n->low2, "12", 2, 1);
}

static int op_write_hardlinked(const struct nodes *n)
{
	return (int)union_write(fx.u, n->names, "12", 2, 1);
}

static int op_setxattr(const struct nodes *n)
{
	return union_setxattr(fx.u, n->low, "user.new", "value", 5, 0);
}

static int op_removexattr(const struct nodes *n)
{
	return union_removexattr(fx.u, n->low, "user.k");
}

static int op_fallocate(const struct nodes *n)
{
	return union_fallocate(fx.u, n->low, 0, 0, 100);
}

static int op_copy_range(const struct nodes *n)
{
	return (int)union_copy_range(fx.u, n->low, 0, n->low2, 0, 5);
}

static int op_link_over_whiteout(const struct nodes *n)
{
	return CREATED(union_link(fx.u, n->upper, UNION_ROOT, "gone", &e_));
}

/* Made in the workdir: its owner is not ours. */
static int op_mkdir_for_another(const struct nodes *n)
{
	const struct union_cred another = { .uid = 1, .gid = 1, .umask = 022 };

	return CREATED(union_mkdir(fx.u, &another, n->updir, "new", 0755, &e_));
}

static int op_mknod_for_another(const struct nodes *n)
{
	const struct union_cred another = { .uid = 1, .gid = 1, .umask = 022 };

	return CREATED(union_mknod(fx.u, &another, n->d, "new", S_IFREG | 0644, 0, &e_));
}

static int op_tmpfile(const struct nodes *n)
{
	return CREATED(union_tmpfile(fx.u, &nobody_special, n->d, 0644, &e_));
}

static int op_rename_one_name(const struct nodes *n)
{
	return union_rename(fx.u, n->d, "names", UNION_ROOT, "moved", 0);
}

static int op_rename_over_one_name(const struct nodes *n)
{
	return union_rename(fx.u, UNION_ROOT, "upper", n->d, "names", 0);
}

static int op_rename_directory_over_whiteouts(const struct nodes *n)
{
	(void)n;
	return union_rename(fx.u, UNION_ROOT, "updir", UNION_ROOT, "upwhiteouts", 0);
}

static int op_rename_directory_to_whiteout(const struct nodes *n)
{
	(void)n;
	return union_rename(fx.u, UNION_ROOT, "updir", UNION_ROOT, "upgone", 0);
}

static int op_chown(const struct nodes *n)
{
	struct union_attr a = {
		.valid = UNION_SET_UID | UNION_SET_GID | UNION_SET_MODE,
		.uid = 1,
		.gid = 2,
		.mode = 0640,
	};
	struct statx st;

	return union_setattr(fx.u, n->upper, &a, &st);
}

static int op_truncate_upper(const struct nodes *n)
{
	struct union_attr a = { .valid = UNION_SET_SIZE | UNION_SET_KILL_PRIV, .size = 3 };
	struct statx st;

	return union_setattr(fx.u, n->upper, &a, &st);
}

static int op_lookup(const struct nodes *n)
{
	return CREATED(union_lookup(fx.u, n->sub, "x", &e_));
}

static int op_readdir(const struct nodes *n)
{
	struct listing l = { .room = 100 };

	return union_readdir(fx.u, n->d, 0, false, list_entry, &l);
}

static int op_read(const struct nodes *n)
{
	char buf[32];

	return (int)union_read(fx.u, n->low, buf, sizeof(buf), 0);
}

static int op_readlink(const struct nodes *n)
{
	_cleanup_free_ char *target = NULL;

	return union_readlink(fx.u, n->link, &target);
}

static int op_fsync(const struct nodes *n)
{
	return union_fsync(fx.u, n->upper, false);
}

static int op_syncfs(const struct nodes *n)
{
	(void)n;
	return union_syncfs(fx.u);
}

static int op_meta_chmod(const struct nodes *n)
{
	struct union_attr a = { .valid = UNION_SET_MODE, .mode = 04711 };
	struct statx st;

	return union_setattr(fx.u, n->metalow, &a, &st);
}

static int op_meta_write(const struct nodes *n)
{
	return (int)union_write(fx.u, n->meta, "new", 3, 2);
}

static int op_meta_truncate(const struct nodes *n)
{
	struct union_attr a = { .valid = UNION_SET_SIZE, .size = 3 };
	struct statx st;

	return union_setattr(fx.u, n->meta, &a, &st);
}

static int op_meta_rename(const struct nodes *n)
{
	return union_rename(fx.u, n->metas, "m", n->updir, "m2", 0);
}

static int op_meta_rename_lower(const struct nodes *n)
{
	return union_rename(fx.u, n->metas, "low", n->d, "low2", 0);
}

static int op_meta_link(const struct nodes *n)
{
	return CREATED(union_link(fx.u, n->meta, n->updir, "linked", &e_));
}

static int op_meta_unlink(const struct nodes *n)
{
	return union_unlink(fx.u, n->metas, "m");
}

static int op_meta_read(const struct nodes *n)
{
	char buf[32];

	return (int)union_read(fx.u, n->meta, buf, sizeof(buf), 0);
}

#define OP(word)                                \
	{                                       \
		.name = #word, .run = op_##word \
	}

#define META(word)                                                 \
	{                                                          \
		.name = #word, .run = op_##word, .metacopy = true, \
	}

static const struct operation {
	const char *name;
	int (*run)(const struct nodes *n);
	bool two_steps; /* two calls change something: where all fail the first stays */
	bool metacopy; /* the union is mounted so */
} operations[] = {
	OP(mknod),
	OP(mknod_over_whiteout),
	OP(mkdir),
	OP(mkdir_over_whiteout),
	OP(symlink),
	OP(link_lower),
	OP(link_upper),
	OP(unlink_lower),
	OP(unlink_upper),
	OP(unlink_one_name),
	OP(rmdir_lower),
	OP(rmdir_upper),
	OP(rmdir_whiteouts),
	OP(rename_lower),
	OP(rename_over_lower),
	OP(rename_exchange),
	OP(rename_directory),
	OP(rename_directory_over),
	OP(chmod),
	OP(truncate),
	OP(write),
	OP(write_hardlinked),
	OP(setxattr),
	OP(removexattr),
	OP(fallocate),
	OP(copy_range),
	OP(link_over_whiteout),
	OP(mkdir_for_another),
	OP(mknod_for_another),
	OP(tmpfile),
	OP(rename_one_name),
	{ .name = "rename_over_one_name", .run = op_rename_over_one_name, .two_steps = true },
	OP(rename_directory_over_whiteouts),
	OP(rename_directory_to_whiteout),
	{ .name = "chown", .run = op_chown, .two_steps = true },
	OP(truncate_upper),
	OP(lookup),
	OP(readdir),
	OP(read),
	OP(readlink),
	OP(fsync),
	OP(syncfs),
	META(meta_chmod),
	META(meta_write),
	META(meta_rename),
	META(meta_rename_lower),
	META(meta_link),
	META(meta_unlink),
	META(meta_read),
	{ .name = "meta_truncate", .run = op_meta_truncate, .two_steps = true, .metacopy = true },
};

/* --- the loop --------------------------------------------------------------------- */

static struct nodes look_up_nodes(void)
{
	return (struct nodes){
		.d = node(&fx, "d"),
		.sub = node(&fx, "d/sub"),
		.low = node(&fx, "d/low"),
		.low2 = node(&fx, "d/low2"),
		.upper = node(&fx, "upper"),
		.names = node(&fx, "names"),
		.updir = node(&fx, "updir"),
		.link = node(&fx, "link"),
		.metas = node(&fx, "metas"),
		.meta = node(&fx, "metas/m"),
		.metalow = node(&fx, "metas/low"),
	};
}

/* A fresh union, with this operation run under a fault. */
static int run_once(const struct operation *op, bool sync, unsigned nth, int err, bool persistent,
		    bool *ret_fired, const char **ret_where)
{
	struct nodes n;
	int r;

	fx_init(&fx);
	fx.cfg.sync = sync;
	fx.cfg.metacopy = op->metacopy;
	make_layers();
	fx_open(&fx);
	n = look_up_nodes();
	sys_fault_arm(nth, err, persistent);
	r = op->run(&n);
	*ret_fired = sys_fault_fired();
	*ret_where = sys_fault_where();
	sys_fault_arm(0, 0, false);
	fx_forget(&fx);
	return r;
}

static void remove_scratch(void)
{
	char command[300];

	fx_done(&fx);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", fx.base);
	assert_int_equal(system(command), 0);
}

static bool allocation(const char *where)
{
	return where && (strstr(where, "alloc") || strstr(where, "strdup"));
}

static unsigned problems;

__attribute__((format(printf, 1, 2))) static void problem(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	problems++;
}

/* Whether the tree is @expected; else the first line that is not. */
static bool tree_is(const char *expected, const char *what, const char *when)
{
	static struct dump now;
	size_t i, line = 0;

	dump(&now);
	if (!strcmp(now.text, expected))
		return true;
	for (i = 0; now.text[i] == expected[i]; i++)
		if (now.text[i] == '\n')
			line = i + 1;
	problem("%s: %s there is \"%.*s\", not \"%.*s\"\n", what, when,
		(int)strcspn(now.text + line, "\n"), now.text + line,
		(int)strcspn(expected + line, "\n"), expected + line);
	return false;
}

/* One operation, under this fault at each of its calls; ends at the first problem. */
static void fail_each(const struct operation *op, bool sync, int err, bool persistent)
{
	static struct dump before, after;
	unsigned nth, files = open_files(), had = problems;
	const char *where, *expected;
	char what[300];
	bool fired = true;
	int r, good;

	good = run_once(op, sync, 0, 0, false, &fired, &where);
	assert_true(good >= 0);
	dump(&after);
	remove_scratch();
	fx_init(&fx);
	make_layers();
	fx_open(&fx);
	dump(&before);
	remove_scratch();
	fired = true;
	for (nth = 1; fired && problems == had; nth++) {
		assert_true(nth < MAX_CALLS);
		r = run_once(op, sync, nth, err, persistent, &fired, &where);
		(void)snprintf(what, sizeof(what), "%s%s: call %u (%s) fails with %d%s, result %d",
			       op->name, sync ? " with sync" : "", nth, where ? where : "none",
			       err, persistent ? " and all after it" : "", r);
		if (!fired && r != good)
			problem("%s: without any fault\n", what);
		if (r < 0 && r != -err && !(r == -ENOMEM && (persistent || allocation(where))))
			problem("%s: another error\n", what);
		expected = r < 0 ? before.text : after.text;
		if (tree_is(expected, what, "now")) {
			fx_reopen(&fx);
			(void)tree_is(expected, what, "after a remount");
		}
		remove_scratch();
		if (open_files() != files)
			problem("%s: %u descriptors, before %u\n", what, open_files(), files);
	}
}

static void test_operations(int err, bool persistent, bool sync)
{
	const char *only = getenv("OPERATION");
	size_t i;

	problems = 0;
	for (i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		if ((!only || !strcmp(only, operations[i].name)) &&
		    !(persistent && operations[i].two_steps))
			fail_each(&operations[i], sync, err, persistent);
	assert_int_equal(problems, 0);
}

static void test_eio(void **state)
{
	(void)state;
	test_operations(EIO, false, true);
}

static void test_eio_persistent(void **state)
{
	(void)state;
	test_operations(EIO, true, false);
}

static void test_enospc(void **state)
{
	(void)state;
	test_operations(ENOSPC, false, false);
}

static void test_enospc_persistent(void **state)
{
	(void)state;
	test_operations(ENOSPC, true, true);
}

static void test_enomem(void **state)
{
	(void)state;
	test_operations(ENOMEM, false, false);
}

/* Opening fails cleanly at every call, and works the next time. */
static void test_open(void **state)
{
	unsigned nth, files = open_files();
	bool fired = true;

	(void)state;
	for (nth = 1; fired && nth < MAX_CALLS; nth++) {
		int r;

		fx_init(&fx);
		make_layers();
		sys_fault_arm(nth, EIO, false);
		r = fx_try_open(&fx);
		fired = sys_fault_fired();
		sys_fault_arm(0, 0, false);
		if (r < 0) {
			assert_true(fired);
			assert_true(r == -EIO || r == -ENOMEM);
			fx_open(&fx);
		}
		expect_text(&fx, "d/mid", "middle");
		remove_scratch();
		assert_int_equal(open_files(), files);
	}
	assert_false(fired);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_eio),
		cmocka_unit_test(test_eio_persistent),
		cmocka_unit_test(test_enospc),
		cmocka_unit_test(test_enospc_persistent),
		cmocka_unit_test(test_enomem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
