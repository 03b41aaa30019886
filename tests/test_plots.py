"""Plots: what they show is what they were given; labels have units; bad input is refused; they are written whole."""

import dataclasses

import numpy as np
import pytest

from jettagger.discriminants import roc
from jettagger.errors import InvalidValues, MismatchError, OutputError
from jettagger.histograms import AxisSpec, HistSpec, pick
from jettagger.statistics.limits import Limit

pytest.importorskip("mplhep")
from matplotlib import colors
from matplotlib.text import Text

from jettagger import plots


def histogram(values, weight=1.0, bins=(4, 0, 200)):
    axis = AxisSpec("mass", bins=bins, label="jet mass", unit="GeV")
    spec = HistSpec("mass", [axis], categories=["dataset"])
    h = spec.make()
    spec.fill(h, {"mass": np.asarray(values, dtype=float)}, weight, dataset="a")
    return pick(h)


FLAT, PEAK = histogram([25, 75, 125, 175] * 10), histogram([125] * 8 + [75], 0.5)


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def lines_of(axes, label):
    return next(handle for handle in axes.get_legend_handles_labels()[0] if handle.get_label() == label)


def written(figure, tmp_path):
    path = tmp_path / "plot.png"
    plots.save_figure(figure, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [item.name for item in tmp_path.iterdir()] == ["plot.png"]


def test_spectrum(tmp_path):
    figure = plots.spectrum({"qcd": FLAT, "tt": PEAK}, data=FLAT, signals={"X": PEAK}, title="SR")
    upper, lower = figure.axes
    assert texts(upper) == ["qcd", "tt", "stat. uncertainty", "X", "data"] or set(texts(upper)) == {
        "qcd", "tt", "stat. uncertainty", "X", "data",
    }  # fmt: skip
    assert lower.get_xlabel() == "jet mass [GeV]"
    assert upper.get_xlabel() == ""
    assert upper.get_ylabel() == "Events / 50 GeV"
    assert lower.get_ylabel() == "data / bkg."
    ratio = lower.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(ratio, FLAT.values() / (FLAT.values() + PEAK.values()))
    written(figure, tmp_path)


def test_spectrum_without_data(tmp_path):
    figure = plots.spectrum({"qcd": FLAT}, signals={"X": PEAK}, log=False)
    assert figure.axes[1].get_ylabel() == "signal / bkg."
    assert figure.axes[0].get_ylim()[0] == 0
    assert figure.axes[0].get_ylim()[1] > FLAT.values().max()
    written(figure, tmp_path)
    written(plots.spectrum({"qcd": histogram([])}), tmp_path)


@pytest.mark.slow
def test_shapes_are_normalised(tmp_path):
    figure = plots.shapes({"flat": FLAT, "peak": PEAK}, counted="Jets")
    (axes,) = figure.axes
    values, _, _ = lines_of(axes, "peak").get_data()
    np.testing.assert_allclose(values, PEAK.values() / PEAK.values().sum())
    assert axes.get_ylabel() == "Fraction of jets / 50 GeV"
    written(figure, tmp_path)
    written(plots.shapes({"flat": FLAT}, log=True), tmp_path)


def test_roc_curves(tmp_path):
    generator = np.random.default_rng(1)
    curve = roc(generator.normal(1, 1, 500), generator.normal(0, 1, 500))
    figure = plots.roc_curves({"HbbvsQCD": curve}, signal="H → bb", background="QCD")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "H → bb efficiency"
    assert texts(axes)[0] == f"HbbvsQCD (AUC {curve.auc.value:.3f} ± {curve.auc.uncertainty:.3f})"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), curve.background[curve.background > 0])
    written(figure, tmp_path)


def test_bins_and_bounds_are_said():
    exact, other = roc([0.9, 0.8], [0.1, 0.2, 0.3]), roc([0.4, 0.8], [0.1, 0.5])
    binned = dataclasses.replace(other, binning=0.00031)
    (axes,) = plots.roc_curves({"apart": exact, "binned": binned}).axes
    apart, with_bins = texts(axes)[:2]
    assert apart == f"apart (AUC {exact.auc.bound})"
    assert with_bins == "binned (AUC 0.75 ± 0.25, bins < 0.0004)"


