"""Event formats: where jets, constituents, links, columns and "missing" are. The only readers of events."""

from jettagger.formats.base import Format, Jets, Need, Plan, make_plan
from jettagger.formats.columns import EventColumns, split
from jettagger.formats.detect import FORMATS, detect
from jettagger.formats.loading import load, partial

__all__ = [
    "FORMATS",
    "EventColumns",
    "Format",
    "Jets",
    "Need",
    "Plan",
    "detect",
    "load",
    "make_plan",
    "partial",
    "split",
]
