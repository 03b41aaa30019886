"""Cards of searches for CMS combine: what another reader finds in them, the expected events, and their limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
from agreement import Agreement
from cards import Card, expected_limit

from jettagger.errors import ConfigError, UnknownName
from jettagger.provenance import Provenance
from jettagger.statistics.building import build
from jettagger.statistics.fits import Likelihood, guess_strength, toys
from jettagger.statistics.limits import limit
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.templates import Templates, load_report
from jettagger.statistics.workspaces import unit_of
from jettagger.types import Floats

# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def searched(events: float = 400.0, signal: float = 30.0, **changes: Any) -> Templates:
    """Two backgrounds and a peak in two regions, one variation of all and one of a background."""
    made = hist.Hist.new.StrCat([], growth=True, name="dataset").StrCat([], growth=True, name="region")
    counts = made.StrCat([], growth=True, name="variation").Reg(6, 800, 2000, name="mjj").Weight()
    generator = np.random.default_rng(4)
    yields = {"qcd": (events, 250), "tt": (0.4 * events, 180), "x": (signal, 0)}
    for region, share in (("SR", 1.0), ("CR", 3.0)):
        for dataset, (total, slope) in yields.items():
            number = 2500
            mass = 800 + generator.exponential(slope, number) if slope else generator.normal(1300, 90, number)
            weight = np.full(number, total * (share if slope else 1.1 - share / 3) / number)
            shifts = {"nominal": (1.0, 1.0), "jesUp": (1.03, 1.02), "jesDown": (0.97, 0.99)}
            if dataset == "tt":
                shifts |= {"topptUp": (1.0, 1.1 - mass / 2e4), "topptDown": (1.0, 0.9 + mass / 2e4)}
            for variation, (scale, weigh) in shifts.items():
                place = {"dataset": dataset, "region": region, "variation": variation}
                counts.fill(**place, mjj=mass * scale, weight=weight * weigh)
    content = {
        "processes": {"qcd": ["qcd"], "tt": ["tt"]},
        "signals": {"X": Signal(["x"], 1300, 0.1)},
        "normalisations": {"lumi": {"tt": 0.016, "X": 0.016}, "xsec": {"tt": 0.1}, "yield_qcd": {"qcd": 0.2}},
    }
    return build(counts, TemplateSpec(**{**content, **changes}))


def test_another_reader_finds_what_is_in_the_templates(tmp_path: Path, agrees: Agreement) -> None:
    """That of rabbit (David Walter et al.), which shares no code with this package or with combine."""
    reader = pytest.importorskip("rabbit.datacard_parser")
    groups = {"energy": ["jes"], "theory": ["toppt", "xsec"]}
    templates = searched(free=["qcd"], groups=groups)
    templates.save(tmp_path, provenance=Provenance("search"))
    found = reader.DatacardParser().parse_file(str(tmp_path / "datacard_X.txt"))
    assert (found.imax, found.jmax, found.kmax) == ("2", "2", None)  # None is *
    assert found.bins == ["SR", "CR"]
    assert found.process_indices == {"qcd": 1, "tt": 2, "X": 0}
    yields: list[tuple[float, float]] = []
    for region, processes in templates.nominal.items():
        assert found.observations[region] == pytest.approx(templates.data[region].sum(), rel=1e-9)
        for process, template in processes.items():
            yields.append((template.values.sum(), found.rates[region, process]))
    agrees("statistics/rabbit", *zip(*yields, strict=True), sample=1, rtol=1e-9)
    systematics = {item["name"]: (item["type"], item["effects"]) for item in found.systematics}
    places = {(region, process) for region in ("SR", "CR") for process in ("qcd", "tt", "X")}
    assert systematics["jes"] == ("shape", dict.fromkeys(places, "1"))
    assert systematics["toppt"] == ("shape", {("SR", "tt"): "1", ("CR", "tt"): "1"})
    assert systematics["lumi"] == ("lnN", {place: "1.016" for place in places if place[1] != "qcd"})
    assert systematics["xsec"] == ("lnN", {("SR", "tt"): "1.1", ("CR", "tt"): "1.1"})
    assert list(systematics) == ["jes", "toppt", "lumi", "xsec", "yield_qcd"]
    assert found.rate_params == [["norm_qcd", "*", "qcd", "1", "[0,10]"]]
    assert found.group_lines == [["energy", "=", "jes"], ["theory", "=", "toppt", "xsec"]]
    ours = Card(tmp_path / "datacard_X.txt")
    assert {name: kind for name, (kind, _) in ours.nuisances.items()} == {n: k for n, (k, _) in systematics.items()}
    assert ours.statistics == ["SR", "CR"]
    for shape in found.shapes:
        assert Path(shape["file"]) == tmp_path / "templates.root"
    assert ours.comments[-1] == f"# {Provenance('search')}"
    assert "# combine -M AsymptoticLimits datacard_X.txt -m 1300 --run blind --rMin 0 --rMax " in "\n".join(
        ours.comments
    )


@pytest.mark.parametrize("free", [[], ["qcd"]])
def test_a_card_expects_the_events_of_the_workspace(free: list[str], tmp_path: Path) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    templates = searched(free=free)
    templates.save(tmp_path)
    card = Card(tmp_path / "datacard_X.txt")
    space = templates.workspace("X")
    likelihood = Likelihood(space, None, None)
    names, slices = likelihood.model.config.par_names, likelihood.model.config.channel_slices
    points: list[dict[str, float]] = [
        {},
        {"r": 2.5},
        {"jes": 1.0},
        {"jes": -1.0, "xsec": 1.0},
        {"toppt": 1.0, "lumi": -1.0},
    ]
    points += [{"jes": 1.7}, {"norm_qcd": 1.4, "yield_qcd": 1.0}] if free else []
    for values in points:
        point = likelihood.start.copy()
        for name, value in {"r": 1.0, **values}.items():
            # a workspace may count the strength in another unit
            number = value / unit_of(space) if name == "r" else value
            point[names.index("mu" if name == "r" else name)] = number
        rates = likelihood.deviance.rates(point)
        for region in ("SR", "CR"):
            np.testing.assert_allclose(card.expected(region, values), rates[slices[region]], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("free", [[], ["qcd"]])
def test_limits_of_a_card_are_those_of_pyhf(free: list[str], tmp_path: Path) -> None:
    """With the other reader's content (above), the rules of combine, and another minimiser."""
    pyhf = pytest.importorskip("pyhf", reason="the extra stats is not installed")
    templates = searched(free=free)
    templates.save(tmp_path)
    of_card = expected_limit(Card(tmp_path / "datacard_X.txt"))
    content = templates.workspace("X")
    assert of_card == pytest.approx(limit(content).expected[2], rel=0.05)
    workspace = pyhf.Workspace(content)
    model = workspace.model()
    levels = [
        float(
            pyhf.infer.hypotest(
                factor * of_card / unit_of(content),
                workspace.data(model),
                model,
                test_stat="qtilde",
                return_expected=True,
            )[1]
        )
        for factor in (0.95, 1.05)
    ]
    assert levels[0] > 0.05 > levels[1]


