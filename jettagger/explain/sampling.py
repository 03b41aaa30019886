"""Jets of files for an explanation: a random sample within a budget, and the group of each jet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief, briefly
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.explain.jets import JetInputs, jet_inputs
from jettagger.expressions import parse
from jettagger.report import Report
from jettagger.skims.jobs import Chunk
from jettagger.skims.kinds import DelphesEvents, Loaded
from jettagger.skims.skim import Job, make_job
from jettagger.tagging.tagger import Tagger
from jettagger.types import Array

__all__ = ["CLASS", "By", "JetSample", "SampledChunk", "by_of", "category_names", "sample_of"]

#: word for the class of a jet
CLASS = "class"

#: columns with the class of a jet in events and in tables, without the collection
_LABELS = ("label", "jet_label")

#: most rows of a chunk: chunks are the unit of sampling and of resuming
ROWS = 500

#: prefix of columns that are never written: files that have scores are no matter
_UNUSED = "explained"


@briefly
class By(NamedTuple):
    """What jets are grouped by.

    Attributes
    ----------
    column : str
        Column of the jets, without the collection.
    edges : tuple of float
        Edges of bins; empty: each value is a group.
    """

    column: str
    edges: tuple[float, ...] = ()


def by_of(text: str) -> By:
    """A grouping from text.

    Parameters
    ----------
    text : str
        ``class``, a column with whole numbers, or a column and edges: ``pt=200,400,1000``.

    Returns
    -------
    By

    Raises
    ------
    ConfigError
        If edges are no increasing numbers.

    Examples
    --------
    >>> by_of("pt=200,400,1000"), by_of("class")
    (By(column='pt', edges=(200.0, 400.0, 1000.0)), By(column='class', edges=()))
    """
    column, equals, numbers = text.partition("=")
    if not column.isidentifier():
        raise ConfigError(f"--by {text}: expected {CLASS}, the name of a column, or NAME=EDGE,EDGE,...")
    if not equals:
        return By(column)
    try:
        edges = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        edges = ()
    if len(edges) < 2 or not all(low < high for low, high in itertools.pairwise(edges)):
        raise ConfigError(f"--by {text}: expected at least two increasing numbers, such as pt=200,400,1000")
    if not all(map(math.isfinite, edges[1:-1])):
        raise ConfigError(f"--by {text}: edges are numbers")
    return By(column, edges)


@briefly
class SampledChunk(NamedTuple):
    """A chunk of which jets are explained.

    Attributes
    ----------
    number : int
        Position of the chunk in the sample.
    chunk : Chunk
    inputs : iterator of JetInputs
        Batches of its jets; can be used once.
    report : Report
        Counts of its jets.
    """

    number: int
    chunk: Chunk
    inputs: Iterator[JetInputs]
    report: Report


@dataclass(frozen=True)
class JetSample(Brief):
    """The jets of some files that are explained.

    Parameters
    ----------
    job : Job
        Files, columns and chunks.
    name : str
        Of the sample.
    where : str or None
        A cut in columns of the jets.
    columns : tuple of str
        Columns of the jets to have, by their names in a skim.
    chunks : tuple of Chunk
        In random order.
    seed : int
    """

    job: Job
    name: str
    where: str | None
    columns: tuple[str, ...]
    chunks: tuple[Chunk, ...]
    seed: int

    @property
    def files(self) -> tuple[str, ...]:
        """The files, without repetition."""
        return tuple(dict.fromkeys(chunk.path for chunk in self.chunks))

    def quotas(self, number: int) -> dict[str, int]:
        """How many of a number of jets are taken from each file: in proportion to its rows, at least one."""
        rows = dict.fromkeys(self.files, 0)
        for chunk in self.chunks:
            rows[chunk.path] += chunk.stop - chunk.start
        total = max(sum(rows.values()), 1)
        return {path: max(round(number * count / total), 1) for path, count in rows.items()}

    def flat_name(self, column: str) -> str:
        """The name of a column of the jets in a skim."""
        return f"{self.job.collection}_{column}" if self.job.collection else column

    def opened(self, number: int) -> SampledChunk:
        """Read a chunk.

        Parameters
        ----------
        number : int
            Position in ``chunks``.

        Returns
        -------
        SampledChunk
        """
        chunk = self.chunks[number]
        loaded, _ = self.job.load(chunk)
        events = loaded.events if isinstance(loaded, Loaded) else loaded
        request = self.job.tagger.request(events, self.where)
        inputs = jet_inputs(self.job.tagger, request, self.columns)
        return SampledChunk(number, chunk, inputs, request.report)


def sample_of(
    files: Sequence[str],
    tagger: Tagger,
    *,
    where: str | None = None,
    by: Sequence[By] = (),
    cuts: Sequence[str] = (),
    columns: Sequence[str] = (),
    name: str = "",
    seed: int = 1,
    tree: str | None = None,
) -> JetSample:
    """Open files and compare them with what the model needs; nothing is read.

    Parameters
    ----------
    files : sequence of str
    tagger : Tagger
    where : str, optional
        A cut in columns of the jets.
    by : sequence of By
        Groupings, whose columns are read.
    cuts : sequence of str
        Further cuts, whose columns are read.
    columns : sequence of str
        Further columns, by their names in a skim.
    name : str
        Of the sample.
    seed : int
        Of the order of the chunks.
    tree : str, optional
        Tree of ROOT files with one row per jet.

    Returns
    -------
    JetSample

    Raises
    ------
    InputFileError, MissingColumns, MismatchError, ConfigError, UnknownName
        As for `jettagger.skims.skim.make_job`; UnknownName also if the files lack a column of ``by`` or ``cuts``.
    """
    plain = make_job(files, tagger, where=where, tree=tree, prefix=_UNUSED)
    prefix = f"{plain.collection}_" if plain.collection else ""
    own = [item.column for item in by]
    cuts = [*cuts, *([where] if where is not None else [])]
    own += [column for cut in cuts for column in parse(cut, where="cut").names]
    labels = [name for name in _LABELS if CLASS in own]
    wanted = [name for name in dict.fromkeys([*own, *labels]) if name != CLASS]
    known = _columns(plain, files, tree)
    missing = [name for name in wanted if name not in known and name not in labels]
    if missing:
        raise UnknownName("column of the jets", missing, sorted(known), files[0])
    if CLASS in own and not any(name in known for name in labels):
        raise UnknownName(
            "column of the jets", "label", sorted(known), f"{files[0]}; the class of a jet needs label or jet_label"
        )
    kept = [f"{prefix}{name}" for name in wanted if name in known]
    extra = [name for name in kept if name not in plain.keep]
    if isinstance(plain.kind, DelphesEvents):  # whose columns of jets are read in any case
        extra = []
    job = make_job(files, tagger, keep=[*extra, *columns], tree=tree, prefix=_UNUSED)
    chunks = [
        Chunk(chunk.path, start, min(start + ROWS, chunk.stop))
        for chunk in job.chunks
        for start in range(chunk.start, max(chunk.stop, chunk.start + 1), ROWS)
    ]
    order = np.random.default_rng(seed).permutation(len(chunks))
    every = tuple(dict.fromkeys([*kept, *columns]))
    return JetSample(job, name, where, every, tuple(chunks[place] for place in order), seed)


def _columns(job: Job, files: Sequence[str], tree: str | None) -> set[str]:
    """Columns of the jets, without the collection."""
    from jettagger.files.root import EventFile
    from jettagger.files.tables import FlatFile

    path = job.chunks[0].path if job.chunks else files[0]
    if not job.collection:
        with FlatFile(path, tree) as table:
            return set(table.names)
    if job.kind.rows == "events" and any(column.startswith(f"{job.collection}.") for column in job.inputs):
        with EventFile(path) as events:
            return set(events.fields(job.collection))
    return {name.removeprefix(f"{job.collection}_") for name in job.keep}


def category_names(by: Sequence[By], sample: JetSample, columns: Mapping[str, Array], number: int) -> list[str]:
    """The name of the group of each jet.

    Parameters
    ----------
    by : sequence of By
    sample : JetSample
    columns : mapping of str to array[n]
    number : int
        Number of jets.

    Returns
    -------
    list of str
        Empty for jets outside of all bins; ``all jets`` without groupings.

    Raises
    ------
    InvalidValues
        If a column without edges has more than 50 values.
    """
    if not by:
        return ["all jets"] * number
    parts = [_names_of(item, sample, columns) for item in by]
    return [", ".join(names) if all(names) else "" for names in zip(*parts, strict=True)]


def _names_of(by: By, sample: JetSample, columns: Mapping[str, Array]) -> list[str]:
    name = by.column
    if name == CLASS:
        name = next(item for item in _LABELS if sample.flat_name(item) in columns)
    values = np.asarray(columns[sample.flat_name(name)])
    if by.edges:
        edges = np.asarray(by.edges)
        place = np.searchsorted(edges, values, side="right") - 1
        inside = (place >= 0) & (place < len(edges) - 1) & np.isfinite(values)
        texts = [f"{low:g} <= {name} < {high:g}" for low, high in itertools.pairwise(edges)]
        return [texts[int(row)] if good else "" for row, good in zip(place, inside, strict=True)]
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) > 50 or (distinct != np.round(distinct)).any():
        raise InvalidValues(
            f"--by {by.column}: {len(distinct)} different values, give edges: {by.column}=EDGE,EDGE,..."
        )
    words = {float(value): _word(by.column, name, int(value)) for value in distinct}
    return [words.get(float(value), "") for value in values]


def _word(asked: str, column: str, value: int) -> str:
    """The name of a class, or of the value of a column."""
    if asked != CLASS:
        return f"{column} = {value}"
    if column == "jet_label":
        from jettagger.jetclass2 import LABELS

        return LABELS[value] if 0 <= value < len(LABELS) else "no class" if value == -1 else f"label {value}"
    from jettagger.simulation import label_name

    try:
        return "no class" if value == -1 else label_name(value)
    except UnknownName:
        return f"label {value}"


def passing(cut: str, sample: JetSample, columns: Mapping[str, Array], number: int) -> Array:
    """The mask of jets that pass a cut, bool[n].

    Parameters
    ----------
    cut : str
    sample : JetSample
    columns : mapping of str to array[n]
    number : int
        Number of jets.

    Raises
    ------
    ConfigError
        If it is not a cut.
    """
    expression = parse(cut, where="cut")
    values: Any = expression.evaluate({name: columns[sample.flat_name(name)] for name in expression.names})
    if np.asarray(values).dtype.kind != "b":
        raise ConfigError(f"{cut!r} is not a cut: expected true or false for each jet")
    return np.broadcast_to(np.asarray(values), (number,))


guard(globals(), "by_of", "category_names", "sample_of")
