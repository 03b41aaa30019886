"""A session for tests: evaluates a function and records its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jettagger.display import Brief
from jettagger.types import Array

__all__ = ["ReplaySession"]


class ReplaySession(Brief):
    """Replaces a network.

    Parameters
    ----------
    function : callable
        Function of the inputs that returns the outputs, as in `Session.run`.

    Attributes
    ----------
    calls : list of dict
        The inputs of each run.

    Examples
    --------
    >>> import numpy as np
    >>> session = ReplaySession(lambda inputs: {"y": inputs["x"].sum(axis=(1, 2))})
    >>> session.run({"x": np.ones((1, 2, 3), dtype="f4")})["y"].tolist(), len(session.calls)
    ([6.0], 1)
    """

    def __init__(self, function: Callable[[Mapping[str, Array]], dict[str, Array]]) -> None:
        self.function = function
        self.calls: list[dict[str, Array]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Call the function and record the inputs; see `Session.run`."""
        self.calls.append(dict(inputs))
        return self.function(inputs)
