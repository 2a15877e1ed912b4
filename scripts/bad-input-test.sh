#!/bin/bash
# Boots with what a kernel must refuse: broken archives, no first program, a device tree with parts missing, too little
# memory. Each time it has to say why in one line and power off with the failure status; no hang.
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
    if [ "$status" = "$wanted" ] && grep -aEq "$line" "$work/serial"; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: status $status (expected $wanted), looked for a line with '$line' in"
        tail -n 5 "$work/serial" | sed 's/^/    /'
    fi
}

# tree NAME WORD: a device tree of the machine in which the devices compatible with WORD are not known to anyone.
tree() {
    "$top/qemu-runner.sh" --smp 2 --initrd none --qemu "-machine dumpdtb=$work/all.dtb" </dev/null >/dev/null 2>&1
    python3 - "$work/all.dtb" "$work/$1.dtb" "$2" <<'END'
import struct, sys
source, target, word = sys.argv[1:]
data = open(source, "rb").read()
# QEMU pads the tree with a mebibyte of zeros: cut it to what the header says is in use.
structure, strings, strings_size, structure_size = (struct.unpack_from(">I", data, at)[0] for at in (8, 12, 32, 36))
end = max(structure + structure_size, strings + strings_size)
data = data[:4] + struct.pack(">I", end) + data[8:end]
assert word.encode() in data
# QEMU puts its own memory node in; the dumped one must not describe the memory a second time.
data = data.replace(b"memory@", b"unused@").replace(b"memory\0", b"unused\0")
open(target, "wb").write(data.replace(word.encode(), b"?" * len(word)))
END
    echo "$work/$1.dtb"
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

refuse no-archive 121 'PANIC.*init' --initrd none
refuse garbage-archive 121 'PANIC.*(initramfs|archive|init)' --initrd "$work/garbage.cpio"
refuse cut-archive 121 'PANIC.*(initramfs|archive|init)' --initrd "$work/cut.cpio"
refuse cut-gzip 121 'PANIC.*(initramfs|archive|init)' --initrd "$work/cut.gz"
refuse no-init 121 'PANIC.*init' --initrd "$work/no-init.cpio"
refuse init-not-executable 121 'PANIC.*init' --initrd "$work/text-init.cpio"
refuse init-not-a-program 121 'PANIC.*init' --initrd "$work/bad-init.cpio"
refuse init-a-broken-elf 121 'PANIC.*init' --initrd "$work/bad-elf.cpio"
refuse named-init-missing 121 'PANIC.*init' --append 'rdinit=/no/such/program'
refuse init-ends 121 'PANIC.*init' --append 'rdinit=/bin/true'
refuse too-little-memory 121 'PANIC.*memory' --initrd none --mem 8M
refuse nothing-wrong 124 'Lichen' --timeout 8 --qemu "-dtb $(tree nothing-wrong psci-0.2)"
refuse no-timer 121 'PANIC.*timer' --qemu "-dtb $(tree no-timer armv8-timer)"
refuse no-interrupt-controller 121 'PANIC.*interrupt' --qemu "-dtb $(tree no-gic arm,gic-v3)"
# Without a console there is nobody to tell: it powers off.
refuse no-console 0 '^' --qemu "-dtb $(tree no-console arm,pl011)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
