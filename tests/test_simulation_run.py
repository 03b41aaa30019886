"""Simulating into files: the same arrays whoever makes them, complete or absent, and what they hold."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import signal
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from jettagger.cli import main
from jettagger.errors import ConfigError, JettaggerError, MissingExtra, OutputError
from jettagger.provenance import read_provenance
from jettagger.simulation import LABELS, PROCESSES, V1_TYPES, label_id, plan, processes, simulate
from jettagger.simulation import run as run_module

pytest.importorskip("fastjet", reason="extra sim is not installed")
pytest.importorskip("pythia8mc", reason="extra sim is not installed")
pytestmark = pytest.mark.usefixtures("one_mass")

#: for processes of their own, which know nothing of ``one_mass``
MASS = (100.0, 100.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


@pytest.fixture(scope="module")
def top_pairs(folder: Path) -> Path:
    """A small analysis sample with everything in it."""
    simulate("ttsemilep", 40, folder / "tt.root", pt=(200.0, 1000.0), seed=3)
    return folder / "tt.root"


@pytest.fixture(scope="module")
def events(top_pairs: Path) -> Any:
    return uproot.open(top_pairs)["Events"].arrays()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "BLOCK_EVENTS", 4)


def _arrays(path: Path) -> Any:
    return uproot.open(path)["Events"].arrays()


def test_same_seed_same_arrays_however_many_workers(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "FEWEST_POINTS", 4)
    summaries = {
        workers: simulate("new-types", 12, tmp_path / f"{workers}.root", seed=5, workers=workers) for workers in (1, 2)
    }
    one, two = (_arrays(tmp_path / f"{workers}.root") for workers in (1, 2))
    assert ak.array_equal(one, two)
    assert summaries[1].labels == summaries[2].labels
    assert set(summaries[1].labels) == {"Xgg", "HZgamma", "Xbc"}
    simulate("new-types", 12, tmp_path / "other.root", seed=6)
    assert not ak.array_equal(one, _arrays(tmp_path / "other.root"))


def test_a_block_has_several_masses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "FEWEST_POINTS", 4)
    run = plan("Hbb", 1600, mass=(50.0, 200.0))
    points = [run_module.points_of(run, block) for block in run.blocks]
    assert [sum(events for _, events in block) for block in points] == [block.events for block in run.blocks]
    masses = sorted(point.u_mass for block in points for point, _ in block)
    assert len(masses) == 12
    # evenly spread: no gap of more than twice the mean
    assert np.max(np.diff([masses[-1] - 1.0, *masses])) < 2.0 / 12
    assert [len(run_module.points_of(run, block)) for run in [plan("QCD", 1700)] for block in run.blocks] == [1, 1, 1]

    simulate("Hbb", 24, tmp_path / "x.root", mass=(50.0, 200.0))
    mass = ak.to_numpy(ak.flatten(_arrays(tmp_path / "x.root")["FatJet_genResonanceMass"]))
    short = plan("Hbb", 24, mass=(50.0, 200.0))
    windows = [processes._window(point, 0.35)[1:] for point, _ in run_module.points_of(short, short.blocks[0])]
    assert len(windows) == 4
    assert all(np.any((mass > low) & (mass < high)) for low, high in windows)
    assert np.all(np.any([(mass > low) & (mass < high) for low, high in windows], axis=0))


def test_a_killed_worker_does_not_matter(tmp_path: Path, small_blocks: None) -> None:
    killed: list[int] = []

    def progress(done: int, total: int) -> None:
        children = multiprocessing.active_children()
        if children and not killed:
            killed.append(int(children[0].pid or 0))
            os.kill(killed[0], signal.SIGKILL)

    simulate("Hqq", 12, tmp_path / "killed.root", mass=MASS, seed=2, workers=2, progress=progress)
    simulate("Hqq", 12, tmp_path / "whole.root", mass=MASS, seed=2)
    assert killed
    assert ak.array_equal(_arrays(tmp_path / "killed.root"), _arrays(tmp_path / "whole.root"))


def _killed(run: Any, block: Any, folder: str) -> None:
    """Stands for a block whose worker dies."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_block_that_always_kills_its_worker_is_named(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def progress(done: int, total: int) -> None:
        """Never called with a finished block here."""

    monkeypatch.setattr(run_module, "_store_block", _killed)
    with pytest.raises(JettaggerError, match=r"block [01] .Hqq. was not finished in 3 attempts"):
        simulate("Hqq", 12, tmp_path / "never.root", workers=2, progress=progress)
    assert not (tmp_path / "never.root").exists()


