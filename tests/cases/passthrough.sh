# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of passthrough: a mount namespace of their own, an ext4
# of their own at $FS with lower, upper, work and mnt.
# shellcheck shell=sh

set -eu
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
grep -q ' 0 *0 *4294967295' /proc/self/uid_map || { echo "needs root outside of user namespaces"; exit 77; }
if [ -z "${PASSTHROUGH_NS-}" ]; then
	PASSTHROUGH_NS=1
	export PASSTHROUGH_NS
	exec unshare -m --propagation private "$0" "$@"
fi
FS=$TESTTMP/fs
mkdir -p "$FS"
truncate -s 512M "$TESTTMP/image"
mkfs.ext4 -q -F "$TESTTMP/image"
mount -o loop "$TESTTMP/image" "$FS"
chmod 755 "$TESTTMP" "$FS"
cd "$FS"
mkdir lower upper work mnt
HELPERS=$BUILD/tests/cases

fail() {
	echo "FAIL: $*"
	exit 1
}

# start OPTIONS [MORE...]: mounts lower with upper on mnt; $PID is the daemon.
start() {
	_opts=$1
	shift
	"$PLYFS" -f -o "lowerdir=lower,upperdir=upper,workdir=work,stats=$TESTTMP/stats,$_opts" \
		"$@" mnt >"$TESTTMP/log" 2>&1 &
	PID=$!
	_n=0
	until mountpoint -q mnt; do
		_n=$((_n + 1))
		if [ $_n -gt 200 ] || ! kill -0 $PID 2>/dev/null; then
			cat "$TESTTMP/log"
			fail "no mount"
		fi
		sleep 0.02
	done
}

stop() {
	umount mnt
	wait "$PID" || fail "the daemon ended with $?: $(cat "$TESTTMP/log")"
}

# However the test ends, nothing stays mounted, and daemons end with their mounts.
trap 'cd /; umount -l "$FS/mnt" 2>/dev/null || :; umount -l "$FS" || :' EXIT

# Messages of a kind so far.
count() {
	"$PLYFS" --stats "$TESTTMP/stats" | awk -v op="$1" '$1 == op { n = $2 } END { print n + 0 }'
}

# What there is in a directory, content and attributes; not when it was read.
sum_of() {
	(cd "$1" && find . -printf '%P %y %m %U:%G %s %T@ %C@ %l %n\n' | sort &&
		find . -type f -print0 | sort -z | xargs -0r sha256sum) | sha256sum
}

# Fails where the log has something to say.
quiet() {
	[ ! -s "$TESTTMP/log" ] || grep -v "io_uring" "$TESTTMP/log" >"$TESTTMP/said" || return 0
	[ ! -s "$TESTTMP/said" ] || { cat "$TESTTMP/said"; fail "the daemon complained"; }
}
