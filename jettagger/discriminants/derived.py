"""Files derived from a discriminant on a background sample: correctionlib JSON that knows its scores and their model.

Working points and maps are such files. This module has what they share: reading the sample, the description in the
file, the check that it is applied to the scores it was derived for, and the evaluation for jets in any nesting.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants.columns import GENERATOR_WEIGHT, Resolved, Table, generator_weights, table
from jettagger.discriminants.discriminant import Discriminant
from jettagger.discriminants.metrics import _fraction
from jettagger.display import Brief, some
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, MissingColumns, hint, reason_of
from jettagger.files.corrections import CorrectionText
from jettagger.files.jsonfile import parse_json
from jettagger.provenance import KEY, Origin, origin, provenance_of
from jettagger.types import Floats
from jettagger.weights import broadcast, check_weights

if TYPE_CHECKING:
    pass

__all__ = [
    "NEVER",
    "SYSTEMATICS",
    "BackgroundSample",
    "DerivedFile",
    "ThresholdCurve",
    "background_sample",
    "decisions",
    "description",
    "json_edge",
    "numbers_of_jets",
    "origin_in",
    "plain",
]

#: threshold outside of the bins; no discriminant reaches it
NEVER = 1e30

#: nominal, and shifted by one standard deviation
SYSTEMATICS = ("nominal", "up", "down")


@dataclass(frozen=True)
class BackgroundSample(Brief):
    """Jets of a background: scores, weights and further columns as flat arrays.

    Attributes
    ----------
    scores : float64[jets]
        NaN where a jet has none.
    weights : float64[jets]
    columns : dict of str to float64[jets]
        By axis; NaN where missing.
    weighting : str
        Which weights were used, for the record.
    weighted : bool
    resolved : Resolved
        The columns from which the discriminant is computed.
    origin : Origin or None
        The model of the scores.
    files : tuple of str
        Files that the origin was read from.
    """

    scores: Floats
    weights: Floats
    columns: Mapping[str, Floats]
    weighting: str
    weighted: bool
    resolved: Resolved
    origin: Origin | None
    files: tuple[str, ...]


def background_sample(
    discriminant: Discriminant,
    background: Any,
    inputs: Mapping[str, str],
    *,
    weights: Any = None,
    prefix: str | None = None,
    collection: str = "FatJet",
    model: Any = None,
    what: str = "bins",
) -> BackgroundSample:
    """Read a background sample.

    Parameters
    ----------
    discriminant : Discriminant
    background : jets
        In any form accepted by discriminants.
    inputs : mapping of str to str
        Axis -> column.
    weights : array or False, optional
        One per jet or one per event; default: the generator weights of the table, if any. False: none.
    prefix, collection : str
        As for discriminants.
    model : path, mapping, Tagger or Bundle, optional
        Origin of the scores.
    what : str
        What needs the columns, for messages.

    Returns
    -------
    BackgroundSample

    Raises
    ------
    MissingColumns
        If a column is missing.
    MismatchError
        If the weights do not fit the scores.
    InvalidValues
        If a weight is not finite.
    ConfigError
        If ``model`` does not give a model.
    """
    import awkward as ak

    values = ak.Array(discriminant(background, prefix=prefix, collection=collection))
    there = table(background, collection)
    for axis, column in inputs.items():
        if column not in there.columns:
            near = hint(column, there.columns)
            raise MissingColumns(f"{what} in {axis} need the column {column!r}, which these jets lack{near}")
    parts = [ak.Array(there.get(column)) for column in inputs.values()]
    weighting = "given" if weights is not None else f"{GENERATOR_WEIGHT} of the table"
    weights = generator_weights(background) if weights is None else None if weights is False else weights
    weighting = "none: each jet counts once" if weights is None else weighting
    if weights is not None:
        check_weights(weights)
        parts.append(ak.Array(weights))
    try:
        values, *parts = broadcast(values, *parts)
    except ValueError as error:
        got = f"{len(parts[-1])} weights for {len(values)} {'events' if values.ndim > 1 else 'jets'}"
        raise MismatchError(f"the weights or {what} do not fit the scores ({got}): {reason_of(error)}") from error
    numbers = [
        np.asarray(ak.to_numpy(ak.fill_none(ak.ravel(item), np.nan)), dtype=np.float64) for item in (values, *parts)
    ]
    source = origin_in(background) if model is None else model
    made_by = None if source is None else origin(source)
    if model is not None and made_by is None:
        raise ConfigError("model: it does not say which model made it; give the tagger or the bundle")
    resolved = discriminant.resolve(there.columns, prefix=prefix)
    of_file = isinstance(source, (str, os.PathLike, Mapping)) or source is origin_in(background)
    if of_file and not resolved.prefix:
        made_by = None  # columns without a prefix are not those of the model that a file names, e.g. tau21
    return BackgroundSample(
        scores=numbers[0],
        weights=numbers[-1] if weights is not None else np.ones(len(numbers[0])),
        columns=dict(zip(inputs, numbers[1:], strict=False)),
        weighting=weighting,
        weighted=weights is not None,
        resolved=resolved,
        origin=made_by,
        files=(os.fspath(source),) if isinstance(source, (str, os.PathLike)) else (),
    )


def origin_in(jets: Any) -> Any:
    """The origin recorded in jets, if any: Arrow tables of skims have it."""
    return jets if type(jets).__module__.partition(".")[0] == "pyarrow" else None


class ThresholdCurve(Brief):
    """The weighted fraction of jets that reach a score, as a function of the score.

    Parameters
    ----------
    scores, weights : float64[jets]
        Finite. With negative weights the curve can rise again further down: the first crossing from above counts.

    Attributes
    ----------
    jets : int
    total : float
        Sum of the weights.
    effective : float
        Effective number of jets, ``sum(w)**2 / sum(w**2)``; 0 where the sum is not positive.
    """

    def __init__(self, scores: Floats, weights: Floats) -> None:
        self.jets = len(scores)
        self.total, squares = float(weights.sum()), float((weights**2).sum())
        self.effective = self.total**2 / squares if squares > 0 and self.total > 0 else 0.0
        self._levels, inverse = np.unique(scores, return_inverse=True)
        size = len(self._levels)
        self._passing = np.cumsum(np.bincount(inverse, weights, size)[::-1])[::-1]
        self._passing2 = np.cumsum(np.bincount(inverse, weights**2, size)[::-1])[::-1]
        reaching = self._passing / self.total if self.total > 0 else np.ones(size)
        self._reaching = np.maximum.accumulate(reaching[::-1])[::-1]

    def resolves(self, efficiency: float, least: float) -> bool:
        """Whether enough effective jets pass, and fail, at an efficiency."""
        return self.total > 0 and self.effective * min(efficiency, 1 - efficiency) >= least

    def require(self, efficiency: float, least: float, what: str) -> None:
        """Refuse an efficiency that the jets do not resolve.

        Raises
        ------
        InvalidValues
            Says how many jets it would take.
        """
        if self.resolves(efficiency, least):
            return
        if self.jets and self.total <= 0:
            raise InvalidValues(
                f"{what}: the sum of the weights of {self.jets} jets is {self.total:g}, expected a positive one: "
                "wider bins, or a larger sample"
            )
        needed = least / min(efficiency, 1 - efficiency)
        raise InvalidValues(
            f"{what}: {self.jets} jets (effectively {self.effective:.0f}) are too few for an efficiency of "
            f"{efficiency:g}; at least {least:g} must pass and fail, which takes {math.ceil(needed)} effective jets"
        )

    def at(self, efficiency: float) -> float:
        """The lowest score that is reached by no more than a fraction of the jets."""
        allowed = len(self._levels) - int(np.searchsorted(self._reaching[::-1], efficiency * (1 + 1e-12), side="right"))
        return float(self._levels[allowed]) if allowed < len(self._levels) else self.above

    @property
    def above(self) -> float:
        """The next number above the highest score."""
        return float(np.nextafter(self._levels[-1], np.inf))

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        return float(self._levels[0]), float(self._levels[-1])

    def point(self, wanted: float) -> dict[str, float]:
        """The threshold at an efficiency, its uncertainty by Woodruff (1952), and the efficiency achieved.

        Returns
        -------
        dict
            ``threshold``, ``up``, ``down`` (at the efficiency minus and plus its own uncertainty) and ``achieved``.
        """
        nominal = self.at(wanted)
        index = int(np.searchsorted(self._levels, nominal))
        passing, passing2 = (
            (float(sums[index]) if index < len(sums) else 0.0) for sums in (self._passing, self._passing2)
        )
        achieved, uncertainty = _fraction(passing, passing2, self.total, float(self._passing2[0]))
        # The uncertainty of the stated efficiency, not of the achieved one, which is zero if nothing passes.
        sigma = max(float(uncertainty), math.sqrt(wanted * (1 - wanted) / self.effective))
        up = self.at(wanted - sigma) if wanted > sigma else self.above
        return {"threshold": nominal, "up": up, "down": self.at(min(wanted + sigma, 1.0)), "achieved": achieved}


# ------------------------------------------------------------------------------------------------ the file


class DerivedFile(CorrectionText):
    """Numbers derived from a discriminant on a background sample, as correctionlib JSON.

    A value: its pickle is the JSON text.

    Parameters
    ----------
    text : str
        The correctionlib JSON.
    name : str
        Its name in messages, e.g. that of the file.

    Attributes
    ----------
    discriminant : Discriminant
    inputs : dict
        Input of the correction -> column.
    record : dict
        Details of the derivation: sizes of the sample, weights, versions.
    origin : Origin or None
        The model whose scores it was derived for; None if unknown.
    prefix : str or None
        The prefix of these scores; None if not recorded.
    scores : tuple of str
        Names of the scores, without the prefix.

    Raises
    ------
    InputFileError
        If the text is not correctionlib JSON or was not written by jettagger.
    """

    #: what it is, in messages; what it holds on a discriminant; formats that are read, the current one first
    title: ClassVar[str] = "derived file"
    holds: ClassVar[str] = "numbers"
    formats: ClassVar[tuple[Any, ...]] = ()

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text, name)
        where = self._name
        try:
            content = parse_json(text, f"{where}: not {self.title} as jettagger writes them: its content", kind=dict)
            described = parse_json(content["description"], f"{where}: its description", kind=dict)["jettagger"]
            if described["format"] not in self.formats:
                raise InputFileError(
                    f"{where}: {self.title} of format {described['format']!r}, expected {self.formats[0]}"
                )
            self.discriminant = Discriminant.from_dict(described["discriminant"], name=described["name"], where=where)
            self.inputs: dict[str, str] = dict(described["inputs"])
            self.record: dict[str, Any] = dict(described["record"])
            made: dict[str, Any] = described.get("scores", {})
            self.origin = None if made.get("model") is None else origin(made)
            self.prefix: str | None = made.get("prefix")
            self.scores: tuple[str, ...] = tuple(made.get("names", ()))
            self._correction = content["corrections"][0]["name"]
            self._read(described)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputFileError(f"{where}: not {self.title} as jettagger writes them: {error!r}") from error

    def _read(self, described: dict[str, Any]) -> None:
        """Read the content of a kind of file from its description."""

    @cached_property
    def evaluator(self) -> Any:
        """The correctionlib correction that evaluates it.

        Raises
        ------
        InputFileError
            If correctionlib refuses the text.
        """
        return self.corrections[self._correction]

    def check(self, found: Resolved, source: Any) -> None:
        """Refuse scores other than those that it was derived for.

        Parameters
        ----------
        found : Resolved
            The columns from which the discriminant is computed.
        source : skim, provenance, pyarrow table, Tagger, Bundle or None
            Origin of the scores, as for `jettagger.provenance.origin`.

        Raises
        ------
        MismatchError
            Gives both models, or both prefixes or score names if a model is not known.
        """
        if self.prefix is None:
            return
        what = f"{self._name}: {self.holds} on {self.discriminant.name or self.discriminant}"
        theirs = None if source is None else origin(source)
        if self.origin is not None and theirs is not None:
            self.origin.check(theirs, what)
        elif found.prefix != self.prefix:
            raise MismatchError(
                f"{what} were derived on scores with the prefix {self.prefix!r}, these have {found.prefix!r}: of "
                "another tagger? If it is the same model under another name, give model=... (the skim or the tagger) "
                "where they were derived and where they are applied"
            )
        names = tuple(sorted(found.scores))
        if names != self.scores:
            raise MismatchError(
                f"{what} were derived on {some(self.scores, 8)}, here they would apply to {some(names, 8)}"
            )

    def _values(self, jets: Any, prefix: str | None, collection: str, model: Any) -> tuple[Any, list[Any], Table]:
        """The discriminant and the further columns of jets that it is valid for."""
        columns = table(jets, collection)
        found = self.discriminant.resolve(columns.columns, prefix=prefix)
        self.check(found, origin_in(jets) if model is None else model)
        values = self.discriminant(jets, prefix=prefix, collection=collection)
        for axis, column in self.inputs.items():
            if column not in columns.columns:
                near = hint(column, columns.columns)
                raise MissingColumns(
                    f"the {self.title} read {axis} from the column {column!r}, which these jets lack{near}"
                )
        return values, [columns.get(column) for column in self.inputs.values()], columns

    def _context(self) -> list[str]:
        model = "not known" if self.origin is None else f"{self.origin.model}, digest {self.origin.digest}"
        prefix = "not known" if self.prefix is None else self.prefix or "none"
        weights = self.record.get("weights", "given" if self.record["weighted"] else "none: each jet counts once")
        return [
            f"{self.discriminant.name or 'discriminant'} = {self.discriminant}",
            f"model: {model}",
            f"prefix: {prefix}; scores: {some(self.scores, 8) if self.scores else 'not known'}",
            f"weights: {weights}",
        ]


def description(
    discriminant: Discriminant,
    sample: BackgroundSample,
    record: Mapping[str, Any],
    *,
    form: Any,
    inputs: Mapping[str, str],
    step: str,
    **further: Any,
) -> str:
    """The description of a file: the discriminant, the model of its scores, the record of the derivation.

    Parameters
    ----------
    discriminant : Discriminant
    sample : BackgroundSample
    record : mapping
        Details of the derivation.
    form : int
        Format of the description.
    inputs : mapping of str to str
    step : str
        For the provenance.
    **further
        Further keys.

    Returns
    -------
    str
        JSON.
    """
    made = {"model": None, "digest": None, "heads": {}} if sample.origin is None else sample.origin.to_dict()
    content = {
        "format": form,
        "name": discriminant.name,
        "discriminant": discriminant.to_dict(),
        **further,
        "inputs": dict(inputs),
        "scores": {**made, "prefix": sample.resolved.prefix, "names": sorted(sample.resolved.scores)},
        KEY: provenance_of(sample.origin, {}, None, sample.files, step=step).to_dict(),
        "record": plain(dict(record)),
    }
    return json.dumps({"jettagger": content}, allow_nan=False)


def json_edge(value: float) -> float | str:
    """A bin edge as correctionlib writes it."""
    return value if math.isfinite(value) else "inf" if value > 0 else "-inf"


def plain(value: Any) -> Any:
    """A record without infinities, which are not valid JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return value


