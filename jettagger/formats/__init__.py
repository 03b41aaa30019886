"""Event formats: where jets, constituents, links, columns and "missing" are. The only readers of events."""

from jettagger.formats.base import Format, Jets, MissingColumn, ReadPlan, make_plan
from jettagger.formats.columns import EventColumns, split
from jettagger.formats.detect import FORMATS, detect
from jettagger.formats.loading import load, partial

__all__ = [
    "FORMATS",
    "EventColumns",
    "Format",
    "Jets",
    "MissingColumn",
    "ReadPlan",
    "detect",
    "load",
    "make_plan",
    "partial",
    "split",
]
