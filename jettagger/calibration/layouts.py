"""Layouts of scale factors in correctionlib files: recognised by the names and types of inputs, and written.

An input has a role: the systematic variation, the working point, the category of the jet (its flavour), the method of
the measurement, and the quantities pt, eta, abseta and mass. Files of the experiments differ in names and order of
inputs, in the word for the nominal value and in the nesting of the tree. Trees are evaluated by correctionlib; here
only the keys of their nodes are collected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jettagger.arguments import guard
from jettagger.calibration.binning import AXES
from jettagger.display import Brief
from jettagger.errors import InputFileError, UnknownName, hint

__all__ = [
    "ALL_JETS",
    "GROUPS",
    "LAYOUTS",
    "NOMINALS",
    "ROLES",
    "TOTAL",
    "FactorLayout",
    "category_node",
    "correction_named",
    "recognise",
    "roles_of",
    "threshold_correction",
]

#: layouts that are written -> the inputs of their corrections
LAYOUTS: Mapping[str, str] = {
    "jettagger": "systematic, working_point, category, pt and mass, abseta or eta",
    "b_tagging": "systematic, working_point, flavor, abseta, pt",
    "jet_tagging": "eta, pt, systematic, workingpoint",
}

#: words for the nominal value
NOMINALS = ("nominal", "central", "nom")

#: name of the source of ``up`` and ``down``: all sources together
TOTAL = "total"

#: sums of the sources that are correlated between bins, and of the others
GROUPS = ("correlated", "uncorrelated")

#: the category of files that do not distinguish any
ALL_JETS = "all"

#: role -> its types, and names without regard to case, ``_`` and ``-``
ROLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "systematic": (("string",), ("systematic", "systematics", "syst", "sys", "variation", "uncertainty")),
    "working_point": (("string",), ("workingpoint", "wp")),
    "category": (
        ("string", "int"),
        ("category", "flavor", "flavour", "hadronflavor", "hadronflavour", "jetflavor", "jetflavour", "truth"),
    ),
    "method": (("string",), ("method",)),
    "pt": (("real",), ("pt", "jetpt", "fatjetpt")),
    "abseta": (("real",), ("abseta", "jetabseta", "fatjetabseta", "aeta")),
    "eta": (("real",), ("eta", "jeteta", "fatjeteta")),
    "mass": (("real",), ("mass", "msoftdrop", "msd", "softdropmass", "jetmass", "fatjetmass")),
}

_REQUIRED = ("systematic", "working_point", "pt")
_WP_VALUES = "_wp_values"

#: a variation of one source: up_jes, jesUp, jes_up
_BEFORE, _AFTER = re.compile(r"(up|down)_(.+)"), re.compile(r"(.+?)(_up|_down|_?Up|_?Down)")

#: keys of a leaf: systematic, working point, category, method; None: any
_Leaf = tuple[str | None, ...]
_POSITIONS: Mapping[str, int] = {"systematic": 0, "working_point": 1, "category": 2, "method": 3}


@dataclass(frozen=True)
class FactorLayout(Brief):
    """How scale factors are stored in a correction.

    Attributes
    ----------
    name : str
        One of `LAYOUTS`, or ``other`` for another combination of known inputs.
    correction : str
        Its name in the file.
    order : tuple of str
        The roles of its inputs.
    of_integers : bool
        Whether categories are integers in the file.
    nominal : str
        The key of the nominal value.
    sources : dict of str to (str, str)
        Source -> keys of up and down; `TOTAL` for all together.
    further : tuple of str
        Other keys of the systematic input.
    points, categories : tuple of str
        In the order of the file; categories are `ALL_JETS` alone if the correction has none.
    cells : frozenset of (str, str)
        The points and categories for which there are numbers.
    ranges : dict of str to (float, float)
        Quantity -> the outermost edges of its bins, where this is known.
    method : str
        The chosen method, for corrections with several.
    """

    name: str
    correction: str
    order: tuple[str, ...]
    of_integers: bool
    nominal: str
    sources: Mapping[str, tuple[str, str]]
    further: tuple[str, ...]
    points: tuple[str, ...]
    categories: tuple[str, ...]
    cells: frozenset[tuple[str, str]]
    ranges: Mapping[str, tuple[float, float]]
    method: str = ""

    @property
    def quantities(self) -> tuple[str, ...]:
        """The roles that are quantities of the jets."""
        return tuple(role for role in self.order if role in AXES)


def roles_of(inputs: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """The roles of inputs: role -> name, in the order of the inputs; None if one is not known.

    Parameters
    ----------
    inputs : sequence of mapping
        ``name`` and ``type`` of each.

    Returns
    -------
    dict or None

    Examples
    --------
    >>> roles_of([{"name": "JetPt", "type": "real"}, {"name": "workingpoint", "type": "string"}])
    {'pt': 'JetPt', 'working_point': 'workingpoint'}
    """
    made: dict[str, str] = {}
    for item in inputs:
        plain = re.sub(r"[_\- ]", "", str(item.get("name"))).lower()
        role = next((role for role, (types, names) in ROLES.items() if plain in names and item["type"] in types), None)
        if role is None or role in made:
            return None
        made[role] = str(item["name"])
    return made


def correction_named(content: Mapping[str, Any], name: str | None, where: str) -> Mapping[str, Any]:
    """The correction with scale factors.

    Parameters
    ----------
    content : mapping
        Of the file.
    name : str, optional
        Which one; default: the only one of a known layout.
    where : str
        For messages.

    Returns
    -------
    mapping

    Raises
    ------
    UnknownName
        If there is no correction of this name.
    InputFileError
        If none, or more than one, has a known layout.
    """
    corrections = {str(item.get("name")): item for item in content["corrections"] if isinstance(item, Mapping)}
    if name is not None:
        if name not in corrections:
            raise UnknownName("correction", name, corrections, where)
        return corrections[name]
    usable = [key for key, item in corrections.items() if not _lacking(item)]
    if len(usable) == 1:
        return corrections[usable[0]]
    if usable:
        raise InputFileError(
            f"{where}: {len(usable)} corrections have scale factors: {', '.join(usable)}; choose one with correction="
        )
    raise InputFileError(_unknown(corrections, where))


def _lacking(correction: Mapping[str, Any]) -> str:
    """Why the inputs of a correction are not those of scale factors; empty if they are."""
    inputs = correction.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(item, Mapping) and "type" in item for item in inputs):
        return "no list of inputs"
    roles = roles_of(inputs)
    if roles is not None:
        missing = [role for role in _REQUIRED if role not in roles]
        both = {"eta", "abseta"} <= set(roles)
        return "eta and abseta together" if both else f"no input for {', '.join(missing)}" if missing else ""
    names = [name for _, names in ROLES.values() for name in names]
    seen: dict[str, str] = {}
    for item in inputs:
        one = roles_of([item])
        if one is None:
            known = re.sub(r"[_\- ]", "", str(item["name"])).lower() in names
            why = f"of another type than {_types(item)}" if known else f"unknown{hint(str(item['name']), names)}"
            return f"the input {item['name']!r} ({item['type']}) is {why}"
        (role,) = one
        if role in seen:
            return f"two inputs for {role}: {seen[role]} and {item['name']}"
        seen[role] = str(item["name"])
    return ""


def _types(item: Mapping[str, Any]) -> str:
    plain = re.sub(r"[_\- ]", "", str(item["name"])).lower()
    return " or ".join(next(types for types, names in ROLES.values() if plain in names))


def _unknown(corrections: Mapping[str, Mapping[str, Any]], where: str) -> str:
    lines = [f"{where}: no correction in a known layout of scale factors. Found:"]
    for name, item in list(corrections.items())[:10]:
        inputs = item.get("inputs")
        shown = ", ".join(f"{entry.get('name')} ({entry.get('type')})" for entry in inputs or [] if entry)
        lines.append(f"  {name}: {shown or 'no inputs'}: {_lacking(item)}")
    if len(corrections) > 10:
        lines.append(f"  ... and {len(corrections) - 10} more")
    lines.append("Known:")
    lines += [f"  {name}: {inputs}" for name, inputs in LAYOUTS.items()]
    return "\n".join(lines)


def recognise(
    content: Mapping[str, Any],
    name: str | None,
    where: str,
    sources: Sequence[str] | None = None,
    method: str | None = None,
) -> FactorLayout:
    """Recognise the layout of scale factors.

    Parameters
    ----------
    content : mapping
        Of the file.
    name : str, optional
        Of the correction.
    where : str
        For messages.
    sources : sequence of str, optional
        Sources to take, with the sums that the file has; default: all.
    method : str, optional
        For corrections with an input ``method``: which one, needed if there are several.

    Returns
    -------
    FactorLayout

    Raises
    ------
    InputFileError
        If the layout is unknown, or the nominal value, one side of a variation, or a variation of some category or
        working point is missing; says what was found and what is known.
    UnknownName
        If the correction, the method or a source does not exist.
    """
    item = correction_named(content, name, where)
    correction = str(item["name"])
    lacking = _lacking(item)
    if lacking:
        raise InputFileError(_unknown({correction: item}, where))
    roles = roles_of(item["inputs"]) or {}
    by_input = {name: role for role, name in roles.items()}
    leaves = _leaves(item.get("data"), by_input)
    place = f"{where}, correction {correction!r}"
    chosen = ""
    if "method" in roles or method is not None:
        chosen, leaves = _of_method(leaves, method, place)
    found = _keys(leaves, 0)
    nominal = next((word for word in NOMINALS if word in found), None)
    if nominal is None and any(leaf[0] is None for leaf in leaves):
        nominal = NOMINALS[0]  # a default holds for every key
    if nominal is None:
        raise InputFileError(
            f"{place}: no nominal value: found the variations {', '.join(found) or 'none'}, expected one of "
            f"{', '.join(NOMINALS)}"
        )
    pairs, further = _pairs([key for key in found if key != nominal], place, sources)
    points = _keys(leaves, 1)
    if not points:
        raise InputFileError(f"{place}: no working points: the tree does not depend on {roles['working_point']!r}")
    categories = _keys(leaves, 2) if "category" in roles else []
    cells = {
        (point, category)
        for point in points
        for category in categories or [ALL_JETS]
        if _has(leaves, nominal, point, category if categories else None)
    }
    for point, category in sorted(cells):
        for source, keys in pairs.items():
            missing = [key for key in keys if not _has(leaves, key, point, category if categories else None)]
            if missing:
                theirs = [key for key in found if _has(leaves, key, point, category if categories else None)]
                raise InputFileError(
                    f"{place}: working point {point!r}, category {category!r} lacks {', '.join(missing)}: found "
                    f"{', '.join(theirs)}; choose sources= without {source!r}"
                )
    types = {str(entry["name"]): entry["type"] for entry in item["inputs"]}
    return FactorLayout(
        name=_layout_name(roles),
        correction=correction,
        order=tuple(roles),
        of_integers="category" in roles and types[roles["category"]] == "int",
        nominal=nominal,
        sources=pairs,
        further=tuple(further),
        points=tuple(points),
        categories=tuple(categories) or (ALL_JETS,),
        cells=frozenset(cells),
        ranges=_ranges(item.get("data"), by_input),
        method=chosen,
    )


def _of_method(leaves: Sequence[_Leaf], method: str | None, place: str) -> tuple[str, list[_Leaf]]:
    """The method, and the keys of its numbers."""
    known = _keys(leaves, _POSITIONS["method"])
    if method is None and len(known) != 1:
        raise InputFileError(f"{place}: it depends on the method: choose one of {', '.join(known)} with method=")
    if method is not None and method not in known:
        raise UnknownName("method", method, known, place)
    chosen = known[0] if method is None else method
    return chosen, [leaf for leaf in leaves if leaf[_POSITIONS["method"]] in (chosen, None)]


def _layout_name(roles: Mapping[str, str]) -> str:
    names = set(roles) - {"method"}
    if names == {"systematic", "working_point", "category", "abseta", "pt"}:
        return "b_tagging"
    if names == {"systematic", "working_point", "eta", "pt"}:
        return "jet_tagging"
    return "other"


def _pairs(
    keys: Iterable[str], place: str, wanted: Sequence[str] | None
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Source -> keys of up and down, and keys that are no variations."""
    sides: dict[str, dict[str, str]] = {}
    further = []
    for key in keys:
        before, after = _BEFORE.fullmatch(key), _AFTER.fullmatch(key)
        if key.lower() in ("up", "down"):
            source, side = TOTAL, key.lower()
        elif before:
            source, side = before[2], before[1]
        elif after:
            source, side = after[1], after[2].lower().strip("_")
        else:
            further.append(key)
            continue
        sides.setdefault(source, {})[side] = key
    if wanted is not None:
        unknown = [source for source in wanted if source not in sides]
        if unknown:
            raise UnknownName("source", unknown, sides, place)
        sums = [source for source in (TOTAL, *GROUPS) if len(sides.get(source, ())) == 2]
        sides = {source: sides[source] for source in dict.fromkeys([*wanted, *sums])}
    for source, named in sides.items():
        if len(named) < 2:
            (side, key), other = next(iter(named.items())), "down" if "up" in named else "up"
            expected = other if source == TOTAL else re.sub(f"(?i){side}", other, key)
            near = hint(expected, [item for item in keys if item != key])
            raise InputFileError(
                f"{place}: the variation {key!r} has no {expected!r}{near}: found {', '.join(keys)}; choose sources= "
                f"without {source!r}"
            )
    return {source: (named["up"], named["down"]) for source, named in sides.items()}, further


