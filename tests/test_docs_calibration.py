"""The page on calibration: its configuration, commands and Python blocks run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from calibrations import probes
from pages import blocks, read

from jettagger.calibration.layouts import LAYOUTS
from jettagger.cli import main
from jettagger.config.yamlfile import yaml_text
from jettagger.histograms import save
from jettagger.studies import read_calibration

PAGE = "docs/calibration.md"
TEXT = read(PAGE)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyhf", reason="fits need the extra stats")
    pytest.importorskip("correctionlib")
    monkeypatch.chdir(tmp_path)
    text, *parts = blocks(PAGE, "yaml")
    save({"probe": probes({"signal": (1.0, 0.9)})}, "probes.json.gz")
    for part in parts:
        whole = {**yaml.safe_load(text), **yaml.safe_load(part)}
        if "events" in whole:
            del whole["histograms"]
        if "mistag" in whole:
            whole["flavors"]["light"] = 0
        read_calibration(yaml_text(whole), "part.yaml")
    # one bin of one working point is enough here
    text = text.replace("[300, 400, 500, 800]", "[300, 400]").replace("loose: 0.5, ", "")
    Path("calibration.yaml").write_text(text, encoding="utf-8")
    (shell,) = blocks(PAGE, "sh", "jettagger calibrate ")
    for line in shell.splitlines():
        assert main([*shlex.split(line)[1:], "--no-plots"]) == 0, line
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(PAGE, "python"):
        exec(compile(block, PAGE, "exec"), names)
    assert names["tight"] == pytest.approx([0.9, 0.9], abs=0.1)
    written = {str(path.relative_to("calibration")) for path in Path("calibration").rglob("*") if path.is_file()}
    listed = set(re.findall(r"`([\w<>./]+)`", TEXT[TEXT.index("| file |") : TEXT.index("From Python:")]))
    top = {name for name in written if "/" not in name}
    assert top <= listed
    assert {name.rpartition("/")[2] for name in written if name.startswith("fits/")} <= listed
    assert listed - top == {
        "fits/<bin>/", "workspace.json", "datacard.txt", "templates.root", "scale_factors_jet_tagging.json",
    }  # fmt: skip


def test_the_page_names_all_layouts() -> None:
    table = TEXT[TEXT.index("| layout |") : TEXT.index("A further correction")]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(LAYOUTS)
