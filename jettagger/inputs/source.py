"""A common interface from users' inputs to the inputs of a model: events with linked jets, tables, Delphes events.

A `Source` compares the available columns with those that a model needs and makes a `Request` for an input: the jets to
score, their inputs block by block, what these depend on, and where scores are put back. `source_of` selects it; no
other code distinguishes how a model's inputs are described.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from jettagger.arguments import guard, shown
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import Group
from jettagger.bundles.registry import available, load_bundle
from jettagger.errors import JettaggerError, MismatchError, WrongType
from jettagger.features import CANDIDATES
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

__all__ = [
    "EVERYTHING",
    "ColumnPlan",
    "Request",
    "Source",
    "check_columns",
    "family_of",
    "runnable",
    "select_jets",
    "source_of",
]


#: bytes that no chunk reaches: a budget for all jets at once
EVERYTHING = 1 << 62


class ColumnPlan(Protocol):
    """The stored columns from which the inputs of a model are computed."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read: ``"Collection.field"``, or the columns of a table."""

    @property
    def collection(self) -> str:
        """The collection of jets; empty for a table with one row per jet."""

    @property
    def made(self) -> tuple[str, ...]:
        """Columns of the jets for use in cuts that are computed from ``columns``; empty: the stored ones."""


class Request(Protocol):
    """The jets of an input, and the requested ones among them."""

    @property
    def plan(self) -> Any:
        """A `ColumnPlan`."""

    @property
    def report(self) -> Report:
        """Counts known before constituents are read."""

    @property
    def counts(self) -> Array | None:
        """Number of jets of each event, int64[events]; None for a table of jets alone."""

    @property
    def valid(self) -> Array | None:
        """Mask of events that are not None, bool[events]; None for a table of jets alone."""

    @property
    def present(self) -> Array:
        """Mask of jets that are not None, bool[jets]."""

    @property
    def flags(self) -> Mapping[str, Array | None]:
        """Flags of all jets in addition to scores, bool[jets]; None if they cannot be determined."""

    @property
    def group(self) -> Hashable:
        """Requests of the same input with equal groups can be combined, see `together`."""

    def together(self, others: Sequence[Any]) -> Request:
        """One request for the inputs of several models on the same jets."""

    def blocks(self, budget: int = ...) -> Iterator[Selection]:
        """The jets to score with their inputs, in blocks within a budget of bytes."""

    def content(self) -> Iterator[tuple[str, Array]]:
        """The data that the model's inputs depend on, by name, in any shape."""

    def values(self, name: str) -> Array:
        """A jet-level or event-level variable by its name in a skim, one entry per jet; NaN for None."""

    def put_back(self, events: Any, scores: Any, names: Mapping[str, str]) -> Any:
        """The input with columns of scores: ``names`` maps outputs to columns."""


