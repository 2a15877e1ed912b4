#!/bin/bash
# Boots an arm64 kernel image under QEMU. The one place that knows QEMU's command line.
set -euo pipefail
top=$(cd "$(dirname "$0")" && pwd)

usage() {
    cat <<'HELP'
usage: qemu-runner.sh [OPTION]...
       qemu-runner.sh [OPTION]... --exec 'COMMAND'
       qemu-runner.sh [OPTION]... --selftest NAME[,NAME]

Boots to a shell on this terminal (Ctrl-A x leaves QEMU, Ctrl-C goes to the guest); with --exec, boots, runs COMMAND
in the guest's bash, prints what it prints and nothing else, powers off, and exits with the command's status. With
--selftest the kernel tests itself instead ("all", a room such as "work", a test such as "tasks::NAME" or, for so many
seconds, "work::torture@60"); the status is 0 if all passed, else 1.

  --smp N          cores (default 4; up to 8 with --gic 2, 32 with --gic 3)
  --cpu MODEL      cortex-a53, cortex-a72 (default), neoverse-n1, max, ...
  --mem SIZE       memory (default 2G)
  --gic 2|3        interrupt controller (default 3)
  --kernel FILE    arm64 Image, Linux's too (default target/Image); "linux" fetches Debian 13's
  --initrd FILE    cpio archive (default target/initramfs.cpio); "none" for none
  --append STR     more words for the kernel command line, after the runner's own
  --tcg MODE       multi (a host thread per core, default) or single
  --icount SEED    deterministic: one instruction is one nanosecond, a run repeats exactly
  --shift N        with --icount: one instruction is 2^N nanoseconds (default 0)
  --turns US       with --icount: a busy core gives the others their turn after US microseconds at most; without, it may
                   keep it for 100 ms while no timer is armed. Another value is another interleaving. QEMU then does not
                   notice that every core waits: give --silence
  --gdb            wait for gdb on port 1234 (LICHEN_GDB_PORT) before the first instruction
  --timeout S      give up after S seconds (default 600 with --exec or --selftest, else never)
  --silence S      with --exec or --selftest: give up after S seconds without a word from the guest
  --log FILE       write all of the serial line's output to FILE
  --backtraces FILE
                   when the kernel panics or hangs, let gdb write what all cores do to FILE
  --symbols FILE   the linked kernel for that (default: the release build's)
  --qemu 'ARGS'    more arguments for QEMU
  --print          print QEMU's command line instead of running it

Exit status:
  the command's    with --exec, the tests' with --selftest; without, 0 after the guest has powered off or QEMU was left
  120              wrong usage, or a file is missing
  121              the kernel panicked
  122              the guest ended before it gave the command's status
  124              hang: no end within --timeout, or every core waits and no timer is armed (--icount)
  125              QEMU failed
With 121 to 125 a line that says so goes to standard error, and with --exec and --selftest the end of the serial output.
HELP
}

die() {
    echo "qemu-runner: $*" >&2
    exit 120
}

smp=4 cpu=cortex-a72 mem=2G gic=3 tcg=multi
kernel=$top/target/Image initrd=$top/target/initramfs.cpio
append='' icount='' shift=0 turns='' gdb='' timeout='' silence='' log='' backtraces='' extra='' print='' command='' exec='' selftest=''
symbols=${CARGO_TARGET_DIR:-$top/target}/aarch64-unknown-none-softfloat/release/lichen

while [ $# -gt 0 ]; do
    case $1 in
        --smp | --cpu | --mem | --gic | --kernel | --initrd | --append | --tcg | --icount | --shift | --turns | --timeout | \
            --silence | --log | --backtraces | --symbols | --qemu | --exec | --selftest)
            [ $# -ge 2 ] || die "$1 needs a value"
            ;;&
        --smp) smp=$2; shift 2 ;;
        --cpu) cpu=$2; shift 2 ;;
        --mem) mem=$2; shift 2 ;;
        --gic) gic=$2; shift 2 ;;
        --kernel) kernel=$2; shift 2 ;;
        --initrd) initrd=$2; shift 2 ;;
        --append) append=$2; shift 2 ;;
        --tcg) tcg=$2; shift 2 ;;
        --icount) icount=$2; shift 2 ;;
        --shift) shift=$2; shift 2 ;;
        --turns) turns=$2; shift 2 ;;
        --gdb) gdb=1; shift ;;
        --timeout) timeout=$2; shift 2 ;;
        --silence) silence=$2; shift 2 ;;
        --log) log=$2; shift 2 ;;
        --backtraces) backtraces=$2; shift 2 ;;
        --symbols) symbols=$2; shift 2 ;;
        --qemu) extra=$2; shift 2 ;;
        --exec) exec=1 command=$2; shift 2 ;;
        --selftest) selftest=$2; shift 2 ;;
        --print) print=1; shift ;;
        --help | -h) usage; exit 0 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done

[[ $smp =~ ^[0-9]+$ && $smp -ge 1 ]] || die "--smp $smp: not a number of cores"
[[ -z $icount || $icount =~ ^[0-9]+$ ]] || die "--icount $icount: not a seed"
[[ -z $turns || $turns =~ ^[1-9][0-9]{0,8}$ ]] || die "--turns $turns: not a number of microseconds"
[ -z "$turns" ] || [ -n "$icount" ] || die "--turns needs --icount"
[[ $shift =~ ^[0-9]$ ]] || die "--shift $shift: not a number from 0 to 9"
[[ -z $timeout || $timeout =~ ^[0-9]+$ ]] || die "--timeout $timeout: not a number of seconds"
[[ -z $silence || $silence =~ ^[0-9]+$ ]] || die "--silence $silence: not a number of seconds"
case $gic in
    2) [ "$smp" -le 8 ] || die "GICv2 has at most 8 cores" ;;
    3) [ "$smp" -le 32 ] || die "at most 32 cores" ;;
    *) die "--gic $gic: 2 or 3" ;;
