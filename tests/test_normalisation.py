"""What simulation is divided by: the tree Runs, skims, and runs that go on without parts of files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from jettagger.processors import FinetuneInputsProcessor, ResonanceSearchProcessor, TaggingProcessor
from jettagger.processors.search import Sample, SearchWarning
from searches import part

from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError
from jettagger.files.generated import RUNS, GeneratedFile, read_sources
from jettagger.files.root import EventFile, write_tree
from jettagger.search import read_config, run_search
from jettagger.search.files import FileInfo
from jettagger.search.normalisation import Read, follow
from jettagger.skims.writers import write_skim
from jettagger.testing import make_columns

CONFIG = """\
version: 1
luminosity: 2
chunk_size: 10
samples:
  DY: {files: ["dy*.root"], cross_section: 3}
jets: {count: 1, mass: msoftdrop, preselection: "pt > 0"}
regions: {all: {kind: inclusive}}
histograms: {pt: {bins: [4, 0, 8000], expression: jet1.pt}}
plots: false
"""

#: luminosity times cross section: the events of a sample of which nothing was skimmed
EXPECTED = 2 * 1000 * 3


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


def weights(n_events: int, seed: int) -> Any:
    return np.random.default_rng(seed).choice([0.5, 1.0, -0.25, 2.0], n_events).astype(np.float32)


def runs(total: float, count: int | None, suffix: str = "", **more: Any) -> dict[str, Any]:
    """Rows of a tree Runs: two, the second of which has nothing."""
    made: dict[str, Any] = {"run": [1, 2], f"genEventSumw{suffix}": [total, 0.0]}
    if count is not None:
        made[f"genEventCount{suffix}"] = [count, 0]
    return made | more


def make(path: Path, n_events: int, seed: int, table: Mapping[str, Any] | None, *, data: bool = False) -> Any:
    """A file with blocks of ten events; its generator weights."""
    made = make_columns(n_events, seed=seed, jets=2.0, constituents=3)
    if data:
        del made["genWeight"]
    else:
        made["genWeight"] = weights(n_events, seed)
    blocks = [part(made, first, min(first + 10, n_events)) for first in range(0, n_events, 10)]
    write_tree(path, blocks, more={RUNS: table} if table else None)
    return made.get("genWeight")


def damage(path: Path, block: int, *branches: str) -> None:
    """Spoil a block of ten events of some branches."""
    with uproot.open(path) as file:
        places = [int(file["Events"][name].member("fBasketSeek")[block]) for name in branches]
    content = bytearray(path.read_bytes())
    for place in places:
        content[place + 60 : place + 70] = b"\xff" * 10
    path.write_bytes(bytes(content))


def search(folder: Path, *changes: tuple[str, str], **options: Any) -> Any:
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return run_search(read_config(text, name="search.yaml", folder=folder), **options)


def events(result: Any, dataset: str = "DY") -> float:
    """The weighted events before any cut, which are those of the histograms, too."""
    return float(result.cutflow[dataset]["all"]["initial"]["weighted"])


# ---------------------------------------------------------------------------------------- which sum is taken


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", "_"])
def test_the_sum_in_runs_is_the_default(tmp_path: Path, suffix: str) -> None:
    """Under the name of today's NanoAOD and that of NanoAOD up to v6."""
    ones = make(tmp_path / "dy1.root", 30, 1, runs(1000.0, 900, suffix))
    others = make(tmp_path / "dy2.root", 20, 2, runs(500.0, 450, suffix))
    expected = EXPECTED * (ones.sum() + others.sum()) / 1500
    for changes in ((), (("cross_section: 3", "cross_section: 3, sum_of_weights: Runs"),)):
        found = search(tmp_path, *changes)
        assert events(found) == pytest.approx(expected, rel=1e-9)
        assert found.datasets["DY"]["sum_of_weights"] == 1500
        assert found.notes == ()


