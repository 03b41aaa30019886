"""One pass over the skims: labels, weights and splits for each jet, and the statistics needed in training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.decorrelation.reweighting import SpectrumBins, SpectrumChange, refuse_constant
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns
from jettagger.expressions import Expression
from jettagger.finetuning.config import BdtModel, FinetuneConfig
from jettagger.finetuning.domains import DOMAIN, Role, check_domains, roles_of, seen_by_adversary
from jettagger.finetuning.kinematics import COPIES, FACTOR, OWN, added_columns, balance, change_spectra
from jettagger.finetuning.protected import PROTECTED, Protection
from jettagger.finetuning.schema import FLAT
from jettagger.finetuning.skims import Skim, open_skim
from jettagger.heads import JetTable, fold_of
from jettagger.training import Store
from jettagger.types import Floats, Rows

__all__ = ["Prepared", "RowLayout", "SkimSurvey", "prepare", "survey"]


#: independent divisions by event number: test (or fold), validation, and whether the event is used for these
_SALT_TEST, _SALT_VALIDATION, _SALT_USE = 0, 1, 2

#: values of ``held``
_TRAIN, _VALIDATION, _UNUSED = 0, 1, 2

#: number of parts into which events are divided to select a fraction
_PARTS = 10_000


@dataclass(frozen=True)
class RowLayout(Brief):
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


#: label: index of the class, -1 for jets of a domain without classes; cell: bin of the spectrum; fold: that of the
#: event; held: whether it is for training, for validation, or not used
FIXED = ("label", "weight", "cell", "fold", "held", "target")


@dataclass(frozen=True)
class SkimSurvey(Brief):
    """Properties of the skims, before they are read.

    Parameters
    ----------
    skims : tuple of Skim
    columns : tuple of tuple of str
        Stored columns to be read, for each skim.
    layout : RowLayout
    unknown_model : tuple of str
        Files that do not record the model of their columns.
    roles : tuple of Role
        What each skim is used for.
    """

    skims: tuple[Skim, ...]
    columns: tuple[tuple[str, ...], ...]
    layout: RowLayout
    unknown_model: tuple[str, ...]
    roles: tuple[Role, ...]

    @property
    def events(self) -> int:
        """Total number of events."""
        return sum(skim.events for skim in self.skims)


@dataclass
class Prepared(Brief):
    """Jets prepared for training.

    Parameters
    ----------
    config : FinetuneConfig
    layout : RowLayout
    store : Store
    center, width : float64[inputs]
        Mean and standard deviation of the inputs.
    factors : float64[classes, cells]
        Factors on the weights: spectra and balance of classes. For drawn jets, a last cell has their weights.
    jets : dict of str to dict of str to int
        Class -> numbers of training, validation and test jets (with folds: on average); also those of domains.
    left_out : dict of str to int
        Reason -> number of jets left out.
    kinematics : dict of str to SpectrumChange
        Class -> what was done to the spectra of its training jets.
    """

    config: FinetuneConfig
    layout: RowLayout
    store: Store
    center: Floats
    width: Floats
    factors: Floats
    jets: dict[str, dict[str, int]]
    left_out: dict[str, int]
    kinematics: dict[str, SpectrumChange] = field(default_factory=dict)

    @property
    def models(self) -> int:
        """Number of networks to train."""
        return self.config.split.folds

    def part(self, rows: Rows, model: int, which: str, *, unlabelled: bool = False) -> Rows:
        """The training, validation or test rows of a network.

        Parameters
        ----------
        rows : float32[n, layout.width]
        model : int
            Index of the network, equal to that of the fold held out.
        which : str
            ``train``, ``validation`` or ``test``.
        unlabelled : bool
            Whether jets without a class are among them.

        Returns
        -------
        float32[k, layout.width]
            Training jets that are drawn are repeated, with the weight of drawn jets.
        """
        if DOMAIN in self.layout.extras and not unlabelled:
            rows = rows[rows[:, self.layout["label"]] >= 0]
        fold, held = rows[:, self.layout["fold"]], rows[:, self.layout["held"]]
        if which == "test":
            return rows[fold == model]
        chosen = rows[(fold != model) & (held == (_VALIDATION if which == "validation" else _TRAIN))]
        if which == "train" and COPIES in self.layout.extras:
            chosen = np.repeat(chosen, chosen[:, self.layout[COPIES]].astype(np.int64), axis=0)
            chosen[:, self.layout["weight"]] = 1
            chosen[:, self.layout["cell"]] = self.factors.shape[1] - 1
        return chosen

    def weights(self, rows: Rows) -> Rows:
        """The training weights of rows, float32[n], with the spectra and the balance of the training.

        Their mean over all jets of the classes is 1; jets without a class have 0. Those of `part` for
        the training of drawn jets are the same within a class.
        """
        label = rows[:, self.layout["label"]].astype(np.int64)
        cell = rows[:, self.layout["cell"]].astype(np.int64)
        weights = rows[:, self.layout["weight"]] * np.where(label < 0, 0.0, self.factors[label, cell])
        if FACTOR in self.layout.extras:
            weights = weights * rows[:, self.layout[FACTOR]]
        return weights.astype(np.float32)


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
    uses = roles_of(config)
    skims = tuple(open_skim(path) for path in uses)
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
    labelled = [skim for skim in skims if uses[skim.path].labelled]
    shown = [f"{jets}_pt", "mass", *(probabilities if config.kind == "classes" else ())]
    extras = [name for name in dict.fromkeys(shown) if all(_has(skim, name, jets, prefix) for skim in labelled)]
    extras = list(dict.fromkeys([*extras, *added_columns(config.kinematics)]))
    computed = (*(f"compare:{name}" for name in config.compare), *(f"{PROTECTED}{name}" for name in config.protected))
    domain = (DOMAIN,) if config.decorrelate is not None and config.decorrelate.domains else ()
    layout = RowLayout(inputs, (*extras, *computed, *domain), jets)
    spectra = list(config.kinematics.columns) if config.kinematics is not None else []
    columns, roles = [], []
    for skim in skims:
        roles.append(_weighted(config, skim, prefix, uses[skim.path]))
        needed = list(_expressions(config, roles[-1]))
        for path, expression in needed:
            with config.document.at(*path):
                skim.columns_of(expression.names, prefix, f"'{expression.text}'")
        for column in spectra:
            with config.document.at("kinematics", "columns", column):
                skim.columns_of([column], prefix, "the kinematics")
        with config.document.at("inputs"):
            skim.columns_of([*inputs, "event"], prefix, "the inputs of the head, and the event number for the split,")
        stored = [name for name in extras if not name.startswith(OWN)] if roles[-1].labelled else []
        wanted = [*inputs, "event", *stored, *spectra]
        wanted += [name for _, expression in needed for name in expression.names]
        columns.append(skim.columns_of(wanted, prefix, "the head"))
    unknown = tuple(skim.path for skim in skims if not skim.digest)
    return SkimSurvey(skims, tuple(columns), layout, unknown, tuple(roles))


def _weighted(config: FinetuneConfig, skim: Skim, prefix: str, role: Role) -> Role:
    """The role of a file, with whether it has the columns of the weight: data may lack them."""
    if role.labelled or config.weight is None:
        return role
    try:
        skim.columns_of(config.weight.names, prefix, "the weight")
    except MissingColumns:
        return replace(role, weighted=False)
    return role


def files_read(bundle: Bundle, found: SkimSurvey) -> list[str]:
    """Every file that a training reads apart from its configuration: skims and the parent."""
    return [*(skim.path for skim in found.skims), *map(str, bundle.sources)]


def _has(skim: Skim, name: str, jets: str, prefix: str) -> bool:
    return name in skim.names or f"{jets}_{prefix}_{name}" in skim.names


def _expressions(config: FinetuneConfig, role: Role) -> Iterator[tuple[tuple[Any, ...], Expression]]:
    """What is computed for the jets of a file; without classes only the selection, and the weight if it is there."""
    for key in ("select", "target", "weight"):
        expression = getattr(config, key)
        if expression is not None and (key != "weight" or role.weighted):
            yield (key,), expression
    if not role.labelled:
        return
    for section in ("classes", "compare"):
        for name, expression in getattr(config, section).items():
            yield (section, name), expression
    for place, expression in enumerate(config.protected.values()):
        yield ("decorrelate", "from", place), expression


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
    bins: SpectrumBins | None = None
    #: minimum and maximum of the columns of the spectra
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    protection: Protection | None = None
    #: jets that an adversary of domains may see: domains, folds, values of held
    domains: Any = None

    def __post_init__(self) -> None:
        if self.config.kinematics is not None:
            self.bins = SpectrumBins(self.config.kinematics.columns)
        self.sums = np.zeros((len(self.names), 1 if self.bins is None else self.bins.cells))
        # classes, folds, values of held
        self.counts = np.zeros((len(self.names), max(self.config.split.folds, 2), 3), dtype=np.int64)
        self.domains = np.zeros((2, *self.counts.shape[1:]), dtype=np.int64)
        if self.config.decorrelate is not None and not self.config.decorrelate.domains:
            self.protection = Protection(self.config, self.layout)

    def leave_out(self, why: str, gone: Any) -> None:
        number = int(np.count_nonzero(gone))
        if number:
            self.left_out[why] = self.left_out.get(why, 0) + number

    def rows(self, events: Any, path: str, role: Role) -> Rows:
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
        label = np.full(table.n_jets, -1, dtype=np.int64)
        if role.labelled:
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
        if config.weight is not None and role.weighted:
            weight = _numbers(config.weight, values, table.n_jets)
            self._check_weights(weight, keep, event, path)
        cell = self._cells(table, keep, event, path)
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
            if name == DOMAIN:
                extras.append(np.full(table.n_jets, float(role.domain)))
            elif not role.labelled:  # columns of the report
                extras.append(np.full(table.n_jets, np.nan))
            elif name.startswith(OWN):  # filled when the spectra are known
                extras.append(np.ones(table.n_jets))
            elif name.startswith("compare:"):
                extras.append(_numbers(config.compare[name[8:]], values, table.n_jets))
            elif name.startswith(PROTECTED):
                extras.append(_numbers(config.protected[name.removeprefix(PROTECTED)], values, table.n_jets))
            else:
                extras.append(np.asarray(table.values(name), dtype=np.float64))
        rest = np.stack([*(fixed[name] for name in FIXED), *extras], axis=1).astype(np.float32)
        if role.domain >= 0:
            self._count_domain(role.domain, keep, label, fold, held)
            self._refuse_negative(weight, keep, event, path)
        named = keep & (label >= 0)
        seen = named & ((fold != 0) | (folds > 1)) & (held != _UNUSED)
        self.moments.add(x[seen])
        np.add.at(self.sums, (label[seen], cell[seen]), weight[seen])
        np.add.at(self.counts, (label[named], fold[named], held[named]), 1)
        kept: Rows = np.concatenate([x[keep], rest[keep]], axis=1)
        if self.protection is not None:
            self.protection.add(kept, event[keep], path)
        return kept

    def _count_domain(self, domain: int, keep: Any, label: Any, fold: Any, held: Any) -> None:
        mine = keep & seen_by_adversary(self.config, label)
        np.add.at(self.domains, (domain, fold[mine], held[mine]), 1)

    def _refuse_negative(self, weight: Any, keep: Any, event: Any, path: str) -> None:
        negative = np.flatnonzero(keep & (weight < 0))
        if len(negative):
            raise InvalidValues(
                f"{self.config.document.where('weight')}: {len(negative)} jets of {path}, which is in a domain, have a "
                f"negative weight (first in event {event[negative[0]]}), which the referee's trees cannot take; use "
                "weight: abs(...), or leave them out with select:"
            )

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
        method = "weights" if self.config.kinematics is None else self.config.kinematics.method
        if len(negative) and method != "weights":
            raise InvalidValues(
                f"{where}: {len(negative)} jets of {path} have a negative weight (first: event {event[negative[0]]}), "
                f"which kinematics: {{method: {method}}} cannot take; use weight: abs(...), or method: weights"
            )
        if len(negative) and isinstance(self.config.model, BdtModel):
            raise InvalidValues(
                f"{where}: {len(negative)} jets of {path} have a negative weight (first: event {event[negative[0]]}), "
                "which trees cannot take; use weight: abs(...), or a network"
            )

    def _cells(self, table: JetTable, keep: Any, event: Any, path: str) -> Any:
        cell = np.zeros(table.n_jets, dtype=np.int64)
        if self.bins is None or not keep.any():
            return cell
        columns = {name: np.asarray(table.values(name), dtype=np.float64)[keep] for name in self.bins.edges}
        for name, values in columns.items():
            missing = np.isnan(values)
            if missing.any():
                raise InvalidValues(
                    f"{self.config.document.where('kinematics', 'columns', name)}: {name!r} is NaN for {missing.sum()} "
                    f"jets of {path} (first in event {event[keep][missing][0]}), which have no place in its spectrum: "
                    "leave them out with select:"
                )
            low, high = self.ranges.get(name, (np.inf, -np.inf))
            self.ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
        cell[keep] = self.bins.index(columns)
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
        counted = dict(zip(self.names, self.counts, strict=True))
        if DOMAIN in layout.extras:
            assert config.decorrelate is not None
            check_domains(config, self.domains)
            counted |= {f"domain {name}": self.domains[i] for i, name in enumerate(config.decorrelate.domains)}
        for name, by_fold in counted.items():
            tests = by_fold.sum(axis=1)[:folds].sum() / folds
            trains = [by_fold[[f for f in range(len(by_fold)) if f != m]].sum(axis=0) for m in range(folds)]
            train, validation, _ = np.mean(trains, axis=0)
            jets[name] = {"train": int(train), "validation": int(validation), "test": int(tests)}
        if self.protection is not None:
            self.protection.check({name: counts["train"] for name, counts in jets.items()})
        width = np.sqrt(self.moments.squares / self.moments.count)
        prepared = Prepared(config, layout, store, self.moments.mean, width, self._factors(), jets, self.left_out)
        if self.bins is not None:
            prepared.kinematics = change_spectra(prepared, self.bins, self.sums)
        return prepared

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
        config, to = self.config, None
        if config.kinematics is not None:
            for name, limits in self.ranges.items():
                with config.document.at("kinematics", "columns", name):
                    refuse_constant(name, *limits)
            to = self.names.index(config.kinematics.to) if config.kinematics.to != FLAT else None
        with config.document.at("kinematics") if config.kinematics is not None else nullcontext():
            return balance(self.sums, self.moments.count, to)


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
        If inputs or protected columns are constant or not finite (all are named), if a class or the batches of a
        decorrelation have too few jets, or if a weight is invalid.
    """
    prefix = bundle.prefix if config.prefix is None else config.prefix
    names = list(config.classes) or ["all"]
    known = {output.name for output in bundle.outputs}
    tagged = [column for column, name in enumerate(found.layout.inputs) if name in known]
    state = _Pass(config, found.layout, prefix, names, tagged)
    jets = _expected_jets(found)
    with Store(folder, found.layout.width, jets, config.training.memory, config.training.seed) as store:
        for skim, columns, role in zip(found.skims, found.columns, found.roles, strict=True):
            size = max(1, min(20_000, config.training.memory // (200 * max(len(columns), 1))))
            for events in skim.read(columns, size):
                store.add(state.rows(events, skim.path, role))
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
