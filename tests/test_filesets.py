"""Filesets and lists of files as the files of a search: what is read, what is opened, what is refused."""

from __future__ import annotations

import gzip
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jettagger.processors.search import SearchWarning
from searches import PLAIN, columns, make_world, write

from jettagger.cli import main
from jettagger.config.yamlfile import yaml_text
from jettagger.errors import ConfigError, InputFileError
from jettagger.files.root import EventFile
from jettagger.histograms import equal
from jettagger.search import read_config, run_search, survey
from jettagger.search.filesets import read_fileset, read_list, read_metadata

#: scores are in no file: the search runs without a network
BARE = (
    PLAIN.replace("tagger: {model: tinyParT, threads: 1}\n", "schema: PFNanoAODSchema\n")
    .replace("  sort_by: HbbvsQCD\n", "")
    .replace("discriminants:\n  HbbvsQCD: HbbvsQCD\n", "")
    .replace("jet1.HbbvsQCD > 0.2", "jet1.msoftdrop > 60")
    .replace("expression: jet1.tinyParT_mass", "expression: jet1.mass")
)


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Files and a configuration without a network."""
    return make_world(tmp_path / "world", config=BARE).parent


def known(path: Path) -> dict[str, Any]:
    """What coffea's preprocess knows of a file."""
    with EventFile(path) as file:
        return {
            "object_path": "Events",
            "steps": [[0, file.n_events // 2], [file.n_events // 2, file.n_events]],
            "num_entries": file.n_events,
            "uuid": file.uuid,
        }


def fileset(world: Path, name: str = "sets.json", **metadata: Any) -> Path:
    """A fileset of all files of the world."""
    groups = {"tt": ["tt1", "tt2"], "X1": ["X1"], "run": ["run"]}
    content: dict[str, Any] = {}
    for dataset, names in groups.items():
        files = {str(world / f"{item}.root"): known(world / f"{item}.root") for item in names}
        content[dataset] = {"files": files, "metadata": metadata.get(dataset, {})}
    text = json.dumps(content) if ".json" in name else yaml_text(content)
    path = world / name
    if name.endswith(".gz"):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        path.write_text(text)
    return path


def config(world: Path, *changes: tuple[str, str]) -> Any:
    text = BARE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_config(text, name="search.yaml", folder=world)


#: all files of the world from one fileset, which also knows the cross sections
FROM_SETS = (
    ('{files: ["tt*.root"], cross_section: 2}', "{files: sets.json}"),
    ("{files: X1.root, cross_section: 0.5}", "{files: [sets.json], dataset: X1}"),
    ("{files: [run.root], data: true}", "{files: sets.json}"),
)
METADATA = {"tt": {"cross_section": 2}, "X1": {"xsec": "0.5", "part": 3}, "run": {"isMC": "False"}}


def changed(name: str) -> list[tuple[str, str]]:
    return [(old, new.replace("sets.json", name)) for old, new in FROM_SETS]


def same(one: Any, other: Any) -> None:
    assert all(equal(histogram, other.histograms[name]) for name, histogram in one.histograms.items())
    assert one.cutflow == other.cutflow
    assert one.histograms["mjj"].sum(flow=True).value != 0


# ---------------------------------------------------------------------------------------- the same result


@pytest.mark.slow
def test_filesets_give_the_histograms_of_their_files(world: Path) -> None:
    expected = run_search(config(world))
    for name in ("sets.json", "sets.yaml.gz"):
        fileset(world, name, **METADATA)
        same(run_search(config(world, *changed(name))), expected)


def test_all_spellings_of_coffea(world: Path) -> None:
    pairs = {"a.root": "Events", "root://host:1094//b.root": None}
    expected = [(str(world / "a.root"), "Events"), ("root://host:1094//b.root", None)]
    for entry in (
        ["a.root:Events", "root://host:1094//b.root"],
        {"files": ["a.root:Events", "root://host:1094//b.root"]},
        pairs,
        {"files": pairs},
        {"files": {"a.root": {"object_path": "Events"}, "root://host:1094//b.root": {}}, "metadata": {}},
    ):
        path = world / "one.json"
        path.write_text(json.dumps({"tt": entry}))
        files = read_fileset(path)["tt"].files
        assert [(file.path, file.tree) for file in files] == expected, entry
        assert {file.events for file in files} == {None}
    path.write_text(json.dumps({"tt": {"files": ["a.root"], "treename": "Other"}}))
    assert read_fileset(path)["tt"].files[0].tree == "Other"


def test_what_coffea_reads_is_read_the_same_way(world: Path) -> None:
    """Against coffea's own model of filesets."""
    tools = pytest.importorskip("coffea.dataset_tools")
    if not hasattr(tools, "DataGroupSpec"):
        pytest.skip("could not import 'coffea.dataset_tools.DataGroupSpec', which is in later versions")
    path = fileset(world, **METADATA)
    theirs = tools.DataGroupSpec(json.loads(path.read_text()))
    ours = read_fileset(path)
    for name, spec in theirs.items():
        assert [(file.path, file.events, file.uuid, file.tree) for file in ours[name].files] == [
            (str(key), item.num_entries, item.uuid, item.object_path) for key, item in spec.files.items()
        ]


def test_text_lists_and_globs_of_them(world: Path) -> None:
    (world / "lists").mkdir()
    (world / "lists" / "one.txt").write_text(f"# first\n\n{world}/tt1.root\n")
    (world / "lists" / "two.txt").write_text("../tt2.root:Events\n")
    made = config(world, ('["tt*.root"]', "lists/*.txt"))
    assert [Path(file.path).resolve().name for file in made.files["tt"].listed] == ["tt1.root", "tt2.root"]
    found = survey(made, made.make_processor())
    assert found.events == config_events(world)
    with gzip.open(world / "lists" / "all.txt.gz", "wt") as file:
        file.write("root://host//a.root\n")
    assert read_list(world / "lists" / "all.txt.gz")[0].path == "root://host//a.root"


def config_events(world: Path) -> int:
    made = config(world)
    return survey(made, made.make_processor()).events


# ---------------------------------------------------------------------------------------- what is opened


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened from now on in this process by `EventFile`."""
    names: list[str] = []
    before = EventFile.__init__

    def counted(self: EventFile, path: Any, *arguments: Any) -> None:
        names.append(Path(path).name)
        before(self, path, *arguments)

    monkeypatch.setattr(EventFile, "__init__", counted)
    return names


def test_reading_a_configuration_opens_no_file(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (world / "sets.json").write_text(json.dumps({"tt": ["root://nowhere.invalid//a.root"], "X1": ["X1.root"]}))
    names = opened(monkeypatch)
    made = config(world, ('["tt*.root"]', "sets.json"), ("files: X1.root", "files: sets.json"))
    assert made.files["tt"].listed[0].path == "root://nowhere.invalid//a.root"
    assert not names


def test_what_a_fileset_knows_is_not_read_again(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are in no file of a search that runs a network; the sum of weights is given."""
    metadata = {**METADATA, "tt": {"cross_section": 2, "sum_of_weights": 20.0}}
    fileset(world, **metadata)
    made = config(world, *FROM_SETS, ("schema: PFNanoAODSchema", "tagger: {model: tinyParT, threads: 1}"),
                  ("expression: jet1.mass", "expression: jet1.tinyParT_mass"))  # fmt: skip
    names = opened(monkeypatch)
    found = survey(made, made.make_processor())
    assert sorted(names) == ["X1.root", "run.root", "tt1.root"]
    assert [info.events for info in found.files] == [30, 8, 20, 15]
    assert [info.path for info in found.files if info.listed is not None] == [str(world / "tt2.root")]


@pytest.mark.slow
def test_the_plan_of_2000_files_takes_less_than_a_minute(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time, from the configuration to the survey; one file of each data set is opened, no other can be."""
    start = time.process_time()
    fileset(world, **METADATA)
    content = json.loads((world / "sets.json").read_text())
    for dataset, number in (("tt", 1200), ("X1", 600), ("run", 200)):
        files = content[dataset]["files"]
        local = {path: keys for path, keys in files.items() if "tt2" not in path}
        away = {f"root://site.invalid//{dataset}/{i}.root": dict(*local.values()) for i in range(number - 1)}
        content[dataset]["files"] = local | away
        for keys in content[dataset]["files"].values():
            keys["jettagger"] = {"columns": "same", "generated": [], "skim": False}
    (world / "sets.json").write_text(json.dumps(content))
    made = config(world, *FROM_SETS)
    names = opened(monkeypatch)
    found = survey(made, made.make_processor())
    assert sorted(names) == ["X1.root", "run.root", "tt1.root"]
    assert len(found.files) == 2000
    assert found.events == 1200 * 30 + 600 * 20 + 200 * 15
    assert time.process_time() - start < 60


def replaced(world: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A configuration whose second file is another one by now, which nothing has opened."""
    metadata = {**METADATA, "tt": {"cross_section": 2, "sum_of_weights": 20.0}}
    fileset(world, **metadata)
    content = json.loads((world / "sets.json").read_text())
    for item in content.values():
        for keys in item["files"].values():
            keys["jettagger"] = {"columns": "same", "generated": [], "skim": False}
    (world / "sets.json").write_text(json.dumps(content))
    write(world / "tt2.root", columns(9, 7))
    return config(world, *FROM_SETS)


def test_a_file_that_has_changed_is_an_error_where_it_is_opened(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = replaced(world, monkeypatch)
    found = survey(made, made.make_processor())  # the first file of the data set alone is opened
    with pytest.raises(InputFileError, match=r"tt2.root has changed since .*sets.json was made: events 9, expected 8"):
        run_search(made, found=found)
    result = run_search(made, found=found, skip_broken=True)
    assert [Path(place).name for place in result.missing] == ["tt2.root"]
    assert "events 9, expected 8" in next(iter(result.missing.values()))
    assert result.datasets["tt"]["events"] == 30


def test_the_identifier_of_a_file_is_compared_where_a_survey_opens_it(world: Path) -> None:
    fileset(world, **METADATA)
    content = columns(30, 99)
    write(world / "tt1.root", content)
    made = config(world, *FROM_SETS)
    with pytest.raises(InputFileError, match=r"tt1.root has changed since .*: uuid [0-9a-f-]{36}, expected"):
        survey(made, made.make_processor())


# ---------------------------------------------------------------------------------------- bad input


def test_all_missing_files_are_named_at_once(world: Path) -> None:
    fileset(world, **METADATA)
    for name in ("tt1", "tt2"):
        (world / f"{name}.root").unlink()
    made = config(world, *FROM_SETS)
    with pytest.raises(InputFileError, match=r"line 7: 2 of 2 files in .*sets.json do not exist: .*tt1.root, .*tt2.r"):
        survey(made, made.make_processor())
    (world / "tt1.root").write_bytes((world / "X1.root").read_bytes())
    content = json.loads((world / "sets.json").read_text())
    content["tt"]["files"][str(world / "tt1.root")] = known(world / "tt1.root")
    (world / "sets.json").write_text(json.dumps(content))
    (world / "X1.root").write_bytes((world / "run.root").read_bytes())
    (world / "copy.root").write_bytes((world / "tt1.root").read_bytes())
    made = config(world, *FROM_SETS[:1], ("files: X1.root", "files: copy.root"))
    found = survey(made, made.make_processor(), skip_broken=True)
    assert [Path(path).name for path in found.broken] == ["tt2.root"]
    assert "named in" in next(iter(found.broken.values()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds a list, expected an object"),
        ("{}", "has no data set"),
        ('{"tt": 3}', "the data set 'tt' must be a list of files or a mapping, got 3"),
        ('{"tt": [3]}', "a file of 'tt' must be text, got 3"),
        ('{"tt": []}', "the data set 'tt' has no file"),
        ('{"tt": {"files": ["a.root"], "metdata": {}}}', "line 1: unknown key 'metdata' (nearest: metadata)"),
        ('{"tt":\n {"files": {"a.root": {"num_entry": 3}}}}', "line 2: unknown key 'num_entry' (nearest: num_entries"),
        ('{"tt": {"files": {"a.root": {"num_entries": -3}}}}', "'num_entries' must be a number of events, got -3"),
        ('{"tt": {"files": {"a.root": {"num_entries": 9, "steps": [[0, 4]]}}}}', "cover 4 of 9 events"),
        ('{"tt": {"files": {"a.root": {"steps": [[0, 4], [5, 8]]}}}}', "cover 7 events"),
        ('{"tt": {"files": ["a.root"], "metadata": {"crosssection": 1}}}', "(nearest: cross_section"),
        ('{"tt": {"files": ["a.root"], "metadata": {"eras": 1}}}', "(nearest: era"),
        ('{"tt": {"files": ["a.root"], "metadata": {"xsec": "many"}}}', "'xsec' must be a number above zero, got 'ma"),
        ('{"tt": {"files": ["a.root"], "metadata": {"isMC": 1}}}', "'isMC' must be true or false, got 1"),
        ('{"tt": {"files": ["a.root"], "metadata": {"xsec": 1, "cross_section": 2}}}', "is 1.0 already"),
        ('{"tt": {"files": ["a.root"], "metadata": {"era": [1]}}}', "'era' must be the name of an era"),
    ],
)
def test_bad_filesets(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tt.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_fileset(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["tt*.root"]', "none.json", "line 7: cannot read .*none.json: No such file"),
        ('["tt*.root"]', "non*.json", "line 7: no file matches"),
        ('["tt*.root"]', "root://host//tt.json", "lists of files and filesets must be local"),
        ('["tt*.root"]', "empty.txt", "line 7: .*empty.txt names no file"),
        ('["tt*.root"]', "damaged.json.gz", "line 7: cannot read .*damaged.json.gz"),
        ('["tt*.root"]', "sets.json, dataset: ttt", r"line 7: unknown dataset in .*sets.json: 'ttt' \(nearest: tt\)"),
        ('["tt*.root"], cross_section: 2', "others.json", r"unknown dataset in .*give 'dataset': 'tt' \(nearest: tt2"),
        ('["tt*.root"]', "tt1.root, dataset: tt", "'dataset' selects from a fileset"),
        ('["tt*.root"], cross_section: 2', "sets.json", "line 7: simulation without cross section"),
        ('["tt*.root"], cross_section: 2', "sets.json, dataset: run, data: false", "says that it is data"),
        ('["tt*.root"], cross_section: 2', "[sets.json], dataset: [X1, X2]", "differ in 'cross_section': 0.5 and 0.7"),
        ('["tt*.root"]', "others.json, dataset: tt2", "the tree of .*a.root is 'Other', the one of this .*'Events'"),
    ],
)
def test_bad_samples(old: str, new: str, message: str, world: Path) -> None:
    fileset(world, run={"data": True}, X1={"cross_section": 0.5})
    content = json.loads((world / "sets.json").read_text())
    content["X2"] = {"files": ["x2.root"], "metadata": {"cross_section": 0.7}}
    (world / "sets.json").write_text(json.dumps(content))
    (world / "others.json").write_text(json.dumps({"tt2": {"a.root": "Other"}, "X3": ["b.root"]}))
    (world / "empty.txt").write_text("# nothing\n\n")
    (world / "damaged.json.gz").write_bytes(gzip.compress(b'{"tt": ["a.root"]}')[:-9])
    with pytest.raises(ConfigError, match=message):
        config(world, (old, new))


def test_a_fileset_is_an_input_that_is_not_overwritten(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = world / "out"
    out.mkdir()
    fileset(world, "out/sets.json", **METADATA)
    (world / "search.yaml").write_text(BARE.replace('["tt*.root"], cross_section: 2', "out/sets.json"))
    assert main(["search", str(world / "search.yaml"), "-o", str(out), "--force"]) == 2
    assert "sets.json" in capsys.readouterr().err


def test_the_dry_run_names_what_is_not_used(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fileset(world, **METADATA)
    text = BARE
    for old, new in FROM_SETS:
        text = text.replace(old, new)
    (world / "search.yaml").write_text(text)
    assert main(["search", str(world / "search.yaml"), "-o", str(world / "out"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "ok: the search can be run, on 73 events in 4 files" in shown
    assert "X1: metadata of its fileset that is not used: part" in shown


def test_metadata_of_other_programs() -> None:
    found = read_metadata({"sample": "TT", "year": 2018, "isMC": True, "xsec": 365.3, "part": "", "era": "A"}, "x")
    assert (found.eras, found.data, found.unused) == (("A", "2018"), False, ("sample", "part"))
