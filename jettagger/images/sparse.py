"""Images of many jets as lists of their occupied pixels; dense arrays are made for a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError, UnknownName
from jettagger.images.settings import ImageSettings
from jettagger.types import Array, Bools, Floats, Ints, Rows

__all__ = ["SparseImages", "join_images"]


@dataclass(frozen=True)
class SparseImages(Brief):
    """Occupied pixels of images.

    Attributes
    ----------
    settings : ImageSettings
    pixels : int32[n]
        Indices into ``[channels, rows, columns]``, row-major, increasing for each jet.
    values : float32[n]
        GeV for pt and energy, 1 for counts and after the normalisation per image, the unit of the expression for means.
    offsets : int64[jets + 1]
        Where the pixels of each jet begin, and their number.
    n_pixels : int64[jets]
        Different pixels that are occupied in any channel.
    n_constituents : int64[jets]
        Constituents of the jet, tracks or cells if these are put into pixels.
    n_outside : int64[jets]
        Those outside of the image.
    pt, pt_outside : float64[jets]
        The sum of the pt of all valid ones, and of those outside, in GeV.
    n_invalid : int64[jets]
        Those left out because pt, energy or position are not finite, pt or energy negative, or numbers absurd: 100 from
        the axis, 1e30 GeV.
    unrotated : bool[jets]
        Jets without a direction: no or one constituent, all at one place, or equal moments in all directions.
    overlaps : int64[channels, channels]
        Number of constituents that are in both of two channels; on the diagonal those of a channel.
    without_value : int64[channels]
        Constituents left out of means because the value of the expression is not finite.
    """

    settings: ImageSettings
    pixels: Array
    values: Rows
    offsets: Ints
    n_pixels: Ints
    n_constituents: Ints
    n_outside: Ints
    pt: Floats
    pt_outside: Floats
    n_invalid: Ints
    unrotated: Bools
    overlaps: Ints
    without_value: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"<SparseImages of {len(self)} jets, {self.shape}, {len(self.pixels)} occupied pixels>"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows (phi) and columns (eta)."""
        return self.settings.shape

    @property
    def counts(self) -> Ints:
        """Number of occupied pixels, int64[jets]."""
        return np.diff(self.offsets)

    @property
    def summary(self) -> dict[str, int]:
        """What was put into images and what was not: number of jets and constituents by description."""
        some = self.n_constituents > 0
        return {
            "jets": len(self),
            "jets without constituents": int(np.count_nonzero(~some)),
            "empty images of jets with constituents": int(np.count_nonzero((self.counts == 0) & some)),
            "jets in a single pixel": int(np.count_nonzero(self.n_pixels == 1)),
            "jets without a direction, not rotated": int(np.count_nonzero(self.unrotated & some)),
            "constituents": int(self.n_constituents.sum()),
            "constituents outside of the image": int(self.n_outside.sum()),
            "constituents that are invalid": int(self.n_invalid.sum()),
            "constituents without a value for a mean": int(self.without_value.sum()),
        }

    def dense(self, rows: Any = None) -> Rows:
        """Images with all pixels, after the normalisation per pixel if there is one.

        Parameters
        ----------
        rows : slice or array of int, optional
            Jets, in this order; default: all.

        Returns
        -------
        float32[jets, channels, rows, columns]

        Raises
        ------
        IndexError
            If a jet does not exist.
        """
        starts, counts = self.offsets[:-1], self.counts
        if rows is None or (isinstance(rows, slice) and rows.step in (None, 1)):
            first, last, _ = (rows or slice(None)).indices(len(self))
            last = max(first, last)
            taken: Any = slice(self.offsets[first], self.offsets[last])
            counts = counts[first:last]
        else:
            starts, counts = starts[rows], counts[rows]
            ends = np.cumsum(counts)
            taken = np.arange(counts.sum()) + np.repeat(starts - ends + counts, counts)
        size = int(np.prod(self.shape))
        images = np.zeros((len(counts), *self.shape), dtype=np.float32)
        place = np.repeat(np.arange(len(counts)) * size, counts)
        place += self.pixels[taken]
        images.ravel()[place] = self.values[taken]
        if self._normalisation is not None:
            mean, std = self._normalisation
            images -= mean
            images /= std
        return images

    @cached_property
    def _normalisation(self) -> tuple[Rows, Rows] | None:
        """Mean and standard deviation of the pixels, as arrays."""
        numbers = self.settings.pixel_numbers
        return None if numbers is None else (numbers[0].astype(np.float32), numbers[1].astype(np.float32))

    def summed(self, names: Sequence[str]) -> Rows:
        """The sum of some channels as dense images, before the normalisation per pixel.

        Parameters
        ----------
        names : sequence of str
            Channels with the same quantity, a sum, and without common constituents.

        Returns
        -------
        float32[jets, rows, columns]

        Raises
        ------
        UnknownName
            If there is no such channel.
        InvalidValues
            If constituents would be counted twice, if quantities differ, or if they are means.
        """
        channels = {channel.name: index for index, channel in enumerate(self.settings.channels)}
        unknown = [name for name in names if name not in channels]
        if unknown:
            raise UnknownName("channel", unknown, channels, "these images")
        places = [channels[name] for name in names]
        quantities = {self.settings.channels[place].quantity for place in places}
        if len(quantities) > 1 or any(self.settings.channels[place].mean is not None for place in places):
            raise InvalidValues(
                f"the sum of channels with {', '.join(sorted(quantities))} has no meaning, expected channels of one "
                "quantity: pt, energy or count"
            )
        for index, place in enumerate(places):
            for other in places[:index]:
                common = int(self.overlaps[place, other]) if place != other else -1
                if common:
                    one, two = (self.settings.channels[item].name for item in (other, place))
                    text = f"{common} constituents are in both" if common > 0 else "it is the same channel"
                    raise InvalidValues(f"channels {one!r} and {two!r} overlap, so they have no sum: {text}")
        _, n_rows, n_columns = self.shape
        size = n_rows * n_columns
        jets = np.repeat(np.arange(len(self)), self.counts)
        wanted = np.isin(self.pixels // size, places)
        place_of = jets[wanted] * size + self.pixels[wanted] % size
        total = np.bincount(place_of, weights=self.values[wanted], minlength=len(self) * size)
        return total.reshape(len(self), n_rows, n_columns).astype(np.float32)


def join_images(parts: Sequence[SparseImages]) -> SparseImages:
    """Images of several blocks of jets, one after the other.

    Parameters
    ----------
    parts : sequence of SparseImages
        At least one, all with the same settings.

    Returns
    -------
    SparseImages

    Raises
    ------
    MismatchError
        If there are none, or if their settings differ.
    """
    if not parts or any(part.settings != parts[0].settings for part in parts):
        raise MismatchError(f"join_images(): got {len(parts)} parts, expected some with the same settings")
    counts = np.concatenate([part.counts for part in parts])

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return SparseImages(
        settings=parts[0].settings,
        pixels=joined("pixels"),
        values=joined("values"),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        n_pixels=joined("n_pixels"),
        n_constituents=joined("n_constituents"),
        n_outside=joined("n_outside"),
        pt=joined("pt"),
        pt_outside=joined("pt_outside"),
        n_invalid=joined("n_invalid"),
        unrotated=joined("unrotated"),
        overlaps=np.sum([part.overlaps for part in parts], axis=0),
        without_value=np.sum([part.without_value for part in parts], axis=0),
    )


guard(globals())
