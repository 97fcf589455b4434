/* SPDX-License-Identifier: Apache-2.0 */
/* plyfs: options, mount, daemonise, serve. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/fuse/daemon.h"
#include "fs/fuse/ops.h"
#include "fs/fuse/passthrough.h"
#include "fs/fuse/pool.h"
#include "fs/fuse/prefetch.h"
#include "fs/fuse/session.h"
#include "fs/fuse/stats.h"
#include "fs/options.h"
#include "fs/union/union.h"
#include "lib/cleanup.h"
#include "lib/log.h"

/* How long what was seen of a live upper is believed: seconds. */
#define LIVE_TIMEOUT 0.5

static int complain(const struct options *o, int r, char *err)
{
	log_err("%s", err ? err : strerror(-r));
	free(err);
	(void)o;
	return EXIT_FAILURE;
}

/* Whether the mount would hide a part of a lower from us, and we would ask ourselves for it. */
static bool mountpoint_inside_lower(const struct options *o)
{
	_cleanup_free_ char *mnt = realpath(o->mountpoint, NULL);
	size_t i;

	for (i = 0; mnt && i < o->n_lower; i++) {
		_cleanup_free_ char *low = realpath(o->lower[i], NULL);
		size_t len = low ? strlen(low) : 0;

		if (low && len == 1)
			return true;
		if (low && !strncmp(mnt, low, len) && mnt[len] == '/')
			return true;
	}
	return false;
}

static void fill_config(const struct options *o, bool live, struct union_config *c)
{
	memset(c, 0, sizeof(*c));
	c->lower = (const char *const *)o->lower;
	c->nlower = (unsigned)o->n_lower;
	c->upper = o->upper;
	c->work = o->work;
	c->ro = o->ro;
	c->lower_live = live;
	c->private_lower = o->mountpoint_in_lower ? UNION_PRIVATE_TRY : UNION_PRIVATE_NO;
	if (mountpoint_inside_lower(o))
		c->private_lower = UNION_PRIVATE_MUST;
	c->userxattr = o->userxattr == OPTIONS_ON;
	c->redirect = o->redirect_dir == OPTIONS_REDIRECT_ON;
	c->redirect_follow = o->redirect_dir != OPTIONS_REDIRECT_NOFOLLOW;
	c->metacopy = o->metacopy;
	c->index = o->index;
	c->sync = o->fsync && !o->is_volatile;
	c->wh_files = o->wh_files;
	c->static_nlink = o->static_nlink;
	c->ino32 = o->ino32;
	c->acl = o->acl != OPTIONS_OFF && !o->noxattr;
	c->xattr_permissions = o->xattr_permissions;
	c->squash_uid = o->squash_to_root || o->has_squash_uid;
	c->squash_gid = o->squash_to_root || o->has_squash_gid;
	c->squash_to_uid = o->has_squash_uid ? o->squash_uid : 0;
	c->squash_to_gid = o->has_squash_gid ? o->squash_gid : 0;
	_Static_assert(sizeof(struct union_idrange) == sizeof(struct options_id_range),
		       "the same three numbers");
	c->uidmap = (const struct union_idrange *)(const void *)o->uidmap.range;
	c->nuidmap = (unsigned)o->uidmap.n;
	c->gidmap = (const struct union_idrange *)(const void *)o->gidmap.range;
	c->ngidmap = (unsigned)o->gidmap.n;
	c->fd_budget = o->fd_budget;
	c->packed_cache = (size_t)o->packed_cache << 20;
}

static void fill_ops(const struct options *o, bool live, const struct union_config *c,
		     struct ops *ops)
{
	bool short_lived = live && !o->has_timeout;
	const char *why;

