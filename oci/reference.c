/* SPDX-License-Identifier: Apache-2.0 */
/* References: from what a person writes to a kind, a place and a name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

static const char *const names[IMAGE_KINDS] = {
	[IMAGE_OCI] = "oci",
	[IMAGE_OCI_ARCHIVE] = "oci-archive",
	[IMAGE_DOCKER_ARCHIVE] = "docker-archive",
	[IMAGE_STORAGE] = "containers-storage",
	[IMAGE_LAYER] = "layer",
	[IMAGE_INDEX] = "index",
	[IMAGE_DIR] = "dir",
};

const char *image_kind_name(enum image_kind k)
{
	return k < IMAGE_KINDS ? names[k] : "unknown";
}

void reference_free(struct reference *r)
{
	free(r->path);
	free(r->name);
	memset(r, 0, sizeof(*r));
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int below(const char *dir, const char *name, char **ret)
{
	if (asprintf(ret, "%s/%s", dir, name) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* What is at a bare path. enum image_kind or -errno. */
static int recognise_dir(const char *path)
{
	_cleanup_free_ char *layout = NULL, *index = NULL, *blobs = NULL;

	if (below(path, "oci-layout", &layout) < 0 || below(path, "index.json", &index) < 0 ||
	    below(path, "blobs", &blobs) < 0)
		return -ENOMEM;
	return exists(layout) || (exists(index) && exists(blobs)) ? IMAGE_OCI : IMAGE_DIR;
}

static int recognise_file(const char *path, char **ret_err)
{
	_cleanup_fd_ int fd = -1;
	struct blobs b;
	struct statx st;
	int r, format;

	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return oci_fail_errno(ret_err, fd, "%s", path);
	r = sys_fstatx(fd, &st);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", path);
	if (!S_ISREG(st.stx_mode))
		return oci_fail(ret_err, -EINVAL, "%s is neither a file nor a directory", path);
	format = source_format(&(struct source){ .fd = fd, .size = st.stx_size, .name = path });
	if (format < 0)
		return oci_fail_errno(ret_err, format, "%s", path);
	if (format == SOURCE_UNKNOWN)
		return oci_fail(ret_err, -EINVAL, "%s is nothing that we know: no tar, compressed "
						  "tar, index or directory",
				path);
	if (format == SOURCE_INDEX)
		return IMAGE_INDEX;
	if (format != SOURCE_TAR)
		return IMAGE_LAYER;
	/* a layer may be what no archive of images is: then it is one */
	if (blobs_open_tar(path, &b, NULL) < 0)
		return IMAGE_LAYER;
	r = IMAGE_LAYER;
	if (blobs_has(&b, "index.json") && blobs_has(&b, "oci-layout"))
		r = IMAGE_OCI_ARCHIVE;
	else if (blobs_has(&b, "manifest.json"))
		r = IMAGE_DOCKER_ARCHIVE;
	blobs_close(&b);
	return r;
}

static int recognise(const char *path, char **ret_err)
{
	if (!*path)
		return oci_fail(ret_err, -EINVAL, "the name of an image is empty");
	if (!exists(path))
		return oci_fail(ret_err, -ENOENT,
				"%s: no such file or directory (podman's images are "
				"containers-storage:NAME)",
				path);
	return is_dir(path) ? recognise_dir(path) : recognise_file(path, ret_err);
}

/* ":TAG", "@DIGEST", ":@N" or "". */
static int take_suffix(const char *whole, const char *s, struct reference *ret, char **ret_err)
{
	const char *name = s;
	int r;

	if (*s == ':')
		name++;
	if (*name == '@' && name[1] >= '0' && name[1] <= '9' &&
	    strspn(name + 1, "0123456789") == strlen(name + 1) && strlen(name) < 8) {
		ret->number = (int)strtol(name + 1, NULL, 10);
		name = "";
	} else if (*name == '@') {
		r = digest_parse(name + 1, ret->digest);
		if (r < 0)
			return oci_fail(ret_err, r, "%s: '%s' is no digest as sha256:HEX", whole,
					name + 1);
		ret->has_digest = true;
		name = "";
	} else if (*s && !*name) {
		return oci_fail(ret_err, -EINVAL, "%s: nothing follows the last ':'", whole);
	}
	ret->name = sys_strdup(name);
	return ret->name ? 0 : -ENOMEM;
}

/*
 * PATH, then a suffix: the longest beginning of @s that ends before ':' or '@' and exists is
 * the path, as both may be in paths and in names.
 */
