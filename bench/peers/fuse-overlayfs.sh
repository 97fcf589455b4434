#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuse-overlayfs with its defaults; FUSE_OVERLAYFS names another binary.
prog=${FUSE_OVERLAYFS:-fuse-overlayfs}
case $1 in
check)
	command -v "$prog" >/dev/null ||
		{ echo "$prog is not installed (apt-get install fuse-overlayfs)"; exit 1; } ;;
version) "$prog" --version 2>/dev/null | grep '^fuse-overlayfs' ;;
fstype) echo fuse.fuse-overlayfs ;;
argv)	# LOWERS UPPER WORK MOUNTPOINT
	printf '%s\n' "$prog" -o "lowerdir=$2,upperdir=$3,workdir=$4" "$5" ;;
esac
