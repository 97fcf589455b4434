/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds of layers share. */
#include "fs/layer/layer.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/layer/blob.h"
#include "lib/sys.h"

void layer_close(struct layer *l)
{
	if (!l)
		return;
	l->ops->close(l);
	free(l->path);
	free(l);
}

const char *layer_why(void)
{
	return blob_why();
}

int layer_open(const char *path, bool private_mount, struct layer **ret, char **ret_err)
{
	struct statx st;
	int r = sys_statx(AT_FDCWD, path, 0, &st);

	*ret_err = NULL;
	if (r < 0)
		return r;
	return S_ISREG(st.stx_mode) ? layer_open_packed(path, ret, ret_err) :
				      layer_open_dir(path, private_mount, ret);
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
