/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX ACLs as the kernel's extended attributes: a version, and entries in its order. */
#include "fs/layer/tar_acl.h"

#include <archive.h>
#include <archive_entry.h>
#include <endian.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <linux/posix_acl_xattr.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

enum { MAX_ENTRIES = 4096,
       NAMES_BUF = 65536 };

/* The kernel's tags, which are in the order of its entries. */
enum { USER_OBJ = 1,
       USER = 2,
       GROUP_OBJ = 4,
       GROUP = 8,
       MASK = 16,
       OTHER = 32 };

static const struct {
	int tag;
	uint16_t kernel;
} tags[] = {
	{ ARCHIVE_ENTRY_ACL_USER_OBJ, USER_OBJ },
	{ ARCHIVE_ENTRY_ACL_USER, USER },
	{ ARCHIVE_ENTRY_ACL_GROUP_OBJ, GROUP_OBJ },
	{ ARCHIVE_ENTRY_ACL_GROUP, GROUP },
	{ ARCHIVE_ENTRY_ACL_MASK, MASK },
	{ ARCHIVE_ENTRY_ACL_OTHER, OTHER },
};

static bool look_up(bool group, const char *name, uint32_t *ret)
{
	_cleanup_free_ char *buf = sys_malloc(NAMES_BUF);
	struct passwd pw, *p = NULL;
	struct group gr, *g = NULL;

	if (!buf || !name)
		return false;
	if (group && getgrnam_r(name, &gr, buf, NAMES_BUF, &g) == 0 && g)
		*ret = g->gr_gid;
	else if (!group && getpwnam_r(name, &pw, buf, NAMES_BUF, &p) == 0 && p)
		*ret = p->pw_uid;
	return p || g;
}

static int by_tag(const void *pa, const void *pb)
{
	const struct posix_acl_xattr_entry *a = pa, *b = pb;
	unsigned ta = le16toh(a->e_tag), tb = le16toh(b->e_tag);
	uint32_t ia = le32toh(a->e_id), ib = le32toh(b->e_id);

	return ta != tb ? (ta > tb) - (ta < tb) : (ia > ib) - (ia < ib);
}

/* As the kernel wants it: one of each that is not named, a mask where any is, none twice. */
static bool valid(const struct posix_acl_xattr_entry *e, unsigned n)
{
	unsigned have = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned tag = le16toh(e[i].e_tag);

		if (i && by_tag(&e[i - 1], &e[i]) == 0)
			return false;
		have |= tag;
	}
	return (have & (USER_OBJ | GROUP_OBJ | OTHER)) == (USER_OBJ | GROUP_OBJ | OTHER) &&
	       (!(have & (USER | GROUP)) || (have & MASK));
}

int tar_acl_xattr(struct archive_entry *e, bool def, void **ret, const char **ret_why)
{
	int type = def ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
	int count = archive_entry_acl_reset(e, type), perm, tag, id;
	_cleanup_free_ struct posix_acl_xattr_header *h = NULL;
	struct posix_acl_xattr_entry *x;
	const char *name;
	unsigned n = 0;

	*ret_why = "its ACL is not valid";
	if (count <= 0)
		return 0;
	if (count > MAX_ENTRIES)
		return -EINVAL;
	h = sys_malloc(sizeof(*h) + (size_t)count * sizeof(*x));
	if (!h)
		return -ENOMEM;
	h->a_version = htole32(POSIX_ACL_XATTR_VERSION);
	x = (struct posix_acl_xattr_entry *)(void *)(h + 1);
	while (archive_entry_acl_next(e, type, &type, &perm, &tag, &id, &name) == ARCHIVE_OK) {
		uint32_t owner = UINT32_MAX;
		uint16_t kernel = 0;

		for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++)
			if (tags[i].tag == tag)
				kernel = tags[i].kernel;
		if (!kernel || n == (unsigned)count)
			return -EINVAL;
		if (kernel & (USER | GROUP)) {
			if (id >= 0)
				owner = (uint32_t)id;
			else if (!look_up(kernel == GROUP, name, &owner)) {
				*ret_why = "its ACL names somebody that this machine does not know";
				return -EINVAL;
			}
		}
		x[n++] = (struct posix_acl_xattr_entry){
			.e_tag = htole16(kernel),
			.e_perm = htole16((uint16_t)(perm & 7)),
			.e_id = htole32(owner),
		};
	}
	qsort(x, n, sizeof(*x), by_tag);
	if (!valid(x, n))
		return -EINVAL;
	*ret = steal_ptr(&h);
	return (int)(sizeof(struct posix_acl_xattr_header) + n * sizeof(*x));
}
