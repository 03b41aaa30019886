"""What a network finds for the events of a data set, in the layout of the original's predictions: ``predict.h5``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.assigner import Assigned, Assigner
from jettagger.assignment.datasets import AssignmentEvents, DatasetWriter
from jettagger.provenance import Provenance
from jettagger.types import Array

__all__ = ["PredictionWriter"]


class PredictionWriter(DatasetWriter):
    """Writes inputs and what was found in the layout of SPANet's predictions; complete, or not at all.

    ``INPUTS`` as in a data set; ``TARGETS/<particle>/<daughter>``, slots over all sequential inputs, -1 where it is not
    assigned; ``TARGETS/<particle>/assignment_probability``, ``detection_probability`` and ``marginal_probability``;
    ``REGRESSIONS`` and ``CLASSIFICATIONS`` (probabilities, [events, classes]) by their paths, and on request
    ``EMBEDDINGS``. Numbers are NaN where there are none.

    Parameters
    ----------
    path : path
    assigner : Assigner
    slots : mapping of str to int
        Sequential input -> number of slots of the events.
    embeddings : bool
        Whether to write the embeddings, too.
    pair_features : mapping of str to sequence of str, optional
        As for `DatasetWriter`.
    provenance : Provenance, optional
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    MissingExtra
        If h5py is not installed.
    OutputError
        If the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        assigner: Assigner,
        slots: Mapping[str, int],
        *,
        embeddings: bool = False,
        pair_features: Mapping[str, Sequence[str]] | None = None,
        provenance: Provenance | None = None,
        force: bool = False,
    ) -> None:
        super().__init__(
            path,
            assigner.event,
            slots,
            labels=False,
            pair_features=pair_features,
            provenance=provenance,
            force=force,
        )
        self.assigner = assigner
        self.embeddings = embeddings

    def append_found(self, events: AssignmentEvents, found: Assigned) -> None:
        """Write a block of events with what was found.

        Parameters
        ----------
        events : AssignmentEvents
            Inputs.
        found : Assigned
            From ``assigner.run(events)``.

        Raises
        ------
        MismatchError
            If shapes differ from those of the file.
        """
        self.append_rows(self.rows(events, found))

    def rows(self, events: AssignmentEvents, found: Assigned) -> dict[str, Array]:
        """What is written for events that follow those in the file.

        Parameters
        ----------
        events : AssignmentEvents
        found : Assigned
            As for `append_found`.

        Returns
        -------
        dict of str to array[events, ...]
            By dataset.

        Raises
        ------
        MismatchError, InvalidValues
            As for `DatasetWriter.append`.
        """
        self._check(events)
        return {**dict(self._rows(events)), **self._found(found)}

    def append_rows(self, rows: Mapping[str, Array]) -> None:
        """Write what `rows` gave.

        Parameters
        ----------
        rows : mapping of str to array[events, ...]
        """
        self._write(rows)

    def _found(self, found: Assigned) -> dict[str, Array]:
        made: dict[str, Array] = {}
        for particle in self.event.particles:
            group = f"TARGETS/{particle.name}"
            for number, daughter in enumerate(particle.daughters):
                made[f"{group}/{daughter.name}"] = found.assignments[particle.name][:, number]
            for name in ("assignment_probability", "detection_probability", "marginal_probability"):
                made[f"{group}/{name}"] = getattr(found, name)[particle.name]
        made |= {f"REGRESSIONS/{path}": values for path, values in found.regressions.items()}
        made |= {f"CLASSIFICATIONS/{path}": values for path, values in found.classes.items()}
        made |= {f"EMBEDDINGS/{path}": values for path, values in found.embeddings.items()}
        return made

    def _create(self) -> None:
        super()._create()
        for particle in self.event.particles:
            group = f"TARGETS/{particle.name}"
            for daughter in particle.daughters:
                self._dataset(f"{group}/{daughter.name}", np.int64)
            for name in ("assignment_probability", "detection_probability", "marginal_probability"):
                self._dataset(f"{group}/{name}", np.float32)
        for path in self.event.regressions:
            self._dataset(f"REGRESSIONS/{path}", np.float32)
        for path in self.event.classifications:
            self._dataset(f"CLASSIFICATIONS/{path}", np.float32, (self.assigner.widths[path],))
        if self.embeddings:
            for path, name in self.assigner.model.names.embeddings.items():
                self._dataset(f"EMBEDDINGS/{path}", np.float32, (self.assigner.widths[name],))


guard(globals(), "PredictionWriter")
