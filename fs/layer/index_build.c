/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting what an archive holds: the tree in memory.
 *
 * Names and inodes are apart, as in a file system: a hard link is a second
 * name of one inode, and an entry that replaces another gives the name a new
 * inode, while a name that was linked before keeps the old one. Names are
 * found by (directory, string), strings by content; both by open addressing
 * in tables of 32-bit numbers. Numbers start at 1; 0 is none.
 */
#include "fs/layer/index_build.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "fs/layer/index_build_i.h"
#include "lib/sys.h"

#define PATH_LIMIT 65535
#define WH ".wh."

int ib_fail(char **ret_err, int r, const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	if (!ret_err || *ret_err)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	*ret_err = sys_strdup(buf);
	return r;
}

/* Room for one more of @size bytes in an array of *n that has *cap. */
int ib_grow(void **p, uint64_t n, uint64_t *cap, size_t size)
{
	uint64_t want;
	void *q;

	if (n < *cap)
		return 0;
	want = *cap ? *cap * 2 : 64;
	q = sys_realloc(*p, want * size);
	if (!q)
		return -ENOMEM;
	*p = q;
	*cap = want;
	return 0;
}

int index_build_new(struct index_build **ret)
{
	struct index_build *b = sys_calloc(1, sizeof(*b));
	struct bnode *root;

	if (!b)
		return -ENOMEM;
	/* slot 0 of each is nobody's */
	if (ib_grow((void **)&b->node, 1, &b->node_cap, sizeof(*b->node)) < 0 ||
	    ib_grow((void **)&b->name, 1, &b->name_cap, sizeof(*b->name)) < 0 ||
	    ib_grow((void **)&b->str, 0, &b->str_cap, 1) < 0) {
		index_build_free(b);
		return -ENOMEM;
	}
	memset(b->node, 0, 2 * sizeof(*b->node));
	memset(b->name, 0, sizeof(*b->name));
	b->str_len = 1;
	b->str[0] = 0;
	b->nodes = 2;
	b->names = 1;
	root = &b->node[1];
	root->e.mode = S_IFDIR | 0755;
	root->implicit = true;
	root->parent = 1;
	*ret = b;
	return 0;
}

void index_build_free(struct index_build *b)
{
	if (!b)
		return;
	free(b->node);
	free(b->name);
	free(b->str);
	free(b->names_by);
	free(b->strs_by);
	free(b->strs);
	free(b->extent);
	free(b->chunk);
	free(b->frame);
	free(b->xattr);
	free(b->value);
	free(b->last_dir);
	free(b);
}

/* --- strings ----------------------------------------------------------------- */

