"""An interrupted search goes on with its finished chunks, and only with those of the same search."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hist
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jettagger.processors import ResonanceSearchProcessor
from pages import blocks
from searches import PLAIN, columns, make_world, write

from jettagger.cli import main
from jettagger.errors import InputFileError, MismatchError, OutputError, WrongType
from jettagger.files.resuming import ResumeWarning, lock_folder
from jettagger.search import SearchResult, read_config, run_search
from jettagger.search.identity import differences, search_identity
from jettagger.search.kept import check_kept, kept_chunks, kept_number
from jettagger.search.packing import pack, unpack
from jettagger.search.summing import OrderedSum

pytestmark = pytest.mark.filterwarnings("ignore::jettagger.search.definition.SearchWarning")

#: chunks of the search below
CHUNKS = 6


class Interrupted(ResonanceSearchProcessor):
    """Stops after some chunks."""

    left = CHUNKS

    def process(self, events: Any) -> dict[str, Any]:
        if not Interrupted.left:
            raise KeyboardInterrupt
        Interrupted.left -= 1
        return super().process(events)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), config=PLAIN, binary=False)


@pytest.fixture(scope="module")
def whole(world: Path) -> SearchResult:
    return run_search(read_config(world))


def interrupted(world: Path, output: Path, chunks: int, **options: Any) -> SearchResult:
    """A search that ends after some further chunks, if there are more."""
    config = read_config(world)
    identity = search_identity(config, config.make_processor(Interrupted))
    Interrupted.left = chunks
    with kept_chunks(output, identity) as kept:
        return run_search(config, cls=Interrupted, kept=kept, **options)


def assert_equal(first: SearchResult, second: SearchResult) -> None:
    """To the last bit."""
    for name in ("histograms", "curves", "masses"):
        one, other = getattr(first, name), getattr(second, name)
        assert {*one} == {*other}
        for key in one:
            assert one[key] == other[key]
    assert first.cutflow == second.cutflow
    assert first.datasets == second.datasets
    assert (first.notes, first.missing) == (second.notes, second.missing)


def test_stopped_three_times_it_is_equal_to_the_bit(world: Path, whole: SearchResult, tmp_path: Path) -> None:
    output, before = tmp_path / "out", 0
    for chunks in (1, 3, 1):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ResumeWarning)
            with pytest.raises(KeyboardInterrupt):
                interrupted(world, output, chunks)
        texts = [str(item.message) for item in said if item.category is ResumeWarning]
        assert len(texts) == bool(before)
        assert all(f"{before} of {CHUNKS} chunks were finished before" in text for text in texts)
        before += chunks
        assert kept_number(output) == before
    counted: list[int] = []
    with pytest.warns(ResumeWarning):
        made = interrupted(world, output, 1, progress=counted.append)
    assert Interrupted.left == 0
    assert_equal(made, whole)
    assert sum(counted) == sum(info.events for info in whole.survey.files)
    assert list(tmp_path.iterdir()) == []


def test_from_another_folder_it_is_equal_too(
    world: Path, whole: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are named relative to where the search runs, so its chunks have other names then."""
    output = tmp_path / "out"
    monkeypatch.chdir(world.parent)
    with pytest.raises(KeyboardInterrupt):
        interrupted(Path(world.name), output, 3)
    elsewhere = world.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResumeWarning)
        made = interrupted(Path("..") / world.name, output, CHUNKS)
    assert made.missing == whole.missing
    assert made.notes == whole.notes
    assert made.histograms == whole.histograms
    assert made.cutflow == whole.cutflow


def fail_at_the_end(world: Path, output: Path) -> None:
    """As if the templates could not be made."""
    config = read_config(world)

    def run() -> None:
        with kept_chunks(output, search_identity(config, config.make_processor())) as kept:
            run_search(config, kept=kept)
            raise OutputError("no template")

    with pytest.raises(OutputError, match="no template"):
        run()


def test_errors_after_the_last_chunk_lose_nothing(world: Path, tmp_path: Path) -> None:
    fail_at_the_end(world, tmp_path / "out")
    assert kept_number(tmp_path / "out") == CHUNKS


