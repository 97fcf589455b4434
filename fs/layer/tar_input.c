/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and decompressing ahead: a ring of blocks between one thread that fills them
 * and one that uses them. Only the counters and the end are shared, under one lock that is
 * taken once per block.
 */
#include "fs/layer/tar_input.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer/decode.h"
#include "lib/sha256.h"
#include "lib/sys.h"

enum { BLOCK = 256 << 10,
       BLOCKS = 8 };

struct tar_input {
	const struct source *s; /* borrowed */
	enum source_format format;
	struct decoder *d; /* owned; NULL for a plain tar */
	uint8_t *buf; /* stored bytes, BLOCK of them; owned */
	uint8_t *block[BLOCKS]; /* owned */
	size_t len[BLOCKS];
	uint64_t pos; /* of the thread, in @s */
	struct sha256 *sha_stored, *sha_raw; /* the thread's; owned */
	uint8_t stored[32], raw[32];
	uint64_t handed; /* the consumer's: bytes of tar */
	bool lent; /* the consumer's: it has block[used] */
	_Atomic uint64_t read;
	pthread_t thread;
	bool running;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* protected by lock: */
	unsigned filled, used; /* blocks, counted up */
	bool end, stop;
	int err;
	const char *why;
};

enum source_format tar_input_format(const struct tar_input *in)
{
	return in->format;
}

/* Waits for a free block: its buffer, or NULL where nobody wants more. */
static uint8_t *free_block(struct tar_input *in)
{
	uint8_t *p = NULL;

	(void)pthread_mutex_lock(&in->lock);
	while (!in->stop && in->filled - in->used == BLOCKS)
		(void)pthread_cond_wait(&in->cond, &in->lock);
	if (!in->stop)
		p = in->block[in->filled % BLOCKS];
	(void)pthread_mutex_unlock(&in->lock);
	return p;
}

static void publish(struct tar_input *in, size_t len)
{
	(void)pthread_mutex_lock(&in->lock);
	if (len)
		in->len[in->filled++ % BLOCKS] = len;
	(void)pthread_cond_broadcast(&in->cond);
	(void)pthread_mutex_unlock(&in->lock);
}

static ssize_t read_stored(struct tar_input *in, uint8_t *buf)
{
	ssize_t n = source_pread(in->s, buf, BLOCK, in->pos);
	int r;

	if (n <= 0)
		return n;
	r = sha256_update(in->sha_stored, buf, (size_t)n);
	in->pos += (uint64_t)n;
	atomic_store_explicit(&in->read, in->pos, memory_order_relaxed);
	return r < 0 ? r : n;
}

static int run_plain(struct tar_input *in)
{
	for (;;) {
		uint8_t *p = free_block(in);
		ssize_t n = p ? read_stored(in, p) : 0;

		if (n <= 0)
			return (int)n;
		publish(in, (size_t)n);
	}
}

static int run_decoder(struct tar_input *in)
{
	struct decode_buf b = { 0 };
	uint8_t *block = NULL;
	int r = 0;

	while (r == 0) {
		if (!b.out_len) {
			block = free_block(in);
			if (!block)
				return 0;
			b.out = block;
			b.out_len = BLOCK;
		}
		if (!b.in_len && !b.last) {
			ssize_t n = read_stored(in, in->buf);

			if (n < 0)
				return (int)n;
			b.in = in->buf;
			b.in_len = (size_t)n;
			b.last = in->pos == in->s->size;
		}
		r = decoder_run(in->d, &b, &in->why);
		if (r >= 0 && (r == 1 || !b.out_len)) {
			size_t len = BLOCK - b.out_len;
			int e = sha256_update(in->sha_raw, block, len);

			if (e < 0)
				return e;
			publish(in, len);
		}
	}
	return r < 0 ? r : 0;
}

