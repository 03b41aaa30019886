"""What the project says of itself agrees: versions, formats, places in the code, the picture of the README."""

from __future__ import annotations

import ast
import datetime
import importlib
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import jettagger
from benchmarks.readme_picture import PICTURE, draw_example, example

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------- versions


def test_version_changelog_and_citation_agree() -> None:
    releases = re.findall(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d{2}-\d{2})\)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    citation = yaml.safe_load(read("CITATION.cff"))
    assert [jettagger.__version__, citation["date-released"]] == list(releases[0])
    assert citation["version"] == jettagger.__version__
    numbers = [tuple(map(int, version.split("."))) for version, _ in releases]
    assert numbers == sorted(numbers, reverse=True)
    assert [day for _, day in releases] == sorted((day for _, day in releases), reverse=True)
    assert re.findall(r"^## (.*)$", read("CHANGELOG.md"), flags=re.MULTILINE)[0] == "Unreleased"


def test_a_tag_names_the_version() -> None:
    try:
        run = subprocess.run(
            ["git", "tag", "--points-at", "HEAD", "--list", "v*"], cwd=ROOT, capture_output=True, text=True
        )
    except OSError:
        pytest.skip("git is not installed")
    if run.returncode:
        pytest.skip("no clone: there are no tags")
    assert run.stdout.split() in ([], [f"v{jettagger.__version__}"])


def test_the_citation_is_valid() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    required = {"cff-version", "message", "title", "authors"}  # of the schema 1.2.0
    allowed = required | {"abstract", "type", "version", "date-released", "license", "keywords"}
    allowed |= {"url", "repository-code"}
    assert required <= set(citation) <= allowed
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert [list(author) for author in citation["authors"]] == [["name"]]  # an entity
    assert isinstance(citation["version"], str)
    datetime.date.fromisoformat(citation["date-released"])
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert citation["license"] == setup["metadata"]["license_expression"]
    assert citation["title"] == setup["metadata"]["name"]
    assert citation["url"] == citation["repository-code"] == setup["metadata"]["url"]
    assert all(isinstance(word, str) for word in citation["keywords"])
    assert set(citation["keywords"]) <= set(setup["metadata"]["keywords"].split(", "))


# ---------------------------------------------------------------------------------------- formats


def versions_in_the_page() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| (.+?) \| `(\w+)` ([^|]+?) \|", read("docs/formats.md"), flags=re.MULTILINE)
    return {name: (key, version) for name, key, version in rows}


def test_versions_in_the_page_on_formats_are_those_of_the_code() -> None:
    from jettagger.assignment import card as assigner_card
    from jettagger.assignment import weights
    from jettagger.bundles import card, declaration
    from jettagger.calibration import efficiencymap, masses, writing
    from jettagger.cli import console
    from jettagger.decorrelation import mapfile
    from jettagger.discriminants import working_points
    from jettagger.discriminants.discriminant import VERSION
    from jettagger.explain import report as explanation
    from jettagger.finetuning import config as finetuning
    from jettagger.heads import description
    from jettagger.histograms import files as histograms
    from jettagger.images import settings as images
    from jettagger.inputs.flavours import schema as flavours
    from jettagger.search import config as search
    from jettagger.search import parts
    from jettagger.simulation import run
    from jettagger.simulation import schema as detectors
    from jettagger.statistics import templates
    from jettagger.studies.calibration import schema as calibration
    from jettagger.studies.sculpting import schema as sculpting
    from jettagger.topology import mapping
    from jettagger.training import checkpoints

    manifest = re.search(r'"format": "(jettagger-simulation/\d+)"', Path(run.__file__).read_text(encoding="utf-8"))
    assert manifest is not None
    assert versions_in_the_page() == {
        "`bundle.json`": ("schema_version", str(card.SCHEMA_VERSION)),
        "`inputs.json`": ("schema_version", str(declaration.SCHEMA_VERSION)),
        "`part.json`": ("version", str(parts.VERSION)),
        "`assigner.json`": ("schema_version", str(assigner_card.SCHEMA_VERSION)),
        "`head.json`": ("schema_version", str(description.SCHEMA_VERSION)),
        "`search.yaml`": ("version", str(search.VERSION)),
        "`finetune.yaml`": ("version", str(finetuning.VERSION)),
        "`study.yaml`": ("version", str(sculpting.VERSION)),
        "`calibration.yaml`": ("version", str(calibration.VERSION)),
        "`inputs.yaml`": ("version", str(mapping.VERSION)),
        "`image.yaml`": ("version", str(images.VERSION)),
        "names of a production (YAML)": ("version", str(flavours.VERSION)),
        "detector card (YAML)": ("format", detectors.FORMAT),
        "discriminants (YAML)": ("version", str(VERSION)),
        "working points (correctionlib JSON, schema 2)": ("format", str(working_points._FORMAT)),
        "maps (correctionlib JSON, schema 2)": ("format", mapfile.FORMAT),
        "`scale_factors.json` (correctionlib JSON, schema 2)": ("format", writing.FORMAT),
        "`efficiencies.json` (correctionlib JSON, schema 2)": ("format", efficiencymap._FORMAT),
        "`mass_factors.json`": ("format", masses.FORMAT),
        "`histograms.json` (UHI JSON)": ("version", str(histograms.VERSION)),
        "`templates.json`": ("version", str(templates.VERSION)),
        "the document of `--json` (standard output)": ("version", str(console.VERSION)),
        "`explanation.json`": ("version", str(explanation.VERSION)),
        "checkpoint of a training (torch, weights and numbers only)": ("version", str(checkpoints.VERSION)),
        "assignment network (torch, weights, numbers and text only)": ("version", str(weights.VERSION)),
        "`OUTPUT.manifest.json` of simulated events": ("format", manifest[1]),
    }


