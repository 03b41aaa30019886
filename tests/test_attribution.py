"""Attributions beside the constituents: events, tables, blocks, dask, None, and what is refused."""

from __future__ import annotations

import pickle
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from image_networks import IMAGE, convolutions
from sequence_networks import declared, recurrent, write
from test_declared_tables import SHAPE, TRACKS, weightless_events
from test_delphes import events_of
from traced import traced_peak
from weavers import table, weaver_bundle

import jettagger as jt
from jettagger.bundles.places import PACKAGE
from jettagger.cli import main
from jettagger.errors import ConfigError, MismatchError, MissingColumns, UnknownName
from jettagger.explain import AttributionWarning, attribute, no_constituents
from jettagger.explain.batches import ExplainSettings
from jettagger.explain.clouds import jet_clouds
from jettagger.explain.jets import jet_inputs
from jettagger.explain.methods import gradient_input, occlude_constituents
from jettagger.explain.sampling import sample_of
from jettagger.explain.scorer import Scorer
from jettagger.files.delphes import DelphesFile
from jettagger.inputs.pfnano_tables import nano_table
from jettagger.testing import make_events, write_pfnano

TARGET = "log HbbvsQCD"
COLUMN = "tinyParT_log_HbbvsQCD"


@pytest.fixture(scope="module")
def tagger() -> jt.Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def events() -> ak.Array:
    return make_events(7, seed=4, constituents=12)


def flat(array: Any) -> list[Any]:
    return ak.flatten(array).tolist()


def jet_of_rows(events: ak.Array) -> list[int]:
    """The flat index of the jet of each row of the link table."""
    starts = np.cumsum(ak.num(events.FatJet)) - ak.num(events.FatJet)
    return flat(events.FatJetPFCands.jetIdx + starts)


def test_each_row_has_the_effect_of_its_candidate(tagger: jt.Tagger, events: ak.Array) -> None:
    found = attribute(tagger, events, TARGET, method="occlusion", where="pt > 220")
    column = flat(found.FatJetPFCands[f"{COLUMN}_occlusion"])
    rows = jet_of_rows(events)
    scorer = Scorer(tagger, TARGET)
    seen = set()
    for jets in jet_inputs(tagger, tagger.request(events, "pt > 220")):
        effects = occlude_constituents(scorer, jets)
        for number, jet in enumerate(jets.jets):
            seen.add(int(jet))
            own = [value for value, row in zip(column, rows, strict=True) if row == jet]
            np.testing.assert_allclose(own, effects.values[number, : len(own)], atol=1e-5)
            assert flat(found.FatJet[COLUMN])[jet] == pytest.approx(effects.outputs[number], abs=1e-5)
    # a candidate without which the number changes most, taken out of the link table by hand
    place = int(np.argmax([abs(value or 0) for value in column]))
    keep = np.arange(len(column)) != place
    less = ak.with_field(
        events,
        ak.unflatten(
            ak.flatten(events.FatJetPFCands)[keep],
            ak.sum(ak.unflatten(keep, ak.num(events.FatJetPFCands)), axis=1),
        ),
        "FatJetPFCands",
    )
    relaxed = jt.load_tagger("tinyParT", threads=1, min_pt_share=0.1)
    without = flat(jt.discriminant("HbbvsQCD", form="log_ratio")(relaxed.attach(less).FatJet))[rows[place]]
    assert flat(found.FatJet[COLUMN])[rows[place]] - without == pytest.approx(column[place], abs=1e-5)
    others = [value for value, row in zip(column, rows, strict=True) if row not in seen]
    assert others
    assert set(others) == {None}
    assert {index for index, value in enumerate(flat(found.FatJet[COLUMN])) if value is not None} == seen


