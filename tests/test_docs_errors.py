"""docs/errors.md: each error is provoked again; it says what, where, got, expected, and the nearest names."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
from pages import ROOT, blocks, read

from jettagger import errors

PAGE = "docs/errors.md"


def _error_table() -> Any:
    """The script beside the pages, which is no package."""
    spec = importlib.util.spec_from_file_location("error_table", ROOT / "docs" / "error_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["error_table"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


TABLE = _error_table()


def test_there_are_ten() -> None:
    assert len(TABLE.CASES) == 10


def test_the_page_has_what_they_say() -> None:
    assert TABLE.filled(read(PAGE)) == read(PAGE), "python docs/error_table.py writes it"


@pytest.mark.parametrize("case", TABLE.CASES, ids=lambda case: case.title)
def test_an_error_says_all(case: Any) -> None:
    error = TABLE.provoked(case)
    for key in ("what", "where", "got", "expected"):
        assert error[key], key
    message = " ".join(error["message"].split())
    for key in ("where", "got", "expected"):  # in words, or all parts of it
        words = error[key].replace(",", " ").replace("one of", " ").replace("a folder or", " ").split()
        assert [word for word in words if word not in message] == [], key
    assert bool(error["nearest"]) == case.named
    assert all(name in message for name in error["nearest"])
    shown = [" ".join(block.split()) for block in blocks(PAGE, "text")]
    assert shown.count(f"{error['class']}: {message}") == 1


@pytest.mark.parametrize("case", TABLE.CASES, ids=lambda case: case.title)
def test_the_parts_are_those_of_the_exception(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is read from the message."""

    def read(message: str) -> dict[str, Any]:
        raise AssertionError(message)

    expected = TABLE.provoked(case)
    monkeypatch.setattr(errors, "parts_of", read)
    assert TABLE.provoked(case) == expected
