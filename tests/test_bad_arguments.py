"""What is too long, too large, too deep, or meant for a terminal: one error, no traceback."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettagger.bundles.preprocess import read_groups
from jettagger.cli import COMMANDS, TRACEBACK, main
from jettagger.config.sizes import parse_size
from jettagger.config.yamlfile import MOST_ENTRIES, read_yaml
from jettagger.errors import LONGEST, BundleError, ConfigError
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.histograms.specification import MAX_BYTES
from jettagger.search.config import read_config

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

#: names that no system takes, or that a terminal would obey
NAMES = ["n" * 5000, "x" * 300 + "/y", "\x1b]0;owned\x07\x1b[2J.root", "a\nb.root", "~nobody-is-called-so/x", ""]

#: command lines of each verb with one name of an input
LINES = [
    ["models", "show", "NAME"],
    ["models", "check", "NAME"],
    ["models", "add", "NAME"],
    ["models", "add", "tinyParT", "--name", "NAME"],
    ["models", "remove", "NAME", "--yes"],
    ["tag", "NAME", "--model", "tinyParT", "--output", "OUT"],
    ["tag", "absent.root", "--model", "NAME", "--output", "OUT"],
    ["tag", "absent.root", "--model", "tinyParT", "--output", "NAME"],
    ["convert", "NAME", "--output", "OUT"],
    ["show", "NAME", "--output", "OUT"],
    ["show", "image", "NAME", "--output", "OUT"],
    ["show", "image", "absent.root", "--versus", "NAME", "--output", "OUT"],
    ["show", "image", "absent.root", "--settings", "NAME", "--output", "OUT"],
    ["explain", "NAME", "--model", "tinyParT", "--discriminant", "mass", "--output", "OUT"],
    ["explain", "absent.root", "--model", "NAME", "--discriminant", "mass", "--output", "OUT"],
    ["explain", "absent.root", "--model", "tinyParT", "--discriminant", "NAME", "--output", "OUT"],
    ["explain", "absent.root", "--model", "tinyParT", "--discriminant", "mass", "--output", "NAME"],
    ["discriminants", "show", "NAME"],
    ["datasets", "NAME", "--output", "OUT.json"],
    ["datasets", "x=NAME", "--output", "OUT.json"],
    ["datasets", "absent.root", "--metadata", "NAME", "--output", "OUT.json"],
    ["datasets", "absent.root", "--output", "NAME"],
    ["tag", "absent.root", "--model", "tinyParT", "--skims", "NAME", "--output", "OUT/"],
    ["tag", "absent.root", "--model", "tinyParT", "--scheduler", "NAME", "--output", "OUT/"],
    ["search", "NAME", "--output", "OUT"],
    ["search", "absent.yaml", "--output", "OUT", "--part", "NAME"],
    ["search", "absent.yaml", "--output", "OUT", "--executor", "slurm", "--walltime", "NAME"],
    ["search", "merge", "NAME", "--output", "OUT"],
    ["finetune", "NAME"],
    ["calibrate", "NAME", "--output", "OUT"],
    ["jec", "NAME"],
    ["jec", "train", "NAME", "--output", "OUT"],
    ["jec", "predict", "NAME", "absent.root", "--output", "OUT"],
    ["jec", "import", "NAME", "absent.yaml", "--output", "OUT"],
    ["assignment", "NAME"],
    ["assignment", "inputs", "NAME", "--event", "absent.yaml", "--output", "OUT.h5"],
    ["assignment", "inputs", "absent.root", "--event", "NAME", "--output", "OUT.h5"],
    ["assignment", "inputs", "absent.root", "--event", "absent.yaml", "--inputs", "NAME", "--output", "OUT.h5"],
    ["assignment", "check", "NAME", "--event", "absent.yaml"],
    ["assignment", "check", "absent.h5", "--event", "NAME"],
    ["assignment", "concatenate", "NAME", "absent.h5", "--output", "OUT"],
    ["assignment", "convert", "NAME", "--event", "absent.yaml", "--output", "OUT"],
    ["assignment", "convert", "absent.h5", "--event", "NAME", "--output", "OUT"],
    ["assignment", "import", "NAME", "--event", "absent.yaml", "--output", "OUT"],
    ["assignment", "import", "absent.onnx", "--event", "NAME", "--output", "OUT"],
    ["assignment", "evaluate", "NAME", "absent.h5"],
    ["assignment", "evaluate", "absent", "NAME"],
    ["assignment", "evaluate", "absent", "absent.h5", "--output", "NAME"],
    ["assignment", "predict", "absent.root", "--model", "NAME", "--output", "OUT"],
    ["assignment", "import-weights", "NAME", "--event", "absent.yaml", "--options", "absent.json", "--output", "OUT"],
    ["assignment", "import-weights", "absent.npz", "--event", "NAME", "--options", "absent.json", "--output", "OUT"],
    ["assignment", "import-weights", "absent.npz", "--event", "absent.yaml", "--options", "NAME", "--output", "OUT"],
    ["assignment", "export", "NAME", "--output", "OUT"],
    ["assignment", "export", "absent.pt", "--output", "NAME"],
    ["assignment", "tune", "-of", "NAME", "--output", "OUT"],
    ["assignment", "tune", "-s", "NAME", "--output", "OUT"],
    ["assignment", "tune", "-ef", "absent.yaml", "-tf", "NAME", "--output", "OUT"],
    ["assignment", "tune", "-ef", "absent.yaml", "-tf", "absent.h5", "--study", "NAME", "--output", "OUT"],
    ["assignment", "tune", "-ef", "absent.yaml", "-tf", "absent.h5", "--output", "NAME"],
    ["assignment", "train", "-of", "NAME", "--output", "OUT"],
    ["assignment", "train", "-ef", "NAME", "-tf", "absent.h5", "--output", "OUT"],
    ["assignment", "train", "-ef", "absent.yaml", "-tf", "NAME", "--output", "OUT"],
    ["assignment", "train", "-ef", "absent.yaml", "-tf", "absent.h5", "-cf", "NAME", "--output", "OUT"],
    ["assignment", "train", "-ef", "absent.yaml", "-tf", "absent.h5", "--output", "NAME"],
    ["schema", "NAME"],
    ["completion", "NAME"],
    ["fit", "NAME", "--output", "OUT"],
    ["limit", "NAME", "--output", "OUT"],
    ["provenance", "NAME"],
    ["decorrelate", "apply", "NAME", "absent.parquet", "--output", "OUT"],
    ["decorrelate", "apply", "absent.json", "NAME", "--output", "OUT"],
]


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command line that must be refused says."""
    status = main(line)
    out, err = capsys.readouterr()
    assert status == 2
    assert "Traceback" not in err
    assert not CONTROL.search(out + err)
    assert err.count("error: ") >= 1
    assert len(err) < 3 * LONGEST
    return err


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("line", LINES, ids=lambda line: "-".join(line[:3]).lower())
def test_names(
    line: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if line[0] == "discriminants" and name.endswith("/y"):
        pytest.skip("a quotient of two columns")
    if "--output" in line and line[line.index("--output") + 1] == "NAME" and len(name) < 200:
        pytest.skip("a name that can be written")
    said = refused([{"NAME": name, "OUT": str(tmp_path / "out")}.get(item, item) for item in line], capsys)
    assert "this is a bug" not in said
    assert os.listdir(tmp_path) == []


def test_all_verbs_that_take_files_are_tried() -> None:
    tried = {" ".join(line[: verb.count(" ") + 1]) for line in LINES for verb in COMMANDS}
    assert set(COMMANDS) - tried == {"simulate"}


SIZES = ["99999999999999999999", "9" * 400, "1e999", "nan", "-1", "0", "inf", "9000000TiB", "x" * 10**6]


@pytest.mark.parametrize("size", SIZES, ids=range(len(SIZES)))
def test_sizes(size: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ["tag", "absent.root", "--model", "tinyParT", "--output", str(tmp_path / "o.root"), f"--memory={size}"]
    assert "expected a" in refused(line, capsys)
    with pytest.raises(ConfigError) as caught:
        parse_size(size)
    assert len(str(caught.value)) < 200


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=30) | st.from_regex(r"[0-9]{1,400}(\.[0-9]+)? ?[kMGT]?i?B?", fullmatch=True))
def test_a_size_is_a_positive_number_or_an_error(text: str) -> None:
    try:
        size = parse_size(text)
    except ConfigError:
        return
    assert 1 <= size < 2**63