# ------------------------------------------------------------------------------------------------ evaluation

#: scores, other columns (float64[jets], NaN where missing) -> one value per jet
_Flat = Callable[..., Any]


def decisions(evaluate: _Flat, values: Any, others: Sequence[Any]) -> Any:
    """Decisions for jets: ``bool`` in the nesting of the values; jets without one fail.

    Parameters
    ----------
    evaluate : callable
        Scores and other columns, float64[jets] with NaN where missing -> bool[jets]
    values : awkward array, NumPy array, float or None
        The discriminant.
    others : sequence of the same

    Returns
    -------
    awkward array, NumPy array or bool
    """
    if hasattr(values, "layout"):
        import awkward as ak

        if ak.backend(values) == "typetracer":
            # Only the form is asked for, and which columns are read: correctionlib needs numbers.
            for item in others:
                values = values + item
            return ak.fill_none(values >= 0, value=False, axis=None)
        parts = [ak.fill_none(ak.values_astype(item, np.float64), np.nan, axis=None) for item in others]
        values, *parts = broadcast(values, *parts)
        scores = ak.to_numpy(ak.fill_none(ak.ravel(values), -np.inf))
        return _like(values, evaluate(scores, *(np.asarray(ak.to_numpy(ak.ravel(part))) for part in parts)))
    if values is None or np.ndim(values) == 0:
        if values is None or any(item is None for item in others):
            return False
        return bool(evaluate(float(values), *(float(item) for item in others)))
    return evaluate(values, *(np.asarray(item, dtype=np.float64) for item in others))


