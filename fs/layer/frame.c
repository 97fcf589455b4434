/* SPDX-License-Identifier: Apache-2.0 */
/* Decompressing frames: raw, gzip, zstd. */
#define ZLIB_CONST
#include "fs/layer/frame.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

#define PIECE (128U << 10) /* stored bytes that are read at a time */
#define KEEP (512U << 10) /* the largest buffer that a thread keeps */

/* What a thread keeps between frames; freed when it ends. */
struct scratch {
	ZSTD_DCtx *zstd;
	void *buf;
	size_t size;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static bool scratch_ok;

static void scratch_free(void *p)
{
	struct scratch *s = p;

	(void)ZSTD_freeDCtx(s->zstd);
	free(s->buf);
	free(s);
}

static void scratch_init(void)
{
	scratch_ok = pthread_key_create(&scratch_key, scratch_free) == 0;
}

/* The calling thread's, with a buffer of @size. NULL: no memory. */
static struct scratch *scratch_get(size_t size)
{
	struct scratch *s;

	(void)pthread_once(&scratch_once, scratch_init);
	if (!scratch_ok)
		return NULL;
	s = pthread_getspecific(scratch_key);
	if (!s) {
		s = sys_calloc(1, sizeof(*s));
		if (!s || pthread_setspecific(scratch_key, s)) {
			free(s);
			return NULL;
		}
	}
	if (!s->zstd)
		s->zstd = ZSTD_createDCtx();
	if (!s->zstd)
		return NULL;
	if (s->size < size) {
		free(s->buf);
		s->buf = sys_malloc(size);
		s->size = s->buf ? size : 0;
	}
	return s->buf ? s : NULL;
}

static void scratch_put(struct scratch *s)
{
	if (s->size <= KEEP)
		return;
	free(s->buf);
	s->buf = NULL;
	s->size = 0;
}

static int bad(const char **why, const char *what)
{
	*why = what;
	return -EIO;
}

static int bounds(const struct source *blob, const struct index_frame *f, const char **why)
{
	if (f->off > blob->size || f->stored > blob->size - f->off)
		return bad(why, "lies outside of the blob");
	if (f->codec >= INDEX_CODECS)
		return bad(why, "has a compression that is not known");
	if (f->codec == INDEX_RAW && f->raw > f->stored)
		return bad(why, "is shorter than it claims to be");
	return 0;
}

/* All of [off, off + size) of the blob. */
static int read_stored(const struct source *blob, void *buf, size_t size, uint64_t off,
		       const char **why)
{
	ssize_t n = source_pread(blob, buf, size, off);

	if (n < 0) {
		*why = "cannot be read";
		return (int)n;
	}
	return (size_t)n == size ? 0 : bad(why, "is cut short");
}

int frame_check(const struct source *blob, const struct index_frame *f, const char **why)
{
	_cleanup_free_ uint8_t *buf = NULL;
	XXH3_state_t *h;
	uint64_t at = 0;
	int r = bounds(blob, f, why);

	if (r < 0 || !f->xxh3)
		return r;
	buf = sys_malloc(PIECE);
	h = XXH3_createState();
	r = buf && h ? 0 : -ENOMEM;
	if (!r)
		(void)XXH3_64bits_reset(h);
	while (!r && at < f->stored) {
		size_t n = f->stored - at < PIECE ? (size_t)(f->stored - at) : PIECE;

		r = read_stored(blob, buf, n, f->off + at, why);
		if (!r)
			(void)XXH3_64bits_update(h, buf, n);
		at += n;
	}
	if (!r && XXH3_64bits_digest(h) != f->xxh3)
		r = bad(why, "does not match its checksum");
	(void)XXH3_freeState(h);
	return r;
}

/* --- a piece at a time ------------------------------------------------------- */

struct frame_stream {
	struct source blob;
	struct index_frame f;
	uint64_t in_at; /* stored bytes that were read */
	uint64_t pos; /* decompressed bytes that were taken */
	ZSTD_DCtx *zstd; /* owned */
	z_stream z;
	bool z_open, z_ended;
	size_t have, used; /* bytes of in, and of those done with */
	uint8_t in[PIECE];
	uint8_t skip[PIECE];
};

int frame_stream_open(const struct source *blob, const struct index_frame *f,
		      struct frame_stream **ret, const char **why)
{
	struct frame_stream *s;
	int r = frame_check(blob, f, why);

