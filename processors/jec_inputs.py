"""Training sets of jet energy calibrations from simulated events, in coffea jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from coffea import processor
from jettagger.processors.tagging import chunk_key, in_order

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.files import check_folder
from jettagger.jec import Acceptance, JetCounts, JetSpectrum, Sampling, ShardMaker, acceptance_of
from jettagger.jec.making import DATA, finish, provenance_of_set, write_jets

__all__ = ["JecInputsProcessor", "JecSpectrumProcessor"]


class JecInputsProcessor(Brief, processor.ProcessorABC):
    """Writes the jets of simulated events as a training set: a shard for each chunk, then ``data.yaml``.

    The shards do not depend on the executor: which jets are kept is decided by the numbers of events alone. Without
    ``data.yaml``, which is written last, a folder is not a training set.

    Parameters
    ----------
    output : path
        Folder to write, on a disk that all workers see.
    maker : ShardMaker, optional
        Jets, branches, cuts and matching; default: AK4 jets with all branches that PFNano has.
    acceptance : Acceptance, optional
        Down-sampling, as `JecSpectrumProcessor` gives it.
    force : bool
        Whether an existing training set is replaced.

    Raises
    ------
    OutputError
        If the folder exists already, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> JecInputsProcessor(tempfile.mkdtemp()).maker.kind
    'AK4'
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        maker: ShardMaker | None = None,
        acceptance: Acceptance | None = None,
        force: bool = False,
    ) -> None:
        self.output = check_folder(output, marker=DATA, force=force)
        self.maker = ShardMaker() if maker is None else maker
        self.acceptance = acceptance
        (self.output / DATA).unlink(missing_ok=True)  # from now on it is incomplete

    def process(self, events: Any) -> dict[str, dict[str, Any]]:
        """Write the jets of one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            Dataset -> ``counts`` and ``chunks``: place in a file -> shard, relative to the folder, and its jets.

        Raises
        ------
        MissingColumns
            Lists all missing columns.
        """
        place = events.metadata
        jets, counts = self.maker.made(events, self.acceptance)
        name, first = chunk_key(place)
        note = provenance_of_set(self.maker, [name]).text
        shard = f"{place['dataset']}-{place['fileuuid']}-{first:012d}"
        path = write_jets(Path(self.output), shard, jets, note)
        return {place["dataset"]: {"counts": counts.to_dict(), "chunks": {(name, first): [(path, len(jets))]}}}

    def postprocess(self, accumulator: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Write ``data.yaml``, with the shards in the order of datasets, files and events.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            Dataset -> ``counts`` (numbers of jets, see `jettagger.jec.JetCounts`) and ``shards`` (list of str).

        Raises
        ------
        MismatchError
            If a file was read twice, or no jet is left.
        """
        shards: dict[str, int] = {}
        files: list[str] = []
        total = JetCounts()
        for dataset in sorted(accumulator):
            result = accumulator[dataset]
            chunks = result.pop("chunks")
            files += sorted({name for name, _ in chunks})
            written = {path: jets for path, jets in in_order(chunks) if path is not None}
            shards |= written
            result["shards"] = list(written)
            total += JetCounts(**result["counts"])
        finish(Path(self.output), shards, total, self.maker, self.acceptance, files)
        return accumulator


class JecSpectrumProcessor(Brief, processor.ProcessorABC):
    """Numbers of matched jets in true pt, pseudorapidity and flavour, and the down-sampling that shapes them.

    Parameters
    ----------
    sampling : Sampling
        The shape.
    maker : ShardMaker, optional
        As for `JecInputsProcessor`; constituents are not read.

    Examples
    --------
    >>> JecSpectrumProcessor(Sampling(keep=0.1)).sampling.flat_below
    200.0
    """

    def __init__(self, sampling: Sampling, maker: ShardMaker | None = None) -> None:
        self.sampling = sampling
        self.maker = ShardMaker() if maker is None else maker

    def process(self, events: Any) -> dict[str, Any]:
        """Count the jets of one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            ``chunks``: place in a file -> numbers of jets, int64[flavours, pt, abseta].
        """
        spectrum = self.maker.matched(events).spectrum(self.sampling)
        return {"chunks": {chunk_key(events.metadata): [spectrum.counts]}}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Add the numbers, and find the probabilities with which jets are kept.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            ``spectrum`` (`jettagger.jec.JetSpectrum`) and ``acceptance`` (`jettagger.jec.Acceptance`).

        Raises
        ------
        InvalidValues
            If there are no jets with a generator jet.
        MismatchError
            If a file was read twice.
        """
        counts = in_order(accumulator["chunks"])
        if not counts:
            raise InvalidValues("no events: a spectrum needs simulated events")
        spectrum = JetSpectrum(self.sampling, sum(counts[1:], counts[0]))
        return {"spectrum": spectrum, "acceptance": acceptance_of(spectrum)}


guard(globals(), "JecInputsProcessor", "JecSpectrumProcessor")
