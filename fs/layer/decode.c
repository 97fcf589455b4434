/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of whole streams. gzip is inflated by ISA-L, which is two to three times as fast
 * as zlib here (doc/packing.md has the figures); the others by their own libraries.
 */
#include "fs/layer/decode.h"

#include <bzlib.h>
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "lib/sys.h"

struct decoder {
	enum source_format format;
	bool inside; /* a member has begun, and not ended */
	bool any; /* one has ended */
	bool tail; /* zeros after gzip */
	union {
		struct inflate_state *gz; /* owned */
		ZSTD_DCtx *zstd;
		lzma_stream lzma;
		bz_stream bz;
	};
};

int decoder_new(enum source_format format, struct decoder **ret)
{
	struct decoder *d = sys_calloc(1, sizeof(*d));
	lzma_stream lzma = LZMA_STREAM_INIT;
	int r = 0;

	if (!d)
		return -ENOMEM;
	d->format = format;
	if (format == SOURCE_GZIP) {
		d->gz = sys_malloc(sizeof(*d->gz));
		r = d->gz ? 0 : -ENOMEM;
	} else if (format == SOURCE_ZSTD) {
		d->zstd = ZSTD_createDCtx();
		if (!d->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax,
								    DECODE_MEMORY_LOG)))
			r = -ENOMEM;
	} else if (format == SOURCE_XZ) {
		d->lzma = lzma;
		if (lzma_stream_decoder(&d->lzma, DECODE_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
			r = -ENOMEM;
	} else if (format != SOURCE_BZIP2) {
		r = -EPROTONOSUPPORT;
	}
	if (r < 0) {
		decoder_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	if (d->format == SOURCE_GZIP)
		free(d->gz);
	else if (d->format == SOURCE_ZSTD)
		ZSTD_freeDCtx(d->zstd);
	else if (d->format == SOURCE_XZ)
		lzma_end(&d->lzma);
	else if (d->format == SOURCE_BZIP2 && d->inside)
		(void)BZ2_bzDecompressEnd(&d->bz);
	free(d);
}

static unsigned narrow(size_t n)
{
	return n < INT_MAX ? (unsigned)n : INT_MAX;
}

static int damaged(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

/* After a member: its successor, zeros up to the end, or nothing. */
static int gzip_between(struct decoder *d, struct decode_buf *b, const char **ret_why)
{
	if (d->any && *b->in != 0x1f)
		d->tail = true;
	if (d->tail) {
		for (; b->in_len; b->in++, b->in_len--)
			if (*b->in)
				return damaged(ret_why, "something follows the last gzip member");
		return 0;
	}
	isal_inflate_init(d->gz);
	d->gz->crc_flag = ISAL_GZIP;
	d->inside = true;
	return 0;
}

static int gzip_run(struct decoder *d, struct decode_buf *b, const char **ret_why)
{
	int r;

	if (!d->inside) {
		r = b->in_len ? gzip_between(d, b, ret_why) : 0;
		if (r < 0 || !d->inside)
			return r;
	}
	/* ISA-L takes what it has as all there is: without input it may still hold output */
	d->gz->next_in = (uint8_t *)(uintptr_t)b->in;
	d->gz->avail_in = narrow(b->in_len);
	d->gz->next_out = b->out;
	d->gz->avail_out = narrow(b->out_len);
	r = isal_inflate(d->gz);
	b->in_len -= (size_t)(d->gz->next_in - b->in);
	b->in = d->gz->next_in;
	b->out_len -= (size_t)(d->gz->next_out - b->out);
	b->out = d->gz->next_out;
	if (r == ISAL_INCORRECT_CHECKSUM)
		return damaged(ret_why, "a gzip checksum is wrong");
	if (r < 0)
		return damaged(ret_why, "the gzip stream is damaged");
	if (d->gz->block_state == ISAL_BLOCK_FINISH) {
		d->inside = false;
		d->any = true;
	}
	return 0;
}

static int zstd_run(struct decoder *d, struct decode_buf *b, const char **ret_why)
{
	ZSTD_inBuffer in = { b->in, b->in_len, 0 };
	ZSTD_outBuffer out = { b->out, b->out_len, 0 };
	size_t n = ZSTD_decompressStream(d->zstd, &out, &in);

	if (ZSTD_isError(n)) {
		/* the one error of which a person can do something */
		if (strstr(ZSTD_getErrorName(n), "too much memory")) {
			*ret_why = "the zstd window is too large";
			return -EFBIG;
		}
		return damaged(ret_why, "the zstd stream is damaged");
	}
	if (in.pos || out.pos)
		d->inside = n != 0;
	b->in += in.pos;
	b->in_len -= in.pos;
	b->out += out.pos;
	b->out_len -= out.pos;
	return 0;
}

static int xz_run(struct decoder *d, struct decode_buf *b, const char **ret_why)
{
	lzma_ret r;

	d->lzma.next_in = b->in;
	d->lzma.avail_in = b->in_len;
	d->lzma.next_out = b->out;
	d->lzma.avail_out = b->out_len;
	r = lzma_code(&d->lzma, b->last ? LZMA_FINISH : LZMA_RUN);
	b->in = d->lzma.next_in;
	b->in_len = d->lzma.avail_in;
	b->out = d->lzma.next_out;
	b->out_len = d->lzma.avail_out;
	d->inside = r != LZMA_STREAM_END;
	if (r == LZMA_MEM_ERROR)
		return -ENOMEM;
	if (r == LZMA_MEMLIMIT_ERROR) {
		*ret_why = "the xz dictionary is too large";
		return -EFBIG;
	}
	/* LZMA_BUF_ERROR: neither input nor room, or an end too soon: seen below */
	if (r != LZMA_OK && r != LZMA_STREAM_END && r != LZMA_BUF_ERROR)
		return damaged(ret_why, "the xz stream is damaged");
	return 0;
}

static int bzip2_run(struct decoder *d, struct decode_buf *b, const char **ret_why)
{
	int r;

	if (!d->inside) {
		if (!b->in_len)
			return 0;
		memset(&d->bz, 0, sizeof(d->bz));
		if (BZ2_bzDecompressInit(&d->bz, 0, 0) != BZ_OK)
			return -ENOMEM;
		d->inside = true;
	}
	d->bz.next_in = (char *)(uintptr_t)b->in;
	d->bz.avail_in = narrow(b->in_len);
	d->bz.next_out = (char *)b->out;
	d->bz.avail_out = narrow(b->out_len);
	r = BZ2_bzDecompress(&d->bz);
	b->in_len -= (size_t)(d->bz.next_in - (const char *)b->in);
	b->in = (const uint8_t *)d->bz.next_in;
	b->out_len -= (size_t)((uint8_t *)d->bz.next_out - b->out);
	b->out = (uint8_t *)d->bz.next_out;
	if (r == BZ_STREAM_END) {
		(void)BZ2_bzDecompressEnd(&d->bz);
		d->inside = false;
		return 0;
	}
	if (r == BZ_MEM_ERROR)
		return -ENOMEM;
	return r == BZ_OK ? 0 : damaged(ret_why, "the bzip2 stream is damaged");
}

int decoder_run(struct decoder *d, struct decode_buf *b, const char **ret_why)
{
	size_t in, out;
	int r;

	*ret_why = "out of memory";
	do {
		in = b->in_len;
		out = b->out_len;
		if (d->format == SOURCE_GZIP)
			r = gzip_run(d, b, ret_why);
		else if (d->format == SOURCE_ZSTD)
			r = zstd_run(d, b, ret_why);
		else if (d->format == SOURCE_XZ)
			r = xz_run(d, b, ret_why);
		else
			r = bzip2_run(d, b, ret_why);
		if (r < 0)
			return r;
	} while (b->out_len && (in != b->in_len || out != b->out_len));
	if (b->in_len && b->out_len)
		return damaged(ret_why, "the stream is damaged");
	if (!b->last || b->in_len || !b->out_len)
		return 0;
	return d->inside ? damaged(ret_why, "the stream ends too soon") : 1;
}
