"""Colours as they are seen: with deficiencies of colour vision and in greyscale, and distances in CIE Lab."""

from __future__ import annotations

import numpy as np

from jettagger.types import Floats

#: deficiencies of full severity, on linear red, green and blue (G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A
#: Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15 (2009) 1291, table 1)
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
#: sRGB primaries to XYZ (IEC 61966-2-1), whose second row is the luminance, and the white of D65
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ.sum(axis=1)

VISIONS = ("normal", *DEFICIENCIES, "grey")


def linear(colours: Floats) -> Floats:
    """Red, green and blue of sRGB (0 to 1) to linear ones."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def seen(colours: Floats, vision: str) -> Floats:
    """Linear red, green and blue of sRGB colours, float64[..., 3], as they are seen."""
    light = linear(np.asarray(colours, dtype=np.float64))
    if vision == "grey":
        return np.repeat((light @ XYZ[1])[..., None], 3, axis=-1)
    if vision in DEFICIENCIES:
        light = np.clip(light @ np.array(DEFICIENCIES[vision]).T, 0, 1)
    return light


def lab(light: Floats) -> Floats:
    """CIE Lab (1976) of linear red, green and blue."""
    ratio = light @ XYZ.T / WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distance(one: str, other: str, vision: str) -> float:
    """Distance of two colours of matplotlib in CIE Lab (1976) as they are seen; 2.3 can just be noticed."""
    from matplotlib.colors import to_rgb

    first, second = (lab(seen(np.array(to_rgb(colour)), vision)) for colour in (one, other))
    return float(np.linalg.norm(first - second))