class _StopError(RuntimeError):
    pass


def test_an_interrupted_run_goes_on(tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "x.root"

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise _StopError

    with pytest.raises(_StopError):
        simulate("Hss", 12, output, seed=4, progress=stop)
    assert not output.exists()
    assert (tmp_path / "x.root.blocks" / "block-000000.parquet").exists()

    made: list[int] = []
    original = run_module.make_block

    def counting(run: Any, block: Any, tables: Any) -> Any:
        made.append(block.index)
        return original(run, block, tables)

    monkeypatch.setattr(run_module, "make_block", counting)
    with pytest.raises(OutputError, match=r"holds blocks of another run \(different: seed\)"):
        simulate("Hss", 12, output, seed=5)
    simulate("Hss", 12, output, seed=4)
    assert made == [1, 2]
    assert not (tmp_path / "x.root.blocks").exists()
    simulate("Hss", 12, tmp_path / "y.root", seed=4)
    assert ak.array_equal(_arrays(output), _arrays(tmp_path / "y.root"))


def test_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    output = tmp_path / "x.root"
    output.write_text("mine")
    with pytest.raises(OutputError, match="exists already; use --force"):
        simulate("Hbb", 2, output)
    assert output.read_text() == "mine"
    simulate("Hbb", 2, output, force=True)
    assert len(_arrays(output)) == 2


def test_force_starts_anew_where_another_run_stopped(tmp_path: Path) -> None:
    blocks = tmp_path / "x.root.blocks"
    blocks.mkdir()
    (blocks / "plan.json").write_text("{}")
    with pytest.raises(OutputError, match="another run"):
        simulate("Hbb", 2, tmp_path / "x.root")
    simulate("Hbb", 2, tmp_path / "x.root", force=True)
    assert (tmp_path / "x.root").exists()


def test_two_runs_of_one_output_do_not_mix(tmp_path: Path) -> None:
    output = tmp_path / "x.root"
    refused: list[str] = []

    def again(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(OutputError, match="is in use") as caught:
                simulate("Hbb", 2, output)
            refused.append(str(caught.value))

    simulate("Hbb", 2, output, progress=again)
    assert refused
    assert output.exists()


def test_a_full_disk_leaves_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ak, "to_parquet", full)
    with pytest.raises(OutputError, match="No space left"):
        simulate("Hbb", 2, tmp_path / "x.root")
    assert not (tmp_path / "x.root").exists()
    assert not list((tmp_path / "x.root.blocks").glob("block*"))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        simulate("Hbb", 2, tmp_path / "absent" / "x.root")


def test_a_hopeless_selection_stops_with_its_acceptance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "PATIENCE", 20)
    monkeypatch.setattr(run_module, "LEAST_ACCEPTANCE", 0.9)
    with pytest.raises(ConfigError, match=r"process 'Xgg': \d+ of \d+ generated events .*acceptance [0-9.]+%"):
        simulate("Xgg", 200, tmp_path / "x.root", pt=(990.0, 1000.0))
    assert not (tmp_path / "x.root").exists()


@pytest.mark.parametrize("module", ["pythia8mc", "fastjet"])
def test_missing_extra_gives_the_install_line(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install 'jettagger\[sim\]'"):
        simulate("Hbb", 2, tmp_path / "x.root")


def test_bad_outputs_and_workers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"format 'pfnano' is written to .root"):
        simulate("Hbb", 2, tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="0 workers"):
        simulate("Hbb", 2, tmp_path / "x.root", workers=0)


# -------------------------------------------------------------------------------------------- the file


def test_file_opens_with_coffeas_schema(top_pairs: Path) -> None:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = NanoEventsFactory.from_root(
            {str(top_pairs): "Events"}, schemaclass=PFNanoAODSchema, mode="virtual"
        ).events()
        jets = events.FatJet
        linked = events.FatJetPFCands
        assert ak.all(linked.pf.pt == linked.pt) if "pf" in linked.fields else True
        assert ak.all(jets.subjets.pt > 0)
        assert ak.all(abs(events.GenPart.parent.pdgId[events.GenPart.pdgId == 24]) >= 0)


