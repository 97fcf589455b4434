#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One cell of the differential test's matrix: cell.sh FILESYSTEM MODE, for
# MODE root, metacopy, writeback, passthrough, userns or user; both transports. Each
# first with all that layers can hold, then with what kernel overlayfs reads
# too, and the upper mounted with that in the end. MODE packed and packed-user: as
# root and user, with all lowers, then every second, packed.
#
# DIFF_OPS: operations per run (default 1000). DIFF_SEED: the first seed; always
# the same by default, so that a failure means a change. New ones, to look for
# what is not known yet: DIFF_SEED=$(date +%s).
. "$SRCDIR/tests/diff/lib.sh"
in_namespace "$0" "$@"
fs=$1
mode=$2
make_fs "$fs"
ops=${DIFF_OPS:-1000}
seed=${DIFF_SEED:-20261122}

differ() {
	as_mode "$who" env PLYFS_OPTS="$opts,$TRANSPORT" USERXATTR="$userxattr" \
		"$BIN/differ" --work "$FS/w" --mount "$BIN/mount-plyfs" \
		--umount "$umount" --ops "$ops" --save "$FS/w/failed" \
		--shrink-time 60 $relax "$@" || {
		cp "$FS/w/failed" "$BUILD/test-logs/$fs-$mode-$seed.replay" \
			2>/dev/null || :
		exit 1
	}
	seed=$((seed + 1))
	# this user's files are nobody else's
	rm -rf "$FS/w"
	mkdir -m 777 "$FS/w"
}

cell() {
	who=root userxattr='' umount='umount "$MNT"' relax=''
	case $mode in
	root) opts=acl,allow_other,suid,dev ;;
	packed) who=packed opts=acl,allow_other,suid,dev ;;
	packed-user)
		who=packed-user userxattr=1 opts=acl,userxattr,packed_cache=1
		umount='fusermount3 -u "$MNT"' ;;
	metacopy)
		export METACOPY=1
		opts=acl,allow_other,suid,dev,metacopy=on ;;
	writeback)
		# The kernel keeps size and times itself: what it shows as ctime
		# is not what the file has, its mtime arrives with the data,
		# and it knows no holes.
		opts=acl,allow_other,suid,dev,writeback
		relax="--no ctime --no holes --no late-times" ;;
	passthrough) opts=acl,allow_other,suid,dev,passthrough ;;
	userns)
		who=userns userxattr=1 opts=acl,userxattr ;;
	user)
		who=user userxattr=1 opts=acl,userxattr,fd_budget=8
		umount='fusermount3 -u "$MNT"' ;;
	esac
	# What xfs preallocates is neither predictable nor a hole; its exchange
	# leaves the ctime of both alone.
	[ "$fs" != xfs ] || relax="$relax --no holes --no ctime"
	case $who in
	root)
		differ --seed "$seed" --drop-caches
		# plyfs escapes user.overlay.* here too, and only it knows the
		# lower names that are gone without a copy
		differ --seed "$seed" --no wh-files --no stray \
			--no overlay-xattrs --no cross-nlink \
			--cross "$BIN/mount-overlay"
		;;
	packed)
		who=root
		export PACKED PACKED_AS
		PACKED=all PACKED_AS='--frame 65536'
		differ --seed "$seed" --drop-caches
		PACKED=odd PACKED_AS='--codec gzip --chunk 10000 --no-xxh3 --sha256'
		differ --seed "$seed" --drop-caches ;;
	packed-user)
		who=user
		export PACKED PACKED_AS
		PACKED=odd PACKED_AS='--frame 20000'
		differ --seed "$seed" --userxattr
		PACKED=all PACKED_AS='--codec raw --no-xxh3'
		differ --seed "$seed" --userxattr ;;
	userns)
		differ --seed "$seed" --userxattr
		# the kernel reads neither redirects nor the index here
		differ --seed "$seed" --userxattr --no dir-rename --no links \
			--no wh-files --no stray --cross "$BIN/mount-overlay"
		;;
	user)
		differ --seed "$seed" --userxattr
		;;
	esac
}

for_transports cell
