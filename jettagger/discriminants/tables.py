"""The groups of scores of each known model, and the presets, from ``presets.yaml``."""

from __future__ import annotations

import fnmatch
import importlib.resources
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

from jettagger.arguments import guard
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.discriminants.algebra import Node, Score, log_ratio, ratio, read
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName

__all__ = ["Model", "Preset", "expand", "find_model", "model", "models", "preset", "presets", "stems"]


def expand(pattern: str) -> list[str]:
    """The blank-separated names in a text with ``{a,b}`` alternatives.

    Examples
    --------
    >>> expand("probHWqqWq{0,1}c probHbb")
    ['probHWqqWq0c', 'probHWqqWq1c', 'probHbb']
    """
    names: list[str] = []
    for word in pattern.split():
        match = re.search(r"\{([^{}]*)\}", word)
        if match is None:
            names.append(word)
            continue
        for choice in match.group(1).split(","):
            names.extend(expand(word[: match.start()] + choice + word[match.end() :]))
    return names


@dataclass(frozen=True)
class Model(Brief):
    """Class names of a model, and their groups.

    Attributes
    ----------
    name : str
        E.g. ``"inclParTMDV1"``.
    title, source : str
        Description, and origin of the names.
    prefixes : tuple of str
        Globs of the usual prefixes of its columns.
    stems : tuple of str
        Prefixes without ``_`` before the score: ``btagPNet`` in ``btagPNetCvL``.
    spellings : tuple of str
        Spellings of a class in files, the usual one first, with ``{}`` for its name.
    partition : mapping
        Disjoint groups that together cover each class exactly once.
    unions : mapping
        Groups made of those.
    ready : mapping
        Presets that are stored themselves, as expressions in stored columns.
    """

    name: str
    title: str
    source: str
    prefixes: tuple[str, ...]
    stems: tuple[str, ...]
    spellings: tuple[str, ...]
    partition: Mapping[str, tuple[str, ...]]
    unions: Mapping[str, tuple[str, ...]]
    ready: Mapping[str, Node]

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, group after group."""
        return tuple(name for group in self.partition.values() for name in group)

    @property
    def outputs(self) -> frozenset[str]:
        """Its columns in the usual spelling."""
        return frozenset(self.spellings[0].replace("{}", name) for name in self.classes) | self.stored

    @property
    def stored(self) -> frozenset[str]:
        """The stored columns with ratios of scores, which provide presets."""
        nodes = (node for item in self.ready.values() for node in item.walk())
        return frozenset(node.name for node in nodes if isinstance(node, Score))

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name of a column with a probability or a ratio of probabilities, in every spelling."""
        spelled = {text.replace("{}", name) for name in self.classes for text in self.spellings}
        return frozenset(self.classes) | spelled | self.stored

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Every group, including unions -> its classes."""
        together = {
            name: tuple(item for part in parts for item in self.partition[part]) for name, parts in self.unions.items()
        }
        return {**self.partition, **together}

    def group(self, name: str) -> tuple[str, ...]:
        """The classes of a group.

        Raises
        ------
        UnknownName
            If the model has no such group.
        """
        groups = self.groups
        if name not in groups:
            raise UnknownName("group", name, groups, f"model {self.name!r}")
        return groups[name]

    def column(self, name: str, columns: Iterable[str]) -> str | None:
        """The column of a class among given columns, or None."""
        spelled = (spelling.replace("{}", name) for spelling in self.spellings)
        return next((item for item in spelled if item in columns), None)

    def check_coverage(self, names: Sequence[str]) -> None:
        """Check that the groups cover the classes of a model exactly once.

        Parameters
        ----------
        names : sequence of str
            The names of the model's class outputs, without masses and hidden neurons.

        Raises
        ------
        MismatchError
            If a class is in no group or in two, or if a group has a class that the model lacks.

        Examples
        --------
        >>> model("particleNetMD").check_coverage(["Xbb", "Xcc", "Xqq", "QCD"])
        """
        mine = self.classes
        found = {name: self.column(name, names) for name in mine}
        absent = [name for name, column in found.items() if column is None]
        uncovered = sorted(set(names) - {column for column in found.values() if column})
        twice = sorted({name for name in mine if mine.count(name) > 1})
        parts = [
            f"{len(items)} {text} ({', '.join(items[:5])}{', ...' if len(items) > 5 else ''})"
            for items, text in (
                (uncovered, "in no group"),
                (absent, "in a group but not among the names"),
                (twice, "in more than one group"),
            )
            if items
        ]
        if parts:
            text = f"the groups of model {self.name!r} do not cover the {len(names)} classes exactly once: "
            raise MismatchError(text + "; ".join(parts))


@dataclass(frozen=True)
class Preset(Brief):
    """A discriminant of a signal against a background, in groups of scores.

    Attributes
    ----------
    name, text : str
        Name and description.
    signal, background : Node
        Sums of groups.
    parameters : mapping
        Weights and their default values.
    """

    name: str
    text: str
    signal: Node
    background: Node
    parameters: Mapping[str, float]

    def expression(self, form: str = "ratio") -> Node:
        """``signal / (signal + background)``, or for ``"log_ratio"`` ``log(signal / background)``.

        Raises
        ------
        UnknownName
            If the preset does not have this form.
        """
        forms = {"ratio": ratio, "log_ratio": log_ratio}
        if form not in forms:
            raise UnknownName("form", form, forms, f"discriminant {self.name!r}")
        return forms[form](self.signal, self.background)


@lru_cache(maxsize=1)
def _document() -> Document:
    text = importlib.resources.files(__package__).joinpath("presets.yaml").read_text(encoding="utf-8")
    return read_yaml(text, name="presets.yaml")


def _model(document: Document, name: str) -> Model:
    path = ("models", name)
    keys = ("title", "source", "prefixes", "stems", "spellings", "count", "classes", "unions", "ready")
    document.check_keys(keys, *path, required=("title", "source", "count", "classes"))
    entry = document.mapping(*path)
    partition = {group: tuple(expand(text)) for group, text in entry["classes"].items()}
    classes = [item for group in partition.values() for item in group]
    if len(classes) != entry["count"] or len(set(classes)) != len(classes):
        twice = sorted({item for item in classes if classes.count(item) > 1})
        text = f"{len(classes)} classes, expected {entry['count']}; in two groups: {', '.join(twice) or 'none'}"
        raise ConfigError(f"{document.where(*path, 'classes')}: model {name!r} has {text}")
    unions = {}
    for union, parts in entry.get("unions", {}).items():
        unknown = [part for part in parts if part not in partition]
        if unknown:
            where = document.where(*path, "unions", union)
            raise UnknownName("group", unknown, partition, where)
        unions[union] = tuple(parts)
    ready = {key: read(text, where=document.where(*path, "ready", key)) for key, text in entry.get("ready", {}).items()}
    return Model(
        name=name,
        title=entry["title"],
        source=entry["source"],
        prefixes=(*entry.get("prefixes", ()), *entry.get("stems", ())),
        stems=tuple(entry.get("stems", ())),
        spellings=tuple(entry.get("spellings", ("{}",))),
        partition=MappingProxyType(partition),
        unions=MappingProxyType(unions),
        ready=MappingProxyType(ready),
    )


@lru_cache(maxsize=1)
def models() -> Mapping[str, Model]:
    """The known models by name.

    Examples
    --------
    >>> models()["inclParTMDV1"].group("HWW4q")
    ('probHWqqWqq0c', 'probHWqqWqq1c', 'probHWqqWqq2c')
    """
    document = _document()
    return MappingProxyType({name: _model(document, name) for name in document.mapping("models")})


def model(name: str) -> Model:
    """A known model by its name or by the prefix of its columns.

    Raises
    ------
    UnknownName
        If there is none.
    """
    if name in models():
        return models()[name]
    fitting = [item for item in models().values() if any(fnmatch.fnmatchcase(name, p) for p in item.prefixes)]
    if len(fitting) != 1:
        raise UnknownName("model", name, models())
    return fitting[0]


@lru_cache(maxsize=1)
def stems() -> frozenset[str]:
    """Prefixes without ``_`` before the score, of all models."""
    return frozenset(stem for item in models().values() for stem in item.stems)


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    """The preset discriminants by name.

    Examples
    --------
    >>> print(presets()["HWWlvqqvsQCDTop"].background)
    alpha * sum(QCD) + beta * sum(Top)
    """
    document = _document()
    found = {}
    for name in document.mapping("presets"):
        path = ("presets", name)
        document.check_keys(
            ("text", "signal", "background", "parameters"),
            *path,
            required=("text", "signal", "background"),
        )
        entry = document.mapping(*path)
        parameters = {key: float(value) for key, value in entry.get("parameters", {}).items()}
        found[name] = Preset(
            name=name,
            text=entry["text"],
            signal=read(entry["signal"], parameters, document.where(*path, "signal")),
            background=read(entry["background"], parameters, document.where(*path, "background")),
            parameters=MappingProxyType(parameters),
        )
    return MappingProxyType(found)


def preset(name: str) -> Preset:
    """A preset by its name.

    Raises
    ------
    UnknownName
        If there is none of that name.
    """
    if name not in presets():
        raise UnknownName("discriminant", name, presets(), "the presets", "jettagger discriminants list")
    return presets()[name]


@lru_cache(maxsize=1024)
def find_model(prefix: str, columns: frozenset[str]) -> Model | None:
    """The model whose names are among the columns of a prefix, or None.

    Parameters
    ----------
    prefix : str
        Prefix, used as a hint.
    columns : frozenset of str
        The parts of the column names after the prefix.

    Returns
    -------
    Model or None
        The one with most of its names among the columns; if tied, the one that lacks fewer.
    """

    def fit(item: Model) -> tuple[bool, int, float]:
        here = sum(item.column(name, columns) is not None for name in item.classes)
        here += len(item.stored & columns)
        named = any(fnmatch.fnmatchcase(prefix, pattern) for pattern in item.prefixes)
        return named and here > 0, here, here / (len(item.classes) + len(item.stored))

    best = max(models().values(), key=fit)
    return best if fit(best)[1] else None


guard(globals(), "Model", "Preset", "model", "models", "presets")
