# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What podman must be able to do, as root (podman-root.test) and as a user
# (podman-rootless.test): the same steps, with "use" as use_root or
# use_rootless.

# make_images: a tar of a small root and an OCI archive of four layers.
make_images()
{
	"$IMAGES/busybox-root" "$T/small"
	tar c -C "$T/small" --numeric-owner . >"$T/small.tar"
	"$IMAGES/layer-dirs" "$T/layers"
	"$IMAGES/oci-archive" "$T/layered.oci" layered "$T"/layers/{1,2,3,4}
	chmod 644 "$T/small.tar" "$T/layered.oci"
}

check_info()
{
	local info

	step 'podman info'
	info=$(podman info)
	grep -q 'graphDriverName: overlay$' <<<"$info" || fail "driver: $info"
	grep -q "Executable: $PLYFS\$" <<<"$info" ||
		fail "not the mount program: $info"
	# podman shows what --version prints; other programs look for this
	grep -q 'fuse-overlayfs: version [0-9]*\.[0-9]' <<<"$info" ||
		fail "no version that others can parse: $info"
}

# work: a container "work" of the layered image in which something of every
# kind happens. Its result is compared with that of the same commands in a
# store without a union.
work()
{
	podman run -d --name work layered sleep 1000 >/dev/null
	podman exec work sh -c '
		set -e
		echo changed >>/data/keep
		rm /data/over
		rm -r /opaque
		mkdir /opaque
		echo new >/opaque/fresh
		mv /tree /moved
		mkdir /tree
		# mv copies where a directory cannot be renamed, and busybox
		# copies times in seconds
		find /moved -exec touch -d @1400000000 {} +
		chmod 600 /ids/readonly
		chown 7:8 /names/acl
		ln /hard/one /hard/seven
		echo linked more >/hard/seven
		ln -sf /elsewhere /special/absolute
		cp -a /mixed /mixed2
		rm /many/entry-*2
		mv /dir2file /file2dir/moved
		mv /data/dir/a /data/dir/c
		rm -r /data/sub
		echo now a file >/data/sub
		truncate -s 1 /names/attrs
		mkfifo /fifo'
}

# The same archive in a store without a union: the same tree; the same work
# done in it: the same result and the same podman diff.
check_load()
{
	step 'load of four layers'
	podman load -q -i "$T/layered.oci"
	image_tree layered >"$T/loaded.list"
	[ "$(wc -l <"$T/loaded.list")" -gt 2500 ] || fail 'the list is short'

	step 'the same with the vfs driver'
	"$use" vfs vfs
	podman load -q -i "$T/layered.oci"
	image_tree layered >"$T/loaded.vfs"
	work
	podman diff work | sort >"$T/diff.vfs"
	container_tree work >"$T/work.vfs"
	podman commit -q work changed >/dev/null
	as rm -f "$T/pub/vfs.saved"
	podman save -q --format docker-archive -o "$T/pub/vfs.saved" changed
	store_end
	"$use"
	same_file 'loaded image' "$T/loaded.vfs" "$T/loaded.list"
}

check_run()
{
	step 'import and run'
	podman import -q "$T/small.tar" small >/dev/null
	eq 'run' 'hello' "$(podman run --rm small echo hello)"
	podman run --rm small sh -c 'grep " / fuse" /proc/mounts >/dev/null' ||
		fail 'the root of a container is not a FUSE mount'
	eq 'exit code' 42 "$(podman run --rm small sh -c 'exit 42'; echo $?)"
	eq 'a write does not reach the image' 'root:x:0:0:root:/root:/bin/sh' \
		"$(podman run --rm small sh -c 'echo x >/etc/passwd')$(
		   podman run --rm small head -n1 /etc/passwd)"
	podman run --rm --read-only small sh -c '! touch /x 2>/dev/null' ||
		fail 'a read-only root could be written'

	step 'an unprivileged user in the container'
	podman run --rm --user 1000:1000 layered sh -c '
		set -e
		cd /home/user
		echo mine >file
		[ "$(stat -c %u:%g file)" = 1000:1000 ]
		! cat /ids/none 2>/dev/null
		! rm /data/keep 2>/dev/null
		! touch /locked/new 2>/dev/null
		! mv /bin/sh /tmp/sh 2>/dev/null' || fail 'permissions of a user'
	# set-id programs and file capabilities work; a write by a user, even
	# when the group lets it, takes the bits away
	local none=0000000000000000 all

	eq 'set-id and capabilities' "uid=1000 euid=1000 egid=1000 caps=$none
uid=1000 euid=1000 egid=1000 caps=$none
uid=1000 euid=1000 egid=1000 caps=0000000000000401" "$(podman run --rm \
		--user 1000:1000 layered sh -c \
		'/ids/plain; /ids/sgid; /ids/cap')"
	all=$(podman run --rm --user 1000:1000 layered /ids/suid)
	[[ $all == 'uid=1000 euid=0 egid=1000 caps='*[1-9a-f]* ]] ||
		fail "a setuid program got: $all"
	eq 'write by a user clears setuid' "757
uid=1000 euid=1000 egid=1000 caps=$none" "$(podman run --rm layered sh -c '
		chmod 4757 /ids/suid
		su user -c "/ids/suid >/dev/null; echo >>/ids/suid"
		stat -c %a /ids/suid
		su user -c /ids/suid')"
}

