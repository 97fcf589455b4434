/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a tar that is written anew with a table of contents: what is written must be
 * read by its TOC, and be the same a second time. The first byte chooses the format.
 */
#include "toc_fuzz.h"

#include <stdio.h>

#include "fs/layer/toc_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *note(const struct toc_written *w, const char *end)
{
	for (unsigned i = 0; i < w->n_notes; i++) {
		const size_t n = strlen(w->notes[i].key), len = strlen(end);

		if (n > len && strcmp(w->notes[i].key + n - len, end) == 0)
			return w->notes[i].value;
	}
	return NULL;
}

/* An index of what was written. Names that the index refuses are none of the writer's fault. */
static void read_back(int fd, const struct toc_written *w)
{
	struct source s = { .fd = fd, .size = w->size, .name = "x" };
	struct toc_hint hint = {
		.stargz_digest = note(w, "stargz/toc.digest"),
		.checksum = note(w, "manifest-checksum"),
		.position = note(w, "manifest-position"),
		.tarsplit_position = note(w, "tarsplit-position"),
	};
	struct index_info info = { 0 };
	struct index_build *b;
	bool verified;
	char *err = NULL;
	int r;

	if (index_build_new(&b) != 0)
		abort();
	r = toc_index(&s, &hint, b, &info, &verified, &err);
	if (r == 0 && !verified)
		abort();
	if (r < 0 && (err == NULL || strstr(err, "entry ") == NULL)) {
		fprintf(stderr, "%s\n", err);
		abort();
	}
	index_build_free(b);
	free(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const first[] = { "a", "d/f", "", "../x" };
	struct toc_write_options o = { .level = 1, .chunk = 4096 };
	struct toc_written w, again;
	struct source s = { .name = "x" };
	int spool, fd, r, r2;
	char *err = NULL;

	if (size < 1 || size > 1 << 20)
		return 0;
	o.format = data[0] % 3;
	if (data[0] & 4 && o.format != TOC_FORMAT_CHUNKED) {
		o.first = first;
		o.n_first = sizeof(first) / sizeof(first[0]);
	}
	s.fd = fuzz_file(data + 1, size - 1);
	s.size = size - 1;
	spool = fuzz_file("", 0);
	fd = fuzz_file("", 0);
	r = toc_write(&s, spool, fd, &o, &w, &err);
	if (r == 0)
		read_back(fd, &w);
	else if (err == NULL && r != -ENOMEM && r != -E2BIG && r != -EIO) {
		fprintf(stderr, "%d and no word\n", r);
		abort();
	}
	free(err);
	err = NULL;
	if (r == 0) {
		if (ftruncate(spool, 0) != 0 || ftruncate(fd, 0) != 0)
			abort();
		r2 = toc_write(&s, spool, fd, &o, &again, &err);
		if (r2 != 0 || memcmp(w.digest, again.digest, 32) != 0 ||
		    memcmp(w.diff_id, again.diff_id, 32) != 0)
			abort();
		free(err);
	}
	close(s.fd);
	close(spool);
	close(fd);
	return 0;
}
