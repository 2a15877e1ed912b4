#!/bin/bash
# Measures what docs/performance.md reports, in deterministic mode (nanoseconds are instructions, a run repeats exactly),
# and prints it as one table, Lichen beside Debian's Linux on the same machine and root file system.
#
#     scripts/figures.sh [--no-linux] [ROW]...      # rows of `usertest bench`; all by default
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
seed=42
kernels=(lichen linux)
if [ "${1:-}" = --no-linux ]; then
    kernels=(lichen)
    shift
fi
rows=$*
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# boot KERNEL CORES COMMAND: one deterministic run; the serial line goes to $work/serial.
boot() {
    local options=(--smp "$2" --icount "$seed" --timeout 1800 --log "$work/serial")
    [ "$1" = lichen ] || options+=(--kernel linux)
    ./qemu-runner.sh "${options[@]}" --append 'loglevel=7 mitigations=off kpti=off nokaslr' --exec "$3" </dev/null
}

# Kernel memory in use: all of the machine's 2 GiB that is neither free, nor a file of the root, nor a program's.
memory='files=$(du -skx --apparent-size / | cut -f1)
awk -v files=$files "/^(MemFree|AnonPages):/ { sum += \$2 } END { print 2097152 - sum - files }" /proc/meminfo'

for kernel in "${kernels[@]}"; do
    boot "$kernel" 2 "usertest bench $rows" >"$work/bench.$kernel" || true
    sed -nE 's/^\[ *([0-9]+)\.([0-9]{6})\] .*(Run \/init|running init) as.*/\1\2/p' "$work/serial" | tr -d '\r' >"$work/first.$kernel"
    boot "$kernel" 4 "$memory" | grep -E '^[0-9]+$' >"$work/memory.$kernel" || true
done

# figure NAME FILE DIVISOR UNIT: one row, from each kernel's file of one number.
figure() {
    local kernel value line="| $1 |"
    for kernel in "${kernels[@]}"; do
        value=$(cat "$work/$2.$kernel" 2>/dev/null || true)
        line+=" $([ -z "$value" ] || awk -v v="$value" -v s="$3" 'BEGIN { printf "%.1f", v / s }') $4 |"
    done
    echo "$line"
}

echo "| figure |$(printf ' %s |' "${kernels[@]}")"
echo "|---|$(printf -- '---|%.0s' "${kernels[@]}")"
echo "| kernel image | $(awk -v b="$(stat -c %s target/Image)" 'BEGIN { printf "%.2f MiB", b / 1048576 }') |$([ ${#kernels[@]} = 1 ] || printf ' |')"
figure "reset to the first program (2 cores)" first 1000 "million instructions"
figure "kernel memory in use (4 cores)" memory 1024 MiB
awk -F'\t' -v files="${#kernels[@]}" '
    /\t/ { if (!($1 in seen)) { seen[$1] = ++count; name[count] = $1 } cell[$1, FILENAME] = $2; if (!(FILENAME in number)) { number[FILENAME] = ++total; file[total] = FILENAME } }
    END { for (i = 1; i <= count; i++) { line = "| " name[i] " |"; for (j = 1; j <= total; j++) line = line " " cell[name[i], file[j]] " |"; print line } }
' "${kernels[@]/#/$work/bench.}"
