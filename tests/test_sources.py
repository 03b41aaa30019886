"""Everything that a tagger does, for every kind of input: linked jets, tables, Delphes events, PFNano as a table."""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from heads import make_head, numbers, random_mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from test_delphes import events_of
from weavers import CONFIG, table, weaver_bundle

import jettagger as jt
from jettagger.bundles.registry import available
from jettagger.errors import InputFileError, MismatchError, MissingColumns, UnknownName, WorkerError
from jettagger.formats import EventColumns
from jettagger.formats.delphes import DelphesJets
from jettagger.inputs import memory
from jettagger.inputs.pfnano_tables import nano_table
from jettagger.inputs.source import runnable, source_of
from jettagger.report import PartialJetsWarning
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_events, write_pfnano

ROOT = Path(jt.__file__).resolve().parent.parent

#: kind of input -> some of it, and the collection of its jets
KINDS: dict[str, tuple[Any, str]] = {
    "table": (table(12, seed=3), ""),
    "delphes": (events_of(6, seed=1), "JetPUPPIAK8"),
    "pfnano": (make_events(8, seed=2), "FatJet"),
}
#: its transverse momentum
PT = {"table": "jet_pt", "delphes": "PT", "pfnano": "pt"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weaver_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def jets_of(kind: str, events: Any) -> Any:
    name = KINDS[kind][1]
    return events[name] if name else events


def load(folder: Path, **options: Any) -> Tagger:
    return Tagger(jt.load_bundle(folder), threads=1, **options)


def test_one_place_asks_how_the_inputs_of_a_model_are_described() -> None:
    asked = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("jettagger", "processors")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"weaver is\b|\.weaver\b(?! import)(?!\.)", line) and "import" not in line
    ]
    assert asked == [
        "jettagger/inputs/source.py: if bundle.weaver is None:",
        "jettagger/inputs/source.py: "
        "return _TableInputs(bundle, bundle.weaver, jets, names, outside, min_pt_share, others)",
        "jettagger/inputs/source.py: if bundle.weaver is None:",
    ]


def test_the_score_cache_gives_what_the_network_gave(kind: str, folder: Path, tmp_path: Path) -> None:
    events = KINDS[kind][0]
    plain, tagger = load(folder), load(folder, cache=tmp_path / "scores")
    first, second = tagger.run(events), tagger.run(events)
    assert (first.report.cached, second.report.cached) == (0, first.report.scored)
    assert first.report.scored > 5
    assert first.scores.tolist() == second.scores.tolist() == plain(events).tolist()
    for item in fields(first.report):
        if item.name not in ("cached", "seconds"):
            assert getattr(first.report, item.name) == getattr(second.report, item.name), item.name
    where = jets_of(kind, events)[PT[kind]] > 300
    changed = [
        (tagger.run(events, where), plain.run(events, where)),
        (tagger.run(events[1:]), plain.run(events[1:])),
        (
            load(folder, cache=tmp_path / "scores", outside="skip").run(events),
            load(folder, outside="skip").run(events),
        ),
    ]
    for cached, expected in changed:
        assert cached.report.cached == 0
        assert cached.scores.tolist() == expected.scores.tolist()


def test_other_jets_of_the_same_number_miss_the_score_cache(kind: str, folder: Path, tmp_path: Path) -> None:
    events = KINDS[kind][0]
    plain, tagger = load(folder), load(folder, cache=tmp_path / "scores")
    pt = jets_of(kind, events)[PT[kind]]
    number = np.arange(ak.count(pt))
    for chosen in (number % 4 == 0) & (number < 8), (number % 4 == 1) & (number < 8):
        where = ak.unflatten(chosen, ak.num(pt)) if pt.ndim > 1 else ak.Array(chosen)
        asked, expected = tagger.run(events, where), plain.run(events, where)
        assert (asked.report.cached, asked.report.scored) == (0, 2)
        assert asked.scores.tolist() == expected.scores.tolist()


