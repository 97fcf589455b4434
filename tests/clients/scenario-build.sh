# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Builds of several RUN steps, with podman and with buildah, as root and as a
# user. Every build is done twice, in a store whose mount program is plyfs and
# in one of the vfs driver, which unites nothing: the images must be the same
# tree, and every one of their layers must hold the same names.

make_context()
{
	"$IMAGES/layer-dirs" "$T/layers"
	"$IMAGES/oci-archive" "$T/layered.oci" layered "$T"/layers/{1,2,3,4}
	mkdir -p "$T/context/src/deep/er" "$T/pub"
	chmod 1777 "$T/pub"
	for i in $(seq 50); do echo "$i" >"$T/context/src/file-$i"; done
	echo deep >"$T/context/src/deep/er/file"
	chmod 750 "$T/context/src/deep"
	ln -s file-1 "$T/context/src/link"
	cat >"$T/context/Containerfile" <<-'END'
	FROM localhost/layered
	RUN rm -r /opaque && mkdir /opaque && echo new >/opaque/new
	RUN rm /data/over /special/dangling /many/entry-*5 && \
	    rm -r /data/dir && echo dir >/data/dir
	RUN mv /tree /moved && mv /moved/a /moved/b && mkdir /tree && \
	    echo tree >/tree/file && \
	    find /moved -exec touch -d @1400000000 {} +
	RUN chmod 640 /ids/readonly && chmod 4711 /ids/plain && \
	    chown 1:2 /data/four && chown -h 3:4 /special/absolute && \
	    chmod 700 /locked
	COPY src /src
	RUN ln /src/file-1 /src/hard-1 && ln /hard/one /src/hard-2 && \
	    echo more >>/src/hard-2 && mv /src/file-2 /src/renamed && \
	    rm -r /src/deep
	RUN mkdir /src/deep && echo again >/src/deep/file && \
	    cp -a /bin /bin2 && rm -r /bin2
	RUN mkfifo /pipe && truncate -s 1M /src/holes && \
	    echo tail >>/src/holes && touch -d @1234567890 /src/file-3
	RUN echo more:x:2000: >>/etc/group && \
	    echo other:x:2000:2000::/home/other:/bin/sh >>/etc/passwd && \
	    mkdir /home/other && chown other:more /home/other && \
	    su other -c 'echo mine >/home/other/mine' && \
	    echo done >>/etc/motd
	USER 1000
	RUN echo user >/home/user/made && ! touch /src/no 2>/dev/null
	USER root
	ENV PLACE=/src
	WORKDIR /src
	CMD cat deep/file
	END
	chmod -R a+rX "$T/context"
	chmod 644 "$T/layered.oci"
}

# layer_lists IMAGE OUT-DIR: saves the image, and lists each of its layers as
# it is in the archive, lowest first, into OUT-DIR/N.
layer_lists()
{
	local i=0 layer

	as rm -f "$T/pub/saved"
	podman save -q --format docker-archive -o "$T/pub/saved" "$1"
	mkdir "$T/saved"
	tar x -C "$T/saved" -f "$T/pub/saved"
	mkdir -p "$2"
	for layer in $(sed 's/.*"Layers":\[\([^]]*\)\].*/\1/; s/[",]/ /g' \
		"$T/saved/manifest.json"); do
		mkdir "$T/unpacked"
		tar x -C "$T/unpacked" --xattrs --xattrs-include='*' \
			--numeric-owner -f "$T/saved/$layer"
		NONLINK=1 tree_list "$T/unpacked" -mindepth 1 >"$2/$((++i))"
		rm -r "$T/unpacked"
	done
	rm -r "$T/saved" "$T/pub/saved"
}

# same_builds STORE-A STORE-B IMAGE: the lists made of two stores are equal.
same_builds()
{
	local file count=0

	same_file "$3: tree" "$T/lists-$1/tree" "$T/lists-$2/tree"
	for file in "$T/lists-$1"/layers/*; do
		same_file "$3: layer ${file##*/}" "$file" \
			"$T/lists-$2/layers/${file##*/}"
		count=$((count + 1))
	done
	eq "$3: layers" "$count" "$(find "$T/lists-$2/layers" -type f | wc -l)"
	[ "$count" -ge 5 ] || fail "only $count layers were compared"
	rm -r "$T/lists-$1" "$T/lists-$2"
}

# both NAME BUILD-COMMAND...: builds image NAME in both stores and compares.
# Of directories' times nothing is kept in a COPY; what is newer than the
# start of the test counts as "new".
both()
{
	local name=$1 store

	shift
	for store in vfs plyfs; do
		step "$name with $store"
		if [ $store = vfs ]; then "$use" vfs vfs; else "$use"; fi
		podman image exists layered ||
			podman load -q -i "$T/layered.oci" >/dev/null
		"$@" >"$T/build.log" 2>&1 || {
			cat "$T/build.log" >&2
			fail "$name does not build with $store"
		}
		mkdir -p "$T/lists-$store"
		image_tree "$name" >"$T/lists-$store/tree"
		layer_lists "$name" "$T/lists-$store/layers"
	done
	same_builds vfs plyfs "$name"
}

build_end()
{
	step 'the end'
	"$use" vfs vfs
	store_end
	"$use"
	podman_end
}
