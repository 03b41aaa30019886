"""The tagger: events in, scores out, for eager, virtual and dask-awkward arrays."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jettagger._version import __version__
from jettagger.acceleration import best_session, check_backend
from jettagger.attach import with_fields, with_list_fields
from jettagger.batching import BATCH_SIZE, COST, Batch, Objects, make_batches, tabulate
from jettagger.bundle import Bundle, Output
from jettagger.cache import DiskCache
from jettagger.card import Kind
from jettagger.errors import (
    BundleError,
    BundleNotFound,
    JettaggerError,
    MismatchError,
    MissingColumns,
    MissingModelFile,
)
from jettagger.features.definition import Array
from jettagger.flatjets import IN_DOMAIN, FlatSelection, Outside, select_flat
from jettagger.formats import EventColumns, Format, Jets, Plan, detect, load, make_plan, split
from jettagger.formats.base import Offer
from jettagger.heads import Head, JetTable, load_head
from jettagger.network import evaluate
from jettagger.places import cache_folder, shipped
from jettagger.registry import available, choice, load_bundle
from jettagger.report import Report
from jettagger.sessions import Session

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["DEFAULT_COLUMNS", "Tagged", "Tagger", "check_columns", "load_tagger", "make_inputs"]

#: the kinds of outputs that become columns when nothing else is said
DEFAULT_COLUMNS = ("prob", "mass", "hidden")


class Tagged(NamedTuple):
    """Scores of a chunk of events and what happened on the way.

    Parameters
    ----------
    scores : awkward array
        ``events * var * ?{output: float32, ...}``.
    report : Report
    """

    scores: ak.Array
    report: Report


def check_columns(bundle: Bundle, offer: Offer, source: str = "these events", heads: Iterable[Head] = ()) -> Plan:
    """Compare what a model needs with what an input offers; nothing is read.

    Parameters
    ----------
    bundle : Bundle
    offer : Offer
        Events or an open file.
    source : str
        Named in the error.
    heads : iterable of Head
        Heads that run with the model; the columns that they read join those of the plan.

    Returns
    -------
    Plan

    Raises
    ------
    MissingColumns
        Listing every missing column, the variables that want it, and what would run on this input instead.
    InputFileError
        If the format is not known.
    """
    format_ = detect(offer.collections)
    plan = make_plan(format_, offer, bundle.features)
    if plan.missing:
        lines = "\n".join(f"  {need}" for need in plan.missing)
        others = _runnable(format_, offer, bundle.name)
        instead = f"models that would run on it: {', '.join(others)}" if others else "no known model runs on it"
        remark = f"; {format_.remark}" if format_.remark else ""
        raise MissingColumns(
            f"{source} ({format_.title}) cannot feed the model {bundle.name!r}, these columns are missing:\n{lines}\n"
            f"{instead}{remark}"
        )
    more = [column for head in heads for column in head.needs(offer, format_.jets, source)]
    return replace(plan, more=tuple(dict.fromkeys(more)))


def _runnable(format_: Format, offer: Offer, but: str) -> list[str]:
    names = []
    for name in available():
        try:
            bundle = load_bundle(name)
        except JettaggerError:
            continue
        if bundle.name != but and not make_plan(format_, offer, bundle.features).missing:
            names.append(name if bundle.has_weights else f"{name} (without weights here)")
    return names


class Tagger:
    """Applies one model to the fat jets of events.

    A tagger is a value: it can be passed to processors and workers, and its pickle holds a path and a checksum only.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    threads : int, optional
        Threads of the network; default: 1 in a worker, all usable cores in a plain process.
    provider : str, optional
        Execution provider: ``cpu`` (default), ``cuda`` or a full name.
    batch_size : int
        Jets in one run at most.
    session : Session, optional
        Stands in for ONNX Runtime; such a tagger cannot be pickled.
    heads : sequence of Head
        Run on the outputs; see `with_heads`.
    jets : str, optional
        The collection of jets, where events have several of the kind that the model takes (Delphes).
    outside : {"score", "skip"}
        What happens to jets outside the training selection of a data configuration: they are scored and flagged in
        the column ``<prefix>_inDomain``, or flagged and left unscored.
    backend : {"fast", "onnxruntime", "openvino"}
        ``fast``: ONNX Runtime with the graph rewritten to an equal one that runs faster, proven when it is loaded;
        ``onnxruntime``: the file as it is; ``openvino``: OpenVINO (extra ``openvino``).
    cache : bool, path or DiskCache, optional
        Where scores of the model are kept, so that the same jets need the network once: True is the user's cache
        folder. An entry is found by the bundle and by the content of the columns that the model reads, so that whatever
        changes misses. Heads run each time. Not for models with a data configuration.

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    MismatchError
        If a head belongs to another model, if two have the same name, or if the model does not go with an option.
    ConfigError
        If there is no such backend.

    Examples
    --------
    >>> from jettagger.testing import make_events
    >>> tagger = load_tagger("tinyParT")
    >>> events = make_events(4, seed=1)
    >>> events = tagger.attach(events, where=events.FatJet.pt > 250)
    >>> print(events.FatJet.tinyParT_probHbb.type)
    4 * var * ?float32
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        provider: str | None = None,
        batch_size: int = BATCH_SIZE,
        session: Session | None = None,
        backend: str = "fast",
        heads: Sequence[Head] = (),
        jets: str | None = None,
        outside: Outside = "score",
        cache: bool | str | os.PathLike[str] | DiskCache | None = None,
    ) -> None:
        check_backend(backend, provider)
        if session is None:
            bundle.require_weights()
        for head in heads:
            head.check_parent(bundle)
        names = [head.name for head in heads]
        if len(set(names)) != len(names):
            raise MismatchError(f"two heads have the same name, and so the same columns: {', '.join(sorted(names))}")
        self._bundle: Bundle | None = bundle
        self._origin = (str(bundle.folder), bundle.digest)
        self._heads: tuple[Head, ...] | None = tuple(heads)
        self._head_origins = tuple((str(head.folder), head.digest) for head in heads)
        self.threads = threads
        self.provider = provider
        self.batch_size = batch_size
        self.backend = backend
        self.jets = jets
        self.outside = outside
        self.cache = open_score_cache(cache)
        self._session = session
        if bundle.weaver is None and (jets is not None or outside != "score"):
            raise MismatchError(f"jets= and outside= are for models with a data configuration, not {bundle.name!r}")
        if bundle.weaver is not None and heads:
            raise MismatchError(f"heads run on models with preprocess.json, {bundle.name!r} has a data configuration")
        if bundle.weaver is not None and self.cache is not None:
            raise MismatchError(f"cache= is for models with preprocess.json, {bundle.name!r} has a data configuration")

    @property
    def bundle(self) -> Bundle:
        """The description of the model.

        Raises
        ------
        BundleNotFound
            If the tagger came from another process and its model is not here.
        BundleError
            If it is here with another content.
        """
        if self._bundle is None:
            self._bundle = _find(*self._origin)
        return self._bundle

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that run on the outputs.

        Raises
        ------
        MissingModelFile
            If the tagger came from another process and a head is not here.
        BundleError
            If one is here with another content.
        """
        if self._heads is None:
            self._heads = tuple(_find_head(*origin) for origin in self._head_origins)
        return self._heads

    def __repr__(self) -> str:
        heads = f" with {', '.join(head.name for head in self.heads)}" if self.heads else ""
        return f"Tagger({self.bundle.name!r}{heads}, {len(self.outputs)} outputs, from {self.bundle.folder})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._session is not None:
            raise TypeError("a tagger with a session of its own cannot be pickled; load it by name or folder")
        return (_restore, (*self._origin, {**self._options, "heads": self._head_origins}))

    @property
    def _options(self) -> dict[str, Any]:
        """How this tagger was made, but for the bundle, the heads and a session of its own."""
        names = ("threads", "provider", "batch_size", "backend", "jets", "outside")
        cache = None if self.cache is None else (str(self.cache.folder), self.cache.limit)
        return {**{name: getattr(self, name) for name in names}, "cache": cache}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        heads = (digest for _, digest in self._head_origins)
        return ("jettagger.Tagger", self._origin[1], self.jets, self.outside, *heads)

    def with_heads(self, *heads: Head | str | os.PathLike[str]) -> Tagger:
        """A tagger that also runs heads, in the same pass.

        Parameters
        ----------
        *heads : Head or path
            Heads that were trained on this model.

        Returns
        -------
        Tagger
            Its scores have ``<head>_<output>`` for each output of a head, and ``attach`` adds columns of that name.
            They are NaN where a column of the jet or the event that the head takes is missing.

        Raises
        ------
        MismatchError
            If a head was trained on another model, or if two have the same name.
        BundleError
            If the folder of a head is damaged.
        """
        loaded = [head if isinstance(head, Head) else load_head(head) for head in heads]
        return Tagger(self.bundle, session=self._session, heads=(*self.heads, *loaded), **self._options)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All outputs: those of the model, then those of the heads as ``<head>_<output>``."""
        found = list(self.bundle.outputs)
        for head in self.heads:
            kind: Kind = "mass" if head.card.kind == "mass" else "prob"
            for column, raw in zip(head.columns, head.card.outputs, strict=True):
                found.append(Output(column, raw, kind, len(found)))
        return tuple(found)

    @property
    def session(self) -> Session:
        """The session of this process, opened when first used."""
        if self._session is not None:
            return self._session
        return best_session(self.bundle, self.threads, self.provider, self.backend)

    def __call__(self, events: Any, where: Any = None) -> Any:
        """Score the fat jets.

        Parameters
        ----------
        events : awkward array or dask-awkward collection
            NanoEvents or plain records with the collections of a known format; for models with a data configuration
            of weaver a table with one row a jet, or events that `jettagger.delphesfile.DelphesFile` has read.
        where : jagged bool array, optional
            Aligned with ``events.FatJet``, or with the rows of a table; only jets where it is True are scored.

        Returns
        -------
        awkward array or dask-awkward collection
            ``events * var * ?{output: float32, ...}`` aligned with ``events.FatJet``: None for jets not scored. For a
            table ``jets * ?{output: float32, ...}``.

        Raises
        ------
        MissingColumns
            If the events lack columns; nothing was read then.
        MismatchError
            If ``where`` has another shape, or if ``FatJet`` was filtered or re-ordered after reading.
        """
        if self._in_partitions(events):
            from jettagger.lazy import scores

            return scores(self, events, where)
        return self.run(events, where).scores

    def attach(
        self,
        events: Any,
        where: Any = None,
        prefix: str | None = None,
        columns: Iterable[str] = DEFAULT_COLUMNS,
        kinematics: Mapping[str, Any] | None = None,
    ) -> Any:
        """Score the fat jets and add the outputs as columns.

        Parameters
        ----------
        events : awkward array or dask-awkward collection
        where : jagged bool array, optional
            Only jets where it is True are scored; the others get None.
        prefix : str, optional
            Of the columns; default: that of the bundle.
        columns : iterable of str
            Kinds of outputs (``prob``, ``logit``, ``mass``, ``hidden``, ``other``, ``all``) and names of single ones.
            The columns of heads are always added.
        kinematics : mapping, optional
            ``pt``, ``eta``, ``phi`` or ``mass`` of the jets (GeV) after a variation, jagged like ``events.FatJet``;
            inputs that describe the jet are made with them. Not for dask-awkward collections.

        Returns
        -------
        awkward array or dask-awkward collection
            New events whose ``FatJet`` has ``<prefix>_<output>`` as float32 or None; the given events stay as they are.
            For a table, a new table with these columns. Models with a data configuration that has a selection add the
            bool column ``<prefix>_inDomain``, None where the input lacks what the selection needs.

        Raises
        ------
        MissingColumns, MismatchError
            As for the call; MismatchError also where a column of that name exists already.
        UnknownName
            If ``columns`` names what the model does not have.
        """
        names = self.column_names(columns, prefix)
        if self._in_partitions(events):
            from jettagger.lazy import attached

            if kinematics:
                raise MismatchError("kinematics= is not for dask-awkward collections: map over the partitions")
            return attached(self, events, where, names)
        if self.bundle.weaver is not None:
            return self._attach_flat(events, where, names, kinematics)
        return attach_scores(events, self.run(events, where, tuple(names), kinematics).scores, names)

    def _in_partitions(self, events: Any) -> bool:
        if _is_dask(events) and self.bundle.weaver is not None:
            raise MismatchError(
                f"{self.bundle.name!r} is described by a data configuration, which dask-awkward collections cannot be "
                "scored with: use dask_awkward.map_partitions(tagger.attach, ...), or eager and virtual arrays"
            )
        return _is_dask(events)

    def column_names(self, columns: Iterable[str] = DEFAULT_COLUMNS, prefix: str | None = None) -> dict[str, str]:
        """Which columns ``attach`` adds.

        Parameters
        ----------
        columns : iterable of str
        prefix : str, optional

        Returns
        -------
        dict of str to str
            Name of the output -> name of the column.

        Examples
        --------
        >>> load_tagger("tinyParT").column_names(["mass"], prefix="my")
        {'mass': 'my_mass'}
        """
        prefix = self.bundle.prefix if prefix is None else prefix
        if not prefix.isidentifier():
            raise MismatchError(f"a prefix of letters, digits and _ is required, got {prefix!r}")
        names = {output.name: f"{prefix}_{output.name}" for output in self.bundle.select(columns)}
        own = {column: column for head in self.heads for column in head.columns}
        taken = sorted(set(own) & {*names, *names.values()})
        if taken:
            raise MismatchError(f"the prefix {prefix!r} gives columns that a head has, too: {', '.join(taken)}")
        if names and self.bundle.weaver is not None and self.bundle.weaver.selection is not None:
            names[IN_DOMAIN] = f"{prefix}_{IN_DOMAIN}"
        return {**names, **own}

    def plan(self, events: Any) -> Plan:
        """What will be read from these events; see `check_columns`."""
        return check_columns(self.bundle, EventColumns(events), heads=self.heads)

    def run(
        self,
        events: Any,
        where: Any = None,
        names: tuple[str, ...] | None = None,
        kinematics: Mapping[str, Any] | None = None,
    ) -> Tagged:
        """Score the fat jets of an eager or virtual array, with a report.

        Parameters
        ----------
        events : awkward array
        where : jagged bool array, optional
        names : tuple of str, optional
            The outputs to return; default: all.
        kinematics : mapping, optional
            As for `attach`.

        Returns
        -------
        Tagged
        """
        if self.bundle.weaver is not None:
            return self._run_flat(self._select_flat(events, where, kinematics), self._chosen_outputs(names))
        columns = EventColumns(events)
        plan = check_columns(self.bundle, columns, heads=self.heads)
        request = make_request(columns, plan, where, kinematics)
        return self.arranged(self._kept_or_scored(request), request, names)

    def _kept_or_scored(self, request: Request) -> Scored:
        """What the model gives for a request, from the cache where it has that."""
        if self.cache is None:
            return self.score(link_jets([self.bundle], request))
        key = block_key(self.bundle, self.backend, request)
        kept = self.cache.get(key)
        if kept is not None:
            return _unpacked(kept)
        scored = self.score(link_jets([self.bundle], request))
        self.cache.put(key, _packed(scored))
        return scored

    def arranged(self, scored: Scored, request: Request, names: tuple[str, ...] | None = None) -> Tagged:
        """Scores of the jets of a request as jagged records, with those of the heads, which run here."""
        values = scored.values
        if self.heads:
            values = np.concatenate([values, *(self._apply(head, scored, request) for head in self.heads)], axis=1)
        counts = request.columns.counts(request.plan.format.jets)
        index = np.full(int(counts.sum()), -1, dtype=np.int64)
        index[scored.index] = np.arange(len(scored.index))
        scores = _jagged(values, index, counts, request.columns.valid, self._chosen_outputs(names))
        return Tagged(scores, scored.report)

    def _chosen_outputs(self, names: tuple[str, ...] | None) -> tuple[Output, ...]:
        """Outputs of the model and of the heads by name; None: all."""
        if names is None:
            return self.outputs
        own = {output.name: output for output in self.outputs[len(self.bundle.outputs) :]}
        return tuple(own[name] if name in own else self.bundle[name] for name in names if name != IN_DOMAIN)

    def _apply(self, head: Head, scored: Scored, request: Request) -> Array:
        """The outputs of a head for the jets that were scored."""
        collection = request.plan.format.jets
        moved = {f"{collection}_{name}": column for name, column in request.moved.items()}
        table = JetTable(request.columns, collection=collection, given=moved)
        source = {item.name: item.source for item in head.card.inputs}

        def get(name: str) -> Array:
            if source.get(name) == "tagger":
                return scored.values[:, self.bundle[name].index]
            return table.values(name)[scored.index]

        return head.compute(*head.gather(get), threads=self.threads, provider=self.provider)

    def _select_flat(self, events: Any, where: Any, kinematics: Mapping[str, Any] | None) -> FlatSelection:
        if kinematics:
            raise MismatchError("kinematics= is not for models with a data configuration: change the table's columns")
        return select_flat(self.bundle, events, where, self.jets, self.outside)

    def _run_flat(self, selection: FlatSelection, outputs: tuple[Output, ...]) -> Tagged:
        values, more = self._score(selection.jets)
        index = np.full(len(selection.table), -1, dtype=np.int64)
        index[selection.rows] = np.arange(len(selection.rows))
        counts = selection.table.counts
        scores = _jagged(values, index, counts, None, outputs)
        if self.bundle.weaver is not None and self.bundle.weaver.selection is not None:
            scores = with_domain(scores, selection.in_domain, selection.table.present, counts)
        return Tagged(scores, selection.report + more)

    def _attach_flat(
        self, events: Any, where: Any, names: Mapping[str, str], kinematics: Mapping[str, Any] | None
    ) -> Any:
        import awkward as ak

        selection = self._select_flat(events, where, kinematics)
        outputs = tuple(self.bundle[name] for name in names if name != IN_DOMAIN)
        scores = self._run_flat(selection, outputs).scores
        table = selection.table
        owner = events[table.collection] if table.collection else events
        refuse_existing(owner.fields, names, table.collection or "the table")
        flat = scores if table.counts is None else ak.flatten(scores, axis=1)
        new = {column: ak.to_layout(flat[output]) for output, column in names.items()}
        if table.counts is None:
            return with_fields(events, new)
        return with_fields(events, {table.collection: ak.to_layout(with_list_fields(owner, table.counts, new))})

    def score(self, selection: Selection, features: dict[str, Array] | None = None) -> Scored:
        """Run the network on jets that are linked.

        Parameters
        ----------
        selection : Selection
        features : dict, optional
            Features by name; those that are there are used, new ones are added.

        Returns
        -------
        Scored
        """
        values, more = self._score(selection.jets, features)
        return Scored(values, selection.jets.index, selection.report + more)

    def _score(self, jets: Objects, features: dict[str, Array] | None = None) -> tuple[Array, Report]:
        bundle = self.bundle
        values = np.empty((len(jets), len(bundle.outputs)), dtype=np.float32)
        if not len(jets):
            return values, Report()
        tables = tabulate(bundle.groups, jets, bundle.card.nonfinite, features)
        slots = filled = 0
        seconds = 0.0
        size = bundle.fixed_batch or self.batch_size
        cost = COST if self.provider in (None, "cpu") else replace(COST, cells=np.inf)  # a GPU wants large batches
        session = self.session
        for batch in make_batches(tables, batch_size=size, pad_mode=bundle.card.pad_mode, cost=cost):
            start = time.perf_counter()
            values[batch.jets] = evaluate(bundle, session, batch.inputs)
            seconds += time.perf_counter() - start
            slots += batch.slots
            filled += batch.filled
        truncated = np.zeros(len(jets), dtype=bool)
        for group in bundle.groups:
            if group.object != "sv":
                truncated |= jets.counts(group.object) > group.max_length
        return values, Report(
            scored=len(jets),
            truncated=int(np.count_nonzero(truncated)),
            recovered_vertices=_recovered(jets) if isinstance(jets, Jets) else 0,
            dangling_links=sum(jets.dropped.values()) if isinstance(jets, Jets) else 0,
            replaced_values=sum(table.replaced for table in tables),
            nonfinite_jets=int(np.count_nonzero(~np.isfinite(values).all(axis=1))),
            slots=slots,
            filled=filled,
            seconds=seconds,
        )


