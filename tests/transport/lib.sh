# SPDX-License-Identifier: Apache-2.0
# Shared by the tests of the transport: a null file system on $M.
# shellcheck shell=sh

set -eu
# In a mount namespace of our own: a copy of our mount in somebody else's new
# namespace would keep the daemon alive after our umount.
if [ "$(id -u)" = 0 ] && [ -z "${TRANSPORT_NS-}" ]; then
	TRANSPORT_NS=1
	export TRANSPORT_NS
	exec unshare -m --propagation private "$0" "$@"
fi
NULLFS=$BUILD/tests/transport/nullfs
M=$TESTTMP/mnt
mkdir -p "$M"

fail() {
	echo "FAIL: $*"
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

mounted() {
	grep -q " $M fuse" /proc/self/mounts
}

# True when process $1 has ended (or only waits to be reaped).
gone() {
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 0
	[ -z "$state" ] || [ "$state" = Z ]
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	tries=$(($1 * 50))
	shift
	while ! "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.02
	done
}

# Start nullfs in the background; the daemon's pid is in $PID.
start() {
	rm -f "$TESTTMP/pid"
	"$NULLFS" "$M" pid="$TESTTMP/pid" "$@" </dev/null || fail "nullfs $* exited with $?"
	PID=$(cat "$TESTTMP/pid")
}

finish() {
	if mounted; then umount "$M" || umount -l "$M"; fi
	[ -z "${PID-}" ] || wait_for 5 gone "$PID" || kill -9 "$PID"
}

need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -c /dev/fuse ] || skip "needs /dev/fuse"
}

# Debian's libfuse 3.18 comes without; `make deps` builds one that has it.
have_custom_io() {
	code=0
	"$NULLFS" "$M" uring=on fail=ready >"$TESTTMP/custom" 2>&1 || code=$?
	! grep -q "without custom io" "$TESTTMP/custom"
}

. "$SRCDIR/tests/uring.sh"

# Run the rest with io_uring allowed, if it can be.
allow_uring() {
	[ -w $URING ] || return 1
	have_custom_io || return 1
	uring_on
}
restore_uring() {
	uring_off
}
