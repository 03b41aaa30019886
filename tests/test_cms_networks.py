"""CMS's networks with declared inputs against the scores that CMSSW stored; each wrong input fails the same bands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import assert_same_scores
from real_files import opened

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.declaration import families
from jettagger.cli import main
from jettagger.errors import MissingColumns
from jettagger.features import FEATURES
from jettagger.inputs.source import check_columns
from jettagger.provenance import Provenance
from jettagger.tagging.tagger import Tagger

pytestmark = pytest.mark.data

Scores = Mapping[str, np.ndarray[Any, Any]]
Change = Callable[[Any], Any]


def ratio(*names: str) -> Callable[[Scores], Any]:
    """Sum of probabilities over itself and all of QCD."""

    def value(scores: Scores) -> Any:
        total = sum(scores[name] for name in names)
        return total / (total + qcd(scores))

    return value


def qcd(scores: Scores) -> Any:
    return sum(values for name, values in scores.items() if name.startswith("probQCD"))


def light(*names: str) -> Callable[[Scores], Any]:
    """As `ratio`, the QCD class among the names counted once in the denominator."""

    def value(scores: Scores) -> Any:
        plain = [name for name in names if not name.startswith("probQCD")]
        return sum(scores[name] for name in names) / (sum(scores[name] for name in plain) + qcd(scores))

    return value


DEEPAK8 = {
    "TvsQCD": ratio("probTbcq", "probTbqq"),
    "WvsQCD": ratio("probWcq", "probWqq"),
    "ZvsQCD": ratio("probZbb", "probZcc", "probZqq"),
    "ZHbbvsQCD": ratio("probZbb", "probHbb"),
    "ZbbvsQCD": ratio("probZbb"),
    "HbbvsQCD": ratio("probHbb"),
    "H4qvsQCD": ratio("probHqqqq"),
    "ZHccvsQCD": ratio("probZcc", "probHcc"),
    "bbvsLight": light("probZbb", "probHbb", "probQCDbb"),
    "ccvsLight": light("probZcc", "probHcc", "probQCDcc"),
}


class Case:
    """A network, the stored columns that judge it, and the band."""

    def __init__(
        self,
        file: str,
        family: str,
        collection: str,
        stored: Mapping[str, Callable[[Scores], Any]],
        limit: float,
        within: int = 0,
        central: bool = False,
    ) -> None:
        self.file, self.family, self.collection = file, family, collection
        self.stored, self.limit, self.within, self.central = stored, limit, within, central

    def off(self, shared: Path, tagger: Tagger, change: Change | None = None) -> np.ndarray[Any, Any]:
        """Difference of logits from the stored ones, columns by jets; infinite where a jet has no score."""
        events = self.events(shared, tagger.bundle)
        scores = tagger(events if change is None else change(events))
        table = {
            name: np.asarray(ak.to_numpy(ak.fill_none(ak.flatten(scores[name]), np.nan)), dtype=float)
            for name in scores.fields
        }
        jets = events[self.collection]
        chosen = np.abs(ak.to_numpy(ak.flatten(jets.eta))) < 2.5
        found = []
        for column, value in self.stored.items():
            wanted = np.asarray(ak.to_numpy(ak.flatten(jets[column])), dtype=float)
            distance = np.abs(logit(value(table)) - logit(wanted))
            found.append(np.where(np.isnan(distance), np.inf, distance)[chosen if self.central else slice(None)])
        return np.stack(found)

    def events(self, shared: Path, bundle: Bundle) -> Any:
        with opened(shared / "cms/pfnano.root") as file:
            columns = [*check_columns(bundle, file).columns, *(f"{self.collection}.{name}" for name in self.stored)]
            more = ["PFCands.d0", "PFCands.puppiWeight", f"{self.collection}.eta", f"{self.collection}.rawFactor"]
            return file.read(dict.fromkeys([*columns, *more]))

    def fits(self, off: np.ndarray[Any, Any]) -> bool:
        """Whether the scores lie in the band."""
        return bool(np.median(off) <= self.limit and np.count_nonzero(off < 0.1) >= self.within)


def logit(score: Any) -> Any:
    score = np.clip(score, 1e-9, 1 - 1e-9)
    return np.log(score / (1 - score))


CASES = {
    "BvL": Case(
        "deepdoublex-v02/BvL.onnx", "deepdoublex-v02", "FatJet", {"btagDDBvLV2": lambda s: s["probHbb"]}, 0.01, 20
    ),
    "CvB": Case(
        "deepdoublex-v02/CvB.onnx", "deepdoublex-v02", "FatJet", {"btagDDCvBV2": lambda s: s["probHcc"]}, 0.01, 20
    ),
    "DeepAK8-MD": Case(
        "deepak8-md-v02/model.onnx",
        "deepak8-md-v02",
        "FatJet",
        {f"deepTagMD_{name}": value for name, value in DEEPAK8.items()},
        0.06,
    ),
    "DeepJet": Case(
        "deepjet-v03/model.onnx",
        "deepjet-v03",
        "Jet",
        {
            "btagDeepFlavB_b": lambda s: s["probb"],
            "btagDeepFlavB_bb": lambda s: s["probbb"],
            "btagDeepFlavB_lepb": lambda s: s["problepb"],
            "btagDeepFlavC": lambda s: s["probc"],
            "btagDeepFlavUDS": lambda s: s["probuds"],
            "btagDeepFlavG": lambda s: s["probg"],
        },
        0.003,
        central=True,
    ),
}


def bare(shared: Path, folder: Path, case: Case) -> Tagger:
    """The network alone in a folder of another name."""
    folder.mkdir(exist_ok=True)
    shutil.copy(shared / "models" / case.file, folder / "model.onnx")
    return jt.load_tagger(folder, threads=1, backend="onnxruntime")


def declared(shared: Path, folder: Path, case: Case, change: Callable[[dict[str, Any]], None]) -> Tagger:
    """The network with a declaration of inputs of the user, which differs from that of the package."""
    known = bare(shared, folder, case).bundle
    content = json.loads(families()[case.family].read_text())
    change(content)
    (folder / "inputs.json").write_text(json.dumps(content))
    card = {"schema_version": 1, "name": "changed", "inputs": "inputs.json"}
    card |= {"output_names": [output.raw for output in known.outputs], "kinds": known.card.kinds}
    (folder / "bundle.json").write_text(json.dumps(card))
    (folder / "checksums.json").unlink(missing_ok=True)
    return jt.load_tagger(folder, threads=1, backend="onnxruntime")


@pytest.mark.parametrize("name", CASES)
def test_a_network_alone_gives_back_the_stored_scores(name: str, shared: Path, tmp_path: Path) -> None:
    case = CASES[name]
    tagger = bare(shared, tmp_path / "net", case)
    assert tagger.bundle.described_by == "jettagger"
    assert tagger.bundle.trusted
    off = case.off(shared, tagger)
    assert case.fits(off), (np.median(off), np.count_nonzero(off < 0.1))
    spread = off.shape[1]
    assert spread == (24 if case.collection == "FatJet" else 52)


@pytest.mark.parametrize("name", CASES)
def test_a_network_of_the_family_is_described_by_its_name(name: str, shared: Path, tmp_path: Path) -> None:
    case = CASES[name]
    known = bare(shared, tmp_path / "known", case)
    own = tmp_path / "own"
    shutil.copytree(tmp_path / "known", own)
    outputs = [output.raw for output in known.bundle.outputs]
    card = {"schema_version": 1, "name": "own", "inputs": case.family, "output_names": outputs}
    (own / "bundle.json").write_text(json.dumps(card | {"kinds": known.bundle.card.kinds}))
    tagger = jt.load_tagger(own, threads=1)
    events = case.events(shared, tagger.bundle)
    assert_same_scores(tagger(events), known(events))
    copied = declared(shared, tmp_path / "copied", case, lambda content: None)
    assert_same_scores(copied(events), known(events))


def removed(*names: str) -> Callable[[dict[str, Any]], None]:
    """Variables that are 0 for all objects."""

    def change(content: dict[str, Any]) -> None:
        hits = 0
        for group in content["groups"]:
            for place, item in enumerate(group["variables"]):
                variable = item if isinstance(item, dict) else {"name": item}
                if variable["name"] in names:
                    median = variable.get("median", 0) * variable.get("norm_factor", 1)
                    zero = {"norm_factor": 0.0, "median": 0.0, "pad": 0.0}
                    group["variables"][place] = variable | zero if not median else constant(variable)
                    hits += 1
        assert hits

    return change


def constant(variable: dict[str, Any]) -> dict[str, Any]:
    """A variable whose raw value is 0, after its transformation."""
    value = -variable["median"] * variable.get("norm_factor", 1)
    value = min(max(value, variable.get("lower_bound", -1e32)), variable.get("upper_bound", 1e32))
    return {
        "name": variable["name"],
        "norm_factor": 0.0,
        "median": 0.0,
        "lower_bound": value,
        "upper_bound": value,
        "pad": value,
    }


def unweighted(content: dict[str, Any]) -> None:
    (candidates,) = (group for group in content["groups"] if group["object"] == "candidates")
    for variable in candidates["variables"]:
        variable["name"] = variable["name"].removesuffix("_puppi")
    candidates["sort"] = []


def without(key: str, object_: str) -> Callable[[dict[str, Any]], None]:
    """A declaration that lacks something of the groups of an object."""

    def change(content: dict[str, Any]) -> None:
        for group in content["groups"]:
            if group["object"] == object_:
                del group[key]

    return change


SIP2D = [f"{stem}Sip2d{kind}" for stem in ("Cpfcan_BtagPf_track", "pfcand_btag") for kind in ("Val", "Sig")]
HCAL = ["Npfcan_HadFrac"]
WRONG: dict[tuple[str, str], Callable[[dict[str, Any]], None]] = {
    **{(name, "no impact parameters in the plane"): removed(*SIP2D) for name in CASES},
    **{(name, "no hadronic fraction"): removed(*HCAL) for name in ("BvL", "CvB", "DeepJet")},
    ("DeepAK8-MD", "momenta without PUPPI weight"): unweighted,
    **{(name, "soft charged candidates"): without("selection", "charged") for name in ("BvL", "CvB", "DeepJet")},
    **{(name, "soft neutral candidates"): without("selection", "neutral") for name in ("CvB", "DeepJet")},
    **{(name, "charged candidates by momentum"): without("sort", "charged") for name in ("BvL", "CvB", "DeepJet")},
    **{(name, "neutral candidates by momentum"): without("sort", "neutral") for name in ("CvB", "DeepJet")},
}


@pytest.mark.parametrize(("name", "what"), WRONG, ids=lambda value: value.replace(" ", "-"))
def test_a_wrong_declaration_fails_its_band(name: str, what: str, shared: Path, tmp_path: Path) -> None:
    case = CASES[name]
    tagger = declared(shared, tmp_path / "net", case, WRONG[name, what])
    off = case.off(shared, tagger)
    assert not case.fits(off), np.median(off)


def test_discriminants_are_the_stored_ones(shared: Path, tmp_path: Path) -> None:
    """By the built-in names, from the scores and as the file has them."""
    case = CASES["DeepAK8-MD"]
    tagger = bare(shared, tmp_path / "net", case)
    events = tagger.attach(case.events(shared, tagger.bundle))
    for preset in ("TopbqqvsQCD", "WqqvsQCD", "ZqqvsQCD", "HbbvsQCD", "HWW4qvsQCD"):
        made, stored = (
            np.asarray(ak.to_numpy(ak.flatten(jt.discriminant(preset, prefix=prefix)(events.FatJet))), dtype=float)
            for prefix in (tagger.bundle.prefix, "deepTagMD")
        )
        assert np.median(np.abs(logit(made) - logit(stored))) <= case.limit, preset


@pytest.mark.parametrize("name", CASES)
def test_the_corrected_momentum_of_the_jet_fails_the_band(name: str, shared: Path, tmp_path: Path) -> None:
    case = CASES[name]

    def corrected(events: Any) -> Any:
        jets = events[case.collection]
        return ak.with_field(events, ak.with_field(jets, 0 * jets.rawFactor, "rawFactor"), case.collection)

    tagger = Tagger(bare(shared, tmp_path / "net", case).bundle, threads=1, min_pt_share=0.5)
    assert case.fits(case.off(shared, tagger))
    off = case.off(shared, tagger, corrected)
    assert not case.fits(off), np.median(off)


@pytest.mark.parametrize("name", ["BvL", "CvB"])
def test_the_other_output_fails_the_band(name: str, shared: Path, tmp_path: Path) -> None:
    case = CASES[name]
    column = next(iter(case.stored))
    tagger = bare(shared, tmp_path / "net", case)
    first = tagger.bundle.outputs[0].name
    other = Case(case.file, case.family, case.collection, {column: lambda s: s[first]}, case.limit, case.within)
    assert not other.fits(other.off(shared, tagger))


def test_what_is_in_doubt_is_counted(shared: Path, tmp_path: Path) -> None:
    counted = {}
    for name in ("BvL", "DeepJet", "DeepAK8-MD"):
        case = CASES[name]
        tagger = bare(shared, tmp_path / name, case)
        events = case.events(shared, tagger.bundle)
        if name == "DeepJet":
            report = tagger.run(events, where="abs(eta) < 2.5").report
        else:
            report = tagger.run(events).report
        counted[name] = report.n_sign_ambiguous
        assert report.n_other_pv > 0
        assert any("Sip2d" in variable for variable in tagger.bundle.approximate)
    assert counted == {"BvL": 6, "DeepJet": 5, "DeepAK8-MD": 6}


def test_garbage_beyond_the_counted_tracks_is_no_input(shared: Path) -> None:
    names = [name for name in FEATURES if name.startswith("jet_DeepCSV_track") and name[-1].isdigit()]
    with opened(shared / "cms/pfnano.root") as file:
        events = file.read({f"Jet.{need}" for name in names for need in FEATURES[name].needs})
    stored, masked = 0.0, 0.0
    for name in names:
        columns = [np.asarray(ak.to_numpy(ak.flatten(events.Jet[need]))) for need in FEATURES[name].needs]
        values = FEATURES[name](*columns)
        beyond = columns[1] <= int(name[-1])
        assert not values[beyond].any()
        np.testing.assert_array_equal(
            values[~beyond & (columns[0] != -999)], columns[0][~beyond & (columns[0] != -999)]
        )
        stored, masked = max(stored, np.abs(columns[0]).max()), max(masked, np.abs(values).max())
    assert stored > 1e6 > 1e4 > masked


def test_jets_outside_of_the_domain_are_none_and_counted(shared: Path, tmp_path: Path) -> None:
    case = CASES["BvL"]
    tagger = bare(shared, tmp_path / "net", case)
    events = case.events(shared, tagger.bundle)
    whole = tagger(events)
    soft = events.FatJet.pt * (1 - events.FatJet.rawFactor) <= 200
    content = json.loads(families()[case.family].read_text()) | {"domain": "uncorrected_pt > 200"}
    other = declared(shared, tmp_path / "other", case, lambda given: given.update(content))
    found = other.run(events)
    assert ak.to_list(ak.is_none(found.scores, axis=1)) == ak.to_list(soft)
    assert found.report.outside_domain == int(ak.sum(soft)) > 0
    np.testing.assert_allclose(
        ak.to_numpy(ak.flatten(found.scores.probHbb[~soft])), ak.to_numpy(ak.flatten(whole.probHbb[~soft])), atol=1e-6
    )


def test_without_the_factor_to_the_uncorrected_momentum_nothing_runs(shared: Path, tmp_path: Path) -> None:
    case = CASES["BvL"]
    tagger = bare(shared, tmp_path / "net", case)
    events = case.events(shared, tagger.bundle)
    fields = [name for name in events.FatJet.fields if name != "rawFactor"]
    with pytest.raises(MissingColumns, match=r"uncorrected_pt \(FatJet\.rawFactor\)"):
        tagger(ak.with_field(events, events.FatJet[fields], "FatJet"))
    masked = ak.mask(events.FatJet.rawFactor, ak.local_index(events.FatJet.rawFactor) != 0)
    holes = ak.with_field(events, ak.with_field(events.FatJet, masked, "rawFactor"), "FatJet")
    with pytest.warns(UserWarning, match="not scored"):
        found = tagger(holes)
    first = ak.local_index(events.FatJet.pt) == 0
    assert ak.to_list(ak.is_none(found, axis=1)) == ak.to_list(first)
    np.testing.assert_array_equal(
        ak.to_numpy(ak.flatten(found.probHbb[~first])), ak.to_numpy(ak.flatten(tagger(events).probHbb[~first]))
    )


@pytest.mark.parametrize(
    ("name", "links", "shortest"), [("particlenet-ak8-md", "FatJetPFCands", 16), ("particlenet-ak4", "JetPFCands", 8)]
)
def test_jets_with_fewer_constituents_than_neighbours_run(name: str, links: str, shortest: int, shared: Path) -> None:
    tagger = jt.load_tagger(shared / "models" / name, threads=1, backend="onnxruntime", min_pt_share=0)
    with opened(shared / "cms/pfnano.root") as file:
        events = file.read(check_columns(tagger.bundle, file).columns)
    table = events[links]
    few = ak.with_field(events, table[ak.local_index(table.jetIdx) % 9 == 0], links)
    jets, counts = np.unique(
        ak.to_numpy(ak.flatten(few[links].jetIdx + 100 * ak.local_index(few[links].jetIdx, axis=0))), return_counts=True
    )
    assert counts.min() < 3 < shortest
    tagged = tagger.run(few)
    assert tagged.report.scored == len(jets)
    assert tagged.report.nonfinite_jets == 0
    assert tagged.report.slots >= shortest * len(jets)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BvL", "DeepJet", "DeepAK8-MD"])
def test_blocks_order_and_other_models_change_nothing(name: str, shared: Path, tmp_path: Path) -> None:
    case = CASES[name]
    tagger = bare(shared, tmp_path / "net", case)
    events = case.events(shared, tagger.bundle)
    whole = tagger(events)
    small = Tagger(tagger.bundle, threads=1, block_bytes=1, cache=tmp_path / "cache")
    assert_same_scores(small(events), whole)
    assert small.run(events).report.cached == int(ak.count(whole[whole.fields[0]]))
    assert_same_scores(tagger(events[::-1]), whole[::-1])
    assert_same_scores(ak.concatenate([tagger(events[:3]), tagger(events[3:])]), whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DeepJet", "DeepAK8-MD"])
def test_from_the_shell_with_verified_numbers(name: str, shared: Path, tmp_path: Path, capsys: Any) -> None:
    case = CASES[name]
    tagger = bare(shared, tmp_path / "net", case)
    source, target = str(shared / "cms/pfnano.root"), tmp_path / "scores.parquet"
    assert main(["tag", source, "--model", str(tmp_path / "net"), "-o", str(target), "--verify"]) == 0
    said = capsys.readouterr()
    assert "jets with a track whose rebuilt sign is in doubt" in said.out + said.err
    record = Provenance.of_file(target)
    assert record.approximate == tagger.bundle.approximate
    table = ak.from_parquet(target)
    output = tagger.bundle.outputs[0].name
    scores = ak.to_numpy(ak.flatten(table[f"{case.collection}_{tagger.bundle.prefix}_{output}"]))
    expected = ak.to_numpy(ak.flatten(tagger(case.events(shared, tagger.bundle))[output]))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
