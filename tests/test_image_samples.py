"""Images of tables and files, means of samples, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from image_reference import make_jets
from pydantic import ValidationError

from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, MissingColumns, UnknownName
from jettagger.images import (
    CellGrid,
    ImageSettings,
    MeanImage,
    image_difference,
    make_images,
    mean_image,
    pixel_settings,
    table_columns,
    table_images,
)
from jettagger.images.tables import particle_charge
from jettagger.inputs.pfnano_tables import nano_table
from jettagger.simulation.cards import load_card
from jettagger.skims.flat_jets import FlatChunk, FlatJets
from jettagger.skims.image_samples import sample_image
from jettagger.testing import make_events, write_pfnano

STEPS = {"centre": "centroid", "rotate": "principal", "flip": "both"}


def image_settings(**keys: Any) -> ImageSettings:
    return ImageSettings.model_validate(keys)


def sample(n_jets: int, seed: int, **keys: Any) -> Any:
    columns, offsets, jets = make_jets(n_jets, seed)
    return make_images(image_settings(**{"size": 8, "channels": ["all", "photons"]} | keys), columns, offsets, jets)


# ------------------------------------------------------------------------------------------ means


def test_means_spreads_and_errors_are_those_of_dense_images() -> None:
    images = sample(50, seed=1)
    weights = np.random.default_rng(1).uniform(0.5, 2, 50)
    dense = images.dense().astype(np.float64)
    found = mean_image(images, weights)
    mean = np.average(dense, axis=0, weights=weights)
    assert found.mean == pytest.approx(mean)
    assert found.spread == pytest.approx(np.sqrt(np.average((dense - mean) ** 2, axis=0, weights=weights)), abs=1e-6)
    squares = np.sum(weights[:, None, None, None] ** 2 * (dense - mean) ** 2, axis=0)
    assert found.error == pytest.approx(np.sqrt(squares) / weights.sum(), abs=1e-6)
    plain = mean_image(images)
    assert plain.mean == pytest.approx(dense.mean(axis=0))
    assert plain.error == pytest.approx(dense.std(axis=0) / math.sqrt(50), abs=1e-6)


def test_means_of_parts_add_up() -> None:
    columns, offsets, _ = make_jets(40, seed=2)
    made = image_settings(size=8)
    half = int(offsets[15])
    parts = [
        make_images(made, {name: values[:half] for name, values in columns.items()}, offsets[:16]),
        make_images(made, {name: values[half:] for name, values in columns.items()}, offsets[15:] - half),
    ]
    total = mean_image(parts[0]) + mean_image(parts[1])
    whole = mean_image(make_images(made, columns, offsets))
    assert total.n_jets == 40
    assert total.mean == pytest.approx(whole.mean)
    assert total.error == pytest.approx(whole.error)
    with pytest.raises(MismatchError, match="different settings"):
        whole + mean_image(sample(5, seed=1))
    with pytest.raises(TypeError):
        whole + 1


def test_differences_have_the_errors_of_both() -> None:
    one, other = mean_image(sample(40, seed=3)), mean_image(sample(60, seed=4))
    difference, error = image_difference(one, other)
    assert difference == pytest.approx(one.mean - other.mean)
    assert error == pytest.approx(np.sqrt(one.error**2 + other.error**2))
    with pytest.raises(MismatchError, match=r"\(2, 8, 8\) and \(2, 9, 9\)"):
        image_difference(one, mean_image(sample(5, seed=1, size=9)))


def test_pixels_of_the_training_sample_have_mean_zero_and_spread_one() -> None:
    images = sample(100, seed=5)
    made = pixel_settings(mean_image(images))
    assert made.normalise == "pixel"
    columns, offsets, _ = make_jets(100, seed=5)
    dense = make_images(made, columns, offsets).dense().astype(np.float64)
    assert dense.mean(axis=0) == pytest.approx(0, abs=1e-5)
    std = dense.std(axis=0)
    assert std[images.dense().std(axis=0) > 0] == pytest.approx(1, abs=1e-4)
    assert ImageSettings.model_validate(made.model_dump()) == made
    assert pixel_settings(mean_image(sample(9, seed=1, normalise="image")), 0.1).normalise == "both"
    with pytest.raises(InvalidValues, match="floor is -1"):
        pixel_settings(mean_image(images), -1.0)


def test_weights_that_give_no_mean_are_refused() -> None:
    images = sample(3, seed=1)
    with pytest.raises(MismatchError, match="expected one for each of 3 jets"):
        mean_image(images, np.ones(2))
    with pytest.raises(InvalidValues, match="1 of 3 weights are not finite"):
        mean_image(images, np.array([1, np.nan, 1]))
    with pytest.raises(InvalidValues, match="add up to 0"):
        mean_image(images, np.array([1, -1, 0]))


# ------------------------------------------------------------------------------------------ tables


def test_tables_of_events_give_the_images_of_their_constituents() -> None:
    table = nano_table(make_events(20, seed=3))
    made = image_settings(size=16, channels=["all", "charged", "neutral", "photons", "electrons", "muons"])
    images = table_images(made, table)
    dense = images.dense()
    pt = ak.to_numpy(ak.sum(np.hypot(table.part_px, table.part_py), axis=1))
    assert images.pt == pytest.approx(pt, rel=1e-5)
    assert dense[:, 0].sum(axis=(1, 2)) + images.pt_outside == pytest.approx(pt, rel=1e-5)
    assert dense[:, 1:].sum(axis=1) == pytest.approx(dense[:, 0], rel=1e-5)
    cells = image_settings(granularity="cells", zoom=400.0, mirrored=False)
    assert table_columns(cells)[-3:] == ("jet_pt", "jet_eta", "jet_phi")
    assert len(table_images(cells, table)) == len(table)


def test_generator_particles_have_their_kind_from_the_code() -> None:
    table = ak.Array(
        {
            "genpart_px": [[1.0, 2.0, 4.0, 8.0, 16.0]],
            "genpart_py": [[0.0] * 5],
            "genpart_jet_deta": [[0.0] * 5],
            "genpart_jet_dphi": [[0.0] * 5],
            "genpart_pid": [[22, -211, 130, 13, -11]],
        }
    )
    names = ["all", "charged", "neutral", "photons", "electrons", "muons"]
    images = table_images(image_settings(size=1, granularity="generator", channels=names), table)
    assert images.dense().ravel().tolist() == [31, 2, 4, 1, 16, 8]
    charge = {"name": "q", "selection": "charge > 0"}
    assert table_images(image_settings(size=1, granularity="generator", channels=[charge]), table).values == [16]
    assert particle_charge(np.array([1000020040, 411, -521, 3334, -2212, 15])).tolist() == [2, 1, -1, -1, -1, -1]


def test_missing_columns_are_listed_with_the_nearest() -> None:
    table = ak.Array({"part_px": [[1.0]], "part_py": [[1.0]], "part_deta": [[1.0]], "part_dphi": [[1.0]]})
    with pytest.raises(MissingColumns, match=r"images of tracks need .*: part_charge .*, part_isMuon "):
        table_images(image_settings(granularity="tracks", channels=["muons"]), table)
    with pytest.raises(MissingColumns, match=r"part_dph \(nearest: part_dphi,"):
        table_images(image_settings(channels=[{"name": "x", "quantity": "mean of dph"}]), table)


def test_cells_are_those_of_the_detector_card() -> None:
    calorimeter, cells = load_card("default")["calorimeter"], CellGrid()
    assert (cells.ecal_cell, cells.hcal_cell) == (calorimeter["ecal_cell"], calorimeter["hcal_cell"])


# ------------------------------------------------------------------------------------------ files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same jets as events and as a flat file."""
    folder = tmp_path_factory.mktemp("images")
    nano = Path(write_pfnano(folder / "nano.root", 30, seed=5))
    ak.to_parquet(nano_table(make_events(30, seed=5)), folder / "jets.parquet")
    return {"events": nano, "jets": folder / "jets.parquet"}


