/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX ACLs of an archive entry as the kernel's extended attributes. */
#ifndef PLYFS_LAYER_TAR_ACL_H
#define PLYFS_LAYER_TAR_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct archive_entry;

/*
 * The value of system.posix_acl_default (@def) or system.posix_acl_access: *ret is malloc'ed, and
 * its size is returned; 0: none. Users that are given by name alone are looked up
 * on this machine, as tar does it. -EINVAL: not valid, or nobody knows a name: *ret_why (constant).
 */
int tar_acl_xattr(struct archive_entry *e, bool def, void **ret, const char **ret_why);

#endif
