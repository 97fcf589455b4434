/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rename.
 *
 * Theory of operation. The source is brought into the upper first: a file by
 * copy-up, a directory by an upper directory that carries overlay.redirect to
 * where its lower parts are (or, without redirects, -EXDEV: the caller copies
 * and removes, as with kernel overlayfs). Then one renameat2(2) on the upper
 * does all of it:
 *
 *   what the lowers show at the old name   RENAME_WHITEOUT
 *   a directory onto a whiteout            RENAME_EXCHANGE: the whiteout goes
 *                                          where the directory was
 *   a directory onto an empty one that     the target is first exchanged for
 *   holds whiteouts in the upper           an empty one, and moved away
 *
 * A directory that comes to lie over lower entries of its new name must not
 * merge with them: it is marked opaque, or has a redirect, before it moves.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs/union/attr.h"
#include "fs/union/copydata.h"
#include "fs/union/copyup.h"
#include "fs/union/dirmerge.h"
#include "fs/union/lend.h"
#include "fs/union/metacopy.h"
#include "fs/union/names.h"
#include "fs/union/ovl.h"
#include "fs/union/resolve.h"
#include "fs/union/work.h"
#include "lib/sys.h"

/* One end of a rename. */
struct end {
	struct parent p;
	const char *name;
	struct node *n; /* held; NULL: nothing there */
	bool lowers; /* the lowers show something at the name */
};

static void end_release(struct union_fs *u, struct end *e)
{
	if (e->n) {
		table_lock(u);
		node_drop(u, e->n);
		table_unlock(u);
	}
	parent_end(u, &e->p);
}

/* Whether @n has parts in lowers, which a move must carry along. */
static bool has_lowers(struct union_fs *u, struct node *n)
{
	bool ret;

	table_lock(u);
	ret = n->stack != 0;
	table_unlock(u);
	return ret;
}

/* Whether @parent merges lowers: what comes into it must say that it does not. */
static bool is_merged(struct union_fs *u, struct node *parent)
{
	return has_lowers(u, parent);
}

/*
 * Makes the directory @n, in the upper, independent of its name: a redirect
 * to its lower parts, or, where it has none and comes under a merged
 * directory, an opaque mark.
 */
static int free_from_name(struct union_fs *u, struct node *n, struct node *newparent)
{
	char path[PATH_MAX];
	struct fdent *dir;
	struct dstack *s;
	unsigned layer;
	int r;

	r = locate_dir(u, n, 0, &dir);
	if (r < 0)
		return r;
	if (!has_lowers(u, n)) {
		r = is_merged(u, newparent) ? ovl_set_opaque(u, fdcache_fd(dir)) : 0;
		fdcache_put(u, dir);
		return r;
	}
	r = locate_detach(u, n);
	if (r == -ENAMETOOLONG)
		r = -EXDEV;
	if (!r) {
		table_lock(u);
		s = stack_at(u, n);
		layer = s->e[0].layer;
		(void)snprintf(path, sizeof(path), "/%s", str_at(u, s->e[0].path));
		table_unlock(u);
		(void)layer;
		r = strlen(path) > OVL_REDIRECT_MAX ? -EXDEV :
						      ovl_set_redirect(u, fdcache_fd(dir), path);
		/* the attribute does not fit, or there are none here */
		if (r == -E2BIG || r == -ERANGE || r == -EOPNOTSUPP)
			r = -EXDEV;
	}
	fdcache_put(u, dir);
	return r;
}

/*
 * A redirect names one path for all layers below; a directory whose parts lie
 * at different paths (itself the result of a redirect in a middle layer) can
 * be said so only if the topmost part leads to the others, which it does.
 */
static int bring_up(struct union_fs *u, struct end *e, struct node *newparent)
{
	struct node *n = e->n;
	int r;

	if (node_is_dir(n) && has_lowers(u, n) && !u->cfg.redirect)
		return -EXDEV;
	r = copyup(u, n, COPYUP_META);
	if (!r && node_is_dir(n))
		return free_from_name(u, n, newparent);
	if (!r)
		r = metacopy_free_from_name(u, n, e->p.n, e->name);
	return r == -EXDEV ? copyup(u, n, COPYUP_ALL) : r;
}

static bool is_below(struct union_fs *u, struct node *n, struct node *top)
{
	bool ret = false;

	table_lock(u);
	while (n) {
		struct dent *d;

		if (n == top) {
			ret = true;
			break;
		}
		d = dent_at(u, n->dents);
		n = d ? node_at(u, d->parent) : NULL;
	}
	table_unlock(u);
	return ret;
}

/* What is on the upper at @e: 0 nothing, 1 a whiteout, 2 something else. */
static int upper_at(const struct end *e)
{
	struct statx st;
	int r = sys_statx(parent_fd(&e->p), e->name, AT_SYMLINK_NOFOLLOW, &st);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : layer_is_whiteout(&st) ? 1 :
						    2;
}

