"""Images of jets as inputs of networks: sparse for a block of jets, dense for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jettagger.bundles.interface import Group, arranged_images
from jettagger.display import Brief
from jettagger.images import SparseImages, make_images
from jettagger.types import Array

__all__ = ["ImageValues", "images_of"]


@dataclass(frozen=True)
class ImageValues(Brief):
    """The images of one group for all jets.

    Parameters
    ----------
    group : Group
    images : SparseImages
    index : int64[jets]
        Place of each jet in ``images``.
    """

    group: Group
    images: SparseImages
    index: Array

    @property
    def counts(self) -> Array:
        """One image per jet, int64[jets]."""
        return np.ones(len(self.index), dtype=np.int64)

    @property
    def replaced(self) -> int:
        """Number of constituents left out because a value is not finite."""
        return int(self.images.n_invalid.sum() + self.images.without_value.sum())

    @property
    def outside(self) -> int:
        """Number of constituents outside of the images of these jets."""
        return int(self.images.n_outside[self.index].sum())

    @property
    def nbytes(self) -> int:
        """Size of a dense image in bytes."""
        return 4 * int(np.prod(self.images.shape))

    def of(self, jets: Array) -> ImageValues:
        """The same for some of the jets, by a mask, bool[jets], or by indices, int[n]."""
        return replace(self, index=self.index[jets])

    def tensor(self, jets: Array) -> Array:
        """Dense images of some jets, float32[n, ...] with the axes of the group."""
        return arranged_images(self.images.dense(self.index[jets]), self.group.layout)


def images_of(group: Group, columns: Sequence[Array], counts: Array, jets: Mapping[str, Array]) -> ImageValues:
    """The images of a group.

    Parameters
    ----------
    group : Group
        With settings of an image.
    columns : sequence of float32[objects]
        The variables of the group, in order, jet after jet.
    counts : int64[jets]
        Number of objects of each jet.
    jets : mapping of str to float[jets]
        The columns in ``jet_columns`` of the settings.

    Returns
    -------
    ImageValues
    """
    assert group.image is not None
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images = make_images(group.image, dict(zip(group.image_columns, columns, strict=True)), offsets, jets)
    return ImageValues(group, images, np.arange(len(counts)))
