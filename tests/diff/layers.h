/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initial trees: several lower layers made of a list of entries, and the
 * plain directory that they merge to. The list is a value like the list of
 * operations: any subset is a valid set of layers (an entry whose parent is
 * missing is left out), so the shrinker works on it too.
 */
#ifndef TESTS_DIFF_LAYERS_H
#define TESTS_DIFF_LAYERS_H

#include <ftw.h>
#include <sys/wait.h>

#include "exec.h"

#define ENT_OPAQUE 1 /* directory hides what is below */
#define ENT_SPARSE 2
#define ENT_XATTR 4
#define ENT_ACL 8
#define ENT_CAP 16
#define ENT_WH_FILE 32 /* whiteout or opaque in the .wh. form */
#define ENT_DEFACL 64

struct lent {
	int layer; /* 0 is the bottom */
	int type; /* d f l h p s c b, w for a whiteout */
	unsigned int mode;
	unsigned int uid, gid;
	unsigned int size;
	unsigned int flags;
	unsigned int nsec;
	long long sec;
	uint64_t seed;
	char path[PATH_LEN];
	char target[256]; /* of l; of h, a path in the same layer */
};

struct layers {
	struct lent *v;
	size_t n, cap;
	int count; /* layers */
	int userxattr; /* opaque marks in user.overlay. */
	int privileged; /* owners, trusted xattrs, devices */
	int no_stray; /* whiteouts only where they hide something */
};

static inline void lent_print(FILE *f, const struct lent *e)
{
	fprintf(f,
		"layer=%d type=%c mode=0%o uid=%u gid=%u size=%u flags=%u "
		"sec=%lld nsec=%u seed=%llu ",
		e->layer, e->type, e->mode, e->uid, e->gid, e->size, e->flags, e->sec, e->nsec,
		(unsigned long long)e->seed);
	op_put_str(f, e->path);
	fputc(' ', f);
	op_put_str(f, e->target);
	fputc('\n', f);
}

static inline int lent_parse(char *line, struct lent *e)
{
	unsigned long long seed;
	char type, *p = line;

	memset(e, 0, sizeof(*e));
	if (sscanf(line,
		   "layer=%d type=%c mode=0%o uid=%u gid=%u size=%u flags=%u "
		   "sec=%lld nsec=%u seed=%llu",
		   &e->layer, &type, &e->mode, &e->uid, &e->gid, &e->size, &e->flags, &e->sec,
		   &e->nsec, &seed) != 10)
		return -1;
	e->type = type;
	e->seed = seed;
	if (op_get_str(&p, e->path, sizeof(e->path)))
		return -1;
	return op_get_str(&p, e->target, sizeof(e->target));
}

static inline int layers_find(const struct layers *l, int layer,
			      const char *path)
{
	size_t i;

	for (i = l->n; i-- > 0;)
		if (l->v[i].layer == layer && !strcmp(l->v[i].path, path))
			return (int)i;
	return -1;
}

static inline struct lent *layers_add(struct layers *l, struct rng *g,
				      int layer, int type, const char *path)
{
	static const unsigned int modes[] = {
		0644,
		0644,
		0600,
		0755,
		0444,
		04755,
		02755,
		06711,
		0000,
		0666,
		0400,
		01644,
	};
	static const unsigned int dmodes[] = {
		0755,
		0755,
		0755,
		0777,
		01777,
		02775,
		0700,
		0555,
	};
	struct lent *e;

	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 256;
		l->v = realloc(l->v, l->cap * sizeof(*l->v));
		if (!l->v)
			exit(99);
	}
	e = &l->v[l->n++];
	memset(e, 0, sizeof(*e));
	e->layer = layer;
	e->type = type;
	snprintf(e->path, sizeof(e->path), "%s", path);
	e->mode = type == 'd' ? dmodes[rng_below(g, 8)] :
				modes[rng_below(g, 12)];
	if (!l->privileged)
		e->mode |= type == 'd' ? 0700 : 0600;
	if (l->privileged && rng_pct(g, 40)) {
		e->uid = 1000 + (unsigned int)rng_below(g, 2);
		e->gid = 1000 + (unsigned int)rng_below(g, 2);
	}
	e->sec = 946684800 + (long long)rng_below(g, 500000000);
	e->nsec = (unsigned int)rng_below(g, 1000000000);
	e->seed = rng_next(g);
	if (rng_pct(g, 20))
		e->flags |= ENT_XATTR;
	if (rng_pct(g, 8))
		e->flags |= ENT_ACL;
	if (type == 'd' && rng_pct(g, 5))
		e->flags |= ENT_DEFACL;
	if (type == 'f') {
		e->size = rng_pct(g, 15) ? 0 : rng_pct(g, 80) ? (unsigned int)rng_below(g, 9000) :
								(unsigned int)rng_below(g, 300000);
		if (rng_pct(g, 15))
			e->flags |= ENT_SPARSE;
		if (l->privileged && rng_pct(g, 6))
			e->flags |= ENT_CAP;
	}
	return e;
}

static int rand_name_long = 1; /* 255 bytes, and one more */

