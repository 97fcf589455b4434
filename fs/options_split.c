/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splitting of option strings, with the escapes of two worlds.
 *
 * The kernel's overlayfs, mount(8) and buildah write one backslash before a
 * comma, a colon or a backslash that is meant as itself. libfuse programs
 * have always unescaped twice, once for the options and once for the list of
 * lowers, so that people write two before a colon for fuse-overlayfs. Both
 * are understood. Where k backslashes stand before a colon of lowerdir=:
 *
 *	k = 0          the colon separates
 *	k odd          the kernel's way: (k - 1) / 2 backslashes, then the
 *	               colon itself
 *	k even         libfuse's way, k / 2 are left after its first pass:
 *	  k / 2 odd      (k / 2 - 1) / 2 backslashes, then the colon itself
 *	  k / 2 even     k / 4 backslashes, then the colon separates
 *
 * A backslash before anything else hides that character, once.
 */
#include "options_i.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The length of NAME=" if s starts with a quoted label, else 0. */
static size_t quoted_label(const char *s)
{
	static const char *const key[] = { "context=\"", "fscontext=\"",
					   "defcontext=\"", "rootcontext=\"" };

	for (size_t i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
		size_t n = strlen(key[i]);

		if (strncmp(s, key[i], n) == 0)
			return n;
	}
	return 0;
}

int optsplit_next(const char **s, char **ret)
{
	const char *p = *s;
	const char *start;
	size_t quoted;

	while (*p == ',')
		p++;
	if (*p == '\0') {
		*s = p;
		return 0;
	}

	start = p;
	quoted = quoted_label(p);
	if (quoted > 0) {
		p = strchr(p + quoted, '"');
		if (p == NULL || (p[1] != '\0' && p[1] != ','))
			return -EINVAL;
		p++;
	}
	while (*p != '\0' && *p != ',') {
		if (*p == '\\' && p[1] != '\0')
			p++;
		p++;
	}

	*ret = strndup(start, (size_t)(p - start));
	if (*ret == NULL)
		return -ENOMEM;
	*s = p;
	return 1;
}

static bool is_octal(char c, char max)
{
	return c >= '0' && c <= max;
}

/*
 * The character that the backslash at s (n bytes left, n >= 1) stands for,
 * to *c. Returns how many bytes it took.
 */
static size_t unescape_one(const char *s, size_t n, char *c)
{
	if (n >= 4 && is_octal(s[1], '3') && is_octal(s[2], '7') &&
	    is_octal(s[3], '7')) {
		unsigned int byte = (unsigned int)(s[1] - '0') * 64 +
				    (unsigned int)(s[2] - '0') * 8 +
				    (unsigned int)(s[3] - '0');

		if (byte != 0) {
			*c = (char)(unsigned char)byte;
			return 4;
		}
	}
	if (n < 2) {
		*c = s[0];
		return 1;
	}
	*c = s[1];
	return 2;
}

int optsplit_unescape(const char *s, size_t len, char **ret)
{
	char *out = malloc(len + 1);
	size_t n = 0;

	if (out == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < len;) {
		if (s[i] == '\\') {
			i += unescape_one(s + i, len - i, &out[n++]);
		} else {
			out[n++] = s[i++];
		}
	}
	out[n] = '\0';
	*ret = out;
	return 0;
}

/*
 * s points to k backslashes and a colon: how many backslashes they mean.
 * *ret_separates: whether the colon ends the path.
 */
static size_t colon_run(size_t k, bool *ret_separates)
{
	if (k % 2 == 1) {
		*ret_separates = false;
		return (k - 1) / 2;
	}
	if (k / 2 % 2 == 1) {
		*ret_separates = false;
		return (k / 2 - 1) / 2;
	}
	*ret_separates = true;
	return k / 4;
}

int optsplit_lower(const char **s, char **ret)
{
	const char *p = *s;
	char *out;
	size_t n = 0;

	if (p == NULL)
		return 0;
	out = malloc(strlen(p) + 1);
	if (out == NULL)
		return -ENOMEM;

	for (;;) {
		size_t k = strspn(p, "\\");

		if (p[k] == ':') {
			bool separates;
			size_t keep = colon_run(k, &separates);

			memset(out + n, '\\', keep);
			n += keep;
			p += k + 1;
			if (separates)
				break;
			out[n++] = ':';
		} else if (k > 0) {
			memset(out + n, '\\', k / 2);
			n += k / 2;
			p += k / 2 * 2;
			if (k % 2 == 1)
				p += unescape_one(p, strnlen(p, 4), &out[n++]);
		} else if (*p == '\0') {
			p = NULL;
			break;
		} else {
			out[n++] = *p++;
		}
	}
	out[n] = '\0';
	*ret = out;
	*s = p;
	return 1;
}
