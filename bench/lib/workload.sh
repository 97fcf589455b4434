# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Functions of the workloads; each of them sources this file.

# scaled N: N times SCALE, at least 1.
scaled() {
	awk -v n="$1" -v s="$SCALE" 'BEGIN { x = int(n * s); print x < 1 ? 1 : x }'
}

# Resident set of the daemon in KiB.
daemon_rss() {
	awk '/^Rss:/ { print $2 }' "/proc/$BENCH_PID/smaps_rollup"
}

# CPU time of all threads of the daemon in nanoseconds.
daemon_cpu() {
	awk '{ sum += $1 } END { printf "%d\n", sum }' "/proc/$BENCH_PID/task"/*/schedstat
}

# Number of entries of a directory.
count_entries() {
	find "$1" -mindepth 1 -maxdepth 1 | wc -l
}

die() {
	echo "$*" >&2
	exit 1
}
