# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests that need a union on a filesystem of a certain kind, as
# a certain user, over a certain transport. They run in a mount namespace of
# their own: what they mount goes away with them, and no other namespace made
# meanwhile keeps it busy.
#
# in_namespace "$0" "$@"   start over in such a namespace, first thing
# make_fs KIND             an empty ext4, xfs or btrfs at $FS, with copies of
#                          the programs in $BIN that every user can run
# as_mode MODE CMD...      run CMD as the mode wants it
# for_transports CMD...    run CMD once per transport; CMD adds $TRANSPORT
#                          to the mount options

set -eu
HERE=$SRCDIR/tests/diff
USER_ID=$(id -u nobody)	# fusermount3 wants a user with a name

in_namespace() {
	[ -z "${IN_NAMESPACE:-}" ] || return 0
	IN_NAMESPACE=1 exec unshare -m --propagation private -- "$@"
}

make_fs() {
	FS=$TESTTMP/fs
	mkdir -p "$FS"
	truncate -s 1G "$TESTTMP/image"
	case $1 in
	ext4) mkfs.ext4 -q -F "$TESTTMP/image" ;;
	xfs) mkfs.xfs -q -m reflink=1 "$TESTTMP/image" ;;
	btrfs) mkfs.btrfs -q "$TESTTMP/image" ;;
	*) echo "make_fs: $1"; exit 1 ;;
	esac
	mount -o loop "$TESTTMP/image" "$FS"
	chmod 755 "$TESTTMP" "$FS"
	BIN=$FS/bin
	mkdir -m 755 "$BIN"
	cp "$BUILD/tests/diff/differ" "$BUILD/tests/packed/packdir" "$HERE"/mount-* "$BIN"
	[ ! -e "$PLYFS" ] || cp "$PLYFS" "$BIN/plyfs"
	chmod 755 "$BIN"/*
	PLYFS=$BIN/plyfs
	export PLYFS BIN FS
	trap clean_up EXIT
	# everyone may mount: /dev/fuse of this namespace alone
	mknod -m 666 "$FS/fuse" c 10 229
	mount --bind "$FS/fuse" /dev/fuse
	mkdir -m 777 "$FS/w"
}

# A failed test leaves mounts behind; without them the daemons end too.
clean_up() {
	[ -z "${URING_HELD:-}" ] || uring_off
	cd /
	umount -R "$FS" 2>/dev/null || umount -R -l "$FS" 2>/dev/null || :
}

# root: as it is. userns: root of a user namespace with no privilege outside.
# user: a plain user, through fusermount3.
as_mode() {
	_mode=$1
	shift
	case $_mode in
	root) "$@" ;;
	userns)
		setpriv --reuid $USER_ID --regid $USER_ID --clear-groups \
			unshare -Ur -m --propagation private -- "$@" ;;
	user)
		setpriv --reuid $USER_ID --regid $USER_ID --clear-groups \
			"$@" ;;
	*) echo "as_mode: $_mode"; exit 1 ;;
	esac
}

. "$SRCDIR/tests/uring.sh"

for_transports() {
	echo "== /dev/fuse"
	TRANSPORT=io_uring=off
	"$@"
	echo "== io_uring"
	uring_on
	TRANSPORT=io_uring=on
	"$@" 9>&-	# daemons must not inherit the lock
	uring_off
}