def test_events_and_flat_files_give_the_same_mean_image(files: dict[str, Path]) -> None:
    made = image_settings(steps=STEPS, channels=["all", "photons"])
    rows: list[int] = []
    found = {kind: sample_image(FlatJets(path), made, progress=rows.append) for kind, path in files.items()}
    assert FlatJets(files["events"]).n_rows == 30 == rows[0]
    assert rows[1] == FlatJets(files["jets"]).n_rows == found["jets"].mean.n_jets
    assert found["events"].mean.n_jets + found["events"].counts["jets with missing constituents"] == rows[1]
    if not found["events"].counts["jets with missing constituents"]:
        assert found["events"].mean.mean == pytest.approx(found["jets"].mean.mean, rel=1e-5, abs=1e-9)
    assert 0.9 < found["events"].pt_inside <= 1


def test_jets_of_events_may_be_small(tmp_path: Path) -> None:
    path = write_pfnano(tmp_path / "nano.root", 10, seed=1, ak4=True)
    events = make_events(10, seed=1, ak4=True)
    made = image_settings(range=0.4, channels=["all", "charged"])
    for name in ("Jet", "FatJet"):
        found = sample_image(FlatJets(path, name), made)
        assert found.mean.n_jets + found.counts["jets with missing constituents"] == ak.count(events[name].pt)


