"""The layout of SPANet's datasets in a file: which datasets there are, their shapes and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns, hint
from jettagger.topology.eventfile import EventDescription, EventInput

__all__ = ["EVENT_WEIGHTS", "MASK", "WEIGHT", "DatasetLayout"]

#: maximum number of slots of an input; networks have one output for each tuple of slots
MAX_SLOTS = 10_000

#: names beside features, and beside daughters
MASK, WEIGHT = "MASK", "WEIGHT"

#: weights of events, which the original does not read
EVENT_WEIGHTS = "WEIGHTS/EVENT"

#: kinds of dtypes, and what they are called in messages
_NUMBERS, _WHOLE, _FLAGS = ("biuf", "numbers"), ("iu", "whole numbers"), ("biu", "booleans")


class DatasetLayout(Brief):
    """The datasets of a file, compared with an event description.

    Parameters
    ----------
    file : h5py.File
    path : str
        For messages.
    event : EventDescription
    labels : bool
        Whether there must be targets.

    Attributes
    ----------
    slots : dict of str to int
        Input -> number of slots.
    pair_features : dict of str to tuple of str
        Relative input -> its features of pairs.
    optional : list of str
        Datasets that files need not have, and this one has.
    bytes_per_event : int
        In memory.
    n_events : int

    Raises
    ------
    MissingColumns
        If there are datasets missing: lists all of them with the nearest names.
    InputFileError
        If a dataset has another dtype or other axes, or an input too many slots.
    MismatchError
        If datasets have different lengths, or features another number of slots than their mask.
    """

    def __init__(self, file: Any, path: str, event: EventDescription, labels: bool) -> None:
        self.file, self.path = file, path
        self.slots: dict[str, int] = {}
        self.pair_features: dict[str, tuple[str, ...]] = {}
        self.optional: list[str] = []
        self.lengths: dict[str, int] = {}
        self.missing: list[str] = []
        self.bytes_per_event = 0
        for item in event.inputs:
            self._input(item)
        if labels:
            for particle in event.particles:
                group = f"TARGETS/{particle.name}"
                for daughter in particle.daughters:
                    self._column(f"{group}/{daughter.name}", _WHOLE)
                for name, kind in ((MASK, _FLAGS), (WEIGHT, _NUMBERS)):
                    if self._find(f"{group}/{name}") is not None:
                        self._column(f"{group}/{name}", kind)
                        self.optional.append(f"{group}/{name}")
            if self._find(EVENT_WEIGHTS) is not None:
                self._column(EVENT_WEIGHTS, _NUMBERS)
                self.optional.append(EVENT_WEIGHTS)
            for target in event.regressions:
                self._column(f"REGRESSIONS/{target}", _NUMBERS)
            for target in event.classifications:
                self._column(f"CLASSIFICATIONS/{target}", _WHOLE)
        self._refuse_missing()
        self.n_events = self._one_length()

    def _input(self, item: EventInput) -> None:
        group = f"INPUTS/{item.name}"
        if item.kind == "global":
            if self._find(f"{group}/{MASK}") is not None:
                self._column(f"{group}/{MASK}", _FLAGS)
                self.optional.append(f"{group}/{MASK}")
            for feature in item.feature_names:
                self._column(f"{group}/{feature}", _NUMBERS)
            self.slots[item.name] = 1
            return
        mask = self._need(f"{group}/{MASK}")
        width = None
        if mask is not None:
            self._check(mask, f"{group}/{MASK}", _FLAGS, (2,))
            width = self.slots[item.name] = mask.shape[1]
            if width > MAX_SLOTS:
                raise InputFileError(f"{self.path}: {group}/{MASK} has {width} slots, expected at most {MAX_SLOTS}")
        pairs = []
        for feature in item.feature_names:
            place = f"{group}/{feature}"
            dataset = self._need(place)
            if dataset is None:
                continue
            self._check(dataset, place, _NUMBERS, (2, 3) if item.kind == "relative" else (2,))
            if len(dataset.shape) == 3:
                pairs.append(feature)
            if width is not None and set(dataset.shape[1:]) - {width}:
                raise MismatchError(
                    f"{self.path}: {place} has the shape {dataset.shape}, and {group}/{MASK} has {mask.shape}: "
                    f"expected {width} slots"
                )
        if item.kind == "relative":
            self.pair_features[item.name] = tuple(pairs)

    def _find(self, place: str) -> Any:
        """A dataset, or None."""
        node = self.file
        for part in place.split("/"):
            node = node.get(part) if hasattr(node, "get") else None
            if node is None:
                return None
        return node if hasattr(node, "shape") else None

    def _need(self, place: str) -> Any:
        """A dataset; one that is missing is noted."""
        dataset = self._find(place)
        if dataset is None:
            self.missing.append(place)
        return dataset

    def _column(self, place: str, kind: tuple[str, str]) -> None:
        """One number per event."""
        dataset = self._need(place)
        if dataset is not None:
            self._check(dataset, place, kind, (1,))

    def _check(self, dataset: Any, place: str, kind: tuple[str, str], dimensions: tuple[int, ...]) -> None:
        shape = dataset.shape
        if shape is None or len(shape) not in dimensions:
            axes = " or ".join("(" + ", ".join(["events", "slots", "slots"][:number]) + ")" for number in dimensions)
            raise InputFileError(f"{self.path}: {place} has the shape {shape}, expected {axes}")
        if dataset.dtype.kind not in kind[0]:
            raise InputFileError(f"{self.path}: {place} has the dtype {dataset.dtype}, expected {kind[1]}")
        self.lengths[place] = shape[0]
        self.bytes_per_event += int(np.prod(shape[1:])) * max(dataset.dtype.itemsize, 4)

    def _refuse_missing(self) -> None:
        if not self.missing:
            return
        texts = []
        for place in self.missing:
            parts = place.split("/")
            depth = next(depth for depth in range(len(parts)) if self._members("/".join(parts[: depth + 1])) is None)
            near = hint(parts[depth], self._members("/".join(parts[:depth])) or ())
            texts.append(f"{place}{near}")
        raise MissingColumns(f"{self.path} lacks datasets that the event file needs: {'; '.join(texts)}")

    def _members(self, place: str) -> list[str] | None:
        """The names in a group; none in a dataset; None if there is nothing of this name."""
        node = self.file
        for part in filter(None, place.split("/")):
            node = node.get(part) if hasattr(node, "get") else None
            if node is None:
                return None
        return list(node) if hasattr(node, "get") else None

    def _one_length(self) -> int:
        by_length: dict[int, list[str]] = {}
        for place, length in self.lengths.items():
            by_length.setdefault(length, []).append(place)
        if len(by_length) > 1:
            listed = [
                f"{length} in {places[0]}" + (f" and {len(places) - 1} more" if len(places) > 1 else "")
                for length, places in sorted(by_length.items(), key=lambda entry: -len(entry[1]))
            ]
            raise MismatchError(f"{self.path}: datasets of unequal length: {', '.join(listed)}")
        return next(iter(by_length))