def test_areas_have_as_many_digits_as_the_most_precise():
    generator = np.random.default_rng(1)
    few, many = (roc(generator.normal(1, 1, n), generator.normal(0, 1, n)) for n in (100, 20_000))
    (axes,) = plots.roc_curves({"few": few, "many": many}).axes
    digits = [[len(number.partition(".")[2].rstrip(")")) for number in text.split()[2::2]] for text in texts(axes)[:2]]
    assert digits == [[4, 4], [4, 4]]


def test_the_legend_leaves_the_curves_visible():
    generator = np.random.default_rng(1)
    for shift, corner in ((0.5, "lower right"), (5, "upper left")):
        curve = roc(generator.normal(shift, 1, 5000), generator.normal(0, 1, 5000))
        (axes,) = plots.roc_curves({"it": curve}).axes
        assert "\n" not in texts(axes)[0]
        assert axes.get_legend()._loc == {"upper left": 2, "lower right": 4}[corner]


def test_long_names_do_not_squeeze_the_curves(tmp_path):
    generator = np.random.default_rng(1)
    curve = roc(generator.normal(1, 1, 500), generator.normal(0, 1, 500))
    figure = plots.roc_curves({"probHWqqWqq0c / (probHWqqWqq0c + all of QCD)": curve})
    written(figure, tmp_path)
    (axes,) = figure.axes
    assert texts(axes)[0].count("\n") == 1
    assert axes.get_position().width > 0.75


def test_sculpting(tmp_path):
    figure = plots.sculpting(FLAT, {"1 % pass": PEAK})
    _, lower = figure.axes
    shape = PEAK.values() / PEAK.values().sum()
    ratios = lower.patches[0].get_data()[0]
    np.testing.assert_allclose(ratios, shape / 0.25)
    assert lower.get_xlabel() == "jet mass [GeV]"
    written(figure, tmp_path)


def test_cutflow(tmp_path):
    figure = plots.cutflow({"qcd": {"all": 100.0, "cut": 10.0}, "X": {"all": 5.0, "cut": 4.0}})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["all", "cut"]
    np.testing.assert_array_equal(axes.patches[0].get_data()[0], [100, 10])
    written(figure, tmp_path)


def test_cutflow_shows_all_that_is_left(tmp_path):
    """Signals are small beside multijets, and data may be blind."""
    yields = {"qcd": {"all": 1e9, "cut": 1e7}, "X": {"all": 20.0, "cut": 0.5}, "data": {"all": 1e9, "cut": np.nan}}
    (axes,) = plots.cutflow({**yields, "none": {"all": 0.0, "cut": 0.0}}).axes
    low, high = axes.get_ylim()
    assert 0 < low < 0.5
    assert high > 1e9
    written(plots.cutflow(yields), tmp_path)


def test_no_font_is_asked_for_that_few_machines_have(tmp_path, monkeypatch):
    import matplotlib._mathtext as mathtext

    asked, find = [], mathtext.findfont

    def findfont(font, **options):
        asked.append(str(font))
        return find(font, **options)

    monkeypatch.setattr(mathtext, "findfont", findfont)
    # a text of its own: matplotlib remembers those it has laid out
    written(plots.spectrum({"qcd": FLAT}, title="138.25 fb$^{-1}$"), tmp_path)
    assert asked
    assert "cursive" not in " ".join(asked)


def test_limits(tmp_path):
    limits = [
        Limit("b", 2000.0, 2.0, (0.5, 0.7, 1.0, 1.5, 2.0), 0.1),
        Limit("a", 1000.0, 1.0, (1.0, 1.4, 2.0, 3.0, 4.0), 0.2),
    ]
    figure = plots.limit_band(limits, process=r"X \to HH")
    (axes,) = figure.axes
    expected = lines_of(axes, "expected, median")
    assert expected.get_xdata().tolist() == [1000, 2000]
    np.testing.assert_allclose(expected.get_ydata(), [400, 100])
    assert axes.get_ylabel().endswith("[fb]")
    written(figure, tmp_path)
    blind = plots.limit_band([Limit("a", 1000.0, 2.0, (1.0, 1.4, 2.0, 3.0, 4.0), 0.2, asimov=True)])
    assert "observed" not in texts(blind.axes[0])
    written(blind, tmp_path)


