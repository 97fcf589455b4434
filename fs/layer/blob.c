/* SPDX-License-Identifier: Apache-2.0 */
/* From a file of an index to bytes of its blob. */
#include "fs/layer/blob.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/layer/blobcache.h"
#include "fs/layer/readahead.h"
#include "fs/layer/slabs.h"
#include "lib/sys.h"

/* What large frames and chunks are known to be right: a table of marks. A power of two. */
#define CHECKED 1024

struct blob {
	const struct index *ix;
	struct source src; /* with a descriptor of ours */
	uint64_t id; /* in the cache */
	struct readahead ahead;
	_Atomic uint64_t checked[CHECKED]; /* what CHECKED_* made, or 0 */
};

#define CHECKED_FRAME(f) ((uint64_t)(f) << 2 | 1)
#define CHECKED_CHUNK(c) ((uint64_t)(c) << 2 | 3)

static __thread char last_why[192];

const char *blob_why(void)
{
	return last_why;
}

static int bad_index(const char *what)
{
	(void)snprintf(last_why, sizeof(last_why), "its index %s", what);
	return -EIO;
}

/* Where the frame is, too, for who looks at the blob. */
static int bad_frame(const struct index_frame *f, uint32_t frame, int r, const char *why)
{
	if (r == -ENOMEM || r == -EAGAIN)
		return r;
	if (why == NULL || !*why)
		why = strerror(-r);
	(void)snprintf(last_why, sizeof(last_why),
		       "frame %u of its blob (%llu bytes at %llu) %s", frame,
		       (unsigned long long)f->stored, (unsigned long long)f->off,
		       why);
	return r;
}

int blob_open(const struct index *ix, const struct source *src, struct blob **ret)
{
	struct blob *b = sys_calloc(1, sizeof(*b));

	if (!b) {
		sys_close(src->fd);
		return -ENOMEM;
	}
	b->ix = ix;
	b->src = *src;
	b->id = blobcache_new_id();
	*ret = b;
	return 0;
}

void blob_close(struct blob *b)
{
	if (!b)
		return;
	readahead_cancel(b);
	blobcache_drop(b->id);
	slabs_drop(b->id);
	sys_close(b->src.fd);
	free(b);
}

static _Atomic uint64_t *mark_at(struct blob *b, uint64_t mark)
{
	return &b->checked[mark * 0x9e3779b97f4a7c15ULL >> 54];
}

_Static_assert(CHECKED == 1 << 10, "mark_at() yields ten bits");

static bool is_checked(struct blob *b, uint64_t mark)
{
	return atomic_load_explicit(mark_at(b, mark), memory_order_relaxed) == mark;
}

static void set_checked(struct blob *b, uint64_t mark)
{
	atomic_store_explicit(mark_at(b, mark), mark, memory_order_relaxed);
}

/* --- frames -------------------------------------------------------------------- */

/* Where a read is. */
struct piece {
	struct blob *b;
	struct index_chunk chunk;
	uint32_t nchunk;
	struct index_frame frame;
	uint64_t at; /* in the decompressed frame */
	bool nowait;
};

static int load_frame(void *arg, struct cache_entry *e, void *buf, size_t size, const char **why)
{
	const struct piece *p = arg;

	(void)e;
	(void)size;
	return frame_load(&p->b->src, &p->frame, buf, why);
}

static bool is_large(const struct index_frame *f)
{
	return f->raw > BLOB_FRAME_MAX;
}

/* How much a frame takes when it is read ahead; 0: not at all. */
static uint64_t ahead_size(void *arg, uint32_t frame)
{
	struct blob *b = arg;
	struct index_frame f;

	if (index_frame(b->ix, frame, &f) < 0 || is_large(&f) || f.codec == INDEX_RAW)
		return 0;
	return f.raw;
}

static int read_ahead(void *arg, uint32_t frame)
{
	struct piece p = { .b = arg };
	struct cache_key k = { .blob = p.b->id, .frame = frame };
	struct cache_entry *e;
	const char *why;
	int r;

	if (index_frame(p.b->ix, frame, &p.frame) < 0)
		return 1;
	r = blobcache_get(&k, p.frame.raw, CACHE_AHEAD, load_frame, &p, &e, &why);
	if (!r)
		blobcache_put(e);
	return r == -ENOMEM;
}

