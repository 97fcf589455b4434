# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Completion of plyctl for bash: commands and options from its own help.

_plyctl_commands()
{
	"${1:-plyctl}" help 2>/dev/null | sed -n 's/^  \([a-z]\+\( [a-z]\+\)\{0,1\}\)  .*/\1/p'
}

_plyctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local program=${COMP_WORDS[0]} command i words all

	# readline cuts at ":" (oci:DIR): paths after it are completed alone
	all=$(_plyctl_commands "$program")
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -* ]] && continue
		command=${COMP_WORDS[i]}
		[[ $command == help ]] && continue
		words=$(sed -n "s/^$command \([a-z]*\)$/\1/p" <<<"$all")
		if [ -n "$words" ] && ((i + 1 == COMP_CWORD)) && [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; compgen -f -- "$cur")
			return 0
		fi
		if [ -n "$words" ] && grep -qx "$command ${COMP_WORDS[i + 1]}" <<<"$all"; then
			command="$command ${COMP_WORDS[i + 1]}"
		fi
		break
	done
	if [ -z "${command:-}" ] || [ "$command" = help ]; then
		words="help --version --help $(sed 's/ .*//' <<<"$all" | sort -u)"
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return 0
	fi
	if [[ $cur == -* ]]; then
		# shellcheck disable=SC2086
		words=$("$program" help $command 2>/dev/null |
			sed -n 's/^  \(-., \|    \)\(--[a-z0-9-]*\).*/\2/p')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return 0
	fi
	case $prev in
	--platform)
		mapfile -t COMPREPLY < <(compgen -W 'linux/amd64 linux/arm64 linux/arm/v7
			linux/386 linux/ppc64le linux/s390x linux/riscv64' -- "$cur")
		return 0
		;;
	esac
	[ "$cur" != : ] || cur=
	mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	if [[ $prev != : && $cur != */* ]]; then
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W 'oci: oci-archive:
			docker-archive: containers-storage:' -- "$cur")
	fi
	compopt -o filenames -o nospace 2>/dev/null
	return 0
}
complete -F _plyctl plyctl
