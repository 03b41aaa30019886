"""AK4 jets beside fat jets: models say which they take, and everything works on either."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from agreement import Agreement
from comparing import branches_of, flat
from heads import make_head
from networks import write_bundle
from real_files import opened

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.cli import main
from jettagger.discriminants import discriminant
from jettagger.errors import InputFileError, MismatchError, MissingColumns, UnknownName
from jettagger.files.root import EventFile
from jettagger.formats.base import ColumnSource, ContextSource
from jettagger.formats.pfnano import PFNANO_AK4, pfnano
from jettagger.inputs.flavours import detect
from jettagger.kinematics import delta_phi
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.tagging.taggers import Taggers, load_taggers
from jettagger.testing import make_columns, make_events, write_pfnano

#: what a card may say
JETS: list[dict[str, str]] = [{}, {"jets": "AK4"}]

EVENTS = make_events(12, seed=4, constituents=20, ak4=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of AK4 jets."""
    return write_bundle(tmp_path_factory.mktemp("models") / "small", card={"name": "small", "jets": "AK4"})


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Tagger:
    return load_tagger(folder, threads=1)


@pytest.fixture(scope="module")
def large(tiny: Bundle) -> Tagger:
    return Tagger(tiny, threads=1)


def changed(events: Any, **tables: Any) -> Any:
    return ak.zip({**{name: events[name] for name in events.fields}, **tables}, depth_limit=1)


def as_fat_jets(events: Any) -> Any:
    """AK4 jets under the names of fat jets."""
    return changed(events, FatJet=events.Jet, FatJetPFCands=events.JetPFCands, FatJetSVs=events.JetSVs)


def same_bits(one: Any, other: Any) -> bool:
    return all(
        ak.array_equal(ak.drop_none(one[name], axis=1), ak.drop_none(other[name], axis=1), dtype_exact=True)
        and ak.is_none(one, axis=1).tolist() == ak.is_none(other, axis=1).tolist()
        for name in one.fields
    )


# made-up events


def test_ak4_jets_of_made_up_events_hang_together() -> None:
    columns, with_ak4 = make_columns(150, seed=2), make_columns(150, seed=2, ak4=True)
    assert all(ak.array_equal(columns[name], with_ak4[name], dtype_exact=True) for name in columns)
    events = make_events(150, seed=2, ak4=True)
    jets = events.Jet
    assert ak.count(jets.pt) > ak.count(events.FatJet.pt)
    assert ak.all(jets.pt[:, :-1] >= jets.pt[:, 1:] * (1 - 0.2))  # in order of the uncorrected momentum
    assert ak.all(jets.pt * (1 - jets.rawFactor) > 14.9)
    owner = jets[events.JetPFCands.jetIdx]
    candidates = events.PFCands[events.JetPFCands.pFCandsIdx]
    assert ak.all(candidates.pt == events.JetPFCands.pt)
    d_phi = delta_phi(ak.flatten(candidates.phi), ak.flatten(owner.phi))
    assert np.hypot(ak.to_numpy(ak.flatten(candidates.eta - owner.eta)), ak.to_numpy(d_phi)).max() < 0.8
    along = ak.to_numpy(ak.flatten(candidates.pt)) * np.cos(d_phi)
    first = ak.flatten(ak.local_index(jets.pt, axis=1) + np.cumsum(ak.num(jets.pt)) - ak.num(jets.pt))
    place = events.JetPFCands.jetIdx + (np.cumsum(ak.num(jets.pt)) - ak.num(jets.pt))
    sums = np.bincount(ak.to_numpy(ak.flatten(place)), weights=along, minlength=len(first))
    np.testing.assert_allclose(sums, ak.flatten(jets.pt * (1 - jets.rawFactor)), rtol=2e-3)
    known = events.JetSVs.sVIdx >= 0
    assert ak.any(~known)
    assert ak.all(events.SV[events.JetSVs.sVIdx[known]].pt == events.JetSVs.pt[known])
    assert ak.all(events.JetSVs.deltaR < -0.1)
    assert ak.to_list(ak.num(make_events(2, seed=1, jets=0, ak4=True).Jet.pt)) == [0, 0]


# one declaration


