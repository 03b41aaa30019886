"""Discriminants: what they give against computations by hand, where they find scores, how they are kept."""

import itertools
import json
import pickle
import re
import warnings
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pages import blocks
from real_files import opened

from jettagger.bundles.known import output_fingerprint
from jettagger.bundles.places import PACKAGE
from jettagger.discriminants import (
    Discriminant,
    algebra,
    discriminant,
    group,
    load,
    log,
    log_ratio,
    model,
    models,
    parameter,
    presets,
    ratio,
    save,
    score,
    sum_of,
    taggers,
)
from jettagger.discriminants.tables import expand
from jettagger.errors import ConfigError, JettaggerError, MismatchError, MissingColumns, OutputError, UnknownName

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")

# The 37 names as the model's description gives them, row after row; not read from the package's own table.
V1_HWW4Q = ["probHWqqWqq0c", "probHWqqWqq1c", "probHWqqWqq2c"]
V1_HWW3Q = ["probHWqqWq0c", "probHWqqWq1c", "probHWqqWq2c"]
V1_LVQQ = ["probHWqqWev0c", "probHWqqWev1c", "probHWqqWmv0c", "probHWqqWmv1c"]
V1_TAUVQQ = [f"probHWqqWtau{lepton}v{charm}c" for lepton in "emh" for charm in (0, 1)]
V1_TWO = ["probHbb", "probHcc", "probHss", "probHqq", "probHtauhtaue", "probHtauhtaum", "probHtauhtauh"]
V1_QCD = ["probQCDbb", "probQCDcc", "probQCDb", "probQCDc", "probQCDothers"]
V1_TOPBQQ = ["probTopbWqq0c", "probTopbWqq1c", "probTopbWq0c", "probTopbWq1c"]
V1_TOPBLV = ["probTopbWev", "probTopbWmv", "probTopbWtauhv", "probTopbWtauev", "probTopbWtaumv"]
V1 = V1_HWW4Q + V1_HWW3Q + V1_LVQQ + V1_TAUVQQ + V1_TWO + V1_QCD + V1_TOPBQQ + V1_TOPBLV


def softmax(rows, columns, seed):
    logits = np.random.default_rng(seed).normal(0, 3, (rows, columns))
    odds = np.exp(logits)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def v1_scores(rows=200, seed=1):
    return dict(zip(V1, np.ascontiguousarray(softmax(rows, len(V1), seed).T), strict=True))


def jagged(columns, prefix, counts):
    flat = {f"{prefix}_{name}": values for name, values in columns.items()}
    return ak.unflatten(ak.Array({"pt": np.arange(sum(counts), dtype=np.float32), **flat}), counts)


def column_sum(scores, names):
    total = 0.0
    for name in names:
        total = total + np.asarray(scores[name], dtype=np.float64)
    return total


def canonical(label):
    return "prob" + label.removeprefix("label_").replace("_", "")


def output_names(folder):
    return json.loads((SHARED / "models" / folder / "preprocess.json").read_text())["output_names"]


# ---------------------------------------------------------------------------------------- by hand


def test_the_names_are_37():
    assert len(V1) == len(set(V1)) == 37


@pytest.mark.parametrize("prefix", ["inclParTMDV1", "inclParTToyV1"])
def test_four_discriminants_by_hand(prefix):
    scores = v1_scores()
    jets = jagged(scores, prefix, [3, 0, 100, 97])
    qcd, top = column_sum(scores, V1_QCD), column_sum(scores, V1_TOPBQQ + V1_TOPBLV)
    hbb = np.asarray(scores["probHbb"], dtype=np.float64)
    hww4q, lvqq = column_sum(scores, V1_HWW4Q), column_sum(scores, V1_LVQQ + V1_TAUVQQ)
    by_hand = {
        "HbbvsQCD": hbb / (hbb + qcd),
        "HWW4qvsQCD": hww4q / (hww4q + qcd),
        "HWWlvqqvsTopblv": lvqq / (lvqq + column_sum(scores, V1_TOPBQQ)),
        "HWWlvqqvsTopblvLeptonic": lvqq / (lvqq + column_sum(scores, V1_TOPBLV)),
        "HWWlvqqvsQCDTop": lvqq / (lvqq + 0.3 * qcd + 1.7 * top),
    }
    for name, expected in by_hand.items():
        parameters = {"alpha": 0.3, "beta": 1.7} if name == "HWWlvqqvsQCDTop" else {}
        got = discriminant(name, **parameters)(jets)
        assert ak.num(got).to_list() == [3, 0, 100, 97]
        np.testing.assert_allclose(ak.flatten(got).to_numpy(), expected, rtol=0, atol=1e-12)


@needs_data
def test_on_the_314_classes_by_hand():
    labels = [name for name in output_names("part-ak8-2023") if name.startswith("label_")]
    columns = softmax(100, len(labels), 2).T
    jets = ak.Array({f"ak8_{canonical(name)}": values for name, values in zip(labels, columns, strict=True)})
    by_label = dict(zip(labels, columns.astype(np.float64), strict=True))
    qcd = sum(by_label[f"label_QCD_{flavour}"] for flavour in ("bb", "cc", "b", "c", "others"))
    hbb = by_label["label_H_bb"]
    np.testing.assert_allclose(discriminant("HbbvsQCD")(jets).to_numpy(), hbb / (hbb + qcd), atol=1e-12)
    four = sum(by_label[f"label_H_{v}_{q}"] for v in ("WW", "WxWx", "WxWxStar") for q in ("cscs", "csqq", "qqqq"))
    np.testing.assert_allclose(discriminant("HWW4qvsQCD")(jets).to_numpy(), four / (four + qcd), atol=1e-12)