def test_variables_add_up_to_the_sum(tagger: jt.Tagger, events: ak.Array) -> None:
    pytest.importorskip("torch")
    found = attribute(tagger, events, TARGET, method="gradient-input", variables="all", prefix="x")
    for name in ("FatJetPFCands", "FatJetSVs"):
        columns = found[name]
        parts = [column for column in columns.fields if column.startswith("x_gradient_input_")]
        assert len(parts) == (29 if name == "FatJetPFCands" else 15)
        total = sum(np.array([value or 0 for value in flat(columns[part])]) for part in parts)
        np.testing.assert_allclose(total, [value or 0 for value in flat(columns.x_gradient_input)], atol=1e-5)
    jet = next(jet_inputs(tagger, tagger.request(events)))
    made = gradient_input(Scorer(tagger, TARGET), jet)
    rows = [
        value
        for value, row in zip(flat(found.FatJetPFCands.x_gradient_input), jet_of_rows(events), strict=True)
        if row == jet.jets[0]
    ]
    slots = sum(made.values[name][0].sum(axis=0) for name in ("pf_features", "pf_vectors"))
    assert sorted(rows) == pytest.approx(sorted(slots[jet.ranks["pf_features"][0] >= 0]), abs=1e-5)


def test_contributions_of_a_jet_add_up_to_its_number(tagger: jt.Tagger, events: ak.Array) -> None:
    pytest.importorskip("torch")
    few = events[:3]
    found = attribute(tagger, few, TARGET, method="integrated", where="pt > 250")
    total = np.zeros(int(ak.sum(ak.num(few.FatJet))))
    for name in ("FatJetPFCands", "FatJetSVs"):
        rows = flat(few[name].jetIdx + (np.cumsum(ak.num(few.FatJet)) - ak.num(few.FatJet)))
        np.add.at(total, rows, [value or 0 for value in flat(found[name][f"{COLUMN}_integrated"])])
    residual = np.array(flat(found.FatJet[f"{COLUMN}_residual"]), dtype=float)
    parts = list(jet_inputs(tagger, tagger.request(few, "pt > 250")))
    assert parts
    for part in parts:
        start = no_constituents(part.bundle).of(part)
        change = Scorer(tagger, TARGET).values(part) - Scorer(tagger, TARGET).values(part, start)
        np.testing.assert_allclose(total[part.jets], change, rtol=0.011, atol=1e-4)
        np.testing.assert_allclose(residual[part.jets], total[part.jets] - change, atol=1e-4)


def test_blocks_change_nothing(tagger: jt.Tagger, events: ak.Array) -> None:
    small = jt.load_tagger("tinyParT", threads=1, block_bytes=20_000)
    assert len(list(small.request(events).blocks(20_000))) > 2
    whole, pieces = (attribute(one, events, "probHbb", method="occlusion") for one in (tagger, small))
    column = "tinyParT_probHbb_occlusion"
    for name in ("FatJetPFCands", "FatJetSVs"):
        one, other = (np.array(flat(array[name][column]), dtype=float) for array in (whole, pieces))
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_candidates_that_the_network_does_not_see_get_nothing(events: ak.Array, tmp_path: Path) -> None:
    folder = tmp_path / "selecting"
    shutil.copytree(PACKAGE / "models" / "tinyParT", folder)
    card = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(card.replace('"selection": "none"', '"selection": "puppiWeight >= 0.01"'))
    weights = ak.where(ak.local_index(events.PFCands.pt) % 3 == 0, 0.0, events.PFCands.puppiWeight)
    changed = ak.with_field(events, ak.with_field(events.PFCands, weights, "puppiWeight"), "PFCands")
    found = attribute(jt.load_tagger(folder, threads=1), changed, TARGET, method="occlusion", prefix="x")
    unseen = events.FatJetPFCands.pFCandsIdx % 3 == 0
    values = [value for value in flat(found.FatJetPFCands.x_occlusion[unseen]) if value is not None]
    assert values
    assert set(values) == {0.0}
    assert any(flat(found.FatJetPFCands.x_occlusion[~unseen]))


