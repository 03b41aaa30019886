"""The configuration of a head's training: a YAML file, checked with file and line before anything is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.card import KINDS
from jettagger.config.sizes import parse_size
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.errors import ConfigError, JettaggerError, UnknownName, hint
from jettagger.expressions import Expression, parse
from jettagger.heads.export import ACTIVATIONS

__all__ = ["Axis", "BdtModel", "FinetuneConfig", "Loss", "MlpModel", "Split", "Training", "read_config"]

VERSION = 1

_TOP = (
    "version",
    "name",
    "title",
    "kind",
    "parent",
    "prefix",
    "files",
    "select",
    "inputs",
    "exclude",
    "classes",
    "target",
    "weight",
    "flatten",
    "model",
    "loss",
    "training",
    "split",
    "least_jets",
    "compare",
)
_KINDS = ("classes", "mass")
_LOSSES = ("log-cosh", "huber", "quantile")


@dataclass(frozen=True)
class MlpModel:
    """A network of dense layers.

    Parameters
    ----------
    layers : tuple of int
        Widths of the hidden layers; empty: a linear model.
    activation : str
        ``relu``, ``tanh`` or ``silu``.
    dropout : float
        Share of the neurons that are left out in training.
    """

    layers: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    dropout: float = 0.1


@dataclass(frozen=True)
class BdtModel:
    """A boosted decision tree (XGBoost, histogram method).

    Parameters
    ----------
    trees : int
        Boosting rounds at most.
    depth : int
    rate : float
        Learning rate.
    subsample, columns : float
        Shares of the jets and of the inputs that a tree sees.
    min_weight : float
        Least sum of second derivatives in a leaf.
    """

    trees: int = 500
    depth: int = 5
    rate: float = 0.1
    subsample: float = 0.8
    columns: float = 0.8
    min_weight: float = 1.0


@dataclass(frozen=True)
class Loss:
    """What a mass regression minimises, a function of ``r = log(mass / target)``.

    Parameters
    ----------
    kind : str
        ``log-cosh``: ``log(cosh(r / scale))``; ``huber``: quadratic up to ``scale``, then linear; ``quantile``: its
        minimum is the quantile ``q`` of the mass.
    scale : float
        Where quadratic becomes linear.
    q : float
    """

    kind: str = "log-cosh"
    scale: float = 0.1
    q: float = 0.5


@dataclass(frozen=True)
class Training:
    """How the training goes.

    Parameters
    ----------
    epochs : int
        At most (networks; trees have ``trees``).
    batch : int
        Jets in a step.
    rate, decay : float
        Of AdamW; the rate falls to a hundredth along a cosine.
    patience : int
        Epochs (or trees) without a better validation loss after which it ends.
    seed : int
        Two runs with the same seed, files and threads give the same head.
    threads : int
    memory : int
        Bytes that the jets in work may take.
    """

    epochs: int = 60
    batch: int = 1024
    rate: float = 2e-3
    decay: float = 1e-3
    patience: int = 8
    seed: int = 1
    threads: int = 2
    memory: int = 1_000_000_000


@dataclass(frozen=True)
class Split:
    """Which events train, validate and test, decided by the event number.

    Parameters
    ----------
    validation : float
        Share of the events for early stopping, of those that do not test.
    test : float
        Share of the events that no training sees; not with folds.
    use : float
        Share of the events for training and validation that are used: how does the result depend on their number?
    folds : int
        More than 1: so many networks, each tested on the fold that it has not seen, and each event gets that one.
    """

    validation: float = 0.15
    test: float = 0.25
    use: float = 1.0
    folds: int = 1


@dataclass(frozen=True)
class Axis:
    """A variable in which the classes are made flat.

    Parameters
    ----------
    column : str
    edges : tuple of float
        Jets outside count to the nearest bin.
    """

    column: str
    edges: tuple[float, ...]


@dataclass(frozen=True)
class FinetuneConfig:
    """All that a training needs to know; made by `read_config`.

    Parameters
    ----------
    document : Document
        Where it was read from.
    folder : pathlib.Path
        Where relative paths start.
    name, title : str
    kind : str
        ``classes`` or ``mass``.
    parent : str
        Name of the model, or its folder.
    prefix : str or None
        Of its columns in the skims.
    files : tuple of str
        Paths and globs.
    inputs, exclude : tuple of str
        Kinds and names of outputs of the tagger, columns of jets and events; patterns that are left out.
    classes : dict of str to Expression
    select, target, weight : Expression or None
    flatten : tuple of Axis
    model : MlpModel or BdtModel
    loss : Loss
    training : Training
    split : Split
    least_jets : int
        Jets that a class must have for training.
    compare : dict of str to Expression
        Plain discriminants to compare with, in outputs of the tagger and columns.
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
        """Errors of the block get the file and the line of a part of the configuration."""
        try:
            yield
        except UnknownName as error:
            raise ConfigError(f"{self.document.where(*path)}: {error}") from error
        except JettaggerError as error:
            if str(error).startswith(self.document.name):
                raise
            raise type(error)(f"{self.document.where(*path)}: {error}") from error

    def resolve_inputs(self, bundle: Bundle) -> tuple[str, ...]:
        """The input columns in order: outputs of the tagger by their names, then the others.

        Raises
        ------
        ConfigError
            If a name is neither an output nor may be a column, or if a pattern to exclude matches nothing.
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
    """Read the configuration of a training and check all that can be checked without opening files.

    Parameters
    ----------
    source : path, or str
        The YAML file; with ``name``, the text itself.
    name : str
        What to call the text in messages.
    folder : path
        What relative paths start from; default: the file's folder.

    Returns
    -------
    FinetuneConfig

    Raises
    ------
    ConfigError
        Says the file, the line, what was found and what was expected, with the nearest valid name.

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
    document.check_keys(_TOP, required=("version", "name", "kind", "parent", "files", "inputs"))
    base = Path(folder) if folder or name else Path(source).parent
    reader = _Reader(document)
    if document.data["version"] != VERSION:
        got = document.data["version"]
        raise ConfigError(f"{document.where('version')}: version {got!r}, this jettagger reads {VERSION}")
    kind = reader.choice(_KINDS, None, "kind")
    head = reader.text("name") or ""
    if not head.isidentifier() or not head[0].isalpha():
        raise ConfigError(f"{document.where('name')}: a name of letters, digits and _ is required, got {head!r}")
    classes = reader.expressions("classes")
    for key in classes:
        if not key.isidentifier():
            raise ConfigError(
                f"{document.where('classes', key)}: the name of a class is letters, digits and _, got {key!r}"
            )
    if kind == "classes" and len(classes) < 2:
        raise ConfigError(
            f"{document.where('classes')}: a head of the kind 'classes' needs at least two, got {len(classes)}"
        )
    for key, wanted in (("target", "mass"), ("loss", "mass")):
        if key in document.data and kind != wanted:
            raise ConfigError(f"{document.where(key)}: {key!r} belongs to heads of the kind {wanted!r}")
    target = reader.expression("target")
    if kind == "mass" and target is None:
        raise ConfigError(
            f"{document.where('kind')}: a mass head needs a 'target', e.g. target: FatJet_genResonanceMass"
        )
    model = _model(reader)
    if kind == "mass" and isinstance(model, BdtModel):
        raise ConfigError(f"{document.where('model')}: mass heads are networks: expected kind: mlp")
    parent = reader.text("parent") or ""
    if parent and not Path(parent).is_absolute() and (base / parent).is_dir():
        parent = str(base / parent)
    return FinetuneConfig(
        document=document,
        folder=base,
        name=head,
        title=reader.text("title") or "",
        kind="mass" if kind == "mass" else "classes",
        parent=parent,
        prefix=reader.text("prefix"),
        files=reader.texts("files", least=1),
        inputs=reader.texts("inputs", least=1),
        exclude=reader.texts("exclude"),
        classes=classes,
        select=reader.expression("select"),
        target=target,
        weight=reader.expression("weight"),
        flatten=_flatten(reader),
        model=model,
        loss=_loss(reader),
        training=_training(reader),
        split=_split(reader),
        least_jets=reader.whole(50, "least_jets", least=1),
        compare=reader.expressions("compare"),
    )


