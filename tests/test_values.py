"""Every column that is read times every kind of value: scored, None with a count, or one error; others unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from test_delphes import events_of
from weavers import table, weaver_bundle

import jettagger as jt
from jettagger.errors import JettaggerError, MismatchError
from jettagger.files.root import EventFile
from jettagger.formats import EventColumns
from jettagger.formats.delphes import DelphesJets
from jettagger.inputs.source import check_columns
from jettagger.testing import make_events

pytestmark = pytest.mark.filterwarnings("ignore::jettagger.report.PartialJetsWarning")

TAGGER = jt.load_tagger("tinyParT")
EVENTS = make_events(6, seed=5)
PLAIN = TAGGER.run(EVENTS)
COLUMNS = check_columns(TAGGER.bundle, EventColumns(EVENTS)).columns

#: the event whose first object of each collection gets the value
EVENT = 3

FLOATS = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "1e30": 1e30, "-1e30": -1e30, "3e38": 3e38}
FLOATS |= {"negative": -1.0, "zero": 0.0, "tiny": 1e-40}
INTEGERS = {"least": -(2**31), "most": 2**31 - 1, "-2": -2, "outside": 10_000, "zero": 0}

#: the geometry of jets and their links, which tell whether constituents are those of their jets: a value that
#: belongs to another jet is an error for all, see docs/pfnano.md
CHECKED = {f"{name}.{field}" for name in ("FatJet", "PFCands") for field in ("pt", "eta", "phi")}
CHECKED |= {"FatJetPFCands.pt", "FatJetSVs.pt", "SV.pt", "FatJetPFCands.pFCandsIdx", "FatJetSVs.sVIdx"}

#: what decides whether a jet is whole
DECISIVE = CHECKED | {"FatJet.rawFactor"}

#: a NaN in the table of vertices is a vertex that is not there, whose direction is rebuilt
REBUILT = {"SV.eta", "SV.phi"}


def values_of(column: str, events: Any = EVENTS) -> tuple[Any, Any]:
    collection, _, field = column.partition(".")
    array = events[collection, field]
    return ak.to_numpy(ak.flatten(array)), ak.num(array, axis=1)


def with_column(column: str, array: Any, events: Any = EVENTS) -> Any:
    collection, _, field = column.partition(".")
    return ak.with_field(events, ak.with_field(events[collection], array, field), collection)


def flat(scores: Any) -> list[dict[str, float] | None]:
    return ak.flatten(scores, axis=1).tolist()


def differing(found: Any, wanted: Any) -> set[int]:
    """Jets whose scores differ, checked to be finite where there are some."""
    left, right = flat(found), flat(wanted)
    assert len(left) == len(right)
    changed = set()
    for jet, (one, other) in enumerate(zip(left, right, strict=True)):
        assert one is None or np.isfinite(list(one.values())).all()
        if (one is None) != (other is None):
            changed.add(jet)
        elif one is not None and other is not None:
            scale = np.maximum(1, np.abs(list(other.values())))
            if (np.abs(np.subtract(list(one.values()), list(other.values()))) > 1e-5 * scale).any():
                changed.add(jet)
    return changed


def outcome(column: str, value: float) -> str:
    """Put a value into one object, score, and hold what happens against the rules."""
    values, counts = values_of(column)
    values = values.copy()
    values[int(ak.sum(counts[:EVENT]))] = value
    changed = with_column(column, ak.unflatten(values, counts))
    try:
        found = TAGGER.run(changed)
    except JettaggerError:
        assert column in CHECKED
        return "error"
    touched = differing(found.scores, PLAIN.scores)
    jets = ak.to_numpy(ak.num(EVENTS.FatJet.pt))
    of_event = set(range(int(jets[:EVENT].sum()), int(jets[: EVENT + 1].sum())))
    assert touched <= of_event
    assert len(touched) <= 1
    report, before = found.report, PLAIN.report
    none = sum(jet is None for jet in flat(found.scores))
    assert none == report.partial + report.without_constituents
    assert report.nonfinite_jets == 0
    if none:
        assert column in DECISIVE
        return "none"
    if column.endswith("Idx") and touched:
        assert report.dangling_links > before.dangling_links or value == 0 or column.endswith("jetIdx")
        if value != 0:
            assert report.dangling_links == before.dangling_links + 1
    if touched and not np.isfinite(value):
        assert report.replaced_values > before.replaced_values or (column in REBUILT and np.isnan(value))
    return "scored"


@pytest.mark.parametrize("column", COLUMNS)
def test_every_value_in_every_column(column: str) -> None:
    values, _ = values_of(column)
    kinds = FLOATS if values.dtype.kind == "f" else INTEGERS
    found = {name: outcome(column, value) for name, value in kinds.items()}
    if column in ("FatJet.pt", "FatJet.eta", "FatJet.phi", "FatJet.rawFactor"):  # no jet is scored without a momentum
        assert {found["nan"], found["inf"], found["-inf"]} <= {"none", "error"}
    if column not in DECISIVE:
        assert set(found.values()) == {"scored"}


def test_the_table_holds_all_kinds_of_columns() -> None:
    """So that none of the rules above is empty."""
    assert len(COLUMNS) > 35
    assert set(COLUMNS) >= CHECKED | DECISIVE | REBUILT
    assert {values_of(column)[0].dtype.kind for column in COLUMNS} == {"f", "i"}


def wider(values: Any) -> Any:
    return values.astype("f8" if values.dtype.kind == "f" else "i8")


def option(values: Any) -> Any:
    return ak.mask(ak.Array(values), np.ones(len(values), dtype=bool))


def indexed(values: Any) -> Any:
    order = np.random.default_rng(1).permutation(len(values))
    index = ak.index.Index64(np.argsort(order))
    return ak.Array(ak.contents.IndexedArray(index, ak.contents.NumpyArray(values[order])))


def union(values: Any) -> Any:
    """Of the type and of a wider one, alternating."""
    parts = [ak.contents.NumpyArray(values), ak.contents.NumpyArray(wider(values))]
    tags = (np.arange(len(values)) % 2).astype(np.int8)
    return ak.Array(ak.contents.UnionArray(ak.index.Index8(tags), ak.index.Index64(np.arange(len(values))), parts))


#: the same numbers in another form
FORMS: dict[str, Callable[[Any], Any]] = {
    "wide": wider,
    "floats": lambda values: values.astype("f8"),
    "option": option,
    "indexed": indexed,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("collection", sorted({column.partition(".")[0] for column in COLUMNS}))
def test_every_form_of_all_columns_of_a_collection(collection: str, form: str) -> None:
    events = EVENTS
    for column in COLUMNS:
        if column.startswith(f"{collection}."):
            values, counts = values_of(column)
            events = with_column(column, ak.unflatten(FORMS[form](values), counts), events)
    found = TAGGER.run(events)
    assert differing(found.scores, PLAIN.scores) == set()
    assert found.report.replaced_values == PLAIN.report.replaced_values


@pytest.mark.parametrize("column", COLUMNS)
def test_a_union_of_numbers_is_refused(column: str) -> None:
    values, counts = values_of(column)
    with pytest.raises(MismatchError, match=rf"{column} is .*union\[.*expected one number per object"):
        TAGGER.run(with_column(column, ak.unflatten(union(values), counts)))


def test_awkward_holds_no_other_byte_order() -> None:
    """So that only files have it, whose readers turn it."""
    with pytest.raises(TypeError, match=r"could not be matched|unrecognized|unsupported|must be|dtype"):
        ak.Array(np.arange(3, dtype=">i4"))


@pytest.mark.parametrize("column", COLUMNS)
def test_files_in_the_other_byte_order_are_read_as_what_they_hold(column: str, tmp_path: Path) -> None:
    """ROOT files are big-endian on disk, whatever wrote them; parquet files never are."""
    values, counts = values_of(column)
    big = values.astype(values.dtype.newbyteorder(">"))
    with pytest.raises(TypeError):  # so that nobody can give them in memory
        with_column(column, ak.unflatten(big, counts))
    path = tmp_path / "a.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("Events", {"x": values.dtype}).extend({"x": values})
    assert big.tobytes() in path.read_bytes()
    with EventFile(path) as events:
        found = ak.to_numpy(events.read(["x"]).x)
    assert found.dtype == values.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, values)


def test_arrays_of_numpy_in_the_other_byte_order_give_the_same(tmp_path: Path) -> None:
    from heads import make_head

    head = make_head(tmp_path / "head", inputs=("mass", "FatJet_pt"), folds=2)
    rows, event = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32), np.arange(8)
    right = head.compute(rows, event)
    for dtype in (">f4", ">f8", "<f8"):
        assert head.compute(rows.astype(dtype), event.astype(">i8")).tobytes() == right.tobytes()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i2"])
@pytest.mark.parametrize("column", ["FatJetPFCands.jetIdx", "FatJetPFCands.pFCandsIdx", "FatJetSVs.jetIdx"])
def test_links_of_any_integer(column: str, dtype: str) -> None:
    values, counts = values_of(column)
    if values.max() > np.iinfo(dtype).max:
        pytest.skip("the links of these events do not fit")
    found = TAGGER.run(with_column(column, ak.unflatten(values.astype(dtype), counts)))
    assert differing(found.scores, PLAIN.scores) == set()


@pytest.mark.parametrize("column", COLUMNS)
def test_none_in_every_column(column: str) -> None:
    values, counts = values_of(column)
    there = np.ones(len(values), dtype=bool)
    there[int(ak.sum(counts[:EVENT]))] = False
    gone = ak.unflatten(ak.mask(ak.Array(values), there), counts)
    try:
        found = TAGGER.run(with_column(column, gone))
    except JettaggerError:
        assert column in CHECKED
        return
    assert len(differing(found.scores, PLAIN.scores)) <= 1


@pytest.mark.parametrize("number", [0, 1, 129, 5000])
def test_jets_of_any_size(number: int) -> None:
    """The leading constituents enter, in order of their pt; the others are counted, and other jets do not notice."""
    small = make_events(2, seed=1, jets=4.0, constituents=20.0)
    rng = np.random.default_rng(1)
    jet = {name: small.FatJet[0, 0][name] for name in ("pt", "eta", "phi", "rawFactor")}
    pt = np.float32(jet["pt"] * (1 - jet["rawFactor"]) / max(number, 1))
    own = small.FatJetPFCands[0].jetIdx == 0
    n_others = len(small.PFCands[0])
    new = {name: np.full(number, small.PFCands[0, 0][name]) for name in small.PFCands.fields}
    new |= {"pt": np.full(number, pt) * (1 + np.arange(number) * np.float32(1e-6))}
    new |= {"eta": jet["eta"] + rng.normal(0, 0.05, number), "phi": jet["phi"] + rng.normal(0, 0.05, number)}
    links = {name: np.zeros(number) for name in small.FatJetPFCands.fields}
    links |= {"pt": new["pt"], "pFCandsIdx": n_others + np.arange(number), "jetIdx": np.zeros(number)}

    def joined(old: Any, fresh: dict[str, Any]) -> Any:
        return ak.zip(
            {k: np.r_[ak.to_numpy(old[k]), np.asarray(v, ak.to_numpy(old[k]).dtype)] for k, v in fresh.items()}
        )

    def events(changed: bool) -> Any:
        if not changed:
            return small
        first = {name: small[0, name] for name in small.fields}
        first["PFCands"] = joined(small.PFCands[0], new)
        first["FatJetPFCands"] = joined(small.FatJetPFCands[0][~own], links)
        first["FatJetSVs"] = small.FatJetSVs[0][small.FatJetSVs[0].jetIdx != 0]
        lists = {
            name: ak.concatenate([ak.Array(first[name])[np.newaxis], small[1:][name]])
            for name in ("PFCands", "FatJetPFCands", "FatJetSVs")
        }
        found = small
        for name, values in lists.items():
            found = ak.with_field(found, values, name)
        return found

    before, after = TAGGER.run(events(False)), TAGGER.run(events(True))
    assert differing(after.scores, before.scores) <= {0}
    assert (flat(after.scores)[0] is None) == (number == 0)
    assert after.report.without_constituents - before.report.without_constituents == (number == 0)
    assert after.report.truncated - before.report.truncated == (number > 128)


# --- tables of jets, and Delphes ---


@pytest.fixture(scope="module")
def weaver_tagger(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return jt.load_tagger(weaver_bundle(tmp_path_factory.mktemp("weaver") / "toy"))


@pytest.mark.parametrize("column", [name for name in table(3).fields if name != "jet_label"])
def test_every_value_in_every_column_of_a_table(weaver_tagger: Any, column: str) -> None:
    jets = table(6, seed=2)
    plain = weaver_tagger.run(jets).scores.tolist()
    whole = jets[column].ndim == 1
    values = ak.to_numpy(jets[column] if whole else ak.flatten(jets[column]))
    for value in FLOATS.values():
        new = values.copy()
        new[0] = value
        changed = ak.with_field(jets, new if whole else ak.unflatten(new, ak.num(jets[column])), column)
        tagged = weaver_tagger.run(changed)
        first, *others = tagged.scores.tolist()
        assert others[-1]["proba"] is plain[-1]["proba"] is None  # the jet without constituents
        for one, other in zip(others[:-1], plain[1:-1], strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        # a configuration without bounds lets the network overflow, which is counted
        assert np.isfinite(list(first.values())).all() == (tagged.report.nonfinite_jets == 0)


@pytest.mark.parametrize("column", ["PT", "Eta", "Phi", "Mass", "D0", "ErrorD0", "DZ", "ErrorDZ"])
def test_every_value_of_a_candidate_of_delphes(column: str) -> None:
    """Other jets have the constituents and values that they had."""
    events = events_of(3, seed=1)
    plain = DelphesJets(events)
    values, counts = values_of(f"ParticleFlowCandidate.{column}", events)
    for value in FLOATS.values():
        new = values.copy()
        new[0] = value
        changed = with_column(f"ParticleFlowCandidate.{column}", ak.unflatten(new, counts), events)
        try:
            jets = DelphesJets(changed)
            found = jets.column("part_energy").tolist()
        except JettaggerError:
            continue
        same = [one == other for one, other in zip(found, plain.column("part_energy").tolist(), strict=True)]
        assert same.count(False) <= 1
