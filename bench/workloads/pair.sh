#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two processes list, open, read and close at the same time.
# tree: image
# row: pair_cold us/file - cold open + read + close by two processes at once
exec "$BENCH_BIN/pair" "$MNT" "$LIST" 2
