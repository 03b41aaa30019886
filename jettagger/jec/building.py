"""Derivation of transforms from jets: fixed non-linear steps as in ml-jec, then a linear step to a common range."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, JettaggerError
from jettagger.files import folder_complete_or_absent
from jettagger.jec.configuration import JecConfig
from jettagger.jec.constructed import GLOBAL, construction
from jettagger.jec.shards import JetFile, branch_names, jets_of_files
from jettagger.jec.transforms import Transforms, TransformStep
from jettagger.types import Array, Rows

__all__ = ["NUMBERS", "STEPS", "BuiltTransforms", "FeatureRange", "build_transforms", "write_pictures"]

_ARCSINH = {
    10.0: ("pt", "mass"),
    0.1: ("ch_pt", "ne_pt", "sv_mass", "sv_pt"),
    1.0: ("ch_dxy_significance", "ch_norm_chi2", "sv_significance"),
    5.0: ("ch_num_hits", "ch_num_pixel_hits"),
    0.01: ("sv_distance",),
}
_PLAIN = ("eta", "phi", "area", "num_pv", "rho", "ch_eta", "ch_phi", "ch_lost_hits", "ne_eta", "ne_phi", "ne_hcal_frac")

#: feature -> its steps before the linear one; those of the original, and the weights of PUPPI, which are in [0, 1]
STEPS: Mapping[str, tuple[TransformStep, ...]] = MappingProxyType(
    {
        **{name: (TransformStep("arcsinh", scale=scale),) for scale, names in _ARCSINH.items() for name in names},
        **{name: (TransformStep("abs"), TransformStep("arcsinh", scale=1e-3)) for name in ("ch_dxy", "ch_dz")},
        "sv_num_tracks": (TransformStep("log"),),
        **dict.fromkeys((*_PLAIN, "ch_puppi_weight", "ne_puppi_weight"), ()),
    }
)

#: features whose values are codes
_CODES = ("ch_id", "ch_pv_ass", "ne_id")

#: file with the numbers behind the pictures
NUMBERS = "features.json"

#: values of a feature that are kept for quantiles and pictures
KEPT = 500_000

#: maximum number of different values of a categorical feature
MOST_VALUES = 1000

Scaling = Literal["range", "robust"]


@dataclass(frozen=True)
class FeatureRange(Brief):
    """What the values of a numerical feature are after its non-linear steps.

    Parameters
    ----------
    count : int
        Number of values.
    minimum, maximum : float
    quartiles : tuple of float
        The quantiles 0.25, 0.5 and 0.75.
    values : float32[n]
        All values, or a random part of them.
    constant : bool
        Whether all values are equal, so that there is no scale.
    """

    count: int
    minimum: float
    maximum: float
    quartiles: tuple[float, float, float]
    values: Rows
    constant: bool


@dataclass(frozen=True)
class BuiltTransforms(Brief):
    """Transforms and the values that they were derived from.

    Parameters
    ----------
    transforms : Transforms
    ranges : dict of str to FeatureRange
        Numerical features.
    codes : dict of str to dict of int to int
        Categorical features: value -> how often it occurs.
    jets : int
        Number of jets that were read.
    left_out : tuple of str
        Branches of the files that are no known feature.
    notes : tuple of str
        What users should know, e.g. which features are constant.
    """

    transforms: Transforms
    ranges: Mapping[str, FeatureRange]
    codes: Mapping[str, Mapping[int, int]]
    jets: int
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Values:
    """Extremes of values and a random part of them, at constant memory."""

    def __init__(self, seed: int) -> None:
        self.count = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self._share = 1.0
        self._random = np.random.default_rng(seed)
        self._pieces: list[Rows] = []

    def add(self, values: Rows) -> None:
        if not len(values):
            return
        self.count += len(values)
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        kept = values if self._share == 1 else values[self._random.random(len(values)) < self._share]
        self._pieces.append(kept)
        while sum(map(len, self._pieces)) > 2 * KEPT:
            self._share /= 2
            whole = np.concatenate(self._pieces)
            self._pieces = [whole[self._random.random(len(whole)) < 0.5]]

    def range(self) -> FeatureRange:
        values = np.concatenate(self._pieces)
        low, middle, high = (float(value) for value in np.quantile(values.astype(np.float64), (0.25, 0.5, 0.75)))
        constant = not self.maximum > self.minimum
        return FeatureRange(self.count, self.minimum, self.maximum, (low, middle, high), values, constant)


def build_transforms(
    files: Iterable[JetFile],
    config: JecConfig | None = None,
    *,
    scaling: Scaling = "range",
    jets: int | None = None,
    download: str | None = None,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> BuiltTransforms:
    """Derive transforms from jets.

    Parameters
    ----------
    files : iterable of JetFile
    config : JecConfig, optional
        Whose features are transformed, those that the original does not know only linearly. Default: all branches of
        the first file that it knows.
    scaling : {"range", "robust"}
        ``range``: the linear step maps minimum and maximum to 0 and 1, as the original does. ``robust``: it subtracts
        the median and divides by the interquartile range, which a few outliers do not change; where this is 0, the
        range is used.
    jets : int, optional
        Number of jets to read, the same number from the beginning of each file; default: all.
    download : str, optional
        As for `jettagger.jec.open_data`.
    seed : int
        Of the choice of values for quantiles and pictures, if there are very many.
    progress : callable, optional
        Called with the number of jets that were read.

    Returns
    -------
    BuiltTransforms

    Raises
    ------
    ConfigError
        If the files have no feature that is known.
    InvalidValues
        If there are no jets, or values are not finite, or the logarithm is taken of numbers at or below 0.
    InputFileError, MismatchError, MissingColumns
        If a file cannot be read.
    """
    listed = list(files)
    if not listed:
        raise InvalidValues("no files of jets to derive transforms from")
    names = branch_names(listed[0], download=download)
    types = [name.removesuffix("_size") for name in sorted(names) if name.endswith("_size") and name != "_size"]
    if config is None:
        numerical = [name for name in STEPS if name in names]
        codes = [name for name in _CODES if name in names]
        left_out = sorted(names - {*numerical, *codes, *(f"{type_}_size" for type_ in types)})
    else:
        blocks = list(config.features.values())
        numerical = [name for block in blocks for name in block.numerical if construction(name) is None]
        codes = [name for block in blocks for name in block.categorical]
        left_out = []
    if not numerical and not codes:
        raise ConfigError(f"{listed[0].path} has no known feature; name the features in a configuration")
    branches: dict[str, list[str]] = {GLOBAL: []}
    for name in (*numerical, *codes):
        block = next((type_ for type_ in types if name.startswith(f"{type_}_")), GLOBAL)
        branches.setdefault(block, []).append(name)
    nonlinear = Transforms({name: STEPS.get(name, ()) for name in numerical}, where="its transform")
    values = {name: _Values(seed + place) for place, name in enumerate(numerical)}
    counted: dict[str, dict[int, int]] = {name: {} for name in codes}
    stop = None if jets is None else max(1, -(-jets // len(listed)))
    read = 0
    for file, first, raw in jets_of_files(listed, branches, stop=stop, download=download):
        for name in numerical:
            values[name].add(_transformed(nonlinear, name, raw.columns[name], f"{file.path}, from jet {first}"))
        for name in codes:
            _count(counted[name], name, raw.columns[name], file.path)
        read += len(raw)
        if progress is not None:
            progress(len(raw))
    return _built(nonlinear, values, counted, scaling, read, tuple(left_out))


def _transformed(transforms: Transforms, name: str, plain: Array, where: str) -> Rows:
    bad = ~np.isfinite(plain)
    if bad.any():
        raise InvalidValues(f"{where}: {name} is not finite in {int(bad.sum())} of {len(plain)} values")
    try:
        return transforms.apply(name, plain)
    except JettaggerError as error:
        raise error.placed(where) from error


def _count(counts: dict[int, int], name: str, plain: Array, where: str) -> None:
    if plain.dtype.kind not in "iub":
        raise InvalidValues(
            f"{where}: the categorical feature {name} has the type {plain.dtype}, expected whole numbers"
        )
    for value, number in zip(*np.unique(plain, return_counts=True), strict=True):
        counts[int(value)] = counts.get(int(value), 0) + int(number)
    if len(counts) > MOST_VALUES:
        raise InvalidValues(
            f"{where}: the categorical feature {name} has more than {MOST_VALUES} different values: is it numerical?"
        )


def _built(
    nonlinear: Transforms,
    values: Mapping[str, _Values],
    counted: Mapping[str, Mapping[int, int]],
    scaling: Scaling,
    jets: int,
    left_out: tuple[str, ...],
) -> BuiltTransforms:
    empty = [name for name, each in values.items() if not each.count] + [
        name for name, each in counted.items() if not each
    ]
    if empty:
        raise InvalidValues(f"no values of {', '.join(empty)} in {jets} jets")
    notes, numerical = [], {}
    ranges = {name: each.range() for name, each in values.items()}
    for name, found in ranges.items():
        loc, scale = found.minimum, found.maximum - found.minimum
        if scaling == "robust" and not found.constant:
            low, middle, high = found.quartiles
            if high > low:
                loc, scale = middle, high - low
            else:
                notes.append(f"{name}: the interquartile range is 0, so the whole range is used")
        if found.constant:
            scale = 1.0
            notes.append(f"{name} is constant: it has no scale, and tells the network nothing; leave it out")
        numerical[name] = (*nonlinear.numerical[name], TransformStep("linear", loc, scale))
    categorical = {name: tuple(sorted(each)) for name, each in counted.items()}
    return BuiltTransforms(Transforms(numerical, categorical), ranges, counted, jets, left_out, tuple(notes))


def write_pictures(built: BuiltTransforms, folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Draw the transformed values of each feature, one picture each; needs the extra ``plot``.

    Parameters
    ----------
    built : BuiltTransforms
    folder : path
        Complete or not there: ``<feature>.pdf`` and ``features.json``.
    force : bool
        Whether a folder of an earlier call is replaced.

    Raises
    ------
    OutputError
        If the folder exists already, or cannot be written.
    MissingExtra
        If matplotlib or mplhep is not installed.
    """
    import hist

    from jettagger.plots import save_figure, shapes

    with folder_complete_or_absent(folder, marker=NUMBERS, force=force) as part:
        for name, found in built.ranges.items():
            step = built.transforms.numerical[name][-1]
            values = (found.values - np.float32(step.loc)) / np.float32(step.scale)
            low, high = _limits(values)
            histogram = hist.Hist.new.Reg(50, low, high, label=f"{name}, transformed").Weight()
            histogram.fill(np.clip(values, low, np.nextafter(np.float32(high), np.float32(low))))
            save_figure(shapes({name: histogram}, counted="Values"), part / f"{name}.pdf")
        for name, counts in built.codes.items():
            histogram = hist.Hist.new.Int(0, len(counts), label=f"{name}: row of the embedding").Weight()
            histogram.fill(np.arange(len(counts)), weight=[counts[value] for value in sorted(counts)])
            save_figure(shapes({name: histogram}, counted="Values"), part / f"{name}.pdf")
        (part / NUMBERS).write_text(json.dumps(_numbers(built), indent=1), encoding="utf-8")


def _limits(values: Rows) -> tuple[float, float]:
    """Those of the original, or wide enough for nearly all values."""
    low, high = (float(value) for value in np.quantile(values, (0.005, 0.995)))
    inside = low >= 0 and high <= 1
    return (0.0, 1.0) if inside else (low, high if high > low else low + 1.0)


def _numbers(built: BuiltTransforms) -> dict[str, Any]:
    numerical = {
        name: {
            "values": found.count,
            "minimum": found.minimum,
            "maximum": found.maximum,
            "quartiles": list(found.quartiles),
            "steps": [step._asdict() for step in built.transforms.numerical[name]],
        }
        for name, found in built.ranges.items()
    }
    codes = {name: {str(value): counts[value] for value in sorted(counts)} for name, counts in built.codes.items()}
    return {"jets": built.jets, "numerical": numerical, "categorical": codes}


guard(globals())
