/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest file system on top of fs/fuse: tests and measurements of the
 * transport have nothing else in the way.
 *
 *	nullfs MOUNTPOINT [KEY=VALUE]...
 *
 *	foreground=1 threads=N spin=US uring=auto|on|off depth=N stats=FILE
 *	opts=MOUNT_OPTIONS pid=FILE (written when ready)
 *	fail=init|ready|early|signal (fail at that point)
 *
 * Its root shows, without listing them:
 *	null*		empty files, looked up anew every time (timeouts are 0)
 *	warm*		the same, cached for ever
 *	none*		missing, asked for every time
 *	slow<MS>*	as null*, answered by a worker after MS milliseconds
 *	park<MS>*	as slow<MS>*, and until then the request counts as waiting
 *	block<MS>*	as null*, but the handler itself sleeps
 *	data		16 MiB; byte i is (i * 167 + (i >> 8)) & 0xff. Reads give
 *			that; a write of anything else is EIO. No page cache
 *	held		the same, but written and read in a worker
 *	floor-read	64 MiB of nothing in particular, cached by the kernel: what
 *			it takes to read a file if the daemon does nothing
 *	floor-write	empty; what is written is dropped, for the same purpose
 *	dying		a lookup ends the daemon by SIGKILL
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "fs/fuse/daemon.h"
#include "fs/fuse/fuse_ll.h"
#include "fs/fuse/pool.h"
#include "fs/fuse/session.h"
#include "fs/fuse/stats.h"
#include "fs/fuse/transport.h"
#include "lib/log.h"

#define DATA_SIZE (16L << 20)
#define FLOOR_SIZE (64L << 20)

enum ino { ROOT = 1,
	   NULLS,
	   WARM,
	   DATA,
	   HELD,
	   FLOOR_READ,
	   FLOOR_WRITE };

static struct pool *pool;
static const char *fail_at = "";
static const char *pid_file;

static void fill_attr(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = 1;
	st->st_mode = ino == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_uid = getuid();
	st->st_gid = getgid();
	if (ino == DATA || ino == HELD)
		st->st_size = DATA_SIZE;
	else if (ino == FLOOR_READ)
		st->st_size = FLOOR_SIZE;
}

static unsigned char pattern(off_t i)
{
	return (unsigned char)(i * 167 + (i >> 8));
}

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static void reply_entry(fuse_req_t req, fuse_ino_t ino)
{
	struct fuse_entry_param e = { .ino = ino };

	fill_attr(ino, &e.attr);
	if (ino != NULLS)
		e.entry_timeout = e.attr_timeout = 1e9;
	fuse_reply_entry(req, &e);
}

struct job {
	struct transport_wait wait;
	fuse_req_t req;
	bool parked;
	long ms;
	bool write;
	const char *buf;
	size_t size;
	off_t off;
};

static void submit(fuse_req_t req, void (*fn)(void *arg), struct job job)
{
	struct job *j = malloc(sizeof(*j));

	int r;

	if (!j) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*j = job;
	r = transport_hold();
	if (j->parked && r == 0)
		transport_wait_begin(&j->wait, req);
	if (r == -EOPNOTSUPP) {
		j->parked = false;
		fn(j); /* here, then */
		return;
	}
	if (r) {
		free(j);
		fuse_reply_err(req, -r);
		return;
	}
	if (pool_submit(pool, fn, j)) {
		if (!j->parked || transport_wait_end(&j->wait))
			fuse_reply_err(req, EAGAIN);
		free(j);
	}
}

static void slow_lookup(void *arg)
{
	struct job *j = arg;

	sleep_ms(j->ms);
	if (!j->parked || transport_wait_end(&j->wait))
		reply_entry(j->req, NULLS);
	free(j);
}

static void nullfs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	if (strncmp(name, "null", 4) == 0) {
		reply_entry(req, NULLS);
	} else if (strncmp(name, "warm", 4) == 0) {
		reply_entry(req, WARM);
	} else if (strcmp(name, "data") == 0) {
		reply_entry(req, DATA);
	} else if (strcmp(name, "held") == 0) {
		reply_entry(req, HELD);
	} else if (strcmp(name, "floor-read") == 0) {
		reply_entry(req, FLOOR_READ);
	} else if (strcmp(name, "floor-write") == 0) {
		reply_entry(req, FLOOR_WRITE);
	} else if (strncmp(name, "slow", 4) == 0) {
		submit(req, slow_lookup,
		       (struct job){ .req = req, .ms = strtol(name + 4, NULL, 10) });
	} else if (strncmp(name, "park", 4) == 0) {
		submit(req, slow_lookup,
		       (struct job){ .req = req,
				     .parked = true,
				     .ms = strtol(name + 4, NULL, 10) });
	} else if (strncmp(name, "block", 5) == 0) {
		sleep_ms(strtol(name + 5, NULL, 10));
		reply_entry(req, NULLS);
	} else if (strcmp(name, "dying") == 0) {
		raise(SIGKILL);
	} else {
		fuse_reply_err(req, ENOENT);
	}
}

static void nullfs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_attr(ino, &st);
	fuse_reply_attr(req, &st, ino == NULLS ? 0 : 1e9);
}

static void nullfs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
			   int to_set, struct fuse_file_info *fi)
{
	(void)attr;
	(void)to_set;
	nullfs_getattr(req, ino, fi);
}

static void nullfs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096, .f_namemax = 255 };

	(void)ino;
	fuse_reply_statfs(req, &st);
}

static void nullfs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->direct_io = ino == DATA || ino == HELD;
	fuse_reply_open(req, fi);
}

