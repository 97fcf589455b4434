/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a TOC, as they come out of the blob: read in pieces of fixed size,
 * hashed as they are stored, decompressed, and never more than TOC_MAX and the
 * headers around it.
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

#define IN_SIZE 65536
#define OUT_MAX ((uint64_t)TOC_MAX + (1U << 20))

struct toc_stream {
	const struct source *s; /* borrowed */
	uint64_t off, end; /* what was not read yet */
	uint64_t out, max; /* bytes that came out; and may */
	enum toc_codec codec;
	bool done; /* the compressed data has ended */
	EVP_MD_CTX *stored; /* owned */
	z_stream z;
	bool z_ready;
	ZSTD_DCtx *zstd; /* owned */
	size_t pos, len; /* of buf */
	uint8_t buf[IN_SIZE];
};

void toc_stream_free(struct toc_stream *st)
{
	if (st == NULL)
		return;
	if (st->z_ready)
		(void)inflateEnd(&st->z);
	(void)ZSTD_freeDCtx(st->zstd);
	EVP_MD_CTX_free(st->stored);
	free(st);
}

static int prepare(struct toc_stream *st)
{
	st->stored = EVP_MD_CTX_new();
	if (st->stored == NULL || EVP_DigestInit_ex(st->stored, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	switch (st->codec) {
	case TOC_GZIP:
		if (inflateInit2(&st->z, 15 + 16) != Z_OK)
			return -ENOMEM;
		st->z_ready = true;
		return 0;
	case TOC_ZSTD:
		st->zstd = ZSTD_createDCtx();
		return st->zstd == NULL ? -ENOMEM : 0;
	case TOC_RAW:
		return 0;
	}
	return -EINVAL;
}

int toc_stream_new(const struct source *s, uint64_t off, uint64_t len, enum toc_codec codec,
		   struct toc_stream **ret)
{
	struct toc_stream *st;
	int r;

	if (off > s->size || len > s->size - off)
		return -EINVAL;
	st = sys_calloc(1, sizeof(*st));
	if (st == NULL)
		return -ENOMEM;
	st->s = s;
	st->off = off;
	st->end = off + len;
	st->codec = codec;
	st->max = OUT_MAX;
	r = prepare(st);
	if (r < 0) {
		toc_stream_free(st);
		return r;
	}
	*ret = st;
	return 0;
}

void toc_stream_limit(struct toc_stream *st, uint64_t max)
{
	st->max = max;
}

/* More stored bytes into the buffer, which is empty; 0 at the end. */
static ssize_t refill(struct toc_stream *st)
{
	uint64_t left = st->end - st->off;
	ssize_t n;

	st->pos = st->len = 0;
	if (left == 0)
		return 0;
	n = source_pread(st->s, st->buf, left < IN_SIZE ? (size_t)left : IN_SIZE, st->off);
	if (n < 0)
		return n;
	if (n == 0)
		return -EIO;
	if (EVP_DigestUpdate(st->stored, st->buf, (size_t)n) != 1)
		return -ENOMEM;
	st->off += (uint64_t)n;
	st->len = (size_t)n;
	return n;
}

/* Decompresses into @buf from what is buffered. Bytes written, or -errno. */
static ssize_t step_gzip(struct toc_stream *st, uint8_t *buf, size_t size, char **ret_err)
{
	int z;

	st->z.next_in = st->buf + st->pos;
	st->z.avail_in = (uInt)(st->len - st->pos);
	st->z.next_out = buf;
	st->z.avail_out = size < (1U << 30) ? (uInt)size : 1U << 30;
	size = st->z.avail_out;
	z = inflate(&st->z, Z_NO_FLUSH);
	st->pos = st->len - st->z.avail_in;
	if (z == Z_MEM_ERROR)
		return -ENOMEM;
	if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
		return toc_fail(ret_err, -EBADMSG, "the TOC's gzip data is damaged");
	if (z == Z_STREAM_END) {
		/* Another member may follow; what is neither is the caller's to refuse. */
		if (st->pos == st->len) {
			ssize_t n = refill(st);

			if (n < 0)
				return n;
		}
		if (st->pos < st->len && st->buf[st->pos] == 0x1f)
			(void)inflateReset(&st->z);
		else
			st->done = true;
	}
	return (ssize_t)(size - st->z.avail_out);
}

static ssize_t step_zstd(struct toc_stream *st, uint8_t *buf, size_t size, char **ret_err)
{
	ZSTD_inBuffer in = { st->buf + st->pos, st->len - st->pos, 0 };
	ZSTD_outBuffer out = { buf, size, 0 };
	size_t r = ZSTD_decompressStream(st->zstd, &out, &in);

	if (ZSTD_isError(r))
		return toc_fail(ret_err, -EBADMSG, "the TOC's zstd data is damaged: %s",
				ZSTD_getErrorName(r));
	st->pos += in.pos;
	if (r == 0 && st->pos == st->len && st->off == st->end)
		st->done = true;
	return (ssize_t)out.pos;
}

static ssize_t step(struct toc_stream *st, uint8_t *buf, size_t size, char **ret_err)
{
	size_t n = st->len - st->pos;

	if (st->codec == TOC_GZIP)
		return step_gzip(st, buf, size, ret_err);
	if (st->codec == TOC_ZSTD)
		return step_zstd(st, buf, size, ret_err);
	n = n < size ? n : size;
	memcpy(buf, st->buf + st->pos, n);
	st->pos += n;
	st->done = st->pos == st->len && st->off == st->end;
	return (ssize_t)n;
}

ssize_t toc_stream_read(struct toc_stream *st, void *buf, size_t size, char **ret_err)
{
	uint8_t *p = buf;
	size_t have = 0;

	while (have < size && !st->done) {
		bool starved = false;
		ssize_t n;

		if (st->pos == st->len) {
			n = refill(st);
			if (n < 0)
				return n;
			starved = n == 0;
		}
		n = step(st, p + have, size - have, ret_err);
		if (n < 0)
			return n;
		have += (size_t)n;
		st->out += (uint64_t)n;
		if (st->out > st->max)
			return toc_fail(ret_err, -EBADMSG,
					"the TOC is larger than %u bytes decompressed", TOC_MAX);
		if (starved && n == 0 && !st->done)
			return toc_fail(ret_err, -EBADMSG,
					"the TOC's compressed data is cut short");
	}
	return (ssize_t)have;
}

int toc_stream_stored(struct toc_stream *st, uint8_t ret[TOC_SHA256], char **ret_err)
{
	uint8_t c;
	ssize_t n = toc_stream_read(st, &c, 1, ret_err);

	if (n < 0)
		return (int)n;
	if (n > 0 || st->pos != st->len || st->off != st->end)
		return toc_fail(ret_err, -EBADMSG, "something follows the TOC's compressed data");
	return EVP_DigestFinal_ex(st->stored, ret, NULL) == 1 ? 0 : -ENOMEM;
}
