/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a packed blob.
 *
 * A frame is in a job from its first piece until the filling thread reaps the job: the job is
 * open, then queued, then compressed (by any worker), then written (by the worker that
 * finds it to be next; one writes at a time, the others go on). Until it is reaped its pieces
 * lie in job->raw and nobody changes them. So whether a piece equals an earlier one
 * is answered from memory as long as that is in a job, and by SHA-256 once it was reaped: that
 * of the earlier piece was computed by a worker, that of the new one is needed only where XXH3
 * of 128 bits says that they are equal.
 */
#include "fs/layer/pack_frames.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "fs/layer/pack_known.h"
#include "lib/sha256.h"
#include "lib/sys.h"

struct piece {
	uint32_t chunk, skip, len;
	uint8_t sha256[32];
};

struct job {
	enum { FREE,
	       OPEN,
	       QUEUED,
	       BUSY,
	       PRESSED,
	       WRITTEN } state; /* protected by frames.lock */
	struct job *next; /* in the queue; protected by frames.lock */
	uint8_t *raw, *out; /* owned */
	uint32_t used;
	struct piece *pieces; /* owned */
	uint32_t n, cap;
	uint32_t frame;
	const uint8_t *stored; /* raw or out */
	struct index_frame f;
};

struct worker {
	struct frames *f;
	ZSTD_CCtx *zstd; /* owned */
	struct sha256 *sha; /* owned */
	pthread_t thread;
	bool running;
};

struct frames {
	struct frames_options o;
	struct job *jobs; /* owned */
	unsigned n_jobs;
	struct job *open; /* being filled, or NULL */
	struct known *known; /* owned */
	struct sha256 *sha; /* the filling thread's; owned */
	struct sha256 *sha_blob; /* of whoever writes; owned */
	struct worker *workers; /* owned */
	uint32_t n_frames;
	size_t out_size;

	pthread_mutex_t lock;
	pthread_cond_t work, done;
	/* protected by lock: */
	struct job *head, *tail; /* the queue, in order of frames */
	uint32_t next; /* the frame to be written next */
	bool writing, stop;
	int err;
	uint64_t off; /* where the next frame goes; whoever writes changes it */
	_Atomic uint64_t written;
};

/* --- workers ---------------------------------------------------------------- */

static int press(struct worker *w, struct job *j)
{
	size_t n = ZSTD_compress2(w->zstd, j->out, w->f->out_size, j->raw, j->used);
	int r = 0;

	if (ZSTD_isError(n))
		return -ENOMEM;
	j->f = (struct index_frame){ .stored = n, .raw = j->used, .codec = INDEX_ZSTD };
	j->stored = j->out;
	if (n >= j->used) {
		j->f.stored = j->used;
		j->f.codec = INDEX_RAW;
		j->stored = j->raw;
	}
	j->f.xxh3 = XXH3_64bits(j->stored, j->f.stored);
	for (uint32_t i = 0; i < j->n && r == 0; i++)
		r = sha256_of(w->sha, j->raw + j->pieces[i].skip, j->pieces[i].len,
			      j->pieces[i].sha256);
	return r;
}

static int write_frame(struct frames *f, struct job *j)
{
	uint64_t done = 0;

	j->f.off = f->off;
	while (done < j->f.stored) {
		ssize_t n = sys_pwrite(f->o.fd, j->stored + done, j->f.stored - done,
				       (off_t)(f->off + done));

		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO;
		done += (uint64_t)n;
	}
	f->off += done;
	atomic_store_explicit(&f->written, f->off, memory_order_relaxed);
	return sha256_update(f->sha_blob, j->stored, j->f.stored);
}

static struct job *find_job(struct frames *f, uint32_t frame)
{
	for (unsigned i = 0; i < f->n_jobs; i++)
		if (f->jobs[i].state != FREE && f->jobs[i].frame == frame)
			return &f->jobs[i];
	return NULL;
}

