#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# git status in a repository that a lower layer holds.
# tree: source
# needs: git
# row: git_status_cold us/file - git status, cold
# row: git_status_warm us/file - git status, warm
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
files=$(grep -c '^[FL]' "$LIST")
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
cd "$MNT"
"$BENCH_BIN/timed" git_status_cold "$files" git status --porcelain
git status --porcelain >/dev/null
"$BENCH_BIN/timed" git_status_warm "$files" git status --porcelain
[ "$(git ls-files | wc -l)" -eq "$files" ] ||
	die "git: files missing"
[ -z "$(git status --porcelain)" ] ||
	die "git: the tree is not clean"
