"""Workspaces in the hands of others: plain pyhf and cabinetry find the limits that jettagger finds."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettagger.statistics.fits import model_of, pulls
from jettagger.statistics.limits import Limit, limit
from jettagger.statistics.workspaces import unit_of

#: of CLs at the limit, and of limits
CLS, LIMITS = 0.03, 0.02


@contextmanager
def fitted_once() -> Iterator[None]:
    """Each fit of pyhf is done once: ``hypotest`` repeats, at each strength, three of five that do not depend on it.

    The same optimizer, model, data, start and bounds give the same result, digit by digit.
    """
    optimizer = pytest.importorskip("pyhf.optimize.mixins").OptimizerMixin
    minimize = optimizer.minimize
    results: dict[Any, Any] = {}

    def remembered(self: Any, objective: Any, data: Any, pdf: Any, *arguments: Any, **keywords: Any) -> Any:
        slots = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        options = [getattr(self, name) for name in slots]
        key = (type(self), id(pdf), pickle.dumps((options, np.asarray(data).tolist(), arguments, keywords)))
        if key not in results:
            # with the model, so that no other one can have its identity
            results[key] = (minimize(self, objective, data, pdf, *arguments, **keywords), pdf)
        return results[key][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer, "minimize", remembered)
        yield


@fitted_once()
def check_pyhf(made: Mapping[str, Any], optimizer: str, found: list[float] | None = None) -> Limit:
    """CLs of plain pyhf is 5 % at each of the limits, and falls with the strength up to the bounds.

    Its values are added to ``found``.
    """
    pyhf = pytest.importorskip("pyhf")
    ours = limit(made)
    model, data = model_of(made)
    (low, high) = model.config.suggested_bounds()[model.config.poi_index]
    tested = [ours.observed, ours.expected[0], ours.expected[2], ours.expected[4]]
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
        if found is not None:
            found.append(cls)
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


@fitted_once()
def check_cabinetry(made: Mapping[str, Any]) -> None:
    """``cabinetry.fit.limit`` with its own bracket."""
    cabinetry = pytest.importorskip("cabinetry")
    ours = limit(made)
    model, data = model_of(made)
    logger = logging.getLogger("pyhf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # bounds that are met are not worth a line in the log of a test
    try:
        theirs = cabinetry.fit.limit(model, data.tolist())
    finally:
        logger.setLevel(level)
    unit = unit_of(made)
    np.testing.assert_allclose(theirs.observed_limit * unit, ours.observed, rtol=LIMITS)
    np.testing.assert_allclose(theirs.expected_limit * unit, np.asarray(ours.expected, dtype=float), rtol=LIMITS)


def check_pulls(made: Mapping[str, Any], injected: float, bias: float = 0.0) -> None:
    """Pulls of 200 toys with a signal have a mean of 0 and a width of 1, and all of the fits converge.

    Where the sensitivity is in bins of a few simulated events, -2 ln L is no parabola, and a bias is left, in standard
    deviations.
    """
    strength = injected / unit_of(made)
    found = pulls(made, strength, 200, seed=27, bounds=(-20 * strength, 20 * strength))
    assert len(found) == 200
    assert abs(found.mean()) < bias + 3 * found.std(ddof=1) / np.sqrt(200)
    assert abs(found.std(ddof=1) - 1) < 3 / np.sqrt(2 * 199)
