"""Folders with a network that assigns objects to particles: read, checked, and made from an ONNX file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.card import (
    CARD,
    EVENT_FILE,
    NETWORK,
    OPTION_FILE,
    AssignerCard,
    Statistics,
    card_text,
    read_card,
)
from jettagger.assignment.exporting import FLAGS
from jettagger.assignment.naming import NetworkNames, fit_network
from jettagger.bundles.identity import is_own
from jettagger.bundles.trials import require_trial
from jettagger.display import Brief
from jettagger.errors import BundleError, BundleNotFound, ConfigError, MissingModelFile, ModelFileError, UnknownName
from jettagger.files import check_folder, folder_complete_or_absent, refuse_special
from jettagger.files.jsonfile import parse_json, read_object
from jettagger.inference.slots import total_slots
from jettagger.provenance import Provenance
from jettagger.sessions import open_onnx
from jettagger.sessions.graph import Graph, file_sha256, inspect
from jettagger.topology.eventfile import EventDescription, parse_event_text, read_event_file
from jettagger.topology.mapping import MAPPING_FILE, read_mapping
from jettagger.types import Array

if TYPE_CHECKING:
    from jettagger.topology.mapping import EventMapping

__all__ = ["AssignerFolder", "import_assigner", "read_assigner"]

#: constants of exported networks with the normalisation of the n-th input: of the original, and of ours
_NORMALISER = re.compile(
    r"(?:vector_embedding_layers|^network(?:\.networks\.\d+)?\.inputs)\.(\d+)\.(?:normalizer\.)?(mean|std)$"
)


@dataclass(frozen=True)
class AssignerFolder(Brief):
    """A network that assigns objects to particles, with what is known of it; made by `read_assigner`.

    Attributes
    ----------
    folder : pathlib.Path
    name : str
    event : EventDescription
    graph : Graph
    names : NetworkNames
    input_log : bool
        Whether the network itself takes ln(x + 1).
    slots : dict of str to int or None
        Sequential input -> number of objects that the network takes; None: any.
    mapping : EventMapping or None
        From ``inputs.yaml`` of the folder.
    statistics : dict
        Input -> feature -> `Statistics`, where they are known.
    digest : str
        SHA-256 of everything that results depend on.
    sources : tuple of pathlib.Path
        The files.
    """

    folder: Path
    name: str
    event: EventDescription
    graph: Graph
    names: NetworkNames
    input_log: bool
    slots: Mapping[str, int | None]
    mapping: EventMapping | None
    statistics: Mapping[str, Mapping[str, Statistics]]
    digest: str
    sources: tuple[Path, ...]

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of `read_assigner` that read a copy of the folder as this one."""
        if self.sources[0].name == CARD:
            return {}
        return {"input_log": self.input_log, "slots": {name: size for name, size in self.slots.items() if size}}


def read_assigner(
    folder: str | os.PathLike[str],
    *,
    input_log: bool | None = None,
    slots: Mapping[str, int] | None = None,
) -> AssignerFolder:
    """Read the folder of a network, and compare the network with its event file.

    Parameters
    ----------
    folder : path
        With ``assigner.json`` as `import_assigner` writes it; or with one ONNX file and its event file
        (``event.yaml``, or the only YAML file beside ``inputs.yaml``).
    input_log : bool, optional
        For a folder without ``assigner.json``: whether the network itself takes ln(x + 1) of features with the option
        ``log``.
    slots : mapping of str to int, optional
        For a folder without ``assigner.json``: input -> number of objects that the network takes. By default the
        network is tried.

    Returns
    -------
    AssignerFolder

    Raises
    ------
    BundleNotFound, MissingModelFile
        If the folder or one of its files does not exist.
    BundleError
        If a file is damaged or was replaced, if the network does not fit the event file, or if the card does not fit
        the network.
    ConfigError
        If the event file is not valid, or the network may take logarithms and nothing says whether it does.
    ModelFileError
        If the network is damaged, refused, or keeps data outside the folder.
    """
    try:
        place = Path(folder).expanduser()
        refuse_special(place, BundleError)
        exists = place.is_dir()
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown user, a zero byte
        place, exists = Path(folder), False
    if not exists:
        expected = "one that 'jettagger assignment import' made, or with an ONNX file and its event file"
        raise BundleNotFound(
            f"{place} is not a folder, expected {expected}", where=f"{place}", got="is not a folder", expected=expected
        )
    place = place.resolve()
    for inside in sorted(place.iterdir()):
        refuse_special(inside, BundleError)
    if not (place / CARD).is_file():
        return _read_raw(place, input_log, slots)
    if input_log is not None or slots is not None:
        raise ConfigError(f"{place / CARD} says how the network takes its inputs: leave input_log and slots out")
    return _read_card_folder(place)