def test_refused(tmp_path):
    with pytest.raises(InvalidValues, match=r"at least one background"):
        plots.spectrum({})
    with pytest.raises(MismatchError, match=r"'tt' has different bins than 'qcd'"):
        plots.spectrum({"qcd": FLAT, "tt": histogram([1], bins=(5, 0, 200))})
    plane = HistSpec("p", [AxisSpec(name, bins=(2, 0, 1)) for name in "xy"], categories=[]).make()
    with pytest.raises(MismatchError, match=r"one variable can be drawn, got 2"):
        plots.shapes({"plane": plane})
    with pytest.raises(InvalidValues, match=r"'none' has no entries"):
        plots.shapes({"none": histogram([])})
    with pytest.raises(InvalidValues, match=r"'cut' has no entries"):
        plots.sculpting(FLAT, {"cut": histogram([])})
    with pytest.raises(InvalidValues, match=r"'before' has no entries"):
        plots.sculpting(histogram([]), {})
    with pytest.raises(MismatchError, match=r"'X' has different cuts"):
        plots.cutflow({"qcd": {"all": 1.0}, "X": {"cut": 1.0}})
    with pytest.raises(InvalidValues, match=r"no limits"):
        plots.limit_band([])
    with pytest.raises(OutputError):
        plots.save_figure(plots.shapes({"flat": FLAT}), tmp_path / "absent" / "plot.png")
    for name, said in (("plot.pgn", r"'.pgn' is none \(nearest: .png"), ("plot", "there is none")):
        with pytest.raises(OutputError, match=rf"{name}: the suffix is the format of a picture, {said}.*, expected"):
            plots.save_figure(plots.shapes({"flat": FLAT}), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    plots.check_picture(tmp_path / "plot.PNG")


# what is drawn of unusual contents; warnings are errors


def drawn(figure):
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize("weight", [0.5, -1.0])
def test_a_signal_where_there_is_no_background(weight):
    background, signal = histogram([25] * 5), histogram([175] * 3, weight)
    _, lower = drawn(plots.spectrum({"qcd": background}, signals={"X": signal})).axes
    assert lower.get_yscale() == "linear"
    assert lower.patches[1].get_data()[0].tolist() == [0, 0, 0, 0]  # after the band: no ratio anywhere
    both = {"X": signal, "Y": histogram([25, 175], 0.5)}
    _, lower = plots.spectrum({"qcd": background}, signals=both).axes
    assert lower.get_yscale() == "log"
    assert lower.patches[2].get_data()[0].tolist() == [0.1, 0, 0, 0]
    assert lower.get_ylim() == (pytest.approx(0.05), pytest.approx(0.3))


def test_bins_of_negative_backgrounds_have_no_ratio():
    negative = histogram([25] * 3 + [75], [-1.0] * 3 + [2.0])
    _, lower = plots.spectrum({"qcd": negative}, data=FLAT).axes
    ratio = lower.containers[0].lines[0].get_ydata()
    np.testing.assert_array_equal(ratio, [np.nan, 5, np.nan, np.nan])
    upper, lower = plots.spectrum({"qcd": histogram([25] * 3, -1.0)}, signals={"X": FLAT}).axes
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "linear")


def test_the_stack_and_its_uncertainty_are_the_sums():
    parts = {f"part {number}": histogram([25, 75] * number, 0.5 * number) for number in (1, 2, 3)}
    figure = plots.spectrum({**parts, "Single-top → Wb": PEAK})  # more than there are fills, too
    (upper, lower), total = figure.axes, sum(parts.values(), PEAK.copy() * 0) + PEAK
    (band,) = (patch for patch in upper.patches if patch.get_label() == "stat. uncertainty")
    sigma = np.sqrt(total.variances())
    values, _, baseline = band.get_data()
    np.testing.assert_allclose(values, total.values() + sigma)
    np.testing.assert_allclose(baseline, total.values() - sigma)
    filled_bins = total.values() > 0
    values, _, baseline = lower.patches[0].get_data()
    np.testing.assert_allclose(values[filled_bins], 1 + sigma[filled_bins] / total.values()[filled_bins])
    assert np.isnan(values[~filled_bins]).all()
    assert "Single-top → Wb" in texts(upper)


