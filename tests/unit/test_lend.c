/* SPDX-License-Identifier: Apache-2.0 */
/* Directories and files that their owner has shut, and who has them open: as a plain user. */
#include "union.h"

#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define USER 65534
#define MANY 24 /* more than the budget of descriptors */

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	fx_init(&fx);
	fx.cfg.userxattr = true;
	fx.cfg.fd_budget = 8;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fx_done(&fx);
	return 0;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(fx.dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

static struct statx chmod_node(uint64_t id, mode_t mode)
{
	struct union_attr a = { .valid = UNION_SET_MODE, .mode = mode };
	struct statx st;

	assert_int_equal(union_setattr(fx.u, id, &a, &st), 0);
	assert_int_equal(st.stx_mode & 07777, mode);
	return st;
}

static void make_many(void)
{
	char spec[32];
	unsigned i;

	make(&fx, "l1", "d many", NULL);
	for (i = 0; i < MANY; i++) {
		(void)snprintf(spec, sizeof(spec), "d many/%u", i);
		make(&fx, "l1", spec, NULL);
		(void)snprintf(spec, sizeof(spec), "f many/%u/f x", i);
		make(&fx, "l1", spec, NULL);
	}
}

/* Has the cache close everything else. */
static void evict(void)
{
	char path[32], buf[1];
	struct union_entry e;
	unsigned i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), "many/%u/f", i);
		assert_int_equal(look(&fx, path, &e), 0);
		assert_int_equal(union_read(fx.u, e.nodeid, buf, 1, 0), 1);
		fx_forget(&fx);
	}
}

