"""The picture of a search: the criterion against the trial, and against each option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.plots.style import LINES, canvas, drawing
from jettagger.studies.tuning.report import value_text
from jettagger.studies.tuning.spaces import OptionRange, SearchSpace
from jettagger.studies.tuning.study import Trial

if TYPE_CHECKING:
    from jettagger.studies.tuning.run import Tuning

__all__ = ["tuning_figure"]

#: panels in a row
_COLUMNS = 3

#: state -> marker, colour; what has no epoch is at the lower end
_MARKS = {
    "complete": ("o", LINES[0][0]),
    "pruned": ("x", LINES[5][0]),
    "out of time": ("+", LINES[5][0]),
    "diverged": ("v", LINES[1][0]),
    "invalid": ("s", LINES[3][0]),
    "failed": ("D", LINES[4][0]),
}


def tuning_figure(result: Tuning, space: SearchSpace) -> Any:
    """Draw a search; needs the extra ``plot``.

    The first panel has the criterion of each trial, and the best of the complete ones up to it; the others have it
    against an option each, with the share of the variance that the option explains, largest first.

    Parameters
    ----------
    result : Tuning
    space : SearchSpace

    Returns
    -------
    matplotlib.figure.Figure
    """
    shares = result.importances
    ranges = sorted(space.ranges, key=lambda item: -shares.get(item.key, 0.0))
    count = 1 + len(ranges)
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    with drawing(font_size=13, legend_fontsize=10, axes_titlesize=12):
        figure, panels = canvas(rows, columns, figsize=(5.2 * columns, 4.4 * rows))
        axes = panels.ravel()
        low = _floor(result.trials)
        _points(axes[0], result.trials, [trial.number for trial in result.trials], low)
        _best(axes[0], result)
        axes[0].set_xlabel("Trial")
        axes[0].xaxis.get_major_locator().set_params(integer=True)
        axes[0].legend(frameon=True, framealpha=0.8, loc="best")
        for panel, item in zip(axes[1:], ranges, strict=False):
            drawn = [trial for trial in result.trials if item.key in trial.parameters]
            places = _places(panel, item, drawn)
            _points(panel, drawn, places, low)
            here = [trial.number for trial in drawn].index(result.best.number)
            panel.plot([places[here]], [result.best.value], "*", color=LINES[1][0], markersize=14)
            panel.set_xlabel(item.key)
            if item.key in shares:
                panel.set_title(f"{100 * shares[item.key]:.0f} % of the variance", fontsize=11)
        for panel in axes[::columns]:
            panel.set_ylabel(result.monitor.capitalize())
        for panel in axes[count:]:
            panel.set_visible(False)
    return figure


def _floor(trials: Sequence[Trial]) -> float:
    """Where trials without an epoch are drawn."""
    values = [trial.value for trial in trials if trial.value is not None]
    low, high = min(values), max(values)
    return low - 0.08 * ((high - low) or abs(high) or 1.0)


def _points(panel: Any, trials: Sequence[Trial], places: Sequence[float], low: float) -> None:
    for state, (marker, colour) in _MARKS.items():
        mine = [
            (place, low if trial.value is None else trial.value)
            for place, trial in zip(places, trials, strict=True)
            if trial.state == state
        ]
        if mine:
            x, y = zip(*mine, strict=True)
            panel.plot(x, y, linestyle="none", marker=marker, color=colour, markersize=6, label=state)


def _best(panel: Any, result: Tuning) -> None:
    """The best complete trial up to each."""
    better = max if result.higher_is_better else min
    numbers, values = [], []
    best: float | None = None
    for trial in result.trials:
        if trial.state == "complete" and trial.value is not None:
            best = trial.value if best is None else better(best, trial.value)
        if best is not None:
            numbers.append(trial.number)
            values.append(best)
    colour, style = LINES[1]
    panel.plot(numbers, values, color=colour, linestyle=style, drawstyle="steps-post", label="best")
    panel.plot(
        [result.best.number], [result.best.value], "*", color=colour, markersize=14, label=f"trial {result.best.number}"
    )


def _places(panel: Any, item: OptionRange, trials: Sequence[Trial]) -> list[float]:
    """Where trials are on the axis of an option; sets its scale."""
    values = [trial.parameters[item.key] for trial in trials]
    if item.choices:
        choices = _in_order(item.choices)
        panel.set_xticks(range(len(choices)), [value_text(value) for value in choices])
        panel.set_xlim(-0.5, len(choices) - 0.5)
        panel.tick_params(axis="x", which="minor", bottom=False, top=False)
        return [float(choices.index(value)) for value in values]
    if item.log:
        panel.set_xscale("log")
        margin = (item.high / item.low) ** 0.04
        panel.set_xlim(item.low / margin, item.high * margin)
    else:
        margin = 0.04 * ((item.high - item.low) or 1.0)
        panel.set_xlim(item.low - margin, item.high + margin)
    return values


def _in_order(choices: Sequence[Any]) -> list[Any]:
    """Numbers in their order, others as in the file."""
    numbers = all(isinstance(value, (int, float)) for value in choices)
    return sorted(choices) if numbers else list(choices)


guard(globals())