def open_nano(name, mode="virtual", branches="*"):
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = {str(SHARED / "cms" / name): "Events"}
        chosen = {"filter_name": branches}
        return NanoEventsFactory.from_root(
            source, schemaclass=NanoAODSchema, mode=mode, iteritems_options=chosen
        ).events()


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("mode", ["virtual", "eager"])
def test_central_nanoaod_by_hand(mode):
    events = open_nano("nano_tt_v15.root", mode, "/(n?FatJet(_.*)?|run|luminosityBlock|event)/")
    got = discriminant("HbbvsQCD", prefix="globalParT3")(events.FatJet)
    xbb = ak.to_numpy(ak.flatten(events.FatJet.globalParT3_Xbb)).astype(np.float64)
    qcd = ak.to_numpy(ak.flatten(events.FatJet.globalParT3_QCD)).astype(np.float64)
    whole = xbb + qcd
    expected = np.where(whole > 0, xbb / np.where(whole > 0, whole, 1), -1.0)
    assert len(expected) == 64
    np.testing.assert_array_equal(ak.flatten(got).to_numpy(), expected)
    assert ak.all(ak.num(got) == ak.num(events.FatJet))


@pytest.mark.slow
@needs_data
def test_ready_ratios_of_the_experiment():
    jets = open_nano("nano_tt_v15.root").FatJet
    got = discriminant("HbbvsQCD", prefix="particleNet")(jets)
    stored = jets.particleNet_XbbVsQCD
    # -10 is how the experiment marks a jet that was not scored
    assert ak.sum(stored == -10) == ak.sum(ak.is_none(got, axis=1)) == 20
    assert ak.all(ak.drop_none(got) == ak.values_astype(stored[stored >= 0], "float64"))
    # from ratios to scores and back: the odds times QCD are the scores
    odds = {name: jets[f"particleNet_{name}VsQCD"] / (1 - jets[f"particleNet_{name}VsQCD"]) for name in ("Xbb", "Xcc")}
    by_hand = odds["Xbb"] / (odds["Xbb"] + odds["Xcc"])
    versus = discriminant("HbbvsHcc", prefix="particleNet")(jets)
    valid = ~ak.is_none(versus, axis=1) & (stored > 1e-4)
    np.testing.assert_allclose(ak.flatten(versus[valid]).to_numpy(), ak.flatten(by_hand[valid]), rtol=1e-4)
    taus = discriminant("HtautauvsQCD", prefix="particleNet")(jets)
    total = sum(
        jets[f"particleNet_{name}VsQCD"] / (1 - jets[f"particleNet_{name}VsQCD"]) for name in ("Xte", "Xtm", "Xtt")
    )
    np.testing.assert_allclose(ak.flatten(taus[valid]).to_numpy(), ak.flatten((total / (1 + total))[valid]), rtol=2e-4)


@needs_data
@pytest.mark.slow
def test_each_tagger_of_real_files():
    jets = open_nano("nano_tt_v15.root").FatJet
    assert taggers(jets.fields) == {
        "globalParT3": "globalParT3",
        "particleNetLegacy": "particleNetMD",
        "particleNetWithMass": "particleNet-v9",
        "particleNet": "particleNet-v12",
    }
    with pytest.raises(ConfigError, match=r"several taggers.*'globalParT3', 'particleNetLegacy'"):
        discriminant("HbbvsQCD")(jets)
    with pytest.raises(MissingColumns, match=r"no tagger(.|\n)*globalParT3: the group or score 'Hss'"):
        discriminant("HssvsQCD")(jets)
    with pytest.raises(MissingColumns, match=r"'globalParT3' lacks the group or score 'Hgg'"):
        discriminant("HggvsQCD", prefix="globalParT3")(jets)
    with pytest.raises(UnknownName, match=r"unknown tagger.*nearest: globalParT3"):
        discriminant("HbbvsQCD", prefix="globalPart")(jets)
    # what only one of them has needs no name
    assert discriminant("HWW4qvsQCD", prefix="globalParT3")(jets).to_list() != []
    assert discriminant("HWWlvqqvsQCD")(jets).type == discriminant("HWWlvqqvsQCD", prefix="globalParT3")(jets).type
    old = open_nano("pfnano.root").FatJet
    assert taggers(old.fields) == {
        "deepTagMD": "deepTagMD",
        "deepTag": "deepTagMD",
        "particleNetMD": "particleNetMD",
        "particleNet": "particleNet-v9",
    }
    stored = ak.values_astype(old.particleNet_HccvsQCD, "float64")
    assert ak.all(discriminant("HccvsQCD", prefix="particleNet")(old) == stored)
    got = discriminant("HqqvsQCD")(old)
    np.testing.assert_allclose(
        ak.flatten(got),
        ak.flatten(old.particleNetMD_Xqq / (old.particleNetMD_Xqq + old.particleNetMD_QCD)),
        rtol=1e-6,
    )


@needs_data
def test_scouting_scores():
    import uproot

    with uproot.open(SHARED / "cms" / "scouting_nano.root") as file:
        events = file["Events"].arrays(filter_name="ScoutingFatJet_particleNet*")
    got = discriminant("HbbvsQCD")(events, collection="ScoutingFatJet")
    upper = events.ScoutingFatJet_particleNet_prob_Hbb
    expected = upper / (upper + events.ScoutingFatJet_particleNet_prob_QCD)
    np.testing.assert_allclose(ak.flatten(got), ak.flatten(expected), rtol=1e-6)
    assert ak.count(got) > 0


# ---------------------------------------------------------------------------------------- containers


def test_an_attached_tagger_comes_before_what_the_experiment_stored():
    stored = {"Xbb": [0.1], "Xcc": [0.1], "Xqq": [0.1], "QCD": [0.7]}
    both = {f"particleNetMD_{name}": values for name, values in stored.items()}
    both |= {f"inclParTMDV1_{name}": [1 / 37] for name in V1}
    assert discriminant("HbbvsQCD")(ak.Array(both)).to_list() == [pytest.approx(1 / 6)]
    assert discriminant("HbbvsQCD", prefix="particleNetMD")(ak.Array(both)).to_list() == [pytest.approx(1 / 8)]
    two = both | {f"other_{name}": [1 / 37] for name in V1}
    with pytest.raises(ConfigError, match=r"several taggers.*'inclParTMDV1', 'other'$"):
        discriminant("HbbvsQCD")(ak.Array(two))


