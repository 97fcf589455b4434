/* SPDX-License-Identifier: Apache-2.0 */
/* What all families of requests share, and the negotiation with the kernel. */
#include "fs/fuse/ops.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/fuse/passthrough.h"
#include "fs/fuse/pool.h"
#include "fs/fuse/session.h"
#include "fs/fuse/stats.h"
#include "fs/fuse/transport.h"
#include "lib/log.h"
#include "lib/sys.h"

void ops_stat(const struct statx *in, struct stat *out)
{
	memset(out, 0, sizeof(*out));
	out->st_ino = in->stx_ino;
	out->st_mode = in->stx_mode;
	out->st_nlink = in->stx_nlink;
	out->st_uid = in->stx_uid;
	out->st_gid = in->stx_gid;
	out->st_rdev = makedev(in->stx_rdev_major, in->stx_rdev_minor);
	out->st_size = (off_t)in->stx_size;
	out->st_blksize = (blksize_t)in->stx_blksize;
	out->st_blocks = (blkcnt_t)in->stx_blocks;
	out->st_atim.tv_sec = in->stx_atime.tv_sec;
	out->st_atim.tv_nsec = in->stx_atime.tv_nsec;
	out->st_mtim.tv_sec = in->stx_mtime.tv_sec;
	out->st_mtim.tv_nsec = in->stx_mtime.tv_nsec;
	out->st_ctim.tv_sec = in->stx_ctime.tv_sec;
	out->st_ctim.tv_nsec = in->stx_ctime.tv_nsec;
}

void ops_entry(const struct ops *o, const struct union_entry *in, struct fuse_entry_param *out)
{
	memset(out, 0, sizeof(*out));
	out->ino = in->nodeid;
	/* no node: a negative entry, for as long as those hold */
	if (!in->nodeid) {
		out->entry_timeout = o->negative_timeout;
		return;
	}
	out->generation = 1; /* ids are never used twice */
	out->entry_timeout = o->entry_timeout;
	out->attr_timeout = ops_attr_timeout(o, in->nodeid);
	ops_stat(&in->st, &out->attr);
}

struct union_cred ops_cred(fuse_req_t req)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	return (struct union_cred){
		.uid = c->uid,
		.gid = c->gid,
		.umask = c->umask,
		.pid = c->pid,
	};
}

void ops_reply(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, r < 0 ? -r : 0);
}

/* Requests between two looks at what the union holds. */
#define GAUGE_EVERY 256

void ops_gauges(struct ops *o, bool now)
{
	static atomic_uint calls;
	struct union_counts c;

	if (!now && atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) % GAUGE_EVERY)
		return;
	union_counts(o->u, &c);
	stats_gauge_set(o->stats, STATS_NODES, (int64_t)c.nodes);
	stats_gauge_set(o->stats, STATS_FDS, (int64_t)c.fds);
	stats_gauge_set(o->stats, STATS_COPYUPS, (int64_t)c.copy_ups);
	stats_gauge_set(o->stats, STATS_COPYUP_BYTES, (int64_t)c.copied_bytes);
	stats_gauge_set(o->stats, STATS_PACKED_CACHED, (int64_t)c.packed_cached);
	stats_gauge_set(o->stats, STATS_PACKED_HITS, (int64_t)c.packed_hits);
	stats_gauge_set(o->stats, STATS_PACKED_MISSES, (int64_t)c.packed_misses);
	stats_gauge_set(o->stats, STATS_PACKED_LOADED, (int64_t)c.packed_loaded);
}

void ops_reply_entry(fuse_req_t req, int r, const struct union_entry *e)
{
	struct ops *o = ops_of(req);
	struct fuse_entry_param p;

	ops_gauges(o, false);
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_entry(o, e, &p);
	/* -ENOENT: the caller was interrupted, and nobody will forget the node */
	if (fuse_reply_entry(req, &p) == -ENOENT && e->nodeid)
		union_forget(o->u, e->nodeid, 1);
}

double ops_attr_timeout(const struct ops *o, uint64_t ino)
{
	return o->pt && passthrough_written(o->pt, ino) ? 0 : o->attr_timeout;
}

void ops_reply_attr(fuse_req_t req, int r, uint64_t ino, const struct statx *st)
{
	struct stat s;

	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_stat(st, &s);
	(void)fuse_reply_attr(req, &s, ops_attr_timeout(ops_of(req), ino));
}

/* --- jobs ---------------------------------------------------------------- */

struct late {
	struct job j;
	struct transport_wait wait;
};

static void job_late(void *arg)
{
	struct late *late = arg;

	if (transport_wait_end(&late->wait))
		late->j.fn(&late->j);
	free(late);
}

