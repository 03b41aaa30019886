"""JetClass-II: the table of variables, classes and groups, files and tarballs, and tagging files with one row a jet."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
import uproot
from weavers import CONFIG, table, weaver_bundle

from jettagger import jetclass2
from jettagger.cli import main
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    MissingColumns,
    UnknownName,
)
from jettagger.files.tables import FlatFile, members
from jettagger.skims.skim import make_job, run_job
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.weaver import Values, read_config


def write_root(path: Path, jets: ak.Array, tree: str = "tree") -> Path:
    with uproot.recreate(path) as file:
        file.mktree(
            tree,
            {
                name: jets[name].type.content if jets[name].ndim > 1 else ak.to_numpy(jets[name]).dtype
                for name in jets.fields
            },
        )
        file[tree].extend({name: jets[name] for name in jets.fields})
    return path


def write_tarball(path: Path, content: dict[str, bytes]) -> Path:
    mode = "w:gz" if path.suffix == ".gz" else "w"
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


# the published table


@pytest.mark.data
def test_the_table_is_that_of_the_published_file(shared: Path) -> None:
    jets = ak.from_parquet(shared / "sophon/JetClassII_example.parquet")
    assert list(jetclass2.COLUMNS) == jets.fields
    for name, column in jetclass2.COLUMNS.items():
        kind = column.type if column.per_jet else f"var * {column.type}"
        assert str(jets[name].type) == f"100 * {kind}"
        assert column.doc
        assert column.unit
    typed = jetclass2.read(shared / "sophon/JetClassII_example.parquet")
    assert typed.tolist() == jets.tolist()


@pytest.mark.data
def test_the_units_of_constituents_and_the_mirrored_axis_are_those_of_the_published_file(shared: Path) -> None:
    jets = jetclass2.read(shared / "sophon/JetClassII_example.parquet")
    for stem, deta in (("part", "part_deta"), ("genpart", "genpart_jet_deta")):
        pt = np.hypot(jets[f"{stem}_px"], jets[f"{stem}_py"])
        away = np.arcsinh(jets[f"{stem}_pz"] / pt) - jets.jet_eta
        assert ak.max(np.abs(away * np.where(jets.jet_eta > 0, 1, -1) - jets[deta])) < 1e-5
    assert ak.all(ak.num(jets.part_px) == jets.jet_nparticles)
    total = np.hypot(ak.sum(jets.part_px, axis=1), ak.sum(jets.part_py, axis=1))
    assert np.median(np.abs(total / jets.jet_pt - 1)) < 0.01


@pytest.mark.data
def test_the_classes_are_the_published_ones(shared: Path) -> None:
    published = json.loads((shared / "sophon/labels.json").read_text())
    assert [f"label_{name}" for name in jetclass2.LABELS] == published
    jets = jetclass2.read(shared / "sophon/JetClassII_example.parquet", ["jet_label"])
    assert jetclass2.truth(jets.jet_label) == [published[label][6:] for label in jets.jet_label.tolist()]


@pytest.mark.data
def test_the_coarse_groups_are_those_that_the_configuration_weighs(shared: Path) -> None:
    config = read_config(shared / "sophon/JetClassII_full.yaml")
    values = Values(config, {"jet_label": ak.Array(np.arange(188))})
    groups = {
        name: np.flatnonzero(ak.to_numpy(values[name])).tolist()
        for name in config.formulas
        if name.startswith("label_")
    }
    assert {f"label_{name}": list(indices) for name, indices in jetclass2.COARSE.items()} == groups
    assert sorted(index for indices in jetclass2.COARSE.values() for index in indices) == list(range(188))


def test_a_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(InvalidValues, match=r"2 of 4 labels lie outside 0 to 187 \(first: 188 of jet 1\)"):
        jetclass2.truth([0, 188, 5, -1])
    with pytest.raises(InvalidValues, match=r"1 of 4 .*188 of jet 1"):
        jetclass2.truth([0, 188, 5, -1], none=-1)
    with pytest.raises(InvalidValues, match="expected whole numbers"):
        jetclass2.truth([0.5])
    assert jetclass2.truth([]) == []


def test_coarse_scores_are_sums_of_fine_ones() -> None:
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(188), 5).astype(np.float32)
    names = [f"s_prob{name.replace('_', '')}" for name in jetclass2.LABELS]
    jets = ak.zip({name: ak.mask(scores[:, i], [True, True, False, True, True]) for i, name in enumerate(names)})
    sums = jetclass2.coarse(jets, "s")
    assert sums["QCD"][0] == pytest.approx(scores[0, 161:].sum(), rel=1e-5)
    total = sum(np.asarray(ak.fill_none(values, 0)) for values in sums.values())
    np.testing.assert_allclose(total, [1, 1, 0, 1, 1], atol=1e-5)
    with pytest.raises(UnknownName, match="without 1 of the 188 scores"):
        jetclass2.coarse(jets[[name for name in names if name != "s_probXbb"]], "s")


# files


def test_the_table_of_files() -> None:
    sizes = {
        (part, split): len(jetclass2.files(split=split, part=part, root=Path(__file__).parent).missing)
        for part in jetclass2.PARTS
        for split in jetclass2.SPLITS
    }
    assert sizes == {
        ("Res2P", "train"): 200,
        ("Res2P", "validation"): 50,
        ("Res2P", "test"): 50,
        ("Res34P", "train"): 860,
        ("Res34P", "validation"): 215,
        ("Res34P", "test"): 215,
        ("QCD", "train"): 280,
        ("QCD", "validation"): 70,
        ("QCD", "test"): 70,
    }


def test_files_are_found_and_missing_ones_are_said(tmp_path: Path) -> None:
    jets = table(6)
    (tmp_path / "Pythia").mkdir()
    ak.to_parquet(jets, tmp_path / "Pythia/QCD_0350.parquet")
    write_root(tmp_path / "Pythia/QCD_0350.root", jets)
    write_root(tmp_path / "Pythia/QCD_0352.root", jets)
    content = (tmp_path / "Pythia/QCD_0352.root").read_bytes()
    write_tarball(tmp_path / "QCD_0410-0419.tar.gz", {f"Pythia/QCD_{i:04d}.root": content for i in range(410, 415)})
    write_tarball(tmp_path / "QCD_0000-0009.tar", {"QCD_0001.root": content})
    (tmp_path / "QCD_notes.txt").write_text("no file of jets")
    listing = jetclass2.files(split="test", part="QCD", root=tmp_path)
    assert list(listing.found) == ["QCD_0350", "QCD_0352", *(f"QCD_{i:04d}" for i in range(410, 415))]
    assert listing.found["QCD_0350"].endswith("QCD_0350.parquet")
    assert len(listing) == 7
    assert str(listing) == ("7 of 70 files are there; missing: QCD_0351, QCD_0353 to QCD_0409, QCD_0415 to QCD_0419")
    for path in listing:
        with FlatFile(path) as file:
            assert file.n_jets == 6
            assert file.read(["part_px"]).part_px.tolist() == jets.part_px.tolist()
    assert not list(tmp_path.glob("*.root"))  # nothing was unpacked
    everything = jetclass2.files(root=tmp_path)
    assert len(everything) == 8
    assert len(everything.missing) == 2010 - 8
    assert jetclass2.files(split="val", part="QCD", root=tmp_path).missing[0] == "QCD_0280"


def test_unknown_splits_parts_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown split: 'tset' \(nearest: test"):
        jetclass2.files(split="tset", root=tmp_path)
    with pytest.raises(UnknownName, match="unknown part: 'Top'"):
        jetclass2.files(part="Top", root=tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        jetclass2.files(root=tmp_path / "nowhere")


def test_the_next_jets_are_read_while_the_network_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_root(tmp_path / "x.root", table(30))
    job = make_job([str(path)], Tagger(load_toy(tmp_path)), memory=8_000)
    names: list[str] = []
    real = FlatFile.read

    def noted(self: FlatFile, *args: object) -> ak.Array:
        names.append(threading.current_thread().name)
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FlatFile, "read", noted)
    assert run_job(job, str(tmp_path / "out.parquet")).events == 30
    assert len(names) == len(job.chunks) > 2
    assert all(name.startswith("jettagger-reader") for name in names)


def test_a_tarball_with_a_broken_member_is_read_around_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_root(tmp_path / "x.root", table(6)).read_bytes()
    path = write_tarball(
        tmp_path / "QCD_0350-0352.tar", {"QCD_0350.root": good, "QCD_0351.root": good[:900], "QCD_0352.root": good}
    )
    names, reason = members(path)
    assert (len(names), reason) == (3, "")
    with FlatFile(names[0]) as first, FlatFile(names[2]) as last:
        assert first.n_jets == last.n_jets == 6
    with pytest.raises(InputFileError, match=r"QCD_0350-0352\.tar::QCD_0351\.root is not a readable ROOT file"):
        FlatFile(names[1])
    tagger = Tagger(load_toy(tmp_path))
    with pytest.raises(InputFileError, match=r"QCD_0351\.root"):
        make_job([str(path)], tagger)
    job = make_job([str(path)], tagger, skip_broken=True)
    result = run_job(job, str(tmp_path / "out.parquet"))
    assert result.events == 12
    assert list(result.skipped) == [names[1]]
    command = ["tag", str(path), "-m", str(tagger.bundle.folder), "-o", str(tmp_path / "shell.parquet")]
    assert main(command) != 0
    assert "QCD_0351.root" in "".join(capsys.readouterr().err.split())
    assert main([*command, "--skip-broken"]) == 0
    said = capsys.readouterr()
    assert "QCD_0351.root" in "".join((said.out + said.err).split())
    assert len(ak.from_parquet(tmp_path / "shell.parquet")) == 12


def test_a_truncated_tarball_gives_what_lies_before_the_damage(tmp_path: Path) -> None:
    good = write_root(tmp_path / "x.root", table(6)).read_bytes()
    path = write_tarball(tmp_path / "QCD_0350-0359.tar", {f"QCD_035{i}.root": good for i in range(3)})
    path.write_bytes(path.read_bytes()[: 2 * (len(good) // 512 + 2) * 512 + 700])
    listing = jetclass2.files(split="test", part="QCD", root=tmp_path)
    assert list(listing.found)[:2] == ["QCD_0350", "QCD_0351"]
    with FlatFile(listing.found["QCD_0351"]) as file:
        assert file.n_jets == 6
    if "QCD_0352" in listing.found:
        with pytest.raises(InputFileError, match=r"QCD_0352\.root"):
            FlatFile(listing.found["QCD_0352"])
    else:
        assert "damaged" in str(listing)
    (tmp_path / "QCD_0360-0369.tar").write_bytes(b"no tarball" * 100)
    listing = jetclass2.files(split="test", part="QCD", root=tmp_path)
    assert "is not a readable tarball" in str(listing)


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no such file: .*none\.root"):
        FlatFile(tmp_path / "none.root")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputFileError, match=r"bad\.parquet is not a readable parquet file"):
        FlatFile(tmp_path / "bad.parquet")
    write_root(tmp_path / "two.root", table(6))
    with uproot.update(tmp_path / "two.root") as file:
        file.mktree("other", {"x": np.float32})
    with pytest.raises(InputFileError, match="several trees; it holds tree, other"):
        FlatFile(tmp_path / "two.root")
    with pytest.raises(InputFileError, match=r"no tree 'tre' \(nearest: tree"):
        FlatFile(tmp_path / "two.root", "tre")
    with FlatFile(tmp_path / "two.root", "tree") as file:
        with pytest.raises(UnknownName, match=r"'jet_pts' \(nearest: jet_pt"):
            file.read(["jet_pts"])
        assert [len(chunk) for chunk in file.chunks(["jet_pt"], 4)] == [4, 2]
    tarball = write_tarball(tmp_path / "a.tar", {"x.root": b"1"})
    with pytest.raises(InputFileError, match=r"has no member 'y\.root' \(nearest: x\.root\)"):
        FlatFile(f"{tarball}::y.root")
    with pytest.raises(InputFileError, match=r"is a tarball, expected one of its members: .*a\.tar::x\.root"):
        FlatFile(tarball)
    with pytest.raises(InputFileError, match="no such file"):
        FlatFile(f"{tmp_path}/none.tar::x.root")


def test_parquet_is_read_in_any_range(tmp_path: Path) -> None:
    jets = table(30)
    pyarrow.parquet.write_table(ak.to_arrow_table(jets, extensionarray=False), tmp_path / "x.parquet", row_group_size=7)
    with FlatFile(tmp_path / "x.parquet") as file:
        for start, stop in ((0, 30), (0, 7), (6, 8), (7, 14), (13, 30), (29, 40), (5, 5), (30, 30)):
            found = file.read(["jet_pt", "part_px"], start, stop)
            assert found.jet_pt.tolist() == jets.jet_pt[start:stop].tolist()
            assert found.part_px.tolist() == jets.part_px[start:stop].tolist()
            assert "?" not in str(found.type)


def test_columns_are_read_by_name_and_group_in_their_types(tmp_path: Path) -> None:
    jets = table(6)
    jets["part_charge"] = ak.values_astype(jets.part_charge, "float64")
    path = write_root(tmp_path / "x.root", jets)
    read = jetclass2.read(path, ["jet", "part_charge"])
    assert read.fields == ["jet_pt", "jet_sdmass", "jet_label", "part_charge"]
    assert str(read.part_charge.type) == "6 * var * int32"
    with pytest.raises(UnknownName, match=r"'jets'"):
        jetclass2.read(path, ["jets"])
    with pytest.raises(UnknownName, match="jet_eta"):
        jetclass2.read(path, ["jet_eta"])
    write_root(tmp_path / "y.root", ak.Array({"jet_pt": [[1.0], [2.0, 3.0]]}))
    with pytest.raises(InputFileError, match=r"jet_pt is 2 .* expected a number per jet"):
        jetclass2.read(tmp_path / "y.root")
    write_root(tmp_path / "z.root", ak.Array({"a": [1.0]}))
    with pytest.raises(InputFileError, match="has no column of JetClass-II"):
        jetclass2.read(tmp_path / "z.root")


# tagging


def load_toy(folder: Path):  # type: ignore[no-untyped-def]
    from jettagger.bundles.bundle import Bundle

    return Bundle.from_folder(weaver_bundle(folder / "toy"))


@pytest.mark.parametrize("kind", ["parquet", "root"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_gets_one_row_a_jet(tmp_path: Path, kind: str, workers: int) -> None:
    if workers == 2 and kind == "root":
        pytest.skip("one format is enough for several processes")
    jets = table(30)
    paths = [write_root(tmp_path / "a.root", jets[:20]), tmp_path / "b.parquet"]
    ak.to_parquet(jets[20:], paths[1])
    folder = weaver_bundle(tmp_path / "toy")
    output = tmp_path / f"out.{kind}"
    code = main(
        ["tag", *map(str, paths), "--model", str(folder), "-o", str(output), "--where", "jet_pt > 300",
         "--memory", "200kB", "--workers", str(workers)]
    )  # fmt: skip
    assert code == 0
    expected = load_tagger(folder).attach(jets, where=jets.jet_pt > 300)
    with FlatFile(output) as file:
        skim = file.read()
    assert set(skim.fields) == {
        "jet_pt",
        "jet_sdmass",
        "jet_label",
        "toy_proba",
        "toy_probb",
        "toy_probc",
        "toy_inDomain",
    }
    assert skim.jet_label.tolist() == jets.jet_label.tolist()
    if kind == "parquet":
        assert skim.toy_proba.tolist() == pytest.approx(expected.toy_proba.tolist(), abs=1e-6)
        assert skim.toy_inDomain.tolist() == expected.toy_inDomain.tolist()
    else:
        reference = ak.to_numpy(ak.fill_none(expected.toy_proba, np.nan))
        np.testing.assert_allclose(ak.to_numpy(skim.toy_proba), reference, atol=1e-6)
        assert skim.toy_inDomain.tolist() == [float(flag) for flag in expected.toy_inDomain.tolist()]


def test_a_dry_run_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_root(tmp_path / "a.root", table(6))
    folder = weaver_bundle(tmp_path / "toy")
    assert (
        main(["tag", str(path), "-m", str(folder), "-o", str(tmp_path / "o.root"), "--dry-run", "--keep", "part_px"])
        == 0
    )
    said = capsys.readouterr().out.replace("\n", " ")
    assert "6 jets in 1 files, 1 chunks" in said
    assert "writes jet_label, jet_pt, jet_sdmass, part_px and 4 columns like toy_proba" in said
    assert not (tmp_path / "o.root").exists()


def test_files_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jets = table(6)
    folder = weaver_bundle(tmp_path / "toy")
    tagger = load_tagger(folder)
    one = write_root(tmp_path / "one.root", jets)
    two = write_root(tmp_path / "two.root", jets[[name for name in jets.fields if name != "jet_label"]])
    with pytest.raises(MissingColumns, match=r"two\.root differs from the first file: it lacks jet_label"):
        make_job([str(one), str(two)], tagger)
    three = write_root(tmp_path / "three.root", jets[[name for name in jets.fields if name != "part_px"]])
    with pytest.raises(MissingColumns, match=r"three\.root .*lacks columns that the model 'toy' needs") as info:
        make_job([str(three)], tagger)
    assert "part_px" in str(info.value)
    with pytest.raises(UnknownName, match="column to keep"):
        make_job([str(one)], tagger, keep=["jett*"])
    with pytest.raises(UnknownName, match="jet_ptt"):
        make_job([str(one)], tagger, where="jet_ptt > 3")
    with pytest.raises(ConfigError, match="workers"):
        make_job([str(one)], tagger, workers=0)
    with pytest.raises(ConfigError, match="nothing would be written"):
        make_job([str(one)], tagger, columns=[])
    with pytest.raises(InputFileError, match="none of the 1 files can be read"):
        make_job([str(tmp_path / "none.root")], tagger, skip_broken=True)
    tagged = tagger.attach(jets, columns=["proba"])
    ak.to_parquet(tagged, tmp_path / "tagged.parquet")
    with pytest.raises(ConfigError, match="give another --prefix"):
        make_job([str(tmp_path / "tagged.parquet")], tagger)
    empty = write_tarball(tmp_path / "empty.tar", {"readme.txt": b"nothing"})
    with pytest.raises(InputFileError, match="holds no ROOT or parquet file"):
        make_job([str(empty)], tagger)
    assert main(["tag", str(one), "-m", "tinyParT", "-o", str(tmp_path / "o.root"), "--tree", "x"]) != 0
    assert "--tree is for models" in capsys.readouterr().err


def test_an_empty_file_gives_an_empty_skim(tmp_path: Path) -> None:
    path = write_root(tmp_path / "a.root", table(6)[:0])
    job = make_job([str(path)], Tagger(load_toy(tmp_path)))
    assert run_job(job, str(tmp_path / "out.parquet")).events == 0


@pytest.mark.slow
@pytest.mark.data
def test_all_example_jets_are_tagged_and_those_outside_the_training_are_flagged(shared: Path, tmp_path: Path) -> None:
    config = (shared / "sophon/JetClassII_full.yaml").read_text()
    from networks import Head

    groups = {"pf_features": ("",) * 17, "pf_vectors": ("",) * 4, "pf_mask": ("",)}
    card = {"output_names": [f"label_{name}" for name in jetclass2.LABELS], "kinds": {"prob": ["label_*"]}}
    folder = weaver_bundle(tmp_path / "like", config, groups, (Head("softmax", 188, softmax=True),), card=card)
    for outside, scored in (("score", 100), ("skip", 85)):
        output = tmp_path / f"{outside}.parquet"
        code = main(
            ["tag", str(shared / "sophon/JetClassII_example.parquet"), "-m", str(folder), "-o", str(output),
             "--outside", outside]
        )  # fmt: skip
        assert code == 0
        skim = ak.from_parquet(output)
        assert len(skim) == 100
        assert ak.count(skim.toy_probXbb) == scored
        assert ak.sum(skim.toy_inDomain) == 85
        sums = jetclass2.coarse(skim, "toy")
        total = sum(np.asarray(ak.to_numpy(ak.drop_none(values))) for values in sums.values())
        np.testing.assert_allclose(total, np.ones(scored), atol=1e-5)
        assert set(jetclass2.truth(skim.jet_label)) <= set(jetclass2.LABELS)


def test_configurations_of_tests_are_valid() -> None:
    assert read_config(text=CONFIG).selection is not None
