#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Write one byte into a big lower file.
# tree: big
# settle
# row: copy_up us/MiB <=1 copy-up of a big lower file
exec "$BENCH_BIN/bigfile" copyup "$MNT/big"
