"""Fits of the templates of a search: what is fitted, how well, and what the strength depends on.

Reads what 'jettagger search' leaves in its output folder, and writes a folder with fits.json, fits.txt and pictures:
spectra before and after the fit, pulls and constraints, ranked impacts, correlations, significance and limits against
the mass. The goodness of fit is the saturated one, with toys. Needs: pip install 'jettagger[stats]'; with pictures:
pip install 'jettagger[stats,plot]'.

examples:
  jettagger fit OUT/                                 writes OUT/fits/
  jettagger fit OUT/ --dry-run                       says what would be fitted
  jettagger fit OUT/ -o FITS/ --signal X1000 --toys 1000 --seed 7 --workers 4

An interrupted command goes on with the next signal when it is repeated: fits that are done are kept in FITS.resume/.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.cli.console import Console
from jettagger.cli.options import counted, seed
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.files import atomic, refuse_inputs
from jettagger.provenance import KEY, Provenance
from jettagger.statistics.closure import Closure, fit_closure
from jettagger.statistics.keptfits import KeptFits, fit_digest, kept_fits
from jettagger.statistics.limits import Limit, limit
from jettagger.statistics.limits import table as limit_table
from jettagger.statistics.searchfits import SearchFit, fit_search, plain, steps
from jettagger.statistics.templates import load_closures, load_details, load_report, load_workspaces

__all__ = ["configure", "run"]

#: a file in each output folder
MARKER = "fits.json"
#: number of impacts in the table
RANKED = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger fit``."""
    add = parser.add_argument
    add("folder", type=Path, metavar="OUT/", help="the output folder of 'jettagger search'")
    add("--output", "-o", type=Path, metavar="FITS/", help="folder to write (default: fits/ in the folder)")
    add("--signal", action="append", default=[], metavar="NAME", help="only this signal (repeatable)")
    add(
        "--toys",
        type=counted,
        default=200,
        metavar="N",
        help="toys for the goodness of fit; 0: only the chi-square (default: %(default)s)",
    )
    add("--seed", type=seed, default=1, metavar="N", help="seed of the toys (default: %(default)s)")
    add(
        "--workers",
        type=counted,
        default=1,
        metavar="N",
        help="processes that fit toys; does not change results (default: %(default)s)",
    )
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace the output folder of earlier fits")
    add("--dry-run", action="store_true", help="read everything, and say what would be done")


def run(args: argparse.Namespace, console: Console) -> int:
    """Fit each signal, print the results, and write the folder.

    Raises
    ------
    UnknownName
        If a requested signal does not exist.
    ConfigError
        If the number of toys is negative.
    InvalidValues
        If no signal can be fitted.
    """
    if args.toys < 0:
        raise ConfigError(f"--toys: got {args.toys}, expected a number of toys, or 0")
    if args.workers < 1:
        raise ConfigError(f"--workers: got {args.workers}, expected at least 1")
    signals, workspaces, asimov = load_workspaces(args.folder)
    variable, details = load_details(args.folder)
    unknown = [name for name in args.signal if name not in signals]
    if unknown:
        raise UnknownName("signal", unknown, signals, str(args.folder))
    chosen = list(dict.fromkeys(args.signal)) or list(signals)
    target = args.folder / "fits" if args.output is None else args.output
    refuse_inputs(target, [path for path in args.folder.iterdir() if path.is_file()])
    atomic.check_folder(target, marker=MARKER, force=args.force)
    if args.dry_run:
        _plan(console, args, chosen, signals, workspaces, asimov, target)
        return 0
    closures: list[Closure] = []
    fits: list[SearchFit] = []
    limits: list[Limit] = []
    failed: dict[str, str] = {}
    for name, workspace in load_closures(args.folder).items():
        try:
            closures.append(fit_closure(workspace, name))
        except InvalidValues as error:
            failed[f"closure of {name}"] = str(error)
    with kept_fits(target) as kept:
        _fit_all(console, args, chosen, signals, workspaces, details, asimov, kept, fits, limits, failed)
        _write(console, args, target, fits, limits, closures, failed, variable, asimov)
    for name, reason in failed.items():
        console.warn(f"{name}: {reason}")
    console.wrote(target, f"{target}/: fits.json, fits.txt" + ("" if args.no_plots else ", pictures"))
    return 0


