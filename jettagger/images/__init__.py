"""Jet images: pixels in pseudorapidity and azimuth, with the pre-processing of publications; sparse until a batch."""

from __future__ import annotations

from jettagger.images.averages import MeanImage, image_difference, mean_image, pixel_settings
from jettagger.images.pixels import make_images
from jettagger.images.settings import PRESETS, CellGrid, ImageChannel, ImageFile, ImageSettings, ImageSteps
from jettagger.images.sparse import SparseImages, join_images
from jettagger.images.tables import table_columns, table_images

__all__ = [
    "PRESETS",
    "CellGrid",
    "ImageChannel",
    "ImageFile",
    "ImageSettings",
    "ImageSteps",
    "MeanImage",
    "SparseImages",
    "image_difference",
    "join_images",
    "make_images",
    "mean_image",
    "pixel_settings",
    "table_columns",
    "table_images",
]


def __dir__() -> list[str]:
    return sorted(__all__)
