/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, strictly: no surrogates, nothing longer than it must be, nothing past U+10FFFF. */
#ifndef PLYFS_TOOLS_UTF8_H
#define PLYFS_TOOLS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at @s, of which @max can be read; -1: that is none. */
static inline int utf8_decode(const char *s, size_t max, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = max ? (unsigned char)s[0] : 0;
	uint32_t v;
	size_t n, i;

	if (!max)
		return -1;
	if (c < 0x80) {
		*ret = c;
		return 1;
	}
	if (c >= 0xc2 && c <= 0xdf)
		n = 2;
	else if (c >= 0xe0 && c <= 0xef)
		n = 3;
	else if (c >= 0xf0 && c <= 0xf4)
		n = 4;
	else
		return -1;
	if (n > max)
		return -1;
	v = c & (0xffU >> (n + 1));
	for (i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return -1;
		v = v << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return -1;
	*ret = v;
	return (int)n;
}

#endif
