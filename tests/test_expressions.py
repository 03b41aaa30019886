"""Expressions on columns: what they give, what they need, and what they refuse."""

import pickle

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.expressions import FUNCTIONS, Expression, parse

PT = np.array([150.0, 250.0, 350.0], dtype=np.float32)
ETA = np.array([0.5, -2.6, -1.0], dtype=np.float32)
VALUES = {"pt": PT, "eta": ETA, "jetId": np.array([1, 2, 6]), "FatJet.mass": np.array([10.0, 80.0, 125.0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pt > 200", [False, True, True]),
        ("pt > 200 and abs(eta) < 2.4", [False, False, True]),
        ("(pt > 200) & (abs(eta) < 2.4)", [False, False, True]),
        ("pt > 300 or eta > 0", [True, False, True]),
        ("(pt > 300) | (eta > 0)", [True, False, True]),
        ("not pt > 200", [True, False, False]),
        ("~(pt > 200)", [True, False, False]),
        ("100 < pt <= 250", [True, True, False]),
        ("50 < FatJet.mass < 150", [False, True, True]),
        ("(jetId & 2) > 0", [False, True, True]),
        ("jetId == 6", [False, False, True]),
        ("jetId != 6", [True, True, False]),
        ("pt - 50 * 2 >= 2 ** 3 + 142", [False, True, True]),
        ("pt // 100 == 3 and pt % 100 == 50", [False, False, True]),
        ("max(pt, 300) == 300", [True, True, False]),
        ("min(pt, 300, 200) == 200", [False, True, True]),
        ("where(eta > 0, pt, -pt) > 0", [True, False, False]),
        ("isfinite(log(eta))", [True, False, False]),
        ("  pt\n > 200 ", [False, True, True]),
        ("pt > 1 / 0", [False, False, False]),
    ],
)
def test_value(text, expected):
    assert np.asarray(parse(text).evaluate(VALUES)).tolist() == expected


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_arithmetic_is_that_of_numpy(x, y, z):
    values = {name: np.array([value]) for name, value in zip("xyz", (x, y, z), strict=True)}
    got = parse("-x + y * (x - 2.5) / z + sqrt(abs(y)) - hypot(x, y) ** 2").evaluate(values)[0]
    want = -x + y * (x - 2.5) / z + np.sqrt(abs(y)) - np.hypot(x, y) ** 2
    assert got == pytest.approx(want, rel=1e-12, abs=1e-9)


def test_float32_columns_stay_float32():
    assert parse("pt * (2 / 4) + 1").evaluate(VALUES).dtype == np.float32


def test_names_in_order_and_once():
    assert parse("b.pt > a and b.pt < max(c, a)").names == ("b.pt", "a", "c")
    assert parse("1 + 1").names == ()


def test_jagged_arrays_with_none_keep_it():
    jets = ak.Array([{"pt": [100.0, None, 300.0]}, {"pt": []}])
    assert parse("pt > 200").evaluate(jets).to_list() == [[False, None, True], []]


def test_reductions_are_per_event():
    events = ak.Array([{"Jet": [{"pt": 1.0}, {"pt": 2.0}]}, {"Jet": []}])
    assert parse("sum(Jet.pt)").evaluate(events).to_list() == [3.0, 0.0]
    assert parse("max(Jet.pt)").evaluate(events).to_list() == [2.0, None]
    assert parse("any(Jet.pt > 1)").evaluate(events).to_list() == [True, False]
    assert parse("where(Jet.pt > 1, 1, 0)").evaluate(events).to_list() == [[0, 1], []]
    assert parse("sum(x)").evaluate({"x": np.ones((2, 3))}).tolist() == [3.0, 3.0]


def test_reduction_over_events_is_refused():
    with pytest.raises(MismatchError, match="one list per event, got one with 1 dimension"):
        parse("sum(pt) > 3").evaluate(VALUES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the expression is empty"),
        ("   ", "the expression is empty"),
        ("pt >", "cannot be read"),
        ("pt > 200 and foo(eta)", r"position 14: unknown function 'foo'.*Allowed: abs"),
        ("sqr(pt)", r"nearest: sqrt"),
        ("__import__('os').system('ls')", "unknown function .*__import__"),
        ("pt.__class__", "is not the name of a column"),
        ("__builtins__", "is not the name of a column"),
        ("(lambda: 1)()", "unknown function"),
        ("[x for x in pt]", "not allowed"),
        ("pt[0]", "not allowed"),
        ("'text' == pt", "not allowed"),
        ("None", "not allowed"),
        ("1j * pt", "not allowed"),
        ("pt if eta else 0", "not allowed"),
        ("pt @ eta", "operator"),
        ("pt << 2", "operator"),
        ("pt in eta", "allowed comparisons"),
        ("pt is eta", "allowed comparisons"),
        ("sqrt()", r"takes 1 argument\(s\), got 0"),
        ("arctan2(1)", r"takes 2 argument\(s\), got 1"),
        ("sqrt(x=1)", "plain arguments only"),
        ("max(*pt)", "plain arguments only"),
        ("(x := 3)", "not allowed"),
        ("pt > 200 & eta < 2", r"position 6: '200 & eta' is evaluated first: put comparisons"),
        (
            "pt > 200 && eta < 2",
            r"position 10: '&&' is not an operator here: write 'and', or '&' with each condition in",
        ),
        ("pt > 200 || !tagged", r"position 10: '\|\|' is not an operator here: write 'or', or '\|' with each"),
        ("pt != 200 and !tagged", r"position 15: '!' is not an operator here: write 'not', or '~'"),
        ("pt != 200 and", "cannot be read: invalid syntax"),
        (f"pt > {2**80}", "64 bits"),
        ("pt > 1\0", "cannot be read"),
        ("(" * 500 + "1" + ")" * 500, "cannot be read"),
        ("1+" * 6000 + "1", "at most"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ConfigError, match=f"(?s)--where: .*{message}"):
        parse(text, where="--where")


def test_error_points_at_the_place():
    with pytest.raises(ConfigError) as caught:
        parse("μ > 200 and foo(eta)", where="search.yaml, line 3")
    first, text, mark = str(caught.value).split("\n")
    assert first.startswith("search.yaml, line 3: position 13: unknown function 'foo'")
    assert text[mark.index("^") :].startswith("foo(eta)")


def test_not_text():
    with pytest.raises(ConfigError, match="expected an expression as text, got 3"):
        parse(3)


def test_huge_powers_do_not_hang():
    assert parse("9 ** 9 ** 9 > pt").evaluate(VALUES).tolist() == [True] * 3


def test_unknown_names_with_the_nearest():
    with pytest.raises(UnknownName, match=r"'ptt' \(nearest: pt\)") as caught:
        parse("eta > 0 and ptt > 200", where="--where").check(["pt", "eta"])
    assert "position 13" in str(caught.value)
    assert caught.value.names == ["ptt"]
    with pytest.raises(UnknownName, match=r"column.*'Jet\.ptt'"):
        parse("Jet.ptt > 1").evaluate(ak.Array([{"Jet": [{"pt": 1.0}]}]))
    with pytest.raises(UnknownName, match="'nothing'"):
        parse("nothing").evaluate({"pt": PT})


def test_arrays_that_do_not_fit():
    with pytest.raises(MismatchError, match=r"cannot be evaluated on pt: .*3.*, x: .*2"):
        parse("pt > x").evaluate({"pt": PT, "x": np.ones(2)})


def test_is_a_value():
    cut = parse("pt > 200", where="--where")
    assert pickle.loads(pickle.dumps(cut)) == cut == parse("pt > 200")
    assert str(cut) == "pt > 200"
    assert len(pickle.dumps(cut)) < 500


def test_functions_of_ones_own():
    own = {"abs": FUNCTIONS["abs"]}
    assert isinstance(parse("abs(x)", functions=own), Expression)
    with pytest.raises(ConfigError, match="unknown function 'sqrt'"):
        parse("sqrt(x)", functions=own)
    with pytest.raises(TypeError, match="pickle its text"):
        pickle.dumps(parse("abs(x)", functions=own))


def test_no_warning_for_what_is_not_defined():
    got = parse("sqrt(x) + log(x)").evaluate({"x": np.array([-1.0, 0.0])})
    assert np.isnan(got[0])
    assert got[1] == -np.inf
