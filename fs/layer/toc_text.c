/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small texts of a TOC: digests, times, base64, paths, and messages about them.
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/sys.h"

int toc_fail(char **ret_err, int r, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;

	if (ret_err == NULL || *ret_err != NULL)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	for (char *p = buf; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	*ret_err = sys_strdup(buf);
	return r;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int toc_digest(const char *s, size_t len, uint8_t ret[TOC_SHA256])
{
	static const char name[] = "sha256:";
	const char *colon = memchr(s, ':', len);

	if (colon == NULL || colon == s || colon + 1 == s + len)
		return -EINVAL;
	if (len < sizeof(name) - 1 || memcmp(s, name, sizeof(name) - 1) != 0)
		return 0;
	s += sizeof(name) - 1;
	if (len != sizeof(name) - 1 + 2 * TOC_SHA256)
		return -EINVAL;
	for (size_t i = 0; i < TOC_SHA256; i++) {
		int high = hex(s[2 * i]), low = hex(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 1;
}

/* Exactly @n digits at *s; moves on. */
static int digits(const char **s, const char *end, size_t n, int *ret)
{
	int v = 0;

	if ((size_t)(end - *s) < n)
		return -EINVAL;
	for (; n > 0; n--, (*s)++) {
		if (**s < '0' || **s > '9')
			return -EINVAL;
		v = v * 10 + (**s - '0');
	}
	*ret = v;
	return 0;
}

static bool one_of(const char **s, const char *end, const char *set)
{
	if (*s == end || **s == '\0' || strchr(set, **s) == NULL)
		return false;
	(*s)++;
	return true;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year; /* years begin in March */
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t in_era = y - era * 400;
	int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

int toc_time(const char *s, size_t len, int64_t *ret, uint32_t *ret_nsec)
{
	static const int month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *end = s + len;
	int year, month, day, hour, minute, second, off_hour = 0, off_minute = 0;
	uint32_t nsec = 0;
	int64_t t;

	*ret = 0;
	*ret_nsec = 0;
	if (len == 0)
		return 0;
	if (digits(&s, end, 4, &year) < 0 || !one_of(&s, end, "-") ||
	    digits(&s, end, 2, &month) < 0 || !one_of(&s, end, "-") ||
	    digits(&s, end, 2, &day) < 0 || !one_of(&s, end, "Tt") ||
	    digits(&s, end, 2, &hour) < 0 || !one_of(&s, end, ":") ||
	    digits(&s, end, 2, &minute) < 0 || !one_of(&s, end, ":") ||
	    digits(&s, end, 2, &second) < 0)
		return -EINVAL;
	if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1] || hour > 23 ||
	    minute > 59 || second > 60)
		return -EINVAL;
	if (one_of(&s, end, ".")) {
		uint32_t unit = 100000000;
		int d;

		if (s == end || *s < '0' || *s > '9')
			return -EINVAL;
		for (; digits(&s, end, 1, &d) == 0; unit /= 10)
			nsec += (uint32_t)d * unit;
	}
	t = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
	if (!one_of(&s, end, "Zz")) {
		int sign = s < end && *s == '-' ? -1 : 1;

		if (!one_of(&s, end, "+-") || digits(&s, end, 2, &off_hour) < 0 ||
		    !one_of(&s, end, ":") || digits(&s, end, 2, &off_minute) < 0 ||
		    off_hour > 23 || off_minute > 59)
			return -EINVAL;
		t -= sign * (off_hour * 3600 + off_minute * 60);
	}
	if (s != end)
		return -EINVAL;
	if (year == 1 && t == days(1, 1, 1) * 86400 && nsec == 0)
		return 0;
	*ret = t;
	*ret_nsec = nsec;
	return 0;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

ssize_t toc_base64(const char *s, size_t len, uint8_t *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	if (len > 0 && len % 4 == 0) {
		for (int i = 0; i < 2 && s[len - 1] == '='; i++)
			len--;
	}
	if (len % 4 == 1)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int d = base64_digit(s[i]);

		if (d < 0)
			return -EINVAL;
		bits = (bits << 6 | (uint32_t)d) & 0xffffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	return (ssize_t)n;
}

int toc_numbers(const char *s, uint64_t *ret, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0;

		if (i > 0 && *s++ != ':')
			return -EINVAL;
		if (*s < '0' || *s > '9')
			return -EINVAL;
		for (; *s >= '0' && *s <= '9'; s++) {
			if (__builtin_mul_overflow(v, 10, &v) ||
			    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
				return -EINVAL;
		}
		ret[i] = v;
	}
	return *s == '\0' ? 0 : -EINVAL;
}

ssize_t toc_clean(const char *path, char *out)
{
	size_t n = 0;

	while (*path != '\0') {
		size_t len = strcspn(path, "/");

		if (len == 2 && memcmp(path, "..", 2) == 0)
			return -EINVAL;
		if (len > 0 && !(len == 1 && *path == '.')) {
			if (n + 1 + len + 1 > TOC_PATH_MAX)
				return -ENAMETOOLONG;
			if (n > 0)
				out[n++] = '/';
			memcpy(out + n, path, len);
			n += len;
		}
		path += len;
		path += *path == '/';
	}
	out[n] = '\0';
	return (ssize_t)n;
}
