"""Every kind of plot with fixed inputs, and how alike two pictures are.

``python tests/reference_figures.py`` (``make reference-plots``) draws the references anew, with the versions that drew
them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np

from jettagger import plots
from jettagger.discriminants import Measured, roc
from jettagger.histograms import AxisSpec, HistSpec, pick
from jettagger.images import ImageSettings, make_images, mean_image
from jettagger.statistics.closure import Closure
from jettagger.statistics.limits import Limit
from jettagger.statistics.searchfits import FittedParameter, SearchFit, SpectrumFit, StrengthImpact
from jettagger.types import Floats

FOLDER = Path(__file__).resolve().parent / "reference_plots"
VERSIONS = FOLDER / "versions.json"

#: dots per inch: labels can just be read, a picture takes about 10 kB
DPI = 45

#: pixels along the side of the squares that are compared: glyphs and lines of other versions move by less
SQUARE = 6


def histogram(contents: list[float], weight: float = 1.0) -> Any:
    """A mass spectrum with these contents in bins of 20 GeV, each entry of the same weight."""
    spec = HistSpec(
        "mass", [AxisSpec("mass", bins=(len(contents), 0, 20 * len(contents)), label="jet mass", unit="GeV")]
    )
    h = spec.make()
    counts = np.round(np.asarray(contents) / weight).astype(int)
    masses = np.repeat(10.0 + 20.0 * np.arange(len(contents)), counts)
    spec.fill(h, {"mass": masses}, weight, dataset="a", region="a", variation="nominal")
    return pick(h, dataset="a", region="a", variation="nominal")


FALLING, TOP = histogram([900, 500, 300, 170, 90, 50, 30, 20], 2.0), histogram([4, 10, 26, 60, 44, 20, 8, 3], 0.5)
PEAK, DATA = histogram([0, 0, 1, 4, 12, 30, 9, 1], 0.1), histogram([912, 505, 341, 218, 141, 64, 42, 19])
#: quantiles of a normal distribution, about: no random numbers, which other versions of NumPy may draw otherwise
NORMAL = np.sqrt(2) * np.sinh(np.linspace(-2, 2, 400)) / 2


def spectrum() -> Any:
    backgrounds = {"top quarks": TOP, "multijets": FALLING}
    return plots.spectrum(backgrounds, data=DATA, signals={"X (10 fb)": PEAK}, title="SR, 59.8 fb$^{-1}$")


def shapes() -> Any:
    return plots.shapes({"multijets": FALLING, "top quarks": TOP, "X": PEAK}, title="all regions")


def sculpting() -> Any:
    return plots.sculpting(FALLING, {"10 % pass": TOP, "1 % pass": PEAK}, title="HbbvsQCD")


def cutflow() -> Any:
    yields = {
        "multijets": {"all": 1e7, "two jets": 2e6, "mass": 3e4, "tagged": 40.0},
        "top quarks": {"all": 3e4, "two jets": 1e4, "mass": 2e3, "tagged": 120.0},
        "X": {"all": 90.0, "two jets": 80.0, "mass": 55.0, "tagged": 31.0},
    }
    return plots.cutflow(yields, title="SR")


def roc_curves() -> Any:
    curves = {"HbbvsQCD": roc(NORMAL + 1.8, NORMAL), "HccvsQCD": roc(NORMAL + 1.0, NORMAL)}
    return plots.roc_curves(curves, signal="H → bb", background="QCD", title="pt > 300 GeV")


def fit() -> SearchFit:
    """A fit of three bins with two backgrounds, as numbers."""
    names = ("mu", "jes", "norm_multijets", "mcstat_SR[0]")
    parameters = (
        FittedParameter("jes", 0.6, 0.8, 0.6, 0.8),
        FittedParameter("norm_multijets", 1.1, 0.05, None, None),
        FittedParameter("mcstat_SR[0]", 0.98, 0.05, -0.4, 1.0),
    )
    impacts = (
        StrengthImpact("jes", -0.3, 0.25, -0.4, 0.33),
        StrengthImpact("norm_multijets", -0.2, 0.2, None, None),
        StrengthImpact("mcstat_SR[0]", 0.05, -0.05, 0.06, -0.06),
    )
    correlation = np.asarray(
        [[1.0, -0.5, -0.3, 0.1], [-0.5, 1.0, 0.2, 0.0], [-0.3, 0.2, 1.0, -0.7], [0.1, 0.0, -0.7, 1.0]]
    )
    parts = {
        "multijets": np.array([300.0, 90, 30]),
        "top quarks": np.array([100.0, 40, 12]),
        "X": np.array([2.0, 20, 6]),
    }
    total = sum(parts.values())
    spectrum = SpectrumFit("SR", parts, total, 0.06 * total, np.array([395.0, 160, 44]))
    return SearchFit(
        "X", 1000.0, 1.4, 0.5, parameters, names, correlation, impacts, {}, None, 3.1, 2.4, (spectrum,), (spectrum,)
    )


def fitted_spectrum() -> Any:
    return plots.fitted_spectrum(fit(), "SR", edges=[800, 1200, 1700, 2400], variable="dijet mass [GeV]", title="SR")


def closure_spectrum() -> Any:
    total = np.array([396.0, 171.0, 52.0])
    spectrum = SpectrumFit("VR", {"multijet": 0.8 * total, "tt": 0.2 * total}, total, 0.05 * total, 1.04 * total)
    closure = Closure("multijet", 2.3, 2, 0.32, {"tf_multijet_0": (1.02, 0.06)}, (spectrum,))
    return plots.closure_spectrum(closure, "VR", edges=[800, 1200, 1700, 2400], variable="dijet mass [GeV]")


def fitted_pulls() -> Any:
    return plots.fitted_pulls(fit(), title="X")


def strength_impacts() -> Any:
    return plots.strength_impacts(fit(), title="X")


def correlation_matrix() -> Any:
    return plots.correlation_matrix(fit(), title="X")


def significances() -> Any:
    measured = ((1000.0, 3.1, 2.4), (1500.0, 0.4, 1.9), (2000.0, 0.0, 1.1))
    fits = [replace(fit(), mass=m, significance=s, expected_significance=e) for m, s, e in measured]
    return plots.significances(fits, title="138 fb$^{-1}$")


def limit_band() -> Any:
    measured = ((1000, 2.6), (1500, 1.1), (2000, 1.3), (3000, 0.5))
    limits = [
        Limit(
            signal=f"X{mass}",
            mass=float(mass),
            observed=observed,
            expected=tuple(factor * 2000 / mass for factor in (0.5, 0.7, 1.0, 1.45, 2.0)),
            cross_section=0.001,
        )
        for mass, observed in measured
    ]
    return plots.limit_band(limits, process=r"X \to HH", title="138 fb$^{-1}$")


def draw_jets() -> Any:
    jet = {
        "jet_pt": [320.0],
        "jet_eta": [0.4],
        "jet_phi": [1.0],
        "jet_sdmass": [124.0],
        "jet_label": [0],
        "part_px": [[140.0, 80.0, 50.0, 30.0, 12.0, 8.0]],
        "part_py": [[0.0, 3.0, -2.0, 1.0, 0.0, 0.0]],
        "part_deta": [[0.2, -0.25, 0.3, -0.3, 0.0, 0.5]],
        "part_dphi": [[0.1, -0.2, 0.2, -0.1, 0.4, -0.5]],
        "part_charge": [[1, 0, -1, 1, 0, -1]],
        "part_d0val": [[0.01, 0.0, 1.2, 0.4, 0.0, 0.0]],
        "part_dzval": [[0.02, 0.0, 1.6, 0.1, 0.0, 0.3]],
        "part_isPhoton": [[False, True, False, False, False, False]],
        "part_isMuon": [[False, False, True, False, False, False]],
        "part_isElectron": [[False, False, False, True, False, False]],
        "genpart_px": [[140.0, 80.0, 50.0]],
        "genpart_py": [[0.0, 3.0, -2.0]],
        "genpart_jet_deta": [[0.2, -0.25, 0.31]],
        "genpart_jet_dphi": [[0.1, -0.2, 0.2]],
        "genpart_pid": [[211, 22, 13]],
        "aux_genpart_eta": [[0.4, 0.63, 0.17]],
        "aux_genpart_phi": [[1.0, 1.12, 0.83]],
        "aux_genpart_pid": [[25, 5, -5]],
        "aux_genpart_isResX": [[True, False, False]],
    }
    scores = [
        {"probXbb": 0.83, "probXcc": 0.09, "probQCDbb": 0.05, "probXqq": 0.02, "probXss": 0.005, "probXgg": 0.001}
    ]
    return plots.draw_jets(ak.Array(jet), scores, model="toy network")


def point(rejection: float, divergence: float) -> Any:
    """An operating point of 40,000 jets in 20 bins."""
    floor = 3.4e-4 * (rejection - 1) / 9
    inverse = Measured(1 / divergence, 0.15 / divergence + 3)
    shape = SimpleNamespace(floor=Measured(floor, 0.3 * floor), inverse=inverse)
    return SimpleNamespace(rejection=Measured(rejection, 0.04 * rejection), divergence=shape)


def tradeoff() -> Any:
    methods = {
        "no decorrelation": {"": point(40, 0.12)},
        "weights": {"": point(31, 0.03)},
        "DDT map": {"": point(33, 1.3e-3)},
        "DisCo": {"1": point(36, 0.05), "3": point(33, 0.01), "10": point(27, 3e-3)},
        "adversary": {"3": point(37, 0.08), "20": point(28, 0.015), "50": point(38, 0.11)},
    }
    return plots.tradeoff(methods, variable="soft-drop mass", title="H → WW → 4q")


def efficiency_curves() -> Any:
    def profile(*values: float | None) -> Any:
        numbers = [None if value is None else Measured(value, 0.02 * (1 + 5 * value)) for value in values]
        return SimpleNamespace(edges=np.arange(len(values) + 1) * 50.0, efficiencies=numbers)

    mass = "Soft-drop mass [GeV]"
    background = {"no decorrelation": profile(0.02, 0.05, 0.2), "DDT map": profile(0.1, 0.11, 0.1)}
    signal = {"no decorrelation": profile(None, 0.48, 0.55), "DDT map": profile(None, 0.52, 0.47)}
    return plots.efficiency_curves({"Background": {mass: background}, "Signal": {mass: signal}}, title="H → WW → 4q")


def dependence_curves() -> Any:
    disco = dict(zip((0.0, 1.0, 3.0, 10.0), (0.31, 0.12, 0.06, 0.03), strict=True))
    adversary = dict(zip((0.0, 1.0, 10.0, 100.0), (0.30, 0.25, 0.1, 0.28), strict=True))
    curves = {"DisCo": disco, "adversary": adversary}
    measured = {name: {key: Measured(value, 0.01) for key, value in curve.items()} for name, curve in curves.items()}
    references = {"no decorrelation": Measured(0.32, 0.008), "DDT map": Measured(0.012, 0.006)}
    return plots.dependence_curves(measured, references=references, variable="soft-drop mass", title="QCD")


def factor_fit() -> Any:
    """What the figures of a fit of factors read: two categories in two bands, four parameters."""
    edges = np.array([50.0, 70, 80, 90, 110, 150])
    label = "jet mass [GeV]"
    jets = {
        "fail": ([60, 50, 90, 40, 30], [400, 180, 160, 280, 400]),
        "pass": ([80, 150, 260, 90, 20], [60, 30, 25, 40, 60]),
    }
    seen = {"fail": [450, 246, 240, 330, 441], "pass": [150, 171, 291, 120, 86]}
    expectations = []
    for band, (signal, other) in jets.items():
        parts = {"signal": np.array(signal, dtype=float), "other": np.array(other, dtype=float)}
        total = parts["signal"] + parts["other"]
        spread = 0.05 * total
        data = np.array(seen[band], dtype=float)
        expectations.append(SimpleNamespace(band=band, categories=parts, total=total, uncertainty=spread, data=data))
    impacts = {}
    for name, value, sigma, change in (
        ("jes", 0.4, 0.8, 0.02),
        ("norm_other", -0.9, 0.5, -0.012),
        ("lumi", 0.0, 1.0, 0.001),
        ("mcstat_pass[2]", 0.1, 0.98, -0.007),
    ):
        sides = np.array([[-change, change], [0, 0]])
        impacts[name] = SimpleNamespace(
            parameter=name,
            value=value,
            uncertainty=sigma,
            up=sides,
            down=-0.9 * sides,
            prefit_up=sides / sigma**2,
            prefit_down=-sides / sigma**2,
        )
    templates = SimpleNamespace(variable=SimpleNamespace(edges=edges, label=label, name="m"), bands=("fail", "pass"))
    model = SimpleNamespace(templates=templates, categories={"signal": None, "other": None})

    def expected(*, fitted: bool) -> Any:
        return expectations

    def factor(category: str, band: str) -> Any:
        return Measured(0.93, 0.031)

    return SimpleNamespace(model=model, expectations=expected, impacts=impacts, factor=factor)


def band_spectra() -> Any:
    return plots.band_spectra(factor_fit(), title="pt 300 to 400 GeV")


def impact_ranking() -> Any:
    return plots.impact_ranking(factor_fit(), "signal", "pass", title="pt 300 to 400 GeV")


def numbers(*values: float, relative: float = 0.02) -> Any:
    """Values in bins with uncertainties."""
    array = np.array(values)
    return SimpleNamespace(value=array, uncertainty=np.abs(array) * relative)


def response_distributions() -> Any:
    edges = np.linspace(0.5, 1.5, 101)
    centres = (edges[1:] + edges[:-1]) / 2

    def peak(place: float, width: float) -> Floats:
        return np.round(40 * np.exp(-(((centres - place) / width) ** 2) / 2))

    distributions = [
        SimpleNamespace(
            flavour=flavour,
            pt=pt,
            jets=1800,
            edges=edges,
            contents={"Standard": peak(1 - shift, width), "DNN": peak(1.0, 0.7 * width)},
        )
        for pt, width in (((30.0, 40.0), 0.2),)
        for flavour, shift in (("uds", -0.03), ("g", 0.05))
    ]
    return plots.response_distributions(distributions, title=r"$|\eta|$ < 2.5")


def response_summary() -> Any:
    return plots.response_summary(
        [20.0, 50.0, 100.0, 300.0, 1000.0],
        {"Standard": numbers(0.97, 1.01, 1.0, np.nan), "DNN": numbers(1.0, 0.99, 1.005, 0.99)},
        {"Standard": numbers(0.3, 0.18, 0.11, np.nan), "DNN": numbers(0.24, 0.13, 0.09, 0.05)},
        {"DNN": numbers(0.8, 0.72, 0.82, np.nan, relative=0.05)},
        reference="Standard",
        title=r"b, $|\eta|$ < 2.5",
    )


def flavour_responses() -> Any:
    panels = {
        "central": {"Standard": numbers(0.95, 1.04, 1.02, 0.99, relative=0.01), "DNN": numbers(0.99, 1.0, 1.0, 1.01)},
        "forward": {"Standard": numbers(0.9, 1.1, 1.0, np.nan), "DNN": numbers(1.0, 1.02, 0.98, np.nan)},
    }
    return plots.flavour_responses(panels, ["g", "uds", "c", "b"], title="$p_T$ > 30 GeV")


def assigned_masses() -> Any:
    import hist

    rng = np.random.default_rng(4)
    found = {}
    for particle, mass in (("ht", 172.5), ("h", 125.0)):
        made = hist.Hist(
            hist.axis.StrCategory([], growth=True, name="method"),
            hist.axis.Regular(30, 0, 300, name="mass", label=f"mass of {particle} [GeV]"),
            storage=hist.storage.Weight(),
        )
        for method, width in (("network", 18), ("chi-square", 30)):
            made.fill(method=method, mass=rng.normal(mass, width, 2000))
        found[particle] = made
    return plots.assigned_masses(
        found, labels={"ht": "hadronic top", "h": "Higgs"}, true_masses={"ht": 172.5, "h": 125.0}, title="toy events"
    )


def purities_by_objects() -> Any:
    errors = np.array([0.02, 0.03, 0.04, 0.015])
    panels = {
        "event": {
            "greedy": (np.array([0.61, 0.5, 0.41, 0.52]), errors),
            "best": (np.array([0.6, 0.52, 0.4, 0.5]), errors),
        },
        "t": {
            "greedy": (np.array([0.7, 0.6, np.nan, 0.63]), errors),
            "best": (np.array([0.69, 0.62, np.nan, 0.64]), errors),
            "chi-square": (np.array([0.6, 0.41, np.nan, 0.45]), 2 * errors),
        },
    }
    return plots.purities_by_objects(
        panels, ["== 6", "== 7", ">= 8", "all"], labels={"t": "top", "event": "events"}, title="toy events"
    )


def mean_images() -> Any:
    place = np.add.outer(NORMAL[::8], np.zeros(8))  # 50 jets of 8 constituents
    columns = {"pt": np.exp(NORMAL), "deta": 0.2 * (place.ravel() + np.tile(NORMAL[::50], 50)), "dphi": 0.3 * NORMAL}
    offsets = np.arange(0, 401, 8)
    settings = ImageSettings(size=10, zoom=500.0, normalise="image")
    means = {
        name: mean_image(make_images(settings, columns, offsets, {"pt": np.full(50, pt)}))
        for name, pt in (("soft", 400.0), ("hard", 700.0))
    }
    return plots.mean_images(means, title="toy jets")


def feature_ranking() -> Any:
    names = ("pfcand_dxysig", "pfcand_pt_log", "sv_mass", "pfcand_charge", "sv_pt")
    light = {name: Measured(0.4 / (1 + n), 0.03) for n, name in enumerate(names)}
    heavy = {name: Measured(0.25 - 0.1 * n, 0.02) for n, name in enumerate(names[1:])}
    return plots.feature_ranking({"H → bb": light, "multijets": heavy}, number=4, label="importance", title="HbbvsQCD")


def feature_maps() -> Any:
    wave = np.sin(np.add.outer(np.arange(4) * 1.5, np.arange(12) / 3)) * np.exp(-np.arange(12) / 5)
    short = np.where(np.arange(12) < 8, 0.6 * wave[::-1], np.nan)
    features = ["pfcand_dxysig", "pfcand_pt_log", "pfcand_charge", "pfcand_etarel"]
    return plots.feature_maps({"H → bb": wave, "multijets": short}, features, label="contribution to HbbvsQCD")


def sufficiency_curves() -> Any:
    numbers = np.array([1, 2, 5, 10, 20, 40])
    curves = {
        "largest contributions": (numbers, 1 - np.exp(-numbers / 4), np.full(6, 0.03)),
        "leading in pt": (numbers, 1 - np.exp(-numbers / 12), np.full(6, 0.03)),
    }
    return plots.sufficiency_curves(curves, whole={"largest contributions": 1.0}, label="HbbvsQCD", title="H → bb")


def attention_maps() -> Any:
    place = np.arange(8)
    near = np.exp(-np.abs(np.subtract.outer(place, place)) / 2.0)
    return plots.attention_maps({"layer 1": near / near.sum(axis=1), "layer 2": np.full((3, 8), 0.125)})


def contribution_images() -> Any:
    settings = ImageSettings(size=8, range=0.8, channels=["all", "charged"])
    ring = np.cos(np.hypot.outer(np.arange(8) - 3.5, np.arange(8) - 3.5))
    return plots.contribution_images({"H → bb": np.stack([ring, 0.2 * ring.T])}, settings, title="HbbvsQCD")


FIGURES: dict[str, Callable[[], Any]] = {
    "feature_ranking": feature_ranking,
    "feature_maps": feature_maps,
    "sufficiency_curves": sufficiency_curves,
    "attention_maps": attention_maps,
    "contribution_images": contribution_images,
    "assigned_masses": assigned_masses,
    "purities_by_objects": purities_by_objects,
    "spectrum": spectrum,
    "shapes": shapes,
    "sculpting": sculpting,
    "cutflow": cutflow,
    "roc_curves": roc_curves,
    "limit_band": limit_band,
    "fitted_spectrum": fitted_spectrum,
    "closure_spectrum": closure_spectrum,
    "fitted_pulls": fitted_pulls,
    "strength_impacts": strength_impacts,
    "correlation_matrix": correlation_matrix,
    "significances": significances,
    "mean_images": mean_images,
    "draw_jets": draw_jets,
    "tradeoff": tradeoff,
    "efficiency_curves": efficiency_curves,
    "dependence_curves": dependence_curves,
    "band_spectra": band_spectra,
    "impact_ranking": impact_ranking,
    "response_distributions": response_distributions,
    "response_summary": response_summary,
    "flavour_responses": flavour_responses,
}


def versions() -> dict[str, str]:
    """What decides how a picture looks, besides this package."""
    import matplotlib
    import mplhep
    from matplotlib import ft2font

    return {
        "matplotlib": matplotlib.__version__,
        "mplhep": mplhep.__version__,
        "FreeType": ft2font.__freetype_version__,
    }


def pixels(figure: Any) -> Floats:
    """A figure as red, green and blue from 0 to 1."""
    import matplotlib
    from matplotlib.text import Text

    # the font that matplotlib brings, as machines have different ones
    plain = {"mathtext.cal": matplotlib.rcParams["mathtext.rm"], "text.hinting": "none"}
    with matplotlib.rc_context(plain):
        figure.set_dpi(DPI)
        figure.canvas.draw()  # now all texts are there
        for text in figure.findobj(Text):
            text.set_fontfamily("DejaVu Sans")
        figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def difference(one: Floats, other: Floats) -> float:
    """How far two pictures are from each other: the largest root mean square of colours over neighbouring squares.

    Squares are averaged first, so that glyphs that move by a pixel hardly count. Pictures of different size: 1.
    """
    if one.shape != other.shape:
        return 1.0
    rows, columns = (size // SQUARE for size in one.shape[:2])
    distance = (one - other)[: rows * SQUARE, : columns * SQUARE]
    averaged = distance.reshape(rows, SQUARE, columns, SQUARE, 3).mean(axis=(1, 3))
    squares: Floats = (averaged**2).mean(axis=2)
    around = squares[:-2, :-2] + squares[1:-1, 1:-1] + squares[2:, 2:] + squares[2:, :-2] + squares[:-2, 2:]
    return float(np.sqrt((around / 5).max()))


def reference(name: str) -> Floats:
    """The picture that is expected."""
    from matplotlib.image import imread

    return np.asarray(imread(FOLDER / f"{name}.png"), dtype=np.float64)[..., :3]


def main() -> int:
    from matplotlib.image import imsave

    FOLDER.mkdir(exist_ok=True)
    for name, figure in FIGURES.items():
        imsave(FOLDER / f"{name}.png", pixels(figure()))
    VERSIONS.write_text(json.dumps(versions(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
