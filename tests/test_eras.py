"""Eras of a search: luminosity, certified sections, triggers and cuts of samples, and what belongs together."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jettagger.processors.search import SearchWarning
from searches import columns, write
from test_filesets import BARE

from jettagger.cli import main
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.histograms import pick
from jettagger.plots.style import PlotLabel
from jettagger.search import make_templates, read_config, run_search, survey
from jettagger.search.eras import Era, check_eras, era_of_file

HEAD = """\
version: 1
eras:
  "2022": {luminosity: 8, energy: 13.6, certified: good22.json, triggers: [PFHT900, HLT_PFJet500]}
  2023: {luminosity: 27, triggers: PFHT1050}
"""
SAMPLES = """\
samples:
  tt22: {files: tt22.root, cross_section: 2, era: 2022, cut: "LHE.HT < 100"}
  X22: {files: X22.root, cross_section: 0.5, era: 2022}
  run22: {files: run22.root, data: true, era: "2022"}
  tt23: {files: tt23.root, cross_section: 2, era: 2023}
  X23: {files: X23.root, cross_section: 0.5, era: 2023}
  run23: {files: run23.root, data: true, era: 2023, cut: "not HLT.Muon"}
"""
TEMPLATES = """\
templates:
  histogram: mjj
  processes: {tt: [tt22, tt23]}
  signals: {X: {datasets: [X22, X23], mass: 1000}}
  data: [run22, run23]
"""
BODY = "blind: false\njets:" + BARE.partition("jets:")[2].partition("templates:")[0]
CONFIG = HEAD + SAMPLES + BODY + TEMPLATES


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two eras with triggers of their own, and certified sections of the first."""
    folder = tmp_path_factory.mktemp("eras")
    for number, (name, paths) in enumerate({"22": ["PFHT900", "PFJet500"], "23": ["PFHT1050"]}.items()):
        for kind, events in (("tt", 24), ("X", 10), ("run", 16)):
            rng = np.random.default_rng(number)
            made = columns(events, 10 * number + events, data=kind == "run")
            made |= {f"HLT_{path}": rng.random(events) < 0.7 for path in [*paths, "Muon"]}
            made |= {"run": np.full(events, 5, np.uint32), "luminosityBlock": np.arange(events, dtype=np.uint32) + 1}
            made |= {"LHE_HT": np.linspace(0, 200, events).astype(np.float32)}
            write(folder / f"{kind}{name}.root", made)
    (folder / "good22.json").write_text(json.dumps({"5": [[1, 9], [12, 14]]}))
    return folder


def config(world: Path, *changes: tuple[str, str], text: str = CONFIG) -> Any:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_config(text, name="search.yaml", folder=world)


@pytest.fixture(scope="module")
def both(world: Path) -> Any:
    pytest.importorskip("numba")  # for masks of luminosity sections
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        return run_search(config(world))


def alone(world: Path, era: str) -> Any:
    """One era as a search without eras: its trigger, sections and luminosity by hand."""
    lines = [line for line in SAMPLES.splitlines() if era in line or line == "samples:"]
    text = "\n".join(line.replace(f", era: 20{era}", "").replace(f', era: "20{era}"', "") for line in lines)
    text = text.replace("data: true", "data: true, golden_json: good22.json") if era == "22" else text
    trigger = {"22": "HLT.PFHT900 or HLT.PFJet500", "23": "HLT.PFHT1050"}[era]
    luminosity = {"22": 8, "23": 27}[era]
    head = f'version: 1\nluminosity: {luminosity}\nevent_selection: "{trigger}"\n'
    return run_search(read_config(f"{head}{text}\n{BODY}", name="search.yaml", folder=world))


# ---------------------------------------------------------------------------------------- sums


