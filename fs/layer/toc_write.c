/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer written anew with a table of contents: what is common to all formats. The tar is
 * made plain first, in a file, since it is read twice: what comes twice in it, and what is to come
 * first, is known only at its end.
 */
#include "fs/layer/toc_write.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fs/layer/tar_input.h"
#include "fs/layer/toc_out.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define GZIP_LEVEL 9 /* as stargz-snapshotter */
#define ZSTD_LEVEL 9

int toc_note(struct toc_written *w, const char *key, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (w->n_notes == sizeof(w->notes) / sizeof(w->notes[0]))
		return -E2BIG;
	(void)snprintf(w->notes[w->n_notes].key, sizeof(w->notes[0].key), "%s", key);
	va_start(ap, fmt);
	n = vsnprintf(w->notes[w->n_notes].value, sizeof(w->notes[0].value), fmt, ap);
	va_end(ap);
	w->n_notes++;
	return n < 0 || (size_t)n >= sizeof(w->notes[0].value) ? -E2BIG : 0;
}

int toc_note_digest(struct toc_written *w, const char *key, const uint8_t sum[32])
{
	char hex[65];

	for (int i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	return toc_note(w, key, "sha256:%s", hex);
}

int toc_progress(struct toc_job *j, uint64_t done, uint64_t files)
{
	const struct pack_progress p = {
		.in = done,
		.in_total = j->tar->size,
		.raw = done,
		.out = members_offset(j->m),
		.files = files,
	};

	if (j->o->progress == NULL || done - j->told < (1U << 20))
		return 0;
	j->told = done;
	return j->o->progress(j->o->arg, &p);
}

/* Is what was found what was demanded? */
static int demand(const uint8_t *want, const uint8_t found[32], const char *what, char **ret_err)
{
	if (want == NULL || memcmp(want, found, 32) == 0)
		return 0;
	return toc_fail(ret_err, -EBADMSG, "%s is not what the image says", what);
}

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = sys_pwrite(fd, p, len, (off_t)off);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The tar of @s as @ret: @s itself, or @spool. Its diff ID too. */
static int unpack(const struct source *s, int spool, const struct toc_write_options *o,
		  struct source *ret, uint8_t diff_id[32], char **ret_err)
{
	struct tar_input *in;
	const uint8_t *p;
	uint8_t stored[32];
	size_t len;
	bool plain;
	int r = tar_input_new(s, &in, ret_err);

	if (r < 0)
		return r;
	plain = tar_input_format(in) == SOURCE_TAR;
	*ret = plain ? *s : (struct source){ .fd = spool, .name = s->name };
	while ((r = tar_input_next(in, &p, &len, ret_err)) > 0) {
		if (plain)
			continue;
		r = write_all(spool, p, len, ret->size);
		if (r < 0)
			break;
		ret->size += len;
	}
	if (r == 0) {
		tar_input_digests(in, stored, diff_id);
		r = demand(o->layer, stored, "the layer's digest", ret_err);
	}
	if (r == 0)
		r = demand(o->diff_id, diff_id, "the layer's diff ID", ret_err);
	tar_input_free(in);
	return r;
}

static int write_toc(const struct source *s, int spool, int fd, const struct toc_write_options *o,
		     struct toc_written *ret, char **ret_err)
{
	const bool zstd = o->format != TOC_FORMAT_ESTARGZ;
	struct source tar;
	struct toc_job j = { .tar = &tar, .o = o, .w = ret };
	uint8_t diff_id[32];
	int r = unpack(s, spool, o, &tar, diff_id, ret_err);

	if (r == 0)
		r = members_new(fd, zstd, o->level ? o->level : zstd ? ZSTD_LEVEL :
								       GZIP_LEVEL,
				&j.m);
	if (r == 0)
		r = o->format == TOC_FORMAT_CHUNKED ? toc_write_chunked(&j, ret_err) :
						      toc_write_estargz(&j, ret_err);
	if (r == 0)
		r = members_end(j.m, ret->digest, ret->diff_id);
	if (r == 0) {
		ret->size = members_offset(j.m);
		if (o->format == TOC_FORMAT_CHUNKED && memcmp(diff_id, ret->diff_id, 32) != 0)
			r = toc_fail(ret_err, -EIO, "its tar changed while it was written");
	}
	members_free(j.m);
	toc_text_release(&j.toc);
	return r;
}

int toc_write(const struct source *s, int spool, int fd, const struct toc_write_options *o,
	      struct toc_written *ret, char **ret_err)
{
	_cleanup_free_ char *why = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = write_toc(s, spool, fd, o, ret, &why);
	if (r < 0 && why != NULL)
		(void)toc_fail(ret_err, r, "%s: %s", s->name ? s->name : "layer", why);
	return r;
}
