#!/usr/bin/env python3
"""Runs QEMU, prints what the guest's command prints, and exits with the command's status.

The guest's /init frames the command's output on the serial line: a line "MARKER begin", the output, a newline and a line
"MARKER end STATUS". The marker is new for each run, so no output can be taken for it. Everything outside the frame (boot
messages) is kept back and shown only when the run fails. Exit statuses are those of `qemu-runner.sh --help`.
"""

import argparse
import os
import re
import selectors
import subprocess
import sys
import time

PANIC, NO_STATUS, HANG, QEMU_FAILED = 121, 122, 124, 125

PANIC_LINE = re.compile(rb"^(\[ *[0-9.]+\] )?KERNEL PANIC|Kernel panic - not syncing", re.MULTILINE)
DEADLOCK_LINE = b"no active timers"
# How long a guest that was found dead or done may take to leave by itself, in seconds.
GRACE = 3.0
# Bytes of serial output shown after a failure.
TAIL = 6000


class Frame:
    """Finds the command's output between the markers; what it returns is ready to print."""

    def __init__(self, marker):
        self.begin = re.compile(rb"(?:^|\n)" + marker + rb" begin(\r?)\n")
        self.end = re.compile(rb"\r?\n" + marker + rb" end (\d+)\r?\n")
        # A held-back tail of this length always covers an incomplete end line.
        self.hold = len(marker) + 16
        self.buffer = b""
        self.inside = False
        self.carriage_returns = False
        self.status = None

    def feed(self, data):
        """Takes bytes from the serial line, returns those of the command's output."""
        if self.status is not None:
            return b""
        self.buffer += data
        if not self.inside:
            match = self.begin.search(self.buffer)
            if match is None:
                self.buffer = self.buffer[-self.hold :]
                return b""
            self.inside = True
            # The terminal adds carriage returns exactly when it added one to the begin line.
            self.carriage_returns = bool(match.group(1))
            self.buffer = self.buffer[match.end() :]
        match = self.end.search(self.buffer)
        if match is not None:
            self.status = int(match.group(1))
            output, self.buffer = self.buffer[: match.start()], b""
        else:
            # The newline of the end line may be the last byte so far: keep it back, but no complete line before it.
            keep = self.buffer.rfind(b"\n", max(0, len(self.buffer) - self.hold))
            keep = len(self.buffer) if keep < 0 else keep
            if keep and self.buffer[keep - 1 : keep] == b"\r":
                keep -= 1
            output, self.buffer = self.buffer[:keep], self.buffer[keep:]
        return output.replace(b"\r\n", b"\n") if self.carriage_returns else output


class Run:
    """One run of QEMU."""

    def __init__(self, options):
        self.frame = Frame(options.marker.encode())
        self.options = options
        self.serial = bytearray()
        self.errors = bytearray()
        self.deadline = time.monotonic() + options.timeout
        self.heard = time.monotonic()
        self.verdict = None
        self.process = subprocess.Popen(
            options.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def conclude(self, status, text):
        """Notes why the run ends; the guest gets a moment to leave by itself."""
        if self.verdict is None:
            self.verdict = (status, text)
            if status in (PANIC, HANG) and self.options.backtraces:
                self.take_backtraces()
            self.deadline = min(self.deadline, time.monotonic() + GRACE)

    def take_backtraces(self):
        """Lets gdb write what every core does, while the machine still stands."""
        commands = ["set pagination off", "set architecture aarch64", f"target remote {self.options.gdb_socket}"]
        commands += ["thread apply all bt 40", "thread apply all info registers"]
        gdb = ["gdb-multiarch", "-q", "-batch"] + [word for command in commands for word in ("-ex", command)]
        with open(self.options.backtraces, "wb") as file:
            try:
                subprocess.run([*gdb, self.options.symbols], stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=60)
            except (OSError, subprocess.TimeoutExpired) as error:
                file.write(f"no backtraces: {error}\n".encode())

    def on_serial(self, data):
        self.heard = time.monotonic()
        self.serial += data
        os.write(1, self.frame.feed(data))
        if self.frame.status is not None:
            self.conclude(self.frame.status, None)
        elif PANIC_LINE.search(self.serial, max(0, len(self.serial) - len(data) - 64)):
            self.conclude(PANIC, "the kernel panicked")

    def on_error(self, data):
        self.errors += data
        if DEADLOCK_LINE in self.errors:
            self.conclude(HANG, "hang: every core waits and no timer is armed")

    def wait(self):
        """Runs to the end and returns (status, reason or None)."""
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ, self.on_serial)
        selector.register(self.process.stderr, selectors.EVENT_READ, self.on_error)
        while selector.get_map():
            now = time.monotonic()
            left = min(self.deadline, self.heard + self.options.silence) - now
            if left <= 0:
                why = f"no end within {self.options.timeout:g}" if now >= self.deadline else f"silence for {self.options.silence:g}"
                self.conclude(HANG, f"hang: {why} seconds")
                self.process.kill()
                break
            for key, _ in selector.select(left):
                data = os.read(key.fileobj.fileno(), 65536)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
        status = self.process.wait()
        if self.verdict is not None:
            return self.verdict
        if status != 0:
            return QEMU_FAILED, f"QEMU failed with status {status}"
        return NO_STATUS, "the guest ended before the command did"

    def explain(self, reason):
        """Shows on standard error what helps to understand a failed run."""
        sys.stdout.flush()
        tail = bytes(self.serial[-TAIL:]).decode(errors="replace").replace("\r", "")
        if tail.strip():
            print(f"--- end of the serial output\n{tail.rstrip()}\n---", file=sys.stderr)
        if self.errors:
            print(self.errors.decode(errors="replace").rstrip(), file=sys.stderr)
        print(f"qemu-runner: {reason}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marker", required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--silence", type=float, required=True)
    parser.add_argument("--backtraces")
    parser.add_argument("--gdb-socket")
    parser.add_argument("--symbols")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    run = Run(options)
    try:
        status, reason = run.wait()
    except KeyboardInterrupt:
        run.process.kill()
        return 130
    if reason is not None:
        run.explain(reason)
    return status


if __name__ == "__main__":
    sys.exit(main())