def test_cuts_and_limits_choose_jets(files: dict[str, Path]) -> None:
    file, made = FlatJets(files["jets"]), image_settings(size=4)
    pt = ak.to_numpy(ak.from_parquet(files["jets"]).jet_pt)
    cut = float(np.median(pt))
    high = sample_image(file, made, where=f"jet_pt > {cut}")
    assert high.mean.n_jets == (pt > cut).sum()
    assert high.counts["jets not selected"] == (pt <= cut).sum()
    assert sample_image(file, made, limit=7).mean.n_jets == 7
    for where, error, message in [
        ("jet_pt", ConfigError, "is not a cut"),
        ("jet_pt < 0", InvalidValues, "none passes 'jet_pt < 0'"),
        ("jet_p > 0", UnknownName, "nearest: jet_p"),
    ]:
        with pytest.raises(error, match=message):
            sample_image(file, made, where=where)
    with pytest.raises(UnknownName, match=r"jets of events.*'jet_p'"):
        sample_image(FlatJets(files["events"]), made, where="jet_p > 0")
    with pytest.raises(InputFileError, match="no such file"):
        FlatJets("absent.parquet")


class FewAtOnce(FlatJets):
    """The jets of a file in many chunks."""

    def chunks(self, columns: Iterable[str], size: int | None = None) -> Iterator[FlatChunk]:
        return super().chunks(columns, size or 5)


def test_samples_are_weighted_by_an_expression(files: dict[str, Path], tmp_path: Path) -> None:
    made = image_settings(size=6, channels=["all", "charged"])
    table = ak.from_parquet(files["jets"])
    pt = ak.to_numpy(table.jet_pt).astype(np.float64)
    expected = mean_image(table_images(made, table), 1 / pt)
    found = sample_image(FlatJets(files["jets"]), made, weights="1 / jet_pt").mean
    assert found.mean == pytest.approx(expected.mean)
    assert found.error == pytest.approx(expected.error)
    # a condition as a weight chooses jets, also where a chunk has none of them
    cut = f"jet_pt > {float(np.median(pt))}"
    ordered = tmp_path / "ordered.parquet"
    ak.to_parquet(table[np.argsort(pt)], ordered)
    chosen = sample_image(FewAtOnce(ordered), made, weights=cut).mean
    assert chosen.weight == (pt > np.median(pt)).sum()
    assert chosen.mean == pytest.approx(sample_image(FlatJets(ordered), made, where=cut).mean.mean)
    events = sample_image(FlatJets(files["events"]), made, weights="2.5").mean
    assert events.weight == 2.5 * events.n_jets


def test_bad_weights_of_samples_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    made = image_settings(size=4)
    table = ak.from_parquet(files["jets"])
    holes = tmp_path / "holes.parquet"
    ak.to_parquet(ak.with_field(table, ak.mask(table.jet_pt, table.jet_pt > ak.min(table.jet_pt)), "jet_w"), holes)
    for path, weights, error, message in [
        (files["jets"], "jet_ptt", UnknownName, "nearest: jet_pt"),
        (files["events"], "genWeigt", UnknownName, "jets of events"),
        (files["jets"], "part_px", ConfigError, "gives several numbers for a jet"),
        (files["jets"], "log(jet_pt - jet_pt)", InvalidValues, "are missing or not finite for [0-9]+ jets"),
        (holes, "jet_w", InvalidValues, r"holes.parquet: the weights 'jet_w' .* for 1 jets"),
        (files["jets"], "jet_pt < 0", InvalidValues, r"the weights 'jet_pt < 0' of [0-9]+ jets add up to 0"),
        (files["jets"], "jet_pt +", ConfigError, "weights"),
    ]:
        with pytest.raises(error, match=message):
            sample_image(FlatJets(path), made, weights=weights)


@pytest.mark.slow
@pytest.mark.data
def test_images_of_real_files(shared: Path) -> None:
    made = image_settings(steps=STEPS, channels=["all", "charged", "photons"])
    for name, jets in (
        ("cms/pfnano.root", 24),
        ("sophon/JetClassII_example.parquet", 100),
        ("sophon/events_delphes_example.root", 22),
    ):
        found = sample_image(FlatJets(shared / name), made)
        assert found.mean.n_jets == jets
        assert found.pt_inside > 0.95
    generator = image_settings(steps=STEPS, granularity="generator", channels=["all", "charged"])
    truth = sample_image(FlatJets(shared / "sophon/JetClassII_example.parquet"), generator)
    assert truth.mean.n_jets == 100
    with pytest.raises(MissingColumns, match=r"lacks [0-9]+ columns"):
        sample_image(FlatJets(shared / "cms/nano_tt_v15.root"), made)


# ------------------------------------------------------------------------------------------ pictures


