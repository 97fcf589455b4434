/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a tar as a stream: ustar, with pax records for what ustar cannot hold. What is
 * written depends on what is given alone: no clock, no names of users, no order but the caller's.
 *
 *	tar_write_new(&w, sink, arg);
 *	tar_write_entry(w, &e); tar_write_data(w, p, n); ...	until e.size bytes are written
 *	tar_write_end(w); tar_write_free(w);
 *
 * For one thread. Functions return 0 or -errno; after an error of the sink, the writer is of
 * no use but to be freed. Everything is handed to the sink before a function returns: who
 * compresses may cut between two calls.
 */
#ifndef PLYFS_LAYER_TAR_WRITE_H
#define PLYFS_LAYER_TAR_WRITE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tar_write;

/* Takes all of @size bytes, or fails with -errno. */
typedef int (*tar_sink)(void *arg, const void *data, size_t size);

struct tar_xattr {
	const char *name;
	size_t name_len;
	const void *value;
	size_t value_len;
};

/* An entry; all pointers are the caller's, and of no use after the call. */
struct tar_entry {
	const char *path; /* without a leading "/"; a directory's need not end in "/" */
	const char *link; /* the path of the file that this is another name of, or NULL */
	const char *target; /* of symlinks */
	mode_t mode; /* with the type; of a link, that of the file */
	uint32_t uid, gid;
	uint64_t size; /* of regular files that are no links */
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t rdev_major, rdev_minor;
	struct tar_xattr *xattrs; /* become SCHILY.xattr records; sorted here, in place */
	size_t n_xattrs;
};

int tar_write_new(struct tar_write **ret, tar_sink sink, void *arg);
void tar_write_free(struct tar_write *w); /* NULL is ignored */

/*
 * Begins an entry. -EINVAL: of a type that a tar cannot hold (sockets), an attribute whose name
 * holds "=", or the entry before is not complete.
 */
int tar_write_entry(struct tar_write *w, const struct tar_entry *e);
/* Content of the entry, and its padding after the last byte; -EINVAL: more than its size. */
int tar_write_data(struct tar_write *w, const void *data, size_t size);
/* The same of @size zeros. */
int tar_write_zeros(struct tar_write *w, uint64_t size);
/* The end of the archive. */
int tar_write_end(struct tar_write *w);

/* Bytes handed to the sink so far: after tar_write_entry(), where the content begins. */
uint64_t tar_write_offset(const struct tar_write *w);

#endif
