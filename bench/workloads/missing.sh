#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stat names that do not exist.
# tree: image
# row: missing_cold us/name - cold missing name
# row: missing_warm us/name <=1 warm missing name
exec "$BENCH_BIN/missing" "$MNT" "$LIST" 20 5
