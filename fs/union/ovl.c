/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's on-disk format. */
#include "fs/union/ovl.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdatomic.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/sys.h"

const char *ovl_attr(const struct union_fs *u, const char *name, char buf[OVL_NAME_MAX + 32])
{
	(void)snprintf(buf, OVL_NAME_MAX + 32, "%s%s", u->xprefix, name);
	return buf;
}

bool ovl_is_trusted(const struct union_fs *u)
{
	return u->xprefix[0] == 't';
}

static bool list_has(const char *list, ssize_t len, const char *name)
{
	ssize_t i;

	for (i = 0; i < len; i += (ssize_t)strlen(list + i) + 1)
		if (!strcmp(list + i, name))
			return true;
	return false;
}

bool ovl_xattr_absent(int err)
{
	return err == -ENODATA || err == -EOPNOTSUPP || err == -EPERM || err == -EACCES ||
	       err == -ERANGE;
}

#define COMPLAINTS 4096
#define PROBES 8

/* Whether this is the first complaint with that hash. Past the table's size there are none. */
static bool first_complaint(uint64_t h)
{
	static _Atomic uint32_t made[COMPLAINTS];
	uint32_t tag = (uint32_t)(h >> 32) | 1;
	unsigned i;

	for (i = 0; i < PROBES; i++) {
		uint32_t old = 0;

		if (atomic_compare_exchange_strong(&made[(h + i) % COMPLAINTS], &old, tag))
			return true;
		if (old == tag)
			return false;
	}
	return false;
}

int ovl_bad(const struct layer_dir *dir, const char *name, const char *what)
{
	struct statx st = { 0 };
	char shown[256];
	uint64_t h;
	size_t i;

	(void)dir->layer->ops->stat(dir, "", &st);
	h = XXH3_64bits_withSeed(name, strlen(name), st.stx_ino ^ (uint64_t)dir->layer->id << 48);
	h ^= XXH3_64bits(what, strlen(what));
	if (!first_complaint(h))
		return -EIO;
	for (i = 0; i < sizeof(shown) - 1 && name[i]; i++)
		shown[i] = (unsigned char)name[i] < ' ' || name[i] == 127 ? '?' : name[i];
	shown[i] = 0;
	log_err("layer %s: %s%s %s", dir->layer->path, *shown ? "what is named " : "its root",
		shown, what);
	return -EIO;
}

/* Attributes of any format that make a directory opaque. */
static const char *const opaque_attrs[] = {
	"trusted.overlay.opaque",
	"user.overlay.opaque",
	"user.fuseoverlayfs.opaque",
};

static int read_opaque(const struct layer_dir *dir, const char *name, const char *list, ssize_t len,
		       struct ovl_marks *ret)
{
	unsigned i;

	for (i = 0; i < sizeof(opaque_attrs) / sizeof(*opaque_attrs); i++) {
		char v[4];
		ssize_t n;

		if (!list_has(list, len, opaque_attrs[i]))
			continue;
		n = dir->layer->ops->getxattr(dir, name, opaque_attrs[i], v, sizeof(v));
		if (n < 0 && !ovl_xattr_absent((int)n))
			return (int)n;
		if (n != 1)
			continue;
		if (v[0] == 'y')
			ret->opaque = true;
		else if (v[0] == 'x')
			ret->xwhiteouts = true;
	}
	return 0;
}

/*
 * A redirect is a path from the layers' root ("/a/b") or a name beside the
 * directory's own ("a"). Anything else is an attack or damage.
 */
