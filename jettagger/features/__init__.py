"""Input variables of the networks: one pure function per variable, looked up by name.

A feature takes flat NumPy arrays, one entry per constituent (or per jet), and returns such an array in float32. It is
independent of branch names and padding. Angles are in radians, momenta and masses in GeV, lengths in cm.
"""

from jettagger.features.definition import CANDIDATES, OBJECTS, Feature
from jettagger.features.registry import FEATURES, columns_of, lookup

__all__ = ["CANDIDATES", "FEATURES", "OBJECTS", "Feature", "columns_of", "lookup"]


def __dir__() -> list[str]:
    return sorted(__all__)
