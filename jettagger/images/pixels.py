"""From flat columns of constituents to images, in blocks of jets that fit into the caches of a core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.features.cms import eta_sign
from jettagger.images.cells import cell_positions, merged_cells
from jettagger.images.settings import CellGrid, ImageSettings
from jettagger.images.sparse import SparseImages, join_images
from jettagger.images.steps import JetSegments, canonical_positions
from jettagger.kinematics import delta_phi
from jettagger.types import Array, Bools, Floats, Ints

__all__ = ["make_images"]

#: distances from the axis at and above this, in eta or phi, and pt and energy in GeV at and above the other are invalid
FAR, HUGE = 100.0, 1e30

#: maximum number of constituents and of pixels of one channel in a block
BLOCK, BLOCK_PIXELS = 1 << 13, 1 << 20


def make_images(
    settings: ImageSettings,
    columns: Mapping[str, Array],
    offsets: Ints,
    jets: Mapping[str, Array] | None = None,
) -> SparseImages:
    """Images of jets from the columns of their constituents.

    Parameters
    ----------
    settings : ImageSettings
    columns : mapping of str to float[constituents]
        ``pt`` in GeV, ``deta`` (times the sign of the jet's eta) and ``dphi`` in radians, relative to the axis of the
        jet, the columns in ``settings.columns``, and ``energy`` in GeV if ``settings.needs_energy``; those of all jets
        one after the other. Columns have the names of JetClass-II without ``part_``: ``charge``, ``isPhoton``.
    offsets : int64[jets + 1]
        Where the constituents of each jet begin, and the number of constituents.
    jets : mapping of str to float[jets], optional
        The columns in ``settings.jet_columns``: ``pt`` in GeV, ``eta``, ``phi`` in radians.

    Returns
    -------
    SparseImages
        Sums in double precision in the order of the constituents, stored in single precision.

    Raises
    ------
    UnknownName
        If columns are missing; gives the nearest ones.
    MismatchError
        If columns and offsets are not aligned.
    InvalidValues
        If pt, eta or phi of a jet is not finite, or its pt not positive.

    Examples
    --------
    >>> columns = {"pt": np.array([30.0, 10.0]), "deta": np.array([0.1, -0.3]), "dphi": np.array([0.0, 0.2])}
    >>> images = make_images(ImageSettings(size=2, range=0.4), columns, np.array([0, 2, 2]))
    >>> images.dense()[0].tolist(), images.summary["jets without constituents"]
    ([[[0.0, 0.0], [10.0, 30.0]]], 1)
    """
    offsets = np.asarray(offsets)
    needed = ["pt", "deta", "dphi", *(["energy"] if settings.needs_energy else []), *settings.columns]
    own = _columns(columns, needed, "constituents")
    of_jets = _columns(jets or {}, settings.jet_columns, "jets")
    _check_lengths(own, offsets, of_jets)
    _check_jets(of_jets)
    blocks = _blocks(offsets, max(BLOCK_PIXELS // (settings.shape[1] * settings.shape[2]), 1))
    scratch = _Scratch(max(stop - start for start, stop in blocks) * settings.shape[1] * settings.shape[2])
    parts = []
    for start, stop in blocks:
        rows = slice(int(offsets[start]), int(offsets[stop]))
        block = {name: values[rows] for name, values in own.items()}
        of_block = {name: values[start:stop] for name, values in of_jets.items()}
        parts.append(_images(settings, block, np.diff(offsets[start : stop + 1]), of_block, scratch))
    return join_images(parts)


def _blocks(offsets: Ints, max_jets: int) -> list[tuple[int, int]]:
    """Ranges of jets with a limited number of constituents, at least one range."""
    n_jets = len(offsets) - 1
    blocks: list[tuple[int, int]] = []
    start = 0
    while start < n_jets or not blocks:
        stop = int(np.searchsorted(offsets, offsets[start] + BLOCK, side="right")) - 1
        stop = min(max(stop, start + 1), start + max_jets, n_jets)
        blocks.append((start, stop))
        start = stop
    return blocks


class _Scratch:
    """Arrays over all pixels of a block, which are used again: allocating them would take longer than filling them."""

    def __init__(self, size: int) -> None:
        self.occupied = np.zeros(size, dtype=bool)
        self.number = np.zeros(size, dtype=np.int32)

    def grouped(self, place: Ints, size: int) -> tuple[Ints, Array]:
        """The different places in increasing order, below ``size``, and for each place which of them it is."""
        self.occupied[place] = True
        places = np.flatnonzero(self.occupied[:size])
        self.occupied[places] = False
        self.number[places] = np.arange(len(places), dtype=np.int32)
        return places, self.number[place]


def _columns(offered: Mapping[str, Array], needed: Any, kind: str) -> dict[str, Array]:
    missing = [name for name in needed if name not in offered]
    if missing:
        raise UnknownName(f"column of the {kind}", missing, offered, "the columns of make_images()")
    return {name: np.asarray(offered[name]) for name in needed}


def _check_lengths(own: Mapping[str, Array], offsets: Array, of_jets: Mapping[str, Array]) -> None:
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu" or offsets[0] != 0:
        raise MismatchError(
            f"offsets are {offsets.dtype}{list(offsets.shape)}, expected whole numbers that begin with 0"
        )
    if (np.diff(offsets) < 0).any():
        raise MismatchError("offsets decrease, expected the first constituent of each jet")
    for values, length, kind in ((own, int(offsets[-1]), "constituents"), (of_jets, len(offsets) - 1, "jets")):
        for name, column in values.items():
            if column.shape != (length,) or column.dtype.kind not in "biuf":
                raise MismatchError(
                    f"column {name!r} of the {kind} is {column.dtype}{list(column.shape)}, expected {length} numbers, "
                    "as in the offsets"
                )


def _check_jets(of_jets: Mapping[str, Array]) -> None:
    for name, values in of_jets.items():
        bad = np.flatnonzero(~np.isfinite(values) | ((values <= 0) if name == "pt" else False))
        if len(bad):
            expected = "a positive number" if name == "pt" else "a finite number"
            raise InvalidValues(
                f"{name} of {len(bad)} of {len(values)} jets is not {expected}, first: {values[bad[0]]} of jet {bad[0]}"
            )


class _Channel(NamedTuple):
    """A channel of constituents, or of cells.

    ``weights`` are summed in each pixel; ``numbers`` count what is in the channel, None for everything.
    """

    weights: Floats
    numbers: Floats | None


@dataclass
class _Block:
    """Constituents of a block of jets, or cells of a calorimeter, one jet after the other."""

    counts: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats | None
    columns: dict[str, Array]

    def take(self, kept: Bools) -> None:
        """Drop what is not kept."""
        self.counts = np.bincount(self.owners[kept], minlength=len(self.counts))
        self.pt, self.eta, self.phi = self.pt[kept], self.eta[kept], self.phi[kept]
        self.energy = None if self.energy is None else self.energy[kept]
        self.columns = {name: values[kept] for name, values in self.columns.items()}

    @property
    def owners(self) -> Ints:
        """The jet of each constituent."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def _images(
    settings: ImageSettings,
    columns: dict[str, Array],
    counts: Ints,
    of_jets: dict[str, Array],
    scratch: _Scratch,
) -> SparseImages:
    """Images of a block."""
    energy = columns["energy"].astype(np.float64) if "energy" in columns else None
    pt, eta, phi = (columns[name].astype(np.float64) for name in ("pt", "deta", "dphi"))
    block = _Block(counts, pt, eta, phi, energy, columns)
    valid = _valid(block)
    if not valid.all():
        block.take(valid)
    n_invalid = counts - block.counts
    if settings.granularity == "tracks":
        block.take(block.columns["charge"] != 0)
    channels, overlaps, without_value = _channels(settings, block)
    if not settings.mirrored:
        block.eta = block.eta * np.repeat(eta_sign(of_jets["eta"]), block.counts)
    if settings.granularity == "cells":
        channels = _to_cells(settings, block, channels, of_jets)
    unrotated = np.zeros(len(counts), dtype=bool)
    filled = np.flatnonzero(block.counts)
    if len(filled):
        number = block.counts[filled]
        segments = JetSegments(np.cumsum(number) - number, number)
        scale = None if settings.zoom is None else of_jets["pt"][filled].astype(np.float64) / settings.zoom
        block.eta, block.phi, rotated = canonical_positions(
            settings.steps, block.pt, block.eta, block.phi, segments, scale
        )
        if settings.steps.rotate != "none":
            unrotated[filled] = ~rotated
            unrotated[block.counts == 0] = True
    return _filled(settings, block, channels, n_invalid, unrotated, overlaps, without_value, scratch)


