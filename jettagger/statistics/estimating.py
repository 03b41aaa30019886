"""Backgrounds from data in templates: regions for each bin of a second variable, yields, and their transfer factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError
from jettagger.histograms import categories_of, variables_of
from jettagger.statistics.bins import Template
from jettagger.statistics.transfer import Transfer, TransferFactor, bernstein, coefficients
from jettagger.types import Floats

__all__ = ["Unrolled", "estimate", "resolve", "unroll"]

#: smallest yield, in events, at which the fit of a bin in a failing region starts
ONE_EVENT = 1.0


@dataclass(frozen=True)
class Unrolled(Brief):
    """A histogram of one variable, with the bins of another one as regions.

    Attributes
    ----------
    histogram : hist.Hist
    regions : dict
        Region -> the regions of each bin of the other variable; itself, if there is none.
    places : float64[n]
        Centres of these bins, from 0 to 1 over the range of the other variable; empty, if there is none.
    """

    histogram: Any
    regions: dict[str, tuple[str, ...]]
    places: Floats

    def over(self, names: Sequence[str]) -> list[str]:
        """The regions of several."""
        return [part for name in names for part in self.regions.get(name, (name,))]


def unroll(histogram: Any) -> Unrolled:
    """Make regions ``<region>_<variable><bin>``, counted from 1, of the bins of the first of two variables.

    Parameters
    ----------
    histogram : hist.Hist
        With the categories ``dataset``, ``region``, ``variation``, and one or two variables.

    Returns
    -------
    Unrolled
        Underflow and overflow of the first variable are left out.

    Raises
    ------
    MismatchError
        If such a region exists already.
    """
    import hist

    known, variables = categories_of(histogram), variables_of(histogram)
    if len(variables) == 1:
        return Unrolled(histogram, {name: (name,) for name in known["region"]}, np.empty(0))
    first, second = variables
    edges = np.asarray(first.edges, dtype=np.float64)
    regions = {
        name: tuple(f"{name}_{first.name}{position}" for position in range(1, len(edges))) for name in known["region"]
    }
    flat = [part for parts in regions.values() for part in parts]
    if len(set(flat) | set(known["region"])) < len(flat) + len(known["region"]):
        raise MismatchError(f"the regions of the bins of {first.name!r} have names that exist already: rename regions")
    axes = [
        hist.axis.StrCategory(flat if name == "region" else values, name=name)
        for name, values in {**dict.fromkeys(("dataset", "region", "variation")), **known}.items()
    ]
    made = hist.Hist(*axes, second, storage=hist.storage.Weight())
    names = [axis.name for axis in histogram.axes]
    order = [names.index(name) for name in ("dataset", "region", first.name, "variation", second.name)]
    values, variances = histogram.values(), histogram.variances()
    view = made.view()
    for field, content in (("value", values), ("variance", values if variances is None else variances)):
        moved = np.transpose(np.asarray(content, dtype=np.float64), order)
        view[field] = moved.reshape(moved.shape[0], -1, *moved.shape[3:])
    centres = (edges[:-1] + edges[1:]) / 2
    return Unrolled(made, regions, (centres - edges[0]) / (edges[-1] - edges[0]))


def resolve(
    process: str, factor: TransferFactor, pairs: Sequence[tuple[str, str]], unrolled: Unrolled, axis: Any
) -> tuple[tuple[tuple[str, str], ...], tuple[Floats, ...]]:
    """The pairs of regions of a fit, and the basis of polynomials in their bins.

    Parameters
    ----------
    process : str
    factor : TransferFactor
    pairs : sequence of (str, str)
        Regions, passing and failing.
    unrolled : Unrolled
    axis : hist axis
        Of the bins of a region.

    Returns
    -------
    pairs : tuple of (str, str)
    basis : tuple of float64[coefficients, bins]

    Raises
    ------
    ConfigError
        If the number of orders is not that of the variables.
    """
    edges = np.asarray(axis.edges, dtype=np.float64)
    x = ((edges[:-1] + edges[1:]) / 2 - edges[0]) / (edges[-1] - edges[0])
    number = 1 + bool(len(unrolled.places))
    orders = list(factor.order) or [0] * number
    if len(orders) != number:
        raise ConfigError(
            f"the background {process!r} from data: {len(orders)} orders for a histogram of {number} variables, "
            "expected one order for each"
        )
    in_bins = bernstein(orders[-1], x)
    found, basis = [], []
    for passing, failing in pairs:
        both = zip(unrolled.regions[passing], unrolled.regions[failing], strict=True)
        for row, pair in enumerate(both):
            others = bernstein(orders[0], unrolled.places[row : row + 1])[:, 0] if number == 2 else np.ones(1)
            found.append(pair)
            basis.append((others[:, None, None] * in_bins).reshape(-1, len(x)))
    return tuple(found), tuple(basis)


def estimate(
    process: str,
    pairs: Sequence[tuple[str, str]],
    basis: Sequence[Floats],
    predicted: Sequence[str],
    nominal: Mapping[str, Mapping[str, Template]],
    backgrounds: Sequence[str],
    observed: Mapping[str, Floats | None],
    report: list[str],
) -> tuple[Transfer, dict[str, Template]]:
    """The yields of a background in its regions, from data; from its simulation, where nothing is observed.

    Parameters
    ----------
    process : str
    pairs : sequence of (str, str)
        From `resolve`.
    basis : sequence of float64[coefficients, bins]
        From `resolve`.
    predicted : sequence of str
        As for :class:`~jettagger.statistics.transfer.Transfer`.
    nominal : mapping
        Region -> process -> template; that of this process is the simulated one, if there is any.
    backgrounds : sequence of str
        Which processes are backgrounds: signals are not subtracted from data.
    observed : mapping
        Region -> data, float64[bins]; None where nothing is observed.
    report : list of str
        Gets a line on what the estimate is made of.

    Returns
    -------
    transfer : Transfer
    templates : dict
        Region -> template, without variances.

    Raises
    ------
    InvalidValues
        If there is neither data nor simulation for a failing region, or none for the transfer factor.
    """
    others = {
        region: np.zeros(basis[0].shape[1])
        + np.sum([parts[name].values for name in backgrounds if name in parts and name != process], axis=0)
        for region, parts in nominal.items()
    }

    def measured(region: str) -> Floats | None:
        data = observed[region]
        return None if data is None else np.asarray(data - others[region])

    def simulated(region: str) -> Floats | None:
        made = nominal[region].get(process)
        return made.values if made is not None and made.values.sum() > 0 else None

    yields = []
    for _, failing in pairs:
        value = measured(failing)
        value = simulated(failing) if value is None else np.maximum(value, ONE_EVENT)
        if value is None:
            raise InvalidValues(
                f"the background {process!r} from data: region {failing!r} has neither data nor simulated samples of "
                "it, from which it could be taken"
            )
        yields.append(value)
    seen = [
        (above, below, functions)
        for (passing, failing), functions in zip(pairs, basis, strict=True)
        if (above := measured(passing)) is not None and (below := measured(failing)) is not None
    ]
    origin = "data"
    # a part of the polynomial's range would not determine it
    if len(seen) < len(pairs) and not _determined(basis, [functions for *_, functions in seen]):
        seen, origin = [], "its simulation"
        for (passing, failing), functions in zip(pairs, basis, strict=True):
            above, below = simulated(passing), simulated(failing)
            if above is None or below is None:
                raise InvalidValues(
                    f"the background {process!r} from data: nothing is observed in region {passing!r}, and it has no "
                    f"simulated events there and in {failing!r}, from which the expected transfer factor could be "
                    "taken; give it samples, use the method abcd, or do not blind the region"
                )
            seen.append((above, below, functions))
    fitted = coefficients(*(list(parts) for parts in zip(*seen, strict=True)))
    if fitted is None:
        passing, failing = pairs[0]
        raise InvalidValues(
            f"the background {process!r} from data: {passing!r} or {failing!r} has no events beyond those of the other "
            "backgrounds"
        )
    start, ratio = fitted
    transfer = Transfer(process, tuple(pairs), tuple(basis), start, ratio, tuple(predicted))
    templates = {}
    for position, ((passing, failing), value) in enumerate(zip(pairs, yields, strict=True)):
        templates[failing] = Template(value, np.zeros_like(value), {})
        above = value * transfer.factor(position)
        templates[passing] = Template(above, np.zeros_like(above), {})
    listed = ", ".join(f"{value * ratio:.3g}" for value in start)
    report.append(
        f"{process}: from data in {', '.join(failing for _, failing in pairs)}, with a transfer factor that starts "
        f"from {origin} ({'mean' if len(start) == 1 else 'Bernstein coefficients'} {listed})"
    )
    return transfer, templates


def _determined(wanted: Sequence[Floats], given: Sequence[Floats]) -> bool:
    """Whether bins determine all coefficients."""
    return bool(given) and np.linalg.matrix_rank(np.concatenate(given, axis=1)) == len(wanted[0])