def test_containers_agree():
    scores = v1_scores(12)
    jets = jagged(scores, "inclParTMDV1", [5, 0, 7])
    item = discriminant("HWWlvqqvsQCDTop", alpha=0.5)
    expected = item(jets)
    assert str(expected.type) == "3 * var * ?float64"
    events = ak.zip({"FatJet": jets, "event": [1, 2, 3]}, depth_limit=1)
    assert item(events).to_list() == expected.to_list()
    assert item(jets[0, 3]) == expected[0, 3]
    assert item(jets[0]).to_list() == expected[0].to_list()
    skim = ak.Array({f"FatJet_{name}": jets[name] for name in jets.fields})
    assert item(skim).to_list() == expected.to_list()
    assert item(skim[2]).to_list() == expected[2].to_list()
    assert item({name: skim[name] for name in skim.fields}).to_list() == expected.to_list()
    arrow = ak.to_arrow_table(skim)
    assert item(arrow).to_list() == expected.to_list()
    flat = item(scores)
    assert isinstance(flat, np.ndarray)
    assert flat.dtype == np.float64
    assert flat.tolist() == ak.flatten(expected).to_list()
    assert item({name: float(values[0]) for name, values in scores.items()}) == expected[0, 0]
    firsts = item(ak.firsts(jets))
    assert firsts.to_list() == [expected[0, 0], None, expected[2, 0]]


def test_pandas_table():
    pandas = pytest.importorskip("pandas")
    scores = v1_scores(5)
    assert discriminant("HbbvsQCD")(pandas.DataFrame(scores)).tolist() == discriminant("HbbvsQCD")(scores).tolist()


def test_parquet_skim(tmp_path):
    scores = {name: values.astype(object) for name, values in v1_scores(6).items()}
    for name in V1:
        scores[name][2] = None
    flat = {f"FatJet_inclParTMDV1_{name}": ak.unflatten(ak.Array(list(v)), [4, 0, 2]) for name, v in scores.items()}
    ak.to_parquet(ak.Array(flat), tmp_path / "skim.parquet")
    got = discriminant("HbbvsQCD")(ak.from_parquet(tmp_path / "skim.parquet"))
    assert [None if x is None else "x" for x in ak.flatten(got)] == ["x", "x", None, "x", "x", "x"]
    assert ak.num(got).to_list() == [4, 0, 2]


def test_missing_scores():
    item = discriminant("x / (x + y)")
    jets = ak.Array({"t_x": [1.0, None, np.nan, np.inf, 3.0], "t_y": [1.0, 1.0, 1.0, 1.0, None]})
    assert item(jets).to_list() == [0.5, None, None, None, None]
    got = item({"x": np.array([1.0, np.nan]), "y": np.array([1.0, 1.0])})
    assert got[0] == 0.5
    assert np.isnan(got[1])
    masked = np.ma.masked_array([1.0, 1.0], mask=[False, True])
    assert np.isnan(item({"x": masked, "y": np.ones(2)}))[1]
    assert item({"x": None, "y": 1.0}) is None
    assert item(ak.Array({"x": [None], "y": [1.0]})[0]) is None
    assert discriminant("HbbvsQCD")({"Xbb": -1.0, "QCD": 1.0, "Xcc": 0.0, "Xqq": 0.0}) is None


def test_zero_denominators():
    jets = ak.Array({"x": [0.0, 1.0], "y": [0.0, 1.0]})
    assert discriminant("x / (x + y)")(jets).to_list() == [-1.0, 0.5]
    assert discriminant("x / (x + y)", zero=7)(jets).to_list() == [7.0, 0.5]
    assert discriminant("x / (x + y)")({"x": np.zeros(1), "y": np.zeros(1)}).tolist() == [-1.0]
    assert discriminant("x / (x + y)")({"x": 0.0, "y": 0.0}) == -1.0
    assert discriminant("log_ratio(x, y)")(jets).to_list() == [0.0, 0.0]
    assert discriminant("log(x)")(jets).to_list() == [pytest.approx(np.log(1e-10)), 0.0]
    assert discriminant("x / 0 + 1 / 0")(jets).to_list() == [-2.0, -2.0]


def test_float64_inside():
    # in float32 the sum of 1 and 2e-8 is 1
    jets = ak.Array({"x": np.array([1.0], dtype=np.float32), "y": np.array([2e-8], dtype=np.float32)})
    got = discriminant("1 - x / (x + y)")(jets)
    assert got[0] == pytest.approx(2e-8, rel=1e-6)


def test_no_jets():
    jets = jagged({name: values[:0] for name, values in v1_scores(1).items()}, "inclParTMDV1", [0, 0])
    assert discriminant("HbbvsQCD")(jets).to_list() == [[], []]
    assert discriminant("HbbvsQCD")(jets[:0]).to_list() == []
    assert discriminant("HbbvsQCD")({name: values[:0] for name, values in v1_scores(1).items()}).shape == (0,)


def test_after_a_mask_and_on_options():
    jets = jagged(v1_scores(10), "inclParTMDV1", [4, 6])
    item = discriminant("HbbvsQCD")
    assert item(jets[jets.pt > 2]).to_list() == item(jets)[jets.pt > 2].to_list()
    assert item(ak.pad_none(jets, 7)).to_list()[0] == [*item(jets).to_list()[0], None, None, None]


def test_dask_awkward(tmp_path):
    dask_awkward = pytest.importorskip("dask_awkward", reason="dask-awkward is not installed")
    jets = jagged({**v1_scores(10), "unused": np.ones(10)}, "inclParTMDV1", [4, 0, 6])
    ak.to_parquet(jets, tmp_path / "jets.parquet")
    lazy = dask_awkward.from_parquet(str(tmp_path / "jets.parquet"))
    item = discriminant("HbbvsQCD")
    got = item(lazy)
    assert isinstance(got, dask_awkward.Array)
    assert item(dask_awkward.from_awkward(jets, 2)).compute().to_list() == item(jets).to_list()
    assert got.compute().to_list() == item(jets).to_list()
    touched = next(iter(dask_awkward.report_necessary_columns(got).values()))
    assert touched == {f"inclParTMDV1_{name}" for name in ["probHbb", *V1_QCD]}


def test_arrays_of_other_lengths():
    with pytest.raises(MismatchError, match=r"different shapes"):
        discriminant("x + y")({"x": np.ones(2), "y": np.ones(3)})


