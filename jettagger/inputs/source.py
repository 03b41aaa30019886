"""One way from what users have to the inputs of a model: events with linked jets, tables, Delphes events.

A `Source` compares columns with what a model needs and makes a `Request` of an input: which jets are scored, their
inputs block by block, what these depend on, and where scores go back to. `source_of` chooses it; nothing else asks how
a model's inputs are described.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import Group
from jettagger.bundles.registry import available, load_bundle
from jettagger.errors import JettaggerError, MismatchError
from jettagger.formats import EventColumns
from jettagger.formats.naming import Names
from jettagger.formats.pfnano import pfnano
from jettagger.inputs.advice import Others, nobody
from jettagger.inputs.batching import Objects
from jettagger.inputs.flat_tables import FlatTables, Outside, constituent_groups, flags_of, is_event_offer
from jettagger.inputs.flavours import declared_names
from jettagger.inputs.linked_jets import LinkedJets, changed_features
from jettagger.inputs.nano_jets import NanoJets
from jettagger.inputs.pfnano_tables import nano_features
from jettagger.inputs.random_jets import toy_table
from jettagger.inputs.selection import Selection
from jettagger.inputs.wanted import HeadColumns
from jettagger.report import Report
from jettagger.types import Array
from jettagger.weaver import DataConfig, Values, WeaverJets

__all__ = ["EVERYTHING", "ColumnPlan", "Request", "Source", "check_columns", "runnable", "select_jets", "source_of"]


#: bytes that no chunk takes: a budget for all jets at once
EVERYTHING = 1 << 62


class ColumnPlan(Protocol):
    """Which stored columns give the inputs of a model."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that are read: ``"Collection.field"``, or the columns of a table."""

    @property
    def collection(self) -> str:
        """The jets' collection; empty for a table with one row a jet."""

    @property
    def made(self) -> tuple[str, ...]:
        """Columns of the jets that a cut may name and that are made of ``columns``; empty: those that are stored."""


class Request(Protocol):
    """The jets of an input, and which of them were asked for."""

    @property
    def plan(self) -> Any:
        """A `ColumnPlan`."""

    @property
    def report(self) -> Report:
        """What is known before constituents are looked at."""

    @property
    def counts(self) -> Array | None:
        """Number of jets of each event, int64[events]; None for a table of jets alone."""

    @property
    def valid(self) -> Array | None:
        """For each event whether it is there (not None), bool[events]; None for a table of jets alone."""

    @property
    def present(self) -> Array:
        """For each jet whether it is there (not None), bool[jets]."""

    @property
    def flags(self) -> Mapping[str, Array | None]:
        """What is said of all jets besides their scores, bool[jets]; None where that cannot be told."""

    @property
    def group(self) -> Hashable:
        """Requests of the same input whose groups are equal can be one, see `together`."""

    def together(self, others: Sequence[Any]) -> Request:
        """One request for the inputs of several models on the same jets."""

    def blocks(self, budget: int = ...) -> Iterator[Selection]:
        """The jets to score with their inputs, as many at a time as a budget of bytes allows."""

    def content(self) -> Iterator[tuple[str, Array]]:
        """All that the inputs of the model depend on, by name, in any shape."""

    def values(self, name: str) -> Array:
        """A column of the jets, or of their events, by its name in a skim, one entry a jet; NaN for None."""

    def put_back(self, events: Any, scores: Any, names: Mapping[str, str]) -> Any:
        """The input with columns of scores: ``names`` are those of outputs and their columns."""