def _read_card_folder(place: Path) -> AssignerFolder:
    card = read_card(place / CARD)
    for name in (NETWORK, EVENT_FILE):
        if name not in card.sha256:
            raise BundleError(f"{place / CARD}: sha256 has no entry {name!r}")
    for name, expected in card.sha256.items():
        path = place / name
        if Path(name).name != name:
            raise BundleError(f"{place / CARD}: sha256 names {name!r}, expected a file of the folder")
        if not path.is_file():
            raise MissingModelFile(
                f"{place} has no {name}: the folder of {card.name!r} is not complete",
                where=f"{place}",
                got=f"no {name}",
                expected=name,
            )
        found = file_sha256(path)
        if found != expected:
            raise BundleError(f"{path} is damaged or was replaced: its SHA-256 is {found}, {CARD} says {expected}")
    event = read_event_file(place / EVENT_FILE)
    graph = _inspected(place / NETWORK, card.slots)
    names = fit_network(graph, event, str(place / EVENT_FILE))
    _compare(card, event, graph, names, place / CARD)
    mapping = read_mapping(place / MAPPING_FILE, event) if MAPPING_FILE in card.sha256 else None
    sources = (place / CARD, *(place / name for name in card.sha256), *graph.external)
    digest = hashlib.sha256((file_sha256(place / CARD) + graph.sha256).encode()).hexdigest()
    return AssignerFolder(
        place, card.name, event, graph, names, card.input_log, card.slots, mapping, card.statistics, digest, sources
    )


def _compare(card: AssignerCard, event: EventDescription, graph: Graph, names: NetworkNames, place: Path) -> None:
    """Refuse a card that belongs to another network."""
    expected: dict[str, Any] = {
        "inputs": {item.name: [feature.name for feature in item.features] for item in event.inputs},
        "outputs": [tensor.name for tensor in graph.outputs],
        "output_log": names.output_log,
        "slots": [item.name for item in event.sequential],
    }
    for key, value in expected.items():
        found = list(getattr(card, key)) if key == "slots" else getattr(card, key)
        if found != value:
            raise BundleError(f"{place}: {key} is {found}, network and event file have {value}")


def _inspected(path: Path, slots: Mapping[str, int | None]) -> Graph:
    """The interface of a network that survives a run in another process."""
    sizes = {f"{name}_{end}": size or 8 for name, size in slots.items() for end in ("data", "mask")}
    said = json.dumps(sizes, sort_keys=True)
    if is_own(path.parent):  # a worker that it was sent to
        return inspect(path)
    return inspect(path, lambda sha256: require_trial("network", path.parent, [sha256], name=path.name, slots=said))


def _read_raw(place: Path, input_log: bool | None, slots: Mapping[str, int] | None) -> AssignerFolder:
    """A folder with an ONNX file and an event file alone."""
    network = _only(place, "an ONNX file", sorted(place.glob("*.onnx")), NETWORK)
    yamls = [path for path in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if path.name != MAPPING_FILE]
    event_file = _only(place, "an event file", yamls, EVENT_FILE)
    event = read_event_file(event_file)
    graph = _inspected(network, dict.fromkeys((item.name for item in event.sequential), None) | dict(slots or {}))
    names = fit_network(graph, event, str(event_file))
    input_log = known_input_log(input_log, event, graph)
    sizes = known_slots(slots, event, graph, names)
    mapping = read_mapping(place / MAPPING_FILE, event) if (place / MAPPING_FILE).is_file() else None
    sources = [network, event_file, *graph.external, *([] if mapping is None else [place / MAPPING_FILE])]
    said = json.dumps([graph.sha256, file_sha256(event_file), input_log, sizes])
    if mapping is not None:
        said += file_sha256(place / MAPPING_FILE)
    digest = hashlib.sha256(said.encode()).hexdigest()
    statistics = read_statistics(graph, event)
    return AssignerFolder(
        place, place.name, event, graph, names, input_log, sizes, mapping, statistics, digest, tuple(sources)
    )


def _only(place: Path, what: str, paths: Sequence[Path], preferred: str) -> Path:
    """The file of a folder that is meant."""
    named = [path for path in paths if path.name == preferred]
    if len(named or paths) == 1:
        return (named or paths)[0]
    found = ", ".join(path.name for path in paths) or "none"
    raise MissingModelFile(
        f"{place} needs {what}, {preferred} or the only one; it has {found}",
        where=f"{place}",
        got=found,
        expected=f"{what}, {preferred} or the only one",
    )


