"""Working points: thresholds on a discriminant at given background efficiencies.

They are stored as correctionlib JSON (schema version 2): a correction with the inputs ``WorkingPoint`` (the
name), ``systematic`` (``nominal``, ``up`` and ``down``: the threshold and its statistical uncertainty) and,
with bins, ``pt`` and ``mass`` in GeV. Jets outside of the bins get a threshold that no score reaches. The
description of the file is also JSON: the discriminant, and the model whose scores it was derived for (name, digest,
prefix, score names), so that scores of another model are refused.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import guard, in_range, is_number
from jettagger.discriminants.columns import GENERATOR_WEIGHT, Resolved, generator_weights, table
from jettagger.discriminants.discriminant import Discriminant
from jettagger.discriminants.metrics import efficiency
from jettagger.display import Displayed, Grid, ObjectSummary, aligned, some
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    MismatchError,
    MissingColumns,
    UnknownName,
    hint,
    reason_of,
)
from jettagger.files import complete_or_absent, refuse_special
from jettagger.files.jsonfile import parse_json
from jettagger.provenance import KEY, Origin, origin, provenance_of
from jettagger.types import Floats
from jettagger.weights import broadcast, check_weights

__all__ = ["NEVER", "ProvenanceWarning", "WorkingPoint", "WorkingPoints", "derive"]

#: threshold outside of the bins; no discriminant reaches it
NEVER = 1e30

_SYSTEMATICS = ("nominal", "up", "down")
#: format of the description; files of the first format do not record the model
_FORMAT, _WITHOUT_MODEL = 2, 1


class ProvenanceWarning(UserWarning):
    """A file does not record its model, so that this cannot be checked."""


class WorkingPoints(Displayed, Mapping[str, "WorkingPoint"]):
    """Thresholds on one discriminant, by name of the working point.

    Made by :func:`derive` or :meth:`load`. A value: its pickle is the JSON text.

    Parameters
    ----------
    text : str
        The correctionlib JSON.
    name : str
        Its name in messages, e.g. that of the file.

    Attributes
    ----------
    discriminant : Discriminant
        The discriminant.
    efficiencies : dict
        Name -> nominal background efficiency.
    inputs : dict
        ``pt`` and ``mass`` (those on which the thresholds depend) -> column.
    record : dict
        Details of the derivation: sizes of the sample, weights, achieved efficiencies, versions.
    origin : Origin or None
        The model whose scores they were derived for; None if unknown.
    prefix : str or None
        The prefix of these scores; None in files of the first format.
    scores : tuple of str
        Names of the scores, without the prefix.

    Raises
    ------
    InputFileError
        If the text is not correctionlib JSON or was not written by jettagger.
    """

    def __init__(self, text: str, name: str = "working points") -> None:
        self._text = text
        self._name = name
        try:
            content = parse_json(text, f"{name}: not working points as jettagger writes them: its content", kind=dict)
            described = parse_json(content["description"], f"{name}: its description", kind=dict)["jettagger"]
            if described["format"] not in (_FORMAT, _WITHOUT_MODEL):
                raise InputFileError(f"{name}: working points of format {described['format']!r}, expected {_FORMAT}")
            self.discriminant = Discriminant.from_dict(described["discriminant"], name=described["name"], where=name)
            self.efficiencies: dict[str, float] = dict(described["efficiencies"])
            self.inputs: dict[str, str] = dict(described["inputs"])
            self.record: dict[str, Any] = dict(described["record"])
            made = described["scores"] if described["format"] != _WITHOUT_MODEL else {}
            self.origin = None if made.get("model") is None else origin(made)
            self.prefix: str | None = made.get("prefix")
            self.scores: tuple[str, ...] = tuple(made.get("names", ()))
            self._correction = content["corrections"][0]["name"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputFileError(f"{name}: not working points as jettagger writes them: {error!r}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return (WorkingPoints, (self._text, self._name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkingPoints) and parse_json(self._text, self._name) == parse_json(
            other._text, other._name
        )

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, name: str) -> WorkingPoint:
        """The working point with this name.

        Raises
        ------
        UnknownName
            If it does not exist; gives the nearest names.
        """
        if name not in self.efficiencies:
            raise UnknownName("working point", name, self.efficiencies, self._name)
        return WorkingPoint(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.efficiencies)

    def __len__(self) -> int:
        return len(self.efficiencies)

    def __repr__(self) -> str:
        return f"<WorkingPoints of {self.discriminant.name or self.discriminant}: {', '.join(self)}>"

    def summary(self) -> ObjectSummary:
        """Discriminant, origin of the scores, and thresholds, for display."""
        what, *context = self._context()
        facts = [("", what)]
        for line in context:
            name, _, text = line.partition(": ")
            facts.append((name, text))
        header, *rows = self._rows()
        return ObjectSummary(f"WorkingPoints {self._name}", facts, [Grid("Thresholds", header, rows, len(header) - 1)])

    @cached_property
    def evaluator(self) -> Any:
        """The correctionlib correction that evaluates the thresholds.

        Raises
        ------
        InputFileError
            If correctionlib refuses the text.
        """
        import correctionlib

        try:
            return correctionlib.CorrectionSet.from_string(self._text)[self._correction]
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputFileError(f"{self._name}: correctionlib refuses it: {error}") from error

    def to_string(self) -> str:
        """The correctionlib JSON."""
        return self._text

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the correctionlib JSON.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        with complete_or_absent(path) as part:
            part.write_text(self._text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WorkingPoints:
        """Read a file written by :meth:`save`; it is validated by correctionlib.

        Raises
        ------
        InputFileError
            If the file does not exist, is not valid, or has another format.

        Warns
        -----
        ProvenanceWarning
            If the file has the first format, which does not record the model.
        """
        refuse_special(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputFileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        points = cls(text, str(path))
        _ = points.evaluator
        if points.prefix is None:
            warnings.warn(
                f"{path}: written by an older version of jettagger, does not say which model its thresholds were "
                "derived for: whether they fit the scores that they are applied to is not checked; derive them again",
                ProvenanceWarning,
                stacklevel=2,
            )
        return points

    def check(self, found: Resolved, source: Any) -> None:
        """Refuse scores other than those that the working points were derived for.

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
        what = f"{self._name}: thresholds on {self.discriminant.name or self.discriminant}"
        theirs = None if source is None else origin(source)
        if self.origin is not None and theirs is not None:
            self.origin.check(theirs, what)
        elif found.prefix != self.prefix:
            raise MismatchError(
                f"{what} were derived on scores with the prefix {self.prefix!r}, these have {found.prefix!r}: of "
                "another tagger? If it is the same model under another name, give model=... (the skim or the tagger) "
                "to derive() and to passes()"
            )
        names = tuple(sorted(found.scores))
        if names != self.scores:
            raise MismatchError(
                f"{what} were derived on {some(self.scores, 8)}, here they would apply to {some(names, 8)}"
            )

    def table(self) -> str:
        """The thresholds as a text table, one line per working point and bin, followed by the origin of the scores."""
        return "\n".join([*self._context(), "", *self._lines()])

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

    def _lines(self) -> list[str]:
        return aligned(self._rows())

    def _rows(self) -> list[list[str]]:
        rows = [["working point", "efficiency", "achieved", *self.inputs, "threshold", "uncertainty", "jets"]]
        for entry in self.record["bins"]:
            for name, asked in self.efficiencies.items():
                found = entry["points"][name]
                spans = [f"{float(entry[axis][0]):g}-{float(entry[axis][1]):g}" for axis in self.inputs]
                sigma = (found["up"] - found["down"]) / 2
                numbers = [f"{found['threshold']:.6g}", f"{sigma:.2g}", str(entry["jets"])]
                rows.append([name, f"{asked:g}", f"{found['achieved']:.4g}", *spans, *numbers])
        return rows


