/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of a TOC, read as it streams by: one entry is in memory at a time.
 *
 * Both dialects are one here; a field that neither knows is skipped, whatever it holds. A
 * known one must have its type, and come once. Memory is bounded by the limits
 * on strings below and by yajl's copy of a string that lies across two pieces.
 */
#include "fs/layer/toc_fields.h"

#include <errno.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

#define MAX_DEPTH 64

enum where {
	W_START,
	W_TOP,
	W_ENTRIES,
	W_ENTRY,
	W_XATTRS,
	W_END,
};
enum top {
	T_UNKNOWN,
	T_VERSION,
	T_ENTRIES,
	T_SPLIT,
};

struct toc_json {
	yajl_handle y; /* owned */
	toc_entry_fn fn;
	void *arg;

	enum where where;
	unsigned skip; /* depth within a value of no interest */
	enum top top;
	bool seen_version, seen_entries, has_split;
	uint8_t split[TOC_SHA256];

	struct toc_fields f;
	unsigned long long n; /* entries that were seen */

	int result;
	char *error; /* owned */
};

/* Stops the parse; yajl wants 0 for that. */
static int stop(struct toc_json *j, int r)
{
	j->result = r;
	return 0;
}

static int bad(struct toc_json *j, const char *what)
{
	const char *key = j->where == W_XATTRS ? "xattrs" : toc_fields_name(&j->f);

	if (j->where == W_ENTRY || j->where == W_XATTRS)
		return stop(j, toc_fail(&j->error, -EBADMSG, "entry %llu, \"%s\": %s%s%s", j->n,
					j->f.name, key ? key : "", key ? " " : "", what));
	return stop(j, toc_fail(&j->error, -EBADMSG, "the TOC's JSON: %s", what));
}

/* What yajl is told of a result of toc_fields_X(). */
static int told(struct toc_json *j, int r, const char **why)
{
	if (r == 0)
		return 1;
	return r == -EBADMSG ? bad(j, *why) : stop(j, r);
}

/* The value of a field that nobody knows: true, and inner containers are counted. */
static bool skipped(struct toc_json *j, int depth)
{
	if (j->skip > 0) {
		j->skip += (unsigned)depth;
		return true;
	}
	if ((j->where == W_TOP && j->top == T_UNKNOWN) ||
	    (j->where == W_ENTRY && j->f.field == F_UNKNOWN)) {
		j->skip += depth > 0 ? (unsigned)depth : 0;
		return true;
	}
	return false;
}

static int end_entry(struct toc_json *j)
{
	const char *why = NULL;
	int r = toc_fields_end(&j->f, &why);

	if (r < 0)
		return told(j, r, &why);
	r = j->fn(j->arg, &j->f.e, &j->error);
	if (r != 0)
		return stop(j, r);
	j->n++;
	j->where = W_ENTRIES;
	return 1;
}

/* --- what yajl calls --- */

static int on_null(void *ctx)
{
	struct toc_json *j = ctx;

	if (skipped(j, 0) || j->where == W_ENTRY)
		return 1; /* as if the field were not there */
	if (j->where == W_TOP && j->top == T_ENTRIES)
		return 1;
	return bad(j, "null where it cannot be");
}

static int on_boolean(void *ctx, int v)
{
	(void)v;
	return skipped(ctx, 0) ? 1 : bad(ctx, "is true or false");
}

static int on_number(void *ctx, const char *s, size_t len)
{
	struct toc_json *j = ctx;
	const char *why = NULL;

	if (skipped(j, 0))
		return 1;
	if (j->where == W_ENTRY)
		return told(j, toc_fields_number(&j->f, s, len, &why), &why);
	if (j->where == W_TOP && j->top == T_VERSION) {
		if (len == 1 && *s == '1')
			return 1;
		return bad(j, "its version is not 1");
	}
	return bad(j, "a number where none can be");
}

static int on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct toc_json *j = ctx;
	const char *why = NULL;
	int r;

	if (skipped(j, 0))
		return 1;
	if (j->where == W_XATTRS)
		return told(j, toc_fields_xattr_value(&j->f, s, len, &why), &why);
	if (j->where == W_ENTRY)
		return told(j, toc_fields_string(&j->f, s, len, &why), &why);
	if (j->where == W_TOP && j->top == T_SPLIT) {
		r = len == 0 ? 0 : toc_digest((const char *)s, len, j->split);
		if (r < 0)
			return bad(j, "tarSplitDigest is no digest");
		j->has_split = r > 0;
		return 1;
	}
	return bad(j, "a string where none can be");
}

