"""A bundle: a frozen description of one model, read from a folder and checked before anything runs.

A folder holds ``model.onnx``, an input description (``preprocess.json`` as CMSSW reads it, or a data configuration of
weaver in YAML) and optionally ``bundle.json`` (see `jettagger.bundles.card`). The package knows some public networks by
the checksum of their files and adds the missing card to these.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from jettagger.arguments import guard
from jettagger.bundles.card import KINDS, BundleCard, read_card
from jettagger.bundles.checksums import compare, record
from jettagger.bundles.known import differences, known_card, known_name, known_network
from jettagger.bundles.outputs import HIDDEN, Output, canonical_name, read_outputs
from jettagger.bundles.places import PACKAGE, SHIPPED, user_folder
from jettagger.bundles.probing import Behaviour, ProbeInput, observed
from jettagger.bundles.trials import require_trial
from jettagger.display import Displayed, ObjectSummary, some
from jettagger.errors import BundleError, JettaggerError, MissingModelFile, UnknownName, hint
from jettagger.features import Feature, lookup
from jettagger.features.cms import stored
from jettagger.files import refuse_special
from jettagger.files.jsonfile import read_object
from jettagger.sessions.graph import Graph, file_sha256, inspect
from jettagger.weaver import DataConfig, read_config
from jettagger.weaver.config import LONGEST_LIST

__all__ = ["Bundle", "Group", "Output", "Variable", "canonical_name", "is_bundle", "read_groups", "weaver_groups"]

MODEL, PREPROCESS, CARD = "model.onnx", "preprocess.json", "bundle.json"

_VARIABLE_KEYS = {"median", "norm_factor", "replace_inf_value", "lower_bound", "upper_bound", "pad"}


@dataclass(frozen=True)
class Variable:
    """One channel of an input group: a feature and its transformation ``clip((x - median) * norm_factor)``.

    Parameters
    ----------
    feature : Feature
    median, norm_factor : float
    replace_inf_value : float
        Stands in for NaN, infinities and absolute values above 1e32, before the transformation.
    lower_bound, upper_bound : float
        Limits of the transformed value.
    pad : float
        Value of the slots behind the last constituent.
    """

    feature: Feature
    median: float = 0.0
    norm_factor: float = 1.0
    replace_inf_value: float = 0.0
    lower_bound: float = -1e32
    upper_bound: float = 1e32
    pad: float = 0.0


@dataclass(frozen=True)
class Group:
    """One input tensor, ``float32[jets, variables, length]``.

    Parameters
    ----------
    name : str
        Name of the ONNX input.
    variables : tuple of Variable
    min_length, max_length : int
        Bounds of the length axis: those of the description, and equal where the graph fixes the axis.
    pad_mode : {"constant", "wrap"} or None
        How slots behind the last object are filled; None: as the card says.
    rank : {3, 2, 1}
        Axes of the tensor. Numbers of the jet that weaver does not pad are ``float32[jets, variables]``, or
        ``float32[jets]``.
    axis : str
        Of the slots: groups of one axis have the same length in a run. Default: the object.
    per_jet : bool
        Whether there is one slot, for numbers of the jet.
    exact : bool
        Whether jets of different length must not run together, as the network sees padding.
    """

    name: str
    variables: tuple[Variable, ...]
    min_length: int
    max_length: int
    pad_mode: Literal["constant", "wrap"] | None = None
    rank: int = 3
    axis: str = ""
    per_jet: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        if not self.axis:
            object.__setattr__(self, "axis", self.object)

    @property
    def object(self) -> str:
        """What the group describes: one of `jettagger.features.OBJECTS`, with a data configuration the group itself."""
        return self.variables[0].feature.object

    @property
    def is_mask(self) -> bool:
        """Whether the group is the mask that tells real entries from padding, by the definition of its variable."""
        return len(self.variables) == 1 and self.variables[0].feature.is_mask


@dataclass(frozen=True)
class Bundle(Displayed):
    """One model: where it lies, what it takes and what it gives.

    Parameters
    ----------
    folder : pathlib.Path
        The folder it was read from.
    card : BundleCard
        The content of ``bundle.json``, or what was inferred without one.
    groups : tuple of Group
        Input tensors in the order of the input description.
    outputs : tuple of Output
        All output columns in order.
    graph : Graph or None
        The ONNX file's interface; None for a description without weights.
    digest : str
        SHA-256 over weights and descriptions: two bundles with the same digest give the same scores.
    described_by : str
        Where the card comes from: ``bundle.json``, ``jettagger`` (a network known by its checksum), ``inferred``.
    files : mapping of str to pathlib.Path
        The files that it was read from.
    weaver : DataConfig or None
        The data configuration, where the inputs are described by one; its inputs are those that the network takes.
    notes : mapping of str to str
        What its files say of themselves: ``input description``, ``training selection``.

    Examples
    --------
    >>> bundle = Bundle.from_folder(PACKAGE / "models" / "inclParTMDV1")
    >>> len(bundle.outputs), bundle["hidNeuron7"].name, bundle.has_weights
    (166, 'hidNeurons007', False)
    """

    folder: Path
    card: BundleCard
    groups: tuple[Group, ...]
    outputs: tuple[Output, ...]
    graph: Graph | None
    digest: str
    described_by: str
    files: Mapping[str, Path] = field(repr=False)
    weaver: DataConfig | None = field(default=None, repr=False)
    notes: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, accept: bool = False) -> Bundle:
        """Read and check a folder.

        Parameters
        ----------
        folder : path
        accept : bool
            Whether files that have changed since the folder was first read are right as they are from now on.

        Returns
        -------
        Bundle

        Raises
        ------
        BundleError
            If a description is invalid, or if descriptions and ONNX file contradict each other.
        MissingModelFile
            If the folder has no input description and is not known otherwise.

        Warns
        -----
        RuntimeWarning
            If the network or the input description has changed since the folder was first read, or is not the known
            network whose name it bears.
        """
        try:
            return _read(Path(folder), accept=accept)
        except JettaggerError:
            raise
        except Exception as error:  # whatever damage does to those who read it
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            raise BundleError(f"{os.fspath(folder)} cannot be read as a model: {reason}") from error

    def __repr__(self) -> str:
        numbers = [(kind, sum(output.kind == kind for output in self.outputs)) for kind in KINDS]
        kinds = ", ".join(f"{number} {kind}" for kind, number in numbers if number)
        inputs = some([group.name for group in self.groups])
        missing = "" if self.has_weights else ", no weights"
        return f"Bundle({self.name!r}, {inputs} -> {kinds}{missing}, from {str(self.folder)!r})"

    def summary(self) -> ObjectSummary:
        """Inputs with their lengths, outputs by kind, and where it is from, as notebooks and rich show it."""
        from jettagger.bundles.summary import bundle_summary

        return bundle_summary(self)

    @property
    def trusted(self) -> bool:
        """Whether its network needs no trial: it came with the package, was sent here, or is known by its checksum."""
        return self.graph is None or _is_trusted(self.folder, self.graph.sha256)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def prefix(self) -> str:
        """Default prefix of the columns."""
        return self.card.prefix or re.sub(r"\W", "_", self.card.name)

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file that is read for it: descriptions, network, external data."""
        return (*self.files.values(), *(self.graph.external if self.graph else ()))

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the network, its external data and the input description, as they are now.

        Returns
        -------
        dict of str to str
            Path within the folder, or name of a file that the package lends it -> hexadecimal digest.
        """
        paths = {name: path for name, path in self.files.items() if name != CARD}
        if self.graph is not None:
            paths |= {path.relative_to(self.folder).as_posix(): path for path in self.graph.external}
        return {name: file_sha256(path) for name, path in paths.items()}

    @property
    def has_weights(self) -> bool:
        """Whether the network itself is there."""
        return self.graph is not None

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the graph insists on, or None."""
        return None if self.graph is None else self.graph.fixed_batch

    @cached_property
    def _by_name(self) -> dict[str, Output]:
        table = {output.raw: output for output in self.outputs}
        for output in self.outputs:
            if match := HIDDEN.match(output.raw):
                table[f"hidNeuron{int(match.group(1)):03d}"] = output
                table[f"hidNeuron{int(match.group(1))}"] = output
                table[f"hidNeurons{int(match.group(1))}"] = output
        table.update({output.name: output for output in self.outputs})
        for alias, name in self.card.aliases.items():
            table.setdefault(alias, table[name])
        return table

    def __getitem__(self, name: str) -> Output:
        """The output of this name, canonical or any accepted spelling of it.

        Raises
        ------
        UnknownName
            If there is none; with the nearest names.
        """
        try:
            return self._by_name[name]
        except KeyError:
            known = [output.name for output in self.outputs]
            raise UnknownName("output", name, known, f"bundle {self.name!r}") from None

    def select(self, what: Iterable[str]) -> tuple[Output, ...]:
        """The outputs of the given kinds and names, in the model's order.

        Parameters
        ----------
        what : iterable of str
            Kinds (``prob``, ``logit``, ``mass``, ``hidden``, ``other``), ``all``, and names of outputs.

        Returns
        -------
        tuple of Output

        Raises
        ------
        UnknownName
            For what is neither a kind nor an output.
        """
        what = [what] if isinstance(what, str) else list(what)
        chosen: set[int] = set()
        for item in what:
            if item == "all":
                chosen.update(range(len(self.outputs)))
            elif item in KINDS and item not in self._by_name:
                chosen.update(output.index for output in self.outputs if output.kind == item)
            elif item in KINDS:  # an output called "mass" is also of that kind as a rule; the kind includes it
                chosen.update(output.index for output in self.outputs if output.kind == item or output.name == item)
            elif item in self._by_name:
                chosen.add(self._by_name[item].index)
            else:
                known = [*KINDS, "all", *(output.name for output in self.outputs)]
                raise UnknownName("kind or output", item, known, f"bundle {self.name!r}")
        return tuple(output for output in self.outputs if output.index in chosen)

    def kinds(self) -> str:
        """How many outputs there are of each kind, with their names, for messages.

        Returns
        -------
        str

        Examples
        --------
        >>> Bundle.from_folder(PACKAGE / "models" / "Sophon").kinds()[:42]
        '188 of kind prob (probXbb, probXcc, probXs'
        """
        texts = []
        for kind in KINDS:
            names = [output.name for output in self.outputs if output.kind == kind]
            if names:
                more = ", ..." if len(names) > 8 else ""
                texts.append(f"{len(names)} of kind {kind} ({', '.join(names[:8])}{more})")
        return ", ".join(texts)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """All features that the inputs are made of, each once."""
        seen = {variable.feature.name: variable.feature for group in self.groups for variable in group.variables}
        return tuple(seen.values())

    @cached_property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Axis -> shortest and longest length of the groups on it, in the order of the description."""
        found: dict[str, tuple[int, int]] = {}
        for group in self.groups:
            if not group.per_jet:
                shortest, longest = found.get(group.axis, (group.min_length, group.max_length))
                found[group.axis] = (max(shortest, group.min_length), min(longest, group.max_length))
        return found

    def require_weights(self) -> Path:
        """The path of the ONNX file.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        MissingModelFile
            With the missing file, the folder to put it in and how to obtain it.
        """
        if self.graph is not None:
            return self.graph.path
        text = f"the bundle {self.name!r} has no weights: the file {MODEL} is missing. "
        if self.folder.parent == (PACKAGE / "models").resolve():  # weights of these are found by the folder's name
            target = user_folder() / self.folder.name / MODEL
            text += f"Put it at {target} (or in a folder {self.folder.name}/ on $JETTAGGER_MODELS)."
        else:
            text += f"Put it at {self.folder / MODEL}."
        raise MissingModelFile(f"{text} {self.card.get_weights}".rstrip())


def is_bundle(folder: Path) -> bool:
    """Whether a folder looks like one of a model: it has weights, or a description of inputs.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    bool

    Examples
    --------
    >>> is_bundle(PACKAGE / "models" / "tinyParT"), is_bundle(PACKAGE / "models")
    (True, False)
    """
    if (folder / MODEL).is_file() or (folder / PREPROCESS).is_file():
        return True
    return (folder / CARD).is_file() and bool(_configurations(folder))


def _configurations(folder: Path) -> list[Path]:
    """The YAML files of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())


