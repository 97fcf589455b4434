/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a union: its layers, its workdir, its root. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fs/layer/blobcache.h"
#include "fs/union/attr.h"
#include "fs/union/dirmerge.h"
#include "fs/union/fdcache.h"
#include "fs/union/lend.h"
#include "fs/union/node.h"
#include "fs/union/ovl.h"
#include "fs/union/sidecar.h"
#include "fs/union/work.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/sys.h"

static int fail(char **ret_err, int r, const char *what, const char *path)
{
	if (asprintf(ret_err, "%s %s: %s", what, path, strerror(-r)) < 0)
		*ret_err = NULL;
	return r;
}

/* Root of the initial user namespace: every id is ours to give, no permission is denied. */
static bool have_privilege(void)
{
	unsigned long first, host, len;
	bool all = false;
	FILE *f;

	if (geteuid() != 0)
		return false;
	f = fopen("/proc/self/uid_map", "re");
	if (!f)
		return false;
	if (fscanf(f, "%lu %lu %lu", &first, &host, &len) == 3)
		all = first == 0 && host == 0 && len == UINT32_MAX;
	(void)fclose(f);
	return all;
}

/*
 * trusted. needs CAP_SYS_ADMIN in the initial namespace; who lacks it writes
 * user., which the kernel reads with the option userxattr.
 */
static int choose_xattr(struct union_fs *u)
{
	static const char probe[] = "trusted.overlay.plyfs-probe";
	bool trusted = u->privileged;

	if (u->writable && !u->cfg.userxattr) {
		trusted = sys_fsetxattr(u->work, probe, "y", 1, 0) == 0;
		if (trusted)
			(void)sys_fremovexattr(u->work, probe);
	}
	if (u->cfg.userxattr)
		trusted = false;
	(void)snprintf(u->xprefix, sizeof(u->xprefix), "%s.overlay.", trusted ? "trusted" : "user");
	return 0;
}

/*
 * The kernel reads metacopies by trusted. attributes only, and so do we: others
 * any owner of a file could set. Where lowers may change, data is kept whole.
 */
static void choose_metacopy(struct union_fs *u)
{
	if (!u->cfg.metacopy || !u->writable)
		return;
	if (ovl_is_trusted(u) && u->cfg.redirect_follow && !u->cfg.lower_live)
		return;
	u->cfg.metacopy = false;
	log_warn("metacopy=on: not %s, files are copied up whole",
		 u->cfg.lower_live ? "where lower layers may change" :
				     "without trusted. attributes");
}

/* Whether 0:0 devices can be made; else whiteouts are .wh. files. */
static void choose_whiteouts(struct union_fs *u)
{
	static const char probe[] = "#whiteout-probe";

	if (u->cfg.wh_files)
		return;
	if (sys_mknodat(u->work, probe, S_IFCHR, 0) < 0)
		u->cfg.wh_files = true;
	else
		(void)sys_unlinkat(u->work, probe, 0);
}

/* File systems are counted as they appear, the upper's first. */
static void number_fs(struct union_fs *u, struct layer *l)
{
	unsigned i;

	if (u->upper && l != u->upper && u->upper->dev == l->dev) {
		l->fs = u->upper->fs;
		return;
	}
	for (i = 0; i < u->nlower && u->lower[i] && u->lower[i] != l; i++) {
		if (u->lower[i]->dev == l->dev) {
			l->fs = u->lower[i]->fs;
			return;
		}
	}
	l->fs = u->nfs++;
}

static const char *permissions_attr(const struct union_fs *u)
{
	switch (u->cfg.xattr_permissions) {
	case 1:
		return "security.fuseoverlayfs.override_stat";
	case 2:
		return "user.containers.override_stat";
	default:
		return NULL;
	}
}

static int open_lowers(struct union_fs *u, const struct union_config *cfg, char **ret_err)
{
	unsigned i;
	int r;

	u->lower = sys_calloc(cfg->nlower, sizeof(struct layer *));
	if (!u->lower)
		return -ENOMEM;
	u->nlower = cfg->nlower;
	for (i = 0; i < cfg->nlower; i++) {
		_cleanup_free_ char *why = NULL;
		struct layer *l;

		r = layer_open(cfg->lower[i], cfg->private_lower != UNION_PRIVATE_NO, &l, &why);
		if (r < 0 && !why && cfg->private_lower == UNION_PRIVATE_TRY)
			r = layer_open(cfg->lower[i], false, &l, &why);
		if (r < 0 && why) {
			if (asprintf(ret_err, "lowerdir %s: %s", cfg->lower[i], why) < 0)
				*ret_err = NULL;
			return r;
		}
		if (r == -EPERM && cfg->private_lower == UNION_PRIVATE_MUST)
			return fail(
				ret_err, r,
				"the mountpoint lies in a lower layer, which takes privilege to "
				"be safe: lowerdir",
				cfg->lower[i]);
		if (r < 0)
			return fail(ret_err, r, "lowerdir", cfg->lower[i]);
		l->id = i + 1;
		u->lower[i] = l;
		number_fs(u, l);
	}
	return 0;
}

