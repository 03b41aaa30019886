"""A calibration on events: the numbers of the same network on the shards made from them, for AK4 and fat jets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from jec_events import jec_columns, jec_events, write_calibration

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import ConfigError, MissingColumns
from jettagger.files.root import write_tree
from jettagger.jec import RawJets, ShardMaker, corrected, write_shard
from jettagger.jec.exporting import output_names
from jettagger.jec.prediction import load_calibration, predict_files

QUANTILES = (0.16, 0.5, 0.84)


@pytest.fixture(scope="module")
def events() -> Any:
    return jec_events(60, seed=11)


@pytest.fixture(scope="module", params=["AK4", "AK8"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("models") / "mine"
    return request.param, write_calibration(folder, request.param, QUANTILES)


def matched(events: Any, kind: Any) -> tuple[RawJets, Any]:
    """Jets of a training set, and their mask among all jets."""
    maker = ShardMaker(kind=kind)
    jets, _ = maker.made(events)
    chosen = maker.matched(events).index
    own = events["Jet" if kind == "AK4" else "FatJet"]
    flat = np.zeros(ak.sum(ak.num(own.pt)), dtype=bool)
    flat[chosen] = True
    return jets, ak.unflatten(flat, ak.num(own.pt))


def test_events_and_shards_give_the_same_numbers(model: tuple[Any, Path], events: Any, tmp_path: Path) -> None:
    kind, folder = model
    raw, mask = matched(events, kind)
    expected = load_calibration(folder).factors(raw)
    assert np.isfinite(expected).all()
    assert expected[:, 0].std() > 1e-3
    tagged = jt.load_tagger(folder).attach(events)["Jet" if kind == "AK4" else "FatJet"]
    for place, name in enumerate(output_names(QUANTILES)):
        found = np.asarray(ak.drop_none(ak.flatten(tagged[f"mine_{name}"][mask])))
        assert found == pytest.approx(expected[:, place], abs=1e-5), name
    write_shard(tmp_path / "1.root", raw)
    predicted = predict_files(load_calibration(folder), [tmp_path / "1.root"])
    assert predicted.factors == pytest.approx(expected, abs=1e-6)


@pytest.mark.data
@pytest.mark.slow
def test_a_file_of_cms(model: tuple[Any, Path], shared: Path) -> None:
    kind, folder = model
    tagger, maker = jt.load_tagger(folder), ShardMaker(kind=kind)
    with jt.EventFile(shared / "cms/pfnano.root") as file:
        columns = sorted({*tagger.check(file).columns, *maker.plan(file).columns})
        events = file.read(columns)
    raw, mask = matched(events, kind)
    assert len(raw) > 5
    scores = jt.load_tagger(folder).run(events).scores.ptRawCorr
    found = np.asarray(ak.drop_none(ak.flatten(scores[mask])))
    assert found == pytest.approx(load_calibration(folder).factors(raw)[:, 0], abs=1e-5)
    own = events["Jet" if kind == "AK4" else "FatJet"]
    response = raw.columns["pt_full_corr"] / raw.columns["pt_gen"]
    assert abs(np.median(response) - 1) < 0.1, "generator jets are those of the jets"
    assert np.median(raw.counts["ch"] + raw.counts["ne"]) > 10
    assert ak.sum(ak.num(own.pt)) >= len(raw)


def test_jets_without_constituents_have_the_number_of_the_network(model: tuple[Any, Path], events: Any) -> None:
    kind, folder = model
    own = "Jet" if kind == "AK4" else "FatJet"
    links = events[f"{own}PFCands"]
    empty = ak.with_field(events, links[links.jetIdx != 0], f"{own}PFCands")
    empty = ak.with_field(empty, events[f"{own}SVs"][events[f"{own}SVs"].jetIdx != 0], f"{own}SVs")
    result = jt.load_tagger(folder).run(empty)
    first = ak.drop_none(ak.firsts(result.scores.ptRawCorr), axis=0)
    assert len(first) > 20
    assert result.report.scored == result.report.jets
    raw, mask = matched(empty, kind)
    bare = np.flatnonzero((raw.counts["ch"] + raw.counts["ne"]) == 0)
    assert len(bare) > 20
    expected = load_calibration(folder).factors(raw)[bare, 0]
    flat = np.asarray(ak.drop_none(ak.flatten(result.scores.ptRawCorr[mask])))
    assert flat[bare] == pytest.approx(expected, abs=1e-5)


def test_columns_are_regressions(model: tuple[Any, Path]) -> None:
    tagger = jt.load_tagger(model[1])
    assert tagger.column_names() == {name: f"mine_{name}" for name in output_names(QUANTILES)}
    assert {output.kind for output in tagger.outputs} == {"regression"}
    assert "regressed number" in tagger.bundle._repr_html_()


def test_branches_that_pfnano_lacks_are_named(events: Any, tmp_path: Path) -> None:
    folder = write_calibration(tmp_path / "mine", "AK4")
    content = json.loads((folder / "inputs.json").read_text())
    [group] = [group for group in content["groups"] if group["input"] == "ch"]
    group["variables"][1:3] = ["ch_num_hits", "ch_num_pixel_hits"]
    (folder / "inputs.json").write_text(json.dumps(content))
    with pytest.raises(MissingColumns, match=r"(?s)2 missing columns:.*needed by ch_num_hits.*by ch_num_pixel_hits"):
        jt.load_tagger(folder).attach(events)


def test_the_cache_gives_the_same_numbers(model: tuple[Any, Path], events: Any, tmp_path: Path) -> None:
    kind, folder = model
    own = "Jet" if kind == "AK4" else "FatJet"
    cached = jt.load_tagger(folder, cache=tmp_path / "cache")
    expected = cached.attach(events)[own].mine_ptRawCorr
    assert cached.run(events).report.cached == cached.run(events).report.scored > 0
    assert ak.almost_equal(cached.attach(events)[own].mine_ptRawCorr, expected)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_dask_awkward_gives_the_same_numbers(model: tuple[Any, Path], events: Any) -> None:
    dak = pytest.importorskip("dask_awkward")
    kind, folder = model
    own = "Jet" if kind == "AK4" else "FatJet"
    tagger = jt.load_tagger(folder)
    lazy = tagger.attach(dak.from_awkward(events, npartitions=2))[own].mine_ptRawCorr
    assert ak.almost_equal(lazy.compute(scheduler="sync"), tagger.attach(events)[own].mine_ptRawCorr)


def test_the_command_writes_the_columns(tmp_path: Path) -> None:
    folder = write_calibration(tmp_path / "mine", "AK4")
    write_tree(tmp_path / "events.root", [jec_columns(10, seed=2)])
    files = [str(tmp_path / "events.root"), "-o", str(tmp_path / "out.parquet")]
    assert main(["tag", *files, "--model", str(folder)]) == 0
    assert "Jet_mine_ptRawCorr" in ak.from_parquet(tmp_path / "out.parquet").fields


def test_corrected_jets(events: Any) -> None:
    jets = ak.with_field(events.Jet, ak.full_like(events.Jet.pt, 1.25), "mine_ptRawCorr")
    jets = ak.with_field(jets, ak.mask(jets.pt * 0 + 1.5, jets.pt > 40), "mine_ptRawCorrUp")
    new = corrected(jets, "mine")
    assert ak.almost_equal(new.pt, jets.pt * (1 - jets.rawFactor) * 1.25)
    assert ak.almost_equal(new.mass, jets.mass * (1 - jets.rawFactor) * 1.25)
    assert ak.almost_equal(new.pt * (1 - new.rawFactor), jets.pt * (1 - jets.rawFactor)), "the raw pt stays"
    up = corrected(jets, "mine", variation="up")
    assert ak.all(ak.is_none(up.pt, axis=1) == (jets.pt <= 40))
    nano = ak.with_field(events.Jet, ak.full_like(events.Jet.pt, 0.5), "PNetRegPtRawCorr")
    assert ak.almost_equal(corrected(nano, "PNet").pt, jets.pt * (1 - jets.rawFactor) * 0.5)
    with pytest.raises(MissingColumns, match=r"no column 'mine_ptRawCorrDown'.*; the model has no quantiles"):
        corrected(jets, "mine", "down")
    with pytest.raises(MissingColumns, match=r"no column 'mien_ptRawCorr'.*nearest: mine_ptRawCorr"):
        corrected(jets, "mien")
    with pytest.raises(ConfigError, match=r"unknown variation 'upp'.*expected nominal, up or down"):
        corrected(jets, "mine", "upp")
    with pytest.raises(MissingColumns, match="rawFactor"):
        corrected(jets[["pt", "mass", "mine_ptRawCorr"]], "mine")


def test_densities_of_other_names(events: Any, tmp_path: Path) -> None:
    """NanoAOD v10 and later put it into a collection; other productions call it otherwise."""
    tagger = jt.load_tagger(write_calibration(tmp_path / "mine", "AK4"))
    expected = tagger(events).ptRawCorr
    rest = events[[name for name in events.fields if name != "fixedGridRhoFastjetAll"]]
    rho = events.fixedGridRhoFastjetAll
    newer = ak.with_field(rest, ak.zip({"fixedGridRhoFastjetAll": rho}), "Rho")
    assert ak.array_equal(tagger(newer).ptRawCorr, expected)
    other = jt.load_tagger(tmp_path / "mine", names={"fixedGridRhoFastjetAll": "ScoutingRho"})
    assert ak.array_equal(other(ak.with_field(rest, rho, "ScoutingRho")).ptRawCorr, expected)
    with pytest.raises(MissingColumns, match=r"jet\.rho \(fixedGridRhoFastjetAll or Rho\.fixedGridRhoFastjetAll\)"):
        tagger(rest)