/* Whether [skip, skip + len) of a decompressed frame is what the index says. */
static int check_sha256(const struct index_chunk *c, const uint8_t *frame)
{
	uint8_t sha[32];

	if (EVP_Digest(frame + c->skip, c->len, sha, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	return memcmp(sha, c->sha256, 32) ? -EIO : 0;
}

static const char chunk_differs[] = "holds a chunk that does not match its digest";

/* A frame that is held whole. */
static int read_frame(struct piece *p, uint8_t *buf, size_t size)
{
	struct cache_key k = { .blob = p->b->id, .frame = p->chunk.frame };
	bool check = !p->frame.xxh3 && p->chunk.has_sha256;
	struct cache_entry *e;
	const char *why;
	int r;

	r = blobcache_get(&k, p->frame.raw, p->nowait ? CACHE_NOWAIT : 0, load_frame, p, &e, &why);
	if (r < 0)
		return bad_frame(&p->frame, p->chunk.frame, r, why);
	if (check && !blobcache_verified(e, p->nchunk)) {
		r = p->nowait ? -EAGAIN : check_sha256(&p->chunk, blobcache_data(e));
		if (!r)
			blobcache_set_verified(e, p->nchunk);
	}
	if (!r)
		memcpy(buf, blobcache_data(e) + p->at, size);
	blobcache_put(e);
	return r < 0 ? bad_frame(&p->frame, p->chunk.frame, r, chunk_differs) : 0;
}

/*
 * A large frame whose chunk has a digest and which has none itself: all of the chunk
 * is read once before any of it is handed out.
 */
static int check_large(struct piece *p)
{
	uint64_t mark = p->frame.xxh3 ? CHECKED_FRAME(p->chunk.frame) : CHECKED_CHUNK(p->nchunk);
	const char *why = "";
	uint8_t sha[32];
	int r;

	if (p->frame.xxh3 ? p->frame.codec != INDEX_RAW : !p->chunk.has_sha256)
		return 0; /* a decoder checks it when it is opened; or nothing is known */
	if (is_checked(p->b, mark))
		return 0;
	if (p->nowait)
		return -EAGAIN;
	if (p->frame.xxh3) {
		r = frame_check(&p->b->src, &p->frame, &why);
	} else {
		r = slabs_sha256(&p->b->src, &p->frame, p->chunk.skip, p->chunk.len, sha, &why);
		if (!r && memcmp(sha, p->chunk.sha256, 32)) {
			why = chunk_differs;
			r = -EIO;
		}
	}
	if (!r)
		set_checked(p->b, mark);
	return r < 0 ? bad_frame(&p->frame, p->chunk.frame, r, why) : 0;
}

static int read_slabs(struct piece *p, uint8_t *buf, size_t size)
{
	struct slabs_frame f = { .blob = &p->b->src, .frame = p->frame };

	f.key = (struct cache_key){ .blob = p->b->id, .frame = p->chunk.frame };
	while (size) {
		uint64_t off = p->at % SLABS_SIZE;
		struct cache_entry *e;
		const char *why;
		size_t n;
		int r;

		if (p->at / SLABS_SIZE > UINT32_MAX)
			return bad_index("has a frame larger than anything");
		f.key.slab = (uint32_t)(p->at / SLABS_SIZE);
		n = slabs_size(&f) - off < size ? (size_t)(slabs_size(&f) - off) : size;
		r = blobcache_get(&f.key, slabs_size(&f), p->nowait ? CACHE_NOWAIT : 0, slabs_load,
				  &f, &e, &why);
		if (r < 0)
			return bad_frame(&p->frame, p->chunk.frame, r, why);
		memcpy(buf, blobcache_data(e) + off, n);
		blobcache_put(e);
		p->at += n;
		buf += n;
		size -= n;
	}
	return 0;
}

/* What is stored as it is, is read from where it is. */
static int read_raw(struct piece *p, uint8_t *buf, size_t size)
{
	const struct source *s = &p->b->src;
	uint64_t at;
	ssize_t n;

	if (p->frame.off > s->size || p->frame.stored > s->size - p->frame.off ||
	    p->frame.raw > p->frame.stored)
		return bad_frame(&p->frame, p->chunk.frame, -EIO, "lies outside of the blob");
	at = p->frame.off + p->at;
	n = p->nowait ? sys_pread_nowait(s->fd, buf, size, (off_t)(s->off + at)) : -EOPNOTSUPP;
	if (n == -EAGAIN || (n >= 0 && (size_t)n < size && p->nowait))
		return -EAGAIN;
	if (n < 0)
		n = source_pread(s, buf, size, at);
	if (n == (ssize_t)size)
		return 0;
	return bad_frame(&p->frame, p->chunk.frame, n < 0 ? (int)n : -EIO,
			 n < 0 ? "cannot be read" : "is cut short");
}

static int read_piece(struct blob *b, const struct index_extent *x, uint64_t skip, uint8_t *buf,
		      size_t size, bool nowait)
{
	struct piece p = { .b = b, .nchunk = x->chunk, .nowait = nowait };
	bool checked;
	int r;

	r = index_chunk(b->ix, x->chunk, &p.chunk);
	if (!r)
		r = index_frame(b->ix, p.chunk.frame, &p.frame);
	if (r < 0)
		return r == -ENOMEM ? r : bad_index("is damaged");
	if (p.chunk.skip > p.frame.raw || p.chunk.len > p.frame.raw - p.chunk.skip ||
	    x->chunk_off > p.chunk.len || skip > p.chunk.len - x->chunk_off ||
	    size > p.chunk.len - x->chunk_off - skip)
		return bad_index("says that a file goes on past the end of its data");
	p.at = p.chunk.skip + x->chunk_off + skip;
	checked = !p.frame.xxh3 && !p.chunk.has_sha256;
	if (p.frame.codec == INDEX_RAW && (checked || is_large(&p.frame))) {
		r = checked ? 0 : check_large(&p);
		return r < 0 ? r : read_raw(&p, buf, size);
	}
	if (is_large(&p.frame)) {
		r = check_large(&p);
		return r < 0 ? r : read_slabs(&p, buf, size);
	}
	if (p.frame.codec != INDEX_RAW)
		readahead_touch(&b->ahead, p.chunk.frame, ahead_size, read_ahead, b);
	return read_frame(&p, buf, size);
}

/* --- files --------------------------------------------------------------------- */

static int extent_at(struct blob *b, const struct index_inode *file, uint64_t off,
		     struct index_extent *ret)
{
	int r = index_extent(b->ix, file, off, ret);

	if (r < 0)
		return r == -ENOMEM ? r : bad_index("is damaged");
	if (off < ret->off || ret->len <= off - ret->off)
		return bad_index("contradicts itself");
	return 0;
}

ssize_t blob_read(struct blob *b, const struct index_inode *file, void *buf, size_t size,
		  uint64_t off, bool nowait)
{
	struct index_extent x;
	uint8_t *to = buf;
	size_t done = 0;
	int r = 0;

	if (off >= file->size)
		return 0;
	if (size > file->size - off)
		size = (size_t)(file->size - off);
	while (done < size) {
		uint64_t skip;
		size_t n;

		r = extent_at(b, file, off + done, &x);
		if (r < 0)
			return r;
		skip = off + done - x.off;
		n = x.len - skip < size - done ? (size_t)(x.len - skip) : size - done;
		if (x.hole)
			memset(to + done, 0, n);
		else
			r = read_piece(b, &x, skip, to + done, n, nowait);
		if (r < 0)
			return r;
		done += n;
	}
	return (ssize_t)done;
}

off_t blob_seek(struct blob *b, const struct index_inode *file, uint64_t off, int whence)
{
	struct index_extent x;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off >= file->size)
		return -ENXIO;
	while (off < file->size) {
		int r = extent_at(b, file, off, &x);

		if (r < 0)
			return r;
		if (x.hole == (whence == SEEK_HOLE))
			return (off_t)off;
		off = x.off + x.len;
		if (off < x.off)
			return bad_index("contradicts itself");
	}
	return whence == SEEK_HOLE ? (off_t)file->size : -ENXIO;
}
