/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on names: lookup, forget, readlink, create, remove, rename, link. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fuse/ops.h"

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct union_entry e;

	ops_reply_entry(req, union_lookup(ops_of(req)->u, parent, name, &e), &e);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	union_forget(ops_of(req)->u, ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	size_t i;

	for (i = 0; i < count; i++)
		union_forget(ops_of(req)->u, f[i].ino, f[i].nlookup);
	ops_gauges(ops_of(req), false);
	fuse_reply_none(req);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char *target;
	int r = union_readlink(ops_of(req)->u, ino, &target);

	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	(void)fuse_reply_readlink(req, target);
	free(target);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;

	ops_reply_entry(req, union_mknod(ops_of(req)->u, &c, parent, name, mode, rdev, &e), &e);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;

	ops_reply_entry(req, union_mkdir(ops_of(req)->u, &c, parent, name, mode, &e), &e);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct union_cred c = ops_cred(req);
	struct union_entry e;

	ops_reply_entry(req, union_symlink(ops_of(req)->u, &c, parent, name, target, &e), &e);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	ops_reply(req, union_unlink(ops_of(req)->u, parent, name));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	ops_reply(req, union_rmdir(ops_of(req)->u, parent, name));
}

static void do_rename(struct job *j)
{
	ops_reply(j->req, union_rename(j->o->u, j->ino, j->name, j->ino2, j->name2,
				       (unsigned)j->flags));
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_rename,
		.o = o,
		.req = req,
		.ino = parent,
		.name = name,
		.ino2 = newparent,
		.name2 = newname,
		.flags = (int)flags,
	};

	job_run(&j, union_name_is_slow(o->u, parent, name));
}

static void do_link(struct job *j)
{
	struct union_entry e;

	ops_reply_entry(j->req, union_link(j->o->u, j->ino, j->ino2, j->name, &e), &e);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_link,
		.o = o,
		.req = req,
		.ino = ino,
		.ino2 = newparent,
		.name = newname,
	};

	job_run(&j, union_change_is_slow(o->u, ino));
}

void ops_fill_names(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = op_lookup;
	ops->forget = op_forget;
	ops->forget_multi = op_forget_multi;
	ops->readlink = op_readlink;
	ops->mknod = op_mknod;
	ops->mkdir = op_mkdir;
	ops->symlink = op_symlink;
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->rename = op_rename;
	ops->link = op_link;
}
