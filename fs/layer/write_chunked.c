/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing zstd:chunked as containers/storage does it: the tar stays what it is, each chunk of
 * a file is a frame of its own, and behind the tar come TOC, tar-split and footer as
 * skippable frames. The tar-split (github.com/vbatts/tar-split) is the tar without content:
 * lines of JSON, a segment for the headers of each entry with the padding before them, then
 * the entry's name, size and CRC-64. Who pulls by the TOC makes the tar again from it, and compares
 * both: every field is what the tar says word for word.
 */
#include "fs/layer/toc_out.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "fs/layer/tar_head.h"
#include "fs/layer/toc_chunker.h"
#include "fs/layer/toc_order.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define PREFIX "io.github.containers.zstd-chunked."
#define BLOCK_SIZE (256U << 10)
#define SEGMENT_MAX (1U << 20)

struct piece {
	uint64_t offset, file_off, len;
	bool zeros;
	uint8_t sha256[32];
};

struct split {
	ZSTD_CCtx *c; /* owned */
	struct toc_text line, out; /* owned */
	uint64_t raw;
	unsigned long long n; /* position of the next entry */
};

struct writer {
	struct toc_job *j;
	struct split split;
	struct toc_chunker chunker;
	struct sha256 *whole, *part; /* owned */
	uint64_t crc;
	uint64_t crc_table[256];
	bool in_chunk;
	uint64_t chunk_at, done; /* in the file */
	struct piece *pieces; /* owned */
	size_t n_pieces, max_pieces;
	uint64_t files, pos; /* pos: what was written of the tar */
	uint8_t *block; /* owned */
};

/* --- tar-split --- */

static int split_flush(struct split *s, bool end)
{
	ZSTD_inBuffer in = { s->line.p, s->line.len, 0 };
	size_t left;

	s->raw += s->line.len;
	do {
		uint8_t buf[16384];
		ZSTD_outBuffer out = { buf, sizeof(buf), 0 };
		int r;

		left = ZSTD_compressStream2(s->c, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return -ENOMEM;
		r = toc_text_add(&s->out, buf, out.pos);
		if (r < 0)
			return r;
	} while (end ? left != 0 : in.pos < in.size);
	s->line.len = 0;
	return 0;
}

static int split_segment(struct split *s, const void *p, size_t len)
{
	int r = toc_text_printf(&s->line, "{\"type\":2,\"payload\":\"");

	if (r == 0)
		r = toc_text_base64(&s->line, p, len);
	if (r == 0)
		r = toc_text_printf(&s->line, "\",\"position\":%llu}\n", s->n++);
	return r < 0 ? r : split_flush(s, false);
}

static int split_file(struct split *s, const struct tar_head *h, uint64_t crc)
{
	const uint64_t be = htobe64(crc);
	int r = toc_text_printf(&s->line, "{\"type\":1");

	if (r == 0)
		r = toc_text_string(&s->line, "name", h->name);
	if (r == 0)
		r = toc_text_number(&s->line, "size", h->size);
	if (r == 0)
		r = toc_text_printf(&s->line, ",\"payload\":%s", h->size > 0 ? "\"" : "null");
	if (r == 0 && h->size > 0)
		r = toc_text_base64(&s->line, &be, sizeof(be));
	if (r == 0)
		r = toc_text_printf(&s->line, "%s,\"position\":%llu}\n", h->size > 0 ? "\"" : "",
				    s->n++);
	return r < 0 ? r : split_flush(s, false);
}

/* CRC-64 of ISO 3309. */
static void crc_init(struct writer *w)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t v = i;

		for (int b = 0; b < 8; b++)
			v = v >> 1 ^ (v & 1 ? 0xD800000000000000ULL : 0);
		w->crc_table[i] = v;
	}
}