@pytest.mark.slow
def test_two_eras_are_the_sum_of_each_alone(world: Path, both: Any) -> None:
    made = make_templates(both)
    assert made is not None
    total: dict[str, Any] = {}
    for era in ("22", "23"):
        one = alone(world, era)
        for name, histogram in one.histograms.items():
            for dataset in one.datasets:
                for region in ("SR", "CR"):
                    where = {"dataset": dataset, "region": region, "variation": "nominal"}
                    expected, got = pick(histogram, **where), pick(both.histograms[name], **where)
                    np.testing.assert_array_equal(got.values(flow=True), expected.values(flow=True))
                    np.testing.assert_array_equal(got.variances(flow=True), expected.variances(flow=True))
                    if name == "mjj":
                        key = f"{dataset[:-2]} {region}"
                        total[key] = total.get(key, 0) + expected.values(flow=True)
        assert {name: both.cutflow[name] for name in one.cutflow} == one.cutflow
    assert all(values.any() for key, values in total.items() if key != "run SR")
    together = pick(both.histograms["mjj"], dataset=["tt22", "tt23"], region="CR", variation="nominal")
    np.testing.assert_allclose(together.values(flow=True), total["tt CR"], rtol=1e-12)


def test_events_pass_sections_triggers_and_cuts_of_their_own(world: Path, both: Any) -> None:
    """Against plain NumPy on the columns of the files."""
    seen = {name: flow["SR"]["events"]["events"] for name, flow in both.cutflow.items()}
    for name in seen:
        era, kind = name[-2:], name[:-2]
        made = {"tt": 24, "X": 10, "run": 16}[kind]
        rng = np.random.default_rng(int(era == "23"))
        bits = [rng.random(made) < 0.7 for _ in range({"22": 3, "23": 2}[era])]
        passed = np.logical_or.reduce(bits[:-1])
        if name == "run23":
            passed &= ~bits[-1]
        if name == "tt22":
            passed &= np.linspace(0, 200, made).astype(np.float32) < 100
        section = np.arange(made) + 1
        if name == "run22":
            passed &= ((section >= 1) & (section <= 9)) | ((section >= 12) & (section <= 14))
        assert seen[name] == passed.sum(), name
    scales = {name: item["scale"] * item["sum_of_weights"] for name, item in both.datasets.items()}
    assert scales["tt22"] == pytest.approx(1000 * 8 * 2)
    assert scales["X23"] == pytest.approx(1000 * 27 * 0.5)
    assert both.config.search.luminosity == 35
    assert both.config.templates.signals["X"].cross_section == 0.5


