"""Graph rewriting: equal ONNX graphs with fewer operators.

Designed for graphs like those exported by weaver and PyTorch for Particle Transformers. It replaces local patterns,
which other graphs may contain, too. The steps:

1. ONNX Runtime folds constants and fuses layer norms and GELUs.
2. Tensors that depend only on the lengths of the inputs are compared for probe inputs: equal ones are computed once.
3. Equal nodes with equal inputs are merged: attention masks are applied to the pair features once, instead of in each
   block.
4. Biases are merged into matrix products; slices, scales, batch norms and permutations before or after products
   are absorbed into the matrices, transpositions into batched products.
5. Symmetric features of pairs of particles are computed for one half of the pairs. Their layers become products of
   matrices with a row per pair, some thousand rows at a time, which fit the cache of a core.
6. For GPUs, 1x1 convolutions become matrix products, and operators that exist only on CPUs are replaced.

The equality of the result is not proven here, but checked in `jettagger.inference.acceleration`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jettagger.sessions.rewriting.gpu import fit_gpu
from jettagger.sessions.rewriting.network import OLDEST, Net, Probe
from jettagger.sessions.rewriting.pairs import PARTS, halve_pairs
from jettagger.sessions.rewriting.products import (
    fold_heads,
    fold_scales,
    fold_standards,
    fold_transpositions,
    fuse_biases,
    join_rows,
    split_products,
)
from jettagger.sessions.rewriting.sharing import merge_equal, merge_shapes

__all__ = ["rewrite"]


def rewrite(model: bytes, probes: Sequence[Probe], *, gpu: bool = False) -> bytes | None:
    """A faster network with the same inputs and outputs.

    Parameters
    ----------
    model : bytes
        An ONNX file without external data.
    probes : sequence of dict of str to float32 array
        Inputs of different lengths and numbers of jets, at least two, with all lengths in one of them different.
    gpu : bool
        Rewrite for a GPU: 1x1 convolutions become matrix products, as cuDNN refuses large ones.

    Returns
    -------
    bytes or None
        An ONNX file for the installed ONNX Runtime; None if no faster graph is found.
    """
    net = Net(_simplified(model))
    if net.opset < OLDEST:
        return None
    before = net.size
    for step in (
        merge_shapes,
        merge_equal,
        fuse_biases,
        merge_equal,
        split_products,
        fold_scales,
        fold_heads,
        fold_transpositions,
        fold_standards,
        partial(halve_pairs, parts=1 if gpu else PARTS),
        join_rows,
    ):
        net.observe(probes)
        step(net)
        net.prune()
    if gpu:
        net.observe(probes)
        fit_gpu(net)
        net.prune()
    net.observe(probes)
    merge_shapes(net)
    merge_equal(net)
    net.prune()
    return net.model() if net.changed or net.size < before else None


def _simplified(model: bytes) -> Any:
    """The graph after ONNX Runtime's own optimisations that do not depend on the machine."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "simplified.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4  # what fails is raised
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return onnx.load(target)