	ops->entry_timeout = short_lived ? LIVE_TIMEOUT : o->entry_timeout;
	ops->attr_timeout = short_lived ? LIVE_TIMEOUT : o->attr_timeout;
	ops->negative_timeout = short_lived ? LIVE_TIMEOUT : o->negative_timeout;
	ops->passthrough = o->passthrough == OPTIONS_PASSTHROUGH_ON     ? OPS_PASSTHROUGH_ON :
			   o->passthrough == OPTIONS_PASSTHROUGH_STRICT ? OPS_PASSTHROUGH_STRICT :
									  OPS_PASSTHROUGH_OFF;
	why = ops->passthrough != OPS_PASSTHROUGH_OFF ? passthrough_denied() : NULL;
	if (why) {
		log_warn("no passthrough %s: files are cached instead", why);
		ops->passthrough = OPS_PASSTHROUGH_OFF;
	}
	ops->live = live;
	ops->writeback = o->writeback;
	ops->acl = c->acl;
	ops->noxattr = o->noxattr;
	ops->fsync = c->sync;
	ops->max_write = o->max_write;
	ops->max_read = o->max_read;
	ops->max_readahead = o->max_readahead;
	ops->has_max_readahead = o->has_max_readahead;
	ops->max_background = o->max_background;
	ops->congestion_threshold = o->congestion_threshold;
}

/* What ready() is told. */
struct start {
	const struct options *o;
	struct ops *ops;
};

/* Reads ahead as much as one request carries, where we may say so: KiB. */
#define READ_AHEAD 1024

/* The kernel reads 128 KiB ahead of FUSE files; only root can have it read more. */
static void set_read_ahead(const struct options *o)
{
	_cleanup_free_ char *path = NULL;
	struct statx st;
	FILE *f;

	if (o->has_max_readahead ||
	    statx(AT_FDCWD, o->mountpoint, AT_STATX_DONT_SYNC, STATX_INO, &st) < 0 ||
	    asprintf(&path, "/sys/class/bdi/%u:%u/read_ahead_kb", st.stx_dev_major,
		     st.stx_dev_minor) < 0)
		return;
	f = fopen(path, "we");
	if (!f)
		return;
	(void)fprintf(f, "%d", READ_AHEAD);
	(void)fclose(f);
}

