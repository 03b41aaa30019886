"""RNTuples whose pages are compared with their checksums when they are read, in contrast to uproot's own."""

from __future__ import annotations

from collections import ChainMap
from functools import cached_property
from typing import Any

import numpy as np
import uproot
import xxhash
from uproot.models.RNTuple import Model_ROOT_3a3a_RNTuple

from jettagger.errors import InputFileError

__all__ = ["CheckedRNTuple", "checked_classes"]

#: bytes of an XXH3 checksum, after each page and at the end of a page list
SIZE = 8


class CheckedRNTuple(Model_ROOT_3a3a_RNTuple):
    """An RNTuple that refuses pages and page lists that differ from their checksums.

    ROOT and uproot write a checksum (XXH3, 64 bits, little-endian) after each page of data as stored on disk, unless
    disabled; the page list records whether they did. Source: the specification of the binary format of RNTuples in
    ROOT's documentation, sections "Page Locations" and "Envelopes".
    """

    @property
    def encoded_classname(self) -> str:
        """The corresponding class of ROOT; uproot derives it from the name of the Python class."""
        return Model_ROOT_3a3a_RNTuple.__name__

    def read_locator(self, loc: Any, uncomp_size: int, *_: Any) -> tuple[Any, Any]:
        """Read and decompress the data at a location of the file, as uproot does, and check them.

        Raises
        ------
        InputFileError
            If they differ from their checksum.
        """
        is_page = loc.offset not in self._page_lists
        behind = SIZE if is_page and loc.offset in self._checksummed else 0
        chunk = self.file.source.chunk(loc.offset, loc.offset + loc.num_bytes + behind)
        raw = chunk.raw_data
        if behind:
            self._check(raw, loc.num_bytes, "page", loc)
        cursor = uproot.source.cursor.Cursor(loc.offset)
        if loc.num_bytes < uncomp_size:
            chunk = uproot.compression.decompress(chunk, cursor, {}, loc.num_bytes, uncomp_size, block_info=None)
            cursor.move_to(0)
            raw = chunk.raw_data
        if not is_page:
            self._check(raw, uncomp_size - SIZE, "list of pages", loc)
        return chunk, cursor

    def _check(self, raw: Any, size: int, what: str, loc: Any) -> None:
        content: Any = np.asarray(raw)
        stored = int.from_bytes(content[size : size + SIZE].tobytes(), "little")
        if len(content) < size + SIZE or xxhash.xxh3_64_intdigest(content[:size]) != stored:
            raise InputFileError(
                f"{self.file.file_path}: the {what} of {loc.num_bytes} bytes at byte {loc.offset} does not match "
                "the checksum stored after it: the file is damaged, get a new copy"
            )

    @cached_property
    def _page_lists(self) -> frozenset[int]:
        return frozenset(int(record.page_list_link.locator.offset) for record in self.footer.cluster_group_records)

    @cached_property
    def _checksummed(self) -> frozenset[int]:
        """Offsets of pages with a checksum; ranges of zeros are not stored."""
        return frozenset(
            int(page.locator.offset)
            for cluster in self.page_link_list
            for column in cluster
            for page in column.pages
            if page.has_checksum and page.locator.num_bytes
        )


class _Classes(ChainMap[str, Any]):
    """uproot's classes with another one for RNTuples; sent to workers as a name."""

    def __reduce__(self) -> tuple[Any, ...]:
        return checked_classes, ()


def checked_classes() -> ChainMap[str, Any]:
    """Value of the argument ``custom_classes`` of ``uproot.open`` with which RNTuples are checked when they are read.

    Returns
    -------
    collections.ChainMap
        ``NanoEventsFactory.from_root(..., uproot_options={"custom_classes": checked_classes()})`` and
        ``coffea.processor.Runner(...)(..., uproot_options=...)`` pass it on.

    Examples
    --------
    >>> checked_classes()["ROOT::RNTuple"].__name__
    'CheckedRNTuple'
    """
    return _Classes({"ROOT::RNTuple": CheckedRNTuple}, uproot.classes)
