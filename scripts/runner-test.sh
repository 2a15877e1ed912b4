#!/bin/bash
# Tests the runner's exit statuses and its framing of a command's output.
#
#     scripts/runner-test.sh [RUNNER OPTION]...      # for instance --kernel linux
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
options=(--smp 2 "$@")
. "$top/scripts/expect.sh"

expect output-and-status 7 'one\ntwo\n' --exec 'echo one; echo two >&2; exit 7'
expect no-newline-at-the-end 0 'a' --exec 'printf a'
expect empty-output 0 '' --exec 'true'
expect bytes-as-they-are 0 'a\r\n\tb\377\n' --exec 'printf "a\r\n\tb\377\n"'
expect quoting 0 "it's \"q\"\n" --exec 'echo "it'\''s \"q\""'
expect a-long-command 0 '4000\n' --exec "word=$(printf 'x%.0s' {1..4000}); echo \${#word}"
expect standard-input-is-empty 0 '0\n' --exec 'cat | wc -c'
expect killed-by-a-signal 137 '*' --exec 'kill -9 $$'
expect login-shell 0 'root /root\n' --exec 'echo $USER $HOME'
expect a-hang 124 '*' --timeout 20 --exec 'sleep 1000'
expect power-off-behind-the-back 122 '*' --exec 'poweroff -f'
expect qemu-fails 125 '*' --cpu no-such-cpu --exec 'true'
expect wrong-usage 120 '*' --no-such-option
expect exec-and-selftest 120 '*' --exec 'true' --selftest all
expect no-such-file 120 '*' --initrd /nonexistent --exec 'true'
expect panic 121 '' --append 'rdinit=/bin/true' --exec 'true' --timeout 60
# What follows the seed belongs to the run: the same again is the same run.
for mode in "--icount 7" "--icount 7 --shift 2 --turns 50"; do
    read -ra deterministic <<<"$mode"
    "$top/qemu-runner.sh" "${options[@]}" "${deterministic[@]}" --exec 'cat /proc/uptime; date +%N' >"$work/first" 2>/dev/null </dev/null
    expect "same-run-again ($mode)" 0 "$(cat "$work/first")\n" "${deterministic[@]}" --exec 'cat /proc/uptime; date +%N'
done
expect turns-without-icount 120 '*' --turns 50 --exec 'true'
count
