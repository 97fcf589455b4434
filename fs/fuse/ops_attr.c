/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on attributes: getattr, statx, setattr, extended attributes, flags. */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fs/fuse/ops.h"
#include "fs/fuse/prefetch.h"
#include "fs/fuse/transport.h"

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct statx st;

	(void)fi;
	ops_reply_attr(req, union_getattr(ops_of(req)->u, ino, &st), ino, &st);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct statx st;
	int r = union_getattr(ops_of(req)->u, ino, &st);

	(void)flags;
	(void)mask;
	(void)fi;
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_statx(req, 0, &st, ops_attr_timeout(ops_of(req), ino));
}
#endif

static void do_setattr(struct job *j)
{
	struct statx st;
	int r = prefetch_wait(j->o->prefetch, j->ino);

	if (!r)
		r = union_setattr(j->o->u, j->ino, &j->attr, &st);
	ops_reply_attr(j->req, r, j->ino, &st);
}

static void set_time(int to_set, int bit, int now_bit, const struct timespec *in, unsigned flag,
		     struct union_attr *a, struct timespec *out)
{
	if (!(to_set & (bit | now_bit)))
		return;
	a->valid |= flag;
	*out = *in;
	if (to_set & now_bit)
		out->tv_nsec = UTIME_NOW;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_setattr,
		.o = o,
		.req = req,
		.ino = ino,
	};
	struct union_attr *a = &j.attr;
	bool wait = prefetch_gate(o->prefetch, ino);

	(void)fi;
	if (to_set & FUSE_SET_ATTR_MODE)
		a->valid |= UNION_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		a->valid |= UNION_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		a->valid |= UNION_SET_GID;
	if (to_set & FUSE_SET_ATTR_SIZE)
		a->valid |= UNION_SET_SIZE;
	/*
	 * Nothing to set, or with writeback but ctime: a chown(-1, -1), or a
	 * write, that takes the bits away.
	 */
	if (to_set & FUSE_SET_ATTR_KILL_SUID || !(to_set & ~FUSE_SET_ATTR_CTIME))
		a->valid |= UNION_SET_KILL_PRIV;
	set_time(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, &attr->st_atim,
		 UNION_SET_ATIME, a, &a->atime);
	set_time(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, &attr->st_mtim,
		 UNION_SET_MTIME, a, &a->mtime);
	a->mode = attr->st_mode;
	a->uid = attr->st_uid;
	a->gid = attr->st_gid;
	a->size = attr->st_size;
	a->who = ops_cred(req);
	job_run(&j, wait || (!(a->valid & UNION_SET_SIZE && a->size == 0) &&
			     union_change_is_slow(o->u, ino)));
}

/* --- extended attributes -------------------------------------------------- */

static void reply_xattr(fuse_req_t req, ssize_t r, const void *buf, size_t size)
{
	if (r < 0)
		ops_reply(req, (int)r);
	else if (!size)
		(void)fuse_reply_xattr(req, (size_t)r);
	else
		(void)fuse_reply_buf(req, buf, (size_t)r);
}

static void do_getxattr(struct job *j)
{
	/* the name may lie where the reply goes */
	char copy[256];
	void *buf = NULL;
	int r = j->flags ? prefetch_wait(j->o->prefetch, j->ino) : 0;

	if (r < 0) {
		ops_reply(j->req, r);
		return;
	}
	if (strlen(j->name) > 255) {
		ops_reply(j->req, -ERANGE);
		return;
	}
	memcpy(copy, j->name, strlen(j->name) + 1);
	if (j->size) {
		buf = transport_reply_buf(j->size);
		if (!buf) {
			ops_reply(j->req, -ENOMEM);
			return;
		}
	}
	reply_xattr(j->req, union_getxattr(j->o->u, j->ino, copy, buf, j->size), buf, j->size);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_getxattr,
		.o = o,
		.req = req,
		.ino = ino,
		.name = name,
		.size = size,
	};

	/* before it changes a page the kernel asks for this: see prefetch.h */
	j.flags = !strcmp(name, "security.capability") && prefetch_gate(o->prefetch, ino);
	job_run(&j, j.flags);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	void *buf = NULL;

	if (size) {
		buf = transport_reply_buf(size);
		if (!buf) {
			ops_reply(req, -ENOMEM);
			return;
		}
	}
	reply_xattr(req,
		    union_listxattr(ops_of(req)->u, ino, fuse_req_ctx(req)->uid == 0, buf, size),
		    buf, size);
}

static void do_setxattr(struct job *j)
{
	ops_reply(j->req, union_setxattr(j->o->u, j->ino, j->name, j->data, j->size, j->flags));
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_setxattr,
		.o = o,
		.req = req,
		.ino = ino,
		.name = name,
		.data = value,
		.size = size,
		.flags = flags,
	};

	job_run(&j, union_change_is_slow(o->u, ino));
}

static void do_removexattr(struct job *j)
{
	ops_reply(j->req, union_removexattr(j->o->u, j->ino, j->name));
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct ops *o = ops_of(req);
	struct job j = {
		.fn = do_removexattr,
		.o = o,
		.req = req,
		.ino = ino,
		.name = name,
	};

	job_run(&j, union_change_is_slow(o->u, ino));
}

/* --- chattr --------------------------------------------------------------- */

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_size,
		     size_t out_size)
{
	bool change = cmd == (unsigned)FS_IOC_SETFLAGS || cmd == (unsigned)FS_IOC_FSSETXATTR;
	bool words = cmd == (unsigned)FS_IOC_SETFLAGS || cmd == (unsigned)FS_IOC_GETFLAGS;
	union {
		long flags;
		struct fsxattr x;
	} v;
	size_t size = words ? sizeof(v.flags) : sizeof(v.x);
	int r;

	(void)arg;
	(void)fi;
	(void)flags;
	memset(&v, 0, sizeof(v));
	if (!words && cmd != (unsigned)FS_IOC_FSGETXATTR && cmd != (unsigned)FS_IOC_FSSETXATTR) {
		ops_reply(req, -ENOTTY);
		return;
	}
	if (change)
		memcpy(&v, in_buf, in_size < size ? in_size : size);
	r = union_fileattr(ops_of(req)->u, ino, cmd, change, &v);
	/* the kernel does not know that this changes ctime */
	if (!r && change)
		ops_inval_attr(ops_of(req), ino);
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_ioctl(req, 0, &v, change ? 0 : out_size < size ? out_size :
										  size);
}

static void no_xattr(fuse_req_t req)
{
	ops_reply(req, -ENOSYS);
}

static void no_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	(void)ino;
	(void)name;
	(void)size;
	no_xattr(req);
}

static void no_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	(void)ino;
	(void)size;
	no_xattr(req);
}

static void no_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	(void)ino;
	(void)name;
	(void)value;
	(void)size;
	(void)flags;
	no_xattr(req);
}

static void no_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino;
	(void)name;
	no_xattr(req);
}

void ops_fill_attr(const struct ops *o, struct fuse_lowlevel_ops *ops)
{
	ops->getattr = op_getattr;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	ops->statx = op_statx;
#endif
	ops->setattr = op_setattr;
	ops->ioctl = op_ioctl;
	/* ENOSYS once, and the kernel never asks again */
	ops->getxattr = o->noxattr ? no_getxattr : op_getxattr;
	ops->listxattr = o->noxattr ? no_listxattr : op_listxattr;
	ops->setxattr = o->noxattr ? no_setxattr : op_setxattr;
	ops->removexattr = o->noxattr ? no_removexattr : op_removexattr;
}
