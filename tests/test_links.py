"""Jets get the scores of their own constituents or none: tables that changed, parts of jets, names of productions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from agreement import Agreement
from comparing import assert_same_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import opened

from jettagger.bundles.bundle import Bundle
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MismatchError, UnknownName, WrongType
from jettagger.features import FEATURES
from jettagger.formats import EventColumns, load, make_plan
from jettagger.formats.pfnano import PFNANO, pfnano
from jettagger.inputs.flavours import detect, flavours
from jettagger.report import PartialJetsWarning
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.tagging.taggers import Taggers, load_taggers
from jettagger.testing import make_events, write_pfnano

EVENTS = make_events(12, seed=4, constituents=20)


@pytest.fixture(scope="module")
def tagger(tiny: Bundle) -> Tagger:
    return Tagger(tiny, threads=1)


def replaced(events: Any, **tables: Any) -> Any:
    """Events with other tables; as plain records, so that any content is accepted."""
    return ak.zip({**{name: events[name] for name in events.fields}, **tables}, depth_limit=1)


def without(events: Any, *columns: str) -> Any:
    """Events that lack columns."""
    for column in columns:
        table, field = column.split(".")
        events = ak.with_field(events, ak.without_field(events[table], field), table)
    return events


NO_COPIES = without(EVENTS, "FatJetPFCands.pt")


def two_jets(distance: float, pt: tuple[float, float] = (400.0, 300.0)) -> Any:
    """One event with two narrow jets at a distance in eta, each of ten candidates."""
    events = make_events(60, seed=1, constituents=12)
    event = events[(ak.num(events.FatJet.pt) == 2) & (ak.num(events.FatJetPFCands.pt) > 12)][:1]
    stored = {name: event.FatJet[name] for name in event.FatJet.fields}
    jets = ak.zip({**stored, "pt": [list(pt)], "eta": [[0, distance]]})
    jets["phi"], jets["rawFactor"] = ak.zeros_like(jets.pt), ak.zeros_like(jets.pt)
    candidates = event.PFCands[:, :1][:, [0] * 20]
    jet = np.repeat([0, 1], 10)
    values = {"pt": np.array(pt)[jet] / 10, "eta": distance * jet, "phi": np.zeros(20)}
    for name, column in values.items():
        candidates[name] = ak.values_astype(ak.Array([column]), np.float32)
    links = event.FatJetPFCands[:, :1][:, [0] * 20]
    links["jetIdx"], links["pFCandsIdx"], links["pt"] = [jet], [np.arange(20)], candidates.pt
    return replaced(event, FatJet=jets, PFCands=candidates, FatJetPFCands=links, FatJetSVs=event.FatJetSVs[:, :0])


# copies


@pytest.mark.data
def test_links_of_the_experiment_repeat_what_they_point_to_to_the_bit(shared: Path, agrees: Agreement) -> None:
    tables = {"FatJetPFCands": "PFCands", "FatJetSVs": "SV", "JetPFCands": "PFCands", "JetSVs": "SV"}
    columns = [f"{name}.pt" for name in {*tables, *tables.values()}]
    columns += [f"{name}.{'pFCandsIdx' if target == 'PFCands' else 'sVIdx'}" for name, target in tables.items()]
    with opened(shared / "cms/pfnano.root") as file:
        events = file.read(columns)
    for name, target in tables.items():
        index = events[name]["pFCandsIdx" if target == "PFCands" else "sVIdx"]
        known = index >= 0
        assert ak.sum(known) > 20
        made, stored = (ak.flatten(pt) for pt in (events[target].pt[index[known]], events[name].pt[known]))
        agrees("cms_inputs/links", made, stored, sample=len(events), part=name)


def test_made_events_repeat_it_too() -> None:
    assert ak.all(EVENTS.PFCands.pt[EVENTS.FatJetPFCands.pFCandsIdx] == EVENTS.FatJetPFCands.pt)
    known = EVENTS.FatJetSVs.sVIdx >= 0
    assert ak.all(EVENTS.SV.pt[EVENTS.FatJetSVs.sVIdx[known]] == EVENTS.FatJetSVs.pt[known])


CHANGES = {
    "candidates above a pt": ("PFCands", lambda e: e.PFCands[e.PFCands.pt > 1]),
    "charged candidates": ("PFCands", lambda e: e.PFCands[e.PFCands.charge != 0]),
    "one candidate less at the end": ("PFCands", lambda e: e.PFCands[:, :-1]),
    "one candidate less at the start": ("PFCands", lambda e: e.PFCands[:, 1:]),
    "sorted candidates": ("PFCands", lambda e: e.PFCands[ak.argsort(e.PFCands.pt, ascending=False)]),
    "candidates of other events": ("PFCands", lambda e: e.PFCands[::-1]),
    "candidates of another file": ("PFCands", lambda e: make_events(12, seed=5, constituents=20).PFCands),
    "candidates with another pt": ("PFCands", lambda e: ak.with_field(e.PFCands, e.PFCands.pt * 1.01, "pt")),
    "no candidates": ("PFCands", lambda e: e.PFCands[:, :0]),
    "vertices with many tracks": ("SV", lambda e: e.SV[e.SV.ntracks > 4]),
    "reversed vertices": ("SV", lambda e: e.SV[:, ::-1]),
    "no vertices": ("SV", lambda e: e.SV[:, :0]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_changed_is_refused(change: str, tagger: Tagger) -> None:
    table, changed = CHANGES[change]
    with pytest.raises(MismatchError, match=rf"^{table} is not the table .* was made for.*first: event \d+ of this"):
        tagger.attach(replaced(EVENTS, **{table: changed(EVENTS)}))


@pytest.mark.parametrize("change", [name for name in CHANGES if "candidate" in name and "another pt" not in name])
def test_without_copies_the_content_tells(change: str, tagger: Tagger) -> None:
    with pytest.raises(MismatchError, match=r"PFCands is not the table|is not the collection"):
        tagger.attach(replaced(NO_COPIES, PFCands=CHANGES[change][1](NO_COPIES)))


def test_both_tables_can_be_changed_together(tagger: Tagger) -> None:
    scaled = {name: ak.with_field(EVENTS[name], EVENTS[name].pt * 1.1, "pt") for name in ("PFCands", "FatJetPFCands")}
    assert tagger.run(replaced(EVENTS, **scaled)).report.scored == tagger.run(EVENTS).report.scored
    kept = EVENTS.FatJetPFCands[EVENTS.FatJetPFCands.pt > 1]
    fewer = tagger.run(replaced(EVENTS, FatJetPFCands=kept)).report
    assert fewer.scored > 0
    assert fewer.dangling_links == 0


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_whatever_happens_to_a_table_no_jet_gets_another_score(data: st.DataObject, tiny: Bundle) -> None:
    tagger = Tagger(tiny, threads=1)
    table = data.draw(st.sampled_from(["PFCands", "SV"]))
    counts = ak.num(EVENTS[table].pt)
    seed, share = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([0.0, 0.5, 0.98, 1.0]))
    rng = np.random.default_rng(seed)
    order = ak.argsort(ak.unflatten(rng.random(int(ak.sum(counts))), counts))
    indices = order if data.draw(st.booleans()) else ak.local_index(EVENTS[table].pt)
    kept = indices[ak.unflatten(rng.random(int(ak.sum(counts))) < share, counts)]
    before = tagger(EVENTS)
    try:
        after = tagger(replaced(EVENTS, **{table: EVENTS[table][kept]}))
    except MismatchError:
        return
    assert_same_scores(after, before)


@pytest.mark.parametrize("copies", [True, False])
def test_selections_of_events_are_fine(copies: bool, tagger: Tagger) -> None:
    events = EVENTS if copies else NO_COPIES
    expected = tagger(events)
    mask = np.arange(12) % 3 != 0
    assert_same_scores(tagger(events[mask]), expected[mask])
    assert_same_scores(tagger(events[[5, 5, 0]]), expected[[5, 5, 0]])
    assert_same_scores(tagger(ak.concatenate([events[6:], events[:6]])), ak.concatenate([expected[6:], expected[:6]]))
    masked = tagger(ak.mask(events, mask))
    assert ak.is_none(masked).tolist() == (~mask).tolist()
    assert_same_scores(ak.drop_none(masked, axis=0), expected[mask])


# jets


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("distance", [0.5, 0.9, 1.1])
def test_jets_that_changed_places_are_refused_also_when_they_are_near(
    distance: float, copies: bool, tagger: Tagger
) -> None:
    event = two_jets(distance) if copies else without(two_jets(distance), "FatJetPFCands.pt")
    assert tagger.run(event).report.scored == 2
    with pytest.raises(MismatchError, match=r"1 of 2 jets have the sum of their constituents more than 0\.2 .*event 0"):
        tagger.attach(replaced(event, FatJet=event.FatJet[:, ::-1]))
    with pytest.raises(MismatchError, match="1 of 1 jets have the sum of their constituents"):
        tagger.attach(replaced(event, FatJet=event.FatJet[:, 1:]))


def test_jets_with_another_pt_are_others(tagger: Tagger) -> None:
    event = two_jets(2.0)
    with pytest.raises(MismatchError, match=r"1 of 2 jets have constituents that carry more than 2\.0 times their pt"):
        tagger.attach(replaced(event, FatJet=ak.with_field(event.FatJet, [[100.0, 300.0]], "pt")))
    moved = tagger.run(event, kinematics={"pt": event.FatJet.pt * 3})
    assert moved.report.scored == 2, "a variation does not make another jet"


def test_pileup_with_small_weights_is_not_another_jet() -> None:
    event = two_jets(2.0, (40.0, 30.0))
    candidates, odd = event.PFCands, np.arange(20) % 2 == 1
    # every second candidate is pile-up beside the axis: with its weight a sixteenth of the others
    pt = ak.to_numpy(candidates.pt[0])
    candidates["pt"] = ak.values_astype(ak.Array([np.where(odd, 16 * pt, pt)]), np.float32)
    candidates["eta"] = candidates.eta + ak.Array([np.where(odd, 0.5, 0.0)])
    links = event.FatJetPFCands
    links["pt"] = candidates.pt
    raw = ak.with_field(event.FatJet, [[21.0, 16.0]], "pt")

    def loaded(weight: float, *names: str) -> int:
        column = ak.Array([np.where(odd, weight, 1.0)])
        with_weights = ak.with_field(candidates, ak.values_astype(column, np.float32), "puppiWeight")
        columns = EventColumns(replaced(event, FatJet=raw, PFCands=with_weights, FatJetPFCands=links))
        plan = make_plan(PFNANO, columns, [FEATURES[name] for name in names])
        return len(load(columns, plan, np.arange(2)))

    assert loaded(0.004, "pfcand_puppiw") == 2
    with pytest.raises(MismatchError, match="2 of 2 jets have"):
        loaded(1.0, "pfcand_puppiw")
    with pytest.raises(MismatchError, match="2 of 2 jets have"):  # the weights are not among the columns
        loaded(0.004, "pfcand_abseta")


def test_a_corrected_pt_is_compared_before_its_correction(tagger: Tagger) -> None:
    event = two_jets(2.0)
    corrected = ak.with_field(event.FatJet, event.FatJet.pt / 0.7, "pt")
    with pytest.warns(PartialJetsWarning):
        assert tagger.run(replaced(event, FatJet=corrected)).report.partial == 2
    known = ak.with_field(corrected, ak.full_like(event.FatJet.pt, 0.3), "rawFactor")
    assert tagger.run(replaced(event, FatJet=known)).report.scored == 2


# parts of jets


def lossy(event: Any, lost: int, index: int = 999) -> Any:
    """The event of `two_jets` whose first jet has lost some of its ten candidates."""
    links = event.FatJetPFCands
    changed = ak.where(ak.local_index(links.pt) < lost, index, links.pFCandsIdx)
    return replaced(event, FatJetPFCands=ak.with_field(links, changed, "pFCandsIdx"))


@pytest.mark.parametrize(("share", "lost", "scored"), [(0.8, 2, 2), (0.81, 2, 1), (0.8, 3, 1), (0.0, 9, 2), (0, 10, 1)])
def test_with_a_share_the_rest_of_a_jet_decides(share: float, lost: int, scored: int, tiny: Bundle) -> None:
    event = lossy(two_jets(2.0), lost)
    tagger = Tagger(tiny, threads=1, min_pt_share=share)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scores, report = tagger.run(event)
    assert (report.scored, report.partial, report.dangling_links) == (scored, 2 - scored, lost)
    assert ak.is_none(scores.probHbb, axis=1).tolist() == [[scored == 1, False]]
    assert len(said) == 2 - scored
    if said:
        assert "1 of 2 jets are not scored" in str(said[0].message)
        assert "the first is jet 0 of FatJet in event 0" in str(said[0].message)


def test_links_that_lead_nowhere_are_an_error_unless_a_share_is_given(tagger: Tagger) -> None:
    with pytest.raises(MismatchError, match=r"PFCands is not .* 2 links point beyond its end \(first: event 0.*min_pt"):
        tagger(lossy(two_jets(2.0), 2))
    only_second = ak.Array([[False, True]])
    assert tagger.run(lossy(two_jets(2.0), 2), where=only_second).report.scored == 1
    with pytest.raises(MismatchError, match="beyond its end"):  # nothing tells whether the others are right
        tagger(without(lossy(two_jets(2.0), 2), "FatJetPFCands.pt"), where=only_second)


def test_links_that_say_so_themselves_leave_the_jet_without_score(tagger: Tagger) -> None:
    with pytest.warns(PartialJetsWarning, match="some links are dangling"):
        scores, report = tagger.run(lossy(two_jets(2.0), 1, index=-1))
    assert ak.is_none(scores.probHbb, axis=1).tolist() == [[True, False]]
    assert (report.partial, report.dangling_links, report.without_constituents) == (1, 1, 0)


def test_a_part_of_a_jet_that_lies_elsewhere_has_no_score(tagger: Tagger) -> None:
    event = two_jets(2.0)
    place = ak.local_index(event.PFCands.pt)
    wide = ak.with_field(event.PFCands, event.PFCands.eta + ak.where(place < 10, 0.06 * (place - 4.5), 0), "eta")
    wide = replaced(event, PFCands=wide)
    assert tagger.run(wide).report.scored == 2
    some = replaced(wide, FatJetPFCands=event.FatJetPFCands[place > 7])
    with pytest.warns(PartialJetsWarning, match="1 of 2 jets"):
        assert ak.is_none(tagger(some).probHbb, axis=1).tolist() == [[True, False]]
    with pytest.warns(PartialJetsWarning, match="1 of 2 jets"):
        assert ak.is_none(tagger(lossy(wide, 8, index=-1)).probHbb, axis=1).tolist() == [[True, False]]


def test_with_a_share_links_to_other_objects_are_left_out(tiny: Bundle) -> None:
    event = two_jets(2.0)
    pt = ak.where(ak.local_index(event.PFCands.pt) == 3, np.float32(7), event.PFCands.pt)
    candidates = ak.with_field(event.PFCands, pt, "pt")
    scores, report = Tagger(tiny, threads=1, min_pt_share=0.9).run(replaced(event, PFCands=candidates))
    assert (report.scored, report.dangling_links) == (2, 1)
    rows = event.FatJetPFCands[ak.local_index(event.FatJetPFCands.pt) != 3]
    assert_same_scores(scores, Tagger(tiny, threads=1).run(replaced(event, FatJetPFCands=rows)).scores)


@pytest.mark.slow
@pytest.mark.data
def test_all_jets_of_a_real_file_are_whole(shared: Path) -> None:
    tagger = load_tagger(shared / "models/particlenet-ak8-md", threads=1)
    with opened(shared / "cms/pfnano.root") as file:
        events = file.read(tagger.check(file).columns)
    report = tagger.run(events).report
    assert (report.jets, report.scored, report.partial) == (24, 24, 0)
    # without the correction's factor, the corrected pt is compared: 0.87 is the smallest share
    assert tagger.run(without(events, "FatJet.rawFactor")).report.scored == 24


def test_all_made_jets_are_whole(tagger: Tagger) -> None:
    report = tagger.run(make_events(300, seed=8)).report
    assert report.partial == 0
    assert report.scored + report.without_constituents == report.jets


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), "0.8", True])
def test_a_share_is_between_0_and_1(share: Any, tiny: Bundle) -> None:
    with pytest.raises((ConfigError, WrongType), match="min_pt_share"):
        Tagger(tiny, min_pt_share=share)


def test_taggers_together_have_their_own_shares(tiny: Bundle) -> None:
    event = lossy(two_jets(2.0), 2, index=-1)
    other = load_tagger("inclParTToyV1", threads=1, min_pt_share=0.5)
    with pytest.warns(PartialJetsWarning):
        tagged = Taggers([Tagger(tiny, threads=1), other]).run(event)
    assert [result.report.scored for result in tagged.values()] == [1, 2]
    both = load_taggers(["tinyParT", "inclParTToyV1"], threads=1, min_pt_share=0.5)
    assert [result.report.scored for result in both.run(event).values()] == [2, 2]


@pytest.mark.filterwarnings("always::jettagger.report.PartialJetsWarning")
def test_a_job_counts_and_names_parts_of_jets_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pfnano(tmp_path / "nano.root", 40, seed=1)
    arguments = ["tag", str(path), "-m", "tinyParT", "-o", str(tmp_path / "x.parquet"), "--min-pt-share"]
    assert main([*arguments, "0.9999"]) == 0
    printed = capsys.readouterr()
    (said,) = (line for line in printed.err.splitlines() if "part of their constituents is missing" in line)
    assert f"the first is in events 0 to 40 of {path}" in said
    line = next(line for line in printed.out.splitlines() if "only a part of the constituents" in line)
    scores = ak.from_parquet(tmp_path / "x.parquet")
    missing = int(ak.sum(ak.is_none(scores.FatJet_tinyParT_probHbb, axis=1)))
    assert 0 < int(line.split()[-1]) <= missing
    assert main([*arguments[:-1], "--force", "--min-pt-share", "0.1"]) == 0


# names


def renamed_events(names: Any, events: Any = EVENTS) -> Any:
    """Events as a production with these names has them."""
    tables = {}
    for table in events.fields:
        values = events[table]
        fields = {}
        for field in values.fields:
            given = names.get(f"{table}.{field}", field)
            if given is not None:
                fields[given] = values[field]
        tables[names.get(table, table)] = ak.zip(fields) if fields else values
    return ak.zip(tables, depth_limit=1)


@pytest.mark.parametrize("flavour", [name for name, item in flavours().items() if item.names])
def test_other_productions_give_the_same_scores(flavour: str, tagger: Tagger) -> None:
    names = flavours()[flavour].names
    events = renamed_events(names)
    format_ = detect(events.fields)
    assert format_.name == flavour
    expected = EVENTS
    if None in names.values():  # no vertex is known then: all are rebuilt
        expected = ak.with_field(EVENTS, ak.with_field(EVENTS.FatJetSVs, -1, "sVIdx"), "FatJetSVs")
    if format_.radius != PFNANO.radius:  # the radius decides on which side of the detector far vertices are rebuilt
        table, index = names["FatJetSVs"], names.get("FatJetSVs.sVIdx", "sVIdx")
        events = replaced(events, **{table: events[table][events[table][index] >= 0]})
        expected = replaced(EVENTS, FatJetSVs=EVENTS.FatJetSVs[EVENTS.FatJetSVs.sVIdx >= 0])
    assert_same_scores(tagger(events), tagger(expected))
    attached = tagger.attach(events)
    assert any(field.startswith("tinyParT") for field in attached[format_.jets].fields)


def test_names_of_a_users_production_are_declared(tiny: Bundle, tagger: Tagger) -> None:
    names = {"PFCands": "MyCands", "FatJetPFCands": "MyLinks", "FatJetPFCands.pFCandsIdx": "candidate"}
    names["FatJet.pt"] = "ptj"
    events = renamed_events(names)
    with pytest.raises(JettaggerError):
        tagger(events)
    own = Tagger(tiny, threads=1, names=names)
    assert_same_scores(own(events), tagger(EVENTS))
    assert {"MyCands.eta", "MyLinks.candidate", "MyLinks.pt", "FatJet.ptj"} <= set(own.plan(events).columns)
    with pytest.raises(MismatchError, match="MyCands is not the table that MyLinks was made for"):
        own(replaced(events, MyCands=events.MyCands[:, 1:]))
    with pytest.raises(InputFileError, match="Expected one of: pfnano-renamed: FatJet, MyLinks, MyCands"):
        own(EVENTS)


def test_names_that_pfnano_lacks_are_refused_with_the_nearest(tiny: Bundle) -> None:
    with pytest.raises(UnknownName, match=r"'PFCand'.*nearest: PFCands"):
        Tagger(tiny, names={"PFCand": "x"})
    with pytest.raises(
        ConfigError, match=r"FatJetPFCands.pFCandsIdx cannot be declared absent, only FatJetSVs.sVIdx, JetSVs.sVIdx can"
    ):
        pfnano({"FatJetPFCands.pFCandsIdx": None})


def test_jets_are_chosen_where_a_file_has_several(tiny: Bundle, tagger: Tagger) -> None:
    other = renamed_events(flavours()["pfnano-ak15"].names)
    both = replaced(EVENTS, **{name: other[name] for name in ("FatJetAK15", "FatJetAK15PFCands", "JetSVsAK15")})
    assert_same_scores(tagger(both), tagger(EVENTS))
    ak15 = Tagger(tiny, threads=1, jets="FatJetAK15")
    assert_same_scores(ak15(both), tagger(other))
    attached = ak15.attach(both)
    assert "tinyParT_probHbb" in attached.FatJetAK15.fields
    assert "tinyParT_probHbb" not in attached.FatJet.fields
    with pytest.raises(InputFileError, match=r"no known format has jets 'FatJetAK4' \(nearest: FatJet"):
        Tagger(tiny, jets="FatJetAK4")(both)
    with pytest.raises(MismatchError, match="give either jets= or names=, not both"):
        detect(both.fields, "FatJet", {"PFCands": "x"})
    with pytest.raises(MismatchError, match="take different jets"):
        Taggers([tagger, load_tagger("inclParTToyV1", jets="FatJetAK15")])


def test_names_travel_with_the_tagger(tmp_path: Path, tiny: Bundle) -> None:
    import pickle

    own = pickle.loads(pickle.dumps(Tagger(tiny, names={"PFCands": "X"}, min_pt_share=0.5)))
    assert (own.options.names, own.options.min_pt_share) == ({"PFCands": "X"}, 0.5)


def test_the_command_line_takes_names(tmp_path: Path) -> None:
    from jettagger.files.root import write_tree
    from jettagger.testing import make_columns

    columns = {name.replace("PFCands_", "Cands_"): column for name, column in make_columns(10, seed=1).items()}
    write_tree(tmp_path / "own.root", [columns])
    path = write_pfnano(tmp_path / "nano.root", 10, seed=1)
    assert main(["tag", str(path), "-m", "tinyParT", "-o", str(tmp_path / "a.parquet")]) == 0
    options = ["-m", "tinyParT", "-o", str(tmp_path / "b.parquet")]
    names = ["--name", "PFCands=Cands", "--name", "FatJetPFCands=FatJetCands"]
    assert main(["tag", str(tmp_path / "own.root"), *options, *names]) == 0
    one, other = (ak.from_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert one.FatJet_tinyParT_probHbb.tolist() == other.FatJet_tinyParT_probHbb.tolist()
    assert main(["tag", str(path), *options, "--force", "--name", "PFCands"]) != 0


def test_columns_for_the_checks_are_read_where_they_are(tagger: Tagger) -> None:
    checks = {"FatJetPFCands.pt", "SV.pt", "FatJet.rawFactor"}
    assert checks <= set(tagger.plan(EVENTS).columns)
    plain = without(EVENTS, "FatJetPFCands.pt", "FatJet.rawFactor")
    assert not {"FatJetPFCands.pt", "FatJet.rawFactor"} & set(tagger.check(EventColumns(plain)).columns)
