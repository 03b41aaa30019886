"""The recipe for conda says what setup.cfg says, in names of conda-forge."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import jettagger

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "conda" / "recipe.yaml"
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
METADATA = CONFIG["metadata"]
#: requirement of pip -> that of conda-forge, where the names differ
CONDA_FORGE = {"xxhash": "python-xxhash"}


def rendered() -> Any:
    """The recipe with the values of its context."""
    text = PATH.read_text(encoding="utf-8")
    context = yaml.safe_load(text)["context"] | {"PYTHON": "$PYTHON"}
    return yaml.safe_load(re.sub(r"\$\{\{ (\w+) \}\}", lambda name: context[name[1]], text))


def test_version_and_python() -> None:
    recipe = rendered()
    assert recipe["package"] == {"name": METADATA["name"], "version": jettagger.__version__}
    assert CONFIG["options"]["python_requires"] == f">={recipe['context']['python_min']}"
    assert recipe["build"]["noarch"] == "python"


def test_requirements() -> None:
    recipe = rendered()
    ours = [Requirement(line) for line in CONFIG["options"]["install_requires"].strip().splitlines()]
    names = {canonicalize_name(one.name): one for one in ours}
    expected = [f"{CONDA_FORGE.get(name, name)} {one.specifier}" for name, one in names.items()]
    assert recipe["requirements"]["run"] == [f"python {CONFIG['options']['python_requires']}", *expected]
    build = re.search(r'requires = \["(\w+)(>=\d+)"\]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert build is not None
    assert recipe["requirements"]["host"][1:] == ["pip", f"{build[1]} {build[2]}"]


def test_what_it_says_of_the_project() -> None:
    recipe = rendered()
    pages = dict(line.split(" = ") for line in METADATA["project_urls"].strip().splitlines())
    about = recipe["about"]
    assert about["homepage"] == about["repository"] == METADATA["url"]
    assert about["documentation"] == pages["Documentation"]
    assert about["license"] == METADATA["license_expression"]
    assert about["license_file"] == METADATA["license_files"]
    assert about["summary"] == METADATA["description"]
    commands = CONFIG["options.entry_points"]["console_scripts"].strip().splitlines()
    assert recipe["build"]["python"]["entry_points"] == commands


def test_what_it_tries_can_be_tried(capsys: pytest.CaptureFixture[str]) -> None:
    import importlib
    import shlex

    from jettagger.cli import main

    imports, scripts, contents = rendered()["tests"]
    for name in imports["python"]["imports"]:
        importlib.import_module(name)
    for line in scripts["script"]:
        command, *arguments = shlex.split(line)
        assert command == "jettagger"
        assert main(arguments) == 0
    assert "tinyParT" in capsys.readouterr().out
    for name in contents["package_contents"]["site_packages"]:
        assert (ROOT / name).is_file() or (ROOT / name.removeprefix("jettagger/")).is_file()


def test_rattler_build_reads_it() -> None:
    rattler_build = pytest.importorskip("rattler_build", reason="the extra dev is not installed")
    (variant,) = rattler_build.Stage0Recipe.from_file(PATH).render()
    recipe = variant.recipe.to_dict()
    for key in ("package", "requirements"):
        assert recipe[key] == rendered()[key]
    assert [list(one) for one in recipe["tests"]] == [["python"], ["script"], ["package_contents"]]
    wrong = PATH.read_text(encoding="utf-8").replace("  run:\n", "  runs:\n")
    with pytest.raises(Exception, match="runs"):
        rattler_build.Stage0Recipe.from_yaml(wrong)