def _description(folder: Path, card: BundleCard | None) -> Path | None:
    """The file with the input description of a folder, if it has one."""
    if card is not None and card.inputs is not None:
        path = folder / card.inputs
        return path if path.is_file() else None
    if (folder / PREPROCESS).is_file():
        return folder / PREPROCESS
    found = _configurations(folder)
    if len(found) > 1:
        raise BundleError(
            f"{folder} has several YAML files ({', '.join(path.name for path in found)}): name the data configuration "
            f'as "inputs" in {CARD}'
        )
    return found[0] if found else None


def _files(folder: Path) -> tuple[dict[str, Path], str]:
    """The files of a bundle by their roles' names, and which of them describes the inputs."""
    packaged = PACKAGE / "models" / folder.name
    found: dict[str, Path] = {}
    if (folder / MODEL).exists():
        found[MODEL] = folder / MODEL
    places = [folder]
    own = read_card(folder / CARD) if (folder / CARD).exists() else None
    if _description(folder, own) is None and is_bundle(packaged):
        places.append(packaged)  # weights dropped into a folder named like a model that the package describes
    for place in places:
        if CARD not in found and (place / CARD).exists():
            found[CARD] = place / CARD
    card = read_card(found[CARD]) if CARD in found else None
    description = next((path for place in places if (path := _description(place, card)) is not None), None)
    if description is None:
        named = f" the file {card.inputs!r} that {CARD} names" if card is not None and card.inputs else ""
        raise MissingModelFile(
            f"{folder} has no{named or f' {PREPROCESS}'}; expected the input description ({PREPROCESS}, or a data "
            f"configuration of weaver in YAML) beside {MODEL}, or the name of a model that jettagger describes as the "
            f"folder's name{hint(folder.name, _packaged_names())}"
        )
    found[description.name] = description
    return found, description.name