/* Writes what is next for as long as that is compressed. Under the lock, which it lets go. */
static void write_ready(struct frames *f)
{
	struct job *j;
	int r;

	if (f->writing)
		return;
	f->writing = true;
	while (!f->err && (j = find_job(f, f->next)) && j->state == PRESSED) {
		(void)pthread_mutex_unlock(&f->lock);
		r = write_frame(f, j);
		(void)pthread_mutex_lock(&f->lock);
		if (r < 0 && !f->err)
			f->err = r;
		j->state = WRITTEN;
		f->next++;
		(void)pthread_cond_broadcast(&f->done);
	}
	f->writing = false;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct frames *f = w->f;
	struct job *j;
	int r;

	(void)pthread_mutex_lock(&f->lock);
	for (;;) {
		while (!f->stop && !f->head)
			(void)pthread_cond_wait(&f->work, &f->lock);
		if (f->stop)
			break;
		j = f->head;
		f->head = j->next;
		j->state = BUSY;
		(void)pthread_mutex_unlock(&f->lock);
		r = press(w, j);
		(void)pthread_mutex_lock(&f->lock);
		j->state = PRESSED;
		if (r < 0 && !f->err)
			f->err = r;
		write_ready(f);
		if (f->err)
			(void)pthread_cond_broadcast(&f->done);
	}
	(void)pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* --- the filling thread ------------------------------------------------------ */

/* What is known of a written frame goes to the index, and its job is free. */
static int reap(struct frames *f, struct job *j)
{
	int r = index_build_set_frame(f->o.b, j->frame, &j->f);

	for (uint32_t i = 0; i < j->n && r == 0; i++) {
		const struct piece *p = &j->pieces[i];
		struct index_chunk c = {
			.frame = j->frame,
			.skip = p->skip,
			.len = p->len,
			.has_sha256 = true,
		};

		memcpy(c.sha256, p->sha256, 32);
		r = index_build_set_chunk(f->o.b, p->chunk, &c);
		known_digest(f->known, p->chunk, p->sha256);
	}
	/* from here on those who write do not look at its frame any more */
	(void)pthread_mutex_lock(&f->lock);
	j->state = FREE;
	(void)pthread_mutex_unlock(&f->lock);
	return r;
}

static void submit(struct frames *f)
{
	struct job *j = f->open;

	f->open = NULL;
	(void)pthread_mutex_lock(&f->lock);
	j->state = QUEUED;
	j->next = NULL;
	if (f->head)
		f->tail->next = j;
	else
		f->head = j;
	f->tail = j;
	(void)pthread_cond_signal(&f->work);
	(void)pthread_mutex_unlock(&f->lock);
}

/* A free job, reaped where needed; waits for one. */
static int get_job(struct frames *f, struct job **ret)
{
	struct job *j = NULL;
	int r;

	(void)pthread_mutex_lock(&f->lock);
	for (;;) {
		for (unsigned i = 0; i < f->n_jobs; i++)
			if (f->jobs[i].state == FREE || f->jobs[i].state == WRITTEN)
				j = &f->jobs[i];
		if (j || f->err)
			break;
		(void)pthread_cond_wait(&f->done, &f->lock);
	}
	r = f->err;
	(void)pthread_mutex_unlock(&f->lock);
	if (r == 0 && j->state == WRITTEN)
		r = reap(f, j);
	*ret = j;
	return r;
}

static int open_job(struct frames *f)
{
	struct job *j;
	int r = get_job(f, &j);

	if (r < 0)
		return r;
	r = index_build_frame(f->o.b, &(struct index_frame){ 0 }, &j->frame);
	if (r < 0)
		return r;
	j->used = j->n = 0;
	(void)pthread_mutex_lock(&f->lock);
	j->state = OPEN;
	(void)pthread_mutex_unlock(&f->lock);
	f->open = j;
	f->n_frames++;
	return 0;
}

int frames_room(struct frames *f, uint32_t size, uint8_t **ret)
{
	int r = 0;

	if (size > f->o.size)
		return -EINVAL;
	if (f->open && f->open->used + size > f->o.size)
		submit(f);
	if (!f->open)
		r = open_job(f);
	if (r == 0)
		*ret = f->open->raw + f->open->used;
	return r;
}

/* Whether the piece at @p is the chunk @c: 1, 0 or -errno. */
static int same(struct frames *f, uint32_t c, const uint8_t *p, uint32_t len)
{
	const struct known_chunk *k = known_get(f->known, c);
	uint8_t sha[32];
	int r;

	if (k->len != len)
		return 0;
	for (unsigned i = 0; i < f->n_jobs; i++) {
		const struct job *j = &f->jobs[i];

		/* only this thread makes a job free, or of another frame */
		if (j->raw && j->frame == k->frame && j->n && k->pending)
			return !memcmp(j->raw + k->skip, p, len);
	}
	r = sha256_of(f->sha, p, len, sha);
	return r < 0 ? r : !memcmp(sha, k->sha256, 32);
}

static int new_chunk(struct frames *f, uint32_t len, const XXH128_hash_t *h, uint32_t *ret)
{
	struct job *j = f->open;
	struct index_chunk c = { .frame = j->frame, .skip = j->used, .len = len };
	int r;

	if (j->n == j->cap) {
		uint32_t cap = j->cap ? 2 * j->cap : 64;
		struct piece *p = sys_realloc(j->pieces, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		j->pieces = p;
		j->cap = cap;
	}
	r = index_build_chunk(f->o.b, &c, ret);
	if (r == 0)
		r = known_add(f->known, *ret, &(struct known_chunk){
						      .hash = *h,
						      .frame = c.frame,
						      .skip = (uint32_t)c.skip,
						      .len = len,
						      .pending = true,
					      });
	if (r < 0)
		return r;
	j->pieces[j->n++] = (struct piece){ .chunk = *ret, .skip = j->used, .len = len };
	j->used += len;
	return 0;
}

int frames_add(struct frames *f, uint32_t len, uint32_t *ret)
{
	const uint8_t *p = f->open->raw + f->open->used;
	XXH128_hash_t h = XXH3_128bits(p, len);
	int r = known_find(f->known, &h, ret);

	if (r > 0)
		r = same(f, *ret, p, len);
	return r ? (r < 0 ? r : 0) : new_chunk(f, len, &h, ret);
}

int frames_finish(struct frames *f, uint64_t *ret_size, uint8_t ret_sha256[32])
{
	int r = 0;

	if (f->open)
		submit(f);
	(void)pthread_mutex_lock(&f->lock);
	while (!f->err && f->next != f->n_frames)
		(void)pthread_cond_wait(&f->done, &f->lock);
	r = f->err;
	(void)pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; i < f->n_jobs && r == 0; i++)
		if (f->jobs[i].state == WRITTEN)
			r = reap(f, &f->jobs[i]);
	*ret_size = f->off;
	return r < 0 ? r : sha256_final(f->sha_blob, ret_sha256);
}

uint64_t frames_written(struct frames *f)
{
	return atomic_load_explicit(&f->written, memory_order_relaxed);
}

/* --- beginning and end ------------------------------------------------------- */

static int new_worker(struct frames *f, struct worker *w)
{
	int r = sha256_new(&w->sha);

	w->f = f;
	w->zstd = ZSTD_createCCtx();
	if (r < 0 || !w->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, f->o.level)))
		return -ENOMEM;
	r = -pthread_create(&w->thread, NULL, work, w);
	w->running = r == 0;
	return r;
}