@pytest.mark.slow
def test_the_sum_of_the_read_events_is_said_with_both_numbers(tmp_path: Path) -> None:
    total = make(tmp_path / "dy1.root", 30, 1, runs(1000.0, 900)).sum()
    found = search(tmp_path, ("cross_section: 3", "cross_section: 3, sum_of_weights: events"))
    assert events(found) == pytest.approx(EXPECTED)
    (note,) = found.notes
    assert f"is divided by {total:g}, the sum over the events read, but its tree 'Runs' says 1000" in note
    assert f"its yields are {1000 / total:.4g} times those" in note
    found = search(tmp_path, ("cross_section: 3", "cross_section: 3, sum_of_weights: 250"))
    (note,) = found.notes
    assert "divided by 250, sum_of_weights as given, but its tree 'Runs' says 1000" in note
    assert "its yields are 4 times" in note
    found = search(tmp_path, ("cross_section: 3", "cross_section: 3, sum_of_weights: 1000.4"))
    assert found.notes == ()


def test_without_runs_it_is_said(tmp_path: Path) -> None:
    total = make(tmp_path / "dy1.root", 30, 1, None).sum()
    found = search(tmp_path)
    assert events(found) == pytest.approx(EXPECTED)
    (note,) = found.notes
    assert f"is not known; the sum over the 30 events read, {total:g}, is taken" in note
    assert search(tmp_path, ("cross_section: 3", "cross_section: 3, sum_of_weights: events")).notes == ()
    make(tmp_path / "dy2.root", 30, 1, runs(1000.0, 900))
    with pytest.raises(InputFileError, match=r"dy2.root has the generator weights .*dy1.root does not"):
        search(tmp_path)


def test_events_that_count_one_are_divided_by_their_number(tmp_path: Path) -> None:
    make(tmp_path / "dy1.root", 30, 1, runs(1000.0, 900))
    nothing = ("luminosity: 2", "luminosity: 2\ngenerator_weight: null")
    assert events(search(tmp_path, nothing)) == pytest.approx(EXPECTED * 30 / 900)
    make(tmp_path / "dy1.root", 30, 1, runs(1000.0, None))
    with pytest.raises(InputFileError, match="no number of generated events"):
        search(tmp_path, nothing)


def test_other_weights_are_not_those_that_runs_sums_up(tmp_path: Path) -> None:
    made = make_columns(30, seed=1, jets=2.0, constituents=3)
    made["LHEWeight"] = 2 * made["genWeight"]
    write_tree(tmp_path / "dy1.root", [made], more={RUNS: runs(1000.0, 900)})
    found = search(tmp_path, ("luminosity: 2", "luminosity: 2\ngenerator_weight: LHEWeight"))
    assert events(found) == pytest.approx(EXPECTED)
    assert "is not known" in found.notes[0]


@pytest.mark.parametrize(("total", "message"), [(np.nan, "is not finite"), (-3.0, "add up to -3")])
def test_sums_that_are_none(tmp_path: Path, total: float, message: str) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(total, 900))
    with pytest.raises(InputFileError, match=message):
        search(tmp_path)


@pytest.mark.parametrize("value", ["runs", "Event"])
def test_words_that_are_not_known(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"line 5: 'sum_of_weights' must be a number or Runs or events, got"):
        search(tmp_path, ("cross_section: 3", f"cross_section: 3, sum_of_weights: {value}"))
    with pytest.raises(ConfigError, match="sum_of_weights must be a number above zero or 'events'"):
        Sample(1.0, sum_of_weights="Runs")


# ---------------------------------------------------------------------------------------- cross sections in Runs


