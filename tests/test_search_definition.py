"""A search as a value: expressions are read once and know their lines; reading and checking it is light."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jettagger.processors.search import ResonanceSearchProcessor
from searches import CONFIG

import jettagger as jt
from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import ExpressionText, parse
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.plots.style import PlotLabel
from jettagger.search import read_config
from jettagger.search.definition import JetVariation, Region, Sample, Search, WeightFactor
from jettagger.search.masses import is_mass, mass_histograms, without_mass_cuts

MJJ = HistSpec("mjj", [AxisSpec("mjj", bins=(10, 500, 3000), unit="GeV")])
SELECTED = CONFIG.replace("jets:\n", 'event_selection: "MET.pt < 900"\njets:\n')


def test_the_label_of_plots() -> None:
    made = read_config(CONFIG + "label: {experiment: CMS, text: Preliminary, energy: 13.6}\n", name="a", folder=".")
    assert made.label == PlotLabel("CMS", "Preliminary", "13.6", 10)
    assert read_config(CONFIG, name="a", folder=".").label is None
    with pytest.raises(ConfigError, match=r"line \d+: 'energy' must be a number in TeV, above zero"):
        read_config(CONFIG + "label: {energy: -13}\n", name="a", folder=".")
    with pytest.raises(ConfigError, match=r"unknown key 'experimnt' .*experiment"):
        read_config(CONFIG + "label: {experimnt: CMS}\n", name="a", folder=".")


def test_cuts_on_masses_are_left_out_of_histograms_of_masses() -> None:
    spec = HistSpec("m", [AxisSpec("m", bins=(2, 0, 200), expression="jet1.msoftdrop")])
    cuts = {
        "tag": "jet1.prob > 0.5",
        "window": "100 < jet1.msoftdrop < 150",
        "both": "jet2.a_mass > 50 and jet1.prob > 0.1",
    }
    regions = {"all": Region("inclusive", ["window", "both"]), "SR": Region("signal", ["tag", "both"], ["window"])}
    search = Search({"tt": Sample(830)}, regions, [spec, HistSpec("mjj", [AxisSpec("mjj", bins=(2, 0, 9))])], cuts=cuts)
    assert list(mass_histograms(search)) == ["m"]
    assert without_mass_cuts(search, regions["all"]) == ()
    # what it cuts on besides the mass is not lost
    assert without_mass_cuts(search, regions["SR"]) == ("tag", "both")
    assert without_mass_cuts(search, Region("control", [], ["tag", "window"])) == ("not tag",)
    assert not mass_histograms(Search({"tt": Sample(830)}, {"SR": regions["SR"]}, [spec], cuts=cuts))
    assert is_mass(search, "jet2.inclParTMDV1_mass")
    assert not is_mass(search, "mjj")
    assert not is_mass(search, "jet1.massive")


def test_each_expression_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    tree = ExpressionText.tree

    def counted(self: ExpressionText, readable: str | None = None) -> Any:
        reads[self.text] += 1
        return tree(self, readable)

    monkeypatch.setattr(ExpressionText, "tree", counted)
    config = read_config(SELECTED, name="search.yaml")
    processor = config.make_processor()
    expressions = [*config.search.expressions(), config.search.preselection, config.search.event_cut]
    expressions += [item for shift in config.search.variations["jes"].up.values() for item in [shift]]
    assert len(expressions) == 5 + 3 + 2 + 3
    for expression in expressions:
        assert expression.names
    assert {expression.text: reads[expression.text] for expression in expressions} == dict.fromkeys(
        (expression.text for expression in expressions), 1
    )
    assert all(processor.cuts[name] is cut for name, cut in config.search.cuts.items())


def test_each_expression_knows_its_line() -> None:
    search = read_config(SELECTED, name="search.yaml").search
    lines = SELECTED.splitlines()
    written = [*search.cuts.values(), *search.factors["pileup"], search.preselection, search.event_cut]
    written += [*search.variations["jes"].up.values(), *search.variations["jes"].down.values()]
    for expression in written:
        assert expression is not None
        name, _, number = expression.where.partition(", line ")
        assert name == "search.yaml"
        assert str(expression) in lines[int(number) - 1]


def test_a_search_is_a_value() -> None:
    texts = {"near": "abs(deta) < 2", "high": "mjj > 1000"}
    common: dict[str, Any] = {
        "samples": {"tt": Sample(830)},
        "regions": {"SR": Region(passes=["near"], fails=["high"])},
        "histograms": [MJJ],
        "weights": {"pileup": WeightFactor("puWeight", "puUp", "puDown")},
        "variations": {"jes": JetVariation({"pt": "pt * 1.1"}, {"pt": parse("pt * 0.9")})},
        "event_cut": "MET.pt > 10",
    }
    one = Search(**common, cuts=texts)
    other = Search(**common, cuts={name: parse(text, "elsewhere") for name, text in texts.items()})
    assert one == other == pickle.loads(pickle.dumps(one))
    assert [str(expression) for expression in one.expressions()] == [
        *texts.values(), "puWeight", "puUp", "puDown", "mjj",
    ]  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.luminosity = 2.0  # type: ignore[misc]
    processor = ResonanceSearchProcessor(**common, cuts=texts)
    assert processor.search == one
    assert ResonanceSearchProcessor(**one.arguments()).search == one
    assert str(processor.cuts["near"]) == "abs(deta) < 2"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"samples": {}}, ConfigError, "at least one sample, one region and one histogram"),
        ({"n_jets": 3}, ConfigError, "n_jets must be 1 or 2, got 3"),
        ({"luminosity": float("nan")}, ConfigError, "the luminosity must be a number above zero"),
        ({"cuts": {"events": "mjj > 1"}}, ConfigError, "a cut cannot be called 'events'"),
        ({"cuts": {"near": "deta <"}}, ConfigError, "cut 'near': .*cannot be read"),
        ({"cuts": {f"c{number}": "mjj > 1" for number in range(32)}}, ConfigError, "32 cuts, expected at most 31"),
        ({"regions": {"SR": Region(passes=["nera"])}}, UnknownName, "'nera'.*Known: none"),
        ({"weights": {"generator": WeightFactor("1")}}, ConfigError, "is the generator.s own weight"),
        ({"histograms": [MJJ, MJJ]}, ConfigError, "two histograms have the same name"),
        ({"n_jets": 1}, ConfigError, "'mjj' needs two candidates"),
        ({"cuts": {"third": "jet3.pt > 1"}}, UnknownName, "'jet3' .*Known: jet1, jet2"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], error: Any, message: str) -> None:
    arguments: dict[str, Any] = {
        "samples": {"tt": Sample(830)}, "regions": {"all": Region()}, "histograms": [MJJ], **change,
    }  # fmt: skip
    for make in (Search, ResonanceSearchProcessor):
        with pytest.raises(error, match=message):
            make(**arguments)


def test_reading_a_search_loads_neither_coffea_nor_numba() -> None:
    root = Path(jt.__file__).parent.parent
    heavy = "{'coffea', 'numba', 'awkward', 'vector', 'uproot', 'hist', 'onnxruntime'}"
    code = (
        f"import sys, jettagger.search; jettagger.search.read_config({CONFIG!r}, name='x');"
        f"print({heavy} & {{name.partition('.')[0] for name in sys.modules}})"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