static int set_up(struct frames *f)
{
	int r = 0;

	f->n_jobs = 2 * f->o.threads + 2;
	f->out_size = ZSTD_compressBound(f->o.size);
	f->jobs = sys_calloc(f->n_jobs, sizeof(*f->jobs));
	f->workers = sys_calloc(f->o.threads, sizeof(*f->workers));
	if (!f->jobs || !f->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < f->n_jobs; i++) {
		f->jobs[i].raw = sys_malloc(f->o.size);
		f->jobs[i].out = sys_malloc(f->out_size);
		if (!f->jobs[i].raw || !f->jobs[i].out)
			return -ENOMEM;
	}
	r = known_new(&f->known);
	if (r == 0)
		r = sha256_new(&f->sha);
	if (r == 0)
		r = sha256_new(&f->sha_blob);
	for (unsigned i = 0; i < f->o.threads && r == 0; i++)
		r = new_worker(f, &f->workers[i]);
	return r;
}

int frames_new(const struct frames_options *o, struct frames **ret)
{
	struct frames *f;
	int r;

	if (o->size < FRAME_MIN || o->size > FRAME_MAX || !o->threads)
		return -EINVAL;
	f = sys_calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->o = *o;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->work, NULL);
	(void)pthread_cond_init(&f->done, NULL);
	r = set_up(f);
	if (r < 0) {
		frames_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void frames_free(struct frames *f)
{
	if (!f)
		return;
	(void)pthread_mutex_lock(&f->lock);
	f->stop = true;
	(void)pthread_cond_broadcast(&f->work);
	(void)pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; f->workers && i < f->o.threads; i++) {
		if (f->workers[i].running)
			(void)pthread_join(f->workers[i].thread, NULL);
		ZSTD_freeCCtx(f->workers[i].zstd);
		sha256_free(f->workers[i].sha);
	}
	for (unsigned i = 0; f->jobs && i < f->n_jobs; i++) {
		free(f->jobs[i].raw);
		free(f->jobs[i].out);
		free(f->jobs[i].pieces);
	}
	(void)pthread_cond_destroy(&f->done);
	(void)pthread_cond_destroy(&f->work);
	(void)pthread_mutex_destroy(&f->lock);
	free(f->jobs);
	free(f->workers);
	known_free(f->known);
	sha256_free(f->sha);
	sha256_free(f->sha_blob);
	free(f);
}