@pytest.mark.slow
def test_the_limit_of_a_card_is_that_of_toys(tmp_path: Path) -> None:
    """No asymptotic formula: 600 toys with and without the signal of that size, of pyhf's model."""
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    templates = searched()
    templates.save(tmp_path)
    content = templates.workspace("X")
    strength = expected_limit(Card(tmp_path / "datacard_X.txt")) / unit_of(content)
    likelihood = Likelihood(content, (0.0, 20 * strength), guess_strength(content))
    position, number = likelihood.model.config.poi_index, 600

    def statistic(data: Floats) -> float:
        point, best = likelihood.minimise(data, "a toy")
        if point[position] >= strength:
            return 0.0
        return likelihood.minimise(data, "a toy", strength=strength, start=point)[1] - best

    with_signal, without = (
        np.array([statistic(data) for data in toys(likelihood.model, value, number, seed)])
        for value, seed in ((strength, 1), (0.0, 2))
    )
    # half of the data sets without signal are above their median
    share = float((with_signal >= np.median(without)).mean())
    assert 2 * share == pytest.approx(0.05, abs=2.5 * 2 * np.sqrt(0.025 / number))


def test_one_name_for_a_variation_and_a_normalisation(tmp_path: Path) -> None:
    """Of different processes it is one parameter, of the same process combine reads one of both."""
    templates = searched(normalisations={"toppt": {"qcd": 0.2}})
    templates.save(tmp_path)
    card = Card(tmp_path / "datacard_X.txt")
    assert card.nuisances["toppt"] == ("shape?", ["1.2", "1", "-", "1.2", "1", "-"])
    nominal = card.expected("SR", {})
    change = card.expected("SR", {"toppt": 1.0}) - nominal
    qcd, tt = templates.nominal["SR"]["qcd"], templates.nominal["SR"]["tt"]
    np.testing.assert_allclose(change, 0.2 * qcd.values + tt.shifts["toppt"][0] - tt.values, rtol=1e-6)
    with pytest.raises(ConfigError, match="'jes' is a variation and a normalisation uncertainty of 'tt'"):
        searched(normalisations={"jes": {"tt": 0.2}}).datacard("X")


def test_what_combine_does_not_read_is_reported(tmp_path: Path) -> None:
    templates = searched(processes={"top quark": ["tt"], "qcd": ["qcd"]}, normalisations={})
    paths = templates.save(tmp_path)
    assert not [path for path in paths if path.suffix == ".txt"]
    assert not (tmp_path / "datacard_X.txt").exists()
    (line,) = [line for line in load_report(tmp_path) if line.startswith("no datacard_X.txt")]
    assert "combine does not read the names 'top quark'" in line
    names = {"shifted": "{region}/{process}_{direction}_{variation}"}
    with pytest.raises(ConfigError, match=r"cannot be told to combine.*'\{variation\}\{direction\}' in one piece"):
        searched(names=names).datacard("X")
    names = {
        "nominal": "{process}_{region}",
        "shifted": "{process}_{region}_{variation}{direction}",
        "data": "data_{region}",
    }
    text = searched(names=names).datacard("X", "t.root")
    assert "shapes * * t.root $PROCESS_$CHANNEL $PROCESS_$CHANNEL_$SYSTEMATIC" in text
    assert "shapes data_obs * t.root data_$CHANNEL" in text


def test_groups_of_unknown_uncertainties_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"uncertainty in the group 'theory': 'topp'.*toppt"):
        searched(groups={"theory": ["topp"]})
    with pytest.raises(UnknownName, match=r"uncertainty in the group 'theory': 'je'.*jes"):
        searched(groups={"theory": ["je"]}, variations=["jes"])
    with pytest.raises(ConfigError, match="group 'theory' has no uncertainty"):
        searched(groups={"theory": []})