static uint64_t crc_update(const struct writer *w, uint64_t crc, const uint8_t *p, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++)
		crc = w->crc_table[(crc ^ p[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

/* --- chunks --- */

static int chunk_put(void *arg, const uint8_t *p, size_t len)
{
	struct writer *w = arg;
	int r = 0;

	if (!w->in_chunk) {
		if (w->n_pieces == w->max_pieces) {
			size_t max = w->max_pieces ? 2 * w->max_pieces : 256;
			struct piece *q = sys_realloc(w->pieces, max * sizeof(*q));

			if (q == NULL)
				return -ENOMEM;
			w->pieces = q;
			w->max_pieces = max;
		}
		r = members_cut(w->j->m, &w->pieces[w->n_pieces].offset);
		w->chunk_at = w->done;
		w->in_chunk = true;
	}
	if (r == 0)
		r = sha256_update(w->part, p, len);
	w->done += len;
	return r < 0 ? r : members_put(w->j->m, p, len);
}

static int chunk_end(void *arg, bool zeros)
{
	struct writer *w = arg;
	struct piece *p = &w->pieces[w->n_pieces++];

	p->file_off = w->chunk_at;
	p->len = w->done - w->chunk_at;
	p->zeros = zeros;
	w->in_chunk = false;
	int r = members_cut(w->j->m, NULL);

	return r < 0 ? r : sha256_final(w->part, p->sha256);
}

static int read_tar(struct writer *w, uint64_t off, size_t len)
{
	ssize_t n = source_pread(w->j->tar, w->block, len, off);

	return n < 0 ? (int)n : (size_t)n != len ? -EIO :
						   0;
}

static int copy_content(struct writer *w, const struct tar_head *h)
{
	int r = 0;

	w->n_pieces = 0;
	w->done = 0;
	w->crc = 0;
	toc_chunker_reset(&w->chunker);
	for (uint64_t off = 0; off < h->size && r == 0;) {
		size_t n = h->size - off < BLOCK_SIZE ? (size_t)(h->size - off) : BLOCK_SIZE;

		r = read_tar(w, h->data + off, n);
		if (r == 0)
			r = sha256_update(w->whole, w->block, n);
		if (r == 0)
			r = toc_chunker_add(&w->chunker, w->block, n);
		w->crc = crc_update(w, w->crc, w->block, n);
		off += n;
		if (r == 0)
			r = toc_progress(w->j, h->data + off, w->files);
	}
	return r == 0 ? toc_chunker_end(&w->chunker) : r < 0 ? r :
							       -EINTR;
}

/* Bytes of the tar up to @end, which are no content: to the blob and to the tar-split. */
static int copy_headers(struct writer *w, uint64_t end)
{
	_cleanup_free_ uint8_t *all = NULL;
	size_t len = (size_t)(end - w->pos);
	ssize_t n;
	int r;

	if (len == 0)
		return 0;
	all = sys_malloc(len);
	if (all == NULL)
		return -ENOMEM;
	n = source_pread(w->j->tar, all, len, w->pos);
	if (n < 0 || (size_t)n != len)
		return n < 0 ? (int)n : -EIO;
	r = members_put(w->j->m, all, len);
	w->pos = end;
	return r < 0 ? r : split_segment(&w->split, all, len);
}

/* --- the TOC --- */

static int toc_times(struct toc_text *t, const struct tar_head *h)
{
	const struct {
		const char *key;
		const struct tar_time *t;
	} times[] = {
		{ "modtime", &h->mtime },
		{ "accesstime", &h->atime },
		{ "changetime", &h->ctime },
	};
	int r = 0;

	for (size_t i = 0; i < 3 && r == 0; i++) {
		if (times[i].t->set)
			r = toc_text_time(t, times[i].key, times[i].t->sec, times[i].t->nsec);
	}
	return r;
}

static int toc_entry(struct writer *w, const struct tar_head *h, uint64_t end)
{
	static const char *const types[] = {
		"reg",
		"hardlink",
		"symlink",
		"char",
		"block",
		"dir",
		"fifo",
	};
	struct toc_text *t = &w->j->toc;
	uint8_t sum[32];
	int r;

	if ((r = toc_text_printf(t, "%s{\"type\":\"%s\"", w->files == 1 ? "" : ",",
				 types[h->type - '0'])) < 0 ||
	    (r = toc_text_string(t, "name", h->name)) < 0 ||
	    (r = toc_text_string(t, "linkName", h->link)) < 0 ||
	    (r = toc_text_number(t, "mode", h->mode)) < 0 ||
	    (r = toc_text_number(t, "size", h->size)) < 0 ||
	    (r = toc_text_number(t, "uid", h->uid)) < 0 ||
	    (r = toc_text_number(t, "gid", h->gid)) < 0 || (r = toc_times(t, h)) < 0 ||
	    (r = toc_text_number(t, "devMajor", h->dev_major)) < 0 ||
	    (r = toc_text_number(t, "devMinor", h->dev_minor)) < 0 ||
	    (r = toc_text_xattrs(t, h->xattrs, h->n_xattrs)) < 0)
		return r;
	if (h->size > 0) {
		r = sha256_final(w->whole, sum);
		if (r == 0)
			r = toc_text_digest(t, "digest", sum);
	}
	for (size_t i = 0; i < w->n_pieces && r == 0 && h->size > 0; i++) {
		const struct piece *p = &w->pieces[i];

		if (i > 0 && (r = toc_text_printf(t, "},{\"type\":\"chunk\"")) == 0)
			r = toc_text_string(t, "name", h->name);
		if (r == 0)
			r = toc_text_number(t, "offset", p->offset);
		if (r == 0 && i == 0)
			r = toc_text_number(t, "endOffset", end);
		if (r < 0 || w->n_pieces == 1)
			break;
		if ((r = toc_text_number(t, "chunkSize", p->len)) < 0 ||
		    (r = toc_text_number(t, "chunkOffset", p->file_off)) < 0 ||
		    (r = toc_text_digest(t, "chunkDigest", p->sha256)) < 0)
			break;
		if (p->zeros)
			r = toc_text_string(t, "chunkType", "zeros");
	}
	return r < 0 ? r : toc_text_add(t, "}", 1);
}

static int write_entry(struct writer *w, const struct tar_head *h, char **ret_err)
{
	int r = 0;

	/* Who makes the tar again from this asks for all of it. */
	if (h->next > w->j->tar->size)
		return toc_fail(ret_err, -EINVAL, "\"%s\": the tar ends before its padding does",
				h->name);
	r = copy_headers(w, h->data);
	w->files++;
	w->n_pieces = 0;
	if (r == 0 && h->size > 0)
		r = copy_content(w, h);
	w->pos = h->data + h->size;
	if (r == 0)
		r = split_file(&w->split, h, w->crc);
	if (r == 0)
		r = toc_entry(w, h, members_offset(w->j->m));
	if (r == -EILSEQ)
		return toc_fail(ret_err, -EPROTONOSUPPORT,
				"\"%s\": a name that is no UTF-8: a TOC cannot hold it", h->name);
	if (r == -ERANGE)
		return toc_fail(ret_err, -EPROTONOSUPPORT,
				"\"%s\": its time is beyond the year 9999", h->name);
	return r;
}

/* --- the whole --- */

static int write_entries(struct writer *w, char **ret_err)
{
	struct tar_heads *t;
	struct tar_head h;
	int r = tar_heads_new(w->j->tar, &t);

	if (r < 0)
		return r;
	while ((r = tar_heads_next(t, &h, ret_err)) > 0) {
		r = write_entry(w, &h, ret_err);
		if (r < 0)
			break;
	}
	tar_heads_free(t);
	if (r == -EPROTONOSUPPORT)
		return toc_fail(ret_err, r, "the tar holds something that this format cannot");
	/* The end of the archive, and whatever is behind it. */
	while (r == 0 && w->pos < w->j->tar->size) {
		uint64_t left = w->j->tar->size - w->pos;

		r = copy_headers(w, w->pos + (left < SEGMENT_MAX ? left : SEGMENT_MAX));
	}
	return r;
}

static int finish(struct writer *w, int level)
{
	struct toc_job *j = w->j;
	struct toc_text packed = { 0 };
	uint64_t footer[8], off;
	uint8_t sum[32];
	int r = split_flush(&w->split, true);

	if (r == 0)
		r = sha256_of(w->part, w->split.out.p, w->split.out.len, sum);
	if (r == 0)
		r = toc_text_printf(&j->toc, "]");
	if (r == 0)
		r = toc_text_digest(&j->toc, "tarSplitDigest", sum);
	if (r == 0)
		r = toc_text_printf(&j->toc, "}");
	if (r == 0)
		r = members_cut(j->m, &off);
	if (r == 0)
		r = toc_compress(j->toc.p, j->toc.len, level, &packed);
	if (r == 0)
		r = members_skippable(j->m, packed.p, packed.len);
	if (r == 0)
		r = members_skippable(j->m, w->split.out.p, w->split.out.len);
	if (r == 0) {
		footer[0] = off + 8;
		footer[1] = packed.len;
		footer[2] = j->toc.len;
		footer[3] = 1;
		footer[4] = off + 8 + packed.len + 8;
		footer[5] = w->split.out.len;
		footer[6] = w->split.raw;
		r = sha256_of(w->part, packed.p, packed.len, sum);
	}
	if (r == 0)
		r = toc_note_digest(j->w, PREFIX "manifest-checksum", sum);
	if (r == 0)
		r = toc_note(j->w, PREFIX "manifest-position", "%llu:%llu:%llu:1",
			     (unsigned long long)footer[0], (unsigned long long)footer[1],
			     (unsigned long long)footer[2]);
	if (r == 0)
		r = toc_note(j->w, PREFIX "tarsplit-position", "%llu:%llu:%llu",
			     (unsigned long long)footer[4], (unsigned long long)footer[5],
			     (unsigned long long)footer[6]);
	if (r == 0) {
		for (int i = 0; i < 7; i++)
			footer[i] = htole64(footer[i]);
		memcpy(footer + 7, "GNUlInUx", 8);
		r = members_skippable(j->m, footer, sizeof(footer));
	}
	toc_text_release(&packed);
	return r;
}

/* What this format cannot hold without another tar. */
static int check(struct toc_job *j, char **ret_err)
{
	struct toc_order order;
	int r;

	if (j->o->n_first > 0)
		return toc_fail(ret_err, -EPROTONOSUPPORT,
				"this format keeps the order of the tar: nothing can come first");
	r = toc_order_make(j->tar, NULL, 0, NULL, &order, ret_err);
	if (r == 0 && order.twice != NULL)
		r = toc_fail(ret_err, -EPROTONOSUPPORT, "\"%s\": it is in the tar twice",
			     order.twice);
	toc_order_release(&order);
	return r;
}

int toc_write_chunked(struct toc_job *j, char **ret_err)
{
	const int level = j->o->level ? j->o->level : 9;
	struct writer w = { .j = j, .chunker = { .put = chunk_put, .end = chunk_end } };
	int r = check(j, ret_err);

	if (r < 0)
		return r;
	w.chunker.arg = &w;
	crc_init(&w);
	w.split.c = ZSTD_createCCtx();
	w.block = sys_malloc(BLOCK_SIZE);
	r = sha256_new(&w.whole);
	if (r == 0)
		r = sha256_new(&w.part);
	if (w.split.c == NULL || w.block == NULL ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w.split.c, ZSTD_c_compressionLevel, level)))
		r = -ENOMEM;
	if (r == 0)
		r = toc_text_printf(&j->toc, "{\"version\":1,\"entries\":[");
	if (r == 0)
		r = write_entries(&w, ret_err);
	if (r == 0)
		r = finish(&w, level);
	(void)ZSTD_freeCCtx(w.split.c);
	toc_text_release(&w.split.line);
	toc_text_release(&w.split.out);
	sha256_free(w.whole);
	sha256_free(w.part);
	free(w.pieces);
	free(w.block);
	return r;
}