def _keys(leaves: Iterable[_Leaf], position: int) -> list[str]:
    return list(dict.fromkeys(key for leaf in leaves if (key := leaf[position]) is not None))


def _has(leaves: Iterable[_Leaf], *wanted: str | None) -> bool:
    """Whether there is a number for a systematic, a working point and a category."""
    return any(
        all(key is None or value is None or key == value for key, value in zip(leaf, wanted, strict=False))
        for leaf in leaves
    )


def _leaves(node: Any, by_input: Mapping[str, str]) -> list[_Leaf]:
    """The keys that lead to numbers, in the order of the file."""

    def walk(node: Any) -> list[_Leaf]:
        if not isinstance(node, Mapping):
            return [(None,) * len(_POSITIONS)]
        if node.get("nodetype") == "category":
            index = _POSITIONS.get(by_input.get(str(node.get("input")), ""))
            made: dict[_Leaf, None] = {}
            content = [(str(item["key"]), item["value"]) for item in node.get("content", ())]
            for key, value in [*content, *([(None, node["default"])] if node.get("default") is not None else [])]:
                for leaf in walk(value):
                    if index is not None and leaf[index] is None:
                        leaf = (*leaf[:index], key, *leaf[index + 1 :])
                    made[leaf] = None
            return list(made)
        parts = node.get("content")
        parts = parts if isinstance(parts, list) else [parts]
        if isinstance(node.get("flow"), Mapping):
            parts = [*parts, node["flow"]]
        return list(dict.fromkeys(leaf for part in parts for leaf in walk(part)))

    return walk(node)