static int split_path(const char *whole, const char *s, struct reference *ret, char **ret_err)
{
	size_t n = strlen(s), first = n;
	const char *p;

	for (p = s; *p; p++)
		if ((*p == ':' || *p == '@') && first == n)
			first = (size_t)(p - s);
	for (;;) {
		free(ret->path);
		ret->path = strndup(s, n);
		if (!ret->path)
			return -ENOMEM;
		if (n && exists(ret->path))
			return take_suffix(whole, s + n, ret, ret_err);
		do {
			if (!n)
				return oci_fail(ret_err, -ENOENT,
						"%s: no such file or directory: %.*s", whole,
						(int)first, s);
			n--;
		} while (s[n] != ':' && s[n] != '@');
	}
}

/* [[DRIVER@]ROOT[+RUNROOT][:OPTIONS]]NAME: the driver stays before the root, as "DRIVER@ROOT". */
static int split_storage(const char *whole, const char *s, struct reference *ret, char **ret_err)
{
	const char *end = NULL, *at, *digest;
	int r;

	if (*s == '[') {
		end = strchr(s, ']');
		if (!end)
			return oci_fail(ret_err, -EINVAL, "%s: a ']' is missing", whole);
		ret->path = strndup(s + 1, strcspn(s + 1, "+]"));
		s = end + 1;
		at = ret->path ? strchr(ret->path, '@') : NULL;
		if (ret->path && (at ? at[1] : ret->path[0]) != '/')
			return oci_fail(ret_err, -EINVAL,
					"%s: the storage's root is no absolute path", whole);
	} else {
		ret->path = sys_strdup("");
	}
	if (!ret->path)
		return -ENOMEM;
	digest = strchr(s, '@');
	if (digest) {
		r = digest_parse(digest + 1, ret->digest);
		if (r < 0)
			return oci_fail(ret_err, r, "%s: '%s' is no digest as sha256:HEX", whole,
					digest + 1);
		ret->has_digest = true;
	}
	ret->name = digest ? strndup(s, (size_t)(digest - s)) : sys_strdup(s);
	if (!ret->name)
		return -ENOMEM;
	if (!*ret->name && !ret->has_digest)
		return oci_fail(ret_err, -EINVAL, "%s: the name of an image is missing", whole);
	return 0;
}

int reference_parse(const char *s, struct reference *ret, char **ret_err)
{
	size_t n = strcspn(s, ":");
	int r, k;

	*ret = (struct reference){ .number = -1 };
	for (k = 0; s[n] && k < IMAGE_KINDS; k++)
		if (strlen(names[k]) == n && !memcmp(names[k], s, n))
			break;
	if (!s[n] || k == IMAGE_KINDS) {
		k = recognise(s, ret_err);
		if (k < 0) {
			/* oci's "DIR:TAG" without the word before it is worth a try */
			return k;
		}
		ret->kind = (enum image_kind)k;
		ret->path = sys_strdup(s);
		ret->name = sys_strdup("");
		return ret->path && ret->name ? 0 : -ENOMEM;
	}
	ret->kind = (enum image_kind)k;
	s += n + 1;
	if (k == IMAGE_STORAGE)
		r = split_storage(s - n - 1, s, ret, ret_err);
	else if (k == IMAGE_OCI || k == IMAGE_OCI_ARCHIVE || k == IMAGE_DOCKER_ARCHIVE)
		r = split_path(s - n - 1, s, ret, ret_err);
	else
		r = (ret->path = sys_strdup(s)) && (ret->name = sys_strdup("")) ? 0 : -ENOMEM;
	if (r == 0 && ret->kind != IMAGE_STORAGE && !exists(ret->path))
		r = oci_fail_errno(ret_err, -errno, "%s", ret->path);
	if (r < 0)
		reference_free(ret);
	return r;
}

/* What stays the same in all spellings of a name, and its tag: "latest" where there is none. */
static size_t core(const char *s, const char **ret, const char **ret_tag)
{
	static const char *const drop[] = { "docker.io/", "index.docker.io/", "localhost/",
					    "library/" };
	const char *slash, *colon;
	size_t i;

	for (i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
		if (!strncmp(s, drop[i], strlen(drop[i])))
			s += strlen(drop[i]);
	slash = strrchr(s, '/');
	colon = strchr(slash ? slash : s, ':');
	*ret = s;
	*ret_tag = colon ? colon + 1 : "latest";
	return colon ? (size_t)(colon - s) : strlen(s);
}

bool reference_same(const char *a, const char *b)
{
	const char *ca, *cb, *ta, *tb;
	size_t na = core(a, &ca, &ta), nb = core(b, &cb, &tb);

	return na == nb && !memcmp(ca, cb, na) && !strcmp(ta, tb);
}
