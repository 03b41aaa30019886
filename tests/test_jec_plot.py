"""Estimates of jets from files, the commands 'jec plot' and 'jec standard', and their pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from jettagger.cli import main
from jettagger.errors import (
    ConfigError,
    InputFileError,
    JettaggerError,
    MismatchError,
    MissingColumns,
    OutputError,
    UnknownName,
)
from jettagger.files.root import write_tree
from jettagger.jec import (
    EstimateSource,
    RawJets,
    StandardCorrection,
    derive_from_files,
    fill_standard,
    jet_estimates,
    measure_estimates,
    performance_figures,
    read_estimates,
    read_shard,
    write_data,
    write_performance,
    write_shard,
)
from jettagger.provenance import read_provenance

JETS = ("pt", "eta", "area", "rho", "num_pv", "pt_gen", "eta_gen", "hadron_flavor", "parton_flavor")


def make_shards(folder: Path, files: int = 3, jets: int = 300, **more) -> Path:
    """Shards with charged constituents, whose response is 0.9 with an offset of half of rho * area."""
    rng = np.random.default_rng(3)
    (folder / "shards").mkdir(parents=True)
    for number in range(files):
        pt_gen = np.exp(rng.uniform(np.log(20), np.log(500), jets))
        rho, area = rng.uniform(5, 40, jets), rng.normal(0.5, 0.02, jets)
        columns = {
            "pt": pt_gen * rng.normal(0.9, 0.05, jets) + 0.5 * rho * area,
            "eta": rng.uniform(-4, 4, jets),
            "area": area,
            "rho": rho,
            "num_pv": rng.poisson(30, jets),
            "pt_gen": pt_gen,
            "hadron_flavor": rng.choice([0, 4, 5], jets),
            "parton_flavor": rng.choice([21, 1, -2, 5], jets),
        }
        columns["eta_gen"] = columns["eta"] + 0.01
        columns |= {name: make(jets) for name, make in more.items()}
        counts = rng.poisson(2, jets)
        columns = {
            name: values.astype(np.float32 if values.dtype.kind == "f" else np.int32)
            for name, values in columns.items()
        }
        columns["ch_pt"] = rng.exponential(2, counts.sum()).astype(np.float32)
        columns["ch_id"] = rng.integers(0, 3, counts.sum()).astype(np.int32)
        write_shard(folder / "shards" / f"{number}.root", RawJets(columns, {"ch": counts}))
    write_data(folder, {f"shards/{number}.root": jets for number in range(files)})
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("jec") / "jets")


def column(folder: Path, name: str, numbers=range(3)) -> np.ndarray:
    return np.concatenate(
        [read_shard(folder / f"shards/{number}.root", {"global": [name]}).columns[name] for number in numbers]
    )


def test_predictions_are_logarithms_of_factors_on_the_uncorrected_pt(shards: Path, tmp_path: Path):
    logs = np.linspace(-0.1, 0.1, 600).astype(np.float32)
    np.save(tmp_path / "a.npy", logs)
    np.save(tmp_path / "b.npy", -logs[:, None])
    options = EstimateSource(
        estimates={"scaled": "pt * 1.1"},
        predictions={"a": str(tmp_path / "a.npy"), "b": str(tmp_path / "b.npy")},
        raw=True,
        start=1,
    )
    jets = read_estimates([shards], options)
    pt = column(shards, "pt", (1, 2))
    assert jets.estimates["Raw"] == pytest.approx(pt)
    assert jets.estimates["scaled"] == pytest.approx(1.1 * pt, rel=1e-6)
    assert jets.estimates["a"] == pytest.approx(pt * np.exp(logs), rel=1e-6)
    assert jets.estimates["b"] == pytest.approx(pt / np.exp(logs), rel=1e-6)
    hadron, parton = column(shards, "hadron_flavor", (1, 2)), column(shards, "parton_flavor", (1, 2))
    assert (jets.flavour == np.where(hadron != 0, hadron, np.abs(parton))).all()
    assert (jets.pt_gen == column(shards, "pt_gen", (1, 2))).all()
    assert (jets.weight == 1).all()


def test_predicted_quantiles_are_intervals(shards: Path, tmp_path: Path):
    columns = {"ptRawCorr": np.full(900, 1.1), "ptRawCorrDown": np.full(900, 1.0), "ptRawCorrUp": np.full(900, 1.25)}
    np.savez(tmp_path / "a.npz", **columns)
    jets = read_estimates([shards], EstimateSource(predictions={"a": str(tmp_path / "a.npz")}))
    pt, pt_gen = (column(shards, name).astype(float) for name in ("pt", "pt_gen"))
    assert jets.estimates["a"] == pytest.approx(1.1 * pt)
    covered = measure_estimates(jets, pt_edges=[10, 1000], eta_edges=[0, 5], replicas=2).coverage["a"]["pt_gen"]
    assert covered.value[0, 0] == pytest.approx(np.mean((pt <= pt_gen) & (pt_gen <= 1.25 * pt)))
    with np.load(tmp_path / "a.npz") as archive:
        np.savez(tmp_path / "b.npz", ptRawCor=archive["ptRawCorr"])
    with pytest.raises(InputFileError, match=r"no array ptRawCorr .nearest: ptRawCor"):
        read_estimates([shards], EstimateSource(predictions={"a": str(tmp_path / "b.npz")}))


def test_a_constant_of_simulation_is_no_standard_correction(tmp_path: Path):
    folder = make_shards(tmp_path / "jets", files=1, event=lambda jets: np.arange(jets) // 2)
    path = folder / "shards/0.root"
    names = {"global": [*JETS, "event"], "ch": ["ch_pt", "ch_id"]}
    jets = read_shard(path, names)
    constant = np.asarray(jets.columns["pt"] / 0.998, dtype=np.float32)
    write_shard(path, RawJets({**jets.columns, "pt_full_corr": constant}, jets.counts), force=True)
    found = read_estimates([folder])
    assert list(found.estimates) == ["pt"]
    assert "pt_full_corr over pt is 1.002" in found.notes[0]
    assert (found.event == np.arange(300) // 2).all()


def test_weights_of_shards_are_used(tmp_path: Path):
    folder = make_shards(tmp_path / "jets", files=1, weight=lambda jets: np.linspace(1, 2, jets))
    jets = read_estimates([folder], EstimateSource({"a": "pt"}))
    assert jets.weight == pytest.approx(np.linspace(1, 2, 300))
    other = read_estimates([folder], EstimateSource({"a": "pt"}, weight="area"))
    assert other.weight == pytest.approx(column(folder, "area", (0,)))


def test_the_standard_of_shards_is_derived_and_filled(shards: Path, tmp_path: Path):
    shutil.copytree(shards, tmp_path / "in")
    (tmp_path / "in/transform.yaml").write_text("numerical: {}\n")
    correction = derive_from_files([tmp_path / "in"], start=0, stop=2, min_jets=100)
    assert correction.record["jets"] == 600
    assert fill_standard(correction, tmp_path / "in", tmp_path / "out") == 900
    assert (tmp_path / "out/transform.yaml").read_text() == "numerical: {}\n"
    assert read_provenance(tmp_path / "out/shards/0.root")["step"] == "jec standard"
    branches = {"global": list(JETS), "ch": ["ch_pt", "ch_id"]}
    for number in range(3):
        before = read_shard(tmp_path / f"in/shards/{number}.root", branches)
        after = read_shard(tmp_path / f"out/shards/{number}.root", {**branches, "global": [*JETS, "pt_full_corr"]})
        assert (before.counts["ch"] == after.counts["ch"]).all()
        for name, values in before.columns.items():
            assert after.columns[name].dtype == values.dtype
            assert (after.columns[name] == values).all()
        expected = after.columns["pt"] * correction.factor(*(after.columns[name] for name in JETS[:5]))
        assert after.columns["pt_full_corr"] == pytest.approx(expected, rel=1e-6)
    correction.save(tmp_path / "standard.json")
    filled = read_estimates([tmp_path / "out"])
    applied = read_estimates([tmp_path / "in"], EstimateSource(standard=str(tmp_path / "standard.json")))
    assert filled.estimates["Standard"] == pytest.approx(applied.estimates["Standard"], rel=1e-6)
    found = measure_estimates(filled, pt_edges=[30, 500], eta_edges=[0, 5], replicas=2)
    assert found.median["Standard"][0, 0, 0].value == pytest.approx(1, abs=0.01)
    with pytest.raises(OutputError, match="exist"):
        fill_standard(correction, tmp_path / "in", tmp_path / "out")
    with pytest.raises(OutputError, match="input"):
        fill_standard(correction, tmp_path / "in", tmp_path / "in", force=True)


def test_files_of_the_same_name_in_different_folders_stay_apart(tmp_path: Path):
    for part in ("a", "b"):
        make_shards(tmp_path / "in" / part, files=1)
    write_data(tmp_path / "in", {"a/shards/0.root": 300, "b/shards/0.root": 300})
    correction = derive_from_files([tmp_path / "in"])
    assert fill_standard(correction, tmp_path / "in", tmp_path / "out") == 600
    assert sorted(path.name for path in (tmp_path / "out/shards").iterdir()) == ["1.root", "2.root"]


# ---------------------------------------------------------------------------------------- events


def make_events(path: Path, factors: tuple[float, float] = (0.1, 0.2), number: int = 200) -> dict[str, ak.Array]:
    rng = np.random.default_rng(9)
    counts = np.full(number, 2)

    def jagged(values):
        return ak.unflatten(values, counts)

    pt_gen = rng.uniform(30, 200, 2 * number)
    factor = np.tile(factors, number)
    columns = {
        "Jet_pt": jagged(pt_gen * rng.normal(1, 0.1, 2 * number)),
        "Jet_eta": jagged(rng.uniform(-2, 2, 2 * number)),
        "Jet_area": jagged(np.full(2 * number, 0.5)),
        "Jet_rawFactor": jagged(factor),
        "Jet_genJetIdx": jagged(np.tile([1, 0], number)),
        "Jet_hadronFlavour": jagged(np.tile([5, 0], number)),
        "Jet_partonFlavour": jagged(np.tile([5, 21], number)),
        "Jet_mine_ptRawCorr": jagged(rng.normal(1.1, 0.01, 2 * number)),
        "Jet_mine_ptRawCorrUp": jagged(np.full(2 * number, 1.2)),
        "Jet_mine_ptRawCorrDown": jagged(np.full(2 * number, 1.0)),
        "GenJet_pt": jagged(pt_gen)[:, ::-1],
        "GenJet_eta": jagged(rng.uniform(-2, 2, 2 * number)),
        "fixedGridRhoFastjetAll": rng.uniform(5, 30, number),
        "PV_npvs": rng.poisson(30, number),
    }
    write_tree(path, [columns])
    return columns


def test_a_skim_gives_what_the_events_give(tmp_path: Path):
    columns = make_events(tmp_path / "nano.root")
    ak.to_parquet(ak.zip(columns, depth_limit=1), tmp_path / "skim.parquet")
    first, second = (read_estimates([tmp_path / name]) for name in ("nano.root", "skim.parquet"))
    assert list(first.estimates) == list(second.estimates) == ["Standard", "mine"]
    for label in first.estimates:
        assert (first.estimates[label] == second.estimates[label]).all()
    assert (first.event == second.event).all()
    raw = ak.flatten(columns["Jet_pt"] * (1 - columns["Jet_rawFactor"]))
    assert first.estimates["mine"] == pytest.approx(ak.to_numpy(raw * ak.flatten(columns["Jet_mine_ptRawCorr"])))
    assert first.intervals["mine"][1] == pytest.approx(ak.to_numpy(1.2 * raw))
    both = read_estimates([tmp_path / "nano.root", tmp_path / "skim.parquet"])
    assert len(both) == 2 * len(first)
    assert len(set(both.event)) == 400


def test_a_constant_factor_is_no_standard_correction(tmp_path: Path):
    make_events(tmp_path / "nano.root", factors=(0.1, 0.1))
    jets = read_estimates([tmp_path / "nano.root"])
    assert list(jets.estimates) == ["mine"]
    assert "Jet_rawFactor is 0.1 for all jets" in jets.notes[0]
    asked = read_estimates([tmp_path / "nano.root"], EstimateSource({"Standard": "pt"}))
    assert list(asked.estimates) == ["Standard"]


def test_a_standard_correction_is_evaluated_on_events(shards: Path, tmp_path: Path):
    columns = make_events(tmp_path / "nano.root", factors=(0.1, 0.1))
    correction = derive_from_files([shards])
    correction.save(tmp_path / "standard.json")
    jets = read_estimates([tmp_path / "nano.root"], EstimateSource(standard=str(tmp_path / "standard.json"), raw=True))
    assert list(jets.estimates) == ["Standard", "Raw", "mine"]
    raw = ak.flatten(columns["Jet_pt"] * 0.9).to_numpy()
    inputs = (np.repeat(columns[name], 2) for name in ("fixedGridRhoFastjetAll", "PV_npvs"))
    eta, area = (ak.flatten(columns[name]).to_numpy() for name in ("Jet_eta", "Jet_area"))
    assert jets.estimates["Standard"] == pytest.approx(raw * correction.factor(raw, eta, area, *inputs), rel=1e-6)
    assert jets.estimates["Raw"] == pytest.approx(raw)


# ---------------------------------------------------------------------------------------- bad inputs


def save(path: Path, array) -> str:
    np.save(path, array)
    return str(path)


def bad_inputs(tmp_path: Path, shards: Path) -> dict[str, tuple[type[JettaggerError], str, list, EstimateSource]]:
    nano = tmp_path / "nano.root"
    make_events(nano)
    write_tree(tmp_path / "other.root", [{"x": np.arange(3)}], tree="Other")
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.txt").write_text("x")
    short, matrix = (save(tmp_path / f"{n}.npy", np.zeros(shape)) for n, shape in (("short", 5), ("matrix", (900, 3))))
    (tmp_path / "standard.json").write_text("{}")
    return {
        "predictions of other jets": (
            MismatchError,
            "5 predictions for 900 jets",
            [shards],
            EstimateSource(predictions={"a": short}),
        ),
        "several columns": (InputFileError, r"shape \[900, 3\]", [shards], EstimateSource(predictions={"a": matrix})),
        "no array": (
            InputFileError,
            "text.npy",
            [shards],
            EstimateSource(predictions={"a": str(tmp_path / "text.npy")}),
        ),
        "predictions of events": (ConfigError, "belong to shards", [nano], EstimateSource(predictions={"a": short})),
        "two kinds": (ConfigError, "one kind", [shards, nano], EstimateSource()),
        "twice": (MismatchError, "given twice", [nano, nano], EstimateSource()),
        "nothing": (ConfigError, "no input", [], EstimateSource()),
        "range": (ConfigError, "range 7: of 3 files", [shards], EstimateSource({"a": "pt"}, start=7)),
        "no estimate": (MissingColumns, "pt_full_corr", [shards], EstimateSource()),
        "branch": (MissingColumns, "pt_corr", [shards], EstimateSource({"a": "pt_corr"})),
        "column": (MissingColumns, "Jet_PNetRegPtRawCorr", [nano], EstimateSource({"a": "raw_pt * PNetRegPtRawCorr"})),
        "target": (MissingColumns, "GenJet_ptNu", [nano], EstimateSource(target="ptNu")),
        "weight": (MissingColumns, "genWeight", [nano], EstimateSource(weight="genWeight")),
        "tree": (InputFileError, "neither a tree Events nor a tree Jets", [tmp_path / "other.root"], EstimateSource()),
        "text": (InputFileError, "expected a folder with data.yaml", [tmp_path / "text.txt"], EstimateSource()),
        "folder": (InputFileError, "data.yaml", [tmp_path / "absent"], EstimateSource()),
        "standard": (
            InputFileError,
            "not a standard correction",
            [nano],
            EstimateSource(standard=str(tmp_path / "standard.json")),
        ),
    }


def test_bad_inputs_are_named(tmp_path: Path, shards: Path):
    for error, text, sources, options in bad_inputs(tmp_path, shards).values():
        with pytest.raises(error, match=text):
            read_estimates(sources, options)
    with pytest.raises(UnknownName, match="collection of jets"):
        EstimateSource(collection="Jets")
    with pytest.raises(ConfigError, match="label Standard"):
        EstimateSource({"Standard": "pt"}, standard="a.json")


# ---------------------------------------------------------------------------------------- pictures and commands


def test_the_pictures_are_the_three_sets(tmp_path: Path):
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    rng = np.random.default_rng(1)
    pt, flavour = rng.uniform(30, 45, 400), rng.choice([1, 21], 400)
    jets = jet_estimates(pt, np.zeros(400), flavour, {"a": pt * rng.normal(1, 0.1, 400)})
    found = measure_estimates(jets, eta_edges=[0, 2.5, 5], pt_edges=[30, 45, 1000], flavours=["c", "g"], replicas=5)
    figures = dict(performance_figures(found))
    # nothing is drawn where there is no jet
    assert list(figures) == [
        "distributions/eta0-2.5",
        "summary/g_eta0-2.5",
        "flavours/response",
    ]
    assert [axes.get_ylabel() for axes in figures["summary/g_eta0-2.5"].axes] == ["Median response", "Resolution"]
    point = figures["summary/g_eta0-2.5"].axes[1].lines[0].get_ydata()
    assert point == pytest.approx([found.resolution["a"].value[1, 0, 0], np.nan], nan_ok=True)
    assert figures["summary/g_eta0-2.5"].axes[-1].get_xlim() == (30, 45)
    small = measure_estimates(
        jets, eta_edges=[0, 2.5], pt_edges=[30, 45], flavours=["all"], distribution_pt=[], replicas=2
    )
    written = write_performance(small, tmp_path / "out", format="svg")
    assert written == ["performance.json", "summary/all_eta0-2.5.svg"]
    assert json.loads((tmp_path / "out/performance.json").read_text())["summary"]
    with pytest.raises(UnknownName, match="format"):
        write_performance(found, tmp_path / "other", format="gif")
    with pytest.raises(OutputError, match="exists"):
        write_performance(found, tmp_path / "out", plots=False)


@pytest.mark.slow
def test_the_command_gives_the_gain_of_the_regressions_of_cms(shared: Path, tmp_path: Path, capsys):
    path = shared / "cms/nano_tt_v15.root"
    out = tmp_path / "out"
    assert main(["jec", "plot", str(path), "-o", str(out), "--pt", "50,200", "--eta", "0,2.5", "--no-plots"]) == 0
    content = json.loads((out / "performance.json").read_text())
    rows = {row["estimate"]: row for row in content["summary"] if row["flavour"] == "all"}
    for label, expected in (("ParticleNet", 0.84), ("UParT", 0.80)):
        assert rows[label]["ratio"]["value"] == pytest.approx(expected, abs=0.015)
        assert rows[label]["ratio"]["uncertainty"] == pytest.approx(0.06, abs=0.015)
    assert read_provenance(out / "performance.json")["files"] == [str(path)]
    printed = capsys.readouterr().out
    assert f"{rows['UParT']['ratio']['value']:.3f} ± {rows['UParT']['ratio']['uncertainty']:.3f}" in printed
    assert "291 left out (no generator jet)" in printed
    # the resolutions of NanoAOD are half of a 68 % interval
    covered = {row["estimate"]: row["coverage"] for row in content["coverage"] if row["variable"] == "pt"}
    assert covered["UParT"]["value"] == pytest.approx(0.68, abs=0.05)
    assert f"{covered['UParT']['value']:.3f} ± {covered['UParT']['uncertainty']:.3f}" in printed


def test_the_commands_on_shards(shards: Path, tmp_path: Path, capsys):
    standard, filled, out = (str(tmp_path / name) for name in ("standard.json", "filled", "out"))
    arguments = ["jec", "standard", str(shards), "--min-jets", "100"]
    assert main([*arguments, "-o", standard, "--files", ":2"]) == 0
    assert StandardCorrection.load(standard).record["jets"] == 600
    assert main(["jec", "standard", str(shards), "--apply", standard, "--fill", filled]) == 0
    assert main(["jec", "plot", filled, "-o", out, "--no-plots", "--raw", "--pt", "30,500", "--files", "2:"]) == 0
    printed = capsys.readouterr().out
    assert "900 jets" in printed
    rows = json.loads((tmp_path / "out/performance.json").read_text())["summary"]
    medians = {
        row["estimate"]: row["median"]["value"] for row in rows if row["flavour"] == "all" and row["eta"][0] == 0
    }
    assert medians["Standard"] == pytest.approx(1, abs=0.02)
    assert medians["Raw"] != pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["plot", "IN", "-o", "OUT", "--pt", "50"], "--pt: got '50', expected rising edges"),
        (["plot", "IN", "-o", "OUT", "--eta", "2,1"], "--eta"),
        (["plot", "IN", "-o", "OUT", "--files", "3"], "expected a range such as"),
        (["plot", "IN", "-o", "OUT", "--estimate", "pt"], "expected LABEL="),
        (["plot", "IN", "-o", "OUT", "--estimate", "a=pt", "--estimate", "a=area"], "given twice"),
        (["plot", "IN", "-o", "OUT", "--estimate", "a=pt", "--reference", "b"], "unknown estimate"),
        (["plot", "IN", "-o", "OUT", "--estimate", "a=pt", "--no-plots", "--replicas", "1"], "replicas"),
        (["standard", "IN"], "expected --output"),
        (["standard", "IN", "-o", "a.json", "--apply", "b.json"], "not both"),
        (["standard", "IN", "--apply", "b.json"], "--fill"),
        (["standard", "IN", "IN", "-o", "OUT/a.json", "--fill", "OUT"], "one location"),
        (["standard", "IN", "-o", "IN/data.yaml"], "cannot be the output"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], text: str, shards: Path, tmp_path: Path, capsys):
    places = {"IN": str(shards), "OUT": str(tmp_path / "out")}
    made = [argument.replace("IN", places["IN"]).replace("OUT", places["OUT"]) for argument in arguments]
    assert main(["jec", *made]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_shards_of_the_original(shared: Path, tmp_path: Path):
    """The predictions of its test configuration belong to the last of the five files."""
    data = shared / "mljec"
    prediction = data / "prediction_test_config.npy"
    arguments = ["jec", "plot", str(data / "tests/data"), "-o", str(tmp_path / "out"), "--files", "4:", "--no-plots"]
    assert main([*arguments, "--prediction", f"DNN={prediction}", "--min-jets", "5", "--pt", "20,3000"]) == 0
    rows = json.loads((tmp_path / "out/performance.json").read_text())["summary"]
    file = data / "tests/data/shards/5.root"
    columns = read_shard(file, {"global": ["pt", "pt_gen", "pt_full_corr", "eta_gen"]}).columns
    central = np.abs(columns["eta_gen"]) < 2.5
    expected = {
        "Standard": columns["pt_full_corr"] / columns["pt_gen"],
        "DNN": columns["pt"] * np.exp(np.load(prediction)) / columns["pt_gen"],
    }
    for row in rows:
        if row["flavour"] == "all" and row["eta"] == [0.0, 2.5]:
            median = np.median(expected[row["estimate"]][central].astype(float))
            assert row["median"]["value"] == pytest.approx(median, rel=1e-6)
            assert row["jets"] == central.sum()
