#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Read a big lower file.
# tree: big
# row: seq_read_cold us/MiB - sequential read, cold
# row: seq_read_warm us/MiB <=1 sequential read, warm
# row: rand_read us/4KiB <=1 random pread of 4 KiB, warm
exec "$BENCH_BIN/bigfile" read "$MNT/big"
