"""The plot: a bar for each row's ratio, as SVG that reads on a light and on a dark page."""

from html import escape

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .small { font-size: 11px; fill: #57606a }
  .bar { fill: #2da44e } .missed { fill: #bf8700 } .slower { fill: #cf222e }
  .grid { stroke: #8c959f; stroke-opacity: .5; stroke-dasharray: 3 3 } .axis { stroke: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .bar { fill: #3fb950 } .missed { fill: #d29922 } .slower { fill: #f85149 }
  }
"""
LABELS, WIDTH, STEP, TOP = 215, 560, 19, 64
# The ratio at the right edge; longer bars are cut there.
EDGE = 1.2


def bars(rows, title, subtitle):
    """The SVG of `rows`: (name, ratio, class of the bar, text beside it)."""
    height = TOP + STEP * len(rows) + 28
    bottom = height - 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABELS + WIDTH + 90} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
        f'<text class="small" x="8" y="38">{escape(subtitle)}</text>',
    ]
    for value, name in [(1 / 3, "1/3"), (1 / 2, "1/2"), (1, "Linux")]:
        x = LABELS + WIDTH * value / EDGE
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{name}</text>')
    for index, (name, ratio, kind, label) in enumerate(rows):
        y = TOP + STEP * index
        length = WIDTH * min(ratio, EDGE) / EDGE
        parts.append(f'<text x="{LABELS - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length:.1f}" height="{STEP - 5}" rx="2"/>')
        parts.append(f'<text class="small" x="{LABELS + length + 6:.1f}" y="{y + 11}">{escape(label)}</text>')
    parts.append(f'<line class="axis" x1="{LABELS}" y1="{TOP - 6}" x2="{LABELS}" y2="{bottom}"/>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def ratios(table):
    """The plot of a table's rows that have a ratio."""

    def kind(line):
        if line.ratio > 1:
            return "slower"
        return "missed" if line.verdict.startswith("**no") else "bar"

    rows = [(line.name, line.ratio, kind(line), f"{line.ratio:.2f}") for line in table if line.ratio is not None]
    return bars(rows, "Lichen by Linux", "figure of Lichen divided by Linux's, shorter is better; amber: above its goal")
