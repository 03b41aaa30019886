"""Mean images of samples with their uncertainties, differences of two, and the numbers of a normalisation per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError
from jettagger.images.settings import ImageSettings
from jettagger.images.sparse import SparseImages
from jettagger.types import Floats

__all__ = ["MeanImage", "image_difference", "image_sums", "mean_image", "pixel_settings"]


@dataclass(frozen=True)
class MeanImage(Brief):
    """The mean image of a sample, and what is needed to add another one.

    Attributes
    ----------
    settings : ImageSettings
    n_jets : int
        Jets, also those with an empty image.
    weight : float
        Sum of their weights.
    weight_squares : float
    sums, squares : float64[channels, rows, columns]
        Sums of weight times value, and of weight times value squared; before a normalisation per pixel.
    error_sums, error_squares : float64[channels, rows, columns]
        The same with squared weights.
    """

    settings: ImageSettings
    n_jets: int
    weight: float
    weight_squares: float
    sums: Floats
    squares: Floats
    error_sums: Floats
    error_squares: Floats

    def __add__(self, other: MeanImage) -> MeanImage:
        if not isinstance(other, MeanImage):
            return NotImplemented
        if other.settings != self.settings:
            raise MismatchError("mean images with different settings cannot be added")
        return MeanImage(
            self.settings,
            self.n_jets + other.n_jets,
            self.weight + other.weight,
            self.weight_squares + other.weight_squares,
            self.sums + other.sums,
            self.squares + other.squares,
            self.error_sums + other.error_sums,
            self.error_squares + other.error_squares,
        )

    @property
    def mean(self) -> Floats:
        """Weighted mean of each pixel, float64[channels, rows, columns], in its unit."""
        return self.sums / self.weight

    @property
    def spread(self) -> Floats:
        """Standard deviation of each pixel over the jets, float64[channels, rows, columns]."""
        return np.sqrt(np.maximum(self.squares / self.weight - self.mean**2, 0.0))

    @property
    def error(self) -> Floats:
        """Statistical uncertainty of the mean, float64[channels, rows, columns].

        The root of the sum of squared weights times squared deviations, divided by the sum of the weights.
        """
        mean = self.mean
        total = self.error_squares - 2 * mean * self.error_sums + mean**2 * self.weight_squares
        return np.sqrt(np.maximum(total, 0.0)) / abs(self.weight)


def mean_image(images: SparseImages, weights: Numbers | None = None) -> MeanImage:
    """The mean image of jets, before a normalisation per pixel.

    Parameters
    ----------
    images : SparseImages
    weights : float[jets], optional

    Returns
    -------
    MeanImage

    Raises
    ------
    MismatchError
        If there is not one weight for each jet.
    InvalidValues
        If weights are not finite, or if their sum is 0, as for no jets.

    Examples
    --------
    >>> from jettagger.images import ImageSettings, make_images
    >>> columns = {"pt": np.array([30.0, 10.0]), "deta": np.array([0.1, -0.3]), "dphi": np.array([0.0, 0.2])}
    >>> images = make_images(ImageSettings(size=2, range=0.4), columns, np.array([0, 1, 2]))
    >>> mean_image(images).mean.tolist()
    [[[0.0, 0.0], [5.0, 15.0]]]
    """
    made = image_sums(images, weights)
    if not made.weight:
        raise InvalidValues(f"the weights of {len(images)} jets add up to 0: there is no mean image")
    return made


def image_sums(images: SparseImages, weights: Numbers | None = None) -> MeanImage:
    """A part of a mean image, to be added to others: the weights of the part may add up to 0, and it has no mean then.

    Parameters
    ----------
    images : SparseImages
    weights : float[jets], optional

    Returns
    -------
    MeanImage

    Raises
    ------
    MismatchError
        If there is not one weight for each jet.
    InvalidValues
        If weights are not finite.

    Examples
    --------
    >>> from jettagger.images import ImageSettings, make_images
    >>> columns = {"pt": np.array([30.0, 10.0]), "deta": np.array([0.1, -0.3]), "dphi": np.array([0.0, 0.2])}
    >>> images = make_images(ImageSettings(size=2, range=0.4), columns, np.array([0, 1, 2]))
    >>> (image_sums(images, np.array([2, -2])) + image_sums(images, np.array([1, 0]))).mean.tolist()
    [[[0.0, 0.0], [-20.0, 90.0]]]
    """
    weight = np.ones(len(images)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != (len(images),):
        raise MismatchError(f"weights are {list(weight.shape)}, expected one for each of {len(images)} jets")
    if not np.isfinite(weight).all():
        raise InvalidValues(f"{np.count_nonzero(~np.isfinite(weight))} of {len(weight)} weights are not finite")
    size = int(np.prod(images.shape))
    own = np.repeat(weight, images.counts)
    values = images.values.astype(np.float64)

    def summed(numbers: Floats) -> Floats:
        return np.bincount(images.pixels, weights=numbers, minlength=size).astype(np.float64).reshape(images.shape)

    return MeanImage(
        images.settings,
        len(images),
        float(weight.sum()),
        float(np.sum(weight**2)),
        summed(own * values),
        summed(own * values**2),
        summed(own**2 * values),
        summed(own**2 * values**2),
    )


def image_difference(one: MeanImage, other: MeanImage) -> tuple[Floats, Floats]:
    """The difference of two mean images, ``one - other``.

    Parameters
    ----------
    one, other : MeanImage
        Of independent samples, with the same settings.

    Returns
    -------
    difference, error : float64[channels, rows, columns]
        In the unit of the pixels.

    Raises
    ------
    MismatchError
        If the settings differ.
    """
    if one.settings != other.settings:
        raise MismatchError(
            f"images with different settings have no difference: {one.settings.shape} and {other.settings.shape}, or "
            "other steps and channels"
        )
    return one.mean - other.mean, np.hypot(one.error, other.error)


def pixel_settings(mean: MeanImage, floor: float = 0.0) -> ImageSettings:
    """The settings with the mean and standard deviation of a sample as normalisation per pixel.

    Parameters
    ----------
    mean : MeanImage
        Of the training sample.
    floor : float
        Added to the standard deviations in quadrature, so that rarely occupied pixels do not dominate.

    Returns
    -------
    ImageSettings
        The standard deviation of pixels without any spread is 1.

    Raises
    ------
    InvalidValues
        If the floor is negative.
    """
    if not 0 <= floor < np.inf:
        raise InvalidValues(f"floor is {floor}, expected a number of at least 0")
    std = np.hypot(mean.spread, floor)
    content: dict[str, Any] = mean.settings.model_dump()
    content["normalise"] = {"none": "pixel", "image": "both"}.get(content["normalise"], content["normalise"])
    content |= {"mean": mean.mean.tolist(), "std": np.where(std > 0, std, 1.0).tolist()}
    return ImageSettings.model_validate(content)


guard(globals())