def numbers_of_jets(evaluate: _Flat, values: Any, others: Sequence[Any]) -> Any:
    """Numbers for jets: float64 in the nesting of the values, None (NaN in NumPy arrays) where these are.

    Parameters
    ----------
    evaluate, values, others
        As for `decisions`; the callable returns float64[jets] and is not given jets without a value.

    Returns
    -------
    awkward array, NumPy array, float or None
    """
    if hasattr(values, "layout") or any(hasattr(item, "layout") for item in others):
        import awkward as ak

        values = ak.Array(values)
        if ak.backend(values) == "typetracer":
            values = ak.from_regular(values, axis=None)
            for item in others:
                values = values + 0.0 * ak.fill_none(ak.values_astype(item, np.float64), np.nan, axis=-1)
            return values
        parts = [ak.fill_none(ak.values_astype(ak.Array(item), np.float64), np.nan, axis=-1) for item in others]
        values, *parts = broadcast(values, *parts)

        def at_leaves(layouts: Any, **_: Any) -> Any:
            layouts = layouts if isinstance(layouts, (list, tuple)) else (layouts,)
            if not all(layout.is_numpy for layout in layouts):
                return None
            flat = [np.asarray(layout.to_backend_array(), dtype=np.float64) for layout in layouts]
            return ak.contents.NumpyArray(np.asarray(evaluate(*flat), dtype=np.float64))

        return ak.transform(at_leaves, values, *parts)
    if values is None or np.ndim(values) == 0:
        if values is None or math.isnan(values):
            return None
        return float(evaluate(float(values), *(math.nan if item is None else float(item) for item in others)))
    scores = np.asarray(values, dtype=np.float64)
    columns = [np.ma.filled(np.ma.asarray(item, dtype=np.float64), np.nan) for item in others]
    result = np.full(scores.shape, np.nan)
    there = np.isfinite(scores)
    result[there] = evaluate(scores[there], *(column[there] for column in columns))
    return result


def _like(values: Any, flat: Any) -> Any:
    """Flat values in the nesting of others, with no option types."""
    import awkward as ak

    counts = []
    inner = ak.fill_none(values, np.nan, axis=None)
    while inner.ndim > 1:
        counts.append(ak.num(inner, axis=1))
        inner = ak.flatten(inner, axis=1)
    result = ak.Array(flat)
    for count in reversed(counts):
        result = ak.unflatten(result, count)
    return result


guard(globals(), "DerivedFile")
