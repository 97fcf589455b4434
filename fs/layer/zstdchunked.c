/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd:chunked: zstd frames that are a tar, then skippable frames with a TOC and more. Where they
 * are is said by annotations of the image, which are signed with it, and by a
 * footer, which is all there is without them. Offsets point past the eight bytes of a skippable
 * frame's header.
 *
 *	footer  magic     who
 *	40      GnUlInUx  containers/storage up to 1.43, stargz-snapshotter
 *	56      either    containers/storage up to 1.49; what it says of the tar-split is wrong
 *	64      GNUlInUx  containers/storage since
 */
#include "fs/layer/toc_i.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define SKIP_HEADER 8
#define FOOTER_MAX 64
#define TYPE_CRFS 1

static uint64_t le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static bool skippable(const uint8_t *p, uint32_t size)
{
	static const uint8_t magic[] = { 0x50, 0x2a, 0x4d, 0x18 };
	uint32_t v;

	memcpy(&v, p + 4, sizeof(v));
	return memcmp(p, magic, sizeof(magic)) == 0 && le32toh(v) == size;
}

/* Checks the windows that annotations or footer name, and where data ends. */
static int settle(const struct source *s, struct toc_place *p, char **ret_err)
{
	if (p->off < SKIP_HEADER || p->off > s->size || p->size > s->size - p->off || p->size == 0)
		return toc_fail(ret_err, -EBADMSG, "the TOC is said to be outside of the blob");
	if (p->size > TOC_MAX || p->raw > TOC_MAX)
		return toc_fail(ret_err, -EBADMSG, "the TOC is larger than %u bytes", TOC_MAX);
	p->data_end = p->off - SKIP_HEADER;
	if (p->split_off == 0)
		return 1;
	if (p->split_off < SKIP_HEADER || p->split_off > s->size ||
	    p->split_size > s->size - p->split_off)
		return toc_fail(ret_err, -EBADMSG,
				"the tar-split is said to be outside of the blob");
	if (p->split_off < p->off)
		p->data_end = p->split_off - SKIP_HEADER;
	return 1;
}

static int from_hint(const struct source *s, const struct toc_hint *hint, struct toc_place *ret,
		     char **ret_err)
{
	uint64_t v[4];

	if (toc_numbers(hint->position, v, 4) < 0)
		return toc_fail(ret_err, -EBADMSG,
				"the annotation of the TOC's position is damaged");
	if (v[3] != TYPE_CRFS)
		return toc_fail(ret_err, -EBADMSG, "the TOC is of an unknown type");
	ret->off = v[0];
	ret->size = v[1];
	ret->raw = v[2];
	if (hint->tarsplit_position != NULL) {
		if (toc_numbers(hint->tarsplit_position, v, 3) < 0)
			return toc_fail(ret_err, -EBADMSG,
					"the annotation of the tar-split's position is damaged");
		ret->split_off = v[0];
		ret->split_size = v[1];
		ret->split_raw = v[2];
	}
	/* Its own dialect alone has that annotation. */
	ret->stargz = hint->stargz_digest != NULL;
	return settle(s, ret, ret_err);
}

int zstdchunked_find(const struct source *s, const struct toc_hint *hint, struct toc_place *ret,
		     char **ret_err)
{
	static const size_t sizes[] = { 64, 56, 40 };
	uint8_t buf[SKIP_HEADER + FOOTER_MAX], *end = buf + sizeof(buf);
	ssize_t n;

	*ret = (struct toc_place){ .kind = INDEX_ZSTD_CHUNKED };
	if (s->size < sizeof(buf))
		return 0;
	if (hint->position != NULL)
		return from_hint(s, hint, ret, ret_err);
	n = source_pread(s, buf, sizeof(buf), s->size - sizeof(buf));
	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(buf))
		return -EIO;
	if (memcmp(end - 8, "GNUlInUx", 8) != 0 && memcmp(end - 8, "GnUlInUx", 8) != 0)
		return 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const uint8_t *p = end - sizes[i];

		if (!skippable(p - SKIP_HEADER, (uint32_t)sizes[i]))
			continue;
		if (le64(p + 24) != TYPE_CRFS)
			return toc_fail(ret_err, -EBADMSG, "the TOC is of an unknown type");
		ret->off = le64(p);
		ret->size = le64(p + 8);
		ret->raw = le64(p + 16);
		ret->split_off = sizes[i] >= 64 ? le64(p + 32) : 0;
		ret->split_size = sizes[i] >= 64 ? le64(p + 40) : 0;
		ret->split_raw = sizes[i] >= 64 ? le64(p + 48) : 0;
		ret->stargz =
			sizes[i] == 40 && (hint->stargz_digest != NULL || hint->checksum == NULL);
		return settle(s, ret, ret_err);
	}
	return 0;
}