def test_scores_are_those_of_the_same_jets_under_the_names_of_fat_jets(
    tagger: Tagger, folder: Path, tmp_path: Path
) -> None:
    card = json.loads((folder / "bundle.json").read_text())
    other = write_bundle(tmp_path / "as-large", card={**card, "jets": "AK8"})
    got, expected = tagger.run(EVENTS), load_tagger(other, threads=1, names={"FatJet": "AK4"})
    events = as_fat_jets(EVENTS)
    events = changed(events, AK4=events.FatJet)  # the radius is that of the name
    assert got.report.scored == ak.count(EVENTS.Jet.pt) > 20
    assert same_bits(got.scores, expected(events))


def test_the_columns_go_to_the_jets_of_the_model(tagger: Tagger, large: Tagger) -> None:
    attached = tagger.attach(EVENTS, where="pt > 60", prefix="my")
    added = set(attached.Jet.fields) - set(EVENTS.Jet.fields)
    assert added == {f"my_{output.name}" for output in tagger.outputs}
    assert set(attached.FatJet.fields) == set(EVENTS.FatJet.fields)
    first = sorted(added)[0]
    assert ak.is_none(attached.Jet[first], axis=1).tolist() == (EVENTS.Jet.pt <= 60).tolist()
    masked = tagger.attach(EVENTS, where=EVENTS.Jet.pt > 60, prefix="my")
    assert attached.Jet[first].tolist() == masked.Jet[first].tolist()
    assert set(large.attach(EVENTS).Jet.fields) == set(EVENTS.Jet.fields)
    with pytest.raises(MismatchError, match=r"aligned with events\.Jet"):
        tagger(EVENTS, EVENTS.FatJet.pt > 60)
    with pytest.raises(UnknownName, match=r"column of Jet"):
        tagger(EVENTS, "msoftdrop > 60")


def test_both_in_one_pass_give_what_each_gives_alone(tagger: Tagger, large: Tagger) -> None:
    both = Taggers([large, tagger])
    together = both(EVENTS)
    for name, single in both.items():
        assert same_bits(together[name], single(EVENTS))
    attached = both.attach(EVENTS, columns=["prob"])
    assert set(attached.Jet.fields) > set(EVENTS.Jet.fields)
    assert set(attached.FatJet.fields) > set(EVENTS.FatJet.fields)
    with pytest.raises(MismatchError, match="take different jets"):
        Taggers([large, tagger, Tagger(load_tagger("inclParTToyV1").bundle, jets="FatJetAK15")])


def test_both_in_one_pass_read_each_column_of_the_file_once(tmp_path: Path, tagger: Tagger, large: Tagger) -> None:
    nanoevents = pytest.importorskip("coffea.nanoevents")
    path = str(write_pfnano(tmp_path / "nano.root", 6, seed=1, ak4=True))
    log: list[Any] = []
    events = nanoevents.NanoEventsFactory.from_root(
        {path: "Events"}, schemaclass=nanoevents.PFNanoAODSchema, access_log=log
    ).events()
    Taggers([large, tagger])(events)
    read = branches_of(log)
    assert len(read) == len(set(read))
    planned = {column.replace(".", "_") for item in (large, tagger) for column in item.plan(events).columns}
    assert set(read) == planned | {f"n{column.partition('_')[0]}" for column in planned}


def test_a_pickled_tagger_takes_the_same_jets(tagger: Tagger) -> None:
    assert same_bits(pickle.loads(pickle.dumps(tagger))(EVENTS), tagger(EVENTS))


