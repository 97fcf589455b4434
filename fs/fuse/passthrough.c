/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passthrough: the open inodes and their backing files.
 *
 * Theory of operation. An inode has an entry here from the moment its first
 * open is granted until its last RELEASE. The entry says how all opens of the
 * inode are answered, so they agree; it is made, joined and left under the
 * lock of its stripe, together with the ioctl that registers the backing file
 * or lets it go. The kernel ends an open before it sends RELEASE, so where we
 * count none, it has none: a new choice is free.
 *
 * Invariants:
 *  1. The backing file is opened without the lock; what was found out is
 *     checked again with it.
 *  2. An entry that is passed through on a writable union is of the upper, and
 *     the node never leaves the upper: its backing file is right for every
 *     later open, reading or writing.
 *  3. An entry is made cached with the kernel's old pages kept only while the
 *     node is in a lower, checked under the lock: nothing was ever written
 *     past the page cache.
 */
#include "fs/fuse/passthrough.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/union/union.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/sys.h"

/* The kernel's ABI; headers older than 6.9 lack it. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
_Static_assert(sizeof(struct backing_map) == 16, "ABI");
#define DEV_IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

#define N_STRIPES 64
#define N_CHAINS 64 /* in each stripe */

/* Bits of a file handle. */
#define FH_WRITER 1U /* opened for writing, and passed through */

struct open_inode {
	struct open_inode *next;
	uint64_t nodeid;
	unsigned n; /* opens */
	unsigned writers; /* of them for writing, where passed through */
	uint32_t backing_id; /* 0: cached */
	bool upper;
};

struct stripe {
	pthread_mutex_t lock;
	struct open_inode *chain[N_CHAINS]; /* protected by lock */
};

enum usable {
	USABLE_UNKNOWN,
	USABLE_NO,
	USABLE_YES,
};

struct passthrough {
	struct union_fs *u;
	bool lowers; /* lower files are passed through as well */
	unsigned depth;
	int devfd; /* borrowed; set before usable is */
	atomic_int usable; /* enum usable */
	pthread_mutex_t probe_lock;
	atomic_bool warned;
	atomic_uint writers; /* in all entries: passthrough_written() is often asked */
	struct stripe stripe[N_STRIPES];
};

const char *passthrough_denied(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];
	unsigned inside = 0, outside = 0, len = 0;
	_cleanup_fd_ int fd = -1;
	char map[128];
	ssize_t n;

	/* the kernel asks for the privilege outside of any user namespace */
	fd = sys_openat(AT_FDCWD, "/proc/self/uid_map", O_RDONLY, 0);
	n = fd < 0 ? fd : sys_pread(fd, map, sizeof(map) - 1, 0);
	if (n > 0) {
		map[n] = 0;
		if (sscanf(map, "%u %u %u", &inside, &outside, &len) != 3 || inside || outside ||
		    len != UINT32_MAX)
			return "in a user namespace";
	}
	memset(d, 0, sizeof(d));
	if (syscall(SYS_capget, &h, d) < 0 ||
	    !(d[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)))
		return "without CAP_SYS_ADMIN";
	return NULL;
}

int passthrough_new(struct union_fs *u, bool strict, struct passthrough **ret)
{
	struct passthrough *p = sys_calloc(1, sizeof(*p));
	struct statfs s;
	unsigned i;

	if (!p)
		return -ENOMEM;
	p->u = u;
	p->lowers = !strict && union_read_only(u);
	p->devfd = -1;
	/* 2 would keep overlayfs from having us as a layer */
	p->depth = union_statfs(u, &s) == 0 && s.f_type == OVERLAYFS_SUPER_MAGIC ? 2 : 1;
	(void)pthread_mutex_init(&p->probe_lock, NULL);
	for (i = 0; i < N_STRIPES; i++)
		(void)pthread_mutex_init(&p->stripe[i].lock, NULL);
	*ret = p;
	return 0;
}

