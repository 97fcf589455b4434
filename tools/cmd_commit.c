/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl commit: an upper directory becomes a layer, and an image with it on top. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "oci/commit.h"
#include "oci/digest.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/preparing.h"
#include "tools/progress.h"

static const struct cmd_option options[] = {
	{ 'f', "from", "IMAGE", "the image that the upper was on top of" },
	{ 0, "zstd", NULL, "compress the layer with zstd instead of gzip" },
	{ 'l', "level", "N", "of compression: 1 to 9 for gzip, 1 to 19 for zstd" },
	{ 'm', "message", "TEXT", "a comment for the history" },
	{ 0, "created-by", "TEXT", "the command that made the layer, for the history" },
	{ 'a', "author", "TEXT", "who made it" },
	{ 'q', "quiet", NULL, "show no progress" },
	{ 0, NULL, NULL, NULL },
};

struct state {
	struct cmd *c;
	struct progress bar;
	uint64_t files, skipped;
	const struct image *base;
	struct layer_cache *cache; /* owned, with the paths: opened when they are needed */
	char **lowers;
};

static int on_entry(void *arg, const char *path, const char *skipped)
{
	struct state *s = arg;

	if (skipped) {
		progress_end(&s->bar);
		cmd_say("%s is %s and was left out", path, skipped);
		s->skipped++;
	}
	progress_update(&s->bar, 0, ++s->files);
	return interrupted() ? -EINTR : 0;
}

/* The upper refers to what is below it: the base's layers, as they are mounted. */
static int on_lowers(void *arg, const char *const **ret, unsigned *ret_n, char **ret_err)
{
	struct layer_cache_options o;
	struct state *s = arg;
	int r = 0;

	*ret_n = s->base ? image_layers(s->base) : 0;
	if (!*ret_n)
		return -EXDEV;
	progress_end(&s->bar);
	if (!s->cache)
		r = layer_cache_open(s->c->layers, &s->cache, ret_err);
	if (r == 0 && !s->lowers) {
		r = layer_cache_get_all(s->cache, s->base,
					cmd_option(s->c, "quiet") ? NULL : preparing_options(&o),
					&s->lowers, ret_err);
		preparing_end();
	}
	*ret = (const char *const *)s->lowers;
	return r;
}

static int read_epoch(struct commit_options *o)
{
	const char *s = getenv("SOURCE_DATE_EPOCH");
	uint64_t n;

	if (!s || !*s)
		return CMD_OK;
	/* up to the year 9999 */
	if (cmd_parse_number(s, 253402300799, &n) < 0) {
		cmd_say("SOURCE_DATE_EPOCH=%s is no time", s);
		return CMD_USAGE;
	}
	o->has_epoch = true;
	o->epoch = (int64_t)n;
	return CMD_OK;
}

static int read_options(struct cmd *c, struct commit_options *o)
{
	const char *level = cmd_option(c, "level");
	uint64_t n;

	o->upper = c->argv[0];
	o->dest = c->argv[1];
	o->zstd = cmd_option(c, "zstd") != NULL;
	o->comment = cmd_option(c, "message");
	o->created_by = cmd_option(c, "created-by");
	o->author = cmd_option(c, "author");
	if (!o->created_by)
		o->created_by = "plyctl commit";
	if (level && (cmd_parse_number(level, o->zstd ? 19 : 9, &n) < 0 || !n))
		return cmd_usage(c, "--level=%s is no level", level);
	o->level = level ? (int)n : 0;
	return read_epoch(o);
}

/* Go's name of this machine's processor, for an image without a base. */
static const char *this_arch(void)
{
	static const char *const names[][2] = {
		{ "x86_64", "amd64" },
		{ "aarch64", "arm64" },
		{ "i686", "386" },
		{ "armv7l", "arm" },
		{ "ppc64le", "ppc64le" },
		{ "s390x", "s390x" },
		{ "riscv64", "riscv64" },
	};
	static struct utsname u;

	if (uname(&u) < 0)
		return "unknown";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(u.machine, names[i][0]))
			return names[i][1];
	return u.machine;
}

static void report(const struct cmd *c, const struct commit_result *r, uint64_t skipped)
{
	char a[DIGEST_STRING_SIZE], size[OUT_SIZE];

	if (c->json) {
		json_object(NULL);
		json_digest("manifest", r->manifest);
		json_digest("config", r->config);
		json_digest("layer", r->layer);
		json_digest("diff_id", r->diff_id);
		json_uint("size", r->size);
		json_uint("entries", r->entries);
		json_uint("whiteouts", r->whiteouts);
		json_uint("content", r->bytes);
		json_uint("skipped", skipped);
		json_end();
		return;
	}
	digest_string(r->manifest, a);
	(void)printf("%s\n", a);
	(void)fprintf(stderr, "layer of %s: %llu entries, %llu removed names\n",
		      out_size(r->size, size), (unsigned long long)r->entries,
		      (unsigned long long)r->whiteouts);
}

static int run(struct cmd *c)
{
	struct commit_options o = {
		.os = "linux", .arch = this_arch(), .entry = on_entry, .lowers = on_lowers
	};
	struct image_options io = { .platform = c->platform };
	const char *from = cmd_option(c, "from");
	struct image *base = NULL;
	struct commit_result res;
	struct state s = { .c = c };
	struct stat st;
	char *err = NULL;
	int r = read_options(c, &o);

	if (r != CMD_OK)
		return r;
	if (stat(o.upper, &st) < 0)
		return cmd_fail(-errno, NULL, o.upper);
	if (!S_ISDIR(st.st_mode))
		return cmd_fail(-ENOTDIR, NULL, o.upper);
	r = from ? image_open(from, &io, &base, &err) : 0;
	if (r < 0)
		return cmd_fail(r, err, from);
	o.base = s.base = base;
	o.arg = &s;
	interrupt_catch();
	progress_begin(&s.bar, "commit", 0, cmd_option(c, "quiet") != NULL);
	r = commit_image(&o, &res, &err);
	progress_end(&s.bar);
	if (s.lowers)
		layer_cache_paths_free(s.lowers, image_layers(base));
	layer_cache_close(s.cache);
	image_close(base);
	if (r < 0)
		return cmd_fail(r, err, NULL);
	report(c, &res, s.skipped);
	return CMD_OK;
}

const struct command cmd_commit = {
	.name = "commit",
	.args = "UPPER DEST",
	.summary = "make an image of an upper directory",
	.help = "The directory UPPER becomes a layer on top of the image --from (on top of\n"
		"nothing without it), and the image is written to DEST: oci:DIR[:TAG] or\n"
		"oci-archive:FILE[:TAG]. The layer depends on UPPER alone: sorted, without\n"
		"names of users, access times, or attributes of overlay formats. With\n"
		"SOURCE_DATE_EPOCH set no time is later than that, and the image is the same\n"
		"whenever it is made. A directory that was renamed in the upper is written out\n"
		"whole, by what --from has of it. Prints the manifest's digest.",
	.options = options,
	.min = 2,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