def known_input_log(input_log: bool | None, event: EventDescription, graph: Graph) -> bool:
    """Whether the network itself takes ln(x + 1); an error if that matters and is not known.

    Parameters
    ----------
    input_log : bool or None
    event : EventDescription
    graph : Graph

    Returns
    -------
    bool
    """
    recorded = recorded_flags(graph).get("input_log")
    if isinstance(recorded, bool):  # exported by jettagger
        if input_log not in (None, recorded):
            raise ConfigError(f"{graph.path} says that input_log is {recorded}, got {input_log}: leave it out")
        return recorded
    logs = [f"{item.name}/{feature.name}" for item in event.inputs for feature in item.features if feature.log]
    if input_log is None and logs:
        raise ConfigError(
            f"{graph.path}: the event file asks for ln(x + 1) of {', '.join(logs)}, and the ONNX file does not say "
            "whether it takes it itself. Say so with input_log=True (--input-log yes) if it was exported with "
            "--input-log-transform, else with input_log=False (--input-log no)"
        )
    return bool(input_log)


def recorded_flags(graph: Graph) -> dict[str, Any]:
    """What `jettagger.assignment.export_network` records in an ONNX file; empty for those of the original.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    dict
        ``input_log``, ``output_log``, ``event`` (text of the event file) and more.

    Raises
    ------
    ModelFileError
        If the entry is damaged.
    """
    import onnx

    model = onnx.load(graph.path, load_external_data=False)
    texts = [item.value for item in model.metadata_props if item.key == FLAGS]
    if not texts:
        return {}
    flags: dict[str, Any] = parse_json(texts[0], f"{graph.path}, entry {FLAGS}", ModelFileError, kind=dict)
    return flags


def known_slots(
    slots: Mapping[str, int] | None, event: EventDescription, graph: Graph, names: NetworkNames
) -> dict[str, int | None]:
    """The numbers of objects that a network takes, as given or found by runs of the network.

    Parameters
    ----------
    slots : mapping of str to int or None
    event : EventDescription
    graph : Graph
    names : NetworkNames

    Returns
    -------
    dict of str to int or None
        Sequential input -> number; None: any.

    Raises
    ------
    UnknownName
        If a name is not one of a sequential input.
    ConfigError
        If a number is not positive or contradicts the network, or if the network takes a fixed total of several inputs.
    """
    inputs = [item.name for item in event.sequential]
    given = dict(slots or {})
    if unknown := [name for name in given if name not in inputs]:
        raise UnknownName("sequential input", unknown, inputs, "slots")
    for name, size in given.items():
        if size < 1:
            raise ConfigError(f"slots of {name!r} are {size}, expected at least 1")
    pairs = [(names.data[name], names.mask[name]) for name in inputs]
    total = total_slots(open_onnx(graph, 1), graph, pairs, list(names.assignment.values()))
    if total is None:
        return {name: given.get(name) for name in inputs}
    if len(inputs) == 1 and not given:
        return {inputs[0]: total}
    if set(given) == set(inputs) and sum(given.values()) == total:
        return {name: given[name] for name in inputs}
    said = ", ".join(f"{name}={size}" for name, size in given.items()) or "nothing"
    raise ConfigError(
        f"{graph.path} takes exactly {total} objects of {', '.join(inputs)} together: say how many of each, as in the "
        f"data set of its training, with slots={{NAME: NUMBER}} (--slots NAME=NUMBER); got {said}"
    )


def read_statistics(graph: Graph, event: EventDescription) -> dict[str, dict[str, Statistics]]:
    """The normalisation inside a network, as far as its constants have their names.

    Parameters
    ----------
    graph : Graph
    event : EventDescription

    Returns
    -------
    dict
        Input -> feature -> `Statistics`, for features with the option ``normalize``. Inputs that members of an ensemble
        normalise differently are left out.
    """
    import onnx

    model = onnx.load(graph.path, load_external_data=False)
    constants: dict[tuple[int, str], Array] = {}
    different = set()
    for item in model.graph.initializer:
        name = _NORMALISER.search(item.name)
        if name is None or item.data_location == onnx.TensorProto.EXTERNAL:
            continue
        place, value = (int(name[1]), name[2]), onnx.numpy_helper.to_array(item)
        if place in constants and not np.array_equal(constants[place], value):
            different.add(place[0])
        constants[place] = value
    found: dict[str, dict[str, Statistics]] = {}
    for number, item in enumerate(event.inputs):
        if number in different:
            continue
        mean, std = (constants.get((number, what)) for what in ("mean", "std"))
        if _fits(mean, len(item.features)) and _fits(std, len(item.features)):
            assert mean is not None  # as they fit
            assert std is not None
            found[item.name] = {
                feature.name: Statistics(mean=float(mean[place]), std=float(std[place]))
                for place, feature in enumerate(item.features)
                if feature.normalize and std[place] > 0
            }
    return found


