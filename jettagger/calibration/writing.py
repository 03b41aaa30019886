"""Scale factors as corrections of correctionlib, in each of the layouts that are written."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.calibration.binning import BinAxis, as_numbers, bin_label, check_axes
from jettagger.calibration.correctionfile import validated_text
from jettagger.calibration.formula import KINDS
from jettagger.calibration.layouts import GROUPS, TOTAL, category_node
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.types import Floats

__all__ = ["BEHAVIOURS", "FORMAT", "OUTSIDE", "FactorTable", "OutsideBins", "b_tagging", "jet_tagging", "own"]

#: format of the description of scale factors
FORMAT = "scale factors 1"

#: what happens to jets outside of the bins
BEHAVIOURS = ("clamp", "one", "error")

#: source of uncertainty of jets outside of the bins that get 1
OUTSIDE = "outside"


@dataclass(frozen=True)
class OutsideBins(Brief):
    """What jets outside of the bins get; it is written into the files.

    Parameters
    ----------
    behaviour : {"clamp", "one", "error"}
        The factor of the nearest bin with larger uncertainties; 1 with a stated uncertainty; or an error.
    size : float, optional
        With ``clamp`` the factor on the uncertainties (default 2), with ``one`` the uncertainty (default 1).

    Raises
    ------
    UnknownName
        If the behaviour is unknown.
    ConfigError
        If the size is negative or not finite.

    Examples
    --------
    >>> print(OutsideBins(), OutsideBins("one", 0.3), OutsideBins("error"), sep="; ")
    that of the nearest bin, with 2 times its uncertainty; 1 with an uncertainty of 0.3; an error
    """

    behaviour: str = "clamp"
    size: float | None = None

    def __post_init__(self) -> None:
        if self.behaviour not in BEHAVIOURS:
            raise UnknownName("behaviour outside of the bins", self.behaviour, BEHAVIOURS)
        size = {"clamp": 2.0, "one": 1.0, "error": 0.0}[self.behaviour] if self.size is None else self.size
        if not (math.isfinite(size) and size >= 0):
            raise ConfigError(f"size of the uncertainty outside of the bins: got {size}, expected at least 0")
        object.__setattr__(self, "size", float(size))

    def __str__(self) -> str:
        return {
            "clamp": f"that of the nearest bin, with {self.size:g} times its uncertainty",
            "one": f"1 with an uncertainty of {self.size:g}",
            "error": "an error",
        }[self.behaviour]


@dataclass(frozen=True, eq=False)
class FactorTable(Brief):
    """Scale factors as arrays, checked.

    Parameters
    ----------
    name : str
        Of the correction.
    values : float64[category, point, *bins]
    sources : mapping of str to (float64[...], float64[...])
        Source -> values up and down.
    points, thresholds, axes, categories, kind, discriminant, correlated, outside
        As for `ScaleFactors.make`.

    Raises
    ------
    ConfigError
        If names or thresholds cannot be used.
    UnknownName
        If the kind is unknown, or a correlated source is none of the sources.
    MismatchError
        If shapes do not fit.
    InvalidValues
        If a number is not finite or a factor is negative; gives its category, point and bin.
    """

    name: str
    values: Any
    sources: Mapping[str, tuple[Any, Any]]
    points: Sequence[str]
    thresholds: Sequence[float]
    axes: Sequence[BinAxis]
    categories: Sequence[str]
    kind: str = "points"
    discriminant: str = ""
    correlated: frozenset[str] = frozenset()
    outside: OutsideBins = field(default_factory=OutsideBins)

    def __post_init__(self) -> None:
        what = f"scale factors {self.name!r}"
        self._check_names(what)
        check_axes(self.axes, what)
        limits = tuple(float(threshold) for threshold in self.thresholds)
        if len(limits) != len(self.points) or not all(low < high for low, high in itertools.pairwise(limits)):
            raise ConfigError(
                f"{what}: expected an increasing threshold for each of {', '.join(self.points)}, got {list(limits)}"
            )
        values = as_numbers(self.values, f"{what}, values")
        sources = {
            source: (as_numbers(up, f"{what}, {source} up"), as_numbers(down, f"{what}, {source} down"))
            for source, (up, down) in self.sources.items()
        }
        arrays = {"the factor": values}
        for source, (up, down) in sources.items():
            arrays |= {f"{source} up": up, f"{source} down": down}
        shape = (len(self.categories), len(self.points), *(axis.size for axis in self.axes))
        for key, array in arrays.items():
            if array.shape != shape:
                raise MismatchError(
                    f"{what}: {key} has the shape {array.shape}, expected {shape}: categories, points, "
                    f"{', '.join(axis.name for axis in self.axes)}"
                )
            bad = ~np.isfinite(array) | ((array < 0) if array is values else False)
            if bad.any():
                place = tuple(np.argwhere(bad)[0])
                raise InvalidValues(
                    f"{what}: {key} is {array[place]:g} for {self.categories[place[0]]}, {self.points[place[1]]}, "
                    f"{bin_label(self.axes, place[2:])}; {bad.sum()} of {bad.size} cannot be used"
                )
        for name, value in (("values", values), ("sources", sources), ("thresholds", limits)):
            object.__setattr__(self, name, value)

    def _check_names(self, what: str) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of factors", self.kind, KINDS, what)
        for word, names in (("working points", self.points), ("categories", self.categories)):
            if not names or len(set(names)) < len(names) or not all(names):
                raise ConfigError(f"{what}: expected different names as {word}, got {list(names)}")
        taken = [TOTAL, *GROUPS, *([OUTSIDE] if self.outside.behaviour == "one" else [])]
        for name in self.sources:
            if name in taken or not re.fullmatch(r"[A-Za-z0-9]\w*", name) or re.fullmatch(r"(up|down)(_.*)?", name):
                raise ConfigError(
                    f"{what}: a source cannot be called {name!r}: letters, digits and _, without up and down, and not "
                    f"{', '.join(taken)}"
                )
        unknown = [source for source in self.correlated if source not in self.sources]
        if unknown:
            raise UnknownName("source", unknown, self.sources, f"the correlated sources of {what}")

    @property
    def about(self) -> str:
        """What the factors are, for the descriptions in files."""
        what = "jets above the threshold of each working point" if self.kind == "points" else "jets in bands of a score"
        on = f" on {self.discriminant}" if self.discriminant else ""
        return (
            f"Scale factors {self.name}{on} of {what}. Outside of the bins: {self.outside}. Written by jettagger "
            f"{__version__}."
        )

    def keyed(self) -> dict[str, Floats]:
        """Key of the systematic input -> numbers, with further bins that reach to infinity unless outside is an error.

        The total and the groups are sums in quadrature of the sources, of the larger shift if both sides of a source
        go in one direction.

        Returns
        -------
        dict of str to float64[category, point, *bins]
        """
        widths = [(0, 0), (0, 0)]
        for axis in self.axes:
            open_ends = (int(math.isfinite(axis.edges[0])), int(math.isfinite(axis.edges[-1])))
            widths.append((0, 0) if self.outside.behaviour == "error" else open_ends)
        beyond = np.pad(np.zeros(self.values.shape, dtype=bool), widths, constant_values=True)
        nominal = np.pad(self.values, widths, mode="edge")
        size = float(self.outside.size or 0.0)
        scale = np.where(beyond, size if self.outside.behaviour == "clamp" else 0.0, 1.0)
        shifts = {
            name: tuple(np.pad(side - self.values, widths, mode="edge") * scale for side in sides)
            for name, sides in self.sources.items()
        }
        if self.outside.behaviour == "one":
            nominal = np.where(beyond, 1.0, nominal)
            shifts[OUTSIDE] = (np.where(beyond, size, 0.0), np.where(beyond, -size, 0.0))

        def quadrature(names: Sequence[str], sign: int) -> Floats:
            parts = [np.maximum(sign * np.stack(shifts[name]), 0.0).max(axis=0) ** 2 for name in names]
            return np.asarray(nominal + sign * np.sqrt(sum(parts, np.zeros(nominal.shape))))

        groups = {"": list(shifts), "_correlated": sorted(self.correlated)}
        groups["_uncorrelated"] = [name for name in shifts if name not in self.correlated]
        made = {"nominal": nominal}
        for suffix, names in groups.items():
            made |= {f"up{suffix}": quadrature(names, 1), f"down{suffix}": quadrature(names, -1)}
        for name, (up, down) in shifts.items():
            made |= {f"up_{name}": nominal + up, f"down_{name}": nominal + down}
        return made

    def threshold_correction(self, input_: str) -> dict[str, Any]:
        """The correction with the thresholds, whose input is the working point."""
        cuts = dict(zip(self.points, self.thresholds, strict=True))
        what = self.discriminant or "the discriminant"
        return {
            "name": f"{self.name}_wp_values",
            "description": f"Threshold on {what}; a jet passes if its value is at least this.",
            "version": 1,
            "inputs": [{"name": input_, "type": "string", "description": ", ".join(cuts)}],
            "output": {"name": "threshold", "type": "real"},
            "data": category_node(input_, cuts),
        }


def own(table: FactorTable, description: Mapping[str, Any]) -> str:
    """The layout of jettagger, with all categories, axes and sources.

    Parameters
    ----------
    table : FactorTable
    description : mapping
        Further content of the description.

    Returns
    -------
    str
    """
    keyed = table.keyed()
    tree = _tree(
        keyed,
        (("category", table.categories), ("working_point", table.points), ("systematic", tuple(keyed))),
        table.axes,
        table.outside,
    )
    inputs = [
        _text_input("systematic", ", ".join(keyed)),
        _text_input("working_point", ", ".join(table.points)),
        _text_input("category", ", ".join(table.categories)),
        *(_variable(axis) for axis in table.axes),
    ]
    record = {
        "format": FORMAT,
        "name": table.name,
        "discriminant": table.discriminant,
        "kind": table.kind,
        "points": list(table.points),
        "axes": [axis.to_dict() for axis in table.axes],
        "categories": list(table.categories),
        "correlated": sorted(table.correlated),
        "outside": {"behaviour": table.outside.behaviour, "size": table.outside.size},
        "jettagger": __version__,
        **description,
    }
    return validated_text(
        {
            "schema_version": 2,
            "description": json.dumps({"jettagger": record}, allow_nan=False),
            "corrections": [
                _correction(table.name, table.about, inputs, tree),
                table.threshold_correction("working_point"),
            ],
        }
    )


def b_tagging(table: FactorTable, flavors: Mapping[str, int] | None) -> str:
    """The layout of b tagging: systematic, working_point, flavor, abseta, pt.

    Parameters
    ----------
    table : FactorTable
    flavors : mapping of str to int, optional
        Category -> flavor; default: the categories, if they are integers.

    Returns
    -------
    str

    Raises
    ------
    UnknownName
        If a category in ``flavors`` does not exist.
    ConfigError
        If a category has no integer, two have the same, or the factors are of bands or have bins in mass or eta.
    """
    given = dict(flavors or {})
    unknown = [category for category in given if category not in table.categories]
    if unknown:
        raise UnknownName("category", unknown, table.categories, "flavors")
    codes = {}
    for category in table.categories:
        if category not in given and not category.isdecimal():
            raise ConfigError(
                f"the layout 'b_tagging' has integers as flavors: give flavors={{{category!r}: 5, ...}} for "
                f"{', '.join(table.categories)}"
            )
        codes[category] = given[category] if category in given else int(category)
    if len(set(codes.values())) < len(codes):
        raise ConfigError(f"flavors: two categories have the same one: {codes}")
    axes, numbers = _in_eta_and_pt(table, "abseta", "b_tagging")
    numbers = {"central" if key == "nominal" else key: array for key, array in numbers.items()}
    tree = _tree(
        numbers,
        (("flavor", tuple(codes.values())), ("working_point", table.points), ("systematic", tuple(numbers))),
        axes,
        table.outside,
    )
    inputs = [
        _text_input("systematic", ", ".join(numbers)),
        _text_input("working_point", ", ".join(table.points)),
        {
            "name": "flavor",
            "type": "int",
            "description": ", ".join(f"{code}: {category}" for category, code in codes.items()),
        },
        *(_variable(axis) for axis in axes),
    ]
    return _text(table, [_correction(table.name, table.about, inputs, tree)], "working_point")


def jet_tagging(table: FactorTable) -> str:
    """The layout of jet tagging: eta, pt, systematic, workingpoint; a correction for each category.

    Parameters
    ----------
    table : FactorTable

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If the factors are of bands, have bins in the mass, or bins in the absolute value of eta that do not begin at 0.
    """
    words = {"nominal": "nom", "up": "up", "down": "down"}
    axes, padded = _in_eta_and_pt(table, "eta", "jet_tagging")
    numbers = {word: padded[key] for key, word in words.items()}
    inputs = [
        *(_variable(axis) for axis in axes),
        _text_input("systematic", "nom, up, down (one standard deviation)"),
        _text_input("workingpoint", ", ".join(table.points)),
    ]
    made = []
    for index, category in enumerate(table.categories):
        name = table.name if len(table.categories) == 1 else f"{table.name}_{category}"
        tree = _tree(
            {key: array[index] for key, array in numbers.items()},
            (("workingpoint", table.points), ("systematic", tuple(numbers))),
            axes,
            table.outside,
        )
        made.append(_correction(name, f"{table.about} Category: {category}.", inputs, tree))
    return _text(table, made, "workingpoint")


def _text(table: FactorTable, corrections: list[dict[str, Any]], input_: str) -> str:
    return validated_text(
        {
            "schema_version": 2,
            "description": table.about,
            "corrections": [*corrections, table.threshold_correction(input_)],
        }
    )


def _in_eta_and_pt(table: FactorTable, role: str, layout: str) -> tuple[tuple[BinAxis, BinAxis], dict[str, Floats]]:
    """Axes and numbers in eta (or its absolute value) and pt; one bin in eta where there are none."""
    if table.kind == "bands":
        raise ConfigError(
            f"scale factors {table.name!r} are of bands of the score: readers of the layout {layout!r} take them for "
            "those of all jets above a threshold; take the layout 'jettagger', or measure points"
        )
    axes = {axis.name: axis for axis in table.axes}
    if "mass" in axes:
        raise ConfigError(
            f"scale factors {table.name!r} have bins in the mass, for which the layout {layout!r} has no input: take "
            "the layout 'jettagger', or measure them in pt alone"
        )
    keyed = table.keyed()
    if len(table.axes) == 1:
        return (BinAxis(role, [-math.inf, math.inf]), axes["pt"]), {
            key: array[..., None, :] for key, array in keyed.items()
        }
    (name,) = set(axes) - {"pt"}
    if table.axes[0].name == "pt":
        keyed = {key: np.swapaxes(array, -1, -2) for key, array in keyed.items()}
    if name == role:
        return (axes[name], axes["pt"]), keyed
    edges = axes[name].edges
    if role == "abseta" or edges[0] != 0:
        wanted = "its absolute value: take the layout 'jet_tagging' or 'jettagger'"
        raise ConfigError(
            f"scale factors {table.name!r} have bins in eta, the layout {layout!r} in {wanted}"
            if role == "abseta"
            else f"scale factors {table.name!r}: bins in abseta begin at {edges[0]:g}, expected 0 for both signs of eta"
        )
    below = int(table.outside.behaviour != "error")  # the bin of negative numbers, which an absolute value is never in
    halves = {key: array[..., below:, :] for key, array in keyed.items()}
    mirrored = BinAxis("eta", [*(-edge for edge in reversed(edges[1:])), *edges], axes[name].column)
    both = {key: np.concatenate([half[..., ::-1, :], half], axis=-2) for key, half in halves.items()}
    return (mirrored, axes["pt"]), both


def _tree(
    numbers: Mapping[str, Floats],
    levels: Sequence[tuple[str, Sequence[Any]]],
    axes: Sequence[BinAxis],
    outside: OutsideBins,
) -> Any:
    """Nodes that choose by keys, the systematic variation as the last, with bins in the leaves."""
    edges = []
    for axis in axes:
        bounds: list[Any] = list(axis.to_dict()["edges"])
        if outside.behaviour != "error":
            bounds = [*(["-inf"] if bounds[0] != "-inf" else []), *bounds, *(["inf"] if bounds[-1] != "inf" else [])]
        edges.append(bounds)

    def leaf(array: Floats) -> dict[str, Any]:
        return {
            "nodetype": "multibinning",
            "inputs": [axis.name for axis in axes],
            "edges": edges,
            "content": [float(number) for number in array.ravel()],
            "flow": "error",
        }

    def node(level: int, index: tuple[int, ...]) -> dict[str, Any]:
        name, keys = levels[level]
        if level == len(levels) - 1:
            return category_node(name, {key: leaf(numbers[key][index]) for key in keys})
        return category_node(name, {key: node(level + 1, (*index, place)) for place, key in enumerate(keys)})

    return node(0, ())


def _correction(name: str, about: str, inputs: list[dict[str, str]], tree: Any) -> dict[str, Any]:
    output = {"name": "weight", "type": "real", "description": "scale factor"}
    return {"name": name, "description": about, "version": 1, "inputs": inputs, "output": output, "data": tree}


def _text_input(name: str, about: str) -> dict[str, str]:
    return {"name": name, "type": "string", "description": about}


def _variable(axis: BinAxis) -> dict[str, str]:
    unit = f" in {axis.unit}" if axis.unit else ""
    absolute = "absolute value of " if axis.name == "abseta" else ""
    return {"name": axis.name, "type": "real", "description": f"{absolute}{axis.column}{unit}"}


guard(globals(), "OutsideBins", "FactorTable")
