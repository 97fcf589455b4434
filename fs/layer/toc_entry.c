/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of a TOC into an index. An entry describes a whole file but for its
 * content; that is in the entry itself (one chunk) and in the chunk entries right
 * after it. They must tile the file: no gap, no overlap, nothing beyond its size.
 *
 * No name may come twice: readers that take the first and readers that take the last
 * would show different files. Names are remembered by a keyed hash of 64
 * bits; what collides by chance, one TOC of millions, is refused too.
 */
#include "fs/layer/toc_i.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "lib/cleanup.h"
#include "lib/sys.h"

/* --- names that were seen --- */

struct toc_set {
	uint64_t seed;
	size_t n, size; /* a power of two */
	uint64_t *slots; /* owned; 0: free */
};

static void set_free(struct toc_set *s)
{
	if (s != NULL)
		free(s->slots);
	free(s);
}

static int set_grow(struct toc_set *s)
{
	size_t size = s->size ? 2 * s->size : 1024;
	uint64_t *slots = sys_calloc(size, sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->size; i++) {
		size_t at = s->slots[i] & (size - 1);

		if (s->slots[i] == 0)
			continue;
		while (slots[at] != 0)
			at = (at + 1) & (size - 1);
		slots[at] = s->slots[i];
	}
	free(s->slots);
	s->slots = slots;
	s->size = size;
	return 0;
}

/* 1: @name is new; 0: it was there. */
static int set_add(struct toc_set *s, const char *name, size_t len)
{
	uint64_t h = XXH3_64bits_withSeed(name, len, s->seed);
	size_t at;
	int r;

	if (4 * (s->n + 1) > 3 * s->size) {
		r = set_grow(s);
		if (r < 0)
			return r;
	}
	h += h == 0; /* that means free */
	for (at = h & (s->size - 1); s->slots[at] != 0; at = (at + 1) & (s->size - 1)) {
		if (s->slots[at] == h)
			return 0;
	}
	s->slots[at] = h;
	s->n++;
	return 1;
}

/* --- loading --- */

int toc_load_init(struct toc_load *l, struct index_build *b)
{
	memset(l, 0, sizeof(*l));
	l->b = b;
	l->names = sys_calloc(1, sizeof(*l->names));
	if (l->names == NULL)
		return -ENOMEM;
	if (getrandom(&l->names->seed, sizeof(l->names->seed), 0) !=
	    (ssize_t)sizeof(l->names->seed))
		return -EIO;
	l->sums.seed = l->names->seed;
	return 0;
}

void toc_load_release(struct toc_load *l)
{
	set_free(l->names);
	free(l->pieces);
	free(l->sums.p);
	l->sums.p = NULL;
	l->names = NULL;
	l->pieces = NULL;
}

static int refuse(const struct toc_entry *e, char **ret_err, const char *why)
{
	return toc_fail(ret_err, -EBADMSG, "\"%s\": %s", e->name ? e->name : "", why);
}

/* The file whose chunks came is complete now, or it is not. */
static int close_file(struct toc_load *l, char **ret_err)
{
	if (!l->file.open)
		return 0;
	l->file.open = false;
	if (l->file.next != l->file.size)
		return toc_fail(ret_err, -EBADMSG,
				"\"%s\": its chunks end at %llu of %llu bytes", l->file.name,
				(unsigned long long)l->file.next, (unsigned long long)l->file.size);
	l->pieces[l->n_pieces - 1].end = l->file.end;
	return 0;
}

