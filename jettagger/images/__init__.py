"""Jet images: pixels in pseudorapidity and azimuth, with the pre-processing of publications; sparse until a batch."""

from __future__ import annotations

from jettagger.images.pixels import make_images
from jettagger.images.settings import PRESETS, CellGrid, ImageChannel, ImageSettings, ImageSteps
from jettagger.images.sparse import SparseImages

__all__ = ["PRESETS", "CellGrid", "ImageChannel", "ImageSettings", "ImageSteps", "SparseImages", "make_images"]
