"""Jets with their true and corrected transverse momenta, from arrays or from columns of events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.display import Brief, Displayed, Grid, ObjectSummary
from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns, UnknownName, hint
from jettagger.expressions import Expression, parse
from jettagger.types import Array, Bools, Floats, Ints
from jettagger.weights import check_weights

__all__ = [
    "FLAVOURS",
    "STANDARD",
    "EstimateColumns",
    "JetEstimates",
    "default_estimates",
    "estimates_of_events",
    "flavour_of",
    "jet_estimates",
    "joined",
    "of_flavour",
]

#: label of the estimate that others are compared with
STANDARD = "Standard"

#: name -> absolute PDG IDs, as in `flavour_of`; an empty list means all jets
FLAVOURS: Mapping[str, tuple[int, ...]] = {"all": (), "uds": (1, 2, 3), "c": (4,), "b": (5,), "g": (21,)}

#: collection of jets -> (index of the generator jet, collection of generator jets)
GENERATOR_JETS: Mapping[str, tuple[str, str]] = {
    "Jet": ("genJetIdx", "GenJet"),
    "FatJet": ("genJetAK8Idx", "GenJetAK8"),
}

#: name of the uncorrected pt in expressions: pt * (1 - rawFactor)
RAW_PT = "raw_pt"

#: regressions of NanoAOD and of this package: factors on the uncorrected pt
_FACTOR = re.compile(r"^(?P<model>\w+?)(?:_ptRawCorr|RegPtRawCorr)$")

_LABELS = {"PNet": "ParticleNet", "UParTAK4": "UParT", "UParTAK4V1": "UParT V1"}


def flavour_of(hadron: Numbers, parton: Numbers) -> Ints:
    """Flavour of jets: that of their hadrons if they have heavy ones, else that of the parton.

    Parameters
    ----------
    hadron, parton : int[jets]
        As ``hadronFlavour`` (0, 4 or 5) and ``partonFlavour`` of NanoAOD.

    Returns
    -------
    int64[jets]
        Absolute PDG IDs; 0 if neither is known.

    Examples
    --------
    >>> flavour_of([5, 0, 0], [21, -1, 21]).tolist()
    [5, 1, 21]
    """
    first, second = np.asarray(hadron).astype(np.int64), np.asarray(parton).astype(np.int64)
    return np.where(first != 0, first, np.abs(second))


def of_flavour(flavour: Numbers, name: str) -> Bools:
    """Mask of the jets of one flavour.

    Parameters
    ----------
    flavour : int[jets]
        As given by `flavour_of`.
    name : str
        One of `FLAVOURS`.

    Returns
    -------
    bool[jets]

    Raises
    ------
    UnknownName
        If there is no such flavour.

    Examples
    --------
    >>> of_flavour([5, 1, 21], "uds").tolist()
    [False, True, False]
    """
    if name not in FLAVOURS:
        raise UnknownName("flavour", name, FLAVOURS)
    values = np.asarray(flavour)
    return np.isin(values, FLAVOURS[name]) if FLAVOURS[name] else np.ones(len(values), dtype=bool)


@dataclass(frozen=True, eq=False, repr=False)
class JetEstimates(Displayed):
    """Matched jets and estimates of their transverse momentum; made by :func:`jet_estimates`.

    Attributes
    ----------
    pt_gen, eta_gen : float64[jets]
        Of the generator jets; GeV.
    flavour : int64[jets]
        Absolute PDG IDs, see `flavour_of`.
    estimates : mapping of str to float64[jets]
        Label -> corrected pt in GeV, NaN where there is none.
    weight : float64[jets]
    event : int64[jets]
        Equal for jets of one event, which vary together in a bootstrap.
    intervals : mapping of str to (float64[jets], float64[jets])
        Label -> lower and upper end of an interval for the true pt in GeV, NaN where there is none.
    left_out : mapping of str to int
        Reason -> number of jets.
    notes : tuple of str
        What users should know about the estimates.
    """

    pt_gen: Floats
    eta_gen: Floats
    flavour: Ints
    estimates: Mapping[str, Floats]
    weight: Floats
    event: Ints
    intervals: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pt_gen)

    def __repr__(self) -> str:
        return f"JetEstimates({len(self)} jets: {', '.join(self.estimates)})"

    def summary(self) -> ObjectSummary:
        """Numbers of jets, and of those with each estimate, for display."""
        rows = [(label, str(int(np.isfinite(pt).sum()))) for label, pt in self.estimates.items()]
        facts = [("jets", str(len(self)))]
        facts += [(f"left out: {reason}", str(count)) for reason, count in self.left_out.items()]
        return ObjectSummary("JetEstimates", facts, [Grid("Estimates", ("label", "jets"), rows, numbers=1)])


def jet_estimates(
    pt_gen: Numbers,
    eta_gen: Numbers,
    flavour: Numbers,
    estimates: Mapping[str, Numbers],
    *,
    weight: Numbers | None = None,
    event: Numbers | None = None,
    intervals: Mapping[str, tuple[Numbers, Numbers]] | None = None,
    left_out: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
) -> JetEstimates:
    """Estimates of jets as a value.

    Parameters
    ----------
    pt_gen, eta_gen : float[jets]
        Of the generator jets; GeV. Jets without a positive pt are left out and counted.
    flavour : int[jets]
        As given by `flavour_of`.
    estimates : mapping of str to float[jets]
        Label -> corrected pt in GeV; numbers that are not positive are none.
    weight : float[jets], optional
        Default: 1.
    event : int[jets], optional
        Event of each jet; default: each jet is its own.
    intervals : mapping of str to (float[jets], float[jets]), optional
        Label of an estimate -> lower and upper end of an interval for the true pt; GeV.
    left_out : mapping of str to int, optional
        Jets that were left out before.
    notes : sequence of str

    Returns
    -------
    JetEstimates

    Raises
    ------
    ConfigError
        If there is no estimate.
    UnknownName
        If an interval has no estimate.
    MismatchError
        If arrays differ in length.
    InvalidValues
        If weights are not finite.

    Examples
    --------
    >>> jets = jet_estimates([50.0, 0.0], [0.1, 0.2], [5, 21], {"Standard": [48.0, 30.0]})
    >>> len(jets), dict(jets.left_out)
    (1, {'pt_gen is not above 0': 1})
    """
    if not estimates:
        raise ConfigError("no estimate of the jet pt, expected at least one")
    unknown = [label for label in intervals or {} if label not in estimates]
    if unknown:
        raise UnknownName("estimate", unknown, estimates, "intervals")
    truth = _numbers(pt_gen)
    arrays = {
        "eta_gen": _numbers(eta_gen),
        "flavour": np.asarray(flavour).astype(np.int64),
        "weight": np.ones(len(truth)) if weight is None else _numbers(weight),
        "event": np.arange(len(truth)) if event is None else np.asarray(event).astype(np.int64),
    }
    corrected = {label: _positive(pt) for label, pt in estimates.items()}
    ends = {label: (_numbers(low), _numbers(high)) for label, (low, high) in (intervals or {}).items()}
    for label, pair in ends.items():
        for end in pair:
            if end.shape != corrected[label].shape:
                raise MismatchError(
                    f"{label}: an interval of {end.size} jets for an estimate of {corrected[label].size}"
                )
        there = np.isfinite(corrected[label])
        ends[label] = (np.where(there, pair[0], np.nan), np.where(there, pair[1], np.nan))
    every = {**arrays, **corrected}
    for name, array in every.items():
        if array.shape != truth.shape:
            raise MismatchError(f"{name}: {array.size} numbers for {truth.size} jets")
    check_weights(arrays["weight"], name="weight")
    with np.errstate(invalid="ignore"):
        good = (truth > 0) & np.isfinite(truth) & np.isfinite(arrays["eta_gen"])
    counts = dict(left_out or {})
    if not good.all():
        reason = "pt_gen is not above 0"
        counts[reason] = counts.get(reason, 0) + int(np.count_nonzero(~good))
    return JetEstimates(
        pt_gen=truth[good],
        eta_gen=arrays["eta_gen"][good],
        flavour=arrays["flavour"][good],
        estimates={label: pt[good] for label, pt in corrected.items()},
        weight=arrays["weight"][good],
        event=arrays["event"][good],
        intervals={label: (low[good], high[good]) for label, (low, high) in ends.items()},
        left_out=counts,
        notes=tuple(notes),
    )


def _numbers(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _positive(values: Any) -> Floats:
    pt = _numbers(values)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(pt) & (pt > 0), pt, np.nan)


def joined(several: Sequence[JetEstimates]) -> JetEstimates:
    """Jets of several inputs; events of different inputs are different.

    Parameters
    ----------
    several : sequence of JetEstimates
        With the same labels.

    Returns
    -------
    JetEstimates

    Raises
    ------
    InvalidValues
        If there is none.
    MismatchError
        If their labels differ.
    """
    if not several:
        raise InvalidValues("no jets to join, expected at least one input")
    first = several[0]
    for other in several:
        for kind in ("estimates", "intervals"):
            if list(getattr(other, kind)) != list(getattr(first, kind)):
                raise MismatchError(
                    f"inputs with different {kind} cannot be joined: {', '.join(getattr(first, kind))} and "
                    f"{', '.join(getattr(other, kind))}"
                )
    events, offset = [], 0
    counts: dict[str, int] = {}
    for jets in several:
        numbers = np.unique(jets.event, return_inverse=True)[1]
        events.append(numbers + offset)
        offset += int(numbers.max(initial=-1)) + 1
        for reason, count in jets.left_out.items():
            counts[reason] = counts.get(reason, 0) + count

    def column(name: str) -> Array:
        return np.concatenate([getattr(jets, name) for jets in several])

    return JetEstimates(
        column("pt_gen"),
        column("eta_gen"),
        column("flavour"),
        {label: np.concatenate([jets.estimates[label] for jets in several]) for label in first.estimates},
        column("weight"),
        np.concatenate(events),
        {
            label: (
                np.concatenate([jets.intervals[label][0] for jets in several]),
                np.concatenate([jets.intervals[label][1] for jets in several]),
            )
            for label in first.intervals
        },
        counts,
        tuple(dict.fromkeys(note for jets in several for note in jets.notes)),
    )


# ---------------------------------------------------------------------------------------- events


@dataclass(frozen=True)
class EstimateColumns(Brief):
    """What is read of events: estimates as expressions in columns of the jets.

    Attributes
    ----------
    estimates : mapping of str to str
        Label -> corrected pt in GeV, an expression in columns of the jets and ``raw_pt``, the pt without any
        correction: ``"raw_pt * PNetRegPtRawCorr"``.
    intervals : mapping of str to (str, str)
        Label -> lower and upper end of an interval for the true pt in GeV.
    collection : str
        Jets: ``Jet`` or ``FatJet``.
    target : str
        Column of the generator jets with the true pt.
    weight : str
        A column of events or of jets (``Jet.weight``) with weights; empty for none.

    Raises
    ------
    UnknownName
        If the collection has no generator jets.
    ConfigError
        If an expression is not valid.

    Examples
    --------
    >>> EstimateColumns({"Standard": "pt", "mine": "raw_pt * mine_ptRawCorr"}).names("Events")
    ['Jet_pt', 'Jet_rawFactor', 'Jet_mine_ptRawCorr', 'Jet_genJetIdx', 'GenJet_pt', 'GenJet_eta']
    """

    estimates: Mapping[str, str]
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    collection: str = "Jet"
    target: str = "pt"
    weight: str = ""

    def __post_init__(self) -> None:
        if self.collection not in GENERATOR_JETS:
            raise UnknownName("collection of jets", self.collection, GENERATOR_JETS)
        _ = self.expressions

    @property
    def expressions(self) -> dict[str, Expression]:
        """All expressions, by their label; those of intervals end in ``, low`` and ``, up``."""
        texts = dict(self.estimates)
        for label, (low, high) in self.intervals.items():
            texts |= {f"{label}, low": low, f"{label}, up": high}
        return {label: parse(text, where=label) for label, text in texts.items()}

    def jet_columns(self) -> list[str]:
        """The columns of jets in the expressions."""
        names: dict[str, None] = {}
        for expression in self.expressions.values():
            for name in expression.names:
                names |= dict.fromkeys(("pt", "rawFactor") if name == RAW_PT else (name,))
        return list(names)

    def names(self, where: str, available: Iterable[str] | None = None) -> list[str]:
        """The flat columns to read.

        Parameters
        ----------
        where : str
            The input, for messages.
        available : iterable of str, optional
            Flat columns of the input; flavours are read if they are among them.

        Returns
        -------
        list of str

        Raises
        ------
        MissingColumns
            Gives all that are missing.
        """
        index, generator = GENERATOR_JETS[self.collection]
        needed = [f"{self.collection}_{name}" for name in (*self.jet_columns(), index)]
        needed += [f"{generator}_{self.target}", f"{generator}_eta"]
        if self.weight:
            needed.append(self.weight.replace(".", "_", 1))
        if available is None:
            return needed
        known = set(available)
        missing = [name for name in needed if name not in known]
        if missing:
            listed = "; ".join(f"{name}{hint(name, known)}" for name in missing)
            raise MissingColumns(
                f"{where}: no {listed}. Needed are the jets with {index}, the generator jets, and the columns of the "
                f"estimates {', '.join(self.estimates)}"
            )
        flavours = [f"{self.collection}_{name}" for name in ("hadronFlavour", "partonFlavour")]
        return list(dict.fromkeys([*needed, *(name for name in flavours if name in known)]))


def default_estimates(columns: Iterable[str]) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """The estimates that columns of jets offer: the pt as it is, and regressions.

    Parameters
    ----------
    columns : iterable of str
        Columns of the jets, without the collection.

    Returns
    -------
    dict of str to str
        Label -> expression: ``pt`` as Standard, and factors on the uncorrected pt as NanoAOD and this package name them
        (``PNetRegPtRawCorr``, ``<prefix>_ptRawCorr``).
    dict of str to (str, str)
        Label -> 68 % interval, from ``...RawCorrDown`` and ``...RawCorrUp``, or plus and minus ``...RawRes``.

    Examples
    --------
    >>> default_estimates(["pt", "rawFactor", "PNetRegPtRawCorr", "PNetRegPtRawRes"])[0]
    {'Standard': 'pt', 'ParticleNet': 'raw_pt * PNetRegPtRawCorr'}
    """
    known = set(columns)
    estimates = {STANDARD: "pt"} if "pt" in known else {}
    intervals: dict[str, tuple[str, str]] = {}
    for name in sorted(known):
        match = _FACTOR.match(name)
        if match is None:
            continue
        label = _LABELS.get(match["model"], match["model"])
        estimates[label] = f"{RAW_PT} * {name}"
        down, up, resolution = (name.removesuffix("Corr") + end for end in ("CorrDown", "CorrUp", "Res"))
        if {down, up} <= known:
            intervals[label] = (f"{RAW_PT} * {down}", f"{RAW_PT} * {up}")
        elif resolution in known:
            ends = (f"{RAW_PT} * ({name} - {resolution})", f"{RAW_PT} * ({name} + {resolution})")
            intervals[label] = ends
    return estimates, intervals


def estimates_of_events(
    events: Any, columns: EstimateColumns, where: str = "events", *, more: Mapping[str, Any] | None = None
) -> JetEstimates:
    """Estimates of the jets of events that have a generator jet.

    Parameters
    ----------
    events : awkward array
        NanoAOD-like, e.g. of coffea; jets and generator jets are linked by ``genJetIdx``.
    columns : EstimateColumns
    where : str
        The input, for messages.
    more : mapping of str to array, optional
        Label -> further estimates of all jets of the events in GeV, jagged; they come first.

    Returns
    -------
    JetEstimates
        Jets without a generator jet (mostly pile-up) are left out and counted.

    Raises
    ------
    MissingColumns
        Gives all that are missing.

    Examples
    --------
    >>> import awkward as ak
    >>> events = ak.Array([{"Jet": [{"pt": 42.0, "genJetIdx": 0}, {"pt": 20.0, "genJetIdx": -1}],
    ...                     "GenJet": [{"pt": 40.0, "eta": 0.3}]}])
    >>> jets = estimates_of_events(events, EstimateColumns({"Standard": "pt"}))
    >>> jets.pt_gen.tolist(), jets.estimates["Standard"].tolist(), dict(jets.left_out)
    ([40.0], [42.0], {'no generator jet': 1})
    """
    import awkward as ak

    index_name, generator = GENERATOR_JETS[columns.collection]
    available = [
        flat
        for name in events.fields
        for flat in (name, *(f"{name}_{column}" for column in getattr(events[name], "fields", ())))
    ]
    columns.names(where, available)
    jets, truth = events[columns.collection], events[generator]
    index, number = jets[index_name], ak.num(truth["eta"])
    matched = (index >= 0) & (index < number)
    outside = int(ak.sum(index >= number))
    left_out = {"no generator jet": int(ak.sum(index < 0))}
    if outside:
        left_out["index of the generator jet beyond the table"] = outside

    def flat(array: Any) -> Array:
        return np.asarray(ak.to_numpy(ak.fill_none(ak.flatten(array[matched]), np.nan)))

    def generated(name: str) -> Array:
        return np.asarray(ak.to_numpy(ak.flatten(truth[name][index[matched]])))

    values = {name: flat(jets[name]) for name in columns.jet_columns()}
    if {"pt", "rawFactor"} <= set(values):
        values[RAW_PT] = values["pt"] * (1 - values["rawFactor"])
    pt_gen = generated(columns.target)
    found = {label: np.broadcast_to(item.evaluate(values), pt_gen.shape) for label, item in columns.expressions.items()}
    flavours = [
        flat(jets[name]) if name in jets.fields else np.zeros(len(pt_gen))
        for name in ("hadronFlavour", "partonFlavour")
    ]
    return jet_estimates(
        pt_gen,
        generated("eta"),
        flavour_of(*flavours),
        {
            **{label: flat(values) for label, values in (more or {}).items()},
            **{label: found[label] for label in columns.estimates},
        },
        weight=None if not columns.weight else _weights(events, columns, matched),
        event=flat(ak.broadcast_arrays(np.arange(len(index)), index)[0]),
        intervals={label: (found[f"{label}, low"], found[f"{label}, up"]) for label in columns.intervals},
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _weights(events: Any, columns: EstimateColumns, matched: Any) -> Array:
    """Weights of the matched jets, from a column of events or of jets."""
    import awkward as ak

    owner, _, name = columns.weight.partition(".")
    given = events[owner][name] if name else events[owner]
    spread = ak.broadcast_arrays(given, events[columns.collection]["pt"])[0]
    return np.asarray(ak.to_numpy(ak.flatten(spread[matched])))


guard(globals())
