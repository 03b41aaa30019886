"""The samples of a configuration: their files as given, in lists and in filesets, with the metadata of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.config.yamlfile import Document
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, UnknownName
from jettagger.expressions import parse
from jettagger.search.definition import Sample
from jettagger.search.eras import Era
from jettagger.search.expanding import expand
from jettagger.search.filesets import (
    FILESETS,
    Fileset,
    ListedFile,
    SampleMetadata,
    is_list,
    read_fileset,
    read_list,
    select_datasets,
)
from jettagger.search.schema import RUNS

if TYPE_CHECKING:
    from jettagger.search.schema import SampleKeys, SearchFile

__all__ = ["FileSet", "era_place", "read_eras", "read_samples"]


@dataclass(frozen=True)
class FileSet(Brief):
    """The files of one data set.

    Attributes
    ----------
    patterns : tuple of str
        Paths and globs, local or with a protocol, as given.
    from_runs : bool
        Whether the sum of generator weights must be taken from the trees ``Runs`` of the files; this is the default if
        they have it.
    section_from_runs : bool
        Whether the cross section is taken from the trees ``Runs``, where ``jettagger simulate`` writes it.
    listed : tuple of ListedFile
        Files of lists and filesets.
    sources : tuple of str
        These lists and filesets.
    unused : tuple of str
        Keys of the metadata in filesets that are not used.
    """

    patterns: tuple[str, ...] = ()
    from_runs: bool = False
    section_from_runs: bool = False
    listed: tuple[ListedFile, ...] = ()
    sources: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def read_samples(document: Document, content: Any, folder: Path) -> tuple[dict[str, Sample], dict[str, FileSet]]:
    """The samples of a configuration. Lists and filesets are read; nothing that they name is opened.

    Parameters
    ----------
    document : Document
    content : FileModel
        With the keys ``samples`` and ``tree`` of a search.
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    samples : dict of str to Sample
    files : dict of str to FileSet

    Raises
    ------
    ConfigError
        If a sample is inconsistent, also with the metadata of its filesets; gives the line.
    """
    samples, files = {}, {}
    opened: dict[str, dict[str, Fileset]] = {}
    for name, keys in content.samples.items():
        with document.at("samples", name, "files"):
            patterns, listed, sources, chosen = _files(document, name, keys, folder, opened)
            for file in listed:
                if file.tree not in (None, content.tree):
                    raise ConfigError(
                        f"{file.source}: the tree of {file.path} is {file.tree!r}, the one of this configuration "
                        f"{content.tree!r}: give 'tree: {file.tree}'"
                    )
        with document.at("samples", name):
            known = _combined(chosen)
            section, total = keys.cross_section, keys.sum_of_weights
            data = _is_data(keys, known)
            section = known.cross_section if section is None and not data else section
            whole = known.sum_of_weights if total is None and not data else total
            samples[name] = Sample(
                cross_section=1.0 if isinstance(section, str) else section,  # a stand-in until the files are opened
                data=data,
                sum_of_weights=None if whole == RUNS else whole,
                golden_json=None if keys.golden_json is None else str(folder / keys.golden_json),
                era=_era(keys, known, getattr(content, "eras", {})),
                cut=None if keys.cut is None else parse(keys.cut, document.where("samples", name, "cut")),
            )
            if total == RUNS and data:
                raise ConfigError("data have no sum of weights: leave out sum_of_weights")
        files[name] = FileSet(
            patterns,
            from_runs=total == RUNS,
            section_from_runs=section == RUNS,
            listed=listed,
            sources=sources,
            unused=known.unused,
        )
    return samples, files


def era_place(document: Document, name: str) -> tuple[Any, ...]:
    """The place of an era in a configuration, where its name may be a number.

    Parameters
    ----------
    document : Document
    name : str

    Returns
    -------
    tuple
    """
    return ("eras", next((key for key in document.data.get("eras") or {} if str(key) == name), name))


def read_eras(document: Document, content: SearchFile, folder: Path) -> tuple[float, dict[str, Era]]:
    """The eras of a search, and its luminosity without any.

    Parameters
    ----------
    document : Document
    content : SearchFile
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    luminosity : float
        In 1/fb; 1 with eras, which have their own.
    eras : dict of str to Era

    Raises
    ------
    ConfigError
        If there is neither a luminosity nor an era, or both.
    """
    if content.eras and content.luminosity is not None:
        place = document.where("luminosity")
        raise ConfigError(f"{place}: give either 'luminosity' or 'eras', each of which has its own, got both")
    if not content.eras and content.luminosity is None:
        raise ConfigError(f"{document.where()}: the key 'luminosity' is missing (or 'eras', each with its own)")
    eras: dict[str, Era] = {}
    if len(content.eras) < len(document.data.get("eras") or {}):
        raise ConfigError(f"{document.where('eras')}: an era is given twice, as a number and as text")
    for name, keys in content.eras.items():
        with document.at(*era_place(document, name)):
            certified = None if keys.certified is None else str(folder / keys.certified)
            eras[name] = Era(keys.luminosity, keys.energy, certified, keys.triggers)
    return content.luminosity or 1.0, eras


def _files(
    document: Document, name: str, keys: SampleKeys, folder: Path, opened: dict[str, dict[str, Fileset]]
) -> tuple[tuple[str, ...], tuple[ListedFile, ...], tuple[str, ...], list[Fileset]]:
    """Patterns, files of lists, the lists themselves, and the data sets of filesets."""
    patterns: list[str] = []
    listed: list[ListedFile] = []
    sources: list[str] = []
    filesets: list[str] = []
    for pattern in keys.files:
        if not is_list(pattern):
            patterns.append(pattern)
            continue
        if "://" in pattern:
            raise ConfigError(f"{pattern} is on a server: lists of files and filesets must be local, copy it")
        for path in _expanded(pattern, folder):
            sources.append(path)
            if path.removesuffix(".gz").endswith(FILESETS):
                filesets.append(path)
                if path not in opened:
                    opened[path] = read_fileset(path)
            else:
                listed += read_list(path)
    if keys.dataset and not filesets:
        with document.at("samples", name, "dataset"):
            raise ConfigError("'dataset' selects from a fileset (.json, .yaml), but 'files' names none")
    chosen: list[Fileset] = []
    if filesets:
        contents = [opened[path] for path in filesets]
        with document.at("samples", name, *(["dataset"] if keys.dataset else ["files"])):
            chosen = select_datasets(contents, keys.dataset, name, ", ".join(filesets))
    listed += [file for item in chosen for file in item.files]
    return tuple(patterns), tuple(listed), tuple(sources), chosen


def _expanded(pattern: str, folder: Path) -> list[str]:
    try:
        return expand(pattern, folder)
    except InputFileError as error:
        raise ConfigError(str(error)) from error


def _combined(chosen: list[Fileset]) -> SampleMetadata:
    """The metadata of several data sets that are one sample."""
    items = [item.metadata for item in chosen]
    values: dict[str, Any] = {}
    for key in ("cross_section", "data", "eras"):
        for item in chosen:
            value = getattr(item.metadata, key)
            if value in (None, ()):
                continue
            first, before = values.setdefault(key, (item, value))
            if before != value:
                shown = key.removesuffix("s")
                raise ConfigError(
                    f"the metadata of {first.name!r} ({first.source}) and {item.name!r} ({item.source}) differ in "
                    f"{shown!r}: {before!r} and {value!r}; make a sample of each"
                )
    sums = [item.sum_of_weights for item in items]
    total = sum(number for number in sums if number is not None) if sums and None not in sums else None
    unused = dict.fromkeys(key for item in items for key in item.unused)
    found: Mapping[str, Any] = {key: value for key, (_, value) in values.items()}
    return SampleMetadata(sum_of_weights=total, unused=tuple(unused), **found)


def _era(keys: SampleKeys, known: SampleMetadata, eras: Mapping[str, Any]) -> str:
    """The era of a sample: its own, or the first of its metadata that is one."""
    if keys.era is not None or not eras or not known.eras:
        return keys.era or ""
    found = [name for name in known.eras if name in eras]
    if not found:
        raise UnknownName("era", known.eras[0], eras, "the metadata of its fileset")
    return found[0]


def _is_data(keys: SampleKeys, known: SampleMetadata) -> bool:
    if known.data is None:
        return keys.data
    if "data" in keys.model_fields_set and keys.data != known.data:
        words = {True: "data", False: "simulation"}
        raise ConfigError(
            f"'data' is {str(keys.data).lower()}, but the metadata of its fileset says that it is {words[known.data]}"
        )
    return known.data


guard(globals())
