"""Workspaces in pyhf's JSON format for which the fits of pyhf and cabinetry converge.

Three problems of minimisers with numerical gradients are avoided without changing the statistics:

- A limit far from a strength of one: the signal is written in units in which it is of order one, and the bounds of the
  strength lie above it.
- Bins with far more events than the precision of their prediction supports. The terms ``n ln n`` of 10^7 events leave
  no digits for a gradient, and the fit moves along a valley as narrow as the fluctuation of the data and as long as
  the uncertainty of the simulation. Such a bin is written with fewer events; their larger fluctuation is subtracted
  from the statistical uncertainty of the simulation, so that the sum of both variances is unchanged.
- Variations with negative rates: changes of the yield are log-normal, and variations are bounded such that rates stay
  positive in each bin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, UnknownName
from jettagger.statistics.bins import Template
from jettagger.statistics.transfer import Transfer
from jettagger.types import Floats

__all__ = [
    "FREE_BOUNDS",
    "POI",
    "ROOM",
    "UNIT",
    "WorkspaceContent",
    "event_scales",
    "expected_limit",
    "poi_of",
    "shapes_and_yields",
    "unit_of",
    "workspace",
]


#: parameter of interest: the signal strength
POI = "mu"
#: entry in the measurement with the ratio of a strength of one to the signal
UNIT = "strength_unit"

#: minimum number of events that a bin keeps
LEAST_EVENTS = 400.0
#: maximum fraction of the variance of a bin due to the fluctuation of the written events
SHARE = 0.2
#: range of expected limits without another unit: cabinetry looks for limits from 0.1 on, with a tolerance of 0.01
ORDINARY = (1.0, 20.0)
#: ratio of the bounds of the strength to the expected limit
ROOM = 10.0
#: bounds of a free normalisation, those of pyhf
FREE_BOUNDS = (0.0, 10.0)
#: bounds of a variation in pyhf, in standard deviations
FARTHEST = 5.0


@dataclass(frozen=True)
class WorkspaceContent(Brief):
    """The content of a workspace.

    Attributes
    ----------
    nominal : mapping
        Region -> process -> :class:`~jettagger.statistics.bins.Template`.
    data : mapping
        Region -> observed events.
    signal : str
        The process whose strength is the parameter of interest; the other processes are backgrounds.
    normalisations : mapping
        Uncertainty -> process -> relative size.
    free : sequence of str
        Backgrounds with freely floating normalisations.
    transfers : sequence of Transfer
        Backgrounds from data.
    """

    nominal: Mapping[str, Mapping[str, Template]]
    data: Mapping[str, Floats]
    signal: str
    normalisations: Mapping[str, Mapping[str, float]]
    free: Sequence[str] = ()
    transfers: Sequence[Transfer] = ()

    def transfer(self, region: str, process: str | None = None) -> tuple[Transfer, int] | None:
        """How a background, or any, is taken from data in a region: its transfer factor, and the pair of regions."""
        for item in self.transfers:
            position = item.pair_of(region)
            if position is not None and (process is None or item.owns(process)):
                return item, position
        return None

    def size(self, uncertainty: str, region: str, process: str) -> float | None:
        """The relative size of a normalisation uncertainty, or None.

        Those of a background from data apply to its prediction alone: elsewhere its yields are free.
        """
        found = self.transfer(region, process)
        if found is not None and region not in found[0].predicted:
            return None
        return self.normalisations[uncertainty].get(process)

    def backgrounds(self, region: str) -> list[Template]:
        """The backgrounds in a region."""
        return [template for name, template in self.nominal[region].items() if name != self.signal]

    def variations(self) -> list[str]:
        """The shape variations of all processes."""
        found = [name for parts in self.nominal.values() for template in parts.values() for name in template.shifts]
        return list(dict.fromkeys(found))

    def sums(self, region: str) -> tuple[Floats, Floats, Floats]:
        """Signal, and values and variances of the sum of the backgrounds, float64[bins] each."""
        backgrounds = self.backgrounds(region)
        values = np.sum([template.values for template in backgrounds], axis=0)
        variances = np.sum([template.variances for template in backgrounds], axis=0)
        signal = self.nominal[region].get(self.signal)
        return np.zeros_like(values) if signal is None else signal.values, values, variances


def expected_limit(content: WorkspaceContent) -> tuple[float, float]:
    """Approximate expected limit on the strength, and approximate best-fit strength.

    All uncertainties are treated as Gaussian: with signal s and the covariance V of background and data the uncertainty
    of the strength is ``(s V^-1 s)^-1/2``.

    Parameters
    ----------
    content : WorkspaceContent

    Returns
    -------
    limit, fitted : float
    """
    regions = list(content.nominal)
    sums = [content.sums(region) for region in regions]
    signal, background, variances = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    data = np.concatenate([content.data[region] for region in regions])

    def over_regions(change: Any) -> Floats:
        """One change of the backgrounds, in all bins."""
        parts = []
        for region in regions:
            total = np.zeros_like(content.data[region])
            for name, template in content.nominal[region].items():
                if name != content.signal:
                    total = total + change(name, template)
            parts.append(total)
        return np.concatenate(parts)

    def half(name: str) -> Any:
        return lambda _, template: np.subtract(*template.shifts[name]) / 2 if name in template.shifts else 0.0

    changes = [over_regions(half(name)) for name in content.variations()]
    for sizes in content.normalisations.values():
        changes.append(over_regions(lambda name, template, sizes=sizes: sizes.get(name, 0.0) * template.values))
    for free in content.free:
        changes.append(over_regions(lambda name, template, free=free: 100.0 * (name == free) * template.values))
    changes += _changes_of_transfers(content)
    # one event more, as the limit of an empty bin is two events
    spread = np.sqrt(background + variances + 1)
    scaled = np.asarray(changes).reshape(-1, len(spread)) / spread
    inverse = np.linalg.pinv(np.eye(len(spread)) + scaled.T @ scaled, hermitian=True)
    weighed = inverse @ (signal / spread)
    information = float(weighed @ (signal / spread))
    if not information > 0:
        return 1.0, 0.0
    return 1.96 / math.sqrt(information), float(weighed @ ((data - background) / spread)) / information


def _changes_of_transfers(content: WorkspaceContent) -> list[Floats]:
    """Backgrounds from data, in all bins: each yield of a failing region, and each coefficient, is free."""
    regions, found = list(content.nominal), []

    def in_all(parts: Mapping[str, Floats]) -> Floats:
        return 100.0 * np.concatenate([parts.get(name, np.zeros_like(content.data[name])) for name in regions])

    for item in content.transfers:
        values = {region: content.nominal[region][item.process].values for pair in item.pairs for region in pair}
        for row in range(len(item.start)):
            found.append(
                in_all({p: item.ratio * item.basis[i][row] * values[f] for i, (p, f) in enumerate(item.pairs)})
            )
        for pair in item.pairs:
            for one in np.eye(len(values[pair[0]])):
                found.append(in_all({region: one * values[region] for region in pair}))
    return found


def _unit(limit: float) -> float:
    """A power of ten as unit, in which a limit is of order one."""
    low, high = ORDINARY
    return 1.0 if low <= limit <= high else 10.0 ** math.floor(math.log10(limit / 2))


def _shares(values: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Scale factor of each bin, and the resulting statistical uncertainty of its simulation."""
    positive = values > 0
    safe = np.where(positive, values, 1.0)
    relative = variances / safe**2
    # events whose fluctuation alone would be as large as both uncertainties together
    known = 1 / (relative + 1 / safe)
    kept = np.minimum(safe, np.maximum(LEAST_EVENTS, known / SHARE))
    left = np.maximum(relative - (1 / kept - 1 / safe), 0.0)
    reduced = np.sqrt(left / np.where(relative > 0, relative, 1.0))
    return np.where(positive, kept / safe, 1.0), np.where(relative > 0, reduced, 1.0)


