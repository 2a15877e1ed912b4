#!/bin/bash
# Boots and sees to it that every milestone of the boot is said, once, in its order, and that nothing else is said in their place. The last one
# takes a first process, which runs with an initramfs only.
#
#     scripts/milestone-test.sh [IMAGE]...      # default target/Image
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Boots $image on $cores cores with the given options, which end it; the boot has to say the $milestones and no more.
boot() {
    local name said status
    name="$(basename "$image") on $cores"
    # The words at the end count: what the boot says goes to the serial line although a command is run.
    "$top/qemu-runner.sh" --kernel "$image" --smp "$cores" --icount 42 --timeout 100 --append loglevel=7 --log "$work/log" "$@" \
        >"$work/output" 2>&1 </dev/null
    status=$?
    said=$(tr -d '\r' <"$work/log" | sed -n 's/.*boot: \([A-Za-z]*\)$/\1/p' | paste -sd' ')
    if [ "$status" = 0 ] && [ "$said" = "$milestones" ]; then
        passed=$((passed + 1))
        echo "ok $name, $1 $2"
    else
        failed=$((failed + 1))
        echo "FAILED $name, $1 $2: status $status; the boot said: $said"
        tail -n 20 "$work/output"
    fi
}

[ $# -gt 0 ] || set -- "$top/target/Image"
for image in "$@"; do
    for cores in 1 4; do
        milestones="Memory Cores RootFileSystem Time Messages KernelThreads WorkQueues GracePeriods FirstProcess"
        boot --initrd none --selftest tasks::waking_a_finished_task_does_nothing
        milestones+=" UserMode"
        boot --exec :
    done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