# What a container did is in diff, in a commit, in a saved image.
check_commit()
{
	local format

	step 'exec, diff, commit'
	work
	eq 'hard links stay linked' 'linked more' \
		"$(podman exec work cat /hard/one)"
	podman diff work | sort >"$T/diff.list"
	same_file 'podman diff' "$T/diff.vfs" "$T/diff.list"
	container_tree work >"$T/work.list"
	podman commit -q work changed >/dev/null
	image_tree changed >"$T/changed.list"
	settled "$T/work.list" "$T/work.vfs" "$T/changed.list"
	same_file 'tree of the container' "$T/work.vfs" "$T/work.list"
	same_file 'committed container' "$T/work.list" "$T/changed.list"

	step 'save and load'
	for format in oci-archive docker-archive; do
		as rm -f "$T/pub/saved"
		podman save -q --format "$format" -o "$T/pub/saved" changed
		"$use" second
		podman load -q -i "$T/pub/saved" >/dev/null
		image_tree changed >"$T/saved.list"
		store_end
		"$use"
		settled "$T/saved.list"
		same_file "image saved as $format" "$T/changed.list" \
			"$T/saved.list"
	done
	last_layer "$T/pub/saved" >"$T/layer.list"
	last_layer "$T/pub/vfs.saved" >"$T/layer.vfs"
	same_file 'layer of the commit' "$T/layer.vfs" "$T/layer.list"
	rm -f "$T/pub/saved" "$T/pub/vfs.saved"
}

# last_layer DOCKER-ARCHIVE: the tree_list of its topmost layer as it is in
# the archive, whiteouts and all.
last_layer()
{
	local layer

	mkdir "$T/layer" "$T/layer/d"
	tar x -C "$T/layer" -f "$1"
	layer=$(sed 's/.*"Layers":\[[^]]*"\([^"]*\)"\].*/\1/' \
		"$T/layer/manifest.json")
	tar x -C "$T/layer/d" --xattrs --xattrs-include='*' --numeric-owner \
		-f "$T/layer/$layer"
	NONLINK=1 tree_list "$T/layer/d" -mindepth 1
	rm -r "$T/layer"
}

check_cp()
{
	step 'cp'
	mkdir -p "$T/in/sub"
	echo from outside >"$T/in/file"
	ln -s file "$T/in/sub/link"
	chmod -R a+rX "$T/in"
	podman cp "$T/in" work:/tmp/in
	eq 'cp into' 'from outside file' "$(podman exec work sh -c \
		'cat /tmp/in/file; readlink /tmp/in/sub/link' | paste -sd' ')"
	podman cp work:/mixed2 "$T/pub/out"
	[ -d "$T/pub/out/upper" ] || fail 'cp out lacks a directory'
	podman cp work:/special/dangling - | tar x -O >"$T/out"
	eq 'cp of a file as tar' dangling "$(cat "$T/out")"
	rm -rf "$T/pub/out"
}

check_restart()
{
	step 'restart, stop, start'
	podman exec work sh -c 'echo still here >/kept'
	podman restart -t 0 work >/dev/null
	eq 'after restart' 'still here' "$(podman exec work cat /kept)"
	podman stop -t 0 work >/dev/null
	no_leaks "$STORE"
	podman start work >/dev/null
	eq 'after stop and start' 'still here moved' \
		"$(podman exec work sh -c 'cat /kept; ls -d moved' | paste -sd' ')"
}

check_remove()
{
	step 'rm -f while writing'
	podman exec -d work sh -c '
		i=0
		while :; do i=$((i + 1)); echo $i >/busy-$i; cp -a /data /d-$i
		done' >/dev/null
	podman exec -d work sh -c 'while :; do find / >/dev/null; done' \
		>/dev/null
	retry 10 podman exec work test -e /busy-20 || fail 'nothing is written'
	podman rm -f -t 0 work >/dev/null
	no_leaks "$STORE"
}

check_many()
{
	local i pids=()

	step 'eight containers at once'
	for i in $(seq 8); do
		podman run --rm layered sh -c "
			set -e
			cp -a /data /copy; rm -r /tree; echo $i >/number
			mv /hard /soft; cat /number; ls /soft | wc -l" \
			>"$T/many.$i" &
		pids+=($!)
	done
	for i in $(seq 8); do
		wait "${pids[i - 1]}" || fail "container $i"
		eq "container $i" "$i 4" "$(paste -sd' ' "$T/many.$i")"
	done
}

check_overlay_volume()
{
	step 'a directory as overlay volume (:O)'
	as mkdir -p "$T/pub/vol/sub"
	as sh -c 'echo lower >"$0/vol/file"; echo x >"$0/vol/sub/x"' "$T/pub"
	eq 'overlay volume' 'lower new fuse' "$(podman run --rm \
		-v "$T/pub/vol:/vol:O" small sh -c '
			set -e
			cat /vol/file
			echo new >/vol/file; rm -r /vol/sub; cat /vol/file
			grep -q " /vol fuse" /proc/mounts && echo fuse ||
				echo "$(grep /vol /proc/mounts)"' |
		paste -sd' ' | sed 's/overlay .*/fuse/')"
	eq 'its source' 'lower x' "$(cat "$T/pub/vol/file" "$T/pub/vol/sub/x" |
		paste -sd' ')"
	# a lower that lives: another container sees what changed meanwhile
	as sh -c 'echo lower again >"$0"' "$T/pub/vol/file"
	eq 'overlay volume, changed' 'lower again' "$(podman run --rm \
		-v "$T/pub/vol:/vol:O" small cat /vol/file)"
	as rm -rf "$T/pub/vol"
}

run_podman()
{
	NEW=$(date +%s)
	mkdir -p "$T/pub"
	chmod 1777 "$T/pub"
	make_images
	"$use"
	check_info
	check_load
	check_run
	check_commit
	check_cp
	check_restart
	check_remove
	check_many
	check_overlay_volume
	check_mapping
	step 'the end'
	podman_end
}
