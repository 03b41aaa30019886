"""Conversion of Delphes events to flat files in JetClass-II format: constituents, jets, generator jets, labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import Records, guard
from jettagger.display import Brief
from jettagger.features.cms import eta_sign
from jettagger.files.delphes import DelphesFile
from jettagger.formats.delphes import DelphesJets, fourmass, link
from jettagger.kinematics import delta_phi, delta_r, energy
from jettagger.provenance import Provenance
from jettagger.skims.writers import check_target, write_skim
from jettagger.truth.delphes import ROLES, DelphesRecord, class_of_jet
from jettagger.types import Array

__all__ = ["Converted", "convert_delphes", "flat_columns"]

#: events in memory at a time
CHUNK = 500


@dataclass(frozen=True)
class Converted(Brief):
    """The result of a conversion.

    Parameters
    ----------
    path : pathlib.Path
    events, jets : int
    empty : int
        Jets without constituents, which are not written.
    partial : int
        Jets with missing constituents, which are not written.
    dangling : int
        References to constituents that do not exist.
    labelled : int
        Jets with a class; the others have -1.
    """

    path: Path
    events: int
    jets: int
    empty: int
    partial: int
    dangling: int
    labelled: int


def _truth_columns(events: Any, table: DelphesJets) -> dict[str, Any]:
    import awkward as ak

    eta, phi = table.jet("Eta"), table.jet("Phi")
    labels = np.full(len(table), -1, dtype=np.int32)
    values: dict[str, list[Any]] = {name: [] for name in ("pt", "eta", "phi", "mass", "pid", *ROLES)}
    counts = np.zeros(len(table), dtype=np.int64)
    for event in range(len(events)):
        rows = np.flatnonzero(table.event == event)
        truth = DelphesRecord(events.Particle[event]) if len(rows) else None
        for row in rows:
            if truth is None:
                continue
            labels[row], chosen = class_of_jet(truth, float(eta[row]), float(phi[row]), table.radius)
            counts[row] = len(chosen)
            for index, role in chosen:
                for name in ("pt", "eta", "phi", "mass", "pid"):
                    values[name].append(getattr(truth, name)[index])
                for name in ROLES:
                    values[name].append(name == role)
    columns: dict[str, Any] = {"jet_label": ak.Array(labels)}
    for name, items in values.items():
        kind = "int32" if name == "pid" else "bool" if name in ROLES else "float32"
        columns[f"aux_genpart_{name}"] = ak.unflatten(np.array(items, dtype=kind), counts)
    return columns


def _generator_columns(events: Any, table: DelphesJets, collection: str) -> dict[str, Any]:
    """The nearest generator jet and its constituents: zeros and empty lists if there is none."""
    import awkward as ak

    jets = events[collection]
    event = np.repeat(np.arange(len(events)), ak.to_numpy(ak.num(jets.PT, axis=1)))
    flat = ak.flatten(jets, axis=1)
    g_eta, g_phi = (ak.to_numpy(flat[name]).astype(np.float64) for name in ("Eta", "Phi"))
    eta, phi = table.jet("Eta"), table.jet("Phi")
    matched = np.full(len(table), -1)
    for row in range(len(table)):
        here = np.flatnonzero(event == table.event[row])
        distance = delta_r(g_eta[here], g_phi[here], eta[row], phi[row])
        if len(here) and distance.min() < table.radius:
            matched[row] = here[int(distance.argmin())]
    has = matched >= 0
    pt, mass = (ak.to_numpy(flat[name]).astype(np.float64) for name in ("PT", "Mass"))
    g_energy = energy(pt, g_eta, mass)
    columns: dict[str, Any] = {}

    def chosen(values: Array) -> Array:
        result = np.zeros(len(table))
        result[has] = values[matched[has]]
        return result

    for name, values in (("pt", pt), ("eta", g_eta), ("phi", g_phi), ("energy", g_energy)):
        columns[f"genjet_{name}"] = ak.Array(chosen(values).astype(np.float32))
    if "SoftDroppedP4" in jets.fields:
        mass = ak.to_numpy(fourmass(flat.SoftDroppedP4[:, 0]))
        columns["genjet_sdmass"] = ak.Array(chosen(mass).astype(np.float32))
    references = flat.Constituents.refs[np.maximum(matched, 0)] if len(flat) else ak.Array([[]] * len(table))
    numbers = np.where(has, ak.to_numpy(ak.num(references, axis=1)), 0)
    owner = np.repeat(np.arange(len(table)), numbers)
    refs = ak.to_numpy(ak.flatten(ak.mask(references, has), axis=1)).astype(np.int64)
    particle = ak.flatten(events.Particle, axis=1)
    p_event = np.repeat(np.arange(len(events)), ak.to_numpy(ak.num(events.Particle.PID, axis=1)))
    found = link(table.event[owner], refs, p_event, ak.to_numpy(particle.fUniqueID))
    owner, found = owner[found >= 0], found[found >= 0]
    p = {name: ak.to_numpy(particle[name])[found].astype(np.float64) for name in _GENERATOR_FIELDS}
    order = np.lexsort((-p["PT"], owner))
    owner = owner[order]
    p = {name: values[order] for name, values in p.items()}
    counts = np.bincount(owner, minlength=len(table)).astype(np.int64)
    content = {
        "px": p["Px"],
        "py": p["Py"],
        "pz": p["Pz"],
        "energy": p["E"],
        "jet_deta": eta_sign(eta[owner]) * (p["Eta"] - eta[owner]),
        "jet_dphi": delta_phi(p["Phi"], phi[owner]),
        "x": p["X"],
        "y": p["Y"],
        "z": p["Z"],
        "t": p["T"],
    }
    columns["genjet_nparticles"] = ak.Array(counts.astype(np.int32))
    columns |= {f"genpart_{name}": ak.unflatten(values.astype(np.float32), counts) for name, values in content.items()}
    columns["genpart_pid"] = ak.unflatten(p["PID"].astype(np.int32), counts)
    return columns


_GENERATOR_FIELDS = ("PID", "PT", "Eta", "Phi", "Px", "Py", "Pz", "E", "X", "Y", "Z", "T")


def flat_columns(events: Records, collection: str | None = None) -> tuple[dict[str, Any], DelphesJets]:
    """The jets of events as columns in JetClass-II format.

    Parameters
    ----------
    events : awkward array
        From `jettagger.files.delphes.DelphesFile.read`; with ``Particle`` for truth and classes, and with the generator
        jets of the same radius for ``genjet_`` and ``genpart_``.
    collection : str, optional

    Returns
    -------
    dict of str to awkward array
        One entry per jet with all of its constituents; jets with missing ones are left out.
    DelphesJets

    Raises
    ------
    InputFileError
        As for `DelphesJets`.
    """
    import awkward as ak

    table = DelphesJets(events, collection)
    columns: dict[str, Any] = {name: table.column(name) for name in table.fields}
    if "Particle" in events.fields:
        generator = _generator_jets(table)
        if generator in events.fields:
            columns |= _generator_columns(events, table, generator)
        columns |= _truth_columns(events, table)
    whole = (ak.to_numpy(ak.num(columns["part_px"])) > 0) & ~table.partial()
    return {name: values[whole] for name, values in columns.items()}, table


def _generator_jets(table: DelphesJets) -> str:
    return f"GenJet{table.collection.removeprefix('Jet').removeprefix('PUPPI')}"


def convert_delphes(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    jets: str | None = None,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Converted:
    """Write the jets of a Delphes file as a flat file.

    Parameters
    ----------
    path : path
        A Delphes file.
    output : path
        ``.root`` or ``.parquet``.
    jets : str, optional
        The collection; default: ``JetPUPPIAK8``, or the only one with constituents.
    force : bool
        Whether an existing output may be replaced.
    progress : callable, optional
        Called with the number of events after each chunk.

    Returns
    -------
    Converted

    Raises
    ------
    InputFileError
        If the file has no such jets, or no candidates.
    OutputError
        If the output cannot be written completely, or is the input; nothing is changed in these cases.
    """
    check_target(output, force=force, inputs=[path])
    counts = {"events": 0, "jets": 0, "empty": 0, "partial": 0, "dangling": 0, "labelled": 0}
    with DelphesFile(path) as file:

        def chunks() -> Any:
            for start in range(0, max(file.n_events, 1), CHUNK):
                generator = [name for name in file.collections if name.startswith("GenJet")]
                events = file.read(jets, start, min(start + CHUNK, file.n_events), ["Particle", *generator])
                columns, table = flat_columns(events, jets)
                n_jets = len(columns["jet_pt"])
                counts["events"] += len(events)
                counts["jets"] += n_jets
                n_partial = int(np.count_nonzero(table.partial()))
                counts["partial"] += n_partial
                counts["empty"] += len(table) - n_jets - n_partial
                counts["dangling"] += table.dangling
                if "jet_label" in columns:
                    counts["labelled"] += int(np.count_nonzero(np.asarray(columns["jet_label"]) >= 0))
                yield columns
                if progress is not None:
                    progress(len(events))

        made = Provenance("convert", files=(os.fspath(path),), configuration={"format": "delphes", "jets": jets})
        write_skim(output, chunks(), made.text, force=force)
    return Converted(Path(output), **counts)


guard(globals())
