"""Application of heads to the files of skims, with a check of the parent model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from jettagger.arguments import guard
from jettagger.errors import ConfigError, MismatchError
from jettagger.files import refuse_inputs
from jettagger.finetuning.skims import Skim, open_skim
from jettagger.heads import Head, load_head
from jettagger.skims.writers import write_skim

__all__ = ["flat_columns", "score_skim"]

#: events per chunk
_ROWS = 20_000


def score_skim(
    path: str | os.PathLike[str],
    heads: Sequence[Head | str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    prefix: str | None = None,
    force: bool = False,
) -> int:
    """Run heads on a skim with their inputs, without constituents and without the network of the tagger.

    Parameters
    ----------
    path : path
        ``.parquet`` or ``.root``, from ``jettagger tag`` or a processor of jettagger.
    heads : sequence of Head or path
    output : path
        ``.parquet`` or ``.root``: all columns of the skim, and ``<jets>_<head>_<output>``.
    prefix : str, optional
        Prefix of the tagger's columns; default: that of the skims that the heads were trained on.
    force : bool
        Whether an existing output may be replaced.

    Returns
    -------
    int
        Number of events written.

    Raises
    ------
    MismatchError
        If the skim was made with a model other than the parent, or does not record its model.
    MissingColumns
        If inputs are missing, e.g. the hidden neurons.
    ConfigError
        If there is no head.
    InputFileError, OutputError
    """
    skim = open_skim(os.fspath(path))
    refuse_inputs(output, [skim.path])
    if not heads:
        raise ConfigError(f"{os.fspath(path)}: got no head to run, expected at least one")
    loaded = [head if isinstance(head, Head) else load_head(head) for head in heads]
    jets: dict[str, str] = {}
    for head in loaded:
        if not skim.digest:
            raise MismatchError(
                f"{skim.path} does not say which model made its columns, so the head {head.name!r} cannot know whether "
                "it was its parent; if you know, use head.attach(ak.from_parquet(...))"
            )
        head.check_digest(skim.digest, f"the model {skim.record.get('model')!r} that made {skim.path}")
        parent = head.card.parent.prefix if prefix is None else prefix
        skim.columns_of(head.inputs, parent, f"the head {head.name!r}")
        jets[head.name] = skim.collection(parent)
    inputs: list[str | os.PathLike[str]] = [skim.path, *(source for head in loaded for source in head.sources)]
    earlier = skim.record.get("heads") or {}
    record: dict[str, Any] = {**skim.record, "heads": {**earlier, **{head.name: head.digest for head in loaded}}}

    def chunks() -> Iterator[dict[str, Any]]:
        for events, flat in flat_columns(skim, _ROWS):
            for head in loaded:
                values = head(events, prefix, jets[head.name])
                for column, output_ in zip(head.columns, head.card.outputs, strict=True):
                    flat[f"{jets[head.name]}_{column}"] = values[output_]
            yield flat

    return write_skim(output, chunks(), json.dumps(record), force=force, inputs=inputs)


def flat_columns(skim: Skim, rows: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The events of a skim in chunks, with their columns by flat names, as they are written again.

    Parameters
    ----------
    skim : Skim
    rows : int
        Maximum number of events per chunk.

    Yields
    ------
    events : awkward array
    columns : dict of str to awkward array
        Without the counters of collections in ROOT files, which writers add.
    """
    columns = [name for name in skim.names if not _is_counter(name, skim.names)]
    for events in skim.read(columns, rows):
        yield events, {name: _column(events, name) for name in columns}


def _is_counter(name: str, names: Sequence[str]) -> bool:
    """Whether a column of a ROOT file counts a collection; such columns are written again."""
    return name.startswith("n") and any(other.startswith(f"{name[1:]}_") for other in names)


def _column(events: Any, name: str) -> Any:
    if name in events.fields:
        return events[name]
    collection, _, field = name.partition("_")
    return events[collection, field]


guard(globals())
