/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as frames of a blob, and an index over them that claims anything: nothing is
 * read or written out of bounds, what two ways of decompressing give is the same, and
 * memory does not follow claims.
 *
 * Input: 16 bytes for each of up to four frames (codec, where they lie, what they claim to
 * hold), 0xff where no more follow, then the blob.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/layer/blob.h"
#include "fs/layer/frame.h"
#include "fs/layer/index_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FRAMES 4
/* What is decompressed of a frame, at most. */
#define MAX_RAW (1U << 20)

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/* Whole, and a piece at a time. */
static void both_ways(const struct source *blob, const struct index_frame *f, unsigned piece)
{
	uint8_t *a = malloc(f->raw + 1), *b = malloc(f->raw + 1);
	struct frame_stream *s = NULL;
	const char *why = NULL;
	uint64_t at = 0;
	int ra, rb;

	if (!a || !b)
		abort();
	ra = frame_load(blob, f, a, &why);
	if (ra < 0 && !why)
		abort();
	rb = frame_stream_open(blob, f, &s, &why);
	while (!rb && at < f->raw) {
		uint64_t n = f->raw - at < piece ? f->raw - at : piece;

		rb = frame_stream_next(s, at % 3 == 2 ? NULL : b + at, n, &why);
		if (!rb && at % 3 == 2)
			memcpy(b + at, a + at, n);
		at += n;
	}
	/* a window that is too large for the second way is not for the first */
	if ((!ra != !rb && !(f->codec == INDEX_ZSTD && !ra)) ||
	    (!ra && !rb && memcmp(a, b, f->raw)))
		abort();
	frame_stream_close(s);
	free(a);
	free(b);
}

static char dir[] = "/dev/shm/fuzz_blob.XXXXXX";
static int dirfd = -1;

static void remove_dir(void)
{
	(void)unlinkat(dirfd, "i", 0);
	(void)rmdir(dir);
}

static void make_dir(void)
{
	if (dirfd >= 0)
		return;
	if (!mkdtemp(dir))
		abort();
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)atexit(remove_dir);
}

/* The same frames, as a file of an index. */
static void as_file(const struct source *blob, const struct index_frame *f, unsigned n,
		    const uint64_t *claims)
{
	struct index_info info = { .blob_size = blob->size };
	struct index_entry e = { .mode = S_IFREG | 0644 };
	struct index_build *b;
	struct index_inode in;
	struct source src = *blob;
	struct blob *bl = NULL;
	struct index *ix;
	uint8_t buf[5000];
	unsigned i;
	uint32_t id;

	make_dir();
	for (i = 0; i < n; i++)
		e.size += claims[i] % (1ULL << 50);
	if (index_build_new(&b) < 0)
		abort();
	if (index_build_add(b, "f", &e, &id, NULL) < 0)
		goto out;
	e.size = 0;
	for (i = 0; i < n; i++) {
		struct index_chunk c = { .len = claims[i] % (1ULL << 50) };
		struct index_extent x = { .off = e.size, .len = c.len };
		struct index_frame claim = f[i];

		claim.raw = c.len;
		c.has_sha256 = i == 2;
		if (!c.len || index_build_frame(b, &claim, &c.frame) < 0 ||
		    index_build_chunk(b, &c, &x.chunk) < 0 || index_build_extent(b, id, &x) < 0)
			goto out;
		e.size += c.len;
	}
	if (index_build_write(b, &info, dirfd, "i", NULL) < 0)
		goto out;
	if (index_open(dirfd, "i", &ix, NULL) == 0) {
		src.fd = dup(blob->fd);
		if (blob_open(ix, &src, &bl) == 0 && index_inode(ix, 2, &in) == 0) {
			(void)blob_read(bl, &in, buf, sizeof(buf), 0, true);
			(void)blob_read(bl, &in, buf, sizeof(buf), 0, false);
			(void)blob_read(bl, &in, buf, sizeof(buf), in.size / 2, false);
			(void)blob_read(bl, &in, buf, sizeof(buf), in.size - 1, false);
			(void)blob_seek(bl, &in, 0, SEEK_HOLE);
		}
		blob_close(bl);
		index_close(ix);
	}
	(void)unlinkat(dirfd, "i", 0);
out:
	index_build_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct index_frame f[MAX_FRAMES];
	uint64_t claims[MAX_FRAMES];
	struct source blob = { .name = "fuzz" };
	unsigned n = 0, i;

	if (fd < 0)
		fd = memfd_create("blob", MFD_CLOEXEC);
	while (n < MAX_FRAMES && size >= 16 && data[0] != 0xff) {
		f[n] = (struct index_frame){
			.codec = data[0] % INDEX_CODECS,
			.off = u32(data + 4) & 0xfffff,
			.stored = u32(data + 8) & 0xfffff,
			.raw = u32(data + 12) % MAX_RAW,
			.xxh3 = data[1] == 1,
		};
		claims[n] = f[n].raw + 1;
		if (data[2] & 1) /* more than it has */
			claims[n] = (uint64_t)u32(data + 12) << (data[3] % 32);
		n++;
		data += 16;
		size -= 16;
	}
	if (!n)
		return 0;
	data += size > 0;
	size -= size > 0;
	if (ftruncate(fd, 0) < 0 || (size && pwrite(fd, data, size, 0) != (ssize_t)size))
		abort();
	blob.fd = fd;
	blob.size = size;
	for (i = 0; i < n; i++)
		both_ways(&blob, &f[i], 1 + (unsigned)(claims[i] % 70000));
	as_file(&blob, f, n, claims);
	return 0;
}
