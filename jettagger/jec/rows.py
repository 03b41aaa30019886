"""Jets as the network reads them: features constructed, transformed and stacked, without padding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MissingColumns, hint
from jettagger.jec.configuration import FeatureBlock
from jettagger.jec.constructed import GLOBAL, PT, PT_GEN, construct, construction, log_response
from jettagger.jec.transforms import Transforms
from jettagger.training.ragged import RaggedRows
from jettagger.types import Array, Bools, Ints

__all__ = ["FeatureLayout", "JetRows", "RawJets", "branches_of", "prepare", "stacked", "with_target"]


def _taken(counts: Ints, chosen: Array) -> Ints:
    """The elements of some lists, in order."""
    starts, lengths = np.cumsum(counts) - counts, counts[chosen]
    first = np.repeat(starts[chosen] - (np.cumsum(lengths) - lengths), lengths)
    places: Ints = first + np.arange(len(first))
    return places


@dataclass(frozen=True)
class RawJets(Brief):
    """Branches of jets as they are in files.

    Parameters
    ----------
    columns : dict of str to array[n]
        Branch -> values, those of constituents of one jet after the other.
    counts : dict of str to int64[jets]
        Type of constituents -> their number in each jet. Branches of a type are named ``<type>_...``; all others have
        one value per jet.

    Raises
    ------
    InvalidValues
        If lengths do not fit.

    Examples
    --------
    >>> jets = RawJets({"pt": np.array([30.0, 50.0]), "ch_pt": np.array([1.0, 2.0, 3.0])}, {"ch": np.array([1, 2])})
    >>> jets.take(np.array([1])).columns["ch_pt"].tolist()
    [2.0, 3.0]
    """

    columns: Mapping[str, Numbers]
    counts: Mapping[str, Numbers]

    def __post_init__(self) -> None:
        lengths = {len(counts) for counts in self.counts.values()}
        lengths |= {len(values) for name, values in self.columns.items() if not self.block(name)}
        if len(lengths) > 1:
            raise InvalidValues(
                f"branches of jets have {', '.join(map(str, sorted(lengths)))} values, expected one per jet"
            )
        for name, counts in self.counts.items():
            if (np.asarray(counts) < 0).any():
                raise InvalidValues(f"a negative number of constituents {name!r}")
        for name, values in self.columns.items():
            block = self.block(name)
            if block and len(values) != self.counts[block].sum():
                raise InvalidValues(
                    f"{name} has {len(values)} values, expected {self.counts[block].sum()}, the sum of {block}_size"
                )

    def __len__(self) -> int:
        for counts in self.counts.values():
            return len(counts)
        return next((len(values) for values in self.columns.values()), 0)

    def block(self, branch: str) -> str:
        """The type of constituents to which a branch belongs, empty for those of jets."""
        return next((name for name in self.counts if branch.startswith(f"{name}_")), "")

    def take(self, index: Array) -> RawJets:
        """Some jets, by position, int[k], or with a mask, bool[jets]."""
        chosen = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index)
        places = {name: _taken(np.asarray(counts), chosen) for name, counts in self.counts.items()}
        columns = {
            name: values[places[self.block(name)] if self.block(name) else chosen]
            for name, values in self.columns.items()
        }
        return RawJets(columns, {name: np.asarray(counts)[chosen] for name, counts in self.counts.items()})


@dataclass(frozen=True)
class FeatureLayout(Brief):
    """The number of features of each block.

    Parameters
    ----------
    numerical, categorical : dict of str to int
    """

    numerical: Mapping[str, int]
    categorical: Mapping[str, int]

    @classmethod
    def of(cls, features: Mapping[str, FeatureBlock]) -> FeatureLayout:
        """That of the features of a configuration."""
        return cls(
            {block: len(content.numerical) for block, content in features.items()},
            {block: len(content.categorical) for block, content in features.items()},
        )

    @property
    def lists(self) -> dict[str, int]:
        """Type of constituents -> number of values of each."""
        return {block: width + self.categorical[block] for block, width in self.numerical.items() if block != GLOBAL}

    @property
    def width(self) -> int:
        """Number of values of each jet, with its target."""
        return 1 + self.numerical[GLOBAL] + self.categorical[GLOBAL]


@dataclass(frozen=True)
class JetRows(Brief):
    """Jets as the network reads them.

    Parameters
    ----------
    numerical : dict of str to float32[n, features]
        Block -> transformed features; ``global`` has one row per jet, the others one per constituent.
    categorical : dict of str to int64[n, features]
        Block -> rows of embeddings.
    counts : dict of str to int64[jets]
        Type of constituents -> their number in each jet; they may be 0.
    target : float32[jets]
        ln(pt_gen / pt); NaN where it is not known.

    Raises
    ------
    InvalidValues
        If lengths do not fit.
    """

    numerical: Mapping[str, Numbers]
    categorical: Mapping[str, Numbers]
    counts: Mapping[str, Numbers]
    target: Numbers

    def __post_init__(self) -> None:
        expected = {GLOBAL: len(self.target), **{name: int(counts.sum()) for name, counts in self.counts.items()}}
        for kind, blocks in (("numerical", self.numerical), ("categorical", self.categorical)):
            for name, values in blocks.items():
                if name not in expected:
                    raise InvalidValues(f"{kind} features of {name!r} without its counts{hint(name, expected)}")
                if len(values) != expected[name]:
                    raise InvalidValues(f"{len(values)} rows of {kind} features of {name!r}, expected {expected[name]}")
        for name, counts in self.counts.items():
            if len(counts) != len(self.target):
                raise InvalidValues(f"{len(counts)} counts of {name!r}, expected {len(self.target)}, one per jet")

    def __len__(self) -> int:
        return len(self.target)

    @property
    def layout(self) -> FeatureLayout:
        """The number of features of each block."""
        blocks = (GLOBAL, *self.counts)
        return FeatureLayout(
            {block: _width(self.numerical, block) for block in blocks},
            {block: _width(self.categorical, block) for block in blocks},
        )

    def take(self, index: Array) -> JetRows:
        """Some jets, by position, int[k], or with a mask, bool[jets]."""
        chosen = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index)
        places = {GLOBAL: chosen, **{name: _taken(counts, chosen) for name, counts in self.counts.items()}}
        return JetRows(
            {name: values[places[name]] for name, values in self.numerical.items()},
            {name: values[places[name]] for name, values in self.categorical.items()},
            {name: counts[chosen] for name, counts in self.counts.items()},
            self.target[chosen],
        )

    def packed(self) -> RaggedRows:
        """The same as rows of numbers for `jettagger.training.ragged`; indices below 2**24 are exact in them."""

        def both(block: str) -> list[Array]:
            return [self.numerical[block], self.categorical[block].astype(np.float32)]

        numbers = np.concatenate([self.target[:, None], *both(GLOBAL)], axis=1)
        return RaggedRows(numbers, self.counts, {name: np.concatenate(both(name), axis=1) for name in self.counts})

    @classmethod
    def unpacked(cls, rows: RaggedRows, layout: FeatureLayout) -> JetRows:
        """The inverse of `packed`."""
        blocks = {GLOBAL: rows.numbers[:, 1:], **rows.lists}
        numerical, categorical = {}, {}
        for block, values in blocks.items():
            width = layout.numerical[block]
            numerical[block] = np.ascontiguousarray(values[:, :width])
            categorical[block] = values[:, width:].astype(np.int64)
        return cls(numerical, categorical, dict(rows.counts), np.ascontiguousarray(rows.numbers[:, 0]))


def _width(blocks: Mapping[str, Array], block: str) -> int:
    return int(blocks[block].shape[1]) if block in blocks else 0


def branches_of(features: Mapping[str, FeatureBlock], *, target: bool = True) -> dict[str, list[str]]:
    """The branches that are read for features.

    Parameters
    ----------
    features : mapping of str to FeatureBlock
        The section ``features`` of a configuration.
    target : bool
        Whether the true momentum is read, too.

    Returns
    -------
    dict of str to list of str
        Block -> branches: features that are not constructed, and what the constructed ones and the target need.

    Examples
    --------
    >>> branches_of({"global": FeatureBlock(numerical="eta"), "ch": FeatureBlock(numerical=("ch_dr",))})
    {'global': ['eta', 'phi', 'pt', 'pt_gen'], 'ch': ['ch_eta', 'ch_phi']}
    """
    needed: dict[str, dict[str, None]] = {GLOBAL: {}, **{block: {} for block in features}}
    for block, content in features.items():
        for name in (*content.numerical, *content.categorical):
            made = construction(name) if name in content.numerical else None
            for jet in made.jet if made else ():
                needed[GLOBAL][jet] = None
            for branch in made.constituents if made else (name,):
                needed[block][branch] = None
    for name in (PT, PT_GEN) if target else (PT,):
        needed[GLOBAL][name] = None
    return {block: [*dict.fromkeys([*names])] for block, names in needed.items()}


def with_target(raw: RawJets) -> tuple[RawJets, int]:
    """Without jets whose true momentum is not above 0, so that they have no target.

    Parameters
    ----------
    raw : RawJets

    Returns
    -------
    jets : RawJets
    dropped : int
        Number of jets that were left out.

    Raises
    ------
    MissingColumns
        If there is no true momentum.
    """
    if PT_GEN not in raw.columns:
        raise MissingColumns(f"no branch {PT_GEN!r}, the true momentum{hint(PT_GEN, raw.columns)}")
    good: Bools = np.isfinite(raw.columns[PT_GEN]) & (raw.columns[PT_GEN] > 0)
    return (raw, 0) if good.all() else (raw.take(good), int((~good).sum()))


def prepare(raw: RawJets, features: Mapping[str, FeatureBlock], transforms: Transforms) -> JetRows:
    """Construct, transform and stack the features of jets.

    Parameters
    ----------
    raw : RawJets
        The branches of `branches_of`.
    features : mapping of str to FeatureBlock
        The section ``features`` of a configuration, which gives the order of the columns.
    transforms : Transforms

    Returns
    -------
    JetRows
        The target is NaN without the branch ``pt_gen``.

    Raises
    ------
    MissingColumns
        Lists all branches that are missing.
    InvalidValues
        If a feature is not finite, ``pt`` or ``pt_gen`` not above 0, or the logarithm is taken of such a number.
    """
    _require_branches(raw, features)
    problems = list(_bad_values(raw, features))
    if problems:
        raise InvalidValues("; ".join(problems))
    jets = len(raw)
    numerical, categorical = {}, {}
    for block, content in features.items():
        counts = np.ones(jets, dtype=np.int64) if block == GLOBAL else raw.counts[block]
        rows = int(counts.sum())
        values = np.empty((rows, len(content.numerical)), dtype=np.float32)
        for place, name in enumerate(content.numerical):
            made = construction(name)
            plain = raw.columns[name] if made is None else construct(made, raw.columns, counts)
            values[:, place] = transforms.apply(name, plain)
        indices = np.empty((rows, len(content.categorical)), dtype=np.int64)
        for place, name in enumerate(content.categorical):
            indices[:, place] = transforms.index(name, raw.columns[name])
        numerical[block], categorical[block] = values, indices
    target = np.full(jets, np.nan, dtype=np.float32)
    if PT_GEN in raw.columns:
        target = log_response(raw.columns[PT_GEN], raw.columns[PT])
    counted = {block: np.asarray(raw.counts[block], dtype=np.int64) for block in features if block != GLOBAL}
    return JetRows(numerical, categorical, counted, target)


def _require_branches(raw: RawJets, features: Mapping[str, FeatureBlock]) -> None:
    needed = branches_of(features, target=False)
    missing = [name for names in needed.values() for name in names if name not in raw.columns]
    missing += [f"{block}_size" for block in features if block != GLOBAL and block not in raw.counts]
    if missing:
        near = [f"{name}{hint(name, raw.columns)}" for name in missing]
        raise MissingColumns(f"{len(missing)} branches are missing: {', '.join(near)}")


def _bad_values(raw: RawJets, features: Mapping[str, FeatureBlock]) -> Iterator[str]:
    """What cannot be used, one text for each branch."""
    names = [name for block in branches_of(features, target=False).values() for name in block]
    for name in dict.fromkeys(names):
        values = raw.columns[name]
        bad = ~np.isfinite(values)
        what = "not finite"
        if name == PT:
            bad, what = bad | (values <= 0), "not finite and above 0"
        if bad.any():
            yield f"{name} is {what} in {int(bad.sum())} of {len(values)} values, {_jet(raw, name, bad)}"
    if PT_GEN in raw.columns:
        bad = ~(np.isfinite(raw.columns[PT_GEN]) & (raw.columns[PT_GEN] > 0))
        if bad.any():
            yield f"{PT_GEN} is not finite and above 0 for {int(bad.sum())} of {len(raw)} jets: leave them out"


def _jet(raw: RawJets, name: str, bad: Bools) -> str:
    first, block = int(np.argmax(bad)), raw.block(name)
    jet = int(np.searchsorted(np.cumsum(raw.counts[block]), first, side="right")) if block else first
    return f"first in jet {jet}: {raw.columns[name][first]}"


def stacked(pieces: Iterable[JetRows]) -> JetRows:
    """Jets one after the other.

    Parameters
    ----------
    pieces : iterable of JetRows
        At least one, with the same features.

    Returns
    -------
    JetRows
    """
    listed: list[JetRows] = list(pieces)
    if len(listed) == 1:
        return listed[0]
    first = listed[0]
    return JetRows(
        {name: np.concatenate([piece.numerical[name] for piece in listed]) for name in first.numerical},
        {name: np.concatenate([piece.categorical[name] for piece in listed]) for name in first.categorical},
        {name: np.concatenate([piece.counts[name] for piece in listed]) for name in first.counts},
        np.concatenate([piece.target for piece in listed]),
    )


guard(globals())