def test_dask_collections(tagger: Tagger) -> None:
    dask_awkward = pytest.importorskip("dask_awkward")
    collection = dask_awkward.from_awkward(EVENTS, npartitions=3)
    attached = tagger.attach(collection, where=collection.Jet.pt > 60, prefix="my")
    assert "my_mass" in attached.Jet.fields
    expected = tagger.attach(EVENTS, where=EVENTS.Jet.pt > 60, prefix="my").Jet
    got = attached.Jet.compute(scheduler="sync")
    for name in expected.fields:
        assert ak.is_none(got[name], axis=1).tolist() == ak.is_none(expected[name], axis=1).tolist()
        one, other = (ak.flatten(ak.drop_none(jets[name], axis=1)) for jets in (got, expected))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_skims(suffix: str, tmp_path: Path, tagger: Tagger, folder: Path) -> None:
    path = write_pfnano(tmp_path / "nano.root", 30, seed=3, ak4=True)
    out = tmp_path / f"skim{suffix}"
    cut = ["--where", "pt > 60", "--keep", "FatJet_pt", "--memory", "1MB"]
    assert main(["tag", str(path), "-m", str(folder), "-o", str(out), *cut]) == 0
    events = make_events(30, seed=3, ak4=True)
    attached = tagger.attach(events, where="pt > 60")
    if suffix == ".parquet":
        skim = ak.from_parquet(out)
        names = [name for name in attached.Jet.fields if name not in events.Jet.fields]
        assert {f"Jet_{name}" for name in names} < set(skim.fields)
        assert not any(name.startswith("FatJet_small") for name in skim.fields)
        for name in names:
            got, expected = (ak.fill_none(column, -1, axis=1) for column in (skim[f"Jet_{name}"], attached.Jet[name]))
            np.testing.assert_allclose(ak.flatten(got), ak.flatten(expected), rtol=1e-4, atol=1e-5)
            assert ak.num(got).tolist() == ak.num(expected).tolist()
        assert skim.FatJet_pt.tolist() == events.FatJet.pt.tolist()
        assert skim.Jet_pt.tolist() == events.Jet.pt.tolist()
    else:
        with EventFile(str(out)) as file:
            assert {"Jet", "FatJet"} <= set(file.collections)


def test_the_processor_of_coffea(tmp_path: Path, folder: Path, tagger: Tagger) -> None:
    processor = pytest.importorskip("coffea.processor")
    nanoevents = pytest.importorskip("coffea.nanoevents")
    from jettagger.processors import TaggingProcessor

    path = str(write_pfnano(tmp_path / "nano.root", 12, seed=3, ak4=True))
    run = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=nanoevents.PFNanoAODSchema, savemetrics=False
    )
    source = {"qcd": {"files": {path: "Events"}}}
    result = run(source, processor_instance=TaggingProcessor(str(folder), where=lambda jets: jets.pt > 60))["qcd"]
    expected = tagger.attach(make_events(12, seed=3, ak4=True), where="pt > 60")
    assert result["jets"] == ak.count(expected.Jet.pt)
    columns = {name: column for name, column in result["columns"].items() if name.startswith("Jet_small_")}
    assert columns
    for name, column in columns.items():
        got, wanted = (ak.fill_none(item, -1, axis=1) for item in (column, expected.Jet[name.removeprefix("Jet_")]))
        np.testing.assert_allclose(ak.flatten(got), ak.flatten(wanted), rtol=1e-4, atol=1e-5)
    assert not any(name.startswith("FatJet_") for name in result["columns"])


