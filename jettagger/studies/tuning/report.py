"""The folder of a search: the best options, tables of trials, a picture, the study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.assignment.training_options import UNUSED, AssignmentOptions
from jettagger.errors import visible
from jettagger.provenance import KEY, Provenance
from jettagger.studies.tuning.spaces import SearchSpace
from jettagger.studies.tuning.study import Trial

if TYPE_CHECKING:
    from jettagger.studies.tuning.run import Tuning

__all__ = ["MARKER", "OPTIONS", "STUDY", "trial_rows", "value_text", "write_report"]

#: files in the folder: that which only searches have, the options of the best trial, the journal of the study
MARKER, OPTIONS, STUDY = "tuning.json", "options.json", "study.journal"

#: maximum length of a reason in a table
_REASON = 100


def value_text(value: Any) -> str:
    """A value of an option for a table."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"


def trial_rows(trials: Sequence[Trial], keys: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The trials as a table.

    Parameters
    ----------
    trials : sequence of Trial
    keys : sequence of str
        Options that are searched.

    Returns
    -------
    header, rows : tuple of str, list of tuple of str
    """
    header = ("trial", "state", "value", "epochs", "time [s]", *keys, "reason")
    rows = []
    for trial in trials:
        value = "-" if trial.value is None else f"{trial.value:.5g}"
        values = [value_text(trial.parameters[key]) if key in trial.parameters else "-" for key in keys]
        reason = visible(" ".join(trial.problem.split()), _REASON)
        rows.append((f"{trial.number}", trial.state, value, f"{trial.epochs}", f"{trial.seconds:.1f}", *values, reason))
    return header, rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    made = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([made[0], "  ".join("-" * width for width in widths), *made[1:]]) + "\n"


def options_content(options: AssignmentOptions) -> dict[str, Any]:
    """The content of an options file: all keys with a use."""
    content: dict[str, Any] = options.model_dump(mode="json", exclude=set(UNUSED))
    if not options.jettagger.model_dump(exclude_defaults=True):
        del content["jettagger"]  # the original does not know it
    return content


def write_report(folder: Path, result: Tuning, space: SearchSpace, made: Provenance, *, plots: bool = True) -> None:
    """Write all but the study into an existing folder.

    Parameters
    ----------
    folder : pathlib.Path
    result : Tuning
    space : SearchSpace
    made : Provenance
    plots : bool
        Whether the picture is drawn.

    Raises
    ------
    MissingExtra
        If the extra ``plot`` is not installed.
    """
    options = json.dumps(options_content(result.options), indent=1) + "\n"
    (folder / OPTIONS).write_text(options, encoding="utf-8")
    keys = [item.key for item in space.ranges]
    (folder / "trials.txt").write_text(_table(*trial_rows(result.trials, keys)), encoding="utf-8")
    content = {
        KEY: made.to_dict(),
        "monitor": result.monitor,
        "higher_is_better": result.higher_is_better,
        "out_of_time": result.out_of_time,
        "space": space.content(),
        "best": result.best.number,
        "importances": result.importances,
        "trials": [trial.to_dict() for trial in result.trials],
        "sha256": {OPTIONS: hashlib.sha256(options.encode()).hexdigest()},
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (folder / MARKER).write_text(text, encoding="utf-8")
    if plots:
        from jettagger.plots import save_figure
        from jettagger.studies.tuning.figures import tuning_figure

        for suffix in ("pdf", "png"):
            save_figure(tuning_figure(result, space), folder / f"tuning.{suffix}")


guard(globals())
