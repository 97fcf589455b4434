/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta debugging: drop operations, then layer entries, as long as the same
 * kind of difference remains. Also the replay file that holds the result.
 */
#ifndef TESTS_DIFF_SHRINK_H
#define TESTS_DIFF_SHRINK_H

#include "run.h"

struct sequence {
	struct layers layers;
	struct oplist ops;
};

static inline struct run *run_new(const struct config *cfg,
				  struct sequence *s)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		exit(99);
	r->cfg = cfg;
	r->layers = &s->layers;
	return r;
}

static inline void run_free(struct run *r)
{
	struct side *s[] = { &r->plain_side, &r->union_side };
	int i;

	for (i = 0; i < 2; i++)
		if (s[i]->sh) {
			munmap(s[i]->sh, sizeof(*s[i]->sh));
			close(s[i]->memfd);
		}
	free(r);
}

static inline void sequence_print(FILE *f, const struct config *cfg,
				  const struct sequence *s)
{
	size_t i;

	fprintf(f, "# differ replay, seed %llu\n",
		(unsigned long long)cfg->seed);
	fprintf(f, "layers %d\n", s->layers.count);
	for (i = 0; i < s->layers.n; i++)
		lent_print(f, &s->layers.v[i]);
	fprintf(f, "operations\n");
	for (i = 0; i < s->ops.n; i++)
		op_print(f, &s->ops.v[i]);
}

static inline int sequence_read(FILE *f, struct sequence *s)
{
	static char line[PATH_LEN * 8];
	int in_ops = 0, nr = 0;

	while (fgets(line, sizeof(line), f)) {
		struct lent e;
		struct op o;

		nr++;
		line[strcspn(line, "\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		if (sscanf(line, "layers %d", &s->layers.count) == 1)
			continue;
		if (!strcmp(line, "operations")) {
			in_ops = 1;
			continue;
		}
		if (in_ops ? op_parse(line, &o) : lent_parse(line, &e)) {
			fprintf(stderr, "line %d is not understood\n", nr);
			return -1;
		}
		if (in_ops) {
			oplist_add(&s->ops, &o);
		} else {
			struct rng g = { .s = 0 };

			*layers_add(&s->layers, &g, 0, 'f', "") = e;
		}
	}
	return s->layers.count > 0 && s->layers.count < 500 ? 0 : -1;
}

/* Does s still fail in the way called cls? */
static inline int shrink_try(const struct config *cfg, struct sequence *s,
			     const char *cls)
{
	struct run *r = run_new(cfg, s);
	int rc = run_all(r, &s->ops, NULL, 0) && !strcmp(r->cmp.cls, cls);

	run_free(r);
	return rc;
}

/*
 * Drop pieces of v (n elements of size bytes) while the failure remains, in
 * halves, quarters and so on; returns the new n.
 */
static inline size_t shrink_array(const struct config *cfg,
				  struct sequence *s, const char *cls,
				  void *v, size_t *n, size_t size,
				  time_t until)
{
	char *base = v, *copy = malloc(*n * size + 1);
	size_t piece, i;

	for (piece = (*n + 1) / 2; piece && time(NULL) < until;
	     piece = piece == 1 ? 0 : (piece + 1) / 2) {
		for (i = 0; i < *n && time(NULL) < until;) {
			size_t old = *n;
			size_t len = old - i < piece ? old - i : piece;

			memcpy(copy, base, old * size);
			memmove(base + i * size, base + (i + len) * size,
				(old - i - len) * size);
			*n = old - len;
			if (shrink_try(cfg, s, cls))
				continue;
			memcpy(base, copy, old * size);
			*n = old;
			i += len;
		}
	}
	free(copy);
	return *n;
}

/* Shrink a failing sequence in place; at is the operation that failed. */
static inline void shrink(const struct config *cfg, struct sequence *s,
			  const char *cls, size_t at)
{
	time_t until = time(NULL) + cfg->shrink_time;
	size_t full = s->ops.n, before;

	setenv("DIFFER_SHRINK", "1", 1); /* mount it volatile, say */

	if (at + 1 < s->ops.n) {
		s->ops.n = at + 1;
		if (!shrink_try(cfg, s, cls))
			s->ops.n = full;
	}
	if (!shrink_try(cfg, s, cls)) {
		printf("it does not fail again in a second run: not shrunk\n");
		s->ops.n = full;
		return;
	}
	do {
		before = s->ops.n + s->layers.n;
		shrink_array(cfg, s, cls, s->ops.v, &s->ops.n,
			     sizeof(struct op), until);
		shrink_array(cfg, s, cls, s->layers.v, &s->layers.n,
			     sizeof(struct lent), until);
	} while (s->ops.n + s->layers.n < before && time(NULL) < until);
}

#endif
