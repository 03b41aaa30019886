"""jettagger search: configuration, files, executors, the output folder."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
from jettagger.processors.search import ResonanceSearchProcessor, SearchWarning
from searches import CONFIG, columns, make_world, part, write

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    JettaggerError,
    MismatchError,
    OutputError,
    UnknownName,
)
from jettagger.files.root import EventFile
from jettagger.histograms import equal, load, pick
from jettagger.search import cutflow_table, cutflows, read_config, run_search, survey, write_output
from jettagger.search.files import expand


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and a configuration."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def result(world: Path) -> Any:
    """The search on one process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        return run_search(read_config(world))


def config(world: Path, *changes: tuple[str, str]) -> Any:
    """The configuration with other text in some places."""
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_config(text, name="search.yaml", folder=world.parent)


# ---------------------------------------------------------------------------------------- same everywhere


def same(one: Any, other: Any, rtol: float = 0.0) -> None:
    assert one.histograms.keys() == other.histograms.keys()
    for name, histogram in one.histograms.items():
        assert equal(histogram, other.histograms[name], rtol=rtol), name
        assert histogram.sum(flow=True).value != 0
    assert one.cutflow == other.cutflow if rtol == 0 else True


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["futures", pytest.param("dask", marks=pytest.mark.slow)])
def test_executors_give_identical_histograms(world: Path, result: Any, executor: str) -> None:
    if executor == "dask":
        pytest.importorskip("distributed")
    same(run_search(read_config(world), executor=executor, workers=2), result)


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 1000])
def test_the_size_of_chunks_changes_nothing(world: Path, result: Any, size: int) -> None:
    same(run_search(config(world, ("chunk_size: 12", f"chunk_size: {size}"))), result)


@pytest.mark.slow
def test_splitting_files_changes_nothing(world: Path, result: Any, tmp_path: Path) -> None:
    made = columns(30, 1)
    for name in ("X1.root", "run.root", "tt2.root"):
        (tmp_path / name).symlink_to(world.parent / name)
    for number, (first, last) in enumerate([(0, 3), (3, 20), (20, 30)]):
        write(tmp_path / f"tt1_{number}.root", part(made, first, last))
    path = tmp_path / "search.yaml"
    path.write_text(CONFIG)
    same(run_search(read_config(path)), result)


@pytest.mark.slow
def test_weights_with_rounding_give_the_same_too(tmp_path: Path) -> None:
    """Sums of such weights differ in the last digits with the order of the chunks."""
    world = make_world(tmp_path / "world", binary=False)
    one = run_search(config(world, ("chunk_size: 12", "chunk_size: 7")))
    same(run_search(config(world, ("chunk_size: 12", "chunk_size: 1000"))), one, rtol=1e-9)


@pytest.mark.slow
def test_a_histogram_from_a_skim_is_that_of_the_processor(world: Path, tmp_path: Path) -> None:
    """The soft-drop mass of the leading jet, from a parquet file that jettagger tag wrote."""
    changes = (
        ("mjj: {bins: [8, 200, 1800], label: dijet mass, unit: GeV}",
         "m: {bins: [20, 0, 200], expression: jet1.msoftdrop}"),
        ("count: 2", "count: 1"), ("abs(deta) < 2", "jet1.pt > 0"), ("histogram: mjj", "histogram: m"),
    )  # fmt: skip
    made = run_search(config(world, *changes))
    skim = tmp_path / "skim.parquet"
    files = [str(world.parent / f"tt{number}.root") for number in (1, 2)]
    arguments = ["--where", "pt > 220 and abs(eta) < 2.2", "--columns", "prob", "--keep", "puWeight"]
    assert main(["tag", *files, "--model", "tinyParT", *arguments, "-o", str(skim)]) == 0
    events = ak.from_parquet(skim)
    hbb = jt.discriminant("HbbvsQCD")(events)
    chosen = (events.FatJet_pt > 220) & (abs(events.FatJet_eta) < 2.2)
    leading = ak.firsts(events.FatJet_msoftdrop[chosen][ak.argsort(events.FatJet_pt[chosen], ascending=False)])
    score = ak.firsts(hbb[chosen][ak.argsort(events.FatJet_pt[chosen], ascending=False)])
    passed = ak.fill_none(score > 0.2, False)
    weights = ak.values_astype(events.genWeight, np.float64) * ak.values_astype(events.puWeight, np.float64)
    scale = 1000 * 10 * 2 / float(ak.sum(events.genWeight))
    expected, _ = np.histogram(leading[passed].to_numpy(), bins=20, range=(0, 200), weights=weights[passed].to_numpy())
    got = pick(made.histograms["m"], dataset="tt", region="SR", variation="nominal")
    assert expected.any()
    np.testing.assert_allclose(got.values(), expected * scale, rtol=1e-9)


