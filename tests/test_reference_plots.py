"""Every kind of plot looks as its reference picture, and the comparison notices what is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mplhep", reason="the extra plot is not installed")
from reference_figures import FIGURES, FOLDER, VERSIONS, difference, pixels, reference, versions

from jettagger import plots

#: pictures of one version are equal; a line of another style differs by 0.06, a letter in a label by 0.15
TOLERANCE = 0.03


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def same_versions() -> None:
    """Layout follows the widths of glyphs: FreeType 2.6 of matplotlib 3.10 gives pictures that differ by 0.24."""
    made, here = json.loads(VERSIONS.read_text(encoding="utf-8")), versions()
    for name in ("matplotlib", "FreeType"):
        if minor(made[name]) != minor(here[name]):
            pytest.skip(f"the references were drawn with {name} {made[name]}, here is {here[name]}")


@pytest.mark.parametrize("name", FIGURES)
def test_it_looks_as_before(name: str) -> None:
    same_versions()
    drawn = difference(pixels(FIGURES[name]()), reference(name))
    assert drawn < TOLERANCE, f"{name} differs by {drawn:.3f}: look at it; if it is right, make reference-plots"


def recolour(figure: Any) -> None:
    figure.axes[0].patches[0].set_facecolor("#d6dbef")


def rename(figure: Any) -> None:
    figure.axes[1].set_xlabel("jet mess [GeV]")


def drop(figure: Any) -> None:
    figure.axes[0].get_legend().remove()


def restyle(figure: Any) -> None:
    figure.axes[0].lines[0].set_linestyle("--")


CHANGES = [("spectrum", recolour), ("spectrum", rename), ("shapes", drop), ("roc_curves", restyle)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_changed_picture_is_noticed(name: str, change: Callable[[Any], None]) -> None:
    figure = FIGURES[name]()
    before = pixels(figure)
    change(figure)
    assert difference(pixels(figure), before) > 1.5 * TOLERANCE


@pytest.mark.slow
def test_a_picture_that_is_drawn_twice_is_the_same() -> None:
    assert difference(pixels(FIGURES["shapes"]()), pixels(FIGURES["shapes"]())) == 0


def test_the_distance_of_pictures() -> None:
    white = np.ones((60, 60, 3))
    grey = white.copy()
    grey[20:40, 20:40] -= 0.1
    assert difference(white, white) == 0
    assert 0.05 < difference(white, grey) <= 0.1 + 1e-12
    assert difference(white, white[:-1]) == 1
    moved = white.copy()
    moved[:, 30] = 0
    beside = np.roll(moved, 1, axis=1)
    assert difference(moved, beside) < 0.3 < difference(white, white - 0.5)


def test_every_plot_has_a_small_reference() -> None:
    names = {name for name in plots.__all__ if name[0].islower() and not name.endswith("_styles")}
    drawing = names - {"check_picture", "save_figure"}
    assert set(FIGURES) == drawing
    assert {path.stem for path in FOLDER.glob("*.png")} == drawing
    assert sum(path.stat().st_size for path in Path(FOLDER).iterdir()) < 700_000
