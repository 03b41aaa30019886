"""The configuration of a study: a YAML file, validated with file and line before other files are opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.config.models import validated
from jettagger.config.yamlfile import Document, read_yaml, yaml_text
from jettagger.discriminants import Discriminant, discriminant, presets
from jettagger.display import Brief
from jettagger.errors import ConfigError, JettaggerError, UnknownName, nearest
from jettagger.expressions import Expression, parse
from jettagger.finetuning import FinetuneConfig
from jettagger.finetuning import read_config as read_training
from jettagger.studies.sculpting.schema import VERSION, DecorrelateFile, HeadKeys, MapKeys, StudyJetsKeys

__all__ = ["HeadTraining", "SampleFiles", "StudyConfig", "read_config"]

_BINNED = ("axes", "smoothing", "width", "neighbours", "sparse", "least")
#: options of the methods of maps
_OF_MAPS = {
    "linear": ("statistic", "bins", "range", "least"),
    "thresholds": ("efficiencies", *_BINNED),
    "quantiles": ("levels", *_BINNED),
}


@dataclass(frozen=True)
class SampleFiles(Brief):
    """Jets of one kind.

    Parameters
    ----------
    files : tuple of str
        Paths and globs.
    select, weight : Expression or None
    """

    files: tuple[str, ...]
    select: Expression | None
    weight: Expression | None


@dataclass(frozen=True, eq=False)
class HeadTraining(Brief):
    """A head to be trained.

    Parameters
    ----------
    name : str
        Unique name, with the strength if there are several: ``disco-10``.
    family : str
        Name in the configuration.
    method : str
        Method of its decorrelation; empty if there is none.
    strength : float or None
    config : FinetuneConfig
    score : Discriminant
        In its outputs.
    """

    name: str
    family: str
    method: str
    strength: float | None
    config: FinetuneConfig
    score: Discriminant


@dataclass(frozen=True)
class StudyConfig(Brief):
    """The configuration of a study; made by `read_config`.

    Parameters
    ----------
    document : Document
        The YAML document.
    folder : pathlib.Path
        Folder of relative paths.
    content : DecorrelateFile
        Its keys.
    discriminant : Discriminant or str
        A discriminant, or the name of a head.
    background, signal : SampleFiles
    heads : tuple of HeadTraining
    """

    document: Document
    folder: Path
    content: DecorrelateFile
    discriminant: Discriminant | str
    background: SampleFiles
    signal: SampleFiles
    heads: tuple[HeadTraining, ...]

    @property
    def edges(self) -> dict[str, tuple[float, ...]]:
        """Protected columns -> their bin edges."""
        return {name: axis.values for name, axis in self.content.protected.items()}

    @property
    def mass(self) -> str:
        """The protected column whose spectrum is compared."""
        return next(iter(self.content.protected))

    @property
    def maps(self) -> Mapping[str, MapKeys]:
        """Name -> map to fit."""
        return self.content.maps


def read_config(source: str | os.PathLike[str], name: str = "", folder: str | os.PathLike[str] = "") -> StudyConfig:
    """Read the configuration of a study and those of its heads, and check everything that needs no other file.

    Parameters
    ----------
    source : path or str
        A YAML file, or, with ``name``, the text itself.
    name : str
        Name of the text in messages.
    folder : path
        Folder of relative paths; default: that of the file.

    Returns
    -------
    StudyConfig

    Raises
    ------
    ConfigError
        Gives the file, the line, the value and the expectation, with the nearest valid name.

    Examples
    --------
    >>> text = '''
    ... version: 1
    ... discriminant: HbbvsQCD
    ... background: {files: [qcd/*.parquet], weight: genWeight}
    ... signal: {files: [hbb/*.parquet]}
    ... protected:
    ...   FatJet_msoftdrop: {bins: [22, 30, 250]}
    ...   FatJet_pt: {edges: [200, 300, 400, 600, 1000]}
    ... maps: {ddt: {method: thresholds}}
    ... '''
    >>> read_config(text, name="example").mass
    'FatJet_msoftdrop'
    >>> read_config(text.replace("protected", "protect"), name="example")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: example, line 6: unknown key 'protect' (nearest: protected, test). Allowed: ...
    """
    document = read_yaml(source, name)
    content = validated(DecorrelateFile, document, VERSION)
    base = Path(folder) if folder or name else Path(source).parent

    def expression(text: str | None, *path: Any) -> Expression | None:
        if text is None:
            return None
        made = parse(text, where=document.where(*path))
        _ = made.names  # read now, so that the error has its line
        return made

    def sample(keys: StudyJetsKeys, key: str) -> SampleFiles:
        return SampleFiles(keys.files, expression(keys.select, key, "select"), expression(keys.weight, key, "weight"))

    what: Discriminant | str = content.discriminant
    if what not in content.heads:
        text = content.discriminant
        # a single word that resembles no preset is a score or a column
        column = text.isidentifier() and text not in presets() and not nearest(text, presets())
        try:
            score = Discriminant.from_string(text) if column else discriminant(text)
            what = score if content.prefix is None else replace(score, prefix=content.prefix)
        except JettaggerError as error:
            listed = f"; heads: {', '.join(content.heads)}" if content.heads else ""
            raise ConfigError(f"{document.where('discriminant')}: {error}{listed}") from error
    heads = [
        head for key, keys in content.heads.items() for head in _trainings(document, base, key, keys, content.test)
    ]
    made = StudyConfig(
        document,
        base,
        content,
        what,
        sample(content.background, "background"),
        sample(content.signal, "signal"),
        tuple(heads),
    )
    _check_together(made)
    return made


def _trainings(document: Document, base: Path, name: str, keys: HeadKeys, test: float) -> Iterator[HeadTraining]:
    """The trainings that an entry stands for: one, or one per strength."""
    path = base / keys.config
    where = document.where("heads", name)
    try:
        training = read_yaml(path)
    except JettaggerError as error:
        raise error.placed(where) from error
    plain = dict(training.mapping())
    for key in ("decorrelate", "kinematics"):
        if (given := getattr(keys, key)) is not None:
            plain[key] = given
            if key == "kinematics":
                plain.pop("flatten", None)
    split = dict(plain.get("split") or {})
    if split.get("folds", 1) != 1:
        raise ConfigError(
            f"{where}: {path} trains with folds, so that no event is left for the comparison: remove split: folds"
        )
    # the comparison takes events by the same rule as the training: those of the head's own test
    plain["split"] = {**split, "test": test}
    penalty = plain.get("decorrelate")
    method = ""
    strengths: list[Any] = [None]
    if isinstance(penalty, dict):
        method = str(penalty.get("method", ""))
        given = penalty.get("strength")
        strengths = list(given) if isinstance(given, (list, tuple)) else [given]
    for strength in strengths:
        one = dict(plain)
        label = name
        if strength is not None:
            one["decorrelate"] = {**plain["decorrelate"], "strength": strength}
            label = f"{name}-{strength:g}" if len(strengths) > 1 and isinstance(strength, (int, float)) else name
        # two heads of one training have columns of their own
        one["name"] = f"{one.get('name', '')}_{label}".replace("-", "_").replace(".", "p")
        merged = f"{where}: head {name!r} ({path})"
        config = read_training(yaml_text(one), merged, path.parent)
        if config.kind != "classes":
            raise ConfigError(f"{where}: {path} trains a mass, expected a head of the kind 'classes'")
        place = document.where("heads", name, "score")
        score = Discriminant.from_string(keys.score or _first_class(config.outputs), where=place)
        try:
            score.needs(config.outputs)
        except UnknownName as error:
            raise ConfigError(f"{place}: {error}") from error
        score = replace(score, prefix=config.name)
        yield HeadTraining(label, name, method, strength, config, score)


def _first_class(outputs: tuple[str, ...]) -> str:
    return f"{outputs[0]} / ({' + '.join(outputs)})"


def _check_together(config: StudyConfig) -> None:
    """Refuse inconsistent keys."""
    document, content = config.document, config.content
    for name, keys in content.maps.items():
        if name in content.heads:
            raise ConfigError(f"{document.where('maps', name)}: {name!r} is the name of a head, too")
        if keys.of and keys.of not in [head.name for head in config.heads]:
            known = [head.name for head in config.heads]
            raise ConfigError(f"{document.where('maps', name, 'of')}: {UnknownName('head', keys.of, known)}")
        for key in keys.options:
            if key not in _OF_MAPS[keys.method]:
                others = ", ".join(f"'{name}'" for name, allowed in _OF_MAPS.items() if key in allowed)
                place = document.where("maps", name, key)
                raise ConfigError(f"{place}: {key!r} belongs to maps of {others}, this one is of {keys.method!r}")
        if len(content.protected) < (2 if keys.axes is None or "pt" in keys.axes else 1):
            place = document.where("protected")
            raise ConfigError(f"{place}: the map {name!r} needs pt as the second protected column, or axes without it")
    if isinstance(config.discriminant, str) and config.discriminant not in [head.name for head in config.heads]:
        listed = ", ".join(head.name for head in config.heads)
        raise ConfigError(
            f"{document.where('discriminant')}: the head {config.discriminant!r} has several strengths, expected one "
            f"head of {listed}"
        )
    if not content.maps and not content.heads:
        raise ConfigError(f"{document.where()}: nothing to compare: expected maps or heads")


guard(globals(), "StudyConfig", "read_config")
