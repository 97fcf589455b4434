# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# buildah: bud, and an image made step by step (from, run, copy, config,
# mount, commit), as root and as a user.
. "$CLIENTS/scenario-build.sh"

by_hand()
{
	local ctr

	ctr=$(buildah from --pull-never localhost/layered)
	buildah run --isolation=chroot "$ctr" -- sh -c '
		set -e
		rm -r /data/sub /names/acl
		mkdir /data/sub
		echo new >/data/sub/new
		mv /hard/one /hard/uno
		chmod 600 /data/four'
	buildah copy -q "$ctr" "$T/context/src" /copied
	buildah copy -q --chown 5:6 "$ctr" "$T/context/src/file-1" /owned
	# a program on the host works in the container's tree
	inside bash -c 'set -e
		dir=$(buildah mount "$1")
		cp -a "$dir/mixed" "$dir/mixed2"
		ln "$dir/copied/file-3" "$dir/copied/hard-3"
		mv "$dir/many/entry-3" "$dir/many/renamed"
		rm -r "$dir/deep"
		sed -i s/4/four/ "$dir/copied/file-4"
		buildah umount "$1"' - "$ctr"
	buildah config --cmd 'cat /owned' "$ctr"
	buildah commit -q "$ctr" byhand
	buildah rm "$ctr"
}

run_buildah()
{
	NEW=$(date +%s)
	make_context
	both byhand by_hand
	eq 'the image runs' 1 "$(podman run --rm byhand)"
	# one layer for all steps: every change of the file meets in one upper
	both bud buildah bud -q --layers=false --isolation=chroot -t bud \
		"$T/context"
	eq 'the image runs' again "$(podman run --rm bud)"
	build_end
}