def _kept(content: WorkspaceContent, region: str) -> tuple[Floats, Floats]:
    """Those of a region; where a background is from data, all events count, as they determine it."""
    _, values, variances = content.sums(region)
    if content.transfer(region) is not None:
        return np.ones_like(values), np.ones_like(values)
    return _shares(values, variances)


def workspace(content: WorkspaceContent, bounds: tuple[float, float] | None = None) -> tuple[dict[str, Any], list[str]]:
    """The workspace in pyhf's JSON format.

    Parameters
    ----------
    content : WorkspaceContent
    bounds : (float, float), optional
        Bounds of the strength, which is then in units of the signal. By default the unit is 1 or, if the expected limit
        is far from 1, a power of ten, and the bounds are above the limit.

    Returns
    -------
    workspace : dict
    report : list of str
        List of scaled bins, one line each.
    """
    limit, fitted = expected_limit(content)
    unit = _unit(limit) if bounds is None else 1.0
    highest = float(f"{(ROOM * limit + 3 * max(fitted, 0.0)) / unit:.2g}")
    report = []
    if unit != 1:
        report.append(f"{content.signal}: in its workspace a strength of 1 is {unit:g} times the signal")
    channels, observations = [], []
    for region, processes in content.nominal.items():
        _, values, _ = content.sums(region)
        scales, reduced = _kept(content, region)
        samples: list[dict[str, Any]] = []
        for name, template in processes.items():
            transfer = content.transfer(region, name)
            if transfer is not None:
                samples += _samples_from_data(content, region, *transfer)
                continue
            is_signal = name == content.signal
            factor = scales * unit if is_signal else scales
            errors = np.sqrt(template.variances) * factor * (1.0 if is_signal else reduced)
            samples.append(_sample(content, region, name, template, factor, errors))
        channels.append({"name": region, "samples": samples})
        observations.append({"name": region, "data": (content.data[region] * scales).tolist()})
        fewer = np.flatnonzero(scales < 1)
        if len(fewer):
            listed = ", ".join(f"{i}: {values[i]:.4g} as {values[i] * scales[i]:.4g}" for i in fewer)
            report.append(
                f"{region}: bins with more events than the simulation predicts are written with fewer in workspaces, "
                f"at the same total uncertainty ({listed})"
            )
    parameters: list[dict[str, Any]] = [
        {"name": POI, "bounds": [list(bounds or (0.0, highest))], "inits": [1.0]},
        {"name": UNIT, "inits": [unit], "fixed": True},
    ]
    for variation in content.variations():
        low, high = _range(content, variation, limit)
        if (low, high) != (-FARTHEST, FARTHEST):
            parameters.append({"name": variation, "bounds": [[low, high]], "inits": [0.0]})
    for item in content.transfers:
        for coefficient, value, ends in zip(item.coefficient_names, item.start, item.bounds, strict=True):
            parameters.append({"name": coefficient, "bounds": [list(ends)], "inits": [float(value)]})
    made = {
        "channels": channels,
        "observations": observations,
        "measurements": [{"name": "search", "config": {"poi": POI, "parameters": parameters}}],
        "version": "1.0.0",
    }
    return made, report


