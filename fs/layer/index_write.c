/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tree in memory to the file.
 *
 * Inodes are numbered breadth first, the entries of a directory by name: what
 * is listed together lies together. Directories then come in the order of
 * their numbers, and so do their entries; extents follow the numbers of their files. So
 * each section is written in one go, from its first byte to its last, with
 * the checksums counted on the way; the header, which holds them, is written last.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "fs/layer/index_build_i.h"
#include "fs/layer/index_format.h"
#include "lib/cleanup.h"
#include "lib/newfile.h"
#include "lib/sys.h"

#define OUT_SIZE (16U * INDEX_BLOCK)

/* What is written, a block at a time. */
struct out {
	int fd;
	uint8_t *buf;
	uint64_t pos; /* in the file, of the next byte */
	uint64_t *sums, nsums, sums_cap;
	int err; /* the first one; nothing is done after it */
};

struct writer {
	struct index_build *b;
	struct out out;
	struct disk_header h;
	uint32_t *order; /* node by number; from 1 */
	uint32_t inodes;
	uint32_t *sorted; /* names by directory, and by name in each */
	uint32_t *sets; /* for each node the place of its attributes, as in disk_inode */
	uint8_t *xattrs;
	uint64_t xattrs_len, xattrs_cap;
	uint64_t content;
};

/* --- output ------------------------------------------------------------------ */

static void out_flush(struct out *o, uint64_t from)
{
	uint64_t at, end = o->pos;
	size_t done = 0, len = (size_t)(end - from);

	for (at = from; at < end && !o->err; at += INDEX_BLOCK) {
		uint64_t n = end - at < INDEX_BLOCK ? end - at : INDEX_BLOCK;
		uint64_t skip = at ? 0 : sizeof(struct disk_header);

		o->err = ib_grow((void **)&o->sums, o->nsums, &o->sums_cap, sizeof(*o->sums));
		if (!o->err)
			o->sums[o->nsums++] =
				htole64(XXH3_64bits(o->buf + (at - from) + skip, n - skip));
	}
	while (done < len && !o->err) {
		ssize_t n = sys_pwrite(o->fd, o->buf + done, len - done, (off_t)(from + done));

		if (n < 0)
			o->err = (int)n;
		else
			done += (size_t)n;
	}
}

static void put(struct out *o, const void *data, uint64_t len)
{
	const uint8_t *p = data;

	while (len && !o->err) {
		uint64_t at = o->pos % OUT_SIZE, n = OUT_SIZE - at;

		if (n > len)
			n = len;
		memcpy(o->buf + at, p, n);
		p += n;
		len -= n;
		o->pos += n;
		if (o->pos % OUT_SIZE == 0)
			out_flush(o, o->pos - OUT_SIZE);
	}
}

static void begin(struct writer *w, enum index_section s)
{
	static const uint8_t zeros[8];

	put(&w->out, zeros, -w->out.pos % 8);
	w->h.sec[s].off = w->out.pos;
}

static void end(struct writer *w, enum index_section s)
{
	w->h.sec[s].size = htole64(w->out.pos - w->h.sec[s].off);
	w->h.sec[s].off = htole64(w->h.sec[s].off);
}

/* --- order ------------------------------------------------------------------- */

static const char *str_of(const struct index_build *b, uint32_t s)
{
	return b->str + b->strs[s].off;
}

static bool is_dir(const struct bnode *n)
{
	return S_ISDIR(n->e.mode);
}

/* Whether a name is seen in the index at all. */
static bool counts(const struct bname *n)
{
	return n->node || n->whiteout;
}

/* By directory, then as strcmp() has it. */
static int by_name(const void *pa, const void *pb, void *arg)
{
	const struct index_build *b = arg;
	const struct bname *x = &b->name[*(const uint32_t *)pa];
	const struct bname *y = &b->name[*(const uint32_t *)pb];

	if (x->dir != y->dir)
		return x->dir < y->dir ? -1 : 1;
	return strcmp(str_of(b, x->str), str_of(b, y->str));
}

