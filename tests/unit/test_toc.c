/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOCs that contradict themselves, the blob or the image are refused, with a message that
 * names the blob, the entry and the reason; and what only looks odd is read.
 *
 * The blob, in either format, has two members: "hello world\n" at @A, 4096 zeros at @B. Data ends
 * at @E. These words are replaced in the TOC's text.
 */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "fs/layer/tar_write.h"
#include "fs/layer/toc.h"

enum format {
	ZSTD,
	ESTARGZ,
	LEGACY,
	EXTERNAL,
	FORMATS,
};

static const char hello[] = "hello world\n";
#define HELLO_SHA "sha256:a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447"

struct blob {
	uint8_t data[1 << 20];
	size_t size, a, b, end;
	char json[65536];
	size_t toc, toc_size;
	struct source s, external;
	uint8_t ext[65536];
};

static void hex(const void *p, size_t size, char out[72])
{
	uint8_t sum[32];

	assert_int_equal(EVP_Digest(p, size, sum, NULL, EVP_sha256(), NULL), 1);
	memcpy(out, "sha256:", 7);
	for (int i = 0; i < 32; i++)
		snprintf(out + 7 + 2 * i, 3, "%02x", sum[i]);
}

static void put(struct blob *b, const void *p, size_t size)
{
	assert_true(size <= sizeof(b->data) - b->size);
	memcpy(b->data + b->size, p, size);
	b->size += size;
}

static size_t gzip(uint8_t *out, size_t room, const void *p, size_t size)
{
	z_stream z = { 0 };
	uint8_t in[65536];

	assert_true(size <= sizeof(in));
	memcpy(in, p, size);
	z.next_in = in;
	z.avail_in = (uInt)size;
	z.next_out = out;
	z.avail_out = (uInt)room;
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	(void)deflateEnd(&z);
	return room - z.avail_out;
}

static void member(struct blob *b, enum format f, const void *p, size_t size)
{
	size_t room = sizeof(b->data) - b->size;

	if (f == ZSTD) {
		size_t n = ZSTD_compress(b->data + b->size, room, p, size, 3);

		assert_false(ZSTD_isError(n));
		b->size += n;
	} else {
		b->size += gzip(b->data + b->size, room, p, size);
	}
}

static void skippable(struct blob *b, const void *p, uint32_t size)
{
	uint32_t head[2] = { htole32(0x184d2a50), htole32(size) };

	put(b, head, sizeof(head));
	put(b, p, size);
}

static void expand(struct blob *b, const char *text)
{
	size_t n = 0;

	for (; *text; text++) {
		size_t v = *text != '@' ? 0 : text[1] == 'A' ? b->a :
				      text[1] == 'B'         ? b->b :
							       b->end;

		if (*text != '@')
			b->json[n++] = *text;
		else
			n += (size_t)snprintf(b->json + n, 24, "%zu", *++text ? v : 0);
		assert_true(n < sizeof(b->json) - 32);
	}
	b->json[n] = '\0';
}

/* The tar that holds the JSON, as one gzip member; its size. */
static size_t toc_tar(const char *json, uint8_t *out, size_t room)
{
	static char tar[65536];
	size_t len = strlen(json);
	unsigned sum = 0;

	assert_true(len < sizeof(tar) - 2048);
	memset(tar, 0, sizeof(tar));
	snprintf(tar, 100, "stargz.index.json");
	snprintf(tar + 124, 12, "%011o", (unsigned)len);
	memset(tar + 148, ' ', 8);
	tar[156] = '0';
	memcpy(tar + 512, json, len);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)tar[i];
	snprintf(tar + 148, 8, "%06o", sum & 0777777);
	return gzip(out, room, tar, 512 + (len + 511) / 512 * 512 + 1024);
}

static void gzip_footer(struct blob *b, enum format f)
{
	char extra[64];
	uint8_t head[12] = { 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff },
		tail[13] = { 1, 0, 0, 0xff, 0xff };
	size_t n = 0;

	if (f != LEGACY) {
		memcpy(extra, f == EXTERNAL ? "SG\x11" : "SG\x16", 4);
		n = 4;
	}
	if (f == EXTERNAL)
		n += (size_t)snprintf(extra + n, 40, "STARGZEXTERNALTOC");
	else
		n += (size_t)snprintf(extra + n, 40, "%016zxSTARGZ", b->end);
	head[10] = (uint8_t)n;
	put(b, head, sizeof(head));
	put(b, extra, n);
	put(b, tail, sizeof(tail));
}

