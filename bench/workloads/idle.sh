#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Memory of the daemon of an idle mount.
# tree: image
# row: idle_rss KiB <=4096 daemon RSS, idle mount
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
stat "$MNT" >/dev/null
[ "$BENCH_PID" ] || exit 0
sleep 0.2
printf 'value\tidle_rss\t%s\n' "$(daemon_rss)"