def test_cross_sections_in_runs(tmp_path: Path) -> None:
    """Rows are estimates of one number, weighted with the events that each stands for."""
    rows = {"crossSection": [2.0, 5.0], "genProcess": [7, 7]}
    make(tmp_path / "dy1.root", 10, 1, runs(100.0, None, genEventCount=[100, 300], **rows))
    make(tmp_path / "dy2.root", 10, 2, runs(100.0, None, genEventCount=[0, 400], **rows))
    section = ("cross_section: 3", "cross_section: Runs")
    found = search(tmp_path, section)
    assert found.survey.samples["DY"].cross_section == pytest.approx((2 * 100 + 5 * 700) / 800)
    rows["genProcess"] = [7, 8]
    make(tmp_path / "dy2.root", 10, 2, runs(100.0, None, genEventCount=[0, 400], **rows))
    with pytest.raises(MismatchError, match=r"holds 2 processes \(genProcess 7, 8\)"):
        search(tmp_path, section)
    make(tmp_path / "dy2.root", 10, 2, runs(100.0, 400))
    with pytest.raises(InputFileError, match="not all files of 'DY' have a cross section"):
        search(tmp_path, section)
    (tmp_path / "dy2.root").unlink()
    make(tmp_path / "dy1.root", 10, 1, runs(100.0, None, genEventCount=[0, 0], crossSection=[2.0, 5.0]))
    with pytest.raises(InputFileError, match="is nan, expected a number above zero"):
        search(tmp_path, section)


# ---------------------------------------------------------------------------------------- without parts of files


