"""The configuration of a training: a YAML file, validated with file and line before other files are opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.card import KINDS
from jettagger.config.models import validated
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.errors import ConfigError, JettaggerError, UnknownName, hint
from jettagger.expressions import Expression, parse
from jettagger.finetuning.schema import VERSION, BdtModel, FinetuneFile, Loss, MlpModel, Split, Training

__all__ = ["Axis", "BdtModel", "FinetuneConfig", "Loss", "MlpModel", "Split", "Training", "read_config"]


@dataclass(frozen=True)
class Axis:
    """A variable whose distribution is flattened for each class.

    Parameters
    ----------
    column : str
    edges : tuple of float
        Jets outside are assigned to the nearest bin.
    """

    column: str
    edges: tuple[float, ...]


@dataclass(frozen=True)
class FinetuneConfig:
    """The configuration of a training; made by `read_config`.

    Parameters
    ----------
    document : Document
        The YAML document.
    folder : pathlib.Path
        Folder of relative paths.
    name, title : str
    kind : str
        ``classes`` or ``mass``.
    parent : str
        Name of the model, or its folder.
    prefix : str or None
        Prefix of the parent's columns in the skims.
    files : tuple of str
        Paths and globs.
    inputs, exclude : tuple of str
        Kinds and names of outputs of the tagger, columns of jets and events; patterns to leave out.
    classes : dict of str to Expression
    select, target, weight : Expression or None
    flatten : tuple of Axis
    model : MlpModel or BdtModel
    loss : Loss
    training : Training
    split : Split
    least_jets : int
        Minimum number of training jets per class.
    compare : dict of str to Expression
        Plain discriminants for comparison, in outputs of the tagger and columns.
    """

    document: Document
    folder: Path
    name: str
    title: str
    kind: Literal["classes", "mass"]
    parent: str
    prefix: str | None
    files: tuple[str, ...]
    inputs: tuple[str, ...]
    exclude: tuple[str, ...]
    classes: Mapping[str, Expression]
    select: Expression | None
    target: Expression | None
    weight: Expression | None
    flatten: tuple[Axis, ...]
    model: MlpModel | BdtModel
    loss: Loss
    training: Training
    split: Split
    least_jets: int
    compare: Mapping[str, Expression]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the head's outputs."""
        return ("mass",) if self.kind == "mass" else tuple(f"prob{name}" for name in self.classes)

    @contextmanager
    def at(self, *path: Any) -> Iterator[None]:
        """Add the file and the line of a part of the configuration to errors raised in the block.

        Raises
        ------
        JettaggerError
            The original error, with the place in front of its message.
        """
        try:
            yield
        except UnknownName as error:
            raise ConfigError(f"{self.document.where(*path)}: {error}") from error
        except JettaggerError as error:
            if str(error).startswith(self.document.name):
                raise
            raise type(error)(f"{self.document.where(*path)}: {error}") from error

    def resolve_inputs(self, bundle: Bundle) -> tuple[str, ...]:
        """The input columns in order: outputs of the tagger by name, then the others.

        Raises
        ------
        ConfigError
            If a name is neither an output nor a possible column, or if a pattern in ``exclude`` matches nothing.
        """
        found: list[str] = []
        for place, item in enumerate(self.inputs):
            if item in KINDS or item == "all":
                names = [output.name for output in bundle.select([item])]
                if not names:
                    raise ConfigError(
                        f"{self._at('inputs', place)}: {bundle.name!r} has no outputs of the kind {item!r}"
                    )
                found += names
            elif any(output.name == item for output in bundle.outputs) or "_" in item or item.startswith("fixedGrid"):
                found.append(item)
            else:
                known = [*KINDS, *(output.name for output in bundle.outputs)]
                raise ConfigError(
                    f"{self._at('inputs', place)}: {item!r}{hint(item, known)} is neither a kind nor an output of "
                    f"{bundle.name!r}; columns of jets and events have their names in the skim (FatJet_pt, MET_pt)"
                )
        for place, pattern in enumerate(self.exclude):
            matching = [name for name in found if fnmatchcase(name, pattern)]
            if not matching:
                where = self._at("exclude", place)
                raise ConfigError(f"{where}: {pattern!r}{hint(pattern, found)} matches none of the inputs")
            found = [name for name in found if name not in matching]
        if self.kind == "mass" and "mass" not in found:
            mass = [output.name for output in bundle.select(["mass"])] if _has_mass(bundle) else []
            if mass != ["mass"]:
                raise ConfigError(
                    f"{self._at('parent')}: {bundle.name!r} has no output 'mass', which a mass head starts from"
                )
            found.append("mass")
        if not found:
            raise ConfigError(f"{self._at('inputs')}: no inputs are left")
        return tuple(dict.fromkeys(found))

    def _at(self, *path: Any) -> str:
        return self.document.where(*path)