def _valid(block: _Block) -> Bools:
    """Whether positions are finite and near, and pt and energy finite and not negative."""
    valid = (np.abs(block.eta) < FAR) & (np.abs(block.phi) < FAR) & (block.pt >= 0) & (block.pt < HUGE)
    return valid if block.energy is None else valid & (block.energy >= 0) & (block.energy < HUGE)


def _channels(settings: ImageSettings, block: _Block) -> tuple[list[_Channel], Ints, Ints]:
    """The channels, common constituents of pairs of them, and constituents without a value for a mean."""
    number = len(block.pt)
    channels, without_value = [], np.zeros(len(settings.channels), dtype=np.int64)
    for index, channel in enumerate(settings.channels):
        selected = None
        if channel.cut is not None:
            selected = np.broadcast_to(np.asarray(channel.cut.evaluate(block.columns)), (number,))
            if selected.dtype != np.bool_:
                raise ConfigError(
                    f"channel {channel.name!r}: {channel.selection!r} is not a cut: it gives {selected.dtype}, "
                    "expected true or false"
                )
        if channel.mean is not None:
            value = np.broadcast_to(np.asarray(channel.mean.evaluate(block.columns), dtype=np.float64), (number,))
            finite = np.isfinite(value)
            without_value[index] = np.count_nonzero(~finite if selected is None else selected & ~finite)
            selected = finite if selected is None else selected & finite
            base = np.where(selected, value, 0.0)
        elif channel.quantity == "count":
            base = np.ones(number)
        else:
            base = block.pt if channel.quantity == "pt" or block.energy is None else block.energy
        numbers = None if selected is None else selected.astype(np.float64)
        channels.append(_Channel(base if numbers is None else base * numbers, numbers))
    flags = np.array([np.ones(number) if item.numbers is None else item.numbers for item in channels])
    return channels, (flags @ flags.T).astype(np.int64), without_value


