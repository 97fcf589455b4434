/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of gzip members or zstd frames one behind the other, hashed on both sides of the
 * compression. Nothing of the clock or the machine gets into it.
 */
#include "fs/layer/toc_out.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "lib/sys.h"

#define OUT_SIZE (256U << 10)

struct members {
	int fd; /* borrowed */
	bool zstd, open;
	z_stream z;
	bool z_ready;
	ZSTD_CCtx *c; /* owned */
	struct sha256 *blob, *tar; /* owned */
	uint64_t flushed, raw; /* bytes in the file; uncompressed */
	size_t len;
	uint8_t out[OUT_SIZE];
};

int members_new(int fd, bool zstd, int level, struct members **ret)
{
	struct members *m = sys_calloc(1, sizeof(*m));
	int r;

	if (m == NULL)
		return -ENOMEM;
	m->fd = fd;
	m->zstd = zstd;
	r = sha256_new(&m->blob);
	if (r == 0)
		r = sha256_new(&m->tar);
	if (r == 0 && zstd) {
		m->c = ZSTD_createCCtx();
		if (m->c == NULL || ZSTD_isError(ZSTD_CCtx_setParameter(
					    m->c, ZSTD_c_compressionLevel, level)))
			r = -ENOMEM;
	} else if (r == 0) {
		if (deflateInit2(&m->z, level, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) == Z_OK)
			m->z_ready = true;
		else
			r = -ENOMEM;
	}
	if (r < 0) {
		members_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void members_free(struct members *m)
{
	if (m == NULL)
		return;
	if (m->z_ready)
		(void)deflateEnd(&m->z);
	(void)ZSTD_freeCCtx(m->c);
	sha256_free(m->blob);
	sha256_free(m->tar);
	free(m);
}

static int flush(struct members *m)
{
	size_t done = 0;
	int r = sha256_update(m->blob, m->out, m->len);

	while (r == 0 && done < m->len) {
		ssize_t n = sys_pwrite(m->fd, m->out + done, m->len - done,
				       (off_t)(m->flushed + done));

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		done += (size_t)n;
	}
	m->flushed += m->len;
	m->len = 0;
	return r;
}

/* One turn of the compressor; 1: it has taken all and, at an end, given all. */
static int turn(struct members *m, ZSTD_inBuffer *in, bool end)
{
	if (m->len == OUT_SIZE) {
		int r = flush(m);

		if (r < 0)
			return r;
	}
	if (m->zstd) {
		ZSTD_outBuffer out = { m->out, OUT_SIZE, m->len };
		size_t left =
			ZSTD_compressStream2(m->c, &out, in, end ? ZSTD_e_end : ZSTD_e_continue);

		if (ZSTD_isError(left))
			return -ENOMEM;
		m->len = out.pos;
		return end ? left == 0 : in->pos == in->size;
	}
	/* Not written to. */
	m->z.next_in = (Bytef *)(uintptr_t)((const uint8_t *)in->src + in->pos);
	m->z.avail_in = (uInt)(in->size - in->pos);
	m->z.next_out = m->out + m->len;
	m->z.avail_out = (uInt)(OUT_SIZE - m->len);
	int z = deflate(&m->z, end ? Z_FINISH : Z_NO_FLUSH);

	if (z == Z_STREAM_ERROR)
		return -EINVAL;
	in->pos = in->size - m->z.avail_in;
	m->len = OUT_SIZE - m->z.avail_out;
	return end ? z == Z_STREAM_END : m->z.avail_in == 0;
}

static int run(struct members *m, const void *p, size_t len, bool end)
{
	ZSTD_inBuffer in = { p, len, 0 };
	int r;

	do
		r = turn(m, &in, end);
	while (r == 0);
	return r < 0 ? r : 0;
}

int members_put(struct members *m, const void *p, size_t len)
{
	int r;

	while (len > 0) {
		size_t n = len < (1U << 30) ? len : 1U << 30;

		m->open = true;
		r = sha256_update(m->tar, p, n);
		if (r == 0)
			r = run(m, p, n, false);
		if (r < 0)
			return r;
		m->raw += n;
		p = (const uint8_t *)p + n;
		len -= n;
	}
	return 0;
}

int members_cut(struct members *m, uint64_t *ret)
{
	if (m->open) {
		int r = run(m, "", 0, true);

		if (r < 0)
			return r;
		if (!m->zstd && deflateReset(&m->z) != Z_OK)
			return -EINVAL;
		m->open = false;
	}
	if (ret != NULL)
		*ret = members_offset(m);
	return 0;
}

int members_raw(struct members *m, const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len > 0) {
		size_t n = OUT_SIZE - m->len < len ? OUT_SIZE - m->len : len;

		memcpy(m->out + m->len, b, n);
		m->len += n;
		b += n;
		len -= n;
		if (m->len == OUT_SIZE) {
			int r = flush(m);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int members_skippable(struct members *m, const void *p, size_t len)
{
	const uint32_t head[2] = { htole32(0x184d2a50), htole32((uint32_t)len) };
	int r = len > UINT32_MAX ? -EFBIG : members_raw(m, head, sizeof(head));

	return r < 0 ? r : members_raw(m, p, len);
}

uint64_t members_offset(const struct members *m)
{
	return m->flushed + m->len;
}

uint64_t members_raw_size(const struct members *m)
{
	return m->raw;
}

int members_end(struct members *m, uint8_t blob[32], uint8_t tar[32])
{
	int r = flush(m);

	if (r == 0)
		r = sha256_final(m->blob, blob);
	return r == 0 ? sha256_final(m->tar, tar) : r;
}

int toc_compress(const void *p, size_t len, int level, struct toc_text *out)
{
	size_t room = ZSTD_compressBound(len), n;

	out->p = sys_malloc(room);
	if (out->p == NULL)
		return -ENOMEM;
	out->max = room;
	n = ZSTD_compress(out->p, room, p, len, level);
	out->len = ZSTD_isError(n) ? 0 : n;
	return ZSTD_isError(n) ? -ENOMEM : 0;
}
