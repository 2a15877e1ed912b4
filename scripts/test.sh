#!/bin/bash
# Runs the tests and counts them; the last line is "N passed, N failed".
#
#     scripts/test.sh                  # everything: what `just test` runs
#     scripts/test.sh clippy           # lints only
#     scripts/test.sh host [FILTER]    # the tests of libkernel on this machine
#     scripts/test.sh deep CASES       # the scheduler's properties with so many random cases
#     scripts/test.sh loom [FILTER]    # libkernel's models, all orders of events
#     scripts/test.sh miri [FILTER]... # libkernel's tests under Miri (default: what uses unsafe code)
#     scripts/test.sh guest [N]...     # self-tests, usertest and the boot test on N cores (default 1 2 4 8)
#     scripts/test.sh checked          # the same on 4 cores with the lock checker and the debug assertions
#
# Every step's output is in target/test/. A step that ends badly without having counted a failure counts as one.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
. scripts/toolchain.sh
logs=$top/target/test
rm -rf "$logs"
mkdir -p "$logs"
passed=0 failed=0
# Of the deterministic runs; another one gives other interleavings.
SEED=${SEED:-42}

# Adds up "N passed, N failed" (usertest, the boot test) and "N passed; N failed" (cargo) of a log.
counts() {
    awk '/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3 }
         /^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } }
         END { print p + 0, f + 0 }' "$1"
}

# step NAME COMMAND...: a step that counts its own tests, or else is one test.
step() {
    local name=$1 log=$logs/$1.log status=0 good bad began=$SECONDS
    shift
    "$@" >"$log" 2>&1 </dev/null || status=$?
    read -r good bad < <(counts "$log")
    if [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        bad=1
    elif [ "$status" = 0 ] && [ $((good + bad)) = 0 ]; then
        good=1
    fi
    passed=$((passed + good)) failed=$((failed + bad))
    if [ "$bad" = 0 ]; then
        echo "ok      $name: $good passed ($((SECONDS - began)) s)"
    else
        echo "FAILED  $name: $good passed, $bad failed, status $status ($((SECONDS - began)) s); $log ends:"
        grep -E '^(FAILED|error|test .* FAILED|---- )' "$log" | head -n 20 | sed 's/^/    /'
        tail -n 25 "$log" | sed 's/^/    | /'
    fi
}

lints() {
    if ! cargo clippy --version >/dev/null 2>&1; then
        echo "skipped clippy: this toolchain has none"
        return
    fi
    step clippy-kernel cargo clippy -q -p lichen --release --target "$KERNEL_TARGET" -- -D warnings
    step clippy-libkernel cargo clippy -q -p libkernel --all-targets -- -D warnings
    step clippy-usertest cargo clippy -q -p usertest --target "$USERTEST_TARGET" -- -D warnings
}

host() {
    step host-tests cargo test -q -p libkernel -- "$@"
}

# Optimised, but with overflow checks; two sizes smaller where a case is a whole simulation.
deep() {
    export CARGO_PROFILE_TEST_OPT_LEVEL=3 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/deep
    PROPTEST_CASES=$1 step deep-properties cargo test -q -p libkernel -- sched::tests::differential sched::tests::fluid::o2
    PROPTEST_CASES=$(($1 / 100 + 1)) step deep-bounds cargo test -q -p libkernel -- sched::tests::properties sched::tests::scenarios sched::tests::fluid::p2
    SHADOW_EVENTS=10000000 EXHAUSTIVE_DEPTH=6 SIMULATION_SEEDS=2000 \
        step deep-sequences cargo test -q -p libkernel -- sched::tests::shadow sched::tests::exhaustive sched::tests::simulation
}

loom() {
    step loom cargo test -q -p libkernel-models --release -- "$@"
}

# Needs the nightly toolchain with Miri. A task that a test leaves parked holds itself through its waker: not a leak.
miri() {
    [ $# -gt 0 ] || set -- sync:: task:: message:: rcu:: time:: memory::slab io::
    MIRIFLAGS="-Zmiri-ignore-leaks -Zmiri-disable-isolation" CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri \
        step miri cargo +nightly miri test -q -p libkernel --lib -- "$@"
}

# The kernel on $1 cores: its tests of itself, the whole usertest, then typing at the shell.
guest() {
    # In the deterministic mode what a test says about time holds however busy this machine is, and a failure repeats exactly.
    step "selftest-$1" ./qemu-runner.sh --smp "$1" --icount "$SEED" --timeout 600 --selftest all
    step "usertest-$1" ./qemu-runner.sh --smp "$1" --icount "$SEED" --timeout 900 --exec usertest
    step "boot-$1" scripts/boot-test.py --smp "$1" --patience 2
}

# On 4 cores with lock checker, debug assertions and overflow checks.
checked() {
    step build-checked scripts/build.sh dev target/Image-checked
    step milestones-checked scripts/milestone-test.sh target/Image-checked
    step log-checked scripts/log-test.sh
    step selftest-checked ./qemu-runner.sh --kernel target/Image-checked --icount "$SEED" --timeout 900 --selftest all
    step usertest-checked ./qemu-runner.sh --kernel target/Image-checked --icount "$SEED" --timeout 1200 --exec usertest
}

case ${1:-all} in
    clippy) lints ;;
    host) shift; host "$@" ;;
    deep) deep "${2:?how many cases?}" ;;
    loom) shift; loom "$@" ;;
    miri) shift; miri "$@" ;;
    checked) checked ;;
    guest)
        shift
        [ $# -gt 0 ] || set -- 1 2 4 8
        for n in "$@"; do guest "$n"; done
        ;;
    all)
        step format cargo fmt --all --check
        lints
        host
        # Two preemptions show nearly every race; `just loom` sets no limit and takes minutes.
        LOOM_MAX_PREEMPTIONS=2 loom
        step build scripts/build.sh release
        step offline scripts/offline-test.sh
        step runner scripts/runner-test.sh
        step machines scripts/machines-test.sh
        step milestones scripts/milestone-test.sh
        step panics scripts/panic-test.sh
        step bad-input scripts/bad-input-test.sh
        step log scripts/log-test.sh
        step smp-cost scripts/smp-cost-test.sh
        step bench-tables python3 scripts/bench/tests.py
        step bench-rows python3 scripts/bench --smoke
        step build-gdb scripts/build.sh gdb target/Image-gdb
        step gdb scripts/gdb-test.sh
        for n in 1 2 4 8; do guest "$n"; done
        checked
        ;;
    *) sed -n '4,11p' "$0" >&2; exit 2 ;;
esac
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
