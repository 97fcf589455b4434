/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are somewhere: a window of a file. A layer's blob is a file of its own in
 * an OCI layout, and a part of one in an archive.
 */
#ifndef PLYFS_LAYER_SOURCE_H
#define PLYFS_LAYER_SOURCE_H

#include <stdint.h>
#include <sys/types.h>

struct source {
	int fd; /* borrowed or owned, as whoever made it says */
	uint64_t off, size; /* bytes */
	const char *name; /* for messages; borrowed */
};

/*
 * Reads at @off of the window, as much as there is up to @size: less means the end of the
 * window. -EIO where the file is shorter than the window claims.
 */
ssize_t source_pread(const struct source *s, void *buf, size_t size, uint64_t off);

/* What the first bytes say it is. */
enum source_format {
	SOURCE_UNKNOWN,
	SOURCE_TAR, /* or empty */
	SOURCE_GZIP,
	SOURCE_ZSTD,
	SOURCE_XZ,
	SOURCE_BZIP2,
	SOURCE_INDEX, /* one of our own */
};
int source_format(const struct source *s); /* enum source_format or -errno */

/*
 * Writes DIRFD/sha256-HEX.ref, by which an index beside it finds a blob that is
 * a window of another file: "plyref 1\n", the absolute path, a newline, offset and size in
 * decimal, a newline. Complete and synced before it has its name.
 */
int source_write_ref(int dirfd, const uint8_t sha256[32], const char *path, uint64_t off,
		     uint64_t size);
/*
 * Opens the blob of an index beside it: the file sha256-HEX, else by sha256-HEX.ref. @ret->fd
 * is the caller's to close. Its size must be @size. *ret_err (malloc'ed) names what is missing.
 */
int source_open_blob(int dirfd, const uint8_t sha256[32], uint64_t size, struct source *ret,
		     char **ret_err);

#endif
