"""Public networks known by the checksum of their file: their cards, input descriptions, and scores of a few jets.

Next to the card ``<name>.json`` is ``<name>.npz`` with fingerprints of the description's variables and outputs, and
golden vectors: columns of random jets and the scores of ONNX Runtime for them, with inputs computed independently by
``benchmarks/known.py``. Descriptions that differ only in lengths are equivalent: CMS has several of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from jettagger.bundles.card import BundleCard, Kind, read_card
from jettagger.bundles.declaration import families
from jettagger.bundles.outputs import canonical_name
from jettagger.bundles.places import PACKAGE
from jettagger.display import Brief
from jettagger.types import Array

__all__ = [
    "GoldenJets",
    "Known",
    "differences",
    "known_card",
    "known_cards",
    "known_name",
    "known_network",
    "output_fingerprint",
    "variable_fingerprint",
]

MODEL, PREPROCESS = "model.onnx", "preprocess.json"

#: bounds from this value on count as absent
INFINITE = 1e32


@dataclass(frozen=True)
class Known(Brief):
    """Stored information on a network.

    Parameters
    ----------
    name : str
    variables : mapping of str to tuple of str
        Input -> fingerprints of its variables, in order.
    outputs : tuple of str
        Fingerprints of the outputs, in order.
    jets : GoldenJets
    scores : float32[jets, outputs]
        Scores of these jets, after the softmax.
    """

    name: str
    variables: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    jets: GoldenJets
    scores: Array


class GoldenJets(Brief):
    """Stored jets in the form expected by `jettagger.inputs.batching.tabulate`.

    Parameters
    ----------
    counts : mapping of str to int64[jets]
    columns : mapping of (str, str) to float32[objects]
        Object and canonical column -> values.
    """

    def __init__(self, counts: Mapping[str, Array], columns: Mapping[tuple[str, str], Array]) -> None:
        self._counts = dict(counts)
        self._columns = dict(columns)

    def __len__(self) -> int:
        return len(next(iter(self._counts.values())))

    def counts(self, object_: str) -> Array:
        """Number of objects of each jet, int64[jets]."""
        return np.ones(len(self), dtype=np.int64) if object_ == "jet" else self._counts[object_]

    def column(self, object_: str, name: str) -> Array:
        """A canonical column, float32, one entry per object."""
        return self._columns[object_, name]


def variable_fingerprint(name: str, numbers: Sequence[float]) -> str:
    """Fingerprint of a variable and its transformation: hash of the name before the dash, of the numbers after it.

    Parameters
    ----------
    name : str
    numbers : sequence of float
        Median, factor, replacement, lower and upper bound, padding.

    Returns
    -------
    str

    Examples
    --------
    >>> variable_fingerprint("x", [0, 1, 0, -1e32, 1e32, 0]) == variable_fingerprint("x", [0.0, 1, 0, -np.inf, 1e33, 0])
    True
    """
    values = [float(np.clip(number, -INFINITE, INFINITE)) + 0.0 for number in numbers]
    return f"{_short(name)}-{_short(repr(values))}"


def output_fingerprint(raw: str) -> str:
    """Fingerprint of an output, independent of the usual variants of its spelling.

    Parameters
    ----------
    raw : str

    Returns
    -------
    str

    Examples
    --------
    >>> output_fingerprint("label_H_bb") == output_fingerprint("probHbb")
    True
    """
    kind: Kind = "prob"
    return _short(canonical_name(raw, kind))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def known_cards() -> tuple[BundleCard, ...]:
    """The cards of all networks known by a checksum.

    Examples
    --------
    >>> "particlenet-ak8-md" in [card.name for card in known_cards()]
    True
    """
    return tuple(card for card, _ in _cards())


def known_card(hashes: Iterable[str]) -> BundleCard | None:
    """The card of a network with one of these checksums, of its weights or, if these are not public, of its inputs.

    Parameters
    ----------
    hashes : iterable of str
        SHA-256 of files.

    Returns
    -------
    Card or None
    """
    hashes = list(hashes)
    for card, _ in _cards():
        if (card.sha256.get(MODEL) or card.sha256.get(PREPROCESS)) in hashes:
            return card.model_copy(update={"sha256": {}})
    return None


def known_name(name: str) -> BundleCard | None:
    """The card of the network whose name is contained in another name, e.g. in ``part-ak8-2023_copy``.

    Parameters
    ----------
    name : str
        Name of a folder or a model.

    Returns
    -------
    Card or None
        Only for networks whose weights are known.

    Examples
    --------
    >>> known_name("my_ParT-AK8-2023").name, known_name("part-ak8")
    ('part-ak8-2023', None)
    """
    words = f"-{re.sub(r'[^a-z0-9]+', '-', name.lower())}-"
    named = [card for card, _ in _cards() if MODEL in card.sha256]
    found = [card for card in named if f"-{re.sub(r'[^a-z0-9]+', '-', card.name.lower())}-" in words]
    return max(found, key=lambda card: len(card.name), default=None)


def known_network(sha256: str) -> Known | None:
    """Stored information on a network.

    Parameters
    ----------
    sha256 : str
        Checksum of its ``model.onnx``.

    Returns
    -------
    Known or None
        None also if the network is known but nothing is stored for it.
    """
    for card, path in _cards():
        if card.sha256.get(MODEL) == sha256 and path.with_suffix(".npz").is_file():
            return _read(card.name, path.with_suffix(".npz"))
    return None


@cache
def _cards() -> tuple[tuple[BundleCard, Path], ...]:
    known = [(read_card(path), path) for path in sorted((PACKAGE / "known").glob("*.json"))]
    described = [(read_card(path), path) for path in sorted((PACKAGE / "models").glob("*/bundle.json"))]
    return (*known, *((card, path) for card, path in described if card.inputs in families()))


@cache
def _read(name: str, path: Path) -> Known:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    groups: dict[str, list[str]] = {}
    for line in arrays["variables"].tolist():
        group, fingerprint = line.split()
        groups.setdefault(group, []).append(fingerprint)
    objects = [key.removeprefix("counts_") for key in arrays if key.startswith("counts_")]
    counts = {object_: arrays[f"counts_{object_}"] for object_ in objects}
    columns = {
        (object_, column): values
        for object_ in [*objects, "jet"]
        if f"names_{object_}" in arrays
        for column, values in zip(arrays[f"names_{object_}"].tolist(), arrays[f"values_{object_}"], strict=True)
    }
    return Known(
        name=name,
        variables={group: tuple(found) for group, found in groups.items()},
        outputs=tuple(arrays["outputs"].tolist()),
        jets=GoldenJets(counts, columns),
        scores=arrays["scores"],
    )


def differences(
    known: Known, variables: Mapping[str, Sequence[tuple[str, Sequence[float]]]], outputs: Sequence[str]
) -> list[str]:
    """Differences between a description and that of a known network; lengths are ignored.

    Parameters
    ----------
    known : Known
    variables : mapping of str to sequence of (name, numbers)
        Input -> its variables with the numbers of `variable_fingerprint`.
    outputs : sequence of str
        Raw names, in order.

    Returns
    -------
    list of str
        One sentence per difference.
    """
    found = []
    for group, expected in known.variables.items():
        given = [(name, variable_fingerprint(name, numbers)) for name, numbers in variables.get(group, ())]
        if len(given) != len(expected):
            found.append(f"{group} has {len(given)} variables, expected {len(expected)}")
            continue
        by_name = {fingerprint.partition("-")[0]: name for name, fingerprint in given}
        for place, ((name, fingerprint), right) in enumerate(zip(given, expected, strict=True)):
            stem = right.partition("-")[0]
            if fingerprint == right:
                continue
            if fingerprint.partition("-")[0] == stem:
                found.append(f"{group}: {name!r} has other numbers (median, factor, replacement, bounds or padding)")
            else:
                instead = f"{by_name[stem]!r}" if stem in by_name else "another variable"
                found.append(f"{group}: number {place} is {name!r}, expected {instead}")
    by_output = {output_fingerprint(name): name for name in outputs}
    wrong = [
        (place, name, right)
        for place, (name, right) in enumerate(zip(outputs, known.outputs, strict=False))
        if output_fingerprint(name) != right
    ]
    for place, name, right in wrong[:3]:
        instead = f"{by_output[right]!r}" if right in by_output else "another one"
        found.append(f"output number {place} is {name!r}, expected {instead}")
    if len(wrong) > 3:
        found.append(f"{len(wrong) - 3} more outputs")
    return found