static void make(struct blob *b, enum format f, const char *text)
{
	static const uint8_t zeros[4096];
	uint64_t footer[5];

	memset(b, 0, sizeof(*b));
	member(b, f, "the first tar header", 20);
	b->a = b->size;
	member(b, f, hello, 12);
	b->b = b->size;
	member(b, f, zeros, sizeof(zeros));
	b->end = b->size;
	expand(b, text);
	b->s = (struct source){ .fd = memfd_create("blob", MFD_CLOEXEC), .name = "the-blob" };
	b->external = (struct source){ .fd = -1, .name = "the-toc" };
	if (f == ZSTD) {
		static uint8_t buf[65536];
		size_t n = ZSTD_compress(buf, sizeof(buf), b->json, strlen(b->json), 3);

		b->toc = b->size + 8;
		b->toc_size = n;
		skippable(b, buf, (uint32_t)n);
		footer[0] = htole64(b->toc);
		footer[1] = htole64(n);
		footer[2] = htole64(strlen(b->json));
		footer[3] = htole64(1);
		memcpy(footer + 4, "GnUlInUx", 8);
		skippable(b, footer, sizeof(footer));
	} else if (f == EXTERNAL) {
		b->external.size = toc_tar(b->json, b->ext, sizeof(b->ext));
		b->external.fd = memfd_create("toc", MFD_CLOEXEC);
		assert_int_equal(pwrite(b->external.fd, b->ext, b->external.size, 0),
				 b->external.size);
		gzip_footer(b, f);
	} else {
		b->size += toc_tar(b->json, b->data + b->size, sizeof(b->data) - b->size);
		gzip_footer(b, f);
	}
	b->s.size = b->size;
	assert_int_equal(pwrite(b->s.fd, b->data, b->size, 0), b->size);
}

static void drop(struct blob *b)
{
	close(b->s.fd);
	if (b->external.fd >= 0)
		close(b->external.fd);
}

/* toc_index() and index_build_write(); 0 with an open index. */
static int load(struct blob *b, struct toc_hint *hint, struct index **ret, bool *ret_verified,
		char **ret_err)
{
	struct index_info info = { 0 };
	struct index_build *ib;
	char name[256];
	int dir = unit_dir(name, sizeof(name)), r;

	*ret_err = NULL;
	if (b->external.fd >= 0)
		hint->external = &b->external;
	assert_int_equal(index_build_new(&ib), 0);
	r = toc_index(&b->s, hint, ib, &info, ret_verified, ret_err);
	if (r == 0) {
		info.blob_size = b->size;
		r = index_build_write(ib, &info, dir, "index", ret_err);
	}
	index_build_free(ib);
	if (r == 0) {
		assert_int_equal(index_open(dir, "index", ret, ret_err), 0);
		assert_int_equal(index_check(*ret, ret_err), 0);
	}
	close(dir);
	return r;
}

#define TOC(entries) "{\"version\":1,\"entries\":[" entries "]}"
#define FILE_A(name, more) \
	"{\"name\":\"" name "\",\"type\":\"reg\",\"size\":12,\"offset\":@A" more "}"

