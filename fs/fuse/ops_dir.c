/* SPDX-License-Identifier: Apache-2.0 */
/* Listing directories. */
#include <errno.h>
#include <stdlib.h>

#include "fs/fuse/ops.h"
#include "fs/fuse/prefetch.h"
#include "fs/fuse/transport.h"

/* The reply being filled. */
struct listing {
	fuse_req_t req;
	struct ops *o;
	char *buf;
	size_t size, len;
	bool plus;
};

static int add_entry(void *arg, const char *name, uint64_t cookie, const struct union_entry *e)
{
	struct listing *l = arg;
	size_t room = l->size - l->len, need;
	struct fuse_entry_param p;
	struct stat st;

	if (l->plus) {
		ops_entry(l->o, e, &p);
		/* no node: "." and "..", or one that cannot be looked at */
		if (!e->nodeid) {
			p.entry_timeout = 0;
			ops_stat(&e->st, &p.attr);
		}
		need = fuse_add_direntry_plus(l->req, l->buf + l->len, room, name, &p,
					      (off_t)cookie);
	} else {
		ops_stat(&e->st, &st);
		need = fuse_add_direntry(l->req, l->buf + l->len, room, name, &st, (off_t)cookie);
	}
	if (need > room)
		return 1;
	l->len += need;
	return 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = { .req = req, .o = ops_of(req), .size = size, .plus = plus };
	int r;

	l.buf = transport_reply_buf(size);
	if (!l.buf) {
		ops_reply(req, -ENOMEM);
		return;
	}
	r = union_readdir(l.o->u, ino, (uint64_t)off, plus, add_entry, &l);
	/* what was listed before an error is counted, and must arrive */
	if (r < 0 && !l.len)
		ops_reply(req, r);
	else
		(void)fuse_reply_buf(req, l.buf, l.len);
	prefetch_listed(l.o->prefetch, ino);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

void ops_fill_dir(struct fuse_lowlevel_ops *ops)
{
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
}
