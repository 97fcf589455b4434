#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Not a union: the same tree served from memory, read-only, by the transport of
# plyfs (tests/transport/memfs.c). For the rows that only read the image tree:
# what is left to gain there. FLOOR_OPTS=uring takes io_uring.
memfs=${BENCH_BIN%/*}/tests/transport/memfs
case $1 in
check)
	[ -x "$memfs" ] || { echo "$memfs does not exist (make tests builds it)"; exit 1; } ;;
version) echo "memfs" ;;
fstype) echo fuse.plyfs ;;
argv)	# LOWERS UPPER WORK MOUNTPOINT
	list=${2%%:*}
	list=${list%/*/*}/list
	[ -e "$list" ] || list=/dev/null
	printf '%s\n' "$memfs" "$list" "$5" ${FLOOR_OPTS:+"$FLOOR_OPTS"} ;;
esac
