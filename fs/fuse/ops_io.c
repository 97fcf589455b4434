/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on content: read, write, fallocate, seek, copy, sync. */
#include <errno.h>
#include <stdlib.h>

#include "fs/fuse/ops.h"
#include "fs/fuse/prefetch.h"
#include "fs/fuse/transport.h"

static void read_reply(fuse_req_t req, const void *buf, ssize_t n)
{
	if (n < 0) {
		ops_reply(req, (int)n);
		return;
	}
	(void)fuse_reply_buf(req, buf, (size_t)n);
}

/* In a worker: the disk may be waited for. */
static void do_read(struct job *j)
{
	void *buf = transport_reply_buf(j->size);

	read_reply(j->req, buf,
		   buf ? union_read(j->o->u, j->ino, buf, j->size, j->off) : -ENOMEM);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_read,
		.o = o,
		.req = req,
		.ino = ino,
		.size = size,
		.off = off,
	};
	void *buf = transport_reply_buf(size);
	ssize_t n;

	(void)fi;
	prefetch_read(o->prefetch, ino, off);
	n = buf ? union_read_nowait(o->u, ino, buf, size, off) : -ENOMEM;
	if (n == -EAGAIN)
		job_run(&j, true);
	else
		read_reply(req, buf, n);
}

static void do_write(struct job *j)
{
	struct union_attr keep = { .valid = UNION_SET_MODE };
	struct statx st;
	bool restore;
	ssize_t n;

	/* a write through a mapping, or by who may, leaves them */
	restore = !j->kill_priv && union_loses_priv(j->o->u, j->ino, &keep.mode);
	n = union_write(j->o->u, j->ino, j->data, j->size, j->off);
	if (n < 0) {
		ops_reply(j->req, (int)n);
		return;
	}
	if (restore)
		(void)union_setattr(j->o->u, j->ino, &keep, &st);
	/* before the reply: until then nobody executes what was written */
	ops_kill_priv(j->o, j->req, j->ino, j->kill_priv);
	(void)fuse_reply_write(j->req, (size_t)n);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_write,
		.o = o,
		.req = req,
		.ino = ino,
		.data = buf,
		.size = size,
		.off = off,
		.kill_priv = fi->kill_suidgid,
	};

	prefetch_write(o->prefetch, ino, fi->writepage);
	job_run(&j, union_change_is_slow(o->u, ino));
}

/* No flag says who it is that allocates or copies: whoever is not root loses the bits. */
static bool unprivileged(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid != 0;
}

static void do_fallocate(struct job *j)
{
	int r = prefetch_wait(j->o->prefetch, j->ino);

	if (!r)
		r = union_fallocate(j->o->u, j->ino, j->flags, j->off, (off_t)j->size);
	if (!r)
		ops_kill_priv(j->o, j->req, j->ino, j->kill_priv);
	ops_reply(j->req, r);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			 struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_fallocate,
		.o = o,
		.req = req,
		.ino = ino,
		.flags = mode,
		.off = off,
		.size = (size_t)len,
		.kill_priv = unprivileged(req),
	};
	bool wait = prefetch_gate(o->prefetch, ino);

	(void)fi;
	job_run(&j, wait || union_change_is_slow(o->u, ino));
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	off_t r;

	(void)fi;
	/*
	 * With writeback the kernel asks without writing its dirty pages first,
	 * and holes would be reported where they have data. Unanswered, it takes
	 * the file to have none.
	 */
	if (o->writeback) {
		ops_reply(req, -ENOSYS);
		return;
	}
	r = union_lseek(o->u, ino, off, whence);
	if (r < 0)
		ops_reply(req, (int)r);
	else
		(void)fuse_reply_lseek(req, r);
}

static void do_copy(struct job *j)
{
	ssize_t n = prefetch_wait(j->o->prefetch, j->ino2);

	if (!n)
		n = union_copy_range(j->o->u, j->ino, j->off, j->ino2, j->off2, j->size);
	if (n < 0) {
		/* the kernel then copies by reading and writing */
		ops_reply(j->req, n == -EINVAL || n == -EBADF ? -EXDEV : (int)n);
		return;
	}
	ops_kill_priv(j->o, j->req, j->ino2, j->kill_priv);
	(void)fuse_reply_write(j->req, (size_t)n);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in,
			       struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
			       struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_copy,
		.o = o,
		.req = req,
		.ino = in,
		.off = off_in,
		.ino2 = out,
		.off2 = off_out,
		.size = len,
		.kill_priv = unprivileged(req),
	};
	bool wait = prefetch_gate(o->prefetch, out);

	(void)fi_in;
	(void)fi_out;
	(void)flags;
	job_run(&j, wait || len > 1 << 20 || union_read_is_slow(o->u, in) ||
			    union_change_is_slow(o->u, out));
}

static void do_fsync(struct job *j)
{
	ops_reply(j->req, union_fsync(j->o->u, j->ino, j->flags));
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_fsync,
		.o = o,
		.req = req,
		.ino = ino,
		.flags = datasync,
	};

	(void)fi;
	/* without durability the kernel need not even ask */
	if (!o->fsync)
		ops_reply(req, -ENOSYS);
	else
		job_run(&j, true);
}

void ops_fill_io(struct fuse_lowlevel_ops *ops)
{
	ops->read = op_read;
	ops->write = op_write;
	ops->fallocate = op_fallocate;
	ops->lseek = op_lseek;
	ops->copy_file_range = op_copy_file_range;
	ops->fsync = op_fsync;
	ops->fsyncdir = op_fsync;
}
