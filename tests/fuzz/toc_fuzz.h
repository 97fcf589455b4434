/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both fuzzers of TOCs do with a blob: an index is made of it as the layer
 * cache does it, and what was accepted must pass index_check().
 *
 * The first byte of an input says what it is: odd, a blob as it is; even, the JSON of a TOC,
 * for which the fuzzer makes a blob that is right but for that.
 */
#ifndef PLYFS_TESTS_TOC_FUZZ_H
#define PLYFS_TESTS_TOC_FUZZ_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/layer/toc.h"

#define BLOB_MAX (1U << 20)

struct blob {
	size_t size;
	uint8_t data[BLOB_MAX];
};

/* A member of "hello world", at 64: what entries can be about. */
#define CONTENT "hello world\n"
#define CONTENT_AT 64

static inline void blob_put(struct blob *b, const void *p, size_t size)
{
	if (size > sizeof(b->data) - b->size)
		abort();
	memcpy(b->data + b->size, p, size);
	b->size += size;
}

/* Where an index is written: on tmpfs, since that syncs, and removed at the end. */
static char fuzz_path[] = "/dev/shm/fuzz.XXXXXX";

static inline void fuzz_end(void)
{
	(void)rmdir(fuzz_path);
}

static inline int fuzz_dir(void)
{
	static int dir = -1;

	if (dir < 0) {
		if (mkdtemp(fuzz_path) == NULL || atexit(fuzz_end) != 0)
			abort();
		dir = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			abort();
	}
	return dir;
}

static inline int fuzz_file(const void *p, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, p, size, 0) != (ssize_t)size)
		abort();
	return fd;
}

/* @external may be NULL. */
static inline void fuzz_load(const struct blob *blob, const struct blob *external,
			     const char *position)
{
	struct source s = { .fd = fuzz_file(blob->data, blob->size),
			    .size = blob->size,
			    .name = "x" };
	struct source e = { .fd = -1 };
	struct toc_hint hint = { .position = position };
	struct index_info info = { 0 };
	struct index_build *b;
	struct index *ix;
	bool verified;
	char *err = NULL;
	int r;

	if (external != NULL) {
		e.fd = fuzz_file(external->data, external->size);
		e.size = external->size;
		hint.external = &e;
	}
	if (index_build_new(&b) != 0)
		abort();
	r = toc_index(&s, &hint, b, &info, &verified, &err);
	if (r == -EBADMSG && err == NULL)
		abort();
	if (r == 0 && verified)
		abort(); /* nothing vouches for it */
	if (r == 0) {
		info.blob_size = s.size;
		r = index_build_write(b, &info, fuzz_dir(), "index", &err);
		if (r == 0) {
			if (index_open(fuzz_dir(), "index", &ix, NULL) != 0 ||
			    index_check(ix, NULL) != 0)
				abort();
			index_close(ix);
			(void)unlinkat(fuzz_dir(), "index", 0);
		}
	}
	index_build_free(b);
	free(err);
	close(s.fd);
	if (e.fd >= 0)
		close(e.fd);
}

#endif
