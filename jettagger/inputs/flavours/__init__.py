"""Flavours of PFNano: what productions call its collections and columns, one file each; which one made an input."""

from jettagger.inputs.flavours.reading import Flavour, declared_names, flavour_of, flavours, read_flavour
from jettagger.inputs.flavours.recognition import detect, difference, formats, nearest_flavour

__all__ = [
    "Flavour",
    "declared_names",
    "detect",
    "difference",
    "flavour_of",
    "flavours",
    "formats",
    "nearest_flavour",
    "read_flavour",
]