def test_pictures_show_means_and_differences() -> None:
    pytest.importorskip("matplotlib")
    from jettagger.plots import mean_images

    channels = ["all", {"name": "d0", "quantity": "mean of d0val"}]
    keys = {"zoom": 500.0, "normalise": "image", "channels": channels}
    one, other = mean_image(sample(40, seed=3, **keys)), mean_image(sample(60, seed=4, **keys))
    figure = mean_images({"first": one, "second": other}, title="toys")
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    assert [axes.get_title() for axes in panels[:3]] == ["first (40 jets)", "second (60 jets)", "first $-$ second"]
    assert panels[0].get_xlabel() == r"$\Delta\eta$ (mirrored) $\times\ p_T / 500$ GeV"
    assert panels[0].get_ylabel() == r"$\Delta\phi$ $\times\ p_T / 500$ GeV [rad]"
    picture = panels[0].images[0]
    drawn = np.ma.filled(picture.get_array(), 0)
    assert drawn[drawn > 0] == pytest.approx(np.maximum(one.mean[0], picture.norm.vmin)[drawn > 0])
    assert picture.get_extent() == [-0.8, 0.8, -0.8, 0.8]
    difference, error = image_difference(one, other)
    shown = np.ma.getmaskarray(np.ma.masked_invalid(panels[2].images[0].get_array()))
    assert (shown == (np.abs(difference[0]) <= error[0])).all()
    bars = [axes.get_ylabel() for axes in figure.axes if not axes.get_xlabel()]
    assert "mean fraction of $p_T$ in a pixel" in bars
    assert "mean of d0val (0 if empty)" in bars
    assert len(mean_images({"only": one}).axes) == 4
    with pytest.raises(InvalidValues, match="got 0 samples"):
        mean_images({})
    with pytest.raises(MismatchError, match="different settings"):
        mean_images({"a": one, "b": mean_image(sample(3, seed=1))})


def test_an_empty_sample_can_be_drawn() -> None:
    pytest.importorskip("matplotlib")
    from jettagger.plots import mean_images

    empty = {name: np.zeros(0) for name in ("pt", "deta", "dphi")}
    found = mean_image(make_images(image_settings(size=4), empty, np.array([0, 0, 0])))
    assert isinstance(found, MeanImage)
    assert not found.mean.any()
    mean_images({"a": found, "b": found}).canvas.draw()


def test_a_picture_is_written_from_the_shell(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mplhep")
    output = tmp_path / "image.png"
    settings = "image: {size: [8, 10], steps: {centre: leading}, range: [0.8, 0.6]}"
    (tmp_path / "image.yaml").write_text(f"version: 1\n{settings}\n")
    line = ["show", "image", str(files["events"]), "-o", str(output)]
    more = ["--versus", str(files["jets"]), "--where", "jet_pt > 250", "--versus-where", "jet_pt < 250"]
    more += ["--weights", "1 / jet_pt", "--versus-weights", "1"]
    more += ["--settings", str(tmp_path / "image.yaml"), "--rotate", "second", "--channels", "photons"]
    assert main([*line, *more]) == 0
    assert output.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "jets not selected" in out
    assert "pt in the images" in out
    assert main(line) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*line, "--force", "-n", "5", "--size", "8,9", "--range", "0.5,0.4", "--zoom", "400"]) == 0
    for wrong, message in [
        (["--rotate", "secnd"], "'rotate' must be one of none, principal, second, got 'secnd' (nearest: second)"),
        (["--channels", "all,photon"], "unknown channel 'photon' (nearest: photons"),
        (["--normalise", "pixel"], "mean is missing"),
        (["--versus-where", "jet_pt > 1"], "there is no --versus"),
        (["--size", "5000"], "'size' must be a number of pixels from 1 to 1024"),
        (["--settings", str(files["jets"])], "jets.parquet"),
        (["--where", "jet_pt < 0"], "none passes"),
        (["--weights", "jet_ptt"], "nearest: jet_pt"),
        (["-o", str(tmp_path / "a.pgn")], "'.pgn' is none (nearest: .png"),
        (["--versus-weights", "jet_pt"], "--versus-weights: of the second file, but there is no --versus"),
    ]:
        assert main([*line, "--force", *wrong]) == 2
        assert message in capsys.readouterr().err, wrong


def test_a_file_of_settings_has_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "image.yaml"
    line = ["show", "image", "absent.root", "--settings", str(path), "-o", str(tmp_path / "a.png")]
    for text, message in [
        ("version: 2\n", "version 2, this version of jettagger reads 1"),
        ("image: {size: 4}\n", "the key 'version' is missing"),
        ("version: 1\nimage:\n  szie: 4\n", "line 3: unknown key 'szie' (nearest: size"),
        ("version: 1\nimage: 3\n", "'image' must be a mapping, got 3"),
    ]:
        path.write_text(text)
        assert main(line) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(ValidationError):
        ImageSettings.model_validate({"version": 1})
