"""One pass over the skims: labels, weights and splits for each jet, and the statistics needed in training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ConfigError, InvalidValues, MismatchError
from jettagger.expressions import Expression
from jettagger.finetuning.config import BdtModel, FinetuneConfig
from jettagger.finetuning.skims import Skim, expand, open_skim
from jettagger.heads import JetTable, fold_of
from jettagger.training import Store
from jettagger.types import Floats, Rows

__all__ = ["Prepared", "RowLayout", "SkimSurvey", "balance", "prepare", "survey"]


#: independent divisions by event number: test (or fold), validation, and whether the event is used for these
_SALT_TEST, _SALT_VALIDATION, _SALT_USE = 0, 1, 2

#: values of ``held``
_TRAIN, _VALIDATION, _UNUSED = 0, 1, 2

#: number of parts into which events are divided to select a fraction
_PARTS = 10_000

#: maximum ratio of a flattened weight to the average of its class
_CAP = 20.0


@dataclass(frozen=True)
class RowLayout:
    """The columns of a row.

    Parameters
    ----------
    inputs : tuple of str
    extras : tuple of str
        Columns for the report.
    jets : str
        The collection of jets.
    """

    inputs: tuple[str, ...]
    extras: tuple[str, ...]
    jets: str

    @property
    def pt(self) -> str:
        """The transverse momentum among the extra columns, if the skims contain it."""
        return f"{self.jets}_pt"

    @property
    def width(self) -> int:
        """Number of values per row."""
        return len(self.inputs) + len(FIXED) + len(self.extras)

    def __getitem__(self, name: str) -> int:
        """The index of a fixed or extra column."""
        start = len(self.inputs)
        return start + FIXED.index(name) if name in FIXED else start + len(FIXED) + self.extras.index(name)

    def x(self, rows: Rows) -> Rows:
        """The inputs, float32[n, inputs], of rows float32[n, width]."""
        return rows[:, : len(self.inputs)]


#: label: index of the class; cell: bin of the flattening; fold: that of the event; held: whether it is for training,
#: for validation, or not used
FIXED = ("label", "weight", "cell", "fold", "held", "target")


@dataclass(frozen=True)
class SkimSurvey:
    """Properties of the skims, before they are read.

    Parameters
    ----------
    skims : tuple of Skim
    columns : tuple of tuple of str
        Stored columns to be read, for each skim.
    layout : RowLayout
    unknown_model : tuple of str
        Files that do not record the model of their columns.
    """

    skims: tuple[Skim, ...]
    columns: tuple[tuple[str, ...], ...]
    layout: RowLayout
    unknown_model: tuple[str, ...]

    @property
    def events(self) -> int:
        """Total number of events."""
        return sum(skim.events for skim in self.skims)


@dataclass
class Prepared:
    """Jets prepared for training.

    Parameters
    ----------
    config : FinetuneConfig
    layout : RowLayout
    store : Store
    center, width : float64[inputs]
        Mean and standard deviation of the inputs.
    factors : float64[classes, cells]
        Factors on the weights: flattening and balance of classes.
    jets : dict of str to dict of str to int
        Class -> numbers of training, validation and test jets (with folds: on average).
    left_out : dict of str to int
        Reason -> number of jets left out.
    """

    config: FinetuneConfig
    layout: RowLayout
    store: Store
    center: Floats
    width: Floats
    factors: Floats
    jets: dict[str, dict[str, int]]
    left_out: dict[str, int]

    @property
    def models(self) -> int:
        """Number of networks to train."""
        return self.config.split.folds

    def part(self, rows: Rows, model: int, which: str) -> Rows:
        """The training, validation or test rows of a network.

        Parameters
        ----------
        rows : float32[n, layout.width]
        model : int
            Index of the network, equal to that of the fold held out.
        which : str
            ``train``, ``validation`` or ``test``.

        Returns
        -------
        float32[k, layout.width]
        """
        fold, held = rows[:, self.layout["fold"]], rows[:, self.layout["held"]]
        if which == "test":
            return rows[fold == model]
        return rows[(fold != model) & (held == (_VALIDATION if which == "validation" else _TRAIN))]

    def weights(self, rows: Rows) -> Rows:
        """The training weights of rows, float32[n], flattened and balanced; their mean over all jets is 1."""
        label = rows[:, self.layout["label"]].astype(np.int64)
        cell = rows[:, self.layout["cell"]].astype(np.int64)
        return (rows[:, self.layout["weight"]] * self.factors[label, cell]).astype(np.float32)


def survey(config: FinetuneConfig, bundle: Bundle) -> SkimSurvey:
    """Inspect all files: available columns, and whether the parent made them. No jets are read.

    Parameters
    ----------
    config : FinetuneConfig
    bundle : Bundle
        The parent.

    Returns
    -------
    SkimSurvey

    Raises
    ------
    MissingColumns
        Gives the file and all missing columns, e.g. the hidden neurons.
    MismatchError
        If the tagger's columns were made by another model.
    InputFileError, ConfigError
    """
    inputs = config.resolve_inputs(bundle)
    prefix = bundle.prefix if config.prefix is None else config.prefix
    skims = tuple(open_skim(path) for path in expand(config.files, config.folder, config.document.where("files")))
    for skim in skims:
        if skim.digest and skim.digest != bundle.digest:
            raise MismatchError(
                f"{skim.path} was made with {skim.record.get('model')!r} (digest {skim.digest[:12]}...), the parent "
                f"{bundle.name!r} has the digest {bundle.digest[:12]}...: tag the events with the parent"
            )
    probabilities = [output.name for output in bundle.select(["prob"])]
    jets = skims[0].collection(prefix)
    others = [skim.path for skim in skims if skim.collection(prefix) != jets]
    if others:
        raise MismatchError(
            f"{others[0]} has other jets than {skims[0].path} ({jets}): heads are trained on jets of one kind"
        )
    shown = [f"{jets}_pt", "mass", *(probabilities if config.kind == "classes" else ())]
    extras = [name for name in dict.fromkeys(shown) if all(_has(skim, name, jets, prefix) for skim in skims)]
    layout = RowLayout(inputs, (*extras, *(f"compare:{name}" for name in config.compare)), jets)
    columns = []
    for skim in skims:
        for path, expression in _expressions(config):
            with config.at(*path):
                skim.columns_of(expression.names, prefix, f"'{expression.text}'")
        with config.at("flatten"):
            skim.columns_of([axis.column for axis in config.flatten], prefix, "the flattening")
        with config.at("inputs"):
            skim.columns_of([*inputs, "event"], prefix, "the inputs of the head, and the event number for the split,")
        wanted = [*inputs, "event", *extras, *(axis.column for axis in config.flatten)]
        wanted += [name for _, expression in _expressions(config) for name in expression.names]
        columns.append(skim.columns_of(wanted, prefix, "the head"))
    return SkimSurvey(skims, tuple(columns), layout, tuple(skim.path for skim in skims if not skim.digest))


def files_read(bundle: Bundle, found: SkimSurvey) -> list[str]:
    """Every file that a training reads apart from its configuration: skims and the parent."""
    return [*(skim.path for skim in found.skims), *map(str, bundle.sources)]


def _has(skim: Skim, name: str, jets: str, prefix: str) -> bool:
    return name in skim.names or f"{jets}_{prefix}_{name}" in skim.names


def _expressions(config: FinetuneConfig) -> Iterator[tuple[tuple[str, ...], Expression]]:
    for key in ("select", "target", "weight"):
        expression = getattr(config, key)
        if expression is not None:
            yield (key,), expression
    for section in ("classes", "compare"):
        for name, expression in getattr(config, section).items():
            yield (section, name), expression


@dataclass
class _Moments:
    """Mean, variance and range of columns, updated in pieces (Chan, Golub, LeVeque 1979)."""

    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0
    low: Any = np.inf
    high: Any = -np.inf

    def add(self, x: Rows) -> None:
        n = len(x)
        if not n:
            return
        wide = x.astype(np.float64)
        mean = wide.mean(axis=0)
        delta, total = mean - self.mean, self.count + n
        self.squares = self.squares + ((wide - mean) ** 2).sum(axis=0) + delta**2 * self.count * n / total
        self.mean = self.mean + delta * n / total
        self.low, self.high = np.minimum(self.low, wide.min(axis=0)), np.maximum(self.high, wide.max(axis=0))
        self.count = total


@dataclass
class _Pass:
    """Quantities accumulated while the files are read."""

    config: FinetuneConfig
    layout: RowLayout
    prefix: str
    names: list[str]
    tagged: list[int]
    moments: _Moments = field(default_factory=_Moments)
    left_out: dict[str, int] = field(default_factory=dict)
    bad: dict[str, tuple[int, Any]] = field(default_factory=dict)
    sums: Any = None
    counts: Any = None

    def __post_init__(self) -> None:
        cells = int(np.prod([len(axis.edges) - 1 for axis in self.config.flatten])) if self.config.flatten else 1
        self.sums = np.zeros((len(self.names), cells))
        # classes, folds, values of held
        self.counts = np.zeros((len(self.names), max(self.config.split.folds, 2), 3), dtype=np.int64)

    def leave_out(self, why: str, gone: Any) -> None:
        number = int(np.count_nonzero(gone))
        if number:
            self.left_out[why] = self.left_out.get(why, 0) + number

    def rows(self, events: Any, path: str) -> Rows:
        """The rows of the selected jets of a chunk."""
        config, layout = self.config, self.layout
        table = JetTable(events, self.prefix, layout.jets)
        values = functools.lru_cache(maxsize=None)(table.values)
        event = np.asarray(table.values("event"))
        keep = np.ones(table.n_jets, dtype=bool)
        if config.select is not None:
            chosen = _numbers(config.select, values, table.n_jets) != 0
            self.leave_out("not selected", ~chosen)
            keep &= chosen
        x = np.stack([np.asarray(table.values(name), dtype=np.float32) for name in layout.inputs], axis=1)
        if self.tagged:
            scored = ~np.isnan(x[:, self.tagged]).all(axis=1)
            self.leave_out("not scored by the tagger", keep & ~scored)
            keep &= scored
        label = self._labels(values, keep, event, path)
        self.leave_out("in no class", keep & (label < 0))
        keep &= label >= 0
        target = np.zeros(table.n_jets)
        if config.target is not None:
            target = _numbers(config.target, values, table.n_jets)
            good = np.isfinite(target) & (target > 0)
            self.leave_out("without a positive target", keep & ~good)
            keep &= good
            mass = x[:, layout.inputs.index("mass")] > 0
            self.leave_out("without a positive mass of the tagger", keep & ~mass)
            keep &= mass
        finite = np.isfinite(x)
        for column in np.flatnonzero(~finite[keep].all(axis=0)):
            rows = np.flatnonzero(keep & ~finite[:, column])
            count, first = self.bad.get(layout.inputs[column], (0, (int(event[rows[0]]), path)))
            self.bad[layout.inputs[column]] = (count + len(rows), first)
        weight = np.ones(table.n_jets)
        if config.weight is not None:
            weight = _numbers(config.weight, values, table.n_jets)
            self._check_weights(weight, keep, event, path)
        cell = self._cells(table)
        folds = config.split.folds
        if folds > 1:
            fold = fold_of(event, folds, _SALT_TEST)
        else:  # fold 0 tests the one network
            fold = (fold_of(event, _PARTS, _SALT_TEST) >= config.split.test * _PARTS).astype(np.int64)
        validates = fold_of(event, _PARTS, _SALT_VALIDATION) < config.split.validation * _PARTS
        held = np.where(validates, _VALIDATION, _TRAIN)
        held[fold_of(event, _PARTS, _SALT_USE) >= config.split.use * _PARTS] = _UNUSED
        fixed = {"label": label, "weight": weight, "cell": cell, "fold": fold, "held": held, "target": target}
        extras = []
        for name in layout.extras:
            if name.startswith("compare:"):
                extras.append(_numbers(config.compare[name[8:]], values, table.n_jets))
            else:
                extras.append(np.asarray(table.values(name), dtype=np.float64))
        rest = np.stack([*(fixed[name] for name in FIXED), *extras], axis=1).astype(np.float32)
        seen = keep & ((fold != 0) | (folds > 1)) & (held != _UNUSED)
        self.moments.add(x[seen])
        np.add.at(self.sums, (label[seen], cell[seen]), weight[seen])
        np.add.at(self.counts, (label[keep], fold[keep], held[keep]), 1)
        return np.concatenate([x[keep], rest[keep]], axis=1)

    def _labels(self, values: Callable[[str], Any], keep: Any, event: Any, path: str) -> Any:
        config = self.config
        label = np.full(len(keep), -1, dtype=np.int64)
        if not config.classes:
            return np.zeros(len(keep), dtype=np.int64)
        for number, (name, expression) in enumerate(config.classes.items()):
            mine = keep & (_numbers(expression, values, len(keep)) != 0)
            both = np.flatnonzero(mine & (label >= 0))
            if len(both):
                other = list(config.classes)[label[both[0]]]
                raise ConfigError(
                    f"{expression.where}: the classes {other!r} and {name!r} overlap: {len(both)} jets of {path} are "
                    f"in both (first in event {event[both[0]]}); a jet may be in one class only"
                )
            label[mine] = number
        return label

    def _check_weights(self, weight: Any, keep: Any, event: Any, path: str) -> None:
        where = self.config.document.where("weight")
        bad = np.flatnonzero(keep & ~np.isfinite(weight))
        if len(bad):
            raise InvalidValues(f"{where}: the weight of event {event[bad[0]]} of {path} is {weight[bad[0]]}")
        negative = np.flatnonzero(keep & (weight < 0))
        if len(negative) and isinstance(self.config.model, BdtModel):
            raise InvalidValues(
                f"{where}: {len(negative)} jets of {path} have a negative weight (first: event {event[negative[0]]}), "
                "which trees cannot take; use weight: abs(...), or a network"
            )

    def _cells(self, table: JetTable) -> Any:
        cell = np.zeros(table.n_jets, dtype=np.int64)
        for axis in self.config.flatten:
            values = np.nan_to_num(np.asarray(table.values(axis.column), dtype=np.float64), nan=axis.edges[0])
            place = np.clip(np.searchsorted(axis.edges, values, side="right") - 1, 0, len(axis.edges) - 2)
            cell = cell * (len(axis.edges) - 1) + place
        return cell

    def finish(self, store: Store) -> Prepared:
        config, layout = self.config, self.layout
        self._check_classes()
        if self.bad:
            shown = [f"{n} ({c} jets, first in event {e} of {p})" for n, (c, (e, p)) in list(self.bad.items())[:10]]
            more = f" and {len(self.bad) - 10} more" if len(self.bad) > 10 else ""
            raise InvalidValues(
                f"{config.document.where('inputs')}: inputs with values that are not finite: {'; '.join(shown)}{more}. "
                "Leave them out with exclude:, or the jets with select:"
            )
        constant = [layout.inputs[i] for i in np.flatnonzero(self.moments.low >= self.moments.high)]
        if constant:
            more = f" and {len(constant) - 10} more" if len(constant) > 10 else ""
            raise InvalidValues(
                f"{config.document.where('inputs')}: inputs with the same value in all jets: "
                f"{', '.join(constant[:10])}{more}. Leave them out with exclude:"
            )
        folds, jets = config.split.folds, {}
        for number, name in enumerate(self.names):
            by_fold = self.counts[number]
            tests = by_fold.sum(axis=1)[:folds].sum() / folds
            trains = [by_fold[[f for f in range(len(by_fold)) if f != m]].sum(axis=0) for m in range(folds)]
            train, validation, _ = np.mean(trains, axis=0)
            jets[name] = {"train": int(train), "validation": int(validation), "test": int(tests)}
        width = np.sqrt(self.moments.squares / self.moments.count)
        return Prepared(config, layout, store, self.moments.mean, width, self._factors(), jets, self.left_out)

    def _check_classes(self) -> None:
        config, folds = self.config, self.config.split.folds
        for number, name in enumerate(self.names):
            place = config.document.where(*(("classes", name) if config.classes else ("files",)))
            if not self.counts[number].sum():
                lost = ", ".join(f"{count} {why}" for why, count in self.left_out.items())
                raise ConfigError(f"{place}: the class {name!r} selects no jet ({lost or 'nothing was left out'})")
            for model in range(folds):
                others = [fold for fold in range(self.counts.shape[1]) if fold != model]
                train, held, _ = self.counts[number][others].sum(axis=0)
                test = self.counts[number][model].sum()
                for what, found, least in (
                    ("for training", train, config.least_jets),
                    ("for validation", held, max(config.least_jets // 10, 1)),
                    ("for the test", test, max(config.least_jets // 10, 1)),
                ):
                    if found < least:
                        raise InvalidValues(
                            f"{place}: the class {name!r} has {found} jets {what}, expected at least {least} "
                            f"(least_jets is {config.least_jets})"
                        )

    def _factors(self) -> Floats:
        for name, sums in zip(self.names, self.sums, strict=True):
            if not (sums > 0).any():
                raise InvalidValues(f"the weights of the class {name!r} add up to {sums.sum():g}")
        return balance(self.sums, self.moments.count)


def balance(sums: Floats, total: float) -> Floats:
    """Factors on the weights by which each class becomes flat over the cells, and all classes get equal total weight.

    Parameters
    ----------
    sums : float64[classes, cells]
        Sums of the weights; for each class at least one must be positive.
    total : float
        Sum of all new weights.

    Returns
    -------
    float64[classes, cells]
        0 for empty cells; the factor for a nearly empty cell is limited to 20 times the average.

    Examples
    --------
    >>> balance(np.array([[1.0, 3.0], [2.0, 0.0]]), total=8).tolist()
    [[2.0, 0.6666666666666666], [2.0, 0.0]]
    """
    sums = np.maximum(sums, 0.0)
    factors = np.zeros_like(sums)
    for number, row in enumerate(sums):
        filled = row > 0
        average = row.sum() / np.count_nonzero(filled)
        factors[number, filled] = np.minimum(average / row[filled], _CAP)
        # every class has the same weight, whatever its number of jets
        factors[number] *= total / len(sums) / (factors[number] * row).sum()
    return factors


def _numbers(expression: Expression, values: Callable[[str], Any], length: int) -> Floats:
    found = expression.evaluate({name: values(name) for name in expression.names})
    return np.broadcast_to(np.asarray(found, dtype=np.float64), (length,))


def prepare(
    config: FinetuneConfig,
    bundle: Bundle,
    found: SkimSurvey,
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Read all skims once and put the jets into a store on disk.

    Parameters
    ----------
    config : FinetuneConfig
    bundle : Bundle
        The parent.
    found : SkimSurvey
    folder : pathlib.Path
        For the store: 4 bytes per input and jet.
    progress : callable, optional
        Called with the number of events after each chunk.

    Returns
    -------
    Prepared

    Raises
    ------
    ConfigError
        If a class selects no jet, or if two overlap.
    InvalidValues
        If inputs are constant or not finite (all are named), if a class has too few jets, or if a weight is invalid.
    """
    prefix = bundle.prefix if config.prefix is None else config.prefix
    names = list(config.classes) or ["all"]
    known = {output.name for output in bundle.outputs}
    tagged = [column for column, name in enumerate(found.layout.inputs) if name in known]
    state = _Pass(config, found.layout, prefix, names, tagged)
    jets = _expected_jets(found)
    with Store(folder, found.layout.width, jets, config.training.memory, config.training.seed) as store:
        for skim, columns in zip(found.skims, found.columns, strict=True):
            size = max(1, min(20_000, config.training.memory // (200 * max(len(columns), 1))))
            for events in skim.read(columns, size):
                store.add(state.rows(events, skim.path))
                if progress is not None:
                    progress(len(events))
    return state.finish(store)


def _expected_jets(found: SkimSurvey) -> int:
    """Approximate number of jets, from the first events of each file."""
    total = 0.0
    for skim, columns in zip(found.skims, found.columns, strict=True):
        lists = [name for name in columns if name.startswith(f"{found.layout.jets}_")][:1]
        first: Any = next(iter(skim.read(lists, 1000)), None) if lists else None
        if first is not None:
            total += skim.events * JetTable(first, collection=found.layout.jets).n_jets / max(len(first), 1)
    return int(total) + 1


guard(globals(), "SkimSurvey", "survey")
