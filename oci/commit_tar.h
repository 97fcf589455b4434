/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upper directory as an OCI layer's tar. What comes out depends on what the directory holds
 * alone: entries in the order of bytes, of each directory first the opaque mark, then the
 * whiteouts. Left out are the root itself, sockets, access times, names of users, and the
 * attributes of overlay formats, whose meaning becomes entries.
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
	void *arg;

	/* out: */
	uint64_t entries, whiteouts, bytes; /* bytes of files */
};

/*
 * Writes the directory @upper to @w, up to the archive's end. -EXDEV: it holds a directory that was
 * renamed, or a file without its data, whose content is in layers below; -EBUSY: a file has
 * changed while it was read; *ret_err (malloc'ed) names it.
 */
int commit_tar(const char *upper, struct commit_tar *o, struct tar_write *w, char **ret_err);

#endif
