/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are TOC and tar about the same files? A blob of containers/storage keeps the headers of its tar
 * apart from the content (tar-split), so that can be known without reading all of it. Who
 * pulls the blob by its TOC and who unpacks the tar must not see different files.
 *
 * Both sides are boiled down to a keyed hash for each entry, and compared as sets: nothing
 * says that a TOC has the order of the tar. Attributes without a value are left out, since writers
 * of TOCs do not agree about them.
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <yajl/yajl_parse.h>

#include "fs/layer/tar_head.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define SPLIT_MAX (16 * (uint64_t)TOC_MAX) /* it has all headers in base64 */
#define PIECE 65536

/* What both sides know, made equal. */
struct common {
	uint32_t type, mode, uid, gid, dev_major, dev_minor, nsec, reserved;
	uint64_t size;
	int64_t mtime;
	struct toc_sum xattrs;
};

static void add_xattr(struct common *c, uint64_t seed, const char *name, const void *value,
		      size_t len)
{
	XXH128_hash_t n = XXH3_128bits_withSeed(name, strlen(name), seed);
	XXH128_hash_t v = XXH3_128bits_withSeed(value, len, n.low64);

	if (len == 0)
		return;
	c->xattrs.low += v.low64 ^ n.high64;
	c->xattrs.high += v.high64;
}

static struct toc_sum sum_of(const struct common *c, uint64_t seed, const char *name,
			     const char *link)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(c, sizeof(*c), seed);

	h = XXH3_128bits_withSeed(name, strlen(name), h.low64 ^ h.high64);
	h = XXH3_128bits_withSeed(link, strlen(link), h.low64 ^ h.high64);
	return (struct toc_sum){ h.low64, h.high64 };
}

