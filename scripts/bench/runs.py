"""Boots a kernel with `usertest bench` under qemu-runner.sh and reads the lines that it prints.

Each run's output stays in target/bench/, so that an interrupted measurement can be continued and a table written again.
"""

import math
import os
import re
import subprocess
from dataclasses import dataclass, field

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEPT = os.path.join(TOP, "target", "bench")
# Both kernels get the same words: no work-arounds for processors' bugs, no randomised kernel addresses.
APPEND = "mitigations=off kpti=off nokaslr quiet"
# Microseconds of the guest after which QEMU lets the next core run: the cores' clock is one, so a latency between busy cores cannot be
# told more exactly. Without a bound a kernel with a periodic tick would get shorter turns than one without.
TURNS = 100
# Seconds after which a guest counts as hanging.
PATIENCE = 900


class RunFailed(Exception):
    """A kernel did not come to the end of its run; the text says which and why."""


@dataclass(frozen=True)
class Run:
    """One boot. `mode` is `icount`, `single` or `multi`, as measuring under QEMU knows them."""

    kernel: str
    mode: str
    cores: int
    seed: int
    rows: tuple = ()
    append: str = APPEND
    # Instead of `usertest bench` with the rows.
    command: str = ""

    def name(self):
        """How messages and the kept output call it."""
        what = "-".join(self.rows) if self.rows else "all"
        return f"{self.kernel}-{self.mode}-{self.cores}-{self.seed}-{what}"[:120]

    def arguments(self):
        """The command line of qemu-runner.sh."""
        deterministic = ["--icount", str(self.seed), "--turns", str(TURNS)]
        mode = {"icount": deterministic, "single": ["--tcg", "single"], "multi": ["--tcg", "multi"]}
        kernel = ["--kernel", "linux"] if self.kernel == "linux" else []
        command = self.command or " ".join(["usertest", "bench", *self.rows])
        log = os.path.join(KEPT, self.name() + ".serial")
        return [
            os.path.join(TOP, "qemu-runner.sh"), "--smp", str(self.cores), *kernel, *mode[self.mode],
            "--timeout", str(PATIENCE), "--append", self.append, "--log", log, "--exec", command,
        ]  # fmt: skip


@dataclass
class Figure:
    """One figure of one run; `value` is None where there is only a reason."""

    value: float | None
    unit: str = ""
    better: str = ""
    reason: str = ""


@dataclass
class Output:
    """What one run printed."""

    figures: dict = field(default_factory=dict)
    text: str = ""
    serial: str = ""


def parse(text):
    """The figures, by name, in the lines of `usertest bench`."""
    figures = {}
    for line in text.splitlines():
        match line.rstrip("\r").split("\t"):
            case [name, "failed"]:
                figures[name] = Figure(None, reason="failed")
            case [name, "-", reason]:
                figures[name] = Figure(None, reason=reason)
            case [name, value, unit, better] if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
                figures[name] = Figure(float(value), unit, better)
    return figures


def execute(run, reuse=False):
    """Boots, and returns the `Output`. Raises `RunFailed` if the kernel did not reach the end of the command."""
    os.makedirs(KEPT, exist_ok=True)
    kept = os.path.join(KEPT, run.name() + ".txt")
    serial = os.path.join(KEPT, run.name() + ".serial")
    if not (reuse and os.path.exists(kept)):
        done = subprocess.run(run.arguments(), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        # 1 is usertest's own: some row failed, and its line says so.
        if done.returncode not in (0, 1):
            raise RunFailed(failure(run, done))
        with open(kept, "w") as file:
            file.write(done.stdout)
    with open(kept) as file:
        text = file.read()
    boot = ""
    if os.path.exists(serial):
        with open(serial, errors="replace") as file:
            boot = file.read()
    return Output(parse(text), text, boot)


def failure(run, done):
    """The message for a run that ended with a status of qemu-runner.sh."""
    said = [line for line in done.stderr.splitlines() if line.startswith("qemu-runner: ")]
    reason = said[-1].removeprefix("qemu-runner: ") if said else f"status {done.returncode}"
    rows = list(parse(done.stdout))
    last = f"; the last row it measured is {rows[-1]}" if rows else "; it measured no row"
    repeat = " ".join(f"'{word}'" if re.search(r"\s", word) else word for word in run.arguments())
    tail = "\n".join(done.stderr.splitlines()[-12:])
    return f"{run.kernel}, {run.mode}, {run.cores} cores, seed {run.seed}: {reason}{last}\n{tail}\nrepeat it with: {repeat}"


def number(text):
    """The number in a line of its own, or NaN."""
    found = re.search(r"^([0-9]+)\r?$", text, re.MULTILINE)
    return float(found.group(1)) if found else math.nan


def first_program(serial):
    """Microseconds from the reset to the first program, by the kernel's own messages, or NaN."""
    found = re.search(r"^\[ *([0-9]+)\.([0-9]{6})\] .*(?:Run /init|running init) as", serial, re.MULTILINE)
    return float(found.group(1) + found.group(2)) if found else math.nan
