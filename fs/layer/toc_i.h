/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the TOC readers share. In the order of the data:
 *
 *	estargz.c, zstdchunked.c   footers and annotations: where the TOC is in the blob
 *	toc_stream.c               its bytes, decompressed and hashed on the way
 *	toc_json.c, toc_fields.c   JSON to entries, one at a time (toc_text.c: their small texts)
 *	toc_entry.c                entries to the index; pieces of files are collected
 *	toc_layout.c               pieces to frames, chunks and extents, once all are known
 *	toc_split.c                the tar's own headers, where the blob keeps them: they must agree
 *
 * Functions return 0 or a positive result, or -errno, and with -EBADMSG
 * a message in *ret_err (malloc'ed) that says which entry, and why.
 */
#ifndef PLYFS_LAYER_TOC_I_H
#define PLYFS_LAYER_TOC_I_H

#include <openssl/evp.h>

#include "fs/layer/toc.h"

/* What a TOC may be at most, compressed or not; containers/storage has the same limit. */
#define TOC_MAX (150U << 20)
#define TOC_SHA256 32
/* A path in a TOC, with its NUL. */
#define TOC_PATH_MAX 4096
/* Directories that no entry names: as many as entries, and this many more. */
#define TOC_SPARE_DIRS (1U << 20)

/* --- toc_text.c --- */

/* Sets *ret_err and returns @r. Characters that a terminal would obey become '?'. */
int toc_fail(char **ret_err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "sha256:HEX": 1; a digest of another algorithm: 0; else -EINVAL. */
int toc_digest(const char *s, size_t len, uint8_t ret[TOC_SHA256]);
/* RFC 3339, fractions and offsets too. The zero time of Go, year 1, and "" are 0. -EINVAL. */
int toc_time(const char *s, size_t len, int64_t *ret, uint32_t *ret_nsec);
/* Base64 with or without padding, into @out of at least len / 4 * 3 + 3; the length, or -EINVAL. */
ssize_t toc_base64(const char *s, size_t len, uint8_t *out);
/* "1:23:4", @n numbers in decimal without a sign. -EINVAL. */
int toc_numbers(const char *s, uint64_t *ret, size_t n);
/*
 * @path without "", "." and a leading "/": into @out of TOC_PATH_MAX; its length. -EINVAL where
 * it has a ".." or a NUL, -ENAMETOOLONG.
 */
ssize_t toc_clean(const char *path, char *out);

/* --- toc_stream.c --- */

enum toc_codec { TOC_RAW,
		 TOC_GZIP,
		 TOC_ZSTD };

struct toc_stream;

/* Reads [off, off + len) of @s, which must stay. At most TOC_MAX and a bit comes out of it. */
int toc_stream_new(const struct source *s, uint64_t off, uint64_t len, enum toc_codec codec,
		   struct toc_stream **ret);
void toc_stream_free(struct toc_stream *st); /* NULL is ignored */
/* Fills @buf as far as there is something: less than @size means the end. */
ssize_t toc_stream_read(struct toc_stream *st, void *buf, size_t size, char **ret_err);
/* Lets more come out of it than a TOC may have. */
void toc_stream_limit(struct toc_stream *st, uint64_t max);
/* SHA-256 of the stored bytes; the stream must be at its end, nothing may follow it. */
int toc_stream_stored(struct toc_stream *st, uint8_t ret[TOC_SHA256], char **ret_err);

/* --- toc_json.c --- */

enum toc_type {
	TOC_NONE,
	TOC_DIR,
	TOC_REG,
	TOC_SYMLINK,
	TOC_HARDLINK,
	TOC_CHAR,
	TOC_BLOCK,
	TOC_FIFO,
	TOC_CHUNK,
};

struct toc_xattr {
	const char *name;
	const void *value;
	size_t len;
};

/* An entry as the JSON has it. Strings are valid until the callback returns. */
struct toc_entry {
	enum toc_type type;
	const char *name, *link; /* NULL: none */
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t mode, uid, gid, dev_major, dev_minor;
	uint64_t size, offset, inner, end; /* end: endOffset, 0: none */
	uint64_t chunk_offset, chunk_size;
	bool zeros; /* chunkType */
	bool has_digest, has_chunk_digest;
	uint8_t digest[TOC_SHA256], chunk_digest[TOC_SHA256];
	const struct toc_xattr *xattrs;
	size_t n_xattrs;
};

/* Called for each entry in their order. What is not 0 ends the parse and is its result. */
typedef int (*toc_entry_fn)(void *arg, const struct toc_entry *e, char **ret_err);

struct toc_json;

int toc_json_new(toc_entry_fn fn, void *arg, struct toc_json **ret);
void toc_json_free(struct toc_json *j); /* NULL is ignored */
int toc_json_feed(struct toc_json *j, const void *data, size_t size, char **ret_err);
/* The document must be complete. *ret_split: whether it names a digest of the tar-split. */
int toc_json_end(struct toc_json *j, bool *ret_split, uint8_t split[TOC_SHA256],
		 char **ret_err);

/* --- toc_entry.c, toc_layout.c --- */

/* A piece of a file, or of something that is hidden, in the blob. */
struct toc_piece {
	uint64_t offset, inner, end; /* end: where its frame ends in the blob, 0: not said */
	uint64_t file_off, len;
	uint32_t id; /* of the file; 0: hidden */
	uint32_t chunk;
	uint32_t entry; /* its number in the TOC, from 0 */
	bool zeros, has_sha256;
	uint8_t sha256[TOC_SHA256];
};

struct toc_set; /* names that were seen */

/* A digest of all that a tar's header says too, for comparison with that. */
struct toc_sum {
	uint64_t low, high;
};

struct toc_sums {
	uint64_t seed;
	size_t n, max;
	struct toc_sum *p; /* owned */
};

struct toc_load {
	struct index_build *b;
	enum index_codec codec;
	uint64_t data_end; /* where data ends in the blob */
	bool hide_landmarks, want_sums;

	uint32_t entries;
	struct toc_set *names; /* owned */
	struct toc_sums sums; /* of entries, chunks aside */
	struct toc_piece *pieces; /* owned */
	size_t n_pieces, max_pieces;
	struct { /* the file whose chunks may come */
		bool open;
		uint32_t id;
		uint64_t size, next, end;
		char name[TOC_PATH_MAX]; /* as the TOC has it */
	} file;
};

int toc_load_init(struct toc_load *l, struct index_build *b);
void toc_load_release(struct toc_load *l);
/* A toc_entry_fn; @arg is the toc_load. */
int toc_load_entry(void *arg, const struct toc_entry *e, char **ret_err);
/* The last entry was seen. */
int toc_load_end(struct toc_load *l, char **ret_err);
/*
 * Makes frames, chunks and extents. Where pieces contradict each other, -EBADMSG,
 * *ret_why (static) says why and *ret_entry is the number of the entry.
 */
int toc_layout(struct toc_load *l, const char **ret_why, uint32_t *ret_entry);

/* --- toc_split.c --- */

struct toc_place;

int toc_split_add(struct toc_sums *s, const struct toc_entry *e);
/* Whether the headers in the tar-split, whose digest must be @sha256, say what the TOC does. */
int toc_split_check(const struct source *s, const struct toc_place *p, const uint8_t sha256[32],
		    struct toc_sums *toc, char **ret_err);

/* --- estargz.c, zstdchunked.c --- */

/* Where a TOC is. */
struct toc_place {
	enum index_kind kind;
	uint64_t off, size; /* in the blob, or in hint->external */
	uint64_t raw; /* bytes of the JSON; 0: not said */
	uint64_t data_end;
	uint64_t split_off, split_size, split_raw; /* zstd:chunked: tar-split, 0: none */
	bool external;
	bool stargz; /* stargz-snapshotter's conventions: landmarks, digest of the JSON */
};

/* By the footer: 1 if it is there; 0: it is not. */
int estargz_find(const struct source *s, struct toc_place *ret, char **ret_err);
/* By the annotations, else by the footer. */
int zstdchunked_find(const struct source *s, const struct toc_hint *hint, struct toc_place *ret,
		     char **ret_err);
/* Goes to the JSON in a tar; *ret_size bytes of it follow. */
int estargz_enter(struct toc_stream *st, uint64_t *ret_size, char **ret_err);

#endif
