"""Energy corrections of jets in a search: against known formulas in plain Python, coffea's factory, and bad input."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from agreement import Agreement
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema
from jerc_files import RESOLUTION, TAG, scale_data, scale_mc, smear, uncertainty, write_jerc
from jettagger.processors.search import SearchWarning
from searches import columns, write
from shown import check_shown

from jettagger.calibration import MassFactors
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, InvalidValues, JettaggerError
from jettagger.formats.nesting import nest
from jettagger.histograms import pick
from jettagger.runtime.seeding import normals
from jettagger.search import read_config, run_search
from jettagger.search.correctedjets import CorrectedEvents
from jettagger.search.definition import Sample
from jettagger.search.jetenergy import EnergyShift, JercFile

CONFIG = """\
version: 1
chunk_size: 17
eras:
  2022: {luminosity: 10}
  2023: {luminosity: 20}
samples:
  tt22: {files: tt22.root, cross_section: 2, era: 2022}
  tt23: {files: tt23.root, cross_section: 2, era: 2023}
  run22: {files: run22.root, data: true, era: 2022}
  run23: {files: run23.root, data: true, era: 2023}
jet_energy:
  jets:
    FatJet:
      algorithm: AK8PFPuppi
      file: ak8.json
      tag: Toy22_V1
      data_tag: Toy22_RunC_V1
      resolution: Toy22_JRV1
      uncertainties: [Total]
      masses: [mass, msoftdrop]
      eras:
        2023: {file: ak8_23.json, tag: Toy23_V1, resolution: Toy23_JRV1}
    Jet:
      algorithm: AK4PFPuppi
      file: ak4.json
      tag: Toy22_V1
      data_tag: {run22: Toy22_RunC_V1, run23: Toy22_RunC_V1}
      resolution: Toy22_JRV1
      uncertainties: [Total, Regrouped_FlavorQCD]
  met: {collection: PuppiMET, selection: "pt > 20 and abs(eta) < 2.5", unclustered: true}
objects:
  small: {collection: Jet, selection: "pt > 30", not_near: {jets: 0.8}}
jets: {count: 1, preselection: "pt > 230 and abs(eta) < 2.2"}
cuts:
  met: PuppiMET.pt > 40
regions:
  all: {kind: inclusive}
  met: {kind: control, pass: [met]}
histograms:
  pt: {bins: [40, 200, 1000], expression: jet1.pt}
  sd: {bins: [40, 0, 200], expression: jet1.msoftdrop}
  met: {bins: [40, 0, 200], expression: PuppiMET.pt}
  ht: {bins: [40, 0, 1000], expression: sum(small.pt)}
