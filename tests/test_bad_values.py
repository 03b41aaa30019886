"""Values of the right type that no function can use: one error of ours, with the value, its place and what is expected.

Wrong types are in ``test_arguments.py``, command lines in ``test_bad_arguments.py``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from jettagger.processors import TaggingProcessor

import jettagger as jt
from jettagger import discriminants, heads, jetclass2, plots, provenance, search, simulation, weaver
from jettagger.bundles import registry
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    JettaggerError,
    MismatchError,
    OutputError,
    UnknownName,
    WrongType,
)
from jettagger.files.delphes import DelphesFile
from jettagger.files.tables import FlatFile, members
from jettagger.finetuning import finetune, open_skim, score_skim
from jettagger.histograms import AxisSpec, HistSpec, load, save
from jettagger.inference.checking import check, write_golden
from jettagger.inputs.pfnano_tables import read_jets
from jettagger.skims.convert import convert_delphes
from jettagger.statistics import fits, limits, templates
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.testing import make_events, write_pfnano

#: functions that read a file or a folder that a user names
READERS: Mapping[str, Callable[[str], Any]] = {
    "EventFile": jt.EventFile,
    "DelphesFile": DelphesFile,
    "FlatFile": FlatFile,
    "members": members,
    "read_jets": lambda path: read_jets(path, 0, 1),
    "convert_delphes": lambda path: convert_delphes(path, "c.parquet"),
    "tag_files": lambda path: jt.tag_files([path], "tinyParT", "out.parquet"),
    "open_skim": open_skim,
    "score_skim": lambda path: score_skim(path, ["head"], "out.parquet"),
    "load_head": heads.load_head,
    "load_bundle": jt.load_bundle,
    "load_tagger": jt.load_tagger,
    "accept": registry.accept,
    "add": registry.add,
    "finetune": lambda path: finetune(path, "head"),
    "search": search.read_config,
    "weaver": weaver.read_config,
    "detector card": lambda path: simulation.load_card(f"{path}.yaml" if path and "." not in path else path),
    "discriminants": discriminants.load,
    "working points": discriminants.WorkingPoints.load,
    "histograms": load,
    "provenance": provenance.read_provenance,
    "workspaces": templates.load_workspaces,
    "report": templates.load_report,
    "jetclass2": jetclass2.read,
    "jetclass2 files": lambda path: jetclass2.files(root=path or "absent"),
    "flavour": lambda path: jt.load_tagger("tinyParT", format=f"{path}.yaml" if path and "." not in path else path),
    "heads": lambda path: jt.load_tagger("tinyParT", heads=[path]),
}

#: what no file or folder is: nothing, what is not there, a name that no system takes
PATHS = {
    "empty": "",
    "absent": "nowhere",
    "zero byte": "a\0b",
    "unknown user": "~nobody-is-called-so/x",
    "too long": "n" * 5000,
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("reader", READERS)
def test_paths_that_lead_nowhere(reader: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JettaggerError) as caught:
        READERS[reader](path)
    shown = {"a\0b": ("a\\x00b", "a\\\\x00b", "zero byte", "null byte")}.get(path, (path[:100],))
    assert any(part in str(caught.value) for part in shown)
    assert os.listdir() == []


@pytest.mark.parametrize("content", [b"", b"no such format", b"\x89\xff\x00"], ids=["empty", "text", "bytes"])
@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_something_else(
    reader: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("file.root", "file.parquet", "file.yaml", "file.json"):
        Path(name).write_bytes(content)
        with pytest.raises(JettaggerError) as caught:
            READERS[reader](name)
        assert "file." in str(caught.value)
    assert len(os.listdir()) == 4


@pytest.mark.parametrize("reader", READERS)
def test_folders_where_a_file_is_expected(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an empty folder where a folder with something in it is."""
    monkeypatch.chdir(tmp_path)
    Path("folder.yaml").mkdir()
    if reader == "jetclass2 files":
        assert not jetclass2.files(root="folder.yaml").found
        return
    with pytest.raises(JettaggerError, match=r"folder\.yaml"):
        READERS[reader]("folder.yaml")


EVENTS = make_events(3, seed=1)
JETS = ak.Array({"t_probHbb": np.linspace(0, 1, 300), "t_probQCDb": np.linspace(1, 0, 300), "pt": np.full(300, 300.0)})
SCORE = discriminants.Discriminant(discriminants.score("probHbb"), name="d")
SPEC = HistSpec("m", [AxisSpec("m", bins=(2, 0, 1))], categories=["dataset"])
WORKSPACE: dict[str, Any] = {
    "channels": [
        {
            "name": "SR",
            "samples": [
                {"name": "qcd", "data": [50.0], "modifiers": []},
                {"name": "X", "data": [5.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            ],
        }
    ],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "SR", "data": [50.0]}],
    "version": "1.0.0",
}


def attach(**arguments: Any) -> Any:
    return jt.load_tagger("tinyParT").attach(EVENTS, **arguments)