def test_what_holds_no_columns():
    with pytest.raises(MissingColumns, match=r"jets with named columns, got list"):
        discriminant("HbbvsQCD")([1, 2])
    with pytest.raises(MissingColumns, match=r"no scores; it needs sum\(Hbb\), sum\(QCD\), found columns: pt"):
        discriminant("HbbvsQCD")(ak.Array({"pt": [1.0]}))
    with pytest.raises(ConfigError, match=r"contains no score"):
        discriminant("1 + 1")(ak.Array({"pt": [1.0]}))


def test_a_skim_that_lost_columns():
    scores = v1_scores(3)
    del scores["probQCDc"]
    with pytest.raises(MissingColumns, match=r"the score 'probQCDc'"):
        discriminant("HbbvsQCD")(jagged(scores, "inclParTMDV1", [3]))
    with pytest.raises(MissingColumns, match=r"the score 'probQCDc'"):
        discriminant("probHbb / sum(probQCD*)")(jagged(scores, "inclParTMDV1", [3]))


# ---------------------------------------------------------------------------------------- tables


@needs_data
@pytest.mark.parametrize(
    ("name", "folder", "count"),
    [
        ("inclParTMDV1", "glopart-v1", 37),
        ("part-ak8-2023", "part-ak8-2023", 314),
        ("particlenet-ak8-md", "particlenet-ak8-md", 8),
        ("scouting-particlenet-ak8", "scouting-particlenet-ak8", 4),
    ],
)
def test_groups_cover_the_classes_of_the_models_own_files(name, folder, count):
    classes = [canonical(label) for label in output_names(folder) if label.startswith("label_")]
    assert len(classes) == len(set(classes)) == count
    model(name).check_coverage(classes)


@needs_data
def test_groups_cover_glopart3():
    names = [name for name in output_names("glopart-v3") if name.startswith("prob") and "WithMass" not in name]
    model("globalParT3").check_coverage(names)


def test_coverage_is_checked():
    with pytest.raises(MismatchError, match=r"1 in no group \(probX\); 1 in a group but not among the names \(Xqq\)"):
        model("particleNetMD").check_coverage(["Xbb", "Xcc", "QCD", "probX"])


@pytest.mark.parametrize("card", sorted((PACKAGE / "known").glob("*.json")), ids=lambda path: path.stem)
def test_a_network_has_one_name(card):
    """What 'jettagger models' calls a known network, discriminants and their columns do, too."""
    known = json.loads(card.read_text(encoding="utf-8"))
    assert model(known["name"]).name == model(known["prefix"]).name == known["name"]


@pytest.mark.parametrize(
    "vectors",
    [path for path in sorted((PACKAGE / "known").glob("*.npz")) if not path.stem.startswith("scouting")],
    ids=lambda path: path.stem,
)
def test_groups_have_the_outputs_of_the_network(vectors):
    """Each class is an output of the network, by the fingerprints that are kept of it."""
    with np.load(vectors, allow_pickle=False) as stored:
        outputs = set(stored["outputs"].tolist())
    known = {output_fingerprint(name) for name in model(vectors.stem).classes}
    assert known <= outputs
    assert len(known) == len(model(vectors.stem).classes)


