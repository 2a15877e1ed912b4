#!/bin/bash
# Builds the kernel image (target/Image), usertest, and the initramfs with it (target/initramfs.cpio).
#
#     scripts/build.sh [release|dev|gdb|usertest] [IMAGE]
#
# dev has the lock checker and the debug assertions, gdb the debugger's types as well; usertest leaves the kernel out. The kernel goes to IMAGE, if given.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
. scripts/toolchain.sh
profile=${1:-release}
image=${2:-$top/target/Image}
case $profile in
    dev) folder=debug ;;
    release | gdb) folder=$profile ;;
    usertest) ;;
    *) echo "unknown profile $profile: release, dev, gdb or usertest" >&2; exit 2 ;;
esac
output=${CARGO_TARGET_DIR:-target}
mkdir -p target

# The same sources give the same bytes wherever they lie: a run in the deterministic mode repeats on another machine.
paths="'--remap-path-prefix=$top=/lichen', '--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo'"

cargo build -p usertest --release --target "$USERTEST_TARGET" --config "target.$USERTEST_TARGET.rustflags=[$paths]"
"$OBJCOPY" --strip-debug "$output/$USERTEST_TARGET/release/usertest" target/usertest
initramfs/build.sh --usertest target/usertest
[ "$profile" != usertest ] || exit 0

cargo build -p lichen --profile "$profile" --target "$KERNEL_TARGET" --config "target.$KERNEL_TARGET.rustflags=[$paths]"
scripts/symbols.py "$output/$KERNEL_TARGET/$folder/lichen"
"$OBJCOPY" -O binary "$output/$KERNEL_TARGET/$folder/lichen" "$image"
echo "kernel: $image, $(($(stat -c %s "$image") / 1024)) KiB"
