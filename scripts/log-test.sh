#!/bin/bash
# What the console shows: whole lines, each once, when tasks, interrupts, messages and lock holders of all cores log at once; and in a
# release build no debug line, whose text is not even in the image.
#
#     scripts/log-test.sh [CORES]
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cores=${1:-4}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# judge NAME CONDITION...: CONDITION is a command; its failure is the test's.
judge() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: ${why:-}"
    fi
}

whole() {
    "$top/qemu-runner.sh" --smp "$cores" --timeout 120 --log "$work/serial" --selftest logging::a_storm_of_lines \
        >"$work/out" 2>&1 </dev/null || { why=$(tail -n 3 "$work/out"); return 1; }
    tr -d '\r' <"$work/serial" >"$work/text"
    # 50 of each of five sources on each core; on one core there are no messages.
    local wanted=$((50 * (5 * cores - (cores == 1)))) said good
    said=$(grep -aoE 'storm [a-z]+ [0-9]+ [0-9]+' "$work/text" | wc -l)
    good=$(grep -aE '^\[ *[0-9]+\.[0-9]{6}\] storm [a-z]+ [0-9]+ [0-9]+ ={60}$' "$work/text" | sed 's/.*storm//' | sort -u | wc -l)
    why="$good whole lines of $said, $wanted were logged; the first that is not whole:
$(grep -a storm "$work/text" | grep -avE 'storm [a-z]+ [0-9]+ [0-9]+ ={60}$|storm_of' | head -n 3)"
    [ "$good" = "$wanted" ] && [ "$said" = "$wanted" ]
}

# The text of a debug line that the source has.
text='core-online hook of core'
in_source() {
    why="no log::debug! line says '$text'"
    grep -rq "log::debug!(\"$text" "$top/src"
}
absent() {
    why="'$text' is in the release image"
    ! grep -aq "$text" "$top/target/Image"
}
present() {
    why="'$text' is not in the image with debug lines"
    grep -aq "$text" "$top/target/Image-checked"
}

judge lines-are-whole whole
judge debug-lines-exist in_source
judge a-release-has-none absent
[ ! -e "$top/target/Image-checked" ] || judge a-checked-build-has-them present
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
