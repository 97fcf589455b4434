/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a zstd:chunked blob, or as the TOC of one; up to the first NUL
 * they are the annotation of its position.
 */
#include "toc_fuzz.h"

#include <endian.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void skippable(struct blob *b, const void *p, uint32_t size)
{
	const uint32_t head[2] = { htole32(0x184d2a50), htole32(size) };

	blob_put(b, head, sizeof(head));
	blob_put(b, p, size);
}

/* The digest of the tar-split @p over 64 times "S" in the JSON. */
static void put_digest(char *json, size_t size, const uint8_t *p, size_t len)
{
	static const char mark[] =
		"SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS";
	char *at = memmem(json, size, mark, 64), hex[65];
	uint8_t sum[32];

	if (at == NULL || EVP_Digest(p, len, sum, NULL, EVP_sha256(), NULL) != 1)
		return;
	for (int i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	memcpy(at, hex, 64);
}

/* With a tar-split: what follows the JSON after a NUL. */
static void make_split(struct blob *b, const uint8_t *data, size_t size)
{
	static const uint8_t zeros[CONTENT_AT - 8];
	static uint8_t buf[BLOB_MAX], split[BLOB_MAX];
	static char json[BLOB_MAX];
	uint64_t footer[8];
	size_t len = strnlen((const char *)data, size), n, k;

	memcpy(json, data, len);
	skippable(b, zeros, sizeof(zeros));
	n = ZSTD_compress(buf, sizeof(buf), CONTENT, sizeof(CONTENT) - 1, 1);
	blob_put(b, buf, n);
	size -= len < size ? len + 1 : len;
	k = ZSTD_compress(split, sizeof(split), data + len + 1, size, 1);
	put_digest(json, len, split, k);
	n = ZSTD_compress(buf, sizeof(buf), json, len, 1);
	footer[0] = htole64(b->size + 8);
	footer[1] = htole64(n);
	footer[2] = htole64(len);
	footer[3] = htole64(1);
	footer[4] = htole64(b->size + 8 + n + 8);
	footer[5] = htole64(k);
	footer[6] = htole64(size);
	memcpy(footer + 7, "GNUlInUx", 8);
	skippable(b, buf, (uint32_t)n);
	skippable(b, split, (uint32_t)k);
	skippable(b, footer, sizeof(footer));
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
	} else if (data[0] & 2 && memchr(data + 1, 0, size - 1) != NULL) {
		make_split(&b, data + 1, size - 1);
		fuzz_load(&b, NULL, NULL);
	} else {
		make(&b, data + 1, size - 1);
		fuzz_load(&b, NULL, NULL);
	}
	return 0;
}
