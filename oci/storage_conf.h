/* SPDX-License-Identifier: Apache-2.0 */
/* Where podman's storage is: of root or of the user, as storage.conf and environment say. */
#ifndef PLYFS_OCI_STORAGE_CONF_H
#define PLYFS_OCI_STORAGE_CONF_H

#include <stdbool.h>

struct storage_root {
	char *path, *driver; /* "overlay" or "vfs" */
	bool rootless; /* an ordinary user's, whose files need the user's namespace */
};

/*
 * The stores to ask, best first: that of @spec ("[DRIVER@]ROOT"), or where it is "" the
 * usual ones with their additional stores. -errno with a sentence.
 */
int storage_roots(const char *spec, struct storage_root **ret, unsigned *ret_n, char **ret_err);
void storage_roots_free(struct storage_root *roots, unsigned n);

/* The user who runs us, also from within "podman unshare". */
unsigned storage_user(void);

#endif
