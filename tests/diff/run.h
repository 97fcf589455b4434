/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: build the trees, mount the union, carry out operations on both
 * sides in lockstep, compare, unmount, and mount the upper once more with the
 * other implementation. Run again and again by the shrinker, with fewer
 * operations and fewer entries.
 */
#ifndef TESTS_DIFF_RUN_H
#define TESTS_DIFF_RUN_H

#include <sys/mount.h>

#include "build.h"
#include "compare.h"
#include "gen.h"
#include "side.h"

struct config {
	const char *work; /* scratch directory, absolute */
	const char *mount, *umount, *cross, *save;
	uint64_t seed;
	long ops;
	int layers, entries;
	int no_oracle; /* the plain directory does not judge */
	int no_ino, no_ctime, no_holes, no_links, no_wh_files, no_stray;
	int writeback;
	int no_cross_nlink; /* lost names of a lower file: plyfs' own */
	int shrink_time;
	struct gen gen; /* what to generate */
};

struct oplist {
	struct op *v;
	size_t n, cap;
};

struct run {
	const struct config *cfg;
	struct layers *layers;
	char dir[PATH_MAX], mnt[PATH_MAX + 8], plain[PATH_MAX + 8];
	struct side plain_side, union_side;
	struct compare cmp;
	int mounted;
	size_t at; /* operation in progress */
};

static inline void oplist_add(struct oplist *l, const struct op *o)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 256;
		l->v = realloc(l->v, l->cap * sizeof(*l->v));
		if (!l->v)
			exit(99);
	}
	l->v[l->n++] = *o;
}

static inline int run_shell(const char *cmd)
{
	int rc = system(cmd);

	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static inline void run_setenv(const struct run *r)
{
	char lower[16384], dir[PATH_MAX + 16];
	int k;

	lower[0] = 0;
	for (k = r->layers->count - 1; k >= 0; k--)
		snprintf(lower + strlen(lower), sizeof(lower) - strlen(lower),
			 "%s%s/l%d", lower[0] ? ":" : "", r->dir, k);
	setenv("LOWER", lower, 1);
	snprintf(dir, sizeof(dir), "%s/upper", r->dir);
	setenv("UPPER", dir, 1);
	snprintf(dir, sizeof(dir), "%s/work", r->dir);
	setenv("WORK", dir, 1);
	setenv("MNT", r->mnt, 1);
}

static inline int run_mount(struct run *r, const char *cmd)
{
	int rc;

	run_setenv(r);
	rc = run_shell(cmd);
	if (rc)
		return cmp_fail(&r->cmp, "mount", "%s: exit %d", cmd, rc);
	r->mounted = 1;
	return 0;
}

static inline int run_umount(struct run *r)
{
	int rc, i;

	if (!r->mounted)
		return 0;
	for (i = 0; i < 20; i++) {
		rc = run_shell(r->cfg->umount);
		if (!rc)
			break;
		usleep(100000);
	}
	if (rc) /* leave nothing behind, whoever holds it */
		(void)umount2(r->mnt, MNT_DETACH);
	r->mounted = 0;
	return rc ? cmp_fail(&r->cmp, "umount", "%s: exit %d", r->cfg->umount,
			     rc) :
		    0;
}

/* The dump of a directory that this process sees itself. */
static inline int run_dump_here(const char *path, struct dump *d)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int mem = memfd_create("here", MFD_CLOEXEC);
	int rc = fd < 0 || mem < 0 ? -errno : dump_write(fd, mem);

	rc = rc ? rc : dump_read(mem, d);
	if (chdir("/")) /* dumping moves about; keep no mount busy */
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (mem >= 0)
		close(mem);
	return rc;
}

static inline int run_hang(struct run *r, const struct side *s,
			   const char *what, int rc)
{
	char cls[64];
	int status = 0;

	snprintf(cls, sizeof(cls), "%s:%s",
		 rc == -ETIMEDOUT ? "hang" : "died", what);
	if (rc == -ETIMEDOUT)
		return cmp_fail(&r->cmp, cls,
				"%s: the process in the %s did not come back within a minute",
				what, s->name);
	(void)waitpid(s->pid, &status, WNOHANG);
	return cmp_fail(&r->cmp, cls,
			"%s: the process in the %s died (status 0x%x)", what,
			s->name, (unsigned int)status);
}

static inline int run_both(struct run *r, char what, const char *name)
{
	int rc;

	if (side_send(&r->plain_side, what) || side_send(&r->union_side, what))
		return run_hang(r, &r->union_side, name, -EPIPE);
	rc = side_wait(&r->plain_side);
	if (rc)
		return run_hang(r, &r->plain_side, name, rc);
	rc = side_wait(&r->union_side);
	return rc ? run_hang(r, &r->union_side, name, rc) : 0;
}

