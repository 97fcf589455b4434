#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Open, read and close every file, finding the files by listing directories.
# tree: image
# row: read_cold us/file <=3|<=2 cold open + read + close, directories listed
# row: read_warm us/file <=1 warm open + read + close, directories listed
exec "$BENCH_BIN/readtree" walk "$MNT" "$LIST" read_cold read_warm 5