def derive(efficiencies: Mapping[str, float] = {"loose": 0.1}, **arguments: Any) -> Any:
    return discriminants.derive(SCORE, JETS, efficiencies, **arguments)


def limit(**arguments: Any) -> Any:
    return limits.limit(arguments.pop("workspace", WORKSPACE), signal="X", **arguments)


def fill(values: Any = (0.5,), **arguments: Any) -> Any:
    return SPEC.fill(SPEC.make(), {"m": values}, dataset="qcd", **arguments)


def group(*outputs: str, name: str = "g") -> Any:
    return heads.Rescorer(jt.load_bundle("inclParTToyV1"), groups={name: outputs})


def skim(*chunks: Mapping[str, Any], name: str = "s.parquet") -> Any:
    return jt.write_skim(name, chunks, "{}")


#: a call with one value that it cannot use, the error, and what the message says
VALUES: Sequence[tuple[Callable[[], Any], type[JettaggerError], str]] = [
    (lambda: jt.load_tagger("tinyParT", threads=10**9), ConfigError, "threads .* from 1 to 4096, got 1000000000"),
    (lambda: jt.load_tagger("tinyParT", names={"FatJet": ""}), ConfigError, "name of FatJet is empty"),
    (lambda: jt.load_tagger("tinyParT", min_pt_share=math.nan), ConfigError, "min_pt_share is nan, expected .* 0 to 1"),
    (lambda: attach(prefix=""), MismatchError, "prefix .*got ''"),
    (lambda: attach(columns=[]), ConfigError, "selects no output of 'tinyParT'"),
    (lambda: attach(columns=["probHbB"]), UnknownName, r"'probHbB' \(nearest: probHbb"),
    (lambda: attach(where=""), ConfigError, "where: the expression is empty"),
    (lambda: attach(where="pt"), ConfigError, "where: 'pt' is not a cut: it gives float"),
    (lambda: attach(where="ptt > 1"), UnknownName, r"'ptt' \(nearest: pt"),
    (lambda: next(jt.make_inputs(jt.load_bundle("tinyParT"), EVENTS, batch_size=0)), ConfigError, "batch_size: got 0"),
    (lambda: jt.check_columns(jt.load_bundle("tinyParT"), "FatJet_pt"), WrongType, "offer: got str 'FatJet_pt'"),
    (lambda: jt.check_columns(jt.load_bundle("tinyParT"), ak.Array([1])), InputFileError, "fields like FatJet, got 1"),
    (lambda: jt.discriminant("HbbvsQCD", zero=math.nan), ConfigError, "must be a finite number, got nan"),
    (lambda: jt.discriminant("HbbvsQDC"), UnknownName, r"'HbbvsQDC' \(nearest: HbbvsQCD"),
    (lambda: discriminants.score("prob Hbb") + 1, ConfigError, "'prob Hbb' is not the name of a score"),
    (lambda: discriminants.score("a") + "b", WrongType, "made of scores and numbers, got str 'b'"),  # type: ignore[operator]
    (lambda: derive({"loose": math.nan}), ConfigError, "'loose': .* between 0 and 1, got nan"),
    (lambda: derive(least=-1.0), ConfigError, "least: got -1.0, expected a number of at least 0"),
    (lambda: derive(weights=np.ones(3)), MismatchError, "3 weights for 300 jets"),
    (lambda: derive(weights="nowhere"), WrongType, "weight: got str, expected an array of numbers"),
    (lambda: derive(pt=[300, 200]), ConfigError, r"pt must be at least two rising numbers, got"),
    (lambda: fill(["a"]), WrongType, "'m': got columns of the types .*string, expected numbers"),
    (lambda: fill(weight=["a"]), WrongType, "'m': weight: got .*, expected an array of numbers"),
    (lambda: fill(weight=math.inf), InvalidValues, "weight of all events is inf, expected a finite number"),
    (
        lambda: save({"m": SPEC.make()}, "h.json", {"a": object()}),
        WrongType,
        "is not JSON serializable; expected hist",
    ),
    (lambda: AxisSpec("m", bins=(2, math.nan, 1)), ConfigError, r"axis 'm': bins must be .* got \(2, nan, 1\)"),
    (lambda: AxisSpec("m"), ConfigError, "axis 'm': give either bins .* or edges, got neither"),
    (skim, OutputError, r"s\.parquet: got no chunk to write"),
    (lambda: skim(name="s.root"), OutputError, r"s\.root: got no chunk to write"),
    (lambda: skim({}), OutputError, r"s\.parquet: chunk 0 has no columns"),
    (lambda: skim({"a": [1]}, {"b": [1]}), OutputError, r"chunks do not fit together: .*\['b'\]"),
    (lambda: Signal(["X"], math.nan), ConfigError, "mass .GeV.: got nan, expected a number of at least 0"),
    (lambda: Signal(["X"], 1000, 0), ConfigError, "cross_section .pb.: got 0, expected a number above 0"),
    (lambda: TemplateSpec({"qcd": ["a"]}, {"X": Signal([], 1)}), ConfigError, "signal 'X' has no data set"),
    (lambda: TemplateSpec({"qcd": []}, {}), ConfigError, "background 'qcd' has no data set"),
    (lambda: limit(mass=math.nan), ConfigError, "signal 'X', argument mass .GeV.: got nan"),
    (lambda: limit(cross_section=-1.0), ConfigError, "cross_section .pb.: got -1.0, expected a number above 0"),
    (lambda: limit(level=1.5), ConfigError, "level: got 1.5, expected a number between 0 and 1"),
    (lambda: limit(workspace={**WORKSPACE, "measurements": []}), InputFileError, "has no measurement"),
    (lambda: fits.fit({**WORKSPACE, "observations": []}), InputFileError, "pyhf refuses the workspace: "),
    (lambda: fits.fit({**WORKSPACE, "version": "7"}), InputFileError, "pyhf refuses the workspace: .*7/workspace"),
    (lambda: plots.shapes({}), InvalidValues, "no histogram to draw"),
    (lambda: plots.cutflow({"qcd": {}}), InvalidValues, r"a number for each cut, got \{'qcd': \{\}\}"),
    (lambda: plots.cutflow({"qcd": {"all": math.nan}}), InvalidValues, "got .*'all': nan"),
    (lambda: group(), ConfigError, "group 'g' has no outputs"),
    (lambda: group("probHbb", name="a b"), ConfigError, "must be letters, digits and _, got 'a b'"),
    (lambda: heads.fold_of([1.5], 2), WrongType, r"event: got an array of float64\[1\], expected whole numbers"),
    (lambda: heads.fold_of([1], 0), ConfigError, "folds: got 0, expected a number from 1 to"),
    (lambda: heads.fold_of([1], 2, -1), ConfigError, "salt: got -1"),
    (lambda: score_skim("s.parquet", [], "o.parquet"), InputFileError, r"no such file: s\.parquet"),
    (lambda: make_events(-1), ConfigError, "n_events: got -1, expected a number from 0"),
    (lambda: make_events(1, jets=math.nan), ConfigError, "jets: got nan"),
    (lambda: make_events(1, constituents=-1.0), ConfigError, "constituents: got -1.0"),
    (lambda: check(jt.load_bundle("tinyParT"), seed=-1), ConfigError, r"check\(\), argument seed: got -1"),
    (lambda: write_golden(jt.load_bundle("tinyParT"), "g.npz", jets=0), ConfigError, "jets: got 0, expected .* from 1"),
    (lambda: simulation.plan("tt", 10, pileup=math.nan), ConfigError, "pile-up interactions: got nan, .* 0 to 1000"),
    (lambda: jt.tag_files(["a.root"], "tinyParT", "o.parquet", memory=-1), ConfigError, "memory .bytes.: got -1"),
    (lambda: TaggingProcessor("tinyParT", output=""), OutputError, "output: got an empty path"),
]


