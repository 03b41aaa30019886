"""What a session is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from jettagger.features.definition import Array

__all__ = ["Session"]


class Session(Protocol):
    """Runs one network."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network.

        Parameters
        ----------
        inputs : mapping of str to float32 array
            All inputs of the network by name, first axis the jets.

        Returns
        -------
        dict of str to float32 array
            All outputs in the network's order, first axis the jets.
        """