@pytest.mark.slow
def test_jets_are_drawn_with_the_scores_of_their_model(
    tmp_path: Path, folder: Path, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from jettagger.plots import jets as drawing

    path = str(write_pfnano(tmp_path / "nano.root", 6, seed=3, ak4=True))
    drawn: list[Any] = []
    real = drawing.draw_jets

    def remembered(jets: Any, scores: Any, **options: Any) -> Any:
        drawn.append((jets, scores))
        return real(jets, scores, **options)

    monkeypatch.setattr(drawing, "draw_jets", remembered)
    show = ["show", "jet", path, "--number", "2:4", "--force", "-o", str(tmp_path / "jets.png")]
    assert main([*show, "-m", str(folder)]) == 0
    assert main([*show, "--jets", "Jet"]) == 0
    assert main(show) == 0
    (small, scores), (alone, nothing), (large, _) = drawn
    events = make_events(6, seed=3, ak4=True)
    expected = tagger(events)
    assert small.jet_pt.tolist() == alone.jet_pt.tolist() == ak.flatten(events.Jet.pt)[2:4].tolist()
    assert large.jet_pt.tolist() == ak.flatten(events.FatJet.pt)[2:4].tolist()
    assert nothing is None
    for output in tagger.bundle.select(["prob"]):
        np.testing.assert_allclose([row[output.name] for row in scores], flat(expected, output.name)[2:4], rtol=1e-4)


def test_models_show_says_which_jets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "AK4" in text
    assert "Jet_small_<output>" in text
    assert main(["models", "show", "tinyParT"]) == 0
    text = capsys.readouterr().out
    assert "fat jets" in text
    assert "FatJet_tinyParT_<output>" in text


def test_heads_are_scored_on_skims_of_ak4_jets(tmp_path: Path, folder: Path, tagger: Tagger) -> None:
    from jettagger.finetuning.score import score_skim

    head = make_head(tmp_path / "Toy", parent=tagger.bundle, inputs=("hidNeurons003", "mass", "Jet_pt"))
    path = write_pfnano(tmp_path / "nano.root", 12, seed=3, ak4=True)
    skim = tmp_path / "skim.parquet"
    assert main(["tag", str(path), "-m", str(folder), "-o", str(skim), "--where", "pt > 60"]) == 0
    assert score_skim(skim, [head], tmp_path / "scored.parquet") == 12
    scored = ak.from_parquet(tmp_path / "scored.parquet")
    at_once = tagger.with_heads(head).attach(make_events(12, seed=3, ak4=True), where="pt > 60").Jet
    assert ak.is_none(scored.Jet_Toy_probA, axis=1).tolist() == ak.is_none(at_once.Toy_probA, axis=1).tolist()
    got, expected = (ak.fill_none(ak.flatten(column), -1) for column in (scored.Jet_Toy_probA, at_once.Toy_probA))
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert not any(name.startswith("FatJet_") for name in scored.fields)


# what does not fit


def test_a_file_without_the_candidates_of_ak4_jets_is_refused(tagger: Tagger, large: Tagger) -> None:
    lacking = changed(make_events(3, seed=1), Jet=EVENTS.Jet[:3])
    with pytest.raises(MissingColumns) as caught:
        tagger(lacking)
    text = str(caught.value)
    assert "PFNano without AK4 jets' candidates" in text
    assert "pf.link to the jets (JetPFCands.jetIdx or JetPFCands.pFCandsIdx)" in text
    assert "tinyParT" in text.partition("models that would run on it:")[2].partition("\n")[0]
    assert large(lacking) is not None
    central = changed(lacking[["run", "event", "Jet", "FatJet"]])
    with pytest.raises(MissingColumns, match=r"NanoAOD without candidates of AK4 jets.*no known model runs"):
        tagger(central)
    with pytest.raises(InputFileError, match="no known format has the collections FatJet"):
        tagger(make_events(3, seed=1))


def test_models_of_ak4_jets_are_offered_where_they_would_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round: the links of fat jets are not there."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small").symlink_to(folder)
    monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path / "models"))
    events = EVENTS[[name for name in EVENTS.fields if not name.startswith("FatJetPF")]]
    with pytest.raises(MissingColumns, match=r"models that would run on it: small[;,]"):
        load_tagger("tinyParT")(events)


def test_jets_of_the_other_kind_are_refused(folder: Path, large: Tagger) -> None:
    with pytest.raises(MismatchError, match=r"takes AK4 jets, not 'FatJet', which are AK8"):
        load_tagger(folder, jets="FatJet")(EVENTS)
    with pytest.raises(MismatchError, match=r"takes AK8 jets, not 'Jet', which are AK4.*bundle\.json"):
        Tagger(large.bundle, jets="Jet")(EVENTS)
    assert load_tagger(folder, jets="Jet")(EVENTS) is not None


def test_a_declaration_of_other_jets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(jt.errors.BundleError, match=r"'jets': unknown jets 'AK5'.*expected AK4, AK8"):
        Bundle.from_folder(write_bundle(tmp_path / "bad", card={"name": "bad", "jets": "AK5"}))


def test_the_digest_of_models_that_say_nothing_of_their_jets_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """Heads know their model by it."""
    digests = [Bundle.from_folder(write_bundle(tmp_path / "a", card={"name": "a", **said})).digest for said in JETS]
    assert digests[0] != digests[1]
    # as it was before there was the field
    assert jt.load_bundle("inclParTToyV1").digest == "01b743626fe68712a7d94b0bdc8957e39927c8402b59e45409991336803beb85"


def test_links_that_do_not_fit_are_named(tagger: Tagger) -> None:
    with pytest.raises(MismatchError, match="PFCands is not the table that JetPFCands was made for"):
        tagger(changed(EVENTS, PFCands=EVENTS.PFCands[:, 1:]))
    with pytest.raises(MismatchError, match=r"Jet is not the collection.*where=<mask on events\.Jet>"):
        tagger(changed(EVENTS, Jet=EVENTS.Jet[:, ::-1]))