static const struct {
	const char *json, *why; /* why: a part of the message; NULL: it is accepted */
} texts[] = {
	{ TOC(""), NULL },
	{ "{\"version\":1,\"entries\":null}", NULL },
	{ TOC(FILE_A("f", "")), NULL },
	{ TOC(FILE_A("a/b/../c", "")), "\"a/b/../c\": its name leads out" },
	{ TOC(FILE_A("../c", "")), "leads out" },
	{ TOC(FILE_A("/abs", "")), NULL },
	{ TOC(FILE_A("f", "") "," FILE_A("./f", ",\"innerOffset\":1")),
	  "\"./f\": its name comes twice" },
	{ TOC("{\"name\":\"d/\",\"type\":\"dir\"},{\"name\":\"./d\",\"type\":\"dir\"}"),
	  "comes twice" },
	{ TOC("{\"name\":\"d/x\",\"type\":\"dir\"},{\"name\":\"d\",\"type\":\"dir\",\"mode\":448}"),
	  NULL },
	{ TOC(FILE_A("f", "") ",{\"name\":\"f/x\",\"type\":\"dir\"}"), "f/x" },
	{ TOC("{\"name\":\"l\",\"type\":\"symlink\",\"linkName\":\"/\"},{\"name\":\"l/"
	      "x\",\"type\":\"fifo\"}"),
	  "l/x" },
	{ TOC("{\"name\":\"d/x\",\"type\":\"fifo\"}," FILE_A("d", "")), "d" },
	{ TOC("{\"name\":\"\",\"type\":\"fifo\"}"), "the root is no directory" },
	{ TOC("{\"name\":\"x\",\"type\":\"socket\"}"), "type is none that is known" },
	{ TOC("{\"type\":\"fifo\"}"), "has no name" },
	{ TOC("{\"name\":\"x\"}"), "has no type" },
	{ TOC("{\"name\":\"x\",\"type\":\"symlink\"}"), "a link to nothing" },
	{ TOC("{\"name\":\"x\",\"type\":\"hardlink\",\"linkName\":\"y\"}"), "x" },
	{ TOC("{\"name\":\"x\",\"type\":\"hardlink\",\"linkName\":\"y\"},"
	      "{\"name\":\"y\",\"type\":\"hardlink\",\"linkName\":\"x\"}"),
	  "x" },
	{ TOC("{\"name\":\"x\",\"type\":\"hardlink\",\"linkName\":\"y\"},"
	      "{\"name\":\"y\",\"type\":\"hardlink\",\"linkName\":\"z\"}," FILE_A("z", "")),
	  NULL },
	{ TOC("{\"name\":\"x\",\"type\":\"hardlink\",\"linkName\":\"../../etc/shadow\"}"), "x" },
	{ TOC("{\"name\":\"d\",\"type\":\"dir\"},{\"name\":\"x\",\"type\":\"hardlink\","
	      "\"linkName\":\"d\"}"),
	  "x" },
	/* places */
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12}"), "no offset" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"innerOffset\":8}"), NULL },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":@E}"),
	  "\"f\": its offset is outside" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":9223372036854775807}"),
	  "outside" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":-1}"),
	  "offset is not a whole number" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":1e3}"),
	  "offset is not a whole" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":\"1\"}"),
	  "offset is a string" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":99999999999999999999,\"offset\":@A}"),
	  "size is too large" },
	{ TOC(FILE_A("f", ",\"innerOffset\":9223372036854775807")), "inner offset is too large" },
	{ TOC(FILE_A("f", ",\"endOffset\":@B")), NULL },
	{ TOC(FILE_A("f", ",\"endOffset\":@A")), "its end is before" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":@A,\"endOffset\":@E},"
	      "{\"name\":\"g\",\"type\":\"reg\",\"size\":4096,\"offset\":@B}"),
	  "\"f\": it ends where another's content is" },
	{ TOC(FILE_A("f", "") "," FILE_A("g", "")), "\"g\": its content overlaps" },
	{ TOC(FILE_A("f", "") "," FILE_A("g", ",\"innerOffset\":11")), "overlaps" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":5,\"offset\":@A},"
	      "{\"name\":\"g\",\"type\":\"reg\",\"size\":6,\"offset\":@A,\"innerOffset\":6}"),
	  NULL },
	/* bombs */
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":1125899906842624,\"offset\":@A}"),
	  "\"f\": it claims more" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":1125899906842624,\"offset\":@A,"
	      "\"chunkSize\":12},"
	      "{\"name\":\"f\",\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":12,\"chunkType\":"
	      "\"zeros\","
	      "\"chunkSize\":1125899906842612}"),
	  "claims more" },
	{ TOC(FILE_A("f", ",\"innerOffset\":1125899906842624")), "claims more" },
	/* chunks */
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":4108,\"offset\":@A,\"chunkSize\":12},"
	      "{\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":12}"),
	  NULL },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":4109,\"offset\":@A,\"chunkSize\":12},"
	      "{\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":12,\"chunkSize\":4096}"),
	  "\"f\": its chunks end at 4108 of 4109" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":4108,\"offset\":@A,\"chunkSize\":12},"
	      "{\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":13}"),
	  "not where the one before" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":4108,\"offset\":@A,\"chunkSize\":12},"
	      "{\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":11}"),
	  "not where the one before" },
	{ TOC("{\"name\":\"f\",\"type\":\"reg\",\"size\":4108,\"offset\":@A,\"chunkSize\":12},"
	      "{\"name\":\"g\",\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":12}"),
	  "\"g\": a chunk of it among those of \"f\"" },
	{ TOC(FILE_A("f",
		     "") ",{\"name\":\"f\",\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":12}"),
	  "beyond the end" },
	{ TOC(FILE_A("f", ",\"chunkSize\":13")), "beyond the end" },
	{ TOC("{\"name\":\"f\",\"type\":\"chunk\",\"offset\":@B,\"chunkOffset\":12}"),
	  "a chunk of no file" },
	{ TOC(FILE_A("f", ",\"chunkOffset\":12")), "not where the one before" },
	/* values */
	{ TOC(FILE_A("f", ",\"digest\":\"" HELLO_SHA "\"")), NULL },
	{ TOC(FILE_A("f", ",\"digest\":\"sha512:abc\"")), NULL },
	{ TOC(FILE_A("f", ",\"digest\":\"sha256:abc\"")), "digest is no digest" },
	{ TOC(FILE_A("f", ",\"digest\":\"\"")), NULL },
	{ TOC(FILE_A("f", ",\"modtime\":\"2020-02-30\"")), "modtime is no time" },
	{ TOC(FILE_A("f", ",\"modtime\":\"2020-02-29T23:59:59.5+01:30\"")), NULL },
	{ TOC(FILE_A("f", ",\"uid\":4294967296")), "uid is too large" },
	{ TOC(FILE_A("f", ",\"mode\":true")), "mode is true or false" },
	{ TOC(FILE_A("f", ",\"xattrs\":{\"user.a\":\"YQ==\",\"user.b\":\"\"}")), NULL },
	{ TOC(FILE_A("f", ",\"xattrs\":{\"user.a\":\"Y\"}")),
	  "xattrs have a value that is not base64" },
	{ TOC(FILE_A("f", ",\"xattrs\":{\"user.a\":\"YQ==\",\"user.a\":\"YQ==\"}")),
	  "a name twice" },
	{ TOC(FILE_A("f", ",\"xattrs\":[]")), "an array where none" },
	{ TOC(FILE_A("f", ",\"xattrs\":null,\"linkName\":null")), NULL },
	{ TOC(FILE_A("f", ",\"size\":12")), "size is there twice" },
	{ TOC(FILE_A("f", ",\"new\":{\"a\":[1,{\"b\":null}],\"name\":\"x\"},\"other\":[]")), NULL },
	{ TOC(FILE_A("x\\u0000y", "")), "name has a NUL" },
	{ TOC(FILE_A("line\\nfeed/..", "")), "line?feed/..\": its name leads out" },
	/* documents */
	{ "", "no JSON" },
	{ "{\"version\":1,\"entries\":[]", "no JSON" },
	{ "{\"version\":1,\"entries\":[]} {}", "no JSON" },
	{ "{\"version\":1,\"entries\":[]}x", "no JSON" },
	{ "{\"version\":2,\"entries\":[]}", "version is not 1" },
	{ "{\"entries\":[]}", "no version" },
	{ "{\"version\":1}", "no entries" },
	{ "{\"version\":1,\"entries\":[],\"entries\":[]}", "entries twice" },
	{ "{\"version\":1,\"entries\":[[]]}", "an array where none" },
	{ "{\"version\":1,\"entries\":[1]}", "a number where none" },
	{ "[]", "an array where none" },
	{ "{\"version\":1,\"entries\":[],\"x\":{\"y\":[[],{}]}}", NULL },
};

