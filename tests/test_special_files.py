"""Named pipes, sockets and devices as inputs: every reader refuses them at once, before it waits for a writer."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jettagger.bundles.places import PACKAGE
from jettagger.bundles.registry import load_bundle
from jettagger.cli import main
from jettagger.config.yamlfile import read_yaml
from jettagger.discriminants.working_points import WorkingPoints
from jettagger.errors import JettaggerError
from jettagger.files import special
from jettagger.files.delphes import DelphesFile, is_delphes_file
from jettagger.files.generated import read_sources
from jettagger.files.root import EventFile
from jettagger.files.tables import FlatFile, members
from jettagger.heads import load_head
from jettagger.histograms import load as load_histograms
from jettagger.provenance import read_provenance
from jettagger.sessions.graph import inspect
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import write_pfnano
from jettagger.weaver import read_config

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Who opens a named pipe waits for ever: an alarm ends the test."""

    def ring(*_: object) -> None:
        raise TimeoutError("it waits for a writer")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(300)  # a first import takes up to a minute on a busy machine
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["a named pipe", "a socket", "a device"])
def place(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Path]]:
    """Makes something that is no file under a name."""
    folder = Path(tempfile.mkdtemp(prefix="jt-"))

    def make(name: str) -> Path:
        path = folder / name
        if request.param == "a named pipe":
            os.mkfifo(path)
        elif request.param == "a socket":
            with socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)  # names of sockets are short
                server.bind(name)
        else:
            path.symlink_to("/dev/zero")
        assert special(path) == request.param
        return path

    yield make
    shutil.rmtree(folder)


def in_folder(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A reader of the folder in which the file lies."""
    return lambda path: read(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "events": ("x.root", EventFile),
    "flat ROOT": ("x.root", FlatFile),
    "flat parquet": ("x.parquet", FlatFile),
    "member": ("x.tar", lambda path: FlatFile(f"{path}::a.root")),
    "tarball": ("x.tar.gz", members),
    "Delphes": ("x.root", DelphesFile),
    "provenance, ROOT": ("x.root", read_provenance),
    "provenance, parquet": ("x.parquet", read_provenance),
    "generated, ROOT": ("x.root", lambda path: read_sources(str(path))),
    "generated, parquet": ("x.parquet", lambda path: read_sources(str(path))),
    "YAML": ("x.yaml", read_yaml),
    "weaver": ("x.yaml", read_config),
    "ONNX": ("x.onnx", inspect),
    "histograms": ("x.json", load_histograms),
    "histograms, gz": ("x.json.gz", load_histograms),
    "working points": ("x.json", WorkingPoints.load),
    "templates": ("templates.json", in_folder(load_workspaces)),
    "head": ("head.json", in_folder(load_head)),
    "network of a head": ("head.onnx", in_folder(load_head)),
    "network": ("model.onnx", in_folder(lambda folder: load_bundle(str(folder)))),
    "preprocess.json": ("preprocess.json", in_folder(lambda folder: load_bundle(str(folder)))),
    "card": ("bundle.json", in_folder(lambda folder: load_bundle(str(folder)))),
}


@pytest.mark.parametrize("reader", list(READERS))
def test_every_reader_refuses_what_is_no_file(reader: str, place: Callable[[str], Path]) -> None:
    name, read = READERS[reader]
    path = place(name)
    with pytest.raises(JettaggerError, match=rf"{name} is {special(path)}, expected a file"):
        read(path)


def test_a_file_of_a_whole_bundle_is_exchanged(place: Callable[[str], Path], tmp_path: Path) -> None:
    source = PACKAGE / "models" / "tinyParT"
    for name in ("model.onnx", "preprocess.json", "bundle.json"):
        folder = tmp_path / name.partition(".")[0]
        shutil.copytree(source, folder)
        path = place(name)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(path)
        with pytest.raises(JettaggerError, match=rf"{name} is {special(path)}, expected a file"):
            load_bundle(str(folder))


def test_nothing_else_is_special(tmp_path: Path) -> None:
    path = write_pfnano(tmp_path / "x.root", 2, seed=1)
    assert special(path) == special(tmp_path) == special(tmp_path / "none") == special("x\0y") == ""
    assert special("root://host//x.root") == special("https://host/x.root") == ""
    assert not is_delphes_file("/dev/null")


@pytest.mark.parametrize("name", ["x.root", "x.parquet", "x.tar"])
@pytest.mark.parametrize("model", ["tinyParT", "inclParTToyV1"])
def test_tagging_says_so(
    name: str, model: str, place: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place(name)
    assert main(["tag", str(path), "--model", model, "-o", str(tmp_path / "o.parquet")]) == 2
    said = capsys.readouterr().err
    assert said == f"jettagger: error: {path} is {special(path)}, expected a file; write its content to a file first\n"
    assert list(tmp_path.iterdir()) == []


def test_files_that_may_be_left_out_are_counted(
    place: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, whole = place("x.root"), write_pfnano(tmp_path / "whole.root", 4, seed=1)
    output = tmp_path / "o.parquet"
    arguments = [str(whole), str(path), "--model", "tinyParT", "-o", str(output), "--columns", "mass", "--skip-broken"]
    assert main(["tag", *arguments]) == 0
    assert f"skipped {path}: {path} is {special(path)}" in capsys.readouterr().err
