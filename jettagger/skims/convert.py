"""From Delphes events to flat files of JetClass-II's shape: constituents, jets, generator jets, truth, classes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import Records, guard
from jettagger.features.cms import eta_sign
from jettagger.files.delphes import DelphesFile
from jettagger.formats.delphes import DelphesJets, fourmass, link
from jettagger.jetclass2 import LABELS
from jettagger.kinematics import delta_phi, delta_r, energy
from jettagger.skims.writers import check_target, write_skim
from jettagger.types import Array

__all__ = ["Converted", "class_of", "convert_delphes", "flat_columns"]

#: events that are in memory at a time
CHUNK = 500

_QCD_MIN_PT = 5.0
_QUARKS = {1: "q", 2: "q", 3: "s", 4: "c", 5: "b", 21: "g"}
_LEPTONS = {11: "e", 13: "m"}
_TAUS = {11: "taue", 13: "taum", 0: "tauh"}
_NEUTRINOS = (12, 14, 16)
_BOSONS = (23, 24, 25, 35, 36, 37)
_TOKENS = re.compile("tauh|taue|taum|[bcsqgemv]")


@dataclass(frozen=True)
class Converted:
    """What became of a file.

    Parameters
    ----------
    path : pathlib.Path
    events, jets : int
    empty : int
        Jets without constituents, which are not written.
    partial : int
        Jets of which only a part is there, which are not written.
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


def _table() -> Mapping[tuple[bool, tuple[str, ...]], int]:
    """(whether X decays to two, legs in order of the alphabet) -> class."""
    found = {}
    for index, name in enumerate(LABELS[:161]):
        secondary = name.startswith("X_YY_")
        legs = tuple(sorted(_TOKENS.findall(name.rpartition("_")[2])))
        found[not secondary, legs] = index
    return found


_BY_LEGS = _table()


def class_of(legs: list[str], *, two_body: bool) -> int:
    """The class of a jet from what of the resonance's decay lies inside, -1 for none.

    Parameters
    ----------
    legs : list of str
        ``b c s q g e m taue taum tauh``, and ``v`` for a neutrino beside a charged lepton.
    two_body : bool
        Whether the resonance decays to two legs directly, not through two others.

    Returns
    -------
    int

    Examples
    --------
    >>> [LABELS[class_of(legs.split(), two_body=two)] for legs, two in (("b b", True), ("c s e v", False))]
    ['X_bb', 'X_YY_csev']
    """
    return _BY_LEGS.get((two_body, tuple(sorted(legs))), -1)


class _Truth:
    """Generator particles of one event."""

    def __init__(self, particles: Any) -> None:
        self.pid = np.asarray(particles.PID)
        self.status = np.asarray(particles.Status)
        self.first, self.last = np.asarray(particles.D1), np.asarray(particles.D2)
        self.mother = np.asarray(particles.M1)
        self.pt, self.eta, self.phi = (np.asarray(particles[name]) for name in ("PT", "Eta", "Phi"))
        self.mass = np.asarray(particles.Mass)

    def daughters(self, index: int) -> list[int]:
        """The next particles."""
        first, last = int(self.first[index]), int(self.last[index])
        if first < 0:
            return []
        return list(range(first, max(last, first) + 1))

    def end(self, index: int) -> int:
        """The last copy of a particle in its own record."""
        seen = {index}
        while True:
            same = [item for item in self.daughters(index) if self.pid[item] == self.pid[index] and item not in seen]
            if not same:
                return index
            index = same[0]
            seen.add(index)

    @cached_property
    def resonances(self) -> list[tuple[int, list[int], list[int]]]:
        """Each resonance X with its secondaries Y and the direct decay products, as last copies of X and Y."""
        found = []
        taken: set[int] = set()
        for index in np.flatnonzero(np.isin(np.abs(self.pid), _BOSONS)):
            mother = int(self.mother[index])
            if mother >= 0 and abs(int(self.pid[mother])) in (*_BOSONS, 6):
                continue  # a copy, a secondary, or from a top quark
            last = self.end(int(index))
            if last in taken:
                continue
            taken.add(last)
            children = self.daughters(last)
            seconds = [self.end(item) for item in children if abs(int(self.pid[item])) in _BOSONS]
            products = [item for second in seconds for item in self.daughters(second)]
            products += [item for item in children if abs(int(self.pid[item])) not in _BOSONS]
            found.append((last, seconds, [item for item in products if self._is_leg(item)]))
        return found

    def _is_leg(self, index: int) -> bool:
        kind = abs(int(self.pid[index]))
        return kind in _QUARKS or kind in (11, 12, 13, 14, 15, 16)

    def leg(self, index: int) -> str:
        """The letter of a decay product; of a tau by what it decays to."""
        kind = abs(int(self.pid[index]))
        if kind == 15:
            light = [abs(int(self.pid[item])) for item in self.tau_products(index)]
            return _TAUS[next((code for code in light if code in (11, 13)), 0)]
        return _QUARKS.get(kind) or _LEPTONS.get(kind) or "v"

    def tau_products(self, index: int) -> list[int]:
        """What a tau decays to."""
        return self.daughters(self.end(index))

    @cached_property
    def partons(self) -> Array:
        """Partons above 5 GeV at the end of the shower."""
        kind = np.abs(self.pid)
        parton = ((kind >= 1) & (kind <= 5)) | (kind == 21)
        child = np.where(self.first >= 0, kind[np.clip(self.first, 0, len(kind) - 1)], 0)
        return np.flatnonzero(parton & ((child == 0) | (child > 80)) & (self.pt > _QCD_MIN_PT) & (self.status > 60))