class Selection(NamedTuple):
    """The jets of a chunk that can be scored, and what became of the others."""

    jets: Jets
    report: Report


@dataclass(frozen=True)
class Scored:
    """All outputs of the scored jets, float32[n, outputs], and which of all jets these are, int64[n]."""

    values: Array
    index: Array
    report: Report


class Request(NamedTuple):
    """A chunk of events, which columns are needed, and which jets were asked for."""

    columns: EventColumns
    plan: Plan
    chosen: Array
    not_selected: int
    absent: int
    moved: dict[str, Array]


def make_request(columns: EventColumns, plan: Plan, where: Any, kinematics: Mapping[str, Any] | None) -> Request:
    """Which jets are asked for; reads ``where`` and what the jets' collection holds of it only."""
    name = plan.format.jets
    chosen, not_selected, absent = _chosen(columns, name, where)
    moved = {key: _moved(columns, name, key, values) for key, values in (kinematics or {}).items()}
    return Request(columns, plan, chosen, not_selected, absent, moved)


def select_jets(
    bundle: Bundle,
    events: Any,
    where: Any = None,
    kinematics: Mapping[str, Any] | None = None,
    heads: Iterable[Head] = (),
) -> Selection:
    """Link the constituents of the jets that pass a mask and have some.

    Parameters
    ----------
    bundle : Bundle
        Whose inputs are wanted.
    events : awkward array
    where : jagged bool array, optional
    kinematics : mapping, optional
        As for `Tagger.attach`.
    heads : iterable of Head
        Whose columns must be there, too.

    Returns
    -------
    Selection

    Raises
    ------
    MissingColumns, MismatchError
        As for `Tagger.__call__`.
    """
    columns = EventColumns(events)
    plan = check_columns(bundle, columns, heads=heads)
    return link_jets([bundle], make_request(columns, plan, where, kinematics))


