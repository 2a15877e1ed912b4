#!/bin/bash
# Attaches gdb, with Lichen's commands, to a machine that waits on the gdbstub: the one that `qemu-runner.sh --gdb` has
# started in another terminal, or else one that is started here, its serial output going to target/gdb-serial.log.
#
#     scripts/gdb.sh [N] [GDB ARGUMENT]...
#
# Needs target/Image-gdb (scripts/build.sh gdb target/Image-gdb).
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cores=${1:-4}
shift $(($# < 1 ? $# : 1))
port=${LICHEN_GDB_PORT:-1234}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

if ! listening; then
    setsid "$top/qemu-runner.sh" --smp "$cores" --kernel "$top/target/Image-gdb" --gdb --tcg single --log "$top/target/gdb-serial.log" </dev/null >"$top/target/gdb-runner.log" 2>&1 &
    machine=$!
    trap 'kill -- "-$machine" 2>/dev/null || true' EXIT
    echo "the serial output goes to target/gdb-serial.log"
    for _ in $(seq 50); do
        listening && break
        kill -0 "$machine"
        sleep 0.1
    done
fi
gdb-multiarch -q -ex 'set architecture aarch64' -ex 'set pagination off' -ex "source $top/scripts/gdb/lichen.py" \
    -ex "target remote 127.0.0.1:$port" "$@" "${CARGO_TARGET_DIR:-$top/target}/aarch64-unknown-none-softfloat/gdb/lichen"
