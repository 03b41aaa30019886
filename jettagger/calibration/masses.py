"""Scale and resolution of a jet mass in data relative to simulation, and their application to simulated jets."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, UnknownName
from jettagger.files import complete_or_absent
from jettagger.runtime.seeding import normals

__all__ = ["FORMAT", "MassFactors", "MassShift"]

#: value of the key ``format`` of a file
FORMAT = "jettagger-mass-factors/1"

#: quantities that are shifted
KINDS = ("scale", "resolution")

Sign = Literal[-1, 0, 1]

_SIDES: tuple[tuple[str, Sign], ...] = (("Up", 1), ("Down", -1))


@dataclass(frozen=True)
class MassFactors(Brief):
    """The scale and the resolution of a mass of jets, as measured in data relative to simulation.

    Parameters
    ----------
    column : str
        The mass of the jets, in GeV: ``msoftdrop``, or the regressed mass of a tagger.
    scale, scale_uncertainty : float
        Ratio of the positions of the peak, and its standard deviation.
    resolution, resolution_uncertainty : float
        Ratio of the widths of the peak relative to its position, and its standard deviation.
    width : float
        Width of the peak in simulation relative to its position, which determines the smearing.
    reference : str, optional
        Column of the jets with the mass without detector effects, e.g. ``genJetAK8.msoftdrop`` (a column of the matched
        generator jet) or ``genResonanceMass``.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    The hybrid method of the experiments for the energy resolution of jets: where the reference is known (above zero)
    and within three widths, the distance to it is multiplied by the resolution factor r; elsewhere the mass is
    multiplied by 1 + ``width`` sqrt(max(r^2 - 1, 0)) N(0, 1), so that without a reference a factor below 1 changes
    nothing.

    Examples
    --------
    >>> factors = MassFactors("msoftdrop", scale=0.99, scale_uncertainty=0.01)
    >>> MassShift(factors, scale=1).values([[80.0, 100.0]], [7]).tolist()
    [[80.0, 100.0]]
    """

    column: str
    scale: float = 1.0
    scale_uncertainty: float = 0.0
    resolution: float = 1.0
    resolution_uncertainty: float = 0.0
    width: float = 0.1
    reference: str | None = None

    def __post_init__(self) -> None:
        for name in KINDS:
            value, sigma = getattr(self, name), getattr(self, f"{name}_uncertainty")
            if not (np.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a number above zero, got {value:g}")
            if not (np.isfinite(sigma) and 0 <= sigma < value):
                raise ConfigError(f"{name}_uncertainty must be a number from 0 to below {name}, got {sigma:g}")
        if not 0 < self.width < 1:
            raise ConfigError(f"width is relative to the mass and must be a number between 0 and 1, got {self.width:g}")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MassFactors:
        """Read a file.

        Parameters
        ----------
        path : path
            JSON file, as written by `save`.

        Returns
        -------
        MassFactors

        Raises
        ------
        InputFileError
            If it cannot be read.
        ConfigError
            If a key is unknown or a value is invalid; gives file and line.
        """
        from jettagger.calibration.schema import MassFactorsFile
        from jettagger.config.models import validated_json
        from jettagger.files.jsonfile import read_object

        target = Path(path)
        keys = validated_json(
            MassFactorsFile, target, read_object(target, InputFileError), ConfigError, "file of mass factors"
        )
        try:
            return cls(**{name: value for name, value in keys.model_dump().items() if name != "format"})
        except ConfigError as error:
            raise ConfigError(f"{target}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file.

        Parameters
        ----------
        path : path

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        content = {"format": FORMAT, **{name: getattr(self, name) for name in self.__dataclass_fields__}}
        with complete_or_absent(Path(path)) as part:
            part.write_text(json.dumps(content, indent=1) + "\n")

    def shifts(self) -> dict[str, MassShift]:
        """The variations by one standard deviation; none of what has no uncertainty.

        Returns
        -------
        dict of str to MassShift
            ``scaleUp``, ``scaleDown``, ``resolutionUp``, ``resolutionDown``.
        """
        return {
            f"{kind}{side}": MassShift(self, sign if kind == "scale" else 0, sign if kind == "resolution" else 0)
            for kind in KINDS
            if getattr(self, f"{kind}_uncertainty") > 0
            for side, sign in _SIDES
        }


@dataclass(frozen=True)
class MassShift(Brief):
    """Mass factors, nominal or shifted.

    Parameters
    ----------
    factors : MassFactors
    scale, resolution : int
        Standard deviations of the shift.
    """

    factors: MassFactors
    scale: Sign = 0
    resolution: Sign = 0

    def values(self, masses: Any, event: Any, reference: Any = None) -> Any:
        """The masses of simulated jets with the factors.

        Parameters
        ----------
        masses : jagged float array
            In GeV, jets by event, all those of the file; None and NaN stay.
        event : int[events]
            Event numbers, which seed the smearing together with the index of the jet in its event.
        reference : jagged float array, optional
            The column ``reference`` of the factors, aligned with the masses.

        Returns
        -------
        jagged float32 or float64 array
            In the type of the masses.

        Raises
        ------
        MismatchError
            If the arrays are not aligned.
        """
        import awkward as ak

        masses, event = ak.Array(masses), np.asarray(event)
        counts = ak.to_numpy(ak.num(masses, axis=1))
        if len(counts) != len(event):
            raise MismatchError(f"masses of {len(counts)} events, but {len(event)} event numbers")
        flat = ak.flatten(masses, axis=1)
        numbers = np.asarray(ak.to_numpy(ak.fill_none(flat, np.nan)))
        kind = numbers.dtype if numbers.dtype.kind == "f" else np.dtype(np.float64)
        scale = self.factors.scale + self.scale * self.factors.scale_uncertainty
        ratio = self.factors.resolution + self.resolution * self.factors.resolution_uncertainty
        shifted = numbers.astype(np.float64)
        if ratio > 1:
            of_event = np.repeat(event, counts)
            index = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
            width = self.factors.width * np.sqrt(ratio**2 - 1.0)
            change = 1.0 + width * normals(of_event, index, f"smearing of {self.factors.column}")
            shifted *= np.maximum(change, 0.0)
        if reference is not None and ratio != 1:
            known = ak.Array(reference)
            if ak.num(known, axis=1).tolist() != counts.tolist():
                raise MismatchError(f"the reference {self.factors.reference!r} is not aligned with the masses")
            true = np.asarray(ak.to_numpy(ak.fill_none(ak.flatten(known, axis=1), np.nan)), dtype=np.float64)
            with np.errstate(invalid="ignore"):
                near = (true > 0) & (np.abs(numbers - true) < 3 * self.factors.width * true)
            shifted = np.where(near, np.maximum(true + ratio * (numbers - true), 0.0), shifted)
        shifted = (scale * shifted).astype(kind)
        filled = ak.mask(ak.Array(shifted), ~ak.to_numpy(ak.is_none(flat))) if ak.any(ak.is_none(flat)) else shifted
        return ak.unflatten(filled, counts)

    def evaluate(self, jets: Any, events: Any, where: str) -> Any:
        """The masses of the jets of events.

        Parameters
        ----------
        jets : jagged record array
        events : NanoEvents
            With ``event``, and the generator jets if the reference is one of their columns.
        where : str
            Place for messages.

        Returns
        -------
        jagged float array

        Raises
        ------
        UnknownName
            If the jets lack a column.
        """
        column, reference = self.factors.column, self.factors.reference
        if column not in jets.fields:
            raise UnknownName("column", column, jets.fields, where)
        if "event" not in events.fields:
            raise UnknownName("column", "event", events.fields, f"{where}, whose smearing it seeds")
        true = None if reference is None else _reference(reference, jets, events, where)
        return self.values(jets[column], events.event, true)


def _reference(name: str, jets: Any, events: Any, where: str) -> Any:
    """A column of the jets, or of the generator jets that are matched to them."""
    import awkward as ak

    front, _, column = name.partition(".")
    if not column:
        if front not in jets.fields:
            raise UnknownName("column", front, jets.fields, where)
        return jets[front]
    link, collection = f"{front}Idx", front[:1].upper() + front[1:]
    if link not in jets.fields:
        raise UnknownName("column", link, jets.fields, f"{where}, the reference {name!r}")
    if collection not in events.fields:
        raise UnknownName("collection", collection, events.fields, f"{where}, the reference {name!r}")
    others = events[collection]
    if column not in others.fields:
        raise UnknownName("column", column, others.fields, f"{where}, {collection}")
    index = jets[link]
    values = others[column]
    good = (index >= 0) & (index < ak.num(values, axis=1))
    return values[ak.mask(index, good)]


guard(globals())
