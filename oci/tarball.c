/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map of an uncompressed tar: where its files are. For archives of images, whose
 * members are few and are read in place. (Layers are read by libarchive, once, from the
 * beginning: fs/layer.)
 *
 * Understood: ustar, pax records path, linkpath and size, GNU long names and sizes. A
 * header whose sum is wrong ends it with an error, and so does a member that goes beyond the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

#define BLOCK 512
#define MAX_ENTRIES 300000
#define MAX_NAMES (128U << 20) /* bytes of names, all together */
#define MAX_EXTRA (1U << 20) /* a pax header, a long name */
#define MAX_LINKS 16

struct tarball {
	struct tarball_entry *entry; /* by name */
	size_t n, room, names;
};

struct reader {
	int fd;
	uint64_t size;
	char buf[64 << 10];
	uint64_t at; /* what buf holds */
	size_t len;
};

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "tar header");

/* What stands before an entry and belongs to it. */
struct extra {
	char *name, *link;
	uint64_t size;
	bool has_size;
};

static void extra_clear(struct extra *x)
{
	free(x->name);
	free(x->link);
	memset(x, 0, sizeof(*x));
}

/* Copies from the file, by way of the buffer where it is little. */
static int read_at(struct reader *rd, void *dst, size_t size, uint64_t off)
{
	ssize_t n;

	if (off > rd->size || size > rd->size - off)
		return -ENODATA;
	if (size > sizeof(rd->buf) || (off >= rd->at && off + size <= rd->at + rd->len))
		goto have;
	n = sys_pread(rd->fd, rd->buf, sizeof(rd->buf), (off_t)off);
	if (n < 0)
		return (int)n;
	rd->at = off;
	rd->len = (size_t)n;
	if ((size_t)n < size)
		return -EIO;
have:
	if (off >= rd->at && off + size <= rd->at + rd->len) {
		memcpy(dst, rd->buf + (off - rd->at), size);
		return 0;
	}
	while (size) {
		n = sys_pread(rd->fd, dst, size, (off_t)off);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		dst = (char *)dst + n;
		off += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

/* A number of a header: octal, or base 256 where the first bit is set. */
static int number(const char *p, size_t len, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if ((unsigned char)p[0] & 0x80) {
		if ((unsigned char)p[0] != 0x80)
			return -EINVAL;
		for (i = 1; i < len; i++) {
			if (v >> 55)
				return -EINVAL;
			v = v << 8 | (unsigned char)p[i];
		}
		*ret = v;
		return 0;
	}
	while (i < len && p[i] == ' ')
		i++;
	for (; i < len && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (unsigned)(p[i] - '0');
	if (i < len && p[i] != ' ' && p[i] != 0)
		return -EINVAL;
	*ret = v;
	return 0;
}

static bool sum_ok(const struct header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	uint64_t want, sum = 0;
	size_t i;

	for (i = 0; i < BLOCK; i++)
		sum += i >= offsetof(struct header, sum) && i < offsetof(struct header, type) ?
			       ' ' :
			       p[i];
	return number(h->sum, sizeof(h->sum), &want) == 0 && want == sum;
}

static bool all_zero(const struct header *h)
{
	static const char zero[BLOCK];

	return !memcmp(h, zero, BLOCK);
}

/* Names are compared as "a/b": leading, doubled and trailing slashes and "." go. NULL: "..". */
static char *clean_name(const char *s)
{
	char *ret = sys_malloc(strlen(s) + 1), *p = ret;

	if (!ret)
		return NULL;
	while (*s) {
		size_t n = strcspn(s, "/");

		if (n && !(n == 1 && s[0] == '.')) {
			if (n == 2 && s[0] == '.' && s[1] == '.') {
				/* one up; above the root there is nothing */
				while (p > ret && *--p != '/')
					;
			} else {
				if (p > ret)
					*p++ = '/';
				memcpy(p, s, n);
				p += n;
			}
		}
		s += n;
		while (*s == '/')
			s++;
	}
	*p = 0;
	return ret;
}

static char *field(const char *p, size_t len)
{
	return strndup(p, len);
}

/* Records "LEN KEY=VALUE\n". */
static int take_pax(struct extra *x, char *p, size_t size)
{
	while (size) {
		size_t len = 0, i = 0;
		char *key, *value;

		while (i < size && p[i] >= '0' && p[i] <= '9' && len < MAX_EXTRA)
			len = len * 10 + (size_t)(p[i++] - '0');
		if (!i || i >= size || p[i] != ' ' || len <= i + 1 || len > size ||
		    p[len - 1] != '\n')
			return -EINVAL;
		p[len - 1] = 0;
		key = p + i + 1;
		value = memchr(key, '=', (size_t)(p + len - 1 - key));
		if (!value)
			return -EINVAL;
		*value++ = 0;
		if (!strcmp(key, "path") || !strcmp(key, "linkpath")) {
			char **to = *key == 'p' ? &x->name : &x->link;

			free(*to);
			*to = sys_strdup(value);
			if (!*to)
				return -ENOMEM;
		} else if (!strcmp(key, "size")) {
			char *end;

			errno = 0;
			x->size = strtoull(value, &end, 10);
			if (errno || *end || !*value)
				return -EINVAL;
			x->has_size = true;
		}
		p += len;
		size -= len;
	}
	return 0;
}

static int take_extra(struct reader *rd, char type, uint64_t off, uint64_t size, struct extra *x)
{
	_cleanup_free_ char *p = NULL;
	char **to;
	int r;

	if (size > MAX_EXTRA)
		return -EINVAL;
	p = sys_malloc(size + 1);
	if (!p)
		return -ENOMEM;
	r = read_at(rd, p, size, off);
	if (r < 0)
		return r;
	p[size] = 0;
	if (type == 'x')
		return take_pax(x, p, size);
	to = type == 'L' ? &x->name : &x->link;
	free(*to);
	*to = steal_ptr(&p);
	return 0;
}

static int add(struct tarball *t, const struct header *h, struct extra *x, uint64_t off,
	       uint64_t size)
{
	_cleanup_free_ char *raw = NULL, *name = NULL, *link = NULL;
	struct tarball_entry *e;

	if (x->name) {
		raw = steal_ptr(&x->name);
	} else if (!memcmp(h->magic, "ustar", 6) && h->prefix[0]) {
		if (asprintf(&raw, "%.155s/%.100s", h->prefix, h->name) < 0)
			return -ENOMEM;
	} else {
		raw = field(h->name, sizeof(h->name));
	}
	if (h->type == '1' || h->type == '2')
		link = x->link ? steal_ptr(&x->link) : field(h->link, sizeof(h->link));
	name = raw ? clean_name(raw) : NULL;
	if (!name || ((h->type == '1' || h->type == '2') && !link))
		return -ENOMEM;
	t->names += strlen(name) + (link ? strlen(link) : 0);
	if (t->n == MAX_ENTRIES || t->names > MAX_NAMES)
		return -E2BIG;
	if (t->n == t->room) {
		size_t room = t->room ? t->room * 2 : 64;
		struct tarball_entry *p = sys_realloc(t->entry, room * sizeof(*p));

		if (!p)
			return -ENOMEM;
		t->entry = p;
		t->room = room;
	}
	e = &t->entry[t->n++];
	*e = (struct tarball_entry){
		.name = steal_ptr(&name),
		.link = steal_ptr(&link),
		.off = off,
		.size = size,
		.type = h->type ? h->type : '0',
	};
	if (e->type == '7')
		e->type = '0';
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct tarball_entry *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	/* in the order of the archive */
	return r ? r : (x->off > y->off) - (x->off < y->off);
}

static int read_all(struct reader *rd, struct tarball *t, char **ret_err)
{
	struct extra x = { 0 };
	uint64_t off = 0;
	struct header h;
	int r = 0;

	while (rd->size - off >= BLOCK) {
		uint64_t size, data = off + BLOCK;

		r = read_at(rd, &h, BLOCK, off);
		if (r < 0)
			break;
		if (all_zero(&h))
			break;
		if (!sum_ok(&h) || number(h.size, sizeof(h.size), &size) < 0) {
			r = oci_fail(ret_err, -EINVAL, "%s at byte %llu",
				     off ? "broken tar header" : "this is no tar: bad header",
				     (unsigned long long)off);
			break;
		}
		if (x.has_size && h.type != 'x' && h.type != 'L' && h.type != 'K')
			size = x.size;
		if (h.type == '1' || h.type == '2' || h.type == '5')
			size = 0;
		if (size > rd->size - data) {
			r = oci_fail(ret_err, -EINVAL,
				     "truncated: the entry at byte %llu claims %llu bytes",
				     (unsigned long long)off, (unsigned long long)size);
			break;
		}
		if (h.type == 'x' || h.type == 'L' || h.type == 'K') {
			r = take_extra(rd, h.type, data, size, &x);
		} else if (h.type != 'g') {
			r = add(t, &h, &x, data, size);
			extra_clear(&x);
		}
		if (r < 0)
			break;
		size += (BLOCK - size % BLOCK) % BLOCK;
		off = size > rd->size - data ? rd->size : data + size;
	}
	extra_clear(&x);
	if (r == -EINVAL)
		return oci_fail(ret_err, r, "broken tar entry at byte %llu",
				(unsigned long long)off);
	if (r == -E2BIG)
		return oci_fail(ret_err, r, "more than %d entries: no archive of images",
				MAX_ENTRIES);
	if (r == 0 && !t->n)
		return oci_fail(ret_err, -EINVAL, "an empty tar");
	return r;
}

int tarball_open(int fd, uint64_t size, struct tarball **ret, char **ret_err)
{
	_cleanup_free_ struct reader *rd = sys_calloc(1, sizeof(*rd));
	struct tarball *t = sys_calloc(1, sizeof(*t));
	int r;

	if (!rd || !t) {
		free(t);
		return -ENOMEM;
	}
	rd->fd = fd;
	rd->size = size;
	r = read_all(rd, t, ret_err);
	if (r < 0) {
		tarball_free(t);
		return r;
	}
	qsort(t->entry, t->n, sizeof(t->entry[0]), by_name);
	*ret = t;
	return 0;
}

void tarball_free(struct tarball *t)
{
	size_t i;

	for (i = 0; t && i < t->n; i++) {
		free(t->entry[i].name);
		free(t->entry[i].link);
	}
	if (t)
		free(t->entry);
	free(t);
}

/* The first of that name; *ret_more: there is another that is no directory. */
static const struct tarball_entry *lookup(const struct tarball *t, const char *name, bool *ret_more)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcmp(t->entry[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == t->n || strcmp(t->entry[lo].name, name) != 0)
		return NULL;
	*ret_more = lo + 1 < t->n && !strcmp(t->entry[lo + 1].name, name) &&
		    t->entry[lo].type != '5';
	return &t->entry[lo];
}

/* Where a link leads, from the name that it has. NULL: no memory; "": out of the archive. */
static char *link_target(const struct tarball_entry *e)
{
	_cleanup_free_ char *joined = NULL;
	const char *slash = strrchr(e->name, '/'), *p;
	int depth = 0;

	if (e->type == '1')
		return clean_name(e->link);
	if (e->link[0] == '/')
		return sys_strdup("");
	for (p = e->name; *p; p++)
		depth += *p == '/';
	for (p = e->link; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			depth--;
		else if (n && !(n == 1 && p[0] == '.'))
			depth++;
		if (depth < 0)
			return sys_strdup("");
		p += n + (p[n] == '/');
	}
	if (asprintf(&joined, "%.*s/%s", slash ? (int)(slash - e->name) : 0, e->name, e->link) <
	    0) {
		joined = NULL;
		return NULL;
	}
	return clean_name(joined);
}

int tarball_find(const struct tarball *t, const char *name, const struct tarball_entry **ret)
{
	_cleanup_free_ char *at = clean_name(name);
	unsigned hops;

	for (hops = 0; at && hops < MAX_LINKS; hops++) {
		bool more;
		const struct tarball_entry *e = lookup(t, at, &more);
		char *next;

		if (!e)
			return hops ? -ELOOP : -ENOENT;
		if (more)
			return -EINVAL;
		if (e->type == '0') {
			*ret = e;
			return 0;
		}
		if (e->type != '1' && e->type != '2')
			return -EISDIR;
		next = link_target(e);
		if (next && !*next) {
			free(next);
			return -ELOOP;
		}
		free(at);
		at = next;
	}
	return at ? -ELOOP : -ENOMEM;
}