static void do_read(fuse_req_t req, size_t size, off_t off)
{
	unsigned char *buf = transport_reply_buf(size);

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (off >= DATA_SIZE)
		size = 0;
	else if ((off_t)size > DATA_SIZE - off)
		size = (size_t)(DATA_SIZE - off);
	for (size_t i = 0; i < size; i++)
		buf[i] = pattern(off + (off_t)i);
	fuse_reply_buf(req, (char *)buf, size);
}

static void do_write(fuse_req_t req, const char *buf, size_t size, off_t off)
{
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)buf[i] != pattern(off + (off_t)i)) {
			fuse_reply_err(req, EIO);
			return;
		}
	}
	fuse_reply_write(req, size);
}

static void held_io(void *arg)
{
	struct job *j = arg;

	sleep_ms(2);
	if (j->write)
		do_write(j->req, j->buf, j->size, j->off);
	else
		do_read(j->req, j->size, j->off);
	free(j);
}

static void nullfs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	(void)fi;
	if (ino == HELD)
		submit(req, held_io,
		       (struct job){ .req = req, .size = size, .off = off });
	else if (ino == DATA)
		do_read(req, size, off);
	else if (ino == FLOOR_READ)
		fuse_reply_buf(req, transport_reply_buf(size), size);
	else
		fuse_reply_buf(req, NULL, 0);
}

static void nullfs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
			 off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	if (ino == HELD)
		submit(req, held_io,
		       (struct job){ .req = req,
				     .write = true,
				     .buf = buf,
				     .size = size,
				     .off = off });
	else if (ino == FLOOR_WRITE)
		fuse_reply_write(req, size);
	else
		do_write(req, buf, size, off);
}

static void nullfs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	(void)count;
	(void)f;
	fuse_reply_none(req);
}

static void nullfs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino;
	(void)nlookup;
	fuse_reply_none(req);
}

static void nullfs_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	conn->max_write = 512 << 10; /* as plyfs */
	conn->no_interrupt = 1;
	if (strcmp(fail_at, "init") == 0)
		conn->want_ext |= 1ULL << 63; /* libfuse refuses */
}

static const struct fuse_lowlevel_ops ops = {
	.init = nullfs_init,
	.lookup = nullfs_lookup,
	.forget = nullfs_forget,
	.forget_multi = nullfs_forget_multi,
	.getattr = nullfs_getattr,
	.setattr = nullfs_setattr,
	.open = nullfs_open,
	.read = nullfs_read,
	.write = nullfs_write,
	.statfs = nullfs_statfs,
};

static int ready(void *arg)
{
	(void)arg;
	if (strcmp(fail_at, "ready") == 0) {
		log_err("failing as told");
		return -EIO;
	}
	if (pid_file) {
		FILE *f = fopen(pid_file, "we");

		if (!f)
			return -errno;
		fprintf(f, "%d\n", (int)getpid());
		fclose(f);
	}
	return daemon_ready();
}

static const char *value_of(const char *arg, const char *key)
{
	size_t n = strlen(key);

	return strncmp(arg, key, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

int main(int argc, char *argv[])
{
	struct session_config cfg = { .log = log_line };
	const char *stats_file = NULL, *v;
	struct session *s = NULL;
	bool foreground = false;
	int r;

	if (argc < 2)
		return 2;
	cfg.mountpoint = argv[1];
	cfg.mount_options = "default_permissions,allow_other,fsname=nullfs,subtype=plyfs";
	for (int i = 2; i < argc; i++) {
		if ((v = value_of(argv[i], "foreground")))
			foreground = *v == '1';
		else if ((v = value_of(argv[i], "debug")))
			cfg.debug = *v == '1';
		else if ((v = value_of(argv[i], "threads")))
			cfg.threads = (unsigned int)strtoul(v, NULL, 10);
		else if ((v = value_of(argv[i], "spin")))
			cfg.spin_us = (int)strtol(v, NULL, 10);
		else if ((v = value_of(argv[i], "depth")))
			cfg.uring_depth = (unsigned int)strtoul(v, NULL, 10);
		else if ((v = value_of(argv[i], "uring")))
			cfg.uring = strcmp(v, "on") == 0  ? SESSION_URING_ON :
				    strcmp(v, "off") == 0 ? SESSION_URING_OFF :
							    SESSION_URING_AUTO;
		else if ((v = value_of(argv[i], "stats")))
			stats_file = v;
		else if ((v = value_of(argv[i], "opts")))
			cfg.mount_options = v;
		else if ((v = value_of(argv[i], "pid")))
			pid_file = v;
		else if ((v = value_of(argv[i], "fail")))
			fail_at = v;
		else
			return 2;
	}
	log_init("nullfs", LOG_INFO);
	if (!foreground && daemon_begin(-1))
		return 1;
	if (strcmp(fail_at, "early") == 0) {
		fprintf(stderr, "failing early, as told\n");
		return 7;
	}
	if (strcmp(fail_at, "signal") == 0)
		raise(SIGKILL);
	session_block_signals();
	r = stats_open(stats_file, &cfg.stats);
	if (r == 0)
		r = pool_new(0, 0, &pool);
	if (r == 0)
		r = session_new(&cfg, &ops, NULL, &s);
	if (r == 0)
		r = session_mount(s);
	if (r == 0)
		r = session_run(s, ready, NULL);
	if (r < 0)
		log_err("%s", strerror(-r));
	pool_free(pool);
	session_free(s);
	stats_close(cfg.stats);
	/* Tests see how it ended: 0 unmounted, 100 + signal, 1 failed. */
	return r < 0 ? 1 : r > 0 ? 100 + r :
				   0;
}
