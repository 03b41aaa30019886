"""Provenance: how an output was made, as one record in every file, and the model that made its scores."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError
from jettagger.files import refuse_special
from jettagger.files.generated import GeneratedFile, sources_of_note
from jettagger.files.hdf5 import hdf5_note
from jettagger.files.jsonfile import parse_json, read_object
from jettagger.files.parquet import note_of, open_parquet
from jettagger.files.root import read_note

__all__ = ["KEY", "SUFFIXES", "Origin", "Provenance", "origin", "parsed", "provenance_of", "read_provenance"]

#: key of the record in JSON files
KEY = "provenance"

#: files that contain the record
SUFFIXES = (".parquet", ".root", ".h5", ".hdf5", ".json", ".json.gz")


@dataclass(frozen=True)
class Origin(Brief):
    """The model that made scores.

    Parameters
    ----------
    model : str
    digest : str
        Digest of the bundle.
    heads : mapping of str to str
        Name of each head -> its digest.
    """

    model: str
    digest: str
    heads: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.model!r} (digest {self.digest[:12]})"

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {"model": self.model, "digest": self.digest, "heads": dict(self.heads)}

    def check(self, other: Origin, what: str) -> None:
        """Refuse scores of another model.

        Parameters
        ----------
        other : Origin
            Origin of the scores.
        what : str
            What was made for this model, for the message.

        Raises
        ------
        MismatchError
        """
        if other.digest != self.digest:
            raise MismatchError(f"{what} belong to the model {self}, but these scores are of {other}")
        for name, digest in self.heads.items():
            theirs = other.heads.get(name, digest)
            if theirs != digest:
                raise MismatchError(
                    f"{what} belong to the head {name!r} with the digest {digest[:12]}, these scores are of one with "
                    f"the digest {theirs[:12]}"
                )


@dataclass(frozen=True)
class Provenance(Brief):
    """How an output was made: the record that all jobs, functions, processors and commands write.

    Parameters
    ----------
    step : str
        What made it: ``tag``, ``convert``, ``simulate``, ``histograms``, ``search``, ``templates``, ``limit``,
        ``finetune``, ``head``, ``working points``, ``map``, ``dataset`` or ``datasets``.
    origin : Origin, optional
        The model and its heads; None if no model was run and the input does not record one.
    model_version : str
    columns : mapping of str to str
        Output -> column.
    where : str or None
        Which jets were scored: a cut, or the name of a function.
    files : tuple of str
        Files that were read.
    skipped : mapping of str to str
        Files that were skipped -> reason.
    generated : tuple of GeneratedFile
        Generated events of the files; empty if one of the files does not record them.
    configuration : mapping
        Further settings: ``file`` and ``digest`` of a configuration, or the settings of a simulation.
    version : str
        Version of jettagger.
    approximate : mapping of str to str
        Inputs of the model that are not stored in files -> how they were approximated.

    Examples
    --------
    >>> print(Provenance("tag", Origin("tinyParT", "a672"), files=("a.root", "b.root")))
    jettagger 0.2.0: tag, model 'tinyParT' (digest a672), 2 files
    """

    step: str
    origin: Origin | None = None
    model_version: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    files: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    generated: tuple[GeneratedFile, ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    approximate: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [self.step]
        if self.origin is not None:
            words.append(f"model {self.origin}")
        if {"file", "digest"} <= set(self.configuration):
            words.append("{file} (digest {digest:.12})".format_map(self.configuration))
        words.append(f"{len(self.files)} file{'s' * (len(self.files) != 1)}")
        return f"jettagger {self.version}: {', '.join(words)}"

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON; keys of a model only if there is one."""
        of_model: dict[str, Any] = {}
        if self.origin is not None:
            of_model = {
                "model": self.origin.model,
                "model_version": self.model_version,
                "digest": self.origin.digest,
                "heads": dict(self.origin.heads),
            }
            of_model |= {"approximate": dict(self.approximate)} if self.approximate else {}
        return {
            "jettagger": self.version,
            "step": self.step,
            **of_model,
            "columns": dict(self.columns),
            "where": self.where,
            "files": list(self.files),
            "skipped": dict(self.skipped),
            "generated": [source.to_dict() for source in self.generated],
            "configuration": dict(self.configuration),
        }

    @property
    def text(self) -> str:
        """The record as JSON text for a file."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Provenance:
        """The record from its JSON content.

        Parameters
        ----------
        content : mapping
            From `to_dict` or `read_provenance`; fields unknown to older versions of jettagger are empty.

        Returns
        -------
        Provenance

        Raises
        ------
        InputFileError
            If a value has the wrong type.

        Examples
        --------
        >>> record = Provenance("tag", Origin("tinyParT", "a672"), where="pt > 300")
        >>> Provenance.from_dict(record.to_dict()) == record
        True
        """
        return cls(
            step=_typed(content, "step", ""),
            origin=origin(content),
            model_version=_typed(content, "model_version", ""),
            columns=_typed(content, "columns", {}),
            where=_typed(content, "where", "") or None,
            files=tuple(map(str, _typed(content, "files", []))),
            skipped=_typed(content, "skipped", {}),
            generated=sources_of_note(json.dumps({"generated": content.get("generated")})),
            configuration=_typed(content, "configuration", {}),
            version=_typed(content, "jettagger", ""),
            approximate=_typed(content, "approximate", {}),
        )

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> Provenance:
        """The record stored in a file.

        Parameters
        ----------
        path : path
            As for `read_provenance`.

        Returns
        -------
        Provenance
            With an empty ``step`` for a file not written by jettagger.

        Raises
        ------
        InputFileError
        """
        return cls.from_dict(read_provenance(path))

    def then(self, step: str, files: Iterable[str | os.PathLike[str]] | None = None) -> Provenance:
        """The record of what this version of jettagger makes from the file: the same model, another step.

        Parameters
        ----------
        step : str
        files : iterable of path, optional
            Files that are read in this step; default: those of this record.

        Returns
        -------
        Provenance
        """
        read = self.files if files is None else tuple(os.fspath(path) for path in files)
        return replace(self, step=step, files=read, version=__version__)


def _typed(content: Mapping[str, Any], key: str, default: Any) -> Any:
    """A value of the type of its default, which replaces an absent one."""
    value = content.get(key)
    if value is None:
        return default
    if not isinstance(value, type(default)):
        raise InputFileError(f"provenance: {key!r} is {value!r}, expected {_KINDS[type(default)]}")
    return value


_KINDS: dict[type, str] = {str: "text", dict: "an object", list: "a list"}


def provenance_of(
    tagger: Any,
    columns: Mapping[str, str],
    where: str | Callable[..., Any] | None,
    files: Iterable[str],
    *,
    skipped: Mapping[str, str] | None = None,
    generated: Iterable[GeneratedFile] = (),
    step: str = "tag",
    configuration: Mapping[str, Any] | None = None,
) -> Provenance:
    """The record of the output of a tagger.

    Parameters
    ----------
    tagger : Tagger, Bundle, Origin or None
    columns : mapping of str to str
        Output -> column.
    where : str, callable or None
        The selection of jets.
    files : iterable of str
        Files that are read, without repetition.
    skipped : mapping, optional
    generated : iterable of GeneratedFile
    step : str
    configuration : mapping, optional

    Returns
    -------
    Provenance

    Examples
    --------
    >>> provenance_of(Origin("tinyParT", "a672"), {"mass": "tinyParT_mass"}, "pt > 300", ["a.root"]).to_dict()["where"]
    'pt > 300'
    """
    bundle = getattr(tagger, "bundle", tagger)
    card = getattr(bundle, "card", None)
    cut = getattr(where, "__qualname__", type(where).__name__) if callable(where) else where
    return Provenance(
        step,
        None if tagger is None else origin(tagger),
        getattr(card, "version", ""),
        dict(columns),
        cut,
        tuple(dict.fromkeys(files)),
        dict(skipped or {}),
        tuple(generated),
        dict(configuration or {}),
        approximate=dict(getattr(bundle, "approximate", {})),
    )


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read from a file how it was made.

    Parameters
    ----------
    path : path
        A skim, a converted or simulated file (``.parquet``, ``.root``), a dataset of whole events (``.h5``),
        histograms, templates, workspaces, limits, cutflows, working points, maps, filesets, the description of
        a head (``.json``, ``.json.gz``), or templates in a ROOT file.

    Returns
    -------
    dict
        As returned by `Provenance.to_dict`; empty for a file not written by jettagger, or by a version that stored no
        record in such files.

    Raises
    ------
    InputFileError
        If the file is missing, damaged, or of none of these kinds.
    MissingExtra
        For a dataset without h5py.
    """
    text = os.fspath(path)
    if text.endswith(".root"):
        return parsed(read_note(text))
    if text.endswith((".json", ".json.gz")):
        return _in_json(Path(text))
    if text.endswith((".h5", ".hdf5")):
        return parsed(hdf5_note(text))
    if not text.endswith(".parquet"):
        raise InputFileError(f"{text}: expected a file {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    with open_parquet(text) as file:
        return parsed(note_of(file.schema_arrow))


def _in_json(path: Path) -> dict[str, Any]:
    """The record in a JSON file: under its own key, or in the place that a foreign format provides."""
    if path.name.endswith(".gz"):
        refuse_special(path)
        try:
            content = parse_json(gzip.decompress(path.read_bytes()), str(path), kind=dict, finite=False)
        except (OSError, EOFError, zlib.error) as error:
            raise InputFileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    else:
        content = read_object(path, finite=False)
    if isinstance(content.get(KEY), Mapping):
        return dict(content[KEY])
    if isinstance(content.get("training"), Mapping):  # a head
        return _mapping(content["training"].get(KEY))
    if isinstance(content.get("description"), str):  # correctionlib
        return _mapping(_mapping(parsed(content["description"]).get("jettagger")).get(KEY))
    if "channels" in content:  # a workspace: the format of pyhf has no room, its list of templates knows its checksum
        return _of_workspace(path)
    first = next(iter(content.values()), None)  # a fileset, whose top level holds data sets alone
    return _mapping(_mapping(_mapping(first).get("metadata")).get("jettagger"))


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _of_workspace(path: Path) -> dict[str, Any]:
    listing = path.parent / "templates.json"
    if not listing.is_file():
        return {}
    content = read_object(listing)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    listed = (_mapping(signal).get("sha256") for signal in _mapping(content.get("signals")).values())
    return _mapping(content.get(KEY)) if digest in listed else {}


def parsed(note: str) -> dict[str, Any]:
    """The provenance from the text stored in a file.

    Parameters
    ----------
    note : str
        JSON.

    Returns
    -------
    dict
        Empty if the text is not from jettagger.

    Examples
    --------
    >>> parsed('{"model": "tinyParT"}'), parsed("by hand"), parsed("")
    ({'model': 'tinyParT'}, {}, {})
    """
    try:
        content = parse_json(note, "note", finite=False) if note else {}
    except InputFileError:  # written by somebody else
        return {}
    return content if isinstance(content, dict) else {}


def origin(source: Any) -> Origin | None:
    """The model that made scores.

    Parameters
    ----------
    source : path, mapping, pyarrow table, Tagger, Bundle or Origin
        A skim, the result of `read_provenance`, a table read from a skim, or the object that made the scores.

    Returns
    -------
    Origin or None
        None if a skim or a table does not record it.

    Raises
    ------
    ConfigError
        If it is none of these.
    InputFileError
        If a skim cannot be read.
    """
    if isinstance(source, Origin):
        return source
    if isinstance(source, (str, os.PathLike)):
        source = read_provenance(source)
    elif type(source).__module__.partition(".")[0] == "pyarrow" and hasattr(source, "schema"):
        source = parsed(note_of(source.schema))
    if isinstance(source, Mapping):
        known = isinstance(source.get("model"), str) and isinstance(source.get("digest"), str)
        heads = source.get("heads") or {}
        if not isinstance(heads, Mapping) or not all(isinstance(value, str) for value in heads.values()):
            raise InputFileError(f"provenance: 'heads' is {heads!r}, expected the digest of each head")
        return Origin(source["model"], source["digest"], dict(heads)) if known else None
    heads = {head.name: head.digest for head in getattr(source, "heads", ())}
    bundle = getattr(source, "bundle", source)
    if not isinstance(getattr(bundle, "digest", None), str) or not isinstance(getattr(bundle, "name", None), str):
        raise ConfigError(
            f"model: expected the path of a skim, its provenance, a tagger or a bundle, got {type(source).__name__}"
        )
    return Origin(bundle.name, bundle.digest, heads)


def __dir__() -> list[str]:
    return sorted(__all__)
