/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of a tar, word for word: ustar, pax, GNU and star, and what came before them. */
#include "fs/layer/tar_head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer/toc_i.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

enum { BLOCK = 512,
       MAX_XATTRS = 4096 };

struct tar_heads {
	const struct source *s; /* borrowed */
	const uint8_t *mem; /* instead of that, during tar_head_parse() */
	size_t mem_len;
	uint64_t pos;
	char *buf; /* owned: long names and pax records, terminated each */
	size_t len, max;
	char name[260], link[104]; /* of the header itself */
	struct tar_xattr xattrs[MAX_XATTRS];
	size_t n_xattrs;
};

int tar_heads_new(const struct source *s, struct tar_heads **ret)
{
	struct tar_heads *t = sys_calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->s = s;
	t->max = 65536;
	t->buf = sys_malloc(t->max);
	if (t->buf == NULL) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void tar_heads_free(struct tar_heads *t)
{
	if (t != NULL)
		free(t->buf);
	free(t);
}

static ssize_t fetch(const struct tar_heads *t, void *buf, size_t size, uint64_t off)
{
	if (t->mem == NULL)
		return source_pread(t->s, buf, size, off);
	if (off >= t->mem_len)
		return 0;
	if (size > t->mem_len - off)
		size = t->mem_len - off;
	memcpy(buf, t->mem + off, size);
	return (ssize_t)size;
}

/* Octal with blanks around it, or GNU's base 256. */
static int number(const uint8_t *p, size_t n, int64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if (p[0] & 0x80) {
		bool negative = p[0] & 0x40;

		for (; i < n; i++) {
			uint8_t c =
				i == 0 ? (uint8_t)((p[0] & 0x7f) | (negative ? 0x80 : 0)) : p[i];

			c = negative ? (uint8_t)~c : c;
			if (v >> 55)
				return -EINVAL;
			v = v << 8 | c;
		}
		*ret = negative ? ~(int64_t)v : (int64_t)v;
		return 0;
	}
	while (i < n && (p[i] == ' ' || p[i] == '\0'))
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 60)
			return -EINVAL;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*ret = (int64_t)v;
	return i == n || p[i] == ' ' || p[i] == '\0' ? 0 : -EINVAL;
}

static int positive(const uint8_t *p, size_t n, uint64_t *ret)
{
	int64_t v;

	if (number(p, n, &v) < 0 || v < 0)
		return -EINVAL;
	*ret = (uint64_t)v;
	return 0;
}

static bool checksum_ok(const uint8_t *h)
{
	int64_t plain = 0, with_sign = 0, said;

	for (int i = 0; i < BLOCK; i++) {
		uint8_t c = i >= 148 && i < 156 ? ' ' : h[i];

		plain += c;
		with_sign += (int8_t)c;
	}
	return number(h + 148, 8, &said) == 0 && (said == plain || said == with_sign);
}

/* Payload of a header of @size bytes at t->pos, terminated, at the end of the buffer; moves on. */
static int read_extra(struct tar_heads *t, uint64_t size, size_t *ret_at, char **ret_err)
{
	ssize_t n;

	if (size > TAR_HEAD_MAX || t->len + size + 1 > TAR_HEAD_MAX)
		return toc_fail(ret_err, -EINVAL,
				"the headers of an entry are larger than %u bytes", TAR_HEAD_MAX);
	if (t->len + size + 1 > t->max) {
		char *p = sys_realloc(t->buf, TAR_HEAD_MAX);

		if (p == NULL)
			return -ENOMEM;
		t->buf = p;
		t->max = TAR_HEAD_MAX;
	}
	n = fetch(t, t->buf + t->len, (size_t)size, t->pos);
	if (n < 0)
		return (int)n;
	if ((uint64_t)n != size)
		return toc_fail(ret_err, -EINVAL, "the tar is cut short");
	*ret_at = t->len;
	t->len += (size_t)size;
	t->buf[t->len++] = '\0';
	t->pos += (size + BLOCK - 1) / BLOCK * BLOCK;
	return 0;
}

/* What pax records and long names of an entry say: offsets into the buffer, 0: nothing. */
struct extra {
	size_t name, link, pax, pax_len;
	bool has_name, has_link, has_pax;
};

static int decimal(const char *s, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(s, &end, 10);
	return errno != 0 || end == s || *end != '\0' ? -EINVAL : 0;
}

