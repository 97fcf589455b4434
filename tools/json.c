/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on stdout, as it comes. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "oci/digest.h"
#include "tools/out.h"
#include "tools/utf8.h"

#define MAX_DEPTH 32

static struct {
	unsigned depth;
	bool array[MAX_DEPTH], any[MAX_DEPTH];
} doc;

static void put_string(const char *s)
{
	(void)putchar('"');
	while (*s) {
		unsigned char c = (unsigned char)*s;
		uint32_t u;
		int n = utf8_decode(s, strnlen(s, 4), &u);

		if (n < 0) {
			(void)fputs("\\ufffd", stdout);
			s++;
			continue;
		}
		if (c == '"' || c == '\\')
			(void)printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			(void)printf("\\u%04x", c);
		else
			(void)fwrite(s, 1, (size_t)n, stdout);
		s += n;
	}
	(void)putchar('"');
}

/* What stands before a value. */
static void begin(const char *key)
{
	if (doc.depth) {
		unsigned d = doc.depth - 1;

		if (doc.any[d])
			(void)putchar(',');
		/* a line for each member of the document, and of its lists */
		if (doc.depth <= 2)
			(void)printf("\n%*s", (int)doc.depth, "");
		doc.any[d] = true;
	}
	if (key) {
		put_string(key);
		(void)putchar(':');
	}
}

static void open_one(const char *key, bool array)
{
	begin(key);
	(void)putchar(array ? '[' : '{');
	if (doc.depth < MAX_DEPTH) {
		doc.array[doc.depth] = array;
		doc.any[doc.depth] = false;
	}
	doc.depth++;
}

void json_object(const char *key)
{
	open_one(key, false);
}

void json_array(const char *key)
{
	open_one(key, true);
}

void json_end(void)
{
	doc.depth--;
	if (doc.any[doc.depth] && doc.depth < 2)
		(void)printf("\n%*s", (int)doc.depth, "");
	(void)putchar(doc.array[doc.depth] ? ']' : '}');
	if (!doc.depth)
		(void)putchar('\n');
}

static bool is_utf8(const char *s)
{
	uint32_t u;
	int n;

	for (; *s; s += n) {
		n = utf8_decode(s, strnlen(s, 4), &u);
		if (n < 0)
			return false;
	}
	return true;
}

static void put_base64(const unsigned char *p, size_t size)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t i;

	for (i = 0; i < size; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		if (i + 1 < size)
			v |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < size)
			v |= p[i + 2];
		(void)putchar(set[v >> 18]);
		(void)putchar(set[v >> 12 & 63]);
		(void)putchar(i + 1 < size ? set[v >> 6 & 63] : '=');
		(void)putchar(i + 2 < size ? set[v & 63] : '=');
	}
}

void json_base64_begin(const char *key)
{
	begin(key);
	(void)putchar('"');
}

void json_base64_add(const void *p, size_t size)
{
	put_base64(p, size);
}

void json_base64_end(void)
{
	(void)putchar('"');
}

void json_base64(const char *key, const void *p, size_t size)
{
	json_base64_begin(key);
	put_base64(p, size);
	json_base64_end();
}

void json_string(const char *key, const char *s)
{
	begin(key);
	if (!s) {
		(void)fputs("null", stdout);
		return;
	}
	put_string(s);
	if (key && !is_utf8(s)) {
		char more[64];

		(void)snprintf(more, sizeof(more), "%s_base64", key);
		json_base64(more, s, strlen(s));
	}
}

void json_uint(const char *key, uint64_t v)
{
	begin(key);
	(void)printf("%" PRIu64, v);
}

void json_int(const char *key, int64_t v)
{
	begin(key);
	(void)printf("%" PRId64, v);
}

void json_bool(const char *key, bool v)
{
	begin(key);
	(void)fputs(v ? "true" : "false", stdout);
}

void json_real(const char *key, double v)
{
	begin(key);
	(void)printf("%.6g", isfinite(v) ? v : 0);
}

void json_digest(const char *key, const uint8_t sha256[32])
{
	char s[DIGEST_STRING_SIZE];

	if (digest_known(sha256))
		digest_string(sha256, s);
	json_string(key, digest_known(sha256) ? s : NULL);
}
