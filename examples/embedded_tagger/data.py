"""Training arrays: loading, weights, batches of similar length."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

__all__ = [
    "HADRONIC",
    "QCD",
    "TYPES",
    "Sample",
    "augment",
    "flat_weights",
    "held_out",
    "load",
    "make_batches",
    "prepared_files",
    "read",
]

#: the 37 types in the order of the V1 outputs
TYPES = [
    "HWqqWqq0c",
    "HWqqWqq1c",
    "HWqqWqq2c",
    "HWqqWq0c",
    "HWqqWq1c",
    "HWqqWq2c",
    "HWqqWev0c",
    "HWqqWev1c",
    "HWqqWmv0c",
    "HWqqWmv1c",
    "HWqqWtauev0c",
    "HWqqWtauev1c",
    "HWqqWtaumv0c",
    "HWqqWtaumv1c",
    "HWqqWtauhv0c",
    "HWqqWtauhv1c",
    "Hbb",
    "Hcc",
    "Hss",
    "Hqq",
    "Htauhtaue",
    "Htauhtaum",
    "Htauhtauh",
    "QCDbb",
    "QCDcc",
    "QCDb",
    "QCDc",
    "QCDothers",
    "TopbWqq0c",
    "TopbWqq1c",
    "TopbWq0c",
    "TopbWq1c",
    "TopbWev",
    "TopbWmv",
    "TopbWtauhv",
    "TopbWtauev",
    "TopbWtaumv",
]
QCD = tuple(index for index, name in enumerate(TYPES) if name.startswith("QCD"))

#: types without a neutrino of a W or tau
HADRONIC = tuple(
    index
    for index, name in enumerate(TYPES)
    if name in ("Hbb", "Hcc", "Hss", "Hqq") or name.startswith(("HWqqWq", "TopbWq"))
)

#: the plane in which signals and QCD are made flat, GeV
PT_EDGES = np.array([200, 230, 260, 300, 350, 420, 500, 600, 720, 860, 1000, 1e9])
MASS_EDGES = np.array([0, 15, 25, 35, 50, 65, 80, 95, 110, 125, 140, 160, 180, 200, 220, 240, 1e9])


@dataclass
class Sample:
    """Jets of several files, without padding.

    ``columns`` holds one array per jet column; ``start_pf`` and ``start_sv`` say where each jet's objects begin.
    """

    columns: dict[str, np.ndarray]
    pf: np.ndarray
    pf_p4: np.ndarray
    sv: np.ndarray
    sv_p4: np.ndarray

    def __len__(self) -> int:
        return len(self.columns["label"])

    def starts(self, stem: str) -> np.ndarray:
        """Where each jet's objects begin."""
        counts = self.columns[f"n_{stem}"].astype(np.int64)
        return np.cumsum(counts) - counts


def prepared_files(folder: str | Path) -> list[Path]:
    """The complete prepared files of a folder."""
    return [path for path in sorted(Path(folder).glob("*.npz")) if not path.name.endswith(".part.npz")]


def read(path: Path) -> Sample:
    """One prepared file."""
    with np.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    objects = {name: columns.pop(name) for name in ("pf", "pf_p4", "sv", "sv_p4")}
    # unique over files, and the same whatever other files are there
    columns["block"] = np.uint64(zlib.crc32(path.stem.encode()) << 20) + columns["luminosityBlock"].astype(np.uint64)
    return Sample(columns, **objects)


def load(folder: str | Path) -> Sample:
    """All prepared files of a folder."""
    parts = [read(path) for path in prepared_files(folder)]
    if not parts:
        raise SystemExit(f"no prepared files in {folder}")
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    objects = [np.concatenate([getattr(part, name) for part in parts]) for name in ("pf", "pf_p4", "sv", "sv_p4")]
    return Sample(columns, *objects)