def link_jets(bundles: Sequence[Bundle], request: Request) -> Selection:
    """Link the constituents of the jets of a request; jets without any are left out."""
    columns, plan, chosen, not_selected, absent, moved = request
    jets = load(columns, plan, np.flatnonzero(chosen), moved)
    filled = np.ones(len(jets), dtype=bool)
    if any(plan.format.parent(group.object) == "pf" for bundle in bundles for group in bundle.groups):
        filled = jets.counts("pf") > 0
    empty = int(np.count_nonzero(~filled))
    if empty:
        jets = load(columns, plan, jets.index[filled], moved)
    return Selection(
        jets,
        Report(
            events=len(columns),
            jets=len(chosen),
            not_selected=not_selected,
            absent=absent,
            without_constituents=empty,
        ),
    )


#: bytes of scores that are kept in the user's cache folder
SCORE_LIMIT = 5_000_000_000


def open_score_cache(cache: bool | str | os.PathLike[str] | DiskCache | tuple[str, int] | None) -> DiskCache | None:
    """The cache that a tagger was asked to use."""
    if cache is None or cache is False:
        return None
    if isinstance(cache, DiskCache):
        return cache
    if isinstance(cache, tuple):
        return DiskCache(*cache)
    if cache is not True:
        return DiskCache(cache, SCORE_LIMIT)
    folder = cache_folder()
    return None if folder is None else DiskCache(folder / "scores", SCORE_LIMIT)