NUMBERS = [
    ["models", "check", "tinyParT", "--seed"],
    ["tag", "absent.root", "--model", "tinyParT", "--output", "o.root", "--workers"],
    ["tag", "absent.root", "--model", "tinyParT", "--output", "o.root", "--threads"],
    ["tag", "absent.root", "--model", "tinyParT", "--output", "o.root", "--min-pt-share"],
    ["search", "absent.yaml", "--output", "o", "--workers"],
    ["search", "absent.yaml", "--output", "o", "--retries"],
    ["simulate", "--output", "o.root", "--events"],
    ["simulate", "--output", "o.root", "--workers"],
    ["simulate", "--output", "o.root", "--seed"],
    ["simulate", "--output", "o.root", "--pileup"],
]


@pytest.mark.parametrize("number", ["99999999999999999999999", "9" * 5000, "nan", "1e999", "-9999999999999"])
@pytest.mark.parametrize("line", NUMBERS, ids=lambda line: line[0] + line[-1])
def test_numbers(
    line: list[str],
    number: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused([*line[:-1], f"{line[-1]}={number}"], capsys)
    if not math.isfinite(float(number)):
        assert f" {line[-1]}: expected a" in said
    assert os.listdir(tmp_path) == []


def test_a_negative_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "jettagger models check: --seed: expected a whole number from 0 to" in refused(
        ["models", "check", "tinyParT", "--seed", "-1"], capsys
    )


def test_what_was_not_foreseen_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> int:
        raise KeyError("a\n" + "x" * 10**6)

    monkeypatch.setattr("jettagger.cli.models.run", fails)
    said = refused(["models", "list"], capsys)
    assert said.count("\n") == 1
    assert f"{TRACEBACK}=1 shows where" in said
    monkeypatch.setenv(TRACEBACK, "1")
    assert main(["models", "list"]) == 2
    assert "Traceback" in capsys.readouterr().err


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)

