"""Identity of the files of a bundle: checksums declared in its card, and those of known networks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from jettagger.bundles.card import BundleCard
from jettagger.bundles.folder import CARD, MODEL
from jettagger.bundles.interface import Group
from jettagger.bundles.known import differences, known_card, known_name, known_network
from jettagger.bundles.outputs import Output
from jettagger.bundles.places import PACKAGE, SHIPPED
from jettagger.errors import BundleError
from jettagger.sessions.graph import Graph, file_sha256

__all__ = ["compare_checksums", "is_own", "is_trusted", "refuse_foreign", "undeclared", "warn_of_name"]


def compare_checksums(card: BundleCard, folder: Path, hashes: Mapping[str, str]) -> None:
    """Compare files with the checksums declared in the card; only the weights may be absent.

    Parameters
    ----------
    card : BundleCard
    folder : pathlib.Path
    hashes : mapping of str to str
        Name of a file -> SHA-256, as far as computed already.

    Raises
    ------
    BundleError
        If a file has another checksum or is missing.
    """
    for name, expected in card.sha256.items():
        found = hashes.get(name)
        if found is None and (folder / name).is_file():
            found = file_sha256(folder / name)
        if found is None and name != MODEL:
            raise BundleError(f"{folder} has no {name!r}, whose SHA-256 {CARD} of {card.name!r} declares")
        if found is not None and found != expected.lower():
            raise BundleError(f"{folder / name}: its SHA-256 is {found}, {CARD} of {card.name!r} expects {expected}")


def warn_of_name(card: BundleCard, folder: Path, hashes: Mapping[str, str]) -> None:
    """Warn if a network differs from the known one of its name, unless its card declares its checksum.

    Parameters
    ----------
    card : BundleCard
    folder : pathlib.Path
    hashes : mapping of str to str
        Name of a file -> SHA-256.

    Warns
    -----
    RuntimeWarning
        If it differs.
    """
    found = hashes.get(MODEL)
    if found is None or MODEL in card.sha256:
        return
    named = known_name(folder.name) or known_name(card.name)
    if named is None or named.sha256[MODEL] == found:
        return
    warnings.warn(
        f"{folder} has the name of the known network {named.name!r}, but {MODEL} in it is another file: its SHA-256 "
        f"is {found}, expected {named.sha256[MODEL]}. It is damaged, or another network: get a new copy, rename the "
        f'folder, or declare its SHA-256 as "sha256" in {CARD}',
        RuntimeWarning,
        stacklevel=2,
    )


def refuse_foreign(
    sha256: str, groups: Sequence[Group], outputs: Sequence[Output], source: Path, card: BundleCard
) -> None:
    """Refuse a description that differs from that of a known network, unless the card declares its checksum.

    Parameters
    ----------
    sha256 : str
        Checksum of the network.
    groups : sequence of Group
    outputs : sequence of Output
    source : pathlib.Path
        The input description.
    card : BundleCard

    Raises
    ------
    BundleError
        Lists all differences.
    """
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


def undeclared(
    card: BundleCard, folder: Path, files: Mapping[str, Path], hashes: Mapping[str, str], graph: Graph | None
) -> dict[str, str]:
    """Checksums of the files in the folder that the card does not declare.

    Parameters
    ----------
    card : BundleCard
    folder : pathlib.Path
    files : mapping of str to pathlib.Path
    hashes : mapping of str to str
        Name of one of the files -> SHA-256.
    graph : Graph or None
        Includes its external data.

    Returns
    -------
    dict of str to str
        Path in the folder -> SHA-256.
    """
    kept = {name: sha256 for name, sha256 in hashes.items() if files[name].parent == folder}
    for path in graph.external if graph is not None else ():
        kept[path.relative_to(folder).as_posix()] = file_sha256(path)
    return {name: sha256 for name, sha256 in kept.items() if name not in card.sha256}


def is_own(folder: Path) -> bool:
    """Whether a folder is part of the package, or was sent here by a client that tried it.

    Parameters
    ----------
    folder : pathlib.Path
        Resolved.

    Returns
    -------
    bool
    """
    shelf = os.environ.get(SHIPPED)
    own = [PACKAGE / "models", *([Path(shelf)] if shelf else [])]  # what was sent here was tried by who sent it
    return any(folder.is_relative_to(place.resolve()) for place in own)


def is_trusted(folder: Path, sha256: str) -> bool:
    """Whether a network can run without a trial: its folder is part of the package, or its checksum is known.

    Parameters
    ----------
    folder : pathlib.Path
        Resolved.
    sha256 : str
        Checksum of the network.

    Returns
    -------
    bool
    """
    return is_own(folder) or known_card([sha256]) is not None
