"""Which way to change the kinematics of a training is the most stable one: the same head from several seeds.

    python -m benchmarks.stability SKIMS... --json docs/measured_decorrelation.json
    python -m benchmarks.report docs/measured_decorrelation.json docs/decorrelation.md

Skims of H -> WW -> 4q and multijets, as `examples/finetune/make_skims.py` makes them. Multijets get the spectra of the
signal. Initial weights, order of jets and drawn jets follow the seed, the test jets are the same. Needs the extra
``train``.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import keep, machine
from jettagger.bundles.registry import load_bundle
from jettagger.decorrelation.reweighting import SpectrumBins
from jettagger.discriminants import roc
from jettagger.finetuning.config import read_config
from jettagger.finetuning.kinematics import change_spectra
from jettagger.finetuning.measure import unseen
from jettagger.finetuning.mlp import train_mlp
from jettagger.finetuning.prepare import Prepared, prepare, survey
from jettagger.training import cross_entropy
from jettagger.types import Floats

#: name in the table -> method; None: the spectra of the jets
METHODS = {
    "none": None,
    "weights": "weights",
    "boosted": "boosted",
    "down-sampling": "downsample",
    "resampling": "resample",
}

COLUMNS = "{FatJet_pt: [200, 300, 400, 500, 700, 1000], FatJet_msoftdrop: [0, 20, 50, 80, 110, 140, 200]}"

CONFIG = """\
version: 1
name: Stability
kind: classes
parent: inclParTToyV1
files: {files}
inputs: [hidden]
classes:
  HWW4q: FatJet_genResonance == 25 and FatJet_genInside >= 3
  QCD: FatJet_genResonance == 0
{kinematics}
training: {{epochs: {epochs}, threads: 1}}
split: {{test: 0.4}}
"""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds, with their uncertainties for normal distributions.

    Attributes
    ----------
    mean, mean_uncertainty, deviation, deviation_uncertainty : float
    """

    mean: float
    mean_uncertainty: float
    deviation: float
    deviation_uncertainty: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of numbers from several seeds.

    Examples
    --------
    >>> made = spread([1.0, 2.0, 3.0])
    >>> made.mean, made.deviation, made.deviation_uncertainty
    (2.0, 1.0, 0.5)
    """
    deviation = float(np.std(values, ddof=1))
    number = len(values)
    uncertainty = deviation / math.sqrt(2 * (number - 1))
    return Spread(float(np.mean(values)), deviation / math.sqrt(number), deviation, uncertainty)


def prepared_for(files: Sequence[str], method: str | None, epochs: int, scratch: Path) -> Prepared:
    """The jets of a method."""
    keys = "" if method is None else f"kinematics: {{method: {method}, columns: {COLUMNS}, to: HWW4q}}"
    content = CONFIG.format(files=list(files), kinematics=keys, epochs=epochs)
    config = read_config(content, name="stability", folder=scratch)
    bundle = load_bundle(config.parent)
    folder = scratch / f"{method}"
    folder.mkdir()
    return prepare(config, bundle, survey(config, bundle), folder)


def seeded(jets: Prepared, seed: int) -> Prepared:
    """The same jets with another seed, drawn and reweighted again."""
    training = jets.config.training.model_copy(update={"seed": seed})
    again = replace(jets, config=replace(jets.config, training=training))
    if again.config.kinematics is not None and again.config.kinematics.method != "weights":
        bins = SpectrumBins(again.config.kinematics.columns)
        again.kinematics = change_spectra(again, bins, spectra(again, bins))
    return again


def spectra(jets: Prepared, bins: SpectrumBins) -> Floats:
    """Sums of the weights of the jets for training and validation, float64[classes, cells]."""
    sums = np.zeros((len(jets.jets), bins.cells))
    for rows in jets.store:
        mine = rows[rows[:, jets.layout["fold"]] != 0]
        label, cell = (mine[:, jets.layout[name]].astype(np.int64) for name in ("label", "cell"))
        np.add.at(sums, (label, cell), mine[:, jets.layout["weight"]])
    return sums


def measured(files: Sequence[str], seeds: int, epochs: int, scratch: Path) -> dict[str, dict[str, Any]]:
    """Method -> numbers of jets and spreads over the seeds.

    The loss has the weights of the method ``weights`` in the test for all methods; rejections have no weights.
    """
    reference = prepared_for(files, "weights", epochs, scratch)
    test = unseen(reference)[0]
    weights, label = reference.weights(test).astype(np.float64), test[:, reference.layout["label"]].astype(np.int64)
    found = {}
    for name, method in METHODS.items():
        numbers: dict[str, list[float]] = {"loss": [], "rejection_30": [], "rejection_50": []}
        start, effective = time.process_time(), []
        jets = reference if method == "weights" else prepared_for(files, method, epochs, scratch)
        for seed in range(1, seeds + 1):
            jets = seeded(jets, seed)
            outputs = train_mlp(jets, 0, lambda epoch: None).predict(jets.layout.x(test))
            for key, value in _numbers(outputs, label, weights).items():
                numbers[key].append(value)
            effective.append([change.effective_after for change in jets.kinematics.values()])
        found[name] = {
            "jets": {key: part["train"] for key, part in jets.jets.items()},
            "effective": np.mean(effective, axis=0).tolist() if method else None,
            "cpu_s": (time.process_time() - start) / seeds,
            "spreads": {key: vars(spread(values)) for key, values in numbers.items()},
            "seeds": seeds,
        }
        print(name, found[name], flush=True)
    return found


def _numbers(outputs: Floats, label: Any, weights: Floats) -> dict[str, float]:
    curve = roc(outputs[label == 0, 0], outputs[label == 1, 0])
    return {
        "loss": float(cross_entropy(outputs.astype(np.float64), label, weights)),
        "rejection_30": curve.rejection_at(0.3).value,
        "rejection_50": curve.rejection_at(0.5).value,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("skims", nargs="+", help="files of the skims")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12, help="maximum number of epochs (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="results are added to this file")
    args = parser.parse_args(arguments)
    files = [str(Path(path).resolve()) for path in args.skims]
    with tempfile.TemporaryDirectory() as scratch:
        found = measured(files, args.seeds, args.epochs, Path(scratch))
    keep(args.json, "stability", "machine", machine(), here=False)
    for name, one in found.items():
        keep(args.json, "stability", name, one, here=False)
    return 0


if __name__ == "__main__":
    main()
