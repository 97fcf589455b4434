/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be equal between the union and the plain directory, and the
 * memory that this needs across operations: which inode of the union is which
 * of the plain directory (the pairing must never change), and the times both
 * had when last seen (one may change only when the other does).
 */
#ifndef TESTS_DIFF_COMPARE_H
#define TESTS_DIFF_COMPARE_H

#include <time.h>

#include "dump.h"

struct pair {
	uint64_t p_ino; /* plain inode: number and birth */
	int64_t p_bsec;
	uint32_t p_bnsec;
	int taken; /* the slot is this inode's */
	int used; /* it has been seen in both trees */
	uint64_t u_ino;
	struct statx_timestamp pm, um, pc, uc;
	int lax;
	unsigned int slack; /* names of a lower file that are hidden */
	unsigned int seen; /* dump in which it was last seen */
};

#define N_PAIRS 65536

struct compare {
	struct pair *pairs; /* N_PAIRS, open addressing */
	unsigned int dumps;
	int no_ino; /* the union has no stable st_ino */
	int no_ctime;
	int no_nlink;
	int writeback; /* the kernel's times, set late */
	int no_holes;
	struct timespec *start, *end; /* of each operation */
	size_t n_ops;
	struct timespec t0;
	int failed;
	char cls[128]; /* what kind of difference, for the shrinker */
	char why[8192];
};

__attribute__((format(printf, 3, 4))) static inline int cmp_fail(struct compare *c, const char *cls,
								 const char *fmt, ...)
{
	va_list ap;

	if (c->failed)
		return -1;
	c->failed = 1;
	snprintf(c->cls, sizeof(c->cls), "%s", cls);
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	return -1;
}

static inline struct pair *cmp_pair(struct compare *c, const struct statx *p)
{
	uint64_t h = hash_mix(HASH_INIT, &p->stx_ino, 8) ^
		     (uint64_t)p->stx_btime.tv_nsec * 0x9e3779b97f4a7c15ull ^
		     (uint64_t)p->stx_btime.tv_sec;
	struct pair *e;
	size_t i;

	for (i = 0; i < N_PAIRS; i++) {
		e = &c->pairs[(h + i) % N_PAIRS];
		if (!e->taken) {
			e->taken = 1;
			e->p_ino = p->stx_ino;
			e->p_bsec = p->stx_btime.tv_sec;
			e->p_bnsec = p->stx_btime.tv_nsec;
			return e;
		}
		if (e->p_ino == p->stx_ino &&
		    e->p_bsec == p->stx_btime.tv_sec &&
		    e->p_bnsec == p->stx_btime.tv_nsec)
			return e;
	}
	fprintf(stderr, "too many inodes\n");
	exit(99);
}