static int sort_names(struct writer *w)
{
	struct index_build *b = w->b;
	uint32_t i, n = 0;

	w->sorted = sys_calloc(b->names, sizeof(*w->sorted));
	if (!w->sorted)
		return -ENOMEM;
	for (i = 1; i < b->names; i++)
		if (counts(&b->name[i]))
			w->sorted[n++] = i;
	qsort_r(w->sorted, n, sizeof(*w->sorted), by_name, b);
	for (i = 0; i < n; i++) {
		struct bnode *dir = &b->node[b->name[w->sorted[i]].dir];

		if (!dir->nnames++)
			dir->first_name = i;
	}
	return 0;
}

/* Numbers what can be reached from the root. */
static int number(struct writer *w)
{
	struct index_build *b = w->b;
	uint32_t next, k;

	w->order = sys_calloc((size_t)b->nodes + 1, sizeof(*w->order));
	if (!w->order)
		return -ENOMEM;
	w->order[++w->inodes] = INDEX_ROOT;
	b->node[INDEX_ROOT].ino = INDEX_ROOT;
	for (next = 1; next <= w->inodes; next++) {
		struct bnode *dir = &b->node[w->order[next]];

		for (k = 0; is_dir(dir) && k < dir->nnames; k++) {
			struct bname *name = &b->name[w->sorted[dir->first_name + k]];
			struct bnode *n = &b->node[name->node];

			if (!name->node)
				continue;
			dir->subdirs += is_dir(n);
			/* hidden below and here again: nothing of below is to be seen in it */
			n->opaque |= name->whiteout && is_dir(n);
			if (!n->ino) {
				w->order[++w->inodes] = name->node;
				n->ino = w->inodes;
			}
		}
	}
	return w->inodes > INDEX_MAX_INODES ? -E2BIG : 0;
}

/* --- attributes -------------------------------------------------------------- */

static int by_attr(const void *pa, const void *pb, void *arg)
{
	const struct index_build *b = arg;

	return strcmp(str_of(b, b->xattr[*(const uint32_t *)pa].name),
		      str_of(b, b->xattr[*(const uint32_t *)pb].name));
}

static int append(struct writer *w, const void *data, uint64_t len)
{
	while (w->xattrs_cap < w->xattrs_len + len) {
		int r = ib_grow((void **)&w->xattrs, w->xattrs_cap, &w->xattrs_cap, 1);

		if (r < 0)
			return r;
	}
	if (len)
		memcpy(w->xattrs + w->xattrs_len, data, len);
	w->xattrs_len += len;
	return 0;
}