def block_key(bundle: Bundle, backend: str, request: Request) -> str:
    """A name for what comes out: the model, and the content of all that goes in.

    Events carry no name that identifies a slice of them, so the columns themselves are hashed, before they are linked.
    """
    digest = hashlib.sha256(f"scores {__version__} {bundle.digest} {backend}".encode())

    def add(name: str, values: Array) -> None:
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)

    columns = request.columns
    stored = replace(request.plan, more=()).columns  # what heads read does not change what the model gives
    for collection in sorted({split(column)[0] for column in stored}):
        add(collection, columns.counts(collection))
    for column in stored:
        add(column, columns.flat(column))
    add("chosen", request.chosen)
    add("valid", columns.valid)
    for name, values in sorted(request.moved.items()):
        add(f"moved {name}", values)
    add("counts", np.array([request.not_selected, request.absent]))
    return digest.hexdigest()


def _packed(scored: Scored) -> dict[str, Array]:
    report = {item.name: getattr(scored.report, item.name) for item in fields(Report)}
    return {"values": scored.values, "index": scored.index, "report": np.array(json.dumps(report))}


def _unpacked(kept: Mapping[str, Array]) -> Scored:
    report = Report(**json.loads(str(kept["report"])))
    return Scored(kept["values"], kept["index"], replace(report, cached=report.scored, seconds=0.0))