static inline int run_check(struct run *r, struct dump *keep_union)
{
	struct dump p = { 0 }, u = { 0 };
	int rc = run_both(r, 'd', "dump");

	if (!rc && (dump_read(r->plain_side.memfd, &p) ||
		    dump_read(r->union_side.memfd, &u)))
		rc = cmp_fail(&r->cmp, "dump", "cannot dump the trees");
	if (!rc && !r->cfg->no_oracle)
		rc = cmp_dumps(&r->cmp, &p, &u, 1);
	dump_free(&p);
	if (keep_union)
		*keep_union = u;
	else
		dump_free(&u);
	return rc;
}

static inline int run_start_sides(struct run *r, int plain_too)
{
	if (plain_too && side_start(&r->plain_side, r->plain))
		return -1;
	return side_start(&r->union_side, r->mnt);
}

static inline void run_stop_sides(struct run *r)
{
	side_stop(&r->plain_side);
	side_stop(&r->union_side);
}

static inline int run_remount(struct run *r)
{
	run_stop_sides(r);
	if (run_umount(r) || run_mount(r, r->cfg->mount))
		return -1;
	if (run_start_sides(r, 1))
		return cmp_fail(&r->cmp, "fork", "cannot start the sides");
	return run_check(r, NULL);
}

static inline int run_op(struct run *r, const struct op *o)
{
	struct op *po = &r->plain_side.sh->op, *uo = &r->union_side.sh->op;
	FILE *f;

	switch (o->kind) {
	case OP_check:
		return run_check(r, NULL);
	case OP_remount:
		return run_remount(r);
	case OP_drop_caches:
		f = fopen("/proc/sys/vm/drop_caches", "w");
		if (f) {
			fputs("2", f);
			fclose(f);
		}
		return 0;
	default:
		break;
	}
	*po = *o;
	*uo = *o;
	if (run_both(r, 'o', op_names[o->kind]))
		return -1;
	if (r->cfg->no_oracle)
		return 0;
	return cmp_res(&r->cmp, o, &r->plain_side.sh->res,
		       &r->union_side.sh->res);
}

/* Names of a lower file that other layers hide still count in its links. */
static inline void run_slack(struct run *r)
{
	char path[PATH_MAX * 2];
	struct dump p = { 0 };
	size_t i;
	int k;

	if (run_dump_here(r->plain, &p))
		return;
	for (i = 0; i < p.n; i++) {
		struct stat st;

		if (!S_ISREG(p.v[i].st.stx_mode))
			continue;
		for (k = r->layers->count - 1; k >= 0; k--) {
			snprintf(path, sizeof(path), "%s/l%d/%s", r->dir, k,
				 p.v[i].path);
			if (lstat(path, &st) || !S_ISREG(st.st_mode))
				continue;
			if (st.st_nlink > p.v[i].st.stx_nlink)
				cmp_pair(&r->cmp, &p.v[i].st)->slack =
					(unsigned int)st.st_nlink -
					p.v[i].st.stx_nlink;
			break;
		}
	}
	dump_free(&p);
}

static inline int run_setup(struct run *r)
{
	static const char *const subdirs[] = {
		"",
		"/upper",
		"/work",
		"/mnt",
		"/plain",
	};
	char path[PATH_MAX + 16];
	size_t i;

	snprintf(r->dir, sizeof(r->dir), "%s/run", r->cfg->work);
	snprintf(r->mnt, sizeof(r->mnt), "%s/mnt", r->dir);
	snprintf(r->plain, sizeof(r->plain), "%s/plain", r->dir);
	if (build_rm(r->dir))
		return -1;
	for (i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s%s", r->dir, subdirs[i]);
		if (mkdir(path, 0755))
			return -1;
	}
	if (build_trees(r->layers, r->dir, r->plain))
		return -1;
	/* the union's root takes the upper's attributes */
	snprintf(path, sizeof(path), "%s/upper", r->dir);
	if (chmod(path, 0777))
		return -1;
	build_times(path, &(struct lent){ .sec = 1000000000, .nsec = 12345 });
	return 0;
}

/* No layer may have changed: d holds the dumps made before. */
static inline int run_lowers(struct run *r, struct dump *d, int after)
{
	char path[PATH_MAX + 16];
	int k, rc = 0;
	size_t i;

	for (k = 0; k < r->layers->count && !rc; k++) {
		struct dump now = { 0 };

		snprintf(path, sizeof(path), "%s/l%d", r->dir, k);
		if (!after) {
			rc = run_dump_here(path, &d[k]);
			continue;
		}
		rc = run_dump_here(path, &now);
		if (!rc && now.n != d[k].n)
			rc = cmp_fail(&r->cmp, "lower",
				      "layer %d has other names", k);
		for (i = 0; i < now.n && !rc; i++) {
			const struct rec *a = &d[k].v[i], *b = &now.v[i];

			if (strcmp(a->path, b->path) || a->hash != b->hash ||
			    strcmp(a->xattrs, b->xattrs) ||
			    strcmp(a->target, b->target) ||
			    a->st.stx_mode != b->st.stx_mode ||
			    a->st.stx_ino != b->st.stx_ino ||
			    a->st.stx_nlink != b->st.stx_nlink ||
			    !ts_eq(a->st.stx_mtime, b->st.stx_mtime) ||
			    !ts_eq(a->st.stx_ctime, b->st.stx_ctime))
				rc = cmp_fail(&r->cmp, "lower",
					      "layer %d: %s was changed", k,
					      a->path);
		}
		dump_free(&now);
	}
	return rc;
}