/* "-1.5" is 1.5 seconds before 1970. Digits beyond nine are cut off. */
static int pax_time(const char *s, struct tar_time *ret)
{
	const bool negative = *s == '-';
	uint32_t unit = 100000000;
	int64_t sec = 0;

	*ret = (struct tar_time){ .set = true };
	s += negative;
	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (sec > INT64_MAX / 16)
			return -EINVAL;
		sec = sec * 10 + (*s - '0');
	}
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10)
			ret->nsec += (uint32_t)(*s - '0') * unit;
	}
	if (*s != '\0')
		return -EINVAL;
	ret->sec = negative ? -sec : sec;
	if (negative && ret->nsec > 0) {
		ret->sec--;
		ret->nsec = 1000000000 - ret->nsec;
	}
	return 0;
}

static int pax_record(struct tar_heads *t, struct tar_head *h, const char *key, char *value,
		      size_t len)
{
	static const char xattr[] = "SCHILY.xattr.";
	int64_t v = 0;

	if (strncmp(key, xattr, sizeof(xattr) - 1) == 0) {
		const char *name = key + sizeof(xattr) - 1;
		size_t i = 0;

		while (i < t->n_xattrs && strcmp(t->xattrs[i].name, name) != 0)
			i++;
		if (i == MAX_XATTRS)
			return -EINVAL;
		t->xattrs[i] = (struct tar_xattr){ name, strlen(name), value, len };
		t->n_xattrs += i == t->n_xattrs;
		return 0;
	}
	if (strncmp(key, "GNU.sparse.", 11) == 0)
		return -EPROTONOSUPPORT;
	if (len == 0)
		return 0;
	if (strlen(value) != len)
		return strcmp(key, "path") == 0 || strcmp(key, "linkpath") == 0 ? -EINVAL : 0;
	if (strcmp(key, "path") == 0)
		h->name = value;
	else if (strcmp(key, "linkpath") == 0)
		h->link = value;
	else if (strcmp(key, "mtime") == 0)
		return pax_time(value, &h->mtime);
	else if (strcmp(key, "atime") == 0)
		return pax_time(value, &h->atime);
	else if (strcmp(key, "ctime") == 0)
		return pax_time(value, &h->ctime);
	else if (strcmp(key, "size") == 0 || strcmp(key, "uid") == 0 || strcmp(key, "gid") == 0) {
		if (decimal(value, &v) < 0 || v < 0)
			return -EINVAL;
		*(*key == 's' ? &h->size : *key == 'u' ? &h->uid :
							 &h->gid) = (uint64_t)v;
	}
	return 0;
}

/* "LEN KEY=VALUE\n" after each other. */
static int pax_records(struct tar_heads *t, struct tar_head *h, char *p, size_t left)
{
	while (left > 0) {
		size_t len = 0, n = 0;
		char *key, *eq;
		int r;

		for (; n < left && p[n] >= '0' && p[n] <= '9' && len <= TAR_HEAD_MAX; n++)
			len = len * 10 + (size_t)(p[n] - '0');
		if (n == 0 || n + 2 >= len || len > left || p[n] != ' ' || p[len - 1] != '\n')
			return -EINVAL;
		key = p + n + 1;
		eq = memchr(key, '=', len - n - 2);
		if (eq == NULL || eq == key)
			return -EINVAL;
		*eq = '\0';
		p[len - 1] = '\0';
		r = pax_record(t, h, key, eq + 1, (size_t)(p + len - 1 - (eq + 1)));
		if (r < 0)
			return r;
		p += len;
		left -= len;
	}
	return 0;
}

static void copy_field(char *out, const uint8_t *p, size_t n)
{
	n = strnlen((const char *)p, n);
	memcpy(out, p, n);
	out[n] = '\0';
}

/* The header block itself. */
static int plain(struct tar_heads *t, const uint8_t *b, struct tar_head *h)
{
	const bool gnu = memcmp(b + 257, "ustar  ", 8) == 0;
	const bool ustar = memcmp(b + 257, "ustar", 6) == 0;
	const bool star = ustar && memcmp(b + 508, "tar", 4) == 0;
	int64_t mtime;
	size_t n;

	copy_field(t->name, b, 100);
	copy_field(t->link, b + 157, 100);
	h->link = t->link;
	h->type = b[156] == '\0' || b[156] == '7' ? '0' : (char)b[156];
	if (positive(b + 100, 8, &h->mode) < 0 || positive(b + 108, 8, &h->uid) < 0 ||
	    positive(b + 116, 8, &h->gid) < 0 || positive(b + 124, 12, &h->size) < 0 ||
	    number(b + 136, 12, &mtime) < 0)
		return -EINVAL;
	h->mtime = (struct tar_time){ true, mtime, 0 };
	if ((gnu || ustar) && (positive(b + 329, 8, &h->dev_major) < 0 ||
			       positive(b + 337, 8, &h->dev_minor) < 0))
		return -EINVAL;
	if (gnu || star) {
		const uint8_t *at = b + (gnu ? 345 : 476);

		if (at[0] != 0 && number(at, 12, &h->atime.sec) == 0)
			h->atime.set = true;
		if (at[12] != 0 && number(at + 12, 12, &h->ctime.sec) == 0)
			h->ctime.set = true;
	}
	if (ustar && b[345] != 0) {
		char prefix[160], name[104];

		copy_field(prefix, b + 345, star ? 131 : 155);
		memcpy(name, t->name, sizeof(name));
		n = strlen(prefix);
		memcpy(t->name, prefix, n);
		t->name[n++] = '/';
		memcpy(t->name + n, name, strlen(name) + 1);
	}
	h->name = t->name;
	return 0;
}