@dataclass(frozen=True)
class WorkingPoint:
    """One of several working points: a threshold for each jet.

    Attributes
    ----------
    points : WorkingPoints
        The working points it belongs to.
    name : str
        E.g. ``"medium"``.
    """

    points: WorkingPoints
    name: str

    def threshold(self, pt: Any = None, mass: Any = None, systematic: str = "nominal") -> Any:
        """The threshold for given jets.

        Parameters
        ----------
        pt, mass : array or float, optional
            In GeV; required if the thresholds depend on them. NumPy, or jagged awkward arrays without None.
        systematic : {"nominal", "up", "down"}
            ``up`` and ``down`` are shifted by one standard deviation due to the size of the sample.

        Returns
        -------
        array or float
            float64.

        Raises
        ------
        ConfigError
            If a required one is missing.
        UnknownName
            If the systematic does not exist.
        """
        if systematic not in _SYSTEMATICS:
            raise UnknownName("systematic", systematic, _SYSTEMATICS)
        given = {"pt": pt, "mass": mass}
        for axis in self.points.inputs:
            if given[axis] is None:
                raise ConfigError(f"the working points depend on {axis}: give {axis}=...")
        return self.points.evaluator.evaluate(self.name, systematic, *(given[axis] for axis in self.points.inputs))

    def passes(
        self,
        jets: Any,
        systematic: str = "nominal",
        *,
        prefix: str | None = None,
        collection: str = "FatJet",
        model: Any = None,
    ) -> Any:
        """Whether jets pass the working point.

        Parameters
        ----------
        jets : awkward array or record, dask-awkward array, or mapping of arrays
            As for discriminants, with the columns for pt and mass if the thresholds depend on them.
        systematic : {"nominal", "up", "down"}
            Nominal or shifted threshold.
        prefix : str, optional
            Prefix of the tagger, required if there are several.
        collection : str
            Name of the jets in events and skims.
        model : path, mapping, Tagger or Bundle, optional
            Origin of the scores: the skim that they were read from, its provenance, or the tagger or bundle. Arrow
            tables of skims contain this information.

        Returns
        -------
        array or bool
            ``bool`` in the nesting of the jets. Jets without a score fail.

        Raises
        ------
        MissingColumns
            If a score, or the column for pt or mass, is missing.
        MismatchError
            If the scores belong to a model other than that of the thresholds, judged by its digest if both are known,
            otherwise by the prefix; or if other scores would be used.
        """
        columns = table(jets, collection)
        found = self.points.discriminant.resolve(columns.columns, prefix=prefix)
        self.points.check(found, _source(jets) if model is None else model)
        values = self.points.discriminant(jets, prefix=prefix, collection=collection)
        for axis, column in self.points.inputs.items():
            if column not in columns.columns:
                near = hint(column, columns.columns)
                raise MissingColumns(
                    f"the working points read {axis} from the column {column!r}, which these jets lack{near}"
                )
        others = [columns.get(column) for column in self.points.inputs.values()]
        decide = _Decide(self, systematic)
        if columns.lazy:
            import dask_awkward

            return dask_awkward.map_partitions(decide, values, *others, label=f"passes-{self.name}")
        return decide(values, *others)


