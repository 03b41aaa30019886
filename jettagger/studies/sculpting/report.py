"""The report of a study: numbers as JSON, tables as Markdown, figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jettagger.discriminants import Measured
from jettagger.finetuning.report import number
from jettagger.provenance import KEY, Provenance
from jettagger.studies.sculpting.config import StudyConfig
from jettagger.studies.sculpting.figures import figures
from jettagger.studies.sculpting.jets import StudyJets
from jettagger.studies.sculpting.measure import MethodResult

__all__ = ["REPORT", "table", "write_report"]

#: the numbers of a study
REPORT = "report.json"


def table(config: StudyConfig, results: Sequence[MethodResult], failures: Mapping[str, str]) -> str:
    """The comparison as Markdown: one row per method.

    Parameters
    ----------
    config : StudyConfig
    results : sequence of MethodResult
    failures : mapping of str to str
        Name of a method that could not be fitted -> reason.

    Returns
    -------
    str
    """
    columns = list(config.content.protected)
    share = f"{100 * config.content.signal_efficiency:g} %"
    heads = [
        "score",
        f"rejection at {share} signal efficiency",
        "of the discriminant's",
        "divergence [10^-3]",
        "floor [10^-3]",
        "1 / divergence",
        *(f"distance correlation, {column}" for column in columns),
        *(f"flat in {column}" for column in columns),
        "",
    ]
    lines = [_line(*heads), _line(*["---"] * len(heads))]
    for result in results:
        shape = result.point.divergence
        flatness = [result.cuts[0].profiles["background"][column] for column in columns]
        lines.append(
            _line(
                result.method.name,
                number(result.point.rejection),
                "1" if result.method.kind == "raw" else number(result.retained),
                number(_scaled(shape.value, 1e3)),
                f"{1e3 * shape.floor.value:.3g}",
                number(shape.inverse),
                *("" if (value := result.distance[column]) is None else number(value) for column in columns),
                *(f"{profile.probability:.2g}" if profile.ndf else "" for profile in flatness),
                "**failed**" if result.method.failure else "",
            )
        )
    for name in failures:
        lines.append(_line(name, *[""] * (len(heads) - 2), "**failed**"))
    notes = [f"- `{result.method.name}`: {result.method.failure}" for result in results if result.method.failure]
    notes += [f"- `{name}`: {reason}" for name, reason in failures.items()]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _scaled(value: Measured, factor: float) -> Measured:
    return Measured(factor * value.value, factor * value.uncertainty)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write_report(
    config: StudyConfig,
    samples: Mapping[str, StudyJets],
    results: Sequence[MethodResult],
    failures: Mapping[str, str],
    folder: Path,
    provenance: Provenance,
    *,
    plots: bool = True,
) -> dict[str, str]:
    """Write ``report.json``, ``report.md`` and the figures.

    Parameters
    ----------
    config : StudyConfig
    samples : mapping of str to StudyJets
        ``background`` and ``signal``.
    results : sequence of MethodResult
    failures : mapping of str to str
    folder : pathlib.Path
        An existing folder.
    provenance : Provenance
    plots : bool
        Whether figures are drawn; needs the extra ``plot``.

    Returns
    -------
    dict of str to str
        File -> description.
    """
    content = {
        KEY: provenance.to_dict(),
        "title": config.content.title,
        "jets": {kind: jets.counts() for kind, jets in samples.items()},
        "left_out": {kind: jets.left_out for kind, jets in samples.items()},
        "protected": {column: list(edges) for column, edges in config.edges.items()},
        "methods": [result.content() for result in results],
        "failures": dict(failures),
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    (folder / REPORT).write_text(f"{text}\n", encoding="utf-8")
    written = {REPORT: "all numbers", "report.md": "the comparison"}
    if plots:
        from jettagger.plots import save_figure

        for name, (what, figure) in figures(config, results).items():
            save_figure(figure, folder / name)
            written[name] = what
    page = _page(config, samples, results, failures, written)
    (folder / "report.md").write_text(f"{page}\n{provenance}\n", encoding="utf-8")
    return written


def _page(
    config: StudyConfig,
    samples: Mapping[str, StudyJets],
    results: Sequence[MethodResult],
    failures: Mapping[str, str],
    written: Mapping[str, str],
) -> str:
    lines = [f"# {config.content.title or 'Decorrelation'}", "", table(config, results, failures), ""]
    lines += [
        f"The divergence is that of Jensen and Shannon (logarithm to the base {config.content.base:g}) of the "
        f"background's {config.mass} before and after the cut; its floor is what random subsets of as many jets show. "
        "A flat efficiency has a chi-square probability that is not small.",
        "",
        _line("jets", "fitted to", "compared", "left out"),
        _line(*["---"] * 4),
    ]
    for kind, jets in samples.items():
        counts = jets.counts()
        lost = ", ".join(f"{count} {why}" for why, count in jets.left_out.items())
        lines.append(_line(kind, str(counts["fit"]), str(counts["test"]), lost or "0"))
    lines += ["", _cuts(results), ""]
    lines += [*(f"![{what}]({name})" for name, what in written.items() if name.endswith(".png")), ""]
    return "\n".join(lines)


def _cuts(results: Sequence[MethodResult]) -> str:
    heads = ("score", "cut", "background efficiency", "signal efficiency", "divergence [10^-3]", "floor [10^-3]")
    lines = [_line(*heads), _line(*["---"] * len(heads))]
    for result in results:
        for cut in result.cuts:
            shape = cut.divergence
            lines.append(
                _line(
                    result.method.name,
                    cut.name,
                    number(cut.background),
                    number(cut.signal),
                    number(_scaled(shape.value, 1e3)),
                    f"{1e3 * shape.floor.value:.3g}",
                )
            )
    return "\n".join(lines)
