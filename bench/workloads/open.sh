#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Open, read and close every file by its known name, nothing listed.
# tree: image
# row: open_cold us/file <=3|<=2 cold open + read + close, by name only
# row: open_warm us/file <=1 warm open + read + close, by name only
exec "$BENCH_BIN/readtree" names "$MNT" "$LIST" open_cold open_warm 5
