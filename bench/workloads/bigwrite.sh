#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Write a big new file.
# tree: big
# settle
# row: seq_write us/MiB <=1.5 sequential write of a new file
# row: rand_write us/4KiB - random pwrite of 4 KiB into it
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
exec "$BENCH_BIN/bigfile" write "$MNT/new" "$(($(scaled 256) << 20))"
