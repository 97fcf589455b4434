#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Create, rename and remove files of 4 KiB and directories.
# tree: image
# settle
# row: create us/file <=6|<=3 create + write 4 KiB + close
# row: rename us/file <=5|<=2.5 rename
# row: unlink us/file <=5|<=2.5 unlink
# row: mkdir us/dir - mkdir
# row: rmdir us/dir - rmdir
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
exec "$BENCH_BIN/names" "$MNT" "$LIST" "$(scaled 2000)"