static void *run(void *arg)
{
	struct tar_input *in = arg;
	int r = in->d ? run_decoder(in) : run_plain(in);

	if (r == 0)
		r = sha256_final(in->sha_stored, in->stored);
	if (r == 0 && in->d)
		r = sha256_final(in->sha_raw, in->raw);
	else if (r == 0)
		memcpy(in->raw, in->stored, sizeof(in->raw));
	(void)pthread_mutex_lock(&in->lock);
	in->end = true;
	in->err = r;
	(void)pthread_cond_broadcast(&in->cond);
	(void)pthread_mutex_unlock(&in->lock);
	return NULL;
}

static int set_up(struct tar_input *in)
{
	int r;

	for (int i = 0; i < BLOCKS; i++) {
		in->block[i] = sys_malloc(BLOCK);
		if (!in->block[i])
			return -ENOMEM;
	}
	if (in->format != SOURCE_TAR) {
		in->buf = sys_malloc(BLOCK);
		r = in->buf ? decoder_new(in->format, &in->d) : -ENOMEM;
		if (r < 0)
			return r;
	}
	r = sha256_new(&in->sha_stored);
	if (r == 0)
		r = sha256_new(&in->sha_raw);
	if (r < 0)
		return r;
	r = -pthread_create(&in->thread, NULL, run, in);
	in->running = r == 0;
	return r;
}

int tar_input_new(const struct source *s, struct tar_input **ret, char **ret_err)
{
	int format = source_format(s);
	struct tar_input *in;
	int r;

	if (format < 0)
		return format;
	if (format == SOURCE_UNKNOWN || format == SOURCE_INDEX) {
		*ret_err = sys_strdup("this is no tar, nor one in gzip, zstd, xz or bzip2");
		return -EINVAL;
	}
	in = sys_calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->s = s;
	in->format = (enum source_format)format;
	(void)pthread_mutex_init(&in->lock, NULL);
	(void)pthread_cond_init(&in->cond, NULL);
	r = set_up(in);
	if (r < 0) {
		tar_input_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

void tar_input_free(struct tar_input *in)
{
	if (!in)
		return;
	(void)pthread_mutex_lock(&in->lock);
	in->stop = true;
	(void)pthread_cond_broadcast(&in->cond);
	(void)pthread_mutex_unlock(&in->lock);
	if (in->running)
		(void)pthread_join(in->thread, NULL);
	(void)pthread_cond_destroy(&in->cond);
	(void)pthread_mutex_destroy(&in->lock);
	for (int i = 0; i < BLOCKS; i++)
		free(in->block[i]);
	free(in->buf);
	decoder_free(in->d);
	sha256_free(in->sha_stored);
	sha256_free(in->sha_raw);
	free(in);
}

int tar_input_next(struct tar_input *in, const uint8_t **ret, size_t *ret_len, char **ret_err)
{
	int r;

	(void)pthread_mutex_lock(&in->lock);
	/* the block handed out before is free now */
	if (in->lent) {
		in->used++;
		in->lent = false;
		(void)pthread_cond_broadcast(&in->cond);
	}
	while (!in->end && in->used == in->filled)
		(void)pthread_cond_wait(&in->cond, &in->lock);
	r = in->used < in->filled ? 1 : in->err;
	if (r == 1) {
		*ret = in->block[in->used % BLOCKS];
		*ret_len = in->len[in->used % BLOCKS];
		in->handed += *ret_len;
		in->lent = true;
	}
	(void)pthread_mutex_unlock(&in->lock);
	if (r < 0 && ret_err && !*ret_err)
		*ret_err = sys_strdup(r == -EINVAL || r == -EFBIG ? in->why : strerror(-r));
	return r;
}

void tar_input_progress(struct tar_input *in, uint64_t *ret_stored, uint64_t *ret_raw)
{
	*ret_stored = atomic_load_explicit(&in->read, memory_order_relaxed);
	*ret_raw = in->handed;
}

void tar_input_digests(struct tar_input *in, uint8_t ret_stored[32], uint8_t ret_raw[32])
{
	memcpy(ret_stored, in->stored, 32);
	memcpy(ret_raw, in->raw, 32);
}
