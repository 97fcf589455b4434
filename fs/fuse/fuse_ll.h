/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that includes libfuse's low-level API, so that every file
 * asks for the same version of it. 3.17 is the oldest with what we need
 * (KILLPRIV_V2, passthrough, tmpfile, feature flags); 3.18 adds statx.
 */
#ifndef PLYFS_FS_FUSE_FUSE_LL_H
#define PLYFS_FS_FUSE_FUSE_LL_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 317
#endif

#include <fuse_lowlevel.h>

#endif
