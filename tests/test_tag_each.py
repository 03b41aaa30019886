"""``jettagger tag -o DIR/``: a skim for each file, resumed, as a friend of its file, on dask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import uproot

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError, OutputError, UnknownName
from jettagger.skims import each
from jettagger.skims.each import outputs_of, tag_each
from jettagger.testing import write_pfnano


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("nano")
    return [str(write_pfnano(folder / f"{name}.root", 6, seed=seed)) for seed, name in enumerate("abc", 1)]


@pytest.fixture(scope="module")
def tagger() -> jt.Tagger:
    return jt.load_tagger("tinyParT", jt.TaggerOptions(threads=1))


def scores(path: Path) -> Any:
    with uproot.open(path) as file:
        return file["Events"].arrays(["event", "FatJet_tinyParT_probHbb"])


def test_the_rows_are_those_of_the_files(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores"
    command = ["tag", *files, "--model", "tinyParT", "--threads", "1", "--columns", "prob", "-o"]
    assert main([*command, f"{out}/", "--dry-run"]) == 0
    assert not out.exists()
    assert main([*command, f"{out}/"]) == 0
    assert "3 files" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores"]
    assert sorted(path.name for path in out.iterdir()) == ["a.root", "b.root", "c.root"]
    for path in files:
        with uproot.open(path) as file:
            numbers = file["Events"]["event"].array().tolist()
        found = scores(out / Path(path).name)
        assert found["event"].tolist() == numbers
    assert main([*command, str(tmp_path / "all.root")]) == 0
    together = scores(tmp_path / "all.root")["FatJet_tinyParT_probHbb"]
    each_ = [row for path in files for row in scores(out / Path(path).name)["FatJet_tinyParT_probHbb"].tolist()]
    assert str(together.tolist()) == str(each_)  # NaN where a jet is not scored
    assert main([*command, f"{out}/"]) == 2
    assert "a.root and 2 more exists already; use --force" in capsys.readouterr().err
    assert main([*command, f"{out}/", "--force"]) == 0


def test_an_interrupted_run_goes_on(
    files: list[str], tagger: jt.Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, out, done = each.run_job, tmp_path / "out", []

    def stops(job: Any, output: str, **options: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(output)
        return real(job, output, **options)

    monkeypatch.setattr(each, "run_job", stops)
    with pytest.raises(KeyboardInterrupt):
        tag_each(files, tagger, out, columns=["prob"])
    assert (tmp_path / "out.resume").is_dir()
    monkeypatch.setattr(each, "run_job", real)
    with pytest.raises(OutputError, match="interrupted run of another file, model, option or version"):
        tag_each(files, tagger, out, columns=["mass"])
    made = tag_each(files, tagger, out, columns=["prob"])
    assert (made.earlier, list(made.made)) == (tuple(files[:2]), files[2:])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_broken_files(files: list[str], tagger: jt.Tagger, tmp_path: Path) -> None:
    broken = tmp_path / "x.root"
    broken.write_text("broken")
    with pytest.raises(InputFileError, match=r"x\.root"):
        tag_each([str(broken), *files[:1]], tagger, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.root"]
    made = tag_each([str(broken), *files[:1]], tagger, tmp_path / "out", skip_broken=True, columns=["prob"])
    assert (list(made.failed), list(made.made)) == ([str(broken)], files[:1])
    with pytest.raises(InputFileError, match="none of the 1 files can be read"):
        tag_each([str(broken)], tagger, tmp_path / "other", skip_broken=True)


def test_what_is_refused(
    files: list[str], tagger: jt.Tagger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MismatchError, match=r"a/x\.root and b/x\.root would both be out/x\.root"):
        outputs_of(["a/x.root", "b/x.root"], "out")
    with pytest.raises(UnknownName, match="unknown format: 'rot'"):
        outputs_of(files, "out", "rot")
    shutil.copy(files[0], tmp_path / "a.root")
    with pytest.raises(OutputError, match="cannot be the output"):
        tag_each([str(tmp_path / "a.root")], tagger, tmp_path, force=True)
    for option in (["--skims", "root"], ["--scheduler", "tcp://x:1"]):
        assert main(["tag", files[0], "--model", "tinyParT", "-o", str(tmp_path / "s.root"), *option]) == 2
        assert f"{option[0]} is for a folder of skims" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no dask scheduler answers"):
        raise_no_scheduler()


def raise_no_scheduler() -> None:
    pytest.importorskip("distributed")
    from jettagger.search.executors import client_at

    with client_at("nonsense"):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_files_are_scored_on_dask(files: list[str], tagger: jt.Tagger, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    here = tag_each(files, tagger, tmp_path / "here", columns=["prob"])
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        there = tag_each(files, tagger, tmp_path / "there", columns=["prob"], client=client)
        command = ["tag", *files, "--model", "tinyParT", "--scheduler", cluster.scheduler_address]
        assert main([*command, "--skims", "parquet", "-o", f"{tmp_path}/cli/"]) == 0
    assert set(here.made) == set(there.made)
    for path in files:
        name = Path(path).name
        assert str(scores(tmp_path / "here" / name).tolist()) == str(scores(tmp_path / "there" / name).tolist())
    assert sorted(path.name for path in (tmp_path / "cli").iterdir()) == ["a.parquet", "b.parquet", "c.parquet"]
