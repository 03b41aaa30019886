"""Flavours of PFNano: names of collections and columns in productions, one file each, and their detection."""

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
