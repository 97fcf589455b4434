# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# podman build, with a layer for each step and squashed.
. "$CLIENTS/scenario-build.sh"

run_podman_build()
{
	NEW=$(date +%s)
	make_context
	both built podman build -q --layers --isolation="$isolation" \
		-t built "$T/context"
	eq 'the image runs' again "$(podman run --rm built)"
	step 'a second build takes every layer from the cache'
	podman build --layers --isolation="$isolation" -t cached \
		"$T/context" >"$T/build.log" 2>&1
	eq 'same image' "$(podman image inspect -f '{{.Id}}' built)" \
		"$(podman image inspect -f '{{.Id}}' cached)"
	step 'squashed'
	podman build -q --squash-all --isolation="$isolation" -t flat \
		"$T/context" >/dev/null
	image_tree built >"$T/built.list"
	image_tree flat >"$T/flat.list"
	settled "$T/built.list" "$T/flat.list"
	# a link to a file of an earlier step is a file of its own in its layer
	sed -i 's/\tinode:[^\t]*//' "$T/built.list" "$T/flat.list"
	same_file 'squashed image' "$T/built.list" "$T/flat.list"
	build_end
}
