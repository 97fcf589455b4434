/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds of layers share. */
#include "fs/layer/layer.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/sys.h"

void layer_close(struct layer *l)
{
	if (!l)
		return;
	l->ops->close(l);
	free(l->path);
	free(l);
}

static __thread char why[256];

const char *layer_why(void)
{
	return why;
}

int layer_open(const char *path, bool private_mount, struct layer **ret, char **ret_err)
{
	*ret_err = NULL;
	return layer_open_dir(path, private_mount, ret);
}

ssize_t layer_getxattr_alloc(const struct layer_dir *dir, const char *name, const char *attr,
			     char **ret)
{
	const struct layer_ops *ops = dir->layer->ops;
	ssize_t n, m;
	char *buf;

	n = ops->getxattr(dir, name, attr, NULL, 0);
	if (n < 0)
		return n;
	buf = sys_malloc((size_t)n + 1);
	if (!buf)
		return -ENOMEM;
	/* size 0 would only ask for the length again */
	m = n ? ops->getxattr(dir, name, attr, buf, (size_t)n) : 0;
	if (m < 0) {
		free(buf);
		return m;
	}
	buf[m] = 0;
	*ret = buf;
	return m;
}
