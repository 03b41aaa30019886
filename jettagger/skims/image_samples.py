"""Mean images of the jets in files, read a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.display import briefly
from jettagger.errors import ConfigError, InvalidValues
from jettagger.expressions import Expression, parse, select
from jettagger.images import ImageSettings, MeanImage, table_columns, table_images
from jettagger.images.averages import image_sums
from jettagger.skims.flat_jets import FlatJets
from jettagger.types import Floats

__all__ = ["ImageSample", "sample_image"]


@briefly
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
    weights: str = "",
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
    weights : str
        Expression in jet-level columns by which jets are weighted, e.g. ``"jet_pt / 500"``; default: 1. A condition is
        1 where it holds, else 0.
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
        If ``where`` is not a cut, or ``weights`` no number for each jet.
    InvalidValues
        If no jets are left, weights are missing or not finite, or their sum is 0.
    """
    cut = parse(where, where="where") if where else None
    weight = parse(weights, where="weights") if weights else None
    columns = [*table_columns(settings), *(name for item in (cut, weight) if item is not None for name in item.names)]
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
            here = image_sums(images, None if weight is None else _weights(weight, jets, file.path))
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
    if not total.weight:
        raise InvalidValues(f"{file.path}: the weights {weights!r} of {total.n_jets} jets add up to 0: no mean image")
    fraction = 1 - pt_outside / pt if pt > 0 else float(np.nan)
    return ImageSample(total, counts, fraction)


def _weights(expression: Expression, jets: Any, path: str) -> Floats:
    """One finite number for each jet."""
    import awkward as ak

    found = expression.evaluate({name: jets[name] for name in expression.names})
    if isinstance(found, ak.Array):
        found = ak.to_numpy(ak.fill_none(ak.values_astype(found, np.float64), np.nan)) if found.ndim == 1 else None
    if found is None or np.ndim(found) > 1:
        raise ConfigError(f"weights: {expression} gives several numbers for a jet, expected one")
    values = np.broadcast_to(np.asarray(found, dtype=np.float64), (len(jets),))
    missing = np.count_nonzero(~np.isfinite(values))
    if missing:
        raise InvalidValues(f"{path}: the weights {str(expression)!r} are missing or not finite for {missing} jets")
    return values


guard(globals())
