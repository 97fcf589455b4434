# SPDX-License-Identifier: Apache-2.0
#
# Completion of plyctl for fish: commands and options from its own help.

function __plyctl_commands
    plyctl help 2>/dev/null | string match -r '^  [a-z]+(?: [a-z]+)?  .*' |
        string replace -r '^  ([a-z]+)(?: [a-z]+)? +(.*)$' '$1\t$2'
end

function __plyctl_command
    set -l words (commandline -opc | string match -v -- '-*')
    if test (count $words) -ge 3
        and plyctl help 2>/dev/null | string match -qr "^  $words[2] $words[3]  "
        echo $words[2] $words[3]
    else if test (count $words) -ge 2
        echo $words[2]
    end
end

function __plyctl_options
    set -l command (__plyctl_command | string split ' ')
    test -n "$command"; or return
    plyctl help $command 2>/dev/null | string match -r '^  (?:-., |    )--.*' |
        string replace -r '^  (?:-., |    )(--[a-z0-9-]+)(?: \S+)? *(.*)$' '$1\t$2'
end

function __plyctl_needs_command
    test -z (__plyctl_command | string collect)
end

complete -c plyctl -f -n __plyctl_needs_command -a '(__plyctl_commands) help\t"Show help"'
complete -c plyctl -n 'not __plyctl_needs_command' -a '(commandline -ct | string match -q -- "-*"; and __plyctl_options)'
complete -c plyctl -n 'not __plyctl_needs_command' -F
