/* SPDX-License-Identifier: Apache-2.0 */
/* Origins of files that cannot carry them. */
#include "fs/union/sidecar.h"

#include <errno.h>
#include <string.h>

#include "fs/union/work.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define SIDECAR_DIR "origin"

int sidecar_key(struct union_fs *u, const struct layer_dir *dir, const char *name,
		const struct statx *st, struct sidecar_key *ret)
{
	struct ovl_origin self;
	int r;

	ret->name[0] = 0;
	if (ovl_is_trusted(u) || S_ISREG(st->stx_mode) || S_ISDIR(st->stx_mode))
		return 0;
	r = ovl_origin_of(dir, name, &self);
	if (r < 0)
		return r;
	if (!ovl_index_name(&self, ret->name))
		ret->name[0] = 0;
	return 0;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
								       -1;
}

int sidecar_read(struct union_fs *u, const struct sidecar_key *k, struct ovl_origin *ret)
{
	char v[2 * sizeof(ret->bytes) + 1];
	ssize_t n, i;

	ret->len = 0;
	if (!k->name[0] || u->origins < 0)
		return 0;
	n = sys_readlinkat(u->origins, k->name, v, sizeof(v));
	/* what no record can be is none: a file put there by somebody else */
	if (n < 0)
		return n == -ENOENT || n == -EINVAL ? 0 : (int)n;
	if (n % 2 || n >= (ssize_t)sizeof(v))
		return 0;
	for (i = 0; i < n; i += 2) {
		int hi = hex(v[i]), lo = hex(v[i + 1]);

		if (hi < 0 || lo < 0)
			return 0;
		ret->bytes[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	ret->len = (unsigned)(n / 2);
	return 0;
}

int sidecar_write(struct union_fs *u, const struct sidecar_key *k, const struct ovl_origin *o)
{
	char v[OVL_INDEX_NAME_MAX];
	int r;

	if (!k->name[0] || !ovl_index_name(o, v))
		return 0;
	if (u->origins < 0) {
		r = sys_mkdirat(u->wlock, SIDECAR_DIR, 0700);
		if (r < 0 && r != -EEXIST)
			return r;
		r = sidecar_open(u, u->wlock);
		if (r < 0)
			return r;
	}
	r = sys_symlinkat(v, u->origins, k->name);
	if (r != -EEXIST)
		return r;
	/* a copy-up that failed, of an inode that was not reused */
	(void)sys_unlinkat(u->origins, k->name, 0);
	return sys_symlinkat(v, u->origins, k->name);
}

void sidecar_remove(struct union_fs *u, const struct sidecar_key *k)
{
	if (k->name[0] && u->origins >= 0)
		(void)sys_unlinkat(u->origins, k->name, 0);
}

int sidecar_open(struct union_fs *u, int workdir)
{
	int fd = sys_openat(workdir, SIDECAR_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0), none = -1;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	/* two copy-ups may be the first */
	if (!atomic_compare_exchange_strong(&u->origins, &none, fd))
		sys_close(fd);
	return 0;
}