_ROLES = ("isResX", "isResY", "isResDecayProd", "isTauDecayProd", "isQcdParton")


def _of_jet(truth: _Truth, eta: float, phi: float, radius: float) -> tuple[int, list[tuple[int, str]]]:
    """The class of a jet, and its selected particles with their roles."""

    def inside(index: int) -> bool:
        return bool(delta_r(truth.eta[index], np.float64(truth.phi[index]), np.float64(eta), np.float64(phi)) < radius)

    best: tuple[int, list[str], int, list[int], list[int]] | None = None
    for last, seconds, products in truth.resonances:
        here = [item for item in products if inside(item) and abs(int(truth.pid[item])) not in _NEUTRINOS]
        legs = [truth.leg(item) for item in here]
        # the neutrino of a W stays with its charged lepton
        charged = any(abs(int(truth.pid[item])) in (11, 13, 15) for item in here)
        if charged and any(abs(int(truth.pid[item])) in _NEUTRINOS for item in products):
            legs.append("v")
        if legs and (best is None or len(legs) > len(best[1])):
            best = (last, legs, len(seconds), seconds, products)
    if best is not None:
        last, legs, n_seconds, seconds, products = best
        chosen = [(last, "isResX"), *((item, "isResY") for item in seconds), *((i, "isResDecayProd") for i in products)]
        for item in products:
            if abs(int(truth.pid[item])) == 15:
                chosen += [(child, "isTauDecayProd") for child in truth.tau_products(item)]
        return class_of(legs, two_body=n_seconds == 0), chosen
    near = [int(item) for item in truth.partons if inside(int(item))]
    chosen = [(item, "isQcdParton") for item in near]
    if truth.resonances or bool(np.any(np.abs(truth.pid) == 6)):
        return -1, chosen
    count = {quark: sum(abs(int(truth.pid[item])) == quark for item in near) for quark in (5, 4, 3)}
    index = sum(3**power * (2 - min(count[quark], 2)) for power, quark in ((2, 5), (1, 4), (0, 3)))
    return 161 + index, chosen


def _truth_columns(events: Any, table: DelphesJets) -> dict[str, Any]:
    import awkward as ak

    eta, phi = table.jet("Eta"), table.jet("Phi")
    labels = np.full(len(table), -1, dtype=np.int32)
    values: dict[str, list[Any]] = {name: [] for name in ("pt", "eta", "phi", "mass", "pid", *_ROLES)}
    counts = np.zeros(len(table), dtype=np.int64)
    for event in range(len(events)):
        rows = np.flatnonzero(table.event == event)
        truth = _Truth(events.Particle[event]) if len(rows) else None
        for row in rows:
            if truth is None:
                continue
            labels[row], chosen = _of_jet(truth, float(eta[row]), float(phi[row]), table.radius)
            counts[row] = len(chosen)
            for index, role in chosen:
                for name in ("pt", "eta", "phi", "mass", "pid"):
                    values[name].append(getattr(truth, name)[index])
                for name in _ROLES:
                    values[name].append(name == role)
    columns: dict[str, Any] = {"jet_label": ak.Array(labels)}
    for name, items in values.items():
        kind = "int32" if name == "pid" else "bool" if name in _ROLES else "float32"
        columns[f"aux_genpart_{name}"] = ak.unflatten(np.array(items, dtype=kind), counts)
    return columns


def _generator_columns(events: Any, table: DelphesJets, collection: str) -> dict[str, Any]:
    """The nearest generator jet and its constituents: zeros and empty lists where there is none."""
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
    """The jets of events as the columns of JetClass-II.

    Parameters
    ----------
    events : awkward array
        From `jettagger.files.delphes.DelphesFile.read`; with ``Particle`` for truth and classes, and with the generator
        jets of the same radius for ``genjet_`` and ``genpart_``.
    collection : str, optional

    Returns
    -------
    dict of str to awkward array
        One entry a jet that has its constituents; those of which a part is missing are left out.
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
        If the output cannot be written completely, or is the input; nothing is changed then.
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

        note = f'{{"jettagger": "{__version__}", "converted": "{Path(os.fspath(path)).name}"}}'
        write_skim(output, chunks(), note, force=force)
    return Converted(Path(output), **counts)


guard(globals())
