#!/usr/bin/env python3
"""Boots again and again, each time with the whole usertest, and keeps what is needed to understand a failure.

    loop.py COUNT [N] [--threads] [--seed FIRST] [--shift S]... [--turns LONGEST] [--jobs J] [RUNNER OPTION]... [-- USERTEST ARGUMENT]...

Boots COUNT times on N cores (default 4). Without --threads each boot runs in the deterministic mode, with a seed of its own
(FIRST, FIRST + 1, ...), the shifts in turn, and the cores taking turns of a length that the seed decides, from a hundred
microseconds to LONGEST (default 2000; 0: as QEMU likes). Each is another interleaving, which repeats exactly. With --threads
a host thread plays each core: real parallelism, and nothing repeats.

A boot ends in one of four ways:

  passed     every test passed
  FAILED     a test failed, or the kernel panicked
  HANG       nothing was heard for --silence seconds (default 200); with --turns 0, also: every core waits and no timer is armed
  disturbed  with --threads only: what failed passes --retries times (default 5) when it is run again by itself on this kind of
             machine and in the deterministic mode, where a busy host delays nothing. Shown, kept, and not counted as a failure
             of the kernel.

Everything about a boot that did not pass stays in target/loop/: its output, the serial line, and for a panic or a hang the
backtraces of all cores, which gdb takes from the machine while it still stands.
"""

import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
HANG, PANIC = 124, 121
SHORTEST_TURN = 100
SPOKEN = threading.Lock()


class Loop:
    """What all boots have in common."""

    def __init__(self, options, runner_options):
        self.options = options
        self.runner_options = runner_options
        self.folder = TOP / "target" / "loop"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.work = self.folder / "work" / str(os.getpid())
        self.work.mkdir(parents=True)
        # A build meanwhile must not change what is booted.
        self.images = []
        for name, option in (("Image", "--kernel"), ("initramfs.cpio", "--initrd")):
            if option not in runner_options:
                shutil.copy(TOP / "target" / name, self.work / name)
                self.images += [option, str(self.work / name)]
        built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
        self.symbols = self.work / "kernel"
        shutil.copy(built / "aarch64-unknown-none-softfloat" / options.profile / "lichen", self.symbols)

    def command(self, name, mode, arguments, timeout):
        usertest = shlex.join(["usertest", *arguments])
        return [
            str(TOP / "qemu-runner.sh"), "--smp", str(self.options.cores), *self.images, *mode, *self.runner_options,
            "--timeout", str(timeout), "--silence", str(self.options.silence), "--log", f"{name}.serial",
            "--backtraces", f"{name}.backtraces", "--symbols", str(self.symbols), "--exec", usertest,
        ]  # fmt: skip

    def run(self, name, mode, arguments, timeout):
        """One boot: exit status, output, and seconds."""
        command = self.command(name, mode, arguments, timeout)
        began = time.monotonic()
        with open(f"{name}.err", "wb") as errors:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        pathlib.Path(f"{name}.out").write_bytes(done.stdout)
        pathlib.Path(f"{name}.command").write_text(shlex.join(command) + "\n")
        return done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - began

    def mode(self, number):
        if self.options.threads:
            return ["--tcg", "multi"]
        shifts = self.options.shift or [0]
        mode = ["--icount", str(number), "--shift", str(shifts[number % len(shifts)])]
        if self.options.turns:
            # As many short ones as long ones.
            length = SHORTEST_TURN * (self.options.turns / SHORTEST_TURN) ** random.Random(number).random()
            mode += ["--turns", str(round(length))]
        return mode

    def boot(self, number):
        """Boots once; the value says how it ended."""
        kind = "threads" if self.options.threads else "seed"
        name = self.folder / f"{self.options.cores}-cores-{kind}-{number}"
        status, output, seconds = self.run(name, self.mode(number), self.options.usertest, self.options.timeout)
        failed = re.findall(r"^FAILED (\S+)", output, re.MULTILINE)
        if status == 0 and re.search(r"^[1-9]\d* passed, 0 failed$", output, re.MULTILINE):
            for file in self.folder.glob(f"{name.name}.*"):
                file.unlink()
            say(f"passed     {name.name} ({seconds:.0f} s)")
            return "passed"
        if status == HANG:
            say(f"HANG       {name.name} ({seconds:.0f} s), after {last_line(output)!r}: {name}.backtraces")
            return "HANG"
        if failed and self.options.threads and status == 1 and self.passes_alone(name, failed):
            say(f"disturbed  {name.name} ({seconds:.0f} s)")
            self.show_failures(output)
            return "disturbed"
        say(f"FAILED     {name.name} ({seconds:.0f} s), status {status}: {last_line(name.with_suffix('.err').read_text())}")
        self.show_failures(output)
        say(f"           again: sh {name}.command")
        return "FAILED"

    def passes_alone(self, name, failed):
        """Whether the failed tests pass when nothing else runs, and where the host's speed does not matter."""
        again = name.with_name(name.name + "-again")
        arguments = [*failed, "--repeat", str(self.options.retries)]
        for mode in (["--tcg", "multi"], ["--icount", "1"]):
            if self.run(again, mode, arguments, self.options.timeout)[0] != 0:
                return False
        return True

    @staticmethod
    def show_failures(output):
        for line in re.findall(r"^FAILED .*", output, re.MULTILINE):
            say(f"           {line}")


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def say(line):
    with SPOKEN:
        print(line, flush=True)


def main():
    arguments = sys.argv[1:]
    usertest = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, usertest = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip(), allow_abbrev=False)
    parser.add_argument("count", type=int)
    parser.add_argument("cores", type=int, nargs="?", default=4)
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shift", type=int, action="append")
    parser.add_argument("--turns", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--silence", type=int, default=200)
    parser.add_argument("--timeout", type=int, default=1800)
    parser.add_argument("--retries", type=int, default=5)
    parser.add_argument("--profile", choices=["release", "debug"], default="release")
    options, runner_options = parser.parse_known_args(arguments)
    # On host threads a test gets the time that a busy host takes away.
    if options.turns and options.turns < SHORTEST_TURN:
        parser.error(f"--turns {options.turns}: shorter than {SHORTEST_TURN} microseconds")
    options.usertest = usertest or (["--patience", "4"] if options.threads else [])
    loop = Loop(options, runner_options)
    try:
        numbers = range(options.seed, options.seed + options.count)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            ends = list(pool.map(loop.boot, numbers))
    finally:
        shutil.rmtree(loop.work)
    passed, disturbed = ends.count("passed"), ends.count("disturbed")
    if disturbed:
        print(f"{disturbed} disturbed by the host")
    print(f"{passed} passed, {len(ends) - passed - disturbed} failed")
    return 0 if passed + disturbed == len(ends) else 1


if __name__ == "__main__":
    sys.exit(main())
