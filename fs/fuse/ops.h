/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE requests, answered from the union. One ops_*.c per family; each
 * handler replies exactly once, here or, where the work may take long, from a
 * worker of the pool.
 */
#ifndef PLYFS_FS_FUSE_OPS_H
#define PLYFS_FS_FUSE_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/fuse/fuse_ll.h"
#include "fs/union/union.h"

struct pool;
struct session;
struct stats;
struct prefetch;

enum ops_passthrough {
	OPS_PASSTHROUGH_OFF, /* the zero-message mode */
	OPS_PASSTHROUGH_ON,
	OPS_PASSTHROUGH_STRICT, /* uppers only */
};

/* A mount: what fuse_req_userdata() returns. Constant once requests come. */
struct ops {
	struct union_fs *u;
	struct session *session; /* set after session_new() */
	struct pool *pool;
	struct stats *stats;
	struct prefetch *prefetch; /* NULL: off */
	struct passthrough *pt; /* NULL: off */
	double entry_timeout, attr_timeout, negative_timeout;
	enum ops_passthrough passthrough;
	bool live; /* layers may change: the caches must ask */
	bool writeback, acl, noxattr, fsync;
	unsigned max_write, max_readahead, max_background, congestion_threshold, max_read;
	bool has_max_readahead;
};

/* Fills in all handlers that this mount has. */
void ops_fill(const struct ops *o, struct fuse_lowlevel_ops *ret);

static inline struct ops *ops_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* struct statx to what libfuse takes. */
void ops_stat(const struct statx *in, struct stat *out);
/* An entry as libfuse takes it, with the mount's timeouts. */
void ops_entry(const struct ops *o, const struct union_entry *in, struct fuse_entry_param *out);
struct union_cred ops_cred(fuse_req_t req);

/* Brings the gauges of nodes, descriptors and copy-ups up to date: @now, or now and then. */
void ops_gauges(struct ops *o, bool now);

/* Replies with an error (0 or -errno). */
void ops_reply(fuse_req_t req, int r);
/* Replies with @e if @r is 0; takes its lookup back when the kernel has gone. */
void ops_reply_entry(fuse_req_t req, int r, const struct union_entry *e);
void ops_reply_attr(fuse_req_t req, int r, uint64_t ino, const struct statx *st);
/* How long the kernel may believe the attributes of @ino: seconds. */
double ops_attr_timeout(const struct ops *o, uint64_t ino);

/* A request that may be done by a worker. */
struct job {
	void (*fn)(struct job *j); /* does it and replies */
	struct ops *o;
	fuse_req_t req;
	uint64_t ino, ino2;
	off_t off, off2;
	size_t size;
	const char *name, *name2;
	const void *data;
	int flags;
	bool kill_priv;
	struct union_attr attr;
};

/* Does @j here, or, if @slow, later: its pointers stay valid until it replies. */
void job_run(struct job *j, bool slow);

/* Tells the kernel to ask for the attributes of @ino anew. */
void ops_inval_attr(struct ops *o, uint64_t ino);
/* Clears setuid and setgid after @ino was written, as the kernel leaves it to us. */
void ops_kill_priv(struct ops *o, fuse_req_t req, uint64_t ino, bool force);

/* The families. */
void ops_fill_names(struct fuse_lowlevel_ops *ops);
void ops_fill_attr(const struct ops *o, struct fuse_lowlevel_ops *ops);
void ops_fill_io(struct fuse_lowlevel_ops *ops);
void ops_fill_dir(struct fuse_lowlevel_ops *ops);
void ops_fill_open(const struct ops *o, struct fuse_lowlevel_ops *ops);
void ops_init(void *userdata, struct fuse_conn_info *conn);

#endif