def _read(folder: Path, *, accept: bool = False) -> Bundle:
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder, expected one with {MODEL} and {PREPROCESS}")
    folder = folder.resolve()
    for path in sorted(folder.iterdir()):
        refuse_special(path, BundleError)
    files, source = _files(folder)
    hashes = {source: file_sha256(files[source])}
    described = [f"{name} {file_sha256(path)}" for name, path in sorted(files.items()) if name != MODEL]

    def tried(sha256: str) -> None:
        if not _is_trusted(folder, sha256):
            require_trial("bundle", folder, [sha256, *described])

    graph = inspect(files[MODEL], tried) if MODEL in files else None
    if graph is not None:  # that of the graph covers external data, too
        hashes[MODEL] = file_sha256(files[MODEL]) if graph.external else graph.sha256
    card, described_by = _card(folder, files, hashes)
    _verify(card, folder, hashes)
    _warn_of_name(card, folder, hashes)
    kept = {} if _is_own(folder) else _kept(card, folder, files, hashes, graph)
    if not accept:
        compare(folder, kept)
    where = str(files[source])
    if files[source].suffix == ".json":
        description, config = read_object(files[source], BundleError, finite=False), None
        notes = {"input description": "preprocess.json"}
        groups = read_groups(description, where)
    else:
        config = read_config(files[source])
        notes = {"input description": "data configuration of weaver"}
        if config.selection is not None:
            notes["training selection"] = config.selection.text
        if graph is not None:
            config = config.keeping(tensor.name for tensor in graph.inputs)
        groups = weaver_groups(config)
        labels = config.labels
        # labels of type custom name targets, not classes
        names = list(labels.names) if labels is not None and labels.type == "simple" else None
        description = {"output_names": names}
        if "nonfinite" not in card.model_fields_set:
            card = card.model_copy(update={"nonfinite": "weaver"})
    groups = _fit(groups, graph, where)
    if config is not None:
        groups = _with_axes(groups, graph)
    outputs = read_outputs(card, description, graph, folder, source, lambda: _behaviour(groups, graph))
    if config is None and MODEL in hashes:
        _refuse_foreign(hashes[MODEL], groups, outputs, files[source], card)
    weights = graph.sha256 if graph is not None else ""
    content = card.model_dump_json(exclude={"sha256"}) + hashes[source] + weights
    if kept:
        record(folder, kept, accept=accept)
    return Bundle(
        folder=folder,
        card=card,
        groups=groups,
        outputs=outputs,
        graph=graph,
        digest=hashlib.sha256(content.encode()).hexdigest(),
        described_by=described_by,
        files=files,
        weaver=config,
        notes=notes,
    )