def test_a_changed_column_misses(folder: Path, tmp_path: Path) -> None:
    tagger, jets = load(folder, cache=tmp_path / "scores"), table(12, seed=3)
    tagger(jets)
    for name in ("part_px", "part_charge", "jet_pt"):
        other = ak.with_field(jets, jets[name] * np.float32(1.001), name)
        assert tagger.run(other).report.cached == 0, name
    assert tagger.run(ak.with_field(jets, jets.jet_label, "more")).report.cached > 0  # what is not read


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(budget=st.sampled_from([1, 1_000, 20_000]), data=st.data())
def test_scores_and_reports_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, budget: int, data: st.DataObject
) -> None:
    folder = weaver_bundle(tmp_path_factory.getbasetemp() / "toy_blocks")
    kind = data.draw(st.sampled_from(list(KINDS)))
    events = KINDS[kind][0]
    share = data.draw(st.sampled_from([None, 0.5, 0.97]))
    pt = jets_of(kind, events)[PT[kind]]
    where = pt > data.draw(st.sampled_from([0, 250, 400, 1e6]))
    options: dict[str, Any] = {"min_pt_share": share, "outside": data.draw(st.sampled_from(["score", "skip"]))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialJetsWarning)
        whole = load(folder, **options).run(events, where)
        small = load(folder, **options, block_bytes=budget).run(events, where)
    one, other = (ak.Array({"all": result.scores.proba.tolist()}) for result in (small, whole))
    assert ak.almost_equal(one, other, atol=1e-5)
    assert small.scores.inDomain.tolist() == whole.scores.inDomain.tolist()
    for item in fields(whole.report):
        if item.name not in ("seconds", "slots", "filled"):
            assert getattr(small.report, item.name) == getattr(whole.report, item.name), item.name


def test_a_chunk_is_cut_into_blocks(kind: str, folder: Path) -> None:
    request = load(folder).request(KINDS[kind][0])
    whole, parts = list(request.blocks(1 << 60)), list(request.blocks(1))
    assert len(whole) == 1
    assert len(parts) > 4
    assert np.concatenate([part.index for part in parts]).tolist() == whole[0].index.tolist()


def test_kinematics_of_a_table_are_its_columns_changed(tmp_path: Path) -> None:
    """A network that takes the jet's momentum, energy and mass."""
    config = """\
inputs:
   pf_features: {length: 8, vars: [[part_px, null]]}
   jet_features: {length: 1, vars: [[jet_pt, 400, 0.01], [jet_energy, 800, 0.001], [jet_sdmass, null, 0.01]]}
labels: {type: simple, value: [label_a, label_b, label_c]}
"""
    groups = {"pf_features": ("",), "jet_features": ("", "", "")}
    tagger = load(weaver_bundle(tmp_path / "toy", config, groups))
    rng = np.random.default_rng(1)
    jets = table(9)
    eta, mass = rng.uniform(-2, 2, 9), rng.uniform(20, 200, 9)
    pt = ak.to_numpy(jets.jet_pt).astype(np.float64)

    def with_momentum(pt: Any, eta: Any) -> Any:
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
        new = {"jet_pt": pt, "jet_eta": eta, "jet_energy": energy}
        return ak.zip(
            {**{n: jets[n] for n in jets.fields}, **{n: v.astype("f4") for n, v in new.items()}}, depth_limit=1
        )

    plain = with_momentum(pt, eta)
    up = tagger.attach(plain, kinematics={"pt": pt * 1.3})
    for name in ("proba", "probb", "probc"):
        np.testing.assert_allclose(
            ak.to_numpy(up[f"toy_{name}"][:-1]), ak.to_numpy(tagger(with_momentum(pt * 1.3, eta))[name][:-1]), rtol=1e-4
        )
    assert up.jet_pt.tolist() == plain.jet_pt.tolist()
    assert up.toy_proba.tolist() != tagger(plain).proba.tolist()
    sdmass = jets.jet_sdmass * 2
    moved = tagger.run(plain, kinematics={"sdmass": sdmass}).scores
    assert moved.tolist() == tagger(ak.with_field(plain, sdmass, "jet_sdmass")).tolist()
    with pytest.raises(MissingColumns, match="the energy of the jets cannot be recomputed without the column jet_eta"):
        tagger.run(ak.without_field(plain, "jet_eta"), kinematics={"pt": pt})


@pytest.mark.parametrize("kind", ["delphes", "pfnano"])
def test_kinematics_of_events_are_their_columns_changed(kind: str, tmp_path: Path) -> None:
    """The distance to the axis follows a moved axis, as in events that were written so."""
    config = CONFIG.replace("part_logpt: np.log(part_pt)", "part_logpt: part_deta * 1")
    tagger = load(weaver_bundle(tmp_path / "toy", config))
    events, name = KINDS[kind]
    field = {"delphes": "Eta", "pfnano": "eta"}[kind]
    eta = events[name, field] + 0.02
    moved = tagger.attach(events, kinematics={"eta": eta})[name]
    changed = ak.with_field(events, ak.with_field(events[name], ak.values_astype(eta, np.float32), field), name)
    expected = tagger.attach(changed)[name]
    for column in ("toy_proba", "toy_probb", "toy_inDomain"):
        assert ak.almost_equal(ak.Array(moved[column].tolist()), ak.Array(expected[column].tolist()), atol=1e-5)
    assert moved[field].tolist() == events[name, field].tolist()
    assert moved.toy_proba.tolist() != tagger.attach(events)[name].toy_proba.tolist()
    with pytest.raises(MismatchError, match="kinematics 'eta' are not aligned"):
        tagger.attach(events, kinematics={"eta": eta[:, :1]})