def test_constituents_further_away_than_the_radius_allows_are_refused(tagger: Tagger, large: Tagger) -> None:
    """A soft one at 0.9 is too far for AK4, not for fat jets."""
    event = EVENTS[ak.num(EVENTS.JetPFCands.pt) > 10][:1]
    link = event.JetPFCands[0, int(ak.argmin(event.JetPFCands.pt[0]))]
    eta = ak.to_numpy(event.PFCands.eta[0]).copy()
    eta[link.pFCandsIdx] = event.Jet.eta[0, link.jetIdx] + 0.9
    events = changed(event, PFCands=ak.with_field(event.PFCands, eta[np.newaxis], "eta"))
    assert large(events) is not None
    with pytest.raises(MismatchError, match=r"jets have a constituent more than 0\.8 from the axis"):
        tagger(events)


# names


def test_names_of_both_kinds_are_declared_together(folder: Path, tagger: Tagger, tiny: Bundle, large: Tagger) -> None:
    names = {"PFCands": "C", "FatJetPFCands": "L8", "JetPFCands": "L4", "JetPFCands.pFCandsIdx": "candIdx", "Jet": "J"}
    tables = {names.get(name, name): EVENTS[name] for name in EVENTS.fields}
    fields = {name: EVENTS.JetPFCands[name] for name in EVENTS.JetPFCands.fields}
    tables["L4"] = ak.zip({names.get(f"JetPFCands.{name}", name): values for name, values in fields.items()})
    events = ak.zip(tables, depth_limit=1)
    both = load_taggers([folder, tiny.folder], threads=1, names=names)(events)
    assert same_bits(both["small"], tagger(EVENTS))
    assert same_bits(both["tinyParT"], large(EVENTS))
    with pytest.raises(UnknownName, match=r"'JetPFCand'.*nearest: JetPFCands"):
        load_tagger(folder, names={"JetPFCand": "X"})


def test_a_table_may_bear_the_name_of_another(folder: Path, tagger: Tagger) -> None:
    """Where ``JetPFCands`` are the candidates, the links are called something else."""
    names = {"PFCands": "JetPFCands", "JetPFCands": "JetPFCandsAK4"}
    tables = {names.get(name, name): EVENTS[name] for name in EVENTS.fields}
    got = load_tagger(folder, threads=1, names=names)(ak.zip(tables, depth_limit=1))
    assert same_bits(got, tagger(EVENTS))
    assert pfnano(names, kind="AK4").called("PFCands.pt") == "JetPFCands.pt"


def test_the_declaration_is_that_of_fat_jets() -> None:
    assert (PFNANO_AK4.radius, PFNANO_AK4.kind) == (0.4, "AK4")
    assert detect(EVENTS.fields, kind="AK4").links == PFNANO_AK4.links
    every = {*PFNANO_AK4.links["pf"].columns, *PFNANO_AK4.links["sv"].columns}
    ways = [way for columns in PFNANO_AK4.columns.values() for ways in columns.values() for way in ways]
    every |= {column for way in ways if isinstance(way, ColumnSource) for column in way.columns}
    assert not any(column.startswith("FatJet") for column in every)
    # what is known of the event is known from fat jets, too
    context = {column for way in ways if isinstance(way, ContextSource) for column in way.columns}
    assert {"FatJetSVs.pt", "JetSVs.pt", "FatJetPFCands.btagSip3dVal", "JetPFCands.btagSip3dVal"} <= context


# the experiment's own events