def event_scales(content: WorkspaceContent) -> dict[str, Floats]:
    """Events in the workspace per event, float64[bins], of the regions in which some bins are written with fewer."""
    found = {}
    for region in content.nominal:
        scales, _ = _kept(content, region)
        if (scales < 1).any():
            found[region] = scales
    return found


def shapes_and_yields(template: Template, variation: str) -> tuple[Floats, Floats, float, float]:
    """The shapes of both sides of a variation at the nominal yield, and their relative yields.

    Parameters
    ----------
    template : Template
    variation : str

    Returns
    -------
    up, down : numpy.ndarray, float64[bins]
    high, low : float
    """
    up, down = template.shifts[variation]
    total = template.values.sum()
    high, low = up.sum() / total, down.sum() / total
    return up / high, down / low, float(high), float(low)


def _sample(
    content: WorkspaceContent, region: str, name: str, template: Template, factor: Floats, errors: Floats
) -> dict[str, Any]:
    """One process in one region, scaled in each bin; uncertainties are scaled already."""
    modifiers: list[dict[str, Any]] = []
    is_signal = name == content.signal
    if is_signal:
        modifiers.append({"name": POI, "type": "normfactor", "data": None})
    if name in content.free:
        modifiers.append({"name": f"norm_{name}", "type": "normfactor", "data": None})
    for variation in template.shifts:
        up, down, high, low = shapes_and_yields(template, variation)
        shapes = {"hi_data": (up * factor).tolist(), "lo_data": (down * factor).tolist()}
        modifiers.append({"name": variation, "type": "histosys", "data": shapes})
        modifiers.append({"name": variation, "type": "normsys", "data": {"hi": high, "lo": low}})
    modifiers += _normalisations(content, region, name)
    # The statistics of simulated backgrounds must not scale the signal, which one parameter for both would do.
    statistics = f"mcstat_{region}_{name}" if is_signal else f"mcstat_{region}"
    modifiers.append({"name": statistics, "type": "staterror", "data": errors.tolist()})
    return {"name": name, "data": (template.values * factor).tolist(), "modifiers": modifiers}