def test_numbers_of_events(top_pairs: Path, events: Any) -> None:
    assert len(events) == 40
    assert len(np.unique(ak.to_numpy(events.event))) == 40
    runs = uproot.open(top_pairs)["Runs"].arrays()
    assert runs.genEventCount[0] >= 40
    assert runs.genEventSumw[0] == runs.genEventCount[0]
    # NNLO 833 pb at 13 TeV times 0.44, leading order and pTHat > 100 GeV: the order of magnitude only
    assert 60 < runs.crossSection[0] < 400
    manifest = json.loads((top_pairs.parent / "tt.root.manifest.json").read_text())
    assert manifest["processes"]["ttsemilep"]["events"] == 40
    assert manifest["seed"] == 3
    assert manifest["versions"]["pythia8mc"] == "8.317.2"


@pytest.mark.data
def test_columns_and_types_are_those_of_real_files(shared: Path, top_pairs: Path) -> None:
    real = uproot.open(shared / "cms" / "pfnano.root")["Events"]
    ours = uproot.open(top_pairs)["Events"]
    own = {"label", "genResonanceMass", "msoftdrop", "nConstituents", "genPartIdx", "rawFactor", "hadronFlavour"}
    own |= {"ptNu"}  # with the neutrinos of generator jets
    for name, branch in ours.items():
        head, _, tail = name.partition("_")
        if name.startswith("n") and "_" not in name:
            continue  # counters are signed here
        if name not in real:
            assert tail in own or name in {"genProcess"} or head == "GenMET", name
            continue
        if name in ("GenJet_hadronFlavour", "genWeight", "Generator_weight"):
            continue
        assert branch.typename == real[name].typename, name


def test_sentinels_of_candidates_without_tracks(events: Any) -> None:
    charge = ak.flatten(events.PFCands_charge)
    neutral = charge == 0
    for name in ("d0", "d0Err", "dz", "dzErr", "trkChi2"):
        column = ak.flatten(events[f"PFCands_{name}"])
        assert ak.all(column[neutral] == -1)
        assert ak.all((column == -1) == (ak.flatten(events.PFCands_trkChi2) == -1))
    soft = ak.flatten(events.PFCands_pt) < 0.94
    assert ak.all(ak.flatten(events.PFCands_trkChi2)[soft] == -1)
    assert ak.all(ak.flatten(events.PFCands_trkQuality)[ak.flatten(events.PFCands_trkChi2) == -1] == 0)
    without = ak.flatten(events.PFCands_trkChi2[events.FatJetPFCands_pFCandsIdx]) == -1
    for name in ("EtaRel", "PtRatio", "PParRatio", "Sip3dVal", "Sip3dSig", "JetDistVal"):
        assert ak.all(ak.flatten(events[f"FatJetPFCands_btag{name}"])[without] == 0)
    assert ak.all(events.FatJetPFCands_btagJetDistVal <= 0)


@pytest.mark.parametrize(("jets", "links"), [("FatJet", "FatJetPFCands"), ("Jet", "JetPFCands")])
def test_a_jet_is_the_sum_of_its_linked_candidates(events: Any, jets: str, links: str) -> None:
    index = events[f"{links}_pFCandsIdx"]
    pt, eta, phi = (events[f"PFCands_{name}"][index] for name in ("pt", "eta", "phi"))
    px, py = pt * np.cos(phi), pt * np.sin(phi)
    owner = events[f"{links}_jetIdx"]
    for row in range(len(events)):
        number = len(events[f"{jets}_pt"][row])
        total = [np.bincount(owner[row], weights=axis[row], minlength=number) for axis in (px, py)]
        raw = events[f"{jets}_pt"][row] * (1 - events[f"{jets}_rawFactor"][row])
        assert np.hypot(*total) == pytest.approx(ak.to_numpy(raw), rel=4e-3)
        counts = np.bincount(owner[row], minlength=number)
        assert counts.tolist() == events[f"{jets}_nConstituents"][row].tolist()
    assert ak.all(eta < 5.2)
    assert ak.all(events[f"{links}_pt"] == pt)


