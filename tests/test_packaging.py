"""What users get: from a wheel, an editable install, the repository's root."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import jettagger

ROOT = Path(jettagger.__file__).resolve().parent.parent

PROBE = """
import pathlib, sys
import jettagger.processors
from jettagger.bundles.places import PACKAGE
assert (PACKAGE / 'models' / 'tinyParT' / 'model.onnx').is_file()
assert (PACKAGE / 'models' / 'inclParTMDV1' / 'preprocess.json').is_file()
assert (PACKAGE / 'known').is_dir() and (PACKAGE / 'py.typed').is_file()
print(pathlib.Path(jettagger.processors.__file__).resolve())
print(jettagger.processors.TaggingProcessor.__module__)
import jettagger as jt
from jettagger.testing import make_events
assert len(jt.load_tagger('tinyParT', threads=1)(make_events(2, seed=1))) == 2
"""


def python(code: str, interpreter: str = sys.executable, **keywords: object) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, env=environment, **keywords)  # type: ignore[call-overload]
    assert run.returncode == 0, run.stderr
    return str(run.stdout).split()


def test_processors_are_part_of_the_package_from_the_repository() -> None:
    place, module = python(PROBE, cwd=ROOT)
    assert Path(place) == ROOT / "processors" / "__init__.py"
    assert module == "jettagger.processors.tagging"


def test_all_packages_and_data_are_declared() -> None:
    import configparser

    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg")
    packages = set(declared["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "jettagger").rglob("__init__.py")} | {
        "jettagger.processors"
    }
    assert packages == found
    assert "processors" not in packages


def environment(folder: Path) -> str:
    """A virtual environment that sees the packages of this one, but not this project."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    own = Path(python("import sysconfig; print(sysconfig.get_path('purelib'))", str(interpreter))[0])
    # this one may see those of another
    outer = [sysconfig.get_path("purelib"), *(path for path in sys.path if Path(path).name == "site-packages")]
    (own / "outer.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(outer)))
    return str(interpreter)


def pip(interpreter: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", interpreter, *arguments]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def copy_of_the_repository(folder: Path) -> Path:
    """The files that are part of the project, with their links: building leaves nothing in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("the list of files comes from git, which does not know this folder")
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(os.readlink(source))
        else:
            target.write_bytes(source.read_bytes())
    return folder


def can_build() -> bool:
    try:
        import setuptools
    except ImportError:
        return False
    return int(setuptools.__version__.partition(".")[0]) >= 77


needs_setuptools = pytest.mark.skipif(not can_build(), reason="building needs setuptools 77")


@pytest.mark.slow
@needs_setuptools
def test_a_wheel_brings_the_processors_inside_the_package(tmp_path: Path) -> None:
    repository = copy_of_the_repository(tmp_path / "repository")
    wheels = tmp_path / "wheels"
    pip(sys.executable, "wheel", str(repository), "--wheel-dir", str(wheels))
    (wheel,) = wheels.glob("jettagger-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        data = sum(item.compress_size for item in archive.infolist() if not item.filename.endswith((".py", "RECORD")))
    assert {name.split("/")[0] for name in names} == {
        "jettagger",
        f"{wheel.name.rpartition('-py3')[0]}.dist-info",
    }
    assert "jettagger/processors/tagging.py" in names
    assert "jettagger/models/tinyParT/model.onnx" in names
    assert data < 1_000_000  # networks, presets and cards that users need; code grows
    assert wheel.stat().st_size < 3_000_000
    interpreter = environment(tmp_path / "venv")
    pip(interpreter, "install", str(wheel))
    place, module = python(PROBE, interpreter, cwd=tmp_path)
    assert Path(place).is_relative_to(tmp_path / "venv")
    assert module == "jettagger.processors.tagging"
    # pip takes an extra from what is installed: no index has to have jettagger
    pip(interpreter, "install", "--dry-run", "jettagger[plot]")
    command = tmp_path / "venv" / "bin" / "jettagger"
    said = subprocess.run([str(command), "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"jettagger {jettagger.__version__}\n"


@pytest.mark.slow
def test_dask_workers_of_a_checkout_find_the_processors(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    repository = copy_of_the_repository(tmp_path / "repository")
    assert not any(path.is_symlink() for path in repository.rglob("*"))
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(repository)!r})\n"
        "from distributed import Client, LocalCluster\n"
        "def place():\n"
        "    import jettagger.processors as ours\n"
        "    return ours.__file__\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, processes=True, dashboard_address=':0') as cluster:\n"
        "        with Client(cluster) as client:\n"
        "            print(client.submit(place).result())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=600)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.split()[-1]) == repository / "processors" / "__init__.py"


@pytest.mark.slow
@needs_setuptools
def test_an_editable_install_finds_the_processors(tmp_path: Path) -> None:
    repository = copy_of_the_repository(tmp_path / "repository")
    interpreter = environment(tmp_path / "venv")
    pip(interpreter, "install", "--editable", str(repository))
    place, module = python(PROBE, interpreter, cwd=tmp_path)
    assert Path(place) == repository / "processors" / "__init__.py"
    assert module == "jettagger.processors.tagging"
    # an analysis with a folder processors/ of its own keeps it
    (tmp_path / "analysis" / "processors").mkdir(parents=True)
    (tmp_path / "analysis" / "processors" / "__init__.py").write_text("mine = True\n")
    code = "import processors, jettagger.processors as ours; print(processors.mine, ours.TaggingProcessor.__name__)"
    assert python(code, interpreter, cwd=tmp_path / "analysis") == ["True", "TaggingProcessor"]
    code = "import importlib.util as u; print(u.find_spec('processors'))"
    assert python(code, interpreter, cwd=tmp_path) == ["None"]
