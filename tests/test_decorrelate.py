"""The study of decorrelation: configuration, jets of either half, report, command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import yaml

import jettagger as jt
from benchmarks import decorrelation as benchmark
from jettagger.cli import main
from jettagger.config.yamlfile import yaml_text
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, MissingColumns, OutputError
from jettagger.heads import fold_of, load_head
from jettagger.provenance import read_provenance
from jettagger.studies import decorrelate, read_config, survey
from jettagger.studies.sculpting.jets import is_test, read_jets

MODEL = "inclParTToyV1"


def write_jets(path: Path, events: int, *, signal: bool = False, seed: int = 1, change: dict[str, Any] | None = None):
    """A skim in which the score of the background rises with the mass."""
    rng = np.random.default_rng([seed, signal])
    counts = rng.integers(1, 3, events)
    jets = int(counts.sum())
    mass = rng.normal(125, 12, jets) if signal else 30 + rng.exponential(70, jets)
    pt = 250 + rng.exponential(120, jets)
    logit = rng.normal(2.2 if signal else 0.0, 1, jets) + 0.012 * (mass - 100)
    hidden = rng.normal(0, 1, (jets, 3)) + np.stack([logit, mass / 40, 0 * mass], axis=1)
    probability = 1 / (1 + np.exp(-logit))
    columns = {
        "pt": pt,
        "msoftdrop": mass,
        "tau1": rng.uniform(0.5, 1, jets),
        "tau2": rng.uniform(0.1, 0.4, jets),
        f"{MODEL}_probHbb": probability,
        f"{MODEL}_probQCDothers": 1 - probability,
        f"{MODEL}_mass": mass,
        "truth": np.full(jets, int(signal)),
    } | {f"{MODEL}_hidNeurons{i:03d}": hidden[:, i] for i in range(3)}
    columns |= change or {}
    flat: dict[str, Any] = {
        "event": ak.Array(np.arange(events, dtype="u8") + 10_000 * seed),
        "genWeight": ak.Array(rng.uniform(0.5, 1.5, events)),
    }
    for name, values in columns.items():
        flat[f"FatJet_{name}"] = ak.unflatten(np.broadcast_to(values, jets).astype("f4"), counts)
    digest = jt.load_bundle(MODEL).digest
    jt.write_skim(path, [flat], json.dumps({"model": MODEL, "digest": digest}), force=True)
    return path


STUDY: dict[str, Any] = {
    "version": 1,
    "title": "toy",
    "discriminant": "probHbb / (probHbb + probQCDothers)",
    "background": {"files": ["qcd.parquet"], "weight": "genWeight", "select": "FatJet_msoftdrop < 250"},
    "signal": {"files": ["hbb.parquet"]},
    "protected": {"FatJet_msoftdrop": {"bins": [11, 30, 250]}, "FatJet_pt": {"edges": [250, 300, 400, 600, 1500]}},
    "maps": {
        "ddt": {"method": "thresholds", "efficiencies": [0.1, 0.05], "axes": {"mass": 6, "pt": 2}},
        "quantile": {"method": "quantiles", "axes": {"mass": 6, "pt": 2}},
        "line": {"method": "linear"},
    },
    "background_efficiencies": [0.1, 0.05],
    "replicas": 30,
}


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_jets(folder / "qcd.parquet", 4000)
    write_jets(folder / "hbb.parquet", 1500, signal=True)
    return folder


def write_study(folder: Path, name: str = "study.yaml", **changes: Any) -> Path:
    content = {key: value for key, value in (STUDY | changes).items() if value is not None}
    path = folder / name
    path.write_text(yaml_text(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def study(skims: Path) -> tuple[Path, Any]:
    output = skims / "out"
    return output, decorrelate(write_study(skims), output, plots=False)


@pytest.mark.slow
def test_the_report_says_what_maps_cost(study):
    output, result = study
    report = json.loads((output / "report.json").read_text())
    methods = {item["name"]: item for item in report["methods"]}
    assert list(methods) == ["raw", "ddt-eff10", "ddt-eff5", "quantile", "line"]
    sculpted = methods["raw"]["point"]["divergence"]
    assert sculpted["value"]["value"] > 5 * sculpted["floor"]["value"]
    assert methods["raw"]["retained"]["value"] == 1
    for name in ("ddt-eff10", "quantile"):
        flat = methods[name]["point"]["divergence"]
        assert flat["value"]["value"] < 0.4 * sculpted["value"]["value"]
        assert methods[name]["distance_correlation"]["FatJet_msoftdrop"] is not None
        assert 0.2 < methods[name]["retained"]["value"] < 1.5
    dependence = [methods[name]["distance_correlation"]["FatJet_msoftdrop"]["value"] for name in ("raw", "quantile")]
    assert dependence[1] < 0.4 * dependence[0]
    cuts = {cut["name"]: cut for cut in methods["quantile"]["cuts"]}
    assert list(cuts) == ["signal 50 %", "background 10 %", "background 5 %"]
    assert cuts["background 10 %"]["background"]["value"] == pytest.approx(0.1, abs=0.005)
    assert cuts["signal 50 %"]["signal"]["value"] == pytest.approx(0.5, abs=0.01)
    assert set(cuts["signal 50 %"]["profiles"]["background"]) == {"FatJet_msoftdrop", "FatJet_pt"}
    page = (output / "report.md").read_text()
    assert result.table in page
    assert read_provenance(output / "report.json")["step"] == "decorrelate"
    assert {path.name for path in (output / "maps").iterdir()} == {"ddt.json", "quantile.json", "line.json"}
    assert not list(output.parent.glob("*.resume"))


def test_the_page_is_made_of_the_numbers_of_reports(study, tmp_path):
    pytest.importorskip("mplhep", reason="extra plot")
    found = benchmark.summary(json.loads((study[0] / "report.json").read_text()))
    (tmp_path / "decorrelation.md").write_text(
        "a\n<!-- decorrelation: Hbb -->\nold\n<!-- end of decorrelation -->\nb\n"
    )
    benchmark.write_page({"Hbb": found}, tmp_path)
    page = (tmp_path / "decorrelation.md").read_text()
    assert "old" not in page
    assert page.startswith("a\n")
    assert page.endswith("b\n")
    assert page.count("| quantile |") == 1
    assert json.loads((tmp_path / "decorrelation.json").read_text())["Hbb"] == found
    winner = benchmark.best(found["methods"])
    assert winner["value"]["value"] <= benchmark.FLOORS * winner["floor"]["value"]
    assert f"`{winner['name']}` keeps most" in page
    with pytest.raises(SystemExit, match="no place for HWW4q"):
        benchmark.write_page({"HWW4q": found}, tmp_path)


def test_the_page_in_the_documentation_shows_its_own_numbers():
    folder = Path(benchmark.__file__).parent.parent / "docs"
    page = (folder / "decorrelation.md").read_text(encoding="utf-8")
    for found in json.loads((folder / "decorrelation.json").read_text(encoding="utf-8")).values():
        assert benchmark.table(found) in page


def test_the_benchmark_writes_configurations_that_are_valid(tmp_path):
    args = benchmark.arguments([str(tmp_path), str(tmp_path / "work"), "--disco", "1", "10", "--adversary", "30"])
    (tmp_path / "work").mkdir()
    for signal in benchmark.SIGNALS:
        config = read_config(benchmark.study_of(signal, tmp_path, args.work, args))
        assert [head.name for head in config.heads] == ["plain", "weights", "disco-1", "disco-10", "adversary"]
        of_heads = [name for name in config.maps if "disco" in name]
        assert of_heads == ["quantile-disco-1", "quantile-disco-10"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.8, "as wanted"), (0.76, "0.8 was wanted, within its"), (0.7, "0.8 was wanted, beyond its")]
)
def test_the_page_says_how_far_the_goal_is(value, text):
    assert benchmark.wanted(benchmark.Measured(value, 0.05)).startswith(text)


@pytest.mark.slow
def test_nothing_is_fitted_to_jets_that_are_compared(study, skims, tmp_path):
    """The score of the events of the comparison changes; the maps do not."""
    config = read_config(write_study(skims))
    jets = read_jets(config, survey(config).background)
    assert 0.4 < jets.test.mean() < 0.6
    events = ak.from_parquet(skims / "qcd.parquet")
    compared = is_test(events.event, 0.5)
    assert (compared == (fold_of(np.asarray(events.event), 10_000, 0) < 5000)).all()
    column = f"FatJet_{MODEL}_probHbb"
    changed = ak.where(compared, 0.3 * events[column], events[column])
    flat = {name: changed if name == column else events[name] for name in events.fields if name != "nFatJet"}
    digest = jt.load_bundle(MODEL).digest
    jt.write_skim(tmp_path / "qcd.parquet", [flat], json.dumps({"model": MODEL, "digest": digest}))
    write_jets(tmp_path / "hbb.parquet", 1500, signal=True)
    result = decorrelate(write_study(tmp_path), tmp_path / "out", plots=False)
    for name in ("ddt", "quantile", "line"):
        ours, theirs = (
            json.loads((folder / "maps" / f"{name}.json").read_text()) for folder in (tmp_path / "out", study[0])
        )
        assert ours["corrections"] == theirs["corrections"]
    assert result.results[0].point.rejection.value > 0


def test_jets_that_are_left_out_are_counted(skims, tmp_path):
    write_jets(tmp_path / "qcd.parquet", 2000, change={"tau1": np.nan})
    config = read_config(write_study(skims, "other.yaml", discriminant="1 - tau2 / tau1"))
    jets = read_jets(config, survey(config).background)
    assert set(jets.left_out) == {"not selected"}
    assert len(jets) + jets.left_out["not selected"] == ak.sum(ak.num(ak.from_parquet(skims / "qcd.parquet").FatJet_pt))
    write_jets(tmp_path / "hbb.parquet", 500, signal=True)
    with pytest.raises(InvalidValues, match=r"no jets that can be fitted to .*without a score"):
        decorrelate(write_study(tmp_path, discriminant="1 - tau2 / tau1"), tmp_path / "out", plots=False)
    assert not (tmp_path / "out").exists()


def test_chunks_do_not_matter(skims):
    small, large = (read_config(write_study(skims, f"{size}.yaml", memory=size)) for size in ("300kB", "1GB"))
    first, second = (read_jets(config, survey(config).background) for config in (small, large))
    assert len(first.rows) > len(second.rows)
    assert np.array_equal(first.scores["raw"], second.scores["raw"])
    assert np.array_equal(first.events, second.events)
    assert first.left_out == second.left_out


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"protect": {}}, r"unknown key 'protect' \(nearest: protected"),
        ({"discriminant": "HbbvsQDC"}, r"line \d+.*HbbvsQCD"),
        ({"protected": {"FatJet_msoftdrop": {"bins": [1, 30, 250]}}}, "at least 2"),
        ({"protected": {"FatJet_msoftdrop": {"edges": [3, 2, 1]}}}, "rising bin edges"),
        ({"protected": {"FatJet_msoftdrop": {}}}, "either 'bins' or 'edges'"),
        ({"maps": {"a": {"method": "threshold"}}}, "nearest: thresholds"),
        ({"maps": {"a": {"method": "linear", "axes": {"mass": 3}}}}, "'axes' belongs to maps of 'thresholds'"),
        ({"maps": {"a": {"method": "linear", "of": "plain"}}}, "unknown head: 'plain'"),
        ({"protected": {"FatJet_msoftdrop": {"bins": [5, 30, 250]}}}, "needs pt as the second protected column"),
        ({"maps": {}}, "nothing to compare"),
        ({"heads": {"a": "absent.yaml"}}, "absent.yaml"),
        ({"background_efficiencies": [1.5]}, "background_efficiencies|a number from"),
        ({"version": 2}, "version 2"),
    ],
)
def test_configurations_that_are_wrong_are_refused_with_their_line(skims, change, text):
    with pytest.raises(JettaggerError, match=text) as error:
        read_config(write_study(skims, "wrong.yaml", **change))
    assert "wrong.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"protected": {"FatJet_msoftdorp": {"bins": [5, 30, 250]}}}, MissingColumns, "FatJet_msoftdrop"),
        ({"discriminant": "probHcc / (probHcc + probQCDothers)"}, MissingColumns, "probHcc"),
        ({"background": {"files": "qcd.parquet", "select": "FatJet_pt > 1e9"}}, InvalidValues, "not selected"),
        ({"background": {"files": "qcd.parquet", "weight": "-genWeight"}}, InvalidValues, "sum of weights of -"),
        ({"background": {"files": "qcd.parquet", "weight": "genWeight / 0"}}, InvalidValues, "weight of event"),
        ({"background_efficiencies": [0.1, 0.0001]}, InvalidValues, r"it would take about \d{5,}"),
        (
            {"protected": {"FatJet_msoftdrop": {"bins": [5, 3000, 4000]}, "FatJet_pt": {"bins": [3, 0, 900]}}},
            InvalidValues,
            "none of",
        ),
    ],
)
def test_studies_that_cannot_be_made_are_refused_and_leave_nothing(skims, change, error, text):
    maps = {"quantile": {"method": "quantiles", "axes": {"mass": 4}}}
    with pytest.raises(error, match=text):
        decorrelate(write_study(skims, "bad.yaml", **({"maps": maps} | change)), skims / "bad", plots=False)
    assert not (skims / "bad").exists()


def test_a_column_that_is_constant_protects_nothing(skims, tmp_path):
    write_jets(tmp_path / "qcd.parquet", 500, change={"pt": 400.0})
    write_jets(tmp_path / "hbb.parquet", 500, signal=True)
    with pytest.raises(InvalidValues, match="FatJet_pt is 400 for all"):
        decorrelate(write_study(tmp_path), tmp_path / "out", plots=False)


def test_a_map_that_the_jets_do_not_allow_is_a_failure_in_the_report(skims, tmp_path):
    maps = {"fine": {"method": "quantiles", "axes": {"mass": 200}, "sparse": "refuse"}, "line": {"method": "linear"}}
    result = decorrelate(write_study(skims, "fine.yaml", maps=maps), tmp_path / "out", plots=False)
    assert list(result.failures) == ["fine"]
    assert "fine.yaml, line" in result.failures["fine"]
    assert "**failed**" in result.table
    assert [item.method.name for item in result.results] == ["raw", "line"]


@pytest.mark.slow
def test_the_command_plans_writes_and_replaces(skims, tmp_path, capsys):
    config = str(write_study(skims, "cli.yaml", maps={"line": {"method": "linear"}}, title=None))
    output = str(tmp_path / "out")
    assert main(["decorrelate", config, "-o", output, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "dry run" in shown
    assert "FatJet_msoftdrop" in shown
    assert not Path(output).exists()
    assert main(["decorrelate", config, "-o", output, "--no-plots"]) == 0
    assert "| line |" in capsys.readouterr().out
    assert main(["decorrelate", config, "-o", output, "--no-plots"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["decorrelate", config, "-o", output, "--no-plots", "--force"]) == 0
    assert main(["provenance", f"{output}/report.json"]) == 0
    assert main(["schema", "decorrelate"]) == 0
    assert "protected" in capsys.readouterr().out


def test_an_output_that_holds_an_input_is_refused(skims):
    with pytest.raises(OutputError):
        decorrelate(write_study(skims), skims, plots=False, force=True)
    assert (skims / "qcd.parquet").is_file()


@pytest.mark.slow
def test_a_study_draws_its_figures(skims, tmp_path):
    pytest.importorskip("mplhep", reason="extra plot")
    maps = {"quantile": {"method": "quantiles", "axes": {"mass": 6, "pt": 2}}}
    decorrelate(write_study(skims, "plots.yaml", maps=maps), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert {"comparison.png", "mass_signal_50.png", "efficiencies.png"} <= names
    assert all(path.stat().st_size > 5000 for path in (tmp_path / "out").glob("*.png"))


HEAD = {
    "version": 1,
    "name": "Hbb",
    "kind": "classes",
    "parent": MODEL,
    "files": ["qcd.parquet", "hbb.parquet"],
    "inputs": ["hidden"],
    "exclude": ["hidNeurons00[3-9]", "hidNeurons0[1-9]?", "hidNeurons1??"],
    "classes": {"Hbb": "FatJet_truth == 1", "QCD": "FatJet_truth == 0"},
    "training": {"epochs": 3, "batch": 256, "rate": 5e-3, "threads": 1},
    "split": {"test": 0.2},
}


def test_heads_are_trained_on_the_other_half_and_kept_when_interrupted(skims, tmp_path):
    pytest.importorskip("torch", reason="extra train")
    (skims / "head.yaml").write_text(yaml.safe_dump(HEAD), encoding="utf-8")
    changes = {
        "discriminant": "plain",
        "heads": {"plain": "head.yaml", "second": {"config": "head.yaml", "score": "probHbb"}},
        "maps": {"quantile": {"method": "quantiles", "axes": {"mass": 6, "pt": 2}}},
        "background": {"files": "qcd.parquet"},
    }
    path = write_study(skims, "heads.yaml", **changes)
    output = tmp_path / "out"

    def stop(line: str) -> None:
        if line == "head second":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decorrelate(path, output, plots=False, step=stop)
    assert not output.exists()
    assert len(list((tmp_path / "out.resume").iterdir())) == 1
    epochs: list[Any] = []
    result = decorrelate(path, output, plots=False, follow=epochs.append)
    assert len(epochs) == 3, "the first head was kept"
    assert not (tmp_path / "out.resume").exists()
    assert [item.method.name for item in result.results] == ["plain", "second", "quantile"]
    assert result.results[0].method.kind == "raw"
    assert result.results[2].method.of == "plain"
    head = load_head(output / "heads" / "plain")
    assert head.card.training["split"]["test"] == 0.5, "the comparison takes the head's own test events"
    assert head.card.metrics["jets"]["QCD"]["test"] == result.jets["background"]["test"]
    assert head.columns == ("Hbb_plain_probHbb", "Hbb_plain_probQCD")
    assert result.results[0].point.rejection.value > 5


def test_heads_with_folds_leave_no_events_for_a_comparison(skims):
    (skims / "folds.yaml").write_text(yaml.safe_dump(HEAD | {"split": {"folds": 3}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="folds"):
        read_config(write_study(skims, "wrong.yaml", heads={"a": "folds.yaml"}))


def test_a_head_has_its_own_name_and_the_errors_of_its_configuration(skims):
    (skims / "head.yaml").write_text(yaml.safe_dump(HEAD), encoding="utf-8")
    with pytest.raises(ConfigError, match="is the name of a head, too"):
        read_config(write_study(skims, "wrong.yaml", heads={"line": "head.yaml"}))
    with pytest.raises(ConfigError, match=r"wrong.yaml, line .*probHbc.*nearest: probHbb"):
        read_config(write_study(skims, "wrong.yaml", heads={"a": {"config": "head.yaml", "score": "probHbc"}}))
    (skims / "broken.yaml").write_text(yaml.safe_dump(HEAD | {"epochs": 3}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"wrong.yaml, line .*broken.yaml.*unknown key 'epochs'"):
        read_config(write_study(skims, "wrong.yaml", heads={"a": "broken.yaml"}))
