"""Pictures of jets: what is drawn is what the table holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from weavers import weaver_bundle

from jettagger.cli import main
from jettagger.errors import InvalidValues, MissingColumns
from jettagger.inputs.pfnano_tables import read_jets
from jettagger.tagging.tagger import load_tagger
from jettagger.testing import write_pfnano

pytest.importorskip("matplotlib")
from jettagger.plots.jets import draw_jets, highest


def jets_of(**changes: Any) -> Any:
    """One jet: a charged pion, a photon, a displaced muon, an electron, with generator particles and truth."""
    columns: dict[str, Any] = {
        "jet_pt": [200.0],
        "jet_eta": [-1.0],
        "jet_phi": [3.0],
        "jet_sdmass": [80.0],
        "jet_label": [0],
        "part_px": [[100.0, 50.0, 30.0, 20.0]],
        "part_py": [[0.0, 0.0, 0.0, 0.0]],
        "part_pz": [[1.0, 1.0, 1.0, 1.0]],
        "part_energy": [[100.0, 50.0, 30.0, 20.0]],
        "part_deta": [[0.1, -0.2, 0.3, 0.4]],
        "part_dphi": [[0.0, 0.1, -0.1, 0.2]],
        "part_charge": [[1, 0, -1, 1]],
        "part_d0val": [[0.0, 0.0, 1.2, 0.0]],
        "part_dzval": [[0.0, 0.0, 1.6, 0.0]],
        "part_d0err": [[0.1, 0.0, 0.1, 0.1]],
        "part_isPhoton": [[False, True, False, False]],
        "part_isMuon": [[False, False, True, False]],
        "part_isElectron": [[False, False, False, True]],
        "genpart_px": [[90.0, 40.0]],
        "genpart_py": [[0.0, 0.0]],
        "genpart_jet_deta": [[0.1, 1.5]],
        "genpart_jet_dphi": [[0.0, 0.0]],
        "genpart_pid": [[211, 22]],
        "aux_genpart_eta": [[-1.1, -1.2, 3.0]],
        "aux_genpart_phi": [[-3.2, 3.1, 0.0]],
        "aux_genpart_pid": [[25, 5, -5]],
        "aux_genpart_isResX": [[True, False, False]],
    } | changes
    return ak.Array({name: values for name, values in columns.items() if values is not None})


def clouds(axes: Any) -> list[tuple[float, float]]:
    return [tuple(np.round(item.get_offsets()[0], 6)) for item in axes.collections]  # type: ignore[misc]


def texts(axes: Any) -> list[str]:
    return [item.get_text() for item in axes.texts]


def test_constituents_are_where_and_what_they_are() -> None:
    figure = draw_jets(jets_of())
    axes = figure.axes[0]
    assert clouds(axes) == [(0.1, 0.0), (-0.2, 0.1), (0.3, -0.1), (0.4, 0.2)]
    sizes = [item.get_sizes()[0] for item in axes.collections]
    assert sizes == sorted(sizes, reverse=True)
    filled = [len(item.get_facecolor()) > 0 and item.get_facecolor()[0][3] > 0 for item in axes.collections]
    assert filled == [True, False, True, True]
    shapes = {item.get_paths()[0].vertices.tobytes() for item in axes.collections}
    assert len(shapes) == 4  # hadron, photon, muon, electron
    colours = [tuple(item.get_edgecolor()[0][:3]) for item in axes.collections]
    assert colours[0] == colours[1] == colours[3] != colours[2]  # only the muon is displaced, by 2 mm
    assert axes.get_title() == "$p_T$ = 200 GeV, $m_{SD}$ = 80 GeV, X bb"
    assert "4 constituents" in texts(axes)


def test_generator_particles_and_decay_products_are_beside_them() -> None:
    axes = draw_jets(jets_of()).axes[1]
    # the jet lies at negative pseudorapidity: its picture is mirrored
    assert clouds(axes) == [(0.1, 0.0), (1.5, 0.0), (0.1, round(-6.2 + 2 * np.pi, 6)), (0.2, 0.1)]
    assert texts(axes) == ["X", "b", "2 generator particles; outside of the picture: 2"]


def test_letters_of_near_particles_stand_around_them() -> None:
    near = {
        "aux_genpart_eta": [[-1.1, -1.11, -1.1, -1.5]],
        "aux_genpart_phi": [[3.0, 3.01, 3.02, 3.0]],
        "aux_genpart_pid": [[24, 211, -111, 99]],
        "aux_genpart_isResX": [[False, False, False, False]],
    }
    axes = draw_jets(jets_of(**near)).axes[1]
    letters = [item for item in axes.texts if hasattr(item, "xyann")]
    assert [item.get_text() for item in letters] == ["W", r"$\pi$", r"$\pi^0$", "99"]
    assert len({item.xyann for item in letters[:3]}) == 3
    assert letters[3].xyann == letters[0].xyann


def test_decay_products_stand_on_the_constituents_where_there_are_no_generator_particles() -> None:
    axes = draw_jets(jets_of(genpart_pid=None)).axes[0]
    assert texts(axes)[-2:] == ["X", "b"]
    assert clouds(axes)[-2:] == [(0.1, round(-6.2 + 2 * np.pi, 6)), (0.2, 0.1)]


def test_low_scores_are_visible() -> None:
    axes = draw_jets(jets_of(), [{f"prob{name}": 0.01 for name in "abcdefg"}]).axes[2]
    assert axes.get_xlim() == (0, pytest.approx(0.013))
    assert draw_jets(jets_of(), [{"proba": 0.0}]).axes[2].get_xlim() == (0, 1)


def test_the_five_highest_scores_are_bars() -> None:
    scores = {
        f"prob{name}": value for name, value in zip("abcdefg", (0.3, 0.1, 0.25, 0.05, 0.2, 0.06, 0.04), strict=True)
    }
    axes = draw_jets(jets_of(), [scores]).axes[2]
    assert [bar.get_width() for bar in axes.patches] == [0.06, 0.1, 0.2, 0.25, 0.3]
    assert texts(axes)[-1] == "a  0.300"
    assert texts(draw_jets(jets_of(), [dict.fromkeys(scores)]).axes[2]) == ["not scored"]
    assert highest({"a": float("nan"), "b": 1.0}) == [("b", 1.0)]


def test_pictures_have_the_model_a_full_legend_and_one_axis_of_scores() -> None:
    jets = ak.concatenate([jets_of()] * 2)
    figure = draw_jets(jets, [{"proba": 0.9}, {"proba": 0.1, "probb": 0.05}], model="toy network")
    scores = [axes for axes in figure.axes if axes.get_xlabel() == "score"]
    assert [axes.get_title() for axes in scores] == [f"{number} highest scores of toy network" for number in (1, 2)]
    assert {axes.get_xlim() for axes in scores} == {scores[0].get_xlim()}
    (legend,) = figure.legends
    labels = {item.get_text() for item in legend.get_texts()}
    assert labels >= {"hadron", "photon", "electron", "muon", "charged: filled", "neutral: open"}
    assert labels >= {"resonance", "decay product"}
    assert sum("of $p_T$" in label for label in labels) > 1
    # contributions of the model alone
    figure = draw_jets(jets_of(), contributions=[np.zeros(4)], model="toy network")
    assert figure.get_suptitle() == "toy network"


def test_what_a_table_lacks_is_left_out() -> None:
    jets = jets_of(
        genpart_pid=None, jet_sdmass=None, jet_label=None, part_d0val=None, part_dzval=None, part_isMuon=None
    )
    figure = draw_jets(jets)
    assert len(figure.axes) == 2  # the constituents and the colour bar
    assert figure.axes[0].get_title() == "$p_T$ = 200 GeV"
    assert draw_jets(jets_of(jet_label=[-1])).axes[0].get_title().endswith("no class")
    assert draw_jets(jets_of(jet_label=[188])).axes[0].get_title().endswith("no label: 188")
    empty = {name: [[]] for name in jets_of().fields if name.startswith("part_")}
    assert "0 constituents" in texts(draw_jets(jets_of(**empty)).axes[0])
    with pytest.raises(MissingColumns, match="part_deta"):
        draw_jets(jets_of(part_deta=None))
    with pytest.raises(InvalidValues, match="no jet"):
        draw_jets(jets_of()[:0])


@pytest.mark.parametrize("what", ["jet", "image"])
def test_a_picture_of_no_format_is_refused_before_anything_is_read(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, said in (("jet.pgn", "'.pgn' is none (nearest: .png"), ("jet", "there is none")):
        assert main(["show", what, "absent.root", "-o", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert f"{name}: the suffix is the format of a picture, {said}" in error
        assert "expected .png, .pdf or .svg" in error


@pytest.mark.slow
def test_a_picture_is_written_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jets = ak.concatenate([jets_of()] * 4)
    ak.to_parquet(jets, tmp_path / "jets.parquet")
    folder = weaver_bundle(tmp_path / "toy")
    path, output = str(tmp_path / "jets.parquet"), str(tmp_path / "jet.png")
    assert main(["show", "jet", path, "-n", "3", "--model", str(folder), "-o", output]) == 0
    assert Path(output).read_bytes().startswith(b"\x89PNG")
    assert main(["show", "jet", path, "-n", "1:3", "-o", output]) == 2
    assert "exists already; use --force" in capsys.readouterr().err
    assert main(["show", "jet", path, "-n", "1:3", "-o", output, "--force"]) == 0
    for number, message in (
        ("4", "has 4 jets"),
        ("x", "expected a row"),
        ("3:1", "expected a row"),
        ("0:99", "at most 12"),
    ):
        assert main(["show", "jet", path, "-n", number, "-o", output, "--force"]) == 2
        assert message in capsys.readouterr().err
    assert load_tagger(folder)(jets).proba[0] is not None


@pytest.mark.slow
def test_jets_of_pfnano_files_are_drawn_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = str(tmp_path / "pfnano.root"), str(tmp_path / "jet.png")
    write_pfnano(path, 4, seed=2)
    total = read_jets(path, 0, 1)[2]
    assert 2 < total < 13
    assert main(["show", "jet", path, "-n", f"1:{total}", "--model", "tinyParT", "-o", output]) == 0
    assert main(["show", "jet", path, "-n", str(total), "-o", output, "--force"]) == 2
    assert f"has {total} jets" in capsys.readouterr().err
    assert main(["show", "jet", path, "-o", output, "--force"]) == 0


@pytest.mark.data
@pytest.mark.slow
def test_jets_of_real_files_are_drawn(shared: Path, tmp_path: Path) -> None:
    for number, path in (("0:2", "JetClassII_example.parquet"), ("2", "events_delphes_example.root")):
        output = tmp_path / f"{Path(path).suffix[1:]}.svg"
        assert main(["show", "jet", str(shared / "sophon" / path), "-n", number, "-o", str(output)]) == 0
        assert output.stat().st_size > 10_000
