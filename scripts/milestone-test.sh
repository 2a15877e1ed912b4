#!/bin/bash
# Boots and sees to it that every milestone of the boot is said, once, in its order, and that nothing else is said in their place.
#
#     scripts/milestone-test.sh [IMAGE]...      # default target/Image
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
milestones=(Memory Cores RootFileSystem Time Messages KernelThreads WorkQueues GracePeriods FirstProcess)

[ $# -gt 0 ] || set -- "$top/target/Image"
for image in "$@"; do
    for cores in 1 4; do
        name="$(basename "$image") on $cores"
        # The words at the end count: what the boot says goes to the serial line although a command is run.
        "$top/qemu-runner.sh" --kernel "$image" --initrd none --smp "$cores" --icount 42 --timeout 60 --append loglevel=7 \
            --log "$work/log" --selftest tasks::waking_a_finished_task_does_nothing >"$work/output" 2>&1 </dev/null
        status=$?
        said=$(tr -d '\r' <"$work/log" | sed -n 's/.*boot: \([A-Za-z]*\)$/\1/p' | paste -sd' ')
        if [ "$status" = 0 ] && [ "$said" = "${milestones[*]}" ]; then
            passed=$((passed + 1))
            echo "ok $name"
        else
            failed=$((failed + 1))
            echo "FAILED $name: status $status; the boot said: $said"
            tail -n 20 "$work/output"
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
