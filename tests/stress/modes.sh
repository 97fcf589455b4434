# SPDX-License-Identifier: Apache-2.0
# Sourced: each_mode FUNCTION runs it in every mode and over both transports,
# with fresh directories $D/l0 $D/l1 $D/u $D/work $D/mnt and the functions
# union_mount and union_umount. prepare() is called first, to fill the lowers.
. "$SRCDIR/tests/diff/lib.sh"

union_mount() {
	"$PLYFS" -o "lowerdir=$D/l1:$D/l0,upperdir=$D/u,workdir=$D/work,$opts,$TRANSPORT" \
		"$D/mnt"
}

union_umount() {
	umount "$D/mnt"
}

one_mode() {
	for _m in default writeback passthrough; do
		echo "== $_m"
		opts=allow_other
		[ $_m = default ] || opts=$opts,$_m
		D=$FS/$_m
		mkdir "$D"
		(cd "$D" && mkdir l0 l1 u work mnt)
		prepare
		union_mount
		"$1"
		union_umount
		rm -rf "$D"
	done
}

each_mode() {
	for_transports one_mode "$1"
}