@pytest.mark.parametrize(("call", "error", "message"), VALUES, ids=[message for _, _, message in VALUES])
def test_values_that_cannot_be(
    call: Callable[[], Any], error: type[JettaggerError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call()
    assert os.listdir() == [], "what is refused leaves nothing"


def test_a_constant_cut_of_a_job_holds_for_all_jets_or_is_refused(tmp_path: Path) -> None:
    source = write_pfnano(tmp_path / "nano.root", 3, seed=1)
    tagger = jt.load_tagger("tinyParT")
    with (
        pytest.raises(ConfigError, match="--where: '1' is not a cut: it gives 1, expected true or false"),
        pytest.warns(UserWarning, match="always true"),
    ):
        jt.tag_files([str(source)], tagger, str(tmp_path / "o.parquet"), where="1")
    with pytest.warns(UserWarning, match="always true"):
        result = jt.tag_files([str(source)], tagger, str(tmp_path / "o.parquet"), where="1 < 2", columns=["mass"])
    assert result.report.scored == int(ak.sum(tagger.attach(EVENTS).FatJet.tinyParT_mass > 0))


def test_a_batch_larger_than_all_jets_is_one_batch() -> None:
    batches = list(jt.make_inputs(jt.load_bundle("tinyParT"), EVENTS, batch_size=10**18))
    assert sum(len(batch.jets) for batch in batches) == sum(
        len(batch.jets) for batch in jt.make_inputs(jt.load_bundle("tinyParT"), EVENTS)
    )


def test_check_columns_takes_events() -> None:
    plan = jt.check_columns(jt.load_bundle("tinyParT"), EVENTS)
    assert plan.columns == jt.load_tagger("tinyParT").plan(EVENTS).columns


def test_a_line_of_a_cutflow_without_numbers_is_left_out() -> None:
    figure = plots.cutflow({"none": {"all": math.nan}, "qcd": {"all": 10.0}})
    assert figure.axes[0].get_ylim()[1] > 10
