/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes: from what a layer holds to what the mount shows. */
#include "fs/union/attr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/ovl.h"
#include "lib/sys.h"

static uint32_t to_view(const struct union_idrange *map, unsigned n, uint32_t host)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (host >= map[i].host && host - map[i].host < map[i].len)
			return map[i].view + (host - map[i].host);
	return n ? ATTR_OVERFLOW_ID : host;
}

static int to_host(const struct union_idrange *map, unsigned n, uint32_t view, uint32_t *ret)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		if (view >= map[i].view && view - map[i].view < map[i].len) {
			*ret = map[i].host + (view - map[i].view);
			return 0;
		}
	}
	*ret = view;
	return n ? -EOVERFLOW : 0;
}

uid_t attr_uid_view(const struct union_fs *u, uid_t host)
{
	if (u->cfg.squash_uid)
		return u->cfg.squash_to_uid;
	return to_view(u->uidmap, u->cfg.nuidmap, host);
}

gid_t attr_gid_view(const struct union_fs *u, gid_t host)
{
	if (u->cfg.squash_gid)
		return u->cfg.squash_to_gid;
	return to_view(u->gidmap, u->cfg.ngidmap, host);
}

int attr_uid_host(const struct union_fs *u, uid_t view, uid_t *ret)
{
	return to_host(u->uidmap, u->cfg.nuidmap, view, ret);
}

int attr_gid_host(const struct union_fs *u, gid_t view, gid_t *ret)
{
	return to_host(u->gidmap, u->cfg.ngidmap, view, ret);
}

/* --- override_stat ------------------------------------------------------- */

static const struct {
	const char *name;
	mode_t type;
} override_types[] = {
	{ "dir", S_IFDIR },
	{ "file", S_IFREG },
	{ "symlink", S_IFLNK },
	{ "pipe", S_IFIFO },
	{ "socket", S_IFSOCK },
	{ "block", S_IFBLK },
	{ "char", S_IFCHR },
};

#define NTYPES (sizeof(override_types) / sizeof(*override_types))

/* "dir", "char-1-3": false where it is none of those. */
static bool parse_type(const char *s, struct statx *st)
{
	size_t i;

	for (i = 0; i < NTYPES; i++) {
		size_t len = strlen(override_types[i].name);
		unsigned maj, min;

		if (strncmp(s, override_types[i].name, len))
			continue;
		st->stx_mode = (uint16_t)((st->stx_mode & 07777) | override_types[i].type);
		if (!s[len])
			return override_types[i].type != S_IFBLK &&
			       override_types[i].type != S_IFCHR;
		if (sscanf(s + len, "-%u-%u", &maj, &min) != 2)
			return false;
		st->stx_rdev_major = maj;
		st->stx_rdev_minor = min;
		return true;
	}
	return false;
}

static int parse_override(const char *v, struct statx *st)
{
	struct statx t = *st;
	unsigned long uid, gid, mode;
	char *e;

	uid = strtoul(v, &e, 10);
	if (e == v || *e != ':' || uid > UINT32_MAX)
		return -EIO;
	v = e + 1;
	gid = strtoul(v, &e, 10);
	if (e == v || *e != ':' || gid > UINT32_MAX)
		return -EIO;
	v = e + 1;
	mode = strtoul(v, &e, 8);
	if (e == v || (*e && *e != ':') || mode > 07777)
		return -EIO;
	t.stx_uid = (uint32_t)uid;
	t.stx_gid = (uint32_t)gid;
	t.stx_mode = (uint16_t)((t.stx_mode & S_IFMT) | mode);
	/* a type is honoured where the real inode can stand for one */
	if (*e == ':' && (S_ISREG(t.stx_mode) || S_ISDIR(t.stx_mode)) && !parse_type(e + 1, &t))
		return -EIO;
	*st = t;
	return 0;
}

int attr_override(const struct layer_dir *dir, const char *name, struct statx *st)
{
	char v[128];
	ssize_t n;

	if (!dir->layer->override_attr)
		return 0;
	n = dir->layer->ops->getxattr(dir, name, dir->layer->override_attr, v, sizeof(v) - 1);
	if (n == -ENODATA || n == -EOPNOTSUPP || n == -EPERM)
		return 0;
	if (n < 0)
		return n == -ERANGE ? ovl_bad(dir, name, "has a long override_stat") : (int)n;
	v[n] = 0;
	if (strlen(v) != (size_t)n || parse_override(v, st) < 0)
		return ovl_bad(dir, name, "has an override_stat that says nothing");
	return 0;
}

int attr_write_override(struct union_fs *u, int fd, uid_t uid, gid_t gid, mode_t mode,
			unsigned rdev_major, unsigned rdev_minor)
{
	char v[128];
	size_t i;
	int n;

	n = snprintf(v, sizeof(v), "%u:%u:%o", uid, gid, mode & 07777);
	for (i = 0; i < NTYPES; i++)
		if (override_types[i].type == (mode & S_IFMT))
			n += snprintf(v + n, sizeof(v) - (size_t)n, ":%s", override_types[i].name);
	if (S_ISBLK(mode) || S_ISCHR(mode))
		n += snprintf(v + n, sizeof(v) - (size_t)n, "-%u-%u", rdev_major, rdev_minor);
	return sys_fsetxattr(fd, u->upper->override_attr, v, (size_t)n, 0);
}

