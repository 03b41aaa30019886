"""Heads: in the same pass, on skims, on nothing but their own parent, whole or refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from heads import INPUTS, make_head, numbers, random_mlp

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import (
    BundleError,
    JettaggerError,
    MismatchError,
    MissingColumns,
    MissingModelFile,
    ModelFileError,
)
from jettagger.heads import Head, fold_of, load_head, write_head
from jettagger.skims.skim import make_job
from jettagger.testing import make_events, write_pfnano

MODEL = "inclParTToyV1"


def with_met(events: Any) -> Any:
    rng = np.random.default_rng(5)
    met = ak.zip({"pt": rng.exponential(50, len(events)), "phi": rng.uniform(-3, 3, len(events))})
    return ak.with_field(events, ak.values_astype(met, np.float32), "MET")


def as_skim(events: Any, prefix: str = MODEL) -> Any:
    """What a skim of tagged events holds: flat columns."""
    flat = {"event": events.event, "MET_pt": events.MET.pt, "MET_phi": events.MET.phi}
    flat |= {f"FatJet_{name}": events.FatJet[name] for name in events.FatJet.fields if name in ("pt", "eta", "phi")}
    flat |= {f"FatJet_{name}": events.FatJet[name] for name in events.FatJet.fields if name.startswith(prefix)}
    return ak.zip(flat, depth_limit=1)


def written(events: Any, path: Path) -> Any:
    """The skim, through a parquet file."""
    skim = as_skim(events)
    jt.write_skim(path, [{name: skim[name] for name in skim.fields}], "{}")
    return ak.from_parquet(path)


@pytest.fixture(scope="module")
def events() -> Any:
    return with_met(make_events(14, seed=4))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "mass"])
def test_in_the_same_pass_and_on_a_skim_the_numbers_are_the_same(kind: Any, events: Any, tmp_path: Path) -> None:
    part = random_mlp(len(INPUTS), 2 if kind == "classes" else 1, seed=3, activation="silu")
    head = make_head(tmp_path / "head", kind=kind, parts=[part])
    tagger = jt.load_tagger(MODEL, threads=1).with_heads(head)
    tagged = tagger.attach(events, where=events.FatJet.pt > 280)
    skim = head.attach(written(tagged, tmp_path / "skim.parquet"))
    inputs, scored = [], None
    for name in INPUTS:
        column = tagged.FatJet[name.removeprefix("FatJet_")] if name == "FatJet_pt" else None
        if name == "MET_pt":
            column = ak.broadcast_arrays(tagged.MET.pt, tagged.FatJet.pt)[0]
        elif name == "FatJet_metDeltaPhi":
            column = abs((tagged.MET.phi - tagged.FatJet.phi + np.pi) % (2 * np.pi) - np.pi)  # by events
        elif column is None:
            column = tagged.FatJet[f"{MODEL}_{name}"]
            scored = ~ak.is_none(ak.flatten(column)).to_numpy() if scored is None else scored
        inputs.append(np.asarray(ak.fill_none(ak.flatten(column), np.nan)))
    assert scored is not None
    expected = numbers(part, np.stack(inputs, axis=1), kind, mass=INPUTS.index("mass"))
    assert 0 < scored.sum() < len(scored)
    for index, column in enumerate(head.columns):
        in_pass = ak.flatten(tagged.FatJet[column])
        assert ak.is_none(in_pass).tolist() == (~scored).tolist()
        np.testing.assert_allclose(in_pass[scored].to_numpy(), expected[scored, index], rtol=2e-5)
        for other in (skim[f"FatJet_{column}"], head(tagged)[head.card.outputs[index]]):
            assert ak.is_none(ak.flatten(other)).tolist() == (~scored).tolist()
            np.testing.assert_allclose(ak.flatten(other)[scored].to_numpy(), in_pass[scored].to_numpy(), rtol=1e-6)


def test_the_other_columns_stay_what_they_were(events: Any, tmp_path: Path) -> None:
    head = make_head(tmp_path / "head")
    plain = jt.load_tagger(MODEL, threads=1)
    tagger = plain.with_heads(head)
    with_head, without = tagger.attach(events, columns=["mass"]), plain.attach(events, columns=["mass"])
    assert set(with_head.FatJet.fields) - set(without.FatJet.fields) == set(head.columns)
    assert with_head.FatJet[f"{MODEL}_mass"].tolist() == without.FatJet[f"{MODEL}_mass"].tolist()
    assert tagger(events).fields == [*plain(events).fields, *head.columns]
    assert "with Toy" in repr(tagger)
    assert "168 outputs" in repr(tagger)


def test_an_untrained_mass_head_gives_the_tagger_s_own_mass(events: Any, tmp_path: Path) -> None:
    from jettagger.heads import Mlp

    part = random_mlp(len(INPUTS), 1)
    zero = Mlp(part.center, part.width, [part.layers[0], (np.zeros((1, 8)), np.zeros(1))])
    head = make_head(tmp_path / "head", kind="mass", parts=[zero])
    tagged = jt.load_tagger(MODEL, threads=1).with_heads(head).attach(events)
    assert tagged.FatJet.Toy_mass.tolist() == tagged.FatJet[f"{MODEL}_mass"].tolist()


def test_a_missing_input_of_a_scored_jet_gives_nan(events: Any, tmp_path: Path) -> None:
    head = make_head(tmp_path / "head")
    met = ak.where(np.arange(len(events)) == 2, np.nan, events.MET.pt)
    broken = ak.with_field(events, ak.values_astype(met, np.float32), ("MET", "pt"))
    tagged = jt.load_tagger(MODEL, threads=1).with_heads(head).attach(broken)
    found = tagged.FatJet.Toy_probA
    assert np.isnan(found[2].to_numpy()).all()
    assert np.isfinite(ak.flatten(found[np.arange(len(events)) != 2]).to_numpy()).all()
    assert ak.sum(ak.num(found[2:3])) > 0


def test_each_event_gets_the_network_of_its_fold(events: Any, tmp_path: Path) -> None:
    parts = [random_mlp(len(INPUTS), 2, seed) for seed in range(3)]
    head = make_head(tmp_path / "head", parts=parts)
    rng = np.random.default_rng(0)
    x, event = rng.normal(0, 30, (50, len(INPUTS))).astype("f4"), rng.integers(0, 2**50, 50)
    found = head.compute(x, event)
    fold = fold_of(event, 3)
    assert set(fold) == {0, 1, 2}
    for index in range(3):
        expected = numbers(parts[index], x[fold == index], "classes")
        np.testing.assert_allclose(found[fold == index], expected, rtol=2e-5)
    with pytest.raises(MismatchError, match="needs the event numbers"):
        head.compute(x)
    tagged = jt.load_tagger(MODEL, threads=1).with_heads(head).attach(events)
    assert head.attach(as_skim(tagged)).FatJet_Toy_probA.tolist() == tagged.FatJet.Toy_probA.tolist()
    without = as_skim(tagged)[[name for name in as_skim(tagged).fields if name != "event"]]
    with pytest.raises(MissingColumns, match="event"):
        head(without)


def test_folds_are_even_and_the_same_for_all_integer_types() -> None:
    events = np.arange(30_000)
    for folds in (2, 5):
        counts = np.bincount(fold_of(events, folds), minlength=folds)
        assert abs(counts / len(events) - 1 / folds).max() < 5 * np.sqrt(0.25 / len(events))
        assert fold_of(events.astype(np.uint64), folds).tolist() == fold_of(events.astype(np.int32), folds).tolist()
    both = np.mean((fold_of(events, 2) == 1) & (fold_of(events, 2, salt=1) == 1))
    assert abs(both - 0.25) < 5 * np.sqrt(0.25 / len(events))


def test_variations_of_the_jet_reach_the_head(events: Any, tmp_path: Path) -> None:
    head = make_head(tmp_path / "head")
    tagger = jt.load_tagger(MODEL, threads=1).with_heads(head)
    moved = tagger.attach(events, kinematics={"pt": events.FatJet.pt * 1.1})
    skim = as_skim(moved)
    by_hand = ak.with_field(skim, skim.FatJet_pt * np.float32(1.1), "FatJet_pt")
    np.testing.assert_allclose(
        ak.flatten(moved.FatJet.Toy_probA).to_numpy(), ak.flatten(head(by_hand).probA).to_numpy(), rtol=1e-5
    )


def test_a_head_belongs_to_its_parent(tmp_path: Path) -> None:
    head = make_head(tmp_path / "head")
    with pytest.raises(MismatchError, match=r"'Toy' was trained on 'inclParTToyV1' .* the model 'tinyParT' .* has the"):
        jt.load_tagger("tinyParT").with_heads(head)
    tagger = jt.load_tagger(MODEL).with_heads(head)
    with pytest.raises(MismatchError, match="two heads have the same name"):
        tagger.with_heads(head)
    with pytest.raises(MismatchError, match="prefix 'Toy' gives columns that a head also gives: Toy_mass"):
        jt.load_tagger(MODEL).with_heads(make_head(tmp_path / "m", kind="mass")).column_names(["mass"], prefix="Toy")


def test_what_the_events_lack_is_said_before_anything_runs(tmp_path: Path) -> None:
    head = make_head(tmp_path / "head")
    tagger = jt.load_tagger(MODEL).with_heads(head)
    events = make_events(3, seed=1)
    events = events[[name for name in events.fields if name != "MET"]]
    with pytest.raises(MissingColumns, match=r"MET_pt; FatJet_metDeltaPhi \(or, to make it, MET_phi\)"):
        tagger(events)
    with pytest.raises(MissingColumns, match=r"FatJet_inclParTToyV1_hidNeurons000"):
        head(events)


def test_taggers_with_heads_travel(events: Any, tmp_path: Path) -> None:
    tagger = jt.load_tagger(MODEL, threads=1).with_heads(make_head(tmp_path / "head").folder)
    sent = pickle.dumps(tagger)
    assert len(sent) < 10_000
    assert pickle.loads(sent)(events).Toy_probA.tolist() == tagger(events).Toy_probA.tolist()
    description = tmp_path / "head" / "head.json"
    description.write_text(description.read_text() + "\n")
    with pytest.raises(BundleError, match="not the one that was sent"):
        pickle.loads(sent)


def test_dask_awkward_collections(events: Any, tmp_path: Path) -> None:
    dask_awkward = pytest.importorskip("dask_awkward", reason="the extra dask-awkward is not installed")
    tagger = jt.load_tagger(MODEL, threads=1).with_heads(make_head(tmp_path / "head"))
    lazy = tagger.attach(dask_awkward.from_awkward(events, 2))
    found, expected = lazy.FatJet.Toy_probA.compute(), tagger.attach(events).FatJet.Toy_probA
    np.testing.assert_allclose(ak.flatten(found).to_numpy(), ak.flatten(expected).to_numpy(), rtol=1e-5)


@pytest.mark.slow
def test_the_command_runs_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = make_head(tmp_path / "head", inputs=("hidNeurons001", "FatJet_pt", "FatJet_eta"))
    nano = write_pfnano(tmp_path / "nano.root", 5, seed=1)
    out = tmp_path / "skim.parquet"
    assert main(["tag", str(nano), "--model", MODEL, "--head", str(head.folder), "-o", str(out)]) == 0
    skim = ak.from_parquet(out)
    assert head(skim).probB.tolist() == skim.FatJet_Toy_probB.tolist()
    assert ak.count(skim.FatJet_Toy_probB) > 0
    assert main(["tag", str(nano), "--model", MODEL, "--head", str(tmp_path), "-o", str(tmp_path / "b.root")]) == 2
    assert "has no head.json, so it is not a head" in capsys.readouterr().err


def test_a_selection_in_the_command_leaves_heads_their_columns(tmp_path: Path) -> None:
    """With a selection constituents are read for few events; what heads read is among it, kept or not."""
    head = make_head(tmp_path / "head", inputs=("hidNeurons001", "FatJet_pt", "FatJet_eta"), folds=2)
    tagger = jt.load_tagger(MODEL, threads=1).with_heads(head)
    nano = str(write_pfnano(tmp_path / "nano.root", 30, seed=1))
    job = make_job([nano], tagger, where="pt > 300", columns=["mass"])
    assert {"FatJet.pt", "FatJet.eta", "event"} <= set(job.needed) <= set(job.inputs)
    some, _ = job.process(job.chunks[0])
    everything = make_job([nano], tagger, columns=["mass"])
    full, _ = everything.process(everything.chunks[0])
    passing = ak.flatten(full["FatJet_pt"]) > 300
    assert 0 < ak.sum(passing) < len(passing)
    for column in head.columns:
        found, wanted = ak.flatten(some[f"FatJet_{column}"]), ak.flatten(full[f"FatJet_{column}"])
        assert ak.is_none(found).tolist() == (~passing | ak.is_none(wanted)).tolist()
        np.testing.assert_allclose(
            ak.drop_none(found).to_numpy(), ak.drop_none(wanted[passing]).to_numpy(), rtol=1e-4, atol=1e-6
        )


def test_a_tagger_s_token_knows_its_heads(tmp_path: Path) -> None:
    plain = jt.load_tagger(MODEL, threads=1)
    one = plain.with_heads(make_head(tmp_path / "one"))
    two = plain.with_heads(make_head(tmp_path / "two", "Other"))
    assert len({tagger.__dask_tokenize__() for tagger in (plain, one, two)}) == 3
    assert one.__dask_tokenize__() == pickle.loads(pickle.dumps(one)).__dask_tokenize__()


def broken(folder: Path, how: str) -> None:
    card = folder / "head.json"
    content = json.loads(card.read_text())
    if how == "no description":
        card.unlink()
    elif how == "no network":
        (folder / "head.onnx").unlink()
    elif how == "flipped byte":
        data = bytearray((folder / "head.onnx").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "head.onnx").write_bytes(data)
    elif how == "truncated":
        card.write_text(card.read_text()[:100])
    elif how == "version":
        card.write_text(json.dumps(content | {"schema_version": 7}))
    elif how == "unknown key":
        card.write_text(json.dumps(content | {"fold": 1}))
    elif how == "twice":
        content["inputs"][1] = content["inputs"][0]
        card.write_text(json.dumps(content))
    elif how == "other names":
        content["inputs"][0]["name"] = "hidNeurons127x"
        card.write_text(json.dumps(content))
    elif how == "other metrics":
        card.write_text(json.dumps(content | {"metrics": {"auc": 0.9}}))
    elif how == "other folds":
        card.write_text(json.dumps(content | {"folds": 2}))
    elif how == "no model":
        from jettagger.sessions.graph import file_sha256

        (folder / "head.onnx").write_bytes(b"\x00\x01\x02")
        card.write_text(json.dumps(content | {"sha256": file_sha256(folder / "head.onnx")}))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("no description", MissingModelFile, "has no head.json, so it is not a head; it holds head.onnx"),
        ("no network", MissingModelFile, "has no head.onnx: the folder of the head 'Toy' is not complete"),
        ("flipped byte", BundleError, "is damaged or was replaced: its SHA-256 is"),
        ("truncated", BundleError, "is not valid JSON"),
        ("version", BundleError, "schema_version is 7, this version of jettagger reads 1"),
        ("unknown key", BundleError, r"unknown key 'fold' \(nearest: folds"),
        ("twice", BundleError, "inputs appear twice: hidNeurons000"),
        ("other names", BundleError, r"its inputs are not those of head.json \(first: 'hidNeurons127x'"),
        ("other folds", BundleError, "head.json asks for"),
        ("other metrics", BundleError, "is damaged or was edited: its content does not match its 'checksum'"),
        ("no model", ModelFileError, "is not a readable ONNX model"),
    ],
)
def test_a_damaged_folder_is_refused(how: str, error: type[JettaggerError], message: str, tmp_path: Path) -> None:
    folder = make_head(tmp_path / "head").folder
    assert isinstance(load_head(folder), Head)
    broken(folder, how)
    with pytest.raises(error, match=message):
        load_head(folder)


def test_a_description_without_a_checksum_is_used_as_it_is(tmp_path: Path) -> None:
    folder = make_head(tmp_path / "head", training={"nested": {1: float("nan"), "text": "ä"}}).folder
    content = json.loads((folder / "head.json").read_text())
    assert content.pop("checksum") == load_head(folder).card.checksum != ""
    (folder / "head.json").write_text(json.dumps(content | {"title": "by hand"}))
    assert load_head(folder).card.title == "by hand"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingModelFile, match="is not a folder, expected one of a head"):
        load_head(tmp_path / "nothing")


def test_the_file_of_a_head_is_plain_onnx(tmp_path: Path) -> None:
    head = make_head(tmp_path / "head", training={"seed": 3}, metrics={"auc": 0.9})
    model = onnx.load(head.folder / "head.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {item.key for item in model.metadata_props} == {"inputs", "outputs"}
    training = dict(head.card.training)
    assert training.pop("provenance")["digest"] == head.card.parent.digest
    assert training == {"seed": 3}
    assert head.card.metrics == {"auc": 0.9}
    assert head.card.parent.digest == jt.load_bundle(MODEL).digest
    again = make_head(tmp_path / "again", training={"seed": 3}, metrics={"auc": 0.9})
    assert again.digest == head.digest


def test_wrong_shapes_and_a_mass_head_without_the_mass(tmp_path: Path) -> None:
    head = make_head(tmp_path / "head")
    with pytest.raises(MismatchError, match=r"inputs of the shape \[3, 2\].*expected \[jets, 132\]"):
        head.compute(np.zeros((3, 2)))
    assert head.compute(np.zeros((0, 132))).shape == (0, 2)
    with pytest.raises(MismatchError, match="'mass' among its inputs"):
        write_head(
            tmp_path,
            name="M",
            kind="mass",
            parent=jt.load_bundle(MODEL),
            inputs=["MET_pt"],
            outputs=["mass"],
            parts=[random_mlp(1, 1)],
        )


def test_applying_heads_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = make_head(tmp_path / "head", inputs=("hidNeurons001", "FatJet_pt")).folder
    code = (
        "import sys, jettagger as jt; from jettagger.testing import make_events; "
        f"jt.load_tagger('{MODEL}', threads=1).with_heads({str(folder)!r})(make_events(2, seed=1)); "
        "assert not {'torch', 'sklearn', 'xgboost', 'onnxmltools', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(jt.__file__).parent.parent)
