#!/bin/bash
# Several cores cost a single one nothing: the same work, bound to one core, takes the same number of instructions, all cores counted, on
# 4 cores as on 1, within 3 %.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
rows="getppid sched-yield pipe-same-core futex-same-core signal-self anonymous-fault"
passed=0 failed=0

measure() {
    "$top/qemu-runner.sh" --smp "$1" --icount 42 --timeout 120 --exec "usertest bench $rows --n 2000" </dev/null
}

one=$(measure 1) && four=$(measure 4) || { echo "FAILED: the benchmark does not run"; echo "0 passed, 1 failed"; exit 1; }
for row in $rows; do
    result=$(awk -v row="$row" '$1 == row { value[++n] = $2 } END {
        if (n != 2) { print "is not in both runs"; exit }
        change = (value[2] / value[1] - 1) * 100
        printf "%s: %.0f on 1 core, %.0f on 4, %+.1f %%", change <= 3 ? "ok" : "too much", value[1], value[2], change
    }' <<<"$one
$four")
    case $result in
        ok*) passed=$((passed + 1)) ;;
        *) failed=$((failed + 1)); echo -n "FAILED " ;;
    esac
    echo "$row $result"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
