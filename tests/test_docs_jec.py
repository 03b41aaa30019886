"""The page on calibrations of jets: its Python blocks run; its lines for TensorFlow give weights that are read."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from jec_events import jec_columns, jec_events, write_calibration
from jecs import SHARED, reference, reference_model
from pages import blocks

from jettagger.files.root import write_tree
from jettagger.jec.importing import import_weights

PAGE = "docs/jec.md"
BLOCKS = [block for block in blocks(PAGE, "python") if "weights.npz" not in block]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # coffea's, about missing cross-references
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_calibration(tmp_path / "calibration", "AK4")
    write_tree(tmp_path / "qcd.root", [jec_columns(20, seed=1)])
    names: dict[str, Any] = {"__name__": "document", "events": jec_events(20, seed=1)}
    exec(compile(block.replace("FuturesExecutor(workers=2)", "IterativeExecutor()"), "document", "exec"), names)
    if "attach" in block:
        assert "mine_ptRawCorr" in names["jets"].fields


def test_the_lines_for_tensorflow_save_what_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    weights = {name[3:]: value for name, value in reference("model_mlp.npz").items() if name.startswith("W::")}
    loaded: list[str] = []

    class Weight:
        def __init__(self, name: str) -> None:
            self.name = name

        def numpy(self) -> Any:
            return weights[self.name]

    class Model:
        def __init__(self, config: Any, cardinalities: dict[str, int]) -> None:
            assert config["model"] == reference_model()
            assert cardinalities == {"ch_id": 6, "ch_pv_ass": 6, "ne_id": 4}
            self.weights = [Weight(name) for name in weights]
            self.load_weights = loaded.append

    module = types.ModuleType("mljec.model")
    module.build_model = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mljec", types.ModuleType("mljec"))
    monkeypatch.setitem(sys.modules, "mljec.model", module)
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((SHARED / "tests" / "test_config.yaml").read_text())
    Path("config.yaml").write_text(yaml.safe_dump(config))
    Path("transform.yaml").write_text((SHARED / "tests" / "data" / "transform.yaml").read_text())
    (saving,) = blocks(PAGE, "python", "mljec")
    (reading,) = blocks(PAGE, "python", "import_weights")
    names: dict[str, Any] = {"arrays": reference("batches_as_implemented.npz")}
    exec(saving, names)
    assert loaded
    exec(reading, names)
    assert names["prediction"] == pytest.approx(reference("model_mlp.npz")["predictions"].ravel(), abs=1e-5)
    assert import_weights(config["model"], "weights.npz").architecture.parameters == 1434
