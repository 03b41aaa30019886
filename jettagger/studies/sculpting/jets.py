"""Jets of a study: what the skims offer, and the columns that are compared, flat and in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.discriminants import taggers
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError
from jettagger.expressions import Expression
from jettagger.finetuning.skims import Skim, expand, open_skim
from jettagger.heads import Head, JetTable, fold_of
from jettagger.studies.sculpting.config import HeadTraining, SampleFiles, StudyConfig
from jettagger.types import Array, Bools, Floats, Ints

__all__ = ["SampleSurvey", "StudyJets", "is_test", "read_jets", "score_heads", "survey_sample"]

#: the parts into which `jettagger.finetuning` divides events by number, and the salt of its test
_PARTS, _SALT_TEST = 10_000, 0


def is_test(event: Any, fraction: float) -> Bools:
    """The events of the comparison, by the rule by which a training leaves out events for its test.

    Parameters
    ----------
    event : int[n]
        Event numbers.
    fraction : float
        Fraction of the events.

    Returns
    -------
    bool[n]

    Examples
    --------
    >>> float(is_test(np.arange(10_000), 0.25).mean().round(2))
    0.25
    """
    return np.asarray(fold_of(np.asarray(event), _PARTS, _SALT_TEST) < fraction * _PARTS)


@dataclass(frozen=True)
class SampleSurvey(Brief):
    """The skims of a sample, before they are read.

    Parameters
    ----------
    kind : str
        ``background`` or ``signal``.
    files : SampleFiles
    skims : tuple of Skim
    prefix, jets : str
        Prefix of the tagger's columns, collection of jets.
    columns : tuple of tuple of str
        Stored columns to be read, for each skim.
    """

    kind: str
    files: SampleFiles
    skims: tuple[Skim, ...]
    prefix: str
    jets: str
    columns: tuple[tuple[str, ...], ...]

    @property
    def events(self) -> int:
        """Total number of events."""
        return sum(skim.events for skim in self.skims)


@dataclass
class StudyJets(Brief):
    """The jets of a sample.

    Parameters
    ----------
    kind : str
    scores : dict of str to float64[jets]
        Name of a method -> score, larger for signal; NaN where a method has none.
    columns : dict of str to float64[jets]
        Protected columns.
    table : dict of str to float64[jets]
        Columns from which the scores are computed, and the protected ones, without the name of the collection.
    weights : float64[jets]
    events : int64[jets]
        Events, counted over all files.
    test : bool[jets]
        Jets of the comparison.
    left_out : dict of str to int
        Reason -> number of jets.
    rows : list of bool arrays
        For each chunk of each file, which of its jets are here.
    """

    kind: str
    scores: dict[str, Floats]
    columns: dict[str, Floats]
    table: dict[str, Floats]
    weights: Floats
    events: Ints
    test: Bools
    left_out: dict[str, int]
    rows: list[Bools] = field(repr=False)

    def __len__(self) -> int:
        return len(self.weights)

    def counts(self) -> dict[str, int]:
        """Numbers of jets that are fitted to, and compared."""
        return {"fit": int(np.count_nonzero(~self.test)), "test": int(np.count_nonzero(self.test))}


def survey_sample(config: StudyConfig, kind: str) -> SampleSurvey:
    """Inspect the skims of a sample; no jets are read.

    Parameters
    ----------
    config : StudyConfig
    kind : str
        ``background`` or ``signal``.

    Returns
    -------
    SampleSurvey

    Raises
    ------
    MissingColumns
        Gives the file and all missing columns.
    MismatchError
        If skims are of different taggers or jets.
    InputFileError, ConfigError
    """
    files: SampleFiles = getattr(config, kind)
    where = config.document.where(kind, "files")
    skims = tuple(open_skim(path) for path in expand(files.files, config.folder, where))
    prefix = config.content.prefix
    if prefix is None:
        prefix = _only_tagger(skims[0], where)
    jets = skims[0].collection(prefix)
    digests = {skim.digest for skim in skims if skim.digest}
    if len(digests) > 1:
        raise MismatchError(f"{where}: the skims were made with {len(digests)} different models, expected one")
    columns = []
    for skim in skims:
        if skim.collection(prefix) != jets:
            raise MismatchError(f"{skim.path} has other jets than {skims[0].path} ({jets})")
        wanted = [*config.content.protected, "event"]
        with config.document.at("protected"):
            stored = list(skim.columns_of(wanted, prefix, "protected columns, and the event number for the split,"))
        for key in ("select", "weight"):
            if (expression := getattr(files, key)) is not None:
                with config.document.at(kind, key):
                    stored += skim.columns_of(expression.names, prefix, f"{expression.text!r}")
        stored += [f"{jets}_{name}" for name in _score_columns(config, skim, jets)]
        columns.append(tuple(dict.fromkeys(stored)))
    return SampleSurvey(kind, files, skims, prefix, jets, tuple(columns))


def _only_tagger(skim: Skim, where: str) -> str:
    """The prefix of the scores in a skim."""
    columns = [name.partition("_")[2] for name in skim.names if "_" in name]
    found = sorted(set(taggers(columns)))
    if len(found) == 1:
        return found[0]
    if not found:
        return ""
    raise ConfigError(f"{where}: {skim.path} has scores of {', '.join(found)}: choose one with the key 'prefix'")


def _score_columns(config: StudyConfig, skim: Skim, jets: str) -> tuple[str, ...]:
    """The columns of the discriminant in a skim, without the name of the collection."""
    what = config.discriminant
    if isinstance(what, str):
        return ()
    front = f"{jets}_"
    inner = [name.removeprefix(front) for name in skim.names if name.startswith(front)]
    with config.document.at("discriminant"):
        return tuple(dict.fromkeys(what.resolve(inner).columns.values()))


def _chunks(sample: SampleSurvey, columns: Any, memory: int) -> Iterator[tuple[int, Any, JetTable]]:
    for number, (skim, names) in enumerate(zip(sample.skims, columns, strict=True)):
        rows = int(np.clip(memory // (200 * max(len(names), 1)), 1, 20_000))
        for events in skim.read(names, rows):
            yield number, events, JetTable(events, sample.prefix, sample.jets)


def _numbers(expression: Expression, values: Callable[[str], Any], length: int) -> Floats:
    result = expression.evaluate({name: values(name) for name in expression.names})
    return np.broadcast_to(np.asarray(result, dtype=np.float64), (length,))


def read_jets(config: StudyConfig, sample: SampleSurvey, progress: Callable[[int], None] | None = None) -> StudyJets:
    """Read a sample.

    Parameters
    ----------
    config : StudyConfig
    sample : SampleSurvey
    progress : callable, optional
        Called with the number of events after each chunk.

    Returns
    -------
    StudyJets
        With the score ``raw``, unless the discriminant is a head.

    Raises
    ------
    InvalidValues
        If no jet is left, a weight is not finite, or a protected column is constant.
    """
    left_out: dict[str, int] = {}
    parts: dict[str, list[Array]] = {}
    rows: list[Bools] = []
    first = 0
    for number, events, table in _chunks(sample, sample.columns, config.content.memory):
        values = functools.lru_cache(maxsize=None)(table.values)
        keep = np.ones(table.n_jets, dtype=bool)

        def leave_out(why: str, bad: Bools, keep: Bools = keep) -> None:
            lost = int(np.count_nonzero(keep & bad))
            if lost:
                left_out[why] = left_out.get(why, 0) + lost
            keep &= ~bad

        if sample.files.select is not None:
            leave_out("not selected", _numbers(sample.files.select, values, table.n_jets) == 0)
        chunk: dict[str, Array] = {}
        if not isinstance(config.discriminant, str):
            names = _score_columns(config, sample.skims[number], sample.jets)
            scores = {name: np.asarray(values(f"{sample.jets}_{name}"), dtype=np.float64) for name in names}
            chunk |= {f"table {name}": column for name, column in scores.items()}
            chunk["raw"] = np.asarray(config.discriminant(scores), dtype=np.float64)
            leave_out("without a score", ~np.isfinite(chunk["raw"]))
        for name in config.content.protected:
            chunk[f"column {name}"] = np.asarray(values(name), dtype=np.float64)
            leave_out(f"without a value of {name}", ~np.isfinite(chunk[f"column {name}"]))
        weight = np.ones(table.n_jets)
        event = np.asarray(values("event"))
        if sample.files.weight is not None:
            weight = _numbers(sample.files.weight, values, table.n_jets)
            bad = np.flatnonzero(keep & ~np.isfinite(weight))
            if len(bad):
                place = config.document.where(sample.kind, "weight")
                raise InvalidValues(f"{place}: the weight of event {event[bad[0]]} is {weight[bad[0]]}")
        chunk["weights"] = weight
        chunk["event"] = event
        # jets of an event lie side by side
        chunk["number"] = first + np.repeat(np.arange(len(events)), table.counts)
        first += len(events)
        rows.append(keep)
        for name, array in chunk.items():
            parts.setdefault(name, []).append(array[keep])
        if progress is not None:
            progress(len(events))
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    jets = StudyJets(
        sample.kind,
        {"raw": joined["raw"]} if "raw" in joined else {},
        {name: joined[f"column {name}"] for name in config.content.protected} if joined else {},
        {name.removeprefix("table "): column for name, column in joined.items() if name.startswith("table ")},
        np.asarray(joined.get("weights", np.zeros(0)), dtype=np.float64),
        np.asarray(joined.get("number", np.zeros(0)), dtype=np.int64),
        is_test(joined["event"], config.content.test) if joined else np.zeros(0, bool),
        left_out,
        rows,
    )
    jets.table |= {name.removeprefix(f"{sample.jets}_"): values for name, values in jets.columns.items()}
    _check(config, jets)
    return jets


def _check(config: StudyConfig, jets: StudyJets) -> None:
    place = config.document.where(jets.kind)
    lost = ", ".join(f"{number} {why}" for why, number in jets.left_out.items()) or "none was left out"
    for what, mask in (("fitted to", ~jets.test), ("compared", jets.test)):
        if not mask.any():
            raise InvalidValues(f"{place}: no jets that can be {what} ({lost})")
        if not jets.weights[mask].sum() > 0:
            total = jets.weights[mask].sum()
            raise InvalidValues(f"{place}: the jets that are {what} have a sum of weights of {total:g}")
    for name, values in jets.columns.items():
        if jets.kind == "background" and values.min() == values.max():
            where = config.document.where("protected", name)
            raise InvalidValues(f"{where}: {name} is {values[0]:g} for all {len(jets)} jets: nothing to protect")
        edges = config.edges[name]
        if not ((values[jets.test] >= edges[0]) & (values[jets.test] < edges[-1])).any():
            where = config.document.where("protected", name)
            raise InvalidValues(
                f"{where}: none of {np.count_nonzero(jets.test)} {jets.kind} jets is between {edges[0]:g} and "
                f"{edges[-1]:g}; they are from {values.min():g} to {values.max():g}"
            )


def score_heads(config: StudyConfig, sample: SampleSurvey, jets: StudyJets, heads: Mapping[HeadTraining, Head]) -> None:
    """Add the scores of heads to the jets.

    Parameters
    ----------
    config : StudyConfig
    sample : SampleSurvey
    jets : StudyJets
        Of this sample; gets a score for each head.
    heads : mapping of HeadTraining to Head

    Raises
    ------
    MissingColumns
        If a skim lacks inputs of a head.
    """
    columns = [
        tuple(
            dict.fromkeys(
                [
                    *own,
                    *(
                        name
                        for training, head in heads.items()
                        for name in skim.columns_of(head.inputs, sample.prefix, f"the head {training.name!r}")
                    ),
                ]
            )
        )
        for skim, own in zip(sample.skims, sample.columns, strict=True)
    ]
    # chunks of the same events as those that were read before
    parts: dict[str, list[Floats]] = {}
    keep = np.concatenate(jets.rows)
    for _, _, table in _chunks(sample, columns, config.content.memory):
        for head in heads.values():
            inputs, event = head.gather(table.values)
            outputs = np.asarray(head.compute(inputs, event), dtype=np.float64)
            for name, values in zip(head.columns, outputs.T, strict=True):
                parts.setdefault(name, []).append(values)
    jets.table |= {name: np.concatenate(arrays)[keep] for name, arrays in parts.items()}
    for training in heads:
        jets.scores[training.name] = np.asarray(training.score(jets.table), dtype=np.float64)
