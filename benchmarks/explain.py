"""CPU time of gradients, in units of a forward pass in ONNX Runtime, on one core.

    python -m benchmarks.explain inclParTToyV1 ../shared/data/models/part-ak8-2023 --jets 2000

Random jets with lengths of a sample, in the batches that a tagger makes for ONNX Runtime; for gradients several of
these together, padded to the longest. One output column is derived with respect to all inputs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.explain import COLUMNS
from jettagger.explain.gradients import gradients
from jettagger.inference.network import evaluate
from jettagger.inference.padding import as_run
from jettagger.inference.sample_jets import usual_jets
from jettagger.sessions import open_onnx

#: jets in a batch with gradients
TOGETHER = 16

Inputs = Mapping[str, Any]


class FirstColumn:
    """The first output column."""

    needs: tuple[str, ...] = (COLUMNS,)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        return outputs[COLUMNS][:, 0]


def joined(runs: Sequence[Inputs], together: int) -> list[Inputs]:
    """Neighbouring batches as one, padded with zeros."""
    made: list[Inputs] = []
    part: list[Inputs] = []
    for run in runs:
        part.append(run)
        if sum(len(next(iter(item.values()))) for item in part) >= together or run is runs[-1]:
            made.append({name: _stacked([item[name] for item in part]) for name in run})
            part = []
    return made


def _stacked(arrays: Sequence[Any]) -> Any:
    length = max(array.shape[-1] for array in arrays)
    widths = [[(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])] for array in arrays]
    return np.concatenate([np.pad(array, width) for array, width in zip(arrays, widths, strict=True)])


def cost(bundle: Bundle, n_jets: int, repeats: int = 3) -> list[tuple[float, float]]:
    """CPU seconds of a forward pass and of gradients, in turn."""
    runs = usual_jets(bundle, n_jets)
    batches = joined(runs, TOGETHER)
    session = open_onnx(bundle.require_graph(), 1)
    target = FirstColumn()
    evaluate(bundle, session, runs[0])
    gradients(bundle, batches[0], target, check=False)
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for run in runs:
            evaluate(bundle, session, run)
        middle = time.process_time()
        for batch in batches:
            gradients(bundle, batch, target, check=False)
        found.append((middle - start, time.process_time() - middle))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the cost for some models."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--jets", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for model in chosen.models:
        bundle = as_run(jt.load_bundle(model))
        found = cost(bundle, chosen.jets, chosen.repeats)
        ratios = sorted(slopes / forward for forward, slopes in found)
        forward, slopes = (1000 * min(item[n] for item in found) / chosen.jets for n in range(2))
        print(
            f"{bundle.name}: forward {forward:.2f} ms/jet, gradients {slopes:.2f} ms/jet of CPU time, "
            f"{ratios[len(ratios) // 2]:.1f} times as much ({ratios[0]:.1f} to {ratios[-1]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
