"""Mean images of the jets in files, read a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import InvalidValues
from jettagger.expressions import parse, select
from jettagger.images import ImageSettings, MeanImage, mean_image, table_columns, table_images
from jettagger.skims.flat_jets import FlatJets

__all__ = ["ImageSample", "sample_image"]


class ImageSample(NamedTuple):
    """The mean image of a sample, and what it holds.

    Attributes
    ----------
    mean : MeanImage
    counts : mapping of str to int
        Jets and constituents in the images, and what is not in them, by description.
    pt_inside : float
        Fraction of the pt of the constituents that is in the images.
    """

    mean: MeanImage
    counts: Mapping[str, int]
    pt_inside: float


def sample_image(
    file: FlatJets,
    settings: ImageSettings,
    *,
    where: str = "",
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImageSample:
    """The mean image of the jets in a file.

    Parameters
    ----------
    file : FlatJets
    settings : ImageSettings
    where : str
        Cut in jet-level columns of the table, e.g. ``"jet_pt > 500"``.
    limit : int, optional
        Maximum number of jets: the first ones that pass the cut.
    progress : callable, optional
        Called with the number of rows after each chunk.

    Returns
    -------
    ImageSample

    Raises
    ------
    UnknownName
        If the file has no such column; gives the nearest ones.
    ConfigError
        If ``where`` is not a cut.
    InvalidValues
        If no jets are left.
    """
    cut = parse(where, where="where") if where else None
    columns = [*table_columns(settings), *(cut.names if cut is not None else ())]
    total: MeanImage | None = None
    counts = {"jets not selected": 0, "jets with missing constituents": 0}
    pt, pt_outside = 0.0, 0.0
    for chunk in file.chunks(columns):
        jets = chunk.jets
        n_jets = len(jets)
        if cut is not None:
            jets = jets[select(where, jets.fields, jets.__getitem__, n_jets)]
        counts["jets not selected"] += n_jets - len(jets)
        counts["jets with missing constituents"] += chunk.left_out
        if limit is not None:
            jets = jets[: limit - (total.n_jets if total is not None else 0)]
        if len(jets):
            images = table_images(settings, jets)
            here = mean_image(images)
            total = here if total is None else total + here
            for text, number in images.summary.items():
                counts[text] = counts.get(text, 0) + number
            pt += float(images.pt.sum())
            pt_outside += float(images.pt_outside.sum())
        if progress is not None:
            progress(chunk.rows)
        if limit is not None and total is not None and total.n_jets >= limit:
            break
    if total is None:
        rows = f"{file.n_rows} {file.unit}"
        cause = f"none passes {where!r}" if where else "there are no jets with their constituents"
        raise InvalidValues(f"{file.path} ({rows}) gives no images: {cause}")
    fraction = 1 - pt_outside / pt if pt > 0 else float(np.nan)
    return ImageSample(total, counts, fraction)


guard(globals())