static bool redirect_ok(const char *s, size_t len)
{
	const char *p = s, *e;

	if (!len || strlen(s) != len || len >= PATH_MAX)
		return false;
	if (*s != '/')
		return !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..") && len <= 255;
	while (*p == '/') {
		e = strchrnul(++p, '/');
		if (e == p || e - p > 255 || (e - p == 1 && p[0] == '.') ||
		    (e - p == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p = e;
	}
	return true;
}

static int read_redirect(struct union_fs *u, const struct layer_dir *dir, const char *name,
			 const char *list, ssize_t len, struct ovl_marks *ret)
{
	char attr[OVL_NAME_MAX + 32];
	char *value;
	ssize_t n;

	if (!list_has(list, len, ovl_attr(u, "redirect", attr)))
		return 0;
	n = layer_getxattr_alloc(dir, name, attr, &value);
	if (n < 0)
		return n == -ENODATA ? 0 : (int)n;
	if (!redirect_ok(value, (size_t)n)) {
		free(value);
		return ovl_bad(dir, name, "has a redirect that leads nowhere");
	}
	ret->redirect = value;
	return 0;
}

int ovl_read_marks(struct union_fs *u, const struct layer_dir *dir, const char *name,
		   struct ovl_marks *ret)
{
	const struct layer_ops *ops = dir->layer->ops;
	char small[512], wh[256 + sizeof("/" LAYER_WH_OPAQUE)];
	_cleanup_free_ char *big = NULL;
	char *list = small;
	struct statx st;
	ssize_t len;
	int r;

	*ret = (struct ovl_marks){ 0 };
	len = ops->listxattr(dir, name, small, sizeof(small));
	if (len == -ERANGE) {
		len = ops->listxattr(dir, name, NULL, 0);
		if (len > 0) {
			list = big = sys_malloc((size_t)len);
			if (!big)
				return -ENOMEM;
			len = ops->listxattr(dir, name, list, (size_t)len);
		}
	}
	if (len > 0) {
		r = read_opaque(dir, name, list, len, ret);
		if (!r)
			r = read_redirect(u, dir, name, list, len, ret);
		if (r < 0)
			return r;
	} else if (len < 0 && !ovl_xattr_absent((int)len)) {
		return (int)len;
	}
	if (ret->opaque)
		return 0;
	(void)snprintf(wh, sizeof(wh), "%s%s" LAYER_WH_OPAQUE, name, *name ? "/" : "");
	r = ops->stat(dir, wh, &st);
	if (r == 0)
		ret->opaque = true;
	/* of a directory that we may not enter nothing is shown anyway */
	if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -EACCES) {
		ovl_marks_release(ret);
		return r;
	}
	return 0;
}

void ovl_marks_release(struct ovl_marks *m)
{
	free(m->redirect);
	m->redirect = NULL;
}

int ovl_is_xwhiteout(struct union_fs *u, const struct layer_dir *dir, const char *name)
{
	char attr[OVL_NAME_MAX + 32];
	ssize_t n = dir->layer->ops->getxattr(dir, name, ovl_attr(u, "whiteout", attr), NULL, 0);

	return n >= 0 ? 1 : ovl_xattr_absent((int)n) ? 0 :
						       (int)n;
}

/* What the attribute holds: nothing, or this, with a digest that only fs-verity needs. */
struct metacopy_head {
	uint8_t version; /* 0 */
	uint8_t len; /* of all of it */
	uint8_t flags, digest_algo;
};

static bool metacopy_ok(const uint8_t *v, ssize_t n)
{
	struct metacopy_head h;

	if (n == 0)
		return true;
	if (n < (ssize_t)sizeof(h))
		return false;
	memcpy(&h, v, sizeof(h));
	return h.version == 0 && h.len == n;
}

int ovl_read_metacopy(struct union_fs *u, const struct layer_dir *dir, const char *name,
		      char **ret_redirect)
{
	char attr[OVL_NAME_MAX + 32], *to = NULL;
	uint8_t v[UINT8_MAX];
	ssize_t n;

	if (ret_redirect)
		*ret_redirect = NULL;
	n = dir->layer->ops->getxattr(dir, name, ovl_attr(u, "metacopy", attr), v, sizeof(v));
	if (n == -ERANGE)
		return ovl_bad(dir, name, "has a metacopy attribute that says nothing");
	if (n < 0)
		return ovl_xattr_absent((int)n) ? 0 : (int)n;
	/* any owner of a file can set user. attributes: the kernel does not follow them either */
	if (!ovl_is_trusted(u))
		return ovl_bad(dir, name, "has only metadata, by an attribute of a user");
	if (!metacopy_ok(v, n))
		return ovl_bad(dir, name, "has a metacopy attribute that says nothing");
	n = layer_getxattr_alloc(dir, name, ovl_attr(u, "redirect", attr), &to);
	if (n < 0)
		return ovl_xattr_absent((int)n) ? 1 : (int)n;
	if (!redirect_ok(to, (size_t)n)) {
		free(to);
		return ovl_bad(dir, name, "has a redirect that leads nowhere");
	}
	if (!u->cfg.redirect_follow) {
		free(to);
		return ovl_bad(dir, name, "has its data elsewhere, and redirects are not followed");
	}
	if (ret_redirect)
		*ret_redirect = to;
	else
		free(to);
	return 1;
}

int ovl_set_metacopy(struct union_fs *u, int fd)
{
	char attr[OVL_NAME_MAX + 32];

	return sys_fsetxattr(fd, ovl_attr(u, "metacopy", attr), "", 0, 0);
}

int ovl_clear_metacopy(struct union_fs *u, int fd)
{
	char attr[OVL_NAME_MAX + 32];

	return sys_fremovexattr(fd, ovl_attr(u, "metacopy", attr));
}

/* --- origins ------------------------------------------------------------- */

#define FB_MAGIC 0xfb
#define FB_HEADER 21 /* version, magic, len, flags, type, uuid */
#define FB_BIG_ENDIAN 1

int ovl_origin_of(const struct layer_dir *dir, const char *name,
		  struct ovl_origin *ret)
{
	int type, n;

	ret->len = 0;
	n = dir->layer->ops->handle(dir, name, ret->bytes + FB_HEADER,
				    sizeof(ret->bytes) - FB_HEADER, &type);
	/* a file system without handles, one with long ones, a sandbox that forbids them */
	if (n == -EOPNOTSUPP || n == -EOVERFLOW || n == -ENOSYS || n == -EPERM)
		return 0;
	if (n < 0)
		return n;
	if (type < 0 || type >= 0xff)
		return 0;
	ret->bytes[0] = 0;
	ret->bytes[1] = FB_MAGIC;
	ret->bytes[2] = (uint8_t)(FB_HEADER + n);
	ret->bytes[3] = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? FB_BIG_ENDIAN : 0;
	ret->bytes[4] = (uint8_t)type;
	memcpy(ret->bytes + 5, dir->layer->uuid, 16);
	ret->len = (unsigned)(FB_HEADER + n);
	return 0;
}

int ovl_read_origin(struct union_fs *u, const struct layer_dir *dir, const char *name,
		    struct ovl_origin *ret)
{
	char attr[OVL_NAME_MAX + 32];
	ssize_t n = dir->layer->ops->getxattr(dir, name, ovl_attr(u, "origin", attr), ret->bytes,
					      sizeof(ret->bytes));

	ret->len = 0;
	if (n < 0)
		return ovl_xattr_absent((int)n) ? 0 : (int)n;
	if (n < FB_HEADER || ret->bytes[0] != 0 || ret->bytes[1] != FB_MAGIC || ret->bytes[2] != n)
		return 0;
	ret->len = (unsigned)n;
	return 0;
}

int ovl_write_origin(struct union_fs *u, int fd, const struct ovl_origin *o)
{
	char attr[OVL_NAME_MAX + 32];

	if (!o->len)
		return 0;
	return sys_fsetxattr(fd, ovl_attr(u, "origin", attr), o->bytes, o->len, 0);
}

bool ovl_origin_inode(struct union_fs *u, const struct ovl_origin *o, uint64_t *ret_ino,
		      unsigned *ret_fs)
{
	const uint8_t *fid = o->bytes + FB_HEADER;
	unsigned n = o->len - FB_HEADER, i;
	bool only_uuid = false;
	uint32_t lo, hi;
	uint64_t ino;

	if (o->len < FB_HEADER + 8)
		return false;
	memcpy(&lo, fid, 4);
	memcpy(&hi, fid + 4, 4);
	switch (o->bytes[4]) {
	case 0x01: /* FILEID_INO32_GEN; tmpfs: generation, ino low, ino high */
		if (n == 12) {
			uint32_t top;

			memcpy(&top, fid + 8, 4);
			ino = hi | (uint64_t)top << 32;
		} else {
			ino = lo;
		}
		break;
	case 0x02: /* FILEID_INO32_GEN_PARENT */
		ino = lo;
		break;
	case 0x4d: /* FILEID_BTRFS_WITHOUT_PARENT: objectid first */
	case 0x4e:
	case 0x4f:
	case 0x81: /* xfs, 64-bit inode numbers */
	case 0x82:
		memcpy(&ino, fid, 8);
		break;
	case LAYER_HANDLE_TYPE:
		if (n != LAYER_HANDLE_SIZE || memcmp(fid, LAYER_HANDLE_MAGIC, 4))
			return false;
		memcpy(&ino, fid + 4, 8);
		only_uuid = true;
		break;
	default:
		return false;
	}
	for (i = 0; i < u->nlower; i++) {
		if (memcmp(u->lower[i]->uuid, o->bytes + 5, 16) && (u->nfs > 1 || only_uuid))
			continue;
		*ret_ino = ino;
		*ret_fs = u->lower[i]->fs;
		return true;
	}
	return false;
}

bool ovl_index_name(const struct ovl_origin *o, char buf[OVL_INDEX_NAME_MAX])
{
	static const char hex[] = "0123456789abcdef";
	unsigned i;

	if (!o->len || o->len * 2 > 255)
		return false;
	for (i = 0; i < o->len; i++) {
		buf[2 * i] = hex[o->bytes[i] >> 4];
		buf[2 * i + 1] = hex[o->bytes[i] & 15];
	}
	buf[2 * i] = 0;
	return true;
}

int ovl_read_nlink(struct union_fs *u, const struct layer_dir *dir, const char *name,
		   char *ret_base, int *ret_diff)
{
	char attr[OVL_NAME_MAX + 32], v[16], *end;
	ssize_t n = dir->layer->ops->getxattr(dir, name, ovl_attr(u, "nlink", attr), v,
					      sizeof(v) - 1);
	long diff;

	if (n < 0 && !ovl_xattr_absent((int)n))
		return (int)n;
	if (n < 2)
		return 0;
	v[n] = 0;
	if (v[0] != 'U' && v[0] != 'L')
		return 0;
	diff = strtol(v + 1, &end, 10);
	if (*end || diff < -1000000 || diff > 1000000)
		return 0;
	*ret_base = v[0];
	*ret_diff = (int)diff;
	return 1;
}

int ovl_write_nlink(struct union_fs *u, int fd, char base, int diff)
{
	char attr[OVL_NAME_MAX + 32], v[16];
	int n = snprintf(v, sizeof(v), "%c%+d", base, diff);

	return sys_fsetxattr(fd, ovl_attr(u, "nlink", attr), v, (size_t)n, 0);
}

int ovl_set_opaque(struct union_fs *u, int fd)
{
	char attr[OVL_NAME_MAX + 32];
	int r = sys_fsetxattr(fd, ovl_attr(u, "opaque", attr), "y", 1, 0);

	if (r != -EOPNOTSUPP)
		return r;
	/* a file system without extended attributes: the AUFS form */
	r = sys_openat(fd, LAYER_WH_OPAQUE, O_CREAT | O_WRONLY | O_NOFOLLOW, 0);
	if (r < 0)
		return r;
	sys_close(r);
	return 0;
}

int ovl_set_redirect(struct union_fs *u, int fd, const char *redirect)
{
	char attr[OVL_NAME_MAX + 32];

	return sys_fsetxattr(fd, ovl_attr(u, "redirect", attr), redirect, strlen(redirect), 0);
}

int ovl_set_impure(struct union_fs *u, int fd)
{
	char attr[OVL_NAME_MAX + 32];

	return sys_fsetxattr(fd, ovl_attr(u, "impure", attr), "y", 1, 0);
}

uint64_t ovl_map_ino(const struct union_fs *u, unsigned fs, uint64_t ino)
{
	if (fs && fs < 128 && ino < 1ULL << 56)
		ino |= (uint64_t)fs << 56;
	else if (fs && ino < 1ULL << 48) /* packed layers are a file system each */
		ino |= 1ULL << 63 | (uint64_t)fs << 48;
	else if (fs)
		ino = (ino ^ (uint64_t)fs << 48) * 0x9e3779b97f4a7c15ULL | 1ULL << 63;
	if (u->cfg.ino32 && ino >> 32)
		ino = (uint32_t)(ino >> 32) * 2654435761U ^ (uint32_t)ino;
	return ino ? ino : 1;
}

/* --- users' attributes --------------------------------------------------- */

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool ovl_xattr_hidden(const struct union_fs *u, const char *name)
{
	if (starts(name, "trusted.overlay.") || starts(name, "user.overlay."))
		return true;
	if (starts(name, "user.fuseoverlayfs.") || starts(name, "security.fuseoverlayfs.") ||
	    starts(name, "user.containers.override_stat"))
		return true;
	return u->cfg.xattr_permissions == 2 && starts(name, "user.containers.override_");
}

static const char *ovl_ns(const char *name)
{
	if (starts(name, "trusted.overlay."))
		return "trusted.overlay.";
	if (starts(name, "user.overlay."))
		return "user.overlay.";
	return NULL;
}

#define CONTAINERS_OVERRIDE "user.containers.override_"

const char *ovl_xattr_escape(const struct union_fs *u, const char *name, char buf[256 + 16])
{
	const char *ns = ovl_ns(name);

	/* containers/storage keeps what an ordinary user cannot set */
	if (u->cfg.xattr_permissions == 2 && starts(name, "security.")) {
		if (strlen(name) + strlen(CONTAINERS_OVERRIDE) > 255)
			return NULL;
		(void)snprintf(buf, 256 + 16, CONTAINERS_OVERRIDE "%s", name);
		return buf;
	}
	if (!ns)
		return ovl_xattr_hidden(u, name) ? NULL : name;
	if (strlen(name) + strlen("overlay.") > 255)
		return NULL;
	(void)snprintf(buf, 256 + 16, "%soverlay.%s", ns, name + strlen(ns));
	return buf;
}

const char *ovl_xattr_unescape(const struct union_fs *u, const char *name, char buf[256 + 16])
{
	const char *ns = ovl_ns(name);

	if (u->cfg.xattr_permissions == 2 && starts(name, CONTAINERS_OVERRIDE "security."))
		return name + strlen(CONTAINERS_OVERRIDE);
	if (!ns)
		return ovl_xattr_hidden(u, name) ? NULL : name;
	if (!starts(name + strlen(ns), "overlay."))
		return NULL;
	(void)snprintf(buf, 256 + 16, "%s%s", ns, name + strlen(ns) + strlen("overlay."));
	return buf;
}