class Source(Protocol):
    """Origin of rows: the interface between an input and a model."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of flags of jets in addition to scores."""

    @property
    def constituents(self) -> tuple[Group, ...]:
        """The groups in which a jet needs an entry to be scored: candidates."""

    @property
    def tables(self) -> bool:
        """Whether tables with one row per jet and Delphes events are supported besides events with linked jets."""

    @property
    def described(self) -> bool:
        """Whether the meaning of columns is known, so that random jets resemble real ones."""

    def random_jets(self, counts: Mapping[str, Array], n_jets: int, seed: int) -> Objects:
        """Random jets with given numbers of objects along each axis, as inputs of the model.

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
        """The inputs and flags that depend on given columns of the jets.

        Parameters
        ----------
        columns : iterable of str
            Their names in NanoAOD: ``pt``, ``msoftdrop``.

        Returns
        -------
        tuple of str
            Names of variables; empty if the scores do not change.
        """

    def check(self, offer: Any, source: str = ..., heads: Iterable[HeadColumns] = ...) -> Any:
        """Compare the available columns with the required ones; nothing is read.

        Parameters
        ----------
        offer : Offer
            Events or an open file.
        source : str
            Name of the input, for messages.
        heads : iterable of Head
            Heads that run with the model.

        Returns
        -------
        ColumnPlan

        Raises
        ------
        MissingColumns
            Lists all missing columns, and what needs them.
        """

    def request(
        self,
        events: Any,
        where: Any = ...,
        kinematics: Mapping[str, Any] | None = ...,
        heads: Iterable[HeadColumns] = ...,
    ) -> Any:
        """The requested jets.

        Parameters
        ----------
        events : awkward array
            Events or a table.
        where : str or bool array, optional
            Only selected jets are scored; a text is a cut in columns of the jets.
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
    """The source of models with the columns of a table as inputs, for any kind of input."""

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
    """The source of a model's inputs.

    Parameters
    ----------
    bundle : Bundle
    jets : str, optional
        The collection of jets, if the model applies to several in the input.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the input.
    outside : {"score", "skip"}
        Treatment of jets outside the training selection of a data configuration.
    min_pt_share : float, optional
        Minimum fraction of a jet's transverse momentum that its constituents must carry.

    Returns
    -------
    Source

    Raises
    ------
    MismatchError
        If an option does not apply to the model.
    UnknownName
        If a name is not one of PFNano's.
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


def family_of(bundle: Bundle, group: Group) -> str:
    """What the objects of a group are, independent of how the inputs of the model are described.

    Parameters
    ----------
    bundle : Bundle
    group : Group
        Of the bundle.

    Returns
    -------
    str
        ``pf`` for all kinds of candidates, ``sv``, ``jet``; with a data configuration of weaver what is before the
        first ``_`` in the names of its columns: ``part``.
    """
    if group.per_jet:
        return "jet"
    if bundle.weaver is None:
        return "pf" if group.object in CANDIDATES else group.object
    columns = bundle.weaver.columns([variable.feature.name for variable in group.variables])
    stems = [bundle.weaver.stored(name).partition("_")[0] for name in columns]
    return next((stem for stem in stems if stem != "jet"), group.name)


def runnable(offer: Any, but: Bundle, jets: str | None = None, names: Names | None = None) -> list[str]:
    """The known models for which an input has all columns, independent of how their inputs are described.

    Parameters
    ----------
    offer : Offer
        Events or an open file.
    but : Bundle
        A model to exclude.
    jets : str, optional
        The collection of jets of ``but``; models of other jets use theirs, if available.
    names : mapping, optional
        PFNano's names -> those of the input.

    Returns
    -------
    list of str
        Names, with a remark if there are no weights.

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
    """Compare the columns that a model needs with those of an input; nothing is read.

    Parameters
    ----------
    bundle : Bundle
    offer : awkward array or Offer
        Events, or an open file: ROOT files of events, files with one row a jet, Delphes files.
    source : str
        Name of the input, for errors.
    heads : iterable of Head
        Heads that run with the model; their columns are added to the plan.
    jets : str, optional
        The collection of jets, if there are several of known formats.
    names : mapping, optional
        PFNano's names -> those of the input, see `jettagger.tagging.tagger.Tagger`.
    format : str or path, optional
        Flavour of PFNano that declares these names, as for `jettagger.load_tagger`.

    Returns
    -------
    ColumnPlan
        Its ``columns`` are those that will be read.

    Raises
    ------
    MissingColumns
        Lists every missing column, the variables that need it, and models that can run on this input.
    InputFileError
        If the format is not known, or the array holds no events.
    WrongType
        If it is neither.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> from jettagger.testing import make_events
    >>> plan = check_columns(load_bundle("tinyParT"), make_events(1, seed=1))
    >>> plan.collection, plan.columns[0]
    ('FatJet', 'FatJet.eta')
    """
    import awkward as ak

    if isinstance(offer, ak.Array):
        offer = EventColumns(offer)
    if not (hasattr(offer, "has") and hasattr(offer, "collections")):
        where, got, expected = "check_columns(), argument offer", shown(offer), "events or an open file"
        raise WrongType(f"{where}: got {got}, expected {expected}", where=where, got=got, expected=expected)
    return source_of(bundle, jets=jets, names=declared_names(names, format)).check(offer, source, heads)


def select_jets(bundle: Bundle, events: Any, where: Any = None, collection: str | None = None) -> Selection:
    """The jets that pass a mask and have constituents, all at once.

    Parameters
    ----------
    bundle : Bundle
        Model whose inputs are needed.
    events : awkward array
    where : str or bool array, optional
    collection : str, optional
        The collection of jets, if there are several.

    Returns
    -------
    Selection

    Raises
    ------
    MissingColumns, MismatchError
        As for `Tagger.__call__`; MismatchError also if no jet passes.
    """
    for selection in source_of(bundle, jets=collection).request(events, where).blocks(EVERYTHING):
        return selection
    raise MismatchError(f"no jet of these events can be selected for the model {bundle.name!r}")


guard(globals(), "check_columns")
