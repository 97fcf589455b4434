/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metacopies.
 *
 * Theory of operation. chmod, chown, utimes and attributes of a lower file need
 * none of its data: with metacopy=on the copy in the upper is as long as the
 * file, empty, and has the attribute overlay.metacopy. Its data is what the
 * layers below show under the same name, or where overlay.redirect says; what
 * is found there may itself have only metadata, and then the search goes on from
 * there, downwards, so that it ends. It is made when the node is: when the file
 * is looked up, or copied up, or (lowers, of which most have none) first opened.
 * From then on the layer and the path in it are the node's.
 *
 * On disk the name is what leads to the data. So before such a file is renamed
 * or linked, it gets an absolute redirect: first that, then the name, and a
 * crash between them leaves a redirect to where the data is anyway.
 *
 * The first write copies the data into the file that is there, keeping its
 * names (copyup.c). overlay.metacopy is removed last: until then what has been
 * copied is not looked at.
 */
#include "fs/union/metacopy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/union/locate.h"
#include "fs/union/ovl.h"
#include "fs/union/search.h"
#include "fs/union/use.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

void metacopy_release(struct metacopy *m)
{
	free(m->path);
	*m = (struct metacopy){ 0 };
}

/* Starts to ask the layers below @layer, by @redirect or by the name. */
static int start_below(struct search *s, unsigned layer, const char *redirect, unsigned *ret_i)
{
	int r = redirect ? search_redirect(s, layer, redirect) : 0;
	unsigned i = 0;

	if (r < 0)
		return r;
	if (r == 1)
		search_all_below(s, layer);
	while (i < s->n && s->layers[i] <= layer)
		i++;
	*ret_i = i;
	return 0;
}

/* What one layer has: 1 the data, 2 another metacopy (*ret_redirect), 0 nothing, or -errno. */
static int look_at(struct search *s, unsigned i, unsigned asked, const struct layer_dir *d,
		   const char *name, struct metacopy *ret, char **ret_redirect)
{
	struct statx st;
	int r = d->layer->ops->stat(d, name, &st);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = search_whiteout(s, i, asked, d, name, &st);
	if (r)
		return r < 0 ? r : -EIO;
	if (!S_ISREG(st.stx_mode))
		return -EIO;
	r = ovl_read_metacopy(s->u, d, name, ret_redirect);
	if (r)
		return r < 0 ? r : 2;
	r = search_path(s, d->layer->id, &ret->path);
	if (r < 0)
		return r;
	ret->layer = d->layer->id;
	ret->blocks = st.stx_blocks;
	ret->end = (int64_t)st.stx_size;
	return 1;
}

/* The data below @layer: 0, -EIO where there is none. */
static int search_data(struct search *s, unsigned layer, const char *redirect, struct metacopy *ret)
{
	unsigned i, asked;
	int r = start_below(s, layer, redirect, &i);

	for (asked = i; !r && i < s->n && search_goes_on(s); i++) {
		_cleanup_free_ char *next = NULL;
		const char *name;
		struct fdent *e;

		r = search_dir(s, s->layers[i], &e, &name);
		if (r == -ENOENT)
			r = 0;
		else if (!r) {
			r = look_at(s, i, asked, fdcache_dir(e), name, ret, &next);
			layer = s->layers[i];
			fdcache_put(s->u, e);
		}
		if (r == 1)
			return 0;
		if (r == 2) {
			r = start_below(s, layer, next, &i);
			asked = i--;
		}
	}
	return r < 0 ? r : -EIO;
}

