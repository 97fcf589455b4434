/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options against the file system, before anything is mounted.
 *
 * What may lie in what (checked by device and inode number, so that links
 * and bind mounts don't hide it):
 *
 *	lower in lower, or the same twice	allowed: only read
 *	upper or work in a lower		refused: the lower would change
 *						(compat: a warning, since
 *						podman -v $HOME:/x:O does it)
 *	lower in or equal to upper or work	refused, the same
 *	upper in work, work in upper, equal	refused
 *	mount point in or equal to work,
 *	in upper				refused: the daemon would wait
 *						for itself
 *	mount point equal to upper,
 *	in or equal to a lower			recorded for the caller
 *
 * A lower may be a file, the index of a packed layer: whether it is one is found out
 * when it is opened.
 *
 * A read-only mount changes nothing and needs no workdir: of these only the
 * rules about the mount point apply to it.
 */
#include "options.h"

#include "options_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory of the command line. */
struct place {
	const char *what; /* the option */
	const char *path; /* as typed; borrowed from struct options */
	char *real; /* owned */
	bool packed_too; /* may be the index of a packed layer */
	dev_t dev;
	ino_t ino;
};

static int find_place(struct place *pl, char **ret_error)
{
	struct stat st;

	if (stat(pl->path, &st) < 0) {
		int err = -errno;

		if (err == -ENOTCONN)
			return options_fail(
				ret_error, err,
				"%s '%s': a dead mount is in the way, "
				"see umount(8)",
				pl->what, pl->path);
		return options_fail(ret_error, err, "%s '%s': %s", pl->what,
				    pl->path, strerror(-err));
	}
	if (!S_ISDIR(st.st_mode) && !(pl->packed_too && S_ISREG(st.st_mode)))
		return options_fail(ret_error, -ENOTDIR,
				    "%s '%s' is not a directory%s", pl->what,
				    pl->path, pl->packed_too ? " or an index" : "");
	pl->dev = st.st_dev;
	pl->ino = st.st_ino;
	return 0;
}

static int find_real(struct place *pl, char **ret_error)
{
	int r = find_place(pl, ret_error);

	if (r < 0)
		return r;
	pl->real = realpath(pl->path, NULL);
	if (pl->real == NULL)
		return options_fail(ret_error, -errno, "%s '%s': %s", pl->what,
				    pl->path, strerror(errno));
	return 0;
}

static bool same(const struct place *a, const struct place *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/*
 * The first of outer[0..n-1] that is inner or holds it, -1 if none, or
 * -ENOMEM. Directories that may not be looked at are passed over: their
 * names are known, and what is beyond can still be compared.
 */
static int find_holder(const struct place *inner, const struct place *outer,
		       size_t n)
{
	char *path = strdup(inner->real);
	int best = -1;

	if (path == NULL)
		return -ENOMEM;
	for (;;) {
		struct stat st;
		char *slash;

		if (stat(path, &st) == 0) {
			for (size_t i = 0; i < n; i++)
				if (outer[i].dev == st.st_dev &&
				    outer[i].ino == st.st_ino &&
				    (best < 0 || (int)i < best))
					best = (int)i;
		}
		slash = strrchr(path, '/');
		if (slash == NULL || slash[1] == '\0')
			break;
		slash[slash == path ? 1 : 0] = '\0';
	}
	free(path);
	return best;
}

static int overlap(char **ret_error, int err, const struct place *inner,
		   const struct place *outer)
{
	return options_fail(ret_error, err, "%s '%s' is inside %s '%s'%s",
			    inner->what, inner->path, outer->what, outer->path,
			    same(inner, outer) ? " (the same directory)" : "");
}

/* -EINVAL with a sentence if inner is outer or in it. */
static int must_be_outside(const struct place *inner, const struct place *outer,
			   char **ret_error)
{
	int i = find_holder(inner, outer, 1);

	if (i == -ENOMEM)
		return options_fail(ret_error, -ENOMEM, "out of memory");
	return i < 0 ? 0 : overlap(ret_error, -EINVAL, inner, outer);
}

/* The mount that a path is on, to *ret; 0 where the kernel doesn't say. */
static int mount_id(const struct place *pl, uint64_t *ret, char **ret_error)
{
	struct statx stx;

	if (statx(AT_FDCWD, pl->path, 0, STATX_MNT_ID, &stx) < 0)
		return options_fail(ret_error, -errno, "%s '%s': %s", pl->what,
				    pl->path, strerror(errno));
	*ret = (stx.stx_mask & STATX_MNT_ID) ? stx.stx_mnt_id : 0;
	return 0;
}

static int check_same_mount(const struct place *upper,
			    const struct place *work, char **ret_error)
{
	uint64_t a = 0, b = 0;
	int r;

	if (upper->dev != work->dev)
		return options_fail(ret_error, -EXDEV,
				    "%s '%s' and %s '%s' are on different "
				    "file systems",
				    upper->what, upper->path, work->what,
				    work->path);
	r = mount_id(upper, &a, ret_error);
	if (r == 0)
		r = mount_id(work, &b, ret_error);
	if (r < 0 || a == b)
		return r;
	return options_fail(ret_error, -EXDEV,
			    "%s '%s' and %s '%s' are on different mounts of "
			    "one file system",
			    upper->what, upper->path, work->what, work->path);
}

/* inner (upper or work) should lie in no lower. */
static int check_not_in_lower(struct optparse *p, const struct place *inner,
			      const struct place *lower)
{
	int i = find_holder(inner, lower, p->o->n_lower);

	if (i == -ENOMEM)
		return options_fail(p->ret_error, -ENOMEM, "out of memory");
	if (i < 0)
		return 0;
	if (!p->o->compat_name || same(inner, &lower[i]))
		return overlap(p->ret_error, -EINVAL, inner, &lower[i]);
	return options_warn(p, "%s '%s' is inside %s '%s': what changes there "
			       "may be seen late or not at all",
			    inner->what, inner->path, lower[i].what,
			    lower[i].path);
}

static int check_writable(struct optparse *p, const struct place *upper,
			  struct place *work, struct place *lower)
{
	int r;

	r = find_real(work, p->ret_error);
	if (r == 0)
		r = check_same_mount(upper, work, p->ret_error);
	if (r == 0)
		r = must_be_outside(work, upper, p->ret_error);
	if (r == 0)
		r = must_be_outside(upper, work, p->ret_error);
	for (size_t i = 0; r == 0 && i < p->o->n_lower; i++) {
		r = must_be_outside(&lower[i], upper, p->ret_error);
		if (r == 0)
			r = must_be_outside(&lower[i], work, p->ret_error);
	}
	if (r == 0)
		r = check_not_in_lower(p, upper, lower);
	if (r == 0)
		r = check_not_in_lower(p, work, lower);
	return r;
}

/* work->real is NULL where the workdir is not used. */
static int check_mountpoint(struct optparse *p, struct place *mnt,
			    const struct place *upper,
			    const struct place *work, const struct place *lower)
{
	struct options *o = p->o;
	int r;

	if (o->mount_fd >= 0) {
		if (fcntl(o->mount_fd, F_GETFD) < 0)
			return options_fail(p->ret_error, -errno,
					    "mount point '%s': %s",
					    o->mountpoint, strerror(errno));
		return 0;
	}
	r = find_real(mnt, p->ret_error);
	if (r < 0)
		return r;
	if (upper->real != NULL) {
		o->mountpoint_is_upper = same(mnt, upper);
		if (!o->mountpoint_is_upper)
			r = must_be_outside(mnt, upper, p->ret_error);
	}
	if (r == 0 && work->real != NULL)
		r = must_be_outside(mnt, work, p->ret_error);
	if (r < 0)
		return r;

	r = find_holder(mnt, lower, o->n_lower);
	if (r == -ENOMEM)
		return options_fail(p->ret_error, r, "out of memory");
	o->mountpoint_in_lower = r >= 0;
	o->mountpoint_lower = r >= 0 ? (size_t)r : 0;

	free(o->mountpoint);
	o->mountpoint = mnt->real;
	mnt->real = NULL;
	return 0;
}

static int make_stats_absolute(struct optparse *p)
{
	struct options *o = p->o;
	char *cwd, *path;
	int r;

	if (o->stats == NULL || o->stats[0] == '/')
		return 0;
	cwd = getcwd(NULL, 0);
	if (cwd == NULL)
		return options_fail(p->ret_error, -errno, "stats '%s': %s",
				    o->stats, strerror(errno));
	r = asprintf(&path, "%s/%s", cwd, o->stats);
	free(cwd);
	if (r < 0)
		return options_fail(p->ret_error, -ENOMEM, "out of memory");
	free(o->stats);
	o->stats = path;
	return 0;
}

static int check_all(struct optparse *p, struct place *lower)
{
	struct options *o = p->o;
	struct place upper = { .what = "upperdir", .path = o->upper };
	struct place work = { .what = "workdir", .path = o->work };
	struct place mnt = { .what = "mount point", .path = o->mountpoint };
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->n_lower; i++) {
		lower[i].what = "lowerdir";
		lower[i].packed_too = true;
		lower[i].path = o->lower[i];
		r = find_real(&lower[i], p->ret_error);
	}
	if (r == 0 && o->upper != NULL)
		r = find_real(&upper, p->ret_error);
	if (r == 0 && !o->ro)
		r = check_writable(p, &upper, &work, lower);
	if (r == 0)
		r = check_mountpoint(p, &mnt, &upper, &work, lower);
	free(upper.real);
	free(work.real);
	free(mnt.real);
	return r;
}

int options_check(struct options *o, char **ret_error)
{
	struct optparse p = { .o = o, .ret_error = ret_error };
	struct place *lower;
	int r;

	*ret_error = NULL;
	lower = calloc(o->n_lower + 1, sizeof(*lower));
	if (lower == NULL)
		return options_fail(ret_error, -ENOMEM, "out of memory");
	r = check_all(&p, lower);
	if (r == 0)
		r = make_stats_absolute(&p);
	for (size_t i = 0; i < o->n_lower; i++)
		free(lower[i].real);
	free(lower);
	return r;
}