static void test_texts(void **state)
{
	static struct blob b;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (enum format f = ZSTD; f < FORMATS; f++) {
			struct toc_hint hint = { 0 };
			struct index *ix = NULL;
			bool verified = true;
			char *err;
			int r;

			make(&b, f, texts[i].json);
			r = load(&b, &hint, &ix, &verified, &err);
			if (texts[i].why == NULL && (r != 0 || verified))
				fail_msg("%s: %d, %s", b.json, r, err);
			if (texts[i].why != NULL &&
			    (r >= 0 || err == NULL || strstr(err, texts[i].why) == NULL))
				fail_msg("%s: %d, %s instead of %s", b.json, r, err, texts[i].why);
			if (err != NULL && strchr(err, '\n') != NULL)
				fail_msg("a control character in: %s", err);
			index_close(ix);
			free(err);
			drop(&b);
		}
	}
}

/* What the image says of the TOC must hold, in either convention. */
static void test_digests(void **state)
{
	static struct blob b;
	static const char bad[] =
		"sha256:0000000000000000000000000000000000000000000000000000000000000000";
	char json[72], stored[72], position[64];

	(void)state;
	for (enum format f = ZSTD; f < FORMATS; f++) {
		for (int what = 0; what < 32; what++) {
			struct toc_hint hint = { 0 };
			struct index *ix = NULL;
			bool verified = false, good = !(what & 5);
			char *err;
			int r;

			make(&b, f, TOC(FILE_A("f", "")));
			hex(b.json, strlen(b.json), json);
			hex(b.data + b.toc, b.toc_size, stored);
			snprintf(position, sizeof(position), "%zu:%zu:%zu:1", b.toc, b.toc_size,
				 strlen(b.json) + (what & 16 ? 1 : 0));
			/* 1, 4: wrong ones; 2: with a position, 8: and no digest of the JSON, 16:
			 * wrong raw size */
			hint.stargz_digest = what & 8 ? NULL : what & 1 ? bad :
									  json;
			if (f == ZSTD) {
				hint.checksum = what & 4 ? bad : stored;
				hint.position = what & 2 ? position : NULL;
				good = (what & 8 || !(what & 1)) && !(what & 4) &&
				       !((what & 18) == 18);
			} else {
				good = what & 8 || !(what & 1);
			}
			r = load(&b, &hint, &ix, &verified, &err);
			if ((r == 0) != good)
				fail_msg("format %d, case %d: %d, %s", f, what, r, err);
			if (r == 0)
				assert_int_equal(verified, f == ZSTD || !(what & 8));
			else
				assert_int_equal(r, -EBADMSG);
			index_close(ix);
			free(err);
			drop(&b);
		}
	}
}

