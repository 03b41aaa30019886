"""The candidates that a model's declaration lets in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import assert_same_scores, flat
from networks import GROUPS, LENGTHS, NAMES, description, write_bundle
from real_files import opened

import jettagger as jt
from benchmarks.validation import stored
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.bundles.preprocess import PRODUCER_SELECTION, read_groups
from jettagger.errors import BundleError, ConfigError, JettaggerError, MissingColumns, UnknownName
from jettagger.inputs.source import check_columns
from jettagger.tagging.tagger import Tagger
from jettagger.tagging.taggers import Taggers
from jettagger.tagging.tensors import make_inputs
from jettagger.testing import make_events

STORED = {"probHbb": "particleNetMD_Xbb", "probHcc": "particleNetMD_Xcc", "probHqq": "particleNetMD_Xqq"}
LIMITS = {"probHbb": 5e-5, "probHcc": 7e-4, "probHqq": 1e-3}


def weighted(events: Any, weights: Any) -> Any:
    return ak.with_field(events, ak.with_field(events.PFCands, weights, "puppiWeight"), "PFCands")


def without(events: Any, dropped: Any) -> Any:
    """The events without the links to some candidates, event by event."""
    links = events.FatJetPFCands
    return ak.with_field(events, links[~dropped[links.pFCandsIdx]], "FatJetPFCands")


@pytest.fixture(scope="module")
def events() -> Any:
    made = make_events(20, seed=4)
    rng = np.random.default_rng(3)
    counts = ak.num(made.PFCands.pt)
    weights = np.float32(rng.choice([0, 0.009, 0.01, 0.5, 1.0], int(ak.sum(counts)), p=[0.05, 0.1, 0.05, 0.4, 0.4]))
    return weighted(made, ak.unflatten(weights, counts))


def tiny(folder: Path, selection: str | None) -> Tagger:
    """The tiny network with another declaration."""
    shutil.copytree(PACKAGE / "models" / "tinyParT", folder)
    card = json.loads((folder / "bundle.json").read_text())
    del card["selection"]
    card |= {} if selection is None else {"selection": selection}
    (folder / "bundle.json").write_text(json.dumps(card))
    return jt.load_tagger(folder, threads=1)


class TestEntering:
    """What a cut does, against links that are left out by hand."""

    @pytest.mark.parametrize("selection", [None, PRODUCER_SELECTION, "pt > 3 and puppiWeight >= 0.5"])
    def test_candidates_that_fail_are_as_if_they_were_not_linked(
        self, tmp_path: Path, events: Any, selection: str | None
    ) -> None:
        tagger = tiny(tmp_path / "cut", selection)
        candidates = events.PFCands
        dropped = candidates.puppiWeight < np.float32(0.01)
        if selection not in (None, PRODUCER_SELECTION):
            dropped = ~((candidates.pt > 3) & (candidates.puppiWeight >= 0.5))
        everything = Tagger(tiny(tmp_path / "all", "none").bundle, threads=1, min_pt_share=0)
        expected = everything.run(without(events, dropped))
        found = tagger.run(events)
        assert_same_scores(found.scores, expected.scores)
        number = int(ak.sum(dropped[events.FatJetPFCands.pFCandsIdx]))
        assert found.report.deselected_candidates == number > 20
        assert expected.report.deselected_candidates == 0

    def test_an_embedded_network_keeps_all_as_it_did(self, tmp_path: Path, events: Any) -> None:
        for name in ("tinyParT", "inclParTToyV1"):
            bundle = jt.load_tagger(name).bundle
            assert bundle.card.selection == "none"
            assert not any(group.selection for group in bundle.groups)
        assert tiny(tmp_path / "none", "none").run(events).report.deselected_candidates == 0

    def test_jets_without_any_candidate_that_enters_are_none_and_counted(self, tmp_path: Path, events: Any) -> None:
        weights = ak.where(ak.local_index(events.PFCands.pt, axis=0) % 2 == 0, 0.0, 1.0)
        changed = weighted(events, ak.broadcast_arrays(weights, events.PFCands.pt)[0])
        cut, whole = tiny(tmp_path / "cut", None), tiny(tmp_path / "all", "none")
        found, expected = cut.run(changed), whole.run(changed)
        emptied = ak.broadcast_arrays(ak.local_index(changed.FatJet, axis=0) % 2 == 0, changed.FatJet.pt)[0]
        is_none = ak.is_none(expected.scores, axis=1)
        assert ak.to_list(ak.is_none(found.scores, axis=1)) == ak.to_list(is_none | emptied)
        assert found.report.without_constituents > expected.report.without_constituents
        assert found.report.scored == int(ak.sum(~is_none & ~emptied)) > 0
        assert found.report.scored + found.report.without_constituents == (
            expected.report.scored + expected.report.without_constituents
        )
        assert_same_scores(found.scores[1::2], expected.scores[1::2])
        attached = cut.attach(changed, prefix="cut", columns=["mass"])
        assert ak.to_list(ak.is_none(attached.FatJet.cut_mass, axis=1)) == ak.to_list(is_none | emptied)

    @pytest.mark.slow
    def test_models_of_one_pass_each_have_their_own(self, tmp_path: Path, events: Any) -> None:
        taggers = {name: tiny(tmp_path / name, text) for name, text in (("a", None), ("b", "none"), ("c", "pt > 3"))}
        for name, tagger in taggers.items():
            path = tagger.bundle.folder / "bundle.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name, "prefix": name}))
        together = jt.load_taggers([str(tagger.bundle.folder) for tagger in taggers.values()], threads=1)
        for name, tagged in together.run(events).items():
            alone = taggers[name].run(events)
            assert_same_scores(tagged.scores, alone.scores)
            assert tagged.report.deselected_candidates == alone.report.deselected_candidates

    def test_blocks_caches_and_tensors_follow(self, tmp_path: Path, events: Any) -> None:
        tagger = tiny(tmp_path / "cut", None)
        expected = tagger(events)
        blocks = Tagger(tagger.bundle, threads=1, block_bytes=1, cache=tmp_path / "cache")
        for _ in range(2):
            tagged = blocks.run(events)
            assert_same_scores(tagged.scores, expected)
        assert tagged.report.cached == tagged.report.scored
        whole = Tagger(tiny(tmp_path / "all", "none").bundle, threads=1, cache=tmp_path / "cache").run(events)
        assert whole.report.cached == 0  # another declaration is another model
        counts = {}
        for batch in make_inputs(tagger.bundle, events):
            counts |= dict(zip(batch.jets.tolist(), batch.inputs["pf_mask"].sum(axis=(1, 2)).tolist(), strict=True))
        kept = (events.PFCands.puppiWeight >= np.float32(0.01))[events.FatJetPFCands.pFCandsIdx]
        wanted = [
            int(ak.sum(kept[event][events.FatJetPFCands.jetIdx[event] == jet]))
            for event, jets in enumerate(events.FatJet)
            for jet in range(len(jets))
        ]
        assert [counts.get(jet, 0) for jet in range(len(wanted))] == wanted

    def test_other_declarations_have_other_digests_and_old_ones_keep_theirs(self, tmp_path: Path) -> None:
        digests = {
            text: tiny(tmp_path / f"m{number}", text).bundle.digest
            for number, text in enumerate((None, PRODUCER_SELECTION, "none", "pt > 3"))
        }
        assert digests[None] == digests[PRODUCER_SELECTION]
        assert len(set(digests.values())) == 3


@pytest.mark.parametrize("more", [{}, {"selection": "dxysig > 10"}, {"sort": ["-sv_d3dsig", "-pt"]}])
def test_a_model_without_candidates_scores_all_jets(tmp_path: Path, events: Any, more: dict[str, Any]) -> None:
    variables = GROUPS["sv_features"]
    folder = write_bundle(tmp_path / "toy", groups={"sv_features": variables}, lengths={"sv": {"var_length": 4}})
    (folder / "preprocess.json").unlink()
    group = {"input": "sv_features", "object": "vertices", "length": 4, "axes": ["jets", "variables", "objects"]}
    declared = {"schema_version": 1, "name": "toy", "groups": [group | {"variables": list(variables)} | more]}
    (folder / "inputs.json").write_text(json.dumps(declared))
    card = {"schema_version": 1, "name": "toy", "output_names": list(NAMES)}
    (folder / "bundle.json").write_text(json.dumps(card))
    tagger = jt.load_tagger(folder, threads=1)
    tagged = tagger.run(events)
    report = tagged.report
    tiny = jt.load_tagger("tinyParT", threads=1)
    assert tiny.run(events).report.without_constituents > 0
    together = Taggers([tagger, tiny])
    assert_same_scores(together(events)["toy"], tagged.scores)
    assert report.scored == report.jets == ak.count(events.FatJet.pt)
    assert report.deselected_candidates == report.without_constituents == 0


@pytest.mark.parametrize("axes", [["jets", "variables", "objects"], ["jets", "objects", "variables"]])
def test_what_enters_is_that_of_a_slow_loop(tmp_path: Path, events: Any, axes: list[str]) -> None:
    """Selection, keys one after the other, at most so many, and slots that stay empty."""
    variables = ["pfcand_pt_log", "pfcand_charge", "pfcand_quality", "pfcand_abseta"]  # of as many as there are slots
    slots = {"pf": {"var_length": 4}}
    inputs = {"pf_features": variables, "pf_vectors": variables}
    folder = write_bundle(tmp_path / "toy", groups=inputs, lengths=slots, axes={"pf": 4})
    (folder / "preprocess.json").unlink()
    group = {"input": "pf_features", "object": "candidates", "length": 4, "most": 3, "axes": axes}
    group |= {"selection": "charge != 0 and pt > 0.5", "sort": ["-pfcand_quality", "puppiWeight", "-pt"]}
    first = {"name": variables[0], "pad": -9.0}
    group |= {"variables": [first, *variables[1:]]}
    neutral = {"input": "pf_vectors", "selection": "charge == 0", "sort": [], "most": None}
    declared = {"schema_version": 1, "name": "toy", "groups": [group, group | neutral]}
    (folder / "inputs.json").write_text(json.dumps(declared))
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "toy", "output_names": list(NAMES)}))
    bundle = Bundle.from_folder(folder)
    found: dict[int, Any] = {}
    for batch in make_inputs(bundle, events):
        found |= dict(zip(batch.jets.tolist(), zip(*batch.inputs.values(), strict=True), strict=True))
    jet, crowded = -1, 0
    for event in events.to_list():
        for place in range(len(event["FatJet"])):
            jet += 1
            parts = [event["PFCands"][row["pFCandsIdx"]] for row in event["FatJetPFCands"] if row["jetIdx"] == place]
            parts.sort(key=lambda part: -part["pt"])
            others = [part for part in parts if part["charge"] == 0]
            parts = [part for part in parts if part["charge"] != 0 and part["pt"] > 0.5]
            parts.sort(key=lambda part: (-part["trkQuality"], part["puppiWeight"], -part["pt"]))
            if not parts and not others:
                assert jet not in found
                continue
            crowded += len(parts) > 3
            for tensor, entering in zip(found[jet], (parts[:3], others[:4]), strict=True):
                rows = [[np.log(part["pt"]), part["charge"], part["trkQuality"], abs(part["eta"])] for part in entering]
                expected = np.array([*rows, *[[-9, 0, 0, 0]] * (4 - len(rows))])
                given = tensor if axes[1] == "objects" else tensor.T
                np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    assert crowded > 10
    assert len(found) > 20


class TestBadDeclarations:
    """Cuts that are none, or name what there is not."""

    @pytest.mark.parametrize(
        ("selection", "error", "phrases"),
        [
            ("pupiWeight >= 0.01", UnknownName, ["'pupiWeight'", "puppiWeight", "selection of 'pf"]),
            ("sv_pt > 3", UnknownName, ["sv_pt"]),
            ("pt + 3", ConfigError, ["is not a cut", "pt >= 0.95"]),
            ("pt >", ConfigError, ["selection of 'pf"]),
            ("__import__('os')", ConfigError, ["unknown function"]),
        ],
    )
    def test_one_error_says_what_and_what_instead(
        self, tmp_path: Path, selection: str, error: type[JettaggerError], phrases: list[str]
    ) -> None:
        folder = write_bundle(tmp_path / "toy", card={"selection": selection})
        with pytest.raises(error) as caught:
            Bundle.from_folder(folder)
        assert all(phrase in str(caught.value) for phrase in phrases), caught.value

    def test_a_number_is_no_selection(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="selection"):
            Bundle.from_folder(write_bundle(tmp_path / "toy", card={"selection": 0.01}))

    def test_a_file_without_the_column_is_told_how_to_keep_all(self, tmp_path: Path, events: Any) -> None:
        fields = [name for name in events.PFCands.fields if name != "puppiWeight"]
        plain = ak.with_field(events, events.PFCands[fields], "PFCands")
        with pytest.raises(MissingColumns, match=r'PFCands\.puppiWeight.*"selection": "none"'):
            tiny(tmp_path / "cut", None)(plain)
        assert ak.count(tiny(tmp_path / "all", "none")(plain)["mass"]) > 0


def test_only_candidates_are_cut() -> None:
    groups = read_groups(description(lengths=LENGTHS), "here")
    assert {group.object: group.selection for group in groups} == {"pf": PRODUCER_SELECTION, "sv": ""}


@pytest.mark.slow
@pytest.mark.data
def test_with_the_cut_the_stored_scores_come_back_and_without_it_they_do_not(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "particlenet-ak8-md"
    shutil.copytree(shared / "models/particlenet-ak8-md", folder)
    card = json.loads((PACKAGE / "known/particlenet-ak8-md.json").read_text())
    off, logits = {}, {}
    for selection in (None, "none"):
        (folder / "bundle.json").write_text(json.dumps(card | ({"selection": selection} if selection else {})))
        tagger = jt.load_tagger(folder, threads=1)
        with opened(shared / "cms/pfnano.root") as file:
            columns = [*check_columns(tagger.bundle, file).columns, *(f"FatJet.{name}" for name in STORED.values())]
            events = file.read([*columns, "PFCands.puppiWeight"])
        tagged = tagger.run(events)
        logits[selection] = {
            name: np.abs(logit(flat(tagged.scores, name)) - logit(ak.to_numpy(ak.flatten(events.FatJet[stored]))))
            for name, stored in STORED.items()
        }
        off[selection] = {
            name: np.abs(flat(tagged.scores, name) - ak.to_numpy(ak.flatten(events.FatJet[stored])).astype(float))
            for name, stored in STORED.items()
        }
        assert tagged.report.deselected_candidates == (0 if selection else 5)
        medians = {name: float(np.median(values)) for name, values in off[selection].items()}
        within = {name: medians[name] <= LIMITS[name] for name in STORED}
        if selection is None:
            assert all(within.values()), medians
            assert_says(medians)
        else:
            assert not any((within["probHcc"], within["probHqq"])), medians
    jets = [
        int(
            np.count_nonzero(
                event.PFCands.puppiWeight[event.FatJetPFCands.pFCandsIdx[event.FatJetPFCands.jetIdx == jet]] < 0.01
            )
        )
        for event in events
        for jet in range(len(event.FatJet))
    ]
    concerned = np.array(jets) > 0
    assert np.count_nonzero(concerned) == 5
    for name in STORED:  # the jets without such a candidate are as they were, but for who runs with them
        np.testing.assert_allclose(off[None][name][~concerned], off["none"][name][~concerned], rtol=0, atol=1e-6)
    with_cut, without_cut = (
        np.median([values[concerned] for values in logits[selection].values()]) for selection in (None, "none")
    )
    assert without_cut > 2 * with_cut


def logit(score: Any) -> Any:
    return np.log(score / (1 - score), dtype=np.float64)


def assert_says(medians: dict[str, float]) -> None:
    """The numbers of the README and of docs/validation.md are those that are measured."""
    parts = stored()["cms_stored_scores"]["particlenet-ak8-md"]["parts"]
    for name, stored_name in STORED.items():
        assert medians[name] == pytest.approx(parts[stored_name]["median"], rel=0.02), name
