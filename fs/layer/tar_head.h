/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a tar as they are, without its content: where each entry's headers and
 * content lie, and what they say word for word. Who keeps a tar's bytes needs that; who wants
 * to know what files it holds takes tar_read.h. What a header means here is what Go's archive/tar
 * takes it for, since tables of contents are compared with that.
 *
 * For one thread. Bounded: headers of one entry are at most TAR_HEAD_MAX bytes.
 */
#ifndef PLYFS_LAYER_TAR_HEAD_H
#define PLYFS_LAYER_TAR_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/layer/source.h"
#include "fs/layer/tar_write.h"

#define TAR_HEAD_MAX (4U << 20)

struct tar_time {
	bool set;
	int64_t sec;
	uint32_t nsec;
};

struct tar_head {
	uint64_t off; /* of the first header, in the tar */
	uint64_t data, size; /* of the content; next: of the headers after that */
	uint64_t next;
	char type; /* '0' to '6', as in the header; '0' for its older forms */
	const char *name, *link;
	uint64_t mode, uid, gid, dev_major, dev_minor;
	struct tar_time mtime, atime, ctime;
	const struct tar_xattr *xattrs; /* SCHILY.xattr records */
	size_t n_xattrs;
};

struct tar_heads;

/* @s is an uncompressed tar and must stay; NULL where only tar_head_parse() is called. */
int tar_heads_new(const struct source *s, struct tar_heads **ret);
void tar_heads_free(struct tar_heads *t); /* NULL is ignored */
/*
 * The next entry, valid until the next call: 1; 0 at the end, whose offset is ret->off.
 * -EINVAL: damaged; -EPROTONOSUPPORT: something that has no plain content (sparse files, parts of
 * volumes) or a type of its own. *ret_err (malloc'ed) names the entry.
 */
int tar_heads_next(struct tar_heads *t, struct tar_head *ret, char **ret_err);
/* The same of headers in memory, whose content is elsewhere: data and next are where it would be.
 */
int tar_head_parse(struct tar_heads *t, const void *p, size_t len, struct tar_head *ret,
		   char **ret_err);

#endif
