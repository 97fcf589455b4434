/* SPDX-License-Identifier: Apache-2.0 */
/* Writing images: blobs of a layout as they come, those of an archive kept unnamed till the end. */
#include "oci/write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fs/layer/tar_write.h"
#include "lib/cleanup.h"
#include "lib/newfile.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

#define REF_NAME "org.opencontainers.image.ref.name"
#define LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define MAX_BLOBS 10000

struct held {
	struct newfile file;
	uint8_t sha256[32];
	uint64_t size;
	bool done; /* of an archive: a blob; else still being written */
};

struct image_writer {
	char *path, *tag;
	bool archive;
	int dir; /* the layout, or the directory that the archive goes to */
	int blobs; /* blobs/sha256 of the layout; of an archive the same as dir */
	struct held *held;
	unsigned n;
};

/* --- the destination ---------------------------------------------------------------- */

/* "PATH[:TAG]": the longest beginning that exists is the path, else what comes before ':'. */
static int split(const char *s, char **ret_path, char **ret_tag)
{
	size_t n = strlen(s);

	for (;;) {
		_cleanup_free_ char *p = strndup(s, n);

		if (!p)
			return -ENOMEM;
		if (n && access(p, F_OK) == 0)
			break;
		while (n && s[--n] != ':')
			;
		if (!n) {
			n = strcspn(s, ":");
			break;
		}
	}
	*ret_path = strndup(s, n);
	*ret_tag = sys_strdup(s[n] ? s + n + 1 : "");
	return *ret_path && *ret_tag ? 0 : -ENOMEM;
}

static bool dir_is_empty(int fd)
{
	char buf[1024];
	_cleanup_fd_ int rd = sys_reopen(fd, O_RDONLY | O_DIRECTORY);
	ssize_t n = rd >= 0 ? sys_getdents(rd, buf, sizeof(buf)) : -1;
	ssize_t m = n >= 0 ? sys_getdents(rd, buf + n, sizeof(buf) - (size_t)n) : -1;

	/* "." and "..": two records of 24 bytes, and nothing after them */
	return n >= 0 && n <= 48 && m == 0;
}

static int put_file(int dirfd, const char *name, const void *buf, size_t size)
{
	struct newfile f = { .fd = -1 };
	int r = newfile_begin(dirfd, 0644, &f);
	ssize_t n;

	if (r < 0)
		return r;
	n = sys_pwrite(f.fd, buf, size, 0);
	r = n < 0 ? (int)n : (size_t)n != size ? -EIO :
						 newfile_commit(&f, name, true);
	newfile_abort(&f);
	return r;
}

