# Sourced by tests of the runner and of what boots: runs that are judged by status and whole output, counted.
# shellcheck shell=bash disable=SC2034 # the caller's
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect NAME STATUS OUTPUT RUNNER-ARGUMENTS...: one run with the caller's options as well ("*" for any output).
expect() {
    local name=$1 wanted=$2 output=$3 status=0
    shift 3
    "$top/qemu-runner.sh" "${options[@]}" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    printf '%b' "$output" >"$work/wanted"
    if [ "$status" = "$wanted" ] && { [ "$output" = '*' ] || cmp -s "$work/out" "$work/wanted"; }; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: status $status (expected $wanted), output:"
        head -c 1000 "$work/out"
        tail -n 3 "$work/err"
    fi
}

# Counts; the status is whether nothing failed.
count() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