def test_a_model_of_tables_on_pfnano_events_gives_the_scores_of_their_table(folder: Path) -> None:
    events = make_events(12, seed=5)
    tagger = load(folder)
    flat = tagger(nano_table(events))
    tagged = tagger.attach(events)
    assert ak.num(tagged.FatJet.toy_proba).tolist() == ak.num(events.FatJet.pt).tolist()
    for name in ("proba", "probb", "probc", "inDomain"):
        assert ak.flatten(tagged.FatJet[f"toy_{name}"]).tolist() == flat[name].tolist()
    inside = (events.FatJet.pt > 200) & (events.FatJet.msoftdrop > 20)
    assert tagged.FatJet.toy_inDomain.tolist() == inside.tolist()
    skipped = load(folder, outside="skip").run(events)
    assert ak.is_none(skipped.scores.proba, axis=1).tolist() == (~inside).tolist()
    assert skipped.report.outside_domain == ak.sum(~inside) > 0
    few = tagger(events, where="pt > 300")
    assert ak.is_none(few.proba, axis=1).tolist() == (events.FatJet.pt <= 300).tolist()
    masked = tagger(ak.mask(events, np.arange(12) % 2 == 0))
    assert ak.is_none(masked).tolist() == [False, True] * 6


@pytest.mark.slow
@pytest.mark.data
def test_a_model_of_tables_on_events_of_cms(shared: Path, folder: Path) -> None:
    """A published data configuration: all columns of Sophon but those of other taggers are there."""
    path = shared / "cms/pfnano.root"
    tagger = load(folder)
    with jt.EventFile(str(path)) as file:
        plan = jt.check_columns(tagger.bundle, file)
        drawn = ["FatJet.mass", "PFCands.pdgId", "PFCands.dz", "PFCands.dzErr", "PFCands.d0"]
        events = file.read([*plan.columns, *drawn], 0, file.n_events)
        assert {"PFCands.d0Err", "PFCands.puppiWeight", "FatJet.msoftdrop"} <= set(plan.columns)
    scores = tagger(events)
    assert len(scores) == len(events) > 3
    assert ak.flatten(scores).proba.tolist() == tagger(nano_table(events)).proba.tolist()
    total = ak.flatten(scores.proba + scores.probb + scores.probc)
    np.testing.assert_allclose(ak.to_numpy(ak.drop_none(total)), 1, atol=1e-5)


def test_what_events_lack_is_named_with_what_it_would_be_made_of(folder: Path, tmp_path: Path) -> None:
    events = make_events(3, seed=1)
    candidates = ak.without_field(events.PFCands, "d0Err")
    with pytest.raises(MissingColumns) as info:
        load(folder)(ak.with_field(events, candidates, "PFCands"))
    text = str(info.value)
    assert "PFNano" in text
    assert re.search(r"part_d0err \(pf\.dxyerr: PFCands\.d0Err.*needed by part_d0err", text)
    config = CONFIG.replace("[part_d0err, 0, 1, 0, 1]", "[part_other, null]")
    with pytest.raises(MissingColumns, match=r"part_other \(not made of events\), needed by"):
        load(weaver_bundle(tmp_path / "other", config))(events)
    with pytest.raises(MissingColumns, match="not in this format"):
        load(folder)(events[["FatJet"]])


def test_names_and_collections_of_productions(folder: Path) -> None:
    events = make_events(4, seed=3)
    renamed = ak.zip({name.replace("PFCands", "Cands"): events[name] for name in events.fields}, depth_limit=1)
    names = {"PFCands": "Cands", "FatJetPFCands": "FatJetCands"}
    assert load(folder, names=names)(renamed).proba.tolist() == load(folder)(events).proba.tolist()
    with pytest.raises(UnknownName):
        load(folder, names={"PFCand": "x"})
    with pytest.raises(InputFileError, match="AK9"):
        load(folder, jets="FatJetAK9")(events)
    for other in (table(4), events_of(2)):
        with pytest.raises((MismatchError, InputFileError)):
            load(folder, names=names)(other)


