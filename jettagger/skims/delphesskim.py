"""From Delphes files to a skim with one row an event: the jets of a collection and the outputs of a tagger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jettagger.cutlogic import warn_doubt
from jettagger.errors import ConfigError
from jettagger.expressions import parse
from jettagger.files.delphes import DelphesFile
from jettagger.files.retrying import RETRIES
from jettagger.files.verification import verify_jets
from jettagger.formats.delphes import DelphesJets
from jettagger.inputs.flatjets import check_table, needed_columns
from jettagger.report import Report
from jettagger.skims.jobs import Chunk, Content, Layout, chunk_rows, output_columns, survey
from jettagger.skims.skim import MEMORY, Job
from jettagger.tagging.tagger import DEFAULT_COLUMNS, Tagger

__all__ = ["DelphesJob", "make_delphes_job"]

#: column of the skim -> column of the flat table
_KINEMATICS = {"pt": "jet_pt", "eta": "jet_eta", "phi": "jet_phi", "energy": "jet_energy", "sdmass": "jet_sdmass"}

#: events of Delphes are large, most of that is read for the links alone
_MOST_EVENTS = 2_000


@dataclass(frozen=True)
class DelphesJob(Job):
    """A job on Delphes files."""

    def read(self, chunk: Chunk) -> Any:
        """The events of one chunk."""
        with DelphesFile(chunk.path) as file:
            return file.read(self.collection, chunk.start, chunk.stop)

    def score(self, loaded: Any) -> tuple[dict[str, Any], Report]:
        """Score and arrange a chunk."""
        import awkward as ak

        events = loaded
        table = DelphesJets(events, self.collection)
        jets = {name: ak.unflatten(table.column(column), table.counts) for name, column in _kinematics(table).items()}
        where = None if self.where is None else parse(self.where, where="--where").evaluate(jets)
        scores, report = self.tagger.run(events, where, tuple(self.names))
        columns: dict[str, Any] = {}
        if "event" in self.keep:
            columns["event"] = ak.to_numpy(ak.fill_none(ak.firsts(events.Event.Number), -1))
        columns |= {f"{self.collection}_{name}": values for name, values in jets.items()}
        columns |= {f"{self.collection}_{column}": scores[output] for output, column in self.names.items()}
        return columns, report


def _kinematics(table: DelphesJets) -> dict[str, str]:
    return {name: column for name, column in _KINEMATICS.items() if column in table.fields}


def make_delphes_job(
    files: Sequence[str],
    tagger: Tagger,
    *,
    prefix: str | None = None,
    where: str | None = None,
    columns: Iterable[str] = DEFAULT_COLUMNS,
    keep: Iterable[str] = (),
    memory: int = MEMORY,
    workers: int = 1,
    skip_broken: bool = False,
    verify: bool = False,
    retries: int = RETRIES,
) -> DelphesJob:
    """Open all files, see whether they have the jets, and cut them into chunks.

    Parameters
    ----------
    files : sequence of str
        Delphes files.
    tagger : Tagger
        Of a model with a data configuration of weaver; its ``jets`` is the collection.
    prefix, where, columns, memory, workers, skip_broken, verify, retries
        As for `jettagger.skims.skim.make_job`; ``where`` may name ``pt``, ``eta``, ``phi``, ``energy`` and ``sdmass``.
    keep : iterable of str
        Must be empty: the skim has the kinematics of the jets.

    Returns
    -------
    DelphesJob

    Raises
    ------
    InputFileError, MissingColumns, ConfigError, UnknownName
    """
    if list(keep):
        raise ConfigError("--keep is not for Delphes files: 'jettagger convert delphes' writes all columns of the jets")
    names = output_columns(tagger, columns, prefix, workers)
    warn_doubt(where, "--where")

    def examine(path: str) -> Content:
        with DelphesFile(path) as file:
            probe = min(file.n_events, 5)
            events = file.read(tagger.jets, 0, probe)
            table = DelphesJets(events, tagger.jets)
            check_table(tagger.bundle, table, path)
            if where is not None:
                parse(where, where="--where").check(list(_kinematics(table)), f"column of {table.collection}")
            kept = (*(["event"] if "Number" in file.fields("Event") else []), *_kinematics(table))
            size = events.nbytes / probe if probe else 0
            layout = Layout(table.collection, tuple(events.fields), kept)
            content = Content(layout, file.n_events, chunk_rows(size, memory // workers, _MOST_EVENTS))
            if verify:
                before = 0
                for start, stop in content.ranges():
                    table = DelphesJets(file.read(tagger.jets, start, stop), tagger.jets)
                    jets = {name: table.column(name) for name in needed_columns(tagger.bundle)}
                    verify_jets(path, jets, before)
                    before += len(table)
            return content

    found = survey(map(str, files), examine, skip_broken=skip_broken, retries=retries)
    return DelphesJob(
        tagger,
        names,
        where=where,
        chunks=found.chunks,
        skipped=found.skipped,
        memory=memory,
        retries=retries,
        **found.layout._asdict(),
    )
