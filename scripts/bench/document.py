"""docs/benchmarks.md, whose tables are written between marks, and docs/benchmarks.svg."""

import os
import re
import sys

import plot
from runs import TOP

DOCUMENT = os.path.join(TOP, "docs", "benchmarks.md")
PICTURE = os.path.join(TOP, "docs", "benchmarks.svg")


def replace(text, part, content):
    """`text` with what stands between the marks of `part` replaced."""
    begin, end = f"<!-- {part}: written by just bench -->\n", f"<!-- end of {part} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"bench: docs/benchmarks.md has no marks for {part}")
    return pattern.sub(lambda _: begin + content + end, text)


def write(contents, lines):
    """Puts the tables into the document, and draws the plot."""
    with open(DOCUMENT) as file:
        text = file.read()
    for part, content in contents.items():
        text = replace(text, part, content)
    with open(DOCUMENT, "w") as file:
        file.write(text)
    if lines:
        with open(PICTURE, "w") as file:
            file.write(plot.ratios(lines))
    print("written to docs/benchmarks.md: " + ", ".join(contents), file=sys.stderr)