static int rehash_strs(struct index_build *b)
{
	uint32_t mask = b->strs_mask ? b->strs_mask * 2 + 1 : 1023, i;
	uint32_t *t = sys_calloc((size_t)mask + 1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	for (i = 1; i <= b->nstrs; i++) {
		uint32_t h = (uint32_t)XXH3_64bits(b->str + b->strs[i].off, b->strs[i].len);

		while (t[h & mask])
			h++;
		t[h & mask] = i;
	}
	free(b->strs_by);
	b->strs_by = t;
	b->strs_mask = mask;
	return 0;
}

/* The number of a string that is stored once; -errno in *ret_r and 0. */
static uint32_t intern(struct index_build *b, const char *s, size_t len, bool make, int *ret_r)
{
	uint32_t h = (uint32_t)XXH3_64bits(s, len), i;
	uint64_t need = b->str_len + len + 1;

	*ret_r = 0;
	if (make && b->nstrs >= b->strs_mask / 2) {
		*ret_r = rehash_strs(b);
		if (*ret_r < 0)
			return 0;
	}
	if (!b->strs_by)
		return 0;
	for (; (i = b->strs_by[h & b->strs_mask]) != 0; h++)
		if (b->strs[i].len == len && !memcmp(b->str + b->strs[i].off, s, len))
			return i;
	if (!make)
		return 0;
	if (need > UINT32_MAX) {
		*ret_r = -E2BIG;
		return 0;
	}
	while (b->str_cap < need) {
		*ret_r = ib_grow((void **)&b->str, b->str_cap, &b->str_cap, 1);
		if (*ret_r < 0)
			return 0;
	}
	*ret_r = ib_grow((void **)&b->strs, b->nstrs + 1ULL, &b->strs_cap, sizeof(*b->strs));
	if (*ret_r < 0)
		return 0;
	b->nstrs++;
	b->strs[b->nstrs].off = (uint32_t)b->str_len;
	b->strs[b->nstrs].len = (uint32_t)len;
	memcpy(b->str + b->str_len, s, len);
	b->str[need - 1] = 0;
	b->str_len = need;
	b->strs_by[h & b->strs_mask] = b->nstrs;
	return b->nstrs;
}

/* --- names ------------------------------------------------------------------- */

static uint32_t name_hash(uint32_t dir, uint32_t str)
{
	uint64_t h = ((uint64_t)dir << 32 | str) * 0x9e3779b97f4a7c15ULL;

	return (uint32_t)(h >> 32);
}

static uint32_t find_name(const struct index_build *b, uint32_t dir, uint32_t str)
{
	uint32_t h = name_hash(dir, str), i;

	if (!b->names_by || !str)
		return 0;
	for (; (i = b->names_by[h & b->names_mask]) != 0; h++)
		if (b->name[i].dir == dir && b->name[i].str == str)
			return i;
	return 0;
}

static int rehash_names(struct index_build *b)
{
	uint32_t mask = b->names_mask ? b->names_mask * 2 + 1 : 1023, i;
	uint32_t *t = sys_calloc((size_t)mask + 1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	for (i = 1; i < b->names; i++) {
		uint32_t h = name_hash(b->name[i].dir, b->name[i].str);

		while (t[h & mask])
			h++;
		t[h & mask] = i;
	}
	free(b->names_by);
	b->names_by = t;
	b->names_mask = mask;
	return 0;
}

/* The name @dir/@str, made where it is not there yet: then it has neither node nor mark. */
static int want_name(struct index_build *b, uint32_t dir, uint32_t str, uint32_t *ret)
{
	uint32_t h;
	int r = 0;

	*ret = find_name(b, dir, str);
	if (*ret)
		return 0;
	if (b->names > INDEX_MAX_INODES)
		return -E2BIG;
	if (b->names >= b->names_mask / 2)
		r = rehash_names(b);
	if (r == 0)
		r = ib_grow((void **)&b->name, b->names, &b->name_cap, sizeof(*b->name));
	if (r < 0)
		return r;
	*ret = b->names++;
	b->name[*ret] = (struct bname){ .dir = dir, .str = str };
	for (h = name_hash(dir, str); b->names_by[h & b->names_mask]; h++)
		;
	b->names_by[h & b->names_mask] = *ret;
	return 0;
}

static int new_node(struct index_build *b, uint32_t *ret)
{
	int r;

	if (b->nodes > INDEX_MAX_INODES)
		return -E2BIG;
	r = ib_grow((void **)&b->node, b->nodes, &b->node_cap, sizeof(*b->node));
	if (r < 0)
		return r;
	memset(&b->node[b->nodes], 0, sizeof(*b->node));
	*ret = b->nodes++;
	return 0;
}

/* Lets the name @i refer to @node, and no more to what it did. */
static void set_node(struct index_build *b, uint32_t i, uint32_t node)
{
	uint32_t old = b->name[i].node;

	if (!old && !b->name[i].link)
		b->node[b->name[i].dir].children++;
	if (old)
		b->node[old].names--;
	b->name[i].link = 0;
	b->name[i].node = node;
	b->node[node].names++;
	if (S_ISDIR(b->node[node].e.mode))
		b->node[node].parent = b->name[i].dir;
}

/* --- paths ------------------------------------------------------------------- */

/* Cuts the next component off *path: 1, 0 at the end, -EINVAL for "..". "." is passed over. */
static int next_part(const char **path, const char **ret, size_t *ret_len)
{
	for (;;) {
		while (**path == '/')
			(*path)++;
		if (!**path)
			return 0;
		*ret = *path;
		*ret_len = strcspn(*path, "/");
		*path += *ret_len;
		if (*ret_len == 1 && **ret == '.')
			continue;
		return *ret_len == 2 && !memcmp(*ret, "..", 2) ? -EINVAL : 1;
	}
}

static bool more_parts(const char *path)
{
	const char *part;
	size_t len;

	return next_part(&path, &part, &len) != 0;
}

/* The directory @dir/@str, made with defaults where nothing is. */
static int enter_dir(struct index_build *b, uint32_t dir, uint32_t str, uint32_t *ret)
{
	uint32_t i, node;
	int r = want_name(b, dir, str, &i);

	if (r < 0)
		return r;
	node = b->name[i].node;
	if (node || b->name[i].link) {
		*ret = node;
		return node && S_ISDIR(b->node[node].e.mode) ? 0 : -ENOTDIR;
	}
	r = new_node(b, &node);
	if (r < 0)
		return r;
	b->node[node].e.mode = S_IFDIR | 0755;
	b->node[node].implicit = true;
	set_node(b, i, node);
	*ret = node;
	return 0;
}

/*
 * Walks to the directory that @path is in, making what is missing. *ret_name
 * is the last part, "" where @path is the root. 1: nobody is to see that path.
 */
static int walk(struct index_build *b, const char *path, uint32_t *ret_dir, const char **ret_name,
		size_t *ret_len, char **ret_err)
{
	const char *p = path, *part = "";
	uint32_t dir = INDEX_ROOT, str;
	size_t len = 0;
	int r;

	if (strlen(path) > PATH_LIMIT)
		return ib_fail(ret_err, -ENAMETOOLONG, "%.100s...: the path is too long", path);
	/* archives come directory by directory */
	if (b->last_dir_len && !strncmp(path, b->last_dir, b->last_dir_len) &&
	    path[b->last_dir_len - 1] == '/') {
		dir = b->last_dir_node;
		p += b->last_dir_len;
	}
	for (;;) {
		r = next_part(&p, &part, &len);
		if (r < 0)
			return ib_fail(ret_err, r, "%.300s: the path leads upwards", path);
		if (r == 0) { /* the root, or the remembered directory itself */
			if (dir == INDEX_ROOT) {
				part = "";
				len = 0;
				break;
			}
			b->last_dir_len = 0;
			return walk(b, path, ret_dir, ret_name, ret_len, ret_err);
		}
		if (len > 255 && !(len <= 259 && !memcmp(part, WH, 4)))
			return ib_fail(ret_err, -ENAMETOOLONG,
				       "%.300s: a name is longer than 255 bytes", path);
		if (!more_parts(p))
			break;
		if (len >= 4 && !memcmp(part, WH, 4))
			return 1; /* below something of a format's own */
		str = intern(b, part, len, true, &r);
		if (r == 0)
			r = enter_dir(b, dir, str, &dir);
		if (r == -ENOTDIR)
			return ib_fail(ret_err, r, "%.300s: a part of the path is no directory",
				       path);
		if (r < 0)
			return r;
	}
	if (dir != INDEX_ROOT && (!b->last_dir_len || dir != b->last_dir_node)) {
		size_t n = (size_t)(part - path);
		char *s = sys_malloc(n);

		if (!s)
			return -ENOMEM;
		memcpy(s, path, n);
		free(b->last_dir);
		b->last_dir = s;
		b->last_dir_len = n;
		b->last_dir_node = dir;
	}
	*ret_dir = dir;
	*ret_name = part;
	*ret_len = len;
	return 0;
}

static uint32_t find(const struct index_build *b, const char *path)
{
	struct index_build *w = (struct index_build *)(uintptr_t)b; /* nothing is made */
	uint32_t dir = INDEX_ROOT, i = 0;
	const char *part;
	size_t len;
	int r;

	for (;;) {
		r = next_part(&path, &part, &len);
		if (r <= 0)
			return r < 0 ? 0 : i;
		if (i)
			dir = b->name[i].node;
		if (!dir)
			return 0;
		i = find_name(b, dir, intern(w, part, len, false, &r));
		if (!i)
			return 0;
	}
}

bool index_build_has(const struct index_build *b, const char *path)
{
	uint32_t i;

	if (!more_parts(path))
		return !b->node[INDEX_ROOT].implicit;
	i = find(b, path);
	return i && (b->name[i].link || (b->name[i].node && !b->node[b->name[i].node].implicit));
}

uint32_t index_build_find(const struct index_build *b, const char *path)
{
	return more_parts(path) ? b->name[find(b, path)].node : INDEX_ROOT;
}

uint32_t index_build_count(const struct index_build *b)
{
	return b->names;
}

/* --- entries ----------------------------------------------------------------- */

static int check_entry(const char *path, const struct index_entry *e, char **ret_err)
{
	if (e->mtime_nsec >= 1000000000)
		return ib_fail(ret_err, -EINVAL, "%.300s: the time makes no sense", path);
	switch (e->mode & S_IFMT) {
	case S_IFREG:
		if (e->size > INT64_MAX)
			return ib_fail(ret_err, -EINVAL, "%.300s: the size is too big", path);
		return 0;
	case S_IFLNK:
		if (!e->target || !*e->target || strlen(e->target) > 4095)
			return ib_fail(ret_err, -EINVAL, "%.300s: no such link target can be",
				       path);
		return 0;
	case S_IFDIR:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	default:
		return ib_fail(ret_err, -EINVAL, "%.300s: an unknown type of file", path);
	}
}

static int mark_whiteout(struct index_build *b, uint32_t dir, const char *name, size_t len)
{
	uint32_t str, i;
	int r;

	if (len > 255)
		return -ENAMETOOLONG;
	str = intern(b, name, len, true, &r);
	if (r == 0)
		r = want_name(b, dir, str, &i);
	if (r == 0)
		b->name[i].whiteout = true;
	return r;
}

/* 1 where @name is one of the formats' own, and taken as such. */
static int add_mark(struct index_build *b, const char *path, uint32_t dir, const char *name,
		    size_t len, const struct index_entry *e, char **ret_err)
{
	int r;

	if (len >= 4 && !memcmp(name, WH, 4)) {
		if (len >= 8 && !memcmp(name, WH WH, 8)) {
			if (len == 12 && !memcmp(name, WH WH ".opq", 12))
				b->node[dir].opaque = true;
			return 1;
		}
		name += 4;
		len -= 4;
		if (!len || (len <= 2 && !memcmp(name, "..", len)))
			return ib_fail(ret_err, -EINVAL, "%.300s: a whiteout of nothing", path);
	} else if (!e || !S_ISCHR(e->mode) || e->rdev_major || e->rdev_minor) {
		return 0;
	}
	r = mark_whiteout(b, dir, name, len);
	return r < 0 ? r : 1;
}

/* Sets a node's attributes from an entry; the strings are copied. */
static int fill(struct index_build *b, uint32_t id, const struct index_entry *e)
{
	uint32_t target = 0;
	int r = 0;

	if (S_ISLNK(e->mode))
		target = intern(b, e->target, strlen(e->target), true, &r);
	if (r < 0)
		return r;
	b->node[id].e = *e;
	b->node[id].e.target = NULL;
	b->node[id].target = target;
	b->node[id].implicit = false;
	return 0;
}

int index_build_add(struct index_build *b, const char *path, const struct index_entry *e,
		    uint32_t *ret_id, char **ret_err)
{
	uint32_t dir, str, i, old, id;
	const char *name;
	size_t len;
	int r = check_entry(path, e, ret_err);

	*ret_id = 0;
	if (r == 0)
		r = walk(b, path, &dir, &name, &len, ret_err);
	if (r)
		return r < 0 ? r : 0;
	if (!len) {
		if (!S_ISDIR(e->mode))
			return ib_fail(ret_err, -EISDIR, "the root of the layer is no directory");
		b->node[INDEX_ROOT].xattrs = 0;
		*ret_id = INDEX_ROOT;
		return fill(b, INDEX_ROOT, e);
	}
	r = add_mark(b, path, dir, name, len, e, ret_err);
	if (r)
		return r < 0 ? r : 0;
	str = intern(b, name, len, true, &r);
	if (r == 0)
		r = want_name(b, dir, str, &i);
	if (r < 0)
		return r;
	old = b->name[i].node;
	if (old && S_ISDIR(b->node[old].e.mode)) {
		if (S_ISDIR(e->mode)) {
			b->node[old].xattrs = 0;
			*ret_id = old;
			return fill(b, old, e);
		}
		if (b->node[old].children)
			return ib_fail(ret_err, -EISDIR,
				       "%.300s: is a directory with entries, and then is none",
				       path);
	}
	r = new_node(b, &id);
	if (r == 0)
		r = fill(b, id, e);
	if (r < 0)
		return r;
	if (old == b->last_dir_node)
		b->last_dir_len = 0;
	set_node(b, i, id);
	*ret_id = id;
	return 0;
}

int index_build_link(struct index_build *b, const char *path, const char *target, char **ret_err)
{
	uint32_t dir, str, i, t, tstr;
	const char *name;
	size_t len;
	int r = walk(b, path, &dir, &name, &len, ret_err);

	if (r)
		return r < 0 ? r : 0;
	if (!len)
		return ib_fail(ret_err, -EISDIR, "the root of the layer is no directory");
	/* AUFS links its whiteouts to each other */
	r = add_mark(b, path, dir, name, len, NULL, ret_err);
	if (r)
		return r < 0 ? r : 0;
	str = intern(b, name, len, true, &r);
	tstr = r == 0 ? intern(b, target, strlen(target), true, &r) : 0;
	if (r == 0)
		r = want_name(b, dir, str, &i);
	if (r < 0)
		return r;
	t = index_build_find(b, target);
	if (t && S_ISDIR(b->node[t].e.mode))
		return ib_fail(ret_err, -EPERM, "%.200s: a hard link to the directory %.200s", path,
			       target);
	if (b->name[i].node && t == b->name[i].node)
		return 0;
	if (b->name[i].node && b->node[b->name[i].node].children)
		return ib_fail(ret_err, -EISDIR,
			       "%.300s: is a directory with entries, and then is none", path);
	if (t) {
		set_node(b, i, t);
		return 0;
	}
	/* the target is to come */
	if (b->name[i].node) {
		b->node[b->name[i].node].names--;
		b->name[i].node = 0;
	} else if (!b->name[i].link) {
		b->node[dir].children++;
	}
	b->name[i].link = tstr;
	b->pending_links = true;
	return 0;
}

/*
 * Where the chain of links that begins with the name @i ends: a node, or 0
 * where it leads nowhere or into itself. Leaves its marks on a chain that
 * fails, which ends all.
 */
static uint32_t end_of_chain(struct index_build *b, uint32_t i)
{
	while (i && b->name[i].link && !b->name[i].seen) {
		b->name[i].seen = true;
		i = find(b, b->str + b->strs[b->name[i].link].off);
	}
	return i ? b->name[i].node : 0;
}

int ib_resolve_links(struct index_build *b, char **ret_err)
{
	uint32_t i, j, next, node;

	for (i = 1; b->pending_links && i < b->names; i++) {
		if (!b->name[i].link)
			continue;
		node = end_of_chain(b, i);
		if (!node || S_ISDIR(b->node[node].e.mode))
			return ib_fail(ret_err, node ? -EPERM : -EINVAL,
				       "%.200s: a hard link to %.200s, which is %s",
				       b->str + b->strs[b->name[i].str].off,
				       b->str + b->strs[b->name[i].link].off,
				       node ? "a directory" : "not in this layer");
		/* each name of the chain becomes one of that node */
		for (j = i; b->name[j].link; j = next) {
			next = find(b, b->str + b->strs[b->name[j].link].off);
			set_node(b, j, node);
		}
	}
	return 0;
}

int index_build_xattr(struct index_build *b, uint32_t id, const char *name, const void *value,
		      size_t len, char **ret_err)
{
	size_t nlen = strlen(name);
	struct bnode *n = &b->node[id];
	uint32_t str, i, count = 0;
	int r;

	if (!strncmp(name, "trusted.overlay.", 16) || !strncmp(name, "user.overlay.", 13))
		return 0;
	if (!nlen || nlen > 255 || len > 65536)
		return ib_fail(ret_err, -EINVAL, "the attribute %.255s is too long", name);
	str = intern(b, name, nlen, true, &r);
	if (r < 0)
		return r;
	for (i = n->xattrs; i && b->xattr[i].name != str; i = b->xattr[i].next)
		count++;
	if (!i && count >= 1000)
		return ib_fail(ret_err, -E2BIG, "too many attributes");
	while (b->value_cap < b->value_len + len) {
		r = ib_grow((void **)&b->value, b->value_cap, &b->value_cap, 1);
		if (r < 0)
			return r;
	}
	if (!i) {
		if (!b->xattrs)
			b->xattrs = 1;
		r = ib_grow((void **)&b->xattr, b->xattrs, &b->xattr_cap, sizeof(*b->xattr));
		if (r < 0)
			return r;
		i = b->xattrs++;
		b->xattr[i].next = n->xattrs;
		b->xattr[i].name = str;
		n->xattrs = i;
	}
	b->xattr[i].off = b->value_len;
	b->xattr[i].len = (uint32_t)len;
	if (len)
		memcpy(b->value + b->value_len, value, len);
	b->value_len += len;
	return 0;
}

/* --- content ----------------------------------------------------------------- */

int index_build_frame(struct index_build *b, const struct index_frame *f, uint32_t *ret)
{
	int r;

	if (b->frames >= UINT32_MAX)
		return -E2BIG;
	r = ib_grow((void **)&b->frame, b->frames, &b->frame_cap, sizeof(*b->frame));
	if (r < 0)
		return r;
	b->frame[b->frames] = *f;
	*ret = (uint32_t)b->frames++;
	return 0;
}

int index_build_set_frame(struct index_build *b, uint32_t frame, const struct index_frame *f)
{
	if (frame >= b->frames)
		return -EINVAL;
	b->frame[frame] = *f;
	return 0;
}

int index_build_chunk(struct index_build *b, const struct index_chunk *c, uint32_t *ret)
{
	int r;

	if (c->frame >= b->frames || c->skip > INT64_MAX || c->len > INT64_MAX - c->skip)
		return -EINVAL;
	if (b->chunks >= UINT32_MAX)
		return -E2BIG;
	r = ib_grow((void **)&b->chunk, b->chunks, &b->chunk_cap, sizeof(*b->chunk));
	if (r < 0)
		return r;
	if (b->frame[c->frame].raw < c->skip + c->len)
		b->frame[c->frame].raw = c->skip + c->len;
	b->chunk[b->chunks] = *c;
	*ret = (uint32_t)b->chunks++;
	return 0;
}

int index_build_set_chunk(struct index_build *b, uint32_t chunk, const struct index_chunk *c)
{
	struct index_chunk *old = chunk < b->chunks ? &b->chunk[chunk] : NULL;

	if (!old || old->frame != c->frame || old->skip != c->skip || old->len != c->len)
		return -EINVAL;
	*old = *c;
	return 0;
}

int index_build_extent(struct index_build *b, uint32_t id, const struct index_extent *e)
{
	struct bnode *n = &b->node[id];
	struct bextent *last = n->tail ? &b->extent[n->tail] : NULL;
	int r;

	if (e->hole)
		return 0;
	if (!id || id >= b->nodes || !S_ISREG(n->e.mode) || e->chunk >= b->chunks || !e->len ||
	    e->off > n->e.size || e->len > n->e.size - e->off ||
	    e->chunk_off > b->chunk[e->chunk].len ||
	    e->len > b->chunk[e->chunk].len - e->chunk_off ||
	    (last && e->off < last->e.off + last->e.len))
		return -EINVAL;
	/* what lies side by side in one chunk is one extent */
	if (last && last->e.chunk == e->chunk && last->e.off + last->e.len == e->off &&
	    last->e.chunk_off + last->e.len == e->chunk_off && !n->shared) {
		last->e.len += e->len;
		return 0;
	}
	if (n->shared)
		return -EINVAL;
	if (!b->extents)
		b->extents = 1;
	if (b->extents >= UINT32_MAX || n->extents == UINT32_MAX)
		return -E2BIG;
	r = ib_grow((void **)&b->extent, b->extents, &b->extent_cap, sizeof(*b->extent));
	if (r < 0)
		return r;
	b->extent[b->extents] = (struct bextent){ .e = *e };
	if (n->tail)
		b->extent[n->tail].next = (uint32_t)b->extents;
	else
		n->head = (uint32_t)b->extents;
	n->tail = (uint32_t)b->extents++;
	n->extents++;
	return 0;
}

int index_build_share(struct index_build *b, uint32_t id, uint32_t from)
{
	struct bnode *n = &b->node[id], *f = &b->node[from];

	if (!S_ISREG(n->e.mode) || !S_ISREG(f->e.mode) || n->head)
		return -EINVAL;
	n->e.size = f->e.size;
	n->head = f->head;
	n->tail = f->tail;
	n->extents = f->extents;
	n->shared = f->shared = true;
	return 0;
}