static int open_upper(struct union_fs *u, const struct union_config *cfg, char **ret_err)
{
	int r;

	if (!cfg->upper)
		return 0;
	r = layer_open_dir(cfg->upper, false, &u->upper);
	if (r < 0)
		return fail(ret_err, r, "upperdir", cfg->upper);
	u->upper->id = 0;
	number_fs(u, u->upper);
	u->writable = !cfg->ro;
	if (!u->writable) {
		/* hard links of a live upper are found by its index */
		int wd = cfg->work ? sys_openat(AT_FDCWD, cfg->work, O_PATH | O_DIRECTORY, 0) : -1;

		if (wd >= 0 && cfg->index)
			u->index = sys_openat(wd, "index", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
		if (u->index >= 0)
			u->nlinks = sys_openat(wd, "nlink", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
		u->have_nlinks = u->nlinks >= 0;
		if (wd >= 0)
			(void)sidecar_open(u, wd);
		sys_close(wd);
		return 0;
	}
	r = sys_openat(u->upper->root.fd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (r < 0)
		return fail(ret_err, r, "upperdir", cfg->upper);
	sys_close(r);
	return work_open(u, cfg->work, cfg->index, ret_err);
}

/* The override_stat attributes and marks of the layers' roots. */
static int read_roots(struct union_fs *u, char **ret_err)
{
	const char *forced = permissions_attr(u);
	unsigned i;
	int r;

	for (i = 0; i < u->nlower; i++)
		u->lower[i]->override_attr = forced ? forced : attr_find_override(u, u->lower[i]);
	if (!u->upper)
		return 0;
	u->upper->override_attr = forced ? forced : attr_find_override(u, u->upper);
	if (!forced || !u->writable ||
	    u->upper->ops->getxattr(&u->upper->root, "", forced, NULL, 0) >= 0)
		return 0;
	/* a new upper: its root is what a lower's is */
	{
		char v[128];
		ssize_t n = -ENODATA;

		for (i = 0; i < u->nlower && n < 0; i++)
			n = u->lower[i]->ops->getxattr(&u->lower[i]->root, "", forced, v,
						       sizeof(v));
		r = n > 0 ? sys_fsetxattr(u->upper->root.fd, forced, v, (size_t)n, 0) :
			    sys_fsetxattr(u->upper->root.fd, forced, "0:0:555", 7, 0);
		if (r < 0)
			return fail(ret_err, r,
				    "xattr_permissions: cannot set the attribute on upperdir",
				    u->upper->path);
	}
	return 0;
}

static int make_root(struct union_fs *u)
{
	struct node *root = node_at(u, u->root);
	struct layer *top = u->upper ? u->upper : u->lower[0];
	struct statx st;
	struct dstack *s;
	unsigned i;
	int r;

	/* as of any merged directory: the topmost lower's */
	r = u->lower[0]->ops->stat(&u->lower[0]->root, "", &st);
	if (r < 0)
		return r;
	root->ino = ovl_map_ino(u, u->lower[0]->fs, st.stx_ino);
	r = top->ops->stat(&top->root, "", &st);
	if (r < 0)
		return r;
	if (u->upper) {
		node_set(root, NODE_UPPER);
		node_set_upper_ino(root, st.stx_ino);
	}
	root->stack = slab_alloc(u->slab, sizeof(*s) + u->nlower * sizeof(s->e[0]));
	s = stack_at(u, root);
	if (!s)
		return -ENOMEM;
	s->n = (uint16_t)u->nlower;
	for (i = 0; i < u->nlower; i++) {
		char v[2];

		s->e[i].layer = (uint16_t)(i + 1);
		if (u->lower[i]->ops->getxattr(&u->lower[i]->root, "", "trusted.overlay.opaque", v,
					       2) == 1 &&
		    v[0] == 'x')
			s->e[i].flags |= DSTACK_XWHITEOUTS;
		if (u->lower[i]->ops->getxattr(&u->lower[i]->root, "", "user.overlay.opaque", v,
					       2) == 1 &&
		    v[0] == 'x')
			s->e[i].flags |= DSTACK_XWHITEOUTS;
	}
	return 0;
}

static int copy_maps(struct union_fs *u, const struct union_config *cfg)
{
	u->uidmap = sys_calloc(cfg->nuidmap, sizeof(*u->uidmap));
	u->gidmap = sys_calloc(cfg->ngidmap, sizeof(*u->gidmap));
	if (!u->uidmap || !u->gidmap)
		return -ENOMEM;
	if (cfg->nuidmap)
		memcpy(u->uidmap, cfg->uidmap, cfg->nuidmap * sizeof(*u->uidmap));
	if (cfg->ngidmap)
		memcpy(u->gidmap, cfg->gidmap, cfg->ngidmap * sizeof(*u->gidmap));
	return 0;
}

/* A quarter of what we may open, for the cache; an eighth for files without names. */
static unsigned choose_budget(struct union_fs *u, unsigned asked)
{
	struct rlimit rl;
	unsigned max = 4096;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		if (rl.rlim_cur < rl.rlim_max) {
			rl.rlim_cur = rl.rlim_max;
			(void)setrlimit(RLIMIT_NOFILE, &rl);
			(void)getrlimit(RLIMIT_NOFILE, &rl);
		}
		max = rl.rlim_cur > 16384 ? 4096 : (unsigned)rl.rlim_cur / 4;
	}
	u->pin_max = (int)max / 2;
	if (asked) {
		if (asked < max)
			u->pin_max = (int)asked;
		return asked;
	}
	return max > 1024 ? 1024 : max;
}

static void init_locks(struct union_fs *u)
{
	unsigned i;

	(void)pthread_mutex_init(&u->lock, NULL);
	(void)pthread_mutex_init(&u->wh_lock, NULL);
	(void)pthread_cond_init(&u->unbusy, NULL);
	for (i = 0; i < NS_STRIPES; i++)
		(void)pthread_mutex_init(&u->ns[i], NULL);
}

static int do_open(struct union_fs *u, const struct union_config *cfg, char **ret_err)
{
	int r = copy_maps(u, cfg);

	if (!r)
		r = fdcache_init(u, choose_budget(u, cfg->fd_budget));
	if (!r)
		r = dircache_init(u);
	if (!r)
		r = node_table_init(u);
	if (!r)
		r = open_upper(u, cfg, ret_err);
	if (!r)
		r = choose_xattr(u);
	if (!r)
		choose_metacopy(u);
	if (!r)
		r = open_lowers(u, cfg, ret_err);
	if (!r)
		r = read_roots(u, ret_err);
	if (!r)
		r = make_root(u);
	if (!r && u->writable)
		choose_whiteouts(u);
	return r;
}

int union_open(const struct union_config *cfg, struct union_fs **ret, char **ret_err)
{
	struct union_fs *u = sys_calloc(1, sizeof(*u));
	int r;

	*ret_err = NULL;
	if (!u)
		return -ENOMEM;
	u->cfg = *cfg;
	u->work = u->index = u->nlinks = u->wlock = -1;
	atomic_store(&u->origins, -1);
	u->privileged = have_privilege();
	if (cfg->packed_cache)
		blobcache_set_limit(cfg->packed_cache);
	init_locks(u);
	lend_init(u);
	r = do_open(u, cfg, ret_err);
	/* the caller's strings are not ours to keep */
	u->cfg.lower = NULL;
	u->cfg.upper = u->cfg.work = NULL;
	u->cfg.uidmap = u->cfg.gidmap = NULL;
	if (r < 0) {
		union_close(u);
		return r;
	}
	*ret = u;
	return 0;
}

void union_close(struct union_fs *u)
{
	unsigned i;

	if (!u)
		return;
	if (u->writable && u->work >= 0 && u->cfg.sync)
		(void)sys_syncfs(u->work);
	fdcache_release(u);
	dircache_release(u);
	node_table_release(u);
	work_close(u);
	for (i = 0; u->lower && i < u->nlower; i++)
		layer_close(u->lower[i]);
	free(u->lower);
	layer_close(u->upper);
	free(u->uidmap);
	free(u->gidmap);
	free(u);
}

bool union_read_only(const struct union_fs *u)
{
	return !u->writable;
}
