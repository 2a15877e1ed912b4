"""Measures Lichen beside Debian's Linux: same QEMU line, same root file system, same program, in turns.

    scripts/bench [OPTION]... [ROW]...

It prints tables, and writes those of a full measurement (no rows named, at least five runs) into docs/benchmarks.md,
between its marks, and the plot docs/benchmarks.svg.

  --seeds N          deterministic runs of each kernel, with the seeds 42, 43, ... (default 5)
  --walls N          wall-clock runs of each kernel (default 5)
  --only PART        paths, cores, walls, speedup or sizes; may be repeated
  --no-linux         Lichen alone
  --reuse            take runs whose output is still in target/bench
  --smoke            Lichen alone, quickly: does every row yield a figure?
"""

import argparse
import math
import os
import subprocess
import sys
import time

import document
import table
from runs import TOP, Run, RunFailed, execute, first_program, number

KERNELS = ("linux", "lichen")
FIRST_SEED = 42
# Fewest runs of which a median is documented.
RUNS = 5
PARTS = ("paths", "cores", "walls", "speedup", "sizes")
# What is measured by the clock: rows whose figure is a path's length, few enough to repeat.
WALL_ROWS = (
    "getppid", "pipe-same", "pipe-two", "pipe-unpinned", "futex", "sched-yield", "fork-exit", "thread-create",
    "anonymous-fault", "debian-hackbench",
)  # fmt: skip
CORES = (1, 2, 4, 8)
SPEEDUP_RUNS = 3
# kB in use of the machine's 2 GiB: all that is neither free, nor a file of the root, nor a program's.
MEMORY = """files=$(du -skx --apparent-size / | cut -f1)
awk -v files=$files '/^(MemFree|AnonPages):/ { sum += $2 } END { print 2097152 - sum - files }' /proc/meminfo"""


