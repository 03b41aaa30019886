"""File names in a bundle: which files make a folder a bundle, and which one describes the inputs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from jettagger.bundles.card import BundleCard, read_card
from jettagger.bundles.declaration import families
from jettagger.bundles.known import known_card
from jettagger.bundles.places import PACKAGE
from jettagger.errors import BundleError, JettaggerError, MissingModelFile, hint, nearest
from jettagger.files.jsonfile import read_object
from jettagger.sessions.graph import file_sha256

__all__ = ["CARD", "DECLARED", "MODEL", "PREPROCESS", "find_files", "is_bundle"]

MODEL, PREPROCESS, DECLARED, CARD = "model.onnx", "preprocess.json", "inputs.json", "bundle.json"


def is_bundle(folder: Path) -> bool:
    """Whether a folder contains a model: weights, or a description of inputs.

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
    if any((folder / name).is_file() for name in (MODEL, PREPROCESS, DECLARED)):
        return True
    return (folder / CARD).is_file() and (bool(_configurations(folder)) or _names_family(folder / CARD))


def _names_family(path: Path) -> bool:
    """Whether a card names a family of networks with inputs declared in the package."""
    with suppress(JettaggerError):
        return read_object(path, BundleError).get("inputs") in families()
    return False


def find_files(folder: Path) -> tuple[dict[str, Path], str, BundleCard | None]:
    """The files of a bundle by role, the input description among them, and the card.

    Parameters
    ----------
    folder : pathlib.Path
        A folder with the network alone is completed with the package's description of this name.

    Returns
    -------
    files : dict of str to pathlib.Path
    description : str
        Name of the input description.
    card : BundleCard or None
        The card, if there is one.

    Raises
    ------
    BundleError
        If the card is invalid, or if there is more than one candidate for the data configuration.
    MissingModelFile
        If there is no input description.
    """
    packaged = PACKAGE / "models" / folder.name
    found: dict[str, Path] = {}
    if (folder / MODEL).exists():
        found[MODEL] = folder / MODEL
    places = [folder]
    if (folder / CARD).exists():
        found[CARD] = folder / CARD
    card = read_card(found[CARD]) if CARD in found else None
    if _description(folder, card) is None and is_bundle(packaged):
        places.append(packaged)  # weights dropped into a folder named like a model that the package describes
        if card is None and (packaged / CARD).exists():
            found[CARD] = packaged / CARD
            card = read_card(found[CARD])
    description = next((path for place in places if (path := _description(place, card)) is not None), None)
    if description is None and MODEL in found and (known := known_card([file_sha256(found[MODEL])])) is not None:
        description = families().get(known.inputs or "")
    if description is None:
        named = f" the file {card.inputs!r} that {CARD} names" if card is not None and card.inputs else ""
        lacking, names = named or f" {PREPROCESS}", _packaged_names()
        beside = f"the input description ({PREPROCESS}, or a data configuration of weaver in YAML) beside {MODEL}"
        raise MissingModelFile(
            f"{folder} has no{lacking}; expected {beside}, the name of a model that jettagger describes as the "
            f'folder\'s name{hint(folder.name, names)}, or a family of networks as "inputs" in {CARD}: '
            f"{', '.join(families())}",
            where=f"{folder}",
            got=f"no{lacking}",
            expected=beside,
            nearest=nearest(folder.name, names),
        )
    found[description.name] = description
    return found, description.name, card


def _configurations(folder: Path) -> list[Path]:
    """The YAML files of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())


def _description(folder: Path, card: BundleCard | None) -> Path | None:
    """The file with the input description of a folder, if it has one."""
    if card is not None and card.inputs is not None:
        path = folder / card.inputs
        if path.suffix not in (".json", ".yaml", ".yml") and card.inputs not in families():
            raise BundleError(
                f"{folder / CARD}: 'inputs' is {card.inputs!r}, expected a .json or YAML file, or a family of "
                f"networks{hint(card.inputs, families())}: {', '.join(families())}"
            )
        return path if path.is_file() else families().get(card.inputs)
    for name in (PREPROCESS, DECLARED):
        if (folder / name).is_file():
            return folder / name
    found = _configurations(folder)
    if len(found) > 1:
        raise BundleError(
            f"{folder} has several YAML files ({', '.join(path.name for path in found)}): name the data configuration "
            f'as "inputs" in {CARD}'
        )
    return found[0] if found else None


def _packaged_names() -> list[str]:
    return sorted(path.name for path in (PACKAGE / "models").iterdir() if is_bundle(path))
