/* SPDX-License-Identifier: Apache-2.0 */
/* Copying what a file is: its data, its attributes. */
#ifndef PLYFS_UNION_COPYDATA_H
#define PLYFS_UNION_COPYDATA_H

#include "fs/union/locate.h"

/*
 * Copies the first @size bytes of the open file @in to the empty file @out: by
 * reflink, else in the kernel, else through a buffer. Holes stay holes.
 */
int copy_data(struct union_fs *u, const struct layer_dir *in, int out, int64_t size);

/*
 * Copies [off, end) of @in to @out at @to, through a buffer; less where @in ends. The
 * bytes copied, or -errno if there was none.
 */
int64_t copy_buffered(const struct layer_dir *in, off_t off, off_t end, int out, off_t to);

/*
 * Gives the file behind @fd (any kind) the extended attributes of @src, but
 * for those of the overlay formats.
 */
int copy_xattrs(struct union_fs *u, const struct place *src, int fd);

/* Owner and mode of @st (host ids), by override_stat where the upper uses that. */
int copy_owner_mode(struct union_fs *u, int fd, const struct statx *st);

/* Access and modification time of @st. */
int copy_times(int fd, const struct statx *st);

#endif