def test_small_jets():
    """What CMSSW makes of the scores of small jets, of stored vectors."""
    with np.load(PACKAGE / "known" / "particlenet-ak4.npz", allow_pickle=False) as stored:
        scores = stored["scores"].astype(np.float64)
    names = ["probb", "probbb", "probc", "probcc", "probuds", "probg", "probundef", "probpu"]
    jets = ak.zip({f"particlenet_ak4_{name}": scores[:, place] for place, name in enumerate(names)})
    b, bb, c, cc, uds, g, _, _ = scores.T
    expected = {
        "BvsAll": (b + bb) / (b + bb + c + cc + uds + g),
        "CvsL": (c + cc) / (c + cc + uds + g),
        "CvsB": (c + cc) / (c + cc + b + bb),
        "QvsG": uds / (uds + g),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(discriminant(name)(jets, prefix="particlenet_ak4"), values, rtol=1e-6)
    with pytest.raises(MissingColumns, match=r"'particlenet_ak4' lacks the group or score 'Hbb' \(nearest: probb"):
        discriminant("HbbvsQCD")(jets, prefix="particlenet_ak4")


FLAVOURS = ("BvsAll", "CvsL", "CvsB", "QvsG")


def six_scores(n=50, seed=4):
    return dict(zip(("b", "bb", "lepb", "c", "uds", "g"), softmax(n, 6, seed).T.astype(np.float64), strict=True))


def by_hand(s):
    b = s["b"] + s["bb"] + s["lepb"]
    return {
        "BvsAll": b / sum(s.values()),
        "CvsL": s["c"] / (s["c"] + s["uds"] + s["g"]),
        "CvsB": s["c"] / (s["c"] + b),
        "QvsG": s["uds"] / (s["uds"] + s["g"]),
    }


STORED_SIX = {"b": "B_b", "bb": "B_bb", "lepb": "B_lepb", "c": "C", "uds": "UDS", "g": "G"}


def test_flavours_of_networks_that_were_run_and_of_stored_scores():
    scores = six_scores()
    run = ak.zip({f"DeepJet_prob{name}": values for name, values in scores.items()})
    stored = ak.zip({f"btagDeepFlav{STORED_SIX[name]}": values for name, values in scores.items()})
    for name, values in by_hand(scores).items():
        np.testing.assert_allclose(discriminant(name)(run), values, rtol=1e-12)
        np.testing.assert_allclose(discriminant(name)(stored), values, rtol=1e-12)
        logged = discriminant(name, form="log_ratio")(stored)
        np.testing.assert_allclose(logged, np.log(values / (1 - values)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("prefix", "columns"),
    [
        ("btagDeepFlav", ("B", "CvL", "CvB", "QG")),
        ("btagPNet", ("B", "CvL", "CvB", "QvG")),
        ("btagUParTAK4", ("B", "CvL", "CvB", "QvG")),
        ("particleNetAK4", ("_B", "_CvsL", "_CvsB", "_QvsG")),
    ],
)
def test_what_nanoaod_stores_of_flavours_is_given_as_it_is(prefix, columns):
    rng = np.random.default_rng(1)
    values = dict(zip(FLAVOURS, rng.uniform(0.01, 0.99, (4, 30)).astype(np.float32), strict=True))
    values["CvsL"][3] = -1  # what is stored where there is no score
    jets = {f"{prefix}{column}": values[name] for name, column in zip(FLAVOURS, columns, strict=True)}
    if prefix == "btagDeepFlav":
        jets["btagDeepFlavQG"] = 1 - jets["btagDeepFlavQG"]
    others = {"btagPNetB": rng.uniform(size=30), "btagPNetCvL": rng.uniform(size=30), "pt": rng.uniform(size=30)}
    jets = ak.zip({**others, **jets})
    for name in FLAVOURS:
        got = discriminant(name, prefix=prefix)(jets)
        assert ak.is_none(got).tolist() == (values[name] < 0).tolist()
        good = values[name] >= 0
        np.testing.assert_allclose(got[good], values[name][good], rtol=1e-6)
    if prefix != "btagPNet":
        with pytest.raises(ConfigError, match=r"several taggers.*'btagPNet'|several taggers.*'particleNetAK4'"):
            discriminant("BvsAll")(jets)
    assert set(taggers(jets.fields)) == {prefix, "btagPNet"}


def test_stored_ratios_come_before_stored_scores_and_logarithms_are_made_of_scores():
    scores = six_scores()
    columns = {f"btagDeepFlav{STORED_SIX[name]}": values for name, values in scores.items()}
    jets = ak.zip({**columns, "btagDeepFlavB": np.full(50, 0.25), "btagDeepFlavQG": np.full(50, 0.25)})
    assert discriminant("BvsAll")(jets).tolist() == [0.25] * 50
    assert discriminant("QvsG")(jets).tolist() == [0.75] * 50
    odds = by_hand(scores)["BvsAll"] / (1 - by_hand(scores)["BvsAll"])
    np.testing.assert_allclose(discriminant("BvsAll", form="log_ratio")(jets), np.log(odds), rtol=1e-9)


def test_the_ratio_that_was_stored_with_scores_of_another_tagger_is_not_taken():
    """CvB of the Particle Transformer in NanoAOD v12 has DeepJet's bb and lepb in its denominator."""
    jets = ak.zip({f"btagRobustParTAK4{name}": np.full(3, 0.5) for name in ("B", "CvL", "CvB", "QG")})
    assert discriminant("CvsL")(jets).tolist() == [0.5] * 3
    with pytest.raises(MissingColumns, match=r"btagRobustParTAK4: the score .C., the score .B_b."):
        discriminant("CvsB")(jets)


def test_a_network_that_was_run_comes_before_what_is_stored():
    scores = six_scores()
    jets = ak.zip(
        {f"DeepJet_prob{name}": values for name, values in scores.items()} | {"btagDeepFlavB": np.full(50, 0.25)}
    )
    np.testing.assert_allclose(discriminant("BvsAll")(jets), by_hand(scores)["BvsAll"], rtol=1e-12)
    assert discriminant("BvsAll", prefix="btagDeepFlav")(jets).tolist() == [0.25] * 50
    skim = {f"Jet_{name}": jets[name] for name in jets.fields}
    np.testing.assert_allclose(discriminant("CvsL")(skim, collection="Jet"), by_hand(scores)["CvsL"], rtol=1e-12)


@pytest.mark.data
def test_scores_of_pfnano_give_the_ratios_that_are_stored_beside_them(shared, agrees):
    names = [*STORED_SIX.values(), "B", "CvL", "CvB", "QG"]
    with opened(shared / "cms/pfnano.root") as file:
        jets = file.read([f"Jet.btagDeepFlav{name}" for name in names]).Jet
    stored = {"BvsAll": jets.btagDeepFlavB, "CvsL": jets.btagDeepFlavCvL, "CvsB": jets.btagDeepFlavCvB}
    stored["QvsG"] = 1 - jets.btagDeepFlavQG
    parts = ak.zip({f"btagDeepFlav{name}": jets[f"btagDeepFlav{name}"] for name in STORED_SIX.values()})
    for name, values in stored.items():
        # as they are, wherever they are no placeholder
        given = discriminant(name)(jets)
        assert ak.count(given) == ak.sum(values <= 1) - ak.sum(values < 0) == 64
        np.testing.assert_allclose(ak.flatten(given), ak.flatten(values), rtol=1e-6)
        # each of the numbers has ten bits
        made = discriminant(name)(parts)
        atol = 2e-5 + (name == "QvsG") * 5e-4
        agrees("cms_inputs/ratios", ak.flatten(made), ak.flatten(values), sample=64, rtol=2e-3, atol=atol, part=name)


@pytest.mark.slow
@pytest.mark.data
def test_flavours_of_central_nanoaod(shared):
    columns = {"BvsAll": "B", "CvsL": "CvL", "CvsB": "CvB", "QvsG": "QvG"}
    with opened(shared / "cms/nano_tt_v15.root") as file:
        fields = [name for name in file.fields("Jet") if name.startswith("btag")]
        jets = file.read([f"Jet.{name}" for name in fields]).Jet
    assert {"btagDeepFlav", "btagPNet", "btagUParTAK4"} <= set(taggers(jets.fields))
    for prefix in ("btagPNet", "btagUParTAK4"):
        for name, column in columns.items():
            values = jets[f"{prefix}{column}"]
            given = discriminant(name, prefix=prefix)(jets)
            assert ak.is_none(given, axis=1).tolist() == (values < 0).tolist()
            assert ak.drop_none(given).tolist() == values[values >= 0].tolist()
    total = jets.btagUParTAK4probb + jets.btagUParTAK4probbb
    scored = jets.btagUParTAK4B >= 0
    # parts of the total: what is missing are leptonic decays
    assert ak.all(total[scored] <= jets.btagUParTAK4B[scored] * 1.03 + 1e-3)


def test_groups_by_hand():
    groups = model("inclParTMDV1").groups
    assert sorted(groups["Top"]) == sorted(V1_TOPBQQ + V1_TOPBLV)
    assert sorted(groups["HWWlvqq"]) == sorted(V1_LVQQ + V1_TAUVQQ)
    assert sorted(groups["HWW"]) == sorted(V1_HWW4Q + V1_HWW3Q + V1_LVQQ + V1_TAUVQQ)
    assert sorted(groups["QCD"]) == sorted(V1_QCD)
    assert sorted(model("inclParTMDV1").classes) == sorted(V1)
    for item in models().values():
        for name, members in item.groups.items():
            assert len(set(members)) == len(members), (item.name, name)
            # a group must not change the meaning of a score that is called the same
            assert name not in item.classes or members == (name,)


def test_unknown_names_in_tables():
    assert model("inclParTToyV1").name == "inclParTMDV1"
    with pytest.raises(UnknownName, match=r"nearest: inclParTMDV1"):
        model("inclParTMDV2")
    with pytest.raises(UnknownName, match=r"unknown group.*nearest: QCD"):
        model("inclParTMDV1").group("QDC")
    with pytest.raises(UnknownName, match=r"nearest: HbbvsQCD"):
        discriminant("HbbVsQCD_")
    with pytest.raises(UnknownName, match=r"unknown parameter.*'gamma'.*Known: alpha, beta"):
        discriminant("HWWlvqqvsQCDTop", gamma=2)
    with pytest.raises(UnknownName, match=r"unknown form.*'logratio'"):
        discriminant("HbbvsQCD", form="logratio")


def test_expand():
    assert expand("a{b,c}{1,2} d") == ["ab1", "ab2", "ac1", "ac2", "d"]


@pytest.mark.parametrize("name", presets())
def test_presets_have_their_scores_on_some_model_and_both_forms(name):
    item = discriminant(name)
    having = []
    for known in models():
        try:
            needs = item.needs(known)
        except UnknownName:
            continue
        having.append(known)
        values = dict(zip(needs, softmax(20, len(needs) + 1, 3).T[1:], strict=True))
        plain = item(values)
        assert np.all((plain >= 0) & (plain <= 1))
        if all(value == 1 for value in item.parameters.values()):
            logged = discriminant(name, form="log_ratio")(values)
            np.testing.assert_allclose(logged, np.log(plain / (1 - plain)), rtol=1e-9, atol=1e-9)
            assert item.log_ratio() == discriminant(name, form="log_ratio")
    of_flavours = {"particlenet-ak4", "deepjet", "btagDeepFlav", "btagPNet", "btagUParTAK4"}
    of_bosons = {"deepak8", "particlenet-ak8", "deepTagMD", "particleNet-v9"}
    assert "part-ak8-2023" in having or of_flavours <= set(having) or of_bosons <= set(having)


def test_needs():
    assert discriminant("HbbvsQCD").needs(V1) == ("probHbb", *V1_QCD)
    assert discriminant("probHbb + mass").needs([*V1, "mass"]) == ("probHbb", "mass")
    with pytest.raises(UnknownName, match=r"'probHbB' \(nearest: probHbb") as caught:
        discriminant("probHbB / sum(probQCD*)").needs(V1)
    assert caught.value.names == ["probHbB"]
    with pytest.raises(UnknownName, match=r"probXYZ"):
        discriminant("probHbb / sum(probXYZ*)").needs(V1)
    with pytest.raises(MissingColumns, match=r"'QCD' \(a group: write sum\(QCD\)\)"):
        discriminant("probHbb / QCD")(v1_scores(2), prefix="")


# ---------------------------------------------------------------------------------------- algebra


def test_operators():
    x, y = score("x"), score("y")
    values = {"x": np.array([3.0]), "y": np.array([4.0])}
    cases = {
        x + y: 7, 1 + x: 4, x - y: -1, 1 - x: -2, x * y: 12, 2 * x: 6, x / y: 0.75, 6 / x: 2, -x: -3,
        x - (y - 1): 0,
        ratio(x, y): 3 / 7, log_ratio(x, y): np.log(0.75), log(x): np.log(3.0), sum_of("x", "y", "x"): 7,
        group("y"): 4, x - -1: 4, -(x + y): -7,
    }  # fmt: skip
    for node, expected in cases.items():
        assert Discriminant(node)(values)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("sqrt(x * 3)", 3), ("abs(-x)", 3), ("min(x, y)", 3), ("max(x, 10)", 10), ("exp(x - 3)", 1), ("+x", 3),
     ("2 * (x - 1) / y", 1), ("ratio(x, y)", 3 / 7), ("sum(x,y)", 7), ("sum( [xy] )", 7), ("sum(?)", 7)],
)  # fmt: skip
def test_read(text, expected):
    assert discriminant(text)({"x": np.array([3.0]), "y": np.array([4.0])})[0] == pytest.approx(expected)


