"""A skim for each file: rows as in the file, so that a ROOT skim can be its friend; also scored on a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, OutputError, UnknownName, WorkerError, output_exists
from jettagger.files import SEPARATOR, complete_or_absent, refuse_inputs
from jettagger.files.jsonfile import read_object
from jettagger.files.resuming import lock_folder, resume_folder
from jettagger.report import Report
from jettagger.skims.skim import SkimResult, make_job, run_job
from jettagger.skims.writers import SUFFIXES
from jettagger.tagging.tagger import Tagger

__all__ = ["TaggedFiles", "outputs_of", "tag_each"]

#: finished files -> digests of what they depend on, in the folder beside the output
_FINISHED = "finished.json"


@dataclass(frozen=True)
class TaggedFiles(Brief):
    """Skims of files.

    Attributes
    ----------
    made : dict of str to SkimResult
        File -> its skim.
    earlier : tuple of str
        Files whose skims an interrupted run had finished.
    failed : dict of str to str
        File that could not be read -> reason.
    """

    made: Mapping[str, SkimResult] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def report(self) -> Report:
        """The counts of all files of this run."""
        return sum((result.report for result in self.made.values()), Report())


def outputs_of(files: Sequence[str], folder: str | os.PathLike[str], kind: str = "root") -> dict[str, Path]:
    """The skim of each file: its name, in another folder.

    Parameters
    ----------
    files : sequence of str
    folder : path
    kind : {"root", "parquet"}

    Returns
    -------
    dict of str to pathlib.Path

    Raises
    ------
    UnknownName
        For another kind.
    MismatchError
        If two files have the same name, or a file is given twice.

    Examples
    --------
    >>> outputs_of(["root://host//store/a.root"], "scores", "parquet")["root://host//store/a.root"].as_posix()
    'scores/a.parquet'
    """
    if f".{kind}" not in SUFFIXES:
        raise UnknownName("format", kind, [suffix.lstrip(".") for suffix in SUFFIXES])
    found: dict[str, Path] = {}
    of: dict[Path, str] = {}
    for path in files:
        target = Path(folder) / f"{Path(path.rpartition(SEPARATOR)[2].rpartition('/')[2]).stem}.{kind}"
        if target in of:
            raise MismatchError(f"{of[target]} and {path} would both be {target}: tag them into different folders")
        of[target], found[path] = path, target
    return found


def _digest(job: Any, path: str, workers: int) -> str:
    """What the skim of a file depends on."""
    state: list[Any] = [job.key(workers), path, [(chunk.start, chunk.stop) for chunk in job.chunks]]
    if "://" not in path:
        status = os.stat(path.partition(SEPARATOR)[0])
        state += [status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _tag(
    path: str, target: Path, tagger: Tagger, settings: Mapping[str, Any], known: str | None, force: bool
) -> tuple[str, SkimResult | None]:
    """Write the skim of a file, unless it is there; its digest, and the result."""
    workers = int(settings["workers"])
    job = make_job([path], tagger, **settings)
    digest = _digest(job, path, workers)
    if known is not None and target.exists():
        if known == digest:
            return digest, None
        if not force:
            raise OutputError(
                f"{target} was made by an interrupted run of another file, model, option or version; use --force "
                "(force=True) to replace it"
            )
    return digest, run_job(job, str(target), workers=workers, force=force or known is not None)


def tag_each(
    files: Sequence[str],
    tagger: Tagger,
    folder: str | os.PathLike[str],
    *,
    kind: str = "root",
    client: Any = None,
    force: bool = False,
    skip_broken: bool = False,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> TaggedFiles:
    """Score the jets of files and write a skim for each, in a folder.

    An interrupted call goes on where it was when it is repeated: finished skims are known in ``FOLDER.resume``.

    Parameters
    ----------
    files : sequence of str
        As for `make_job`.
    tagger : Tagger
    folder : path
        It is made if it does not exist.
    kind : {"root", "parquet"}
        Format of the skims.
    client : distributed.Client, optional
        Of a dask cluster that scores the files; jettagger, the files and the folder must be accessible to its workers.
    force : bool
        Whether existing skims are replaced.
    skip_broken : bool
        Go on without files that cannot be read; the result names them.
    progress : callable, optional
        Called with 1 after each file.
    **settings
        Further arguments of `make_job`.

    Returns
    -------
    TaggedFiles

    Raises
    ------
    InputFileError
        If a file cannot be read; the skims of the others are complete or absent.
    OutputError
        If a skim exists, or is an input, or another call is currently writing to the folder.
    MismatchError
        If two files have the same name.

    Examples
    --------
    >>> import tempfile
    >>> from jettagger import load_tagger
    >>> from jettagger.testing import write_pfnano
    >>> place = tempfile.mkdtemp()
    >>> files = [str(write_pfnano(f"{place}/{name}.root", 5, seed=1)) for name in "ab"]
    >>> made = tag_each(files, load_tagger("tinyParT"), f"{place}/scores", columns=["prob"])
    >>> [result.path.name for result in made.made.values()]
    ['a.root', 'b.root']
    """
    settings = {"workers": 1, **settings}
    targets = outputs_of(list(map(str, files)), folder, kind)
    for target in targets.values():
        refuse_inputs(target, [*targets, *map(str, tagger.sources)])
    place, state = Path(folder), resume_folder(folder)
    note = state / _FINISHED
    known: dict[str, str] = {}
    if note.is_file():
        known = {str(name): str(digest) for name, digest in read_object(note).items()}
    there = [target for target in targets.values() if target.exists() and target.name not in known]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise output_exists(there[0], more)
    new = not place.exists()
    try:
        place.mkdir(exist_ok=True)
        state.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror or error}") from error
    lock = lock_folder(state)
    made: dict[str, SkimResult] = {}
    earlier: list[str] = []
    failed: dict[str, str] = {}
    try:
        arguments = {
            path: (path, target, tagger, settings, known.get(target.name), force) for path, target in targets.items()
        }
        for path, outcome in _outcomes(arguments, client, skip_broken):
            if isinstance(outcome, InputFileError):
                failed[path] = str(outcome)
            else:
                digest, result = outcome
                if result is None:
                    earlier.append(path)
                else:
                    made[path] = result
                known[targets[path].name] = digest
                _remember(note, known)
            if progress is not None:
                progress(1)
        if failed and not made and not earlier:
            raise InputFileError(f"none of the {len(files)} files can be read: {'; '.join(failed.values())}")
        shutil.rmtree(state, ignore_errors=True)
    finally:
        if state.is_dir() and not note.is_file():
            shutil.rmtree(state, ignore_errors=True)
        if new and not any(place.iterdir()):
            place.rmdir()
        if lock is not None:
            lock.close()
    return TaggedFiles(made, tuple(earlier), failed)


def _remember(note: Path, known: Mapping[str, str]) -> None:
    """Note that a skim is finished."""
    with complete_or_absent(note, force=True) as part:
        part.write_text(json.dumps(dict(known), indent=1), encoding="utf-8")


def _outcomes(arguments: Mapping[str, tuple[Any, ...]], client: Any, skip_broken: bool) -> Iterator[tuple[str, Any]]:
    """File, and digest and result or the error of an unreadable one; other errors are raised."""
    if client is None:
        for path, parts in arguments.items():
            try:
                yield path, _tag(*parts)
            except InputFileError as error:
                if not skip_broken:
                    raise
                yield path, error
        return
    from distributed import KilledWorker, as_completed

    futures = {client.submit(_tag, *parts, pure=False): path for path, parts in arguments.items()}
    try:
        for future in as_completed(list(futures)):
            path = futures[future]
            try:
                outcome = future.result()
            except InputFileError as error:
                if not skip_broken:
                    raise
                outcome = error
            except KilledWorker as error:
                raise WorkerError(
                    f"workers died at {path}, most likely out of memory: use a smaller --memory or workers with more",
                    where=path,
                    got="workers died",
                    expected="a smaller --memory or workers with more",
                ) from error
            yield path, outcome
    finally:
        client.cancel(list(futures))


guard(globals(), "tag_each", "outputs_of")
