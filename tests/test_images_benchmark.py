"""The benchmark of images runs; it judges nothing by the clock."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import images
from jettagger.testing import write_pfnano


def test_rates_are_those_of_all_cases() -> None:
    ticks = iter(range(10_000))
    rates = images.measured_rates(20, 2, lambda: float(next(ticks)))
    assert rates == {name: ([20.0] * 2, [10.0] * 2) for name in images.CASES}


def test_masses_of_small_pixels_are_those_of_the_constituents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_pfnano(tmp_path / "nano.root", 30, seed=2))
    unchanged = images.mass_ratios(path, {})
    assert unchanged == pytest.approx(1, abs=1e-3)
    turned = images.mass_ratios(path, images.STEPS)
    assert 1e-4 < abs(turned - 1).max() < 0.06
    small = images.mass_ratios(path, images.STEPS, 1000)
    assert small == pytest.approx(turned, abs=0.02)
    monkeypatch.setattr(sys, "argv", ["images", path, "--jets", "50", "--rounds", "1"])
    images.main()
    out = capsys.readouterr().out
    assert "six channels, all steps" in out
    assert "principal axis, pixels of 0.150" in out
