/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -lzstd */
/*
 * frame_cost INDEX [READS]: what a read at a random place of the content costs that finds
 * nothing in a cache: the frame around it is read from the page cache, checked, and decompressed.
 * Prints microseconds of processor time per read, and MB/s of one frame after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "fs/layer/index.h"
#include "fs/layer/source.h"

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	(void)fprintf(stderr, "frame_cost: %s\n", what);
	exit(1);
}

static void get(const struct source *s, ZSTD_DCtx *d, const struct index_frame *f, void *in,
		void *out)
{
	if (source_pread(s, in, f->stored, f->off) != (ssize_t)f->stored ||
	    XXH3_64bits(in, f->stored) != f->xxh3)
		die("a frame is damaged");
	if (f->codec == INDEX_ZSTD && ZSTD_decompressDCtx(d, out, f->raw, in, f->stored) != f->raw)
		die("a frame cannot be decompressed");
}

int main(int argc, char **argv)
{
	unsigned reads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20000;
	const struct index_info *info;
	uint64_t *ends, total = 0, x = 88172645463325252;
	struct index_frame *frames;
	size_t largest = 1;
	struct source s;
	struct index *ix;
	char *err = NULL, *in, *out;
	ZSTD_DCtx *d = ZSTD_createDCtx();
	double begin, all;

	if (argc < 2 || index_open(-100, argv[1], &ix, &err) < 0)
		die(err ? err : "usage: frame_cost INDEX [READS]");
	info = index_info(ix);
	/* beside the index, where we are */
	if (source_open_blob(-100, info->blob, info->blob_size, &s, &err) < 0)
		die(err ? err : "no blob");
	ends = calloc(info->frames + 1, sizeof(*ends));
	frames = calloc(info->frames + 1, sizeof(*frames));
	if (!ends || !frames || !d || !info->frames)
		die("no memory, or no frames");
	for (uint32_t i = 0; i < info->frames; i++) {
		if (index_frame(ix, i, &frames[i]) < 0)
			die("the index is damaged");
		total += frames[i].raw;
		ends[i] = total;
		if (frames[i].raw > largest)
			largest = frames[i].raw;
	}
	in = malloc(2 * largest);
	out = malloc(largest);
	if (!in || !out)
		die("no memory");
	for (uint32_t i = 0; i < info->frames; i++)
		get(&s, d, &frames[i], in, out);
	begin = now();
	for (uint32_t i = 0; i < info->frames; i++)
		get(&s, d, &frames[i], in, out);
	all = now() - begin;
	begin = now();
	for (unsigned n = 0; n < reads; n++) {
		uint64_t lo = 0, hi = info->frames - 1, at;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at = x % total;
		while (lo < hi) {
			uint64_t mid = (lo + hi) / 2;

			if (at < ends[mid])
				hi = mid;
			else
				lo = mid + 1;
		}
		get(&s, d, &frames[lo], in, out);
	}
	(void)printf("%.1f %.0f\n", (now() - begin) * 1e6 / reads, (double)total / 1e6 / all);
	(void)close(s.fd);
	index_close(ix);
	ZSTD_freeDCtx(d);
	free(ends);
	free(frames);
	free(in);
	free(out);
	return 0;
}
