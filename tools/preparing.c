/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/preparing.h"

#include <string.h>

#include "tools/progress.h"

/* Of each layer that is being made; one bar is drawn of them all. */
static struct {
	struct {
		uint64_t in, total, files;
	} layer[IMAGE_MAX_LAYERS];
	struct progress bar;
	bool begun;
} now;

/* Called by one thread at a time. */
static int show(void *arg, unsigned i, unsigned n, const struct pack_progress *p)
{
	uint64_t in = 0, files = 0;
	unsigned k;

	(void)arg;
	if (i >= IMAGE_MAX_LAYERS)
		return 0;
	now.layer[i].in = p->in;
	now.layer[i].total = p->in_total > p->in ? p->in_total : p->in;
	now.layer[i].files = p->files;
	if (!now.begun)
		progress_begin(&now.bar, "reading layers", 0, false);
	now.begun = true;
	now.bar.total = 0;
	for (k = 0; k < n && k < IMAGE_MAX_LAYERS; k++) {
		in += now.layer[k].in;
		files += now.layer[k].files;
		now.bar.total += now.layer[k].total;
	}
	progress_update(&now.bar, in, files);
	return 0;
}

const struct layer_cache_options *preparing_options(struct layer_cache_options *o)
{
	memset(o, 0, sizeof(*o));
	o->progress = show;
	return o;
}

void preparing_end(void)
{
	if (now.begun)
		progress_end(&now.bar);
	memset(&now, 0, sizeof(now));
}
