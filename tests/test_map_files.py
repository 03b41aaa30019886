"""Maps and files: numbers as columns of skims, for all kinds of skims, complete or absent."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
from toyskims import MODEL, write_toy

from jettagger.cli import main
from jettagger.decorrelation import fit_linear, fit_map, fit_quantiles, fit_thresholds, load_map
from jettagger.errors import ConfigError, InputFileError, MismatchError, MissingColumns, OutputError
from jettagger.finetuning import open_skim
from jettagger.provenance import read_provenance
from jettagger.skims.writers import write_skim
from jettagger.studies.applying import apply_maps

AXES = {"mass": 3}


@pytest.fixture(scope="module")
def skim(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("skims") / "toy.parquet", 1500)


@pytest.fixture(scope="module")
def maps(skim):
    table = pyarrow.parquet.read_table(skim)
    return [
        fit_linear("probHbb", table, name="line"),
        fit_thresholds("probHbb", table, {"loose": 0.2, "tight": 0.1}, axes=AXES, name="ddt"),
        fit_quantiles("probHbb", table, levels=[0.5, 0.2, 0.1], axes=AXES, name="quantile"),
    ]


def rows(path):
    """All columns of a skim as one array."""
    opened = open_skim(str(path))
    names = [name for name in opened.names if not name.startswith("n")]
    chunks = list(opened.read(names, 700))
    return ak.concatenate(chunks), opened


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_all_columns_and_those_of_the_maps(tmp_path, skim, maps, suffix):
    paths = []
    for made in maps:
        paths.append(tmp_path / f"{made.name}.json")
        made.save(paths[-1])
    out = tmp_path / f"out.{suffix}"
    seen = []
    counts = apply_maps(paths, skim, out, progress=seen.append)
    assert sum(seen) == 1500
    before, opened = rows(skim)
    after, written = rows(out)
    added = {"FatJet_line", "FatJet_ddt_loose", "FatJet_ddt_tight", "FatJet_quantile"}
    assert set(written.names) - set(opened.names) - {"nFatJet"} == added
    line, ddt, quantile = maps
    for column, expected in (
        ("line", line(before)),
        ("ddt_tight", ddt(before, "tight")),
        ("quantile", quantile(before)),
    ):
        found = after[f"FatJet_{column}"] if f"FatJet_{column}" in after.fields else after["FatJet", column]
        there = ak.flatten(ak.fill_none(expected, np.nan, axis=-1))
        np.testing.assert_allclose(ak.to_numpy(ak.flatten(ak.fill_none(found, np.nan, axis=-1))), there, rtol=1e-6)
    assert counts["quantile"].jets == ak.sum(ak.num(before["FatJet_pt"]))
    record = read_provenance(out)
    assert record["digest"] == read_provenance(skim)["digest"]
    assert record["configuration"]["maps"]["ddt"]["digest"] == load_map(paths[1]).digest
    assert set(record["configuration"]["maps"]) == {"line", "ddt", "quantile"}


def test_the_command(tmp_path, skim, maps, capsys):
    maps[1].save(tmp_path / "ddt.json")
    arguments = ["decorrelate", "apply", str(tmp_path / "ddt.json"), str(skim), "-o", str(tmp_path / "out.parquet")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "ddt" in said
    assert "outside" in said
    assert main(arguments) == 2
    assert "use --force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    # once more, from its own output
    assert (
        main(["decorrelate", "apply", arguments[2], str(tmp_path / "out.parquet"), "-o", str(tmp_path / "b.root")]) == 2
    )
    assert "the column 'FatJet_ddt_loose' is in" in capsys.readouterr().err
    assert not (tmp_path / "b.root").exists()


def test_refused(tmp_path, skim, maps):
    out = tmp_path / "out.parquet"
    with pytest.raises(ConfigError, match="got no map to apply"):
        apply_maps([], skim, out)
    with pytest.raises(ConfigError, match="'FatJet_line' is in another map, 'line', already"):
        apply_maps([maps[0], maps[0]], skim, out)
    with pytest.raises(OutputError, match="cannot be the output"):
        apply_maps(maps, skim, skim, force=True)
    content = pyarrow.parquet.read_table(skim)
    other = tmp_path / "other.parquet"
    lists = ak.from_arrow(content.drop_columns(["FatJet_msoftdrop"]))
    record = read_provenance(skim)
    write_skim(other, [{name: lists[name] for name in lists.fields}], json.dumps(record))
    with pytest.raises(MissingColumns, match=r"other.parquet, map 'line': .*'msoftdrop', which these jets lack"):
        apply_maps(maps, other, out)
    lists = ak.from_arrow(content)
    record["model"], record["digest"] = "another", "2" * 64
    write_skim(other, [{name: lists[name] for name in lists.fields}], json.dumps(record), force=True)
    with pytest.raises(MismatchError, match=r"belong to the model .*, but these scores are of 'another'"):
        apply_maps(maps, other, out)
    assert not out.exists()
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputFileError, match=r"x.json: not a map as jettagger writes it"):
        apply_maps([tmp_path / "x.json"], skim, out)


def test_maps_of_plain_columns_do_not_ask_for_the_model(tmp_path, skim):
    """tau21 is the same number whatever model ran."""
    content = ak.from_arrow(pyarrow.parquet.read_table(skim))
    content["FatJet_tau21"] = content["FatJet_pt"] / 1000
    columns = {name: content[name] for name in content.fields}
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    record = read_provenance(skim)
    write_skim(path, [columns], json.dumps(record))
    write_skim(other, [columns], json.dumps({**record, "model": "another", "digest": "2" * 64}))
    made = fit_map("linear", "tau21", pyarrow.parquet.read_table(path), signal="low", name="tau21DDT")
    assert made.origin is None
    apply_maps([made], other, tmp_path / "out.parquet")
    assert MODEL in read_provenance(path)["model"]
