"""What is uploaded: the source distribution, the wheel that is built from it, and what an index shows of them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from test_packaging import ROOT, can_build, copy_of_the_repository, pip

needs_setuptools = pytest.mark.skipif(not can_build(), reason="building needs setuptools 77")

CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
ADDRESS = CONFIG["metadata"]["url"]
#: what links and pictures lead to, in Markdown and HTML
LINK = re.compile(r"(?:\]\(|(?:src|href)=\")([^\s()\"]+)[)\"]")
#: of a commit that is no release
AT_MAIN = re.compile(rf"{re.escape(ADDRESS)}/(blob|tree|raw)/(main|v\d+\.\d+\.\d+)/([^#]*)")


def check_links(description: str) -> None:
    """All links lead to the repository, or elsewhere, and what they name in the repository is there."""
    targets = LINK.findall(description)
    assert len(targets) > 20
    for target in targets:
        assert target.startswith("https://"), f"a link without address: {target}"
        if target.startswith(f"{ADDRESS}/"):
            match = AT_MAIN.fullmatch(target.partition("#")[0])
            assert match, target
            path = ROOT / match[3]
            assert path.is_dir() if match[1] == "tree" else path.is_file(), target


# ---------------------------------------------------------------------------------------- setup.py


@pytest.fixture
def description(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """The description that `setup.py` of a folder gives."""

    def run(folder: Path) -> str:
        given: dict[str, Any] = {}
        monkeypatch.setattr("setuptools.setup", lambda **keywords: given.update(keywords))
        runpy.run_path(str(folder / "setup.py"))
        return str(given["long_description"])

    return run


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    for name in ("setup.py", "setup.cfg", "README.md", "CHANGELOG.md", "jettagger/_version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@needs_setuptools
def test_links_of_the_readme_are_absolute_in_the_description(description: Callable[[Path], str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = description(ROOT)
    check_links(text)
    # nothing else is changed
    assert LINK.sub("", text) == LINK.sub("", readme)
    assert len(LINK.findall(text)) == len(LINK.findall(readme))


@needs_setuptools
def test_kinds_of_links(description: Callable[[Path], str], small_repository: Path) -> None:
    (small_repository / "docs").mkdir()
    (small_repository / "README.md").write_text(
        "[a](docs/a.md#b) [b](#c) [`c[0](d)`](https://d.org/e)\n[docs](docs)\n[![f](docs/g.png)](h.md)\n"
        '<img src="docs/g.svg">\n```python\nf[x](y)\n```\n',
        encoding="utf-8",
    )
    assert description(small_repository).replace(ADDRESS, "@") == (
        "[a](@/blob/main/docs/a.md#b) [b](@/blob/main/README.md#c) [`c[0](d)`](https://d.org/e)\n"
        "[docs](@/tree/main/docs)\n"
        "[![f](@/raw/main/docs/g.png)](@/blob/main/h.md)\n"
        '<img src="@/raw/main/docs/g.svg">\n```python\nf[x](y)\n```\n'
    )


@needs_setuptools
@pytest.mark.parametrize(("unreleased", "revision"), [("\n- A change.\n\n", "main"), ("\n", "v1.2.3")])
def test_a_release_leads_to_its_tag_and_what_is_between_releases_to_main(
    description: Callable[[Path], str], small_repository: Path, unreleased: str, revision: str
) -> None:
    (small_repository / "CHANGELOG.md").write_text(
        f"# Changes\n\n## Unreleased\n{unreleased}## 1.2.3 (2026-01-01)\n\n- Others.\n", encoding="utf-8"
    )
    (small_repository / "jettagger" / "_version.py").write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    text = description(small_repository)
    assert set(re.findall(rf"{re.escape(ADDRESS)}/(?:blob|tree|raw)/([^/]+)/", text)) == {revision}


# ---------------------------------------------------------------------------------------- one address


def test_the_address_is_the_same_everywhere() -> None:
    """`url` in setup.cfg is its home: no text of the project names another repository."""
    named: dict[str, set[str]] = {}
    suffixes = (".cfg", ".cff", ".md", ".py", ".toml", ".yaml", ".ipynb")
    for folder in (".ci", "benchmarks", "conda", "docs", "examples", "jettagger", "processors", "tests", "."):
        paths = (ROOT / folder).glob("*") if folder == "." else (ROOT / folder).rglob("*")
        for path in (path for path in paths if path.suffix in suffixes and path.is_file()):
            found = re.findall(r"https?://git(?:hub|lab)\.\w+/[\w.-]+/jettagger\b", path.read_text(encoding="utf-8"))
            named.setdefault(path.relative_to(ROOT).as_posix(), set()).update(found)
    assert {"setup.cfg", "CITATION.cff"} <= {name for name, found in named.items() if found}
    assert {name: found for name, found in named.items() if found - {ADDRESS}} == {}


def test_pages_that_an_index_shows() -> None:
    pages = dict(line.split(" = ") for line in CONFIG["metadata"]["project_urls"].strip().splitlines())
    assert list(pages) == ["Homepage", "Documentation", "Source", "Issues", "Changelog"]
    assert pages["Homepage"] == pages["Source"] == ADDRESS
    assert pages["Issues"] == f"{ADDRESS}/issues"
    for name in ("Documentation", "Changelog"):
        match = AT_MAIN.fullmatch(pages[name])
        assert match, pages[name]
        assert (ROOT / match[3]).exists()


# ---------------------------------------------------------------------------------------- built


def files_of_git() -> set[str]:
    run = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return {name for name in run.stdout.decode().split("\0") if name and (ROOT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The source distribution, its content unpacked elsewhere, and the wheel that is built there."""
    folder = tmp_path_factory.mktemp("distributions")
    repository = copy_of_the_repository(folder / "repository")
    # what work leaves behind
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    names = [line.strip("/").replace("*", "x") for line in ignored if line and not line.startswith("#")]
    for name in [*names, "docs/__pycache__", "jettagger/__pycache__"]:
        left = repository / name
        if not left.suffix or name.startswith(".") or ".egg-info" in name:
            left.mkdir(parents=True, exist_ok=True)
            left /= "left_over.py"
        left.write_text("left = True\n", encoding="utf-8")
    code = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=repository, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (source,) = folder.glob("jettagger-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    pip(sys.executable, "wheel", str(unpacked), "--wheel-dir", str(folder))
    (wheel,) = folder.glob("jettagger-*.whl")
    shutil.rmtree(repository)
    return source, unpacked, wheel


def metadata(built: tuple[Path, Path, Path]) -> tuple[Message, Message]:
    _, unpacked, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        inside = archive.read(name).decode()
    return message_from_string((unpacked / "PKG-INFO").read_text(encoding="utf-8")), message_from_string(inside)


@pytest.mark.slow
@needs_setuptools
def test_the_source_distribution_holds_the_files_of_git(built: tuple[Path, Path, Path]) -> None:
    source, _, _ = built
    with tarfile.open(source) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
    names = {member.name.partition("/")[2] for member in members}
    generated = {name for name in names if name == "PKG-INFO" or name.startswith("jettagger.egg-info/")}
    assert names - generated == files_of_git()
    assert all(member.isfile() for member in members)
    assert source.stat().st_size < 15_000_000


@pytest.mark.slow
@needs_setuptools
def test_the_wheel_from_the_source_distribution_holds_the_package(built: tuple[Path, Path, Path]) -> None:
    _, _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {name for name in files_of_git() if name.startswith("jettagger/")}
    expected |= {f"jettagger/{name}" for name in files_of_git() if name.startswith("processors/")}
    assert names == expected


@pytest.mark.slow
@needs_setuptools
def test_metadata_of_both(built: tuple[Path, Path, Path]) -> None:
    for data in metadata(built):
        assert data["License-Expression"] == CONFIG["metadata"]["license_expression"]
        assert data["License-File"] == "LICENSE"
        assert data["License"] is None
        assert "License ::" not in str(data.get_all("Classifier"))
        assert f"Homepage, {ADDRESS}" in (data.get_all("Project-URL") or [])
        assert data["Description-Content-Type"] == "text/markdown"
        check_links(str(data.get_payload()))


def test_the_script_that_tries_wheels_can_be_read() -> None:
    script = str(ROOT / ".ci" / "wheels")
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    run = subprocess.run(["bash", script, "2.7"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == "unknown argument 2.7: .ci/wheels [--tests] [3.10 3.11 ...]\n"


@pytest.mark.slow
@needs_setuptools
def test_an_index_takes_both(built: tuple[Path, Path, Path]) -> None:
    pytest.importorskip("twine", reason="the extra dev is not installed")
    command = [sys.executable, "-m", "twine", "check", "--strict", str(built[0]), str(built[2])]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@needs_setuptools
def test_tests_run_from_the_source_distribution(built: tuple[Path, Path, Path]) -> None:
    """All are collected, and some run; CONTRIBUTING.md says how all of them do."""
    _, unpacked, _ = built
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(unpacked)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly"]

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        done = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    collected = set(re.findall(r"^(tests/test_\w+\.py)::", run("--collect-only"), flags=re.MULTILINE))
    assert collected == {f"tests/{path.name}" for path in (ROOT / "tests").glob("test_*.py")} - modules_that_skip(
        unpacked
    )
    tests = ["tests/test_bundle.py", "tests/test_packaging.py", "tests/test_distributions.py", "tests/test_project.py"]
    said = run(*tests)
    assert re.search(r"\d+ passed", said)


def modules_that_skip(folder: Path) -> set[str]:
    """Test modules that skip as a whole for lack of a package here."""
    import importlib.util

    skip = set()
    for path in (folder / "tests").glob("test_*.py"):
        for name in re.findall(
            r'^(?:\w+ = )?pytest\.importorskip\("(\w+)', path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if importlib.util.find_spec(name) is None:
                skip.add(f"tests/{path.name}")
    return skip