def _source(jets: Any) -> Any:
    """The origin recorded in jets, if any."""
    return jets if type(jets).__module__.partition(".")[0] == "pyarrow" else None


@dataclass(frozen=True)
class _Decide:
    """The decision for one chunk; a value, so that dask can send it."""

    point: WorkingPoint
    systematic: str

    def __call__(self, values: Any, *others: Any) -> Any:
        given = dict(zip(self.point.points.inputs, others, strict=True))
        if hasattr(values, "layout"):
            return self._awkward(values, given)
        if values is None or np.ndim(values) == 0:
            if values is None or any(item is None for item in given.values()):
                return False
            given = {axis: float(item) for axis, item in given.items()}
            return bool(values >= self.point.threshold(**given, systematic=self.systematic))
        given = {axis: np.nan_to_num(np.asarray(item, dtype=np.float64), nan=-NEVER) for axis, item in given.items()}
        return values >= self.point.threshold(**given, systematic=self.systematic)

    def _awkward(self, values: Any, given: Mapping[str, Any]) -> Any:
        import awkward as ak

        if ak.backend(values) == "typetracer":
            # Only the form is asked for, and which columns are read: correctionlib needs numbers.
            for item in given.values():
                values = values + item
            return ak.fill_none(values >= 0, value=False, axis=None)
        parts = [ak.fill_none(ak.values_astype(item, np.float64), np.nan, axis=None) for item in given.values()]
        values, *parts = broadcast(values, *parts)
        flat = {axis: np.asarray(ak.to_numpy(ak.ravel(part))) for axis, part in zip(given, parts, strict=True)}
        clean = {axis: np.nan_to_num(item, nan=-NEVER) for axis, item in flat.items()}
        scores = ak.to_numpy(ak.fill_none(ak.ravel(values), -np.inf))
        passing = scores >= self.point.threshold(**clean, systematic=self.systematic)
        return _like(values, passing)


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


