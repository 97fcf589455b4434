/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing a layer in one pass.
 *
 * Three kinds of threads: one reads and decompresses (tar_input.c), this one takes the
 * tar apart (tar_read.c) and cuts files into pieces, the others compress frames of these
 * (pack_frames.c).
 * A piece is no larger than a frame and never crosses a hole; a file's last piece, or the whole
 * of a small file, shares a frame with its neighbours. A piece of zeros alone becomes a hole.
 * Of a tar that is used as it is, a piece is a frame of its own: where it lies in the tar.
 */
#include "fs/layer/pack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <xxhash.h>

#include "fs/layer/pack_frames.h"
#include "fs/layer/tar_input.h"
#include "fs/layer/tar_read.h"
#include "lib/cleanup.h"
#include "lib/newfile.h"
#include "lib/sha256.h"
#include "lib/sys.h"

enum { HOLE_MIN = 4096,
       PROGRESS_MS = 50 };
#define PACK_MAX_ENTRIES (16U << 20)
#define PACK_MAX_PIECES (64U << 20)

struct pack {
	const struct pack_options *o;
	const struct source *s;
	struct tar_input *in; /* owned */
	struct tar_read *tar; /* owned */
	struct index_build *b; /* owned */
	struct frames *frames; /* owned; NULL where the tar is used as it is: then */
	struct sha256 *sha; /* owned */
	uint8_t *buf; /* owned */
	uint32_t size; /* of pieces at most */
	struct newfile blob;

	/* the piece that is being collected */
	uint8_t *at;
	uint32_t len;
	uint64_t off, tar_off, left; /* left: bytes that the file may still have */
	uint32_t id;

	uint64_t files, pieces;
	struct timespec told;
};

