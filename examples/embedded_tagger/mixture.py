"""The share of jets whose type is found, in jets of the mixture of the training alone.

It depends on how the types are mixed, and the test jets also hold files of single processes. Prepared test jets of
``jettagger simulate --process v1-types`` are scored; ``results.json``, ``RESULTS.md`` and ``MODEL_CARD.md`` are written
again with the figure.

    python mixture.py ../../jettagger/models/inclParTToyV1 prepared/mixture .
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import data
import measures
import numpy as np
import report
from evaluate import score

import jettagger as jt


def main(bundle: str, prepared: str, folder: str = ".") -> None:
    """Measure the share and write the texts again."""
    network = jt.load_bundle(bundle)
    sample = data.load(Path(prepared))
    values = score(network, sample, np.arange(len(sample)))
    probabilities = values[:, [network[f"prob{name}"].index for name in data.TYPES]]
    path = Path(folder) / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    if results["network"]["sha256"] != network.graph.sha256:
        raise SystemExit(f"{path} holds results of another network than {network.folder}")
    results["accuracy"]["as_mixed"] = measures.share_found(probabilities, sample.columns["label"])
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    report.main(bundle, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