static void expect_refused(struct blob *b, const struct toc_hint *hint, int want, const char *why)
{
	struct toc_hint h = *hint;
	struct index *ix;
	bool verified;
	char *err;
	int r = load(b, &h, &ix, &verified, &err);

	if (r != want || (why != NULL && (err == NULL || strstr(err, why) == NULL)))
		fail_msg("%d, %s instead of %d, %s", r, err, want, why);
	if (why != NULL)
		assert_int_equal(strncmp(err, "the-blob: ", 10), 0);
	free(err);
}

/* Positions and footers that cannot be. */
static void test_places(void **state)
{
	static const struct {
		const char *position, *why;
	} positions[] = {
		{ "", "position is damaged" },
		{ "1:2:3", "position is damaged" },
		{ "1:2:3:1:5", "position is damaged" },
		{ "-1:2:3:1", "position is damaged" },
		{ "99999999999999999999:2:3:1", "position is damaged" },
		{ "64:2:3:2", "unknown type" },
		{ "4:2:3:1", "outside of the blob" },
		{ "64:1048576:3:1", "outside of the blob" },
		{ "18446744073709551615:2:3:1", "outside of the blob" },
		{ "64:0:3:1", "outside of the blob" },
		{ "64:2:157286401:1", "larger than" },
		{ "64:9:3:1", "zstd data is damaged" },
	};
	static struct blob b;
	struct toc_hint hint = { 0 };

	(void)state;
	make(&b, ZSTD, TOC(""));
	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		hint.position = positions[i].position;
		expect_refused(&b, &hint, -EBADMSG, positions[i].why);
	}
	hint.position = NULL;
	/* no TOC: too short, or another magic */
	b.s.size = 71;
	expect_refused(&b, &hint, -ENODATA, NULL);
	b.s.size = 0;
	expect_refused(&b, &hint, -ENODATA, NULL);
	b.s.size = b.size - 1;
	expect_refused(&b, &hint, -ENODATA, NULL);
	drop(&b);
	make(&b, ESTARGZ, TOC(""));
	memset(b.data + b.size - 35, 'f', 16);
	assert_int_equal(pwrite(b.s.fd, b.data, b.size, 0), b.size);
	expect_refused(&b, &hint, -EBADMSG, "outside of the blob");
	memset(b.data + b.size - 35, '0', 16);
	assert_int_equal(pwrite(b.s.fd, b.data, b.size, 0), b.size);
	expect_refused(&b, &hint, -EBADMSG, "tar header is damaged");
	drop(&b);
	/* cut short behind the caller's back */
	make(&b, ESTARGZ, TOC(""));
	assert_int_equal(ftruncate(b.s.fd, (off_t)b.size - 100), 0);
	expect_refused(&b, &hint, -EIO, NULL);
	drop(&b);
	make(&b, EXTERNAL, TOC(""));
	close(b.external.fd);
	b.external.fd = -1;
	expect_refused(&b, &hint, -ENODATA, "kept elsewhere");
	drop(&b);
}