class _Reader:
    """Parts of the document, each checked where it stands."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def get(self, *path: Any) -> Any:
        part = self.document.data
        for key in path:
            part = part.get(key) if isinstance(part, Mapping) else None
        return part

    def refuse(self, path: Sequence[Any], expected: str) -> ConfigError:
        return ConfigError(f"{self.document.where(*path)}: {path[-1]!r} must be {expected}, got {self.get(*path)!r}")

    def text(self, *path: Any) -> str | None:
        value = self.get(*path)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.refuse(path, "text")
        return value

    def texts(self, *path: Any, least: int = 0) -> tuple[str, ...]:
        value = self.get(*path)
        items = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items) or len(items) < least:
            raise self.refuse(path, "a list of names")
        return tuple(items)

    def number(self, default: float, *path: Any, low: float = -math.inf, high: float = math.inf) -> float:
        value = self.get(*path)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            bounds = f" from {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else ""
            raise self.refuse(path, f"a number{bounds or (f' of at least {low:g}' if math.isfinite(low) else '')}")
        return float(value)

    def whole(self, default: int, *path: Any, least: int) -> int:
        value = self.get(*path)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(path, f"a whole number of at least {least}")
        return value

    def choice(self, known: Sequence[str], default: str | None, *path: Any) -> str:
        value = self.get(*path)
        if value is None and default is not None:
            return default
        if value not in known:
            place = self.document.where(*path)
            raise ConfigError(
                f"{place}: unknown {path[-1]} {value!r}{hint(str(value), known)}, expected {', '.join(known)}"
            )
        return str(value)

    def expression(self, *path: Any) -> Expression | None:
        value = self.get(*path)
        if value is None:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        expression = parse(value, where=self.document.where(*path))
        _ = expression.names  # read now, so that the error has its line
        return expression

    def expressions(self, *path: Any) -> dict[str, Expression]:
        if self.get(*path) is None:
            return {}
        found = {}
        for key in self.document.mapping(*path):
            expression = self.expression(*path, key)
            if not isinstance(key, str) or expression is None:
                raise ConfigError(f"{self.document.where(*path, key)}: expected a name and an expression")
            found[key] = expression
        return found

    def section(self, allowed: Sequence[str], *path: Any) -> None:
        if self.get(*path) is not None:
            self.document.check_keys(allowed, *path)


def _model(reader: _Reader) -> MlpModel | BdtModel:
    if reader.get("model") is None:
        return MlpModel()
    reader.document.mapping("model")
    if reader.choice(("mlp", "bdt"), "mlp", "model", "kind") == "bdt":
        reader.section(("kind", *BdtModel.__dataclass_fields__), "model")
        plain = BdtModel()
        return BdtModel(
            trees=reader.whole(plain.trees, "model", "trees", least=1),
            depth=reader.whole(plain.depth, "model", "depth", least=1),
            rate=reader.number(plain.rate, "model", "rate", low=1e-6, high=1),
            subsample=reader.number(plain.subsample, "model", "subsample", low=0.01, high=1),
            columns=reader.number(plain.columns, "model", "columns", low=0.01, high=1),
            min_weight=reader.number(plain.min_weight, "model", "min_weight", low=0),
        )
    reader.section(("kind", *MlpModel.__dataclass_fields__), "model")
    layers = reader.get("model", "layers")
    layers = list(MlpModel.layers) if layers is None else layers
    if not isinstance(layers, list) or not all(type(item) is int and item > 0 for item in layers):
        raise reader.refuse(("model", "layers"), "a list of widths, e.g. [64, 64]")
    return MlpModel(
        layers=tuple(layers),
        activation=reader.choice(list(ACTIVATIONS), MlpModel.activation, "model", "activation"),
        dropout=reader.number(MlpModel.dropout, "model", "dropout", low=0, high=0.9),
    )


def _loss(reader: _Reader) -> Loss:
    if isinstance(reader.get("loss"), str):
        return Loss(kind=reader.choice(_LOSSES, None, "loss"))
    reader.section(("kind", "scale", "q"), "loss")
    return Loss(
        kind=reader.choice(_LOSSES, Loss.kind, "loss", "kind"),
        scale=reader.number(Loss.scale, "loss", "scale", low=1e-6),
        q=reader.number(Loss.q, "loss", "q", low=0.001, high=0.999),
    )


def _training(reader: _Reader) -> Training:
    reader.section(list(Training.__dataclass_fields__), "training")
    plain, part = Training(), "training"
    memory: Any = reader.get(part, "memory")
    if memory is not None:
        try:
            memory = parse_size(str(memory))
        except JettaggerError as error:
            raise ConfigError(f"{reader.document.where(part, 'memory')}: {error}") from error
    return Training(
        epochs=reader.whole(plain.epochs, part, "epochs", least=0),
        batch=reader.whole(plain.batch, part, "batch", least=1),
        rate=reader.number(plain.rate, part, "rate", low=1e-9, high=10),
        decay=reader.number(plain.decay, part, "decay", low=0),
        patience=reader.whole(plain.patience, part, "patience", least=1),
        seed=reader.whole(plain.seed, part, "seed", least=0),
        threads=reader.whole(plain.threads, part, "threads", least=1),
        memory=plain.memory if memory is None else memory,
    )


def _split(reader: _Reader) -> Split:
    reader.section(list(Split.__dataclass_fields__), "split")
    folds = reader.whole(Split.folds, "split", "folds", least=1)
    if folds > 1 and reader.get("split", "test") is not None:
        place = reader.document.where("split", "test")
        raise ConfigError(f"{place}: 'test' is not for folds: each fold is tested by the network that has not seen it")
    return Split(
        validation=reader.number(Split.validation, "split", "validation", low=0.01, high=0.9),
        test=reader.number(Split.test, "split", "test", low=0.01, high=0.9),
        use=reader.number(Split.use, "split", "use", low=1e-6, high=1),
        folds=folds,
    )


def _flatten(reader: _Reader) -> tuple[Axis, ...]:
    if reader.get("flatten") is None:
        return ()
    axes = []
    for column, value in reader.document.mapping("flatten").items():
        numbers = isinstance(value, list) and all(type(item) in (int, float) and math.isfinite(item) for item in value)
        if not numbers or len(value) < 2 or not bool(np.all(np.diff(value) > 0)):
            raise reader.refuse(("flatten", column), "a list of rising bin edges")
        axes.append(Axis(column, tuple(float(item) for item in value)))
    return tuple(axes)


guard(globals(), "FinetuneConfig", "read_config")
