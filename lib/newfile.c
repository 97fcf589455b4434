/* SPDX-License-Identifier: Apache-2.0 */
/* Files that appear whole. */
#include "lib/newfile.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys.h"

/* A name that nobody else uses: others try the next one. */
static void next_name(char *buf, size_t size)
{
	static atomic_uint seq;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(buf, size, ".plyfs.%x.%x.%x.part", (unsigned)getpid(),
		       atomic_fetch_add(&seq, 1), (unsigned)now.tv_nsec);
}

int newfile_begin(int dirfd, mode_t mode, struct newfile *ret)
{
	ret->dirfd = dirfd;
	ret->tmp[0] = 0;
	ret->fd = sys_openat(dirfd, ".", O_TMPFILE | O_RDWR, mode);
	while (ret->fd == -EOPNOTSUPP || ret->fd == -EISDIR || ret->fd == -EEXIST) {
		next_name(ret->tmp, sizeof(ret->tmp));
		ret->fd = sys_openat(dirfd, ret->tmp, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, mode);
	}
	return ret->fd < 0 ? ret->fd : 0;
}

/* A file without a name takes the place of one with it: by way of a name of its own. */
static int name_it(struct newfile *f, const char *name)
{
	int r;

	if (!f->tmp[0]) {
		r = sys_link_fd(f->fd, f->dirfd, name);
		if (r != -EEXIST)
			return r;
		do {
			next_name(f->tmp, sizeof(f->tmp));
			r = sys_link_fd(f->fd, f->dirfd, f->tmp);
		} while (r == -EEXIST);
		if (r < 0) {
			f->tmp[0] = 0;
			return r;
		}
	}
	r = sys_renameat2(f->dirfd, f->tmp, f->dirfd, name, 0);
	if (r == 0)
		f->tmp[0] = 0;
	return r;
}

int newfile_commit(struct newfile *f, const char *name, bool sync)
{
	int r = sync ? sys_fsync(f->fd, false) : 0;

	if (r == 0)
		r = name_it(f, name);
	if (r == 0 && sync)
		r = sys_fsync(f->dirfd, false);
	newfile_abort(f);
	return r;
}

void newfile_abort(struct newfile *f)
{
	if (f->fd < 0)
		return;
	if (f->tmp[0])
		(void)sys_unlinkat(f->dirfd, f->tmp, 0);
	sys_close(f->fd);
	f->fd = -1;
	f->tmp[0] = 0;
}