/* Every byte of TOC and footer, wrong once: refused or read, and nothing worse. */
static void test_flips(void **state)
{
	static struct blob b;
	struct toc_hint hint = { 0 };

	(void)state;
	for (enum format f = ZSTD; f < EXTERNAL; f++) {
		make(&b, f, TOC(FILE_A("f", ",\"digest\":\"" HELLO_SHA "\"")));
		for (size_t at = b.end; at < b.size; at++) {
			uint8_t c = b.data[at] ^ 0x41;
			struct index *ix = NULL;
			bool verified;
			char *err;
			int r;

			assert_int_equal(pwrite(b.s.fd, &c, 1, (off_t)at), 1);
			r = load(&b, &hint, &ix, &verified, &err);
			assert_true(r == 0 || r == -EBADMSG || r == -ENODATA);
			assert_true(r != -EBADMSG || err != NULL);
			index_close(ix);
			free(err);
			assert_int_equal(pwrite(b.s.fd, b.data + at, 1, (off_t)at), 1);
		}
		drop(&b);
	}
}

static void lookup(const struct index *ix, const char *name, struct index_inode *ret)
{
	struct index_dirent d;

	assert_int_equal(index_lookup(ix, INDEX_ROOT, name, strlen(name), &d), 0);
	assert_int_equal(index_inode(ix, d.ino, ret), 0);
}

static const char odd[] =
	"{\"version\":1,\"entries\":["
	"{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":@A,\"mode\":2541,"
	"\"modtime\":\"1969-12-31T23:59:58.25Z\",\"uid\":7,\"gid\":8,"
	"\"digest\":\"" HELLO_SHA "\","
	"\"xattrs\":{\"user.a\":\"AAECYQ==\"}},"
	"{\"name\":\"z\",\"type\":\"reg\",\"size\":4096,\"offset\":@B,"
	"\"modtime\":\"0001-01-01T00:00:00Z\"},"
	"{\"name\":\"l\",\"type\":\"hardlink\",\"linkName\":\"/f\"},"
	"{\"name\":\"c\",\"type\":\"char\",\"devMajor\":5,\"devMinor\":300},"
	"{\"name\":\".prefetch.landmark\",\"type\":\"reg\",\"size\":1,"
	"\"offset\":@A,\"innerOffset\":12},"
	"{\"name\":\"e/.prefetch.landmark\",\"type\":\"reg\"},"
	"{\"name\":\".wh.gone\",\"type\":\"reg\"}]}";

