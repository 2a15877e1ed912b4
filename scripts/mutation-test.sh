#!/bin/bash
# Breaks properties of the kernel on purpose, one after the other, and sees to it that the test which stands for each fails.
#
#     scripts/mutation-test.sh [--only-broken] [NAME]...
#
# A mutation is a patch in scripts/mutations, named after the row of docs/testing.md that it breaks; a NAME (WQ, WQ3, RT12-early) is the
# beginning of one or more of theirs. Above the patch stand what it breaks, and a line with the test that must fail:
#
#     Fails: selftest NAME [N]   the kernel's test of itself, on N cores (default 4)
#     Fails: usertest NAME       a test of usertest; needs target/initramfs.cpio (just build)
#     Fails: panics              scripts/panic-test.sh
#     Fails: milestones          scripts/milestone-test.sh; needs it too
#     Fails: loom FILTER         a model of libkernel/models
#     Fails: host FILTER         a test of libkernel on this machine
#     Fails: doc FILTER          an example in libkernel's documentation
#
# Each is applied to a worktree of its own, of what is committed or staged or changed here, built and tested. First the same tests have to
# pass without any patch; --only-broken leaves that out. A mutation passes if the build succeeds and the test fails; a run
# that hangs or panics fails its test too. Logs are in target/mutations/logs. The last line is "N passed, N failed".
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
. scripts/toolchain.sh
work=${CARGO_TARGET_DIR:-$top/target}/mutations
tree=$work/tree logs=$work/logs image=$work/Image
export CARGO_TARGET_DIR=$work/build
# Fast to build rather than fast; the tests do not mind.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_INCREMENTAL=true
# Two preemptions show every race that is broken here.
export LOOM_MAX_PREEMPTIONS=2
# Seconds for one run of a kernel or a host test.
PATIENCE=90
passed=0 failed=0
rm -rf "$logs"
mkdir -p "$logs"

# The tree as it is here: committed, staged, changed.
prepare() {
    local commit
    commit=$(git stash create)
    commit=${commit:-$(git rev-parse HEAD)}
    git worktree prune
    if [ -e "$tree/.git" ]; then
        git -C "$tree" checkout -q --detach --force "$commit"
    else
        git worktree add -q --detach --force "$tree" "$commit"
    fi
    # Scripts that boot a program look for it where they are.
    mkdir -p "$tree/target"
    ln -sf "$top/target/initramfs.cpio" "$tree/target/initramfs.cpio"
}

kernel() {
    cargo build -q -p lichen --release --target "$KERNEL_TARGET" || return
    local linked=$CARGO_TARGET_DIR/$KERNEL_TARGET/release/lichen
    scripts/symbols.py "$linked" && "$OBJCOPY" -O binary "$linked" "$image"
}

# build KIND: what tests of that kind need.
build() {
    case $1 in
        selftest | usertest | panics | milestones) kernel ;;
        loom) cargo test -q -p libkernel-models --release --no-run ;;
        host) cargo test -q -p libkernel --lib --no-run ;;
        doc) cargo check -q -p libkernel ;;
        *) echo "no such kind of test: $1"; return 1 ;;
    esac
}

# run KIND ARGUMENT...: the test; the status says whether it passed.
run() {
    local kind=$1
    shift
    case $kind in
        selftest)
            "$top/qemu-runner.sh" --kernel "$image" --initrd none --smp "${2:-4}" --icount 42 --timeout "$PATIENCE" --selftest "$1"
            ;;
        usertest)
            "$top/qemu-runner.sh" --kernel "$image" --initrd "$top/target/initramfs.cpio" --icount 42 --timeout "$PATIENCE" \
                --exec "usertest $1"
            ;;
        panics) scripts/panic-test.sh 4 "$image" ;;
        milestones) scripts/milestone-test.sh "$image" ;;
        loom) timeout "$PATIENCE" cargo test -q -p libkernel-models --release -- "$@" ;;
        host) timeout "$PATIENCE" cargo test -q -p libkernel --lib -- "$@" ;;
        doc) cargo test -q -p libkernel --doc -- "$@" ;;
    esac </dev/null
}

# ran LOG: some test ran at all, so that a failure is not a misspelt name.
ran() {
    ! grep -q 'no such test' "$1" && { ! grep -q '^running ' "$1" || grep -Eq '^running [1-9]' "$1"; }
}

tell() {
    if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-7s %s\n' "$1" "$2"
}

# unbroken KIND ARGUMENT...: the test has to pass as things are.
unbroken() {
    local log=$logs/unbroken-$1.log
    if build "$1" >"$log" 2>&1 && run "$@" >>"$log" 2>&1 && ran "$log"; then
        tell ok "unbroken: $*"
    else
        tell FAILED "unbroken: $*: see $log"
    fi
}

# broken PATCH: the test has to fail with it.
broken() {
    local patch=$1 name log test began=$SECONDS
    name=$(basename "$patch" .patch)
    log=$logs/$name.log
    test=$(sed -n 's/^Fails: //p' "$patch")
    # shellcheck disable=SC2086 # words of the test's line
    set -- $test
    if ! git apply "$patch" >"$log" 2>&1; then
        tell FAILED "$name: the patch does not apply: see $log"
        return
    fi
    if ! build "$1" >>"$log" 2>&1; then
        tell FAILED "$name: it does not build: see $log"
    elif run "$@" >>"$log" 2>&1; then
        tell FAILED "$name: $test passes: see $log"
    elif ! ran "$log"; then
        tell FAILED "$name: there is no $test"
    else
        tell ok "$name: $test fails ($((SECONDS - began)) s)"
    fi
    git apply -R "$patch"
}

only_broken=
if [ "${1:-}" = --only-broken ]; then
    only_broken=1
    shift
fi
patches=()
for name in "${@:-}"; do
    patches+=("$top"/scripts/mutations/"$name"*.patch)
done
for patch in "${patches[@]}"; do
    [ -f "$patch" ] || { echo "no such mutation: $patch" >&2; exit 2; }
done
prepare
cd "$tree" || exit 1
if [ -z "$only_broken" ]; then
    for kind in selftest usertest panics milestones loom host doc; do
        mapfile -t tests < <(sed -n "s/^Fails: $kind *//p" "${patches[@]}" | sort -u)
        [ ${#tests[@]} -gt 0 ] || continue
        case $kind in
            # Each with the number of cores that it asks for.
            selftest)
                for cores in $(printf '%s\n' "${tests[@]}" | awk '{ print $2 ? $2 : 4 }' | sort -un); do
                    unbroken selftest "$(printf '%s\n' "${tests[@]}" | awk -v n="$cores" '($2 ? $2 : 4) == n { print $1 }' | paste -sd,)" "$cores"
                done
                ;;
            usertest) unbroken usertest "${tests[*]}" ;;
            panics | milestones) unbroken "$kind" ;;
            *) unbroken "$kind" "${tests[@]}" ;;
        esac
    done
fi
for patch in "${patches[@]}"; do
    broken "$patch"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