static const char *const override_attrs[] = {
	"security.fuseoverlayfs.override_stat",
	"user.containers.override_stat",
	"user.fuseoverlayfs.override_stat",
};

const char *attr_find_override(struct union_fs *u, struct layer *l)
{
	unsigned i;

	for (i = 0; i < sizeof(override_attrs) / sizeof(*override_attrs); i++) {
		/*
		 * A file's owner may set its user. attributes: on a mount made
		 * by root they would make any file a setuid root one.
		 */
		if (!strncmp(override_attrs[i], "user.", 5) && u->privileged &&
		    !u->cfg.xattr_permissions)
			continue;
		if (l->ops->getxattr(&l->root, "", override_attrs[i], NULL, 0) >= 0)
			return override_attrs[i];
	}
	return NULL;
}

/* --- the mount's view ---------------------------------------------------- */

/*
 * How many names an indexed file has. The kernel also writes counts relative
 * to the lower's links, which are not known where the file was found by a name
 * in the upper; then no lower name is assumed.
 */
static int indexed_names(struct union_fs *u, const struct layer_dir *dir, const char *name,
			 long upper_links, long lower_links, long *ret)
{
	char base;
	int diff, r = ovl_read_nlink(u, dir, name, &base, &diff);

	if (r < 0)
		return r;
	if (r == 0 || (base == 'L' && !lower_links))
		*ret = upper_links - 1; /* less the index's own */
	else
		*ret = (base == 'U' ? upper_links : lower_links) + diff;
	return 0;
}

int attr_add_nlink(struct union_fs *u, struct node *n, const struct place *at, int fd, int delta,
		   long *ret_names)
{
	struct node_ext *x;
	struct statx st;
	long lower, names;
	int r = sys_fstatx(fd, &st);

	if (r < 0)
		return r;
	table_lock(u);
	x = node_ext_peek(u, n);
	lower = x ? x->lower_nlink : 0;
	table_unlock(u);
	r = indexed_names(u, fdcache_dir(at->dir), at->name, st.stx_nlink, lower, &names);
	if (r < 0)
		return r;
	if (ret_names)
		*ret_names = names;
	return ovl_write_nlink(u, fd, 'U', (int)(names - (long)st.stx_nlink) + delta);
}

int attr_nlink(struct union_fs *u, struct node *n, const struct layer_dir *dir, const char *name,
	       struct statx *st)
{
	long links = st->stx_nlink, lower = 0;
	struct node_ext *x;
	bool gone;
	int r;

	if (S_ISDIR(st->stx_mode))
		return 0;
	table_lock(u);
	gone = node_has(n, NODE_GONE);
	x = node_ext_peek(u, n);
	if (x) {
		lower = x->lower_nlink;
		if (x->orphan)
			links--; /* its name in the workdir */
	}
	if (!node_has(n, NODE_UPPER))
		links += n->nlink_adj;
	table_unlock(u);
	if (node_has(n, NODE_INDEXED)) {
		r = indexed_names(u, dir, name, links, lower, &links);
		if (r < 0)
			return r;
	} else if (gone) {
		links = 0;
	}
	st->stx_nlink = links > 0 ? (uint32_t)links : gone ? 0 :
							     1;
	return 0;
}

void attr_to_view(struct union_fs *u, struct node *n, struct statx *st)
{
	st->stx_ino = n->ino;
	st->stx_uid = attr_uid_view(u, st->stx_uid);
	st->stx_gid = attr_gid_view(u, st->stx_gid);
	if (node_has(n, NODE_LOAN))
		lend_hide(u, n, st);
	if (node_has(n, NODE_META))
		st->stx_blocks = node_ext_peek(u, n)->data_blocks;
	if (S_ISDIR(st->stx_mode)) {
		struct dstack *s = stack_at(u, n);
		unsigned dirs = (s ? s->n : 0U) + (node_has(n, NODE_UPPER) ? 1 : 0);

		if (node_has(n, NODE_GONE))
			st->stx_nlink = 0;
		else if (dirs > 1 || u->cfg.static_nlink)
			st->stx_nlink = 1;
	}
}

void attr_show(struct union_fs *u, struct node *n, struct statx *st)
{
	table_lock(u);
	attr_to_view(u, n, st);
	if (st->stx_mode & (S_ISUID | S_ISGID))
		node_set(n, NODE_SETID);
	else
		node_clear(n, NODE_SETID);
	table_unlock(u);
}

int attr_get(struct union_fs *u, struct node *n, struct statx *ret)
{
	const struct layer_dir *d;
	struct place p;
	int r, tries;

	for (tries = 0; tries < locate_tries(u); tries++) {
		if (tries)
			locate_wait(tries);
		r = locate_stat(u, n, &p, ret);
		if (r < 0)
			return r;
		d = fdcache_dir(p.dir);
		r = r == 1 ? 0 : d->layer->ops->stat(d, p.name, ret);
		/* gone, or another file: a rename came between */
		if (p.upper && *p.name &&
		    (r == -ENOENT || (!r && ret->stx_ino != node_upper_ino(n)))) {
			place_put(u, &p);
			continue;
		}
		if (!r)
			r = attr_override(d, p.name, ret);
		if (!r)
			r = attr_nlink(u, n, d, p.name, ret);
		if (!r)
			attr_show(u, n, ret);
		place_put(u, &p);
		return r;
	}
	return -ESTALE;
}
