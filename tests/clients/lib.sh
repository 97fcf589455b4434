# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What every test of a real client shares. A test sources this file and calls
# client_env first:
#
#	. "$(dirname "$0")/lib.sh"
#	need podman crun
#	client_env "$@"
#
# client_env starts the test again in a mount and a PID namespace of its own.
# There /run and /dev/shm are private, and $T (/run/t, the test's scratch
# directory, on the disk that TESTTMP is on) can be reached by every user;
# /dev/fuse is open to every user; cgroups are version 2 alone; $PLYFS is a
# copy that every user can read, and that no other test runs, so that a daemon
# left behind is found by its /proc/PID/exe. Nothing outside of TESTTMP changes
# but the cache of images and the test user, and when the namespace ends every
# process and mount in it ends as well.

set -euo pipefail
export LC_ALL=C.UTF-8

CLIENTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
IMAGES=$CLIENTS/../images
T=/run/t
RUN=(env) INSIDE=() ROOTLESS=
: "${TEST_USER:=plyfs-test}"

# skip REASON: end the test as skipped.
skip()
{
	echo "skipped: $*"
	exit 77
}

# fail MESSAGE: end the test as failed.
fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

# step TITLE: say what is tested now.
step()
{
	printf '== %s (%ss)\n' "$*" "$SECONDS"
}

# need PROGRAM...: a missing program skips the test, except in CI, whose own
# scripts are to install every one of them.
need()
{
	local prog

	for prog; do
		command -v "$prog" >/dev/null && continue
		[ "${CI:-}" = true ] && fail "$prog is not installed"
		skip "$prog is not installed"
	done
}

