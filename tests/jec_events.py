"""Events and models for tests of energy calibrations: PFNano with areas, densities, generator jets and flavours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from jettagger.formats.nesting import nest
from jettagger.jec import Transforms
from jettagger.jec.architecture import architecture_of
from jettagger.jec.configuration import FeatureBlock
from jettagger.jec.exporting import calibration_model, feature_branches, output_names
from jettagger.jec.rows import FeatureLayout
from jettagger.jec.transforms import TransformStep
from jettagger.jec.variables import declaration
from jettagger.testing import make_columns

FEATURES = {
    "global": FeatureBlock(numerical=("pt", "eta", "phi", "mass", "area", "num_pv", "rho")),
    "ch": FeatureBlock(
        numerical=(
            *("ch_pt", "ch_dxy", "ch_dxy_significance", "ch_dz", "ch_lost_hits", "ch_norm_chi2", "ch_puppi_weight"),
            *("ch_rel_pt", "ch_deta", "ch_dphi", "ch_dr"),
        ),
        categorical=("ch_id", "ch_pv_ass"),
    ),
    "ne": FeatureBlock(numerical=("ne_pt", "ne_puppi_weight", "ne_rel_pt", "ne_dr"), categorical=("ne_id",)),
    "sv": FeatureBlock(numerical=("sv_mass", "sv_pt", "sv_distance", "sv_significance", "sv_num_tracks", "sv_rel_pt")),
}
TRANSFORMS = Transforms(
    {
        **{name: (TransformStep("arcsinh", scale=10.0),) for name in ("pt", "mass", "num_pv", "rho")},
        **{name: (TransformStep("arcsinh", scale=1.0),) for name in ("ch_pt", "ne_pt", "sv_pt", "ch_norm_chi2")},
        **{name: (TransformStep("abs"), TransformStep("arcsinh", scale=1e-2)) for name in ("ch_dxy", "ch_dz")},
        **{name: (TransformStep("arcsinh", scale=1.0),) for name in ("ch_dxy_significance", "sv_significance")},
        "sv_num_tracks": (TransformStep("log"), TransformStep("linear", 0.7, 2.6)),
        "sv_distance": (TransformStep("arcsinh", scale=0.1),),
    },
    {"ch_id": (-211, -13, -11, 11, 13, 211), "ch_pv_ass": (0, 1, 5, 7), "ne_id": (22, 130)},
)
MODEL: dict[str, Any] = {
    "ch": {"type": "mlp", "num_units": [8, 6], "embeddings": {"ch_id": 2, "ch_pv_ass": 2}},
    "ne": {"type": "mlp", "num_units": [6], "embeddings": {"ne_id": 2}},
    "sv": {"type": "mlp", "num_units": [4], "embeddings": {}},
    "head": {"type": "mlp", "num_units": [8]},
}


def jec_columns(n_events: int, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Flat columns of events; one jet in eight has no generator jet."""
    columns = make_columns(n_events, seed=seed, ak4=True, **options)
    rng = np.random.default_rng([seed, n_events, 5])
    columns |= {
        "fixedGridRhoFastjetAll": rng.uniform(5, 40, n_events).astype("f4"),
        "PV_npvs": rng.integers(1, 60, n_events).astype("i4"),
        **{f"PV_{name}": np.zeros(n_events, "f4") for name in "xyz"},
        "Pileup_nTrueInt": rng.uniform(10, 50, n_events).astype("f4"),
    }
    for jets, gen, area in (("Jet", "GenJet", 0.5), ("FatJet", "GenJetAK8", 2.0)):
        counts = ak.num(columns[f"{jets}_pt"])
        total = int(ak.sum(counts))
        flat = {name: np.asarray(ak.flatten(columns[f"{jets}_{name}"])) for name in ("pt", "eta", "phi", "mass")}
        kept = rng.random(total) > 0.125
        event = np.repeat(np.arange(n_events), counts)[kept]
        made = {
            "pt": flat["pt"] * rng.normal(1, 0.1, total).clip(0.5),
            "eta": flat["eta"] + rng.normal(0, 0.01, total),
            "phi": np.angle(np.exp(1j * (flat["phi"] + rng.normal(0, 0.01, total)))),
            "mass": flat["mass"],
        }
        of_event = np.bincount(event, minlength=n_events)
        for name, values in made.items():
            columns[f"{gen}_{name}"] = ak.unflatten(values[kept].astype("f4"), of_event)
        place = np.cumsum(kept) - 1 - np.repeat(np.cumsum(of_event) - of_event, counts)
        index = "genJetIdx" if jets == "Jet" else "genJetAK8Idx"
        columns[f"{jets}_{index}"] = ak.unflatten(np.where(kept, place, -1).astype("i4"), counts)
        columns[f"{jets}_area"] = ak.unflatten(rng.normal(area, 0.02, total).astype("f4"), counts)
        hadron = rng.choice([0, 0, 0, 4, 5], total)
        parton = np.where(hadron > 0, hadron, rng.choice([1, -2, 3, 21, 21, 0], total))
        columns[f"{jets}_hadronFlavour"] = ak.unflatten(hadron.astype("i4"), counts)
        columns[f"{jets}_partonFlavour"] = ak.unflatten(parton.astype("i4"), counts)
    return columns


def jec_events(n_events: int, seed: int = 0, **options: Any) -> Any:
    """The same, with collections as fields."""
    return nest(jec_columns(n_events, seed, **options))


def write_calibration(folder: Path, kind: Any, quantiles: tuple[float, ...] = (), name: str = "mine") -> Path:
    """A bundle with a random network whose factors are near 1."""
    layout = FeatureLayout.of(FEATURES)
    rows = {block: {key: len(TRANSFORMS.categorical[key]) for key in FEATURES[block].categorical} for block in FEATURES}
    architecture = architecture_of(MODEL, layout.numerical, rows, outputs=max(len(quantiles), 1))
    rng = np.random.default_rng(5)
    weights = {key: rng.normal(0, 0.2, shape).astype("f4") for key, shape in architecture.weights.items()}
    weights["head_dense_output/kernel:0"] *= 0.02
    folder.mkdir()
    model = calibration_model(architecture, weights, FEATURES, TRANSFORMS, quantiles=quantiles)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "inputs.json").write_text(json.dumps(declaration(name, feature_branches(FEATURES), kind)))
    card = {"schema_version": 1, "name": name, "jets": kind, "output_names": list(output_names(quantiles))}
    (folder / "bundle.json").write_text(json.dumps({**card, "kinds": {"regression": ["*"]}}))
    return folder
