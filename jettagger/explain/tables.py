"""The tables of an explanation as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jettagger.arguments import guard
from jettagger.discriminants import Measured
from jettagger.explain.collecting import FEATURES, GROUPS
from jettagger.explain.report import Explanation

__all__ = ["markdown", "number_text"]

#: rows of a table in Markdown
_ROWS = 20

#: headings of the rankings
_TITLES = {FEATURES: "variable", GROUPS: "group of variables", "kinds": "kind of constituents"}


def number_text(value: Measured) -> str:
    """A number with two digits of its uncertainty.

    Examples
    --------
    >>> number_text(Measured(0.1234, 0.0067)), number_text(Measured(12.0, 0.0)), number_text(Measured(2.0, np.nan))
    ('0.1234 ± 0.0067', '12', '2')
    """
    if not math.isfinite(value.value):
        return "-"
    if not (math.isfinite(value.uncertainty) and value.uncertainty > 0):
        return f"{value.value:.3g}"
    digits = 1 - math.floor(math.log10(value.uncertainty))
    if digits > 7:
        return f"{value.value:.3g} ± {value.uncertainty:.2g}"
    return f"{value.value:.{max(digits, 0)}f} ± {value.uncertainty:.{max(digits, 0)}f}"


def markdown(found: Explanation) -> str:
    """The report as Markdown.

    Parameters
    ----------
    found : Explanation

    Returns
    -------
    str
    """
    unit = f" [{found.unit}]" if found.unit not in ("", "1") else ""
    lines = [f"# {found.target} of {found.model}: {found.method}", ""]
    lines += [f"- {text}: {number}" for text, number in found.counts.items()]
    lines += [f"- {text}: {number:.3g}" for text, number in found.checks.items()]
    lines += [f"- **{text}**" for text in found.remarks]
    if found.losses:
        rejection = "" if found.rejection is None else f"; rejection without permutation {number_text(found.rejection)}"
        lines += ["", f"## Loss of rejection{rejection}", ""]
        losses = sorted(found.losses.items(), key=lambda item: -item[1].value)
        lines += _table(
            ["permuted", "decrease of ln(rejection)"], [[name, number_text(value)] for name, value in losses]
        )
    for group in found.groups:
        title = f"{group.sample}: {group.name}" if group.sample else group.name
        lines += ["", f"## {title}, {group.jets} jets, mean {found.target}{unit} {number_text(group.output)}"]
        for ranking, rows in group.rankings.items():
            heads = [_TITLES.get(ranking, ranking), f"importance{unit}", "share", f"signed{unit}"]
            cells = [
                [row.name, number_text(row.importance), number_text(row.share), number_text(row.signed)]
                for row in rows[:_ROWS]
            ]
            lines += ["", *_table(heads, cells)]
            if len(rows) > _ROWS:
                lines += ["", f"{len(rows) - _ROWS} more in explanation.json."]
    for item in found.differences:
        lines += ["", f"## {item.name}: {item.samples[0]} minus {item.samples[1]}", ""]
        lines += [f"mean {found.target}{unit}: {number_text(item.output)}"]
        for ranking, values in item.rankings.items():
            ranked = sorted(values.items(), key=lambda pair: -_significance(pair[1]))[:_ROWS]
            cells = [[name, number_text(value), f"{_significance(value):.1f}"] for name, value in ranked]
            heads = [_TITLES.get(ranking, ranking), f"difference of importances{unit}", "standard deviations"]
            lines += ["", *_table(heads, cells)]
    for name, curves in found.curves.items():
        lines += ["", f"## {name}: constituents that suffice", ""]
        heads = ["constituents kept", *curves]
        columns = list(curves.values())
        cells = [
            [f"{int(number)}", *(number_text(Measured(column[1][row], column[2][row])) for column in columns)]
            for row, number in enumerate(columns[0][0])
        ]
        lines += _table(heads, cells)
    return "\n".join(lines) + "\n"


def _significance(value: Measured) -> float:
    good = math.isfinite(value.uncertainty) and value.uncertainty > 0
    return abs(value.value) / value.uncertainty if good else 0.0


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    every = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(row)} |" for row in every]


guard(globals(), "markdown", "number_text")