def _edges(edges: Sequence[float] | None, axis: str) -> list[float]:
    values = [float(edge) for edge in edges] if edges is not None else []
    if values and (len(values) < 2 or any(not b > a for a, b in itertools.pairwise(values))):
        raise ConfigError(f"the edges in {axis} must be at least two rising numbers, got {values}")
    return values


def derive(
    discriminant: Discriminant,
    background: Any,
    efficiencies: Mapping[str, float],
    *,
    weights: Any = None,
    pt: Sequence[float] | None = None,
    mass: Sequence[float] | None = None,
    columns: Mapping[str, str] | None = None,
    least: float = 10.0,
    prefix: str | None = None,
    collection: str = "FatJet",
    name: str = "",
    model: Any = None,
) -> WorkingPoints:
    """Derive the thresholds at which given fractions of a background pass.

    The threshold of a bin is the lowest score that is reached by no more than the given fraction. Its uncertainty is
    that of Woodruff (1952): the thresholds at the efficiency plus and minus its own uncertainty.

    Parameters
    ----------
    discriminant : Discriminant
        The discriminant.
    background : jets
        A background sample, in any form accepted by discriminants.
    efficiencies : mapping
        Name of each working point -> its background efficiency, e.g. ``{"loose": 0.05, "tight": 0.005}``.
    weights : array or False, optional
        One per jet or one per event. Default: the generator weights, i.e. the column ``genWeight`` stored with the jets
        in events or a skim; otherwise each jet has weight 1. False: weight 1 in any case. The record says which weights
        were used.
    pt, mass : sequence of float, optional
        Bin edges in GeV; the last may be ``inf``. Without both, one threshold applies to all jets.
    columns : mapping, optional
        The columns for ``pt`` and ``mass``; default: ``pt`` and ``msoftdrop``.
    least : float
        Minimum effective number of passing jets, and of failing jets, per working point and bin.
    prefix, collection : str
        As for discriminants.
    name : str
        Name of the correction; default: that of the discriminant.
    model : path, mapping, Tagger or Bundle, optional
        Origin of the scores: the skim that they were read from, its provenance, or the tagger or bundle. It is stored
        with the thresholds, which then refuse scores of other models. Arrow tables of skims contain this information.

    Returns
    -------
    WorkingPoints

    Raises
    ------
    ConfigError
        If efficiencies or edges are invalid.
    InvalidValues
        If a weight is not finite, or a bin has too few jets; gives the bin.
    MissingColumns
        If a column is missing.
    MismatchError
        If the weights do not fit the scores.
    """
    import awkward as ak

    in_range(least, "derive(), argument least", 0)
    for key, value in efficiencies.items():
        if not is_number(value) or not 0 < value < 1:
            raise ConfigError(f"working point {key!r}: an efficiency lies between 0 and 1, got {value!r}")
    if not efficiencies:
        raise ConfigError("got no working points, expected names and efficiencies such as {'loose': 0.05}")
    edges = {"pt": _edges(pt, "pt"), "mass": _edges(mass, "mass")}
    sources = {"pt": "pt", "mass": "msoftdrop", **(columns or {})}
    inputs = {axis: sources[axis] for axis in ("pt", "mass") if edges[axis]}
    values = ak.Array(discriminant(background, prefix=prefix, collection=collection))
    there = table(background, collection)
    for axis, column in inputs.items():
        if column not in there.columns:
            raise MissingColumns(f"bins in {axis} need the column {column!r}, which these jets lack")
    parts = [ak.Array(there.get(column)) for column in inputs.values()]
    weighted = "given" if weights is not None else f"{GENERATOR_WEIGHT} of the table"
    weights = generator_weights(background) if weights is None else None if weights is False else weights
    weighted = "none: each jet counts once" if weights is None else weighted
    if weights is not None:
        check_weights(weights)
        parts.append(ak.Array(weights))
    try:
        values, *parts = broadcast(values, *parts)
    except ValueError as error:
        got = f"{len(parts[-1])} weights for {len(values)} {'events' if values.ndim > 1 else 'jets'}"
        raise MismatchError(f"the weights or bins do not fit the scores ({got}): {reason_of(error)}") from error
    numbers = [
        np.asarray(ak.to_numpy(ak.fill_none(ak.ravel(item), np.nan)), dtype=np.float64) for item in (values, *parts)
    ]
    scores, factors = numbers[0], numbers[-1] if weights is not None else np.ones(len(numbers[0]))
    scored = np.isfinite(scores)
    bins = []
    spans = [list(itertools.pairwise(edges[axis])) for axis in inputs]
    for index in np.ndindex(*(len(axis) for axis in spans)):
        chosen = scored.copy()
        entry: dict[str, Any] = {}
        for axis, span, where, number in zip(inputs, spans, index, numbers[1:], strict=False):
            low, high = span[where]
            chosen &= (number >= low) & (number < high)
            entry[axis] = [low, high]
        label = ", ".join(f"{axis} {low:g}-{high:g} GeV" for axis, (low, high) in entry.items()) or "all jets"
        thresholds = {
            key: _threshold(scores[chosen], factors[chosen], value, least, f"working point {key!r}, {label}")
            for key, value in efficiencies.items()
        }
        bins.append({**entry, "jets": int(chosen.sum()), "points": thresholds})
    record = {
        "jettagger": __version__,
        "jets": int(scored.sum()),
        "without_score": int((~scored).sum()),
        "weighted": weights is not None,
        "weights": weighted,
        "bins": bins,
    }
    found = discriminant.resolve(there.columns, prefix=prefix)
    source = _source(background) if model is None else model
    known = None if source is None else origin(source)
    if model is not None and known is None:
        raise ConfigError("model: it does not say which model made it; give the tagger or the bundle")
    read = [os.fspath(source)] if isinstance(source, (str, os.PathLike)) else []
    made = provenance_of(known, {}, None, read, step="working points").to_dict()
    text = _correction(discriminant, name, dict(efficiencies), inputs, edges, record, _scores(found, known), made)
    return WorkingPoints(text)


