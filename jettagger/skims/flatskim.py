"""From files with one row a jet to a skim with one row a jet: its own columns, the outputs of a tagger, the label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from jettagger.cutlogic import warn_doubt
from jettagger.errors import ConfigError, InputFileError, UnknownName
from jettagger.expressions import parse
from jettagger.files.retrying import RETRIES
from jettagger.files.tables import SEPARATOR, TARBALLS, FlatFile, members
from jettagger.files.verification import verify_jets
from jettagger.inputs.flatjets import check_table, needed_columns
from jettagger.report import Report
from jettagger.skims.jobs import Chunk, Content, Layout, chunk_rows, output_columns, survey
from jettagger.skims.skim import MEMORY, Job
from jettagger.tagging.tagger import DEFAULT_COLUMNS, Tagger

__all__ = ["FlatJob", "make_flat_job"]

#: passed on where a file has them: numbers of the jet and its labels
_KEPT = ("jet_*", "label*", "weight", "process")


@dataclass(frozen=True)
class FlatJob(Job):
    """A job on files with one row a jet.

    Parameters
    ----------
    tree : str or None
        The tree of ROOT files; None: the only one.
    """

    tree: str | None = None

    def read(self, chunk: Chunk) -> Any:
        """The columns of one chunk."""
        with FlatFile(chunk.path, self.tree) as file:
            return file.read(self.inputs, chunk.start, chunk.stop)

    def score(self, loaded: Any) -> tuple[dict[str, Any], Report]:
        """Score and arrange a chunk."""
        jets = loaded
        where = None
        if self.where is not None:
            where = parse(self.where, where="--where").evaluate({name: jets[name] for name in jets.fields})
        scores, report = self.tagger.run(jets, where, tuple(self.names))
        columns = {name: jets[name] for name in self.keep}
        columns |= {column: scores[output] for output, column in self.names.items()}
        return columns, report


@dataclass(frozen=True)
class _Table:
    """What an open file offers, for the comparison with a configuration."""

    file: FlatFile
    title: str = "a file with one row a jet"

    @property
    def fields(self) -> list[str]:
        """Names of the columns."""
        return self.file.names


def _expanded(files: Iterable[str], skipped: dict[str, str], *, skip_broken: bool) -> list[str]:
    """Tarballs as their members."""
    found: list[str] = []
    for path in map(str, files):
        if SEPARATOR in path or not path.endswith(TARBALLS):
            found.append(path)
            continue
        try:
            inside, reason = members(path)
        except InputFileError as error:
            inside, reason = [], str(error)
        if reason and not skip_broken:
            raise InputFileError(f"{reason}; --skip-broken reads what is there")
        if reason:
            skipped[path] = reason
        elif not inside:
            raise InputFileError(f"{path} holds no ROOT or parquet file")
        found += inside
    return found


def make_flat_job(
    files: Sequence[str],
    tagger: Tagger,
    *,
    prefix: str | None = None,
    where: str | None = None,
    columns: Iterable[str] = DEFAULT_COLUMNS,
    keep: Iterable[str] = (),
    memory: int = MEMORY,
    workers: int = 1,
    skip_broken: bool = False,
    retries: int = RETRIES,
    tree: str | None = None,
    verify: bool = False,
) -> FlatJob:
    """Open all files, compare them with what the model needs, and cut them into chunks.

    Parameters
    ----------
    files : sequence of str
        ROOT and parquet files with one row a jet, members ``TARBALL::MEMBER``, and whole tarballs.
    tagger : Tagger
        Of a model with a data configuration of weaver.
    prefix, where, columns, keep, memory, workers, skip_broken, verify, retries
        As for `jettagger.skims.skim.make_job`; ``where`` is an expression in columns of the file (``"jet_pt > 300"``).
    tree : str, optional
        The tree of ROOT files; default: the only one.

    Returns
    -------
    FlatJob

    Raises
    ------
    InputFileError, MissingColumns, ConfigError, UnknownName
    """
    names = output_columns(tagger, columns, prefix, workers)
    warn_doubt(where, "--where")
    patterns = list(keep)
    skipped: dict[str, str] = {}
    paths = _expanded(files, skipped, skip_broken=skip_broken)

    def examine(path: str) -> Content:
        with FlatFile(path, tree) as file:
            layout = _layout(file, tagger, names, where, patterns)
            probe = min(file.n_jets, 20)
            size = file.read(layout.inputs, 0, probe).nbytes / probe if probe else 0
            content = Content(layout, file.n_jets, chunk_rows(size, memory // workers))
            if verify:
                needed = needed_columns(tagger.bundle)
                for start, stop in content.ranges():
                    jets = file.read(needed, start, stop)
                    verify_jets(path, {name: jets[name] for name in jets.fields}, start)
            return content

    found = survey(paths, examine, skip_broken=skip_broken, skipped=skipped, retries=retries)
    return FlatJob(
        tagger,
        names,
        where=where,
        chunks=found.chunks,
        skipped=found.skipped,
        memory=memory,
        retries=retries,
        tree=tree,
        **found.layout._asdict(),
    )


def _layout(file: FlatFile, tagger: Tagger, names: Mapping[str, str], where: str | None, patterns: list[str]) -> Layout:
    check_table(tagger.bundle, _Table(file), file.path)
    taken = sorted(set(names.values()) & set(file.names))
    if taken:
        raise ConfigError(f"{file.path} has the columns {taken[0]}, ... already: give another --prefix")
    kept = [name for name in file.names if any(fnmatchcase(name, pattern) for pattern in _KEPT)]
    for pattern in patterns:
        found = [name for name in file.names if fnmatchcase(name, pattern)]
        if not found:
            raise UnknownName("column to keep", pattern, file.names, file.path)
        kept += found
    used: tuple[str, ...] = ()
    if where is not None:
        expression = parse(where, where="--where")
        expression.check(file.names, "column")
        used = expression.names
    config = tagger.bundle.weaver
    domain: list[str] = []
    if config is not None:
        selections = (config.selection, config.test_time_selection)
        domain = [config.stored(name) for formula in selections for name in config.columns_of(formula)]
    keep = tuple(dict.fromkeys(kept))
    inputs = {*needed_columns(tagger.bundle), *keep, *used, *(name for name in domain if name in file.names)}
    return Layout("", tuple(sorted(inputs)), keep)
