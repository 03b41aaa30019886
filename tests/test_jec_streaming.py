"""Training sets: each jet once in each pass, in an order that the seed gives, resumed anywhere, at constant memory."""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jec_jets import make_jets, write_config, write_location
from traced import traced_peak

from jettagger.errors import ConfigError, InputFileError, InvalidValues, MissingColumns, OutputError
from jettagger.jec import RawJets, prepare, prepared_jets, read_config, training_sets, write_shard
from jettagger.jec.rows import branches_of, stacked
from jettagger.jec.shards import jets_of_files, open_data
from jettagger.training.ragged import RaggedRows, RaggedStore, repeated_batches


def sets_of(folder: Path, **changes: Any) -> Any:
    return training_sets(read_config(write_config(folder, **changes)))


def test_each_pass_has_every_jet_once_in_another_order(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    with sets_of(tmp_path) as sets:
        assert (len(sets.train), len(sets.validation), sets.train.dropped) == (30, 10, 0)
        batches = list(itertools.islice(sets.train.batches(4), 15))
        assert {len(batch) for batch in batches} == {4}
        jets = stacked(batches)
        first, second = jets.target[:30], jets.target[30:]
        config = read_config(tmp_path / "config.yaml")
        data = open_data(tmp_path / "jets")
        pieces = jets_of_files(data.files[:3], branches_of(config.features))
        expected = stacked(prepare(raw, config.features, sets.transforms) for _, _, raw in pieces)
        np.testing.assert_array_equal(np.sort(first), np.sort(expected.target))
        np.testing.assert_array_equal(np.sort(second), np.sort(first))
        assert (first != second).any()
        # jets of all files are in the first half of a pass: files are not read one after the other
        half = set(first[:15].tolist())
        assert all(half & set(expected.target[start : start + 10].tolist()) for start in (0, 10, 20))
        # whole jets, with their constituents
        place = int(np.flatnonzero(expected.target == first[0])[0])
        one, other = expected.take(np.array([place])), jets.take(np.array([0]))
        for block in config.features:
            np.testing.assert_array_equal(one.numerical[block], other.numerical[block])
            np.testing.assert_array_equal(one.categorical[block], other.categorical[block])
        validation = stacked(sets.validation)
        assert len(validation) == 10


def test_batches_continue_anywhere_and_the_seed_decides(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    with sets_of(tmp_path) as sets:
        whole = [batch.target for batch in itertools.islice(sets.train.batches(7), 12)]
        for start in (1, 4, 5, 11):
            rest = [batch.target for batch in itertools.islice(sets.train.batches(7, start=start), 12 - start)]
            np.testing.assert_array_equal(np.concatenate(rest), np.concatenate(whole[start:]))
    for seed, same in ((1, True), (2, False)):
        with sets_of(tmp_path, train={"seed": seed}) as sets:
            again = [batch.target for batch in itertools.islice(sets.train.batches(7), 12)]
        assert np.array_equal(np.concatenate(again), np.concatenate(whole)) == same


@pytest.mark.parametrize("shards", [1, 3])
def test_a_store_is_repeated_without_losing_rows(shards: int, tmp_path: Path) -> None:
    rows = RaggedRows(np.arange(17, dtype="f4")[:, None], {}, {})
    with RaggedStore(tmp_path, 1, {}, size=shards, memory=8, seed=1) as store:
        assert store.shards == shards
        store.add(rows)
    batches = repeated_batches(store, 5, lambda number: np.random.default_rng(number))
    numbers = np.concatenate([batch.numbers[:, 0] for batch in itertools.islice(batches, 17)])
    for start in range(0, 85, 17):
        assert sorted(numbers[start : start + 17]) == list(range(17))
    again = RaggedStore.reopened(tmp_path, 1, {}, shards, 17)
    assert sorted(np.concatenate([each.numbers[:, 0] for each in again])) == list(range(17))
    with pytest.raises(InputFileError, match="expected 72: remove the folder"):
        RaggedStore.reopened(tmp_path, 1, {}, shards, 18)
    with RaggedStore(tmp_path, 1, {}, size=1, memory=8, seed=1) as empty:
        pass
    with pytest.raises(InvalidValues, match="no rows to train on"):
        repeated_batches(empty, 5, lambda number: np.random.default_rng(number))


def test_prepared_jets_are_kept_until_something_changes(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    kept = tmp_path / "kept"
    changes: dict[str, Any] = {"data": {"cache": "kept"}}

    def targets(**more: Any) -> Any:
        with sets_of(tmp_path, **{**changes, **more}) as sets:
            return np.concatenate([batch.target for batch in itertools.islice(sets.train.batches(6), 5)])

    first = targets()
    folders = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(folders) == 1
    np.testing.assert_array_equal(targets(), first)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == folders
    targets(features={"sv": {"numerical": ["sv_num_tracks", "sv_pt"][:1], "categorical": []}})
    assert len(list(kept.iterdir())) == 1  # the same features
    targets(train={"seed": 5})
    write_shard(tmp_path / "jets" / "shards" / "0.root", make_jets(10, seed=99), force=True)
    changed = targets()
    assert len(list(kept.iterdir())) == 3
    assert not np.array_equal(np.sort(changed), np.sort(first))
    [folder] = folders
    (folder / "shard000-numbers.bin").write_bytes(b"")
    write_shard(tmp_path / "jets" / "shards" / "0.root", make_jets(10, seed=1000), force=True)


def test_without_a_cache_nothing_is_left(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    config = read_config(write_config(tmp_path))
    (tmp_path / "scratch").mkdir()
    with training_sets(config, folder=tmp_path / "scratch") as sets:
        assert len(list((tmp_path / "scratch").iterdir())) == 1
        assert len(sets.train) == 30
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(OutputError, match="cannot write"), training_sets(config, folder=tmp_path / "absent"):
        pass


def broken(jets: RawJets, **columns: Any) -> RawJets:
    content = dict(jets.columns)
    for name, values in columns.items():
        content[name] = content[name].copy()
        content[name][: len(values)] = values
    return RawJets(content, jets.counts)


def test_jets_without_a_true_momentum_are_counted(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    path = tmp_path / "jets" / "shards" / "1.root"
    write_shard(path, broken(make_jets(10), pt_gen=[0.0, -1.0, np.nan]), force=True)
    with sets_of(tmp_path) as sets:
        assert (len(sets.train), sets.train.dropped) == (27, 3)
    config = read_config(write_config(tmp_path))
    data = open_data(tmp_path / "jets")
    whole = list(prepared_jets(data.files[1:2], config.features, data.transforms(), target=False))
    assert [len(jets) for _, jets, _ in whole] == [10]  # predictions are for all jets
    for number in range(3):
        path = tmp_path / "jets" / "shards" / f"{number}.root"
        write_shard(path, broken(make_jets(10), pt_gen=[0.0] * 10), force=True)
    with (
        pytest.raises(InvalidValues, match="no jets for the training: 30 of 30 have no pt_gen above 0"),
        sets_of(tmp_path),
    ):
        pass


def test_values_that_cannot_be_used_are_named_with_their_file(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    write_shard(tmp_path / "jets" / "shards" / "1.root", broken(make_jets(10), eta=[np.nan]), force=True)
    message = r"1.root, from jet 0: eta is not finite in 1 of 10 values, first in jet 0: nan"
    with pytest.raises(InvalidValues, match=message), sets_of(tmp_path):
        pass


def test_data_that_do_not_fit_the_configuration(tmp_path: Path) -> None:
    write_location(tmp_path / "jets")
    with pytest.raises(ConfigError, match=r"data.split: the split \[4, 1, -1\] of 5 files leaves no file for the test"):
        sets_of(tmp_path, data={"split": [4, 1, -1]}).__enter__()
    features = {"sv": {"numerical": ["sv_num_tracks", "sv_mass"]}}
    with pytest.raises(MissingColumns, match=r"lacks 1 of .* branches that are needed: sv_mass"):
        sets_of(tmp_path, features=features).__enter__()
    text = (tmp_path / "jets" / "transform.yaml").read_text()
    (tmp_path / "jets" / "transform.yaml").write_text(text.replace("ch_pt:", "ch_ptt:"))
    with pytest.raises(ConfigError, match=r"transform.yaml: unknown numerical feature: 'ch_ptt' .nearest: ch_pt"):
        sets_of(tmp_path).__enter__()
    (tmp_path / "jets" / "transform.yaml").unlink()
    with pytest.raises(InputFileError, match=r"cannot read .*transform.yaml"):
        sets_of(tmp_path).__enter__()


def test_memory_does_not_grow_with_the_jets(tmp_path: Path) -> None:
    def use(pieces: int) -> None:
        """Writing, shuffling and one pass over some rows."""
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            with RaggedStore(Path(folder), 3, {"ch": 2}, size=600_000 * pieces, memory=2_000_000, seed=1) as store:
                for number in range(pieces):
                    rng = np.random.default_rng(number)
                    counts = rng.integers(0, 11, 10_000)
                    elements = rng.random((counts.sum(), 2), dtype="f4")
                    store.add(RaggedRows(rng.random((10_000, 3), dtype="f4"), {"ch": counts}, {"ch": elements}))
            assert store.rows == 10_000 * pieces
            for _ in itertools.islice(repeated_batches(store, 1000, np.random.default_rng), 10 * pieces):
                pass

    few, many = (traced_peak(partial(use, pieces)) for pieces in (2, 20))
    assert many < 1.3 * few