static int find(struct union_fs *u, struct node *dir, const char *name, unsigned layer,
		const char *redirect, struct metacopy *ret)
{
	struct search *s = sys_malloc(sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	search_init(s, u, dir, name);
	r = search_data(s, layer, redirect, ret);
	free(s);
	return r;
}

/* What @d/@name, of which @ret is the data, is shorter by. 1 or -errno. */
static int set_end(const struct layer_dir *d, const char *name, struct metacopy *ret)
{
	struct statx st;
	int r = d->layer->ops->stat(d, name, &st);

	if (r < 0)
		return r;
	ret->end = (int64_t)st.stx_size < ret->end ? (int64_t)st.stx_size : INT64_MAX;
	return 1;
}

int metacopy_find(struct union_fs *u, struct node *dir, const char *name,
		  const struct layer_dir *d, const char *lname, struct metacopy *ret)
{
	_cleanup_free_ char *redirect = NULL;
	int r = ovl_read_metacopy(u, d, lname, &redirect);

	if (r != 1)
		return r;
	r = find(u, dir, name, d->layer->id, redirect, ret);
	if (r == -EIO)
		return ovl_bad(d, lname, "has only metadata, and its data is nowhere");
	return r < 0 ? r : set_end(d, lname, ret);
}

int metacopy_find_indexed(struct union_fs *u, struct node *dir, const char *name,
			  const struct layer_dir *d, const char *index, struct metacopy *ret)
{
	int r = ovl_read_metacopy(u, d, index, NULL);

	if (r == 1)
		r = find(u, dir, name, 0, NULL, ret);
	else if (r == 0)
		return 0;
	return r < 0 ? r : set_end(d, index, ret);
}

/* --- nodes --------------------------------------------------------------- */

int metacopy_set(struct union_fs *u, struct node *n, const struct metacopy *m)
{
	struct node_ext *x;

	if (!m->layer || node_has(n, NODE_META))
		return 0;
	x = node_ext(u, n);
	if (!x)
		return -ENOMEM;
	x->data_path = str_new(u, m->path);
	if (!x->data_path)
		return -ENOMEM;
	x->data_layer = m->layer;
	x->data_blocks = m->blocks;
	x->data_end = m->end;
	node_set(n, NODE_META);
	return 0;
}

void metacopy_unset(struct union_fs *u, struct node *n)
{
	struct node_ext *x = node_ext_peek(u, n);

	if (!node_has(n, NODE_META))
		return;
	node_clear(n, NODE_META);
	slab_release(u->slab, x->data_path);
	x->data_path = 0;
}

bool metacopy_maybe(struct union_fs *u, const struct layer_dir *f)
{
	char attr[OVL_NAME_MAX + 32];
	ssize_t r = f->layer->ops->getxattr(f, "", ovl_attr(u, "metacopy", attr), NULL, 0);

	return r >= 0 || !ovl_xattr_absent((int)r);
}

int metacopy_learn(struct union_fs *u, struct node *n, const struct place *at)
{
	struct metacopy m = { 0 };
	struct node *parent;
	char name[256];
	int r;

	if (node_has(n, NODE_META))
		return 1;
	r = ovl_read_metacopy(u, fdcache_dir(at->dir), at->name, NULL);
	if (r != 1)
		return r;
	parent = use_name(u, n, name);
	if (!parent)
		return -EIO;
	r = metacopy_find(u, parent, name, fdcache_dir(at->dir), at->name, &m);
	unuse_node(u, parent);
	if (r == 1) {
		table_lock(u);
		/* copied up meanwhile, with its data or without */
		if (!node_has(n, NODE_UPPER) && metacopy_set(u, n, &m) < 0)
			r = -ENOMEM;
		table_unlock(u);
	}
	metacopy_release(&m);
	return r;
}

int metacopy_here(struct union_fs *u, struct node *n, uint64_t blocks, struct metacopy *ret)
{
	char path[PATH_MAX], name[256];
	struct node *parent = use_name(u, n, name);
	int r = 0;

	if (!parent)
		return -ENOENT;
	if (node_slot(u, parent) != u->root) {
		r = locate_layer_path(u, parent, n->layer, path, sizeof(path) - 257);
		if (r > 0)
			path[r++] = '/';
	}
	unuse_node(u, parent);
	if (r < 0)
		return r;
	(void)snprintf(path + r, sizeof(path) - (size_t)r, "%s", name);
	ret->path = sys_strdup(path);
	ret->layer = n->layer;
	ret->blocks = blocks;
	ret->end = INT64_MAX;
	return ret->path ? 0 : -ENOMEM;
}

int metacopy_open(struct union_fs *u, struct node *n, struct layer_dir *ret)
{
	char path[PATH_MAX], *slash;
	struct layer_dir dir;
	struct node_ext *x;
	struct layer *l;
	int r;

	table_lock(u);
	x = node_ext_peek(u, n);
	if (!node_has(n, NODE_META)) {
		table_unlock(u);
		return -EAGAIN;
	}
	(void)snprintf(path, sizeof(path), "%s", str_at(u, x->data_path));
	l = u->lower[x->data_layer - 1];
	table_unlock(u);
	slash = strrchr(path, '/');
	if (!slash)
		return l->ops->file_open(&l->root, path, ret);
	*slash = 0;
	r = l->ops->dir_open(&l->root, path, &dir);
	if (!r) {
		r = l->ops->file_open(&dir, slash + 1, ret);
		sys_close(dir.fd);
	}
	return r;
}

/* --- names --------------------------------------------------------------- */

/* The path of @parent/@name, from the root of all lowers. */
static int lowers_path(struct union_fs *u, struct node *parent, const char *name,
		       char path[PATH_MAX])
{
	unsigned layer = 0;
	struct dstack *s;
	int r = 0;

	table_lock(u);
	s = stack_at(u, parent);
	if (s && s->n)
		layer = s->e[0].layer;
	table_unlock(u);
	if (!layer)
		return -EXDEV;
	path[0] = '/';
	if (node_slot(u, parent) != u->root) {
		r = locate_layer_path(u, parent, layer, path + 1, PATH_MAX - 258);
		if (r < 0)
			return r;
		path[++r] = '/';
	}
	(void)snprintf(path + r + 1, PATH_MAX - (size_t)r - 1, "%s", name);
	return 0;
}

int metacopy_free_from_name(struct union_fs *u, struct node *n, struct node *parent,
			    const char *name)
{
	_cleanup_free_ char *has = NULL;
	_cleanup_fd_ int fd = -1;
	struct layer_dir d = { .layer = u->upper };
	char path[PATH_MAX];
	int r;

	if (!node_has(n, NODE_META))
		return 0;
	fd = locate_path_fd(u, n);
	if (fd < 0)
		return fd;
	d.fd = fd;
	r = ovl_read_metacopy(u, &d, "", &has);
	if (r != 1 || (has && *has == '/'))
		return r < 0 ? r : 0;
	if (!u->cfg.redirect)
		return -EXDEV;
	r = lowers_path(u, parent, has ? has : name, path);
	if (!r && strlen(path) > OVL_REDIRECT_MAX)
		r = -EXDEV;
	if (!r)
		r = ovl_set_redirect(u, fd, path);
	if (r == -ENAMETOOLONG || r == -E2BIG || r == -ERANGE || r == -EOPNOTSUPP)
		r = -EXDEV;
	return r;
}