class Source(Protocol):
    """Where rows come from: what stands between an input and a model."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What is said of all jets besides their scores."""

    @property
    def constituents(self) -> tuple[Group, ...]:
        """The groups of which a jet needs an entry to be scored: candidates."""

    @property
    def tables(self) -> bool:
        """Whether tables with one row a jet and Delphes events are taken besides events with linked jets."""

    @property
    def described(self) -> bool:
        """Whether columns have a meaning that is known here, so that random jets look like real ones."""

    def random_jets(self, counts: Mapping[str, Array], n_jets: int, seed: int) -> Objects:
        """Random jets with so many objects along each axis, as the model takes them.

        Parameters
        ----------
        counts : mapping of str to int64[jets]
            Axis -> number of objects.
        n_jets : int
        seed : int

        Returns
        -------
        Objects
        """

    def changed_by(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The inputs, and what else is said of jets, that change when columns of the jets do.

        Parameters
        ----------
        columns : iterable of str
            As NanoAOD calls them: ``pt``, ``msoftdrop``.

        Returns
        -------
        tuple of str
            Names of variables; empty if the scores stay what they are.
        """

    def check(self, offer: Any, source: str = ..., heads: Iterable[HeadColumns] = ...) -> Any:
        """Compare the columns that are offered with those that are needed; nothing is read.

        Parameters
        ----------
        offer : Offer
            Events or an open file.
        source : str
            What it is called, for messages.
        heads : iterable of Head
            Heads that run with the model.

        Returns
        -------
        ColumnPlan

        Raises
        ------
        MissingColumns
            Lists all that is missing, and what needs it.
        """

    def request(
        self,
        events: Any,
        where: Any = ...,
        kinematics: Mapping[str, Any] | None = ...,
        heads: Iterable[HeadColumns] = ...,
    ) -> Any:
        """Which jets are asked for.

        Parameters
        ----------
        events : awkward array
            Events or a table.
        where : str or bool array, optional
            Only jets where it is True are scored; a text is a cut in columns of the jets.
        kinematics : mapping, optional
            ``pt``, ``eta``, ``phi`` or ``mass`` of the jets (GeV) after a variation, aligned with them.
        heads : iterable of Head

        Returns
        -------
        Request

        Raises
        ------
        MissingColumns
            As for `check`.
        MismatchError
            If ``where`` or ``kinematics`` do not fit the jets.
        """


@dataclass(frozen=True)
class _TableInputs:
    """The source of models that take the columns of a table, whatever these are made of."""

    bundle: Bundle
    config: DataConfig
    jets: str | None
    names: Names | None
    outside: Outside
    min_pt_share: float | None
    others: Others

    def __post_init__(self) -> None:
        if self.outside not in ("score", "skip"):
            raise MismatchError(f"outside is {self.outside!r}, expected 'score' or 'skip'")
        if self.names is not None:
            pfnano(self.names, kind=self.bundle.card.jets)

    @property
    def constituents(self) -> tuple[Group, ...]:
        return constituent_groups(self.bundle.groups)

    #: the columns of a configuration may be anything
    described = False
    tables = True

    @property
    def flags(self) -> tuple[str, ...]:
        return flags_of(self.config)

    def random_jets(self, counts: Mapping[str, Array], n_jets: int, seed: int) -> Objects:
        full = dict(counts) or {"jet": np.ones(n_jets, dtype=np.int64)}
        axes = {group.name: group.axis for group in self.bundle.groups}
        return WeaverJets(Values(self.config, toy_table(self.config, full, axes, seed)), n_jets)

    def changed_by(self, columns: Iterable[str]) -> tuple[str, ...]:
        config = self.config
        formulas = (config.selection, config.test_time_selection)
        selections = {name for formula in formulas for name in config.columns_of(formula)}
        read = dict.fromkeys([*config.columns(), *sorted(selections)])
        columns = tuple(columns)
        changed = [name for name in read if changed_features(nano_features([config.stored(name)]), columns)]
        inputs = [variable for name in changed for variable in config.needing(name)]
        return tuple(dict.fromkeys([*inputs, *(self.flags if selections.intersection(changed) else ())]))

    def _of(self, collections: Iterable[str]) -> FlatTables | NanoJets:
        kind = NanoJets if self.names is not None or is_event_offer(collections, self.bundle.card.jets) else FlatTables
        return kind(self.bundle, self.config, self.jets, self.names, self.outside, self.min_pt_share, self.others)

    def check(self, offer: Any, source: str = "this table", heads: Iterable[HeadColumns] = ()) -> Any:
        return self._of(offer.collections).check(offer, source, heads)

    def request(
        self,
        events: Any,
        where: Any = None,
        kinematics: Mapping[str, Any] | None = None,
        heads: Iterable[HeadColumns] = (),
    ) -> Any:
        events = events.events if isinstance(events, EventColumns) else events
        return self._of(getattr(events, "fields", ())).request(events, where, kinematics, heads)


def source_of(
    bundle: Bundle,
    *,
    jets: str | None = None,
    names: Names | None = None,
    outside: Outside = "score",
    min_pt_share: float | None = None,
) -> Source:
    """What makes the inputs of a model.

    Parameters
    ----------
    bundle : Bundle
    jets : str, optional
        The collection of jets, where an input has several that the model can be applied to.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the input.
    outside : {"score", "skip"}
        What happens to jets outside the training selection of a data configuration.
    min_pt_share : float, optional
        Share of a jet's transverse momentum that its constituents must carry.

    Returns
    -------
    Source

    Raises
    ------
    MismatchError
        If the model does not go with an option.
    UnknownName
        If PFNano has none of the names.
    """
    return _source(bundle, jets, names, outside, min_pt_share, runnable)


def _source(
    bundle: Bundle,
    jets: str | None = None,
    names: Names | None = None,
    outside: Outside = "score",
    min_pt_share: float | None = None,
    others: Others = nobody,
) -> Source:
    if bundle.weaver is None:
        return LinkedJets(bundle, jets, names, outside, min_pt_share, others)
    return _TableInputs(bundle, bundle.weaver, jets, names, outside, min_pt_share, others)


def runnable(offer: Any, but: Bundle, jets: str | None = None, names: Names | None = None) -> list[str]:
    """The known models that an input has all columns for, however these models are described.

    Parameters
    ----------
    offer : Offer
        Events or an open file.
    but : Bundle
        A model that is not named.
    jets : str, optional
        The collection of jets that ``but`` takes; models of other jets take these where they are.
    names : mapping, optional
        PFNano's names -> those of the input.

    Returns
    -------
    list of str
        Names, with a remark where there are no weights.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> from jettagger.testing import make_events
    >>> "tinyParT" in runnable(EventColumns(make_events(1, seed=1)), load_bundle("inclParTToyV1"))
    True
    """
    found = []
    for name in available():
        try:
            bundle = load_bundle(name)
            if bundle.name != but.name:
                _source(bundle, jets if bundle.card.jets == but.card.jets else None, names).check(offer)
                found.append(name if bundle.has_weights else f"{name} (without weights here)")
        except JettaggerError:  # it cannot be read, or does not run on this
            continue
    return found


def check_columns(
    bundle: Bundle,
    offer: Any,
    source: str = "these events",
    heads: Iterable[HeadColumns] = (),
    *,
    jets: str | None = None,
    names: Names | None = None,
    format: str | os.PathLike[str] | None = None,
) -> Any:
    """Compare what a model needs with what an input offers; nothing is read.

    Parameters
    ----------
    bundle : Bundle
    offer : Offer
        Events or an open file: ROOT files of events, files with one row a jet, Delphes files.
    source : str
        Named in the error.
    heads : iterable of Head
        Heads that run with the model; the columns that they read join those of the plan.
    jets : str, optional
        The collection of jets, where there are several of known formats.
    names : mapping, optional
        PFNano's names -> those of the input, see `jettagger.tagging.tagger.Tagger`.
    format : str or path, optional
        Flavour of PFNano that declares these names, as for `jettagger.load_tagger`.

    Returns
    -------
    ColumnPlan
        Its ``columns`` are those that are read.

    Raises
    ------
    MissingColumns
        Listing every missing column, the variables that want it, and what would run on this input instead.
    InputFileError
        If the format is not known.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> from jettagger.testing import make_events
    >>> plan = check_columns(load_bundle("tinyParT"), EventColumns(make_events(1, seed=1)))
    >>> plan.collection, plan.columns[0]
    ('FatJet', 'FatJet.eta')
    """
    return source_of(bundle, jets=jets, names=declared_names(names, format)).check(offer, source, heads)


def select_jets(bundle: Bundle, events: Any, where: Any = None, collection: str | None = None) -> Selection:
    """The jets that pass a mask and have constituents, all at once.

    Parameters
    ----------
    bundle : Bundle
        Whose inputs are wanted.
    events : awkward array
    where : str or bool array, optional
    collection : str, optional
        The jets, where there are several collections.

    Returns
    -------
    Selection

    Raises
    ------
    MissingColumns, MismatchError
        As for `Tagger.__call__`; MismatchError also where no jet has passed.
    """
    for selection in source_of(bundle, jets=collection).request(events, where).blocks(EVERYTHING):
        return selection
    raise MismatchError(f"no jet of these events can be selected for the model {bundle.name!r}")


guard(globals(), "check_columns")
