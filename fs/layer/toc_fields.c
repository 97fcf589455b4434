/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of an entry, in either dialect: names, types and bounds of their values. One that
 * neither knows is left to the caller to skip; a known one may come once.
 */
#include "fs/layer/toc_fields.h"

#include <errno.h>
#include <string.h>

#include "lib/sys.h"

/* One set of attributes, base64: more than an index takes. */
#define MAX_TEXT (2U << 20)

static const struct {
	const char *name;
	enum field field;
} fields[] = {
	{ "name", F_NAME },
	{ "type", F_TYPE },
	{ "mode", F_MODE },
	{ "size", F_SIZE },
	{ "modtime", F_MODTIME },
	{ "offset", F_OFFSET },
	{ "endOffset", F_END },
	{ "digest", F_DIGEST },
	{ "linkName", F_LINK },
	{ "uid", F_UID },
	{ "gid", F_GID },
	{ "chunkOffset", F_CHUNK_OFFSET },
	{ "chunkSize", F_CHUNK_SIZE },
	{ "chunkDigest", F_CHUNK_DIGEST },
	{ "chunkType", F_CHUNK_TYPE },
	{ "innerOffset", F_INNER },
	{ "xattrs", F_XATTRS },
	{ "devMajor", F_MAJOR },
	{ "devMinor", F_MINOR },
};

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EBADMSG;
}

void toc_fields_begin(struct toc_fields *f)
{
	memset(&f->e, 0, sizeof(f->e));
	f->field = F_UNKNOWN;
	f->seen = 0;
	f->n_xattrs = 0;
	f->text_len = 0;
	f->name[0] = '\0';
}

void toc_fields_release(struct toc_fields *f)
{
	free(f->text);
	f->text = NULL;
}

const char *toc_fields_name(const struct toc_fields *f)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].field == f->field)
			return fields[i].name;
	}
	return NULL;
}

int toc_fields_key(struct toc_fields *f, const void *key, size_t len, const char **ret_why)
{
	f->field = F_UNKNOWN;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strlen(fields[i].name) == len && memcmp(fields[i].name, key, len) == 0)
			f->field = fields[i].field;
	}
	if (f->field == F_UNKNOWN)
		return 0;
	if (f->seen & 1U << f->field)
		return bad(ret_why, "is there twice");
	f->seen |= 1U << f->field;
	return 0;
}

static int add_text(struct toc_fields *f, size_t len, size_t *ret_at)
{
	if (len > MAX_TEXT || f->text_len > MAX_TEXT - len)
		return -E2BIG;
	if (f->text_len + len > f->text_max) {
		size_t max = 2 * (f->text_len + len);
		char *p = sys_realloc(f->text, max);

		if (p == NULL)
			return -ENOMEM;
		f->text = p;
		f->text_max = max;
	}
	*ret_at = f->text_len;
	f->text_len += len;
	return 0;
}

int toc_fields_xattr_key(struct toc_fields *f, const void *key, size_t len, const char **ret_why)
{
	size_t at;
	int r;

	if (len == 0 || len > 255 || memchr(key, 0, len) != NULL)
		return bad(ret_why, "have a name that cannot be");
	if (f->n_xattrs == TOC_MAX_XATTRS)
		return bad(ret_why, "are too many");
	r = add_text(f, len + 1, &at);
	if (r == -E2BIG)
		return bad(ret_why, "are too large");
	if (r < 0)
		return r;
	memcpy(f->text + at, key, len);
	f->text[at + len] = '\0';
	for (size_t i = 0; i < f->n_xattrs; i++) {
		if (strcmp(f->text + f->xattr_at[i][0], f->text + at) == 0)
			return bad(ret_why, "have a name twice");
	}
	f->xattr_at[f->n_xattrs][0] = at;
	return 0;
}

int toc_fields_xattr_value(struct toc_fields *f, const void *s, size_t len, const char **ret_why)
{
	ssize_t n;
	size_t at;
	int r = add_text(f, len / 4 * 3 + 3, &at);

	if (r == -E2BIG)
		return bad(ret_why, "are too large");
	if (r < 0)
		return r;
	n = toc_base64(s, len, (uint8_t *)f->text + at);
	if (n < 0)
		return bad(ret_why, "have a value that is not base64");
	f->text_len = at + (size_t)n;
	f->xattr_at[f->n_xattrs][1] = at;
	f->xattrs[f->n_xattrs].len = (size_t)n;
	f->n_xattrs++;
	return 0;
}

