"""Images of tables with one row per jet and columns of JetClass-II: `part_`, `genpart_` for generator particles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.arguments import Records, guard
from jettagger.errors import MissingColumns, hint
from jettagger.images.pixels import make_images
from jettagger.images.settings import ImageSettings
from jettagger.images.sparse import SparseImages
from jettagger.types import Array

__all__ = ["particle_charge", "table_columns", "table_images"]

#: column of generator particles -> what it is computed from
_GENERATOR = {
    "deta": "jet_deta",
    "dphi": "jet_dphi",
    "charge": "pid",
    "isElectron": "pid",
    "isMuon": "pid",
    "isPhoton": "pid",
    "isChargedHadron": "pid",
    "isNeutralHadron": "pid",
}

_LEPTONS = (11, 13, 15)


def table_columns(settings: ImageSettings) -> tuple[str, ...]:
    """The columns of a table that images are made of.

    Parameters
    ----------
    settings : ImageSettings

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> table_columns(ImageSettings(channels=["photons"], zoom=500.0))
    ('part_px', 'part_py', 'part_deta', 'part_dphi', 'part_isPhoton', 'jet_pt')
    """
    generator = settings.granularity == "generator"
    names = ["px", "py", "deta", "dphi", *(["energy"] if settings.needs_energy else []), *settings.columns]
    if generator:
        names = [_GENERATOR.get(name, name) for name in names]
    prefix = "genpart_" if generator else "part_"
    own = (f"{prefix}{name}" for name in names)
    return tuple(dict.fromkeys([*own, *(f"jet_{name}" for name in settings.jet_columns)]))


def table_images(settings: ImageSettings, jets: Records) -> SparseImages:
    """Images of the jets in a table.

    Parameters
    ----------
    settings : ImageSettings
        Columns in expressions are those of the constituents without ``part_`` or ``genpart_``.
    jets : awkward array
        One record per jet with the columns in `table_columns`; GeV, mm.

    Returns
    -------
    SparseImages

    Raises
    ------
    MissingColumns
        If the table lacks columns; gives the nearest ones.
    InvalidValues
        As for `jettagger.images.make_images`.

    Examples
    --------
    >>> import awkward as ak
    >>> table = ak.Array({"part_px": [[3.0]], "part_py": [[4.0]], "part_deta": [[0.1]], "part_dphi": [[-0.1]]})
    >>> table_images(ImageSettings(size=2), table).dense()[0].tolist()
    [[[0.0, 5.0], [0.0, 0.0]]]
    """
    import awkward as ak

    needed = table_columns(settings)
    missing = [name for name in needed if name not in jets.fields]
    if missing:
        listed = ", ".join(f"{name}{hint(name, jets.fields)}" for name in missing)
        raise MissingColumns(f"images of {settings.granularity} need columns that the table lacks: {listed}")
    prefix = "genpart_" if settings.granularity == "generator" else "part_"
    counts = ak.to_numpy(ak.num(jets[f"{prefix}px"], axis=1))
    flat = {name: ak.to_numpy(ak.flatten(jets[name], axis=1)) for name in needed if name.startswith(prefix)}
    px, py = flat[f"{prefix}px"], flat[f"{prefix}py"]
    columns = {"pt": np.hypot(px, py)}
    names = ["deta", "dphi", *(["energy"] if settings.needs_energy else []), *settings.columns]
    for name in names:
        columns[name] = _generator(name, flat) if prefix == "genpart_" else flat[f"{prefix}{name}"]
    of_jets = {name: ak.to_numpy(jets[f"jet_{name}"]) for name in settings.jet_columns}
    return make_images(settings, columns, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), of_jets)


def _generator(name: str, flat: Mapping[str, Array]) -> Array:
    """A column of generator particles, flags from the PDG code."""
    stored = flat[f"genpart_{_GENERATOR.get(name, name)}"]
    if name not in _GENERATOR or name in ("deta", "dphi"):
        return stored
    code = np.abs(stored)
    charge = particle_charge(stored)
    if name == "charge":
        return charge
    kinds = {"isElectron": code == 11, "isMuon": code == 13, "isPhoton": code == 22}
    hadron = code > 100
    return kinds.get(name, hadron & ((charge != 0) == (name == "isChargedHadron")))


def particle_charge(pid: Array) -> Array:
    """Electric charge of stable particles by their PDG code: quark content of hadrons, leptons, nuclei; else 0.

    Parameters
    ----------
    pid : int[n]

    Returns
    -------
    int64[n]
        In units of the elementary charge.

    References
    ----------
    PDG, Review of Particle Physics, Monte Carlo particle numbering scheme.

    Examples
    --------
    >>> particle_charge(np.array([211, -321, 2212, 3112, 11, -13, 22, 130, 2112])).tolist()
    [1, -1, 1, -1, -1, 1, 0, 0, 0]
    """
    code = np.abs(np.asarray(pid)).astype(np.int64)
    quarks = [code // 10**place % 10 for place in (3, 2, 1)]
    first, second, third = (np.where(quark % 2 == 0, 2, -1) * (quark > 0) for quark in quarks)  # thirds of a charge
    # the heavier quark of a meson comes first; it is the antiquark if it is of the lower kind
    meson = np.where(quarks[1] % 2 == 0, second - third, third - second)
    thirds = np.where(quarks[0] > 0, first + second + third, meson)
    thirds = np.where(code < 100, np.where(np.isin(code, _LEPTONS), -3, 0), thirds)
    thirds = np.where(code > 10**9, 3 * (code // 10_000 % 1000), thirds)
    return np.sign(np.asarray(pid)).astype(np.int64) * thirds // 3


guard(globals())
