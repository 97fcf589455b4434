#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kernel overlayfs: what every ratio refers to. See README.md for the protocol.
case $1 in
check)
	grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null ||
		{ echo "this kernel has no overlayfs"; exit 1; } ;;
version) echo "Linux $(uname -r)" ;;
fstype) echo overlay ;;
argv)	# LOWERS UPPER WORK MOUNTPOINT
	printf '%s\n' "$BENCH_BIN/ovlmount" \
		"lowerdir=$2,upperdir=$3,workdir=$4${BENCH_USERNS:+,userxattr}" "$5" ;;
esac
