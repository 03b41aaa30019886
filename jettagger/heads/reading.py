"""Reading of a head from its folder: complete, undamaged, description and network consistent."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from jettagger.arguments import guard
from jettagger.bundles.trials import require_trial
from jettagger.errors import BundleError, MissingModelFile, hint
from jettagger.files.jsonfile import parse_json
from jettagger.heads.description import DESCRIPTION, NETWORK, HeadCard, check_checksum, read_head_card
from jettagger.heads.export import COLUMNS
from jettagger.heads.head import Head
from jettagger.sessions.graph import Graph, file_sha256, inspect

__all__ = ["load_head", "restore_head"]


def _folder(name: str | os.PathLike[str]) -> Path:
    """The folder that a name means; a name that no folder can have is returned as it is."""
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown user, a zero byte
        return Path(name)


def load_head(folder: str | os.PathLike[str]) -> Head:
    """Read the folder of a head and validate it.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Head

    Raises
    ------
    MissingModelFile
        If the folder or one of its files does not exist.
    BundleError
        If the description is invalid or contradicts the network, or if a class of boosted decision trees has no tree.
    ModelFileError
        If the network is damaged.
    """
    place = _folder(folder)
    card = read_head_card(place)
    path = place / NETWORK
    if not path.is_file():
        raise MissingModelFile(
            f"{place} has no {NETWORK}: the folder of the head {card.name!r} is not complete",
            where=f"{place}",
            got=f"no {NETWORK}",
            expected=NETWORK,
        )
    found = file_sha256(path)
    if found != card.sha256:
        raise BundleError(
            f"{path} is damaged or was replaced: its SHA-256 is {found}, {DESCRIPTION} says {card.sha256}"
        )
    digest = hashlib.sha256(file_sha256(place / DESCRIPTION).encode() + found.encode()).hexdigest()
    graph = inspect(path, lambda sha256: require_trial("head", place, [sha256, digest]))
    _compare(graph, card, path)
    check_checksum(card, place)
    return Head(place, card, graph, digest)


def _compare(graph: Graph, card: HeadCard, path: Path) -> None:
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:  # written so for two classes, by jettagger before it wrote the trees itself
        given = next((set(item.ints) for item in node.attribute if item.name == "class_ids"), set())
        without = [name for number, name in enumerate(card.outputs) if number not in given]
        if node.op_type == "TreeEnsembleClassifier" and without:
            raise BundleError(
                f"{path}: no tree adds to the output {without[0]!r}, so that the probabilities of the head "
                f"{card.name!r} are wrong (often inverted): train it again with this version of jettagger"
            )
    properties = {item.key: item.value for item in model.metadata_props}
    for what, names in (("inputs", [item.name for item in card.inputs]), ("outputs", card.outputs)):
        try:
            inside = parse_json(properties.get(what, "null"), f"{path}: {what}", BundleError)
        except BundleError:
            inside = None
        if inside != names:
            inside = [str(name) for name in inside] if isinstance(inside, list) else []
            other = next((n for n in names if n not in inside), names[0])
            raise BundleError(
                f"{path}: its {what} are not those of {DESCRIPTION} (first: {other!r}{hint(other, inside)})"
            )
    shapes = [(item.name, item.shape[1:]) for item in (*graph.inputs, *graph.outputs)]
    expected = [(COLUMNS, (len(card.inputs),))] + [(f"fold{i}", (len(card.outputs),)) for i in range(card.folds)]
    if shapes != expected:
        raise BundleError(f"{path}: inputs and outputs are {shapes}, {DESCRIPTION} asks for {expected}")


def restore_head(folder: str, digest: str) -> Head:
    """A head that was sent to another process: read from its folder, if the content is unchanged.

    Parameters
    ----------
    folder, digest : str

    Returns
    -------
    Head

    Raises
    ------
    BundleError
        If the content has changed.
    """
    head = load_head(folder)
    if head.digest != digest:
        raise BundleError(f"the head in {folder} is not the one that was sent: its content has changed")
    return head


guard(globals(), "load_head")
