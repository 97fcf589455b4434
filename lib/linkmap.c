/* SPDX-License-Identifier: Apache-2.0 */
/* An open hash table of inodes. */
#include "lib/linkmap.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/sys.h"

struct first {
	uint64_t ino;
	uint32_t dev_major, dev_minor;
	char *path; /* owned; NULL: no slot */
};

struct linkmap {
	struct first *t; /* owned */
	size_t n, mask;
};

static struct first *slot(struct first *t, size_t mask, const struct first *f)
{
	size_t i = (f->ino * 0x9e3779b97f4a7c15ULL >> 20) & mask;

	while (t[i].path && (t[i].ino != f->ino || t[i].dev_major != f->dev_major ||
			     t[i].dev_minor != f->dev_minor))
		i = (i + 1) & mask;
	return &t[i];
}

static int grow(struct linkmap *m)
{
	size_t mask = m->t ? 2 * m->mask + 1 : 255;
	struct first *t = sys_calloc(mask + 1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	for (size_t i = 0; m->t && i <= m->mask; i++)
		if (m->t[i].path)
			*slot(t, mask, &m->t[i]) = m->t[i];
	free(m->t);
	m->t = t;
	m->mask = mask;
	return 0;
}

int linkmap_first(struct linkmap **m, const struct statx *st, const char *path, const char **ret)
{
	struct first f = {
		.ino = st->stx_ino,
		.dev_major = st->stx_dev_major,
		.dev_minor = st->stx_dev_minor,
	};
	struct first *s;
	int r = 0;

	*ret = NULL;
	if (st->stx_nlink < 2)
		return 0;
	if (!*m)
		*m = sys_calloc(1, sizeof(**m));
	if (!*m)
		return -ENOMEM;
	if (!(*m)->t || (*m)->n > (*m)->mask / 2)
		r = grow(*m);
	if (r < 0)
		return r;
	s = slot((*m)->t, (*m)->mask, &f);
	if (s->path) {
		*ret = s->path;
		return 0;
	}
	f.path = sys_strdup(path);
	if (!f.path)
		return -ENOMEM;
	*s = f;
	(*m)->n++;
	return 0;
}

void linkmap_free(struct linkmap *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->t && i <= m->mask; i++)
		free(m->t[i].path);
	free(m->t);
	free(m);
}