def _fits(values: Array | None, size: int) -> bool:
    return values is not None and values.shape == (size,) and bool(np.isfinite(values).all())


def import_assigner(
    onnx: str | os.PathLike[str],
    event: str | os.PathLike[str] | None,
    folder: str | os.PathLike[str],
    *,
    options: str | os.PathLike[str] | None = None,
    mapping: str | os.PathLike[str] | None = None,
    input_log: bool | None = None,
    slots: Mapping[str, int] | None = None,
    name: str | None = None,
    title: str = "",
    provenance: Provenance | None = None,
    force: bool = False,
) -> AssignerFolder:
    """Make the folder of a network from an ONNX file of the original and its event file.

    Parameters
    ----------
    onnx : path
        Exported with ``python -m spanet.export``; its data have to be inside.
    event : path or None
        Its event file; None for one that jettagger exported, which records it.
    folder : path
        To write, complete or not at all: ``model.onnx``, ``event.yaml``, ``assigner.json`` with names, flags,
        statistics and checksums, and what else is given.
    options : path, optional
        Its option file, ``options.json``, which is kept as it is.
    mapping : path, optional
        ``inputs.yaml``: which columns of events the inputs are; needed for `Assigner.attach`.
    input_log : bool, optional
        Whether the network itself takes ln(x + 1), as with the original's ``--input-log-transform``; needed if a
        feature has the option ``log``.
    slots : mapping of str to int, optional
        Input -> number of objects that the network takes; by default the network is tried.
    name : str, optional
        Default: that of the folder.
    title : str
    provenance : Provenance, optional
        How the network was made; default: by this import.
    force : bool
        Whether an existing folder may be replaced.

    Returns
    -------
    AssignerFolder

    Raises
    ------
    MissingModelFile, ModelFileError
        If the ONNX file does not exist, is damaged or refused, or keeps data in other files.
    BundleError
        If it does not fit the event file: lists what is missing, with nearest names.
    ConfigError, UnknownName
        If a file is not valid, or if log flags or slots are needed and not given.
    OutputError
        If the folder cannot be written.
    """
    given = {NETWORK: Path(onnx)}
    if event is not None:
        given[EVENT_FILE] = Path(event)
    if options is not None:
        given[OPTION_FILE] = Path(options)
        read_object(Path(options), BundleError)
    if mapping is not None:
        given[MAPPING_FILE] = Path(mapping)
    target = check_folder(folder, marker=CARD, force=force, inputs=list(given.values()))
    graph = inspect(onnx)
    if event is None:
        text = recorded_flags(graph).get("event")
        if not isinstance(text, str):
            raise ConfigError(f"{graph.path} records no event file: give it with event= (--event)")
        description = parse_event_text(text, f"{graph.path}, event file")
    else:
        text, description = "", read_event_file(event)
    if mapping is not None:
        read_mapping(mapping, description)
    if graph.external:
        raise BundleError(
            f"{graph.path} keeps data in {graph.external[0].name}; expected an ONNX file with all its data"
        )
    names = fit_network(graph, description, "in its metadata" if event is None else os.fspath(event))
    input_log = known_input_log(input_log, description, graph)
    _inspected(graph.path, dict.fromkeys((item.name for item in description.sequential), None) | dict(slots or {}))
    sizes = known_slots(slots, description, graph, names)
    record = provenance or Provenance("assigner", files=tuple(os.fspath(path) for path in given.values()))
    card = _checked_name(name or Path(folder).resolve().name, folder)
    with folder_complete_or_absent(target, marker=CARD, force=force) as part:
        for file, path in given.items():
            shutil.copyfile(path, part / file)
        if event is None:
            (part / EVENT_FILE).write_text(text, encoding="utf-8")
        content = AssignerCard(
            schema_version=1,
            name=card,
            title=title,
            input_log=input_log,
            output_log=names.output_log,
            slots=sizes,
            inputs={item.name: [feature.name for feature in item.features] for item in description.inputs},
            outputs=[tensor.name for tensor in graph.outputs],
            statistics=read_statistics(graph, description),
            sha256={file: file_sha256(part / file) for file in sorted({*given, EVENT_FILE})},
            provenance=record.to_dict(),
        )
        if content.sha256[NETWORK] != graph.sha256:
            raise BundleError(f"{graph.path} changed while it was read")
        (part / CARD).write_text(card_text(content), encoding="utf-8")
    return read_assigner(folder)


def _checked_name(name: str, folder: str | os.PathLike[str]) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a network in {os.fspath(folder)}: expected letters, digits and . _ + -"
        )
    return name


guard(globals(), "import_assigner", "read_assigner")
