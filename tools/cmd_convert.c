/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl convert: an image anew, with layers that can be read before they have arrived. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "oci/convert.h"
#include "oci/digest.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/progress.h"

#define MAX_FIRST 1000000

static const struct cmd_option options[] = {
	{ 0, "to", "FORMAT", "estargz (the default), zstd:chunked or stargz-zstd" },
	{ 'l', "level", "N", "of gzip (1 to 9) or zstd (1 to 19); 9" },
	{ 0, "chunk", "SIZE", "bytes of a file that are compressed together; 4M" },
	{ 0, "prioritize", "FILE", "paths, one a line, of what is to come first" },
	{ 't', "threads", "N", "layers at a time; as many as there are processors" },
	{ 'q', "quiet", NULL, "show no progress" },
	{ 0, NULL, NULL, NULL },
};

static const char *const formats[] = {
	[TOC_FORMAT_ESTARGZ] = "estargz",
	[TOC_FORMAT_STARGZ_ZSTD] = "stargz-zstd",
	[TOC_FORMAT_CHUNKED] = "zstd:chunked",
};

static int on_progress(void *arg, uint64_t done, uint64_t files)
{
	progress_update(arg, done, files);
	return interrupted() ? -EINTR : 0;
}

/* The lines of @path that are not empty. */
static int read_list(const char *path, char ***ret, size_t *ret_n)
{
	FILE *f = fopen(path, "re");
	char **list = NULL, *line = NULL;
	size_t n = 0, size = 0;
	ssize_t len;
	int r = f ? 0 : -errno;

	while (r == 0 && (len = getline(&line, &size, f)) >= 0) {
		char **all;

		if (len > 0 && line[len - 1] == '\n')
			line[--len] = '\0';
		if (len == 0)
			continue;
		all = n < MAX_FIRST ? realloc(list, (n + 1) * sizeof(*list)) : NULL;
		if (all == NULL || (all[n] = strdup(line)) == NULL)
			r = n < MAX_FIRST ? -ENOMEM : -E2BIG;
		list = all ? all : list;
		n += r == 0;
	}
	if (r == 0 && ferror(f))
		r = -EIO;
	if (f)
		(void)fclose(f);
	free(line);
	*ret = list;
	*ret_n = n;
	return r;
}

static int read_options(struct cmd *c, struct image_convert_options *o)
{
	const char *s = cmd_option(c, "to");
	uint64_t n, max;
	int r;

	o->layer.format = TOC_FORMAT_ESTARGZ;
	if (s) {
		unsigned i = 0;

		while (i < sizeof(formats) / sizeof(formats[0]) && strcmp(formats[i], s) != 0)
			i++;
		if (i == sizeof(formats) / sizeof(formats[0]))
			return cmd_usage(c, "--to=%s is none of estargz, zstd:chunked, stargz-zstd",
					 s);
		o->layer.format = (enum toc_format)i;
	}
	max = o->layer.format == TOC_FORMAT_ESTARGZ ? 9 : 19;
	s = cmd_option(c, "level");
	if (s && (cmd_parse_number(s, max, &n) < 0 || n == 0))
		return cmd_usage(c, "--level=%s is not a number of 1 to %u", s, (unsigned)max);
	o->layer.level = s ? (int)n : 0;
	s = cmd_option(c, "chunk");
	if (s && (cmd_parse_size(s, &n) < 0 || n < 4096 || n > 1 << 30))
		return cmd_usage(c, "--chunk=%s is not a size of 4K to 1G", s);
	if (s && o->layer.format == TOC_FORMAT_CHUNKED)
		return cmd_usage(c,
				 "zstd:chunked cuts files by their content: --chunk cannot be had");
	o->layer.chunk = s ? (uint32_t)n : 0;
	s = cmd_option(c, "threads");
	if (s && (cmd_parse_number(s, 16, &n) < 0 || n == 0))
		return cmd_usage(c, "--threads=%s is not a number of 1 to 16", s);
	o->threads = s ? (unsigned)n : 0;
	s = cmd_option(c, "prioritize");
	if (s && o->layer.format == TOC_FORMAT_CHUNKED)
		return cmd_usage(
			c, "zstd:chunked keeps the order of files: --prioritize cannot be had");
	if (s) {
		char **list;

		r = read_list(s, &list, &o->layer.n_first);
		if (r < 0)
			return cmd_fail(r, NULL, s);
		o->layer.first = (const char *const *)list;
		o->layer.found = calloc(o->layer.n_first + 1, 1);
		if (!o->layer.found)
			return cmd_fail(-ENOMEM, NULL, s);
	}
	return CMD_OK;
}

