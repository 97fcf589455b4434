/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening. In the zero-message mode there is no such thing: ENOSYS, once, and
 * the kernel opens files and directories without us for good. What it still
 * sends is CREATE and TMPFILE, which also make the file.
 *
 * In passthrough mode files are opened and released; directories and FLUSH
 * are as above.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/fuse/ops.h"
#include "fs/fuse/passthrough.h"
#include "fs/fuse/session.h"

static void no_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	ops_reply(req, -ENOSYS);
}

/* For what was created before the kernel had its first ENOSYS. */
static void no_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	ops_reply(req, 0);
}

static bool usable(struct ops *o)
{
	return o->pt && o->passthrough != OPS_PASSTHROUGH_OFF &&
	       passthrough_usable(o->pt, fuse_session_fd(session_fuse(o->session)));
}

static bool for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static void fill_open(const struct passthrough_file *f, struct fuse_file_info *fi)
{
	fi->fh = f->fh;
	fi->backing_id = f->backing_id;
	fi->keep_cache = f->keep_cache;
}

static void do_open(struct job *j)
{
	struct fuse_file_info fi = { .flags = j->flags };
	struct passthrough_file f;
	int r = 0;

	if (for_writing(j->flags))
		r = union_may_open(j->o->u, j->ino, j->flags & O_APPEND);
	if (!r)
		r = passthrough_open(j->o->pt, j->ino, for_writing(j->flags), &f);
	if (r < 0) {
		ops_reply(j->req, r);
		return;
	}
	/* before the reply: what is stored through a mapping changes them unseen */
	if (f.first_writer)
		ops_inval_attr(j->o, j->ino);
	fill_open(&f, &fi);
	/* the kernel has gone: there will be no release */
	if (fuse_reply_open(j->req, &fi) < 0)
		passthrough_release(j->o->pt, j->ino, f.fh);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_open,
		.o = o,
		.req = req,
		.ino = ino,
		.flags = fi->flags,
	};

	if (!usable(o))
		ops_reply(req, -ENOSYS);
	else
		do_open(&j);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);

	if (usable(o))
		passthrough_release(o->pt, ino, fi->fh);
	ops_reply(req, 0);
}

/* A file just made, which is open as well. */
static void reply_create(fuse_req_t req, int r, const struct union_entry *e,
			 struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct passthrough_file f = { .keep_cache = true };
	bool opened = false;
	struct fuse_entry_param p;

	if (!r && usable(o)) {
		r = passthrough_open(o->pt, e->nodeid, for_writing(fi->flags), &f);
		opened = !r;
		/* it exists, and can be opened when that is possible again */
		if (r < 0)
			union_forget(o->u, e->nodeid, 1);
	}
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_entry(o, e, &p);
	fill_open(&f, fi);
	if (fuse_reply_create(req, &p, fi) < 0) {
		if (opened)
			passthrough_release(o->pt, e->nodeid, f.fh);
		union_forget(o->u, e->nodeid, 1);
	}
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;
	int r;

	mode = S_IFREG | (mode & 07777);
	r = union_mknod(ops_of(req)->u, &c, parent, name, mode, 0, &e);
	reply_create(req, r, &e, fi);
}

static void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;

	reply_create(req, union_tmpfile(ops_of(req)->u, &c, parent, mode, &e), &e, fi);
}

void ops_fill_open(const struct ops *o, struct fuse_lowlevel_ops *ops)
{
	bool files = o->pt != NULL;

	ops->open = files ? op_open : no_open;
	ops->opendir = no_open;
	ops->flush = no_open;
	ops->release = files ? op_release : no_release;
	ops->releasedir = no_release;
	ops->create = op_create;
	ops->tmpfile = op_tmpfile;
}
