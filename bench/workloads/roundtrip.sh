#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# statfs in a loop: one message each, the price of a round trip.
# tree: image
# row: roundtrip us/call - statfs (one message each)
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
exec "$BENCH_BIN/roundtrip" "$MNT" "$(scaled 10000)"
