/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passthrough: which open files the kernel reads and writes by itself.
 *
 * The kernel keeps one backing file for each inode that is open so, and takes
 * no other, nor a cached open beside it, until the last one is closed (EIO).
 * Hence the state per open inode: cached or passed through, and how often. It
 * changes only while nobody has the file open.
 *
 * What is passed through: files of the upper, and, where the union is
 * read-only and not @strict, those of lowers. On a writable union a file of a
 * lower is cached as without passthrough, whatever it is opened for: an open
 * file cannot change its backing file, so whoever had it open would not see
 * what is written after the copy-up; and a copy-up at the open would show in
 * ctime, where a plain file's does not change. The first write copies it up,
 * and once all have closed it, it is passed through.
 *
 * All functions may be called from several threads at once, except where they
 * say otherwise. Errors: 0 or -errno.
 */
#ifndef PLYFS_FS_FUSE_PASSTHROUGH_H
#define PLYFS_FS_FUSE_PASSTHROUGH_H

#include <stdbool.h>
#include <stdint.h>

struct passthrough;
struct union_fs;

/* Why this process may not have it, for a message; NULL: it may. */
const char *passthrough_denied(void);

/* @u is borrowed. */
int passthrough_new(struct union_fs *u, bool strict, struct passthrough **ret);
/* When no request is served any more: open files stay registered until the connection ends. */
void passthrough_free(struct passthrough *p);

/* How many file systems may be stacked below ours: 1, or 2 where the layers need that. */
unsigned passthrough_stack_depth(const struct passthrough *p);

/*
 * After INIT was answered, with the connection's descriptor: whether the
 * backing file system takes part. Tries it the first time, and logs why not.
 * False: nothing was opened through passthrough_open(), nor ever will be.
 */
bool passthrough_usable(struct passthrough *p, int devfd);

/* How a file was opened. */
struct passthrough_file {
	int32_t backing_id; /* for the reply; 0: cached */
	bool keep_cache; /* for the reply */
	bool first_writer; /* attributes the kernel knows may now change without it */
	uint64_t fh; /* for the reply, and for passthrough_release() */
};

/*
 * Counts an open of @nodeid, which is to be replied to as *ret says, and taken
 * back by passthrough_release() if that reply does not arrive.
 */
int passthrough_open(struct passthrough *p, uint64_t nodeid, bool write,
		     struct passthrough_file *ret);
void passthrough_release(struct passthrough *p, uint64_t nodeid, uint64_t fh);

/*
 * Whether @nodeid is written, or may be through a mapping, without our
 * knowledge: its attributes are true only for now.
 */
bool passthrough_written(struct passthrough *p, uint64_t nodeid);

#endif
