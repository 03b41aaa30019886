"""Maps in a search: as discriminants and as cuts, on events and on skims, with varied jets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import pyarrow.parquet
import pytest
from jettagger.processors.search import SearchWarning
from searches import CONFIG, columns, make_world, write

from jettagger import tag_files
from jettagger.decorrelation import fit_linear, fit_quantiles, fit_thresholds, load_map
from jettagger.discriminants import discriminant
from jettagger.errors import JettaggerError, MismatchError
from jettagger.histograms import equal
from jettagger.search.config import read_config
from jettagger.search.run import run_search

WITH_MAPS = (
    CONFIG.replace(
        "  HbbvsQCD: HbbvsQCD\n",
        "  HbbvsQCD: HbbvsQCD\n  ddt: {map: maps/ddt.json, efficiency: loose}\n  rank: {map: maps/rank.json}\n",
    )
    .replace('  tagged: "jet1.HbbvsQCD > 0.2"\n', "  tagged: {map: maps/ddt.json, efficiency: loose}\n")
    .replace("  masses:\n", "  rank: {bins: [6, -1, 2], expression: jet1.rank}\n  masses:\n")
    .partition("templates:")[0]
)
SKIMMED = WITH_MAPS.replace("tagger: {model: tinyParT, threads: 1}\n", "")


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    make_world(folder, config=WITH_MAPS)
    (folder / "skims").mkdir()
    for name in ("tt1", "tt2", "X1", "run"):
        keep = [] if name == "run" else ["puWeight*"]
        tag_files([str(folder / f"{name}.root")], "tinyParT", str(folder / "skims" / f"{name}.root"), keep=keep)
    # of other jets than those of the search: a threshold is the score of a jet, whose last digit depends on its batch
    write(folder / "fit.root", columns(30, 11))
    tag_files([str(folder / "fit.root")], "tinyParT", str(folder / "fit.parquet"))
    (folder / "maps").mkdir()
    table = pyarrow.parquet.read_table(folder / "fit.parquet")
    item, weights = discriminant("HbbvsQCD"), False
    options: dict[str, Any] = {"axes": {"mass": 2}, "weights": weights, "least": 1}
    fit_thresholds(item, table, {"loose": 0.5, "tight": 0.2}, **options).save(folder / "maps" / "ddt.json")
    fit_quantiles(item, table, levels=[0.6, 0.3], passes=1, **options).save(folder / "maps" / "rank.json")
    fit_linear(item, table, weights=False, bins=3).save(folder / "maps" / "line.json")
    (folder / "skims" / "maps").symlink_to(folder / "maps")
    return folder


@pytest.fixture(scope="module")
def found(world: Path) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        return run_search(read_config(world / "search.yaml"))


@pytest.mark.slow
def test_events_and_skims_give_the_same(world: Path, found: Any) -> None:
    again = run_search(read_config(SKIMMED, name="search.yaml", folder=world / "skims"))
    for name, histogram in found.histograms.items():
        if name != "masses":
            assert histogram.sum(flow=True).value > 0
            assert equal(again.histograms[name], histogram, rtol=1e-6), name
    assert again.cutflow == found.cutflow


@pytest.mark.slow
def test_varied_jets_have_the_numbers_of_their_varied_mass(world: Path, found: Any) -> None:
    """The fraction of events in the signal region, from the columns of a skim."""
    ddt = load_map(world / "maps" / "ddt.json")
    tt2 = world / "tt2.parquet"
    tag_files([str(world / "tt2.root")], "tinyParT", str(tt2), keep=["puWeight"])
    one = world / "tt1w.parquet"
    tag_files([str(world / "tt1.root")], "tinyParT", str(one), keep=["puWeight"])
    jets: Any = ak.concatenate([ak.from_parquet(one), ak.from_parquet(tt2)])
    weights = jets["genWeight"] * jets["puWeight"]
    item = discriminant("HbbvsQCD")
    fractions = []
    for variation, factor in (("nominal", 1.0), ("jesUp", 1.1), ("jesDown", 0.9)):
        columns = {
            name: jets[f"FatJet_{name}"] * (factor if name in ("pt", "msoftdrop") else 1)
            for name in ("pt", "eta", "msoftdrop", "tinyParT_probHbb")
        }
        scores = {name.removeprefix("FatJet_"): jets[name] for name in jets.fields if "_tinyParT_prob" in name}
        columns |= {**scores, "hbb": item(scores)}
        columns["passes"] = ddt.passes({**scores, "msoftdrop": columns["msoftdrop"]}, "loose")
        table = ak.zip(columns)
        table = table[(table.pt > 220) & (abs(table.eta) < 2.2)]
        chosen = ak.num(table) >= 2
        pair = table[chosen][ak.argsort(table[chosen].pt, axis=1, ascending=False)][:, :2]
        pair = pair[ak.argsort(pair.hbb, axis=1, ascending=False)]
        near = abs(pair.eta[:, 0] - pair.eta[:, 1]) < 2
        weight = weights[chosen]
        expected = float(ak.sum(weight[near & pair.passes[:, 0]]) / ak.sum(weight[near]))
        histogram = found.histograms["mjj"][{"dataset": "tt", "variation": variation}]
        signal, control = (histogram[{"region": region}].sum(flow=True).value for region in ("SR", "CR"))
        assert signal / (signal + control) == pytest.approx(expected, rel=1e-5)
        fractions.append(expected)
    assert len(set(fractions)) > 1, "the variation moves jets over the threshold, so that the test can fail"


@pytest.mark.slow
def test_the_maps_are_in_the_record(world: Path, found: Any) -> None:
    used = found.provenance.to_dict()["configuration"]["maps"]
    assert set(used) == {"ddt", "rank", "tagged_map"}
    assert used["ddt"]["digest"] == load_map(world / "maps" / "ddt.json").digest
    assert used["ddt"]["efficiency"] == "loose"
    assert json.dumps(used)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "efficiency: loose}\n  rank",
            "efficiency: lose}\n  rank",
            r"line 17: unknown efficiency in .*: 'lose'",
        ),
        (
            "efficiency: loose}\n  rank",
            "eficiency: loose}\n  rank",
            r"line 17: unknown key 'eficiency'",
        ),
        (", efficiency: loose}\n  rank", "}\n  rank", r"line 17: .*choose one of the efficiencies loose, tight"),
        ("maps/rank.json", "maps/absent.json", r"line 18: cannot read .*absent.json"),
        ("maps/rank.json", "search.yaml", r"line 18: .*not a map as jettagger writes it"),
        ("{map: maps/rank.json}", "{map: maps/rank.json, zero: 1}", r"line 18: 'zero' belongs to a formula, not to a"),
        ("{map: maps/rank.json}", "{map: 3}", r"line 18: 'map' must be the path of a file, got 3"),
        ("{map: maps/rank.json}", "{efficiency: 1}", r"line 18: 'efficiency' belongs to a 'map', but none is given"),
        ("{map: maps/rank.json}", "{map: maps/rank.json, efficiency: 0.1}", r"line 18: .*cut on its number"),
        ("{map: maps/rank.json}", "{map: maps/ddt.json, efficiency: [1]}", r"'efficiency' must be a name or a number"),
        ("tagged: {map: maps/ddt.json,", "tagged: {map: maps/line.json,", r"line 21: .*linear map has no efficiencies"),
        ("tagged: {map: maps/ddt.json,", "tagged: {", r"line 21: give either 'expression', 'map' or"),
        (
            "tagged: {map: maps/ddt.json,",
            'tagged: {expression: "njets > 1",',
            r"line 21: 'efficiency' belongs to 'map'",
        ),
        (
            "tagged: {map: maps/ddt.json,",
            "tagged: {map: maps/rank.json,",
            r"line 21: .*any background efficiency",
        ),
        ("loose}\nregions", "loose, jets: jet3}\nregions", r"unknown candidate .*jet3"),
        (
            "  ddt: {map",
            "  tagged_map: {map",
            r"line 21: the column 'tagged_map' of this cut",
        ),
    ],
)
def test_errors_have_a_line(world: Path, old: str, new: str, message: str) -> None:
    assert old in WITH_MAPS
    with pytest.raises(JettaggerError) as e:
        read_config(WITH_MAPS.replace(old, new), name="search.yaml", folder=world)
    assert re.search(message, str(e.value), re.DOTALL), str(e.value)
    assert str(e.value).startswith("search.yaml")


def test_a_map_of_another_model_is_refused(world: Path) -> None:
    content = json.loads((world / "maps" / "ddt.json").read_text())
    described = json.loads(content["description"])
    described["jettagger"]["scores"]["digest"] = "2" * 64
    (world / "maps" / "other.json").write_text(json.dumps({**content, "description": json.dumps(described)}))
    for text, folder in ((WITH_MAPS, world), (SKIMMED, world / "skims")):
        config = read_config(text.replace("maps/ddt.json, eff", "maps/other.json, eff"), name="s.yaml", folder=folder)
        with pytest.raises(MismatchError, match=r"s.yaml, line 1\d: .*belong to the model .* but these scores are of"):
            run_search(config)
