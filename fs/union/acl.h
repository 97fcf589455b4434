/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX ACLs of what is made outside of its directory: the inheritance of a
 * default ACL that the file system does by itself for what is made in place.
 * Format: struct posix_acl_xattr_header and _entry of <linux/posix_acl_xattr.h>.
 */
#ifndef PLYFS_UNION_ACL_H
#define PLYFS_UNION_ACL_H

#include <stdbool.h>
#include <sys/types.h>

#define ACL_ACCESS_XATTR "system.posix_acl_access"
#define ACL_DEFAULT_XATTR "system.posix_acl_default"
#define ACL_SIZE_MAX 4096

/* The default ACL of the directory @dirfd, at most ACL_SIZE_MAX bytes: its length, 0 if none. */
ssize_t acl_get_default(int dirfd, void *buf);

/*
 * Gives the new file behind @fd, to be made with *@mode, what it inherits
 * from the default ACL @acl; *@mode becomes its mode then.
 */
int acl_inherit(int fd, const void *acl, size_t size, bool dir, mode_t *mode);

#endif
