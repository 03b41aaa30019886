"""The experiment's own numbers: networks of CMS on events of CMS, against the scores stored in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import assert_same_scores, branches_of, flat
from real_files import opened

import jettagger as jt
from jettagger.errors import MissingColumns
from jettagger.files.root import EventFile
from jettagger.formats.nesting import nest
from jettagger.inputs.source import check_columns
from jettagger.sessions import ReplaySession
from jettagger.tagging.tagger import Tagger

pytestmark = pytest.mark.data

STORED = {"probHbb": "particleNetMD_Xbb", "probHcc": "particleNetMD_Xcc", "probHqq": "particleNetMD_Xqq"}

#: what ParticleNet reads from PFNano: not a column more
PARTICLENET_COLUMNS = {
    *(f"FatJet_{name}" for name in ("pt", "eta", "phi", "mass")),
    *(f"FatJetPFCands_{name}" for name in ("jetIdx", "pFCandsIdx")),
    *(f"FatJetPFCands_btag{name}" for name in ("EtaRel", "PtRatio", "PParRatio", "Sip3dVal", "Sip3dSig", "JetDistVal")),
    *(f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", "charge", "pvAssocQuality", "lostInnerHits")),
    "PFCands_puppiWeight",
    *(f"PFCands_{name}" for name in ("trkQuality", "trkChi2", "dz", "dzErr", "d0", "d0Err")),
    *(f"FatJetSVs_{name}" for name in ("jetIdx", "sVIdx", "pt", "mass", "ntracks", "normchi2", "dxy", "dxysig")),
    *(f"FatJetSVs_{name}" for name in ("d3d", "d3dsig", "deltaR", "phirel", "enration")),
    *("SV_eta", "SV_phi"),
    # what tells whether links lead where they led, and constituents carry their jet
    *("FatJetPFCands_pt", "SV_pt", "FatJet_rawFactor"),
}
#: the Particle Transformer has flags of the particle type besides
PART_COLUMNS = {*PARTICLENET_COLUMNS, "PFCands_pdgId"}

COUNTERS = {"nFatJet", "nFatJetPFCands", "nPFCands", "nFatJetSVs", "nSV"}


def folder(shared: Path, name: str) -> Path:
    return shared / "models" / name


@pytest.fixture(scope="module")
def particlenet(shared: Path) -> Tagger:
    return jt.load_tagger(folder(shared, "particlenet-ak8-md"), threads=1)


@pytest.fixture(scope="module")
def part(shared: Path) -> Tagger:
    return jt.load_tagger(folder(shared, "part-ak8-2023"), threads=1)


def read(path: Path, tagger: Tagger) -> Any:
    with opened(path) as file:
        extra = [f"FatJet.{name}" for name in (*STORED.values(), "particleNetMD_QCD")]
        return file.read([*check_columns(tagger.bundle, file).columns, "PFCands.pdgId", *extra])


@pytest.fixture(scope="module")
def events(shared: Path, particlenet: Tagger) -> Any:
    return read(shared / "cms/pfnano.root", particlenet)


def differences(scores: Any, events: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: np.abs(flat(scores, name) - ak.to_numpy(ak.flatten(events.FatJet[stored])))
        for name, stored in STORED.items()
    }


def test_particlenet_gives_back_the_stored_scores(particlenet: Tagger, events: Any) -> None:
    tagged = particlenet.run(events)
    assert tagged.report.scored == tagged.report.jets == 24
    assert tagged.report.recovered_vertices == 12
    off = differences(tagged.scores, events)
    assert all(np.median(values) <= 1e-3 for values in off.values())
    assert np.median(off["probHbb"]) <= 5e-5
    assert all(values.max() <= 0.04 for values in off.values())
    spread = {name: np.ptp(ak.to_numpy(ak.flatten(events.FatJet[stored]))) for name, stored in STORED.items()}
    assert min(spread.values()) > 0.01, "the stored scores would be too much alike to prove anything"


def test_the_stored_qcd_sum_is_given_back_too(particlenet: Tagger, events: Any) -> None:
    scores = particlenet(events)
    qcd = sum(flat(scores, name) for name in scores.fields if name.startswith("probQCD"))
    off = np.abs(qcd - ak.to_numpy(ak.flatten(events.FatJet.particleNetMD_QCD)))
    assert np.median(off) <= 3e-3  # the differences of five classes add up
    assert off.max() <= 0.05


def test_without_the_vertices_that_the_table_lacks_xbb_is_clearly_worse(particlenet: Tagger, events: Any) -> None:
    kept = events.FatJetSVs[events.FatJetSVs.sVIdx >= 0]
    without = ak.with_field(events, kept, "FatJetSVs")
    assert ak.count(events.FatJetSVs.sVIdx) - ak.count(kept.sVIdx) == 12
    recovered, dropped = (differences(particlenet(given), events)["probHbb"] for given in (events, without))
    assert np.median(dropped) > 2.5 * np.median(recovered)
    assert dropped.mean() > 1.5 * recovered.mean()


@pytest.mark.slow
def test_part_as_a_bare_folder_gives_probabilities_and_qcd_jets_are_qcd(part: Tagger, events: Any) -> None:
    assert not (part.bundle.folder / "bundle.json").exists()
    kinds = [output.kind for output in part.bundle.outputs]
    assert (kinds.count("prob"), kinds.count("other"), len(kinds)) == (314, 2, 316)
    scores = part(events)
    probabilities = {output.name: flat(scores, output.name) for output in part.bundle.outputs if output.kind == "prob"}
    total = sum(probabilities.values())
    assert len(total) == 24
    np.testing.assert_allclose(total, 1, atol=1e-5)
    qcd = sum(values for name, values in probabilities.items() if name.startswith("probQCD"))
    assert np.count_nonzero(qcd > 0.5) >= 18
    for output in part.bundle.outputs:
        if output.kind == "other":  # factors on a mass, not GeV
            assert np.all((flat(scores, output.name) > 0) & (flat(scores, output.name) < 5))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["particlenet", "part"])
def test_the_rntuple_agrees_with_the_tree(name: str, shared: Path, request: pytest.FixtureRequest) -> None:
    tagger = request.getfixturevalue(name)
    tree, ntuple = (read(shared / "cms" / file, tagger) for file in ("pfnano.root", "pfnano_rntuple.root"))
    assert_same_scores(tagger(ntuple), tagger(tree))


def accessed(log: list[Any]) -> set[str]:
    return {*branches_of(log)}


def open_with_coffea(path: Path, schema: str, log: list[Any] | None = None) -> Any:
    from coffea import nanoevents

    chosen = getattr(nanoevents, schema)
    return nanoevents.NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=chosen, access_log=log).events()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "columns"),
    [("particlenet", PARTICLENET_COLUMNS), pytest.param("part", PART_COLUMNS, marks=pytest.mark.slow)],
)
def test_virtual_events_give_the_same_and_exactly_the_needed_columns_are_read(
    name: str, columns: set[str], shared: Path, events: Any, request: pytest.FixtureRequest
) -> None:
    tagger = request.getfixturevalue(name)
    log: list[Any] = []
    virtual = open_with_coffea(shared / "cms/pfnano.root", "PFNanoAODSchema", log)
    attached = tagger.attach(virtual, columns=("prob", "other"))
    assert accessed(log) == columns | COUNTERS
    wanted = tagger(events)
    prefix = tagger.bundle.prefix
    for output in tagger.bundle.select(["prob", "other"]):
        np.testing.assert_allclose(
            ak.to_numpy(ak.flatten(attached.FatJet[f"{prefix}_{output.name}"])),
            flat(wanted, output.name),
            rtol=1e-4,
            atol=1e-5,
        )
    assert accessed(log) == columns | COUNTERS
    with opened(shared / "cms/pfnano.root") as file:
        assert {column.replace(".", "_") for column in check_columns(tagger.bundle, file).columns} == columns


@pytest.mark.slow
def test_virtual_events_from_an_rntuple(shared: Path, particlenet: Tagger, events: Any) -> None:
    log: list[Any] = []
    virtual = open_with_coffea(shared / "cms/pfnano_rntuple.root", "PFNanoAODSchema", log)
    assert_same_scores(particlenet(virtual), particlenet(events))
    assert accessed(log) == PARTICLENET_COLUMNS | COUNTERS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "schema", "phrases"),
    [
        (
            "nano_tt_v15.root",
            "NanoAODSchema",
            [
                "central NanoAOD",
                "pf.dz ",
                "pf.dxysig",
                "pf.normchi2",
                "pf.btagSip3dSig",
                "sv.d3dsig",
                "globalParT3",
            ],
        ),
        (
            "scouting_nano.root",
            "ScoutingNanoAODSchema",
            ["scouting", "pf.pt", "pf.link to the jets", "sv.eta"],
        ),
    ],
)
def test_what_lacks_tracks_is_refused_before_anything_is_read(
    file: str, schema: str, phrases: list[str], shared: Path, particlenet: Tagger
) -> None:
    log: list[Any] = []
    virtual = open_with_coffea(shared / "cms" / file, schema, log)
    with pytest.raises(MissingColumns) as from_events:
        particlenet.attach(virtual)
    assert log == []
    with EventFile(shared / "cms" / file) as stored, pytest.raises(MissingColumns) as from_file:
        check_columns(particlenet.bundle, stored, stored.path)
    for error in (from_events, from_file):
        text = str(error.value)
        assert all(phrase in text for phrase in phrases), text
        assert "particlenet-ak8-md" in text
    # every variable of the model that cannot be had is named, with nothing said twice
    for line in str(from_file.value).splitlines()[1:-1]:
        wanted = line.partition("needed by ")[2].split(", ")
        assert len(wanted) == len(set(wanted)), line
    named = {word for line in str(from_file.value).splitlines() for word in line.partition("needed by ")[2].split(", ")}
    lacking = {
        "pfcand_dz",
        "pfcand_dxysig",
        "pfcand_normchi2",
        "pfcand_btagEtaRel",
        "pfcand_quality",
        "sv_d3dsig",
    }
    assert lacking <= named


def rotated(events: Any) -> Any:
    """One event a jet, each turned in azimuth so that the axis is at zero."""
    columns: dict[str, list[Any]] = {}
    for event in events:
        for index, jet in enumerate(event.FatJet):
            links = event.FatJetPFCands[event.FatJetPFCands.jetIdx == index]
            vertices = event.FatJetSVs[event.FatJetSVs.jetIdx == index]
            for name, values in (
                ("FatJet", event.FatJet[index : index + 1]),
                ("FatJetPFCands", links),
                ("PFCands", event.PFCands),
                ("FatJetSVs", vertices),
                ("SV", event.SV),
            ):
                for field in values.fields:
                    column = ak.to_numpy(values[field])
                    if field == "phi":
                        column = np.float32(np.angle(np.exp(1j * (column.astype(np.float64) - jet.phi))))
                    if field == "jetIdx":
                        column = np.zeros_like(column)
                    columns.setdefault(f"{name}_{field}", []).append(column)
    return nest({name: ak.Array(values) for name, values in columns.items()})


def with_vectors(tagger: Tagger, change: Callable[[Any], Any]) -> Tagger:
    """The tagger with the four-vectors of all constituents and vertices changed before the network."""

    def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return tagger.session.run(
            {name: change(value) if name.endswith("_vectors") else value for name, value in inputs.items()}
        )

    return Tagger(tagger.bundle, session=ReplaySession(run))


def probabilities(tagger: Tagger, events: Any) -> np.ndarray[Any, Any]:
    scores = tagger(events)
    return np.stack([flat(scores, output.name) for output in tagger.bundle.select(["prob"])])


@pytest.mark.slow
def test_a_quarter_turn_around_the_beam_changes_nothing(part: Tagger, events: Any) -> None:
    # the one turn that float32 does exactly: (px, py) -> (-py, px)
    turned = with_vectors(part, lambda vectors: vectors[:, [1, 0, 2, 3]] * np.float32([-1, 1, 1, 1])[:, np.newaxis])
    np.testing.assert_allclose(probabilities(turned, events), probabilities(part, events), atol=1e-5)


@pytest.mark.long
def test_jets_turned_to_azimuth_zero_differ_only_as_rounding_does(part: Tagger, events: Any) -> None:
    # CMSSW gives the transformer momenta with the jet axis at phi = 0, others give them as they are. The network
    # takes differences of nearly parallel momenta, so noise in the last bit of float32 is seen in the scores.
    turned = rotated(events)
    assert ak.all(np.abs(ak.flatten(turned.FatJet.phi)) < 1e-6)
    rng = np.random.default_rng(5)
    noisy = with_vectors(part, lambda vectors: np.float32(vectors * (1 + 6e-8 * rng.normal(size=vectors.shape))))
    before = probabilities(part, events)
    off = np.abs(probabilities(part, turned) - before)
    noise = np.abs(probabilities(noisy, events) - before)
    assert np.sqrt(np.mean(off**2)) < 2.5 * np.sqrt(np.mean(noise**2))
    assert np.median(off) < 1e-6
    assert off.max() < 0.04


@pytest.mark.parametrize("name", ["particlenet", pytest.param("part", marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_batch_size_changes_nothing(
    name: str, batch_size: int, events: Any, request: pytest.FixtureRequest
) -> None:
    tagger = request.getfixturevalue(name)
    assert_same_scores(Tagger(tagger.bundle, threads=1, batch_size=batch_size)(events), tagger(events))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["particlenet", "part"])
def test_the_order_of_events_and_the_chunks_change_nothing(
    name: str, events: Any, request: pytest.FixtureRequest
) -> None:
    tagger = request.getfixturevalue(name)
    whole = tagger(events)
    assert_same_scores(tagger(events[::-1]), whole[::-1])
    assert_same_scores(ak.concatenate([tagger(events[:3]), tagger(events[3:4]), tagger(events[4:])]), whole)


def test_an_rntuple_is_listed_and_read_without_a_walk_through_all_fields(
    shared: Path, particlenet: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uproot's recursive listing of all fields takes ten seconds."""
    from uproot.behaviors.RNTuple import HasFields

    visited: list[str] = []
    listing = HasFields.iteritems

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        visited.append(self.path)
        return listing(self, *arguments, **keywords)

    monkeypatch.setattr(HasFields, "iteritems", counted)
    with opened(shared / "cms/pfnano_rntuple.root") as file:
        columns = check_columns(particlenet.bundle, file).columns
        assert len(file.read(columns, 2, 5)) == 3
    assert 0 < len(visited) <= 2 * len(columns)
