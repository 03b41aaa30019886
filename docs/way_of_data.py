"""Draws ``docs/way_of_data.svg``, the way of the data: ``python docs/way_of_data.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

PICTURE = Path(__file__).with_suffix(".svg")

#: rows of boxes: title, what it holds, and what leads to it
ROWS = (
    (
        ("file", "PFNano, Delphes, JetClass-II, ...", ""),
        ("events or a table", "jets, constituents, vertices", "uproot"),
        ("selected jets", "flat columns, linked and sorted", "source"),
    ),
    (
        ("batch", "float32[jets, variables, length]", "bundle"),
        ("outputs", "float32[jets, columns]", "network"),
        ("events with scores", "<prefix>_probHbb, ..., None", "put back"),
    ),
    (
        ("one number per jet", "HbbvsQCD, a head, a map", "discriminant"),
        ("passing jets", "true or false", "working point"),
        ("histograms", "by sample, region and variation", "search"),
    ),
    (
        ("templates", "events in bins, of each process", "cross sections"),
        ("limits, fits", "combine and pyhf read the same", "likelihood"),
    ),
)
WIDTH, HEIGHT, GAP, BELOW, MARGIN = 214, 58, 96, 44, 8

FILL = 'fill="#eef4fb" stroke="#3f90da"'


def drawn() -> str:
    """The picture as SVG."""
    right = 2 * MARGIN + max(map(len, ROWS)) * (WIDTH + GAP) - GAP
    bottom = 2 * MARGIN + len(ROWS) * (HEIGHT + BELOW) - BELOW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" font-family="sans-serif" '
        'font-size="14" text-anchor="middle">',
        "<title>From a file to a limit</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#4a4a4a"/></marker></defs>',
        f'<rect width="{right}" height="{bottom}" fill="white"/>',
    ]
    for number, row in enumerate(ROWS):
        top = MARGIN + number * (HEIGHT + BELOW)
        for column, (title, content, step) in enumerate(row):
            left = MARGIN + column * (WIDTH + GAP)
            middle = top + HEIGHT / 2
            lines += [
                f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" {FILL}/>',
                f'<text x="{left + WIDTH / 2:g}" y="{middle - 6:g}" font-weight="bold">{escape(title)}</text>',
                f'<text x="{left + WIDTH / 2:g}" y="{middle + 15:g}" font-size="13">{escape(content)}</text>',
            ]
            if column:
                path = f"M{left - GAP + 2} {middle:g}H{left - 2}"
                x, y = left - GAP / 2, middle - 8
            elif number:
                turn = top - BELOW / 2
                start = MARGIN + (len(ROWS[number - 1]) - 0.5) * WIDTH + (len(ROWS[number - 1]) - 1) * GAP
                path = f"M{start:g} {top - BELOW}V{turn:g}H{MARGIN + WIDTH / 2:g}V{top - 2}"
                x, y = right / 2, turn - 6
            else:
                continue
            lines += [
                f'<path d="{path}" fill="none" stroke="#4a4a4a" stroke-width="1.5" marker-end="url(#tip)"/>',
                f'<text x="{x:g}" y="{y:g}" font-size="13" font-style="italic">{escape(step)}</text>',
            ]
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """Write the picture."""
    PICTURE.write_text(drawn(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
