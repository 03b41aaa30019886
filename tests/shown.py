"""What objects show of themselves, checked."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from jettagger.display import LONGEST_LINE


def page(shown: Any) -> ElementTree.Element:
    """What a notebook shows, parsed: it must be well formed."""
    return ElementTree.fromstring(shown._repr_html_())


def check_shown(shown: Any, *, longest: int = LONGEST_LINE) -> None:
    """One short line with the name of the class, and a page that is well formed, escaped and not large."""
    line = repr(shown)
    assert len(line) <= longest, line
    assert line.isprintable(), line
    assert type(shown).__name__ in line
    assert " object at 0x" not in line
    html = shown._repr_html_()
    assert "<script" not in html
    assert html.isprintable()
    assert len(html) < 100_000
    assert page(shown).tag == "div"