def _ranges(node: Any, by_input: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Quantity -> outermost edges; not for those that the tree transforms."""
    made: dict[str, tuple[float, float]] = {}
    rewritten = set()

    def add(name: str, edges: Any) -> None:
        if by_input.get(name) not in AXES:
            return
        low, high = (edges["low"], edges["high"]) if isinstance(edges, Mapping) else (edges[0], edges[-1])
        before = made.get(by_input[name], (float(low), float(high)))
        made[by_input[name]] = (min(before[0], float(low)), max(before[1], float(high)))

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for part in node:
                walk(part)
        if not isinstance(node, Mapping):
            return
        kind = node.get("nodetype")
        if kind == "binning":
            add(str(node["input"]), node["edges"])
        elif kind == "multibinning":
            for name, edges in zip(node["inputs"], node["edges"], strict=True):
                add(str(name), edges)
        elif kind == "transform":
            rewritten.add(by_input.get(str(node["input"]), ""))
        for key in ("content", "value", "default", "flow"):
            walk(node.get(key))

    walk(node)
    return {name: span for name, span in made.items() if name not in rewritten}


def threshold_correction(content: Mapping[str, Any], correction: str) -> str | None:
    """The correction with the thresholds of the working points of another one, by its name.

    Parameters
    ----------
    content : mapping
        Of the file.
    correction : str
        With the scale factors, e.g. ``deepJet_comb``.

    Returns
    -------
    str or None
        E.g. ``deepJet_wp_values``.

    Examples
    --------
    >>> inputs = [{"name": "working_point", "type": "string"}]
    >>> threshold_correction({"corrections": [{"name": "deepJet_wp_values", "inputs": inputs}]}, "deepJet_comb")
    'deepJet_wp_values'
    """
    named = []
    for item in content["corrections"]:
        name = str(item.get("name"))
        front = name.removesuffix(_WP_VALUES)
        fits = front != name and (correction == front or correction.startswith(f"{front}_"))
        if fits and list(roles_of(item.get("inputs", ())) or ()) == ["working_point"]:
            named.append(name)
    return max(named, key=len, default=None)


def category_node(name: str, contents: Mapping[Any, Any]) -> dict[str, Any]:
    """A node that chooses by a key.

    Parameters
    ----------
    name : str
        Of the input.
    contents : mapping
        Key -> content.

    Returns
    -------
    dict
    """
    return {
        "nodetype": "category",
        "input": name,
        "content": [{"key": key, "value": value} for key, value in contents.items()],
    }


guard(globals(), "recognise")
