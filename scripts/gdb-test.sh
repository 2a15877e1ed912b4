#!/bin/bash
# Tries Lichen's gdb commands on a running guest: three hogs on two cores and a sleeper. Needs target/Image-gdb
# (scripts/build.sh gdb target/Image-gdb).
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
if ! command -v gdb-multiarch >/dev/null; then
    echo "skipped: there is no gdb-multiarch"
    exit 0
fi
work=$(mktemp -d)
port=$((20000 + $$ % 20000))
symbols=${CARGO_TARGET_DIR:-$top/target}/aarch64-unknown-none-softfloat/gdb/lichen
passed=0 failed=0

setsid ./qemu-runner.sh --smp 2 --tcg single --kernel target/Image-gdb --timeout 120 --qemu "-gdb tcp:127.0.0.1:$port" \
    --exec 'sleep 1000 & for i in 1 2 3; do (while :; do :; done) & done; sleep 0.5; echo READY; sleep 1000' \
    >"$work/out" 2>&1 </dev/null &
machine=$!
trap 'kill -- "-$machine" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 600); do
    ! grep -q READY "$work/out" || break
    kill -0 "$machine" 2>/dev/null || break
    sleep 0.1
done

# Each command's output goes to a file of its own.
commands=(-ex 'set pagination off' -ex "source scripts/gdb/lichen.py" -ex "target remote 127.0.0.1:$port")
for name in cores tasks queues inboxes locks deadlock; do
    commands+=(-ex "pipe lichen-$name | cat > $work/$name")
done
commands+=(-ex 'source scripts/gdb/forge-deadlock.py' -ex "pipe lichen-deadlock | cat > $work/circle")
timeout 60 gdb-multiarch -q -batch "${commands[@]}" "$symbols" >"$work/gdb" 2>&1

# expect COMMAND COUNT PATTERN: at least COUNT lines of the command's output match.
expect() {
    if [ "$(grep -cE "$3" "$work/$1" 2>/dev/null)" -ge "$2" ] 2>/dev/null; then
        passed=$((passed + 1))
        echo "ok $1: $3"
    else
        failed=$((failed + 1))
        echo "FAILED $1: fewer than $2 lines like '$3' in"
        head -n 40 "$work/$1" "$work/gdb" 2>&1 | sed 's/^/    /'
    fi
}
expect cores 2 '^core [01]: EL[01] pc 0x[0-9a-f]+ '
expect tasks 1 '^task [0-9]+ \(sleep\): core [01], asleep at [^ ]+\.rs:[0-9]+$'
expect tasks 3 '^task [0-9]+ \(bash\): core [01], (running|ready)'
expect tasks 1 '^[1-9][0-9]* tasks$'
expect queues 2 '^core [01]: [1-9] runnable$'
expect queues 2 '^  runs  task [0-9]+ \(bash\): lag -?[0-9.]+ ms, deadline -?[0-9.]+ ms from now, slice [0-9.]+ ms, weight 1024$'
expect queues 1 '^  waits task [0-9]+ \(bash\): lag '
expect inboxes 2 '^core [01]: [0-9]+ messages'
expect locks 2 '^core [01]: holds [0-9]+$'
expect deadlock 1 '^no deadlock$'
expect circle 1 '^core 0 waits at [^ ]+\.rs:[0-9]+ for 0x2000, which core 1 holds since '
expect circle 1 '^core 1 waits at [^ ]+\.rs:[0-9]+ for 0x1000, which core 0 holds since '
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
