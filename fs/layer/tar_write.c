/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a tar: ustar headers, and pax records before them where they do not suffice. */
#include "fs/layer/tar_write.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/sys.h"

enum { BLOCK = 512 };

/* A header as POSIX has it. */
struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8];
	char typeflag, linkname[100], magic[6], version[2], uname[32], gname[32];
	char devmajor[8], devminor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "header size");

struct tar_write {
	tar_sink sink;
	void *arg;
	uint64_t written, left; /* bytes; of the entry's content */
	char *pax; /* records of the entry; owned */
	size_t pax_len, pax_size;
};

static const char zeros[32 * BLOCK];

int tar_write_new(struct tar_write **ret, tar_sink sink, void *arg)
{
	struct tar_write *w = sys_calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->sink = sink;
	w->arg = arg;
	*ret = w;
	return 0;
}

void tar_write_free(struct tar_write *w)
{
	if (!w)
		return;
	free(w->pax);
	free(w);
}

uint64_t tar_write_offset(const struct tar_write *w)
{
	return w->written;
}

static int emit(struct tar_write *w, const void *data, size_t size)
{
	int r = size ? w->sink(w->arg, data, size) : 0;

	if (r < 0)
		return r;
	w->written += size;
	return 0;
}

static int pad(struct tar_write *w)
{
	return emit(w, zeros, -w->written % BLOCK);
}

/* Digits to the field's width but one, which ends it. What does not fit has a record. */
static void octal(char *field, size_t size, uint64_t value)
{
	if (value >> (3 * (size - 1)))
		value = 0;
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
	field[size - 1] = 0;
}

static bool fits(size_t size, uint64_t value)
{
	return !(value >> (3 * (size - 1)));
}

/* "LEN KEY=VALUE\n", where LEN counts itself. */
static int record2(struct tar_write *w, const char *prefix, const char *key, size_t key_len,
		   const void *value, size_t value_len)
{
	size_t body = strlen(prefix) + key_len + value_len + 3; /* " ", "=" and "\n" */
	size_t len = body + 1;
	char num[24];
	char *p;

	for (;;) {
		size_t n = (size_t)snprintf(num, sizeof(num), "%zu", len);

		if (body + n == len)
			break;
		len = body + n;
	}
	if (w->pax_len + len > w->pax_size) {
		size_t need = w->pax_len + len;
		size_t size = w->pax_size * 2 > need ? w->pax_size * 2 : need;

		p = sys_realloc(w->pax, size);
		if (!p)
			return -ENOMEM;
		w->pax = p;
		w->pax_size = size;
	}
	p = w->pax + w->pax_len;
	p += snprintf(p, len, "%s ", num);
	p = mempcpy(p, prefix, strlen(prefix));
	p = mempcpy(p, key, key_len);
	*p++ = '=';
	p = mempcpy(p, value, value_len);
	*p = '\n';
	w->pax_len += len;
	return 0;
}

static int record(struct tar_write *w, const char *key, const char *value)
{
	return record2(w, "", key, strlen(key), value, strlen(value));
}

static int record_number(struct tar_write *w, const char *key, uint64_t value)
{
	char num[24];

	(void)snprintf(num, sizeof(num), "%llu", (unsigned long long)value);
	return record(w, key, num);
}

/* Seconds with a fraction without trailing zeros; -0.5 is second -1 and half of one. */
static int record_time(struct tar_write *w, int64_t sec, uint32_t nsec)
{
	char num[40];
	int n;

	if (sec < 0 && nsec)
		n = snprintf(num, sizeof(num), "-%llu.%09u", (unsigned long long)-(sec + 1),
			     1000000000 - nsec);
	else
		n = snprintf(num, sizeof(num), "%lld.%09u", (long long)sec, nsec);
	while (num[n - 1] == '0')
		num[--n] = 0;
	if (num[n - 1] == '.')
		num[--n] = 0;
	return record(w, "mtime", num);
}

static bool plain(const char *s)
{
	for (; *s; s++)
		if (*s & 0x80)
			return false;
	return true;
}