def test_what_changed_is_said(world: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        interrupted(world, output, 2)

    def check(*changes: tuple[str, str], **options: Any) -> None:
        text = world.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        config = read_config(text, name="search.yaml", folder=world.parent).with_options(**options)
        check_kept(output, search_identity(config, config.make_processor(Interrupted)))

    check()
    check(("luminosity: 10\n", "luminosity:  10 # a comment\n"))
    check(("lumi: {tt: 0.02", "lumi: {tt: 0.03"))  # used after the last chunk
    check(("files: X1.root", "files: [X1.root]"))  # chunks know their files
    with pytest.raises(MismatchError, match=r"search: cuts\.near is 'abs\(deta\) < 3', was 'abs\(deta\) < 2'\. Undo"):
        check(("abs(deta) < 2", "abs(deta) < 3"))
    with pytest.raises(MismatchError, match=r"histograms\.mjj\.bins is \[9, 200, 1800\], was \[8, 200, 1800\]"):
        check(("[8, 200, 1800]", "[9, 200, 1800]"))
    with pytest.raises(MismatchError, match=r"event_selection is new\. .*--no-resume .* drops the 2 finished chunks"):
        check(("jets:\n", "event_selection: 'MET.pt > 1'\njets:\n"))
    with pytest.raises(MismatchError, match=r"tagger\.threads is 2, was 1"):
        check(threads=2)
    config = read_config(world)
    with pytest.raises(MismatchError, match="the code of processor has changed"):
        check_kept(output, search_identity(config, config.make_processor()))
    assert kept_number(output) == 2


def test_files_that_a_configuration_names_belong_to_it(world: Path, tmp_path: Path) -> None:
    config = read_config(world)
    made = search_identity(config, config.make_processor())
    assert made["files"] == {}
    (tmp_path / "golden.json").write_text('{"1": [[1, 100]]}')
    text = world.read_text().replace("data: true", "data: true, golden_json: golden.json")
    config = read_config(text, name="search.yaml", folder=tmp_path)
    before = search_identity(config, config.make_processor())
    (tmp_path / "golden.json").write_text('{"1": [[1, 99]]}')
    after = search_identity(config, config.make_processor())
    assert differences(after, before) == ["the content of golden.json has changed"]
    before["versions"]["numpy"], before["tagger"]["model"] = "1.0", "another"
    assert differences(after, before)[1:] == [
        "tagger.model has changed",
        f"version of numpy is {np.__version__!r}, was '1.0'",
    ]


def test_only_chunks_of_the_same_files_are_used(world: Path, tmp_path: Path) -> None:
    place = make_world(tmp_path / "world", config=PLAIN, binary=False)
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        interrupted(place, output, CHUNKS - 2)
    write(place.parent / "tt2.root", columns(9, 7, binary=False))
    damaged = min((tmp_path / "out.resume" / "chunks").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.warns(ResumeWarning) as said:
        made = interrupted(place, output, CHUNKS)
    texts = " ".join(str(item.message) for item in said)
    assert "finished chunks are not used: their files have changed" in texts
    assert CHUNKS - Interrupted.left >= 2
    assert_equal(made, run_search(read_config(place)))


def test_a_folder_of_something_else_is_left(world: Path, tmp_path: Path) -> None:
    (tmp_path / "out.resume").mkdir()
    (tmp_path / "out.resume" / "thesis.tex").touch()
    for resume in (True, False):
        with (
            pytest.raises(OutputError, match=r"has no search\.json, so it is something else"),
            kept_chunks(tmp_path / "out", {}, resume=resume),
        ):
            pass
    assert (tmp_path / "out.resume" / "thesis.tex").is_file()


def test_two_runs_of_one_output_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out.resume").mkdir()
    lock = lock_folder(tmp_path / "out.resume")
    with pytest.raises(OutputError, match="another run"), kept_chunks(tmp_path / "out", {}):
        pass
    lock.close()


class Strange(ResonanceSearchProcessor):
    """Adds what coffea can add up, but no file of ours can hold."""

    def process(self, events: Any) -> dict[str, Any]:
        return {**super().process(events), "mine": np.array([len(events)], dtype=object)}


@pytest.mark.parametrize("executor", ["iterative", pytest.param("futures", marks=pytest.mark.slow)])
def test_results_that_cannot_be_kept_are_no_error(
    executor: str, world: Path, whole: SearchResult, tmp_path: Path
) -> None:
    config = read_config(world)
    with (
        pytest.warns(ResumeWarning, match="not kept in .*: the processor gives results that are not numbers"),
        kept_chunks(tmp_path / "out", search_identity(config, config.make_processor(Strange))) as kept,
    ):
        made = run_search(config, cls=Strange, kept=kept, executor=executor, workers=2)
    assert_equal(made, whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default::jettagger.files.resuming.ResumeWarning")
def test_the_command_line(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    command = ["search", str(world), "-o", str(output), "--no-plots"]
    fail_at_the_end(world, output)
    assert main([*command, "--dry-run"]) == 0
    assert f"goes on with {CHUNKS} finished chunks in {output}.resume" in capsys.readouterr().out
    other = tmp_path / "other.yaml"
    other.write_text(re.sub(r'"?(\w+\*?\.root)"?', rf"{world.parent}/\1", PLAIN).replace("deta) < 2", "deta) < 1"))
    for dry in ([], ["--dry-run"]):
        assert main(["search", str(other), "-o", str(output), *dry]) == 2
        assert "cuts.near is 'abs(deta) < 1', was" in capsys.readouterr().err
    assert main(command) == 0
    said = capsys.readouterr().err
    assert f"{CHUNKS} of {CHUNKS} chunks were finished before and are taken from there" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.yaml", "out"]


def test_sums_do_not_depend_on_the_order_of_completion() -> None:
    rng = np.random.default_rng(1)
    axes = [hist.axis.StrCategory([], growth=True, name="dataset"), hist.axis.Regular(3, 0, 1, name="x")]
    items = [SimpleNamespace(dataset=name) for name in "aabba"]
    results = []
    for item in items:
        filled = hist.Hist(*axes, storage=hist.storage.Weight())
        filled.fill(dataset=item.dataset, x=rng.uniform(size=50), weight=rng.lognormal(size=50, sigma=9))
        results.append(pack({"h": filled, "n": {item.dataset: float(filled.sum(flow=True).value)}}))
    totals = []
    for order in itertools.permutations(range(len(items))):
        total = OrderedSum(items)
        for number in order:
            total.add(number, {"out": results[number]})
        totals.append(total.result()["out"])
    assert all(total["n"] == totals[0]["n"] for total in totals)
    assert all(total["h"] == totals[0]["h"] for total in totals)
    expected = np.zeros(5)
    for number in (0, 1, 4):
        expected += unpack(results[number])["h"][{"dataset": "a"}].values(flow=True)
    assert totals[0]["h"][{"dataset": "a"}].values(flow=True).tolist() == expected.tolist()


#: what results of chunks are made of
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.tuples(st.text(), st.integers())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.sets(st.integers()) | st.tuples(inner)
)


@given(VALUES)
@settings(deadline=None, max_examples=50)
def test_packing_is_without_loss(value: Any) -> None:
    again = unpack(pack(value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("storage", [hist.storage.Weight(), hist.storage.Double(), hist.storage.Int64()])
def test_histograms_are_packed_without_loss(storage: Any) -> None:
    made = hist.Hist(
        hist.axis.StrCategory(["a", "b"], growth=True, name="dataset", label="sample"),
        hist.axis.Variable([0, 0.1, 0.7], name="x", label="x [GeV]"),
        hist.axis.Regular(40, 0, 1 / 3, name="y", flow=False),
        hist.axis.IntCategory([3, 5], name="n"),
        storage=storage,
        name="spectrum",
        label="a label",
    )
    assert unpack(pack(made)) == made
    made.fill(dataset="c", x=[-1, 0.3, 0.3, 2], y=0.1, n=[3, 5, 5, 5])
    again = unpack(pack(made))
    assert again == made
    assert [axis.label for axis in again.axes] == [axis.label for axis in made.axes]
    assert (again.name, again.label) == (made.name, made.label)
    assert len(pack(made)) < 1000
    assert unpack(pack(np.float32(0.1))).dtype == np.float32
    assert unpack(pack(np.arange(6).reshape(2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("value", [object(), np.array([None]), {"a": [print]}, b"bytes"])
def test_what_cannot_be_packed_is_named(value: Any) -> None:
    with pytest.raises(WrongType, match="of the class"):
        pack({"mine": value})


@pytest.mark.parametrize("cut", [slice(0, 5), slice(3, None), slice(0, 0)])
def test_damaged_results_are_errors(cut: slice) -> None:
    with pytest.raises(InputFileError, match="damaged"):
        unpack(pack({"a": list(range(100))})[cut])


def test_files_of_results_are_no_program() -> None:
    """Only what the writer makes is read."""
    import json
    import zlib

    def packed(content: Any, arrays: Sequence[Any] = ()) -> bytes:
        text = json.dumps({"content": content, "arrays": list(arrays)}).encode()
        return zlib.compress(len(text).to_bytes(8, "little") + text)

    for content, arrays in (({"object": 1}, ()), ({"array": 0}, [["O", [1]]]), ({"array": 3}, ()), ({"dict": 1}, ())):
        with pytest.raises(InputFileError, match="damaged"):
            unpack(packed(content, arrays))


def test_the_page_runs(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_world(tmp_path, config=f"{PLAIN}plots: false\n")
    monkeypatch.chdir(place.parent)
    for block in blocks("docs/search_batch.md", "python"):
        exec(compile(block, "search_batch.md", "exec"), {"__name__": "document"})
    assert (tmp_path / "long-output" / "histograms.json").is_file()
    assert not (tmp_path / "long-output.resume").exists()