static int fail(char **ret_err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(char **ret_err, int r, const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (ret_err && !*ret_err)
		*ret_err = sys_strdup(buf);
	return r;
}

/* Tells how far it is, unless that was just told. Non-zero: stop. */
static int progress(struct pack *p, bool now)
{
	struct pack_progress g = { .in_total = p->s->size, .files = p->files };
	struct timespec t;

	if (!p->o->progress)
		return 0;
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	if (!now && (t.tv_sec - p->told.tv_sec) * 1000 + (t.tv_nsec - p->told.tv_nsec) / 1000000 <
			    PROGRESS_MS)
		return 0;
	p->told = t;
	tar_input_progress(p->in, &g.in, &g.raw);
	g.out = p->frames ? frames_written(p->frames) : 0;
	return p->o->progress(p->o->arg, &g);
}

static int next_block(void *arg, const uint8_t **ret, size_t *ret_len, char **ret_err)
{
	struct pack *p = arg;
	int r = progress(p, false);

	if (r) {
		*ret_err = sys_strdup("stopped");
		return r < 0 ? r : -EINTR;
	}
	return tar_input_next(p->in, ret, ret_len, ret_err);
}

/* --- pieces ------------------------------------------------------------------ */

static bool zeros(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* The piece lies in the tar already. */
static int chunk_of_tar(struct pack *p, uint32_t *ret)
{
	struct index_frame f = {
		.off = p->tar_off,
		.stored = p->len,
		.raw = p->len,
		.codec = INDEX_RAW,
	};
	struct index_chunk c = { .len = p->len, .has_sha256 = true };
	int r = sha256_of(p->sha, p->at, p->len, c.sha256);

	f.xxh3 = XXH3_64bits(p->at, p->len);
	if (r == 0)
		r = index_build_frame(p->b, &f, &c.frame);
	return r < 0 ? r : index_build_chunk(p->b, &c, ret);
}

static int end_piece(struct pack *p, char **ret_err)
{
	struct index_extent x = { .off = p->off, .len = p->len };
	int r = 0;

	if (!p->len)
		return 0;
	if (p->len < HOLE_MIN || !zeros(p->at, p->len)) {
		if (p->pieces++ >= PACK_MAX_PIECES)
			return fail(ret_err, -E2BIG, "the layer has more than %u pieces of content",
				    PACK_MAX_PIECES);
		r = p->frames ? frames_add(p->frames, p->len, &x.chunk) : chunk_of_tar(p, &x.chunk);
		if (r == 0)
			r = index_build_extent(p->b, p->id, &x);
	}
	p->len = 0;
	return r;
}

static int begin_piece(struct pack *p, uint64_t off, uint64_t tar_off)
{
	uint64_t want = p->left < p->size ? p->left : p->size;

	p->off = off;
	p->tar_off = tar_off;
	p->at = p->buf;
	return p->frames ? frames_room(p->frames, (uint32_t)want, &p->at) : 0;
}

static int add_data(struct pack *p, const struct tar_piece *d, uint64_t size, char **ret_err)
{
	size_t done = 0, n;
	int r = 0;

	if (d->off > size || d->len > size - d->off)
		return fail(ret_err, -EINVAL, "content beyond its size");
	if (p->len && (d->off != p->off + p->len ||
		       (!p->frames && d->tar_off != p->tar_off + p->len)))
		r = end_piece(p, ret_err);
	while (r == 0 && done < d->len) {
		p->left = size - (d->off + done);
		if (!p->len)
			r = begin_piece(p, d->off + done, d->tar_off + done);
		if (r < 0)
			break;
		n = d->len - done < p->size - p->len ? d->len - done : p->size - p->len;
		memcpy(p->at + p->len, d->data + done, n);
		p->len += (uint32_t)n;
		done += n;
		if (p->len == p->size)
			r = end_piece(p, ret_err);
	}
	return r;
}

static int add_content(struct pack *p, const struct tar_item *i, char **ret_err)
{
	struct tar_piece d;
	int r;

	while ((r = tar_read_data(p->tar, &d, ret_err)) > 0) {
		r = add_data(p, &d, i->e.size, ret_err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : end_piece(p, ret_err);
}

/* --- entries ----------------------------------------------------------------- */

static int add_xattrs(struct pack *p, char **ret_err)
{
	struct tar_item_xattr x;
	int r;

	while ((r = tar_read_xattr(p->tar, &x, ret_err)) > 0) {
		r = index_build_xattr(p->b, p->id, x.name, x.value, x.len, ret_err);
		if (r < 0)
			return r;
	}
	return r;
}

static int add_entry(struct pack *p, const struct tar_item *i, char **ret_err)
{
	int r;

	if (p->files++ >= PACK_MAX_ENTRIES || index_build_count(p->b) > PACK_MAX_ENTRIES)
		return fail(ret_err, -E2BIG, "the layer has more than %u entries",
			    PACK_MAX_ENTRIES);
	if (i->link)
		return index_build_link(p->b, i->path, i->link, ret_err);
	r = index_build_add(p->b, i->path, &i->e, &p->id, ret_err);
	if (r < 0 || !p->id)
		return r;
	r = add_xattrs(p, ret_err);
	if (r == 0 && S_ISREG(i->e.mode) && i->e.size)
		r = add_content(p, i, ret_err);
	return r;
}

static int add_all(struct pack *p, char **ret_err)
{
	struct tar_item i;
	int r;

	while ((r = tar_read_next(p->tar, &i, ret_err)) > 0) {
		r = add_entry(p, &i, ret_err);
		if (r < 0)
			return fail(ret_err, r, "%.300s: %s", i.path, strerror(-r));
	}
	return r < 0 ? r : tar_read_rest(p->tar, ret_err);
}

/* --- the whole --------------------------------------------------------------- */

static int check_digest(const uint8_t *want, const uint8_t *is, const char *what, char **ret_err)
{
	char a[INDEX_BLOB_NAME_SIZE], b[INDEX_BLOB_NAME_SIZE];

	if (!want || !memcmp(want, is, 32))
		return 0;
	index_blob_name(want, a);
	index_blob_name(is, b);
	a[6] = b[6] = ':'; /* as images write them */
	return fail(ret_err, -EBADMSG, "the %s is %s, and should be %s", what, b, a);
}

static int set_up(struct pack *p, int dirfd, char **ret_err)
{
	struct frames_options f = { .level = p->o->level ? p->o->level : FRAME_LEVEL };
	int r = tar_input_new(p->s, &p->in, ret_err);

	if (r == 0)
		r = index_build_new(&p->b);
	if (r == 0)
		r = tar_read_new(next_block, p, &p->tar);
	if (r < 0)
		return r;
	p->size = p->o->frame ? p->o->frame : FRAME_DEFAULT;
	if (p->size < FRAME_MIN || p->size > FRAME_MAX)
		return fail(ret_err, -EINVAL, "frames of %u bytes: it must be %u to %u", p->size,
			    FRAME_MIN, FRAME_MAX);
	if (tar_input_format(p->in) == SOURCE_TAR && !p->o->repack) {
		p->buf = sys_malloc(p->size);
		return p->buf ? sha256_new(&p->sha) : -ENOMEM;
	}
	r = newfile_begin(dirfd, 0644, &p->blob);
	if (r < 0)
		return r;
	f.fd = p->blob.fd;
	f.size = p->size;
	f.threads = p->o->threads ? p->o->threads : (unsigned)get_nprocs();
	f.b = p->b;
	return frames_new(&f, &p->frames);
}

static int pass(struct pack *p, struct index_info *info, char **ret_err)
{
	int r = add_all(p, ret_err);

	if (r < 0)
		return r;
	tar_input_digests(p->in, info->layer, info->diff_id);
	r = check_digest(p->o->layer, info->layer, "layer", ret_err);
	if (r == 0)
		r = check_digest(p->o->diff_id, info->diff_id, "layer's tar", ret_err);
	if (r < 0)
		return r;
	if (p->frames) {
		info->kind = INDEX_PACKED;
		return frames_finish(p->frames, &info->blob_size, info->blob);
	}
	info->kind = INDEX_TAR;
	info->blob_size = p->s->size;
	memcpy(info->blob, info->layer, 32);
	return 0;
}

/* The blob first: an index without it is of no use. */
static int give_names(struct pack *p, const struct index_info *info, int dirfd, const char *name,
		      char **ret_err)
{
	char blob[INDEX_BLOB_NAME_SIZE];
	struct statx st;
	bool was_there;
	int r;

	if (!p->frames)
		return index_build_write(p->b, info, dirfd, name, ret_err);
	index_blob_name(info->blob, blob);
	was_there = sys_statx(dirfd, blob, AT_SYMLINK_NOFOLLOW, &st) == 0;
	r = newfile_commit(&p->blob, blob, !p->o->no_sync);
	if (r < 0)
		return r;
	r = index_build_write(p->b, info, dirfd, name, ret_err);
	if (r < 0 && !was_there)
		(void)sys_unlinkat(dirfd, blob, 0);
	return r;
}

/* What the index says that was just written. */
static int look(int dirfd, const char *name, struct index_info *ret, char **ret_err)
{
	struct index *ix;
	int r = index_open(dirfd, name, &ix, ret_err);

	if (r < 0)
		return r;
	*ret = *index_info(ix);
	index_close(ix);
	return 0;
}

int pack_layer(const struct source *s, int dirfd, const char *name, const struct pack_options *o,
	       struct index_info *ret_info, char **ret_err)
{
	struct pack p = { .o = o, .s = s, .blob.fd = -1 };
	struct index_info info = { 0 };
	char *err = NULL;
	int r = set_up(&p, dirfd, &err);

	if (r == 0)
		r = pass(&p, &info, &err);
	if (r == 0) {
		r = progress(&p, true);
		r = r > 0 ? -EINTR : r;
	}
	if (r == 0)
		r = give_names(&p, &info, dirfd, name, &err);
	/* the threads end before what they use */
	frames_free(p.frames);
	tar_read_free(p.tar);
	tar_input_free(p.in);
	newfile_abort(&p.blob);
	index_build_free(p.b);
	sha256_free(p.sha);
	free(p.buf);
	if (ret_info && r == 0)
		r = look(dirfd, name, ret_info, &err);
	if (r < 0 && !err)
		err = sys_strdup(strerror(-r));
	if (ret_err && r < 0)
		*ret_err = steal_ptr(&err);
	free(err);
	return r;
}
