/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large frames.
 *
 * Theory of operation. A decoder only goes forward. Whoever needs a slab takes the
 * decoder of that frame that is nearest before it, or begins anew, and puts it back
 * at the slab's end. One request at a time decompresses of one frame: requests of one
 * reader come out of order, and the later part would else be decompressed again from
 * the beginning for each. What lies between the decoder's place and the slab goes
 * into the cache on the way, if it is not far, since somebody is likely waiting for
 * it; he is told by blobcache_offered().
 */
#include "fs/layer/slabs.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

/* Decoders with their places that are kept, each with a window of up to 16 MiB. */
#define KEPT 2
/* Frames that are being decompressed at once. */
#define ACTIVE 2
/* Slabs before the one that is asked for that are kept as well. */
#define ON_THE_WAY 4

struct kept {
	uint64_t blob;
	uint32_t frame;
	struct frame_stream *s; /* owned; NULL: free */
	uint64_t used;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t released;
	struct kept kept[KEPT];
	struct {
		uint64_t blob; /* 0: free */
		uint32_t frame;
	} active[ACTIVE];
	uint64_t clock;
} slabs = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.released = PTHREAD_COND_INITIALIZER,
};

size_t slabs_size(const struct slabs_frame *f)
{
	uint64_t at = (uint64_t)f->key.slab * SLABS_SIZE, left = f->frame.raw - at;

	return left < SLABS_SIZE ? (size_t)left : SLABS_SIZE;
}

/* A place among the active, when nobody else has this frame. With the lock. */
static unsigned claim(const struct cache_key *k)
{
	for (;;) {
		unsigned i, mine = ACTIVE;

		for (i = 0; i < ACTIVE; i++) {
			if (slabs.active[i].blob == k->blob && slabs.active[i].frame == k->frame)
				break;
			if (!slabs.active[i].blob)
				mine = i;
		}
		if (i == ACTIVE && mine < ACTIVE) {
			slabs.active[mine].blob = k->blob;
			slabs.active[mine].frame = k->frame;
			return mine;
		}
		(void)pthread_cond_wait(&slabs.released, &slabs.lock);
	}
}

/* The decoder that has the least to go to @at, or NULL. With the lock. */
static struct frame_stream *take(const struct cache_key *k, uint64_t at)
{
	struct kept *best = NULL;
	struct frame_stream *s;
	unsigned i;

	for (i = 0; i < KEPT; i++) {
		struct kept *c = &slabs.kept[i];

		if (!c->s || c->blob != k->blob || c->frame != k->frame ||
		    frame_stream_pos(c->s) > at)
			continue;
		if (!best || frame_stream_pos(c->s) > frame_stream_pos(best->s))
			best = c;
	}
	if (!best)
		return NULL;
	s = best->s;
	best->s = NULL;
	return s;
}

/* Keeps @s; what has to go for it. With the lock. */
static struct frame_stream *keep(const struct cache_key *k, struct frame_stream *s)
{
	struct kept *c = &slabs.kept[0];
	struct frame_stream *old;
	unsigned i;

	for (i = 0; i < KEPT; i++)
		if (c->s && (!slabs.kept[i].s || slabs.kept[i].used < c->used))
			c = &slabs.kept[i];
	old = c->s;
	*c = (struct kept){ .blob = k->blob, .frame = k->frame, .s = s, .used = ++slabs.clock };
	return old;
}

/* Goes to the beginning of the slab, and hands in those just before it. */
static int go_to(struct frame_stream *s, const struct slabs_frame *f, const char **why)
{
	uint32_t slab = f->key.slab, from = slab > ON_THE_WAY ? slab - ON_THE_WAY : 0;
	uint64_t pos = frame_stream_pos(s);
	int r = 0;

	if (pos < (uint64_t)from * SLABS_SIZE)
		r = frame_stream_next(s, NULL, (uint64_t)from * SLABS_SIZE - pos, why);
	else
		from = (uint32_t)(pos / SLABS_SIZE);
	for (; !r && from < slab; from++) {
		struct cache_key k = f->key;
		void *buf = sys_malloc(SLABS_SIZE);

		r = buf ? frame_stream_next(s, buf, SLABS_SIZE, why) : -ENOMEM;
		k.slab = from;
		if (r < 0)
			free(buf);
		else
			blobcache_offer(&k, buf, SLABS_SIZE);
	}
	return r;
}

int slabs_load(void *arg, struct cache_entry *e, void *buf, size_t size, const char **why)
{
	const struct slabs_frame *f = arg;
	struct frame_stream *s, *old = NULL;
	unsigned mine;
	int r = 0;

	(void)pthread_mutex_lock(&slabs.lock);
	mine = claim(&f->key);
	s = blobcache_offered(e) ? NULL : take(&f->key, (uint64_t)f->key.slab * SLABS_SIZE);
	(void)pthread_mutex_unlock(&slabs.lock);
	if (!s && blobcache_offered(e)) {
		r = 1;
	} else {
		if (!s)
			r = frame_stream_open(f->blob, &f->frame, &s, why);
		if (!r)
			r = go_to(s, f, why);
		if (!r)
			r = frame_stream_next(s, buf, size, why);
		if (r < 0) {
			frame_stream_close(s);
			s = NULL;
		}
	}
	(void)pthread_mutex_lock(&slabs.lock);
	slabs.active[mine].blob = 0;
	if (s)
		old = keep(&f->key, s);
	(void)pthread_cond_broadcast(&slabs.released);
	(void)pthread_mutex_unlock(&slabs.lock);
	frame_stream_close(old);
	return r;
}

int slabs_sha256(const struct source *blob, const struct index_frame *f, uint64_t skip,
		 uint64_t len, uint8_t ret[32], const char **why)
{
	_cleanup_free_ void *buf = sys_malloc(SLABS_SIZE);
	struct frame_stream *s = NULL;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int r = -ENOMEM;

	if (buf && md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1)
		r = frame_stream_open(blob, f, &s, why);
	if (!r)
		r = frame_stream_next(s, NULL, skip, why);
	while (!r && len) {
		size_t n = len < SLABS_SIZE ? (size_t)len : SLABS_SIZE;

		r = frame_stream_next(s, buf, n, why);
		if (!r && EVP_DigestUpdate(md, buf, n) != 1)
			r = -ENOMEM;
		len -= n;
	}
	if (!r && EVP_DigestFinal_ex(md, ret, NULL) != 1)
		r = -ENOMEM;
	EVP_MD_CTX_free(md);
	frame_stream_close(s);
	return r;
}

void slabs_drop(uint64_t blob)
{
	unsigned i;

	(void)pthread_mutex_lock(&slabs.lock);
	for (i = 0; i < KEPT; i++) {
		if (slabs.kept[i].s && slabs.kept[i].blob == blob) {
			frame_stream_close(slabs.kept[i].s);
			slabs.kept[i].s = NULL;
		}
	}
	(void)pthread_mutex_unlock(&slabs.lock);
}