def test_the_string_of_the_documentation():
    item = Discriminant.from_string("(probHbb) / (probHbb + alpha * sum(probQCD*))", parameters={"alpha": 0.5})
    scores = v1_scores()
    hbb, qcd = scores["probHbb"].astype(float), column_sum(scores, V1_QCD)
    np.testing.assert_allclose(item(scores), hbb / (hbb + 0.5 * qcd), rtol=1e-12)
    signal = score("probHbb")
    assert item == Discriminant(signal / (signal + parameter("alpha") * sum_of("probQCD*")), parameters={"alpha": 0.5})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("x +", "cannot be read"),
        ("x ** 2", "not allowed"),
        ("x > 2", "not allowed"),
        ("x.y", "not allowed"),
        ("'x'", "not allowed"),
        ("True + x", "not allowed"),
        ("foo(x)", "unknown function 'foo'"),
        ("__import__('os')", "unknown function"),
        ("logratio(x, y)", "nearest: log_ratio"),
        ("log_ratio(x)", r"takes 2 argument\(s\), got 1"),
        ("log(x=1)", "plain arguments"),
        ("sum(", "not closed"),
        ("x + sum()", r"position 9: sum\(...\) takes names"),
        ("sum(x + y)", r"got 'x \+ y'"),
        ("1e999 * x", "too large"),
        ("x where alpha", "after 'where' expected"),
        ("x where alpha = 3", "unknown parameter"),
        ("alpha * x where alpha = much", "expected a number, got 'much'"),
    ],
)
def test_refused(text, message):
    with pytest.raises((ConfigError, UnknownName), match=message):
        Discriminant.from_string(text)