/*
 * Empties the target directory of whiteouts: swaps it for an empty opaque one.
 * @tmp: its own name in the workdir from then on.
 */
static int clear_target(struct union_fs *u, struct end *to, char tmp[WORK_NAME_MAX])
{
	struct statx st;
	int fd, r;

	work_name(u, tmp);
	r = sys_mkdirat(u->work, tmp, 0700);
	if (r < 0)
		return r;
	fd = sys_openat(u->work, tmp, O_PATH | O_NOFOLLOW, 0);
	r = fd < 0 ? fd : ovl_set_opaque(u, fd);
	if (!r)
		r = sys_statx(parent_fd(&to->p), to->name, AT_SYMLINK_NOFOLLOW, &st);
	if (!r)
		r = copy_owner_mode(u, fd, &st);
	if (!r)
		r = sys_renameat2(u->work, tmp, parent_fd(&to->p), to->name, RENAME_EXCHANGE);
	sys_close(fd);
	if (r < 0)
		(void)work_remove_tree(u->work, tmp);
	return r;
}

/* A whiteout for the old name, on file systems without RENAME_WHITEOUT. */
static int rename_then_whiteout(struct union_fs *u, struct end *from, struct end *to)
{
	int ffd = parent_fd(&from->p), tfd = parent_fd(&to->p), r;

	/* a .wh. file beside the name hides nothing while the name is there: it may come first */
	if (u->cfg.wh_files) {
		r = work_whiteout(u, ffd, from->name);
		if (r < 0)
			return r;
		r = sys_renameat2(ffd, from->name, tfd, to->name, 0);
		if (r < 0)
			work_no_whiteout(ffd, from->name);
		return r;
	}
	r = sys_renameat2(ffd, from->name, tfd, to->name, 0);
	if (r < 0)
		return r;
	r = work_whiteout(u, ffd, from->name);
	/* what was renamed over is not to be had back */
	if (r < 0 && !to->n)
		(void)sys_renameat2(tfd, to->name, ffd, from->name, RENAME_NOREPLACE);
	return r;
}

/* Renames, leaving a whiteout where the lowers show something. */
static int rename_away(struct union_fs *u, struct end *from, struct end *to)
{
	int r;

	if (from->lowers && u->cfg.wh_files)
		return rename_then_whiteout(u, from, to);
	r = sys_renameat2(parent_fd(&from->p), from->name, parent_fd(&to->p), to->name,
			  from->lowers ? RENAME_WHITEOUT : 0);
	if (from->lowers && (r == -EINVAL || r == -EPERM))
		r = rename_then_whiteout(u, from, to);
	return r;
}

static void restore_times(const struct end *to, const struct statx *st)
{
	int fd = sys_openat(parent_fd(&to->p), to->name, O_PATH | O_NOFOLLOW, 0);

	if (fd >= 0)
		(void)copy_times(fd, st);
	sys_close(fd);
}

static int do_rename(struct union_fs *u, struct end *from, struct end *to)
{
	bool dir = node_is_dir(from->n);
	char tmp[WORK_NAME_MAX];
	int there = upper_at(to), r;
	struct statx st;

	if (there < 0)
		return there;
	if (dir && there == 2 && to->n) {
		r = clear_target(u, to, tmp);
		if (r < 0)
			return r;
		r = rename_away(u, from, to);
		if (r < 0)
			(void)sys_renameat2(u->work, tmp, parent_fd(&to->p), to->name,
					    RENAME_EXCHANGE);
		(void)work_remove_tree(u->work, tmp);
		return r;
	}
	if (dir && there == 1) {
		r = sys_statx(parent_fd(&from->p), from->name, AT_SYMLINK_NOFOLLOW, &st);
		if (!r)
			r = sys_renameat2(parent_fd(&from->p), from->name, parent_fd(&to->p),
					  to->name, RENAME_EXCHANGE);
		if (r < 0)
			return r;
		/* some file systems take an exchange for a change of the directory */
		restore_times(to, &st);
		if (!from->lowers)
			(void)sys_unlinkat(parent_fd(&from->p), from->name, 0);
		return 0;
	}
	return rename_away(u, from, to);
}

/* The name @from of @n becomes @to. With the lock. */
static int move_dent(struct union_fs *u, struct end *from, struct node *n, struct end *to)
{
	struct dent *d;
	int r;

	d = dent_find(u, to->p.n, to->name);
	if (d)
		dent_del(u, d);
	r = dent_add(u, to->p.n, to->name, n);
	d = dent_find(u, from->p.n, from->name);
	if (d)
		dent_del(u, d);
	return r;
}

static void after_rename(struct union_fs *u, struct end *from, struct end *to)
{
	table_lock(u);
	/* without memory the names are learnt anew, by lookup */
	(void)move_dent(u, from, from->n, to);
	table_unlock(u);
	dircache_removed(u, node_slot(u, from->p.n), from->name);
	dircache_added(u, node_slot(u, to->p.n), to->name, from->n->mode);
}

