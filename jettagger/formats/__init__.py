"""Event formats: jets, constituents, links, columns and missing values. The only modules that read events."""

from jettagger.formats.base import FileOrder, Format, Jets, MissingColumn, ReadPlan, make_plan
from jettagger.formats.columns import EventColumns, split
from jettagger.formats.loading import load, partial

__all__ = [
    "EventColumns",
    "FileOrder",
    "Format",
    "Jets",
    "MissingColumn",
    "ReadPlan",
    "load",
    "make_plan",
    "partial",
    "split",
]


def __dir__() -> list[str]:
    return sorted(__all__)
