"""Options files of SPANet: every key, defaults, spellings, and what is refused."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from jettagger.assignment import AssignmentOptions, OptionsWarning, read_options
from jettagger.errors import ConfigError


def written(folder: Path, **content: Any) -> Path:
    path = folder / "options.json"
    path.write_text(json.dumps(content, indent=1))
    return path


def refused(folder: Path, **content: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_options(written(folder, **content))
    return str(caught.value)


def test_defaults_are_those_of_the_original(tmp_path: Path) -> None:
    options = read_options(written(tmp_path))
    assert options == AssignmentOptions()
    assert (options.hidden_dim, options.num_embedding_layers, options.batch_size) == (128, 10, 4096)
    assert (options.linear_block_type, options.transformer_type, options.normalization) == ("GRU", "Gated", "LayerNorm")
    assert (options.combine_pair_loss, options.learning_rate, options.epochs) == ("min", 1e-3, 100)
    own = options.jettagger
    assert (own.pair_features, own.class_weights) == ((), {})
    assert (own.restrict_to_collections, own.event_weights) == (False, False)
    assert own.total_loss == "mean"
    assert own.classification_focal_gamma == 0


@pytest.mark.data
@pytest.mark.parametrize("name", ["ttH_options.json", "ttbar_options.json", "examples/ttH_options.json"])
def test_files_of_the_original_are_read_with_unused_keys_named(shared: Path, name: str) -> None:
    with pytest.warns(OptionsWarning, match=r"no use here: num_dataloader_workers, transformer_dim"):
        options = read_options(shared / "spanet" / name)
    assert options.linear_activation == "GELU"  # "gelu" there
    assert options.skip_connections is True  # 1 there
    assert options.hidden_dim in (32, 64)


def test_words_are_read_as_the_original_reads_them(tmp_path: Path) -> None:
    options = read_options(written(tmp_path, transformer_type="norm_first", normalization="masked batch norm"))
    assert (options.transformer_type, options.normalization) == ("NormFirst", "MaskedBatchNorm")
    assert read_options(written(tmp_path, num_encoder_layers=3.0)).num_encoder_layers == 3


def test_variables_of_the_environment_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", "/data/events")
    monkeypatch.delenv("EVENTZ", raising=False)
    options = read_options(written(tmp_path, training_file="${EVENTS}/tt.h5", validation_file="$EVENTS/v.h5"))
    assert (options.training_file, options.validation_file) == ("/data/events/tt.h5", "/data/events/v.h5")
    assert "the environment variable EVENTZ is not set (nearest: EVENTS" in refused(tmp_path, training_file="$EVENTZ/a")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"hiden_dim": 32}, r"line 2: unknown key 'hiden_dim' (nearest: hidden_dim)"),
        ({"split_symmetric_attention": False}, "attention that is not split is refused: the original's does not run"),
        ({"linear_activation": "GLU"}, "unknown linear_activation 'GLU' (nearest: GELU"),
        ({"transformer_type": "Transformer"}, "expected Gated, GTrXL, Standard, NormFirst, None"),
        ({"hidden_dim": 0}, "'hidden_dim' must be a whole number from 1 to 65536, got 0"),
        ({"hidden_dim": 30}, "hidden_dim is 30, which num_attention_heads = 4 does not divide"),
        ({"learning_rate": "fast"}, "'learning_rate' must be a number of at least 0, got 'fast'"),
        ({"skip_connections": 2}, "'skip_connections' must be true or false, got 2"),
        ({"dropout": 1.0}, "'dropout' must be a number from 0 to 0.99"),
        ({"jettagger": {"pair_features": ["ln_k"]}}, "'ln_k' (nearest: ln_kt"),
        ({"jettagger": {"class_weight": {}}}, "unknown key 'jettagger.class_weight' (nearest: class_weights"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_named(tmp_path: Path, content: dict[str, Any], text: str) -> None:
    assert text in refused(tmp_path, **content)


def test_options_of_ours_are_in_a_group(tmp_path: Path) -> None:
    own = {"pair_features": ["ln_kt"], "class_weights": {"EVENT/signal": [1, 2]}, "total_loss": "sum"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = read_options(written(tmp_path, jettagger=own))
    assert options.jettagger.pair_features == ("ln_kt",)
    assert options.jettagger.class_weights == {"EVENT/signal": (1.0, 2.0)}
    assert options.jettagger.total_loss == "sum"