static int add_sum(struct toc_sums *s, struct toc_sum sum)
{
	if (s->n == s->max) {
		size_t max = s->max ? 2 * s->max : 1024;
		struct toc_sum *p = sys_realloc(s->p, max * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		s->p = p;
		s->max = max;
	}
	s->p[s->n++] = sum;
	return 0;
}

int toc_split_add(struct toc_sums *s, const struct toc_entry *e)
{
	struct common c = {
		.type = e->type,
		.mode = e->mode,
		.uid = e->uid,
		.gid = e->gid,
		.dev_major = e->dev_major,
		.dev_minor = e->dev_minor,
		.nsec = e->mtime_nsec,
		.size = e->type == TOC_REG ? e->size : 0,
		.mtime = e->mtime,
	};

	for (size_t i = 0; i < e->n_xattrs; i++)
		add_xattr(&c, s->seed, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
	return add_sum(s, sum_of(&c, s->seed, e->name, e->link ? e->link : ""));
}

static struct toc_sum sum_of_head(const struct tar_head *h, uint64_t seed)
{
	static const enum toc_type types[] = {
		TOC_REG,
		TOC_HARDLINK,
		TOC_SYMLINK,
		TOC_CHAR,
		TOC_BLOCK,
		TOC_DIR,
		TOC_FIFO,
	};
	struct common c = {
		.type = types[h->type - '0'],
		.mode = (uint32_t)h->mode,
		.uid = (uint32_t)h->uid,
		.gid = (uint32_t)h->gid,
		.dev_major = (uint32_t)h->dev_major,
		.dev_minor = (uint32_t)h->dev_minor,
		.nsec = h->mtime.nsec,
		.size = h->size,
		.mtime = h->mtime.sec,
	};

	for (size_t i = 0; i < h->n_xattrs; i++)
		add_xattr(&c, seed, h->xattrs[i].name, h->xattrs[i].value, h->xattrs[i].value_len);
	return sum_of(&c, seed, h->name, h->link);
}

/* --- the tar-split: JSON objects one after another --- */

struct split {
	struct toc_sums *toc; /* borrowed */
	struct toc_sums tar;
	struct tar_heads *heads; /* owned */
	char odd[256]; /* the first name that is not where the TOC has it */
	uint64_t padding; /* of the content before, at the beginning of the next segment */

	/* the object that comes */
	unsigned depth;
	enum { K_OTHER,
	       K_TYPE,
	       K_PAYLOAD } key;
	int type;
	uint8_t *payload; /* owned */
	size_t len, max;

	int result;
	char *error; /* owned */
};

static int stop(struct split *s, int r)
{
	s->result = r;
	return 0;
}

static int bad(struct split *s, const char *why)
{
	return stop(s, toc_fail(&s->error, -EBADMSG, "the tar-split: %s", why));
}

/* The headers of one entry, with the padding of the one before. */
static int segment(struct split *s)
{
	_cleanup_free_ char *why = NULL;
	struct tar_head h;
	struct toc_sum sum;
	int r;

	if (s->len < s->padding)
		return bad(s, "padding is missing");
	if (s->len == s->padding) {
		s->padding = 0;
		return 1;
	}
	r = tar_head_parse(s->heads, s->payload + s->padding, s->len - s->padding, &h, &why);
	s->padding = 0;
	if (r == 0)
		return 1;
	if (r == -EINVAL || r == -EPROTONOSUPPORT)
		return bad(s, why ? why : "a header is damaged");
	if (r < 0)
		return stop(s, r);
	s->padding = -h.size & 511;
	sum = sum_of_head(&h, s->toc->seed);
	if (s->odd[0] == '\0' && (s->tar.n >= s->toc->n || s->toc->p[s->tar.n].low != sum.low ||
				  s->toc->p[s->tar.n].high != sum.high))
		(void)snprintf(s->odd, sizeof(s->odd), "%s", h.name);
	r = add_sum(&s->tar, sum);
	return r < 0 ? stop(s, r) : 1;
}

static int on_start_map(void *ctx)
{
	struct split *s = ctx;

	if (s->depth++ == 0) {
		s->key = K_OTHER;
		s->type = 0;
		s->len = 0;
	}
	return s->depth < 16 ? 1 : bad(s, "it is nested");
}

static int on_key(void *ctx, const unsigned char *key, size_t len)
{
	struct split *s = ctx;

	s->key = K_OTHER;
	if (s->depth == 1 && len == 4 && memcmp(key, "type", 4) == 0)
		s->key = K_TYPE;
	else if (s->depth == 1 && len == 7 && memcmp(key, "payload", 7) == 0)
		s->key = K_PAYLOAD;
	return 1;
}

static int on_number(void *ctx, const char *text, size_t len)
{
	struct split *s = ctx;

	if (s->key == K_TYPE)
		s->type = len == 1 ? *text - '0' : 0;
	return s->depth > 0 ? 1 : bad(s, "a number");
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
	struct split *s = ctx;
	ssize_t n;

	if (s->key != K_PAYLOAD)
		return s->depth > 0 ? 1 : bad(s, "a string");
	if (len > 2 * TAR_HEAD_MAX)
		return bad(s, "headers are too large");
	if (len / 4 * 3 + 3 > s->max) {
		uint8_t *p = sys_realloc(s->payload, len / 4 * 3 + 3);

		if (p == NULL)
			return stop(s, -ENOMEM);
		s->payload = p;
		s->max = len / 4 * 3 + 3;
	}
	n = toc_base64((const char *)text, len, s->payload);
	if (n < 0)
		return bad(s, "no base64");
	s->len = (size_t)n;
	return 1;
}

static int on_end_map(void *ctx)
{
	struct split *s = ctx;

	if (--s->depth > 0 || s->type == 1)
		return 1;
	return s->type == 2 ? segment(s) : bad(s, "an entry of an unknown type");
}

static const yajl_callbacks callbacks = {
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_start_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end_map,
};

static int feed(struct split *s, struct toc_stream *st, yajl_handle y, char **ret_err)
{
	_cleanup_free_ uint8_t *buf = sys_malloc(PIECE);
	yajl_status z = yajl_status_ok;
	ssize_t n;

	if (buf == NULL)
		return -ENOMEM;
	do {
		n = toc_stream_read(st, buf, PIECE, ret_err);
		if (n < 0)
			return (int)n;
		z = n > 0 ? yajl_parse(y, buf, (size_t)n) : yajl_status_ok;
		if (n < PIECE && z == yajl_status_ok)
			z = yajl_complete_parse(y);
	} while (n == PIECE && z == yajl_status_ok);
	if (z == yajl_status_ok)
		return 0;
	if (z == yajl_status_client_canceled) {
		if (*ret_err == NULL)
			*ret_err = steal_ptr(&s->error);
		return s->result;
	}
	return toc_fail(ret_err, -EBADMSG, "the tar-split is no JSON");
}

static int by_sum(const void *pa, const void *pb)
{
	const struct toc_sum *a = pa, *b = pb;

	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	return a->high < b->high ? -1 : a->high > b->high;
}

static int compare(struct split *s, char **ret_err)
{
	if (s->tar.n != s->toc->n)
		return toc_fail(ret_err, -EBADMSG,
				"the TOC has %zu entries, and its tar has %zu%s%s%s", s->toc->n,
				s->tar.n, *s->odd ? "; \"" : "", s->odd,
				*s->odd ? "\" is the first that differs" : "");
	if (s->odd[0] == '\0')
		return 0;
	qsort(s->toc->p, s->toc->n, sizeof(*s->toc->p), by_sum);
	qsort(s->tar.p, s->tar.n, sizeof(*s->tar.p), by_sum);
	if (memcmp(s->toc->p, s->tar.p, s->tar.n * sizeof(*s->tar.p)) == 0)
		return 0;
	return toc_fail(ret_err, -EBADMSG, "\"%s\": its header in the tar is not what the TOC says",
			s->odd);
}

int toc_split_check(const struct source *s, const struct toc_place *p, const uint8_t sha256[32],
		    struct toc_sums *toc, char **ret_err)
{
	struct split sp = { .toc = toc };
	struct toc_stream *st = NULL;
	uint8_t stored[TOC_SHA256];
	yajl_handle y = yajl_alloc(&callbacks, NULL, &sp);
	int r = y == NULL ? -ENOMEM : tar_heads_new(NULL, &sp.heads);

	if (r == 0)
		r = toc_stream_new(s, p->split_off, p->split_size, TOC_ZSTD, &st);
	if (r == 0) {
		(void)yajl_config(y, yajl_allow_multiple_values, 1);
		/* Names that are no UTF-8 come in base64 there. */
		toc_stream_limit(st, SPLIT_MAX);
		r = feed(&sp, st, y, ret_err);
	}
	if (r == 0)
		r = toc_stream_stored(st, stored, ret_err);
	if (r == 0 && memcmp(stored, sha256, TOC_SHA256) != 0)
		r = toc_fail(ret_err, -EBADMSG, "the tar-split is not the one that the TOC names");
	if (r == 0)
		r = compare(&sp, ret_err);
	toc_stream_free(st);
	tar_heads_free(sp.heads);
	if (y != NULL)
		yajl_free(y);
	free(sp.tar.p);
	free(sp.payload);
	free(sp.error);
	return r;
}
