/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing eStargz, and stargz-snapshotter's zstd:chunked: the tar is written anew, entry by entry,
 * with a landmark between what comes first and the rest. A member begins with each piece of
 * content, and holds the padding and the headers behind it as well.
 */
#include "fs/layer/toc_out.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/layer/tar_read.h"
#include "fs/layer/toc_order.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

#define CHUNK (4U << 20)
#define BLOCK_SIZE (256U << 10)
#define TOC_NAME "stargz.index.json"

/* A chunk of the file that is being written. */
struct piece {
	uint64_t offset;
	uint8_t sha256[32];
};

struct writer {
	struct toc_job *j;
	uint64_t chunk; /* bytes */
	struct tar_write *out; /* owned */
	struct toc_order order;
	struct sha256 *whole, *part; /* owned */
	uint64_t size, done, in_chunk; /* of the file */
	struct piece *pieces; /* owned */
	size_t n_pieces, max_pieces;
	uint64_t files;

	/* what tar_read is fed with */
	size_t at, end; /* ranges */
	uint64_t pos; /* in range @at */
	bool ended;
	uint64_t consumed;
	uint8_t *block; /* owned */
};

static int sink(void *arg, const void *p, size_t len)
{
	struct writer *w = arg;

	return members_put(w->j->m, p, len);
}

/* The entries of w->order from @at to @end as a tar of their own. */
static int next_block(void *arg, const uint8_t **ret, size_t *ret_len, char **ret_err)
{
	struct writer *w = arg;
	const struct toc_range *x;
	uint64_t left;
	ssize_t n;

	(void)ret_err;
	if (w->at == w->end) {
		if (w->ended)
			return 0;
		w->ended = true;
		memset(w->block, 0, 1024);
		*ret = w->block;
		*ret_len = 1024;
		return 1;
	}
	x = &w->order.ranges[w->at];
	left = x->end - x->off - w->pos;
	n = source_pread(w->j->tar, w->block, left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE,
			 x->off + w->pos);
	if (n < 0)
		return (int)n;
	/* The last padding of a tar may be missing. */
	if (n == 0 || x->off + w->pos + (uint64_t)n == w->j->tar->size)
		left = (uint64_t)n;
	w->pos += (uint64_t)n;
	w->consumed += (uint64_t)n;
	if ((uint64_t)n == left) {
		w->at++;
		w->pos = 0;
	}
	*ret = w->block;
	*ret_len = (size_t)n;
	if (n == 0)
		return next_block(arg, ret, ret_len, ret_err);
	n = toc_progress(w->j, w->consumed, w->files);
	return n != 0 ? (n < 0 ? (int)n : -EINTR) : 1;
}

/* --- content --- */