# ---------------------------------------------------------------------------------------- the output


@pytest.mark.slow
def test_output_is_complete(world: Path, result: Any, tmp_path: Path) -> None:
    written = write_output(result, tmp_path / "out", plots=False)
    assert sorted(written) == sorted(path.name for path in (tmp_path / "out").iterdir())
    histograms, record = load(tmp_path / "out" / "histograms.json")
    assert all(equal(histograms[name], histogram) for name, histogram in result.histograms.items())
    assert record["model"]["digest"] == jt.load_bundle("tinyParT").digest
    made = json.loads((tmp_path / "out" / "record.json").read_text())
    assert made["configuration"]["content"]["luminosity"] == 10
    assert {"coffea", "awkward", "jettagger", "python"} <= set(made["versions"])
    assert [file["events"] for file in made["files"]] == [30, 8, 20, 15]
    assert made["datasets"]["tt"]["files"] == {
        str(world.parent / "tt1.root"): 30,
        str(world.parent / "tt2.root"): 8,
    }
    assert json.loads((tmp_path / "out" / "cutflow.json").read_text())["cutflow"] == result.cutflow
    table = (tmp_path / "out" / "cutflow.txt").read_text()
    assert table == f"{cutflow_table(result)}\n{result.provenance}\n"
    row = next(line for line in table.splitlines() if line.startswith("tagged"))
    assert row.split()[1] == str(result.cutflow["tt"]["SR"]["tagged"]["events"])
    assert (
        tmp_path / "out" / "cutflow.md"
    ).read_text() == f"{cutflow_table(result, 'markdown')}\n{result.provenance}\n"
    assert (
        tmp_path / "out" / "cutflow.tex"
    ).read_text() == f"{cutflow_table(result, 'latex')}\n% {result.provenance}\n"
    assert "workspace_X1.json" in written
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]  # nothing half-written beside it


def flows() -> SimpleNamespace:
    """A search with one region and two data sets, one blind."""
    of_tt = {"two jets": {"events": 20, "weighted": 12.5}, "tag|ged": {"events": 3, "weighted": 1.25}}
    of_data = {"two jets": {"events": 9, "weighted": 9.0}, "tag|ged": {"events": None, "weighted": None}}
    search = SimpleNamespace(regions={"S_R": SimpleNamespace(kind="signal")}, luminosity=59.8)
    return SimpleNamespace(
        cutflow={"tt": {"S_R": of_tt}, "run": {"S_R": of_data}}, config=SimpleNamespace(search=search)
    )


def test_cutflows_as_text_markdown_and_latex() -> None:
    """The cells of all forms are the same."""
    made: Any = flows()
    wanted = [["cut", "tt", "weighted", "run", "weighted"], ["two jets", "20", "12.5", "9", "9"]]
    wanted.append(["tag|ged", "3", "1.25", "blind", "blind"])
    text = cutflows.cutflow_table.__wrapped__(made)  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert lines[0] == "S_R (signal region)"
    assert [re.split(r"  +", line) for line in (lines[1], *lines[3:5])] == wanted
    assert lines[-1] == "weighted: events at 59.8 /fb"
    lines = cutflows.cutflow_table.__wrapped__(made, "markdown").splitlines()  # type: ignore[attr-defined]
    assert lines[3] == "|---|--:|--:|--:|--:|"
    cells = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:6]]
    assert [cells[0], *cells[2:]] == wanted
    lines = cutflows.cutflow_table.__wrapped__(made, "latex").splitlines()  # type: ignore[attr-defined]
    assert lines[:3] == ["% S_R (signal region)", r"\begin{tabular}{lrrrr}", r"\toprule"]
    rows = [line.removesuffix(r" \\").replace("$|$", "|").split(" & ") for line in lines if line.endswith(r"\\")]
    assert rows == wanted
    assert lines[-1] == "% weighted: events at 59.8 /fb"
    with pytest.raises(UnknownName, match=r"'html'. Known: text, markdown, latex"):
        cutflows.cutflow_table.__wrapped__(made, "html")  # type: ignore[attr-defined]


