/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eStargz: a tar.gz of many gzip members whose last entry is the TOC. The footer
 * is an empty member; its extra field says where the TOC begins.
 *
 *	bytes  extra field                         TOC
 *	51     "SG", 22, 16 hex digits, "STARGZ"   there
 *	47     16 hex digits, "STARGZ"             there (before 2020)
 *	46     "SG", 17, "STARGZEXTERNALTOC"       in an image of its own
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <string.h>

#define FOOTER 51
#define FOOTER_LEGACY 47
#define FOOTER_EXTERNAL 46
#define TAR_BLOCK 512
#define TOC_NAME "stargz.index.json"

/* The gzip header of a footer of @size bytes at @p, with @extra bytes in its extra field. */
static bool footer_at(const uint8_t *p, size_t size)
{
	static const uint8_t head[] = { 0x1f, 0x8b, 8, 4 };
	size_t extra = size - 25; /* header 10, length 2, empty block 5, trailer 8 */

	return memcmp(p, head, sizeof(head)) == 0 && p[10] == extra && p[11] == 0;
}

static bool read_hex(const uint8_t *p, uint64_t *ret)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		uint8_t c = p[i], d;

		if (c >= '0' && c <= '9')
			d = (uint8_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			d = (uint8_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			d = (uint8_t)(c - 'A' + 10);
		else
			return false;
		v = v << 4 | d;
	}
	*ret = v;
	return true;
}

int estargz_find(const struct source *s, struct toc_place *ret, char **ret_err)
{
	uint8_t buf[FOOTER];
	size_t size = s->size < FOOTER ? (size_t)s->size : FOOTER, footer;
	const uint8_t *end = buf + size, *p;
	uint64_t off;
	ssize_t n = source_pread(s, buf, size, s->size - size);

	if (n < 0)
		return (int)n;
	if ((size_t)n != size)
		return -EIO;
	*ret = (struct toc_place){ .kind = INDEX_ESTARGZ, .stargz = true };
	p = end - FOOTER_EXTERNAL;
	if (size >= FOOTER_EXTERNAL && footer_at(p, FOOTER_EXTERNAL) &&
	    memcmp(p + 12, "SG\x11\0STARGZEXTERNALTOC", 21) == 0) {
		ret->external = true;
		ret->data_end = s->size - FOOTER_EXTERNAL;
		return 1;
	}
	if (size >= FOOTER && footer_at(end - FOOTER, FOOTER) &&
	    memcmp(end - FOOTER + 12, "SG\x16", 4) == 0)
		footer = FOOTER;
	else if (size >= FOOTER_LEGACY && footer_at(end - FOOTER_LEGACY, FOOTER_LEGACY))
		footer = FOOTER_LEGACY;
	else
		return 0;
	p = end - footer + (footer == FOOTER ? 16 : 12);
	if (memcmp(p + 16, "STARGZ", 6) != 0 || !read_hex(p, &off))
		return 0;
	if (off >= s->size - footer)
		return toc_fail(ret_err, -EBADMSG,
				"the footer says that the TOC is outside of the blob");
	ret->off = off;
	ret->size = s->size - footer - off;
	ret->data_end = off;
	if (ret->size > TOC_MAX)
		return toc_fail(ret_err, -EBADMSG, "the TOC is larger than %u bytes", TOC_MAX);
	return 1;
}

static bool octal(const uint8_t *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(p[i] - '0');
	*ret = v;
	return i == n || p[i] == ' ' || p[i] == '\0';
}

static bool header_ok(const uint8_t *h)
{
	uint64_t sum = 0, said;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : h[i];
	return octal(h + 148, 8, &said) && said == sum;
}

static int skip(struct toc_stream *st, uint64_t size, char **ret_err)
{
	uint8_t buf[4096];

	while (size > 0) {
		size_t want = size < sizeof(buf) ? (size_t)size : sizeof(buf);
		ssize_t n = toc_stream_read(st, buf, want, ret_err);

		if (n < 0)
			return (int)n;
		if ((size_t)n != want)
			return toc_fail(ret_err, -EBADMSG, "the TOC's tar is cut short");
		size -= want;
	}
	return 0;
}

int estargz_enter(struct toc_stream *st, uint64_t *ret_size, char **ret_err)
{
	uint8_t h[TAR_BLOCK];

	for (;;) {
		ssize_t n = toc_stream_read(st, h, sizeof(h), ret_err);
		const char *name = (const char *)h;
		uint64_t size;
		int r;

		if (n < 0)
			return (int)n;
		if (n != sizeof(h) || h[0] == '\0')
			return toc_fail(ret_err, -EBADMSG,
					"there is no " TOC_NAME " where the TOC should be");
		if (!header_ok(h) || !octal(h + 124, 12, &size))
			return toc_fail(ret_err, -EBADMSG, "the TOC's tar header is damaged");
		if (size > TOC_MAX)
			return toc_fail(ret_err, -EBADMSG, "the TOC is larger than %u bytes",
					TOC_MAX);
		if (strncmp(name, "./", 2) == 0)
			name += 2;
		if ((h[156] == '0' || h[156] == '\0') && strncmp(name, TOC_NAME, 98) == 0) {
			*ret_size = size;
			return 0;
		}
		r = skip(st, (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK, ret_err);
		if (r < 0)
			return r;
	}
}