class Session:
    """The runs of one measurement, with a line of progress for each."""

    def __init__(self, options):
        self.kernels = ("lichen",) if options.no_linux else KERNELS
        self.reuse = options.reuse

    def run(self, run):
        began = time.monotonic()
        output = execute(run, self.reuse)
        print(f"  {run.name()}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return output

    def turns(self, count, make):
        """Runs `make(kernel, index)` `count` times for each kernel, in turns; the outputs by kernel."""
        outputs = {kernel: [] for kernel in KERNELS}
        for index in range(count):
            for kernel in self.kernels:
                outputs[kernel].append(self.run(make(kernel, index)))
        return outputs


def paths(session, options):
    """The main table: deterministic runs on two cores."""
    rows = tuple(options.rows)
    outputs = session.turns(options.seeds, lambda kernel, i: Run(kernel, "icount", 2, FIRST_SEED + i, rows))
    lines = table.lines(outputs["linux"], outputs["lichen"])
    return table.comparison(lines), lines


def walls(session, options):
    """The table of wall-clock time."""
    rows = tuple(options.rows) or WALL_ROWS
    outputs = session.turns(options.walls, lambda kernel, i: Run(kernel, "single", 2, i, rows))
    lines = table.lines(outputs["linux"], outputs["lichen"])
    shown = [[line.name, line.unit, table.plain(line.linux), table.plain(line.lichen) or line.reason,
              f"{line.ratio:.2f}" if line.ratio is not None else ""] for line in lines]  # fmt: skip
    return table.markdown(["row", "unit", "Linux", "Lichen", "ratio"], shown)


def by_cores(session, mode, counts, repeats, rows):
    """A table with a column for each number of cores, and the lines by number of cores."""
    lines = {}
    for cores in counts:
        outputs = session.turns(repeats, lambda kernel, i: Run(kernel, mode, cores, FIRST_SEED + i, rows))
        lines[cores] = {line.name: line for line in table.lines(outputs["linux"], outputs["lichen"])}
    names = list(dict.fromkeys(name for found in lines.values() for name in found))

    def cell(name, kernel, cores):
        line = lines[cores].get(name)
        return table.plain(getattr(line, kernel)) or line.reason if line else ""

    return names, lines, cell


def cores(session, _options):
    """Work for each operation on one to eight cores."""
    names, lines, cell = by_cores(session, "icount", CORES, 1, ("parallel", "spread-16"))
    header = ["row", "unit", "kernel", *(f"{n} core{'s' * (n > 1)}" for n in CORES)]
    rows = [
        [name, next((lines[n][name].unit for n in CORES if name in lines[n]), ""), kernel.capitalize(),
         *(cell(name, kernel, n) for n in CORES)]
        for name in names for kernel in session.kernels
    ]  # fmt: skip
    return table.markdown(header, rows)


def speedup(session, _options):
    """What a second core brings, with a host thread for each core."""
    names, lines, _ = by_cores(session, "multi", (1, 2), SPEEDUP_RUNS, ("parallel",))
    rows = []
    for name in names:
        one, two = lines[1].get(name), lines[2].get(name)
        row = [name]
        for kernel in KERNELS:
            before, after = getattr(one, kernel, None), getattr(two, kernel, None)
            row += [table.plain(before), table.plain(after), f"{before / after:.2f}" if before and after else ""]
        rows.append(row)
    columns = [f"{kernel}, {what}" for kernel in ("Linux", "Lichen") for what in ("1 core", "2 cores", "speed-up")]
    return table.markdown(["row (ns)", *columns], rows)


def sizes(session, _options):
    """Image, way to the first program, memory."""
    words = "loglevel=7 mitigations=off kpti=off nokaslr"
    boot = session.turns(1, lambda kernel, _: Run(kernel, "icount", 2, FIRST_SEED, ("first",), words, "true"))
    memory = session.turns(1, lambda kernel, _: Run(kernel, "icount", 4, FIRST_SEED, ("memory",), command=MEMORY))
    image = os.path.getsize(os.path.join(TOP, "target", "Image"))

    def row(what, values, unit, most):
        cells = ["" if math.isnan(value) else f"{value:,.1f} {unit}" for value in values]
        lichen = values[1]
        met = "" if math.isnan(lichen) else "yes" if lichen <= most else "**no**"
        return [what, *cells, f"at most {most} {unit}", met]

    def pick(outputs, read):
        return [read(outputs[kernel][0]) if outputs[kernel] else math.nan for kernel in KERNELS]

    first = [value / 1000 for value in pick(boot, lambda output: first_program(output.serial))]
    used = [value / 1024 for value in pick(memory, lambda output: number(output.text))]
    rows = [
        row("kernel image", [math.nan, image / 2**20], "MiB", 4),
        row("reset to the first program (2 cores)", first, "million instructions", 100),
        row("kernel memory at the prompt (4 cores)", used, "MiB", 16),
    ]
    return table.markdown(["size", "Linux", "Lichen", "wanted", "met"], rows)


def smoke():
    """Runs every row quickly; the last line counts."""
    output = execute(Run("lichen", "icount", 2, FIRST_SEED, ("--quick",)))
    listed = execute(Run("lichen", "icount", 2, FIRST_SEED, ("--list",))).text.split()
    bad = 0
    for row in listed:
        found = [figure for name, figure in output.figures.items() if name == row or name.startswith(row + "-")]
        broken = not found or any(figure.reason == "failed" for figure in found)
        bad += broken
        if broken:
            print(f"FAILED  {row}: {'failed' if found else 'no line'}")
    print(f"{len(listed) - bad} passed, {bad} failed")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(prog="bench", usage=__doc__.split("\n\n", 1)[1], add_help=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--seeds", type=int, default=RUNS)
    parser.add_argument("--walls", type=int, default=RUNS)
    parser.add_argument("--only", action="append", choices=PARTS)
    for flag in ("--no-linux", "--reuse", "--smoke"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    if options.help:
        print(__doc__.strip())
        return 0
    if options.smoke:
        return smoke()
    session = Session(options)
    parts = options.only or (("paths",) if options.rows else PARTS)
    contents, lines = {}, None
    for part in parts:
        made = {"paths": paths, "cores": cores, "walls": walls, "speedup": speedup, "sizes": sizes}[part](session, options)
        contents[part], lines = made if part == "paths" else (made, lines)
        print(f"\n{contents[part]}", flush=True)
    if not options.rows and not options.no_linux and min(options.seeds, options.walls) >= RUNS:
        document.write(contents, lines)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RunFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, subprocess.SubprocessError) as stopped:
        print(f"bench: stopped: {stopped!r}", file=sys.stderr)
        sys.exit(130)