def test_missing_events_and_jets_stay_missing(tagger: jt.Tagger, events: ak.Array) -> None:
    masked = ak.mask(events, np.arange(len(events)) != 2)
    found = attribute(tagger, masked, "probHbb", method="occlusion")
    whole = attribute(tagger, events, "probHbb", method="occlusion")
    column = "tinyParT_probHbb_occlusion"
    assert found.FatJetPFCands[column].tolist()[2] is None
    for event in (0, 1, 3, 4):
        assert found.FatJetPFCands[column].tolist()[event] == pytest.approx(
            whole.FatJetPFCands[column].tolist()[event], abs=1e-6
        )
    none = attribute(tagger, events, "probHbb", method="occlusion", where="pt > 1000000")
    assert set(flat(none.FatJetPFCands[column])) == {None}
    assert len(attribute(tagger, events[:0], "probHbb", method="occlusion")) == 0


def test_dask_gives_what_memory_gives(tagger: jt.Tagger, events: ak.Array) -> None:
    dask_awkward = pytest.importorskip("dask_awkward")
    lazy = dask_awkward.from_awkward(events, npartitions=3)
    kept = ("FatJetPFCands", "FatJetSVs", "FatJet")
    for where in (None, "pt > 250"):
        eager = attribute(tagger, events, TARGET, method="occlusion", where=where)
        late = attribute(tagger, lazy, TARGET, method="occlusion", where=where)
        assert f"{COLUMN}_occlusion" in late.FatJetPFCands.fields
        result = late.compute(scheduler="sync")
        for name in kept:
            column = COLUMN if name == "FatJet" else f"{COLUMN}_occlusion"
            assert (
                str(late[name][column]._meta.type).split("*", 1)[1] == str(result[name][column].type).split("*", 1)[1]
            )
            one, other = (np.array(flat(array[name][column]), dtype=float) for array in (eager, result))
            np.testing.assert_allclose(other, one, atol=1e-5)
    mask = attribute(tagger, lazy, TARGET, method="occlusion", where=lazy.FatJet.pt > 250)
    one = np.array(flat(mask.compute(scheduler="sync").FatJetPFCands[f"{COLUMN}_occlusion"]), dtype=float)
    np.testing.assert_allclose(one, np.array(flat(eager.FatJetPFCands[f"{COLUMN}_occlusion"]), dtype=float), atol=1e-5)


def sorted_lists(column: Any, jets: int, rows: list[int]) -> list[list[float]]:
    """The values of each jet, from a flat column and the jet of each row."""
    return [sorted(value for value, row in zip(column, rows, strict=True) if row == jet) for jet in range(jets)]


def test_tables_have_lists_beside_those_of_the_constituents(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(TRACKS, SHAPE))
    recurrent(folder / "model.onnx")
    events = weightless_events()
    jets = nano_table(events)
    tagger = jt.load_tagger(folder, threads=1)
    target = tagger.bundle.outputs[0].name
    of_table = attribute(tagger, jets, target, method="occlusion", prefix="x")
    lists = of_table.part_x_occlusion
    assert ak.num(lists).tolist() == ak.num(jets.part_px).tolist()
    of_events = attribute(tagger, events, target, method="occlusion", prefix="x")
    n_jets = len(flat(events.FatJet.pt))
    want = sorted_lists(
        [value or 0 for value in flat(of_events.FatJetPFCands.x_occlusion)], n_jets, jet_of_rows(events)
    )
    assert n_jets == len(jets)
    for jet, values in enumerate(lists.tolist()):
        if values is not None:
            assert sorted(values) == pytest.approx(want[jet], abs=1e-4)
    np.testing.assert_allclose(
        np.array(of_table.x.tolist(), dtype=float), np.array(flat(of_events.FatJet.x), dtype=float), atol=1e-4
    )
    with pytest.raises(MismatchError, match="already"):
        attribute(tagger, of_table, target, method="occlusion", prefix="x")


