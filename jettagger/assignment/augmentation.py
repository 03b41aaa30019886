# mypy: disable-error-code="misc,no-any-return"
"""Events rotated about the beam and reflected at random in each epoch: an option of ours for small training sets.

Neither beam nor azimuth is preferred, so that a rotation about the beam, a reflection that changes the sign of
pseudorapidities, and one that changes the sign of azimuths give events that are as probable as the simulated ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jettagger.assignment.losses import AssignmentTargets
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array

__all__ = ["Augmentation"]

_QUANTITY = re.compile(r"(?:.+?_)??(?P<quantity>sin_?phi|cos_?phi|eta|phi|px|py|pz)", re.IGNORECASE)

#: quantities of regressions that neither a rotation nor a reflection changes, behind a prefix or alone
_INVARIANT = re.compile(r"(?:.+_)?(?:pt|mass|m|energy|e)", re.IGNORECASE)


class _Quantities(NamedTuple):
    """Names of the quantities that change: signs with the beam, azimuths, and components (along x, along y)."""

    beam: tuple[str, ...]
    azimuths: tuple[str, ...]
    components: tuple[tuple[str, str], ...]


class Augmentation(Brief):
    """Random rotations and reflections of the events of a batch.

    Parameters
    ----------
    description : EventDescription
        Features and regressions are changed by their names, which may have a prefix (``lepton_eta``): ``eta`` and
        ``pz``, ``phi`` (radians), ``cos_phi`` and ``sin_phi``, ``px`` and ``py``.

    Raises
    ------
    ConfigError
        If an input has values of pairs of objects, a component lacks the other one, the normalisation of a quantity
        that changes is a logarithm, no feature changes, or a regression is of another quantity than these, ``pt``,
        ``mass`` and ``energy``.
    """

    def __init__(self, description: EventDescription) -> None:
        self.inputs: dict[str, _Quantities] = {}
        self.places: dict[str, dict[str, int]] = {}
        for item in description.inputs:
            place = f"augmentation, input {item.name}"
            if item.kind == "relative":
                raise ConfigError(f"{place}: what rotations do to values of pairs of objects is not known")
            quantities = _quantities(item.feature_names, place)
            logs = [feature.name for feature in item.features if feature.log and _QUANTITY.fullmatch(feature.name)]
            if logs:
                raise ConfigError(f"{place}: {', '.join(logs)} has a logarithm as normalisation, and changes its sign")
            self.inputs[item.name] = quantities
            self.places[item.name] = {name: column for column, name in enumerate(item.feature_names)}
        owners: dict[str, list[str]] = {}
        for key in description.regressions:
            owners.setdefault(key.rpartition("/")[0], []).append(key.rpartition("/")[2])
        self.regressions = {}
        for owner, names in owners.items():
            other = [name for name in names if not (_QUANTITY.fullmatch(name) or _INVARIANT.fullmatch(name))]
            if other:
                raise ConfigError(
                    f"augmentation, regressions of {owner}: what rotations do to {', '.join(other)} is not known; "
                    "known are names that end in px, py, pz, eta, phi, cos_phi, sin_phi, pt, mass, energy"
                )
            self.regressions[owner] = _quantities(names, f"augmentation, regressions of {owner}")
        if not any(any(quantities) for quantities in self.inputs.values()):
            raise ConfigError(
                "augmentation: no feature of an input changes; expected names that end in eta, phi, cos_phi, sin_phi, "
                "px, py or pz"
            )

    @staticmethod
    def draws(random: np.random.Generator, count: int) -> Array:
        """Angle (radians), sign of pseudorapidities and sign of azimuths of events, float32[3, events].

        Parameters
        ----------
        random : numpy.random.Generator
        count : int
        """
        signs = 1.0 - 2.0 * random.integers(0, 2, (2, count))
        return np.concatenate([random.uniform(-math.pi, math.pi, (1, count)), signs]).astype(np.float32)

    def __call__(
        self, values: Mapping[str, Any], targets: AssignmentTargets, draws: Array
    ) -> tuple[dict[str, Any], AssignmentTargets]:
        """Events of a batch, each reflected and rotated by what was drawn for it.

        Parameters
        ----------
        values : mapping of str to float32[events, slots, features]
        targets : AssignmentTargets
        draws : float32[3, events]
            See `draws`.

        Returns
        -------
        values : dict of str to float32[events, slots, features]
        targets : AssignmentTargets
        """
        import torch

        rotation = _Rotation(*map(torch.from_numpy, draws))
        made = {}
        for name, value in values.items():
            places = self.places[name]
            columns = list(value.unbind(-1))
            changed = rotation.of(self.inputs[name], {key: columns[place] for key, place in places.items()})
            for key, column in changed.items():
                columns[places[key]] = column
            made[name] = torch.stack(columns, -1) if changed else value
        regressions = dict(targets.regressions)
        for owner, quantities in self.regressions.items():
            own = {key.rpartition("/")[2]: key for key in regressions if key.rpartition("/")[0] == owner}
            changed = rotation.of(quantities, {name: regressions[key] for name, key in own.items()})
            regressions |= {own[name]: value for name, value in changed.items()}
        return made, targets._replace(regressions=regressions)


class _Rotation:
    """Angles in radians, and signs of pseudorapidity and azimuth; float32[events] each."""

    def __init__(self, angle: Any, beam: Any, azimuth: Any) -> None:
        self.angle, self.cosine, self.sine = angle, angle.cos(), angle.sin()
        self.beam, self.azimuth = beam, azimuth

    def of(self, quantities: _Quantities, values: Mapping[str, Any]) -> dict[str, Any]:
        """The quantities that change."""
        made = {}

        def shaped(one: Any, value: Any) -> Any:
            return one if value.ndim == 1 else one[:, None]

        for name in quantities.beam:
            made[name] = values[name] * shaped(self.beam, values[name])
        for name in quantities.azimuths:
            turned = values[name] * shaped(self.azimuth, values[name]) + shaped(self.angle, values[name])
            made[name] = (turned + math.pi).remainder(2 * math.pi) - math.pi
        for along, across in quantities.components:
            x, y = values[along], values[across] * shaped(self.azimuth, values[across])
            cosine, sine = shaped(self.cosine, x), shaped(self.sine, x)
            made[along], made[across] = x * cosine - y * sine, x * sine + y * cosine
        return made


_PARTNERS = {"cos_phi": "sin_phi", "cosphi": "sinphi", "px": "py"}


def _quantities(names: Iterable[str], place: str) -> _Quantities:
    """The quantities among names."""
    names = tuple(names)
    beam, azimuths, pairs = [], [], []
    paired: set[str] = set()
    lower = {name.lower(): name for name in names}
    for name in names:
        match = _QUANTITY.fullmatch(name)
        if match is None:
            continue
        quantity = match["quantity"].lower()
        if quantity in ("eta", "pz"):
            beam.append(name)
        elif quantity == "phi":
            azimuths.append(name)
        elif quantity in _PARTNERS:
            partner = lower.get(name.lower()[: -len(quantity)] + _PARTNERS[quantity])
            if partner is not None:
                pairs.append((name, partner))
                paired |= {name, partner}
    alone = [name for name in names if (match := _QUANTITY.fullmatch(name)) and name not in (*beam, *azimuths, *paired)]
    if alone:
        raise ConfigError(f"{place}: {', '.join(alone)} lacks the other component, without which it cannot be rotated")
    return _Quantities(tuple(beam), tuple(azimuths), tuple(pairs))
