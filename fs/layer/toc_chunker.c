/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting files where their content says so. */
#include "fs/layer/toc_chunker.h"

#include <string.h>

enum { OFFSET = 31,
       BITS = 16,
       RUN_MIN = 1024 };

static const uint8_t zeros[65536];

void toc_chunker_reset(struct toc_chunker *c)
{
	c->s1 = TOC_CHUNKER_WINDOW * OFFSET;
	c->s2 = TOC_CHUNKER_WINDOW * (TOC_CHUNKER_WINDOW - 1) * OFFSET;
	memset(c->window, 0, sizeof(c->window));
	c->at = 0;
	c->run = 0;
	c->len = 0;
}

/* True where a chunk ends behind this byte. */
static inline bool roll(struct toc_chunker *c, uint8_t in)
{
	const uint8_t out = c->window[c->at];

	c->s1 += (uint32_t)in - out;
	c->s2 += c->s1 - TOC_CHUNKER_WINDOW * ((uint32_t)out + OFFSET);
	c->window[c->at] = in;
	c->at = (c->at + 1) % TOC_CHUNKER_WINDOW;
	return (c->s2 & ((1U << BITS) - 1)) == (1U << BITS) - 1;
}

static int put(struct toc_chunker *c, const uint8_t *p, size_t len)
{
	c->len += len;
	return len > 0 ? c->put(c->arg, p, len) : 0;
}

static int end(struct toc_chunker *c, bool is_zeros)
{
	int r = c->len > 0 ? c->end(c->arg, is_zeros) : 0;

	c->len = 0;
	return r;
}

/* The run of zeros has ended, and is a chunk. */
static int end_long_run(struct toc_chunker *c)
{
	int r = end(c, false);

	/* More than the window make no difference but to the sums, which are linear in them. */
	for (uint64_t i = 0; i < c->run; i++)
		(void)roll(c, 0);
	while (r == 0 && c->run > 0) {
		size_t n = c->run < sizeof(zeros) ? (size_t)c->run : sizeof(zeros);

		r = put(c, zeros, n);
		c->run -= n;
	}
	return r < 0 ? r : end(c, true);
}

/* It has ended and is too short; its bytes are not in the caller's hands any more. */
static int end_short_run(struct toc_chunker *c)
{
	int r = 0;

	for (; c->run > 0 && r == 0; c->run--) {
		const bool cut = roll(c, 0);

		r = put(c, zeros, 1);
		if (r == 0 && cut)
			r = end(c, false);
	}
	return r;
}

int toc_chunker_add(struct toc_chunker *c, const uint8_t *p, size_t len)
{
	size_t from = 0; /* what was not put yet */
	size_t i = 0;
	int r = 0;

	while (i < len) {
		if (p[i] == 0) {
			size_t zero_end = i;

			while (zero_end < len && p[zero_end] == 0)
				zero_end++;
			if (zero_end == len || c->run > 0 || zero_end - i >= RUN_MIN) {
				/* It may go on, or has come from before, or is long. */
				r = put(c, p + from, i - from);
				c->run += zero_end - i;
				i = from = zero_end;
				if (r == 0 && zero_end < len)
					r = c->run >= RUN_MIN ? end_long_run(c) : end_short_run(c);
				if (r < 0)
					return r;
				continue;
			}
		} else if (c->run > 0) {
			r = c->run >= RUN_MIN ? end_long_run(c) : end_short_run(c);
			if (r < 0)
				return r;
		}
		/* A byte, or a short run all of which is here. */
		do {
			if (!roll(c, p[i++]))
				continue;
			r = put(c, p + from, i - from);
			if (r == 0)
				r = end(c, false);
			if (r < 0)
				return r;
			from = i;
		} while (i < len && p[i - 1] == 0 && p[i] == 0);
	}
	return put(c, p + from, len - from);
}

int toc_chunker_end(struct toc_chunker *c)
{
	int r = 0;

	if (c->run > 0)
		r = c->run >= RUN_MIN ? end_long_run(c) : end_short_run(c);
	return r < 0 ? r : end(c, false);
}
