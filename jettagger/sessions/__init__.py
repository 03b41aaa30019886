"""Backends that run a network: name -> array in, name -> array out. They know no jets and no class names."""

from jettagger.sessions.base import Session
from jettagger.sessions.onnx import OrtSession, open_session
from jettagger.sessions.openvino import OpenVinoSession, open_openvino
from jettagger.sessions.replay import ReplaySession

__all__ = ["OpenVinoSession", "OrtSession", "ReplaySession", "Session", "open_openvino", "open_session"]
