# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# Sourced: a small image of three layers, oci:$TESTTMP/oci:t, whose second
# changes, deletes and hides, and whose third deletes a directory.
set -eu
plyctl=$BUILD/plyctl
PLYFS_LAYERS=$TESTTMP/layers
export PLYFS_LAYERS
cd "$TESTTMP"
fail() { echo "FAIL: $*"; exit 1; }

mkdir -p l1/etc l1/usr/bin l1/dir l2/etc l2/dir l3
printf 'one\n' >l1/etc/a
printf 'two\n' >l1/etc/b
head -c 299008 /dev/urandom >l1/usr/bin/tool
printf x >l1/dir/x
ln -s a l1/etc/link
ln l1/etc/a l1/etc/hard
printf 'changed\n' >l2/etc/a
: >l2/etc/.wh.b
: >l2/dir/.wh..wh..opq
printf n >l2/dir/n
: >l3/.wh.usr
printf '3\n' >l3/three
for layer in l1 l2 l3; do
	tar -C $layer --numeric-owner -czf $layer.tar.gz .
done
"$SRCDIR/tests/images/oci-layout" oci t l1.tar.gz l2.tar.gz l3.tar.gz
