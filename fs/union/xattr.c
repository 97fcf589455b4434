/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes of the union's files, without those of any format. */
#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/acl.h"
#include "fs/union/attr.h"
#include "fs/union/copyup.h"
#include "fs/union/lend.h"
#include "fs/union/locate.h"
#include "fs/union/ovl.h"
#include "fs/union/use.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

static bool is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS_XATTR) || !strcmp(name, ACL_DEFAULT_XATTR);
}

/* Others no file system takes: nothing need be copied up to find that out. */
static bool has_namespace(const char *name)
{
	return !strncmp(name, "user.", 5) || !strncmp(name, "trusted.", 8) ||
	       !strncmp(name, "security.", 9) || !strncmp(name, "system.", 7);
}

/* Maps the ids in an ACL, to the mount's view or to the host's. */
static int map_acl(struct union_fs *u, void *val, size_t size, bool view)
{
	struct posix_acl_xattr_entry *e =
		(void *)((char *)val + sizeof(struct posix_acl_xattr_header));
	size_t n, i;
	uint32_t id;
	int r;

	if (!u->cfg.nuidmap && !u->cfg.ngidmap)
		return 0;
	if (size < sizeof(struct posix_acl_xattr_header))
		return 0;
	n = (size - sizeof(struct posix_acl_xattr_header)) / sizeof(*e);
	for (i = 0; i < n; i++) {
		unsigned tag = le16toh(e[i].e_tag);

		if (tag != ACL_USER && tag != ACL_GROUP)
			continue;
		id = le32toh(e[i].e_id);
		if (view) {
			id = tag == ACL_USER ? attr_uid_view(u, id) : attr_gid_view(u, id);
		} else {
			r = tag == ACL_USER ? attr_uid_host(u, id, &id) : attr_gid_host(u, id, &id);
			if (r < 0)
				return r;
		}
		e[i].e_id = htole32(id);
	}
	return 0;
}

static ssize_t get_at(struct union_fs *u, const struct place *p, const char *stored, void *buf,
		      size_t size)
{
	const struct layer_dir *d = fdcache_dir(p->dir);

	(void)u;
	return d->layer->ops->getxattr(d, p->name, stored, buf, size);
}

ssize_t union_getxattr(struct union_fs *u, uint64_t nodeid, const char *name, void *buf,
		       size_t size)
{
	char esc[256 + 16];
	const char *stored;
	struct place p;
	struct node *n;
	ssize_t r;

	if (is_acl(name) && !u->cfg.acl)
		return -EOPNOTSUPP;
	stored = ovl_xattr_escape(u, name, esc);
	if (!stored)
		return -ENODATA;
	n = use_node(u, nodeid);
	if (!n)
		return -ESTALE;
	r = locate(u, n, &p);
	if (!r) {
		r = get_at(u, &p, stored, buf, size);
		if (r > 0 && size && is_acl(name))
			(void)map_acl(u, buf, (size_t)r, true);
		place_put(u, &p);
	}
	unuse_node(u, n);
	return r;
}

/* Whether the attribute exists, before anything is copied up for it: 1, 0 or -errno. */
static int exists(struct union_fs *u, struct node *n, const char *stored)
{
	struct place p;
	ssize_t r = locate(u, n, &p);

	if (r < 0)
		return (int)r;
	r = get_at(u, &p, stored, NULL, 0);
	place_put(u, &p);
	return r >= 0 ? 1 : r == -ENODATA ? 0 :
					    (int)r;
}

static int change(struct union_fs *u, struct node *n, const char *stored, const void *val,
		  size_t size, int flags, bool remove)
{
	struct statx st;
	int fd, r;

	r = copyup(u, n, COPYUP_META);
	if (r < 0)
		return r;
	fd = locate_path_fd(u, n);
	if (fd < 0)
		return fd;
	/* an ACL changes the mode */
	lend_lock(u);
	r = remove ? sys_fremovexattr(fd, stored) : sys_fsetxattr(fd, stored, val, size, flags);
	if (!r && is_acl(stored))
		lend_mode_changed(u, n);
	lend_unlock(u);
	sys_close(fd);
	/* an ACL may have changed the mode */
	if (!r && is_acl(stored))
		(void)attr_get(u, n, &st);
	if (!r && remove && !strcmp(stored, "security.capability")) {
		table_lock(u);
		node_set(n, NODE_CAP_REMOVED);
		table_unlock(u);
	}
	return r;
}

