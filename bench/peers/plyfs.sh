#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# plyfs in its default mode over /dev/fuse. The other plyfs-*.sh come here
# with PLYFS_OPTS changed. PLYFS names the binary.
opts=${PLYFS_OPTS:-io_uring=off}
case $1 in
check)
	[ -x "$PLYFS" ] || { echo "$PLYFS does not exist (make builds it)"; exit 1; } ;;
version) "$PLYFS" --version 2>&1 | tr '\n' ' ' ;;
fstype) echo fuse.plyfs ;;
argv)	# LOWERS UPPER WORK MOUNTPOINT
	printf '%s\n' "$PLYFS" -o \
		"lowerdir=$2,upperdir=$3,workdir=$4,$opts${PLYFS_EXTRA:+,$PLYFS_EXTRA}" "$5" ;;
esac