def test_delphes_events_have_lists_of_their_jets(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(TRACKS, SHAPE))
    recurrent(folder / "model.onnx")
    events = events_of(4, seed=2)
    tagger = jt.load_tagger(folder, threads=1)
    target = tagger.bundle.outputs[0].name
    found = attribute(tagger, events, target, method="occlusion", prefix="x")
    scores = tagger(events)[target]
    for numbers, lists, event in zip(
        found.JetPUPPIAK8.x.tolist(), found.JetPUPPIAK8.x_occlusion.tolist(), scores.tolist(), strict=True
    ):
        for number, values, score in zip(numbers, lists, event, strict=True):
            assert (number is None) == (values is None) == (score is None)
            assert score is None or (number == pytest.approx(score, abs=1e-5) and len(values) > 0)


@pytest.mark.slow
@pytest.mark.data
def test_jets_of_delphes_files_are_drawn(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The constituents in the picture are those of the contributions, in the same order."""
    folder = weaver_bundle(tmp_path / "toy")
    path = str(shared / "sophon/events_delphes_example.root")
    tagger = jt.load_tagger(folder, threads=1)
    scorer = Scorer(tagger, tagger.bundle.outputs[0].name)
    sample = sample_of([path], tagger)
    clouds = jet_clouds(scorer, sample, ExplainSettings(method="occlusion"))
    assert (clouds.reason, len(clouds.jets)) == ("", 1)
    with DelphesFile(path) as file:
        events = file.read("JetPUPPIAK8", 0, file.n_events)
    found = attribute(tagger, events, scorer.target, method="occlusion", prefix="x")
    lists = [values for event in found.JetPUPPIAK8.x_occlusion.tolist() for values in event if values is not None]
    assert any(len(values) == len(clouds.contributions[0]) for values in lists)
    same = [values for values in lists if len(values) == len(clouds.contributions[0])]
    assert any(np.allclose(values, clouds.contributions[0], atol=1e-5) for values in same)
    jet = clouds.jets[0]
    assert len(jet.part_px) == len(clouds.contributions[0])
    line = ["explain", path, "-m", str(folder), "-d", scorer.target.name, "--method", "occlusion", "-n", "3"]
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    assert main([*line, "-o", str(tmp_path / "out"), "--threads", "1"]) == 0
    assert (tmp_path / "out" / "jets.png").exists()
    assert "no jets are drawn" not in capsys.readouterr().out


def test_tables_of_events_and_weaver(tmp_path: Path) -> None:
    folder = weaver_bundle(tmp_path / "toy")
    jets = table(9, seed=3)
    tagger = jt.load_tagger(folder, threads=1)
    target = tagger.bundle.outputs[0].name
    found = attribute(tagger, jets, target, method="occlusion", prefix="x")
    scores = tagger(jets)[target].tolist()
    for number, values, score, jet in zip(found.x, found.part_x_occlusion, scores, jets, strict=True):
        assert (number is None) == (values is None) == (score is None)
        assert score is None or (number == pytest.approx(score, abs=1e-5) and len(values) == len(jet.part_px))


def test_a_number_that_is_constant_is_said(tagger: jt.Tagger, events: ak.Array) -> None:
    with pytest.warns(AttributionWarning, match="is constant: 1 for all"):
        attribute(tagger, events, "probHbb / probHbb", method="occlusion", prefix="one")


def test_gradients_that_vanish_are_said(tagger: jt.Tagger, events: ak.Array) -> None:
    pytest.importorskip("torch")
    with pytest.warns(AttributionWarning) as caught:
        attribute(tagger, events, "probHbb / probHbb", prefix="one")
    texts = [str(item.message) for item in caught]
    assert len(texts) == 2
    assert "has no gradient" in texts[1]


def test_bad_input_is_refused(tagger: jt.Tagger, events: ak.Array, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="nearest: HbbvsQCD"):
        attribute(tagger, events, "HbbvsQDC")
    with pytest.raises(UnknownName, match="occlusion"):
        attribute(tagger, events, TARGET, method="oclusion")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="nearest: pfcand_dz"):
        attribute(tagger, events, TARGET, variables=["pfcand_dzz"])
    with pytest.raises(MismatchError, match="variables have no columns"):
        attribute(tagger, events, TARGET, method="occlusion", variables=["pfcand_dz"])
    with pytest.raises(MismatchError, match="a baseline is for the method 'integrated'"):
        attribute(tagger, events, TARGET, baseline=no_constituents(tagger.bundle))
    with pytest.raises(MismatchError, match="prefix"):
        attribute(tagger, events, TARGET, prefix="a b")
    with pytest.raises(MissingColumns, match="lacks columns that the model"):
        attribute(tagger, events[["FatJet"]], TARGET, method="occlusion")
    with pytest.raises(ConfigError):
        attribute(tagger, events, TARGET, method="occlusion", where="pt >")
    again = attribute(tagger, events, TARGET, method="occlusion")
    with pytest.raises(MismatchError, match="already"):
        attribute(tagger, again, TARGET, method="occlusion")


def test_images_have_no_constituents(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(IMAGE))
    convolutions(folder / "model.onnx")
    with pytest.raises(MismatchError, match="its pixels are no constituents"):
        attribute(jt.load_tagger(folder, threads=1), make_events(2, seed=1), "probb")


def test_the_processor_gives_what_events_give(tmp_path: Path) -> None:
    processor = pytest.importorskip("coffea.processor")
    nanoevents = pytest.importorskip("coffea.nanoevents")
    from jettagger.processors import Attribution

    path = str(write_pfnano(tmp_path / "nano.root", 9, seed=4, constituents=12))
    run = processor.Runner(
        executor=processor.IterativeExecutor(status=False),
        schema=nanoevents.PFNanoAODSchema,
        savemetrics=False,
        chunksize=4,
    )
    instance = Attribution("tinyParT", TARGET, method="occlusion", where=high)
    result = run({"qcd": {"files": {path: "Events"}}}, processor_instance=pickle.loads(pickle.dumps(instance)))["qcd"]
    events = make_events(9, seed=4, constituents=12)
    expected = attribute(jt.load_tagger("tinyParT"), events, TARGET, method="occlusion", where="pt > 250")
    assert result["events"] == 9
    assert result["jets"] == ak.count(expected.FatJet[COLUMN]) > 0
    for name in ("FatJetPFCands", "FatJetSVs"):
        one, other = (
            np.array(flat(column), dtype=float)
            for column in (result["columns"][f"{name}_{COLUMN}_occlusion"], expected[name][f"{COLUMN}_occlusion"])
        )
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert flat(result["columns"]["FatJetPFCands_pFCandsIdx"]) == flat(events.FatJetPFCands.pFCandsIdx)
    assert "FatJet_pt" in result["columns"]
    with pytest.raises(UnknownName, match="HbbvsQCD"):
        Attribution("tinyParT", "HbbvsQDC")


def high(jets: Any) -> Any:
    return jets.pt > 250


@pytest.mark.slow
def test_memory_does_not_grow_with_the_events() -> None:
    tagger = jt.load_tagger("tinyParT", threads=1, block_bytes=100_000)
    few, many = (make_events(n_events, seed=3, constituents=12) for n_events in (30, 240))
    attribute(tagger, few, TARGET, method="occlusion")  # what is made once

    def attributed(events: Any) -> None:
        assert len(attribute(tagger, events, TARGET, method="occlusion")) == len(events)

    peaks = [traced_peak(partial(attributed, events)) for events in (few, many)]
    # what remains are links and new columns of all events
    assert peaks[1] < peaks[0] + 3 * many.nbytes
