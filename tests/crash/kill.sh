#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill.sh NAME OPTIONS: kill -9 of the daemon at random moments of a write
# load, lazy unmount, mount again: every file is its old or its new self,
# nothing else is there, what was fsynced is there. In the end the workdir is
# empty but for the hard link index.
#
# CRASH_ROUNDS: how often (default 12). CRASH_SEED.
. "$SRCDIR/tests/diff/lib.sh"
in_namespace "$0" "$@"
make_fs ext4
mode=$1 opts=$2
rounds=${CRASH_ROUNDS:-12}
seed=${CRASH_SEED:-$(date +%s)}
crash=$BUILD/tests/crash/crash
case $mode in writeback) CRASH_LAX=1; export CRASH_LAX ;; esac

cd "$FS"
mkdir l u work ledgers mnt
"$crash" make l 4

# In the foreground, so that its pid is known
start() {
	"$PLYFS" -f -o "lowerdir=$FS/l,upperdir=$FS/u,workdir=$FS/work,$opts,$TRANSPORT" \
		"$FS/mnt" >>"$FS/log" 2>&1 &
	daemon=$!
	n=0
	until mountpoint -q "$FS/mnt"; do
		n=$((n + 1))
		if [ $n -gt 300 ] || ! kill -0 $daemon 2>/dev/null; then
			echo "no mount (seed $seed, round $i):"
			tail -5 "$FS/log"
			exit 1
		fi
		sleep 0.03
	done
}

check() {
	"$crash" check mnt 4 ledgers || {
		echo "seed $seed, round $i"
		exit 1
	}
}

rounds_of_kills() {
	i=0
	while [ $i -lt "$rounds" ]; do
		i=$((i + 1))
		start
		check
		"$crash" run mnt 4 ledgers $((seed + i)) &
		load=$!
		# 0.02 to 1.0 s; the early ones hit the first copy-ups
		sleep "$(awk -v s=$((seed + i)) 'BEGIN { srand(s); r = rand();
			printf "%.3f", 0.02 + r * r }')"
		kill -9 $daemon
		wait $daemon || :
		wait $load || { echo "the load failed, seed $seed, round $i"; exit 1; }
		umount -l mnt
	done
	start
	check
	umount mnt
	wait $daemon
	left=$(find work -mindepth 1 -path '*/index' -prune -o ! -type d -print)
	[ -z "$left" ] || { echo "left in the workdir: $left"; exit 1; }
}

for_transports rounds_of_kills