def _has_mass(bundle: Bundle) -> bool:
    return any(output.kind == "mass" for output in bundle.outputs)


def read_config(source: str | os.PathLike[str], name: str = "", folder: str | os.PathLike[str] = "") -> FinetuneConfig:
    """Read the configuration of a training and check everything that does not need other files.

    Parameters
    ----------
    source : path, or str
        The YAML file; with ``name``, the text itself.
    name : str
        Name of the text in messages.
    folder : path
        Folder of relative paths; default: that of the file.

    Returns
    -------
    FinetuneConfig

    Raises
    ------
    ConfigError
        Gives the file, the line, the value and the expectation, with the nearest valid name.

    Examples
    --------
    >>> text = '''
    ... version: 1
    ... name: XggHead
    ... kind: classes
    ... parent: inclParTToyV1
    ... files: [skims/*.parquet]
    ... inputs: [hidden]
    ... classes: {Xgg: FatJet_label == 100, QCD: FatJet_label >= 32 and FatJet_label <= 36}
    ... '''
    >>> read_config(text, name="example").outputs
    ('probXgg', 'probQCD')
    >>> read_config(text.replace("inputs", "input"), name="example")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: example, line 7: unknown key 'input' (nearest: inputs). Allowed: ...
    """
    document = read_yaml(source, name)
    content = validated(FinetuneFile, document, VERSION)
    base = Path(folder) if folder or name else Path(source).parent
    _check_together(document, content)
    parent = content.parent
    if not Path(parent).is_absolute() and os.path.isdir(base / parent):
        parent = str(base / parent)

    def expression(text: str | None, *path: Any) -> Expression | None:
        if text is None:
            return None
        made = parse(text, where=document.where(*path))
        _ = made.names  # read now, so that the error has its line
        return made

    def expressions(texts: Mapping[str, str], key: str) -> dict[str, Expression]:
        return {name: made for name, text in texts.items() if (made := expression(text, key, name)) is not None}

    return FinetuneConfig(
        document=document,
        folder=base,
        name=content.name,
        title=content.title,
        kind=content.kind,
        parent=parent,
        prefix=content.prefix,
        files=content.files,
        inputs=content.inputs,
        exclude=content.exclude,
        classes=expressions(content.classes, "classes"),
        select=expression(content.select, "select"),
        target=expression(content.target, "target"),
        weight=expression(content.weight, "weight"),
        flatten=tuple(Axis(column, edges) for column, edges in content.flatten.items()),
        model=content.model,
        loss=content.loss,
        training=content.training,
        split=content.split,
        least_jets=content.least_jets,
        compare=expressions(content.compare, "compare"),
    )


def _check_together(document: Document, content: FinetuneFile) -> None:
    """Refuse inconsistent keys."""
    for key in content.classes:
        if not key.isidentifier():
            raise ConfigError(
                f"{document.where('classes', key)}: the name of a class must be letters, digits and _, got {key!r}"
            )
    if content.kind == "classes" and len(content.classes) < 2:
        raise ConfigError(
            f"{document.where('classes')}: a head of the kind 'classes' needs at least two, got {len(content.classes)}"
        )
    for key in ("target", "loss"):
        if document.data.get(key) is not None and content.kind != "mass":
            raise ConfigError(f"{document.where(key)}: {key!r} belongs to heads of the kind 'mass'")
    if content.kind == "mass" and content.target is None:
        raise ConfigError(
            f"{document.where('kind')}: a mass head needs a 'target', e.g. target: FatJet_genResonanceMass"
        )
    if content.kind == "mass" and isinstance(content.model, BdtModel):
        raise ConfigError(f"{document.where('model')}: mass heads are networks: expected kind: mlp")
    if content.split.folds > 1 and document.data["split"].get("test") is not None:
        place = document.where("split", "test")
        raise ConfigError(f"{place}: 'test' is not for folds: each fold is tested by the network that has not seen it")


guard(globals(), "FinetuneConfig", "read_config")