def test_a_file_that_does_not_open_leaves_with_its_sum(tmp_path: Path) -> None:
    total = make(tmp_path / "dy1.root", 20, 1, runs(1000.0, 900)).sum()
    make(tmp_path / "dy2.root", 20, 2, runs(500.0, 450))
    content = (tmp_path / "dy2.root").read_bytes()
    (tmp_path / "dy2.root").write_bytes(content[: len(content) // 2])
    found = search(tmp_path, skip_broken=True)
    assert events(found) == pytest.approx(EXPECTED * total / 1000)
    assert found.histograms["pt"].values(flow=True).sum() == pytest.approx(EXPECTED * total / 1000, rel=0.2)
    with pytest.raises(InputFileError, match=r"sum_of_weights is 1500 for all files, but .*dy2.root is left out"):
        search(tmp_path, ("cross_section: 3", "cross_section: 3, sum_of_weights: 1500"), skip_broken=True)


def test_a_file_that_opens_but_cannot_be_read_leaves_with_its_sum(tmp_path: Path) -> None:
    total = make(tmp_path / "dy1.root", 20, 1, runs(1000.0, 900)).sum()
    make(tmp_path / "dy2.root", 20, 2, runs(500.0, 450))
    for block in (0, 1):
        damage(tmp_path / "dy2.root", block, "FatJet_pt", "genWeight")
    found = search(tmp_path, skip_broken=True)
    assert events(found) == pytest.approx(EXPECTED * total / 1000)
    assert found.datasets["DY"]["sum_of_weights"] == 1000
    assert "is divided by 1000, the generator weights of the events behind what was read, of 1500" in found.notes[0]
    damage(tmp_path / "dy1.root", 0, "FatJet_pt")
    damage(tmp_path / "dy1.root", 1, "FatJet_pt")
    with pytest.raises(InputFileError, match="no event could be read"):
        search(tmp_path, skip_broken=True)


def test_a_part_of_a_file_that_was_not_skimmed(tmp_path: Path) -> None:
    """All generated events are in it, so those that were read are known exactly."""
    every = make(tmp_path / "dy1.root", 30, 1, None)
    make(tmp_path / "dy1.root", 30, 1, runs(float(every.sum()), 30))
    damage(tmp_path / "dy1.root", 1, "FatJet_pt", "genWeight")
    found = search(tmp_path, skip_broken=True)
    assert found.datasets["DY"]["events"] == 20
    assert found.datasets["DY"]["sum_of_weights"] == pytest.approx(every[:10].sum() + every[20:].sum())
    assert events(found) == pytest.approx(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_a_part_of_a_file_that_was_skimmed(tmp_path: Path, executor: str) -> None:
    """The generated events are divided like the weights: the yield before all cuts is that of the whole file."""
    total = make(tmp_path / "dy1.root", 30, 1, runs(1000.0, 900)).sum()
    other = make(tmp_path / "dy2.root", 10, 2, runs(500.0, 450)).sum()
    whole = EXPECTED * (total + other) / 1500
    damage(tmp_path / "dy1.root", 1, "FatJet_pt")
    read = total - weights(30, 1)[10:20].sum()
    found = search(tmp_path, skip_broken=True, executor=executor)
    expected = 1000 * read / total + 500
    assert found.datasets["DY"]["sum_of_weights"] == pytest.approx(expected)
    assert events(found) == pytest.approx(EXPECTED * (read + other) / expected)
    assert abs(events(found) / whole - 1) < 0.2
    given = ("cross_section: 3", "cross_section: 3, sum_of_weights: 1500")
    found = search(tmp_path, given, skip_broken=True, executor=executor)
    assert found.datasets["DY"]["sum_of_weights"] == pytest.approx(1500 * (read + other) / (total + other))
    assert events(found) == pytest.approx(whole)


def test_a_part_of_a_skimmed_file_whose_weights_are_lost_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "dy1.root", 30, 1, runs(1000.0, 900))
    damage(tmp_path / "dy1.root", 1, "FatJet_pt", "genWeight")
    with pytest.raises(InputFileError, match=r"10 of 30 events of .*dy1.root were not read, and which share"):
        search(tmp_path, skip_broken=True)
    given = ("cross_section: 3", "cross_section: 3, sum_of_weights: 1000")
    with pytest.raises(InputFileError, match=r"10 of 30 events of .*dy1.root were not read, and which share"):
        search(tmp_path, given, skip_broken=True)
    found = search(tmp_path, ("cross_section: 3", "cross_section: 3, sum_of_weights: events"), skip_broken=True)
    assert events(found) == pytest.approx(EXPECTED)


def test_data_that_are_missing_have_less_luminosity(tmp_path: Path) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(1000.0, 900))
    for number in (1, 2):
        make(tmp_path / f"run{number}.root", 20, number, None, data=True)
    damage(tmp_path / "run1.root", 1, "FatJet_pt")
    (tmp_path / "run2.root").write_bytes(b"root")
    data = ("samples:\n", 'samples:\n  run: {files: ["run*.root"], data: true}\n')
    found = search(tmp_path, data, skip_broken=True)
    assert events(found, "run") == 10
    (note,) = found.notes
    assert "'run' is data, and 2 files or parts of files are missing" in note


class Failing(ResonanceSearchProcessor):
    """Reads nothing before it was asked a number of times."""

    asked: Path
    times = 2

    def process(self, events: Any) -> Any:
        path = Path(events.metadata["filename"]).with_suffix(f".{events.metadata['entrystart']}")
        asked = len(path.read_bytes()) if path.exists() else 0
        path.write_bytes(b"." * (asked + 1))
        if asked < self.times:
            raise InputFileError("the server is busy") from ConnectionResetError()
        return super().process(events)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_what_cannot_be_read_is_tried_again(tmp_path: Path, executor: str) -> None:
    total = make(tmp_path / "dy1.root", 20, 1, runs(1000.0, 900)).sum()
    found = search(tmp_path, cls=Failing, executor=executor)
    assert events(found) == pytest.approx(EXPECTED * total / 1000)
    assert [len(path.read_bytes()) for path in sorted(tmp_path.glob("dy1.*0"))] == [3, 3]
    for path in tmp_path.glob("dy1.*0"):
        path.unlink()
    with pytest.raises(InputFileError, match="the server is busy"):
        search(tmp_path, cls=Failing, executor=executor, retries=1)
    with pytest.raises(ConfigError, match="retries must not be below zero"):
        search(tmp_path, retries=-1)


def test_opening_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(1000.0, 900))
    failures = [1, 2, 3]
    original = EventFile.__init__

    def failing(self: EventFile, *arguments: Any, **more: Any) -> None:
        if failures:
            failures.pop()
            raise InputFileError("the server is busy") from ConnectionResetError()
        original(self, *arguments, **more)

    monkeypatch.setattr(EventFile, "__init__", failing)
    with pytest.raises(InputFileError, match="the server is busy"):
        search(tmp_path, retries=2)
    failures[:] = [1, 2]
    assert search(tmp_path, retries=2).datasets["DY"]["events"] == 10