static int by_name(const void *pa, const void *pb)
{
	const struct tar_xattr *a = pa, *b = pb;
	size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
	int r = memcmp(a->name, b->name, n);

	return r ? r : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static int put_header(struct tar_write *w, struct ustar *h)
{
	unsigned sum = 0;

	memset(h->chksum, ' ', sizeof(h->chksum));
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += ((const unsigned char *)h)[i];
	(void)snprintf(h->chksum, 7, "%06o", sum);
	return emit(w, h, sizeof(*h));
}

/* Copies what fits, zero-filled: the field need not be terminated. */
static void field(char *to, size_t size, const char *s)
{
	size_t n = strnlen(s, size);

	memcpy(to, s, n);
	memset(to + n, 0, size - n);
}

/* Records ascend by key in the order of bytes: SCHILY.*, gid, linkpath, mtime, path, size, uid. */
static int collect(struct tar_write *w, const struct tar_entry *e, const char *path,
		   const char *link, uint64_t size)
{
	int r = 0;

	w->pax_len = 0;
	if (e->n_xattrs)
		qsort(e->xattrs, e->n_xattrs, sizeof(*e->xattrs), by_name);
	for (size_t i = 0; i < e->n_xattrs && r == 0; i++) {
		const struct tar_xattr *x = &e->xattrs[i];

		if (memchr(x->name, '=', x->name_len) || memchr(x->name, 0, x->name_len))
			return -EINVAL;
		r = record2(w, "SCHILY.xattr.", x->name, x->name_len, x->value, x->value_len);
	}
	if (r == 0 && !fits(sizeof(((struct ustar *)0)->gid), e->gid))
		r = record_number(w, "gid", e->gid);
	if (r == 0 && (strlen(link) > 100 || !plain(link)))
		r = record(w, "linkpath", link);
	if (r == 0 && (e->mtime_nsec || e->mtime < 0 || !fits(12, (uint64_t)e->mtime)))
		r = record_time(w, e->mtime, e->mtime_nsec);
	if (r == 0 && (strlen(path) > 100 || !plain(path)))
		r = record(w, "path", path);
	if (r == 0 && !fits(12, size))
		r = record_number(w, "size", size);
	if (r == 0 && !fits(8, e->uid))
		r = record_number(w, "uid", e->uid);
	return r;
}

static int put_pax(struct tar_write *w, const char *path)
{
	struct ustar h = { .typeflag = 'x' };
	const char *base = path + strlen(path);
	char name[100];
	int r;

	if (!w->pax_len)
		return 0;
	while (base > path && (base[-1] != '/' || !*base))
		base--;
	(void)snprintf(name, sizeof(name), "PaxHeaders/%.80s", base);
	field(h.name, sizeof(h.name), name);
	octal(h.mode, sizeof(h.mode), 0644);
	octal(h.uid, sizeof(h.uid), 0);
	octal(h.gid, sizeof(h.gid), 0);
	octal(h.size, sizeof(h.size), w->pax_len);
	octal(h.mtime, sizeof(h.mtime), 0);
	octal(h.devmajor, sizeof(h.devmajor), 0);
	octal(h.devminor, sizeof(h.devminor), 0);
	r = put_header(w, &h);
	if (r == 0)
		r = emit(w, w->pax, w->pax_len);
	return r < 0 ? r : pad(w);
}

static char type_of(const struct tar_entry *e)
{
	if (e->link)
		return '1';
	switch (e->mode & S_IFMT) {
	case S_IFREG:
		return '0';
	case S_IFLNK:
		return '2';
	case S_IFCHR:
		return '3';
	case S_IFBLK:
		return '4';
	case S_IFDIR:
		return '5';
	case S_IFIFO:
		return '6';
	default:
		return 0;
	}
}

int tar_write_entry(struct tar_write *w, const struct tar_entry *e)
{
	struct ustar h = { .typeflag = type_of(e) };
	const char *link = e->link ? e->link : h.typeflag == '2' ? e->target :
								   "";
	uint64_t size = h.typeflag == '0' ? e->size : 0;
	size_t len = strlen(e->path);
	char *path;
	bool device;
	int r;

	if (!h.typeflag || w->left || !link || !len || w->written % BLOCK)
		return -EINVAL;
	path = sys_malloc(len + 2);
	if (!path)
		return -ENOMEM;
	memcpy(path, e->path, len + 1);
	if (h.typeflag == '5' && path[len - 1] != '/')
		memcpy(path + len, "/", 2);
	field(h.name, sizeof(h.name), path);
	field(h.linkname, sizeof(h.linkname), link);
	octal(h.mode, sizeof(h.mode), e->mode & 07777);
	octal(h.uid, sizeof(h.uid), e->uid);
	octal(h.gid, sizeof(h.gid), e->gid);
	octal(h.size, sizeof(h.size), size);
	octal(h.mtime, sizeof(h.mtime), e->mtime < 0 ? 0 : (uint64_t)e->mtime);
	device = h.typeflag == '3' || h.typeflag == '4';
	octal(h.devmajor, sizeof(h.devmajor), device ? e->rdev_major : 0);
	octal(h.devminor, sizeof(h.devminor), device ? e->rdev_minor : 0);
	r = collect(w, e, path, link, size);
	if (r == 0)
		r = put_pax(w, path);
	if (r == 0)
		r = put_header(w, &h);
	if (r == 0)
		w->left = size;
	free(path);
	return r;
}

int tar_write_data(struct tar_write *w, const void *data, size_t size)
{
	int r;

	if (size > w->left)
		return -EINVAL;
	r = emit(w, data, size);
	if (r < 0)
		return r;
	w->left -= size;
	return w->left ? 0 : pad(w);
}

int tar_write_zeros(struct tar_write *w, uint64_t size)
{
	int r = 0;

	while (size && r == 0) {
		size_t n = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);

		r = tar_write_data(w, zeros, n);
		size -= n;
	}
	return r;
}

int tar_write_end(struct tar_write *w)
{
	if (w->left)
		return -EINVAL;
	return emit(w, zeros, 2 * BLOCK);
}
