#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpack a source tree into the union with GNU tar.
# tree: source
# settle
# needs: tar
# row: untar us/entry - untar of a source tree
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
entries=$(wc -l <"$LIST")
mkdir "$MNT/out"
"$BENCH_BIN/timed" untar "$entries" tar -xf "$TREE/source.tar" -C "$MNT/out"
seen=$(find "$MNT/out" -mindepth 1 | wc -l)
[ "$seen" -eq "$entries" ] ||
	die "untar: $seen of $entries entries"
