"""Checksums of the baskets of TTrees, stored in the same file: for most codecs the format has none.

The object ``jettagger_checksums`` contains, for each tree, XXH3 checksums (64 bits, hexadecimal) of the tree's own
record and of each basket as stored on disk, and one of the provenance ``jettagger``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from jettagger.display import Brief
from jettagger.errors import InputFileError
from jettagger.files.jsonfile import parse_json

__all__ = ["BasketSums", "add_sums"]

NAME, NOTE = "jettagger_checksums", "jettagger"

#: hexadecimal digits of a checksum
DIGITS = 16


class BasketSums(Brief):
    """The stored checksums of a file; empty if there are none.

    Parameters
    ----------
    file : uproot directory
        An open file.

    Raises
    ------
    InputFileError
        If the provenance or the record of a tree differs from its checksum.
    """

    def __init__(self, file: Any) -> None:
        names = {name.partition(";")[0] for name in file.keys(recursive=False)}
        self._file = file
        self._trees: dict[str, dict[str, Any]] = {}
        if NAME not in names:
            return
        try:
            content = parse_json(str(file[NAME]), NAME)
            self._trees = {tree: dict(sums) for tree, sums in content["trees"].items()}
            note = content["note"]
        except (InputFileError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputFileError(f"{file.file_path}: its checksums cannot be read: the file is damaged") from error
        if note != (_sum(str(file[NOTE]).encode()) if NOTE in names else ""):
            raise InputFileError(
                f"{file.file_path}: the note on how it was made does not match its checksum: the file is damaged"
            )
        for tree, sums in self._trees.items():
            if tree not in names or _record(file, tree) != sums["record"]:
                raise InputFileError(
                    f"{file.file_path}: the tree {tree!r} does not match its checksum: the file is damaged"
                )

    def check(self, tree: Any, branches: Iterable[str], start: int, stop: int) -> None:
        """Compare the baskets of a range of entries with their checksums.

        Parameters
        ----------
        tree : uproot TTree
        branches : iterable of str
        start, stop : int

        Raises
        ------
        InputFileError
            For the first basket that differs.
        """
        sums = self._trees.get(tree.name)
        if sums is None:
            return
        for name in branches:
            branch, expected = tree[name], sums["branches"].get(name)
            edges = branch.entry_offsets
            if expected is None or len(expected) != DIGITS * branch.num_baskets:
                raise InputFileError(f"{self._file.file_path}: it has no checksums of {name!r}: the file is damaged")
            for number in range(branch.num_baskets):
                if edges[number] >= stop or edges[number + 1] <= start:
                    continue
                if _basket(branch, number) != expected[DIGITS * number : DIGITS * (number + 1)]:
                    raise InputFileError(
                        f"{self._file.file_path}: {name!r} does not match its checksum in the events {edges[number]} "
                        f"to {edges[number + 1]}: the file is damaged, get a new copy"
                    )

    def check_all(self) -> None:
        """Compare all baskets of all trees; see `check`."""
        for name, sums in self._trees.items():
            tree = self._file[name]
            self.check(tree, sums["branches"], 0, int(tree.num_entries))


def add_sums(path: str | os.PathLike[str]) -> None:
    """Add checksums to a complete file.

    Parameters
    ----------
    path : path
        With TTrees written by uproot.
    """
    import uproot

    with uproot.open(path, object_cache=None, array_cache=None) as file:
        kinds = {name.partition(";")[0]: kind for name, kind in file.classnames(recursive=False).items()}
        trees = {}
        for name, kind in kinds.items():
            if kind == "TTree":
                tree = file[name]
                sums = {
                    branch.name: "".join(_basket(branch, number) for number in range(branch.num_baskets))
                    for branch in tree.branches
                }
                trees[name] = {"record": _record(file, name), "branches": sums}
        note = _sum(str(file[NOTE]).encode()) if NOTE in kinds else ""
    with uproot.update(path) as file:
        file[NAME] = json.dumps({"trees": trees, "note": note})


def _basket(branch: Any, number: int) -> str:
    start = int(branch.member("fBasketSeek")[number])
    return _sum(branch.file.source.chunk(start, start + int(branch.member("fBasketBytes")[number])).raw_data)


def _record(file: Any, name: str) -> str:
    key = file.key(name)
    return _sum(file.file.source.chunk(key.fSeekKey, key.fSeekKey + key.fNbytes).raw_data)


def _sum(content: Any) -> str:
    import xxhash

    return xxhash.xxh3_64_hexdigest(content)
