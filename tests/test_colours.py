"""Colours, lines and hatches of plots can be told apart with any colour vision and in greyscale."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mplhep", reason="the extra plot is not installed")
from matplotlib import colormaps, colors
from reference_figures import DATA, FALLING, FIGURES, PEAK, TOP, fit
from vision import DEFICIENCIES, VISIONS, distance, lab, linear, seen

from jettagger import plots
from jettagger.discriminants import roc
from jettagger.errors import ConfigError, InputFileError
from jettagger.plots.style import DASHES, DIVERGING, FILLS, HATCHES, LINES, MARKERS, PETROFF, SEQUENTIAL, ProcessStyle
from jettagger.search.config import read_config
from jettagger.search.labels import read_styles

#: in CIE Lab: four times what can just be noticed
NEAREST = 10.0
PALETTES = {
    "processes": plots.process_styles(map(str, range(10))),
    "curves": plots.curve_styles(map(str, range(10))),
    "fills": plots.fill_styles(map(str, range(6))),
}


def pairs(styles: Mapping[str, ProcessStyle]) -> list[tuple[ProcessStyle, ProcessStyle]]:
    return list(itertools.combinations(styles.values(), 2))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("palette", ["processes", "fills"])
def test_fills_differ_in_colour_or_hatch(palette: str, vision: str) -> None:
    for one, other in pairs(PALETTES[palette]):
        if one.hatch == other.hatch:
            assert distance(one.colour, other.colour, vision) >= NEAREST, (one, other)


@pytest.mark.parametrize("palette", ["processes", "curves"])
def test_lines_and_points_differ_without_colour(palette: str) -> None:
    for one, other in pairs(PALETTES[palette]):
        assert one.line != other.line
        assert one.marker != other.marker


def test_fills_and_lines_are_seen_on_white() -> None:
    for colour in (*PETROFF, *FILLS, *(colour for colour, _ in LINES)):
        for vision in VISIONS:
            assert distance(colour, "white", vision) >= NEAREST, (colour, vision)


def test_petroffs_colours_differ_with_any_colour_vision() -> None:
    for one, other in itertools.combinations(PETROFF, 2):
        for vision in ("normal", *DEFICIENCIES):
            assert distance(one, other, vision) >= 15, (one, other, vision)


def test_bands_and_points_of_fixed_colours_differ() -> None:
    together = [("#fee08b", "#74a476"), ("#74a476", "#a50f15"), ("#fee08b", "#a50f15"), ("#d9d9d9", "black")]
    together += [("#d0d0d0", "black"), (FILLS[0], FILLS[1]), ("#9ecae1", "#08306b")]
    for one, other in together:
        for vision in VISIONS:
            assert distance(one, other, vision) >= NEAREST, (one, other, vision)


def test_more_than_ten_are_still_different() -> None:
    for styles in (plots.process_styles(map(str, range(50))), plots.curve_styles(map(str, range(50)))):
        assert len({(style.colour, style.line) for style in styles.values()}) == 50
    assert len({(style.colour, style.hatch) for style in plots.process_styles(map(str, range(50))).values()}) == 50
    assert len({(style.colour, style.hatch) for style in plots.fill_styles(map(str, range(30))).values()}) == 30


def test_the_lists_have_no_repeats() -> None:
    for listed in (DASHES, HATCHES, MARKERS, PETROFF, FILLS):
        assert len(set(listed)) == len(listed)
    assert not any("/" in (hatch or "") for hatch in HATCHES)  # that of uncertainties


# ------------------------------------------------------------------------------------------------ colour maps


def lightness(name: str, vision: str) -> Any:
    return lab(seen(colormaps[name](np.linspace(0, 1, 101))[:, :3], vision))[:, 0]


@pytest.mark.parametrize("vision", VISIONS)
def test_numbers_from_zero_get_lighter_evenly(vision: str) -> None:
    steps = np.diff(lightness(SEQUENTIAL, vision))
    assert (steps > 0).all()
    if vision == "normal":  # uniform in CAM02-UCS, about so in CIE Lab
        assert steps.max() < 2 * steps.mean()
        assert steps.min() > 0.5 * steps.mean()


@pytest.mark.parametrize("vision", VISIONS)
def test_numbers_around_zero_get_darker_to_both_ends(vision: str) -> None:
    light = lightness(DIVERGING, vision)
    lower, upper = np.diff(light[:51]), np.diff(light[50:])
    assert (lower > -0.5).all()
    assert (upper < 0.5).all()
    assert light[50] > 90
    tolerance = 6 if vision in ("normal", "grey") else 25  # red is darker with protanopia
    assert np.abs(light - light[::-1]).max() < tolerance


def test_signs_differ_in_colour() -> None:
    ends = [colors.to_hex(colormaps[DIVERGING](place)) for place in (0.15, 0.85)]
    for vision in ("normal", *DEFICIENCIES):
        assert distance(*ends, vision) > 3 * NEAREST


def maps_of(figure: Any) -> set[str]:
    return {item.get_cmap().name for item in figure.findobj(lambda artist: hasattr(artist, "get_cmap"))}


def test_plots_have_no_other_colour_maps() -> None:
    drawn = [FIGURES[name]() for name in ("feature_maps", "contribution_images", "mean_images", "correlation_matrix")]
    assert set().union(*map(maps_of, drawn)) == {SEQUENTIAL, DIVERGING}


# ----------------------------------------------------------------------------------------------- the mapping


def test_a_process_keeps_its_style() -> None:
    names = ["qcd", "tt", "W", "X"]
    styles = plots.process_styles(names)
    assert {name: plots.process_styles([*names, "new"])[name] for name in names} == styles
    mine = ProcessStyle("#123456", ":")
    chosen = plots.process_styles(names, {"tt": mine})
    assert chosen == {**styles, "tt": mine}
    assert list(chosen) == names
    # what a given style has is taken by no other, and only that one moves
    taken = plots.process_styles(names, {"X": ProcessStyle(PETROFF[0])})
    assert {name: taken[name] for name in ("tt", "W")} == {name: styles[name] for name in ("tt", "W")}
    assert taken["qcd"].colour not in {style.colour for name, style in taken.items() if name != "qcd"}
    assert plots.process_styles([]) == {}
    everything = {str(place): ProcessStyle(colour) for place, colour in enumerate(PETROFF)}
    assert plots.process_styles(["more"], everything)["more"].colour in PETROFF


def style_of(artist: Any) -> tuple[str, Any]:
    """Colour and dashes of what is drawn."""
    colour = artist.get_edgecolor() if hasattr(artist, "get_edgecolor") else artist.get_color()
    return colors.to_hex(colour), artist.get_linestyle()


def legend(figure: Any) -> dict[str, Any]:
    """Label -> artist, in all legends."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    return found


