"""Checks of a model: batches, padding, order, sums of probabilities, stored vectors.

Random jets are used, no file is needed. Every check gives a number and its tolerance.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import arranged, arranged_images
from jettagger.bundles.known import Known, output_fingerprint
from jettagger.bundles.outputs import Output
from jettagger.display import Brief
from jettagger.errors import BundleError, JettaggerError
from jettagger.files import complete_or_absent, refuse_inputs
from jettagger.inference.conditioning import response_of
from jettagger.inference.golden import known_golden, known_tables, read_golden
from jettagger.inference.network import OTHER_TOLERANCE, PROB_TOLERANCE, deviation, evaluate, stacked
from jettagger.inference.padding import as_run, measured_slots, require_session_trial
from jettagger.inputs.batching import Batch, GroupValues, Table, make_batches, tabulate
from jettagger.inputs.random_jets import limited
from jettagger.inputs.source import source_of
from jettagger.sessions import Session, open_onnx
from jettagger.types import Array

__all__ = ["BATCH_SIZES", "OTHER_TOLERANCE", "PROB_TOLERANCE", "Check", "check", "write_golden"]

BATCH_SIZES = (1, 2, 7)

#: number of objects beyond the maximum of a model, for the check of truncation
BEYOND = 5


#: number of jets whose objects are permuted, if the description says whether their order counts
JETS_IN_ORDER = 8


@dataclass(frozen=True)
class Check(Brief):
    """The result of one check.

    Parameters
    ----------
    name : str
        What was checked.
    passed : bool or None
        None if nothing is expected: a property of the model.
    measured : float or None
        The result, e.g. the maximum change of a probability; infinite if an output was not finite.
    tolerance : float or None
        Maximum allowed result.
    detail : str
        How it was measured, the largest deviation, errors.
    """

    name: str
    passed: bool | None
    measured: float | None = None
    tolerance: float | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """``ok``, ``FAILED`` or ``fact``."""
        return "fact" if self.passed is None else "ok" if self.passed else "FAILED"


def check(bundle: Bundle, *, seed: int = 0, session: Session | None = None) -> tuple[Check, ...]:
    """Check a model.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    seed : int
        Seed of the random jets.
    session : Session, optional
        Replaces the ONNX Runtime session.

    Returns
    -------
    tuple of Check
        In order of execution; only the first if the model cannot be loaded.

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> all(result.passed is not False for result in check(load_bundle("tinyParT")))
    True
    """
    in_range(seed, "check(), argument seed", 0)
    path = bundle.require_weights()
    try:
        session = session or _open(bundle)
    except JettaggerError as error:
        return (Check("loads", False, detail=str(error)),)
    provider = getattr(session, "provider", type(session).__name__)
    opset = bundle.graph.opset if bundle.graph else "?"
    results = [Check("loads", True, detail=f"{path.name}, opset {opset}, {provider}")]
    probe = _Probe(bundle, session, seed)
    results += _tried("description", _description, bundle)
    results += _tried("inputs", probe.inputs)
    results += _tried("length", probe.lengths)
    results += _tried("batch size", probe.batches)
    for object_ in probe.limits:
        results += _tried(f"padding of {object_}", probe.padding, object_)
        results += _tried(f"order of {object_}", probe.order, object_)
        results += _tried(f"no {object_}", probe.without, object_)
    for name in probe.images:
        results += _tried(f"empty {name}", probe.empty, name)
    results += _tried("sums", probe.sums)
    results += _tried("golden vectors", _golden, bundle, session)
    results += _rounding(probe.bundle)
    return tuple(results)


def write_golden(
    bundle: Bundle,
    path: str | os.PathLike[str],
    seed: int = 0,
    *,
    jets: int = 4,
    session: Session | None = None,
) -> Path:
    """Write inputs and the corresponding outputs of the network, for comparison elsewhere and later.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    path : path
        The file to write, ``.npz``. Put its name as ``golden`` into ``bundle.json``.
    seed : int
        Seed of the random jets.
    jets : int
        Number of jets; a fixed batch size of the graph overrides it.
    session : Session, optional
        Replaces the ONNX Runtime session.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    OutputError
        If the file cannot be written, or is one of the model's.

    Notes
    -----
    Arrays are ``input__<input of the graph>`` and ``output__<output of the graph>``, as seen by the network:
    transformed and padded inputs, outputs before any softmax applied by jettagger.
    """
    bundle.require_weights()
    refuse_inputs(path, bundle.sources)
    in_range(jets, "write_golden(), argument jets", 1, 2**31 - 1)
    in_range(seed, "write_golden(), argument seed", 0)
    session = session or _open(bundle)
    probe = _Probe(bundle, session, seed)
    tables = probe.tables({name: probe.middle(name) for name in probe.limits}, bundle.fixed_batch or jets)
    batch = _only(tables, bundle.card.pad_mode)
    arrays = {f"input__{name}": array for name, array in batch.inputs.items()}
    arrays |= {f"output__{name}": array for name, array in session.run(batch.inputs).items()}
    with complete_or_absent(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return Path(path)


def _open(bundle: Bundle) -> Session:
    graph = bundle.require_graph()
    require_session_trial(bundle)
    return open_onnx(graph)


def _tried(name: str, function: Callable[..., Iterable[Check]], *arguments: object) -> list[Check]:
    """The checks of a function, or a failed one if the network cannot be run."""
    try:
        return list(function(*arguments))
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        return [Check(name, False, detail=f"{type(error).__name__}: {str(error).strip()}")]


def _description(bundle: Bundle) -> Iterable[Check]:
    """Checks of the description that need no run of the network."""
    card = bundle.card
    said = {
        "jettagger": "known to jettagger by its SHA-256",
        "inferred": "no bundle.json, kinds of outputs inferred from the graph; no SHA-256 declared",
    }.get(bundle.described_by)
    if said is None:
        names = ", ".join(sorted(card.sha256))
        said = f"{bundle.described_by}; " + (f"SHA-256 as declared: {names}" if names else "no SHA-256 declared")
    known = bundle.described_by == "jettagger" or bool(card.sha256)
    yield Check("description", True if known else None, detail=said)
    ranges = [
        f"{name} {low:g} to {high:g}{unit}"
        for name, unit, bounds in (
            ("pt", " GeV", card.domain.pt),
            ("|eta|", "", card.domain.abseta),
            ("msoftdrop", " GeV", card.domain.msoftdrop),
        )
        if bounds is not None
        for low, high in [bounds]
    ]
    yield Check("training domain", None, detail="; ".join(ranges) or bundle.domain or "not declared")
    masses = [output.name for output in bundle.outputs if output.kind == "mass"]
    if masses:
        meaning = "not declared: GeV or a factor?"
        if card.mass is not None:
            meaning = (
                "in GeV" if card.mass.unit == "GeV" else f"a factor on {card.mass.scales or 'a mass not declared'}"
            )
        yield Check("regressed mass", None, detail=f"{', '.join(masses)}: {meaning}")


class _Probe:
    """Runs one network on jets of given lengths."""

    def __init__(self, bundle: Bundle, session: Session, seed: int) -> None:
        self.bundle = as_run(bundle)
        self.slots = measured_slots(bundle)
        self.session = session
        self.seed = seed
        #: axis -> minimum and maximum length of its inputs, in the order of the description
        self.limits = self.bundle.limits
        self.masked = {group.axis for group in bundle.groups if group.is_mask}
        #: axis -> what the description says about the order of its objects
        self.kinds = {group.axis: group.kind for group in bundle.groups if group.kind}
        #: inputs that are images
        self.images = [group.name for group in bundle.groups if group.image is not None]

    def middle(self, object_: str) -> int:
        """A length between the limits that allows padding, if possible."""
        low, high = self.limits[object_]
        return max((low + high) // 2 if low < high else high - high // 3, 1)

    def tables(self, counts: Mapping[str, int | Sequence[int]], n_jets: int) -> tuple[Table, ...]:
        """Jets with a given number of objects each."""
        full = {name: np.broadcast_to(np.asarray(number), (n_jets,)) for name, number in counts.items()}
        toys = source_of(self.bundle).random_jets(full, n_jets, self.seed)
        return limited(tabulate(self.bundle.groups, toys, self.bundle.card.nonfinite), full)

    def values(self, tables: Sequence[Table], batch_size: int = 1) -> Array:
        """All outputs, float32[jets, outputs]."""
        result = np.full((len(tables[0].counts), len(self.bundle.outputs)), np.nan, dtype=np.float32)
        size = min(batch_size, self.bundle.fixed_batch or batch_size)
        for batch in make_batches(tables, batch_size=size, pad_mode=self.bundle.card.pad_mode):
            result[batch.jets] = evaluate(self.bundle, self.session, batch.inputs)
        return result

    def inputs(self) -> Iterable[Check]:
        """Variables without information: constant, by their parameters or for random jets."""
        counts = {name: max(high, 8) for name, (_, high) in self.limits.items()}
        tables = self.tables(counts, 20)
        found = []
        for table in tables:
            if not isinstance(table, GroupValues):
                continue
            for channel, variable in enumerate(() if table.group.is_mask else table.group.variables):
                feature = variable.feature
                place = f"{table.group.name}: {feature.name}"
                values = table.values[:-1, channel]
                if variable.norm_factor == 0:
                    found.append(f"{place} is multiplied by 0")
                elif variable.lower_bound == variable.upper_bound:
                    found.append(f"{place} is cut to {variable.lower_bound:g}")
                elif len(values) > 1 and np.ptp(values) == 0 and not (feature.constant or feature.is_mask):
                    at = " (a bound)" if values[0] in (variable.lower_bound, variable.upper_bound) else ""
                    found.append(f"{place} is {values[0]:g}{at} for all random jets")
        # columns of a data configuration may be anything, so that random ones need not look like them
        described = source_of(self.bundle).described
        passed = not found if described else not found or None
        detail = "; ".join(found) or "variables that are always the same"
        yield Check("inputs", passed, len(found), 0 if described else None, detail)

    def lengths(self) -> Iterable[Check]:
        """Inputs of 1 object, of as few and as many as the model takes, and of more."""
        chosen = {
            "1": dict.fromkeys(self.limits, 1),
            "min": {name: low for name, (low, _) in self.limits.items()},
            "max": {name: high for name, (_, high) in self.limits.items()},
        }
        results = {}
        for label, counts in chosen.items():
            results[label] = self.values(self.tables(counts, 2))
            bad = int(np.count_nonzero(~np.isfinite(results[label])))
            lengths = ", ".join(f"{number} {name}" for name, number in counts.items())
            yield Check(f"length {label}", bad == 0, bad, 0, f"outputs that are not finite ({lengths or 'jets only'})")
        beyond = {name: high + BEYOND for name, (_, high) in self.limits.items()}
        name = "length beyond max"
        detail = f"{BEYOND} more objects than the model takes, against the leading ones alone"
        yield from self.compared(name, self.values(self.tables(beyond, 2)), results["max"], detail)

    def batches(self) -> Iterable[Check]:
        """The same jets in batches of different size."""
        tables = self.tables({name: self.middle(name) for name in self.limits}, max(BATCH_SIZES))
        alone = self.values(tables)
        fixed = self.bundle.fixed_batch
        for size in BATCH_SIZES:
            detail = (
                "run a second time" if size == 1 else f"{max(BATCH_SIZES)} jets, {size} at a time, against one by one"
            )
            if fixed is not None and size > fixed:
                yield Check(f"batch size {size}", None, detail=f"the graph has a fixed batch of {fixed}")
                continue
            yield from self.compared(f"batch size {size}", self.values(tables, size), alone, detail)

    def padding(self, object_: str) -> Iterable[Check]:
        """The same jets with more empty slots."""
        low, high = self.limits[object_]
        name = f"padding of {object_}"
        if low == high:
            why = f"the length is fixed at {high}"
            measured = self.slots.get(object_)
            if measured is not None and measured.change:
                change = "refused" if np.isinf(measured.change) else f"{measured.change:.3g} times the tolerance off"
                why = f"scores with fewer slots are {change}: all jets are padded to the {high} of the description"
            yield Check(name, None, detail=why)
            return
        counts = {other: self.middle(other) for other in self.limits}
        plain, padded = [], []
        numbers = sorted({1, low, self.middle(object_)})
        for number in numbers:
            tables = self.tables(counts | {object_: number}, 1)
            batch = _only(tables, self.bundle.card.pad_mode)
            plain.append(evaluate(self.bundle, self.session, batch.inputs))
            longer = dict(batch.inputs)
            for table in tables:
                if isinstance(table, GroupValues) and table.group.axis == object_:
                    array = batch.inputs[table.group.name]
                    wrap = (table.group.pad_mode or self.bundle.card.pad_mode) == "wrap" and not table.group.is_mask
                    place = table.group.layout.index("objects")
                    slots = np.arange(array.shape[place], high) % int(table.counts[0])
                    pad = np.broadcast_to(table.values[-1][:, np.newaxis], (1, table.values.shape[1], len(slots)))
                    more = array.take(slots, axis=place) if wrap else arranged(pad, table.group.layout)
                    longer[table.group.name] = np.concatenate([array, more], axis=place)
            padded.append(evaluate(self.bundle, self.session, longer))
        detail = f"jets with {', '.join(map(str, numbers))} {object_}, padded to {high}"
        yield from self.compared(name, np.concatenate(padded), np.concatenate(plain), detail, self.expected(object_))

    def order(self, object_: str) -> Iterable[Check]:
        """The same jets with their objects in another order."""
        number = self.middle(object_)
        if number < 2:
            yield Check(f"order of {object_}", None, detail="one at most")
            return
        n_jets = self.bundle.fixed_batch or (JETS_IN_ORDER if self.kinds.get(object_) else 1)
        tables = self.tables({name: self.middle(name) for name in self.limits}, n_jets)
        batch = _only(tables, self.bundle.card.pad_mode)
        permutation = np.random.default_rng(self.seed).permutation(number)
        if (permutation == np.arange(number)).all():
            permutation = permutation[::-1]
        changed = dict(batch.inputs)
        for group in self.bundle.groups:
            if group.axis == object_:
                array, place = changed[group.name], group.layout.index("objects")
                slots = np.concatenate([permutation, np.arange(number, array.shape[place])])
                changed[group.name] = array.take(slots, axis=place)
        values = evaluate(self.bundle, self.session, changed)
        reference = evaluate(self.bundle, self.session, batch.inputs)
        name, detail = f"order of {object_}", f"{number} {object_} permuted"
        kind = self.kinds.get(object_)
        if kind != "sequence":
            detail += ", declared as a set" if kind else ""
            yield from self.compared(name, values, reference, detail, self.expected(object_))
            return
        change = deviation(self.bundle, values, reference)
        said = "the scores depend on it" if change > 1 else "the scores do not depend on it: is it a set?"
        detail = f"{detail} in {n_jets} jets, declared as a sequence: {said} (change in units of the tolerance)"
        yield Check(name, bool(change > 1), change, None, detail)

    def without(self, object_: str) -> Iterable[Check]:
        """Jets without any of the objects; those without any constituents are never scored."""
        if object_ in {group.axis for group in source_of(self.bundle).constituents} or len(self.limits) < 2:
            return
        counts = {name: 0 if name == object_ else self.middle(name) for name in self.limits}
        values = self.values(self.tables(counts, 2))
        bad = int(np.count_nonzero(~np.isfinite(values)))
        yield Check(f"no {object_}", bad == 0, bad, 0, f"outputs that are not finite for jets without {object_}")

    def empty(self, name: str) -> Iterable[Check]:
        """Jets whose constituents are all outside of an image."""
        n_jets = self.bundle.fixed_batch or 2
        batch = _only(self.tables({name: self.middle(name) for name in self.limits}, n_jets), self.bundle.card.pad_mode)
        (group,) = (group for group in self.bundle.groups if group.name == name)
        assert group.image is not None
        pixels = group.image.blank
        nothing = arranged_images(np.broadcast_to(pixels, (n_jets, *pixels.shape)).astype(np.float32), group.layout)
        values = evaluate(self.bundle, self.session, {**batch.inputs, name: nothing})
        bad = int(np.count_nonzero(~np.isfinite(values)))
        yield Check(f"empty {name}", bad == 0, bad, 0, "outputs that are not finite for an image without constituents")

    def expected(self, object_: str) -> bool:
        """Whether padding and order must have no effect: there is a mask that marks objects, or they are a set."""
        return self.kinds.get(object_) == "set" or object_ in self.masked

    def sums(self) -> Iterable[Check]:
        """Whether probabilities are in [0, 1] and sum to 1 over each softmax."""
        probable = [output.index for output in self.bundle.outputs if output.kind == "prob"]
        rng = np.random.default_rng(self.seed)
        n_jets = max(BATCH_SIZES)
        counts = {name: rng.integers(1, high + 1, n_jets).tolist() for name, (_, high) in self.limits.items()}
        values = self.values(self.tables(counts, n_jets)).astype(np.float64)
        logits = [output.index for output in self.bundle.outputs if output.kind == "logit"]
        if len(logits) > 1 and (values[:, logits] >= 0).all():
            off = float(np.abs(values[:, logits].sum(axis=1) - 1).max())
            if off <= PROB_TOLERANCE:
                detail = f"{len(logits)} outputs declared as logits sum to one: they are probabilities"
                yield Check("kinds", False, off, None, detail)
        if not probable:
            yield Check("sums", None, detail="no output is a probability")
            return
        chosen = values[:, probable]
        outside = float(np.max(np.maximum(-chosen, chosen - 1), initial=0)) if np.isfinite(chosen).all() else np.inf
        yield Check(
            "range of probabilities",
            outside <= PROB_TOLERANCE,
            outside,
            PROB_TOLERANCE,
            "distance from [0, 1]",
        )
        ranges = self.softmaxes()
        for columns, where in ranges:
            off = float(np.abs(values[:, columns].sum(axis=1) - 1).max())
            off = off if np.isfinite(off) else np.inf
            detail = f"|sum - 1| over {len(columns)} outputs, {where}"
            yield Check("sum of probabilities", off <= PROB_TOLERANCE, off, PROB_TOLERANCE, detail)
        covered = {column for columns, _ in ranges for column in columns}
        rest = [index for index in probable if index not in covered]
        if rest:
            total = values[:, rest].sum(axis=1)
            detail = f"{len(rest)} probabilities outside any softmax that was found; their sum lies in"
            yield Check("sum of probabilities", None, detail=f"{detail} [{total.min():.4g}, {total.max():.4g}]")

    def softmaxes(self) -> list[tuple[list[int], str]]:
        """Columns of each softmax, and where it is applied."""
        found: list[tuple[list[int], str]] = []
        marked = [output.index for output in self.bundle.outputs if output.softmax]
        if marked:
            found.append((marked, "softmax by jettagger"))
        start = 0
        for tensor in self.bundle.graph.outputs if self.bundle.graph else ():
            width = 1 if len(tensor.shape) == 1 else tensor.shape[-1]
            if not isinstance(width, int):
                break  # what comes behind has no known place
            for low, high in self.bundle.graph.softmaxed[tensor.name] if self.bundle.graph else ():
                columns = list(range(start + low, start + high))
                if not set(columns) & set(marked):
                    found.append((columns, "softmax in the graph"))
            start += width
        return found

    def compared(
        self, name: str, values: Array, reference: Array, detail: str, expected: bool = True
    ) -> Iterable[Check]:
        """Values compared with their reference, separately for probabilities and other outputs."""
        yield from _compared(name, self.bundle.outputs, values, reference, detail, expected=expected)


def _only(tables: Sequence[Table], pad_mode: Literal["constant", "wrap"]) -> Batch:
    """The only batch, of jets of the same length."""
    options: dict[str, Any] = {"cost": None, "image_bytes": sys.maxsize}
    (batch,) = make_batches(tables, batch_size=len(tables[0].counts), pad_mode=pad_mode, **options)
    return batch


def _compared(
    name: str,
    outputs: Sequence[Output],
    values: Array,
    reference: Array,
    detail: str,
    *,
    expected: bool = True,
    raw: bool = False,
) -> Iterable[Check]:
    for probable, label, tolerance in (
        (True, "probabilities", PROB_TOLERANCE),
        (False, "others", OTHER_TOLERANCE),
    ):
        # before jettagger's softmax, what becomes a probability is still a logit
        columns = [
            output.index for output in outputs if (output.kind == "prob" and not (raw and output.softmax)) == probable
        ]
        if not columns:
            continue
        new, old = values[:, columns].astype(np.float64), reference[:, columns].astype(np.float64)
        scale = 1.0 if probable else np.maximum(1, np.abs(old))
        with np.errstate(invalid="ignore"):
            change = np.abs(new - old) / scale
        change = np.where(np.isfinite(change), change, np.inf)
        jet, column = np.unravel_index(int(change.argmax()), change.shape)
        worst = float(change[jet, column])
        said = detail
        if worst > 0:
            output = outputs[columns[int(column)]].name
            said += f"; worst {output}: {new[jet, column]:.6g} against {old[jet, column]:.6g}"
        within = worst <= tolerance
        passed = within if expected else None
        if passed is None:
            said += "; there is no mask, " + ("yet it does not matter" if within else "and it does matter")
        yield Check(f"{name}: {label}", passed, worst, tolerance, said)


def _rounding(bundle: Bundle) -> Iterable[Check]:
    """Response of the outputs of random jets to changes in the last place: a property of the network alone."""
    response = response_of(bundle)
    if response is None:
        yield Check("rounding", None, detail="its response to changes in the last place cannot be measured")
        return
    probable = [output.kind == "prob" for output in bundle.outputs]
    for what in response.changes:
        for others, label in ((False, "probabilities"), (True, "others")):
            if others in (not kind for kind in probable):
                figure = response.figures(what, others)[1]
                detail = f"change by one unit in it: {response.said(what, others)}"
                yield Check(f"last place of {what}: {label}", None, figure, detail=detail)
    if len(response.changes) == 1:
        yield Check("rounding", None, detail="no step in which nearly equal numbers are subtracted")


def _golden(bundle: Bundle, session: Session) -> Iterable[Check]:
    """The golden vectors of the bundle, run through the network."""
    known = known_golden(bundle)
    if known is not None:
        yield from _known_golden(bundle, session, known)
        return
    try:
        stored = read_golden(bundle)
    except BundleError as error:
        yield Check("golden vectors", False, detail=str(error))
        return
    if stored is None:
        yield Check("golden vectors", None, detail="the bundle has none")
        return
    inputs, outputs = stored
    n_jets = len(next(iter(inputs.values())))
    values = stacked(bundle, session.run(inputs), n_jets)
    reference = stacked(bundle, outputs, n_jets)
    detail = f"{n_jets} jets of {bundle.card.golden}"
    yield from _compared("golden vectors", bundle.outputs, values, reference, detail, raw=True)


def _known_golden(bundle: Bundle, session: Session, known: Known) -> Iterable[Check]:
    """Stored jets of a public network, from their columns to the scores by name."""
    probe = _Probe(bundle, session, 0)
    values = probe.values(known_tables(probe.bundle, known))
    places = {fingerprint: place for place, fingerprint in enumerate(known.outputs)}
    missing = [output.raw for output in bundle.outputs if output_fingerprint(output.raw) not in places]
    if missing:
        yield Check("golden vectors", False, detail=f"outputs that {known.name!r} does not have: {missing}")
        return
    reference = known.scores[:, [places[output_fingerprint(output.raw)] for output in bundle.outputs]]
    detail = f"{len(known.jets)} jets that jettagger keeps for {known.name!r}"
    yield from _compared("golden vectors", bundle.outputs, values, reference, detail)


guard(globals())