# ---------------------------------------------------------------------------------------- skims


def tag(*arguments: Any) -> int:
    return main(["tag", *map(str, arguments), "--model", "tinyParT", "--columns", "prob", "--threads", "1"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_a_search_on_skims_is_the_search_on_the_files(tmp_path: Path, kind: str) -> None:
    """Several inputs in one skim, and several skims, with workers."""
    for number, n_events in ((1, 30), (2, 20), (3, 10)):
        lists = {"LHEScaleSumw": [[1.0, 1.5 * number], []]}
        make(tmp_path / f"dy{number}.root", n_events, number, runs(500.0 * number, 450 * number, **lists))
    skims = tmp_path / "skims"
    skims.mkdir()
    both = [tmp_path / "dy1.root", tmp_path / "dy2.root"]
    assert tag(*both, "--where", "pt > 300", "-o", skims / f"dy12.{kind}", "--workers", 2, "--memory", "1MB") == 0
    assert tag(tmp_path / "dy3.root", "-o", skims / f"dy3.{kind}") == 0
    if kind == "root":
        with uproot.open(skims / "dy12.root") as file:
            written = file[RUNS].arrays()
        assert written["genEventSumw"].tolist() == [500.0, 0.0, 1000.0, 0.0]
        assert written["genEventCount"].tolist() == [450, 0, 900, 0]
        assert written["LHEScaleSumw"].tolist() == [[1.0, 1.5], [], [1.0, 3.0], []]
        assert {"run", "nLHEScaleSumw"} < set(written.fields)
    files = search(tmp_path)
    found = search(skims, ("luminosity: 2", "luminosity: 2\nschema: NanoAODSchema"), ("dy*.root", f"dy*.{kind}"))
    assert found.datasets["DY"]["sum_of_weights"] == files.datasets["DY"]["sum_of_weights"] == 3000
    assert found.cutflow == files.cutflow
    np.testing.assert_array_equal(found.histograms["pt"].values(), files.histograms["pt"].values())


def test_a_skim_of_older_files_has_the_names_of_today(tmp_path: Path) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(500.0, 450, "_"))
    assert tag(tmp_path / "dy1.root", "-o", tmp_path / "skim.root") == 0
    with uproot.open(tmp_path / "skim.root") as file:
        assert file[RUNS]["genEventSumw"].array().tolist() == [500.0, 0.0]


@pytest.mark.parametrize("suffix", [".root", ".parquet"])
def test_a_skim_carries_the_sums_of_what_was_read_only(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(1000.0, 900))
    (tmp_path / "dy2.root").write_bytes(b"root")
    skim = tmp_path / f"skim{suffix}"
    assert tag(tmp_path / "dy1.root", tmp_path / "dy2.root", "-o", skim, "--skip-broken") == 0
    (source,) = read_sources(skim)
    assert (source.sum_of_weights, source.count, source.events) == (1000.0, 900, 10)
    said = capsys.readouterr().out
    assert "generated events behind the files that were read" in said
    assert "900, sum of generator weights 1000" in said
    make(tmp_path / "dy2.root", 10, 2, None)
    assert tag(tmp_path / "dy1.root", tmp_path / "dy2.root", "-o", skim, "--force") == 0
    assert read_sources(skim) == ()
    assert "not known" in capsys.readouterr().out


@pytest.mark.parametrize("whole", [True, False])
def test_a_rewritten_skim_keeps_what_it_knows(tmp_path: Path, whole: bool) -> None:
    """A part of a file has no tree Runs, which other programs would take for the whole."""
    source = GeneratedFile("a.root", 20, 0, 20 if whole else 10, {"genEventSumw": [7.0], "genEventCount": [8]})
    note = json.dumps({"model": "m", "generated": [source.to_dict()]})
    content = {"genWeight": np.ones(10, np.float32)}
    for name in ("skim.parquet", "skim.root"):
        write_skim(tmp_path / name, [content], note)
    assert read_sources(tmp_path / "skim.parquet") == (source,)
    with uproot.open(tmp_path / "skim.root") as file:
        assert (RUNS in file) == whole
    (found,) = read_sources(tmp_path / "skim.root")
    assert (found.sum_of_weights, found.count, found.whole) == (7.0, 8, whole)
    longer = {"genWeight": np.ones(21, np.float32)}
    write_skim(tmp_path / "long.parquet", [longer], note)
    with pytest.raises(MismatchError, match="holds 21 events, but the 1 files"):
        read_sources(tmp_path / "long.parquet")


def test_chunks_of_the_tagging_processor_count_a_file_once(tmp_path: Path) -> None:
    from coffea import processor
    from coffea.nanoevents import PFNanoAODSchema

    make(tmp_path / "dy1.root", 20, 1, runs(1000.0, 900))
    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=10)
    job = TaggingProcessor("tinyParT", columns=["prob"], output=tmp_path / "out")
    files = runner({"DY": [str(tmp_path / "dy1.root")]}, job, treename="Events")["DY"]["files"]
    parts = [read_sources(path) for path in files]
    assert [(source.first, source.last) for (source,) in parts] == [(0, 10), (10, 20)]
    assert {source.file for (source,) in parts} == {str(tmp_path / "dy1.root")}
    infos = [FileInfo(path, "DY", 10, True, found) for path, found in zip(files, parts, strict=True)]
    assert shared(infos, {path: Read(10, 5.0) for path in files}) == 1000.0
    with pytest.raises(InputFileError, match=r"some chunks of .*dy1.root were not read"):
        shared(infos[:1], {files[0]: Read(10, 5.0)})
    import pyarrow.parquet

    assert "genWeight" in pyarrow.parquet.read_schema(files[0]).names


