#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# floor over io_uring, switched on for the time of the mount.
case $1 in
before | after) exec "${0%/*}/plyfs-uring.sh" "$1" ;;
esac
FLOOR_OPTS=uring exec "${0%/*}/floor.sh" "$@"