def _to_cells(
    settings: ImageSettings, block: _Block, channels: list[_Channel], of_jets: dict[str, Array]
) -> list[_Channel]:
    """The channels of cells, into which the constituents of the block are put."""
    energy = np.zeros(0) if block.energy is None else block.energy
    axis_eta, axis_phi = (np.repeat(of_jets[name].astype(np.float64), block.counts) for name in ("eta", "phi"))
    sign = np.repeat(eta_sign(of_jets["eta"]), block.counts) if settings.mirrored else np.float64(1)
    eta, phi = axis_eta + sign * block.eta, axis_phi + block.phi
    electromagnetic = (block.columns["isPhoton"] != 0) | (block.columns["isElectron"] != 0)
    centre_eta, centre_phi, number = cell_positions(settings.cells or CellGrid(), eta, phi, electromagnetic)
    owners = block.owners
    first, cell = merged_cells(owners, number)
    n_cells = len(first)
    slope = np.cosh(centre_eta[first])

    def summed(values: Floats) -> Floats:
        return np.bincount(cell, weights=values, minlength=n_cells).astype(np.float64)

    made = []
    for channel, item in zip(settings.channels, channels, strict=True):
        numbers = None if item.numbers is None else summed(item.numbers)
        if channel.quantity == "count":
            occupied = np.ones(n_cells) if numbers is None else (numbers > 0).astype(np.float64)
            made.append(_Channel(occupied, None if numbers is None else occupied))
        elif channel.quantity == "pt":
            weights = energy if item.numbers is None else energy * item.numbers
            made.append(_Channel(summed(weights) / slope, numbers))
        else:
            made.append(_Channel(summed(item.weights), summed(np.ones(len(energy))) if numbers is None else numbers))
    block.eta = (centre_eta[first] - axis_eta[first]) * (sign if np.ndim(sign) == 0 else sign[first])
    block.phi = delta_phi(centre_phi[first], axis_phi[first])
    block.energy = summed(energy)
    block.pt = block.energy / slope
    block.counts = np.bincount(owners[first], minlength=len(block.counts))
    return made


