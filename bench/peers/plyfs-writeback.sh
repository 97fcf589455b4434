#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# plyfs with the kernel's writeback cache, over /dev/fuse.
PLYFS_OPTS=io_uring=off,writeback exec "${0%/*}/plyfs.sh" "$@"
