#!/bin/bash
# Boots the machines that the kernel has to run on: processors, interrupt controllers, numbers of cores, sizes of memory. On each, programs
# work on all cores at once. Then what a boot loader hands over: archives and command lines.
#
#     scripts/machines-test.sh [RUNNER OPTION]...      # for instance --kernel linux
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
options=(--icount 42 --shift 3 --timeout 300 "$@")
. "$top/scripts/expect.sh"

# machine CPU GIC CORES MEBIBYTES [TESTS]: all its cores work, and programs get half of its memory at least.
machine() {
    expect "$1, GICv$2, $3 cores, $4 MiB" 0 "$3\n1\n" --cpu "$1" --gic "$2" --smp "$3" --mem "$4M" --exec "
        usertest ${5:-smp:: affinity} | grep -v '^ok\|, 0 failed$'
        nproc; awk '/^MemTotal:/ { print (\$2 >= $4 * 512) }' /proc/meminfo"
}
machine cortex-a53 2 1 128 'futex:: thread:: affinity' # smp's tests want more memory
machine cortex-a53 2 8 512
machine cortex-a72 3 3 8192
machine neoverse-n1 2 4 1024
machine neoverse-n1 3 16 1024
machine max 2 2 256
machine max 3 32 2048

gzip -1c "$top/target/initramfs.cpio" >"$work/packed.cpio.gz"
expect packed-archive 0 'lichen\n' --initrd "$work/packed.cpio.gz" --exec 'hostname'

printf '#!/bin/busybox sh\nexport FIRST=other\nexec /init' >"$work/other"
python3 "$top/initramfs/mkcpio.py" --output "$work/other.cpio" --file "/other=$work/other:755"
(cat "$top/target/initramfs.cpio" && cat "$work/other.cpio") >"$work/two.cpio"
expect first-program-of-a-second-archive 0 'other\n' --initrd "$work/two.cpio" --append rdinit=/other --exec 'echo $FIRST'

expect fewer-cores 0 '2\n' --smp 4 --append maxcpus=2 --exec nproc
expect words-for-the-first-program 0 'value splash one two 0\n' --append 'word=value some.module=1 splash -- one two' \
    --exec 'echo $word $(xargs -n1 -0 </proc/1/cmdline | tail -n 3) $(env | grep -c module)'
count
