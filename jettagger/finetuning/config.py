"""The configuration of a training: a YAML file, validated with file and line before other files are opened."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.card import KINDS
from jettagger.config.models import validated
from jettagger.config.renaming import rename_keys
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.display import Brief
from jettagger.errors import ConfigError, hint
from jettagger.expressions import Expression, parse
from jettagger.finetuning.schema import (
    FLAT,
    RENAMED,
    VERSION,
    BdtModel,
    Decorrelation,
    FinetuneFile,
    Kinematics,
    Loss,
    MlpModel,
    Split,
    Training,
)

__all__ = [
    "BdtModel",
    "Decorrelation",
    "FinetuneConfig",
    "Kinematics",
    "Loss",
    "MlpModel",
    "Split",
    "Training",
    "read_config",
]


@dataclass(frozen=True)
class FinetuneConfig(Brief):
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
    kinematics : Kinematics or None
        Spectra of the classes in the training.
    model : MlpModel or BdtModel
    loss : Loss
    decorrelate : Decorrelation or None
    protected : dict of str to Expression
        The columns from which scores are decorrelated: text -> expression.
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
    kinematics: Kinematics | None
    model: MlpModel | BdtModel
    loss: Loss
    decorrelate: Decorrelation | None
    protected: Mapping[str, Expression]
    training: Training
    split: Split
    least_jets: int
    compare: Mapping[str, Expression]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the head's outputs."""
        return ("mass",) if self.kind == "mass" else tuple(f"prob{name}" for name in self.classes)

    @property
    def strengths(self) -> tuple[float, ...]:
        """Strengths of the decorrelation; empty without one."""
        return () if self.decorrelate is None else self.decorrelate.strengths

    @property
    def is_scan(self) -> bool:
        """Whether there is a list of strengths, and one head for each."""
        return self.decorrelate is not None and isinstance(self.decorrelate.strength, tuple)

    def with_strength(self, strength: float) -> FinetuneConfig:
        """The configuration of the head of one strength of a list.

        Parameters
        ----------
        strength : float

        Returns
        -------
        FinetuneConfig
            Its name is that of the folder, e.g. ``XbbDisco0p3``.

        Raises
        ------
        ConfigError
            If there is no `decorrelate`.
        """
        if self.decorrelate is None:
            raise ConfigError(f"{self.document.name}: there is no strength without the key 'decorrelate'")
        one = self.decorrelate.model_copy(update={"strength": strength})
        return replace(self, name=f"{self.name}{one.method.capitalize()}{_in_name(strength)}", decorrelate=one)

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


def _in_name(number: float) -> str:
    """A number in letters and digits: 0.3 is ``0p3``, 1e-05 is ``1em05``."""
    text = f"{number:g}" if float(f"{number:g}") == number else repr(number)
    return text.replace("+", "").replace("-", "m").replace(".", "p")


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
    document, notes = rename_keys(read_yaml(source, name), RENAMED)
    for note in notes:
        warnings.warn(note, FutureWarning, stacklevel=2)
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

    columns = () if content.decorrelate is None else content.decorrelate.columns
    places = {text: ("decorrelate", "from", place) for place, text in enumerate(columns)}
    protected = {text: made for text in columns if (made := expression(text, *places[text])) is not None}
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
        kinematics=content.kinematics,
        model=content.model,
        loss=content.loss,
        decorrelate=content.decorrelate,
        protected=protected,
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
    training = document.data.get("training") or {}
    for key in ("schedule", "warmup", "metric", "device", "precision"):
        if isinstance(content.model, BdtModel) and training.get(key) is not None:
            raise ConfigError(f"{document.where('training', key)}: {key!r} belongs to networks (model: {{kind: mlp}})")
    metrics = ("loss", "width") if content.kind == "mass" else ("loss", "accuracy", "auc")
    if content.training.metric not in metrics:
        place = document.where("training", "metric")
        raise ConfigError(
            f"{place}: {content.training.metric!r} is no metric of heads of the kind {content.kind!r}, expected one of "
            f"{', '.join(metrics)}"
        )
    if content.kinematics is not None and content.kinematics.to != FLAT:
        goal, words = content.kinematics.to, [FLAT, *content.classes]
        if goal not in words:
            place = document.where("kinematics", "to")
            raise ConfigError(f"{place}: unknown class {goal!r}{hint(goal, words)}, expected {' or '.join(words)}")
    if content.kinematics is not None and FLAT in content.classes:
        place = document.where("classes", FLAT)
        raise ConfigError(f"{place}: with 'kinematics', {FLAT!r} is a flat spectrum: give the class another name")
    if content.split.folds > 1 and document.data["split"].get("test") is not None:
        place = document.where("split", "test")
        raise ConfigError(f"{place}: 'test' is not for folds: each fold is tested by the network that has not seen it")
    if content.decorrelate is not None:
        _check_decorrelation(document, content, content.decorrelate)