def weaver_groups(config: DataConfig) -> tuple[Group, ...]:
    """The input groups of a data configuration of weaver.

    Parameters
    ----------
    config : DataConfig

    Returns
    -------
    tuple of Group
        Their features are passed on as they are: `jettagger.weaver.WeaverJets` evaluates the expressions.

    Examples
    --------
    >>> config = read_config(text='''
    ... new_variables: {part_mask: ak.ones_like(part_pt)}
    ... inputs: {pf_mask: {length: 8, pad_mode: constant, vars: [[part_mask, null]]}}
    ... ''')
    >>> weaver_groups(config)[0].is_mask
    True
    """
    groups = []
    for group in config.inputs:
        variables = []
        for item in group.variables:
            formula = config.formulas.get(item.name)
            text = f"= {formula.text.strip()}" if formula is not None else "Column of the file."
            source, is_mask = Path(config.where).name, config.is_mask(item) and group.pad_mode == "constant"
            feature = Feature(item.name, group.name, (item.name,), stored(text), "1", source, is_mask)
            # without a centre weaver neither scales nor clips; where it repeats the list, an empty one gives zeros
            settings = () if item.center is None else (item.center, item.scale, 0.0, item.low, item.high)
            pad = item.pad if group.pad_mode == "constant" else 0.0
            variables.append(replace(Variable(feature, *settings), pad=pad))
        length = group.length or 1
        rank = 3 if group.length is not None else min(len(variables), 2)
        groups.append(Group(group.name, tuple(variables), length, length, group.pad_mode, rank, per_jet=length == 1))
    return tuple(groups)


