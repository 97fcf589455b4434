#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Walk the tree and stat every entry.
# tree: image
# row: walk_cold us/entry <=2 cold walk + stat
# row: walk_warm us/entry <=1 warm walk + stat
exec "$BENCH_BIN/walk" "$MNT" "$LIST" walk_cold walk_warm 5