def _check_decorrelation(document: Document, content: FinetuneFile, decorrelate: Decorrelation) -> None:
    where = document.where("decorrelate")
    if content.kind != "classes":
        raise ConfigError(f"{where}: 'decorrelate' belongs to heads of the kind 'classes', whose scores it is about")
    if isinstance(content.model, BdtModel):
        raise ConfigError(
            f"{document.where('model')}: trees cannot be trained with 'decorrelate', a term of a whole batch: expected "
            "kind: mlp"
        )
    if content.training.metric != "loss":
        raise ConfigError(
            f"{document.where('training', 'metric')}: with 'decorrelate' the loss with its term decides about the "
            f"best epoch: expected metric: loss, got {content.training.metric}"
        )
    _check_domains(document, content, decorrelate)
    names = list(content.classes)
    others = [name for name in names if name != (decorrelate.of or names[-1])]
    for key, given, allowed in (
        ("of", (decorrelate.of,) if decorrelate.of else (), names),
        ("signals", decorrelate.signals, others),
        ("between", decorrelate.between, others),
    ):
        for name in given:
            if name not in allowed:
                raise ConfigError(
                    f"{document.where('decorrelate', key)}: {key!r} of 'decorrelate': no class "
                    f"{name!r}{hint(name, allowed)}, allowed: {', '.join(allowed)}"
                )
        if len(set(given)) < len(given):
            raise ConfigError(f"{document.where('decorrelate', key)}: {key!r} gives a class twice: {', '.join(given)}")
    if len(decorrelate.between) not in (0, 2):
        raise ConfigError(
            f"{document.where('decorrelate', 'between')}: 'between' must be a list of two classes, got "
            f"{len(decorrelate.between)}"
        )
    if not decorrelate.columns and not decorrelate.between and not decorrelate.domains:
        raise ConfigError(
            f"{where}: 'decorrelate' needs 'from', e.g. from: [FatJet_msoftdrop], 'between' with two classes, or "
            "'domains' with their files"
        )
    if len(set(decorrelate.columns)) < len(decorrelate.columns):
        raise ConfigError(f"{document.where('decorrelate', 'from')}: 'from' gives a column twice")
    if decorrelate.method == "adversary":
        _check_adversary(document, content, decorrelate)
    elif "adversary" in document.data["decorrelate"]:
        place = document.where("decorrelate", "adversary")
        raise ConfigError(f"{place}: 'adversary' belongs to method: adversary, got {decorrelate.method}")


def _check_domains(document: Document, content: FinetuneFile, decorrelate: Decorrelation) -> None:
    place = document.where("decorrelate", "domains")
    keys = document.data["decorrelate"]
    if keys.get("domains") is None:
        if not decorrelate.of:
            raise ConfigError(
                f"{document.where('decorrelate')}: 'decorrelate' needs 'of', the class in which scores must not depend "
                f"on something: one of {', '.join(content.classes)}"
            )
        return
    if len(decorrelate.domains) != 2 or not all(decorrelate.domains.values()):
        shown = ", ".join(f"{name} ({len(files)} patterns)" for name, files in decorrelate.domains.items()) or "none"
        raise ConfigError(
            f"{place}: 'domains' must be two names with their files, e.g. {{simulation: [mc*.parquet], data: "
            f"[data*.parquet]}}, got {shown}"
        )
    if decorrelate.columns:
        raise ConfigError(f"{place}: 'decorrelate' takes either 'from' or 'domains', got both")
    if decorrelate.method != "adversary":
        raise ConfigError(f"{place}: 'domains' belongs to method: adversary, got {decorrelate.method}")
    for key in ("reads", "bins"):
        if (keys.get("adversary") or {}).get(key) is not None:
            raise ConfigError(
                f"{document.where('decorrelate', 'adversary', key)}: {key!r} belongs to 'from': an adversary of two "
                "domains reads which one it is"
            )
    if content.kinematics is not None:
        raise ConfigError(
            f"{document.where('kinematics')}: 'kinematics' cannot be combined with 'domains': give the jets weights "
            "with weight:"
        )


def _check_adversary(document: Document, content: FinetuneFile, decorrelate: Decorrelation) -> None:
    keys = decorrelate.adversary
    if decorrelate.between:
        place = document.where("decorrelate", "between")
        raise ConfigError(f"{place}: 'between' belongs to method: disco, got {decorrelate.method}")
    if keys.reads == "bins" and not decorrelate.domains and len(decorrelate.columns) != 1:
        raise ConfigError(
            f"{document.where('decorrelate', 'from')}: an adversary that reads bins takes one column, got "
            f"{len(decorrelate.columns)}: use reads: density"
        )
    rises = keys.warmup + keys.ramp
    if any(decorrelate.strengths) and rises >= content.training.epochs:
        raise ConfigError(
            f"{document.where('decorrelate')}: the strength of the adversary rises until epoch {rises} "
            f"of {content.training.epochs}: use more epochs, or a smaller warmup or ramp"
        )


guard(globals(), "FinetuneConfig", "read_config")
