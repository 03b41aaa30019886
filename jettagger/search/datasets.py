"""Filesets of the files under paths and globs: counted, checked, in parallel, and complete or absent."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import (
    ConfigError,
    InputFileError,
    JettaggerError,
    MissingExtra,
    OutputError,
    UnknownName,
    output_exists,
    reason_of,
)
from jettagger.files import complete_or_absent, identity, refuse_inputs
from jettagger.files.generated import COUNT, SUM, GeneratedFile, sources_of_note, sources_of_root
from jettagger.files.jsonfile import parse_json
from jettagger.files.resuming import ResumeWarning, lock_folder, resume_folder
from jettagger.files.retrying import RETRIES, check_retries, retried, warn_retried
from jettagger.files.root import TREE, EventFile
from jettagger.provenance import Provenance
from jettagger.runtime.workers import finished, submit, worker_pool
from jettagger.search.expanding import expand
from jettagger.search.filesets import FILESETS, RECORD, is_list, read_fileset, read_list, read_metadata, select_datasets
from jettagger.search.skims import ParquetSkim, is_parquet

__all__ = ["CountedFiles", "find_files", "list_files", "make_fileset", "rucio_files"]

#: endings of files of events
EVENTS = (".root", ".parquet")

#: rows of ``Runs`` that a search uses
_ROWS = (SUM, COUNT, "crossSection", "genProcess")

#: name of an input and its place: ``QCD=/data/qcd``; a name has no slash
_NAMED = re.compile(r"(?P<name>[^=/:\s]+)=(?P<place>.+)", flags=re.DOTALL)

#: file in the folder ``OUTPUT.resume`` with what is known of the files that are done
DONE = "files.jsonl"


@dataclass(frozen=True)
class CountedFiles(Brief):
    """What `make_fileset` found.

    Attributes
    ----------
    content : dict
        The fileset: data set -> ``files`` and ``metadata``.
    left_out : dict of str to str
        File that cannot be read -> reason.
    retried : int
        Number of reads that were repeated after transient errors.
    """

    content: Mapping[str, Any]
    left_out: Mapping[str, str] = field(default_factory=dict)
    retried: int = 0

    def events(self, dataset: str) -> int:
        """Number of events of a data set."""
        return sum(int(item["num_entries"]) for item in self.content[dataset]["files"].values())

    def sum_of_weights(self, dataset: str) -> float | None:
        """The sum of generator weights in the trees ``Runs`` of a data set; None if a file has none."""
        found = []
        for item in self.content[dataset]["files"].values():
            sources = item[RECORD]["generated"]
            if not sources:
                return None
            found += [math.fsum(source["runs"][SUM]) for source in sources]
        return math.fsum(found)


def find_files(inputs: Sequence[str], folder: str | os.PathLike[str] = ".") -> dict[str, list[str]]:
    """The files of events under paths and globs, by data set; none is opened.

    Parameters
    ----------
    inputs : sequence of str
        ``NAME=PLACE`` or ``PLACE``: a file, a folder (with all folders in it), a glob, a list of files (``.txt``) or a
        fileset; local or a URL. Without a name, a data set is called as its folder or file, those of a fileset as
        there; globs and lists need one. Places of one name are one data set.
    folder : path
        Of relative paths.

    Returns
    -------
    dict of str to list of str
        Local paths are absolute.

    Raises
    ------
    ConfigError
        If a glob or a list has no name, or a file is in two data sets.
    InputFileError
        If a place has no file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from jettagger.testing import write_pfnano
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "tt").mkdir()
    >>> _ = write_pfnano(folder / "tt" / "a.root", 3, seed=1)
    >>> {name: [Path(path).name for path in paths] for name, paths in find_files(["tt"], folder).items()}
    {'tt': ['a.root']}
    """
    base = Path(folder)
    found: dict[str, list[str]] = {}
    for text in inputs:
        match = _NAMED.fullmatch(text)
        name, place = (match["name"], match["place"]) if match else ("", text)
        for dataset, paths in _under(name, place, base).items():
            found.setdefault(dataset, []).extend(paths)
    taken: dict[Any, tuple[str, str]] = {}
    for dataset, paths in found.items():
        for path in paths:
            key = identity(path)
            if key in taken:
                other, before = taken[key]
                both = f"in {dataset!r} twice" if other == dataset else f"in {other!r} and {dataset!r}"
                also = "" if before == path else f", also called {before},"
                raise ConfigError(f"{path}{also} is {both}: its events would count twice")
            taken[key] = (dataset, path)
    return found


def list_files(inputs: Sequence[str], folder: str | os.PathLike[str] = ".") -> list[str]:
    """The lists and filesets among the inputs of `find_files`.

    Parameters
    ----------
    inputs : sequence of str
    folder : path

    Returns
    -------
    list of str
    """
    places = [match["place"] if (match := _NAMED.fullmatch(text)) else text for text in inputs]
    return [path for place in places if is_list(place) for path in expand(place, Path(folder))]


def _under(name: str, place: str, base: Path) -> dict[str, list[str]]:
    """Data set -> files of one input."""
    if "\0" in place:
        raise InputFileError(f"{place!r} is not the name of a file")
    remote = "://" in place
    local = base / os.path.expanduser(place)
    if not remote and local.is_dir():
        paths = [os.path.join(at, item) for at, _, items in os.walk(local) for item in items if item.endswith(EVENTS)]
        if not paths:
            raise InputFileError(f"no file {' or '.join('*' + end for end in EVENTS)} in {local} and its folders")
        return {name or local.resolve().name: sorted(map(_absolute, paths))}
    if is_list(place):
        if remote:
            raise InputFileError(f"{place} is on a server: lists of files and filesets must be local, copy it")
        lists = expand(place, base)
        if all(path.removesuffix(".gz").endswith(FILESETS) for path in lists):
            content = [read_fileset(path) for path in lists]
            names = [name] if name else list(dict.fromkeys(key for item in content for key in item))
            sets = select_datasets(content, names, name, place)
            return {
                key: [_absolute(file.path) for item in sets if item.name == key for file in item.files] for key in names
            }
        found = [_absolute(file.path) for path in lists for file in read_list(path)]
    else:
        found = [_absolute(path) for path in expand(place, base)]
        if not name and found == [_absolute(place if remote else str(local))]:
            return {Path(place).stem: found}
    if not name:
        raise ConfigError(f"{place}: give its files the name of a data set, NAME={place}")
    return {name: found}


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def rucio_files(dataset: str, sites: str = "") -> list[str]:
    """The files of a data set in Rucio, as coffea's ``dataset_tools`` finds them; none is opened.

    Parameters
    ----------
    dataset : str
        Its name in Rucio and DAS, ``/TTto.../.../NANOAODSIM``.
    sites : str
        Regular expression of the sites to read from; empty: any.

    Returns
    -------
    list of str
        URLs, one per file.

    Raises
    ------
    MissingExtra
        If Rucio's client is not installed; says how to install it.
    InputFileError
        If Rucio does not answer, or has no file on a disk.
    """
    try:
        rucio_utils = importlib.import_module("coffea.dataset_tools.rucio_utils")
    except ModuleNotFoundError as error:
        package = {"rucio": "rucio-clients"}.get(str(error.name).partition(".")[0], str(error.name))
        raise MissingExtra(
            f"finding files in Rucio needs the package {str(error.name)!r}, which is not installed: pip install "
            f"{package.replace('_', '-')} (and a grid certificate and CVMFS, as coffea.dataset_tools.rucio_utils says)",
            where="finding files in Rucio",
            got="not installed",
            expected=f"the package {str(error.name)!r}",
        ) from error
    try:
        with redirect_stdout(sys.stderr):
            found, _, _ = rucio_utils.get_dataset_files_replicas(dataset, regex_sites=sites or None, mode="first")
    except Exception as error:  # coffea raises plain ones, and Rucio has its own
        raise InputFileError(f"{dataset}: Rucio does not give its files: {reason_of(error)}") from error
    if not found:
        raise InputFileError(f"{dataset}: Rucio knows no file of it on a disk")
    return list(found)


def count_file(path: str, tree: str, retries: int) -> tuple[dict[str, Any], int]:
    """What a fileset says about a file.

    Parameters
    ----------
    path : str
    tree : str
    retries : int

    Returns
    -------
    dict
        As in a fileset of coffea, with the keys of `jettagger.search.filesets.StoredKeys`.
    int
        Number of retries.

    Raises
    ------
    InputFileError, MismatchError
        If it cannot be read, or its record of generated events contradicts its content.
    """
    return retried(lambda: _counted(path, tree), path, retries)


def _counted(path: str, tree: str) -> dict[str, Any]:
    if is_parquet(path):
        skim = ParquetSkim(path)
        skim.verify()
        note, events, names = skim.note(), skim.n_events, skim.names
        sources = sources_of_note(note, path, events)
        item: dict[str, Any] = {"object_path": None, "format": "parquet"}
    else:
        with EventFile(path, tree) as file:
            file.verify()
            note, events, names = file.note(), file.n_events, file.names
            sources = sources_of_root(file)
            item = {"object_path": tree, "format": "root", "uuid": file.uuid}
    return {
        **item,
        "num_entries": events,
        RECORD: {
            "columns": hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16],
            "generated": [_shortened(source) for source in sources],
            "skim": bool(note),
        },
    }


def _shortened(source: GeneratedFile) -> dict[str, Any]:
    """A source with the rows that a search uses."""
    content = source.to_dict()
    return {**content, "runs": {name: content["runs"][name] for name in _ROWS if name in content["runs"]}}


def check_output(target: Path, inputs: Iterable[str], *, force: bool) -> None:
    """Refuse a fileset that cannot be written, before any file is opened.

    Parameters
    ----------
    target : pathlib.Path
    inputs : iterable of str
        All files that are read.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
    """
    refuse_inputs(target, inputs)
    if not target.name.endswith((".json", ".json.gz")):
        raise OutputError(f"{target}: expected a name that ends in .json or .json.gz")
    if target.exists() and not force:
        raise output_exists(target)


def make_fileset(
    files: Mapping[str, Sequence[str]],
    output: str | os.PathLike[str],
    *,
    tree: str = TREE,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    step_size: int | None = None,
    workers: int = 1,
    skip_broken: bool = False,
    retries: int = RETRIES,
    resume: bool = True,
    force: bool = False,
    inputs: Iterable[str] = (),
    progress: Callable[[int], None] | None = None,
) -> CountedFiles:
    """Count and check files, and write a fileset of coffea.

    Parameters
    ----------
    files : mapping of str to sequence of str
        Data set -> files, e.g. from `find_files`.
    output : path
        ``.json`` or ``.json.gz``.
    tree : str
        Name of the tree in ROOT files.
    metadata : mapping, optional
        Data set -> its metadata, see `jettagger.search.filesets.read_metadata`.
    step_size : int, optional
        Approximate number of events in a step, for programs that read steps; default: one step per file.
    workers : int
        Number of processes.
    skip_broken : bool
        Leave out files that cannot be read, and name them in the result and the metadata; otherwise all of them are
        named in one error.
    retries : int
        How often a file is opened again after a transient error.
    resume : bool
        Keep what is known of each file in the folder ``OUTPUT.resume`` until the output is complete, and use what an
        interrupted run has left there of files that have not changed since.
    force : bool
        Whether an existing output may be replaced.
    inputs : iterable of str
        Further files that were read, which the output must not be.
    progress : callable, optional
        Called with 1 after each file.

    Returns
    -------
    CountedFiles

    Raises
    ------
    OutputError
        If the output cannot be written, or is one of the files.
    InputFileError
        If files cannot be read; names all of them.
    UnknownName, ConfigError
        If metadata are of no data set, or cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from jettagger.testing import write_pfnano
    >>> folder = tempfile.mkdtemp()
    >>> path = write_pfnano(f"{folder}/tt.root", 12, seed=1)
    >>> made = make_fileset({"tt": [str(path)]}, f"{folder}/tt.json", metadata={"tt": {"cross_section": 830}})
    >>> made.events("tt"), made.content["tt"]["metadata"]["cross_section"]
    (12, 830)
    """
    target = Path(output)
    check_retries(retries)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if step_size is not None and step_size < 1:
        raise ConfigError(f"step_size must be at least 1, got {step_size}")
    paths = [path for group in files.values() for path in group]
    check_output(target, [*paths, *inputs], force=force)
    more = dict(metadata or {})
    unknown = [name for name in more if name not in files]
    if unknown:
        raise UnknownName("dataset", unknown, files, "the metadata")
    for name, keys in more.items():
        read_metadata(keys, f"metadata of {name!r}")
    items: dict[str, dict[str, Any]] = {}
    broken: dict[str, str] = {}
    again, retried_in = 0, ""
    with _kept(target, tree, resume) as (known, keep):
        todo = []
        for path in paths:
            state = _state(path)
            if path in known and known[path][0] == state:
                items[path] = known[path][1]
                if progress is not None:
                    progress(1)
            else:
                todo.append(path)
        if items:
            text = f"{len(items)} of {len(paths)} files were counted by an earlier run and are taken from there"
            warnings.warn(text, ResumeWarning, stacklevel=2)
        for path, result in _results(todo, tree, retries, workers):
            if isinstance(result, JettaggerError):
                broken[path] = str(result)
            else:
                items[path], repeats = result
                again += repeats
                retried_in = retried_in or (path if repeats else "")
                keep(path, items[path])
            if progress is not None:
                progress(1)
        if broken and not skip_broken:
            listed = "; ".join(f"{path}: {why}" if path not in why else why for path, why in broken.items())
            raise InputFileError(
                f"{len(broken)} of {len(paths)} files cannot be read: {listed} (skip_broken=True, --skip-broken, goes "
                "on without)"
            )
        content = _content(files, items, broken, more, step_size, tree)
        text = json.dumps(content, indent=1)
        with complete_or_absent(target, force=force) as part:
            if target.name.endswith(".gz"):
                part.write_bytes(gzip.compress(text.encode(), mtime=0))
            else:
                part.write_text(text, encoding="utf-8")
    warn_retried(again, retried_in)
    return CountedFiles(content, broken, again)


def _content(
    files: Mapping[str, Sequence[str]],
    items: Mapping[str, dict[str, Any]],
    broken: Mapping[str, str],
    metadata: Mapping[str, Mapping[str, Any]],
    step_size: int | None,
    tree: str,
) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for dataset, group in files.items():
        mine = {
            path: {**items[path], "steps": _steps(items[path]["num_entries"], step_size)}
            for path in group
            if path in items
        }
        if not mine:
            raise InputFileError(f"dataset {dataset!r} has no file that can be read")
        skipped = {path: broken[path] for path in group if path in broken}
        record = Provenance("datasets", skipped=skipped, configuration={"tree": tree, "files": len(mine)})
        content[dataset] = {"files": mine, "metadata": {**metadata.get(dataset, {}), RECORD: record.to_dict()}}
    return content


def _steps(events: int, size: int | None) -> list[list[int]]:
    """Ranges of about the same number of events."""
    number = max(round(events / size), 1) if size else 1
    length = max(math.ceil(events / number), 1)
    return [[first, min(first + length, events)] for first in range(0, events, length)] or [[0, 0]]


def _state(path: str) -> list[int] | None:
    """What changes with a local file; None for others."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _attempt(path: str, tree: str, retries: int) -> tuple[dict[str, Any], int] | JettaggerError:
    try:
        return count_file(path, tree, retries)
    except JettaggerError as error:
        return error