@pytest.mark.slow
def test_masses_without_cuts_on_masses(world: Path) -> None:
    """They are the histograms of a search without these cuts, of simulation alone."""
    histogram = "histograms:\n  m: {bins: [5, 0, 200], expression: jet1.msoftdrop}\n"
    inclusive = ("regions:\n", "regions:\n  all: {kind: inclusive, pass: [near]}\n")
    plain = run_search(config(world, inclusive, ("histograms:\n", histogram)))
    window = ("cuts:\n", 'cuts:\n  window: "90 < jet1.msoftdrop < 140"\n')
    made = [window, inclusive, ("histograms:\n", histogram), ("[near", "[window, near")]
    cut = run_search(config(world, *made))
    for dataset in ("tt", "X1"):
        for region in ("all", "SR", "CR"):
            place = {"dataset": dataset, "region": region, "variation": "nominal"}
            expected = pick(plain.histograms["m"], **place)
            np.testing.assert_allclose(pick(cut.masses["m"], **place).values(), expected.values(), rtol=1e-9)
            assert pick(cut.histograms["m"], **place).values().sum() != expected.values().sum()
    assert "run" not in cut.masses["m"].axes["dataset"]


@pytest.mark.slow
def test_inclusive_regions_and_blind_data(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mplhep")
    # names are looked at here, pictures in the next test and in test_plots.py
    monkeypatch.setattr("jettagger.plots.save_figure", lambda figure, path: path.touch())
    made = config(
        world,
        ("regions:\n", "regions:\n  all: {kind: inclusive, pass: [near]}\n"),
        (
            "histograms:\n",
            "histograms:\n  hbb: {bins: [10, 0, 1], expression: jet1.HbbvsQCD}\n"
            "  msoftdrop: {bins: [5, 0, 200], expression: jet1.msoftdrop, unit: GeV}\n",
        ),
        ("processes: {tt: [tt]}", "processes: {tt: [tt]}\n  data: [run]"),
    )
    found = run_search(made)
    assert made.templates is not None
    assert made.templates.regions == ("SR", "CR")
    table = cutflow_table(found)
    row = next(line for line in table.splitlines() if line.startswith("tagged"))
    assert row.split()[-2:] == ["blind", "blind"]
    written = write_output(found, tmp_path / "out")
    drawn = {name.removeprefix("plots/") for name in written}
    assert {"hbb_all_roc_tt.png", "hbb_all_shapes.png", "msoftdrop_all_sculpting_tt.png", "mjj_SR.png"} <= drawn
    assert not {name for name in drawn if "_SR_shapes" in name or "mjj_all_roc" in name or "mjj_all_sculpt" in name}
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["blind"] == ["SR"]
    assert "SR: blind, the sum of the backgrounds is used as data" in record["templates"]
    assert json.loads((tmp_path / "out" / "templates.json").read_text())["asimov"]


@pytest.mark.slow
def test_plots_are_drawn(result: Any, tmp_path: Path) -> None:
    pytest.importorskip("mplhep")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = write_output(result, tmp_path / "out")
    plots = {name for name in written if name.startswith("plots/")}
    assert {"plots/mjj_SR.png", "plots/mjj_CR_shapes.png", "plots/cutflow_SR.png"} <= plots
    assert all((tmp_path / "out" / name).stat().st_size > 5000 for name in plots)


def test_an_output_is_replaced_only_if_asked_and_only_if_a_search_wrote_it(result: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_output(result, out, plots=False)
    with pytest.raises(OutputError, match="exists already"):
        write_output(result, out, plots=False)
    (out / "old").write_text("")
    write_output(result, out, plots=False, force=True)
    assert not (out / "old").exists()
    (out / "record.json").unlink()
    with pytest.raises(OutputError, match="was not written by a search"):
        write_output(result, out, plots=False, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it is a file"):
        write_output(result, tmp_path / "file")
    with pytest.raises(OutputError, match="does not exist"):
        write_output(result, tmp_path / "no" / "out")


@pytest.mark.slow
def test_nothing_is_left_when_writing_fails(result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jettagger.search.output.cutflow_table", fail)
    with pytest.raises(KeyboardInterrupt):
        write_output(result, tmp_path / "out", plots=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_command_line(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["search", str(world), "-o", str(out), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert re.match(r"ok: the search can be run, on \d+ events in \d+ files\n", text)
    assert "tt       2                   2      38" in text
    assert "variation jes: the network keeps the scores" in text
    assert not out.exists()
    assert main(["search", str(world), "-o", str(out), "--no-plots"]) == 0
    text = capsys.readouterr().out
    assert f"{out}/histograms.json: histograms" in text
    assert (out / "templates.json").is_file()
    assert main(["search", str(world), "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["search", str(world), "-o", str(tmp_path / "b"), "--executor", "future"]) == 2
    assert "nearest: futures" in capsys.readouterr().err
    assert main(["search", "--help"]) == 0
    assert "--skip-broken" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------- broken files


@pytest.fixture
def broken_world(tmp_path: Path) -> Path:
    """A world with a truncated file among the others."""
    path = make_world(tmp_path)
    content = (tmp_path / "tt2.root").read_bytes()
    (tmp_path / "tt2.root").write_bytes(content[: len(content) // 3])
    return path


def test_a_file_that_fails_to_open_is_named(broken_world: Path) -> None:
    with pytest.raises(InputFileError, match=r"search.yaml, line 7: .*tt2.root.*truncated or damaged"):
        run_search(read_config(broken_world))


@pytest.mark.slow
def test_the_job_goes_on_if_told_so_and_says_what_is_missing(
    broken_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = broken_world.parent / "out"
    assert main(["search", str(broken_world), "-o", str(out), "--skip-broken", "--no-plots"]) == 0
    assert f"missing: {broken_world.parent / 'tt2.root'}: " in capsys.readouterr().err
    record = json.loads((out / "record.json").read_text())
    assert list(record["missing"]) == [str(broken_world.parent / "tt2.root")]
    assert record["datasets"]["tt"]["events"] == 30


@pytest.mark.slow
def test_damage_inside_of_a_file_is_named(tmp_path: Path) -> None:
    """The file opens, but some of its data cannot be read."""
    import uproot

    world = make_world(tmp_path)
    path = tmp_path / "tt2.root"
    with uproot.open(path) as file:
        place = int(file["Events"]["FatJet_pt"].member("fBasketSeek")[0])
    content = bytearray(path.read_bytes())
    content[place + 60 : place + 200] = b"\xff" * 140
    path.write_bytes(bytes(content))
    with pytest.raises(InputFileError, match=r"tt2.root, events 0 to 8: cannot be read"):
        run_search(read_config(world))
    found = run_search(read_config(world), skip_broken=True)
    assert list(found.missing) == [f"{path}, events 0 to 8"]
    assert found.datasets["tt"]["events"] == 30


def test_files_that_this_coffea_cannot_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uproot

    world = make_world(tmp_path)
    with EventFile(tmp_path / "tt2.root") as file:
        assert not file.is_rntuple
    with uproot.recreate(tmp_path / "tt2.root") as file:
        file.mkrntuple("Events", {"event": np.arange(3)})
    monkeypatch.setattr("jettagger.search.files.version", lambda package: "2025.9.0")
    said = r"tt2.root is an RNTuple, which coffea 2025.9.0 does not read in a search: install coffea 2025.11 or later"
    with pytest.raises(InputFileError, match=said):
        run_search(read_config(world))
    (tmp_path / "tt2.root").unlink()
    world.write_text(world.read_text().replace('"tt*.root"', "tt.parquet"))
    (tmp_path / "tt.parquet").write_bytes(b"")
    said = r"tt.parquet is a parquet file, which coffea 2025.9.0 does not read in a search: install coffea 2026.5 or"
    with pytest.raises(InputFileError, match=said):
        run_search(read_config(world))


def test_schemas_are_sent_by_their_names() -> None:
    from coffea.nanoevents import schemas

    from jettagger.search.executors import coffea_schema
    from jettagger.search.schema import SCHEMAS

    for name in SCHEMAS:
        assert pickle.loads(pickle.dumps(coffea_schema(name))) is coffea_schema(name)
        assert issubclass(coffea_schema(name), getattr(schemas, name))
        assert not coffea_schema(name).warn_missing_crossrefs


@pytest.mark.slow
def test_errors_in_the_code_of_a_user_are_not_taken_for_broken_files(world: Path) -> None:
    class Faulty(ResonanceSearchProcessor):
        def event_columns(self, candidates: Any) -> dict[str, Any]:
            raise ZeroDivisionError("oh")

    with pytest.raises(JettaggerError, match=r"X1.root: cannot be processed: ZeroDivisionError: oh \(in event_columns"):
        run_search(read_config(world), cls=Faulty, skip_broken=True)


def test_a_data_set_without_files_is_refused(world: Path) -> None:
    with pytest.raises(InputFileError, match=r"search.yaml, line 8: no file matches 'X9\*.root'"):
        run_search(config(world, ("files: X1.root", "files: 'X9*.root'")))
    with pytest.raises(InputFileError, match=r"line 8: dataset 'X1' has no file that can be read"):
        run_search(config(world, ("files: X1.root", "files: X9.root")), skip_broken=True)


def test_a_file_must_not_count_twice(world: Path) -> None:
    with pytest.raises(MismatchError, match=r"line 8: .*tt1.root is in 'tt' and 'X1'"):
        run_search(config(world, ("files: X1.root", "files: tt1.root")))


def test_globs_of_other_file_systems(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for name in ("b", "a"):
        system.pipe(f"/search/{name}.root", b"")
    assert expand("memory://search/*.root", tmp_path) == [
        "memory:///search/a.root",
        "memory:///search/b.root",
    ]
    assert expand("root://host//store/a.root", tmp_path) == ["root://host//store/a.root"]
    with pytest.raises(InputFileError, match="no file matches"):
        expand("memory://search/*.txt", tmp_path)


# ---------------------------------------------------------------------------------------- bad input


def test_data_and_simulation_in_one_data_set(world: Path) -> None:
    with pytest.raises(MismatchError, match=r"line 7: dataset 'tt' is simulation, but .*run.root lacks .*'genWeight'"):
        run_search(config(world, ('["tt*.root"]', "[tt1.root, run.root]"), ("files: [run.root]", "files: [tt2.root]")))
    with pytest.raises(MismatchError, match=r"line 9: dataset 'run' is data, but .*X1.root has the column 'genWeight'"):
        run_search(
            config(
                world,
                ("[run.root]", "[X1.root]"),
                ("X1: {files: X1.root", "X1: {files: tt2.root"),
                ("tt*", "tt1*"),
            )
        )


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["iterative", pytest.param("futures", marks=pytest.mark.slow)])
def test_nan_weights_name_the_file_and_the_event(tmp_path: Path, executor: str) -> None:
    world = make_world(tmp_path)
    made = columns(20, 3)
    made["genWeight"][7] = np.nan
    write(tmp_path / "X1.root", made)
    with pytest.raises(InvalidValues, match=r"X1.root: genWeight of event 8 .*is nan"):
        run_search(read_config(world), executor=executor, skip_broken=True)


@pytest.mark.slow
def test_sums_of_weights_from_the_files(tmp_path: Path) -> None:
    import uproot

    world = make_world(tmp_path)
    for number, total in ((1, 100.0), (2, 25.0)):
        with uproot.update(tmp_path / f"tt{number}.root") as file:
            tree = file.mktree("Runs", {"genEventSumw": np.dtype("f8")})
            tree.extend({"genEventSumw": np.array([total / 2, total / 2])})
    runs = ("cross_section: 2}", "cross_section: 2, sum_of_weights: Runs}")
    found = run_search(config(world, runs))
    assert found.datasets["tt"]["sum_of_weights"] == 125.0
    assert found.datasets["tt"]["scale"] == pytest.approx(1000 * 10 * 2 / 125)
    with pytest.raises(InputFileError, match=r"X1.root has no sum of generator weights"):
        run_search(config(world, ("cross_section: 0.5}", "cross_section: 0.5, sum_of_weights: Runs}")))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("luminosity: 10", "lumi: 10", r"line 2: unknown key 'lumi' \(nearest: luminosity\)"),
        ("version: 1", "version: 2", "line 1: version 2, this version of jettagger reads 1"),
        ("luminosity: 10", "luminosity: -1", "line 2: 'luminosity' must be above zero"),
        (", cross_section: 2}", "}", "line 7: simulation without cross section"),
        (
            "cross_section: 2}",
            "xsec: 2}",
            r"line 7: unknown key 'xsec' \(nearest: cross_section\)|line 7: unknown key",
        ),
        ("cross_section: 2}", "cross_section: big}", "line 7: 'cross_section' must be a number or Runs, got 'big'"),
        ("data: true}", "data: maybe}", "line 9: 'data' must be true or false"),
        ("count: 2", "count: 3", "line 11: 'count' must be 1 or 2, got 3"),
        ("sort_by: HbbvsQCD", "sort_yb: HbbvsQCD", r"line 13: unknown key 'sort_yb' \(nearest: sort_by"),
        (
            "HbbvsQCD: HbbvsQCD",
            "HbbvsQCD: HbbvsQDC",
            r"line 16: unknown discriminant in the presets: 'HbbvsQDC' \(nearest: HbbvsQCD",
        ),
        (
            "abs(deta) < 2",
            "abs(deta) < 2 && mjj > 0",
            "line 18: position 15: '&&' is not an operator here: write 'and'",
        ),
        ("abs(deta) < 2", "open('x')", "line 18: position 1: unknown function 'open'"),
        ("pass: [near, tagged]", "pass: [nera, tagged]", r"line 21: unknown cut: 'nera' \(nearest: near\)"),
        ("kind: control", "kind: sideband", "line 22: unknown kind 'sideband', expected signal, validation"),
        ("fail: [tagged]", "fail: [near]", "line 22: the cut 'near' must be both passed and failed"),
        (', down: "2 * puWeight - puWeightUp"', "", "line 24: weight 'puWeight': give both up and down"),
        ("    down: {pt", "    dwon: {pt", r"line 28: unknown key 'dwon' \(nearest: down\)"),
        ("unit: GeV}\n  masses", "unti: GeV}\n  masses", r"line 30: unknown key 'unti' \(nearest: unit"),
        ("bins: [8, 200, 1800]", "bins: [8, 1800, 200]", "line 30: axis 'mjj'"),
        ("histogram: mjj", "histogram: mj", r"line 36: unknown histogram: 'mj' \(nearest: mjj\)"),
        ("histogram: mjj", "histogram: masses", "line 36: templates need a histogram of one variable"),
        ("tt: [tt]", "tt: [ttt]", r"line 37: unknown sample: 'ttt' \(nearest: tt\)"),
        ("lumi: {tt: 0.02, X1", "lumi: {tt: 0.02, X2", "unknown process .*'X2'"),
        ("chunk_size: 12", "chunk_size: many", "line 5: 'chunk_size' must be a number of events"),
        ("chunk_size: 12", "schema: PFNano", r"line 5: unknown schema 'PFNano' \(nearest: PFNanoAODSchema"),
        ("chunk_size: 12", "plots: 3", "line 5: 'plots' must be true or false"),
        ("chunk_size: 12", "blind: 'no'", "line 5: 'blind' must be true or false, got 'no'"),
        ("histogram: mjj", "histogram: mjj\n  names: {dtaa: x}", r"unknown pattern .*'dtaa' \(nearest: data"),
        (
            "SR: {kind: signal, pass: [near, tagged]}\n  CR: {kind: control, pass: [near], fail: [tagged]}",
            "all: {kind: inclusive}",
            "line 34: no region for templates",
        ),
        ("files: X1.root", "files: []", "line 8: no files for 'X1'"),
        ("files: X1.root", "files: {a: b}", "line 8: 'files' must be a list"),
    ],
)
def test_bad_configurations(world: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config(world, (old, new))
    assert str(caught.value).startswith("search.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: tinyParT", "model: tinyPartT", "line 3: .*tinyParT"),
        (
            "HbbvsQCD: HbbvsQCD",
            "HbbvsQCD: probHbB/(probHbB+sum(QCD))",
            r"line 16: unknown score.*nearest: probHbb",
        ),
        ("jet1.tinyParT_mass", "jet1.tinyParT_mas", r"line 33: unknown score .*'mas' \(nearest: mass"),
        ("abs(deta) < 2", "abs(dteta) < 2", r"line 18: .*'dteta' \(nearest: deta"),
        (
            "expression: jet1.msoftdrop",
            "expression: jet1.msofdrop",
            r"line 34: .*'msofdrop' \(nearest: msoftdrop",
        ),
        ("nominal: puWeight,", "nominal: puWieght,", r"line 24: .*'puWieght' \(nearest: puWeight"),
        ("mass: msoftdrop", "mass: msoftdrp", r"line 14: .*'msoftdrp' \(nearest: msoftdrop"),
        ("sort_by: HbbvsQCD", "sort_by: HbbvsQDC", r"line 13: .*'HbbvsQDC' \(nearest: HbbvsQCD"),
        ("sort_by: HbbvsQCD", "select_by: masss", r"line 13: .*'masss' \(nearest: mass"),
        ("chunk_size: 12", "event_selection: MET.ptt > 1", r"line 5: .*'MET.ptt' \(nearest: FatJet.pt"),
        ('preselection: "pt > 220', 'preselection: "ptt > 220', r"line 12: .*'ptt' \(nearest: pt"),
        ('up: {pt: "pt * 1.1"', 'up: {pt: "p * 1.1"', r"line 27: .*'p'"),
        (
            "tree: Events\n",
            "collection: FatJets\n",
            r"line 4: .*'FatJets' \(nearest: FatJet",
        ),
    ],
)
def test_configurations_that_do_not_fit_the_files_or_the_model(world: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(JettaggerError, match=message):
        look(world, (old, new))


def look(world: Path, *changes: tuple[str, str]) -> Any:
    """Read a configuration, load its model, open its files."""
    made = config(world, *changes)
    return survey(made, made.make_processor())


def test_unknown_scores_of_files(world: Path) -> None:
    with pytest.raises(JettaggerError, match=r"search.yaml, line 15: HbbvsQCD: these jets have no scores"):
        look(world, ("tagger: {model: tinyParT, threads: 1}\n", ""), ("jet1.tinyParT_mass", "jet1.msoftdrop"))


@pytest.mark.slow
def test_regions_that_select_nothing_or_overlap_are_in_the_summary(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG.replace("fail: [tagged]}", "fail: []}\n  none: {kind: validation, pass: [never]}")
    text = text.replace("  near: ", '  never: "mjj < 0"\n  near: ').partition("templates:")[0]
    path = world.parent / "notes.yaml"
    path.write_text(text)
    assert main(["search", str(path), "-o", str(tmp_path / "out"), "--no-plots"]) == 0
    said = capsys.readouterr().err
    assert "warning: region 'none' selects no event of any data set" in said
    assert "warning: signal region 'SR' and control region 'CR' share " in said


def test_run_refuses_what_it_cannot_do(world: Path) -> None:
    with pytest.raises(JettaggerError, match="nearest: dask"):
        run_search(read_config(world), executor="dsak")
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        run_search(read_config(world), workers=0)
    with pytest.raises(ConfigError, match="is for the executor 'dask', not for 'iterative'"):
        run_search(read_config(world), scheduler="tcp://localhost:1")