def make_inputs(
    bundle: Bundle, events: Any, where: Any = None, *, batch_size: int = BATCH_SIZE, collection: str | None = None
) -> Iterator[Batch]:
    """The input tensors of a model, e.g. for training or for comparisons; needs no weights.

    Parameters
    ----------
    bundle : Bundle
    events : awkward array
        In memory or virtual.
    where : jagged bool array, optional
        Only these jets.
    batch_size : int
        Jets in a batch at most.
    collection : str, optional
        The jets, where events have several collections that a data configuration can be applied to.

    Yields
    ------
    Batch
        ``jets`` are positions in the flat collection of all jets, ``inputs`` float32[jets, variables, length];
        jets without constituents are in no batch.

    Examples
    --------
    >>> from jettagger.testing import make_events
    >>> batch = next(make_inputs(load_bundle("inclParTMDV1"), make_events(3, seed=1)))
    >>> batch.inputs["pf_features"].shape[1]
    25
    """
    jets: Objects
    if bundle.weaver is not None:
        chosen = select_flat(bundle, events, where, collection)
        jets, index = chosen.jets, chosen.rows
    elif collection is not None:
        raise MismatchError(f"jets= is for models with a data configuration, not {bundle.name!r}")
    else:
        jets = select_jets(bundle, events, where).jets
        index = jets.index
    if not len(jets):
        return
    tables = tabulate(bundle.groups, jets, bundle.card.nonfinite)
    for batch in make_batches(tables, batch_size=batch_size, pad_mode=bundle.card.pad_mode):
        yield replace(batch, jets=index[batch.jets])


