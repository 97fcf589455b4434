/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a tar, by libarchive.
 *
 * libarchive converts names to the locale's character set, and in UTF-8 composes
 * them on the way: an "e" with an accent that follows becomes one character, another name. In the
 * C locale the conversion fails for everything that is not ASCII, and then the
 * bytes are kept as they are: a warning that is expected. Other warnings are about what was
 * not understood, and an index that lacks something would lie: they are errors here.
 */
#include "fs/layer/tar_read.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/layer/tar_acl.h"
#include "lib/cleanup.h"
#include "lib/sys.h"

struct tar_read {
	tar_block_fn fn;
	void *arg;
	struct archive *a; /* owned */
	struct archive_entry *e; /* libarchive's */
	locale_t c; /* owned */
	char path[PATH_MAX];
	size_t headers; /* bytes given while an entry's headers are read */
	bool in_header, over, end;
	bool between; /* path is of the entry before */
	int err; /* of the stream, with why */
	char *why; /* owned */
	enum { ACCESS_ACL,
	       DEFAULT_ACL,
	       ATTRS } xattr_state; /* what comes next */
	void *acl; /* the value handed out; owned */
};

static int fail(struct tar_read *t, char **ret_err, int r, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(struct tar_read *t, char **ret_err, int r, const char *fmt, ...)
{
	char buf[512], *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (ret_err && !*ret_err) {
		if (asprintf(&s, "%s%.200s%s%s", t->between && t->path[0] ? "after " : "", t->path,
			     t->path[0] ? ": " : "", buf) >= 0)
			*ret_err = s;
	}
	return r;
}

static la_ssize_t give(struct archive *a, void *arg, const void **ret)
{
	struct tar_read *t = arg;
	const uint8_t *p;
	size_t len;
	int r;

	(void)a;
	if (t->in_header && t->headers > TAR_MAX_HEADERS) {
		t->over = true;
		return ARCHIVE_FATAL;
	}
	r = t->end ? 0 : t->fn(t->arg, &p, &len, &t->why);
	if (r < 0) {
		t->err = r;
		return ARCHIVE_FATAL;
	}
	if (r == 0) {
		t->end = true;
		return 0;
	}
	t->headers += len;
	*ret = p;
	return (la_ssize_t)len;
}

int tar_read_new(tar_block_fn fn, void *arg, struct tar_read **ret)
{
	struct tar_read *t = sys_calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fn = fn;
	t->arg = arg;
	t->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	t->a = archive_read_new();
	if (!t->c || !t->a || archive_read_support_format_tar(t->a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(t->a) != ARCHIVE_OK) {
		tar_read_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void tar_read_free(struct tar_read *t)
{
	if (!t)
		return;
	if (t->a)
		(void)archive_read_free(t->a);
	if (t->c)
		freelocale(t->c);
	free(t->why);
	free(t->acl);
	free(t);
}

/* What a call of libarchive came to, where it is neither good nor the end. */
static int archive_error(struct tar_read *t, char **ret_err)
{
	const char *s = archive_error_string(t->a);

	if (t->err)
		return fail(t, ret_err, t->err, "%s", t->why ? t->why : strerror(-t->err));
	if (t->over)
		return fail(t, ret_err, -EFBIG, "the headers of an entry are larger than %u MiB",
			    TAR_MAX_HEADERS >> 20);
	if (archive_errno(t->a) == ENOMEM)
		return -ENOMEM;
	return fail(t, ret_err, -EINVAL, "%s", s ? s : "a damaged tar");
}

static bool warning_is_fine(struct archive *a)
{
	const char *s = archive_error_string(a);

	return s && strstr(s, "can't be converted");
}

static int read_header(struct tar_read *t)
{
	locale_t old = uselocale(t->c);
	int r = ARCHIVE_OK;

	/* content that nobody wanted does not count as headers */
	if (t->e)
		r = archive_read_data_skip(t->a);
	else
		r = archive_read_open(t->a, t, NULL, give, NULL);
	t->in_header = t->between = true;
	t->headers = 0;
	if (r == ARCHIVE_EOF)
		r = ARCHIVE_OK;
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(t->a, &t->e);
	t->in_header = false;
	(void)uselocale(old);
	return r;
}

static int check_time(struct tar_read *t, struct tar_item *i, char **ret_err)
{
	long nsec = archive_entry_mtime_nsec(t->e);

	i->e.mtime = archive_entry_mtime(t->e);
	if (nsec < 0 || nsec > 999999999)
		return fail(t, ret_err, -EINVAL, "its time has %ld nanoseconds", nsec);
	/* libarchive gives -1.25 as -1 and 25 hundredths, where -2 and 75 are meant */
	if (i->e.mtime < 0 && nsec) {
		i->e.mtime--;
		nsec = 1000000000 - nsec;
	}
	i->e.mtime_nsec = (uint32_t)nsec;
	return 0;
}

static int check_owner(struct tar_read *t, struct tar_item *i, char **ret_err)
{
	int64_t uid = archive_entry_uid(t->e), gid = archive_entry_gid(t->e);

	/* 2^32-1 is nobody, to the kernel */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return fail(t, ret_err, -EINVAL, "its owner %lld:%lld cannot be", (long long)uid,
			    (long long)gid);
	i->e.uid = (uint32_t)uid;
	i->e.gid = (uint32_t)gid;
	return 0;
}

static int fill(struct tar_read *t, struct tar_item *i, char **ret_err)
{
	mode_t type = archive_entry_filetype(t->e);
	int64_t size = archive_entry_size(t->e);
	int r;

	*i = (struct tar_item){ .path = t->path, .link = archive_entry_hardlink(t->e) };
	if (i->link) {
		if (strlen(i->link) >= PATH_MAX)
			return fail(t, ret_err, -ENAMETOOLONG,
				    "a hard link to a name that is too long");
		return 0;
	}
	i->e.mode = type | (archive_entry_perm(t->e) & 07777);
	if (type == S_IFLNK) {
		i->e.target = archive_entry_symlink(t->e);
		if (!i->e.target || !*i->e.target)
			return fail(t, ret_err, -EINVAL, "a symlink to nothing");
		if (strlen(i->e.target) >= PATH_MAX)
			return fail(t, ret_err, -ENAMETOOLONG,
				    "a symlink to a name that is too long");
	} else if (type == S_IFREG) {
		if (size < 0)
			return fail(t, ret_err, -EINVAL, "its size is negative");
		i->e.size = (uint64_t)size;
	} else if (type == S_IFCHR || type == S_IFBLK) {
		i->e.rdev_major = (uint32_t)archive_entry_rdevmajor(t->e);
		i->e.rdev_minor = (uint32_t)archive_entry_rdevminor(t->e);
	} else if (type != S_IFDIR && type != S_IFIFO) {
		return fail(t, ret_err, -EINVAL, "it is of an unknown type");
	}
	r = check_owner(t, i, ret_err);
	return r < 0 ? r : check_time(t, i, ret_err);
}

int tar_read_next(struct tar_read *t, struct tar_item *ret, char **ret_err)
{
	const char *path;
	size_t len;
	int r = read_header(t);

	if (r == ARCHIVE_EOF && !t->err)
		return 0;
	if (r != ARCHIVE_OK && (r != ARCHIVE_WARN || !warning_is_fine(t->a)))
		return archive_error(t, ret_err);
	path = archive_entry_pathname(t->e);
	len = path ? strlen(path) : 0;
	if (!len)
		return fail(t, ret_err, -EINVAL, "an entry without a name");
	t->between = false;
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len >= sizeof(t->path)) {
		(void)snprintf(t->path, sizeof(t->path), "%.100s...", path);
		return fail(t, ret_err, -ENAMETOOLONG, "a name of %zu bytes", len);
	}
	memcpy(t->path, path, len);
	t->path[len] = 0;
	t->xattr_state = ACCESS_ACL;
	(void)archive_entry_xattr_reset(t->e);
	r = fill(t, ret, ret_err);
	return r < 0 ? r : 1;
}

int tar_read_xattr(struct tar_read *t, struct tar_item_xattr *ret, char **ret_err)
{
	const char *why;
	bool def;
	int r;

	free(t->acl);
	t->acl = NULL;
	for (; t->xattr_state < ATTRS; t->xattr_state++) {
		def = t->xattr_state == DEFAULT_ACL;
		r = tar_acl_xattr(t->e, def, &t->acl, &why);
		if (r < 0)
			return fail(t, ret_err, r, "%s", why);
		if (!r)
			continue;
		t->xattr_state++;
		*ret = (struct tar_item_xattr){ def ? "system.posix_acl_default" :
						      "system.posix_acl_access",
						t->acl, (size_t)r };
		return 1;
	}
	if (archive_entry_xattr_next(t->e, &ret->name, &ret->value, &ret->len) != ARCHIVE_OK)
		return 0;
	return 1;
}

int tar_read_data(struct tar_read *t, struct tar_piece *ret, char **ret_err)
{
	const void *p;
	la_int64_t off;
	int r;

	do {
		r = archive_read_data_block(t->a, &p, &ret->len, &off);
		if (r == ARCHIVE_EOF && !t->err)
			return 0;
		if (r != ARCHIVE_OK)
			return archive_error(t, ret_err);
	} while (!ret->len);
	ret->data = p;
	ret->off = (uint64_t)off;
	/* what was handed out is not yet counted as used */
	ret->tar_off = (uint64_t)archive_filter_bytes(t->a, 0);
	return 1;
}

int tar_read_rest(struct tar_read *t, char **ret_err)
{
	const uint8_t *p;
	size_t len;
	int r = t->end ? 0 : 1;

	while (r > 0)
		r = t->fn(t->arg, &p, &len, ret_err);
	t->end = r == 0;
	return r;
}
