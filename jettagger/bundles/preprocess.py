"""Input groups from a ``preprocess.json`` as CMSSW reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jettagger.arguments import is_number
from jettagger.bundles.declaration import check_cut
from jettagger.bundles.interface import Group, Variable
from jettagger.errors import BundleError, hint
from jettagger.features import CANDIDATES, Feature, lookup
from jettagger.weaver.config import LONGEST_LIST

__all__ = ["PRODUCER_SELECTION", "read_groups"]

#: selection of candidates by CMSSW's producer for networks with such a description (``min_puppi_wgt`` of
#: ``DeepBoostedJetTagInfoProducer``)
PRODUCER_SELECTION = "puppiWeight >= 0.01"

_VARIABLE_KEYS = {"median", "norm_factor", "replace_inf_value", "lower_bound", "upper_bound", "pad"}


def read_groups(
    description: Mapping[str, Any], where: str, selection: str | None = PRODUCER_SELECTION
) -> tuple[Group, ...]:
    """The input groups of a CMSSW ``preprocess.json``.

    Parameters
    ----------
    description : mapping
        The content of the file.
    where : str
        Its path, for errors.
    selection : str, optional
        Cut on candidates; ``none``: no cut. Default: that of CMSSW's producer.

    Returns
    -------
    tuple of Group
        With the lengths in the file: ``var_length`` gives a fixed length.

    Raises
    ------
    BundleError
        If keys are missing, of the wrong type, or contradict each other.
    UnknownName
        If variables, or columns of the selection, are unknown: all are listed, with the nearest names.
    ConfigError
        If the selection is not a valid cut.
    """
    names = description.get("input_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BundleError(f"{where}: 'input_names' must be a list of group names, got {names!r}")
    if len(set(names)) != len(names):
        raise BundleError(f"{where}: 'input_names' lists a group twice: {names}")
    missing = [name for name in names if not isinstance(description.get(name), dict)]
    if missing:
        present = [key for key, value in description.items() if isinstance(value, dict) and "var_names" in value]
        raise BundleError(f"{where}: groups {missing} of 'input_names' are missing; the file has {present}")
    wanted = [name for group in names for name in _var_names(group, description[group], where)]
    lookup(dict.fromkeys(wanted), where)
    groups = tuple(_group(name, description[name], where) for name in names)
    if selection == "none":
        return groups
    cut = PRODUCER_SELECTION if selection is None else selection
    chosen = tuple(replace(group, selection=cut) if group.object in CANDIDATES else group for group in groups)
    for group in chosen:
        check_cut(group.selection, group.object, f"selection of {group.name!r}")
    return chosen


def _var_names(name: str, content: Mapping[str, Any], where: str) -> list[str]:
    variables = content.get("var_names")
    if not isinstance(variables, list) or not variables or not all(isinstance(item, str) for item in variables):
        raise BundleError(f"{where}: group {name!r}: 'var_names' must be a list of variables, got {variables!r}")
    return variables


def _group(name: str, content: Mapping[str, Any], where: str) -> Group:
    place = f"{where}: group {name!r}"
    variables, infos = _var_names(name, content, where), content.get("var_infos")
    if not isinstance(infos, dict):
        raise BundleError(f"{place}: 'var_infos' must be an object, got {infos!r}")
    without = [item for item in variables if not isinstance(infos.get(item), dict)]
    if without:
        raise BundleError(f"{place}: 'var_infos' lacks {without}")
    features = lookup(variables, place)
    objects = sorted({feature.object for feature in features})
    if len(objects) > 1:
        raise BundleError(f"{place}: its variables describe different objects {objects}, expected one")
    shortest, longest = _lengths(content, place)
    return Group(
        name=name,
        variables=tuple(_variable(feature, infos[feature.name], place) for feature in features),
        min_length=shortest,
        max_length=longest,
        per_jet=objects == ["jet"],
    )


def _lengths(content: Mapping[str, Any], place: str) -> tuple[int, int]:
    if content.get("var_length") is not None:
        bounds = (content["var_length"], content["var_length"])
    elif content.get("min_length") is not None and content.get("max_length") is not None:
        bounds = (content["min_length"], content["max_length"])
    else:
        raise BundleError(f"{place}: expected 'var_length', or both 'min_length' and 'max_length'")
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in bounds):
        raise BundleError(f"{place}: lengths must be whole numbers, got {bounds}")
    if bounds[1] > LONGEST_LIST:
        raise BundleError(f"{place}: lengths must be at most {LONGEST_LIST}, got {_power(max(bounds))}")
    if not 0 <= bounds[0] <= bounds[1] or bounds[1] < 1:
        raise BundleError(f"{place}: expected 0 <= min_length <= max_length and max_length >= 1, got {bounds}")
    return bounds


def _power(number: int) -> str:
    """A large integer for a message; those with thousands of digits cannot be written."""
    return str(number) if number < 10**20 else f"a number of about {int(number.bit_length() * 0.30103)} digits"


def _variable(feature: Feature, info: Mapping[str, Any], place: str) -> Variable:
    place = f"{place}, variable {feature.name!r}"
    missing = sorted(_VARIABLE_KEYS - {"pad"} - set(info))
    if missing:
        raise BundleError(f"{place}: {missing} missing")
    unknown = sorted(set(info) - _VARIABLE_KEYS)
    if unknown:
        raise BundleError(f"{place}: unknown {', '.join(repr(key) + hint(key, _VARIABLE_KEYS) for key in unknown)}")
    numbers = {}
    for key, value in info.items():
        numbers[key] = _number(value, f"{place}: {key!r}", infinite=key.endswith("_bound"))
    variable = Variable(feature, **numbers)
    if not variable.lower_bound <= variable.upper_bound:
        raise BundleError(f"{place}: lower_bound {variable.lower_bound} exceeds upper_bound {variable.upper_bound}")
    if not variable.lower_bound <= variable.pad <= variable.upper_bound:
        raise BundleError(f"{place}: pad {variable.pad} lies outside [{variable.lower_bound}, {variable.upper_bound}]")
    return variable


def _number(value: Any, place: str, *, infinite: bool) -> float:
    """A number of the description; only bounds may be infinite."""
    if is_number(value):
        with suppress(OverflowError):  # a whole number beyond any float
            number = float(value)
            if math.isfinite(number) or (infinite and not math.isnan(number)):
                return number
    raise BundleError(f"{place} must be a {'' if infinite else 'finite '}number, got {_shown(value)}")


def _shown(value: Any) -> str:
    try:
        return repr(value if isinstance(value, (int, float)) else str(value)[:40])
    except ValueError:  # whole numbers of thousands of digits cannot be written
        return "a number of thousands of digits"