void job_run(struct job *j, bool slow)
{
	struct late *late;
	bool ours = true;

	if (slow) {
		late = sys_malloc(sizeof(*late));
		if (late && transport_hold() == 0) {
			late->j = *j;
			transport_wait_begin(&late->wait, j->req);
			if (pool_submit(j->o->pool, job_late, late) == 0)
				return;
			ours = transport_wait_end(&late->wait);
		}
		free(late);
	}
	/* quick, or no worker to be had */
	if (ours)
		j->fn(j);
}

void ops_inval_attr(struct ops *o, uint64_t ino)
{
	int r = fuse_lowlevel_notify_inval_inode(session_fuse(o->session), ino, -1, 0);

	stats_gauge_add(o->stats, STATS_NOTIFIES, 1);
	if (r < 0 && r != -ENOENT)
		log_err("cannot invalidate the attributes of %s: %s", union_path(o->u, ino),
			strerror(-r));
}

void ops_kill_priv(struct ops *o, fuse_req_t req, uint64_t ino, bool force)
{
	struct union_cred who = ops_cred(req);
	int r = union_kill_priv(o->u, ino, force, &who);

	if (r < 0)
		log_err("cannot clear setuid of %s: %s", union_path(o->u, ino), strerror(-r));
	if (r)
		ops_inval_attr(o, ino);
}

/* --- the session --------------------------------------------------------- */

/*
 * The longest WRITE: bytes. What one brings stays in a CPU's cache until it is
 * in the backing file, and the backing file gets folios of this size: ext4 needs
 * time in proportion to a folio's size for each small write into it later. 1 MiB,
 * the most there is, was 10% slower in sequence, and 20% in small writes after it.
 */
#define MAX_WRITE (512U << 10)

void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct ops *o = userdata;

	/* with it, O_TRUNC would reach nobody: there is no OPEN */
	fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	fuse_unset_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
	if (!o->live) {
		fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
		(void)fuse_set_feature_flag(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	}
	/* default ACLs know better than the umask */
	(void)fuse_set_feature_flag(conn, FUSE_CAP_DONT_MASK);
	(void)fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	(void)fuse_set_feature_flag(conn, FUSE_CAP_CACHE_SYMLINKS);
	if (o->passthrough != OPS_PASSTHROUGH_OFF) {
		/* libfuse counts from 0 */
		conn->max_backing_stack_depth = passthrough_stack_depth(o->pt) - 1;
		if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
			log_warn("the kernel has no passthrough: files are cached instead");
			o->passthrough = OPS_PASSTHROUGH_OFF;
		}
	}
	/*
	 * Without it the kernel asks for security.capability before every write.
	 * What it writes by itself it tells us of by an empty SETATTR where setuid
	 * or setgid must go.
	 */
	(void)fuse_set_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	if (o->acl)
		(void)fuse_set_feature_flag(conn, FUSE_CAP_POSIX_ACL);
	if (o->writeback)
		(void)fuse_set_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);
	conn->max_write = o->max_write ? o->max_write : MAX_WRITE;
	if (o->max_read)
		conn->max_read = o->max_read;
	if (o->has_max_readahead)
		conn->max_readahead = o->max_readahead;
	conn->max_background = o->max_background ? o->max_background : 64;
	conn->congestion_threshold =
		o->congestion_threshold ? o->congestion_threshold : conn->max_background * 3 / 4;
	/* the transport sees to it */
	conn->no_interrupt = 1;
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statfs s;
	struct statvfs v;
	int r = union_statfs(ops_of(req)->u, &s);

	(void)ino;
	ops_gauges(ops_of(req), true);
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	memset(&v, 0, sizeof(v));
	v.f_bsize = (unsigned long)s.f_bsize;
	v.f_frsize = (unsigned long)(s.f_frsize ? s.f_frsize : s.f_bsize);
	v.f_blocks = s.f_blocks;
	v.f_bfree = s.f_bfree;
	v.f_bavail = s.f_bavail;
	v.f_files = s.f_files;
	v.f_ffree = s.f_ffree;
	v.f_favail = s.f_ffree;
	v.f_namemax = (unsigned long)s.f_namelen;
	(void)fuse_reply_statfs(req, &v);
}

void ops_fill(const struct ops *o, struct fuse_lowlevel_ops *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->init = ops_init;
	ret->statfs = op_statfs;
	ops_fill_names(ret);
	ops_fill_attr(o, ret);
	ops_fill_io(ret);
	ops_fill_dir(ret);
	ops_fill_open(o, ret);
}