def attach_scores(events: Any, scores: Any, names: Mapping[str, str]) -> Any:
    """Add outputs to the fat jets of events as columns.

    Parameters
    ----------
    events : awkward array
        In memory or virtual.
    scores : awkward array
        From `Tagger.run` on the same events.
    names : mapping of str to str
        Output -> column.

    Returns
    -------
    awkward array
    """
    import awkward as ak

    columns = EventColumns(events)
    name = detect(columns.collections).jets
    refuse_existing(columns.fields(name), names, name)
    layout = ak.to_layout(scores)
    lists = (layout.project() if layout.is_option else layout).to_ListOffsetArray64(True)
    content = lists.content[: int(lists.offsets[-1])]
    index, records = content.index, content.content
    new = {column: ak.contents.IndexedOptionArray(index, records.content(output)) for output, column in names.items()}
    fatjets = with_list_fields(columns.events[name], columns.counts(name), new)
    if not columns.valid.all():
        fatjets = ak.drop_none(fatjets, axis=0)
        full = np.where(columns.valid, np.cumsum(columns.valid) - 1, -1)
        jets = ak.contents.IndexedOptionArray(ak.index.Index64(full), ak.to_layout(fatjets))
        return with_fields(events, {name: jets})
    return with_fields(events, {name: ak.to_layout(fatjets)})