static int on_start_map(void *ctx)
{
	struct toc_json *j = ctx;

	if (skipped(j, 1))
		return j->skip <= MAX_DEPTH ? 1 : bad(j, "nested too deep");
	if (j->where == W_START) {
		j->where = W_TOP;
		return 1;
	}
	if (j->where == W_ENTRIES) {
		toc_fields_begin(&j->f);
		j->where = W_ENTRY;
		return 1;
	}
	if (j->where == W_ENTRY && j->f.field == F_XATTRS) {
		j->where = W_XATTRS;
		return 1;
	}
	return bad(j, "an object where none can be");
}

static int on_key(void *ctx, const unsigned char *key, size_t len)
{
	struct toc_json *j = ctx;
	const char *why = NULL;

	if (j->skip > 0)
		return 1;
	if (j->where == W_XATTRS)
		return told(j, toc_fields_xattr_key(&j->f, key, len, &why), &why);
	if (j->where == W_ENTRY)
		return told(j, toc_fields_key(&j->f, key, len, &why), &why);
	j->top = T_UNKNOWN;
	if (len == 7 && memcmp(key, "version", 7) == 0) {
		if (j->seen_version)
			return bad(j, "two versions");
		j->seen_version = true;
		j->top = T_VERSION;
	} else if (len == 7 && memcmp(key, "entries", 7) == 0) {
		if (j->seen_entries)
			return bad(j, "entries twice");
		j->seen_entries = true;
		j->top = T_ENTRIES;
	} else if (len == 14 && memcmp(key, "tarSplitDigest", 14) == 0) {
		if (j->has_split)
			return bad(j, "tarSplitDigest twice");
		j->top = T_SPLIT;
	}
	return 1;
}

static int on_end_map(void *ctx)
{
	struct toc_json *j = ctx;

	if (j->skip > 0) {
		j->skip--;
		return 1;
	}
	if (j->where == W_XATTRS) {
		j->where = W_ENTRY;
		return 1;
	}
	if (j->where == W_ENTRY)
		return end_entry(j);
	j->where = W_END;
	return 1;
}

static int on_start_array(void *ctx)
{
	struct toc_json *j = ctx;

	if (skipped(j, 1))
		return j->skip <= MAX_DEPTH ? 1 : bad(j, "nested too deep");
	if (j->where == W_TOP && j->top == T_ENTRIES) {
		j->where = W_ENTRIES;
		return 1;
	}
	return bad(j, "an array where none can be");
}

static int on_end_array(void *ctx)
{
	struct toc_json *j = ctx;

	if (j->skip > 0)
		j->skip--;
	else
		j->where = W_TOP;
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_start_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end_map,
	.yajl_start_array = on_start_array,
	.yajl_end_array = on_end_array,
};

int toc_json_new(toc_entry_fn fn, void *arg, struct toc_json **ret)
{
	struct toc_json *j = sys_calloc(1, sizeof(*j));

	if (j == NULL)
		return -ENOMEM;
	j->fn = fn;
	j->arg = arg;
	/* yajl does not check its allocations: none of them may be made to fail. */
	j->y = yajl_alloc(&callbacks, NULL, j);
	if (j->y == NULL) {
		free(j);
		return -ENOMEM;
	}
	*ret = j;
	return 0;
}

void toc_json_free(struct toc_json *j)
{
	if (j == NULL)
		return;
	yajl_free(j->y);
	toc_fields_release(&j->f);
	free(j->error);
	free(j);
}

static int outcome(struct toc_json *j, yajl_status s, char **ret_err)
{
	if (s == yajl_status_ok)
		return 0;
	if (s == yajl_status_client_canceled) {
		if (*ret_err == NULL)
			*ret_err = steal_ptr(&j->error);
		return j->result;
	}
	unsigned char *why = yajl_get_error(j->y, 0, NULL, 0);

	(void)toc_fail(ret_err, -EBADMSG, "the TOC is no JSON after entry %llu: %.*s", j->n,
		       why ? (int)strcspn((const char *)why, "\n") : 0,
		       why ? (const char *)why : "");
	yajl_free_error(j->y, why);
	return -EBADMSG;
}

int toc_json_feed(struct toc_json *j, const void *data, size_t size, char **ret_err)
{
	return outcome(j, yajl_parse(j->y, data, size), ret_err);
}

int toc_json_end(struct toc_json *j, bool *ret_split, uint8_t split[TOC_SHA256],
		 char **ret_err)
{
	int r = outcome(j, yajl_complete_parse(j->y), ret_err);

	if (r < 0)
		return r;
	if (j->where != W_END || !j->seen_version || !j->seen_entries)
		return toc_fail(ret_err, -EBADMSG, "the TOC has no version or no entries");
	*ret_split = j->has_split;
	memcpy(split, j->split, TOC_SHA256);
	return 0;
}