@pytest.mark.slow
def test_training_skims_carry_the_sums_of_weights(tmp_path: Path) -> None:
    """Each with its part of the file, so that together they have the sum of the file, once."""
    from coffea import processor
    from coffea.nanoevents import PFNanoAODSchema

    for number, n_events in ((1, 20), (2, 10)):
        make(tmp_path / f"dy{number}.root", n_events, number, runs(1000.0 * number, 900 * number))
    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=10)
    job = FinetuneInputsProcessor("tinyParT", tmp_path / "out", columns=["prob"], keep=[], labels=None)
    dy = [str(tmp_path / f"dy{number}.root") for number in (1, 2)]
    files = runner({"DY": dy}, job, treename="Events")["DY"]["files"]
    parts = [read_sources(path) for path in files]
    assert [(source.file, source.first, source.last) for (source,) in parts] == [
        (dy[0], 0, 10),
        (dy[0], 10, 20),
        (dy[1], 0, 10),
    ]
    assert [(source.sum_of_weights, source.count) for (source,) in parts] == [(1e3, 900), (1e3, 900), (2e3, 1800)]
    infos = [FileInfo(path, "DY", 10, True, found) for path, found in zip(files, parts, strict=True)]
    assert shared(infos, {path: Read(10, 5.0) for path in files}) == 3000.0
    with pytest.raises(InputFileError, match=r"some chunks of .*dy1.root were not read"):
        shared(infos[1:], {path: Read(10, 5.0) for path in files[1:]})


# ---------------------------------------------------------------------------------------- shares in general


def shared(infos: Sequence[FileInfo], read: Mapping[str, Read]) -> float:
    sample = Sample(1.0, sum_of_weights=1.0)
    found = follow("DY", sample, True, infos, read, "genWeight", "Events")
    if found.sum_of_weights == 1.0:  # all was read
        return sum(source.sum_of_weights for source in {s.file: s for info in infos for s in info.sources}.values())
    return float(found.sum_of_weights or 0.0)


def chunk(path: str, first: int, last: int, *, count: int = 20, file: str = "a.root") -> FileInfo:
    source = GeneratedFile(file, 20, first, last, {"genEventSumw": [30.0], "genEventCount": [count]})
    return FileInfo(path, "DY", last - first, True, (source,))


