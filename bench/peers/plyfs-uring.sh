#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# plyfs over io_uring. The kernel's switch is turned on for the time of the
# mount only, so that it changes nothing for anyone else.
param=/sys/module/fuse/parameters/enable_uring
case $1 in
check)
	[ -e $param ] || { echo "this kernel has no FUSE over io_uring"; exit 1; }
	[ "$(cat $param)" = Y ] || [ -w $param ] ||
		{ echo "$param is N and cannot be written"; exit 1; } ;;
before)
	[ "$(cat $param)" = Y ] || { : >"$BENCH_STATE/uring-was-off"; echo Y >$param; }
	exit ;;
after)
	[ ! -e "$BENCH_STATE/uring-was-off" ] ||
		{ echo N >$param; rm -f "$BENCH_STATE/uring-was-off"; }
	exit ;;
esac
PLYFS_OPTS=io_uring=on exec "${0%/*}/plyfs.sh" "$@"
