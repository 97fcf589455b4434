/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a TOC. */
#include "fs/layer/toc_out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/sys.h"

int toc_text_add(struct toc_text *t, const void *p, size_t len)
{
	if (len > t->max - t->len) {
		size_t max = 2 * (t->len + len) + 4096;
		char *q = sys_realloc(t->p, max);

		if (q == NULL)
			return -ENOMEM;
		t->p = q;
		t->max = max;
	}
	if (len > 0)
		memcpy(t->p + t->len, p, len);
	t->len += len;
	return 0;
}

void toc_text_release(struct toc_text *t)
{
	free(t->p);
	*t = (struct toc_text){ 0 };
}

int toc_text_printf(struct toc_text *t, const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	return n < 0 || (size_t)n >= sizeof(buf) ? -EINVAL : toc_text_add(t, buf, (size_t)n);
}

/* The length of the UTF-8 character at @s, 0: there is none. */
static size_t utf8(const unsigned char *s)
{
	size_t n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 :
			   *s >= 0xe0 && *s < 0xf0         ? 3 :
			   *s >= 0xf0 && *s < 0xf5         ? 4 :
							     0;

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
	    (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static int quoted(struct toc_text *t, const char *s)
{
	int r = toc_text_add(t, "\"", 1);

	while (*s != '\0' && r == 0) {
		const unsigned char c = (unsigned char)*s;
		size_t n = utf8((const unsigned char *)s);

		if (n == 0)
			return -EILSEQ;
		if (c == '"' || c == '\\')
			r = toc_text_printf(t, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			r = toc_text_printf(t, "\\u%04x", c);
		else
			r = toc_text_add(t, s, n);
		s += n;
	}
	return r == 0 ? toc_text_add(t, "\"", 1) : r;
}

int toc_text_string(struct toc_text *t, const char *key, const char *value)
{
	if (value == NULL || *value == '\0')
		return 0;
	int r = toc_text_printf(t, ",\"%s\":", key);

	return r < 0 ? r : quoted(t, value);
}

int toc_text_number(struct toc_text *t, const char *key, uint64_t n)
{
	return n == 0 ? 0 : toc_text_printf(t, ",\"%s\":%llu", key, (unsigned long long)n);
}

int toc_text_digest(struct toc_text *t, const char *key, const uint8_t sha256[32])
{
	int r = toc_text_printf(t, ",\"%s\":\"sha256:", key);

	for (int i = 0; i < 32 && r == 0; i++)
		r = toc_text_printf(t, "%02x", sha256[i]);
	return r < 0 ? r : toc_text_add(t, "\"", 1);
}

int toc_text_time(struct toc_text *t, const char *key, int64_t sec, uint32_t nsec)
{
	int64_t day = (sec >= 0 ? sec : sec - 86399) / 86400, in_day = sec - day * 86400;
	int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097,
		in_era = z - era * 146097;
	int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (365 * y + y / 4 - y / 100), m = (5 * in_year + 2) / 153;
	int64_t year = y + era * 400 + (m >= 10);
	char frac[12] = "";

	/* RFC 3339 has four digits for the year. */
	if (year < 0 || year > 9999)
		return -ERANGE;
	if (nsec != 0) {
		int n = snprintf(frac, sizeof(frac), ".%09u", nsec);

		while (frac[n - 1] == '0')
			frac[--n] = '\0';
	}
	return toc_text_printf(t, ",\"%s\":\"%04lld-%02lld-%02lldT%02lld:%02lld:%02lld%sZ\"", key,
			       (long long)year, (long long)(m < 10 ? m + 3 : m - 9),
			       (long long)(in_year - (153 * m + 2) / 5 + 1),
			       (long long)(in_day / 3600), (long long)(in_day / 60 % 60),
			       (long long)(in_day % 60), frac);
}

int toc_text_base64(struct toc_text *t, const void *p, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *b = p;
	int r = 0;

	for (size_t i = 0; i < len && r == 0; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16;
		char q[4];

		v |= i + 1 < len ? (uint32_t)b[i + 1] << 8 : 0;
		v |= i + 2 < len ? b[i + 2] : 0;
		q[0] = digits[v >> 18];
		q[1] = digits[v >> 12 & 63];
		q[2] = i + 1 < len ? digits[v >> 6 & 63] : '=';
		q[3] = i + 2 < len ? digits[v & 63] : '=';
		r = toc_text_add(t, q, 4);
	}
	return r;
}

int toc_text_xattrs(struct toc_text *t, const struct tar_xattr *x, size_t n)
{
	int r = n == 0 ? 0 : toc_text_printf(t, ",\"xattrs\":");

	for (size_t i = 0; i < n && r == 0; i++) {
		r = toc_text_add(t, i == 0 ? "{" : ",", 1);
		if (r == 0)
			r = quoted(t, x[i].name);
		if (r == 0)
			r = toc_text_add(t, ":\"", 2);
		if (r == 0)
			r = toc_text_base64(t, x[i].value, x[i].value_len);
		if (r == 0)
			r = toc_text_add(t, "\"", 1);
	}
	return r == 0 && n > 0 ? toc_text_add(t, "}", 1) : r;
}
