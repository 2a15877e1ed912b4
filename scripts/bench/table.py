"""What the runs amount to: medians, ratios, what is wanted, and the table."""

import re
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Goal:
    """What a row ought to reach: a share of Linux's figure, or a value."""

    ratio: float | None = None
    most: float | None = None

    def __str__(self):
        if self.most is not None:
            return f"at most {plain(self.most)}"
        names = {1 / 3: "1/3", 1 / 2: "1/2", 1: "1"}
        return f"ratio {names.get(self.ratio, self.ratio)}" if self.ratio is not None else ""

    def shortfall(self, lichen, linux):
        """By which factor the figure is above its goal (1 or less is met), or None if that cannot be told."""
        if lichen is None:
            return None
        if self.most is not None:
            return lichen / self.most
        if self.ratio is None or not linux:
            return None
        return lichen / linux / self.ratio


THIRD, HALF, EQUAL, OPEN = Goal(1 / 3), Goal(1 / 2), Goal(1), Goal()

# The first that fits the whole of a row's name.
GOALS = [
    (r"getppid|futex-(same-core|two-cores)|pipe-(same-core|two-cores)", THIRD),
    (r"sched-yield|fork-exit-wait|thread-create-join|anonymous-fault", THIRD),
    (r"clock_gettime|parallel-compute", EQUAL),
    (r"sgis-per-cross-core-wake", Goal(most=1.05)),
    (r"nice-share-error|hogs-spread", Goal(most=2.0)),
    (r"spread-16-.*", Goal(most=50.0)),
    (r"idle-thread-memory", Goal(most=8192)),
    (r"(wake|timer)-latency-(.*-)?p99", EQUAL),
    (r".*-(p50|p90|p99|max)|nice-.*", OPEN),
    (r".*", HALF),
]


def goal(name):
    """The goal of the row `name`."""
    return next(goal for pattern, goal in GOALS if re.fullmatch(pattern, name))


@dataclass
class Line:
    """A row of the table; values are None where there is none, and `reason` then says why."""

    name: str
    unit: str
    linux: float | None
    lichen: float | None
    better: str = "lower"
    reason: str = ""

    @property
    def ratio(self):
        """Lichen's figure by Linux's, where both are and it means something."""
        if self.lichen is None or not self.linux or self.better != "lower" or self.unit == "%":
            return None
        return self.lichen / self.linux

    @property
    def verdict(self):
        """`yes`, `no` and by how much, or nothing without a goal or a figure."""
        shortfall = goal(self.name).shortfall(self.lichen, self.linux)
        if shortfall is None:
            return ""
        if shortfall <= 1:
            return "yes"
        return f"**no**, {shortfall:.1f} times that" if shortfall >= 2 else f"**no**, by {shortfall * 100 - 100:.1f} %"


def middle(outputs, name):
    """The median of a figure over runs, its unit, direction and the reason where a run lacks it."""
    figures = [output.figures[name] for output in outputs if name in output.figures]
    values = [figure.value for figure in figures if figure.value is not None]
    reason = next((figure.reason for figure in figures if figure.value is None), "")
    known = next((figure for figure in figures if figure.value is not None), None)
    # A figure that only some runs have is not a median of them all.
    complete = values and len(values) == len(outputs)
    return median(values) if complete else None, known, reason or ("" if complete or not figures else "missing in a run")


def lines(linux, lichen):
    """The table's lines from the two kernels' lists of outputs, in Lichen's order."""
    names = list(dict.fromkeys(name for outputs in (lichen, linux) for output in outputs for name in output.figures))
    result = []
    for name in names:
        theirs, theirs_known, _ = middle(linux, name)
        ours, ours_known, reason = middle(lichen, name)
        known = ours_known or theirs_known
        result.append(Line(name, known.unit if known else "", theirs, ours, known.better if known else "", reason))
    return result


def plain(value):
    """A figure with as many digits as it bears."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}".rstrip("0").rstrip(".")


def markdown(header, rows):
    """A table in Markdown."""
    body = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in body) + "\n"


def comparison(table):
    """The main table."""

    def row(line):
        wanted = str(goal(line.name)) if line.better == "lower" else f"{line.better} {line.unit}"
        lichen = plain(line.lichen) or line.reason
        ratio = f"{line.ratio:.2f}" if line.ratio is not None else ""
        return [line.name, line.unit, plain(line.linux), lichen, ratio, wanted, line.verdict]

    return markdown(["row", "unit", "Linux", "Lichen", "ratio", "wanted", "met"], [row(line) for line in table])
