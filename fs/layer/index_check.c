/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking all of an index: what a reader checks at use, everywhere, and what
 * no single use can see: that every inode can be reached, that link counts
 * are right, that entries are in order and names unique.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "fs/layer/index.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

struct check {
	const struct index *ix;
	uint32_t *names; /* of each inode, as found */
	uint32_t *queue; /* directories that were reached */
	uint32_t first, last;
	char **ret_err;
};

static int damaged(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int damaged(struct check *c, const char *fmt, ...)
{
	char buf[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (c->ret_err)
		*c->ret_err = sys_strdup(buf);
	return -EIO;
}

static int check_content(struct check *c, const struct index_inode *n)
{
	struct index_extent e;
	struct index_chunk k;
	struct index_frame f;
	uint64_t at = 0;
	int r;

	while (at < n->size) {
		r = index_extent(c->ix, n, at, &e);
		if (r < 0 || (!e.hole && (index_chunk(c->ix, e.chunk, &k) < 0 ||
					  index_frame(c->ix, k.frame, &f) < 0)))
			return damaged(c, "inode %" PRIu32 ": content at %" PRIu64 " is damaged",
				       n->ino, at);
		if (e.off > at || e.off + e.len <= at)
			return damaged(c, "inode %" PRIu32 ": its extents are out of order",
				       n->ino);
		at = e.off + e.len;
	}
	return 0;
}

static int check_inode(struct check *c, uint32_t ino, struct index_inode *ret)
{
	struct index_xattr x;
	const char *target;
	unsigned i;
	int r = index_inode(c->ix, ino, ret);

	if (r < 0)
		return damaged(c, "inode %" PRIu32 " is damaged", ino);
	for (i = 0; (r = index_xattr(c->ix, ret->xattrs, i, &x)) > 0; i++)
		;
	if (r < 0)
		return damaged(c, "inode %" PRIu32 ": its attributes are damaged", ino);
	if (S_ISLNK(ret->mode) && index_readlink(c->ix, ret, &target) < 0)
		return damaged(c, "inode %" PRIu32 ": its target is damaged", ino);
	return S_ISREG(ret->mode) ? check_content(c, ret) : 0;
}

static int check_entry(struct check *c, const struct index_inode *dir, uint32_t i,
		       uint32_t *last_hash)
{
	struct index_dirent d, same;
	struct index_inode n;
	uint32_t hash;

	if (index_dirent(c->ix, dir, i, &d) < 0)
		return damaged(c, "entry %" PRIu32 " of directory %" PRIu32 " is damaged", i,
			       dir->ino);
	hash = (uint32_t)XXH3_64bits(d.name, d.len);
	if (hash < *last_hash || index_lookup(c->ix, dir->ino, d.name, d.len, &same) < 0 ||
	    same.name != d.name || same.ino != d.ino)
		return damaged(c, "directory %" PRIu32 ": entry %" PRIu32 " is not in order",
			       dir->ino, i);
	*last_hash = hash;
	if (d.whiteout)
		return 0;
	if (index_inode(c->ix, d.ino, &n) < 0 || (n.mode & S_IFMT) >> 12 != d.type)
		return damaged(c, "\"%.*s\" in directory %" PRIu32 " has not its inode's type",
			       (int)d.len, d.name, dir->ino);
	if (S_ISDIR(n.mode)) {
		if (c->names[d.ino])
			return damaged(c, "directory %" PRIu32 " has two names", d.ino);
		c->queue[c->last++] = d.ino;
	}
	c->names[d.ino]++;
	return 0;
}

static int check_dir(struct check *c, uint32_t ino)
{
	struct index_inode dir, child;
	uint32_t i, hash = 0, subdirs = 0;
	struct index_dirent d;
	int r = check_inode(c, ino, &dir);

	if (r == 0 && !S_ISDIR(dir.mode))
		r = damaged(c, "inode %" PRIu32 " is no directory", ino);
	for (i = 0; r == 0 && i < dir.count; i++) {
		r = check_entry(c, &dir, i, &hash);
		if (r == 0 && index_dirent(c->ix, &dir, i, &d) == 0 && !d.whiteout &&
		    index_inode(c->ix, d.ino, &child) == 0)
			subdirs += S_ISDIR(child.mode);
	}
	if (r == 0 && dir.nlink != 2 + subdirs)
		r = damaged(c, "directory %" PRIu32 ": its link count is wrong", ino);
	return r;
}

int index_check(const struct index *ix, char **ret_err)
{
	const struct index_info *info = index_info(ix);
	_cleanup_free_ uint32_t *names = NULL, *queue = NULL;
	struct check c = { .ix = ix, .ret_err = ret_err };
	struct index_inode n;
	uint32_t ino;
	int r = 0;

	if (ret_err)
		*ret_err = NULL;
	c.names = names = sys_calloc((size_t)info->inodes + 1, sizeof(*names));
	c.queue = queue = sys_calloc((size_t)info->inodes + 1, sizeof(*queue));
	if (!names || !queue)
		return -ENOMEM;
	queue[c.last++] = INDEX_ROOT;
	names[INDEX_ROOT] = 1;
	while (c.first < c.last && r == 0)
		r = check_dir(&c, queue[c.first++]);
	for (ino = 1; ino <= info->inodes && r == 0; ino++) {
		if (!names[ino])
			r = damaged(&c, "inode %" PRIu32 " has no name", ino);
		else
			r = check_inode(&c, ino, &n);
		if (r == 0 && !S_ISDIR(n.mode) && n.nlink != names[ino])
			r = damaged(&c, "inode %" PRIu32 ": its link count is wrong", ino);
	}
	return r;
}
