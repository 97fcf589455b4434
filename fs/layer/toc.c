/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index from a TOC, start to end: find it, read it once from the blob to the builder, check
 * digests, lay out. See toc_i.h for the parts.
 *
 * Two conventions of what vouches for a TOC: containers/storage hashes it as it is stored,
 * stargz-snapshotter as JSON. Of those that the image names, all must hold.
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

#define PIECE 65536

/* What reading the TOC once found out. */
struct reading {
	uint8_t json[TOC_SHA256], stored[TOC_SHA256];
	bool has_split;
	uint8_t split[TOC_SHA256];
};

static enum toc_codec toc_codec(const struct toc_place *p, const struct source *s)
{
	if (p->kind == INDEX_ZSTD_CHUNKED)
		return TOC_ZSTD;
	/* One that is kept outside of the blob is a layer in its own right, of any kind. */
	if (p->external) {
		switch (source_format(s)) {
		case SOURCE_ZSTD:
			return TOC_ZSTD;
		case SOURCE_TAR:
			return TOC_RAW;
		default:
			break;
		}
	}
	return TOC_GZIP;
}

/* @size bytes of JSON, or all there are. */
static int feed(struct toc_stream *st, struct toc_json *j, bool bounded, uint64_t size,
		EVP_MD_CTX *md, uint64_t *ret_size, char **ret_err)
{
	_cleanup_free_ uint8_t *buf = sys_malloc(PIECE);
	uint64_t done = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (!bounded || done < size) {
		size_t want = bounded && size - done < PIECE ? (size_t)(size - done) : PIECE;
		ssize_t n = toc_stream_read(st, buf, want, ret_err);
		int r;

		if (n < 0)
			return (int)n;
		if (EVP_DigestUpdate(md, buf, (size_t)n) != 1)
			return -ENOMEM;
		r = toc_json_feed(j, buf, (size_t)n, ret_err);
		if (r != 0)
			return r;
		done += (uint64_t)n;
		if ((size_t)n < want) {
			if (bounded)
				return toc_fail(ret_err, -EBADMSG, "the TOC is cut short");
			break;
		}
	}
	if (done > TOC_MAX)
		return toc_fail(ret_err, -EBADMSG, "the TOC is larger than %u bytes", TOC_MAX);
	*ret_size = done;
	return 0;
}

static int read_parts(const struct toc_place *p, struct toc_stream *st, struct toc_json *j,
		      EVP_MD_CTX *md, struct reading *ret, char **ret_err)
{
	const bool tar = p->kind == INDEX_ESTARGZ;
	uint64_t size = 0;
	int r;

	if (tar) {
		r = estargz_enter(st, &size, ret_err);
		if (r < 0)
			return r;
	}
	r = feed(st, j, tar, size, md, &size, ret_err);
	if (r != 0)
		return r;
	if (p->raw != 0 && p->raw != size)
		return toc_fail(ret_err, -EBADMSG, "the TOC has %llu bytes, not %llu as is said",
				(unsigned long long)size, (unsigned long long)p->raw);
	r = toc_json_end(j, &ret->has_split, ret->split, ret_err);
	if (r < 0)
		return r;
	if (EVP_DigestFinal_ex(md, ret->json, NULL) != 1)
		return -ENOMEM;
	return tar ? 0 : toc_stream_stored(st, ret->stored, ret_err);
}

/* Reads the TOC at @p, every entry goes to @fn. */
static int read_toc(const struct source *s, const struct toc_place *p, toc_entry_fn fn, void *arg,
		    struct reading *ret, char **ret_err)
{
	struct toc_stream *st = NULL;
	struct toc_json *j = NULL;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int r = -ENOMEM;

	if (md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1)
		r = toc_json_new(fn, arg, &j);
	if (r == 0)
		r = toc_stream_new(s, p->off, p->size, toc_codec(p, s), &st);
	if (r == 0)
		r = read_parts(p, st, j, md, ret, ret_err);
	toc_stream_free(st);
	toc_json_free(j);
	EVP_MD_CTX_free(md);
	return r;
}

/* --- the name of an entry whose number is known: the TOC is read again --- */

struct seek {
	uint32_t n, at;
	char name[TOC_PATH_MAX];
};

static int seek_entry(void *arg, const struct toc_entry *e, char **ret_err)
{
	struct seek *k = arg;

	(void)ret_err;
	if (e->type != TOC_CHUNK)
		(void)snprintf(k->name, sizeof(k->name), "%s", e->name);
	return k->at++ == k->n;
}

