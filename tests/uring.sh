# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests that need the machine's switch for FUSE over io_uring in a
# certain position. Tests run side by side, so a lock says who needs what: who
# wants it on shares it, who wants it off has it alone. It goes back to what it
# was when the last one is done. Uses descriptor 9, which daemons that are
# started meanwhile must not inherit (9>&-).
#
# uring_on      switch it on, until uring_off; exits 77 where there is none
# uring_off     I need it no more
# uring_barred  have it off, until uring_unbarred; fails where others need it on
# uring_unbarred

URING=/sys/module/fuse/parameters/enable_uring
URING_LOCK=/run/lock/plyfs-test-uring

uring_on() {
	[ -e $URING ] || { echo "this kernel has no FUSE over io_uring"; exit 77; }
	exec 9>>$URING_LOCK
	flock -s 9
	[ "$(cat $URING)" = Y ] || : >$URING_LOCK.was_off
	echo Y >$URING
	URING_HELD=1
}

uring_off() {
	[ -n "${URING_HELD:-}" ] || return 0
	URING_HELD=
	flock -u 9
	if flock -xn 9 && [ -e $URING_LOCK.was_off ]; then
		echo N >$URING
		rm -f $URING_LOCK.was_off
	fi
	exec 9>&-
}

uring_barred() {
	[ -w $URING ] || return 1
	exec 9>>$URING_LOCK
	if ! flock -xn 9; then
		exec 9>&-
		return 1
	fi
	uring_was=$(cat $URING)
	echo N >$URING
}

uring_unbarred() {
	echo "$uring_was" >$URING
	exec 9>&-
}