static inline double ts_f(struct statx_timestamp t)
{
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double tsp_f(struct timespec t)
{
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline int ts_eq(struct statx_timestamp a, struct statx_timestamp b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Are a and b both "now" of one operation? The clock's tick is the slack. */
static inline int cmp_same_now(const struct compare *c, double a, double b)
{
	double lo = a < b ? a : b, hi = a < b ? b : a, slack = 0.025;
	size_t i;

	if (hi - lo <= slack)
		return 1;
	for (i = 0; i < c->n_ops; i++)
		if (tsp_f(c->start[i]) - slack <= lo &&
		    tsp_f(c->end[i]) + slack >= hi)
			return 1;
	return 0;
}

static inline int cmp_mtime(struct compare *c, struct pair *e,
			    const char *path, const struct statx *p,
			    const struct statx *u)
{
	double pm = ts_f(p->stx_mtime), um = ts_f(u->stx_mtime);
	int fresh = pm >= tsp_f(c->t0) - 1 && pm < 1.9e9;

	/* what is written to a FIFO no filesystem hears of */
	if (S_ISFIFO(p->stx_mode))
		e->lax |= LAX_TIME;
	/* a removed directory loses its whiteouts only now */
	if (S_ISDIR(p->stx_mode) && !p->stx_nlink)
		return 0;
	if (e->lax & (c->writeback ? LAX_TIME | LAX_SAME_SIZE : LAX_TIME))
		return 0;
	if (e->used && ts_eq(e->pm, p->stx_mtime) &&
	    !(c->writeback && fresh && S_ISREG(p->stx_mode)) &&
	    !ts_eq(e->um, u->stx_mtime))
		return cmp_fail(
			c, "mtime-changed",
			"%s: mtime of the union changed from %.9f to %.9f, "
			"that of the plain tree did not (%.9f)",
			path, ts_f(e->um), um, pm);
	if (!fresh && !ts_eq(p->stx_mtime, u->stx_mtime))
		return cmp_fail(c, "mtime", "%s: mtime plain %.9f union %.9f",
				path, pm, um);
	/*
	 * The kernel may send the time before the data that it is of, and never
	 * again: what is on disk is then later by as long as the data took.
	 */
	if (fresh && c->writeback && S_ISREG(p->stx_mode) && um > pm && um < pm + 5)
		return 0;
	if (fresh && !cmp_same_now(c, pm, um))
		return cmp_fail(c, "mtime-now",
				"%s: mtime plain %.9f union %.9f are not of one operation",
				path, pm, um);
	return 0;
}

/*
 * Compare what stat says. The union's inode number is bound to the plain
 * inode (number and birth time) at first sight.
 */
static inline int cmp_stat(struct compare *c, const char *path,
			   const struct statx *p, const struct statx *u,
			   int lax)
{
	struct pair *e = cmp_pair(c, p);
	int isdir = S_ISDIR(p->stx_mode);

	e->lax |= lax;
	if (p->stx_mode != u->stx_mode)
		return cmp_fail(c, "mode", "%s: mode plain 0%o union 0%o",
				path, p->stx_mode, u->stx_mode);
	if (p->stx_uid != u->stx_uid || p->stx_gid != u->stx_gid)
		return cmp_fail(c, "owner", "%s: owner plain %u:%u union %u:%u",
				path, p->stx_uid, p->stx_gid, u->stx_uid,
				u->stx_gid);
	if (!isdir && (u->stx_nlink < p->stx_nlink ||
		       u->stx_nlink > p->stx_nlink + e->slack))
		return cmp_fail(c, "nlink", "%s: nlink plain %u union %u",
				path, p->stx_nlink, u->stx_nlink);
	if (!isdir && p->stx_size != u->stx_size)
		return cmp_fail(c, "size", "%s: size plain %llu union %llu",
				path, p->stx_size, u->stx_size);
	if (p->stx_rdev_major != u->stx_rdev_major ||
	    p->stx_rdev_minor != u->stx_rdev_minor)
		return cmp_fail(c, "rdev", "%s: rdev plain %u:%u union %u:%u",
				path, p->stx_rdev_major, p->stx_rdev_minor,
				u->stx_rdev_major, u->stx_rdev_minor);
	if (cmp_mtime(c, e, path, p, u))
		return -1;
	/* a first copy-up gives a file a new ctime, whatever it was for */
	if (!c->no_ctime && e->used && !isdir && !(e->lax & LAX_TIME) &&
	    ts_f(e->uc) > tsp_f(c->t0) &&
	    ts_eq(e->pc, p->stx_ctime) && !ts_eq(e->uc, u->stx_ctime))
		return cmp_fail(
			c, "ctime-changed",
			"%s: ctime of the union changed from %.9f to %.9f, "
			"that of the plain tree did not",
			path, ts_f(e->uc), ts_f(u->stx_ctime));
	if (!c->no_ino && e->used && e->u_ino != u->stx_ino)
		return cmp_fail(
			c, "ino-changed",
			"%s: st_ino of the union changed from %llu to %llu (plain: still %llu)",
			path, (unsigned long long)e->u_ino, (unsigned long long)u->stx_ino,
			(unsigned long long)p->stx_ino);
	e->used = 1;
	e->u_ino = u->stx_ino;
	e->pm = p->stx_mtime;
	e->um = u->stx_mtime;
	e->pc = p->stx_ctime;
	e->uc = u->stx_ctime;
	return 0;
}

static inline int cmp_rec(struct compare *c, const struct rec *p,
			  const struct rec *u, int lax)
{
	if (p->err != u->err)
		return cmp_fail(c, "read", "%s: reading it: plain %s, union %s",
				p->path, strerror(p->err), strerror(u->err));
	if (p->flags & DUMP_NOENT)
		return 0;
	if (strcmp(p->target, u->target))
		return cmp_fail(c, "target", "%s: plain -> %s, union -> %s",
				p->path, p->target, u->target);
	if (strcmp(p->xattrs, u->xattrs))
		return cmp_fail(c, "xattr",
				"%s: xattrs\n  plain %s\n  union %s",
				p->path, p->xattrs, u->xattrs);
	if (p->hash != u->hash && p->st.stx_size == u->st.stx_size)
		return cmp_fail(c, "content", "%s: contents differ (size %llu)",
				p->path, p->st.stx_size);
	if (!c->no_holes && !(lax & LAX_HOLES) && strcmp(p->holes, u->holes))
		return cmp_fail(c, "holes", "%s: data\n  plain %s\n  union %s",
				p->path, p->holes, u->holes);
	if (u->flags & DUMP_DTYPE)
		return cmp_fail(c, "d_type", "%s: d_type is not its type",
				p->path);
	if (!c->no_ino && u->flags & DUMP_DINO)
		return cmp_fail(c, "d_ino", "%s (0%o): d_ino is %llu, st_ino %llu",
				p->path, u->st.stx_mode, (unsigned long long)u->d_ino,
				(unsigned long long)u->st.stx_ino);
	return 0;
}

struct ino_use {
	uint64_t ino;
	const struct rec *p, *u;
};

static inline int cmp_ino_use(const void *a, const void *b)
{
	const struct ino_use *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Equal inode numbers in one tree are equal in the other. */
static inline int cmp_links(struct compare *c, const struct dump *p,
			    const struct dump *u)
{
	struct ino_use *v = calloc(p->n + 1, sizeof(*v));
	int side, rc = 0;
	size_t i;

	for (side = 0; side < 2 && !rc; side++) {
		for (i = 0; i < p->n; i++) {
			v[i].ino = side ? u->v[i].st.stx_ino :
					  p->v[i].st.stx_ino;
			v[i].p = &p->v[i];
			v[i].u = &u->v[i];
		}
		qsort(v, p->n, sizeof(*v), cmp_ino_use);
		for (i = 1; i < p->n && !rc; i++) {
			const struct ino_use *a = &v[i - 1], *b = &v[i];

			if (a->ino != b->ino ||
			    (a->p->st.stx_ino == b->p->st.stx_ino &&
			     a->u->st.stx_ino == b->u->st.stx_ino))
				continue;
			rc = cmp_fail(c, side ? "ino-dup" : "links",
				      "%s and %s: st_ino plain %llu %llu, union %llu %llu",
				      a->p->path, b->p->path,
				      (unsigned long long)a->p->st.stx_ino,
				      (unsigned long long)b->p->st.stx_ino,
				      (unsigned long long)a->u->st.stx_ino,
				      (unsigned long long)b->u->st.stx_ino);
		}
	}
	free(v);
	return rc;
}

/*
 * Compare two dumps: p of the reference, u of the union. full takes part in
 * the memory of pairs; without it (another mount of the same upper) only
 * these two trees are compared.
 */
static inline int cmp_dumps(struct compare *c, const struct dump *p,
			    const struct dump *u, int full)
{
	size_t i;

	for (i = 0; i < p->n && i < u->n; i++) {
		const struct rec *a = &p->v[i], *b = &u->v[i];
		int lax = full && !(a->flags & DUMP_NOENT) ?
				  cmp_pair(c, &a->st)->lax :
				  0;

		if (strcmp(a->path, b->path))
			return cmp_fail(c, "names",
					"names differ: plain goes on with %s, union with %s",
					a->path, b->path);
		if (cmp_rec(c, a, b, lax))
			return -1;
		if (a->flags & DUMP_NOENT)
			continue;
		if (full && cmp_stat(c, a->path, &a->st, &b->st, 0))
			return -1;
		if (!full && (a->st.stx_mode != b->st.stx_mode ||
			      a->st.stx_uid != b->st.stx_uid ||
			      a->st.stx_gid != b->st.stx_gid ||
			      (!S_ISDIR(a->st.stx_mode) &&
			       (a->st.stx_size != b->st.stx_size ||
				(!c->no_nlink &&
				 a->st.stx_nlink != b->st.stx_nlink))) ||
			      !ts_eq(a->st.stx_mtime, b->st.stx_mtime)))
			return cmp_fail(
				c, "cross-stat",
				"%s: one 0%o %u:%u size %llu nlink %u mtime %.9f, "
				"other 0%o %u:%u size %llu nlink %u mtime %.9f",
				a->path, a->st.stx_mode, a->st.stx_uid, a->st.stx_gid,
				a->st.stx_size, a->st.stx_nlink, ts_f(a->st.stx_mtime),
				b->st.stx_mode, b->st.stx_uid, b->st.stx_gid, b->st.stx_size,
				b->st.stx_nlink, ts_f(b->st.stx_mtime));
	}
	if (p->n != u->n)
		return cmp_fail(c, "names", "the %s has more: %s",
				p->n > u->n ? "plain tree" : "union",
				p->n > u->n ? p->v[i].path : u->v[i].path);
	return c->no_ino ? 0 : cmp_links(c, p, u);
}

/* Compare what one operation returned. */
static inline int cmp_res(struct compare *c, const struct op *o,
			  const struct res *p, const struct res *u)
{
	const char *n = op_names[o->kind];
	int pe = p->err, ue = u->err, lax = p->lax | u->lax;
	char cls[64];

	/* POSIX lets rename and rmdir choose between these two */
	if (o->kind == OP_rename || o->kind == OP_rmdir) {
		pe = pe == EEXIST ? ENOTEMPTY : pe;
		ue = ue == EEXIST ? ENOTEMPTY : ue;
	}
	if (p->has_st)
		cmp_pair(c, &p->st)->lax |= lax;
	if (p->has_st && o->kind == OP_lseek &&
	    (c->no_holes || cmp_pair(c, &p->st)->lax & LAX_HOLES))
		return 0;
	snprintf(cls, sizeof(cls), "op:%s", n);
	if (pe != ue)
		return cmp_fail(c, cls, "%s: plain %s, union %s", n,
				pe ? strerror(pe) : "succeeds",
				ue ? strerror(ue) : "succeeds");
	if (p->ret != u->ret)
		return cmp_fail(c, cls, "%s: plain returns %lld, union %lld",
				n, p->ret, u->ret);
	if (p->len != u->len || memcmp(p->buf, u->buf, p->len)) {
		size_t i;

		for (i = 0; i < p->len && i < u->len; i++)
			if (p->buf[i] != u->buf[i])
				break;
		return cmp_fail(
			c, cls,
			"%s: data differ at byte %zu of %u (union %u)%s\n"
			"  plain: %.300s\n  union: %.300s",
			n, i, p->len, u->len, p->len && p->buf[0] < 0x7f ? "" : " binary",
			(const char *)p->buf, (const char *)u->buf);
	}
	if (p->has_st != u->has_st)
		return cmp_fail(c, cls, "%s: stat afterwards: plain %s, union %s",
				n, p->has_st ? "succeeds" : "fails",
				u->has_st ? "succeeds" : "fails");
	if (p->has_st && cmp_stat(c, o->p1[0] ? o->p1 : "(fd)", &p->st,
				  &u->st, 0)) {
		char why[sizeof(c->why)];

		snprintf(why, sizeof(why), "%s", c->why);
		snprintf(c->why, sizeof(c->why), "after %s: %.8000s", n, why);
		return -1;
	}
	return 0;
}

#endif