def _normalisations(content: WorkspaceContent, region: str, name: str) -> list[dict[str, Any]]:
    """The log-normal uncertainties of a process."""
    sizes = {uncertainty: content.size(uncertainty, region, name) for uncertainty in content.normalisations}
    return [
        {"name": uncertainty, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 / (1 + size)}}
        for uncertainty, size in sizes.items()
        if size is not None
    ]


def _samples_from_data(
    content: WorkspaceContent, region: str, transfer: Transfer, position: int
) -> list[dict[str, Any]]:
    """A background from data: its yields where it fails, and a sample for each coefficient where it passes."""
    name, failing = transfer.process, transfer.pairs[position][1]
    yields = content.nominal[failing][name].values
    of_bins = {"name": transfer.yield_name(position), "type": "shapefactor", "data": None}
    if not transfer.passes(region):
        return [{"name": name, "data": yields.tolist(), "modifiers": [of_bins]}]
    return [
        {
            "name": transfer.sample_name(k),
            "data": (yields * transfer.ratio * polynomial).tolist(),
            "modifiers": [
                of_bins,
                {"name": parameter, "type": "normfactor", "data": None},
                *_normalisations(content, region, name),
            ],
        }
        for k, (parameter, polynomial) in enumerate(
            zip(transfer.coefficient_names, transfer.basis[position], strict=True)
        )
    ]


def _range(content: WorkspaceContent, variation: str, limit: float) -> tuple[float, float]:
    """The range of a variation with positive yields in each bin, of the backgrounds alone and with a signal."""
    ends = [FARTHEST, FARTHEST]
    for region, processes in content.nominal.items():
        signal, background, _ = content.sums(region)
        for side in (0, 1):
            changes = {
                name: shapes_and_yields(template, variation)[side] - template.values
                for name, template in processes.items()
                if variation in template.shifts
            }
            alone = np.sum([np.zeros_like(background), *(c for n, c in changes.items() if n != content.signal)], axis=0)
            both = alone + limit * changes.get(content.signal, np.zeros_like(background))
            for total, change in ((background, alone), (background + limit * signal, both)):
                falling = (change < 0) & (total > 0)
                if falling.any():
                    ends[side] = min(ends[side], 0.98 * float(np.min(-total[falling] / change[falling])))
    return -round(ends[1], 3), round(ends[0], 3)


def poi_of(made: Mapping[str, Any]) -> str:
    """The name of the parameter of interest of a workspace.

    Parameters
    ----------
    made : mapping
        In pyhf's JSON format.

    Returns
    -------
    str
        That of its first measurement, independent of its position among the parameters.

    Raises
    ------
    UnknownName
        If it scales no sample.
    InputFileError
        If the workspace has no measurement.
    """
    if not made["measurements"]:
        raise InputFileError("the workspace has no measurement, expected one that names the parameter of interest")
    poi = str(made["measurements"][0]["config"]["poi"])
    factors = [
        modifier["name"]
        for channel in made["channels"]
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
        if modifier["type"] == "normfactor"
    ]
    if poi not in factors:
        raise UnknownName("parameter of interest", poi, list(dict.fromkeys(factors)), "the workspace's factors")
    return poi


def unit_of(made: Mapping[str, Any]) -> float:
    """Ratio of a strength of one to the signal.

    Parameters
    ----------
    made : mapping
        In pyhf's JSON format.

    Returns
    -------
    float
        1 in workspaces that jettagger did not write.
    """
    for item in made["measurements"][0]["config"]["parameters"]:
        if item["name"] == UNIT:
            return float(item["inits"][0])
    return 1.0
