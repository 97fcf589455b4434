# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What tests of plyctl share: a tree of everything, and comparing two trees in all that
# tar keeps.

export PLYFS_LAYERS=$TESTTMP/layers
plyctl() { "$BUILD/plyctl" "$@"; }
die() { echo "FAIL: $*" >&2; exit 1; }

# make_tree DIR: all kinds of files, names and attributes.
make_tree() {
	local d=$1 long i
	mkdir -p "$d/dir/sub" "$d/empty" "$d/many"
	echo hello >"$d/dir/file"
	: >"$d/dir/nothing"
	ln "$d/dir/file" "$d/dir/sub/another"
	ln "$d/dir/file" "$d/third"
	ln -s ../outside "$d/dir/link"
	ln -s /etc/passwd "$d/absolute"
	mkfifo "$d/fifo"
	mknod "$d/block" b 8 300
	mknod "$d/null" c 1 3
	long=$(printf 'n%.0s' $(seq 255))
	echo long >"$d/$long"
	mkdir -p "$d/deep/$long/$long"
	echo deep >"$d/deep/$long/$long/f"
	printf 'bytes' >"$d/"$'caf\xc3\xa9'
	printf 'bytes' >"$d/"$'cafe\xcc\x81'
	printf 'bytes' >"$d/"$'no\xff\xfeutf'
	printf 'nl' >"$d/"$'new\nline'
	for i in $(seq 400); do echo "$((i % 50))" >"$d/many/$i"; done
	head -c 3000000 /dev/urandom >"$d/big"
	cp "$d/big" "$d/same"
	truncate -s 10G "$d/sparse"
	printf middle | dd of="$d/sparse" bs=1 seek=5000000000 conv=notrunc status=none
	printf end | dd of="$d/sparse" bs=1 seek=10737418237 conv=notrunc status=none
	head -c 300000 /dev/zero >"$d/zeros"
	chown 1000:4000000 "$d/dir/file" "$d/many/7"
	chown -h 5:6 "$d/dir/link"
	chmod 4711 "$d/many/8"
	chmod 2775 "$d/dir/sub"
	chmod 1777 "$d/empty"
	chmod 0 "$d/many/9"
	touch -d '2001-02-03 04:05:06.123456789' "$d/many/10" "$d/dir"
	touch -h -d '1999-01-01 00:00:00.5' "$d/absolute"
	setfattr -n user.plain -v value "$d/many/11"
	setfattr -n user.binary -v 0x00ff003d0a "$d/many/11"
	setfattr -n trusted.mine -v x "$d/empty"
	setcap cap_net_raw+ep "$d/many/12"
	setfacl -m u:5:rw,g:7:r "$d/many/13"
	setfacl -d -m g:6:rx "$d/many"
}

# same DIR DIR: names, types, modes, owners, sizes, times to the nanosecond, links, devices,
# attributes, contents.
same() {
	diff <(listing "$1") <(listing "$2") >&2 || die "$1 and $2 differ"
	diff <(cd "$1" && getfattr -Rhd -m - -e hex . | sorted) \
		<(cd "$2" && getfattr -Rhd -m - -e hex . | sorted) >&2 ||
		die "attributes of $1 and $2 differ"
	diff <(sums "$1") <(sums "$2") >&2 || die "contents of $1 and $2 differ"
}

# A file's attributes on one line, whatever the order of the directory.
sorted() { awk 'BEGIN { RS = ""; FS = "\n" } { gsub("\n", "\t"); print }' | sort; }

# Hard links: which names are one file, by the first of them.
listing() {
	(cd "$1" && find . -printf '%P\0%y %#m %U:%G %s %T@ %l\0' | tr '\n\0\0' '?\n\n' |
		paste - - | sort
		find . ! -type d -printf '%i %P\0' | tr '\n' '?' | tr '\0' '\n' | sort -k2 |
			awk '{ n = $1; $1 = ""; if (!(n in f)) f[n] = $0; print f[n], "=", $0 }'
		find . -type b -o -type c | sort | xargs stat -c '%n %t:%T') |
		sed 's/\td [0-9]* /\td /' | awk '$2 == "d" { $5 = "-" } { print }'
}

sums() {
	(cd "$1" && find . -type f ! -name sparse -print0 | sort -z | xargs -0 sha256sum)
	[ ! -f "$1/sparse" ] || {
		stat -c %s "$1/sparse"
		dd if="$1/sparse" bs=1M skip=4768 count=2 status=none | sha256sum
		tail -c 100000 "$1/sparse" | sha256sum
	}
}