def test_a_process_has_one_style_in_each_plot() -> None:
    styles = plots.process_styles(["other", "top quarks", "multijets", "X"])
    drawn = {
        "spectrum": plots.spectrum({"multijets": FALLING, "top quarks": TOP}, data=DATA, styles=styles),
        "fitted": plots.fitted_spectrum(fit(), "SR", edges=[800, 1200, 1700, 2400], styles=styles),
    }
    for figure in drawn.values():
        artists = legend(figure)
        for name in ("multijets", "top quarks"):
            artist = artists[name]
            assert colors.to_hex(artist.get_facecolor()) == styles[name].colour
            assert artist.get_hatch() == styles[name].hatch
    curve = roc(np.arange(9.0), np.arange(5.0))
    drawn = {
        "spectrum": plots.spectrum({"multijets": FALLING}, signals={"X": PEAK}, styles=styles),
        "fitted": plots.fitted_spectrum(fit(), "SR", edges=[800, 1200, 1700, 2400], styles=styles),
        "shapes": plots.shapes({"X": PEAK, "multijets": FALLING}, styles=styles),
        "cutflow": plots.cutflow({"X": {"all": 2.0}}, styles=styles),
        "roc": plots.roc_curves({"X": curve}, styles=styles),
        "sufficiency": plots.sufficiency_curves({"X": (np.arange(2), np.arange(2), np.arange(2))}, styles=styles),
    }
    seen_styles = {
        name: style_of(next(a for label, a in legend(f).items() if label.startswith("X"))) for name, f in drawn.items()
    }
    assert {colour for colour, _ in seen_styles.values()} == {styles["X"].colour}, seen_styles
    dashes = {name: line for name, (_, line) in seen_styles.items()}
    assert len(set(map(str, dashes.values()))) == 1, dashes


