#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Time until a mount of 500 lowers answers a stat of its root.
# tree: lowers 500
# mounts
# row: mount_500 ms - mount with 500 lowers
# Arguments: the mount command.
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
"$BENCH_BIN/timed" --mounted "$MNT" mount_500 1 "$@"
[ "$(count_entries "$MNT")" -eq 500 ] ||
	die "mount500: the root lacks files"
