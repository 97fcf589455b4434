/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a zstd:chunked blob, or as the TOC of one; up to the first NUL
 * they are the annotation of its position.
 */
#include "toc_fuzz.h"

#include <endian.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void skippable(struct blob *b, const void *p, uint32_t size)
{
	const uint32_t head[2] = { htole32(0x184d2a50), htole32(size) };

	blob_put(b, head, sizeof(head));
	blob_put(b, p, size);
}

static void make(struct blob *b, const uint8_t *json, size_t size)
{
	static const uint8_t zeros[CONTENT_AT - 8];
	static uint8_t buf[BLOB_MAX];
	uint64_t footer[5];
	size_t n;

	skippable(b, zeros, sizeof(zeros));
	n = ZSTD_compress(buf, sizeof(buf), CONTENT, sizeof(CONTENT) - 1, 1);
	blob_put(b, buf, n);
	n = ZSTD_compress(buf, sizeof(buf), json, size, 1);
	footer[0] = htole64(b->size + 8);
	footer[1] = htole64(n);
	footer[2] = htole64(size);
	footer[3] = htole64(1);
	memcpy(footer + 4, "GnUlInUx", 8);
	skippable(b, buf, (uint32_t)n);
	skippable(b, footer, sizeof(footer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct blob b;
	char position[64];
	size_t len;

	if (size < 2 || size > BLOB_MAX / 4)
		return 0;
	b.size = 0;
	len = strnlen((const char *)data + 1, size - 1 < 63 ? size - 1 : 63);
	memcpy(position, data + 1, len);
	position[len] = '\0';
	if (data[0] & 1 && 1 + len + 1 <= size) {
		blob_put(&b, data + 1 + len + 1, size - 1 - len - 1);
		fuzz_load(&b, NULL, len > 0 ? position : NULL);
	} else {
		make(&b, data + 1, size - 1);
		fuzz_load(&b, NULL, NULL);
	}
	return 0;
}
