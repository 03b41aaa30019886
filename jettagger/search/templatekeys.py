"""Templates in the configuration of a search, and names that a configuration refers to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from jettagger.config.yamlfile import Document
from jettagger.errors import ConfigError, UnknownName
from jettagger.search.definition import Search
from jettagger.search.eras import check_processes
from jettagger.search.schema import RUNS, TemplatesKeys
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.transfer import TransferFactor

__all__ = ["check_names", "read_templates"]


def read_templates(document: Document, keys: TemplatesKeys, search: Search) -> TemplateSpec:
    """The definition of templates, whose names are compared with those of the search.

    Parameters
    ----------
    document : Document
    keys : TemplatesKeys
    search : Search

    Returns
    -------
    TemplateSpec

    Raises
    ------
    ConfigError, UnknownName
        Gives the line.
    """
    samples = search.samples
    histograms = {spec.name: spec for spec in search.histograms}
    with document.at("templates", "histogram"):
        if keys.histogram not in histograms:
            raise UnknownName("histogram", keys.histogram, histograms)
        axes = histograms[keys.histogram].axes
        if not 1 <= len(axes) <= (2 if keys.backgrounds_from_data else 1):
            wanted = "one variable, or two" if keys.backgrounds_from_data else "one variable"
            raise ConfigError(f"templates need a histogram of {wanted}, {keys.histogram!r} has {len(axes)}")
    for name, names in keys.processes.items():
        check_names(document, names, samples, "sample", "templates", "processes", name)
    check_names(document, keys.data, samples, "sample", "templates", "data")
    signals = {}
    for name, signal in keys.signals.items():
        path = ("templates", "signals", name)
        check_names(document, signal.datasets, samples, "sample", *path, "datasets")
        section = signal.cross_section
        if section is None:
            if any(document.data["samples"][item].get("cross_section") == RUNS for item in signal.datasets):
                place = document.where(*path)
                raise ConfigError(
                    f"{place}: give cross_section (in pb) of {name!r}, the files of its samples give their own"
                )
            by_era: dict[str, float] = {}
            for item in signal.datasets:
                by_era[samples[item].era] = by_era.get(samples[item].era, 0.0) + (samples[item].cross_section or 0.0)
            section = next(iter(by_era.values()), 0.0)
            if len(set(by_era.values())) > 1:
                raise ConfigError(
                    f"{document.where(*path)}: the cross sections of {name!r} differ between eras ({by_era}): give "
                    "cross_section, in pb, to which limits refer"
                )
        signals[name] = Signal(signal.datasets, signal.mass, section)
    with document.at("templates"):
        of_signals = {name: signal.datasets for name, signal in signals.items()}
        check_processes({**keys.processes, **of_signals, **({"data": keys.data} if keys.data else {})}, samples)
    kinds = {name: region.kind for name, region in search.regions.items()}
    from_data = _from_data(document, keys, kinds, len(axes))
    apart = {name for item in from_data.values() for name in item.validation or ()}
    apart -= {name for item in from_data.values() for pair in item.pairs for name in pair}
    regions = keys.regions or tuple(name for name, kind in kinds.items() if kind != "inclusive" and name not in apart)
    check_names(document, regions, kinds, "region", "templates", "regions")
    if not regions:
        raise ConfigError(
            f"{document.where('templates', 'regions')}: no region for templates: inclusive regions are used only if "
            "they are named here"
        )
    check_names(document, keys.variations or (), search.shifts, "variation", "templates", "variations")
    uncertainties = [
        *(search.shifts if keys.variations is None else keys.variations),
        *keys.normalisation_uncertainties,
    ]
    for name, items in keys.groups.items():
        check_names(document, items, uncertainties, "uncertainty", "templates", "groups", name)
    with document.at("templates"):
        return TemplateSpec(
            processes={**{name: () for name in from_data if name not in keys.processes}, **keys.processes},
            signals=signals,
            regions=regions,
            data=keys.data,
            blind=[name for name, kind in kinds.items() if kind == "signal"] if search.blind else (),
            variations=keys.variations,
            normalisations=keys.normalisation_uncertainties,
            free=keys.free_normalisations,
            groups=keys.groups,
            empty_bin_yield=keys.empty_bin_yield,
            min_effective_events=keys.min_effective_events,
            names=keys.names,
            from_data=from_data,
        )


def _from_data(
    document: Document, keys: TemplatesKeys, regions: Collection[str], variables: int
) -> dict[str, TransferFactor]:
    """The backgrounds from data."""
    found = {}
    for name, item in keys.backgrounds_from_data.items():
        path = ("templates", "backgrounds_from_data", name)
        for pair, place in ((item, path), (item.control, (*path, "control")), (item.validation, (*path, "validation"))):
            for key, region in () if pair is None else (("pass", pair.passing), ("fail", pair.failing)):
                with document.at(*place, key):
                    if region not in regions:
                        raise UnknownName("region", region, regions)
        if item.order and len(item.order) != variables:
            raise ConfigError(
                f"{document.where(*path, 'order')}: {len(item.order)} orders for the {variables} variables of "
                f"{keys.histogram!r}, expected one for each"
            )
        with document.at(*path):
            found[name] = TransferFactor(
                item.passing,
                item.failing,
                item.method,
                item.order,
                *(None if pair is None else (pair.passing, pair.failing) for pair in (item.control, item.validation)),
            )
    return found


def check_names(document: Document, names: Sequence[str], known: Any, kind: str, *path: Any) -> None:
    """Refuse unknown names, with the line of the first.

    Parameters
    ----------
    document : Document
    names : sequence of str
    known : collection of str
    kind : str
        What they name, for the message.
    *path
        Place of the names in the document.

    Raises
    ------
    UnknownName
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        with document.at(*path, names.index(unknown[0])):
            raise UnknownName(kind, unknown, known)
