/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: every digest that there is. The documents of an image are checked
 * whenever it is opened; here each layer's stored bytes are compared with its
 * digest, its tar with its diff ID, its index with its own checksums, and
 * each file's content with what the index says of it, which names the files
 * that are damaged.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer/decode.h"
#include "fs/layer/index.h"
#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache.h"
#include "oci/digest.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/view.h"

#define BUFFER (1 << 20)

struct verify {
	struct cmd *c;
	struct layer_cache *cache;
	unsigned layer; /* from 1, of the image at hand */
	uint64_t files, bytes, damaged; /* of that layer */
	int exit; /* the worst so far */
	char *buf;
};

static void worse(struct verify *v, int code)
{
	if (code > v->exit)
		v->exit = code;
}

/* One thing that is wrong; @path NULL: with the layer itself. @err is freed. */
static void problem(struct verify *v, const char *path, int r, char *err)
{
	const char *why = err ? err : strerror(-r);

	v->damaged++;
	worse(v, cmd_exit_code(r));
	if (v->c->json) {
		json_object(NULL);
		json_string("path", path);
		json_string("problem", why);
		json_end();
	} else {
		char *p = path ? out_escape(path) : NULL, *w = out_escape(why);

		(void)printf("%slayer %u%s%s: %s%s\n", out_colour(OUT_RED), v->layer,
			     p ? ": " : "", p ? p : "", w ? w : "", out_colour(OUT_RESET));
		free(p);
		free(w);
	}
	free(err);
}

static void say(struct verify *v, int r, const char *what)
{
	problem(v, NULL, r, sys_strdup(what));
}

/* --- the stored bytes -------------------------------------------------------- */

/* Decodes all of @s into a digest of the tar. */
static int digest_of_tar(struct verify *v, const struct source *s, int format, uint8_t ret[32],
			 const char **ret_why)
{
	_cleanup_free_ uint8_t *out = sys_malloc(BUFFER);
	struct decode_buf b = { 0 };
	struct decoder *dec = NULL;
	struct digest *d = NULL;
	uint64_t off = 0;
	int r = out ? decoder_new((enum source_format)format, &dec) : -ENOMEM;

	*ret_why = NULL;
	if (r == 0)
		r = digest_begin(&d);
	while (r == 0) {
		if (!b.in_len && !b.last) {
			ssize_t n = source_pread(s, v->buf, BUFFER, off);

			if (n < 0) {
				r = (int)n;
				break;
			}
			off += (uint64_t)n;
			b.in = (const uint8_t *)v->buf;
			b.in_len = (size_t)n;
			b.last = off >= s->size;
		}
		b.out = out;
		b.out_len = BUFFER;
		r = decoder_run(dec, &b, ret_why);
		if (r >= 0) {
			int e = digest_add(d, out, BUFFER - b.out_len);

			r = e < 0 ? e : r;
		}
	}
	if (r == 1)
		r = digest_end(d, ret);
	else
		digest_free(d);
	decoder_free(dec);
	return r;
}

static void compare(struct verify *v, const char *what, const uint8_t want[32],
		    const uint8_t have[32])
{
	char a[DIGEST_STRING_SIZE], b[DIGEST_STRING_SIZE], buf[300];

	if (digest_equal(want, have))
		return;
	digest_string(want, a);
	digest_string(have, b);
	(void)snprintf(buf, sizeof(buf), "%s is %s and should be %s", what, b, a);
	say(v, -EBADMSG, buf);
}

/* Compares what is stored with the image's digests of it. */
static void check_blob(struct verify *v, const struct image_layer *l)
{
	uint8_t sum[DIGEST_SIZE];
	const char *why = NULL;
	struct source s;
	char *err = NULL;
	int r = image_layer_open(l, &s, &err), format;

	if (r < 0) {
		problem(v, NULL, r, err);
		return;
	}
	r = digest_source(&s, sum);
	if (r < 0)
		problem(v, NULL, r, NULL);
	else if (digest_known(l->digest))
		compare(v, "the layer's digest", l->digest, sum);
	format = r < 0 ? r : source_format(&s);
	if (format == SOURCE_TAR && digest_known(l->diff_id)) {
		compare(v, "the diff ID", l->diff_id, sum);
	} else if (format > SOURCE_TAR && format != SOURCE_INDEX) {
		r = digest_of_tar(v, &s, format, sum, &why);
		if (r < 0)
			problem(v, NULL, r, why ? sys_strdup(why) : NULL);
		else if (digest_known(l->diff_id))
			compare(v, "the diff ID", l->diff_id, sum);
	}
	sys_close(s.fd);
}

/* --- the files --------------------------------------------------------------- */

static void read_file(struct verify *v, struct view *view, const struct view_file *f,
		      const char *path)
{
	off_t off = 0;
	ssize_t n;

	v->files++;
	do {
		n = view_read(view, f, v->buf, BUFFER, off);
		off += n > 0 ? n : 0;
	} while (n > 0);
	v->bytes += (uint64_t)off;
	if (n < 0)
		problem(v, path, (int)n, n == -EIO ? sys_strdup("its content is damaged") : NULL);
	else if ((uint64_t)off != f->st.stx_size)
		problem(v, path, -EIO, sys_strdup("its content is not all there"));
}

