"""Corrections of the energy of jets in the configuration of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jettagger.config.yamlfile import Document
from jettagger.errors import ConfigError, JettaggerError, UnknownName
from jettagger.expressions import parse
from jettagger.search.jetenergy import UNCLUSTERED, JercFile, JetCorrections, JetEnergy, MetCorrection
from jettagger.search.schema import EraCorrectionKeys, JetCorrectionKeys, JetEnergyKeys

__all__ = ["check_energy_columns", "read_energy"]


def read_energy(
    document: Document, keys: JetEnergyKeys | None, samples: Mapping[str, Any], eras: Mapping[str, Any], folder: Path
) -> JetEnergy | None:
    """The corrections of the energy of jets.

    Parameters
    ----------
    document : Document
    keys : JetEnergyKeys, optional
    samples : mapping of str to Sample
    eras : mapping of str to Era
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    JetEnergy or None

    Raises
    ------
    ConfigError, UnknownName
        Gives the line; for unknown tags, levels, sources and algorithms the nearest ones in the file.
    """
    if keys is None:
        return None
    files: dict[str, JercFile] = {}
    jets = {}
    for collection, item in keys.jets.items():
        path = ("jet_energy", "jets", collection)
        with document.at(*path, "eras"):
            unknown = [era for era in item.eras if era not in eras]
            if unknown:
                raise UnknownName("era", unknown, eras)
        used = dict.fromkeys(sample.era for sample in samples.values())
        jets[collection] = {era: _corrections(document, path, item, era, files, folder) for era in used}
    met = None
    if keys.met is not None:
        selection = parse(keys.met.selection, document.where("jet_energy", "met", "selection"))
        met = MetCorrection(keys.met.collection, keys.met.jets, selection, keys.met.unclustered)
    with document.at("jet_energy", "met"):
        energy = JetEnergy(jets, met)
    for collection in jets:
        with document.at("jet_energy", "jets", collection):
            JetEnergy({collection: jets[collection]}).check(samples)
    return energy.small()


def _corrections(
    document: Document,
    path: tuple[str, ...],
    keys: JetCorrectionKeys,
    era: str,
    files: dict[str, JercFile],
    folder: Path,
) -> JetCorrections:
    """The corrections of one collection in one era."""
    own = keys.eras.get(era)
    values: dict[str, Any] = {}
    for name in EraCorrectionKeys.model_fields:
        here = None if own is None else getattr(own, name)
        values[name] = getattr(keys, name) if here is None else here
    place: tuple[Any, ...] = path
    if own is not None:  # eras may be written as numbers
        written = document.data["jet_energy"]["jets"][path[-1]]["eras"]
        place = (*path, "eras", next(key for key in written if str(key) == era))
    for name in ("file", "tag", "algorithm"):
        if values.get(name, keys.algorithm) is None:
            of = f" of the era {era!r}" if era else ""
            raise ConfigError(f"{document.where(*place)}: the corrections of {path[-1]}{of} need the key {name!r}")
    name = values["file"]
    if name not in files:
        with document.at(*place, *(("file",) if (*place, "file") in document.lines else ())):
            files[name] = JercFile.load(folder / name)
    inputs = {key: parse(text, document.where(*path, "inputs", key)) for key, text in keys.inputs.items()}
    try:
        made = JetCorrections(
            file=files[name],
            tag=values["tag"],
            algorithm=str(keys.algorithm),
            level=keys.level,
            data_tag=values["data_tag"] or "",
            resolution=values["resolution"],
            uncertainties=values["uncertainties"] or (),
            masses=keys.masses,
            raw_factor=keys.raw_factor,
            inputs=inputs,
            generator_jets=keys.generator_jets,
            max_dr=keys.max_dr,
            outside=keys.outside,
        )
    except JettaggerError as error:
        with document.at(*_line(document, (path, place), getattr(error, "names", ()))):
            raise error from None
    return made


def _line(document: Document, places: Sequence[tuple[Any, ...]], names: Sequence[str]) -> tuple[Any, ...]:
    """The place of a wrong name: the key that has it as a value."""
    for place in reversed(places):
        part = document.data
        for key in place:
            part = part[key]
        for key, value in part.items():
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            if any(name in values for name in names):
                return (*place, key)
    return places[-1]


def check_energy_columns(document: Document, energy: JetEnergy, file: Any, events: list[str], sample: Any) -> None:
    """Compare what corrections need with the columns of a file.

    Parameters
    ----------
    document : Document
    energy : JetEnergy
    file : EventFile or ParquetSkim
    events : list of str
        Columns of its events, ``MET.pt``.
    sample : Sample

    Raises
    ------
    UnknownName
        If a column or collection is missing; gives the line.
    """
    for collection in energy.jets:
        path = ("jet_energy", "jets", collection)
        columns = list(file.fields(collection))
        with document.at(*path):
            if not columns:
                raise UnknownName("collection", collection, file.collections, file.path)
        for key, names in energy.required(collection, sample.era, data=sample.data):
            if not any(name in columns or name in events for name in names):
                with document.at(*path, *((key,) if (*path, key) in document.lines else ())):
                    raise UnknownName(f"column of {collection}", names[0], [*columns, *events], file.path)
        if not sample.data:
            link = energy.of(collection, sample.era).link(collection)
            for name, known in () if link is None else ((link[1], columns), (f"{link[0]}.pt", events)):
                if name not in known:
                    with document.at(*path):
                        raise UnknownName("column", name, known, f"{file.path}, for the resolution of {collection}")
    met = energy.met
    if met is None:
        return
    with document.at("jet_energy", "met"):
        columns = list(file.fields(met.collection))
        if not columns:
            raise UnknownName("collection", met.collection, file.collections, file.path)
        missing = [name for name in ("pt", "phi") if name not in columns]
        if missing:
            raise UnknownName(f"column of {met.collection}", missing, columns, file.path)
        if met.unclustered and not sample.data and not any(set(names).issubset(columns) for names in UNCLUSTERED):
            raise UnknownName(f"column of {met.collection}", UNCLUSTERED[1], columns, f"{file.path}, for 'unclustered'")
        jets = list(file.fields(met.jets))
        unknown = [name for name in met.selection.names if name not in jets]
        if unknown:
            raise UnknownName(f"column of {met.jets}", unknown, jets, file.path)
