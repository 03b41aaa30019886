"""How an output was made: one record in every skim, who made its scores, and what taggers and bundles are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jettagger._version import __version__
from jettagger.errors import ConfigError, InputFileError, MismatchError
from jettagger.files.generated import GeneratedFile
from jettagger.files.jsonfile import parse_json
from jettagger.files.parquet import note_of, open_parquet
from jettagger.files.root import EventFile

__all__ = ["Origin", "Provenance", "origin", "parsed", "provenance_of", "read_provenance"]


@dataclass(frozen=True)
class Origin:
    """The model that made some scores.

    Parameters
    ----------
    model : str
    digest : str
        Of the bundle.
    heads : mapping of str to str
        Name of each head to its digest.
    """

    model: str
    digest: str
    heads: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.model!r} (digest {self.digest[:12]})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"model": self.model, "digest": self.digest, "heads": dict(self.heads)}

    def check(self, other: Origin, what: str) -> None:
        """Refuse scores that another model made.

        Parameters
        ----------
        other : Origin
            Whose scores these are.
        what : str
            What was made for this model, for the message.

        Raises
        ------
        MismatchError
        """
        if other.digest != self.digest:
            raise MismatchError(f"{what} belong to the model {self}, these scores are of {other}")
        for name, digest in self.heads.items():
            theirs = other.heads.get(name, digest)
            if theirs != digest:
                raise MismatchError(
                    f"{what} belong to the head {name!r} with the digest {digest[:12]}, these scores are of one with "
                    f"the digest {theirs[:12]}"
                )


@dataclass(frozen=True)
class Provenance:
    """How an output was made: the one record that jobs, functions and processors write.

    Parameters
    ----------
    origin : Origin
        The model and its heads.
    model_version : str
    columns : mapping of str to str
        Output -> column.
    where : str or None
        Which jets were scored: a cut, or the name of a function.
    files : tuple of str
        What was read.
    skipped : mapping of str to str
        Files that were left out, and why.
    generated : tuple of GeneratedFile
        The generated events behind the files; empty where one of them does not say.
    version : str
        Of jettagger.
    """

    origin: Origin
    model_version: str
    columns: Mapping[str, str]
    where: str | None
    files: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    generated: tuple[GeneratedFile, ...] = ()
    version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "jettagger": self.version,
            "model": self.origin.model,
            "model_version": self.model_version,
            "digest": self.origin.digest,
            "heads": dict(self.origin.heads),
            "columns": dict(self.columns),
            "where": self.where,
            "files": list(self.files),
            "skipped": dict(self.skipped),
            "generated": [source.to_dict() for source in self.generated],
        }

    @property
    def text(self) -> str:
        """The JSON that a file carries."""
        return json.dumps(self.to_dict())


def provenance_of(
    tagger: Any,
    columns: Mapping[str, str],
    where: str | Callable[..., Any] | None,
    files: Iterable[str],
    *,
    skipped: Mapping[str, str] | None = None,
    generated: Iterable[GeneratedFile] = (),
) -> Provenance:
    """The record of what a tagger makes.

    Parameters
    ----------
    tagger : Tagger
    columns : mapping of str to str
        Output -> column.
    where : str, callable or None
        The selection of jets.
    files : iterable of str
        What is read; each is named once.
    skipped : mapping, optional
    generated : iterable of GeneratedFile

    Returns
    -------
    Provenance

    Examples
    --------
    >>> provenance_of(Origin("tinyParT", "a672"), {"mass": "tinyParT_mass"}, "pt > 300", ["a.root"]).to_dict()["where"]
    'pt > 300'
    """
    made_by = origin(tagger)
    assert made_by is not None
    card = getattr(getattr(tagger, "bundle", None), "card", None)
    cut = getattr(where, "__qualname__", type(where).__name__) if callable(where) else where
    return Provenance(
        made_by,
        getattr(card, "version", ""),
        dict(columns),
        cut,
        tuple(dict.fromkeys(files)),
        dict(skipped or {}),
        tuple(generated),
    )


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a skim says of how it was made.

    Parameters
    ----------
    path : path
        ``.parquet`` or ``.root``, as ``jettagger tag`` writes them.

    Returns
    -------
    dict
        Model, digest, heads, columns, files; empty for a file that jettagger did not write.

    Raises
    ------
    InputFileError
        If it is missing, damaged, or neither parquet nor ROOT.
    """
    text = os.fspath(path)
    if text.endswith(".root"):
        with EventFile(text) as file:
            return parsed(file.note())
    if not text.endswith(".parquet"):
        raise InputFileError(f"{text}: expected a skim .parquet or .root")
    with open_parquet(text) as file:
        return parsed(note_of(file.schema_arrow))


def parsed(note: str) -> dict[str, Any]:
    """The provenance in the text that a file carries.

    Parameters
    ----------
    note : str
        JSON.

    Returns
    -------
    dict
        Empty where somebody else wrote the text.

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
    """The model behind some scores.

    Parameters
    ----------
    source : path, mapping, pyarrow table, Tagger or Bundle
        A skim, what `read_provenance` gives, a table that was read from a skim, or what made the scores.

    Returns
    -------
    Origin or None
        None where a skim or a table does not say.

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
