"""The tagger: scores for the jets of eager, virtual and dask-awkward arrays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.card import Kind
from jettagger.bundles.outputs import Output
from jettagger.bundles.places import shipped
from jettagger.bundles.registry import choice, load_bundle
from jettagger.bundles.stored_scores import open_score_cache
from jettagger.display import Displayed, ObjectSummary, briefly
from jettagger.errors import BundleError, BundleNotFound, ConfigError, MismatchError, MissingModelFile
from jettagger.expressions.cutlogic import warn_doubt
from jettagger.formats import EventColumns
from jettagger.heads import Head, load_head
from jettagger.inference.acceleration import cost_of, open_session, proven
from jettagger.inference.network import PROB_TOLERANCE
from jettagger.inference.padding import as_run
from jettagger.inference.pending import Pending
from jettagger.inputs.batching import IMAGE_BYTES, Objects, make_batches, tabulate
from jettagger.inputs.group_rows import Entering, entering
from jettagger.inputs.image_values import ImageValues
from jettagger.inputs.selection import Selection
from jettagger.inputs.source import ColumnPlan, Request, Source, source_of
from jettagger.inputs.standard_columns import standard_columns
from jettagger.report import Report, warn_partial
from jettagger.sessions import Session
from jettagger.sessions.providers import Provider
from jettagger.tagging.options import OptionKeywords, TaggerOptions, with_keywords
from jettagger.tagging.score_cache import block_key, packed, unpacked
from jettagger.tagging.scores import Scored, jagged, joined, with_flags
from jettagger.types import Array

if TYPE_CHECKING:
    import awkward as ak
    from typing_extensions import Unpack

__all__ = ["DEFAULT_COLUMNS", "Tagged", "Tagger", "load_tagger"]

Sent = TypeVar("Sent", Bundle, Head)

#: kinds of outputs that become columns by default
DEFAULT_COLUMNS = ("prob", "mass", "regression", "hidden")


@briefly
class Tagged(NamedTuple):
    """Scores of a chunk of events, and the report.

    Parameters
    ----------
    scores : awkward array
        ``events * var * ?{output: float32, ...}``.
    report : Report
    """

    scores: ak.Array
    report: Report


class Tagger(Displayed):
    """Applies one model to the jets of events.

    A tagger is a value: it can be passed to processors and workers, and its pickle contains only a path and a checksum.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    options : TaggerOptions, optional
        Options of the tagger.
    session : Session, optional
        Replaces the ONNX Runtime session, once it is proven to give the same numbers; such a tagger cannot be pickled.
        A `jettagger.sessions.ReplaySession` is a stand-in for tests and is not compared.
    **keywords
        Fields of `TaggerOptions`, overriding those of ``options``.

    Attributes
    ----------
    options : TaggerOptions
        With plain values: heads as their folders, a cache as its folder and its limit in bytes.
    cache : DiskCache or None

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    MismatchError
        If a head belongs to another model, if two have the same name, or if an option does not apply to the model.
    ConfigError, UnknownName
        If an option does not exist or has an invalid value.

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
        options: TaggerOptions | None = None,
        *,
        session: Session | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> None:
        options = with_keywords(options, keywords, "Tagger()")
        if session is None:
            bundle.require_weights()
        heads = tuple(head if isinstance(head, Head) else load_head(head) for head in options.heads)
        for head in heads:
            head.check_parent(bundle)
        of_heads = [head.name for head in heads]
        if len(set(of_heads)) != len(of_heads):
            raise MismatchError(f"two heads have the same name, and so the same columns: {', '.join(sorted(of_heads))}")
        self._bundle: Bundle | None = bundle
        self._origin = (str(bundle.folder), bundle.digest)
        self._heads: tuple[Head, ...] | None = heads
        self._head_origins = tuple((str(head.folder), head.digest) for head in heads)
        self.cache = open_score_cache(options.cache)
        kept = None if self.cache is None else (str(self.cache.folder), self.cache.limit)
        self.options = replace(options, heads=tuple(folder for folder, _ in self._head_origins), cache=kept)
        self._session = session
        self._session_proven = False
        self._source: Source | None = source_of(bundle, **self._of_inputs)

    @property
    def bundle(self) -> Bundle:
        """The description of the model.

        Raises
        ------
        BundleNotFound
            If the tagger comes from another process and its model is not available here.
        BundleError
            If the model here has another content.
        """
        if self._bundle is None:
            self._bundle = _sent_model(*self._origin)
        return self._bundle

    @property
    def _of_inputs(self) -> dict[str, Any]:
        return {name: getattr(self.options, name) for name in ("jets", "names", "outside", "min_pt_share")}

    @property
    def source(self) -> Source:
        """The source of the model's inputs in events or tables."""
        if self._source is None:
            self._source = source_of(self.bundle, **self._of_inputs)
        return self._source

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that run on the outputs.

        Raises
        ------
        MissingModelFile
            If the tagger comes from another process and a head is not available here.
        BundleError
            If a head here has another content.
        """
        if self._heads is None:
            self._heads = tuple(_sent_head(*origin) for origin in self._head_origins)
        return self._heads

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file that the model and its heads are read from."""
        return (*self.bundle.sources, *(path for head in self.heads for path in head.sources))

    def __repr__(self) -> str:
        heads = f" with {', '.join(head.name for head in self.heads)}" if self.heads else ""
        return f"Tagger({self.bundle.name!r}{heads}, {len(self.outputs)} outputs, from {self.bundle.folder})"

    def summary(self) -> ObjectSummary:
        """Model, options, inputs and outputs, for display; no session is opened."""
        from jettagger.tagging.summary import tagger_summary

        return tagger_summary(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._session is not None:
            raise TypeError("a tagger with a session of its own cannot be pickled; load it by name or folder")
        return (_restore, (*self._origin, self._head_origins, self.options.given))

    @property
    def state(self) -> dict[str, Any]:
        """What scores depend on apart from the events, for JSON: digests of model and heads, options."""
        own = {item.name: getattr(self.options, item.name) for item in fields(self.options) if item.name != "cache"}
        return {**own, "model": self._origin[1], "heads": [digest for _, digest in self._head_origins]}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        heads = (digest for _, digest in self._head_origins)
        chosen = self.options
        names = tuple(sorted((chosen.names or {}).items()))
        options = (chosen.jets, chosen.outside, chosen.min_pt_share, names, chosen.precision)
        return ("jettagger.Tagger", self._origin[1], *options, *heads)

    def with_heads(self, *heads: Head | str | os.PathLike[str]) -> Tagger:
        """A tagger that also runs heads, in the same pass.

        Parameters
        ----------
        *heads : Head or path
            Heads that were trained on this model.

        Returns
        -------
        Tagger
            Its scores contain ``<head>_<output>`` for each output of a head, and ``attach`` adds columns of that name.
            They are NaN if an input column of the head is missing for a jet or its event.

        Raises
        ------
        MismatchError
            If a head was trained on another model, or if two have the same name.
        BundleError
            If the folder of a head is damaged.
        """
        return Tagger(self.bundle, self.options, session=self._session, heads=(*self.heads, *heads))

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
        """The session in this process, opened and proven on first use."""
        if self._session is not None:
            if not self._session_proven:
                proven(self.bundle, self._session, self.options.threads)
                self._session_proven = True
            return self._session
        options = self.options
        remote = options.server(self.bundle.name)
        return open_session(self.bundle, options.threads, options.provider, options.backend, remote, options.precision)

    @property
    def _runs_in(self) -> str:
        options = self.options
        if options.remote:
            return "remote"
        provider = Provider.of(options.provider)
        parts = [options.backend, *([] if provider.on_cpu else [f"{provider}"])]
        return " ".join([*parts, *([] if options.precision == "float32" else [options.precision])])

    def __call__(self, events: Any, where: Any = None) -> Any:
        """Score the jets of the model.

        Parameters
        ----------
        events : awkward array or dask-awkward collection
            NanoEvents or plain records with the collections of a known format; for models with a data configuration of
            weaver a table with one row per jet, or events read with `jettagger.files.delphes.DelphesFile`.
        where : str or jagged bool array, optional
            A cut in columns of the jets (``"pt > 300"``, GeV), or a mask aligned with ``events.FatJet`` (or the other
            jets of the model), or with the rows of a table; only selected jets are scored.

        Returns
        -------
        awkward array or dask-awkward collection
            ``events * var * ?{output: float32, ...}`` aligned with the jets: None for jets that were not scored. For a
            table ``jets * ?{output: float32, ...}``.

        Raises
        ------
        MissingColumns
            If the events lack columns; nothing has been read in this case.
        UnknownName, ConfigError
            If ``where`` is a text that contains unknown columns, or is not a cut.
        MismatchError
            If ``where`` has another shape, or if a collection was filtered, reordered or replaced after reading, so
            that links refer to other objects.

        Warns
        -----
        PartialJetsWarning
            If jets are not scored because some of their constituents are missing; see ``min_pt_share``.
        CutWarning
            If ``where`` is a text that is never or always true.
        """
        warn_doubt(where)
        if _is_dask(events):
            from jettagger.tagging.dask_awkward import scores

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
        """Score the jets of the model and add the outputs as columns.

        Parameters
        ----------
        events : awkward array or dask-awkward collection
        where : str or jagged bool array, optional
            As for the call: only selected jets are scored; the others get None.
        prefix : str, optional
            Prefix of the columns; default: that of the bundle.
        columns : iterable of str
            Kinds of outputs (``prob``, ``logit``, ``mass``, ``regression``, ``hidden``, ``other``, ``all``) and names
            of outputs. The columns of heads are always added.
        kinematics : mapping, optional
            ``pt``, ``eta``, ``phi`` or ``mass`` of the jets (GeV) after a variation, jagged like ``events.FatJet``;
            jet-level inputs are computed from them. For a table one number per jet; columns that it stores relative to
            the jet (``part_deta``) are kept.

        Returns
        -------
        awkward array or dask-awkward collection
            New events whose ``FatJet`` (or the other jets of the model) has ``<prefix>_<output>`` as float32 or None;
            the given events are not modified. For a table, a new table with these columns. Models with a data
            configuration that has a selection add the bool column ``<prefix>_inDomain``, None if the input lacks
            columns of the selection.

        Raises
        ------
        MissingColumns, MismatchError
            As for the call; MismatchError also if a column of that name exists already.
        ConfigError
            If ``columns`` selects none of the model's outputs.
        UnknownName
            If ``columns`` contains names that are not outputs of the model.

        Warns
        -----
        PartialJetsWarning, CutWarning
            As for the call.
        """
        warn_doubt(where)
        names = self.column_names(columns, prefix)
        if _is_dask(events):
            from jettagger.tagging.dask_awkward import attached

            return attached(self, events, where, names, kinematics)
        request = self.request(events, where, kinematics)
        return request.put_back(events, self.answer(request, tuple(names)).scores, names)

    def column_names(self, columns: Iterable[str] = DEFAULT_COLUMNS, prefix: str | None = None) -> dict[str, str]:
        """The columns that ``attach`` adds.

        Parameters
        ----------
        columns : iterable of str
        prefix : str, optional

        Returns
        -------
        dict of str to str
            Name of the output -> name of the column.

        Raises
        ------
        ConfigError
            If nothing is selected.
        MismatchError
            If a head has a column of the same name.
        UnknownName
            If ``columns`` contains names that are not outputs of the model.

        Examples
        --------
        >>> load_tagger("tinyParT").column_names(["mass"], prefix="my")
        {'mass': 'my_mass'}
        """
        prefix = self.bundle.prefix if prefix is None else prefix
        if not prefix.isidentifier():
            raise MismatchError(f"a prefix of letters, digits and _ is required, got {prefix!r}")
        columns = [columns] if isinstance(columns, str) else list(columns)
        names = {output.name: f"{prefix}_{output.name}" for output in self.bundle.select(columns)}
        if not names and not self.heads:
            raise ConfigError(
                f"columns={columns!r} selects no output of {self.bundle.name!r}: nothing would be written. It gives "
                f"{self.bundle.kinds()}. Name kinds or outputs, e.g. columns=['all']; kinds are declared in bundle.json"
            )
        own = {column: column for head in self.heads for column in head.columns}
        taken = sorted(set(own) & {*names, *names.values()})
        if taken:
            raise MismatchError(f"the prefix {prefix!r} gives columns that a head also gives: {', '.join(taken)}")
        if names:
            names |= {flag: f"{prefix}_{flag}" for flag in self.source.flags}
        return {**names, **own}

    def changed_by(self, columns: Iterable[str], collection: str = "FatJet") -> tuple[str, ...]:
        """The inputs of the model and its heads that depend on given columns of the jets.

        Parameters
        ----------
        columns : iterable of str
            Their names in NanoAOD, without the collection: ``pt``, ``msoftdrop``.
        collection : str
            The jets.

        Returns
        -------
        tuple of str
            Names of input variables; empty if the scores stay what they are.

        Examples
        --------
        >>> tagger = load_tagger("tinyParT")
        >>> tagger.changed_by(["pt", "mass", "msoftdrop"]), "pfcand_etarel" in tagger.changed_by(["eta"])
        ((), True)
        """
        columns = tuple(columns)
        of_heads = (name for head in self.heads for name in head.changed_by(columns, collection))
        return tuple(dict.fromkeys([*self.source.changed_by(columns), *of_heads]))

    def columns(self, flavour: str | os.PathLike[str] = "pfnano") -> tuple[str, ...]:
        """The columns that model and heads read from files of a production, without such a file.

        Frameworks that read declared columns alone need them in advance. For a file at hand, see `check`.

        Parameters
        ----------
        flavour : str or path
            ``"pfnano"``, another flavour of the package, e.g. ``"btvnano"``, or a YAML file that declares one.

        Returns
        -------
        tuple of str
            ``"Collection.field"``.

        Raises
        ------
        MissingColumns
            If model or heads need more than PFNano has, such as columns with names of a user.
        UnknownName
            If there is no such flavour; gives the nearest names.
        InputFileError, ConfigError
            If the file does not exist or is not valid.

        Examples
        --------
        >>> load_tagger("tinyParT").columns()[:2], load_tagger("tinyParT").columns("pfnano-106x")[-1]
        (('FatJet.eta', 'FatJet.mass'), 'SV.phi')
        """
        return standard_columns(self.bundle, flavour, self.heads)

    def plan(self, events: Any) -> ColumnPlan:
        """The columns that will be read from these events or this table; see `check_columns`."""
        return self.check(EventColumns(events))

    def check(self, offer: Any, source: str = "these events") -> Any:
        """Compare the columns that model and heads need with those of events or an open file; see `check_columns`."""
        return self.source.check(offer, source, self.heads)

    def request(self, events: Any, where: Any = None, kinematics: Mapping[str, Any] | None = None) -> Request:
        """The jets of an eager or virtual array to be scored; see `jettagger.inputs.source.Source.request`."""
        return self.source.request(events, where, kinematics, self.heads)

    def run(
        self,
        events: Any,
        where: Any = None,
        names: tuple[str, ...] | None = None,
        kinematics: Mapping[str, Any] | None = None,
    ) -> Tagged:
        """Score the jets of an eager or virtual array, with a report.

        Parameters
        ----------
        events : awkward array
        where : str or jagged bool array, optional
        names : tuple of str, optional
            The outputs to return; default: all.
        kinematics : mapping, optional
            As for `attach`.

        Returns
        -------
        Tagged
        """
        return self.answer(self.request(events, where, kinematics), names)

    def answer(self, request: Request, names: tuple[str, ...] | None = None) -> Tagged:
        """The scores of the jets of a request, from the cache or from the network.

        Parameters
        ----------
        request : Request
        names : tuple of str, optional
            The outputs to return; default: all.

        Returns
        -------
        Tagged
        """
        scored = self.cached(request)
        if scored is None:
            (scored,) = score_together([self], request)
            self.store(request, scored)
        return self.assembled(scored, request, names)

    def cached(self, request: Request) -> Scored | None:
        """The cached scores of a request; None if there are none, or no cache."""
        found = None if self.cache is None else self.cache.get(block_key(self.bundle, self._runs_in, request))
        return None if found is None else unpacked(found)

    def store(self, request: Request, scored: Scored) -> None:
        """Store the scores of a request in the cache, if there is one."""
        if self.cache is not None:
            self.cache.put(block_key(self.bundle, self._runs_in, request), packed(scored))

    def assembled(self, scored: Scored, request: Request, names: tuple[str, ...] | None = None) -> Tagged:
        """Scores of the jets of a request as records, including those of the heads, which run here."""
        values = scored.values
        if self.heads:
            values = np.concatenate([values, *(self._apply(head, scored, request) for head in self.heads)], axis=1)
        index = np.full(request.report.jets, -1, dtype=np.int64)
        index[scored.index] = np.arange(len(scored.index))
        scores = jagged(values, index, request.counts, request.valid, self._chosen_outputs(names))
        if request.flags:
            scores = with_flags(scores, request.flags, request.present, request.counts, request.valid)
        self._warn(scored.partial, request.counts, request.plan.collection)
        return Tagged(scores, scored.report)

    def _warn(self, partial: Array, counts: Array | None, collection: str) -> None:
        """Warn about jets with missing constituents; ``counts`` are the numbers of jets per event."""
        if len(partial):
            ends = np.cumsum([len(partial)] if counts is None else counts)
            event = int(np.searchsorted(ends, partial[0], side="right"))
            jet = int(partial[0] - (ends[event - 1] if event else 0))
            place = f"the first is jet {jet} of {collection} in event {event} of this chunk"
            warn_partial(len(partial), int(ends[-1]), place, self.options.min_pt_share)

    def _chosen_outputs(self, names: tuple[str, ...] | None) -> tuple[Output, ...]:
        """Outputs of the model and of the heads by name; None: all."""
        if names is None:
            return self.outputs
        own = {output.name: output for output in self.outputs[len(self.bundle.outputs) :]}
        return tuple(own[name] if name in own else self.bundle[name] for name in names if name not in self.source.flags)

    def _apply(self, head: Head, scored: Scored, request: Request) -> Array:
        """The outputs of a head for the scored jets."""
        source = {item.name: item.source for item in head.card.inputs}

        def get(name: str) -> Array:
            if source.get(name) == "tagger":
                return scored.values[:, self.bundle[name].index]
            return request.values(name)[scored.index]

        return head.compute(*head.gather(get), threads=self.options.threads)

    def begin(self, selection: Selection, features: dict[str, Array] | None = None) -> Underway:
        """Send linked jets to the network; a GPU or a server may work on them while others are linked.

        Parameters
        ----------
        selection : Selection
        features : dict, optional
            Features by name, float32[objects]; existing ones are used, new ones are added.

        Returns
        -------
        Underway
        """
        inside = entering(self.bundle, selection.jets, features)
        pending, more = self._sent(selection.jets, inside, features)
        return Underway(
            pending, len(self.bundle.outputs), selection.index[inside.jets], selection.report + more, selection.partial
        )

    def _sent(
        self, jets: Objects, inside: Entering, features: dict[str, Array] | None = None
    ) -> tuple[Pending | None, Report]:
        bundle = as_run(self.bundle)
        n_jets = int(np.count_nonzero(inside.jets))
        if not n_jets:
            return None, inside.report
        tables = tabulate(bundle.groups, jets, bundle.card.nonfinite, features, inside.rows)
        tables = tuple(table.of(inside.jets) for table in tables)
        cost = cost_of(self.options.backend, self.options.provider, remote=bool(self.options.remote))
        size = bundle.fixed_batch or self.options.batch_size or cost.jets
        session = self.session
        batches = make_batches(
            tables,
            batch_size=size,
            pad_mode=bundle.card.pad_mode,
            cost=cost,
            image_bytes=min(IMAGE_BYTES, self.options.block_bytes),
        )
        pending = Pending(bundle, session, batches, n_jets)
        truncated = np.zeros(len(jets), dtype=bool)
        for group in bundle.groups:
            if group.object != "sv" and group.image is None:
                rows = inside.rows.get(group.name)
                truncated |= (jets.counts(group.object) if rows is None else rows.counts) > group.limit
        return pending, inside.report + Report(
            scored=n_jets,
            truncated=int(np.count_nonzero(truncated & inside.jets)),
            replaced_values=sum(table.replaced for table in tables),
            outside_image=sum(table.outside for table in tables if isinstance(table, ImageValues)),
            slots=pending.slots,
            filled=pending.filled,
            rounding=_rounding(bundle),
        )


def _rounding(bundle: Bundle) -> float:
    """Response of probabilities to the last place, if the card gives one that exceeds rounding itself."""
    known = bundle.card.rounding
    return known.q99 if known is not None and known.q99 > PROB_TOLERANCE else 0.0


@briefly
class Underway(NamedTuple):
    """Jets sent to the network, whose scores may still be computed.

    Parameters
    ----------
    pending : Pending or None
        None if there are no jets.
    n_outputs : int
    jets : int64[jets]
        As `Scored.index`.
    report : Report
        Counts, except for those known only when the network has finished.
    partial : int64[n]
        As in `Scored`.
    """

    pending: Pending | None
    n_outputs: int
    jets: Array
    report: Report
    partial: Array

    def scored(self) -> Scored:
        """The scores, after waiting for the network."""
        if self.pending is None:
            return Scored(np.empty((0, self.n_outputs), np.float32), self.jets, self.report, self.partial)
        done = self.pending.wait()
        more = Report(
            nonfinite_jets=int(np.count_nonzero(~np.isfinite(done.values).all(axis=1))),
            seconds=done.seconds,
            refused_runs=done.refused,
            requests=done.traffic.requests,
            resent=done.traffic.resent,
            runs_here=done.traffic.runs_here,
            servers=tuple(done.traffic.servers),
        )
        return Scored(done.values, self.jets, self.report + more, self.partial)

    def abandon(self) -> None:
        """Do not wait for the network."""
        if self.pending is not None:
            self.pending.abandon()


def _is_dask(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "dask_awkward"


def score_together(taggers: Sequence[Tagger], request: Request) -> list[Scored]:
    """Run several networks on the jets of a request: constituents are linked and features are computed once for all.

    Parameters
    ----------
    taggers : sequence of Tagger
        Either all take candidates or none does, because jets without candidates are left out for all of them.
    request : Request

    Returns
    -------
    list of Scored
        One per tagger.
    """
    parts: list[list[Scored]] = [
        [
            Scored(
                np.empty((0, len(tagger.bundle.outputs)), np.float32),
                np.empty(0, np.int64),
                request.report,
                np.empty(0, np.int64),
            )
        ]
        for tagger in taggers
    ]
    underway: deque[tuple[list[Scored], Underway]] = deque()
    try:
        for selection in request.blocks(min(tagger.options.block_bytes for tagger in taggers)):
            features: dict[str, Array] = {}
            before = len(underway)
            for tagger, found in zip(taggers, parts, strict=True):
                underway.append((found, tagger.begin(selection, features)))
            for _ in range(before):  # the block before this one, whose last batches ran meanwhile
                _finish(underway)
        while underway:
            _finish(underway)
    finally:  # after an error
        for _, jets in underway:
            jets.abandon()
    return [joined(found) for found in parts]


def _finish(underway: deque[tuple[list[Scored], Underway]]) -> None:
    found, jets = underway.popleft()
    found.append(jets.scored())


def _sent(what: str, load: Callable[[Path], Sent], folder: str, digest: str) -> Sent:
    """The model or the head of a tagger that came from another process."""
    try:
        found = load(shipped(digest) or Path(folder))
    except (BundleNotFound, MissingModelFile) as error:
        raise type(error)(
            f"there is no {what} at {folder} here, and none was sent to this worker: jettagger.dask.install(client, "
            f"tagger) sends a model with its heads to all workers of a dask cluster ({error})",
            **error.parts,
        ) from error
    if found.digest != digest:
        raise BundleError(f"the {what} in {found.folder} is not the one that was sent: its content has changed")
    return found


def _sent_model(folder: str, digest: str) -> Bundle:
    return _sent("model", load_bundle, folder, digest)


def _sent_head(folder: str, digest: str) -> Head:
    return _sent("head", load_head, folder, digest)


def _restore(folder: str, digest: str, heads: tuple[tuple[str, str], ...], given: dict[str, Any]) -> Tagger:
    tagger = Tagger.__new__(Tagger)
    tagger._origin = (folder, digest)
    tagger._head_origins = heads
    tagger.options = TaggerOptions(**given)
    tagger.cache = open_score_cache(tagger.options.cache)
    tagger._session = None
    tagger._session_proven = False
    tagger._bundle = None
    tagger._heads = None
    tagger._source = None
    # dask's scheduler unpickles what it passes on, and need not have the model: who uses the tagger must
    with suppress(BundleNotFound, MissingModelFile):
        tagger._bundle = _sent_model(folder, digest)
        tagger._heads = tuple(_sent_head(*head) for head in heads)
    return tagger


def load_tagger(
    name_or_folder: str | os.PathLike[str] | Tagger | None = None,
    options: TaggerOptions | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Tagger:
    """Load a tagger by the name of a model or from its folder.

    Parameters
    ----------
    name_or_folder : str, path or Tagger, optional
        A name listed by ``jettagger models list``, or a folder with ``model.onnx`` and an input description. There is
        no default: without a name, the error lists the available models and the one that comes with the package. A
        tagger is returned as it is.
    options : TaggerOptions, optional
        Options of the tagger: threads, backend, score cache, heads, collection of jets and others.
    **keywords
        Fields of `TaggerOptions`, overriding those of ``options``.

    Returns
    -------
    Tagger

    Raises
    ------
    BundleNotFound
        If no name is given, or no model has this name; lists the available ones.
    BundleError
        If the folder is not usable.
    MissingModelFile
        If the weights are missing; says where to put them.
    ConfigError, UnknownName
        If an option does not exist or has an invalid value; if options are given for a tagger, which has its own.
    MismatchError
        If an option does not apply to the model.

    Examples
    --------
    >>> load_tagger("tinyParT", threads=1).bundle["probHbb"].kind
    'prob'
    """
    if name_or_folder is None:
        raise BundleNotFound(
            f"load_tagger() needs the name of a model or its folder. There are:\n{choice()}",
            where="load_tagger(), argument name_or_folder",
            got="None",
            expected="the name of a model or its folder",
        )
    if isinstance(name_or_folder, Tagger):
        if options is not None or keywords:
            name = name_or_folder.bundle.name
            raise ConfigError(f"a tagger of {name!r} has its options already: give them with the name of the model")
        return name_or_folder
    return Tagger(load_bundle(name_or_folder), with_keywords(options, keywords, "load_tagger()"))


guard(globals(), "Tagger", "load_tagger")
