"""bundle.json: what its schema takes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jettagger.bundles.card import KINDS, BundleCard, read_card
from jettagger.bundles.places import PACKAGE
from jettagger.errors import BundleError

LEAST = {"schema_version": 1, "name": "toy"}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "bundle.json"
    content = {key: value for key, value in (LEAST | changes).items() if value is not ...}
    path.write_text(json.dumps(content))
    return path


def test_least(tmp_path: Path) -> None:
    card = read_card(write(tmp_path))
    assert (card.name, card.nonfinite, card.pad_mode, card.kinds, card.sha256) == (
        "toy",
        "cmssw",
        "constant",
        {},
        {},
    )


def test_all_keys(tmp_path: Path) -> None:
    content = {
        "version": "2",
        "title": "a toy",
        "prefix": "Toy2",
        "inputs": "data.yaml",
        "jets": "AK4",
        "output_names": ["probA", "m"],
        "kinds": {"prob": ["prob*"], "mass": ["m"]},
        "softmax": ["prob*"],
        "aliases": {"A": "probA"},
        "mass": {"unit": "factor", "scales": "mass * (1 - rawFactor)", "target": "generated mass"},
        "domain": {"pt": [200, 2500], "abseta": [0, 2.4], "msoftdrop": None},
        "nonfinite": "weaver",
        "pad_mode": "wrap",
        "selection": "pt > 1",
        "lists": {"pf_features": "sequence"},
        "rounding": {"jets": 24, "median": 0.001, "q99": 0.02, "largest": 0.03},
        "licence": "CC0",
        "citation": "us",
        "source": "here",
        "get_weights": "ask",
        "sha256": {"model.onnx": "0" * 64},
        "golden": "golden.npz",
        "notes": "none",
    }
    card = read_card(write(tmp_path, **content))
    assert set(content) | {"schema_version", "name"} == set(BundleCard.model_fields)
    assert card.domain.pt == (200, 2500)
    assert card.mass is not None
    assert card.mass.scales == "mass * (1 - rawFactor)"
    assert read_card(write(tmp_path, **card.model_dump(mode="json"))) == card


@pytest.mark.parametrize("version", [0, 2, "1", None, ...])
def test_schema_version(tmp_path: Path, version: Any) -> None:
    path = write(tmp_path, schema_version=version)
    shown = None if version is ... else version
    with pytest.raises(BundleError, match=f"schema_version is {shown!r}, this version of jettagger reads 1") as info:
        read_card(path)
    assert str(path) in str(info.value)


def test_unknown_keys_are_all_listed(tmp_path: Path) -> None:
    path = write(tmp_path, licens="x", softmx=[], mass={"unit": "GeV", "scale": "x"}, domain={"eta": [0, 1]})
    with pytest.raises(BundleError) as info:
        read_card(path)
    text = str(info.value)
    assert "unknown key 'licens' (nearest: licence" in text
    assert "unknown key 'softmx' (nearest: softmax" in text
    assert "unknown key 'mass.scale' (nearest: scales" in text
    assert "unknown key 'domain.eta' (nearest: abseta" in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ...}, "the key 'name' is missing"),
        ({"name": ""}, "'name'"),
        ({"name": "a/b"}, "'name'"),
        ({"name": ".hidden"}, "'name'"),
        ({"prefix": "2prong"}, "'prefix'"),
        ({"prefix": "a-b"}, "'prefix'"),
        ({"kinds": {"probability": ["a"]}}, "'kinds.probability': unknown name 'probability' (nearest: prob), "),
        ({"kinds": {"prob": "a"}}, "'kinds.prob' must be a list, got 'a'"),
        ({"kinds": {"prob": [""]}}, "'kinds.prob.0'"),
        ({"softmax": "prob*"}, "'softmax' must be a list, got 'prob*'"),
        ({"output_names": {"a": 1}}, "'output_names' must be a list, got a mapping"),
        ({"mass": {"unit": "MeV"}}, "line 1: 'mass.unit': unknown unit 'MeV' (nearest: GeV), expected GeV, factor"),
        ({"mass": {}}, "the key 'mass.unit' is missing"),
        ({"domain": {"pt": [500, 200]}}, "'domain.pt': expected [from, to] with from below to, got [500.0, 200.0]"),
        ({"domain": {"pt": [200]}}, "'domain.pt.1' is missing"),
        ({"nonfinite": "zero"}, "'nonfinite'"),
        ({"pad_mode": "reflect"}, "'pad_mode'"),
        ({"sha256": {"model.onnx": 5}}, "'sha256.model.onnx' must be text, got 5"),
        ({"golden": "../golden.npz"}, "'golden'"),
        ({"golden": "/tmp/golden.npz"}, "'golden'"),
        ({"golden": "golden.pkl"}, "'golden'"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match="is not a valid bundle description") as info:
        read_card(write(tmp_path, **changes))
    assert said in str(info.value)


def test_cards_are_frozen() -> None:
    card = BundleCard(schema_version=1, name="toy")
    with pytest.raises(ValueError, match="frozen"):
        card.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("path", sorted((PACKAGE / "known").glob("*.json")), ids=lambda path: path.stem)
def test_known_networks(path: Path) -> None:
    """What the package says of public networks is complete and found by a checksum."""
    card = read_card(path)
    assert card.sha256
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in card.sha256.values())
    assert card.title
    assert card.prefix
    assert card.source
    assert card.licence
    assert set(card.kinds) <= set(KINDS)
