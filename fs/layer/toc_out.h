/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writers of eStargz and zstd:chunked share: members one after another, the
 * text of a TOC, and annotations. For one thread; 0 or -errno.
 */
#ifndef PLYFS_LAYER_TOC_OUT_H
#define PLYFS_LAYER_TOC_OUT_H

#include "fs/layer/toc_i.h"
#include "fs/layer/tar_write.h"
#include "fs/layer/toc_write.h"
#include "lib/sha256.h"

/* --- text that grows --- */

struct toc_text {
	char *p; /* owned */
	size_t len, max;
};
int toc_text_add(struct toc_text *t, const void *p, size_t len);
int toc_text_printf(struct toc_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* ,"KEY":"VALUE" escaped; nothing for NULL or "". -EILSEQ: no UTF-8, or a NUL. */
int toc_text_string(struct toc_text *t, const char *key, const char *value);
/* ,"KEY":N; nothing for 0. */
int toc_text_number(struct toc_text *t, const char *key, uint64_t n);
int toc_text_digest(struct toc_text *t, const char *key, const uint8_t sha256[32]);
/* ,"KEY":"2024-02-29T12:00:00.5Z" */
int toc_text_time(struct toc_text *t, const char *key, int64_t sec, uint32_t nsec);
/* ,"xattrs":{"NAME":"BASE64"}; nothing for none. -EILSEQ as above. */
int toc_text_xattrs(struct toc_text *t, const struct tar_xattr *x, size_t n);
int toc_text_base64(struct toc_text *t, const void *p, size_t len);
void toc_text_release(struct toc_text *t);

/* --- members: gzip members or zstd frames in a file --- */

struct members;

int members_new(int fd, bool zstd, int level, struct members **ret);
void members_free(struct members *m); /* NULL is ignored */
/* Into the member that is open; counts for the diff ID. */
int members_put(struct members *m, const void *p, size_t len);
/* Ends the member, if one is open; *ret (may be NULL) is where the next one begins. */
int members_cut(struct members *m, uint64_t *ret);
/* Bytes as they are, between members; they do not count for the diff ID. */
int members_raw(struct members *m, const void *p, size_t len);
/* A skippable zstd frame. */
int members_skippable(struct members *m, const void *p, size_t len);
uint64_t members_offset(const struct members *m); /* what was written, without an open member */
uint64_t members_raw_size(const struct members *m); /* uncompressed */
/* Writes what is buffered; digests of the blob and of the tar. */
int members_end(struct members *m, uint8_t blob[32], uint8_t tar[32]);

/* One zstd frame of @p into @out. */
int toc_compress(const void *p, size_t len, int level, struct toc_text *out);

/* --- the writers --- */

struct toc_job {
	const struct source *tar; /* uncompressed */
	const struct toc_write_options *o;
	struct members *m;
	struct toc_text toc;
	struct toc_written *w;
	uint64_t told; /* bytes that progress was told of */
};

int toc_note(struct toc_written *w, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int toc_note_digest(struct toc_written *w, const char *key, const uint8_t sum[32]);
/* Tells how far it is: @done bytes of the tar. */
int toc_progress(struct toc_job *j, uint64_t done, uint64_t files);

int toc_write_estargz(struct toc_job *j, char **ret_err);
int toc_write_chunked(struct toc_job *j, char **ret_err);

#endif
