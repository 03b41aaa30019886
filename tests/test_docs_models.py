"""``docs/models.md``: its tables are those of the declarations and of the measurement, its example works."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from agreement import Agreement
from pages import blocks

import jettagger as jt
from benchmarks import rounding
from benchmarks.cms_networks import NETWORKS, differences, filled, row
from jettagger.bundles.declaration import DeclaredGroup, DeclaredOrder, DeclaredVariable, families

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_of_what_models_take_is_that_of_their_declarations() -> None:
    assert filled(TEXT, None) == TEXT


def test_inputs_cost_less_than_a_quarter_of_the_network() -> None:
    (share,) = re.findall(r"Inputs of `deepjet-v03` cost (\d+)% of the CPU time", TEXT)
    assert 0 < int(share) < 25


def test_all_families_and_keys_are_named() -> None:
    (listed,) = re.findall(r"Families: (.+?)\. Their", TEXT, re.DOTALL)
    assert sorted(re.findall(r"`([^`]+)`", listed)) == sorted(families())
    keys = re.findall(r"^\| `(\w+)` \| .+ \| [^|]+ \|$", TEXT.partition("keys: inputs groups 0 -->")[2], re.MULTILINE)
    assert keys == [name for model in (DeclaredGroup, DeclaredOrder, DeclaredVariable) for name in model.model_fields]


#: largest differences from the stored scores
BOUNDS = {
    "particlenet-ak8-md": 0.05,
    "deepdoublex-v02-bvl": 0.02,
    "deepdoublex-v02-cvb": 0.06,
    "deepak8-md-v02": 0.1,
    "deepjet-v03": 0.08,
}


@pytest.mark.data
@pytest.mark.parametrize("name", NETWORKS)
def test_the_differences_are_those_that_are_measured(name: str, shared: Path, agrees: Agreement) -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |")]
    for line, found in zip(lines, differences(shared, name), strict=True):
        column, made, expected = found
        agrees(f"cms_stored_scores/{name}", made, expected, sample=len(made), atol=BOUNDS[name], part=column)
        said, measured = (text.strip("| ").split(" | ") for text in (line, row(name, *found)))
        assert said[:3] == measured[:3]
        # one digit may be rounded the other way elsewhere
        assert [float(value) for value in said[3:6]] == pytest.approx(
            [float(value) for value in measured[3:6]], rel=0.55
        )
        assert float(said[6]) == pytest.approx(float(measured[6]), abs=3e-4)


ROUNDING = {
    line.split(" | ")[0].removeprefix("| "): line.strip("| ").split(" | ")[1:]
    for line in rounding.pattern("measured").findall(TEXT)[0][1].splitlines()[2:]
}


@pytest.mark.parametrize("name", rounding.FILES)
def test_cards_say_how_well_scores_are_defined_as_the_page_does(name: str) -> None:
    said = json.loads(rounding.card_path(name).read_text())["rounding"]
    jets, *numbers = ROUNDING[name]
    assert said["jets"] == int(jets)
    largest = max(float(numbers[place]) for place in (2, 5) if len(numbers) > place and numbers[place].strip())
    assert said["largest"] == pytest.approx(largest, rel=0.3)  # the page has one digit
    assert said["median"] <= said["q99"] <= said["largest"]


@pytest.mark.data
def test_how_well_scores_are_defined_is_measured(shared: Path) -> None:
    """Last places differ between processors, sizes do not."""
    if not (shared / "models" / rounding.FILES["deepdoublex-v02-cvb"]).is_file():
        pytest.skip("no network")
    found = rounding.figures(rounding.response(shared, "deepdoublex-v02-cvb"))
    said = json.loads(rounding.card_path("deepdoublex-v02-cvb").read_text())["rounding"]
    assert found["jets"] == said["jets"]
    for key in ("median", "q99", "largest"):
        assert said[key] / 4 < found[key] < 4 * said[key]


def test_numbers_are_written_into_a_card_once() -> None:
    card = '{\n  "name": "x",\n  "sha256": {}\n}\n'
    once = rounding.with_rounding(card, {"jets": 3, "median": 0.5})
    assert json.loads(once) == {"name": "x", "rounding": {"jets": 3, "median": 0.5}, "sha256": {}}
    assert json.loads(rounding.with_rounding(once, {"jets": 4}))["rounding"] == {"jets": 4}


@pytest.mark.data
def test_the_example_of_a_network_of_a_family_loads(shared: Path, tmp_path: Path) -> None:
    (card,) = blocks("docs/models.md", "json")
    shutil.copy(shared / "models/deepdoublex-v02/BvL.onnx", tmp_path / "model.onnx")
    (tmp_path / "bundle.json").write_text(card)
    bundle = jt.load_bundle(tmp_path)
    assert bundle.name == json.loads(card)["name"]
    assert [output.kind for output in bundle.outputs] == ["prob", "prob"]
