"""What configurations, files and functions refuse where names, definitions or contents contradict each other."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import onnx
import pytest
import uproot
from networks import GROUPS, LENGTHS, NAMES, description, graph, write_bundle
from searches import CONFIG, PLAIN

import jettagger as jt
from jettagger import discriminants, heads, histograms, jetclass2, simulation
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.serving import write_serving
from jettagger.errors import (
    BundleError,
    ConfigError,
    InputFileError,
    InvalidValues,
    JettaggerError,
    MismatchError,
    MissingColumns,
    OutputError,
    UnknownName,
)
from jettagger.expressions import parse
from jettagger.files.delphes import DelphesFile
from jettagger.files.root import read_note, write_objects, write_tree
from jettagger.files.tables import FlatFile
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.search import read_config
from jettagger.search.definition import JetVariation, Region, Sample, Search, WeightFactor
from jettagger.search.files import expand
from jettagger.simulation.processes import check_ranges
from jettagger.skims.skim import make_job
from jettagger.testing import make_events, write_pfnano
from jettagger.weaver import parse_formula
from jettagger.weaver import read_config as read_weaver


def written(folder: Path, **options: Any) -> Bundle:
    return Bundle.from_folder(write_bundle(folder, **options))


def changed_text(folder: Path, old: str, new: str, **options: Any) -> Bundle:
    """A bundle whose ``preprocess.json`` has another text in one place."""
    path = write_bundle(folder, **options) / "preprocess.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return Bundle.from_folder(folder)


#: a folder -> what cannot be read from it, and what is said
BUNDLES: Sequence[tuple[str, Callable[[Path], Any], str]] = [
    (
        "channels",
        lambda folder: written(folder, channels={"pf_features": 5}),
        r"group 'pf_features' has 3 variables, the input of .*model\.onnx expects 5",
    ),
    (
        "alias of an output",
        lambda folder: written(folder, card={"aliases": {"mass": "label_H_bb"}}),
        r"alias 'mass' \(for 'label_H_bb'\) is taken: an output or a kind has this name",
    ),
    (
        "a group twice",
        lambda folder: changed_text(folder, '"pf_features", "pf_mask"', '"pf_mask", "pf_mask"'),
        "'input_names' lists a group twice",
    ),
    (
        "unknown key of a variable",
        lambda folder: changed_text(folder, '"norm_factor"', '"norm_facto": 1, "norm_factor"'),
        r"variable 'pfcand_pt_log_nopuppi': unknown 'norm_facto' \(nearest: norm_factor",
    ),
    ("no output of the name", lambda folder: written(folder)["label_Hbb"], r"'label_Hbb' \(nearest: probHbb"),
    (
        "no such kind",
        lambda folder: written(folder).select(["porb"]),
        r"unknown kind or output in bundle '.*': 'porb' \(nearest: prob",
    ),
    (
        "a server in a file",
        lambda folder: write_serving(written(folder), folder / "model.onnx"),
        r"model\.onnx cannot be made: (File|Not a d)",
    ),
]


@pytest.mark.parametrize(("call", "message"), [item[1:] for item in BUNDLES], ids=[item[0] for item in BUNDLES])
def test_bundles(call: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(JettaggerError, match=message):
        call(tmp_path / "toy")


def test_an_input_of_the_jet_has_no_objects(tmp_path: Path) -> None:
    """Variables of the jet in an input that has several objects."""
    groups = {"jet_features": ("jet_pt_log",), **GROUPS}
    lengths = {**LENGTHS, "jet": {"var_length": 1}}
    folder = write_bundle(tmp_path / "toy", groups=GROUPS)
    model = graph(GROUPS)
    extra = onnx.helper.make_tensor_value_info("jet_features", onnx.TensorProto.FLOAT, ["N", 1, 4])
    model.graph.input.append(extra)
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    (folder / "preprocess.json").write_text(json.dumps(description(groups, NAMES, lengths)))
    with pytest.raises(BundleError, match=r"group 'jet_features' describes the jet, the input has 4 objects"):
        Bundle.from_folder(folder)


JETS = ak.Array({"t_probHbb": [0.1, 0.9], "t_probQCDb": [0.8, 0.1]})
AXIS = AxisSpec("m", bins=(2, 0, 1))
SPEC = HistSpec("m", [AXIS], categories=["dataset"])


def filled() -> Any:
    histogram = SPEC.make()
    SPEC.fill(histogram, {"m": [0.5]}, dataset="qcd")
    return histogram


def search(**changes: Any) -> Search:
    plain: dict[str, Any] = {
        "samples": {"qcd": Sample(1.0)},
        "regions": {"SR": Region("signal", passes=["c"])},
        "histograms": [HistSpec("pt", [AxisSpec("pt", bins=(2, 0, 1), expression="jet1.pt")], label="events")],
        "cuts": {"c": "jet1.pt > 1"},
    }
    return Search(**{**plain, **changes})


def mixture(mix: Mapping[str, float], parameters: Mapping[str, Sequence[float]] | None = None, **weights: Any) -> Any:
    item = jt.discriminant("HbbvsQCD")
    return discriminants.scan(item, JETS, {"qcd": JETS}, mix, parameters or {}, weights=weights or None)


#: a call, the error, and what is said
CALLS: Sequence[tuple[Callable[[], Any], type[JettaggerError], str]] = [
    (lambda: jt.discriminant("HbbvsQCD", prefix="u")(JETS), UnknownName, "unknown tagger in the columns .*'u'.* t"),
    (lambda: jt.discriminant("HccvsQCD", prefix="t")(JETS), MissingColumns, "HccvsQCD: tagger 't' lacks the "),
    (
        lambda: jt.discriminant("HbbvsQCD", alpha=1.0),
        UnknownName,
        "parameter in discriminant 'HbbvsQCD': 'alpha'",
    ),
    (
        lambda: discriminants.Discriminant(discriminants.score("a"), parameters={"b": 1.0}),
        UnknownName,
        "unknown parameter in discriminant 'a': 'b'. Known: none",
    ),
    (
        lambda: discriminants.sum_of("prob QCD"),
        ConfigError,
        "'prob QCD' is not the name of a score or group",
    ),
    (lambda: discriminants.auc([], [0.1]), InvalidValues, "no jets with a score"),
    (lambda: mixture({}), ConfigError, "the mix lacks qcd"),
    (lambda: mixture({"qcd": 1.0, "tt": 1.0}), UnknownName, "unknown background: 'tt'"),
    (lambda: mixture({"qcd": -1.0}), ConfigError, r"must not be negative, nor all zero, got \{'qcd': -1.0\}"),
    (lambda: mixture({"qcd": 1.0}, {"alpha": [1.0]}), UnknownName, "unknown parameter in .*: 'alpha'"),
    (lambda: histograms.pick(filled(), datasets="qcd"), UnknownName, r"'datasets' \(nearest: dataset"),
    (lambda: histograms.pick(filled(), dataset="qdc"), UnknownName, r"'qdc' \(nearest: qcd"),
    (lambda: histograms.pick(SPEC.make()), UnknownName, r"unknown dataset in histogram '.*': '\(none\)'"),
    (
        lambda: SPEC.fill(SPEC.make(), {"m": [0.5]}, sample="qcd"),
        UnknownName,
        "category in histogram 'm': 'sample'",
    ),
    (lambda: SPEC.fill(SPEC.make(), {"m": [0.5]}), ConfigError, "'m': no value for the categories dataset"),
    (lambda: HistSpec("m", []), ConfigError, "histogram 'm' has no axis"),
    (lambda: HistSpec("m", [AXIS], categories=["m"]), ConfigError, "'m' has two axes of the same name: m, m"),
    (lambda: histograms.to_root({"m": filled()}, "m.root", "{histgram}"), ConfigError, "'{histgram}' cannot be used: "),
    (
        lambda: histograms.to_root({"m": filled()}, "m.root", "{histogram.__class__}"),
        ConfigError,
        "Allowed: {histogram}",
    ),
    (
        lambda: histograms.to_root({"m": filled()}, "m.root", "{histogram:9999999999}"),
        ConfigError,
        "Allowed: {histogram}",
    ),
    (lambda: histograms.to_root({"m": filled()}, "m.root", "{histogram!r}"), ConfigError, "Allowed: {histogram}"),
    (lambda: histograms.to_root({"m": filled()}, "m.root", "{"), ConfigError, "'{' cannot be used: "),
    (lambda: histograms.to_root({"m": filled()}, "m.root", "{}"), ConfigError, "'{}' cannot be used: "),
    (
        lambda: histograms.to_root({"m": filled(), "n": filled()}, "m.root", "same"),
        ConfigError,
        "the pattern 'same' gives the name 'same' twice",
    ),
    (
        lambda: histograms.add({"m": filled()}, {"m": hist.Hist.new.Reg(3, 0, 1, name="m").Weight()}),
        MismatchError,
        "histogram 'm' has different axes in two places",
    ),
    (lambda: AxisSpec.from_dict({"bins": [2, 0, 1], "label": 3}, "m"), ConfigError, "'label' must be text, got 3"),
    (lambda: write_tree("t.root", [], compression="zst"), UnknownName, r"'zst' \(nearest: zstd"),
    (lambda: write_objects("o.root", {"jettagger": "x"}, "{}"), ConfigError, "'jettagger' is that of the note"),
    (lambda: expand("*.root", Path("nowhere")), InputFileError, r"no file matches '\*\.root'"),
    (lambda: expand("nosuch://host/*.root", Path()), InputFileError, "the files cannot be listed: .*nosuch"),
    (lambda: WeightFactor("w", up="v"), ConfigError, "weight 'w': give both up and down, or neither"),
    (lambda: JetVariation({"pt": "pt"}, {}), ConfigError, r"columns for up and for down, got \['pt'\] and \[\]"),
    (lambda: Sample(), ConfigError, "simulation without cross section"),
    (lambda: Sample(1.0, data=True), ConfigError, "neither a cross section nor a sum of weights, got 1.0 and None"),
    (lambda: Sample(1.0, golden_json="c.json"), ConfigError, "golden_json is for data, got 'c.json' for simulation"),
    (lambda: search(n_jets=3), ConfigError, "n_jets must be 1 or 2, got 3"),
    (lambda: search(regions={}), ConfigError, "at least one .* got 1, 0 and 1"),
    (lambda: search(cuts={"c": "jet3.pt > 1"}), UnknownName, r"candidate \(with 2 as the count of jets\).*'jet3'"),
    (lambda: search(n_jets=1, cuts={"c": "deta > 1"}), ConfigError, "'deta' needs two candidates, but n_jets is 1"),
    (lambda: search(cuts={"c": "jet1.pt > 1", "not c": "mjj > 1"}), ConfigError, "begin with 'not ' are reserved"),
    (lambda: simulation.label_id("Hbbb"), UnknownName, r"unknown jet type: 'Hbbb' \(nearest: Hbb"),
    (lambda: simulation.label_name(999), UnknownName, "unknown jet type: '999'"),
    (lambda: check_ranges("QCD", (200, 300), (50, 60)), ConfigError, "'QCD' has no mass to choose; --mass was 50 60"),
    (
        lambda: check_ranges("Hbb", (300, 200), None),
        ConfigError,
        "pt range 300 to 200 GeV is impossible: expected",
    ),
    (lambda: jetclass2.truth([10**6]), InvalidValues, "1 of 1 labels lie outside 0 to 187 .first: 1000000 of jet 0"),
    (lambda: read_weaver(), JettaggerError, r"read_config\(\) needs a path or a text"),
    (
        lambda: parse_formula("2 ** 10000").evaluate({}.__getitem__),
        MismatchError,
        r"^'2 \*\* 10000' cannot be evaluated: the power is too large",
    ),
    (
        lambda: parse_formula("1 << 10000").evaluate({}.__getitem__),
        MismatchError,
        "evaluated.*shift is too large",
    ),
    (lambda: parse("(" * 4000 + "1" + ")" * 4000), ConfigError, "too (many nested|long or nested)"),
    (
        lambda: heads.Rescorer(jt.load_bundle("inclParTToyV1"), priors={"probHbbb": 2}),
        UnknownName,
        "'probHbbb' .nearest: probHbb",
    ),
    (lambda: jt.load_tagger(), JettaggerError, "needs the name of a model or its folder"),
    (lambda: jt.load_tagger("tinyParT", batchsize=3), UnknownName, r"'batchsize' \(nearest: batch_size"),
]


@pytest.mark.parametrize(("call", "error", "message"), CALLS, ids=[message for _, _, message in CALLS])
def test_calls(
    call: Callable[[], Any], error: type[JettaggerError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call()
    assert list(tmp_path.iterdir()) == []


def replaced(old: str, new: str, text: str = PLAIN) -> str:
    assert old in text
    return text.replace(old, new, 1)


#: a search with one mistake, and what is said
SEARCHES = {
    "sum of weights of data": (
        replaced("data: true}", "data: true, sum_of_weights: Runs}"),
        r"line \d+: data have no sum of weights: leave out sum_of_weights",
    ),
    "cross section of a signal in the files": (
        replaced("cross_section: 0.5", "cross_section: Runs", CONFIG),
        r"line \d+: give cross_section \(in pb\) of 'X1', the files of its samples give their own",
    ),
    "histogram of templates": (replaced("histogram: mjj", "histogram: mj", CONFIG), r"'mj' \(nearest: mjj"),
    "histogram of two variables": (
        replaced("histogram: mjj", "histogram: masses", CONFIG),
        "a histogram of one variable, 'masses' has 2",
    ),
    "label": (replaced("label: dijet mass", "label: 3"), "'label' must be text, got 3"),
    "a key that is a list": (replaced("version: 1", "version: 1\n? [a]\n: 1"), "(not valid YAML|must be text)"),
    "tabulator": (replaced("  near:", "\tnear:"), r"line \d+: not valid YAML: "),
}


@pytest.mark.parametrize(("text", "message"), SEARCHES.values(), ids=SEARCHES)
def test_searches(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(JettaggerError, match=rf"search\.yaml.*{message}"):
        read_config(text, name="search.yaml", folder=tmp_path)


@pytest.mark.parametrize("name", ["~nobody-is-called-so/model", "n" * 300 + "/model"])
def test_a_model_of_a_search_that_no_folder_can_be(name: str, tmp_path: Path) -> None:
    text = replaced("{model: tinyParT, threads: 1}", f"{{model: {name}, threads: 1}}")
    config = read_config(text, name="search.yaml", folder=tmp_path)
    with pytest.raises(JettaggerError, match=re.escape(name[:80])):
        config.load_tagger()


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pfnano(tmp_path_factory.mktemp("files") / "nano.root", 2, seed=1)


class TestFiles:
    @pytest.fixture
    def tarball(self, tmp_path: Path) -> Path:
        path = tmp_path / "jets.tar"
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("jets.root")
            member.size = 1000
            archive.addfile(member, io.BytesIO(bytes(1000)))
        return path

    def test_a_tree_that_is_not_there(self, nano: Path) -> None:
        with pytest.raises(InputFileError, match=r"nano\.root has no tree 'Event' \(nearest: Events\); it holds"):
            jt.EventFile(nano, "Event")
        with pytest.raises(InputFileError, match=r"nano\.root has no tree 'Jets'.*; it holds Events"):
            FlatFile(nano, "Jets")
        with pytest.raises(InputFileError, match=r"nano\.root has no tree 'Delphes'.*; it holds .*Events"):
            DelphesFile(nano)

    def test_several_trees(self, tmp_path: Path) -> None:
        with uproot.recreate(tmp_path / "two.root") as file:
            for name in "ab":
                file.mktree(name, {"x": "f4"})
        with pytest.raises(InputFileError, match=r"two\.root has several trees; it holds a, b"):
            FlatFile(tmp_path / "two.root")

    def test_a_member_that_is_not_there(self, tarball: Path) -> None:
        with pytest.raises(InputFileError, match=r"jets\.tar has no member 'jet\.root' \(nearest: jets\.root"):
            FlatFile(f"{tarball}::jet.root")

    def test_a_tarball_that_is_cut_short(self, tarball: Path) -> None:
        tarball.write_bytes(tarball.read_bytes()[:700])
        with pytest.raises(InputFileError, match=r"(of 1000 bytes are in the tarball|cannot be read)"):
            FlatFile(f"{tarball}::jets.root")

    def test_a_file_without_a_note(self, nano: Path) -> None:
        assert read_note(nano) == ""

    def test_columns_to_keep(self, nano: Path, tmp_path: Path) -> None:
        with pytest.raises(UnknownName, match=r"column to keep in .*nano\.root: 'FatJet_ptt' \(nearest: FatJet_pt"):
            jt.tag_files([str(nano)], "tinyParT", str(tmp_path / "o.root"), keep=["FatJet_ptt"])

    def test_none_of_the_files_can_be_read(self, tmp_path: Path) -> None:
        for name in "ab":
            (tmp_path / f"{name}.root").write_bytes(b"no ROOT")
        files = [str(tmp_path / f"{name}.root") for name in "ab"]
        with pytest.raises(InputFileError, match=r"none of the 2 files can be read: .*a\.root.*b\.root"):
            make_job(files, jt.load_tagger("tinyParT"), skip_broken=True)


def test_a_skim_is_not_written_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.root").mkdir()
    with pytest.raises(OutputError, match="it is a folder, expected the name of a file"):
        jt.write_skim(tmp_path / "x.root", [{"a": [1]}], "{}")


def test_numbers_of_entries_in_a_collection_name_the_event() -> None:
    from jettagger.formats.nesting import nest

    pt, eta = ak.Array([[1.0], [2.0, 3.0]]), ak.Array([[1.0], [2.0]])
    with pytest.raises(MismatchError, match=r"FatJet_eta has 1 entries in event 1, expected 2 as in FatJet_pt"):
        nest({"FatJet_pt": pt, "FatJet_eta": eta})
    with pytest.raises(MismatchError, match=r"event has 3 events, expected 2 as in FatJet_pt"):
        nest({"FatJet_pt": pt, "event": np.arange(3)})


def test_events_that_are_none_are_named_before_columns_are_attached() -> None:
    events = make_events(3, seed=1)
    table = heads.JetTable(ak.mask(events, np.array([True, False, True])))
    with pytest.raises(MismatchError, match=r"1 of 3 events are None \(first: 1\): drop them"):
        table.attach(table._columns.events, {"x": np.zeros(table.n_jets)}, np.ones(table.n_jets, dtype=bool))
