/* SPDX-License-Identifier: Apache-2.0 */
/* Users' attributes, and those of formats. */
#include "oci/commit_xattr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

static const char *const spaces[] = { "trusted.overlay.", "user.overlay." };
static const char *const overrides[] = { "user.containers.override_stat",
					 "user.fuseoverlayfs.override_stat",
					 "security.fuseoverlayfs.override_stat" };
/* Formats' own, and labels that this machine gave. */
static const char *const dropped[] = { "user.fuseoverlayfs.", "security.fuseoverlayfs.",
				       "user.containers.override_stat", "security.selinux",
				       "security.ima", "security.evm", "system.nfs4_acl" };

static bool begins(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* The name that users see (@name or @buf), NULL for a format's own. */
static const char *shown(const char *name, char buf[256])
{
	for (unsigned i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		size_t n = strlen(spaces[i]);

		if (!begins(name, spaces[i]))
			continue;
		/* a user's own is stored escaped, as overlay.overlay.X */
		if (!begins(name + n, "overlay."))
			return NULL;
		(void)snprintf(buf, 256, "%s%s", spaces[i], name + n + strlen("overlay."));
		return buf;
	}
	for (unsigned i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (begins(name, dropped[i]))
			return NULL;
	return name;
}

static bool absent(ssize_t r)
{
	return r == -ENODATA || r == -EOPNOTSUPP || r == -EPERM || r == -EACCES;
}

static int add(struct commit_xattrs *x, const struct layer_dir *dir, const char *name,
	       const char *attr)
{
	char buf[256];
	const char *as = shown(attr, buf);
	struct tar_xattr *v;
	char *value = NULL;
	ssize_t n;

	if (!as)
		return 0;
	n = layer_getxattr_alloc(dir, name, attr, &value);
	if (n < 0)
		return n == -ENODATA ? 0 : (int)n;
	v = sys_realloc(x->v, (x->n + 1) * sizeof(*v));
	if (v)
		x->v = v;
	as = v ? sys_strdup(as) : NULL;
	if (!as) {
		free(value);
		return -ENOMEM;
	}
	x->v[x->n++] = (struct tar_xattr){ as, strlen(as), value, (size_t)n };
	return 0;
}

int commit_xattrs_read(const struct layer_dir *dir, const char *name, struct commit_xattrs *ret)
{
	const struct layer_ops *ops = dir->layer->ops;
	_cleanup_free_ char *list = NULL;
	ssize_t n = ops->listxattr(dir, name, NULL, 0);
	int r = 0;

	*ret = (struct commit_xattrs){ 0 };
	if (n <= 0)
		return absent(n) || n == 0 ? 0 : (int)n;
	list = sys_malloc((size_t)n + 1);
	if (!list)
		return -ENOMEM;
	n = ops->listxattr(dir, name, list, (size_t)n);
	if (n < 0)
		return (int)n;
	list[n] = 0;
	for (const char *p = list; p < list + n && r == 0; p += strlen(p) + 1)
		r = add(ret, dir, name, p);
	if (r < 0)
		commit_xattrs_release(ret);
	return r;
}

void commit_xattrs_release(struct commit_xattrs *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free((char *)(uintptr_t)x->v[i].name);
		free((void *)(uintptr_t)x->v[i].value);
	}
	free(x->v);
	*x = (struct commit_xattrs){ 0 };
}

int commit_mark(const struct layer_dir *dir, const char *name, const char *mark, char value[8])
{
	char attr[64];

	for (unsigned i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		_cleanup_free_ char *v = NULL;
		ssize_t n;

		(void)snprintf(attr, sizeof(attr), "%s%s", spaces[i], mark);
		n = layer_getxattr_alloc(dir, name, attr, &v);
		if (n < 0)
			continue;
		if (value)
			(void)snprintf(value, 8, "%s", v);
		return 1;
	}
	return 0;
}

const char *commit_override(const struct layer_dir *root)
{
	for (unsigned i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++) {
		_cleanup_free_ char *v = NULL;

		if (layer_getxattr_alloc(root, "", overrides[i], &v) >= 0)
			return overrides[i];
	}
	return NULL;
}
