#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Memory and CPU time of the daemon of an idle mount.
# tree: image
# row: idle_rss KiB <=4096 daemon RSS, idle mount
# row: idle_cpu % <=0 daemon CPU over 2 s, idle mount
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
[ "$BENCH_PID" ] || exit 0
stat "$MNT" >/dev/null
sleep 0.2
printf 'value\tidle_rss\t%s\n' "$(daemon_rss)"
before=$(daemon_cpu)
sleep 2
after=$(daemon_cpu)
awk -v ns=$((after - before)) 'BEGIN { printf "value\tidle_cpu\t%.3f\n", ns / 2e7 }'
