"""Templates of a search: regions x processes x variations, for CMS combine (ROOT) and for pyhf (JSON)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.display import Displayed, ObjectSummary
from jettagger.errors import ConfigError, InputFileError, InvalidValues, UnknownName
from jettagger.files import complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.files.root import write_objects
from jettagger.histograms.files import new_name
from jettagger.provenance import Provenance
from jettagger.statistics import workspaces
from jettagger.statistics.bins import Template
from jettagger.statistics.closure import closure_workspace
from jettagger.statistics.datacards import datacard, default_groups, in_bins
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.transfer import Transfer
from jettagger.types import Floats

__all__ = ["Templates", "load_closures", "load_details", "load_report", "load_workspaces", "write_templates"]

_FORMAT = "jettagger templates"
VERSION = 1

#: patterns of the names of histograms in ROOT files
NAMES = {
    "nominal": "{region}/{process}",
    "shifted": "{region}/{process}_{variation}{direction}",
    "data": "{region}/data_obs",
}


@dataclass(frozen=True)
class Templates(Displayed):
    """Templates for fits.

    Attributes
    ----------
    spec : TemplateSpec
        Their definition.
    variable : hist axis
        The variable and its bins, after merging.
    nominal : dict
        Region -> process -> :class:`~jettagger.statistics.bins.Template`; signals are among the processes.
    data : dict
        Region -> observed events in each bin.
    asimov : bool
        Whether the data are the sum of the backgrounds, in all regions or in the blinded ones: nothing is observed.
    report : tuple of str
        Bins with few simulated events or none, and what was corrected, merged or scaled; one line each.
    transfers : tuple of Transfer
        Backgrounds from data; their templates have no variances, as the fits determine them.
    closures : mapping of str to WorkspaceContent
        Background from data -> its validation regions, without a signal.
    """

    spec: TemplateSpec
    variable: Any
    nominal: dict[str, dict[str, Template]]
    data: dict[str, Floats]
    asimov: bool
    report: tuple[str, ...]
    transfers: tuple[Transfer, ...] = ()
    closures: Mapping[str, workspaces.WorkspaceContent] = field(default_factory=dict)

    def __repr__(self) -> str:
        bins, data = len(self.variable.edges) - 1, "Asimov data" if self.asimov else "observed data"
        regions, processes = ", ".join(self.nominal), ", ".join((*self.spec.processes, *self.spec.signals))
        return f"<Templates of {self.variable.name}, {bins} bins: {processes}; in {regions}; {data}>"

    def summary(self) -> ObjectSummary:
        """Yields of each region and process with their uncertainties, for display."""
        from jettagger.statistics.summary import templates_summary

        return templates_summary(self)

    # ---------------------------------------------------------------------------------------- ROOT

    def to_root(
        self,
        path: str | os.PathLike[str],
        *,
        nominal: str = NAMES["nominal"],
        shifted: str = NAMES["shifted"],
        data: str = NAMES["data"],
        provenance: Provenance | None = None,
    ) -> list[str]:
        """Write the templates as histograms with the names expected by CMS combine.

        Parameters
        ----------
        path : path
            The ROOT file.
        nominal, shifted, data : str
            Patterns of the names; ``{direction}`` is ``Up`` or ``Down``.
        provenance : Provenance, optional
            How they were made; stored as the object ``jettagger``.

        Returns
        -------
        list of str
            The names of the written histograms.

        Raises
        ------
        ConfigError
            If a pattern has unknown parts or gives a name twice.
        OutputError
            If the file cannot be written.
        """
        names = {"nominal": nominal, "shifted": shifted, "data": data}
        # each bin of a background from data is a process of the card, too
        whole = workspaces.WorkspaceContent(self.nominal, self.data, "", {}, (), self.transfers)
        nominal_of = {region: {**parts, **in_bins(whole).nominal[region]} for region, parts in self.nominal.items()}
        return write_templates(path, self.variable, nominal_of, self.data, names=names, provenance=provenance)

    # ---------------------------------------------------------------------------------------- pyhf

    def workspace(self, signal: str, *, bounds: tuple[float, float] | None = None) -> dict[str, Any]:
        """The pyhf workspace for one signal.

        Parameters
        ----------
        signal : str
            Its name.
        bounds : (float, float), optional
            Bounds of the signal strength, in units of the signal. By default the unit is chosen such that the expected
            limit is of order one, and the bounds lie above it; the entry ``strength_unit`` of the measurement is the
            ratio of a strength of 1 to the signal.

        Returns
        -------
        dict
            In pyhf's JSON format, as described in :mod:`jettagger.statistics.workspaces`. ``mu`` scales the signal;
            ``mcstat_<region>`` are the statistical uncertainties of the sum of the backgrounds,
            ``mcstat_<region>_<signal>`` those of the signal; variations and normalisations have their own names;
            ``norm_<process>`` float freely.

        Raises
        ------
        UnknownName
            If the signal does not exist.
        InvalidValues
            If the signal has no events in any region.
        """
        return self.reported_workspace(signal, bounds)[0]

    def reported_workspace(
        self, signal: str, bounds: tuple[float, float] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """The result of `workspace`, and remarks on it, one line each.

        Raises
        ------
        UnknownName, InvalidValues
            As for `workspace`.
        """
        return workspaces.workspace(self.content(signal), bounds)

    def content(self, signal: str) -> workspaces.WorkspaceContent:
        """What workspace and card of one signal have in common: the backgrounds and this signal.

        Raises
        ------
        UnknownName, InvalidValues
            As for `workspace`.
        """
        if signal not in self.spec.signals:
            raise UnknownName("signal", signal, self.spec.signals)
        if not any(signal in processes for processes in self.nominal.values()):
            raise InvalidValues(f"signal {signal!r} has no events in any region")
        nominal = {
            region: {name: item for name, item in processes.items() if name in self.spec.processes or name == signal}
            for region, processes in self.nominal.items()
        }
        return workspaces.WorkspaceContent(
            nominal, self.data, signal, self.spec.normalisations, self.spec.free, self.transfers
        )

    # ---------------------------------------------------------------------------------------- combine

    def datacard(
        self,
        signal: str,
        root: str = "templates.root",
        *,
        file: str = "datacard.txt",
        provenance: Provenance | None = None,
    ) -> str:
        """The card of CMS combine for one signal, with the content of its workspace.

        Parameters
        ----------
        signal : str
            Its name.
        root : str
            Name of the file of `to_root`, written with the names of the definition.
        file : str
            Name of the card, for the command in its first lines.
        provenance : Provenance, optional
            How the histograms were made, for the last line.

        Returns
        -------
        str
            See :mod:`jettagger.statistics.datacards`. A strength of 1 is the signal.

        Raises
        ------
        UnknownName, InvalidValues
            As for `workspace`.
        ConfigError
            If a name, or a pattern of names, is none that combine reads.
        """
        content = self.content(signal)
        text = datacard(
            content,
            root,
            {**NAMES, **self.spec.names},
            mass=self.spec.signals[signal].mass,
            blind=self.asimov,
            groups=self.spec.groups or default_groups(content),
            file=file,
        )
        return text + (f"# {provenance}\n" if provenance else "")

    # ---------------------------------------------------------------------------------------- files

    def save(self, folder: str | os.PathLike[str], *, provenance: Provenance | None = None) -> list[Path]:
        """Write ``templates.root``, a workspace and a card for each signal, and ``templates.json``.

        They are ``workspace_<signal>.json`` and ``datacard_<signal>.txt``, and ``closure_<background>.json`` for
        backgrounds from data with validation regions. Where combine cannot read a name, there is
        no card, and the report in ``templates.json`` says why.

        Parameters
        ----------
        folder : path
            An existing folder.
        provenance : Provenance, optional
            How the histograms were made. The format of workspaces has no field for it: ``templates.json`` contains
            their checksums.

        Returns
        -------
        list of pathlib.Path
            The files.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        folder = Path(folder)
        written = [folder / "templates.root"]
        provenance = provenance or Provenance("templates")
        self.to_root(written[0], **self.spec.names, provenance=provenance)
        listed = {}
        report = list(self.report)
        for name, signal in self.spec.signals.items():
            if not any(name in processes for processes in self.nominal.values()):
                continue
            path = folder / f"workspace_{name}.json"
            with complete_or_absent(path) as part:
                part.write_text(text := json.dumps(self.workspace(name), indent=1), encoding="utf-8")
            listed[name] = {
                "mass": signal.mass,
                "cross_section": signal.cross_section,
                "workspace": path.name,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "groups": self.spec.groups or default_groups(self.content(name)),
                "scales": {
                    region: scales.tolist() for region, scales in workspaces.event_scales(self.content(name)).items()
                },
            }
            written.append(path)
            card = folder / f"datacard_{name}.txt"
            try:
                text = self.datacard(name, written[0].name, file=card.name, provenance=provenance)
            except ConfigError as error:
                report.append(f"no {card.name}: {error}")
                continue
            with complete_or_absent(card) as part:
                part.write_text(text, encoding="utf-8")
            written.append(card)
        closures = {}
        for name, content_of in self.closures.items():
            path = folder / f"closure_{name}.json"
            with complete_or_absent(path) as part:
                part.write_text(text := json.dumps(closure_workspace(content_of), indent=1), encoding="utf-8")
            closures[name] = {"workspace": path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
            written.append(path)
        content = {
            "format": _FORMAT,
            "version": VERSION,
            "jettagger": __version__,
            "provenance": provenance.to_dict(),
            "asimov": self.asimov,
            "variable": {
                "name": self.variable.name,
                "label": self.variable.label,
                "edges": [float(edge) for edge in self.variable.edges],
            },
            "signals": listed,
            "closures": closures,
            "report": report,
        }
        with complete_or_absent(folder / "templates.json") as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return [*written, folder / "templates.json"]


def write_templates(
    path: str | os.PathLike[str],
    variable: Any,
    nominal: Mapping[str, Mapping[str, Template]],
    data: Mapping[str, Floats],
    *,
    names: Mapping[str, str] = NAMES,
    provenance: Provenance | None = None,
) -> list[str]:
    """Write templates as histograms with the names expected by CMS combine.

    Parameters
    ----------
    path : path
        The ROOT file.
    variable : hist axis
        The variable and its bins.
    nominal : mapping
        Region -> process -> :class:`~jettagger.statistics.bins.Template`.
    data : mapping
        Region -> observed events in each bin.
    names : mapping
        Patterns ``nominal``, ``shifted`` and ``data`` of the names; ``{direction}`` is ``Up`` or ``Down``.
    provenance : Provenance, optional
        How they were made; stored as the object ``jettagger``.

    Returns
    -------
    list of str
        The names of the written histograms.

    Raises
    ------
    ConfigError
        If a pattern has unknown parts or gives a name twice.
    OutputError
        If the file cannot be written.
    """
    parts: dict[str, Any] = {}

    def put(pattern: str, values: Floats, variances: Floats, **of: str) -> None:
        parts[new_name(pattern, parts, of)] = _histogram(variable, values, variances)

    for region, processes in nominal.items():
        put(names["data"], data[region], data[region], region=region)
        for process, template in processes.items():
            of = {"region": region, "process": process}
            put(names["nominal"], template.values, template.variances, **of)
            for variation, (up, down) in template.shifts.items():
                for direction, values in (("Up", up), ("Down", down)):
                    put(names["shifted"], values, template.variances, **of, variation=variation, direction=direction)
    write_objects(path, parts, (provenance or Provenance("templates")).text)
    return list(parts)


def _histogram(variable: Any, values: Floats, variances: Floats) -> Any:
    import hist

    histogram = hist.Hist(variable, storage=hist.storage.Weight())
    view = histogram.view()
    view["value"], view["variance"] = values, variances
    return histogram


def load_workspaces(folder: str | os.PathLike[str]) -> tuple[dict[str, Signal], dict[str, Any], bool]:
    """Read the workspaces written by :meth:`Templates.save`.

    Returns
    -------
    signals : dict
        Name -> :class:`Signal`, by increasing mass.
    workspaces : dict
        Name -> pyhf workspace.
    asimov : bool
        Whether the data are the sum of the backgrounds.

    Raises
    ------
    InputFileError
        If a file is missing, damaged or of another version.
    """
    folder = Path(folder)
    content = _listing(folder)
    try:
        listed = sorted(content["signals"].items(), key=lambda item: float(item[1]["mass"]))
        signals = {name: Signal((), float(item["mass"]), float(item["cross_section"])) for name, item in listed}
        paths = {name: folder / item["workspace"] for name, item in listed}
        asimov = bool(content["asimov"])
        for name, item in listed:
            if Path(item["workspace"]).name != item["workspace"]:
                raise ValueError(f"the workspace of {name!r} is {item['workspace']!r}, expected a file in this folder")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from error
    return signals, {name: read_object(path) for name, path in paths.items()}, asimov


def load_closures(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The workspaces of the validation regions of backgrounds from data.

    Returns
    -------
    dict
        Background -> pyhf workspace; none in files of older versions.

    Raises
    ------
    InputFileError
        If a file is missing or damaged.
    """
    folder = Path(folder)
    listed = _listing(folder).get("closures", {})
    try:
        names = {name: str(item["workspace"]) for name, item in listed.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, error) from error
    for name, file in names.items():
        if Path(file).name != file:
            raise _damaged(folder, f"the closure of {name!r} is {file!r}, expected a file in this folder")
    return {name: read_object(folder / file) for name, file in names.items()}


def load_details(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What fits need besides the workspaces.

    Returns
    -------
    variable : dict
        ``name``, ``label`` and ``edges`` of the bins.
    signals : dict
        Name -> ``groups`` of uncertainties, and ``scales`` of the regions with fewer events in the workspace.

    Raises
    ------
    InputFileError
        If the file is missing, damaged or of a version without them.
    """
    folder = Path(folder)
    content = _listing(folder)
    try:
        signals = {name: {key: item[key] for key in ("groups", "scales")} for name, item in content["signals"].items()}
        variable = {key: content["variable"][key] for key in ("name", "label", "edges")}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputFileError(
            f"{folder / 'templates.json'}: without {error}, which fits need; was it written by an older version? Run "
            "'jettagger search' again"
        ) from error
    return variable, signals


def load_report(folder: str | os.PathLike[str]) -> list[str]:
    """The report on the templates in a folder.

    Returns
    -------
    list of str
        Bins with few simulated events or none, and what was corrected, merged or scaled.

    Raises
    ------
    InputFileError
        If the file is missing, damaged or of another version.
    """
    report = _listing(Path(folder)).get("report")
    if not isinstance(report, list) or not all(isinstance(line, str) for line in report):
        raise _damaged(Path(folder), f"'report' is {report!r}, expected a list of lines")
    return report


def _damaged(folder: Path, reason: object) -> InputFileError:
    return InputFileError(f"{folder / 'templates.json'}: not a list of templates as jettagger writes it: {reason}")


def _listing(folder: Path) -> dict[str, Any]:
    """The list of templates in a folder."""
    path = folder / "templates.json"
    content = read_object(path)
    if content.get("format") != _FORMAT:
        raise InputFileError(f"{path}: expected the format {_FORMAT!r}")
    if content.get("version") != VERSION:
        raise InputFileError(f"{path}: templates of version {content.get('version')!r}, expected {VERSION}")
    return content


guard(globals())