/* Appends the attributes of @n as a set. */
static int append_set(struct writer *w, const struct bnode *n, char **ret_err)
{
	static const uint8_t zeros[8];
	struct index_build *b = w->b;
	_cleanup_free_ uint32_t *list = NULL;
	uint64_t start = w->xattrs_len;
	struct disk_xattrs h;
	uint32_t i, k, count = 0;
	int r;

	for (i = n->xattrs; i; i = b->xattr[i].next)
		count++;
	list = sys_calloc(count, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (i = n->xattrs, k = 0; i; i = b->xattr[i].next)
		list[k++] = i;
	qsort_r(list, count, sizeof(*list), by_attr, b);
	r = append(w, zeros, sizeof(h));
	for (k = 0; k < count && r == 0; k++) {
		const struct bxattr *x = &b->xattr[list[k]];
		struct disk_xattr d = { .name_len = htole16((uint16_t)b->strs[x->name].len),
					.value_len = htole32(x->len) };

		r = append(w, &d, sizeof(d));
		if (r == 0)
			r = append(w, str_of(b, x->name), b->strs[x->name].len);
		if (r == 0)
			r = append(w, b->value + x->off, x->len);
		if (r == 0)
			r = append(w, zeros, -(w->xattrs_len - start) % 4);
	}
	if (r < 0)
		return r;
	if (w->xattrs_len - start - sizeof(h) > INDEX_MAX_XATTRS)
		return ib_fail(ret_err, -E2BIG, "the attributes of a file are more than 1 MiB");
	h.n = htole32(count);
	h.size = htole32((uint32_t)(w->xattrs_len - start - sizeof(h)));
	memcpy(w->xattrs + start, &h, sizeof(h));
	return append(w, zeros, -w->xattrs_len % 8);
}

/* Puts all sets together, equal ones once. */
static int collect_xattrs(struct writer *w, char **ret_err)
{
	struct index_build *b = w->b;
	_cleanup_free_ uint64_t *table = NULL; /* place of a set, plus 1 */
	uint64_t mask = 1023;
	uint32_t i;
	int r;

	while (mask < b->xattrs * 2)
		mask = mask * 2 + 1;
	table = sys_calloc(mask + 1, sizeof(*table));
	w->sets = sys_calloc((size_t)w->inodes + 1, sizeof(*w->sets));
	if (!table || !w->sets)
		return -ENOMEM;
	for (i = 1; i <= w->inodes; i++) {
		const struct bnode *n = &b->node[w->order[i]];
		uint64_t start = w->xattrs_len, len, h;

		if (!n->xattrs)
			continue;
		r = append_set(w, n, ret_err);
		if (r < 0)
			return r;
		len = w->xattrs_len - start;
		for (h = XXH3_64bits(w->xattrs + start, len); table[h & mask]; h++)
			if (w->xattrs_len - table[h & mask] + 1 >= len &&
			    !memcmp(w->xattrs + table[h & mask] - 1, w->xattrs + start, len))
				break;
		if (table[h & mask])
			w->xattrs_len = start;
		else
			table[h & mask] = start + 1;
		if ((table[h & mask] - 1) / 8 >= UINT32_MAX)
			return -E2BIG;
		w->sets[i] = (uint32_t)((table[h & mask] - 1) / 8) + 1;
	}
	return 0;
}

/* --- sections ---------------------------------------------------------------- */

static void put_inode(struct writer *w, uint32_t ino, uint64_t *dirents, uint64_t *extents)
{
	struct index_build *b = w->b;
	struct bnode *n = &b->node[w->order[ino]];
	uint64_t size = n->e.size, a = 0;
	uint32_t count = 0, nlink = n->names;
	struct disk_inode d;

	switch (n->e.mode & S_IFMT) {
	case S_IFDIR:
		a = *dirents;
		count = n->nnames;
		*dirents += count;
		nlink = 2 + n->subdirs;
		size = 0;
		break;
	case S_IFREG:
		w->content += size;
		count = n->extents;
		if (!n->head) {
			break;
		} else if (!b->extent[n->head].first) {
			b->extent[n->head].first = *extents + 1;
			*extents += count;
		}
		a = b->extent[n->head].first - 1;
		break;
	case S_IFLNK:
		a = b->strs[n->target].off;
		size = b->strs[n->target].len;
		break;
	case S_IFCHR:
	case S_IFBLK:
		a = (uint64_t)n->e.rdev_major << 32 | n->e.rdev_minor;
		size = 0;
		break;
	default:
		size = 0;
	}
	d = (struct disk_inode){
		.mode = htole32(n->e.mode & (S_IFMT | 07777)),
		.uid = htole32(n->e.uid),
		.gid = htole32(n->e.gid),
		.nlink = htole32(nlink),
		.mtime = (int64_t)htole64((uint64_t)n->e.mtime),
		.mtime_nsec = htole32(n->e.mtime_nsec),
		.xattrs = htole32(w->sets[ino]),
		.size = htole64(size),
		.a = htole64(a),
		.n = htole32(count),
		.flags = htole32(n->opaque ? DISK_OPAQUE : 0),
		.parent = htole32(is_dir(n) ? b->node[n->parent].ino : 0),
	};
	put(&w->out, &d, sizeof(d));
}

static uint8_t dirent_type(mode_t mode)
{
	return (uint8_t)((mode & S_IFMT) >> 12); /* as DT_* are defined */
}

static uint32_t hash_of(const struct index_build *b, uint32_t name)
{
	const struct bstr *s = &b->strs[b->name[name].str];

	return (uint32_t)XXH3_64bits(b->str + s->off, s->len);
}

static int by_hash(const void *pa, const void *pb, void *arg)
{
	const struct index_build *b = arg;
	uint32_t x = *(const uint32_t *)pa, y = *(const uint32_t *)pb;
	uint32_t hx = hash_of(b, x), hy = hash_of(b, y);

	if (hx != hy)
		return hx < hy ? -1 : 1;
	return strcmp(str_of(b, b->name[x].str), str_of(b, b->name[y].str));
}

static void put_dirents(struct writer *w)
{
	struct index_build *b = w->b;
	uint32_t ino, k;

	for (ino = 1; ino <= w->inodes; ino++) {
		struct bnode *dir = &b->node[w->order[ino]];

		if (!is_dir(dir))
			continue;
		/* the order by name has served its purpose */
		qsort_r(w->sorted + dir->first_name, dir->nnames, sizeof(*w->sorted), by_hash, b);
		for (k = 0; k < dir->nnames; k++) {
			uint32_t i = w->sorted[dir->first_name + k];
			const struct bname *name = &b->name[i];
			const struct bnode *n = &b->node[name->node];
			struct disk_dirent d = {
				.hash = htole32(hash_of(b, i)),
				.name = htole32(b->strs[name->str].off),
				.len = htole16((uint16_t)b->strs[name->str].len),
				.type = name->node ? dirent_type(n->e.mode) : DT_CHR,
				.flags = name->node ? 0 : DISK_WHITEOUT,
				.ino = htole32(name->node ? n->ino : 0),
			};
			put(&w->out, &d, sizeof(d));
		}
	}
}

static void put_extents(struct writer *w)
{
	struct index_build *b = w->b;
	uint64_t done = 0;
	uint32_t ino, i;

	for (ino = 1; ino <= w->inodes; ino++) {
		const struct bnode *n = &b->node[w->order[ino]];

		if (!n->head || b->extent[n->head].first != done + 1)
			continue;
		for (i = n->head; i; i = b->extent[i].next, done++) {
			const struct index_extent *e = &b->extent[i].e;
			struct disk_extent d = { .off = htole64(e->off),
						 .len = htole64(e->len),
						 .chunk_off = htole64(e->chunk_off),
						 .chunk = htole32(e->chunk) };

			put(&w->out, &d, sizeof(d));
		}
	}
}

static void put_chunks(struct writer *w)
{
	uint64_t i;

	for (i = 0; i < w->b->chunks; i++) {
		const struct index_chunk *c = &w->b->chunk[i];
		struct disk_chunk d = { .frame = htole32(c->frame),
					.flags = htole32(c->has_sha256 ? DISK_SHA256 : 0),
					.skip = htole64(c->skip),
					.len = htole64(c->len) };

		if (c->has_sha256)
			memcpy(d.sha256, c->sha256, 32);
		put(&w->out, &d, sizeof(d));
	}
}

static void put_frames(struct writer *w)
{
	uint64_t i;

	for (i = 0; i < w->b->frames; i++) {
		const struct index_frame *f = &w->b->frame[i];
		struct disk_frame d = { .off = htole64(f->off),
					.stored = htole64(f->stored),
					.raw = htole64(f->raw),
					.xxh3 = htole64(f->xxh3),
					.codec = htole32(f->codec) };

		put(&w->out, &d, sizeof(d));
	}
}

static void put_sections(struct writer *w)
{
	uint64_t dirents = 0, extents = 0;
	struct out *o = &w->out;
	uint32_t ino;

	put(o, &w->h, sizeof(w->h));
	begin(w, SEC_INODES);
	for (ino = 1; ino <= w->inodes; ino++)
		put_inode(w, ino, &dirents, &extents);
	end(w, SEC_INODES);
	begin(w, SEC_DIRENTS);
	put_dirents(w);
	end(w, SEC_DIRENTS);
	begin(w, SEC_STRINGS);
	put(o, w->b->str, w->b->str_len);
	end(w, SEC_STRINGS);
	begin(w, SEC_XATTRS);
	put(o, w->xattrs, w->xattrs_len);
	end(w, SEC_XATTRS);
	begin(w, SEC_EXTENTS);
	put_extents(w);
	end(w, SEC_EXTENTS);
	begin(w, SEC_CHUNKS);
	put_chunks(w);
	end(w, SEC_CHUNKS);
	begin(w, SEC_FRAMES);
	put_frames(w);
	end(w, SEC_FRAMES);
	/* what the checksums cover ends here */
	begin(w, SEC_CHECKSUMS);
	if (o->pos % OUT_SIZE)
		out_flush(o, o->pos - o->pos % OUT_SIZE);
}

static int put_tail(struct writer *w, const struct index_info *info)
{
	uint64_t len = w->out.nsums * 8, done = 0, n;
	struct disk_header *h = &w->h;
	ssize_t r;

	if (w->out.err)
		return w->out.err;
	h->checksums = htole64(XXH3_64bits(w->out.sums, len));
	for (; done < len; done += n) {
		r = sys_pwrite(w->out.fd, (uint8_t *)w->out.sums + done, len - done,
			       (off_t)(w->out.pos + done));
		if (r < 0)
			return (int)r;
		n = (uint64_t)r;
	}
	w->out.pos += len;
	end(w, SEC_CHECKSUMS);
	memcpy(h->magic, INDEX_MAGIC, sizeof(h->magic));
	h->version = htole32(INDEX_VERSION);
	h->header_size = htole32(sizeof(*h));
	h->file_size = htole64(w->out.pos);
	h->block_size = htole32(INDEX_BLOCK);
	h->kind = htole32(info->kind);
	h->blob_size = htole64(info->blob_size);
	h->content = htole64(w->content);
	memcpy(h->blob, info->blob, 32);
	memcpy(h->layer, info->layer, 32);
	memcpy(h->diff_id, info->diff_id, 32);
	memcpy(h->toc, info->toc, 32);
	h->self = htole64(XXH3_64bits(h, offsetof(struct disk_header, self)));
	r = sys_pwrite(w->out.fd, h, sizeof(*h), 0);
	return r < 0 ? (int)r : r == sizeof(*h) ? 0 :
						  -EIO;
}

static int check_frames(const struct index_build *b, const struct index_info *info, char **ret_err)
{
	uint64_t i;

	for (i = 0; i < b->frames; i++) {
		const struct index_frame *f = &b->frame[i];

		if (f->off > info->blob_size || f->stored > info->blob_size - f->off)
			return ib_fail(ret_err, -EINVAL, "content at %llu is outside of the blob",
				       (unsigned long long)f->off);
		if (f->codec >= INDEX_CODECS || f->raw > INT64_MAX ||
		    (f->codec == INDEX_RAW && f->raw > f->stored))
			return ib_fail(ret_err, -EINVAL, "content at %llu cannot be",
				       (unsigned long long)f->off);
	}
	return 0;
}

int index_build_write(struct index_build *b, const struct index_info *info, int dirfd,
		      const char *name, char **ret_err)
{
	struct writer w = { .b = b };
	struct newfile f = { .fd = -1 };
	int r = ib_resolve_links(b, ret_err);

	if (r == 0)
		r = check_frames(b, info, ret_err);
	if (r == 0)
		r = sort_names(&w);
	if (r == 0)
		r = number(&w);
	if (r == 0)
		r = collect_xattrs(&w, ret_err);
	if (r == 0) {
		w.out.buf = sys_malloc(OUT_SIZE);
		r = w.out.buf ? newfile_begin(dirfd, 0644, &f) : -ENOMEM;
	}
	if (r == 0) {
		w.out.fd = f.fd;
		put_sections(&w);
		r = put_tail(&w, info);
	}
	if (r == 0)
		r = newfile_commit(&f, name, true);
	newfile_abort(&f);
	free(w.out.buf);
	free(w.out.sums);
	free(w.order);
	free(w.sorted);
	free(w.sets);
	free(w.xattrs);
	return r;
}
