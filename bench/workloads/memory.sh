#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Memory of the daemon per inode that the kernel remembers, after a walk over
# a tree of a million files. One sample: it does not scatter.
# tree: many
# rounds: 1
# row: inode_rss B/inode <=200 daemon RSS per known inode
# row: walk_many us/entry - cold walk of the big tree
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
[ -z "$BENCH_PID" ] || before=$(daemon_rss)
# shellcheck disable=SC2153 # it comes from bench/run
"$BENCH_BIN/walk" "$MNT" "$LIST" walk_many
[ "$BENCH_PID" ] || exit 0
after=$(daemon_rss)
printf 'value\tinode_rss\t%s\n' "$(((after - before) * 1024 / $(wc -l <"$LIST")))"
