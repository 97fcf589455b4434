/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upper directory as an OCI layer's tar. What comes out depends on what the directory holds
 * alone: entries in the order of bytes, of each directory first the opaque mark, then the
 * whiteouts. Left out are the root itself, sockets, access times, names of users, and the
 * attributes of overlay formats, whose meaning becomes entries. Of a directory that was renamed,
 * all that the upper shows in it on its lowers becomes entries, and so does the content of a
 * file of which the upper has the attributes alone.
 */
#ifndef PLYFS_OCI_COMMIT_TAR_H
#define PLYFS_OCI_COMMIT_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/layer/tar_write.h"

struct commit_tar {
	bool clamp; /* no time is later than this: */
	int64_t epoch; /* seconds */
	/*
	 * Called for each entry; non-zero stops with that result. @skipped: why it was left
	 * out, or NULL.
	 */
	int (*entry)(void *arg, const char *path, const char *skipped);
	/*
	 * The paths of the layers below, the lowest first: asked for once it turns out that
	 * they are needed; *ret stays the callee's. -EXDEV, or NULL here: they are not known.
	 */
	int (*lowers)(void *arg, const char *const **ret, unsigned *ret_n, char **ret_err);
	void *arg;

	/* out: */
	uint64_t entries, whiteouts, bytes; /* bytes of files */
};

/*
 * Writes the directory @upper to @w, up to the archive's end. -EXDEV: it holds a directory that was
 * renamed, or a file without its data, and the layers below are not known; -EBUSY: a file has
 * changed while it was read; *ret_err (malloc'ed) names it.
 */
int commit_tar(const char *upper, struct commit_tar *o, struct tar_write *w, char **ret_err);

#endif