static int fail_entry(const struct source *s, const struct toc_place *p, uint32_t n,
		      const char *why, char **ret_err)
{
	struct seek k = { .n = n };
	_cleanup_free_ char *ignored = NULL;
	struct reading rd;

	(void)read_toc(s, p, seek_entry, &k, &rd, &ignored);
	return toc_fail(ret_err, -EBADMSG, "entry %u, \"%s\": %s", n, k.name, why);
}

/* --- digests --- */

/* 1: @said is what was found; 0: nothing that we can check is said. */
static int vouch(const char *said, const uint8_t found[TOC_SHA256], char **ret_err)
{
	uint8_t want[TOC_SHA256];
	int r;

	if (said == NULL)
		return 0;
	r = toc_digest(said, strlen(said), want);
	if (r < 0)
		return toc_fail(ret_err, -EBADMSG, "the annotation of the TOC's digest is damaged");
	if (r == 0)
		return toc_fail(ret_err, -EBADMSG, "the TOC's digest is of an unknown algorithm");
	if (memcmp(want, found, TOC_SHA256) != 0)
		return toc_fail(ret_err, -EBADMSG, "the TOC is not the one that the image names: "
						   "its digest differs");
	return 1;
}

static int verify(const struct toc_place *p, const struct toc_hint *hint,
		  const struct reading *rd, bool *ret_verified, char **ret_err)
{
	int json = vouch(hint->stargz_digest, rd->json, ret_err), stored = 0;

	if (json < 0)
		return json;
	if (p->kind == INDEX_ZSTD_CHUNKED)
		stored = vouch(hint->checksum, rd->stored, ret_err);
	if (stored < 0)
		return stored;
	*ret_verified = json > 0 || stored > 0;
	return 0;
}

static int load(const struct source *toc, const struct toc_place *p, const struct toc_hint *hint,
		struct toc_load *l, struct reading *rd, bool *ret_verified, char **ret_err)
{
	const char *why;
	uint32_t entry;
	int r = read_toc(toc, p, toc_load_entry, l, rd, ret_err);

	if (r == 0)
		r = toc_load_end(l, ret_err);
	if (r == 0)
		r = verify(p, hint, rd, ret_verified, ret_err);
	if (r < 0)
		return r;
	if (p->split_size > 0 && rd->has_split)
		r = toc_split_check(toc, p, rd->split, &l->sums, ret_err);
	if (r < 0)
		return r;
	r = toc_layout(l, &why, &entry);
	if (r == -EBADMSG && why != NULL)
		return fail_entry(toc, p, entry, why, ret_err);
	return r;
}

static int find(const struct source *s, const struct toc_hint *hint, struct toc_place *ret,
		char **ret_err)
{
	int r = zstdchunked_find(s, hint, ret, ret_err);

	if (r == 0)
		r = estargz_find(s, ret, ret_err);
	if (r == 0)
		return -ENODATA;
	if (r > 0 && ret->external) {
		if (hint->external == NULL)
			return toc_fail(ret_err, -ENODATA, "its TOC is kept elsewhere");
		ret->off = 0;
		ret->size = hint->external->size;
	}
	return r;
}

int toc_index(const struct source *s, const struct toc_hint *hint, struct index_build *b,
	      struct index_info *ret_info, bool *ret_verified, char **ret_err)
{
	static const struct toc_hint none;
	_cleanup_free_ char *why = NULL;
	struct toc_load l = { 0 };
	struct toc_place p;
	struct reading rd = { 0 };
	int r;

	*ret_verified = false;
	if (hint == NULL)
		hint = &none;
	r = find(s, hint, &p, &why);
	if (r > 0)
		r = toc_load_init(&l, b);
	if (r == 0) {
		l.codec = p.kind == INDEX_ESTARGZ ? INDEX_GZIP : INDEX_ZSTD;
		l.data_end = p.data_end;
		l.hide_landmarks = p.stargz;
		l.want_sums = p.split_size > 0;
		r = load(p.external ? hint->external : s, &p, hint, &l, &rd, ret_verified,
			 &why);
	}
	toc_load_release(&l);
	if (r < 0) {
		if (why != NULL)
			(void)toc_fail(ret_err, r, "%s: %s", s->name ? s->name : "blob", why);
		return r;
	}
	ret_info->kind = p.kind;
	/* As the image names it, or would. */
	memcpy(ret_info->toc,
	       p.stargz && (hint->checksum == NULL || hint->stargz_digest != NULL) ? rd.json :
										     rd.stored,
	       TOC_SHA256);
	return 0;
}