def test_refused_values():
    with pytest.raises(ConfigError, match=r"'alpha' has no value"):
        Discriminant(parameter("alpha") * score("x"))
    with pytest.raises(ConfigError, match=r"must be a finite number, got nan"):
        Discriminant(parameter("alpha") * score("x"), parameters={"alpha": float("nan")})
    with pytest.raises(ConfigError, match=r"both a score and a parameter"):
        Discriminant(parameter("x") * score("x"), parameters={"x": 1.0})
    with pytest.raises(ConfigError, match=r"empty denominator must be a finite number"):
        Discriminant(score("x"), zero=np.inf)
    with pytest.raises(ConfigError, match=r"not the name of a score"):
        score("prob Hbb")
    with pytest.raises(ConfigError, match=r"not the name of a parameter"):
        parameter("1")
    with pytest.raises(ConfigError, match=r"needs at least one"):
        sum_of()
    with pytest.raises(ConfigError, match=r"or a glob"):
        sum_of("a b")
    with pytest.raises(ConfigError, match=r"cannot contain the number inf"):
        score("x") + float("inf")
    with pytest.raises(TypeError, match=r"scores and numbers"):
        score("x") + "y"
    with pytest.raises(ConfigError, match=r"does not have the form"):
        discriminant("x + y").log_ratio()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x / (x + y)", "log_ratio(x, y)"),
        ("(x - z) / (x - z + y)", "log_ratio(x - z, y)"),
        ("0.5 * x / (0.5 * x + y)", "log_ratio(0.5 * x, y)"),
        ("ratio(x / z, y)", "log_ratio(x / z, y)"),
        ("x / (x + (y + z))", "log_ratio(x, y + z)"),
        ("x / (y + x)", None),
        ("0.5 * x / (x + y)", None),
        ("x * (x + y)", None),
        ("x / (x - y)", None),
        ("x / y", None),
    ],
)
def test_the_logarithm_of_a_ratio(text, expected):
    item = discriminant(text)
    if expected is None:
        with pytest.raises(ConfigError, match=r"does not have the form signal"):
            item.log_ratio()
    else:
        assert str(item.log_ratio()) == expected


@pytest.mark.parametrize("text", ["ratio(x, y) * 2", "ratio(x, y) / z", "ratio(x, y) + z", "z * ratio(x, y)"])
def test_what_stands_for_a_chain_is_part_of_the_chain_around_it(text):
    item = discriminant(text)
    assert Discriminant.from_string(str(item)) == item


names = st.sampled_from(["probHbb", "x", "alpha", "probQCDothers"])
patterns = st.sampled_from(["QCD", "probQCD*", "x?", "HWqq[01]c"])
numbers = st.floats(0, 1e6).map(lambda value: algebra.Number(value)) | st.integers(-9, 9).map(
    lambda value: algebra.Number(float(value))
)
leaves = (
    numbers
    | names.map(lambda name: parameter(name) if name == "alpha" else score(name))
    | st.lists(patterns, min_size=1, max_size=3).map(lambda parts: sum_of(*parts))
)
nodes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner).map(lambda item: algebra.combine(*item)),
        inner.map(lambda node: -node),
        inner.map(log),
        st.tuples(inner, inner).map(lambda pair: log_ratio(*pair)),
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(nodes, st.floats(-10, 10), st.floats(-2, 2), st.none() | st.just("inclParTMDV1"))
@example(algebra.Number(1e-9), 0.0, 0.0, None)
@settings(max_examples=300, deadline=None)
def test_writing_and_reading_gives_the_same(node, alpha, zero, prefix):
    has_alpha = any(isinstance(part, algebra.Parameter) for part in node.walk())
    item = Discriminant(node, parameters={"alpha": alpha} if has_alpha else {}, zero=zero, prefix=prefix)
    for again in (
        Discriminant.from_string(str(item)),
        Discriminant.from_yaml(item.to_yaml()),
        Discriminant.from_dict(json.loads(json.dumps(item.to_dict()))),
        pickle.loads(pickle.dumps(item)),
    ):
        assert again == item
        assert hash(again) == hash(item)


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20), st.data())
@settings(deadline=None)
def test_splitting_changes_nothing(rows, data):
    jets = ak.Array({"x": [row[0] for row in rows], "y": [row[1] for row in rows]})
    cut = data.draw(st.integers(0, len(rows)))
    item = discriminant("x / (x + 0.5 * y)")
    assert ak.concatenate([item(jets[:cut]), item(jets[cut:])]).to_list() == item(jets).to_list()


# ---------------------------------------------------------------------------------------- files