/* What an entry says is what the index says. */
static void test_values(void **state)
{
	static struct blob b;
	struct toc_hint hint = { 0 };
	struct index *ix;
	struct index_inode n;
	struct index_extent x;
	struct index_chunk c;
	struct index_frame fr;
	struct index_dirent d;
	struct index_xattr a;
	bool verified;
	char *err;

	(void)state;
	make(&b, ZSTD, odd);
	assert_int_equal(load(&b, &hint, &ix, &verified, &err), 0);
	lookup(ix, "f", &n);
	assert_int_equal(n.mode, S_IFREG | 04755);
	assert_int_equal(n.uid, 7);
	assert_int_equal(n.gid, 8);
	assert_int_equal(n.nlink, 2);
	assert_int_equal(n.mtime, -2);
	assert_int_equal(n.mtime_nsec, 250000000);
	assert_int_equal(index_xattr(ix, n.xattrs, 0, &a), 1);
	assert_int_equal(a.value_len, 4);
	assert_memory_equal(a.value, "\0\1\2a", 4);
	assert_int_equal(index_extent(ix, &n, 0, &x), 0);
	assert_false(x.hole);
	assert_int_equal(index_chunk(ix, x.chunk, &c), 0);
	assert_true(c.has_sha256);
	assert_int_equal(index_frame(ix, c.frame, &fr), 0);
	assert_int_equal(fr.off, b.a);
	assert_int_equal(fr.stored, b.b - b.a);
	lookup(ix, "z", &n);
	assert_int_equal(n.mtime, 0);
	assert_int_equal(index_extent(ix, &n, 0, &x), 0);
	assert_int_equal(index_chunk(ix, x.chunk, &c), 0);
	assert_int_equal(index_frame(ix, c.frame, &fr), 0);
	assert_int_equal(fr.stored, b.end - b.b);
	lookup(ix, "c", &n);
	assert_int_equal(n.rdev_major, 5);
	assert_int_equal(n.rdev_minor, 300);
	/* landmarks are hidden at the root alone */
	assert_int_equal(index_lookup(ix, INDEX_ROOT, ".prefetch.landmark", 18, &d), -ENOENT);
	lookup(ix, "e", &n);
	assert_int_equal(n.count, 1);
	assert_int_equal(n.mode, S_IFDIR | 0755);
	assert_int_equal(index_lookup(ix, INDEX_ROOT, "gone", 4, &d), 0);
	assert_true(d.whiteout);
	index_close(ix);
	drop(&b);
}

/* --- the tar's own headers --- */

struct text {
	char p[65536];
	size_t len;
};

static int sink(void *arg, const void *p, size_t len)
{
	struct text *t = arg;

	assert_true(len <= sizeof(t->p) - t->len);
	memcpy(t->p + t->len, p, len);
	t->len += len;
	return 0;
}

/* An entry's lines of a tar-split, with @padding bytes of padding before it. */
static void split_entry(struct text *out, const struct tar_entry *e, size_t padding)
{
	static char base64[65536];
	struct text headers = { .len = padding };
	struct tar_write *w;

	assert_int_equal(tar_write_new(&w, sink, &headers), 0);
	assert_int_equal(tar_write_entry(w, e), 0);
	tar_write_free(w);
	EVP_EncodeBlock((uint8_t *)base64, (uint8_t *)headers.p, (int)headers.len);
	out->len +=
		(size_t)snprintf(out->p + out->len, sizeof(out->p) - out->len,
				 "{\"type\":2,\"payload\":\"%s\",\"position\":0}\n"
				 "{\"type\":1,\"name\":\"%s\",\"payload\":null,\"position\":1}\n",
				 base64, e->path);
}

/* A blob of containers/storage: @json, where @S is the tar-split's digest, and @split. */
static void make_split(struct blob *b, const char *json, const struct text *split)
{
	static uint8_t packed[65536], toc[65536];
	static char text[65536];
	char sum[72];
	const char *at = strstr(json, "@S");
	uint64_t footer[8] = { 0 };
	size_t n = ZSTD_compress(packed, sizeof(packed), split->p, split->len, 3), k;

	hex(packed, n, sum);
	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - json), json, sum, at + 2);
	memset(b, 0, sizeof(*b));
	member(b, ZSTD, "the first tar header", 20);
	b->a = b->size;
	member(b, ZSTD, hello, 12);
	b->b = b->end = b->size;
	expand(b, text);
	k = ZSTD_compress(toc, sizeof(toc), b->json, strlen(b->json), 3);
	footer[0] = htole64(b->size + 8);
	footer[1] = htole64(k);
	footer[2] = htole64(strlen(b->json));
	footer[3] = htole64(1);
	footer[4] = htole64(b->size + 8 + k + 8);
	footer[5] = htole64(n);
	footer[6] = htole64(split->len);
	memcpy(footer + 7, "GNUlInUx", 8);
	skippable(b, toc, (uint32_t)k);
	skippable(b, packed, (uint32_t)n);
	skippable(b, footer, sizeof(footer));
	b->s = (struct source){ .fd = memfd_create("blob", MFD_CLOEXEC), .name = "the-blob" };
	b->external.fd = -1;
	b->s.size = b->size;
	assert_int_equal(pwrite(b->s.fd, b->data, b->size, 0), b->size);
}