static bool same(struct statx_timestamp a, struct statx_timestamp b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* What is held here is not forgotten by evict(). */
static uint64_t keep(const char *path)
{
	uint64_t id = node(&fx, path);

	fx.nheld--;
	return id;
}

static void test_shut_above(void **state)
{
	static const mode_t modes[] = { 0600, 0, 0500 };
	struct statx shut, st;
	uint64_t d, e, f;
	unsigned i;

	(void)state;
	make_many();
	make(&fx, "up", "d d", "d d/e", "f d/e/f text", NULL);
	fx_open(&fx);
	for (i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		d = keep("d");
		e = keep("d/e");
		f = keep("d/e/f");
		(void)chmod_node(e, modes[i]);
		shut = chmod_node(d, modes[i]);
		evict();
		expect_node_text(&fx, f, "text");
		evict();
		write_node(&fx, f, "T", 0);
		evict();
		assert_int_equal(union_getattr(fx.u, f, &st), 0);
		write_node(&fx, f, "t", 0);
		evict();
		/* nothing of that is seen */
		assert_int_equal(union_getattr(fx.u, d, &st), 0);
		assert_int_equal(st.stx_mode & 07777, modes[i]);
		assert_true(same(st.stx_ctime, shut.stx_ctime));
		assert_int_equal(mode_of("up/d"), modes[i]);
		(void)chmod_node(d, 0700);
		assert_int_equal(mode_of("up/d/e"), modes[i]);
		(void)chmod_node(e, 0755);
		assert_int_equal(union_getattr(fx.u, d, &st), 0);
		assert_int_equal(st.stx_mode & 07777, 0700);
		assert_false(is_there(&fx, "work/lent/0"));
		union_forget(fx.u, f, 1);
		union_forget(fx.u, e, 1);
		union_forget(fx.u, d, 1);
		fx_forget(&fx);
	}
}

/* The file itself denies its owner, and so does what it is in. */
static void test_shut_file(void **state)
{
	struct statx st;
	uint64_t d, f;

	(void)state;
	make_many();
	make(&fx, "up", "d d", "f d/f text", NULL);
	fx_open(&fx);
	d = keep("d");
	f = keep("d/f");
	(void)chmod_node(f, 0);
	(void)chmod_node(d, 0600);
	evict();
	expect_node_text(&fx, f, "text");
	evict();
	write_node(&fx, f, "T", 0);
	assert_int_equal(union_getattr(fx.u, f, &st), 0);
	assert_int_equal(st.stx_mode & 07777, 0);
	(void)chmod_node(d, 0700);
	assert_int_equal(mode_of("up/d/f"), 0);
	union_forget(fx.u, f, 1);
	union_forget(fx.u, d, 1);
}

/* A lower file that is open is copied up into what is shut by then. */
static void test_copy_up_into(void **state)
{
	uint64_t d, f;

	(void)state;
	make_many();
	make(&fx, "l1", "d d", "f d/f text", NULL);
	fx_open(&fx);
	d = keep("d");
	f = keep("d/f");
	(void)chmod_node(d, 0);
	evict();
	write_node(&fx, f, "T", 0);
	expect_node_text(&fx, f, "Text");
	assert_int_equal(mode_of("up/d"), 0);
	(void)chmod_node(d, 0700);
	unit_expect(fx.dir, "up/d/f", "Text");
	union_forget(fx.u, f, 1);
	union_forget(fx.u, d, 1);
}

static int expect_ino(void *arg, const char *name, uint64_t cookie, const struct union_entry *e)
{
	uint64_t *ino = arg;

	(void)cookie;
	if (name[0] == 'a' || name[0] == 'b')
		assert_int_equal(e->st.stx_ino, ino[name[0] - 'a']);
	if (e->nodeid)
		union_forget(fx.u, e->nodeid, 1);
	return 0;
}

/* Names may be listed without the permission to search. */
static void test_list(void **state)
{
	uint64_t d, ino[2];
	struct listing l;

	(void)state;
	make(&fx, "l1", "d d", "f d/a text", NULL);
	make(&fx, "up", "d d", "f d/b text", "s d/link a", NULL);
	fx_open(&fx);
	ino[0] = attrs(&fx, "d/a").stx_ino;
	ino[1] = attrs(&fx, "d/b").stx_ino;
	fx_forget(&fx);
	d = keep("d");
	(void)chmod_node(d, 0600);
	list(&fx, "d", 100, &l);
	assert_int_equal(names_listed(&l), 3);
	assert_true(union_readdir(fx.u, d, 0, false, expect_ino, ino) >= 0);
	assert_true(union_readdir(fx.u, d, 0, true, expect_ino, ino) >= 0);
	(void)chmod_node(d, 0);
	list(&fx, "d", 100, &l);
	assert_int_equal(names_listed(&l), 3);
	assert_int_equal(mode_of("up/d"), 0);
	(void)chmod_node(d, 0700);
	union_forget(fx.u, d, 1);
}

/* What a daemon had lent when it was killed is taken back by the next. */
static void test_repair(void **state)
{
	char target[64];
	struct stat st;
	int dir;

	(void)state;
	make(&fx, "up", "d d", "d d/e", "d f", NULL);
	dir = openat(fx.dir, "up", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	assert_int_equal(mkdirat(fx.dir, "work/lent", 0700), 0);
	assert_int_equal(fstatat(dir, "d", &st, 0), 0);
	(void)snprintf(target, sizeof(target), "600 %lu d", st.st_ino);
	assert_int_equal(symlinkat(target, fx.dir, "work/lent/0"), 0);
	assert_int_equal(fstatat(dir, "d/e", &st, 0), 0);
	(void)snprintf(target, sizeof(target), "0 %lu d/e", st.st_ino);
	assert_int_equal(symlinkat(target, fx.dir, "work/lent/1"), 0);
	/* of another inode: not meant */
	(void)snprintf(target, sizeof(target), "0 %lu f", st.st_ino);
	assert_int_equal(symlinkat(target, fx.dir, "work/lent/2"), 0);
	assert_int_equal(symlinkat("0 1 ../../etc", fx.dir, "work/lent/3"), 0);
	assert_int_equal(symlinkat("nonsense", fx.dir, "work/lent/4"), 0);
	assert_int_equal(fchmodat(dir, "d/e", 0700, 0), 0);
	assert_int_equal(fchmodat(dir, "d", 0700, 0), 0);
	assert_int_equal(fchmodat(dir, "f", 0700, 0), 0);
	assert_int_equal(close(dir), 0);
	fx_open(&fx);
	assert_int_equal(mode_of("up/f"), 0700);
	assert_int_equal(mode_of("up/d"), 0600);
	assert_false(is_there(&fx, "work/lent/0") || is_there(&fx, "work/lent/4"));
	(void)chmod_node(node(&fx, "d"), 0700);
	assert_int_equal(mode_of("up/d/e"), 0);
}

/* Reads what is shut, over and over, until killed. */
static void read_shut(void)
{
	uint64_t d, e, f;

	fx_open(&fx);
	d = keep("d");
	(void)chmod_node(d, 0711);
	e = keep("d/e");
	(void)chmod_node(e, 0711);
	f = keep("d/e/f");
	(void)chmod_node(e, 0070);
	(void)chmod_node(d, 0610);
	for (;;) {
		expect_node_text(&fx, f, "text");
		evict();
	}
}

/* The same with real loans, killed at any moment. */
static void test_kill(void **state)
{
	mode_t mode;
	unsigned i;
	pid_t pid;
	int status;

	(void)state;
	make_many();
	make(&fx, "up", "d d", "d d/e", "f d/e/f text", NULL);
	for (i = 0; i < 40; i++) {
		struct timespec nap = { .tv_nsec = 20000000 + (long)i * 130000 };

		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			read_shut();
		}
		(void)nanosleep(&nap, NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		fx_open(&fx);
		mode = mode_of("up/d");
		assert_true(mode == 0755 || mode == 0711 || mode == 0610);
		(void)chmod_node(node(&fx, "d"), 0711);
		mode = mode_of("up/d/e");
		assert_true(mode == 0755 || mode == 0711 || mode == 0070);
		fx_close(&fx);
	}
	fx_open(&fx);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_shut_above),
		T(test_shut_file),
		T(test_copy_up_into),
		T(test_list),
		T(test_repair),
		T(test_kill),
	};
	char base[] = "/var/tmp/plyfs-lend.XXXXXX", command[128];
	int status;
	pid_t pid;

	/* a scratch directory of the user's own, wherever the runner's is; root removes it */
	if (!mkdtemp(base) || chown(base, USER, USER) || setenv("TESTTMP", base, 1)) {
		perror(base);
		return 1;
	}
	pid = fork();
	if (pid == 0) {
		if (setgroups(0, NULL) || setgid(USER) || setuid(USER)) {
			perror("to be a plain user");
			return 1;
		}
		return cmocka_run_group_tests(tests, NULL, NULL);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	(void)snprintf(command, sizeof(command), "rm -rf %s", base);
	if (system(command))
		perror(base);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