void passthrough_free(struct passthrough *p)
{
	unsigned i, k;

	if (!p)
		return;
	for (i = 0; i < N_STRIPES; i++) {
		struct stripe *s = &p->stripe[i];

		for (k = 0; k < N_CHAINS; k++) {
			while (s->chain[k]) {
				struct open_inode *f = s->chain[k];

				s->chain[k] = f->next;
				free(f);
			}
		}
		(void)pthread_mutex_destroy(&s->lock);
	}
	(void)pthread_mutex_destroy(&p->probe_lock);
	free(p);
}

unsigned passthrough_stack_depth(const struct passthrough *p)
{
	return p->depth;
}

/* --- backing files ---------------------------------------------------------- */

/* The id of @fd with the kernel, positive. */
static int backing_open(struct passthrough *p, int fd)
{
	struct backing_map m = { .fd = fd };
	int id = sys_ioctl(p->devfd, DEV_IOC_BACKING_OPEN, &m);

	return id ? id : -EINVAL;
}

static void backing_close(struct passthrough *p, uint32_t id)
{
	int r = sys_ioctl(p->devfd, DEV_IOC_BACKING_CLOSE, &id);

	/* the connection may be gone, and its ids with it */
	if (r < 0 && r != -EPERM && r != -ENOTCONN)
		log_warn("cannot close backing file %u: %s", id, strerror(-r));
}

/* Registers a file of the upper's file system that nobody else sees. */
static int probe(struct passthrough *p)
{
	static const struct union_cred root = { 0 };
	struct union_entry e;
	bool upper;
	int r, fd, id;

	/* no place for such a file; a file system that refuses its own is cached */
	if (union_read_only(p->u) || union_tmpfile(p->u, &root, UNION_ROOT, 0600, &e) < 0)
		return 0;
	fd = union_backing_fd(p->u, e.nodeid, true, &upper);
	r = fd < 0 ? fd : 0;
	if (!r) {
		id = backing_open(p, fd);
		r = id < 0 ? id : 0;
		if (!r)
			backing_close(p, (uint32_t)id);
		sys_close(fd);
	}
	union_forget(p->u, e.nodeid, 1);
	return r;
}

bool passthrough_usable(struct passthrough *p, int devfd)
{
	int now = atomic_load_explicit(&p->usable, memory_order_acquire), r;

	if (now != USABLE_UNKNOWN)
		return now == USABLE_YES;
	(void)pthread_mutex_lock(&p->probe_lock);
	now = atomic_load(&p->usable);
	if (now == USABLE_UNKNOWN) {
		p->devfd = devfd;
		r = probe(p);
		if (r < 0)
			log_warn("passthrough is not possible here (%s): files are cached instead",
				 r == -ELOOP ? "too many file systems on top of each other" :
					       strerror(-r));
		now = r < 0 ? USABLE_NO : USABLE_YES;
		atomic_store_explicit(&p->usable, now, memory_order_release);
	}
	(void)pthread_mutex_unlock(&p->probe_lock);
	return now == USABLE_YES;
}

/* --- open inodes ------------------------------------------------------------ */

static struct stripe *stripe_of(struct passthrough *p, uint64_t nodeid, struct open_inode ***ret)
{
	uint64_t h = (nodeid ^ nodeid >> 32) * 0x9e3779b97f4a7c15ULL;
	struct stripe *s = &p->stripe[h >> 58];

	*ret = &s->chain[h >> 52 & (N_CHAINS - 1)];
	return s;
}

/* With the stripe's lock held: the link that leads to the entry, or to NULL. */
static struct open_inode **find(struct open_inode **at, uint64_t nodeid)
{
	while (*at && (*at)->nodeid != nodeid)
		at = &(*at)->next;
	return at;
}

/* Counts one more open of @f. With the stripe's lock held. */
static int join(struct passthrough *p, struct open_inode *f, bool write,
		struct passthrough_file *ret)
{
	/* never write by a lower's backing file, whoever asks */
	if (write && f->backing_id && !f->upper)
		return -EROFS;
	f->n++;
	memset(ret, 0, sizeof(*ret));
	ret->backing_id = (int32_t)f->backing_id;
	/* as long as one has it open and cached, all that is written is in the cache */
	ret->keep_cache = !f->backing_id;
	if (write && f->backing_id) {
		ret->fh = FH_WRITER;
		ret->first_writer = f->writers++ == 0;
		atomic_fetch_add(&p->writers, 1);
	}
	return 0;
}