static void report(const struct image *img, const struct image_convert_options *o,
		   const struct image_converted *done, const char *dest)
{
	char digest[DIGEST_STRING_SIZE], a[OUT_SIZE], b[OUT_SIZE];

	for (unsigned i = 0; i < done->n; i++) {
		const struct image_converted_layer *l = &done->layers[i];

		digest_string(l->now.digest, digest);
		(void)printf("layer %u: %s %s, was %s\n", i, digest, out_size(l->now.size, a),
			     out_size(l->before, b));
	}
	digest_string(done->manifest, digest);
	out_text(stdout, dest);
	(void)printf(": %s as %s\n", digest, formats[o->layer.format]);
	(void)img;
}

static void report_json(const struct image *img, const struct image_convert_options *o,
			const struct image_converted *done, const char *dest)
{
	json_object(NULL);
	json_string("image", dest);
	json_string("format", formats[o->layer.format]);
	json_digest("manifest", done->manifest);
	json_array("layers");
	for (unsigned i = 0; i < done->n; i++) {
		const struct toc_written *w = &done->layers[i].now;

		json_object(NULL);
		json_digest("from", image_layer(img, i)->digest);
		json_digest("digest", w->digest);
		json_digest("diff_id", w->diff_id);
		json_uint("size_before", done->layers[i].before);
		json_uint("size", w->size);
		json_object("annotations");
		for (unsigned k = 0; k < w->n_notes; k++)
			json_string(w->notes[k].key, w->notes[k].value);
		json_end();
		json_end();
	}
	json_end();
	json_array("missing");
	for (size_t i = 0; i < o->layer.n_first; i++) {
		if (!o->layer.found[i])
			json_string(NULL, o->layer.first[i]);
	}
	json_end();
	json_end();
}

static int run(struct cmd *c)
{
	const struct image_options io = { .platform = c->platform };
	struct image_convert_options o = { .progress = on_progress };
	struct image_converted done = { 0 };
	struct progress bar;
	struct image *img;
	uint64_t total = 0;
	char *err = NULL;
	int r = read_options(c, &o);

	if (r != CMD_OK)
		return r;
	r = image_open(c->argv[0], &io, &img, &err);
	if (r < 0)
		return cmd_fail(r, err, NULL);
	if (image_layers(img) == 0)
		return cmd_fail(-EPROTONOSUPPORT, strdup("it has no layers"), c->argv[0]);
	interrupt_catch();
	/* Bytes of the tars are counted, whose sizes nobody knows beforehand. */
	progress_begin(&bar, "convert", total, cmd_option(c, "quiet") != NULL);
	o.arg = &bar;
	r = image_convert(img, c->argv[1], &o, &done, &err);
	progress_end(&bar);
	if (r < 0) {
		image_converted_release(&done);
		image_close(img);
		return cmd_fail(r, err, NULL);
	}
	for (size_t i = 0; i < o.layer.n_first; i++) {
		if (!o.layer.found[i])
			cmd_say("no layer has %s, which was to come first", o.layer.first[i]);
	}
	(c->json ? report_json : report)(img, &o, &done, c->argv[1]);
	image_converted_release(&done);
	image_close(img);
	return CMD_OK;
}

const struct command cmd_convert = {
	.name = "convert",
	.args = "IMAGE DEST",
	.summary = "write an image anew as eStargz or zstd:chunked",
	.help = "DEST is oci:DIR[:TAG] or oci-archive:FILE[:TAG]. The same image makes the same\n"
		"bytes. Layers of these formats are mounted as they are, without packing, and\n"
		"by stargz-snapshotter and podman before they have arrived:\n"
		"  estargz       gzip; every reader of images takes it. Diff IDs change\n"
		"  zstd:chunked  of podman and skopeo. Diff IDs and config stay\n"
		"  stargz-zstd   zstd:chunked as stargz-snapshotter has it. Diff IDs change\n"
		"A layer that is no tarball, or holds names that are no UTF-8, is refused.",
	.options = options,
	.min = 2,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