def _filled(
    settings: ImageSettings,
    block: _Block,
    channels: list[_Channel],
    n_invalid: Ints,
    unrotated: Bools,
    overlaps: Ints,
    without_value: Ints,
    scratch: _Scratch,
) -> SparseImages:
    """Images with the constituents in their pixels."""
    n_jets = len(block.counts)
    n_channels, n_rows, n_columns = settings.shape
    eta_range, phi_range = settings.half_widths
    column = np.floor((block.eta + eta_range) * (n_columns / (2 * eta_range)))
    row = np.floor((block.phi + phi_range) * (n_rows / (2 * phi_range)))
    inside = (column >= 0) & (column < n_columns) & (row >= 0) & (row < n_rows)
    owners = block.owners
    outside = ~inside
    n_outside = np.bincount(owners[outside], minlength=n_jets)
    pt_outside = np.bincount(owners[outside], weights=block.pt[outside], minlength=n_jets).astype(np.float64)
    pt = np.bincount(owners, weights=block.pt, minlength=n_jets).astype(np.float64)
    index = np.flatnonzero(inside)
    owner = owners[index]
    place = (owner * n_rows + row[index].astype(np.int64)) * n_columns + column[index].astype(np.int64)
    # pixels of all constituents, in order, and for each constituent which of them is its own
    pixels, group = scratch.grouped(place, n_jets * n_rows * n_columns)
    pixel_owner, pixel = np.divmod(pixels, n_rows * n_columns)
    totals = _totals(settings, block, index, owner, n_jets)
    sums, present = np.empty((n_channels, len(pixels))), np.ones((n_channels, len(pixels)), dtype=bool)
    for channel, item in enumerate(channels):
        quantity = settings.channels[channel].quantity
        sums[channel] = np.bincount(group, weights=item.weights[index], minlength=len(pixels))
        if item.numbers is not None:
            numbers = np.bincount(group, weights=item.numbers[index], minlength=len(pixels))
            present[channel] = numbers > 0
            if settings.channels[channel].mean is not None:
                sums[channel] /= np.where(numbers > 0, numbers, 1.0)
        if quantity in totals:
            sums[channel] /= totals[quantity][pixel_owner]
    channel_of, entry = np.nonzero(present)
    order: Any = slice(None)
    if n_channels > 1:  # by jets, then channels, then pixels
        order = np.argsort(pixel_owner[entry], kind="stable")
    counts = np.bincount(pixel_owner[entry], minlength=n_jets)
    return SparseImages(
        settings=settings,
        pixels=(channel_of * (n_rows * n_columns) + pixel[entry])[order].astype(np.int32),
        values=sums[channel_of, entry][order].astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        n_pixels=np.bincount(pixel_owner[present.any(axis=0)], minlength=n_jets),
        n_constituents=block.counts,
        n_outside=n_outside,
        pt=pt,
        pt_outside=pt_outside,
        n_invalid=n_invalid,
        unrotated=unrotated,
        overlaps=overlaps,
        without_value=without_value,
    )


def _totals(settings: ImageSettings, block: _Block, index: Ints, owner: Ints, n_jets: int) -> dict[str, Floats]:
    """What the quantities of a jet are divided by: their sum over all constituents in the image, 1 if that is 0."""
    if settings.normalise not in ("image", "both"):
        return {}
    weights = {"pt": block.pt, "count": np.ones(len(block.pt))}
    if block.energy is not None:
        weights["energy"] = block.energy
    totals = {}
    for quantity, values in weights.items():
        total = np.bincount(owner, weights=values[index], minlength=n_jets)
        totals[quantity] = np.where(total > 0, total, 1.0)
    return totals


guard(globals())