/* So that the counters are found by the mount: the kernel knows it without asking us. */
static void note_mount(const struct start *s)
{
	struct statx st;

	if (s->o->mount_fd < 0 &&
	    statx(AT_FDCWD, s->o->mountpoint, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0)
		stats_gauge_set(s->ops->stats, STATS_MOUNT_DEV,
				(int64_t)makedev(st.stx_dev_major, st.stx_dev_minor));
}

static int ready(void *arg)
{
	const struct start *s = arg;
	const struct options *o = s->o;

	/* here its complaints are still seen */
	if (s->ops->passthrough != OPS_PASSTHROUGH_OFF)
		(void)passthrough_usable(s->ops->pt,
					 fuse_session_fd(session_fuse(s->ops->session)));
	set_read_ahead(o);
	note_mount(s);
	if (!o->foreground)
		log_to_syslog();
	return daemon_ready();
}

static enum session_uring uring(const struct options *o)
{
	switch (o->io_uring) {
	case OPTIONS_URING_ON:
		return SESSION_URING_ON;
	case OPTIONS_URING_OFF:
		return SESSION_URING_OFF;
	case OPTIONS_URING_AUTO:
	default:
		return SESSION_URING_AUTO;
	}
}

/* Labels are for the kernel to judge, where it has SELinux and lets us. */
static unsigned mount_flags(void)
{
	unsigned flags = geteuid() == 0 ? OPTIONS_MNT_ROOT : 0;

	if (flags && access("/sys/fs/selinux/enforce", F_OK) == 0)
		flags |= OPTIONS_MNT_SELINUX;
	return flags;
}

/* Mounts and serves until the end. The exit code. */
static int serve(struct options *o, struct ops *ops)
{
	_cleanup_free_ char *mount_options = NULL;
	struct fuse_lowlevel_ops llops;
	struct session_config cfg = {
		.mountpoint = o->mountpoint,
		.debug = o->debug,
		.uring = uring(o),
		.uring_depth = o->io_uring_q_depth,
		.threads = o->threads,
		.spin_us = o->has_spin_us ? (o->spin_us ? (int)o->spin_us : -1) : 0,
		.stats = ops->stats,
		.log = log_line,
	};
	int r;

	r = options_mount_string(o, mount_flags(), &mount_options);
	if (r < 0)
		return EXIT_FAILURE;
	cfg.mount_options = mount_options;
	ops_fill(ops, &llops);
	r = session_new(&cfg, &llops, ops, &ops->session);
	if (!r)
		r = session_mount(ops->session);
	if (!r)
		prefetch_start(ops->prefetch, session_fuse(ops->session));
	if (!r)
		r = session_run(ops->session, ready, &(struct start){ .o = o, .ops = ops });
	if (r < 0)
		log_err("%s: %s", o->mountpoint, strerror(-r));
	prefetch_free(ops->prefetch);
	ops->prefetch = NULL;
	pool_free(ops->pool);
	ops->pool = NULL;
	session_free(ops->session);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The rules are those of prefetch.h. */
static bool may_prefetch(const struct options *o, const struct ops *ops)
{
	return o->prefetch && !ops->live && !ops->writeback &&
	       ops->passthrough == OPS_PASSTHROUGH_OFF && (!ops->noxattr || !o->upper || o->ro);
}

static int run(struct options *o)
{
	struct union_config cfg;
	struct ops ops = { 0 };
	bool live = (o->ro && o->upper) || o->has_timeout;
	char *err = NULL;
	int r;

	if (!o->foreground) {
		r = daemon_begin(o->mount_fd);
		if (r < 0)
			return complain(o, r, NULL);
	}
	session_block_signals();
	(void)umask(0);
	fill_config(o, live, &cfg);
	r = union_open(&cfg, &ops.u, &err);
	if (r < 0)
		return complain(o, r, err);
	fill_ops(o, live, &cfg, &ops);
	r = stats_open(o->stats, &ops.stats);
	if (r < 0) {
		log_err("stats=%s: %s", o->stats, strerror(-r));
		ops.stats = NULL;
	}
	if (!r)
		r = pool_new(0, 0, &ops.pool);
	if (!r && ops.passthrough != OPS_PASSTHROUGH_OFF)
		r = passthrough_new(ops.u, ops.passthrough == OPS_PASSTHROUGH_STRICT, &ops.pt);
	if (!r && may_prefetch(o, &ops))
		r = prefetch_new(ops.u, ops.pool, ops.stats, &ops.prefetch);
	r = r < 0 ? EXIT_FAILURE : serve(o, &ops);
	passthrough_free(ops.pt);
	stats_close(ops.stats);
	union_close(ops.u);
	return r;
}

static int print_stats(const char *path)
{
	int r = stats_print(stdout, path);

	if (r < 0)
		(void)fprintf(stderr, "plyfs: %s: %s\n", path,
			      r == -EINVAL ? "no counters of a plyfs mount" : strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct options o;
	char *err = NULL;
	size_t i;
	int r;

	/* buffers come and go in all threads: what is large is given back when it goes */
	(void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
	log_init(program_invocation_short_name, LOG_INFO);
	if (argc == 3 && !strcmp(argv[1], "--stats"))
		return print_stats(argv[2]);
	r = options_parse(argc, argv, &o, &err);
	if (r < 0)
		return complain(NULL, r, err);
	if (o.help)
		options_print_help(stdout, &o);
	if (o.version)
		options_print_version(stdout, &o, fuse_pkgversion(), FUSE_KERNEL_VERSION,
				      FUSE_KERNEL_MINOR_VERSION);
	if (o.help || o.version) {
		options_free(&o);
		return EXIT_SUCCESS;
	}
	if (o.debug)
		log_init(program_invocation_short_name, LOG_DEBUG);
	r = options_check(&o, &err);
	if (r < 0) {
		options_free(&o);
		return complain(NULL, r, err);
	}
	for (i = 0; i < o.n_warning; i++)
		log_warn("%s", o.warning[i]);
	r = run(&o);
	options_free(&o);
	return r;
}
