"""The page on searches: its configuration, commands and Python blocks run; its tables are complete."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from jettagger.processors.search import KINDS, SearchWarning
from pages import blocks, read
from searches import columns, write

from jettagger.cli import main
from jettagger.search import EXECUTORS, read_config

PAGE = "docs/search.md"
TEXT = read(PAGE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyhf")
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("qcd1", "qcd2", "tt", "x1000", "data"), 1):
        made = columns(60, seed, data=name == "data")
        if name != "data":
            made["genWeight"] = abs(made["genWeight"])
        more = ("MET_pt", "MET_phi", "fixedGridRhoFastjetAll")
        made |= {column: np.full(60, 2.0, dtype=np.float32) for column in more}
        write(tmp_path / f"{name}.root", made)
    text, *parts = (part for part in blocks(PAGE, "yaml") if "JetMET: {data: true" not in part)
    for part in parts:
        keys = list(yaml.safe_load(part))
        assert set(keys) <= {*yaml.safe_load(text), "eras", "styles"}
        if "maps/" in part:
            continue  # tests/test_search_maps.py has the files of maps
        if "eras" in keys:  # in place of the luminosity, with samples of their own
            facts = {"files": {"tt23.root": "Events"}, "metadata": {"era": "2023", "xsec": 830}}
            Path("sets2023.json").write_text(json.dumps({"tt": facts}), encoding="utf-8")
            document = {**yaml.safe_load(text), **yaml.safe_load(part)}
            for key in ("luminosity", "templates"):
                del document[key]
            config = read_config(yaml.safe_dump(document, sort_keys=False), "eras.yaml")
            assert list(config.search.eras) == ["2022", "2023"]
            continue
        if "working_point" in part:
            continue  # tests/test_search_working_points.py has files of working points
        if "filesets/" in part:
            continue  # tests/test_filesets.py has filesets
        if "scale_factors" in part:
            continue  # tests/test_search_tag_factors.py has the files of scale factors
        document = {**yaml.safe_load(text), **yaml.safe_load(part)}
        read_config(yaml.safe_dump(document, sort_keys=False), "part.yaml")
    # so that the few toy events of data and simulation are of the same number
    text = re.sub(r"cross_section: [\d.]+", "cross_section: 0.0005", text)
    Path("search.yaml").write_text(text, encoding="utf-8")
    # drawing is tested elsewhere
    monkeypatch.setattr("jettagger.plots.save_figure", lambda figure, path: Path(path).touch())
    shell = blocks(PAGE, "sh")[0]  # that of datasets is in tests/test_datasets.py
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        for block in blocks(PAGE, "python"):
            exec(compile(block, PAGE, "exec"), {"__name__": "document"})
        for line in shell.splitlines():
            extra = {"search": ["--no-plots"], "limit": ["--no-plot"]}[shlex.split(line)[1]]
            assert main([*shlex.split(line, comments=True)[1:], *extra]) == 0, line
    from fitting import check_pyhf

    check_pyhf(json.loads(Path("out/workspace_X1000.json").read_text()), "scipy")
    said = capsys.readouterr().out
    assert "blind: data in SR are in no histogram" in said
    written = re.findall(r"`([\w<>.]+\.\w+)`", TEXT[TEXT.index("| file |") : TEXT.index("The folder is complete")])
    names = {name.replace("<signal>", "X1000") for name in written}
    assert {path.name for path in Path("out").iterdir()} == names - {
        "limits.png",
        "limits.pdf",
        "jettagger.histograms.load",
    }
    row = re.search(r"^tagged .*$", Path("out/cutflow.txt").read_text(), flags=re.MULTILINE)
    assert row is not None
    assert row.group().split()[-2:] == ["blind", "blind"]


def named(start: str, end: str) -> set[str]:
    part = TEXT[TEXT.index(start) :]
    part = part[: part.index(end)]
    cells = re.findall(r"^\| (`[^|]*) \|", part, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_kind_and_executor_has_a_line() -> None:
    assert named("| kind |", "A region without events") == set(KINDS)
    assert named("| `--executor` |", "All give identical") - {"executor"} == set(EXECUTORS)
