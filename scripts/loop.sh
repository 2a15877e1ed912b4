#!/bin/bash
# Boots COUNT times in a row on N cores, each time with the whole usertest, in deterministic mode with another seed
# each time or, with --threads, on host threads. Stops at nothing; the log of a failure stays in target/loop/.
#
#     scripts/loop.sh COUNT [N] [--threads] [--seed FIRST] [--kernel FILE|linux]
#
# A failure in deterministic mode is repeated exactly by the command that is printed with it.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
count=${1:?how many boots?}
cores=${2:-4}
shift; [ $# -eq 0 ] || shift
first=1 threads='' options=()
while [ $# -gt 0 ]; do
    case $1 in
        --threads) threads=1; shift ;;
        --seed) first=$2; shift 2 ;;
        *) options+=("$1"); shift ;;
    esac
done

logs=$top/target/loop
mkdir -p "$logs"
passed=0 failed=0
for ((seed = first; seed < first + count; seed++)); do
    mode=(--icount "$seed")
    [ -z "$threads" ] || mode=(--tcg multi)
    name=$logs/$cores-cores-seed-$seed
    run=("$top/qemu-runner.sh" --smp "$cores" "${mode[@]}" "${options[@]}" --timeout 1200 --exec usertest)
    if "${run[@]}" --log "$name.serial" >"$name.out" 2>"$name.err" && grep -q ' passed, 0 failed$' "$name.out"; then
        passed=$((passed + 1))
        rm -f "$name".*
    else
        status=$?
        failed=$((failed + 1))
        echo "boot $seed failed with status $status: $(tail -n 1 "$name.err")"
        grep '^FAILED' "$name.out" | sed 's/^/    /'
        echo "    logs: $name.*"
        printf '    again: '; printf '%q ' "${run[@]}"; echo
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