static int set_path(char *out, const void *s, size_t len, const char **ret, const char **ret_why)
{
	if (len >= TOC_PATH_MAX)
		return bad(ret_why, "is too long");
	if (memchr(s, 0, len) != NULL)
		return bad(ret_why, "has a NUL");
	memcpy(out, s, len);
	out[len] = '\0';
	*ret = out;
	return 0;
}

static int set_type(struct toc_fields *f, const void *s, size_t len, const char **ret_why)
{
	static const struct {
		const char *name;
		enum toc_type type;
	} types[] = {
		{ "reg", TOC_REG },
		{ "dir", TOC_DIR },
		{ "chunk", TOC_CHUNK },
		{ "symlink", TOC_SYMLINK },
		{ "hardlink", TOC_HARDLINK },
		{ "char", TOC_CHAR },
		{ "block", TOC_BLOCK },
		{ "fifo", TOC_FIFO },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strlen(types[i].name) == len && memcmp(types[i].name, s, len) == 0) {
			f->e.type = types[i].type;
			return 0;
		}
	}
	return bad(ret_why, "is none that is known");
}

static int set_digest(const void *s, size_t len, bool *ret_has, uint8_t *ret,
		      const char **ret_why)
{
	int r = len == 0 ? 0 : toc_digest(s, len, ret);

	if (r < 0)
		return bad(ret_why, "is no digest");
	*ret_has = r > 0;
	return 0;
}

int toc_fields_string(struct toc_fields *f, const void *s, size_t len, const char **ret_why)
{
	switch (f->field) {
	case F_NAME:
		return set_path(f->name, s, len, &f->e.name, ret_why);
	case F_LINK:
		return set_path(f->link, s, len, &f->e.link, ret_why);
	case F_TYPE:
		return set_type(f, s, len, ret_why);
	case F_MODTIME:
		if (toc_time(s, len, &f->e.mtime, &f->e.mtime_nsec) < 0)
			return bad(ret_why, "is no time");
		return 0;
	case F_DIGEST:
		return set_digest(s, len, &f->e.has_digest, f->e.digest, ret_why);
	case F_CHUNK_DIGEST:
		return set_digest(s, len, &f->e.has_chunk_digest, f->e.chunk_digest,
				  ret_why);
	case F_CHUNK_TYPE:
		if (len != 0 && (len != 5 || memcmp(s, "zeros", 5) != 0))
			return bad(ret_why, "is none that is known");
		f->e.zeros = len != 0;
		return 0;
	default:
		return bad(ret_why, "is a string");
	}
}

/* A number of up to @max into *ret, whose size is given. */
int toc_fields_number(struct toc_fields *f, const char *s, size_t len, const char **ret_why)
{
	uint32_t *small = NULL;
	uint64_t *large = NULL;
	uint64_t v = 0, max = INT64_MAX;

	switch (f->field) {
	case F_SIZE:
		large = &f->e.size;
		break;
	case F_OFFSET:
		large = &f->e.offset;
		break;
	case F_INNER:
		large = &f->e.inner;
		break;
	case F_END:
		large = &f->e.end;
		break;
	case F_CHUNK_OFFSET:
		large = &f->e.chunk_offset;
		break;
	case F_CHUNK_SIZE:
		large = &f->e.chunk_size;
		break;
	case F_MODE:
		small = &f->e.mode;
		break;
	case F_UID:
		small = &f->e.uid;
		break;
	case F_GID:
		small = &f->e.gid;
		break;
	case F_MAJOR:
		small = &f->e.dev_major;
		break;
	case F_MINOR:
		small = &f->e.dev_minor;
		break;
	default:
		return bad(ret_why, "is a number");
	}
	if (small != NULL)
		max = UINT32_MAX;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return bad(ret_why, "is not a whole number");
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v) || v > max)
			return bad(ret_why, "is too large");
	}
	if (small != NULL)
		*small = (uint32_t)v;
	else
		*large = v;
	return 0;
}

int toc_fields_end(struct toc_fields *f, const char **ret_why)
{
	f->field = F_UNKNOWN;
	if (f->e.type == TOC_NONE)
		return bad(ret_why, "has no type");
	if (f->e.name == NULL && f->e.type != TOC_CHUNK)
		return bad(ret_why, "has no name");
	for (size_t i = 0; i < f->n_xattrs; i++) {
		f->xattrs[i].name = f->text + f->xattr_at[i][0];
		f->xattrs[i].value = f->text + f->xattr_at[i][1];
	}
	f->e.xattrs = f->xattrs;
	f->e.n_xattrs = f->n_xattrs;
	return 0;
}