def _scores(found: Resolved, known: Origin | None) -> dict[str, Any]:
    """Origin of the scores, for the description."""
    made = {"model": None, "digest": None, "heads": {}} if known is None else known.to_dict()
    return {**made, "prefix": found.prefix, "names": sorted(found.scores)}


def _threshold(scores: Floats, weights: Floats, wanted: float, least: float, what: str) -> dict[str, float]:
    total, squares = float(weights.sum()), float((weights**2).sum())
    effective = total**2 / squares if squares > 0 else 0.0
    if total <= 0 or effective * min(wanted, 1 - wanted) < least:
        raise InvalidValues(
            f"{what}: {len(scores)} jets (effectively {effective:.0f}) are too few for an efficiency of "
            f"{wanted:g}; at least {least:g} must pass and fail"
        )
    levels, inverse = np.unique(scores, return_inverse=True)
    reaching = np.cumsum(np.bincount(inverse, weights, len(levels))[::-1])[::-1] / total
    # With negative weights the curve can rise again further down: the first crossing from above counts.
    reaching = np.maximum.accumulate(reaching[::-1])[::-1]

    def at(fraction: float) -> float:
        allowed = np.flatnonzero(reaching <= fraction * (1 + 1e-12))
        return float(levels[allowed[0]]) if len(allowed) else float(np.nextafter(levels[-1], np.inf))

    nominal = at(wanted)
    achieved = efficiency(scores >= nominal, weights)
    # The uncertainty of the stated efficiency, not of the achieved one, which is zero if nothing passes.
    sigma = max(achieved.uncertainty, math.sqrt(wanted * (1 - wanted) / effective))
    up = at(wanted - sigma) if wanted > sigma else float(np.nextafter(levels[-1], np.inf))
    down = at(min(wanted + sigma, 1.0))
    return {"threshold": nominal, "up": up, "down": down, "achieved": achieved.value}