def test_links_of_vertices(events: Any) -> None:
    index = events.FatJetSVs_sVIdx
    assert ak.all(index < ak.num(events.SV_pt))
    assert ak.all((index == -1) == (events.FatJetSVs_d3dsig <= 3.0))
    stored = index >= 0
    assert ak.all(events.SV_pt[index[stored]] == events.FatJetSVs_pt[stored])
    assert ak.all(events.SV_dlenSig > 3.0 - 2e-3)
    # NanoAOD's angle has the other sense
    assert ak.all(events.SV_pAngle > np.pi / 2)
    assert ak.all(events.FatJetSVs_deltaR <= 0)
    # sorted by the transverse significance within each jet
    same = events.FatJetSVs_jetIdx[:, 1:] == events.FatJetSVs_jetIdx[:, :-1]
    falling = events.FatJetSVs_dxysig[:, 1:] <= events.FatJetSVs_dxysig[:, :-1]
    assert ak.all(falling[same])


def test_truth_links(events: Any) -> None:
    mother = events.GenPart_genPartIdxMother
    assert ak.all(mother < ak.local_index(mother))
    top = abs(events.GenPart_pdgId) == 6
    assert ak.all(ak.sum(top & ((events.GenPart_statusFlags >> 13) & 1 == 1), axis=1) == 2)
    boson = (abs(events.GenPart_pdgId) == 24) & (mother >= 0)
    assert ak.all(abs(events.GenPart_pdgId[mother])[boson & (events.GenPart_status == 22)] == 6)
    parton = events.Jet_genPartIdx
    known = parton >= 0
    assert ak.any(known)
    assert ak.all(events.GenPart_pdgId[parton[known]] == events.Jet_partonFlavour[known])
    beauty = events.Jet_hadronFlavour == 5
    assert ak.mean(abs(events.Jet_partonFlavour)[beauty & (events.Jet_pt > 40)] == 5) > 0.8


def test_neutrinos_and_leptons_balance(events: Any) -> None:
    """One W decays to a lepton: missing momentum follows the neutrinos, and leptons from W are isolated."""
    strong = events.GenMET_pt > 80
    assert ak.any(strong)
    angle = abs((events.MET_phi - events.GenMET_phi + np.pi) % (2 * np.pi) - np.pi)[strong]
    assert np.median(angle) < 0.2
    leptons = ak.concatenate([events.Electron_pt, events.Muon_pt], axis=1)
    isolation = ak.concatenate([events.Electron_pfRelIso03_all, events.Muon_pfRelIso03_all], axis=1)
    assert ak.mean(ak.any((leptons > 20) & (isolation < 0.15), axis=1)) > 0.35


def test_training_files_hold_only_labelled_jets(tmp_path: Path) -> None:
    summary = simulate("Htauhtaum", 20, tmp_path / "x.root", pt=(300.0, 600.0), mass=(60.0, 120.0))
    events = _arrays(tmp_path / "x.root")
    assert set(ak.flatten(events.FatJet_label).tolist()) == {label_id("Htauhtaum")}
    assert summary.labels == {"Htauhtaum": summary.jets}
    pt = ak.flatten(events.FatJet_pt)
    assert 299 < ak.min(pt) < ak.max(pt) < 601
    mass = ak.flatten(events.FatJet_genResonanceMass)
    assert 59.9 <= ak.min(mass) <= ak.max(mass) <= 120.1
    assert "JetPFCands_pt" not in events.fields


@pytest.mark.long
def test_all_types_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "FEWEST_POINTS", 4)
    summary = simulate("v1-types", 900, tmp_path / "x.root", seed=1, workers=2)
    assert set(summary.labels) == set(V1_TYPES)
    assert set(LABELS) > set(summary.labels)
    assert PROCESSES["QCDsplit"].cross_section == 1.0