/*
 * The first open of @nodeid, whose backing file is @fd, or which is to be
 * cached (-1). With the stripe's lock held.
 */
static int begin(struct passthrough *p, struct open_inode **at, uint64_t nodeid,
		 int fd, bool upper, bool write, struct passthrough_file *ret)
{
	struct open_inode *f = sys_calloc(1, sizeof(*f));
	int id = 0, r;

	if (!f)
		return -ENOMEM;
	if (fd >= 0) {
		id = backing_open(p, fd);
		if (id < 0 && !atomic_exchange(&p->warned, true))
			log_warn("%s: no passthrough (%s), cached instead; "
				 "there may be others",
				 union_path(p->u, nodeid), strerror(-id));
	}
	f->nodeid = nodeid;
	f->backing_id = id > 0 ? (uint32_t)id : 0;
	f->upper = upper;
	r = join(p, f, write, ret);
	if (r < 0) {
		if (f->backing_id)
			backing_close(p, f->backing_id);
		free(f);
		return r;
	}
	/* who had it open before may have written past the page cache */
	if (upper)
		ret->keep_cache = false;
	f->next = *at;
	*at = f;
	return 0;
}

int passthrough_open(struct passthrough *p, uint64_t nodeid, bool write,
		     struct passthrough_file *ret)
{
	struct open_inode **chain, **at;
	struct stripe *s = stripe_of(p, nodeid, &chain);
	int r;

	for (;;) {
		_cleanup_fd_ int fd = -1;
		bool upper = false;

		(void)pthread_mutex_lock(&s->lock);
		at = find(chain, nodeid);
		r = *at ? join(p, *at, write, ret) : 1;
		(void)pthread_mutex_unlock(&s->lock);
		if (r <= 0)
			return r;
		if (p->lowers || union_in_upper(p->u, nodeid) > 0) {
			/* the kernel opens it anew, as the caller wants it */
			fd = union_backing_fd(p->u, nodeid, false, &upper);
			/* -EOPNOTSUPP: nothing to pass through, it is cached */
			if (fd < 0 && fd != -EOPNOTSUPP)
				return fd;
		}
		(void)pthread_mutex_lock(&s->lock);
		at = find(chain, nodeid);
		if (*at)
			r = join(p, *at, write, ret);
		else if (!upper && !p->lowers && union_in_upper(p->u, nodeid) > 0)
			r = -EAGAIN; /* copied up just now */
		else
			r = begin(p, at, nodeid, fd, upper, write, ret);
		(void)pthread_mutex_unlock(&s->lock);
		if (r != -EAGAIN)
			return r;
	}
}

void passthrough_release(struct passthrough *p, uint64_t nodeid, uint64_t fh)
{
	struct open_inode **chain, **at, *f;
	struct stripe *s = stripe_of(p, nodeid, &chain);
	uint32_t id = 0;

	(void)pthread_mutex_lock(&s->lock);
	at = find(chain, nodeid);
	f = *at;
	if (f && fh & FH_WRITER) {
		f->writers--;
		atomic_fetch_sub(&p->writers, 1);
	}
	if (f && --f->n == 0) {
		*at = f->next;
		id = f->backing_id;
		free(f);
	}
	(void)pthread_mutex_unlock(&s->lock);
	/* may end a removed file, which takes its time */
	if (id)
		backing_close(p, id);
}

bool passthrough_written(struct passthrough *p, uint64_t nodeid)
{
	struct open_inode **chain, *f;
	struct stripe *s;
	bool ret;

	if (!atomic_load_explicit(&p->writers, memory_order_relaxed))
		return false;
	s = stripe_of(p, nodeid, &chain);
	(void)pthread_mutex_lock(&s->lock);
	f = *find(chain, nodeid);
	ret = f && f->writers;
	(void)pthread_mutex_unlock(&s->lock);
	return ret;
}
