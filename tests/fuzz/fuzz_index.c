/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an index. The checksums are put right first, as an attacker
 * would: what is behind them must stand on its own.
 */
#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "fs/layer/index.h"
#include "fs/layer/index_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_right(uint8_t *p, size_t size)
{
	struct disk_header h;
	uint64_t off, len, k, at;

	memcpy(&h, p, sizeof(h));
	off = le64toh(h.sec[SEC_CHECKSUMS].off);
	len = le64toh(h.sec[SEC_CHECKSUMS].size);
	if (off >= sizeof(h) && off <= size && len <= size - off) {
		for (k = 0; k < len / 8 && (at = k * INDEX_BLOCK) < off; k++) {
			uint64_t from = at ? at : sizeof(h), to = at + INDEX_BLOCK, sum;

			if (to > off)
				to = off;
			sum = htole64(XXH3_64bits(p + from, to - from));
			memcpy(p + off + k * 8, &sum, 8);
		}
		h.checksums = htole64(XXH3_64bits(p + off, len));
	}
	h.file_size = htole64(size);
	h.self = htole64(XXH3_64bits(&h, offsetof(struct disk_header, self)));
	memcpy(p, &h, sizeof(h));
}

/* What a mount does: goes everywhere that names lead, to some depth. */
static void walk(const struct index *ix, uint32_t ino, unsigned depth, unsigned *budget)
{
	struct index_inode n;
	struct index_dirent d, same;
	struct index_extent e;
	struct index_xattr x;
	const char *target;
	uint64_t at = 0;
	uint32_t i;

	if (!*budget || !--*budget || index_inode(ix, ino, &n) < 0)
		return;
	for (i = 0; index_xattr(ix, n.xattrs, i, &x) > 0; i++)
		if (memchr(x.name, 0, x.name_len))
			abort();
	if ((n.mode & 0170000) == 0120000 && index_readlink(ix, &n, &target) > 0 &&
	    memchr(target, 0, n.size))
		abort();
	while (at < n.size && (n.mode & 0170000) == 0100000 && *budget && --*budget &&
	       index_extent(ix, &n, at, &e) == 0) {
		if (e.off > at || e.len == 0 || e.off + e.len <= at || e.off + e.len > n.size)
			abort();
		at = e.off + e.len;
	}
	for (i = 0; (n.mode & 0170000) == 0040000 && i < n.count && *budget; i++) {
		if (index_dirent(ix, &n, i, &d) < 0) {
			--*budget;
			continue;
		}
		if (memchr(d.name, '/', d.len))
			abort();
		(void)index_lookup(ix, ino, d.name, d.len, &same);
		if (!d.whiteout && depth < 64)
			walk(ix, d.ino, depth + 1, budget);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	unsigned budget = 2000;
	struct index *ix;
	uint8_t *copy;
	char *err;

	if (size < sizeof(struct disk_header) || size > 1 << 20)
		return 0;
	if (fd < 0)
		fd = memfd_create("index", MFD_CLOEXEC);
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	put_right(copy, size);
	if (ftruncate(fd, 0) == 0 && pwrite(fd, copy, size, 0) == (ssize_t)size) {
		if (index_open_fd(fd, &ix, &err) == 0) {
			walk(ix, INDEX_ROOT, 0, &budget);
			(void)index_check(ix, &err);
			free(err);
			index_close(ix);
		} else {
			free(err);
		}
	}
	free(copy);
	return 0;
}
