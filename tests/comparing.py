"""How tests compare scores: within the tolerances that the package promises."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np


def flat(scores: Any, name: str) -> np.ndarray[Any, Any]:
    """One output of all jets as float64, NaN where not scored."""
    values = ak.flatten(scores[name], axis=1)
    return np.asarray(ak.to_numpy(ak.fill_none(values, np.nan)), dtype=np.float64)


def assert_same_scores(got: Any, expected: Any) -> None:
    """Same structure, same None; probabilities within 1e-5, others within 1e-4 max(1, |x|)."""
    assert got.fields == expected.fields
    assert len(got) == len(expected)
    assert ak.is_none(got).tolist() == ak.is_none(expected).tolist()
    first = expected.fields[0]
    assert ak.num(got[first]).tolist() == ak.num(expected[first]).tolist()
    got, expected = (ak.flatten(ak.drop_none(scores, axis=0), axis=1) for scores in (got, expected))
    assert ak.is_none(got).tolist() == ak.is_none(expected).tolist()
    got, expected = ak.to_numpy(ak.drop_none(got)), ak.to_numpy(ak.drop_none(expected))
    for name in expected.dtype.names or ():
        one, other = got[name].astype(np.float64), expected[name].astype(np.float64)
        limit = 1e-5 if name.startswith("prob") else 1e-4 * np.maximum(1, np.abs(other))
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=name)
        off = np.abs(one - other)
        assert np.nanmax(off - limit, initial=-1) <= 0, f"{name} differs by {np.nanmax(off)}"


def branches_of(log: list[Any]) -> list[str]:
    """What coffea's access log names; before 2025.11 it holds the names alone."""
    return [str(getattr(entry, "branch", entry)) for entry in log]