/* A new name: mostly from a small set, so that layers and operations meet. */
static inline void rand_name(struct rng *g, char *out)
{
	static const char *const odd[] = {
		"with space",
		"uml\xc3\xa4ut",
		"back\\slash",
		"co:lon,comma",
		"%41",
		"-dash",
		".hidden",
		"wh.x",
		"tab\there",
		"\xff\xfe",
	};
	uint64_t k = rng_below(g, 100);
	size_t i, n;

	if (k >= 97 && !rand_name_long)
		k = 0;
	if (k < 88) {
		sprintf(out, "%c%u", "fdabxy"[rng_below(g, 6)],
			(unsigned int)rng_below(g, 12));
	} else if (k < 97) {
		strcpy(out, odd[rng_below(g, 10)]);
	} else {
		n = k == 99 ? 256 : 255; /* 256: ENAMETOOLONG */
		for (i = 0; i < n; i++)
			out[i] = (char)('a' + (char)rng_below(g, 3));
		out[n] = 0;
	}
}

/* The type that the merged tree of layers 0..layer has at path; 0 if none. */
static inline int merged_type(const struct layers *l, int layer,
			      const char *path)
{
	char up[PATH_LEN];
	int k, i;

	for (k = layer; k >= 0; k--) {
		i = layers_find(l, k, path);
		if (i >= 0)
			return l->v[i].type == 'w' ? 0 : l->v[i].type;
		/* hidden by something above: whiteout, non-directory, opaque */
		snprintf(up, sizeof(up), "%s", path);
		while (strrchr(up, '/')) {
			*strrchr(up, '/') = 0;
			i = layers_find(l, k, up);
			if (i >= 0 && (l->v[i].type != 'd' ||
				       l->v[i].flags & ENT_OPAQUE))
				return 0;
		}
	}
	return 0;
}

/* Make sure that path's parents are directories in this layer; 0 or -1. */
static inline int layers_parents(struct layers *l, struct rng *g, int layer,
				 const char *path)
{
	char up[PATH_LEN];
	char *s;

	snprintf(up, sizeof(up), "%s", path);
	for (s = strchr(up, '/'); s; s = strchr(s + 1, '/')) {
		int i;

		*s = 0;
		i = layers_find(l, layer, up);
		if (i >= 0 && l->v[i].type != 'd')
			return -1;
		if (i < 0)
			layers_add(l, g, layer, 'd', up);
		*s = '/';
	}
	return 0;
}

static inline void layers_make_one(struct layers *l, struct rng *g, int layer)
{
	static const char types[] = "fffffffffffdddddllhhhps";
	char path[PATH_LEN + 300], name[300];
	int type = types[rng_below(g, sizeof(types) - 1)];
	struct lent *e;
	size_t from = rng_below(g, l->n + 1), i;
	int under = -1, below, deep = rng_pct(g, 3);

	/* a directory of any layer up to this one, or the root */
	for (i = from; i < l->n && rng_pct(g, 95); i++)
		if (l->v[i].type == 'd') {
			under = (int)i;
			break;
		}
	rand_name(g, name);
	if (strlen(name) > 255)
		name[255] = 0;
	if (under >= 0)
		snprintf(path, sizeof(path), "%s/%s", l->v[under].path, name);
	else
		snprintf(path, sizeof(path), "%s", name);
	/* in upper layers, mostly something that exists below */
	if (layer && from < l->n && rng_pct(g, 60)) {
		snprintf(path, sizeof(path), "%s", l->v[from].path);
		if (rng_pct(g, 40))
			type = 'w';
	}
	if (strlen(path) > 1200 || layers_find(l, layer, path) >= 0 ||
	    layers_parents(l, g, layer, path))
		return;
	below = layer ? merged_type(l, layer - 1, path) : 0;
	if (l->privileged && rng_pct(g, 4))
		type = rng_pct(g, 50) ? 'c' : 'b';
	if (type == 'w' && l->no_stray &&
	    (!below || !merged_type(l, layer, path)))
		return;
	e = layers_add(l, g, layer, type, path);
	if (type == 'd' && below == 'd' && rng_pct(g, 30))
		e->flags |= ENT_OPAQUE;
	if (type == 'w' || e->flags & ENT_OPAQUE)
		e->flags |= rng_pct(g, 50) ? ENT_WH_FILE : 0;
	if (type == 'l')
		rand_name(g, e->target);
	if (type == 'l' && rng_pct(g, 50) && l->n > 1) {
		const char *t = l->v[rng_below(g, l->n - 1)].path;

		/* a path from the root reaches the same place from the root */
		if (!strchr(path, '/') && strlen(t) < sizeof(e->target))
			strcpy(e->target, t);
	}
	if (type == 'h') {
		e->type = 'f';
		for (i = 0; i < l->n - 1; i++) {
			const struct lent *t = &l->v[(i + from) % (l->n - 1)];

			if (t->layer == layer && t->type == 'f' &&
			    strlen(t->path) < sizeof(e->target)) {
				e->type = 'h';
				strcpy(e->target, t->path);
				break;
			}
		}
	}
	if (deep && type == 'd')
		for (i = 0; i < 20 && strlen(path) < 600; i++) {
			strcat(path, "/deep");
			if (layers_find(l, layer, path) >= 0)
				break;
			layers_add(l, g, layer, i < 19 ? 'd' : 'f', path);
		}
}

static inline void layers_generate(struct layers *l, struct rng *g, int count,
				   int entries)
{
	int k, i;

	l->count = count;
	for (k = 0; k < count; k++)
		for (i = 0; i < (k ? entries / 3 : entries); i++)
			layers_make_one(l, g, k);
}

#endif