#: YAML that is none, or that no configuration is
YAML = {
    "laughs": (LAUGHS, f"more than {MOST_ENTRIES} entries"),
    "loop": ("a: &a [*a]", "nested too deeply"),
    "deep": ("a: " + "[" * 5000, "nested too deeply"),
    "digits": ("a: " + "9" * 5000, "line 1.*digits"),
    "base of 60": ("a: 1" + ":59" * 100_000, "line 1.*digits"),
    "deep map": ("\n".join(" " * n + "a:" for n in range(150)), "line 101.*nested too deeply"),
    "entries": ("a: [" + "1, " * 2_000_000 + "]", f"more than {MOST_ENTRIES} entries"),
    "date": ("a: 2024-99-99", "not valid YAML"),
    "twice": ("a: 1\na: 2", "appears twice"),
    "object": ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
    "control": ("a: \x1b[2J", "not valid YAML"),
    "megabytes": ("a: " + "x" * 11_000_000, "characters"),
    "list as key": ("? [a, b]\n: 1", "not valid YAML|must be text"),
}


@pytest.mark.parametrize("kind", YAML)
def test_yaml(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = YAML[kind]
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(text, name="search.yaml")
    assert str(caught.value).startswith("search.yaml")
    path = tmp_path / "search.yaml"
    path.write_text(text)
    refused(["search", str(path), "--output", str(tmp_path / "out")], capsys)


def test_parts_that_are_used_twice_are_fine() -> None:
    assert read_yaml("a: &a [1, 2]\nb: *a\nc: *a", name="x").data["c"] == [1, 2]


@pytest.mark.parametrize("length", [100_001, 10**12, 10**400, 10**5000], ids=range(4))
def test_lengths_of_lists_that_no_jet_has(length: int) -> None:
    plain = {"median": 0, "norm_factor": 1, "replace_inf_value": 0, "lower_bound": -1, "upper_bound": 1, "pad": 0}
    group = {"var_length": length, "var_names": ["pfcand_mask"], "var_infos": {"pfcand_mask": plain}}
    with pytest.raises(BundleError, match="lengths must be at most 100000, got") as caught:
        read_groups({"input_names": ["m"], "m": group}, "x.json")
    assert len(str(caught.value)) < 200


class TestLargeHistograms:
    def test_25_million_bins_are_refused_with_what_they_would_take(self) -> None:
        with pytest.raises(ConfigError) as caught:
            HistSpec("plane", [AxisSpec(name, bins=(5000, 0, 1)) for name in "xy"])
        size = 5002**2 * 16 * 10
        assert f"would take {size / 1e9:.3g} GB: {5002**2} bins" in str(caught.value)
        assert "at most 1 GB" in str(caught.value)

    @pytest.mark.parametrize("bins", [10**9, 10**18, 10**400, 10**5000], ids=range(4))
    def test_any_number_of_bins(self, bins: int) -> None:
        with pytest.raises(ConfigError, match="would take"):
            HistSpec("x", [AxisSpec("x", bins=(bins, 0, 1))])

    def test_the_limit_is_a_parameter(self) -> None:
        axes = [AxisSpec("x", bins=(998, 0, 1))]
        fits = 1000 * 16 * 10
        assert HistSpec("x", axes, max_bytes=fits).n_bins == 1000
        with pytest.raises(ConfigError, match="160 kB: 1000 bins"):
            HistSpec("x", axes, max_bytes=fits - 1)
        record = {"bins": [10, 0, 1], "max_size": "2 GB"}
        assert HistSpec.from_dict(record, "x").max_bytes == 2_000_000_000 != MAX_BYTES

    def test_what_it_takes_is_what_hist_takes(self) -> None:
        spec = HistSpec("x", [AxisSpec("x", bins=(7, 0, 1)), AxisSpec("y", edges=(0, 1, 3))], categories=["dataset"])
        histogram = spec.make()
        for name in "ab":
            spec.fill(histogram, {"x": [0.5], "y": [0.5]}, dataset=name)
        assert histogram.view(flow=True).nbytes == 2 * spec.n_bins * 16

    def test_categories_count_before_they_are_filled(self) -> None:
        spec = HistSpec("x", [AxisSpec("x", bins=(998, 0, 1))], categories=["dataset"], max_bytes=11 * 16_000)
        histogram = spec.make()
        for number in range(11):
            spec.fill(histogram, {"x": [0.5]}, dataset=f"d{number}")
        with pytest.raises(ConfigError, match="times 12 combinations of dataset"):
            spec.fill(histogram, {"x": [0.5]}, dataset="more")
        assert len(histogram.axes["dataset"]) == 11
        spec.fill(histogram, {"x": [0.5]}, dataset="d0")

    def test_samples_regions_and_variations_of_a_search(self) -> None:
        content: dict[str, Any] = {
            "version": 1,
            "luminosity": 138,
            "samples": {f"s{n}": {"files": ["x.root"], "cross_section": 1} for n in range(40)},
            "regions": {f"r{n}": {"kind": "signal"} for n in range(5)},
            "histograms": {"mjj": {"bins": [400_000, 500, 3000], "unit": "GeV"}},
        }
        size = 400_002 * 16 * 40 * 5
        with pytest.raises(ConfigError, match=rf"search.yaml.*would take {size / 1e9:.3g} GB.* times 200 combinations"):
            read_config(json.dumps(content), name="search.yaml")
        content["histograms"]["mjj"]["max_size"] = "2 GB"
        assert read_config(json.dumps(content), name="search.yaml").samples