def held_out(sample: Sample, share: int = 25) -> np.ndarray:
    """Which jets are kept for validation: whole blocks of events, one in ``share``, by a hash of their number."""
    mixed = (sample.columns["block"] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return mixed % np.uint64(share) == 0


def flat_weights(sample: Sample, flatten: bool = True, ceiling: float = 4.0) -> np.ndarray:
    """A sampling weight per jet.

    Generator weights are respected; with ``flatten`` each type becomes flat in (pt, mass), the mass being that of the
    generated resonance for signals and the soft-drop mass for QCD. All types get the same total, QCD types twice that.

    Parameters
    ----------
    sample : Sample
    flatten : bool
    ceiling : float
        Largest weight, in units of the type's mean.

    Returns
    -------
    float64[jets]
        Sums to one.
    """
    columns = sample.columns
    label = columns["label"]
    weights = np.abs(columns["genWeight"]).astype(np.float64)
    qcd = np.isin(label, QCD)
    mass = np.where(qcd, columns["msoftdrop"], columns["genResonanceMass"])
    i_pt = np.digitize(columns["pt"], PT_EDGES) - 1
    i_mass = np.digitize(mass, MASS_EDGES) - 1
    result = np.zeros(len(label))
    for kind in np.unique(label):
        chosen = np.flatnonzero(label == kind)
        part = weights[chosen]
        if flatten:
            plane = np.zeros((len(PT_EDGES), len(MASS_EDGES)))
            cell = (i_pt[chosen], i_mass[chosen])
            np.add.at(plane, cell, part)
            part = part / plane[cell]
        part = np.minimum(part, ceiling * part.mean())
        result[chosen] = part / part.sum() * (2.0 if kind in QCD else 1.0)
    return result / result.sum()


#: positions of variables in the V1 inputs whose sign changes when an event is mirrored
PHIREL, CHARGE, DZ, DXY = 3, 5, (15, 16), (17, 18)

#: chance with which a candidate is left out in training, and the share of the jet's pt above which it never is
DROP, HARD = 0.08, 0.02


def augment(inputs: list[np.ndarray], rng: np.random.Generator, drop: float = DROP) -> None:
    """Mirror jets at random, exchange charges, and leave out some soft candidates; in place.

    Nature does not change (beyond what a small network could tell) when azimuth, beam axis or charge are reversed. The
    first also turns the sign of transverse impact parameters, the second that of longitudinal ones.

    Parameters
    ----------
    inputs : list of float32[jets, objects, variables]
        Features, four-vectors and mask of candidates, then of vertices.
    rng : numpy.random.Generator
    drop : float
        Chance with which a soft candidate is left out.
    """
    pf, pf_p4, pf_mask, sv, sv_p4, _ = inputs
    azimuth, beam, charge = rng.choice(np.array([-1, 1], dtype=np.float32), (3, len(pf), 1))
    pf[:, :, PHIREL] *= azimuth
    sv[:, :, PHIREL] *= azimuth
    pf[:, :, CHARGE] *= charge
    for index in DXY:
        pf[:, :, index] *= azimuth
    for index in DZ:
        pf[:, :, index] *= beam
    for p4 in (pf_p4, sv_p4):
        p4[:, :, 1] *= azimuth
        p4[:, :, 2] *= beam
    pt = np.hypot(pf_p4[:, :, 0], pf_p4[:, :, 1])
    soft = pt < HARD * pt.sum(axis=1, keepdims=True)
    kept = ~(soft & (rng.random(pt.shape) < drop))[:, :, np.newaxis]
    for array in (pf, pf_p4, pf_mask):
        array *= kept


def make_batches(
    sample: Sample,
    jets: np.ndarray,
    size: int,
    most_pf: int,
    most_sv: int,
    rng: np.random.Generator | None,
    drop: float = DROP,
) -> Iterator[tuple[np.ndarray, list[torch.Tensor]]]:
    """Batches of similar length; shuffled and augmented if there is a generator.

    Yields
    ------
    int64[n]
        The jets.
    list of Tensor
        The six inputs of the network.
    """
    counts = {
        "pf": np.minimum(sample.columns["n_pf"].astype(np.int64), most_pf),
        "sv": np.minimum(sample.columns["n_sv"].astype(np.int64), most_sv),
    }
    starts = {stem: sample.starts(stem) for stem in counts}
    jets = jets[np.argsort(counts["pf"][jets], kind="stable")]
    pieces = [jets[start : start + size] for start in range(0, len(jets), size)]
    order: Sequence[int] = range(len(pieces)) if rng is None else rng.permutation(len(pieces))
    for index in order:
        piece = pieces[index]
        inputs = []
        for stem, features, vectors in (("pf", sample.pf, sample.pf_p4), ("sv", sample.sv, sample.sv_p4)):
            n = counts[stem][piece]
            length = max(int(n.max()), 1)
            slot = np.arange(length)
            real = slot < n[:, np.newaxis]
            rows = np.where(real, starts[stem][piece][:, np.newaxis] + slot, 0)
            for array in (features, vectors):
                if len(array):
                    block = array[rows].astype(np.float32) * real[..., np.newaxis]
                else:
                    block = np.zeros((*rows.shape, array.shape[1]), dtype=np.float32)
                inputs.append(block)
            inputs.append(real[..., np.newaxis].astype(np.float32))
        if rng is not None:
            augment(inputs, rng, drop)
        yield piece, [torch.from_numpy(np.ascontiguousarray(array.transpose(0, 2, 1))) for array in inputs]