static void read_tree(struct verify *v, struct view *view, const struct view_file *f,
		      const char *path)
{
	struct view_entry *e;
	size_t n, i;
	int r;

	if (!f->id) {
		problem(v, path, -EIO, NULL);
		return;
	}
	if (S_ISREG(f->st.stx_mode))
		read_file(v, view, f, path);
	if (!S_ISDIR(f->st.stx_mode))
		return;
	r = view_list(view, f, &e, &n);
	if (r < 0) {
		problem(v, path, r, NULL);
		return;
	}
	for (i = 0; i < n; i++) {
		size_t len = strlen(path) + strlen(e[i].name) + 2;
		_cleanup_free_ char *below = sys_malloc(len);

		if (!below) {
			problem(v, path, -ENOMEM, NULL);
			break;
		}
		(void)snprintf(below, len, "%s%s%s", path, path[1] ? "/" : "", e[i].name);
		read_tree(v, view, &e[i].f, below);
	}
	view_list_free(view, e, n);
}

/* An index, and all content that it leads to. */
static void check_index(struct verify *v, const char *path, bool must)
{
	const char *paths[1] = { path };
	struct view *view = NULL;
	struct view_file root;
	struct index *ix = NULL;
	char *err = NULL;
	int r = index_open(AT_FDCWD, path, &ix, &err);

	if (r == -ENOENT && !must) {
		free(err);
		return;
	}
	if (r == 0)
		r = index_check(ix, &err);
	index_close(ix);
	if (r == 0)
		r = view_open_paths(paths, 1, &view, &err);
	if (r == 0)
		r = view_root(view, &root);
	if (r < 0)
		problem(v, NULL, r, err);
	else
		read_tree(v, view, &root, "/");
	view_close(view);
}

/* The index of a layer whose blob is damaged: only if it is there already. */
static void check_cached(struct verify *v, const struct image_layer *l)
{
	char name[INDEX_BLOB_NAME_SIZE], path[4096];

	if (!digest_known(l->digest))
		return;
	index_blob_name(l->digest, name);
	(void)snprintf(path, sizeof(path), "%s/%s.index", layer_cache_path(v->cache), name);
	check_index(v, path, false);
}

static void check_layer(struct verify *v, const struct image_layer *l)
{
	char *path = NULL, *err = NULL;
	int r;

	if (l->kind == IMAGE_LAYER_DIR)
		return;
	if (l->kind == IMAGE_LAYER_INDEX) {
		check_index(v, l->path, true);
		return;
	}
	check_blob(v, l);
	if (v->damaged) {
		check_cached(v, l);
		return;
	}
	r = layer_cache_get(v->cache, l, NULL, &path, &err);
	if (r < 0)
		problem(v, NULL, r, err);
	else
		check_index(v, path, true);
	free(path);
}

/* --- the command ------------------------------------------------------------- */

static void print_layer(struct verify *v, const struct image_layer *l)
{
	char digest[DIGEST_STRING_SIZE], size[OUT_SIZE];

	if (v->c->json) {
		json_end();
		json_uint("files", v->files);
		json_uint("bytes", v->bytes);
		json_bool("ok", !v->damaged);
		json_end();
		return;
	}
	if (digest_known(l->digest))
		digest_string(l->digest, digest);
	else
		(void)snprintf(digest, sizeof(digest), "-");
	if (l->kind == IMAGE_LAYER_DIR)
		(void)printf("layer %u: a directory, which has no digests\n", v->layer);
	else if (!v->damaged)
		(void)printf("layer %u: %sgood%s  %s  %" PRIu64 " files, %s\n", v->layer,
			     out_colour(OUT_GREEN), out_colour(OUT_RESET), digest, v->files,
			     out_size(v->bytes, size));
}

static int verify_image(struct verify *v, const char *ref)
{
	const struct image_options o = { .platform = v->c->platform };
	struct image *img;
	char *err = NULL;
	unsigned i;
	int r = image_open(ref, &o, &img, &err);

	if (r < 0)
		return cmd_fail(r, err, ref);
	if (v->c->json) {
		json_object(NULL);
		json_string("image", ref);
		json_array("layers");
	}
	for (i = 0; i < image_layers(img); i++) {
		const struct image_layer *l = image_layer(img, i);

		v->layer = i + 1;
		v->files = v->bytes = v->damaged = 0;
		if (v->c->json) {
			json_object(NULL);
			json_uint("layer", v->layer);
			json_digest("digest", l->digest);
			json_array("problems");
		}
		check_layer(v, l);
		print_layer(v, l);
	}
	if (v->c->json) {
		json_end();
		json_end();
	}
	image_close(img);
	return CMD_OK;
}

static int run_verify(struct cmd *c)
{
	struct verify v = { .c = c, .buf = sys_malloc(BUFFER) };
	char *err = NULL;
	int r, i;

	if (!v.buf)
		return cmd_fail(-ENOMEM, NULL, NULL);
	r = layer_cache_open(c->layers, &v.cache, &err);
	if (r < 0) {
		free(v.buf);
		return cmd_fail(r, err, NULL);
	}
	if (c->json)
		json_array(NULL);
	for (i = 0; i < c->argc; i++)
		worse(&v, verify_image(&v, c->argv[i]));
	if (c->json)
		json_end();
	layer_cache_close(v.cache);
	free(v.buf);
	return v.exit;
}

const struct command cmd_verify = {
	.name = "verify",
	.args = "IMAGE...",
	.summary = "compare everything with its digest",
	.help = "Reads all of an image: each layer's stored bytes against its digest, its tar\n"
		"against the diff ID, its index against its checksums, and each file against\n"
		"what the index says of it. Names the files that are damaged. Directories (of\n"
		"containers-storage, or given as such) have no digests.",
	.min = 1,
	.max = -1,
	.flags = CMD_IMAGE,
	.run = run_verify,
};
