"""Cards of CMS combine, from the same content as the workspaces for pyhf.

The format is that of https://cms-analysis.github.io/HiggsAnalysis-CombinedLimit. A variation is a nuisance parameter
``shape`` (combine morphs the normalised templates and changes the yield log-normally, as the workspaces do), a
normalisation uncertainty ``lnN``, a free normalisation a ``rateParam``. Limited simulated events are left to
``autoMCStats``, which takes the uncertainties in ``templates.root``. A background from data is one process per bin: a
``rateParam`` where it fails, and where it passes the product of this and of the transfer factor, whose coefficients are
``extArg``.

A strength of one is the signal itself: workspaces may have another unit, and fewer events in some bins
(:mod:`jettagger.statistics.workspaces`), cards have neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from jettagger.errors import ConfigError
from jettagger.statistics.bins import Template
from jettagger.statistics.transfer import ROOM as ROOM_OF_YIELDS
from jettagger.statistics.transfer import Transfer
from jettagger.statistics.workspaces import FREE_BOUNDS, ROOM, WorkspaceContent, expected_limit

__all__ = ["EVENTS", "check_names", "datacard", "default_groups", "in_bins", "row"]

#: names that combine reads
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: minimum effective events of a bin for one parameter of the sum of all processes: 0 is always
EVENTS = 0
#: variable parts of the names of histograms -> those of combine
_PARTS = {"region": "$CHANNEL", "process": "$PROCESS", "systematic": "$SYSTEMATIC"}
_RULE = "-" * 20


def row(name: str, cells: Iterable[str]) -> str:
    """A line of a card."""
    return " ".join([name, *cells])


def check_names(names: Iterable[str], what: str) -> None:
    """Refuse names that combine does not read.

    Parameters
    ----------
    names : iterable of str
        Of regions, processes and uncertainties.
    what : str
        The card, for the message.

    Raises
    ------
    ConfigError
        With the names.
    """
    bad = [name for name in dict.fromkeys(names) if not _NAME.fullmatch(name)]
    if bad:
        raise ConfigError(
            f"the datacard of {what}: combine does not read the names {', '.join(map(repr, bad))}; expected letters, "
            "digits and underscores, with a letter first"
        )


def default_groups(content: WorkspaceContent) -> dict[str, list[str]]:
    """The groups ``variations`` and ``normalisations`` of all uncertainties; without those that would be empty."""
    variations = content.variations()
    groups = {"variations": variations, "normalisations": [n for n in content.normalisations if n not in variations]}
    return {name: items for name, items in groups.items() if items}


def datacard(
    content: WorkspaceContent,
    root: str,
    names: Mapping[str, str],
    *,
    mass: float = 0.0,
    blind: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
    file: str = "datacard.txt",
) -> str:
    """The card for one signal.

    Parameters
    ----------
    content : WorkspaceContent
    root : str
        Name of the file with the templates, in the folder of the card.
    names : mapping
        Patterns ``nominal``, ``shifted`` and ``data`` of the names in this file, as for
        :func:`jettagger.statistics.templates.write_templates`.
    mass : float
        Mass of the resonance in GeV, for the command in the first lines.
    blind : bool
        Whether the data are the sum of the backgrounds in any region: only expected limits have a meaning.
    groups : mapping, optional
        Group of uncertainties -> their names.
    file : str
        Name of the card.

    Returns
    -------
    str
        The processes are in the order of their regions; the signal has the number 0.

    Raises
    ------
    ConfigError
        If combine cannot express something: names with other characters, names of histograms in which the direction
        does not follow the variation, or one name for a variation and a normalisation uncertainty of the same process.
    """
    of_limit = content
    content = in_bins(content)
    columns = [(region, process) for region, processes in content.nominal.items() for process in processes]
    variations = content.variations()
    normalisations = {
        name: {process: size for process, size in sizes.items() if any(process == of for _, of in columns)}
        for name, sizes in content.normalisations.items()
    }
    normalisations = {name: sizes for name, sizes in normalisations.items() if sizes}
    backgrounds = [name for name in dict.fromkeys(process for _, process in columns) if name != content.signal]
    numbers = {content.signal: 0, **{name: number for number, name in enumerate(backgrounds, 1)}}
    uncertainties = [*variations, *(name for name in normalisations if name not in variations)]
    grouped = {name: [item for item in items if item in uncertainties] for name, items in (groups or {}).items()}
    check_names([*content.nominal, *numbers, *uncertainties, *grouped], content.signal)
    limit, _ = expected_limit(of_limit)
    run = " --run blind" if blind else ""
    mass_of = f" -m {mass:g}" if mass else ""
    lines = [
        f"# {content.signal}: a strength of 1 is the signal in {root}",
        f"# combine -M AsymptoticLimits {file}{mass_of}{run} --rMin 0 --rMax {float(f'{ROOM * limit:.2g}'):g}",
        f"imax {len(content.nominal)} number of regions",
        f"jmax {len(backgrounds)} number of backgrounds",
        "kmax * number of uncertainties",
        _RULE,
        row("shapes", ["*", "*", root, _pattern(names["nominal"]), _pattern(names["shifted"])]),
        row("shapes", ["data_obs", "*", root, _pattern(names["data"])]),
        _RULE,
        row("bin", content.nominal),
        row("observation", [f"{content.data[region].sum():.10g}" for region in content.nominal]),
        _RULE,
        row("bin", [region for region, _ in columns]),
        row("process", [process for _, process in columns]),
        row("process", [str(numbers[process]) for _, process in columns]),
        row("rate", [f"{content.nominal[region][process].values.sum():.10g}" for region, process in columns]),
        _RULE,
    ]
    for name in uncertainties:
        sizes = [content.size(name, *column) if name in content.normalisations else None for column in columns]
        lines.append(_uncertainty(content, name, columns, sizes))
    for name in content.free:
        if name in backgrounds:
            low, high = FREE_BOUNDS
            lines.append(f"norm_{name} rateParam * {name} 1 [{low:g},{high:g}]")
    for item in content.transfers:
        lines += _rates(item)
    lines += [f"{name} group = {' '.join(items)}" for name, items in grouped.items() if items]
    lines += [f"{region} autoMCStats {EVENTS}" for region in content.nominal]
    return "\n".join(lines) + "\n"


def in_bins(content: WorkspaceContent) -> WorkspaceContent:
    """The same with a process for each bin of a background from data.

    Parameters
    ----------
    content : WorkspaceContent

    Returns
    -------
    WorkspaceContent
        Processes ``<background>_bin<i>``, counted from 1; where they pass, they have the mean transfer factor.
    """
    if not content.transfers:
        return content
    nominal: dict[str, dict[str, Template]] = {}
    for region, processes in content.nominal.items():
        found = nominal.setdefault(region, {})
        for name, template in processes.items():
            transfer = content.transfer(region, name)
            if transfer is None:
                found[name] = template
                continue
            item, position = transfer
            yields = content.nominal[item.pairs[position][1]][name].values
            values = yields * item.ratio if item.passes(region) else yields
            for i, one in enumerate(np.eye(len(values))):
                found[item.bin_names[i]] = Template(one * values, np.zeros_like(values), {})
    normalisations = {name: dict(sizes) for name, sizes in content.normalisations.items()}
    for item in content.transfers:
        for sizes in normalisations.values():
            if item.process in sizes:
                sizes.update(dict.fromkeys(item.bin_names, sizes[item.process]))
    return replace(content, nominal=nominal, normalisations=normalisations)


def _rates(item: Transfer) -> list[str]:
    """The lines of the parameters of a background from data, and of its rates."""
    lines = [
        f"{name} extArg {value:.10g} [{low:g},{high:g}]"
        for name, value, (low, high) in zip(item.coefficient_names, item.start, item.bounds, strict=True)
    ]
    for position, (passing, failing) in enumerate(item.pairs):
        for i, polynomials in enumerate(item.basis[position].T):
            process, name = item.bin_names[i], f"{item.yield_name(position)}_{i}"
            lines.append(f"{name} rateParam {failing} {process} 1 [0,{ROOM_OF_YIELDS:g}]")
            terms = "+".join(f"@{k}*{value:.10g}" for k, value in enumerate(polynomials, 1))
            formula, arguments = f"@0*({terms})", ",".join([name, *item.coefficient_names])
            lines.append(f"pass_{item.process}_{passing}_{i} rateParam {passing} {process} {formula} {arguments}")
    return lines


def _uncertainty(
    content: WorkspaceContent, name: str, columns: Sequence[tuple[str, str]], sizes: Sequence[float | None]
) -> str:
    """The line of a variation, of a normalisation uncertainty, or of both under one name."""
    cells, kinds = [], set()
    for (region, process), size in zip(columns, sizes, strict=True):
        template: Template = content.nominal[region][process]
        if name in template.shifts and size is not None:
            raise ConfigError(
                f"the datacard of {content.signal}: {name!r} is a variation and a normalisation uncertainty of "
                f"{process!r}, of which combine reads one; give the normalisation uncertainty another name"
            )
        if name in template.shifts:
            kinds.add("shape")
            cells.append("1")
        elif size is not None:
            kinds.add("lnN")
            cells.append(f"{1 + size:.10g}")
        else:
            cells.append("-")
    # combine takes it for a shape where there are templates, and for log-normal elsewhere
    kind = "shape?" if len(kinds) > 1 else kinds.pop()
    return row(f"{name} {kind}", cells)


def _pattern(pattern: str) -> str:
    """A name of histograms with the words of combine."""
    joined = pattern.replace("{variation}{direction}", "{systematic}")
    for name, word in _PARTS.items():
        joined = joined.replace("{" + name + "}", word)
    if "{" in joined:
        raise ConfigError(
            f"the datacard: the names {pattern!r} in templates.root cannot be told to combine, which needs "
            "'{variation}{direction}' in one piece"
        )
    return joined