@pytest.mark.slow
def test_several_models_of_any_kind_in_one_pass(folder: Path, tmp_path: Path) -> None:
    """A model of linked jets beside two of tables on PFNano events; two of tables on a table and on Delphes events."""
    other = weaver_bundle(tmp_path / "other", CONFIG.replace("1.7, 0.7", "1.5, 0.6"), card={"name": "other"})
    events = KINDS["pfnano"][0]
    taggers = jt.load_taggers(["tinyParT", folder, other], threads=1)
    tagged = taggers.attach(events, where="pt > 250").FatJet
    for name in taggers:
        alone = taggers[name].attach(events, where="pt > 250").FatJet
        for column in taggers[name].column_names().values():
            assert ak.almost_equal(
                ak.Array(tagged[column].tolist()), ak.Array(alone[column].tolist()), atol=1e-5, rtol=1e-4
            ), column
    both = jt.load_taggers([folder, other], threads=1)
    for kind in ("table", "delphes"):
        events = KINDS[kind][0]
        found = jets_of(kind, both.attach(events))
        for name in both:
            alone = jets_of(kind, both[name].attach(events))
            assert found[f"{name}_proba"].tolist() == alone[f"{name}_proba"].tolist()
    with pytest.raises(InputFileError, match="no known format"):
        taggers.attach(KINDS["table"][0])


def test_what_is_read_is_known_before(kind: str, folder: Path) -> None:
    tagger, (events, collection) = load(folder), KINDS[kind]
    plan = tagger.plan(events)
    assert plan.collection == collection
    assert jt.check_columns(tagger.bundle, EventColumns(events)).columns == plan.columns
    # what is not in the plan is not needed
    if kind == "table":
        few = events[list(plan.columns)]
    else:
        wanted: dict[str, list[str]] = {}
        for column in plan.columns:
            name, field = column.split(".")
            wanted.setdefault(name, []).append(field)
        few = ak.zip({name: events[name][inner] for name, inner in wanted.items()}, depth_limit=1)
    assert tagger(few).tolist() == tagger(events).tolist()


def test_a_pickled_tagger_is_small_and_the_same(kind: str, folder: Path) -> None:
    tagger = load(folder, outside="skip", min_pt_share=0.5)
    sent = pickle.dumps(tagger)
    assert len(sent) < 10_000
    assert pickle.loads(sent)(KINDS[kind][0]).tolist() == tagger(KINDS[kind][0]).tolist()


def test_numbers_of_the_jets_by_their_names_in_a_skim() -> None:
    events = events_of(4, seed=2)
    jets = DelphesJets(events)
    np.testing.assert_allclose(jets.values("JetPUPPIAK8_pt"), ak.to_numpy(ak.flatten(events.JetPUPPIAK8.PT)), rtol=1e-6)
    with pytest.raises(UnknownName, match="JetPUPPIAK8_pt"):
        jets.values("JetPUPPIAK8_ptt")
    with pytest.raises(UnknownName, match="event"):
        jets.values("even")


def test_a_source_is_chosen_by_the_description(folder: Path, tiny: Any) -> None:
    assert source_of(tiny).flags == ()
    assert source_of(jt.load_bundle(folder)).flags == ("inDomain",)
    with pytest.raises(MismatchError, match="outside= is for models with a data configuration"):
        source_of(tiny, outside="skip")
    with pytest.raises(MismatchError, match="expected 'score' or 'skip'"):
        source_of(jt.load_bundle(folder), outside="other")  # type: ignore[arg-type]


def test_jets_that_are_incomplete_are_named_whatever_they_are(folder: Path) -> None:
    with pytest.warns(PartialJetsWarning, match="JetPUPPIAK8"):
        report = load(folder).run(events_of(4, dangling=2)).report
    assert (report.partial, report.scored, report.dangling_links) == (8, 0, 16)


