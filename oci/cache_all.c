/* SPDX-License-Identifier: Apache-2.0 */
/* The layer cache: all layers of an image, several at a time. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache_i.h"
#include "oci/oci_i.h"

struct all {
	struct layer_cache *c;
	const struct image *img;
	const struct layer_cache_options *o;
	unsigned n, next, threads;
	char **path;
	pthread_mutex_t lock; /* of next, result and err, and around progress() */
	int result;
	char *err;
	bool made;
};

/* One layer of them, for its progress. */
struct one {
	struct all *all;
	unsigned i;
};

static int progress(void *arg, const struct pack_progress *p)
{
	struct one *o = arg;
	struct all *a = o->all;
	int r;

	(void)pthread_mutex_lock(&a->lock);
	r = a->result;
	if (!r && a->o && a->o->progress)
		r = a->o->progress(a->o->arg, o->i, a->n, p);
	(void)pthread_mutex_unlock(&a->lock);
	return r;
}

/* The next layer that nobody has; false: none, or there is no point any more. */
static bool take_next(struct all *a, unsigned *ret)
{
	bool more;

	(void)pthread_mutex_lock(&a->lock);
	more = !a->result && a->next < a->n;
	if (more)
		*ret = a->next++;
	(void)pthread_mutex_unlock(&a->lock);
	return more;
}

static void *work(void *arg)
{
	struct all *a = arg;
	unsigned i;

	while (take_next(a, &i)) {
		struct one one = { .all = a, .i = i };
		bool made = false;
		char *err = NULL;
		struct layer_cache_get g = {
			.c = a->c,
			.l = image_layer(a->img, i),
			.threads = a->threads,
			.progress = progress,
			.arg = &one,
			.ret_made = &made,
		};
		int r = cache_get(&g, &a->path[i], &err);

		(void)pthread_mutex_lock(&a->lock);
		a->made |= made;
		if (r && !a->result) {
			a->result = r;
			a->err = err;
			err = NULL;
		}
		(void)pthread_mutex_unlock(&a->lock);
		free(err);
	}
	return NULL;
}

static unsigned processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n > 0 ? (unsigned)n : 1;
}

static void run(struct all *a)
{
	unsigned cpus = processors(), want = a->o && a->o->threads ? a->o->threads : cpus, i, n = 0;
	pthread_t thread[64];

	if (want > a->n)
		want = a->n;
	if (want > 64)
		want = 64;
	a->threads = want > 1 ? (cpus + want - 1) / want : 0;
	/* one of them is ourselves */
	for (i = 1; i < want; i++)
		if (pthread_create(&thread[n], NULL, work, a) == 0)
			n++;
	(void)work(a);
	for (i = 0; i < n; i++)
		(void)pthread_join(thread[i], NULL);
}

int layer_cache_get_all(struct layer_cache *c, const struct image *img,
			const struct layer_cache_options *o, char ***ret_paths, char **ret_err)
{
	struct all a = { .c = c,
			 .img = img,
			 .o = o,
			 .n = image_layers(img),
			 .lock = PTHREAD_MUTEX_INITIALIZER };
	const struct layer_cache_prune old = { .older = (int64_t)LAYER_CACHE_DAYS * 86400 };

	*ret_err = NULL;
	a.path = sys_calloc(a.n + 1, sizeof(*a.path));
	if (!a.path)
		return -ENOMEM;
	run(&a);
	if (a.result) {
		*ret_err = a.err;
		layer_cache_paths_free(a.path, a.n);
		return a.result;
	}
	if (a.made) {
		char *err = NULL;

		(void)layer_cache_prune(c, &old, NULL, &err);
		free(err);
	}
	*ret_paths = a.path;
	return 0;
}

void layer_cache_paths_free(char **paths, unsigned n)
{
	while (paths && n)
		free(paths[--n]);
	free(paths);
}

struct single {
	const struct layer_cache_options *o;
};

static int single_progress(void *arg, const struct pack_progress *p)
{
	const struct single *s = arg;

	return s->o->progress(s->o->arg, 0, 1, p);
}

int layer_cache_get(struct layer_cache *c, const struct image_layer *l,
		    const struct layer_cache_options *o, char **ret_path, char **ret_err)
{
	struct single s = { .o = o };
	struct layer_cache_get g = {
		.c = c,
		.l = l,
		.threads = o ? o->threads : 0,
		.progress = o && o->progress ? single_progress : NULL,
		.arg = &s,
	};

	*ret_err = NULL;
	return cache_get(&g, ret_path, ret_err);
}
