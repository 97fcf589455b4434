#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Time until a mount of 50 lowers answers a stat of its root.
# tree: lowers 50
# mounts
# row: mount_50 ms <=10 mount with 50 lowers
# Arguments: the mount command.
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
"$BENCH_BIN/timed" --mounted "$MNT" mount_50 1 "$@"
[ "$(count_entries "$MNT")" -eq 50 ] ||
	die "mount50: the root lacks files"
