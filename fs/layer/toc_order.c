/* SPDX-License-Identifier: Apache-2.0 */
/* Finding what comes twice, and putting first what is wanted first. */
#include "fs/layer/toc_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fs/layer/tar_head.h"
#include "fs/layer/toc_i.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

struct item {
	struct toc_range range;
	uint32_t name, link; /* in names, cleaned; link 0: none */
	bool dir, drop, placed, linked;
};

struct order {
	struct item *items; /* owned; from 1 */
	size_t n, max;
	char *names; /* owned */
	size_t names_len, names_max;
	uint32_t *table; /* owned; by name, the last item of it */
	size_t table_size;
	struct toc_order *out;
};

static size_t hash(const char *name)
{
	return (size_t)XXH3_64bits(name, strlen(name));
}

/* The slot of @name: of its item, or where it would be. */
static uint32_t *slot(const struct order *o, const char *name)
{
	size_t at = hash(name) & (o->table_size - 1);

	while (o->table[at] != 0 && strcmp(o->names + o->items[o->table[at]].name, name) != 0)
		at = (at + 1) & (o->table_size - 1);
	return &o->table[at];
}

static int grow_table(struct order *o)
{
	size_t size = o->table_size ? 2 * o->table_size : 4096;
	uint32_t *table = sys_calloc(size, sizeof(*table)), *old = o->table;
	size_t n = o->table_size;

	if (table == NULL)
		return -ENOMEM;
	o->table = table;
	o->table_size = size;
	for (size_t i = 0; i < n; i++) {
		if (old[i] != 0)
			*slot(o, o->names + o->items[old[i]].name) = old[i];
	}
	free(old);
	return 0;
}

static int add_name(struct order *o, const char *s, uint32_t *ret)
{
	size_t len = strlen(s) + 1;

	if (o->names_len + len > UINT32_MAX)
		return -E2BIG;
	if (o->names_len + len > o->names_max) {
		size_t max = 2 * (o->names_len + len) + 4096;
		char *p = sys_realloc(o->names, max);

		if (p == NULL)
			return -ENOMEM;
		o->names = p;
		o->names_max = max;
	}
	*ret = (uint32_t)o->names_len;
	memcpy(o->names + o->names_len, s, len);
	o->names_len += len;
	return 0;
}

static int room_for_item(struct order *o)
{
	if (o->n + 2 > o->max) {
		size_t max = o->max ? 2 * o->max : 1024;
		struct item *p = sys_realloc(o->items, max * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		o->items = p;
		o->max = max;
	}
	if (o->n >= UINT32_MAX / 2)
		return -E2BIG;
	return 4 * (o->n + 2) > 3 * o->table_size ? grow_table(o) : 0;
}

static int clean(const char *s, char *out, const char *entry, char **ret_err)
{
	ssize_t n = toc_clean(s, out);

	return n < 0 ? toc_fail(ret_err, -EINVAL,
				"\"%s\": a name that leads out of the layer, or is "
				"too long",
				entry) :
		       0;
}

static int add_item(struct order *o, const struct tar_head *h, char **ret_err)
{
	char name[TOC_PATH_MAX], link[TOC_PATH_MAX];
	struct item *it;
	uint32_t *at;
	int r = room_for_item(o);

	if (r == 0)
		r = clean(h->name, name, h->name, ret_err);
	if (r == 0 && h->type == '1')
		r = clean(h->link, link, h->name, ret_err);
	if (r < 0)
		return r;
	if (strcmp(name, ".prefetch.landmark") == 0 || strcmp(name, ".no.prefetch.landmark") == 0 ||
	    strcmp(name, "stargz.index.json") == 0)
		return 0;
	it = &o->items[++o->n];
	*it = (struct item){ .range = { h->off, h->next }, .dir = h->type == '5' };
	r = add_name(o, name, &it->name);
	if (r == 0 && h->type == '1')
		r = add_name(o, link, &it->link);
	if (r < 0)
		return r;
	at = slot(o, name);
	if (*at != 0) {
		struct item *before = &o->items[*at];

		if (before->linked)
			return toc_fail(
				ret_err, -EPROTONOSUPPORT,
				"\"%s\": it is replaced after another entry was linked to it",
				name);
		before->drop = true;
		if (o->out->twice == NULL && (o->out->twice = sys_strdup(h->name)) == NULL)
			return -ENOMEM;
	}
	*at = (uint32_t)o->n;
	if (it->link != 0) {
		at = slot(o, link);
		if (*at != 0)
			o->items[*at].linked = true;
	}
	return 0;
}

static void place(struct order *o, struct item *it)
{
	if (it->placed || it->drop)
		return;
	it->placed = true;
	o->out->ranges[o->out->n++] = it->range;
}

/* Places @name behind what it needs: 1, or 0 where there is no such entry. */
static int place_first(struct order *o, const char *name)
{
	char dir[TOC_PATH_MAX];
	const uint32_t root = *slot(o, ""), i = *slot(o, name);
	size_t len = strlen(name);
	struct item *it;

	if (i == 0)
		return 0;
	if (root != 0)
		place(o, &o->items[root]);
	/* The directories, outermost first; one without an entry is none of ours. */
	for (size_t n = 1; n < len; n++) {
		if (name[n] != '/')
			continue;
		memcpy(dir, name, n);
		dir[n] = '\0';
		uint32_t d = *slot(o, dir);

		if (d != 0)
			place(o, &o->items[d]);
	}
	it = &o->items[i];
	/* A link comes behind its target in every tar that can be read: no loop. */
	if (it->link != 0 && !it->placed) {
		uint32_t t = *slot(o, o->names + it->link);

		if (t != 0 && t < i)
			(void)place_first(o, o->names + it->link);
	}
	place(o, it);
	return 1;
}

static int collect(struct order *o, const struct source *tar, char **ret_err)
{
	struct tar_heads *t;
	struct tar_head h;
	int r = tar_heads_new(tar, &t);

	if (r < 0)
		return r;
	while ((r = tar_heads_next(t, &h, ret_err)) > 0) {
		r = add_item(o, &h, ret_err);
		if (r < 0)
			break;
	}
	tar_heads_free(t);
	return r;
}

static int arrange(struct order *o, const char *const *first, size_t n_first, uint8_t *found)
{
	char name[TOC_PATH_MAX];

	o->out->ranges = sys_malloc((o->n + 1) * sizeof(*o->out->ranges));
	if (o->out->ranges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_first; i++) {
		if (toc_clean(first[i], name) >= 0 && place_first(o, name) && found != NULL)
			found[i] = 1;
	}
	o->out->n_first = o->out->n;
	for (size_t i = 1; i <= o->n; i++)
		place(o, &o->items[i]);
	return 0;
}

int toc_order_make(const struct source *tar, const char *const *first, size_t n_first,
		   uint8_t *found, struct toc_order *ret, char **ret_err)
{
	struct order o = { .out = ret, .names_len = 1 };
	int r;

	*ret = (struct toc_order){ 0 };
	r = room_for_item(&o);
	if (r == 0)
		r = collect(&o, tar, ret_err);
	if (r == 0)
		r = arrange(&o, first, n_first, found);
	free(o.items);
	free(o.names);
	free(o.table);
	if (r < 0)
		toc_order_release(ret);
	return r;
}

void toc_order_release(struct toc_order *o)
{
	free(o->ranges);
	free(o->twice);
	*o = (struct toc_order){ 0 };
}
