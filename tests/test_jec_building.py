"""Transforms derived from jets: those of NumPy and scikit-learn, pictures, bad values, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from jec_jets import make_jets, write_config, write_location
from jecs import SHARED

from jettagger.cli import main
from jettagger.errors import InvalidValues, OutputError
from jettagger.jec import RawJets, building, read_config, read_transform, write_shard
from jettagger.jec.building import STEPS, build_transforms, write_pictures
from jettagger.jec.shards import jet_files


def built(folder: Path, **options: Any) -> building.BuiltTransforms:
    return build_transforms(jet_files([folder / "jets"]), **options)


def values_of(folder: Path, name: str) -> Any:
    import uproot

    files = [uproot.open(file.path)["Jets"] for file in jet_files([folder / "jets"])]
    return np.concatenate(
        [np.concatenate([np.atleast_1d(each) for each in tree[name].array(library="np")]) for tree in files]
    )


def test_ranges_are_mapped_to_0_and_1(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    found = built(tmp_path)
    assert found.jets == 50
    assert set(found.ranges) == {"pt", "eta", "phi", "num_pv", "ch_pt", "ch_eta", "ch_phi", "sv_num_tracks"}
    for name in found.ranges:
        values = values_of(tmp_path, name)
        shown = found.transforms.apply(name, values)
        assert (shown.min(), shown.max()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
        assert found.transforms.numerical[name][:-1] == STEPS[name]
    assert found.transforms.numerical["ch_pt"][0].scale == 0.1
    assert found.transforms.categorical == {"ch_id": (-211, 11, 211)}
    assert found.left_out == ("pt_gen",)
    assert sum(found.codes["ch_id"].values()) == len(values_of(tmp_path, "ch_id"))


def test_it_is_what_the_original_derives() -> None:
    """Its rule with NumPy: minimum and range of the values after the fixed steps."""
    if not SHARED.is_dir():
        pytest.skip("the shards of the original are not here")
    found = build_transforms(jet_files([SHARED / "tests" / "data"]))
    shipped = read_transform(SHARED / "tests" / "data" / "transform.yaml")
    assert set(found.transforms.numerical) == set(shipped.numerical)
    assert found.transforms.categorical == shipped.categorical
    for name, steps in shipped.numerical.items():
        # the shipped one is from more jets: the same steps, a wider range
        own = found.transforms.numerical[name]
        assert [step.type for step in own] == [step.type for step in steps]
        assert own[:-1] == steps[:-1]
        assert own[-1].loc >= steps[-1].loc - 1e-5
        assert own[-1].loc + own[-1].scale <= steps[-1].loc + steps[-1].scale + 1e-5


def test_robust_scales_are_those_of_scikit_learn(tmp_path: Path, agrees: Agreement) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is not installed")
    write_location(tmp_path / "jets", jets=40)
    found = built(tmp_path, scaling="robust")
    for name in ("eta", "num_pv", "ch_phi"):
        values = values_of(tmp_path, name).astype("f8")[:, None]
        scaler = preprocessing.RobustScaler().fit(values)
        step = found.transforms.numerical[name][-1]
        made, wanted = (step.loc, step.scale), (scaler.center_[0], scaler.scale_[0])
        agrees("learning/robust_scales", made, wanted, sample=len(values), rtol=1e-6, part=name)


def test_an_outlier_moves_the_range_and_not_the_quartiles(tmp_path: Path) -> None:
    write_location(tmp_path / "jets", jets=100)
    before = {scaling: built(tmp_path, scaling=scaling) for scaling in ("range", "robust")}
    jets = make_jets(100, seed=1000)
    columns = {**jets.columns, "eta": jets.columns["eta"].copy()}
    columns["eta"][0] = 1e6
    write_shard(tmp_path / "jets" / "shards" / "0.root", RawJets(columns, jets.counts), force=True)
    after = {scaling: built(tmp_path, scaling=scaling) for scaling in ("range", "robust")}
    changes = {
        scaling: after[scaling].transforms.numerical["eta"][-1].scale
        / before[scaling].transforms.numerical["eta"][-1].scale
        for scaling in before
    }
    assert changes["range"] > 1e5
    assert changes["robust"] == pytest.approx(1, abs=0.02)


def changed(tmp_path: Path, name: str, value: float) -> None:
    for number in range(5):
        jets = make_jets(10, seed=number)
        columns = {**jets.columns, name: np.full_like(jets.columns[name], value)}
        write_shard(tmp_path / "jets" / "shards" / f"{number}.root", RawJets(columns, jets.counts), force=True)


@pytest.mark.parametrize("scaling", ["range", "robust"])
def test_constant_features_are_named_and_harmless(scaling: Any, tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    changed(tmp_path, "num_pv", 7)
    found = built(tmp_path, scaling=scaling)
    assert found.notes == ("num_pv is constant: it has no scale, and tells the network nothing; leave it out",)
    assert found.transforms.apply("num_pv", np.array([7.0])).tolist() == [0.0]


def test_without_an_interquartile_range_the_whole_range_counts(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    changed(tmp_path, "num_pv", 7)
    jets = make_jets(10, seed=0)
    write_shard(tmp_path / "jets" / "shards" / "0.root", jets, force=True)
    found = built(tmp_path, scaling="robust")
    assert found.notes == ("num_pv: the interquartile range is 0, so the whole range is used",)
    assert found.transforms.numerical["num_pv"] == built(tmp_path).transforms.numerical["num_pv"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sv_num_tracks", 0, "0.root, from jet 0: sv_num_tracks: its transform takes the logarithm of"),
        ("eta", np.nan, "0.root, from jet 0: eta is not finite in 10 of 10 values"),
    ],
)
def test_values_without_a_transform_are_named(name: str, value: float, message: str, tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    changed(tmp_path, name, value)
    with pytest.raises(InvalidValues, match=message):
        built(tmp_path)


def test_categorical_features_are_few_whole_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_location(tmp_path / "jets")
    monkeypatch.setattr(building, "MOST_VALUES", 2)
    with pytest.raises(InvalidValues, match="ch_id has more than 2 different values: is it numerical"):
        built(tmp_path)
    config = read_config(
        write_config(
            tmp_path,
            features={"ch": {"numerical": ["ch_pt"], "categorical": ["ch_eta"]}},
            model={"ch": {"type": "mlp", "num_units": [3], "embeddings": {"ch_eta": 2}}},
        )
    )
    with pytest.raises(InvalidValues, match="categorical feature ch_eta has the type float32, expected whole numbers"):
        built(tmp_path, config=config)


def test_features_of_a_configuration(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    config = read_config(write_config(tmp_path))
    found = built(tmp_path, config=config)
    assert set(found.transforms.numerical) == {"pt", "eta", "num_pv", "ch_pt", "sv_num_tracks"}
    assert found.left_out == ()


def test_a_sample_is_from_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_location(tmp_path / "jets", jets=100)
    assert built(tmp_path, jets=50).jets == 50
    assert built(tmp_path, jets=3).jets == 5
    whole = built(tmp_path)
    monkeypatch.setattr(building, "KEPT", 100)
    thinned = built(tmp_path)
    assert thinned.transforms == whole.transforms  # extremes are those of all values
    kept = thinned.ranges["ch_pt"].values
    assert 50 < len(kept) < 201
    assert np.isin(kept, whole.ranges["ch_pt"].values).all()
    with pytest.raises(InvalidValues, match="no files of jets"):
        build_transforms([])
    write_shard(tmp_path / "none.root", make_jets(0))
    with pytest.raises(InvalidValues, match=r"no values of pt, .* in 0 jets"):
        build_transforms(jet_files([tmp_path / "none.root"]))


@pytest.mark.slow
def test_a_picture_for_each_feature(tmp_path: Path) -> None:
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    write_location(tmp_path / "jets")
    features = {
        "global": {"numerical": ["eta"]},
        "ch": {"numerical": [], "categorical": ["ch_id"]},
        "sv": {"numerical": ["sv_num_tracks"]},
    }
    found = built(tmp_path, config=read_config(write_config(tmp_path, features=features)))
    write_pictures(found, tmp_path / "plots")
    names = {*found.ranges, *found.codes}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        *(f"{name}.pdf" for name in names),
        "features.json",
    }
    numbers = json.loads((tmp_path / "plots" / "features.json").read_text())
    assert numbers["jets"] == 50
    assert numbers["numerical"]["eta"]["values"] == 50
    assert numbers["categorical"]["ch_id"] == {str(code): count for code, count in sorted(found.codes["ch_id"].items())}
    with pytest.raises(OutputError, match="exists already"):
        write_pictures(found, tmp_path / "plots")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_location(tmp_path / "jets")
    (tmp_path / "jets" / "transform.yaml").unlink()
    output = tmp_path / "jets" / "transform.yaml"
    arguments = ["jec", "build-transform", str(tmp_path / "jets"), "-o", str(output)]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "not transformed, since the original has no steps for them: pt_gen" in said.out
    assert f"{output}: transforms from 50 jets" in said.out
    assert read_transform(output).numerical == built(tmp_path).transforms.numerical
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--force", "--robust", "--jets", "20"]) == 0
    assert "transforms from 20 jets" in capsys.readouterr().out
    assert main([*arguments, "--force", "--jets", "0"]) == 2
    assert "--jets" in capsys.readouterr().err
