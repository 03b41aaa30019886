"""Differences from numbers of others: asserted by the test that makes them, and those of docs/validation.md.

`benchmarks.validation` runs the tests with ``--record-agreement`` and writes what they compared into the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.validation import measured_part, stored
from benchmarks.validation_list import COMPARISONS

#: rounding differs between processors: by how much a difference may do so, and below what it is rounding
FACTOR, ROUNDING = 5.0, 2e-6


class Agreement:
    """Compares, and keeps what was compared.

    Parameters
    ----------
    test : str
        The test that compares, without its parameters: ``tests/test_x.py::test_y``.
    record : dict or None
        Where the results go: name -> part -> numbers. None: they are compared with those of the page.
    """

    def __init__(self, test: str, record: dict[str, dict[str, Any]] | None) -> None:
        self.test, self.record = test, record

    def __call__(
        self, name: str, made: Any, expected: Any, *, sample: int, atol: float = 0.0, rtol: float = 0.0, part: str = ""
    ) -> None:
        """Assert that numbers are within ``atol + rtol * |expected|`` of those of others.

        Parameters
        ----------
        name : str
            Of `benchmarks.validation.COMPARISONS`.
        made, expected : array_like
        sample : int
            Number of jets, events, ...: in the unit of the comparison.
        atol, rtol : float
            Both 0: the numbers are equal.
        part : str
            What is compared, where a comparison has several: a column, a sample.
        """
        comparison = COMPARISONS[name]
        assert comparison.test == self.test, f"{name} is a comparison of {comparison.test}"
        np.testing.assert_allclose(made, expected, rtol=rtol, atol=atol, err_msg=f"{name} {part}")
        found = measured_part(made, expected, sample=sample, atol=atol, rtol=rtol)
        if self.record is not None:
            self.record.setdefault(name, {})[part] = found
            return
        group, _, short = name.partition("/")
        parts = stored().get(group, {}).get(short, {}).get("parts", {})
        assert_as_stored(found, parts.get(part), f"{name} {part}")


def assert_as_stored(found: Mapping[str, Any], kept: Mapping[str, Any] | None, what: str) -> None:
    """What was measured is what the page says, but for rounding."""
    how = f"{what}: `python -m benchmarks.validation` writes the page"
    assert kept is not None, how
    for key in ("sample", "atol", "rtol"):
        assert found[key] == kept[key], how
    floor = ROUNDING * max(1.0, found["scale"])
    for key in ("median", "maximum"):
        if max(found[key], kept[key]) > floor:
            assert kept[key] / FACTOR <= max(found[key], floor), how
            assert found[key] <= FACTOR * max(kept[key], floor), how


class RecordAgreement:
    """Writes what the tests of a run compared."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps(self.found), encoding="utf-8")