"""

#: one sample without variations of the scale, in one chunk
SMALL = (
    ("chunk_size: 17", "chunk_size: 1000"),
    ("  2023: {luminosity: 20}\n", ""),
    ("  tt23: {files: tt23.root, cross_section: 2, era: 2023}\n", ""),
    ("  run22: {files: run22.root, data: true, era: 2022}\n  run23: {files: run23.root, data: true, era: 2023}\n", ""),
    ("      eras:\n        2023: {file: ak8_23.json, tag: Toy23_V1, resolution: Toy23_JRV1}\n", ""),
    ("{run22: Toy22_RunC_V1, run23: Toy22_RunC_V1}", "Toy22_RunC_V1"),
    ("      uncertainties: [Total, Regrouped_FlavorQCD]\n", ""),
    ("      uncertainties: [Total]\n", ""),
)

SHIFTS = ("nominal", "jes_Total", "jes_Regrouped_FlavorQCD", "jer", "unclustered")


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


def with_jets(n_events: int, seed: int, *, data: bool = False) -> dict[str, Any]:
    """Events with small jets, generator jets near most of the jets, missing momentum and the energy density."""
    made = columns(n_events, seed, data=data)
    made["run"] = np.full(n_events, 1 + seed % 3, dtype=np.uint32)
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, n_events)
    total = int(counts.sum())
    flat: dict[str, tuple[Any, dict[str, Any]]] = {
        "Jet": (
            counts,
            {
                "pt": 15 + rng.exponential(40, total),
                "eta": rng.uniform(-2.9, 2.9, total),
                "phi": rng.uniform(-3.1, 3.1, total),
                "mass": rng.uniform(1, 10, total),
                "rawFactor": rng.normal(0.1, 0.05, total),
            },
        )
    }
    for collection, generated in (("FatJet", "GenJetAK8"), ("Jet", "GenJet")):
        if collection == "Jet":
            of, jets = flat["Jet"]
        else:
            of = ak.to_numpy(ak.num(made["FatJet_pt"]))
            jets = {key: ak.to_numpy(ak.flatten(made[f"FatJet_{key}"])) for key in ("pt", "eta", "phi")}
        size = int(of.sum())
        jets["area"] = rng.uniform(0.4, 2.2, size)
        near = rng.random(size) < 0.8
        link = np.where(near, np.arange(size) - np.repeat(np.cumsum(of) - of, of), -1)
        jets[f"{generated[:1].lower()}{generated[1:]}Idx"] = link.astype(np.int32)
        for key, values in jets.items():
            kind = values.dtype if values.dtype.kind == "i" else np.float32
            made[f"{collection}_{key}"] = ak.unflatten(values.astype(kind), of)
        if data:
            del made[f"{collection}_{generated[:1].lower()}{generated[1:]}Idx"]
            continue
        smeared = {
            "pt": jets["pt"] * rng.normal(1, 0.12, size),
            "eta": jets["eta"] + rng.normal(0, 0.15, size),
            "phi": jets["phi"],
            "mass": np.full(size, 10.0),
        }
        for key, values in smeared.items():
            made[f"{generated}_{key}"] = ak.unflatten(np.asarray(values).astype(np.float32), of)
    made["Rho_fixedGridRhoFastjetAll"] = rng.uniform(5, 40, n_events).astype(np.float32)
    for name in ("", *(("UnclusteredUp", "UnclusteredDown") if not data else ())):
        made[f"PuppiMET_pt{name}"] = rng.exponential(50, n_events).astype(np.float32)
        made[f"PuppiMET_phi{name}"] = rng.uniform(-3.1, 3.1, n_events).astype(np.float32)
    return made


FILES = {"tt22": (50, 1, False), "tt23": (40, 2, False), "run22": (30, 3, True), "run23": (25, 4, True)}


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    return {name: with_jets(events, seed, data=data) for name, (events, seed, data) in FILES.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, made: dict[str, dict[str, Any]]) -> Path:
    folder = tmp_path_factory.mktemp("energy")
    for name, content in made.items():
        write(folder / f"{name}.root", content)
    write_jerc(folder / "ak8.json", "AK8PFPuppi")
    write_jerc(folder / "ak8_23.json", "AK8PFPuppi", shift=0.03, tag="Toy23_V1", resolution="Toy23_JRV1")
    write_jerc(folder / "ak4.json", "AK4PFPuppi")
    return folder


def config(folder: Path, *changes: tuple[str, str]) -> Any:
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_config(text, name="search.yaml", folder=folder)


def opened(path: Path) -> Any:
    return NanoEventsFactory.from_root(
        {str(path): "Events"},
        schemaclass=PFNanoAODSchema,
        mode="virtual",
        metadata={"dataset": path.stem, "filename": str(path)},
    ).events()


# ---------------------------------------------------------------------------------------- independent computation


def factor(event: dict[str, Any], collection: str, number: int, shift: str, side: str, sample: str) -> float:
    """The factor on the energy of one jet, from the formulas."""
    jet, data = event[collection][number], sample.startswith("run")
    raw = jet["pt"] * (1 - jet["rawFactor"])
    if data:
        return (1 - jet["rawFactor"]) * scale_data(raw, event["run"])
    rho = event["Rho_fixedGridRhoFastjetAll"]
    more = 0.03 if sample == "tt23" and collection == "FatJet" else 0.0
    scale = (1 - jet["rawFactor"]) * scale_mc(raw, jet["eta"], jet["area"], rho, more)
    name, distance = {"FatJet": ("GenJetAK8", 0.4), "Jet": ("GenJet", 0.2)}[collection]
    link = jet[f"{name[:1].lower()}{name[1:]}Idx"]
    generated = None
    if link >= 0:
        true = event[name][link]
        phi = math.remainder(jet["phi"] - true["phi"], 2 * math.pi)
        if math.hypot(jet["eta"] - true["eta"], phi) < distance:
            generated = true["pt"]
    gauss = float(normals(np.array([event["event"]]), np.array([number]), f"resolution of {collection}")[0])
    scaled = {"pt": jet["pt"] * scale, "eta": jet["eta"], "rho": rho}
    made = scale * smear(scaled, {"Up": "up", "Down": "down"}[side] if shift == "jer" else "nom", gauss, generated)
    source = shift.removeprefix("jes_")
    if shift != source and (collection == "Jet" or source == "Total"):
        made *= 1 + {"Up": 1, "Down": -1}[side] * uncertainty(source, jet["pt"] * made, jet["eta"])
    return made


def loop(content: dict[str, Any], sample: str, shift: str, side: str, more: float = 1.0) -> list[dict[str, Any]]:
    """Generator weight and variables of each event with a candidate, in plain Python; ``more``: of corrected pt."""
    rows = []
    for event in nest(content).tolist():
        jets = []
        for index, jet in enumerate(event["FatJet"]):
            f = factor(event, "FatJet", index, shift, side, sample)
            pt, mass = float(np.float32(jet["pt"] * f) * np.float32(more)), float(np.float32(jet["msoftdrop"] * f))
            if pt > 230 and abs(jet["eta"]) < 2.2:
                jets.append({**jet, "pt": pt, "msoftdrop": mass})
        met = {name.removeprefix("PuppiMET_"): event[name] for name in event if name.startswith("PuppiMET_")}
        x, y = met["pt"] * math.cos(met["phi"]), met["pt"] * math.sin(met["phi"])
        if shift == "unclustered" and not sample.startswith("run"):
            x = met[f"ptUnclustered{side}"] * math.cos(met[f"phiUnclustered{side}"])
            y = met[f"ptUnclustered{side}"] * math.sin(met[f"phiUnclustered{side}"])
        small = []
        for index, jet in enumerate(event["Jet"]):
            f = factor(event, "Jet", index, shift, side, sample)
            nominal = float(np.float32(jet["pt"] * factor(event, "Jet", index, "nominal", "", sample)))
            if nominal > 20 and abs(jet["eta"]) < 2.5:
                x -= jet["pt"] * (f - 1) * math.cos(jet["phi"])
                y -= jet["pt"] * (f - 1) * math.sin(jet["phi"])
            small.append({**jet, "pt": float(np.float32(jet["pt"] * f))})
        if not jets:
            continue
        leading = max(jets, key=lambda item: item["pt"])
        ht = sum(
            jet["pt"]
            for jet in small
            if jet["pt"] > 30
            and math.hypot(jet["eta"] - leading["eta"], math.remainder(jet["phi"] - leading["phi"], 2 * math.pi)) >= 0.8
        )
        rows.append(
            {
                "weight": 1.0 if sample.startswith("run") else event["genWeight"],
                "pt": leading["pt"],
                "sd": leading["msoftdrop"],
                "met": float(np.float32(math.hypot(x, y))),
                "ht": ht,
            }
        )
    return rows


@pytest.fixture(scope="module")
def result(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        return run_search(config(folder))


@pytest.mark.parametrize("sample", FILES)
def test_yields_of_each_variation_are_those_of_the_formulas(
    made: dict[str, dict[str, Any]], result: Any, sample: str
) -> None:
    scale = result.datasets[sample]["scale"]
    nominal: dict[str, Any] = {}
    for shift in SHIFTS[:1] if sample.startswith("run") else SHIFTS:
        for side in ("Up", "Down") if shift != "nominal" else ("",):
            rows = loop(made[sample], sample, shift, side)
            for region in ("all", "met"):
                chosen = [row for row in rows if region == "all" or row["met"] > 40]
                weights = [scale * row["weight"] for row in chosen]
                assert chosen
                for name in ("pt", "sd", "met", "ht"):
                    got = pick(result.histograms[name], dataset=sample, region=region, variation=shift + side)
                    values = [row[name] for row in chosen]
                    sums, _ = np.histogram(values, bins=got.axes[0].edges, weights=weights)
                    place = f"{name}, {region}, {shift}{side}"
                    np.testing.assert_allclose(got.values(), sums, rtol=1e-6, atol=1e-9, err_msg=place)
                    if shift == "nominal":
                        nominal[name, region] = sums
                    elif not (shift == "unclustered" and name != "met") and region == "all":
                        untouched = shift == "jes_Regrouped_FlavorQCD" and name in ("pt", "sd")
                        assert np.array_equal(sums, nominal[name, region]) == untouched, place


def test_other_variations_come_after_the_corrections(folder: Path, made: dict[str, dict[str, Any]]) -> None:
    """Mass factors and expressions in corrected columns, of which the selection has the corrected ones, too."""
    MassFactors("msoftdrop", scale=0.97, scale_uncertainty=0.01).save(folder / "jms.json")
    added = (
        'variations:\n  jms: {mass_factors: jms.json}\n  wide: {up: {pt: "pt * 1.1"}, down: {pt: "pt * 0.9"}}\ncuts:\n'
    )
    result = run_search(config(folder, *SMALL, ("cuts:\n", added)))
    scale = result.datasets["tt22"]["scale"]
    rows = loop(made["tt22"], "tt22", "nominal", "")
    for variation, factor in {"nominal": 0.97, "jms_scaleUp": 0.98, "jms_scaleDown": 0.96, "jerUp": None}.items():
        chosen = rows if factor is not None else loop(made["tt22"], "tt22", "jer", "Up")
        masses = [float(np.float32((factor or 0.97) * row["sd"])) for row in chosen]
        got = pick(result.histograms["sd"], dataset="tt22", region="all", variation=variation)
        sums, _ = np.histogram(masses, got.axes[0].edges, weights=[scale * row["weight"] for row in chosen])
        np.testing.assert_allclose(got.values(), sums, rtol=1e-6, atol=1e-9, err_msg=variation)
    wide = loop(made["tt22"], "tt22", "nominal", "", more=1.1)
    got = pick(result.histograms["pt"], dataset="tt22", region="all", variation="wideUp")
    sums, _ = np.histogram(
        [row["pt"] for row in wide], got.axes[0].edges, weights=[scale * row["weight"] for row in wide]
    )
    np.testing.assert_allclose(got.values(), sums, rtol=1e-6, atol=1e-9)


def test_chunks_do_not_matter(folder: Path, result: Any) -> None:
    other = run_search(config(folder, ("chunk_size: 17", "chunk_size: 1000")))
    for name, histogram in result.histograms.items():
        assert histogram == other.histograms[name]
    record = result.provenance.configuration["jet_energy"]
    assert record["FatJet"]["2023"]["tag"] == "Toy23_V1"
    assert len(record["FatJet"]["2023"]["file"]) == 64


@pytest.mark.slow
def test_processes_get_the_corrections(folder: Path, result: Any) -> None:
    other = run_search(config(folder), executor="futures", workers=2)
    for name, histogram in result.histograms.items():
        assert histogram == other.histograms[name]


def test_corrections_are_pickled_as_text(folder: Path) -> None:
    energy = config(folder).search.jet_energy
    again = pickle.loads(pickle.dumps(energy))
    assert again == energy
    assert again.names == SHIFTS[1:]


def test_jets_are_those_of_coffea(folder: Path, agrees: Agreement) -> None:
    """Its factory for jets with a matched generator jet, for which it takes no random numbers."""
    tools = pytest.importorskip("coffea.jetmet_tools.correctionlib_adapters")
    from coffea.jetmet_tools import CorrectedJetsFactory

    stack = tools.CorrectionLibJECStack.from_file(
        str(folder / "ak4.json"), TAG, "MC", "AK4PFPuppi", unc_sources=["Total"], jer_tag=RESOLUTION
    )
    events = opened(folder / "tt22.root")
    energy = config(folder).search.jet_energy
    ours = CorrectedEvents(energy, events, "tt22", Sample(2.0, era="2022"))
    jets = ours._jets["Jet"]
    of = ak.to_numpy(ak.num(events.Jet.pt))
    generated = jets._generated()
    fields = {key: jets.column(key) for key in ("pt", "eta", "mass", "area")}
    fields["pt_raw"] = jets.pt * (1 - jets.column("rawFactor"))
    fields["mass_raw"] = fields["mass"] * (1 - jets.column("rawFactor"))
    fields["pt_gen"] = np.nan_to_num(generated)
    fields["pt"] = fields["pt"].astype(np.float32)  # of which its seeds are made
    fields["rho"] = jets.of_event("Rho.fixedGridRhoFastjetAll")
    names = stack.blank_name_map | {"JetPt": "pt", "JetMass": "mass", "JetEta": "eta", "JetA": "area"}
    names |= {"ptRaw": "pt_raw", "massRaw": "mass_raw", "Rho": "rho", "ptGenJet": "pt_gen"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CorrectedJetsFactory(names, stack).build(ak.unflatten(ak.zip(fields), of))
    scaled = ak.to_numpy(ak.flatten(theirs.pt_jec))
    relative = ak.to_numpy(ak.flatten(theirs.jet_energy_resolution))
    matched = (generated > 0) & (abs(scaled - generated) < 3 * relative * scaled)
    assert matched.sum() > 50
    np.testing.assert_allclose(jets.pt * jets.scale, scaled, rtol=1e-6)
    pairs = [(None, theirs)]
    for sign, side in ((1, "up"), (-1, "down")):
        pairs.append((EnergyShift("jer", sign), theirs.JER[side]))
        pairs.append((EnergyShift("jes", sign, "Total"), theirs.JES_Total[side]))
    for shift, expected in pairs:
        for name, values in jets.columns(shift).items():
            other = ak.to_numpy(ak.flatten(expected[name]))
            part = f"{name} {shift or 'nominal'}"
            agrees("corrections/coffea", values[matched], other[matched], sample=matched.sum(), rtol=1e-6, part=part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("file: ak4.json", "file: ak5.json"), r"line 25: cannot read .*ak5.json"),
        (("AK4PFPuppi", "AK4PFPupi"), r"line 24: unknown algorithm .*'AK4PFPupi' \(nearest: AK4PFPuppi\)"),
        (("tag: Toy23_V1", "tag: Toy23_V2"), r"line 22: unknown tag .*'Toy23_V2' \(nearest: Toy23_V1"),
        (("[Total]", "[Totl]"), r"line 19: unknown uncertainty .*'Totl' \(nearest: Total\)"),
        (
            ("JRV1\n      uncertainties: [Total, ", "JRV1\n      level: L1L2L3\n      uncertainties: [Total, "),
            "unknown level",
        ),
        (
            (
                "resolution: Toy22_JRV1\n      uncertainties: [Total]",
                "resolution: Toy22_V1\n      uncertainties: [Total]",
            ),
            "PtRes",
        ),
        (
            ("data_tag: Toy22_RunC_V1\n", "data_tag: Toy22_V1\n"),
            r"has corrections of simulation, not of data.*Toy22_RunC_V1",
        ),
        (
            ("      data_tag: Toy22_RunC_V1\n", ""),
            r"'run22' is data, for which .* wrong: give data_tag, one of Toy22_RunC",
        ),
        (("run23: Toy22_RunC_V1}", "run24: Toy22_RunC_V1}"), r"line 23: .*'run23' is data|unknown sample .*'run24'"),
        (("        2023: {file", "        2024: {file"), r"line 21: unknown era: '2024' \(nearest: 2023, 2022\)"),
        (("    Jet:\n", "    Jets:\n"), r"unknown jets with corrections .*'Jet' \(nearest: Jets, FatJet\)"),
        (
            ("masses: [mass, msoftdrop]", "masses: [masss]"),
            r"line 20: unknown column of FatJet .*'masss' \(nearest: mass, ",
        ),
        (
            ("collection: PuppiMET", "collection: PupiMET"),
            r"line 30: unknown collection .*'PupiMET' \(nearest: PuppiMET\)",
        ),
        (('"pt > 20 and', '"pts > 20 and'), r"line 30: unknown column of Jet .*'pts' \(nearest: pt\)"),
        (("  met: {coll", "  mets: {coll"), r"unknown key 'mets' \(nearest: met, jets\)"),
        (("      algorithm: AK8PFPuppi\n", ""), r"line 13: the corrections of FatJet .*need the key 'algorithm'"),
        (
            ("cuts:\n", "event_selection: PuppiMET.pt > 1\ncuts:\n"),
            r"the cut on events uses PuppiMET.pt as it is in the file",
        ),
    ],
)
def test_what_is_refused(folder: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises((ConfigError, InputFileError), match=message):
        run_search(config(folder, change))


def test_jets_outside_of_the_range_are_refused_or_counted(
    folder: Path, tmp_path: Path, made: dict[str, dict[str, Any]]
) -> None:
    far = dict(made["tt22"])
    eta = far["Jet_eta"]
    index = ak.local_index(eta)
    far["Jet_eta"] = ak.values_astype(ak.where((index == 0) & (far["event"] % 10 == 3), 3.5, eta), np.float32)
    for path in folder.iterdir():
        if path.name != "tt22.root":
            (tmp_path / path.name).symlink_to(path)
    write(tmp_path / "tt22.root", far)
    with pytest.raises(
        InvalidValues, match=r"of Jet are outside of the range of 'ScaleFactor', .*event 3 \(JetEta = 3.5"
    ):
        run_search(config(tmp_path, *SMALL))
    kept = run_search(
        config(tmp_path, *SMALL, ("      algorithm: AK4PFPuppi", "      algorithm: AK4PFPuppi\n      outside: keep"))
    )
    number = int(ak.sum(ak.num(eta[far["event"] % 10 == 3]) > 0))
    assert f"dataset 'tt22': {number} of Jet are outside of the range" in " ".join(kept.notes)


@pytest.mark.parametrize("source", ["Total", "Regrouped_FlavorQCD"])
def test_jets_outside_are_not_shifted_and_others_are(folder: Path, tmp_path: Path, source: str) -> None:
    """One source of two has a range; jets outside of it are shifted by the other one."""
    text = (folder / "ak4.json").read_text()
    binning = '{"nodetype":"binning","input":"JetEta","edges":[-1.0,1.0],"content":[0.03],"flow":"error"}'
    assert '"data":0.03' in text
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "ak4.json").unlink()
    (tmp_path / "ak4.json").write_text(text.replace('"data":0.03', f'"data":{binning}'))
    keep = ("      algorithm: AK4PFPuppi", "      algorithm: AK4PFPuppi\n      outside: keep")
    energy = config(tmp_path, keep).search.jet_energy
    corrected = CorrectedEvents(energy, opened(folder / "tt22.root"), "tt22", Sample(2.0, era="2022"))
    nominal = ak.flatten(corrected.columns("Jet", None)["pt"])
    for sign in (1, -1):
        shifted = ak.flatten(corrected.columns("Jet", EnergyShift("jes", sign, source))["pt"])
        outside = np.abs(ak.flatten(corrected.events.Jet.eta)) >= 1
        assert outside.to_numpy().any()
        assert (shifted == nominal).to_numpy().tolist() == (outside.to_numpy() & (source != "Total")).tolist()
    assert corrected.outside() == {"FatJet": 0, "Jet": int(ak.sum(outside)) if source != "Total" else 0}


def test_without_a_level_the_energies_of_the_file_stay(folder: Path) -> None:
    plain = ("      file: ak4.json", "      level: null\n      generator_jets: none\n      file: ak4.json")
    missing = ("      data_tag: {run22: Toy22_RunC_V1, run23: Toy22_RunC_V1}\n", "")
    energy = config(folder, plain, missing).search.jet_energy
    data = CorrectedEvents(energy, opened(folder / "run22.root"), "run22", Sample(data=True, era="2022"))
    assert data.columns("Jet", None)["pt"].tolist() == data.events.Jet.pt.tolist()
    events = opened(folder / "tt22.root")
    simulated = CorrectedEvents(energy, events, "tt22", Sample(2.0, era="2022"))
    jets, counts = events.Jet, ak.to_numpy(ak.num(events.Jet.pt))
    rho = np.repeat(ak.to_numpy(events.Rho.fixedGridRhoFastjetAll), counts)
    gauss = normals(
        np.repeat(ak.to_numpy(events.event), counts),
        ak.flatten(ak.local_index(jets.pt)).to_numpy(),
        "resolution of Jet",
    )
    flat = zip(ak.flatten(jets.pt).tolist(), ak.flatten(jets.eta).tolist(), rho.tolist(), gauss.tolist(), strict=True)
    expected = [pt * smear({"pt": pt, "eta": eta, "rho": r}, "nom", g, None) for pt, eta, r, g in flat]
    np.testing.assert_allclose(ak.flatten(simulated.columns("Jet", None)["pt"]), expected, rtol=1e-6)


def test_a_job_carries_the_corrections_that_it_uses_alone(folder: Path) -> None:
    corrections = config(folder).search.jet_energy.jets["Jet"]["2022"]
    whole = JercFile.load(folder / "ak4.json")
    assert corrections.file.digest == whole.digest
    check_shown(whole)
    text = write_jerc(folder / "more.json", "AK4PFPuppi").read_text()
    assert "Total" in text
    fewer = whole.only([f"{TAG}_MC_L1L2L3Res_AK4PFPuppi"])
    assert list(fewer.corrections) == [f"{TAG}_MC_L1FastJet_AK4PFPuppi", f"{TAG}_MC_L2Relative_AK4PFPuppi"]
    assert pickle.loads(pickle.dumps(fewer)).digest == whole.digest


def test_an_unknown_input_needs_an_expression(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "ak4.json").unlink()
    write_jerc(tmp_path / "ak4.json", "AK4PFPuppi")
    text = (tmp_path / "ak4.json").read_text().replace('"Rho"', '"Density"')
    (tmp_path / "ak4.json").write_text(text)
    with pytest.raises(ConfigError, match=r"needs the input 'Density', of unknown meaning"):
        config(tmp_path, *SMALL)
    with_input = ("      algorithm: AK4PFPuppi", "      algorithm: AK4PFPuppi\n      inputs: {Density: %s}")
    good = config(tmp_path, *SMALL, (with_input[0], with_input[1] % "Rho.fixedGridRhoFastjetAll"))
    result = run_search(good)
    assert result.histograms["met"].sum().value != 0
    with pytest.raises(JettaggerError, match=r"line 1\d: unknown column of Jet .*'Rho.fixedGrid'"):
        run_search(config(tmp_path, *SMALL, (with_input[0], with_input[1] % "Rho.fixedGrid")))


def test_a_network_keeps_its_scores_if_no_input_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.processors import ResonanceSearchProcessor

    plain = config(folder, ("  sd: {bins", "  hbb: {bins: [10, 0, 1], expression: jet1.tinyParT_probHbb}\n  sd: {bins"))
    arguments = plain.search.arguments()
    runs = []

    class Counting(ResonanceSearchProcessor):
        def tag(self, events: Any, where: Any, kinematics: Any = None) -> Any:
            runs.append(kinematics)
            return super().tag(events, where, kinematics)

    events = opened(folder / "tt22.root")
    Counting(**arguments, model="tinyParT").process(events)
    assert runs == [None]
    monkeypatch.setattr(Counting, "rescoring", lambda self, columns: tuple(columns))  # as if the network read pt
    runs.clear()
    Counting(**arguments, model="tinyParT").process(events)
    energy = plain.search.jet_energy
    corrected = CorrectedEvents(energy, events, "tt22", plain.search.samples["tt22"])
    shifts = [None, *energy.shifts().values()]
    assert len(runs) == len(shifts)
    for kinematics, shift in zip(runs, shifts, strict=True):
        expected = corrected.columns("FatJet", shift)
        assert kinematics.keys() == expected.keys() == {"pt", "mass", "msoftdrop"}
        assert all(kinematics[name].tolist() == expected[name].tolist() for name in expected)


def test_a_dry_run_says_what_the_network_does(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = CONFIG.replace("chunk_size: 17", "tagger: {model: tinyParT, threads: 1}")
    text = text.replace("  sd: {bins", "  hbb: {bins: [10, 0, 1], expression: jet1.tinyParT_probHbb}\n  sd: {bins")
    (folder / "dry.yaml").write_text(text)
    assert main(["search", str(folder / "dry.yaml"), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    names = "jes_Total, jes_Regrouped_FlavorQCD, jer, unclustered"
    assert f"corrected energies of jets, variations {names}: the network does not depend on them" in said