esac
[ -z "$exec" ] || [ -z "$selftest" ] || die "--exec and --selftest: one of them"
case $tcg in multi | single) ;; *) die "--tcg $tcg: multi or single" ;; esac
[ "$kernel" != linux ] || kernel=$("$top/scripts/fetch-linux.sh") || die "Debian's kernel could not be fetched"
[ -f "$kernel" ] || die "no kernel image at $kernel (just build makes target/Image)"
[ "$initrd" = none ] || [ -f "$initrd" ] || die "no initramfs at $initrd (just build makes target/initramfs.cpio)"
command -v qemu-system-aarch64 >/dev/null || die "qemu-system-aarch64 is missing (scripts/setup.sh installs it)"

work=$(mktemp -d "${TMPDIR:-/tmp}/lichen-run.XXXXXX")
trap 'rm -rf "$work"' EXIT
log=${log:-$work/serial.log}

words="console=ttyAMA0"
arguments=(
    -machine "virt,gic-version=$gic" -cpu "$cpu" -smp "$smp" -m "$mem"
    -nodefaults -display none -kernel "$kernel"
)
if [ -n "$icount" ]; then
    arguments+=(-icount "shift=$shift,sleep=off" -seed "$icount" -rtc "base=2026-01-01,clock=vm" -nic none)
    # QEMU ends a turn before the next timer of the guest's clock. Nothing goes through this filter, but its timer never stops.
    [ -z "$turns" ] || arguments+=(
        -netdev hubport,id=nothing,hubid=0 -object "filter-buffer,id=turns,netdev=nothing,interval=$turns"
    )
else
    arguments+=(-accel "tcg,thread=$tcg")
fi
[ -z "$gdb" ] || arguments+=(-gdb "tcp::${LICHEN_GDB_PORT:-1234}" -S)

if [ -n "$exec" ]; then
    # The command travels in a second archive behind the first one, together with a marker that frames its output.
    [ "$initrd" != none ] || die "--exec needs an initramfs"
    # A deterministic run is told the same marker each time, any other run a new one.
    if [ -n "$icount" ]; then
        marker=$(printf '%s' "$icount $command" | sha256sum | cut -c1-24)
    else
        marker=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    fi
    marker=lichen-$marker
    printf '%s\n' "$command" >"$work/exec"
    python3 "$top/initramfs/mkcpio.py" --output "$work/exec.cpio" \
        --file "/etc/lichen/exec=$work/exec:644" --text "/etc/lichen/marker=$marker"$'\n'
    cat "$initrd" >"$work/initramfs.cpio"
    truncate -s %512 "$work/initramfs.cpio"
    cat "$work/exec.cpio" >>"$work/initramfs.cpio"
    initrd=$work/initramfs.cpio
    words+=" quiet loglevel=1 panic=-1"
elif [ -n "$selftest" ]; then
    marker=lichen-selftest
    words+=" quiet panic=-1 selftest=$selftest"
else
    arguments+=(
        -chardev "stdio,id=serial,mux=on,signal=off,logfile=$log"
        -serial chardev:serial -mon chardev=serial,mode=readline
    )
    # The guest's init and shell learn what the terminal on this side is.
    [ -z "${TERM:-}" ] || words+=" TERM=$TERM"
    if size=$(stty size 2>/dev/null) && [ "$size" != "0 0" ]; then
        words+=" LINES=${size% *} COLUMNS=${size#* }"
    fi
fi
if [ -n "$exec$selftest" ]; then
    arguments+=(-no-reboot -chardev "stdio,id=serial,signal=off,logfile=$log" -serial chardev:serial)
fi
[ "$initrd" = none ] || arguments+=(-initrd "$initrd")
arguments+=(-append "$words${append:+ $append}")
# shellcheck disable=SC2206 # the caller's words
arguments+=($extra)

if [ -n "$print" ]; then
    printf '%q ' qemu-system-aarch64 "${arguments[@]}"
    echo
    exit 0
fi

if [ -n "$exec$selftest" ]; then
    options=(--marker "$marker" --timeout "${timeout:-600}" --silence "${silence:-${timeout:-600}}")
    if [ -n "$backtraces" ]; then
        arguments+=(-chardev "socket,id=gdb,path=$work/gdb,server=on,wait=off" -gdb chardev:gdb)
        options+=(--backtraces "$backtraces" --gdb-socket "$work/gdb" --symbols "$symbols")
    fi
    status=0
    python3 "$top/scripts/serial-exec.py" "${options[@]}" -- qemu-system-aarch64 "${arguments[@]}" || status=$?
    exit "$status"
fi

saved=$(stty -g 2>/dev/null || true)
status=0
timeout --foreground "${timeout:-0}" qemu-system-aarch64 "${arguments[@]}" || status=$?
[ -z "$saved" ] || stty "$saved" 2>/dev/null || true
if grep -aEq '^(\[ *[0-9.]+\] )?KERNEL PANIC|Kernel panic - not syncing' "$log" 2>/dev/null; then
    echo "qemu-runner: the kernel panicked" >&2
    exit 121
fi
case $status in
    0) ;;
    124) echo "qemu-runner: no end within $timeout seconds" >&2; exit 124 ;;
    *) echo "qemu-runner: QEMU failed with status $status" >&2; exit 125 ;;
esac