	if (r < 0)
		return r;
	s = sys_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->blob = *blob;
	s->f = *f;
	if (f->codec == INDEX_ZSTD) {
		s->zstd = ZSTD_createDCtx();
		r = s->zstd ? 0 : -ENOMEM;
		if (!r)
			(void)ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax,
						     FRAME_WINDOW_LOG);
	} else if (f->codec == INDEX_GZIP) {
		s->z_open = inflateInit2(&s->z, 15 + 16) == Z_OK;
		r = s->z_open ? 0 : -ENOMEM;
	}
	if (r < 0) {
		frame_stream_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void frame_stream_close(struct frame_stream *s)
{
	if (!s)
		return;
	(void)ZSTD_freeDCtx(s->zstd);
	if (s->z_open)
		(void)inflateEnd(&s->z);
	free(s);
}

uint64_t frame_stream_pos(const struct frame_stream *s)
{
	return s->pos;
}

static int fill(struct frame_stream *s, const char **why)
{
	uint64_t left = s->f.stored - s->in_at;
	size_t n = left < PIECE ? (size_t)left : PIECE;
	int r;

	if (s->used < s->have)
		return 0;
	if (!n)
		return bad(why, "is shorter than it claims to be");
	r = read_stored(&s->blob, s->in, n, s->f.off + s->in_at, why);
	if (r < 0)
		return r;
	s->in_at += n;
	s->have = n;
	s->used = 0;
	return 0;
}

/* Some bytes more into @buf, maybe none although there are: how many. */
static ssize_t step_gzip(struct frame_stream *s, void *buf, size_t size, const char **why)
{
	int r;

	if (s->z_ended) { /* another member follows */
		if (inflateReset(&s->z) != Z_OK)
			return bad(why, "is no gzip");
		s->z_ended = false;
	}
	s->z.next_in = s->in + s->used;
	s->z.avail_in = (uInt)(s->have - s->used);
	s->z.next_out = buf;
	s->z.avail_out = (uInt)size;
	r = inflate(&s->z, Z_NO_FLUSH);
	s->used = s->have - s->z.avail_in;
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return bad(why, "is damaged: it cannot be inflated");
	s->z_ended = r == Z_STREAM_END;
	return (ssize_t)(size - s->z.avail_out);
}

static ssize_t step_zstd(struct frame_stream *s, void *buf, size_t size, const char **why)
{
	ZSTD_inBuffer in = { .src = s->in, .size = s->have, .pos = s->used };
	ZSTD_outBuffer out = { .dst = buf, .size = size };
	size_t r = ZSTD_decompressStream(s->zstd, &out, &in);

	s->used = in.pos;
	if (!ZSTD_isError(r))
		return (ssize_t)out.pos;
	if (ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	return bad(why, "is damaged: it cannot be decompressed");
}

/* Decompresses what is there, or copies it: at least one byte unless it only used input. */
static ssize_t step(struct frame_stream *s, void *buf, size_t size, const char **why)
{
	size_t n;

	switch (s->f.codec) {
	case INDEX_GZIP:
		return step_gzip(s, buf, size, why);
	case INDEX_ZSTD:
		return step_zstd(s, buf, size, why);
	default:
		n = s->have - s->used < size ? s->have - s->used : size;
		memcpy(buf, s->in + s->used, n);
		s->used += n;
		return (ssize_t)n;
	}
}

int frame_stream_next(struct frame_stream *s, void *buf, uint64_t size, const char **why)
{
	uint8_t *to = buf;

	while (size) {
		size_t want = !to && size > PIECE ? PIECE : size > 1 << 30 ? 1 << 30 :
									     (size_t)size;
		ssize_t n;
		int r = 0;

		/* the decoder may hold back what it has decompressed: ask it before reading more */
		n = s->used < s->have || s->pos ? step(s, to ? to : s->skip, want, why) : 0;
		if (n == 0)
			r = fill(s, why);
		if (n < 0 || r < 0)
			return n < 0 ? (int)n : r;
		s->pos += (uint64_t)n;
		size -= (uint64_t)n;
		if (to)
			to += n;
	}
	return 0;
}

/* --- in one piece ------------------------------------------------------------ */

static int load_pieces(const struct source *blob, const struct index_frame *f, void *buf,
		       const char **why)
{
	struct frame_stream *s;
	int r = frame_stream_open(blob, f, &s, why);

	if (r < 0)
		return r;
	r = frame_stream_next(s, buf, f->raw, why);
	frame_stream_close(s);
	return r;
}

static int inflate_all(const void *in, size_t stored, void *out, size_t raw, const char **why)
{
	z_stream z = {
		.next_in = in,
		.avail_in = (uInt)stored,
		.next_out = out,
		.avail_out = (uInt)raw,
	};
	int r;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return -ENOMEM;
	do {
		r = inflate(&z, Z_FINISH);
		if (r == Z_STREAM_END && z.avail_out && z.avail_in)
			r = inflateReset(&z) == Z_OK ? Z_OK : Z_DATA_ERROR;
	} while (r == Z_OK && z.avail_out && z.avail_in);
	(void)inflateEnd(&z);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	/* also where only the member's own checksum is wrong, after all of its bytes */
	if (r == Z_DATA_ERROR)
		return bad(why, "is damaged: it cannot be inflated");
	return z.avail_out ? bad(why, "is shorter than it claims to be") : 0;
}

int frame_load(const struct source *blob, const struct index_frame *f, void *buf,
	       const char **why)
{
	struct scratch *s;
	size_t n;
	int r = bounds(blob, f, why);

	if (r < 0)
		return r;
	if (!f->raw)
		return frame_check(blob, f, why);
	if (f->codec == INDEX_RAW) {
		if (f->raw != f->stored) {
			r = frame_check(blob, f, why);
			return r < 0 ? r : read_stored(blob, buf, f->raw, f->off, why);
		}
		r = read_stored(blob, buf, f->raw, f->off, why);
		if (!r && f->xxh3 && XXH3_64bits(buf, f->raw) != f->xxh3)
			r = bad(why, "does not match its checksum");
		return r;
	}
	/* more than an honest one takes: what is not needed is not read */
	if (f->stored > f->raw + f->raw / 4 + PIECE)
		return load_pieces(blob, f, buf, why);
	s = scratch_get(f->stored);
	if (!s)
		return -ENOMEM;
	r = read_stored(blob, s->buf, f->stored, f->off, why);
	if (!r && f->xxh3 && XXH3_64bits(s->buf, f->stored) != f->xxh3)
		r = bad(why, "does not match its checksum");
	if (!r && f->codec == INDEX_GZIP) {
		r = inflate_all(s->buf, f->stored, buf, f->raw, why);
	} else if (!r) {
		n = ZSTD_decompressDCtx(s->zstd, buf, f->raw, s->buf, f->stored);
		/* it holds more than is needed, or not all of it: the slow way tells */
		if (ZSTD_isError(n) || n != f->raw)
			r = load_pieces(blob, f, buf, why);
	}
	scratch_put(s);
	return r;
}
