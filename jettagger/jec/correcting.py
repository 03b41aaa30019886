"""Momentum and mass of jets after the factor of a regression of their energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettagger.arguments import Records, guard
from jettagger.errors import ConfigError, MissingColumns, hint

__all__ = ["VARIATIONS", "corrected", "factor_column"]

#: variation -> end of the name of the column with its factor
VARIATIONS: Mapping[str, str] = {"nominal": "ptRawCorr", "up": "ptRawCorrUp", "down": "ptRawCorrDown"}

#: how regressions of NanoAOD name their factor, by the same variation
_OF_NANOAOD: Mapping[str, str] = {"nominal": "RegPtRawCorr"}


def factor_column(fields: Any, prefix: str, variation: str = "nominal") -> str:
    """The column with the factor of a regression.

    Parameters
    ----------
    fields : iterable of str
        Columns of the jets.
    prefix : str
        Prefix of the columns of a model (``<prefix>_ptRawCorr``), or of a regression of NanoAOD (``PNet``,
        ``UParTAK4``: ``<prefix>RegPtRawCorr``).
    variation : {"nominal", "up", "down"}

    Returns
    -------
    str

    Raises
    ------
    MissingColumns
        If the jets have no such column; gives the nearest ones.
    ConfigError
        If the variation does not exist.
    """
    fields = list(fields)
    if variation not in VARIATIONS:
        raise ConfigError(f"unknown variation {variation!r}{hint(variation, VARIATIONS)}: expected nominal, up or down")
    name = f"{prefix}_{VARIATIONS[variation]}"
    other = f"{prefix}{_OF_NANOAOD[variation]}" if variation in _OF_NANOAOD else ""
    for column in (name, other):
        if column in fields:
            return column
    known = [item for item in fields if "PtRawCorr" in item or "ptRawCorr" in item]
    why = ""
    if variation != "nominal" and f"{prefix}_{VARIATIONS['nominal']}" in fields:
        why = "; the model has no quantiles: train it with loss: {type: quantiles}"
    raise MissingColumns(
        f"the jets have no column {name!r}{' or ' + repr(other) if other else ''}{hint(name, known)}{why}. Columns of "
        f"regressions: {', '.join(known) or 'none'}"
    )


def corrected(jets: Records, prefix: str, variation: str = "nominal") -> Any:
    """Jets with momentum and mass after the factor of a regression.

    Parameters
    ----------
    jets : awkward array
        With ``pt``, ``mass``, ``rawFactor`` and the columns of a model, ``<prefix>_ptRawCorr``: factors on the raw pt,
        pt (1 - rawFactor). Also for regressions of NanoAOD, with the prefix ``PNet`` or ``UParTAK4``.
    prefix : str
    variation : {"nominal", "up", "down"}
        ``up`` and ``down`` use ``ptRawCorrUp`` and ``ptRawCorrDown``, the ends of the central interval of 68 % that a
        model trained with quantiles predicts for each jet.

    Returns
    -------
    awkward array
        The same jets, with new ``pt`` and ``mass`` in GeV, and ``rawFactor`` such that the raw values are those of
        before; None for jets without a factor.

    Raises
    ------
    MissingColumns
        If the jets lack a column.
    ConfigError
        If the variation does not exist.

    Examples
    --------
    >>> import awkward as ak
    >>> jets = ak.Array([[{"pt": 50.0, "mass": 10.0, "rawFactor": 0.2, "mine_ptRawCorr": 1.1}]])
    >>> corrected(jets, "mine")[["pt", "mass"]].tolist()
    [[{'pt': 44.0, 'mass': 8.8}]]
    """
    import awkward as ak

    lacking = [name for name in ("pt", "mass", "rawFactor") if name not in jets.fields]
    if lacking:
        raise MissingColumns(f"the jets lack {', '.join(lacking)}, which the raw momentum and mass need")
    factor = jets[factor_column(jets.fields, prefix, variation)]
    raw = 1 - jets.rawFactor
    changed = {"pt": jets.pt * raw * factor, "mass": jets.mass * raw * factor, "rawFactor": 1 - 1 / factor}
    for name, values in changed.items():
        jets = ak.with_field(jets, values, name)
    return jets


guard(globals())