def test_the_dry_run_shows_the_eras(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "search.yaml").write_text(CONFIG)
    assert main(["search", str(world / "search.yaml"), "-o", str(world / "out"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.partition("eras\n")[2].splitlines()[2:4]]
    assert rows[0] == ["2022", "8", "13.6", "PFHT900,", "PFJet500", "tt22,", "X22,", "run22"]
    assert rows[1] == ["2023", "27", "-", "PFHT1050", "tt23,", "X23,", "run23"]


def test_eras_of_filesets(world: Path) -> None:
    sets = {"tt22": {"files": ["tt22.root"], "metadata": {"cross_section": 2, "era": "A", "year": 2022}}}
    (world / "sets.json").write_text(json.dumps(sets))
    made = config(world, ("files: tt22.root, cross_section: 2, era: 2022,", "files: sets.json,"))
    assert made.samples["tt22"].era == "2022"
    with pytest.raises(ConfigError, match=r"line 6: unknown era in the metadata of its fileset: 'A'"):
        config(
            world,
            ("files: tt22.root, cross_section: 2, era: 2022,", "files: sets.json,"),
            ('"2022": {lum', '"2021": {lum'),
        )


@pytest.mark.parametrize(
    ("energies", "label", "expected"),
    [
        (("13.6", "13.6"), "", "13.6"),
        (("13", "13.6"), "", "13 and 13.6"),
        (("13", ""), "", ""),
        (("13", "13.6"), ", energy: 13.6", "13.6"),
        (("", ""), ", energy: 14", "14"),
    ],
)
def test_the_label_of_plots_has_luminosity_and_energy_of_the_eras(
    energies: tuple[str, str], label: str, expected: str, world: Path
) -> None:
    of = [f"energy: {energy}, " if energy else "" for energy in energies]
    made = config(
        world,
        ("energy: 13.6, ", of[0]),
        ("luminosity: 27, ", f"luminosity: 27, {of[1]}"),
        ("blind:", f"label: {{experiment: CMS{label}}}\nblind:"),
    )
    assert made.label == PlotLabel("CMS", "", expected, 35.0)


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2023: {luminosity: 27, ", "2023: {", "search.yaml, line .*: the key 'luminosity' is missing"),
        ("luminosity: 27", "luminosity: 0", "'luminosity' must be above zero"),
        ("luminosity: 27", "luminosty: 27", r"unknown key 'luminosty' \(nearest: luminosity\)"),
        ("version: 1", "version: 1\nluminosity: 35", "line 2: give either 'luminosity' or 'eras'"),
        (HEAD, "version: 1\n", "the key 'luminosity' is missing"),
        (HEAD, "version: 1\nluminosity: 3\n", "sample 'tt22' is of the era '2022', but no eras are given"),
        ("0.5, era: 2022", "0.5", "sample 'X22' has no era: give one of 2022, 2023"),
        ("0.5, era: 2022", "0.5, era: 2222", r"line 7: unknown era in sample 'X22': '2222' \(nearest: 202"),
        ('"LHE.HT < 100"', '"HLT.PFHT1050"', "line 6: the cut of sample 'tt22' uses HLT.PFHT1050, a trigger of"),
        ("blind:", "event_selection: HLT.PFHT900\nblind:", "for sample 'tt23' uses HLT.PFHT900, a trigger of the era"),
        ("run23: {files: run23.root, data: true", "run23: {files: run23.root, cross_section: 1",
         "the era '2023' has simulation but no data, which 2022 has"),
        ("processes: {tt: [tt22, tt23]}", "processes: {tt: [tt22]}", "'tt' has no sample of the era '2023'"),
        ("datasets: [X22, X23]", "datasets: [X23]", "'X' has no sample of the era '2022'"),
        ("data: [run22, run23]", "data: [run22]", "'data' has no sample of the era '2023'"),
        ("X23.root, cross_section: 0.5", "X23.root, cross_section: 0.6", "cross sections of 'X' differ between eras"),
        ("blind:", "label: {energy: 13}\nblind:", "line 12: 'energy' is 13 TeV, but that of 'eras' is 13.6 TeV"),
        ("triggers: PFHT1050", 'triggers: "PF HT"', "line 4: .*triggers of an era"),
    ],
)  # fmt: skip
def test_bad_eras(old: str, new: str, message: str, world: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        config(world, (old, new))


def test_samples_of_one_era_with_the_triggers_of_another(world: Path) -> None:
    made = config(world, ("files: X22.root", "files: x.root"), ("X23.root", "X22.root"), ("x.root", "X23.root"))
    with pytest.raises(MismatchError, match=r"line 3: .*X23.root is in a sample of the era '2022', but lacks its trig"):
        survey(made, made.make_processor())
    made = config(world, ("PFHT1050", "PFHT1500"))
    with pytest.raises(ConfigError, match=r"unknown trigger in .*: 'HLT.PFHT1500' \(nearest: HLT.PFHT1050"):
        survey(made, made.make_processor())
    made = config(world, ("LHE.HT <", "LHE.Ht <"))
    with pytest.raises(ConfigError, match=r"line 6: unknown column in .*tt22.root: 'LHE.Ht' \(nearest: LHE.HT"):
        survey(made, made.make_processor())


def test_eras_as_values() -> None:
    with pytest.raises(ConfigError, match="must be a number above zero"):
        Era(0.0)
    with pytest.raises(UnknownName, match="unknown era"):
        check_eras({"a": Era(1.0)}, {"x": type("S", (), {"era": "b", "data": False, "cut": None})()}, None)
    eras = {"a": Era(1.0, triggers=("X",)), "b": Era(1.0, triggers=("Y",)), "c": Era(1.0)}
    assert [era_of_file(eras, "a", found) for found in (["HLT.X"], ["HLT.Y"], [])] == ["", "b", ""]
