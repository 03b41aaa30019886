"""Pre-trained large-R jet taggers on awkward arrays, in coffea and dask."""

from jettagger._version import __version__

__all__ = ["__version__"]