static int open_layout(struct image_writer *w, char **ret_err)
{
	struct statx st;
	bool there;
	int r;

	r = sys_mkdirat(AT_FDCWD, w->path, 0755);
	if (r < 0 && r != -EEXIST)
		return oci_fail_errno(ret_err, r, "%s", w->path);
	r = w->dir = sys_openat(AT_FDCWD, w->path, O_RDONLY | O_DIRECTORY, 0);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", w->path);
	there = sys_statx(w->dir, "oci-layout", 0, &st) == 0 ||
		sys_statx(w->dir, "index.json", 0, &st) == 0;
	if (!there && !dir_is_empty(w->dir))
		return oci_fail(ret_err, -EEXIST, "%s is neither empty nor an OCI layout", w->path);
	r = sys_mkdirat(w->dir, "blobs", 0755);
	if (r == 0 || r == -EEXIST)
		r = sys_mkdirat(w->dir, "blobs/sha256", 0755);
	if (r == 0 || r == -EEXIST)
		r = w->blobs = sys_openat2(w->dir, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0,
					   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	if (r >= 0 && !there)
		r = put_file(w->dir, "oci-layout", LAYOUT, sizeof(LAYOUT) - 1);
	return r < 0 ? oci_fail_errno(ret_err, r, "%s", w->path) : 0;
}

/* The directory that FILE is in. */
static int open_parent(struct image_writer *w, char **ret_err)
{
	const char *slash = strrchr(w->path, '/');
	_cleanup_free_ char *dir =
		slash ? strndup(w->path, slash == w->path ? 1 : (size_t)(slash - w->path)) :
			sys_strdup(".");
	int r;

	if (!dir)
		return -ENOMEM;
	if (!*(slash ? slash + 1 : w->path))
		return oci_fail(ret_err, -EINVAL, "%s is no name of a file", w->path);
	r = w->dir = sys_openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", dir);
	w->blobs = w->dir;
	return 0;
}

int image_writer_new(const char *dest, struct image_writer **ret, char **ret_err)
{
	struct image_writer *w = sys_calloc(1, sizeof(*w));
	int r;

	*ret_err = NULL;
	if (!w)
		return -ENOMEM;
	w->dir = w->blobs = -1;
	if (!strncmp(dest, "oci:", 4)) {
		r = split(dest + 4, &w->path, &w->tag);
	} else if (!strncmp(dest, "oci-archive:", 12)) {
		w->archive = true;
		r = split(dest + 12, &w->path, &w->tag);
	} else {
		r = oci_fail(ret_err, -EINVAL,
			     "%s: images are written to oci:DIR[:TAG] or oci-archive:FILE[:TAG]",
			     dest);
	}
	if (r == 0 && !*w->path)
		r = oci_fail(ret_err, -EINVAL, "%s: the path is missing", dest);
	if (r == 0)
		r = w->archive ? open_parent(w, ret_err) : open_layout(w, ret_err);
	if (r < 0) {
		image_writer_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void image_writer_free(struct image_writer *w)
{
	if (!w)
		return;
	while (w->n)
		newfile_abort(&w->held[--w->n].file);
	free(w->held);
	if (!w->archive)
		sys_close(w->blobs);
	sys_close(w->dir);
	free(w->path);
	free(w->tag);
	free(w);
}

/* --- blobs ---------------------------------------------------------------------------- */

int image_writer_begin(struct image_writer *w, char **ret_err)
{
	struct held *p;
	int r;

	*ret_err = NULL;
	if (w->n == MAX_BLOBS)
		return oci_fail(ret_err, -E2BIG, "%s: too many blobs", w->path);
	p = sys_realloc(w->held, (w->n + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	w->held = p;
	memset(&p[w->n], 0, sizeof(*p));
	r = newfile_begin(w->blobs, 0644, &p[w->n].file);
	if (r < 0)
		return oci_fail_errno(ret_err, r, "%s", w->path);
	return p[w->n++].file.fd;
}

static void drop(struct image_writer *w, unsigned i)
{
	newfile_abort(&w->held[i].file);
	memmove(&w->held[i], &w->held[i + 1], (--w->n - i) * sizeof(w->held[0]));
}

static bool have_blob(const struct image_writer *w, const uint8_t sha256[32], uint64_t size)
{
	char name[DIGEST_STRING_SIZE];
	struct statx st;
	unsigned i;

	for (i = 0; w->archive && i < w->n; i++)
		if (w->held[i].done && digest_equal(w->held[i].sha256, sha256))
			return true;
	digest_string(sha256, name);
	return !w->archive && sys_statx(w->blobs, name + 7, AT_SYMLINK_NOFOLLOW, &st) == 0 &&
	       S_ISREG(st.stx_mode) && st.stx_size == size;
}

int image_writer_blob(struct image_writer *w, int fd, const uint8_t sha256[32], char **ret_err)
{
	char name[DIGEST_STRING_SIZE];
	struct statx st;
	unsigned i;
	int r;

	*ret_err = NULL;
	for (i = 0; i < w->n && (w->held[i].done || w->held[i].file.fd != fd); i++)
		;
	if (i == w->n)
		return -EBADF;
	r = sys_fstatx(fd, &st);
	if (r == 0 && have_blob(w, sha256, st.stx_size)) {
		drop(w, i);
		return 0;
	}
	if (r == 0 && w->archive) {
		memcpy(w->held[i].sha256, sha256, 32);
		w->held[i].size = st.stx_size;
		w->held[i].done = true;
		return 0;
	}
	digest_string(sha256, name);
	if (r == 0)
		r = newfile_commit(&w->held[i].file, name + 7, true);
	drop(w, i);
	return r < 0 ? oci_fail_errno(ret_err, r, "%s: blob %s", w->path, name) : 0;
}

static int write_all(int fd, const char *p, size_t size, uint64_t off)
{
	while (size) {
		ssize_t n = sys_pwrite(fd, p, size, (off_t)off);

		if (n < 0)
			return (int)n;
		p += n;
		off += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int image_writer_put(struct image_writer *w, const void *buf, size_t size, uint8_t ret_sha256[32],
		     char **ret_err)
{
	int fd, r;

	*ret_err = NULL;
	r = digest_of(buf, size, ret_sha256);
	if (r < 0)
		return r;
	fd = image_writer_begin(w, ret_err);
	if (fd < 0)
		return fd;
	r = write_all(fd, buf, size, 0);
	if (r < 0) {
		drop(w, w->n - 1);
		return oci_fail_errno(ret_err, r, "%s", w->path);
	}
	return image_writer_blob(w, fd, ret_sha256, ret_err);
}

/* By the kernel where it can, else by hand. */
static int copy_window(const struct source *s, int out)
{
	enum { SIZE = 1 << 20 };
	_cleanup_free_ char *buf = NULL;
	off_t in_off = (off_t)s->off, out_off = 0;
	uint64_t left = s->size;
	ssize_t n;

	while (left) {
		n = sys_copy_file_range(s->fd, &in_off, out, &out_off,
					left > (1U << 30) ? 1U << 30 : (size_t)left);
		if (n <= 0)
			break;
		left -= (uint64_t)n;
	}
	if (left && !(buf = sys_malloc(SIZE)))
		return -ENOMEM;
	while (left) {
		int r;

		n = source_pread(s, buf, SIZE, s->size - left);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		r = write_all(out, buf, (size_t)n, s->size - left);
		if (r < 0)
			return r;
		left -= (uint64_t)n;
	}
	return 0;
}

int image_writer_copy(struct image_writer *w, const struct image_layer *l, uint8_t ret_sha256[32],
		      char **ret_err)
{
	struct source s;
	int fd, r;

	*ret_err = NULL;
	r = image_layer_open(l, &s, ret_err);
	if (r < 0)
		return r;
	fd = r = image_writer_begin(w, ret_err);
	if (r >= 0) {
		r = copy_window(&s, fd);
		/* of what was written, not of what may change beneath us */
		if (r == 0)
			r = digest_source(
				&(struct source){ .fd = fd, .size = s.size, .name = l->path },
				ret_sha256);
		if (r == 0 && digest_known(l->digest) && !digest_equal(l->digest, ret_sha256))
			r = oci_fail(ret_err, -EBADMSG, "%s: the layer's bytes have another digest",
				     l->path);
		if (r < 0) {
			(void)oci_fail_errno(ret_err, r, "%s", l->path);
			drop(w, w->n - 1);
		}
	}
	sys_close(s.fd);
	return r < 0 ? r : image_writer_blob(w, fd, ret_sha256, ret_err);
}

/* --- the end ---------------------------------------------------------------------------- */

static json_t *descriptor(const struct image_writer *w, const struct image_descriptor *d)
{
	char digest[DIGEST_STRING_SIZE];
	json_t *o, *p;

	digest_string(d->sha256, digest);
	o = json_pack("{s:s, s:s, s:I}", "mediaType", d->media_type, "digest", digest, "size",
		      (json_int_t)d->size);
	if (o && d->os && d->arch) {
		p = json_pack("{s:s, s:s}", "os", d->os, "architecture", d->arch);
		if (p && d->variant && *d->variant)
			(void)json_object_set_new(p, "variant", json_string(d->variant));
		(void)json_object_set_new(o, "platform", p);
	}
	if (o && *w->tag)
		(void)json_object_set_new(o, "annotations",
					  json_pack("{s:s}", REF_NAME, w->tag));
	return o;
}

/* Whether an entry of index.json makes way for the new one. */
static bool makes_way(const struct image_writer *w, const struct image_descriptor *d,
		      const json_t *e)
{
	const char *tag = json_string_value(
		json_object_get(json_object_get(e, "annotations"), REF_NAME));
	const char *s = json_string_value(json_object_get(e, "digest"));
	uint8_t digest[32];

	if (tag && *tag)
		return !strcmp(tag, w->tag);
	return s && digest_parse(s, digest) == 0 && digest_equal(digest, d->sha256);
}

/* index.json with the new image: text, malloc'ed. */
static int new_index(const struct image_writer *w, const struct image_descriptor *d, char **ret,
		     char **ret_err)
{
	struct doc doc = { .name = "index.json" };
	json_t *list, *o;
	size_t i;
	int r = w->archive ? -ENOENT :
			     doc_read_path(w->dir, "index.json", IMAGE_MAX_DOCUMENT, &doc, NULL);

	if (r == -ENOENT) {
		doc.json = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
				     "application/vnd.oci.image.index.v1+json", "manifests");
		r = doc.json ? 0 : -ENOMEM;
	}
	list = json_object_get(doc.json, "manifests");
	if (r < 0 || !json_is_array(list)) {
		doc_free(&doc);
		return oci_fail(ret_err, r < 0 ? r : -EINVAL, "%s: its index.json is damaged",
				w->path);
	}
	for (i = json_array_size(list); i-- > 0;)
		if (makes_way(w, d, json_array_get(list, i)))
			(void)json_array_remove(list, i);
	o = descriptor(w, d);
	r = o && json_array_append_new(list, o) == 0 ? 0 : -ENOMEM;
	*ret = r == 0 ? json_dumps(doc.json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	doc_free(&doc);
	return *ret ? 0 : -ENOMEM;
}

struct sink {
	int fd;
	uint64_t off;
};

static int to_file(void *arg, const void *data, size_t size)
{
	struct sink *s = arg;
	int r = write_all(s->fd, data, size, s->off);

	s->off += size;
	return r;
}

static int add_dir(struct tar_write *t, const char *path)
{
	struct tar_entry e = { .path = path, .mode = S_IFDIR | 0755 };

	return tar_write_entry(t, &e);
}

static int add_text(struct tar_write *t, const char *path, const char *text)
{
	struct tar_entry e = { .path = path, .mode = S_IFREG | 0644, .size = strlen(text) };
	int r = tar_write_entry(t, &e);

	return r < 0 ? r : tar_write_data(t, text, strlen(text));
}

static int add_blob(struct tar_write *t, const struct held *h)
{
	enum { SIZE = 1 << 20 };
	char path[DIGEST_STRING_SIZE + 16] = "blobs/";
	struct tar_entry e = { .path = path, .mode = S_IFREG | 0644, .size = h->size };
	_cleanup_free_ char *buf = sys_malloc(SIZE);
	uint64_t off;
	ssize_t n;
	int r;

	if (!buf)
		return -ENOMEM;
	digest_string(h->sha256, path + 6);
	path[12] = '/';
	r = tar_write_entry(t, &e);
	for (off = 0; r == 0 && off < h->size; off += (uint64_t)n) {
		n = sys_pread(h->file.fd, buf, SIZE, (off_t)off);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		r = tar_write_data(t, buf, (size_t)n);
	}
	return r;
}

static int by_digest(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return memcmp(x->sha256, y->sha256, 32);
}

static int write_archive(struct image_writer *w, const char *index, char **ret_err)
{
	const char *slash = strrchr(w->path, '/');
	struct newfile f = { .fd = -1 };
	struct tar_write *t = NULL;
	struct sink sink;
	unsigned i;
	int r;

	qsort(w->held, w->n, sizeof(w->held[0]), by_digest);
	r = newfile_begin(w->dir, 0644, &f);
	sink = (struct sink){ .fd = f.fd };
	if (r == 0)
		r = tar_write_new(&t, to_file, &sink);
	if (r == 0)
		r = add_text(t, "oci-layout", LAYOUT);
	if (r == 0)
		r = add_text(t, "index.json", index);
	if (r == 0)
		r = add_dir(t, "blobs");
	if (r == 0)
		r = add_dir(t, "blobs/sha256");
	for (i = 0; r == 0 && i < w->n; i++)
		if (w->held[i].done)
			r = add_blob(t, &w->held[i]);
	if (r == 0)
		r = tar_write_end(t);
	tar_write_free(t);
	if (r == 0)
		r = newfile_commit(&f, slash ? slash + 1 : w->path, true);
	newfile_abort(&f);
	return r < 0 ? oci_fail_errno(ret_err, r, "%s", w->path) : 0;
}

int image_writer_finish(struct image_writer *w, const struct image_descriptor *d, char **ret_err)
{
	_cleanup_free_ char *index = NULL;
	int r;

	*ret_err = NULL;
	/* two who add an image to one layout at once: one after the other */
	if (!w->archive)
		(void)sys_flock(w->dir, LOCK_EX);
	r = new_index(w, d, &index, ret_err);
	if (r == 0 && w->archive) {
		r = write_archive(w, index, ret_err);
	} else if (r == 0) {
		r = put_file(w->dir, "index.json", index, strlen(index));
		if (r < 0)
			(void)oci_fail_errno(ret_err, r, "%s", w->path);
	}
	if (!w->archive)
		(void)sys_flock(w->dir, LOCK_UN);
	return r;
}
