/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories of the upper whose mode denies their owner, us, what the
 * kernel has permitted already. See lend.c. For daemons without privilege only:
 * for others nothing is denied, and these functions return -EACCES.
 *
 * None of these may be called with u->lock held. The lock of loans is taken inside
 * of namespace locks, and may be taken again by its holder.
 */
#ifndef PLYFS_UNION_LEND_H
#define PLYFS_UNION_LEND_H

#include "fs/union/node.h"

/* A permission lent for the moment. */
struct loan {
	struct union_fs *u;
	struct node *n; /* held; NULL: none */
	int fd; /* O_PATH, owned */
	mode_t mode; /* what it is to be again */
	char record[16]; /* in u->lent, or "" */
};

/*
 * Lends us reading, writing and searching of @n, which is behind @fd in the upper,
 * until lend_end(). 0 or -errno; -EACCES where it is not ours to lend.
 */
int lend_begin(struct union_fs *u, struct node *n, int fd, struct loan *ret);
void lend_end(struct loan *l);

/*
 * Opens @name ("": itself) of the directory @dir of the upper with @flags, past
 * directories that we may not search. -EAGAIN where a rename has come between.
 */
int lend_open(struct union_fs *u, struct node *dir, const char *name, int flags);

/* Opens the file of @n, which is behind @fd, as sys_reopen() does. */
int lend_reopen(struct union_fs *u, struct node *n, int fd, int flags);

/* While the mode of a file, or the path of a directory, is changed: no loan is out. */
void lend_lock(struct union_fs *u);
void lend_unlock(struct union_fs *u);

/* With that: its mode is a new one from now on. */
void lend_mode_changed(struct union_fs *u, struct node *n);

/* With u->lock: what @st of @n is but for loans. */
void lend_hide(struct union_fs *u, const struct node *n, struct statx *st);

/* Takes back what a daemon that was killed had lent. @dirfd: the workdir. */
int lend_repair(struct union_fs *u, int dirfd);

void lend_init(struct union_fs *u);

#endif