# ---------------------------------------------------------------------------------------- contributing

CONTRIBUTING = read("CONTRIBUTING.md")


def test_ten_questions_are_answered() -> None:
    table = CONTRIBUTING[CONTRIBUTING.index("| question |") :].strip().splitlines()[2:]
    assert len(table) == 10
    for row in table:
        question, place, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        assert "`" in place, question
        assert re.findall(r"`tests/test_\w+\.py`", tests), question


def test_all_files_and_names_in_it_exist() -> None:
    places = re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.(?:md|cfg))`(?: \(((?:`\w+`(?:, )?)+)\))?", CONTRIBUTING)
    assert len(places) > 50
    for path, names in places:
        if path.startswith(("build/", "demo-output", "..")):
            continue
        assert (ROOT / path).exists(), path
        for name in re.findall(r"`(\w+)`", names):
            defined = rf"^(def {name}\(|class {name}\b|{name}(:.*)? = )"
            assert re.search(defined, read(path), flags=re.MULTILINE), f"{path} defines no {name}"


def test_all_make_targets_in_it_exist() -> None:
    makefile = read("Makefile")
    for command in re.findall(r"`make ([a-z -]+)", CONTRIBUTING):
        for target in command.split():
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_steps_of_attach_name_functions_that_exist() -> None:
    steps = read("ARCHITECTURE.md").partition("What happens in")[2].partition("Decisions worth knowing")[0]
    assert len(re.findall(r"^\d+\. ", steps, flags=re.MULTILINE)) == 11
    names = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", steps)
    assert len(names) >= 7
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(f"jettagger.{module}"), function)), name
    for name in re.findall(r"`Tagger\.(\w+)`", steps):
        assert callable(getattr(jettagger.Tagger, name)), name


# ---------------------------------------------------------------------------------------- continuous integration


@pytest.mark.parametrize(
    ("environment", "packages"),
    [
        ("all", "torch|sklearn|xgboost|hep_ml|pythia8mc|fastjet|openvino"),
        ("dask-awkward", "dask_awkward"),
    ],
)
def test_what_the_first_environment_lacks_is_tested_in_another(environment: str, packages: str) -> None:
    """Tests that skip where a package is absent run in the environment that has it."""
    commands = re.findall(rf"^\.venv-{environment}/bin/python -m pytest .*$", read(".ci/run"), flags=re.MULTILINE)
    assert len(commands) > 0
    run = {
        path.name
        for command in commands
        for name in re.findall(r" (tests/\S+\.py)", command) or ["tests/test_*.py"]
        for path in ROOT.glob(name)
    }
    chosen = re.search(r" -k (\w+) ", commands[0])
    needed = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            if re.search(rf'importorskip\(\s*"({packages})\b', source):
                needed.add((path.name, getattr(node, "name", path.stem)))
    assert needed
    assert {name for name, _ in needed} <= run
    assert chosen is None or all(chosen[1] in name for _, name in needed)
    # and fail there where they skip: of what may be absent in one environment nothing may be absent in the other
    lacking = {"all": "dask_awkward,pocket_coffea,columnflow", "dask-awkward": ""}
    assert all(f" --may-lack={lacking[environment]} " in command for command in commands)


@pytest.mark.slow
def test_an_environment_that_may_lack_some_modules_has_all_others(tmp_path: Path) -> None:
    """A test that skips for lack of a module fails under ``--may-lack``, unless the module is named."""
    (tmp_path / "test_modules.py").write_text(
        "import pytest\n\n"
        "def test_named(): pytest.importorskip('absent_a.part', reason='a')\n"
        "def test_other(): pytest.importorskip('absent_b', reason='b')\n"
        "def test_there(): assert pytest.importorskip('json').loads('1') == 1\n"
        "def test_skips_for_another_reason(): pytest.skip('no data')\n"
    )
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('absent_b')\ndef test_x(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += ["--may-lack=absent_a", "--continue-on-collection-errors"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False).stdout
    assert "1 failed, 1 passed, 2 skipped, 1 error" in said
    assert "'absent_b' cannot be imported, and --may-lack does not name it: b" in said


# ---------------------------------------------------------------------------------- the pictures of README and start.md


def test_the_picture_is_small_and_shown() -> None:
    text = read("docs/start.md")
    assert f"]({PICTURE.name})" in text
    assert PICTURE.stat().st_size < 150_000
    lines = [line for line in example(text).splitlines() if line and "import" not in line]
    assert len(lines) <= 9


@pytest.mark.slow
def test_the_example_draws_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    from matplotlib.image import imread
    from reference_figures import difference
    from test_reference_plots import TOLERANCE, same_versions

    drawn = draw_example(tmp_path)
    same_versions()
    assert difference(imread(drawn)[..., :3], imread(PICTURE)[..., :3]) < TOLERANCE