def refuse_existing(fields: Iterable[str], names: Mapping[str, str], collection: str) -> None:
    """Raise where a column exists already.

    Parameters
    ----------
    fields : iterable of str
        Those of the collection.
    names : mapping of str to str
        Output -> column.
    collection : str

    Raises
    ------
    MismatchError
    """
    taken = sorted(set(fields) & set(names.values()))
    if taken:
        raise MismatchError(
            f"{collection} has {len(taken)} of these columns already ({', '.join(taken[:3])}, ...): "
            "give another prefix=, or tag the events as they were read"
        )


def _is_dask(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "dask_awkward"


def _chosen(columns: EventColumns, name: str, where: Any) -> tuple[Array, int, int]:
    """Which jets to score; how many were left out by ``where``; how many are None."""
    present = columns.present(name)
    absent = int(np.count_nonzero(~present))
    if where is None:
        return present, 0, absent
    selected = _mask(columns, name, where)
    return present & selected, int(np.count_nonzero(present & ~selected)), absent


def _mask(columns: EventColumns, name: str, where: Any) -> Array:
    import awkward as ak

    expected = f"a jagged bool array aligned with events.{name} ({len(columns)} events)"
    if not isinstance(where, ak.Array):
        raise MismatchError(f"where is a {type(where).__name__}, expected {expected}")
    if len(where) != len(columns):
        raise MismatchError(f"where has {len(where)} events, expected {expected}")
    if not columns.valid.all():
        where = where[columns.valid]
    try:
        where = ak.fill_none(where, [], axis=0)
        where = ak.fill_none(where, False, axis=1)
        counts = ak.to_numpy(ak.num(where, axis=1))
        flat = ak.to_numpy(ak.flatten(where, axis=1))
    except (ValueError, TypeError) as error:
        raise MismatchError(f"where has the type {where.type}, expected {expected}") from error
    if flat.dtype != np.bool_ and len(flat):
        raise MismatchError(f"where holds {flat.dtype}, expected {expected}")
    wanted = columns.counts(name)[columns.valid]
    differing = np.flatnonzero(counts != wanted)
    if len(differing):
        first = int(differing[0])
        event = int(np.flatnonzero(columns.valid)[first])
        raise MismatchError(
            f"where has {counts[first]} entries in event {event} where events.{name} has {wanted[first]} jets "
            f"({len(differing)} events differ), expected {expected}"
        )
    return flat.astype(bool)


def _moved(columns: EventColumns, name: str, key: str, values: Any) -> Array:
    """One column of the jets after a variation, flat over all jets."""
    import awkward as ak

    counts = ak.to_numpy(ak.fill_none(ak.num(values, axis=1), 0))
    if not np.array_equal(counts, columns.counts(name)):
        raise MismatchError(f"the kinematics {key!r} are not aligned with events.{name}")
    flat = ak.fill_none(ak.flatten(values, axis=1), np.nan)
    return np.asarray(ak.to_numpy(flat), dtype=np.float32)


def _recovered(jets: Jets) -> int:
    return int(np.count_nonzero(jets.rows("sv").target < 0)) if "sv" in jets.plan.objects else 0


def with_domain(scores: Any, in_domain: Array | None, present: Array, counts: Array | None) -> Any:
    """Scores with the flag that tells whether a jet passes the training selection.

    Parameters
    ----------
    scores : awkward array
        ``jets * ?{...}``, or ``events * var * ?{...}`` with ``counts``.
    in_domain : bool[jets] or None
        None where the input lacks what the selection needs.
    present : bool[jets]
        Jets that are there.
    counts : int64[events] or None

    Returns
    -------
    awkward array
        With the field ``inDomain``, also for jets that were not scored.
    """
    import awkward as ak

    known = present if in_domain is not None else np.zeros(len(present), dtype=bool)
    content = np.zeros(len(present), dtype=bool) if in_domain is None else in_domain
    flag = ak.contents.ByteMaskedArray(ak.index.Index8(known.astype(np.int8)), ak.contents.NumpyArray(content), True)
    flat = scores if counts is None else ak.flatten(scores, axis=1)
    columns = {name: flat[name] for name in flat.fields} | {IN_DOMAIN: ak.Array(flag.to_IndexedOptionArray64())}
    result = ak.zip(columns, depth_limit=1)
    return result if counts is None else ak.unflatten(result, counts)


def _jagged(
    values: Array, index: Array, counts: Array | None, valid: Array | None, outputs: tuple[Output, ...]
) -> ak.Array:
    import awkward as ak

    by_column = np.asfortranarray(values)
    records = ak.contents.RecordArray(
        [ak.contents.NumpyArray(by_column[:, output.index]) for output in outputs],
        [output.name for output in outputs],
        length=len(values),
    )
    jets = ak.contents.IndexedOptionArray(ak.index.Index64(index), records)
    if counts is None:
        return ak.Array(jets)
    offsets = np.concatenate([[0], np.cumsum(counts if valid is None else counts[valid])]).astype(np.int64)
    lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), jets)
    if valid is not None and not valid.all():
        events = np.where(valid, np.cumsum(valid) - 1, -1).astype(np.int64)
        lists = ak.contents.IndexedOptionArray(ak.index.Index64(events), lists)
    return ak.Array(lists)