def _with_axes(groups: tuple[Group, ...], graph: Graph | None) -> tuple[Group, ...]:
    """Groups of a data configuration on the axes that the graph and their lengths declare.

    Groups share an axis where the graph gives their lengths the same name: ONNX Runtime then takes them for equal. A
    length that the exporter named after its own input says nothing of others; such groups, and those of fixed length,
    share an axis where the configuration gives them the same length.
    """
    symbols: dict[str, str] = {}
    for tensor in graph.inputs if graph is not None else ():
        length = tensor.shape[2] if len(tensor.shape) == 3 else "?"
        if isinstance(length, str) and length != "?" and tensor.name not in length:
            symbols[tensor.name] = length
    members: dict[str | int, list[str]] = {}
    for group in groups:
        key = group.name if group.rank < 3 else symbols.get(group.name, group.max_length)
        members.setdefault(key, []).append(group.name)
    axes: dict[str, str] = {}
    for names in members.values():
        common = os.path.commonprefix(names).rstrip("_")  # noqa: RUF071 - a name to show
        axis = names[0] if not common or common in axes.values() else common
        axes |= dict.fromkeys(names, axis)
    return tuple(replace(group, axis=axes[group.name]) for group in groups)


def _verify(card: BundleCard, folder: Path, hashes: Mapping[str, str]) -> None:
    """Compare files with the checksums that the card declares; only the weights may be absent."""
    for name, expected in card.sha256.items():
        found = hashes.get(name)
        if found is None and (folder / name).is_file():
            found = file_sha256(folder / name)
        if found is None and name != MODEL:
            raise BundleError(f"{name!r}, whose SHA-256 {CARD} of {card.name!r} declares, is not in {folder}")
        if found is not None and found != expected.lower():
            raise BundleError(f"{folder / name}: its SHA-256 is {found}, {CARD} of {card.name!r} expects {expected}")


