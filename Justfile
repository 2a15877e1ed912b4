# release, or dev for the lock checker and the debug assertions: just profile=dev run
profile := "release"

[private]
default:
    @just --list --unsorted

# Build target/Image and target/initramfs.cpio
build:
    scripts/build.sh {{profile}}

# Boot to a shell on four cores (Ctrl-A x leaves QEMU); more options for qemu-runner.sh may follow
[positional-arguments]
run *OPTIONS: build
    ./qemu-runner.sh "$@"

# Boot to a shell on N cores
[positional-arguments]
run-smp N *OPTIONS: build
    ./qemu-runner.sh --smp "$@"

# All tests: format, lints, host, and the kernel on 1, 2, 4 and 8 cores
test:
    scripts/test.sh

# The tests that run on this machine, without the kernel
test-host *FILTER:
    scripts/test.sh host {{FILTER}}

# The scheduler's properties at length: a million random cases, ten million events, every sequence of six
test-deep CASES="1000000":
    scripts/test.sh deep {{CASES}}

# Simulate up to 256 cores and 100,000 tasks, and write the table of docs/scaling.md
scaling:
    scripts/scaling.sh

# libkernel's models under loom: all orders of events
loom *FILTER:
    scripts/test.sh loom {{FILTER}}

# libkernel's tests under Miri; needs the nightly toolchain with it
miri *FILTER:
    scripts/test.sh miri {{FILTER}}

# Break the properties of scripts/mutations one after the other, and see the test of each fail; slow
mutations *NAMES:
    scripts/mutation-test.sh {{NAMES}}

# usertest in Lichen on N cores
usertest N="4" *ARGUMENTS: build
    ./qemu-runner.sh --smp {{N}} --timeout 1800 --exec 'usertest {{ARGUMENTS}}'

# The kernel's tests of itself on N cores; NAMES as for qemu-runner.sh --selftest
selftest N="4" NAMES="all" *OPTIONS: build
    ./qemu-runner.sh --smp {{N}} --timeout 1800 --selftest {{NAMES}} {{OPTIONS}}

# usertest in Debian's Linux on N cores: what a test asserts must hold there too
usertest-linux N="4" *ARGUMENTS:
    scripts/build.sh usertest
    ./qemu-runner.sh --smp {{N}} --kernel linux --timeout 1800 --exec 'usertest {{ARGUMENTS}}'

# Type at the serial line as a person does, on N cores
boot-test N="4": build
    scripts/boot-test.py --smp {{N}}

# Boot COUNT times in a row on N cores, each with the whole usertest; keep log, seed and backtraces of a failure (--threads, --shift S, ...)
loop COUNT N="4" *OPTIONS: build
    scripts/loop.py {{COUNT}} {{N}} {{ if profile == "dev" { "--profile debug" } else { "" } }} {{OPTIONS}}

# Measure Lichen beside Linux: all of docs/benchmarks.md, or some rows; --help tells more
bench *OPTIONS: build
    python3 scripts/bench {{OPTIONS}}

# Boot and wait for gdb, and attach it with Lichen's commands
gdb N="4":
    scripts/build.sh gdb target/Image-gdb
    scripts/gdb.sh {{N}}

# Try Lichen's gdb commands on a running guest
gdb-test:
    scripts/build.sh gdb target/Image-gdb
    scripts/gdb-test.sh

# Lints of all crates, warnings being errors
clippy:
    scripts/test.sh clippy

# Format all code
fmt:
    bash -c '. scripts/toolchain.sh && cargo fmt --all'

# Remove what was built; the downloads in target/cache stay
clean:
    [ ! -d target ] || find target -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +
