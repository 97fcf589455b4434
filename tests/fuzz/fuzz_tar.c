/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -larchive -lisal -llzma -lbz2 -lzstd */
/*
 * Any bytes as a layer: packed, or refused with a reason and nothing left behind. What was
 * packed is a sound index whose files can all be read.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/layer/blob.h"
#include "fs/layer/pack.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int dir, in;
static char name[64];

static void gone(void)
{
	(void)rmdir(name);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	/* in memory, where syncing costs nothing */
	(void)snprintf(name, sizeof(name), "%s/fuzz_tar.XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(name))
		abort();
	(void)atexit(gone);
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	in = memfd_create("layer", MFD_CLOEXEC);
	if (dir < 0 || in < 0)
		abort();
	return 0;
}

static int clear(void)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;
	int n = 0;

	if (!d)
		abort();
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		(void)unlinkat(dir, e->d_name, 0);
		n++;
	}
	(void)closedir(d);
	return n;
}

static void read_all(const struct index *ix, const struct source *tar)
{
	const struct index_info *info = index_info(ix);
	struct source src = *tar;
	struct index_inode i;
	struct blob *b;
	char buf[4096];

	src.fd = dup(in);
	if (info->kind == INDEX_PACKED) {
		(void)close(src.fd);
		if (source_open_blob(dir, info->blob, info->blob_size, &src, NULL) < 0)
			abort();
	}
	if (blob_open(ix, &src, &b) < 0)
		abort();
	for (uint32_t ino = 1; ino <= info->inodes; ino++) {
		if (index_inode(ix, ino, &i) < 0)
			abort();
		if ((i.mode & S_IFMT) != S_IFREG || !i.size)
			continue;
		for (uint64_t off = 0; off < i.size && off < (1 << 20); off += sizeof(buf))
			if (blob_read(b, &i, buf, sizeof(buf), off, false) < 0)
				abort();
		if (blob_read(b, &i, buf, 1, i.size - 1, false) != 1)
			abort();
	}
	blob_close(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source s = { .fd = in, .size = size, .name = "layer" };
	struct pack_options o = { .threads = 1, .frame = 4096, .level = 1 };
	struct index_info info;
	struct index *ix;
	char *err = NULL;
	int r;

	if (ftruncate(in, 0) < 0 || pwrite(in, data, size, 0) != (ssize_t)size)
		return 0;
	o.repack = size & 1;
	r = pack_layer(&s, dir, "index", &o, &info, &err);
	if ((r < 0) != (err != NULL))
		abort();
	if (r == 0) {
		if (index_open(dir, "index", &ix, &err) < 0 || index_check(ix, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err ? err : "?");
			abort();
		}
		read_all(ix, &s);
		index_close(ix);
	}
	if (clear() != (r < 0 ? 0 : info.kind == INDEX_TAR ? 1 :
							     2))
		abort();
	free(err);
	return 0;
}