def _fit_all(
    console: Console,
    args: argparse.Namespace,
    chosen: list[str],
    signals: Any,
    workspaces: Any,
    details: Any,
    asimov: bool,
    kept: KeptFits,
    fits: list[SearchFit],
    limits: list[Limit],
    failed: dict[str, str],
) -> None:
    """Fit each signal; those that an interrupted run has fitted in the same way are taken from it."""
    settings = {"asimov_data": asimov, "toys": args.toys}
    digests = {
        name: fit_digest(workspaces[name], seed=args.seed, **settings, **details[name], signal=asdict(signals[name]))
        for name in chosen
    }
    found = {name: kept.get(digest) for name, digest in digests.items()}
    if any(found.values()):
        console.say(f"{sum(item is not None for item in found.values())} of {len(chosen)} signals were fitted before")
    total = sum(steps(workspaces[name], **settings) for name in chosen if found[name] is None)
    with console.progress_bar("fitting", total, "parameters and toys") as advance:
        for name in chosen:
            about = {"signal": name, "mass": signals[name].mass}
            try:
                both = found[name]
                if both is None:
                    options = {**settings, **details[name], "seed": args.seed}
                    fitted = fit_search(workspaces[name], **about, **options, progress=advance, workers=args.workers)
                    section = signals[name].cross_section
                    both = fitted, limit(workspaces[name], **about, cross_section=section, asimov=asimov)
                    kept.put(digests[name], *both)
            except InvalidValues as error:
                failed[name] = str(error)
                continue
            fits.append(both[0])
            limits.append(both[1])


def _write(
    console: Console,
    args: argparse.Namespace,
    target: Path,
    fits: list[SearchFit],
    limits: list[Limit],
    closures: list[Closure],
    failed: dict[str, str],
    variable: dict[str, Any],
    asimov: bool,
) -> None:
    """Print the results, and write the folder."""
    if not fits:
        raise InvalidValues(f"no signal can be fitted: {'; '.join(dict.fromkeys(failed.values()))}")
    made = Provenance.of_file(args.folder / "templates.json").then("fit")
    text = "\n".join([*map(_closure, closures), _text(fits, limits, failed, load_report(args.folder), asimov)])
    content = {
        KEY: made.to_dict(),
        "toys": args.toys,
        "seed": args.seed,
        "variable": variable,
        "fits": {item.signal: item.to_dict() for item in fits},
        "limits": {item.signal: {"observed": item.observed, "expected": item.expected} for item in limits},
        "closures": {item.process: plain(item) for item in closures},
        "failed": failed,
    }
    with atomic.folder_complete_or_absent(target, marker=MARKER, force=args.force) as part:
        (part / MARKER).write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
        (part / "fits.txt").write_text(f"{text}\n{made}\n", encoding="utf-8")
        if not args.no_plots and importlib.util.find_spec("mplhep"):
            _draw(part, args.folder, fits, limits, closures, variable)
    console.answer(content, text)


def _plan(
    console: Console,
    args: argparse.Namespace,
    chosen: list[str],
    signals: Any,
    workspaces: Any,
    asimov: bool,
    target: Path,
) -> None:
    console.say(f"ok: {len(chosen)} signals can be fitted, and {target} written")
    rows = []
    for name in chosen:
        channels = workspaces[name]["channels"]
        parameters = {item["name"] for c in channels for s in c["samples"] for item in s["modifiers"]}
        bins = sum(len(item["data"]) for item in workspaces[name]["observations"])
        rows.append((name, f"{signals[name].mass:g}", len(channels), bins, len(parameters)))
    console.table("fits", ("signal", "mass [GeV]", "regions", "bins", "names of parameters"), rows)
    console.say(
        "the data are the sum of the backgrounds: expected results only" if asimov else f"{args.toys} toys for each"
    )


