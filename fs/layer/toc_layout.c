/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From pieces to frames. A frame begins at the offset of a piece and ends where
 * the next larger offset begins, or where the data ends. Pieces that share an offset share the
 * frame, one behind the other (innerOffset). The end that a file names must fit
 * in there.
 *
 * What a frame is said to hold must be possible: deflate makes at most 1032 bytes of
 * one, zstd 128 KiB of four. So a blob of 10 KiB that claims a PiB is refused
 * here, and holes (chunks of zeros, which are in the blob too) are no way around it.
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

/* By place in the blob; what is equal stays in the order of the TOC. */
static int by_place(const void *a, const void *b, void *arg)
{
	const struct toc_piece *pieces = arg;
	const uint32_t ia = *(const uint32_t *)a, ib = *(const uint32_t *)b;
	const struct toc_piece *pa = &pieces[ia], *pb = &pieces[ib];

	if (pa->offset != pb->offset)
		return pa->offset < pb->offset ? -1 : 1;
	if (pa->inner != pb->inner)
		return pa->inner < pb->inner ? -1 : 1;
	return ia < ib ? -1 : ia > ib;
}

static uint64_t most(enum index_codec codec, uint64_t stored)
{
	uint64_t ratio = codec == INDEX_ZSTD ? 32768 : 1032;

	return stored > UINT64_MAX / ratio - 1 ? UINT64_MAX : (stored + 1) * ratio;
}

/* The frame of pieces order[0..n), which ends at @end at the latest. */
static int add_frame(struct toc_load *l, const uint32_t *order, size_t n, uint64_t end,
		     const char **ret_why, uint32_t *ret_entry)
{
	struct toc_piece *p = &l->pieces[order[0]];
	struct index_frame f = { .off = p->offset, .codec = l->codec };
	uint64_t raw = 0, said = 0;
	uint32_t frame = 0;
	bool used = false;

	for (size_t i = 0; i < n; i++) {
		p = &l->pieces[order[i]];
		*ret_entry = p->entry;
		if (p->inner < raw) {
			*ret_why = "its content overlaps with another's";
			return -EBADMSG;
		}
		if (p->end > end) {
			*ret_why = "it ends where another's content is";
			return -EBADMSG;
		}
		said = p->end > said ? p->end : said;
		raw = p->inner + p->len;
		used = used || (!p->zeros && p->id != 0);
	}
	f.stored = (said ? said : end) - f.off;
	if (raw > most(l->codec, f.stored)) {
		*ret_why = "it claims more than the blob can hold";
		return -EBADMSG;
	}
	if (!used)
		return 0;
	f.raw = raw;
	int r = index_build_frame(l->b, &f, &frame);

	for (size_t i = 0; i < n && r >= 0; i++) {
		p = &l->pieces[order[i]];
		struct index_chunk c = { .frame = frame,
					 .skip = p->inner,
					 .len = p->len,
					 .has_sha256 = p->has_sha256 };

		if (p->zeros || p->id == 0)
			continue;
		memcpy(c.sha256, p->sha256, sizeof(c.sha256));
		r = index_build_chunk(l->b, &c, &p->chunk);
	}
	return r;
}

/* Pieces are in the order of their files still. */
static int add_extents(struct toc_load *l)
{
	for (size_t i = 0; i < l->n_pieces; i++) {
		const struct toc_piece *p = &l->pieces[i];
		struct index_extent x = { .off = p->file_off, .len = p->len, .chunk = p->chunk };
		int r;

		if (p->zeros || p->id == 0)
			continue;
		r = index_build_extent(l->b, p->id, &x);
		if (r < 0)
			return r;
	}
	return 0;
}

int toc_layout(struct toc_load *l, const char **ret_why, uint32_t *ret_entry)
{
	_cleanup_free_ uint32_t *order = NULL;
	size_t n = l->n_pieces;
	int r;

	*ret_why = NULL;
	*ret_entry = 0;
	if (n == 0)
		return 0;
	order = sys_malloc(n * sizeof(*order));
	if (order == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), by_place, l->pieces);
	for (size_t i = 0, next; i < n; i = next) {
		uint64_t off = l->pieces[order[i]].offset;

		for (next = i + 1; next < n && l->pieces[order[next]].offset == off;)
			next++;
		r = add_frame(l, order + i, next - i,
			      next < n ? l->pieces[order[next]].offset : l->data_end, ret_why,
			      ret_entry);
		if (r < 0)
			return r;
	}
	return add_extents(l);
}