int union_setxattr(struct union_fs *u, uint64_t nodeid, const char *name, const void *val,
		   size_t size, int flags)
{
	_cleanup_free_ char *copy = NULL;
	char esc[256 + 16];
	const char *stored;
	struct node *n;
	int r = 0;

	if ((is_acl(name) && !u->cfg.acl) || !has_namespace(name))
		return -EOPNOTSUPP;
	stored = ovl_xattr_escape(u, name, esc);
	if (!stored)
		return -EPERM;
	if (!u->writable)
		return -EROFS;
	if (is_acl(name) && (u->cfg.nuidmap || u->cfg.ngidmap)) {
		copy = sys_malloc(size);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, val, size);
		r = map_acl(u, copy, size, false);
		if (r < 0)
			return r;
		val = copy;
	}
	n = use_node(u, nodeid);
	if (!n)
		return -ESTALE;
	if (flags) {
		r = exists(u, n, stored);
		if (flags & XATTR_CREATE && r == 1)
			r = -EEXIST;
		else if (flags & XATTR_REPLACE && r == 0)
			r = -ENODATA;
		else if (r > 0)
			r = 0;
	}
	if (!r)
		r = change(u, n, stored, val, size, flags, false);
	unuse_node(u, n);
	return r;
}

int union_removexattr(struct union_fs *u, uint64_t nodeid, const char *name)
{
	char esc[256 + 16];
	const char *stored = ovl_xattr_escape(u, name, esc);
	struct node *n;
	int r;

	if (is_acl(name) && !u->cfg.acl)
		return -EOPNOTSUPP;
	if (!stored)
		return -ENODATA;
	if (!u->writable)
		return -EROFS;
	n = use_node(u, nodeid);
	if (!n)
		return -ESTALE;
	r = exists(u, n, stored);
	if (r == 1)
		r = change(u, n, stored, NULL, 0, 0, true);
	else if (r == 0) /* removing an ACL that is not there is no error, and no change */
		r = is_acl(name) ? 0 : -ENODATA;
	unuse_node(u, n);
	return r;
}

/* Copies the visible ones of @list to @buf: their length. */
static ssize_t filter(struct union_fs *u, const char *list, ssize_t len, bool trusted, char *buf,
		      size_t size)
{
	char tmp[256 + 16];
	const char *p;
	size_t out = 0;

	for (p = list; p < list + len; p += strlen(p) + 1) {
		const char *shown = ovl_xattr_unescape(u, p, tmp);
		size_t l;

		if (!shown || (is_acl(shown) && !u->cfg.acl) ||
		    (!trusted && !strncmp(shown, "trusted.", 8)))
			continue;
		l = strlen(shown) + 1;
		if (size) {
			if (out + l > size)
				return -ERANGE;
			memcpy(buf + out, shown, l);
		}
		out += l;
	}
	return (ssize_t)out;
}

ssize_t union_listxattr(struct union_fs *u, uint64_t nodeid, bool trusted, char *buf, size_t size)
{
	_cleanup_free_ char *list = NULL;
	struct place p;
	struct node *n;
	ssize_t r;

	n = use_node(u, nodeid);
	if (!n)
		return -ESTALE;
	r = locate(u, n, &p);
	if (!r) {
		const struct layer_dir *d = fdcache_dir(p.dir);

		r = d->layer->ops->listxattr(d, p.name, NULL, 0);
		if (r > 0) {
			list = sys_malloc((size_t)r);
			r = !list ? -ENOMEM :
				    d->layer->ops->listxattr(d, p.name, list, (size_t)r);
		}
		place_put(u, &p);
	}
	unuse_node(u, n);
	return r <= 0 ? r : filter(u, list, r, trusted, buf, size);
}
