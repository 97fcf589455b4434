#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# plyfs with passthrough: an open is a message, reads and writes go straight
# to the backing file. Needs CAP_SYS_ADMIN in the initial user namespace.
case $1 in
check)
	[ -z "$BENCH_USERNS" ] ||
		{ echo "passthrough needs privileges on the host"; exit 1; } ;;
esac
PLYFS_OPTS=io_uring=off,passthrough exec "${0%/*}/plyfs.sh" "$@"