@pytest.mark.parametrize("suffix", [".parquet", ".tar", ".root"])
def test_files_of_all_kinds_are_tagged_by_one_function(suffix: str, folder: Path, tmp_path: Path) -> None:
    """Rows of jets in parquet and in a tarball, and PFNano events, by a model of tables."""
    path = tmp_path / f"jets{suffix}"
    if suffix == ".root":
        write_pfnano(path, 9, seed=3)
    else:
        parquet = tmp_path / "inside.parquet"
        ak.to_parquet(table(20, seed=8), parquet)
        if suffix == ".tar":
            with tarfile.open(path, "w") as archive:
                archive.add(parquet, "inside.parquet")
        else:
            path = parquet
    output = tmp_path / "scores.parquet"
    tagger = load(folder)
    result = jt.tag_files([str(path)], tagger, str(output))
    skim = ak.from_parquet(output)
    assert result.report.scored > 5
    if suffix == ".root":
        events = make_events(9, seed=3)
        assert result.events == 9
        expected = tagger.attach(events).FatJet
        for name in ("toy_proba", "toy_inDomain", "msoftdrop"):
            assert ak.almost_equal(
                ak.Array(skim[f"FatJet_{name}"].tolist()), ak.Array(expected[name].tolist()), atol=1e-5
            )
    else:
        assert skim.toy_proba.tolist() == pytest.approx(tagger(table(20, seed=8)).proba.tolist(), abs=1e-6)
        assert skim.jet_pt.tolist() == table(20, seed=8).jet_pt.tolist()