def test_pileup_and_its_mitigation(tmp_path: Path) -> None:
    simulate("Wqq", 12, tmp_path / "quiet.root", seed=8)
    simulate("Wqq", 12, tmp_path / "busy.root", seed=8, pileup=20.0)
    quiet, busy = _arrays(tmp_path / "quiet.root"), _arrays(tmp_path / "busy.root")
    assert ak.all(quiet.PFCands_puppiWeight == 1)
    assert ak.all(quiet.Pileup_nPU == 0)
    assert 10 < ak.mean(busy.Pileup_nPU) < 30
    assert ak.mean(busy.PV_npvs) > 8
    assert ak.mean(busy.fixedGridRhoFastjetAll) > ak.mean(quiet.fixedGridRhoFastjetAll) + 3
    weight = ak.flatten(busy.PFCands_puppiWeight)
    assert ak.min(weight) > 0
    assert ak.max(weight) == 1
    assert ak.any((weight > 0.01) & (weight < 0.99))
    response = []
    for sample in (quiet, busy):
        index = sample.FatJet_genJetAK8Idx
        ratio = sample.FatJet_pt[index >= 0] / sample.GenJetAK8_pt[index[index >= 0]]
        response.append(float(np.median(ak.to_numpy(ak.flatten(ratio)))))
    # twenty interactions would add about 30 GeV to an AK8 jet
    assert response[1] == pytest.approx(response[0], abs=0.06)


# -------------------------------------------------------------------------------------------- JetClass-II


@pytest.fixture(scope="module")
def flat(folder: Path) -> Any:
    simulate("XHH", 30, folder / "flat.parquet", format="jetclass2", mass=(1500.0, 1500.0), seed=2)
    return ak.from_parquet(folder / "flat.parquet")


@pytest.mark.data
def test_flat_columns_and_types_are_the_published_ones(shared: Path, flat: Any) -> None:
    real = ak.from_parquet(shared / "sophon" / "JetClassII_example.parquet")
    for name in real.fields:
        assert str(flat[name].type.content) == str(real[name].type.content), name
    assert set(flat.fields) - set(real.fields) == {"jet_v1label", "jet_genmass", "weight", "process"}


def test_flat_jets_are_the_sums_of_their_parts(flat: Any) -> None:
    pt = np.hypot(ak.sum(flat.part_px, axis=1), ak.sum(flat.part_py, axis=1))
    assert ak.to_numpy(flat.jet_pt / pt) == pytest.approx(1.002, rel=1e-4)
    gen = np.hypot(ak.sum(flat.genpart_px, axis=1), ak.sum(flat.genpart_py, axis=1))
    assert ak.to_numpy(gen) == pytest.approx(ak.to_numpy(flat.genjet_pt), rel=1e-4)
    assert ak.all(ak.num(flat.part_px) == flat.jet_nparticles)
    assert ak.all(ak.num(flat.genpart_pid) == flat.genjet_nparticles)
    flags = sum(
        ak.values_astype(flat[f"part_is{name}"], int)
        for name in ("Electron", "Muon", "Photon", "ChargedHadron", "NeutralHadron")
    )
    assert ak.all(flags == 1)
    neutral = flat.part_charge == 0
    assert ak.all(flat.part_d0val[neutral] == 0)
    assert ak.all(flat.part_d0err[~neutral] > 0)


def test_flat_positions_are_mirrored_as_in_the_published_files(flat: Any) -> None:
    for stem, name in (("part", "part_deta"), ("genpart", "genpart_jet_deta")):
        pt = np.hypot(flat[f"{stem}_px"], flat[f"{stem}_py"])
        away = np.arcsinh(flat[f"{stem}_pz"] / pt) - flat.jet_eta
        assert ak.max(np.abs(away * np.where(flat.jet_eta > 0, 1, -1) - flat[name])) < 1e-3
    assert ak.any(flat.jet_eta > 0)
    assert ak.any(flat.jet_eta < 0)


def test_flat_truth(flat: Any) -> None:
    from jettagger.simulation.jetclass2 import JETCLASS2_LABELS

    beauty = flat.jet_v1label == label_id("Hbb")
    assert ak.any(beauty)
    assert {JETCLASS2_LABELS[value] for value in set(flat.jet_label[beauty].tolist())} == {"X_bb"}
    truth = flat[beauty]
    assert ak.all(truth.aux_genpart_pid[truth.aux_genpart_isResX] == 25)
    assert ak.all(abs(truth.aux_genpart_pid[truth.aux_genpart_isResDecayProd]) == 5)
    assert ak.all(ak.sum(truth.aux_genpart_isResDecayProd, axis=1) == 2)
    assert ak.to_numpy(truth.jet_genmass) == pytest.approx(125.0, abs=1.0)
    # decay lengths of beauty: some stable particles start millimetres away
    assert ak.max(np.hypot(truth.genpart_x, truth.genpart_y)) > 0.5


