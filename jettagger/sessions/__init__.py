"""Backends that run a network: named input arrays -> named output arrays, without knowledge of jets and classes."""

from jettagger.sessions.base import (
    SHORT_OF_MEMORY,
    ConcurrentSession,
    CountedSession,
    Session,
    Traffic,
    flat_columns,
    run_error,
)
from jettagger.sessions.onnx import GpuSession, OrtSession, open_onnx
from jettagger.sessions.openvino import OpenVinoSession, open_openvino
from jettagger.sessions.replay import ReplaySession

__all__ = [
    "SHORT_OF_MEMORY",
    "ConcurrentSession",
    "CountedSession",
    "GpuSession",
    "OpenVinoSession",
    "OrtSession",
    "ReplaySession",
    "Session",
    "Traffic",
    "flat_columns",
    "open_onnx",
    "open_openvino",
    "run_error",
]


def __dir__() -> list[str]:
    return sorted(__all__)
