"""Heads: small networks on a tagger's outputs and on columns of jets and events, each stored in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.display import Displayed, ObjectSummary
from jettagger.errors import MismatchError, MissingColumns
from jettagger.formats.base import Offer
from jettagger.heads.description import DESCRIPTION, NETWORK, HeadCard
from jettagger.heads.export import COLUMNS
from jettagger.heads.folds import EVENT, fold_of
from jettagger.inputs.jet_table import DERIVED, JetTable
from jettagger.sessions import open_onnx
from jettagger.sessions.graph import Graph
from jettagger.types import Array

__all__ = ["Head"]

#: jets per run
_ROWS = 50_000


@dataclass(frozen=True)
class Head(Displayed):
    """A trained head; made by `load_head`.

    Parameters
    ----------
    folder : pathlib.Path
    card : HeadCard
        Inputs, outputs, parent, training and metrics.
    graph : Graph
    digest : str
        SHA-256 over description and network: heads with the same digest give the same outputs.
    """

    folder: Path
    card: HeadCard
    graph: Graph
    digest: str

    def __reduce__(self) -> tuple[Any, ...]:
        from jettagger.heads.reading import restore_head

        return (restore_head, (str(self.folder), self.digest))

    def __repr__(self) -> str:
        outputs = ", ".join(self.card.outputs)
        return f"Head({self.name!r}, {len(self.inputs)} inputs -> {outputs}, on {self.card.parent.name!r})"

    def summary(self) -> ObjectSummary:
        """Inputs, outputs, parent and metrics, for display."""
        from jettagger.heads.summary import head_summary

        return head_summary(self)

    @property
    def name(self) -> str:
        """Name of the head, and prefix of its columns."""
        return self.card.name

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that the head is read from: description and network."""
        return (self.folder / DESCRIPTION, self.folder / NETWORK)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input columns, in order."""
        return tuple(item.name for item in self.card.inputs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns added to the jets, e.g. ``XggHead_probXgg``."""
        return tuple(f"{self.name}_{output}" for output in self.card.outputs)

    def check_parent(self, bundle: Bundle) -> None:
        """Refuse a model other than the parent of the head.

        Raises
        ------
        MismatchError
        """
        self.check_digest(bundle.digest, f"the model {bundle.name!r} in {bundle.folder}")

    def check_digest(self, digest: str, what: str) -> None:
        """Like `check_parent`, with the digest of a model, e.g. from the metadata of a skim.

        Raises
        ------
        MismatchError
        """
        parent = self.card.parent
        if digest != parent.digest:
            raise MismatchError(
                f"the head {self.name!r} was trained on {parent.name!r} (digest {parent.digest[:12]}...), {what} has "
                f"the digest {digest[:12]}...: its columns mean something else. Train a head on its scores"
            )

    def needs(self, offer: Offer, collection: str = "FatJet", what: str = "these events") -> tuple[str, ...]:
        """The stored columns of jets and events that the head reads, ``"Collection.field"`` or plain; nothing is read.

        Parameters
        ----------
        offer : Offer
            Events or an open file.
        collection : str
        what : str
            Description for errors.

        Returns
        -------
        tuple of str

        Raises
        ------
        MissingColumns
            Lists all missing columns.
        """
        found: list[str] = []
        missing: list[str] = []
        wanted = [item.name for item in self.card.inputs if item.source == "event"]
        for name in [*wanted, *([EVENT] if self.card.folds > 1 else [])]:
            derived = DERIVED.get(name.removeprefix(f"{collection}_")) if name.startswith(f"{collection}_") else None
            ways = [(name,)] + ([] if derived is None else [tuple(n.format(jets=collection) for n in derived.needs)])
            stored = (tuple(_stored(offer, item) for item in way) for way in ways)
            columns = next((way for way in stored if None not in way), None)
            if columns is not None:
                found += [item for item in columns if item is not None]
            else:
                lacking = [item for item in ways[-1] if _stored(offer, item) is None]
                missing.append(name if lacking == [name] else f"{name} (or, to make it, {', '.join(lacking)})")
        if missing:
            raise MissingColumns(f"{what}: the head {self.name!r} lacks the columns {'; '.join(missing)}")
        return tuple(dict.fromkeys(found))

    def changed_by(self, columns: Iterable[str], collection: str = "FatJet") -> tuple[str, ...]:
        """The inputs other than scores that depend on given columns of the jets.

        Parameters
        ----------
        columns : iterable of str
            Names without the collection: ``pt``, ``msoftdrop``.
        collection : str

        Returns
        -------
        tuple of str
            Names of inputs, ``FatJet_pt``; derived inputs count as dependent even if they are stored.
        """
        columns = {f"{collection}_{name}" for name in columns}
        changed = []
        for item in self.card.inputs:
            derived = DERIVED.get(item.name.removeprefix(f"{collection}_"))
            needs = {item.name, *(() if derived is None else (need.format(jets=collection) for need in derived.needs))}
            if item.source == "event" and needs & columns:
                changed.append(item.name)
        return tuple(changed)

    def gather(self, get: Callable[[str], Array]) -> tuple[Array, Array | None]:
        """The input matrix.

        Parameters
        ----------
        get : callable
            Name of a column -> its values, one per jet.

        Returns
        -------
        inputs : float32[jets, inputs]
        event : array or None
            The event numbers, if folds need them.
        """
        inputs = np.stack([np.asarray(get(name), dtype=np.float32) for name in self.inputs], axis=1)
        return inputs, get(EVENT) if self.card.folds > 1 else None

    def compute(self, inputs: Any, event: Any = None, *, threads: int | None = None) -> NDArray[np.float32]:
        """Run the network, on the CPU: it is small.

        Parameters
        ----------
        inputs : float[jets, inputs]
        event : int[jets], optional
            Event numbers; required by a head with folds, where each event gets the network that was not trained on it.
        threads : int, optional
            As for the tagger.

        Returns
        -------
        float32[jets, outputs]
            Probabilities, or a mass in GeV; NaN where an input is not finite.

        Raises
        ------
        MismatchError
            If the number of inputs is wrong, or the event numbers are missing.
        """
        inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        if inputs.ndim != 2 or inputs.shape[1] != len(self.inputs):
            raise MismatchError(
                f"got inputs of the shape {list(inputs.shape)} for the head {self.name!r}, "
                f"expected [jets, {len(self.inputs)}]"
            )
        folds = self.card.folds
        if folds > 1 and event is None:
            raise MismatchError(f"the head {self.name!r} has {folds} folds: it needs the event numbers ({EVENT!r})")
        which = fold_of(np.asarray(event), folds) if folds > 1 else np.zeros(len(inputs), dtype=np.int64)
        return self.compute_folds(inputs, which, threads=threads)

    def compute_folds(self, inputs: Array, fold: Array, *, threads: int | None = None) -> NDArray[np.float32]:
        """Like `compute`, with the network of each jet given.

        Parameters
        ----------
        inputs : float[jets, inputs]
        fold : int[jets]
            From 0 to ``folds - 1``.
        threads : int, optional
            As for the tagger.

        Returns
        -------
        float32[jets, outputs]
        """
        values = np.full((len(inputs), len(self.card.outputs)), np.nan, dtype=np.float32)
        good = np.flatnonzero(np.isfinite(inputs).all(axis=1))
        session = open_onnx(self.graph, threads)
        for start in range(0, len(good), _ROWS):
            rows = good[start : start + _ROWS]
            found = session.run({COLUMNS: np.ascontiguousarray(inputs[rows], dtype=np.float32)})
            stacked = np.stack([found[f"fold{number}"] for number in range(self.card.folds)])
            values[rows] = stacked[fold[rows], np.arange(len(rows))]
        return values

    def _evaluate(self, events: Any, prefix: str | None, collection: str) -> tuple[JetTable, dict[str, Array], Array]:
        table = JetTable(events, self.card.parent.prefix if prefix is None else prefix, collection)
        wanted = [*self.inputs, *([EVENT] if self.card.folds > 1 else [])]
        table.require(wanted, f"the head {self.name!r}")
        inputs, event = self.gather(table.values)
        values = self.compute(inputs, event)
        tagged = [column for column, item in enumerate(self.card.inputs) if item.source == "tagger"]
        scored: Array = np.asarray(np.isfinite(inputs[:, tagged]).all(axis=1))
        return table, dict(zip(self.card.outputs, values.T, strict=True)), scored

    def __call__(self, events: Any, prefix: str | None = None, collection: str = "FatJet") -> Any:
        """The outputs for jets whose inputs are stored; the network of the tagger is not needed.

        Parameters
        ----------
        events : awkward array
            Tagged events, or a skim with flat columns (``ak.from_parquet``). Arrays do not record the model of their
            columns, which must be the parent (files are checked by `jettagger.finetuning.score_skim`).
        prefix : str, optional
            Prefix of the tagger's columns; default: that of the skims that the head was trained on.
        collection : str

        Returns
        -------
        awkward array
            ``events * var * ?{output: float32}``; None if the tagger has not scored the jet, NaN if another input is
            missing.

        Raises
        ------
        MissingColumns
            Lists all missing inputs, with the nearest columns.
        """
        table, values, scored = self._evaluate(events, prefix, collection)
        return table.records(values, scored)

    def attach(self, events: Any, prefix: str | None = None, collection: str = "FatJet") -> Any:
        """The events, or the skim, with the head's columns ``FatJet_<head>_<output>``.

        Parameters
        ----------
        events, prefix, collection
            As for the call.

        Returns
        -------
        awkward array

        Raises
        ------
        MissingColumns, MismatchError
            As for the call; MismatchError also if a column of that name exists already.
        """
        table, values, scored = self._evaluate(events, prefix, collection)
        return table.attach(events, dict(zip(self.columns, values.values(), strict=True)), scored)


def _stored(offer: Offer, name: str) -> str | None:
    """The name of a column in an offer, from its flat name."""
    collection, _, field = name.partition("_")
    for candidate in ([f"{collection}.{field}"] if field else []) + [name]:
        if offer.has(candidate):
            return candidate
    return None


guard(globals())
