/* SPDX-License-Identifier: Apache-2.0 */
/* Records of names that lower files have lost. */
#include "fs/union/nlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/union/work.h"
#include "lib/sys.h"

/* The record's name: the index entry's. */
static int record_name(const struct layer_dir *dir, const char *name,
		       char buf[OVL_INDEX_NAME_MAX])
{
	struct ovl_origin o;
	int r = ovl_origin_of(dir, name, &o);

	return r < 0 ? r : ovl_index_name(&o, buf);
}

int nlink_lost(struct union_fs *u, const struct layer_dir *dir, const char *name)
{
	char rec[OVL_INDEX_NAME_MAX], v[16];
	ssize_t n;
	long lost;
	int r;

	if (u->nlinks < 0 || !u->have_nlinks)
		return 0;
	r = record_name(dir, name, rec);
	if (r <= 0)
		return r;
	n = sys_readlinkat(u->nlinks, rec, v, sizeof(v) - 1);
	/* what no record can be is none: a file put there by somebody else */
	if (n < 0)
		return n == -ENOENT || n == -EINVAL ? 0 : (int)n;
	v[n] = 0;
	lost = strtol(v, NULL, 10);
	return lost > 0 && lost < INT16_MAX ? (int)lost : 0;
}

int nlink_record_name(struct union_fs *u, const struct place *at, char ret[OVL_INDEX_NAME_MAX])
{
	return u->nlinks < 0 || at->upper ? 0 : record_name(fdcache_dir(at->dir), at->name, ret);
}

int nlink_record(struct union_fs *u, const char *rec, int lost)
{
	char tmp[WORK_NAME_MAX], v[16];
	int r;

	if (!lost) {
		r = sys_unlinkat(u->nlinks, rec, 0);
		return r == -ENOENT ? 0 : r;
	}
	(void)snprintf(v, sizeof(v), "%d", lost);
	work_name(u, tmp);
	r = sys_symlinkat(v, u->work, tmp);
	if (r < 0)
		return r;
	r = sys_renameat2(u->work, tmp, u->nlinks, rec, 0);
	if (r < 0)
		(void)sys_unlinkat(u->work, tmp, 0);
	else
		u->have_nlinks = true;
	return r;
}