def test_data_have_poisson_uncertainties():
    data = histogram([25] * 4 + [125] * 9)
    upper, lower = plots.spectrum({"qcd": FLAT}, data=data).axes
    points, (bars,) = upper.containers[0].lines[0], upper.containers[0].lines[2]
    np.testing.assert_array_equal(points.get_ydata(), [4, np.nan, 9, np.nan])  # nothing to see of empty bins
    heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments() if len(segment)]
    assert [height for height in heights if np.isfinite(height)] == [2 * 2, 2 * 3]
    np.testing.assert_allclose(lower.containers[0].lines[0].get_ydata(), [0.4, 0, 0.9, 0])


@pytest.mark.parametrize(
    ("axis", "label"),
    [
        (AxisSpec("x", bins=(4, 0, 1)), "Events / 0.25"),
        (AxisSpec("x", bins=(3, 0, 1), unit="GeV"), "Events / 0.3333 GeV"),
        (AxisSpec("x", edges=(0, 1, 3), unit="GeV"), "Events / bin"),
        (AxisSpec("x", edges=(0, 2, 4), label="x [1]", unit="GeV"), "Events / 2 GeV"),
        (AxisSpec("x", bins=(1, 0, 1e-9)), "Events / 1e-09"),
    ],
)
def test_the_width_of_bins_is_said(axis, label):
    spec = HistSpec("x", [axis], categories=[])
    h = spec.make()
    spec.fill(h, {"x": np.full(3, axis.make().centers[0])})
    upper, lower = plots.spectrum({"qcd": h}).axes
    assert upper.get_ylabel() == label
    assert lower.get_xlabel() == axis.title


def test_missing_limits_leave_gaps():
    def made(mass, *expected, observed=None):
        return Limit("X", mass, observed, expected, 0.1)

    whole = made(1000.0, 0.5, 0.7, 1.0, 1.5, 2.0, observed=1.1)
    figure = drawn(plots.limit_band([made(3000.0, *[None] * 5), made(2000.0, 0.5, 0.7, 1.0, None, None), whole]))
    (axes,) = figure.axes
    np.testing.assert_allclose(lines_of(axes, "expected, median").get_ydata(), [100, 100, np.nan])
    np.testing.assert_allclose(lines_of(axes, "observed").get_ydata(), [110, np.nan, np.nan])
    np.testing.assert_allclose(lines_of(axes, "signal as simulated").get_ydata(), 100)
    assert axes.get_ylim()[0] == pytest.approx(25)
    (single,) = plots.limit_band([whole]).axes  # one mass has a width, or nothing would be seen
    np.testing.assert_allclose(lines_of(single, "expected, median").get_xdata(), [980, 1020])
    other = dataclasses.replace(whole, confidence_level=0.683)
    assert plots.limit_band([other]).axes[0].get_ylabel().startswith("68.3 % CL upper limit")


def test_ratios_of_shapes_are_bounded():
    few, many = histogram([25] * 99 + [125]), histogram([25, 125])
    _, lower = plots.sculpting(few, {"cut": many}).axes
    assert lower.patches[0].get_data()[0].tolist() == pytest.approx([0.5 / 0.99, 0, 50, 0])
    assert lower.get_ylim() == (0, 5)
    _, lower = plots.sculpting(few, {"cut": few * 0.1, "second": histogram([25, 25, 25, 125])}).axes
    np.testing.assert_allclose(lower.patches[0].get_data()[0], [1, 0, 1, 0])  # a smaller sample of the same shape
    _, lower = plots.sculpting(few, {}).axes
    assert lower.get_ylim() == (0, 2)