/* The next piece of the open file, as @e (reg or chunk) has it. */
static int add_piece(struct toc_load *l, const struct toc_entry *e, char **ret_err)
{
	uint64_t left = l->file.size - l->file.next;
	uint64_t len = e->chunk_size ? e->chunk_size : left;
	struct toc_piece *p;

	if (e->chunk_offset != l->file.next)
		return refuse(e, ret_err, "a chunk is not where the one before it ended");
	if (len == 0 || len > left)
		return refuse(e, ret_err, "a chunk reaches beyond the end of the file");
	/* The first bytes are a tar header: nothing is at 0 but what comes after it. */
	if (e->offset == 0 && e->inner == 0)
		return refuse(e, ret_err, "it has content, but no offset in the blob");
	if (e->offset >= l->data_end)
		return refuse(e, ret_err, "its offset is outside of the blob's data");
	if (e->inner > INT64_MAX - len)
		return refuse(e, ret_err, "its inner offset is too large");
	if (l->n_pieces == l->max_pieces) {
		size_t max = l->max_pieces ? 2 * l->max_pieces : 256;

		p = sys_realloc(l->pieces, max * sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		l->pieces = p;
		l->max_pieces = max;
	}
	p = &l->pieces[l->n_pieces++];
	*p = (struct toc_piece){
		.offset = e->offset,
		.inner = e->inner,
		.file_off = l->file.next,
		.len = len,
		.id = l->file.id,
		.entry = l->entries,
		.zeros = e->zeros,
	};
	l->file.next += len;
	if (e->has_chunk_digest || (e->has_digest && len == l->file.size)) {
		p->has_sha256 = true;
		memcpy(p->sha256, e->has_chunk_digest ? e->chunk_digest : e->digest,
		       TOC_SHA256);
	}
	return 0;
}

static int add_chunk(struct toc_load *l, const struct toc_entry *e, char **ret_err)
{
	if (!l->file.open)
		return refuse(e, ret_err, "a chunk of no file");
	if (e->name != NULL && *e->name != '\0' && strcmp(e->name, l->file.name) != 0)
		return toc_fail(ret_err, -EBADMSG, "\"%s\": a chunk of it among those of \"%s\"",
				e->name, l->file.name);
	return add_piece(l, e, ret_err);
}

static int open_file(struct toc_load *l, const struct toc_entry *e, uint32_t id,
		     char **ret_err)
{
	if (e->size == 0)
		return 0;
	if (e->end != 0 && (e->end <= e->offset || e->end > l->data_end))
		return refuse(e, ret_err,
			      "its end is before its offset, or outside of the blob's data");
	l->file.open = true;
	l->file.id = id;
	l->file.size = e->size;
	l->file.next = 0;
	l->file.end = e->end;
	(void)snprintf(l->file.name, sizeof(l->file.name), "%s", e->name);
	return add_piece(l, e, ret_err);
}

static mode_t type_mode(enum toc_type t)
{
	switch (t) {
	case TOC_DIR:
		return S_IFDIR;
	case TOC_REG:
		return S_IFREG;
	case TOC_SYMLINK:
		return S_IFLNK;
	case TOC_CHAR:
		return S_IFCHR;
	case TOC_BLOCK:
		return S_IFBLK;
	case TOC_FIFO:
		return S_IFIFO;
	case TOC_NONE:
	case TOC_HARDLINK:
	case TOC_CHUNK:
		break;
	}
	return 0;
}

/* A name of its own: in the index under the cleaned @path. */
static int add_named(struct toc_load *l, const struct toc_entry *e, const char *path,
		     char **ret_err)
{
	const struct index_entry ie = {
		.mode = type_mode(e->type) | (e->mode & 07777),
		.uid = e->uid,
		.gid = e->gid,
		.mtime = e->mtime,
		.mtime_nsec = e->mtime_nsec,
		.size = e->type == TOC_REG ? e->size : 0,
		.rdev_major = e->dev_major,
		.rdev_minor = e->dev_minor,
		.target = e->type == TOC_SYMLINK ? e->link : NULL,
	};
	uint32_t id = 0;
	int r;

	if (e->type == TOC_HARDLINK || e->type == TOC_SYMLINK) {
		if (e->link == NULL || *e->link == '\0')
			return refuse(e, ret_err, "a link to nothing");
	}
	if (e->type == TOC_HARDLINK)
		return index_build_link(l->b, path, e->link, ret_err);
	r = index_build_add(l->b, path, &ie, &id, ret_err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < e->n_xattrs && id != 0; i++) {
		r = index_build_xattr(l->b, id, e->xattrs[i].name, e->xattrs[i].value,
				      e->xattrs[i].len, ret_err);
		if (r < 0)
			return r;
	}
	return e->type == TOC_REG ? open_file(l, e, id, ret_err) : 0;
}

static int add_entry(struct toc_load *l, const struct toc_entry *e, char **ret_err)
{
	char path[TOC_PATH_MAX];
	ssize_t len;
	int r;

	if (e->type == TOC_CHUNK)
		return add_chunk(l, e, ret_err);
	r = close_file(l, ret_err);
	if (r < 0)
		return r;
	len = toc_clean(e->name, path);
	if (len == -ENAMETOOLONG)
		return refuse(e, ret_err, "its name is too long");
	if (len < 0)
		return refuse(e, ret_err, "its name leads out of the layer");
	if (len == 0 && e->type != TOC_DIR)
		return refuse(e, ret_err, "the root is no directory");
	r = set_add(l->names, path, (size_t)len);
	if (r < 0)
		return r;
	if (r == 0)
		return refuse(e, ret_err, "its name comes twice");
	r = l->want_sums ? toc_split_add(&l->sums, e) : 0;
	if (r < 0)
		return r;
	/* A landmark is no file, but it is where another's data ends. */
	if (l->hide_landmarks && e->type == TOC_REG &&
	    (strcmp(path, ".prefetch.landmark") == 0 || strcmp(path, ".no.prefetch.landmark") == 0))
		return open_file(l, e, 0, ret_err);
	return add_named(l, e, path, ret_err);
}

int toc_load_entry(void *arg, const struct toc_entry *e, char **ret_err)
{
	struct toc_load *l = arg;
	_cleanup_free_ char *why = NULL;
	int r = add_entry(l, e, &why);

	switch (r) {
	case -EINVAL:
	case -EEXIST:
	case -EPERM:
	case -ENOTDIR:
	case -EISDIR:
	case -ENAMETOOLONG:
	case -E2BIG:
		/* What the index refuses is the TOC's fault. */
		r = -EBADMSG;
		break;
	default:
		break;
	}
	if (r == -EBADMSG)
		return toc_fail(ret_err, r, "entry %u%s%s", l->entries, why ? ": " : ", ",
				why ? why : e->name ? e->name :
						      "a chunk");
	if (r < 0)
		return r;
	if (l->entries++ == UINT32_MAX - 1)
		return toc_fail(ret_err, -EBADMSG, "too many entries");
	if (index_build_count(l->b) > 2 * (uint64_t)l->entries + TOC_SPARE_DIRS)
		return toc_fail(ret_err, -EBADMSG,
				"entry %u, \"%s\": too many directories that have no entry",
				l->entries - 1, e->name ? e->name : "");
	return 0;
}

int toc_load_end(struct toc_load *l, char **ret_err)
{
	return close_file(l, ret_err);
}