def by_hand(shared: Path, path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Inputs of ParticleNet for each AK4 jet, one jet after the other; None where a vertex is not in the table."""
    import uproot

    description = json.loads((shared / "models/particlenet-ak4/preprocess.json").read_text())
    with uproot.open(path) as file:
        a = file["Events"].arrays(filter_name=r"/(Jet|JetPFCands|PFCands|JetSVs|SV)_.*/", library="ak")
    number = -1
    for e in a:
        for j in range(len(e["Jet_pt"])):
            number += 1
            axis = {name: float(e[f"Jet_{name}"][j]) for name in ("eta", "phi")}
            side = 1 if axis["eta"] > 0 else -1
            links = np.flatnonzero(e["JetPFCands_jetIdx"] == j)
            links = links[np.argsort(-np.asarray(e["PFCands_pt"][e["JetPFCands_pFCandsIdx"][links]]), kind="stable")]
            rows = e["JetPFCands_pFCandsIdx"][links]
            c = {
                name.removeprefix("PFCands_"): np.asarray(e[name][rows], dtype=np.float64)
                for name in a.fields
                if name.startswith("PFCands_")
            }
            track = c["trkChi2"] != -1
            svs = np.flatnonzero(e["JetSVs_jetIdx"] == j)
            index = np.asarray(e["JetSVs_sVIdx"][svs])
            if (index < 0).any():
                yield number, None
                continue
            svs = svs[np.argsort(-np.asarray(e["JetSVs_dxysig"][svs]), kind="stable")]
            index = np.asarray(e["JetSVs_sVIdx"][svs])
            v = {name: np.asarray(e[f"JetSVs_{name}"][svs]) for name in ("pt", "mass", "ntracks", "normchi2", "dxy")}
            v |= {name: np.asarray(e[f"JetSVs_{name}"][svs]) for name in ("dxysig", "d3d", "d3dsig")}
            v |= {name: np.asarray(e[f"SV_{name}"][index]) for name in ("eta", "phi")}
            values = {
                "pfcand_pt_log_nopuppi": np.log(c["pt"]),
                "pfcand_e_log_nopuppi": np.log(np.sqrt((c["pt"] * np.cosh(c["eta"])) ** 2 + c["mass"] ** 2)),
                "pfcand_abseta": np.abs(c["eta"]),
                "pfcand_charge": c["charge"],
                "pfcand_VTX_ass": c["pvAssocQuality"],
                "pfcand_lostInnerHits": c["lostInnerHits"],
                "pfcand_quality": c["trkQuality"],
                "pfcand_normchi2": np.where(track, np.floor(c["trkChi2"]), 999),
                "pfcand_dz": np.where(track, c["dz"], 0),
                "pfcand_dzsig": np.where(track, c["dz"] / c["dzErr"], 0),
                "pfcand_dxy": np.where(track, c["d0"], 0),
                "pfcand_dxysig": np.where(track, c["d0"] / c["d0Err"], 0),
                "pfcand_mask": np.ones(len(rows)),
                "sv_pt_log": np.log(v["pt"]),
                "sv_abseta": np.abs(v["eta"]),
                "sv_mask": np.ones(len(svs)),
            }
            values |= {f"sv_{name}": column for name, column in v.items()}
            for name in ("EtaRel", "PtRatio", "PParRatio", "Sip3dVal", "Sip3dSig", "JetDistVal"):
                values[f"pfcand_btag{name}"] = np.asarray(e[f"JetPFCands_btag{name}"][links])
            for stem, what in (("pfcand", c), ("sv", v)):
                values[f"{stem}_etarel"] = side * (what["eta"] - axis["eta"])
                values[f"{stem}_phirel"] = np.angle(np.exp(1j * (what["phi"] - axis["phi"])))
            inputs = {}
            for group in description["input_names"]:
                content, channels = description[group], []
                for name in content["var_names"]:
                    info, x = content["var_infos"][name], values[name]
                    x = np.where(np.isfinite(x), x, info["replace_inf_value"])
                    x = np.clip((x - info["median"]) * info["norm_factor"], info["lower_bound"], info["upper_bound"])
                    x = x[: content["max_length"]]
                    missing = max(content["min_length"] - len(x), 0)
                    channels.append(np.concatenate([x, np.full(missing, info.get("pad", 0))]))
                inputs[group] = np.float32(channels)[np.newaxis]
            yield number, inputs


@pytest.mark.data
@pytest.mark.slow
def test_particlenet_on_the_experiments_ak4_jets_is_what_onnxruntime_gives_for_inputs_made_by_hand(
    shared: Path, agrees: Agreement
) -> None:
    import onnxruntime

    tagger = load_tagger(shared / "models/particlenet-ak4", threads=1)
    assert tagger.bundle.card.jets == "AK4"
    path = shared / "cms/pfnano.root"
    with EventFile(path) as file:
        events = file.read(tagger.check(file).columns)
    tagged = tagger.run(events)
    assert tagged.report.scored == tagged.report.jets == 64
    session = onnxruntime.InferenceSession(str(shared / "models/particlenet-ak4/model.onnx"))
    names = [output.name for output in tagger.bundle.outputs]
    got = np.stack([flat(tagged.scores, name) for name in names], axis=1)
    off, pairs = [], []
    for number, inputs in by_hand(shared, path):
        if inputs is not None:
            pairs.append((got[number], session.run(None, inputs)[0][0]))
            off.append(np.abs(np.subtract(*pairs[-1])).max())
    assert len(off) >= 50
    agrees("cms_inputs/particlenet-ak4", *zip(*pairs, strict=True), sample=len(off), atol=0.02)
    assert np.median(off) < 1e-6
    # neighbours are found anew in each layer, so that rounding can change who is one
    assert np.mean(np.array(off) < 1e-6) > 0.95


@pytest.mark.data
def test_vertices_outside_of_the_table_are_rebuilt_for_ak4_jets_too(shared: Path) -> None:
    with opened(shared / "cms/pfnano.root") as file:
        columns = [f"JetSVs.{name}" for name in ("jetIdx", "sVIdx", "phirel", "deltaR", "enration", "pt", "mass")]
        columns += [f"Jet.{name}" for name in ("pt", "eta", "phi", "mass")]
        events = file.read([*columns, "SV.eta"])
    (source,) = PFNANO_AK4.columns["sv"]["eta"]
    links = events.JetSVs
    of = {"JetSVs": links, "Jet": events.Jet[links.jetIdx]}
    known = links.sVIdx >= 0
    stored = ak.flatten(events.SV.eta[links.sVIdx[known]])
    arrays = [
        np.full(len(stored), np.nan, np.float32)
        if column == "SV.eta"
        else ak.to_numpy(ak.flatten(of[column.partition(".")[0]][column.partition(".")[2]][known]))
        for column in source.columns
    ]
    off = np.abs(source(*arrays) - ak.to_numpy(stored))
    assert len(off) == 33
    assert np.median(off) < 2e-4
    assert off.max() < 0.01


@pytest.mark.data
@pytest.mark.slow
def test_both_networks_of_the_experiment_in_one_pass(shared: Path) -> None:
    both = load_taggers([shared / "models" / name for name in ("particlenet-ak8-md", "particlenet-ak4")], threads=1)
    with opened(shared / "cms/pfnano.root") as file:
        columns = {column for tagger in both.values() for column in tagger.check(file).columns}
        events = file.read(sorted(columns))
    together = both(events)
    for name, tagger in both.items():
        assert same_bits(together[name], tagger(events))
    attached = both.attach(events)
    assert "particlenet_ak4_probb" in attached.Jet.fields
    assert "ParticleNetMD_probHbb" in attached.FatJet.fields


@pytest.mark.data
def test_discriminants_of_deepjet_are_those_that_the_experiment_stored(shared: Path) -> None:
    tagger = load_tagger(shared / "models/deepjet-v03", threads=1)
    stored = ("btagDeepFlavB", "btagDeepFlavCvL", "btagDeepFlavCvB", "btagDeepFlavQG")
    with opened(shared / "cms/pfnano.root") as file:
        events = file.read([*tagger.check(file).columns, *(f"Jet.{name}" for name in stored)])
    jets = tagger.attach(events).Jet
    central = np.abs(ak.to_numpy(ak.flatten(jets.eta))) < 2.5
    for name in ("BvsAll", "CvsL", "CvsB", "QvsG"):
        made, given = (
            ak.to_numpy(ak.fill_none(ak.flatten(discriminant(name, prefix=prefix)(jets)), np.nan))[central]
            for prefix in (tagger.bundle.prefix, "btagDeepFlav")
        )
        assert len(given) == 52
        assert np.ptp(given) > 0.3
        assert np.median(np.abs(made - given)) < 6e-4


@pytest.mark.slow
@pytest.mark.data
def test_central_nanoaod_is_refused_for_ak4_jets(shared: Path) -> None:
    tagger = load_tagger(shared / "models/particlenet-ak4", threads=1)
    with opened(shared / "cms/nano_tt_v15.root") as file, pytest.raises(MissingColumns) as caught:
        tagger.check(file, file.path)
    assert "NanoAOD without candidates of AK4 jets" in str(caught.value)
    assert "pf.btagSip3dSig" in str(caught.value)
    assert "Jet_btagUParTAK4" in str(caught.value)
