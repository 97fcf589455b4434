/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump of a tree: everything about each entry that a program can see, in
 * the order of the sorted paths. Written into a file by the process that sees
 * the tree, read back by the one that compares.
 */
#ifndef TESTS_DIFF_DUMP_H
#define TESTS_DIFF_DUMP_H

#include "exec.h"

#define DUMP_DTYPE 1 /* readdir's d_type is not the entry's type */
#define DUMP_DINO 2 /* readdir's d_ino is not the entry's st_ino */
#define DUMP_NOENT 4 /* listed, but stat says otherwise (see err) */

struct rec {
	char *path;
	struct statx st;
	char *xattrs; /* name, length, hash of the value; sorted */
	char *target; /* of a symlink */
	char *holes; /* "data-hole data-hole ..." */
	uint64_t hash; /* of the contents, holes as zeros */
	int err; /* of reading contents, listing or stat */
	uint64_t d_ino; /* what readdir gave; 0 for the root */
	int flags;
};

struct dump {
	struct rec *v;
	size_t n, cap;
	void *mem;
	size_t mem_len;
};

static inline void put_str(FILE *f, const char *s)
{
	uint32_t n = (uint32_t)strlen(s) + 1;

	fwrite(&n, 4, 1, f);
	fwrite(s, n, 1, f);
}

static inline void dump_xattrs(int fd, const char *path, char *out,
			       size_t size)
{
	static char list[65536], val[65536];
	struct name_list l = { 0 };
	ssize_t n = path ? llistxattr(path, list, sizeof(list)) :
			   flistxattr(fd, list, sizeof(list)),
		i;
	size_t k, w = 0;

	out[0] = 0;
	if (n < 0) {
		snprintf(out, size, "listxattr: %d", errno);
		return;
	}
	for (i = 0; i < n; i += (ssize_t)strlen(list + i) + 1)
		names_add(&l, list + i);
	names_sort(&l);
	for (k = 0; k < l.n; k++) {
		ssize_t vn = path ?
				     lgetxattr(path, l.v[k], val, sizeof(val)) :
				     fgetxattr(fd, l.v[k], val, sizeof(val));
		uint64_t h = vn < 0 ? 0 :
				      hash_mix(HASH_INIT, val, (size_t)vn);
		int m = snprintf(out + w, size - w, "%s[%zd]=%llx ", l.v[k],
				 vn < 0 ? (ssize_t)-errno : vn,
				 (unsigned long long)h);

		if (m < 0 || (size_t)m >= size - w)
			break;
		w += (size_t)m;
	}
	names_free(&l);
}

/* Contents by hash, without reading what the file says are holes. */
static inline int dump_contents(int fd, uint64_t *ret_hash, char *holes,
				size_t size)
{
	static char buf[65536], zero[65536];
	off_t data = 0, hole, end = lseek(fd, 0, SEEK_END);
	uint64_t h = HASH_INIT;
	size_t w = 0;

	holes[0] = 0;
	while (data < end) {
		data = lseek(fd, data, SEEK_DATA);
		if (data < 0)
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data)
			return EIO;
		if (w + 64 < size)
			w += (size_t)sprintf(holes + w, "%lld-%lld ",
					     (long long)data,
					     (long long)hole);
		while (data < hole) {
			off_t at = data & ~(off_t)(sizeof(buf) - 1);
			ssize_t n;

			/* whole blocks, hashed only where not zero, so that
			 * the hash does not depend on where holes are */
			n = pread(fd, buf, sizeof(buf), at);
			if (n < 0)
				return errno;
			if (n == 0)
				return EPIPE;
			if (memcmp(buf, zero, (size_t)n)) {
				h = hash_mix(h, &at, sizeof(at));
				h = hash_mix(h, buf, (size_t)n);
			}
			data = at + (off_t)sizeof(buf);
		}
		if (hole < data)
			hole = data;
		data = hole;
	}
	*ret_hash = h;
	return 0;
}

static inline int dump_dir(FILE *f, int fd, const char *path);

