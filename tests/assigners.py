"""Networks of SPANet's interface without training, in folders for `jettagger.load_assigner`, and events for them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np

_PLACE = Path(__file__).parents[1] / "examples" / "assignment" / "mass_network.py"
_SPEC = importlib.util.spec_from_file_location("mass_network", _PLACE)
assert _SPEC is not None
assert _SPEC.loader is not None
masses = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(masses)

#: particles of the event file, in its order
DECAYS = {"lt": masses.LEPTONIC_TOP, "ht": masses.HADRONIC_TOP, "h": masses.HIGGS}

EVENT = """\
INPUTS:
  SEQUENTIAL:
    Jets: {mass: log_normalize, pt: log_normalize, eta: normalize, sin_phi: normalize, cos_phi: normalize, btag: none}
  GLOBAL:
    Met: {met: log_normalize, sin_phi: normalize, cos_phi: normalize}
EVENT:
  lt: [b]
  ht: [b, q1, q2]
  h: [b1, b2]
PERMUTATIONS:
  ht: [[q1, q2]]
  h: [[b1, b2]]
REGRESSIONS:
  EVENT: [neutrino_px, neutrino_py]
CLASSIFICATIONS:
  EVENT: [signal]
"""

MAPPING = """\
version: 1
inputs:
  Jets:
    collection: Jet
    select: pt > 25
    max_objects: 8
    features: {sin_phi: sin(phi), cos_phi: cos(phi), btag: btagDeepFlavB}
  Met:
    features: {met: MET.pt, sin_phi: sin(MET.phi), cos_phi: cos(MET.phi)}
"""


def raw_folder(folder: Path, *, mapping: str | None = MAPPING, event: str = EVENT, **options: Any) -> Path:
    """A folder with the ONNX file, the event file, and the mapping; options of ``write_mass_network``."""
    folder.mkdir(parents=True, exist_ok=True)
    masses.write_mass_network(folder / "model.onnx", DECAYS, **options)
    (folder / "event.yaml").write_text(event)
    if mapping is not None:
        (folder / "inputs.yaml").write_text(mapping)
    return folder


def assigner_folder(folder: Path, *, slots: int | None = None, input_log: bool = True, **options: Any) -> Path:
    """A folder with a card, as ``jettagger assignment import`` makes it."""
    from jettagger.assignment import import_assigner

    raw = raw_folder(folder / "raw", slots=slots, input_log=input_log, **options)
    import_assigner(
        raw / "model.onnx", raw / "event.yaml", folder / "net", mapping=raw / "inputs.yaml", input_log=input_log
    )
    return folder / "net"


def jet_events(n_events: int = 40, seed: int = 1, most: int = 9) -> ak.Array:
    """Events with 0 to ``most`` jets, some below the selection, not sorted in pt."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, n_events)
    counts[:2] = [0, most]

    def jets(low: float, high: float) -> ak.Array:
        return ak.unflatten(rng.uniform(low, high, counts.sum()).astype(np.float32), counts)

    columns = {
        "pt": jets(15, 200),
        "eta": jets(-2.4, 2.4),
        "phi": jets(-3.1, 3.1),
        "mass": jets(4, 20),
        "btagDeepFlavB": jets(0, 1),
    }
    met = {"pt": rng.uniform(10, 100, n_events), "phi": rng.uniform(-3, 3, n_events)}
    return ak.zip(
        {
            "Jet": ak.zip(columns),
            "MET": ak.zip(met),
            "event": np.arange(n_events) + 100,
            "weight": rng.random(n_events),
        },
        depth_limit=1,
    )


def tensors(values: dict[str, Any], masks: dict[str, Any]) -> Any:
    """Inputs as an assigner takes them."""
    return SimpleNamespace(values=values, masks=masks)
