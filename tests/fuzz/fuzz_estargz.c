/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an eStargz, as the TOC of one, or as the tar that a TOC outside of the
 * blob is in.
 */
#include "toc_fuzz.h"

#include <stdio.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void gzip(struct blob *b, const void *p, size_t size)
{
	static uint8_t in[BLOB_MAX];
	z_stream z = { 0 };

	memcpy(in, p, size);
	z.next_in = in;
	z.avail_in = (uInt)size;
	z.next_out = b->data + b->size;
	z.avail_out = (uInt)(sizeof(b->data) - b->size);
	if (deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
	    deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	b->size = sizeof(b->data) - z.avail_out;
	(void)deflateEnd(&z);
}

static void footer(struct blob *b, const char *extra, size_t size)
{
	static const uint8_t tail[13] = { 1, 0, 0, 0xff, 0xff };
	const uint8_t head[12] = { 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, (uint8_t)size };

	blob_put(b, head, sizeof(head));
	blob_put(b, extra, size);
	blob_put(b, tail, sizeof(tail));
}

static void make(struct blob *b, const uint8_t *json, size_t size)
{
	static char tar[BLOB_MAX / 2];
	char extra[40] = "SG\x16";
	unsigned sum = 8 * ' ';
	size_t at;

	while (b->size < CONTENT_AT)
		blob_put(b, "", 1);
	gzip(b, CONTENT, sizeof(CONTENT) - 1);
	at = b->size;
	memset(tar, 0, sizeof(tar));
	(void)snprintf(tar, 100, "stargz.index.json");
	(void)snprintf(tar + 124, 12, "%011o", (unsigned)size);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)tar[i];
	(void)snprintf(tar + 148, 8, "%06o", sum & 0777777);
	memcpy(tar + 512, json, size);
	gzip(b, tar, 512 + (size + 511) / 512 * 512);
	(void)snprintf(extra + 4, 24, "%016zxSTARGZ", at);
	footer(b, extra, 26);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct blob b, external;

	if (size < 2 || size > BLOB_MAX / 4)
		return 0;
	b.size = external.size = 0;
	switch (data[0] & 3) {
	case 1:
		blob_put(&b, data + 1, size - 1);
		fuzz_load(&b, NULL, NULL);
		break;
	case 3:
		gzip(&b, CONTENT, sizeof(CONTENT) - 1);
		footer(&b, "SG\x11\0STARGZEXTERNALTOC", 21);
		if (data[1] & 1)
			gzip(&external, data + 2, size - 2);
		else
			blob_put(&external, data + 2, size - 2);
		fuzz_load(&b, &external, NULL);
		break;
	default:
		make(&b, data + 1, size - 1);
		fuzz_load(&b, NULL, NULL);
		break;
	}
	return 0;
}