def test_flat_root_file(tmp_path: Path) -> None:
    simulate("QCDlight", 6, tmp_path / "q.root", format="jetclass2")
    tree = uproot.open(tmp_path / "q.root")["tree"]
    found = tree.arrays()
    assert set(found.jet_v1label.tolist()) == {label_id("QCDothers")}
    assert ak.all((found.jet_label >= 161) & (found.jet_label <= 187))
    partons = found.aux_genpart_isQcdParton
    assert ak.all(ak.all(partons, axis=1))
    assert ak.all(found.aux_genpart_pt[partons] > 5)


# ------------------------------------------------------------------------------------------ command line


def test_command_writes_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "hbb.root"
    command = ["simulate", "--process", "Hbb", "--events", "4", "--pt", "300", "900", "-o", str(output), "--seed", "2"]
    assert main(command) == 0
    assert "Hbb" in capsys.readouterr().out
    assert main(command) == 2
    assert "exists already; use --force" in capsys.readouterr().err
    assert main([*command, "--force", "--mass", "100"]) == 0
    mass = ak.flatten(_arrays(output).FatJet_genResonanceMass)
    assert ak.to_numpy(mass) == pytest.approx(100.0, abs=0.2)


def test_the_documented_rates_are_those_of_the_list() -> None:
    text = (Path(__file__).parent.parent / "docs/simulation.md").read_text(encoding="utf-8")
    rates = processes.rates()
    assert set(rates) == {*processes.PROCESSES, *processes.MIXTURES}
    assert [name for name, rate in rates.items() if not re.search(rf"\b{name} {rate}[ ,]", text)] == []


def test_command_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--list"]) == 0
    text = capsys.readouterr().out
    for name in ("Hbb", "XZH", "ttHbb-resolved", "v1-types"):
        assert name in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--process and --output are needed"),
        (["--process", "Hbbb", "-o", "x.root"], "nearest: Hbb"),
        (["--process", "Hbb", "-o", "x.root", "--mass", "1", "2", "3"], "one or two numbers"),
        (["--process", "Hbb", "-o", "x.root", "--card", "altrnative"], "nearest: alternative"),
    ],
)
def test_command_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_plan_is_described_completely() -> None:
    content = plan("tt", 1000).describe()
    assert {"process", "events", "pt", "mass", "seed", "card_digest", "pileup", "format", "versions"} <= set(content)


@pytest.mark.data
def test_the_experiments_own_network_recognises_the_jets(shared: Path, tmp_path: Path) -> None:
    """ParticleNet-MD, trained by CMS on its own simulation: wrong signs, units or sentinels would show here."""
    import jettagger

    median = {}
    for name, options in (("Hbb", {"mass": (100.0, 150.0)}), ("QCDlight", {})):
        simulate(name, 20, tmp_path / f"{name}.root", pt=(400.0, 800.0), **options)
        result = jettagger.tag_files(
            [str(tmp_path / f"{name}.root")],
            str(shared / "models" / "particlenet-ak8-md"),
            str(tmp_path / f"{name}.parquet"),
        )
        scores = ak.from_parquet(result.path)
        qcd = sum(scores[field] for field in scores.fields if "_probQCD" in field)
        beauty = next(scores[field] for field in scores.fields if field.endswith("_probHbb"))
        median[name] = float(np.median(ak.to_numpy(ak.drop_none(ak.flatten(beauty / (beauty + qcd))))))
    assert median["Hbb"] > 0.8
    assert median["QCDlight"] < 0.05


def test_files_say_how_they_were_made(top_pairs: Path, tmp_path: Path) -> None:
    record = read_provenance(top_pairs)
    assert record["step"] == "simulate"
    assert record["configuration"]["process"] == "ttsemilep"
    assert record["configuration"]["seed"] == 3
    assert read_provenance(f"{top_pairs}.manifest.json") == record
    simulate("Hbb", 6, tmp_path / "hbb.parquet", format="jetclass2", seed=1)
    assert read_provenance(tmp_path / "hbb.parquet")["configuration"]["format"] == "jetclass2"
