#!/bin/bash
# Boots with what a kernel must refuse: broken archives, no first program, too little memory, device trees without what it needs or
# with what is not there. Each time it has to say why in one line and power off with the failure status; no hang. Without a console
# it can only power off; a missing core it can do without.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
pack() { python3 "$top/initramfs/mkcpio.py" --output "$@"; }

# refuse NAME STATUS LINE RUNNER-ARGUMENTS...: one boot, judged by status and by a line that matches LINE.
refuse() {
    local name=$1 wanted=$2 line=$3 status=0
    shift 3
    "$top/qemu-runner.sh" --smp 2 --timeout 60 --log "$work/serial" "$@" </dev/null >/dev/null 2>"$work/err" || status=$?
    if [ "$status" = "$wanted" ] && { [ -z "$line" ] || grep -aEq "$line" "$work/serial"; }; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: status $status (expected $wanted), looked for a line with '$line' in"
        tail -n 5 "$work/serial" | sed 's/^/    /'
    fi
}

head -c 300000 /dev/zero | tr '\0' 'A' >"$work/garbage.cpio"
pack "$work/no-init.cpio" --text "/etc/hostname=lichen"
pack "$work/text-init.cpio" --text "/init=not a program" --directory /dev=755
chmod 755 "$work"/*.cpio
head -c 200000 "$top/target/initramfs.cpio" >"$work/cut.cpio"
printf 'not a program' >"$work/word"
pack "$work/bad-init.cpio" --file "/init=$work/word:755"
printf '\177ELF\2\1\1garbage' >"$work/elf"
pack "$work/bad-elf.cpio" --file "/init=$work/elf:755"
(pack "$work/a.cpio" --text "/x=y" && gzip -c "$work/a.cpio" | head -c 60) >"$work/cut.gz"

# tree NAME CORES FDTPUT-ARGUMENTS: QEMU's device tree with one change, as $work/NAME.dtb ("@" stands for that in the arguments).
tree() {
    local name=$work/$1.dtb cores=$2
    shift 2
    qemu-system-aarch64 -machine "virt,gic-version=3,dumpdtb=$name" -cpu cortex-a72 -smp "$cores" -m 2G -display none \
        -nodefaults >/dev/null 2>&1 && fdtput "${@/#@/$name}"
}
tree no-timer 2 -r @ /timer
tree no-console 2 -r @ /pl011@9000000
tree no-controller 2 -r @ /intc@8000000
tree no-such-core 4 -t x @ /cpus/cpu@1 reg 77
tree archive-nowhere 2 -t x @ /chosen linux,initrd-start 40 0
fdtput -t x "$work/archive-nowhere.dtb" /chosen linux,initrd-end 40 1000
# reserve NAME BLOCK...: adds "ADDRESS SIZE" each to the memory reservation block.
reserve() {
    local name=$work/$1.dtb
    shift
    dtc -q -I dtb -O dts "$name" | sed "s,^/dts-v1/;,&$(printf ' /memreserve/ %s;' "$@")," | dtc -q -o "$name.new" && mv "$name.new" "$name"
}
tree reserved 2 -p -c @ /reserved-memory/kept@50000000 /reserved-memory/hidden@60001000
for property in '/reserved-memory #address-cells 2' '/reserved-memory #size-cells 2' \
    '/reserved-memory/kept@50000000 reg 0 50000000 0 10000000' \
    '/reserved-memory/hidden@60001000 reg 0 60001000 0 ffff000' '/reserved-memory/hidden@60001000 no-map'; do
    # shellcheck disable=SC2086 # words
    fdtput -t x "$work/reserved.dtb" $property
done
reserve reserved '0x70000000 0xfffe000'
tree much-reserved 2 -p -c @ /reserved-memory
blocks=()
for index in {100..164}; do blocks+=("0x50${index}000 0x800"); done
reserve much-reserved "${blocks[@]}"

refuse no-archive 121 'PANIC.*init' --initrd none
refuse garbage-archive 121 'PANIC.*(initramfs|archive|init)' --initrd "$work/garbage.cpio"
refuse cut-archive 121 'PANIC.*(initramfs|archive|init)' --initrd "$work/cut.cpio"
refuse cut-gzip 121 'PANIC.*(initramfs|archive|init)' --initrd "$work/cut.gz"
refuse no-init 121 'PANIC.*init' --initrd "$work/no-init.cpio"
refuse init-not-executable 121 'PANIC.*init' --initrd "$work/text-init.cpio"
refuse init-not-a-program 121 'PANIC.*init' --initrd "$work/bad-init.cpio"
refuse init-a-broken-elf 121 'PANIC.*init' --initrd "$work/bad-elf.cpio"
refuse named-init-missing 121 'PANIC.*init' --initrd "$work/no-init.cpio" --append 'rdinit=/no/such/program'
refuse init-ends 121 'PANIC.*init' --append 'rdinit=/bin/true'
refuse too-little-memory 121 'PANIC.*memory' --initrd none --mem 8M
refuse tree-without-timer 121 'PANIC.*no timer: ' --qemu "-dtb $work/no-timer.dtb"
refuse tree-without-interrupt-controller 121 'PANIC.*no interrupt controller: ' --qemu "-dtb $work/no-controller.dtb"
refuse tree-with-an-archive-outside-of-memory 121 'PANIC: no init' --initrd none --qemu "-dtb $work/archive-nowhere.dtb"
refuse tree-that-reserves-too-much-apart 121 'PANIC.*too many reserved' --qemu "-dtb $work/much-reserved.dtb"
refuse tree-without-console 122 '' --exec true --qemu "-dtb $work/no-console.dtb"

# A core that does not exist is said and left out; those behind it run.
refuse tree-with-a-core-that-does-not-exist 3 'the core with affinity 0x77 could not be started' --smp 4 --append loglevel=7 \
    --exec 'exit "$(nproc)"' --qemu "-dtb $work/no-such-core.dtb"

# Of 2 GiB three quarters of a GiB are not the kernel's: it counts, in units of 256 MiB, and fills what it has.
refuse tree-that-reserves-memory 4 '' --mem 2G --qemu "-dtb $work/reserved.dtb" \
    --exec 'usertest memory_hog && read -r _ kib _ </proc/meminfo && exit "$((kib >> 18))"'

# A system call that does not exist is ENOSYS, and one line for each number however often it is made.
refuse unknown-system-calls 0 'system call 244 is not implemented' --append loglevel=7 \
    --exec 'usertest hostile::unknown && usertest hostile::unknown'
if [ -n "$(grep -ao 'system call [0-9]* is not implemented' "$work/serial" | sort | uniq -d)" ]; then
    passed=$((passed - 1)) failed=$((failed + 1))
    echo "FAILED unknown-system-calls: a number has two lines"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
