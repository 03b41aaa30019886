"""A Triton server of one network (nvidia-pytriton, onnxruntime); arguments: MODEL.onnx NAME BATCH HTTP GRPC."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(path: str, name: str, largest: str, http: str, grpc: str) -> None:
    """Serve until the process is ended."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [tensor.name for tensor in session.get_outputs()]

    def tensors(found: list) -> list:
        return [
            Tensor(name=one.name, dtype=np.float32, shape=tuple(n if isinstance(n, int) else -1 for n in one.shape[1:]))
            for one in found
        ]

    @batch
    def infer(**inputs: np.ndarray) -> dict:
        return dict(zip(outputs, session.run(outputs, inputs)))  # noqa: B905

    ports = TritonConfig(http_port=int(http), grpc_port=int(grpc), allow_metrics=False)
    with Triton(config=ports) as server:
        batches = ModelConfig(max_batch_size=int(largest), batcher=DynamicBatcher(max_queue_delay_microseconds=0))
        server.bind(name, infer, tensors(session.get_inputs()), tensors(session.get_outputs()), config=batches)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        server.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
