"""Workspaces in the hands of others: plain pyhf and cabinetry find the limits that jettagger finds."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettagger.statistics.fits import model_of
from jettagger.statistics.limits import Limit, limit
from jettagger.statistics.workspaces import unit_of

#: of CLs at the limit, and of limits
CLS, LIMITS = 0.03, 0.02


def check_pyhf(made: Mapping[str, Any], optimizer: str) -> Limit:
    """CLs of plain pyhf is 5 % at each of the limits, and falls with the strength up to the bounds."""
    pyhf = pytest.importorskip("pyhf")
    ours = limit(made)
    model, data = model_of(made)
    (low, high) = model.config.suggested_bounds()[model.config.poi_index]
    tested = [ours.observed, ours.expected[0], ours.expected[2], ours.expected[4]]
    try:
        pyhf.set_backend("numpy", optimizer)
        for position, value in zip((None, 0, 2, 4), tested, strict=True):
            assert value is not None
            strength = value / unit_of(made)
            assert low <= 0 < strength < high
            observed, expected = pyhf.infer.hypotest(
                strength, data.tolist(), model, test_stat="qtilde", return_expected_set=True
            )
            cls = float(observed if position is None else expected[position])
            assert cls == pytest.approx(0.05, rel=CLS), (optimizer, position, strength)
    finally:
        pyhf.set_backend("numpy", "scipy")
    return ours


def check_command(made: Mapping[str, Any], path: Path, optimizer: str) -> None:
    """``pyhf cls`` as it is run by default, at a strength of one."""
    testing = pytest.importorskip("click.testing")
    from pyhf.cli import cli

    from jettagger.statistics import limits

    path.write_text(json.dumps(made), encoding="utf-8")
    result = testing.CliRunner().invoke(cli, ["cls", str(path), "--optimizer", optimizer])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output[result.output.index("{") :])
    assert found["CLs_obs"] == pytest.approx(limits._Scan(made, "signal").cls(1.0), rel=CLS, abs=2e-3)


def check_cabinetry(made: Mapping[str, Any]) -> None:
    """``cabinetry.fit.limit`` with its own bracket."""
    cabinetry = pytest.importorskip("cabinetry")
    ours = limit(made)
    model, data = model_of(made)
    # bounds that are met are not worth a line in the log of a test
    logging.getLogger("pyhf").setLevel(logging.CRITICAL)
    theirs = cabinetry.fit.limit(model, data.tolist())
    unit = unit_of(made)
    np.testing.assert_allclose(theirs.observed_limit * unit, ours.observed, rtol=LIMITS)
    np.testing.assert_allclose(theirs.expected_limit * unit, np.asarray(ours.expected, dtype=float), rtol=LIMITS)
