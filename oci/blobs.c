/* SPDX-License-Identifier: Apache-2.0 */
/* Files of an OCI layout or of an archive, found by name: windows of files on disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

int oci_fail(char **ret_err, int r, const char *fmt, ...)
{
	va_list ap;

	if (!ret_err || *ret_err)
		return r;
	va_start(ap, fmt);
	if (vasprintf(ret_err, fmt, ap) < 0)
		*ret_err = NULL;
	va_end(ap);
	return r;
}

int oci_fail_errno(char **ret_err, int r, const char *fmt, ...)
{
	_cleanup_free_ char *s = NULL;
	va_list ap;

	if (!ret_err || *ret_err)
		return r;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s ? oci_fail(ret_err, r, "%s: %s", s, strerror(-r)) : r;
}

static int absolute(const char *path, char **ret)
{
	*ret = realpath(path, NULL);
	return *ret ? 0 : -errno;
}

int blobs_open_dir(const char *path, struct blobs *ret, char **ret_err)
{
	int r;

	*ret = (struct blobs){ .fd = -1 };
	r = absolute(path, &ret->root);
	if (r == 0)
		r = ret->fd = sys_openat(AT_FDCWD, ret->root, O_PATH | O_DIRECTORY, 0);
	if (r < 0) {
		blobs_close(ret);
		return oci_fail_errno(ret_err, r, "%s", path);
	}
	return 0;
}

int blobs_open_tar(const char *path, struct blobs *ret, char **ret_err)
{
	_cleanup_free_ char *why = NULL;
	struct statx st;
	int r;

	*ret = (struct blobs){ .fd = -1 };
	r = absolute(path, &ret->root);
	if (r == 0)
		r = ret->fd = sys_openat(AT_FDCWD, ret->root, O_RDONLY | O_NONBLOCK, 0);
	if (r >= 0)
		r = sys_fstatx(ret->fd, &st);
	if (r >= 0 && !S_ISREG(st.stx_mode))
		r = S_ISDIR(st.stx_mode) ? -EISDIR : -EINVAL;
	if (r >= 0) {
		struct source s = { .fd = ret->fd, .size = st.stx_size, .name = path };
		int format = source_format(&s);

		if (format > SOURCE_TAR && format != SOURCE_INDEX) {
			blobs_close(ret);
			return oci_fail(ret_err, -EPROTONOSUPPORT,
					"%s is compressed; decompress it first, as archives are "
					"read in place",
					path);
		}
		r = format < 0 ? format : tarball_open(ret->fd, st.stx_size, &ret->tar, &why);
	}
	if (r < 0) {
		blobs_close(ret);
		return oci_fail(ret_err, r, "%s: %s", path, why ? why : strerror(-r));
	}
	return 0;
}

void blobs_close(struct blobs *b)
{
	free(b->root);
	sys_close(b->fd);
	tarball_free(b->tar);
	*b = (struct blobs){ .fd = -1 };
}

static int find_in_dir(const struct blobs *b, const char *name, struct blob_at *ret)
{
	_cleanup_fd_ int fd = -1;
	struct statx st;
	int r;

	fd = sys_openat2(b->fd, name, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fd;
	r = sys_fstatx(fd, &st);
	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode))
		return S_ISDIR(st.stx_mode) ? -EISDIR : -EINVAL;
	if (asprintf(&ret->path, "%s/%s", strcmp(b->root, "/") ? b->root : "", name) < 0) {
		ret->path = NULL;
		return -ENOMEM;
	}
	ret->off = 0;
	ret->size = st.stx_size;
	ret->whole = true;
	return 0;
}

static int find_in_tar(const struct blobs *b, const char *name, struct blob_at *ret)
{
	const struct tarball_entry *e;
	int r = tarball_find(b->tar, name, &e);

	if (r < 0)
		return r;
	ret->path = sys_strdup(b->root);
	if (!ret->path)
		return -ENOMEM;
	ret->off = e->off;
	ret->size = e->size;
	ret->whole = false;
	return 0;
}

int blobs_find(const struct blobs *b, const char *name, struct blob_at *ret, char **ret_err)
{
	int r = b->tar ? find_in_tar(b, name, ret) : find_in_dir(b, name, ret);

	switch (r) {
	case 0:
		return 0;
	case -EXDEV:
	case -ELOOP:
		return oci_fail(ret_err, -EINVAL,
				"%s: %s is a link that leads out of it, or nowhere", b->root, name);
	case -EINVAL:
	case -EISDIR:
		return oci_fail(ret_err, -EINVAL, "%s: %s is %s", b->root, name,
				b->tar && r == -EINVAL ? "in the archive twice" :
							 "no regular file");
	case -ENOENT:
	case -ENOTDIR:
		return oci_fail(ret_err, -ENOENT, "%s: there is no %s", b->root, name);
	default:
		return oci_fail_errno(ret_err, r, "%s: %s", b->root, name);
	}
}

bool blobs_has(const struct blobs *b, const char *name)
{
	struct blob_at at;

	if (blobs_find(b, name, &at, NULL) < 0)
		return false;
	free(at.path);
	return true;
}

int blobs_find_digest(const struct blobs *b, const uint8_t sha256[32], struct blob_at *ret,
		      char **ret_err)
{
	char name[DIGEST_STRING_SIZE + 16] = "blobs/";

	digest_string(sha256, name + 6);
	name[6 + 6] = '/';
	return blobs_find(b, name, ret, ret_err);
}
