/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of files, and the blobs that lie beside an index. */
#include "fs/layer/source.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer/index.h"
#include "lib/cleanup.h"
#include "lib/newfile.h"
#include "lib/sys.h"

#define REF_MAGIC "plyref 1\n"
#define REF_MAX (PATH_MAX + 64)
#define REF_NAME_SIZE (INDEX_BLOB_NAME_SIZE + 4)

ssize_t source_pread(const struct source *s, void *buf, size_t size, uint64_t off)
{
	size_t done = 0;

	if (off >= s->size)
		return 0;
	if (size > s->size - off)
		size = (size_t)(s->size - off);
	while (done < size) {
		ssize_t n = sys_pread(s->fd, (char *)buf + done, size - done,
				      (off_t)(s->off + off + done));

		if (n < 0)
			return n;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static bool begins(const uint8_t *buf, ssize_t n, const char *magic, size_t len)
{
	return n >= (ssize_t)len && !memcmp(buf, magic, len);
}

/* Whether the first block of a file is a tar's: zeros, or with the right sum. */
static bool is_tar(const uint8_t *buf, ssize_t n)
{
	unsigned long want;
	unsigned sum = 0;
	char field[9];
	int i;

	if (n == 0)
		return true;
	if (n < 512)
		return false;
	for (i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? ' ' : buf[i];
	if (sum == 8 * ' ')
		return true;
	memcpy(field, buf + 148, 8);
	field[8] = 0;
	errno = 0;
	want = strtoul(field, NULL, 8);
	return errno == 0 && want == sum;
}

int source_format(const struct source *s)
{
	uint8_t buf[512];
	ssize_t n = source_pread(s, buf, sizeof(buf), 0);

	if (n < 0)
		return (int)n;
	if (begins(buf, n, "\x1f\x8b", 2))
		return SOURCE_GZIP;
	/* a frame, or a skippable one */
	if (begins(buf, n, "\x28\xb5\x2f\xfd", 4) ||
	    (n >= 4 && (buf[0] & 0xf0) == 0x50 && !memcmp(buf + 1, "\x2a\x4d\x18", 3)))
		return SOURCE_ZSTD;
	if (begins(buf, n, "\xfd"
			   "7zXZ",
		   6))
		return SOURCE_XZ;
	if (begins(buf, n, "BZh", 3))
		return SOURCE_BZIP2;
	if (begins(buf, n, "plyindex", 8))
		return SOURCE_INDEX;
	return is_tar(buf, n) ? SOURCE_TAR : SOURCE_UNKNOWN;
}

static void ref_name(const uint8_t sha256[32], char ret[REF_NAME_SIZE])
{
	index_blob_name(sha256, ret);
	memcpy(ret + INDEX_BLOB_NAME_SIZE - 1, ".ref", 5);
}

int source_write_ref(int dirfd, const uint8_t sha256[32], const char *path, uint64_t off,
		     uint64_t size)
{
	struct newfile f = { .fd = -1 };
	char name[REF_NAME_SIZE], buf[REF_MAX];
	ssize_t n;
	int len, r;

	if (path[0] != '/' || strchr(path, '\n'))
		return -EINVAL;
	len = snprintf(buf, sizeof(buf), REF_MAGIC "%s\n%" PRIu64 " %" PRIu64 "\n", path, off,
		       size);
	if (len < 0 || (size_t)len >= sizeof(buf))
		return -ENAMETOOLONG;
	ref_name(sha256, name);
	r = newfile_begin(dirfd, 0644, &f);
	if (r < 0)
		return r;
	n = sys_pwrite(f.fd, buf, (size_t)len, 0);
	r = n < 0 ? (int)n : n != len ? -EIO :
					newfile_commit(&f, name, true);
	newfile_abort(&f);
	return r;
}

static int fail(char **ret_err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(char **ret_err, int r, const char *fmt, ...)
{
	char buf[PATH_MAX + 200];
	va_list ap;

	if (!ret_err)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	*ret_err = sys_strdup(buf);
	return r;
}

/* Opens what a .ref names: its descriptor, with the window in @ret. */
static int open_ref(int dirfd, const char *name, struct source *ret, char **ret_err)
{
	_cleanup_fd_ int fd = sys_openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	char buf[REF_MAX + 1], *nl;
	const size_t magic = sizeof(REF_MAGIC) - 1;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	n = sys_pread(fd, buf, REF_MAX, 0);
	if (n < 0)
		return (int)n;
	buf[n] = 0;
	nl = (size_t)n > magic && !memcmp(buf, REF_MAGIC, magic) ? strchr(buf + magic, '\n') : NULL;
	if (!nl || buf[magic] != '/' ||
	    sscanf(nl, "\n%" SCNu64 " %" SCNu64 "\n", &ret->off, &ret->size) != 2)
		return fail(ret_err, -EIO, "%s is no reference to a blob", name);
	*nl = 0;
	r = sys_openat(AT_FDCWD, buf + magic, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (r < 0)
		return fail(ret_err, r, "the blob %.*s is in %s, which cannot be opened: %s",
			    INDEX_BLOB_NAME_SIZE - 1, name, buf + magic, strerror(-r));
	return r;
}

int source_open_blob(int dirfd, const uint8_t sha256[32], uint64_t size, struct source *ret,
		     char **ret_err)
{
	char name[REF_NAME_SIZE], blob[INDEX_BLOB_NAME_SIZE];
	_cleanup_fd_ int fd = -1;
	bool whole = false; /* a file of its own */
	struct statx st;
	int r;

	if (ret_err)
		*ret_err = NULL;
	index_blob_name(sha256, blob);
	*ret = (struct source){ .fd = -1, .name = "blob" };
	fd = sys_openat(dirfd, blob, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -ENOENT) {
		ref_name(sha256, name);
		fd = open_ref(dirfd, name, ret, ret_err);
		if (fd == -ENOENT && (!ret_err || !*ret_err))
			return fail(ret_err, fd, "the blob %s is missing", blob);
	} else if (fd >= 0) {
		whole = true;
		ret->size = size;
	}
	if (fd < 0)
		return ret_err && *ret_err ? fd : fail(ret_err, fd, "%s: %s", blob, strerror(-fd));
	r = sys_fstatx(fd, &st);
	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode) || ret->size != size || ret->off > st.stx_size ||
	    size > st.stx_size - ret->off || (whole && st.stx_size != size))
		return fail(ret_err, -EIO, "the blob %s is not of %" PRIu64 " bytes", blob, size);
	ret->fd = steal_fd(&fd);
	return 0;
}
