"""Histograms: concise specifications of weighted ``hist.Hist`` objects, lossless files, export to ROOT.

A specification gives the variables and their bins; the categories (by default data set, region and variation) grow
when they are filled. Files are JSON in the format of UHI (https://uhi.readthedocs.io), which preserves contents,
variances, flow, names and labels.
"""

from jettagger.histograms.axes import AxisSpec, fine_edges
from jettagger.histograms.categories import add, categories_of, equal, pick, sort_categories, variables_of
from jettagger.histograms.files import load, save, to_root
from jettagger.histograms.specification import CATEGORIES, HistSpec

__all__ = [
    "CATEGORIES",
    "AxisSpec",
    "HistSpec",
    "add",
    "categories_of",
    "equal",
    "fine_edges",
    "load",
    "pick",
    "save",
    "sort_categories",
    "to_root",
    "variables_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)