def test_files(tmp_path):
    mine = Discriminant.from_string("x / (x + a * y)", name="mine", parameters={"a": 2})
    path = tmp_path / "mine.yaml"
    save([mine, discriminant("HbbvsQCD")], path)
    again = load(path)
    assert again == {"mine": mine, "HbbvsQCD": discriminant("HbbvsQCD")}
    assert again["HbbvsQCD"].text == discriminant("HbbvsQCD").text
    assert again["mine"].name == "mine"
    with pytest.raises(ConfigError, match=r"different names"):
        save([mine, mine], path)
    with pytest.raises(OutputError):
        save([mine], tmp_path / "absent" / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1", "the key 'discriminants' is missing"),
        ("version: 2\ndiscriminants: {}", "line 1: version 2, this version of jettagger reads 1"),
        ("version: 1\ndiscriminants: 3", "line 2: 'discriminants' must be a mapping, got 3"),
        (
            "version: 1\ndiscriminants:\n  a: {expresion: x}",
            "line 3: unknown key 'expresion'.*nearest: expression",
        ),
        (
            "version: 1\ndiscriminants:\n  a:\n    expression: x ^ 2",
            "line 4: position 1: 'x . 2' is not allowed",
        ),
        ("version: 1\ndiscriminants:\n  a:\n    expression: 3", "line 4: expected an expression as text"),
        (
            "version: 1\ndiscriminants:\n  a:\n    expression: a*x\n    parameters: {a: b}",
            "line 5: parameter 'a'",
        ),
        (
            "version: 1\ndiscriminants:\n  a:\n    expression: x\n    parameters: [a]",
            "line 5: 'parameters' must",
        ),
        ("version: 1\ndiscriminants:\n  a:\n    expression: x\n    zero: nope", "line 5: 'zero' must be"),
        ("version: 1\ndiscriminants:\n  a:\n    expression: x\n    label: 3", "line 5: 'label' must be text"),
        (
            "version: 1\ndiscriminants:\n  a:\n    expression: x\n    expression: y",
            "line 5: .*twice, first on line 4",
        ),
        ("version: 1\n\tdiscriminants: {}", "line 2: not valid YAML"),
        ("- 1", "the file must be a mapping"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"mine.yaml.*{message}"):
        load(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent.yaml: No such file"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match=r"not valid YAML"):
        Discriminant.from_yaml("!!python/object/apply:os.system ['ls']")
    with pytest.raises(ConfigError, match=r"expected one discriminant, got 0: none"):
        Discriminant.from_yaml("{version: 1, discriminants: {}}")


# ---------------------------------------------------------------------------------------- command line


def test_command_line(capsys, tmp_path):
    from jettagger.cli import main

    assert main(["discriminants", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(presets())
    assert main(["discriminants", "list", "--model", "deepTagMD"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "HbbvsQCD",
        "HWW4qvsQCD",
        "TopbqqvsQCD",
        "WqqvsQCD",
        "ZqqvsQCD",
    ]
    assert main(["discriminants", "show", "HWWlvqqvsTopblv", "--model", "inclParTMDV1"]) == 0
    shown = capsys.readouterr().out
    assert "HADRONIC" in shown
    assert "inclParTMDV1: 14 scores" in shown
    assert all(name in shown for name in V1_TOPBQQ)
    assert main(["discriminants", "show", "HssvsQCD"]) == 0
    assert "globalParT3: lacks Hss" in capsys.readouterr().out
    assert main(["discriminants", "show", "HWWlvqqvsQCDTop", "--set", "alpha=0.25", "--yaml"]) == 0
    text = capsys.readouterr().out
    assert Discriminant.from_yaml(text) == discriminant("HWWlvqqvsQCDTop", alpha=0.25)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert main(["discriminants", "show", "HWWlvqqvsQCDTop", "--file", str(path), "--form", "log_ratio"]) == 0
    assert "log_ratio(sum(HWWlvqq), 0.25" not in capsys.readouterr().out
    assert main(["discriminants", "list", "--file", str(path)]) == 0
    assert "alpha=0.25" in capsys.readouterr().out
    assert main(["discriminants", "groups"]) == 0
    assert re.search(r"part-ak8-2023 +314", capsys.readouterr().out)
    assert main(["discriminants", "groups", "particleNet-v12"]) == 0
    assert "HbbvsQCD is stored: XbbVsQCD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "HbbvsQC"], "nearest: HbbvsQCD"),
        (["show", "HssvsQCD", "--model", "globalParT3"], "'Hss'"),
        (["show", "HbbvsQCD", "--model", "globalParT4"], "nearest: globalParT3"),
        (["show", "HbbvsQCD", "--set", "alpha"], "expected NAME=VALUE"),
        (["show", "mine", "--file", "absent.yaml"], "cannot read absent.yaml"),
        (["groups", "nothing"], "unknown model"),
    ],
)
def test_command_line_errors(capsys, arguments, message):
    from jettagger.cli import main

    assert main(["discriminants", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_imports_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, jettagger.discriminants; heavy = {'awkward', 'coffea', 'dask', 'hist', 'onnxruntime', "
        "'matplotlib', 'correctionlib', 'scipy'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_alternatives_agree_with_products():
    assert len(expand("probH{WW,WxWx,WxWxStar}{cscs,csqq,qqqq}")) == len(list(itertools.product(range(3), range(3))))


def test_a_preset_with_a_prefix_of_its_own_is_written_as_such(tmp_path):
    """The block of the page: two taggers on the same jets, one discriminant of each."""
    (block,) = blocks("docs/discriminants.md", "yaml", "mineHbb")
    (tmp_path / "mine.yaml").write_text(block)
    found = load(tmp_path / "mine.yaml")
    assert found["mineHbb"] == discriminant("HbbvsQCD", prefix="myParT")
    assert found["storedHbb"] == discriminant("HbbvsQCD", prefix="globalParT3", form="log_ratio")
    assert found["lvqq"] == discriminant("HWWlvqqvsQCDTop", prefix="myParT", alpha=0.3)
    assert list(found) == [item.name for item in found.values()]
    save(found, tmp_path / "again.yaml")
    assert load(tmp_path / "again.yaml") == found
    jets = {"myParT_probHbb": np.array([0.6]), "globalParT3_Xbb": np.array([0.5]), "globalParT3_QCD": np.array([0.25])}
    jets |= {f"myParT_{name}": np.array([0.04]) for name in V1_QCD}
    assert found["mineHbb"](jets) == pytest.approx([0.6 / 0.8])
    assert found["storedHbb"](jets) == pytest.approx([np.log(2)])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"preset": "HbbvsQCDD"}, "nearest: HbbvsQCD"),
        ({"preset": "HbbvsQCD", "expression": "a"}, "give either 'preset' or 'expression', not both"),
        ({"expression": "a", "form": "ratio"}, "'form' belongs to a 'preset'"),
        ({"preset": "HbbvsQCD", "form": "rato"}, "nearest: ratio"),
        ({"preset": "HbbvsQCD", "parameters": {"alpha": 1}}, "unknown parameter"),
        ({"preset": 3}, "must be text"),
        ({}, "expression"),
    ],
)
def test_presets_in_files_that_cannot_be_meant(record, message):
    with pytest.raises(JettaggerError, match=message):
        Discriminant.from_dict(record, name="x", where="here")