def test_parts_of_a_source_in_several_skims() -> None:
    infos = [chunk("one", 0, 5), chunk("two", 5, 20), chunk("three", 0, 20, file="b.root", count=400)]
    read = {"one": Read(5, 4.0), "two": Read(15, 20.0), "three": Read(20, 9.0)}
    assert shared(infos, read) == 60.0
    assert shared(infos, {**read, "three": Read()}) == 30.0
    # nothing was skimmed away: what was read is what counts, whatever is missing
    assert shared(infos, {**read, "two": Read()}) == 34.0
    assert shared([infos[0], infos[2]], read) == 34.0
    skimmed = [chunk("one", 0, 5, count=400), chunk("two", 5, 20, count=400)]
    for lacking in (skimmed[:1], skimmed):
        with pytest.raises(InputFileError, match="leave the file out"):
            shared(lacking, {"one": Read(5, 4.0)})


def test_events_in_two_skims_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(1000.0, 900))
    skims = tmp_path / "skims"
    skims.mkdir()
    # without the tree Runs, so that the provenance counts
    source = GeneratedFile("a.root", 20, 0, 15, {"genEventSumw": [7.0], "genEventCount": [8]})
    with EventFile(tmp_path / "dy1.root") as file:
        content = {name: file.read([name])[name] for name in ("genWeight",)}
        jets = file.read([f"FatJet.{name}" for name in ("pt", "eta", "phi", "mass", "msoftdrop")]).FatJet
    content |= {f"FatJet_{name}": jets[name] for name in jets.fields}
    for name, first in (("dy1", 0), ("dy2", 5)):
        half = {**source.to_dict(), "first": first, "last": first + 15}
        write_skim(skims / f"{name}.root", [content], json.dumps({"generated": [half]}))
    with pytest.raises(MismatchError, match=r"events 5 to 15 of a.root are in .*dy1.root and in .*dy2.root"):
        search(skims, ("luminosity: 2", "luminosity: 2\nschema: NanoAODSchema"))


# ---------------------------------------------------------------------------------------- cuts and luminosity


@pytest.mark.parametrize(("luminosity", "warned"), [("138000", True), ("0.138", True), ("138", False), ("3000", False)])
def test_luminosities_that_no_sample_has(tmp_path: Path, luminosity: str, warned: bool) -> None:
    make(tmp_path / "dy1.root", 10, 1, runs(1000.0, 900))
    notes = search(tmp_path, ("luminosity: 2", f"luminosity: {luminosity}")).notes
    assert [f"the luminosity is {luminosity}/fb" in note for note in notes] == [True] * warned


def test_cuts_that_select_nothing_or_everything_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "dy1.root", 30, 1, runs(1000.0, 900))
    cuts = (
        'cuts: {window: "150 < jet1.pt < 90", true: "1 < 2", soft: "jet1.pt > 1", never: "jet1.pt > 1e6", '
        'some: "jet1.eta > 0", low: "jet1.eta < -1"}\n'
        "regions: {all: {kind: inclusive}, both: {kind: control, pass: [some, low]}}\n"
    ).replace("true:", "truth:")
    changes = (("regions: {all: {kind: inclusive}}\n", cuts), ("chunk_size: 10", 'event_selection: "run >= 1"'))
    notes = search(tmp_path, *changes).notes
    assert notes[:3] == (
        "cut 'window': '150 < jet1.pt < 90' is never true",
        "cut 'truth': '1 < 2' is always true",
        "region 'both': its cuts are mutually exclusive",
    )
    passed = [note for note in notes if "passes" in note]
    assert [note.split(" of the ")[0] for note in passed] == [
        "the cut on events (run >= 1) passes each",
        "cut 'soft' (jet1.pt > 1) passes each",
        "cut 'never' (jet1.pt > 1e6) passes none",
    ]
    text = CONFIG.replace(*changes[0]).replace(*changes[1])
    (tmp_path / "search.yaml").write_text(text)
    assert main(["search", str(tmp_path / "search.yaml"), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "warning: cut 'window': '150 < jet1.pt < 90' is never true" in said.err
    assert "1000 (Runs)" in said.out
