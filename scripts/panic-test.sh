#!/bin/bash
# Reads the reports of deliberate panics: the right functions, on any core, in an interrupt, on a task's own stack; every other core
# stopped and shown.
#
#     scripts/panic-test.sh [CORES [IMAGE]]
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cores=${1:-4} image=${2:-$top/target/Image}
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deep=(fifth fourth third second first)

# in_order TEXT...: the report has lines with these texts, in this order.
in_order() {
    printf '%s\n' "$@" | awk 'NR == FNR { text[++n] = $0; next } i < n && index($0, text[i + 1]) { i++ } END { exit i < n }' - "$work/log"
}

# expect TEST CORE WORD...: the test ends in a panic on CORE; its report has the words, and something of each other core.
expect() {
    local name=$1 core=$2 status=0 bad='' other
    shift 2
    "$top/qemu-runner.sh" --kernel "$image" --initrd none --smp "$cores" --icount 42 --timeout 60 --log "$work/log" --selftest "panics::$name" \
        >/dev/null 2>&1 </dev/null || status=$?
    [ "$status" = 121 ] || bad="status $status"
    in_order "KERNEL PANIC on core $core" || bad+=", no panic on core $core"
    in_order "$@" || bad+=", not in this order: $*"
    for ((other = 0; other < cores; other++)); do
        [ "$other" = "$core" ] || in_order "core $other was in" "task::executor::" || bad+=", core $other is not shown"
    done
    if [ -z "$bad" ]; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: ${bad#, }"
        tail -n 60 "$work/log"
    fi
}

last=$((cores - 1))
expect on_the_first_core 0 deliberate "${deep[@]/#/panics::}" executor::run
expect on_the_last_core "$last" deliberate "${deep[@]/#/panics::}" executor::run
expect in_an_interrupt 0 deliberate "${deep[@]/#/panics::}" interrupts::handle kernel_interrupt
expect on_a_stack_of_its_own "$last" deliberate panics "${deep[@]/#/panics::}" stackful::run
expect of_an_endless_recursion "$last" overflow overflowing panics::endless panics::endless

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