def test_the_band_of_a_ratio_is_that_of_this_ratio():
    """Of signal over background without data, of the background with data, of the jets without a cut."""
    background, signal = histogram([25] * 40 + [75] * 10, 2.0), histogram([25] * 9 + [75] * 4, 0.5)
    _, lower = plots.spectrum({"qcd": background}, signals={"X": signal}).axes
    line, band = lower.patches
    ratio, relative = signal.values()[:2] / background.values()[:2], np.sqrt([1 / 9 + 1 / 40, 1 / 4 + 1 / 10])
    np.testing.assert_allclose(line.get_data()[0][:2], ratio)
    values, _, baseline = band.get_data()
    np.testing.assert_allclose(values[:2], ratio * (1 + relative))
    np.testing.assert_allclose(baseline[:2], ratio * (1 - relative))
    for figure in (plots.spectrum({"qcd": background}, data=FLAT), plots.sculpting(background, {"cut": FLAT})):
        values, _, baseline = figure.axes[1].patches[-1].get_data()
        np.testing.assert_allclose(values[:2], 1 + np.sqrt([1 / 40, 1 / 10]))
        np.testing.assert_allclose(baseline[:2], 1 - np.sqrt([1 / 40, 1 / 10]))


def test_a_process_has_one_style_in_all_pictures():
    styles = plots.process_styles(["tt", "qcd", "X"])
    assert styles["qcd"].colour == plots.PETROFF[1]
    many = plots.process_styles(map(str, range(30)))
    assert len(set(many.values())) == 30
    upper, lower = plots.spectrum({"qcd": FLAT}, signals={"X": PEAK}, styles=styles).axes
    assert colors.to_hex(upper.patches[0].get_facecolor()) == styles["qcd"].colour
    lines = [axes.patches[-1 if axes is upper else 0] for axes in (upper, lower)]
    lines += [plots.shapes({"X": PEAK}, styles=styles).axes[0].patches[0]]
    lines += [plots.cutflow({"X": {"all": 1.0}}, styles=styles).axes[0].patches[0]]
    assert {colors.to_hex(line.get_edgecolor()) for line in lines} == {styles["X"].colour}
    (curve,) = plots.roc_curves({"X": roc(np.arange(9.0), np.arange(5.0))}, styles=styles).axes[0].lines
    assert curve.get_color() == styles["X"].colour
    other = plots.shapes({"new": PEAK, "qcd": FLAT}, styles=styles).axes[0].patches
    assert colors.to_hex(other[0].get_edgecolor()) == plots.PETROFF[3]  # none that another process has


@pytest.mark.parametrize("data", [False, True])
def test_the_label_of_an_experiment(data, tmp_path):
    label = plots.PlotLabel("CMS", "Preliminary", "13.6", 59.8)
    figure = plots.spectrum({"qcd": FLAT}, data=FLAT if data else None, title="SR", label=label)
    shown = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\N{NO-BREAK SPACE}", " ")
    assert "CMS" in shown
    assert ("Simulation Preliminary" in shown) != data
    assert "59.8 fb$^{-1}$ (13.6 TeV)" in shown
    assert "SR" in [text.get_text() for text in figure.axes[0].texts]
    written(figure, tmp_path)
    for name in ("a.pdf", "b.pdf"):
        plots.save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


@pytest.mark.parametrize("experiment", ["CMS", "My experiment", "A very long experiment"])
def test_the_label_of_an_experiment_has_room(experiment):
    figure = plots.shapes({"X": PEAK}, label=plots.PlotLabel(experiment, "Preliminary", "13.6", 59.8))
    drawn(figure)
    texts = [text for text in figure.axes[0].texts if text.get_text().strip("\N{NO-BREAK SPACE}")]
    assert len(texts) >= 3
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_nothing_is_no_plot():
    with pytest.raises(InvalidValues, match=r"^no ROC curve to draw"):
        plots.roc_curves({})
    with pytest.raises(InvalidValues, match=r"^no histogram to draw"):
        plots.shapes({})
    for yields in ({}, {"qcd": {}}, {"qcd": {"all": np.nan}}):
        with pytest.raises(InvalidValues, match=r"^no events after cuts to draw"):
            plots.cutflow(yields)
    (axes,) = drawn(plots.cutflow({"none": {"all": 0.0}})).axes
    assert axes.get_yscale() == "linear"


def test_nothing_global_changes():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.shapes({"flat": FLAT})
    assert dict(matplotlib.rcParams) == before
