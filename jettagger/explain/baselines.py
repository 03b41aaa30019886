"""Baselines: the inputs that stand for the absence of what is attributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName
from jettagger.explain.jets import JetInputs
from jettagger.types import Array

__all__ = ["Baseline", "DrawnBaseline", "another_jet", "median_constituent", "no_constituents", "other_constituents"]


@dataclass(frozen=True)
class Baseline(Brief):
    """Values of the inputs to compare with.

    Parameters
    ----------
    name : str
        For records: ``none``, ``median``, ``jet``.
    values : mapping of str to float32[variables, length]
        Group -> values of its variables in each slot; of length 1: the same in all slots. Of images
        float32[channels, rows, columns]. Masks have none.

    Notes
    -----
    Masks keep the values of the jet, and so do empty slots: the baseline has as many constituents as the jet, with
    other values. A network that is told which slots are empty decides by the mask in one step, so that there is no
    path from an empty slot to a constituent along which derivatives could be added up.
    """

    name: str
    values: Mapping[str, Array]

    def of(self, jets: JetInputs) -> dict[str, Array]:
        """The inputs of the baseline for some jets.

        Parameters
        ----------
        jets : JetInputs

        Returns
        -------
        dict of str to float32[n, variables, length]
            Slots beyond the length of the baseline have the value of empty slots.

        Raises
        ------
        UnknownName
            If the baseline is for an input that the network does not have.
        MismatchError
            If it has another shape than the inputs, or lacks one.
        """
        unknown = [name for name in self.values if name not in jets.groups]
        if unknown:
            raise UnknownName("input", unknown, jets.groups, f"the inputs of {jets.bundle.name!r}")
        found = {}
        for name, group in jets.groups.items():
            own = jets.values[name]
            if group.is_mask:
                found[name] = own
                continue
            if name not in self.values:
                raise MismatchError(f"the baseline {self.name!r} lacks the input {name!r} of {jets.bundle.name!r}")
            value = np.asarray(self.values[name], dtype=np.float32)
            wanted = own.shape[1:] if group.image is not None else (own.shape[1], "slots")
            if (
                value.ndim != own.ndim - 1
                or value.shape[:1] != own.shape[1:2]
                or (group.image is not None and value.shape != own.shape[1:])
            ):
                raise MismatchError(
                    f"the baseline {self.name!r} has the shape {list(value.shape)} for {name!r}, expected "
                    f"[{', '.join(map(str, wanted))}]"
                )
            if group.image is not None:
                found[name] = np.broadcast_to(value, own.shape)
                continue
            length = own.shape[2]
            if value.shape[1] != 1:
                pads = np.array([[variable.pad] for variable in group.variables], dtype=np.float32)
                missing = max(length - value.shape[1], 0)
                value = np.concatenate([value[:, :length], np.repeat(pads, missing, axis=1)], axis=1)
            found[name] = np.where(jets.filled(name)[:, np.newaxis], value, own)
        return found


@dataclass(frozen=True)
class DrawnBaseline(Baseline):
    """Values of other constituents, drawn for each constituent anew.

    Parameters
    ----------
    name : str
    values : mapping of str to float32[variables, constituents]
        Group -> the values to draw from; of images as for `Baseline`.
    seed : int
        Jets with the same numbers (`JetInputs.jets`) get the same constituents.
    """

    seed: int = 0

    def of(self, jets: JetInputs) -> dict[str, Array]:
        """The inputs of the baseline for some jets.

        Parameters
        ----------
        jets : JetInputs

        Returns
        -------
        dict of str to float32[n, variables, length]
            Inputs of the same objects get the same ones.

        Raises
        ------
        UnknownName, MismatchError
            As for `Baseline.of`.
        """
        found = super().of(jets)
        random = np.random.default_rng([self.seed, *jets.jets.tolist()])
        homes = {name: family for family, names in jets.families.items() for name in names}
        drawn: dict[tuple[str, int, int], Array] = {}
        for name, group in jets.groups.items():
            if group.image is not None or group.is_mask:
                continue
            own, rows = jets.values[name], np.asarray(self.values[name], dtype=np.float32).T
            key = (homes.get(name, name), len(rows), own.shape[2])
            if key not in drawn:
                drawn[key] = random.integers(len(rows), size=(len(jets), own.shape[2]))
            others = rows[drawn[key]].transpose(0, 2, 1)
            found[name] = np.where(jets.filled(name)[:, np.newaxis], others, own)
        return found


def no_constituents(bundle: Bundle) -> Baseline:
    """Every variable has the value of an empty slot, those of jets too; images are those of no constituents.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    Baseline

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> no_constituents(load_bundle("tinyParT")).values["pf_features"].shape
    (25, 1)
    """
    values = {}
    for group in bundle.groups:
        if group.image is not None:
            values[group.name] = group.image.blank.astype(np.float32)
        elif not group.is_mask:
            values[group.name] = np.array([[variable.pad] for variable in group.variables], dtype=np.float32)
    return Baseline("none", values)


def median_constituent(jets: JetInputs) -> Baseline:
    """Every constituent has the median of each variable over the constituents of some jets.

    Parameters
    ----------
    jets : JetInputs
        A sample: the baseline depends on it. At least one jet.

    Returns
    -------
    Baseline
        Variables of jets have their median over the jets, pixels too.

    Raises
    ------
    MismatchError
        If there is no jet.
    """
    if not len(jets):
        raise MismatchError("the median constituent is taken over the constituents of at least one jet, got none")
    values = {}
    for name, group in jets.groups.items():
        if group.image is not None:
            values[name] = np.median(jets.values[name], axis=0).astype(np.float32)
        elif not group.is_mask:
            jet, slot = np.nonzero(jets.filled(name))
            column = jets.values[name][jet, :, slot]
            pads = np.array([variable.pad for variable in group.variables], dtype=np.float32)
            median = np.median(column, axis=0) if len(column) else pads
            values[name] = np.asarray(median, dtype=np.float32)[:, np.newaxis]
    return Baseline("median", values)


def another_jet(jets: JetInputs, index: int) -> Baseline:
    """The constituents of another jet, slot by slot.

    Parameters
    ----------
    jets : JetInputs
    index : int
        Which of them.

    Returns
    -------
    Baseline

    Raises
    ------
    ConfigError
        If there are fewer jets.
    """
    in_range(index, "another_jet(), argument index", 0, len(jets) - 1)
    values = {name: jets.values[name][index] for name, group in jets.groups.items() if not group.is_mask}
    return Baseline("jet", values)


def other_constituents(parts: Sequence[JetInputs], seed: int = 0) -> DrawnBaseline:
    """Each constituent has the values of another one, drawn from those of some jets.

    Parameters
    ----------
    parts : sequence of JetInputs
        A sample, as batches: the baseline depends on it. At least one jet.
    seed : int

    Returns
    -------
    DrawnBaseline
        Variables of jets are those of other jets; images those of the first jet.

    Raises
    ------
    MismatchError
        If there is no jet.

    Notes
    -----
    All values occur, and those of one constituent belong together; what is lost is their relation to the rest of the
    jet. Covert, Lundberg, Lee, arXiv:2011.14878, removal with the marginal distribution.
    """
    if not sum(map(len, parts)):
        raise MismatchError("other constituents are those of at least one jet, got none")
    values = {}
    for name, group in parts[0].groups.items():
        if group.image is not None:
            values[name] = next(part for part in parts if len(part)).values[name][0]
        elif not group.is_mask:
            slots = [(part.values[name], *np.nonzero(part.filled(name))) for part in parts]
            rows = np.concatenate([array[jet, :, slot] for array, jet, slot in slots])
            pads = np.array([[variable.pad for variable in group.variables]], dtype=np.float32)
            values[name] = (rows if len(rows) else pads).T
    return DrawnBaseline("others", values, seed)


guard(globals())