/* Mount the upper with the other implementation: the same tree? */
static inline int run_cross(struct run *r, struct dump *mine)
{
	struct dump other = { 0 };
	char why[sizeof(r->cmp.why)];
	int rc;

	if (run_mount(r, r->cfg->cross))
		return -1;
	rc = run_dump_here(r->mnt, &other);
	if (rc)
		return cmp_fail(&r->cmp, "cross", "cannot read the tree");
	r->cmp.no_ino = 1;
	r->cmp.no_nlink = r->cfg->no_cross_nlink;
	if (cmp_dumps(&r->cmp, mine, &other, 0)) {
		memmove(r->cmp.cls + 6, r->cmp.cls, sizeof(r->cmp.cls) - 7);
		memcpy(r->cmp.cls, "cross:", 6);
		snprintf(why, sizeof(why), "%s", r->cmp.why);
		snprintf(r->cmp.why, sizeof(r->cmp.why),
			 "the same upper mounted by the other (\"union\"): %.8000s",
			 why);
	}
	dump_free(&other);
	return run_umount(r);
}

/*
 * Carry out ops (generating n more when gen is given, and recording them).
 * Returns 0 when both sides agreed throughout; else 1, with the reason in
 * r->cmp and the failing operation in r->at.
 */
static inline int run_all(struct run *r, struct oplist *ops, struct gen *gen,
			  long n)
{
	struct dump *lowers = calloc((size_t)r->layers->count + 1,
				     sizeof(*lowers));
	struct dump last = { 0 };
	struct op *o = calloc(1, sizeof(*o));
	size_t total = gen ? (size_t)n : ops->n, i;
	int k;

	r->plain_side.name = "plain tree";
	r->union_side.name = "union";
	r->cmp.pairs = calloc(N_PAIRS, sizeof(struct pair));
	r->cmp.start = calloc(total + 1, sizeof(struct timespec));
	r->cmp.end = calloc(total + 1, sizeof(struct timespec));
	r->cmp.no_ino = r->cfg->no_ino;
	r->cmp.writeback = r->cfg->writeback;
	r->cmp.no_ctime = r->cfg->no_ctime;
	r->cmp.no_holes = r->cfg->no_holes;
	if (run_setup(r)) {
		cmp_fail(&r->cmp, "setup", "building the trees: %s",
			 strerror(errno));
		goto out;
	}
	clock_gettime(CLOCK_REALTIME, &r->cmp.t0);
	run_slack(r);
	if (run_lowers(r, lowers, 0)) {
		cmp_fail(&r->cmp, "setup", "cannot dump the layers");
		goto out;
	}
	if (run_mount(r, r->cfg->mount) || run_start_sides(r, 1) ||
	    run_check(r, NULL))
		goto out;
	if (gen)
		gen->plain = r->plain;
	for (i = 0; i < total; i++) {
		r->at = i;
		if (gen) {
			gen_next(gen, o);
			oplist_add(ops, o);
		} else {
			*o = ops->v[i];
		}
		clock_gettime(CLOCK_REALTIME, &r->cmp.start[i]);
		r->cmp.end[i] = r->cmp.start[i];
		r->cmp.end[i].tv_sec += 3600; /* until it is over */
		r->cmp.n_ops = i + 1;
		run_op(r, o);
		clock_gettime(CLOCK_REALTIME, &r->cmp.end[i]);
		if (gen)
			gen_after(gen, o, r->plain_side.sh->res.err);
		if (r->cmp.failed)
			break;
	}
	if (r->cmp.failed)
		goto out;
	r->at = total;
	/* what another mount sees is what is there when all is closed */
	run_stop_sides(r);
	if (run_start_sides(r, 1) || run_check(r, &last))
		goto out;
	run_stop_sides(r);
	if (run_umount(r))
		goto out;
	if (run_mount(r, r->cfg->mount) || run_start_sides(r, 1))
		goto out;
	dump_free(&last);
	if (run_check(r, &last))
		goto out;
	run_stop_sides(r);
	if (run_umount(r))
		goto out;
	if (r->cfg->cross && run_cross(r, &last))
		goto out;
	run_lowers(r, lowers, 1);
out:
	run_stop_sides(r);
	run_umount(r);
	dump_free(&last);
	for (k = 0; k < r->layers->count; k++)
		dump_free(&lowers[k]);
	free(lowers);
	free(o);
	free(r->cmp.pairs);
	free(r->cmp.start);
	free(r->cmp.end);
	return r->cmp.failed;
}

#endif
