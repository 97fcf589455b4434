/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of an image as files in a directory. Every name is made below a descriptor of its
 * directory, which was made here: no link that the image holds is ever followed, and no
 * path leads out of the target.
 */
#ifndef PLYFS_TOOLS_UNPACK_H
#define PLYFS_TOOLS_UNPACK_H

#include "tools/view.h"

struct unpack_options {
	bool owners; /* set owners, attributes and devices: root */
	bool (*stop)(void);
	void (*progress)(void *arg, uint64_t bytes, uint64_t files);
	void *arg;
};

struct unpack_result {
	uint64_t files, bytes;
	uint64_t left_out; /* devices that an ordinary user cannot make */
	uint64_t attributes; /* that the file system would not take */
	unsigned unreadable; /* said on stderr */
};

/*
 * Makes what is below the root of @v in @dirfd, which is empty, and gives @dirfd the root's
 * attributes. -errno with *ret_err (malloc'ed): what is there then is a part of it.
 */
int unpack_tree(struct view *v, int dirfd, const struct unpack_options *o,
		struct unpack_result *ret, char **ret_err);

/* Removes all that is in @dirfd, following nothing. 0 or the first error. */
int unpack_remove(int dirfd);

#endif