@pytest.mark.parametrize("name", ["assigned_masses", "purities_by_objects", "response_summary", "flavour_responses"])
def test_methods_are_drawn_as_they_are_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ProcessStyle("#123456", ":", "*")
    methods = {"chi-square", "network", "greedy", "best", "Standard", "DNN"}
    whole = getattr(plots, name)
    monkeypatch.setattr(plots, name, lambda *a, **k: whole(*a, **k, styles=dict.fromkeys(methods, mine)))
    figure = FIGURES[name]()
    from matplotlib.lines import Line2D

    points = [line for line in figure.findobj(Line2D) if line.get_color() == mine.colour]
    assert points
    others = {colour for colour, _ in LINES}
    assert not [line for line in figure.findobj(Line2D) if line.get_color() in others - {"#000000"}]


# ------------------------------------------------------------------------------------- the simulation of vision


def test_deficiencies_leave_grey_as_it_is() -> None:
    grey = np.repeat(np.linspace(0, 1, 11)[:, None], 3, axis=1)
    for vision in VISIONS:
        np.testing.assert_allclose(seen(grey, vision), linear(grey), atol=1e-5)


def test_known_colours_in_cie_lab() -> None:
    known = {"#ff0000": (53.24, 80.09, 67.20), "#00ff00": (87.73, -86.18, 83.18), "#ffffff": (100, 0, 0)}
    for colour, expected in known.items():
        np.testing.assert_allclose(lab(linear(np.array(colors.to_rgb(colour)))), expected, atol=0.05)


def test_red_and_green_are_alike_for_some() -> None:
    assert distance("#b04020", "#5f6a20", "deuteranopia") < 0.4 * distance("#b04020", "#5f6a20", "normal")


# -------------------------------------------------------------------------------------- those of a search

SEARCH = """
version: 1
luminosity: 138
samples:
  qcd: {files: ["qcd*.root"], cross_section: 100}
  tt: {files: ["tt*.root"], cross_section: 830}
  x: {files: ["x*.root"], cross_section: 1}
  data: {files: ["data*.root"], data: true}
regions: {all: {kind: signal}}
histograms: {mjj: {bins: [10, 500, 3000], unit: GeV}}
templates:
  histogram: mjj
  processes: {QCD: [qcd], top: [tt]}
  signals: {X1000: {datasets: [x], mass: 1000}}
"""


def test_a_search_has_styles_of_its_own(tmp_path: Path) -> None:
    usual = read_config(SEARCH, name="example").styles
    assert usual == plots.process_styles(["QCD", "top", "X1000"])
    text = SEARCH + 'styles: {top: {colour: "#BD1F01", hatch: dots}, X1000: {line: dashed}}\n'
    chosen = read_config(text, name="example").styles
    assert chosen["QCD"] == usual["QCD"]
    assert chosen["top"] == ProcessStyle("#bd1f01", usual["top"].line, usual["top"].marker, "...")
    assert chosen["X1000"] == ProcessStyle(usual["X1000"].colour, "dashed", usual["X1000"].marker, None)
    # those of limits and fits are read from the record
    styles = {name: asdict(style) for name, style in {**chosen, "other": PALETTES["processes"]["6"]}.items()}
    record = {"processes": list(chosen), "label": None, "styles": styles}
    (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_styles(tmp_path)[1] == {**chosen, "other": PALETTES["processes"]["6"]}
    (tmp_path / "record.json").write_text(json.dumps({"processes": ["QCD"], "label": None}), encoding="utf-8")
    assert read_styles(tmp_path)[1] == {"QCD": usual["QCD"]}  # of a version before
    (tmp_path / "record.json").write_text(json.dumps({"processes": [], "styles": {"QCD": {}}}), encoding="utf-8")
    with pytest.raises(InputFileError, match="no record of a search"):
        read_styles(tmp_path)


def test_without_templates_samples_have_styles() -> None:
    text = SEARCH[: SEARCH.index("templates:")]
    assert list(read_config(text, name="example").styles) == ["qcd", "tt", "x"]


@pytest.mark.parametrize(
    ("styles", "message"),
    [
        ("{toop: {}}", r"line 15: unknown process: 'toop' \(nearest: top\)"),
        ("{top: {colour: red}}", r"line 15: 'colour' must be a colour such as '#3f90da', got 'red'"),
        ("{top: {line: dahsed}}", r"line 15: .*dahsed.*nearest: dashed"),
        ("{top: {hatch: stars}}", r"line 15: .*stars"),
        ("{top: {color: '#000000'}}", r"line 15: .*unknown key 'color'.*colour"),
        ("[top]", r"line 15"),
    ],
)
def test_styles_of_a_search_that_are_wrong(styles: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(SEARCH.rstrip() + f"\nstyles: {styles}\n", name="example")