static int begin_piece(struct writer *w)
{
	uint64_t off;
	int r = members_cut(w->j->m, &off);

	if (r < 0)
		return r;
	if (w->n_pieces == w->max_pieces) {
		size_t max = w->max_pieces ? 2 * w->max_pieces : 64;
		struct piece *p = sys_realloc(w->pieces, max * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		w->pieces = p;
		w->max_pieces = max;
	}
	w->pieces[w->n_pieces++].offset = off;
	w->in_chunk = 0;
	return 0;
}

static int add_content(struct writer *w, const uint8_t *p, uint64_t len)
{
	static const uint8_t zeros[65536];

	while (len > 0) {
		uint64_t n;
		int r = w->done % w->chunk == 0 ? begin_piece(w) : 0;

		if (r < 0)
			return r;
		n = w->chunk - w->in_chunk;
		n = n < len ? n : len;
		if (p == NULL)
			n = n < sizeof(zeros) ? n : sizeof(zeros);
		r = sha256_update(w->whole, p ? p : zeros, n);
		if (r == 0)
			r = sha256_update(w->part, p ? p : zeros, n);
		w->done += n;
		w->in_chunk += n;
		if (r == 0 && (w->in_chunk == w->chunk || w->done == w->size))
			r = sha256_final(w->part, w->pieces[w->n_pieces - 1].sha256);
		if (r == 0)
			r = tar_write_data(w->out, p ? p : zeros, n);
		if (r < 0)
			return r;
		p = p ? p + n : NULL;
		len -= n;
	}
	return 0;
}

/* Content of the entry that tar_read is at: pieces, and holes between them. */
static int copy_content(struct writer *w, struct tar_read *in, uint64_t size, char **ret_err)
{
	struct tar_piece p;
	int r;

	w->size = size;
	w->done = 0;
	w->n_pieces = 0;
	while ((r = tar_read_data(in, &p, ret_err)) > 0) {
		if (p.off < w->done || p.off > size || p.len > size - p.off)
			return -EINVAL;
		r = add_content(w, NULL, p.off - w->done);
		if (r == 0)
			r = add_content(w, p.data, p.len);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : add_content(w, NULL, size - w->done);
}

/* --- the TOC --- */

static const char *type_name(const struct tar_entry *e)
{
	if (e->link != NULL)
		return "hardlink";
	switch (e->mode & S_IFMT) {
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	case S_IFIFO:
		return "fifo";
	default:
		return "reg";
	}
}

static int toc_entry(struct writer *w, const struct tar_entry *e)
{
	struct toc_text *t = &w->j->toc;
	const bool reg = e->link == NULL && S_ISREG(e->mode);
	const bool dev = e->link == NULL && (S_ISCHR(e->mode) || S_ISBLK(e->mode));
	char name[TOC_PATH_MAX + 2];
	uint8_t sum[32];
	int r;

	(void)snprintf(name, sizeof(name), "%s%s", e->path,
		       e->link == NULL && S_ISDIR(e->mode) ? "/" : "");
	if ((r = toc_text_printf(t, "%s{\"type\":\"%s\"", w->files == 1 ? "" : ",", type_name(e))) <
		    0 ||
	    (r = toc_text_string(t, "name", name)) < 0 ||
	    (r = toc_text_number(t, "size", reg ? e->size : 0)) < 0 ||
	    (r = toc_text_time(t, "modtime", e->mtime, 0)) < 0 ||
	    (r = toc_text_string(t, "linkName", e->link ? e->link : e->target)) < 0 ||
	    (r = toc_text_number(t, "mode", e->mode & 07777)) < 0 ||
	    (r = toc_text_number(t, "uid", e->uid)) < 0 ||
	    (r = toc_text_number(t, "gid", e->gid)) < 0 ||
	    (r = toc_text_number(t, "devMajor", dev ? e->rdev_major : 0)) < 0 ||
	    (r = toc_text_number(t, "devMinor", dev ? e->rdev_minor : 0)) < 0 ||
	    (r = toc_text_xattrs(t, e->xattrs, e->n_xattrs)) < 0)
		return r;
	if (reg && e->size > 0) {
		r = sha256_final(w->whole, sum);
		if (r == 0)
			r = toc_text_digest(t, "digest", sum);
	}
	for (size_t i = 0; i < w->n_pieces && r == 0 && reg && e->size > 0; i++) {
		if (i > 0 && (r = toc_text_printf(t, "},{\"type\":\"chunk\"")) == 0 &&
		    (r = toc_text_string(t, "name", name)) == 0)
			r = toc_text_number(t, "chunkOffset", i * w->chunk);
		if (r == 0)
			r = toc_text_number(t, "offset", w->pieces[i].offset);
		if (r == 0 && i + 1 < w->n_pieces)
			r = toc_text_number(t, "chunkSize", w->chunk);
		if (r == 0)
			r = toc_text_digest(t, "chunkDigest", w->pieces[i].sha256);
	}
	return r < 0 ? r : toc_text_add(t, "}", 1);
}

/* --- entries --- */

#define MAX_XATTRS 1000

static void free_xattrs(struct tar_entry *e)
{
	for (size_t i = 0; i < e->n_xattrs; i++)
		free((void *)(uintptr_t)e->xattrs[i].name);
	free(e->xattrs);
}

/* Attributes into @e, copied: each is one allocation of name and value. */
static int read_xattrs(struct tar_read *in, struct tar_entry *e, char **ret_err)
{
	struct tar_item_xattr x;
	int r;

	while ((r = tar_read_xattr(in, &x, ret_err)) > 0) {
		size_t len = strlen(x.name);
		char *p = sys_malloc(len + 1 + x.len);
		struct tar_xattr *all = sys_realloc(e->xattrs, (e->n_xattrs + 1) * sizeof(*all));

		if (all != NULL)
			e->xattrs = all;
		if (p == NULL || all == NULL || e->n_xattrs == MAX_XATTRS) {
			free(p);
			return p == NULL || all == NULL ? -ENOMEM : -E2BIG;
		}
		memcpy(p, x.name, len + 1);
		if (x.len > 0)
			memcpy(p + len + 1, x.value, x.len);
		all[e->n_xattrs++] = (struct tar_xattr){ p, len, p + len + 1, x.len };
	}
	return r;
}

static int write_entry(struct writer *w, struct tar_read *in, struct tar_entry *e, char **ret_err)
{
	int r = read_xattrs(in, e, ret_err);

	w->files++;
	w->n_pieces = 0;
	if (r == 0)
		r = tar_write_entry(w->out, e);
	if (r == 0 && e->link == NULL && S_ISREG(e->mode))
		r = copy_content(w, in, e->size, ret_err);
	if (r == 0)
		r = toc_entry(w, e);
	if (r == -EILSEQ)
		return toc_fail(ret_err, -EPROTONOSUPPORT,
				"\"%s\": a name that is no UTF-8: a TOC cannot hold it", e->path);
	if (r == -ERANGE)
		return toc_fail(ret_err, -EPROTONOSUPPORT,
				"\"%s\": its time is beyond the year 9999", e->path);
	if (r == -EINVAL)
		return toc_fail(ret_err, r, "\"%s\": it cannot be written to a tar again", e->path);
	return r;
}

/* The entries of ranges [from, to). */
static int write_entries(struct writer *w, size_t from, size_t to, char **ret_err)
{
	struct tar_read *in;
	struct tar_item it;
	int r;

	w->at = from;
	w->end = to;
	w->ended = false;
	if (from == to)
		return 0;
	r = tar_read_new(next_block, w, &in);
	if (r < 0)
		return r;
	while ((r = tar_read_next(in, &it, ret_err)) > 0) {
		struct tar_entry e = {
			.path = it.path,
			.link = it.link,
			.target = it.e.target,
			.mode = it.e.mode,
			.uid = it.e.uid,
			.gid = it.e.gid,
			.size = it.e.size,
			.mtime = it.e.mtime,
			.mtime_nsec = it.e.mtime_nsec,
			.rdev_major = it.e.rdev_major,
			.rdev_minor = it.e.rdev_minor,
		};

		r = write_entry(w, in, &e, ret_err);
		free_xattrs(&e);
		if (r < 0)
			break;
	}
	tar_read_free(in);
	return r;
}

static int write_landmark(struct writer *w)
{
	const struct tar_entry e = {
		.path = w->order.n_first > 0 ? ".prefetch.landmark" : ".no.prefetch.landmark",
		.mode = S_IFREG | 0644,
		.size = 1,
	};
	int r = tar_write_entry(w->out, &e);

	w->files++;
	w->size = 1;
	w->done = 0;
	w->n_pieces = 0;
	if (r == 0)
		r = add_content(w, (const uint8_t *)"\x0f", 1);
	return r < 0 ? r : toc_entry(w, &e);
}

/* --- the end --- */

static int finish_gzip(struct writer *w)
{
	const struct tar_entry e = {
		.path = TOC_NAME,
		.mode = S_IFREG | 0444,
		.size = w->j->toc.len,
	};
	uint8_t footer[51] = { 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, 'S', 'G', 22 };
	char text[24];
	uint64_t off;
	int r = members_cut(w->j->m, &off);

	if (r == 0)
		r = tar_write_entry(w->out, &e);
	if (r == 0)
		r = tar_write_data(w->out, w->j->toc.p, w->j->toc.len);
	if (r == 0)
		r = tar_write_end(w->out);
	if (r == 0)
		r = members_cut(w->j->m, NULL);
	(void)snprintf(text, sizeof(text), "%016llxSTARGZ", (unsigned long long)off);
	memcpy(footer + 16, text, 22);
	memcpy(footer + 38, "\1\0\0\xff\xff", 5);
	return r < 0 ? r : members_raw(w->j->m, footer, sizeof(footer));
}

static int finish_zstd(struct writer *w, int level)
{
	struct toc_text packed = { 0 };
	uint64_t footer[5], off;
	uint8_t sum[32];
	int r = tar_write_end(w->out);

	if (r == 0)
		r = members_cut(w->j->m, &off);
	if (r == 0)
		r = toc_compress(w->j->toc.p, w->j->toc.len, level, &packed);
	if (r == 0)
		r = members_skippable(w->j->m, packed.p, packed.len);
	if (r == 0) {
		footer[0] = htole64(off + 8);
		footer[1] = htole64(packed.len);
		footer[2] = htole64(w->j->toc.len);
		footer[3] = htole64(1);
		memcpy(footer + 4, "GnUlInUx", 8);
		r = members_skippable(w->j->m, footer, sizeof(footer));
	}
	if (r == 0)
		r = sha256_of(w->part, packed.p, packed.len, sum);
	if (r == 0)
		r = toc_note_digest(w->j->w, "io.containers.zstd-chunked.manifest-checksum", sum);
	if (r == 0)
		r = toc_note(w->j->w, "io.containers.zstd-chunked.manifest-position",
			     "%llu:%zu:%zu:1", (unsigned long long)(off + 8), packed.len,
			     w->j->toc.len);
	toc_text_release(&packed);
	return r;
}

static int write_all(struct writer *w, char **ret_err)
{
	struct toc_job *j = w->j;
	uint8_t sum[32];
	int r = toc_order_make(j->tar, j->o->first, j->o->n_first, j->o->found, &w->order, ret_err);

	if (r == 0)
		r = toc_text_printf(&j->toc, "{\"version\":1,\"entries\":[");
	if (r == 0)
		r = write_entries(w, 0, w->order.n_first, ret_err);
	if (r == 0)
		r = write_landmark(w);
	if (r == 0)
		r = write_entries(w, w->order.n_first, w->order.n, ret_err);
	if (r == 0)
		r = toc_text_printf(&j->toc, "]}");
	if (r == 0 && j->toc.len > TOC_MAX)
		r = toc_fail(ret_err, -EPROTONOSUPPORT, "its TOC would be larger than %u bytes",
			     TOC_MAX);
	if (r == 0)
		r = sha256_of(w->part, j->toc.p, j->toc.len, sum);
	if (r == 0)
		r = toc_note_digest(j->w, "containerd.io/snapshot/stargz/toc.digest", sum);
	if (r == 0)
		r = j->o->format == TOC_FORMAT_ESTARGZ ?
			    finish_gzip(w) :
			    finish_zstd(w, j->o->level ? j->o->level : 9);
	if (r == 0)
		r = toc_note(j->w, "io.containers.estargz.uncompressed-size", "%llu",
			     (unsigned long long)members_raw_size(j->m));
	return r;
}

int toc_write_estargz(struct toc_job *j, char **ret_err)
{
	struct writer w = { .j = j, .chunk = j->o->chunk ? j->o->chunk : CHUNK };
	int r = tar_write_new(&w.out, sink, &w);

	if (r == 0)
		r = sha256_new(&w.whole);
	if (r == 0)
		r = sha256_new(&w.part);
	w.block = sys_malloc(BLOCK_SIZE);
	if (r == 0 && w.block == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = write_all(&w, ret_err);
	tar_write_free(w.out);
	sha256_free(w.whole);
	sha256_free(w.part);
	toc_order_release(&w.order);
	free(w.pieces);
	free(w.block);
	return r;
}