# eq WHAT EXPECTED ACTUAL: fail unless the two strings are equal.
eq()
{
	[ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

# same_file WHAT A B: fail unless two files are equal; shows the difference.
same_file()
{
	diff -u "$2" "$3" >"$T/same_file.diff" && return
	head -n 60 "$T/same_file.diff" >&2
	fail "$1: $2 and $3 differ"
}

# retry SECONDS COMMAND...: run the command until it succeeds or time is up.
retry()
{
	local until=$((SECONDS + $1))

	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.1
	done
}

# tree_list DIR [FIND-EXPRESSION...]: everything that a program can see of a
# tree, one line per name, sorted: type, mode, owner, size and links (not of
# directories), time of change ("new" when not before $NEW, seconds), the first
# name of the same inode, link target, device numbers, digests, xattrs, ACLs.
# Two trees are the same when their lists are. With NONLINK=1 the number of
# links is left out: what it is while only some of the names are visible
# differs between a union and a copy.
tree_list()
{
	(
		cd "$1"
		shift
		find . -xdev "$@" -printf \
			'%p\t%y\t%m\t%U:%G\t%s\t%n\t%T@\t%i\t%l\n' | sort |
		awk -F'\t' -v OFS='\t' -v new="${NEW:-0}" \
		    -v nonlink="${NONLINK:-0}" '
		{
			if ($2 == "d") { $5 = "-"; $6 = "-" }
			if (nonlink) $6 = "-"
			if (new > 0 && $7 >= new) $7 = "new"
			if (!($8 in first)) first[$8] = $1
			$8 = "inode:" first[$8]
			print
		}'
		find . -xdev "$@" \( -type b -o -type c \) -print0 | sort -z |
			xargs -0r stat -c 'device %n %t:%T'
		find . -xdev "$@" -type f -print0 | sort -z |
			xargs -0r sha256sum
		find . -xdev "$@" \( -type f -o -type d \) -print0 | sort -z |
			xargs -0r getfattr -h -d -m - -e hex --
	) 2>&1
}

# same_tree WHAT A B: fail unless two directories hold the same tree.
same_tree()
{
	tree_list "$2" >"$T/tree.a"
	tree_list "$3" >"$T/tree.b"
	same_file "$1" "$T/tree.a" "$T/tree.b"
}

# plyfs_pids [PATH]: daemons that run the test's copy of the program, with
# PATH in their arguments.
plyfs_pids()
{
	local dir

	for dir in /proc/[0-9]*; do
		if [ "$(readlink "$dir/exe" || :)" = "$PLYFS" ] &&
		   grep -qsF -e "${1:-}" "$dir/cmdline"; then
			echo "${dir#/proc/}"
		fi
	done 2>/dev/null
}

# fuse_mounts PATH: FUSE mounts below PATH in any mount namespace of ours.
fuse_mounts()
{
	cat /proc/[0-9]*/mountinfo 2>/dev/null |
		awk -v t="$1/" 'index($5, t) == 1 && / - fuse/ { print $5 }' |
		sort -u
}

no_daemon()
{
	[ -z "$(plyfs_pids "$1")" ]
}

# no_leaks [PATH]: fail when a daemon or a mount on PATH (default: anywhere)
# is left; a daemon may take a moment to end after its unmount (MNT_DETACH).
no_leaks()
{
	local path=${1:-$T} pids

	retry 10 no_daemon "${1:-}" || {
		pids=$(plyfs_pids "${1:-}" | paste -sd,)
		ps -o pid,ppid,stat,args -p "$pids" >&2 || :
		fuse_mounts "$path" >&2
		fail "daemons are left: $pids"
	}
	eq 'mounts left' '' "$(fuse_mounts "$path")"
}

# union LOWERS NAME [OPTIONS]: mounts plyfs at $T/NAME/mnt over the lowers
# (colon-separated, top first), with upper and work directories beside it.
union()
{
	mkdir -p "$T/$2"/{upper,work,mnt}
	"$PLYFS" -o "lowerdir=$1,upperdir=$T/$2/upper,workdir=$T/$2/work${3:+,$3}" \
		"$T/$2/mnt" || fail "mount of $2: $?"
	mountpoint -q "$T/$2/mnt" || fail "$2 is not mounted"
}

# union_end NAME: unmounts it, and its daemon must end.
union_end()
{
	umount "$T/$1/mnt"
	no_leaks
}

# make_user: the unprivileged user that rootless tests run as, with
# subordinate ids. It stays on the machine.
make_user()
{
	local home=/nonexistent

	if ! getent passwd "$TEST_USER" >/dev/null; then
		useradd --system --no-create-home --home-dir "$home" \
			--shell /bin/sh "$TEST_USER"
	fi
	# useradd gives no sub-ids to system users
	grep -q "^$TEST_USER:" /etc/subuid 2>/dev/null ||
		usermod --add-subuids 2000000-2065535 "$TEST_USER"
	grep -q "^$TEST_USER:" /etc/subgid 2>/dev/null ||
		usermod --add-subgids 2000000-2065535 "$TEST_USER"
}

# hard LETTER: a hard limit of ours in the form of containers.conf; to ask for
# more takes a capability that a test machine may lack.
hard()
{
	local limit

	limit=$(ulimit -H -"$1")
	[ "$1" != l ] || [ "$limit" = unlimited ] || limit=$((limit * 1024))
	[ "$limit" != unlimited ] || limit=-1
	echo "$limit:$limit"
}

# write_conf DIR GRAPHROOT RUNROOT DRIVER: configuration of podman and buildah
# with all state in the given places; the driver is overlay, then $PLYFS is
# its mount program, or vfs, which needs no union and serves for comparison.
write_conf()
{
	mkdir -p "$1" "$2" "$3"
	cat >"$1/storage.conf" <<-END
	[storage]
	driver = "$4"
	graphroot = "$2"
	runroot = "$3"
	rootless_storage_path = "$2"
	END
	[ "$4" != overlay ] || cat >>"$1/storage.conf" <<-END
	[storage.options.overlay]
	mount_program = "$PLYFS"
	END
	cat >"$1/containers.conf" <<-END
	[containers]
	cgroups = "disabled"
	netns = "host"
	log_driver = "k8s-file"
	default_ulimits = ["nofile=$(hard n)", "nproc=$(hard u)"]
	[engine]
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	runtime = "crun"
	tmp_dir = "$3/libpod"
	END
	! command -v /usr/lib/podman/netavark >/dev/null ||
		printf '[network]\nnetwork_backend = "netavark"\n' \
			>>"$1/containers.conf"
}

# use_root [STORE] [DRIVER]: podman, buildah and "as" work as root from here
# on, with the store of that name (default: store, overlay by $PLYFS).
use_root()
{
	local store=${1:-store} conf=$T/root/conf-${1:-store}

	mkdir -p "$T/root/tmp"
	write_conf "$conf" "$T/root/$store" "/run/root-$store" "${2:-overlay}"
	RUN=(env "HOME=$T/root" "TMPDIR=$T/root/tmp"
	     "CONTAINERS_CONF=$conf/containers.conf"
	     "CONTAINERS_STORAGE_CONF=$conf/storage.conf")
	INSIDE=()
	ROOTLESS=
	STORE=$T/root/$store
}

# use_rootless [STORE] [DRIVER]: the same as the test user.
use_rootless()
{
	local uid gid home=$T/home run conf store=${1:-store}

	make_user
	uid=$(id -u "$TEST_USER")
	gid=$(id -g "$TEST_USER")
	conf=$home/conf-$store
	# a user's runroot is always in XDG_RUNTIME_DIR, and no two stores may
	# share one: it counts the mounts of their layers
	run=/run/user/$uid-$store
	mkdir -p "$home/tmp"
	write_conf "$conf" "$home/$store" "$run" "${2:-overlay}"
	chown "$uid:$gid" "$run" "$home" "$home/tmp" "$home/$store" "$conf"
	chmod 700 "$run"
	RUN=(setpriv "--reuid=$uid" "--regid=$gid" --init-groups
	     env -i "HOME=$home" "USER=$TEST_USER" "TMPDIR=$home/tmp"
	     "PATH=$PATH" "LC_ALL=$LC_ALL" "XDG_RUNTIME_DIR=$run"
	     "CONTAINERS_CONF=$conf/containers.conf"
	     "CONTAINERS_STORAGE_CONF=$conf/storage.conf")
	INSIDE=(podman unshare)
	ROOTLESS=1
	STORE=$home/$store
	cd "$home"
}

# as COMMAND...: run a command as whoever use_root or use_rootless chose.
as()
{
	"${RUN[@]}" "$@"
}

# inside COMMAND...: the same, and where the store's mounts can be seen.
inside()
{
	"${RUN[@]}" "${INSIDE[@]}" "$@"
}

podman()
{
	"${RUN[@]}" podman "$@"
}

buildah()
{
	"${RUN[@]}" buildah "$@"
}

# image_tree IMAGE, container_tree CONTAINER: the tree_list of what it holds,
# without its top, whose mode and time are the store's, not the image's.
image_tree()
{
	inside env "NEW=${NEW:-0}" NONLINK=1 bash -c '. /run/bin/lib.sh
		tree_list "$(podman image mount "$1")" -mindepth 1
		podman image umount "$1" >/dev/null' - "$1"
}

container_tree()
{
	inside env "NEW=${NEW:-0}" NONLINK=1 bash -c '. /run/bin/lib.sh
		tree_list "$(podman mount "$1")" -mindepth 1
		podman umount "$1" >/dev/null' - "$1"
}

# settled LIST...: take out of lists what podman puts into a container by
# itself while it runs, and fractions of seconds, which its commits lose.
settled()
{
	sed -i -E -e 's/\t(-?[0-9]+)\.[0-9]{10}\t/\t\1\t/' \
		-e '/^[^\t]*\.\/(proc|sys|dev|run|etc)(\/|\t|$)/d' "$@"
}

# store_end: remove what is in the store, end its pause process, and see that
# no daemon of it is left.
store_end()
{
	podman rm -f -a -t 0 >/dev/null
	podman rmi -f -a >/dev/null
	[ -z "$ROOTLESS" ] || podman system migrate
	no_leaks "$STORE"
}

# podman_end: the same at the end of a test, for any store.
podman_end()
{
	store_end
	no_leaks
}

# client_env ARGUMENTS-OF-THE-TEST: see the top of this file.
client_env()
{
	if [ -z "${PLYFS_CLIENT_NS:-}" ]; then
		[ "$(id -u)" = 0 ] || skip 'needs root'
		[ -x "${PLYFS:-}" ] || fail "PLYFS ('${PLYFS:-}') is no program"
		[ -d "${TESTTMP:-}" ] || fail "TESTTMP is no directory"
		# private: nothing of ours reaches the caller's mounts
		PLYFS_CLIENT_NS=1 exec unshare --mount --pid --fork \
			--kill-child --mount-proc --propagation private \
			"$0" "$@"
	fi
	umask 022
	local resolv cache=${PLYFS_TEST_CACHE:-/var/cache/plyfs-tests}

	resolv=$(cat /etc/resolv.conf)
	mkdir -p "$cache"
	exec 8<"$cache" 9<"$TESTTMP"
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/t /run/cache /run/lock /run/user
	mount --bind /proc/self/fd/9 /run/t
	mount --bind /proc/self/fd/8 /run/cache
	exec 8<&- 9<&-
	export PLYFS_TEST_CACHE=/run/cache
	chmod 755 /run/t
	case $(readlink -f /etc/resolv.conf) in
	/run/*)
		mkdir -p "$(dirname "$(readlink -f /etc/resolv.conf)")"
		printf '%s\n' "$resolv" >"$(readlink -f /etc/resolv.conf)" ;;
	esac
	# podman keeps its locks there, by user, for stores of every place
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	mknod -m 666 /run/fuse c 10 229
	mount --bind /run/fuse /dev/fuse
	if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
		umount -R /sys/fs/cgroup
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
	fi
	# containers want their mounts to propagate, within this namespace
	mount --make-rshared /
	mkdir -p /run/bin
	cp --preserve=mode "$PLYFS" /run/bin/plyfs
	cp "$CLIENTS/lib.sh" /run/bin/lib.sh
	chmod 755 /run/bin/plyfs /run/bin/lib.sh
	export PLYFS=/run/bin/plyfs
	cd "$T"
}