def _edge(value: float) -> float | str:
    return value if math.isfinite(value) else "inf" if value > 0 else "-inf"


def _correction(
    discriminant: Discriminant,
    name: str,
    efficiencies: dict[str, float],
    inputs: dict[str, str],
    edges: Mapping[str, list[float]],
    record: dict[str, Any],
    scores: dict[str, Any],
    provenance: dict[str, Any],
) -> str:
    from correctionlib import schemav2

    title = name or discriminant.name or "discriminant"
    keys = {"nominal": "threshold", "up": "up", "down": "down"}

    def content(point: str, systematic: str) -> Any:
        values = [entry["points"][point][keys[systematic]] for entry in record["bins"]]
        for axis in reversed(inputs):
            bounds = edges[axis]
            size = len(bounds) - 1
            values = [
                schemav2.Binning(
                    nodetype="binning",
                    input=axis,
                    edges=[_edge(bound) for bound in bounds],
                    content=values[start : start + size],
                    flow=NEVER,
                )
                for start in range(0, len(values), size)
            ]
        return values[0]

    def category(input_: str, items: Mapping[str, Any]) -> Any:
        return schemav2.Category(
            nodetype="category",
            input=input_,
            content=[schemav2.CategoryItem(key=key, value=value) for key, value in items.items()],
        )

    data = category(
        "WorkingPoint",
        {point: category("systematic", {key: content(point, key) for key in _SYSTEMATICS}) for point in efficiencies},
    )
    listed = ", ".join(f"{key} {value:g}" for key, value in efficiencies.items())
    variables = [
        schemav2.Variable(name="WorkingPoint", type="string", description=f"background efficiency: {listed}"),
        schemav2.Variable(name="systematic", type="string", description="nominal, up, down (one standard deviation)"),
    ]
    variables += [
        schemav2.Variable(name=axis, type="real", description=f"{column} in GeV") for axis, column in inputs.items()
    ]
    correction = schemav2.Correction(
        name=title,
        description=f"Threshold on {title} = {discriminant}; a jet passes if its value is at least this.",
        version=1,
        inputs=variables,
        output=schemav2.Variable(name="threshold", type="real", description="on the discriminant"),
        data=data,
    )
    described = {
        "format": _FORMAT,
        "name": discriminant.name,
        "discriminant": discriminant.to_dict(),
        "efficiencies": efficiencies,
        "inputs": inputs,
        "scores": scores,
        KEY: provenance,
        "record": _plain(record),
    }
    whole = schemav2.CorrectionSet(
        schema_version=2,
        description=json.dumps({"jettagger": described}, allow_nan=False),
        corrections=[correction],
    )
    return str(whole.model_dump_json(exclude_unset=True, indent=1)) + "\n"


def _plain(value: Any) -> Any:
    """The record without infinities, which are not valid JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return value


guard(globals())
