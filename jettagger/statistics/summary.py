"""Display of templates: yields with their uncertainties."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jettagger.display import Grid, ObjectSummary, some
from jettagger.statistics.bins import Template, effective_events

if TYPE_CHECKING:
    from jettagger.statistics.templates import Templates

__all__ = ["templates_summary"]


def templates_summary(templates: Templates) -> ObjectSummary:
    """Yields of each region and process, with the statistical uncertainty of the simulation.

    Parameters
    ----------
    templates : Templates

    Returns
    -------
    ObjectSummary
        ``shifts`` is the largest change of a yield by a variation, up and down, in per cent of the yield.
    """
    spec, edges = templates.spec, np.asarray(templates.variable.edges, dtype=np.float64)
    rows: list[tuple[str, ...]] = []
    for region, processes in templates.nominal.items():
        backgrounds = [item for name, item in processes.items() if name in spec.processes]
        for name, template in processes.items():
            kind = "signal" if name in spec.signals else "background"
            rows.append((region, name, kind, *_numbers(template), _largest(template)))
        total = Template(
            np.sum([item.values for item in backgrounds], axis=0),
            np.sum([item.variances for item in backgrounds], axis=0),
            {},
        )
        if backgrounds:
            rows.append((region, "sum", "background", *_numbers(total), ""))
        observed = bool(spec.data) and region not in spec.blind
        events = f"{templates.data[region].sum():.6g}"
        rows.append((region, "data" if observed else "Asimov data", "data", events, "", ""))
    variations = {name for parts in templates.nominal.values() for item in parts.values() for name in item.shifts}
    signals = [f"{name} ({signal.mass:g} GeV)" for name, signal in spec.signals.items()]
    facts = [
        ("variable", f"{templates.variable.label or templates.variable.name}, {len(edges) - 1} bins"),
        ("edges", some([f"{edge:g}" for edge in edges], 12)),
        ("signals", some(signals)),
        ("variations", some(sorted(variations))),
        ("normalisations", some(list(spec.normalisations))),
        ("free", some(list(spec.free))),
        ("data", "sum of the backgrounds, in blind regions or all" if templates.asimov else "observed"),
    ]
    header = ("region", "process", "kind", "yield", "effective events", "shifts")
    notes = Grid(
        "Notes",
        ("bins that were repaired or merged, or have few simulated events",),
        [(line,) for line in templates.report],
    )
    return ObjectSummary(
        f"Templates of {templates.variable.name}",
        facts,
        (Grid("Yields, with the statistical uncertainty of the simulation", header, rows, 3), notes),
    )


def _numbers(template: Template) -> tuple[str, str]:
    total, variance = template.values.sum(keepdims=True), template.variances.sum(keepdims=True)
    effective = float(effective_events(total, variance)[0])
    return _rounded(float(total[0]), float(np.sqrt(variance[0]))), f"{effective:.4g}"


def _rounded(value: float, uncertainty: float) -> str:
    """Both to the second digit of the uncertainty.

    >>> _rounded(632924.2, 150123.0), _rounded(12.3456, 0.678), _rounded(3.0, 0.0)
    ('630,000 ± 150,000', '12.35 ± 0.68', '3 ± 0')
    """
    if not 0 < uncertainty < math.inf:
        return f"{value:.6g} ± {uncertainty:.2g}"
    digits = 1 - math.floor(math.log10(uncertainty))
    shown = (f"{round(number, digits):,.{max(digits, 0)}f}" for number in (value, uncertainty))
    return " ± ".join(shown)


def _largest(template: Template) -> str:
    """The variation with the largest change of the yield, and its changes."""
    total = template.values.sum()
    if not template.shifts or total <= 0:
        return ""
    changes = {name: (up.sum() / total - 1, down.sum() / total - 1) for name, (up, down) in template.shifts.items()}
    name = max(changes, key=lambda key: max(map(abs, changes[key])))
    up, down = (round(100 * change, 3) + 0.0 for change in changes[name])  # rounding errors are no shifts, -0 is 0
    return f"{name} {up:+.2g} / {down:+.2g} %"