def _find(folder: str, digest: str) -> Bundle:
    """The bundle of a tagger that came from another process."""
    try:
        bundle = load_bundle(shipped(digest) or Path(folder))
    except BundleNotFound as error:
        raise BundleNotFound(
            f"there is no model at {folder} here, and none was sent to this worker: jettagger.dask.install(client, "
            f"tagger) sends a model to all workers of a dask cluster ({error})"
        ) from error
    if bundle.digest != digest:
        raise BundleError(f"the bundle in {bundle.folder} is not the one that was sent: its content has changed")
    return bundle


def _find_head(folder: str, digest: str) -> Head:
    """A head of a tagger that came from another process."""
    try:
        head = load_head(shipped(digest) or Path(folder))
    except MissingModelFile as error:
        raise MissingModelFile(
            f"there is no head at {folder} here, and none was sent to this worker: jettagger.dask.install(client, "
            f"tagger) sends a model with its heads to all workers of a dask cluster ({error})"
        ) from error
    if head.digest != digest:
        raise BundleError(f"the head in {head.folder} is not the one that was sent: its content has changed")
    return head


def _restore(folder: str, digest: str, options: dict[str, Any]) -> Tagger:
    tagger = Tagger.__new__(Tagger)
    tagger._origin = (folder, digest)
    tagger._head_origins = options["heads"]
    tagger.threads = options["threads"]
    tagger.provider = options["provider"]
    tagger.batch_size = options["batch_size"]
    tagger.backend = options["backend"]
    tagger.jets = options["jets"]
    tagger.outside = options["outside"]
    tagger.cache = open_score_cache(options["cache"])
    tagger._session = None
    tagger._bundle = None
    tagger._heads = None
    # dask's scheduler unpickles what it passes on, and need not have the model: who uses the tagger must
    with suppress(BundleNotFound, MissingModelFile):
        tagger._bundle = _find(*tagger._origin)
        tagger._heads = tuple(_find_head(*origin) for origin in tagger._head_origins)
    return tagger


def load_tagger(
    name_or_folder: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    provider: str | None = None,
    backend: str = "fast",
    cache: bool | str | os.PathLike[str] | DiskCache | None = None,
    *,
    jets: str | None = None,
    outside: Outside = "score",
) -> Tagger:
    """A tagger from the name of a model or from its folder.

    Parameters
    ----------
    name_or_folder : str or path, optional
        A name that ``jettagger models list`` shows, or a folder with ``model.onnx`` and an input description. No
        model is taken silently: without a name the error lists what is there and says what comes with the package.
    threads : int, optional
        Threads of the network; default: 1 in a worker, all usable cores in a plain process.
    provider : str, optional
        Execution provider, e.g. ``cuda``; default: the CPU.
    backend : {"fast", "onnxruntime", "openvino"}
        What runs the network, see `Tagger`.
    cache : bool, path or DiskCache, optional
        Where scores are kept, see `Tagger`; default: nowhere.
    jets, outside
        As for `Tagger`, for models with a data configuration of weaver.

    Returns
    -------
    Tagger

    Raises
    ------
    BundleNotFound
        If no model was named, or there is none of that name; lists those that there are.
    BundleError
        If the folder is not usable.
    MissingModelFile
        If the weights are missing; says where to put them.

    Examples
    --------
    >>> load_tagger("tinyParT").bundle["probHbb"].kind
    'prob'
    """
    if name_or_folder is None:
        raise BundleNotFound(f"load_tagger() needs the name of a model or its folder. There are:\n{choice()}")
    bundle = load_bundle(name_or_folder)
    return Tagger(bundle, threads=threads, provider=provider, backend=backend, cache=cache, jets=jets, outside=outside)
