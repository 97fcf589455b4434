/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening. In the zero-message mode there is no such thing: ENOSYS, once, and
 * the kernel opens files and directories without us for good. What it still
 * sends is CREATE and TMPFILE, which also make the file.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/fuse/ops.h"

static void no_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	ops_reply(req, -ENOSYS);
}

/* For what was created before the kernel had its first ENOSYS. */
static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	ops_reply(req, 0);
}

static void reply_create(fuse_req_t req, int r, const struct union_entry *e,
			 struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct fuse_entry_param p;

	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_entry(o, e, &p);
	fi->fh = 0;
	fi->keep_cache = 1;
	if (fuse_reply_create(req, &p, fi) == -ENOENT)
		union_forget(o->u, e->nodeid, 1);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;

	reply_create(req, union_mknod(ops_of(req)->u, &c, parent, name,
				      S_IFREG | (mode & 07777), 0, &e), &e, fi);
}

static void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;

	reply_create(req, union_tmpfile(ops_of(req)->u, &c, parent, mode, &e), &e, fi);
}

void ops_fill_open(const struct ops *o, struct fuse_lowlevel_ops *ops)
{
	(void)o;
	ops->open = no_open;
	ops->opendir = no_open;
	ops->flush = no_open;
	ops->release = op_release;
	ops->releasedir = op_release;
	ops->create = op_create;
	ops->tmpfile = op_tmpfile;
}