static int plain_rename(struct union_fs *u, struct end *from, struct end *to)
{
	struct removal rm;
	bool onto_self = to->n == from->n, over = to->n && !onto_self;
	int r;

	if (over && node_is_dir(to->n) != node_is_dir(from->n))
		return node_is_dir(to->n) ? -EISDIR : -ENOTDIR;
	if (over && node_is_dir(to->n)) {
		r = dir_is_empty(u, to->n);
		if (r < 0)
			return r;
	}
	r = resolve_lower_has(u, from->p.n, from->name);
	if (r < 0)
		return r;
	from->lowers = r;
	r = 0;
	if (!node_is_dir(from->n)) {
		r = copyup_link_name(u, from->n, from->p.n, from->name);
		if (r < 0)
			return r;
	}
	if (over) {
		r = removal_begin(u, &to->p, to->name, to->n, &rm);
		if (r < 0)
			return r;
		/* beyond the budget of descriptors the file goes aside first */
		if (removal_needs_aside(u, &rm))
			r = removal_do(u, &to->p, to->name, &rm);
	}
	if (!r) {
		/* loans are recorded by path */
		lend_lock(u);
		r = do_rename(u, from, to);
		lend_unlock(u);
	}
	if (r < 0) {
		if (over)
			removal_undo(u, &to->p, to->name, &rm);
		return r;
	}
	if (over) {
		r = removal_count(u, &rm);
		/* what was there is in a lower only, and shows again */
		if (r < 0 && sys_renameat2(parent_fd(&to->p), to->name, parent_fd(&from->p),
					   from->name, 0) == 0) {
			removal_undo(u, &to->p, to->name, &rm);
			return r;
		}
		/* else it has happened: a count too high does no harm */
		removal_end(u, &to->p, to->name, &rm);
	}
	after_rename(u, from, to);
	return 0;
}

static int exchange(struct union_fs *u, struct end *from, struct end *to)
{
	struct end *e[2] = { from, to };
	int r, i;

	for (i = 0; i < 2; i++) {
		if (node_is_dir(e[i]->n))
			continue;
		r = copyup_link_name(u, e[i]->n, e[i]->p.n, e[i]->name);
		if (r < 0)
			return r;
	}
	lend_lock(u);
	r = sys_renameat2(parent_fd(&from->p), from->name, parent_fd(&to->p), to->name,
			  RENAME_EXCHANGE);
	lend_unlock(u);
	if (r < 0)
		return r;
	table_lock(u);
	if (from->n != to->n) {
		struct dent *a = dent_find(u, from->p.n, from->name);
		struct dent *b = dent_find(u, to->p.n, to->name);

		if (a)
			dent_del(u, a);
		if (b)
			dent_del(u, b);
		(void)dent_add(u, to->p.n, to->name, from->n);
		(void)dent_add(u, from->p.n, from->name, to->n);
	}
	table_unlock(u);
	dircache_drop(u, node_slot(u, from->p.n));
	dircache_drop(u, node_slot(u, to->p.n));
	return 0;
}

static int rename_locked(struct union_fs *u, struct end *from, struct end *to, unsigned flags)
{
	struct counting c;
	int r;

	counting_begin(u, from->n, to->n, &c);
	ns_lock(u, from->p.n, to->p.n);
	r = flags & RENAME_EXCHANGE ? exchange(u, from, to) : plain_rename(u, from, to);
	ns_unlock(u, from->p.n, to->p.n);
	counting_end(u, &c);
	return r;
}

static int rename_ends(struct union_fs *u, struct end *from, struct end *to, unsigned flags)
{
	int r = name_node(u, &from->p, from->name, &from->n);

	if (r < 0)
		return r;
	r = name_node(u, &to->p, to->name, &to->n);
	if (r == -ENOENT) {
		r = 0;
		to->n = NULL;
	}
	if (r < 0)
		return r;
	if (to->n && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (!to->n && flags & RENAME_EXCHANGE)
		return -ENOENT;
	/* two names of one file: rename(2) does nothing */
	if (to->n == from->n && !(flags & RENAME_EXCHANGE))
		return 0;
	if (node_is_dir(from->n) && is_below(u, to->p.n, from->n))
		return -EINVAL;
	r = bring_up(u, from, to->p.n);
	if (!r && flags & RENAME_EXCHANGE)
		r = bring_up(u, to, from->p.n);
	return r < 0 ? r : rename_locked(u, from, to, flags);
}

int union_rename(struct union_fs *u, uint64_t parent, const char *name, uint64_t newparent,
		 const char *newname, unsigned flags)
{
	struct end from = { .name = name }, to = { .name = newname };
	int r;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	r = parent_begin(u, parent, name, &from.p);
	if (r < 0)
		return r;
	r = parent_begin(u, newparent, newname, &to.p);
	if (!r) {
		r = rename_ends(u, &from, &to, flags);
		end_release(u, &to);
	}
	end_release(u, &from);
	return r;
}
