"""Cards of CMS combine: read by rules of their own, they expect the jets of the workspace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bands import RESOLUTION, SCALE, THREE, TWO, templates
from cards import Card

from jettagger.calibration import CategoryFactor, FactorModel, ShapeFactor, write_datacard
from jettagger.errors import ConfigError, OutputError
from jettagger.files.root import read_note
from jettagger.provenance import Provenance
from jettagger.statistics.fits import Likelihood

pytest.importorskip("pyhf", reason="the extra stats is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


CATEGORIES = {
    "signal": CategoryFactor(normalisation="free"),
    "merged": CategoryFactor("tied", tied_to="signal", normalisation=0.2),
    "other": CategoryFactor(normalisation=0.3),
}


@pytest.mark.parametrize("yields", [TWO, THREE], ids=["two bands", "three bands"])
@pytest.mark.parametrize("prior", [None, 0.03, 0.01])
def test_a_card_expects_the_jets_of_the_workspace(yields: Any, prior: float | None, tmp_path: Path) -> None:
    if yields is THREE:
        yields = {**THREE, "merged": (700.0, 400.0, 900.0)}
    shapes = {"mass_scale": ShapeFactor(SCALE, prior), "mass_resolution": ShapeFactor(RESOLUTION)}
    made = templates(yields, seed=3)
    model = FactorModel(made, CATEGORIES, {"lumi": {"signal": 0.016, "merged": 0.016}}, shapes)
    card = Card(write_datacard(model, tmp_path)[0])
    assert card.bins == list(made.bands)
    assert card.statistics == list(made.bands)
    likelihood = Likelihood(model.workspace(), None, None)
    names, slices = likelihood.model.config.par_names, likelihood.model.config.channel_slices
    width = shapes["mass_scale"].width
    points: list[dict[str, float]] = [
        {},
        {name: 0.85 + 0.1 * i for i, name in enumerate(model.factor_parameters)},
        {"norm_signal": 1.3, "norm_other": 1.0, "norm_merged": -1.0, "lumi": 1.0},
        *({**dict.fromkeys(model.factor_parameters, 1.1), "tilt": tilt} for tilt in (-2.0, -1.0, 1.0, 1.7)),
        *({"mass_scale": alpha / width, "norm_other": -1.0} for alpha in (-1.0, 1.0)),
        *({"mass_resolution": alpha / shapes["mass_resolution"].width} for alpha in (-1.0, 1.0)),
    ]
    for values in points:
        point = likelihood.start.copy()
        for name, value in values.items():
            point[names.index(name)] = value
        # in combine a shape without a prior is in units of its templates
        theirs = dict(values)
        for name, shape in shapes.items():
            if shape.prior is None and name in theirs:
                theirs[name] *= shape.width
        rates = likelihood.deviance.rates(point)
        for band in made.bands:
            np.testing.assert_allclose(card.expected(band, theirs), rates[slices[band]], rtol=1e-6, atol=1e-6)
    for band in made.bands:
        assert card.observations[band] == made.data[band].sum()
        np.testing.assert_array_equal(card.histogram(band, "data_obs"), made.data[band])


def test_a_card_says_how_it_is_fitted(tmp_path: Path) -> None:
    made = templates({**TWO, "merged": (800.0, 0.0)})
    setup = {"signal": CategoryFactor(), "other": CategoryFactor("fixed")}
    model = FactorModel(made, setup, shapes={"mass_scale": ShapeFactor(SCALE)}, simulated_statistics=False)
    card, root = write_datacard(model, tmp_path, provenance=Provenance("calibrate"))
    read = Card(card)
    assert ("pass", "merged") not in read.columns
    assert min(read.numbers) == 0
    assert not read.statistics
    low, high = model.range_of("mass_scale")
    text = "\n".join(read.comments)
    assert "--redefineSignalPOIs kappa_signal_pass " in text
    assert f"--setParameterRanges mass_scale={low:g},{high:g} " in text
    assert read.nuisances["mass_scale"][0] == "shapeU"
    assert [line[0] for line in read.rates] == ["kappa_signal_pass", "kappa_signal_fail"]
    assert '"calibrate"' in read_note(root)


def test_names_that_combine_does_not_read(tmp_path: Path) -> None:
    made = templates()
    renamed = replace(made, categories={"top quark" if n == "signal" else n: p for n, p in made.categories.items()})
    with pytest.raises(ConfigError, match="'top quark'"):
        write_datacard(FactorModel(renamed), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError):
        write_datacard(FactorModel(made), tmp_path / "absent")
