"""Backends that run a network: name -> array in, name -> array out. They know no jets and no class names."""

from jettagger.sessions.base import Session
from jettagger.sessions.onnx import open_session
from jettagger.sessions.replay import ReplaySession

__all__ = ["ReplaySession", "Session", "open_session"]
