/* SPDX-License-Identifier: Apache-2.0 */
/* Inheritance of default ACLs, as POSIX.1e draft 17, section 23.1.4, has it. */
#include "fs/union/acl.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#include "lib/sys.h"

ssize_t acl_get_default(int dirfd, void *buf)
{
	ssize_t n = sys_getxattr_at(dirfd, ".", ACL_DEFAULT_XATTR, buf, ACL_SIZE_MAX);

	return n == -ENODATA || n == -EOPNOTSUPP ? 0 : n;
}

int acl_inherit(int fd, const void *acl, size_t size, bool dir, mode_t *mode)
{
	union {
		struct posix_acl_xattr_header h;
		char bytes[ACL_SIZE_MAX];
	} a;
	size_t n, i;
	struct posix_acl_xattr_entry *e, *group = NULL, *mask = NULL;
	mode_t m = *mode, got = 0;
	int r;

	if (size < sizeof(a.h) || size > sizeof(a))
		return -EIO;
	if (dir) {
		r = sys_fsetxattr(fd, ACL_DEFAULT_XATTR, acl, size, 0);
		if (r < 0)
			return r;
	}
	memcpy(&a, acl, size);
	n = (size - sizeof(a.h)) / sizeof(*e);
	e = (struct posix_acl_xattr_entry *)(void *)(a.bytes + sizeof(a.h));
	for (i = 0; i < n; i++) {
		unsigned perm = le16toh(e[i].e_perm);

		switch (le16toh(e[i].e_tag)) {
		case ACL_USER_OBJ:
			perm &= m >> 6;
			got |= (perm & 7) << 6;
			break;
		case ACL_OTHER:
			perm &= m;
			got |= perm & 7;
			break;
		case ACL_GROUP_OBJ:
			group = &e[i];
			break;
		case ACL_MASK:
			mask = &e[i];
			break;
		default:
			break;
		}
		e[i].e_perm = htole16((uint16_t)(perm & 7));
	}
	if (!mask)
		mask = group;
	if (!mask)
		return -EIO;
	mask->e_perm = htole16((uint16_t)(le16toh(mask->e_perm) & (m >> 3) & 7));
	got |= (mode_t)le16toh(mask->e_perm) << 3;
	*mode = (m & ~(mode_t)0777) | got;
	/* three entries say no more than the mode does */
	return n > 3 ? sys_fsetxattr(fd, ACL_ACCESS_XATTR, &a, size, 0) : 0;
}
