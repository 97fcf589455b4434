#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Time until a mount of 1 lower answers a stat of its root.
# tree: lowers 1
# mounts
# row: mount_1 ms - mount with 1 lower
# Arguments: the mount command.
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
"$BENCH_BIN/timed" --mounted "$MNT" mount_1 1 "$@"
[ "$(count_entries "$MNT")" -eq 1 ] ||
	die "mount1: the root lacks files"