def _text(fits: list[SearchFit], limits: list[Limit], failed: dict[str, str], report: list[str], asimov: bool) -> str:
    lines = []
    for item in fits:
        spread = f" ± {item.uncertainty:.2g}" if item.uncertainty > 0 else ", at its bound, without an uncertainty"
        lines.append(f"{item.signal} ({item.mass:g} GeV): strength {item.strength:.4g}{spread}")
        observed = "" if item.significance is None else f", observed {item.significance:.2f}"
        lines.append(f"  significance: expected {item.expected_significance:.2f}{observed} standard deviations")
        if item.goodness is not None:
            good = item.goodness
            toys = (
                ""
                if good.probability is None
                else f", {good.probability:.3f} ± {good.uncertainty:.3f} of {good.toys} toys"
            )
            lost = f", {good.failed} toys whose fit does not converge are left out" if good.failed else ""
            lines.append(
                f"  goodness of fit: {good.statistic:.4g} for {good.degrees} degrees of freedom, "
                f"p = {good.asymptotic:.3f}{toys}{lost}"
            )
        groups = [f"{name} {size:.2g}" for name, size in item.groups.items()]
        lines += [f"  uncertainty: {', '.join(groups)}"] if groups else []
        moved = [one for one in item.impacts if one.size > 0 or None in (one.up, one.down)]
        ranked = [f"{one.name} {_change(one.up)}/{_change(one.down)}" for one in moved[:RANKED]]
        lines += [f"  impacts: {', '.join(ranked)}"] if ranked else []
        pulled = [one for one in item.parameters if one.pull is not None and abs(one.pull) > 1]
        if pulled:
            lines.append("  pulled by more than one: " + ", ".join(f"{one.name} {one.pull:+.2f}" for one in pulled))
        ended = [one.name for one in item.parameters if one.at_bound]
        if ended:
            lines.append(f"  at their bounds: {', '.join(ended)}")
    lines += ["", limit_table(limits)] if limits else []
    lines += [f"not fitted: {name}: {reason}" for name, reason in failed.items()]
    if asimov:
        lines.append("the data are the sum of the backgrounds in some or all regions: all results are expected ones")
    lines += [f"templates: {line}" for line in report]
    return "\n".join(lines)


def _change(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2g}"


def _closure(item: Closure) -> str:
    good = f"{item.statistic:.4g} for {item.degrees} degrees of freedom, p = {item.probability:.3f}"
    lines = [f"closure of {item.process}: {good}"]
    for spectrum in item.spectra:
        expected, seen = spectrum.total, spectrum.data
        spread = np.sqrt(expected + np.square(spectrum.uncertainty))
        farthest = int(np.argmax(np.abs(seen - expected) / spread))
        lines.append(
            f"  {spectrum.region}: {seen.sum():.6g} events, {expected.sum():.6g} expected; the largest difference is "
            f"{(seen[farthest] - expected[farthest]) / spread[farthest]:+.1f} standard deviations, in bin {farthest}"
        )
    return "\n".join(lines)


def _draw(
    part: Path,
    folder: Path,
    fits: list[SearchFit],
    limits: list[Limit],
    closures: list[Closure],
    variable: dict[str, Any],
) -> None:
    from jettagger import plots
    from jettagger.search.labels import read_styles

    label, styles = read_styles(folder)

    def keep(figure: Any, name: str) -> None:
        for suffix in (".png", ".pdf"):
            plots.save_figure(figure, part / f"{name}{suffix}")

    place = {"edges": variable["edges"], "variable": variable["label"] or variable["name"]}
    for closure in closures:
        for spectrum in closure.spectra:
            figure = plots.closure_spectrum(closure, spectrum.region, **place, styles=styles, label=label)
            keep(figure, f"closure_{closure.process}_{spectrum.region}")
    for item in fits:
        for fitted, when in ((False, "prefit"), (True, "postfit")):
            for spectrum in item.postfit:
                title = f"{spectrum.region}, {'after' if fitted else 'before'} the fit"
                figure = plots.fitted_spectrum(
                    item, spectrum.region, **place, fitted=fitted, title=title, styles=styles, label=label
                )
                keep(figure, f"{item.signal}_{when}_{spectrum.region}")
        if any(one.pull is not None for one in item.parameters):
            keep(plots.fitted_pulls(item, label=label), f"{item.signal}_pulls")
        if item.impacts:
            keep(plots.strength_impacts(item, label=label), f"{item.signal}_impacts")
        with suppress(InvalidValues):  # all parameters are at bounds
            keep(plots.correlation_matrix(item, smallest=0.05, label=label), f"{item.signal}_correlations")
    keep(plots.significances(fits, styles=styles, label=label), "significance")
    if limits:
        keep(plots.limit_band(limits, label=label), "limits")
