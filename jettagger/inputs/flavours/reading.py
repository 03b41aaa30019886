"""Flavours from their files: those of the package, and those of users."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from jettagger.arguments import guard
from jettagger.config.models import validated
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, UnknownName
from jettagger.formats.base import Format, JetKind
from jettagger.formats.naming import Names, check_names, names_of
from jettagger.formats.pfnano import PFNANO, PFNANO_AK4, pfnano
from jettagger.inputs.flavours.schema import VERSION, FlavourFile

__all__ = ["Flavour", "declared_names", "flavour_of", "flavours", "read_flavour"]


@dataclass(frozen=True)
class Flavour(Brief):
    """Names of the collections and columns of PFNano in a production.

    Parameters
    ----------
    name, title : str
    names : mapping of str to str or None
        PFNano's name of a collection, or of a column with its collection -> that in the file, if different; None for an
        index that the file lacks.
    """

    name: str
    title: str
    names: Names

    def format(self, kind: JetKind = "AK8") -> Format:
        """The declaration of PFNano with these names.

        Parameters
        ----------
        kind : {"AK8", "AK4"}
            Kind of the jets.

        Returns
        -------
        Format
        """
        title = self.title if kind == "AK8" else f"{self.title}, AK4 jets"
        return pfnano(self.names, self.name, title, kind)


def read_flavour(source: str | os.PathLike[str], name: str = "") -> Flavour:
    """Read a flavour from a YAML file.

    Parameters
    ----------
    source : path, or str
        The file; with ``name``, its text.
    name : str
        Name of a text in messages.

    Returns
    -------
    Flavour

    Raises
    ------
    ConfigError
        If the file is not valid; gives the line, the value, and what is expected.
    UnknownName
        If it names something that PFNano lacks; gives the line and the nearest name.

    Examples
    --------
    >>> text = "{version: 1, name: mine, collections: {PFCands: MyCands}, columns: {JetPFCands.pFCandsIdx: candIdx}}"
    >>> read_flavour(text, "example").names
    {'PFCands': 'MyCands', 'JetPFCands.pFCandsIdx': 'candIdx'}
    """
    document = read_yaml(source, name)
    content = validated(FlavourFile, document, VERSION)
    known = names_of(PFNANO, PFNANO_AK4)
    collections = [item for item in known if "." not in item]
    columns = [item for item in known if "." in item]
    for key, what, names in (("collections", "collection", collections), ("columns", "column", columns)):
        for item in getattr(content, key):
            if item not in names:
                raise UnknownName(what, item, names, document.where(key, item))
    _refuse_twice(content.collections, document)
    for place, item in enumerate(content.absent):
        where = document.where("absent", place)
        if item not in columns:
            raise UnknownName("column", item, columns, where)
        if item in content.columns:
            raise ConfigError(
                f"{where}: {item} is both absent and called {content.columns[item]!r}, expected one of the two"
            )
        try:
            check_names({item: None}, PFNANO, PFNANO_AK4)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    names_in_file: dict[str, str | None] = {**content.collections, **content.columns, **dict.fromkeys(content.absent)}
    return Flavour(content.name, content.title or content.name, names_in_file)


def _refuse_twice(given: Mapping[str, str], document: Document) -> None:
    """Refuse the same name for two collections."""
    first: dict[str, str] = {}
    for item, name in given.items():
        if first.setdefault(name, item) != item:
            raise ConfigError(
                f"{document.where('collections', item)}: {name!r} is the name of {first[name]} already, expected "
                f"another one for {item}"
            )


@lru_cache(maxsize=1)
def flavours() -> Mapping[str, Flavour]:
    """The flavours of the package by name.

    Returns
    -------
    mapping of str to Flavour

    Examples
    --------
    >>> flavours()["pfnano-106x"].names["PFCands"]
    'JetPFCands'
    """
    folder = files("jettagger.inputs.flavours") / "productions"
    found = [Flavour("pfnano", PFNANO.title, {})]
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            found.append(read_flavour(path.read_text(encoding="utf-8"), path.name))
    return {item.name: item for item in found}


def flavour_of(name_or_path: str | os.PathLike[str]) -> Flavour:
    """A flavour of the package by its name, or one from a user's file.

    Parameters
    ----------
    name_or_path : str or path

    Returns
    -------
    Flavour

    Raises
    ------
    UnknownName
        If it is neither; gives the nearest names.
    InputFileError
        If the file does not exist.
    ConfigError
        As for `read_flavour`.
    """
    text = os.fspath(name_or_path)
    if text in flavours():
        return flavours()[text]
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        if not os.path.isfile(text):
            raise InputFileError(f"no such file: {text}, expected a YAML file that declares a flavour of PFNano")
        return read_flavour(text)
    raise UnknownName("flavour", text, flavours(), "those of PFNano; a file that declares another ends with .yaml")


def declared_names(names: Names | None, flavour: str | os.PathLike[str] | None) -> Names | None:
    """The names of a production, given directly or by a flavour.

    Parameters
    ----------
    names : mapping, optional
    flavour : str or path, optional
        As for `flavour_of`.

    Returns
    -------
    mapping or None

    Raises
    ------
    MismatchError
        If both are given.
    UnknownName, InputFileError, ConfigError
        As for `flavour_of`.
    """
    if flavour is None:
        return names
    if names is not None:
        raise MismatchError("give either format= or names=, not both: put the names into the file of the format")
    return flavour_of(flavour).names


guard(globals(), "flavour_of", "read_flavour")