def _warn_of_name(card: BundleCard, folder: Path, hashes: Mapping[str, str]) -> None:
    """Say that a network is not the known one whose name it bears, unless its card declares its checksum."""
    found = hashes.get(MODEL)
    if found is None or MODEL in card.sha256:
        return
    named = known_name(folder.name) or known_name(card.name)
    if named is None or named.sha256[MODEL] == found:
        return
    warnings.warn(
        f"{folder} bears the name of the known network {named.name!r}, but {MODEL} in it is another file: its SHA-256 "
        f"is {found}, expected {named.sha256[MODEL]}. It is damaged, or another network: get it anew, give the folder "
        f'another name, or declare its SHA-256 as "sha256" in {CARD}',
        RuntimeWarning,
        stacklevel=2,
    )


def _refuse_foreign(
    sha256: str, groups: Sequence[Group], outputs: Sequence[Output], source: Path, card: BundleCard
) -> None:
    """Refuse a description that is not the one of a known network, unless the card declares its checksum."""
    known = known_network(sha256)
    if known is None or source.name in card.sha256:
        return
    wrong = differences(known, _described_variables(groups), [output.raw for output in outputs])
    if wrong:
        raise BundleError(
            f"{source} is not the description of the network beside it, which is {known.name!r} by its checksum: "
            f"{'; '.join(wrong)}. Its scores would be wrong: take the description that was published with the network "
            f'(only lengths may differ). If you mean it, declare the SHA-256 of {source.name} as "sha256" in {CARD}'
        )


def _described_variables(groups: Sequence[Group]) -> dict[str, list[tuple[str, list[float]]]]:
    """Input -> names and numbers of its variables, as `jettagger.bundles.known.differences` compares them."""
    return {
        group.name: [
            (
                item.feature.name,
                [
                    item.median,
                    item.norm_factor,
                    item.replace_inf_value,
                    item.lower_bound,
                    item.upper_bound,
                    item.pad,
                ],
            )
            for item in group.variables
        ]
        for group in groups
    }


def _kept(
    card: BundleCard, folder: Path, files: Mapping[str, Path], hashes: Mapping[str, str], graph: Graph | None
) -> dict[str, str]:
    """Path in the folder -> SHA-256, of the files whose checksum the card does not declare."""
    kept = {name: sha256 for name, sha256 in hashes.items() if files[name].parent == folder}
    for path in graph.external if graph is not None else ():
        kept[path.relative_to(folder).as_posix()] = file_sha256(path)
    return {name: sha256 for name, sha256 in kept.items() if name not in card.sha256}


def _is_own(folder: Path) -> bool:
    shelf = os.environ.get(SHIPPED)
    own = [PACKAGE / "models", *([Path(shelf)] if shelf else [])]  # what was sent here was tried by who sent it
    return any(folder.is_relative_to(place.resolve()) for place in own)


def _is_trusted(folder: Path, sha256: str) -> bool:
    return _is_own(folder) or known_network(sha256) is not None


def _packaged_names() -> list[str]:
    return sorted(path.name for path in (PACKAGE / "models").iterdir() if is_bundle(path))


def _card(folder: Path, files: Mapping[str, Path], hashes: Mapping[str, str]) -> tuple[BundleCard, str]:
    if CARD in files:
        return read_card(files[CARD]), CARD
    if (card := known_card(hashes.values())) is not None:
        return card, "jettagger"
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", folder.name).lstrip("_.+-") or "model"
    prefix = re.sub(r"\W", "_", name)
    return BundleCard(schema_version=1, name=name, prefix=prefix if prefix[0].isalpha() else f"m_{prefix}"), "inferred"


