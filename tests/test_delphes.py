"""Delphes: constituents by reference, cleaning, impact parameters, scores of all events, flat files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Head
from weavers import table, weaver_bundle

from jettagger import jetclass2
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError, MissingColumns, OutputError, UnknownName
from jettagger.files.delphes import DelphesFile, is_delphes_file
from jettagger.files.tables import FlatFile
from jettagger.formats.delphes import DelphesJets, is_delphes, link
from jettagger.report import PartialJetsWarning
from jettagger.skims.convert import convert_delphes, flat_columns
from jettagger.skims.skim import make_job
from jettagger.tagging.tagger import load_tagger
from jettagger.truth.delphes import class_of

HEADS = (Head("softmax", 3, softmax=True),)


def example(shared: Path) -> str:
    return str(shared / "sophon/events_delphes_example.root")


def events_of(n_events: int = 3, seed: int = 0, dangling: int = 0, **changes: Any) -> Any:
    """Events in the shape in which files are read: two jets each, candidates in random order."""
    rng = np.random.default_rng(seed)
    collections: dict[str, list[Any]] = {"JetPUPPIAK8": [], "ParticleFlowCandidate": [], "Vertex": []}
    for _ in range(n_events):
        jets, candidates, number = [], [], 100
        for axis in (0.4, -0.9):
            phi = float(rng.uniform(-3.1, 3.1))
            refs = []
            for _ in range(int(rng.integers(2, 9))):
                number += 1
                refs.append(number)
                charge = int(rng.integers(-1, 2))
                candidates.append(
                    {
                        "fUniqueID": number,
                        "PT": float(rng.choice([0.0, 1.0, 5.0, 20.0]) * rng.uniform(0.5, 1)),
                        "Eta": float(axis + rng.choice([0.0, 5.0], p=[0.9, 0.1]) + rng.normal(0, 0.2)),
                        "Phi": float(phi + rng.normal(0, 0.2)),
                        "Mass": 0.14,
                        "Charge": charge,
                        "PID": 211 * charge if charge else int(rng.choice([22, 130])),
                        "D0": float(rng.normal()),
                        "ErrorD0": 0.1,
                        "DZ": float(rng.normal(0, 30)) if charge else 0.0,
                        "ErrorDZ": 0.2,
                    }
                )
            refs += [9_000 + i for i in range(dangling)]
            # the jet's transverse momentum is that of the candidates that survive the cleaning
            own = [item for item in candidates if item["fUniqueID"] in refs and abs(item["Eta"]) <= 5]
            px, py = (sum(item["PT"] * part(item["Phi"]) for item in own) for part in (math.cos, math.sin))
            p4 = [{"fP": {"fX": 30.0, "fY": 40.0, "fZ": 0.0}, "fE": 130.0}] * 5
            jets.append(
                {
                    "PT": math.hypot(px, py),
                    "Eta": axis,
                    "Phi": phi,
                    "Mass": 50.0,
                    "Constituents": {"refs": refs},
                    "Tau": [0.5, 0.4, 0.3, 0.2, 0.1],
                    "SoftDroppedP4": p4,
                }
            )
        rng.shuffle(candidates)  # type: ignore[arg-type]
        collections["JetPUPPIAK8"].append(jets)
        collections["ParticleFlowCandidate"].append(candidates)
        collections["Vertex"].append([{"Z": float(rng.normal(0, 30))}, {"Z": 1.0}])
    collections |= changes
    return ak.Array([dict(zip(collections, event, strict=True)) for event in zip(*collections.values(), strict=True)])


def slowly(events: Any, collection: str) -> list[dict[str, Any]]:
    """The same with loops over objects, one number after the other."""
    jets = []
    for event in events.tolist():
        by_number = {item["fUniqueID"]: item for item in event["ParticleFlowCandidate"]}
        primary = event["Vertex"][0]["Z"]
        for jet in event[collection]:
            rows = []
            for ref in jet["Constituents"]["refs"]:
                item = by_number.get(ref)
                if item is None or item["PT"] <= 0 or abs(item["Eta"]) > 5:
                    continue
                pz = item["PT"] * math.sinh(item["Eta"])
                if abs(pz) > 1e4:
                    continue
                momentum = math.hypot(item["PT"], pz)
                sign = 1 if jet["Eta"] > 0 else -1
                dphi = math.remainder(item["Phi"] - jet["Phi"], 2 * math.pi)
                rows.append(
                    {
                        "pt": item["PT"],
                        "part_px": item["PT"] * math.cos(item["Phi"]),
                        "part_py": item["PT"] * math.sin(item["Phi"]),
                        "part_pz": pz,
                        "part_energy": math.hypot(momentum, item["Mass"]),
                        "part_deta": sign * (item["Eta"] - jet["Eta"]),
                        "part_dphi": dphi,
                        "part_d0val": item["D0"],
                        "part_d0err": item["ErrorD0"],
                        "part_dzval": item["DZ"] - primary if item["DZ"] != 0 else 0.0,
                        "part_dzerr": item["ErrorDZ"],
                        "part_charge": item["Charge"],
                        "part_isElectron": abs(item["PID"]) == 11,
                        "part_isMuon": abs(item["PID"]) == 13,
                        "part_isPhoton": item["PID"] == 22,
                        "part_isChargedHadron": item["Charge"] != 0 and abs(item["PID"]) not in (11, 13),
                        "part_isNeutralHadron": item["Charge"] == 0 and item["PID"] != 22,
                    }
                )
            rows.sort(key=lambda row: -row["pt"])
            p4 = jet["SoftDroppedP4"][0]
            square = p4["fE"] ** 2 - sum(p4["fP"][axis] ** 2 for axis in ("fX", "fY", "fZ"))
            momentum = jet["PT"] * math.cosh(jet["Eta"])
            jets.append(
                {
                    "rows": rows,
                    "jet_pt": jet["PT"],
                    "jet_eta": jet["Eta"],
                    "jet_phi": jet["Phi"],
                    "jet_energy": math.hypot(momentum, jet["Mass"]),
                    "jet_sdmass": math.copysign(math.sqrt(abs(square)), square),
                    "jet_nparticles": len(rows),
                    **{f"jet_tau{n + 1}": jet["Tau"][n] for n in range(4)},
                }
            )
    return jets


def assert_same(events: Any, collection: str) -> int:
    found = DelphesJets(events, collection)
    expected = slowly(events, collection)
    assert len(found) == len(expected)
    for name in found.fields:
        column = found.column(name)
        kind = jetclass2.COLUMNS[name]
        assert str(column.type) == f"{len(expected)} * {'' if kind.per_jet else 'var * '}{kind.type}"
        for got, jet in zip(column.tolist(), expected, strict=True):
            reference = jet[name] if kind.per_jet else [row[name] for row in jet["rows"]]
            # differences of coordinates are of float32 numbers, soft-drop masses are small differences of large ones
            assert got == pytest.approx(reference, rel=2e-4 if name == "jet_sdmass" else 1e-5, abs=1e-4), name
    return sum(len(jet["rows"]) for jet in expected)


# constituents


@pytest.mark.data
@pytest.mark.parametrize("collection", ["JetPUPPIAK8", "JetPUPPIAK15"])
def test_jets_of_a_real_file_are_those_of_a_slow_loop(shared: Path, collection: str) -> None:
    with DelphesFile(example(shared)) as file:
        events = file.read(collection)
    assert assert_same(events, collection) > 500


@pytest.mark.slow
@pytest.mark.data
def test_references_to_candidates_that_were_not_written_are_counted(shared: Path) -> None:
    """Jets without PUPPI refer to candidates before PUPPI, few of which are in the file."""
    with DelphesFile(example(shared)) as file:
        events = file.read("JetAK8")
    found = assert_same(events, "JetAK8")
    jets = DelphesJets(events, "JetAK8")
    total = ak.count(events.JetAK8.Constituents.refs)
    assert jets.dangling > 0.9 * total
    assert found <= total - jets.dangling


@pytest.mark.data
def test_constituents_of_a_real_file_add_up_to_their_jets(shared: Path) -> None:
    with DelphesFile(example(shared)) as file:
        events = file.read()
    jets = DelphesJets(events)
    assert jets.collection == "JetPUPPIAK8"
    assert (len(events), len(jets), jets.dangling) == (10, 22, 0)
    total = np.hypot(ak.sum(jets.column("part_px"), axis=1), ak.sum(jets.column("part_py"), axis=1))
    np.testing.assert_allclose(total, jets.column("jet_pt"), rtol=1e-4)
    charged = jets.column("part_charge") != 0
    # tracks of the primary vertex lie within a millimetre of it, and there is pile-up everywhere along the beam
    assert np.median(np.abs(ak.flatten(jets.column("part_dzval")[charged]))) < 0.2
    assert ak.all(jets.column("part_dzval")[~charged] == 0)


@pytest.mark.parametrize("seed", range(3))
def test_jets_of_made_events_are_those_of_a_slow_loop(seed: int) -> None:
    events = events_of(6, seed, dangling=seed)
    assert assert_same(events, "JetPUPPIAK8") > 10
    assert DelphesJets(events).dangling == 2 * 6 * seed


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_references_are_found_in_their_own_event(data: st.DataObject) -> None:
    objects = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), unique=True, max_size=12))
    refs = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=12))
    place = {pair: index for index, pair in enumerate(objects) if pair[1] != 0}
    as_arrays = [np.array([pair[i] for pair in pairs], dtype=np.int64) for pairs in (refs, objects) for i in (0, 1)]
    assert link(*as_arrays).tolist() == [place.get(pair, -1) for pair in refs]


def test_events_without_a_vertex_keep_their_impact_parameters() -> None:
    events = events_of(2)
    with_vertex = DelphesJets(events).column("part_dzval")
    without = DelphesJets(events[[name for name in events.fields if name != "Vertex"]]).column("part_dzval")
    shift = without - with_vertex
    charged = without != 0
    assert ak.any(charged)
    per_jet = np.repeat(ak.to_numpy(ak.firsts(events.Vertex.Z)), 2)
    assert ak.all(np.abs(shift - per_jet)[charged] < 1e-4)
    empty = ak.with_field(events, events.Vertex[:, :0], "Vertex")
    assert DelphesJets(empty).column("part_dzval").tolist() == without.tolist()


# several collections of candidates

FIELDS = {"PT": "ET"}


def as_eflow(events: Any) -> Any:
    """The same candidates as a card with energy flow writes them: tracks, photons and neutral hadrons apart."""
    candidates = events.ParticleFlowCandidate
    charged, photon = candidates.Charge != 0, candidates.PID == 22
    towers = ("fUniqueID", "PT", "Eta", "Phi")
    tables = {
        "EFlowTrack": candidates[charged],
        "EFlowPhoton": candidates[~charged & photon][list(towers)],
        "EFlowNeutralHadron": candidates[~charged & ~photon][list(towers)],
    }
    for name in ("EFlowPhoton", "EFlowNeutralHadron"):
        fields = {FIELDS.get(field, field): tables[name][field] for field in towers}
        tables[name] = ak.zip({**fields, "E": fields["ET"] * np.cosh(fields["Eta"])})
    others = {name: events[name] for name in events.fields if name != "ParticleFlowCandidate"}
    return ak.zip({**others, **tables}, depth_limit=1)


def massless_neutrals(events: Any) -> Any:
    """Events whose neutral candidates have neither mass nor track, as towers."""
    candidates = events.ParticleFlowCandidate
    for name in ("Mass", "D0", "ErrorD0", "DZ", "ErrorDZ"):
        candidates = ak.with_field(candidates, ak.where(candidates.Charge == 0, 0.0, candidates[name]), name)
    return ak.with_field(events, candidates, "ParticleFlowCandidate")


@pytest.mark.parametrize("seed", range(3))
def test_constituents_in_several_collections_are_found_in_all(seed: int) -> None:
    events = massless_neutrals(events_of(5, seed))
    whole, apart = DelphesJets(events), DelphesJets(as_eflow(events))
    assert apart.dangling == 0
    assert not apart.partial().any()
    for name in whole.fields:
        one, other = whole.column(name), apart.column(name)
        if name.startswith("part_"):  # candidates of the same pt may change places
            one, other = ak.sort(one), ak.sort(other)
        assert ak.all(ak.isclose(one, other, atol=1e-6) if "float" in str(one.type) else one == other), name


@pytest.mark.slow
@pytest.mark.data
def test_a_real_file_gives_the_same_jets_from_several_collections(shared: Path) -> None:
    with DelphesFile(example(shared)) as file:
        events = file.read()
    whole, apart = DelphesJets(events), DelphesJets(as_eflow(events))
    for name in ("part_px", "part_energy", "part_dzval", "part_charge", "part_isPhoton", "part_isNeutralHadron"):
        assert ak.num(apart.column(name)).tolist() == ak.num(whole.column(name)).tolist()
        np.testing.assert_allclose(
            ak.flatten(ak.sort(apart.column(name))), ak.flatten(ak.sort(whole.column(name))), rtol=1e-4, atol=1e-5
        )
    for lacking in ("EFlowNeutralHadron", "EFlowPhoton", "EFlowTrack"):
        part = as_eflow(events)
        jets = DelphesJets(part[[name for name in part.fields if name != lacking]])
        assert 0 < jets.dangling < whole.dangling + ak.count(events.JetPUPPIAK8.Constituents.refs)
        assert jets.partial().sum() > len(jets) / 2
    with pytest.raises(InputFileError, match=r"no candidates: EFlowTrack\.D0 missing"):
        DelphesJets(
            ak.with_field(as_eflow(events), ak.without_field(as_eflow(events).EFlowTrack, "D0"), "EFlowTrack")[
                ["Event", "JetPUPPIAK8", "EFlowTrack"]
            ]
        )


def test_an_object_in_two_collections_counts_once() -> None:
    events = massless_neutrals(events_of(4))
    both = as_eflow(events)
    both = ak.with_field(both, events.ParticleFlowCandidate, "ParticleFlowCandidate")
    assert DelphesJets(both).column("part_px").tolist() == DelphesJets(events).column("part_px").tolist()


# parts of jets


@pytest.mark.data
@pytest.mark.slow
def test_jets_whose_references_cannot_be_followed_are_not_scored(shared: Path, tmp_path: Path) -> None:
    with DelphesFile(example(shared)) as file:
        events = {name: file.read(name) for name in ("JetAK8", "JetPUPPIAK8", "JetPUPPIAK15")}
    folder = weaver_bundle(tmp_path / "toy")
    with pytest.warns(PartialJetsWarning, match=r"22 of 22 jets .* the first is jet 0 of JetAK8 in event 0"):
        jets = load_tagger(folder, jets="JetAK8").attach(events["JetAK8"]).JetAK8
    assert ak.all(ak.is_none(jets.toy_proba, axis=1))
    table = DelphesJets(events["JetAK8"], "JetAK8")
    total = np.hypot(ak.sum(table.column("part_px"), axis=1), ak.sum(table.column("part_py"), axis=1))
    share = ak.to_numpy(total / table.column("jet_pt"))
    for least in (0.02, 0.3, 0.5, 0.69, 0.7):
        assert table.partial(least).tolist() == (share < least).tolist()
    for name in ("JetPUPPIAK8", "JetPUPPIAK15"):
        assert not DelphesJets(events[name], name).partial(0.99).any()
    done = convert_delphes(example(shared), tmp_path / "jets.root", jets="JetAK8")
    assert (done.jets, done.partial, done.empty) == (0, 22, 0)


def test_masked_events_have_no_scores(tmp_path: Path) -> None:
    tagger = load_tagger(weaver_bundle(tmp_path / "toy"))
    events = events_of(5)
    mask = np.array([True, False, True, True, False])
    whole, masked = tagger(events), tagger(ak.mask(events, mask))
    assert ak.is_none(masked).tolist() == (~mask).tolist()
    for one, other in zip(masked[mask].proba.tolist(), whole[mask].proba.tolist(), strict=True):
        assert one == pytest.approx(other)
    attached = tagger.attach(ak.mask(events, mask), where=ak.mask(events.JetPUPPIAK8.PT > 0, mask))
    assert ak.is_none(attached).tolist() == (~mask).tolist()
    assert attached.JetPUPPIAK8.toy_inDomain.tolist() == ak.mask(whole.inDomain, mask).tolist()


# bad input


def test_a_file_without_the_jets_or_the_candidates_lists_what_is_there() -> None:
    events = events_of(2)
    with pytest.raises(InputFileError, match=r"no jets 'JetAK15' .*collections of jets: JetPUPPIAK8; all .*Vertex"):
        DelphesJets(events, "JetAK15")
    with pytest.raises(InputFileError, match=r"ParticleFlowCandidate missing; collections: JetPUPPIAK8, Vertex"):
        DelphesJets(events[["JetPUPPIAK8", "Vertex"]])
    few = ak.with_field(events, events.ParticleFlowCandidate[["PT", "Eta"]], "ParticleFlowCandidate")
    with pytest.raises(InputFileError, match=r"ParticleFlowCandidate\.fUniqueID, ParticleFlowCandidate\.Phi"):
        DelphesJets(few)


@pytest.mark.slow
@pytest.mark.data
def test_the_shell_says_which_jets_there_are(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = weaver_bundle(tmp_path / "toy"), str(tmp_path / "x.root")
    for command in (
        ["convert", "delphes", example(shared), "--jets", "JetAK9", "-o", output],
        ["tag", example(shared), "-m", str(folder), "--jets", "JetAK9", "-o", output],
    ):
        assert main(command) != 0
        said = " ".join(capsys.readouterr().err.split())
        assert "no jets 'JetAK9'" in said
        assert "JetPUPPIAK15" in said
    assert not Path(output).exists()


@pytest.mark.data
def test_files_that_lack_something_are_refused(shared: Path, tmp_path: Path) -> None:
    with DelphesFile(example(shared)) as file:
        assert file.jets == ["Jet", "JetAK15", "JetAK8", "JetPUPPI", "JetPUPPIAK15", "JetPUPPIAK8"]
        with pytest.raises(InputFileError, match=r"no jets 'JetPUPPIAK9' \(nearest: JetPUPPIAK8.*ScalarHT"):
            file.read("JetPUPPIAK9")
    with DelphesFile(example(shared)) as file:
        file.collections = [name for name in file.collections if name != "ParticleFlowCandidate"]
        with pytest.raises(
            InputFileError, match=r"has no ParticleFlowCandidate or EFlowTrack.*collections: .*JetPUPPIAK8.*Vertex"
        ):
            file.read()
    assert is_delphes_file(example(shared))
    with pytest.raises(InputFileError, match="no such file"):
        DelphesFile(tmp_path / "none.root")
    (tmp_path / "bad.root").write_bytes(b"root")
    with pytest.raises(InputFileError, match="is not a readable ROOT file"):
        DelphesFile(tmp_path / "bad.root")
    assert not is_delphes_file(tmp_path / "bad.root")
    with uproot.recreate(tmp_path / "other.root") as other:
        other["Events"] = {"x": np.ones(2)}
    with pytest.raises(InputFileError, match=r"has no tree 'Delphes'.*Events"):
        DelphesFile(tmp_path / "other.root")
    with uproot.recreate(tmp_path / "few.root") as few:
        few["Delphes"] = {"Event.Number": np.ones(2)}
    with DelphesFile(tmp_path / "few.root") as file, pytest.raises(InputFileError, match="collections of jets: none"):
        file.read()


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tagger = load_tagger(weaver_bundle(tmp_path / "toy"))
    with pytest.raises(MismatchError, match=r"aligned with events\.JetPUPPIAK8 \(3 events\)"):
        tagger(events_of(3), where=ak.Array([[True]] * 3))
    with pytest.raises(MismatchError, match="where is int"):
        tagger(events_of(3), where=3)


def test_what_is_delphes() -> None:
    assert not is_delphes(table().fields)
    assert is_delphes(events_of(1).fields)


# scores


def test_events_get_scores_for_all_their_jets(tmp_path: Path) -> None:
    tagger = load_tagger(weaver_bundle(tmp_path / "toy"))
    events = events_of(4)
    tagged = tagger.attach(events)
    assert tagged.fields == events.fields
    assert str(tagged.JetPUPPIAK8.toy_proba.type) == "4 * var * ?float32"
    assert ak.num(tagged.JetPUPPIAK8.toy_proba).tolist() == [2] * 4
    columns, _ = flat_columns(events)
    flat = tagger(ak.zip(columns, depth_limit=1))
    filled = ak.num(DelphesJets(events).column("part_px")) > 0
    assert ak.flatten(tagged.JetPUPPIAK8.toy_proba)[filled].tolist() == pytest.approx(flat.proba.tolist(), abs=1e-6)
    assert ak.flatten(tagged.JetPUPPIAK8.toy_inDomain)[filled].tolist() == flat.inDomain.tolist()
    part = tagger.attach(events, where=events.JetPUPPIAK8.Eta > 0, columns=["proba"], prefix="my")
    assert ak.is_none(part.JetPUPPIAK8.my_proba, axis=1)[:, 1].tolist() == [True] * 4
    with pytest.warns(PartialJetsWarning, match="8 of 8 jets are not scored"):
        report = tagger.run(events_of(4, dangling=2)).report
    assert (report.events, report.jets, report.dangling_links, report.partial, report.scored) == (4, 8, 16, 8, 0)
    report = load_tagger(tmp_path / "toy", min_pt_share=0.9).run(events_of(4, dangling=2)).report
    assert (report.dangling_links, report.partial, report.scored) == (16, 0, int(ak.sum(filled)))
    lacking = ak.with_field(events, ak.without_field(events.JetPUPPIAK8, "SoftDroppedP4"), "JetPUPPIAK8")
    assert tagger(lacking).inDomain.tolist() == [[None, None]] * 4
    with pytest.raises(MissingColumns, match="needs jet_sdmass"):
        load_tagger(tmp_path / "toy", outside="skip")(lacking)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("collection", [None, "JetPUPPIAK15"])
def test_all_events_of_a_file_are_tagged(shared: Path, tmp_path: Path, collection: str | None) -> None:
    folder = weaver_bundle(tmp_path / "toy")
    output = tmp_path / "out.parquet"
    more = [] if collection is None else ["--jets", collection]
    code = main(
        ["tag", example(shared), "-m", str(folder), "-o", str(output), "--where", "pt > 300", "--memory", "4MB", *more]
    )
    assert code == 0
    skim = ak.from_parquet(output)
    jets = collection or "JetPUPPIAK8"
    tagger = load_tagger(folder, jets=collection)
    with DelphesFile(example(shared)) as file:
        events = file.read(collection)
    expected = tagger(events, where=events[jets].PT > 300)
    assert len(skim) == 10
    assert skim[f"n{jets}"].tolist() == ak.num(skim[f"{jets}_pt"]).tolist()
    fields = [name for name in skim.fields if name != f"n{jets}"]
    assert fields[:6] == ["event", *(f"{jets}_{name}" for name in ("pt", "eta", "phi", "energy", "sdmass"))]
    assert ak.flatten(skim[f"{jets}_toy_proba"]).tolist() == pytest.approx(
        ak.flatten(expected.proba).tolist(), abs=1e-6
    )
    assert skim[f"{jets}_toy_inDomain"].tolist() == expected.inDomain.tolist()
    assert main(["tag", example(shared), "-m", str(folder), "-o", str(tmp_path / "x.root"), *more]) == 0
    with FlatFile(tmp_path / "x.root") as file:
        assert file.n_jets == 10


@pytest.mark.slow
@pytest.mark.data
def test_jobs_on_delphes_files_that_make_no_sense_are_refused(shared: Path, tmp_path: Path) -> None:
    tagger = load_tagger(weaver_bundle(tmp_path / "toy"))
    for settings_, error, message in (
        ({"keep": ["x"]}, ConfigError, "--keep is not for Delphes"),
        ({"workers": 0}, ConfigError, "workers"),
        ({"columns": []}, ConfigError, "nothing would be written"),
        ({"where": "ptt > 3"}, UnknownName, "ptt"),
    ):
        with pytest.raises(error, match=message):
            make_job([example(shared)], tagger, **settings_)  # type: ignore[arg-type]
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"")
    job = make_job([str(broken), example(shared)], tagger, skip_broken=True)
    assert list(job.skipped) == [str(broken)]
    with pytest.raises(InputFileError, match="none of the 1 files"):
        make_job([str(broken)], tagger, skip_broken=True)


# flat files


@pytest.mark.slow
@pytest.mark.data
def test_a_real_file_becomes_jets_of_the_published_shape(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "jets.root"
    assert main(["convert", "delphes", example(shared), "-o", str(output)]) == 0
    said = capsys.readouterr().out
    assert "jets with a class" in said
    jets = jetclass2.read(output)
    assert set(jets.fields) == set(jetclass2.COLUMNS)
    with DelphesFile(example(shared)) as file:
        table_ = DelphesJets(file.read())
    assert len(jets) == 22
    for name in table_.fields:
        assert ak.all(jets[name] == table_.column(name)), name
    response = ak.to_numpy(jets.genjet_pt / jets.jet_pt)
    assert np.all((response > 0.7) & (response < 1.6))
    total = np.hypot(ak.sum(jets.genpart_px, axis=1), ak.sum(jets.genpart_py, axis=1))
    np.testing.assert_allclose(total, jets.genjet_pt, rtol=1e-3)
    assert not ak.any(np.isin(np.abs(ak.to_numpy(ak.flatten(jets.genpart_pid))), [12, 14, 16]))
    names = jetclass2.truth(jets.jet_label, none=-1)
    assert sum(name is not None for name in names) == 20
    assert {name for name in names if name} <= set(jetclass2.LABELS[:15])  # pairs of H -> 2 prongs
    for name, jet in zip(names, jets, strict=True):
        if name in ("X_bb", "X_cc", "X_gg"):
            legs = sorted(abs(pid) for pid in jet.aux_genpart_pid[jet.aux_genpart_isResDecayProd])
            assert legs == [{"b": 5, "c": 4, "g": 21}[name[-1]]] * 2
            assert jet.aux_genpart_pid[jet.aux_genpart_isResX].tolist() == [25]


@pytest.mark.slow
@pytest.mark.data
def test_an_output_is_not_replaced_and_jets_are_chosen(shared: Path, tmp_path: Path) -> None:
    output = tmp_path / "jets.parquet"
    done = convert_delphes(example(shared), output, jets="JetPUPPIAK15")
    assert done.jets == len(ak.from_parquet(output))
    assert done.events == 10
    with pytest.raises(OutputError, match="exists already"):
        convert_delphes(example(shared), output)
    with pytest.raises(InputFileError, match="no jets 'FatJet'"):
        convert_delphes(example(shared), tmp_path / "x.root", jets="FatJet")
    assert not (tmp_path / "x.root").exists()


@pytest.mark.parametrize(
    ("legs", "two_body", "name"),
    [
        ("b b", True, "X_bb"),
        ("c b", True, "X_bc"),
        ("tauh taue", True, "X_tauhtaue"),
        ("tauh tauh", True, "X_tauhtauh"),
        ("b", True, None),
        ("b b c c", False, "X_YY_bbcc"),
        ("c b b", False, "X_YY_bbc"),
        ("b b e e", False, "X_YY_bbee"),
        ("b b e", False, "X_YY_bbe"),
        ("g m m", False, "X_YY_gmm"),
        ("q tauh taum", False, "X_YY_qtauhtaum"),
        ("q q e v", False, "X_YY_qqev"),
        ("c s tauh v", False, "X_YY_cstauhv"),
        ("b c s q", False, "X_YY_bcsq"),
        ("e m", False, None),
        ("", False, None),
    ],
)
def test_classes_follow_from_the_legs_inside(legs: str, two_body: bool, name: str | None) -> None:
    label = class_of(legs.split(), two_body=two_body)
    assert (jetclass2.LABELS[label] if label >= 0 else None) == name


def test_every_class_of_a_resonance_has_its_legs() -> None:
    from jettagger.truth.delphes import _BY_LEGS

    assert sorted(_BY_LEGS.values()) == list(range(161))
