/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed stream into a file: gzip by zlib, whose output does not depend on the processor. */
#include "oci/commit_blob.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "lib/sha256.h"
#include "lib/sys.h"

enum { OUT = 256 << 10,
       OS_UNKNOWN = 255 };

struct commit_blob {
	int fd; /* borrowed */
	bool is_zstd;
	z_stream gz;
	gz_header header;
	ZSTD_CCtx *zstd; /* owned */
	struct sha256 *raw, *stored; /* owned */
	uint8_t *out; /* owned */
	uint64_t size;
};

int commit_blob_new(int fd, bool zstd, int level, struct commit_blob **ret)
{
	struct commit_blob *b = sys_calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->fd = fd;
	b->is_zstd = zstd;
	b->out = sys_malloc(OUT);
	r = b->out ? sha256_new(&b->raw) : -ENOMEM;
	if (r == 0)
		r = sha256_new(&b->stored);
	if (r == 0 && zstd) {
		b->zstd = ZSTD_createCCtx();
		if (!b->zstd ||
		    ZSTD_isError(ZSTD_CCtx_setParameter(b->zstd, ZSTD_c_compressionLevel,
							level ? level : 3)) ||
		    ZSTD_isError(ZSTD_CCtx_setParameter(b->zstd, ZSTD_c_checksumFlag, 1)))
			r = -ENOMEM;
	} else if (r == 0) {
		b->header.os = OS_UNKNOWN;
		if (deflateInit2(&b->gz, level ? level : 6, Z_DEFLATED, 31, 8,
				 Z_DEFAULT_STRATEGY) != Z_OK ||
		    deflateSetHeader(&b->gz, &b->header) != Z_OK)
			r = -ENOMEM;
	}
	if (r < 0) {
		commit_blob_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void commit_blob_free(struct commit_blob *b)
{
	if (!b)
		return;
	if (!b->is_zstd)
		(void)deflateEnd(&b->gz);
	ZSTD_freeCCtx(b->zstd);
	sha256_free(b->raw);
	sha256_free(b->stored);
	free(b->out);
	free(b);
}

static int put(struct commit_blob *b, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = sys_pwrite(b->fd, b->out + done, size - done, (off_t)(b->size + done));

		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	b->size += size;
	return sha256_update(b->stored, b->out, size);
}

static int run_gzip(struct commit_blob *b, const void *data, size_t size, bool end)
{
	int r = 0, z;

	b->gz.next_in = (Bytef *)(uintptr_t)data;
	b->gz.avail_in = (unsigned)size;
	do {
		b->gz.next_out = b->out;
		b->gz.avail_out = OUT;
		z = deflate(&b->gz, end ? Z_FINISH : Z_NO_FLUSH);
		if (z == Z_STREAM_ERROR)
			return -EINVAL;
		r = put(b, OUT - b->gz.avail_out);
	} while (r == 0 && (end ? z != Z_STREAM_END : !b->gz.avail_out));
	return r;
}

static int run_zstd(struct commit_blob *b, const void *data, size_t size, bool end)
{
	ZSTD_inBuffer in = { data, size, 0 };
	size_t left;
	int r;

	do {
		ZSTD_outBuffer out = { b->out, OUT, 0 };

		left = ZSTD_compressStream2(b->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return -ENOMEM;
		r = put(b, out.pos);
	} while (r == 0 && (end ? left != 0 : in.pos < in.size));
	return r;
}

int commit_blob_add(void *blob, const void *data, size_t size)
{
	struct commit_blob *b = blob;
	int r = sha256_update(b->raw, data, size);

	if (r < 0 || !size)
		return r;
	return b->is_zstd ? run_zstd(b, data, size, false) : run_gzip(b, data, size, false);
}

int commit_blob_end(struct commit_blob *b, uint8_t ret_raw[32], uint8_t ret_stored[32],
		    uint64_t *ret_size)
{
	int r = b->is_zstd ? run_zstd(b, NULL, 0, true) : run_gzip(b, NULL, 0, true);

	if (r == 0)
		r = sha256_final(b->raw, ret_raw);
	if (r == 0)
		r = sha256_final(b->stored, ret_stored);
	*ret_size = b->size;
	return r;
}