#define DIR_D "{\"name\":\"d/\",\"type\":\"dir\",\"mode\":493,\"modtime\":\"1970-01-01T00:00:07Z\"}"
#define FILE_F                                                                                     \
	"{\"name\":\"f\",\"type\":\"reg\",\"size\":12,\"offset\":@A,\"mode\":420,\"uid\":3000000," \
	"\"modtime\":\"1970-01-01T00:00:05.5Z\",\"xattrs\":{\"user.b\":\"Yg==\",\"user.a\":\"YQ==" \
	"\"}}"
#define SPLIT(entries) \
	"{\"version\":1,\"entries\":[" entries "],\"tarSplitDigest\":\"@S\"}"

/* A TOC that says something else than the headers of its tar is refused. */
static void test_split(void **state)
{
	static const struct {
		const char *json, *why;
	} cases[] = {
		{ SPLIT(FILE_F "," DIR_D), NULL },
		{ SPLIT(DIR_D "," FILE_F), NULL }, /* the order is free */
		{ SPLIT(FILE_F), "the TOC has 1 entries, and its tar has 2; \"d/\" is the first" },
		{ SPLIT(FILE_F "," DIR_D ",{\"name\":\"x\",\"type\":\"fifo\"}"), "has 3 entries" },
		{ SPLIT("{\"name\":\"f\",\"type\":\"fifo\"}," DIR_D),
		  "\"f\": its header in the tar" },
		{ SPLIT(FILE_F ",{\"name\":\"d/\",\"type\":\"dir\",\"mode\":511,"
			       "\"modtime\":\"1970-01-01T00:00:07Z\"}"),
		  "\"d/\": its header in the tar" },
		{ SPLIT(FILE_F
			",{\"name\":\"d/\",\"type\":\"dir\",\"mode\":493,"
			"\"modtime\":\"1970-01-01T00:00:07Z\",\"xattrs\":{\"user.a\":\"YQ==\"}}"),
		  "\"d/\": its header in the tar" },
		{ "{\"version\":1,\"entries\":[" FILE_F "," DIR_D "],\"tarSplitDigest\":\"sha256:"
		  "0000000000000000000000000000000000000000000000000000000000000000\",\"x\":\"@"
		  "S\"}",
		  "not the one that the TOC names" },
	};
	struct tar_xattr xattrs[] = { { "user.a", 6, "a", 1 }, { "user.b", 6, "b", 1 } };
	const struct tar_entry f = {
		.path = "f",
		.mode = S_IFREG | 0644,
		.uid = 3000000,
		.size = 12,
		.mtime = 5,
		.mtime_nsec = 500000000,
		.xattrs = xattrs,
		.n_xattrs = 2,
	};
	const struct tar_entry d = { .path = "d", .mode = S_IFDIR | 0755, .mtime = 7 };
	static struct text split;
	static struct blob b;

	(void)state;
	split.len = 0;
	split_entry(&split, &f, 0);
	split_entry(&split, &d, 500);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct toc_hint hint = { 0 };
		struct index *ix = NULL;
		bool verified;
		char *err;
		int r;

		make_split(&b, cases[i].json, &split);
		r = load(&b, &hint, &ix, &verified, &err);
		if ((r == 0) != (cases[i].why == NULL) ||
		    (r != 0 && (err == NULL || strstr(err, cases[i].why) == NULL)))
			fail_msg("case %zu: %d, %s", i, r, err);
		index_close(ix);
		free(err);
		drop(&b);
	}
	/* and what is no tar-split */
	for (int i = 0; i < 3; i++) {
		static const char *const texts_of_it[] = {
			"{\"type\":2,\"payload\":\"YQ==\"}\n",
			"{\"type\":3}",
			"{\"type\":2,\"payload\":",
		};
		static const char *const whys[] = { "no header", "unknown type", "no JSON" };
		struct toc_hint hint = { 0 };

		split.len = (size_t)snprintf(split.p, sizeof(split.p), "%s", texts_of_it[i]);
		make_split(&b, SPLIT(FILE_F), &split);
		expect_refused(&b, &hint, -EBADMSG, whys[i]);
		drop(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