def read_groups(description: Mapping[str, Any], where: str) -> tuple[Group, ...]:
    """The input groups of a CMSSW ``preprocess.json``.

    Parameters
    ----------
    description : mapping
        The content of the file.
    where : str
        Its path, for errors.

    Returns
    -------
    tuple of Group
        With the lengths of the file: ``var_length`` gives a fixed length.

    Raises
    ------
    BundleError
        If keys are missing, of the wrong type, or contradict each other.
    UnknownName
        If variables are unknown: all are listed, with the nearest known names.
    """
    names = description.get("input_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BundleError(f"{where}: 'input_names' must be a list of group names, got {names!r}")
    if len(set(names)) != len(names):
        raise BundleError(f"{where}: 'input_names' lists a group twice: {names}")
    missing = [name for name in names if not isinstance(description.get(name), dict)]
    if missing:
        present = [key for key, value in description.items() if isinstance(value, dict) and "var_names" in value]
        raise BundleError(f"{where}: groups {missing} of 'input_names' are missing; the file has {present}")
    wanted = [name for group in names for name in _var_names(group, description[group], where)]
    lookup(dict.fromkeys(wanted), where)
    return tuple(_group(name, description[name], where) for name in names)


def _var_names(name: str, content: Mapping[str, Any], where: str) -> list[str]:
    variables = content.get("var_names")
    if not isinstance(variables, list) or not variables or not all(isinstance(item, str) for item in variables):
        raise BundleError(f"{where}: group {name!r}: 'var_names' must be a list of variables, got {variables!r}")
    return variables


def _group(name: str, content: Mapping[str, Any], where: str) -> Group:
    place = f"{where}: group {name!r}"
    variables, infos = _var_names(name, content, where), content.get("var_infos")
    if not isinstance(infos, dict):
        raise BundleError(f"{place}: 'var_infos' must be an object, got {infos!r}")
    without = [item for item in variables if not isinstance(infos.get(item), dict)]
    if without:
        raise BundleError(f"{place}: 'var_infos' lacks {without}")
    features = lookup(variables, place)
    objects = sorted({feature.object for feature in features})
    if len(objects) > 1:
        raise BundleError(f"{place}: its variables describe different objects {objects}, expected one")
    shortest, longest = _lengths(content, place)
    return Group(
        name=name,
        variables=tuple(_variable(feature, infos[feature.name], place) for feature in features),
        min_length=shortest,
        max_length=longest,
        per_jet=objects == ["jet"],
    )


def _lengths(content: Mapping[str, Any], place: str) -> tuple[int, int]:
    if content.get("var_length") is not None:
        bounds = (content["var_length"], content["var_length"])
    elif content.get("min_length") is not None and content.get("max_length") is not None:
        bounds = (content["min_length"], content["max_length"])
    else:
        raise BundleError(f"{place}: expected 'var_length', or both 'min_length' and 'max_length'")
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in bounds):
        raise BundleError(f"{place}: lengths must be whole numbers, got {bounds}")
    if bounds[1] > LONGEST_LIST:
        raise BundleError(f"{place}: lengths of at most {LONGEST_LIST} are sensible, got {_power(max(bounds))}")
    if not 0 <= bounds[0] <= bounds[1] or bounds[1] < 1:
        raise BundleError(f"{place}: expected 0 <= min_length <= max_length and max_length >= 1, got {bounds}")
    return bounds


def _power(number: int) -> str:
    """A large whole number; those of thousands of digits cannot be written."""
    return str(number) if number < 10**20 else f"a number of about {int(number.bit_length() * 0.30103)} digits"


