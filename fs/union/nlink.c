/* SPDX-License-Identifier: Apache-2.0 */
/* Records of names that lower files have lost. */
#include "fs/union/nlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/union/work.h"
#include "lib/log.h"
#include "lib/sys.h"

/* The record's name: the index entry's, with the layer, whose own files alone it counts. */
static bool record_name(struct union_fs *u, const struct layer_dir *dir, const char *name,
			char buf[OVL_INDEX_NAME_MAX])
{
	struct ovl_origin o;

	ovl_origin_of(u, dir, name, &o);
	return ovl_index_name(&o, buf);
}

int nlink_lost(struct union_fs *u, const struct layer_dir *dir, const char *name)
{
	char rec[OVL_INDEX_NAME_MAX], v[16];
	ssize_t n;
	long lost;

	if (u->nlinks < 0 || !u->have_nlinks || !record_name(u, dir, name, rec))
		return 0;
	n = sys_readlinkat(u->nlinks, rec, v, sizeof(v) - 1);
	if (n <= 0)
		return 0;
	v[n] = 0;
	lost = strtol(v, NULL, 10);
	return lost > 0 && lost < INT16_MAX ? (int)lost : 0;
}

void nlink_record(struct union_fs *u, const struct place *at, int lost)
{
	char rec[OVL_INDEX_NAME_MAX], tmp[WORK_NAME_MAX], v[16];
	int r;

	if (u->nlinks < 0 || !record_name(u, fdcache_dir(at->dir), at->name, rec))
		return;
	if (!lost) {
		(void)sys_unlinkat(u->nlinks, rec, 0);
		return;
	}
	(void)snprintf(v, sizeof(v), "%d", lost);
	work_name(u, tmp);
	r = sys_symlinkat(v, u->work, tmp);
	if (!r)
		r = sys_renameat2(u->work, tmp, u->nlinks, rec, 0);
	if (r < 0)
		log_warn("cannot record the link count of a lower file: error %d", -r);
	else
		u->have_nlinks = true;
}
