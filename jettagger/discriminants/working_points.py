"""Working points: thresholds on a discriminant at given background efficiencies.

They are stored as correctionlib JSON (schema version 2): a correction with the inputs ``WorkingPoint`` (the
name), ``systematic`` (``nominal``, ``up`` and ``down``: the threshold and its statistical uncertainty) and,
with bins, ``pt`` and ``mass`` in GeV. Jets outside of the bins get a threshold that no score reaches. The
description of the file is also JSON: the discriminant, and the model whose scores it was derived for (name, digest,
prefix, score names), so that scores of another model are refused.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import guard, in_range, is_number
from jettagger.discriminants.derived import (
    NEVER,
    SYSTEMATICS,
    BackgroundSample,
    DerivedFile,
    ThresholdCurve,
    background_sample,
    decisions,
    description,
    json_edge,
)
from jettagger.discriminants.discriminant import Discriminant
from jettagger.display import Brief, Grid, ObjectSummary, aligned
from jettagger.errors import ConfigError, UnknownName

__all__ = ["NEVER", "ProvenanceWarning", "WorkingPoint", "WorkingPoints", "derive"]

#: format of the description; files of the first format do not record the model
_FORMAT, _WITHOUT_MODEL = 2, 1


class ProvenanceWarning(UserWarning):
    """A file does not record its model, so that this cannot be checked."""


class WorkingPoints(DerivedFile, Mapping[str, "WorkingPoint"]):
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

    title: ClassVar[str] = "working points"
    holds: ClassVar[str] = "thresholds"
    formats: ClassVar[tuple[Any, ...]] = (_FORMAT, _WITHOUT_MODEL)

    def _read(self, described: dict[str, Any]) -> None:
        self.efficiencies: dict[str, float] = dict(described["efficiencies"])
        if described["format"] == _FORMAT:
            _ = described["scores"]["prefix"]

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
        points = super().load(path)
        if points.prefix is None:
            warnings.warn(
                f"{path}: written by an older version of jettagger, does not say which model its thresholds were "
                "derived for: whether they fit the scores that they are applied to is not checked; derive them again",
                ProvenanceWarning,
                stacklevel=2,
            )
        return points

    def table(self) -> str:
        """The thresholds as a text table, one line per working point and bin, followed by the origin of the scores."""
        return "\n".join([*self._context(), "", *self._lines()])

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
class WorkingPoint(Brief):
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
        if systematic not in SYSTEMATICS:
            raise UnknownName("systematic", systematic, SYSTEMATICS)
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
        values, others, columns = self.points._values(jets, prefix, collection, model)
        decide = _Decide(self, systematic)
        if columns.lazy:
            import dask_awkward

            return dask_awkward.map_partitions(decide, values, *others, label=f"passes-{self.name}")
        return decide(values, *others)


@dataclass(frozen=True)
class _Decide:
    """The decision for one chunk; a value, so that dask can send it."""

    point: WorkingPoint
    systematic: str

    def __call__(self, values: Any, *others: Any) -> Any:
        return decisions(self._passing, values, others)

    def _passing(self, scores: Any, *others: Any) -> Any:
        given = (np.nan_to_num(item, nan=-NEVER) for item in others)
        axes = dict(zip(self.point.points.inputs, given, strict=True))
        return scores >= self.point.threshold(**axes, systematic=self.systematic)


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
    in_range(least, "derive(), argument least", 0)
    for key, value in efficiencies.items():
        if not is_number(value) or not 0 < value < 1:
            raise ConfigError(f"working point {key!r}: an efficiency lies between 0 and 1, got {value!r}")
    if not efficiencies:
        raise ConfigError("got no working points, expected names and efficiencies such as {'loose': 0.05}")
    edges = {"pt": _edges(pt, "pt"), "mass": _edges(mass, "mass")}
    sources = {"pt": "pt", "mass": "msoftdrop", **(columns or {})}
    inputs = {axis: sources[axis] for axis in ("pt", "mass") if edges[axis]}
    sample = background_sample(
        discriminant, background, inputs, weights=weights, prefix=prefix, collection=collection, model=model
    )
    scored = np.isfinite(sample.scores)
    bins = []
    spans = [list(itertools.pairwise(edges[axis])) for axis in inputs]
    for index in np.ndindex(*(len(axis) for axis in spans)):
        chosen = scored.copy()
        entry: dict[str, Any] = {}
        for axis, span, where in zip(inputs, spans, index, strict=True):
            low, high = span[where]
            chosen &= (sample.columns[axis] >= low) & (sample.columns[axis] < high)
            entry[axis] = [low, high]
        label = ", ".join(f"{axis} {low:g}-{high:g} GeV" for axis, (low, high) in entry.items()) or "all jets"
        curve = ThresholdCurve(sample.scores[chosen], sample.weights[chosen])
        thresholds = {}
        for key, value in efficiencies.items():
            curve.require(value, least, f"working point {key!r}, {label}")
            thresholds[key] = curve.point(value)
        bins.append({**entry, "jets": int(chosen.sum()), "points": thresholds})
    record = {
        "jettagger": __version__,
        "jets": int(scored.sum()),
        "without_score": int((~scored).sum()),
        "weighted": sample.weighted,
        "weights": sample.weighting,
        "bins": bins,
    }
    return WorkingPoints(_correction(discriminant, name, dict(efficiencies), inputs, edges, record, sample))


def _correction(
    discriminant: Discriminant,
    name: str,
    efficiencies: dict[str, float],
    inputs: dict[str, str],
    edges: Mapping[str, list[float]],
    record: dict[str, Any],
    sample: BackgroundSample,
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
                    edges=[json_edge(bound) for bound in bounds],
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
        {point: category("systematic", {key: content(point, key) for key in SYSTEMATICS}) for point in efficiencies},
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
    whole = schemav2.CorrectionSet(
        schema_version=2,
        description=description(
            discriminant,
            sample,
            record,
            form=_FORMAT,
            inputs=inputs,
            step="working points",
            efficiencies=efficiencies,
        ),
        corrections=[correction],
    )
    return str(whole.model_dump_json(exclude_unset=True, indent=1)) + "\n"


guard(globals())