def test_a_cut_reads_only_events_with_a_jet_to_score_and_keeps_the_flag_of_all(folder: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "nano.root", tmp_path / "scores.parquet"
    write_pfnano(path, 20, seed=3)
    jt.tag_files([str(path)], load(folder), str(output), where="pt > 350")
    skim = ak.from_parquet(output)
    expected = load(folder).attach(make_events(20, seed=3), where="pt > 350").FatJet
    unscored = ak.is_none(skim.FatJet_toy_proba, axis=1)
    assert unscored.tolist() == ak.is_none(expected.toy_proba, axis=1).tolist()
    assert ak.all(unscored[expected.pt <= 350])
    assert not ak.all(unscored)
    assert skim.FatJet_toy_inDomain.tolist() == expected.toy_inDomain.tolist()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_dask_awkward_collections_of_any_kind(kind: str, folder: Path) -> None:
    dask_awkward = pytest.importorskip("dask_awkward")
    import dask

    def compute(collection: Any) -> Any:
        return dask.compute(collection, scheduler="sync")[0]

    tagger, events = load(folder), KINDS[kind][0]
    collection = dask_awkward.from_awkward(events, npartitions=3)
    scores = tagger(collection)
    expected = tagger(events)
    found = compute(scores)
    assert str(scores._meta.type.content) == str(found.type.content)
    assert ak.almost_equal(ak.Array(found.tolist()), ak.Array(expected.tolist()), atol=1e-5)
    pt = jets_of(kind, events)[PT[kind]]
    lazy = jets_of(kind, collection)[PT[kind]]
    attached = tagger.attach(collection, where=lazy > 300, kinematics={"pt": lazy * 1.1})
    moved = jets_of(kind, tagger.attach(events, where=pt > 300, kinematics={"pt": pt * 1.1}))
    for column in ("toy_proba", "toy_inDomain"):
        one = compute(jets_of(kind, attached)[column])
        assert ak.almost_equal(ak.Array(one.tolist()), ak.Array(moved[column].tolist()), atol=1e-5), column
    cut = compute(tagger(collection, where=f"{'jet_pt' if kind == 'table' else 'pt'} > 300"))
    assert ak.is_none(cut.proba, axis=-1).tolist() == ak.is_none(moved.toy_proba, axis=-1).tolist()
    with pytest.raises(MismatchError, match="kinematics 'pt' is a Array, expected a dask-awkward array"):
        tagger.attach(collection, kinematics={"pt": pt})


@pytest.mark.parametrize("kind", list(KINDS))
def test_heads_on_a_model_of_tables(kind: str, folder: Path, tmp_path: Path) -> None:
    """Against the network in NumPy, on the scores and the momentum of the jets."""
    pt = {"table": "jet_pt", "delphes": "JetPUPPIAK8_pt", "pfnano": "FatJet_pt"}[kind]
    mlp = random_mlp(3, 2, seed=2)
    inputs = ("proba", "probb", pt)
    head = make_head(tmp_path / "head", parent=jt.load_bundle(folder), inputs=inputs, parts=[mlp])
    events = KINDS[kind][0]
    tagger = load(folder, cache=tmp_path / "scores").with_heads(head)
    jets = jets_of(kind, tagger.attach(events))
    jets = jets if kind == "table" else ak.flatten(jets)
    columns = ["toy_proba", "toy_probb", PT[kind]]
    x = np.stack([ak.to_numpy(ak.fill_none(jets[name], np.nan)) for name in columns], axis=1).astype(np.float32)
    good = np.isfinite(x).all(axis=1)
    assert good.sum() > 5
    found = ak.to_numpy(ak.fill_none(jets.Toy_probA, np.nan))
    assert np.isnan(found[~good]).all()
    np.testing.assert_allclose(found[good], numbers(mlp, x[good], "classes")[:, 0], rtol=1e-4)
    assert pickle.loads(pickle.dumps(tagger))(events).Toy_probA.tolist() == tagger(events).Toy_probA.tolist()
    lacking = make_head(tmp_path / "other", "Other", parent=jt.load_bundle(folder), inputs=("proba", "jet_none"))
    with pytest.raises(MissingColumns, match="the head 'Other' lacks the columns jet_none"):
        load(folder).with_heads(lacking)(events)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of known models: one of tables, and one that needs a column that nobody has."""
    place = tmp_path / "models"
    weaver_bundle(place / "OfTables", CONFIG, card={"name": "OfTables"})
    weaver_bundle(place / "Demanding", CONFIG.replace("[part_d0err, 0, 1, 0, 1]", "[part_other, null]"))
    monkeypatch.setenv("JETTAGGER_MODELS", str(place))
    return place


def advised(call: Any) -> str:
    """The first line of the error of what lacks columns, or is of another kind."""
    with pytest.raises((MissingColumns, InputFileError)) as info:
        call()
    return str(info.value).partition("\n")[0]


def without_weight(events: Any) -> Any:
    """Events whose candidates lack the column of quality that the models of linked jets read."""
    return ak.with_field(events, ak.without_field(events.PFCands, "trkQuality"), "PFCands")


@pytest.mark.slow
def test_models_of_any_kind_are_recommended(known: Path) -> None:
    """Where columns are missing, or the input is of another kind, models that would run on it are named."""
    nano, jets = make_events(3, seed=1), table(6)
    linked, demanding = jt.load_tagger("tinyParT", threads=1), jt.load_tagger(known / "Demanding", threads=1)
    few = without_weight(nano)
    for text in (
        advised(lambda: linked(few)),
        advised(lambda: linked.attach(few)),
        advised(lambda: jt.check_columns(linked.bundle, EventColumns(few))),
        advised(lambda: linked(jets)),
        advised(lambda: demanding(jets)),
        advised(lambda: demanding(nano)),
        advised(lambda: demanding(KINDS["delphes"][0])),
    ):
        names = re.search(r"models that would run on it: ([^;\n]*)", text)
        assert names is not None, text
        assert "OfTables" in names[1].split(", ")
        assert "Demanding" not in names[1]
    assert "tinyParT" in advised(lambda: demanding(nano))
    assert "tinyParT" not in advised(lambda: demanding(jets))
    assert advised(lambda: demanding(jets[["jet_pt"]])).endswith("no known model runs on it")


@pytest.mark.slow
def test_the_models_that_are_recommended_are_those_that_run(known: Path) -> None:
    """Of everything that can be named, on every kind of input."""
    inputs = [make_events(3, seed=1), without_weight(make_events(3, seed=1)), table(6), KINDS["delphes"][0]]
    bundles = {name: jt.load_bundle(name) for name in available() if name != "Demanding"}
    taggers = {name: jt.Tagger(bundle, threads=1) for name, bundle in bundles.items() if bundle.has_weights}
    for events in inputs:
        columns = EventColumns(events)
        named = {name.partition(" (")[0] for name in runnable(columns, jt.load_bundle(known / "Demanding"))}
        for name, bundle in bundles.items():
            try:
                jt.check_columns(bundle, columns)
            except (MissingColumns, InputFileError):
                assert name not in named
            else:
                assert name in named
                if name in taggers:
                    taggers[name](events)
        assert named


def test_a_chunk_that_is_too_large_for_its_worker_is_refused(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger, (events, _) = load(folder), KINDS[kind]
    columns = tagger.plan(events).columns
    size = EventColumns(events).nbytes(columns)
    places = (tuple(column.split(".")) if "." in column else column for column in columns)
    assert size == sum(ak.to_numpy(ak.flatten(events[place], axis=None)).nbytes for place in places) > 1000
    monkeypatch.setattr(memory, "worker_limit", lambda: size // 2)
    with pytest.raises(WorkerError, match=rf"chunksize of about \d+ {'jets' if kind == 'table' else 'events'}"):
        tagger(events)
    monkeypatch.setattr(memory, "worker_limit", lambda: 2 * size)
    tagger(events)
