#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Change files that only a lower layer has.
# tree: image
# settle
# row: chmod_lower us/file - chmod of a lower file
# row: append_lower us/file - append to a lower file
# row: rename_lower us/file - rename of a lower file
# row: unlink_lower us/file - unlink of a lower file
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
exec "$BENCH_BIN/lower" "$MNT" "$LIST" "$(scaled 500)"