static bool all_zero(const uint8_t *b)
{
	return b[0] == 0 && memcmp(b, b + 1, BLOCK - 1) == 0;
}

/* Merges what came before the header @b into @h. */
static int merge(struct tar_heads *t, const uint8_t *b, const struct extra *x, struct tar_head *h,
		 char **ret_err)
{
	size_t n;
	int r = plain(t, b, h);

	if (r < 0)
		return toc_fail(ret_err, r, "the header at byte %llu is damaged",
				(unsigned long long)h->off);
	if (x->has_name)
		h->name = t->buf + x->name;
	if (x->has_link)
		h->link = t->buf + x->link;
	r = x->has_pax ? pax_records(t, h, t->buf + x->pax, x->pax_len) : 0;
	if (r == -EINVAL)
		return toc_fail(ret_err, r, "\"%s\": its pax records are damaged", h->name);
	n = strlen(h->name);
	if (b[156] == '\0' && n > 0 && h->name[n - 1] == '/')
		h->type = '5';
	if (r == -EPROTONOSUPPORT || h->type < '0' || h->type > '6')
		return toc_fail(ret_err, -EPROTONOSUPPORT, "\"%s\": a %s", h->name,
				r < 0 || h->type == 'S' ? "sparse file" :
							  "type of entry of its own");
	if (h->type != '0')
		h->size = 0;
	h->xattrs = t->xattrs;
	h->n_xattrs = t->n_xattrs;
	return 0;
}

int tar_heads_next(struct tar_heads *t, struct tar_head *ret, char **ret_err)
{
	struct extra x = { 0 };
	uint8_t b[BLOCK];
	uint64_t size;

	*ret = (struct tar_head){ .off = t->pos };
	t->len = 0;
	t->n_xattrs = 0;
	for (;;) {
		ssize_t n = fetch(t, b, BLOCK, t->pos);
		size_t at = 0;
		int r;

		if (n < 0)
			return (int)n;
		if (n == 0 || (n == BLOCK && all_zero(b)))
			return 0;
		if (n != BLOCK || !checksum_ok(b) || positive(b + 124, 12, &size) < 0)
			return toc_fail(ret_err, -EINVAL,
					"there is no header at byte %llu of the tar",
					(unsigned long long)t->pos);
		t->pos += BLOCK;
		if (b[156] == 'g')
			return toc_fail(ret_err, -EPROTONOSUPPORT, "global pax records");
		if (b[156] != 'x' && b[156] != 'L' && b[156] != 'K')
			break;
		r = read_extra(t, size, &at, ret_err);
		if (r < 0)
			return r;
		if (b[156] == 'x') {
			x.pax = at;
			x.pax_len = (size_t)size;
			x.has_pax = true;
		} else if (b[156] == 'L') {
			x.name = at;
			x.has_name = true;
		} else {
			x.link = at;
			x.has_link = true;
		}
	}
	int r = merge(t, b, &x, ret, ret_err);

	if (r < 0)
		return r;
	ret->data = t->pos;
	if (t->mem == NULL && ret->size > t->s->size - t->pos)
		return toc_fail(ret_err, -EINVAL, "\"%s\": the tar ends before its content does",
				ret->name);
	ret->next = t->pos + (ret->size + BLOCK - 1) / BLOCK * BLOCK;
	t->pos = ret->next;
	return 1;
}

int tar_head_parse(struct tar_heads *t, const void *p, size_t len, struct tar_head *ret,
		   char **ret_err)
{
	int r;

	t->mem = p ? p : (const uint8_t *)"";
	t->mem_len = len;
	t->pos = 0;
	r = tar_heads_next(t, ret, ret_err);
	t->mem = NULL;
	return r;
}