def _results(
    paths: Sequence[str], tree: str, retries: int, workers: int
) -> Iterator[tuple[str, tuple[dict[str, Any], int] | JettaggerError]]:
    """What is known of each file, or why it cannot be read, in the order in which they are done."""
    if workers == 1 or len(paths) < 2:
        for path in paths:
            yield path, _attempt(path, tree, retries)
        return
    todo = iter(paths)
    with worker_pool(min(workers, len(paths))) as pool:
        pending: dict[Any, str] = {}
        while True:
            for path in islice(todo, 2 * workers - len(pending)):
                pending[submit(pool, _attempt, path, tree, retries)] = path
            if not pending:
                return
            for future in finished(list(pending), pool, f"opening {next(iter(pending.values()))}"):
                yield pending.pop(future), future.result()


@contextmanager
def _kept(
    target: Path, tree: str, resume: bool
) -> Iterator[tuple[dict[str, tuple[Any, dict[str, Any]]], Callable[[str, dict[str, Any]], None]]]:
    """What an earlier run has left of each file, and a function that keeps more; gone after the block."""
    if not resume:
        yield {}, lambda path, item: None
        return
    folder = resume_folder(target)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {folder}: {error.strerror or error}") from error
    lock = lock_folder(folder)
    known: dict[str, tuple[Any, dict[str, Any]]] = {}
    place = folder / DONE
    for line in place.read_text(encoding="utf-8", errors="replace").splitlines() if place.is_file() else ():
        try:
            entry = parse_json(line, str(place), kind=dict)
        except InputFileError:  # the last line of a run that was killed
            continue
        if entry.get("version") == __version__ and entry.get("tree") == tree and "item" in entry:
            known[str(entry.get("path"))] = (entry.get("state"), entry["item"])
    try:
        with place.open("a", encoding="utf-8") as file:

            def keep(path: str, item: dict[str, Any]) -> None:
                entry = {"version": __version__, "tree": tree, "path": path, "state": _state(path), "item": item}
                file.write("\n" + json.dumps(entry))
                file.flush()

            yield known, keep
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if lock is not None:
            lock.close()
        if place.is_file() and not place.stat().st_size:  # nothing was counted
            shutil.rmtree(folder, ignore_errors=True)


guard(globals())