def _variable(feature: Feature, info: Mapping[str, Any], place: str) -> Variable:
    place = f"{place}, variable {feature.name!r}"
    missing = sorted(_VARIABLE_KEYS - {"pad"} - set(info))
    if missing:
        raise BundleError(f"{place}: {missing} missing")
    unknown = sorted(set(info) - _VARIABLE_KEYS)
    if unknown:
        raise BundleError(f"{place}: unknown {', '.join(repr(key) + hint(key, _VARIABLE_KEYS) for key in unknown)}")
    numbers = {}
    for key, value in info.items():
        numbers[key] = _number(value, f"{place}: {key!r}", infinite=key.endswith("_bound"))
    variable = Variable(feature, **numbers)
    if not variable.lower_bound <= variable.upper_bound:
        raise BundleError(f"{place}: lower_bound {variable.lower_bound} exceeds upper_bound {variable.upper_bound}")
    if not variable.lower_bound <= variable.pad <= variable.upper_bound:
        raise BundleError(f"{place}: pad {variable.pad} lies outside [{variable.lower_bound}, {variable.upper_bound}]")
    return variable


def _number(value: Any, place: str, *, infinite: bool) -> float:
    """A number of the description; only bounds may be infinite."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number beyond any float
            number = float(value)
            if math.isfinite(number) or (infinite and not math.isnan(number)):
                return number
    raise BundleError(f"{place} must be a {'' if infinite else 'finite '}number, got {_shown(value)}")


def _shown(value: Any) -> str:
    try:
        return repr(value if isinstance(value, (int, float)) else str(value)[:40])
    except ValueError:  # whole numbers of thousands of digits cannot be written
        return "a number of thousands of digits"


def _fit(groups: tuple[Group, ...], graph: Graph | None, where: str) -> tuple[Group, ...]:
    """Compare the groups with the ONNX inputs; where the ONNX file fixes a length, that decides."""
    if graph is None:
        return groups
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    lacking = sorted(set(inputs) - {group.name for group in groups})
    extra = sorted({group.name for group in groups} - set(inputs))
    if lacking or extra:
        raise BundleError(
            f"{where} and {graph.path} do not fit: inputs of the model without a group: {lacking or 'none'}; "
            f"groups without an input: {extra or 'none'}"
        )
    fitted = []
    for group in groups:
        tensor = inputs[group.name]
        # a single number of the jet may come with or without an axis of variables
        ranks = (group.rank,) if group.rank != 1 else (1, 2)
        if len(tensor.shape) not in ranks or tensor.dtype != "float32":
            raise BundleError(
                f"{graph.path}: input {group.name!r} is {tensor.dtype}{list(tensor.shape)}, "
                f"expected float32 [{', '.join(('jets', 'variables', 'length')[: group.rank])}]"
            )
        rank = len(tensor.shape)
        channels, length = (*tensor.shape, 1, 1)[1:3] if rank < 3 else tensor.shape[1:]
        if isinstance(channels, int) and channels != len(group.variables):
            raise BundleError(
                f"{where}: group {group.name!r} has {len(group.variables)} variables, "
                f"the input of {graph.path} expects {channels}"
            )
        if isinstance(length, int):
            shortest, longest = length, length
        else:
            shortest, longest = max(group.min_length, 1), group.max_length
        fitted.append(replace(group, min_length=shortest, max_length=longest, rank=rank))
    by_axis: dict[str, tuple[int, int]] = {}
    for group in fitted:
        bounds = (group.min_length, group.max_length)
        if by_axis.setdefault(group.object, bounds) != bounds:
            raise BundleError(
                f"{where}: groups of the object {group.object!r} differ in length: "
                f"{by_axis[group.object]} and {bounds} (group {group.name!r})"
            )
    return tuple(fitted)


def _behaviour(groups: Sequence[Group], graph: Graph | None) -> Behaviour | None:
    """What the network does with random inputs of full length."""
    if graph is None:
        return None
    return observed(
        graph,
        [
            ProbeInput(
                group.name,
                tuple(variable.feature.name for variable in group.variables),
                group.max_length,
                group.rank,
                group.is_mask,
            )
            for group in groups
        ],
    )


guard(globals(), "Bundle")
