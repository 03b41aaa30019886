"""JetClass-II: its variables with types and units, its 188 classes, its coarse groups, its files.

The data set (arXiv:2405.12972) has one row per jet. Momenta, energies and masses are in GeV, impact parameters and
vertices in mm, times in mm/c. The first JetClass (arXiv:2202.03772) has a subset of the columns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jettagger.arguments import Records, guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, InvalidValues, UnknownName, hint
from jettagger.files.tables import TARBALLS, FlatFile, members

__all__ = [
    "COARSE",
    "COLUMNS",
    "LABELS",
    "PARTS",
    "SPLITS",
    "Column",
    "Listing",
    "coarse",
    "files",
    "read",
    "truth",
]


@dataclass(frozen=True)
class Column(Brief):
    """A column of the published table.

    Parameters
    ----------
    name : str
    type : str
        NumPy type of a value; columns that are not jet-level contain lists of values.
    unit : str
        ``"1"`` for dimensionless numbers and flags.
    doc : str
    in_jetclass : bool
        Whether it exists in the first JetClass, too.
    """

    name: str
    type: str
    unit: str
    doc: str
    in_jetclass: bool = False

    @property
    def group(self) -> str:
        """``part``, ``jet``, ``genpart``, ``genjet`` or ``aux_genpart``."""
        return next(
            group for group in ("aux_genpart", "genpart", "genjet", "part", "jet") if self.name.startswith(f"{group}_")
        )

    @property
    def per_jet(self) -> bool:
        """Whether it is a jet-level column, as opposed to a list."""
        return self.group in ("jet", "genjet")


def _columns() -> tuple[Column, ...]:
    momentum = [
        ("px", "momentum along x"),
        ("py", "momentum along y"),
        ("pz", "momentum along z"),
        ("energy", "energy"),
    ]
    rows = [Column(f"part_{name}", "float32", "GeV", f"{text} of the constituent", True) for name, text in momentum]
    sign = "times the sign of the jet's"
    rows += [
        Column("part_deta", "float32", "1", f"pseudorapidity relative to the jet axis, {sign}", True),
        Column("part_dphi", "float32", "rad", "azimuth relative to the jet axis", True),
        Column("part_d0val", "float32", "mm", "transverse impact parameter; 0 without a track", True),
        Column("part_d0err", "float32", "mm", "its error", True),
        Column("part_dzval", "float32", "mm", "longitudinal impact parameter; 0 without a track", True),
        Column("part_dzerr", "float32", "mm", "its error", True),
        Column("part_charge", "int32", "e", "electric charge", True),
    ]
    kinds = {
        "Electron": "electron",
        "Muon": "muon",
        "Photon": "photon",
        "ChargedHadron": "charged, and neither electron nor muon",
        "NeutralHadron": "neutral, and no photon",
    }
    rows += [Column(f"part_is{name}", "bool", "1", f"whether it is: {text}", True) for name, text in kinds.items()]
    for stem, text in (("jet", "the jet"), ("genjet", "the matched generator jet; 0 without one")):
        old = stem == "jet"
        rows += [
            Column(f"{stem}_pt", "float32", "GeV", f"transverse momentum of {text}", old),
            Column(f"{stem}_eta", "float32", "1", f"pseudorapidity of {text}", old),
            Column(f"{stem}_phi", "float32", "rad", f"azimuth of {text}", old),
            Column(f"{stem}_energy", "float32", "GeV", f"energy of {text}", old),
            Column(f"{stem}_sdmass", "float32", "GeV", f"soft-drop mass of {text}", old),
            Column(f"{stem}_nparticles", "int32", "1", f"number of constituents of {text}", old),
        ]
        if stem == "jet":
            rows += [Column(f"jet_tau{n}", "float32", "1", f"N-subjettiness for N = {n}", True) for n in range(1, 5)]
            rows.append(Column("jet_label", "int32", "class", "class, an index into LABELS"))
            rows += [
                Column(f"genpart_{name}", "float32", "GeV", f"{part} of a constituent of the generator jet")
                for name, part in momentum
            ]
            rows += [
                Column(
                    "genpart_jet_deta",
                    "float32",
                    "1",
                    f"pseudorapidity relative to the jet (not the generator jet), {sign}",
                ),
                Column("genpart_jet_dphi", "float32", "rad", "azimuth relative to the jet (not the generator jet)"),
                *(Column(f"genpart_{axis}", "float32", "mm", f"{axis} of the production vertex") for axis in "xyz"),
                Column("genpart_t", "float32", "mm/c", "time of production"),
                Column("genpart_pid", "int32", "PDG code", "what the particle is"),
            ]
    rows += [
        Column("aux_genpart_pt", "float32", "GeV", "transverse momentum of a selected generator particle", True),
        Column("aux_genpart_eta", "float32", "1", "its pseudorapidity", True),
        Column("aux_genpart_phi", "float32", "rad", "its azimuth", True),
        Column("aux_genpart_mass", "float32", "GeV", "its mass", True),
        Column("aux_genpart_pid", "int32", "PDG code", "what it is"),
    ]
    roles = {
        "isResX": "the resonance X",
        "isResY": "one of the two secondary resonances of X -> Y1 Y2",
        "isResDecayProd": "a direct decay product of X or Y",
        "isTauDecayProd": "a decay product of such a tau",
        "isQcdParton": "a parton above 5 GeV in a QCD jet",
    }
    rows += [Column(f"aux_genpart_{name}", "bool", "1", f"whether it is {text}") for name, text in roles.items()]
    return tuple(rows)


#: the published columns by name
COLUMNS: Mapping[str, Column] = MappingProxyType({column.name: column for column in _columns()})


def _classes() -> list[tuple[str, str]]:
    """The 188 names in their published order with the coarse group of each, by the rules that made them."""
    quarks = ["b", "c", "s", "q"]
    taus = {"tauhtaue": "tauhtaul", "tauhtaum": "tauhtaul", "tauhtauh": "tauhtauh"}
    pairs = {"ee": "ll", "mm": "ll", **taus}
    mixed = ["bc", "cs", "bq", "cq", "sq"]
    found = [(f"X_{legs}", "X_QQ") for legs in [*(2 * quark for quark in quarks), *mixed]]
    found += [("X_gg", "X_gg"), *((f"X_{pair}", f"X_{kind}") for pair, kind in pairs.items())]
    doubles = ["bb", "cc", "ss", "qq", "gg"]
    singles = ["b", "c", "s", "q", "g"]
    for index, first in enumerate(doubles):
        kind = _kind(first)
        found += [(f"X_YY_{first}{second}", f"X_YY_{kind}{_kind(second)}") for second in doubles[index:]]
        found += [(f"X_YY_{first}{pair}", f"X_YY_{kind}{group}") for pair, group in pairs.items()]
        three = dict.fromkeys(quarks, "QQQ" if kind == "QQ" else "Qgg") | {"g": f"{kind}g"}
        found += [(f"X_YY_{first}{single}", f"X_YY_{three[single]}") for single in singles]
        found += [(f"X_YY_{first}{lepton}", f"X_YY_{kind}l") for lepton in ("e", "m")]
    found += [(f"X_YY_{one}{pair}", f"X_YY_{_kind(one)}{kind}") for pair, kind in pairs.items() for one in singles]
    four = ["qqqb", "qqqc", "qqqs", "bbcq", "ccbs", "ccbq", "ccsq", "sscq", "qqbc", "qqbs", "qqcs", "bcsq"]
    found += [(f"X_YY_{legs}", "X_YY_QQQQ") for legs in four]
    found += [(f"X_YY_{legs}", "X_YY_QQQ") for legs in ["bcs", "bcq", "bsq", "csq"]]
    leptons = {"e": "l", "m": "l", "taue": "taul", "taum": "taul", "tauh": "tauh"}
    found += [(f"X_YY_{pair}{one}v", f"X_YY_QQ{kind}v") for one, kind in leptons.items() for pair in [*mixed, "qq"]]
    qcd = [f"QCD_{b}{c}{s}" for b in ("bb", "b", "") for c in ("cc", "c", "") for s in ("ss", "s", "")]
    return [*found, *((name, "QCD") for name in [*qcd[:-1], "QCD_light"])]


def _kind(legs: str) -> str:
    return legs if set(legs) == {"g"} else "Q" * len(legs)


#: names of the classes; the index is the value of ``jet_label``
LABELS: tuple[str, ...] = tuple(name for name, _ in _classes())


def _coarse() -> Mapping[str, tuple[int, ...]]:
    groups: dict[str, list[int]] = {}
    for index, (_, group) in enumerate(_classes()):
        groups.setdefault(group, []).append(index)
    return MappingProxyType({name: tuple(indices) for name, indices in groups.items()})


#: coarse group -> its classes; as in the training weights of Sophon
COARSE: Mapping[str, tuple[int, ...]] = _coarse()

#: part -> number of its first validation file, of its first test file, and of its last file plus one
_RANGES = {"Res2P": (200, 250, 300), "Res34P": (860, 1075, 1290), "QCD": (280, 350, 420)}

PARTS: tuple[str, ...] = tuple(_RANGES)
SPLITS: tuple[str, ...] = ("train", "validation", "test")

_NAME = re.compile(r"^(Res2P|Res34P|QCD)_(\d{4})(?:\D+(\d{4}))?$")


def truth(labels: Any, *, none: int | None = None) -> list[str | None]:
    """The class names of jets.

    Parameters
    ----------
    labels : array of int
        ``jet_label``.
    none : int, optional
        A value for "no class", e.g. -1 in files simulated by jettagger; gives None.

    Returns
    -------
    list of str or None

    Raises
    ------
    InvalidValues
        If a label is outside 0 to 187; gives their number, and the first one with its jet.

    Examples
    --------
    >>> truth([0, 187, -1], none=-1)
    ['X_bb', 'QCD_light', None]
    """
    values = np.asarray(labels)
    if values.ndim != 1 or (len(values) and values.dtype.kind not in "iu"):
        raise InvalidValues(f"labels are {values.dtype}{list(values.shape)}, expected whole numbers, one per jet")
    known = (values >= 0) & (values < len(LABELS))
    bad = np.flatnonzero(~known & (values != none) if none is not None else ~known)
    if len(bad):
        raise InvalidValues(
            f"{len(bad)} of {len(values)} labels lie outside 0 to {len(LABELS) - 1} "
            f"(first: {values[bad[0]]} of jet {bad[0]})"
        )
    return [LABELS[value] if good else None for value, good in zip(values.tolist(), known.tolist(), strict=True)]


def coarse(jets: Records, prefix: str) -> dict[str, Any]:
    """The scores of the coarse groups: sums over the classes of each group.

    Parameters
    ----------
    jets : awkward array of records
        With the columns ``<prefix>_prob...`` of all 188 classes.
    prefix : str

    Returns
    -------
    dict of str to array
        Group -> its probability, None if a jet was not scored.

    Raises
    ------
    UnknownName
        If columns are missing.

    Examples
    --------
    >>> import awkward as ak
    >>> names = [f"s_prob{name.replace('_', '')}" for name in LABELS]
    >>> jets = ak.zip({name: ak.Array([1 / 188]) for name in names})
    >>> coarse(jets, "s")["X_QQ"].tolist() == [9 / 188]
    True
    """
    names = [f"{prefix}_prob{name.replace('_', '')}" for name in LABELS]
    missing = [name for name in names if name not in jets.fields]
    if missing:
        raise UnknownName("column", missing[:3], jets.fields, f"jets without {len(missing)} of the 188 scores")
    sums = {}
    for group, indices in COARSE.items():
        total = jets[names[indices[0]]]
        for index in indices[1:]:
            total = total + jets[names[index]]
        sums[group] = total
    return sums


@dataclass(frozen=True)
class Listing(Brief):
    """Existing and missing files of the data set.

    Parameters
    ----------
    found : mapping of str to str
        ``QCD_0350`` -> a path, or ``TARBALL::MEMBER``; both can be opened by `jettagger.files.tables.FlatFile`.
    missing : tuple of str
        Files of the published table that were not found.
    broken : mapping of str to str
        Tarballs that cannot be read completely -> reason.
    """

    found: Mapping[str, str]
    missing: tuple[str, ...]
    broken: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Any:
        return iter(self.found.values())

    def __len__(self) -> int:
        return len(self.found)

    def __str__(self) -> str:
        text = f"{len(self.found)} of {len(self.found) + len(self.missing)} files are there"
        if self.missing:
            text += f"; missing: {_ranges(self.missing)}"
        return text + "".join(f"; {reason}" for reason in self.broken.values())


def _ranges(names: Iterable[str]) -> str:
    """``QCD_0350 to QCD_0352, QCD_0400`` for the files of a list."""
    parts: list[list[tuple[str, int]]] = []
    for name in names:
        part, _, number = name.partition("_")
        here = (part, int(number))
        if parts and parts[-1][-1] == (part, here[1] - 1):
            parts[-1].append(here)
        else:
            parts.append([here])

    def shown(item: tuple[str, int]) -> str:
        return f"{item[0]}_{item[1]:04d}"

    return ", ".join(shown(part[0]) if len(part) == 1 else f"{shown(part[0])} to {shown(part[-1])}" for part in parts)


def files(*, split: str | None = None, part: str | None = None, root: str | os.PathLike[str] = ".") -> Listing:
    """The files of the data set in a folder.

    Parameters
    ----------
    split : {"train", "validation", "test"}, optional
        ``val`` is short for validation. Default: all.
    part : {"Res2P", "Res34P", "QCD"}, optional
        Default: all.
    root : path
        Searched with its subfolders for ``QCD_0350.parquet`` and ``.root``, and for tarballs named after the range of
        their files, such as ``QCD_0350-0359.tar``.

    Returns
    -------
    Listing

    Raises
    ------
    UnknownName
        If the split or part does not exist.
    ConfigError
        If ``root`` is not a folder.

    Examples
    --------
    >>> import tempfile
    >>> listing = files(split="test", part="QCD", root=tempfile.mkdtemp())
    >>> len(listing.found) + len(listing.missing)
    70
    """
    split = {"val": "validation"}.get(split or "", split)
    for word, value, known in (("split", split, SPLITS), ("part", part, PARTS)):
        if value is not None and value not in known:
            raise UnknownName(word, value, known)
    folder = Path(root)
    if not os.path.isdir(folder):
        raise ConfigError(f"root {folder} is not a folder, expected the one with the files of JetClass-II")
    wanted = [name for here in ([part] if part else PARTS) for name in _names(here, split)]
    found, broken = _search(folder, set(wanted))
    return Listing(
        {name: found[name] for name in wanted if name in found},
        tuple(name for name in wanted if name not in found),
        broken,
    )


def _names(part: str, split: str | None) -> list[str]:
    validation, test, end = _RANGES[part]
    start, stop = {"train": (0, validation), "validation": (validation, test), "test": (test, end)}.get(
        split or "", (0, end)
    )
    return [f"{part}_{number:04d}" for number in range(start, stop)]


def _stem(name: str) -> str:
    for suffix in (*TARBALLS, ".parquet", ".root"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _search(folder: Path, wanted: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    found: dict[str, str] = {}
    broken: dict[str, str] = {}
    tarballs = []
    for path in sorted(folder.rglob("*")):
        match = _NAME.match(_stem(path.name))
        if match is None or not path.is_file():
            continue
        if path.name.endswith(TARBALLS):
            first, last = int(match[2]), int(match[3] or match[2])
            if any(f"{match[1]}_{number:04d}" in wanted for number in range(first, last + 1)):
                tarballs.append(path)
        elif path.suffix in (".parquet", ".root"):  # sorted: parquet comes before ROOT
            found.setdefault(path.stem, str(path))
    for path in tarballs:
        try:
            inside, reason = members(path)
        except InputFileError as error:
            broken[str(path)] = str(error)
            continue
        if reason:
            broken[str(path)] = reason
        for name in inside:
            found.setdefault(_stem(name.rpartition("/")[2].rpartition("::")[2]), name)
    return found, broken


def read(
    path: str | os.PathLike[str], columns: Iterable[str] | None = None, start: int = 0, stop: int | None = None
) -> Any:
    """Read jets from a file, in the published types.

    Parameters
    ----------
    path : path
        As for `jettagger.files.tables.FlatFile`.
    columns : iterable of str, optional
        Names, or groups such as ``part`` and ``aux_genpart``; default: all published columns that the file has.
    start, stop : int
        Range of jets.

    Returns
    -------
    awkward array
        One record per jet.

    Raises
    ------
    InputFileError
        If the file cannot be read, or if a jet-level column is a list.
    UnknownName
        If the table or the file does not have the column.
    """
    import awkward as ak

    with FlatFile(path) as file:
        names: list[str] = []
        for item in COLUMNS if columns is None else columns:
            inside = [name for name, column in COLUMNS.items() if column.group == item]
            if not inside and item not in COLUMNS:
                raise UnknownName(
                    "column or group", item, [*COLUMNS, *{c.group for c in COLUMNS.values()}], "JetClass-II"
                )
            names += [name for name in inside or [item] if name in file.names or (columns is not None and not inside)]
        if not names:
            raise InputFileError(f"{file.path} has no column of JetClass-II{hint('jet_pt', file.names)}")
        jets = file.read(names, start, stop)
    for name in jets.fields:
        column = COLUMNS[name]
        if (jets[name].ndim == 1) != column.per_jet:
            expected = "a number" if column.per_jet else "a list"
            raise InputFileError(f"{os.fspath(path)}: {name} is {jets[name].type}, expected {expected} per jet")
    return ak.zip({name: ak.values_astype(jets[name], COLUMNS[name].type) for name in jets.fields}, depth_limit=1)


def __dir__() -> list[str]:
    return sorted(__all__)


guard(globals())
