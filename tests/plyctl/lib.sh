# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What tests of plyctl share: a cache of their own, and words. Sourced.
set -eu -o pipefail
export LC_ALL=C.UTF-8 PLYFS_LAYERS=$TESTTMP/layers PLYFS_UPPERS=$TESTTMP/uppers
export plyctl=$BUILD/plyctl
cd "$TESTTMP"

fail() { echo "FAIL: $*" >&2; exit 1; }
skip() { echo "$*"; exit 77; }

need() {
	local prog

	for prog; do
		command -v "$prog" >/dev/null || skip "$prog is not installed"
	done
}

# says CODE PATTERN COMMAND...: it ends in CODE, and what it says on stderr matches.
says() {
	local want=$1 pattern=$2 code=0

	shift 2
	"$@" >"$TESTTMP/says.out" 2>"$TESTTMP/says.err" || code=$?
	[ "$code" = "$want" ] || {
		cat "$TESTTMP/says.err" >&2
		fail "$*: exit code $code, not $want"
	}
	grep -Eq -- "$pattern" "$TESTTMP/says.err" ||
		fail "$*: it says: $(cat "$TESTTMP/says.err")"
}

# blob OCI FILE: moves a file to its place; prints digest and size.
blob() {
	local sum size

	sum=$(sha256sum <"$2")
	sum=${sum%% *}
	size=$(stat -c %s "$2")
	mkdir -p "$1/blobs/sha256"
	mv "$2" "$1/blobs/sha256/$sum"
	echo "sha256:$sum $size"
}