static inline int dump_entry(FILE *f, int dfd, const char *name,
			     const char *path, const struct dent64 *d)
{
	static char xattrs[16384], holes[16384], target[PATH_MAX];
	uint64_t h = 0, d_ino = d ? d->ino : 0;
	struct statx st;
	int fd = -1, err = 0, flags = 0;
	ssize_t n;

	xattrs[0] = holes[0] = target[0] = 0;
	if (xstatx(dfd, name, AT_SYMLINK_NOFOLLOW, &st)) {
		err = errno;
		flags = DUMP_NOENT;
		goto out;
	}
	if (d && d->type != DT_UNKNOWN &&
	    d->type != (st.stx_mode & S_IFMT) >> 12)
		flags |= DUMP_DTYPE;
	if (d && d->ino != st.stx_ino)
		flags |= DUMP_DINO;
	if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode)) {
		fd = openat(dfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			err = errno;
	}
	if (fd >= 0) {
		dump_xattrs(fd, NULL, xattrs, sizeof(xattrs));
	} else if (!fchdir(dfd)) {
		dump_xattrs(-1, name, xattrs, sizeof(xattrs));
	}
	if (S_ISLNK(st.stx_mode)) {
		n = readlinkat(dfd, name, target, sizeof(target) - 1);
		if (n < 0)
			err = errno;
		else
			target[n] = 0;
	}
	if (S_ISREG(st.stx_mode) && fd >= 0)
		err = dump_contents(fd, &h, holes, sizeof(holes));
out:
	put_str(f, path);
	fwrite(&st, sizeof(st), 1, f);
	put_str(f, xattrs);
	put_str(f, target);
	put_str(f, holes);
	fwrite(&h, sizeof(h), 1, f);
	fwrite(&d_ino, sizeof(d_ino), 1, f);
	fwrite(&err, sizeof(err), 1, f);
	fwrite(&flags, sizeof(flags), 1, f);
	if (fd >= 0 && S_ISDIR(st.stx_mode))
		dump_dir(f, fd, path);
	if (fd >= 0)
		close(fd);
	return ferror(f) ? -EIO : 0;
}

static inline int cmp_dents(const void *a, const void *b)
{
	const struct dent64 *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static inline int dump_dir(FILE *f, int fd, const char *path)
{
	struct dent64 **v = NULL, **grown;
	char buf[16384], sub[PATH_LEN * 4];
	size_t n = 0, i;
	long got;

	while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		long off;

		for (off = 0; off < got;) {
			const struct dent64 *d = (const void *)(buf + off);

			off += d->reclen;
			if (!strcmp(d->name, ".") || !strcmp(d->name, ".."))
				continue;
			grown = realloc(v, (n + 1) * sizeof(struct dent64 *));
			if (!grown)
				abort();
			v = grown;
			v[n] = malloc(d->reclen);
			memcpy(v[n++], d, d->reclen);
		}
	}
	if (n)
		qsort(v, n, sizeof(*v), cmp_dents);
	for (i = 0; i < n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, v[i]->name);
		dump_entry(f, fd, v[i]->name, sub, v[i]);
		free(v[i]);
	}
	free(v);
	return got < 0 ? -errno : 0;
}

/* Write the dump of the tree at root into memfd, from its beginning. */
static inline int dump_write(int root, int memfd)
{
	FILE *f;

	if (ftruncate(memfd, 0) || lseek(memfd, 0, SEEK_SET))
		return -errno;
	f = fdopen(dup(memfd), "w");
	if (!f)
		return -errno;
	dump_entry(f, root, ".", ".", NULL);
	if (fchdir(root) || fclose(f))
		return -EIO;
	return 0;
}

static inline void dump_free(struct dump *d)
{
	free(d->v);
	free(d->mem);
	memset(d, 0, sizeof(*d));
}

static inline char *get_str(char **p)
{
	uint32_t n;
	char *s = *p + 4;

	memcpy(&n, *p, 4);
	*p = s + n;
	return s;
}

/* Read a dump back; the strings live in d->mem. */
static inline int dump_read(int memfd, struct dump *d)
{
	off_t size = lseek(memfd, 0, SEEK_END);
	char *p, *end;

	memset(d, 0, sizeof(*d));
	d->mem_len = (size_t)size;
	d->mem = malloc((size_t)size + 1);
	if (size < 0 || !d->mem ||
	    pread(memfd, d->mem, (size_t)size, 0) != size)
		return -EIO;
	for (p = d->mem, end = p + size; p < end;) {
		struct rec *r;

		if (d->n == d->cap) {
			d->cap = d->cap ? d->cap * 2 : 256;
			d->v = realloc(d->v, d->cap * sizeof(*d->v));
			if (!d->v)
				return -ENOMEM;
		}
		r = &d->v[d->n++];
		r->path = get_str(&p);
		memcpy(&r->st, p, sizeof(r->st));
		p += sizeof(r->st);
		r->xattrs = get_str(&p);
		r->target = get_str(&p);
		r->holes = get_str(&p);
		memcpy(&r->hash, p, 8);
		memcpy(&r->d_ino, p + 8, 8);
		memcpy(&r->err, p + 16, 4);
		memcpy(&r->flags, p + 20, 4);
		p += 24;
	}
	return 0;
}

#endif
